"""SMAC's facades: both modes are SMAC, today and tomorrow; what is done about its bugs is still needed."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, Integer, NormalFloatHyperparameter
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.adapter import Run
from zerowait.adapters.conformance.benchmark import Epochs, conditional_space
from zerowait.adapters.environments.isolation import run_isolated
from zerowait.adapters.smac.adapter import AskTellFacade, SmacAdapter
from zerowait.adapters.smac.parameters import PARAMETERS
from zerowait.adapters.smac.space import fidelity_of, plain_config
from zerowait.suite import Budget, Evaluation, Overhead, simulate
from zerowait.suite.records.trace import write_trace
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError

# Runs happen in other processes, which cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

OPTIMIZERS = ("smac-hpo", "smac-blackbox", "smac-mf", "smac-hyperband")
SEARCH = {"challengers": 50, "local_search_iterations": 2}
"""Settings that make a sample cheap."""
CHEAP: dict[str, dict[str, Any]] = {
    "smac-hpo": {**SEARCH, "n_trees": 4, "retrain_after": 4},
    "smac-blackbox": {**SEARCH, "retrain_after": 3},
    "smac-mf": {**SEARCH, "n_trees": 4, "n_configs": 6},
    "smac-hyperband": {},
}
EVALUATIONS = {"smac-hpo": 18, "smac-blackbox": 10, "smac-mf": 45, "smac-hyperband": 45}
"""So many that the models are used, and that the brackets promote."""


EPOCHS = Epochs()


@dataclass
class Valley:
    """A loss without noise on every kind of parameter, and runtimes without ties."""

    space: ConfigurationSpace
    fidelity: Any = EPOCHS
    failing: bool = False
    seen: list = field(default_factory=list)
    name: str = "valley"
    label: str = "valley"

    def __call__(self, config, *, fidelity=None):
        self.seen.append((config, fidelity))
        if self.failing and config.get("depth", 0) > 5:
            raise ArithmeticError("too deep")
        share = 1.0 if fidelity is None else fidelity / 27
        positions = [float(self.space[name].to_vector(value)) for name, value in config.items()]
        distance = sum((position - 0.3) ** 2 for position in positions)
        return Evaluation(distance + 0.1 * (1 - share), share * (10 + sum(map(abs, positions))))


def valley(**options):
    return Valley(conditional_space(), **options)


def make_run(name, n_workers, **options):
    budget = options.pop("budget", Budget(EVALUATIONS[name]))
    overhead = options.pop("overhead", Overhead.none())
    return Run(options.pop("benchmark", valley()), n_workers, 3, budget, overhead, **options)


def native(name, run, **parameters):
    """Make a native run here: to be called in a process that is isolated already."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        run = Run(**{field: getattr(run, field) for field in Run.__slots__} | {"directory": directory})
        return load(name, **{**CHEAP[name], **parameters})._simulated(run)


def asked(name, run, **parameters):
    return load(name, **{**CHEAP[name], **parameters})._asked_and_told(run)


def simulated(name, run, **parameters):
    """SMAC's own loop over simulated workers."""
    return load(name, **{**CHEAP[name], **parameters})._on_simulated_workers(run)


