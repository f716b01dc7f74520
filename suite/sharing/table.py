"""The table that the processes of a run share: a header and one fixed-size record a slot, changed in transactions.

The table is plain memory; where it lives (a mapped file, a copy of a shared one) and how it is locked is the
transport's business. Everything is in cells of 8 bytes, addressed as integers (`ints`) or as floats (`floats`).

A process can be killed at any instruction of a critical section. A transaction therefore saves the header, the one slot
that it changes and the one ledger entry that it changes before it touches them; whoever locks next and finds a
transaction begun but not committed rolls it back.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zerowait.suite.rules.timeline import OrderKey, order_key
from zerowait.suite.sharing import header, record, slot_state

CELL = 8
MAGIC = int.from_bytes(b"zerowait", "big")
TEXT_BYTES = 3840
"""How much of an evaluation's description fits into its record; longer ones are spilled into a file."""


class StopReason(IntEnum):
    """Why a run takes no more calls."""

    NONE = 0
    BUDGET = 1
    WORKER_DIED = 2
    DISK = 3
    ABORTED = 4
    STALLED = 5
    WRONG_GUESS = 6
    HUNG = 7
    NO_WORKERS = 8


class Status(IntEnum):
    """How an evaluation ended; the order is that of `STATUS_NAMES`."""

    OK = 0
    FAILED = 1
    LOST = 2
    PREEMPTED = 3


STATUS_NAMES = ("ok", "failed", "lost", "preempted")

CONTRADICTS = -1
"""In the place of how often a slot was passed over, of an evaluation whose call contradicts the guess before it."""
LATE = 2
"""Beside the 1 of a clipped charge: the query took longer than the runtime, and another result has overtaken it."""

_CLAIMED = struct.Struct("=5d10q16s16s")
_RECORDED = struct.Struct("=8x5dq5d3q")
_FREED = struct.Struct("=3dq")
LEDGER_CELLS = 8
# The undo log, behind the header: marker, saved header, saved record, and the ledger entry with its place.
UNDO_MARKER = header.CELLS
UNDO_HEADER = UNDO_MARKER + 1
UNDO_RECORD = UNDO_HEADER + header.CELLS
UNDO_LEDGER_PLACE = UNDO_RECORD + record.CELLS
UNDO_LEDGER = UNDO_LEDGER_PLACE + 1
FIRST_RECORD = 512  # one page for header and undo log

NO_LEDGER_ENTRY = -1


def cells_bytes(n_slots: int) -> int:
    """Return the size of the header and the records of a run with so many slots."""
    return (FIRST_RECORD + n_slots * record.CELLS) * CELL


def table_bytes(n_slots: int) -> int:
    """Return the size of the whole table: header, records, and room for each record's description."""
    return cells_bytes(n_slots) + n_slots * TEXT_BYTES


_COLUMNS: dict[str, tuple[type, int]] = {
    "ends": (np.float64, record.END),
    "starts": (np.float64, record.START),
    "bases": (np.float64, record.BASE),
    "resumed": (np.float64, record.RESUMED_AT),
    "states": (np.int64, record.STATE),
    "passed_over": (np.int64, record.PASSED_OVER),
    "calls": (np.int64, record.CALL),
}
Numbers: TypeAlias = npt.NDArray[Any]


