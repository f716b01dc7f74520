"""What this operating system has, decided once: calls of Linux, or what every POSIX system has in their place."""

from __future__ import annotations

import os
from pathlib import Path


def _can_be_read(path: str) -> bool:
    try:
        return bool(Path(path).read_bytes())
    except OSError:
        return False


HAS_PROC = _can_be_read("/proc/self/stat")
"""Whether the kernel says there what processes and their threads do; psutil says less, everywhere."""
_CHUNK = 1 << 20


def allocate(descriptor: int, size: int) -> None:
    """Make a file so long and give all of it room on disk; what it holds stays. Nobody else may write to it meanwhile.

    Raises
    ------
    OSError
        There is no room: said here, because later it would kill who writes to a map of the file.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for first in range(0, size, _CHUNK):
        length = min(_CHUNK, size - first)
        data, written = os.pread(descriptor, length, first).ljust(length, b"\0"), 0
        while written < length:  # a full disk takes a part first and says why on the next attempt
            written += os.pwrite(descriptor, data[written:], first + written)
