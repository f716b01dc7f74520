"""The command `zerowait`, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.studies.study import load_study
from zerowait.suite import Evaluation, Simulator

WAYS = [pytest.param(("--in-process",), marks=pytest.mark.stress), ("--jobs", "2")]


def only_line(text):
    """Return the one line that a text consists of."""
    (line,) = text.splitlines()
    return line


def refused(done, *parts):
    """Check that a command was refused with one line on standard error that holds these parts."""
    assert done.returncode == 2
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert line.startswith("zerowait: ")
    for part in parts:
        assert str(part) in line


def test_help_names_every_command(zerowait):
    done = zerowait("--help")
    assert done.returncode == 0
    for command in ("run", "list", "plot", "bench"):
        assert f" {command} " in done.stdout
    assert "--in-process" in zerowait("run", "--help").stdout
    assert "--no-peers" in zerowait("bench", "--help").stdout


def test_no_help_has_words_that_the_terminal_takes_for_markup():
    """Brackets are Rich's marks for bold and colours, and vanish with what they hold."""
    from typer.main import get_command

    from zerowait.experiments.commands.cli import app

    def texts(command):
        yield command.help or ""
        yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
        for below in getattr(command, "commands", {}).values():
            yield from texts(below)

    found = list(texts(get_command(app)))
    assert len(found) > 100
    assert not [text for text in found if re.search(r"\[[a-z/#@]", text)]
    # A line that ends within a paragraph would end there in a terminal of any width.
    assert not [text for text in found if re.search(r"[^\n]\n[^\n]", text)]


def test_help_loads_nothing_heavy(zerowait):
    done = zerowait("--help", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"numpy", "pandas", "pyarrow", "pydantic", "dask", "distributed", "matplotlib", "optuna", "ConfigSpace"}
    assert not heavy & imported


def test_the_version_is_told(zerowait):
    from importlib.metadata import version

    assert zerowait("--version").stdout == f"zerowait {version('zerowait')}\n"


@pytest.mark.usefixtures("fragile")
def test_optimizers_and_benchmarks_are_listed_with_what_is_missing(zerowait):
    done = zerowait("list")
    assert done.returncode == 0
    for name in ("random", "optuna-tpe", "branin", "hpobench", "hpolib"):
        assert f"\n{name} " in done.stdout
    optimizers, benchmarks = zerowait("list", "optimizers").stdout, zerowait("list", "benchmarks").stdout
    assert "ask_tell, native" in optimizers
    assert "branin" not in optimizers
    assert "optuna-tpe" not in benchmarks
    assert "blood_transfusion" in zerowait("list", "hpobench").stdout
    refused(zerowait("list", "benchmarks", "nothing"), "nothing that is listed has 'nothing'; list all: zerowait list")


def test_a_listing_is_no_wider_than_the_terminal_and_not_cut_in_a_pipe(zerowait):
    piped = zerowait("list").stdout.splitlines()
    assert not any("..." in line for line in piped)
    assert all(line == line.rstrip() for line in piped)
    assert max(map(len, piped)) <= 80
    wide = zerowait("list", COLUMNS="200").stdout.splitlines()
    assert len(wide) < len(piped) < 100
    assert " ".join(" ".join(wide).split()) == " ".join(" ".join(piped).split())
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'zerowait', 'list']) >> 8)"
    shown = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "COLUMNS": "80", "TERM": "dumb"}, capture_output=True,
        stdin=subprocess.DEVNULL, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(shown) == len(wide)
    assert max(map(len, shown)) <= 80


def test_a_listing_is_filtered_by_words_and_there_for_programs(zerowait):
    found = json.loads(zerowait("list", "--json").stdout)
    named = {kind: [one["name"] for one in entries] for kind, entries in found.items()}
    assert {"random", "hebo"} <= set(named["optimizers"])
    lcbench = next(one for one in found["benchmarks"] if one["name"] == "lcbench")
    assert len(lcbench["tasks"]) == 34
    assert lcbench["ready"] == (lcbench["reason"] is None)
    few = json.loads(zerowait("list", "lcbench", "--json").stdout)
    assert few["optimizers"] == []
    assert "lcbench" in [one["name"] for one in few["benchmarks"]]
    assert "126025" in zerowait("list", "benchmarks", "LCBENCH").stdout


