"""`zerowait check` is silent on every journal that a run has written."""

from __future__ import annotations

import math
import multiprocessing
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from checked_runs import OVERHEADS, QUICK, Objective, call, climbing, violations_of, with_threads
from drivers import needs_one_host
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.check import check
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.sampling_clock import SamplingClock


def in_generations(simulator, queries):
    """Wait for all results of a generation, which fills the workers one and a half times, before the next."""
    size = max(1, 3 * simulator.n_workers // 2)
    with ThreadPoolExecutor(simulator.n_workers) as pool:
        for first in range(0, len(queries), size):
            list(pool.map(lambda query: call(simulator, query), queries[first : first + size]))


def racing(simulator, queries):
    """Start all threads at once, so that the machine decides who is first."""
    with ThreadPoolExecutor(simulator.n_workers) as pool:
        list(pool.map(lambda query: call(simulator, query), queries))


RUNTIMES = {
    "ties": st.sampled_from([0.0, 1.0, 2.0]),
    "zero": st.just(0.0),
    "any": st.floats(0.0, 10.0),
    "huge": st.floats(0.0, 1e298),
}


@st.composite
def runs(draw):
    n_workers, n = draw(st.integers(1, 6)), draw(st.integers(1, 30))
    overhead = draw(st.sampled_from(sorted(OVERHEADS)))
    n_configs = draw(st.integers(1, n))
    runtimes = draw(st.lists(RUNTIMES[draw(st.sampled_from(sorted(RUNTIMES)))], min_size=n_configs, max_size=n_configs))
    if overhead == "measured":  # simulated time passes as real time does
        runtimes = [r % 10.0 * 2e-5 for r in runtimes]
    fidelities = draw(st.sampled_from([[None], [1.0], [1.0, 3.0, 9.0, 27.0], [1.0, 3.0, None, 2.5]]))
    named = draw(st.booleans())
    queries = [
        Query({"x": x}, draw(st.sampled_from(fidelities)), f"trial {x}" if named else None)
        for x in draw(st.lists(st.integers(0, n_configs - 1), min_size=n, max_size=n))
    ]
    failing = draw(st.sampled_from([frozenset(), frozenset(range(0, n_configs, 4))]))
    max_time = draw(st.sampled_from([None, None, 0.01, 20.0, 300.0]))
    specification = {
        "n_workers": n_workers,
        "max_evaluations": draw(st.sampled_from([None, n, max(1, n // 2), n + 5])),
        "max_time": max_time,
        "overhead": OVERHEADS[overhead],
        "continual": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }
    drive = draw(st.sampled_from([with_threads, in_generations, racing]))
    return drive, queries, Objective(tuple(runtimes), failing), specification


@given(runs())
@settings(max_examples=120)
def test_nothing_is_reported_of_a_run_of_threads(case):
    drive, queries, objective, specification = case
    with tempfile.TemporaryDirectory() as directory:
        with Simulator(objective, directory=directory, idle=QUICK, **specification) as simulator:
            drive(simulator, queries)
            expected = simulator.progress()["recorded"]
        report = check(directory)
        assert violations_of(directory) == []
        assert report.n_records == expected
        assert report.ok
        assert report.exit_code == 0


def _pool_call(simulator, query):
    return call(simulator, query)


@pytest.mark.parametrize("overhead", sorted(OVERHEADS.keys() - {"model"}))
@pytest.mark.parametrize("continual", [False, True])
def test_nothing_is_reported_of_a_run_of_processes(tmp_path, overhead, continual):
    scale = 1e-5 if overhead == "measured" else 1.0
    objective = Objective(tuple(scale * r for r in (1.5, 0.25, 2.0, 1.0, 3.0, 1.0)), failing=frozenset([4]))
    specification = {"n_workers": 4, "max_evaluations": 60, "overhead": OVERHEADS[overhead], "continual": continual}
    with (
        Simulator(objective, directory=tmp_path, **specification) as simulator,
        multiprocessing.get_context("fork").Pool(4) as pool,
    ):
        assert all(pool.starmap(_pool_call, [(simulator, query) for query in climbing()], chunksize=1))
    assert violations_of(tmp_path) == []
    records = journal.read(tmp_path / "journal")
    assert len(records) == 60
    assert {r["status"] for r in records} == {"ok", "failed"}
    assert any("resumed_from" in r for r in records) == continual


@pytest.mark.parametrize("continual", [False, True])
def test_nothing_is_reported_of_a_run_that_several_hosts_could_share(tmp_path, continual):
    objective = Objective((1.5, 0.25, 2.0, 1.0, 3.0, 1.0), failing=frozenset([4]))
    with Simulator(
        objective, n_workers=3, directory=tmp_path, max_evaluations=40, overhead=Overhead.fixed(0.7),
        continual=continual, shared_directory=True,
    ) as simulator:  # fmt: skip
        with_threads(simulator, climbing())
    assert violations_of(tmp_path) == []
    assert check(tmp_path).n_records == 40
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join(lines[:-1]))
    assert [v.rule for v in check(tmp_path).violations] == ["complete"]


def with_replacements(simulator, queries):
    """Let forked processes draw the queries; whoever dies is replaced."""
    context = multiprocessing.get_context("fork")
    drawn = context.Value("q", 0)

    def work():
        while True:
            with drawn.get_lock():
                k, drawn.value = drawn.value, drawn.value + 1
            if k >= len(queries) or not call(simulator, queries[k]):
                return

    def start():
        process = context.Process(target=work)
        process.start()
        return process

    deaths = 0
    processes = [start() for _ in range(simulator.n_workers)]
    while processes:
        multiprocessing.connection.wait([p.sentinel for p in processes], timeout=300)
        for process in [p for p in processes if not p.is_alive()]:
            process.join()
            processes.remove(process)
            if process.exitcode != 0:
                assert process.exitcode == -signal.SIGKILL
                deaths += 1
                processes.append(start())
    return deaths


@pytest.mark.parametrize("overhead", ["none", "fixed", "fixed, parallel sampling", "linear", "measured"])
def test_nothing_is_reported_when_workers_were_killed(tmp_path, overhead):
    scale = 1e-5 if overhead == "measured" else 1.0
    objective = Objective(
        tuple(scale * r for r in (1.5, 0.25, 2.0, 1.0, 3.0, 1.0)), failing=frozenset([4]), deadly=frozenset([2])
    )
    with Simulator(
        objective, n_workers=3, directory=tmp_path, max_evaluations=40, overhead=OVERHEADS[overhead], continual=True,
        on_worker_death="continue", idle=Idle(after=0.1),
    ) as simulator:  # fmt: skip
        assert with_replacements(simulator, climbing()) == 7  # configuration 2 is every sixth of the first 40 queries
    assert violations_of(tmp_path) == []
    statuses = [r["status"] for r in journal.read(tmp_path / "journal")]
    assert (len(statuses), statuses.count("lost")) == (40, 7)


def test_nothing_is_reported_when_the_run_ended_because_a_worker_was_killed(tmp_path):
    objective = Objective((1.0,) * 6, deadly=frozenset([5]))
    simulator = Simulator(objective, n_workers=2, directory=tmp_path, max_evaluations=20, overhead=Overhead.none())
    process = multiprocessing.get_context("fork").Process(target=with_threads, args=(simulator, climbing()))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert violations_of(tmp_path) == []


def test_nothing_is_reported_of_a_run_that_really_slept(tmp_path):
    with NaiveRun(
        Objective((1.0, 2.0, 3.0)), time_scale=1e-4, n_workers=3, directory=tmp_path, max_evaluations=30, continual=True
    ) as run:
        with_threads(run, climbing(3)[:30])
    assert violations_of(tmp_path) == []
    assert check(tmp_path).n_records == 30


def test_a_run_can_be_checked_while_it_goes_on(tmp_path):
    lengths = []

    def look(_config, _fidelity, _evaluation):
        report = check(tmp_path)
        assert report.violations == ()
        lengths.append(report.n_records)

    with Simulator(
        Objective((1.0, 0.5, 2.0, 0.25, 3.0, 1.0)), n_workers=4, directory=tmp_path, max_evaluations=60,
        overhead=Overhead.none(), continual=True, on_delivery=look,
    ) as simulator:  # fmt: skip
        with_threads(simulator, climbing())
    assert len(lengths) == 60
    assert min(lengths) < max(lengths) == 60


def test_nested_names_that_json_turns_into_text_keep_their_digest(tmp_path):
    """{2: ..., 10: ...} is sorted as numbers, {"2": ..., "10": ...} as text; the digest is that of the former."""
    with Simulator(lambda _: Evaluation(0.0, 1.0), n_workers=1, directory=tmp_path, seed=3) as simulator:
        simulator({"layers": {10: "a", 2: "b"}, "float": -0.0, "text": "é\U0001f600", "nan": math.nan})
    assert violations_of(tmp_path) == []


def test_an_id_that_looks_like_a_digest_is_taken_for_an_id(tmp_path):
    with Simulator(Objective((1.0,)), n_workers=1, directory=tmp_path) as simulator:
        simulator({"x": 0}, config_id=digest("something else").hex())
        simulator({"x": 0}, config_id=digest(canonical_json({"x": 0})).hex())
    assert violations_of(tmp_path) == []


def sample_while_the_other_trains(directory):
    """A (0.05 s) and B (5 s) train; the sampling of C takes 0.2 s from A's result on, so C starts before B ends."""

    def climb(config):
        return Evaluation(0.0, {"A": 0.05, "B": 5.0, "C": 0.05}[config["x"]])

    with Simulator(climb, n_workers=2, directory=directory, max_evaluations=3, idle=Idle(sign="never")) as simulator:
        other = threading.Thread(target=simulator, args=({"x": "B"},))
        other.start()
        simulator.wait_started(1)
        simulator({"x": "A"})
        time.sleep(0.2)
        simulator({"x": "C"})
        other.join()
    return check(directory).violations


@needs_one_host  # of several hosts, clocks that differ could be the cause
def test_a_result_that_came_before_the_sampling_for_a_free_slot_had_got_there_is_reported(tmp_path, monkeypatch):
    assert sample_while_the_other_trains(tmp_path / "right") == ()

    # As when a slot was seen in no state, because its caller was just taking its result.
    monkeypatch.setattr(SamplingClock, "earliest", lambda *_: math.inf)
    (found,) = sample_while_the_other_trains(tmp_path / "wrong")
    assert found.rule == "meanwhile"
    assert "end 5.0" in found.message
