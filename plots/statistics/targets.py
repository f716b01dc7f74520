"""Times to targets: expected ones, those with restarts, and by which factor an optimizer is slower than the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zerowait.plots.statistics.arithmetic import Floats

RESTARTED = 1000
"""Sequences of runs that are drawn, a run after the other until one reaches the target."""


def expected_running_time(times: Floats, spent: Floats) -> Floats:
    """Return the expected time to a target when runs are restarted until one reaches it, over the first axis.

    The time of all runs, those that reach the target counted until then, over the number of those that do (Hansen et
    al. 2021, doi:10.1080/10556788.2020.1808977, section 5.2; Auger and Hansen 2005). Infinite where none does.

    Parameters
    ----------
    times
        To the target, shape (n, ...); infinite where it was missed.
    spent
        How long the runs took that missed it, shape (n, ...).
    """
    reached = np.isfinite(times)
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(reached, times, spent).sum(axis=0) / reached.sum(axis=0), dtype=np.float64)


def restarted(times: Floats, spent: Floats, random: np.random.Generator, sequences: int = RESTARTED) -> Floats:
    """Return times to targets of runs that are followed by others until one reaches the target: simulated restarts.

    Runs of an optimizer are drawn with replacement until one reaches the target; the time is that of all of them
    (Hansen et al. 2021, section 5.3). Infinite where no run does.

    Parameters
    ----------
    times
        To the targets, shape (n, optimizers, targets); infinite where missed.
    spent
        How long a run took that missed a target, shape (n, optimizers).
    random
        Source of the draws.
    sequences
        How many are drawn.

    Returns
    -------
    Floats
        Shape (sequences, optimizers, targets).
    """
    out = np.full((sequences, *times.shape[1:]), math.inf)
    for k in range(times.shape[1]):
        for target in range(times.shape[2]):
            of = times[:, k, target]
            reached = np.isfinite(of)
            if not reached.any():
                continue
            # So many runs miss the target before one reaches it (a geometric distribution), each of them at random.
            misses = random.geometric(reached.mean(), sequences) - 1
            out[:, k, target] = random.choice(of[reached], sequences)
            if misses.any():
                lost = random.choice(spent[~reached, k], int(misses.sum()))
                out[:, k, target] += np.bincount(np.repeat(np.arange(sequences), misses), lost, minlength=sequences)
    return out


def performance_ratios(times: Floats) -> Floats:
    """Return by which factor each solver is slower than the best on the same problem, over the last axis.

    r = t / min t (Dolan and More 2002, doi:10.1007/s101070100263, section 2); infinite where a solver does not solve
    the problem, also where nobody does.

    Parameters
    ----------
    times
        Positive, shape (..., solvers); infinite where a problem was not solved.
    """
    best = times.min(axis=-1, keepdims=True)
    return np.where(np.isinf(times), math.inf, times / np.where(np.isinf(best), 1.0, best))
