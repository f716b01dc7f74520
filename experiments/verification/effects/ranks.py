"""How much a ranking changes: average ranks right and wrong, flipped pairs, Kendall's tau, and what chance alone does.

Pure functions on losses: one array a benchmark, shape (seeds, optimizers). An average rank is the mean over benchmarks
of the mean over seeds of the rank among the runs with the same benchmark and seed, as in the figure `rank_over_time`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zerowait.plots.statistics.arithmetic import (
    RESAMPLES,
    Floats,
    Integers,
    average_ranks,
    bootstrap_means,
    percentile_interval,
)

DIGITS = 9
"""Of an average rank: means of equal numbers in another order differ in the last bits and are ties all the same."""


def mean_ranks(strata: Sequence[Floats]) -> Floats:
    """Return the average rank of each optimizer, shape (k,), from the losses of each benchmark, shape (seeds, k)."""
    return _rounded(np.mean([average_ranks(losses).mean(axis=0) for losses in strata], axis=0))


def _rounded(ranks: Any) -> Floats:
    return np.asarray(np.round(ranks, DIGITS), dtype=np.float64)


def kendall_tau(one: Floats, other: Floats) -> Floats:
    """Return Kendall's rank correlation over the last axis, corrected for ties (tau-b, Kendall 1945).

    1 where the two have the same order, also when everything is tied in both; NaN where everything is tied in one only.
    `scipy.stats.kendalltau` gives the same, one pair of rankings at a time.

    Parameters
    ----------
    one, other
        Shape (..., k).
    """
    a, b = _signs(one), _signs(other)
    both, in_one, in_other = (a * b).sum(axis=-1), (a * a).sum(axis=-1), (b * b).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = both / np.sqrt(in_one * in_other)
    return np.asarray(np.where((in_one == 0) & (in_other == 0), 1.0, tau), dtype=np.float64)


def flips(one: Floats, other: Floats) -> Floats:
    """Return the number of pairs whose order is reversed over the last axis; a tie in either is no reversal."""
    return np.asarray((_signs(one) * _signs(other) < 0).sum(axis=-1), dtype=np.float64)


def largest_change(one: Floats, other: Floats) -> Floats:
    """Return the largest difference over the last axis."""
    return np.asarray(np.abs(np.asarray(other) - one).max(axis=-1), dtype=np.float64)


def _signs(ranks: Floats) -> Floats:
    """Return for each pair, over the last axis, whether its first is behind (1), before (-1) or tied (0)."""
    ranks = np.asarray(ranks)
    first, second = np.triu_indices(ranks.shape[-1], k=1)
    return np.sign(ranks[..., first] - ranks[..., second])


@dataclass(frozen=True, eq=False)
class Changes:
    """A ranking beside the right one; both of shape (k,), or (replicates, k)."""

    right: Floats
    wrong: Floats

    @property
    def tau(self) -> Floats:
        """Kendall's tau of the two."""
        return kendall_tau(self.right, self.wrong)

    @property
    def flips(self) -> Floats:
        """Pairs in reversed order."""
        return flips(self.right, self.wrong)

    @property
    def largest(self) -> Floats:
        """The largest change of an average rank."""
        return largest_change(self.right, self.wrong)

    @property
    def each(self) -> Floats:
        """The change of each average rank; positive: the mistake makes the optimizer look worse."""
        return np.asarray(self.wrong - self.right, dtype=np.float64)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        k = self.right.shape[-1]
        return k * (k - 1) // 2

    def interval(self, quantity: str) -> tuple[Floats, Floats]:
        """Return the percentile interval of a quantity over the replicates; a tau that is no number is left out."""
        values = getattr(self, quantity)
        if quantity == "tau":
            values = values[~np.isnan(values)]
            if not len(values):
                return np.asarray(math.nan), np.asarray(math.nan)
        return percentile_interval(values)


def changes(right: Sequence[Floats], wrong: Sequence[Floats]) -> Changes:
    """Return the change of the average ranks, from the losses of each benchmark, right and wrong."""
    return Changes(mean_ranks(right), mean_ranks(wrong))


def replicates_over_seeds(
    right: Sequence[Floats], wrong: Sequence[Floats], random: np.random.Generator, resamples: int = RESAMPLES
) -> Changes:
    """Return replicates with the seeds of every benchmark drawn anew, the same for right and wrong; see `changes`."""
    both = [np.concatenate([average_ranks(r), average_ranks(w)], axis=1) for r, w in zip(right, wrong, strict=True)]
    return _split(bootstrap_means(both, random, resamples))


def replicates_over_benchmarks(
    right: Sequence[Floats], wrong: Sequence[Floats], random: np.random.Generator, resamples: int = RESAMPLES
) -> Changes:
    """Return replicates with the benchmarks drawn anew, the same for right and wrong; see `changes`."""
    means = [
        np.concatenate([average_ranks(r).mean(axis=0), average_ranks(w).mean(axis=0)])
        for r, w in zip(right, wrong, strict=True)
    ]
    return _split(bootstrap_means([np.stack(means)], random, resamples))


def _split(both: Floats) -> Changes:
    k = both.shape[1] // 2
    return Changes(_rounded(both[:, :k]), _rounded(both[:, k:]))


def redrawn(
    strata: Sequence[Floats], random: np.random.Generator, repetitions: int | None = None, resamples: int = RESAMPLES
) -> Floats:
    """Return average ranks of studies whose runs are drawn anew for every optimizer, shape (resamples, k).

    What a study gives whose optimizers are not seeded: each time other runs, and no run of one optimizer belongs to a
    run of another.

    Parameters
    ----------
    strata
        Losses of each benchmark.
    random
        Source of the draws.
    repetitions
        Of each drawn study; as many as there are by default.
    resamples
        Number of studies.
    """
    return _mean_over(
        strata, lambda n, k: random.integers(0, n, size=(resamples, n if repetitions is None else repetitions, k))
    )


def repaired(strata: Sequence[Floats], random: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Return average ranks with the same runs, paired by chance and not by their seed, shape (resamples, k)."""
    return _mean_over(
        strata,
        lambda n, k: random.permuted(np.broadcast_to(np.arange(n)[:, None], (resamples, n, k)), axis=1),
    )


def _mean_over(strata: Sequence[Floats], draw: Callable[[int, int], Integers]) -> Floats:
    means = []
    for losses in strata:
        drawn = draw(*losses.shape)
        means.append(average_ranks(np.take_along_axis(losses[None], drawn, axis=1)).mean(axis=1))
    return _rounded(np.mean(means, axis=0))


def between_draws(
    strata: Sequence[Floats], random: np.random.Generator, repetitions: int | None = None, resamples: int = RESAMPLES
) -> Changes:
    """Return how one unseeded study differs from the next: `resamples` pairs of what `redrawn` returns."""
    return Changes(redrawn(strata, random, repetitions, resamples), redrawn(strata, random, repetitions, resamples))


def another_order(pairs: Changes) -> float:
    """Return the share of the replicates whose two rankings differ in the order of any pair, ties included."""
    return float((_signs(pairs.right) != _signs(pairs.wrong)).any(axis=-1).mean())


def another_winner(pairs: Changes) -> float:
    """Return the share of the replicates whose two rankings have another first, or other ones that share it."""
    first = [ranks == ranks.min(axis=-1, keepdims=True) for ranks in (pairs.right, pairs.wrong)]
    return float((first[0] != first[1]).any(axis=-1).mean())
