"""`zerowait check` on a study: whether its finished cells are what they say, and whether their numbers are right."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import CELL_FILE
from zerowait.experiments.grid.full_values import with_full_values
from zerowait.experiments.studies.versions import check_data, installed_versions
from zerowait.suite.records.check import check, render
from zerowait.suite.records.store import finished_cells
from zerowait.suite.records.store_cells import TRACE_FILE, problem_with
from zerowait.suite.records.trace import FULL, read_trace
from zerowait.suite.rules.errors import SpecificationError, TraceError, ZerowaitError
from zerowait.suite.sharing.regular_files import read_json
from zerowait.suite.sharing.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from zerowait.benchmarks import Benchmark
    from zerowait.plots.statistics.arithmetic import Integers

ROWS = 10
"""So many rows of a cell are asked for again, evenly spread over it."""


@dataclass(slots=True)
class StudyReport:
    """What a check of a study has found."""

    cells: int = 0
    """How many finished cells were checked."""
    problems: list[str] = field(default_factory=list)
    """What is wrong, a line each."""
    notes: Counter[str] = field(default_factory=Counter)
    """What could not be checked, with the number of cells."""

    def lines(self) -> list[str]:
        """Return the report as lines for people."""
        n = len(self.problems)
        found = "no problem" if n == 0 else "1 problem" if n == 1 else f"{n} problems"
        notes = [f"note: {text} ({count:,} cells)" for text, count in sorted(self.notes.items())]
        return [*self.problems, *notes, f"{self.cells:,} cells checked: {found}"]


def check_study(folder: Path) -> StudyReport:
    """Check the finished cells of a study against their names, journals and benchmarks.

    Raises
    ------
    TraceError
        The study has no finished cell.
    """
    keys = finished_cells(folder)
    if not keys:
        raise TraceError(f"there is no finished run in {folder}; run the study first: zerowait run STUDY")
    report, benchmarks = StudyReport(), _Benchmarks()
    folders = CellFolders(folder / "cells")
    for key in keys:
        check_cell(folders.finished(key), report, benchmarks)
    return report


def check_cell(folder: Path, report: StudyReport, benchmarks: _Benchmarks | None = None) -> None:
    """Check one finished cell and add to the report."""
    report.cells += 1
    problem = problem_with(folder)
    found = [problem] if problem is not None else [*_journal(folder), *_numbers(folder, report, benchmarks)]
    report.problems += [f"{folder}: {text}" for text in found]


def _journal(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the journal of a cell that has one: in native mode."""
    if not RunDirectory(folder).specification.exists():
        return
    try:
        found = check(folder)
    except ZerowaitError as error:
        yield str(error)
        return
    if not found.ok:
        yield from render(found)[: len(found.violations)]


def _numbers(folder: Path, report: StudyReport, benchmarks: _Benchmarks | None) -> Iterator[str]:
    """Yield the rows whose values at the highest fidelity are not those of the benchmark."""
    try:
        trace, cell = read_trace(folder / TRACE_FILE), read_json(folder / CELL_FILE)
        columns = [name for name in trace.columns if name.startswith(FULL)]
        if not columns:
            report.notes["what configurations are worth is not in traces of version 0.1"] += 1
            return
        benchmark = (benchmarks or _Benchmarks()).of(cell)
    except (OSError, ValueError, TraceError) as error:
        yield str(error)
        return
    if isinstance(benchmark, str):
        report.notes[benchmark] += 1
        return
    stored = trace.iloc[spread(len(trace))]
    again = with_full_values(stored, benchmark).reindex(columns=stored.columns)
    for name in columns:
        for number, old, new in zip(stored["evaluation"], stored[name], again[name], strict=True):
            if old != new and not (np.isnan(old) and np.isnan(new)):
                yield f"evaluation {number}: {name} is {old!r}, and the benchmark says {new!r}"


def spread(rows: int) -> Integers:
    """Return the numbers of `ROWS` rows of a cell, or of all if it has fewer, evenly spread over it."""
    return np.unique(np.linspace(0, max(0, rows - 1), min(ROWS, rows)).astype(np.int64))


class _Benchmarks:
    """The benchmarks of cells, each loaded once; a text says why one cannot be asked."""

    def __init__(self) -> None:
        self._known: dict[str, Benchmark | str] = {}

    def of(self, cell: Mapping[str, Any]) -> Benchmark | str:
        """Return the benchmark of a cell's specification."""
        versions = cell.get("versions", {})
        key = json.dumps([cell[name] for name in ("benchmark", "task", "benchmark_parameters")] + [versions])
        if key not in self._known:
            self._known[key] = self._load(cell, versions)
        return self._known[key]

    def _load(self, cell: Mapping[str, Any], versions: Mapping[str, str]) -> Benchmark | str:
        from zerowait import benchmarks

        try:
            benchmark = benchmarks.load(cell["benchmark"], task=cell["task"], **cell["benchmark_parameters"])
            check_data(versions, benchmark)
        except SpecificationError as error:
            return f"numbers of {cell['benchmark']} were not asked for again: {error}"
        here = installed_versions(versions)
        other = [f"{name} {versions[name]}" for name, version in here.items() if versions[name] != version]
        if other:
            return f"numbers of {cell['benchmark']} were not asked for again, because they are of {', '.join(other)}"
        return benchmark
