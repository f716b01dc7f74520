"""An evaluation's way into the journal: its description, its record, and the slot that it frees."""

from __future__ import annotations

import math
from collections.abc import Callable

from zerowait.suite.sharing import header, record
from zerowait.suite.sharing.end_of_run import EndOfRun
from zerowait.suite.sharing.journal import line
from zerowait.suite.sharing.journal_schema import Release, numbers_text
from zerowait.suite.sharing.spill import description
from zerowait.suite.sharing.table import SlotState, StopReason
from zerowait.suite.sharing.transport import Transport


class Recorder:
    """Appends records of finished evaluations, in transactions that the caller has begun.

    Parameters
    ----------
    transport
        The run's files.
    end
        What ends the run when a record cannot be written.
    now
        The run's clock, in real seconds.
    """

    def __init__(self, transport: Transport, end: EndOfRun, now: Callable[[], float]) -> None:
        self._transport = transport
        self._end = end
        self._now = now

    def record(self, slot: int, release: Release = Release.DUE) -> bool:
        """Append the journal record of a finished evaluation, in a transaction; return False when that failed."""
        ints = self._transport.table.ints
        numbers = numbers_text(self._transport.table, slot, self._now(), release)
        data = line(numbers + description(self._transport, slot) + b"}")
        try:
            self._transport.append(data, ints[header.JOURNAL_END])
        except OSError as error:
            self._transport.roll_back()
            self._end.come(StopReason.DISK, error.errno or 0)
            return False
        ints[header.JOURNAL_END] += len(data)
        ints[header.RECORDED] += 1
        return True

    def free(self, row: int, state: SlotState, end: float, resumed_at: float) -> None:
        """Free a slot whose evaluation has been recorded with this end."""
        ints, floats = self._transport.table.ints, self._transport.table.floats
        ints[header.OPEN] += 1
        ints[header.EVENTS] += 1
        floats[row + record.FREED] = floats[row + record.BASE] = end
        floats[row + record.RESUMED_AT] = resumed_at
        ints[row + record.PASSED_OVER] = 0
        # The end stays readable in record.FREED; record.END is what the search for the least looks at.
        floats[row + record.END] = math.inf
        ints[row + record.STATE] = state
