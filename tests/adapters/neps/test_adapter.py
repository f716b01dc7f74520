"""NePS: processes on one directory and ask-and-tell are the same run, and the run of NePS without a simulator."""

from __future__ import annotations

import inspect
import math
import pickle
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from pandas.testing import assert_frame_equal

from zerowait.adapters import available, load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, Epochs, unordered_space
from zerowait.adapters.conformance.leak_check import watch
from zerowait.suite.records.check import check
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError, WorkerDied
from zerowait.suite.rules.seeds import optimizer_seed

neps = pytest.importorskip("neps", reason="NePS is not installed")

BRACKETS = ["neps-hyperband", "neps-asha", "neps-priorband"]
NAMES = ["neps-random", *BRACKETS]
BOWL = Bowl(fidelity=Epochs())


class TestAshaWhenAsked(AdapterConformance):
    """The kit in short: native runs import NePS each time, so `make stress` examines them, and the tests below."""

    modes = ("ask_tell",)
    benchmark = Bowl(unordered_space)  # some of whose few configurations fail with the kit's seed
    evaluations = 12

    @pytest.fixture
    def adapter(self):
        return load("neps-asha")


@pytest.mark.stress
class TestAsha(AdapterConformance):
    benchmark = Bowl(unordered_space)
    evaluations = 12

    @pytest.fixture
    def adapter(self):
        return load("neps-asha")


@pytest.mark.stress
class TestRandom(AdapterConformance):
    @pytest.fixture
    def adapter(self):
        return load("neps-random")


@pytest.mark.stress
class TestHyperband(AdapterConformance):
    evaluations = 40

    @pytest.fixture
    def adapter(self):
        return load("neps-hyperband")


@pytest.mark.stress
class TestPriorBand(AdapterConformance):
    evaluations = 40

    @pytest.fixture
    def adapter(self):
        return load("neps-priorband")


# -- the same run, whoever calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "n_workers"), [("neps-random", 4), ("neps-hyperband", 8), ("neps-priorband", 4)])
def test_processes_give_the_trace_of_ask_and_tell_byte_for_byte(run, tmp_path, name, n_workers):
    for mode in ("native", "ask_tell"):
        with watch() as leftovers:
            trace = run(load(name), BOWL, mode, n_workers, evaluations=20, directory=tmp_path / mode)
        assert not leftovers
        assert len(trace) == 20
        assert trace.attrs["zerowait"]["idle_releases"] == 0
    assert not (tmp_path / "native" / "neps").exists()
    native, asked = (run_of(tmp_path / mode) for mode in ("native", "ask_tell"))
    assert_frame_equal(native, asked, check_exact=True)
    assert check(tmp_path / "native").violations == ()


@pytest.mark.stress
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_workers", [1, 2, 4, 8])
def test_files_of_equal_native_runs_are_equal_byte_for_byte(run, tmp_path, name, n_workers):
    for number in range(3):
        run(load(name), BOWL, "native", n_workers, evaluations=60, directory=tmp_path / str(number))
    files = {(tmp_path / str(number) / "trace.parquet").read_bytes() for number in range(3)}
    assert len(files) == 1
    asked = run(load(name), BOWL, "ask_tell", n_workers, evaluations=60)
    assert_frame_equal(run_of(tmp_path / "0"), asked, check_exact=True)


def run_of(directory):
    from zerowait.suite.records.trace import read_trace

    return read_trace(directory / "trace.parquet")


def numerical_space():
    return ConfigurationSpace(
        space=[Float("a", (0.0, 1.0)), Float("b", (1e-4, 1.0), log=True, default=0.01), Integer("c", (1, 9))]
    )


@dataclass
class Plain:
    """A benchmark whose space reads in NePS's own words, for a run of NePS without a simulator."""

    space: ConfigurationSpace
    name: str = "plain"
    label: str = "plain"
    fidelity: Epochs = Epochs()  # noqa: RUF009 - frozen

    def __call__(self, config, *, fidelity=None):
        return {"value": value_of(config["a"], config["b"], config["c"], fidelity or 27), "runtime": 1.0 + config["a"]}


def value_of(a, b, c, epochs):
    return (a - 0.3) ** 2 + abs(math.log10(b) + 2) + c / epochs


@pytest.mark.parametrize("name", NAMES)
def test_one_worker_evaluates_what_neps_does_without_a_simulator(run, tmp_path, name):
    import torch

    around = {"prior_confidence": "low"} if name == "neps-priorband" else {}
    priors = [{"prior": prior, **around} if around else {} for prior in (0.5, 0.01, 5)]
    attributes = {
        "x0000": neps.Float(0.0, 1.0, **priors[0]),
        "x0001": neps.Float(1e-4, 1.0, log=True, **priors[1]),
        "x0002": neps.Integer(1, 9, **priors[2]),
    }
    if name != "neps-random":
        attributes["fidelity"] = neps.IntegerFidelity(1, 27)
    seen = []

    def evaluate(x0000, x0001, x0002, fidelity=None):
        seen.append((x0000, x0001, x0002, fidelity))
        return value_of(x0000, x0001, x0002, fidelity or 27)

    seed = optimizer_seed(3)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - NePS draws from it
    torch.manual_seed(seed)
    neps.run(
        evaluate, type("Space", (neps.PipelineSpace,), attributes)(), root_directory=tmp_path / "neps",
        optimizer="random_search" if name == "neps-random" else name.removeprefix("neps-"),
        total_evaluations_to_spend=33,
    )  # fmt: skip

    trace = run(load(name), Plain(numerical_space()), "ask_tell", 1, evaluations=33)
    columns = trace[["config.a", "config.b", "config.c", "fidelity"]].itertuples(index=False, name=None)
    assert [(a, b, c, None if math.isnan(z) else int(z)) for a, b, c, z in columns] == seen


