"""A simulator that is pickled keeps what its class, a subclass and its user have given it."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from drivers import Lookup

from zerowait.suite import Overhead, Simulator
from zerowait.suite.naive import NaiveRun

SPECIFICATION = {"n_workers": 1, "max_evaluations": 9}


class Tagged(Simulator):
    """A simulator that knows more."""

    kind = "tagged"

    def __init__(self, *arguments, tag, **keywords):
        super().__init__(*arguments, **keywords)
        self.tag = tag

    def tagged(self, config):
        return self.tag, self.kind, self(config).end


class Slotted(Simulator):
    __slots__ = ("mark",)


class WithAStateOfItsOwn(Simulator):
    def __getstate__(self):
        return {"said": "hello"}

    def __setstate__(self, state):
        self.heard = state["said"]


@pytest.fixture
def tagged(tmp_path):
    with Tagged(Lookup((2.0,) * 9), directory=tmp_path, tag=["a"], overhead=Overhead.none(), **SPECIFICATION) as found:
        yield found


def test_the_attributes_of_a_subclass_come_along(tagged):
    other = pickle.loads(pickle.dumps(tagged))
    assert type(other) is Tagged
    assert (other.tag, other.kind, other.n_workers) == (["a"], "tagged", 1)
    assert other({"x": 0}).end == 2.0
    assert copy.copy(tagged).tag is tagged.tag


def test_the_attributes_are_those_of_the_moment(tagged):
    first = pickle.loads(pickle.dumps(tagged))
    tagged.tag = ["b"]
    second = pickle.loads(pickle.dumps(tagged))
    assert (first.tag, second.tag) == (["a"], ["b"])
    first.tag.append("c")
    assert second.tag == ["b"]


def test_a_subclass_works_in_a_pool(tagged):
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        assert pool.submit(tagged.tagged, {"x": 0}).result(60) == (["a"], "tagged", 2.0)


def test_what_a_user_has_added_and_what_stands_in_slots_comes_along(tmp_path):
    with Slotted(Lookup((1.0,)), directory=tmp_path, **SPECIFICATION) as simulator:
        simulator.note, simulator.mark = "added", 7
        other = pickle.loads(pickle.dumps(simulator))
    assert (other.note, other.mark) == ("added", 7)


def test_a_state_that_a_subclass_defines_itself_is_its_own(tmp_path):
    with WithAStateOfItsOwn(Lookup((1.0,)), directory=tmp_path, **SPECIFICATION) as simulator:
        other = pickle.loads(pickle.dumps(simulator))
    assert other.heard == "hello"
    assert other.directory == simulator.directory


def test_a_run_that_sleeps_keeps_its_scale(tmp_path):
    with NaiveRun(Lookup((1.0,)), directory=tmp_path, time_scale=0.25, **SPECIFICATION) as simulator:
        assert pickle.loads(pickle.dumps(simulator)).time_scale == 0.25


def test_a_plain_simulator_is_unpickled_once(tmp_path):
    """Pools pickle it for every call; what costs is the rest of it."""
    objective = Lookup((1.0,))
    with Simulator(objective, directory=tmp_path, **SPECIFICATION) as simulator:
        data = pickle.dumps(simulator)
        rebuild, arguments = simulator.__reduce__()
        assert rebuild(*arguments) is rebuild(*arguments)
        assert len(data) < 3000
