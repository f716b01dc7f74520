"""Files that a power cut does not take back: what was renamed into place has its contents on disk before."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

THREADS = 8
"""A file system writes what it is asked for at the same time in one go: four files take no longer than one."""


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
