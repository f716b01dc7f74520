"""The claims of docs/design.md, each a test of the name that stands there."""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from drivers import Lookup, Scripted, in_one_process, with_threads
from failing import HANG
from hypothesis import given
from hypothesis import strategies as st

from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.idle import Idle

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "design.md"
OVERHEADS = [Overhead.none(), Overhead.fixed(0.7), Overhead.linear(0.1, 0.02), Overhead.fixed(0.7, sampling="parallel")]


def test_every_claim_of_the_page_has_its_test():
    claims = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(claims) >= 12
    assert claims <= defined


@given(st.integers(1, 20), st.lists(st.floats(0, 50), min_size=1, max_size=80), st.sampled_from(OVERHEADS))
def test_ends_never_decrease(n_workers, runtimes, overhead):
    configs = [{"x": k} for k in range(len(runtimes))]
    trace = in_one_process(
        configs, Lookup(tuple(runtimes)), n_workers=n_workers, max_evaluations=len(runtimes), overhead=overhead
    )
    assert trace["end"].is_monotonic_increasing
    assert len(trace) == len(runtimes)


class Dawdling:
    """An objective whose query takes a random real time, so that callers come through in another order every time."""

    def __init__(self, runtimes, seed):
        self.runtimes, self.random = runtimes, random.Random(seed)

    def __call__(self, config):
        time.sleep(self.random.uniform(0.0, 0.004))
        return Evaluation(float(config["x"]), self.runtimes[config["x"]])


@pytest.mark.parametrize("overhead", OVERHEADS, ids=lambda overhead: overhead.name)
def test_the_order_of_arrival_decides_nothing(overhead):
    runtimes = tuple(np.random.default_rng(3).integers(0, 6, 60).astype(float).tolist())
    configs = [{"x": k} for k in range(60)]
    arguments = {"n_workers": 7, "max_evaluations": 60, "overhead": overhead}
    straight = in_one_process(configs, Lookup(runtimes), **arguments)
    for seed in range(3):
        assert with_threads(configs, Dawdling(runtimes, seed), **arguments).equals(straight)


@pytest.mark.parametrize("overhead", OVERHEADS, ids=lambda overhead: overhead.name)
def test_exactly_one_slot_is_free_after_start_up(overhead):
    n_workers, n = 6, 40
    inside = []  # how many calls hold a result while somebody samples

    with Simulator(
        Lookup(tuple(np.random.default_rng(1).uniform(0, 9, n).tolist())),
        n_workers=n_workers, max_evaluations=n, overhead=overhead,
    ) as simulator:  # fmt: skip
        todo, taking, sampling = iter(range(n)), threading.Lock(), []

        def work():
            while True:
                with taking:
                    k = next(todo, None)
                    if k is None:
                        return
                    sampling.append(threading.get_ident())
                if k >= n_workers:
                    time.sleep(0.002)  # a second sampler would show up here
                    inside.append(len(sampling))
                with taking:
                    sampling.remove(threading.get_ident())
                simulator({"x": k})

        threads = [threading.Thread(target=work) for _ in range(n_workers)]
        for k, thread in enumerate(threads):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in threads:
            thread.join()
    assert inside == [1] * (n - n_workers)


def test_equal_ends_are_delivered_by_start_and_then_by_identity():
    # Two workers. A: 0 to 4. B: 0 to 2, C: 2 to 4. D and E fill up. At 4 A comes before C, because it started earlier.
    runtimes = {"A": 4.0, "B": 2.0, "C": 2.0, "D": 9.0, "E": 9.0}
    trace = in_one_process(
        [{"x": name} for name in runtimes], lambda config: Evaluation(0.0, runtimes[config["x"]]),
        n_workers=2, max_evaluations=5, overhead=Overhead.none(),
    )  # fmt: skip
    assert trace["config.x"].tolist()[:3] == ["B", "A", "C"]
    # Five workers, all from 0 to 1: nothing but the identity tells them apart.
    names = ["p", "q", "r", "s", "t"]
    trace = in_one_process(
        [{"x": name} for name in names],
        lambda _: Evaluation(0.0, 1.0),
        n_workers=5,
        max_evaluations=5,
        overhead=Overhead.none(),
    )
    assert trace["config.x"].tolist() == sorted(names, key=lambda name: digest(canonical_json({"x": name})))


