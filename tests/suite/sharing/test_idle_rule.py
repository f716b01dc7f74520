"""What a run knows, and what it guesses, about workers that get no call; every guess is cheap, counted and said."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from crashes import HANG
from drivers import Lookup, needs_waits

from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.records.check import check, render
from zerowait.suite.rules.errors import SpecificationError, StalledError, WrongGuessError
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import activity, header, idle, waiting
from zerowait.suite.sharing.activity import Look, Times
from zerowait.suite.sharing.idle import Quiescence
from zerowait.suite.sharing.table import SlotTable, table_bytes

NONE = Overhead.none()


def metadata(trace, name):
    return trace.attrs["zerowait"][name]


def executor_of(way, n):
    if way == "threads":
        return concurrent.futures.ThreadPoolExecutor(n)
    return concurrent.futures.ProcessPoolExecutor(n, multiprocessing.get_context("fork"))


def violations(directory):
    report = check(directory)
    return [] if report.ok else list(render(report))


# -- saying ------------------------------------------------------------------------------------------------------------


def runtimes(n):
    """Return n runtimes from 1 to 10 s, among them equal ones."""
    return tuple(1.0 + (k * k * 7 % 19) / 2 for k in range(n))


class Batches:
    """Asks for batches; the next one when all results of the last one have been told."""

    def __init__(self, sizes):
        self.sizes = iter(sizes)
        self.left = self.running = self.asked = 0

    def ask(self):
        if not self.left:
            if self.running:
                return None
            self.left = next(self.sizes)
        self.left -= 1
        self.running += 1
        self.asked += 1
        return Query({"x": self.asked - 1})

    def tell(self, _query, _evaluation):
        self.running -= 1


SIZES = (20, 3, 8, 1, 20)


@pytest.mark.parametrize("shared_directory", [False, True], ids=["one host", "several hosts"])
@pytest.mark.parametrize("way", ["threads", "processes"])
@pytest.mark.parametrize("overhead", [NONE, Overhead.fixed(0.5)], ids=lambda overhead: overhead.name)
def test_generations_that_say_how_many_calls_come_are_exact_without_a_guess(tmp_path, way, overhead, shared_directory):
    objective = Lookup(runtimes(sum(SIZES)))
    with (
        executor_of(way, 8) as executor,
        Simulator(
            objective, n_workers=8, directory=tmp_path, overhead=overhead, shared_directory=shared_directory,
            idle=Idle(sign="never"),
        ) as simulator,
    ):  # fmt: skip
        first = 0
        for size in SIZES:
            with simulator.expect(size):
                futures = []
                for x in range(first, first + size):
                    futures.append(executor.submit(simulator, {"x": x}))
                    if len(futures) <= 8:  # the first calls of a batch must not race for their starts
                        while simulator.progress()["started"] < x + 1:
                            time.sleep(0.001)
                done, _ = concurrent.futures.wait(futures, HANG)
                assert len(done) == size
            first += size
        trace = simulator.trace()
    asked = simulate(Batches(SIZES), objective, n_workers=8, overhead=overhead)
    for column in ("config.x", "start", "end", "overhead"):
        assert trace[column].tolist() == asked[column].tolist(), column
    assert metadata(trace, "idle_releases") == metadata(trace, "wrong_guesses") == 0
    assert violations(tmp_path) == []


def test_an_optimizer_that_says_it_is_idle_gets_the_next_result_at_once():
    never = Idle(sign="never")
    with (
        Simulator(Lookup((1.0, 5.0, 9.0)), n_workers=4, overhead=NONE, idle=never) as simulator,
        executor_of("threads", 3) as executor,
    ):
        futures = [executor.submit(simulator, {"x": x}) for x in range(3)]
        for future, end in zip(futures, (1.0, 5.0, 9.0), strict=True):
            while simulator.progress()["started"] < 3:
                time.sleep(0.001)
            assert not future.done()
            simulator.idle()
            assert future.result(HANG).end == end
        trace = simulator.trace()
    assert trace["end"].tolist() == [1.0, 5.0, 9.0]
    assert metadata(trace, "idle_releases") == 0


def test_calls_that_were_promised_are_waited_for_until_the_run_stalls():
    """Of two promised calls one comes."""
    patient = Idle(after=0.02, stall_after=0.3)
    with Simulator(Lookup((1.0,)), n_workers=2, overhead=NONE, idle=patient) as simulator:
        simulator.expect(2)
        with pytest.warns(UserWarning, match="a call was promised"):
            assert simulator({"x": 0}).end == 1.0
        trace = simulator.trace()
    assert metadata(trace, "stall_releases") == 1


@pytest.mark.parametrize("n", [-1, 1.5, True, None])
def test_an_expectation_that_is_no_number_of_calls_is_refused(n):
    with (
        Simulator(Lookup((1.0,)), n_workers=2) as simulator,
        pytest.raises(SpecificationError, match="expected calls"),
    ):
        simulator.expect(n)


# -- guesses that turn out to be wrong ---------------------------------------------------------------------------------


def sampled_slowly(simulator, pauses, *, start=False):
    """Sample without CPU time in the main thread, one configuration after the other, for a pool of three.

    A pause is a number of seconds, or, if it has none, lasts for one after the first guess.
    """
    running = set()
    with executor_of("threads", 3) as executor:
        if start:
            simulator.start()
        for x, pause in enumerate(pauses):
            if len(running) == 3:
                done, running = concurrent.futures.wait(running, HANG, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    future.result()
            while pause is None and not simulator.progress()["idle_releases"]:
                time.sleep(0.05)
            time.sleep(1.0 if pause is None else pause)
            running.add(executor.submit(simulator, {"x": x}))
        for future in running:
            future.result(HANG)


SLOW = Lookup((0.4, 0.45, 2.0, 3.0, 4.0))
FOR_LONG = Lookup((4000.0, 4500.0, 20000.0, 30000.0, 40000.0))
"""Nothing is due before somebody is taken to be idle, however long that takes."""


def test_a_sampler_that_waits_is_known_from_its_first_pause():
    """Sampling takes 0.3 s, three times what is taken for idle; the pause before the first call shows it."""
    with Simulator(SLOW, n_workers=3, max_evaluations=5, idle=Idle(after=0.1)) as simulator, warnings.catch_warnings():
        warnings.simplefilter("error")
        sampled_slowly(simulator, [0.3] * 5, start=True)
        trace = simulator.trace()
    assert metadata(trace, "wrong_guesses") == metadata(trace, "idle_releases") == 0
    assert trace["config.x"].tolist()[:2] == [0, 1]


def test_a_guess_that_a_call_contradicts_is_counted_and_said_and_not_made_again(tmp_path):
    simulator = Simulator(FOR_LONG, n_workers=3, directory=tmp_path, max_evaluations=5, idle=Idle(after=0.1))
    with simulator:
        with pytest.warns(UserWarning, match=r"called after .* idle=Idle\(sign='never'\)"):
            sampled_slowly(simulator, [0.0, None, 0.1, 0.1, 0.1])
        with pytest.warns(UserWarning, match="1 times a free worker was taken to be idle and called after all"):
            trace = simulator.trace()
    assert metadata(trace, "wrong_guesses") == 1
    assert violations(tmp_path) == []


def test_a_run_may_end_at_a_wrong_guess():
    suspicious = Idle(after=0.1, on_wrong_guess="raise")
    with (
        Simulator(FOR_LONG, n_workers=3, max_evaluations=5, idle=suspicious) as simulator,
        pytest.raises(WrongGuessError, match="from zerowait import Idle"),
    ):
        sampled_slowly(simulator, [0.0, None, 0.1, 0.1, 0.1])


def test_the_longest_quiet_lengthens_what_is_needed():
    rule = Idle(after=1.0)
    assert idle.needed_quiet(rule, 0.01, 0.0, expected=True) == 1.0
    assert idle.needed_quiet(rule, 0.01, 0.0, expected=False) == 0.05
    assert idle.needed_quiet(rule, 3.0, 3.0, expected=True) == 6.0
    assert idle.needed_quiet(rule, 3.0, 3.0, expected=False) == 6.0
    for expected, least in ((True, 0.05), (False, 0.005)):
        known = {"expected": expected, "accustomed": True, "in_generations": True}
        assert idle.needed_quiet(rule, 3.0, 0.0, **known) == least
        assert idle.needed_quiet(rule, 3.0, 3.0, **known) == 6.0


def test_pauses_between_generations_do_not_lengthen_what_is_needed_within_them():
    """Five generations, before each of which 60 ms are computed; nobody calls before its last result is there."""
    table, rule, needed = new_table(), Idle(after=0.1), []
    for generation in range(5):
        table.ints[header.EVALUATING] = 1  # this call
        assert not idle.note_call(table, idle.Pause(0.06), float(generation))
        for release in range(3):
            table.ints[header.RELEASES_IN_A_ROW] = release
            needed.append(idle.needed_now(table, rule))
        table.ints[header.RELEASES_IN_A_ROW] = 3
    assert needed == [0.1] * 9 + [0.05, 0.005, 0.005] * 2


@pytest.mark.parametrize(("evaluating", "rounds"), [(1, 4), (2, 0)])
def test_who_calls_while_results_of_a_round_are_missing_does_not_work_in_generations(evaluating, rounds):
    table = new_table()
    table.ints[header.RELEASES_IN_A_ROW], table.ints[header.ROUNDS_TO_THE_END] = 1, 3
    table.ints[header.EVALUATING] = evaluating  # this call included
    assert not idle.note_call(table, idle.Pause(), 1.0)
    assert table.ints[header.ROUNDS_TO_THE_END] == rounds


def test_calls_of_the_same_moment_have_waited_for_the_same_pause(monkeypatch):
    """Four workers call after 2 s without work: the optimizer was quiet once, and the others have seen nothing else."""
    monkeypatch.setattr(activity, "look", lambda _: Look({1: 0.25}, {}))
    table, rule = new_table(), Idle(after=1.0)
    table.floats[header.WORK], table.floats[header.WORK_AT], table.floats[header.LAST_RETURN] = 0.0, 0.5, 1.0
    pauses = [idle.pause_before(table, rule, entered, list) for entered in (3.0, 3.0, 3.125)]
    assert [(pause.length, pause.quiet) for pause in pauses] == [(2.0, 1.75), (2.0, 0.0), (2.125, 0.125)]


def new_table():
    table = SlotTable(bytearray(table_bytes(2)), 2)
    table.initialise()
    return table


# -- absent workers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_slots_that_nobody_calls_are_waited_for_once_and_said(tmp_path, way):
    with (
        Simulator(
            Lookup(runtimes(40)), n_workers=8, directory=tmp_path, overhead=NONE, idle=Idle(after=0.3)
        ) as simulator,
        executor_of(way, 4) as executor,
    ):
        if way == "threads":
            with pytest.warns(UserWarning, match="n_workers is 8, but only 4 workers ever called"):
                list(executor.map(lambda x: simulator({"x": x}), range(40)))
        else:
            list(executor.map(simulator, [{"x": x} for x in range(40)]))
        trace = simulator.trace()
    # Once for the four that never call, and at the end, when each of the four others has had its last call.
    assert metadata(trace, "idle_releases") <= 1 + 4
    assert len(trace) == 40
    assert violations(tmp_path) == []


def test_a_worker_that_comes_late_takes_an_absent_slot(tmp_path):
    """Worker A calls alone until B is there, whose first start is the last delivery."""
    both = threading.Barrier(2, timeout=HANG)

    def objective(config):
        if config["x"] > 2:
            both.wait()
        return Evaluation(0.0, 1.0)

    with Simulator(objective, n_workers=2, directory=tmp_path, overhead=NONE, idle=Idle(after=0.1)) as simulator:
        for x in range(3):
            assert simulator({"x": x}).end == x + 1.0
        with executor_of("threads", 2) as executor:
            for first, second in ((3, 4), (5, 6)):
                ends = executor.map(lambda x: simulator({"x": x}).end, (first, second))
                assert set(ends) == {(first + 5) / 2}
        trace = simulator.trace()
    assert trace["start"].tolist() == [0.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert violations(tmp_path) == []


# -- what works --------------------------------------------------------------------------------------------------------


class Scripted:
    """A run whose one thread does per second what is said, on a clock that goes on by a second between looks."""

    def __init__(self, monkeypatch, cpu, waited, switches):
        self.seconds = 0
        monkeypatch.setattr(activity, "look", self.look)
        monkeypatch.setattr(activity, "is_runnable", lambda _: False)
        monkeypatch.setattr(activity, "voluntary_switches", lambda _: switches * self.seconds)
        self.cpu, self.waited = cpu, waited

    def look(self, _roots):
        times = Times(self.cpu * self.seconds, self.waited * self.seconds)
        return Look({1: times.cpu}, {(1, 2): times})

    def quiet(self):
        quiescence = Quiescence(Idle(), now=lambda: float(self.seconds))
        for _ in range(10):
            self.seconds += 1
            quiet = quiescence.seconds(0, [])
        return quiet, quiescence.without_computing


@pytest.mark.parametrize(
    ("cpu", "waited", "switches", "works", "computes"),
    [
        (0.9, 0.0, 3, True, True),  # computes
        (0.05, 0.9, 0, True, True),  # computes, and gets a twentieth of a core
        (0.0005, 0.9, 0, True, True),  # the same, on a machine that hardly lets it run
        (0.4, 0.0, 4000, False, False),  # polls, as Nevergrad's master does
        (0.2, 0.7, 3000, False, False),  # polls, and waits for a core each time
        (0.9, 0.0, 5000, True, True),  # too much for polling
        (0.3, 0.0, 30, True, False),  # polls, and works a little each time
        (0.03, 0.0, 3, False, False),  # a daemon that ticks
    ],
)
def test_who_computes_is_told_from_who_polls_on_a_busy_machine(monkeypatch, cpu, waited, switches, works, computes):
    quiet, without_computing = Scripted(monkeypatch, cpu, waited, switches).quiet()
    assert (quiet < 2.0) == works
    assert (without_computing < 2.0) == computes


def test_while_the_watcher_waits_for_a_core_nobody_is_found_idle(monkeypatch):
    """It may hold the interpreter's lock, for which the others wait without being ready to run."""
    me = os.getpid(), threading.get_native_id()
    scripted = Scripted(monkeypatch, 0.0, 0.0, 0)
    others = scripted.look
    monkeypatch.setattr(
        activity, "look", lambda roots: Look({}, others(roots).threads | {me: Times(0.0, 0.75 * scripted.seconds)})
    )
    quiet, _ = scripted.quiet()
    assert quiet == (scripted.seconds - 1) / 4


