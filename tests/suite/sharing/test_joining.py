"""Joining a run: the same specification joins, another one is refused by name, and a run is created exactly once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from crashes import die_at_line
from drivers import environment, needs_one_host

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import BudgetExhausted, RunDirectoryError, RunMismatchError
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal, shared_directory, transport
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.rundir import RunDirectory

HANG = 240.0
"""Real seconds after which a test is over whatever happens; what is waited for takes milliseconds."""
fork = multiprocessing.get_context("fork")

SPECIFICATION = {
    "n_workers": 2,
    "max_evaluations": 8,
    "max_time": 100.0,
    "seed": 3,
    "overhead": Overhead.fixed(1.0),
    "continual": True,
    "on_worker_death": "raise",
    "labels": {"optimizer": "random", "tags": ["a", "b"]},
}


def two_seconds(_config):
    return Evaluation(0.5, 2.0)


def join(directory, **changes):
    return Simulator(two_seconds, directory=directory, idle=Idle(after=0.02), **{**SPECIFICATION, **changes})


def is_one_run(directory, n_records):
    report = check(directory)
    assert report.violations == ()
    assert report.n_records == n_records


def test_the_same_specification_joins(tmp_path):
    """Two simulators take turns; together they make one run: 1-3, 4-6, 7-9."""
    with join(tmp_path) as first, join(tmp_path) as second:
        ends = [simulator({"x": k}).end for k, simulator in enumerate([first, second, first])]
        assert ends == [3.0, 6.0, 9.0]
        assert first.trace().equals(second.trace())
    is_one_run(tmp_path, 3)


SAME = {
    "an integer overhead": {"overhead": Overhead.fixed(1)},
    "the order of labels": {"labels": {"tags": ["a", "b"], "optimizer": "random"}},
    "a tuple in the labels": {"labels": {"optimizer": "random", "tags": ("a", "b")}},
    "a seed of NumPy": {"seed": np.int64(3)},
    "an integer time": {"max_time": 100},
}


@pytest.mark.parametrize("what", SAME)
def test_what_means_the_same_joins(tmp_path, what):
    with join(tmp_path) as first, join(tmp_path, **SAME[what]) as second:
        assert (first({"x": 0}).end, second({"x": 1}).end) == (3.0, 6.0)


DIFFERENT = {
    "n_workers": (3, "n_workers=2, not 3"),
    "max_evaluations": (None, "max_evaluations=8, not None"),
    "max_time": (101.0, "max_time=100.0, not 101.0"),
    "seed": (4, "seed=3, not 4"),
    "continual": (False, "continual=True, not False"),
    "on_worker_death": ("continue", "on_worker_death='raise', not 'continue'"),
    "shared_directory": (True, "shared_directory=False, not True"),
    "labels": ({"optimizer": "tpe"}, "labels={'optimizer': 'random', 'tags': ['a', 'b']}, not {'optimizer': 'tpe'}"),
    "overhead": (
        Overhead.fixed(2.0),
        "overhead={'name': 'fixed(1.0)', 'sampling': 'serial'}, not {'name': 'fixed(2.0)', 'sampling': 'serial'}",
    ),
}
OTHER_LOCKS = set() if HAS_BYTE_LOCKS else {"locks"}


def test_every_part_of_the_specification_is_tried():
    specification = json.loads(json.dumps(SPECIFICATION, default=str))
    assert set(specification) | {"shared_directory"} == set(DIFFERENT)


def test_the_specification_in_the_directory_has_no_other_parts(tmp_path):
    join(tmp_path).close()
    assert set(json.loads((tmp_path / "run.json").read_text())["specification"]) == {*DIFFERENT, *OTHER_LOCKS}


@pytest.mark.parametrize(
    "field", [pytest.param(field, marks=needs_one_host if field == "shared_directory" else ()) for field in DIFFERENT]
)
def test_another_specification_is_refused_with_the_name_of_the_field(tmp_path, field):
    value, difference = DIFFERENT[field]
    with join(tmp_path) as simulator:
        with pytest.raises(RunMismatchError) as caught:
            join(tmp_path, **{field: value})
        assert str(caught.value) == (
            f"{tmp_path} holds a run with {difference}; use another directory, or the same specification to join it"
        )
        assert simulator({"x": 0}).end == 3.0
    is_one_run(tmp_path, 1)


def test_another_way_of_sampling_is_another_overhead(tmp_path):
    with join(tmp_path), pytest.raises(RunMismatchError, match=r"'serial'}, not .*'sampling': 'parallel'"):
        join(tmp_path, overhead=Overhead.fixed(1.0, sampling="parallel"))


def test_a_model_is_known_by_its_name(tmp_path):
    def model(name):
        return Overhead.model(lambda _: 1.0, name=name)

    with join(tmp_path, overhead=model("a")) as first, join(tmp_path, overhead=model("a")) as second:
        assert (first({"x": 0}).end, second({"x": 1}).end) == (3.0, 6.0)
    with pytest.raises(RunMismatchError, match=r"'model\(a\)'.*, not .*'model\(b\)'"):
        join(tmp_path, overhead=model("b"))


def test_a_run_that_really_sleeps_is_another_run(tmp_path):
    specification = {**SPECIFICATION, "overhead": Overhead.measured()}
    with Simulator(two_seconds, directory=tmp_path, **specification):
        del specification["overhead"]
        with pytest.raises(RunMismatchError, match=r"slept=None, not 0\.001"):
            NaiveRun(two_seconds, directory=tmp_path, time_scale=0.001, **specification)


def test_a_finished_run_can_be_joined_and_is_still_finished(tmp_path):
    with join(tmp_path) as simulator:
        for k in range(8):
            simulator({"x": k})
        trace = simulator.trace()
    with join(tmp_path) as simulator:
        with pytest.raises(BudgetExhausted, match=r"max_evaluations=8, max_time=100\.0; 8 evaluations"):
            simulator({"x": 8})
        assert simulator.trace().equals(trace)
    is_one_run(tmp_path, 8)


def test_a_run_is_the_same_under_all_names_of_its_directory(tmp_path, monkeypatch):
    """An absolute path, a relative one and a symbolic link; two calls under different names overlap."""
    directory = tmp_path / "run"
    (tmp_path / "link").symlink_to(directory)
    monkeypatch.chdir(tmp_path)
    first, second, third = join(directory), join("run"), join(tmp_path / "link")
    monkeypatch.chdir("/")
    results = []
    crew = [
        threading.Thread(target=lambda s=simulator, k=k: results.append(s({"x": k}).end))
        for k, simulator in enumerate([second, third])
    ]
    for k, thread in enumerate(crew):
        thread.start()
        first.wait_started(k + 1)
    for thread in crew:
        thread.join()
    assert results == [3.0, 4.0]
    is_one_run(directory, 2)


SPMD = """
    import sys
    from zerowait.suite import Evaluation, Overhead, Simulator
    from zerowait.suite.rules.errors import BudgetExhausted

    directory, rank = sys.argv[1], int(sys.argv[2])
    simulator = Simulator(
        lambda config: Evaluation(config["rank"], 1.0 + config["rank"] / 4), n_workers=4, directory=directory,
        max_evaluations=50, overhead=Overhead.none(),
    )
    try:
        while True:
            simulator({"rank": rank})
    except BudgetExhausted:
        pass
