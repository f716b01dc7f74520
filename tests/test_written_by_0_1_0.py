"""What zerowait 0.1.0 wrote stays readable: a run, a study with its store, and what was exported from it.

`study` is what that version made of `study.toml`, `csv` is its export, and `run` was called by two threads with
continued trainings, a metric, and an objective that fails for x above 0.9.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import zerowait
from zerowait.experiments.commands.cli import app

HERE = Path(__file__).parent / "written_by_0_1_0"


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def study(tmp_path):
    return shutil.copytree(HERE / "study", tmp_path / "study")


def test_a_trace_is_read():
    trace = zerowait.read_trace(HERE / "run" / "trace.parquet")
    assert len(trace) == 24
    assert (trace["status"] == "failed").sum() == 2
    assert trace["resumed_from"].notna().any()
    assert trace["metric.accuracy"].notna().sum() == 22


def test_a_run_passes_the_check_of_today():
    checked = command("check", HERE / "run")
    assert checked.exit_code == 0
    assert "24 records checked: no violation" in checked.output


def test_a_store_and_its_cells_hold_the_same():
    stored = zerowait.load_study(HERE / "study")
    exported = pd.read_csv(HERE / "csv" / "traces.csv", float_precision="round_trip")
    assert len(stored) == len(exported) == 96
    for column in ("end", "value", "runtime", "worker", "config.x0"):
        assert stored[column].tolist() == exported[column].tolist(), column
    cells = zerowait.load_cells(HERE / "study")
    assert sorted(cells["cell"]) == sorted(path.name for path in (HERE / "study" / "cells").iterdir())
    assert set(zerowait.read_trace(next((HERE / "study" / "cells").glob("*/trace.parquet"))).columns) <= set(stored)


def test_an_export_is_the_same_to_the_byte(study, tmp_path):
    done = command("export", "csv", study, "--out", tmp_path / "csv")
    assert done.exit_code == 0, done.output
    for name in ("cells.csv", "traces.csv"):
        assert (tmp_path / "csv" / name).read_bytes() == (HERE / "csv" / name).read_bytes()


def test_figures_and_report_are_drawn_from_it(study, tmp_path):
    assert command("plot", study, "performance_over_time", "--out", tmp_path / "figures").exit_code == 0
    assert command("report", study, "--out", tmp_path / "report.html").exit_code == 0
