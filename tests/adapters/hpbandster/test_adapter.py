"""HpBandSter: processes and ask-and-tell are the same run, and the run of HpBandSter without a simulator."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, ForbiddenEqualsClause
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, Epochs, conditional_space, unordered_space
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed

pytest.importorskip("hpbandster", reason="HpBandSter is not installed")

# Isolated runs unpickle what is defined here in another process, which cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

NAMES = ["bohb", "hyperband"]
BOWL = Bowl(conditional_space, fidelity=Epochs())
ROOT = Path(__file__).resolve().parents[3]


class TestBohbWhenAsked(AdapterConformance):
    modes = ("ask_tell",)
    evaluations = 50  # enough for the model to be used

    @pytest.fixture
    def adapter(self):
        return load("bohb")


@pytest.mark.stress  # the same processes as Hyperband's
class TestBohbInProcesses(TestBohbWhenAsked):
    modes = ("native",)


class TestHyperband(AdapterConformance):
    evaluations = 40

    @pytest.fixture
    def adapter(self):
        return load("hyperband")


# -- the same run, however it is made ----------------------------------------------------------------------------------

LIBRARY = """
import json, logging, os, pickle, sys, warnings
os.environ.update(PYRO_SERIALIZER="pickle", PYRO_SERIALIZERS_ACCEPTED="pickle")
warnings.simplefilter("ignore")
import numpy as np
from hpbandster.core.nameserver import NameServer
from hpbandster.core.worker import Worker
from hpbandster.optimizers import BOHB, HyperBand

name, brackets, (space_seed, numpy_seed), path = json.loads(sys.argv[1])
with open(path, "rb") as file:
    benchmark = pickle.load(file)
logging.disable(logging.CRITICAL)
ids = []

def as_written(parameter, value):
    # ConfigSpace makes 16.0 of the 16 in [16, 32, 64.5].
    written = getattr(parameter, "sequence", getattr(parameter, "choices", None))
    if written is not None:
        return written[written.index(value)]
    return value.item() if isinstance(value, np.generic) else value

class Objective(Worker):
    def compute(self, config_id, config, budget, working_directory):
        plain = {key: as_written(space[key], value) for key, value in config.items()}
        ids.append(str(tuple(config_id)))
        return {"loss": benchmark(plain, fidelity=round(float(budget))).value, "info": None}

nameserver = NameServer("plain", host="127.0.0.1", port=0)
host, port = nameserver.start()
Objective("plain", nameserver=host, nameserver_port=port, host=host, logger=logging.getLogger("worker")).run(True)
space = benchmark.space
space.seed(space_seed)
np.random.seed(numpy_seed)
optimizer = {"bohb": BOHB, "hyperband": HyperBand}[name](
    configspace=space, min_budget=benchmark.fidelity.lower, max_budget=benchmark.fidelity.upper,
    run_id="plain", nameserver=host, nameserver_port=port, host=host, ping_interval=3600,
)
optimizer.run(n_iterations=brackets)
print(json.dumps(ids), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Unseeded(Bowl):
    """A benchmark whose loss is a function of the configuration alone, and that writes down every evaluation."""

    path: str = ""

    def __call__(self, config, *, fidelity=None):
        evaluation = super().__call__(config, fidelity=fidelity)
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps([list(config.items()), fidelity, evaluation.value]) + "\n")
        return evaluation


