"""Which traces of a folder are a study's."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import zerowait
from zerowait.experiments.commands.cli import app
from zerowait.plots.studies.loading import load_runs, load_study
from zerowait.suite.rules.errors import TraceError


def test_every_trace_below_a_folder_counts(tmp_path, write_trace):
    write_trace(tmp_path / "b" / "deep", [3.0], seed=1)
    write_trace(tmp_path / "a", [2.0, 1.0], seed=0)
    runs = load_runs(tmp_path)
    assert [(run.optimizer, run.benchmark, run.n_workers, run.seed, run.optimum) for run in runs] == [
        ("random", "toy", 1, 0, 0.0),
        ("random", "toy", 1, 1, 0.0),
    ]
    assert runs[0].ends.tolist() == [10.0, 20.0]
    assert runs[0].values.tolist() == [2.0, 1.0]  # noqa: PD011 - a run's, not those of pandas


def test_what_is_unfinished_or_failed_does_not_count(tmp_path, write_trace):
    for name in ("done", ".at-work.1", "broken.failed"):
        write_trace(tmp_path / "cells" / name, [1.0])
    assert len(load_runs(tmp_path)) == 1


def test_a_study_is_what_its_list_says(tmp_path, write_trace, list_cells):
    """Cells of an earlier version of the study stay in the folder and out of the figure."""
    for seed, name in enumerate(("old", "new")):
        write_trace(tmp_path / "cells" / name, [1.0], seed=seed)
    list_cells(tmp_path, {"cells/new": "random on toy", "cells/not-yet-run": "random on toy"})
    assert [run.seed for run in load_runs(tmp_path)] == [1]


def test_a_label_renames_an_optimizer(tmp_path, write_trace):
    write_trace(tmp_path, [1.0], labels={"optimizer": "optuna-tpe", "label": "TPE", "benchmark": "toy"})
    (run,) = load_runs(tmp_path)
    assert run.optimizer == "TPE"
    assert run.optimum is None


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"no folder .*nowhere"):
        load_runs(tmp_path / "nowhere")


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(TraceError, match="run the study first: zerowait run STUDY"):
        load_runs(tmp_path)


def test_a_trace_without_labels_says_which_are_needed(tmp_path, write_trace):
    write_trace(tmp_path, [1.0], labels={"optimizer": "random"})
    with pytest.raises(TraceError, match="need the label 'benchmark'"):
        load_runs(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}'])
def test_a_damaged_list_says_what_to_do(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(TraceError, match=r"is damaged .* run the study again"):
        load_runs(tmp_path)


def test_a_store_and_the_cells_that_it_was_made_from_give_the_same_study(tmp_path):
    study = small_study(tmp_path / "with")
    shutil.copytree(tmp_path / "with" / "cells", tmp_path / "without" / "cells")
    shutil.copy(tmp_path / "with" / "study.json", tmp_path / "without")
    assert (tmp_path / "with" / "store").is_dir()
    for columns in ((), ("end", "value")):
        stored, read = (load_study(tmp_path / name, columns=columns) for name in ("with", "without"))
        assert len(stored) == study
        # What is stored may be of another integer type; the numbers are the same.
        pd.testing.assert_frame_equal(stored.cells, read.cells, check_dtype=False)
        pd.testing.assert_frame_equal(stored.evaluations, read.evaluations, check_dtype=False, check_categorical=False)
        np.testing.assert_array_equal(stored.offsets, read.offsets)
    assert len(load_study(tmp_path / "with", where=["P=2", "seed=0"])) == 2


def small_study(output):
    """Run a study and return how many cells it has."""
    (output.parent / "study.toml").write_text(
        f'name = "small"\noutput = "{output}"\nworkers = [1, 2]\nseeds = 2\noverhead = {{ fixed = 1.0 }}\n'
        '[budget]\nmax_evaluations = 4\n[[optimizers]]\nname = "random"\nmode = "ask_tell"\n'
        '[[benchmarks]]\nname = "branin"\n[[benchmarks]]\nname = "hartmann3"\n'
    )
    done = CliRunner().invoke(app, ["run", str(output.parent / "study.toml"), "--in-process"])
    assert done.exit_code == 0, done.output
    return 8


def test_what_a_study_lists_and_has_not_finished_is_known(tmp_path, write_trace, list_cells):
    write_trace(tmp_path / "cells" / "done", [1.0])
    list_cells(tmp_path, {"cells/done": "random on toy, seed 0", "cells/missing": "random on toy, seed 1"})
    assert load_study(tmp_path).unfinished == ("random on toy, seed 1",)


@pytest.mark.parametrize(
    ("damage", "stored"),
    [*((damage, stored) for damage in ("swapped", "renamed", "pipe", "deep") for stored in (True, False)),
     ("gone", True)],
)  # fmt: skip
def test_whoever_reads_a_study_refuses_the_cells_that_status_calls_damaged(tmp_path, damage, stored):
    study = tmp_path / "study"
    small_study(study)
    if not stored:
        shutil.rmtree(study / "store")
    first, second = sorted((study / "cells").iterdir())[:2]
    if damage == "swapped":
        kept = (first / "trace.parquet").read_bytes()
        shutil.copyfile(second / "trace.parquet", first / "trace.parquet")
        (second / "trace.parquet").write_bytes(kept)
    elif damage == "renamed":
        for old, new in ((first, tmp_path / "kept"), (second, first), (tmp_path / "kept", second)):
            old.rename(new)
    elif damage == "gone":
        (first / "trace.parquet").unlink()
    elif damage == "pipe":
        (first / "trace.parquet").unlink()
        os.mkfifo(first / "trace.parquet")
    else:
        (first / "cell.json").write_text("[" * 100_000)
    said = {"swapped": "is the trace of another run", "renamed": "cell.json is that of another cell",
            "gone": "trace.parquet is missing", "pipe": "is no regular file", "deep": "nested too deeply"}  # fmt: skip
    for read in (load_study, zerowait.load_study, zerowait.load_cells):
        with pytest.raises(TraceError, match=said[damage]) as caught:
            read(study)
        assert "\n" not in str(caught.value)
