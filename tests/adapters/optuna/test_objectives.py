"""Optuna with several objectives: threads and ask-and-tell are the same run, and that of Optuna as such."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import optuna
import pytest
from ConfigSpace import ConfigurationSpace, Float
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.optuna.space import OptunaSpace
from zerowait.adapters.optuna.threads import quiet
from zerowait.adapters.registry import classes
from zerowait.suite import Budget, Evaluation, Overhead
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed

OBJECTIVES = ["value", "latency", "-accuracy"]
PARAMETERS = {"optuna-nsga2": {"population_size": 6}}
TAKES_SEVERAL = {"random", "optuna-random", "optuna-tpe", "optuna-gp", "optuna-nsga2"}


@dataclass
class Conflict:
    """Three objectives that contradict each other."""

    label = name = "conflict"
    fidelity = None
    metrics = MappingProxyType({"latency": "s", "accuracy": "fraction"})

    @cached_property
    def space(self):
        return ConfigurationSpace(space=[Float("x", (0.0, 1.0)), Float("y", (0.0, 1.0))])

    def __call__(self, config):
        x, y = config["x"], config["y"]
        return Evaluation(x + y * y, 1.0 + x + 2 * y, {"latency": (1 - x) ** 2 + y / 3, "accuracy": x * y})


def run(name, mode, n_workers=4, evaluations=24, objectives=OBJECTIVES, seed=3):
    return load(name, **PARAMETERS.get(name, {})).optimize(
        Conflict(), n_workers=n_workers, seed=seed, budget=Budget(evaluations), overhead=Overhead.none(), mode=mode,
        objectives=objectives,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(TAKES_SEVERAL - {"optuna-gp"}))
def test_native_and_ask_and_tell_give_the_same_trace(name):
    native, asked = (run(name, mode) for mode in ("native", "ask_tell"))
    assert len(native) == 24
    assert_frame_equal(native, asked, check_exact=True)
    assert native.attrs["zerowait"]["specification"]["objectives"] == OBJECTIVES


@pytest.mark.stress  # its model takes seconds
def test_the_gaussian_process_takes_several_in_both_modes():
    native, asked = (run("optuna-gp", mode, 2, 12, OBJECTIVES[:2]) for mode in ("native", "ask_tell"))
    assert_frame_equal(native, asked, check_exact=True)


@pytest.mark.parametrize("n_workers", [1, 4])
@pytest.mark.parametrize("name", ["optuna-nsga2", "optuna-tpe"])
def test_it_is_optuna_as_such_on_workers_of_an_event_queue(name, n_workers):
    trace = run(name, "ask_tell", n_workers)
    benchmark, sampler = Conflict(), load(name, **PARAMETERS.get(name, {})).make_sampler(optimizer_seed(3))
    space, now, told, in_flight = OptunaSpace(benchmark.space), 0.0, [], []
    with quiet():
        study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize", "maximize"])
        while len(told) < 24:
            while len(in_flight) < n_workers and len(told) + len(in_flight) < 24:
                trial = study.ask()
                config = space.suggest(trial)
                evaluation = benchmark(config)
                heapq.heappush(in_flight, (now + evaluation.runtime, trial.number, trial, config, evaluation))
            now, _, trial, config, evaluation = heapq.heappop(in_flight)
            study.tell(trial, [evaluation.value, evaluation.metrics["latency"], evaluation.metrics["accuracy"]])
            told.append((now, config["x"], config["y"], evaluation.metrics["latency"]))
    columns = ["end", "config.x", "config.y", "metric.latency"]
    assert list(trace[columns].itertuples(index=False, name=None)) == told


def test_what_the_further_objectives_are_decides_what_is_asked_for():
    two, others = (run("optuna-nsga2", "ask_tell", objectives=names) for names in (OBJECTIVES[:2], OBJECTIVES[::2]))
    assert two["config.x"].tolist()[:6] == others["config.x"].tolist()[:6]  # the first population is drawn at random
    assert two["config.x"].tolist() != others["config.x"].tolist()


def test_who_takes_several_is_declared():
    assert {name for name, adapter in classes().items() if adapter.several_objectives} == TAKES_SEVERAL


@pytest.mark.parametrize("name", ["optuna-cmaes", "optuna-hyperband"])
def test_an_optimizer_that_takes_one_refuses_before_it_starts(name):
    with pytest.raises(SpecificationError, match=rf"^'{name}' .*$") as caught:
        run(name, "ask_tell")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objectives", [["value", "size"], ["-size", "latency"]])
def test_an_objective_that_the_benchmark_has_not_is_refused_by_its_name(objectives):
    with pytest.raises(SpecificationError, match=r"^objectives has '-?size', .* value, latency, accuracy$"):
        run("optuna-nsga2", "ask_tell", objectives=objectives)
