"""Optimizers in pairs: how often one beats another, and how probably it is better by more than a little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style, text
from zerowait.plots.drawing.panels import Canvas, described, spread_of, workers_title
from zerowait.plots.statistics.arithmetic import Resample, generator, interval_of_mean, wins
from zerowait.plots.statistics.bayes import signed_rank_probabilities
from zerowait.plots.studies.blocks import (
    Blocks,
    Horizon,
    blocks,
    compared_sentence,
    counted,
    left_out_sentence,
    listed,
    reference_sentence,
)
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

LUMINANCE, DARK = (0.2126, 0.7152, 0.0722), 0.4
"""Of red, green and blue (ITU-R BT.709); on darker cells numbers are white."""
CELL = 0.28
"""Inches of a cell of the heat map that shows two digits in letters of 8 points."""
MOST_FOR_NAMES = 0.3
"""Share of a panel's width that the names of the rows may take; longer ones are broken."""
LONGEST_COLUMN = 1.1
"""Inches that the name of a column may take, in letters of 8 points; else columns have numbers."""
CLEARLY = 0.95
"""A probability from which on it is written in bold."""
LEAST_LETTERS = 0.6
"""Of the size of labels: where digits would be smaller than that in a cell, it has none."""


def win_rate_table(
    study: Study, *, fraction: float = 1.0, horizon: Horizon = "common", resample: Resample = "both"
) -> pd.DataFrame:
    """Return how often the optimizer of the row has a lesser loss than the one of the column.

    Columns: `n_workers`, `optimizer`, `other`, `win_rate`, `lower`, `upper`, `n_blocks`.

    Raises
    ------
    SpecificationError
        There is one optimizer, the fraction is not in (0, 1], or nothing can be compared.
    """
    import pandas as pd

    groups = _compared(study, fraction, horizon)
    rows = []
    for group in groups:
        strata = [wins(losses) for losses in _losses(study, group, fraction)]
        mean = np.mean([of.mean(axis=0) for of in strata], axis=0)
        low, high = interval_of_mean(strata, resample, "win rates", group.n_workers)
        n_blocks = sum(len(runs) for runs in group.runs)
        rows += [
            {
                "n_workers": group.n_workers, "optimizer": a, "other": b, "win_rate": mean[i, j], "lower": low[i, j],
                "upper": high[i, j], "n_blocks": n_blocks,
            }
            for i, a in enumerate(group.optimizers)
            for j, b in enumerate(group.optimizers)
            if i != j
        ]  # fmt: skip
    table = pd.DataFrame(rows)
    interval = spread_of(table["lower"], resample, "bar").replace("Bars are", "Numbers have")
    return described(
        table,
        "How often the result of the optimizer of the row is less than that of the column, on the same benchmark with",
        f"the same seed, at {100 * fraction:g} % of the budget (the probability of improvement of Agarwal et al. 2021,",
        "over pairs with the same seed); ties count half, and every benchmark counts alike.",
        f"{interval} Bold where it leaves out 50 %; the table has it." if table["lower"].notna().any() else "",
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )


