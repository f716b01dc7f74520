"""The executor: what it promises as one, and that whoever waits for it in whatever way gets the same trace."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import pickle
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, as_completed, wait

import joblib
import pytest
from drivers import Lookup, in_one_process
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import Diverged, Scripted, executor
from test_order_and_times import OVERHEADS, cases
from test_told_on_arrival import Spoken

from zerowait import (
    BudgetExhausted,
    Evaluation,
    Overhead,
    Query,
    SimulatedExecutor,
    SpecificationError,
    read_trace,
    simulate,
)
from zerowait.suite.rules.errors import InvalidEvaluationError

NONE = Overhead.none()


def workers(runtimes, n_workers=2, **more):
    return SimulatedExecutor(Lookup(tuple(map(float, runtimes))), n_workers=n_workers, **{"overhead": NONE, **more})


def ends(run):
    return run.trace()["end"].tolist()


# -- whoever waits, in whatever way ------------------------------------------------------------------------------------


def by_waiting(run, todo, took):
    running = set()
    while True:
        while len(running) < run.n_workers and todo:
            running.add(run.submit(run.objective, todo.popleft()))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        took(*done)


def by_polling(run, todo, took):
    running = []
    while True:
        while len(running) < run.n_workers and todo:
            running.append(run.submit(run.objective, todo.popleft()))
        if not running:
            return
        done = [future for future in running if future.done()]
        running = [future for future in running if future not in done]
        took(*done)


def by_polling_without_a_name(run, todo, took):
    running = set()
    while True:
        while len(running) < run.n_workers and todo:
            running.add(run.submit(run.objective, todo.popleft()))
        if not running:
            return
        done, running = wait(running, timeout=0, return_when=FIRST_COMPLETED)
        took(*done)


def by_being_called_back(run, todo, took):
    def submit():
        if todo:
            run.submit(run.objective, todo.popleft()).add_done_callback(more)

    def more(future):
        took(future)
        submit()

    for _ in range(run.n_workers):
        submit()
    run.drain()


def by_completion(run, todo, took):
    running = [run.submit(run.objective, todo.popleft()) for _ in range(min(run.n_workers, len(todo)))]
    while running:
        future = next(as_completed(running))
        running.remove(future)
        took(future)
        if todo:
            running.append(run.submit(run.objective, todo.popleft()))


def by_awaiting(run, todo, took):
    async def work():
        while todo:
            took(await run.evaluate(todo.popleft()))

    async def everybody():
        await asyncio.gather(*(work() for _ in range(run.n_workers)))

    asyncio.run(everybody())


def by_awaiting_futures(run, todo, took):
    async def work():
        loop = asyncio.get_running_loop()
        while todo:
            took(await loop.run_in_executor(run, run.objective, todo.popleft()))
            for _ in range(5):  # the news travels some rounds of the loop before the next submission
                await asyncio.sleep(0)

    async def everybody():
        await asyncio.gather(*(work() for _ in range(run.n_workers)))

    asyncio.run(everybody())


WAYS = [
    by_waiting, by_polling, by_polling_without_a_name, by_being_called_back, by_completion, by_awaiting,
    by_awaiting_futures,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@given(case=cases(most_workers=16, most_evaluations=40))
@settings(max_examples=60, deadline=None)
def test_every_way_of_waiting_gives_the_trace_of_ask_and_tell(way, case):
    n_workers, configs, runtimes, overhead, _ = case
    specification = {"n_workers": n_workers, "overhead": OVERHEADS[overhead][0]}
    run = SimulatedExecutor(Lookup(runtimes), **specification)
    seen = []
    way(run, deque(configs), lambda *futures: seen.extend(futures))
    assert len(seen) == len(configs)
    assert run.trace().equals(in_one_process(configs, Lookup(runtimes), **specification))


@given(case=cases(most_workers=16, most_evaluations=40), told=st.sampled_from(["arrival", "turn"]))
@settings(max_examples=300, deadline=None)
def test_told_on_arrival_and_in_turn_are_those_of_ask_and_tell(case, told):
    n_workers, configs, runtimes, overhead, max_time = case
    arguments = {"n_workers": n_workers, "overhead": OVERHEADS[overhead][0], "told": told, "max_time": max_time}
    queries = [Query(config) for config in configs]
    known, told_so_far = [], itertools.count()

    def count(*_):
        next(told_so_far)

    class Counted(Lookup):
        def __call__(self, config):
            known.append(told_so_far.__reduce__()[1][0])
            return super().__call__(config)

    trace = executor(queries, Counted(runtimes), on_delivery=count, **arguments)
    spoken = Spoken([(config, None) for config in configs])
    assert trace.equals(simulate(spoken, Lookup(runtimes), **arguments))
    if max_time is None:
        assert known == spoken.known


@given(case=cases(most_workers=12, most_evaluations=60), size=st.integers(1, 25))
@settings(max_examples=200, deadline=None)
def test_generations_by_map_are_batches_of_ask_and_tell(case, size):
    n_workers, configs, runtimes, overhead, _ = case
    specification = {"n_workers": n_workers, "overhead": OVERHEADS[overhead][0]}
    run = SimulatedExecutor(Lookup(runtimes), **specification)
    for first in range(0, len(configs), size):
        generation = configs[first : first + size]
        results = list(run.map(run.objective, generation))
        assert [r.value for r in results] == [c["x"] for c in generation]
    trace = simulate(Scripted(map(Query, configs)), Lookup(runtimes), batch_size=size, **specification)
    assert run.trace().equals(trace)


# -- what an executor promises -----------------------------------------------------------------------------------------


def test_a_result_is_that_of_the_objective_with_its_times():
    run = workers([3, 1, 2])
    futures = [run.submit(run.objective, {"x": x}) for x in range(3)]
    assert futures[2].result() == Evaluation(2.0, 2.0, {}, 1.0, 3.0)
    assert futures[0].result(timeout=1e-9) == Evaluation(0.0, 3.0, {}, 0.0, 3.0)
    assert futures[0].exception() is None


def test_more_than_there_are_workers_wait_first_in_first_out():
    with workers([2, 3, 1, 1, 5], n_workers=2) as run:
        futures = [run.submit(run.objective, {"x": x}) for x in range(5)]
        assert [future.running() for future in futures] == [True, True, False, False, False]
    assert run.trace()[["config.x", "start", "end"]].to_numpy().tolist() == [
        [0, 0, 2], [1, 0, 3], [2, 2, 3], [3, 3, 4], [4, 3, 8],
    ]  # fmt: skip


def test_who_waits_in_the_queue_can_be_cancelled_and_who_runs_cannot():
    run = workers([2, 3, 1, 1], n_workers=1)
    first, second, third, fourth = (run.submit(run.objective, {"x": x}) for x in range(4))
    called = []
    second.add_done_callback(called.append)
    assert not first.cancel()
    assert second.cancel()
    assert second.cancel()
    assert second.cancelled()
    assert second.done()
    assert called == [second]
    done, waiting = wait([second, third], return_when=FIRST_COMPLETED)
    assert (done, waiting) == ({second}, {third})
    with pytest.raises(concurrent.futures.CancelledError):
        second.result()
    assert fourth.result().end == 4.0
    assert not third.cancel()
    assert run.trace()["config.x"].tolist() == [0, 2, 3]


def test_shutdown_waits_for_everything_and_takes_nothing_more():
    run = workers([2, 3, 1], n_workers=1)
    futures = [run.submit(run.objective, {"x": x}) for x in range(3)]
    run.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        run.submit(run.objective, {"x": 0})
    assert not futures[0].done_already()
    run.shutdown(cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False, True, True]
    assert ends(run) == [2]


def test_asking_whether_it_is_done_moves_time_when_it_is_asked_again_and_nothing_was_submitted():
    run = workers([5, 2, 2, 9], n_workers=3)
    long, short = run.submit(run.objective, {"x": 0}), run.submit(run.objective, {"x": 1})
    assert not long.done()
    assert not short.done()
    third = run.submit(run.objective, {"x": 2})
    assert not long.done(), "something was submitted since it was asked"
    assert not short.done()
    assert not third.done()
    assert not long.done()  # asked again: time moves to 2
    assert [future.done() for future in (short, third)].count(True) == 1, "one result at a time"
    assert ends(run) == [2]
    fourth = run.submit(run.objective, {"x": 3})
    assert fourth.result().start == 2.0


def test_a_time_out_of_zero_asks_and_any_other_waits():
    run = workers([5, 2])
    long, short = run.submit(run.objective, {"x": 0}), run.submit(run.objective, {"x": 1})
    with pytest.raises(concurrent.futures.TimeoutError):
        long.result(timeout=0)
    assert wait([long, short], timeout=0) == (set(), {long, short})
    assert wait([long, short], timeout=0) == ({short}, {long})
    assert long.result(timeout=1e-6).end == 5.0


def test_all_first_and_failed_are_waited_for():
    def fails(config):
        if config["x"] == 1:
            raise Diverged(runtime=2.0)
        return Evaluation(0.0, 1.0 + 2 * config["x"])

    run = SimulatedExecutor(fails, n_workers=3, overhead=NONE)
    futures = [run.submit(run.objective, {"x": x}) for x in range(3)]
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    assert done == set(futures[:2])
    assert wait(futures).not_done == set()
    assert isinstance(futures[1].exception(), Diverged)
    with pytest.raises(Diverged):
        futures[1].result()
    trace = run.trace()
    assert trace["status"].tolist() == ["ok", "failed", "ok"]
    assert trace["runtime"].tolist() == [1.0, 2.0, 5.0]


def test_results_come_as_they_are_completed():
    run = workers([3, 1, 2], n_workers=3)
    futures = {run.submit(run.objective, {"x": x}): x for x in range(3)}
    assert [futures[future] for future in as_completed(futures)] == [1, 2, 0]


def test_futures_of_another_executor_are_waited_for_as_well():
    gate = threading.Event()
    run = workers([3])
    with ThreadPoolExecutor(1) as threads:
        real, simulated = threads.submit(gate.wait, 60), run.submit(run.objective, {"x": 0})
        assert wait([real, simulated], return_when=FIRST_COMPLETED).done == {simulated}
        gate.set()
        assert wait([real, simulated]).not_done == set()


def test_a_callback_may_submit_and_wait():
    run = workers([1, 2, 3])
    seen = []

    def then(_):
        second = run.submit(run.objective, {"x": 1})
        third = run.submit(run.objective, {"x": 2})
        seen.append((second.result().end, third.result().end))

    run.submit(run.objective, {"x": 0}).add_done_callback(then)
    run.drain()
    assert seen == [(3.0, 4.0)]


def test_a_long_chain_of_callbacks_is_not_a_deep_one():
    """An optimizer that samples more slowly than results come, told on arrival: each callback finds the next due."""
    run = workers([1.0], n_workers=4, overhead=Overhead.fixed(2.0), told="arrival", max_evaluations=20_000)

    def again(future):
        if future.exception() is None:
            run.submit(run.objective, {"x": 0}).add_done_callback(again)

    for _ in range(4):
        run.submit(run.objective, {"x": 0}).add_done_callback(again)
    run.drain()
    assert len(run.trace()) == 20_000


# -- what may be submitted ---------------------------------------------------------------------------------------------


def test_any_function_that_evaluates_once_may_be_submitted():
    run = workers([3, 1])
    futures = [run.submit(lambda x, scale: scale * run.objective({"x": x}).value, x, scale=10) for x in range(2)]
    assert [future.result() for future in futures] == [0.0, 10.0]
    assert ends(run) == [1, 3]


def test_the_objective_itself_and_what_returns_an_evaluation_of_its_own_may_be_submitted():
    objective = Lookup((3.0, 1.0))
    run = SimulatedExecutor(objective, n_workers=3, overhead=NONE)
    own = [
        run.submit(objective, {"x": 0}),
        run.submit(lambda config, fidelity: Evaluation(7.0, 2.0 * fidelity), {"y": 1}, fidelity=4.0),
        run.submit(lambda config: {"value": 8.0, "runtime": 2.0}, {"y": 2}),
    ]
    assert [future.result().value for future in own] == [0.0, 7.0, 8.0]
    assert ends(run) == [2, 3, 8]
    assert run.trace()["fidelity"].tolist()[2] == 4.0


@pytest.mark.parametrize("fn", [lambda: 5.0, lambda: Evaluation(0.0, 1.0), lambda: None])
def test_what_returns_without_an_evaluation_is_an_error_that_says_what_to_do(fn):
    run = workers([3])
    with pytest.raises(SpecificationError, match=r"call executor.objective\(config\) once in what is submitted"):
        run.submit(fn).result()
    assert run.submit(run.objective, {"x": 0}).result().start == 0.0
    assert len(run.trace()) == 1


def test_a_task_evaluates_once():
    run = workers([3, 1])
    future = run.submit(lambda: [run.objective({"x": x}) for x in range(2)])
    with pytest.raises(SpecificationError, match="a task has evaluated two configurations"):
        future.result()
    assert ends(run) == [3], "the first of them has run"


def test_a_task_does_not_use_the_executor_that_runs_it():
    run = workers([3, 1])
    with pytest.raises(SpecificationError, match="a task has used the executor that runs it"):
        run.submit(lambda: run.submit(run.objective, {"x": 0}).result()).result()


def test_outside_of_a_task_the_objective_evaluates_and_waits():
    run = workers([3, 1])
    assert run.objective({"x": 0}).end == 3.0
    assert run.objective({"x": 1}).end == 4.0


@pytest.mark.parametrize("overhead", [NONE, Overhead.fixed(1.0)])
def test_an_error_before_the_evaluation_takes_no_worker_and_no_time(overhead):
    run = workers([3.0], n_workers=1, overhead=overhead, max_evaluations=1)
    for config in ({1: 2}, {"x": object()}, [1]):
        with pytest.raises(SpecificationError):
            run.submit(run.objective, config).result()
    with pytest.raises(ZeroDivisionError):
        run.submit(lambda: 1 / 0).result()
    assert run.submit(run.objective, {"x": 0}).result().start == overhead.charge(0)
    assert len(run.trace()) == 1


def test_a_caught_failure_is_recorded_and_the_functions_own_answer_returned():
    def diverges(_config):
        raise Diverged(runtime=4.0)

    run = SimulatedExecutor(diverges, n_workers=1, overhead=NONE)

    def penalised(x):
        try:
            return run.objective({"x": x}).value
        except Diverged:
            return 99.0

    assert run.submit(penalised, 0).result() == 99.0
    trace = run.trace()
    assert (trace["status"].tolist(), trace["end"].tolist()) == (["failed"], [4.0])


def test_what_is_no_evaluation_reaches_who_waits():
    run = SimulatedExecutor(lambda _: 5.0, n_workers=1, overhead=NONE)
    with pytest.raises(InvalidEvaluationError, match="it must return an Evaluation or a mapping"):
        run.submit(run.objective, {"x": 0}).result()


def test_an_interrupt_in_the_objective_reaches_the_caller_and_leaves_a_usable_executor():
    def interrupted(config):
        if config["x"] == 0:
            raise KeyboardInterrupt
        return Evaluation(0.0, 1.0)

    run = SimulatedExecutor(interrupted, n_workers=2, overhead=NONE)
    with pytest.raises(KeyboardInterrupt):
        run.submit(run.objective, {"x": 0})
    assert run.submit(run.objective, {"x": 1}).result().end == 1.0
    run.shutdown()


# -- budgets -----------------------------------------------------------------------------------------------------------


def test_what_is_past_the_budget_is_refused_at_once():
    run = workers([3, 1, 2], max_evaluations=2)
    futures = [run.submit(run.objective, {"x": x}) for x in range(3)]
    assert futures[2].done_already()
    with pytest.raises(BudgetExhausted, match=r"the budget is spent \(max_evaluations=2; 2 evaluations were started\)"):
        futures[2].result()
    assert wait(futures).not_done == set()
    assert ends(run) == [1, 3]


def test_the_queue_counts_for_the_budget():
    run = workers([1.0] * 9, n_workers=2, max_evaluations=5)
    futures = [run.submit(run.objective, {"x": x}) for x in range(9)]
    assert [future.done_already() for future in futures] == [False] * 5 + [True] * 4
    run.shutdown()
    assert ends(run) == [1, 1, 2, 2, 3]


def test_results_after_the_time_is_up_are_told_so_and_nobody_waits_for_ever():
    run = workers([3, 20, 8, 1, 1], n_workers=2, max_time=10.0)
    futures = [run.submit(run.objective, {"x": x}) for x in range(5)]
    outcomes = [type(future.exception()) for future in futures]
    assert outcomes == [type(None), *[BudgetExhausted] * 4]
    assert ends(run) == [3]


def test_infinity_takes_the_place_of_the_exception():
    run = workers([3, 20, 8], n_workers=2, max_time=10.0, on_exhausted="inf")
    futures = [run.submit(lambda x: 2 * run.objective({"x": x}).value, x) for x in range(3)]
    assert [future.result() for future in futures] == [0.0, float("inf"), float("inf")]
    assert ends(run) == [3]


def test_an_evaluation_of_ones_own_is_refused_past_the_budget_as_well():
    run = workers([], n_workers=1, max_evaluations=1)
    first, second = (run.submit(lambda config: Evaluation(1.0, 2.0), {"x": x}) for x in range(2))
    assert first.result().end == 2.0
    assert isinstance(second.exception(), BudgetExhausted)


# -- measured ----------------------------------------------------------------------------------------------------------

UNIT = 0.02


def measured(runtimes, **more):
    return workers([r * UNIT for r in runtimes], overhead=Overhead.measured(), **more)


def test_the_callers_own_time_is_charged_and_its_waiting_is_not():
    run = measured([40, 300, 300, 300], n_workers=2)
    run.start()
    time.sleep(5 * UNIT)
    first, second = run.submit(run.objective, {"x": 0}), run.submit(run.objective, {"x": 1})
    assert first.result().start >= 5 * UNIT
    assert first.result().start <= run.trace()["end"][0] - 40 * UNIT + 1e-9
    while not second.done_already():  # asked again and again, with pauses that are no work
        time.sleep(3 * UNIT)
        second.done()
    end = second.result().end
    third = run.submit(run.objective, {"x": 2})
    assert end <= third.result().start < end + 3 * UNIT


def test_what_is_due_while_the_caller_works_is_there_before_the_next_submission():
    run = measured([10, 20, 300, 300], n_workers=3)
    futures = [run.submit(run.objective, {"x": x}) for x in range(3)]
    time.sleep(60 * UNIT)
    assert wait(futures, return_when=FIRST_COMPLETED).done == set(futures[:2])
    assert run.submit(run.objective, {"x": 3}).result().start >= 60 * UNIT


def test_work_in_a_callback_is_charged():
    run = measured([10, 300, 300], n_workers=2)
    started = []

    def then(_):
        time.sleep(30 * UNIT)
        started.append(run.submit(run.objective, {"x": 2}))

    run.submit(run.objective, {"x": 0}).add_done_callback(then)
    run.submit(run.objective, {"x": 1})
    run.drain()
    assert started[0].result().start >= 40 * UNIT


def test_the_query_of_the_objective_is_not_charged():
    def slow(_config):
        time.sleep(50 * UNIT)
        return Evaluation(0.0, 1e-6)

    run = SimulatedExecutor(slow, n_workers=1)
    assert run.objective({"x": 0}).start < 50 * UNIT


# -- joblib and event loops --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overhead", [NONE, Overhead.fixed(0.7)])
@pytest.mark.parametrize("more", [{}, {"n_jobs": 8}, {"n_jobs": -1}, {"pre_dispatch": "all"}])
def test_joblib_runs_its_calls_on_simulated_workers(overhead, more):
    runtimes = [3, 1, 2, 2, 5, 1, 1, 4]
    run = workers(runtimes, n_workers=3, overhead=overhead)
    run.register_with_joblib()
    with joblib.parallel_config("zerowait"):
        calls = (joblib.delayed(lambda x: run.objective({"x": x}).value)(x) for x in range(8))
        assert joblib.Parallel(**more)(calls) == [float(x) for x in range(8)]
    trace = run.trace()
    assert trace["runtime"].tolist() == [runtimes[x] for x in trace["config.x"]]
    assert trace["worker"].nunique() == 3


def test_one_job_of_joblib_is_one_after_the_other_and_another_number_is_refused():
    run = workers([3, 1, 2], n_workers=3)
    run.register_with_joblib()
    with joblib.parallel_config("zerowait"):
        joblib.Parallel(n_jobs=1)(joblib.delayed(run.objective)({"x": x}) for x in range(3))
        with pytest.raises(ValueError, match="n_jobs is 2 and the executor has 3 workers; make it with n_workers=2"):
            joblib.Parallel(n_jobs=2)(joblib.delayed(run.objective)({"x": x}) for x in range(3))
    assert ends(run) == [3, 4, 6]


def test_joblib_in_one_go_is_a_map():
    runtimes = [3, 1, 2, 2, 5, 1, 1, 4]
    run, mapped = workers(runtimes, n_workers=3), workers(runtimes, n_workers=3)
    run.register_with_joblib("another name")
    with joblib.parallel_config("another name"):
        joblib.Parallel(pre_dispatch="all")(joblib.delayed(run.objective)({"x": x}) for x in range(8))
    list(mapped.map(mapped.objective, [{"x": x} for x in range(8)]))
    assert run.trace().equals(mapped.trace())


def test_an_error_in_joblib_is_raised_and_a_parallel_within_a_call_is_serial():
    run = workers([1.0])
    run.register_with_joblib()
    with joblib.parallel_config("zerowait"), pytest.raises(ZeroDivisionError):
        joblib.Parallel()(joblib.delayed(lambda: 1 / 0)() for _ in range(3))

    def nested(_):
        assert joblib.Parallel()(joblib.delayed(abs)(-k) for k in range(3)) == [0, 1, 2]
        return run.objective({"x": 0}).end

    with joblib.parallel_config("zerowait"):
        assert joblib.Parallel()(joblib.delayed(nested)(k) for k in range(4)) == [1.0, 1.0, 2.0, 2.0]


def test_a_failure_and_a_spent_budget_reach_the_coroutine():
    async def main():
        run = workers([1.0, 2.0], max_evaluations=1)
        with pytest.raises(SpecificationError):
            await run.evaluate({1: 2})
        assert (await run.evaluate({"x": 0})).end == 1.0
        with pytest.raises(BudgetExhausted):
            await run.evaluate({"x": 1})

    asyncio.run(main())


def test_a_coroutine_that_goes_on_with_something_else_is_waited_for():
    """The second coroutine takes many rounds of the loop before it submits; the first result is not told before."""

    async def main():
        run = workers([1.0, 5.0])
        first = asyncio.ensure_future(run.evaluate({"x": 0}))
        for _ in range(1000):
            await asyncio.sleep(0)
        second = asyncio.ensure_future(run.evaluate({"x": 1}))
        assert ((await first).start, (await second).start) == (0.0, 0.0)

    asyncio.run(main())


# -- what it is not ----------------------------------------------------------------------------------------------------


def test_another_thread_is_refused_with_the_remedy():
    run = workers([1.0])
    with ThreadPoolExecutor(1) as threads:
        outside = threads.submit(run.submit, run.objective, {"x": 0})
        with pytest.raises(SpecificationError, match=r"another thread .* a Simulator takes calls of many threads"):
            outside.result()


def test_it_cannot_be_pickled_and_says_why():
    with pytest.raises(TypeError, match="a Simulator can be handed to other processes"):
        pickle.dumps(workers([1.0]).objective)


@pytest.mark.parametrize(
    "arguments", [{"n_workers": 0}, {"told": "never"}, {"on_exhausted": "stop"}, {"overhead": 1.0}, {"seed": -1}]
)
def test_an_argument_that_is_not_usable_is_refused_by_name(arguments):
    with pytest.raises(SpecificationError, match=f"{next(iter(arguments))} is "):
        workers([1.0], **arguments)


def test_the_trace_that_was_written_can_be_asked_for_afterwards(tmp_path):
    with workers([1, 2, 3], directory=tmp_path) as run:
        list(run.map(run.objective, [{"x": k} for k in range(3)]))
    assert read_trace(tmp_path / "trace.parquet")["end"].tolist() == ends(run)