def plain_smac(name, n_trials):
    """Run SMAC as its documentation shows it, without anything of zerowait but the translation of what comes out."""
    from smac import Scenario

    from zerowait.adapters.smac.facade import FACADES, quiet

    benchmark, facade, settings = valley(), FACADES[name], CHEAP[name]

    def train(config, seed=0, budget=None):
        return benchmark(plain_config(config), fidelity=fidelity_of(budget, benchmark.fidelity)).value

    def arguments(part):
        taken = inspect.signature(getattr(facade, f"get_{part}")).parameters
        return {key: value for key, value in settings.items() if key in taken}

    with tempfile.TemporaryDirectory() as folder, quiet():
        budgets = {"min_budget": 1, "max_budget": 27} if load(name).uses_fidelity else {}
        scenario = Scenario(
            benchmark.space,
            output_directory=Path(folder),
            deterministic=True,
            n_trials=n_trials,
            seed=make_run(name, 1).optimizer_seed,
            **budgets,
        )
        parts = {"config_selector": facade.get_config_selector(scenario, retries=1000, **arguments("config_selector"))}
        if name != "smac-hyperband":
            design = {"n_configs": 5, "max_ratio": 1.0, **arguments("initial_design")}
            parts["initial_design"] = facade.get_initial_design(scenario, **design)
            parts["acquisition_maximizer"] = facade.get_acquisition_maximizer(
                scenario, **arguments("acquisition_maximizer")
            )
            parts["model"] = facade.get_model(scenario, **arguments("model"))
        takes_budget = train if budgets else lambda config, seed=0: train(config)
        facade(scenario, takes_budget, **parts, logging_level=False, overwrite=True).optimize()
    return benchmark.seen


