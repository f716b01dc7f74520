"""Optuna's pruners, asked after every epoch: against an event queue and a slept run that share no code with it."""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field

import optuna
import pytest
from ConfigSpace import ConfigurationSpace, Float
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, Epochs
from zerowait.benchmarks.protocol import Fidelity
from zerowait.suite import Budget, Overhead
from zerowait.suite.records.check import check
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed

# As a study writes each pruner, and as a script does for 20 epochs. Small, so that 300 reports prune and complete.
PRUNERS = {
    "median": ("median", optuna.pruners.MedianPruner),
    "median after a warm-up": (
        {"name": "median", "n_startup_trials": 2, "n_warmup_steps": 4, "interval_steps": 3},
        lambda: optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=4, interval_steps=3),
    ),
    "percentile": (
        {"name": "percentile", "percentile": 30.0, "n_startup_trials": 2},
        lambda: optuna.pruners.PercentilePruner(30.0, n_startup_trials=2),
    ),
    "successive-halving": (
        {"name": "successive-halving", "reduction_factor": 2},
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    ),
    "successive-halving that guesses": (
        {"name": "successive-halving", "min_resource": "auto"},
        optuna.pruners.SuccessiveHalvingPruner,
    ),
    "hyperband": ("hyperband", lambda: optuna.pruners.HyperbandPruner(max_resource=20)),
}
EPOCHS = 20


def loss(x, y, epoch):
    return (x - 0.3) ** 2 + 0.1 * y + (1.0 + x) / epoch


def seconds(x, y, epoch):
    """Seconds since the start; no two epochs of any two trainings take as long."""
    return (0.5 + x) * epoch + 0.01 * y * epoch**1.5


@dataclass
class Training:
    """Two numbers and 20 epochs, of which the reports of several workers come in any order."""

    fidelity: Fidelity = field(default_factory=lambda: Fidelity("epoch", 1, EPOCHS, integer=True))
    durations: dict = field(default_factory=dict)
    """Seconds since the start by x and epoch, where they were measured."""
    unit: float = 1.0
    label: str = "training"
    name: str = "training"

    @property
    def space(self):
        return ConfigurationSpace(space=[Float("x", (0.0, 1.0)), Float("y", (0.0, 1.0))])

    def __call__(self, config, *, fidelity):
        x, y = config["x"], config["y"]
        took = self.durations.get((x, fidelity)) if self.durations else self.unit * seconds(x, y, fidelity)
        return {"value": loss(x, y, fidelity), "runtime": took}


def rows(trace):
    """Return what a trace says: trial, epoch, loss, start and end, in the order in which results came."""
    ids = trace["config_id"].astype(int)
    return list(zip(ids, trace["fidelity"], trace["value"], trace["start"], trace["end"], strict=True))


