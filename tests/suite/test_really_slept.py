"""The ground truth: what is simulated agrees with what was really slept."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from drivers import Lookup

from zerowait.suite import Overhead, Simulator, naive
from zerowait.suite.naive import NaiveRun
from zerowait.suite.rules.errors import SpecificationError

RUNTIMES = (0.25, 0.29, 0.201, 0.132, 0.217, 0.272, 0.265, 0.102, 0.289, 0.162, 0.27, 0.161)
# A machine wakes a sleeper and starts a thread late. With four workers no two evaluations of these runtimes end within
# this share of a second of each other, so their order does not depend on workers that are late by less.
TOLERANCE = 0.02
SLOWER = (1, 2, 4, 8, 16, 32)
"""The busier the machine, the later it wakes; then all sleep for longer, of which the same lateness is less."""


def drive(simulator, n_workers=4):
    todo, taking = iter(range(len(RUNTIMES))), threading.Lock()

    def work():
        while True:
            with taking:
                k = next(todo, None)
            if k is None:
                return
            simulator({"x": k})

    threads = [threading.Thread(target=work) for _ in range(n_workers)]
    with simulator:
        for k, thread in enumerate(threads):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in threads:
            thread.join()
        return simulator.trace()


def lateness(trace, runtimes):
    """Return by how many seconds the latest worker is behind: all that its evaluations took beside their runtimes."""
    late = trace["end"] - trace["freed"] - np.array(runtimes)[trace["config.x"]]
    return late.groupby(trace["worker"]).sum().max()


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.measured()], ids=["none", "measured"])
def test_twelve_slept_evaluations_have_the_simulated_order_and_times(overhead):
    for slower in SLOWER:
        runtimes, tolerance = tuple(slower * runtime for runtime in RUNTIMES), slower * TOLERANCE
        slept = drive(NaiveRun(Lookup(runtimes), n_workers=4, max_evaluations=12))
        simulated = drive(Simulator(Lookup(runtimes), n_workers=4, max_evaluations=12, overhead=overhead))
        if max(lateness(slept, runtimes), lateness(simulated, runtimes)) < tolerance:
            break
    assert slept["config.x"].tolist() == simulated["config.x"].tolist()
    for column in ("start", "end"):
        assert (slept[column] - simulated[column]).abs().max() < tolerance, column


def test_the_chosen_runtimes_leave_no_order_to_chance():
    simulated = drive(Simulator(Lookup(RUNTIMES), n_workers=4, max_evaluations=12, overhead=Overhead.none()))
    assert np.diff(simulated["end"]).min() > TOLERANCE


def test_a_time_scale_shortens_the_sleep_and_not_the_recorded_times(monkeypatch):
    slept = []

    def noted(seconds):
        slept.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(naive, "time", SimpleNamespace(sleep=noted))
    trace = drive(NaiveRun(Lookup(RUNTIMES), n_workers=4, max_evaluations=12, time_scale=0.1))
    assert len(slept) == 12
    assert 0.0 < sum(slept) <= 0.1 * sum(RUNTIMES)  # less where a call comes late to its sleep
    assert trace["end"].max() > sum(RUNTIMES) / 4


def test_a_time_scale_that_is_no_positive_number_is_refused():
    with pytest.raises(SpecificationError, match="time_scale is 0"):
        NaiveRun(Lookup(RUNTIMES), n_workers=4, time_scale=0)


def test_an_overhead_is_refused_because_real_time_passes_by_itself():
    with pytest.raises(SpecificationError, match="takes no overhead"):
        NaiveRun(Lookup(RUNTIMES), n_workers=4, overhead=Overhead.none())
