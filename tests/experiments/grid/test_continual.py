"""The key `continual` of an optimizer's table: from the study file to the trace."""

from __future__ import annotations

import pytest

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Cell, run_cell
from zerowait.experiments.studies.study import load_study
from zerowait.suite.records.trace import read_trace
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead

TPE = 'name = "optuna-tpe"'
HYPERBAND = 'name = "optuna-hyperband"'


def cell(**more):
    return Cell(
        "random", "ask_tell", "random", "branin", None, "branin", 4, 0, Budget(40), Overhead.none(), {"a": 1}, {},
        {"zerowait": "0.1.0"}, **more,
    )  # fmt: skip


def test_a_cell_that_does_not_say_keeps_the_key_that_it_always_had():
    # The key that version 0.1.0 gave this cell before there was such a thing as `continual`.
    assert cell().key == "ad648e29670c99f1e67578a2a0cd2629"
    assert "continual" not in cell().specification()


def test_a_cell_that_says_has_keys_of_its_own():
    assert len({cell().key, cell(continual=True).key, cell(continual=False).key}) == 3
    assert cell(continual=False).specification()["continual"] is False


@pytest.mark.parametrize(("text", "value"), [("", None), ("continual = true", True), ("continual = false", False)])
def test_the_key_reaches_every_cell_of_the_optimizer(plan, text, value):
    made = plan((TPE, f"{TPE}\n{text}"))
    assert {found.continual for found in made.cells if found.optimizer == "optuna-tpe"} == {value}
    assert {found.continual for found in made.cells if found.optimizer == "random"} == {None}


def test_anything_but_a_boolean_is_refused(study_file):
    with pytest.raises(SpecificationError, match=r"optimizers\[1\].continual is 'yes'; it must be a valid boolean"):
        load_study(study_file((TPE, f'{TPE}\ncontinual = "yes"')))


@pytest.mark.parametrize(("text", "continued"), [("", True), ("continual = true", True), ("continual = false", False)])
def test_the_run_does_what_the_study_says(plan, tmp_path, text, continued):
    # Optuna's Hyperband continues trainings unless it is told not to.
    made = plan((TPE, f"{HYPERBAND}\n{text}"), ("parameters = {n_startup_trials = 4}", ""), ("= 12", "= 40"))
    chosen = next(found for found in made.cells if found.optimizer == "optuna-hyperband")
    folders = CellFolders(tmp_path)
    assert run_cell(chosen, folders).error is None
    trace = read_trace(folders.finished(chosen.key) / "trace.parquet")
    assert trace.attrs["zerowait"]["specification"]["continual"] is continued
    assert trace["resumed_from"].notna().any() == continued


def test_a_pruner_of_a_study_ends_trainings_that_it_continues(plan, tmp_path):
    pruner = "{name = 'median', n_startup_trials = 1, n_warmup_steps = 12}"
    made = plan(("{n_startup_trials = 4}", f"{{pruner = {pruner}}}"), ("max_evaluations = 12", "full_trainings = 4"))
    chosen = next(found for found in made.cells if found.optimizer == "optuna-tpe")
    folders = CellFolders(tmp_path)
    assert run_cell(chosen, folders).error is None
    trace = read_trace(folders.finished(chosen.key) / "trace.parquet")
    epochs = trace.groupby("config_id")["fidelity"].max()
    assert ((epochs > 12) & (epochs < 100)).any()  # Branin's fidelity is 11 to 100
    assert trace["resumed_from"].notna().sum() == len(trace) - len(epochs)
    labels = trace.attrs["zerowait"]["specification"]["labels"]
    assert labels["pruner"] == {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 12}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optuna-tpe", r"optimizers\[1\].*pruner is 'meidan'; it must be one of median, percentile"),
        ("optuna-hyperband", r"optimizers\[1\].*'optuna-hyperband' was given 'pruner'"),
    ],
)
def test_a_pruner_that_cannot_be_is_refused_before_anything_runs(plan, name, message):
    with pytest.raises(SpecificationError, match=message):
        plan((TPE, f'name = "{name}"'), ("{n_startup_trials = 4}", "{pruner = 'meidan'}"))
