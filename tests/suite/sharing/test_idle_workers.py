"""Optimizers that leave workers without work: the times are those of workers that really wait, and no run stalls."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

import pytest
from crashes import HANG, Crew, die, state_of
from drivers import PLACES, Lookup

from zerowait import suite
from zerowait.suite import Evaluation, Overhead, Query, simulate
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import idle as idle_rule
from zerowait.suite.sharing import slot_state
from zerowait.suite.sharing.idle import Quiescence
from zerowait.suite.sharing.processes import cpu_times, this_process

SHARED_DIRECTORY = False


@pytest.fixture(params=PLACES.values(), ids=PLACES, autouse=True)
def transport(request, monkeypatch):
    """Let every test run on both transports."""
    monkeypatch.setitem(globals(), "SHARED_DIRECTORY", request.param)


def Simulator(*arguments, **specification):  # noqa: N802 - in the place of the class
    return suite.Simulator(*arguments, shared_directory=SHARED_DIRECTORY, **specification)


def crew_of(*arguments, **specification):
    return Crew(*arguments, shared_directory=SHARED_DIRECTORY, **specification)


QUICK = Idle(after=0.4)
# On a loaded machine, a process that wants a whole core gets little of one.
SHARP = Idle(after=0.8, busy_share=0.02)


# -- optimizers --------------------------------------------------------------------------------------------------------


class SuccessiveHalving:
    """Evaluates all at fidelity 1; the best of every `eta` go on at 3 times that; a rung waits for all results."""

    def __init__(self, n, eta):
        self.eta = eta
        self.results = {}
        self.todo = deque(range(n))
        self.rung = n
        self.fidelity = 1.0

    def ask(self):
        if self.todo:
            return Query({"x": self.todo.popleft()}, self.fidelity)
        if self.rung == 0:
            raise StopIteration
        return None

    def tell(self, query, evaluation):
        self.results[query.config["x"]] = evaluation.value
        if len(self.results) == self.rung:
            best = sorted(self.results, key=self.results.get)[: self.rung // self.eta]
            self.todo, self.rung, self.results = deque(best), len(best), {}
            self.fidelity *= 3.0


class Generations:
    """Evaluates generations of 8; the next one begins when the last result of the previous one has come."""

    def __init__(self, n):
        self.left = n
        self.todo, self.running = deque(), 0

    def ask(self):
        if not self.todo and not self.running:
            if not self.left:
                raise StopIteration
            self.left -= 1
            self.todo.extend(range(8))
        if not self.todo:
            return None
        self.running += 1
        return Query({"x": self.todo.popleft(), "generation": self.left})

    def tell(self, _query, _evaluation):
        self.running -= 1


@dataclass(frozen=True)
class Proportional:
    """The k-th configuration takes k + 1 seconds an epoch, and is the k-th best."""

    def __call__(self, config, fidelity):
        return Evaluation(float(config["x"]), (config["x"] + 1.0) * (fidelity or 1.0))


@dataclass(frozen=True)
class Thousandfold:
    """The same, with runtimes a thousand times as long."""

    def __call__(self, config, fidelity):
        return Evaluation(float(config["x"]), 1000.0 * (config["x"] + 1.0) * fidelity)


def hand_out(optimizer, simulator, executor, n_workers):
    """Drive an ask-and-tell optimizer with an executor, and ask for one configuration at a time."""
    running, started, finished = {}, 0, False
    while True:
        while len(running) < n_workers and not finished:
            try:
                query = optimizer.ask()
            except StopIteration:
                finished = True
                break
            if query is None:
                break
            running[executor.submit(simulator, query.config, query.fidelity)] = query
            started += 1
            deadline = time.monotonic() + HANG
            while simulator.progress()["started"] < started:
                assert time.monotonic() < deadline, "the call never got a slot"
                time.sleep(0.001)
        if not running:
            return
        done, _ = concurrent.futures.wait(running, HANG, concurrent.futures.FIRST_COMPLETED)
        assert done, f"no result came: {dict(simulator.progress())}"
        for future in sorted(done, key=lambda f: f.result().end):
            optimizer.tell(running.pop(future), future.result())


def executor_of(mode, n_workers):
    if mode == "threads":
        return concurrent.futures.ThreadPoolExecutor(n_workers)
    return concurrent.futures.ProcessPoolExecutor(n_workers, multiprocessing.get_context("fork"))


def run(mode, optimizer, *, n_workers, idle=QUICK, objective=None, **specification):
    """Return the trace of an ask-and-tell optimizer in one of three modes."""
    objective = Proportional() if objective is None else objective
    if mode == "ask and tell":
        return simulate(optimizer, objective, n_workers=n_workers, **specification)
    with (
        Simulator(objective, n_workers=n_workers, idle=idle, **specification) as simulator,
        executor_of(mode, n_workers) as executor,
    ):
        hand_out(optimizer, simulator, executor, n_workers)
        return simulator.trace()


def spans(trace):
    return list(zip(trace["start"], trace["end"], strict=True))


def idle_releases(trace):
    return trace.attrs["zerowait"]["idle_releases"]


MODES = ["threads", "processes", "ask and tell"]


# -- rungs and generations ---------------------------------------------------------------------------------------------

HALVING_OF_4_ON_2_WORKERS = [
    # fidelity 1: configurations 0 to 3 take 1, 2, 3, 4 s
    (0.0, 1.0),
    (0.0, 2.0),
    (1.0, 4.0),
    (2.0, 6.0),  # released: worker 0 has been idle since 4
    # fidelity 3: configurations 0 and 1 take 3 and 6 s
    (6.0, 9.0),
    (6.0, 12.0),  # released
    # fidelity 9: configuration 0 takes 9 s
    (12.0, 21.0),  # released
]
HALVING_OF_4_ON_2_WORKERS_AT_HALF_A_SECOND = [
    (0.5, 1.5),
    (1.0, 3.0),
    (2.0, 5.0),  # the optimizer is free at 1.0, the worker at 1.5
    (3.5, 7.5),
    (8.0, 11.0),
    (8.5, 14.5),
    (15.0, 24.0),
]
HALVING_OF_9_ON_3_WORKERS = [
    # fidelity 1: configurations 0 to 8 take 1 to 9 s
    (0.0, 1.0),
    (0.0, 2.0),
    (0.0, 3.0),
    (1.0, 5.0),
    (2.0, 7.0),
    (3.0, 9.0),
    (5.0, 12.0),
    (7.0, 15.0),  # released
    (9.0, 18.0),  # released
    # fidelity 3: configurations 0, 1, 2 take 3, 6, 9 s
    (18.0, 21.0),
    (18.0, 24.0),  # released
    (18.0, 27.0),  # released
    # fidelity 9: configuration 0 takes 9 s
    (27.0, 36.0),  # released
]
HALVING_OF_9_ON_3_WORKERS_AT_ONE_SECOND = [
    (1.0, 2.0),
    (2.0, 4.0),
    (3.0, 6.0),
    (4.0, 8.0),  # the worker is free at 2, the optimizer at 3
    (5.0, 10.0),
    (7.0, 13.0),
    (9.0, 16.0),
    (11.0, 19.0),
    (14.0, 23.0),
    (24.0, 27.0),
    (25.0, 31.0),
    (26.0, 35.0),
    (36.0, 45.0),
]


@pytest.mark.parametrize(
    ("mode", "n", "eta", "n_workers", "overhead", "expected", "releases"),
    [
        ("threads", 4, 2, 2, Overhead.none(), HALVING_OF_4_ON_2_WORKERS, 3),
        ("processes", 4, 2, 2, Overhead.none(), HALVING_OF_4_ON_2_WORKERS, 3),
        ("ask and tell", 4, 2, 2, Overhead.none(), HALVING_OF_4_ON_2_WORKERS, 0),
        ("threads", 4, 2, 2, Overhead.fixed(0.5), HALVING_OF_4_ON_2_WORKERS_AT_HALF_A_SECOND, 3),
        ("processes", 4, 2, 2, Overhead.fixed(0.5), HALVING_OF_4_ON_2_WORKERS_AT_HALF_A_SECOND, 3),
        ("ask and tell", 4, 2, 2, Overhead.fixed(0.5), HALVING_OF_4_ON_2_WORKERS_AT_HALF_A_SECOND, 0),
        ("threads", 9, 3, 3, Overhead.none(), HALVING_OF_9_ON_3_WORKERS, 5),
        ("ask and tell", 9, 3, 3, Overhead.none(), HALVING_OF_9_ON_3_WORKERS, 0),
        ("processes", 9, 3, 3, Overhead.fixed(1.0), HALVING_OF_9_ON_3_WORKERS_AT_ONE_SECOND, 5),
        ("ask and tell", 9, 3, 3, Overhead.fixed(1.0), HALVING_OF_9_ON_3_WORKERS_AT_ONE_SECOND, 0),
    ],
)
def test_synchronous_successive_halving_takes_its_hand_computed_time(
    mode, n, eta, n_workers, overhead, expected, releases
):
    trace = run(mode, SuccessiveHalving(n, eta), n_workers=n_workers, overhead=overhead)
    assert spans(trace) == expected
    assert idle_releases(trace) == releases


# A generation of 8 that take 1 to 8 s, on 5 workers. Without overhead five start at once; the sixth (6 s) follows the
# first at 1, the seventh (7 s) the second at 2, the eighth (8 s) the third at 3; the last ends at 11. All five workers
# are occupied until 4; the results at 5, 7, 9 and 11 are released. With 0.5 s of overhead the first five start at 0.5,
# 1, 1.5, 2 and 2.5 and end at 1.5, 3, 4.5, 6 and 7.5; the others start at 3 (the optimizer is busy until 2.5), 3.5 and
# 5 and end at 9, 10.5 and 13.
GENERATION = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 7), (2, 9), (3, 11)]
GENERATION_AT_HALF_A_SECOND = [
    (0.5, 1.5),
    (1.0, 3.0),
    (1.5, 4.5),
    (2.0, 6.0),
    (2.5, 7.5),
    (3.0, 9.0),
    (3.5, 10.5),
    (5.0, 13.0),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("overhead", "generation", "length"),
    [(Overhead.none(), GENERATION, 11.0), (Overhead.fixed(0.5), GENERATION_AT_HALF_A_SECOND, 13.0)],
)
def test_generations_of_eight_on_five_workers_take_their_hand_computed_time(mode, overhead, generation, length):
    trace = run(mode, Generations(2), n_workers=5, overhead=overhead, seed=4)
    assert spans(trace) == [(g * length + start, g * length + end) for g in range(2) for start, end in generation]
    assert idle_releases(trace) == (0 if mode == "ask and tell" else 2 * 4)
    alike = ["evaluation", "runtime", "value", "config_id", "seed", "overhead", "status", "config.x"]
    expected = run("ask and tell", Generations(2), n_workers=5, overhead=overhead, seed=4)
    assert trace[alike].equals(expected[alike])


def test_nobody_is_idle_when_the_budget_is_spent():
    # The generation's tail needs no guess: no call can come after the eighth.
    trace = run("threads", Generations(1), n_workers=5, overhead=Overhead.none(), max_evaluations=8)
    assert spans(trace) == GENERATION
    assert idle_releases(trace) == 0


@pytest.fixture
def impatient_looks(monkeypatch):
    """Count, over all processes, how often a caller looked that need not wait as long as `Idle.after`."""
    looks, rule = multiprocessing.Value("i", 0), idle_rule.needed_quiet

    def noted(idle, longest_pause, longest_quiet, *, expected, accustomed, in_generations):
        with looks:
            looks.value += not expected
        return rule(
            idle, longest_pause, longest_quiet, expected=expected, accustomed=accustomed, in_generations=in_generations
        )

    monkeypatch.setattr(idle_rule, "needed_quiet", noted)
    return looks


def test_the_tail_of_a_rung_costs_far_less_than_idle_after_for_each_result(impatient_looks):
    # All twelve run at once; the first is delivered at 1 because every worker is occupied, the other eleven are
    # released. At a second each they would take 11 s; only the first of them has to wait so long.
    trace = run("threads", SuccessiveHalving(12, 12), n_workers=12, overhead=Overhead.none(), idle=Idle(after=1.0))
    assert spans(trace)[:12] == [(0.0, k + 1.0) for k in range(12)]
    assert spans(trace)[12:] == [(12.0, 15.0)]  # and the best one alone, at three times the fidelity
    assert idle_releases(trace) == 11 + 1
    assert impatient_looks.value >= 10


def test_looking_for_idle_workers_is_not_work(monkeypatch):
    # However often a caller looks, and however long that takes, because the machine has thousands of processes.
    monkeypatch.setattr("zerowait.suite.sharing.activity.Watch.held_up", lambda *_: 0.0)  # as busy as the machine is
    watcher = Quiescence(Idle(after=1.0))
    began, seconds = time.monotonic(), 0.0
    while seconds < 1.0:
        seconds = time.monotonic() - began
        quiet = watcher.seconds(0, [this_process()])

    assert quiet > 0.5
    assert watcher.seconds(0, [this_process()]) > quiet


def test_the_tail_of_a_rung_is_released_although_looking_takes_long(monkeypatch):
    looks = 0

    def on_a_machine_with_thousands_of_processes(processes):
        nonlocal looks
        looks += 1
        compute(0.06)
        return cpu_times(processes)

    monkeypatch.setattr("zerowait.suite.sharing.activity.cpu_times", on_a_machine_with_thousands_of_processes)
    began = time.monotonic()
    trace = run("threads", SuccessiveHalving(4, 4), n_workers=4, overhead=Overhead.none())
    assert looks * 0.06 < (time.monotonic() - began) / 2.0  # it would be a fifth if there were nothing else to do
    assert spans(trace) == [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 4.0), (4.0, 7.0)]
    assert idle_releases(trace) == 4


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_under_measured_overhead_the_clock_of_an_idle_worker_goes_on_from_the_release(mode):
    # The spans of HALVING_OF_4_ON_2_WORKERS, a thousand times as long: what comes on top is real time that the
    # optimizer took, and the seconds of quiescence are not among it.
    began = time.monotonic()
    trace = run(mode, SuccessiveHalving(4, 2), n_workers=2, overhead=Overhead.measured(), objective=Thousandfold())
    wall = time.monotonic() - began
    assert idle_releases(trace) == 3
    for row, (start, end) in zip(trace.itertuples(), HALVING_OF_4_ON_2_WORKERS, strict=True):
        assert 0.0 <= row.start - 1000.0 * start < wall - 3 * QUICK.after
        assert row.end == row.start + 1000.0 * (end - start)
    # Whoever starts after a release has been charged for what came between, also the worker that had been idle.
    assert trace["start"][4:6].min() > trace["end"][3]
    assert trace["start"][6] > trace["end"][5]


def test_a_worker_whose_evaluation_takes_long_is_not_idle():
    # Call 0 (until 1) takes 1.5 real seconds to look up. Call 1, until 2, waits for it although nothing happens, and
    # the third worker has nothing to do.
    def objective(config):
        if config["x"] == 0:
            time.sleep(1.5)
        return Evaluation(0.0, 1.0 + config["x"])

    with Simulator(objective, n_workers=3, overhead=Overhead.none(), idle=QUICK) as simulator:
        in_threads(worker(simulator, 0), worker(simulator, 1))
        trace = simulator.trace()
    assert spans(trace) == [(0.0, 1.0), (0.0, 2.0)]
    assert idle_releases(trace) == 2


def test_a_worker_that_died_for_good_is_waited_for_once_and_then_absent(tmp_path):
    # One of three workers dies at once; the other two make the remaining 20 calls.
    def objective(config):
        if config["x"] == 0:
            die()
        return Evaluation(float(config["x"]), 1.0 + 0.001 * config["x"])

    queries = [Query({"x": x}) for x in range(30)]
    specification = {"n_workers": 3, "max_evaluations": 21, "overhead": Overhead.none(), "on_worker_death": "continue"}
    with crew_of(tmp_path, objective, queries, idle=Idle(after=1.0), **specification) as crew:
        crew.dies(crew.start(crew.work))
        crew.ends(crew.start(crew.work), crew.start(crew.work))
        assert sum(r.get("idle", False) for r in crew.records()) == 1
        assert Counter(r["status"] for r in crew.records()) == {"lost": 1, "ok": 20}
        assert crew.violations() == []


# -- workers that call by themselves -----------------------------------------------------------------------------------


def in_threads(*works):
    errors = []

    def guarded(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive(), "a worker hangs"
    assert errors == []


def in_processes(*works):
    processes = [multiprocessing.get_context("fork").Process(target=work) for work in works]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(HANG)
            assert process.exitcode == 0, f"a worker ended with {process.exitcode} (None: it hangs)"
    finally:
        for process in processes:
            process.kill()
            process.join()


WAYS = {"threads": in_threads, "processes": in_processes}


def worker(simulator, *steps):
    """Return a worker that makes a call for every number and takes a break for every function among the steps."""

    def work():
        for step in steps:
            if callable(step):
                step()
            else:
                simulator({"x": step})

    return work


@pytest.mark.parametrize("way", WAYS)
def test_an_optimizer_that_stops_calling_before_the_budget_gets_all_of_its_results(way):
    # Three workers with two calls each: 0-1 and 1-6, 0-2 and 2-4, 0-3 and 3-12. All are occupied until 4; the results
    # at 6 and 12 wait for calls that never come.
    objective = Lookup((1.0, 5.0, 2.0, 2.0, 3.0, 9.0))
    with Simulator(objective, n_workers=3, max_evaluations=100, overhead=Overhead.none(), idle=QUICK) as simulator:
        WAYS[way](worker(simulator, 0, 1), worker(simulator, 2, 3), worker(simulator, 4, 5))
        trace = simulator.trace()
    assert spans(trace) == [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (2.0, 4.0), (1.0, 6.0), (3.0, 12.0)]
    assert idle_releases(trace) == 2
    assert simulator.progress()["idle_releases"] == 2


def compute(seconds=2.0):
    """Use this much CPU time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def compute_elsewhere():
    """Let another process use 2 s of CPU time and wait for it."""
    program = "import time\nwhile time.process_time() < 2: sum(range(1000))"
    subprocess.run([sys.executable, "-c", program], check=True)


