"""The listings of optimizers and benchmarks: what can run here, and what to do about what cannot."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

import adapters
import benchmarks

UNLIMITED_WIDTH = 100_000
"""Columns; a listing that is not read on a terminal is not wrapped."""


def print_optimizers() -> None:
    """Print every optimizer: library, modes, whether it chooses fidelities, and whether it is installed."""
    table = _table("optimizer", "library", "modes", "fidelity", "status")
    for found in adapters.available():
        table.add_row(
            found.name,
            found.library,
            ", ".join(found.modes),
            "yes" if found.uses_fidelity else "no",
            _status(found.problem),
        )
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
        table.add_column(name, overflow="fold", no_wrap=name in ("optimizer", "benchmark", "library", "fidelity"))
    return table


def _status(problem: str | None) -> Text:
    return Text("ready", style="green") if problem is None else Text(problem, style="yellow")


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH).print(table)
