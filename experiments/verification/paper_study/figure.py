"""The figures of average ranks against the number of workers: one a study, with a panel a moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from zerowait.experiments.verification.outcome import draw_figure
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, draw_points, label_workers

STEM = "paper-study"
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
    paths = []
    for study, of_study in table.groupby("study", sort=False):
        styles = style.styles(of_study["optimizer"].unique())
        files = draw_figure(partial(draw, of_study), styles, folder / f"{STEM}-{study}", of_study)
        paths += [files.pdf, files.png, files.csv]
    return paths


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw a line for each optimizer of a study, its average rank with each number of workers: a panel a moment."""
    moments, names = list(dict.fromkeys(table["moment"])), sorted(table["optimizer"].unique())
    panels = canvas.panels(1, len(moments), names, heights=[HEIGHT], panel_width=PANEL_WIDTH, sharey=True)
    for panel, moment in zip(panels.flat, moments, strict=True):
        of_moment = table[table["moment"] == moment]
        centre = of_moment["rank"] - of_moment["change"]  # bars are those of the change
        draw_points(
            panel,
            of_moment.assign(lower=centre + of_moment["lower"], upper=centre + of_moment["upper"]),
            "rank",
            canvas,
        )
        label_workers(panel, table["n_workers"])
        panel.set_title(moment)
    panels[0, 0].set_ylim(len(names) + 0.3, 0.7)
    panels[0, 0].set_yticks(range(1, len(names) + 1))
    panels[0, 0].set_ylabel("average rank")
    canvas.xlabel("workers P")
    canvas.legend(panels.flat)
    return panels