# Worker A makes call 0 (until 1), takes a break, and makes call 1 (0.5 s). Worker B makes call 2, which ends at 2 and
# has to wait for A. If A is taken to be idle in its break, B's result is delivered and call 1 cannot start before 2.
A_WAS_WAITED_FOR = [(0.0, 1.0), (1.0, 1.5), (0.0, 2.0)]
A_WAS_TAKEN_FOR_IDLE = [(0.0, 1.0), (0.0, 2.0), (2.0, 2.5)]


def a_takes_a_break(way, a_break, idle):
    objective = Lookup((1.0, 0.5, 2.0))
    with Simulator(objective, n_workers=2, max_evaluations=3, overhead=Overhead.none(), idle=idle) as simulator:
        WAYS[way](worker(simulator, 0, a_break, 1), worker(simulator, 2))
        return simulator.trace()


@pytest.mark.parametrize(
    ("way", "a_break"), [("threads", compute), ("processes", compute), ("threads", compute_elsewhere)]
)
def test_an_optimizer_that_computes_for_two_seconds_is_not_idle(way, a_break):
    trace = a_takes_a_break(way, a_break, SHARP)
    assert spans(trace) == A_WAS_WAITED_FOR
    assert idle_releases(trace) == 0


def test_a_master_that_computes_while_its_workers_wait_is_not_idle():
    objective = Lookup((1.0, 0.5, 2.0))
    with (
        Simulator(objective, n_workers=2, max_evaluations=3, overhead=Overhead.none(), idle=SHARP) as simulator,
        executor_of("processes", 2) as executor,
    ):
        first, last = executor.submit(simulator, {"x": 0}), executor.submit(simulator, {"x": 2})
        first.result(HANG)
        compute()
        assert executor.submit(simulator, {"x": 1}).result(HANG).start == 1.0
        assert last.result(HANG).end == 2.0
        trace = simulator.trace()
    assert spans(trace) == A_WAS_WAITED_FOR
    assert idle_releases(trace) == 0


