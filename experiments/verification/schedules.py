"""What P workers and one optimizer do, worked out from their definition, by no code of the simulator.

A worker evaluates, reports its result, and samples its next configuration. Sampling costs `cost * (n + 1)` seconds when
n results are known (Gaussian processes get dearer with every result; arXiv 2403.01888, section 4). Which results are
known is the optimizer's way of being told:

in turn
    The optimizer takes one result, samples one configuration, takes the next result. What arrives meanwhile waits.
    This is a loop of tell and ask under one lock, and what `Overhead.model` charges.
on arrival
    Results are known as soon as they arrive (a shared folder, a data base), also while others wait for their turn to
    sample.

A query of the objective that takes long changes nothing as long as the training takes longer: the worker is occupied
for the length of the training, and the query is a part of it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zerowait.suite.rules.overhead import Sampling

Telling = Literal["in turn", "on arrival"]
Callers = Literal["threads", "processes"]


@dataclass(frozen=True, slots=True)
class Case:
    """Workers, runtimes and an optimizer's cost; all times are simulated seconds."""

    runtimes: tuple[float, ...]
    """Of the configurations in the order in which they are asked for."""
    cost: float = 0.0
    """Of sampling, for each known result and one more."""
    workers: int = 4
    sampling: Sampling = "serial"
    """Whether workers sample one after the other or each for itself."""
    telling: Telling = "in turn"
    sampled: tuple[float, ...] = ()
    """What sampling costs when 0, 1, 2, ... results are known, instead of what `cost` says."""
    queries: tuple[float, ...] = ()
    """What querying the objective really takes, no longer than the runtimes; nothing when empty."""
    callers: Callers = "threads"
    """What evaluates: the threads that sample, or a process for each of them."""

    def seconds(self, known: int) -> float:
        """Return what sampling costs when so many results are known."""
        return self.sampled[known] if self.sampled else self.cost + self.cost * known


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens when; lists are in the order in which configurations are asked for."""

    begin: Sequence[float]
    """When the sampling of each began."""
    start: Sequence[float]
    end: Sequence[float]
    known: Sequence[int]
    """Number of results that were known when the sampling of each began."""
    waited: Sequence[bool]
    """Whether its worker had to wait before it could sample."""

    @property
    def order(self) -> list[int]:
        """The numbers of the configurations in the order of their results."""
        return sorted(range(len(self.end)), key=lambda k: (self.end[k], self.start[k]))

    @property
    def makespan(self) -> float:
        """The last end."""
        return max(self.end)


def expected(case: Case) -> Schedule:
    """Return the schedule of a case: the k-th configuration is for the worker that the (k - P)-th result frees."""
    begins, starts, ends, known, waited = [], [], [], [], []
    running: list[float] = []
    sampler_free = 0.0
    for k, runtime in enumerate(case.runtimes):
        told = max(0, k - case.workers + 1)
        freed = heapq.heappop(running) if told else 0.0
        begin = max(freed, sampler_free) if case.sampling == "serial" else freed
        if case.telling == "on arrival":
            told += sum(end <= begin for end in running)
        start = begin + case.seconds(told)
        sampler_free = start
        heapq.heappush(running, start + runtime)
        begins.append(begin)
        starts.append(start)
        ends.append(start + runtime)
        known.append(told)
        waited.append(begin > freed)
    return Schedule(begins, starts, ends, known, waited)


def gap(case: Case, schedule: Schedule) -> float:
    """Return the least simulated seconds between two events whose order changes what happens next.

    A machine that wakes sleepers later than this may run the case in another order, and both orders are right. The
    events are the ends and, when results are known on arrival, the beginnings of samplings that had to wait.
    """
    ends = sorted(schedule.end)
    least = min((b - a for a, b in itertools.pairwise(ends)), default=math.inf)
    if case.telling == "on arrival":
        for begin, waited in zip(schedule.begin, schedule.waited, strict=True):
            if waited:
                least = min(least, *(abs(end - begin) for end in ends))
    return least
