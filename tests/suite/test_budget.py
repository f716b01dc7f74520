"""Budgets: exactly the evaluations that were asked for, in every mode and whatever the number of workers."""

from __future__ import annotations

import heapq
import itertools
import math
import threading

import pytest
from drivers import needs_waits
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import MODES, Diverged, Scripted, ask_and_tell, executor, queries, threads

from zerowait.suite import Budget, Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import BudgetExhausted, SpecificationError
from zerowait.suite.rules.idle import Idle

NONE = Overhead.none()


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


class Seconds:
    """The configuration is the runtime; every fifth one fails after it."""

    def __call__(self, config):
        if config["x"] % 5 == 4:
            raise Diverged(runtime=float(config["x"]))
        return Evaluation(0.0, float(config["x"]))


class Three:
    def __call__(self, _config):
        return Evaluation(0.0, 3.0)


def many(n=40):
    return queries(*((k, None) for k in range(n)))


# -- a number of evaluations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 3, 8])
@pytest.mark.parametrize("n", [1, 7, 8, 20])
def test_a_budget_of_n_is_n_evaluations_whatever_the_number_of_workers(mode, n, n_workers):
    """More is asked for than the budget holds, and more workers may be there than evaluations."""
    trace = mode(many(), Seconds(), n_workers=n_workers, max_evaluations=n, overhead=NONE)
    assert len(trace) == n
    assert sorted(trace["config.x"]) == list(range(n)), "the first n calls are evaluated, and all are delivered"
    assert (trace["status"] == "failed").sum() == sum(k % 5 == 4 for k in range(n))


def of_busy_workers(n, n_workers):
    """The first `n` ends of workers that take the next of the configurations whenever they are free."""
    free, ends = [0.0] * n_workers, []
    for k in range(n + n_workers):
        start = heapq.heappop(free)
        ends.append((start + SHUFFLED[k], k))
        heapq.heappush(free, ends[-1][0])
    return sorted(ends)[:n]


SHUFFLED = [float(7 + (37 * k) % 41) + k / 64.0 for k in range(40)]


class Shuffled:
    def __call__(self, config):
        return Evaluation(float(config["x"]), SHUFFLED[config["x"]])


@pytest.mark.parametrize("n_workers", [1, 3, 8])
@pytest.mark.parametrize("n", [1, 20])
def test_a_budget_of_n_results_is_the_first_n_of_busy_workers(mode, n, n_workers):
    budget = {"max_evaluations": n, "counts": "results"}
    trace = mode(many(), Shuffled(), n_workers=n_workers, overhead=NONE, **budget)
    assert list(zip(trace["end"], trace["config.x"], strict=True)) == of_busy_workers(n, n_workers)
    assert trace.attrs["zerowait"]["specification"]["counts"] == "results"


def test_the_tail_of_a_budget_of_results_is_another_one(mode):
    calls, results = (
        mode(many(), Shuffled(), n_workers=8, overhead=NONE, max_evaluations=20, counts=counts)["config.x"].tolist()
        for counts in ("calls", "results")
    )
    assert calls[:11] == results[:11]
    assert set(calls) == set(range(20))
    assert max(results) > 19
    assert len(results) == 20


def test_a_budget_of_results_and_of_time_ends_with_whichever_comes_first(mode):
    for n, latest in ((20, 30.0), (2, 1e6)):
        trace = mode(
            many(), Shuffled(), n_workers=3, overhead=NONE, max_evaluations=n, max_time=latest, counts="results"
        )
        assert trace["end"].tolist() == [end for end, _ in of_busy_workers(n, 3) if end <= latest]


def test_who_is_busy_when_the_last_result_comes_is_told_that_the_budget_is_spent(tmp_path):
    """The budget says so, whoever asks."""
    with Simulator(
        Three(), n_workers=1, directory=tmp_path, max_evaluations=1, counts="results", overhead=NONE
    ) as simulator:
        simulator({"x": 0})
        with pytest.raises(BudgetExhausted, match="max_evaluations=1, counts='results'; 1 evaluations were started"):
            simulator({"x": 1})


def test_a_budget_of_results_says_how_many():
    with pytest.raises(SpecificationError, match="counts is 'results' without max_evaluations"):
        Budget(max_time=3.0, counts="results")
    with pytest.raises(SpecificationError, match="counts is 'result'; it must be one of 'calls', 'results'"):
        Budget(3, counts="result")
    assert Budget.from_json(Budget(3, counts="results").to_json()) == Budget(3, counts="results")
    assert Budget(3).to_json() == {"max_evaluations": 3, "max_time": None}


def test_without_a_budget_the_optimizer_decides(mode):
    assert len(mode(many(11), Three(), n_workers=2, overhead=NONE, **WITHOUT_WAITING[mode])) == 11