def test_the_optimizer_is_served_between_equal_ends():
    events = []

    class Watching(Scripted):
        def ask(self):
            query = super().ask()
            events.append("ask")
            return query

        def tell(self, query, evaluation):
            events.append("tell")

    simulate(
        Watching([{"x": k} for k in range(9)]), lambda _: Evaluation(0.0, 3.0),
        n_workers=3, max_evaluations=9, overhead=Overhead.none(),
    )  # fmt: skip
    assert events == ["ask"] * 3 + ["tell", "ask"] * 6 + ["tell"] * 3


def test_the_tail_of_a_budget_needs_no_idle_release():
    runtimes = tuple(float(k % 5 + 1) for k in range(40))
    trace = with_threads(
        [{"x": k} for k in range(40)], Lookup(runtimes), n_workers=16, max_evaluations=40, overhead=Overhead.none(),
        idle=Idle(after=60.0),
    )  # fmt: skip
    assert len(trace) == 40
    assert trace.attrs["zerowait"]["idle_releases"] == 0


def test_a_wrong_guess_moves_the_start_to_the_released_delivery():
    """Two workers: A runs 0 to 1, B 0 to 10. After A the optimizer thinks 1 s, and is taken for idle after 0.2 s."""
    runtimes = {"A": 1.0, "B": 10.0, "C": 2.0}
    starts = {}
    with Simulator(
        lambda config: Evaluation(0.0, runtimes[config["x"]]), n_workers=2, overhead=Overhead.none(),
        idle=Idle(after=0.2, sign="grace"),
    ) as simulator:  # fmt: skip

        def first():
            starts["A"] = simulator({"x": "A"}).start
            time.sleep(1.0)
            starts["C"] = simulator({"x": "C"}).start

        def second():
            starts["B"] = simulator({"x": "B"}).start

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        threads[0].start()
        simulator.wait_started(1)
        threads[1].start()
        for thread in threads:
            thread.join()
        trace = simulator.trace()
    # Had it waited, C would have run from 1 to 3. B was released at 10, so that is where C starts; the count says so.
    assert starts == {"A": 0.0, "B": 0.0, "C": 10.0}
    assert trace["config.x"].tolist() == ["A", "B", "C"]
    assert trace["end"].tolist() == [1.0, 10.0, 12.0]
    assert trace.attrs["zerowait"]["idle_releases"] >= 1


def test_ask_and_tell_never_guesses():
    class Rungs:
        """Four at a time; the next four when all have been told."""

        def __init__(self):
            self.asked = self.told = 0

        def ask(self):
            if self.asked == self.told + 4 or (self.asked % 4 == 0 and self.asked != self.told):
                return None
            self.asked += 1
            return Query({"x": self.asked})

        def tell(self, query, evaluation):
            self.told += 1

    # Three workers; a rung of 1, 2, 3, 4 s: 1 to 3 start at 0, the fourth at 1 and ends at 5. The next rung begins
    # there.
    trace = simulate(
        Rungs(), lambda config: Evaluation(0.0, float((config["x"] - 1) % 4 + 1)),
        n_workers=3, max_evaluations=8, overhead=Overhead.none(),
    )  # fmt: skip
    assert trace["end"].tolist() == [1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0, 10.0]
    assert trace.attrs["zerowait"]["idle_releases"] == 0


@pytest.mark.parametrize("overhead", OVERHEADS, ids=lambda overhead: overhead.name)
def test_modelled_times_are_exact_to_the_last_bit(overhead):
    """One worker: each start is the sum that the policy says, added up in the same order."""
    runtimes = tuple(np.random.default_rng(8).pareto(1.0, 30).tolist())
    trace = in_one_process(
        [{"x": k} for k in range(30)], Lookup(runtimes), n_workers=1, max_evaluations=30, overhead=overhead
    )
    clock = 0.0
    for k, runtime in enumerate(runtimes):
        clock += overhead.charge(k)
        assert trace["start"][k] == clock
        clock += runtime
        assert trace["end"][k] == clock


