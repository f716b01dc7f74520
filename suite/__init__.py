"""The core of zerowait: the simulated clock, its synchronisation through files, the simulators and the trace."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.asktell import simulate
    from suite.evaluation import AskTellOptimizer, Budget, Evaluation, Objective, Query
    from suite.overhead import Overhead
    from suite.simulator import Simulator
    from suite.trace import read_trace, write_trace

# Resolved on first use, so that the command line starts without NumPy.
_HOMES = {
    "AskTellOptimizer": "suite.evaluation",
    "Budget": "suite.evaluation",
    "Evaluation": "suite.evaluation",
    "Objective": "suite.evaluation",
    "Overhead": "suite.overhead",
    "Query": "suite.evaluation",
    "Simulator": "suite.simulator",
    "read_trace": "suite.trace",
    "simulate": "suite.asktell",
    "write_trace": "suite.trace",
}

__all__ = [
    "AskTellOptimizer", "Budget", "Evaluation", "Objective", "Overhead", "Query", "Simulator",
    "read_trace", "simulate", "write_trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
