"""A directory that several hosts share: the same state machine over byte-range locks, reads and writes."""

from __future__ import annotations

import heapq
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drivers import Lookup, environment, in_one_process, needs_one_host, with_pool, with_threads
from oracle import timeline

from zerowait.suite import Overhead, Query, Simulator
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import RunMismatchError, WorkerDied

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("drive", [with_threads, with_pool])
@pytest.mark.parametrize(("n_workers", "n", "cost"), [(1, 20, 0.0), (4, 40, 0.7), (8, 40, 0.0)])
def test_the_trace_is_that_of_one_host(drive, n_workers, n, cost, tmp_path):
    runtimes = tuple(np.random.default_rng(n).integers(0, 5, n).astype(float).tolist())
    configs = [{"x": k} for k in range(n)]
    arguments = {"n_workers": n_workers, "max_evaluations": n, "overhead": Overhead.fixed(cost), "seed": 4}
    trace = drive(configs, Lookup(runtimes), directory=tmp_path / "run", shared_directory=True, **arguments)
    deliveries = timeline(configs, runtimes, n_workers, lambda _: cost)
    assert trace["end"].tolist() == [d["end"] for d in deliveries]
    assert trace.equals(in_one_process(configs, Lookup(runtimes), **arguments))
    assert check(tmp_path / "run").ok


def test_evaluations_are_continued_across_processes(tmp_path):
    """Runtime 1000 z; fidelities 1, 3, 9, 27 of one configuration end at 1000, 3000, 9000, 27000."""
    queries = [Query({"x": 0}, float(z)) for z in (1, 3, 9, 27)]
    trace = with_pool(
        queries, thousand, n_workers=1, max_evaluations=4, overhead=Overhead.none(), continual=True,
        directory=tmp_path / "run", shared_directory=True,
    )  # fmt: skip
    assert trace["end"].tolist() == [1000.0, 3000.0, 9000.0, 27000.0]
    assert trace["resumed_from"].tolist()[1:] == [1.0, 3.0, 9.0]
    assert check(tmp_path / "run").ok


def thousand(config, *, fidelity=None):
    return {"value": 0.0, "runtime": 1000.0 * fidelity}


@needs_one_host
def test_a_run_of_one_host_is_not_joined_as_a_shared_one(tmp_path):
    with (
        Simulator(thousand, n_workers=2, directory=tmp_path),
        pytest.raises(RunMismatchError, match="shared_directory=False"),
    ):
        Simulator(thousand, n_workers=2, directory=tmp_path, shared_directory=True)


WORKER = """
import sys
from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.rules.errors import BudgetExhausted

directory, name, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def train(config):
    return Evaluation(0.0, float((config["x"] * 7 + config["worker"] * 3) % 11 + 1))

with Simulator(train, n_workers=3, directory=directory, max_evaluations=n, overhead=Overhead.none(),
               shared_directory=True) as simulator:
    try:
        for x in range(1000):
            simulator({"worker": name, "x": x})
    except BudgetExhausted:
        pass
"""


def hand_computed(n):
    """Three workers, each with its own list, run their evaluations back to back; the first n to start count."""
    ends, in_flight, started, clocks = [], [], 0, {}
    for worker in range(3):
        heapq.heappush(in_flight, (float(worker * 3 % 11 + 1), worker))
        clocks[worker] = 0
        started += 1
    while in_flight:
        end, worker = heapq.heappop(in_flight)
        ends.append(end)
        if started < n:
            clocks[worker] += 1
            heapq.heappush(in_flight, (end + float((clocks[worker] * 7 + worker * 3) % 11 + 1), worker))
            started += 1
    return ends


def namespaces():
    """The command that gives a process its own mounts, network and host name, if this machine and user may."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    command = [unshare, "--mount", "--net", "--uts"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        return None
    return command


def test_workers_in_namespaces_of_their_own_share_nothing_but_the_directory(tmp_path):
    isolated = namespaces()
    if isolated is None:
        pytest.skip("this user may not make mount, network and host-name namespaces")
    shared = tmp_path / "export"
    shared.mkdir()
    workers = []
    for number in range(3):
        place = tmp_path / f"host{number}"
        place.mkdir()
        script = (
            f"mount --bind {shared} {place} && hostname host{number} && "
            f'exec {sys.executable} -c "$WORKER" {place}/run {number} 40'
        )
        workers.append(subprocess.Popen([*isolated, "sh", "-c", script], env=environment(WORKER=WORKER)))
    for worker in workers:
        assert worker.wait(timeout=300) == 0
    report = check(shared / "run")
    assert report.violations == ()
    assert report.n_records == 40
    from zerowait.suite.records.journal_to_trace import read_run

    assert read_run(shared / "run")["end"].tolist() == hand_computed(40)
    members = (shared / "run" / "members").read_text().split()[2::3]
    assert sorted(members) == ["host0", "host1", "host2"]


@pytest.mark.parametrize("policy", ["raise", "continue"])
def test_a_killed_worker_is_noticed(policy, tmp_path):
    """Two workers on a directory; one is killed while it waits for its delivery at simulated 50 s."""
    source = f"""
from zerowait.suite import Evaluation, Overhead, Simulator
simulator = Simulator(lambda config: Evaluation(0.0, config["s"]), n_workers=2, directory={str(tmp_path / "run")!r},
                      max_evaluations=6, overhead=Overhead.none(), shared_directory=True, on_worker_death={policy!r})
simulator({{"s": 50.0}})
"""
    victim = subprocess.Popen([sys.executable, "-c", source], env=environment())
    simulator = None
    deadline = time.monotonic() + 300
    while simulator is None or simulator.progress()["started"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        if (tmp_path / "run" / "run.json").exists():
            simulator = simulator or Simulator(
                seconds, n_workers=2, directory=tmp_path / "run", max_evaluations=6, overhead=Overhead.none(),
                shared_directory=True, on_worker_death=policy,
            )  # fmt: skip
            with simulator._connect().transport:
                pass  # what another process wrote is seen when the table is read anew
    time.sleep(0.3)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    if policy == "raise":
        with pytest.raises(WorkerDied, match=str(victim.pid)):
            [simulator({"s": 20.0}) for _ in range(5)]
        return
    ends = [simulator({"s": 20.0}).end for _ in range(5)]
    trace = simulator.trace()
    assert trace["status"].tolist().count("lost") == 1
    assert len(trace) == 6
    assert ends == [20.0, 40.0, 60.0, 80.0, 100.0]
    assert check(tmp_path / "run").violations == ()


def seconds(config):
    return {"value": 0.0, "runtime": config["s"]}
