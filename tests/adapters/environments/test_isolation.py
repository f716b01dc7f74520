"""A function in a process of its own: fixed environment, its outcome here, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import cloudpickle
import psutil
import pytest

from zerowait.adapters.environments.isolation import ENVIRONMENT, run_isolated
from zerowait.suite.rules.errors import SpecificationError, WorkerDied, ZerowaitError

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class AwkwardError(Exception):
    """Cannot be unpickled: its class wants two arguments and keeps one."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


def wait_until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.02)


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def group_of(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def start_a_sleeper():
    return subprocess.Popen(["sleep", "600"]).pid


def test_the_function_runs_in_another_process_and_returns_here():
    assert run_isolated(lambda a, *, b: (os.getpid(), a + b), 1, b=2) == (
        pytest.approx(os.getpid(), abs=10**9),
        3,
    )
    assert run_isolated(os.getpid) != os.getpid()


def test_where_no_descriptor_tells_of_the_end_and_a_group_that_ended_is_refused_a_signal(monkeypatch):
    """As on macOS; what the function has left behind is killed with its group all the same."""

    def killpg(group, sign):
        if all(gone(pid) for pid in psutil.pids() if group_of(pid) == group):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        kill(group, sign)

    kill = os.killpg
    monkeypatch.setattr(os, "killpg", killpg)
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert run_isolated(pow, 2, 3) == 8
    sleeper = run_isolated(start_a_sleeper)
    wait_until(lambda: gone(sleeper), "the sleeper was killed")


def test_the_environment_is_fixed_whatever_the_callers_is(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    found, hashed = run_isolated(lambda: (dict(os.environ), hash("zerowait")))
    assert {name: found[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert found["PYTHONHASHSEED"] == "0"
    assert run_isolated(hash, "zerowait") == hashed
    assert os.environ["OMP_NUM_THREADS"] == "8"


def test_an_exception_is_raised_here_with_the_other_processs_traceback():
    def fail():
        raise SpecificationError("seed is -1")

    with pytest.raises(SpecificationError, match="seed is -1") as caught:
        run_isolated(fail)
    assert any("in fail" in note for note in caught.value.__notes__)


def test_an_exception_that_cannot_be_pickled_travels_as_its_text():
    def fail():
        raise AwkwardError("one", "two")

    with pytest.raises(ZerowaitError, match="AwkwardError: one"):
        run_isolated(fail)


def test_a_result_that_cannot_be_pickled_is_an_error():
    with pytest.raises(ZerowaitError, match="pickle"):
        run_isolated(lambda: (i for i in range(3)))


def test_the_death_of_the_process_is_reported_with_its_signal():
    with pytest.raises(WorkerDied, match="ended by signal SIGKILL before the run did"):
        run_isolated(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_an_early_exit_is_reported_with_its_code():
    with pytest.raises(WorkerDied, match="ended with exit code 3 before the run did"):
        run_isolated(os._exit, 3)


def test_what_the_function_started_ends_with_it():
    pid = run_isolated(start_a_sleeper)
    wait_until(lambda: gone(pid), "the sleeper was gone")


def test_what_the_function_started_ends_when_the_function_fails(tmp_path):
    def fail():
        (tmp_path / "pid").write_text(str(start_a_sleeper()))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_isolated(fail)
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())), "the sleeper was gone")


CALLER = """
import os, subprocess, sys, time
from zerowait.adapters.environments.isolation import run_isolated

def work(path):
    sleeper = subprocess.Popen(["sleep", "600"])
    with open(path + ".partial", "w") as file:
        file.write(f"{os.getpid()} {sleeper.pid}")
    os.rename(path + ".partial", path)
    time.sleep(600)

run_isolated(work, sys.argv[1])
"""


RESTARTING = "import signal; signal.siginterrupt(signal.SIGINT, False)\n"
"""What importing polars does: calls of the system go on after Ctrl-C, except those that wait for several files."""


@pytest.mark.parametrize(
    ("how", "before"), [(signal.SIGKILL, ""), (signal.SIGINT, ""), (signal.SIGINT, RESTARTING)],
    ids=["killed", "interrupted", "interrupted, calls go on"],
)  # fmt: skip
def test_nothing_survives_the_death_of_the_caller(tmp_path, how, before):
    # The function is defined in a script without a `__main__` guard: it travels by value, nothing runs twice.
    path = tmp_path / "pids"
    caller = subprocess.Popen([sys.executable, "-c", before + CALLER, str(path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(path.exists, "the function ran")
        pids = [int(pid) for pid in path.read_text().split()]
        caller.send_signal(how)
        caller.wait(timeout=300)
        wait_until(lambda: all(map(gone, pids)), f"{pids} were gone")
    finally:
        caller.kill()
        caller.wait()
