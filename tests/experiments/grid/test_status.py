"""`zerowait status`, `--retry-failed`, `--only` and `--dry-run`, as a user starts them."""

from __future__ import annotations

import os
import re

import pytest

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import run_cell
from zerowait.experiments.grid.estimate import Cost, estimate, rows
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.status import ExitCode, State, status_of
from zerowait.experiments.grid.study_check import check_study
from zerowait.experiments.studies.study import load_study
from zerowait.suite.records.store_cells import read_cell
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import TraceError


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "cells").mkdir()
    return CellFolders(tmp_path / "cells")


def finish(folders, cell):
    assert run_cell(cell, folders).error is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda one, other: one.unlink(), "trace.parquet is missing"),
        (lambda one, other: one.write_bytes(one.read_bytes()[:2000]), "trace.parquet cannot be read: "),
        (lambda one, other: one.write_bytes(b""), "trace.parquet cannot be read: "),
        (lambda one, other: one.write_bytes(other.read_bytes()), "trace.parquet is the trace of another run"),
        (lambda one, other: (one.unlink(), one.symlink_to(other)), "is a link, which is not followed"),
        (lambda one, other: (one.unlink(), os.mkfifo(one)), "is no regular file"),
        (lambda one, other: (one.parent / "cell.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda one, other: (one.parent / "cell.json").write_bytes((other.parent / "cell.json").read_bytes()),
         "cell.json is that of another cell"),
        (lambda one, other: (one.parent / "cell.json").unlink(), "cell.json cannot be read"),
    ],
)  # fmt: skip
def test_a_cell_with_a_missing_cut_or_foreign_trace_is_called_damaged(plan, folders, damage, message):
    cells = plan().cells[:2]
    for cell in cells:
        finish(folders, cell)
    one, other = (folders.finished(cell.key) / "trace.parquet" for cell in cells)
    damage(one, other)
    status = status_of(cells, folders)
    assert list(status.states.values()) == [State.DAMAGED, State.FINISHED]
    assert status.exit_code == ExitCode.SOME_FAILED
    assert message in status.damage[cells[0].key]
    with pytest.raises(TraceError, match="remove the cell's folder and run the study again"):
        read_cell(folders.finished(cells[0].key))
    report = check_study(folders.path.parent)
    assert len(report.problems) == 1
    assert message in report.problems[0]


def test_a_cell_is_finished_running_failed_or_missing(plan, folders):
    cells = plan().cells
    keys = [cell.key for cell in cells]
    assert status_of(cells, folders).exit_code == ExitCode.UNFINISHED
    finish(folders, cells[0])
    folders.begin(keys[1]).fail("it broke\n")
    killed = folders.begin(keys[2])
    os.close(killed.lock)
    status = status_of(cells, folders)
    assert [status.states[key] for key in keys[:3]] == [State.FINISHED, State.FAILED, State.MISSING]
    assert [status.count(state) for state in State] == [1, 0, 1, 0, 6]
    assert status.by_optimizer()["random"] == {State.FINISHED: 1, State.FAILED: 1, State.MISSING: 2}
    assert status.exit_code == ExitCode.SOME_FAILED
    finish(folders, cells[1])  # and what is left of the failure goes
    for cell in cells[2:]:
        finish(folders, cell)
    assert status_of(cells, folders).exit_code == ExitCode.FINISHED


@pytest.mark.usefixtures("fragile")
def test_a_failed_cell_is_shown_left_alone_and_run_again_when_asked(zerowait, study_file, tmp_path):
    path = study_file(('"branin"', '"fragile"\ntasks = ["good", "broken"]'), ("seeds = 2", "seeds = 1"))
    assert zerowait("status", path).returncode == 3
    done = zerowait("run", path, "--in-process", "--only", "random,*broken,P=1")
    assert done.returncode == 1
    assert done.stdout.startswith("0 of 1 cells are finished (0 now")
    found = zerowait("status", path)
    assert found.returncode == 1
    assert found.stdout.split("\n")[-2].split() == ["all", "0", "0", "1", "0", "7", "8"]
    assert "failed: random on fragile/broken, 1 worker, seed 0: RuntimeError: " not in found.stdout
    assert re.match(r"failed: random on fragile/broken, 1 worker, seed 0: .*the table is torn \(", found.stderr)
    done = zerowait("run", path, "--in-process", "--only", "*,*broken,P=1")
    assert done.returncode == 1
    assert "1 cells failed before; run them again with --retry-failed" in done.stderr
    plugin = tmp_path / "site" / "fragile_benchmark.py"
    plugin.write_text(plugin.read_text().replace('if self.task == "broken"', 'if self.task == "mended"'))
    done = zerowait("run", path, "--in-process", "--retry-failed", "--only", "*,*broken,P=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 2 cells are finished (2 now, 0 before)")


