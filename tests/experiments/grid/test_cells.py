"""Cells: identity, folders, and what becomes of an attempt."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from zerowait import benchmarks
from zerowait.experiments.grid import cells
from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Outcome, last_line, run_batch, run_cell
from zerowait.experiments.studies.versions import data_of
from zerowait.suite.records.trace import read_trace
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead


@pytest.fixture
def cell(plan):
    return plan().cells[0]


@pytest.fixture
def folders(tmp_path):
    folder = tmp_path / "cells"
    folder.mkdir()
    return CellFolders(folder)


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


def test_a_cell_with_a_wrong_guess_is_not_finished_unless_that_is_accepted(cell, folders, monkeypatch):
    execute = cells.execute

    def with_a_wrong_guess(*arguments):
        trace = execute(*arguments)
        trace.attrs["zerowait"]["wrong_guesses"] = 2
        return trace

    monkeypatch.setattr(cells, "execute", with_a_wrong_guess)
    assert "2 times a free worker was taken to be idle" in run_cell(cell, folders).error
    assert not folders.finished(cell.key).exists()
    monkeypatch.setenv("ZEROWAIT_ACCEPT_WRONG_GUESSES", "1")
    assert run_cell(cell, folders).error is None
    assert folders.finished(cell.key).exists()


def test_the_files_of_a_finished_cell_are_on_disk_before_its_name_and_the_name_before_it_counts(
    cell, folders, disk_calls
):
    at_work = folders.path / f".{cell.key}.0"
    assert run_cell(cell, folders).error is None
    files = {entry.name for entry in folders.finished(cell.key).iterdir()}
    assert files == {"cell.json", "trace.parquet", "trace.measured.json"}
    # Within the attempt's folder a file may be replaced as long as it has not been sent to disk.
    calls = [call for call in disk_calls if call[0] != "replaced"]
    assert calls[-2:] == [("renamed", at_work), ("on disk", folders.path)]
    assert all(what == "replaced" for what, _ in disk_calls[: len(disk_calls) - len(calls)])
    assert sorted(calls[:-2]) == sorted(("on disk", path) for path in (at_work, *(at_work / name for name in files)))


def test_an_attempt_holds_its_lock_until_it_is_finished(cell, folders, monkeypatch):
    """Closing any descriptor of the locked file would release the lock, also one that was only opened to sync it."""
    held = []
    rename = Path.rename

    def noted_rename(path, target):
        code = "import sys; from pathlib import Path; from zerowait.experiments.grid.attempts import is_alive; "
        code += "sys.exit(is_alive(Path(sys.argv[1])))"
        held.append(subprocess.run([sys.executable, "-c", code, path], check=False, timeout=300).returncode)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", noted_rename)
    assert run_cell(cell, folders).error is None
    assert held == [1]


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
    assert text.startswith("ValueError: two\n\nTraceback")
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


def killed_attempt(folders, key):
    """Leave an attempt as a process leaves it that is killed: with its lock released by the kernel."""
    attempt = folders.begin(key)
    (attempt.folder / "journal").touch()
    os.close(attempt.lock)


def test_what_killed_attempts_left_is_swept(cell, folders):
    run_cell(cell, folders)
    killed_attempt(folders, "dead")
    assert folders.leftovers("dead")
    folders.sweep()
    assert names(folders) == [cell.key]
    assert folders.finished_keys() == {cell.key}


def test_a_cell_that_was_killed_once_is_tried_again_and_one_that_was_killed_twice_has_failed(cell, folders):
    killed_attempt(folders, cell.key)
    assert run_cell(cell, folders).error is None
    folders.sweep()
    assert names(folders) == [cell.key]
    other = dataclasses.replace(cell, seed=7)
    killed_attempt(folders, other.key)
    killed_attempt(folders, other.key)
    outcome = run_cell(other, folders)
    assert outcome.error == "the process that ran it died 2 times: it crashed, was killed, or ran out of memory"
    assert folders.failed_keys() == {other.key}
    assert folders.error_line(other.key) == outcome.error


HOLD = """
import sys
from pathlib import Path
from zerowait.experiments.grid.attempts import CellFolders
attempt = CellFolders(Path(sys.argv[1])).begin(sys.argv[2])
print("begun", flush=True)
if sys.stdin.readline() == "finish\\n":
    attempt.finish()
"""


@pytest.fixture
def somebody_else(folders):
    """Begin an attempt at a cell in another process."""
    processes = []

    def begin(key):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folders.path), key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_an_attempt_that_goes_on_is_neither_swept_nor_doubled(cell, folders, somebody_else, monkeypatch):
    process = somebody_else(cell.key)
    assert folders.running_keys() == {cell.key}
    folders.sweep()
    assert folders.running_keys() == {cell.key}
    (attempt,) = folders.leftovers(cell.key)
    shutil.copy(Path(__file__), attempt / "trace.parquet")
    monkeypatch.setattr(cells, "execute", lambda *_: pytest.fail("it was run twice"))
    monkeypatch.setattr("zerowait.suite.records.trace.read_trace", lambda path: pd.DataFrame({"end": [3.0]}))
    waiting = threading.Timer(0.2, lambda: process.communicate("finish\n"))
    waiting.start()
    assert run_cell(cell, folders) == Outcome(cell.key, makespan=3.0)
    waiting.join()
    assert names(folders) == [cell.key]
    assert not (folders.finished(cell.key) / "attempt.lock").exists()


def test_the_death_of_a_process_ends_its_attempt(cell, folders, somebody_else):
    process = somebody_else(cell.key)
    process.kill()
    process.wait()
    assert folders.running_keys() == set()
    assert folders.wait_for_attempts(cell.key) == 1
    assert run_cell(cell, folders).error is None


def test_a_folder_that_a_worker_does_not_share_is_an_error_and_not_a_second_folder(cell, tmp_path):
    with pytest.raises(FileNotFoundError):
        run_cell(cell, CellFolders(tmp_path / "elsewhere" / "cells"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_cell_is_not_run_by_other_versions_than_those_in_its_name(cell, folders):
    other = dataclasses.replace(cell, versions={**cell.versions, "numpy": "0.1"})
    assert (
        f"this process has numpy {cell.versions['numpy']}, and the study was planned with 0.1"
        in run_cell(other, folders).error
    )


def test_a_cell_is_not_run_with_other_data_than_where_it_was_planned(cell, folders, monkeypatch):
    from zerowait.benchmarks.functions.analytic import AnalyticBenchmark

    monkeypatch.setattr(AnalyticBenchmark, "content", "one", raising=False)
    planned = dataclasses.replace(cell, versions={**cell.versions, **data_of(benchmarks.load("branin"))})
    assert run_cell(planned, folders).error is None
    monkeypatch.setattr(AnalyticBenchmark, "content", "two")
    assert planned.key != cell.key
    assert run_cell(dataclasses.replace(planned, seed=7), folders).error == (
        "the data of branin has the digest two here, and the study was planned with one; give every machine the same "
        "files, and restart the workers"
    )


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
