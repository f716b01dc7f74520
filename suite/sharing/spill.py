"""The description of an evaluation, in its slot's record or, when it is long, in a file of its own."""

from __future__ import annotations

from zerowait.suite.sharing import record
from zerowait.suite.sharing.transport import Transport


def describe(transport: Transport, slot: int, text: bytes) -> bool:
    """Store the first part of a description; return whether it went into a file."""
    if transport.table.write_text(slot, 0, text):
        return False
    transport.directory.write_spill(slot, text)
    return True


def describe_further(transport: Transport, slot: int, text: bytes) -> None:
    """Store the second part of a description behind the first."""
    table = transport.table
    ints, row = table.ints, table.rows[slot]
    offset = ints[row + record.CLAIM_TEXT]
    if ints[row + record.SPILLED]:
        transport.directory.write_spill(slot, text, offset)
    elif not table.write_text(slot, offset, text):
        transport.directory.write_spill(slot, table.text(slot)[:offset] + text)
        ints[row + record.SPILLED] = 1
    ints[row + record.TEXT] = offset + len(text)


def description(transport: Transport, slot: int) -> bytes:
    """Return all parts of a description that have been stored."""
    row = transport.table.rows[slot]
    if transport.table.ints[row + record.SPILLED]:
        return transport.directory.read_spill(slot, transport.table.ints[row + record.TEXT])
    return transport.table.text(slot)
