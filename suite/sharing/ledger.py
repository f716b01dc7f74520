"""The ledger of a run with continued evaluations, as a mapped file that all its processes share.

An open-addressing hash table of fixed-size entries, keyed by identity: one entry binds an identity to its
configuration, one more stands for each delivered state. It doubles into a file of the next generation when it is half
full, so looking a state up costs the same however long the run is. Used under the run's lock only; entries are saved
in the slot table's undo log.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

from zerowait.suite.rules.continuation import State, best_state, id_disagrees
from zerowait.suite.sharing import header
from zerowait.suite.sharing.regular_files import open_regular
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.system import allocate
from zerowait.suite.sharing.table import CELL, LEDGER_CELLS, SlotTable

ENTRY_BYTES = LEDGER_CELLS * CELL
FIRST_CAPACITY = 1024
_STATE = struct.Struct("=ddd")


class Kind(IntEnum):
    """What an entry of the ledger is."""

    EMPTY = 0
    IDENTITY = 1
    STATE = 2
    CONSUMED = 3


class Entries(Protocol):
    """The memory of one generation."""

    def memory(self, generation: int) -> memoryview:
        """Return the writable bytes of a generation."""

    def create(self, generation: int, capacity: int) -> memoryview:
        """Make an empty generation with room for `capacity` entries and return its bytes."""


class MappedEntries:
    """Generations as memory-mapped files of a run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._open: tuple[int, memoryview] | None = None

    def memory(self, generation: int) -> memoryview:
        """Return the mapped bytes of a generation, which exists."""
        if self._open is None or self._open[0] != generation:
            descriptor = open_regular(self._directory.ledger(generation), os.O_RDWR)
            try:
                self._open = generation, memoryview(mmap.mmap(descriptor, 0))
            finally:
                os.close(descriptor)
        return self._open[1]

    def create(self, generation: int, capacity: int) -> memoryview:
        """Make the file of a generation; its blocks are allocated now, because a full disk kills who writes a map."""
        path = self._directory.ledger(generation)
        path.unlink(missing_ok=True)  # what a killed process left of an earlier attempt
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            allocate(descriptor, capacity * ENTRY_BYTES)
        finally:
            os.close(descriptor)
        self._open = None
        return self.memory(generation)


class SharedLedger:
    """The states of one run."""

    def __init__(self, table: SlotTable, entries: Entries) -> None:
        self._table = table
        self._entries = entries

    def check_identity(self, identity: bytes, config: bytes, config_id: str, canonical: str) -> None:
        """Bind the identity to the configuration, or refuse it when it is bound to another one.

        Raises
        ------
        SpecificationError
            The id disagrees with the configuration; the message names both.
        """
        for _, kind, bound, _ in self._of(identity):
            if kind == Kind.IDENTITY:
                if bound != config:
                    raise id_disagrees(config_id, canonical)
                return
        self._insert(identity, config, Kind.IDENTITY, State(0.0, 0.0, 0.0))

    def take(self, identity: bytes, fidelity: float, start: float) -> State | None:
        """Consume and return the state that an evaluation at this fidelity and start continues, or None."""
        states = ((place, state) for place, kind, _, state in self._of(identity) if kind == Kind.STATE)
        found = best_state(states, fidelity, start)
        if found is None:
            return None
        place, state = found
        entry = self._memory()[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES]
        self._table.save_ledger_entry(place, entry)
        entry.cast("q")[4] = Kind.CONSUMED
        return state

    def add(self, identity: bytes, config: bytes, state: State) -> None:
        """Record a delivered evaluation as a state that can be continued."""
        self._insert(identity, config, Kind.STATE, state)

    def reserve(self) -> None:
        """Make room for the entries of the next transaction; called outside of one."""
        ints, memory = self._table.ints, self._memory()
        capacity = len(memory) // ENTRY_BYTES
        if ints[header.LEDGER_USED] * 2 < capacity - 2:
            return
        generation = ints[header.LEDGER_GENERATION] + 1
        larger = self._entries.create(generation, capacity * 2)
        for place in range(capacity):
            entry = memory[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES]
            if entry.cast("q")[4] != Kind.EMPTY:
                free = _first_free(larger, bytes(entry[:16]))
                larger[free * ENTRY_BYTES : (free + 1) * ENTRY_BYTES] = entry
        ints[header.LEDGER_GENERATION] = generation

    def restore(self, place: int, entry: bytes) -> None:
        """Put back an entry that a rolled-back transaction had changed."""
        self._memory()[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES] = entry

    def _memory(self) -> memoryview:
        return self._entries.memory(self._table.ints[header.LEDGER_GENERATION])

    def _insert(self, identity: bytes, config: bytes, kind: Kind, state: State) -> None:
        memory = self._memory()
        place = _first_free(memory, identity)
        entry = memory[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES]
        self._table.save_ledger_entry(place, entry)
        entry[:32] = identity + config
        entry[40:] = _STATE.pack(*state)
        entry.cast("q")[4] = kind
        self._table.ints[header.LEDGER_USED] += 1

    def _of(self, identity: bytes) -> Iterator[tuple[int, int, bytes, State]]:
        memory = self._memory()
        capacity = len(memory) // ENTRY_BYTES
        place = _home(identity, capacity)
        while True:
            entry = memory[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES]
            kind = entry.cast("q")[4]
            if kind == Kind.EMPTY:
                return
            if entry[:16] == identity:
                yield place, kind, bytes(entry[16:32]), State(*_STATE.unpack(entry[40:]))
            place = (place + 1) % capacity


def _home(identity: bytes, capacity: int) -> int:
    return int.from_bytes(identity[:8], "little") % capacity


def _first_free(memory: memoryview, identity: bytes) -> int:
    capacity = len(memory) // ENTRY_BYTES
    place = _home(identity, capacity)
    while memory[place * ENTRY_BYTES : (place + 1) * ENTRY_BYTES].cast("q")[4] != Kind.EMPTY:
        place = (place + 1) % capacity
    return place
