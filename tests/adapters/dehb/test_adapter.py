"""DEHB: Dask processes, one process and ask-and-tell are the same run, which is DEHB's own."""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import loguru
import numpy as np
import pytest
from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Constant, Float, Integer
from ConfigSpace import OrdinalHyperparameter as Ordinal
from ConfigSpace.exceptions import IllegalValueError
from dehb import DEHB
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import (
    Bowl,
    Epochs,
    conditional_space,
    config_problems,
    mixed_space,
    numerical_space,
)
from zerowait.adapters.dehb.library import FAILED, QuietDEHB, inwards
from zerowait.adapters.spaces import config_from_vector
from zerowait.suite import Budget, Evaluation, Overhead
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError, WorkerDied
from zerowait.suite.rules.seeds import optimizer_seed

cloudpickle.register_pickle_by_value(sys.modules[__name__])

# DEHB calls the former interface of ConfigSpace; Python shows such warnings to nobody but tests.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TestDEHBAskedAndTold(AdapterConformance):
    modes = ("ask_tell",)

    @pytest.fixture
    def adapter(self):
        return load("dehb")


class TestDEHBOnSimulatedWorkers(AdapterConformance):
    modes = ("native-simulated",)

    @pytest.fixture
    def adapter(self):
        return load("dehb")


@pytest.mark.stress
class TestDEHBWithDask(AdapterConformance):
    modes = ("native",)
    workers = 2  # each of some ten runs starts a cluster, which takes seconds

    @pytest.fixture
    def adapter(self):
        return load("dehb")


@pytest.mark.stress
class TestDEHBWithDaskOnMoreWorkers(AdapterConformance):
    workers = 4
    evaluations = 60

    @pytest.fixture
    def adapter(self):
        return load("dehb")


# ConfigSpace keeps values in NumPy arrays, which drop NULs at the end of a text: it refuses such a constant itself.
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), texts)
choices = st.lists(scalars, min_size=1, max_size=60, unique_by=lambda value: value)


@st.composite
def parameters(draw, name):
    kind = draw(st.sampled_from(["float", "integer", "categorical", "ordinal", "constant"]))
    if kind == "categorical":
        return Categorical(name, draw(choices))
    if kind == "ordinal":
        return Ordinal(name, draw(choices))
    if kind == "constant":
        return Constant(name, draw(scalars))
    log = draw(st.booleans())
    if kind == "float":
        lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
        return Float(name, (lower, lower + draw(st.floats(1e-3, 1e6))), log=log)
    lower = draw(st.integers(1, 10**4) if log else st.integers(-(10**6), 10**6))
    return Integer(name, (lower, lower + draw(st.integers(1, 10**6))), log=log)


@st.composite
def spaces(draw):
    return ConfigurationSpace(space=[draw(parameters(f"p{index}")) for index in range(draw(st.integers(1, 6)))])


def fidelity_bowl(make_space=mixed_space, **variant):
    return Bowl(make_space, fidelity=Epochs(), **variant)


def library_run(bowl, seed, evaluations, **options):
    """What DEHB does when somebody calls `DEHB.run` with a plain function."""
    evaluated = []

    def train(config, fidelity):
        values = config_from_vector(config.config_space, config.get_array())
        evaluated.append((values, round(fidelity)))
        evaluation = bowl(values, fidelity=round(fidelity))
        return {"fitness": evaluation.value, "cost": evaluation.runtime}

    dehb = DEHB(
        cs=copy.deepcopy(bowl.space), f=train, n_workers=1, seed=optimizer_seed(seed), log_level="ERROR",
        min_fidelity=bowl.fidelity.lower, max_fidelity=bowl.fidelity.upper, save_freq="end", **options,
    )  # fmt: skip
    assert dehb.run(fevals=evaluations) is not None
    return evaluated


def make_dehb(space, **options):
    """DEHB as the adapter asks and tells it."""
    return QuietDEHB(**{
        "cs": space, "f": None, "min_fidelity": 1, "max_fidelity": 27, "seed": 1, "n_workers": 1, "save_freq": "end",
        "output_path": tempfile.gettempdir(), **options,
    })  # fmt: skip


@pytest.fixture
def loguru_as_it_was():
    """Keep what DEHB does to loguru's one logger from other tests."""
    core = loguru.logger._core
    before = dict(core.handlers)
    yield
    for number in set(core.handlers) - set(before):
        loguru.logger.remove(number)
    core.handlers.update(before)


