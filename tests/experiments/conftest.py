"""Small studies, and a benchmark that misbehaves on demand."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.studies.study import load_study

STUDY = """\
name = "small"
workers = [1, 3]
seeds = 2
overhead = "none"
output = "{output}"

[budget]
max_evaluations = 12

[[optimizers]]
name = "random"
mode = "ask_tell"

[[optimizers]]
name = "optuna-tpe"
mode = "ask_tell"
parameters = {{n_startup_trials = 4}}

[[benchmarks]]
name = "branin"
"""

FRAGILE = '''\
"""A benchmark whose tasks fail in different ways, each while a cell runs and not before."""

import os
import signal
import time

from zerowait.benchmarks import Family
from zerowait.suite.rules.evaluation import Evaluation


class Fragile:
    name, metrics, fidelity, citation, licence = "fragile", {}, None, "", ""

    def __init__(self, task):
        self.task, self.label = task, f"fragile/{task}"

    @property
    def space(self):
        from ConfigSpace import ConfigurationSpace

        return ConfigurationSpace({"x": (0.0, 1.0)})

    @property
    def optimum(self):
        if self.task == "broken":
            raise RuntimeError("the first line\\nthe table is torn")
        if self.task == "quitting":
            raise SystemExit("a library called sys.exit")
        if self.task == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    def __call__(self, config, *, fidelity=None, seed=None):
        if self.task == "slow" and os.path.exists("slow"):
            time.sleep(0.5)
        return Evaluation(float(config["x"]), 1.0)


def missing(task):
    return "the file torn.csv is not there; get it with: fetch torn.csv" if task == "absent" else None


FAMILY = Family(
    "fragile", "fails on demand", Fragile, ("good", "broken", "quitting", "deadly", "slow", "absent"), "a file", missing
)
'''


@pytest.fixture(scope="session")
def study_text():
    """Return the small study as text, with its output folder left open."""
    return STUDY


@pytest.fixture
def study_file(tmp_path):
    """Write a study file: the small study, with replacements and with more text."""

    def write(*replacements, more="", name="study.toml", output=None):
        text = STUDY.format(output=output or tmp_path / "runs")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text + more)
        return path

    return write


@pytest.fixture
def plan(study_file):
    """Return the study and the cells of a study file."""

    def make(*replacements, more=""):
        path = study_file(*replacements, more=more)
        study = load_study(path)
        return SimpleNamespace(path=path, study=study, cells=make_plan(study, str(path)).cells)

    return make


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a benchmark as the plugin of another package, for this process and those it starts."""
    modules = []

    def install(name, code):
        site, modules[:] = tmp_path / "site", [*modules, f"{name}_benchmark"]
        info = site / f"{modules[-1]}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{modules[-1]}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-benchmark\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[zerowait.benchmarks]\n{name} = {modules[-1]}:FAMILY\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        assert importlib.metadata.version(f"{name}-benchmark") == "1.0"

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def fragile(install):
    """Install the benchmark `fragile`."""
    install("fragile", FRAGILE)


_libc = ctypes.CDLL(None)
_DROP_FROM_BOUNDING_SET = 24  # PR_CAPBSET_DROP, prctl(2)
_IGNORING_PERMISSIONS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def heed_permissions():
    """Let the program that is started next respect the permissions of files, also if root starts it."""
    if os.geteuid() == 0:
        for capability in _IGNORING_PERMISSIONS:
            _libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


@pytest.fixture
def zerowait(tmp_path):
    """Run the installed command in an empty folder; return its exit code, output and errors."""
    command = Path(sys.executable).with_name("zerowait")
    folder = tmp_path / "here"
    folder.mkdir()

    def run(*arguments, **environment):
        return subprocess.run(
            [command, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "COLUMNS": "80", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            preexec_fn=heed_permissions,
        )

    run.folder, run.command = folder, command
    return run


def traces_of(folder):
    """Return the bytes of every trace of a study, by the key of its cell."""
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("cells/*/trace.parquet"))}


@pytest.fixture
def traces():
    """Return the bytes of every trace of a study, by the key of its cell."""
    return traces_of


@pytest.fixture
def disk_calls(monkeypatch):
    """What is sent to disk, renamed and put in the place of another, as (what, path) in their order."""
    calls = []
    sync = os.fsync

    def noted_sync(descriptor):
        sync(descriptor)
        calls.append(("on disk", Path(f"/proc/self/fd/{descriptor}").readlink()))

    def noted(what, rename):
        def noted_rename(path, target):
            calls.append((what, path))
            return rename(path, target)

        return noted_rename

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted("renamed", Path.rename))
    monkeypatch.setattr(Path, "replace", noted("replaced", Path.replace))
    return calls
