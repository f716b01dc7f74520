"""The arithmetic behind the figures: pure functions on arrays, free of files and of figures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Mask: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

Resample = Literal["runs", "benchmarks", "both"]
"""What a bootstrap takes for a sample: the runs of given benchmarks, the benchmarks, or both."""
CONFIDENCE = 0.95
"""Of every interval."""
RESAMPLES = 1000
"""Of every bootstrap."""
BOOTSTRAP_SEED = 20240301
"""Of all bootstraps, so that the same traces give the same bands."""
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


def last_at(ends: Floats, values: Floats, times: Floats) -> Floats:
    """Return the last value delivered at or before each time; arguments and result as for `best_at`."""
    order = np.argsort(ends, kind="stable")
    last = np.searchsorted(ends[order], times, side="right") - 1
    out = np.full(len(times), math.nan)
    out[last >= 0] = values[order][last[last >= 0]]
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


def normalised_regret(values: Floats, reference: float, scale: float) -> Floats:
    """Return `(value - reference) / (scale - reference)`, at least 0; NaN stays NaN.

    The normalisation of HPO-B (Pineda Arango et al. 2021, arXiv 2106.06257, section 5: the best and the worst loss of a
    problem become 0 and 1). A value below the reference, which noise can produce, counts as 0. Where scale and
    reference are equal everything is 0.
    """
    if scale <= reference:
        return np.where(np.isnan(values), math.nan, 0.0)
    return np.maximum((values - reference) / (scale - reference), 0.0)


def average_ranks(losses: Floats) -> Floats:
    """Return the rank of each optimizer, 1 for the least loss; ties share the mean of their ranks (Friedman 1937).

    The ranks of k optimizers sum to k (k + 1) / 2. NaN, for an optimizer that has no result yet, is worse than
    everything, and several of them are tied.

    Parameters
    ----------
    losses
        The last axis is that of the optimizers.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    return np.asarray(rankdata(np.where(np.isnan(losses), math.inf, losses), axis=-1), dtype=np.float64)


def wins(losses: Floats) -> Floats:
    """Return, shape (n, k, k), whether the row's optimizer has a lesser loss than the column's in each block.

    A tie counts as half a win for both, so that the entries (i, j) and (j, i) sum to 1; the mean over blocks is the
    probability of superiority of Vargha and Delaney 2000 (doi:10.3102/10769986025002101) over pairs. NaN loses against
    any number.

    Parameters
    ----------
    losses
        Shape (n, k): n blocks, k optimizers.
    """
    known = np.where(np.isnan(losses), math.inf, losses)
    row, column = known[:, :, None], known[:, None, :]
    return np.asarray((row < column) + 0.5 * (row == column), dtype=np.float64)


def time_to_target(ends: Floats, values: Floats, target: float) -> float:
    """Return the simulated time in seconds at which a run first delivers a value at or below the target; else infinity.

    `ends` and `values` are as for `best_at`.
    """
    reached = ends[values <= target]
    return float(reached.min()) if len(reached) else math.inf


def times_to_targets(ends: Floats, values: Floats, targets: Floats) -> Floats:
    """Return `time_to_target` of each target, shape (m,)."""
    order = np.argsort(ends, kind="stable")
    if not len(order):
        return np.full(len(targets), math.inf)
    best = np.fmin.accumulate(values[order])
    # Read backwards the step function increases, which is what searchsorted needs; NaN stands only before the first
    # success and is worse than all.
    falling = np.where(np.isnan(best), math.inf, best)[::-1]
    first = len(order) - np.searchsorted(falling, targets, side="right")
    return np.append(ends[order], math.inf)[first]


def share_reached(times: Floats, at: Floats) -> Floats:
    """Return the share of all `times` that are at or before each time of `at`, shape (m,).

    The empirical distribution of runtimes over pairs of run and target, after COCO (Hansen et al. 2021,
    doi:10.1080/10556788.2020.1808977, section 5); a target that was never reached has an infinite time.
    """
    return np.searchsorted(np.sort(times, axis=None), at, side="right") / max(times.size, 1)


def log_targets(regrets: Floats, number: int) -> Floats:
    """Return target regrets, largest first, evenly spaced on a logarithmic scale from 1 to the least positive regret.

    Targets of COCO (Hansen et al. 2021, section 5: 51 precisions evenly spaced in the logarithm); the least is bounded
    by 1e-8, as there. A single 0 when no regret lies between 0 and 1.
    """
    positive = regrets[(regrets > 0) & (regrets < 1)]
    if not len(positive):
        return np.zeros(1)
    targets = np.geomspace(1.0, max(float(positive.min()), 1e-8), number)
    # geomspace rounds its ends, and the last target would be missed by the run that defines it.
    targets[0], targets[-1] = 1.0, max(float(positive.min()), 1e-8)
    return targets