@pytest.fixture
def recorded(monkeypatch):
    """The configurations and fidelities that the simulator is given in this process, with their exact types."""
    seen = []
    call = Bowl.__call__

    def record(self, config, /, *, fidelity=None, seed=None):
        seen.append((dict(config), fidelity))
        return call(self, config, fidelity=fidelity)  # the same value as without a simulator: no seed

    monkeypatch.setattr(Bowl, "__call__", record)
    return seen


@pytest.mark.parametrize("make_space", [mixed_space, conditional_space, numerical_space])
@pytest.mark.parametrize(
    "options",
    [{}, {"strategy": "currenttobest1_exp"}, {"eta": 2.5, "mutation_factor": 0.9}],
)
def test_one_worker_evaluates_what_dehb_evaluates_without_a_simulator(
    run, recorded, make_space, options, tmp_path, monkeypatch, loguru_as_it_was
):
    monkeypatch.chdir(tmp_path)  # DEHB writes files
    bowl = fidelity_bowl(make_space)
    run(load("dehb", **options), bowl, "ask_tell", 1, 120)
    asked = list(recorded)
    recorded.clear()
    assert [(c, f) for c, f in library_run(bowl, 3, 120, **options)] == asked
    assert len({fidelity for _, fidelity in asked}) == 4


def test_all_modes_give_the_same_trace(run):
    bowl = fidelity_bowl(conditional_space)
    native = run(load("dehb"), bowl, "native", 4, 50)
    assert_frame_equal(native, run(load("dehb"), bowl, "ask_tell", 4, 50), check_exact=True)
    assert_frame_equal(native, run(load("dehb"), bowl, "native-simulated", 4, 50), check_exact=True)
    assert len(set(native["fidelity"])) > 1
    assert native.attrs["zerowait"]["idle_releases"] == 0


@pytest.mark.parametrize(
    ("n_workers", "options"),
    [
        (1, {"budget": Budget(max_time=150.0), "overhead": Overhead.none()}),
        (1, {"budget": Budget(max_time=1.0), "overhead": Overhead.none()}),  # not one result in time
        # The second worker's first job would start at 300 s, beyond the budget.
        (3, {"budget": Budget(max_time=299.0), "overhead": Overhead.fixed(150.0)}),
    ],
)
def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation(run, n_workers, options):
    bowl = fidelity_bowl()
    native = run(load("dehb"), bowl, "native", n_workers, **options)
    for mode in ("ask_tell", "native-simulated"):
        assert_frame_equal(native, run(load("dehb"), bowl, mode, n_workers, **options), check_exact=True)
    assert native.attrs["zerowait"]["idle_releases"] == 0


@pytest.mark.stress
@pytest.mark.parametrize("n_workers", [2, 4, 8])
@pytest.mark.parametrize("overhead", [Overhead.none(), Overhead.linear(1.0, 0.1, sampling="parallel")])
def test_many_workers_repeat_themselves(run, n_workers, overhead):
    bowl = fidelity_bowl()
    first, second = (run(load("dehb"), bowl, "native", n_workers, 150, overhead=overhead) for _ in range(2))
    assert_frame_equal(first, second, check_exact=True)
    for mode in ("ask_tell", "native-simulated"):
        other = run(load("dehb"), bowl, mode, n_workers, 150, overhead=overhead)
        assert_frame_equal(first, other, check_exact=True)


def test_a_promoted_configuration_keeps_its_id_and_its_training_may_be_continued(run):
    bowl = fidelity_bowl()
    trace = run(load("dehb"), bowl, "ask_tell", 4, 80, continual=True)
    continued = trace[trace["resumed_from"].notna()]
    assert len(continued) > 5
    for _, row in continued.iterrows():
        before = trace[(trace["config_id"] == row["config_id"]) & (trace["fidelity"] == row["resumed_from"])]
        assert len(before) == 1
        assert before["config.rate"].item() == row["config.rate"]
    assert run(load("dehb"), bowl, "ask_tell", 4, 80)["resumed_from"].isna().all()


def test_exponential_crossover_identifies_configurations_by_their_values(run):
    # With DEHB's ids the simulator would find one id with two configurations, and refuse it.
    trace = run(load("dehb", strategy="rand1_exp"), fidelity_bowl(), "ask_tell", 4, 300, continual=True)
    assert trace["config_id"].str.len().min() > 10


def test_exponential_crossover_still_changes_the_parent_whose_id_is_kept():
    dehb = make_dehb(numerical_space(), strategy="rand1_exp")
    population = dehb.de[dehb.fidelities[0]]
    before = population.population.copy()
    for _ in range(20):
        dehb.ask()
    changed = (population.population != before).any()
    assert changed, "DEHB copies the parent now: `strategy='*_exp'` may keep DEHB's ids"


