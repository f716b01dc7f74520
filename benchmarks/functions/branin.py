"""Multi-fidelity Branin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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
from zerowait.suite.rules import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Kandasamy et al. print 0.05; their code (dragonfly) has 0.005.
DEFAULT_DELTA_T = 0.005


@dataclass(frozen=True, slots=True)
class Branin:
    """Branin on [0, 1]^2, three coefficients of which drift as the fidelity falls.

    Source: Kandasamy et al., arXiv 1703.06240, with the coefficients of their code (dragonfly).
    """

    delta_t: float = DEFAULT_DELTA_T
    """How much larger the coefficient t is at fidelity zero than at full fidelity."""

    name: ClassVar[str] = "branin"
    dimension: ClassVar[int] = 2
    noise_sd: ClassVar[float] = math.sqrt(0.05)
    # 10 / (8 pi), at x1 = pi, x2 = 2.275: both squares vanish and the cosine is -1.
    minimum: ClassVar[float] = 5.0 / (4.0 * math.pi)

    def __post_init__(self) -> None:
        """Refuse a coefficient that is not a number."""
        arguments.real("branin: delta_t", self.delta_t, -math.inf, allowed="a finite number")

    @property
    def options(self) -> Mapping[str, Any]:
        """The parameters that are not the default."""
        return {} if self.delta_t == DEFAULT_DELTA_T else {"delta_t": self.delta_t}

    def value(self, x: Sequence[float], s: float) -> float:
        """Return (x2 - b x1^2 + c x1 - 6)^2 + 10 (1 - t) cos x1 + 10 at relative fidelity s."""
        x1, x2 = 15.0 * x[0] - 5.0, 15.0 * x[1]
        b = 5.1 / (4.0 * math.pi**2) - 0.01 * (1.0 - s)
        c = 5.0 / math.pi - 0.1 * (1.0 - s)
        t = 1.0 / (8.0 * math.pi) + self.delta_t * (1.0 - s)
        return (x2 - b * x1**2 + c * x1 - 6.0) ** 2 + 10.0 * (1.0 - t) * math.cos(x1) + 10.0

    def runtime(self, s: float) -> float:
        """Return 3600 (0.05 + 0.95 s^1.5) seconds."""
        return 3600.0 * (0.05 + 0.95 * math.pow(s, 1.5))


def make(
    *,
    noise: bool = False,
    delta_t: float = DEFAULT_DELTA_T,
    fidelity_range: Sequence[int] = DEFAULT_FIDELITY_RANGE,
) -> AnalyticBenchmark:
    """Make the benchmark `branin`; the parameters are those of `Branin` and `AnalyticBenchmark`."""
    return AnalyticBenchmark(Branin(delta_t), noise=noise, fidelity_range=fidelity_range)


FAMILY = Family(
    name="branin",
    description="multi-fidelity Branin, 2 parameters; the loss is the function's value",
    make=make,
    citation=CITATION,
    licence=LICENCE,
    facts=Facts(
        value="the function's value, no unit",
        runtime=RUNTIME,
        optima={None: Branin.minimum},
        optimum_note=OPTIMUM_NOTE,
        bibtex=BIBTEX,
    ),
)
