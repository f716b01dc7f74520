"""Figures that compare optimizers at points in time: critical-difference diagrams and win rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, described, workers_title
from zerowait.plots.statistics.arithmetic import win_rates
from zerowait.plots.statistics.significance import Comparison, PostHoc, compare, critical_difference
from zerowait.plots.studies.blocks import Blocks, Horizon, blocks, compared_sentence, left_out_sentence, listed
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

BlockKind = Literal["benchmark", "seed"]
_CELL = 0.28
"""Inches of a cell of the heat map that shows two digits."""


def critical_difference_table(
    study: Study,
    *,
    fractions: tuple[float, ...] = (0.25, 1.0),
    post_hoc: PostHoc = "conover",
    alpha: float = 0.05,
    blocks_are: BlockKind = "benchmark",
    horizon: Horizon = "common",
) -> pd.DataFrame:
    """Return average ranks and which optimizers differ, one row a pair of optimizers, panel by panel.

    Columns: `n_workers`, `budget` (share), `optimizer`, `other`, `rank`, `other_rank`, `p_value` (adjusted), `differs`,
    `test`, `statistic`, `test_p_value`, `n_blocks`, `critical_difference` (NaN unless the test is Nemenyi's).

    Parameters
    ----------
    study
        The runs.
    fractions
        Shares of the budget at which is compared.
    post_hoc
        The test of pairs; see `zerowait.plots.statistics.significance.compare`.
    alpha
        Level of all tests.
    blocks_are
        What a block is: a benchmark, its number the mean over seeds, or a single seed on a benchmark.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.

    Raises
    ------
    SpecificationError
        There are too few optimizers or blocks, a fraction is not in (0, 1], or nothing can be compared.
    """
    import pandas as pd

    if not fractions or not all(0 < f <= 1 for f in fractions):
        raise SpecificationError(f"fractions is {fractions}; they must be shares of the budget, above 0 and up to 1")
    groups = blocks(study, horizon)
    rows: list[dict[str, object]] = []
    unknown: list[str] = []
    for group in groups:
        for fraction in fractions:
            losses, dropped = _losses(study, group, fraction, blocks_are)
            unknown += [f"{name} ({workers_title(group.n_workers)}, {100 * fraction:g} %)" for name in dropped]
            try:
                found = compare(losses, alpha=alpha, post_hoc=post_hoc)
            except SpecificationError as error:
                raise SpecificationError(f"{workers_title(group.n_workers)}: {error}") from None
            rows += _pairs(group, fraction, found, alpha, post_hoc)
    table = pd.DataFrame(rows)
    first = table["test"].iloc[0]
    pairs = {
        "conover": "pairs by Conover's test with Holm's adjustment",
        "nemenyi": "pairs by Nemenyi's test (CD: its critical difference)",
    }[post_hoc]
    block = "a benchmark, by the mean over its seeds" if blocks_are == "benchmark" else "a seed on a benchmark"
    panels = table.drop_duplicates(["n_workers", "budget"])
    same = int((panels["test_p_value"] >= alpha).sum())
    return described(
        table,
        f"Average ranks by the best loss at shares of the budget; a block is {block}.",
        f"First Friedman's test, then {pairs}; level {alpha:g}. Bars join optimizers that do not differ significantly."
        if first == "Friedman"
        else f"Two optimizers: Wilcoxon's signed-rank test, level {alpha:g}. A bar means no significant difference.",
        f"In {same} of {len(panels)} panels the first test found no difference, so that no pair was tested." if same and
        first == "Friedman" else "",
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"Left out, because an optimizer has no result by then: {listed(unknown)}." if unknown else "",
    )  # fmt: skip


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


def draw_critical_difference(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `critical_difference_table` returned: a row a number of workers, a column a share of the budget."""
    workers = sorted(table["n_workers"].unique())
    fractions = sorted(table["budget"].unique())
    k = len({*table["optimizer"], *table["other"]})
    panels = canvas.panels(
        len(workers), len(fractions), [], suits="two" if len(fractions) > 1 else "one", panel_width=3.4,
        heights=[0.5 + 0.12 * ((k + 1) // 2)] * len(workers),
    )  # fmt: skip
    for row, n_workers in enumerate(workers):
        for column, fraction in enumerate(fractions):
            of_panel = table[(table["n_workers"] == n_workers) & (table["budget"] == fraction)]
            _draw_diagram(panels[row, column], of_panel, canvas)
            p = of_panel["test_p_value"].iloc[0]
            test = str(of_panel["test"].iloc[0]).split()[0]
            shown = f"{test} p = {p:.2g}" if p >= 1e-4 else f"{test} p < 0.0001"  # noqa: PLR2004 - enough digits
            distance = of_panel["critical_difference"].iloc[0]
            shown += "" if np.isnan(distance) else f", CD = {distance:.2f}"
            blocks_there = f"{of_panel['n_blocks'].iloc[0]} blocks"
            panels[row, column].set_title(
                f"{workers_title(int(n_workers))}, {100 * fraction:g} % of the budget\n{blocks_there}, {shown}",
                fontsize=canvas.look.font,
            )
    return panels


def draw_win_rates(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `win_rate_table` returned: a panel a number of workers."""
    workers = sorted(table["n_workers"].unique())
    names = sorted(table["optimizer"].unique())
    columns = min(len(workers), 2)
    rows = -(-len(workers) // columns)
    size = max(1.0, 0.28 * len(names))
    suits: style.Width = "two" if columns > 1 else "one"
    panel_width = max(style.PANEL_WIDTH, _CELL * len(names) + 0.5)
    panels = canvas.panels(
        rows, columns, [], suits=suits, heights=[size] * rows, panel_width=panel_width, sharex=True, sharey=True
    )
    # Names at 30 degrees need twice the height of their letters to stand beside one another.
    cell = 0.7 * canvas.inches(columns, suits, panel_width) / columns / len(names)
    rotation = 30 if cell >= _CELL * canvas.look.scale else 90
    image = None
    for panel, n_workers in zip(panels.flat, workers, strict=False):
        of_panel = table[table["n_workers"] == n_workers]
        rates = of_panel.pivot_table(index="optimizer", columns="other", values="win_rate").reindex(
            index=names, columns=names
        )
        # Orange loses and blue wins; both are told apart in every common colour vision, and the numbers in grey.
        image = panel.imshow(rates.to_numpy(), cmap="PuOr", vmin=0, vmax=1, aspect="auto")
        for i, j in np.argwhere(rates.notna().to_numpy()):
            rate = float(rates.to_numpy()[i, j])
            dark = abs(rate - 0.5) > 0.3  # noqa: PLR2004 - where black on the colour is hard to read
            panel.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", color="white" if dark else "black")
        panel.set_title(f"{workers_title(int(n_workers))} ({of_panel['n_blocks'].iloc[0]} blocks)")
        panel.set_xticks(
            range(len(names)), names, rotation=rotation, ha="right", va="center" if rotation == 90 else "top",  # noqa: PLR2004
            rotation_mode="anchor",
        )  # fmt: skip
        panel.set_yticks(range(len(names)), names)
        panel.grid(visible=False)
    for panel in list(panels.flat)[len(workers) :]:
        panel.set_visible(False)
    if image is not None:
        bar = canvas.figure.colorbar(image, ax=list(panels.flat), format=lambda value, _: f"{100 * value:.0f} %")
        bar.set_label("row wins")
    return panels


def _losses(study: Study, group: Blocks, fraction: float, kind: BlockKind) -> tuple[Floats, list[str]]:
    """Return the losses of all blocks at a share of the budget, and the blocks in which an optimizer has none yet."""
    losses, dropped = [], []
    for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
        best = study.best_at(runs.ravel(), np.array([fraction * until])).reshape(runs.shape)
        of_benchmark = best.mean(axis=0, keepdims=True) if kind == "benchmark" else best
        known = ~np.isnan(of_benchmark).any(axis=1)
        dropped += [benchmark] * int((~known).sum())
        losses.append(of_benchmark[known])
    return np.concatenate(losses), dropped


def _pairs(
    group: Blocks, fraction: float, found: Comparison, alpha: float, post_hoc: PostHoc
) -> list[dict[str, object]]:
    k = len(group.optimizers)
    is_nemenyi = post_hoc == "nemenyi" and found.test == "Friedman"
    return [
        {
            "n_workers": group.n_workers,
            "budget": fraction,
            "optimizer": group.optimizers[i],
            "other": group.optimizers[j],
            "rank": found.ranks[i],
            "other_rank": found.ranks[j],
            "p_value": found.pairs[i, j],
            "differs": bool(found.pairs[i, j] < alpha),
            "test": found.test,
            "statistic": found.statistic,
            "test_p_value": found.p_value,
            "n_blocks": found.n_blocks,
            "critical_difference": critical_difference(k, found.n_blocks, alpha) if is_nemenyi else np.nan,
        }
        for i in range(k)
        for j in range(i + 1, k)
    ]


def cliques(names: Sequence[str], same: set[frozenset[str]]) -> list[list[str]]:
    """Return the maximal groups, of two or more neighbours in this order, in which every pair is the same."""
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and all(frozenset((names[last + 1], n)) in same for n in names[first : last + 1]):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return [list(names[a : b + 1]) for a, b in found]


def _draw_diagram(panel: Axes, table: pd.DataFrame, canvas: Canvas) -> None:
    """Draw one diagram (Demsar 2006, figure 1): ranks on a line, names at its sides, bars join what does not differ."""
    ranks = dict(zip(table["optimizer"], table["rank"], strict=True)) | dict(
        zip(table["other"], table["other_rank"], strict=True)
    )
    names = sorted(ranks, key=lambda name: (ranks[name], name))
    k = len(names)
    pairs = table[~table["differs"]]
    groups = cliques(names, {frozenset(pair) for pair in zip(pairs["optimizer"], pairs["other"], strict=True)})
    depth = 0.45 * len(groups) + 0.6
    half = (k + 1) // 2
    panel.axis("off")
    # The ranks take the middle of the panel, so that the names at both sides have room in it.
    room = 0.75 * (k - 1)
    panel.set_xlim(1 - room, k + room)
    panel.set_ylim(depth + 0.9 * half - 0.3, -0.8)
    panel.plot([1, k], [0, 0], color="black", linewidth=0.8)
    for rank in range(1, k + 1):
        panel.plot([rank, rank], [-0.15, 0], color="black", linewidth=0.8)
        panel.annotate(str(rank), (rank, -0.15), xytext=(0, 1.5), textcoords="offset points", ha="center", va="bottom")
    for position, name in enumerate(names):
        left = position < half
        height = depth + 0.9 * (position if left else k - 1 - position)
        edge = 1 - 0.06 * (k - 1) if left else k + 0.06 * (k - 1)
        panel.plot(
            [ranks[name], ranks[name], edge], [0, height, height], color=canvas.styles[name].colour, linewidth=0.9
        )
        panel.annotate(
            f"{name} ({ranks[name]:.2f})" if left else f"({ranks[name]:.2f}) {name}", (edge, height),
            xytext=(-3 if left else 3, 0), textcoords="offset points", ha="right" if left else "left", va="center",
        )  # fmt: skip
    for level, group in enumerate(groups):
        ends = [ranks[group[0]] - 0.03, ranks[group[-1]] + 0.03]
        panel.plot(
            ends, [0.4 + 0.45 * level] * 2, color="black", linewidth=2.2 * canvas.look.scale, solid_capstyle="butt"
        )
