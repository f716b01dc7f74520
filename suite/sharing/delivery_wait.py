"""The wait of a caller whose result is not due: timers, idle workers, dead ones.

Nothing here is needed as long as the run goes on: a delivery wakes exactly the caller whose turn it is. Only who has
waited long looks whether somebody died, whether a wake-up was lost with its sender, and whether free workers are idle;
and of those who are not next in line, nobody does while the run goes on.
"""

from __future__ import annotations

import math
import time
import warnings

import numpy as np

from zerowait.suite.logger import logger
from zerowait.suite.rules import timeline
from zerowait.suite.sharing import header, idle, record, slot_state
from zerowait.suite.sharing.activity import among_waiting
from zerowait.suite.sharing.call import Taken
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.idle import Quiescence
from zerowait.suite.sharing.journal_schema import Release
from zerowait.suite.sharing.waiting import Wait

_SLOWEST_LOOK = 2.0  # real seconds after which even the last in line looks whether the run is well, if nothing happens
_SHORTEST_TIMER = 2e-4  # real seconds; shorter ones only keep the processor from whoever samples


def wait_for_delivery(run: Coordinator, slot: int) -> Taken:
    """Wait until the result in this slot has been delivered, and give the slot back.

    Raises
    ------
    BudgetExhausted, WorkerDied, RunDirectoryError
        The run ended before this result could be delivered.
    """
    if run.is_waiting(slot):
        wait = DeliveryWait(run, slot)
        try:
            with among_waiting():
                wait.keep()
        finally:
            for text in wait.warnings:
                warnings.warn(text, stacklevel=4)
    return run.take(slot)


