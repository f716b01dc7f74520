"""Wildcards in the benchmarks of a study, and budgets of optimizers of their own."""

from __future__ import annotations

from statistics import median

import pandas as pd
import pytest

from zerowait import benchmarks
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.studies.reference import SAMPLES, SEED, full_training
from zerowait.experiments.studies.study import load_study
from zerowait.experiments.studies.tasks import choose
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead

HPOBENCH = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")


@pytest.fixture
def chosen(study_file):
    def labels(text):
        return [c.benchmark.label for c in choose(load_study(study_file(('name = "branin"', text))), "study.toml")]

    return labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('name = "hpobench/*"', [f"hpobench/{task}" for task in HPOBENCH]),
        ('name = "hpobench/c*"', ["hpobench/car", "hpobench/credit_g"]),
        ('name = "hpobench"\ntasks = ["?c1", "car"]', ["hpobench/kc1", "hpobench/car"]),
        ('name = "hpobench/car"', ["hpobench/car"]),
        ('name = "hartmann*"', ["hartmann3", "hartmann6"]),
        ('name = "hpo*/[cs]a*"', ["hpobench/car"]),
        ('name = "hpobench/*"\n[[benchmarks]]\nname = "hpobench/car"', None),
    ],
)
def test_wildcards_find_benchmarks_and_tasks(chosen, text, labels):
    found = chosen(text)
    assert len(set(found)) == len(found)
    assert set(found) == set(labels or (f"hpobench/{task}" for task in HPOBENCH))


def test_what_is_written_out_is_taken_from_there_and_not_from_a_wildcard(study_file):
    text = 'name = "hartmann*"\n[[benchmarks]]\nname = "hartmann3"\nparameters = {noise = false}'
    found = choose(load_study(study_file(('name = "branin"', text))), "study.toml")
    assert {c.benchmark.label: dict(c.entry.parameters) for c in found} == {
        "hartmann6": {},
        "hartmann3": {"noise": False},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "zzz*"', "benchmarks[0].name is 'zzz*', which finds no benchmark; allowed: "),
        ('name = "hpobench/z*"', "benchmarks[0].tasks has 'z*', which finds no task of hpobench; allowed: "),
        ('name = "hpobench/cars"', "'cars', which is no task of hpobench; did you mean 'car'?"),
        ('name = "hpo*"', "the key tasks is missing; hpobench has the tasks australian"),
        ('name = "hart*/1"', "benchmarks[0] finds nothing: no benchmark of hartmann3, hartmann6 has tasks like 1"),
        ('name = "hpobench/car"\ntasks = ["car"]', "which names tasks already; leave out tasks, or write name ="),
    ],
)
def test_a_wildcard_that_finds_nothing_is_one_line(study_file, text, message):
    with pytest.raises(SpecificationError) as error:
        choose(load_study(study_file(('name = "branin"', text))), "study.toml")
    assert str(error.value).startswith("study.toml: ")
    assert message in str(error.value)


def test_a_full_training_takes_the_median_of_a_fixed_sample():
    benchmark = benchmarks.load("hpobench", task="car")
    space = benchmarks.load("hpobench", task="car").space
    space.seed(SEED)
    runtimes = [benchmark(dict(c)).runtime for c in space.sample_configuration(SAMPLES)]
    assert full_training(benchmark) == median(runtimes) > 0
    benchmark.space.seed(99)
    assert full_training(benchmark) == median(runtimes)  # whatever has been drawn from its space before


def test_trainings_that_fail_are_no_full_trainings():
    rows = pd.DataFrame({"rate": [1, 2, 3], "loss": [None, None, 0.5], "seconds": [1.0, 2.0, 30.0]})
    benchmark = benchmarks.from_dataframe(rows, params=["rate"], value="loss", runtime="seconds")
    assert full_training(benchmark) == 30.0


