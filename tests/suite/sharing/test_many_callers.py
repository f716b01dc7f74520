"""A thousand callers in line: what each of them does while it waits must not keep the others from the run."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import threading
import time

import pytest
from failing import HANG

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.rules.errors import RunAborted
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.dead_workers import DeadWorkers
from zerowait.suite.sharing.rundir import RunDirectory

CALLERS = 80
LOOKS = 40


def evaluate(config):
    return Evaluation(0.0, 1.0 + config["k"])


@pytest.fixture
def scans(monkeypatch):
    """The times at which somebody asked the kernel about every holder of a slot."""
    found = []
    original = DeadWorkers.reap_all

    def counted(self):
        found.append(time.monotonic())
        return original(self)

    monkeypatch.setattr(DeadWorkers, "reap_all", counted)
    return found


@pytest.fixture
def full_disk(monkeypatch):
    """An event; while it is set, long descriptions cannot be written."""
    is_full = threading.Event()
    spill = RunDirectory.write_spill

    def write_spill(self, slot, text, *offset):
        if is_full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return spill(self, slot, text, *offset)

    monkeypatch.setattr(RunDirectory, "write_spill", write_spill)
    return is_full


def test_callers_that_wait_for_long_do_not_all_look_for_the_dead(tmp_path, scans):
    # One slot stays free and is never taken to be idle, so all of them wait until the run is aborted.
    began = time.monotonic()
    simulator = Simulator(
        evaluate, n_workers=CALLERS + 1, directory=tmp_path / "run", max_evaluations=2 * CALLERS,
        overhead=Overhead.none(), idle=Idle(after=0.4, sign="never"),
    )  # fmt: skip
    refused = []

    def call(k):
        with pytest.raises(RunAborted):
            simulator({"k": k})
        refused.append(k)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(CALLERS)]
    for thread in threads:
        thread.start()
    simulator.wait_started(CALLERS)
    while len(scans) < LOOKS:
        time.sleep(0.05)
    looked, took = len(scans), time.monotonic() - began
    simulator.abort()
    for thread in threads:
        thread.join()
    assert sorted(refused) == list(range(CALLERS))
    # A quarter of `after` lies between two scans, however many wait. It was once for each caller every two seconds.
    assert looked <= took / 0.1 + 1


def test_a_run_with_many_callers_goes_on_without_looking(tmp_path, scans):
    """Each waits longer than the time after which a caller looks, but others are delivered meanwhile."""
    n = 60
    with Simulator(
        evaluate, n_workers=n, directory=tmp_path / "run", max_evaluations=3 * n, overhead=Overhead.none(),
        idle=Idle(after=0.08, sign="never"),
    ) as simulator:  # fmt: skip
        slow = Coordinator.deliver

        def deliver(self, *arguments, **named):
            time.sleep(0.002)  # so that a caller's turn comes after several times the 20 ms
            return slow(self, *arguments, **named)

        numbers = itertools.count()
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Coordinator, "deliver", deliver)
            threads = [
                threading.Thread(target=lambda: [simulator({"k": next(numbers)}) for _ in range(3)]) for _ in range(n)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ended = time.monotonic()
        trace = simulator.trace()
    assert len(trace) == 3 * n
    assert trace["end"].is_monotonic_increasing
    # At most every 20 ms, and not once for each call; without the rule there were as many as calls.
    assert len(scans) <= (ended - began) / 0.02 + 1


def test_what_only_its_own_process_can_see_is_seen_although_others_look(tmp_path, full_disk):
    """The disk is full for a moment while a call ends; its process lives on, and no other knows that it left."""
    everybody_waits, is_full = threading.Event(), full_disk

    def evaluate_when_told(config):
        if config["k"] == 0:
            everybody_waits.wait()
            is_full.set()
        return evaluate(config)

    def simulator():
        return Simulator(
            evaluate_when_told, n_workers=12, directory=tmp_path / "run", max_evaluations=30, overhead=Overhead.none(),
            on_worker_death="continue", idle=Idle(after=1.0, sign="never"),
        )  # fmt: skip

    def calls_of_another_process():
        theirs = simulator()
        threads = [threading.Thread(target=theirs, args=({"k": k},)) for k in range(1, 11)]
        for thread in threads:
            thread.start()

    def call_that_fails():
        with pytest.raises(Exception, match="No space left"):
            ours({"k": 0, "text": 5000 * "x"})

    def call_that_waits():
        with pytest.raises(RunAborted):
            ours({"k": 100})

    ours = simulator()
    other = multiprocessing.get_context("fork").Process(target=calls_of_another_process, daemon=True)
    other.start()
    failing = threading.Thread(target=call_that_fails)
    failing.start()
    last_in_line = threading.Thread(target=call_that_waits)
    try:
        ours.wait_started(11)
        last_in_line.start()
        ours.wait_started(12)
        time.sleep(1.5)  # all of them have begun to look now and then
        everybody_waits.set()
        failing.join()
        is_full.clear()
        deadline = time.monotonic() + HANG
        while not ours.progress()["recorded"]:  # nobody else can tell them
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        is_full.clear()
        ours.abort()
        other.kill()
        other.join()
        last_in_line.join()
