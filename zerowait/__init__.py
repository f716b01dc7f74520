"""What a script needs of zerowait: simulate runs, and load the results of studies."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.asktell import simulate
    from suite.overhead import Overhead
    from suite.simulator import Simulator
    from suite.store import load_cells, load_study
    from suite.trace import read_trace

# Resolved on first use, so that `import zerowait` costs nothing.
_HOMES = {
    "Overhead": "suite.overhead",
    "Simulator": "suite.simulator",
    "load_cells": "suite.store",
    "load_study": "suite.store",
    "read_trace": "suite.trace",
    "simulate": "suite.asktell",
}

__all__ = ["Overhead", "Simulator", "load_cells", "load_study", "read_trace", "simulate"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zerowait' has no attribute {name!r}")
