"""Whether a benchmark's time and values can be trusted at its lower fidelities, by asking it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata  # type: ignore[import-untyped]

from zerowait.adapters.spaces import ENOUGH_RUNGS, ETA, halving_budgets, random_configs
from zerowait.benchmarks import Benchmark, Fidelity
from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.suite.rules.errors import SpecificationError

CONFIGURATIONS = 200
"""So many random configurations are asked at each fidelity."""
SEED = 0
"""Chooses them; also the seed of every training."""
LEVELS = 8
"""About so many fidelities are looked at, where there are more."""
BEST_SHARE = 0.1
"""The best tenth of the configurations at one fidelity is compared with that at the highest."""
NOTICEABLE = 0.25
"""A share of the full training's seconds that differs by so much from the linear one is told."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a benchmark says at one fidelity."""

    fidelity: float
    """The fidelity."""
    share: float
    """Seconds over those of the full training: the median over configurations."""
    falls: float
    """Share of the configurations whose seconds are fewer than at the level before."""
    below_optimum: int
    """Values that are less than the benchmark's optimum at the full fidelity."""
    rank_correlation: float
    """Spearman's correlation of the values with those of the full training."""
    best_overlap: float
    """Share of the best tenth that is among the best tenth of the full training."""
    failures: int
    """Trainings that failed."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    label: str
    """The benchmark."""
    configurations: int
    """How many were asked."""
    fidelity: Fidelity
    """Its fidelity."""
    levels: tuple[Level, ...]
    """In increasing order; the last one is the full training."""
    optimum: float | None
    """The least value that is known of the full training."""
    rungs: tuple[float, ...]
    """The fidelities that a reduction factor of 3 gives."""


def examine(benchmark: Benchmark, configurations: int = CONFIGURATIONS) -> Examination:
    """Ask a benchmark for so many random configurations at several fidelities.

    Raises
    ------
    SpecificationError
        The benchmark has no fidelity.
    """
    fidelity = benchmark.fidelity
    if fidelity is None:
        raise SpecificationError(f"{benchmark.label}: there is no fidelity, so there is nothing to examine")
    levels = levels_of(fidelity)
    configs = list(itertools.islice(random_configs(benchmark.space, SEED), configurations))
    values, seconds = np.full((2, len(configs), len(levels)), math.nan)
    for i, config in enumerate(configs):
        for j, level in enumerate(levels):
            try:
                found = benchmark(config, fidelity=level, seed=SEED)
                values[i, j], seconds[i, j] = found.value, found.runtime
            except TrainingFailedError as error:
                seconds[i, j] = error.runtime
    full = seconds[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = seconds / full[:, None]
    optimum = benchmark.optimum
    rows = tuple(
        Level(
            fidelity=level,
            share=float(np.nanmedian(shares[:, j])),
            falls=0.0 if j == 0 else float((seconds[:, j] < seconds[:, j - 1]).mean()),
            below_optimum=0 if optimum is None else int((values[:, j] < optimum).sum()),
            rank_correlation=_correlation(values[:, j], values[:, -1]),
            best_overlap=_overlap(values[:, j], values[:, -1]),
            failures=int(np.isnan(values[:, j]).sum()),
        )
        for j, level in enumerate(levels)
    )
    return Examination(benchmark.label, len(configs), fidelity, rows, optimum, tuple(rungs_of(fidelity)))


def rungs_of(fidelity: Fidelity) -> list[float]:
    """Return the fidelities that a reduction factor of 3 gives; only the full one where the range begins at zero."""
    if fidelity.lower <= 0:
        return [fidelity.upper]
    return halving_budgets(fidelity, fidelity.lower, fidelity.upper, ETA)


def levels_of(fidelity: Fidelity) -> list[float]:
    """Return the fidelities to look at: all where there are few, else some on a geometric scale, and all rungs."""
    if fidelity.values is not None and len(fidelity.values) <= 2 * LEVELS:
        return list(fidelity.values)
    if fidelity.lower > 0:
        between = np.geomspace(fidelity.lower, fidelity.upper, LEVELS)
    else:
        between = np.linspace(fidelity.lower, fidelity.upper, LEVELS)
    found = {*between.tolist()[1:-1], *rungs_of(fidelity)}
    if fidelity.values is not None:
        allowed = fidelity.values
        found = {min(allowed, key=lambda value: abs(value - level)) for level in found}
    elif fidelity.integer:
        found = {float(round(level)) for level in found}
    inside = {level for level in found if fidelity.lower < level < fidelity.upper}
    return [fidelity.lower, *sorted(inside), fidelity.upper]


def in_words(found: Examination) -> Iterator[str]:
    """Yield what the numbers mean, a sentence each."""
    falling = [level for level in found.levels if level.falls > 0]
    if falling:
        worst = max(falling, key=lambda level: level.falls)
        yield (
            f"time falls now and then: in {worst.falls:.1%} of the configurations at {worst.fidelity:g}; a continued "
            "evaluation is then free, and its trace says clipped"
        )
    else:
        yield "time grows with the fidelity in every configuration"
    yield _clock(found)
    if found.optimum is None:
        yield "the optimum is unknown, so values cannot be compared with it"
    below = sum(level.below_optimum for level in found.levels[:-1])
    if below:
        yield (
            f"{below} values at lower fidelities are below the optimum of the full training; take the result "
            "'recommended' or 'full', never 'any'"
        )
    elif found.optimum is not None:
        yield f"no value at a lower fidelity is below the optimum, {found.optimum:g}"
    low = found.levels[0]
    yield (
        f"values at {low.fidelity:g} correlate with those of the full training by {low.rank_correlation:.2f} "
        f"(Spearman), and {low.best_overlap:.0%} of their best tenth is among its best tenth"
    )
    n = len(found.rungs)
    listed = ", ".join(f"{rung:g}" for rung in found.rungs)
    few = f"; a bracket optimizer compares little with {n}; a wider fidelity_range, or a smaller eta, gives more"
    yield f"eta = {ETA} has {n} {'rung' if n == 1 else 'rungs'}: {listed}{few if n < ENOUGH_RUNGS else ''}"


def _clock(found: Examination) -> str:
    upper = found.fidelity.upper
    inner = [level for level in found.levels[:-1] if level.fidelity > 0]
    if not inner:
        return "there is one fidelity only"
    ratios = [(level.share / (level.fidelity / upper), level) for level in inner]
    ratio, level = max(ratios, key=lambda pair: abs(math.log(pair[0])) if pair[0] > 0 else math.inf)
    shape = "linear in the fidelity"
    if ratio > 1 + NOTICEABLE:
        shape = "concave: low fidelities take more than their share"
    elif ratio < 1 / (1 + NOTICEABLE):
        shape = "convex: low fidelities take less than their share"
    return (
        f"the clock is {shape} ({level.share:.1%} of the full training's seconds at {level.fidelity:g}, where a linear "
        f"clock has {level.fidelity / upper:.1%})"
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    both = ~np.isnan(one) & ~np.isnan(other)
    ranks = rankdata(one[both]), rankdata(other[both])
    if not both.any() or any(np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    n = max(1, round(BEST_SHARE * len(one)))
    best = [set(np.argsort(values, kind="stable")[:n].tolist()) for values in (one, other)]  # NaN is sorted last
    return len(best[0] & best[1]) / n
