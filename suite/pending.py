"""The evaluations of an ask-and-tell run: one that is pending, those in flight, and those delivered.

With 100,000 workers there are as many of them at a time, so what lives is few objects and plain numbers.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, cast

import numpy as np

from zerowait.suite.records.trace import Columns, Values
from zerowait.suite.rules import timeline
from zerowait.suite.rules.evaluation import Query
from zerowait.suite.rules.fidelities import Asked, Fidelities, check_fidelity, training_identity
from zerowait.suite.rules.identity import (
    DIGEST_BYTES,
    canonical_json_of_checked,
    canonical_texts,
    check_config,
    check_config_id,
    digest,
)
from zerowait.suite.rules.occupation import Workers
from zerowait.suite.rules.seeds import ObjectiveSeeds

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class Pending:
    """An evaluation in flight; compared only when end and start are equal, so its identity is computed when needed."""

    __slots__ = (
        "asked", "attempt", "call", "charged", "clipped", "config", "digest", "end", "ended", "error", "fidelity",
        "freed", "lost_time", "metrics", "overhead", "query", "resumed_from", "runtime", "start", "task", "value",
        "wall_time", "worker",
    )  # fmt: skip

    def __init__(
        self,
        query: Query,
        freed: float,
        start: float,
        overhead: float,
        call: int,
        fidelities: Fidelities | None = None,
    ) -> None:
        self.query = query
        fidelity: Any = query.fidelity
        self.asked: Asked | None = None
        if fidelities is not None:
            self.asked = fidelities.asked(fidelity)
            fidelity = self.asked.fidelity
        if query.config_id is not None:
            check_config_id(query.config_id)
        number = check_fidelity(fidelity)
        self.fidelity = math.nan if number is None else number
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
        self.wall_time: float
        # Where a cluster decides what becomes of it, see `zerowait.suite.rules.occupation.Occupation`:
        self.worker: int
        self.ended: str
        self.attempt: int
        self.lost_time: float

    @property
    def number(self) -> float | None:
        """The fidelity that trainings continue along; None for the full training."""
        return None if math.isnan(self.fidelity) else self.fidelity

    def identify(self) -> bytes:
        """Return the 16-byte digest of what identifies the training."""
        if self.digest is None:
            config = _identity(self.config, self.query.config_id)
            self.digest = config if self.asked is None else training_identity(config, self.asked.others)
        return self.digest

    def key(self) -> timeline.OrderKey:
        """Return what its delivery is ordered by."""
        return timeline.order_key(self.end, self.start, self.identify(), self.number, self.freed, self.call)

    def __lt__(self, other: Pending) -> bool:
        return self.key() < other.key()


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


_BLOCK = 64
"""So many delivered evaluations wait until they are taken into the columns together; more leave the caches."""

_MANY = 65_536


class Delivered:
    """What has been delivered, in arrays of numbers.

    Objects that live as long as the run would be visited by the garbage collector again and again, and a dictionary for
    each configuration takes more memory than all of its numbers.

    Parameters
    ----------
    measured
        Whether real time is recorded.
    continual
        Whether evaluations continue others.
    workers
        What the workers are like if they are not perfect.
    fresh_seeds
        Whether the seeds depend on the calls.
    has_others
        Whether there are fidelities beside the one that trainings continue along.
    """

    def __init__(
        self,
        *,
        measured: bool,
        continual: bool,
        workers: Workers | None,
        fresh_seeds: bool = False,
        has_others: bool = False,
    ) -> None:
        self._recent: list[Pending] = []
        self._others = RowsByColumn(absent=math.nan) if has_others else None
        self._trainings = bytearray()
        """The digests of what the seeds follow from, where that is more than the configuration."""
        # The others are NaN in every row.
        kept = [*_NUMBERS, *(["wall_time"] if measured else []), *(["resumed_from"] if continual else [])]
        if fresh_seeds:
            kept.append("call")
        self._workers = workers
        if workers is not None:
            kept += ("worker", "attempt", "lost_time")
        self._numbers = {name: array("d") for name in kept}
        self._all_of = attrgetter(*kept)
        self._clipped = array("b")
        self._digests = bytearray()
        self._unsuccessful: dict[int, str] = {}
        self._given_ids: dict[int, str] = {}
        self._config = RowsByColumn()
        self._metrics = RowsByColumn(absent=math.nan)
        self._taken = 0

    def __len__(self) -> int:
        return self._taken + len(self._recent)

    def add(self, pending: Pending, wall_time: float) -> None:
        """Record a delivery, `wall_time` real seconds after the run began."""
        pending.wall_time = wall_time
        recent = self._recent
        recent.append(pending)
        if len(recent) == _BLOCK:
            self._take()

    def _take(self) -> None:
        """Take what is new into the columns."""
        recent, first = self._recent, self._taken
        if not recent:
            return
        for values, new in zip(self._numbers.values(), zip(*map(self._all_of, recent), strict=True), strict=True):
            values.extend(new)
        self._clipped.extend([pending.clipped for pending in recent])
        for n, pending in enumerate(recent, first):
            if pending.error is not None:
                ended = "ok" if self._workers is None else pending.ended
                self._unsuccessful[n] = "failed" if ended == "ok" else ended
        configs = [pending.config for pending in recent]
        by_name = self._config.extend(configs)
        self._metrics.extend([pending.metrics for pending in recent])
        given = [pending.query.config_id for pending in recent]
        if given.count(None) < len(given):
            self._given_ids.update({first + n: one for n, one in enumerate(given) if one is not None})
        known = [pending.digest for pending in recent if pending.digest is not None]
        if len(known) < len(recent) or self._others is not None:
            texts = (
                list(map(canonical_json_of_checked, configs))
                if by_name is None
                else canonical_texts(by_name, len(recent))
            )
            known = [digest(text if one is None else one) for text, one in zip(texts, given, strict=True)]
        if self._others is not None:
            rows = [pending.asked.others for pending in recent if pending.asked is not None]
            self._others.extend([{k: math.nan if v is None else v for k, v in row.items()} for row in rows])
            self._trainings += b"".join(map(training_identity, known, rows))
        self._digests += b"".join(known)
        self._taken += len(recent)
        recent.clear()

    def columns(self, seeds: ObjectiveSeeds, *, last: bool) -> Columns:
        """Return the columns of the trace; if they are the last, they are not copied and nothing may be added."""
        self._take()
        n = self._taken
        status = np.empty(n, dtype=object)
        status.fill("ok")  # one text; `np.full` makes a copy of it for every row
        for number, ended in self._unsuccessful.items():
            status[number] = ended
        config_id = np.empty(n, dtype=object)
        for first in range(0, n, _MANY):  # one text of all names would be as large as the names
            names = self._digests[first * DIGEST_BYTES : (first + _MANY) * DIGEST_BYTES].hex()
            width = 2 * DIGEST_BYTES
            config_id[first : first + _MANY] = [names[k : k + width] for k in range(0, len(names), width)]
        for number, given in self._given_ids.items():
            config_id[number] = given
        trainings = self._digests if self._others is None else self._trainings
        seed = seeds.many(np.frombuffer(trainings, dtype=np.uint32))
        if seeds.fresh:
            digests = (bytes(trainings[k * DIGEST_BYTES : (k + 1) * DIGEST_BYTES]) for k in range(n))
            calls = map(int, self._column("call", last=last))
            seed = np.fromiter(map(seeds.of_call, digests, calls), dtype=np.int64, count=n)
        if last:
            self._digests = bytearray()
        return Columns(
            freed=self._column("freed", last=last),
            start=self._column("start", last=last),
            end=self._column("end", last=last),
            runtime=self._column("charged", last=last),
            value=self._column("value", last=last),
            fidelity=self._column("fidelity", last=last),
            resumed_from=self._column("resumed_from", last=last),
            clipped=self._clipped,
            status=status,
            config_id=config_id,
            seed=seed,
            wall_time=self._column("wall_time", last=last),
            overhead=self._column("overhead", last=last),
            metrics=self._metrics.columns(last=last),
            config=self._config.columns(last=last),
            other_fidelities={} if self._others is None else self._others.columns(last=last),
            of_cluster={} if self._workers is None else self._columns_of_cluster(self._workers, last=last),
        )

    def _columns_of_cluster(self, workers: Workers, *, last: bool) -> dict[str, Values]:
        columns = {name: self._column(name, last=last) for name in ("worker", "attempt", "lost_time")}
        return columns | {"worker_speed": workers.speeds(columns["worker"])}

    def _column(self, name: str, *, last: bool) -> Numbers:
        values = self._numbers.get(name)
        return np.full(self._taken, math.nan) if values is None else _as_numbers(values, last=last)


_NUMBERS = ("freed", "start", "end", "charged", "value", "overhead", "fidelity")


class RowsByColumn:
    """Rows of named values, kept by column: an array of numbers where all are floats, or all integers.

    Parameters
    ----------
    absent
        What a row has where it does not name a column.
    """

    def __init__(self, absent: float | None = None) -> None:
        self._absent = absent
        self._columns: dict[str, array[Any] | list[Any]] = {}
        self._n = 0

    def extend(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
        """Add rows; return their values by name if all have the same names, else None."""
        names: Collection[str] = rows[0].keys()
        alike = set(map(len, rows)) == {len(names)}
        try:
            new = {name: [row[name] for row in rows] for name in names} if alike else {}
        except KeyError:
            alike = False
        if not alike:
            names = set().union(*rows)
            new = {name: [row.get(name, self._absent) for row in rows] for name in names}
        for name, values in new.items():
            column = self._columns.get(name)
            if column is None:
                column = [self._absent] * self._n if self._n else array("d")
            self._columns[name] = _extended(column, values)
        if len(self._columns) > len(new):
            for name in self._columns.keys() - new.keys():
                self._columns[name] = _extended(self._columns[name], [self._absent] * len(rows))
        self._n += len(rows)
        return new if alike else None

    def columns(self, *, last: bool) -> dict[str, Any]:
        """Return the values by name; if they are the last, they are not copied and nothing may be added."""
        return {
            name: _as_numbers(column, last=last) if isinstance(column, array) else column
            for name, column in self._columns.items()
        }


def _as_numbers(values: array[Any], *, last: bool) -> np.ndarray[Any, np.dtype[Any]]:
    if not values:
        return np.empty(0)
    found = np.frombuffer(values, dtype=np.float64 if values.typecode == "d" else np.int64)
    return found if last else found.copy()


def _extended(column: array[Any] | list[Any], values: list[Any]) -> array[Any] | list[Any]:
    """Return the column with these values behind it, as an array as long as they are of one kind of number."""
    if isinstance(column, array):
        kinds = set(map(type, values))
        typecode = "d" if kinds == {float} else "q" if kinds == {int} else ""
        if typecode == column.typecode or (typecode and not column):
            try:
                longer = column if typecode == column.typecode else array(typecode)
                longer.extend(array(typecode, values))
            except OverflowError:  # an integer beyond 64 bits
                pass
            else:
                return longer
        column = column.tolist()
    column.extend(values)
    return column
