"""Figures of the verification experiments: the same runs simulated and really waited for, evaluation by evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, described
from zerowait.plots.studies.blocks import called, counted, listed
from zerowait.plots.studies.results import other_fidelities
from zerowait.plots.studies.study import KEYS, Study
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

MATCH_COLUMNS = ("end", "value", "config_id", "fidelity")
IDENTICAL = "identical"
"""Name of the line in the legend."""
MOST_COLUMNS = 4


def matched(simulated: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the evaluations that two traces have in common, in the order of the reference.

    Evaluations are the same when configuration and fidelities are; of several such ones, the first of one trace is that
    of the other, and so on. Columns: `reference_order` and `order` (from 1, in delivery order of the whole trace),
    `reference_end` and `end` (simulated s).

    Parameters
    ----------
    simulated, reference
        Evaluations in delivery order with `config_id`, `fidelity`, further `fidelity.` columns, and `end`.
    """
    both = []
    others = [name for name in other_fidelities(simulated) if name in reference]
    same = ["config_id", "fidelity", *others]
    for trace in (reference, simulated):
        table = trace[[*same, "end"]].reset_index(drop=True)
        table["config_id"] = table["config_id"].astype(str)
        table[same[1:]] = table[same[1:]].fillna(math.inf)
        table["occurrence"] = table.groupby(same).cumcount()
        table["order"] = np.arange(1, len(table) + 1)
        both.append(table)
    joined = both[0].merge(both[1], on=[*same, "occurrence"], suffixes=("_reference", "_simulated"))
    joined = joined.rename(
        columns={
            "order_reference": "reference_order",
            "order_simulated": "order",
            "end_reference": "reference_end",
            "end_simulated": "end",
        }
    )
    columns = ["reference_order", "order", "reference_end", "end"]
    return joined[columns].sort_values("reference_order", ignore_index=True)


def kendall_tau(table: pd.DataFrame) -> float:
    """Return Kendall's rank correlation of the two orders (Kendall 1938), 1 when they are identical."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    if len(table) < 2:  # noqa: PLR2004 - an order has two sides
        return 1.0
    return float(kendalltau(table["reference_order"], table["order"]).statistic)


def match_table(study: Study, *, reference: str | Path | Study | None = None) -> pd.DataFrame:
    """Return the evaluations of a study beside those of a reference study with the same runs.

    Columns: `benchmark`, `n_workers`, `optimizer`, `seed`, and those of `matched`.

    Parameters
    ----------
    study
        The simulated runs.
    reference
        The study that waited for real, or its folder.

    Raises
    ------
    SpecificationError
        There is no reference, or it has no run or no evaluation in common with the study.
    """
    import pandas as pd

    if reference is None:
        raise SpecificationError("a match compares with a reference; set reference=STUDY, of runs that really waited")
    if not isinstance(reference, Study):
        from zerowait.plots.studies.loading import load_study

        reference = load_study(reference, columns=MATCH_COLUMNS)
    theirs = {tuple(key): run for run, key in enumerate(reference.cells[list(KEYS)].itertuples(index=False))}
    frames, unmatched, alone, taus = [], 0, [], []
    for run, key in enumerate(study.cells[list(KEYS)].itertuples(index=False)):
        if tuple(key) not in theirs:
            alone.append(f"{called(study, key[2], key[0])} with {counted([key[1]], 'worker')} and seed {key[3]}")
            continue
        at, there = study.rows(run), reference.rows(theirs[tuple(key)])
        table = matched(study.evaluations.iloc[at], reference.evaluations.iloc[there])
        unmatched += (at.stop - at.start) + (there.stop - there.start) - 2 * len(table)
        if len(table):
            taus.append(kendall_tau(table))
        for position, name in enumerate(KEYS):
            table.insert(position, name, key[position])
        frames.append(table)
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if not len(table):
        raise SpecificationError(
            "the study and its reference have no evaluation in common; compare runs of equal seeds"
        )
    same = int((table["order"] == table["reference_order"]).sum())
    difference = float((table["end"] - table["reference_end"]).abs().max())
    return described(
        table,
        "Each point is an evaluation: across, as it was in the reference; up, as it was simulated.",
        f"{counted([len(taus)], 'run')}, {counted([len(table)], 'evaluation')}, {same} of them in the very same place;",
        f"least Kendall's tau of a run {min(taus):.4g}, largest difference of times {difference:.3g} s.",
        f"Not drawn, because one of the two alone has them: {counted([unmatched], 'evaluation')}." if unmatched else "",
        f"No reference for {listed(alone)}." if alone else "",
    )  # fmt: skip


def draw_order_match(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the order of the deliveries, a panel a benchmark."""
    return _draw(table, canvas, "reference_order", "order", "place in the reference", "place in the simulation")


def draw_time_match(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the times of the deliveries, a panel a benchmark."""
    return _draw(table, canvas, "reference_end", "end", "delivery in the reference [s]", "delivery simulated [s]")


def _draw(table: pd.DataFrame, canvas: Canvas, x: str, y: str, xlabel: str, ylabel: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    benchmarks = canvas.labels.ordered(table["benchmark"].unique())
    names = canvas.labels.ordered(table["optimizer"].unique())
    panels, used = canvas.grid(len(benchmarks), [*names, IDENTICAL], most=MOST_COLUMNS, height=1.15)
    for panel, benchmark in zip(used, benchmarks, strict=True):
        of_panel = table[table["benchmark"] == benchmark]
        for name in names:
            points = of_panel[of_panel["optimizer"] == name]
            look = canvas.styles[str(name)]
            if len(points):
                panel.plot(
                    points[x], points[y], linestyle="none", marker=look.marker, color=look.colour,
                    markersize=2.2 * canvas.look.scale,
                    alpha=0.7, markeredgewidth=0, label=str(name),
                )  # fmt: skip
        top = 1.03 * float(max(of_panel[x].max(), of_panel[y].max()))
        panel.plot([0, top], [0, top], color=style.OPTIMUM_COLOUR, linewidth=0.7, label=IDENTICAL, zorder=1)
        panel.set_xlim(0, top)
        panel.set_ylim(0, top)
        if x == "reference_order":
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_locator(MaxNLocator(integer=True))
        canvas.title(panel, canvas.name(benchmark))
    for panel in panels[:, 0]:
        canvas.ylabel(panel, ylabel)
    canvas.xlabel(xlabel)
    canvas.legend(used, last=(IDENTICAL,), marker_scale=2.0)
    return panels
