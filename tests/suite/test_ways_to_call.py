"""Whoever calls, in whichever thread or process: the trace is that of ask-and-tell, byte for byte."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

import callers
import joblib
import pytest
from callers import OVERHEADS, PATIENT, Table, evaluate, runtimes
from crashes import HANG
from drivers import Lookup, in_one_process

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import RunAborted, TooManyCallsError
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal

N, P = 30, 4
everywhere = pytest.mark.parametrize("overhead", OVERHEADS)


def expected(overhead, n=N):
    configs = [{"x": x} for x in range(n)]
    return in_one_process(configs, Lookup(runtimes(n)), n_workers=P, max_evaluations=n, overhead=OVERHEADS[overhead])


def simulator(directory, overhead, n=N):
    return Simulator(
        Table(runtimes(n)),
        n_workers=P,
        directory=directory,
        max_evaluations=n,
        overhead=OVERHEADS[overhead],
        idle=PATIENT,
    )


def is_that_of_ask_and_tell(directory, overhead, n=N):
    trace = read_run(directory)
    assert trace.equals(expected(overhead, n))
    assert trace.attrs["zerowait"]["idle_releases"] == 0
    assert check(directory).violations == ()


def n_before(x):
    """Return how many calls have to come first: the first P are staggered, the others come as workers get free."""
    return min(x, P - 1) if x < P else 0


def all_of(executor, run):
    """Let an executor of P workers make all calls, which it queues and hands to whoever is free."""
    futures = [executor.submit(evaluate, run, x, n_before(x)) for x in range(N)]
    for future in futures:
        future.result(timeout=HANG)


# -- pools
# ---------------------------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_pool(tmp_path, overhead, method):
    run = simulator(tmp_path, overhead)
    with multiprocessing.get_context(method).Pool(P) as pool:
        pool.starmap_async(evaluate, [(run, x, n_before(x)) for x in range(N)], chunksize=1).get(timeout=HANG)
    is_that_of_ask_and_tell(tmp_path, overhead)


@everywhere
def test_a_multiprocessing_pool_that_replaces_its_processes_after_every_call(tmp_path, overhead):
    run = simulator(tmp_path, overhead)
    with multiprocessing.get_context("fork").Pool(P, maxtasksperchild=1) as pool:
        pool.starmap_async(evaluate, [(run, x, n_before(x)) for x in range(N)], chunksize=1).get(timeout=HANG)
    is_that_of_ask_and_tell(tmp_path, overhead)


@everywhere
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_executor(tmp_path, overhead, method):
    run = simulator(tmp_path, overhead)
    with concurrent.futures.ProcessPoolExecutor(P, multiprocessing.get_context(method)) as executor:
        all_of(executor, run)
    is_that_of_ask_and_tell(tmp_path, overhead)


@everywhere
def test_a_thread_pool_executor(tmp_path, overhead):
    run = simulator(tmp_path, overhead)
    with concurrent.futures.ThreadPoolExecutor(P) as executor:
        all_of(executor, run)
    is_that_of_ask_and_tell(tmp_path, overhead)


@everywhere
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(tmp_path, overhead, backend):
    run = simulator(tmp_path, overhead)
    calls = (joblib.delayed(evaluate)(run, x, n_before(x)) for x in range(N))
    joblib.Parallel(n_jobs=P, backend=backend, batch_size=1, pre_dispatch=P, timeout=HANG)(calls)
    is_that_of_ask_and_tell(tmp_path, overhead)


@pytest.fixture(scope="module", params=["threads", "processes"])
def dask_client(request):
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=P,
            threads_per_worker=1,
            processes=request.param == "processes",
            dashboard_address=None,
            worker_dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@everywhere
def test_dask(tmp_path, overhead, dask_client):
    import distributed

    run = simulator(tmp_path, overhead)
    pickled = Table.pickled
    todo = deque(range(N))
    running = set()
    while todo or running:
        while todo and len(running) < P:
            x = todo.popleft()
            running.add(dask_client.submit(evaluate, run, x, n_before(x), pure=False))
        done, running = distributed.wait(running, HANG, return_when="FIRST_COMPLETED")
        for future in done:
            future.result()
    assert Table.pickled - pickled >= N
    is_that_of_ask_and_tell(tmp_path, overhead)


# -- processes without a pool
# --------------------------------------------------------------------------------------------


@everywhere
def test_a_fresh_process_for_every_evaluation(tmp_path, overhead):
    run = simulator(tmp_path, overhead)
    todo, running = deque(range(N)), []
    while todo or running:
        while todo and len(running) < P:
            x = todo.popleft()
            process = multiprocessing.get_context("fork").Process(target=evaluate, args=(run, x, n_before(x)))
            process.start()
            running.append(process)
        ended = multiprocessing.connection.wait([p.sentinel for p in running], HANG)
        assert ended, f"no process ended: {dict(run.progress())}"
        for process in [p for p in running if p.sentinel in ended]:
            process.join()
            assert process.exitcode == 0
            running.remove(process)
    is_that_of_ask_and_tell(tmp_path, overhead)


def many_programs(folder, overhead, ranks, n):
    program = [sys.executable, callers.__file__, str(folder / "run"), str(folder / "numbers")]
    processes = [
        subprocess.Popen([*program, str(rank), str(P), str(n), overhead], cwd=Path(__file__).parents[2])
        for rank in ranks
    ]
    try:
        assert [process.wait(timeout=HANG) for process in processes] == [0] * P
    finally:
        for process in processes:
            process.kill()
            process.wait()


@everywhere
def test_separate_programs_that_share_only_the_directory(tmp_path, overhead):
    many_programs(tmp_path, overhead, range(P), N)
    is_that_of_ask_and_tell(tmp_path / "run", overhead)


def test_separate_programs_that_start_in_any_order_without_overhead(tmp_path):
    # All first calls start at 0, whoever makes them, so the trace is the same again.
    many_programs(tmp_path, "none", [0] * P, N)
    is_that_of_ask_and_tell(tmp_path / "run", "none")


def test_separate_programs_that_start_in_any_order_with_overhead_break_no_promise(tmp_path):
    # Which of the first calls comes first is open here, and what follows depends on it.
    many_programs(tmp_path, "fixed", [0] * P, N)
    trace = read_run(tmp_path / "run")
    assert sorted(trace["config.x"]) == list(range(N))
    assert sorted(trace["start"])[:P] == expected("fixed")["start"].nsmallest(P).tolist()
    assert (trace["runtime"] == [runtimes(N)[x] for x in trace["config.x"]]).all()
    assert check(tmp_path / "run").violations == ()


# -- slots
# ---------------------------------------------------------------------------------------------------------------


def test_a_thread_gets_the_slot_that_it_held_last_and_a_new_one_the_slot_that_was_freed_first(tmp_path):
    # Three threads hold slots 0, 1 and 2 until 3, 2 and 1; then all are free. A thread that comes for the first time
    # gets slot 2, and the first thread gets slot 0 again although slot 1 has been free for longer.
    with (
        Simulator(
            Lookup((3.0, 2.0, 1.0, 9.0, 9.0)),
            n_workers=3,
            directory=tmp_path,
            overhead=Overhead.none(),
            max_evaluations=5,
            idle=Idle(after=0.1),
        ) as run,
        concurrent.futures.ThreadPoolExecutor(1) as first,
        concurrent.futures.ThreadPoolExecutor(1) as second,
        concurrent.futures.ThreadPoolExecutor(1) as third,
        concurrent.futures.ThreadPoolExecutor(1) as fourth,
    ):
        ends = [executor.submit(evaluate, run, x, x) for x, executor in enumerate((first, second, third))]
        assert [end.result(HANG) for end in ends] == [3.0, 2.0, 1.0]
        ends = [fourth.submit(evaluate, run, 3, 3), first.submit(evaluate, run, 4, 3)]
        assert [end.result(HANG) for end in ends] == [12.0, 12.0]
    records = {r["config"]["x"]: (r["slot"], r["freed"]) for r in journal.read(tmp_path / "journal")}
    assert records == {0: (0, 0.0), 1: (1, 0.0), 2: (2, 0.0), 3: (2, 1.0), 4: (0, 3.0)}


@pytest.mark.parametrize("worker", [threading.Thread, multiprocessing.get_context("fork").Process])
@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_more_calls_at_once_than_workers_are_an_error_that_names_both_numbers(tmp_path, worker, n_workers):
    gate = multiprocessing.get_context("fork").Event()

    def objective(config):
        gate.wait(HANG)
        return Evaluation(float(config["x"]), 1.0 + config["x"])

    with Simulator(
        objective, n_workers=n_workers, directory=tmp_path, max_evaluations=n_workers + 1, overhead=Overhead.none()
    ) as run:
        workers = [worker(target=evaluate, args=(run, x, x), daemon=True) for x in range(n_workers)]
        for one in workers:
            one.start()
        run.wait_started(n_workers)
        too_many = rf"n_workers={n_workers}, but {n_workers + 1} evaluations are running at once"
        remedy = rf"give the optimizer {n_workers} workers, or the simulator n_workers={n_workers + 1}"
        for _ in range(2):
            with pytest.raises(TooManyCallsError, match=f"^{too_many}; {remedy}$"):
                run({"x": 99})
        # The calls that run are not disturbed, and as soon as one of them has returned there is room for another.
        gate.set()
        workers[0].join(HANG)
        assert run({"x": n_workers}).start == 1.0
        for one in workers:
            one.join(HANG)
        assert run.trace()["config.x"].tolist() == list(range(n_workers + 1))
    assert check(tmp_path).violations == ()


def test_an_aborted_run_lets_every_waiting_call_go_and_keeps_its_records(tmp_path):
    """Two of three workers wait at simulated 5 and 9; the third never calls, and the run is aborted."""
    ended = []
    with Simulator(
        lambda config: Evaluation(0.0, config["s"]),
        n_workers=3,
        directory=tmp_path,
        overhead=Overhead.none(),
        idle=Idle(sign="never"),
    ) as simulator:

        def work(seconds):
            try:
                simulator({"s": seconds})
            except RunAborted as error:
                ended.append(str(error))

        threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (5.0, 9.0)]
        for k, thread in enumerate(threads):
            thread.start()
            simulator.wait_started(k + 1)
        simulator.abort()
        for thread in threads:
            thread.join(timeout=300)
        assert len(ended) == 2
        assert "the 0 evaluations recorded before are intact" in ended[0]
        with pytest.raises(RunAborted):
            simulator({"s": 1.0})
