"""How far a run has come for sure, for who only looks on: what its table of slots says of its journal.

A process that is killed between writing a line and committing it leaves a line whose result nobody was given, and who
looks on while the run is at work may see one that is just being written. Only the table knows the difference.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.sharing import header
from zerowait.suite.sharing.regular_files import read_regular_file
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.shared_directory import read_header
from zerowait.suite.sharing.table import CELL, FIRST_RECORD, MAGIC, UNDO_HEADER, UNDO_MARKER

_HEADER_BYTES = FIRST_RECORD * CELL
_MOST_LOOKS = 100


@dataclass(frozen=True, slots=True)
class Committed:
    """The part of a journal that is the run's."""

    n_records: int
    """How many lines."""
    size: int
    """In how many bytes."""


def committed(run: RunDirectory, n_slots: int, *, shared_directory: bool) -> Committed | None:
    """Return what the run is sure to have recorded; None when its slot table is gone.

    Raises
    ------
    RunDirectoryError
        The table cannot be read, or is none of a run with so many slots.
    """
    try:
        head = _header(run, n_slots, shared_directory)
        # It is read without the lock, perhaps in the middle of a change: until it has been the same twice.
        for _ in range(_MOST_LOOKS):
            before, head = head, _header(run, n_slots, shared_directory)
            if head == before:
                break
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunDirectoryError(f"{run.slots} cannot be read: {error.strerror}") from None
    cells = struct.unpack(f"={FIRST_RECORD}q", head.ljust(_HEADER_BYTES, b"\0"))
    if (cells[header.MAGIC], cells[header.SLOTS]) != (MAGIC, n_slots):
        raise RunDirectoryError(f"{run.slots} does not hold a table of {n_slots} slots: it is damaged")
    # Within a transaction the saved header is the one that counts.
    first = UNDO_HEADER if cells[UNDO_MARKER] else 0
    n_records, size = cells[first + header.RECORDED], cells[first + header.JOURNAL_END]
    if not 0 <= n_records <= size:  # every record has a byte at least
        raise RunDirectoryError(f"{run.slots} counts {n_records} records in {size} bytes: it is damaged")
    return Committed(n_records, size)


def _header(run: RunDirectory, n_slots: int, shared_directory: bool) -> bytes:  # noqa: FBT001 - as it came
    if shared_directory:
        return read_header(run, n_slots)
    return read_regular_file(run.slots, _HEADER_BYTES)
