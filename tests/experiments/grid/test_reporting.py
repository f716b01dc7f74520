"""What a run tells the person who started it."""

from __future__ import annotations

import pytest

from zerowait.experiments.grid import reporting
from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Outcome
from zerowait.experiments.grid.runner import Summary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (119.9, "119.9 s"),
        (120.0, "2.0 min"),
        (7200.0, "2.0 h"),
        (3 * 86400.0, "3.0 days"),
        (1e9, "11,574.1 days"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, text):
    assert reporting.duration(seconds) == text


def test_a_summary_counts_cells_and_compares_simulated_with_real_time():
    summary = Summary(3, 1, [Outcome("a", 7200.0), Outcome("b", error="it broke")], wall_time=2.0)
    assert reporting.summary_lines(summary) == [
        "2 of 3 cells are finished (1 now, 1 before)",
        "simulated 2.0 h in 2.0 s: 3,600 times faster than waiting",
    ]
    assert reporting.summary_lines(Summary(3, 3)) == ["3 of 3 cells are finished (0 now, 3 before)"]


def test_many_failures_are_counted_rather_than_listed(plan, tmp_path):
    cells = plan(("seeds = 2", "seeds = 6")).cells
    summary = Summary(24, 0, [Outcome(cell.key, error="it broke") for cell in cells])
    lines = reporting.failure_lines(summary, cells, CellFolders(tmp_path))
    assert len(lines) == 21
    assert lines[0].startswith(f"failed: {cells[0]}: it broke (")
    assert lines[-1] == f"... and 4 more, in {tmp_path}"


def test_a_path_below_the_current_folder_is_shown_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reporting.relative(tmp_path / "a" / "b") == "a/b"
    assert reporting.relative(tmp_path.parent / "b") == str(tmp_path.parent / "b")
