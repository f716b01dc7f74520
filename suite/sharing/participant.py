"""One process's part in a run, whatever the transport: its open files, its number, and the critical section.

The kernel drops the lock on a process's number when the process dies; that is how the others learn of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from zerowait.suite.rules.errors import RunDirectoryError, SpecificationError
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.fd_limit import open_descriptor
from zerowait.suite.sharing.locks import Locks
from zerowait.suite.sharing.processes import Process, is_alive
from zerowait.suite.sharing.regular_files import open_regular
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.table import UNDO_MARKER, SlotTable

_open_file = partial(open_regular, flags=os.O_RDWR)


class Participant:
    """What both transports share; threads of a process share one of them.

    Parameters
    ----------
    directory
        The run's files.
    n_slots
        How many slots the run has.
    """

    directory: RunDirectory
    table: SlotTable
    _locks: Locks

    def __init__(self, directory: RunDirectory, n_slots: int) -> None:
        self.directory = directory
        self.n_slots = n_slots
        self.process = 0
        self._descriptors: list[int] = []
        self._held: set[int] = set()
        # Re-entrant, because only such a lock can be asked whether this very thread holds it: see let_go.
        self._mutex = threading.RLock()
        self._inside = False

    # -- files -----------------------------------------------------------------------------------------------------

    def _open(self, path: Path, open_it: Callable[[Path], int] = _open_file) -> int:
        descriptor = open_descriptor(path, open_it)
        self._descriptors.append(descriptor)
        return descriptor

    def _open_journal(self) -> int:
        descriptor = self._open(self.directory.journal)
        self._journal_file = os.fstat(descriptor)
        return descriptor

    @property
    def closed(self) -> bool:
        """Whether the files have been closed, by `close` or in the child of a fork."""
        return not self._descriptors

    @property
    def in_use(self) -> bool:
        """Whether a caller of this process holds a slot."""
        return bool(self._held)

    def is_current(self) -> bool:
        """Tell whether the directory still holds this run, and not a later one or none."""
        return self.directory.journal_is(self._journal_file)

    def close(self) -> None:
        """Close the descriptors; the kernel releases what they held."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    # -- the critical section --------------------------------------------------------------------------------------

    def _lock(self) -> None:
        """Keep the other processes out, and have the table as it stands."""
        raise NotImplementedError

    def _unlock(self) -> None:
        """Let the other processes in."""
        raise NotImplementedError

    def _publish(self) -> None:
        """Make what was changed in the table visible to the other processes."""

    def roll_back(self) -> None:
        """Undo the transaction that was begun."""
        raise NotImplementedError

    def __enter__(self) -> SlotTable:
        self._mutex.acquire()
        if self._inside:
            self._mutex.release()
            raise SpecificationError(
                "the simulator was called while it works out a start; an overhead model must be a function of the "
                "number of results alone"
            )
        try:
            self._inside = True
            self._lock()
        except BaseException:
            self.let_go()
            raise
        return self.table

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.table.ints[UNDO_MARKER]:  # an exception came in the middle of a transaction
                self.roll_back()
            self._publish()
        finally:
            self._unlock()
            self._inside = False
            self._mutex.release()

    def let_go(self) -> None:
        """Leave the critical section if this thread is still in it: an interrupt can come at any instruction above.

        Every way out of the simulator by an exception leads through here.
        """
        if not self._mutex.acquire(blocking=False):
            return  # another thread is inside, so this one is not
        try:
            if self._inside and not self.closed:
                self._lock()
                if self.table.ints[UNDO_MARKER]:
                    self.roll_back()
                self._unlock()
        finally:
            self._inside = False
            with contextlib.suppress(RuntimeError):  # released as often as it was acquired
                while True:
                    self._mutex.release()

    # -- who holds a slot ------------------------------------------------------------------------------------------

    def _acquire_number(self) -> None:
        """Get a number in the run and lock its byte for as long as this process lives."""
        with self as table:
            number = table.ints[header.PROCESSES] + 1
            if number > 1 and not self._somebody_lives(number):
                self._let_time_stand_still(table)
            if not self._locks.take_number(number):
                raise RunDirectoryError(f"{self.directory.root} is damaged: process number {number} is taken")
            table.ints[header.PROCESSES] = self.process = number

    def _somebody_lives(self, n: int) -> bool:
        """Tell whether one of the first n - 1 processes is still there, or this one has been there before.

        A process that has closed its files (as one with many runs does) holds no lock, but has registered.
        """
        if self._locks.is_any_taken(n - 1):
            return True
        try:
            return any(is_alive(*process) for process in self.participants())
        except FileNotFoundError:
            return False  # whoever created the run was killed before it could register

    def _let_time_stand_still(self, table: SlotTable) -> None:
        """Take out the real time since the last sign of life: nobody lived who could have thought about a call.

        What sign of life there was is the last result that was taken. Also right after the machine was started anew
        meanwhile, and its clock with it.
        """
        floats = table.floats
        if not floats[header.ORIGIN]:
            return  # simulated time has not begun
        now = self.now()
        absent = now - (floats[header.LAST_RETURN] or floats[header.ORIGIN])
        table.resumed[:] = np.minimum(table.resumed + absent, now)
        floats[header.ORIGIN] += absent
        floats[header.STOOD_STILL] = now
        for sign in (header.LAST_CALL, header.WORK_AT):
            floats[sign] = min(floats[sign] + absent, now) if floats[sign] else 0.0
        floats[header.BUSY_AT] = min(floats[header.BUSY_AT] + absent, now)
        if floats[header.LAST_RETURN]:
            floats[header.LAST_RETURN] = now

    @staticmethod
    def now() -> float:
        """Return real seconds on a clock that all processes of the run share."""
        raise NotImplementedError

    def participants(self) -> set[Process]:
        """Return the processes of this host that have registered."""
        raise NotImplementedError

    def hold(self, slot: int) -> None:
        """Note that a caller of this process holds the slot."""
        self._held.add(slot)

    def release(self, slot: int) -> None:
        """Note that the caller has let go of the slot."""
        self._held.discard(slot)

    def is_held(self, slot: int) -> bool:
        """Tell whether the caller that claimed the slot is still there."""
        process = self.table.ints[self.table.rows[slot] + record.PROCESS]
        return slot in self._held if process == self.process else self._locks.is_taken(process)

    def lives(self, process: int) -> bool:
        """Tell whether the process of this number has the run open."""
        return process == self.process or self._locks.is_taken(process)

    def has_left_a_slot(self) -> bool:
        """Tell whether a caller of this process has let go of its slot without dealing with what was in it."""
        ints, rows = self.table.ints, self.table.rows
        busy = self.table.slots_in(slot_state.EVALUATING, slot_state.FINISHED)
        return any(slot not in self._held and ints[rows[slot] + record.PROCESS] == self.process for slot in busy)
