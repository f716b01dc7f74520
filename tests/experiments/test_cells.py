"""Cells: identity, folders, and what becomes of an attempt."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments import cells
from experiments.cells import CellFolders, Outcome, last_line, run_batch, run_cell
from suite.errors import SpecificationError
from suite.evaluation import Budget
from suite.overhead import Overhead
from suite.trace import read_trace


@pytest.fixture
def cell(plan):
    return plan().cells[0]


@pytest.fixture
def folders(tmp_path):
    return CellFolders(tmp_path / "cells")


def names(folders):
    return sorted(entry.name for entry in folders.path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "optuna-random"},
        {"mode": "native"},
        {"label": "RS"},
        {"benchmark": "hartmann3"},
        {"task": "car"},
        {"n_workers": 2},
        {"seed": 7},
        {"budget": Budget(13)},
        {"budget": Budget(12, 3600.0)},
        {"overhead": Overhead.fixed(1.0)},
        {"overhead": Overhead.fixed(1.0, sampling="parallel")},
        {"optimizer_parameters": {"a": 1}},
        {"benchmark_parameters": {"a": 1}},
        {"versions": {"numpy": "0.1"}},
    ],
    ids="-".join,
)
def test_whatever_decides_a_trace_decides_the_key(cell, change):
    assert dataclasses.replace(cell, **change).key != cell.key


def test_the_order_of_parameters_does_not_matter(cell):
    one = dataclasses.replace(cell, optimizer_parameters={"a": 1, "b": 2})
    two = dataclasses.replace(cell, optimizer_parameters={"b": 2, "a": 1})
    assert one.key == two.key


def test_a_finished_cell_is_a_folder_named_by_its_key(cell, folders):
    outcome = run_cell(cell, folders)
    assert names(folders) == [cell.key]
    folder = folders.finished(cell.key)
    assert json.loads((folder / "cell.json").read_text()) == cell.specification()
    trace = read_trace(folder / "trace.parquet")
    assert len(trace) == 12
    assert outcome == Outcome(cell.key, makespan=trace["end"].max())
    assert trace.attrs["zerowait"]["specification"]["labels"] == {
        "optimizer": "random",
        "label": "random",
        "benchmark": "branin",
        "task": None,
        "mode": "ask_tell",
        "optimum": pytest.approx(0.397887, abs=1e-6),
    }


def test_a_finished_cell_is_not_run_again(cell, folders, monkeypatch):
    first = run_cell(cell, folders)
    monkeypatch.setattr(cells, "execute", lambda *_: pytest.fail("it was run again"))
    assert run_cell(cell, folders) == first


def fail(error):
    def execute(_cell, directory):
        (directory / "journal").touch()
        raise error

    return execute


def test_a_failed_cell_keeps_its_files_and_its_error(cell, folders, monkeypatch):
    monkeypatch.setattr(cells, "execute", fail(ValueError("one\ntwo")))
    assert run_cell(cell, folders) == Outcome(cell.key, error="ValueError: two")
    assert names(folders) == [f"{cell.key}.failed"]
    failed = folders.failed(cell.key)
    assert {path.name for path in failed.iterdir()} == {"cell.json", "error.txt", "journal"}
    text = (failed / "error.txt").read_text()
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: one\ntwo\n")


def test_a_second_failure_replaces_the_first_and_success_removes_it(cell, folders, monkeypatch):
    for text in ("first", "second"):
        with monkeypatch.context() as patched:
            patched.setattr(cells, "execute", fail(ValueError(text)))
            run_cell(cell, folders)
    assert "second" in (folders.failed(cell.key) / "error.txt").read_text()
    assert run_cell(cell, folders).error is None
    assert names(folders) == [cell.key]


def test_an_interrupted_cell_leaves_nothing(cell, folders, monkeypatch):
    monkeypatch.setattr(cells, "execute", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, folders)
    assert names(folders) == []


def test_a_cell_that_somebody_else_finishes_meanwhile_is_finished(cell, folders, monkeypatch):
    execute = cells.execute

    def race(cell, directory):
        monkeypatch.setattr(cells, "execute", execute)
        run_cell(cell, folders)
        return execute(cell, directory)

    monkeypatch.setattr(cells, "execute", race)
    assert run_cell(cell, folders).error is None
    assert names(folders) == [cell.key]


def test_a_batch_ends_with_its_time_but_runs_one_cell_at_least(plan, folders):
    small = plan().cells
    assert [outcome.key for outcome in run_batch(small, folders, seconds=0.0)] == [small[0].key]
    assert [outcome.key for outcome in run_batch(small, folders, seconds=1e9)] == [cell.key for cell in small]


def test_what_killed_attempts_left_is_swept(cell, folders):
    run_cell(cell, folders)
    folders.at_work("dead").joinpath("journal").touch()
    assert folders.leftovers("dead")
    folders.sweep()
    assert names(folders) == [cell.key]
    assert folders.finished_keys() == {cell.key}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo\n\n"), "ValueError: two"),
        (ValueError(), "ValueError"),
        (SpecificationError("workers is 0"), "workers is 0"),
    ],
)
def test_a_summary_shows_the_last_line_of_an_error(error, line):
    assert last_line(error) == line
