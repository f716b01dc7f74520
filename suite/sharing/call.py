"""What a call of the simulator brings, what its run holds it to, and what it takes back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.idle import Idle
from zerowait.suite.rules.occupation import Workers
from zerowait.suite.rules.overhead import Overhead


@dataclass(slots=True)
class Call:
    """One call of the simulator, before it has a slot."""

    identity: bytes
    """Digest of what identifies the configuration."""
    config: bytes
    """Digest of the configuration itself."""
    config_id: str
    """The identity as a trace shows it."""
    canonical: str
    """The configuration as canonical JSON."""
    fidelity: float | None
    """Training budget of the evaluation."""
    text: bytes
    """Its part of the journal record."""
    entered: float
    """Real time at which the call came in, in seconds."""
    slot: int = -1
    """Its slot, known from the moment at which it may have one."""
    early: bool = False
    """Whether it came before the worker was there that will run it."""
    number: int = 0
    """Its number among the run's calls."""
    warnings: list[str] = field(default_factory=list)
    """What its caller is to be warned of."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all processes of a run agree on."""

    budget: Budget
    overhead: Overhead
    continual: bool
    idle: Idle
    continue_after_death: bool
    workers: Workers | None = None
    """What becomes of an evaluation on its worker; None if they are perfect."""
    query_timeout: float = math.inf
    """Real seconds that a query of the objective may take while somebody waits for it."""


@dataclass(slots=True)
class Taken:
    """What a caller learns when its result is delivered."""

    start: float
    end: float
    runtime: float
