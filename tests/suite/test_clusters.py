"""Clusters as they are: speeds, stragglers, failures, preemption; equal bits in every mode and in an oracle."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import scipy.stats
from clustered import COMING_AND_GOING, EVERYTHING, WITH_CHECKPOINTS, Ladder, climbing
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import MODES, ask_and_tell, call, queries, threads, wait_unless_refused
from oracle import Machines, conversation
from test_told_on_arrival import OVERHEADS, Spoken, Trains, said, talks

from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.check import check, render
from zerowait.suite.rules import occupation
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import (
    ClusterFailure,
    NoWorkersLeftError,
    RunMismatchError,
    SpecificationError,
    WorkerDied,
)
from zerowait.suite.rules.idle import Idle
from zerowait.suite.rules.occupation import Occupation, Workers

CONDITIONS = {
    "speeds": [[1.0, 0.5], [2.0], {"lognormal": 0.7}],
    "stragglers": [{"half_normal": 0.5}, {"half_normal": 3.0}, {"lognormal": 1.0}],
    "failures": [{"probability": 0.3}, {"rate": 0.02}, {"rate": 1.0}],
    "preemptions": [
        {"rate": 0.05, "back": 0.3}, {"rate": 1.0, "back": 2.0}, [[0, 0.0, 5.0]], [[0, 3.0, 4.0], [0, 6.0, 20.0]],
    ],
    "arrivals": [[0.0, 3.0], [2.0], [7.0, 0.0, 3.0, 3.0, 40.0]],
    "departures": [[20.0], [None, 10.0], [None, 3.5, 6.0, 41.0, None, 8.0]],
}  # fmt: skip


@st.composite
def clusters(draw):
    description = {name: draw(st.sampled_from(given)) for name, given in CONDITIONS.items() if draw(st.booleans())}
    return description | {"retries": draw(st.sampled_from([0, 0, 1, 3])), "checkpoints": draw(st.booleans())}


def fitting(description, n_workers):
    """Return what of a description is meant for so many workers, none of which leaves before it arrives."""
    cut = ("speeds", "arrivals", "departures")
    fits = {k: v[:n_workers] if k in cut and isinstance(v, list) else v for k, v in description.items()}
    for k, (departure, arrival) in enumerate(zip(fits.get("departures", []), fits.get("arrivals", []), strict=False)):
        if departure is not None and arrival >= departure:
            return fits | {"departures": fits["departures"][:k]}
    return fits


def agrees_with_the_oracle(talk, told, description, seed):
    script, seconds, failing, overhead, specification = talk
    description = fitting(description, specification["n_workers"])
    policy, objective = OVERHEADS[overhead], Trains(seconds, failing)
    machines = Machines(description, seed)

    def expected():
        deliveries, known = conversation(
            script, objective.length, overhead=policy.charge, told=told, sampling=policy.sampling, cluster=machines,
            **specification,
        )  # fmt: skip
        keys = "id", "freed", "start", "end", "runtime", "overhead", "status", "worker", "attempt", "lost", "resumed"
        return [(*(d[key] for key in keys), machines.speed(d["worker"])) for d in deliveries], known

    def simulated():
        optimizer = Spoken(script)
        cluster = Cluster(**description)
        trace = simulate(optimizer, objective, told=told, overhead=policy, seed=seed, cluster=cluster, **specification)
        if cluster.is_perfect:  # its workers are labels, and its columns those of no cluster
            trace = trace.assign(attempt=1, lost_time=0.0, worker_speed=1.0, worker=[r[7] for r in expected()[0]])
        columns = (
            "config_id",
            "freed",
            "start",
            "end",
            "runtime",
            "overhead",
            "status",
            "worker",
            "attempt",
            "lost_time",
        )
        resumed = [None if math.isnan(z) else z for z in trace["resumed_from"]]
        return list(zip(*(trace[c] for c in columns), resumed, trace["worker_speed"], strict=True)), optimizer.known

    assert said(simulated) == said(expected)


CASES = talks(), st.sampled_from(["arrival", "turn"]), clusters(), st.sampled_from([0, 1, 2**40 + 7])


@given(*CASES)
@settings(max_examples=150, deadline=None)
def test_evaluations_take_the_time_and_the_end_of_an_independent_simulation(talk, told, description, seed):
    agrees_with_the_oracle(talk, told, description, seed)


@pytest.mark.stress
@given(*CASES)
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_evaluations_take_the_time_and_the_end_of_an_independent_simulation(talk, told, description, seed):
    agrees_with_the_oracle(talk, told, description, seed)


# -- every mode --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", [EVERYTHING, WITH_CHECKPOINTS])
@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.linear(0.1, 0.05, sampling="parallel")])
@pytest.mark.parametrize(("mode", "more"), [
    ("executor", {}), ("threads", {}), ("processes", {}), ("threads", {"shared_directory": True}),
])  # fmt: skip
def test_every_mode_gives_the_trace_of_ask_and_tell(cluster, overhead, mode, more):
    objective = Ladder(tuple(np.random.default_rng(1).uniform(0.1, 1.0, 9).tolist()))
    arguments = {
        "n_workers": 4, "max_evaluations": 32, "max_time": 60.0, "seed": 3, "overhead": overhead, "continual": True,
        "cluster": cluster,
    }  # fmt: skip
    trace = MODES[mode](climbing(9, 32), objective, **arguments, **more)
    assert trace.equals(ask_and_tell(climbing(9, 32), objective, **arguments))
    assert set(trace["worker"]) == {0, 1, 2, 3}
    assert trace.attrs["zerowait"]["specification"]["cluster"] == cluster.to_json()


def ended(run):
    """Return the trace of a run, or that all workers have left it."""
    try:
        return run()
    except NoWorkersLeftError:
        return None


def threads_agree(description, n_workers, n, overhead, seconds, more):
    cluster = Cluster(**fitting(description, n_workers))
    arguments = {
        "n_workers": n_workers,
        "max_evaluations": n,
        "overhead": OVERHEADS[overhead],
        "cluster": cluster,
        **more,
    }
    asked = ended(lambda: ask_and_tell(climbing(9, n + 8), Ladder(tuple(seconds)), **arguments))
    called = ended(lambda: threads(climbing(9, n + 8), Ladder(tuple(seconds)), **arguments))
    assert asked is called is None or asked.equals(called)


WRAPPED = (
    clusters(), st.integers(1, 6), st.integers(1, 40), st.sampled_from(["none", "fixed", "linear", "parallel", "long"]),
    st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(0.0, 1.0), min_size=9, max_size=9),
    st.sampled_from([{}, {"continual": True}, {"max_time": 7.5}, {"max_time": 50.0, "continual": True}]),
)  # fmt: skip


@given(*WRAPPED)
@settings(max_examples=40, deadline=None)
def test_generated_clusters_give_threads_the_trace_of_ask_and_tell(description, n_workers, n, overhead, seconds, more):
    threads_agree(description, n_workers, n, overhead, seconds, more)


@pytest.mark.stress
@given(*WRAPPED)
@settings(max_examples=2_000, deadline=None)
def test_two_thousand_clusters_give_threads_the_trace_of_ask_and_tell(
    description, n_workers, n, overhead, seconds, more
):
    threads_agree(description, n_workers, n, overhead, seconds, more)


def test_the_default_is_no_cluster_at_all(tmp_path):
    """Files are equal byte for byte: neither a column nor a word of the specification says that one was given."""
    objective = Ladder((1.0, 2.0, 3.0))
    for name, cluster in {"none": None, "perfect": Cluster(), "also": Cluster(speeds=[1.0, 1.0], retries=2)}.items():
        ask_and_tell(climbing(3, 12), objective, n_workers=2, overhead=Overhead.none(), cluster=cluster,
                     directory=tmp_path / name)  # fmt: skip
    files = {(tmp_path / name / "trace.parquet").read_bytes() for name in ("none", "perfect", "also")}
    assert len(files) == 1


def test_other_processes_read_the_same_cluster_and_no_other_one_joins(tmp_path):
    arguments = {"n_workers": 2, "directory": tmp_path, "overhead": Overhead.none(), "max_evaluations": 4}
    with Simulator(Ladder((1.0,)), cluster=EVERYTHING, **arguments) as first:
        assert json.loads((tmp_path / "run.json").read_text())["specification"]["cluster"] == EVERYTHING.to_json()
        assert Cluster.from_json(EVERYTHING.to_json()) == EVERYTHING
        assert Simulator(Ladder((1.0,)), cluster=Cluster.from_json(EVERYTHING.to_json()), **arguments).directory
        with pytest.raises(RunMismatchError, match="cluster"):
            Simulator(Ladder((1.0,)), **arguments)
        assert first.directory == tmp_path


def test_really_slept_evaluations_take_the_time_of_the_cluster(tmp_path):
    cluster = Cluster(speeds=[2.0], preemptions=[[0, 1.0, 3.0]], checkpoints=True)
    with NaiveRun(Ladder((0.2,)), n_workers=1, time_scale=0.01, directory=tmp_path, cluster=cluster) as run:
        evaluation = run({"x": 0})  # 27 epochs of 0.2 s at twice the speed, and 2 s away
        assert evaluation.runtime == pytest.approx(2.7 + 2.0, abs=1e-9)
        assert evaluation.end - evaluation.start >= evaluation.runtime - 1e-9
    assert check(tmp_path).ok, render(check(tmp_path))


@pytest.mark.parametrize("overhead", [Overhead.measured(), Overhead.measured(sampling="parallel")])
def test_under_measured_overhead_a_run_of_threads_keeps_every_rule(overhead):
    trace = threads(climbing(9, 32), Ladder(tuple(np.linspace(0.1, 1.0, 9))), n_workers=4, max_evaluations=32,
                    overhead=overhead, continual=True, cluster=EVERYTHING)  # fmt: skip
    assert len(trace) == 32  # and `threads` has checked the journal


def work_alone(simulator, todo, n):
    """Be one worker with a process of its own, until the run ends or it has to leave."""
    while True:
        with todo.get_lock():
            k, todo.value = todo.value, todo.value + 1
        if k >= n or not call(simulator, climbing(9, n)[k]):
            return


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(0.3)])
@pytest.mark.parametrize("more", ["threads", "processes", "shared directory"])
def test_workers_that_come_and_go_do_so_in_every_mode(tmp_path, overhead, more):
    objective = Ladder(tuple(np.random.default_rng(1).uniform(0.1, 1.0, 9).tolist()))
    arguments = {"n_workers": 4, "max_evaluations": 36, "overhead": overhead, "continual": True,
                 "cluster": COMING_AND_GOING}  # fmt: skip
    expected = ask_and_tell(climbing(9, 36), objective, **arguments)
    assert expected[["worker", "freed"]].groupby("worker")["freed"].min().tolist() == [5.0, 0.0, 7.0, 0.0]
    if more == "processes":
        fork = multiprocessing.get_context("fork")
        with Simulator(objective, directory=tmp_path, **arguments) as simulator:
            todo = fork.Value("q", 0)
            crew = [fork.Process(target=work_alone, args=(simulator, todo, 36)) for _ in range(4)]
            for k, process in enumerate(crew):
                process.start()
                wait_unless_refused(simulator, k + 1, lambda: False)
            for process in crew:
                process.join()
            trace = simulator.trace()
        assert check(tmp_path).ok, render(check(tmp_path))
    else:
        trace = threads(climbing(9, 36), objective, directory=tmp_path, shared_directory=more != "threads", **arguments)
    assert trace.equals(expected)


def test_an_executors_submissions_wait_for_workers_that_are_to_come():
    """What is submitted was sampled then; without overhead that makes no difference."""
    objective = Ladder(tuple(np.random.default_rng(1).uniform(0.1, 1.0, 9).tolist()))
    arguments = {"n_workers": 4, "max_evaluations": 36, "overhead": Overhead.none(), "cluster": COMING_AND_GOING}
    assert MODES["executor"](climbing(9, 36), objective, **arguments).equals(
        ask_and_tell(climbing(9, 36), objective, **arguments)
    )


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.measured(), Overhead.measured(sampling="parallel")])
def test_calls_that_come_before_their_workers_wait_for_them(tmp_path, overhead):
    """All four threads call at once; two workers are to come."""
    todo = iter(climbing(9, 36))
    with Simulator(Ladder(tuple(np.linspace(0.1, 1.0, 9))), n_workers=4, max_evaluations=36, directory=tmp_path,
                   overhead=overhead, cluster=COMING_AND_GOING) as simulator:  # fmt: skip
        taking = threading.Lock()

        def work():
            while True:
                with taking:
                    query = next(todo, None)
                if query is None or not call(simulator, query):
                    return

        crew = [threading.Thread(target=work) for _ in range(4)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        trace = simulator.trace()
    assert check(tmp_path).ok, render(check(tmp_path))
    assert trace[["worker", "start"]].groupby("worker")["start"].min().ge([5.0, 0.0, 7.0, 0.0]).all()
    assert trace[trace["worker"] == 2]["end"].max() <= 12.5
    assert len(trace) >= 34  # what a thread had in hand when its worker left


# -- what the conditions mean ------------------------------------------------------------------------------------------


def run(cluster, runtimes, **more):
    arguments = {"n_workers": 1, "overhead": Overhead.none(), "cluster": cluster} | more
    return ask_and_tell(
        [Query({"x": k}) for k in range(len(runtimes))],
        lambda config: Evaluation(0.0, runtimes[config["x"]]),
        **arguments,
    )


def test_a_worker_of_half_the_speed_takes_twice_as_long():
    trace = run(Cluster(speeds=[1.0, 0.5]), [3.0, 3.0, 3.0], n_workers=2)
    assert trace["end"].tolist() == [3.0, 6.0, 6.0]
    assert trace[["worker", "worker_speed"]].to_numpy().tolist() == [[0, 1.0], [1, 0.5], [0, 1.0]]


def test_what_a_preempted_worker_ran_is_tried_again_goes_on_or_is_lost():
    away = [[0, 2.0, 5.0]]
    assert run(Cluster(preemptions=away, retries=1), [3.0])["end"].tolist() == [8.0]  # 2 s in vain, and 3 s after 5
    assert run(Cluster(preemptions=away, checkpoints=True), [3.0])["end"].tolist() == [6.0]  # 2 s before, 1 s after
    lost = run(Cluster(preemptions=away), [3.0, 1.0])  # its worker is back at 5 s and says so
    assert lost[["start", "end", "status", "attempt", "lost_time"]].to_numpy().tolist() == [
        [0.0, 5.0, "preempted", 1, 5.0], [5.0, 6.0, "ok", 1, 0.0],
    ]  # fmt: skip


def test_an_evaluation_that_ends_when_its_worker_leaves_is_done_and_the_next_one_waits():
    trace = run(Cluster(preemptions=[[0, 2.0, 5.0]]), [2.0, 1.0])
    assert trace[["start", "end", "status"]].to_numpy().tolist() == [[0.0, 2.0, "ok"], [2.0, 6.0, "ok"]]
    trace = run(Cluster(preemptions=[[0, 2.0, 5.0]]), [1.0, 1.0, 0.0])  # also if it takes no time at all
    assert trace["end"].tolist() == [1.0, 2.0, 5.0]


@pytest.mark.parametrize("mode", ["ask and tell", "executor", "threads"])
@pytest.mark.parametrize(("max_time", "ends"), [(3.0, [1.0]), (8.0, [1.0, 8.0]), (7.5, [1.0])])
def test_a_budget_of_time_may_end_in_an_outage(mode, max_time, ends):
    cluster = Cluster(preemptions=[[0, 2.0, 5.0]], retries=1)
    trace = MODES[mode](queries((0, 1.0), (1, 1.0)), Ladder((1.0, 3.0)), n_workers=1, overhead=Overhead.none(),
                        max_time=max_time, cluster=cluster)  # fmt: skip
    assert trace["end"].tolist() == ends


def test_a_failed_attempt_leaves_no_state_and_a_preempted_one_does_with_checkpoints():
    ladder = queries((0, 3.0), (0, 9.0), (0, None))
    arguments = {"n_workers": 1, "overhead": Overhead.none(), "continual": True}
    trace = ask_and_tell(ladder, Ladder((1.0,)), cluster=Cluster(preemptions=[[0, 4.0, 10.0]]), **arguments)
    assert trace["status"].tolist() == ["ok", "preempted", "ok"]
    assert trace["resumed_from"].isna().tolist() == [True, False, True]  # the state at 3 was taken, none came of it
    assert trace["end"].tolist() == [3.0, 10.0, 37.0]
    trace = ask_and_tell(ladder, Ladder((1.0,)), cluster=Cluster(preemptions=[[0, 4.0, 10.0]], checkpoints=True),
                         **arguments)  # fmt: skip
    assert trace["end"].tolist() == [3.0, 15.0, 33.0]


def test_the_optimizer_is_told_of_a_failure_as_of_an_exception_of_the_objective():
    class Told:
        def __init__(self):
            self.failures = []

        def ask(self):
            if self.failures:
                raise StopIteration
            return Query({"x": 0})

        def tell_failure(self, query, error):
            self.failures.append((query.config, type(error), str(error)))

        tell = None

    optimizer = Told()
    optimizer.tell = lambda *_: None
    arguments = {"n_workers": 1, "overhead": Overhead.none(), "cluster": Cluster(preemptions=[[0, 2.0, 5.0]])}
    simulate(optimizer, Ladder((1.0,)), **arguments)
    text = "attempt 1 on worker 0 was preempted, which is known at 5.0 s"
    assert optimizer.failures == [({"x": 0}, ClusterFailure, text)]
    with Simulator(Ladder((1.0,)), **arguments) as simulator, pytest.raises(ClusterFailure, match=text):
        simulator({"x": 0})


def test_a_worker_that_leaves_loses_what_it_runs_and_is_asked_for_nothing_more():
    trace = run(Cluster(departures=[3.0]), [2.0, 2.0, 2.0], n_workers=2)
    assert trace[["worker", "start", "end", "status"]].to_numpy().tolist() == [
        [0, 0.0, 2.0, "ok"], [1, 0.0, 2.0, "ok"], [0, 2.0, 3.0, "preempted"],
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["executor", "threads"])
def test_workers_may_arrive_together(mode):
    """Nobody is there at first; then all come at once."""
    arguments = {"n_workers": 3, "overhead": Overhead.none(), "max_evaluations": 9,
                 "cluster": Cluster(arrivals=[5.0, 5.0, 5.0])}  # fmt: skip
    trace = MODES[mode](queries(*[(k, 1.0) for k in range(9)]), Ladder((1.5,) * 9), **arguments)
    assert trace["end"].tolist() == [6.5] * 3 + [8.0] * 3 + [9.5] * 3
    assert trace.equals(ask_and_tell(queries(*[(k, 1.0) for k in range(9)]), Ladder((1.5,) * 9), **arguments))


def test_a_worker_that_arrives_is_asked_for_then():
    trace = run(Cluster(arrivals=[0.0, 3.0]), [2.0] * 4, n_workers=2)
    assert trace[["worker", "freed", "start", "end"]].to_numpy().tolist() == [
        [0, 0.0, 0.0, 2.0], [0, 2.0, 2.0, 4.0], [1, 3.0, 3.0, 5.0], [0, 4.0, 4.0, 6.0],
    ]  # fmt: skip


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.linear(0.1, 0.05, sampling="parallel")])
@pytest.mark.parametrize("more", [{}, {"shared_directory": True}])
def test_a_call_for_a_worker_that_comes_after_the_end_is_past_the_budget(more, overhead):
    """Its caller was told that it was one too many, where the others had results in flight."""
    asked = queries(*[(0, 1.0)] * 60)  # the same again and again: what the late one was to evaluate is lost
    arguments = {"n_workers": 3, "max_time": 6.0, "overhead": overhead, "cluster": Cluster(arrivals=[30.0, 0.0, 2.0])}
    trace = threads(asked, Ladder((0.7,)), **arguments, **more)
    assert trace.equals(ask_and_tell(asked, Ladder((0.7,)), **arguments))
    assert set(trace["worker"]) == {1, 2}


@pytest.mark.parametrize("more", [{}, {"shared_directory": True}])
def test_nobody_waits_for_the_start_of_a_worker_that_comes_after_the_end(more):
    """No sampling ends in time, and four of five calls were answered: `wait_started` waited for the fifth for ever."""
    arguments = {
        "n_workers": 5, "max_time": 7.5, "overhead": OVERHEADS["long"],
        "cluster": Cluster(arrivals=[7.0, 0.0, 3.0, 3.0, 40.0]),
    }  # fmt: skip
    trace = threads(climbing(9, 43), Ladder((0.5,) * 9), **arguments, **more)
    assert trace.equals(ask_and_tell(climbing(9, 43), Ladder((0.5,) * 9), **arguments))


@pytest.mark.parametrize("mode", ["ask and tell", "executor", "threads"])
def test_a_run_that_all_workers_have_left_ends_with_an_error_that_says_so(mode):
    cluster = Cluster(departures=[3.0, 4.0])
    with pytest.raises(NoWorkersLeftError, match=r"all 2 workers have left by 4\.0 s, and the budget is not spent"):
        MODES[mode](queries(*[(k, 1.0) for k in range(9)]), Ladder((1.5,) * 9), n_workers=2, overhead=Overhead.none(),
                    max_evaluations=9, cluster=cluster)  # fmt: skip
    trace = MODES[mode](queries(*[(k, 1.0) for k in range(9)]), Ladder((1.5,) * 9), n_workers=2, max_time=4.0,
                        overhead=Overhead.none(), cluster=cluster)  # fmt: skip
    assert trace["end"].tolist()[-2:] == [3.0, 4.0]


@pytest.mark.parametrize(("mode", "more"), [
    ("ask and tell", {}), ("executor", {}), ("threads", {}), ("processes", {}), ("threads", {"shared_directory": True}),
])  # fmt: skip
def test_a_worker_that_is_away_for_ever_ends_the_run_with_an_error_that_says_so(mode, more, monkeypatch, tmp_path):
    """Everybody is told so: to the others it seemed that the caller who found out had died."""
    monkeypatch.setattr(occupation, "MOST_OUTAGES", 1000)  # a million take seconds
    cluster = Cluster(preemptions={"rate": 1e6, "back": 1e6}, checkpoints=True)
    with pytest.raises(NoWorkersLeftError, match=r"worker [01] (was|of the cluster is) preempted .*preemptions\.rate"):
        MODES[mode](queries(*[(k, 1.0) for k in range(9)]), Ladder((1e6,) * 9), n_workers=2, overhead=Overhead.none(),
                    max_evaluations=9, cluster=cluster, directory=tmp_path / "run", **more)  # fmt: skip
    if mode not in ("ask and tell", "executor"):
        assert check(tmp_path / "run").ok


# -- draws -------------------------------------------------------------------------------------------------------------


def occupations(cluster, n=4000, seed=0, worker=0):
    workers = Workers(cluster, seed)
    return [Occupation(*workers.occupy(worker, 0.0, 1.0, k.to_bytes(16, "little"), None)) for k in range(n)]


def test_draws_have_the_distributions_that_the_description_names():
    """Each with 4000 draws and a fixed seed: a p-value below 1e-3 here would say that the draws are not those."""
    std, sigma = 0.7, 0.4
    factors = [o.end - 1.0 for o in occupations(Cluster(stragglers={"half_normal": std}))]
    assert scipy.stats.kstest(factors, scipy.stats.halfnorm(scale=std).cdf).pvalue > 1e-3
    factors = [o.end for o in occupations(Cluster(stragglers={"lognormal": sigma}))]
    assert scipy.stats.kstest(factors, scipy.stats.lognorm(sigma).cdf).pvalue > 1e-3
    failed = [o.end for o in occupations(Cluster(failures={"rate": 3.0})) if o.ended == "failed"]
    truncated = lambda t: (1 - np.exp(-3.0 * np.asarray(t))) / (1 - math.exp(-3.0))  # noqa: E731 - a formula
    assert scipy.stats.kstest(failed, truncated).pvalue > 1e-3
    assert scipy.stats.binomtest(len(failed), 4000, 1 - math.exp(-3.0)).pvalue > 1e-3
    failed = [o.end for o in occupations(Cluster(failures={"probability": 0.3})) if o.ended == "failed"]
    assert scipy.stats.kstest(failed, "uniform").pvalue > 1e-3
    assert scipy.stats.binomtest(len(failed), 4000, 0.3).pvalue > 1e-3
    speeds = Workers(Cluster(speeds={"lognormal": sigma}), 0).speeds(range(4000))
    assert scipy.stats.kstest(speeds, scipy.stats.lognorm(sigma).cdf).pvalue > 1e-3
    away = [o.end for o in occupations(Cluster(preemptions={"rate": 0.5, "back": 2.0}, checkpoints=True), 1)]
    assert away == [1.0] or away[0] > 1.0
    outages = [
        Workers(Cluster(preemptions={"rate": 0.5, "back": 2.0}), 0)._next_outage(worker, 0.0) for worker in range(4000)
    ]
    assert scipy.stats.kstest([a for a, _ in outages], scipy.stats.expon(scale=2.0).cdf).pvalue > 1e-3
    assert scipy.stats.kstest([b - a for a, b in outages], scipy.stats.expon(scale=0.5).cdf).pvalue > 1e-3


def test_conditions_seeds_and_attempts_draw_independently_of_one_another():
    def correlation(one, other):
        return scipy.stats.spearmanr(one, other).pvalue

    factors = [o.end for o in occupations(Cluster(stragglers={"half_normal": 1.0}))]
    others = [o.end for o in occupations(Cluster(stragglers={"half_normal": 1.0}), seed=1)]
    moments = [o.end for o in occupations(Cluster(failures={"rate": 1e3}))]
    second = [o.end - first for o, first in zip(occupations(Cluster(failures={"rate": 1e3}, retries=1)), moments,
                                                strict=True)]  # fmt: skip
    assert min(correlation(factors, others), correlation(factors, moments), correlation(moments, second)) > 1e-3


def test_no_draw_changes_when_another_condition_is_switched_on():
    slow = Workers(Cluster(stragglers={"half_normal": 1.0}), 5)
    both = Workers(
        Cluster(speeds={"lognormal": 1.0}, stragglers={"half_normal": 1.0}, failures={"rate": 1e-9},
                preemptions=[[9, 1.0, 2.0]], retries=3), 5,
    )  # fmt: skip
    for k in range(50):
        identity = k.to_bytes(16, "little")
        end = slow.occupy(k % 4, 0.0, both.speed(k % 4), identity, 3.0)[0]
        assert both.occupy(k % 4, 0.0, both.speed(k % 4) ** 2, identity, 3.0)[0] == pytest.approx(end, rel=1e-14)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "said"), [
    ({"speeds": [1.0, -0.5]}, r"speeds\[1\] is -0\.5; it must be a number of at least 1e-06"),
    ({"speeds": []}, r"speeds is \[\]"),
    ({"speeds": 2.0}, r"speeds is 2\.0; it must be a list"),
    ({"speeds": {"normal": 1.0}}, r"'normal' is not a key of speeds; did you mean 'lognormal'\?"),
    ({"stragglers": {"half_normal": -1.0}}, r"stragglers\.half_normal is -1\.0"),
    ({"stragglers": {"half_normal": 1.0, "lognormal": 1.0}}, r"stragglers is .*it must be one of"),
    ({"stragglers": 0.5}, r"stragglers is 0\.5; it must be one of"),
    ({"failures": {"probability": 1.0}}, r"failures\.probability is 1\.0; it must be .*at most"),
    ({"failures": {"rate": math.inf}}, r"failures\.rate is inf"),
    ({"preemptions": {"rate": 1.0}}, r"preemptions has no back"),
    ({"preemptions": {"rate": 1.0, "back": 0.0}}, r"preemptions\.back is 0\.0; .*leaves no worker"),
    ({"preemptions": [[0, 2.0, 1.0]]}, r"preemptions\[0\]\[2\] is 1\.0; it must be a number above 2"),
    ({"preemptions": [[0, 1.0, 3.0], [0, 2.0, 4.0]]}, r"preemptions has worker 0 away from 1\.0 to 3\.0 s and again"),
    ({"preemptions": [[0, 1.0]]}, r"preemptions\[0\] is .*it must be \[worker, from, to\]"),
    ({"preemptions": [[-1, 1.0, 2.0]]}, r"preemptions\[0\]\[0\] is -1"),
    ({"arrivals": [0.0, -1.0]}, r"arrivals\[1\] is -1\.0"),
    ({"arrivals": [math.inf]}, r"arrivals\[0\] is inf"),
    ({"arrivals": 3.0}, r"arrivals is 3\.0; it must be a list"),
    ({"departures": [None, 0.0]}, r"departures\[1\] is 0\.0; it must be a number above 0"),
    ({"arrivals": [5.0], "departures": [4.0]}, r"departures\[0\] is 4\.0, and arrivals\[0\] is 5\.0; a worker"),
    ({"retries": -1}, r"retries is -1"),
    ({"retries": True}, r"retries is True"),
    ({"checkpoints": "yes"}, r"checkpoints is 'yes'"),
])  # fmt: skip
def test_what_is_no_cluster_is_refused_in_one_line_that_names_the_key(given, said):
    with pytest.raises(SpecificationError, match=said) as caught:
        Cluster(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "said"), [
    (Cluster(speeds=[1.0, 2.0, 3.0]), r"speeds has 3 numbers, and n_workers is 2; it must have at most"),
    (Cluster(arrivals=[0.0, 0.0, 3.0]), r"arrivals has 3 numbers, and n_workers is 2"),
    (Cluster(preemptions=[[2, 1.0, 2.0]]), r"preemptions names worker 2, and n_workers is 2"),
    ({"speeds": [2.0]}, r"cluster is .*it must be a description: zerowait\.Cluster"),
])  # fmt: skip
@pytest.mark.parametrize("way", [
    lambda **more: simulate(Spoken([]), Ladder((1.0,)), **more), lambda **more: Simulator(Ladder((1.0,)), **more),
])  # fmt: skip
def test_a_cluster_that_does_not_fit_the_run_is_refused(given, said, way):
    with pytest.raises(SpecificationError, match=said):
        way(n_workers=2, cluster=given)


def test_an_unknown_key_of_a_study_is_named_with_what_was_meant():
    with pytest.raises(SpecificationError, match=r"'straglers' is not a key of a cluster; did you mean 'stragglers'\?"):
        Cluster.from_json({"straglers": {"half_normal": 1.0}})
    with pytest.raises(SpecificationError, match=r"the cluster is 3; it must be a table"):
        Cluster.from_json(3)


@pytest.mark.parametrize("cluster", [Cluster(speeds=[1.0, 2.0, 1.0, 2.0]), Cluster(arrivals=[0.0, 5.0, 5.0, 5.0])])
def test_threads_wait_for_different_starts_at_once(cluster):
    """As adapters make their first calls one after the other: each thread when so many have started."""
    ended = []

    def work(simulator, number):
        simulator.wait_started(number, timeout=60.0)
        ended.append((number, simulator({"x": number}).value))

    with Simulator(lambda config: Evaluation(float(config["x"]), 3.0), n_workers=4, overhead=Overhead.none(),
                   cluster=cluster) as simulator:  # fmt: skip
        threads = [threading.Thread(target=work, args=(simulator, number)) for number in reversed(range(4))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ended) == [(number, float(number)) for number in range(4)]


TWO_TO_COME = Cluster(arrivals=[0.0, 50.0])


def slow_at_first(config):
    if config["x"] == 0:
        time.sleep(0.3)  # so that the other call has come by then
    return Evaluation(float(config["x"]), 3.0)


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(0.0), Overhead.measured()])
def test_a_call_that_waits_for_its_worker_takes_the_one_that_nobody_needs_any_more(overhead):
    """Its thread has ended, and nobody is in a call who could notice that simulated time stands still."""
    with Simulator(slow_at_first, n_workers=2, max_evaluations=4, overhead=overhead, cluster=TWO_TO_COME,
                   idle=Idle(after=0.2)) as simulator:  # fmt: skip
        first = threading.Thread(target=simulator, args=({"x": 0},))
        first.start()
        simulator.wait_started(1)
        assert simulator({"x": 1}).start < 50.0
        first.join()
        assert simulator.trace()["worker"].tolist() == [0, 0]


@pytest.mark.parametrize("policy", ["continue", "raise"])
def test_a_call_that_waits_for_its_worker_sees_that_the_others_have_died(policy):
    def killed(config):
        if config["x"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return Evaluation(1.0, 3.0)

    with Simulator(killed, n_workers=2, max_evaluations=4, overhead=Overhead.none(), cluster=TWO_TO_COME,
                   on_worker_death=policy, idle=Idle(after=0.2)) as simulator:  # fmt: skip
        other = multiprocessing.get_context("fork").Process(target=simulator, args=({"x": 0},))
        other.start()
        simulator.wait_started(1)
        if policy == "raise":
            with pytest.raises(WorkerDied):
                simulator({"x": 1})
        else:
            assert simulator({"x": 1}).start < 50.0
        other.join()
