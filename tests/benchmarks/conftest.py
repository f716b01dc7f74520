"""What tests of benchmarks share."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import strategies as st

from zerowait.benchmarks.surrogates.surrogate_session import SESSIONS


@pytest.fixture(scope="session")
def cache():
    """Return the folder of converted tables, which is the session's own."""
    return Path(os.environ["ZEROWAIT_CACHE"])


@st.composite
def _configs(draw, parameters):
    config = {}
    for parameter in parameters:
        if parameter.is_active(config):
            config[parameter.name] = draw(_values(parameter))
    return config


def _values(parameter):
    if parameter.kind == "category":
        return st.sampled_from(parameter.choices)
    numbers = st.integers if parameter.kind == "integer" else st.floats
    return numbers(parameter.lower, parameter.upper)


def _outside(parameter):
    anything = st.sampled_from([None, True, False, "", "a", [], {}, math.nan, math.inf, -math.inf, 10**400, b"1", 1j])
    if parameter.kind == "category":
        return st.one_of(anything, st.text().filter(lambda text: text not in parameter.choices), st.integers())
    too_small = st.floats(max_value=parameter.lower, exclude_max=True)
    too_large = st.floats(min_value=parameter.upper, exclude_min=True)
    if parameter.kind == "integer":
        between = st.floats(parameter.lower, parameter.upper).filter(lambda value: not value.is_integer())
        return st.one_of(anything, too_small, too_large, between)
    return st.one_of(anything, too_small, too_large)


@pytest.fixture(scope="session")
def strategies():
    """Return what draws configurations of a surrogate's parameters, ends included, and values outside of one."""
    return SimpleNamespace(configs=_configs, outside=_outside)


@pytest.fixture
def unseen(monkeypatch):
    """Fail the test when a surrogate is asked."""

    def asked(*_):
        raise AssertionError("the runtime saw what should have been refused")

    monkeypatch.setattr(SESSIONS, "query", asked)


def _calls(benchmark, config, **query):
    """Return how many functions, of Python and of C, a query calls; a call takes a tenth of a microsecond or less."""
    benchmark(config, **query)
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        benchmark(config, **query)
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture
def calls_of_a_query():
    """Return what counts the functions that a query calls: what it costs, on whatever machine."""
    return _calls


@pytest.fixture
def check_page_sharing(record_property):
    """Return what asserts that processes which read a whole table hold its pages once: code, processes, bytes."""

    def check(touch, n, folder, size):
        started = [
            subprocess.Popen([sys.executable, "-c", touch], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(n)
        ]
        try:
            assert len({process.stdout.readline() for process in started}) == 1
            maps = [part for process in started for part in psutil.Process(process.pid).memory_maps()]
            table = sum(part.pss for part in maps if part.path.startswith(str(folder)))
            record_property("PSS of everything, MiB", sum(part.pss for part in maps) / 2**20)
            record_property("PSS of the table, MiB", table / 2**20)
            assert table <= 1.05 * size
        finally:
            for process in started:
                process.communicate()

    return check