def test_an_optimizer_may_have_a_budget_and_an_overhead_of_its_own(plan):
    own = '"optuna-tpe"\nbudget = {full_trainings = 2.5, max_evaluations = 7}\noverhead = {fixed = 1.5}'
    cells = plan(('"optuna-tpe"', own)).cells
    branin = full_training(benchmarks.load("branin"))
    assert {(c.label, c.budget, c.overhead) for c in cells} == {
        ("random", Budget(12), Overhead.none()),
        ("optuna-tpe", Budget(7, 2.5 * branin), Overhead.fixed(1.5)),
    }


def test_of_two_simulated_times_the_earlier_one_counts(plan):
    cells = plan(("max_evaluations = 12", "full_trainings = 1e9\nmax_time = 5")).cells
    assert {c.budget for c in cells} == {Budget(None, 5.0)}


def test_the_study_gives_what_an_optimizer_does_not_say(plan):
    cells = plan(
        ("seeds = 2", 'seeds = 2\nmode = "native"\ncontinual = true'),
        ('"optuna-tpe"', '"optuna-tpe"\ncontinual = false'),
        ('name = "random"\nmode = "ask_tell"', 'name = "random"'),
    ).cells
    assert {(c.label, c.mode, c.continual) for c in cells} == {
        ("random", "native", True),
        ("optuna-tpe", "ask_tell", False),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[budget]\nmax_evaluations = 12", ""), "the key budget is missing; add the table [budget], or give"),
        (('"optuna-tpe"', '"optuna-tpe"\nbudget = {}'), "optimizers[1].budget: it has no max_evaluations, max_time or"),
        (('"optuna-tpe"', '"optuna-tpe"\nbudget = {evals = 1}'), "optimizers[1].budget.evals is not a key"),
        (('"optuna-tpe"', '"optuna-tpe"\noverhead = {fixd = 1}'), "optimizers[1].overhead: fixd is not a key"),
        (
            ("seeds = 2", 'seeds = 2\nmode = "async"'),
            "mode is 'async'; it must be 'native', 'ask_tell' or 'native-simulated'",
        ),
    ],
)
def test_budgets_and_modes_that_cannot_be_used_are_one_line(study_file, change, message):
    path = study_file(change)
    with pytest.raises(SpecificationError) as error:
        make_plan(load_study(path), str(path))
    assert message in str(error.value)


def test_an_optimizer_may_have_workers_seeds_and_benchmarks_of_its_own(plan):
    own = 'name = "random"\nworkers = [2]\nseeds = [7, 1]\nbenchmarks = ["hpobench/c*"]'
    more = '\n[[benchmarks]]\nname = "hpobench"\ntasks = ["car", "kc1"]\n'
    cells = plan(('name = "random"', own), more=more).cells
    random = [(c.benchmark_label, c.n_workers, c.seed) for c in cells if c.label == "random"]
    assert sorted(random) == [("hpobench/car", 2, 1), ("hpobench/car", 2, 7)]
    tpe = {(c.benchmark_label, c.n_workers, c.seed) for c in cells if c.label == "optuna-tpe"}
    assert tpe == {(b, n, s) for b in ("branin", "hpobench/car", "hpobench/kc1") for n in (1, 3) for s in (0, 1)}
    assert [c.seed for c in cells] == sorted((c.seed for c in cells), key=[7, 1, 0].index)  # seed by seed


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("workers = [2, 2]", "optimizers[0].workers has 2 more than once; keep it once"),
        ("workers = []", "optimizers[0].workers is []; it must not be empty"),
        ("seeds = [4, 4]", "optimizers[0].seeds has 4 more than once; keep it once"),
        ("seeds = -1", "optimizers[0].seeds is -1; it must be greater than 0"),
        (
            'benchmarks = ["hartmann*"]',
            "optimizers[0].benchmarks has 'hartmann*', which is no benchmark of the study; ",
        ),
    ],
)
def test_what_an_optimizer_cannot_have_of_its_own_is_one_line(plan, own, message):
    with pytest.raises(SpecificationError) as error:
        plan(('name = "random"', f'name = "random"\n{own}'))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
