"""Optuna's TPE with its Hyperband pruner: one trial is one training, continued from rung to rung."""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, Epochs, conditional_space, numerical_space
from zerowait.adapters.optuna.space import OptunaSpace
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed


class TestHyperband(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("optuna-hyperband")


@dataclass
class Range:
    """A fidelity of which only the bounds matter."""

    lower: float
    upper: float
    integer: bool = False
    name: str = "epoch"


@dataclass
class Ranged:
    """A benchmark of which only the fidelity matters."""

    fidelity: Range
    label: str = "ranged"
    space = Bowl().space


def rungs(lower, upper, *, integer=True, **parameters):
    found = load("optuna-hyperband", **parameters).rungs(Ranged(Range(lower, upper, integer)))
    return [(rung.fidelity, rung.step) for rung in found]


@pytest.fixture
def epochs():
    """The kit's benchmark with fidelities from 1 to 27 epochs."""
    return Bowl(fidelity=Epochs())


def test_the_rungs_are_the_highest_fidelity_over_powers_of_eta():
    assert rungs(1, 27) == [(1, 1), (3, 3), (9, 9), (27, 27)]
    assert rungs(3, 81) == [(3, 1), (9, 3), (27, 9), (81, 27)]
    assert rungs(1, 16, reduction_factor=4) == [(1, 1), (4, 4), (16, 16)]
    assert [fidelity for fidelity, _ in rungs(1, 243)] == [1, 3, 9, 27, 81, 243]
    assert rungs(0.1, 0.9, integer=False) == [(0.1, 1), (pytest.approx(0.3), 3), (0.9, 9)]
    assert rungs(5, 6) == [(6, 1)]
    assert rungs(7, 7) == [(7, 1)]


def test_integer_fidelities_are_rounded():
    assert rungs(11, 100) == [(11, 1), (33, 3), (100, 9)]
    assert rungs(1, 52) == [(2, 1), (6, 3), (17, 9), (52, 27)]
    assert [fidelity for fidelity, _ in rungs(1, 52, integer=False)] == pytest.approx([52 / 27, 52 / 9, 52 / 3, 52])
    assert all(isinstance(fidelity, int) for fidelity, _ in rungs(1, 52))


@given(st.integers(1, 1000), st.integers(0, 10_000), st.integers(2, 5), st.booleans())
def test_fidelities_and_steps_rise_and_stay_in_range(lower, more, eta, integer):
    found = rungs(lower, lower + more, integer=integer, reduction_factor=eta)
    fidelities, steps = zip(*found, strict=True)
    assert lower <= fidelities[0] < lower * eta + 1
    assert fidelities[-1] == lower + more
    assert list(fidelities) == sorted(set(fidelities))
    assert steps == tuple(eta**k for k in range(len(found)))


def brackets(pruner):
    pruner._try_initialization(None)
    return pruner._n_brackets


@pytest.mark.parametrize(("lower", "upper", "expected"), [(1, 27, 4), (1, 52, 4), (1, 243, 6), (3, 729, 6), (7, 7, 1)])
def test_there_are_as_many_brackets_as_rungs_at_powers_of_eta(lower, upper, expected):
    adapter = load("optuna-hyperband")
    assert brackets(adapter.make_pruner(Ranged(Range(lower, upper)))) == expected


@pytest.mark.parametrize("eta", [2, 3, 4, 5, 10])
def test_brackets_are_counted_right_for_every_power(eta):
    adapter = load("optuna-hyperband", reduction_factor=eta)
    for power in range(12):
        assert brackets(adapter.make_pruner(Ranged(Range(1, eta**power)))) == power + 1


def test_optuna_still_loses_a_bracket_by_rounding():
    # When this fails, `make_pruner` may pass the highest step itself.
    assert math.log(243, 3) < 5
    assert brackets(optuna.pruners.HyperbandPruner(1, 243, 3)) == 5


@pytest.mark.parametrize("n_workers", [1, 2, 8])
@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(2.0)])
def test_native_and_ask_and_tell_give_the_same_trace(epochs, run, n_workers, overhead):
    native = run(load("optuna-hyperband"), epochs, "native", n_workers, evaluations=80, overhead=overhead)
    asked = run(load("optuna-hyperband"), epochs, "ask_tell", n_workers, evaluations=80, overhead=overhead)
    assert_frame_equal(native, asked, check_exact=True)
    assert len(native) == 80
    assert native.attrs["zerowait"]["idle_releases"] == 0


@pytest.mark.parametrize("options", [{"failing_share": 0.2}, {"make_space": conditional_space}])
def test_the_modes_agree_when_trainings_fail_and_parameters_are_inactive(run, options):
    benchmark = Bowl(fidelity=Epochs(), **options)
    native = run(load("optuna-hyperband"), benchmark, "native", 4, evaluations=80)
    assert_frame_equal(
        native, run(load("optuna-hyperband"), benchmark, "ask_tell", 4, evaluations=80), check_exact=True
    )


@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.fixed(30.0)])
def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation(epochs, run, overhead):
    options = {"budget": Budget(max_time=400.0), "overhead": overhead}
    native = run(load("optuna-hyperband"), epochs, "native", 4, **options)
    assert_frame_equal(native, run(load("optuna-hyperband"), epochs, "ask_tell", 4, **options), check_exact=True)
    assert native["end"].max() <= 400.0
    assert native.attrs["zerowait"]["idle_releases"] == 0


