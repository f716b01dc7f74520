"""File descriptors: each thread that waits needs one, and a process may open only so many.

The usual soft limit, 1024, is there for programs that call `select`, which fails beyond it; the process may raise it up
to the hard limit, and does so here when the alternative is to fail.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

RESERVE = 24
"""So many stay free for what else has to be opened: the journal of a trace, a description, `/proc`."""


def open_descriptor(path: Path, open_it: Callable[[Path], int]) -> int:
    """Open a file with `open_it`, and raise the process's soft limit when it comes near.

    Raises
    ------
    OSError
        It cannot be opened; with `errno.EMFILE` when only `RESERVE` are left below the hard limit.
    """
    while True:
        try:
            descriptor = open_it(path)
        except OSError as error:
            if error.errno != errno.EMFILE or not _raise_limit():
                raise
            continue
        # The kernel gives the lowest free number.
        if descriptor < _limit() - RESERVE or _raise_limit():
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), os.fspath(path))


def advice() -> str:
    """Return what to do when there are too many open files."""
    return (
        f"this process may have {_limit()} files open, and each thread that waits needs one; raise the limit "
        "(ulimit -n), or spread the threads over several processes"
    )


def _limit() -> int:
    import resource  # not there on Windows, where ask-and-tell runs

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _raise_limit() -> bool:
    """Double the soft limit, as far as the hard one allows; return whether it has grown."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    higher = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
    if higher <= soft:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (higher, hard))
    except (OSError, ValueError):
        return False
    return True