@pytest.mark.parametrize("way", WAYS)
def test_an_optimizer_that_sleeps_less_than_idle_after_is_not_idle(way):
    # A's calls of 0.25 s end at 1, 1.25, ..., 2.25, with a break of 0.3 real seconds after each; B's ends at 3, and
    # nobody can call after it.
    objective = Lookup((1.0, 0.25, 0.25, 0.25, 0.25, 0.25, 3.0))
    with Simulator(
        objective, n_workers=2, max_evaluations=7, overhead=Overhead.none(), idle=Idle(after=10.0)
    ) as simulator:
        steps = [step for x in range(6) for step in (x, lambda: time.sleep(0.3))]
        WAYS[way](worker(simulator, *steps), worker(simulator, 6))
        trace = simulator.trace()
    assert trace["end"].tolist() == [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 3.0]
    assert idle_releases(trace) == 0


@pytest.mark.parametrize("way", WAYS)
def test_an_optimizer_that_does_nothing_for_longer_than_idle_after_is_taken_for_idle_and_that_is_counted(way):
    def until_it_is_taken_for_idle():
        while not simulator.progress()["idle_releases"]:
            time.sleep(0.05)

    objective = Lookup((1.0, 0.5, 2.0))
    with Simulator(objective, n_workers=2, max_evaluations=3, overhead=Overhead.none(), idle=QUICK) as simulator:
        WAYS[way](worker(simulator, 0, until_it_is_taken_for_idle, 1), worker(simulator, 2))
        trace = simulator.trace()
    assert spans(trace) == A_WAS_TAKEN_FOR_IDLE
    assert idle_releases(trace) == 1


