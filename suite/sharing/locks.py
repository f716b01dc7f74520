"""Locks on single bytes of a file that the kernel releases when the process that opened it dies.

Locks of an open file description (fcntl(2), "OFD"), not of the process: closing another descriptor of the same file
does not drop them, and threads that share the descriptor share the lock.
"""

from __future__ import annotations

import os
import struct
import sys

from zerowait.suite.rules.errors import UnsupportedPlatformError

if sys.platform != "linux":  # said here, because whatever several processes share needs this module
    raise UnsupportedPlatformError(
        f"the multi-core Simulator needs Linux (locks of open file descriptions, posix_fallocate), and this is "
        f"{sys.platform}; `zerowait.simulate`, for ask-and-tell optimizers, runs here as well"
    )

import fcntl

MUTEX = 0
"""The byte of the critical section, where it is not guarded by flock."""
FIRST_PROCESS = 1
"""The byte of process n is this one plus n; it need not exist in the file."""

# struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


class ByteLocks:
    """The bytes of one open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._requests: dict[tuple[int, int], bytes] = {}

    def _ask(self, command: int, kind: int, byte: int) -> bytes:
        request = self._requests.get((kind, byte))
        if request is None:
            request = self._requests[kind, byte] = _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
        return fcntl.fcntl(self._descriptor, command, request)

    def acquire(self, byte: int) -> bool:
        """Lock a byte if nobody else has; return whether it is ours."""
        try:
            self._ask(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def wait_for(self, byte: int) -> None:
        """Lock a byte as soon as nobody else has."""
        self._ask(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, byte)

    def release(self, byte: int) -> None:
        """Unlock a byte."""
        self._ask(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, byte)

    def is_taken(self, byte: int) -> bool:
        """Tell whether somebody else has locked a byte."""
        return bool(_FLOCK.unpack(self._ask(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, byte))[0] != fcntl.F_UNLCK)

    def is_any_taken(self, first: int, n: int) -> bool:
        """Tell whether somebody else has locked one of n bytes."""
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, n, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, request))[0] != fcntl.F_UNLCK)
