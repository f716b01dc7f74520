"""How far apart two runs of an optimizer are, and when one of three is the odd one out.

An optimizer that learns decides by what it knows when it is asked, and that depends on real microseconds: two runs
that both really sleep differ from one another. So no distance from a slept run is right or wrong by itself. Two slept
runs and a simulated one are compared in pairs instead. If simulating changes nothing, the simulated run is one of
three alike, and the probability that just this one is the odd one out (further from both others than they are from one
another) is at most a third. Of n cells it then happens in no more than `most_odd(n)`, but for one case in 500.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom  # type: ignore[import-untyped]

from zerowait.plots.figures.agreement import kendall_tau, matched

FALSE_ALARM = 0.002
"""Probability with which a gate on the number of odd cells fails though simulating changes nothing, at most."""

MEASURES: Mapping[str, str] = MappingProxyType({
    "prefix": "evaluations after the first difference",
    "order": "one minus Kendall's tau of the order of what both evaluate",
    "content": "share of the evaluations that only one of them has",
    "best": "difference of the best values",
    "curve": "difference of the best value so far, on average over time",
    "time": "difference of the final times, share of the longer one",
})  # fmt: skip
"""What is compared, each a number that is 0 when two runs agree."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far apart two runs are."""

    by_measure: Mapping[str, float]
    """For each of `MEASURES`."""
    first: int
    """How many evaluations are the same, in the same order, before the first difference."""
    apart: float
    """How far apart, in one of the runs, were the two results that come in another order first; seconds, NaN if none.

    The lesser of the two runs' intervals. NaN also where the first difference is a configuration that only one of the
    runs has.
    """


def distance(one: pd.DataFrame, other: pd.DataFrame) -> Distance:
    """Compare two traces with `content` and `fidelity`, which say what was evaluated."""
    first_keys, other_keys = _keys(one), _keys(other)
    common = matched(*(trace.assign(config_id=trace["content"]) for trace in (one, other)))
    # To the last bit, which a quotient of square roots need not be.
    tau = 1.0 if common["order"].is_monotonic_increasing else kendall_tau(common)
    n, longer = max(len(one), len(other)), max(one["end"].max(), other["end"].max())
    same = next((i for i, (a, b) in enumerate(zip(first_keys, other_keys, strict=False)) if a != b), n)
    return Distance(
        {
            "prefix": float(n - same),
            "order": 1.0 - tau,
            "content": 1.0 - len(common) / n,
            "best": abs(float(one["value"].min()) - float(other["value"].min())),
            "curve": curve_gap(one, other),
            "time": abs(float(one["end"].max()) - float(other["end"].max())) / float(longer),
        },
        same,
        _apart(one, other, first_keys, other_keys, same),
    )


def curve_gap(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the mean absolute difference of the best values so far, over the time in which both runs have one."""
    ends = [trace["end"].to_numpy() for trace in (one, other)]
    best = [np.minimum.accumulate(trace["value"].to_numpy()) for trace in (one, other)]
    begin, stop = max(end[0] for end in ends), min(end[-1] for end in ends)
    if stop <= begin:
        return 0.0
    times = np.unique(np.concatenate([[begin], *ends]))
    times = times[(times >= begin) & (times < stop)]
    # The value at time t is that of the evaluations that were delivered at or before t.
    values = [b[np.searchsorted(e, times, side="right") - 1] for b, e in zip(best, ends, strict=True)]
    return float(np.sum(np.abs(values[0] - values[1]) * np.diff([*times, stop])) / (stop - begin))


def is_odd(between_others: float, to_first: float, to_second: float, allowance: float = 0.0) -> bool:
    """Tell whether a run is further from both others than they are from one another, by more than is allowed."""
    return min(to_first, to_second) > between_others + allowance


def most_odd(cells: int) -> int:
    """Return the least number that so many cells, each odd with probability 1/3, exceed less often than FALSE_ALARM."""
    return int(binom.ppf(1.0 - FALSE_ALARM, cells, 1.0 / 3.0))


def _keys(trace: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return what each evaluation is: content, fidelity, and the how many-th time."""
    fidelity = trace["fidelity"].fillna(math.inf)
    times = trace.assign(fidelity=fidelity).groupby(["content", "fidelity"]).cumcount()
    return list(zip(trace["content"], fidelity, times, strict=True))


def _apart(one: pd.DataFrame, other: pd.DataFrame, first_keys: list[Any], other_keys: list[Any], same: int) -> float:
    """Return by how much the results that changed places first missed one another."""
    gaps = []
    for trace, keys, theirs in ((one, first_keys, other_keys), (other, other_keys, first_keys)):
        if same < min(len(keys), len(theirs)) and theirs[same] in keys:
            end = trace["end"].to_numpy()
            gaps.append(float(end[keys.index(theirs[same])] - end[same]))
    return min(gaps, default=math.nan)
