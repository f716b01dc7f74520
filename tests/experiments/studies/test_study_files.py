"""The study files that are shipped: each can be planned as far as its data is there, and the paper's grid adds up."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerowait import benchmarks
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.studies.study import load_study
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError

FOLDER = Path(__file__).resolve().parents[3] / "experiments"
FILES = sorted(path.name for path in FOLDER.glob("*.toml"))


def first_task(entry):
    """Return the first task that an entry names; what it says itself where the absent data would list the tasks."""
    (tasks,) = (descriptor.tasks for descriptor in benchmarks.available() if descriptor.name == entry.name)
    return entry.tasks[0] if entry.tasks[0] in tasks or not tasks else tasks[0]


def entries_with_data(study):
    """Return those of a study's benchmarks that can be loaded here, and the names of the others."""
    there, absent = [], []
    for entry in study.benchmarks:
        task = None if entry.tasks is None else first_task(entry)
        try:
            benchmarks.load(entry.name, task=task, **entry.parameters)
        except ZerowaitError:
            absent.append(entry.name)
        else:
            there.append(entry)
    return there, absent


def test_the_studies_of_the_design_are_shipped():
    names = ("baselines", "clocks", "clusters", "figure-6", "paper-fair", "paper", "quickstart", "reference", "scaling")
    assert [f"{name}.toml" for name in names] == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_study_is_planned_as_far_as_its_data_is_there(name):
    study = load_study(FOLDER / name)
    assert study.name == name.removesuffix(".toml")
    there, absent = entries_with_data(study)
    if study.budget is not None and study.budget.full_trainings is not None:  # each task costs a hundred evaluations
        there = [
            entry if entry.tasks is None else entry.model_copy(update={"tasks": [first_task(entry)]}) for entry in there
        ]
    if not there:
        pytest.skip(f"real data: zerowait data fetch {' '.join(absent)}")
    part = study.model_copy(update={"benchmarks": there})
    if absent:  # an optimizer may ask for some of them
        optimizers = [one.model_copy(update={"benchmarks": None}) for one in study.optimizers]
        part = part.model_copy(update={"optimizers": optimizers})
    plan = make_plan(part.model_copy(update={"cluster": None}), name)
    if study.cluster:
        assert len(make_plan(part, name).cells) == len(study.cluster) * len(plan.cells)
    runs = {one.shown_as: len(study.workers_of(one)) * len(study.seeds_of(one)) for one in study.optimizers}
    pairs = {(cell.label, cell.benchmark_label) for cell in plan.cells}
    assert len(plan.cells) == sum(runs[label] for label, _ in pairs)
    assert {label for label, _ in pairs} == {optimizer.shown_as for optimizer in study.optimizers}
    tasks = {cell.benchmark_label for cell in plan.cells}
    everywhere = [one.shown_as for one in part.optimizers if one.benchmarks is None]
    of_these = sum(
        label in everywhere for label in (*(label for label, _ in pairs), *(s.optimizer[0] for s in plan.skipped))
    )
    assert of_these == len(tasks) * len(everywhere)
    if absent:
        with pytest.raises(SpecificationError, match=f"{name}: benchmarks"):
            make_plan(study, name)


def test_the_papers_grid_has_its_optimizers_budgets_and_52_tasks():
    study = load_study(FOLDER / "paper.toml")
    assert {o.shown_as: study.budget_of(o).max_evaluations for o in study.optimizers} == {
        "Random": 2000, "TPE": 200, "HEBO": 200, "HyperBand": 4500, "BOHB": 450, "DEHB": 450, "SMAC3": 450, "NePS": 450,
    }  # fmt: skip
    known = {descriptor.name: descriptor for descriptor in benchmarks.available()}
    tasks = {entry.name: len(known[entry.name].tasks) or 1 for entry in study.benchmarks}
    assert tasks == {"lcbench": 34, "hpobench": 8, "hpolib": 4, "jahs": 3, "branin": 1, "hartmann3": 1, "hartmann6": 1}
    assert sum(tasks.values()) == 52
    runs_of_a_pair = len(study.workers) * len(study.seeds_of(study.optimizers[0]))
    assert len(study.optimizers) * 52 * runs_of_a_pair == 49_920
    # There, SMAC could not be installed beside the surrogates of LCBench and JAHS-Bench-201.
    assert (len(study.optimizers) * 52 - tasks["lcbench"] - tasks["jahs"]) * runs_of_a_pair == 45_480


def test_the_fair_grid_gives_everybody_the_same():
    study = load_study(FOLDER / "paper-fair.toml")
    assert {optimizer.budget for optimizer in study.optimizers} == {None}
    assert study.budget.full_trainings == 50
    assert [o.shown_as for o in study.optimizers] == [o.shown_as for o in load_study(FOLDER / "paper.toml").optimizers]


def test_the_scaling_study_goes_up_to_1024_workers_that_all_have_work():
    study = load_study(FOLDER / "scaling.toml")
    assert max(study.workers) == 1024
    assert study.mode == "ask_tell"
    assert study.budget.max_evaluations >= 4 * 1024
