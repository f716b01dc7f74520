"""The listings of optimizers and benchmarks: what can run here, and what to do about what cannot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

import adapters
import benchmarks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UNLIMITED_WIDTH = 100_000
"""Columns; a listing that is not read on a terminal is not wrapped."""

_NOT_WRAPPED = ("optimizer", "benchmark", "library", "fidelity", "environment")


def print_optimizers() -> None:
    """Print every optimizer: library, modes, whether it chooses fidelities, and whether it is installed."""
    table = _table("optimizer", "library", "modes", "fidelity", "status")
    for found in adapters.available():
        table.add_row(
            found.name,
            found.library,
            ", ".join(found.modes),
            "yes" if found.uses_fidelity else "no",
            _status(found.problem, found.environment),
        )
    _print(table)


def print_environments(rows: Iterable[tuple[str, str, str, str, Path]]) -> None:
    """Print environments: name, library, optimizers, status and folder of each."""
    table = _table("environment", "library", "optimizers", "status", "folder")
    for row in rows:
        table.add_row(*map(str, row))
    _print(table)


def print_benchmarks() -> None:
    """Print every benchmark: tasks, what it is, and whether its data is there."""
    table = _table("benchmark", "tasks", "description", "status")
    for found in benchmarks.available():
        table.add_row(found.name, ", ".join(found.tasks) or "-", found.description, _status(found.reason))
    _print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in _NOT_WRAPPED)
    return table


def _status(problem: str | None, environment: str | None = None) -> Text:
    if problem is not None:
        return Text(problem, style="yellow")
    return Text("ready" if environment is None else f"ready (in the environment {environment})", style="green")


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH).print(table)
