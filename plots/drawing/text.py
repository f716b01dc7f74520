"""How much room text takes, as matplotlib's own renderer measures it, and lines that fit into a given room."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

FAMILY = "DejaVu Sans"
"""It comes with matplotlib, so that a figure looks the same on every machine."""
LINE = 1.2
"""Height of a line of text in letter sizes, as matplotlib sets several lines."""
_SLACK = 1.03
"""Text files and pixels round the widths of letters differently."""
_DOTS_PER_INCH = 720
_BREAKS = re.compile(r"(?<=[\s/_,;:=)\]}|+&-])|(?=[(\[{])")
"""Where a label is broken first: behind a separator and before a bracket."""


def plain(label: object) -> str:
    """Return a label as one line of printable text."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in str(label)).split()) or "''"


@functools.cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(10, 10, _DOTS_PER_INCH)  # type: ignore[no-untyped-call]


@functools.lru_cache(maxsize=65536)
def width(text: str, points: float) -> float:
    """Return the width in inches of text, the widest line of several, in letters of this size."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=FAMILY, size=points)
    lines = [_renderer().get_text_width_height_descent(line, font, False)[0] for line in text.split("\n") if line]
    return _SLACK * max(lines, default=0.0) / _DOTS_PER_INCH


def height(text: str, points: float) -> float:
    """Return the height in inches of text, of all its lines, in letters of this size."""
    return LINE * points / 72 * (1 + text.count("\n"))


def widest(texts: Iterable[str], points: float) -> float:
    """Return the width in inches of the widest of some texts."""
    return max((width(text, points) for text in texts), default=0.0)


def wrapped(text: str, inches: float, points: float) -> str:
    """Return text with line breaks so that no line is wider than so many inches, if a single letter is not.

    Lines are broken behind separators where that is possible, and anywhere else where it is not.
    """
    if width(text, points) <= inches:
        return text
    lines, line = [], ""
    for part in _BREAKS.split(text):
        if width((line + part).rstrip(), points) <= inches:
            line += part
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = part.lstrip()
        while width(line.rstrip(), points) > inches and len(line) > 1:
            head = _longest_head(line, inches, points)
            lines.append(line[:head])
            line = line[head:]
    return "\n".join([*lines, line.rstrip()] if line.strip() else lines)


def _longest_head(line: str, inches: float, points: float) -> int:
    """Return how many letters of a line fit, at least one."""
    low, high = 1, len(line) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(line[:middle], points) <= inches else (low, middle - 1)
    return low
