"""Overhead policies: what the optimizer itself spends between a result and the next configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import LONGEST
from zerowait.suite.rules.fingerprint import UnknowableError, fingerprint
from zerowait.suite.rules.identity import is_text

Sampling = Literal["serial", "parallel"]


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
    """How the optimizer's own time is charged; made by `measured`, `none`, `fixed`, `model` or `linear`."""

    kind: Literal["measured", "none", "fixed", "model"]
    """Which policy this is."""
    sampling: Sampling = "serial"
    """Serial: one configuration is sampled at a time; parallel: every worker samples for itself."""
    seconds: Callable[[int], float] | None = None
    """Seconds charged for one configuration, given the number of delivered results; None when measured."""
    name: str = ""
    """What identifies the policy in a run's specification."""

    @classmethod
    def measured(cls, *, sampling: Sampling = "serial") -> Overhead:
        """Charge the real seconds that the optimizer spends; say `sampling="parallel"` if every worker samples alone.

        It matters when a query of the objective takes long: what is sampled meanwhile holds up a serial optimizer.
        """
        return cls("measured", sampling, name="measured")

    @classmethod
    def none(cls) -> Overhead:
        """Charge nothing."""
        return cls("none", seconds=Linear(0.0, 0.0), name="none")

    @classmethod
    def fixed(cls, seconds: float, *, sampling: Sampling = "serial") -> Overhead:
        """Charge the same number of seconds for every configuration."""
        _check_seconds(seconds, "the fixed overhead")
        return cls("fixed", sampling, Linear(float(seconds), 0.0), f"fixed({float(seconds)!r})")

    @classmethod
    def linear(cls, base: float, per_result: float, *, sampling: Sampling = "serial") -> Overhead:
        """Charge `base + per_result * n` seconds when n results have been delivered."""
        _check_seconds(base, "the overhead's base")
        _check_seconds(per_result, "the overhead per result")
        return cls(
            "model",
            sampling,
            Linear(float(base), float(per_result)),
            f"linear({float(base)!r},{float(per_result)!r})",
        )

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
            raise SpecificationError(
                f"the overhead model is {seconds!r}; it must be a function of the number of results"
            )
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
        return cls("model", sampling, seconds, f"model({name})")

    def __post_init__(self) -> None:
        """Refuse a sampling that does not exist."""
        if self.sampling not in ("serial", "parallel"):
            raise SpecificationError(f"sampling is {self.sampling!r}; it must be 'serial' or 'parallel'")

    @property
    def is_measured(self) -> bool:
        """Whether real time is charged; every other policy is deterministic."""
        return self.seconds is None

    @property
    def constant(self) -> float | None:
        """The seconds charged for every configuration, or None when they vary."""
        return self.charge(0) if self.kind in ("none", "fixed") else None

    def charge(self, delivered: int) -> float:
        """Return the modelled seconds for the next configuration, given the number of delivered results.

        Raises
        ------
        SpecificationError
            The model returned a number that is negative or not finite.
        """
        if self.seconds is None:
            raise SpecificationError("measured overhead has no model to ask")
        seconds = float(self.seconds(delivered))
        if not 0.0 <= seconds <= LONGEST:
            raise SpecificationError(
                f"the overhead {self.name} gave {seconds!r} s after {delivered} results; "
                f"it must be from 0 to {LONGEST:g}"
            )
        return seconds

    def specification(self) -> dict[str, Any]:
        """Return what identifies the policy in `run.json`."""
        return {"name": self.name, "sampling": self.sampling}


_NUMBER = r"([-+.0-9a-z]+)"


def seconds_of(name: str) -> Callable[[int], float] | None:
    """Return the seconds as a function of the delivered results, or None when the policy's name does not define it.

    Raises
    ------
    SpecificationError
        No policy has this name.
    """
    if name == "none":
        return Linear(0.0, 0.0)
    try:
        if found := re.fullmatch(rf"fixed\({_NUMBER}\)", name):
            return Overhead.fixed(float(found[1])).seconds
        if found := re.fullmatch(rf"linear\({_NUMBER},{_NUMBER}\)", name):
            return Overhead.linear(float(found[1]), float(found[2])).seconds
    except ValueError as error:
        raise SpecificationError(f"the overhead is {shown(name)}, which is no policy: {error}") from None
    if name == "measured" or re.fullmatch(r"model\(.*\)", name, re.DOTALL):
        return None
    raise SpecificationError(
        f"the overhead is {shown(name)}, which is no policy; it must be none, measured, fixed(seconds), "
        "linear(seconds,seconds) or model(name)"
    )


def _check_seconds(seconds: float, what: str) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.0 <= seconds <= LONGEST:
        raise SpecificationError(f"{what} is {seconds!r}; it must be a number of seconds from 0 to {LONGEST:g}")
