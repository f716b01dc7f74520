"""Official files converted, once per machine, into arrays that are mapped into memory and shared by all processes.

A conversion has one small record, `NAME.json`, that names the folder of its arrays and the SHA-256 digest of the file
that they were made of. The folder is written under another name and renamed when it is whole, then the record is
replaced, so a process that is killed leaves at most a folder that the next conversion removes. A source that was
replaced has another digest, hence another folder.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import uuid
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from zerowait.benchmarks.data.cache import ABSENT, cache_folder, mapped, one_at_a_time, unreadable, whole, writing
from zerowait.benchmarks.data.download import digest
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.suite.sharing.fsync import to_disk
from zerowait.suite.sharing.regular_files import read_regular_file
from zerowait.suite.sharing.system import allocate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Report: TypeAlias = "Callable[[str, int, int | None], None]"
"""Hears what is done, how many steps of it, and of how many in all."""

LARGEST_RECORD = 1 << 16
"""Bytes."""
_DIGITS = 16
"""Hexadecimal digits of the source's digest in the name of a folder; the record holds all of them."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one official file becomes arrays."""

    name: str
    """Names the arrays in the cache; with a version in it that changes whenever their layout does."""
    steps: int
    """How often `write` advances in all, for the progress bar."""
    write: Callable[[Path, Path, Callable[[int], None]], None]
    """Reads the source (first argument) bit by bit and writes arrays into a folder (second); the third argument takes
    the number of steps that were done. Raises `DamagedDataError` when the source is not what it should be."""
    remedy: str
    """The command that gets the source again."""

    @property
    def record(self) -> Path:
        """The file that says where the arrays are."""
        return cache_folder() / "official" / f"{self.name}.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a finished conversion."""

    folder: str
    """The name of the folder with the arrays, beside the record."""
    sha256: str
    """The digest of the source."""
    size: int
    """Bytes of the source."""
    modified: int
    """When the content of the source was changed, in nanoseconds."""
    changed: int
    """When the source got its place, owner or content, in nanoseconds; no program can set this time."""


def stored(conversion: Conversion) -> Path | None:
    """Return the folder of the arrays that were converted earlier, from whichever file, or None."""
    record = _read(conversion.record)
    folder = None if record is None else conversion.record.with_name(record.folder)
    return folder if folder is not None and folder.is_dir() else None


def ensure(conversion: Conversion, source: Path, report: Report | None = None) -> Path:
    """Return the folder of the arrays made of this source; convert it first if that has not been done.

    Parameters
    ----------
    conversion
        How it is converted.
    source
        The official file.
    report
        Hears how far it is; a bar on standard error when there is none.

    Raises
    ------
    DataMissingError
        The source cannot be read, or the cache folder not be written.
    DamagedDataError
        The source is not what it should be.
    """
    state = _state(source)
    record = _read(conversion.record)
    folder = stored(conversion)
    if record is not None and folder is not None and _states(record) == state:
        return folder
    with one_at_a_time(conversion.record.with_suffix(".lock")) as alone:
        state = _state(source)
        record = _read(conversion.record)
        folder = stored(conversion)
        if record is not None and folder is not None and _states(record) == state:
            return folder  # another process has converted it while this one waited
        sha256 = _sha256(source)
        if record is not None and folder is not None and record.sha256 == sha256:  # the same file in another place
            _write(replace(record, size=state[0], modified=state[1], changed=state[2]), conversion.record)
            return folder
        return _convert(conversion, source, Record("", sha256, *state), report, alone=alone)


def forget(conversion: Conversion) -> None:
    """Remove the record, so that damaged arrays are made again."""
    with one_at_a_time(conversion.record.with_suffix(".lock")), writing(conversion.record.parent):
        conversion.record.unlink(missing_ok=True)


