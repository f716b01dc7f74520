"""What the workers of `test_ways_to_call` do, in a module that processes which were not forked can import."""

from __future__ import annotations

import fcntl
import os
import sys
from dataclasses import dataclass

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.rules.errors import BudgetExhausted
from zerowait.suite.rules.idle import Idle

OVERHEADS = {"none": Overhead.none(), "fixed": Overhead.fixed(0.7)}
# Processes take their time to start on a busy machine; nobody is idle in these runs.
PATIENT = Idle(after=30.0)


@dataclass(frozen=True)
class Table:
    """An objective that reads the runtime from a list; counts how often it is pickled."""

    runtimes: tuple[float, ...]
    pickled = 0

    def __call__(self, config):
        return Evaluation(float(config["x"]), self.runtimes[config["x"]])

    def __getstate__(self):
        Table.pickled += 1
        return {"runtimes": self.runtimes}

    def __setstate__(self, state):
        self.__dict__.update(state)


def runtimes(n):
    """Return n runtimes from 1 to 10 s, among them equal ones."""
    return tuple(1.0 + (k * k * 7 % 19) / 2 for k in range(n))


def evaluate(simulator, x, n_before=0):
    """Evaluate configuration x once so many calls have been made; return its end, or None when it was refused."""
    simulator.wait_started(n_before)
    try:
        return simulator({"x": x}).end
    except BudgetExhausted:
        return None


def draw(path):
    """Return the next number from a file that processes share."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        number = int(os.pread(descriptor, 20, 0) or b"0")
        os.pwrite(descriptor, b"%d" % (number + 1), 0)
        return number
    finally:
        # A process that was forked meanwhile has the descriptor too, so that closing it here would not be enough.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def one_of_many(directory, numbers, rank, n_workers, n, overhead):
    """Be one of several processes that run the same program and share nothing but the directory."""
    simulator = Simulator(
        Table(runtimes(n)),
        n_workers=n_workers,
        directory=directory,
        max_evaluations=n,
        overhead=OVERHEADS[overhead],
        idle=PATIENT,
    )
    simulator.wait_started(rank)
    while evaluate(simulator, min(draw(numbers), n - 1)) is not None:
        pass


if __name__ == "__main__":
    directory, numbers, rank, n_workers, n, overhead = sys.argv[1:]
    one_of_many(directory, numbers, int(rank), int(n_workers), int(n), overhead)
