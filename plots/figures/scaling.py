"""What more workers bring: the time to a target, and the quality at an equal simulated time, against their number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import (
    Canvas,
    described,
    draw_points,
    label_decades,
    label_workers,
    spread_of,
    workers_title,
)
from zerowait.plots.figures.anytime import SCALES, Scale
from zerowait.plots.statistics.arithmetic import (
    RESAMPLES,
    Resample,
    generator,
    geometric_mean,
    interval_of_mean,
    over_benchmarks,
    percentile_interval,
    speed_up,
    time_to_target,
    upper_median,
)
from zerowait.plots.studies.blocks import called, counted, listed, reference_sentence
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats, Integers
    from zerowait.plots.studies.study import Study

Panels = Literal["all", "benchmark"]
ALL = "all benchmarks"
"""Name of the panel that averages over benchmarks."""
REACHED_BY = 0.9
"""The share of the seeds that reach a target that was not given: with fewer, the median of a bootstrap resample would
often be infinite."""
IDEAL = "ideal"
"""Name of the line in the legend."""


def speed_up_table(
    study: Study, *, target: float | None = None, panels: Panels = "all", resample: Resample = "both"
) -> pd.DataFrame:
    """Return how many times sooner P workers reach a target than one worker.

    Columns: `benchmark` (or "all benchmarks"), `optimizer`, `n_workers`, `speed_up`, `lower`, `upper`, `target` (loss),
    `n_benchmarks`, `n_seeds`, `not_reached` (share of the runs).

    Parameters
    ----------
    study
        The runs; with one worker among others.
    target
        A normalised regret: 0 is the optimum, or the best loss seen, 1 the worst loss that the study saw. By default,
        for each optimizer and benchmark, the best loss that nine of ten seeds reach with every number of workers.
    panels
        The geometric mean over benchmarks, or a panel for each benchmark.
    resample
        What the bars of means over benchmarks take for a sample.

    Raises
    ------
    SpecificationError
        There are no runs with one worker to compare with, or nobody reaches the target.
    """
    import pandas as pd

    workers = set(study.cells["n_workers"])
    if 1 not in workers:
        raise SpecificationError("a speed-up needs runs with 1 worker to compare with, and the study has none")
    if len(workers) == 1:
        raise SpecificationError("a speed-up compares numbers of workers, and there is only 1")
    if target is not None and not 0 <= target <= 1:
        raise SpecificationError(f"target is {target}; it must be a normalised regret between 0 and 1")
    rows: list[dict[str, object]] = []
    unmeasured: list[str] = []
    for (optimizer,), runs in study.groups("optimizer"):
        measured, without = _measured(study, str(optimizer), runs, target)
        unmeasured += without
        for n in sorted({n for _, n in measured}):
            of_n = {benchmark: found for (benchmark, m), found in measured.items() if m == n}
            if panels == "all":
                rows.append(_row(ALL, str(optimizer), n, list(of_n.values()), resample))
            else:
                rows += [_row(benchmark, str(optimizer), n, [found], "runs") for benchmark, found in of_n.items()]
    if not rows:
        raise SpecificationError(f"no speed-up can be measured: {listed(unmeasured)}; choose another target")
    table = pd.DataFrame(rows).sort_values(["benchmark", "optimizer", "n_workers"], ignore_index=True)
    goals = (
        "the best loss that nine of ten seeds reach with every number of workers, for each optimizer and benchmark"
        if target is None
        else f"a normalised regret of {target:g}"
    )
    return described(
        table,
        f"How many times sooner P workers reach the target than one: the ratio of the median times to {goals}.",
        f"The geometric mean over {counted([int(n) for n in table['n_benchmarks']], 'benchmark')}."
        if panels == "all"
        else "",
        "Runs that miss the target count with an infinite time.",
        spread_of(table["lower"].mask(table["n_seeds"] > 1, 1.0), resample if panels == "all" else "runs", "bar"),
        "The runs of one and of P workers are resampled independently; resamples whose median misses the target with "
        "one worker are left out."
        if table["lower"].notna().any()
        else "",
        "The dashed grey line (ideal) is P times sooner. A point can lie above it: one worker comes to a short good "
        "training after many long ones, and P workers begin it at once.",
        "Points stand at P; their bars stand a little apart.",
        f"Left out: {listed(unmeasured)}." if unmeasured else "",
    )


def quality_table(
    study: Study,
    *,
    fraction: float = 1.0,
    scale: Scale = "worst",
    panels: Panels = "all",
    resample: Resample = "both",
) -> pd.DataFrame:
    """Return the normalised regret that each number of workers has reached at the same simulated time.

    Columns: `benchmark` (or "all benchmarks"), `optimizer`, `n_workers`, `mean`, `lower`, `upper`, `time` (simulated s;
    NaN over all benchmarks), `n_benchmarks`, `n_seeds`.

    Parameters
    ----------
    study
        The runs.
    fraction
        Share of the time until which optimizers, with any number of workers, are compared on a benchmark.
    scale
        The loss that counts as regret 1: the worst that the study saw, or the median of the runs' first losses.
    panels
        The mean over benchmarks, or a panel for each benchmark.
    resample
        What the bars of means over benchmarks take for a sample.

    Raises
    ------
    SpecificationError
        The fraction is not in (0, 1], or at that time nobody has a result.
    """
    import pandas as pd

    if not 0 < fraction <= 1:
        raise SpecificationError(f"fraction is {fraction}; it must be a share of the time, above 0 and up to 1")
    sample: Resample = resample if panels == "all" else "runs"
    gathered: dict[tuple[str, int], dict[str, Floats]] = {}
    unknown: list[str] = []
    times: dict[str, float] = {}
    for (benchmark,), runs in study.groups("benchmark"):
        ends = study.cells.iloc[runs].groupby(["optimizer", "n_workers"])["until"].median()
        times[str(benchmark)] = time = fraction * float(ends.min())
        values = study.best_at(runs, np.array([time]))[:, 0]
        regrets = study.regrets(benchmark, values, scale)
        for (optimizer, n_workers), chosen_runs in study.groups_of(runs, "optimizer", "n_workers"):
            group = np.searchsorted(runs, chosen_runs)
            if np.isnan(regrets[group]).any():
                unknown.append(f"{called(study, optimizer, benchmark)} with {workers_title(int(n_workers))}")
            else:
                gathered.setdefault((str(optimizer), int(n_workers)), {})[str(benchmark)] = regrets[group]
    rows = []
    for (optimizer, n), found in sorted(gathered.items()):
        # A mean over other benchmarks than those of the neighbouring point would be another quantity.
        everywhere = set.intersection(*(set(of) for (name, _), of in gathered.items() if name == optimizer))
        chosen = sorted(everywhere) if panels == "all" else sorted(found)
        unknown += [called(study, optimizer, name) for name in sorted(set(found) - everywhere) if panels == "all"]
        for names in [chosen] if panels == "all" else [[name] for name in chosen]:
            if names:
                strata = [found[name] for name in names]
                label = ALL if panels == "all" else names[0]
                low, high = interval_of_mean(strata, sample, "quality", *names, optimizer, n)
                rows.append(
                    {
                        "benchmark": label, "optimizer": optimizer, "n_workers": n,
                        "mean": float(np.mean([values.mean() for values in strata])), "lower": float(low),
                        "upper": float(high), "time": math.nan if panels == "all" else times[names[0]],
                        "n_benchmarks": len(names), "n_seeds": min(map(len, strata)),
                    }
                )  # fmt: skip
    if not rows:
        raise SpecificationError(f"at {fraction:g} of the time not all runs have a result; choose a larger fraction")
    table = pd.DataFrame(rows).sort_values(["benchmark", "optimizer", "n_workers"], ignore_index=True)
    share = "the end" if fraction == 1 else f"{fraction:g} of the end"
    return described(
        table,
        f"Normalised regret of the result at the same simulated time with every number of workers: {share} of",
        "the optimizer and number of workers that end first, by the median of the seeds; runs that ended sooner keep",
        f"their final value. 1 is {SCALES[scale]}.",
        reference_sentence(study, sorted(times)),
        f"The mean over {counted([int(n) for n in table['n_benchmarks']], 'benchmark')}." if panels == "all" else "",
        spread_of(table["lower"], sample, "bar"),
        "Points stand at P; their bars stand a little apart." if table["lower"].notna().any() else "",
        f"Left out, because a run has no result by then: {listed(sorted(set(unknown)))}." if unknown else "",
    )


def draw_speed_up(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `speed_up_table` returned, with the ideal line."""
    panels, used = _draw(table, canvas, "speed_up", [IDEAL])
    workers = sorted(table["n_workers"].unique())
    for panel in used:
        # Above the curves: whether a curve lies below it is what the figure is for.
        panel.plot(
            workers, workers, color=style.OPTIMUM_COLOUR, linestyle=(0, (4, 2)), linewidth=0.9, label=IDEAL, zorder=3
        )
    corner = panels[0, 0]
    corner.set_yscale("log", base=2)
    shown = table["speed_up"][(table["speed_up"] > 0) & np.isfinite(table["speed_up"])]
    # A bar that ends in a multiple of the ideal, or in infinity, leaves through the top.
    highest = max(*workers, shown.max())
    upper = min(table["upper"][np.isfinite(table["upper"])].max(), 2.5 * highest)
    corner.set_ylim(min(0.8, 0.8 * shown.min()), 1.15 * np.fmax(highest, upper))
    for panel in panels[:, 0]:
        canvas.ylabel(panel, "speed-up to target")
    canvas.xlabel("workers P")
    canvas.legend(used, last=(IDEAL,))
    return panels


