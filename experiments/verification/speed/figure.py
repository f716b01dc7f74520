"""The figure of what an evaluation costs: a panel a way of being asked, a line a contender, against the workers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from zerowait.experiments.verification.outcome import draw_figure
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, label_decades, label_workers

BARE = "bare"
"""The contender that simulates nothing; all others are read against it."""
STYLES: Mapping[str, style.Style] = MappingProxyType({
    # Chosen here, because those that follow from the names are black for one of them, beside the grey of the bare.
    "zerowait": style.Style(style.COLOURS[0], style.LINES[0], style.MARKERS[0]),
    "mfhpo-simulator": style.Style(style.COLOURS[1], style.LINES[3], style.MARKERS[1]),
    "Syne Tune": style.Style(style.COLOURS[2], style.LINES[2], style.MARKERS[2]),
})  # fmt: skip
"""Of the contenders that simulate."""
PANEL_WIDTH = 3.0
"""Inches; eleven numbers of workers stand below a panel."""
HEIGHT = 1.25
"""Of a panel, relative to other figures'; the costs span five powers of ten."""
CAPTION = (
    "The figure has the real time of an evaluation: median of the turns, bars from the least to the greatest. There is "
    "no point where a contender was not measured, because it had failed or had taken too long with fewer workers"
)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the outcome's table into a folder, under the same name, and return the paths."""
    files = draw_figure(partial(draw, table), STYLES, folder / "speed", table)
    return [files.pdf, files.png]


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the cost of an evaluation against the workers, with bars from the least to the greatest turn."""
    ways = list(dict.fromkeys(table["way"]))
    measured = table[table["us_per_evaluation"].notna()]
    panels = canvas.panels(
        1, len(ways), list(measured["contender"].unique()), heights=[HEIGHT], panel_width=PANEL_WIDTH, sharey=True
    )
    for way, panel in zip(ways, panels.flat, strict=True):
        panel.set_title(way)
        panel.set_yscale("log")
        for name in measured["contender"][measured["way"] == way].unique():
            # With the rows that have no number: a line breaks there, and does not pass over what was not measured.
            _line(panel, name, table[(table["way"] == way) & (table["contender"] == name)], canvas.styles)
        label_workers(panel, table["workers"])
    label_decades(panels[0, 0].yaxis, measured["least_us"].min(), measured["greatest_us"].max())
    panels[0, 0].set_ylabel("µs per evaluation")
    canvas.xlabel("workers P")
    canvas.legend(panels.flat, last=(BARE,))
    return panels


def _line(panel: Any, name: str, rows: pd.DataFrame, styles: Mapping[str, style.Style]) -> None:
    if name == BARE:
        look: dict[str, Any] = {"color": style.OPTIMUM_COLOUR, "linestyle": (0, (4, 2)), "marker": ".", "zorder": 1.5}
    else:
        look = {"color": styles[name].colour, "linestyle": styles[name].line, "marker": styles[name].marker}
    middle = rows["us_per_evaluation"]
    # One turn has no spread, and a bar of no length would say that it had a small one.
    bars = [side.where(rows["turns"] > 1) for side in (middle - rows["least_us"], rows["greatest_us"] - middle)]
    panel.errorbar(rows["workers"], middle, yerr=bars, label=name, markersize=3.5, elinewidth=0.7, capsize=1.5, **look)
