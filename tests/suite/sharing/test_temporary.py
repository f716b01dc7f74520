"""A run for which no directory was named leaves none behind, and loses nothing that somebody may still ask for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from zerowait.suite import Evaluation, Overhead, Simulator


def objective(config):
    if config["x"] < 0:
        raise ValueError("x is negative")
    return Evaluation(config["x"], 1.0)


def start(**arguments):
    return Simulator(objective, n_workers=1, overhead=Overhead.none(), **arguments)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the system's temporary folder, empty."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


def test_a_run_that_is_over_has_its_trace_as_long_as_somebody_holds_it(temporary):
    with start() as run:
        run({"x": 1.0})
    assert run.trace()["value"].tolist() == [1.0]
    assert run.directory.parent == temporary
    del run
    assert list(temporary.iterdir()) == []


def test_a_folder_that_was_named_stays(tmp_path):
    with start(directory=tmp_path / "run") as run:
        run({"x": 1.0})
    del run
    assert (tmp_path / "run" / "journal").exists()


def test_a_run_that_an_error_ended_and_one_that_wrote_its_trace_stay(temporary):
    with pytest.raises(ValueError, match="x is negative"), start() as failed:
        failed({"x": -1.0})
    with start() as written:
        written({"x": 1.0})
        path = written.finish()
    folders = {failed.directory, written.directory}
    del failed, written
    assert path.exists()
    assert set(temporary.iterdir()) == folders


def test_a_run_that_nobody_holds_any_more_stays_as_long_as_other_processes_may_call_it(temporary):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:

        def begin():
            return [pool.submit(start(), {"x": float(x)}) for x in range(2)]

        assert [future.result(timeout=300).value for future in begin()] == [0.0, 1.0]
    assert len(list(temporary.iterdir())) == 2


SCRIPT = """
import os, sys
from zerowait.suite import Evaluation, Overhead, Simulator

run = Simulator(lambda config: Evaluation(0.0, 1.0), n_workers=1, overhead=Overhead.none())
run({"x": 0.0})
if not (child := os.fork()):
    sys.exit()
os.waitpid(child, 0)
assert run.trace()["value"].tolist() == [0.0]
"""


@pytest.mark.parametrize(
    ("last", "stays"),
    [
        ("", False),
        ("sys.exit(3)", False),
        ("raise ValueError", True),
        ("import signal; os.kill(os.getpid(), signal.SIGINT); signal.pause()", True),
    ],
    ids=["the end", "exit", "error", "interrupt"],
)
def test_a_folder_goes_with_the_process_that_made_it_unless_an_error_ends_that(tmp_path, last, stays):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT + last], env=environment, check=False, timeout=300)
    assert done.returncode == {"": 0, "sys.exit(3)": 3, "raise ValueError": 1}.get(last, -signal.SIGINT)
    assert [entry.name.startswith("zerowait-") for entry in tmp_path.iterdir()] == [True] * stays