def draw_quality(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `quality_table` returned."""
    panels, used = _draw(table, canvas, "mean", [])
    for benchmark, panel in zip(canvas.labels.ordered(table["benchmark"].unique()), used, strict=True):
        of_panel = table[table["benchmark"] == benchmark]
        if (of_panel["mean"] > 0).all():
            panel.set_yscale("log", nonpositive="clip")
            # A bar that reaches a regret near 0 leaves through the bottom rather than squeeze all the others.
            lowest = np.fmax(of_panel["lower"], 0.3 * of_panel["mean"])
            panel.set_ylim(bottom=0.85 * lowest.min(), top=1.15 * np.fmax(of_panel["upper"], of_panel["mean"]).max())
            label_decades(panel.yaxis, *panel.get_ylim())
    for panel in panels[:, 0]:
        canvas.ylabel(panel, "normalised regret")
    canvas.xlabel("workers P")
    canvas.legend(used)
    return panels


def _draw(table: pd.DataFrame, canvas: Canvas, quantity: str, more: list[str]) -> tuple[Any, list[Any]]:
    benchmarks = canvas.labels.ordered(table["benchmark"].unique())
    legend = [*canvas.labels.ordered(table["optimizer"].unique()), *more]
    panels, used = canvas.grid(len(benchmarks), legend, most=4, sharex=True, sharey=quantity == "speed_up")
    for benchmark, panel in zip(benchmarks, used, strict=True):
        draw_points(panel, table[table["benchmark"] == benchmark], quantity, canvas)
        if benchmark != ALL:
            canvas.title(panel, canvas.name(benchmark))
    label_workers(panels[0, 0], table["n_workers"])
    return panels, used


def _by_workers(study: Study, runs: Integers) -> dict[int, Integers]:
    return {int(n): of for (n,), of in study.groups_of(runs, "n_workers")}


@dataclass(frozen=True, slots=True)
class _Found:
    """The speed-up of an optimizer on a benchmark with a number of workers."""

    ratio: float
    replicates: Floats
    goal: float
    times: Floats


def _measured(
    study: Study, optimizer: str, runs: Integers, target: float | None
) -> tuple[dict[tuple[str, int], _Found], list[str]]:
    """Return the speed-ups of an optimizer by benchmark and number of workers, and what has none and why."""
    every = {int(n) for n in study.cells["n_workers"].unique()}
    measured: dict[tuple[str, int], _Found] = {}
    without = []
    for (benchmark,), of_benchmark in study.groups_of(runs, "benchmark"):
        by_workers = _by_workers(study, of_benchmark)
        if set(by_workers) != every:
            without.append(f"{called(study, optimizer, benchmark)} (not run with every number of workers)")
            continue
        goal = _goal(study, benchmark, by_workers, target)
        times = {n: _times(study, of, goal, target, benchmark) for n, of in by_workers.items()}
        if math.isnan(goal) or math.isinf(float(upper_median(times[1]))):
            without.append(f"{called(study, optimizer, benchmark)} (half of the runs with 1 worker miss the target)")
            continue
        for n, reached in times.items():
            random = generator("speed-up", benchmark, optimizer, n)
            ratio, replicates = (1.0, np.ones(RESAMPLES)) if n == 1 else speed_up(times[1], reached, random)
            measured[benchmark, n] = _Found(ratio, replicates, goal, reached)
    return measured, without


def _goal(study: Study, benchmark: str, by_workers: dict[int, Integers], target: float | None) -> float:
    """Return the target loss; NaN when too few seeds have a success with some number of workers."""
    if target is not None:
        return float(study.loss(benchmark, np.array(target), "worst"))
    finals = []
    for runs in by_workers.values():
        final = np.sort(np.nan_to_num(study.best_at(runs, np.array([math.inf]))[:, 0], nan=math.inf))
        finals.append(float(final[math.ceil(REACHED_BY * len(final)) - 1]))
    worst = max(finals)
    return worst if math.isfinite(worst) else math.nan


def _times(study: Study, runs: Integers, goal: float, target: float | None, benchmark: str) -> Floats:
    """Return the times to the target; a regret that was given is compared as one, for its loss may be rounded."""
    found = []
    for at in map(study.rows, runs.tolist()):
        losses = study.losses[at]
        if target is None:
            found.append(time_to_target(study.ends[at], losses, goal))
        else:
            found.append(time_to_target(study.ends[at], study.regrets(benchmark, losses, "worst"), target))
    return np.array(found)


def _row(benchmark: str, optimizer: str, n: int, found: list[_Found], resample: Resample) -> dict[str, object]:
    ratios, replicates = (np.array([getattr(of, name) for of in found]) for name in ("ratio", "replicates"))
    drawn = over_benchmarks(ratios, replicates, generator("benchmarks", optimizer, n), resample)
    known = geometric_mean(drawn)
    known = known[~np.isnan(known)]
    enough = {"runs": max(len(of.times) for of in found) > 1, "benchmarks": len(found) > 1}
    has_spread = len(known) > 0 and enough.get(resample, any(enough.values()))
    low, high = percentile_interval(known) if has_spread else (math.nan, math.nan)
    return {
        "benchmark": benchmark,
        "optimizer": optimizer,
        "n_workers": n,
        "speed_up": float(geometric_mean(ratios)) if len(found) > 1 else found[0].ratio,
        "lower": float(low),
        "upper": float(high),
        "target": found[0].goal if len(found) == 1 else math.nan,
        "n_benchmarks": len(found),
        "n_seeds": min(len(of.times) for of in found),
        "not_reached": float(np.isinf(np.concatenate([of.times for of in found])).mean()),
    }
