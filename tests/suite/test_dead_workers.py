"""Workers that are killed: nothing hangs, nothing is lost, nothing is delivered twice, and what remains is exact."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re

import pytest
from crashes import Crew, after, before, die, die_at_line

import suite.ledger
from suite import Evaluation, Overhead, Query, Simulator, journal
from suite.coordination import Coordinator
from suite.errors import WorkerDied
from suite.idle import Idle
from suite.journal import Damage
from suite.ledger import MappedEntries, SharedLedger
from suite.table import UNDO_MARKER, SlotState, SlotTable
from suite.transport import LocalTransport

# Dead workers are looked for every 20 ms; free workers are never taken to be idle, so that every time below is exact.
WATCHFUL = Idle(after=0.08, sign="never")


class Runtimes:
    """An objective whose runtimes are given; the worker dies while it evaluates the `deadly` ones."""

    def __init__(self, runtimes, deadly=()):
        self.runtimes = runtimes
        self.deadly = deadly

    def __call__(self, config, fidelity=None):
        x = config["x"]
        if x in self.deadly:
            die()
        return Evaluation(float(x), float(self.runtimes[x]))


def crew(folder, runtimes, *, deadly=(), queries=None, **specification):
    queries = [Query({"x": x}) for x in range(len(runtimes))] if queries is None else queries
    settings = {"n_workers": 2, "overhead": Overhead.none(), "idle": WATCHFUL, "on_worker_death": "continue"}
    return Crew(folder, Runtimes(runtimes, deadly), queries, **{**settings, **specification})


def agrees_with_zerowait_check(run):
    with contextlib.suppress(ModuleNotFoundError):
        from suite.check import check

        assert check(run) == []


def is_sound(crew):
    assert crew.violations() == []
    agrees_with_zerowait_check(crew.run)


# -- policy "continue" ---------------------------------------------------------------------------------------------------
#
# The witness W makes call 0 (5 s) on slot 0 and waits. The victim V makes call 1 on slot 1 and is killed. The replacement
# starts when V is dead. Both draw what follows: calls 2 (4 s), 3 (3 s), 4 (2 s), 5 (6 s); the budget is 5 calls,
# and who draws 6 or more is refused.

BEFORE_IT_BEGAN = [
    # Call 1 was never claimed. The replacement makes call 2 at 0, call 3 at 4; W makes call 4 at 5; at 7 both end, the
    # earlier start first, and its worker makes call 5.
    (2, "ok", 0.0, 4.0),
    (0, "ok", 0.0, 5.0),
    (3, "ok", 4.0, 7.0),
    (4, "ok", 5.0, 7.0),
    (5, "ok", 7.0, 13.0),
]
BEFORE_THE_FIRST_DELIVERY = [
    # Nothing had been delivered when the death was noticed: lost at 0. The rest as above; call 5 is past the budget.
    (1, "lost", 0.0, 0.0),
    (2, "ok", 0.0, 4.0),
    (0, "ok", 0.0, 5.0),
    (3, "ok", 4.0, 7.0),
    (4, "ok", 5.0, 7.0),
]
AFTER_THE_FIRST_DELIVERY = [
    # V has delivered call 0 at 5, so it is lost at 5, and both workers go on from there: call 2 until 9, call 3 until 8
    # and then call 4 until 10.
    (0, "ok", 0.0, 5.0),
    (1, "lost", 0.0, 5.0),
    (3, "ok", 5.0, 8.0),
    (2, "ok", 5.0, 9.0),
    (4, "ok", 8.0, 10.0),
]
AFTER_ITS_OWN_DELIVERY = [
    # Call 1 lasts 3 s here and was delivered at 3 when V died, so nothing is lost. The replacement makes call 2 at 3;
    # W makes call 3 at 5; call 2 ends at 7 and call 4 follows it until 9.
    (1, "ok", 0.0, 3.0),
    (0, "ok", 0.0, 5.0),
    (2, "ok", 3.0, 7.0),
    (3, "ok", 5.0, 8.0),
    (4, "ok", 7.0, 9.0),
]


def half_a_line(bytes_written):
    """Let the process die when it has written so much of its next journal line."""

    def doom():
        def append(transport, data, offset):
            os.pwrite(transport._journal, data[:bytes_written], offset)
            die()

        LocalTransport.append = append

    return doom


def in_the_middle_of_a_ledger_entry(call):
    """Let the process die between the bytes of the n-th entry that it writes into the ledger."""

    class Deadly:
        def __init__(self):
            self.calls = 0

        def pack(self, *numbers):
            self.calls += 1
            if self.calls == call:
                die()
            return original.pack(*numbers)

        def unpack(self, data):
            return original.unpack(data)

    original = suite.ledger._STATE

    def doom():
        suite.ledger._STATE = Deadly()

    return doom


def doomed(when, owner, name, call=1):
    return lambda: when(owner, name, die, call=call)


# The victim's transactions are: the claim, the finish, the delivery of call 0.
LONG, SHORT = 7, 3  # how long call 1 lasts: it outlives call 0, or is delivered before it
DEATHS = {
    "waiting for the lock": (LONG, doomed(before, LocalTransport, "__enter__"), BEFORE_IT_BEGAN),
    "when its claim had begun": (LONG, doomed(after, SlotTable, "begin"), BEFORE_IT_BEGAN),
    "when its claim had entered the ledger": (LONG, in_the_middle_of_a_ledger_entry(1), BEFORE_IT_BEGAN),
    "when its claim had locked the slot": (LONG, doomed(after, LocalTransport, "hold"), BEFORE_IT_BEGAN),
    "before its claim was committed": (LONG, doomed(before, SlotTable, "commit"), BEFORE_IT_BEGAN),
    "when its claim was committed": (LONG, doomed(after, SlotTable, "commit"), BEFORE_THE_FIRST_DELIVERY),
    "before it finished": (LONG, doomed(before, Coordinator, "finish"), BEFORE_THE_FIRST_DELIVERY),
    "when its finish had begun": (LONG, doomed(after, SlotTable, "begin", 2), BEFORE_THE_FIRST_DELIVERY),
    "before its finish was committed": (LONG, doomed(before, SlotTable, "commit", 2), BEFORE_THE_FIRST_DELIVERY),
    "when its finish was committed": (LONG, doomed(after, SlotTable, "commit", 2), BEFORE_THE_FIRST_DELIVERY),
    "when a delivery had begun": (LONG, doomed(after, SlotTable, "begin", 3), BEFORE_THE_FIRST_DELIVERY),
    "after the first byte of a journal line": (LONG, half_a_line(1), BEFORE_THE_FIRST_DELIVERY),
    "in the middle of a journal line": (LONG, half_a_line(150), BEFORE_THE_FIRST_DELIVERY),
    "before the end of a journal line": (LONG, half_a_line(-1), BEFORE_THE_FIRST_DELIVERY),
    "after a journal line": (LONG, doomed(after, LocalTransport, "append"), BEFORE_THE_FIRST_DELIVERY),
    "when a delivery had entered the ledger": (LONG, in_the_middle_of_a_ledger_entry(2), BEFORE_THE_FIRST_DELIVERY),
    "before a delivery was committed": (LONG, doomed(before, SlotTable, "commit", 3), BEFORE_THE_FIRST_DELIVERY),
    "before it woke whom it had delivered to": (LONG, doomed(after, SlotTable, "commit", 3), AFTER_THE_FIRST_DELIVERY),
    "when its own delivery was committed": (SHORT, doomed(after, SlotTable, "commit", 3), AFTER_ITS_OWN_DELIVERY),
    "before it let go of the slot": (SHORT, doomed(before, LocalTransport, "release"), AFTER_ITS_OWN_DELIVERY),
    "when it had let go of the slot": (SHORT, doomed(after, LocalTransport, "release"), AFTER_ITS_OWN_DELIVERY),
}


@pytest.mark.parametrize("moment", DEATHS)
def test_a_worker_killed_at_any_moment_costs_its_own_evaluation_at_most(tmp_path, moment):
    runtime, doom, expected = DEATHS[moment]
    with crew(tmp_path, [5, runtime, 4, 3, 2, 6, 1, 1, 1, 1], max_evaluations=5, continual=True) as run:
        witness = run.start(run.work)
        run.until_state(0, SlotState.FINISHED)
        run.dies(run.start(run.work, doom=doom))
        replacement = run.start(run.work)
        run.ends(witness, replacement)
        assert run.times() == expected
        is_sound(run)


def test_a_worker_killed_while_it_evaluates_is_lost_and_the_others_go_on(tmp_path):
    with crew(tmp_path, [5, 7, 4, 3, 2, 6, 1, 1, 1, 1], deadly={1}, max_evaluations=5) as run:
        witness = run.start(run.work)
        run.until_state(0, SlotState.FINISHED)
        run.dies(run.start(run.work))
        run.ends(witness, run.start(run.work))
        assert run.times() == BEFORE_THE_FIRST_DELIVERY
        is_sound(run)
