"""Several fidelities at once: the one that trainings continue along, and the others, by which trainings differ.

A training at epoch 9 and resolution 0.5 goes on at epoch 27 and resolution 0.5. One at resolution 1 is another
training: of the same configuration, but with a seed and states of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.identity import canonical_json_of_checked, digest

AnyFidelity: TypeAlias = float | Mapping[str, float | None] | None
"""Of a query: one number, or one for each of several names; None is the full training."""
Others: TypeAlias = Mapping[str, float | None]
"""The fidelities by which trainings differ, by name; None is the highest there is."""


def check_fidelity(fidelity: Any) -> float | None:
    """Return the one fidelity of an evaluation as a plain float, or None.

    Raises
    ------
    SpecificationError
        It is no finite number; of several, the run has to know the names.
    """
    if fidelity is None or (type(fidelity) is float and math.isfinite(fidelity)):
        return fidelity
    if isinstance(fidelity, Mapping):
        raise SpecificationError(
            f"fidelity is {shown(dict(fidelity))}, and the run has one fidelity; a run with several is told their "
            f"names: fidelities={shown(list(fidelity) or ['epoch', 'resolution'])}, the one that trainings continue "
            "along first"
        )
    return _number("fidelity", fidelity)


def check_any_fidelity(fidelity: AnyFidelity) -> None:
    """Refuse what is a fidelity of no run: neither a finite number nor a mapping of names to such, or None."""
    if type(fidelity) is float and math.isfinite(fidelity):
        return
    if not isinstance(fidelity, Mapping):
        check_fidelity(fidelity)
        return
    for name, value in fidelity.items():
        if value is not None:
            _number(f"fidelity[{shown(name)}]", value)


def _number(name: str, value: object) -> float:
    return arguments.real(name, value, -math.inf, allowed="a finite number, or None")


def training_identity(config: bytes, others: Others | None) -> bytes:
    """Return the 16-byte digest of what identifies a training: its configuration (a digest) and the other fidelities.

    Where there are no others, that of the configuration.
    """
    return config if not others else digest(f"{config.hex()} {canonical_json_of_checked(_plain(others))}")


def _plain(others: Others) -> dict[str, float | None]:
    # 1 and 1.0, 0.0 and -0.0 are the same fidelity.
    return {name: None if value is None else float(value) + 0.0 for name, value in others.items()}


Names: TypeAlias = Sequence[str] | Mapping[str, float | None]
"""How a run is told of several fidelities, the one that trainings continue along first."""


class Asked(NamedTuple):
    """What a query asks for in a run with several fidelities."""

    fidelity: float | None
    """The one that trainings continue along."""
    others: Others
    """The others, by name."""
    passed: dict[str, float | None]
    """All of them by name, as the objective gets them."""


@dataclass(frozen=True, slots=True)
class Fidelities:
    """The fidelities of a run, in this order: first the one that trainings continue along, then the others."""

    values: Mapping[str, float | None]
    """By name, the value that each has where a query names none; None stands for the full training."""

    @classmethod
    def of(cls, given: object, objective: object = None) -> Fidelities | None:
        """Take names, or a mapping of names to values; of None, what the objective has as `fidelities`, if it is one.

        Raises
        ------
        SpecificationError
            They are no names, or a value is no finite number.
        """
        if given is None:
            declared = getattr(objective, "fidelities", None)
            return declared if isinstance(declared, cls) else None
        if isinstance(given, cls):
            return given
        names = list(given) if isinstance(given, Mapping | Sequence) and not isinstance(given, str | bytes) else []
        if not names or not all(isinstance(n, str) and n and arguments.is_text(n) for n in names):
            raise arguments.refusal(
                "fidelities", given, "names, or a mapping of names to numbers, such as ['epoch', 'resolution']"
            )
        if len(set(names)) < len(names):
            raise arguments.refusal("fidelities", given, "names that differ")
        values = given if isinstance(given, Mapping) else {}
        found = {name: values.get(name) for name in names}
        return cls({n: None if v is None else _number(f"fidelities[{shown(n)}]", v) for n, v in found.items()})

    @property
    def first(self) -> str:
        """The name of the one that trainings continue along."""
        return next(iter(self.values))

    def asked(self, fidelity: Any) -> Asked:
        """Return what a query asks for: a mapping of all names, or a number, which is the first one's; or None.

        Raises
        ------
        SpecificationError
            A name is missing or unknown, or a value is no finite number.
        """
        if not isinstance(fidelity, Mapping):
            check_fidelity(fidelity)
            passed = dict(self.values) if fidelity is None else {**self.values, self.first: fidelity}
        elif fidelity.keys() != self.values.keys():
            wrong = next((n for n in fidelity if n not in self.values), None)
            missing = next((n for n in self.values if n not in fidelity), None)
            what = f"{shown(missing)} is missing" if wrong is None else f"{shown(wrong)} is none of the fidelities"
            raise SpecificationError(
                f"fidelity is {shown(dict(fidelity))}: {what}; "
                f"it must have exactly the names {shown(list(self.values))}"
            )
        else:
            check_any_fidelity(fidelity)
            passed = {name: fidelity[name] for name in self.values}
        plain = _plain(passed)
        return Asked(plain.pop(self.first), plain, passed)

    def to_json(self) -> list[list[Any]]:
        """Return them as a specification holds them: pairs, because the order counts."""
        return [[name, value] for name, value in self.values.items()]

    @classmethod
    def from_json(cls, data: object) -> Fidelities:
        """Read what `to_json` returned.

        Raises
        ------
        SpecificationError
            It is something else.
        """
        try:
            values = {name: value for name, value in data}  # type: ignore[attr-defined] # noqa: C416 - refuses triples
        except (TypeError, ValueError):
            values = {}
        found = cls.of(values)
        assert found is not None
        return found