class SlotTable:
    """Header and records of a run in a writable buffer of `table_bytes(n_slots)` bytes."""

    def __init__(self, buffer: Any, n_slots: int) -> None:
        self.n_slots = n_slots
        self.rows = range(FIRST_RECORD, FIRST_RECORD + n_slots * record.CELLS, record.CELLS)
        """The cells at which the slots' records begin."""
        view = memoryview(buffer)
        cells = view[: cells_bytes(n_slots)]
        self.bytes = cells
        self.ints = cells.cast("q")
        self.floats = cells.cast("d")
        self._text = view[len(cells) :]
        self._header = self.ints[: header.CELLS]
        self._saved_header = self.ints[UNDO_HEADER : UNDO_HEADER + header.CELLS]
        self._saved_record = self.ints[UNDO_RECORD : UNDO_RECORD + record.CELLS]
        self._records: dict[int, memoryview] = {}
        self._end_cells = self.floats[FIRST_RECORD + record.END :: record.CELLS]
        self._state_cells = self.ints[FIRST_RECORD + record.STATE :: record.CELLS]

    def __getattr__(self, name: str) -> Numbers:
        """Return the cells of one name as an array; made when it is asked for, as most processes need none."""
        if name not in _COLUMNS:
            raise AttributeError(name)
        kind, cell = _COLUMNS[name]
        cells: Numbers = np.frombuffer(self.bytes, dtype=kind, offset=FIRST_RECORD * CELL)
        column: Numbers = cells.reshape(self.n_slots, record.CELLS)[:, cell]
        setattr(self, name, column)
        return column

    def initialise(self, arrivals: Sequence[float] = ()) -> None:
        """Make every slot free at time 0, or from the arrival of its worker on; the buffer is all zeros."""
        ints = self.ints
        ints[header.MAGIC] = MAGIC
        ints[header.SLOTS] = self.n_slots
        ints[header.OPEN] = self.n_slots
        ints[UNDO_LEDGER_PLACE] = NO_LEDGER_ENTRY
        self.ends[:] = math.inf
        for row, arrival in zip(self.rows, arrivals, strict=False):
            if arrival > 0.0:
                self.floats[row + record.FREED] = self.floats[row + record.BASE] = arrival
                ints[row + record.STATE] = slot_state.NOT_YET
                ints[header.OPEN] -= 1

    @property
    def is_whole(self) -> bool:
        """Whether the header is that of a table with so many slots."""
        return self.ints[header.MAGIC] == MAGIC and self.ints[header.SLOTS] == self.n_slots

    # -- transactions ----------------------------------------------------------------------------------------------

    def begin(self, slot: int) -> None:
        """Save the header and one record, so that a kill before `commit` can be undone."""
        ints = self.ints
        cells = self._records.get(slot)
        if cells is None:
            row = self.rows[slot]
            cells = self._records[slot] = ints[row : row + record.CELLS]
        ints[UNDO_LEDGER_PLACE] = NO_LEDGER_ENTRY
        self._saved_header[:] = self._header
        self._saved_record[:] = cells
        ints[UNDO_MARKER] = slot + 1

    def save_ledger_entry(self, place: int, entry: memoryview) -> None:
        """Save the one ledger entry that the running transaction is about to change."""
        first = UNDO_LEDGER * CELL
        self.bytes[first : first + LEDGER_CELLS * CELL] = entry
        self.ints[UNDO_LEDGER_PLACE] = place

    def commit(self) -> None:
        """Make the changes since `begin` final."""
        self.ints[UNDO_MARKER] = 0

    def roll_back(self) -> tuple[int, bytes] | None:
        """Undo the transaction that was begun; return the ledger entry to restore, as (place, bytes), if there is one.

        It stays begun until `commit`: who is killed before everything is restored is followed by one who does it again.
        """
        ints = self.ints
        row = self.rows[ints[UNDO_MARKER] - 1]
        ints[row : row + record.CELLS] = ints[UNDO_RECORD : UNDO_RECORD + record.CELLS]
        ints[: header.CELLS] = ints[UNDO_HEADER : UNDO_HEADER + header.CELLS]
        place = ints[UNDO_LEDGER_PLACE]
        if place == NO_LEDGER_ENTRY:
            return None
        first = UNDO_LEDGER * CELL
        return place, bytes(self.bytes[first : first + LEDGER_CELLS * CELL])

    def is_uncommitted(self, slot: int) -> bool:
        """Tell whether a transaction on this slot may yet be rolled back; for who reads without the lock."""
        return bool(self.ints[UNDO_MARKER] == slot + 1)

    # -- records ---------------------------------------------------------------------------------------------------

    def digest(self, slot: int) -> bytes:
        """Return the 16-byte identity of the evaluation in a slot."""
        first = (self.rows[slot] + record.DIGEST) * CELL
        return bytes(self.bytes[first : first + 16])

    def config_digest(self, slot: int) -> bytes:
        """Return the 16-byte digest of the configuration in a slot."""
        first = (self.rows[slot] + record.CONFIG_DIGEST) * CELL
        return bytes(self.bytes[first : first + 16])

    def write_claim(self, row: int, *fields: Any) -> None:
        """Write the cells that a claim fills: START to SPILLED, and the digests of identity and configuration."""
        _CLAIMED.pack_into(self.bytes, (row + record.START) * CELL, *fields)

    def recorded(self, row: int) -> tuple[Any, ...]:
        """Return what a journal record tells of an evaluation.

        END, CHARGED, FREED, BASE, RESUMED_AT, PASSED_OVER, START, OVERHEAD, FIDELITY, RESUMED_FROM,
        RUNTIME, CALL, AFTER, CLIPPED.
        """
        return _RECORDED.unpack_from(self.bytes, row * CELL)

    def write_freed(self, row: int, end: float, resumed_at: float) -> None:
        """Write the cells that a delivery fills: FREED, BASE, RESUMED_AT and PASSED_OVER, and END."""
        _FREED.pack_into(self.bytes, (row + record.FREED) * CELL, end, end, resumed_at, 0)
        # The end stays readable in record.FREED; record.END is what the search for the least looks at.
        self.floats[row + record.END] = math.inf

    def key(self, slot: int) -> OrderKey:
        """Return what the delivery of a finished evaluation is ordered by."""
        ints, floats, row = self.ints, self.floats, self.rows[slot]
        fidelity = floats[row + record.FIDELITY]
        return order_key(
            floats[row + record.END],
            floats[row + record.START],
            self.digest(slot),
            None if math.isnan(fidelity) else fidelity,
            floats[row + record.FREED],
            ints[row + record.CALL],
        )

    def least_finished(self) -> int | None:
        """Return the slot of the finished evaluation that comes first in the order of delivery, or None."""
        ends = self._end_cells.tolist()
        end = min(ends)
        if end == math.inf:
            return None
        if ends.count(end) == 1:
            slot: int = ends.index(end)
            return slot
        return min((slot for slot, other in enumerate(ends) if other == end), key=self.key)

    def slots_in(self, *states: int) -> list[int]:
        """Return the slots that are in one of these states, in ascending order."""
        return [slot for slot, state in enumerate(self._state_cells.tolist()) if state in states]

    def text(self, slot: int) -> bytes:
        """Return the description of the evaluation in a slot, as far as it stands in the record."""
        first = slot * TEXT_BYTES
        return bytes(self._text[first : first + self.ints[self.rows[slot] + record.TEXT]])

    def write_text(self, slot: int, offset: int, text: bytes) -> bool:
        """Write a part of the description at `offset`; return False when it does not fit."""
        if offset + len(text) > TEXT_BYTES:
            return False
        first = slot * TEXT_BYTES + offset
        self._text[first : first + len(text)] = text
        return True