# A machine wakes a sleeper when it can: what is charged is compared with what was really slept. It is measured within
# the simulator's calls, so it lies between the real seconds from a call's return to the next call's begin and those
# from the call's begin to the next one's return. Both clocks are the same; sums of seconds may differ in the last bits.
ROUNDING = 1e-9


def test_measured_sampling_is_charged_second_for_second():
    called, returned = [], [time.monotonic()]
    with Simulator(lambda _: Evaluation(0.0, 100.0), n_workers=1, max_evaluations=3) as simulator:
        for k in range(3):
            if k:
                time.sleep(0.1)
            called.append(time.monotonic())
            simulator({"x": k})
            returned.append(time.monotonic())
        trace = simulator.trace()
    first, *charged = trace["overhead"]
    assert 0.0 <= first <= returned[1] - returned[0]
    for k, overhead in enumerate(charged, start=1):
        assert 0.1 <= called[k] - returned[k] <= overhead + ROUNDING
        assert overhead <= returned[k + 1] - called[k - 1] + ROUNDING
    assert trace["start"].tolist() == pytest.approx(
        [first, 100.0 + first + charged[0], 200.0 + first + sum(charged)], rel=0, abs=ROUNDING
    )


def test_the_query_of_the_objective_is_not_charged():
    asked = 0.0

    def slow(config):
        nonlocal asked
        began = time.monotonic()
        time.sleep(0.2)
        asked += time.monotonic() - began
        return Evaluation(0.0, 1.0)

    began = time.monotonic()
    with Simulator(slow, n_workers=1, max_evaluations=4) as simulator:
        for k in range(4):
            simulator({"x": k})
        trace = simulator.trace()
    # Whatever is charged beside the four runtimes was spent outside the objective.
    assert 0.0 <= trace["end"].iloc[-1] - 4.0 <= time.monotonic() - began - asked + ROUNDING


def test_results_that_become_due_during_sampling_are_delivered_meanwhile():
    """A ends at 0.1 and its worker samples until it has seen B, which ends at 0.3 and must not wait for that."""
    runtimes = {"A": 0.1, "B": 0.3, "C": 1.0}
    b_is_there = threading.Event()
    moments = {}
    with Simulator(lambda config: Evaluation(0.0, runtimes[config["x"]]), n_workers=2, max_evaluations=3) as simulator:

        def first():
            moments["A called"] = time.monotonic()
            simulator({"x": "A"})
            moments["A returned"] = time.monotonic()
            assert b_is_there.wait(HANG)
            moments["C called"] = time.monotonic()
            simulator({"x": "C"})
            moments["C returned"] = time.monotonic()

        def second():
            simulator({"x": "B"})
            b_is_there.set()

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        for k, thread in enumerate(threads):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in threads:
            thread.join()
        trace = simulator.trace()
    assert trace["config.x"].tolist() == ["A", "B", "C"]
    sampled = trace["start"].iloc[2] - trace["end"].iloc[0]
    assert moments["C called"] - moments["A called"] >= 0.2  # B came when it was due and not before
    assert moments["C called"] - moments["A returned"] <= sampled + ROUNDING
    assert sampled <= moments["C returned"] - moments["A called"] + ROUNDING


def test_the_same_query_gets_the_same_seed_whoever_asks():
    seeds = {}

    def objective(config, *, seed=None):
        seeds.setdefault(config["x"], set()).add(seed)
        return Evaluation(0.0, 1.0 + config["x"])

    configs = [{"x": k % 5} for k in range(30)]
    for drive in (in_one_process, with_threads):
        drive(configs, objective, n_workers=3, max_evaluations=30, seed=11, overhead=Overhead.none())
    assert all(len(drawn) == 1 for drawn in seeds.values())
    assert len({next(iter(drawn)) for drawn in seeds.values()}) == 5
