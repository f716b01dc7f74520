"""Opening what was made and nothing else: no link is followed, a file is a regular one, a FIFO a FIFO."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_JSON = 1 << 28
"""Bytes; the list of a study of a million cells is smaller, and what is larger is none of ours."""


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666, *, follow_links: bool = False) -> int:
    """Return a descriptor of a regular file, which closes on exec; `os.O_TRUNC` empties it after it was looked at.

    `follow_links` is for files that a user has named, who may call them by a link; what zerowait has made has none.

    Raises
    ------
    OSError
        It cannot be opened, is a link (`ELOOP`), or is no regular file (`EINVAL`).
    """
    truncates = flags & os.O_TRUNC
    flags = (flags & ~os.O_TRUNC) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0)), mode)
    except OSError as error:
        # A FIFO without a reader or a socket, a folder to be written, a socket of a BSD.
        if error.errno in (errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP):
            raise OSError(errno.EINVAL, f"{path.name} is no regular file", str(path)) from None
        raise _of_a_link(error, path) from None
    except ValueError as error:  # a zero byte in the path
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path.name} is no regular file", str(path))
    if truncates:
        try:
            os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def open_fifo(path: Path) -> int:
    """Return a descriptor of a FIFO for both ends: it neither blocks until somebody reads nor ends when nobody writes.

    Raises
    ------
    OSError
        It cannot be opened, is a link (`ELOOP`), or is no FIFO (`EINVAL`).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _of_a_link(error, path) from None
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path.name} is no FIFO", str(path))
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder, or accept the one that is there.

    Raises
    ------
    OSError
        It cannot be made, is a link (`ELOOP`), or is something else (`EEXIST`).
    """
    path.mkdir(exist_ok=True)
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse a link in the place of a folder.

    Raises
    ------
    OSError
        It is a link (`ELOOP`), or is not there.
    """
    if stat.S_ISLNK(path.lstat().st_mode):
        raise OSError(errno.ELOOP, f"{path.name} is a link, which is not followed", str(path))


def _of_a_link(error: OSError, path: Path) -> OSError:
    if error.errno in (errno.ELOOP, errno.EMLINK):  # so FreeBSD says it
        return OSError(errno.ELOOP, f"{path.name} is a link, which is not followed", str(path))
    return error


def read_regular_file(
    path: Path, size: int = -1, offset: int = 0, *, at_most: int | None = None, follow_links: bool = False
) -> bytes:
    """Return `size` bytes of a regular file from `offset` on (all by default).

    Raises
    ------
    OSError
        As `open_regular`, or it is larger than `at_most` bytes (`EFBIG`).
    """
    descriptor = open_regular(path, follow_links=follow_links)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor).st_size
        if at_most is not None and found > at_most:
            raise OSError(errno.EFBIG, f"it has {found} bytes, and {at_most} are the most", str(path))
        file.seek(offset)
        return file.read(size)


def read_json(path: Path) -> Any:
    """Return what a JSON file of ours holds.

    Raises
    ------
    OSError
        As `read_regular_file`.
    ValueError
        It is not JSON of a reasonable depth and size.
    """
    data = read_regular_file(path, at_most=LARGEST_JSON)
    try:
        return json.loads(data.decode())
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
