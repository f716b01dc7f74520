"""What an evaluation costs in an optimizer: the arithmetic by hand, the measurement on a real run."""

from __future__ import annotations

import csv
import math
import pickle
import time

import pytest

from zerowait import benchmarks
from zerowait.experiments.measuring.overhead_report import (
    Clocked,
    Row,
    measure,
    report,
    summarize,
    with_machinery,
)
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.sharing.processes import this_process


def call(entered, left, **cpu):
    return {"entered": entered, "left": left, "cpu": cpu}


CALLS = [
    call(0.0, 0.1, a=1.0, b=0.0),
    call(0.2, 0.3, a=1.0, b=0.0),  # the second of two workers: still the start
    call(0.8, 0.9, a=1.1, b=0.2),  # 0.5 s later, of which 0.3 s were computed
    call(1.4, 1.5, a=1.1, b=0.2, c=9.0),  # 0.5 s later, all asleep; what c did before it was seen does not count
]


def test_the_shares_are_those_of_the_intervals_after_the_start():
    row = summarize("dehb", "dehb", "native", 2, [5.0, 5.0, 0.4, 0.2], CALLS, waited=False)
    assert row.evaluations == 2
    assert row.sampling == row.sampling_median == pytest.approx(0.3)
    assert row.computing == pytest.approx(0.15)
    assert row.asleep == pytest.approx(0.7)
    assert row.problem is None


def test_an_interval_in_which_the_simulator_waited_is_left_out():
    row = summarize("dehb", "dehb", "native", 2, [5.0, 5.0, 0.45, 0.2], CALLS, waited=True)
    assert row.computing == pytest.approx(0.3)
    assert row.asleep == pytest.approx(0.4)


def test_computing_on_two_cores_is_not_less_than_no_sleep():
    calls = [call(0.0, 0.0, a=0.0, b=0.0), call(1.0, 1.0, a=1.0, b=0.9)]
    assert summarize("smac-hpo", "smac", "native", 1, [1.0, 1.0], calls, waited=False).asleep == 0.0


def test_a_run_that_is_all_start_is_a_problem():
    row = summarize("dehb", "dehb", "native", 4, [1.0] * 4, CALLS, waited=False)
    assert row.problem == "4 evaluations are too few for 4 workers"


def test_machinery_is_what_asking_and_telling_does_not_need():
    rows = with_machinery(
        [
            Row("dehb", "dehb", "native", 4, 10, sampling=9.0, sampling_median=0.050),
            Row("dehb", "dehb", "native", 8, 10, sampling=9.0, sampling_median=0.080),
            Row("dehb", "dehb", "ask_tell", 4, 10, sampling=9.0, sampling_median=0.001),
            Row("hebo", "HEBO", "ask_tell", 4, 10, sampling=9.0, sampling_median=1.0),
        ]
    )
    assert [row.machinery for row in rows] == [pytest.approx(0.98), None, None, None]


def test_a_clocked_benchmark_is_the_benchmark_and_can_be_sent(tmp_path):
    benchmark = benchmarks.load("branin")
    clocked = pickle.loads(pickle.dumps(Clocked(benchmark, tmp_path / "calls", this_process())))
    assert (clocked.name, clocked.label, clocked.fidelity) == ("branin", "branin", benchmark.fidelity)
    config = {"x0": 0.5, "x1": 0.5}
    assert clocked(config, fidelity=50, seed=3) == benchmark(config, fidelity=50, seed=3)
    assert (tmp_path / "calls").read_text().count("\n") == 1


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_an_optimizer_is_measured(mode):
    began = time.monotonic()
    row = measure("random", mode, 2, 30)
    took = time.monotonic() - began
    assert row.problem is None
    assert row.evaluations == 28
    assert row.sampling_median > 0
    assert 0 < row.sampling < took
    assert 0 < row.computing < took
    assert 0 <= row.asleep < 1


def test_what_cannot_be_measured_has_a_reason():
    assert "'random' has no parameters" in measure("random", "native", 2, 10, {"x": 1}).problem
    assert "mode is 'threads'" in measure("random", "threads", 2, 10).problem
    with pytest.raises(SpecificationError, match="there is no optimizer 'randm'; known are "):
        report(["randm"], [1], 10)


def test_the_command_prints_a_table_and_writes_it(zerowait):
    done = zerowait("overhead", "random", "--workers", "2", "--evaluations", "12", "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    heading, native, asked = done.stdout.splitlines()
    assert heading.split()[:4] == ["optimizer", "library", "mode", "P"]
    assert native.split()[:4] == ["random", "zerowait", "native", "2"]
    assert asked.split()[:4] == ["random", "zerowait", "ask_tell", "2"]
    with (zerowait.folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mode"] for row in rows] == ["native", "ask_tell"]
    assert all(math.isfinite(float(row["sampling"])) for row in rows)
    assert "random, native, 2 workers" in done.stderr


def test_a_machine_that_is_busy_is_told(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (64.0, 64.0, 64.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(
        "zerowait.experiments.measuring.overhead_report.measure", lambda *_: Row("random", "zerowait", "native", 1, 0)
    )
    said = []
    report(["random"], [1], 10, said.append)
    assert said[0].startswith("the machine is busy (load 64.0 on 2 cores)")
