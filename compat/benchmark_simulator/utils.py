"""Performance over time from the results of several runs, with the arguments of `benchmark_simulator.utils` 1.4.6.

`as_predecessor=True` gives its numbers, which look ahead: the value at a time is that of the evaluation that ends
next. Otherwise a value counts from its delivery on, and the rest follows from that; docs/compat/mfhpo-simulator.md
lists what differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.compat.benchmark_simulator.results import read_results
from zerowait.plots.statistics.arithmetic import average_ranks, best_at, mean_and_standard_error

if TYPE_CHECKING:
    from zerowait.plots.statistics.arithmetic import Floats

Runs = Sequence[Any]
"""One array, or list of numbers, a seed; they may differ in length."""


def get_performance_over_time(
    cumtimes: Runs,
    perf_vals: Runs,
    optimizer_overheads: Runs | None = None,
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    *,
    as_predecessor: bool = False,
) -> tuple[Floats, Floats]:
    """Return `step` times in seconds and the best values by then, shape (n_seeds, step); NaN where there is none yet.

    Parameters
    ----------
    cumtimes, perf_vals
        When each evaluation ended, in seconds, and its value, for each seed.
    optimizer_overheads
        Seconds to take off each of `cumtimes`.
    step, log
        How many times, from the first end to the last; on a logarithmic scale or a linear one.
    minimize
        Whether the least value is the best.
    as_predecessor
        Whether the value at a time is that of the evaluation that ends next.

    Raises
    ------
    ValueError
        Lengths differ, an overhead is not less than its time, or a logarithmic scale would begin at 0.
    TypeError
        A seed's numbers are neither an array nor a list.
    """
    overheads = [np.zeros(len(run)) for run in cumtimes] if optimizer_overheads is None else optimizer_overheads
    if not len(cumtimes) == len(perf_vals) == len(overheads):
        raise ValueError(
            f"there are {len(cumtimes)} seeds of times, {len(perf_vals)} of values, {len(overheads)} of overheads"
        )
    sign = 1.0 if minimize else -1.0
    ends, losses = [], []
    for given in zip(cumtimes, perf_vals, overheads, strict=True):
        if not all(isinstance(one, list | np.ndarray) for one in given):
            raise TypeError("each seed's times, values and overheads must be arrays or lists of numbers")
        times, values, seconds = (np.asarray(one, dtype=np.float64) for one in given)
        if not times.shape == values.shape == seconds.shape:
            raise ValueError(f"a seed has {times.size} times, {values.size} values and {seconds.size} overheads")
        if (times <= seconds if as_predecessor else times < seconds).any():
            raise ValueError("optimizer_overheads must be smaller than cumtimes")
        ends.append(times - seconds)
        losses.append(sign * values)
    first, last = float(min(map(np.min, ends))), float(max(map(np.max, ends)))
    if log and first <= 0.0:
        raise ValueError(
            f"the first evaluation ends at {first} s, which a logarithmic scale does not have; use log=False"
        )
    grid = np.exp(np.linspace(math.log(first), math.log(last), step)) if log else np.linspace(first, last, step)
    if not as_predecessor:
        grid[0], grid[-1] = first, last  # an end that rounding puts a little too early would not have been reached
    read = _looking_ahead if as_predecessor else best_at
    return grid, sign * np.array([read(*run, grid) for run in zip(ends, losses, strict=True)])


def _looking_ahead(ends: Floats, losses: Floats, times: Floats) -> Floats:
    """Return the best value up to the first end at or after each time; the ends are taken as if they were sorted."""
    best = np.minimum.accumulate(losses)
    following = np.searchsorted(np.concatenate([[0.0], ends, [math.inf]]), times, side="left")
    return np.concatenate([[math.nan], best, best[-1:]])[following]


def get_performance_over_time_from_paths(
    paths: Sequence[str],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
    *,
    as_predecessor: bool = False,
) -> tuple[Floats, Floats]:
    """Return the performance over time of the runs in these folders, one a seed; see `get_performance_over_time`.

    The folders are runs of this package, also while they go on, or hold the `results.json` of 1.4.6. Without the
    optimizer's overhead a worker's time is the sum of its runtimes.
    """
    ends, values, overheads = _read(
        paths, obj_key, without_overhead=not consider_optimizer_overhead, own_only=as_predecessor
    )
    return get_performance_over_time(ends, values, overheads, step, minimize, log, as_predecessor=as_predecessor)


def _read(
    paths: Sequence[str], obj_key: str, *, without_overhead: bool, own_only: bool
) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Return for each folder when its evaluations ended, their values, and the overhead to take off."""
    ends: list[Floats] = []
    values: list[Floats] = []
    overheads: list[Floats] = []
    for path in paths:
        results, sampled = read_results(path)
        ends.append(np.asarray(results["cumtime"], dtype=np.float64))
        values.append(np.asarray(results[obj_key], dtype=np.float64))
        overheads.append(np.zeros(len(ends[-1])))
        if without_overhead:
            sampling = {name: np.asarray(sampled[name]) for name in ("before_sample", "after_sample", "worker_index")}
            overheads[-1] = _overheads(ends[-1], np.asarray(results["worker_index"]), sampling, own_only=own_only)
    return ends, values, overheads


