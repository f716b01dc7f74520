"""What comes with a call: further data, ids that count, losses that are not finite, queries that take too long."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from modes import MODES

import zerowait
from zerowait import (
    BudgetExhausted,
    DivergedError,
    Evaluation,
    Overhead,
    Query,
    Simulator,
    SpecificationError,
    StalledError,
    simulate,
)
from zerowait.suite.records.check import check

NONE = Overhead.none()


def of_data(config, *, fidelity=None, table=None, scale=1.0):
    return Evaluation(scale * table[config["x"]], 1.0 if fidelity is None else fidelity)


def test_data_of_a_call_reach_the_objective_and_no_file(tmp_path):
    with Simulator(of_data, n_workers=1, directory=tmp_path, overhead=NONE) as simulator:
        assert simulator({"x": 1}, 3, data={"table": [5.0, 7.0]}).value == 7.0
        assert simulator({"x": 1}, 3, data={"table": [5.0, 7.0], "scale": 2.0}).value == 14.0
    assert b"table" not in (tmp_path / "journal").read_bytes()
    assert zerowait.read_run(tmp_path)["end"].tolist() == [3.0, 6.0]


def test_data_that_are_no_mapping_take_no_worker(tmp_path):
    with Simulator(of_data, n_workers=1, directory=tmp_path, overhead=NONE) as simulator:
        with pytest.raises(SpecificationError, match=r"data is .*; it must be a mapping"):
            simulator({"x": 1}, data=[1])
        assert simulator.progress()["started"] == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", [7, np.int64(7)])
def test_an_id_that_counts_is_its_digits(mode, given):
    trace = MODES[mode]([Query({"x": 0}, None, given)], evaluate, n_workers=1, max_evaluations=1, overhead=NONE)
    assert trace["config_id"].tolist() == ["7"]
    assert Query({}, None, given) == Query({}, None, "7")


def evaluate(config):
    return Evaluation(math.nan if config["x"] == 1 else -math.inf if config["x"] == 2 else float(config["x"]), 2.0)


class Told:
    """Asks for numbers, and keeps what it is told."""

    def __init__(self):
        self.told = []
        self.asked = -1

    def ask(self):
        self.asked += 1
        return Query({"x": self.asked})

    def tell(self, query, evaluation):
        self.told.append((query.config["x"], evaluation.value, evaluation.end))


def test_a_loss_that_is_not_finite_is_a_failure_after_its_seconds_and_the_run_goes_on():
    optimizer = Told()
    trace = simulate(optimizer, evaluate, n_workers=1, max_evaluations=4, overhead=NONE)
    assert trace["status"].tolist() == ["ok", "failed", "failed", "ok"]
    assert trace["end"].tolist() == [2.0, 4.0, 6.0, 8.0]
    assert optimizer.told == [(0, 0.0, 2.0), (1, math.inf, 4.0), (2, math.inf, 6.0), (3, 3.0, 8.0)]


def test_who_survives_failures_is_told_of_them_as_before():
    class Survives(Told):
        def tell_failure(self, query, error):
            self.told.append((query.config["x"], type(error), error.runtime))

    optimizer = Survives()
    simulate(optimizer, evaluate, n_workers=1, max_evaluations=2, overhead=NONE)
    assert optimizer.told[1] == (1, DivergedError, 2.0)


def test_a_caller_gets_the_error_when_the_training_would_have_ended(tmp_path):
    with Simulator(evaluate, n_workers=1, directory=tmp_path, max_evaluations=2, overhead=NONE) as simulator:
        simulator({"x": 0})
        with pytest.raises(DivergedError, match="value=nan"):
            simulator({"x": 1})
        with pytest.raises(BudgetExhausted):
            simulator({"x": 3})
        assert simulator.trace()["end"].tolist() == [2.0, 4.0]


def noisy(config, *, seed):
    return Evaluation(float(seed), 10.0 + config["x"])


REPEATED = [Query({"x": x % 2}) for x in range(8)]


@pytest.mark.parametrize("mode", MODES)
def test_a_configuration_keeps_its_seed_or_gets_a_fresh_one_for_each_call_the_same_in_every_way(mode):
    how = {"n_workers": 2, "max_evaluations": 8, "overhead": NONE, "seed": 5}
    kept = MODES[mode](REPEATED, noisy, **how)
    assert kept["seed"].nunique() == 2
    fresh = MODES[mode](REPEATED, noisy, fresh_seeds=True, **how)
    assert fresh["seed"].nunique() == 8
    assert fresh["value"].tolist() == fresh["seed"].astype(float).tolist()
    assert fresh["seed"].tolist() == MODES["ask and tell"](REPEATED, noisy, fresh_seeds=True, **how)["seed"].tolist()


def test_fresh_seeds_and_continued_trainings_exclude_each_other():
    with pytest.raises(SpecificationError, match="fresh_seeds=True with continual=True"):
        Simulator(noisy, n_workers=1, fresh_seeds=True, continual=True)


def diverges_at_nine(config, *, fidelity):
    return Evaluation(math.inf if fidelity == 9 else 1.0 / fidelity, 1000.0 * fidelity)


def test_a_training_that_diverges_where_it_was_continued_is_charged_what_was_left_of_it():
    class Survives:
        def __init__(self, fidelities):
            self.asked, self.charged = iter(fidelities), []

        def ask(self):
            return Query({"x": 0}, next(self.asked))

        def tell(self, _query, evaluation):
            self.charged.append(evaluation.runtime)

        def tell_failure(self, _query, error):
            self.charged.append(error.runtime)

    optimizer = Survives([1, 3, 9, 9])
    trace = simulate(optimizer, diverges_at_nine, n_workers=1, overhead=NONE, continual=True)
    assert trace["end"].tolist() == [1000.0, 3000.0, 9000.0, 18000.0]
    assert trace["resumed_from"].tolist()[1:3] == [1.0, 3.0]
    assert optimizer.charged == [1000.0, 2000.0, 6000.0, 9000.0]


def test_a_caller_is_told_what_it_was_charged(tmp_path):
    with Simulator(diverges_at_nine, n_workers=1, directory=tmp_path, overhead=NONE, continual=True) as simulator:
        simulator({"x": 0}, 1)
        with pytest.raises(DivergedError) as caught:
            simulator({"x": 0}, 9)
        assert caught.value.runtime == 8000.0
        assert simulator.trace()["end"].tolist() == [1000.0, 9000.0]
    assert check(tmp_path).violations == ()


def slow(config, *, until=None):
    if until is not None:
        until.wait(60)
    return Evaluation(float(config["x"]), 1.0)


def test_a_query_that_takes_longer_than_it_may_ends_the_run_for_all_who_wait(tmp_path):
    until = threading.Event()
    simulator = Simulator(slow, n_workers=2, directory=tmp_path, overhead=NONE, query_timeout=0.1)
    with ThreadPoolExecutor(2) as pool:
        hung = pool.submit(simulator, {"x": 1}, data={"until": until})
        simulator.wait_started(1)
        waits = pool.submit(simulator, {"x": 0})
        with pytest.raises(StalledError, match=r"slot 0 with the configuration {'x': 1}, while others wait; mend it, "):
            waits.result()
        until.set()
        with pytest.raises(StalledError):
            hung.result()
    with pytest.raises(StalledError, match="the 0 evaluations recorded before are intact"):
        simulator({"x": 2})


def test_a_query_may_take_its_time_when_nobody_waits_or_when_it_is_allowed_to(tmp_path):
    class Later:
        def wait(self, _):
            time.sleep(0.3)

    with Simulator(slow, n_workers=1, directory=tmp_path, overhead=NONE, query_timeout=0.1) as simulator:
        assert simulator({"x": 1}, data={"until": Later()}).end == 1.0
    with pytest.raises(SpecificationError, match="query_timeout is 0; it must be a number above 0"):
        Simulator(slow, n_workers=1, query_timeout=0)
