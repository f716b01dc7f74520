"""Translates a ConfigSpace into a space of NePS, exactly, and configurations both ways.

| ConfigSpace | NePS |
|---|---|
| uniform float, linear or logarithmic | Float with the same bounds |
| uniform integer, linear | Integer with the same bounds |
| uniform integer, logarithmic | logarithmic Float from lower - 1/2 to upper + 1/2, rounded |
| categorical | Categorical of the indices of the choices |
| ordinal | Integer over the indices, so that NePS sees the order |
| constant, or a single choice | not passed; added to every configuration |
| normal or beta prior | its bounds and its default, for optimizers that ask for priors |

NePS 0.17.0 knows no condition and no forbidden clause; such a space is refused. Three of its habits make the
translation what it is:

* A logarithmic Integer of NePS takes only `round(ln(upper / lower)) + 1` values (`Domain.__post_init__` computes
  its cardinality from the logarithmic bounds): 1, 8, 181 and 512 are among the seven that stand for 1 to 512.
* NePS samples with 32-bit floats, so a value near a bound may lie beyond it by a rounding error: values are
  clipped to the bounds on their way to the objective.
* NePS passes parameters as attributes of a class, sorts them by name, and compares pickles of the space between
  workers. Its names are therefore ours, `x0000`, `x0001`, ... in the order of the ConfigSpace: any name is
  allowed there, and none can meet one of NePS's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import nearest_fidelity, plain
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import neps
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

LARGEST_EXACT_INTEGER = 2**53
"""NePS computes with 64-bit floats at best, which hold integers up to this one."""

CONFIDENCES = ("low", "medium", "high")
"""How sure a prior can be: a standard deviation of 0.75, 0.5 or 0.25 of the parameter's unit range."""

FIDELITY = "fidelity"
"""What NePS calls the training budget, whatever the benchmark does."""


def refuses_space(space: ConfigurationSpace, *, priors: bool) -> str | None:
    """Return what of the space NePS cannot express, or None; `priors` tells whether the optimizer takes any."""
    if space.conditions:
        return f"NePS has no conditions and the space has {'; '.join(map(str, space.conditions))}"
    if space.forbidden_clauses:
        return f"NePS has no forbidden clauses and the space has {'; '.join(map(str, space.forbidden_clauses))}"
    reasons = (_refuses_parameter(name, parameter, priors=priors) for name, parameter in space.items())
    reason = next(filter(None, reasons), None)
    if reason is None and all(map(_is_constant, space.values())):
        return "NePS needs a parameter with more than one value, and the space has none"
    return reason


def _refuses_parameter(name: str, parameter: Any, *, priors: bool) -> str | None:
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )
    from ConfigSpace.hyperparameters.hyperparameter import IntegerHyperparameter, NumericalHyperparameter

    match parameter:
        case CategoricalHyperparameter() if len(set(parameter.probabilities.tolist())) > 1:
            return f"NePS has no weights of choices and {name!r} has {parameter.probabilities.tolist()}"
        case IntegerHyperparameter() if max(-parameter.lower, parameter.upper) > LARGEST_EXACT_INTEGER:
            return f"NePS computes integers as floats, exact to 2**53, and {name!r} is {parameter}"
        case UniformFloatHyperparameter() | UniformIntegerHyperparameter() | CategoricalHyperparameter():
            return None
        case OrdinalHyperparameter() | Constant():
            return None
        case NumericalHyperparameter() if priors:
            return None
    kind = type(parameter).__name__
    return f"this optimizer of NePS samples every parameter uniformly, and {name!r} is a {kind}"


@dataclass(frozen=True, slots=True)
class NepsParameter:
    """One parameter in both worlds."""

    key: str
    """Its name in NePS."""
    hyperparameter: Hyperparameter[Any, Any]
    """What ConfigSpace knows of it."""
    kind: str
    """How NePS samples it: 'float', 'integer', 'rounded' (a float that stands for an integer), 'choice', 'index'."""
    values: Sequence[Any] = ()
    """The values that NePS's numbers are indices of, if they are."""

    def domain(self, prior: Any = None, confidence: str | None = None) -> Any:
        """Return what NePS samples from, with a prior around a value of ConfigSpace when one is given."""
        import neps

        around = {} if confidence is None else {"prior": self.encode(prior), "prior_confidence": confidence}
        parameter: Any = self.hyperparameter
        match self.kind:
            case "choice":
                return neps.Categorical(choices=tuple(range(len(self.values))), **around)
            case "index":
                return neps.Integer(0, len(self.values) - 1, **around)
            case "integer":
                return neps.Integer(parameter.lower, parameter.upper, **around)
            case "rounded":
                return neps.Float(parameter.lower - 0.5, parameter.upper + 0.5, log=True, **around)
        return neps.Float(parameter.lower, parameter.upper, log=parameter.log, **around)

    def decode(self, sampled: Any) -> Any:
        """Return the plain value of ConfigSpace for a value of NePS."""
        if self.values:
            return self.values[int(sampled)]
        parameter: Any = self.hyperparameter
        lower, upper = plain(parameter.lower), plain(parameter.upper)
        if self.kind == "float":
            return min(max(float(sampled), lower), upper)
        return min(max(round(sampled), lower), upper)

    def encode(self, value: Any) -> Any:
        """Return the value of NePS for a value of ConfigSpace."""
        if self.values:
            return _index(self.values, value)
        return int(value) if self.kind == "integer" else float(value)


