"""What an operating system other than Linux gets: shown by taking away what only Linux has."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from drivers import environment, needs_one_host, with_pool

from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.records.trace import write_trace
from zerowait.suite.rules.errors import RunMismatchError
from zerowait.suite.sharing import activity, processes, system
from zerowait.suite.sharing.activity import Watch

ELSEWHERE = Path(__file__).resolve().parents[1] / "elsewhere"
"""Takes away what only Linux has, from interpreters that find it (`make elsewhere` runs all tests of the core so)."""
ASK_AND_TELL = """
from zerowait.suite import Evaluation, Overhead, Query, simulate

class Two:
    def __init__(self): self.queries = iter([Query({"x": 0}), Query({"x": 1})])
    def ask(self): return next(self.queries)
    def tell(self, query, evaluation): pass

trace = simulate(Two(), lambda config: Evaluation(0.0, 2.0), n_workers=1, overhead=Overhead.none())
assert trace["end"].tolist() == [2.0, 4.0]
"""


def on_another_platform(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False,
        env=environment(PYTHONPATH=os.pathsep.join([str(ELSEWHERE), environment()["PYTHONPATH"]])),
    )  # fmt: skip


def without_fcntl(program):
    return on_another_platform("-c", 'import sys; sys.modules["fcntl"] = sys.modules["resource"] = None\n' + program)


@pytest.mark.parametrize(
    "program",
    [
        "from zerowait.suite import Simulator",
        "import zerowait.suite.naive",
        "import zerowait.suite.sharing.shared_directory",
        "import zerowait.suite.sharing.transport",
    ],
)
def test_the_simulator_says_that_it_needs_posix(program):
    done = without_fcntl(program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "zerowait.suite.rules.errors.UnsupportedPlatformError: the multi-core Simulator needs a POSIX system, for its "
        f"locks of files (fcntl), and this is {sys.platform}; `zerowait.simulate`, for ask-and-tell optimizers, runs "
        "here as well"
    )


def test_ask_and_tell_needs_no_module_that_windows_does_not_have():
    done = without_fcntl(ASK_AND_TELL)
    assert done.returncode == 0, done.stderr


# -- without what only Linux has ---------------------------------------------------------------------------------------


def test_nothing_is_said_when_the_simulator_is_imported():
    program = (
        "import zerowait\nfrom zerowait import Simulator, SimulatedExecutor\n"
        "from zerowait.suite.sharing import locks, system\n"
        "import os; assert not (locks.HAS_BYTE_LOCKS or system.HAS_PROC or hasattr(os, 'posix_fallocate'))"
    )
    done = on_another_platform("-W", "error", "-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def trace_file(directory):
    """Make a run of continued trainings, by three processes at once, and return the bytes of its trace's file."""
    queries = [Query({"x": x}, float(z)) for z in (1, 3, 9) for x in range(6)]
    trace = with_pool(
        queries, a_minute_an_epoch, n_workers=3, max_evaluations=18, overhead=Overhead.fixed(0.7), continual=True,
        directory=directory, seed=3,
    )  # fmt: skip
    return write_trace(trace, Path(directory, "trace.parquet")).read_bytes()


def a_minute_an_epoch(config, fidelity):
    return Evaluation(config["x"] / fidelity, 60.0 * fidelity * (1 + config["x"] % 4))


def test_the_file_of_a_trace_is_the_same_to_the_last_byte(tmp_path):
    program = f"from test_platform import trace_file; trace_file({str(tmp_path / 'elsewhere')!r})"
    done = on_another_platform("-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{program}")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "elsewhere" / "run.json").read_text())["specification"]["locks"] == "files"
    assert (tmp_path / "elsewhere" / "trace.parquet").read_bytes() == trace_file(tmp_path / "here")


