"""The listings of optimizers and benchmarks: what can run here, and what to do about what cannot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zerowait import adapters, benchmarks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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


def print_benchmarks_in_full() -> None:
    """Print every benchmark with its units, least known values, licence, citation and BibTeX."""
    print_blocks((found.name, found.reason, _in_full(found)) for found in benchmarks.available())


def _in_full(found: benchmarks.Descriptor) -> dict[str, str]:
    facts = found.facts
    least = [f"{task}: {value:.6g}" if task else f"{value:.6g}" for task, value in facts.optima.items()]
    lines = {
        "what": found.description,
        "tasks": ", ".join(found.tasks),
        "value": facts.value,
        "runtime": facts.runtime,
        "metrics": "\n".join(f"{name} ({unit})" for name, unit in facts.metrics.items()) or "none beside these",
        "least value": "\n".join(part for part in (", ".join(least), facts.optimum_note) if part),
        "data": found.data,
        "licence": found.licence,
        "provided by": found.provider,
        "citation": found.citation,
        "BibTeX": facts.bibtex,
    }
    return {label: text for label, text in lines.items() if text}


def print_blocks(blocks: Iterable[tuple[str, str | None, Mapping[str, str]]]) -> None:
    """Print one block each: a name, what is wrong with it (None when nothing is), and labelled lines."""
    for name, problem, lines in blocks:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in lines.items():
            table.add_row(f"  {label}", Text(text))
        printer = console()
        # The status is not wrapped: it holds a command to copy.
        printer.print(Text.assemble((name, "bold"), ": ", _status(problem)), soft_wrap=True)
        with printer.capture() as captured:
            printer.print(table)
        # rich fills every line up to the longest.
        text = "\n".join(line.rstrip() for line in captured.get().splitlines())
        print(text, end="\n\n")  # noqa: T201 - a listing


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of text: its first columns are left-aligned, and numbers are right-aligned."""
    table = _table(*columns)
    rows = list(rows)
    for i, column in enumerate(table.columns):
        if all(row[i].replace(",", "").isdigit() for row in rows):
            column.justify = "right"
    for row in rows:
        table.add_row(*row)
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
    console().print(table)


def console() -> Console:
    """Return a console that does not wrap what is not read on a terminal."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH)