def event_queue(pruner, n_workers, seed, n_reports):
    """Do what `n_workers` threads do in the loop of Optuna's documentation, in the order of their reports."""
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=optimizer_seed(seed)), pruner=pruner, study_name="zerowait"
    )
    queue, said, began = [], [], 0

    def begin(now, trial, epoch):
        nonlocal began
        if began == n_reports:
            return
        began += 1
        if trial is None:
            trial = study.ask()
            trial.suggest_float("x", 0.0, 1.0)
            trial.suggest_float("y", 0.0, 1.0)
        x, y = trial.params["x"], trial.params["y"]
        before = seconds(x, y, epoch - 1) if epoch > 1 else 0.0
        heapq.heappush(queue, (now + (seconds(x, y, epoch) - before), now, trial.number, epoch, trial))

    for _ in range(n_workers):
        begin(0.0, None, 1)
    while queue:
        end, start, number, epoch, trial = heapq.heappop(queue)
        value = loss(trial.params["x"], trial.params["y"], epoch)
        said.append((number, float(epoch), value, start, end))
        trial.report(value, epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif epoch == EPOCHS:
            study.tell(trial, value)
        else:
            begin(end, trial, epoch + 1)
            continue
        begin(end, None, 1)
    return said


@pytest.mark.parametrize("n_workers", [1, 5])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_reports_come_in_the_order_of_an_event_queue_that_shares_no_code(run, pruner, n_workers):
    written, make = PRUNERS[pruner]
    trace = run(load("optuna-tpe", pruner=written), Training(), "ask_tell", n_workers, evaluations=300)
    assert rows(trace) == event_queue(make(), n_workers, 3, 300)
    epochs = trace.groupby("config_id")["fidelity"].max()
    assert (epochs == EPOCHS).sum() >= 2
    assert (epochs < EPOCHS).sum() > n_workers  # more than those that the budget cut


def test_a_slept_run_with_threads_is_repeated_report_by_report():
    """Threads sleep; who reports, and what Optuna answers, is one moment of theirs. Whatever a busy machine makes of
    the sleeps is what zerowait is given as the durations, in whole nanoseconds, so that sums are exact."""
    n_workers, n_reports = 4, 120
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=optimizer_seed(3)),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2), study_name="zerowait",
    )  # fmt: skip
    moment, said, durations, began = threading.Lock(), [], {}, 0

    def begin():
        nonlocal began
        began += 1
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        trial.suggest_float("y", 0.0, 1.0)
        return trial

    def work(trial, trial_began):
        nonlocal began
        epoch = 1
        while True:
            x, y = trial.params["x"], trial.params["y"]
            time.sleep((0.5 + x + 0.1 * y) / 1000)
            with moment:
                now = time.perf_counter_ns()
                durations[x, epoch] = float(now - trial_began)
                value = loss(x, y, epoch)
                said.append((trial.number, float(epoch), value))
                trial.report(value, epoch)
                over = True
                if trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                elif epoch == EPOCHS:
                    study.tell(trial, value)
                else:
                    over = False
                if began == n_reports:
                    return
                if over:
                    trial, trial_began, epoch = begin(), now, 1
                else:
                    began, epoch = began + 1, epoch + 1

    trials = [begin() for _ in range(n_workers)]
    started = time.perf_counter_ns()
    threads = [threading.Thread(target=work, args=(trial, started)) for trial in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace = load("optuna-tpe", pruner={"name": "median", "n_startup_trials": 2}).optimize(
        Training(durations=durations), n_workers=n_workers, seed=3, budget=Budget(max_evaluations=n_reports),
        overhead=Overhead.none(), mode="ask_tell",
    )  # fmt: skip
    assert [row[:3] for row in rows(trace)] == said
    assert trace["config_id"].nunique() > n_reports / EPOCHS


@pytest.mark.parametrize("sampler", ["optuna-random", "optuna-tpe", "optuna-cmaes"])
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_threads_and_ask_and_tell_are_the_same_run(run, sampler, pruner):
    options = {"evaluations": 120, "overhead": Overhead.fixed(0.7) if pruner == "median" else Overhead.none()}
    native = run(load(sampler, pruner=pruner), Training(), "native", 4, **options)
    assert_frame_equal(
        native, run(load(sampler, pruner=pruner), Training(), "ask_tell", 4, **options), check_exact=True
    )
    assert len(native) == 120
    assert native.attrs["zerowait"]["idle_releases"] == 0


CLUSTER = Cluster(speeds=(1.0, 3.0, 0.5, 2.0), failures={"probability": 0.05})


def test_failures_and_unequal_workers_stop_trials_in_both_modes_alike(run, tmp_path):
    adapter, options = load("optuna-tpe", pruner="median"), {"evaluations": 150, "cluster": CLUSTER}
    native = run(adapter, Training(), "native", 4, directory=tmp_path / "run", **options)
    assert_frame_equal(native, run(adapter, Training(), "ask_tell", 4, **options), check_exact=True)
    assert check(tmp_path / "run").ok
    assert (native["status"] == "failed").any()
    for _, trial in native.groupby("config_id"):
        assert len(set(trial["worker"])) == 1
        assert "failed" not in trial["status"].tolist()[:-1]


@pytest.mark.parametrize(
    ("sampler", "cluster"),
    [
        ("optuna-tpe", Cluster(arrivals=(0.0, 9.0, 4.0, 30.0))),
        ("optuna-tpe", Cluster(arrivals=(9.0,) * 4)),
        # When a worker leaves, its thread tells Optuna of it while others go on: a model may know it a sample later.
        ("optuna-random", Cluster(arrivals=(0.0, 9.0), departures=(8.0, 20.0, 25.0))),
    ],
)
@pytest.mark.parametrize("pruner", [None, "hyperband"])
def test_workers_that_come_and_go_are_the_same_in_both_modes(run, sampler, cluster, pruner):
    adapter, options = load(sampler, pruner=pruner), {"evaluations": 60, "cluster": cluster}
    native = run(adapter, Training(), "native", 4, **options)
    assert_frame_equal(native, run(adapter, Training(), "ask_tell", 4, **options), check_exact=True)
    assert len(native) == 60


@pytest.mark.parametrize("max_time", [3.0, 25.0])
def test_nothing_is_sampled_for_workers_that_come_after_the_end(run, max_time):
    # The first of four is there at 4 s, the last two at 30 s.
    options = {"budget": Budget(max_time=max_time), "cluster": Cluster(arrivals=(30.0, 9.0, 4.0, 30.0))}
    native = run(load("optuna-tpe", pruner="median"), Training(), "native", 4, **options)
    asked = run(load("optuna-tpe", pruner="median"), Training(), "ask_tell", 4, **options)
    assert_frame_equal(native, asked, check_exact=True)
    assert (len(native) == 0) == (max_time == 3.0)


def test_a_trial_is_charged_epoch_by_epoch_on_its_worker(run, tmp_path):
    trace = run(
        load("optuna-tpe", pruner="median"), Training(), "native", 3, evaluations=200, directory=tmp_path / "run"
    )
    assert check(tmp_path / "run").ok
    for _, trial in trace.groupby("config_id"):
        x, y, epochs = trial["config.x"].iloc[0], trial["config.y"].iloc[0], trial["fidelity"].tolist()
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial["resumed_from"].tolist()[1:] == epochs[:-1]
        assert trial["start"].tolist()[1:] == trial["freed"].tolist()[1:] == trial["end"].tolist()[:-1]
        assert len(set(trial["worker"])) == 1
        assert trial["runtime"].sum() == pytest.approx(seconds(x, y, len(epochs)))


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_a_trial_keeps_its_worker_when_the_time_of_the_sampler_is_measured(run, mode):
    # Epochs of milliseconds: results come while Optuna samples, and several are told before it is asked again.
    short = Training(unit=1e-3)
    trace = run(load("optuna-random", pruner="median"), short, mode, 4, evaluations=150, overhead=Overhead.measured())
    for _, trial in trace.groupby("config_id"):
        assert len(set(trial["worker"])) == 1
        assert trial["freed"].tolist()[1:] == trial["end"].tolist()[:-1]


def test_without_continuation_every_report_is_a_training_from_scratch(run):
    trace = run(load("optuna-random", pruner="median"), Training(), "ask_tell", evaluations=60, continual=False)
    whole = [seconds(*row) for row in zip(trace["config.x"], trace["config.y"], trace["fidelity"], strict=True)]
    assert trace["runtime"].tolist() == whole


def test_reports_are_at_the_epochs_that_there_are(run):
    levels = Fidelity("epoch", 3, 243, integer=True, values=(3.0, 9.0, 27.0, 243.0))
    adapter = load("optuna-random", pruner="successive-halving")
    assert [(rung.fidelity, rung.step) for rung in adapter.rungs(Training(levels))] == [(n, n) for n in (3, 9, 27, 243)]
    trace = run(adapter, Training(levels), "ask_tell", evaluations=40)
    assert set(trace["fidelity"]) == {3.0, 9.0, 27.0, 243.0}


@pytest.mark.parametrize(("lower", "upper", "brackets"), [(1, 27, 4), (1, 52, 4), (5, 52, 3), (1, 243, 6), (0, 9, 3)])
def test_hyperband_has_the_brackets_between_the_first_and_the_last_epoch(lower, upper, brackets):
    pruner = load("optuna-tpe", pruner="hyperband").make_pruner(Training(Fidelity("epoch", lower, upper, integer=True)))
    pruner._try_initialization(None)
    assert (pruner._n_brackets, pruner._min_resource) == (brackets, max(1, lower))


def test_arguments_reach_the_pruner():
    one = load("optuna-tpe", pruner={"name": "hyperband", "max_resource": 9, "min_resource": 3, "reduction_factor": 2})
    pruner = one.make_pruner(Training())
    assert (pruner._max_resource, pruner._min_resource, pruner._reduction_factor) == (9, 3, 2)


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ("mean", "pruner is 'mean'; it must be one of median, percentile, successive-halving, hyperband, or a table"),
        (3, "pruner is 3; it must be one of median, .* such as {name = 'percentile', percentile = 25.0}"),
        ({"percentile": 25.0}, "pruner is {'percentile': 25.0}; it must be one of"),
        ("percentile", "percentile is None; it must be a number of at least 0 and at most 100"),
        ({"name": "median", "percentile": 9}, "the pruner 'median' was given 'percentile'; MedianPruner takes inter"),
        ({"name": "percentile", "percentile": 101.0}, "percentile is 101.0; it must be a number of at least 0"),
        ({"name": "percentile", "percentile": True}, "percentile is True; it must be a number of at least 0"),
        ({"name": "median", "interval_steps": "two"}, "interval_steps is 'two'; it must be an integer of at least 1"),
        ({"name": "median", "n_warmup_steps": 1.5}, "n_warmup_steps is 1.5; it must be an integer of at least 0"),
        ({"name": "successive-halving", "reduction_factor": 2.5}, "reduction_factor is 2.5; it must be an integer"),
        ({"name": "hyperband", "reduction_factor": 1}, "reduction_factor is 1; it must be an integer of at least 2"),
        ({"name": "hyperband", "min_resource": 9, "max_resource": 3}, "max_resource is 3; .* of at least 9"),
    ],
)  # fmt: skip
def test_a_pruner_that_there_is_not_is_refused_in_one_line_when_loading(pruner, message):
    with pytest.raises(SpecificationError, match=message) as error:
        load("optuna-tpe", pruner=pruner)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["random", "optuna-hyperband", "smac-hpo", "dehb"])
