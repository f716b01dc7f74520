"""The records of a run as its history: typed, in order, and with what is known of the moments between them.

A record says which call it was (`call`, from 1 in the order of the claims) and how many records the journal held when
it was claimed (`after`). The order of all claims and deliveries follows from these two, so a run can be replayed: at
every delivery it is known which evaluations were running, and at every claim which results had been delivered.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from zerowait.suite.sharing.journal import Record
from zerowait.suite.sharing.journal_schema import config_text, identity_of, training_seconds


@dataclass(frozen=True, slots=True)
class Violation:
    """Something in a journal that no run can have written."""

    rule: str
    """Name of the broken rule."""
    record: int | None
    """Place of the record in the journal, from 0; None when the journal as a whole is meant."""
    message: str
    """What is wrong, with the values."""
    content: str = ""
    """The record as it stands in the journal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record whose fields are in order."""

    place: int
    """Where it stands in the journal, from 0."""
    record: Record
    number: int
    slot: int
    call: int
    after: int
    freed: float
    start: float
    end: float
    runtime: float
    overhead: float
    fidelity: float | None
    status: str
    identity: bytes
    resumed_from: float | None
    idle: bool
    late: bool

    @classmethod
    def of(cls, place: int, record: Record) -> Entry:
        """Take the fields of a record that has no problems."""
        return cls(
            place=place,
            record=record,
            number=record["evaluation"],
            slot=record["slot"],
            call=record["call"],
            after=record["after"],
            freed=float(record["freed"]),
            start=float(record["start"]),
            end=float(record["end"]),
            runtime=float(record["runtime"]),
            overhead=float(record["overhead"]),
            fidelity=None if record["fidelity"] is None else float(record["fidelity"]),
            status=record["status"],
            identity=identity_of(record),
            resumed_from=float(record["resumed_from"]) if "resumed_from" in record else None,
            idle=record.get("idle", False),
            late="late" in record,
        )

    def __str__(self) -> str:
        """Name it in a message."""
        return f"evaluation {self.number} (start {self.start!r} s, end {self.end!r} s)"

    @property
    def is_lost(self) -> bool:
        """Whether its worker died; then its start and end are not those that the rules of simulated time gave it."""
        return self.status == "lost"

    @property
    def from_scratch(self) -> float:
        """Seconds of the whole training up to its fidelity."""
        return training_seconds(self.record)

    def key(self) -> tuple[float, float, bytes, float, float, int]:
        """Return what its delivery is ordered by; written out once more, so that a mistake there is found here."""
        return (
            self.end,
            self.start,
            self.identity,
            -math.inf if self.fidelity is None else self.fidelity,
            self.freed,
            self.call,
        )

    def config_text(self) -> str:
        """Return the canonical JSON of the configuration."""
        return config_text(self.record)


# -- all records -------------------------------------------------------------------------------------------------------


class History:
    """The records of one run by number and by call; a repetition of either is left out.

    Parameters
    ----------
    entries
        Records in the order of the journal.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.by_number: dict[int, Entry] = {}
        self.by_call: dict[int, Entry] = {}
        self.repetitions: list[tuple[Entry, Entry]] = []
        for entry in entries:
            first = self.by_number.get(entry.number) or self.by_call.get(entry.call)
            if first is None:
                self.by_number[entry.number] = self.by_call[entry.call] = entry
            else:
                self.repetitions.append((entry, first))
        self.deliveries = [self.by_number[number] for number in sorted(self.by_number)]
        """In the order of their numbers."""
        self.claims = [self.by_call[call] for call in sorted(self.by_call)]
        """In the order of the calls."""
        self._calls = [entry.call for entry in self.claims]
        self._numbers = [entry.number for entry in self.deliveries]
        self._gapless = 0
        """So many records from the first one on are there."""
        while self._gapless in self.by_number:
            self._gapless += 1

    def knows(self, first: int, end: int) -> bool:
        """Tell whether the records numbered from `first` up to but not including `end` are all there."""
        return end <= first or bisect_left(self._numbers, end) - bisect_left(self._numbers, first) == end - first

    def before(self, number: int) -> int:
        """Return how many records with a lower number there are."""
        return bisect_left(self._numbers, number)

    def missing_calls(self, below: int) -> int:
        """Return how many calls before this one have no record."""
        return below - 1 - bisect_left(self._calls, below)

    def last_delivery(self, after: int) -> float | None:
        """Return the end of the last of the first `after` records, or None when that is unknown."""
        if after == 0:
            return 0.0
        last = self.by_number.get(after - 1)
        return None if last is None else last.end

    def delivered(self, after: int) -> int | None:
        """Return how many of the first `after` records reached a caller, or None when that is unknown."""
        return self._delivered[after] if after <= self._gapless else None

    @cached_property
    def _delivered(self) -> list[int]:
        counts = [0]
        for number in range(self._gapless):
            counts.append(counts[-1] + (not self.by_number[number].is_lost))
        return counts
