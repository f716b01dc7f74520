"""A thousand callers in line: what each of them does while it waits must not keep the others from the run."""

from __future__ import annotations

import threading
import time

import pytest

from suite import Evaluation, Overhead, Simulator
from suite.coordination import Coordinator
from suite.errors import RunAborted
from suite.idle import Idle

CALLERS = 80
SECONDS = 2.5


def evaluate(config):
    return Evaluation(0.0, 1.0 + config["k"])


@pytest.fixture
def scans(monkeypatch):
    """The times at which somebody asked the kernel about every holder of a slot."""
    found = []
    original = Coordinator.bury_the_dead

    def counted(self):
        found.append(time.monotonic())
        return original(self)

    monkeypatch.setattr(Coordinator, "bury_the_dead", counted)
    return found


def test_callers_that_wait_for_long_do_not_all_look_for_the_dead(tmp_path, scans):
    # One slot stays free and is never taken to be idle, so all of them wait until the run is aborted.
    simulator = Simulator(
        evaluate, n_workers=CALLERS + 1, directory=tmp_path / "run", max_evaluations=2 * CALLERS,
        overhead=Overhead.none(), idle=Idle(after=1.0, sign="never"),
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
    began = time.monotonic()
    time.sleep(SECONDS)  # what is measured is how often they look in a time
    looked = sum(began <= at < began + SECONDS for at in scans)
    simulator.abort()
    for thread in threads:
        thread.join()
    assert sorted(refused) == list(range(CALLERS))
    # A quarter of `after` lies between two scans, however many wait. It was once for each caller every two seconds.
    assert 2 <= looked <= SECONDS / 0.25 + 1


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

        numbers = iter(range(3 * n))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Coordinator, "deliver", deliver)
            threads = [
                threading.Thread(target=lambda: [simulator({"k": next(numbers)}) for _ in range(3)]) for _ in range(n)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        trace = simulator.trace()
    assert len(trace) == 3 * n
    assert trace["end"].is_monotonic_increasing
    assert len(scans) <= 3 * n * 0.002 / 0.02 + 20