class NepsSpace:
    """A search space in NePS's terms.

    Parameters
    ----------
    space
        One that `refuses_space` does not refuse.
    fidelity
        The benchmark's training budgets, or None when the optimizer chooses none.
    confidence
        'low', 'medium' or 'high' gives every parameter a prior of that confidence; None gives none.
    priors
        Values around which the priors lie, by parameter; the others lie around the defaults of the ConfigSpace.

    Raises
    ------
    SpecificationError
        `priors` has an unknown parameter or a value that the parameter cannot take.
    """

    def __init__(
        self,
        space: ConfigurationSpace,
        fidelity: Any = None,
        *,
        confidence: str | None = None,
        priors: Mapping[str, Any] | None = None,
    ) -> None:
        self._names = list(space)
        self._constants = {name: _only_value(parameter) for name, parameter in space.items() if _is_constant(parameter)}
        self.parameters: Mapping[str, NepsParameter] = {
            name: _translate(f"x{index:04d}", parameter)
            for index, (name, parameter) in enumerate(space.items())
            if name not in self._constants
        }
        """Every parameter that NePS samples, in the space's order."""
        self._fidelity = fidelity
        self._confidence = confidence
        given = {name: _checked(space, name, value) for name, value in (priors or {}).items()}
        self._priors = {
            name: given.get(name, plain(parameter.hyperparameter.default_value))
            for name, parameter in self.parameters.items()
        }

    def pipeline_space(self) -> neps.PipelineSpace:
        """Return the space as NePS takes it."""
        import neps

        attributes = {
            parameter.key: parameter.domain(self._priors[name], self._confidence)
            for name, parameter in self.parameters.items()
        }
        if self._fidelity is not None:
            lower, upper = self._fidelity.lower, self._fidelity.upper
            attributes[FIDELITY] = (
                neps.IntegerFidelity(int(lower), int(upper))
                if self._fidelity.integer
                else neps.FloatFidelity(float(lower), float(upper))
            )
        made: neps.PipelineSpace = type("Space", (neps.PipelineSpace,), attributes)()
        return made

    def config(self, sampled: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration that NePS means."""
        return {
            name: self._constants[name]
            if name in self._constants
            else self.parameters[name].decode(sampled[self.parameters[name].key])
            for name in self._names
        }

    def fidelity(self, sampled: Mapping[str, Any]) -> float | None:
        """Return the training budget that NePS means, or None when it chooses none."""
        if self._fidelity is None:
            return None
        number = nearest_fidelity(self._fidelity, sampled[FIDELITY])
        return int(number) if self._fidelity.integer else number

    def sampled(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration in NePS's terms, without a training budget."""
        return {parameter.key: parameter.encode(config[name]) for name, parameter in self.parameters.items()}


def _is_constant(parameter: Hyperparameter[Any, Any]) -> bool:
    """Tell whether there is nothing to choose; NePS refuses a Categorical or Integer with one value."""
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, Constant, OrdinalHyperparameter

    match parameter:
        case CategoricalHyperparameter():
            return len(parameter.choices) == 1
        case OrdinalHyperparameter():
            return len(parameter.sequence) == 1
    return isinstance(parameter, Constant)


def _only_value(parameter: Any) -> Any:
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, OrdinalHyperparameter

    match parameter:
        case CategoricalHyperparameter():
            return plain(parameter.choices[0])
        case OrdinalHyperparameter():
            return plain(parameter.sequence[0])
    return plain(parameter.value)


def _translate(key: str, parameter: Any) -> NepsParameter:
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, OrdinalHyperparameter
    from ConfigSpace.hyperparameters.hyperparameter import FloatHyperparameter

    match parameter:
        case CategoricalHyperparameter():
            return NepsParameter(key, parameter, "choice", [plain(choice) for choice in parameter.choices])
        case OrdinalHyperparameter():
            return NepsParameter(key, parameter, "index", [plain(value) for value in parameter.sequence])
        case FloatHyperparameter():
            return NepsParameter(key, parameter, "float")
    return NepsParameter(key, parameter, "rounded" if parameter.log else "integer")


def _index(values: Sequence[Any], value: Any) -> int:
    """Return the place of a value; 1, 1.0 and True are three values, though Python takes them to be equal."""
    for index, candidate in enumerate(values):
        if type(candidate) is type(value) and candidate == value:
            return index
    return values.index(value)


def _checked(space: ConfigurationSpace, name: str, value: Any) -> Any:
    if name not in space:
        raise SpecificationError(f"priors names {name!r}, which the space does not have; it has {', '.join(space)}")
    # A study file has no tuples; a choice that is one is given as a list.
    value = tuple(value) if isinstance(value, list) else value
    if not space[name].legal_value(value):
        raise SpecificationError(f"priors has {name}={value!r}, which is not a value of {space[name]}")
    return value
