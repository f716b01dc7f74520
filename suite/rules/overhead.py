"""Overhead policies: what the optimizer itself spends between a result and the next configuration.

A new policy is a class method of `Overhead` and a line of `_POLICIES`, by which specifications and study files know it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from zerowait.suite.rules import arguments
from zerowait.suite.rules.arguments import is_text
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import LONGEST
from zerowait.suite.rules.fingerprint import UnknowableError, fingerprint

Sampling = Literal["serial", "parallel"]
OVERHEADS = "a policy: Overhead.measured(), Overhead.none(), Overhead.fixed(0.5), Overhead.linear(...) or .model(...)"
"""What an argument may be that takes one."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Overhead that grows with the number of delivered results: `base + per_result * n` seconds."""

    base: float
    per_result: float

    def __call__(self, delivered: int) -> float:
        """Return the seconds charged when `delivered` results have been told."""
        return self.base + self.per_result * delivered


@dataclass(frozen=True, slots=True)
class Overhead:
    """How the optimizer's own time is charged; made by `measured`, `none`, `fixed`, `linear` or `model`."""

    name: str
    """What identifies the policy: its kind, with its numbers or the name of its model in parentheses."""
    sampling: Sampling = "serial"
    """Serial: one configuration is sampled at a time; parallel: every worker samples for itself."""
    seconds: Callable[[int], float] | None = None
    """Seconds charged for one configuration, given the number of delivered results; None when they are measured, or
    when a specification has only the name of the model."""

    @classmethod
    def measured(cls, *, sampling: Sampling = "serial") -> Overhead:
        """Charge the real seconds that the optimizer spends; say `sampling="parallel"` if every worker samples alone.

        It matters when a query of the objective takes long: what is sampled meanwhile holds up a serial optimizer.
        """
        return cls("measured", sampling)

    @classmethod
    def none(cls) -> Overhead:
        """Charge nothing."""
        return cls("none", seconds=Linear(0.0, 0.0))

    @classmethod
    def fixed(cls, seconds: float, *, sampling: Sampling = "serial") -> Overhead:
        """Charge the same number of seconds for every configuration."""
        seconds = _checked(seconds, "the fixed overhead")
        return cls(f"fixed({seconds!r})", sampling, Linear(seconds, 0.0))

    @classmethod
    def linear(cls, base: float, per_result: float, *, sampling: Sampling = "serial") -> Overhead:
        """Charge `base + per_result * n` seconds when n results have been delivered."""
        model = Linear(_checked(base, "the overhead's base"), _checked(per_result, "the overhead per result"))
        return cls(f"linear({model.base!r},{model.per_result!r})", sampling, model)

    @classmethod
    def model(
        cls, seconds: Callable[[int], float], *, name: str | None = None, sampling: Sampling = "serial"
    ) -> Overhead:
        """Charge `seconds(n)` when n results have been delivered.

        Processes that join a run must agree on the model. It is known by its `name`; without one by what the function
        computes, as far as that can be told (see `zerowait.suite.rules.fingerprint`).

        Raises
        ------
        SpecificationError
            It is no function, or it needs a name because it depends on more than plain data and functions.
        """
        if not callable(seconds):
            raise arguments.refusal("the overhead model", seconds, "a function of the number of results")
        if name is None:
            try:
                name = fingerprint(seconds)
            except UnknowableError as error:
                raise SpecificationError(
                    f"the overhead model {seconds!r} needs a name by which processes that join the run know it, "
                    f"because {error}; use Overhead.model(..., name='...')"
                ) from None
        elif not isinstance(name, str) or not name or not is_text(name):
            raise SpecificationError(f"the name of the overhead model is {shown(name)}; it must be a string")
        return cls(f"model({name})", sampling, seconds)

    def __post_init__(self) -> None:
        """Refuse a sampling that does not exist, and seconds that are no function."""
        arguments.function("seconds", self.seconds, "a function of the number of results")
        if self.sampling not in get_args(Sampling):
            raise SpecificationError(f"sampling is {shown(self.sampling)}; it must be 'serial' or 'parallel'")

    def __str__(self) -> str:
        return self.name if self.sampling == "serial" else f"{self.name}, {self.sampling}"

    @property
    def is_measured(self) -> bool:
        """Whether real time is charged; every other policy is deterministic."""
        return self.name == "measured"

    @property
    def constant(self) -> float | None:
        """The seconds charged for every configuration, or None when they vary."""
        return self.seconds.base if isinstance(self.seconds, Linear) and self.seconds.per_result == 0.0 else None

    def charge(self, delivered: int) -> float:
        """Return the modelled seconds for the next configuration, given the number of delivered results.

        Raises
        ------
        SpecificationError
            The model returned a number that is negative or not finite.
        """
        if self.seconds is None:
            raise SpecificationError(f"the overhead {self.name} has no model to ask")
        return _checked(self.seconds(delivered), f"what the overhead {self.name} gives after {delivered} results")

    def to_json(self) -> dict[str, Any]:
        """Return what specifications, cells and traces keep of the policy; of a model it is the name alone."""
        return {"name": self.name, "sampling": self.sampling}

    @classmethod
    def from_json(cls, data: object) -> Overhead:
        """Return the policy that `to_json` described; a model has its name and no `seconds`.

        Raises
        ------
        SpecificationError
            No policy is described so.
        """
        if not isinstance(data, Mapping) or not all(isinstance(data.get(key), str) for key in ("name", "sampling")):
            raise SpecificationError(f"the overhead is {shown(data)}; it must have a name and a sampling")
        name, sampling = data["name"], data["sampling"]
        kind, bracket, inside = name.partition("(")
        if kind == "model" and inside.endswith(")"):
            return cls(name, sampling)
        try:
            if kind not in _POLICIES or bool(bracket) != inside.endswith(")"):
                raise ValueError(f"it must be one of {', '.join(_forms())} and model(name)")  # noqa: TRY301 - as a bad number
            numbers = map(float, inside[:-1].split(",")) if bracket else ()
            return replace(_POLICIES[kind][1](*numbers), sampling=sampling)
        except (TypeError, ValueError) as error:
            raise SpecificationError(f"the overhead is {shown(name)}, which is no policy: {error}") from None

    def to_setting(self) -> str | dict[str, float | str]:
        """Return what a study file has for the policy, which `from_setting` takes."""
        kind, bracket, inside = self.name.partition("(")
        keys = _POLICIES[kind][0] if kind in _POLICIES else ()
        if not keys or not bracket:
            return self.name
        numbers = dict(zip(keys, map(float, inside[:-1].split(",")), strict=True))
        return {**numbers} if self.sampling == "serial" else {**numbers, "sampling": self.sampling}

    @classmethod
    def from_setting(cls, setting: object) -> Overhead:
        """Return the policy that a study file names: `"none"`, `{fixed = 2.0}`, `{base = 1.0, per_result = 0.1}`.

        Raises
        ------
        SpecificationError
            No policy is written so.
        """
        if isinstance(setting, Overhead):
            return setting
        numbers = dict(setting) if isinstance(setting, Mapping) else {}
        sampling = numbers.pop("sampling", "serial")
        for kind, (keys, make) in _POLICIES.items():
            if setting == kind and not keys:
                return make()
            if keys and set(numbers) == set(keys):
                return make(*(numbers[key] for key in keys), sampling=sampling)
        known = ["sampling", *(key for keys, _ in _POLICIES.values() for key in keys)]
        for key in numbers:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                meant = f"did you mean {close[0]!r}? " if close else ""
                raise SpecificationError(f"{key} is not a key of an overhead; {meant}allowed: {', '.join(known)}")
        raise SpecificationError(f"it is {shown(setting)}; it must be one of {', '.join(_settings())}")


_POLICIES: dict[str, tuple[tuple[str, ...], Callable[..., Overhead]]] = {
    "none": ((), Overhead.none),
    "measured": ((), Overhead.measured),
    "fixed": (("fixed",), Overhead.fixed),
    "linear": (("base", "per_result"), Overhead.linear),
}
"""The policies that numbers alone define, by kind: what a study file calls the numbers, and how to make one."""


def _forms() -> list[str]:
    return [f"{kind}({','.join(['seconds'] * len(keys))})" if keys else kind for kind, (keys, _) in _POLICIES.items()]


def _settings() -> list[str]:
    return [
        "{" + ", ".join(f"{key} = seconds" for key in keys) + "}" if keys else f'"{kind}"'
        for kind, (keys, _) in _POLICIES.items()
    ]


def _checked(seconds: object, what: str) -> float:
    return arguments.real(what, seconds, 0.0, LONGEST, allowed=f"a number of seconds from 0 to {LONGEST:g}")