def test_after_a_release_an_optimizer_has_three_times_its_longest_pause_before_the_next():
    # A makes calls 0 and 1 with a pause of 0.3 real seconds and stops at 2. B's first result, at 50, is released; after
    # a pause of 0.3 s B makes call 3 (1 s), which C's result at 100 must not overtake, although releases are quick now.
    def pause():
        time.sleep(0.3)

    objective = Lookup((1.0, 1.0, 50.0, 1.0, 100.0))
    with Simulator(objective, n_workers=3, overhead=Overhead.none(), idle=Idle(after=1.0)) as simulator:
        in_threads(worker(simulator, 0, pause, 1), worker(simulator, 2, pause, 3), worker(simulator, 4))
        trace = simulator.trace()
    assert spans(trace) == [(0.0, 1.0), (1.0, 2.0), (0.0, 50.0), (50.0, 51.0), (0.0, 100.0)]
    assert idle_releases(trace) == 3


def test_a_caller_that_has_not_heard_of_its_result_yet_is_not_idle(tmp_path):
    # The caller of call 0 (until 2) is stopped while it waits. Call 1 (until 3) occupies the other worker, so call 0 is
    # delivered; but its caller learns of it 1.5 s later, thinks for 0.3 s, and then makes call 2, from 2 until 2.5.
    def work():
        crew.call(0)
        time.sleep(0.3)
        crew.call(2)

    specification = {"n_workers": 2, "max_evaluations": 3, "overhead": Overhead.none(), "idle": Idle(after=1.0)}
    with crew_of(tmp_path, Lookup((2.0, 3.0, 0.5)), [Query({"x": x}) for x in range(3)], **specification) as crew:
        stopped = crew.start(work)
        crew.until_state(0, slot_state.FINISHED)
        os.kill(stopped.pid, signal.SIGSTOP)
        other = crew.start(crew.call, 1)
        crew.until_state(1, slot_state.FINISHED)
        crew.until_state(0, slot_state.DELIVERED)
        time.sleep(1.5)
        assert crew.states() == [slot_state.DELIVERED, slot_state.FINISHED]
        os.kill(stopped.pid, signal.SIGCONT)
        crew.ends(stopped, other)
        assert crew.times() == [(0, "ok", 0.0, 2.0), (2, "ok", 2.0, 2.5), (1, "ok", 0.0, 3.0)]
        assert crew.violations() == []


