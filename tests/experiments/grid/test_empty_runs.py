"""Studies whose runs delivered nothing, and commands that must leave nothing behind when they refuse."""

from __future__ import annotations

import pytest

import zerowait as package
from zerowait.suite.rules.errors import SpecificationError

STUDY = """
name = "nothing"
workers = [1]
seeds = 2
overhead = "none"
output = "out"
[budget]
max_time = {max_time}
[[optimizers]]
name = "random"
mode = "ask_tell"
[[benchmarks]]
name = "difficult"
tasks = ["pareto-runtime"]
"""


@pytest.fixture
def here(zerowait, tmp_path):
    """Run a study whose budget no training fits into, by its name 'all', or only some, by 'some'."""

    def run(max_time):
        path = tmp_path / "here" / "nothing.toml"
        path.write_text(STUDY.format(max_time=max_time))
        return zerowait("run", path, "--in-process")

    return run


def test_a_study_without_any_result_is_finished_and_every_command_says_so_in_one_line(here, zerowait, tmp_path):
    done = here(0.001)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells are finished" in done.stdout
    assert "figure left out: " in done.stderr
    assert zerowait("status", "nothing.toml").returncode == 0
    for command in (
        ("plot", "out", "worker_timeline"), ("plot", "out", "normalised_regret"), ("plot", "out", "wall_time"),
        ("export", "ioh", "out", "--out", "ioh"),
    ):  # fmt: skip
        failed = zerowait(*command)
        assert failed.returncode == 2, (command, failed.stdout, failed.stderr)
        assert len(failed.stderr.strip().splitlines()) <= 3  # what is left out, and why
        assert "Traceback" not in failed.stderr
    assert zerowait("report", "out").returncode == 0
    assert zerowait("export", "optuna", "nothing.toml", "--out", "runs.db").returncode == 0
    assert zerowait("export", "csv", "out", "--out", "csv").returncode == 0


def test_a_refused_export_leaves_nothing_that_blocks_the_corrected_one(here, zerowait, tmp_path):
    assert here(100_000.0).returncode == 0
    assert zerowait("export", "optuna", "nowhere", "--out", "x.db").returncode == 2
    assert zerowait("export", "csv", "out", "--out", "y", "--column", "nonsense").returncode == 2
    assert not (tmp_path / "here" / "x.db").exists()
    assert not (tmp_path / "here" / "y").exists()
    assert zerowait("export", "optuna", "out", "--out", "x.db").returncode == 0
    assert zerowait("export", "csv", "out", "--out", "y").returncode == 0


def test_a_condition_names_one_column(here, tmp_path):
    assert here(100_000.0).returncode == 0
    with pytest.raises(SpecificationError, match=r"names 'config\.\*', which no run has"):
        package.load_study(tmp_path / "here" / "out", where={"config.*": 1})


def test_a_wrong_assumption_is_said_before_anything_runs(zerowait, tmp_path):
    path = tmp_path / "here" / "nothing.toml"
    path.write_text(STUDY.format(max_time=100.0))
    done = zerowait("run", path, ZEROWAIT_WATTS_PER_WORKER="abc")
    assert done.returncode == 2
    assert "ZEROWAIT_WATTS_PER_WORKER" in done.stderr
    assert not (tmp_path / "here" / "out").exists()
