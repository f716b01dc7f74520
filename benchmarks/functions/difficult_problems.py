"""The two losses of the difficult problems: a bowl, and a tree of conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from zerowait.benchmarks.protocol import as_float, check_names
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace


class Problem(Protocol):
    """A space and a loss over it that is 0 at its minimum."""

    def space(self) -> ConfigurationSpace:
        """Return a new search space."""

    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration with plain values, the same for equal ones; raises `SpecificationError`."""

    def loss(self, values: Mapping[str, Any]) -> float:
        """Return the loss of the full training."""

    def bias(self, values: Mapping[str, Any]) -> float:
        """Return what is added to the loss of an untrained configuration, from 0 to 0.25."""


class Bowl:
    """Two numbers; the loss is the squared distance to a point, exactly 0 there."""

    centre: ClassVar[dict[str, float]] = {"x0": 0.25, "x1": 0.75}
    greatest: ClassVar[float] = 2 * 0.75**2
    """The greatest loss, in a corner."""

    def __init__(self, label: str) -> None:
        self._label = label

    def space(self) -> ConfigurationSpace:
        """Return the unit square."""
        from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter

        space = ConfigurationSpace(name=self._label, seed=0)
        space.add([UniformFloatHyperparameter(name, 0.0, 1.0) for name in self.centre])
        return space

    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the two numbers as floats."""
        check_names(config, tuple(self.centre), self._label)
        return {name: _real(self._label, name, config[name], 0.0, 1.0) for name in self.centre}

    def loss(self, values: Mapping[str, Any]) -> float:
        """Return (x0 - 0.25)^2 + (x1 - 0.75)^2."""
        return float(sum((values[name] - centre) ** 2 for name, centre in self.centre.items()))

    def bias(self, values: Mapping[str, Any]) -> float:
        """Return x0 / 4: a large x0 looks worse than it is while it is trained little."""
        return 0.25 * float(values["x0"])


class Branches:
    """A line or a tree, the tree with two levels of conditions.

    | parameter | active if | values | loss |
    |---|---|---|---|
    | model | always | line, tree | |
    | rate | model is line | 1e-4 to 1, log | 0.1 + (log10(rate) + 2)^2 / 10 |
    | depth | model is tree | 1 to 8 | (depth - 5)^2 / 20 |
    | prune | model is tree | no, yes | + 0.2 for no |
    | strength | prune is yes | 0 to 1 | + (strength - 0.5)^2 |

    The minimum, 0, is the pruned tree of depth 5 and strength 0.5; the best line has a loss of 0.1.
    """

    def __init__(self, label: str) -> None:
        self._label = label

    def space(self) -> ConfigurationSpace:
        """Return the search space with its four conditions."""
        from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, Integer

        model = Categorical("model", ["line", "tree"])
        rate = Float("rate", (1e-4, 1.0), log=True)
        depth = Integer("depth", (1, 8))
        prune = Categorical("prune", ["no", "yes"])
        strength = Float("strength", (0.0, 1.0))
        space = ConfigurationSpace(name=self._label, seed=0)
        space.add([model, rate, depth, prune, strength])
        space.add(
            [
                EqualsCondition(rate, model, "line"),
                EqualsCondition(depth, model, "tree"),
                EqualsCondition(prune, model, "tree"),
                EqualsCondition(strength, prune, "yes"),
            ]
        )
        return space

    def checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the active parameters with plain values, and refuse inactive ones."""
        values: dict[str, Any] = {}
        names = ["model"]
        self._require(config, names)
        values["model"] = _choice(self._label, "model", config["model"], ("line", "tree"))
        names += ["rate"] if values["model"] == "line" else ["depth", "prune"]
        self._require(config, names)
        if values["model"] == "line":
            values["rate"] = _real(self._label, "rate", config["rate"], 1e-4, 1.0)
        else:
            values["depth"] = _integer(self._label, "depth", config["depth"], 1, 8)
            values["prune"] = _choice(self._label, "prune", config["prune"], ("no", "yes"))
            if values["prune"] == "yes":
                names.append("strength")
                self._require(config, names)
                values["strength"] = _real(self._label, "strength", config["strength"], 0.0, 1.0)
        check_names(config, tuple(names), self._label)
        return values

    def _require(self, config: Mapping[str, Any], names: list[str]) -> None:
        """Refuse a configuration that lacks one of these; which others it may have is not known yet."""
        for name in names:
            if not isinstance(config, Mapping) or name not in config:
                check_names(config, tuple(names), self._label)

    def loss(self, values: Mapping[str, Any]) -> float:
        """Return the sum of the column "loss" of the table above."""
        if values["model"] == "line":
            return 0.1 + (math.log10(values["rate"]) + 2.0) ** 2 / 10.0
        pruned = (values["strength"] - 0.5) ** 2 if values["prune"] == "yes" else 0.2
        return float((values["depth"] - 5) ** 2 / 20.0 + pruned)

    def bias(self, values: Mapping[str, Any]) -> float:
        """Return 0.25 for a tree: it looks worse than a line while it is trained little."""
        return 0.25 if values["model"] == "tree" else 0.0


def _real(label: str, name: str, value: object, lower: float, upper: float) -> float:
    number = as_float(value)
    if number is None or not lower <= number <= upper:
        raise _refusal(label, name, value, f"a number from {lower:g} to {upper:g}")
    return number + 0.0  # makes -0.0 the same point as 0.0


def _integer(label: str, name: str, value: object, lower: int, upper: int) -> int:
    number = as_float(value)
    if number is None or not number.is_integer() or not lower <= number <= upper:
        raise _refusal(label, name, value, f"an integer from {lower} to {upper}")
    return int(number)


def _choice(label: str, name: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _refusal(label, name, value, f"one of {list(choices)!r}")
    return str(value)


def _refusal(label: str, name: str, value: object, allowed: str) -> SpecificationError:
    return SpecificationError(f"{label}: the parameter {name!r} has the value {value!r}; allowed is {allowed}")