def practical_table(
    study: Study, *, rope: float = 0.01, fraction: float = 1.0, horizon: Horizon = "common"
) -> pd.DataFrame:
    """Return how probably the optimizer of the row is better than that of the column by more than a little.

    Columns: `n_workers`, `optimizer`, `other`, `better`, `same`, `worse` (probabilities), `difference` (of the mean
    regrets), `n_blocks`.

    Parameters
    ----------
    study
        The runs.
    rope
        The region of practical equivalence: a difference of mean normalised regrets up to which nobody would care.
    fraction
        Share of the budget at which is compared.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.

    Raises
    ------
    SpecificationError
        There is one optimizer, the fraction is not in (0, 1] or the region not in [0, 1), or nothing can be compared.
    """
    import pandas as pd

    if not 0 <= rope < 1:
        raise SpecificationError(f"rope is {rope}; it must be a difference of normalised regrets, from 0 to below 1")
    groups = _compared(study, fraction, horizon)
    rows, left_out = [], []
    for group in groups:
        losses = _losses(study, group, fraction)
        named = list(zip(group.benchmarks, losses, strict=True))
        left_out += [study.labels.text(name) for name, of in named if np.isnan(of).any()]
        known = [study.regrets(name, of, "worst").mean(axis=0) for name, of in named if not np.isnan(of).any()]
        if not known:
            continue
        regrets = np.array(known)
        for i, a in enumerate(group.optimizers):
            for j, b in enumerate(group.optimizers):
                if i < j:
                    differences = regrets[:, i] - regrets[:, j]
                    random = generator("practical", group.n_workers, a, b)
                    better, same, worse = signed_rank_probabilities(differences, rope, random)
                    row = {"n_workers": group.n_workers, "same": same, "n_blocks": len(known)}
                    mean = float(differences.mean())
                    rows += [
                        {**row, "optimizer": a, "other": b, "better": better, "worse": worse, "difference": mean},
                        {**row, "optimizer": b, "other": a, "better": worse, "worse": better, "difference": -mean},
                    ]
    if not rows:
        raise SpecificationError(f"at {fraction:g} of the time not all runs have a result; choose a larger fraction")
    columns = ["n_workers", "optimizer", "other", "better", "same", "worse", "difference", "n_blocks"]
    return described(
        pd.DataFrame(rows)[columns],
        "How probably the optimizer of the row is better than that of the column by more than a normalised regret of",
        f"{rope:g}, at {100 * fraction:g} % of the budget: Bayesian signed-rank test (Benavoli et al. 2017) on the",
        "means over seeds; a block is a benchmark. The rest is the probability that they are practically the same, or",
        "that the row is worse; the table has both.",
        reference_sentence(study, [name for group in groups for name in group.benchmarks]),
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"Left out, because a run has no result by then: {listed(left_out)}." if left_out else "",
    )


def _compared(study: Study, fraction: float, horizon: Horizon) -> list[Blocks]:
    """Return the blocks, if there are two optimizers and the fraction is one."""
    if not 0 < fraction <= 1:
        raise SpecificationError(f"fraction is {fraction}; it must be a share of the budget, above 0 and up to 1")
    groups = blocks(study, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - a pair
        raise SpecificationError(f"optimizers are compared in pairs, and there is only {groups[0].optimizers[0]}")
    return groups


def _losses(study: Study, group: Blocks, fraction: float) -> list[Floats]:
    """Return the losses of each benchmark at a share of the budget, shape (seeds, optimizers)."""
    return [
        study.best_at(runs.ravel(), np.array([fraction * until])).reshape(runs.shape)
        for runs, until in zip(group.runs, group.horizons, strict=True)
    ]


def draw_win_rates(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `win_rate_table` returned: a panel a number of workers."""
    bold = (table["lower"] > 0.5) | (table["upper"] < 0.5)  # noqa: PLR2004 - a draw
    return _draw(table.assign(share=table["win_rate"], bold=bold), canvas, "row wins against column", "PuOr")


def draw_practical(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `practical_table` returned: a panel a number of workers."""
    bold = table["better"] > CLEARLY
    return _draw(
        table.assign(share=table["better"], bold=bold), canvas, "row practically better, probability", "Purples"
    )


def _draw(table: pd.DataFrame, canvas: Canvas, meaning: str, colours: Literal["PuOr", "Purples"]) -> Any:
    """Draw a heat map a number of workers.

    Where a row that does not win has lost, orange loses and purple wins: both are told apart in every common colour
    vision, and the numbers in grey. A probability of being better has no such middle.
    """
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
        rates = of_panel.pivot_table(index="optimizer", columns="other", values="share").reindex(
            index=names, columns=names
        )
        image = panel.imshow(rates.to_numpy(), cmap=colours, vmin=0, vmax=1, aspect="auto")
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
        canvas.colour_bar(image, shares, meaning)
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
        for one, other, rate, bold in of_panel[["optimizer", "other", "share", "bold"]].itertuples(index=False):
            dark = np.dot(LUMINANCE, panel.images[0].cmap(float(rate))[:3]) < DARK
            panel.text(
                names.index(other), names.index(one), f"{100 * rate:.0f}", ha="center", va="center", fontsize=points,
                color="white" if dark else "black", fontweight="bold" if bold else "normal",
            )  # fmt: skip
