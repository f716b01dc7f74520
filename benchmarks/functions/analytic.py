"""Test functions with a fidelity: a formula becomes a benchmark on the unit cube, with optional noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from zerowait.benchmarks.functions.noise import standard_normal
from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed, label_of
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ConfigSpace import ConfigurationSpace

FULL_FIDELITY = 100
DEFAULT_FIDELITY_RANGE = (11, FULL_FIDELITY)
CITATION = (
    "Kandasamy, Dasarathy, Schneider, Póczos: Multi-fidelity Bayesian Optimisation with Continuous "
    "Approximations, ICML 2017, arXiv 1703.06240"
)
LICENCE = "none needed: a published formula"
BIBTEX = """\
@inproceedings{kandasamy2017boca,
  title     = {Multi-fidelity {B}ayesian Optimisation with Continuous Approximations},
  author    = {Kandasamy, Kirthevasan and Dasarathy, Gautam and Schneider, Jeff and P{\\'o}czos, Barnab{\\'a}s},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {70},
  pages     = {1799--1808},
  year      = {2017},
  note      = {arXiv:1703.06240}
}"""
RUNTIME = "s, by a formula of the same publication scaled to one hour at full fidelity"
OPTIMUM_NOTE = (
    "the global minimum without noise at z = 100, known from the formula; none when fidelity_range ends below 100"
)


class Formula(Protocol):
    """A function on the unit cube whose shape and runtime depend on the relative fidelity s in (0, 1]."""

    @property
    def name(self) -> str:
        """The name that `benchmarks.load` takes."""

    @property
    def dimension(self) -> int:
        """The number of parameters."""

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the observation noise."""

    @property
    def minimum(self) -> float:
        """The global minimum at s = 1."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The formula's own parameters, by name, that differ from the default."""

    def value(self, x: Sequence[float], s: float) -> float:
        """Return the function's value at `x`."""

    def runtime(self, s: float) -> float:
        """Return the seconds that one evaluation takes."""


class AnalyticBenchmark:
    """A formula on the unit cube, with parameters `x0`, `x1`, ... and the integer fidelity `z`, s = z / 100.

    Parameters
    ----------
    formula
        What is evaluated.
    noise
        Whether normal noise is added to the value. It is a pure function of (seed, configuration, fidelity);
        an evaluation without a seed has none, which is the mean over the seeds.
    fidelity_range
        The least and the greatest fidelity, within 1 to 100; without a fidelity the greatest is evaluated.
    """

    task = None
    metrics: Mapping[str, str] = MappingProxyType({})
    citation = CITATION
    licence = LICENCE

    def __init__(
        self, formula: Formula, *, noise: bool = False, fidelity_range: Sequence[int] = DEFAULT_FIDELITY_RANGE
    ) -> None:
        self.name = formula.name
        self.formula = formula
        self.noise = arguments.boolean(f"{formula.name}: noise", noise)
        self.fidelity = Fidelity("z", 1, FULL_FIDELITY, integer=True).between(fidelity_range, formula.name)
        self._names = tuple(f"x{i}" for i in range(formula.dimension))
        # What `canonical_json` writes of a configuration; up to x9 the names are in its order.
        self._canonical = "{" + ",".join(f'"{name}":%r' for name in self._names) + "}"

    @property
    def label(self) -> str:
        """The name, and every parameter that is not the default."""
        options = dict(self.formula.options)
        if self.noise:
            options["noise"] = True
        if (self.fidelity.lower, self.fidelity.upper) != DEFAULT_FIDELITY_RANGE:
            options["fidelity_range"] = [self.fidelity.lower, self.fidelity.upper]
        return label_of(self.name, None, options)

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The unit cube, built on first use and then shared: seed it, or copy it, before sampling from it."""
        from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter

        space = ConfigurationSpace(name=self.label, seed=0)
        space.add([UniformFloatHyperparameter(name, 0.0, 1.0) for name in self._names])
        return space

    @property
    def optimum(self) -> float | None:
        """The global minimum without noise, or None when the range ends below full fidelity."""
        return self.formula.minimum if self.fidelity.upper == FULL_FIDELITY else None

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate the formula at the configuration; see `Benchmark.__call__`."""
        z = int(self.fidelity.check(fidelity, self.name))
        x = self._point(config)
        s = z / FULL_FIDELITY
        value = self.formula.value(x, s)
        if seed is not None:
            seed = check_seed(seed)
            if self.noise:
                value += self.formula.noise_sd * standard_normal(seed, self._canonical % tuple(x), z)
        return Evaluation(value, self.formula.runtime(s))

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the search space out: it is built again where it is needed."""
        return {key: value for key, value in self.__dict__.items() if key != "space"}

    def _point(self, config: Config) -> list[float]:
        if not isinstance(config, Mapping) or len(config) != len(self._names):
            check_names(config, self._names, self.name)
        x = []
        for name in self._names:
            try:
                value = config[name]
            except KeyError:
                check_names(config, self._names, self.name)
                raise
            if type(value) is not float:
                number = as_float(value)
                if number is None:
                    raise self._refusal(name, value)
                value = number
            if not 0.0 <= value <= 1.0:
                raise self._refusal(name, config[name])
            x.append(value + 0.0)  # makes -0.0 the same point as 0.0
        return x

    def _refusal(self, name: str, value: object) -> SpecificationError:
        return SpecificationError(
            f"{self.name}: the parameter {name!r} has the value {value!r}; allowed is a number from 0 to 1"
        )