def _overheads(ends: Floats, worker: Any, sampling: dict[str, Any], *, own_only: bool) -> Floats:
    """Return for each evaluation how long its worker had not trained before it ended; or what its sampling took."""
    overheads = np.zeros(len(ends))
    for index in np.unique(worker):
        rows = np.flatnonzero(worker == index)
        sampled = np.flatnonzero(sampling["worker_index"] == index)[: len(rows)]
        start = sampling["after_sample"][sampled]
        own = start - sampling["before_sample"][sampled]
        overheads[rows] = own if own_only else ends[rows] - np.cumsum(ends[rows] - start)
    return overheads


def get_mean_and_standard_error(x: Floats, *, as_predecessor: bool = False) -> tuple[Floats, Floats]:
    """Return mean and standard error over seeds (axis 0 of `x`), both of shape (n_samples,).

    The standard deviation has n - 1 in its denominator, and where a seed has no value yet, there is none.

    Parameters
    ----------
    x
        Shape (n_seeds, n_samples).
    as_predecessor
        Whether the deviation has n in its denominator, and seeds without a value are left out.

    Raises
    ------
    ValueError
        It is no array with two axes.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2:  # noqa: PLR2004 - seeds and samples
        raise ValueError("x must be an array of shape (n_seeds, n_samples)")
    if not as_predecessor:
        return mean_and_standard_error(x)
    return np.nanmean(x, axis=0), np.nanstd(x, axis=0) / np.sqrt((~np.isnan(x)).sum(axis=0))


def get_performance_over_time_with_same_time_scale(
    all_path_list: Sequence[Sequence[Sequence[str]]],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
    step_avg_rank: int = 200,
    min_time_step_ratio: float = 1e-5,
    *,
    as_predecessor: bool = False,
) -> tuple[Floats, Floats]:
    """Return the medians over seeds, shape (n_setups, n_opts, step_avg_rank), and the times as shares of the longest.

    Parameters
    ----------
    all_path_list
        Folders by setup, optimizer and seed.
    step
        As for `get_performance_over_time`.
    step_avg_rank, min_time_step_ratio
        How many times, and the first one as a share of the last when `log`.
    obj_key, minimize, log, consider_optimizer_overhead, as_predecessor
        As for `get_performance_over_time_from_paths`; a seed without a value counts as infinitely bad.
    """
    shares = np.geomspace(min_time_step_ratio, 1.0, step_avg_rank) if log else np.linspace(0.0, 1.0, step_avg_rank)
    if as_predecessor:
        shares = np.exp(np.linspace(math.log(min_time_step_ratio), 0.0, step_avg_rank)) if log else shares
        how = (obj_key, step, minimize, log, consider_optimizer_overhead)
        return np.array(
            [_on_two_grids(setup, how, min_time_step_ratio, step_avg_rank) for setup in all_path_list]
        ), shares
    sign = 1.0 if minimize else -1.0
    medians = []
    for setup in all_path_list:
        runs = [
            _read(paths, obj_key, without_overhead=not consider_optimizer_overhead, own_only=False) for paths in setup
        ]
        ends = [[end - overhead for end, overhead in zip(of[0], of[2], strict=True)] for of in runs]
        times = shares * max(float(np.max(one)) for of in ends for one in of)
        losses = [
            [best_at(end, sign * values, times) for end, values in zip(of_ends, of[1], strict=True)]
            for of_ends, of in zip(ends, runs, strict=True)
        ]
        medians.append([np.median(np.where(np.isnan(one), math.inf, one), axis=0) for one in losses])
    return sign * np.array(medians), shares


def _on_two_grids(setup: Sequence[Sequence[str]], how: tuple[Any, ...], ratio: float, number: int) -> list[Floats]:
    """Return the medians as 1.4.6 reads them: on each optimizer's own grid, and from there on the common one."""
    _, _, minimize, log, _ = how
    curves = [get_performance_over_time_from_paths(paths, *how, as_predecessor=True) for paths in setup]
    longest = max(times[-1] for times, _ in curves)
    scale = np.exp(np.linspace(math.log(longest * ratio), math.log(longest), number))
    times_read = scale if log else np.linspace(0.0, longest, number)
    worst = math.inf if minimize else -math.inf
    found = []
    for times, values in curves:
        median = np.median(values, axis=0)
        before = np.searchsorted(np.concatenate([[0.0], times, [math.inf]]), times_read) - 1
        found.append(np.concatenate([[worst], median, median[-1:]])[before])
    return found


def get_average_rank(
    all_path_list: Sequence[Sequence[Sequence[str]]],
    obj_key: str = "loss",
    step: int = 100,
    minimize: bool = True,
    log: bool = True,
    consider_optimizer_overhead: bool = True,
    step_avg_rank: int = 200,
    min_time_step_ratio: float = 1e-5,
    *,
    as_predecessor: bool = False,
) -> tuple[Floats, Floats]:
    """Return each optimizer's rank, 1 for the best, averaged over setups, shape (n_opts, step_avg_rank), and times.

    The arguments are those of `get_performance_over_time_with_same_time_scale`.
    """
    medians, shares = get_performance_over_time_with_same_time_scale(
        all_path_list, obj_key, step, minimize, log, consider_optimizer_overhead, step_avg_rank, min_time_step_ratio,
        as_predecessor=as_predecessor,
    )  # fmt: skip
    losses = medians if minimize or as_predecessor else -medians  # 1.4.6 gives rank 1 to the least value in any case
    return average_ranks(np.moveaxis(losses, 1, -1)).mean(axis=0).T, shares
