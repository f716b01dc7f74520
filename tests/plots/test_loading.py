"""Which traces of a folder are a study's."""

from __future__ import annotations

import pytest

from plots.loading import grouped, load_runs
from suite.errors import TraceError


def test_every_trace_below_a_folder_counts(tmp_path, write_trace):
    write_trace(tmp_path / "b" / "deep", [3.0], seed=1)
    write_trace(tmp_path / "a", [2.0, 1.0], seed=0)
    runs = load_runs(tmp_path)
    assert [(run.optimizer, run.benchmark, run.n_workers, run.seed, run.optimum) for run in runs] == [
        ("random", "toy", 1, 0, 0.0),
        ("random", "toy", 1, 1, 0.0),
    ]
    assert runs[0].ends.tolist() == [10.0, 20.0]
    assert runs[0].values.tolist() == [2.0, 1.0]
    assert list(grouped(runs)) == [("toy", 1, "random")]


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