def test_a_dry_run_shows_cells_and_time_and_runs_nothing(zerowait, study_file, tmp_path):
    done = zerowait("run", study_file(), "--dry-run", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["optimizer", "benchmark", "tasks", "P=1", "P=3", "cells"]
    assert [line.split() for line in lines[1:3]] == [
        ["random", "branin", "1", "2", "2", "4"],
        ["optuna-tpe", "branin", "1", "2", "2", "4"],
    ]
    assert lines[4] == "8 cells, 0 of them finished"
    assert re.fullmatch(r"random: about [\d.]+ s of one core", lines[5])
    assert re.fullmatch(r"together: about [\d.]+ s on 2 processes \(from short runs: .*\)", lines[7])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("output", ["/dev/null/x", "study.toml", "study.toml/below"])
def test_a_dry_run_says_that_the_output_folder_cannot_be_made(zerowait, study_file, tmp_path, output):
    done = zerowait("run", study_file(), "--dry-run", "--output", output if output[0] == "/" else tmp_path / output)
    assert done.returncode == 1
    assert re.fullmatch(r"the output folder .* cannot be written to \(.*\); choose another .*\n", done.stderr)


def test_whoever_asks_for_some_cells_gets_no_list_of_what_is_skipped_among_the_others(zerowait, study_file):
    # Hyperband chooses budgets, and the packaged tables have none.
    path = study_file(
        ('"optuna-tpe"', '"optuna-hyperband"'), ('"branin"', '"branin"\n\n[[benchmarks]]\nname = "hpobench/c*"')
    )
    every = zerowait("run", path, "--dry-run").stderr.splitlines()
    assert [line.split(":")[0] for line in every] == ["skipped", "skipped"]
    some = zerowait("run", path, "--dry-run", "--only", "random,branin", "--only", "optuna-h*,*/car")
    assert some.returncode == 2  # the second selects nothing; why, is said before
    lines = some.stderr.splitlines()
    assert lines[0].startswith("skipped: optuna-hyperband on hpobench/car: ")
    assert lines[1] == "skipped elsewhere in the study: 1 (benchmarks without data, and pairs that cannot run)"
    assert "no run meets 'optimizer=optuna-h*,benchmark=*/car'" in " ".join(lines[2:])


def test_rows_count_cells_by_optimizer_benchmark_and_workers(plan):
    found = rows(plan(('"branin"', '"hpobench/c*"')).cells)
    assert [(row.optimizer, row.benchmark, row.tasks, row.cells) for row in found] == [
        ("random", "hpobench", 2, {1: 4, 3: 4}),
        ("optuna-tpe", "hpobench", 2, {1: 4, 3: 4}),
    ]


def test_a_run_costs_its_start_and_its_evaluations_which_a_simulated_time_limits():
    cost = Cost(start=1.0, evaluation=0.5, interval=10.0)
    assert cost.seconds(Budget(20)) == 11.0
    assert cost.seconds(Budget(None, 100.0)) == 6.0
    assert cost.seconds(Budget(20, 100.0)) == 6.0


@pytest.mark.usefixtures("fragile")
def test_an_optimizer_that_cannot_be_timed_is_told_and_not_raised(study_file, tmp_path):
    path = study_file(('"branin"', '"fragile"\ntasks = ["broken"]'))
    found = estimate(make_plan(load_study(path), str(path)).cells, tmp_path)
    assert [(one.optimizer, one.seconds, one.problem) for one in found] == [
        ("random", 0.0, "RuntimeError: the table is torn"),
        ("optuna-tpe", 0.0, "RuntimeError: the table is torn"),
    ]