# -- the sign of quiescence --------------------------------------------------------------------------------------------


class Spinning:
    """A thread of the optimizer that uses CPU time until it is told to stop, as masters do that poll."""

    def __enter__(self):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.spin)
        self.thread.start()
        return self

    def spin(self):
        while not self.stop.is_set():
            sum(range(1000))

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_under_the_sign_grace_a_master_that_spins_may_be_idle():
    with Spinning():
        trace = run(
            "processes",
            SuccessiveHalving(4, 2),
            n_workers=2,
            overhead=Overhead.none(),
            idle=Idle(after=0.4, sign="grace"),
        )
    assert spans(trace) == HALVING_OF_4_ON_2_WORKERS
    assert idle_releases(trace) == 3


def test_under_the_sign_grace_a_call_that_comes_in_time_is_waited_for_and_a_later_one_is_not():
    idle = Idle(after=0.8, sign="grace")
    assert spans(a_takes_a_break("processes", lambda: time.sleep(0.2), idle)) == A_WAS_WAITED_FOR
    assert spans(a_takes_a_break("processes", compute, idle)) == A_WAS_TAKEN_FOR_IDLE


def a_waiting_call(simulator):
    """Start a thread whose result has to wait for the other worker; return it when it waits."""
    thread = threading.Thread(target=worker(simulator, 2))
    thread.start()
    deadline = time.monotonic() + HANG
    while state_of(simulator, 0) != slot_state.FINISHED:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return thread


