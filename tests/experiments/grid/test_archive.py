"""An archive holds what decides figures and nothing else, and its runs can be made again to the last bit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import zerowait
from zerowait.experiments.commands.cli import app
from zerowait.experiments.grid.archive import make_archive, verify
from zerowait.experiments.grid.cells import Cell
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.studies.study import load_study
from zerowait.plots.catalogue import figure_kind
from zerowait.plots.studies.loading import load_study as load_for_figures
from zerowait.suite.records import store
from zerowait.suite.records.incumbents import RESULTS
from zerowait.suite.records.store_cells import CELLS_FILE
from zerowait.suite.rules.errors import SpecificationError, TraceError

STUDY = """
name = "tiny"
workers = [1, 3]
seeds = 1
overhead = "none"
mode = "ask_tell"
continual = true
cluster = {stragglers = {half_normal = 0.5}}
budget = {max_evaluations = 22}
optimizers = [{name = "random"}, {name = "hyperband"}]
benchmarks = [{name = "branin"}, {name = "hartmann3", parameters = {noise = false}}]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    file = folder / "tiny.toml"
    file.write_text(STUDY)
    kept = StudyFolder(folder / "runs")
    kept.keep_file(file)
    run_grid("tiny", make_plan(load_study(file), "tiny.toml").cells, kept, InProcess())
    return kept.path


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "archive"
    assert make_archive(study, out) == 8
    return out


@pytest.fixture
def archive(made, tmp_path):
    return shutil.copytree(made, tmp_path / "archive")


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("where", [None, "optimizer=random,P=3", "optimizer=hyperband,benchmark=h*"])
def test_incumbents_of_an_archive_are_those_of_the_study(study, made, result, where):
    ours = zerowait.load_incumbents(made, result=result, where=where)
    assert ours.equals(zerowait.load_incumbents(study, result=result, where=where)[ours.columns])


def test_an_archive_has_few_rows_beside_incumbents_and_of_every_run_what_makes_it_again(study, made):
    of_rules = [zerowait.load_incumbents(study, result=result) for result in RESULTS]
    names = ["optimizer", "benchmark", "n_workers", "run_seed", "evaluation"]
    keys = {tuple(row) for one in of_rules for row in one[names].to_numpy()}
    rows = zerowait.load_study(made, columns=names)
    others = {tuple(row) for row in rows.to_numpy()} - keys
    last = {
        tuple(row) for row in zerowait.load_study(study).groupby(names[:4], observed=True)[names].tail(1).to_numpy()
    }
    assert len(others - last) <= 2 * 2 * 3  # of two benchmarks the least and the greatest by three measures
    assert len(rows) < len(zerowait.load_study(study)) / 2
    cells, before = zerowait.load_cells(made), zerowait.load_cells(study)
    for row in cells.to_dict("records"):
        assert Cell.from_specification(json.loads(row["specification"]), row["benchmark"]).key == row["cell"]
    assert cells.drop(columns="host").equals(before.drop(columns="host"))
    assert cells["host"].isna().all()
    assert (made / "study.toml").read_bytes() == (study / "study.toml").read_bytes()


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("figure", ["normalised_regret", "rank_over_time"])
def test_figures_of_an_archive_are_those_of_the_study(study, made, figure, result):
    kind = figure_kind(figure)
    ours, theirs = (
        kind.make(load_for_figures(folder), look="web", width=None, result=result) for folder in (made, study)
    )
    assert ours.table.equals(theirs.table)


def test_a_figure_of_what_an_archive_has_not_kept_is_refused(made):
    with pytest.raises(
        SpecificationError, match=r"without the columns .*\(an archive has not kept them: draw the study"
    ):
        figure_kind("worker_timeline").make(load_for_figures(made), look="web", width=None)


