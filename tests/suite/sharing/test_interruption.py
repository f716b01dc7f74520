"""Ctrl-C in a process whose threads wait for results: the program ends, whatever sign of idleness was chosen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from drivers import environment

from zerowait.suite.records.check import check
from zerowait.suite.sharing.interruption import main_thread_is_interrupted

SCRIPT = """
import os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.rules.idle import Idle

# One write an exception: tracebacks of several threads come in pieces, which land in one another.
threading.excepthook = lambda of: os.write(2, f"{of.exc_type.__name__}: {of.exc_value}\\n".encode())
directory, how, sign, after, death = sys.argv[1:]
simulator = Simulator(
    lambda config: Evaluation(0.0, 1.0 + config["x"]), n_workers=4, max_evaluations=100, overhead=Overhead.none(),
    directory=directory, idle=Idle(after=float(after), sign=sign), on_worker_death=death,
)
configs = [{"x": x} for x in range(3)]

def ready():
    simulator.wait_started(3)
    print("ready", flush=True)

if how == "an executor in a with block":
    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(simulator, config) for config in configs]
        ready()
        futures[0].result()
elif how == "an executor":
    executor = ThreadPoolExecutor(4)
    futures = [executor.submit(simulator, config) for config in configs]
    ready()
    futures[0].result()
elif how == "threads":
    threads = [threading.Thread(target=simulator, args=(config,)) for config in configs]
    for thread in threads: thread.start()
    ready()
    for thread in threads: thread.join()
elif how == "a finally clause":
    threads = [threading.Thread(target=simulator, args=(config,)) for config in configs]
    for thread in threads: thread.start()
    ready()
    try:
        time.sleep(1000)
    finally:
        for thread in threads: thread.join()
"""
HOW = ["an executor in a with block", "an executor", "threads", "a finally clause"]


def interrupted(tmp_path, how, sign, after, death="raise"):
    """Run the script, interrupt it; return what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path / "run", how, sign, str(after), death],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=200)[1]  # without the rule it never ends
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert check(tmp_path / "run").violations == ()
    return errors


@pytest.mark.parametrize("how", HOW)
def test_threads_that_wait_for_ever_end_with_the_main_thread(tmp_path, how):
    errors = interrupted(tmp_path, how, "never", 0.4)
    if "executor" not in how:  # an executor keeps the exceptions of its threads to itself
        assert "RunAborted: the main thread was interrupted, and this call waits for workers that get no more" in errors
    assert check(tmp_path / "run").n_records == 0


def test_threads_that_would_wait_for_long_end_with_the_main_thread(tmp_path):
    interrupted(tmp_path, "threads", "cpu", 1000.0)


def test_calls_that_are_left_so_are_recorded_as_lost_where_a_run_goes_on_without_them(tmp_path):
    interrupted(tmp_path, "threads", "never", 0.4, "continue")
    assert check(tmp_path / "run").n_records == 3


def test_results_that_the_idle_rule_releases_are_still_recorded(tmp_path):
    interrupted(tmp_path, "threads", "cpu", 0.3)
    assert check(tmp_path / "run").n_records == 3


def test_a_main_thread_that_handles_an_interrupt_or_another_exception_is_told_from_one_that_does_not():
    found = {}

    def look(when):
        thread = threading.Thread(target=lambda: found.setdefault(when, main_thread_is_interrupted()))
        thread.start()
        thread.join()

    class Left:
        """Looks while its block is left by an exception."""

        def __init__(self, when):
            self.when = when

        def __enter__(self):
            return self

        def __exit__(self, *_):
            look(self.when)
            with contextlib.suppress(ValueError), Nested():
                int("no number")
            return True

    class Nested:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            look("handling another one that came of it")

    def interrupt():
        signal.raise_signal(signal.SIGINT)

    look("before")
    with Left("handling it"):
        interrupt()
    with contextlib.suppress(ValueError):
        try:
            int("no number")
        finally:
            look("handling another one")
    look("after")
    assert [when for when, interrupted in found.items() if interrupted] == [
        "handling it",
        "handling another one that came of it",
    ]
    assert len(found) == 5
