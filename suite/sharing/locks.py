"""The locks of a run, which the kernel releases when the process that opened their files dies.

One guards the critical section, one each process holds on its number for as long as it lives. Locks of the process
(`F_SETLK`), which every POSIX system has, will not do: closing any other descriptor of the file drops them, and two
connections of one process do not exclude each other. Those of the open file description do, in two kinds: on bytes,
which only Linux has (fcntl(2), "OFD"), and on whole files (flock(2)), which macOS and the BSDs have as well.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from zerowait.suite.rules.errors import UnsupportedPlatformError
from zerowait.suite.sharing.regular_files import open_regular

try:
    import fcntl
except ImportError:  # said here, because whatever several processes share needs this module
    raise UnsupportedPlatformError(
        f"the multi-core Simulator needs a POSIX system, for its locks of files (fcntl), and this is {sys.platform}; "
        "`zerowait.simulate`, for ask-and-tell optimizers, runs here as well"
    ) from None

HAS_BYTE_LOCKS = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
"""Whether bytes can be locked; macOS has the calls in some versions, with another `struct flock`."""

flock, LOCK_EX, LOCK_UN = fcntl.flock, fcntl.LOCK_EX, fcntl.LOCK_UN

_MUTEX = 0
_FIRST_PROCESS = 1  # the byte of process n is this one plus n; it need not exist in the file

# struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


class Locks(Protocol):
    """The locks of one run, as one process has them open."""

    def lock(self) -> None:
        """Enter the critical section as soon as nobody else is in it."""

    def unlock(self) -> None:
        """Leave the critical section."""

    def take_number(self, process: int) -> bool:
        """Lock the number of this process; return whether it was free."""

    def is_taken(self, process: int) -> bool:
        """Tell whether somebody else has locked a number."""

    def is_any_taken(self, n: int) -> bool:
        """Tell whether somebody else has locked one of the numbers 1 to n."""


class ByteLocks:
    """On the bytes of one open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._requests: dict[tuple[int, int], bytes] = {}

    def _ask(self, command: int, kind: int, byte: int) -> bytes:
        request = self._requests.get((kind, byte))
        if request is None:
            request = self._requests[kind, byte] = _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
        return fcntl.fcntl(self._descriptor, command, request)

    def lock(self) -> None:
        """Enter the critical section as soon as nobody else is in it."""
        self._ask(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, _MUTEX)

    def unlock(self) -> None:
        """Leave the critical section."""
        self._ask(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, _MUTEX)

    def take_number(self, process: int) -> bool:
        """Lock the number of this process; return whether it was free."""
        try:
            self._ask(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _FIRST_PROCESS + process)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def is_taken(self, process: int) -> bool:
        """Tell whether somebody else has locked a number."""
        asked = self._ask(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, _FIRST_PROCESS + process)
        return bool(_FLOCK.unpack(asked)[0] != fcntl.F_UNLCK)

    def is_any_taken(self, n: int) -> bool:
        """Tell whether somebody else has locked one of the numbers 1 to n."""
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _FIRST_PROCESS + 1, n, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, request))[0] != fcntl.F_UNLCK)


class FileLocks:
    """On whole files: one for the critical section, and one a process.

    A number is asked for with a shared lock, so that who asks is never in the way of another who asks; the number of a
    process that is to come is asked for by nobody.

    Parameters
    ----------
    descriptor
        The open file that guards the critical section.
    number_file
        The path of the file of a process's number.
    open_kept
        Opens a file for as long as the process takes part.
    """

    def __init__(
        self,
        descriptor: int,
        number_file: Callable[[int], Path],
        open_kept: Callable[[Path, Callable[[Path], int]], int],
    ) -> None:
        self._descriptor = descriptor
        self._number_file = number_file
        self._open_kept = open_kept

    def lock(self) -> None:
        """Enter the critical section as soon as nobody else is in it."""
        flock(self._descriptor, LOCK_EX)

    def unlock(self) -> None:
        """Leave the critical section."""
        flock(self._descriptor, LOCK_UN)

    def take_number(self, process: int) -> bool:
        """Lock the number of this process; return whether it was free."""
        kept = self._open_kept(self._number_file(process), partial(open_regular, flags=os.O_RDWR | os.O_CREAT))
        try:
            flock(kept, LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_taken(self, process: int) -> bool:
        """Tell whether somebody else has locked a number."""
        try:
            descriptor = open_regular(self._number_file(process), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def is_any_taken(self, n: int) -> bool:
        """Tell whether somebody else has locked one of the numbers 1 to n; the first one mostly lives longest."""
        return any(map(self.is_taken, range(1, n + 1)))
