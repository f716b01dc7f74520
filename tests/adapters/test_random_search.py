"""Random search: a pool of processes and ask-and-tell are the same run."""

from __future__ import annotations

import itertools
import math
import os
import signal
import weakref
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import psutil
import pytest
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.random_search import _fill
from zerowait.suite import Budget, Evaluation, Overhead
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError, WorkerDied


class TestRandomSearch(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("random")


@dataclass
class Wrapped:
    """A benchmark that does something else first."""

    bowl: object
    name: str = "wrapped"
    label: str = "wrapped"
    fidelity: None = None

    @property
    def space(self):
        return self.bowl.space

    def __call__(self, config, *, seed=None):
        self.before(config)
        return self.bowl(config, seed=seed)


class Reporting(Wrapped):
    """Reports where it ran and with which environment."""

    def __call__(self, config, *, seed=None):
        evaluation = self.bowl(config, seed=seed)
        facts = {
            "process": os.getpid(),
            "hash_seed": float(os.environ["PYTHONHASHSEED"]),
            "threads": float(os.environ["OMP_NUM_THREADS"]),
        }
        return Evaluation(evaluation.value, evaluation.runtime, facts)


class Deadly(Wrapped):
    """Kills its process at one configuration in eight."""

    def before(self, config):
        if config["depth"] == 8:
            os.kill(os.getpid(), signal.SIGKILL)


class Wrong(Wrapped):
    """Returns something that is not an evaluation."""

    def __call__(self, _config):
        return {"loss": 1.0}


@pytest.fixture(autouse=True)
def travels_by_value():
    import sys

    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.parametrize("n_workers", [1, 2, 8])
def test_native_and_ask_and_tell_give_the_same_trace(bowl, run, n_workers):
    native = run(load("random"), bowl, "native", n_workers)
    asked = run(load("random"), bowl, "ask_tell", n_workers)
    assert len(native) == 40
    assert_frame_equal(native, asked, check_exact=True)


@pytest.mark.parametrize("overhead", [Overhead.fixed(3.0), Overhead.linear(1.0, 0.1, sampling="parallel")])
def test_they_agree_under_every_modelled_overhead(bowl, run, overhead):
    native = run(load("random"), bowl, "native", 4, overhead=overhead)
    assert_frame_equal(native, run(load("random"), bowl, "ask_tell", 4, overhead=overhead), check_exact=True)
    assert (native["overhead"] > 0).all()


def test_failing_evaluations_are_recorded_and_survived(failing_bowl, run):
    native = run(load("random"), failing_bowl, "native", 4, evaluations=60)
    assert_frame_equal(native, run(load("random"), failing_bowl, "ask_tell", 4, evaluations=60), check_exact=True)
    failed = native[native["status"] == "failed"]
    assert 3 <= len(failed) <= 30
    assert (failed["runtime"] == 7.0).all()
    assert len(native) == 60


def test_conditions_hold_in_the_trace(conditional_bowl, run):
    native = run(load("random"), conditional_bowl, "native", 3)
    assert_frame_equal(native, run(load("random"), conditional_bowl, "ask_tell", 3), check_exact=True)
    assert native["config.beta"].notna().tolist() == native["config.nesterov"].tolist()


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
@pytest.mark.parametrize(("n_workers", "evaluations"), [(1, 1), (4, 4), (4, 5)])
def test_exactly_the_budgeted_number_of_evaluations_is_recorded(bowl, run, mode, n_workers, evaluations):
    assert len(run(load("random"), bowl, mode, n_workers, evaluations)) == evaluations


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(30.0)])
def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation(bowl, run, overhead):
    budget = Budget(max_time=400.0)
    native = run(load("random"), bowl, "native", 4, budget=budget, overhead=overhead)
    assert_frame_equal(
        native, run(load("random"), bowl, "ask_tell", 4, budget=budget, overhead=overhead), check_exact=True
    )
    assert native["end"].max() <= 400.0
    assert native.attrs["zerowait"]["idle_releases"] == 0
    assert len(native) > 5


def test_a_budget_that_ends_while_workers_are_starting_ends_the_run(bowl, run):
    # Sampling costs 150 s: the second configuration would start at 300 s, beyond the budget.
    options = {"budget": Budget(max_time=299.0), "overhead": Overhead.fixed(150.0)}
    native = run(load("random"), bowl, "native", 4, **options)
    assert_frame_equal(native, run(load("random"), bowl, "ask_tell", 4, **options), check_exact=True)
    assert native["start"].tolist() == [150.0]
    assert native.attrs["zerowait"]["idle_releases"] == 0


def test_every_worker_is_a_process_with_a_fixed_environment(bowl, run):
    trace = run(load("random"), Reporting(bowl), "native", 6, evaluations=60)
    assert trace["metric.process"].nunique() == 6
    assert os.getpid() not in set(trace["metric.process"])
    assert set(trace["metric.hash_seed"]) == {0.0}
    assert set(trace["metric.threads"]) == {1.0}


def test_sixty_four_processes_run_and_none_is_left_behind(bowl, run):
    before = set(psutil.Process().children(recursive=True))
    trace = run(load("random"), Reporting(bowl), "native", 64, evaluations=200)
    assert len(trace) == 200
    assert trace["metric.process"].nunique() == 64
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not any(psutil.pid_exists(int(pid)) for pid in trace["metric.process"])
    asked = run(load("random"), bowl, "ask_tell", 64, evaluations=200)
    columns = [column for column in trace if not column.startswith("metric.")]
    assert_frame_equal(trace[columns], asked[columns], check_exact=True)


class Inline(Executor):
    """Evaluates at once, and knows how many futures are alive."""

    def __init__(self, refuse_after):
        self.alive = weakref.WeakSet()
        self.most_alive = 0
        self.submitted = 0
        self.refuse_after = refuse_after

    def submit(self, _function, config):
        assert isinstance(config, int)
        self.submitted += 1
        future = Future()
        future.set_result(self.submitted <= self.refuse_after)
        self.alive.add(future)
        self.most_alive = max(self.most_alive, len(self.alive))
        return future


class Started:
    """A simulator that any number of calls has reached."""

    def wait_started(self, number, timeout):
        pass


def test_finished_evaluations_are_forgotten():
    pool = Inline(refuse_after=math.inf)
    _fill(pool, Started(), itertools.count(), 8, 20_000)
    assert pool.submitted == 20_000
    assert pool.most_alive <= 4 * 8


def test_every_worker_goes_on_until_it_is_refused_itself():
    pool = Inline(refuse_after=100)
    _fill(pool, Started(), itertools.count(), 8, math.inf)
    assert pool.submitted == 108


@pytest.mark.parametrize("n_workers", [1, 4])
def test_measured_overhead_does_not_count_the_start_of_processes(bowl, run, n_workers):
    trace = run(load("random"), bowl, "native", n_workers, overhead=Overhead.measured())
    assert len(trace) == 40
    assert (trace["overhead"] >= 0).all()
    assert 0 < trace["overhead"].median() < 0.1


def test_the_death_of_a_process_ends_the_run_with_an_error(bowl, run):
    with pytest.raises(WorkerDied):
        run(load("random"), Deadly(bowl), "native", 4, evaluations=200)


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_an_objective_that_returns_nonsense_ends_the_run(bowl, run, mode):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("random"), Wrong(bowl), mode)


def test_parameters_are_refused():
    with pytest.raises(SpecificationError, match="'random' has no parameters; it was given seed, size"):
        load("random", size=3, seed=1)
