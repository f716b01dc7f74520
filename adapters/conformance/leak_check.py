"""What a run leaves behind: processes, threads, listening ports, files in the temporary and the working folder."""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

GRACE = 5.0
"""Real seconds that what is killed may take to be gone."""

_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37  # linux/prctl.h


@contextmanager
def watch() -> Iterator[list[str]]:
    """Run the body in empty folders and, when it has ended, fill the list with what it has left behind.

    Inside, the temporary folder (`tempfile.tempdir` and `TMPDIR`) and the working directory are empty folders that go
    afterwards. Processes that are left are found even when their parents are gone (on Linux), and are then killed.
    Zombies and the resource trackers of `multiprocessing` and joblib, which live as long as their interpreter by
    design, do not count, nor do threads that are not Python's.
    """
    found: list[str] = []
    # A short path: sockets in it may have 108 characters.
    with _adopted_orphans(), tempfile.TemporaryDirectory(prefix="zw-", ignore_cleanup_errors=True) as name:
        temporary, working = Path(name) / "tmp", Path(name) / "cwd"
        temporary.mkdir()
        working.mkdir()
        threads = set(threading.enumerate())
        processes = set(_processes())
        ports = set(_ports(processes))
        try:
            with _moved(temporary, working):
                yield found
        finally:
            deadline, collected = time.monotonic() + GRACE, False
            while True:
                running = _processes()
                new = [process for process in running if process not in processes]
                left = [
                    *(f"the process {_describe(process)}" for process in new),
                    *(f"the thread {t.name!r}" for t in threading.enumerate() if t not in threads and t.is_alive()),
                    *(f"the listening port {port}" for port in _ports(running) if port not in ports),
                    *(f"the file {file} in the temporary folder" for file in _files(temporary)),
                    *(f"the file {file} in the working directory" for file in _files(working)),
                    *(f"the open file {file}" for file in _open_files(Path(name))),
                ]
                if not left or time.monotonic() > deadline:
                    break
                if not collected:
                    gc.collect()  # what only a cycle of references keeps open is not meant
                    collected = True
                time.sleep(0.05)
            found += left
            for process in new:
                with suppress(psutil.Error):
                    process.kill()


@contextmanager
def _moved(temporary: Path, working: Path) -> Iterator[None]:
    """Make these the temporary folder and the working directory, of this process and of those that it starts."""
    before, variable, directory = tempfile.tempdir, os.environ.get("TMPDIR"), Path.cwd()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    os.chdir(working)
    try:
        yield
    finally:
        os.chdir(directory)
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


@contextmanager
def _adopted_orphans() -> Iterator[None]:
    """Become the parent of descendants whose own parent ends, so that no daemon hides behind the death of another."""
    if not sys.platform.startswith("linux"):
        yield
        return
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _processes() -> list[psutil.Process]:
    """Return the descendants of this process that run."""
    return [process for process in psutil.Process().children(recursive=True) if _counts(process)]


def _counts(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and not any("resource_tracker" in s for s in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())[:200]})"
    except psutil.Error:
        return str(process.pid)


def _ports(descendants: Iterable[psutil.Process]) -> list[str]:
    """Return the addresses on which this process and its descendants listen."""
    found = []
    for process in (psutil.Process(), *descendants):
        with suppress(psutil.Error):
            found += [
                f"{connection.laddr.ip}:{connection.laddr.port} of the process {process.pid}"
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN and connection.type == socket.SOCK_STREAM
            ]
    return found


def _files(folder: Path) -> list[Path]:
    """Return what lies in a folder, a directory with everything in it as one."""
    return sorted(path.relative_to(folder) for path in folder.iterdir())


def _open_files(folder: Path) -> list[str]:
    """Return the files below a folder that this process holds open."""
    try:
        return sorted(file.path for file in psutil.Process().open_files() if Path(file.path).is_relative_to(folder))
    except psutil.Error:
        return []