# At the end of a run without a budget a free worker might still get a call; only the idle rule tells that it will not.
WITHOUT_WAITING = {
    mode: {} if mode in (ask_and_tell, executor) else {"idle": Idle(after=0.05)} for mode in MODES.values()
}


def test_a_call_past_the_budget_is_refused_at_once_and_says_why(tmp_path):
    with Simulator(Three(), n_workers=2, directory=tmp_path, max_evaluations=1, overhead=NONE) as simulator:
        simulator({"x": 0})
        for _ in range(3):
            with pytest.raises(BudgetExhausted) as caught:
                simulator({"x": 1})
            assert str(caught.value) == "the budget is spent (max_evaluations=1; 1 evaluations were started)"
        assert simulator.progress()["started"] == simulator.progress()["recorded"] == 1


def test_a_call_is_refused_while_the_last_evaluations_are_running(tmp_path):
    """Who asks too much is not kept waiting for the others, and does not need a free worker."""
    refused = []

    class Asks:
        def __call__(self, config):
            if config["x"] == 1:
                with pytest.raises(BudgetExhausted):
                    simulator({"x": 2})
                refused.append(simulator.progress()["recorded"])
            return Evaluation(0.0, 3.0)

    with Simulator(Asks(), n_workers=2, directory=tmp_path, max_evaluations=2, overhead=NONE) as simulator:
        crew = [threading.Thread(target=simulator, args=({"x": k},)) for k in range(2)]
        for k, thread in enumerate(crew):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in crew:
            thread.join()
        assert simulator.trace()["end"].tolist() == [3.0, 3.0]
    assert refused == [0]


def test_the_last_results_wait_for_nobody(tmp_path):
    """Three workers, two evaluations: the third worker never gets a call, and no idle rule is needed to see it."""
    with Simulator(
        Three(), n_workers=3, directory=tmp_path, max_evaluations=2, overhead=NONE, idle=Idle(sign="never")
    ) as simulator:
        crew = [threading.Thread(target=simulator, args=({"x": k},)) for k in range(2)]
        for k, thread in enumerate(crew):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in crew:
            thread.join()
        assert simulator.trace().attrs["zerowait"]["idle_releases"] == 0


# -- a time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_time", "ends"),
    [
        (3.0, [3, 3]),
        (9.0, [3, 3, 6, 6, 9, 9]),  # an end at the budget's end is within it
        (math.nextafter(9.0, 0.0), [3, 3, 6, 6]),
        (math.nextafter(9.0, 10.0), [3, 3, 6, 6, 9, 9]),  # what would start at 9 would end at 12
        (2.5, []),
    ],
)
def test_results_that_end_by_the_budget_are_recorded_and_no_others(mode, max_time, ends):
    """Two workers, 3 s each."""
    trace = mode(many(), Three(), n_workers=2, max_time=max_time, overhead=NONE)
    assert trace["end"].tolist() == ends
    assert trace.attrs["zerowait"]["totals"]["makespan"] == (ends[-1] if ends else 0.0)


def test_of_two_budgets_the_one_that_is_reached_first_counts(mode):
    by_number = mode(many(), Three(), n_workers=2, max_evaluations=3, max_time=9.0, overhead=NONE)
    by_time = mode(many(), Three(), n_workers=2, max_evaluations=10, max_time=6.0, overhead=NONE)
    assert by_number["end"].tolist() == [3, 3, 6]
    assert by_time["end"].tolist() == [3, 3, 6, 6]


def test_sampling_that_lasts_past_the_budget_starts_nothing(mode):
    """One worker, 4 s of sampling, 3 s of training: 4-7, 11-14; the third would start at 18."""
    trace = mode(many(), Three(), n_workers=1, max_time=17.0, overhead=Overhead.fixed(4.0))
    assert trace[["start", "end"]].to_numpy().tolist() == [[4, 7], [11, 14]]


def test_a_worker_whose_clock_is_past_the_budget_does_not_hold_up_the_others(mode):
    """A serial optimizer samples 4 s for each of three workers: starts at 4 and 8; the third would start at 12.

    The first result comes at 7; what is sampled after it would start at max(7, 8) + 4 = 12, too.
    """
    trace = mode(many(), Three(), n_workers=3, max_time=11.0, overhead=Overhead.fixed(4.0))
    assert trace[["start", "end"]].to_numpy().tolist() == [[4, 7], [8, 11]]


