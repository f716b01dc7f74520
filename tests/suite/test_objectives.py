"""Several objectives: each evaluation has them, in every way to run, and what has not is refused or failed."""

from __future__ import annotations

import json
import math
import pickle

import modes
import pytest

from zerowait import (
    Evaluation,
    InvalidEvaluationError,
    Overhead,
    Query,
    SimulatedExecutor,
    Simulator,
    SpecificationError,
    read_trace,
    simulate,
)
from zerowait.suite.records.check import check
from zerowait.suite.rules.objectives import lost, values_of
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.rundir import RunDirectory

OBJECTIVES = ["value", "latency", "-accuracy"]
SPECIFICATION = {"n_workers": 2, "max_evaluations": 4, "overhead": Overhead.none(), "objectives": OBJECTIVES}
QUERIES = [Query({"x": float(x)}) for x in range(4)]


def measured(config):
    x = config["x"]
    return Evaluation(x, 1.0 + x, {"latency": 3.0 - x, "accuracy": x / 4, "size": math.nan})


def without_latency_later(config):
    x = config["x"]
    return {"value": x, "runtime": 1.0, "accuracy": x, **({"latency": 1.0} if x < 2 else {"Latency": 1.0})}


class Told(modes.Scripted):
    """An optimizer that cannot take a failure."""

    tell_failure = None

    def __init__(self, queries):
        super().__init__(queries)
        self.values = []

    def tell(self, _query, evaluation):
        self.values.append(values_of(evaluation, OBJECTIVES))


def test_an_optimizer_is_told_all_objectives_and_the_trace_names_them():
    told = Told(QUERIES)
    trace = simulate(told, measured, **SPECIFICATION)
    assert told.values == [[x, 3.0 - x, x / 4] for x in map(float, range(4))]
    assert trace["metric.latency"].tolist() == [3.0, 2.0, 1.0, 0.0]
    assert trace.attrs["zerowait"]["specification"]["objectives"] == OBJECTIVES


@pytest.mark.parametrize("way", [modes.executor, modes.threads, modes.processes])
def test_every_way_to_run_gives_the_trace_of_asking_and_telling(way, tmp_path):
    asked = modes.ask_and_tell(QUERIES, measured, **SPECIFICATION)
    other = way(QUERIES, measured, directory=tmp_path, **SPECIFICATION)
    columns = ["end", "value", "metric.latency", "metric.accuracy"]
    assert other[columns].to_numpy().tolist() == asked[columns].to_numpy().tolist()
    assert other.attrs["zerowait"]["specification"]["objectives"] == OBJECTIVES


def test_a_run_of_one_objective_says_nothing_of_objectives():
    told = modes.Scripted(QUERIES)
    trace = simulate(told, measured, n_workers=2, max_evaluations=4, overhead=Overhead.none())
    assert "objectives" not in trace.attrs["zerowait"]["specification"]


@pytest.mark.parametrize("objectives", [
    "value", [], ["value"], ["latency"], ["value", "value"], ["value", "-value"], ["value", 3], ["value", ""],
    ["value", "-"], {"value": 1, "latency": 2}, ["value", "\ud800"], 2,
])  # fmt: skip
@pytest.mark.parametrize("make", [
    lambda **more: simulate(Told([]), measured, **more),
    lambda **more: SimulatedExecutor(measured, **more),
    lambda **more: Simulator(measured, **more),
])  # fmt: skip
def test_what_is_no_list_of_objectives_is_one_line(make, objectives):
    with pytest.raises(SpecificationError, match=r"^objectives is .*at least two different names.*$"):
        make(n_workers=2, max_evaluations=4, objectives=objectives)


def test_an_objective_that_changes_its_name_ends_the_run_with_one_line(tmp_path):
    with pytest.raises(InvalidEvaluationError) as caught:
        simulate(modes.Scripted(QUERIES), without_latency_later, directory=tmp_path, **SPECIFICATION)
    assert "'latency' must be among them each time" in str(caught.value)
    assert "{'x': 2.0}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert read_trace(tmp_path / "trace.parquet")["status"].tolist() == ["ok", "ok", "failed"]


@pytest.mark.parametrize("latency", ["fast", None, [1.0], 1j])
def test_an_objective_that_is_no_number_is_blamed_on_the_function(latency):
    def objective(config):
        return Evaluation(config["x"], 1.0, {"latency": latency, "accuracy": 1.0})

    with pytest.raises(InvalidEvaluationError, match=r"metrics\['latency'\]=.*must be a number"):
        simulate(modes.Scripted(QUERIES), objective, **SPECIFICATION)


@pytest.mark.parametrize("latency", [math.inf, -math.inf, math.nan])
def test_an_objective_that_is_not_finite_fails_the_training_and_is_told_as_the_worst(latency):
    def objective(config):
        return Evaluation(config["x"], 2.0, {"latency": latency if config["x"] == 1.0 else 1.0, "accuracy": 1.0})

    told = Told(QUERIES)
    trace = simulate(told, objective, **SPECIFICATION)
    assert trace["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert trace["end"].tolist() == [2.0, 2.0, 4.0, 4.0]
    assert told.values[1] == [math.inf, math.inf, -math.inf]


def test_what_is_past_the_budget_is_the_worst_of_all():
    simulator = Simulator(measured, n_workers=1, max_evaluations=1, objectives=OBJECTIVES, on_exhausted="inf")
    with simulator:
        copied = pickle.loads(pickle.dumps(simulator))
        copied({"x": 1.0})
        assert values_of(copied({"x": 2.0}), OBJECTIVES) == [math.inf, math.inf, -math.inf]


def test_check_reports_a_record_without_an_objective(tmp_path):
    modes.threads(QUERIES, measured, directory=tmp_path, **SPECIFICATION)
    assert check(tmp_path).ok
    file = RunDirectory(tmp_path).journal
    lines = file.read_bytes().splitlines(keepends=True)
    for metrics in ({"accuracy": 1.0}, {"accuracy": 1.0, "latency": math.inf}):
        record = {**journal.parse(lines[1], 2), "metrics": metrics}
        file.write_bytes(b"".join([lines[0], journal.line(json.dumps(record).encode()), *lines[2:]]))
        found = [violation for violation in check(tmp_path).violations if violation.rule == "objectives"]
        assert [(one.record, "latency" in one.message) for one in found] == [(1, True)]


def test_a_failed_training_is_the_worst_of_each_objective():
    worst = lost(["-value", "latency", "-accuracy"])
    assert (worst.value, worst.metrics) == (-math.inf, {"latency": math.inf, "accuracy": -math.inf})
    assert lost(["latency", "value"]).value == lost(None).value == math.inf
