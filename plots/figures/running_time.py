"""How long optimizers take to a target: performance profiles, and expected running times with restarts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing.curves import MARK, curve_sentence, draw_curves, mark_of
from zerowait.plots.drawing.panels import (
    Canvas,
    described,
    draw_points,
    label_decades,
    label_workers,
    spread_of,
    workers_title,
)
from zerowait.plots.statistics.arithmetic import (
    Resample,
    generator,
    interval_of_mean,
    percentile_interval,
    time_to_target,
)
from zerowait.plots.statistics.targets import expected_running_time, performance_ratios
from zerowait.plots.studies.blocks import (
    Blocks,
    Horizon,
    blocks,
    called,
    compared_sentence,
    left_out_sentence,
    listed,
    reference_sentence,
)
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

TARGET = 0.1
"""Regret of the default target, of the median first loss: the coarsest of More and Wild 2009."""
RATIOS = 200
"""Points of a profile."""
MOST = 100.0
"""A profile ends at this factor, at the latest."""


def profile_table(
    study: Study, *, target: float = TARGET, horizon: Horizon = "common", resample: Resample = "both"
) -> pd.DataFrame:
    """Return on which share of the problems an optimizer takes at most so many times the time of the best.

    Columns: `n_workers`, `optimizer`, `ratio`, `solved` (share), `lower`, `upper`, `n_benchmarks`. A problem is a
    benchmark with a seed; Dolan and More 2002 (doi:10.1007/s101070100263).

    Parameters
    ----------
    study
        The runs.
    target
        Regret at which a problem is solved, as a share of the regret of the median first loss: the test of convergence
        of More and Wild 2009 (doi:10.1137/080724083, equation 2.2).
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.
    resample
        What the bands take for a sample.

    Raises
    ------
    SpecificationError
        There is one optimizer, nothing can be compared, or nobody reaches the target.
    """
    import pandas as pd

    groups = _groups(study, target, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - the best of several
        raise SpecificationError(f"a profile compares optimizers, and there is only {groups[0].optimizers[0]}")
    ratios = [[performance_ratios(of) for of in _times(study, group, target)] for group in groups]
    every = np.concatenate([of.ravel() for of_group in ratios for of in of_group])
    largest = min(MOST, float(every[np.isfinite(every)].max(initial=1.0)) * 1.05)
    grid = np.geomspace(1.0, max(largest, 1.1), RATIOS)
    grid[0] = 1.0
    rows = []
    for group, of_group in zip(groups, ratios, strict=True):
        strata = [(of[:, :, None] <= grid).astype(float) for of in of_group]
        mean = np.mean([of.mean(axis=0) for of in strata], axis=0)
        low, high = interval_of_mean(strata, resample, "profile", group.n_workers)
        rows += [
            pd.DataFrame(
                {
                    "n_workers": group.n_workers, "optimizer": name, "ratio": grid, "solved": mean[k], "lower": low[k],
                    "upper": high[k], "n_benchmarks": len(group.benchmarks),
                }
            )
            for k, name in enumerate(group.optimizers)
        ]  # fmt: skip
    table = pd.concat(rows, ignore_index=True)
    mark = table.attrs[MARK] = mark_of(table, "ratio", "solved")
    return described(
        table,
        "Share of the problems that are solved in at most so many times the time of the optimizer that is first",
        f"(performance profile, Dolan and More 2002). {_solved(target)} A problem is a benchmark with a seed.",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        spread_of(table["lower"], resample, mark),
        curve_sentence(mark),
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )


def running_time_table(study: Study, *, target: float = TARGET, horizon: Horizon = "common") -> pd.DataFrame:
    """Return the expected time to a target when runs are restarted until one reaches it.

    Columns: `benchmark`, `optimizer`, `n_workers`, `expected` (simulated s; infinite where no run reaches it), `lower`,
    `upper`, `successes`, `n_seeds`; benchmarks on which somebody reaches the target.

    Parameters
    ----------
    study
        The runs.
    target
        As for `profile_table`.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.

    Raises
    ------
    SpecificationError
        Nothing can be compared, or nobody reaches the target.
    """
    import pandas as pd

    groups = _groups(study, target, horizon)
    spent_by = study.cells["until"].to_numpy()
    rows = []
    for group in groups:
        of_group = zip(group.benchmarks, group.runs, group.horizons, _times(study, group, target), strict=True)
        for benchmark, runs, until, times in of_group:
            spent = np.minimum(spent_by[runs], until)
            n = len(times)
            drawn = generator("running time", benchmark, group.n_workers).integers(0, n, (1000, n))
            expected = expected_running_time(times, spent)
            low, high = percentile_interval(expected_running_time(times[drawn.T], spent[drawn.T]))
            rows += [
                {
                    "benchmark": benchmark, "optimizer": name, "n_workers": group.n_workers, "expected": expected[k],
                    "lower": low[k] if n > 1 else math.nan, "upper": high[k] if n > 1 else math.nan,
                    "successes": int(np.isfinite(times[:, k]).sum()), "n_seeds": n,
                }
                for k, name in enumerate(group.optimizers)
            ]  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["benchmark", "optimizer", "n_workers"], ignore_index=True)
    never = table[~np.isfinite(table["expected"])]
    by_nobody = sorted(set(table["benchmark"]) - set(table["benchmark"][np.isfinite(table["expected"])]))
    table = table[~table["benchmark"].isin(by_nobody)].reset_index(drop=True)
    missed = [
        f"{called(study, o, b)} ({workers_title(int(n))})"
        for b, o, n in never[["benchmark", "optimizer", "n_workers"]].itertuples(index=False)
        if b not in by_nobody
    ]
    return described(
        table,
        "Expected running time: what runs take that are restarted until one reaches the target, the time of all runs",
        f"over the number that reach it (Hansen et al. 2021). {_solved(target)}",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        spread_of(table["lower"], "runs", "bar"),
        "A bar through the top of its panel has no end: in some resamples no run reaches the target."
        if np.isinf(table["upper"]).any()
        else "",
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"No panel, because nobody reaches it: {listed([study.labels.text(b) for b in by_nobody])}."
        if by_nobody
        else "",
        f"No point, because no run reaches it: {listed(missed)}." if missed else "",
    )


def draw_profile(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `profile_table` returned: a panel a number of workers."""
    workers, names = sorted(table["n_workers"].unique()), canvas.labels.ordered(table["optimizer"].unique())
    panels, used = canvas.grid(len(workers), names, sharex=True, sharey=True)
    mark = mark_of(table, "ratio", "solved")
    for panel, n_workers in zip(used, workers, strict=True):
        of_panel = table[table["n_workers"] == n_workers]
        draw_curves(panel, of_panel, "ratio", "solved", canvas.styles, names, mark)
        canvas.title(panel, workers_title(int(n_workers)))
    panels[0, 0].set_xscale("log")
    panels[0, 0].set_xlim(1.0, table["ratio"].max())
    panels[0, 0].set_ylim(0, 1)
    label_decades(panels[0, 0].xaxis, 1.0, table["ratio"].max())
    for panel in panels[:, 0]:
        canvas.ylabel(panel, "share of problems")
    canvas.xlabel("times the time of the best")
    canvas.legend(used)
    return panels


