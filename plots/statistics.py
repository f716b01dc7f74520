"""The arithmetic behind the figures: pure functions on arrays, free of files and of figures."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

LOGARITHMIC_FROM = 20.0
"""A time axis is logarithmic when its end is at least this many times its start."""


def best_at(ends: Floats, values: Floats, times: Floats) -> Floats:
    """Return the step function of a run: the best value delivered at or before each time; never a later one.

    Parameters
    ----------
    ends
        Simulated times of the deliveries in seconds, shape (n,), in any order.
    values
        Losses, shape (n,); NaN for an evaluation that failed, which is never the best.
    times
        Where to read the function, in seconds, shape (m,).

    Returns
    -------
    Floats
        Shape (m,); NaN where nothing has been delivered yet.
    """
    order = np.argsort(ends, kind="stable")
    # fmin rather than minimum: a failed evaluation must not blank out what was found before it.
    best = np.fmin.accumulate(values[order]) if len(values) else values
    # side="right": a result delivered exactly at time t is known at time t.
    last = np.searchsorted(ends[order], times, side="right") - 1
    delivered = last >= 0
    out = np.full(len(times), math.nan)
    out[delivered] = best[last[delivered]]
    return out


def mean_and_standard_error(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error over seeds, both of shape (m,).

    The standard error is the sample standard deviation (n - 1 in the denominator) over the square root of n,
    and NaN for a single seed. A time at which any seed has no value yet gives NaN: a mean over the quicker
    seeds only would be biased.

    Parameters
    ----------
    values
        One row a seed, one column a time, shape (n, m) with n of at least 1.
    """
    n = values.shape[0]
    mean = values.mean(axis=0)
    if n == 1:
        return mean, np.full(values.shape[1], math.nan)
    return mean, values.std(axis=0, ddof=1) / math.sqrt(n)


def time_grid(first: float, last: float, points: int) -> Floats:
    """Return `points` times from `first` to `last` seconds, both included exactly.

    They are spaced geometrically where `is_logarithmic(first, last)`, else evenly; a single one when the two
    are equal.
    """
    if first == last:
        return np.array([first])
    space = np.geomspace if is_logarithmic(first, last) else np.linspace
    grid = np.asarray(space(first, last, points), dtype=np.float64)
    # geomspace rounds its ends; a grid that starts below the first delivery would have no value there.
    grid[0], grid[-1] = first, last
    return grid


def is_logarithmic(first: float, last: float) -> bool:
    """Tell whether a time axis from `first` to `last` seconds reads better on a logarithmic scale."""
    return first > 0 and last >= LOGARITHMIC_FROM * first