def test_an_evaluation_that_is_running_when_time_is_up_is_told_so(tmp_path):
    """Two workers: 3 s and 20 s; the budget ends at 10, so the second one's caller learns that it is spent."""
    outcomes = {}

    def work(x):
        try:
            outcomes[x] = simulator({"x": x}).end
        except BudgetExhausted as error:
            outcomes[x] = str(error)

    with Simulator(Seconds(), n_workers=2, directory=tmp_path, max_time=10.0, overhead=NONE) as simulator:
        crew = [threading.Thread(target=work, args=(x,)) for x in (20, 3)]
        for k, thread in enumerate(crew):
            thread.start()
            simulator.wait_started(k + 1)
        crew[1].join()
        work(8)  # 3-11, past the budget
        crew[0].join()
        assert simulator.trace()["end"].tolist() == [3.0]
    assert outcomes == {
        3: 3.0,
        8: "the budget is spent (max_time=10.0; 3 evaluations were started)",
        20: "the budget is spent (max_time=10.0; 3 evaluations were started)",
    }
    assert check(tmp_path).violations == ()


def test_waiting_for_starts_ends_when_the_budget_is_spent(tmp_path):
    """Only one of eight workers can start before the budget ends, and the others are not waited for."""
    with Simulator(
        Three(), n_workers=8, directory=tmp_path, max_time=5.0, overhead=Overhead.fixed(4.0), on_exhausted="inf"
    ) as simulator:
        crew = [threading.Thread(target=simulator, args=({"x": k},)) for k in range(8)]
        for k, thread in enumerate(crew):
            thread.start()
            simulator.wait_started(k + 1, timeout=300)
        for thread in crew:
            thread.join()


# -- any budget --------------------------------------------------------------------------------------------------------


@st.composite
def budgets(draw):
    n_workers = draw(st.integers(1, 6))
    runtimes = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 8, 13]), min_size=1, max_size=30))
    overhead = draw(st.sampled_from([NONE, Overhead.fixed(1.0), Overhead.linear(0.0, 0.25)]))
    return n_workers, queries(*((x, None) for x in runtimes)), overhead


def rows(trace):
    return list(zip(*(trace[name] for name in ("config_id", "freed", "start", "end", "status")), strict=True))


@needs_waits
@given(budgets(), st.sampled_from([1.0, 5.0, 8.0, 26.0]) | st.floats(0.5, 60.0))
@settings(max_examples=60)
def test_a_budget_in_time_cuts_a_run_and_changes_nothing_before_the_cut(case, max_time):
    n_workers, asked, overhead = case
    whole = ask_and_tell(asked, Seconds(), n_workers=n_workers, overhead=overhead)
    expected = rows(whole[(whole["end"] <= max_time) & (whole["start"] < max_time)])
    specification = {"n_workers": n_workers, "overhead": overhead, "max_time": max_time}
    assert rows(ask_and_tell(asked, Seconds(), **specification)) == expected
    assert rows(executor(asked, Seconds(), **specification)) == expected
    assert rows(threads(asked, Seconds(), idle=Idle(after=0.02), **specification)) == expected


@given(budgets(), st.integers(1, 30))
@settings(max_examples=60)
def test_a_budget_of_n_is_the_run_of_the_first_n_queries(case, n):
    n_workers, asked, overhead = case
    expected = rows(ask_and_tell(asked[:n], Seconds(), n_workers=n_workers, overhead=overhead))
    for mode in (ask_and_tell, executor, threads):
        cut = mode(asked, Seconds(), n_workers=n_workers, overhead=overhead, max_evaluations=min(n, len(asked)))
        assert rows(cut) == expected


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_budget_may_end_in_the_middle_of_a_batch():
    """Batches of 4 on 2 workers, 3 s each: 3, 3, 6, 6 and then 9, 9 and one more."""
    trace = simulate(Scripted(many()), Three(), n_workers=2, batch_size=4, max_evaluations=7, overhead=NONE)
    assert trace["end"].tolist() == [3, 3, 6, 6, 9, 9, 12]
    trace = simulate(Scripted(many()), Three(), n_workers=2, batch_size=4, max_time=9.0, overhead=NONE)
    assert trace["end"].tolist() == [3, 3, 6, 6, 9, 9]


# -- what is no budget -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 1.0, "1", True])
def test_a_number_of_evaluations_that_is_none_is_refused(n):
    with pytest.raises(SpecificationError, match=f"max_evaluations is {n!r}; it must be an integer"):
        Budget(max_evaluations=n)


@pytest.mark.parametrize("time", [0, -1.0, math.inf, math.nan, "1", True])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(SpecificationError, match=f"max_time is {time!r}; it must be a positive number"):
        Budget(max_time=time)


def test_an_optimizer_that_asks_for_ever_is_stopped(mode):
    if mode is ask_and_tell:
        endless = (Query({"x": k}) for k in itertools.count())
        assert len(ask_and_tell(endless, Three(), n_workers=3, max_evaluations=10, overhead=NONE)) == 10
    else:
        assert len(mode(many(1000), Three(), n_workers=3, max_evaluations=10, overhead=NONE)) == 10
