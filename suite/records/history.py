"""The records of a run as its history: typed, in order, and with what is known of the moments between them.

A record says which call it was (`call`, from 1 in the order of the claims) and how many records the journal held when
it was claimed (`after`). The order of all claims and deliveries follows from these two, so a run can be replayed: at
every delivery it is known which evaluations were running, and at every claim which results had been delivered.
"""

from __future__ import annotations

import json
import math
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zerowait.suite.records.journal_to_trace import config_text, identity_of
from zerowait.suite.rules.errors import shown
from zerowait.suite.rules.identity import is_text
from zerowait.suite.sharing.journal import Record
from zerowait.suite.sharing.table import STATUS_NAMES

# -- fields ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of a record must be."""

    meaning: str
    allows: Callable[[Any], bool]
    required: bool = True


_LARGEST_FLOAT = sys.float_info.max
_LARGEST_COUNT = 2**63 - 1  # what the table of slots can hold


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_config(value: Any) -> bool:
    try:
        return type(value) is dict and bool(json.dumps(value))
    except RecursionError:
        return False


_COUNT = Field("an integer from 0 to 2**63 - 1", lambda v: type(v) is int and 0 <= v <= _LARGEST_COUNT)
_SECONDS = Field("a finite number of at least 0", lambda v: _is_finite(v) and v >= 0)
_FLAG = Field("true, or left out", lambda v: v is True, required=False)
FIELDS: Mapping[str, Field] = {
    "evaluation": _COUNT,
    "slot": _COUNT,
    "call": Field("an integer from 1 to 2**63 - 1", lambda v: type(v) is int and 1 <= v <= _LARGEST_COUNT),
    "after": _COUNT,
    "freed": _SECONDS,
    "start": _SECONDS,
    "end": _SECONDS,
    "runtime": _SECONDS,
    "overhead": _SECONDS,
    "wall": Field("a finite number", _is_finite),
    "config_id": Field("a string", lambda v: type(v) is str and is_text(v)),
    "named": _FLAG,
    "fidelity": Field("a finite number or null", lambda v: v is None or _is_finite(v)),
    "seed": Field(_COUNT.meaning, _COUNT.allows, required=False),
    "config": Field("an object", _is_config),
    "status": Field(f"one of {', '.join(STATUS_NAMES)}", lambda v: type(v) is str and v in STATUS_NAMES),
    "value": Field("a number", _is_number),
    "metrics": Field("an object of numbers", lambda v: type(v) is dict and all(map(_is_number, v.values()))),
    "error": Field("a string", lambda v: type(v) is str, required=False),
    "resumed_from": Field("a finite number", _is_finite, required=False),
    "clipped": Field("true or false", lambda v: type(v) is bool, required=False),
    "from_scratch": Field(_SECONDS.meaning, _SECONDS.allows, required=False),
    "idle": _FLAG,
}
"""The fields of a record; those of a continued evaluation come together or not at all."""
_CONTINUED = ("resumed_from", "clipped", "from_scratch")


def problems(record: Record) -> Iterator[str]:
    """Yield what is wrong with the fields of a record, seen by itself."""
    for name, field in FIELDS.items():
        if name not in record:
            if field.required:
                yield f"{name} is missing"
        elif not field.allows(record[name]):
            yield f"{name} is {shown(record[name])}; it must be {field.meaning}"
    for name in sorted(record.keys() - FIELDS.keys()):
        yield f"{shown(name)} is no field of a record"
    if len({name in record for name in _CONTINUED}) > 1:
        yield f"only some of {', '.join(_CONTINUED)} are there; a continued evaluation has all of them"
    given = record.get("config_id")
    if type(given) is str and not record.get("named") and not re.fullmatch("[0-9a-f]{32}", given):
        yield f"config_id is {shown(given)}; it must be a digest of 32 hexadecimal digits, or named by the optimizer"


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
        return self.runtime if self.resumed_from is None else float(self.record["from_scratch"])

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
