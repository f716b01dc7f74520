"""How the processes of a run share it: a transport stores the table, locks it and wakes who waits.

Wake-ups are hints: whoever is woken looks at the table. `LocalTransport` serves the processes of one host with a mapped
table, flock, one lock a process that the kernel releases, and one FIFO a slot; `shared_directory` serves several hosts.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from zerowait.suite.rules.continuation import State
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.journal import append
from zerowait.suite.sharing.ledger import FIRST_CAPACITY, MappedEntries, SharedLedger
from zerowait.suite.sharing.locks import LOCK_EX, LOCK_UN, ByteLocks, flock
from zerowait.suite.sharing.participant import Participant
from zerowait.suite.sharing.processes import Process, this_process
from zerowait.suite.sharing.regular_files import open_fifo, open_regular
from zerowait.suite.sharing.rundir import RunDirectory, explained
from zerowait.suite.sharing.system import allocate
from zerowait.suite.sharing.table import UNDO_MARKER, SlotTable, table_bytes

# How many descriptors a process keeps open for waking others, and for waiting: the usual limit is 1024.
_MAX_WRITING = 192
_MAX_READING = 256


class RunLedger(Protocol):
    """The states of a run that can be continued; used in the critical section."""

    def check_identity(self, identity: bytes, config: bytes, config_id: str, canonical: str) -> None:
        """Bind the identity to the configuration, or raise `SpecificationError` when it is bound to another one."""

    def take(self, identity: bytes, fidelity: float, start: float) -> State | None:
        """Consume and return the state that an evaluation at this fidelity and start continues, or None."""

    def add(self, identity: bytes, config: bytes, state: State) -> None:
        """Record a delivered evaluation as a state that can be continued."""

    def reserve(self) -> None:
        """Make room for the entries of the next transaction; called outside of one."""


class Transport(Protocol):
    """One process's access to a run; entering it is the critical section."""

    directory: RunDirectory
    table: SlotTable

    @property
    def ledger(self) -> RunLedger:
        """The states that can be continued."""

    @property
    def closed(self) -> bool:
        """Whether the files have been closed, by `close` or in the child of a fork."""

    @property
    def in_use(self) -> bool:
        """Whether a caller of this process holds a slot."""

    def is_current(self) -> bool:
        """Tell whether the directory still holds this run, and not a later one or none."""

    def __enter__(self) -> SlotTable:
        """Lock the run and return its table as it stands."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish the table and unlock the run; a transaction that an exception cut short is rolled back."""

    def now(self) -> float:
        """Return real seconds on a clock that all processes of the run share."""

    process: int
    """Number of this process in the run; the kernel drops its lock when the process dies."""

    def hold(self, slot: int) -> None:
        """Note that a caller of this process holds the slot."""

    def release(self, slot: int) -> None:
        """Note that the caller has let go of the slot."""

    def is_held(self, slot: int) -> bool:
        """Tell whether the caller that claimed the slot is still there."""

    def lives(self, process: int) -> bool:
        """Tell whether the process of this number has the run open."""

    def has_left_a_slot(self) -> bool:
        """Tell whether a caller of this process has let go of its slot without dealing with what was in it."""

    def let_go(self) -> None:
        """Leave the critical section if this thread is still in it, after an exception."""

    def take(self, slot: int) -> None:
        """Let the caller whose result has been delivered go, and its slot's clock run from now."""

    def wake(self, slot: int) -> None:
        """Wake the caller that waits in this slot; called in the critical section."""

    def wait(self, slot: int, timeout: float) -> bool:
        """Sleep until this slot is woken or `timeout` seconds have passed; tell whether it was woken."""

    def register(self) -> None:
        """Note that this process takes part in the run, although it may never hold a slot."""

    def participants(self) -> set[Process]:
        """Return the processes of this host that have registered."""

    def append(self, data: bytes, offset: int) -> None:
        """Write a journal line at `offset`."""

    def roll_back(self) -> None:
        """Undo the transaction that was begun, in the table, in the ledger and in the journal."""

    def close(self) -> None:
        """Close the files; the kernel releases what they held."""


