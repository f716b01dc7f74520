"""Whether the processes of a run work: CPU time, and the time for which they were ready to run and got no core.

On a busy machine who computes waits for a core for most of the time, so that waiting counts as work. Who polls wakes up
and goes to sleep again, hundreds of times a second: little CPU time between two voluntary switches tells it from who
computes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from zerowait.suite.sharing.processes import TICK, Process, cpu_times, stat_fields
from zerowait.suite.sharing.system import HAS_PROC

POLLING_BURST = 2e-4
"""CPU seconds between two voluntary switches below which a thread polls."""
POLLING_SHARE = 0.6
"""Share of a core that polling may use; a thread that uses more computes, however often it pauses."""

_T = TypeVar("_T")
_FEW = 5  # switches

waiting_callers: dict[int, float] = {}
"""Native ids of the threads of this process that wait for a delivery: what they do now and then is no sampling. Where
threads are not told apart, with the CPU seconds of each that are counted already."""
_counted = 0.0


def count_waiting() -> float:
    """Return the CPU seconds that waiting has cost this process where threads are not told apart; 0 where they are.

    Each thread counts its own. Of one that is not among `waiting_callers` all counts, and only in what it is told.
    Without a lock, which a fork could leave locked: when two threads count at once, some microseconds are lost.
    """
    global _counted  # noqa: PLW0603 - of the process, as its CPU time is
    if HAS_PROC:
        return 0.0
    me, used = threading.get_native_id(), time.thread_time()
    if me not in waiting_callers:
        return _counted + used
    _counted += used - waiting_callers[me]
    waiting_callers[me] = used
    return _counted


_here = threading.local()


def sleep(seconds: float) -> None:
    """Sleep between two looks, and note how late one woke up where the kernel does not tell who waited for a core."""
    if HAS_PROC:
        time.sleep(seconds)
        return
    count_waiting()
    due = time.monotonic() + seconds
    time.sleep(seconds)
    _here.late = _late() + max(0.0, time.monotonic() - due)


def _late() -> float:
    return getattr(_here, "late", 0.0)


@contextlib.contextmanager
def among_waiting() -> Iterator[None]:
    """Say that this thread waits for a delivery, until the block is left."""
    me = threading.get_native_id()
    waiting_callers[me] = 0.0 if HAS_PROC else time.thread_time()
    try:
        yield
    finally:
        if not HAS_PROC:
            count_waiting()
        del waiting_callers[me]


Thread: TypeAlias = tuple[int, int]
"""Process id and thread id."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a thread has done since it began, in real seconds."""

    cpu: float = 0.0
    waited: float = 0.0
    """For how long it was ready to run and did not get a core."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the processes of a run have done until one moment."""

    processes: dict[int, float]
    """CPU seconds of each process, with those of its threads and children that have ended."""
    threads: dict[Thread, Times]
    """Of those that live."""
    waiting: float = 0.0
    """`count_waiting` of the process that looks."""

    def seconds(self) -> float:
        """Return how many seconds they have worked, all together."""
        return sum(self.processes.values()) + sum(times.waited for times in self.threads.values())


def look(roots: Iterable[Process]) -> Look:
    """Look at these processes and their descendants."""
    processes = cpu_times(roots)
    threads: dict[Thread, Times] = {}
    for pid in processes if HAS_PROC else ():
        for thread in _threads(pid):
            times = _times(pid, thread)
            if times is not None:
                threads[pid, thread] = times
    return Look(processes, threads, count_waiting())


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208 - read thousands of times
    except OSError as error:
        return _ended(error, [])


def _times(pid: int, thread: int) -> Times | None:
    folder = f"/proc/{pid}/task/{thread}"
    try:
        with open(f"{folder}/schedstat", "rb") as file:  # noqa: PTH123 - as above
            cpu, waited, _ = file.read().split()
        return Times(int(cpu) * 1e-9, int(waited) * 1e-9)
    except FileNotFoundError:
        pass  # a kernel without it, or the thread has ended
    except OSError as error:
        return _ended(error, None)
    try:
        fields = stat_fields(Path(f"{folder}/stat").read_bytes())
    except OSError as error:
        return _ended(error, None)
    return Times((int(fields[11]) + int(fields[12])) * TICK)


