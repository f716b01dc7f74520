"""The evaluations of an ask-and-tell run: one that is pending, those in flight, and those delivered.

With 100,000 workers there are as many of them at a time, so what lives is few objects and plain numbers.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import insort
from collections.abc import Mapping
from typing import Any, cast

from zerowait.suite.records.trace import Columns
from zerowait.suite.rules import timeline
from zerowait.suite.rules.evaluation import Query, check_fidelity
from zerowait.suite.rules.identity import canonical_json_of_checked, check_config, check_config_id, digest
from zerowait.suite.rules.seeds import ObjectiveSeeds


class Pending:
    """An evaluation in flight; compared only when end and start are equal, so its identity is computed when needed."""

    __slots__ = (
        "call", "charged", "clipped", "config", "digest", "end", "error", "freed", "metrics", "overhead", "query",
        "resumed_from", "runtime", "start", "task", "value",
    )  # fmt: skip

    def __init__(self, query: Query, freed: float, start: float, overhead: float, call: int) -> None:
        self.query = query
        if query.config_id is not None or query.fidelity is not None:
            _check_query(query)
        check_config(query.config)  # now, because a trace that cannot be made would be lost with everything in it
        # What is recorded is what was asked for, whatever the optimizer does with its dictionary afterwards.
        self.config = dict(query.config)
        self.freed = freed
        self.start = start
        self.overhead = overhead
        self.call = call
        self.resumed_from = math.nan
        self.clipped = False
        self.digest: bytes | None = None
        self.error: Exception | None = None
        self.task: Any = None  # of an executor, what waits for the result
        # Not the objective's evaluation: the fewer objects live, the less the garbage collector has to visit.
        self.value: float
        self.runtime: float
        self.metrics: Mapping[str, float]
        self.end: float
        self.charged: float

    def identify(self) -> bytes:
        """Return the 16-byte digest of what identifies the configuration."""
        if self.digest is None:
            self.digest = _identity(self.config, self.query.config_id)
        return self.digest

    def key(self) -> timeline.OrderKey:
        """Return what its delivery is ordered by."""
        query = self.query
        return timeline.order_key(self.end, self.start, self.identify(), query.fidelity, self.freed, self.call)

    def __lt__(self, other: Pending) -> bool:
        return self.key() < other.key()


def _check_query(query: Query) -> None:
    """Refuse a fidelity that is no number and an id that is no text, as `Simulator` does."""
    if query.config_id is not None:
        check_config_id(query.config_id)
    check_fidelity(query.fidelity)


def _identity(config: dict[str, Any], config_id: str | None) -> bytes:
    return digest(canonical_json_of_checked(config) if config_id is None else config_id)


class InFlight:
    """The evaluations in flight, least first.

    A heap of numbers, and the evaluations by their end: a heap of tuples costs twice as much, and with 100,000 workers
    every level of it misses the processor's caches.
    """

    def __init__(self) -> None:
        self._ends: list[float] = []
        self._by_end: dict[float, Pending | list[Pending]] = {}

    def __bool__(self) -> bool:
        return bool(self._ends)

    def least_end(self) -> float:
        """Return the simulated time at which the next result is due, in seconds."""
        return self._ends[0]

    def push(self, pending: Pending) -> None:
        """Add an evaluation."""
        end = pending.end
        others = self._by_end.setdefault(end, pending)
        if others is pending:
            heapq.heappush(self._ends, end)
        elif type(others) is list:
            insort(others, pending)
        else:
            self._by_end[end] = sorted([cast("Pending", others), pending])

    def pop(self) -> Pending:
        """Remove and return the one that is delivered next."""
        end = self._ends[0]
        least = self._by_end[end]
        if type(least) is list:
            pending: Pending = least.pop(0)
            if least:
                return pending
        else:
            pending = cast("Pending", least)
        heapq.heappop(self._ends)
        del self._by_end[end]
        return pending


class Delivered:
    """What has been delivered, in arrays of numbers.

    Objects that live as long as the run would be visited by the garbage collector again and again.
    """

    def __init__(self) -> None:
        self.freed = array("d")
        self.start = array("d")
        self.end = array("d")
        self.charged = array("d")
        self.value = array("d")
        self.overhead = array("d")
        self.fidelity = array("d")
        self.resumed_from = array("d")
        self.wall_time = array("d")
        self.clipped = array("b")
        self.failed: list[int] = []
        self.metrics: list[Mapping[str, float]] = []
        self.config: list[dict[str, Any]] = []
        self.given_ids: list[str | None] = []

    def __len__(self) -> int:
        return len(self.end)

    def add(self, pending: Pending, wall_time: float) -> None:
        """Record a delivery, `wall_time` real seconds after the run began."""
        query = pending.query
        if pending.error is not None:
            self.failed.append(len(self.end))
        self.freed.append(pending.freed)
        self.start.append(pending.start)
        self.end.append(pending.end)
        self.charged.append(pending.charged)
        self.value.append(pending.value)
        self.overhead.append(pending.overhead)
        self.fidelity.append(math.nan if query.fidelity is None else query.fidelity)
        self.resumed_from.append(pending.resumed_from)
        self.wall_time.append(wall_time)
        self.clipped.append(pending.clipped)
        self.metrics.append(pending.metrics)
        self.config.append(pending.config)
        self.given_ids.append(query.config_id)

    def columns(self, seeds: ObjectiveSeeds) -> Columns:
        """Return the columns of the trace."""
        digests = list(map(_identity, self.config, self.given_ids))
        status = ["ok"] * len(self.end)
        for number in self.failed:
            status[number] = "failed"
        return Columns(
            freed=self.freed,
            start=self.start,
            end=self.end,
            runtime=self.charged,
            value=self.value,
            fidelity=self.fidelity,
            resumed_from=self.resumed_from,
            clipped=self.clipped,
            status=status,
            config_id=[
                identity.hex() if given is None else given
                for identity, given in zip(digests, self.given_ids, strict=True)
            ],
            seed=seeds.many(digests),
            wall_time=self.wall_time,
            overhead=self.overhead,
            metrics=self.metrics,
            config=self.config,
        )