"""


def test_programs_that_share_only_the_directory_make_one_run(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(SPMD))
    crew = [
        subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path / "run", str(rank)], env=environment())
        for rank in range(4)
    ]
    assert [process.wait(HANG) for process in crew] == [0, 0, 0, 0]
    is_one_run(tmp_path / "run", 50)
    assert {r["config"]["rank"] for r in journal.read(tmp_path / "run" / "journal")} == {0, 1, 2, 3}


# -- creation ----------------------------------------------------------------------------------------------------------


class Crowd:
    """Processes of many threads that all wait at a gate, construct the same simulator, and count themselves.

    The first thread of each process makes a call.
    """

    def __init__(self, directory, n_processes, n_threads):
        self.directory = directory
        self.specification = {
            **SPECIFICATION,
            "n_workers": n_processes,
            "max_evaluations": n_processes,
            "max_time": None,
        }
        self.n_threads = n_threads
        self.gate, self.ready, self.constructed = fork.Event(), fork.Semaphore(0), fork.Semaphore(0)
        self.processes = [fork.Process(target=self.work, daemon=True) for _ in range(n_processes)]

    def construct(self, number):
        self.ready.release()
        self.gate.wait(HANG)
        simulator = Simulator(two_seconds, directory=self.directory, **self.specification)
        self.constructed.release()
        if number == 0:
            simulator({"x": os.getpid()})

    def work(self):
        with ThreadPoolExecutor(self.n_threads) as pool:
            list(pool.map(self.construct, range(self.n_threads)))

    def run(self):
        for process in self.processes:
            process.start()
        for _ in range(len(self.processes) * self.n_threads):
            assert self.ready.acquire(timeout=HANG)
        self.gate.set()
        for process in self.processes:
            process.join(2 * HANG)
            assert process.exitcode == 0


@pytest.mark.parametrize(
    ("n_processes", "n_threads"), [(50, 20), pytest.param(200, 20, marks=pytest.mark.stress)], ids=["1000", "4000"]
)
def test_a_thousand_simultaneous_constructions_leave_one_run(tmp_path, monkeypatch, n_processes, n_threads):
    created = tmp_path / "created"
    way = transport if HAS_BYTE_LOCKS else shared_directory
    create = way.create

    def counted(run, *arguments, **keywords):
        with created.open("a") as file:
            file.write("once\n")
        create(run, *arguments, **keywords)

    monkeypatch.setattr(way, "create", counted)
    crowd = Crowd(tmp_path / "run", n_processes, n_threads)
    crowd.run()
    assert all(crowd.constructed.acquire(block=False) for _ in range(n_processes * n_threads))
    assert created.read_text() == "once\n"
    is_one_run(tmp_path / "run", n_processes)
    callers = {r["config"]["x"] for r in journal.read(tmp_path / "run" / "journal")}
    assert callers == {process.pid for process in crowd.processes}
    assert not list((tmp_path / "run").glob(".*"))


def killed_while_creating(directory, n):
    """Construct in a child that is killed at the n-th line of suite; return whether it was killed."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            die_at_line(n)
            join(directory, n_workers=1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.stress)], ids=["some lines", "every line"])