def test_under_the_sign_cpu_a_master_that_spins_is_not_idle_until_it_stops():
    # A small share: on a loaded machine, a thread that wants a whole core gets little of one.
    idle = Idle(after=1.5, busy_share=0.02)
    with Simulator(Lookup((1.0, 0.5, 2.0)), n_workers=2, overhead=Overhead.none(), idle=idle) as simulator:
        with Spinning():
            thread = a_waiting_call(simulator)
            thread.join(4.0)
            assert thread.is_alive()
            assert simulator.progress()["delivered"] == 0
        thread.join(HANG)
        assert dict(simulator.progress()).items() >= {"delivered": 1, "idle_releases": 1}.items()


def test_under_the_sign_never_a_result_waits_for_the_other_worker_for_ever():
    idle = Idle(after=0.05, sign="never")
    with Simulator(Lookup((1.0, 0.5, 2.0)), n_workers=2, max_evaluations=2, overhead=Overhead.none(), idle=idle) as run:
        thread = a_waiting_call(run)
        thread.join(1.5)
        assert thread.is_alive()
        assert run.progress()["delivered"] == 0
        run({"x": 0})
        thread.join(HANG)
        trace = run.trace()
    assert spans(trace) == [(0.0, 1.0), (0.0, 2.0)]
    assert idle_releases(trace) == 0
