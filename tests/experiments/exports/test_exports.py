"""Exports: what other tools read is what the traces hold."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import optuna
import pandas as pd
import pytest
from stores import make_cell

import zerowait as package
from zerowait.experiments.exports.csv import export_csv
from zerowait.experiments.exports.ioh import export_ioh
from zerowait.experiments.exports.optuna import EPOCH, export_optuna
from zerowait.experiments.grid import store
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.suite.records.incumbents import incumbents
from zerowait.suite.records.trace import write_trace
from zerowait.suite.rules.errors import SpecificationError, TraceError


@pytest.fixture
def study(plan, tmp_path):
    """Return the folder of a small study with a benchmark of mixed parameters, some of them conditional."""
    more = '[[benchmarks]]\nname = "difficult"\ntasks = ["conditional"]\n'
    planned = plan(("seeds = 2", "seeds = 1"), more=more)
    folder = StudyFolder(tmp_path / "out")
    assert not run_grid("small", planned.cells, folder, InProcess()).failed
    store.update(folder.path)
    return folder.path


def test_csv_reads_back_exactly(study, tmp_path):
    files = export_csv(study, tmp_path / "csv")
    cells, traces = (pd.read_csv(path, float_precision="round_trip") for path in files)
    loaded = package.load_study(study)
    assert list(traces.columns) == list(loaded.columns)
    for column in ("end", "value", "config.x1"):
        np.testing.assert_array_equal(traces[column], loaded[column])
    assert traces["cell"].tolist() == loaded["cell"].tolist()
    assert cells["cell"].tolist() == package.load_cells(study)["cell"].tolist()


def test_csv_has_the_columns_and_runs_that_were_chosen(study, tmp_path):
    where = {"n_workers": [3], "benchmark": ["branin"]}
    cells, traces = (pd.read_csv(path) for path in export_csv(study, tmp_path / "csv", where, ["optimizer", "value"]))
    assert list(traces.columns) == ["optimizer", "value"]
    assert len(cells) == 2
    assert len(traces) == 24


@pytest.mark.parametrize("name", ["study.db", "study.log"])
def test_optuna_opens_every_run_with_its_trials(study, tmp_path, name):
    out = tmp_path / name
    chosen = {"optimizer": ["optuna-tpe"], "n_workers": [3]}
    assert export_optuna(study, out, chosen) == 2
    storage = (
        optuna.storages.RDBStorage(f"sqlite:///{out}")
        if name.endswith(".db")
        else optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out)))
    )
    loaded = package.load_study(study)
    names = optuna.get_all_study_names(storage)
    assert "optuna-tpe | branin | P=3 | seed=0" in names
    assert len(names) == 2
    for study_name in names:
        exported = optuna.load_study(study_name=study_name, storage=storage)
        rows = loaded[loaded["cell"] == exported.user_attrs["cell"]]
        assert exported.user_attrs["n_workers"] == rows["n_workers"].iloc[0]
        assert len(exported.trials) == len(rows) == 12
        for trial, row in zip(exported.trials, rows.to_dict("records"), strict=True):
            assert trial.user_attrs["end"] == row["end"]
            assert (trial.datetime_complete - EPOCH).total_seconds() == pytest.approx(row["end"], abs=1e-6)
            if row["status"] == "ok":
                assert trial.value == row["value"]
            else:
                assert trial.state == optuna.trial.TrialState.FAIL
            for parameter, value in trial.params.items():
                stored = row[f"config.{parameter}"]
                assert str(value) == str(stored) or float(value) == float(stored)
            given = {c for c, v in row.items() if c.startswith("config.") and v is not None and v == v}  # noqa: PLR0124
            assert {f"config.{parameter}" for parameter in trial.params} == given


def test_a_trial_has_the_benchmarks_own_ranges_rather_than_those_observed(study, tmp_path):
    export_optuna(study, tmp_path / "s.log", {"benchmark": ["branin"], "n_workers": [1], "optimizer": ["random"]})
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "s.log")))
    (name,) = optuna.get_all_study_names(storage)
    trial = optuna.load_study(study_name=name, storage=storage).trials[0]
    assert trial.distributions["x1"] == optuna.distributions.FloatDistribution(0.0, 1.0)


def test_an_unknown_benchmark_is_exported_with_the_observed_ranges_and_says_so(tmp_path):
    columns = {
        "config.a": ["u", None, "v"],
        "config.n": [1, 5, 3],
        "config.x": [0.5, 0.25, 1.0],
        "config.b": [True] * 3,
    }
    make_cell(tmp_path, benchmark="mine/task", n=3, columns=columns)
    told = []
    assert export_optuna(tmp_path, tmp_path / "s.db", tell=told.append) == 1
    assert told[0].startswith(
        "mine/task: the ranges of the parameters are those observed, because the benchmark 'mine'"
    )
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 's.db'}")
    assert [trial.params for trial in study.trials] == [
        {"a": "u", "n": 1, "x": 0.5, "b": "True"},
        {"n": 5, "x": 0.25, "b": "True"},
        {"a": "v", "n": 3, "x": 1.0, "b": "True"},
    ]
    with sqlite3.connect(tmp_path / "s.db") as database:
        assert database.execute("select count(*) from trials").fetchone() == (3,)


def read_ioh(out):
    """Read a folder in the format of IOHprofiler as its readers do: {(algorithm, function, instance): rows}."""
    runs, descriptions = {}, []
    for path in sorted(out.glob("*/*.json")):
        data = json.loads(path.read_text())
        descriptions.append(data)
        for scenario in data["scenarios"]:
            text = (path.parent / scenario["path"]).read_text().splitlines()
            starts = [i for i, line in enumerate(text) if line.startswith("evaluations ")] + [len(text)]
            assert len(starts) - 1 == len(scenario["runs"])
            for run, begin, end in zip(scenario["runs"], starts, starts[1:], strict=False):
                assert text[begin].split() == data["attributes"]
                rows = [[float(x) for x in line.split()] for line in text[begin + 1 : end]]
                key = data["algorithm"]["name"], data["function_name"], run["instance"]
                runs[key] = np.array(rows), run, scenario
    return runs, descriptions


def test_ioh_data_has_every_run_with_its_improvements(study, tmp_path):
    assert export_ioh(study, tmp_path / "ioh") == []
    runs, descriptions = read_ioh(tmp_path / "ioh")
    loaded = package.load_study(study)
    assert len(runs) == 8
    assert {d["maximization"] for d in descriptions} == {False}
    assert len({(d["function_id"], d["function_name"]) for d in descriptions}) == 2
    for (algorithm, function, instance), (rows, run, scenario) in runs.items():
        optimizer, workers = algorithm.removesuffix(")").split(" (P=")
        trace = loaded[
            (loaded["optimizer"] == optimizer) & (loaded["benchmark"] == function)
            & (loaded["n_workers"] == int(workers)) & (loaded["run_seed"] == instance - 1)
        ]  # fmt: skip
        values = trace["value"].fillna(np.inf).to_numpy()
        assert rows[0, 0] == 1
        assert rows[-1, 0] == run["evals"] == len(trace)
        for n in range(1, len(trace) + 1):  # the best of n evaluations can be told from the file
            assert rows[rows[:, 0] <= n, 1].min() == values[:n].min()
        assert run["best"]["y"] == values.min()
        np.testing.assert_array_equal(rows[:, 2], trace["end"].to_numpy()[rows[:, 0].astype(int) - 1])
        if function == "branin":
            assert scenario["dimension"] == len(run["best"]["x"]) == 2


def test_another_benchmark_with_parameters_of_the_same_names_changes_nothing(study, tmp_path):
    chosen = {"benchmark": ["difficult/conditional"]}
    exports = {"ioh": export_ioh, "csv": export_csv, "s.log": export_optuna}

    def written(name):
        for file, export in exports.items():
            export(study, tmp_path / name / file, chosen)
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / name / "s.log"))
        )
        trials = {
            study_name: [trial.params for trial in optuna.load_study(study_name=study_name, storage=storage).trials]
            for study_name in optuna.get_all_study_names(storage)
        }
        runs = {run: found["best"]["x"] for run, (_, found, _) in read_ioh(tmp_path / name / "ioh")[0].items()}
        table = pd.read_csv(tmp_path / name / "csv" / "traces.csv", float_precision="round_trip")
        return trials, runs, table.to_dict("list")

    before = written("before")
    texts = {f"config.{name}": ["none", "some"] for name in ("rate", "depth", "strength", "x1")}
    specification = json.loads((study / "study.json").read_text())
    key, _ = make_cell(study, optimizer="other", benchmark="texts", n=2, columns=texts)
    (study / "study.json").write_text(
        json.dumps({**specification, "cells": {**specification["cells"], f"cells/{key}": ""}})
    )
    fresh = written("not stored yet")
    store.update(study)
    for after in (fresh, written("stored")):
        assert after[:2] == before[:2]
        np.testing.assert_equal(after[2], before[2])
    assert all(len(position) == 5 for position in before[1].values())
    assert {number for position in before[1].values() for number in position} > {-1.0}


def test_a_parameter_of_several_types_has_its_numbers_in_ioh(tmp_path):
    make_cell(tmp_path, seed=0, n=1, columns={"config.a": [1], "config.b": ["2"], "config.c": [True]})
    make_cell(tmp_path, seed=1, n=1, columns={"config.a": ["none"], "config.c": ["maybe"]})
    export_ioh(tmp_path, tmp_path / "ioh")
    runs = read_ioh(tmp_path / "ioh")[0]
    assert [run["best"]["x"] for _, run, _ in runs.values()] == [[1.0, 2.0, 1.0], [-1.0, -1.0, -1.0]]
    assert {scenario["dimension"] for *_, scenario in runs.values()} == {3}


def test_an_evaluation_that_failed_is_a_failed_trial_and_no_improvement(tmp_path):
    key, trace = make_cell(tmp_path)
    failed = trace.assign(status=["failed", "ok", "lost", "ok", "failed"])
    failed["value"] = [np.nan, 3.0, np.nan, 1.0, np.nan]
    write_trace(failed, tmp_path / "cells" / key / "trace.parquet")
    export_ioh(tmp_path, tmp_path / "ioh")
    ((rows, run, _),) = read_ioh(tmp_path / "ioh")[0].values()
    assert rows[:, :2].tolist() == [[1, np.inf], [2, 3.0], [4, 1.0], [5, np.inf]]
    assert (run["evals"], run["best"]["evals"], run["best"]["y"]) == (5, 4, 1.0)
    export_optuna(tmp_path, tmp_path / "s.db")
    exported = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 's.db'}")
    assert [trial.state.name for trial in exported.trials] == ["FAIL", "COMPLETE", "FAIL", "COMPLETE", "FAIL"]
    assert [trial.user_attrs["status"] for trial in exported.trials] == failed["status"].tolist()
    assert exported.best_value == 1.0


def test_a_run_without_a_result_is_left_out_and_named(tmp_path):
    make_cell(tmp_path, seed=0)
    key, trace = make_cell(tmp_path, seed=1)
    write_trace(trace.assign(value=np.nan, status="failed"), tmp_path / "cells" / key / "trace.parquet")
    assert export_ioh(tmp_path, tmp_path / "ioh") == ["tpe (P=1) on branin, seed 1"]
    assert len(read_ioh(tmp_path / "ioh")[0]) == 1


@pytest.mark.parametrize("export", [export_csv, export_ioh, lambda s, out: export_optuna(s, out / "s.db")])
def test_what_is_there_is_never_overwritten(tmp_path, export):
    make_cell(tmp_path / "study")
    out = tmp_path / "out"
    out.mkdir()
    (out / "s.db").write_text("mine")
    with pytest.raises(SpecificationError, match="exists already; remove it, or name another place with --out"):
        export(tmp_path / "study", out)
    assert (out / "s.db").read_text() == "mine"


def test_a_choice_that_finds_nothing_is_told_what_there_is(tmp_path):
    make_cell(tmp_path / "study")
    with pytest.raises(SpecificationError, match=r"no run meets 'P=7,seed=0'; there are .*; P 1; seed 0"):
        export_ioh(tmp_path / "study", tmp_path / "out", {"n_workers": [7], "run_seed": [0]})
    with pytest.raises(TraceError, match="there is no study in"):
        export_csv(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(SpecificationError, match=r"does not say which storage it is; end it with \.db"):
        export_optuna(tmp_path / "study", tmp_path / "s.txt")


def test_the_command_exports_what_is_chosen_and_refuses_in_one_line(study, zerowait):
    chosen = ["--where", "P=3,seed=0,optimizer=random", "--where", "benchmark=branin"]
    result = zerowait("export", "optuna", study, "--out", "s.log", *chosen)
    assert (result.returncode, result.stdout) == (0, "1 runs: s.log\n"), result.stderr
    result = zerowait("export", "ioh", study, "--out", "ioh", *chosen)
    assert (result.returncode, result.stdout) == (0, "data: ioh\n"), result.stderr
    (zerowait.folder / "csv").mkdir()
    (zerowait.folder / "csv" / "mine").touch()
    result = zerowait("export", "csv", study, "--out", "csv")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


def test_ioh_data_says_what_recommendations_are_worth(tmp_path):
    fidelities, worth = [1.0, 3.0, 1.0, 3.0, 9.0], [0.5, 0.4, 0.3, 0.2, 0.1]
    _, trace = make_cell(tmp_path, columns={"fidelity": fidelities, "full.value": worth, "full.error": worth[::-1]})
    make_cell(tmp_path, seed=1)  # as version 0.1 wrote it
    export_ioh(tmp_path, tmp_path / "ioh")
    runs, (description,) = read_ioh(tmp_path / "ioh")
    assert description["attributes"] == [
        "evaluations", "raw_y", "simulated_time", "fidelity", "full.error", "full.value"
    ]  # fmt: skip
    rows, other = (runs["tpe (P=1)", "branin", instance][0] for instance in (1, 2))
    at = rows[:, 0].astype(int) - 1
    np.testing.assert_array_equal(rows[:, 5], np.array(worth)[at])
    np.testing.assert_array_equal(rows[:, 4], np.array(worth[::-1])[at])
    assert np.isnan(other[:, 4:]).all()
    changes = incumbents(trace["value"].to_numpy(), np.array(fidelities), "recommended")
    assert set(changes) <= set(at)