def test_a_creation_that_was_killed_at_any_line_is_started_anew(tmp_path, step):
    line = 1
    while killed_while_creating(directory := tmp_path / f"{line}", line):
        with join(directory, n_workers=1) as simulator:
            assert simulator({"x": 0}).end == 3.0
            assert simulator.progress()["recorded"] == 1
        is_one_run(directory, 1)
        shutil.rmtree(directory)
        line += step
    assert line > 100, "construction takes more lines than that"


def test_a_creation_that_fails_is_started_anew(tmp_path, monkeypatch):
    """As when the disk fills up meanwhile."""

    def fail(_run):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "make_journal", fail)
        with pytest.raises(RunDirectoryError, match="cannot create the run"):
            join(tmp_path)
    assert not (tmp_path / "run.json").exists()
    with join(tmp_path) as simulator:
        simulator({"x": 0})
    is_one_run(tmp_path, 1)


def test_a_directory_with_other_files_in_it_can_hold_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with join(tmp_path) as simulator:
        simulator({"x": 0})
    assert (tmp_path / "notes.txt").read_text() == "mine"


# -- another run under the same name -----------------------------------------------------------------------------------


def test_a_directory_that_was_removed_holds_a_new_run_afterwards(tmp_path):
    """As in a notebook whose cells are run again; the old simulator is still there and was never closed."""
    directory = tmp_path / "run"
    old = join(directory)
    assert old({"x": 0}).end == 3.0
    shutil.rmtree(directory)
    new = join(directory, seed=4)
    assert new({"x": 1}).end == 3.0
    assert new.progress()["recorded"] == 1
    assert new.trace()["config.x"].tolist() == [1]
    is_one_run(directory, 1)


def call(simulator, k):
    return simulator({"x": k}).end


def test_a_pool_that_served_the_old_run_serves_the_new_one(tmp_path):
    directory = tmp_path / "run"
    with fork.Pool(1) as pool:
        for seed in range(3):
            with join(directory, seed=seed) as simulator:
                assert pool.apply(call, (simulator, seed)) == 3.0
            assert [r["config"]["x"] for r in journal.read(directory / "journal")] == [seed]
            is_one_run(directory, 1)
            shutil.rmtree(directory)


def test_a_directory_that_is_gone_is_named(tmp_path):
    directory = tmp_path / "run"
    with join(directory) as simulator:
        pass
    shutil.rmtree(directory)
    with pytest.raises(RunDirectoryError, match=f"cannot open the run in {directory}: No such file or directory"):
        simulator({"x": 0})
