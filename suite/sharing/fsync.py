"""Files that are whole or not there: written under another name, sent to disk where a power cut matters, renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS = 8
"""A file system writes what it is asked for at the same time in one go: four files take no longer than one."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write(temporary_path)` make a file, then rename it into place; a failure leaves the old file as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # what a killed process left, or a link that somebody put there
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(*paths: Path) -> None:
    """Return when the contents of these files, and the lists of names of these folders, are on disk.

    A file is to be written, sent to disk and renamed; its folder is then sent to disk, for the rename to last. Not for
    a file in which this process holds a lock of `fcntl.lockf`: closing it here would release the lock.
    """
    if len(paths) == 1:
        _to_disk(paths[0])
        return
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(_to_disk, paths))


def _to_disk(path: Path) -> None:
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # it opens no folders, and a file only to be written to
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
