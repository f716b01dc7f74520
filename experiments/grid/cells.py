"""A cell: one run of a study, with the folder that its specification names."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zerowait.experiments.grid.attempts import TRACE_FILE, CellFolders
from zerowait.experiments.studies.sources import check_sources, sources_of
from zerowait.experiments.studies.versions import check_data, check_versions
from zerowait.suite.records.failures import error_text
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError, WrongGuessError, ZerowaitError
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.objectives import check_objectives
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from zerowait.benchmarks import Benchmark
    from zerowait.experiments.studies.study import Mode

CELL_FILE = "cell.json"
MOST_DEATHS = 2
"""So often may the process die that runs a cell, until the cell counts as failed: once may be bad luck."""


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
    """Versions of the libraries, and digests of the data, that the result depends on."""
    continual: bool | None = None
    """Whether evaluations continue trainings; None leaves it to the adapter."""
    cluster: Cluster | None = None
    """What the workers are like; None stands for perfect ones."""
    objectives: tuple[str, ...] | None = None
    """What is minimised where that is more than the loss."""

    def with_workers_and_seed(self, n_workers: int, seed: int) -> Cell:
        """Return the same with another number of workers and another seed."""
        return replace(self, n_workers=n_workers, seed=seed)

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
            **self.budget.to_json(),
            "overhead": self.overhead.to_json(),
            "versions": dict(self.versions),
        }
        if self.continual is not None:  # a cell that does not say keeps the key that it always had
            specification["continual"] = self.continual
        if self.cluster is not None:
            specification["cluster"] = self.cluster.to_json()
        if self.objectives is not None:
            specification["objectives"] = list(self.objectives)
        return specification

    @classmethod
    def from_specification(cls, data: Mapping[str, Any], benchmark_label: str) -> Cell:
        """Return the cell with this specification, whose benchmark is called so in figures and tables.

        Raises
        ------
        SpecificationError
            It is that of no cell.
        """
        try:
            names = ("optimizer", "mode", "label", "benchmark", "task", "n_workers", "seed", "optimizer_parameters",
                     "benchmark_parameters", "versions")  # fmt: skip
            return cls(
                **{name: data[name] for name in names},
                benchmark_label=benchmark_label,
                budget=Budget.from_json(data),
                overhead=Overhead.from_json(data["overhead"]),
                continual=data.get("continual"),
                cluster=Cluster.from_json(data["cluster"]) if "cluster" in data else None,
                objectives=check_objectives(data.get("objectives")),
            )
        except (KeyError, TypeError) as error:
            raise SpecificationError(f"this specifies no cell: it lacks {error}") from None

    @property
    def key(self) -> str:
        """The hash of the specification, 32 hexadecimal digits: the name of the cell's folder."""
        return digest(canonical_json(self.specification())).hex()

    def run(self) -> tuple[str, str, int, int]:
        """Return what names the run in figures and tables: optimizer, benchmark, number of workers and seed."""
        return self.label, self.benchmark_label, self.n_workers, self.seed

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
    seconds: float = field(default=0.0, compare=False)
    """Real seconds that the run itself took; the runner's own time is what remains."""


def run_cell(cell: Cell, folders: CellFolders) -> Outcome:
    """Run a cell unless it is finished, and return how it ended; an error becomes part of the outcome.

    Only an interruption, and an error of the cells' own folder, is raised; the attempt's folder is removed then.
    """
    key = cell.key
    died = folders.wait_for_attempts(key)
    finished = folders.finished(key)
    if finished.is_dir():
        from zerowait.suite.records.trace import read_trace

        return Outcome(key, _makespan(read_trace(finished / TRACE_FILE)))
    if died >= MOST_DEATHS:
        text = f"the process that ran it died {died} times: it crashed, was killed, or ran out of memory"
        folders.keep_failure(key, folders.leftovers(key)[-1], text + "\n")
        return Outcome(key, error=text)
    attempt = folders.begin(key)
    begin = time.perf_counter()
    try:
        (attempt.folder / CELL_FILE).write_text(
            json.dumps(cell.specification(), sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )
        trace = execute(cell, attempt.folder)
        _refuse_wrong_guesses(trace)
        makespan = _makespan(trace)
        seconds = time.perf_counter() - begin
        attempt.finish()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one failed cell never stops a study
        line = last_line(error)
        attempt.fail(error_text(line, "".join(traceback.format_exception(error))))
        return Outcome(key, error=line, seconds=time.perf_counter() - begin)
    except BaseException:
        attempt.drop()
        raise
    return Outcome(key, makespan, seconds=seconds)


ACCEPT_WRONG_GUESSES = "ZEROWAIT_ACCEPT_WRONG_GUESSES"
"""Environment variable that lets cells be finished although free workers were wrongly taken to be idle."""


def _refuse_wrong_guesses(trace: pd.DataFrame) -> None:
    from zerowait.suite.records.trace import ATTRIBUTE

    wrong = trace.attrs[ATTRIBUTE].get("wrong_guesses", 0)
    if wrong and not os.environ.get(ACCEPT_WRONG_GUESSES):
        raise WrongGuessError(
            f"{wrong} times a free worker was taken to be idle and called after all, so results came too early; run "
            f"the cell again with --retry-failed, and with {ACCEPT_WRONG_GUESSES}=1 in the environment to keep them"
        )


def execute(cell: Cell, directory: Path) -> pd.DataFrame:
    """Run the cell in this process, in the given folder, and return its trace."""
    from zerowait import adapters
    from zerowait.experiments.grid.full_values import with_full_values
    from zerowait.suite.records.trace import ATTRIBUTE, write_trace

    adapter = adapters.load(cell.optimizer, **cell.optimizer_parameters)
    check_versions(cell.versions, adapter)
    benchmark = _benchmark(cell)
    check_data(cell.versions, benchmark)
    check_sources(cell.versions, sources_of(adapter, benchmark, _provider(cell.benchmark)))
    # An adapter of somebody else's may know of no clusters and of one objective.
    more: dict[str, Any] = {} if cell.cluster is None else {"cluster": cell.cluster}
    more |= {} if cell.objectives is None else {"objectives": cell.objectives}
    trace = adapter.optimize(
        benchmark,
        n_workers=cell.n_workers,
        seed=cell.seed,
        budget=cell.budget,
        overhead=cell.overhead,
        directory=directory,
        mode=cell.mode,
        labels={"label": cell.label, "task": cell.task, "optimum": _optimum(cell)},
        continual=cell.continual,
        **more,
    )
    trace = with_full_values(trace, benchmark)
    trace.attrs[ATTRIBUTE]["cell"] = cell.key
    write_trace(trace, directory / TRACE_FILE)
    return trace


@functools.cache
def _provider(benchmark: str) -> str:
    from zerowait import benchmarks

    return next((found.provider for found in benchmarks.available() if found.name == benchmark), "zerowait")


def _optimum(cell: Cell) -> float | None:
    """Return the benchmark's optimum, for which a table is searched, once in a process for each benchmark."""
    key = canonical_json({"name": cell.benchmark, "task": cell.task, "parameters": cell.benchmark_parameters})
    if key not in _OPTIMA:
        _OPTIMA[key] = _benchmark(cell).optimum
    return _OPTIMA[key]


_OPTIMA: dict[str, float | None] = {}


def _benchmark(cell: Cell) -> Benchmark:
    # A new object for every cell: a search space holds a random generator, which cells must not share.
    from zerowait import benchmarks

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