# -- failures and errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_a_rung_whose_evaluations_all_fail_does_not_end_the_run(run, mode):
    trace = run(load("dehb"), fidelity_bowl(failing_share=1.0), mode, 1, 60)
    assert len(trace) == 60
    assert (trace["status"] == "failed").all()


@pytest.mark.parametrize(("fitness", "ends"), [(np.inf, True), (FAILED, False)])
def test_dehb_still_takes_infinity_for_not_evaluated(fitness, ends):
    dehb = make_dehb(numerical_space())

    def evaluate():
        for _ in range(30):
            dehb.tell(dehb.ask(), {"fitness": fitness, "cost": 1.0})

    if ends:
        with pytest.raises(IndexError):
            evaluate()
    else:
        evaluate()


@dataclass
class Wrong:
    """Returns something that is not an evaluation."""

    space: ConfigurationSpace
    name: str = "wrong"
    label: str = "wrong"
    fidelity: Any = field(default_factory=Epochs)

    def __call__(self, _config):
        return {"loss": 1.0}


@pytest.mark.parametrize(
    ("mode", "n_workers"), [("native", 1), ("native", 2), ("ask_tell", 2), ("native-simulated", 2)]
)
def test_an_error_of_the_run_is_raised(run, mode, n_workers):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("dehb"), Wrong(mixed_space()), mode, n_workers)


def test_dehb_still_swallows_the_errors_of_a_run(tmp_path, monkeypatch, loguru_as_it_was):
    monkeypatch.chdir(tmp_path)

    def train(config, fidelity):
        raise ZeroDivisionError

    try:
        dehb = DEHB(cs=numerical_space(), f=train, min_fidelity=1, max_fidelity=27, n_workers=1, log_level="CRITICAL")
        swallowed = dehb.run(fevals=1) is None
    except ZeroDivisionError:
        swallowed = False
    assert swallowed, "DEHB raises now: `SimulatedDEHB.optimize` may call `run`"


@dataclass
class Deadly(Wrong):
    """Kills the process that evaluates, once several evaluations have been made."""

    def __call__(self, config):
        if config["rate"] > 0.1:
            os._exit(1)
        return Evaluation(config["rate"], 10.0 + config["momentum"])


def test_the_death_of_a_dask_process_ends_the_run(run):
    with pytest.raises(WorkerDied):
        run(load("dehb"), Deadly(mixed_space()), "native", 2)


@pytest.mark.parametrize(("log", "lower", "upper", "illegal"), [(True, 1e-5, 1.0, 0.0), (False, 0.3, 0.9, 1.0)])
def test_dehb_still_makes_illegal_values_at_the_borders(log, lower, upper, illegal):
    space = ConfigurationSpace(space=[Float("x", (lower, upper), log=log)])
    dehb = make_dehb(space)
    with pytest.raises(IllegalValueError):
        dehb.vector_to_configspace(np.array([illegal]))
    for border, bound in ((0.0, lower), (1.0, upper)):
        assert dehb.vector_to_configspace(inwards(space, np.array([border])))["x"] == pytest.approx(bound, rel=1e-13)


def test_dehb_still_asks_configspace_for_a_numpy_number_of_samples(tmp_path, loguru_as_it_was):
    with pytest.raises(TypeError, match="Expected int"):
        DEHB(cs=numerical_space(), f=None, min_fidelity=1, max_fidelity=27, min_clip=3, n_workers=1,
             output_path=tmp_path)  # fmt: skip


def test_dehb_still_falls_behind_the_last_of_49_choices():
    space = ConfigurationSpace({"c": list(range(49))})
    dehb = make_dehb(space)
    with pytest.raises(IndexError):
        dehb.vector_to_configspace(np.array([1.0]))
    assert dehb.vector_to_configspace(inwards(space, np.array([1.0])))["c"] == 48


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_every_job_is_a_legal_configuration_wherever_its_vector_lies(space, seed):
    dehb = make_dehb(space, max_fidelity=3)
    generator = np.random.default_rng(seed)
    for _ in range(10):
        vector = generator.choice([0.0, 1.0, generator.random(), np.nextafter(1.0, 0.0)], size=len(space))
        configuration = dehb.vector_to_configspace(inwards(space, vector))
        config = config_from_vector(space, configuration.get_array())
        assert list(config) == list(space)
        assert config_problems(space, config) == []


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_the_configuration_of_a_job_survives_the_way_to_the_objective_and_back(space, seed):
    dehb = make_dehb(space, max_fidelity=3, seed=seed)
    for _ in range(5):
        job = dehb.ask()
        dehb.tell(job, {"fitness": 1.0, "cost": 1.0})
        config = config_from_vector(space, job["config"].get_array())
        back = Configuration(space, values=config).get_array()
        assert back == pytest.approx(job["config"].get_array(), rel=1e-12, abs=1e-12, nan_ok=True)