def draw_running_time(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `running_time_table` returned: a panel a benchmark."""
    benchmarks = canvas.labels.ordered(table["benchmark"].unique())
    names = canvas.labels.ordered(table["optimizer"].unique())
    panels, used = canvas.grid(len(benchmarks), names, most=4, sharex=True)
    for benchmark, panel in zip(benchmarks, used, strict=True):
        of_panel = table[table["benchmark"] == benchmark]
        numbers = of_panel[["expected", "lower", "upper"]].to_numpy()
        finite = numbers[np.isfinite(numbers) & (numbers > 0)]
        top = 1.25 * finite.max()
        # A bar up to infinity leaves through the top, and a point there has no place.
        shown = of_panel.assign(expected=of_panel["expected"].replace(math.inf, math.nan))
        draw_points(panel, shown.assign(upper=shown["upper"].clip(upper=2 * top)), "expected", canvas)
        panel.set_yscale("log")
        panel.set_ylim(0.8 * finite.min(), top)
        label_decades(panel.yaxis, *panel.get_ylim())
        canvas.title(panel, canvas.name(benchmark))
    label_workers(panels[0, 0], table["n_workers"])
    for panel in panels[:, 0]:
        canvas.ylabel(panel, "expected running time [s]")
    canvas.xlabel("workers P")
    canvas.legend(used)
    return panels


def _solved(target: float) -> str:
    return f"The target is {100 * target:g} % of the regret of the median of the runs' first losses."


def _groups(study: Study, target: float, horizon: Horizon) -> list[Blocks]:
    if not 0 <= target < 1:
        raise SpecificationError(f"target is {target}; it must be a share of the first regret, from 0 to below 1")
    groups = blocks(study, horizon)
    if not any(np.isfinite(of).any() for group in groups for of in _times(study, group, target)):
        raise SpecificationError(f"no run reaches the target {target:g}; choose a larger one")
    return groups


def _times(study: Study, group: Blocks, target: float) -> list[Floats]:
    """Return the times to the target on each benchmark, shape (seeds, optimizers); infinite where missed."""
    found = []
    for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
        times = np.array(
            [
                time_to_target(study.ends[at], study.regrets(benchmark, study.losses[at], "first"), target)
                for at in map(study.rows, runs.ravel().tolist())
            ]
        ).reshape(runs.shape)
        found.append(np.where(times <= until, times, math.inf))
    return found