def test_the_seed_changes_the_run(run):
    first, second = (run(load("neps-hyperband"), BOWL, "ask_tell", 2, evaluations=10, seed=seed) for seed in (1, 2))
    assert not first["config.rate"].equals(second["config.rate"])


def test_ask_and_tell_leaves_the_callers_random_numbers_alone(run):
    import torch

    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002 - the caller's own

    def seed():
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002 - the caller's own
        torch.manual_seed(5)

    seed()
    expected = draw()
    seed()
    run(load("neps-hyperband"), BOWL, "ask_tell", 4, evaluations=20)
    assert draw() == expected


# -- promotions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BRACKETS)
def test_a_promotion_continues_the_training_of_its_configuration(run, name):
    trace = run(load(name), BOWL, "ask_tell", 4, evaluations=60)
    resumed = trace[trace["resumed_from"].notna()]
    assert len(resumed) >= 3
    for row in resumed.itertuples():
        if name != "neps-asha":  # see the next test
            assert row.resumed_from == row.fidelity / 3
        before = trace[(trace["config_id"] == row.config_id) & (trace["fidelity"] == row.resumed_from)]
        assert len(before) == 1
        assert before["end"].item() <= row.start
    assert set(trace["fidelity"]) <= {1.0, 3.0, 9.0, 27.0}
    again = run(load(name), BOWL, "ask_tell", 4, evaluations=60, continual=False)
    assert again["resumed_from"].isna().all()


def test_the_librarys_asha_still_promotes_configurations_that_are_running():
    # When this fails, the documentation's remark about it can go; nothing of ours depends on it.
    space = type("Space", (neps.PipelineSpace,), {"x": neps.Float(0.0, 1.0), "z": neps.IntegerFidelity(1, 9)})()
    optimizer = neps.AskAndTell(neps.algorithms.asha(space))
    assert [optimizer.ask().id.partition("_rung_")[2] for _ in range(4)] == ["0", "0", "0", "1"]


def test_a_failed_configuration_is_not_promoted(run):
    trace = run(load("neps-hyperband"), replace(BOWL, failing_share=0.3), "ask_tell", 2, evaluations=80)
    failed = trace[trace["status"] == "failed"]
    assert len(failed) > 5
    for row in failed.itertuples():
        later = trace[(trace["config_id"] == row.config_id) & (trace["fidelity"] > row.fidelity)]
        assert later.empty


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_the_library_still_reads_without_a_lock_what_others_write_in_place():
    # When this fails, see whether workers still have to start `neps.run` again; `READ_RACES` may go.
    from neps.runtime import DefaultWorker
    from neps.state import NePSState

    loading = inspect.getsource(NePSState.create_or_load)
    assert "pickle.load(f)" in loading
    assert ".lock()" not in loading
    sampling = inspect.getsource(NePSState._sample_trial)
    assert 'self._optimizer_state_path.open("wb")' in sampling
    starting = inspect.getsource(DefaultWorker.run).partition("while True")[0]
    assert "self.state._trial_repo.get_valid_evaluated_trials()" in starting
    assert ".lock()" not in starting


