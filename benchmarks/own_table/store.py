"""Converted tables of users: one Arrow file each, named by what is in it and mapped into memory by every process."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerowait.benchmarks.data.cache import cache_folder, whole
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.own_table.cells import Column
from zerowait.suite.sharing.regular_files import open_regular

# Raised whenever the meaning of the columns changes: it is part of every table's digest.
FORMAT = 1
# Raised whenever the checks of a table change, so that what was converted by others is examined again.
CHECKS = 2
_META, _DIGEST = b"zerowait", b"digest"


@dataclass(frozen=True, slots=True)
class Stored:
    """A converted table."""

    meta: Mapping[str, Any]
    """What describes the columns, as JSON data."""
    data: Mapping[str, Column]
    """The columns, read-only and mapped into memory."""


def place(key: str) -> Path:
    """Return where the table with a key is kept."""
    return cache_folder() / f"own-tables-v{CHECKS}" / f"{key}.arrow"


def key_of(meta: Mapping[str, Any], content: str) -> str:
    """Return the name of a table with this description and the digest of its content."""
    text = json.dumps([FORMAT, content, meta], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of(data: Mapping[str, Column]) -> str:
    """Return the digest of some columns."""
    state = hashlib.blake2b(digest_size=16)
    for name, column in data.items():
        state.update(json.dumps([name, len(column)]).encode())
        state.update(column.data)
    return state.hexdigest()


def store(path: Path, meta: Mapping[str, Any], data: Mapping[str, Column]) -> None:
    """Write a table; it appears under its name only when it is whole, so any number of processes may write it.

    Raises
    ------
    DataMissingError
        The cache folder cannot be written; the message names it and the variable that moves it.
    """
    import pyarrow as pa

    table = pa.table({str(i): column for i, column in enumerate(data.values())})
    described = {_META: json.dumps({"names": list(data), "meta": meta}), _DIGEST: digest_of(data)}
    table = table.replace_schema_metadata(described)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole(path) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table)
    except OSError as error:
        raise DataMissingError(
            f"the converted table cannot be stored in {path.parent}: {error.strerror or error}; "
            "set the environment variable ZEROWAIT_CACHE to a folder that can be written"
        ) from error


@functools.lru_cache(maxsize=64)
def open_stored(path: Path) -> Stored:
    """Return the table of a file; it is opened once per process.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedDataError
        It is not what was written.
    """
    import numpy as np
    import pyarrow as pa

    try:
        os.close(open_regular(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedDataError(f"the converted table {path} cannot be used: {error.strerror}; delete it") from None
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        described = json.loads(table.schema.metadata[_META])
        # pyarrow's own `to_numpy` imports pandas, which a process that only looks up does not need.
        columns = [np.frombuffer(column.chunk(0).buffers()[1], count=len(column)) for column in table.columns]
        stored = Stored(described["meta"], dict(zip(described["names"], columns, strict=True)))
        if digest_of(stored.data).encode() != table.schema.metadata[_DIGEST]:
            raise DamagedDataError(f"the converted table {path} holds other numbers than were written")
    except FileNotFoundError:
        raise
    except (pa.ArrowException, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedDataError(f"the converted table {path} is damaged: {error}; delete it") from error
    return stored
