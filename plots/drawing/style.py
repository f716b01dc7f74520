"""The one place for colours, lines, fonts and sizes.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any of the common
colour-vision deficiencies can tell apart; their yellow is left out because thin lines of it vanish on white.
A line style and a marker double each colour, so that figures survive a black-and-white print. A `Look` is what a
figure is made for: a paper's column, a slide or a page on the web.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

LineStyle: TypeAlias = str | tuple[int, tuple[float, ...]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One a colour, in figures whose lines have few points."""
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


Width = Literal["one", "two"]
"""Of a figure: one column of a two-column paper, or both."""


@dataclass(frozen=True, slots=True)
class Look:
    """What figures are made for."""

    name: str
    font: float
    """Size of the labels in points."""
    widths: Mapping[Width, float]
    """Inches."""
    panel_height: float
    """Inches."""
    dots_per_inch: int
    """Of the PNG."""
    line: float
    """Width of the curves in points."""
    grows: bool = False
    """Whether a figure with many panels may be wider than `widths` says."""

    @property
    def scale(self) -> float:
        """How large letters are beside those of the settings that all looks share."""
        return self.font / float(PARAMETERS["font.size"])

    def parameters(self) -> dict[str, Any]:
        """Return matplotlib's settings."""
        sizes = {key: value * self.scale for key, value in PARAMETERS.items() if "size" in key}
        thin = {key: PARAMETERS[key] * self.scale for key in ("axes.linewidth", "grid.linewidth")}
        return {**PARAMETERS, **sizes, **thin, "lines.linewidth": self.line, "lines.markersize": 2.6 * self.line}


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        # A column and the text width of the two-column classes of IEEE, ACM and ICML, to the tenth of an inch.
        "paper": Look("paper", 7.0, {"one": 3.3, "two": 6.8}, 1.45, 300, 1.1),
        "slides": Look("slides", 15.0, {"one": 6.2, "two": 12.6}, 2.9, 120, 2.4),
        "web": Look("web", 8.0, {"one": 4.9, "two": 9.1}, PANEL_HEIGHT, DOTS_PER_INCH, 1.4, grows=True),
    }
)
"""By name; `web` is the default."""


def look(name: str) -> Look:
    """Return the look of this name.

    Raises
    ------
    SpecificationError
        There is none.
    """
    if name not in LOOKS:
        raise SpecificationError(f"there is no style {name!r}; choose one of {', '.join(LOOKS)}")
    return LOOKS[name]


def context(chosen: Look | None = None) -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws and saves with the settings of a look, by default those of `web`."""
    import matplotlib as mpl

    return mpl.rc_context(cast("Any", (chosen or LOOKS["web"]).parameters()))


_INCHES_PER_LETTER = 0.062
"""Of the labels and the legend, on average and rounded up."""
_LEGEND_HANDLE = 0.55
"""Inches that an entry of the legend needs beside its text."""
LEGEND_LINE = 0.17
"""Inches."""


def legend_columns(names: Sequence[str], width: float, scale: float = 1.0) -> int:
    """Return how many of these names fit side by side into a legend of so many inches, its letters `scale` as large."""
    entry = scale * (_LEGEND_HANDLE + _INCHES_PER_LETTER * max(map(len, names), default=0))
    return max(1, min(len(names), int(width / entry)))


def fit(names: Sequence[str], inches: float, scale: float = 1.0) -> bool:
    """Tell whether each of these names fits into so many inches, letters being `scale` as large."""
    return scale * _INCHES_PER_LETTER * max(map(len, names), default=0) <= inches


def broken(label: str, inches: float = PANEL_HEIGHT) -> str:
    """Return a benchmark's label, broken at task and options if it is longer than a panel is high, or than `inches`."""
    if len(label) * _INCHES_PER_LETTER <= inches:
        return label
    return label.replace("/", "/\n").replace("(", "\n(")


@dataclass(frozen=True, slots=True)
class Style:
    """How one optimizer is drawn, in every figure."""

    colour: str
    line: LineStyle

    @property
    def marker(self) -> str:
        """Doubles the colour where a line has few points."""
        return MARKERS[COLOURS.index(self.colour)]


def _style(slot: int) -> Style:
    """Return style number `slot`: neighbours differ in colour and in line."""
    return Style(COLOURS[slot % len(COLOURS)], LINES[(slot + slot // len(COLOURS)) % len(LINES)])


N_STYLES = len(COLOURS) * len(LINES)
"""How many optimizers one figure can tell apart."""

STATES = MappingProxyType(
    {
        "evaluating": ("#0072B2", ""),
        "sampling": ("#E69F00", "////"),
        "waiting": ("#56B4E9", "...."),
        "idle": ("#E6E6E6", ""),
        "lost": ("#000000", "xxxx"),
    }
)
"""Colour and hatching of what a worker does."""

# The optimizers that appear together most often get styles that differ as much as possible, in grey print too.
RESERVED = {
    "random": Style("#000000", LINES[2]),
    "optuna-tpe": Style("#0072B2", LINES[0]),
    "optuna-cmaes": Style("#D55E00", LINES[1]),
    "optuna-random": Style("#E69F00", LINES[2]),
    "optuna-gp": Style("#56B4E9", LINES[4]),
    "optuna-hyperband": Style("#009E73", LINES[1]),
    "smac-hpo": Style("#CC79A7", LINES[0]),
    "smac-blackbox": Style("#CC79A7", LINES[1]),
    "smac-mf": Style("#CC79A7", LINES[3]),
    "smac-hyperband": Style("#E69F00", LINES[4]),
    "bohb": Style("#D55E00", LINES[0]),
    "hyperband": Style("#009E73", LINES[3]),
    "dehb": Style("#E69F00", LINES[1]),
    "hebo": Style("#56B4E9", LINES[0]),
    "neps-random": Style("#56B4E9", LINES[2]),
    "neps-hyperband": Style("#009E73", LINES[4]),
    "neps-asha": Style("#0072B2", LINES[3]),
    "neps-priorband": Style("#D55E00", LINES[4]),
    "neps-ifbo": Style("#000000", LINES[0]),
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return one style a name.

    A reserved name always has its own; any other keeps its style from figure to figure, because it follows
    from the name, unless another name of the same figure has that colour or that line already: then the one that
    comes later in the alphabet takes the next of which both are free, else the next free colour, or the next free line
    once the colours are used up. Styles repeat beyond `N_STYLES` names.
    """
    chosen: dict[str, Style] = {}
    for name in sorted(set(names), key=lambda n: (n not in RESERVED, n)):
        if name in RESERVED:
            chosen[name] = RESERVED[name]
            continue
        slot = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % N_STYLES
        used = set(chosen.values())
        candidates = [_style((slot + step) % N_STYLES) for step in range(N_STYLES)]
        # A colour that nobody has yet is preferred to a mere other line; both, so that grey prints tell them apart.
        colours, lines = {style.colour for style in used}, {style.line for style in used}
        free = [s for s in candidates if s.colour not in colours] or [s for s in candidates if s not in used]
        free = [s for s in free if s.line not in lines] or free
        chosen[name] = (free or candidates)[0]
    return chosen
