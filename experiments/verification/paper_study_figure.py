"""The figure of average ranks against the number of workers: a row of panels a study, a panel a moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plots import style

if TYPE_CHECKING:
    import pandas as pd

    from plots.panels import Canvas

STEM = "paper-study"
APART = 0.02
"""Between two optimizers' points, as a share of a factor of two: their bars would lie on one another."""
CAPTION = (
    "Average rank (1 is best) against the number of workers; bars are 95 % bootstrap intervals, over benchmarks, of "
    "the change from the fewest workers on."
)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the figure into a folder and return its paths; the table behind it is the outcome's own."""
    from plots.panels import Canvas, new_figure, save_figure

    look = style.LOOKS["web"]
    with style.context(look):
        canvas = Canvas(new_figure(), style.styles(table["optimizer"].unique()), look)
        draw(table, canvas)
        files = save_figure(canvas.figure, table, folder / STEM, look)
    return [files.pdf, files.png]


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw a line for each optimizer: its average rank with each number of workers."""
    from plots.panels import label_workers

    studies, moments = list(dict.fromkeys(table["study"])), list(dict.fromkeys(table["moment"]))
    names = sorted(table["optimizer"].unique())
    panels = canvas.panels(len(studies), len(moments), names, heights=[1.15] * len(studies), panel_width=2.2)
    for row, study in enumerate(studies):
        for column, moment in enumerate(moments):
            panel = panels[row, column]
            of_panel = table[(table["study"] == study) & (table["moment"] == moment)]
            _lines(panel, of_panel, canvas)
            worst = of_panel["optimizer"].nunique()
            panel.set_ylim(worst + 0.3, 0.7)
            panel.set_yticks(range(1, worst + 1))
            label_workers(panel, of_panel["n_workers"])
            if row == 0:
                panel.set_title(moment)
            if column == 0:
                panel.set_ylabel(f"{study}\naverage rank")
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
