"""From a study to its cells: everything that can be refused is refused here, before anything starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from zerowait import adapters
from zerowait.adapters.spaces import ENOUGH_RUNGS
from zerowait.experiments.grid.cells import Cell
from zerowait.experiments.studies.reference import full_training
from zerowait.experiments.studies.sources import sources_of
from zerowait.experiments.studies.study import Mode, OptimizerTable, Study, suggestion
from zerowait.experiments.studies.tasks import Choice, Skipped, at, choose
from zerowait.experiments.studies.versions import data_of, libraries_of, versions_of
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.objectives import check_objectives
from zerowait.suite.rules.specification import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zerowait.adapters import Adapter

MOST_CELLS = 1_000_000
"""Of one study; so many run for days and need gigabytes of memory to list."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a study, and the pairs that cannot be run."""

    cells: list[Cell]
    """In the order of execution: seed by seed, so that an interrupted study has compared everybody."""
    skipped: list[Skipped]
    """Each benchmark without data, and each optimizer and benchmark that do not go together."""
    warnings: list[str] = field(default_factory=list)
    """What can run and may still not be what was meant, a line each."""


@dataclass(frozen=True, slots=True)
class _Optimizer:
    entry: OptimizerTable
    adapter: Adapter
    mode: Mode


def make_plan(study: Study, source: str, *, skip_missing_data: bool = False) -> Plan:
    """Return the cells of a study.

    Parameters
    ----------
    study
        The study.
    source
        What errors call it: the name of its file.
    skip_missing_data
        Whether benchmarks whose data is not here are left out and named; otherwise they are an error.

    Raises
    ------
    SpecificationError
        An optimizer, a benchmark, a task or one of their parameters is unknown or unusable, data is missing,
        or no optimizer can run on any benchmark; one line that names the source, the place in it and the
        remedy.
    """
    optimizers = list(_optimizers(study, source))
    skipped: list[Skipped] = []
    choices = choose(study, source, skipped if skip_missing_data else None)
    if not choices:
        raise SpecificationError(f"{source}: no benchmark has its data here ({skipped[0]})")
    pairs: list[tuple[_Optimizer, Choice]] = []
    for choice in choices:
        for optimizer in optimizers:
            if not _is_meant(optimizer.entry, choice.name):
                continue
            if study.objectives is not None:
                with at(source):
                    optimizer.adapter.check_objectives(choice.benchmark, study.objectives)
            reason = optimizer.adapter.refuses(choice.benchmark)
            if reason is None:
                pairs.append((optimizer, choice))
            else:
                names = (optimizer.entry.shown_as, optimizer.entry.name)
                skipped.append(Skipped(names, (choice.benchmark.label, choice.descriptor.name), reason))
    if not pairs:
        raise SpecificationError(
            f"{source}: no optimizer can run on any benchmark ({skipped[0]}); choose others: zerowait list"
        )
    _refuse_what_finds_nothing(optimizers, source, [choice.name for choice in choices], skipped)
    _refuse_what_is_too_much(study, source, optimizers, pairs)
    firsts = [
        (optimizer.entry, replace(first, cluster=None if c.is_perfect else c, label=study.on(first.label, name)))
        for optimizer, first in _first_cells(study, source, pairs)
        for name, c in (study.cluster or {"": Cluster()}).items()
    ]
    seeds = {entry.shown_as: dict.fromkeys(study.seeds_of(entry)) for entry in study.optimizers}
    cells = [
        first.with_workers_and_seed(n_workers, seed)
        for seed in dict.fromkeys(seed for own in seeds.values() for seed in own)
        for entry, first in firsts
        if seed in seeds[entry.shown_as]
        for n_workers in study.workers_of(entry)
    ]
    return Plan(cells, skipped, list(_few_rungs(pairs)))


def _is_meant(entry: OptimizerTable, benchmark: str) -> bool:
    return entry.benchmarks is None or any(fnmatchcase(benchmark, pattern) for pattern in entry.benchmarks)


def _refuse_what_finds_nothing(
    optimizers: list[_Optimizer], source: str, names: list[str], skipped: list[Skipped]
) -> None:
    absent = [one.benchmark[0] for one in skipped if not one.optimizer]
    for i, optimizer in enumerate(optimizers):
        for pattern in optimizer.entry.benchmarks or ():
            if not any(fnmatchcase(name, pattern) for name in [*names, *absent]):
                raise SpecificationError(
                    f"{source}: optimizers[{i}].benchmarks has {pattern!r}, which is no benchmark of the study; "
                    f"{suggestion(pattern, names)}"
                )