@pytest.mark.usefixtures("fragile")
def test_a_listing_says_how_to_get_missing_data(zerowait, tmp_path):
    plugin = tmp_path / "site" / "fragile_benchmark.py"
    plugin.write_text(plugin.read_text().replace('if task == "absent" else None', 'if task != "good" else None'))
    (line,) = [line for line in zerowait("list", "fragile").stdout.splitlines() if line.startswith("fragile:")]
    assert "the file torn.csv is not there; get it with: fetch torn.csv" in line


@pytest.mark.parametrize("how", WAYS)
def test_a_study_is_run_drawn_and_not_run_again(zerowait, study_file, how):
    path = study_file(output="results/small")
    done = zerowait("run", path, *how)
    assert done.returncode == 0, done.stderr
    counts, speed, saved, modes, pdf, png, csv = done.stdout.splitlines()
    assert counts == "8 of 8 cells are finished (8 now, 0 before)"
    assert modes == "mode ask_tell: random, optuna-tpe"
    assert speed.startswith("simulated ")
    assert speed.endswith(" times faster than waiting")
    assert saved.startswith("not slept: ")
    figures = "results/small/figures/performance_over_time"
    assert [pdf, png, csv] == [f"figure: {figures}.pdf", f"figure: {figures}.png", f"table:  {figures}.csv"]
    for kind in ("pdf", "png", "csv"):
        assert (zerowait.folder / f"{figures}.{kind}").stat().st_size > 0
    assert "8 of 8 cells" in done.stderr
    again = zerowait("run", path, *how)
    assert again.stdout.splitlines()[0] == "8 of 8 cells are finished (0 now, 8 before)"
    drawn = zerowait("plot", "results/small", "--out", "elsewhere")
    assert drawn.returncode == 0
    assert (zerowait.folder / "elsewhere" / "performance_over_time.png").exists()


def test_the_output_goes_where_the_option_says(zerowait, study_file):
    path = study_file(("seeds = 2", "seeds = 1"), output="from-the-file")
    done = zerowait("run", path, "--in-process", "--output", "from-the-option")
    assert done.returncode == 0, done.stderr
    assert (zerowait.folder / "from-the-option" / "study.json").exists()
    assert not (zerowait.folder / "from-the-file").exists()


@pytest.mark.usefixtures("fragile")
def test_failed_cells_are_named_with_the_last_line_of_their_error(zerowait, study_file):
    path = study_file(('"branin"', '"fragile"\ntasks = ["good", "broken"]'), ("seeds = 2", "seeds = 1"))
    done = zerowait("run", path, "--in-process")
    assert done.returncode == 1
    assert done.stdout.startswith("4 of 8 cells are finished")
    assert "performance_over_time.png" in done.stdout
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 4
    assert "failed: random on fragile/broken, 3 workers, seed 0: RuntimeError: the table is torn" in done.stderr
    assert "Traceback" not in done.stderr
    kept = failures[0].rpartition("(")[2].rstrip(")")
    assert "Traceback" in (zerowait.folder / kept).read_text()


@pytest.mark.usefixtures("fragile")
def test_without_a_finished_cell_there_is_no_figure(zerowait, study_file):
    path = study_file(('"branin"', '"fragile"\ntasks = ["broken"]'), ("seeds = 2", "seeds = 1"))
    done = zerowait("run", path, "--in-process")
    assert done.returncode == 1
    finished, modes = done.stdout.splitlines()
    assert finished == "0 of 4 cells are finished (0 now, 0 before)"
    assert modes == "mode ask_tell: random, optuna-tpe"