def create(
    directory: RunDirectory, n_slots: int, *, continual: bool, arrivals: Sequence[float] = (), in_order: bool = True
) -> None:
    """Make the files of a run; its blocks are allocated now, because a full disk kills a process that writes a map.

    Where slots are not claimed in order, who waits for the n-th start has a place of its own.
    """
    descriptor = open_regular(directory.slots, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        allocate(descriptor, table_bytes(n_slots))
        with mmap.mmap(descriptor, table_bytes(n_slots)) as memory:
            image = bytearray(table_bytes(n_slots))
            SlotTable(image, n_slots).initialise(arrivals)
            memory[:] = bytes(image)
    finally:
        os.close(descriptor)
    # The last one is for who waits until every slot has been claimed.
    for slot in range(n_slots + 1 if in_order else 2 * n_slots + 1):
        path = directory.wake(slot)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    directory.make_journal()
    if continual:
        MappedEntries(directory).create(0, FIRST_CAPACITY)


class LocalTransport(Participant):
    """One process's access to a run on this host; shared by its threads."""

    now = staticmethod(time.perf_counter)  # CLOCK_MONOTONIC, which all processes of a host share

    def __init__(self, directory: RunDirectory, n_slots: int) -> None:
        super().__init__(directory, n_slots)
        self._to_wake: list[int] = []
        self._writing: dict[int, int] = {}
        self._reading: dict[int, tuple[int, select.poll]] = {}
        with explained(directory.root, "open the run"):
            self._lock_file = self._open(directory.lock)
            self._locks = ByteLocks(self._lock_file)
            self._journal = self._open_journal()
            descriptor = open_regular(directory.slots, os.O_RDWR)
            try:
                size = os.fstat(descriptor).st_size
                if size != table_bytes(n_slots):
                    self.close()
                    raise RunDirectoryError(
                        f"{directory.slots} has {size} bytes instead of {table_bytes(n_slots)}: it is damaged"
                    )
                memory = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
        self.table = SlotTable(memory, n_slots)
        if not self.table.is_whole:
            self.close()
            raise RunDirectoryError(f"{directory.slots} does not begin like a table of {n_slots} slots: it is damaged")
        self.ledger = SharedLedger(self.table, MappedEntries(directory))
        self._acquire_number()

    def close(self) -> None:
        """Close the descriptors; the kernel releases what they held."""
        super().close()
        self._writing.clear()
        self._reading.clear()

    # -- the critical section --------------------------------------------------------------------------------------

    def _lock(self) -> None:
        flock(self._lock_file, LOCK_EX)
        if self.table.ints[UNDO_MARKER]:  # whoever was here before was killed
            self.roll_back()

    def _unlock(self) -> None:
        if self._descriptors:
            flock(self._lock_file, LOCK_UN)
        # Not before: the kernel runs who is woken at once, in place of this process, and it would wait for the lock.
        while self._to_wake:
            self._write_wake_up(self._to_wake.pop())

    def roll_back(self) -> None:
        """Undo the transaction that was begun, in the table, in the ledger and in the journal."""
        entry = self.table.roll_back()
        if entry is not None:
            self.ledger.restore(*entry)
        # Nobody was given what the line says, and the next one may be shorter.
        os.ftruncate(self._journal, self.table.ints[header.JOURNAL_END])
        self.table.commit()

    def take(self, slot: int) -> None:
        """Let the caller whose result has been delivered go, and its slot's clock run from now.

        Without the lock: while this process lives, nobody else touches a slot in this state, and each store is a single
        one. (header.LAST_RETURN may be set back by somebody's roll-back; it only says how long a pause was.)
        """
        self.release(slot)
        if len(self._reading) > _MAX_READING and slot in self._reading:
            self._close(self._reading.pop(slot)[0])
        ints, floats, row = self.table.ints, self.table.floats, self.table.rows[slot]
        floats[header.LAST_RETURN] = floats[row + record.RESUMED_AT] = self.now()
        ints[row + record.STATE] = slot_state.FREE

    # -- waking ----------------------------------------------------------------------------------------------------

    def wake(self, slot: int) -> None:
        """Wake the caller that waits in this slot when the critical section, in which this is called, has been left."""
        self._to_wake.append(slot)

    def _write_wake_up(self, slot: int) -> None:
        descriptor = self._writing.get(slot)
        if descriptor is None:
            if len(self._writing) >= _MAX_WRITING:
                self._close(self._writing.pop(next(iter(self._writing))))
            try:
                descriptor = self._writing[slot] = self._open_fifo(slot)
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                self._write_without_keeping(slot)
                return
        with contextlib.suppress(BlockingIOError):  # full of earlier wake-ups, so the caller is awake
            os.write(descriptor, b"!")

    def _write_without_keeping(self, slot: int) -> None:
        """Ring with a descriptor that is closed at once: too many threads wait here for one to be kept."""
        descriptor = open_fifo(self.directory.wake(slot))
        try:
            with contextlib.suppress(BlockingIOError):
                os.write(descriptor, b"!")
        finally:
            os.close(descriptor)

    def wait(self, slot: int, timeout: float) -> bool:
        """Sleep until this slot is woken or `timeout` seconds have passed; tell whether it was woken.

        Only the holder of a slot waits in it, or the one caller that waits for the slot's first claim.
        """
        reading = self._reading.get(slot)
        if reading is None:
            descriptor = self._open_fifo(slot)
            reading = self._reading[slot] = descriptor, select.poll()
            reading[1].register(descriptor, select.POLLIN)
        if not reading[1].poll(timeout * 1000.0):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(reading[0], 4096)
        return True

    def _open_fifo(self, slot: int) -> int:
        path = self.directory.wake(slot)
        try:
            return self._open(path, open_fifo)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        with self._mutex:  # nobody rings
            while self._writing:  # only kept because they may be needed again
                self._close(self._writing.popitem()[1])
            return self._open(path, open_fifo)

    def _close(self, descriptor: int) -> None:
        self._descriptors.remove(descriptor)
        os.close(descriptor)

    # -- who takes part --------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Note that this process takes part in the run, although it may never hold a slot."""
        self.directory.add_participant("{} {}\n".format(*this_process()))

    def participants(self) -> set[Process]:
        """Return the processes that have registered."""
        return {(pid, born) for pid, born, _ in self.directory.read_participants()}

    # -- files -----------------------------------------------------------------------------------------------------

    def append(self, data: bytes, offset: int) -> None:
        """Write a journal line at `offset`."""
        written = os.pwrite(self._journal, data, offset)
        if written < len(data):
            append(self._journal, data[written:], offset + written)
