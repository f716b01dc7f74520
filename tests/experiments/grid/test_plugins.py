"""An optimizer of the user's own: its source names its cells, and what is wrong with it is said before and after."""

from __future__ import annotations

import json

import pytest

PLUGIN = """\
from zerowait.adapters import Adapter
from zerowait.suite.rules.evaluation import Query


class Own(Adapter):
    name, library, modes = "own", "own-optimizer", frozenset({"ask_tell"})

    def ask_tell(self, run):
        return Asked()


class Asked:
    def __init__(self):
        self.told = 0

    def ask(self):
        value = 0.1 * self.told
        return Query({"x0": value, "x1": 0.5})

    def tell(self, query, evaluation):
        self.told += 1
"""
STUDY = """\
name = "own"
workers = [1]
seeds = 2
overhead = "none"
output = "out"
[budget]
max_evaluations = 4
[[optimizers]]
name = "own"
[[benchmarks]]
name = "branin"
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install the optimizer of another package, and return its file."""
    site = tmp_path / "site"
    info = site / "own_optimizer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-optimizer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zerowait.adapters]\nown = own_optimizer:Own\n")
    (site / "own_optimizer.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site / "own_optimizer.py"


def test_an_edited_optimizer_runs_again_under_the_same_version(zerowait, plugin):
    (zerowait.folder / "s.toml").write_text(STUDY)
    first = zerowait("run", "s.toml", "--in-process")
    assert first.stdout.startswith("2 of 2 cells are finished (2 now, 0 before)"), first.stderr
    again = zerowait("run", "s.toml", "--in-process")
    assert again.stdout.startswith("2 of 2 cells are finished (0 now, 2 before)"), again.stderr
    plugin.write_text(PLUGIN.replace("0.1 * self.told", "0.2 * self.told"))
    edited = zerowait("run", "s.toml", "--in-process")
    assert edited.stdout.startswith("2 of 2 cells are finished (2 now, 0 before)"), edited.stderr
    cells = [json.loads(path.read_text()) for path in zerowait.folder.glob("out/cells/*/cell.json")]
    assert len({cell["versions"]["source of own-optimizer"] for cell in cells}) == 2
    assert {cell["versions"]["own-optimizer"] for cell in cells} == {"1.0"}


@pytest.mark.parametrize("how", ["path", "finder"])
def test_a_further_package_of_an_editable_project_names_the_cells_too(tmp_path, monkeypatch, how):
    from zerowait.experiments.studies import sources

    project, info = tmp_path / "project", tmp_path / "site" / "editable_optimizer-1.0.dist-info"
    (project / "further_package").mkdir(parents=True)
    info.mkdir(parents=True)
    helper = project / "further_package" / "__init__.py"
    helper.write_text("P = 0.7\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editable-optimizer\nVersion: 1.0\n")
    if how == "path":
        (info.parent / "editable.pth").write_text(f"import sys\n{project}\n")
        (info / "RECORD").write_text("editable.pth,,\n")
    else:
        (info / "RECORD").write_text("editable_optimizer-1.0.dist-info/METADATA,,\n")
        (info / "top_level.txt").write_text("further_package\n")
        monkeypatch.syspath_prepend(str(project))
    monkeypatch.syspath_prepend(str(info.parent))
    before = sources._digest.__wrapped__("zerowait", ("editable-optimizer",))
    assert before != sources.UNKNOWN
    helper.write_text("P = 0.1\n")
    assert sources._digest.__wrapped__("zerowait", ("editable-optimizer",)) != before


def test_the_first_error_is_the_one_that_everybody_shows(zerowait, plugin):
    plugin.write_text(PLUGIN.replace("self.told += 1", "self.told = self.told + None"))
    (zerowait.folder / "s.toml").write_text(STUDY)
    tried = zerowait("run", "s.toml", "--dry-run")
    said = "TypeError: unsupported operand type(s) for +: 'int' and 'NoneType'"
    assert tried.returncode == 1
    assert f"will fail: own on branin (2 cells): {said}" in tried.stderr
    ran = zerowait("run", "s.toml", "--in-process")
    looked = zerowait("status", "s.toml")
    for done in (ran, looked):
        assert done.returncode == 1
        assert f"failed: own on branin, 1 worker, seed 0: {said} (" in done.stderr
    texts = [path.read_text() for path in zerowait.folder.glob("out/cells/*.failed/error.txt")]
    assert all(text.startswith(said + "\n\nTraceback") for text in texts)
    assert len(texts) == 2


def test_commands_that_take_a_study_take_its_file_its_folder_and_a_name(zerowait, plugin):
    (zerowait.folder / "s.toml").write_text(STUDY)
    assert zerowait("run", "s.toml", "--in-process").returncode == 0
    # Each command finds what is named by the same function.
    for named, commands in (("s.toml", ("run", "check", "report")), ("out", ("run", "status", "plot"))):
        for command in commands:
            done = zerowait(command, named)
            assert done.returncode == 0, (command, named, done.stderr)
    assert zerowait("export", "csv", "out", "--out", "csv").returncode == 0
    (zerowait.folder / "out").rename(zerowait.folder / "moved")
    assert zerowait("status", "moved").returncode == 0
    assert not (zerowait.folder / "out").exists()
    assert zerowait("status", "quickstart").returncode in (2, 3)  # without data, or with nothing run
    wrong = zerowait("check", "site")
    assert wrong.returncode == 2


def test_a_number_that_is_not_the_benchmarks_is_found(zerowait, plugin):
    from zerowait.suite.records.trace import read_trace, write_trace

    (zerowait.folder / "s.toml").write_text(STUDY)
    assert zerowait("run", "s.toml", "--in-process").returncode == 0
    assert zerowait("check", "out").stdout == "2 cells checked: no problem\n"
    path = min(zerowait.folder.glob("out/cells/*/trace.parquet"))
    trace = read_trace(path)
    trace.loc[1, "full.value"] += 1e-9
    write_trace(trace, path)
    found = zerowait("check", "out")
    assert found.returncode == 1
    assert ": evaluation 1: full.value is " in found.stdout
    assert zerowait("check", path.parent).returncode == 1