class AskAhead(AskTellFacade):
    """A facade that chooses as SMAC's loop does: the next trial before the result that makes room for it is told."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._ahead = None
        self._untold = []

    def ask(self):
        query = self._ahead or super().ask()
        for results in self._untold:
            super().tell(*results)
        self._untold = []
        self._ahead = super().ask()
        return query

    def tell(self, *results):
        self._untold.append(results)


def asked_ahead(name, run):
    adapter = load(name, **CHEAP[name])
    with adapter.session(run):
        facade = adapter.ask_tell(run)._facade
        return simulate(AskAhead(facade, run.benchmark.fidelity), run.benchmark, **run.specification())


# -- one process a fixture: starting one and importing SMAC takes longer than the runs ---------------------------------


def _serial_runs():
    found = {}
    for name in OPTIMIZERS:
        runs = [make_run(name, 1, benchmark=valley()) for _ in range(2)]
        traces = asked(name, runs[0]), native(name, runs[1])
        found[name] = traces, [run.benchmark.seen for run in runs], plain_smac(name, EVALUATIONS[name])
    return found


@pytest.fixture(scope="module")
def serial():
    return run_isolated(_serial_runs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_one_worker_both_modes_are_the_same_run(serial, name):
    (asked_trace, native_trace), _, _ = serial[name]
    assert_frame_equal(asked_trace, native_trace, check_exact=True)
    assert len(native_trace) == EVALUATIONS[name]
    if load(name).uses_fidelity:
        assert len(set(native_trace["fidelity"])) > 1
    else:
        assert native_trace["fidelity"].isna().all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_one_worker_it_is_the_run_of_the_library_alone(serial, name):
    _, (seen_asked, seen_native), seen_alone = serial[name]
    assert seen_asked == seen_alone
    assert seen_native == seen_alone


PARALLEL = [("smac-hpo", 4), ("smac-hyperband", 4)]
MORE_PARALLEL = [("smac-hpo", 8), ("smac-blackbox", 2), ("smac-blackbox", 4), ("smac-mf", 4), ("smac-mf", 8)]


def _parallel_runs(pairs):
    return {
        (name, n_workers): (
            native(name, make_run(name, n_workers)),
            asked_ahead(name, make_run(name, n_workers)),
            asked(name, make_run(name, n_workers)),
            simulated(name, make_run(name, n_workers)),
        )
        for name, n_workers in pairs
    }


@pytest.fixture(scope="module")
def parallel():
    return run_isolated(_parallel_runs, PARALLEL)


def check_parallel(name, traces):
    native_trace, asked_ahead_trace, asked_trace, simulated_trace = traces
    # Nothing real takes part in the second one, which has no processes and no messages.
    assert_frame_equal(native_trace, asked_ahead_trace, check_exact=True)
    assert_frame_equal(native_trace, simulated_trace, check_exact=True)
    assert native_trace.attrs["zerowait"]["idle_releases"] == 0
    assert len(asked_trace) == len(native_trace) == EVALUATIONS[name]


@pytest.mark.parametrize(("name", "n_workers"), PARALLEL)
def test_the_loop_of_smac_chooses_one_result_ahead_and_is_deterministic(parallel, name, n_workers):
    check_parallel(name, parallel[name, n_workers])


@pytest.mark.stress
@pytest.mark.parametrize(("name", "n_workers"), MORE_PARALLEL)
def test_the_loop_of_smac_is_deterministic_with_the_slower_models_too(name, n_workers):
    for key, traces in run_isolated(_parallel_runs, [(name, n_workers)]).items():
        check_parallel(key[0], traces)


def _asked_again():
    pairs = [(name, 1) for name in OPTIMIZERS] + PARALLEL
    return {(name, n_workers): asked(name, make_run(name, n_workers)) for name, n_workers in pairs}


def test_ask_and_tell_writes_the_same_file_again_in_another_process(serial, parallel, tmp_path):
    for (name, n_workers), again in run_isolated(_asked_again).items():
        before = serial[name][0][0] if n_workers == 1 else parallel[name, n_workers][2]
        assert_frame_equal(before, again, check_exact=True)
        files = [write_trace(trace, tmp_path / f"{number}.parquet") for number, trace in enumerate((before, again))]
        assert files[0].read_bytes() == files[1].read_bytes(), name


# -- budgets and failures ----------------------------------------------------------------------------------------------


def _limited_runs():
    found = []
    for overhead, n_workers in ((Overhead.fixed(5.0), 4), (Overhead.fixed(5.0), 1)):
        run = make_run("smac-hyperband", n_workers, budget=Budget(max_time=40.0), overhead=overhead)
        other = asked if n_workers == 1 else asked_ahead
        found.append((native("smac-hyperband", run), other("smac-hyperband", run)))
        found.append((simulated("smac-hyperband", run), found[-1][1]))
    return found


def test_a_budget_of_time_ends_both_modes_at_the_same_evaluation():
    for trace, expected in run_isolated(_limited_runs):
        assert trace.attrs["zerowait"]["idle_releases"] == 0
        assert_frame_equal(trace, expected, check_exact=True)
        assert 30.0 < trace["end"].max() <= 40.0


def _failing_runs():
    runs = {name: make_run(name, 1, benchmark=valley(failing=True)) for name in OPTIMIZERS}
    return {name: asked(name, run) for name, run in runs.items()} | {"native": native("smac-mf", runs["smac-mf"])}


def test_failing_evaluations_are_crashed_trials_and_the_run_goes_on():
    traces = run_isolated(_failing_runs)
    assert_frame_equal(traces["native"], traces["smac-mf"], check_exact=True)
    for name in OPTIMIZERS:
        trace = traces[name]
        assert len(trace) == EVALUATIONS[name]
        assert set(trace["status"]) == {"ok", "failed"}
        assert (trace.loc[trace["config.depth"] > 5, "status"] == "failed").all()


@dataclass
class Wrong:
    """Returns something that is not an evaluation."""

    space: ConfigurationSpace
    fidelity: Any = EPOCHS
    name: str = "wrong"
    label: str = "wrong"

    def __call__(self, _config):
        return {"loss": 1.0}


@pytest.mark.parametrize(("mode", "n_workers"), [("ask_tell", 4), ("native", 4)])
def test_an_objective_that_returns_nonsense_ends_the_run(run, mode, n_workers):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("smac-hyperband"), Wrong(conditional_space()), mode, n_workers)


# -- spaces that run out of configurations -----------------------------------------------------------------------------


@dataclass
class Table:
    """Six configurations."""

    space: ConfigurationSpace = field(
        default_factory=lambda: ConfigurationSpace(space=[Categorical("a", [1, 2, 3]), Categorical("b", [0, 1])])
    )
    fidelity: Any = None
    name: str = "table"
    label: str = "table"

    def __call__(self, config):
        return Evaluation(float(config["a"] + config["b"]), 10.0 + config["a"] * 1.3 + config["b"])


def _exhausting_runs():
    cheap = {"retries": 100}
    runs = {n_workers: make_run("smac-hpo", n_workers, benchmark=Table(), budget=Budget(50)) for n_workers in (1, 4)}
    traces = {("ask_tell", n_workers): asked("smac-hpo", run, **cheap) for n_workers, run in runs.items()}
    return traces | {("native", n_workers): native("smac-hpo", run, **cheap) for n_workers, run in runs.items()}


@pytest.mark.stress
def test_a_run_ends_when_every_configuration_has_been_evaluated():
    for trace in run_isolated(_exhausting_runs).values():
        pairs = sorted(zip(trace["config.a"], trace["config.b"], strict=True))
        assert pairs == [(a, b) for a in (1, 2, 3) for b in (0, 1)]
        # The last results would wait for workers that get nothing more, but SMAC knows.
        assert trace.attrs["zerowait"]["idle_releases"] == 0


# -- what is done about SMAC is still needed ---------------------------------------------------------------------------


def _facade(name, space, target=None, n_trials=100, **options):
    from smac import Scenario

    from zerowait.adapters.smac.facade import FACADES

    runner = options.pop("runner", None)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(space, output_directory=Path(folder), deterministic=True, n_trials=n_trials, **options)
        return FACADES[name](scenario, runner or target, logging_level=False, overwrite=True)


def test_a_configuration_with_a_logarithmic_integer_still_differs_from_its_copy():
    config = ConfigurationSpace(space=[Integer("n", (1, 100), log=True)]).get_default_configuration()
    assert pickle.loads(pickle.dumps(config)) != config  # once equal, SimulatedDaskRunner may return what comes back


def _lost_trials():
    from distributed import Client, LocalCluster
    from smac.main.smbo import SMBO

    from zerowait.adapters.smac.facade import quiet

    SMBO.save = lambda self: None
    space = ConfigurationSpace(space=[Integer("n", (1, 10_000), log=True), Float("x", (0.0, 1.0))])
    with (
        quiet(),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        from smac import HyperbandFacade, Scenario

        scenario = Scenario(
            space, output_directory=Path(folder), deterministic=True, n_trials=40, min_budget=1, max_budget=9
        )
        facade = HyperbandFacade(
            scenario, lambda config, seed=0, budget=0.0: config["x"], dask_client=client, logging_level=False,
            overwrite=True,
        )  # fmt: skip
        facade.optimize()
        return Counter(value.status.name for value in facade.runhistory.values())


def _exhausted():
    from smac.main.exceptions import ConfigurationSpaceExhaustedException
    from smac.runhistory import TrialValue

    facade = _facade("smac-hpo", Table().space)

    def run_out():
        for _ in range(50):
            facade.tell(facade.ask(), TrialValue(cost=1.0), save=False)

    with pytest.raises(ConfigurationSpaceExhaustedException):
        run_out()


def _infinite_crash_cost():
    from smac.runhistory import StatusType, TrialValue

    facade = _facade("smac-hpo", valley().space)
    crash = TrialValue(cost=float("inf"), status=StatusType.CRASHED)

    def crash_now_and_then():
        for number in range(50):
            facade.tell(facade.ask(), TrialValue(cost=float(number)) if number % 2 else crash, save=False)

    with pytest.raises(ValueError, match="NaN"):
        crash_now_and_then()


def _shims():
    from zerowait.adapters.smac.facade import quiet

    with quiet():
        _exhausted()
        _infinite_crash_cost()
        return _lost_trials(), _facade("smac-hpo", valley().space)._model._rf_opts["n_jobs"]


def test_what_is_done_about_smac_is_still_needed():
    trials, forest_threads = run_isolated(_shims)
    assert trials["RUNNING"] > 0  # its own runner loses trials with a logarithmic integer
    assert forest_threads == -1  # all cores


HASHED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import test_adapter as test_smac
benchmark = test_smac.valley()
test_smac.asked("smac-mf", test_smac.make_run("smac-mf", 1, benchmark=benchmark))
print(json.dumps(benchmark.seen))
"""