def test_dehb_still_takes_the_fourth_of_five_choices_for_the_third():
    # 3 * (1/5) is greater than 3/5: DEHB's, and left alone, because it would be another run than DEHB's.
    space = ConfigurationSpace({"c": list("abcde")})
    dehb = make_dehb(space)
    fourth = Configuration(space, values={"c": "d"})
    assert dehb.vector_to_configspace(dehb.configspace_to_vector(fourth))["c"] == "c"


# -- what it leaves alone ----------------------------------------------------------------------------------------------


def test_loguru_and_the_space_are_left_alone(run, capfd):
    sink = []
    handler = loguru.logger.add(sink.append)
    bowl = fidelity_bowl()
    before = copy.deepcopy(bowl.space)
    try:
        run(load("dehb"), bowl, "ask_tell", 4, 60)
        loguru.logger.info("still here")
    finally:
        loguru.logger.remove(handler)
    assert [message.record["message"] for message in sink] == ["still here"]
    assert bowl.space == before
    assert capfd.readouterr().out == ""


def test_dehb_still_replaces_the_handlers_of_loguru(tmp_path, loguru_as_it_was):
    sink = []
    loguru.logger.add(sink.append)
    DEHB(cs=numerical_space(), f=None, min_fidelity=1, max_fidelity=27, n_workers=1, output_path=tmp_path)
    loguru.logger.info("lost")
    assert not sink, "DEHB leaves loguru alone now: `QuietDEHB` may go"


def test_what_dehb_says_can_be_heard(caplog, tmp_path):
    (tmp_path / "dehb_state.json").touch()
    make_dehb(numerical_space(), output_path=tmp_path)
    assert "A checkpoint already exists" in caplog.text


# -- parameters and refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"etta": 3, "seed": 1}, r"'dehb' was given 'etta', 'seed'; it takes eta, min_fidelity"),
        ({"eta": 1}, "eta=1; it must be a number above 1"),
        ({"eta": True}, "eta=True; it must be"),
        ({"strategy": "rand3_bin"}, "strategy='rand3_bin'; it must be one of rand1"),
        ({"crossover_prob": 1.5}, "crossover_prob=1.5; it must be from 0 to 1"),
        ({"boundary_fix_type": "wrap"}, "boundary_fix_type='wrap'"),
        ({"min_clip": 0}, "min_clip=0; it must be an integer of at least 1"),
        ({"async_strategy": "eager"}, "async_strategy='eager'"),
    ],
)
def test_parameters_that_dehb_does_not_take_are_refused_when_loading(parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load("dehb", **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        *({"strategy": f"{m}_bin"} for m in ("rand2", "rand2dir", "best1", "best2", "currenttobest1", "randtobest1")),
        {"min_clip": 3, "max_clip": 9},
        {"min_fidelity": 3},
        {"max_fidelity": 9, "eta": 2},
        {"boundary_fix_type": "clip", "mutation_factor": 1.5, "crossover_prob": 0.9},
        {"async_strategy": "random", "max_age": 3},
        {"min_fidelity": 20},  # one rung
    ],
)
def test_parameters_reach_dehb(run, parameters):
    trace = run(load("dehb", **parameters), fidelity_bowl(conditional_space), "ask_tell", 4, 80)
    assert len(trace) == 80
    assert trace["fidelity"].min() >= parameters.get("min_fidelity", 1)
    assert trace["fidelity"].max() <= parameters.get("max_fidelity", 27)


def test_fidelities_outside_the_benchmarks_are_refused_before_the_run():
    assert "between 1 and 27" in load("dehb", max_fidelity=81).refuses(fidelity_bowl())
    assert "between 1 and 27" in load("dehb", min_fidelity=9, max_fidelity=3).refuses(fidelity_bowl())
    assert "0 < min < max" in load("dehb", min_fidelity=27).refuses(fidelity_bowl())
    assert "0 < min < max" in load("dehb").refuses(replace(fidelity_bowl(), fidelity=Epochs(lower=0)))
    assert "no fidelity" in load("dehb").refuses(Bowl())