def test_what_was_skipped_is_said_at_the_end_and_by_status(zerowait, tmp_path):
    rows = [f"{x},{epoch},{x / epoch},{epoch}" for x in (0.1, 0.2) for epoch in (1, 5, 10)]
    (zerowait.folder / "mine.csv").write_text("\n".join(["x,epoch,loss,seconds", *rows]))
    path = tmp_path / "table.toml"
    path.write_text(
        'name = "table"\nworkers = [1]\nseeds = 1\nbudget = {max_evaluations = 2}\n'
        'optimizers = [{name = "random"}, {name = "optuna-hyperband"}]\n[[benchmarks]]\nname = "table"\n'
        'parameters = {path = "mine.csv", params = ["x"], fidelity = "epoch", value = "loss", runtime = "seconds"}\n'
    )
    done = zerowait("run", path, "--in-process")
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert len(said) == 2
    assert said[0] == said[1]
    assert said[0].startswith("skipped: optuna-hyperband on table/mine: the optimizer asks for epoch 3")
    assert zerowait("status", path).stderr.splitlines() == said[:1]


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.usefixtures("fragile")
def test_an_interrupt_ends_a_study_at_once_and_the_next_run_goes_on(zerowait, study_file, tmp_path, how):
    """Ctrl-C reaches every process of the terminal: the command's whole process group."""
    path = study_file(
        ('"branin"', '"fragile"\ntasks = ["slow"]'),
        ("seeds = 2", "seeds = 5"),
        ("max_evaluations = 12", "max_evaluations = 5"),
    )
    cells = CellFolders(tmp_path / "runs" / "cells")
    slow = zerowait.folder / "slow"  # while it is there, the study takes 25 s at least
    slow.touch()
    command = [str(zerowait.command), "run", str(path), *how]
    process = subprocess.Popen(
        command, cwd=zerowait.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: len(cells.finished_keys()) >= 2, "two finished cells")
    group = [p for p in psutil.process_iter() if os.getpgid(p.pid) == process.pid]
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert f"{len(cells.finished_keys())} of 20 cells are finished and kept; continue with: zerowait run {path}" in last
    assert not psutil.wait_procs(group, timeout=300)[1]
    finished = cells.finished_keys()
    assert {entry.name for entry in cells.path.iterdir()} == finished
    assert 2 <= len(finished) < 20
    before = {key: cells.finished(key).stat().st_ino for key in finished}
    slow.unlink()
    done = zerowait("run", path, *how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"20 of 20 cells are finished ({20 - len(finished)} now, {len(finished)} before)")
    assert {key: cells.finished(key).stat().st_ino for key in finished} == before


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('"optuna-tpe"', '"optuna-tep"', ["optimizers[1].name is 'optuna-tep'", "did you mean 'optuna-tpe'?"]),
        ("workers =", "wokers =", ["wokers is not a key", "did you mean 'workers'?"]),
        ("workers = [1, 3]", "workers = [0]", ["workers[0] is 0; it must be greater than 0"]),
        ('name = "small"', "name = small", ["not valid TOML: Invalid value (at line 1, column 8)"]),
        (
            '"branin"',
            '"fragile"\ntasks = ["absent"]',
            ["benchmarks[0]", "the file torn.csv is not there; get it with: fetch torn.csv"],
        ),
    ],
)
@pytest.mark.usefixtures("fragile")
def test_an_error_in_the_file_is_one_line(zerowait, study_file, old, new, parts):
    path = study_file()
    path.write_text(path.read_text().replace(old, new, 1))
    refused(zerowait("run", path), path, *parts)


def test_a_missing_file_is_one_line(zerowait):
    refused(zerowait("run", "none.toml"), "none.toml: there is no such file; give the path of a study file")


def test_a_study_that_comes_with_zerowait_is_named_by_every_command_from_anywhere(zerowait):
    (zerowait.folder / "quickstart").mkdir()  # a folder of that name is no study file
    ran = zerowait("run", "quickstart", "--only", "random,hartmann6,P=1,seed<1", "--in-process")
    assert "1 of 1 cells are finished (1 now, 0 before)" in ran.stdout, ran.stderr
    (zerowait.folder / "quickstart").rmdir()
    assert (zerowait.folder / "runs" / "quickstart" / "study.json").exists()
    assert zerowait("status", "quickstart").returncode == 3
    for command in (["plot"], ["report"], ["export", "csv", "--out", "exported"]):
        done = zerowait(*command, "quickstart")
        assert done.returncode == 0, done.stderr
    page = (zerowait.folder / "runs" / "quickstart" / "report.html").read_text(encoding="utf-8")
    assert "name = &#34;quickstart&#34;" in page  # the page holds the study's file


