"""The figures of average ranks against the number of workers: one a study, with a panel a moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.drawing.panels import Canvas

STEM = "paper-study"
APART = 0.02
"""Between two optimizers' points, as a share of a factor of two: their bars would lie on one another."""
HEIGHT, PANEL_WIDTH = 1.3, 2.2
"""Of a panel: relative to other figures', and in inches; seven lines cross in it."""
CAPTION = (
    "Average rank (1 is best) against the number of workers; bars are 95 % bootstrap intervals, over benchmarks, of "
    "the change from the fewest workers on."
)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the figure of each study, with the part of the table behind it, into a folder and return the paths.

    Studies give optimizers labels of their own, so each has its own colours.
    """
    from zerowait.plots.drawing.panels import Canvas, new_figure, save_figure

    look = style.LOOKS["web"]
    paths = []
    for study, of_study in table.groupby("study", sort=False):
        with style.context(look):
            canvas = Canvas(new_figure(), style.styles(of_study["optimizer"].unique()), look)
            draw(of_study, canvas)
            files = save_figure(canvas.figure, of_study, folder / f"{STEM}-{study}", look)
        paths += [files.pdf, files.png, files.csv]
    return paths


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw a line for each optimizer of a study, its average rank with each number of workers: a panel a moment."""
    from zerowait.plots.drawing.panels import label_workers

    moments, names = list(dict.fromkeys(table["moment"])), sorted(table["optimizer"].unique())
    panels = canvas.panels(1, len(moments), names, heights=[HEIGHT], panel_width=PANEL_WIDTH, sharey=True)
    for panel, moment in zip(panels.flat, moments, strict=True):
        _lines(panel, table[table["moment"] == moment], canvas)
        label_workers(panel, table["n_workers"])
        panel.set_title(moment)
    panels[0, 0].set_ylim(len(names) + 0.3, 0.7)
    panels[0, 0].set_yticks(range(1, len(names) + 1))
    panels[0, 0].set_ylabel("average rank")
    canvas.xlabel("workers P")
    canvas.legend(panels.flat)
    return panels


def _lines(panel: Any, table: pd.DataFrame, canvas: Canvas) -> None:
    names = sorted(table["optimizer"].unique())
    for place, name in enumerate(names):
        rows = table[table["optimizer"] == name].sort_values("n_workers")
        look = canvas.styles[name]
        x = rows["n_workers"] * 2.0 ** (APART * (2 * place - len(names) + 1))
        bars = [(rows["change"] - rows["lower"]).clip(lower=0), (rows["upper"] - rows["change"]).clip(lower=0)]
        panel.errorbar(
            x, rows["rank"], yerr=np.array(bars), color=look.colour, linestyle=look.line, marker=look.marker,
            markersize=3, linewidth=1.0, elinewidth=0.6, capsize=1.2, label=name,
        )  # fmt: skip
