"""The figures of the order match: order, number of known results and cumulative time, each beside the slept run's.

A panel a case and distribution. Where runs agree, their lines lie upon one another, and a reader cannot tell how well;
so below every panel stands another one, of the difference from the slept run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification.outcome import draw_figure
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas
from zerowait.plots.figures.agreement import IDENTICAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CASE, RUN = ["cost", "telling"], ["distribution", "cost", "telling"]
SLEPT, WITHOUT = "slept", "not simulated"
NAMES: Mapping[str, str] = MappingProxyType({
    SLEPT: "really slept",
    "measured": "simulated, measured overhead",
    "asked": "asked and told, measured overhead",
    "modelled": "simulated, modelled overhead",
    WITHOUT: "not simulated",
})  # fmt: skip
"""Of the ways, in the legend."""
STYLES: Mapping[str, style.Style] = MappingProxyType({
    "measured": style.Style(style.COLOURS[0], style.LINES[0], style.MARKERS[0]),
    "asked": style.Style(style.COLOURS[2], style.LINES[1], style.MARKERS[2]),
    "modelled": style.Style(style.COLOURS[6], style.LINES[2], style.MARKERS[6]),
    WITHOUT: style.Style(style.COLOURS[1], style.LINES[3], style.MARKERS[1]),
})  # fmt: skip
"""Of the ways that are compared with the slept one, in the order in which they are drawn."""
PALE = "#C4C4C4"
"""The slept run lies beneath the others, broad enough to be seen beside them."""
WIDTHS: Mapping[str, float] = MappingProxyType(
    {SLEPT: 5.0, "measured": 2.2, "asked": 1.5, "modelled": 0.9, WITHOUT: 0.9}
)
MARKERS: Mapping[str, float] = MappingProxyType({WITHOUT: 2.4, "measured": 3.2, "asked": 2.3, "modelled": 1.6})
"""Sizes, in the order in which points are drawn: one that agrees with another is a small point on a large one."""
HEIGHTS = (0.62, 0.5)
"""Of a panel and of the one of differences below it, relative to other figures'."""
MOST_DECADES = 3
"""So many labels have room above the zero of a panel of differences, and as many below it."""


def write_figures(evaluations: pd.DataFrame, time_limit: float, folder: Path) -> list[Path]:
    """Draw the evaluations into a folder, return the paths; times may differ by `time_limit`, a share of the whole."""
    draws: dict[str, Callable[[pd.DataFrame, Canvas], Any]] = {
        "order": draw_order,
        "size": draw_size,
        "time": partial(draw_time, time_limit=time_limit),
    }
    drawn = [
        draw_figure(partial(draw, evaluations), STYLES, folder / f"order-match-{name}") for name, draw in draws.items()
    ]
    return [path for files in drawn for path in (files.png, files.pdf)]


# -- what is drawn ----------------------------------------------------------------------------------------------------


def order_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return `place` and `slept_place` (from 1) of each result of the other ways, and how many places `later` it is."""
    table = _beside_slept(evaluations.assign(place=evaluations["place"] + 1), "place")
    table = table[table["way"] != SLEPT]
    return table.assign(later=table["place"] - table["slept_place"])


def size_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return `time` and `slept_time` (simulated s) of each ask, how many were `known`, and how many `more` than slept.

    The time is NaN of runs that were not simulated.
    """
    asked = evaluations["start"] - evaluations["cost"] * (evaluations["known"] + 1)
    table = _beside_slept(evaluations.assign(time=asked), "known", "time")
    return table.assign(more=table["known"] - table["slept_known"])


def time_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return the `time` of the n-th `result` (simulated s), and its difference from the slept one in `percent`.

    The whole is the time of the slept run. Runs that have no times have no rows.
    """
    table = evaluations[evaluations["end"].notna()]
    runs = table.groupby([*RUN, "way"], sort=False)
    table = table.assign(run=runs.ngroup(), time=table["end"]).sort_values(["run", "end"])
    # The n-th result of one way need not be of the same configuration as that of another.
    table["configuration"] = table.groupby("run").cumcount()
    table = _beside_slept(table, "time")
    whole = table.groupby(RUN)["slept_time"].transform("max")
    return table.assign(
        result=table["configuration"] + 1, percent=100 * (table["time"] - table["slept_time"]) / whole
    )  # fmt: skip


def _beside_slept(evaluations: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the evaluations with the columns of the same one of the slept run, as `slept_COLUMN`."""
    slept = evaluations.loc[evaluations["way"] == SLEPT, [*RUN, "configuration", *columns]]
    slept = slept.rename(columns={column: f"slept_{column}" for column in columns})
    return evaluations.merge(slept, on=[*RUN, "configuration"], how="left")


# -- drawing ----------------------------------------------------------------------------------------------------------


