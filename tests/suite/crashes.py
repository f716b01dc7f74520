"""Real processes that work on one run and are killed for real, and what must hold of the run afterwards.

Every process bears witness: before a call it writes down which one it makes, afterwards what came of it. That is one
short line appended to a file, so what a killed process had written before stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from zerowait import suite
from zerowait.suite.records.journal_to_trace import committed_records
from zerowait.suite.rules.errors import BudgetExhausted, WorkerDied
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.shared_directory import SharedDirectoryTransport
from zerowait.suite.simulator import Simulator

SUITE = str(Path(suite.__file__).parent)
HANG = 240.0
"""Real seconds after which a process counts as hanging; a run here takes less than one."""
_fork = multiprocessing.get_context("fork")


class TrainingDiverged(Exception):  # noqa: N818 - the name of a failure, not of an error of ours
    """What an objective raises in these tests."""

    def __init__(self, runtime):
        super().__init__(runtime)
        self.runtime = runtime


def die():
    """Kill the calling process; nothing after this runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_line(n):
    """Kill this process at the n-th line of suite that it executes from now on, whichever that is."""
    lines = 0

    def watch(frame, event, _argument):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(SUITE):
            return None
        if event == "line":
            lines += 1
            if lines == n:
                die()
        return watch

    sys.settrace(watch)


def before(owner, name, happens, *, call=1):
    """Let `happens()` come before the n-th call of a function."""
    _around(owner, name, call, happens, None)


def after(owner, name, happens, *, call=1):
    """Let `happens()` come after the n-th call of a function."""
    _around(owner, name, call, None, happens)