def test_a_trial_is_one_training_that_is_continued_on_its_worker(epochs, run):
    trace = run(load("optuna-hyperband"), epochs, "native", 4, evaluations=100)
    continued = 0
    for _, trial in trace.groupby("config_id"):
        fidelities = trial["fidelity"].tolist()
        assert fidelities == [1, 3, 9, 27][: len(fidelities)]
        assert trial["resumed_from"].tolist()[1:] == fidelities[:-1]
        assert trial["worker"].nunique() == trial["seed"].nunique() == 1
        assert trial["start"].tolist()[1:] == trial["end"].tolist()[:-1]
        whole = (10 + 90 * trial["metric.chance"].iloc[-1]) * fidelities[-1] / 27
        assert trial["runtime"].sum() == pytest.approx(whole)
        continued += len(trial) > 1
    assert continued > 10


def test_unpromising_trials_end_early(epochs, run):
    # With random configurations: of those of a model, which gets better, more than one in three are among the best.
    trace = run(load("optuna-hyperband", n_startup_trials=10_000), epochs, "ask_tell", 4, evaluations=600)
    trials = [int((trace["fidelity"] == fidelity).sum()) for fidelity in (1, 3, 9, 27)]
    # Of bracket s, with its share of the trials, one in three goes on from each rung k >= s.
    shares = [math.ceil(4 * 3**s / (s + 1)) for s in (3, 2, 1, 0)]
    for rung in (1, 2, 3):
        expected = sum(share * (1 / 3) ** max(0, rung - s) for s, share in enumerate(shares)) / sum(shares)
        assert trials[rung] / trials[0] == pytest.approx(expected, abs=0.08)


def test_without_continuation_every_rung_is_a_training_from_scratch(epochs, run):
    trace = run(load("optuna-hyperband"), epochs, "ask_tell", 4, evaluations=40, continual=False)
    assert trace["resumed_from"].isna().all()
    whole = (10 + 90 * trace["metric.chance"]) * trace["fidelity"] / 27
    assert trace["runtime"].tolist() == pytest.approx(whole.tolist())


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_with_one_worker_it_is_optuna_as_such(epochs, run, mode):
    trace = run(load("optuna-hyperband"), epochs, mode, n_workers=1, evaluations=120, seed=5)

    class EnoughError(Exception):
        pass

    space, evaluations = OptunaSpace(epochs.space), []
    seeds = dict(zip(trace["config_id"], trace["seed"], strict=True))

    def train(trial):
        config = space.suggest(trial)
        for step in (1, 3, 9, 27):
            if len(evaluations) == 120:
                raise EnoughError
            value = epochs(config, fidelity=step, seed=int(seeds[str(trial.number)])).value
            evaluations.append((config["rate"], config["units"], config["nesterov"], float(step), value))
            trial.report(value, step)
            if step < 27 and trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        study_name="zerowait",
        sampler=optuna.samplers.TPESampler(seed=optimizer_seed(5)),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3),
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with pytest.raises(EnoughError):
            study.optimize(train)
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    columns = trace[["config.rate", "config.units", "config.nesterov", "fidelity", "value"]]
    assert list(columns.itertuples(index=False, name=None)) == evaluations


def test_pruning_finds_a_better_configuration_in_the_same_simulated_time(run):
    benchmark = Bowl(numerical_space, fidelity=Epochs())
    best = {}
    for name in ("optuna-tpe", "optuna-hyperband"):
        traces = [
            run(load(name), benchmark, "ask_tell", 4, budget=Budget(max_time=600.0), seed=seed) for seed in range(3)
        ]
        full = [trace[trace["fidelity"].isna() | (trace["fidelity"] == 27)] for trace in traces]
        best[name] = sum(trace["value"].min() for trace in full) / len(full)
    assert best["optuna-hyperband"] < best["optuna-tpe"]


def test_parameters_reach_sampler_and_pruner(epochs):
    adapter = load("optuna-hyperband", reduction_factor=2, bootstrap_count=4, n_startup_trials=7)
    assert adapter.make_sampler(1)._n_startup_trials == 7
    pruner = adapter.make_pruner(epochs)
    assert (pruner._reduction_factor, pruner._bootstrap_count) == (2, 4)
    assert brackets(pruner) == 5  # 1, 2, 4, 8 and 16 of 27


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reduction_factor": 1}, "reduction_factor is 1; it must be an integer of at least 2"),
        ({"reduction_factor": 2.5}, "reduction_factor is 2.5; it must be an integer of at least 2"),
        ({"bootstrap_count": -1}, "bootstrap_count is -1; it must be an integer of at least 0"),
        ({"eta": 3}, "was given 'eta'; it takes .*reduction_factor"),
    ],
)
def test_unusable_parameters_are_refused_when_loading(parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load("optuna-hyperband", **parameters)


def test_a_benchmark_whose_fidelities_begin_at_zero_is_refused():
    adapter = load("optuna-hyperband")
    assert "has no fidelity" in adapter.refuses(Ranged(None))
    assert "that of 'epoch' is 0" in adapter.refuses(Ranged(Range(0, 10)))
    assert adapter.refuses(Ranged(Range(0.5, 10))) is None
