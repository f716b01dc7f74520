"""Runs whose journals the tests of `zerowait check` look at and change."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from zerowait.suite import Evaluation, Overhead, Query
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import BudgetExhausted
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal

QUICK = Idle(after=0.02)


class TrainingDiverged(Exception):  # noqa: N818 - what a user's objective raises
    def __init__(self, runtime):
        super().__init__(f"diverged after {runtime} s")
        self.runtime = runtime


@dataclass(frozen=True)
class Objective:
    """Runtimes by configuration, growing with the fidelity; some configurations fail, some kill their worker."""

    runtimes: tuple[float, ...]
    failing: frozenset[int] = frozenset()
    deadly: frozenset[int] = frozenset()

    def __call__(self, config, *, fidelity=None, seed=None):
        x = config["x"]
        if x in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        # 27 epochs are the full training; every fifth configuration pretends to be faster at more epochs.
        runtime = self.runtimes[x] * (27.0 if fidelity is None else fidelity if x % 5 else 28.0 - fidelity)
        if x in self.failing:
            raise TrainingDiverged(runtime)
        return Evaluation(x + seed / 2**32, runtime, {"epochs": fidelity or 27.0})


def violations_of(directory):
    return [f"{v.record}: {v.rule}: {v.message}" for v in check(directory).violations]


def call(simulator, query):
    """Make one call; return whether the run takes more."""
    try:
        simulator(query.config, query.fidelity, query.config_id)
    except TrainingDiverged:
        return True
    except BudgetExhausted:
        return False
    return True


def with_threads(simulator, queries):
    todo, taking = iter(queries), threading.Lock()

    def work():
        while True:
            with taking:
                query = next(todo, None)
            if query is None or not call(simulator, query):
                return

    threads = [threading.Thread(target=work) for _ in range(simulator.n_workers)]
    for k, thread in enumerate(threads):
        thread.start()
        simulator.wait_started(min(k + 1, len(queries)))
    for thread in threads:
        thread.join()


OVERHEADS = {
    "none": Overhead.none(),
    "fixed": Overhead.fixed(0.7),
    "fixed, parallel sampling": Overhead.fixed(0.7, sampling="parallel"),
    "linear": Overhead.linear(0.1, 0.05),
    "linear, parallel sampling": Overhead.linear(0.1, 0.05, sampling="parallel"),
    "model": Overhead.model(lambda n: (n % 3) / 8, name="saw"),
    "measured": Overhead.measured(),
}
LADDER = tuple(itertools.islice(itertools.cycle([1.0, 3.0, 9.0, 27.0, None]), 60))


def climbing(n_configs=6):
    """Each configuration climbs the fidelities, mixed with the others."""
    return [Query({"x": k % n_configs}, LADDER[k // n_configs]) for k in range(60)]


class Changed:
    """A copy of a run's directory whose journal and specification can be changed."""

    def __init__(self, template, directory):
        self.directory = Path(shutil.copytree(template, directory, ignore=shutil.ignore_patterns("wake")))
        self.journal = self.directory / "journal"
        self.records = journal.read(self.journal)
        assert violations_of(self.directory) == []

    def first(self, condition):
        return next(k for k, r in enumerate(self.records) if condition(r))

    def write(self):
        """Write the changed records with checksums that agree; return what is found."""
        lines = [journal.line(json.dumps(r, separators=(",", ":")).encode()) for r in self.records]
        self.journal.write_bytes(b"".join(lines))
        # What the table of slots says of the journal's size is of no use here: these journals are complete.
        (self.directory / "slots").unlink()
        return self.found()

    def specify(self, **changes):
        path = self.directory / "run.json"
        content = json.loads(path.read_text())
        content["specification"].update(changes)
        path.write_text(json.dumps(content))

    def found(self):
        return {(v.rule, v.record) for v in check(self.directory).violations}
