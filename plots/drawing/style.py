"""The one place for colours, lines, fonts and sizes.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any of the common
colour-vision deficiencies can tell apart; their yellow is left out because thin lines of it vanish on white.
No two of 35 methods share both colour and line, or both colour and marker, or both line and marker, so that figures
survive a black-and-white print. A `Look` is what a figure is made for: a paper's column, a slide or a page on the web.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from zerowait.plots.drawing import text
from zerowait.suite.rules.errors import SpecificationError

LineStyle: TypeAlias = str | tuple[int, tuple[float, ...]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""As many as colours, in figures whose lines have few points."""
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
    "font.family": text.FAMILY,
    "text.parse_math": False,  # a label is text: two dollars in it are no formula
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
    page: float = math.inf
    """Inches of height beyond which a figure goes on on another page."""

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
        # The height leaves room for a caption.
        "paper": Look("paper", 7.0, {"one": 3.3, "two": 6.8}, 1.45, 300, 1.1, page=8.5),
        "slides": Look("slides", 15.0, {"one": 6.2, "two": 12.6}, 2.9, 120, 2.4, page=7.0),
        "web": Look("web", 8.0, {"one": 4.9, "two": 9.1}, PANEL_HEIGHT, DOTS_PER_INCH, 1.4, grows=True),
    }
)
"""By name; `web` is the default."""
PHONE = Look("phone", 8.0, {"one": 3.7, "two": 3.7}, PANEL_HEIGHT, DOTS_PER_INCH, 1.4)
"""What the report shows on a narrow screen."""


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


@contextlib.contextmanager
def context(chosen: Look | None = None) -> Iterator[None]:
    """Return a context in which matplotlib draws and saves with the settings of a look, by default those of `web`.

    What matplotlib itself warns of stays silent: room is measured, and what is left out is named in the caption.
    """
    import matplotlib as mpl

    logger = logging.getLogger("matplotlib")
    level = logger.level
    with mpl.rc_context(cast("Any", (chosen or LOOKS["web"]).parameters())), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Style:
    """How one method is drawn, in every figure."""

    colour: str
    line: LineStyle
    marker: str = MARKERS[0]
    """Where a line has few points."""


def _slot_style(slot: int) -> Style:
    """Return style number `slot` of all: neighbours differ in colour and in line."""
    colour, line = slot % len(COLOURS), (slot + slot // len(COLOURS)) % len(LINES)
    # Of colour, line and marker any two name the third, so no two methods share a pair of them.
    return Style(COLOURS[colour], LINES[line], MARKERS[(colour + line) % len(MARKERS)])


N_STYLES = len(COLOURS) * len(LINES)
"""How many methods one figure can tell apart."""

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

# The optimizers that appear together most often get styles that differ as much as possible, in grey print too. By the
# numbers of colour and line; whoever stands first keeps its own in any company.
RESERVED = MappingProxyType(
    {
        "random": (6, 2),
        "optuna-tpe": (0, 0),
        "optuna-cmaes": (1, 1),
        "bohb": (1, 0),
        "dehb": (5, 1),
        "smac-hpo": (3, 0),
        "smac-blackbox": (3, 1),
        "smac-mf": (3, 3),
        "hebo": (4, 0),
        "hyperband": (2, 3),
        "optuna-random": (5, 2),
        "optuna-gp": (4, 4),
        "optuna-nsga2": (6, 4),
        "optuna-hyperband": (2, 1),
        "smac-hyperband": (5, 4),
        "neps-random": (4, 2),
        "neps-hyperband": (2, 4),
        "neps-asha": (0, 3),
        "neps-priorband": (1, 4),
        "neps-ifbo": (6, 0),
    }
)


def styles(names: Iterable[str], colours: Mapping[str, str] = MappingProxyType({})) -> dict[str, Style]:
    """Return one style a name; `colours` are given ones.

    A name has the style that is reserved for it, or that follows from its letters. If its colour is taken while another
    is free, or its pair of colour and line is, it gets the nearest whose colour, and then whose line, the fewest have.
    Names with a given colour choose first, reserved ones next, the others by the alphabet. Styles repeat beyond
    `N_STYLES` names.
    """
    chosen: dict[str, Style] = {}
    rank = {name: at for at, name in enumerate(RESERVED)}
    for name in sorted(set(names), key=lambda n: (n not in colours, rank.get(n, len(rank)), n)):
        taken = set(chosen.values())
        of_colour = Counter(style.colour for style in taken)
        of_line = Counter(style.line for style in taken)
        of_marker = Counter(style.marker for style in taken)
        candidates = _candidates(name, colours.get(name))
        free = [style for style in candidates if style not in taken] or candidates
        fewest = min(of_colour[style.colour] for style in free)
        if free[0] == candidates[0] and of_colour[free[0].colour] == fewest and (name in rank or name in colours):
            chosen[name] = free[0]
        else:
            # min takes the first of equals, which is the nearest.
            chosen[name] = min(free, key=lambda s: (of_colour[s.colour], of_line[s.line] + of_marker[s.marker]))
    return {name: chosen[name] for name in sorted(chosen)}


def _candidates(name: str, colour: str | None) -> list[Style]:
    """Return all styles that a name may have, the one that is its own first."""
    if name in RESERVED:
        at, line = RESERVED[name]
        # The slot of this colour and line, as `_slot_style` counts them.
        start = at + len(COLOURS) * (2 * (line - at) % len(LINES))
    else:
        start = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % N_STYLES
    found = [_slot_style((start + step) % N_STYLES) for step in range(N_STYLES)]
    if colour is None:
        return found
    return list(dict.fromkeys(Style(colour, style.line, style.marker) for style in found))
