"""Generations with barriers between them: every way, and an oracle that shares no code, give one trace, bit for bit."""

from __future__ import annotations

import concurrent.futures
import math
import multiprocessing
import tempfile
import time

import numpy as np
import pytest
from crashes import HANG
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import Diverged, Scripted
from oracle import conversation

from zerowait import SimulatedExecutor
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.records.check import check, render
from zerowait.suite.rules.idle import Idle

MOST_WORKERS = 6
NEVER = Idle(sign="never")  # what is guessed cannot be exact; nothing need be here
OVERHEADS = {
    "none": Overhead.none(),
    "fixed": Overhead.fixed(0.7),
    "linear": Overhead.linear(0.1, 0.05),
    "parallel": Overhead.fixed(0.7, sampling="parallel"),
}
RUNTIMES = {
    "uniform": lambda rng, n: rng.uniform(0.0, 10.0, n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "zero": lambda _, n: np.zeros(n),
}


class Trains:
    """Twice as long for twice the epochs; some diverge."""

    def __init__(self, seconds, failing):
        self.seconds, self.failing = seconds, failing

    def length(self, config, fidelity):
        return self.seconds[config["x"]] * fidelity, config["x"] in self.failing

    def __call__(self, config, *, fidelity):
        seconds, fails = self.length(config, fidelity)
        if fails:
            raise Diverged(runtime=seconds)
        return Evaluation(float(config["x"]), seconds)


@st.composite
def generations(draw):
    """One generation is a run without a barrier."""
    sizes = draw(st.lists(st.integers(1, 10), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distinct = max(1, sum(sizes) // draw(st.sampled_from([1, 3])))
    seconds = RUNTIMES[draw(st.sampled_from(sorted(RUNTIMES)))](rng, distinct).tolist()
    failing = set(np.flatnonzero(rng.random(distinct) < draw(st.sampled_from([0.0, 0.2]))).tolist())
    asked = [Query({"x": k % distinct}, float(2 ** (k // distinct))) for k in range(sum(sizes))]
    ends = np.cumsum(sizes)
    batches = [asked[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    specification = {
        "n_workers": draw(st.integers(1, MOST_WORKERS)),
        "overhead": OVERHEADS[draw(st.sampled_from(sorted(OVERHEADS)))],
        "continual": draw(st.booleans()),
        "seed": 3,
    }
    return batches, Trains(seconds, failing), specification


def with_pauses(batches, n_workers, pause=None):
    """Return all queries, and where a generation's results are awaited one pause for each time that a worker is free.

    After the last query of a generation at most n_workers are in flight; with fewer, a worker is free at once.
    """
    script = []
    for batch in batches:
        in_flight = min(len(batch), n_workers)
        script += [*batch, *[pause] * (in_flight - (in_flight == n_workers))]
    return script


def of_the_oracle(batches, objective, *, n_workers, overhead, continual, seed):
    del seed
    script = [None if query is None else (query.config, query.fidelity) for query in with_pauses(batches, n_workers)]
    deliveries, _ = conversation(
        script, objective.length, n_workers=n_workers, overhead=overhead.charge, told="turn", continual=continual,
        sampling=overhead.sampling,
    )  # fmt: skip
    keys = ("id", "freed", "start", "end", "runtime", "overhead", "failed", "resumed")
    return [tuple(delivery[key] for key in keys) for delivery in deliveries]


def rows(trace):
    resumed = [None if math.isnan(z) else z for z in trace["resumed_from"]]
    columns = (trace[c] for c in ("config_id", "freed", "start", "end", "runtime", "overhead"))
    return list(zip(*columns, trace["status"] == "failed", resumed, strict=True))


def asked_and_told(batches, objective, **specification):
    return simulate(Scripted(with_pauses(batches, specification["n_workers"])), objective, **specification)


def by_an_executor(batches, objective, *, n_workers, **specification):
    """Submit as workers get free: what is submitted earlier has been sampled earlier, and is charged so."""
    with SimulatedExecutor(objective, n_workers=n_workers, **specification) as executor:
        for batch in batches:
            running = set()
            for query in batch:
                if len(running) == n_workers:
                    _, running = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
                running.add(executor.submit(executor.objective, query.config, query.fidelity))
            concurrent.futures.wait(running)
    return executor.trace()


def call(simulator, query):
    try:
        simulator(query.config, query.fidelity)
    except Diverged:
        return


def on_a_pool(pool, batches, objective, *, n_workers, **specification):
    """Let a pool call a Simulator that is told how many calls come."""
    with tempfile.TemporaryDirectory() as folder:
        with Simulator(objective, directory=folder, n_workers=n_workers, idle=NEVER, **specification) as simulator:
            started = 0
            for batch in batches:
                with simulator.expect(len(batch)):
                    futures = []
                    for query in batch:
                        futures.append(pool.submit(call, simulator, query))
                        started += 1
                        if len(futures) <= n_workers:  # the first of a generation must not race for their starts
                            awaited(lambda: simulator.progress()["started"] >= started)  # noqa: B023 - called at once
                    for future in futures:
                        future.result(HANG)
            trace = simulator.trace()
        report = check(folder)
        assert report.ok, "\n".join(render(report))
    assert trace.attrs["zerowait"]["idle_releases"] == 0
    return trace


def awaited(happened):
    deadline = time.monotonic() + HANG
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def pools():
    """Return threads and processes by their number, which is that of the workers."""
    kinds = {
        "threads": concurrent.futures.ThreadPoolExecutor,
        "processes": lambda n: concurrent.futures.ProcessPoolExecutor(n, multiprocessing.get_context("fork")),
    }
    open_ones = {}

    def pool(kind, n):
        if (kind, n) not in open_ones:
            open_ones[kind, n] = kinds[kind](n)
            list(open_ones[kind, n].map(abs, range(n)))
        return open_ones[kind, n]

    for n in range(1, MOST_WORKERS + 1):  # processes before any thread
        pool("processes", n)
    yield pool
    for one in open_ones.values():
        one.shutdown()


@given(case=generations())
@settings(max_examples=25, deadline=None)
def test_every_way_and_the_oracle_give_equal_traces_of_generations(pools, case):
    batches, objective, specification = case
    trace = asked_and_told(batches, objective, **specification)
    assert rows(trace) == of_the_oracle(batches, objective, **specification)
    assert by_an_executor(batches, objective, **specification).equals(trace)
    # After a barrier several workers are free, and which of them is called is the pool's own choice.
    named_by_the_pool = ["worker", "freed"] if len(batches) > 1 else []
    for kind in ("threads", "processes"):
        for shared_directory in (False, True):
            pool = pools(kind, specification["n_workers"])
            found = on_a_pool(pool, batches, objective, shared_directory=shared_directory, **specification)
            assert found.drop(columns=named_by_the_pool).equals(trace.drop(columns=named_by_the_pool))
