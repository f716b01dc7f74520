"""Critical-difference diagrams: average ranks at shares of the budget, and which of them differ significantly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style, text
from zerowait.plots.drawing.panels import Canvas, described, workers_title
from zerowait.plots.statistics.significance import (
    FEWEST_BLOCKS,
    Comparison,
    Family,
    PostHoc,
    compare,
    critical_difference,
    least_wilcoxon_p,
    over_all,
)
from zerowait.plots.studies.blocks import Blocks, Horizon, blocks, compared_sentence, counted, left_out_sentence, listed
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

BlockKind = Literal["benchmark", "seed"]
AXIS, OF_A_RANK = 0.8, 0.075
"""Inches of the line of ranks, at least, and of a rank, in letters of 8 points."""
NAMES = 1.3
"""Inches that names at each side may take, in letters of 8 points, where diagrams stand side by side for that."""


def critical_difference_table(
    study: Study,
    *,
    fractions: tuple[float, ...] = (0.25, 1.0),
    post_hoc: PostHoc = "conover",
    alpha: float = 0.05,
    blocks_are: BlockKind = "benchmark",
    family: Family = "panel",
    horizon: Horizon = "common",
) -> pd.DataFrame:
    """Return average ranks and which optimizers differ, one row a pair of optimizers, panel by panel.

    Columns: `n_workers`, `budget` (share), `optimizer`, `other`, `rank`, `other_rank`, `p_value` (adjusted), `differs`,
    `effect` (matched-pairs rank-biserial correlation; 1: the first is better in all blocks), `test`, `statistic`,
    `test_p_value`, `n_blocks`, `critical_difference` (NaN unless the test is Nemenyi's).
    The p-value of a pair is NaN where the first test found no difference, so that no pair was tested.

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
    family
        Over what p-values are adjusted: the pairs of each panel, or all panels (Holm 1979).
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
    if family == "all" and post_hoc == "nemenyi":
        raise SpecificationError(
            "post_hoc=nemenyi is adjusted within a panel, by its own distribution; with family=all set "
            "post_hoc=conover or post_hoc=wilcoxon"
        )
    groups = blocks(study, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - a comparison has two sides
        raise SpecificationError(f"a test compares optimizers, and there is only {groups[0].optimizers[0]}")
    places: list[tuple[Blocks, float]] = []
    comparisons: list[Comparison] = []
    unknown: list[str] = []
    few: dict[str, int] = {}
    for group in groups:
        for fraction in fractions:
            losses, dropped = _losses(study, group, fraction, blocks_are)
            unknown += [
                f"{study.labels.text(name)} ({workers_title(group.n_workers)}, {100 * fraction:g} %)"
                for name in dropped
            ]
            if len(losses) < FEWEST_BLOCKS:
                few[f"{workers_title(group.n_workers)}, {100 * fraction:g} %"] = len(losses)
                continue
            places.append((group, fraction))
            comparisons.append(compare(losses, alpha=alpha, post_hoc=post_hoc))
    if not places:
        # The same for all, so that whoever has one benchmark only reads of it and not of shares of the budget.
        raise SpecificationError(
            f"a test needs at least {FEWEST_BLOCKS} blocks, and there is {max(few.values())}; add benchmarks, or set "
            "blocks_are=seed"
        )
    if family == "all":
        comparisons = over_all(comparisons, alpha)
    found = zip(places, comparisons, strict=True)
    table = pd.DataFrame([row for place, one in found for row in _pairs(*place, one, alpha, post_hoc)])
    first = table["test"].iloc[0]
    pairs = {
        "conover": "pairs by Conover's test with Holm's adjustment",
        "nemenyi": "pairs by Nemenyi's test (CD: its critical difference)",
        "wilcoxon": "pairs by Wilcoxon's signed-rank test with Holm's adjustment",
    }[post_hoc]
    block = "a benchmark, by the mean over its seeds" if blocks_are == "benchmark" else "a seed on a benchmark"
    panels = table.drop_duplicates(["n_workers", "budget"])
    same = int((panels["test_p_value"] >= alpha).sum())
    return described(
        table,
        f"Average ranks by the results at shares of the budget; a block is {block}.",
        f"First Friedman's test, then {pairs}; level {alpha:g}. Bars join optimizers that do not differ significantly."
        if first == "Friedman"
        else f"Two optimizers: Wilcoxon's signed-rank test, level {alpha:g}. A bar means no significant difference.",
        f"In {same} of {len(panels)} panels the first test found no difference, so that no pair was tested." if same and
        first == "Friedman" else "",
        f"All p-values are adjusted over all {len(panels)} panels (Holm 1979)." if family == "all" and len(panels) > 1
        else "",
        _powerless(panels, alpha, len(groups[0].optimizers), post_hoc, family),
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"Left out, because an optimizer has no result by then: {listed(unknown)}." if unknown else "",
        f"No panel, for want of at least {FEWEST_BLOCKS} blocks: {'; '.join(few)}." if few else "",
    )  # fmt: skip


def _powerless(panels: pd.DataFrame, alpha: float, k: int, post_hoc: PostHoc, family: Family) -> str:
    """Return what a caption says where there are so few blocks that Wilcoxon's test can find no difference at all."""
    of_panel = k * (k - 1) // 2
    n_pairs = of_panel * (len(panels) if family == "all" else 1)
    if of_panel > 1 and post_hoc != "wilcoxon":
        return ""
    few = sorted({int(n) for n in panels["n_blocks"] if least_wilcoxon_p(int(n), n_pairs) >= alpha})
    if not few:
        return ""
    least = least_wilcoxon_p(few[-1], n_pairs)
    pairs = "" if n_pairs == 1 else f" and {n_pairs} pairs"
    return f"With {counted(few, 'block')}{pairs} no difference can be significant: no p-value is below {least:.2g}."


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
            "differs": bool(found.pairs[i, j] < alpha),  # NaN: not tested
            "effect": found.effects[i, j],
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


def draw_critical_difference(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `critical_difference_table` returned: numbers of workers and shares of the budget in the table's order.

    As many stand side by side as there are shares, if they have room. The figure is laid out in inches, all of them
    measured from its texts.
    """
    panels = list(dict.fromkeys(zip(table["n_workers"], table["budget"], strict=True)))
    n_fractions = table["budget"].nunique()
    suits: style.Width = "two" if n_fractions > 1 else "one"
    names = {*table["optimizer"], *table["other"]}
    beside = min(
        text.widest([f"{canvas.name(name)} (10.00)" for name in names], canvas.look.font), _scaled(NAMES, canvas)
    )
    needed = _axis(len(names), canvas) + 2 * beside + _scaled(0.3, canvas)
    inches = canvas.inches(n_fractions, suits, max(needed, 3.4))
    columns = max(1, min(n_fractions, int(inches / needed)))
    places = [divmod(at, columns) for at in range(len(panels))]
    gap = 0.12 * canvas.look.scale
    wide = (inches - gap * (columns + 1)) / columns
    diagrams = {at: _diagram(table, panel, wide, canvas) for panel, at in zip(panels, places, strict=True)}
    rows = sorted({row for row, _ in diagrams})
    highs = {row: max(diagram.height for (of, _), diagram in diagrams.items() if of == row) for row in rows}
    high = sum(highs.values()) + gap * (len(rows) + 1)
    canvas.figure.set_layout_engine("none")
    canvas.figure.set_size_inches(inches, high)
    axes = np.empty((len(rows), columns), dtype=object)
    top = high - gap
    for position, row in enumerate(rows):
        for column in range(columns):
            left = gap + column * (wide + gap)
            share = (left / inches, (top - highs[row]) / high, wide / inches, highs[row] / high)
            panel = axes[position, column] = canvas.figure.add_axes(share)
            panel.axis("off")
            panel.set_xlim(0, wide)
            panel.set_ylim(highs[row], 0)
            if (row, column) in diagrams:
                _draw_diagram(panel, diagrams[row, column], canvas)
            else:
                panel.set_visible(False)
        top -= highs[row] + gap
    return axes


def _scaled(inches: float, canvas: Canvas) -> float:
    return inches * canvas.look.scale


def _axis(k: int, canvas: Canvas) -> float:
    """Return how long the line of so many ranks is at least, in inches."""
    return _scaled(max(AXIS, OF_A_RANK * k), canvas)


@dataclass(frozen=True, slots=True)
class _Name:
    """An optimizer beside the diagram."""

    name: str
    rank: float
    label: str
    left: bool
    y: float


@dataclass(frozen=True, slots=True)
class _Diagram:
    """One diagram; lengths in inches, from the upper left corner of its panel."""

    title: str
    axis: tuple[float, float, float]
    """Left and right end of the line of ranks, and where it stands."""
    numbers: tuple[int, ...]
    k: int
    bars: tuple[tuple[float, float, float], ...]
    """Lowest and highest rank of optimizers that do not differ, and where the bar that joins them stands."""
    names: tuple[_Name, ...]
    height: float


def _diagram(table: pd.DataFrame, panel: tuple[Any, Any], wide: float, canvas: Canvas) -> _Diagram:
    """Lay out one diagram (Demsar 2006, figure 1): ranks on a line, names at its sides."""
    n_workers, fraction = panel
    of_panel = table[(table["n_workers"] == n_workers) & (table["budget"] == fraction)]
    ranks = dict(zip(of_panel["optimizer"], of_panel["rank"], strict=True)) | dict(
        zip(of_panel["other"], of_panel["other_rank"], strict=True)
    )
    names = sorted(ranks, key=lambda name: (ranks[name], canvas.labels.place(name)))
    k = len(names)
    points = canvas.look.font
    line = text.height("", points)
    title = "\n".join(text.wrapped(part, wide, points) for part in _title(of_panel, n_workers, fraction))
    half = (k + 1) // 2
    sides = [(name, at < half) for at, name in enumerate(names)]
    room_for_names = 0.5 * (wide - _axis(k, canvas)) - line
    labels = {name: text.wrapped(f"{canvas.name(name)} ({ranks[name]:.2f})", room_for_names, points) for name in names}
    room = [
        text.widest([labels[n] for n, left in sides if left is side], points) + 0.5 * line for side in (True, False)
    ]
    begin, end = room[0] + 0.5 * line, wide - room[1] - 0.5 * line
    step = next(s for s in range(1, k + 1) if s == k or s * (end - begin) / (k - 1) >= text.width(f"{k} ", points))
    level = text.height(title, canvas.look.font) + 1.6 * line
    same = of_panel[~of_panel["differs"]]
    groups = cliques(names, {frozenset(pair) for pair in zip(same["optimizer"], same["other"], strict=True)})
    bars = tuple(
        (ranks[group[0]], ranks[group[-1]], level + (0.5 + 0.45 * at) * line) for at, group in enumerate(groups)
    )
    top = level + (0.6 + 0.45 * len(groups)) * line
    found = []
    for side in (True, False):
        below = top
        # At the right the worst stands on top, so that no line crosses a name.
        of_side = [name for name, left in sides if left is side]
        for name in of_side if side else reversed(of_side):
            high = text.height(labels[name], points) + (0.5 if "\n" in labels[name] else 0.15) * line
            found.append(_Name(str(name), ranks[name], labels[name], side, below + high / 2))
            below += high
    bottom = max(of.y + text.height(of.label, points) / 2 for of in found)
    return _Diagram(
        title, (begin, end, level), tuple(range(1, k + 1, step)), k, bars, tuple(found), bottom + 0.3 * line
    )


def _title(of_panel: pd.DataFrame, n_workers: Any, fraction: Any) -> tuple[str, str]:
    p = of_panel["test_p_value"].iloc[0]
    test = str(of_panel["test"].iloc[0]).split()[0]
    shown = f"{test} p = {p:.2g}" if p >= 1e-4 else f"{test} p < 0.0001"  # noqa: PLR2004 - enough digits
    distance = of_panel["critical_difference"].iloc[0]
    shown += "" if np.isnan(distance) else f", CD = {distance:.2f}"
    blocks_there = counted([int(of_panel["n_blocks"].iloc[0])], "block")
    return f"{workers_title(int(n_workers))}, {100 * fraction:g} % of the budget", f"{blocks_there}, {shown}"


def _draw_diagram(panel: Axes, diagram: _Diagram, canvas: Canvas) -> None:
    begin, end, level = diagram.axis
    points = canvas.look.font
    line = text.height("", points)

    def x(rank: float) -> float:
        return begin + (rank - 1) * (end - begin) / (diagram.k - 1)

    panel.text((panel.get_xlim()[1]) / 2, 0, diagram.title, ha="center", va="top", fontsize=points)
    panel.plot([begin, end], [level, level], color="black", linewidth=0.8)
    for rank in range(1, diagram.k + 1):
        panel.plot([x(rank)] * 2, [level - 0.2 * line, level], color="black", linewidth=0.8)
    for rank in diagram.numbers:
        panel.text(x(rank), level - 0.25 * line, str(rank), ha="center", va="bottom", fontsize=points)
    for of in diagram.names:
        edge = begin - 0.4 * line if of.left else end + 0.4 * line
        panel.plot([x(of.rank)] * 2 + [edge], [level, of.y, of.y], color=canvas.styles[of.name].colour, linewidth=0.9)
        panel.text(
            edge - 0.15 * line if of.left else edge + 0.15 * line, of.y, of.label, ha="right" if of.left else "left",
            va="center", fontsize=points,
        )  # fmt: skip
    for low, high, at in diagram.bars:
        reach = 0.015 * (end - begin)
        panel.plot(
            [x(low) - reach, x(high) + reach], [at, at], color="black", linewidth=2.2 * canvas.look.scale,
            solid_capstyle="butt",
        )  # fmt: skip
