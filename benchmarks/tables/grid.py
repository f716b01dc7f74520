"""A full grid of parameter values: which row of a table a configuration is, and the search space over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zerowait.benchmarks.protocol import as_float, check_names
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

Value: TypeAlias = int | float | str
SpaceKind = Literal["indices", "values"]

# The official files print float32 grid points with eight digits; neighbours on a grid are far further apart.
RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter of a grid."""

    name: str
    """The parameter's name."""
    values: tuple[Value, ...]
    """The raw values in grid order: increasing numbers, or the strings of a categorical parameter."""

    @property
    def is_categorical(self) -> bool:
        """Whether the values are strings, which have no order and no index."""
        return isinstance(self.values[0], str)

    @property
    def is_real(self) -> bool:
        """Whether the values are floats, which match within a tolerance."""
        return isinstance(self.values[0], float)


class Grid:
    """The product of some axes, numbered in row-major order (the last axis varies fastest).

    Parameters
    ----------
    axes
        The parameters in the order of the table.
    kind
        How a configuration names a value of a numeric axis: by its index from 0 ("indices") or by
        itself ("values"). Categorical axes are named by their strings in both.
    label
        What error messages call the benchmark.
    """

    def __init__(self, axes: tuple[Axis, ...], kind: SpaceKind, label: str) -> None:
        self.axes = axes
        self.kind = kind
        self.label = label
        self.names = tuple(axis.name for axis in axes)
        self.size = math.prod(len(axis.values) for axis in axes)
        steps = []
        stride = self.size
        for axis in axes:
            stride //= len(axis.values)
            steps.append((axis.name, {value: i * stride for i, value in enumerate(self._allowed(axis))}))
        self._steps = tuple(steps)

    def row(self, config: Mapping[str, Any]) -> int:
        """Return the number of the configuration's row.

        A float that is not exactly on a real-valued axis stands for the value within a relative 1e-6 of it.

        Raises
        ------
        SpecificationError
            A parameter is missing or unknown, or a value is not on the grid; the message names the parameter,
            the value and what is allowed.
        """
        if not isinstance(config, Mapping) or len(config) != len(self._steps):
            check_names(config, self.names, self.label)
        row = 0
        for name, steps in self._steps:
            try:
                value = config[name]
                step = steps[value]
            except (KeyError, TypeError):
                step = self._step_of_unlisted(config, name)
            else:
                # True equals 1 and hashes like it; compared by name so that NumPy's booleans count as well.
                if type(value).__name__ in _BOOLEANS:
                    raise self._refusal(name, value)
            row += step
        return row

    def config(self, row: int) -> dict[str, Value]:
        """Return the configuration of a row; the inverse of `row`."""
        config: dict[str, Value] = {}
        for axis in reversed(self.axes):
            row, index = divmod(row, len(axis.values))
            config[axis.name] = self._allowed(axis)[index]
        return {name: config[name] for name in self.names}

    def space(self) -> ConfigurationSpace:
        """Return a new search space over the grid: integers or ordinals, and categorical parameters."""
        from ConfigSpace import ConfigurationSpace

        space = ConfigurationSpace(name=self.label, seed=0)
        space.add([self._hyperparameter(axis) for axis in self.axes])
        return space

    def _hyperparameter(self, axis: Axis) -> Any:
        from ConfigSpace import CategoricalHyperparameter, OrdinalHyperparameter, UniformIntegerHyperparameter

        if axis.is_categorical:
            return CategoricalHyperparameter(axis.name, list(axis.values))
        if self.kind == "values":
            return OrdinalHyperparameter(axis.name, list(axis.values))
        return UniformIntegerHyperparameter(axis.name, 0, len(axis.values) - 1)

    def _allowed(self, axis: Axis) -> tuple[Value, ...]:
        by_index = self.kind == "indices" and not axis.is_categorical
        return tuple(range(len(axis.values))) if by_index else axis.values

    def _step_of_unlisted(self, config: Mapping[str, Any], name: str) -> int:
        check_names(config, self.names, self.label)
        value = config[name]
        axis = self.axes[self.names.index(name)]
        number = as_float(value) if self.kind == "values" and axis.is_real else None
        if number is not None:
            for known, step in dict(self._steps)[name].items():
                if math.isclose(known, number, rel_tol=RELATIVE_TOLERANCE):  # type: ignore[arg-type]
                    return step
        raise self._refusal(name, value)

    def _refusal(self, name: str, value: object) -> SpecificationError:
        axis = self.axes[self.names.index(name)]
        if self.kind == "indices" and not axis.is_categorical:
            last = len(axis.values) - 1
            allowed = f"an index from 0 to {last}, standing for {list(axis.values)!r} (space='values' takes those)"
        else:
            allowed = f"one of {list(axis.values)!r}"
        return SpecificationError(f"{self.label}: the parameter {name!r} has the value {value!r}; allowed is {allowed}")


_BOOLEANS = frozenset({"bool", "bool_"})
