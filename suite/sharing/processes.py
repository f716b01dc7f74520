"""The CPU time of the processes of a run: the sign that an optimizer is still thinking."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from zerowait.suite.sharing.system import HAS_PROC

_PROC = Path("/proc")
Process: TypeAlias = tuple[int, int]
"""A process id and the kernel's start time of the process, because ids are used again."""

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
"""Resolution of the kernel's accounting, in seconds."""


def this_process() -> Process:
    """Return the identity of the calling process."""
    pid = os.getpid()
    if not HAS_PROC:
        import psutil

        return pid, round(psutil.Process(pid).create_time())
    with Path("/proc/self/stat").open("rb") as file:
        return pid, int(stat_fields(file.read())[_START_TIME])


def is_alive(pid: int, born: int) -> bool:
    """Tell whether this very process still runs (a zombie does not)."""
    if not HAS_PROC:
        import psutil

        try:
            process = psutil.Process(pid)
            return _is_from(process.create_time(), born) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False
    try:
        with Path(f"/proc/{pid}/stat").open("rb") as file:
            fields = stat_fields(file.read())
    except OSError:
        return False
    return int(fields[_START_TIME]) == born and fields[0] not in (b"Z", b"X")


def cpu_times(roots: Iterable[Process]) -> dict[int, float]:
    """Return the CPU seconds of these processes and of all their descendants, by process id.

    They include those of children that have ended. A process that has ended itself is left out. Read from `/proc`;
    psutil does the same where there is none.
    """
    times, born, children = _from_proc() if HAS_PROC else _from_psutil()
    pending = [pid for pid, start in set(roots) if pid in born and _is_from(born[pid], start)]
    found: dict[int, float] = {}
    while pending:
        pid = pending.pop()
        if pid not in found:
            found[pid] = times[pid]
            pending.extend(children.get(pid, ()))
    return found


def _is_from(start: float, born: int) -> bool:
    """Tell whether a process of this start is the one that was noted, whose number none gets again at once."""
    return start == born if HAS_PROC else abs(start - born) <= _CLOCK_STEPS


_Table: TypeAlias = tuple[dict[int, float], Mapping[int, float], dict[int, list[int]]]
_CLOCK_STEPS = 2.0  # seconds by which the date of a start may seem to change when the system's clock is set
# Fields of /proc/<pid>/stat behind the command's name; proc(5) counts them from 3.
_PARENT, _FIRST_TIME, _LAST_TIME, _START_TIME = 1, 11, 15, 19


def stat_fields(stat: bytes) -> list[bytes]:
    """Return the fields of `/proc/PID/stat` behind the name of the command."""
    # The command's name, in parentheses, may hold anything; what follows the last one is numbers.
    return stat.rpartition(b")")[2].split()


def _from_proc() -> _Table:
    times: dict[int, float] = {}
    born: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - as above
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - read thousands of times
                fields = stat_fields(file.read())
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # without them all, nobody would seem to work
            continue  # it ended meanwhile
        pid = int(name)
        # Own user and system time, and that of the children it has waited for: short-lived helpers count as well.
        times[pid] = sum(map(int, fields[_FIRST_TIME:_LAST_TIME])) * TICK
        born[pid] = int(fields[_START_TIME])
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    return times, born, children


def _from_psutil() -> _Table:
    import psutil

    times: dict[int, float] = {}
    born: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        try:
            used = process.cpu_times()
            times[process.pid] = used.user + used.system + used.children_user + used.children_system
            born[process.pid] = process.create_time()
            children.setdefault(process.ppid(), []).append(process.pid)
        except psutil.Error:
            continue
    return times, born, children
