"""Figures over the share of the time budget that average over benchmarks: regret, ranks and reached targets.

Benchmarks are made comparable by their own time: 1 is the time until which all runs of a benchmark with that number of
workers are compared (`zerowait.plots.studies.blocks`). Every optimizer is read at the same times.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing.curves import MARK, curve_sentence, draw_curves, mark_of
from zerowait.plots.drawing.panels import (
    Canvas,
    described,
    label_decades,
    spread_of,
    workers_title,
)
from zerowait.plots.statistics.arithmetic import (
    Resample,
    average_ranks,
    generator,
    interval_of_mean,
    log_targets,
    share_reached,
    times_to_targets,
)
from zerowait.plots.statistics.targets import RESTARTED, restarted
from zerowait.plots.studies.blocks import (
    Blocks,
    Horizon,
    blocks,
    compared_sentence,
    left_out_sentence,
    listed,
    reference_sentence,
)
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats, Integers
    from zerowait.plots.studies.study import Study

Scale = Literal["worst", "first"]
Restarts = Literal["no", "simulated"]
LONGEST = 10.0
"""With simulated restarts, the time axis ends at so many budgets."""
RANDOM = "random"
"""The optimizer that scores 0 by default."""
POINTS = 100
"""Times of a curve."""
EARLIEST = 1e-3
"""The share of the budget at which the time axis begins, at the earliest."""
TARGETS = 51
"""Targets of a benchmark, as in COCO."""
BAND = "{band}"
"""Stands in a caption for what is said of the bands."""
SCALES = {"worst": "the worst loss that the study saw", "first": "the median of the runs' first losses"}


def regret_table(
    study: Study, *, horizon: Horizon = "common", scale: Scale = "worst", resample: Resample = "both"
) -> pd.DataFrame:
    """Return normalised regret over the share of the budget, averaged over benchmarks and seeds.

    Columns: `n_workers`, `optimizer`, `budget` (share), `mean`, `lower`, `upper`, `n_benchmarks`.

    Raises
    ------
    SpecificationError
        Nothing can be compared; see `zerowait.plots.studies.blocks.blocks`.
    """
    groups = _groups(study, horizon)
    rows = []
    for group in groups:
        fractions = _fractions(study, group)
        strata = [
            study.regrets(benchmark, study.best_at(runs.ravel(), fractions * until), scale).reshape(*runs.shape, -1)
            for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True)
        ]
        rows.append(_curves(group, fractions, strata, "regret", resample))
    return _finished(
        rows,
        resample,
        "Normalised regret of the result at each time, averaged over benchmarks and seeds;",
        f"1 is {SCALES[scale]}.",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        BAND,
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        "A curve begins when all its runs have a result.",
        _without_a_curve(study, groups, rows),
    )


def score_table(
    study: Study, *, baseline: str = RANDOM, horizon: Horizon = "common", resample: Resample = "both"
) -> pd.DataFrame:
    """Return scores over the share of the budget, averaged over benchmarks and seeds; columns as for `regret_table`.

    0 is the mean result of the baseline at the end of the budget with as many workers, 1 the optimum, a scale like
    that of Turner et al. 2021 (arXiv 2104.10201).

    Parameters
    ----------
    study
        The runs.
    baseline
        The optimizer that scores 0.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.
    resample
        What the bands take for a sample.

    Raises
    ------
    SpecificationError
        Nothing can be compared, or the study has no such optimizer.
    """
    groups = _groups(study, horizon)
    if baseline not in groups[0].optimizers:
        raise SpecificationError(
            f"a score of 0 is the result of {shown(baseline)}, which the study has not; set baseline= to one of "
            f"{', '.join(groups[0].optimizers)}"
        )
    rows, with_scores, without = [], [], []
    for group in groups:
        fractions = _fractions(study, group)
        kept: dict[str, Floats] = {}
        for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
            regrets = study.regrets(benchmark, study.best_at(runs.ravel(), fractions * until), "worst")
            regrets = regrets.reshape(*runs.shape, -1)
            zero = regrets[:, group.optimizers.index(baseline), -1].mean()
            if zero > 0:
                kept[benchmark] = 1 - regrets / zero
            else:
                without.append(study.labels.text(benchmark))
        if kept:
            scored = replace(group, benchmarks=tuple(kept))
            with_scores.append(scored)
            rows.append(_curves(scored, fractions, list(kept.values()), "score", resample))
    if not rows:
        raise SpecificationError(
            f"{baseline} found the best loss of every benchmark, or none: there is nothing to score"
        )
    return _finished(
        rows,
        resample,
        "Score of the result at each time, averaged over benchmarks and seeds: 0 is the mean",
        f"result of {study.labels.text(baseline)} at the end of the budget with as many workers, 1 is no regret.",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        BAND,
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"Left out, because {study.labels.text(baseline)} has a regret of 0 or no result: {listed(without)}."
        if without
        else "",
        "A curve begins when all its runs have a result.",
        _without_a_curve(study, with_scores, rows),
    )


def rank_table(study: Study, *, horizon: Horizon = "common", resample: Resample = "both") -> pd.DataFrame:
    """Return the average rank of each optimizer over the share of the budget; columns as for `regret_table`.

    Raises
    ------
    SpecificationError
        There is one optimizer, or nothing can be compared.
    """
    groups = _groups(study, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - a rank needs a rival
        raise SpecificationError(f"ranks compare optimizers, and there is only {groups[0].optimizers[0]}")
    rows = []
    for group in groups:
        fractions = _fractions(study, group)
        strata = []
        for runs, until in zip(group.runs, group.horizons, strict=True):
            best = study.best_at(runs.ravel(), fractions * until).reshape(*runs.shape, -1)
            strata.append(average_ranks(best.swapaxes(1, 2)).swapaxes(1, 2))
        rows.append(_curves(group, fractions, strata, "rank", resample))
    return _finished(
        rows,
        resample,
        "Average rank (1 is best, ties share their mean) by the result at each time,",
        "among the runs with the same benchmark and seed; who has no result yet is last.",
        BAND,
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )


def target_table(
    study: Study,
    *,
    horizon: Horizon = "common",
    targets: int = TARGETS,
    restarts: Restarts = "no",
    resample: Resample = "both",
) -> pd.DataFrame:
    """Return which share of the targets has been reached over the share of the budget.

    Columns: `n_workers`, `optimizer`, `budget` (share), `reached` (share), `lower`, `upper`, `n_benchmarks`.

    Parameters
    ----------
    study
        The runs.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.
    targets
        How many a benchmark has.
    restarts
        Whether a run that misses a target is followed by others, drawn at random, until one reaches it; see
        `zerowait.plots.statistics.targets.restarted`.
    resample
        What the bands take for a sample.

    Raises
    ------
    SpecificationError
        Nothing can be compared, or there is no target.
    """
    if targets < 1:
        raise SpecificationError(f"targets is {targets}; there must be at least 1")
    groups = _groups(study, horizon)
    goals = _goals(study, groups, targets)
    simulated = restarts == "simulated"
    rows = []
    for group in groups:
        fractions = _fractions(study, group)
        if simulated:
            fractions = np.geomspace(fractions[0], LONGEST, POINTS)
        strata = []
        for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
            # Shape (seeds, optimizers, targets), in shares of the budget.
            times = np.array([_times(study, benchmark, of_seed, goals[benchmark]) for of_seed in runs]) / until
            times[times > 1] = math.inf
            if simulated:
                spent = np.minimum(study.cells["until"].to_numpy()[runs] / until, 1.0)
                times = restarted(times, spent, generator("restarts", benchmark, group.n_workers))
            strata.append(np.array([[share_reached(of_run, fractions) for of_run in of] for of in times]))
        rows.append(_curves(group, fractions, strata, "targets", resample))
    table = _finished(
        rows,
        resample,
        f"Share of the pairs of run and target reached at or before each time, {targets} targets a benchmark,",
        "evenly spaced in the logarithm of the regret from the median of the runs' first losses to the least positive",
        "regret that any run reached, the same for every number of workers (after COCO, Hansen et al. 2021).",
        f"Runs that miss a target are followed by others of the same optimizer and benchmark, drawn at random, until "
        f"one reaches it (simulated restarts, Hansen et al. 2021; {RESTARTED:,} sequences)." if simulated else "",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        "" if simulated else BAND,
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )  # fmt: skip
    if simulated:  # sequences that are drawn can be drawn as often as one likes, and tell of no spread
        table[["lower", "upper"]] = math.nan
    return table.rename(columns={"mean": "reached"})


def _times(study: Study, benchmark: str, runs: Integers, goals: Floats) -> list[Floats]:
    return [
        times_to_targets(study.ends[at], study.regrets(benchmark, study.losses[at], "first"), goals)
        for at in map(study.rows, runs.tolist())
    ]


def draw_regret(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `regret_table` returned: a panel a number of workers."""
    panels = _draw(table, canvas, "mean", "normalised regret")
    positive = table["mean"][table["mean"] > 0]
    if len(positive):
        panels[0, 0].set_yscale("log", nonpositive="clip")
        panels[0, 0].set_ylim(bottom=0.7 * positive.min())
        label_decades(panels[0, 0].yaxis, positive.min(), positive.max())
    return panels


