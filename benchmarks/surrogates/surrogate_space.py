"""Search spaces as YAHPO Gym writes them: `config_space.json` and `encoding.json` of a scenario.

They are read here and not by ConfigSpace, because a benchmark checks every value before its model sees it, which must
cost no more than a few microseconds, and because the format is older than what ConfigSpace reads without warnings.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.protocol import as_float
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.sharing.regular_files import LARGEST_JSON, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ConfigSpace import ConfigurationSpace

Value: TypeAlias = float | int | str

_KINDS: Mapping[str, Literal["float", "integer", "category"]] = {
    "uniform_float": "float",
    "uniform_int": "integer",
    "categorical": "category",
}
# ConfigSpace keeps no more decimals, and a bound such as 0.00010000000000000009 is what is left of 1e-4 after its
# logarithm was stored. The models read float32, which cannot tell the difference.
_DECIMALS, _DIGITS = 13, 12


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter exists only where another has one of some values."""

    parent: str
    """The other parameter."""
    values: tuple[str, ...]
    """Its values."""

    def __str__(self) -> str:
        return f"{self.parent!r} is {' or '.join(map(repr, self.values))}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a search space."""

    name: str
    """Its name."""
    kind: Literal["float", "integer", "category"]
    """What its values are."""
    default: Value | None
    """Its default value; None leaves it to ConfigSpace."""
    lower: float = math.nan
    """The least number."""
    upper: float = math.nan
    """The greatest number."""
    log: bool = False
    """Whether it is sampled on a logarithmic scale."""
    choices: tuple[str, ...] = ()
    """The values of a category."""
    conditions: tuple[Condition, ...] = ()
    """All of these must hold for it to exist."""

    @property
    def allowed(self) -> str:
        """The values, in words."""
        if self.kind == "category":
            return f"one of {list(self.choices)!r}"
        return f"{'an integer' if self.kind == 'integer' else 'a number'} from {self.lower} to {self.upper}"

    def is_active(self, config: Mapping[str, Any]) -> bool:
        """Tell whether it exists in a configuration."""
        return all(config.get(condition.parent) in condition.values for condition in self.conditions)

    def check(self, value: Any, label: str) -> Value:
        """Return the value as a plain Python one, or raise `SpecificationError` naming it and what is allowed."""
        if self.kind == "category":
            if isinstance(value, str) and value in self.choices:
                return str(value)
        else:
            number = value if type(value) is float else as_float(value)
            if number is not None and self.lower <= number <= self.upper:
                if self.kind == "float":
                    return number
                if number.is_integer():
                    return int(number)
        raise SpecificationError(
            f"{label}: the parameter {self.name!r} has the value {shown(value)}; allowed is {self.allowed}"
        )


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters of a search space, each after those that its conditions name."""

    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[self.names.index(name)]

    def without(self, *names: str) -> Space:
        """Return the space without some parameters."""
        return Space(tuple(parameter for parameter in self.parameters if parameter.name not in names))

    def on_log_scale(self, name: str) -> Space:
        """Return the space with one parameter on a logarithmic scale."""
        log = replace(self[name], log=True, default=None)
        return Space(tuple(log if parameter.name == name else parameter for parameter in self.parameters))

    def check(self, config: Mapping[str, Any], label: str) -> dict[str, Value]:
        """Return the values of a configuration as plain Python ones.

        Raises
        ------
        SpecificationError
            A parameter is unknown, missing, out of range, or given where it does not exist; the message begins with
            `label` and names the parameter, the value and what is allowed.
        """
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            name = parameter.name
            if name in config:
                values[name] = parameter.check(config[name], label)
                if parameter.conditions and not parameter.is_active(config):
                    raise self._inactive(parameter, config, label)
            elif not parameter.conditions or parameter.is_active(config):
                raise SpecificationError(
                    f"{label}: the parameter {name!r} is missing from {shown(dict(config))}; "
                    f"it must be {parameter.allowed}{_where(parameter)}"
                )
        if len(values) != len(config):  # as for a Configuration of ConfigSpace, whose length counts inactive parameters
            for name in config:
                if name not in values:
                    raise SpecificationError(
                        f"{label}: the parameter {name!r} (value {shown(config[name])}) is unknown; "
                        f"the parameters are: {', '.join(self.names)}"
                    )
        return values

    def as_configspace(self, name: str) -> ConfigurationSpace:
        """Return a new space of the library ConfigSpace, with conditions."""
        from ConfigSpace import AndConjunction, ConfigurationSpace

        space = ConfigurationSpace(name=name, seed=0)
        space.add([_hyperparameter(parameter) for parameter in self.parameters])
        for parameter in self.parameters:
            clauses = [_clause(space, parameter.name, condition) for condition in parameter.conditions]
            if clauses:
                space.add(clauses[0] if len(clauses) == 1 else AndConjunction(*clauses))
        return space

    @staticmethod
    def _inactive(parameter: Parameter, config: Mapping[str, Any], label: str) -> SpecificationError:
        return SpecificationError(
            f"{label}: the parameter {parameter.name!r} has the value {shown(config[parameter.name])}, but exists "
            f"only{_where(parameter)}; leave it out"
        )


@functools.cache
def read_space(file: Path) -> Space:
    """Read `config_space.json`, once per process.

    Raises
    ------
    DataMissingError
        The file cannot be read.
    DamagedDataError
        It holds something else; the message names the file and what was found.
    """
    data = _read(file)
    try:
        if data["forbiddens"]:
            raise DamagedDataError(f"{file} has forbidden combinations, which no scenario of YAHPO Gym v1.0 has")
        conditions = dict(map(_child_and_conditions, data["conditions"]))
        parameters = [_parameter(entry, conditions.pop(entry["name"], ())) for entry in data["hyperparameters"]]
        if conditions:
            raise DamagedDataError(f"{file} has conditions of the unknown parameters {sorted(conditions)}")
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DamagedDataError):
            raise
        raise DamagedDataError(f"{file} is no search space of YAHPO Gym: {type(error).__name__}: {error}") from error
    return Space(_parents_first(parameters, file))


@functools.cache
def read_encoding(file: Path) -> Mapping[str, Mapping[str, int]]:
    """Read `encoding.json`, once per process: the code of each value of each category; raises as `read_space`."""
    data = _read(file)
    if not all(
        isinstance(codes, dict) and all(type(code) is int and code >= 0 for code in codes.values())
        for codes in data.values()
    ):
        raise DamagedDataError(f"{file} is no encoding of YAHPO Gym: a code is not an integer of at least 0")
    return data


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_regular_file(file, at_most=LARGEST_JSON, follow_links=True))
    except OSError as error:
        raise DataMissingError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedDataError(f"{file} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise DamagedDataError(f"{file} is damaged: it holds a {type(data).__name__}")
    return data


def _parameter(entry: Mapping[str, Any], conditions: tuple[Condition, ...]) -> Parameter:
    kind = _KINDS[entry["type"]]
    if kind == "category":
        return Parameter(entry["name"], kind, entry["default"], choices=tuple(entry["choices"]), conditions=conditions)
    bounds = entry["lower"], entry["upper"]
    lower, upper = bounds if kind == "integer" else map(_tidy, bounds)
    return Parameter(entry["name"], kind, entry["default"], lower, upper, entry["log"], conditions=conditions)


def _tidy(bound: float) -> float:
    return round(float(f"{bound:.{_DIGITS}g}"), _DECIMALS)


def _child_and_conditions(entry: Mapping[str, Any]) -> tuple[str, tuple[Condition, ...]]:
    if entry["type"] == "AND":
        return entry["child"], tuple(_child_and_conditions(part)[1][0] for part in entry["conditions"])
    if entry["type"] == "EQ":
        return entry["child"], (Condition(entry["parent"], (entry["value"],)),)
    if entry["type"] == "IN":
        return entry["child"], (Condition(entry["parent"], tuple(entry["values"])),)
    raise ValueError(f"the type {entry['type']!r} of a condition is unknown")


def _parents_first(parameters: list[Parameter], file: Path) -> tuple[Parameter, ...]:
    placed: dict[str, Parameter] = {}
    while len(placed) < len(parameters):
        ready = [
            parameter
            for parameter in parameters
            if parameter.name not in placed and all(c.parent in placed for c in parameter.conditions)
        ]
        if not ready:
            raise DamagedDataError(f"{file} has conditions that name each other or an unknown parameter")
        placed.update((parameter.name, parameter) for parameter in ready)
    return tuple(placed.values())


def _where(parameter: Parameter) -> str:
    return f" where {' and '.join(map(str, parameter.conditions))}" if parameter.conditions else ""


def _hyperparameter(parameter: Parameter) -> Any:
    from ConfigSpace import CategoricalHyperparameter, UniformFloatHyperparameter, UniformIntegerHyperparameter

    default: Any = parameter.default
    if parameter.kind == "category":
        return CategoricalHyperparameter(parameter.name, list(parameter.choices), default_value=default)
    if parameter.kind == "integer":
        lower, upper = int(parameter.lower), int(parameter.upper)
        return UniformIntegerHyperparameter(parameter.name, lower, upper, default_value=default, log=parameter.log)
    return UniformFloatHyperparameter(
        parameter.name, parameter.lower, parameter.upper, default_value=default, log=parameter.log
    )


def _clause(space: ConfigurationSpace, child: str, condition: Condition) -> Any:
    from ConfigSpace import EqualsCondition, InCondition

    if len(condition.values) == 1:
        return EqualsCondition(space[child], space[condition.parent], condition.values[0])
    return InCondition(space[child], space[condition.parent], list(condition.values))
