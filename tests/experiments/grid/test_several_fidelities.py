"""A study on a benchmark with several fidelities: run, checked, kept and exported with all of them."""

from __future__ import annotations

import json
import math

import numpy as np
import optuna
import pandas as pd
import pytest
from stores import make_cell

import zerowait as package
from zerowait import benchmarks
from zerowait.experiments.exports.csv import export_csv
from zerowait.experiments.exports.ioh import export_ioh
from zerowait.experiments.exports.optuna import export_optuna
from zerowait.experiments.grid import store
from zerowait.experiments.grid.archive import make_archive
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.grid.study_check import check_study
from zerowait.experiments.studies.study import load_study
from zerowait.plots.studies.loading import load_study as load_figures
from zerowait.suite.rules.errors import SpecificationError

HELD = ('name = "branin"', 'name = "branin"\nparameters = {fidelities = {x1 = 0.25}}')
LABEL = "branin(fidelities={'x1': 0.25})"


@pytest.fixture
def folder(plan, tmp_path):
    made = StudyFolder(tmp_path / "out")
    assert not run_grid("several", plan(HELD).cells, made, InProcess()).failed
    store.update(made.path)
    return made.path


def test_a_study_sets_the_other_fidelities_and_keeps_them_wherever_it_is_read(folder, tmp_path):
    assert check_study(folder).problems == []
    traces = package.load_study(folder)
    assert set(traces["benchmark"]) == {LABEL}
    assert (traces["fidelity.x1"] == 0.25).all()
    assert "config.x1" not in traces
    # What the configuration is worth is asked at the highest of all fidelities; what was seen, at those of the run.
    plain = benchmarks.load("branin")
    for row in traces.sample(5, random_state=0).to_dict("records"):
        x0 = row["config.x0"]
        assert row["full.value"] == plain({"x0": x0, "x1": 1.0}).value
        fidelity = None if math.isnan(row["fidelity"]) else row["fidelity"]
        assert row["value"] == plain({"x0": x0, "x1": 0.25}, fidelity=fidelity).value
    found = package.load_incumbents(folder)
    assert (found["fidelity.x1"] == 0.25).all()
    assert load_figures(folder).highest.keys() == {LABEL}

    written = pd.read_csv(export_csv(folder, tmp_path / "csv")[1])
    assert (written["fidelity.x1"] == 0.25).all()
    assert export_optuna(folder, tmp_path / "s.log", {"optimizer": ["random"], "n_workers": [1]})
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "s.log")))
    names = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=names[0], storage=storage).trials
    assert {trial.user_attrs["fidelity.x1"] for trial in trials} == {0.25}
    export_ioh(folder, tmp_path / "ioh")
    described = [json.loads(path.read_text()) for path in (tmp_path / "ioh").rglob("*.json")]
    assert all("fidelity.x1" in one["attributes"] for one in described)
    assert described


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{fidelities = {x7 = 1.0}}", "'x7' cannot be a fidelity"),
        ("{fidelities = {x1 = 1.5}}", "'x1' is 1.5; it must be a number from 0.0 to 1.0"),
        ('{fidelities = {x1 = "half"}}', "'x1' is 'half'"),
        ("{fidelities = {z = 50}}", "trainings continue along 'z'"),
        ("{fidelities = [1]}", "it must be a mapping"),
    ],
)
def test_bad_fidelities_of_a_study_are_one_line_before_anything_starts(study_file, parameters, message):
    path = study_file((HELD[0], f'name = "branin"\nparameters = {parameters}'))
    with pytest.raises(SpecificationError) as caught:
        make_plan(load_study(path), str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shares", "refused"), [([0.5, 1.0], True), ([0.5, math.nan], True), ([0.5, 0.5], False)])
def test_an_archive_of_runs_that_chose_several_fidelities_is_refused(tmp_path, shares, refused):
    study = tmp_path / "study"
    for seed in range(2):
        columns = {"fidelity.share": np.array([0.5, shares[seed], 0.5]), "config.x": np.zeros(3)}
        make_cell(study, seed=seed, n=3, columns=columns)
    store.update(study)
    if not refused:
        assert make_archive(study, tmp_path / "archive") == 2
        return
    with pytest.raises(SpecificationError, match=r"branin: fidelity\.share has 2 values") as caught:
        make_archive(study, tmp_path / "archive")
    assert "\n" not in str(caught.value)
