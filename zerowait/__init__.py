"""Exact, fast simulation of asynchronous parallel hyperparameter optimization on zero-cost benchmarks.

`Simulator` takes the place of the objective for any parallel optimizer, `SimulatedExecutor` that of its executor,
`simulate` asks and tells an optimizer in one process; `benchmarks` and `adapters` hold what there is to compare,
`load_study` reads what studies have found.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerowait import adapters, benchmarks
    from zerowait.suite.asktell import simulate
    from zerowait.suite.executor import SimulatedExecutor
    from zerowait.suite.records.incumbents import load_incumbents
    from zerowait.suite.records.journal_to_trace import read_run
    from zerowait.suite.records.store import load_cells, load_study
    from zerowait.suite.records.trace import read_trace, write_trace
    from zerowait.suite.rules.budget import Budget
    from zerowait.suite.rules.cluster import Cluster
    from zerowait.suite.rules.errors import (
        BudgetExhausted,
        ClusterFailure,
        DivergedError,
        InvalidEvaluationError,
        NoWorkersLeftError,
        RunAborted,
        RunDirectoryError,
        RunMismatchError,
        SpecificationError,
        StalledError,
        TooManyCallsError,
        TraceError,
        UnsupportedPlatformError,
        WorkerDied,
        WrongGuessError,
        ZerowaitError,
    )
    from zerowait.suite.rules.evaluation import AskTellOptimizer, Evaluation, Objective, Query
    from zerowait.suite.rules.idle import Idle
    from zerowait.suite.rules.overhead import Overhead
    from zerowait.suite.simulator import Simulator

__version__ = "0.2.0"

# Where each name lives; resolved on first use, so that `import zerowait` costs nothing.
_HOMES = {
    "zerowait.suite.asktell": ("simulate",),
    "zerowait.suite.executor": ("SimulatedExecutor",),
    "zerowait.suite.rules.errors": (
        "BudgetExhausted", "ClusterFailure", "DivergedError", "InvalidEvaluationError", "NoWorkersLeftError",
        "RunAborted", "RunDirectoryError", "RunMismatchError", "SpecificationError", "StalledError",
        "TooManyCallsError", "TraceError", "UnsupportedPlatformError", "WorkerDied", "WrongGuessError", "ZerowaitError",
    ),
    "zerowait.suite.rules.budget": ("Budget",),
    "zerowait.suite.rules.cluster": ("Cluster",),
    "zerowait.suite.rules.evaluation": ("AskTellOptimizer", "Evaluation", "Objective", "Query"),
    "zerowait.suite.rules.idle": ("Idle",),
    "zerowait.suite.rules.overhead": ("Overhead",),
    "zerowait.suite.simulator": ("Simulator",),
    "zerowait.suite.records.incumbents": ("load_incumbents",),
    "zerowait.suite.records.journal_to_trace": ("read_run",),
    "zerowait.suite.records.store": ("load_cells", "load_study"),
    "zerowait.suite.records.trace": ("read_trace", "write_trace"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AskTellOptimizer", "Budget", "BudgetExhausted", "Cluster", "ClusterFailure", "DivergedError", "Evaluation", "Idle",
    "InvalidEvaluationError", "NoWorkersLeftError", "Objective", "Overhead", "Query", "RunAborted",
    "RunDirectoryError", "RunMismatchError", "SimulatedExecutor", "Simulator", "SpecificationError", "StalledError",
    "TooManyCallsError", "TraceError", "UnsupportedPlatformError", "WorkerDied", "WrongGuessError", "ZerowaitError",
    "__version__", "adapters", "benchmarks", "load_cells", "load_incumbents", "load_study", "read_run", "read_trace",
    "simulate", "write_trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name in ("adapters", "benchmarks"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'zerowait' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