@pytest.mark.stress
def test_smacs_local_search_still_depends_on_the_hash_seed():
    def seen(hash_seed):
        path = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        program = [sys.executable, "-c", HASHED, str(Path(__file__).parent)]
        return json.loads(subprocess.run(program, env=environment, check=True, capture_output=True).stdout)

    assert seen("1") != seen("2")  # once equal, ask-and-tell need not be isolated


# -- parameters and spaces ---------------------------------------------------------------------------------------------


def test_the_table_of_parameters_is_what_smac_takes():
    from smac.main.config_selector import ConfigSelector

    from zerowait.adapters.smac.facade import FACADES

    # No JSON; or without effect on one objective that is evaluated once for every configuration.
    left_out = {
        "scenario", "kernel", "additional_configs", "max_config_calls", "max_incumbents", "n_seeds",
        "instance_seed_order",
    }  # fmt: skip
    for name, facade in FACADES.items():
        for part in ("model", "acquisition_function", "acquisition_maximizer", "intensifier", "initial_design",
                     "random_design"):  # fmt: skip
            taken = set(inspect.signature(getattr(facade, f"get_{part}")).parameters) - left_out
            assert set(PARAMETERS[name].get(part, {})) == taken, (name, part)
        names = {"retries": "max_new_config_tries"}
        selector = {names.get(key, key) for key in PARAMETERS[name]["config_selector"]}
        assert selector == set(inspect.signature(ConfigSelector).parameters) - {"scenario"}
        retrain_after = inspect.signature(facade.get_config_selector).parameters["retrain_after"].default
        assert load(name).defaults["retrain_after"] == retrain_after


