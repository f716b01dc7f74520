"""Five ways to one trace: processes, threads, an executor, ask-and-tell, an oracle that shares no code; equal bits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from drivers import Lookup, in_one_process, with_pool, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import executor
from oracle import timeline

from zerowait.suite import Overhead, Query

DISTRIBUTIONS = {
    "uniform": lambda rng, n: rng.uniform(0.0, 10.0, n),
    "exponential": lambda rng, n: rng.exponential(5.0, n),
    "pareto": lambda rng, n: rng.pareto(1.0, n),
    "log-normal": lambda rng, n: rng.lognormal(1.0, 1.0, n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "constant": lambda _, n: np.full(n, 3.0),
    "zero": lambda _, n: np.zeros(n),
}
OVERHEADS = {
    "none": (Overhead.none(), lambda _: 0.0, "serial"),
    "fixed": (Overhead.fixed(0.7), lambda _: 0.7, "serial"),
    "fixed, parallel sampling": (Overhead.fixed(0.7, sampling="parallel"), lambda _: 0.7, "parallel"),
    "linear": (Overhead.linear(0.1, 0.05), lambda n: 0.1 + 0.05 * n, "serial"),
    "long": (Overhead.fixed(20.0), lambda _: 20.0, "serial"),
    "long, parallel sampling": (Overhead.fixed(20.0, sampling="parallel"), lambda _: 20.0, "parallel"),
}


@st.composite
def cases(draw, most_workers=64, most_evaluations=150):
    n_workers = draw(st.one_of(st.integers(1, 8), st.integers(1, most_workers)))
    n = draw(st.integers(1, most_evaluations))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    runtimes = tuple(DISTRIBUTIONS[draw(st.sampled_from(sorted(DISTRIBUTIONS)))](rng, n).tolist())
    distinct = draw(st.sampled_from([n, max(1, n // 3)]))
    configs = [{"x": i % distinct} for i in range(n)]
    max_time = draw(st.sampled_from([None, None, 7.5, 40.0]))
    return n_workers, configs, runtimes, draw(st.sampled_from(sorted(OVERHEADS))), max_time


def expected(n_workers, configs, runtimes, overhead, max_time):
    _, cost, sampling = OVERHEADS[overhead]
    lengths = [runtimes[c["x"]] for c in configs]
    return timeline(configs, lengths, n_workers, cost, sampling, math.inf if max_time is None else max_time)


def agrees_with_the_oracle(trace, deliveries):
    for column, key in (
        ("freed", "freed"),
        ("start", "start"),
        ("end", "end"),
        ("config_id", "id"),
        ("overhead", "overhead"),
    ):
        assert trace[column].tolist() == [d[key] for d in deliveries], column


def run(drive, case, **more):
    n_workers, configs, runtimes, overhead, max_time = case
    return drive(
        configs, Lookup(runtimes), n_workers=n_workers, max_evaluations=len(configs), max_time=max_time,
        overhead=OVERHEADS[overhead][0], seed=3, **more,
    )  # fmt: skip


@given(cases())
@settings(max_examples=300)
def test_ask_and_tell_gives_the_oracles_times(case):
    agrees_with_the_oracle(run(in_one_process, case), expected(*case))


def with_executor(configs, objective, **specification):
    return executor([Query(config) for config in configs], objective, **specification)


@given(cases())
@settings(max_examples=300)
def test_an_executor_gives_the_trace_of_ask_and_tell_and_the_oracle(case):
    trace = run(with_executor, case)
    agrees_with_the_oracle(trace, expected(*case))
    assert trace.equals(run(in_one_process, case))


@given(cases(most_workers=24, most_evaluations=60))
@settings(max_examples=60)
def test_threads_give_the_trace_of_ask_and_tell_and_the_oracle(case):
    trace = run(with_threads, case)
    agrees_with_the_oracle(trace, expected(*case))
    assert trace.equals(run(in_one_process, case))


@given(cases(most_workers=8, most_evaluations=40))
@settings(max_examples=25)
def test_a_process_pool_gives_the_trace_of_ask_and_tell_and_the_oracle(case):
    trace = run(with_pool, case)
    agrees_with_the_oracle(trace, expected(*case))
    assert trace.equals(run(in_one_process, case))


SHORT = {("exponential", "linear"), ("zero", "none")}


@pytest.mark.parametrize(
    ("distribution", "overhead"),
    [
        pytest.param(*case, marks=() if case in SHORT else pytest.mark.stress)
        for case in itertools.product(sorted(DISTRIBUTIONS), sorted(OVERHEADS))
    ],
)
def test_sixty_four_processes_give_the_trace_of_ask_and_tell_and_the_oracle(distribution, overhead):
    runtimes = tuple(DISTRIBUTIONS[distribution](np.random.default_rng(5), 200).tolist())
    case = 64, [{"x": i} for i in range(200)], runtimes, overhead, None
    trace = run(with_pool, case) if overhead in ("none", "linear") else run(with_threads, case)
    agrees_with_the_oracle(trace, expected(*case))
    assert trace.equals(run(in_one_process, case))
