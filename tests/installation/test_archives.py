"""Wheel and sdist, and what may stand beside an installed zerowait: files, settings and other distributions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import zipfile

import archives
import pytest
from archives import PART
from fresh import Environment

OWN = ("plots.py", "suite.py", "adapters.py", "benchmarks/__init__.py", "experiments/mine.py")
"""What users have in their folder; `experiments` has no `__init__.py`."""
NOTES_ITS_IMPORT = "open(__file__ + '.imported', 'w').close()\nMINE = True\n"
USES_ITS_OWN = """
import plots, suite, adapters, benchmarks, experiments.mine, zerowait, zerowait.plots.notebook
assert plots.MINE and suite.MINE and adapters.MINE and benchmarks.MINE and experiments.mine.MINE
assert zerowait.benchmarks.load("branin").name == "branin" and zerowait.adapters.load("random").name == "random"
"""
FOREIGN = "adapters-9.9-py3-none-any.whl"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return archives.build(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """An environment with the wheel, which shares the libraries that are installed."""
    made = Environment(tmp_path_factory.mktemp("environment"))
    archives.check_uninstallation(made, built.wheel)
    made.share_libraries()
    return made


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with modules of the names that zerowait's parts once had."""
    for name in OWN:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(NOTES_ITS_IMPORT)
    return tmp_path


def imported(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.imported"))


def test_the_archives_hold_one_name_and_all_that_is_shipped_and_the_sdist_gives_the_same_wheel(built):
    archives.check_contents(built)


def test_what_is_installed_from_the_wheel_does_what_a_newcomer_does(environment):
    archives.use(environment)


@pytest.mark.parametrize("path", [{}, {"PYTHONPATH": "."}], ids=["", "PYTHONPATH=."])
def test_a_users_own_files_change_nothing(environment, folder, path):
    zerowait = environment.python.with_name("zerowait")
    said = environment.said(zerowait, "run", "quickstart", "--only", PART, "-j", "2", cwd=folder, **path)
    assert "2 of 2 cells are finished" in said
    environment.said(zerowait, "plot", "quickstart", "worker_timeline", cwd=folder, **path)
    environment.said(environment.python, "-m", "zerowait", "list", cwd=folder, **path)  # puts the folder on the path
    assert imported(folder) == []
    (folder / "own.py").write_text(USES_ITS_OWN)
    environment.said(environment.python, "own.py", cwd=folder, **path)
    assert imported(folder) == sorted(f"{name}.imported" for name in OWN)


def test_dask_workers_that_are_started_in_a_users_folder_run_cells(environment, folder):
    file, started = folder / "scheduler.json", []

    def start(program, *arguments):
        started.append(
            subprocess.Popen(
                [environment.python, "-m", f"distributed.cli.{program}", *arguments], cwd=folder,
                env={**environment.variables, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip

    try:
        local = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file)
        start("dask_scheduler", "--port", "0", *local)
        while not (file.exists() and file.read_text().endswith("}")):
            assert started[0].poll() is None
            time.sleep(0.05)
        start("dask_worker", "--nthreads", "1", *local)
        address = json.loads(file.read_text())["address"]
        zerowait = environment.python.with_name("zerowait")
        said = environment.said(
            zerowait, "run", "quickstart", "--only", PART, "--scheduler", address, cwd=folder, PYTHONPATH="."
        )
        assert "2 of 2 cells are finished" in said
        assert imported(folder) == []
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_distribution_adapters_and_ours_leave_each_other_alone(built, tmp_path):
    with zipfile.ZipFile(tmp_path / FOREIGN, "w") as wheel:
        wheel.writestr("adapters/__init__.py", "FOREIGN = True\n")
        wheel.writestr("adapters-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: adapters\nVersion: 9.9\n")
        wheel.writestr("adapters-9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("adapters-9.9.dist-info/RECORD", "")
    made = Environment(tmp_path / "environment")
    distributions = {"zerowait": built.wheel, "adapters": tmp_path / FOREIGN}
    brought = {}
    for name, wheel in distributions.items():
        before = made.files()
        made.pip("install", "-q", "--no-deps", wheel)
        brought[name] = made.files() - before
    assert not brought["zerowait"] & brought["adapters"]
    assert made.said(made.python, "-c", "import adapters, zerowait; print(adapters.FOREIGN)") == "True\n"
    made.pip("uninstall", "-q", "-y", "adapters")
    assert brought["zerowait"] <= made.files()
    made.pip("install", "-q", "--no-deps", tmp_path / FOREIGN)
    made.pip("uninstall", "-q", "-y", "zerowait")
    assert brought["adapters"] <= made.files()