class DeliveryWait(Wait):
    """The wait of one caller for the delivery of the result in its slot."""

    def __init__(self, run: Coordinator, slot: int) -> None:
        super().__init__(run)
        self._slot = slot
        self._events = -1  # at the last look
        self._first_look = min(1.0, max(0.02, idle.needed_now(run.table, run.rules.idle) / 4))

    def keep(self) -> None:
        """Return when the result has been delivered, or when the run has ended."""
        run, slot = self._run, self._slot
        look_at = time.monotonic() + self._first_look
        due = self._until_due() if run.measured else math.inf
        while run.is_waiting(slot):
            woken = self._wait(min(due, max(0.0, look_at - time.monotonic())))
            if not run.is_waiting(slot):
                return
            # Most wake-ups without a delivery say nothing: one that an earlier call of this slot did not wait for, or,
            # under measured overhead, that an end comes up. After an idle release one hands on the watch over the run.
            asked = woken and run.table.ints[header.RELEASES_IN_A_ROW]
            if asked or time.monotonic() >= look_at:
                look_at = time.monotonic() + self._look()
            if run.measured:
                due = self._until_due()

    def _wait(self, timeout: float) -> bool:
        began = time.monotonic()
        try:
            woken = self._run.transport.wait(self._slot, timeout)
        except OSError as error:
            # The others would be told that a worker died. (With too many threads, there is no descriptor to wait on.)
            self._run.fail(error)
            raise
        self._note_sleep(timeout, time.monotonic() - began)
        return woken

    def _until_due(self) -> float:
        """Deliver what is due; return the real seconds until the clocks of the free slots reach this slot's end."""
        with self._run.transport as table:
            if not table.ints[header.STOP_REASON]:
                self._run.advance(self._slot)
            if table.least_finished() != self._slot:
                return math.inf
            end = table.floats[table.rows[self._slot] + record.END]
            # Beside a large end the clock moves in steps, and to look more often than that is of no use.
            return max(_SHORTEST_TIMER, end - self._run.bound() + 1e-6, math.ulp(end) / 2.0)

    def _look(self) -> float:
        """See to the run's health; return after how many real seconds to look again."""
        run, slot, table, ints = self._run, self._slot, self._run.table, self._run.table.ints
        halted = self._halted_since()
        self._leave_if_interrupted()
        if self._is_somebody_elses_turn():
            return self._turn()
        with run.transport:
            events = ints[header.EVENTS]
            first = table.least_finished() == slot
            is_tail = idle.is_accustomed_tail(table)
        quiet = math.inf if is_tail else 0.0
        if first and not is_tail and run.rules.idle.sign != "never":
            if self._quiescence is None:
                self._quiescence = Quiescence(run.rules.idle)
            quiet = self._quiescence.seconds(events, run.participants(), halted)
        with run.transport:
            if run.rules.query_timeout < math.inf:
                run.end_if_hung()
            if ints[header.STOP_REASON]:
                run.end.expire()
                return self._first_look
            scanned = self._look_for_dead_workers()
            run.advance(None)
            if ints[header.EVENTS] == events and table.least_finished() == slot:
                quiet = min(quiet, run.now() - table.floats[header.LAST_RETURN] - halted)
                needed = idle.needed_now(table, run.rules.idle)
                release = None
                if self._only_free_slots_block():
                    release = self._release_for(quiet, needed, events)
                if release is not None:
                    if not scanned and run.dead.reap_all():  # nobody is taken to be idle who is dead
                        run.advance(None)
                    else:
                        self._release(release, needed)
                    return self._first_look
                interval = self._quiescence.shortest_interval if self._quiescence else 0.0
                # Not a quarter later than it is enough, because the last look came a moment too early.
                left = max(needed - quiet, _SHORTEST_TIMER)
                return max(min(self._first_look, needed / 4, left), interval)
        return self._turn()

    def _is_somebody_elses_turn(self) -> bool:
        """Tell whether the run goes on and others are nearer to their delivery, so that this caller need not look.

        Read without the lock: with a thousand callers in line, each of which takes it to look whether all is well,
        nobody else gets it.
        """
        before, self._events = self._events, self._run.table.ints[header.EVENTS]
        return self._events != before and self._run.table.least_finished() != self._slot

    def _turn(self) -> float:
        """Return after how many real seconds to look again; the later, the more callers are nearer to theirs."""
        table = self._run.table
        ahead = int(np.count_nonzero(table.ends < table.floats[table.rows[self._slot] + record.END]))
        return min(_SLOWEST_LOOK, self._first_look * (1 + ahead))

    def _look_for_dead_workers(self) -> bool:
        """Deal with the dead, unless another caller has just looked; return whether this one did.

        It takes a question to the kernel a slot. What a caller of this process has left behind, nobody else can see.
        """
        run, now = self._run, self._run.now()
        just_done = 0.0 <= now - run.table.floats[header.LOOKED_AT] < self._first_look
        if just_done and not run.transport.has_left_a_slot():
            return False
        run.table.floats[header.LOOKED_AT] = now
        run.dead.reap_all()
        return True

    def _only_free_slots_block(self) -> bool:
        table = self._run.table
        if table.slots_in(slot_state.DELIVERED):
            return False  # its caller has not even heard of it, so the optimizer cannot have answered yet
        if not table.ints[header.EVALUATING]:
            return True
        starts = np.min(table.starts, where=table.states == slot_state.EVALUATING, initial=math.inf)
        return timeline.is_deliverable(table.floats[table.rows[self._slot] + record.END], float(starts))

    def _release(self, release: Release, needed: float) -> None:
        """Deliver the least result although slots are free: they are idle."""
        run, table = self._run, self._run.table
        end = table.floats[table.rows[self._slot] + record.END]
        if not run.deliver(self._slot, None, release):
            return
        table.floats[header.GUESSED_AFTER] = needed
        if self._quiescence is not None and self._quiescence.work is not None:
            idle.note_work(table, self._quiescence.work, run.now())
        root = run.transport.directory.root
        logger.info("%s: the free workers are idle; released the result due at %r s", root, end)
        if release is Release.STALLED:
            self.warnings.append(
                f"{root}: free workers got no call for {run.rules.idle.stall_after:g} s, although a call was promised "
                f"or something worked a little; they are taken to be idle, and the result due at {end!r} s is delivered"
            )
        idle.let_clocks_go_on(table, end, run.now())
        idle.pass_over(table, run.dead.is_gone)
        following = table.least_finished()
        if following is not None:
            run.transport.wake(following)  # it watches over the run from now on