def _ended(error: OSError, nothing: _T) -> _T:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise error  # without them all, nobody would seem to work
    return nothing


def voluntary_switches(thread: Thread) -> int:
    """Return how often a thread has given up its core by itself, by waiting for something; 0 when that is unknown."""
    try:
        status = Path(f"/proc/{thread[0]}/task/{thread[1]}/status").read_bytes()
    except OSError as error:
        return _ended(error, 0)
    _, _, behind = status.partition(b"\nvoluntary_ctxt_switches:")
    return int(behind.split(maxsplit=1)[0]) if behind else 0


def is_runnable(thread: Thread) -> bool:
    """Tell whether a thread runs or waits for a core, which the kernel notes only when it is over, or was stopped."""
    try:
        return stat_fields(Path(f"/proc/{thread[0]}/task/{thread[1]}/stat").read_bytes())[0] in (b"R", b"T", b"t")
    except OSError as error:
        return _ended(error, nothing=False)


class Watch:
    """Compares looks at the processes of a run; to be used by one thread, which is among `waiting_callers` or alone.

    Parameters
    ----------
    share
        Share of a core from which a thread counts as working.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._before = Look({}, {})
        self._switches: dict[Thread, int] = {}
        self._late = 0.0
        self.looking = 0.0
        """CPU seconds that the last look took."""

    def look(self, roots: Iterable[Process]) -> Look:
        """Look at the processes, and note what that costs."""
        began = time.thread_time()
        seen = look(roots)
        self.looking = time.thread_time() - began
        return seen

    def begin(self, seen: Look, suspects: Collection[Thread] = ()) -> None:
        """Compare with this look from now on."""
        self._before, self._late = seen, _late()
        self._switches = {thread: voluntary_switches(thread) for thread in suspects}

    def held_up(self, seen: Look) -> float:
        """Return how long the caller's thread has waited for a core since `begin`.

        Meanwhile it may have held the interpreter's lock, so that no other thread of this process could work.
        """
        me = os.getpid(), threading.get_native_id()
        now = seen.threads.get(me, Times())
        return now.waited - self._before.threads.get(me, now).waited + _late() - self._late

    def workers(self, seen: Look, seconds: float, share: float) -> set[Thread]:
        """Return who has worked for that share of a core since `begin`, `seconds` ago; thread 0: those that ended."""
        allowed = max(2 * TICK, share * seconds)
        here, waiting = os.getpid(), {threading.get_native_id(), *waiting_callers}
        explained = {**dict.fromkeys(seen.processes, 0.0), here: seen.waiting - self._before.waiting}
        found = set()
        for thread, times in seen.threads.items():
            before = self._before.threads.get(thread, Times())
            used = times.cpu - before.cpu
            explained[thread[0]] = explained.get(thread[0], 0.0) + used
            worked = used + times.waited - before.waited
            if (
                not (thread[0] == here and thread[1] in waiting)
                and (worked > allowed or is_runnable(thread))
                and not self._polls(thread, used, worked, seconds)
            ):
                found.add(thread)
        found |= {
            (pid, 0)
            for pid, total in seen.processes.items()
            if total - self._before.processes.get(pid, 0.0) - explained[pid] > allowed
        }
        return found

    def _polls(self, thread: Thread, used: float, worked: float, seconds: float) -> bool:
        if thread not in self._switches or used > POLLING_SHARE * seconds:
            return False
        switches = voluntary_switches(thread) - self._switches[thread]
        if switches < _FEW and (worked > POLLING_SHARE * seconds or is_runnable(thread)):
            return False  # it waited for a core all the time, but for a moment or two, for the interpreter's lock say
        return switches > 0 and used / switches < POLLING_BURST
