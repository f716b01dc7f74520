"""Translates a ConfigSpace into one that HpBandSter can hand around, exactly, and configurations both ways.

| ConfigSpace | HpBandSter |
|---|---|
| float, integer: uniform, normal or beta | unchanged |
| categorical | categorical over the indices of its choices, with the same weights |
| ordinal | its indices: an integer for BOHB, which takes no ordinals and says to do this, else an ordinal |
| constant | the constant 0 |
| condition, forbidden clause | the same, on the translated values |

Every value is then a number, which any serializer of Pyro transports, whatever the choices are. Names, order, priors
and what is drawn from the space's random generator stay what they are, so HpBandSter samples the same configurations.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter


def refuses_space(space: ConfigurationSpace) -> str | None:
    """Return what of the space cannot be translated, or None."""
    from ConfigSpace.forbidden import ForbiddenRelation
    from ConfigSpace.hyperparameters import OrdinalHyperparameter

    if not len(space):
        return "HpBandSter needs a parameter to sample and the space has none"
    for clause in space.forbidden_clauses:
        for literal in getattr(clause, "dlcs", [clause]):
            if isinstance(literal, ForbiddenRelation):
                for parameter in (literal.left, literal.right):
                    if _values_of(parameter) is not None:
                        return (
                            f"a relation compares values, HpBandSter sees the indices of {parameter.name!r}, and the "
                            f"space has the relation {literal}"
                        )
    for statement in (*space.conditions, *space.forbidden_clauses):
        for literal in getattr(statement, "dlcs", [statement]):
            one = getattr(literal, "parent", None) or getattr(literal, "hyperparameter", None)
            ordered = any(word in type(literal).__name__ for word in ("Less", "Greater"))
            if ordered and isinstance(one, OrdinalHyperparameter) and len(one.sequence) == 1:
                return f"{one.name!r} has one value, which makes it a constant, and the space has {literal}"
    return None


class HpBandSterSpace:
    """A search space in HpBandSter's terms.

    Parameters
    ----------
    space
        One that `refuses_space` does not refuse; not changed.
    integers_for_ordinals
        Whether ordinals become integers (for BOHB) or stay ordinals.
    """

    def __init__(self, space: ConfigurationSpace, *, integers_for_ordinals: bool) -> None:
        from ConfigSpace import ConfigurationSpace

        self._values: Mapping[str, Sequence[Any] | None] = {
            name: _values_of(parameter) for name, parameter in space.items()
        }
        parameters = [_translate(parameter, integers_for_ordinals) for parameter in space.values()]
        self._translated = {parameter.name: parameter for parameter in parameters}
        self.space = ConfigurationSpace(space=parameters)
        """What HpBandSter samples from."""
        conditions = [self._condition(condition) for condition in space.conditions]
        clauses = [self._clause(clause) for clause in space.forbidden_clauses]
        # Nothing that is added changes what an earlier one means, and the space checks its default once, at the end.
        self.space.add([*conditions, *clauses])

    def decode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of the original space, in its order, with plain values."""
        return {
            name: config[name] if values is None else values[config[name]]
            for name, values in self._values.items()
            if name in config
        }

    def encode(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of the translated space."""
        return {name: self._encoded(name, value) for name, value in config.items()}

    def _encoded(self, name: str, value: Any) -> Any:
        values = self._values[name]
        return plain(value) if values is None else values.index(plain(value))

    def _condition(self, condition: Any) -> Any:
        from ConfigSpace.conditions import Conjunction, InCondition

        if isinstance(condition, Conjunction):
            return type(condition)(*map(self._condition, condition.components))
        child, parent = self._translated[condition.child.name], self._translated[condition.parent.name]
        if isinstance(condition, InCondition):
            return InCondition(child, parent, [self._encoded(parent.name, value) for value in condition.values])
        return type(condition)(child, parent, self._encoded(parent.name, condition.value))

    def _clause(self, clause: Any) -> Any:
        from ConfigSpace import ForbiddenInClause
        from ConfigSpace.forbidden import ForbiddenConjunction, ForbiddenRelation

        if isinstance(clause, ForbiddenConjunction):
            return type(clause)(*map(self._clause, clause.components))
        if isinstance(clause, ForbiddenRelation):
            return type(clause)(self._translated[clause.left.name], self._translated[clause.right.name])
        parameter = self._translated[clause.hyperparameter.name]
        if isinstance(clause, ForbiddenInClause):
            return ForbiddenInClause(parameter, [self._encoded(parameter.name, value) for value in clause.values])
        return type(clause)(parameter, self._encoded(parameter.name, clause.value))


def _values_of(parameter: Hyperparameter[Any, Any]) -> Sequence[Any] | None:
    """Return the values whose indices HpBandSter sees, or None when it sees the values themselves."""
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, Constant, OrdinalHyperparameter

    match parameter:
        case CategoricalHyperparameter():
            return [plain(choice) for choice in parameter.choices]
        case OrdinalHyperparameter():
            return [plain(value) for value in parameter.sequence]
        case Constant():
            return [plain(parameter.value)]
        case _:
            return None


def _translate(parameter: Hyperparameter[Any, Any], integers_for_ordinals: bool) -> Hyperparameter[Any, Any]:  # noqa: FBT001 - private
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformIntegerHyperparameter,
    )

    name, values = parameter.name, _values_of(parameter)
    if values is None:
        return copy.deepcopy(parameter)
    default = values.index(plain(parameter.default_value))
    match parameter:
        case CategoricalHyperparameter():
            return CategoricalHyperparameter(
                name, list(range(len(values))), default_value=default, weights=parameter.weights
            )
        case OrdinalHyperparameter() if not integers_for_ordinals:
            return OrdinalHyperparameter(name, list(range(len(values))), default_value=default)
        case OrdinalHyperparameter() if len(values) > 1:
            return UniformIntegerHyperparameter(name, 0, len(values) - 1, default_value=default)
        case _:
            return Constant(name, 0)