@pytest.mark.parametrize("sign", ["cpu", "grace"])
def test_what_the_watcher_was_halted_for_is_no_quiet(monkeypatch, sign):
    """It asked to look each second, and was woken after ten: Ctrl-Z, or a virtual machine without its cores."""
    scripted = Scripted(monkeypatch, 0.0, 0.0, 0)
    quiescence = Quiescence(Idle(sign=sign), now=lambda: float(scripted.seconds))
    quiescence.seconds(0, [])
    for looks in range(1, 5):
        scripted.seconds += 10
        assert quiescence.seconds(0, [], 9.0) == looks
    assert quiescence.seconds(1, [], 9.0) == 0.0
    scripted.seconds += 1
    assert quiescence.seconds(1, []) == 1.0


STOPPED = """
import threading
from zerowait import Evaluation, Idle, Overhead, Simulator

def work(*steps):
    for x in steps:
        if x is None:
            print("waits", flush=True)
            input()
        else:
            simulator({"x": x})

objective = lambda config: Evaluation(0.0, (1.0, 0.5, 2.0)[config["x"]])
with Simulator(objective, n_workers=2, max_evaluations=3, overhead=Overhead.none(), idle=Idle(after=3.0)) as simulator:
    threads = [threading.Thread(target=work, args=steps) for steps in ((0, None, 1), (2,))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(simulator.trace()["end"].tolist(), simulator.progress()["idle_releases"])
"""