@pytest.mark.parametrize("name", NAMES)
def test_one_worker_evaluates_what_the_library_does_without_a_simulator(name, run, tmp_path):
    from zerowait.adapters.hpbandster.optimizers import seeds

    # BOHB takes no ordinals. The plain library gets the space with the choices themselves, we give it their indices.
    benchmark = Unseeded(unordered_space if name == "bohb" else conditional_space, fidelity=Epochs())
    (tmp_path / "benchmark").write_bytes(cloudpickle.dumps(replace(benchmark, path=str(tmp_path / "plain"))))
    arguments = [name, 4, seeds(optimizer_seed(3)), str(tmp_path / "benchmark")]
    process = subprocess.run(
        [sys.executable, "-c", LIBRARY, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    ids = json.loads(process.stdout)
    assert len(ids) == 40 + 13 + 8 + 4
    for mode in ("native", "ask_tell"):
        trace = run(load(name), replace(benchmark, path=str(tmp_path / mode)), mode, 1, evaluations=len(ids))
        assert trace["config_id"].tolist() == ids
        assert (tmp_path / mode).read_text() == (tmp_path / "plain").read_text()


@pytest.mark.parametrize(
    ("name", "n_workers"),
    [
        ("bohb", 8),
        *(pytest.param(name, n, marks=pytest.mark.stress) for name in NAMES for n in (1, 2, 4)),
        pytest.param("hyperband", 8, marks=pytest.mark.stress),
    ],
)
def test_native_and_ask_and_tell_give_the_same_file(name, n_workers, run, tmp_path):
    traces = [
        run(load(name), BOWL, mode, n_workers, evaluations=60, directory=tmp_path / mode)
        for mode in ("native", "ask_tell")
    ]
    assert_frame_equal(*traces, check_exact=True)
    again = run(load(name), BOWL, "native", n_workers, evaluations=60, directory=tmp_path / "again")
    assert_frame_equal(again, traces[0], check_exact=True)
    assert again.attrs["zerowait"]["idle_releases"] == 0
    assert len(again) == 60
    assert (tmp_path / "native" / "trace.parquet").read_bytes() == (tmp_path / "again" / "trace.parquet").read_bytes()


@pytest.mark.parametrize("overhead", [pytest.param(Overhead.none(), marks=pytest.mark.stress), Overhead.fixed(30.0)])
def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation(run, overhead):
    options = {"budget": Budget(max_time=250.0), "overhead": overhead}
    native = run(load("hyperband"), BOWL, "native", 4, **options)
    assert_frame_equal(native, run(load("hyperband"), BOWL, "ask_tell", 4, **options), check_exact=True)
    assert native["end"].max() <= 250.0
    assert native.attrs["zerowait"]["idle_releases"] == 0
    assert len(native) > 3


def test_a_budget_that_ends_while_workers_are_starting_ends_the_run(run):
    # Sampling costs 150 s: the second configuration would start at 300 s, beyond the budget.
    options = {"budget": Budget(max_time=299.0), "overhead": Overhead.fixed(150.0)}
    native = run(load("hyperband"), BOWL, "native", 4, **options)
    assert_frame_equal(native, run(load("hyperband"), BOWL, "ask_tell", 4, **options), check_exact=True)
    assert native["start"].tolist() == [150.0]
    assert native.attrs["zerowait"]["idle_releases"] == 0


def test_failing_evaluations_are_treated_alike(run):
    failing = replace(BOWL, failing_share=0.3)
    native = run(load("bohb"), failing, "native", 4, evaluations=50)
    assert_frame_equal(native, run(load("bohb"), failing, "ask_tell", 4, evaluations=50), check_exact=True)
    assert 5 <= (native["status"] == "failed").sum() <= 50
    failed = set(native.loc[native["status"] == "failed", "config_id"])
    rungs = native.groupby("config_id")["fidelity"].count()
    assert (rungs[list(failed)] == 1).all(), "a configuration that has failed was promoted"


def test_a_rung_whose_evaluations_all_fail_is_filled_with_new_configurations(run):
    trace = run(load("hyperband"), replace(BOWL, failing_share=1.0), "ask_tell", 1, evaluations=40)
    assert set(trace["status"]) == {"failed"}
    # Nine evaluations of the second rung follow the 27 of the first, with ids of their own: (bracket, rung, number).
    assert trace["config_id"].tolist()[27:30] == ["(0, 1, 0)", "(0, 1, 1)", "(0, 1, 2)"]
    assert trace["config_id"].is_unique


def test_equal_runs_do_not_depend_on_who_else_draws_random_numbers(run):
    first = run(load("bohb"), BOWL, "ask_tell", 2, evaluations=60)
    np.random.seed(12345)  # noqa: NPY002 - the global generator is the point
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert_frame_equal(run(load("bohb"), BOWL, "ask_tell", 2, evaluations=60), first, check_exact=True)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_bohb_is_the_same_optimizer_when_warnings_are_errors(run):
    # It takes a warning that was raised for a failure of its model, and samples at random: no error, another run.
    first = run(load("bohb"), BOWL, "ask_tell", 2, evaluations=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_frame_equal(run(load("bohb"), BOWL, "ask_tell", 2, evaluations=60), first, check_exact=True)


# -- what is evaluated -------------------------------------------------------------------------------------------------


def test_a_promoted_configuration_keeps_its_id(run):
    trace = run(load("hyperband"), BOWL, "ask_tell", 1, evaluations=40)  # one whole bracket: 27 + 9 + 3 + 1
    assert trace["fidelity"].tolist() == [1.0] * 27 + [3.0] * 9 + [9.0] * 3 + [27.0]
    configs = trace.filter(like="config.").astype(str).agg(tuple, axis=1)
    assert len(set(configs)) == trace["config_id"].nunique() == 27
    assert len(set(zip(configs, trace["config_id"], strict=True))) == 27
    assert sorted(trace.groupby("config_id")["fidelity"].count(), reverse=True)[:5] == [4, 3, 3, 2, 2]
    # The best third of each rung goes on.
    first = trace[trace["fidelity"] == 1.0].sort_values("value")["config_id"][:9]
    assert set(first) == set(trace[trace["fidelity"] == 3.0]["config_id"])


def test_a_promotion_can_continue_a_training(run):
    again, continued = (
        run(load("hyperband"), BOWL, "ask_tell", 1, evaluations=40, continual=continual) for continual in (False, True)
    )
    assert again["resumed_from"].isna().all()
    assert continued["resumed_from"].tolist()[27:] == [1.0] * 9 + [3.0] * 3 + [9.0]
    assert continued["value"].tolist() == again["value"].tolist()
    whole, charged = (trace.set_index(["config_id", "fidelity"])["runtime"] for trace in (again, continued))
    for (name, fidelity), seconds in charged.items():
        before = whole[name, fidelity / 3] if fidelity > 1 else 0.0
        assert seconds == pytest.approx(whole[name, fidelity] - before)


def test_budgets_with_a_fraction_are_rounded_for_the_objective(run):
    benchmark = replace(BOWL, fidelity=Epochs(1, 52))  # 52 / 27 = 1.93, 52 / 9 = 5.78, 52 / 3 = 17.33
    assert load("hyperband").refuses(benchmark) is None
    trace = run(load("hyperband"), benchmark, "ask_tell", 1, evaluations=40)
    assert sorted(set(trace["fidelity"])) == [2.0, 6.0, 17.0, 52.0]


def test_given_budgets_replace_those_of_the_benchmark(run):
    adapter = load("hyperband", min_budget=3, max_budget=12, eta=2)
    trace = run(adapter, BOWL, "ask_tell", 1, evaluations=20)
    assert sorted(set(trace["fidelity"])) == [3.0, 6.0, 12.0]


@dataclass
class Hill:
    """A benchmark whose model-based picks show: most of the space is bad."""

    fidelity: Epochs
    name: str = "hill"
    label: str = "hill"

    @property
    def space(self):
        return ConfigurationSpace(
            space=[Float("x", (0.0, 1.0)), Float("y", (0.0, 1.0)), Categorical("c", ["a", "b", "c", "d"])]
        )

    def __call__(self, config, *, fidelity=None):
        distance = (config["x"] - 0.3) ** 2 + (config["y"] - 0.8) ** 2 + (config["c"] != "b")
        return {"value": distance, "runtime": float(fidelity)}


def test_bohb_learns_where_good_configurations_are(run):
    mean = {}
    for name in NAMES:
        trace = run(load(name), Hill(Epochs()), "ask_tell", 4, evaluations=200)
        mean[name] = trace.loc[trace["fidelity"] == 1.0, "value"][50:].mean()
    assert mean["bohb"] < 0.7 * mean["hyperband"]


# -- what is refused before the run ------------------------------------------------------------------------------------


def test_the_parameters_are_those_of_the_library():
    from hpbandster.optimizers import BOHB, HyperBand

    for name, library in (("bohb", BOHB), ("hyperband", HyperBand)):
        taken = set(inspect.signature(library.__init__).parameters) - {"self", "configspace", "kwargs"}
        assert set(type(load(name)).allowed) == taken


def test_parameters_reach_the_library(run):
    from zerowait.adapters.hpbandster.optimizers import Brackets, make_optimizer

    parameters = {
        "eta": 4, "min_points_in_model": 20, "top_n_percent": 30, "num_samples": 7, "random_fraction": 0.5,
        "bandwidth_factor": 2.0, "min_bandwidth": 0.01,
    }  # fmt: skip
    adapter = load("bohb", **parameters)
    optimizer = make_optimizer("bohb", Brackets, adapter._space(BOWL).space, 1, adapter._settings(BOWL))
    generator = optimizer.config_generator
    assert optimizer.eta == 4
    assert (optimizer.min_budget, optimizer.max_budget) == (1.0, 27.0)
    assert generator.min_points_in_model == 20
    assert (generator.top_n_percent, generator.num_samples, generator.random_fraction) == (30, 7, 0.5)
    assert (generator.bw_factor, generator.min_bandwidth) == (2.0, 0.01)
    labels = run(adapter, BOWL, "ask_tell", 1, evaluations=3).attrs["zerowait"]["specification"]["labels"]
    assert {name: labels[name] for name in parameters} == parameters


def test_unknown_parameters_are_refused_with_the_known_ones():
    with pytest.raises(SpecificationError, match=r"'hyperband' was given 'seed', 'top_n_percent'; .* eta, max_budget"):
        load("hyperband", top_n_percent=3, seed=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eta", 1.5), ("eta", "3"), ("eta", float("nan")), ("min_budget", 0), ("max_budget", True),
        ("top_n_percent", 0), ("top_n_percent", 100), ("num_samples", 0), ("num_samples", 2.5),
        ("random_fraction", -0.1), ("random_fraction", 1.1), ("bandwidth_factor", 0), ("min_bandwidth", float("inf")),
        ("min_points_in_model", 0),
    ],
)  # fmt: skip
def test_values_that_are_not_allowed_are_refused_with_what_is(name, value):
    with pytest.raises(
        SpecificationError, match=rf"('bohb' was given {name}=|{name} of 'bohb' is ).*; it must be an? "
    ):
        load("bohb", **{name: value})


def test_fidelities_that_make_no_rungs_are_refused():
    assert "no fidelity" in load("bohb").refuses(replace(BOWL, fidelity=None))
    assert "the least 'epoch' is 0.0; set min_budget" in load("bohb").refuses(replace(BOWL, fidelity=Epochs(0, 27)))
    assert load("bohb", min_budget=1).refuses(replace(BOWL, fidelity=Epochs(0, 27))) is None
    assert "from 1.0 to 81" in load("hyperband", max_budget=81).refuses(BOWL)
    assert "from 27 to 27.0" in load("hyperband", min_budget=27).refuses(BOWL)
    reason = load("hyperband", eta=2).refuses(replace(BOWL, fidelity=Epochs(1, 3)))
    assert reason is None
    reason = load("hyperband", min_budget=0.5).refuses(replace(BOWL, fidelity=Epochs(0, 3)))
    assert reason is None, reason
    reason = load("hyperband", min_budget=0.1).refuses(replace(BOWL, fidelity=Epochs(0, 3)))
    assert "which 'epoch' rounds to [0, 0, 1, 3]" in reason


@dataclass
class Spaced(Hill):
    """A benchmark of which only the space matters."""

    chosen: ConfigurationSpace | None = None

    @property
    def space(self):
        return self.chosen


def test_conditions_and_forbidden_clauses_are_kept(run):
    space = ConfigurationSpace(
        space=[Float("x", (0.0, 1.0)), Float("y", (0.0, 1.0)), Categorical("c", ["a", "b", "c"])]
    )
    space.add(EqualsCondition(space["y"], space["c"], "b"), ForbiddenEqualsClause(space["c"], "c"))

    class Partly(Spaced):
        def __call__(self, config, *, fidelity=None):
            return {"value": config["x"] + config.get("y", 0.5), "runtime": float(fidelity)}

    trace = run(load("bohb"), Partly(Epochs(), chosen=space), "ask_tell", 4, evaluations=200)
    assert set(trace["config.c"]) == {"a", "b"}
    assert trace["config.y"].notna().tolist() == (trace["config.c"] == "b").tolist()
