"""Tables of configurations that were drawn at random and trained: answered by their number, or by the nearest one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed, label_of
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from ConfigSpace import ConfigurationSpace
    from numpy.typing import NDArray

Answer = Literal["nearest", "choice"]
CHOICE = "configuration"
"""The one parameter of the space of choices: which of the configurations."""
DISTANCE = "distance"


@dataclass(frozen=True, slots=True)
class Range:
    """What a parameter may be, as its authors sampled it."""

    lower: float
    upper: float
    integer: bool = False
    log: bool = False

    def position(self, value: Any) -> float | None:
        """Return where between 0 and 1 a value lies, or None when it is not allowed."""
        number = value if type(value) is float else as_float(value)
        if number is None or not self.lower <= number <= self.upper or (self.integer and not number.is_integer()):
            return None
        if self.log:
            return math.log(number / self.lower) / math.log(self.upper / self.lower)
        return (number - self.lower) / (self.upper - self.lower)


class Trained(ABC):
    """A table of trained configurations; each was trained once, so a seed changes nothing.

    Raises
    ------
    SpecificationError
        The answer or the range of fidelities is not allowed.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]
    ranges: ClassVar[Mapping[str, Range]]
    """The parameters: the ranges and scales from which the configurations were drawn."""
    configurations: ClassVar[int]
    """How many there are."""

    def __init__(
        self,
        task: str | None,
        answer: Answer,
        whole: Fidelity,
        fidelity_range: Sequence[float],
        metrics: Mapping[str, str],
    ) -> None:
        where = label_of(self.name, task, {})
        if answer not in get_args(Answer):
            raise SpecificationError(f"{where}: answer is {answer!r}; it must be 'nearest' or 'choice'")
        self.task = task
        self.answer = answer
        self.fidelity = whole.between(fidelity_range, where)
        given = [self.fidelity.lower, self.fidelity.upper]
        self._options: dict[str, Any] = {
            **({} if answer == "nearest" else {"answer": answer}),
            **({} if given == [whole.lower, whole.upper] else {"fidelity_range": given}),
        }
        self.label = label_of(self.name, task, self._options)
        distance = {DISTANCE: f"none, in the unit cube of {len(self.ranges)} parameters"}
        self.metrics: Mapping[str, str] = MappingProxyType({**metrics, **(distance if answer == "nearest" else {})})

    @property
    @abstractmethod
    def optimum(self) -> float:
        """The least loss of all trainings at the greatest fidelity."""

    @property
    @abstractmethod
    def content(self) -> str:
        """The names of the converted arrays, which are those of the digests of their files."""

    @property
    @abstractmethod
    def _configurations(self) -> NDArray[np.float64]:
        """The configurations, shape (configurations, parameters)."""

    @abstractmethod
    def _trained(self, number: int, fidelity: float) -> tuple[float, float, dict[str, float]]:
        """Return value, runtime and metrics of one of the configurations."""

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter, UniformIntegerHyperparameter

        space = ConfigurationSpace(name=self.label, seed=0)
        if self.answer == "choice":
            space.add(UniformIntegerHyperparameter(CHOICE, 0, self.configurations - 1))
            return space
        for name, found in self.ranges.items():
            kind = UniformIntegerHyperparameter if found.integer else UniformFloatHyperparameter
            space.add(kind(name, found.lower, found.upper, log=found.log))
        return space

    def trained(self, number: int) -> dict[str, float | int]:
        """Return the configuration of a number, the first being 0."""
        row = self._configurations[number].tolist()
        return {
            name: int(value) if found.integer else value
            for (name, found), value in zip(self.ranges.items(), row, strict=True)
        }

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Look one configuration up; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed.
        DataMissingError
            The files are not there; the message names the command that gets them.
        DamagedDataError
            A file is not what it should be.
        TrainingFailedError
            The training diverged. It carries its `runtime` in seconds.
        """
        asked = self.fidelity.check(fidelity, self.label)
        if seed is not None:
            check_seed(seed)
        if self.answer == "choice":
            value, runtime, metrics = self._trained(self._number(config), asked)
        else:
            number, distance = self._nearest(config)
            value, runtime, metrics = self._trained(number, asked)
            metrics[DISTANCE] = distance
        return Evaluation(value, runtime, metrics)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments alone: the arrays are mapped where they are needed."""
        return _make, (type(self), {**({} if self.task is None else {"task": self.task}), **self._options})

    @cached_property
    def _positions(self) -> NDArray[np.float64]:
        """Where each configuration lies in the unit cube, shape (parameters, configurations)."""
        import numpy as np

        positions = [
            [found.position(value) for value in column.tolist()]
            for found, column in zip(self.ranges.values(), self._configurations.T, strict=True)
        ]
        return np.array(positions, dtype=np.float64)

    def _number(self, config: Config) -> int:
        if not isinstance(config, Mapping) or len(config) != 1 or CHOICE not in config:
            check_names(config, (CHOICE,), self.label)
        number = as_float(config[CHOICE])
        if number is None or not number.is_integer() or not 0 <= number < self.configurations:
            raise self._refusal(CHOICE, config[CHOICE], f"an integer from 0 to {self.configurations - 1}")
        return int(number)

    def _nearest(self, config: Config) -> tuple[int, float]:
        """Return the nearest configuration, the first of equally near ones, and its distance."""
        ranges = self.ranges
        if not isinstance(config, Mapping) or config.keys() != ranges.keys():
            check_names(config, tuple(ranges), self.label)
        total: Any = 0.0
        for (name, found), column in zip(ranges.items(), self._positions, strict=True):
            position = found.position(config[name])
            if position is None:
                kind = "an integer" if found.integer else "a number"
                raise self._refusal(name, config[name], f"{kind} from {found.lower} to {found.upper}")
            difference = column - position
            total = total + difference * difference
        number = int(total.argmin())
        return number, math.sqrt(total[number])

    def _refusal(self, name: str, value: Any, allowed: str) -> SpecificationError:
        return SpecificationError(
            f"{self.label}: the parameter {name!r} has the value {shown(value)}; allowed is {allowed}"
        )


def _make(kind: type[Trained], arguments: dict[str, Any]) -> Trained:
    return kind(**arguments)
