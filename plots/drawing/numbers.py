"""One way of writing numbers on an axis: all plain, or all as powers of ten."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.ticker import Formatter

LEAST, MOST = 1e-3, 1e5
"""Numbers from the first up to below the second are read at a glance; an axis with any other is one of powers."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Numbers(Formatter):
    """Writes the ticks of an axis in one way; what lies outside of its view does not count."""

    def __init__(self, *, even: bool) -> None:
        """`even` gives all numbers as many decimals, which suits an axis that is not logarithmic."""
        self.even = even

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - of the base
        """Return a number on its own, as a cursor shows it."""
        return f"{x:g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return what stands at each tick."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis is not None else (-math.inf, math.inf)
        room = 1e-9 * (high - low) if math.isfinite(high - low) else 0.0
        seen = [float(value) for value in values if low - room <= value <= high + room]
        return written(seen, values, even=self.even)


def written(seen: Sequence[float], values: Sequence[float] | None = None, *, even: bool = False) -> list[str]:
    """Return all `values` in the way that suits those that are seen, by default the same."""
    values = seen if values is None else values
    sizes = [abs(value) for value in seen if value]
    if any(not LEAST <= size < MOST for size in sizes):
        return [_power(float(value)) for value in values]
    decimals = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in seen), default=0)
    return [_signed(f"{value:.{decimals}f}" if even else f"{value:.10g}") for value in map(float, values)]


def _power(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.9e}".partition("e")
    factor = f"{float(mantissa):g}"
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if factor == "1" else _signed(f"{'-' if factor == '-1' else f'{factor}·'}{power}")


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
