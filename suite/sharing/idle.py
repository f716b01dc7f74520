"""When free workers are idle: the optimizer is quiescent and will not call until another result arrives.

A result may wait for a free slot that never gets a call: at the end of a rung, of a generation, of a run. Nobody can
know what an unmodified library will do next; the sign is that it has stopped working. What a wrong guess costs: the
result that was released too early is delivered before a configuration that the optimizer was still about to hand out,
whose start is then moved to that delivery. Every release is counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from zerowait.suite.rules import arguments
from zerowait.suite.sharing.processes import TICK, Process, cpu_times

Sign = Literal["cpu", "grace", "never"]


@dataclass(frozen=True, slots=True)
class Idle:
    """How idle workers are recognised."""

    after: float = 1.0
    """Real seconds of quiescence after which free workers are taken to be idle."""
    sign: Sign = "cpu"
    """`cpu`: no call and no CPU time; `grace`: no call (for masters that spin); `never`: wait for calls for ever."""
    busy_share: float = 0.1
    """Share of one core above which a process counts as working; daemons that tick stay below it."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        after = arguments.real("idle.after", self.after, 0.0, above=True, allowed="a positive number of seconds")
        arguments.choice("idle.sign", self.sign, get_args(Sign))
        share = arguments.real("idle.busy_share", self.busy_share, 0.0, 1.0, above=True)
        object.__setattr__(self, "after", after)
        object.__setattr__(self, "busy_share", share)


_FASTEST_RELEASE = 0.05
_PAUSES = 3.0
_LOOKING = 4.0  # a watcher uses at most a fifth of a core
ACCUSTOMED = 3
"""After so many rounds of releases without a call a free slot is not expected to get one any more."""


def needed_quiet(idle: Idle, longest_pause: float, *, expected: bool) -> float:
    """Return how many seconds of quiescence justify the next release.

    Unless a call is `expected`, which it is not after a release that led to no call, and not in slots that stay free
    for good, it takes less: some multiple of the longest pause that this optimizer ever made between a delivery and the
    next call, so that the tail of a rung, or a worker that died, costs milliseconds and not seconds a result.
    """
    if expected:
        return idle.after
    return min(idle.after, max(_FASTEST_RELEASE, _PAUSES * longest_pause))


class Quiescence:
    """Watches one run from one waiting caller, to tell since when nothing has happened."""

    def __init__(self, idle: Idle, now: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._now = now
        self._events: int | None = None
        self._since = 0.0
        self._used: dict[int, float] = {}
        self.shortest_interval = 0.0
        """Real seconds that should lie between two questions, so that looking through all processes stays cheap."""

    def seconds(self, events: int, processes: Iterable[Process]) -> float:
        """Return how many seconds neither the run's event counter nor its processes' CPU time has moved.

        `processes` take part in the run; their descendants are watched too. To be asked from one thread, which does
        nothing else meanwhile: the CPU time that it spends on watching does not count.
        """
        now = self._now()
        used = self._cpu_times(processes) if self._idle.sign == "cpu" else {}
        quiet = now - self._since
        if events != self._events or self._works(used, quiet):
            self._events, self._since, self._used = events, now, used
            return 0.0
        return quiet

    def _cpu_times(self, processes: Iterable[Process]) -> dict[int, float]:
        began = time.thread_time()
        used = cpu_times(processes)
        ended = time.thread_time()
        self.shortest_interval = _LOOKING * (ended - began)
        watcher = os.getpid()
        if watcher in used:
            used[watcher] -= ended
        return used

    def _works(self, used: dict[int, float], quiet: float) -> bool:
        # The kernel accounts in ticks, so one of them proves nothing.
        allowed = max(2 * TICK, self._idle.busy_share * quiet)
        return any(seconds - self._used.get(pid, 0.0) > allowed for pid, seconds in used.items())