def test_a_half_written_state_still_breaks_the_library(tmp_path):
    from neps.state import NePSState

    neps.run(
        lambda x: x, type("Space", (neps.PipelineSpace,), {"x": neps.Float(0.0, 1.0)})(), root_directory=tmp_path / "r",
        optimizer="random_search", total_evaluations_to_spend=1,
    )  # fmt: skip
    state = tmp_path / "r" / "optimizer_state.pkl"
    whole = state.read_bytes()
    for content, error in ((b"", EOFError), (whole[: len(whole) // 2], pickle.UnpicklingError)):
        state.write_bytes(content)
        with pytest.raises(error):
            NePSState.create_or_load(tmp_path / "r", load_only=True)


class _Simulator:
    """Stands in for the simulator of a worker that is given a fake `neps.run`."""

    def __call__(self, config, fidelity, config_id):
        from zerowait.suite import Evaluation

        return Evaluation(1.0, 2.0)

    def progress(self):
        return {"started": 0}


def make_worker():
    import multiprocessing

    from zerowait.adapters.neps.workers import Job, _Worker
    from zerowait.suite.rules.evaluation import Query

    def query(name, config):
        return Query(config, None, name)

    job = Job(_Simulator(), ("random_search", {}), None, query, float, Path("r"), 0, Budget(9))
    return _Worker(job, multiprocessing.get_context("fork").Event())


def test_a_worker_that_reads_a_half_written_file_starts_again(monkeypatch):
    left = [EOFError("Ran out of input"), pickle.UnpicklingError("pickle data was truncated")]
    calls = []

    def run(evaluate, space, **options):
        calls.append(options["optimizer"])
        if left:
            raise left.pop()
        assert evaluate("1", x=3) == {"objective_to_minimize": 1.0, "cost": 2.0}

    monkeypatch.setattr(neps, "run", run)
    make_worker().run(0)
    assert len(calls) == 3


def test_a_worker_that_has_evaluated_does_not_start_again(monkeypatch):
    def run(evaluate, space, **options):
        evaluate("1", x=3)
        raise EOFError("Ran out of input")

    monkeypatch.setattr(neps, "run", run)
    with pytest.raises(EOFError):
        make_worker().run(0)


@dataclass
class Wrong:
    """Returns something that is not an evaluation."""

    space: ConfigurationSpace
    name: str = "wrong"
    label: str = "wrong"
    fidelity: None = None

    def __call__(self, config):
        if config["a"] > 0.7:
            return {"loss": 1.0}
        return {"value": 1.0, "runtime": 1.0 + config["a"]}


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_an_objective_that_returns_nonsense_ends_the_run(run, mode):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("neps-random"), Wrong(numerical_space()), mode, 4)


@dataclass
class Deadly(Wrong):
    """Kills the process that evaluates it, now and then."""

    def __call__(self, config):
        import os
        import signal

        if config["a"] > 0.7:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"value": 1.0, "runtime": 1.0 + config["a"]}


def test_a_killed_worker_ends_the_run_and_names_itself(run):
    with pytest.raises(WorkerDied):
        run(load("neps-random"), Deadly(numerical_space()), "native", 4)


# -- parameters ------------------------------------------------------------------------------------------------------


def test_every_optimizer_is_listed_without_loading_neps():
    program = """
import sys
from zerowait import adapters
names = {found.name: found for found in adapters.available()}
assert {"neps-random", "neps-hyperband", "neps-asha", "neps-priorband", "neps-ifbo"} <= set(names), names
assert not {"neps", "torch"} & set(sys.modules)
"""
    path = ":".join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, check=True)
    found = {descriptor.name: descriptor for descriptor in available()}
    assert all(found[name].installed for name in NAMES)
    assert [found[name].uses_fidelity for name in NAMES] == [False, True, True, True]


def test_parameters_reach_the_optimizer(run):
    trace = run(load("neps-asha", eta=2, early_stopping_rate=1), BOWL, "ask_tell", 2, evaluations=30)
    assert set(trace["fidelity"]) <= {3.0, 6.0, 13.0, 27.0}
    trace = run(load("neps-random", use_priors=True, prior_confidence="high"), BOWL, "ask_tell", 1, evaluations=40)
    assert abs(trace["config.momentum"] - 0.5).mean() < 0.2
    first = run(
        load("neps-hyperband", sample_prior_first=True, priors={"depth": 7}), BOWL, "ask_tell", 1, evaluations=1
    )
    assert first["config.depth"].item() == 7


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("neps-hyperband", {"etta": 3}, r"'neps-hyperband' was given 'etta'; it takes eta, prior_confidence, priors"),
        ("neps-random", {"ignore_fidelity": True}, "was given 'ignore_fidelity'"),
        ("neps-asha", {"eta": 1}, "asha of NePS does not take {'eta': 1}"),
        ("neps-priorband", {"base": "sha"}, "priorband of NePS does not take {'base': 'sha'}"),
        ("neps-priorband", {"prior_confidence": "sure"}, "must be one of low, medium, high"),
        ("neps-priorband", {"priors": [1]}, "must be a mapping"),
        ("neps-hyperband", {"priors": {"x": 1}}, "nothing tells it to use priors"),
    ],
)
def test_unusable_parameters_are_refused_when_loading(name, parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load(name, **parameters)


def test_what_cannot_run_is_refused_before_the_run():
    adapter = load("neps-hyperband")
    assert "the benchmark has 0 to 27" in adapter.refuses(Bowl(fidelity=Epochs(lower=0)))
    assert "no fidelity" in adapter.refuses(Bowl())
    assert "priors names 'z'" in load("neps-priorband", priors={"z": 1}).refuses(BOWL)
    weighted = ConfigurationSpace(space=[Categorical("c", ["a", "b"], weights=[1, 2])])
    assert "no weights" in load("neps-random").refuses(Plain(weighted))


def test_priorband_finds_a_prior_that_is_good(run):
    priors = {"rate": 0.3, "momentum": 0.3, "units": 1, "depth": 1, "batch": 16}
    good = load("neps-priorband", priors=priors, prior_confidence="high")
    near = run(good, BOWL, "ask_tell", 4, evaluations=60)
    blind = run(load("neps-hyperband"), BOWL, "ask_tell", 4, evaluations=60)
    assert near["value"].median() < blind["value"].median()
