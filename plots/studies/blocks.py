"""Blocks: runs of all optimizers on the same benchmark, with the same seed and number of workers, that can be compared.

Nothing is filled in: a benchmark that an optimizer has no run on is left out for all of them, and named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from zerowait.plots.studies.objectives import HYPERVOLUME
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.plots.statistics.arithmetic import Floats, Integers
    from zerowait.plots.studies.study import Study

Horizon = Literal["common", "longest"]
"""Until when optimizers are compared: the end of the one that ends first, by the median of its seeds, or of the longest
run. Not of the shortest run: where runtimes differ a thousandfold, that is over before others have a first result."""
MOST_NAMED = 4
"""So many of what was left out is named in a caption."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The comparable runs with one number of workers."""

    n_workers: int
    optimizers: tuple[str, ...]
    benchmarks: tuple[str, ...]
    runs: tuple[Integers, ...]
    """For each benchmark the numbers of the runs, shape (seeds, optimizers)."""
    horizons: Floats
    """For each benchmark until when runs are compared, in simulated seconds."""
    left_out: tuple[str, ...]
    """What could not be compared, in words."""

    @property
    def n_seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a benchmark."""
        counts = [len(runs) for runs in self.runs]
        return min(counts), max(counts)


def blocks(study: Study, horizon: Horizon = "common") -> list[Blocks]:
    """Return the blocks of each number of workers, ascending.

    A number of workers with which no benchmark has a seed that all optimizers have is left out, and named.

    Raises
    ------
    SpecificationError
        It is so with all of them.
    """
    optimizers = tuple(sorted(study.cells["optimizer"].unique()))
    found = [_of(study, int(n), runs, optimizers, horizon) for (n,), runs in study.groups("n_workers")]
    groups = [group for group in found if group.benchmarks]
    if not groups:
        reasons = "; ".join(f"with {counted([group.n_workers], 'worker')}: {listed(group.left_out)}" for group in found)
        raise SpecificationError(
            f"nothing can be compared {reasons}; choose optimizers that ran on the same benchmarks, such as "
            "--where optimizer=A,B"
        )
    without = tuple(
        f"everything with {counted([group.n_workers], 'worker')} ({listed(group.left_out)})"
        for group in found
        if not group.benchmarks
    )
    return [replace(groups[0], left_out=(*without, *groups[0].left_out)), *groups[1:]]


def _of(study: Study, n_workers: int, runs: Integers, optimizers: tuple[str, ...], horizon: Horizon) -> Blocks:
    cells = study.cells.iloc[runs].assign(run=runs)
    kept: dict[str, Integers] = {}
    left_out = []
    for benchmark, of_benchmark in cells.groupby("benchmark", sort=True):
        table = of_benchmark.pivot(index="seed", columns="optimizer", values="run").reindex(columns=list(optimizers))
        complete = table.dropna()
        called = study.labels.text(benchmark)
        if len(complete):
            kept[str(benchmark)] = complete.to_numpy(dtype=np.int64)
            if len(complete) < len(table):
                left_out.append(f"{len(table) - len(complete)} of {counted([len(table)], 'seed')} on {called}")
        else:
            absent = [study.labels.text(name) for name in optimizers if table[name].isna().all()]
            reason = f"no run of {' and '.join(absent)}" if absent else "no seed that all optimizers have"
            left_out.append(f"{called} ({reason})")
    until = study.cells["until"].to_numpy()
    return Blocks(
        n_workers,
        optimizers,
        tuple(kept),
        tuple(kept.values()),
        np.array(
            [float(np.median(until[t], axis=0).min() if horizon == "common" else until[t].max()) for t in kept.values()]
        ),
        tuple(left_out),
    )


def listed(names: Sequence[str]) -> str:
    """Return the names with commas between them, the first few if they are many."""
    names = list(dict.fromkeys(names))
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"


def called(study: Study, optimizer: object, benchmark: object) -> str:
    """Return what figures call an optimizer on a benchmark."""
    return f"{study.labels.text(optimizer)} on {study.labels.text(benchmark)}"


def left_out_sentence(groups: Sequence[Blocks]) -> str:
    """Return what a caption says of runs that could not be compared; empty when there are none."""
    texts = [text for group in groups for text in group.left_out]
    return f"Left out, for want of runs to compare with: {listed(texts)}." if texts else ""


def compared_sentence(groups: Sequence[Blocks], horizon: Horizon) -> str:
    """Return over how many benchmarks and seeds was compared, and until when."""
    n = counted([len(group.benchmarks) for group in groups], "benchmark")
    seeds = counted([count for group in groups for count in group.n_seeds], "seed")
    until = (
        "the end of the optimizer that ends first, by the median of its seeds"
        if horizon == "common"
        else "the end of the longest run"
    )
    return (
        f"{n[0].upper()}{n[1:]}, {seeds} each. The time of a benchmark is counted up to {until}; "
        "runs that ended sooner keep their final value."
    )


def counted(numbers: Sequence[int], noun: str) -> str:
    """Return `3 seeds`, or `2 to 5 seeds`."""
    low, high = min(numbers), max(numbers)
    return f"{low if low == high else f'{low} to {high}'} {noun}{'' if high == 1 else 's'}"


def numbered(numbers: Sequence[int], noun: str) -> str:
    """Return `1 worker`, or `1, 4, 8 workers`: all of the numbers."""
    different = sorted(set(map(int, numbers)))
    return f"{', '.join(map(str, different))} {noun}{'' if different == [1] else 's'}"


def reference_sentence(study: Study, benchmarks: Sequence[str]) -> str:
    """Return which value counts as regret 0 on these benchmarks: the known optimum, or the best that the study saw."""
    if study.rule[0] == HYPERVOLUME:
        return "Regret is measured from the hypervolume of what all runs of the study delivered together."
    source = study.references.loc[sorted(set(benchmarks)), "source"]
    seen = list(source[source == "best seen"].index)
    if not seen:
        return "Regret is measured from the known optimum."
    best = "the best loss seen in the study, because the traces name no optimum"
    if len(seen) == len(source):
        return f"Regret is measured from {best}."
    return f"Regret is measured from the known optimum; for {listed(seen)}, from {best}."