def draw_score(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `score_table` returned: a panel a number of workers, from not far below the baseline on upwards."""
    panels = _draw(table, canvas, "mean", "score (optimum 1)")
    # What is far below the baseline at the beginning would leave no room for what is to be seen.
    panels[0, 0].set_ylim(max(-1.0, float(table["mean"].min())), 1.0)
    return panels


def draw_rank(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `rank_table` returned: a panel a number of workers, the best rank on top."""
    panels = _draw(table, canvas, "mean", "average rank (1 is best)")
    k = table["optimizer"].nunique()
    panels[0, 0].set_ylim(k + 0.1, 0.9)
    panels[0, 0].set_yticks(range(1, k + 1), [str(rank) for rank in range(1, k + 1)])
    return panels


def draw_targets(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `target_table` returned: a panel a number of workers."""
    panels = _draw(table, canvas, "reached", "share of (run, target)")
    panels[0, 0].set_ylim(0, 1)
    return panels


def _draw(table: pd.DataFrame, canvas: Canvas, quantity: str, ylabel: str) -> Any:
    workers = sorted(table["n_workers"].unique())
    names = canvas.labels.ordered(table["optimizer"].unique())
    panels, used = canvas.grid(len(workers), names, sharex=True, sharey=True)
    mark = mark_of(table, "budget", quantity)
    for panel, n_workers in zip(used, workers, strict=True):
        of_panel = table[table["n_workers"] == n_workers]
        draw_curves(panel, of_panel, "budget", quantity, canvas.styles, names, mark)
        canvas.title(panel, workers_title(int(n_workers)))
    panels[0, 0].set_xscale("log")
    panels[0, 0].set_xlim(table["budget"].min(), table["budget"].max())
    label_decades(panels[0, 0].xaxis, table["budget"].min(), table["budget"].max())
    for panel in panels[:, 0]:
        canvas.ylabel(panel, ylabel)
    canvas.xlabel("share of the simulated time budget")
    canvas.legend(used)
    return panels


def _without_a_curve(study: Study, groups: list[Blocks], rows: list[pd.DataFrame]) -> str:
    """Return whose mean is defined nowhere, because a run has no result until the end of the comparison."""
    absent = [
        f"{study.labels.text(optimizer)} ({workers_title(group.n_workers)})"
        for group, table in zip(groups, rows, strict=True)
        for optimizer in group.optimizers
        if optimizer not in set(table["optimizer"])
    ]
    return f"No curve, because a run has no result in that time: {listed(absent)}." if absent else ""


def _groups(study: Study, horizon: Horizon) -> list[Blocks]:
    """Return the blocks of each number of workers with which some run has a success; the others are named.

    Raises
    ------
    SpecificationError
        Nothing can be compared, or no run has a success.
    """
    found = blocks(study, horizon)
    groups = [group for group in found if math.isfinite(_first_share(study, group))]
    if not groups:
        raise SpecificationError("no run has a success; there is nothing to draw")
    without = tuple(
        f"everything with {workers_title(group.n_workers)} (no run has a success)"
        for group in found
        if group.n_workers not in {of.n_workers for of in groups}
    )
    return [replace(groups[0], left_out=(*without, *groups[0].left_out)), *groups[1:]]


def _first_share(study: Study, group: Blocks) -> float:
    """Return at which share of its budget a run of this group has the first success of all; infinity if none has."""
    shares = zip(group.runs, group.horizons, strict=True)
    return min(float(study.first_success[runs.ravel()].min()) / float(until) for runs, until in shares)


def _fractions(study: Study, group: Blocks) -> Floats:
    """Return at which shares of the budget a group is read: from the first success of any run on, geometrically."""
    fractions = np.geomspace(min(max(_first_share(study, group), EARLIEST), 0.5), 1.0, POINTS)
    fractions[-1] = 1.0
    return fractions


def _goals(study: Study, groups: list[Blocks], number: int) -> dict[str, Floats]:
    """Return the target regrets of each benchmark, from what was reached with any number of workers."""
    final: dict[str, list[Floats]] = {}
    for group in groups:
        for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
            final.setdefault(benchmark, []).append(study.best_at(runs.ravel(), np.array([until]))[:, 0])
    # Regrets and not losses: on the way back a target may round below the loss that defines it.
    return {
        benchmark: log_targets(study.regrets(benchmark, np.concatenate(losses), "first"), number)
        for benchmark, losses in final.items()
    }


def _curves(group: Blocks, x: Floats, strata: list[Floats], quantity: str, resample: Resample) -> pd.DataFrame:
    """Return means and bands of strata of shape (seeds, optimizers, times)."""
    import pandas as pd

    mean = np.mean([values.mean(axis=0) for values in strata], axis=0)
    # Before all runs have a result there is no mean and no band; NaN would spread through the products.
    known = [np.nan_to_num(values) for values in strata]
    low, high = interval_of_mean(known, resample, quantity, group.n_workers)
    rows = []
    for column, optimizer in enumerate(group.optimizers):
        defined = ~np.isnan(mean[column])
        rows.append(
            pd.DataFrame(
                {
                    "n_workers": group.n_workers,
                    "optimizer": optimizer,
                    "budget": x[defined],
                    "mean": mean[column][defined],
                    "lower": low[column][defined],
                    "upper": high[column][defined],
                    "n_benchmarks": len(group.benchmarks),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def _finished(rows: list[pd.DataFrame], resample: Resample, *sentences: str) -> pd.DataFrame:
    import pandas as pd

    table = pd.concat(rows, ignore_index=True)
    mark = table.attrs[MARK] = mark_of(table, "budget", "reached" if "reached" in table else "mean")
    band = f"{spread_of(table['lower'], resample, mark)} {curve_sentence(mark)}".strip()
    return described(table, *(band if sentence is BAND else sentence for sentence in sentences))
