"""Staggers the first evaluations of a run, whose samples and slots would otherwise race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zerowait.suite.rules.errors import StalledError

if TYPE_CHECKING:
    from collections.abc import Callable


LONGEST_START = 120.0
"""Real seconds that one worker may take to make its first call: imports from a cold disk are slow."""

_LOOK_AGAIN = 1.0


def wait_for_calls(simulator: Any, number: int, *, given_up: Callable[[], bool], arrivals: bool = False) -> None:
    """Wait until so many calls have claimed a slot, or until `given_up()` says that they never will.

    With `arrivals` also until the worker of the next call is there, however long the others compute before it comes.

    Giving up is rare and nobody announces it: a call was refused because its start lies beyond the budget's
    time, or its worker failed before it made one. It is noticed within a second.

    Raises
    ------
    StalledError
        Neither has happened after `LONGEST_START` real seconds, and no result has come either.
    """
    if getattr(simulator, "starts_at_once", False):
        return  # and whether it has given up is a question that would let simulated time go on
    waited, delivered = 0.0, 0
    while not given_up():
        try:
            simulator.wait_started(number, timeout=_LOOK_AGAIN, arrivals=arrivals)
        except StalledError:
            before, delivered = delivered, simulator.progress()["delivered"] if arrivals else 0
            waited = waited + _LOOK_AGAIN if delivered == before else 0.0
            if waited >= LONGEST_START:
                raise
        else:
            return
