"""The listings of optimizers and benchmarks: what can run here, and what to do about what cannot."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zerowait import adapters, benchmarks
from zerowait.experiments.studies.output import print_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

UNLIMITED_WIDTH = 100_000
"""Columns; a table of numbers that is not read on a terminal is not wrapped."""

_NOT_WRAPPED = ("optimizer", "benchmark", "library", "fidelity", "environment")


def optimizers(words: Sequence[str] = ()) -> list[Entry]:
    """Return the optimizers in whose entry all of the words stand: library, modes, and whether it is installed."""
    found = []
    for one in adapters.available():
        modes = sorted(one.modes, key=lambda mode: mode != one.default_mode)
        ready = "ready" if one.environment is None else f"ready (environment {one.environment})"
        columns = {
            "library": one.library,
            "fidelity": "yes" if one.uses_fidelity else "no",
            "modes": ", ".join(modes),
        }
        full = {
            "library": one.library,
            "modes": ", ".join(modes) + (", the first by default" if len(modes) > 1 else ""),
            "chooses fidelities": "yes" if one.uses_fidelity else "no",
            "objectives": "several" if one.several_objectives else "one",
        }
        found.append(Entry(one.name, columns, ready, one.problem, full, _described(one)))
    return [entry for entry in found if entry.has(words)]


def families(words: Sequence[str] = ()) -> list[Entry]:
    """Return the benchmarks in whose entry all of the words stand: tasks, what it is, and whether its data is there."""
    entries = [
        Entry(one.name, {"tasks": str(len(one.tasks) or "-"), "description": one.description}, "ready", one.reason,
              _in_full(one), _described(one))
        for one in benchmarks.available()
    ]  # fmt: skip
    return [entry for entry in entries if entry.has(words)]


@dataclass(frozen=True, slots=True)
class Entry:
    """An optimizer or a benchmark in a listing."""

    name: str
    columns: Mapping[str, str]
    """What the overview says of it, by heading."""
    ready: str
    """What is said when nothing is wrong with it."""
    problem: str | None
    """What is wrong with it, and what to do; None when nothing is."""
    full: Mapping[str, str]
    """All that is known of it, by label."""
    described: Mapping[str, Any]
    """The same as the registry has it."""

    def has(self, words: Sequence[str]) -> bool:
        """Tell whether all words stand somewhere in it, in capitals or not."""
        text = " ".join([self.name, *self.columns.values(), *self.full.values(), self.problem or self.ready]).lower()
        return all(word.lower() in text for word in words)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**self.described, "ready": self.problem is None}


def _described(value: Any) -> Any:
    """Return what the registry says as JSON knows it."""
    if is_dataclass(value):
        return {one.name: _described(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {"" if key is None else key: _described(one) for key, one in value.items()}
    return value


def print_overview(heading: str, entries: Sequence[Entry], command: str) -> None:
    """Print a line for each entry, cut where the terminal ends and wrapped in a pipe, and how to see the rest."""
    rows = [
        (heading, "status", *entries[0].columns),
        *((e.name, e.ready if e.problem is None else "not here", *e.columns.values()) for e in entries),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        begin = "  ".join(f"{text:{n}}" for text, n in zip(cells, widths, strict=False)) + "  "
        lines = _lines(last, len(begin))
        if len(lines) > 1 and sys.stdout.isatty():
            lines = [f"{last[: _width() - len(begin) - 3]}..."]
        _print_beside(begin, lines)
    absent = sum(entry.problem is not None for entry in entries)
    if absent:
        print_text(f"{absent} not here; what to do: zerowait list NAME, or zerowait list {command} -v")


def print_in_full(entries: Sequence[Entry]) -> None:
    """Print everything that is known of each entry."""
    print_blocks((e.name, e.problem, e.full) for e in entries)


def print_text(text: str) -> None:
    """Print words in lines that are no longer than the terminal is wide."""
    _print_beside("", _lines(text, 0))


def _width() -> int:
    """Return how many columns the terminal has, or COLUMNS says; 80 where there is neither."""
    return shutil.get_terminal_size().columns


def _lines(text: str, begin: int) -> list[str]:
    """Return a text in lines that fit beside so many columns; on a pipe a word that is longer is not broken."""
    room = max(_width() - begin, 20)
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text, room, subsequent_indent=indent, break_long_words=sys.stdout.isatty(), break_on_hyphens=False
    )


def _print_beside(begin: str, lines: Sequence[str]) -> None:
    """Print lines below one another, behind the beginning of the first one."""
    for i, line in enumerate(lines):
        print_out(f"{begin if i == 0 else ' ' * len(begin)}{line}".rstrip())


def print_environments(rows: Iterable[tuple[str, str, str, str, Path]]) -> None:
    """Print environments: name, library, optimizers, status and folder of each."""
    table = _table("environment", "library", "optimizers", "status", "folder")
    for row in rows:
        table.add_row(*map(str, row))
    _print(table)


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
    for name, problem, texts in blocks:
        # The status is not wrapped: it holds a command to copy.
        console().print(Text.assemble((name, "bold"), ": ", _status(problem)), soft_wrap=True)
        room = max(map(len, texts), default=0) + 4
        for label, text in texts.items():
            lines = [line for one in text.splitlines() for line in _lines(one, room)]
            _print_beside(f"  {label:{room - 2}}", lines or [""])
        print_out("")


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


def _status(problem: str | None) -> Text:
    return Text("ready", style="green") if problem is None else Text(problem, style="yellow")


def _print(table: Table) -> None:
    console().print(table)


def console() -> Console:
    """Return a console that does not wrap what is not read on a terminal."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH)
