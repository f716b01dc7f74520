"""A run that workers on several hosts share: a directory on a network file system, and nothing else.

The same state machine as on one host, with what a network file system offers: byte-range locks instead of flock,
`pread` and `pwrite` instead of a mapping, and a bounded exponential back-off instead of FIFOs. The locks are taken on
the table's own file, because a client reads a file anew when it locks it and writes it back before it unlocks it; the
journal is another file and is flushed before the lock is given up. On other systems than Linux every run is such a one,
under locks of whole files.

The table exists twice. A critical section works on a copy in memory, writes it over the older one, and then turns the
pointer, so a process that is killed at any moment leaves the table that was valid before.
"""

from __future__ import annotations

import math
import os
import platform
import struct
import time
from collections.abc import Sequence
from typing import Any

from zerowait.suite.rules.continuation import State, best_state, id_disagrees
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.rules.identity import digest
from zerowait.suite.sharing import activity, header, journal, record, slot_state
from zerowait.suite.sharing.journal_schema import config_text, identity_of, training_seconds
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS, ByteLocks, FileLocks, Locks
from zerowait.suite.sharing.participant import Participant
from zerowait.suite.sharing.processes import Process, this_process
from zerowait.suite.sharing.regular_files import open_regular, read_regular_file
from zerowait.suite.sharing.rundir import RunDirectory, explained
from zerowait.suite.sharing.system import allocate
from zerowait.suite.sharing.table import CELL, FIRST_RECORD, TEXT_BYTES, SlotTable, cells_bytes

_POINTER = struct.Struct("=q")
_FIRST_AREA = 4096
_FIRST_DELAY, _LONGEST_DELAY = 0.0005, 0.05  # real seconds


def _file_bytes(n_slots: int) -> int:
    return _FIRST_AREA + 2 * cells_bytes(n_slots) + n_slots * TEXT_BYTES