@needs_one_host
def test_a_run_of_another_platform_is_not_joined(tmp_path):
    done = on_another_platform(
        "-c", f"import zerowait; zerowait.Simulator(len, n_workers=2, directory={str(tmp_path)!r}, seed=3)"
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(RunMismatchError, match="holds a run with locks='files', not None"):
        Simulator(len, n_workers=2, directory=tmp_path, seed=3, shared_directory=True)


def test_some_tests_of_the_simulator(tmp_path):
    """With processes that are killed among them; all tests of the core are `make elsewhere`."""
    folder = Path(__file__).parent / "sharing"
    done = on_another_platform(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}",
        *(f"{folder / file}::{name}" for file, name in SOME_TESTS),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


SOME_TESTS = [
    ("test_locks.py", "test_a_number_is_taken_until_its_process_is_killed"),
    ("test_shared_directory.py", "test_a_killed_worker_is_noticed[continue]"),
    ("test_dead_workers.py", "test_all_threads_of_a_killed_process_are_lost_and_the_others_go_on"),
    ("test_dead_workers.py", "test_a_child_that_outlives_a_killed_process_does_not_keep_its_slot"),
    ("test_idle_rule.py", "test_a_master_that_polls_sleeps_or_waits_for_a_lock_is_idle[sleep]"),
]


@pytest.mark.parametrize("full", [False, True])
def test_a_file_gets_room_on_disk_or_an_error_where_none_can_be_reserved(tmp_path, monkeypatch, full):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "table"
    path.write_bytes(b"begun")
    os.truncate(path, 3 << 20)  # a hole, as of a map
    size, room = (4 << 20) + 1, (1 << 20) + 7 if full else 1 << 30
    written, pwrite = [0], os.pwrite

    def on_a_disk(descriptor, data, offset):
        """Take what has room, as a full disk does, and say on the next attempt that there is none."""
        if offset >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert offset == written[-1], "without a gap"
        written.append(offset + pwrite(descriptor, data[: room - offset], offset))
        return written[-1] - offset

    monkeypatch.setattr(os, "pwrite", on_a_disk)
    with path.open("r+b") as file:
        if full:
            with pytest.raises(OSError, match="No space left on device"):
                system.allocate(file.fileno(), size)
            return
        system.allocate(file.fileno(), size)
    assert written[-1] == size
    assert path.read_bytes() == b"begun".ljust(size, b"\0")


# -- CPU times without /proc -------------------------------------------------------------------------------------------


def test_psutil_tells_what_proc_tells(monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        from_proc = processes.cpu_times([processes.this_process()])
        monkeypatch.setattr(processes, "HAS_PROC", False)
        me = processes.this_process()
        from_psutil = processes.cpu_times([me])
        assert {os.getpid(), child.pid} <= from_proc.keys() & from_psutil.keys()
        assert from_psutil[os.getpid()] == pytest.approx(from_proc[os.getpid()], abs=0.5)
        # In ticks of the clock: the same number of them is not always the same fraction.
        ticks = [round(found[child.pid] * os.sysconf("SC_CLK_TCK")) for found in (from_psutil, from_proc)]
        assert ticks[0] >= ticks[1] > 0
        assert processes.is_alive(*me)
        assert not processes.is_alive(me[0], me[1] + 5)  # another process of the same number
        assert processes.cpu_times([(me[0], me[1] + 5)]) == {}
    finally:
        child.kill()
        child.wait()
    assert not processes.is_alive(child.pid, me[1])


def test_what_waiting_uses_up_is_no_work_where_threads_are_not_told_apart(monkeypatch):
    """Each of many threads that wait looks at the table now and then; together that is more than a tenth of a core."""
    monkeypatch.setattr(activity, "HAS_PROC", False)
    monkeypatch.setattr(activity, "cpu_times", lambda _: {os.getpid(): time.process_time()})
    watch = Watch(0.1)
    with activity.among_waiting():
        watch.begin(watch.look([]))
        in_a_thread(lambda: wait_and_use(0.1))
        use(0.1)  # as the thread that watches does for its looks
        assert watch.workers(watch.look([]), 0.5, 0.1) == set()
        in_a_thread(lambda: use(0.1))
        assert watch.workers(watch.look([]), 0.5, 0.1) == {(os.getpid(), 0)}


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def use(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def wait_and_use(seconds):
    with activity.among_waiting():
        use(seconds)


def test_who_wakes_up_late_has_waited_for_a_core(monkeypatch):
    """0.5 s were asked for, and 2 s passed; that was not quiet for 1.5 s."""
    monkeypatch.setattr(activity, "HAS_PROC", False)
    moments = iter([10.0, 12.0])
    clock = SimpleNamespace(monotonic=lambda: next(moments), sleep=lambda _: None, thread_time=time.thread_time)
    monkeypatch.setattr(activity, "time", clock)
    watch, seen = Watch(0.1), activity.Look({}, {})
    watch.begin(seen)
    activity.sleep(0.5)
    assert watch.held_up(seen) == 1.5
    watch.begin(seen)
    assert watch.held_up(seen) == 0.0