def new_array(path: Path, shape: tuple[int, ...], dtype: type | np.dtype[Any]) -> np.memmap[Any, Any]:
    """Return a new array of zeros in a file that is mapped into memory and whose whole room is on the disk already."""
    import numpy as np

    with writing(path.parent.parent):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with path.open("r+b") as file:
            # A page without room on a full disk would kill the process when it is written to.
            _reserve(file.fileno(), path.stat().st_size)
    return array


def open_array(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of `new_array`, read-only and mapped into memory.

    Raises
    ------
    DamagedDataError
        The file holds no such array.
    FileNotFoundError
        There is no such file.
    """
    array = mapped(path, "the converted array")
    if array.shape != shape or array.dtype.kind != "f" or not array.flags.c_contiguous:
        raise DamagedDataError(
            f"the converted array {path} has the shape {array.shape} and type {array.dtype}; "
            f"it must be {shape} and float"
        )
    return array


@contextlib.contextmanager
def _progress(what: str, steps: int, report: Report | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of further steps done; it moves a bar where there is a terminal."""
    if report is not None:
        done = 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            report(what, done, steps)

        yield tell
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=steps)
            yield lambda more: bar.advance(task, more)
    else:
        yield lambda _: None


def _reserve(descriptor: int, size: int) -> None:
    try:
        allocate(descriptor, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):  # file systems that cannot reserve
            raise


def _convert(conversion: Conversion, source: Path, record: Record, report: Report | None, *, alone: bool) -> Path:
    """Convert, keep the record and return the folder; called by one process at a time where files can be locked."""
    place = conversion.record.parent
    folder = place / f"{conversion.name}-{record.sha256[:_DIGITS]}"
    if alone:
        # What a killed process has left, and arrays without a record, which are damaged or of another source.
        _remove(place, f".{conversion.name}-*.tmp")
        _remove(place, folder.name)
    temporary = place / f".{conversion.name}-{uuid.uuid4().hex}.tmp"
    try:
        with writing(place):
            temporary.mkdir()
        with _progress(f"convert {source.name}", conversion.steps, report) as advance:
            conversion.write(source, temporary, advance)
        if _state(source) != _states(record):
            raise DamagedDataError(
                f"{source} was changed while it was being converted; try again once it is whole, "
                f"or get it again with: {conversion.remedy}"
            )
        with writing(place):
            for path in temporary.iterdir():
                to_disk(path)
            _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _write(replace(record, folder=folder.name), conversion.record)
    if alone:
        _remove(place, f"{conversion.name}-{'?' * _DIGITS}", keep=folder)
    return folder


def _remove(place: Path, pattern: str, keep: Path | None = None) -> None:
    """Remove folders; a process that has mapped their arrays keeps them, one that has not finds the new record."""
    for folder in place.glob(pattern):
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError as error:
        # Only without locks: another process has converted the same source, digest by digest.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _state(source: Path) -> tuple[int, int, int]:
    """Return what changes when another file takes the place of the source: size and two times."""
    try:
        found = source.stat()
    except OSError as error:
        raise _unreadable_source(source, error) from error
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _states(record: Record) -> tuple[int, int, int]:
    return record.size, record.modified, record.changed


def _sha256(source: Path) -> str:
    try:
        return digest(source)
    except OSError as error:
        raise _unreadable_source(source, error) from error


def _read(path: Path) -> Record | None:
    try:
        record = Record(**json.loads(read_regular_file(path, at_most=LARGEST_RECORD)))
    except ABSENT:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, TypeError):  # not what this version writes: the conversion is done again
        return None
    # A name that leads elsewhere, or to the arrays of another conversion, is none that this version writes.
    expected = f"{path.stem}-{str(record.sha256)[:_DIGITS]}"
    return record if record.folder == expected and os.sep not in expected else None


def _write(record: Record, path: Path) -> None:
    with writing(path.parent), whole(path) as temporary:
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        to_disk(temporary)


def _unreadable_source(source: Path, error: OSError) -> DataMissingError:
    return DataMissingError(f"{source} cannot be read: {error.strerror or error}")
