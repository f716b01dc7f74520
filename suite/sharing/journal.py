"""The journal: append-only, one record a delivered evaluation, readable while the run goes on.

A line is the CRC-32 of the record in hexadecimal, a space, and the record as JSON. A torn last line is dropped on read;
anything else that does not agree with its checksum is damage.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.sharing.regular_files import open_regular

Record = dict[str, Any]
CHECKSUM_BYTES = 8


def line(data: bytes) -> bytes:
    """Return the journal line of a record that is JSON text already."""
    return b"%08x %b\n" % (zlib.crc32(data), data)


def append(descriptor: int, data: bytes, offset: int) -> None:
    """Write a line at `offset`; raise the `OSError` of a write that was cut short."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):  # a full disk takes a part first and says why on the next attempt
        written += os.pwrite(descriptor, data[written:], offset + written)


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that is not what was written."""

    number: int
    """Line number, from 1."""
    problem: str
    """What is wrong with it."""


def scan(path: Path) -> Iterator[Record | Damage]:
    """Yield each record, or the damage found in its place; a torn last line is left out."""
    with os.fdopen(open_regular(path), "rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return
            yield parse(raw, number)


def parse(raw: bytes, number: int) -> Record | Damage:
    """Return the record of a whole line, or what is wrong with the line."""
    checksum, data = raw[: CHECKSUM_BYTES + 1], raw[CHECKSUM_BYTES + 1 : -1]
    if checksum != b"%08x " % zlib.crc32(data):
        return Damage(number, "does not agree with its checksum")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        return Damage(number, f"is not JSON: {error}")
    return record if isinstance(record, dict) else Damage(number, "is not a JSON object")


def read(path: Path, n_records: int | None = None) -> list[Record]:
    """Return all records, or so many; what stands behind them is not looked at.

    Raises
    ------
    RunDirectoryError
        There is no journal, or a line of it is damaged; the message names the line.
    """
    records: list[Record] = []
    try:
        for item in itertools.islice(scan(path), n_records):
            if isinstance(item, Damage):
                raise RunDirectoryError(f"{path}: line {item.number} {item.problem}; `zerowait check` lists all damage")
            records.append(item)
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error.strerror}") from None
    return records