def draw_order(evaluations: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the place of each result against its place in the slept run, and below how many places later it is."""
    table = order_table(evaluations)
    panels, grid = _grid(table, canvas, [*(NAMES[way] for way in STYLES), IDENTICAL], sharex=True)
    last, most = int(table["slept_place"].max()), float(table["later"].abs().max())
    for places, strip, of_panel in grid:
        for panel, y, line in ((places, "place", [1, last]), (strip, "later", [0, 0])):
            panel.plot([1, last], line, color=style.OPTIMUM_COLOUR, linewidth=0.7, label=IDENTICAL, zorder=1)
            _points(panel, of_panel, canvas, "slept_place", y)
        _scale_differences(strip, 1.0, most)
    canvas.xlabel("place of a result, really slept")
    _ylabel(canvas, "place of the same result in the other run; below: how many places later than slept")
    canvas.legend(panels.flat, last=(NAMES[WITHOUT], IDENTICAL))
    return panels


def draw_size(evaluations: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the number of known results against the time of the ask, and below how many more than in the slept run."""
    table = size_table(evaluations)
    panels, grid = _grid(table, canvas, list(NAMES.values()), sharex="col")
    most = float(table["more"].abs().max())
    for sizes, strip, of_panel in grid:
        _lines(sizes, of_panel, canvas, "time", "known")
        _lines(strip, of_panel, canvas, "slept_time", "more")
        strip.set_ylim(-most - 0.7, most + 0.7)
        strip.set_yticks(sorted({-most, 0.0, most}))
    canvas.xlabel("simulated time of the ask [s] (differences: of the same ask in the slept run)")
    _ylabel(canvas, "known results |D|; below: how many more than slept")
    canvas.legend(panels.flat, last=(NAMES[WITHOUT],))
    return panels


def draw_time(evaluations: pd.DataFrame, canvas: Canvas, time_limit: float) -> Any:
    """Draw the time of the n-th result, and below its difference from the slept one with the limit of the gate."""
    table = time_table(evaluations)
    limit, most = 100 * time_limit, float(table["percent"].abs().max())
    gate = f"limit of the gate, {limit:g} %"
    panels, grid = _grid(table, canvas, [*(NAMES[way] for way in NAMES if way != WITHOUT), gate], sharex=True)
    for times, strip, of_panel in grid:
        _lines(times, of_panel, canvas, "result", "time")
        strip.axhspan(-limit, limit, color=style.STATES["idle"][0], linewidth=0, zorder=0, label=gate)
        _lines(strip, of_panel, canvas, "result", "percent")
        _scale_differences(strip, limit, most)
    canvas.xlabel("number of results n")
    _ylabel(canvas, "simulated time of the n-th result [s]; below: difference from slept, % of the whole time")
    canvas.legend(panels.flat, last=(gate,))
    return panels


def _grid(
    table: pd.DataFrame, canvas: Canvas, names: list[str], **shared: Any
) -> tuple[Any, list[tuple[Axes, Axes, pd.DataFrame]]]:
    """Return all panels, and for each case and distribution its two panels with its rows of the table."""
    cases = list(table[CASE].drop_duplicates().itertuples(index=False, name=None))
    distributions = list(dict.fromkeys(table["distribution"]))
    panels = canvas.panels(2 * len(cases), len(distributions), names, heights=HEIGHTS * len(cases), **shared)
    grid = []
    for (cost, telling), uppers, lowers in zip(cases, panels[::2], panels[1::2], strict=True):
        uppers[0].set_ylabel(f"told {telling}\nc = {cost:g} s")
        of_case = table[(table["cost"] == cost) & (table["telling"] == telling)]
        for upper, lower, distribution in zip(uppers, lowers, distributions, strict=True):
            # Without a line between them, the two are seen as one.
            upper.spines["bottom"].set_visible(False)
            upper.tick_params(bottom=False)
            grid.append((upper, lower, of_case[of_case["distribution"] == distribution]))
    for panel, distribution in zip(panels[0], distributions, strict=True):
        panel.set_title(distribution)
    return panels, grid


def _points(panel: Axes, table: pd.DataFrame, canvas: Canvas, x: str, y: str) -> None:
    """Draw the points of every way but the slept one."""
    for way, size in MARKERS.items():
        rows, look = table[table["way"] == way], canvas.styles[way]
        panel.plot(rows[x], rows[y], linestyle="none", marker=look.marker, color=look.colour, markersize=size,
                   markeredgewidth=0, label=NAMES[way])  # fmt: skip


def _lines(panel: Axes, table: pd.DataFrame, canvas: Canvas, x: str, y: str) -> None:
    """Draw a line a way: the slept one pale and broad, the others thin on top of it."""
    for way, name in NAMES.items():
        rows = table[table["way"] == way].dropna(subset=[x, y]).sort_values(x, kind="stable")
        if rows.empty:
            continue  # a legend's entry without a line would promise one
        look = style.Style(PALE, style.LINES[0]) if way == SLEPT else canvas.styles[way]
        panel.plot(rows[x], rows[y], color=look.colour, linestyle=look.line, linewidth=WIDTHS[way],
                   drawstyle="steps-post", label=name)  # fmt: skip


def _scale_differences(panel: Axes, limit: float, most: float) -> None:
    """Scale the y axis: linear within the limit, by powers of ten beyond it, of which as many are labelled as fit."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    top = max(most, limit)
    panel.set_yscale("symlog", linthresh=limit)
    panel.set_ylim(-2 * top, 2 * top)
    beyond = [limit * 10.0**power for power in range(int(np.floor(np.log10(2 * top / limit))) + 1)]
    if len(beyond) > MOST_DECADES:
        beyond = beyond[1::2]
    panel.set_yticks([*(-tick for tick in reversed(beyond)), 0.0, *beyond])
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _ylabel(canvas: Canvas, text: str) -> None:
    canvas.figure.supylabel(text, fontsize=canvas.look.parameters()["axes.labelsize"])
