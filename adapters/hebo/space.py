"""Translates a ConfigSpace into HEBO's design space, and values both ways.

| ConfigSpace | HEBO |
|---|---|
| uniform float | `num`; `pow`, a power of ten, when logarithmic |
| uniform integer | `int`; `pow_int` when logarithmic |
| categorical | `cat` over the indices of the choices, which may then be of any type |
| ordinal | `int` over the indices, so that the model sees the order |
| constant, or a single choice | not passed; added to every configuration |

HEBO computes in single precision, which may put a value beside its bound: it is moved onto it. Weights, other priors,
conditions, forbidden clauses and integers that single precision does not hold are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

LARGEST_EXACT_INTEGER = 2**24
"""Single precision holds integers up to this one."""


def refuses_space(space: ConfigurationSpace) -> str | None:
    """Return what of the space HEBO cannot express, or None."""
    if space.forbidden_clauses:
        clauses = "; ".join(map(str, space.forbidden_clauses))
        return f"HEBO has no forbidden clauses and the space has {clauses}"
    if space.conditions:
        return f"HEBO has no conditions and the space has {'; '.join(map(str, space.conditions))}"
    reasons = (_refuses_parameter(name, parameter) for name, parameter in space.items())
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is None and not HeboSpace(space).parameters:
        return "HEBO needs a parameter to choose, and the space has only one configuration"
    return reason


def _refuses_parameter(name: str, parameter: Hyperparameter[Any, Any]) -> str | None:
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    match parameter:
        case CategoricalHyperparameter() if len(set(parameter.probabilities.tolist())) > 1:
            return f"HEBO has no weights of choices and {name!r} has {parameter.probabilities.tolist()}"
        case UniformIntegerHyperparameter() if max(-parameter.lower, parameter.upper) > LARGEST_EXACT_INTEGER:
            return f"HEBO's numbers have single precision, exact to 2**24, and {name!r} is {parameter}"
        case UniformFloatHyperparameter() if not _is_single(parameter.lower, parameter.upper):
            return f"HEBO's numbers have single precision, which does not hold the bounds of {name!r}: {parameter}"
        case (
            UniformFloatHyperparameter()
            | UniformIntegerHyperparameter()
            | CategoricalHyperparameter()
            | OrdinalHyperparameter()
            | Constant()
        ):
            return None
        case _:
            return f"HEBO's priors are uniform and {name!r} is a {type(parameter).__name__}"


def _is_single(lower: float, upper: float) -> bool:
    """Tell whether a range is one in single precision, and finite."""
    import numpy as np

    with np.errstate(over="ignore"):
        low, high = np.float32(lower), np.float32(upper)
        return bool(low < high and np.isfinite(high - low))


@dataclass(frozen=True, slots=True)
class HeboParameter:
    """One parameter in both worlds."""

    name: str
    """Its name in both."""
    description: Mapping[str, Any]
    """What `DesignSpace.parse` is given."""
    lower: float = -math.inf
    """Least value."""
    upper: float = math.inf
    """Greatest value."""
    values: Sequence[Any] | None = None
    """The values that HEBO's numbers are indices of; None when HEBO has the values themselves."""

    def decode(self, suggested: Any) -> Any:
        """Return the plain value of ConfigSpace for a value of HEBO."""
        if self.values is not None:
            return self.values[int(suggested)]
        return min(max(plain(suggested), self.lower), self.upper)

    def encode(self, value: Any) -> Any:
        """Return the value of HEBO for a value of ConfigSpace."""
        return value if self.values is None else _position(self.values, value)


def _position(values: Sequence[Any], value: Any) -> int:
    """Return the index of this very value: 1, 1.0 and True are three."""
    for index, known in enumerate(values):
        if known is value or (type(known) is type(value) and known == value):
            return index
    raise ValueError(f"{value!r} is none of {list(values)!r}")


class HeboSpace:
    """A search space in HEBO's terms.

    Parameters
    ----------
    space
        One that `refuses_space` does not refuse.
    """

    def __init__(self, space: ConfigurationSpace) -> None:
        self._names = list(space)
        translated = {name: _translate(parameter) for name, parameter in space.items()}
        self.parameters: Mapping[str, HeboParameter] = {
            name: parameter for name, parameter in translated.items() if isinstance(parameter, HeboParameter)
        }
        """Every parameter that HEBO chooses, in the space's order."""
        self._constants = {
            name: value.value for name, value in translated.items() if not isinstance(value, HeboParameter)
        }

    def description(self) -> list[dict[str, Any]]:
        """Return what `DesignSpace.parse` is given."""
        return [dict(parameter.description) for parameter in self.parameters.values()]

    def config(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a suggestion's row."""
        return {
            name: self._constants[name] if name in self._constants else self.parameters[name].decode(row[name])
            for name in self._names
        }

    def row(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row that HEBO observes for a configuration."""
        return {name: parameter.encode(config[name]) for name, parameter in self.parameters.items()}


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


def _translate(parameter: Hyperparameter[Any, Any]) -> HeboParameter | _Constant:
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    name = parameter.name
    match parameter:
        case UniformFloatHyperparameter() | UniformIntegerHyperparameter():
            whole = isinstance(parameter, UniformIntegerHyperparameter)
            kind = ("pow_int" if whole else "pow") if parameter.log else ("int" if whole else "num")
            lower, upper = plain(parameter.lower), plain(parameter.upper)
            return HeboParameter(name, {"name": name, "type": kind, "lb": lower, "ub": upper}, lower, upper)
        case CategoricalHyperparameter():
            values = [plain(choice) for choice in parameter.choices]
            description: dict[str, Any] = {"type": "cat", "categories": list(range(len(values)))}
        case OrdinalHyperparameter():
            values = [plain(value) for value in parameter.sequence]
            description = {"type": "int", "lb": 0, "ub": len(values) - 1}
        case Constant():
            return _Constant(plain(parameter.value))
        case _:
            raise AssertionError(f"{name!r} is a {type(parameter).__name__}, which `refuses_space` refuses")
    return (
        _Constant(values[0]) if len(values) == 1 else HeboParameter(name, {"name": name, **description}, values=values)
    )
