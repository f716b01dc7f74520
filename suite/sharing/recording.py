"""An evaluation's way into the journal: its description, its record, and the slot that it frees."""

from __future__ import annotations

from collections.abc import Callable

from zerowait.suite.sharing import header, record
from zerowait.suite.sharing.end_of_run import EndOfRun
from zerowait.suite.sharing.journal import line
from zerowait.suite.sharing.journal_schema import Release, numbers_text
from zerowait.suite.sharing.spill import description
from zerowait.suite.sharing.table import StopReason
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
    measured
        Whether overhead is measured, so that a record tells when its call came.
    """

    def __init__(self, transport: Transport, end: EndOfRun, now: Callable[[], float], *, measured: bool) -> None:
        self._measured = measured
        self._transport = transport
        self._table = transport.table
        self._end = end
        self._now = now

    def record(self, slot: int, release: Release = Release.DUE) -> bool:
        """Append the journal record of a finished evaluation, in a transaction; return False when that failed."""
        ints = self._table.ints
        numbers = numbers_text(self._table, slot, self._now(), release, measured=self._measured)
        data = line(b"%b%b}" % (numbers, description(self._transport, slot)))
        try:
            self._transport.append(data, ints[header.JOURNAL_END])
        except OSError as error:
            self._transport.roll_back()
            self._end.come(StopReason.DISK, error.errno or 0)
            return False
        ints[header.JOURNAL_END] += len(data)
        ints[header.RECORDED] += 1
        return True

    def free(self, row: int, state: int, end: float, resumed_at: float) -> None:
        """Free a slot whose evaluation has been recorded with this end."""
        table, ints = self._table, self._table.ints
        ints[header.OPEN] += 1
        ints[header.EVENTS] += 1
        table.write_freed(row, end, resumed_at)
        ints[row + record.STATE] = state
