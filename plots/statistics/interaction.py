"""Does the order of optimizers depend on the number of workers? A permutation test of that interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zerowait.plots.statistics.arithmetic import Floats

PERMUTATIONS = 9_999
AT_ONCE = 500
"""Permutations that are held in memory together."""


def interaction_test(
    ranks: Floats, random: np.random.Generator, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Return the sum of squares of the interaction of optimizer and number of workers, and its p-value.

    The statistic is the variance of an optimizer's average rank over numbers of workers, summed over optimizers. If the
    number of workers makes no difference to the order of optimizers, the rankings of a block are exchangeable among its
    numbers of workers: they are permuted within each block, independently (Pesarin and Salmaso 2010, Permutation Tests
    for Complex Data, section 2.6). The observed arrangement counts as one of them (Phipson and Smyth 2010,
    doi:10.2202/1544-6115.1585), so that the p-value is never 0.

    Parameters
    ----------
    ranks
        Of the optimizers, shape (blocks, numbers of workers, optimizers).
    random
        Source of the permutations.
    permutations
        How many.
    """
    n_blocks, n_workers, _ = ranks.shape
    observed = _statistic(ranks.mean(axis=0))
    as_far = 0
    for begin in range(0, permutations, AT_ONCE):
        many = min(AT_ONCE, permutations - begin)
        order = np.argsort(random.random((many, n_blocks, n_workers)), axis=2)
        moved = ranks[np.arange(n_blocks)[None, :, None], order]
        # Sums of the same numbers in another order differ by roundings, and a tie is as far.
        as_far += int((_statistic(moved.mean(axis=1)) >= observed - 1e-9).sum())
    return float(observed), (1 + as_far) / (1 + permutations)


def _statistic(means: Floats) -> Floats:
    """Return the statistic of average ranks, shape (..., numbers of workers, optimizers)."""
    return np.asarray(((means - means.mean(axis=-2, keepdims=True)) ** 2).sum(axis=(-2, -1)))
