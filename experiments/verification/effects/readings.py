"""Wrong ways to read a run, beside the right one of `plots.statistics.arithmetic.best_at`: pure functions on arrays.

looking_ahead
    `get_performance_over_time` of mfhpo-simulator 1.4.6 (benchmark_simulator/utils/_performance_over_time.py) puts a
    first entry at time 0 before the deliveries and takes `searchsorted(..., side="left")` without subtracting one: the
    value at a time is that of the first evaluation that ends at or after it. Of several that end at the very time it
    knows the first alone.
interpolated
    A straight line from delivery to delivery, which is what `numpy.interp` and a plotted line give.
after_evaluations
    The number of evaluations in the place of the time: what a table that answers at once leaves to count.
"""

from __future__ import annotations

import math

import numpy as np

from zerowait.plots.statistics.arithmetic import Floats


def looking_ahead(ends: Floats, values: Floats, times: Floats) -> Floats:
    """Return the best value of what was delivered before each time and of the first delivery at or after it.

    Parameters and shapes are those of `best_at`; after the last delivery both are the same, and NaN stands where
    even the next delivery brings no success. Deliveries at the same time count in the order given.
    """
    if not len(ends):
        return np.full(len(times), math.nan)
    order = np.argsort(ends, kind="stable")
    best = np.fmin.accumulate(values[order])
    following = np.searchsorted(ends[order], times, side="left")
    return np.asarray(best[np.minimum(following, len(best) - 1)], dtype=np.float64)


def interpolated(ends: Floats, values: Floats, times: Floats) -> Floats:
    """Return the straight line through the best values at the deliveries, level before the first and after the last.

    Parameters and shapes are those of `zerowait.plots.statistics.arithmetic.best_at`; NaN when nothing succeeded.
    """
    order = np.argsort(ends, kind="stable")
    best = np.fmin.accumulate(values[order]) if len(values) else values
    known = ~np.isnan(best)
    if not known.any():
        return np.full(len(times), math.nan)
    at, best = ends[order][known], best[known]
    # Of deliveries at the same time the last has the best value; a line cannot have two values at one time.
    last = np.append(np.diff(at) > 0, True)
    return np.asarray(np.interp(times, at[last], best[last]), dtype=np.float64)


def after_evaluations(values: Floats, number: int | None) -> float:
    """Return the best of the first so many values, or all, in delivery order; NaN when none of them succeeded."""
    return float(np.fmin.reduce(values[:number], initial=math.nan))
