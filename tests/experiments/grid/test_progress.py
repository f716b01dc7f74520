"""What a running study shows, and what not waiting is said to save."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from zerowait.experiments.grid import progress
from zerowait.experiments.grid.cells import Outcome
from zerowait.experiments.grid.energy import Assumptions, Saving, energy, energy_lines, mass, saving
from zerowait.experiments.grid.runner import Summary
from zerowait.suite.rules.errors import SpecificationError


@pytest.fixture
def clock():
    """A clock that stands still unless it is told to go on."""
    return SimpleNamespace(now=100.0)


def run(clock, cells, summary, n, error_at=None, seconds=1.0):
    """Show the beginning of a study and n cells that end one a second, each of an hour of simulated time."""
    with progress.progress(cells, clock=lambda: clock.now) as view:
        view(summary)
        clock.now += 3.0  # processes start
        for i in range(n):
            clock.now += seconds
            error = "it broke" if i == error_at else None
            key = cells[i % len(cells)].key if cells else "key"
            summary.outcomes.append(Outcome(key, 0.0 if error else 3600.0, error, seconds=0.5))
            view(summary)


def test_without_a_terminal_progress_is_a_line_now_and_then(clock, capsys):
    run(clock, [], Summary(total=120, already_finished=20), 100, error_at=49)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "20 of 120 cells"
    assert lines[1] == "22 of 120 cells, 60 cells a minute, 24.0 min simulated a second, about 98.0 s left"
    assert lines[-2] == "117 of 120 cells, 1 failed, 60 cells a minute, 57.6 min simulated a second, about 3.0 s left"
    assert lines[-1] == "120 of 120 cells, 1 failed, 60 cells a minute, 57.7 min simulated a second"
    assert len(lines) == 22


def test_lines_have_no_control_characters(clock, capsys):
    run(clock, [], Summary(total=30, already_finished=0), 30, error_at=3)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x9b]", capsys.readouterr().err)


def test_a_study_of_days_does_not_fill_a_log(clock, capsys):
    run(clock, [], Summary(total=20_000, already_finished=0), 20_000, seconds=10.0)
    assert len(capsys.readouterr().err.splitlines()) < 700


def test_a_study_that_has_nothing_to_do_says_so_in_a_line(clock, capsys):
    run(clock, [], Summary(total=20, already_finished=20), 0)
    assert capsys.readouterr().err == "20 of 20 cells\n"


def test_cells_that_failed_before_are_not_waited_for(clock, capsys):
    run(clock, [], Summary(total=20, already_finished=5, already_failed=["a"] * 5), 10)
    assert capsys.readouterr().err.splitlines()[-1] == "15 of 20 cells, 60 cells a minute, 46.2 min simulated a second"


def test_on_a_terminal_progress_is_a_bar_with_pace_speed_time_left_and_failures(monkeypatch, clock, capsys, plan):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for name, value in {"TERM": "xterm", "FORCE_COLOR": "1", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    cells = plan().cells
    run(clock, cells, Summary(total=8, already_finished=2), 5, error_at=1)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    for part in (
        "7 of 8 cells, 1 failed", "60 cells a minute", "30.0 min simulated a second", "about 1.0 s left",
        "8.0 s elapsed", f"last failure: {cells[1]}: it broke", "(at 10 W a worker)",
    ):  # fmt: skip
        assert part in shown


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch, clock, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    run(clock, [], Summary(total=3, already_finished=0), 3)
    assert capsys.readouterr().err.splitlines()[-1].startswith("3 of 3 cells")


def test_showing_a_cell_costs_the_same_however_many_have_ended(clock):
    class Counted(list):
        copied = 0

        def __getitem__(self, index):
            part = super().__getitem__(index)
            Counted.copied += len(part)
            return part

    summary = Summary(total=1000, already_finished=0, outcomes=Counted())
    run(clock, [], summary, 1000)
    assert Counted.copied == 1000


def test_two_views_are_both_called():
    seen = []
    progress.together(lambda s: seen.append(("a", s)), lambda s: seen.append(("b", s)))("summary")
    assert seen == [("a", "summary"), ("b", "summary")]


def test_what_is_saved_is_the_workers_that_did_not_sleep():
    # 8 workers for 3,600 s at 10 W are 80 Wh; 360 s of computing take 1 Wh off.
    saved = saving(8 * 3600.0, 360.0, Assumptions(10.0, 500.0))
    assert saved == Saving(pytest.approx(0.079), pytest.approx(39.5))
    assert saving(10.0, 20.0, Assumptions()) == Saving(0.0, 0.0)


def test_energy_is_told_with_its_assumption(plan):
    cells = plan(("workers = [1, 3]", "workers = [4]")).cells
    summary = Summary(4, 0, [Outcome(cell.key, 36_000.0, seconds=0.0) for cell in cells])
    assert len(cells) == 4
    (line,) = energy_lines(summary, cells)
    assert line == (
        "not slept: 160.0 worker-hours, 1.6 kWh, 770 g CO2 (assuming 10 W for each waiting worker and 481 g CO2 per "
        "kWh; set ZEROWAIT_WATTS_PER_WORKER and ZEROWAIT_GRAMS_CO2_PER_KWH to yours)"
    )
    assert energy_lines(Summary(4, 4), cells) == []


def test_the_assumption_can_be_set_and_a_mistake_in_it_is_named(monkeypatch):
    monkeypatch.setenv("ZEROWAIT_WATTS_PER_WORKER", "2.5")
    assert Assumptions.of_environment() == Assumptions(2.5, 481.0)
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("ZEROWAIT_GRAMS_CO2_PER_KWH", wrong)
        with pytest.raises(SpecificationError, match=f"ZEROWAIT_GRAMS_CO2_PER_KWH is '{wrong}'; it must be a number"):
            Assumptions.of_environment()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (energy(0.0005), "0.5 Wh"),
        (energy(0.9994), "999 Wh"),
        (energy(12.0), "12 kWh"),
        (energy(1e5), "100 MWh"),
        (energy(1e7), "10,000 MWh"),
        (mass(12.0), "12 g"),
        (mass(3_500_000.0), "3.5 t"),
    ],
)
def test_energy_and_mass_have_the_unit_that_suits_them(text, expected):
    assert text == expected
