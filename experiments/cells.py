"""A cell: one run of a study, with the folder that its specification names."""

from __future__ import annotations

import json
import shutil
import time
import traceback
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from suite.errors import ZerowaitError
from suite.identity import canonical_json, digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from benchmarks import Benchmark
    from experiments.study import Mode
    from suite.evaluation import Budget
    from suite.overhead import Overhead

TRACE_FILE, CELL_FILE, ERROR_FILE = "trace.parquet", "cell.json", "error.txt"


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study: an optimizer on a benchmark, with a number of workers and a seed."""

    optimizer: str
    """Name of the adapter."""
    mode: Mode
    """How the adapter runs it."""
    label: str
    """Name of the optimizer in figures and tables."""
    benchmark: str
    """Name of the benchmark."""
    task: str | None
    """The benchmark's task, if it has tasks."""
    benchmark_label: str
    """Name of benchmark and task in figures and tables."""
    n_workers: int
    """Number of simulated workers."""
    seed: int
    """Run seed."""
    budget: Budget
    """When the run ends."""
    overhead: Overhead
    """How the optimizer's own time is charged."""
    optimizer_parameters: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the adapter."""
    benchmark_parameters: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the benchmark."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that the result depends on."""
    continual: bool | None = None
    """Whether evaluations continue trainings; None leaves it to the adapter."""

    def specification(self) -> dict[str, Any]:
        """Return everything that decides the cell's trace, as JSON data."""
        specification = {
            "optimizer": self.optimizer,
            "optimizer_parameters": dict(self.optimizer_parameters),
            "mode": self.mode,
            "label": self.label,
            "benchmark": self.benchmark,
            "task": self.task,
            "benchmark_parameters": dict(self.benchmark_parameters),
            "n_workers": self.n_workers,
            "seed": self.seed,
            "max_evaluations": self.budget.max_evaluations,
            "max_time": self.budget.max_time,
            "overhead": self.overhead.specification(),
            "versions": dict(self.versions),
        }
        if self.continual is not None:  # a cell that does not say keeps the key that it always had
            specification["continual"] = self.continual
        return specification

    @property
    def key(self) -> str:
        """The hash of the specification, 32 hexadecimal digits: the name of the cell's folder."""
        return digest(canonical_json(self.specification())).hex()

    def __str__(self) -> str:
        workers = f"{self.n_workers} worker" + "s" * (self.n_workers != 1)
        return f"{self.label} on {self.benchmark_label}, {workers}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended."""

    key: str
    """Key of the cell."""
    makespan: float = 0.0
    """Simulated seconds of the run; 0 when it failed."""
    error: str | None = None
    """The last line of the error, or None when the cell is finished."""


@dataclass(frozen=True, slots=True)
class CellFolders:
    """The folder that holds the cells of a study, and the names in it.

    `<key>` is a finished cell, whole: it is written under another name and renamed. `<key>.failed` is what is
    left of a cell that failed, with `error.txt`. Hidden folders are at work, or were when they were killed.
    """

    path: Path

    def finished(self, key: str) -> Path:
        """Return the folder that exists if and only if the cell is finished."""
        return self.path / key

    def failed(self, key: str) -> Path:
        """Return the folder that keeps what is left of a failed cell."""
        return self.path / f"{key}.failed"

    def at_work(self, key: str) -> Path:
        """Return a new folder for one attempt at a cell."""
        folder = self.path / f".{key}.{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    def leftovers(self, key: str) -> list[Path]:
        """Return the folders of attempts at a cell that are going on or were killed."""
        return sorted(self.path.glob(f".{key}.*"))

    def finished_keys(self) -> set[str]:
        """Return the keys of all finished cells."""
        if not self.path.is_dir():
            return set()
        return {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".") and not entry.suffix}

    def sweep(self) -> None:
        """Remove what killed attempts have left; only while nobody else runs cells here."""
        for leftover in self.path.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def keep_failure(self, key: str, at_work: Path | None, text: str) -> None:
        """Keep an attempt's files and the text of its error, in place of those of an earlier attempt."""
        folder = self.at_work(key) if at_work is None else at_work
        (folder / ERROR_FILE).write_text(text, encoding="utf-8")
        shutil.rmtree(self.failed(key), ignore_errors=True)
        folder.rename(self.failed(key))


def run_cell(cell: Cell, folders: CellFolders) -> Outcome:
    """Run a cell unless it is finished, and return how it ended; an error becomes part of the outcome.

    Only an interruption is raised; the attempt's folder is removed then.
    """
    key = cell.key
    finished = folders.finished(key)
    if finished.is_dir():
        from suite.trace import read_trace

        return Outcome(key, _makespan(read_trace(finished / TRACE_FILE)))
    at_work = folders.at_work(key)
    try:
        (at_work / CELL_FILE).write_text(
            json.dumps(cell.specification(), sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )
        makespan = _makespan(execute(cell, at_work))
        shutil.rmtree(folders.failed(key), ignore_errors=True)
        try:
            at_work.rename(finished)
        except OSError:
            # Somebody else finished the same cell meanwhile; theirs is as good, and complete.
            if not finished.is_dir():
                raise
            shutil.rmtree(at_work)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one failed cell never stops a study
        folders.keep_failure(key, at_work, "".join(traceback.format_exception(error)))
        return Outcome(key, error=last_line(error))
    except BaseException:
        shutil.rmtree(at_work, ignore_errors=True)
        raise
    return Outcome(key, makespan)


def execute(cell: Cell, directory: Path) -> pd.DataFrame:
    """Run the cell in this process, in the given folder, and return its trace."""
    import adapters

    adapter = adapters.load(cell.optimizer, **cell.optimizer_parameters)
    return adapter.optimize(
        _benchmark(cell),
        n_workers=cell.n_workers,
        seed=cell.seed,
        budget=cell.budget,
        overhead=cell.overhead,
        directory=directory,
        mode=cell.mode,
        labels={"label": cell.label, "task": cell.task, "optimum": _optimum(cell)},
        continual=cell.continual,
    )


def _optimum(cell: Cell) -> float | None:
    """Return the benchmark's optimum, for which a table is searched, once in a process for each benchmark."""
    key = canonical_json({"name": cell.benchmark, "task": cell.task, "parameters": cell.benchmark_parameters})
    if key not in _OPTIMA:
        _OPTIMA[key] = _benchmark(cell).optimum
    return _OPTIMA[key]


_OPTIMA: dict[str, float | None] = {}


def _benchmark(cell: Cell) -> Benchmark:
    # A new object for every cell: a search space holds a random generator, which cells must not share.
    import benchmarks

    return benchmarks.load(cell.benchmark, task=cell.task, **cell.benchmark_parameters)


def run_batch(cells: list[Cell], folders: CellFolders, seconds: float) -> list[Outcome]:
    """Run cells, at least one, until so many real seconds have passed, and return their outcomes."""
    begin = time.perf_counter()
    outcomes: list[Outcome] = []
    for cell in cells:
        outcomes.append(run_cell(cell, folders))
        if time.perf_counter() - begin >= seconds:
            break
    return outcomes


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, with its type unless zerowait raised it on purpose."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1].strip() if lines else ""
    if isinstance(error, ZerowaitError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _makespan(trace: pd.DataFrame) -> float:
    return float(trace["end"].max()) if len(trace) else 0.0
