"""The one place for colours, lines, fonts and sizes.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any of the common
colour-vision deficiencies can tell apart; their yellow is left out because thin lines of it vanish on white.
A line style doubles each colour, so that figures survive a black-and-white print.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

LineStyle: TypeAlias = str | tuple[int, tuple[float, ...]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES: tuple[LineStyle, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)

PANEL_WIDTH = 2.1
"""Inches; four panels and their margins fill a landscape page."""
PANEL_HEIGHT = 1.75
"""Inches."""
OPTIMUM_COLOUR = "#777777"
BAND_OPACITY = 0.2
"""Of the band of one standard error around a mean."""
DOTS_PER_INCH = 200
"""Of the PNG."""

PARAMETERS: Mapping[str, Any] = {
    # DejaVu Sans comes with matplotlib, so the figure looks the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,  # fonts as text that editors and publishers can read, not as outlines
    "svg.fonttype": "none",
}
"""matplotlib's settings for every figure of zerowait."""


def context() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws and saves with the settings of zerowait."""
    import matplotlib as mpl

    return mpl.rc_context(cast("Any", dict(PARAMETERS)))


_INCHES_PER_LETTER = 0.07
"""Of the labels and the legend, on average and rounded up."""
_LEGEND_HANDLE = 0.55
"""Inches that an entry of the legend needs beside its text."""
LEGEND_LINE = 0.17
"""Inches."""


def legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many of these names fit side by side into a legend of so many inches."""
    entry = _LEGEND_HANDLE + _INCHES_PER_LETTER * max(map(len, names), default=0)
    return max(1, min(len(names), int(width / entry)))


def broken(label: str) -> str:
    """Return a benchmark's label, broken at task and options if it is longer than a panel is high."""
    if len(label) * _INCHES_PER_LETTER <= PANEL_HEIGHT:
        return label
    return label.replace("/", "/\n").replace("(", "\n(")


@dataclass(frozen=True, slots=True)
class Style:
    """How one optimizer is drawn, in every figure."""

    colour: str
    line: LineStyle


def _style(slot: int) -> Style:
    """Return style number `slot`: neighbours differ in colour and in line."""
    return Style(COLOURS[slot % len(COLOURS)], LINES[(slot + slot // len(COLOURS)) % len(LINES)])


N_STYLES = len(COLOURS) * len(LINES)
"""How many optimizers one figure can tell apart."""

# The optimizers that appear together most often get styles that differ as much as possible.
RESERVED = {
    "random": Style("#000000", (0, (1, 1))),
    "optuna-tpe": Style("#0072B2", "-"),
    "optuna-cmaes": Style("#D55E00", (0, (5, 1.5))),
    "optuna-random": Style("#E69F00", (0, (1, 1))),
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return one style a name.

    A reserved name always has its own; any other keeps its style from figure to figure, because it follows
    from the name, unless another name of the same figure has that colour already: then the one that comes
    later in the alphabet takes the next free colour, or the next free line once the colours are used up.
    Styles repeat beyond `N_STYLES` names.
    """
    chosen: dict[str, Style] = {}
    for name in sorted(set(names), key=lambda n: (n not in RESERVED, n)):
        if name in RESERVED:
            chosen[name] = RESERVED[name]
            continue
        slot = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % N_STYLES
        used = set(chosen.values())
        candidates = [_style((slot + step) % N_STYLES) for step in range(N_STYLES)]
        # A colour that nobody has yet is preferred to a mere other line.
        colours = {style.colour for style in used}
        free = [s for s in candidates if s.colour not in colours] or [s for s in candidates if s not in used]
        chosen[name] = (free or candidates)[0]
    return chosen