def test_an_archive_of_a_copied_store_and_of_some_runs(study, made, tmp_path):
    copy = shutil.copytree(study / "store", tmp_path / "store")
    assert make_archive(copy, tmp_path / "again") == 8
    for path in store.partition_paths(made):
        assert (tmp_path / "again" / path.relative_to(made)).read_bytes() == path.read_bytes()
    assert make_archive(study, tmp_path / "some", ["optimizer=random,P=1"]) == 2
    assert set(zerowait.load_cells(tmp_path / "some")["optimizer"]) == {"random"}
    with pytest.raises(SpecificationError, match="is not empty; name a new folder"):
        make_archive(study, tmp_path / "some")
    with pytest.raises(TraceError, match="there is no study in"):
        verify(tmp_path / "none", 1, 0)
    for whole in (study, copy):
        with pytest.raises(
            TraceError, match="has every evaluation and is no archive; make one: zerowait baselines arch"
        ):
            verify(whole, 1, 0)


def test_every_run_is_the_same_when_it_is_made_again(made):
    found = verify(made, 100, 0)
    assert len(found) == 8
    assert {problem for _, problem in found} == {""}


def test_the_sample_depends_on_its_seed_alone(made):
    names = [[name for name, _ in verify(made, 3, seed)] for seed in (5, 5, 6)]
    assert names[0] == names[1] != names[2]
    assert [len(set(one)) for one in names] == [3, 3, 3]


def change(path, column, number, value):
    """Put another value into a row of a file, which is otherwise as it was."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[number] = value(values[number])
    changed = table.set_column(table.column_names.index(column), table.schema.field(column), [values])
    pq.write_table(changed.cast(table.schema), path)


@pytest.mark.parametrize("column", ["end", "full.value", "evaluation"])
def test_one_changed_bit_is_found_and_names_its_run(archive, column):
    path = next(path for path in store.partition_paths(archive) if "hyperband" in str(path))
    run = pq.read_table(path).slice(6, 1).to_pylist()[0]
    change(path, column, 6, lambda x: x + 1 if isinstance(x, int) else float(np.nextafter(x, np.inf)))
    found = [(name, problem) for name, problem in verify(archive, 100, 0) if problem]
    assert len(found) == 1
    assert run["cell"] in found[0][0]
    assert found[0][1] == f"{column} differs"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("runtime", lambda x: float(np.nextafter(x, 0)), "runtime is "),
        ("specification", lambda x: x.replace('"seed": 0', '"seed": 1'), "its specification is that of another run"),
        ("specification", lambda x: x.replace('"mode"', '"mod"'), "this specifies no cell: it lacks 'mode'"),
    ],
)
def test_what_is_said_of_a_run_is_compared_too(archive, column, value, message):
    change(archive / CELLS_FILE, column, 0, value)
    problems = [problem for _, problem in verify(archive, 100, 0)]
    assert problems[0].startswith(message)
    assert problems[1:] == [""] * 7


def test_a_row_that_is_gone_and_a_file_that_is_gone_are_found(archive):
    path = store.partition_paths(archive)[0]
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert any("rows, and" in problem for _, problem in verify(archive, 100, 0))
    path.unlink()
    assert [problem for _, problem in verify(archive, 100, 0)].count("its file is missing") == 2


def test_other_versions_than_those_of_a_run_are_named(archive, monkeypatch):
    monkeypatch.setattr("zerowait.experiments.studies.versions._installed", lambda name: f"other {name}")
    assert all("was planned with" in problem for _, problem in verify(archive, 2, 0))


def test_the_commands_make_an_archive_and_say_what_differs(study, tmp_path):
    out = tmp_path / "archive"
    made = CliRunner().invoke(app, ["baselines", "archive", str(study), "--out", str(out), "--only", "P=1"])
    assert made.exit_code == 0, made.output
    assert made.output.startswith("4 runs, 0.0")
    path = store.partition_paths(out)[0]
    name = pq.read_table(path)["cell"][0].as_py()
    change(path, "value", 0, lambda x: float(np.nextafter(x, np.inf)))
    found = CliRunner().invoke(app, ["baselines", "verify", str(out), "--sample", "4"])
    assert found.exit_code == 1, found.output
    assert f"({name}): value differs\n" in found.output
    assert found.output.endswith("4 runs were made again: 1 differs\n")
