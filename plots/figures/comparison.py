"""How often one optimizer beats another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style, text
from zerowait.plots.drawing.panels import Canvas, described, workers_title
from zerowait.plots.statistics.arithmetic import win_rates
from zerowait.plots.studies.blocks import Horizon, blocks, compared_sentence, counted, left_out_sentence
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.studies.study import Study

CELL = 0.28
"""Inches of a cell of the heat map that shows two digits in letters of 8 points."""
MOST_FOR_NAMES = 0.3
"""Share of a panel's width that the names of the rows may take; longer ones are broken."""
LONGEST_COLUMN = 1.1
"""Inches that the name of a column may take, in letters of 8 points; else columns have numbers."""
LEAST_LETTERS = 0.6
"""Of the size of labels: where digits would be smaller than that in a cell, it has none."""


def win_rate_table(study: Study, *, fraction: float = 1.0, horizon: Horizon = "common") -> pd.DataFrame:
    """Return how often the optimizer of the row has a lesser loss than the one of the column.

    Columns: `n_workers`, `optimizer`, `other`, `win_rate`, `n_blocks`.

    Raises
    ------
    SpecificationError
        There is one optimizer, the fraction is not in (0, 1], or nothing can be compared.
    """
    import pandas as pd

    if not 0 < fraction <= 1:
        raise SpecificationError(f"fraction is {fraction}; it must be a share of the budget, above 0 and up to 1")
    groups = blocks(study, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - a win needs a loser
        raise SpecificationError(f"win rates compare optimizers, and there is only {groups[0].optimizers[0]}")
    rows = []
    for group in groups:
        rates = []
        for runs, until in zip(group.runs, group.horizons, strict=True):
            losses = study.best_at(runs.ravel(), np.array([fraction * until])).reshape(runs.shape)
            rates.append(win_rates(losses))
        mean = np.mean(rates, axis=0)
        n_blocks = sum(len(runs) for runs in group.runs)
        rows += [
            {"n_workers": group.n_workers, "optimizer": a, "other": b, "win_rate": mean[i, j], "n_blocks": n_blocks}
            for i, a in enumerate(group.optimizers)
            for j, b in enumerate(group.optimizers)
            if i != j
        ]
    return described(
        pd.DataFrame(rows),
        "How often the optimizer of the row has a lesser best loss than that of the column, on the same benchmark with",
        f"the same seed, at {100 * fraction:g} % of the budget; ties count half, and every benchmark counts alike.",
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )


def draw_win_rates(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `win_rate_table` returned: a panel a number of workers."""
    workers = sorted(table["n_workers"].unique())
    names = canvas.labels.ordered({*table["optimizer"], *table["other"]})
    k, points = len(names), canvas.points("xtick.labelsize")
    suits: style.Width = "two" if len(workers) > 1 else "one"
    beside = min(text.widest(map(canvas.name, names), points), LONGEST_COLUMN * canvas.look.scale)
    needed = CELL * k * canvas.look.scale + beside + 0.2
    panel_width = max(style.PANEL_WIDTH, needed)
    most = max(1, min(2, int(canvas.inches(2, suits, panel_width) / needed)))
    columns = canvas.columns(len(workers), suits, most=most)
    share = canvas.inches(columns, suits, panel_width) / columns
    titles = _names_of_columns([canvas.name(name) for name in names], 0.65 * share / k, canvas)
    numbered = titles is None
    called = [f"{canvas.name(name)} ({at})" if numbered else canvas.name(name) for at, name in enumerate(names, 1)]
    called = [text.wrapped(name, MOST_FOR_NAMES * share, points) for name in called]
    row = max(max(text.height(name, points) for name in called) + 0.5 * points / 72, 0.8 * CELL * canvas.look.scale)
    panels, used = canvas.grid(
        len(workers), [], most=most, suits=suits, height=k * row / canvas.look.panel_height, panel_width=panel_width,
        sharex=True, sharey=True,
    )  # fmt: skip
    image = None
    for panel, n_workers in zip(used, workers, strict=True):
        of_panel = table[table["n_workers"] == n_workers]
        rates = of_panel.pivot_table(index="optimizer", columns="other", values="win_rate").reindex(
            index=names, columns=names
        )
        # Orange loses and blue wins; both are told apart in every common colour vision, and the numbers in grey.
        image = panel.imshow(rates.to_numpy(), cmap="PuOr", vmin=0, vmax=1, aspect="auto")
        canvas.title(
            panel, f"{workers_title(int(n_workers))} ({counted([int(of_panel['n_blocks'].iloc[0])], 'block')})"
        )
        panel.set_xticks(range(k), titles or [str(at) for at in range(1, k + 1)])
        if titles and any(text.width(name, points) > 0.65 * share / k for name in titles):
            panel.tick_params(axis="x", labelrotation=90)
        panel.set_yticks(range(k), called)
        panel.grid(visible=False)
    if image is not None:
        shares = [(percent / 100, f"{percent} %") for percent in (0, 25, 50, 75, 100)]
        canvas.colour_bar(image, shares, "row wins against column")
    canvas.settle()
    _write_rates(table, names, workers, used, canvas)
    return panels


def _names_of_columns(names: list[str], cell: float, canvas: Canvas) -> list[str] | None:
    """Return the names as they stand below cells of this width, upright if need be; None where they have no room."""
    points = canvas.points("xtick.labelsize")
    if text.widest(names, points) <= 0.9 * cell:
        return names
    broken = [text.wrapped(name, LONGEST_COLUMN * canvas.look.scale, points) for name in names]
    return broken if max(text.height(name, points) for name in broken) <= cell else None


def _write_rates(table: pd.DataFrame, names: list[Any], workers: list[Any], used: list[Any], canvas: Canvas) -> None:
    """Write the numbers into the cells, in letters that fit, if those are not too small to be read."""
    dots = canvas.figure.dpi
    box = used[0].get_window_extent()
    wide, high = box.width / dots / len(names), box.height / dots / len(names)
    points = min(canvas.look.font, 0.85 * wide / text.width("100", 1.0), 0.85 * high * 72)
    if points < LEAST_LETTERS * canvas.look.font:
        return
    for panel, n_workers in zip(used, workers, strict=True):
        of_panel = table[table["n_workers"] == n_workers]
        for one, other, rate in zip(of_panel["optimizer"], of_panel["other"], of_panel["win_rate"], strict=True):
            dark = abs(rate - 0.5) > 0.3  # noqa: PLR2004 - where black on the colour is hard to read
            panel.text(
                names.index(other), names.index(one), f"{100 * rate:.0f}", ha="center", va="center", fontsize=points,
                color="white" if dark else "black",
            )  # fmt: skip