@pytest.mark.stress
def test_a_run_that_is_stopped_and_goes_on_guesses_nothing():
    """Ctrl-Z while the optimizer waits for a service, for longer than what is taken for idle; then `fg`."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "waits\n"
        time.sleep(2.5)  # the first look has been
        program.send_signal(signal.SIGSTOP)
        time.sleep(4.0)
        program.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        program.stdin.write("reply\n")
        program.stdin.flush()
        assert program.stdout.readline() == "[1.0, 1.5, 2.0] 0\n"


@pytest.mark.parametrize("slept", [0.25, 0.255, 0.125])
def test_who_sleeps_as_long_as_it_wanted_was_not_halted(slept):
    wait = waiting.Wait(None)
    for _ in range(2):
        wait._note_sleep(0.25, slept)
    assert wait._halted_since() == 0.0
    wait._note_sleep(0.25, 10.25)
    wait._note_sleep(0.25, 4.25)
    assert (wait._halted_since(), wait._halted_since()) == (14.0, 0.0)


@pytest.mark.parametrize("waits", [False, True])
def test_whoever_waits_for_a_delivery_and_wakes_up_to_look_does_not_sample(monkeypatch, waits):
    """All callers look at the same moments, and each found the others ready to run and at work."""
    me = os.getpid(), threading.get_native_id() + 1
    scripted = Scripted(monkeypatch, 0.0, 0.0, 0)
    monkeypatch.setattr(activity, "is_runnable", lambda thread: thread == me)
    others = scripted.look
    monkeypatch.setattr(activity, "look", lambda roots: Look({}, others(roots).threads | {me: Times()}))
    monkeypatch.setattr(activity, "waiting_callers", {me[1]} if waits else set())
    quiet, _ = scripted.quiet()
    assert quiet == (scripted.seconds - 1.0 if waits else 0.0)


def master(action, idle, *, seconds=None):
    """Let one worker of two call, while the master does something instead of calling."""
    stop = threading.Event()
    with Simulator(Lookup((1.0,)), n_workers=2, overhead=NONE, idle=idle) as simulator:
        doing = threading.Thread(target=action, args=(stop,))
        doing.start()
        try:
            return simulator({"x": 0}), simulator.trace()
        finally:
            stop.set()
            doing.join()


def spin(stop):
    while not stop.is_set():
        sum(range(1000))


def poll(stop):
    while not stop.is_set():
        time.sleep(1e-4)


def sleep(stop):
    stop.wait(HANG)


@pytest.mark.parametrize("action", [poll, sleep])
def test_a_master_that_polls_sleeps_or_waits_for_a_lock_is_idle(action):
    evaluation, trace = master(action, Idle(after=0.3))
    assert evaluation.end == 1.0
    assert metadata(trace, "idle_releases") == 1


@needs_waits
def test_a_master_that_spins_for_sixty_times_the_bound_ends_the_run():
    with (
        pytest.raises(StalledError, match=r"without a call.*Idle\(sign='grace'\)"),
        pytest.warns(UserWarning, match="computes"),
    ):
        master(spin, Idle(after=0.05, stall_after=0.05))


@needs_waits
def test_an_optimizer_that_computes_is_not_released_when_the_bound_is_reached(monkeypatch):
    """It computes for ten times the bound, and then makes its call."""
    monkeypatch.setattr(waiting, "LONGEST_COMPUTING", 1e9)  # on a busy machine it takes long
    with Simulator(Lookup((1.0, 0.5)), n_workers=2, overhead=NONE, idle=Idle(after=0.1, stall_after=0.2)) as simulator:

        def compute_and_call():
            until = time.thread_time() + 2.0
            while time.thread_time() < until:
                sum(range(1000))
            simulator({"x": 1})

        computing = threading.Thread(target=compute_and_call)
        computing.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulator({"x": 0})
        computing.join()
        trace = simulator.trace()
    assert trace["end"].tolist() == [0.5, 1.0]
    assert metadata(trace, "stall_releases") == 0
