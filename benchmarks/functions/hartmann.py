"""Multi-fidelity Hartmann in three and in six dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.functions.analytic import (
    BIBTEX,
    CITATION,
    DEFAULT_FIDELITY_RANGE,
    LICENCE,
    OPTIMUM_NOTE,
    RUNTIME,
    AnalyticBenchmark,
)
from zerowait.benchmarks.registry import Family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALPHA = (1.0, 1.2, 3.0, 3.2)

A_3 = (
    (3.0, 10.0, 30.0),
    (0.1, 10.0, 35.0),
    (3.0, 10.0, 30.0),
    (0.1, 10.0, 35.0),
)
P_3 = (
    (0.3689, 0.1170, 0.2673),
    (0.4699, 0.4387, 0.7470),
    (0.1091, 0.8732, 0.5547),
    (0.0381, 0.5743, 0.8828),
)
A_6 = (
    (10.0, 3.0, 17.0, 3.5, 1.7, 8.0),
    (0.05, 10.0, 17.0, 0.1, 8.0, 14.0),
    (3.0, 3.5, 1.7, 10.0, 17.0, 8.0),
    (17.0, 8.0, 0.05, 10.0, 0.1, 14.0),
)
P_6 = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


Wells: TypeAlias = "tuple[tuple[float, tuple[tuple[float, float], ...]], ...]"
"""For each i: alpha_i, and for each j the pair A_ij, P_ij."""


def _wells(a: Sequence[Sequence[float]], p: Sequence[Sequence[float]]) -> Wells:
    rows = zip(ALPHA, a, p, strict=True)
    return tuple((alpha, tuple(zip(widths, centre, strict=True))) for alpha, widths, centre in rows)


WELLS_3, WELLS_6 = _wells(A_3, P_3), _wells(A_6, P_6)


def hartmann(x: Sequence[float], s: float, wells: Wells) -> float:
    """Return -sum_i (alpha_i - 0.1 (1 - s)) exp(-sum_j A_ij (x_j - P_ij)^2) at relative fidelity s."""
    total = 0.0
    shallower = 0.1 * (1.0 - s)
    for alpha, axes in wells:
        exponent = 0.0
        for xj, (width, cj) in zip(x, axes, strict=True):
            exponent += width * (xj - cj) ** 2
        total += (alpha - shallower) * math.exp(-exponent)
    return -total


@dataclass(frozen=True, slots=True)
class Hartmann3:
    """Hartmann on [0, 1]^3, whose wells get shallower as the fidelity falls (arXiv 1703.06240)."""

    name: ClassVar[str] = "hartmann3"
    dimension: ClassVar[int] = 3
    noise_sd: ClassVar[float] = 0.1
    minimum: ClassVar[float] = -3.8627797873326615
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def value(self, x: Sequence[float], s: float) -> float:
        """Return the function's value at relative fidelity s."""
        return hartmann(x, s, WELLS_3)

    def runtime(self, s: float) -> float:
        """Return 3600 (0.1 + 0.9 m) seconds, m = mean(s1, s2^3, s3 s4) with all four equal to s."""
        return 3600.0 * (0.1 + 0.9 * (s + s**3 + s * s) / 3.0)


@dataclass(frozen=True, slots=True)
class Hartmann6:
    """Hartmann on [0, 1]^6, whose wells get shallower as the fidelity falls (arXiv 1703.06240)."""

    name: ClassVar[str] = "hartmann6"
    dimension: ClassVar[int] = 6
    noise_sd: ClassVar[float] = math.sqrt(0.05)
    minimum: ClassVar[float] = -3.322368011415515
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def value(self, x: Sequence[float], s: float) -> float:
        """Return the function's value at relative fidelity s."""
        return hartmann(x, s, WELLS_6)

    def runtime(self, s: float) -> float:
        """Return 3600 (0.1 + 0.9 m) seconds, m = mean(s1, s2^2, s3, s4^3) with all four equal to s."""
        return 3600.0 * (0.1 + 0.9 * (s + s * s + s + s**3) / 4.0)


def make_3(*, noise: bool = False, fidelity_range: Sequence[int] = DEFAULT_FIDELITY_RANGE) -> AnalyticBenchmark:
    """Make the benchmark `hartmann3`; the parameters are those of `AnalyticBenchmark`."""
    return AnalyticBenchmark(Hartmann3(), noise=noise, fidelity_range=fidelity_range)


def make_6(*, noise: bool = False, fidelity_range: Sequence[int] = DEFAULT_FIDELITY_RANGE) -> AnalyticBenchmark:
    """Make the benchmark `hartmann6`; the parameters are those of `AnalyticBenchmark`."""
    return AnalyticBenchmark(Hartmann6(), noise=noise, fidelity_range=fidelity_range)


def _facts(minimum: float) -> Facts:
    return Facts(
        value="the function's value, no unit",
        runtime=RUNTIME,
        optima={None: minimum},
        optimum_note=OPTIMUM_NOTE,
        bibtex=BIBTEX,
    )


FAMILY_3 = Family(
    name="hartmann3",
    description="multi-fidelity Hartmann, 3 parameters; the loss is the function's value",
    make=make_3,
    citation=CITATION,
    licence=LICENCE,
    facts=_facts(Hartmann3.minimum),
)
FAMILY_6 = Family(
    name="hartmann6",
    description="multi-fidelity Hartmann, 6 parameters; the loss is the function's value",
    make=make_6,
    citation=CITATION,
    licence=LICENCE,
    facts=_facts(Hartmann6.minimum),
)
