"""How idle workers are recognised, as a run is told; the rule itself is in `suite.sharing.idle`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zerowait.suite.rules import arguments

Sign = Literal["cpu", "grace", "never"]


@dataclass(frozen=True, slots=True)
class Idle:
    """How idle workers are recognised."""

    after: float = 1.0
    """Real seconds of quiescence after which free workers are taken to be idle."""
    sign: Sign = "cpu"
    """`cpu`: no call and no work; `grace`: no call (for masters that spin); `never`: wait for calls for ever."""
    busy_share: float = 0.1
    """Share of one core above which a thread counts as working; daemons that tick stay below it."""
    stall_after: float = 60.0
    """Real seconds without a call after which a run goes on although something works, if that is slower than computing;
    when something computes for sixty times as long, the run ends in `StalledError`."""
    on_wrong_guess: Literal["warn", "raise"] = "warn"
    """When a worker that was taken to be idle calls after all: warn, or end the run with `WrongGuessError`."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        positive = "a positive number of seconds"
        after = arguments.real("idle.after", self.after, 0.0, above=True, allowed=positive)
        stall_after = arguments.real("idle.stall_after", self.stall_after, 0.0, above=True, allowed=positive)
        arguments.choice("idle.sign", self.sign, get_args(Sign))
        arguments.choice("idle.on_wrong_guess", self.on_wrong_guess, ("warn", "raise"))
        share = arguments.real("idle.busy_share", self.busy_share, 0.0, 1.0, above=True)
        object.__setattr__(self, "after", after)
        object.__setattr__(self, "stall_after", stall_after)
        object.__setattr__(self, "busy_share", share)