def _around(owner, name, call, first, last):
    original, calls = getattr(owner, name), 0

    def replacement(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == call and first is not None:
            first()
        result = original(*arguments, **keywords)
        if calls == call and last is not None:
            last()
        return result

    setattr(owner, name, replacement)


def state_of(simulator, slot):
    """Return the state of a slot; a table that hosts share is seen when it is read anew, another one as it stands."""
    transport = simulator._connect().transport
    if isinstance(transport, SharedDirectoryTransport):
        with transport as table:
            return table.states[slot]
    return transport.table.states[slot]


class Crew:
    """The processes of one run, what they draw from, and what they have witnessed.

    The queries are numbered; a worker draws the next number and calls the simulator with it until the budget is spent.
    """

    def __init__(self, folder, objective, queries, **specification):
        self.run = folder / "run"
        self.queries = queries
        self.numbers = {(canonical_json(q.config), q.fidelity): n for n, q in enumerate(queries)}
        self.drawn = folder / "drawn"
        self.witnesses = folder / "witnesses"
        self.witnesses.touch()
        self.drawn.write_text("0")
        self.simulator = Simulator(objective, directory=self.run, **specification)
        self.processes = []
        self.killed = set()

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        hanging = [p.pid for p in self.processes if p.is_alive()]
        for process in self.processes:
            process.kill()
            process.join()
        self.simulator.close()
        assert error or not hanging, f"the test left processes {hanging} behind"

    # -- what the processes do -----------------------------------------------------------------------------------------

    def draw(self):
        # flock, because the kernel takes it from a process that is killed here.
        descriptor = os.open(self.drawn, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number = int(os.pread(descriptor, 20, 0))
            os.pwrite(descriptor, b"%d" % (number + 1), 0)
            return number
        finally:
            # A process that was forked meanwhile has the descriptor too, so that closing it here would not be enough.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def witness(self, **what):
        descriptor = os.open(self.witnesses, os.O_WRONLY | os.O_APPEND)
        # A process that is killed here may leave the beginning of a line; the next one begins a line of its own.
        os.write(descriptor, b"\n" + json.dumps({"pid": os.getpid(), **what}).encode() + b"\n")
        os.close(descriptor)

    def call(self, number):
        """Make one call and bear witness; return whether the run takes more."""
        query = self.queries[number]
        self.witness(number=number, came="to call")
        try:
            evaluation = self.simulator(query.config, query.fidelity, query.config_id)
        except BudgetExhausted:
            self.witness(number=number, came="refused")
            return False
        except WorkerDied as error:
            self.witness(number=number, came="died", message=str(error))
            return False
        except TrainingDiverged:
            self.witness(number=number, came="failed")
            return True
        self.witness(number=number, came="returned", start=evaluation.start, end=evaluation.end, value=evaluation.value)
        return True

    def work(self, think=lambda: None):
        """Draw and call until the run takes no more, and `think()` before each call."""
        while True:
            think()
            if not self.call(self.draw()):
                return

    def work_in_threads(self, n, think=lambda: None):
        """Let n threads work; raise what one of them could not survive."""
        errors = []

        def guarded():
            try:
                self.work(think)
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        threads = [threading.Thread(target=guarded) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(self, work, *arguments, doom=lambda: None):
        """Start a process that does `work(*arguments)`, after preparing its `doom`."""

        def main():
            doom()
            work(*arguments)

        process = _fork.Process(target=main, daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def dies(self, process):
        """Wait until the process has died of SIGKILL."""
        # Not join(), which waits for the children of the process as well.
        self.until(lambda: process.exitcode is not None, f"process {process.pid} has ended")
        assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode} instead of being killed"
        self.killed.add(process.pid)

    def kill(self, process):
        process.kill()
        self.dies(process)

    def ends(self, *processes):
        """Wait until these processes, or all, have ended by themselves."""
        deadline = time.monotonic() + HANG
        for process in processes or self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            assert process.exitcode is not None, f"process {process.pid} hangs\n{self.report()}"
            assert process.exitcode == 0 or process.pid in self.killed, f"{process.pid} ended with {process.exitcode}"

    def alive(self):
        """Return the processes that have not ended."""
        return [process.pid for process in self.processes if process.exitcode is None]

    def until(self, condition, what):
        """Wait until something can be seen in the table of slots."""
        deadline = time.monotonic() + HANG
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}\n{self.report()}"
            time.sleep(0.002)

    def until_state(self, slot, state):
        self.until(lambda: state_of(self.simulator, slot) == state, f"slot {slot} is {state!r}")

    # -- what they have left -------------------------------------------------------------------------------------------

    def states(self):
        return [state_of(self.simulator, slot) for slot in range(self.simulator.n_workers)]

    def records(self):
        """Return what the run has recorded, without a line that a killed process has left uncommitted."""
        return journal.read(self.run / "journal", committed_records(RunDirectory(self.run)))

    def times(self):
        """Return (number of the query, status, start, end) of every record."""
        return [(self.number(r), r["status"], r["start"], r["end"]) for r in self.records()]

    def number(self, record):
        return self.numbers[canonical_json(record["config"]), record["fidelity"]]

    def lines(self):
        """Yield what was witnessed, but for what somebody was killed while saying."""
        for text in self.witnesses.read_text().splitlines():
            if text:
                try:
                    yield json.loads(text)
                except ValueError:
                    assert self.killed, f"a witness is torn and nobody was killed: {text}"

    def testimony(self, came):
        """Return what was witnessed of one kind, by number of the query."""
        found = [w for w in self.lines() if w["came"] == came]
        assert len({w["number"] for w in found}) == len(found), "a call came to the same end twice"
        return {w["number"]: w for w in found}

    def killed_calls(self):
        """Return the queries that killed processes had called without living to tell."""
        ends = {n for came in ("returned", "refused", "died", "failed") for n in self.testimony(came)}
        return [n for n, w in self.testimony("to call").items() if w["pid"] in self.killed and n not in ends]

    def report(self):
        with contextlib.suppress(Exception):
            return f"states {self.states()}, {dict(self.simulator.progress())}"
        return "no table"

    def violations(self):
        """Return what is wrong with the run, each as a sentence; every query was drawn at most once."""
        records = self.records()
        called, returned = self.testimony("to call"), self.testimony("returned")
        failed, died = self.testimony("failed"), self.testimony("died")
        wrong = list(_disorder(records))
        numbers = [self.number(r) for r in records]
        wrong += [f"query {n} is recorded {times} times" for n, times in Counter(numbers).items() if times > 1]
        by_number = dict(zip(numbers, records, strict=True))
        for n, w in returned.items():
            r = by_number.get(n)
            if r is None or (r["status"], r["start"], r["end"], r["value"]) != ("ok", w["start"], w["end"], w["value"]):
                wrong.append(f"query {n} returned {w} and is recorded as {r}")
        for n in failed:
            if n not in by_number or by_number[n]["status"] != "failed":
                wrong.append(f"query {n} failed and is recorded as {by_number.get(n)}")
        for n, r in by_number.items():
            if n not in called:
                wrong.append(f"query {n} is recorded, but was never called")
                continue
            if r["status"] == "lost" and called[n]["pid"] not in self.killed:
                wrong.append(f"query {n} is recorded as lost, but its caller was not killed")
            if r["status"] != "lost" and n not in returned and n not in failed and called[n]["pid"] not in self.killed:
                wrong.append(f"query {n} is recorded, but its caller never got the result")
        wrong += [f"query {n} is recorded, but its caller was told that a worker died" for n in died if n in by_number]
        return wrong


def _disorder(records):
    """Yield what is wrong with the order of the records and with the slots."""
    freed = Counter()
    last = (0.0, 0.0, b"")
    for n, r in enumerate(records):
        if r["evaluation"] != n:
            yield f"record {n} has the number {r['evaluation']}"
        if not 0.0 <= r["freed"] <= r["start"] <= r["end"]:
            yield f"record {n} has freed, start, end = {r['freed']}, {r['start']}, {r['end']}"
        if r["freed"] != freed[r["slot"]]:
            yield f"record {n} says that slot {r['slot']} was freed at {r['freed']}, but it was at {freed[r['slot']]}"
        freed[r["slot"]] = r["end"]
        if r["status"] == "lost":
            if r["end"] != last[0]:
                yield f"record {n} was lost at {r['end']}, which is not the last delivery ({last[0]})"
            continue
        key = r["end"], r["start"], digest(canonical_json(r["config"]))
        if key < last:
            yield f"record {n} with {key} was delivered after {last}"
        last = key
