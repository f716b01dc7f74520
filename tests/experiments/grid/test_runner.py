"""The grid runner, in this process."""

from __future__ import annotations

import fcntl
import json

import pytest

from zerowait.experiments.grid import cells
from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.plots.studies.loading import load_runs
from zerowait.suite.rules.errors import RunDirectoryError, SpecificationError


@pytest.fixture
def folder(tmp_path):
    return StudyFolder(tmp_path / "runs")


def run(plan, folder, on_change=None, **options):
    return run_grid(plan.study.name, plan.cells, folder, InProcess(), on_change, **options)


def test_a_study_is_all_of_its_cells(plan, folder):
    small = plan()
    summary = run(small, folder)
    assert (summary.total, summary.finished, summary.already_finished, summary.failed) == (8, 8, 0, [])
    assert folder.cells.finished_keys() == {cell.key for cell in small.cells}
    runs = load_runs(folder.path)
    assert len(runs) == 8
    assert summary.simulated_time == pytest.approx(sum(run.ends.max() for run in runs))
    assert summary.wall_time > 0


def test_finished_cells_are_never_run_again(plan, folder, monkeypatch):
    small = plan()
    run(small, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("cells/**/*")}
    monkeypatch.setattr(cells, "execute", lambda *_: pytest.fail("a cell was run again"))
    summary = run(small, folder)
    assert (summary.already_finished, summary.outcomes) == (8, [])
    assert {path: path.stat().st_mtime_ns for path in folder.path.glob("cells/**/*")} == before


def test_an_interrupted_study_goes_on_where_it_was(plan, folder, monkeypatch):
    small, execute, ran = plan(), cells.execute, []

    def interrupted_at_the_fourth(cell, directory):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(cell.key)
        return execute(cell, directory)

    monkeypatch.setattr(cells, "execute", interrupted_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run(small, folder)
    assert {path.name for path in folder.cells.path.iterdir()} == set(ran)
    again = []
    monkeypatch.setattr(cells, "execute", lambda cell, at: (again.append(cell.key), execute(cell, at))[1])
    summary = run(small, folder)
    assert (summary.already_finished, summary.finished) == (3, 8)
    assert set(again).isdisjoint(ran)


def test_one_failed_cell_never_stops_a_study_and_is_run_again_when_asked(plan, folder, monkeypatch):
    small, execute = plan(), cells.execute
    bad = small.cells[1].key

    def one_fails(cell, directory):
        if cell.key == bad:
            raise ValueError("no such luck")
        return execute(cell, directory)

    with monkeypatch.context() as patched:
        patched.setattr(cells, "execute", one_fails)
        summary = run(small, folder)
    assert summary.finished == 7
    assert [(outcome.key, outcome.error) for outcome in summary.failed] == [(bad, "ValueError: no such luck")]
    assert "no such luck" in (folder.cells.failed(bad) / "error.txt").read_text()
    summary = run(small, folder)
    assert (summary.already_finished, summary.already_failed, summary.outcomes) == (7, [bad], [])
    summary = run(small, folder, retry_failed=True)
    assert (summary.already_finished, summary.finished, summary.failed) == (7, 8, [])
    assert not folder.cells.failed(bad).exists()


def test_progress_is_told_at_the_beginning_and_after_each_cell(plan, folder):
    seen = []
    run(plan(), folder, lambda summary: seen.append((len(summary.outcomes), summary.finished)))
    assert seen == [(n, n) for n in range(9)]


def test_figures_leave_out_what_is_no_longer_in_the_study(plan, folder):
    run(plan(), folder)
    run(plan(("max_evaluations = 12", "max_evaluations = 5")), folder)
    assert len(folder.cells.finished_keys()) == 16
    assert {len(run.trace) for run in load_runs(folder.path)} == {5}


def test_the_list_of_cells_can_be_read_by_people(plan, folder):
    small = plan()
    run(small, folder)
    listing = json.loads((folder.path / "study.json").read_text())
    assert listing["name"] == "small"
    assert listing["cells"][f"cells/{small.cells[0].key}"] == "random on branin, 1 worker, seed 0"


def test_two_at_once_in_one_folder_are_refused(plan, folder):
    folder.create()
    with (folder.path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunDirectoryError, match=r"another zerowait is running .* --output"):
            run(plan(), folder)
    assert run(plan(), folder).finished == 8


def test_an_output_that_cannot_be_a_folder_is_refused(plan, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SpecificationError, match=r"output folder .*file.* cannot be written to .* --output"):
            run(plan(), StudyFolder(path))


def test_a_full_disk_ends_the_study_with_one_error(plan, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CellFolders, "begin", full)
    with pytest.raises(RunDirectoryError, match=r"cannot go on writing .*No space left .* run the same command again"):
        run(plan(), folder)


def test_processes_that_do_not_answer_are_no_fault_of_the_folder(plan, folder):
    class Silent:
        def run(self, cells, folders):
            raise TimeoutError("timed out after 5 s.")
            yield

    with pytest.raises(
        RunDirectoryError, match=r"do not answer \(timed out after 5 s\.\).* run the same command again"
    ):
        run_grid("a study", plan().cells, folder, Silent())
