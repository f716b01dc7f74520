"""Optuna's samplers: threads and ask-and-tell are the same run, today and tomorrow."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import optuna
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, ForbiddenEqualsClause
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, conditional_space
from zerowait.adapters.optuna.space import OptunaSpace
from zerowait.adapters.optuna.threads import quiet
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed

SAMPLERS = ["optuna-random", "optuna-tpe", "optuna-cmaes", "optuna-gp"]
EVALUATIONS = {"optuna-gp": 12}  # its model starts with the eleventh and takes a second for each


class TestRandom(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("optuna-random")


class TestTPE(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("optuna-tpe")


class TestGroupedTPE(AdapterConformance):
    modes = ("ask_tell",)
    benchmark = Bowl(conditional_space)  # its groups are sets, whose order hangs on the salt of `hash()`

    @pytest.fixture
    def adapter(self):
        return load("optuna-tpe", group=True)


class TestCmaEs(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("optuna-cmaes")


class TestGP(AdapterConformance):
    evaluations = EVALUATIONS["optuna-gp"]

    @pytest.fixture
    def adapter(self):
        return load("optuna-gp")


@pytest.mark.stress
class TestNSGAII(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("optuna-nsga2", population_size=8)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("n_workers", [1, 4, 8])
def test_native_and_ask_and_tell_give_the_same_trace(bowl, run, name, n_workers):
    native = run(load(name), bowl, "native", n_workers, evaluations=EVALUATIONS.get(name, 40))
    asked = run(load(name), bowl, "ask_tell", n_workers, evaluations=EVALUATIONS.get(name, 40))
    assert len(native) == EVALUATIONS.get(name, 40)
    assert_frame_equal(native, asked, check_exact=True)


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_one_worker_it_is_optuna_as_such(run, name):
    benchmark, adapter, n = Bowl(), load(name), EVALUATIONS.get(name, 40)
    trace = run(adapter, benchmark, "native", n_workers=1, evaluations=n, seed=5)
    space, seeds = OptunaSpace(benchmark.space), iter(trace["seed"].tolist())
    evaluated = []

    def train(trial):
        config = space.suggest(trial)
        value = benchmark(config, seed=next(seeds)).value
        evaluated.append((config["rate"], config["units"], config["nesterov"], value))
        return value

    with quiet():
        optuna.create_study(sampler=adapter.make_sampler(optimizer_seed(5))).optimize(train, n_trials=n)
    columns = trace[["config.rate", "config.units", "config.nesterov", "value"]]
    assert list(columns.itertuples(index=False, name=None)) == evaluated


def test_a_run_repeats_itself_many_times_with_many_threads(bowl, run):
    traces = [run(load("optuna-tpe"), bowl, "native", 16, evaluations=48) for _ in range(6)]
    for trace in traces[1:]:
        assert_frame_equal(trace, traces[0], check_exact=True)


@pytest.mark.parametrize("n_startup_trials", [0, 1, 30])
def test_the_first_samples_do_not_race_whenever_the_model_starts(bowl, run, n_startup_trials):
    adapter = load("optuna-tpe", n_startup_trials=n_startup_trials)
    native = run(adapter, bowl, "native", 8)
    assert_frame_equal(native, run(adapter, bowl, "native", 8), check_exact=True)
    assert_frame_equal(native, run(adapter, bowl, "ask_tell", 8), check_exact=True)


@pytest.mark.parametrize("overhead", [Overhead.fixed(3.0), Overhead.linear(1.0, 0.1, sampling="parallel")])
def test_both_modes_agree_under_every_modelled_overhead(bowl, run, overhead):
    native = run(load("optuna-tpe"), bowl, "native", 4, overhead=overhead)
    asked = run(load("optuna-tpe"), bowl, "ask_tell", 4, overhead=overhead)
    assert_frame_equal(native, asked, check_exact=True)


def test_the_model_finds_a_better_optimum_than_chance(numerical_bowl, run):
    best = {
        name: run(load(name), numerical_bowl, "native", 4, evaluations=150)["value"].min()
        for name in ("optuna-random", "optuna-tpe", "optuna-cmaes")
    }
    assert best["optuna-tpe"] < best["optuna-random"]
    assert best["optuna-cmaes"] < best["optuna-random"]


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
@pytest.mark.parametrize(("n_workers", "evaluations"), [(1, 1), (4, 4), (4, 5)])
def test_exactly_the_budgeted_number_of_evaluations_is_recorded(bowl, run, mode, n_workers, evaluations):
    assert len(run(load("optuna-random"), bowl, mode, n_workers, evaluations)) == evaluations


@pytest.mark.parametrize("n_workers", [1, 4, 8])
@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(30.0)])
def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation(bowl, run, n_workers, overhead):
    options = {"budget": Budget(max_time=700.0), "overhead": overhead}
    native = run(load("optuna-tpe"), bowl, "native", n_workers, **options)
    assert_frame_equal(native, run(load("optuna-tpe"), bowl, "ask_tell", n_workers, **options), check_exact=True)
    assert native["end"].max() <= 700.0
    assert native.attrs["zerowait"]["idle_releases"] == 0
    assert len(native) > 5


def test_a_budget_that_ends_while_threads_are_starting_ends_the_run(bowl, run):
    # Sampling costs 150 s: the second configuration would start at 300 s, beyond the budget.
    options = {"budget": Budget(max_time=299.0), "overhead": Overhead.fixed(150.0)}
    native = run(load("optuna-random"), bowl, "native", 4, **options)
    assert_frame_equal(native, run(load("optuna-random"), bowl, "ask_tell", 4, **options), check_exact=True)
    assert native["start"].tolist() == [150.0]
    assert native.attrs["zerowait"]["idle_releases"] == 0


@pytest.mark.parametrize("n_workers", [1, 4])
def test_failing_evaluations_are_recorded_and_survived(failing_bowl, run, n_workers):
    native = run(load("optuna-tpe"), failing_bowl, "native", n_workers, evaluations=60)
    asked = run(load("optuna-tpe"), failing_bowl, "ask_tell", n_workers, evaluations=60)
    assert_frame_equal(native, asked, check_exact=True)
    assert len(native) == 60
    assert 3 <= (native["status"] == "failed").sum() <= 30


def test_conditional_parameters_are_sampled_when_they_are_active(conditional_bowl, run):
    for name in ("optuna-random", "optuna-tpe", "optuna-cmaes"):
        native = run(load(name), conditional_bowl, "native", 4)
        assert_frame_equal(native, run(load(name), conditional_bowl, "ask_tell", 4), check_exact=True)
        assert native["config.beta"].notna().tolist() == native["config.nesterov"].tolist()


@dataclass
class Wrong:
    """Returns something that is not an evaluation."""

    space: ConfigurationSpace
    name: str = "wrong"
    label: str = "wrong"
    fidelity: None = None

    def __call__(self, _config):
        return {"loss": 1.0}


@pytest.mark.parametrize("n_workers", [1, 4])
@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_an_objective_that_returns_nonsense_ends_the_run(bowl, run, mode, n_workers, monkeypatch):
    monkeypatch.setattr("zerowait.adapters.optuna.adapter.OptunaAdapter.simulator_options", {})  # shortens the wait
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("optuna-random"), Wrong(bowl.space), mode, n_workers)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_a_defect_in_the_last_trials_is_not_lost(bowl, run, n_workers, monkeypatch):
    # Optuna forgets the exceptions of its last `n_jobs` tasks.
    sample = optuna.samplers.RandomSampler.sample_independent
    sampled = []

    def break_down(self, study, trial, name, distribution):
        sampled.append(trial.number)
        if trial.number == 11:
            raise ArithmeticError("the sampler broke down")
        return sample(self, study, trial, name, distribution)

    monkeypatch.setattr(optuna.samplers.RandomSampler, "sample_independent", break_down)
    monkeypatch.setattr("zerowait.adapters.optuna.adapter.OptunaAdapter.simulator_options", {})
    with pytest.raises(ArithmeticError, match="the sampler broke down"):
        run(load("optuna-random"), bowl, "native", n_workers, evaluations=12)


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_optuna_is_silent_during_a_run_and_as_loud_as_before_afterwards(failing_bowl, run, mode, capfd):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(load("optuna-tpe", group=True), failing_bowl, mode)
            run(load("optuna-cmaes", with_margin=True), failing_bowl, mode)
            run(load("optuna-random"), failing_bowl, mode, budget=Budget(max_time=100.0))
        assert capfd.readouterr() == ("", "")
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)


def test_the_last_of_several_runs_restores_the_logger():
    optuna.logging.set_verbosity(optuna.logging.INFO)
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert optuna.logging.get_verbosity() == logging.CRITICAL
    second.__exit__(None, None, None)
    assert optuna.logging.get_verbosity() == logging.INFO


def test_parameters_reach_the_sampler():
    sampler = load("optuna-tpe", n_startup_trials=7, multivariate=False, constant_liar=False).make_sampler(1)
    assert (sampler._n_startup_trials, sampler._multivariate, sampler._constant_liar) == (7, False, False)
    assert load("optuna-cmaes", popsize=9).make_sampler(1)._popsize == 9


def test_unknown_parameters_are_refused_with_the_known_ones():
    with pytest.raises(SpecificationError, match=r"'optuna-tpe' was given 'n_startup', 'seed'; .* n_startup_trials"):
        load("optuna-tpe", n_startup=3, seed=1)
    with pytest.raises(SpecificationError, match=r"given 'size'; it takes pruner \(the seed of RandomSampler"):
        load("optuna-random", size=3)


def test_parameters_that_contradict_each_other_are_refused_when_loading():
    with pytest.raises(SpecificationError, match="``group`` option can only be enabled"):
        load("optuna-tpe", group=True, multivariate=False)


def test_experimental_parameters_are_accepted_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("optuna-tpe", group=True)


def test_deprecated_parameters_still_warn():
    with pytest.warns(FutureWarning, match="prior_weight"):
        load("optuna-tpe", prior_weight=0.5)


@dataclass
class Spaced:
    """A benchmark of which only the space matters."""

    space: ConfigurationSpace
    name: str = "spaced"
    label: str = "spaced"
    fidelity: None = None


def test_forbidden_clauses_are_refused_before_the_run():
    space = ConfigurationSpace({"c": ["a", "b"], "x": (0.0, 1.0)})
    space.add(ForbiddenEqualsClause(space["c"], "b"))
    for name in ("optuna-random", "optuna-tpe", "optuna-cmaes"):
        assert "no forbidden clauses" in load(name).refuses(Spaced(space))


def test_cma_es_refuses_a_space_without_a_number_in_every_configuration(bowl, numerical_bowl):
    adapter = load("optuna-cmaes")
    assert adapter.refuses(bowl) is None
    assert adapter.refuses(numerical_bowl) is None
    space = ConfigurationSpace(space=[Categorical("c", ["a", "b"]), Float("x", (0.0, 1.0))])
    space.add(EqualsCondition(space["x"], space["c"], "a"))
    assert adapter.refuses(Spaced(space)) == (
        "CMA-ES needs a numerical parameter that every configuration has, and the space has none"
    )
    assert load("optuna-tpe").refuses(Spaced(space)) is None


def test_cma_es_runs_in_one_dimension(run):
    @dataclass
    class Parabola(Spaced):
        def __call__(self, config):
            return {"value": (config["x"] - 0.3) ** 2, "runtime": 1.0 + config["x"]}

    parabola = Parabola(ConfigurationSpace({"x": (0.0, 1.0)}))
    native = run(load("optuna-cmaes"), parabola, "native", 2, evaluations=80)
    assert_frame_equal(native, run(load("optuna-cmaes"), parabola, "ask_tell", 2, evaluations=80), check_exact=True)
    assert native["value"].min() < 1e-4
