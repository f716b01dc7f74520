"""Every command that takes a study takes it by its file, by its output folder and by its name."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from zerowait.experiments import verification
from zerowait.experiments.commands import gallery
from zerowait.experiments.commands.cli import app
from zerowait.experiments.studies import shipped

STUDY = """
name = "mine"
output = "made"
workers = [1]
seeds = 2
overhead = {fixed = 1.0}
[budget]
max_evaluations = 4
[[optimizers]]
name = "random"
[[benchmarks]]
name = "branin"
[[benchmarks]]
name = "table"
parameters = {path = "table.csv", params = ["x"], value = "loss", runtime = "seconds"}
"""
COMMANDS = [
    "run {} --in-process", "status {}", "check {}", "plot {} wall_time", "plot made order_match --set reference={}",
    "report {}", "export csv {} --out csv", "export ioh {} --out ioh", "export optuna {} --out storage.log",
    "table {}", "data examine {}", "verify effects --study {}",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    """The folder of a study that has been run, and that comes with zerowait."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ZEROWAIT_CACHE", str(folder / "cache"))
    monkeypatch.setattr(shipped, "_FOLDER", folder)
    if not (folder / "mine.toml").exists():
        (folder / "table.csv").write_text("x,loss,seconds\n" + "".join(f"{i},{i / 7},{i + 1}\n" for i in range(5)))
        (folder / "mine.toml").write_text(STUDY)
        assert CliRunner().invoke(app, ["run", "mine", "--in-process"]).exit_code == 0


@pytest.mark.parametrize("named", ["mine.toml", "made", "mine"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split(" {}")[0])
def test_a_study_is_named_by_file_folder_and_name(folder, monkeypatch, command, named):
    asked = []

    def look(name, request):
        asked.append((name, request.study.name))
        raise typer.Exit

    monkeypatch.setattr(verification, "run", look)
    words = command.replace("--out ", f"--out {named}-").format(named).split()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert asked == ([("effects", "made")] if words[0] == "verify" else [])


@pytest.mark.parametrize("named", ["mine.toml", "made", "mine"])
def test_the_gallery_takes_a_study_in_every_way_too(folder, monkeypatch, named):
    asked = []
    monkeypatch.setattr("zerowait.plots.gallery.write_gallery", lambda study, out: asked.append(study.name) or [])
    command = typer.Typer()
    command.command()(gallery.main)
    assert CliRunner().invoke(command, [named, "out"]).exit_code == 0
    assert asked == ["made"]
