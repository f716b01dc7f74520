"""`zerowait table`: what it says of a table, and that what is wrong is one line and exit code 2."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zerowait.experiments.commands.cli import app

TABLE = """lr,units,opt,epoch,val_acc,time_min,note
0.1,16,sgd,1,0.5,1.0,a
0.1,16,sgd,3,,3.0,b
0.0001,64,adam,1,0.6,1.1,
0.0001,64,adam,3,0.65,1.2,
"""
COLUMNS = ["--params", "lr,units", "--params", "opt", "--value", "val_acc", "--runtime", "time_min"]


@pytest.fixture
def shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    Path("mine.csv").write_text(TABLE)

    def show(*arguments):
        done = CliRunner().invoke(app, ["table", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        parts = [line.strip().partition("  ") for line in done.output.splitlines() if line.startswith("  ")]
        return [(word, text.strip()) for word, _, text in parts]

    return show


def test_without_arguments_it_says_what_each_column_holds(shown):
    assert shown("mine.csv") == [
        ("rows", "4"),
        ("lr", "numbers from 0.0001 to 0.1, 2 different: 0.0001, 0.1"),
        ("units", "whole numbers from 16 to 64, 2 different: 16, 64"),
        ("opt", "texts, 2 different: 'adam', 'sgd'"),
        ("epoch", "whole numbers from 1 to 3, 2 different: 1, 3"),
        ("val_acc", "numbers from 0.5 to 0.65, 3 different: 0.5, 0.6, 0.65; empty cells: 1"),
        ("time_min", "numbers from 1 to 3, 4 different: 1, 1.1, 1.2, 3"),
        ("note", "texts, 2 different: 'a', 'b'; empty cells: 2"),
    ]


def test_with_its_columns_it_says_how_the_table_is_understood_and_what_looks_wrong(shown):
    lines = shown("mine.csv", *COLUMNS, "--fidelity", "epoch", "--match", "nearest")
    said = dict(lines)
    assert said["trainings"] == "4, of 2 configurations"
    assert said["parameter units"].endswith("searched as a range of integers")
    assert said["fidelity"] == "epoch from 1 to 3, 2 levels: 1, 3; others are moved to the nearest"
    assert said["value"] == "val_acc, minimised; from 0.5 to 0.65; without a value, hence failed trainings: 1"
    assert said["runtime"].startswith("time_min: seconds since the start of the training; 1.2 s to 3 s at the highest")
    assert said["not used"] == "note"
    doubts = [text for word, text in lines if word == "look at"]
    assert [text.split(",")[0].split(":")[0] for text in doubts] == [
        "'val_acc' is minimised",
        "'time_min' is taken for seconds",
        "lr",
    ]


def test_a_clock_that_hardly_grows_and_a_fidelity_that_is_not_used_are_looked_at(shown):
    text = "a,epoch,loss,s\n" + "".join(f"{a},{z},{a / z},{10 + z / 10}\n" for a in (1, 2) for z in (1, 3, 9))
    Path("mine.csv").write_text(text)
    columns = ("--params", "a", "--value", "loss", "--runtime", "s")
    assert any("give seconds='per_step'" in text for _, text in shown("mine.csv", *columns, "--fidelity", "epoch"))
    assert ("repetitions", "3") in shown("mine.csv", *columns)
    assert any("'epoch' may be the fidelity" in text for _, text in shown("mine.csv", *columns))


def test_the_tables_of_a_study_are_shown(shown):
    Path("study.toml").write_text(
        'name = "s"\nworkers = [1]\nseeds = 1\n[budget]\nmax_evaluations = 5\n[[optimizers]]\nname = "random"\n'
        '[[benchmarks]]\nname = "table"\nparameters = {path = "mine.csv", params = ["lr", "units", "opt"], '
        'value = "val_acc", runtime = "time_min", fidelity = "epoch", match = "nearest", maximize = true}\n'
    )
    assert dict(shown("study.toml"))["value"].startswith("the negative of val_acc, which is maximised")


@pytest.mark.parametrize(
    "content",
    [TABLE.encode() + b"1,2,3\n", gzip.compress(TABLE.encode() * 99, mtime=0)[:60], b"\xff\xfe"],
    ids=["long", "cut", "bytes"],
)
def test_what_is_wrong_is_one_line(tmp_path, content):
    name = "mine.csv.gz" if content[:2] == b"\x1f\x8b" else "mine.csv"
    (tmp_path / name).write_bytes(content)
    for more in ([], COLUMNS):
        done = subprocess.run(
            [sys.executable, "-m", "zerowait", "table", name, *more], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert name in done.stderr