def create(directory: RunDirectory, n_slots: int, arrivals: Sequence[float] = ()) -> None:
    """Make the files of a run that several hosts share."""
    image = bytearray(cells_bytes(n_slots))
    SlotTable(image, n_slots).initialise(arrivals)
    descriptor = open_regular(directory.slots, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        allocate(descriptor, _file_bytes(n_slots))
        os.pwrite(descriptor, image, _FIRST_AREA)
        os.pwrite(descriptor, _POINTER.pack(0), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    directory.make_journal()


def read_header(directory: RunDirectory, n_slots: int) -> bytes:
    """Return the header and undo log of the table that is valid now, for who only looks on."""
    pointer = read_regular_file(directory.slots, _POINTER.size)
    (area,) = _POINTER.unpack(pointer.ljust(_POINTER.size, b"\0"))
    return read_regular_file(directory.slots, FIRST_RECORD * CELL, _FIRST_AREA + (area & 1) * cells_bytes(n_slots))


class _Table(SlotTable):
    """The copy in memory; descriptions of evaluations stay in the file."""

    def __init__(self, image: bytearray, n_slots: int, descriptor: int) -> None:
        super().__init__(image, n_slots)
        self._descriptor = descriptor
        self._first_text = _FIRST_AREA + 2 * cells_bytes(n_slots)

    def text(self, slot: int) -> bytes:
        length = self.ints[self.rows[slot] + record.TEXT]
        return os.pread(self._descriptor, length, self._first_text + slot * TEXT_BYTES)

    def write_text(self, slot: int, offset: int, text: bytes) -> bool:
        if offset + len(text) > TEXT_BYTES:
            return False
        os.pwrite(self._descriptor, text, self._first_text + slot * TEXT_BYTES + offset)
        return True


class SharedDirectoryTransport(Participant):
    """One process's access to a run that several hosts share; shared by its threads.

    Measured overhead needs hosts whose clocks agree. CPU time is seen on the own host only, so give `Idle(after=...)`
    enough time for an optimizer that thinks on another one.
    """

    now = staticmethod(time.time)  # the only clock that hosts have in common

    def __init__(self, directory: RunDirectory, n_slots: int) -> None:
        super().__init__(directory, n_slots)
        with explained(directory.root, "open the run"):
            self._file = self._open(directory.slots)
            self._journal = self._open_journal()
        size = os.fstat(self._file).st_size
        if size != _file_bytes(n_slots):
            self.close()
            raise RunDirectoryError(
                f"{directory.slots} has {size} bytes instead of {_file_bytes(n_slots)}: it is damaged"
            )
        self._locks: Locks = (
            ByteLocks(self._file) if HAS_BYTE_LOCKS else FileLocks(self._file, directory.number, self._open)
        )
        self._image = bytearray(cells_bytes(n_slots))
        self._area = 0
        self.table: SlotTable = _Table(self._image, n_slots, self._file)
        self.ledger = JournalLedger(self)
        with self:
            whole = self.table.is_whole
        if not whole:
            self.close()
            raise RunDirectoryError(f"{directory.slots} does not hold a table of {n_slots} slots: it is damaged")
        self._acquire_number()

    # -- the critical section --------------------------------------------------------------------------------------

    def _lock(self) -> None:
        self._locks.lock()
        self._load()

    def _unlock(self) -> None:
        if self._descriptors:
            self._locks.unlock()

    def _area_offset(self, area: int) -> int:
        return _FIRST_AREA + area * len(self._image)

    def _load(self) -> None:
        self._area = _POINTER.unpack(os.pread(self._file, _POINTER.size, 0))[0]
        stored = os.pread(self._file, len(self._image), self._area_offset(self._area))
        if stored != self._image:
            self._image[:] = stored
        self._stored = stored

    def _publish(self) -> None:
        if self._image == self._stored:
            return
        other = 1 - self._area
        os.pwrite(self._file, self._image, self._area_offset(other))
        os.pwrite(self._file, _POINTER.pack(other), 0)

    def roll_back(self) -> None:
        """Undo the transaction that was begun; the ledger follows from the table and the journal."""
        self.table.roll_back()
        self.table.commit()

    def take(self, slot: int) -> None:
        """Let the caller whose result has been delivered go, and its slot's clock run from now."""
        with self as table:
            self.release(slot)
            row = table.rows[slot]
            table.floats[header.LAST_RETURN] = table.floats[row + record.RESUMED_AT] = self.now()
            table.ints[row + record.STATE] = slot_state.FREE

    # -- waking ----------------------------------------------------------------------------------------------------

    def wake(self, slot: int) -> None:
        """Do nothing: who waits looks at the table by itself."""

    def wait(self, slot: int, timeout: float) -> bool:
        """Sleep until this slot changes (or anything does, if no result waits in it) or `timeout` seconds passed."""
        before = self._seen(slot)
        deadline = time.monotonic() + timeout
        delay = _FIRST_DELAY
        while True:
            with self:
                pass
            if self._seen(slot) != before:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            activity.sleep(min(delay, left))
            delay = min(2 * delay, _LONGEST_DELAY)

    def _seen(self, slot: int) -> bytes:
        if slot < self.n_slots and self.table.ints[self.table.rows[slot] + record.STATE] == slot_state.FINISHED:
            first = self.table.rows[slot] * CELL
            seen = bytes(self._image[first : first + record.CELLS * CELL])
            # After an idle release, who is next in line is woken to watch over the run.
            releases: int = self.table.ints[header.RELEASES_IN_A_ROW]
            return seen + bytes([1]) * (releases > 0 and self.table.least_finished() == slot)
        return bytes(self._image)

    # -- who takes part --------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Note that this process takes part in the run, although it may never hold a slot."""
        self.directory.add_participant("{} {} {}\n".format(*this_process(), platform.node()))

    def participants(self) -> set[Process]:
        """Return the processes of this host that have registered."""
        return {(pid, born) for pid, born, host in self.directory.read_participants() if host == platform.node()}

    # -- files -----------------------------------------------------------------------------------------------------

    def append(self, data: bytes, offset: int) -> None:
        """Write a journal line at `offset`, so that another host reads it."""
        journal.append(self._journal, data, offset)
        # A process that was killed between record and table left a line whose result nobody was given.
        os.ftruncate(self._journal, offset + len(data))
        os.fsync(self._journal)

    def journal_lines(self, first: int) -> bytes:
        """Return the journal from an offset to its end as the table knows it."""
        # Opened anew, which is when a client asks the server.
        return read_regular_file(self.directory.journal, self.table.ints[header.JOURNAL_END] - first, first)


class JournalLedger:
    """The states that can be continued, worked out from the journal and the evaluations in flight.

    A second mapped file would not be coherent between hosts, and need not be: a record that says `resumed_from` has
    consumed the state that was delivered first among those of its configuration at that fidelity.
    """

    def __init__(self, transport: SharedDirectoryTransport) -> None:
        self._transport = transport
        self._read = 0
        self._states: dict[bytes, list[State]] = {}
        self._configs: dict[bytes, bytes] = {}

    def check_identity(self, identity: bytes, config: bytes, config_id: str, canonical: str) -> None:
        """Refuse an id that was given to another configuration before."""
        self._catch_up()
        table = self._transport.table
        for slot in table.slots_in(slot_state.EVALUATING, slot_state.FINISHED):
            self._configs.setdefault(table.digest(slot), table.config_digest(slot))
        if self._configs.setdefault(identity, config) != config:
            raise id_disagrees(config_id, canonical)

    def take(self, identity: bytes, fidelity: float, start: float) -> State | None:
        """Return the state that an evaluation at this fidelity and start continues, or None."""
        self._catch_up()
        states = list(self._states.get(identity, ()))
        table = self._transport.table
        for slot in table.slots_in(slot_state.EVALUATING, slot_state.FINISHED):
            resumed_from = table.floats[table.rows[slot] + record.RESUMED_FROM]
            if not math.isnan(resumed_from) and table.digest(slot) == identity:
                _consume(states, resumed_from)
        found = best_state(enumerate(states), fidelity, start)
        return None if found is None else found[1]

    def add(self, identity: bytes, config: bytes, state: State) -> None:
        """Do nothing: the journal says it."""

    def reserve(self) -> None:
        """Do nothing: memory grows by itself."""

    def _catch_up(self) -> None:
        data = self._transport.journal_lines(self._read)
        for raw in data.splitlines(keepends=True):
            record = journal.parse(raw, 0)
            if isinstance(record, journal.Damage):
                raise RunDirectoryError(f"{self._transport.directory.journal} is damaged: a line {record.problem}")
            self._apply(record)
        self._read += len(data)

    def _apply(self, record: dict[str, Any]) -> None:
        identity = identity_of(record)
        self._configs.setdefault(identity, digest(config_text(record)))
        states = self._states.setdefault(identity, [])
        resumed_from = record.get("resumed_from")
        if resumed_from is not None:
            _consume(states, resumed_from)
        if record["status"] == "ok":
            fidelity = record["fidelity"]
            length = math.inf if fidelity is None else fidelity
            states.append(State(length, training_seconds(record), record["end"]))


def _consume(states: list[State], fidelity: float) -> None:
    for place, state in enumerate(states):
        if state.fidelity == fidelity:
            del states[place]
            return
