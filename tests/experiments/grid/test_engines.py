"""Cells on a Dask cluster: real processes, some of which are killed."""

from __future__ import annotations

import contextlib
import os

import dask
import psutil
import pytest
from distributed import Future, KilledWorker

from zerowait.adapters.environments import isolation
from zerowait.experiments.grid.engines import ENVIRONMENT, InProcess, LocalDask, local_cluster
from zerowait.experiments.grid.runner import StudyFolder, run_grid


def children():
    """Return the living processes below this one; Python's resource tracker, once started, stays to the end."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that another test left, and that has just ended
            found[process.pid] = process.cmdline()
    # One that has ended and is not waited for yet has no command line.
    return {pid: line for pid, line in found.items() if line and not any("resource_tracker" in part for part in line)}


def test_both_engines_write_the_same_bytes(plan, tmp_path, traces):
    small = plan()
    for name, engine in (("here", InProcess()), ("dask", LocalDask(2))):
        summary = run_grid("small", small.cells, StudyFolder(tmp_path / name), engine)
        assert summary.finished == 8
    assert len(traces(tmp_path / "here")) == 8
    assert traces(tmp_path / "here") == traces(tmp_path / "dask")


@pytest.mark.usefixtures("fragile")
def test_failing_exiting_and_dying_cells_do_not_stop_the_others(plan, tmp_path):
    """Two cells that kill their process, among good ones: those two fail and nobody else does."""
    tasks = '"fragile"\ntasks = ["deadly", "good", "broken", "quitting"]'
    small = plan(('"branin"', tasks), ("workers = [1, 3]", "workers = [2]"))
    folder = StudyFolder(tmp_path / "runs")
    before = children()
    summary = run_grid("small", small.cells, folder, LocalDask(2))
    errors = {outcome.key: outcome.error for outcome in summary.failed}
    by_task = {}
    for cell in small.cells:
        by_task.setdefault(cell.task, set()).add(errors.get(cell.key))
    assert by_task == {
        "deadly": {"the process that ran it died 2 times: it crashed, was killed, or ran out of memory"},
        "good": {None},
        "broken": {"RuntimeError: the table is torn"},
        "quitting": {"SystemExit: a library called sys.exit"},
    }
    assert (summary.finished, len(summary.outcomes)) == (4, 16)
    for key, error in errors.items():
        assert error.removeprefix("RuntimeError: ") in (folder.cells.failed(key) / "error.txt").read_text()
    assert {path.name.removesuffix(".failed") for path in folder.cells.path.iterdir()} == {c.key for c in small.cells}
    assert children().items() <= before.items()


SLOW_TO_COME_BACK = """
import pathlib, time
started = pathlib.Path({!r})
if started.exists():
    time.sleep(3)
started.touch()
"""


@pytest.mark.usefixtures("fragile")
def test_a_process_that_comes_back_late_is_not_given_up(plan, tmp_path):
    """Dask closes for good what is away at one moment, 15 seconds after a death; with no process left a study hung."""
    (tmp_path / "slow.py").write_text(SLOW_TO_COME_BACK.format(str(tmp_path / "started")))
    deadly = '"fragile"\ntasks = ["deadly", "good"]'
    small = plan(('"branin"', deadly), ("workers = [1, 3]", "workers = [2]"), ("seeds = 2", "seeds = 1"))
    late = {
        "distributed.worker.preload": [str(tmp_path / "slow.py")],
        "distributed.deploy.lost-worker-timeout": "1 s",
    }
    with dask.config.set(late):
        summary = run_grid("small", small.cells, StudyFolder(tmp_path / "runs"), LocalDask(1))
    assert len(summary.failed) == sum(cell.task == "deadly" for cell in small.cells)
    assert summary.finished == sum(cell.task == "good" for cell in small.cells)


def test_outcomes_that_are_lost_with_their_process_are_computed_again(plan, tmp_path, monkeypatch):
    """A process may die when it has run a batch and before its outcomes are fetched."""
    small = plan()
    real, lost = Future.result, []

    def result(self, *arguments, **named):
        if not lost:
            lost.append(self)
            raise KilledWorker(self.key, None, 0)
        return real(self, *arguments, **named)

    monkeypatch.setattr(Future, "result", result)
    summary = run_grid("small", small.cells, StudyFolder(tmp_path / "runs"), LocalDask(2))
    assert len(lost) == 1
    assert summary.finished == len(summary.outcomes) == len(small.cells)


def environment():
    return {name: os.environ.get(name) for name in ENVIRONMENT}


def test_cells_find_what_a_process_of_its_own_finds():
    assert ENVIRONMENT.keys() == isolation.ENVIRONMENT.keys()
    assert {int(ENVIRONMENT[name]) for name in ENVIRONMENT} == {0, 1}
    assert {name: int(value) for name, value in ENVIRONMENT.items()} == {
        name: int(value) for name, value in isolation.ENVIRONMENT.items()
    }


def started_from_a_worker():
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(os.getpid)


def test_worker_processes_have_a_fixed_environment_and_may_start_processes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    before = dict(os.environ)
    with local_cluster(1) as client:
        assert client.submit(environment).result() == ENVIRONMENT
        assert client.submit(hash, "zerowait").result() == client.submit(hash_in_fresh_process).result()
        assert client.submit(started_from_a_worker).result() not in (None, os.getpid())
        addresses = list(client.scheduler_info()["workers"])
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    # Dask itself leaves a note of the process that first started a cluster.
    assert {name: value for name, value in os.environ.items() if name != "__DASK_PARENT_PID"} == {
        name: value for name, value in before.items() if name != "__DASK_PARENT_PID"
    }


@pytest.mark.parametrize("part", ["LocalCluster", "Client"])
def test_a_cluster_that_does_not_close_in_time_fails_no_study(monkeypatch, part):
    """On a busy machine a finished study ended with an error about its folder."""
    import distributed

    kind = getattr(distributed, part)
    close = kind.close

    def close_late(self, timeout=None):
        close(self, timeout=1e-9)
        raise TimeoutError("timed out after 1e-09 s.")  # where it was quick enough all the same

    before = children()
    monkeypatch.setattr(kind, "close", close_late)
    with local_cluster(1) as client:
        assert client.submit(sum, [1, 2]).result(timeout=300) == 3
    assert children() == before


def hash_in_fresh_process():
    import subprocess
    import sys

    code = "print(hash('zerowait'))"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


def test_no_cells_need_no_cluster(tmp_path):
    before = children()
    folder = StudyFolder(tmp_path)
    assert list(LocalDask().run([], folder.cells)) == []
    assert children() == before


def test_the_embedded_cluster_takes_no_orders_from_other_users_of_the_machine():
    from distributed import Client

    with local_cluster(1) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for protocol in ("tcp", "tls"):  # in the clear, and with a certificate that is not this cluster's: none at all
            with pytest.raises((OSError, TypeError)):
                Client(address.replace("tls", protocol), timeout=3)
        assert client.submit(sum, [1, 2]).result(timeout=300) == 3
