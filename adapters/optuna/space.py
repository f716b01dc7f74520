"""Translates a ConfigSpace into Optuna's distributions, exactly, and values both ways.

| ConfigSpace | Optuna |
|---|---|
| uniform float, linear or logarithmic | FloatDistribution with the same bounds, both inclusive |
| uniform integer, linear or logarithmic | IntDistribution with the same bounds |
| categorical | CategoricalDistribution of the choices, or of their indices where Optuna cannot store one |
| ordinal | IntDistribution over the indices, so that samplers see the order |
| constant | not passed; added to every configuration |
| condition | the parameter is suggested when the condition holds, in the space's order: parents first |

Optuna knows no other prior and no forbidden clause; such a space is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

LARGEST_EXACT_INTEGER = 2**53
"""Optuna stores numbers as 64-bit floats, which hold integers up to this one."""


def refuses_space(space: ConfigurationSpace) -> str | None:
    """Return what of the space Optuna cannot express, or None."""
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    if space.forbidden_clauses:
        clauses = "; ".join(map(str, space.forbidden_clauses))
        return f"Optuna has no forbidden clauses and the space has {clauses}"
    for name, parameter in space.items():
        match parameter:
            case CategoricalHyperparameter() if len(set(parameter.probabilities.tolist())) > 1:
                return f"Optuna has no weights of choices and {name!r} has {parameter.probabilities.tolist()}"
            case UniformIntegerHyperparameter() if max(-parameter.lower, parameter.upper) > LARGEST_EXACT_INTEGER:
                return f"Optuna stores integers as floats, exact to 2**53, and {name!r} is {parameter}"
            case (
                UniformFloatHyperparameter()
                | UniformIntegerHyperparameter()
                | CategoricalHyperparameter()
                | OrdinalHyperparameter()
                | Constant()
            ):
                pass
            case _:
                return f"Optuna's priors are uniform and {name!r} is a {type(parameter).__name__}"
    return None


@dataclass(frozen=True, slots=True)
class OptunaParameter:
    """One parameter in both worlds."""

    name: str
    """Its name in both."""
    distribution: BaseDistribution
    """What Optuna samples from."""
    values: Sequence[Any] | None = None
    """The values that Optuna's numbers are indices of; None when Optuna has the values themselves."""

    def suggest(self, trial: Trial) -> Any:
        """Return the value that a trial of Optuna takes."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        match self.distribution:
            case FloatDistribution(low=low, high=high, log=log):
                return self.decode(trial.suggest_float(self.name, low, high, log=log))
            case IntDistribution(low=low, high=high, log=log):
                return self.decode(trial.suggest_int(self.name, low, high, log=log))
            case CategoricalDistribution(choices=choices):
                return self.decode(trial.suggest_categorical(self.name, choices))
        raise AssertionError(f"{self.name!r} has the distribution {self.distribution!r}")

    def decode(self, suggested: Any) -> Any:
        """Return the plain value of ConfigSpace for a value of Optuna."""
        return plain(suggested) if self.values is None else self.values[int(suggested)]

    def encode(self, value: Any) -> Any:
        """Return the value of Optuna for a value of ConfigSpace."""
        return value if self.values is None else self.values.index(value)


class OptunaSpace:
    """A search space in Optuna's terms.

    Parameters
    ----------
    space
        One that `refuses_space` does not refuse.
    """

    def __init__(self, space: ConfigurationSpace) -> None:
        from ConfigSpace.hyperparameters import Constant

        self._space = space
        self._constants = {
            name: plain(parameter.value) for name, parameter in space.items() if isinstance(parameter, Constant)
        }
        self.parameters: Mapping[str, OptunaParameter] = {
            name: _translate(parameter) for name, parameter in space.items() if name not in self._constants
        }
        """Every parameter that Optuna samples, in the space's order."""

    @property
    def unconditional(self) -> Mapping[str, OptunaParameter]:
        """The parameters that are part of every configuration."""
        active = set(self._space.unconditional_hyperparameters)
        return {name: parameter for name, parameter in self.parameters.items() if name in active}

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Return the configuration of a trial, suggesting its parameters one by one."""
        return self._config(lambda parameter: parameter.suggest(trial))

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of the parameters that a finished trial has."""
        return self._config(lambda parameter: parameter.decode(params[parameter.name]))

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that a trial with this configuration has."""
        return {name: self.parameters[name].encode(value) for name, value in config.items() if name in self.parameters}

    def _config(self, value_of: Callable[[OptunaParameter], Any]) -> dict[str, Any]:
        if not self._space.conditions:
            return {
                name: self._constants[name] if name in self._constants else value_of(self.parameters[name])
                for name in self._space
            }
        return self._conditional_config(value_of)

    def _conditional_config(self, value_of: Callable[[OptunaParameter], Any]) -> dict[str, Any]:
        """Decide parameter by parameter which are active.

        Conditions are evaluated on ConfigSpace's vectors, as its own check of a configuration does: on values
        a "not equal" of an inactive parent has another result.
        """
        import numpy as np

        vector = np.full(len(self._space), math.nan)
        config: dict[str, Any] = {}
        for index, (name, parameter) in enumerate(self._space.items()):
            conditions = self._space.parent_conditions_of[name]
            if all(condition.satisfied_by_vector(vector) for condition in conditions):
                config[name] = self._constants[name] if name in self._constants else value_of(self.parameters[name])
                vector[index] = parameter.to_vector(config[name])
        return config


def _translate(parameter: Hyperparameter[Any, Any]) -> OptunaParameter:
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    name = parameter.name
    match parameter:
        case UniformFloatHyperparameter():
            return OptunaParameter(name, FloatDistribution(parameter.lower, parameter.upper, log=parameter.log))
        case UniformIntegerHyperparameter():
            return OptunaParameter(name, IntDistribution(parameter.lower, parameter.upper, log=parameter.log))
        case OrdinalHyperparameter():
            values = [plain(value) for value in parameter.sequence]
            return OptunaParameter(name, IntDistribution(0, len(values) - 1), values)
        case CategoricalHyperparameter():
            choices = [plain(choice) for choice in parameter.choices]
            if all(map(_can_be_stored, choices)):
                return OptunaParameter(name, CategoricalDistribution(choices))
            return OptunaParameter(name, CategoricalDistribution(range(len(choices))), choices)
    raise AssertionError(f"{name!r} is a {type(parameter).__name__}, which refuses_space should have refused")


def _can_be_stored(choice: Any) -> bool:
    """Tell whether Optuna finds a choice again: it looks them up by equality, and NaN equals nothing."""
    return type(choice) in {type(None), bool, int, float, str} and choice == choice  # noqa: PLR0124
