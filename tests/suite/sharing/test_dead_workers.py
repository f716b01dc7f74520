"""Workers that are killed: nothing hangs, nothing is lost, nothing is delivered twice, and what remains is exact."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections import Counter

import pytest
from crashes import HANG, Crew, after, before, die, die_at_line
from drivers import PLACES

import zerowait.suite.sharing.ledger
import zerowait.suite.sharing.shared_directory
import zerowait.suite.sharing.transport
from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import WorkerDied
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal, slot_state
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.journal import Damage
from zerowait.suite.sharing.ledger import MappedEntries, SharedLedger
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.shared_directory import JournalLedger, SharedDirectoryTransport
from zerowait.suite.sharing.table import TEXT_BYTES, SlotTable
from zerowait.suite.sharing.transport import LocalTransport

# Dead workers are looked for every 20 ms; free workers are never taken to be idle, so that every time below is exact.
WATCHFUL = Idle(after=0.08, sign="never")


SHARED_DIRECTORY = False


@pytest.fixture(params=PLACES, autouse=True)
def place(request, monkeypatch):
    """Let every test run on both transports."""
    monkeypatch.setitem(globals(), "SHARED_DIRECTORY", PLACES[request.param])
    return request.param


def crew_of(folder, objective, queries, **specification):
    return Crew(folder, objective, queries, shared_directory=SHARED_DIRECTORY, **specification)


class Runtimes:
    """An objective whose runtimes are given; the worker dies while it evaluates the `deadly` ones."""

    def __init__(self, runtimes, deadly=()):
        self.runtimes = runtimes
        self.deadly = deadly

    def __call__(self, config):
        x = config["x"]
        if x in self.deadly:
            die()
        return Evaluation(float(x), float(self.runtimes[x]))


def crew(folder, runtimes, *, deadly=(), queries=None, **specification):
    queries = [Query({"x": x}) for x in range(len(runtimes))] if queries is None else queries
    settings = {"n_workers": 2, "overhead": Overhead.none(), "idle": WATCHFUL, "on_worker_death": "continue"}
    return crew_of(folder, Runtimes(runtimes, deadly), queries, **{**settings, **specification})


def is_sound(crew):
    assert crew.violations() == []
    assert check(crew.run).violations == ()


# -- policy "continue" -------------------------------------------------------------------------------------------------
#
# The witness W makes call 0 (5 s) on slot 0 and waits. The victim V makes call 1 on slot 1 and is killed. The
# replacement starts when V is dead. Both draw what follows: calls 2 (4 s), 3 (3 s), 4 (2 s), 5 (6 s); the
# budget is 5 calls, and who makes a sixth is refused.

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

        the_transport().append = append

    return doom


def the_transport():
    return SharedDirectoryTransport if SHARED_DIRECTORY else LocalTransport


def before_the_pointer_is_turned(call):
    """Let the process die when it has written its n-th table, but not yet said that this one counts."""

    class Deadly:
        size, unpack = (
            zerowait.suite.sharing.shared_directory._POINTER.size,
            zerowait.suite.sharing.shared_directory._POINTER.unpack,
        )

        def __init__(self):
            self.calls = 0

        def pack(self, area):
            self.calls += 1
            if self.calls == call:
                die()
            return struct.pack("=q", area)

    def doom():
        zerowait.suite.sharing.shared_directory._POINTER = Deadly()

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

    original = zerowait.suite.sharing.ledger._STATE

    def doom():
        zerowait.suite.sharing.ledger._STATE = Deadly()

    return doom


def doomed(when, owner, name, call=1):
    return lambda: when(the_transport() if owner == "transport" else owner, name, die, call=call)


# The victim's transactions are: the claim, the finish, the delivery of call 0.
LONG, SHORT = 7, 3  # how long call 1 lasts: it outlives call 0, or is delivered before it
DEATHS = {
    "waiting for the lock": (LONG, doomed(before, "transport", "__enter__"), BEFORE_IT_BEGAN),
    "when its claim had begun": (LONG, doomed(after, SlotTable, "begin"), BEFORE_IT_BEGAN),
    "when its claim had entered the ledger": (LONG, in_the_middle_of_a_ledger_entry(1), BEFORE_IT_BEGAN),
    "when its claim had locked the slot": (LONG, doomed(after, "transport", "hold"), BEFORE_IT_BEGAN),
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
    "after a journal line": (LONG, doomed(after, "transport", "append"), BEFORE_THE_FIRST_DELIVERY),
    "when a delivery had entered the ledger": (LONG, in_the_middle_of_a_ledger_entry(2), BEFORE_THE_FIRST_DELIVERY),
    "before a delivery was committed": (LONG, doomed(before, SlotTable, "commit", 3), BEFORE_THE_FIRST_DELIVERY),
    "before it woke whom it had delivered to": (LONG, doomed(after, SlotTable, "commit", 3), AFTER_THE_FIRST_DELIVERY),
    "when its own delivery was committed": (SHORT, doomed(after, SlotTable, "commit", 3), AFTER_ITS_OWN_DELIVERY),
    "before it let go of the slot": (SHORT, doomed(before, "transport", "release"), AFTER_ITS_OWN_DELIVERY),
    "when it had let go of the slot": (SHORT, doomed(after, "transport", "release"), AFTER_ITS_OWN_DELIVERY),
}


# On several hosts nothing counts before the table has been published, which is at the end of a critical section. The
# victim publishes: its registration, the claim, finish and delivery together, and that it has taken its result. It
# enters once more, before all that, to look whether the table is whole.
SHARED_DEATHS = {
    **{moment: death for moment, death in DEATHS.items() if "ledger" not in moment},
    "when its claim had read the journal": (LONG, doomed(after, JournalLedger, "take"), BEFORE_IT_BEGAN),
    "when its claim was committed": (LONG, doomed(after, SlotTable, "commit"), BEFORE_IT_BEGAN),
    "before its claim was published": (LONG, before_the_pointer_is_turned(2), BEFORE_IT_BEGAN),
    "when its claim was published": (LONG, doomed(after, "transport", "_publish", 3), BEFORE_THE_FIRST_DELIVERY),
    "before it woke whom it had delivered to": (
        LONG, doomed(after, SlotTable, "commit", 3), BEFORE_THE_FIRST_DELIVERY,
    ),
    "before a delivery was published": (LONG, before_the_pointer_is_turned(3), BEFORE_THE_FIRST_DELIVERY),
    "when a delivery was published": (LONG, doomed(after, "transport", "_publish", 4), AFTER_THE_FIRST_DELIVERY),
    "when its own delivery was committed": (SHORT, doomed(after, SlotTable, "commit", 3), BEFORE_THE_FIRST_DELIVERY),
    "when its own delivery was published": (SHORT, doomed(after, "transport", "_publish", 4), AFTER_ITS_OWN_DELIVERY),
    "before it had taken its result": (SHORT, before_the_pointer_is_turned(4), AFTER_ITS_OWN_DELIVERY),
}  # fmt: skip


def on_its_place(local, shared):
    """Parametrise a test by moments, each on the transport that has it."""
    return pytest.mark.parametrize(
        ("place", "moment"),
        [(place, moment) for place, several in PLACES.items() for moment in (shared if several else local)],
        indirect=["place"],
    )


def only_on(place):
    return pytest.mark.parametrize("place", [place] if place in PLACES else [], indirect=True)


@on_its_place(DEATHS, SHARED_DEATHS)
def test_a_worker_killed_at_any_moment_costs_its_own_evaluation_at_most(tmp_path, moment):
    runtime, doom, expected = (SHARED_DEATHS if SHARED_DIRECTORY else DEATHS)[moment]
    with crew(tmp_path, [5, runtime, 4, 3, 2, 6, 1, 1, 1, 1], max_evaluations=5, continual=True) as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doom))
        replacement = run.start(run.work)
        run.ends(witness, replacement)
        assert run.times() == expected
        is_sound(run)


def test_a_worker_killed_while_it_evaluates_is_lost_and_the_others_go_on(tmp_path):
    with crew(tmp_path, [5, 7, 4, 3, 2, 6, 1, 1, 1, 1], deadly={1}, max_evaluations=5) as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work))
        run.ends(witness, run.start(run.work))
        assert run.times() == BEFORE_THE_FIRST_DELIVERY
        is_sound(run)


@pytest.mark.parametrize("length", [pytest.param(5, id="the next in line"), pytest.param(7, id="the last in line")])
def test_a_worker_killed_while_it_waits_for_its_delivery_is_lost_and_the_others_go_on(tmp_path, length):
    # Call 0 lasts 5 or 7 s and waits for the third worker, call 1 lasts 6 s. When the worker of call 0 is killed,
    # nothing has been delivered: it is lost at 0. Then two workers are free at 0: call 2 (4 s) and call 3 (3 s) start;
    # call 4 (2 s) follows call 3 from 3 until 5, call 5 (9 s) follows call 2 from 4 until 13; that was the sixth call.
    with crew(tmp_path, [length, 6, 4, 3, 2, 9, 1, 1, 1, 1], n_workers=3, max_evaluations=6) as run:
        victim = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        witness = run.start(run.work)
        run.until_state(1, slot_state.FINISHED)
        run.kill(victim)
        run.until(run.records, "the dead worker's call is recorded as lost")
        run.ends(witness, run.start(run.work), run.start(run.work))
        assert run.times() == [
            (0, "lost", 0.0, 0.0),
            (3, "ok", 0.0, 3.0),
            (2, "ok", 0.0, 4.0),
            (4, "ok", 3.0, 5.0),
            (1, "ok", 0.0, 6.0),
            (5, "ok", 4.0, 13.0),
        ]
        is_sound(run)


def test_all_threads_of_a_killed_process_are_lost_and_the_others_go_on(tmp_path):
    # Calls 0, 1 and 2 are made by three threads of one process, which is killed at 0. Four others take over with calls
    # 3 (4 s), 4 (1 s), 5 (2 s) and 6 (3 s), and call 7 (8 s) follows call 4.
    with crew(tmp_path, [1, 2, 9, 4, 1, 2, 3, 8, 1, 1, 1, 1], n_workers=4, max_evaluations=8) as run:
        victim = run.start(run.work_in_threads, 3)
        for slot in range(3):
            run.until_state(slot, slot_state.FINISHED)
        run.kill(victim)
        witness = run.start(run.work)
        run.until(lambda: len(run.records()) == 3, "three are recorded as lost")
        run.ends(witness, *(run.start(run.work) for _ in range(3)))
        lost, others = run.times()[:3], run.times()[3:]
        assert sorted(lost) == [(0, "lost", 0.0, 0.0), (1, "lost", 0.0, 0.0), (2, "lost", 0.0, 0.0)]
        assert others == [
            (4, "ok", 0.0, 1.0),
            (5, "ok", 0.0, 2.0),
            (6, "ok", 0.0, 3.0),
            (3, "ok", 0.0, 4.0),
            (7, "ok", 1.0, 9.0),
        ]
        is_sound(run)


def fork_a_sleeper():
    # A child lets go of what it inherited as the first thing that it does; on a busy machine that may come after its
    # parent has been killed, and until then the kernel knows no difference between the two.
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, b"!")
        time.sleep(HANG)
        os._exit(0)
    os.read(reader, 1)


def run_a_program():
    subprocess.Popen(["sleep", str(HANG)])


@pytest.mark.parametrize("child", [fork_a_sleeper, run_a_program])
def test_a_child_that_outlives_a_killed_process_does_not_keep_its_slot(tmp_path, child):
    # The victim makes call 0 (2 s) and waits; then it starts a child, which inherits what it has open, and is killed.
    # The others make calls 1 (3 s), which would be delivered after call 0, 2 (4 s) and, after call 1, call 3 (2 s).
    with crew(tmp_path, [2, 3, 4, 2, 1, 1], max_evaluations=4) as run:
        ready = tmp_path / "ready"

        def with_a_child():
            os.setpgid(0, 0)
            threading.Thread(target=run.work).start()
            run.until_state(0, slot_state.FINISHED)
            child()
            ready.touch()

        victim = run.start(with_a_child)
        run.until(ready.exists, "the victim has a child")
        try:
            run.kill(victim)
            run.ends(run.start(run.work), run.start(run.work))
            assert run.times() == [(0, "lost", 0.0, 0.0), (1, "ok", 0.0, 3.0), (2, "ok", 0.0, 4.0), (3, "ok", 3.0, 5.0)]
            is_sound(run)
        finally:
            os.killpg(victim.pid, signal.SIGKILL)  # the child, which is still there


def test_a_killed_process_whose_result_was_delivered_already_loses_nothing(tmp_path):
    moment = "when its own delivery was published" if SHARED_DIRECTORY else "when its own delivery was committed"
    runtime, doom, expected = (SHARED_DEATHS if SHARED_DIRECTORY else DEATHS)[moment]
    with crew(tmp_path, [5, runtime, 4, 3, 2, 6, 1, 1, 1, 1], max_evaluations=5, on_worker_death="raise") as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doom))
        run.ends(witness, run.start(run.work))
        assert run.times() == expected
        assert run.testimony("died") == {}
        is_sound(run)


def test_the_last_worker_of_a_run_that_dies_is_recorded_when_somebody_looks(tmp_path):
    # Nobody waits when call 1 dies, and no call comes after it. Call 0 at 5 was the last delivery.
    with crew(tmp_path, [5, 7, 1], deadly={1}, n_workers=1, max_evaluations=2) as run:
        run.dies(run.start(run.work))
        assert run.times() == [(0, "ok", 0.0, 5.0)]
        assert run.simulator.trace()["status"].tolist() == ["ok", "lost"]
        assert run.times() == [(0, "ok", 0.0, 5.0), (1, "lost", 5.0, 5.0)]
        is_sound(run)


def test_a_refused_call_looks_for_the_dead(tmp_path):
    with crew(tmp_path, [5, 7, 1, 1], deadly={1}, n_workers=1, max_evaluations=2) as run:
        run.dies(run.start(run.work))
        run.ends(run.start(run.work))
        assert list(run.testimony("refused")) == [2]
        assert run.times() == [(0, "ok", 0.0, 5.0), (1, "lost", 5.0, 5.0)]
        is_sound(run)


# -- who is killed while it cleans up ----------------------------------------------------------------------------------

RECOVERIES = {
    "before it undid anything": doomed(before, SlotTable, "roll_back"),
    "when it had undone the table": doomed(after, SlotTable, "roll_back"),
    "when it had undone the ledger": doomed(after, SharedLedger, "restore"),
    "when it had undone the journal": doomed(after, os, "ftruncate"),
    "when it had undone everything": doomed(after, "transport", "roll_back"),
    "when the dead worker's burial had begun": doomed(after, SlotTable, "begin", 3),
    "in the middle of the dead worker's record": half_a_line(30),
    "when the dead worker was recorded": doomed(after, "transport", "append"),
    "before the dead worker's burial was committed": doomed(before, SlotTable, "commit", 4),
}


# On several hosts there is nothing to undo: the dead worker's table was never published.
SHARED_RECOVERIES = {
    "when the dead worker's burial had begun": doomed(after, SlotTable, "begin", 3),
    "in the middle of the dead worker's record": half_a_line(30),
    "when the dead worker was recorded": doomed(after, "transport", "append"),
    "before the dead worker's burial was committed": doomed(before, SlotTable, "commit", 3),
    "before the dead worker's burial was published": before_the_pointer_is_turned(4),
}


@on_its_place(RECOVERIES, SHARED_RECOVERIES)
def test_a_worker_killed_while_it_cleans_up_after_another_is_followed_by_one_who_does(tmp_path, moment):
    # The victim makes call 0 (5 s) and waits. Call 1 (7 s) is made by one who dies while it delivers call 0, with the
    # journal line and the ledger entry written. Now the victim of this test looks for the dead, and dies as well. Two
    # replacements start: both calls are lost at 0, and calls 2, 3 and 4 fill the two slots: 0-4, 0-3, 3-5.
    with crew(tmp_path, [5, 7, 4, 3, 2, 6, 1, 1, 1, 1], max_evaluations=5, continual=True) as run:
        victim = run.start(run.work, doom=(SHARED_RECOVERIES if SHARED_DIRECTORY else RECOVERIES)[moment])
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doomed(before, SlotTable, "commit", 3)))
        run.dies(victim)
        run.ends(run.start(run.work), run.start(run.work))
        lost, others = run.times()[:2], run.times()[2:]
        assert sorted(lost) == [(0, "lost", 0.0, 0.0), (1, "lost", 0.0, 0.0)]
        assert others == [(3, "ok", 0.0, 3.0), (2, "ok", 0.0, 4.0), (4, "ok", 3.0, 5.0)]
        is_sound(run)


def ten_seconds_an_epoch(config, fidelity):
    return Evaluation(float(config["x"]), 10.0 * fidelity)


@only_on("one host")  # elsewhere no state is stored that could have to be undone
def test_a_state_that_was_undone_cannot_be_continued_even_if_who_undid_it_was_killed(tmp_path):
    # Configuration 0 was about to be delivered at 10 when both workers died, so it is lost. Calls 2 (10 s) and 3 (20 s)
    # start at 0; call 4 trains configuration 0 from 10 until 40, because there is nothing that it could continue.
    queries = [Query({"x": x}, z) for x, z in [(0, 1.0), (1, 2.0), (2, 1.0), (3, 2.0), (0, 3.0), (5, 1.0), (6, 1.0)]]
    specification = {"n_workers": 2, "max_evaluations": 5, "overhead": Overhead.none(), "continual": True}
    policies = {"idle": WATCHFUL, "on_worker_death": "continue"}
    with crew_of(tmp_path, ten_seconds_an_epoch, queries, **specification, **policies) as run:
        victim = run.start(run.work, doom=doomed(before, SharedLedger, "restore"))
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doomed(before, SlotTable, "commit", 3)))
        run.dies(victim)
        run.ends(run.start(run.work), run.start(run.work))
        assert sorted(run.times()[:2]) == [(0, "lost", 0.0, 0.0), (1, "lost", 0.0, 0.0)]
        assert run.times()[2:] == [(2, "ok", 0.0, 10.0), (3, "ok", 0.0, 20.0), (4, "ok", 10.0, 40.0)]
        is_sound(run)


def test_a_delivery_that_was_undone_is_no_longer_in_the_journal(tmp_path):
    # Its line stands complete behind the end of the journal when its worker is killed before the commit.
    with crew(tmp_path, [5, 7, 1], max_evaluations=2, on_worker_death="raise") as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doomed(before, SlotTable, "commit", 3)))
        run.ends(witness)
        assert list(run.testimony("died")) == [0]
        assert run.records() == []
        if SHARED_DIRECTORY:  # the line still stands there; whoever looks leaves it out, and the next one replaces it
            assert len(journal.read(run.run / "journal")) == 1
            (note,) = check(run.run).notes
            assert note.startswith("what stands behind the 0 lines that the run has recorded is left out (1 more)")
            assert len(read_run(run.run)) == 0
        else:
            assert journal.read(run.run / "journal") == []
        is_sound(run)


def test_what_a_long_line_left_behind_a_shorter_one_is_not_in_the_journal(tmp_path):
    # Call 0, whose configuration fills 3 kB, is undone after its line was written; then call 1 is recorded as lost in a
    # line that is much shorter, and nothing follows that would cover the rest.
    queries = [Query({"x": 0, "text": "long" * 750}), Query({"x": 1}), Query({"x": 2})]
    with crew(tmp_path, [5, 7, 1], queries=queries, max_evaluations=3) as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doomed(before, SlotTable, "commit", 3)))
        run.until(lambda: run.times() == [(1, "lost", 0.0, 0.0)], "the dead worker's call is recorded as lost")
        assert not any(isinstance(item, Damage) for item in journal.scan(run.run / "journal"))
        run.kill(witness)


@pytest.mark.parametrize("size", [3_740, 100_000])
def test_a_worker_killed_while_it_writes_a_description_that_does_not_fit_is_recorded_in_full(tmp_path, size):
    # With 3,740 bytes only the result does not fit into the slot's record, with 100,000 the configuration does not.
    queries = [Query({"x": x, "text": "x" * size}) for x in range(8)]
    result = 1 if size == 3_740 else 2  # which of the worker's writes comes with the result
    assert size < TEXT_BYTES if result == 1 else size > TEXT_BYTES

    def doom():
        write, writes = RunDirectory.write_spill, 0

        def write_a_bit(directory, slot, text, offset=0):
            nonlocal writes
            writes += 1
            if writes == result:
                write(directory, slot, text[:10], offset)
                die()
            write(directory, slot, text, offset)

        RunDirectory.write_spill = write_a_bit

    with crew(tmp_path, [5, 7, 4, 3, 2, 6, 1, 1], queries=queries, max_evaluations=5) as run:
        witness = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        run.dies(run.start(run.work, doom=doom))
        run.ends(witness, run.start(run.work))
        assert run.times() == BEFORE_THE_FIRST_DELIVERY
        assert run.records()[0]["config"] == queries[1].config
        is_sound(run)


LEDGER_DEATHS = {
    "when the larger file was made": doomed(after, MappedEntries, "create"),
    "when it was half filled": doomed(after, zerowait.suite.sharing.ledger, "_first_free", 5),
    "when it was in use": doomed(after, SharedLedger, "reserve", 4),
}


@only_on("one host")  # elsewhere the journal is the ledger
@pytest.mark.parametrize("moment", LEDGER_DEATHS)
def test_a_worker_killed_while_the_ledger_grows_leaves_every_state_in_it(tmp_path, moment, monkeypatch):
    # Room for 8 entries, which grows when the fourth comes. Every configuration is evaluated at fidelity 1 (10 s),
    # continued at 3 (30 - 10 s) and at 9 (90 - 30 s).
    monkeypatch.setattr(zerowait.suite.sharing.transport, "FIRST_CAPACITY", 8)
    queries = [Query({"x": x}, z) for z in (1.0, 3.0, 9.0) for x in range(4)]
    specification = {"n_workers": 1, "max_evaluations": 12, "overhead": Overhead.none(), "continual": True}
    policies = {"idle": WATCHFUL, "on_worker_death": "continue"}
    with crew_of(tmp_path, ten_seconds_an_epoch, [*queries, Query({"x": 4}, 1.0)], **specification, **policies) as run:
        run.dies(run.start(run.work, doom=LEDGER_DEATHS[moment]))
        run.ends(run.start(run.work))
        killed = run.killed_calls()
        assert len(killed) == 1
        spoilt = queries[killed[0]].config["x"]
        assert len(run.records()) >= 11
        for record in run.records():
            if record["config"]["x"] != spoilt:
                assert record["runtime"] == {1.0: 10.0, 3.0: 20.0, 9.0: 60.0}[record["fidelity"]]
                assert record.get("resumed_from") == {1.0: None, 3.0: 1.0, 9.0: 3.0}[record["fidelity"]]
        is_sound(run)


# -- policy "raise" ----------------------------------------------------------------------------------------------------


def test_every_waiting_call_raises_worker_died_and_names_slot_process_and_configuration(tmp_path):
    # Calls 0, 1 and 2 are delivered at 1, 2 and 3 and followed by 4, 5 and 6; call 6 kills its worker, so call 3, which
    # ends at 4, waits for ever, like calls 4 and 5.
    with crew(tmp_path, [1, 2, 3, 4, 10, 10, 10], deadly={6}, n_workers=4, on_worker_death="raise") as run:
        workers = [run.start(run.work) for _ in range(4)]
        run.until(lambda: any(p.exitcode == -signal.SIGKILL for p in workers), "one has died")
        victim = next(p for p in workers if p.exitcode == -signal.SIGKILL)
        run.dies(victim)
        run.ends()
        assert run.times() == [(0, "ok", 0.0, 1.0), (1, "ok", 0.0, 2.0), (2, "ok", 0.0, 3.0)]
        slot = run.records()[2]["slot"]
        died = run.testimony("died")
        assert sorted(died) == [3, 4, 5]
        for witness in died.values():
            assert re.fullmatch(
                rf"process {victim.pid} died, or left its call, while it held slot {slot} with the configuration "
                r"\{'x': 6\}; the 3 evaluations recorded before are intact in .*/run/journal\. "
                r".*on_worker_death='continue'.*",
                witness["message"],
            )
        is_sound(run)


def test_calls_that_evaluate_when_a_worker_dies_and_later_ones_raise_worker_died_too(tmp_path):
    gate = tmp_path / "gate"
    queries = [Query({"x": x}) for x in range(4)]

    def objective(config):
        if config["x"] == 0:
            while not gate.exists():
                time.sleep(0.002)
        if config["x"] == 2:
            die()
        return Evaluation(0.0, 1.0)

    with crew_of(tmp_path, objective, queries, n_workers=3, overhead=Overhead.none(), idle=WATCHFUL) as run:
        evaluating = run.start(run.work)
        run.until_state(0, slot_state.EVALUATING)
        waiting = run.start(run.work)
        run.until_state(1, slot_state.FINISHED)
        run.dies(run.start(run.work))
        run.ends(waiting)
        assert sorted(run.testimony("died")) == [1]
        gate.touch()
        run.ends(evaluating, run.start(run.work))
        died = run.testimony("died")
        assert sorted(died) == [0, 1, 3]
        assert len({w["message"] for w in died.values()}) == 1
        assert run.records() == []
        is_sound(run)


def test_a_thread_that_leaves_its_call_counts_as_dead_and_its_process_goes_on(tmp_path):
    # What kills a thread is an exception that nothing catches: the objective of call 1 asks its process to exit.
    def objective(config):
        if config["x"] == 1:
            raise SystemExit
        return Evaluation(0.0, 5.0)

    queries = [Query({"x": x}) for x in range(3)]
    with crew_of(tmp_path, objective, queries, n_workers=2, overhead=Overhead.none(), idle=WATCHFUL) as run:
        waiting = run.start(run.work)
        run.until_state(0, slot_state.FINISHED)
        leaving = run.start(run.work)
        run.ends(leaving, waiting)
        (witness,) = run.testimony("died").values()
        assert f"process {leaving.pid} died, or left its call, while it held slot 1" in witness["message"]
        assert run.records() == []


@pytest.mark.parametrize("policy", ["continue", "raise"])
def test_a_pool_whose_worker_is_killed_ends_in_time(tmp_path, policy):
    """multiprocessing.Pool replaces a killed process, but the call that it made never comes back."""
    objective = Runtimes([1, 2, 3, 4, 5, 6, 7, 8], deadly={3})
    settings = {"overhead": Overhead.none(), "idle": Idle(after=0.2), "on_worker_death": policy}
    settings["shared_directory"] = SHARED_DIRECTORY
    with (
        Simulator(objective, n_workers=2, directory=tmp_path / "run", max_evaluations=8, **settings) as simulator,
        multiprocessing.get_context("fork").Pool(2) as pool,
    ):
        results = [pool.apply_async(simulator, ({"x": x},)) for x in range(8)]
        outcomes = {}
        for x in (0, 1, 2, 4, 5, 6, 7):
            try:
                outcomes[x] = results[x].get(timeout=HANG).end
            except WorkerDied:
                outcomes[x] = "died"
        assert not results[3].ready()
        trace = simulator.trace()
    if policy == "raise":
        # 0: 0-1, 1: 0-2, 2: 1-4; call 3 starts at 2 and kills its worker.
        assert outcomes == {0: 1.0, 1: 2.0, 2: "died", 4: "died", 5: "died", 6: "died", 7: "died"}
        assert trace["end"].tolist() == [1.0, 2.0]
    else:
        # Call 3 is lost at 2, where the process that replaces its worker makes call 4, until 7; call 5 follows call 2
        # from 4 until 10, call 6 follows call 4 from 7 until 14, call 7 follows call 5 from 10 until 18.
        assert outcomes == {0: 1.0, 1: 2.0, 2: 4.0, 4: 7.0, 5: 10.0, 6: 14.0, 7: 18.0}
        assert trace["status"].tolist() == ["ok", "ok", "lost", "ok", "ok", "ok", "ok", "ok"]
        assert trace["end"].tolist() == [1.0, 2.0, 2.0, 4.0, 7.0, 10.0, 14.0, 18.0]
    assert check(tmp_path / "run").violations == ()


# -- at every line -----------------------------------------------------------------------------------------------------


def killed_at_line(folder, line, policy):
    """Let two processes make 9 calls and kill one at this line of suite; return whether it came that far."""
    queries = [Query({"x": x}, z) for x in range(8) for z in (1.0, 3.0)]
    specification = {"n_workers": 2, "max_evaluations": 9, "overhead": Overhead.none(), "continual": True}
    policies = {"idle": WATCHFUL, "on_worker_death": policy}
    with crew_of(folder, ten_seconds_an_epoch, queries, **specification, **policies) as run:
        victim = run.start(run.work, doom=lambda: die_at_line(line))
        others = [run.start(run.work)]
        victim.join(HANG)
        killed = victim.exitcode == -signal.SIGKILL
        if killed:
            run.dies(victim)
            others.append(run.start(run.work))
        run.ends(*others)
        run.simulator.trace()  # whoever looks sees to the dead
        is_sound(run)
        statuses = Counter(r["status"] for r in run.records())
        if policy == "continue" or not run.testimony("died"):
            assert statuses["ok"] + statuses["lost"] == 9
        assert statuses["lost"] <= (policy == "continue" and killed)
        return killed


def kill_at_every_line(folder, policy, step, first=1):
    for line in itertools.count(first, step):
        (folder / str(line)).mkdir()
        try:
            killed = killed_at_line(folder / str(line), line, policy)
        except BaseException as error:
            error.add_note(f"the worker was killed at line {line}, policy {policy!r}")
            raise
        shutil.rmtree(folder / str(line))
        if not killed:
            return (line - first) // step
    raise AssertionError


@pytest.mark.parametrize("policy", ["continue", "raise"])
def test_a_worker_killed_at_any_fortieth_line_that_it_executes_costs_its_own_evaluation_at_most(tmp_path, policy):
    assert kill_at_every_line(tmp_path, policy, step=41 if not SHARED_DIRECTORY else 67) > 15


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["continue", "raise"])
def test_a_worker_killed_at_any_line_that_it_executes_costs_its_own_evaluation_at_most(tmp_path, policy):
    assert kill_at_every_line(tmp_path, policy, step=1) > 600
