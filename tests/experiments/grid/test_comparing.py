"""A study beside an archive: what agrees is compared as if it were one study, and what does not is said."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

import zerowait
from zerowait.experiments.commands.cli import app
from zerowait.experiments.grid.archive import absent, make_archive, trainings, verify
from zerowait.experiments.grid.comparing import compare, match
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.grid.selection import select
from zerowait.experiments.grid.store import update
from zerowait.experiments.studies.study import load_study
from zerowait.plots.catalogue import figure_kind
from zerowait.plots.studies.loading import load_study as load_for_figures
from zerowait.suite.records.incumbents import RESULTS
from zerowait.suite.rules.errors import SpecificationError, TraceError

STUDY = """
name = "tiny"
workers = [1, 3]
seeds = 2
overhead = "none"
mode = "ask_tell"
continual = true
budget = {{max_evaluations = 8}}
optimizers = [{optimizers}]
benchmarks = [{{name = "branin"}}, {{name = "hartmann3", parameters = {{noise = false}}}}]
"""
MINE, RANDOM = '{name = "random", label = "mine"}', '{name = "random"}'
HYPERBAND = '{name = "hyperband", budget = {max_evaluations = 22}}'


def run_study(folder, *optimizers, change=lambda text: text, only=None, finished=None):
    file = folder / "tiny.toml"
    folder.mkdir()
    if finished is not None:
        shutil.copytree(finished / "cells", folder / "runs" / "cells")
    file.write_text(change(STUDY.format(optimizers=", ".join(optimizers))))
    kept = StudyFolder(folder / "runs")
    kept.keep_file(file)
    plan = make_plan(load_study(file), "tiny.toml")
    run_grid("tiny", plan.cells, kept, InProcess(), chosen=plan.cells if only is None else select(plan.cells, only))
    update(kept.path)
    return kept.path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """My study, the archive of others, and the study that has all of them."""
    folder = tmp_path_factory.mktemp("runs")
    whole = run_study(folder / "all", RANDOM, HYPERBAND, MINE)
    make_archive(whole, folder / "kept", ["optimizer=random,hyperband"])
    return run_study(folder / "mine", MINE, finished=whole), folder / "kept", whole


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "both"
    assert compare(runs[0], runs[1], out) == []
    return out


def without_mark(table):
    return table.assign(optimizer=table["optimizer"].astype(str).str.removesuffix(" (kept)"))


@pytest.mark.parametrize("result", RESULTS)
def test_both_stand_together_as_if_they_were_one_study(runs, compared, result):
    ours, whole = (zerowait.load_incumbents(path, result=result) for path in (compared, runs[2]))
    assert set(ours["optimizer"]) == {"mine", "random (kept)", "hyperband (kept)"}
    own = ours["optimizer"].astype(str) == "mine"
    columns = [name for name in ours if name not in ("cell", "optimizer")]
    of_whole = whole["optimizer"].astype(str) == "mine"
    assert ours[own][columns].reset_index(drop=True).equals(whole[of_whole][columns].reset_index(drop=True))
    for name in ("rank_by_workers", "normalised_regret", "win_rates"):
        kind = figure_kind(name)
        tables = [kind.make(load_for_figures(p), result=result).table for p in (compared, runs[2])]
        assert (
            without_mark(tables[0])
            .drop(columns="other", errors="ignore")
            .equals(tables[1].drop(columns="other", errors="ignore"))
        )


def test_training_is_counted_in_full_trainings(runs):
    for place in (runs[2] / "store", runs[1]):
        cells = zerowait.load_cells(place)
        trained = cells["cell"].map(trainings(place))
        assert set(trained[cells["optimizer"] == "random"]) == {8.0}
        one = trained[(cells["optimizer"] == "hyperband") & (cells["n_workers"] == 1)]
        # Brackets of 9, 3 and 1, of 3 and 1, and of 3 on the rungs 11, 33 and 100, and 2 of the next round.
        percent = (9 * 11 + 3 * (33 - 11) + (100 - 33)) + (3 * 33 + (100 - 33)) + 3 * 100 + 2 * 11
        assert list(one) == pytest.approx([percent / 100] * 4, rel=1e-12)


def row(**changes):
    usual = {
        "optimizer": "mine", "name": "lcbench/3945", "parameters": '{clock = "linear"}', "data": "d1", "cluster": "{}",
        "overhead": '{"name": "none", "sampling": "serial"}', "n_workers": 4, "run_seed": 0, "trained": 400.0,
        "evaluations": 400,
    }  # fmt: skip
    return {**usual, **changes}


def table(*rows):
    return pd.DataFrame([{**one, "cell": f"{one['optimizer']}-{i}"} for i, one in enumerate(rows)])


ARCHIVE = table(*(
    row(optimizer=name, n_workers=n, run_seed=seed, trained=trained, evaluations=evaluations)
    for name, trained, evaluations in (("random", 400.0, 400), ("dehb", 378.0, 1000), ("hebo", 128.0, 128))
    for n in (1, 4) for seed in (0, 1, 2)
))  # fmt: skip
HEBO = "hebo (ours): 128 full trainings, and the study's runs have 400; a study with 128 can stand beside it"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "lcbench/1"}, "lcbench/1: ours has no such benchmark; it has 1 benchmark: lcbench/3945"),
        ({"parameters": "{}"}, 'parameters are {}, and {clock = "linear"} in ours; write parameters = {clock = "line'),
        ({"data": "d2"}, "its data differ (digest d2, and d1 in ours); fetch the same: zerowait data fetch"),
        (
            {"overhead": '{"name": "measured", "sampling": "serial"}'},
            'overhead is measured, and none in ours; write overhead = "none"',
        ),
        ({"cluster": "{speeds = [1.0, 0.5]}"}, "cluster is {speeds = [1.0, 0.5]}, and {} in ours; leave out [cluster]"),
        ({"n_workers": 8}, "P = 8: ours has 1, 4; write workers = [1, 4]"),
        ({"run_seed": 7}, "seed = 7: ours has 0 to 2; write seeds = [0, 1, 2]"),
        (
            {"trained": 200.0, "evaluations": 600},
            "mine: its 600 evaluations are 200 full trainings, and ours has 378; write budget = {max_evaluations = 1",
        ),
    ],
)
def test_what_does_not_agree_is_said_with_the_change_that_would_make_it(changes, said):
    found = match(table(row(**changes)), ARCHIVE, "ours")
    assert found.ours == found.theirs == frozenset()
    assert [said in line for line in found.remarks] == [True], found.remarks
    beside = match(table(row(), row(**changes, optimizer="other")), ARCHIVE, "ours")
    assert beside.ours == {"mine-0"}
    assert len(beside.theirs) == 2  # random and dehb, with 4 workers and seed 0
    assert any(said.partition("; write")[0].partition(" evaluations are")[0] in line.replace("other", "mine")
               for line in beside.remarks)  # fmt: skip
    assert HEBO in beside.remarks


@pytest.mark.parametrize(("trained", "agrees"), [(350.0, True), (349.0, False), (432.0, True), (433.0, False)])
def test_equal_training_is_within_an_eighth_for_everybody(trained, agrees):
    found = match(table(row(trained=trained)), ARCHIVE, "ours")
    assert ({f"{name}-{i}" for name, i in (("random", 3), ("dehb", 9))} == found.theirs) == agrees


def test_the_measure_is_with_whom_most_agree():
    found = match(table(row(optimizer="a", trained=128.0), row(optimizer="b", trained=390.0)), ARCHIVE, "ours")
    assert found.ours == {"b-1"}
    assert any(line.startswith("a: its 400 evaluations are 128 full trainings") for line in found.remarks)


def test_where_nothing_agrees_the_command_says_why(runs, tmp_path):
    other = run_study(tmp_path / "other", MINE, change=lambda text: text.replace('"none"', "{fixed = 1.0}"))
    said = CliRunner().invoke(app, ["compare", str(other), "--with", str(runs[1])])
    assert isinstance(said.exception, SpecificationError)
    assert str(said.exception) == (
        "nothing can be compared with kept: branin, hartmann3: overhead is fixed(1.0), and none in kept; "
        'write overhead = "none"'
    )
    assert not (tmp_path / "other" / "runs-with-kept").exists()


def test_a_study_file_that_is_not_there_is_said_to_be_missing_and_one_without_an_archive_to_name_none(runs):
    for study, what in (("no-such.toml", "there is no such file"), (str(runs[0]), "names no archive")):
        said = CliRunner().invoke(app, ["compare", study])
        assert isinstance(said.exception, SpecificationError)
        assert what in str(said.exception)


def test_what_stands_there_is_replaced_if_it_is_a_comparison(runs, tmp_path):
    out = tmp_path / "out"
    compare(runs[0], runs[1], out, "P=1")
    assert set(zerowait.load_cells(out)["n_workers"]) == {1}
    said = compare(runs[0], runs[1], out, "optimizer=random")
    assert set(zerowait.load_cells(out)["optimizer"]) == {"mine", "random (kept)"}
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for other in (runs[0], runs[0] / "store", runs[1]):  # a study, a store and an archive
        before = sorted(other.rglob("*"))
        with pytest.raises(SpecificationError, match="is no comparison; name another folder"):
            compare(runs[0], runs[1], other)
        assert sorted(other.rglob("*")) == before


def test_a_partial_study_is_archived_where_it_is_whole(tmp_path):
    study = run_study(
        tmp_path / "part",
        RANDOM,
        HYPERBAND,
        only=["optimizer=random,seed=0", "optimizer=hyperband,seed=0,benchmark=branin"],
    )
    assert make_archive(study, tmp_path / "whole") == 4
    kept = zerowait.load_cells(tmp_path / "whole")
    assert set(kept[["benchmark", "run_seed"]].itertuples(index=False, name=None)) == {("branin", 0)}
    assert absent(tmp_path / "whole") == ["hyperband: 2 of 8 runs", "random: 2 of 8 runs"]
    tiers = ["optimizer=random", "optimizer=hyperband"]
    assert make_archive(tmp_path / "whole", tmp_path / "part of it", ["optimizer=random"]) == 2
    assert absent(tmp_path / "part of it") == ["hyperband: 0 of 8 runs", "random: 2 of 8 runs"]
    (tmp_path / "whole" / "README.md").touch()
    assert make_archive(study, tmp_path / "whole", tiers, replace=True) == 6  # each tier for itself
    assert (tmp_path / "whole" / "README.md").exists()
    assert set(zerowait.load_study(tmp_path / "whole")["cell"]) == set(zerowait.load_cells(tmp_path / "whole")["cell"])
    with pytest.raises(SpecificationError, match="is not empty; name a new folder"):
        make_archive(study, study / "store", replace=True)
    with pytest.raises(
        SpecificationError, match=r"4 of the 4 runs of 'hyperband,seed=1' are not finished, and no benc"
    ):
        make_archive(study, tmp_path / "none", ["hyperband,seed=1"])
    assert not (tmp_path / "none").exists()


def test_a_comparison_is_no_archive_to_verify(compared):
    with pytest.raises(TraceError, match="is a comparison; verify the archive"):
        verify(compared, 1, 0)


def test_a_new_study_is_like_the_archive_and_can_be_compared_with_it(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, evaluations in (("optuna-random", 8), ("dehb", 24)):
        made = CliRunner().invoke(app, ["new-study", "--like", str(runs[1]), "--optimizer", name])
        assert made.exit_code == 0, made.output
        study = load_study(f"{name}.toml")
        assert (study.workers, study.seeds, study.continual, study.compare) == ([1, 3], 2, True, str(runs[1]))
        assert study.budget_of(study.optimizers[0]).max_evaluations == evaluations
        planned = {(c.benchmark_label, c.n_workers, c.seed) for c in make_plan(study, "").cells}
        cells = zerowait.load_cells(runs[1])[["benchmark", "n_workers", "run_seed"]]
        assert planned == set(cells.itertuples(index=False, name=None))
        early = CliRunner().invoke(app, ["compare", f"{name}.toml"])
        assert str(early.exception).endswith(f"run it first: zerowait run {name}.toml")
    again = CliRunner().invoke(app, ["new-study", "--like", str(runs[1]), "--optimizer", "dehb"])
    assert "dehb.toml is there already" in str(again.exception)
    unknown = CliRunner().invoke(app, ["new-study", "--like", str(runs[1]), "--optimizer", "dehp"])
    named = CliRunner().invoke(
        app, ["new-study", "--like", str(runs[1]), "--optimizer", "dehb", "--out", "my study.toml"]
    )
    assert str(named.exception).startswith("my study.toml: name is 'my study'; it must consist of letters")
    assert not (tmp_path / "my study.toml").exists()
    assert str(unknown.exception).startswith("'dehp' is no optimizer; did you mean 'dehb'?")
