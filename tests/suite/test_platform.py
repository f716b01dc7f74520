"""What an operating system other than Linux gets, and a Linux without /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zerowait import suite
from zerowait.suite.sharing import processes

ELSEWHERE = """
import fcntl, os, resource, sys
import pandas, pyarrow  # built for this platform, which they find out when they are imported
sys.platform = "darwin"
for name in [name for name in dir(fcntl) if "OFD" in name]:
    delattr(fcntl, name)
del os.posix_fallocate
"""
ASK_AND_TELL = """
from zerowait.suite import Evaluation, Overhead, Query, simulate

class Two:
    def __init__(self): self.queries = iter([Query({"x": 0}), Query({"x": 1})])
    def ask(self): return next(self.queries)
    def tell(self, query, evaluation): pass

trace = simulate(Two(), lambda config: Evaluation(0.0, 2.0), n_workers=1, overhead=Overhead.none())
assert trace["end"].tolist() == [2.0, 4.0]
"""


def on_another_platform(program):
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE + program], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(suite.__file__).parents[2])},
    )  # fmt: skip


@pytest.mark.parametrize(
    "program",
    [
        "from zerowait.suite import Simulator",
        "import zerowait.suite.naive",
        "import zerowait.suite.sharing.shared_directory",
        "import zerowait.suite.sharing.transport",
    ],
)
def test_the_simulator_says_that_it_needs_linux(program):
    done = on_another_platform(program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "zerowait.suite.rules.errors.UnsupportedPlatformError: the multi-core Simulator needs Linux (locks of open "
        "file descriptions, posix_fallocate), and this is darwin; `zerowait.simulate`, for ask-and-tell optimizers, "
        "runs here as well"
    )


def test_ask_and_tell_runs_elsewhere():
    done = on_another_platform(ASK_AND_TELL)
    assert done.returncode == 0, done.stderr


def test_ask_and_tell_needs_no_module_that_windows_does_not_have():
    done = on_another_platform('sys.modules["fcntl"] = None; sys.modules["resource"] = None\n' + ASK_AND_TELL)
    assert done.returncode == 0, done.stderr


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
