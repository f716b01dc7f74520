"""Parameters of a benchmark as further fidelities: resolution of images, number of trees, share of data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.protocol import Benchmark, Fidelity, as_float, label_of
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.fidelities import AnyFidelity, Fidelities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ConfigSpace import ConfigurationSpace

    from zerowait.suite.rules.evaluation import Config, Evaluation


def with_fidelities(
    benchmark: Benchmark, fidelities: Mapping[str, float] | None = None, *, along: str | None = None
) -> Benchmark:
    """Return a benchmark some of whose parameters are fidelities beside its own.

    Its full training is the highest of all of them. Its optimum is not known.

    Parameters
    ----------
    benchmark
        The benchmark; the parameters leave its space.
    fidelities
        The parameters, each with the value that it has where a query names none (of an optimizer that knows one
        fidelity); None is the highest. The benchmark's own may be there, too, if trainings continue along another one.
    along
        The fidelity that trainings continue along; None is the benchmark's own.

    Raises
    ------
    SpecificationError
        A name is no parameter with numbers, a value is not one of them, or other parameters depend on it.
    """
    label, own = benchmark.label, benchmark.fidelity
    if not isinstance(fidelities, Mapping | None) or (not fidelities and along is None):
        raise SpecificationError(
            f"{label}: fidelities is {shown(fidelities)}; it must be a mapping of parameters to numbers"
        )
    given = dict(fidelities or {})
    first = along if along is not None else None if own is None else own.name
    if first is None:
        raise SpecificationError(f"{label}: it has no fidelity; name a parameter that trainings continue along: along=")
    if first in given:
        raise SpecificationError(
            f"{label}: trainings continue along {first!r}, and each query has its own; leave it out of fidelities"
        )
    known = {} if own is None else {own.name: own}
    others = {name: known.get(name) or _range_of(benchmark, name) for name in {**known, **given} if name != first}
    ranges = {first: known.get(first) or _range_of(benchmark, first), **{name: others[name] for name in sorted(others)}}
    values = {name: one.check(given.get(name), label) for name, one in ranges.items()}
    return _WithFidelities(benchmark, Declared({**values, first: None}, ranges))


def _range_of(benchmark: Benchmark, name: object) -> Fidelity:
    from ConfigSpace import OrdinalHyperparameter, UniformFloatHyperparameter, UniformIntegerHyperparameter

    parameters = dict(benchmark.space)
    parameter = parameters.get(str(name))
    numeric = UniformIntegerHyperparameter | UniformFloatHyperparameter | OrdinalHyperparameter
    if isinstance(parameter, UniformIntegerHyperparameter | UniformFloatHyperparameter):
        whole = isinstance(parameter, UniformIntegerHyperparameter)
        return Fidelity(str(name), parameter.lower, parameter.upper, integer=whole)
    if isinstance(parameter, OrdinalHyperparameter):
        values: Sequence[Any] = sorted(parameter.sequence) if all(map(_is_number, parameter.sequence)) else ()
        if values:
            whole = all(float(value).is_integer() for value in values)
            return Fidelity(str(name), values[0], values[-1], integer=whole, values=tuple(values))
    raise SpecificationError(
        f"{benchmark.label}: {shown(name)} cannot be a fidelity; it must be a parameter with numbers, one of "
        f"{', '.join(str(n) for n, p in parameters.items() if isinstance(p, numeric))}"
    )


def _is_number(value: object) -> bool:
    return as_float(value) is not None


@dataclass(frozen=True, slots=True)
class Declared(Fidelities):
    """The fidelities of a benchmark, with what is allowed."""

    ranges: Mapping[str, Fidelity]
    """By name, in the same order as the values."""

    def check(self, fidelity: AnyFidelity, label: str) -> dict[str, float]:
        """Return all fidelities by name, those of the full training for None.

        Raises
        ------
        SpecificationError
            A name is missing or unknown, or a value is not allowed; the message begins with `label`.
        """
        if fidelity is None:
            passed: Mapping[str, Any] = dict.fromkeys(self.values)
        elif isinstance(fidelity, Mapping) and fidelity.keys() == self.values.keys():
            passed = fidelity
        else:
            passed = self.asked(fidelity).passed
        return {name: one.check(passed[name], label) for name, one in self.ranges.items()}


class _WithFidelities:
    """See `with_fidelities`."""

    optimum = None

    def __init__(self, benchmark: Benchmark, fidelities: Declared) -> None:
        self.benchmark = benchmark
        self.fidelities = fidelities
        """What a run takes for its own."""
        self.name, self.task = benchmark.name, benchmark.task
        self.citation, self.licence = benchmark.citation, benchmark.licence
        self._own = None if benchmark.fidelity is None else benchmark.fidelity.name
        chosen = {name: value for name, value in fidelities.values.items() if value is not None}
        along = {} if fidelities.first == self._own else {"along": fidelities.first}
        label, options = benchmark.label, label_of("", None, {"fidelities": chosen, **along})
        self.label = f"{label[:-1]}, {options[1:]}" if label.endswith(")") else label + options
        self.space = self._space()

    @property
    def fidelity(self) -> Fidelity:
        """The fidelity that trainings continue along."""
        return self.fidelities.ranges[self.fidelities.first]

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name."""
        return self.benchmark.metrics

    @property
    def content(self) -> Any:
        """The digest of the data, where the benchmark has one."""
        return getattr(self.benchmark, "content", None)

    def __call__(self, config: Config, *, fidelity: AnyFidelity = None, seed: int | None = None) -> Evaluation:
        """Evaluate a configuration; see `Benchmark.__call__`. A number is that of continued trainings."""
        asked = self.fidelities.check(fidelity, self.label)
        own = None if self._own is None else asked.pop(self._own)
        if twice := asked.keys() & config.keys():
            raise SpecificationError(f"{self.label}: {min(twice)!r} is a fidelity and no parameter; leave it out")
        return self.benchmark({**config, **asked}, fidelity=own, seed=seed)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def _space(self) -> ConfigurationSpace:
        from ConfigSpace import ConfigurationSpace
        from ConfigSpace.exceptions import HyperparameterNotFoundError

        base = self.benchmark.space
        # In one copy: conditions hold the parameters, and a space tells its conditions where these stand.
        all_of_them, conditions, forbidden = copy.deepcopy(
            (list(base.values()), base.conditions, base.forbidden_clauses)
        )
        parameters = [parameter for parameter in all_of_them if parameter.name not in self.fidelities.values]
        if not parameters:
            raise SpecificationError(
                f"{self.benchmark.label}: {', '.join(self.fidelities.values)} are all of its parameters, "
                "and nothing is left to optimize; leave one out of fidelities"
            )
        space = ConfigurationSpace(name=self.label, seed=0)
        try:
            space.add(parameters, conditions, forbidden)
        except HyperparameterNotFoundError as error:
            moved = ", ".join(sorted(self.fidelities.values.keys() & base.keys()))
            raise SpecificationError(
                f"{self.benchmark.label}: {moved} cannot be a fidelity, because it has to do with other parameters: "
                f"{str(error).splitlines()[0]}"
            ) from None
        return space