def _few_rungs(pairs: list[tuple[_Optimizer, Choice]]) -> Iterator[str]:
    """Yield a line for each bracket optimizer to which a benchmark's fidelities give fewer than three rungs."""
    for optimizer, choice in pairs:
        budgets = optimizer.adapter.budgets(choice.benchmark)
        if budgets is not None and len(budgets) < ENOUGH_RUNGS:
            listed = ", ".join(f"{budget:g}" for budget in budgets)
            yield (
                f"{optimizer.entry.shown_as} on {choice.benchmark.label} has only the "
                f"{'rung' if len(budgets) == 1 else 'rungs'} {listed}, so it compares little; a wider fidelity_range "
                "of the benchmark, or a smaller eta, gives more"
            )


def _refuse_what_is_too_much(
    study: Study, source: str, optimizers: list[_Optimizer], pairs: list[tuple[_Optimizer, Choice]]
) -> None:
    runs = Counter(len(study.workers_of(one.entry)) * len(study.seeds_of(one.entry)) for one, _ in pairs)
    n_cells = len(study.cluster or [""]) * sum(each * n_pairs for each, n_pairs in runs.items())
    if n_cells > MOST_CELLS:
        raise SpecificationError(
            f"{source}: the study has {n_cells:,} cells ({len(pairs)} pairs of optimizer and benchmark, up to "
            f"{max(runs):,} runs of each); it must not have more than {MOST_CELLS:,}: split it, or take fewer seeds"
        )
    for name, cluster in (study.cluster or {}).items():
        with at(f"{source}: cluster{f' {name!r}' if name else ''}"):
            cluster.for_workers(min(min(study.workers_of(one.entry)) for one in optimizers))
    for i, optimizer in enumerate(optimizers):
        most = max(study.workers_of(optimizer.entry))
        if optimizer.mode == "native" and most > MAX_WORKERS:
            raise SpecificationError(
                f"{source}: workers has {most}, but optimizers[{i}] ({optimizer.entry.name}) runs in the mode "
                f"'native', whose simulator takes at most {MAX_WORKERS}; take fewer, or the mode 'ask_tell' if it has "
                "that"
            )


def _first_cells(
    study: Study, source: str, pairs: list[tuple[_Optimizer, Choice]]
) -> Iterator[tuple[_Optimizer, Cell]]:
    """Yield one cell of each pair of optimizer and benchmark; the others differ in workers and seed."""
    trainings: dict[str, float] = {}
    for optimizer, choice in pairs:
        entry, label = optimizer.entry, choice.benchmark.label
        table = study.budget_of(entry)
        if table.full_trainings is not None and label not in trainings:
            with at(source):
                trainings[label] = full_training(choice.benchmark)
        yield (
            optimizer,
            Cell(
                optimizer=entry.name,
                mode=optimizer.mode,
                label=entry.shown_as,
                benchmark=choice.descriptor.name,
                task=choice.task,
                benchmark_label=label,
                n_workers=study.workers_of(entry)[0],
                seed=study.seeds_of(entry)[0],
                budget=table.budget(trainings.get(label)),
                overhead=study.overhead if entry.overhead is None else entry.overhead,
                optimizer_parameters=entry.parameters,
                benchmark_parameters=choice.entry.parameters,
                versions={
                    **versions_of(optimizer.adapter, libraries_of(optimizer.adapter, choice.descriptor)),
                    **data_of(choice.benchmark),
                    **sources_of(optimizer.adapter, choice.benchmark, choice.descriptor.provider),
                },
                objectives=check_objectives(study.objectives),
                continual=study.continual if entry.continual is None else entry.continual,
            ),
        )


def _optimizers(study: Study, source: str) -> Iterator[_Optimizer]:
    known = {descriptor.name: descriptor for descriptor in adapters.available()}
    for i, entry in enumerate(study.optimizers):
        place = f"{source}: optimizers[{i}]"
        if entry.name not in known:
            raise SpecificationError(
                f"{place}.name is {entry.name!r}, which is no optimizer; {suggestion(entry.name, known)}"
            )
        with at(place):
            adapter = adapters.load(entry.name, **entry.parameters)
        modes: list[Mode] = [mode for mode in adapters.MODES if mode in adapter.modes]
        mode = entry.mode or study.mode or adapter.usual_mode()
        if mode not in modes:
            where = f"{place}.mode" if entry.mode else f"{source}: mode"
            remedy = "" if entry.mode else f"; give optimizers[{i}] a mode of its own"
            raise SpecificationError(f"{where} is {mode!r}; {entry.name} can run in: {', '.join(modes)}{remedy}")
        yield _Optimizer(entry, adapter, mode)
