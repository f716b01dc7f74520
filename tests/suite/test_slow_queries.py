"""Under measured overhead, slow queries of the objective change nothing: starts and knowledge are those of a slept run.

Nothing here depends on the machine's speed. The optimizer notes when it sampled, when each call came in and when each
result left the simulator, and an independent model of the optimizer is fed with these instants. Where a busy machine
keeps a thread waiting between two readings of the clock for longer than the tolerance, everything is repeated at half
the speed, the tolerance included: a wrong rule is as wrong at every speed.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import queue
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.check import check, render
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.delivery_wait import DeliveryWait
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.shared_directory import SharedDirectoryTransport
from zerowait.suite.sharing.transport import LocalTransport

TOLERANCE = 0.02
"""Seconds between what was charged and what was noted, at full speed: the microseconds between two readings of the
clock, and what a process that is not running at that moment adds to them."""
SLOWEST = 16
HANG = 240.0
NEVER = Idle(sign="never")


@dataclass(frozen=True)
class Case:
    """What an optimizer hands out; seconds by the number of the configuration."""

    n_workers: int
    sampling: tuple[float, ...]
    queries: tuple[float, ...]
    runtimes: tuple[float, ...]

    def __call__(self, config):
        k = config["k"]
        time.sleep(self.queries[k])
        return Evaluation(float(k), self.runtimes[k])

    def slower(self, times):
        seconds = (self.sampling, self.queries, self.runtimes)
        return Case(self.n_workers, *(tuple(times * t for t in each) for each in seconds))


def at_some_speed(case, compare):
    """Call `compare(case, tolerance)`, at half the speed as long as it fails and the machine may be why."""
    times = 1
    while True:
        try:
            return compare(case.slower(times), times * TOLERANCE)
        except AssertionError:
            if times == SLOWEST:
                raise
            times *= 2


@dataclass
class Noted:
    """What a run did; real instants, simulated starts and ends, by the number of the configuration."""

    start: dict[int, float] = field(default_factory=dict)
    end: dict[int, float] = field(default_factory=dict)
    known: dict[int, int] = field(default_factory=dict)
    entered: dict[int, float] = field(default_factory=dict)
    taken: dict[int, float] = field(default_factory=dict)
    checkpoints: list[tuple[str, float]] = field(default_factory=list)
    told: list[set[int]] = field(default_factory=list)
    done: dict[int, float] = field(default_factory=dict)


_instants = threading.local()
TRANSPORT = LocalTransport if HAS_BYTE_LOCKS else SharedDirectoryTransport
"""How a run of one host is shared here."""


@pytest.fixture(autouse=True)
def instants(monkeypatch):
    """Note in every thread when its call came in and when its result left, on the clock of the simulator."""
    take, describe = TRANSPORT.take, Simulator._describe

    def noted_take(self, slot):
        take(self, slot)
        _instants.taken = self.now()

    def noted_describe(self, config, fidelity, config_id, entered):
        _instants.entered = entered
        return describe(self, config, fidelity, config_id, entered)

    monkeypatch.setattr(TRANSPORT, "take", noted_take)
    monkeypatch.setattr(Simulator, "_describe", noted_describe)


def evaluate(simulator, k):
    evaluation = simulator({"k": k})
    return evaluation.start, evaluation.end, _instants.entered, _instants.taken


def executor_of(way, n):
    if way == "threads":
        return concurrent.futures.ThreadPoolExecutor(n)
    return concurrent.futures.ProcessPoolExecutor(n, multiprocessing.get_context("fork"))


def from_a_master(case, simulator, way):
    """Sample in the main thread, hand each configuration to a pool, and look at the results when the pool is full."""
    noted, running, told = Noted(), {}, 0
    with simulator, executor_of(way, case.n_workers) as executor:
        list(executor.map(abs, range(case.n_workers)))  # the pool's processes are there before time begins
        simulator.start()
        now = TRANSPORT.now
        noted.checkpoints.append(("begin", now()))
        todo = iter(range(len(case.sampling)))
        while True:
            while len(running) < case.n_workers and (k := next(todo, None)) is not None:
                noted.known[k] = told
                time.sleep(case.sampling[k])
                noted.checkpoints.append((f"sampled {k}", now()))
                future = executor.submit(evaluate, simulator, k)
                future.add_done_callback(lambda _, k=k: noted.done.setdefault(k, now()))
                running[future] = k
            if not running:
                break
            noted.checkpoints.append(("wait", now()))
            finished, _ = concurrent.futures.wait(running, HANG, concurrent.futures.FIRST_COMPLETED)
            assert finished, "no result came"
            noted.told.append({running[future] for future in finished})
            for future in finished:
                k = running.pop(future)
                noted.start[k], noted.end[k], noted.entered[k], noted.taken[k] = future.result(HANG)
                told += 1
            noted.checkpoints.append(("told", now()))
    return noted


def assert_as_modelled(noted, tolerance):
    """Compare starts, and what was known at each ask, with what follows from the sampling and the durations noted.

    The master's time goes on with its own clock while it works, and jumps to the next result when it waits. How long
    a configuration took to reach a worker, and a result to reach the master, is as noted. Whether a result that
    arrives within the tolerance of the moment at which the master looks is there already, the model leaves open. After
    the last call nobody has to be waited for, and results come at once.
    """
    start, arrives, told = {}, {}, iter(noted.told)
    n_told, clock, before = 0, 0.0, noted.checkpoints[0][1]
    for what, at in noted.checkpoints[1:]:
        if len(start) == len(noted.start):
            return
        if what == "told":
            woke = min(noted.done[k] for k in arrives)  # the first of them has woken the master
            clock = max(clock, min(arrives.values())) + max(0.0, at - max(before, woke))
            there = next(told)
            assert {k for k in arrives if arrives[k] <= clock - tolerance} <= there
            assert there <= {k for k in arrives if arrives[k] <= clock + tolerance}
            n_told += len(there)
            for k in there:
                del arrives[k]
        else:
            clock += at - before
            if what.startswith("sampled"):
                k = int(what.split()[1])
                assert noted.known[k] == n_told
                start[k] = clock + noted.entered[k] - at
                assert noted.start[k] == pytest.approx(start[k], rel=0, abs=tolerance), f"start of {k}"
                arrives[k] = start[k] + noted.end[k] - noted.start[k] + max(0.0, noted.done[k] - noted.taken[k])
        before = at


# A, B, C and D are sampled for half a second each; A takes 0.6 s, and only B's query takes time. A's result comes at
# 1.1, while C is sampled until 1.5, so D is sampled from 1.5 to 2.0 whatever B's query takes. A tenth of all that here.
@pytest.mark.parametrize("way", ["threads", "processes"])
@pytest.mark.parametrize("query", [0.0, 0.02, 0.04, 0.08])
def test_a_result_that_a_slow_query_holds_up_does_not_let_two_samplings_overlap(way, query):
    def compare(case, tolerance):
        simulated = from_a_master(case, Simulator(case, n_workers=3, max_evaluations=4, idle=NEVER), way)
        slept = from_a_master(case, NaiveRun(case, n_workers=3, max_evaluations=4), way)
        for noted in (simulated, slept):
            assert_as_modelled(noted, tolerance)
            assert noted.start[3] >= sum(case.sampling)  # four samplings, one after the other
        assert simulated.known == slept.known == {0: 0, 1: 0, 2: 0, 3: 1}

    at_some_speed(Case(3, (0.05,) * 4, (0.0, query, 0.0, 0.0), (0.06, 0.9, 0.9, 0.9)), compare)


def drawn(seed, n_workers, n, unit=0.03):
    """Return a case whose queries take up to four times as long as sampling, and no longer than what they ask about."""
    rng = np.random.default_rng(seed)
    sampling = rng.uniform(0.5, 1.5, n) * unit
    queries = rng.choice([0.0, 1.0, 2.0, 4.0], n) * unit
    runtimes = queries + rng.choice([1.0, 3.0, 12.0], n) * rng.uniform(0.8, 1.2, n) * unit
    return Case(n_workers, tuple(sampling), tuple(queries), tuple(runtimes))


@pytest.mark.parametrize("way", ["threads", "processes"])
@pytest.mark.parametrize(("seed", "n_workers"), [(1, 2), (2, 3), (3, 4), (4, 5), (5, 8)])
def test_generated_slow_queries_under_a_serial_sampler(way, seed, n_workers):
    specification = {"n_workers": n_workers, "max_evaluations": 4 * n_workers}

    def compare(case, tolerance):
        assert_as_modelled(from_a_master(case, Simulator(case, idle=NEVER, **specification), way), tolerance)
        assert_as_modelled(from_a_master(case, NaiveRun(case, **specification), way), tolerance)

    at_some_speed(drawn(seed, n_workers, 4 * n_workers), compare)


def from_workers(case, simulator, way):
    """Let every worker sample for itself; return the calls of each, in order, as (what was known, end, instants)."""
    context = multiprocessing.get_context("fork")
    told, numbers = context.Value("i", 0), context.Value("i", 0)

    def work(answers):
        _instants.taken, calls = None, []
        while True:
            with told:
                known = told.value
            with numbers:
                k, numbers.value = numbers.value, numbers.value + 1
            if k >= len(case.sampling):
                answers.put(calls)
                return
            time.sleep(case.sampling[k])
            before = _instants.taken
            evaluation = simulator({"k": k})
            with told:
                told.value += 1
            calls.append((known, evaluation.start, evaluation.end, before, _instants.entered, TRANSPORT.now()))

    kind = threading.Thread if way == "threads" else context.Process
    with simulator:
        answers = queue.Queue() if way == "threads" else context.Queue()
        simulator.start()
        began = TRANSPORT.now()
        workers = [kind(target=work, args=(answers,), daemon=True) for _ in range(case.n_workers)]
        for worker in workers:
            worker.start()
        calls = [answers.get(timeout=HANG) for _ in workers]
        for worker in workers:
            worker.join(HANG)
        return began, calls, simulator.trace()


@pytest.mark.parametrize("way", ["threads", "processes"])
@pytest.mark.parametrize(("seed", "n_workers"), [(1, 2), (2, 3), (3, 5), (4, 8)])
def test_generated_slow_queries_under_samplers_of_their_own(way, seed, n_workers):
    specification = {"n_workers": n_workers, "max_evaluations": 4 * n_workers}
    overhead = Overhead.measured(sampling="parallel")

    def compare(case, tolerance):
        for simulator in (
            Simulator(case, idle=NEVER, overhead=overhead, **specification),
            NaiveRun(case, **specification),
        ):
            began, workers, trace = from_workers(case, simulator, way)
            ends = np.sort(trace["end"].to_numpy())
            for calls in workers:
                freed = 0.0
                for known, start, end, before, entered, _ in calls:
                    sampled = entered - (began if before is None else before)
                    assert start == pytest.approx(freed + sampled, rel=0, abs=tolerance)
                    # What was known when it began to sample, but for results within the tolerance of its own one.
                    if before is not None:
                        earliest = np.searchsorted(ends, freed - tolerance)
                        assert earliest <= known <= np.searchsorted(ends, freed + tolerance, "right")
                    freed = end

    at_some_speed(drawn(seed, n_workers, 4 * n_workers), compare)


def test_a_query_that_takes_longer_than_its_training_ends_when_it_was_overtaken(tmp_path):
    """A takes 0.01 s, but its query lasts until B's result, of 0.05 s, has been delivered."""
    b_is_there = threading.Event()

    def objective(config):
        if config["x"] == "A":
            assert b_is_there.wait(HANG)
            return Evaluation(1.0, 0.01)
        return Evaluation(2.0, 0.05)

    with Simulator(objective, n_workers=3, directory=tmp_path, idle=NEVER) as simulator:
        first = threading.Thread(target=simulator, args=({"x": "A"},))
        first.start()
        simulator.wait_started(1)
        overtaking = simulator({"x": "B"})
        b_is_there.set()
        first.join(HANG)
        trace = simulator.trace()
    assert trace["config.x"].tolist() == ["B", "A"]
    assert trace["end"][1] == np.nextafter(overtaking.end, np.inf)
    assert trace["end"][1] == trace["start"][1] + trace["runtime"][1]
    report = check(tmp_path)
    assert report.ok, "\n".join(render(report))
    (first, second) = journal.read(tmp_path / "journal")
    assert "late" not in first
    assert second["query"] > second["late"] == 0.01
    # Had its query been shorter, nothing could have overtaken it.
    lines = journal.line(json.dumps(first).encode()) + journal.line(json.dumps({**second, "query": 0.005}).encode())
    (tmp_path / "journal").write_bytes(lines)
    (tmp_path / "slots").unlink()
    assert ("late", 1) in {(v.rule, v.record) for v in check(tmp_path).violations}


