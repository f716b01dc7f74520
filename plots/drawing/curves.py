"""Curves with their intervals: bands, or bars at a few places where bands would cover the curves of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from zerowait.plots.drawing import style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

Mark = Literal["band", "bar"]
MOST_COVERING = 3.0
"""Bands of others that lie over a point of a curve, on average; with more, bars are drawn."""
MARK = "mark"
"""Attribute of a table: how its intervals are drawn."""
BARS = 3
"""Of a curve."""
BAR_WIDTH, CAP = 0.8, 1.5
"""Points."""
_PANEL = ("benchmark", "n_workers")


def mark_of(table: pd.DataFrame, x: str, centre: str) -> Mark:
    """Return how intervals are drawn in all panels of a figure: bands if few enough lie over others' curves.

    What is decided for a table holds for its parts, which are drawn on pages of their own. The table has the columns
    `optimizer`, x, centre, `lower` and `upper`, and those of `benchmark` and `n_workers` that tell panels apart.
    """
    decided: Mark | None = table.attrs.get(MARK)
    if decided:
        return decided
    panels = table.groupby([name for name in _PANEL if name in table], observed=True)
    covering = [over for _, panel in panels for over in _covering(panel, x, centre)]
    return "bar" if covering and np.mean(covering) > MOST_COVERING else "band"


def _covering(panel: pd.DataFrame, x: str, centre: str) -> Iterator[float]:
    """Yield how many bands of others lie over a point of a curve, on average, for each curve of a panel."""
    names = (x, centre, "lower", "upper")
    curves = [
        tuple(curve[name].to_numpy(dtype=float) for name in names)
        for _, curve in panel.groupby("optimizer", observed=True)
    ]
    for own, (places, values, _, _) in enumerate(curves):
        over = np.zeros(len(places))
        for other, (theirs, _, low, high) in enumerate(curves):
            if own != other:
                at = np.searchsorted(theirs, places, side="right") - 1
                over += (at >= 0) & (low[at] <= values) & (values <= high[at])
        yield float(over.mean())


def draw_curves(
    panel: Axes, table: pd.DataFrame, x: str, centre: str, styles: Mapping[str, style.Style], names: Sequence[object],
    mark: Mark,
) -> None:  # fmt: skip
    """Draw a step function an optimizer, in the order of the names, with its intervals where the table has some.

    A curve has no band where a bound is not a number.
    """
    for position, name in enumerate(names):
        curve = table[table["optimizer"] == name]
        if not len(curve):
            continue
        look, places = styles[str(name)], curve[x].to_numpy()
        # The value at a time of the grid holds until the next one; a slope would promise what nobody had yet.
        (line,) = panel.plot(places, curve[centre], label=str(name), color=look.colour, linestyle=look.line)
        line.set_drawstyle("steps-post")
        if "lower" not in curve or curve[["lower", "upper"]].isna().any(axis=None):
            continue
        low, high = curve["lower"].to_numpy(), curve["upper"].to_numpy()
        if mark == "band":
            panel.fill_between(places, low, high, step="post", color=look.colour, alpha=style.BAND_OPACITY, linewidth=0)
        else:
            shares = (np.arange(BARS) + (position + 0.5) / len(names)) / BARS  # no two curves have bars at one place
            at = (shares * len(places)).astype(int)
            # Caps tell bars from steps. A bar is drawn around its own middle, which need not be on the curve.
            half = (high[at] - low[at]) / 2
            panel.errorbar(
                places[at], low[at] + half, half, fmt="none", ecolor=look.colour, elinewidth=BAR_WIDTH, capsize=CAP
            )


def curve_sentence(mark: Mark) -> str:
    """Return what a caption adds where curves have bars."""
    return f"A curve has {BARS} of them, because bands would cover the curves of others." if mark == "bar" else ""