def test_parameters_reach_smac():
    def look():
        run = make_run("smac-mf", 9)
        parameters = {"n_trees": 7, "xi": 0.5, "challengers": 77, "probability": 0.5, "eta": 2, "retries": 33}
        facade = load("smac-mf", **parameters, min_trials=4, crash_cost=12).ask_tell(run)._facade
        selector = facade._config_selector
        return (
            facade._model._rf_opts["n_estimators"],
            facade._acquisition_function._xi,
            facade._acquisition_maximizer._challengers,
            facade._random_design._probability,
            facade._intensifier._eta,
            selector._max_new_config_tries,
            selector._min_trials,
            facade.scenario.crash_cost,
            len(selector._initial_design_configs),
        )

    assert run_isolated(look) == (7, 0.5, 77, 0.5, 2, 33, 4, 12.0, 9)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("smac-hpo", {"eta": 3, "seed": 1}, r"'smac-hpo' was given 'eta', 'seed'; it takes bootstrapping, challengers"),
        ("smac-mf", {"eta": 1}, "eta=1; it must be an integer of at least 2"),
        ("smac-blackbox", {"model_type": "deep"}, "model_type='deep'; it must be one of 'vanilla', 'mcmc'"),
        ("smac-hpo", {"crash_cost": float("inf")}, "crash_cost of 'smac-hpo' is inf; it must be a finite number"),
        ("smac-hpo", {"n_trees": True}, "n_trees=True; it must be an integer of at least 1"),
        ("smac-hyperband", {"n_configs": 5}, "'smac-hyperband' was given 'n_configs'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_when_loading(name, parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load(name, **parameters)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_smac_cannot_express_is_refused(name):
    adapter: SmacAdapter = load(name)
    assert adapter.refuses(valley()) is None
    assert "has none" in adapter.refuses(Valley(ConfigurationSpace()))
    space = ConfigurationSpace(
        space=[Categorical("c", ["a", "b"]), NormalFloatHyperparameter("x", 0, 1, lower=-3, upper=3)]
    )
    assert adapter.refuses(Valley(space)) is None
    copied = copy.deepcopy(space)
    copied.add(EqualsCondition(copied["x"], copied["c"], "a"))
    assert "no normal or beta parameter with a condition and 'x'" in adapter.refuses(Valley(copied))
    with_fidelity = adapter.refuses(Valley(space, fidelity=None))
    assert (with_fidelity is not None) == adapter.uses_fidelity