@pytest.mark.parametrize("shared_directory", [False, True], ids=["one host", "several hosts"])
def test_a_training_that_goes_on_from_a_late_one_is_charged_the_difference_of_the_trainings(tmp_path, shared_directory):
    """What a late training was charged, which is what its query took, is no part of the training that goes on."""
    b_is_there = threading.Event()

    def objective(config, fidelity):
        if config["x"] == "A" and fidelity == 1:
            assert b_is_there.wait(HANG)
        return Evaluation(1.0, {"A": 0.01 * fidelity, "B": 0.05}[config["x"]])

    with Simulator(
        objective, n_workers=3, directory=tmp_path, idle=NEVER, continual=True, shared_directory=shared_directory
    ) as simulator:
        first = threading.Thread(target=simulator, args=({"x": "A"}, 1))
        first.start()
        simulator.wait_started(1)
        simulator({"x": "B"}, 1)
        b_is_there.set()
        first.join(HANG)
        last = simulator({"x": "A"}, 3)
    assert last.runtime == pytest.approx(0.02)
    report = check(tmp_path)
    assert report.ok, "\n".join(render(report))
    assert [line.get("late") for line in journal.read(tmp_path / "journal")] == [None, 0.01, None]


def test_a_clock_that_stands_still_beside_a_large_end_is_not_looked_at_all_the_time(monkeypatch):
    """B ends when A does, at 1e20 s: the sampling after A, which takes real time, adds nothing to such a number."""
    looks, until_due = [], DeliveryWait._until_due
    monkeypatch.setattr(DeliveryWait, "_until_due", lambda wait: looks.append(wait) or until_due(wait))
    everybody = threading.Barrier(2)

    def objective(config):
        if config["x"] < 2:
            everybody.wait(HANG)
        return Evaluation(0.0, 1e20)

    with (
        Simulator(objective, n_workers=2, max_evaluations=3, idle=NEVER) as simulator,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        running = {pool.submit(simulator, {"x": x}) for x in range(2)}
        concurrent.futures.wait(running, HANG, concurrent.futures.FIRST_COMPLETED)
        time.sleep(0.3)
        n_looks = len(looks)
        simulator({"x": 2})
        assert all(future.result(HANG).runtime == 1e20 for future in running)
    assert n_looks < 20
