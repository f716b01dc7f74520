"""Where converted data is kept, and how processes that need it at once take turns."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.suite.sharing.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# What opening a file says when there is none; the second when a file stands where a folder should be.
ABSENT = (FileNotFoundError, NotADirectoryError)

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def cache_folder() -> Path:
    """Return the folder of converted data: `$ZEROWAIT_CACHE`, else the user's cache folder."""
    given = os.environ.get("ZEROWAIT_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("zerowait"))


def check_writable(folder: Path) -> None:
    """Raise `DataMissingError` unless the folder is there and may be written to, or can be made."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise unwritable(folder, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    # The kernel's answer counts read-only file systems as well.
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[bool]:
    """Let one process convert while the others wait; the kernel frees the lock of a process that dies.

    Yields whether the process is alone: some shared file systems have no locks. Then several may convert at once,
    which only costs their time, because each renames files of its own.
    """
    with writing(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_regular(lock, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while something is written into a folder into the error that says so."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` when all is written; threads and processes may do it at once."""
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def mapped(path: Path, what: str) -> NDArray[Any]:
    """Return an array of `numpy.save`, mapped into memory; `DamagedDataError` calls it `what` where it is none."""
    import numpy as np

    try:
        os.close(open_regular(path))  # of a FIFO nothing would ever come
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamagedDataError(f"{what} {path} is damaged: {error}") from error
    except ABSENT:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    return array


def unreadable(path: Path, error: OSError) -> DataMissingError:
    """Return the error that says why converted data cannot be read."""
    return DataMissingError(
        f"the converted table {path} cannot be read: {error.strerror or error}; set "
        "the environment variable ZEROWAIT_CACHE to a folder that can be read and written"
    )


def unwritable(folder: Path, error: OSError) -> DataMissingError:
    """Return the error that says why converted data cannot be stored."""
    return DataMissingError(
        f"converted tables cannot be stored in {folder}: {error.strerror or error}; "
        "set the environment variable ZEROWAIT_CACHE to a folder that can be written"
    )