def generator(*names: object) -> np.random.Generator:
    """Return the random generator of one bootstrap: named, so that leaving others out does not change it."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return np.random.default_rng(np.random.SeedSequence(BOOTSTRAP_SEED, spawn_key=tuple(words)))


def percentile_interval(replicates: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return both bounds of the percentile interval over the first axis (Efron and Tibshirani 1993, chapter 13)."""
    tail = (1 - confidence) / 2
    # Nearest ranks rather than interpolated ones: between an infinite and a finite replicate lies no number.
    low, high = np.quantile(replicates, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return low, high


def bootstrap_means(
    strata: Sequence[Floats], random: np.random.Generator, resamples: int = RESAMPLES, resample: Resample = "runs"
) -> Floats:
    """Return replicates of the mean over strata of the means within them, shape (resamples, ...).

    `runs` are resampled with replacement within their stratum, that is, within their benchmark: the stratified
    bootstrap of Agarwal et al. 2021 (arXiv 2108.13264, section 4), which takes the benchmarks as given. `benchmarks`
    are resampled as they are, or `both`, first benchmarks and then runs of each that was drawn: the two-stage bootstrap
    of Davison and Hinkley 1997 (Bootstrap Methods and their Application, section 3.8).

    Parameters
    ----------
    strata
        One array a stratum; its first axis is that of the runs, the others are alike in all.
    random
        Source of the resampling.
    resamples
        Number of replicates.
    resample
        What is a sample.
    """
    total = np.zeros((resamples, *strata[0].shape[1:]))
    k = len(strata)
    drawn = np.ones((resamples, k), dtype=np.int64)
    if resample != "runs":
        drawn = random.multinomial(k, np.full(k, 1 / k), size=resamples)
    for values, times in zip(strata, drawn.T, strict=True):
        n = len(values)
        if resample == "benchmarks":
            weights = np.repeat(times[:, None] / n, n, axis=1)
        else:
            # A benchmark that was drawn m times has m independent resamples of n runs, which is one of m n runs.
            weights = random.multinomial(times * n, np.full(n, 1 / n)) / n
        total += (weights @ values.reshape(n, -1)).reshape(total.shape)
    return total / k


def interval_of_mean(strata: Sequence[Floats], resample: Resample, *names: object) -> tuple[Floats, Floats]:
    """Return both bounds of the interval of `bootstrap_means`, drawn by `generator(*names)`.

    NaN where there is nothing to resample: one run, or one benchmark.
    """
    some_runs, some_benchmarks = max(map(len, strata)) > 1, len(strata) > 1
    if not {"runs": some_runs, "benchmarks": some_benchmarks, "both": some_runs or some_benchmarks}[resample]:
        nothing = np.full(strata[0].shape[1:], math.nan)
        return nothing, nothing
    return percentile_interval(bootstrap_means(strata, generator(*names), resample=resample))


def bootstrap_medians(values: Floats, random: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Return replicates of the median over the first axis, the runs, resampled with replacement: (resamples, ...)."""
    n = len(values)
    out = np.empty((resamples, *values.shape[1:]))
    for row, drawn in enumerate(random.integers(0, n, size=(resamples, n))):
        out[row] = np.median(values[drawn], axis=0)
    return out


def speed_up(
    alone: Floats, together: Floats, random: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, Floats]:
    """Return how many times sooner P workers reach a target than one, and bootstrap replicates of it.

    The ratio of the median times to the target. A run that never reached it counts with an infinite time, which the
    median bears as long as more than half of the runs did (right-censored times, Kaplan and Meier 1958, at equal
    budgets). NaN where one worker's median is infinite; 0 where only that of P workers is. Both groups are resampled
    independently.

    Parameters
    ----------
    alone, together
        Times to the target in seconds with one worker and with P, shapes (n,) and (m,), infinite when not reached.
    random
        Source of the resampling.
    resamples
        Number of replicates.
    """
    ratio = _ratio(np.asarray(upper_median(alone)), np.asarray(upper_median(together)))
    drawn = [random.integers(0, len(times), size=(resamples, len(times))) for times in (alone, together)]
    return float(ratio), _ratio(upper_median(alone[drawn[0]]), upper_median(together[drawn[1]]))


def over_benchmarks(estimates: Floats, replicates: Floats, random: np.random.Generator, resample: Resample) -> Floats:
    """Return replicates, shape (benchmarks, resamples), in which also the benchmarks are drawn anew if they shall be.

    Parameters
    ----------
    estimates
        One a benchmark.
    replicates
        Of each, with its runs drawn anew, shape (benchmarks, resamples).
    random
        Source of the draws.
    resample
        What is a sample.
    """
    if resample == "runs":
        return replicates
    which = random.integers(0, len(estimates), replicates.shape)
    if resample == "benchmarks":
        return estimates[which]
    return np.asarray(replicates[which, random.integers(0, replicates.shape[1], replicates.shape)])


def upper_median(times: Floats) -> Floats:
    """Return the median over the last axis; of an even number, infinity if one of the middle two is infinite."""
    middle = np.sort(times, axis=-1)
    n = times.shape[-1]
    return np.asarray((middle[..., (n - 1) // 2] + middle[..., n // 2]) / 2, dtype=np.float64)


def _ratio(alone: Floats, together: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isinf(alone), math.nan, alone / together)


def geometric_mean(ratios: Floats) -> Floats:
    """Return the geometric mean over the first axis, the one mean of ratios that does not depend on their base.

    Fleming and Wallace 1986 (doi:10.1145/5666.5673). NaN where any is NaN, 0 where any is 0.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(ratios).mean(axis=0)), dtype=np.float64)