def test_a_file_in_the_folder_comes_before_the_study_that_comes_with_zerowait(zerowait, study_file):
    study_file(output="mine").rename(zerowait.folder / "quickstart")
    assert "8 cells" in zerowait("run", "quickstart", "--dry-run").stdout


def test_an_output_folder_that_cannot_be_written_to_is_one_line(zerowait, study_file, tmp_path):
    (tmp_path / "file").touch()
    refused(
        zerowait("run", study_file(output=tmp_path / "file" / "x")), tmp_path / "file" / "x", "cannot be written to"
    )
    refused(zerowait("run", study_file(), "--output", tmp_path / "file"), "cannot be written to", "--output")


def test_an_output_folder_without_permission_is_one_line(zerowait, study_file, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(zerowait("run", study_file(output=tmp_path / "locked")), "Permission denied", "--output")


@pytest.fixture(scope="module")
def everything(tmp_path_factory, study_text):
    """Return a folder with a study file, the output of a study, and a run."""
    folder = tmp_path_factory.mktemp("everything")
    (folder / "study").mkdir()
    study = folder / "study" / "study.toml"
    study.write_text(study_text.format(output=folder / "output").replace("seeds = 2", "seeds = 1"))
    cells = make_plan(load_study(study), "study").cells
    run_grid("small", cells, StudyFolder(folder / "output"), InProcess())
    with Simulator(lambda _: Evaluation(0.0, 1.0), n_workers=1, directory=folder / "run") as simulator:
        simulator({"x": 0})
    return folder


FORBIDDEN = {
    "a study file": (["run", "study/study.toml"], "study/study.toml", 0),
    "the folder of a study file": (["run", "study/study.toml"], "study", 0),
    "the output of a study": (["plot", "output"], "output", 0),
    "where the figure would be": (["plot", "output"], "output", 0o500),
    "a study's cells": (["plot", "output"], "output/cells", 0),
    "a study's list of cells": (["plot", "output"], "output/study.json", 0),
    "a trace": (["plot", "output"], "output/cells/*/trace.parquet", 0),
    "a run": (["check", "run"], "run", 0),
    "a run's specification": (["check", "run"], "run/run.json", 0),
    "a run's journal": (["check", "run"], "run/journal", 0),
    "a run's table of slots": (["check", "run"], "run/slots", 0),
    "where a study's next cells would be": (["run", "study/study.toml"], "output/cells", 0o500),
    "a study's lock": (["run", "study/study.toml"], "output/.lock", 0),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_may_not_be_read_or_written_is_one_line(zerowait, everything, what):
    (command, path), name, mode = FORBIDDEN[what]
    forbidden = min(everything.glob(name))
    before = forbidden.stat().st_mode
    forbidden.chmod(mode)
    try:
        done = zerowait(command, everything / path)
    finally:
        forbidden.chmod(before)
    refused(done, "Permission denied", everything / name.split("/")[0])


def test_a_cache_that_may_not_be_written_is_refused_before_the_study(zerowait, study_file, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    path = study_file(('"branin"', '"hpobench"\ntasks = ["vehicle"]'))
    done = zerowait("run", path, ZEROWAIT_CACHE=str(tmp_path / "cache"))
    refused(done, f"{path}: benchmarks[0]", "cannot be stored in", "Permission denied", "ZEROWAIT_CACHE to a folder")
    assert not (tmp_path / "runs").exists()
    listed = zerowait("list", "benchmarks", "hpobench", ZEROWAIT_CACHE=str(tmp_path / "cache"))
    assert listed.returncode == 0
    assert "cannot be stored in" in listed.stdout


def test_contradicting_options_are_one_line(zerowait, study_file):
    refused(zerowait("run", study_file(), "--in-process", "--jobs", "2"), "leave out --jobs")


def test_drawing_what_is_not_there_is_one_line(zerowait, tmp_path):
    refused(zerowait("plot", tmp_path / "nowhere"), "there is no folder", "nowhere")
    refused(zerowait("plot", tmp_path / "here"), "no finished run", "zerowait run STUDY")
