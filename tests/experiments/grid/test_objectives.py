"""A study of two objectives: planned, run, kept and exported with both; what cannot have them is refused before."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume

import zerowait as package
from zerowait import benchmarks
from zerowait.experiments.exports.optuna import export_optuna
from zerowait.experiments.grid import store
from zerowait.experiments.grid.archive import make_archive
from zerowait.experiments.grid.cells import Cell
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.grid.study_check import check_study
from zerowait.experiments.studies.like import study_like
from zerowait.experiments.studies.study import load_study
from zerowait.plots.report.material import gather
from zerowait.plots.report.report import render
from zerowait.plots.studies.loading import load_study as load
from zerowait.suite.rules.errors import SpecificationError

CONFLICT = '''\
"""A benchmark whose loss and latency contradict each other."""

from zerowait.benchmarks import Family
from zerowait.suite.rules.evaluation import Evaluation


class Conflict:
    name = label = "conflict"
    task, metrics, fidelity, citation, licence, optimum = None, {"latency": "s", "accuracy": "1"}, None, "", "", None

    @property
    def space(self):
        from ConfigSpace import ConfigurationSpace

        return ConfigurationSpace({"x": (0.0, 1.0), "y": (0.0, 1.0)})

    def __call__(self, config, *, fidelity=None, seed=None):
        x, y = config["x"], config["y"]
        return Evaluation(x + y / 4, 1.0 + x, {"latency": (1 - x) ** 2 + y, "accuracy": 1 - x})


FAMILY = Family("conflict", "contradicts itself", Conflict)
'''
TWO = (('"branin"', '"conflict"'), ("seeds = 2", 'seeds = 2\nobjectives = ["-accuracy", "latency"]'))


@pytest.fixture
def two(install, plan):
    install("conflict", CONFLICT)
    return lambda *more: plan(*TWO, *more)


def test_a_cell_has_the_objectives_of_its_study_and_one_without_keeps_its_name(two, plan):
    cells = two().cells
    assert {cell.objectives for cell in cells} == {("-accuracy", "latency")}
    assert Cell.from_specification(cells[0].specification(), cells[0].benchmark_label) == cells[0]
    assert "objectives" not in plan().cells[0].specification()


def test_what_was_run_says_its_objectives_wherever_it_is_read(two, tmp_path):
    folder = StudyFolder(tmp_path / "out")
    assert not run_grid("two", two().cells, folder, InProcess()).failed
    assert check_study(folder.path).problems == []
    store.update(folder.path)
    traces, cells = package.load_study(folder.path), package.load_cells(folder.path)
    assert traces["metric.latency"].notna().all()
    assert {tuple(json.loads(text)["objectives"]) for text in cells["specification"]} == {("-accuracy", "latency")}
    with pytest.raises(SpecificationError, match="a run has the objectives -accuracy, latency, and an archive keeps"):
        make_archive(folder.path, tmp_path / "archive")
    text = study_like(cells.assign(trained=cells["evaluations"]), "archive", ["optuna-nsga2"], "mine")
    assert 'objectives = ["-accuracy", "latency"]' in text

    export_optuna(folder.path, tmp_path / "s.log", {"optimizer": ["random"], "n_workers": [1]})
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "s.log")))
    study = optuna.load_study(study_name="random | conflict | P=1 | seed=0", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    of = traces[(traces["optimizer"] == "random") & (traces["n_workers"] == 1) & (traces["run_seed"] == 0)]
    assert [trial.values for trial in study.trials] == of[["metric.accuracy", "metric.latency"]].to_numpy().tolist()


@pytest.mark.parametrize(("old", "new", "message"), [
    ('["-accuracy", "latency"]', '["value", "size"]', "objectives has 'size', which conflict does not give"),
    ('["-accuracy", "latency"]', '["value"]', "objectives is ['value'] of type list; it must be at least two"),
    ('["-accuracy", "latency"]', '"latency"', "objectives is 'latency'; "),
    ('"optuna-tpe"', '"optuna-cmaes"', "'optuna-cmaes' takes one objective, and objectives has 2"),
    ('"optuna-tpe"', '"bohb"', "'bohb' takes one objective, and objectives has 2"),
])  # fmt: skip
def test_bad_objectives_of_a_study_are_one_line_before_anything_starts(study_file, install, old, new, message):
    install("conflict", CONFLICT)
    path = study_file(*TWO, (old, new), ("parameters = {n_startup_trials = 4}", ""))
    with pytest.raises(SpecificationError) as caught:
        make_plan(load_study(path), str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.stress
def test_a_study_of_error_and_memory_on_yahpo_has_its_report(plan, tmp_path):
    reason = next(family.reason for family in benchmarks.available() if family.name == "rbv2_rpart")
    if reason is not None:
        pytest.skip(reason)
    objectives = ("seeds = 2", 'seeds = 2\nobjectives = ["-acc", "memory"]')
    planned = plan(objectives, ('"branin"', '"rbv2_rpart"\ntasks = ["40981"]'))
    folder = StudyFolder(tmp_path / "out")
    assert not run_grid("two", planned.cells, folder, InProcess()).failed
    store.update(folder.path)
    study = load(folder.path)
    assert study.objectives == ("-acc", "memory")
    # An independent library, from the store's own columns.
    traces = package.load_study(folder.path)
    values = traces[["full.acc", "full.memory"]].to_numpy() * (-1, 1)
    scaled = (values - values.min(axis=0)) / (values.max(axis=0) - values.min(axis=0))
    judged = study.judged()
    of_runs = traces.groupby(["n_workers", "optimizer", "run_seed"], observed=True).indices
    for run in judged.runs():
        points = scaled[of_runs[run.n_workers, run.optimizer, run.seed]]
        assert 1 - run.values[-1] == pytest.approx(compute_hypervolume(points, np.ones(2)), rel=1e-12)
    page = render(gather(folder.path))
    for text in ("Attained fronts", "the hypervolume of what was delivered", "acc (maximised)"):
        assert text in page