def test_an_optimizer_without_pruners_refuses_one(name):
    with pytest.raises(SpecificationError, match=r"given '?pruner"):
        load(name, pruner="median")


def test_a_benchmark_whose_trainings_have_no_epochs_is_refused():
    adapter = load("optuna-tpe", pruner="median")
    assert adapter.refuses(Training()) is None
    assert "has no fidelity" in adapter.refuses(Training(None))
    shares = adapter.refuses(Training(Fidelity("trainsize", 0.05, 1.0, integer=False)))
    assert shares == (
        "the pruner 'median' sees a training after every epoch, and the fidelity 'trainsize' counts none (it goes from "
        "0.05 to 1); optuna-hyperband takes it"
    )
    assert "would see a training 20,001 times" in adapter.refuses(Training(Fidelity("step", 0, 20000, integer=True)))
    assert load("optuna-tpe").refuses(Training(None)) is None


def test_a_pruner_refuses_several_objectives(run):
    with pytest.raises(SpecificationError, match="'optuna-tpe' was given a pruner, which looks at one objective"):
        run(load("optuna-tpe", pruner="median"), Training(), "ask_tell", objectives=["value", "latency"])


@pytest.mark.stress  # the machinery is that of optuna-hyperband, which the kit examines each time
class TestMedian(AdapterConformance):
    benchmark = Bowl(fidelity=Epochs())

    @pytest.fixture
    def adapter(self):
        return load("optuna-tpe", pruner={"name": "median", "n_startup_trials": 1})
