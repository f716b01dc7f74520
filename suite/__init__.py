"""The core of zerowait: the simulated clock, its synchronisation through files, the simulators and the trace."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerowait.suite.asktell import simulate
    from zerowait.suite.records.trace import read_trace, write_trace
    from zerowait.suite.rules.budget import Budget
    from zerowait.suite.rules.evaluation import AskTellOptimizer, Evaluation, Objective, Query
    from zerowait.suite.rules.overhead import Overhead
    from zerowait.suite.simulator import Simulator

# Resolved on first use, so that the command line starts without NumPy.
_HOMES = {
    "AskTellOptimizer": "zerowait.suite.rules.evaluation",
    "Budget": "zerowait.suite.rules.budget",
    "Evaluation": "zerowait.suite.rules.evaluation",
    "Objective": "zerowait.suite.rules.evaluation",
    "Overhead": "zerowait.suite.rules.overhead",
    "Query": "zerowait.suite.rules.evaluation",
    "Simulator": "zerowait.suite.simulator",
    "read_trace": "zerowait.suite.records.trace",
    "simulate": "zerowait.suite.asktell",
    "write_trace": "zerowait.suite.records.trace",
}

__all__ = [
    "AskTellOptimizer", "Budget", "Evaluation", "Objective", "Overhead", "Query", "Simulator",
    "read_trace", "simulate", "write_trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zerowait.suite' has no attribute {name!r}")
