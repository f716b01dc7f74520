"""Continued evaluations (design 4.2): what is charged when a training goes on from an earlier, delivered state.

An evaluation at fidelity z of a configuration whose delivered, unconsumed states stand at z1 < ... < zk < z charges
`max(0, runtime(z) - runtime(zk))`: only the training that the state at zk had not seen. The evaluation consumes the
state, so nobody else can continue it, and its own delivery makes a state at z.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from zerowait.suite.rules.errors import SpecificationError


class State(NamedTuple):
    """A training that was delivered and can be continued."""

    fidelity: float
    """How far it was trained."""
    runtime: float
    """Seconds from scratch to there, not charged differences."""
    end: float
    """Simulated time of its delivery, in seconds."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one evaluation is charged."""

    runtime: float
    """Seconds charged."""
    resumed_from: float | None = None
    """Fidelity of the state that was continued; None when trained from scratch."""
    clipped: bool = False
    """Whether the difference of the runtimes was negative and charged as 0."""


S = TypeVar("S", bound=tuple[object, State])


def best_state(states: Iterable[S], fidelity: float, start: float) -> S | None:
    """Return the state to continue, or None: the highest fidelity below this one, delivered no later than `start`.

    Each state comes with a handle of the caller's. Among equal fidelities the one delivered first is taken.
    """
    usable = [s for s in states if s[1].fidelity < fidelity and s[1].end <= start]
    return min(usable, key=lambda s: (-s[1].fidelity, s[1].end, s[1].runtime), default=None)


def charge(runtime: float, state: State | None) -> Charge:
    """Return what an evaluation with this runtime from scratch is charged when it continues `state`."""
    if state is None:
        return Charge(runtime)
    difference = runtime - state.runtime
    return Charge(max(0.0, difference), state.fidelity, difference < 0.0)


def training_length(fidelity: float | None) -> float:
    """Return the fidelity as a number to compare: the full training (None) lies above every other."""
    return math.inf if fidelity is None else float(fidelity)


class Ledger:
    """The states of one run, kept in memory: identity -> delivered states that nobody has continued yet."""

    def __init__(self) -> None:
        self._states: dict[bytes, list[State]] = {}
        self._configs: dict[bytes, bytes] = {}

    def check_identity(self, identity: bytes, config: bytes, config_id: str, canonical: str) -> None:
        """Refuse an id that the optimizer gave to another configuration before; both arguments are digests.

        Raises
        ------
        SpecificationError
            The id disagrees with the configuration; the message names both.
        """
        if self._configs.setdefault(identity, config) != config:
            raise id_disagrees(config_id, canonical)

    def take(self, identity: bytes, fidelity: float, start: float) -> State | None:
        """Consume and return the state that an evaluation at this fidelity and start continues, or None."""
        states = self._states.get(identity)
        if not states:
            return None
        found = best_state(enumerate(states), fidelity, start)
        if found is None:
            return None
        return states.pop(found[0])

    def add(self, identity: bytes, state: State) -> None:
        """Record a delivered evaluation as a state that can be continued."""
        self._states.setdefault(identity, []).append(state)


def id_disagrees(config_id: str, canonical: str) -> SpecificationError:
    """Return the error for an id that stands for two configurations."""
    return SpecificationError(
        f"config_id {config_id!r} was given to another configuration before; now it comes with {canonical}. "
        "An id must name one configuration, or leave config_id out"
    )
