"""The wait of a call that came before the worker that will run it."""

from __future__ import annotations

import time
import warnings

from zerowait.suite.sharing import header, idle, slot_state
from zerowait.suite.sharing.activity import among_waiting
from zerowait.suite.sharing.call import Call
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.idle import Quiescence
from zerowait.suite.sharing.waiting import Wait

_LOOK_AGAIN = 0.02  # real seconds; nobody wakes a call that has no slot, and few wait: as many as workers are to come
_IN_A_CALL = (slot_state.EVALUATING, slot_state.FINISHED, slot_state.DELIVERED)


def claim(run: Coordinator, call: Call) -> int:
    """Give the call a free slot and its start, when a worker is there; return the slot.

    Raises
    ------
    BudgetExhausted
        The run takes no more evaluations.
    TooManyCallsError
        Every slot is taken.
    WorkerDied, RunDirectoryError, RunAborted, StalledError, WrongGuessError
        The run has ended in this error, or Ctrl-C has ended it.
    SpecificationError
        The optimizer's id disagrees with the configuration.
    """
    pause = idle.pause_before(run.table, run.rules.idle, call.entered, run.participants)
    try:
        slot = run.claim(call, pause)
        if slot is None:
            wait = ArrivalWait(run, call)
            with among_waiting():
                while (slot := run.claim(call, pause)) is None:
                    wait.look()
                    wait.sleep()
        return slot
    finally:
        for text in call.warnings:
            warnings.warn(text, stacklevel=4)


class ArrivalWait(Wait):
    """The wait of one call for its worker to come.

    It leaves the workers that are free to the calls that follow on results. When none can follow, it takes one: nobody
    is in a call who could be told of a result, and the optimizer is idle by the rule that lets results go.
    """

    def __init__(self, run: Coordinator, call: Call) -> None:
        super().__init__(run)
        self._call = call
        self.warnings = call.warnings
        self._quiescence: Quiescence = Quiescence(run.rules.idle)
        self._look_at = 0.0

    def sleep(self) -> None:
        """Sleep until there may be news."""
        began = time.monotonic()
        time.sleep(_LOOK_AGAIN)
        self._note_sleep(_LOOK_AGAIN, time.monotonic() - began)

    def look(self) -> None:
        """See to the run's health, from time to time."""
        run, table, now = self._run, self._run.table, time.monotonic()
        self._leave_if_interrupted()
        if now < self._look_at:
            return
        with run.transport:
            run.dead.reap_all()
            run.advance(None)
            events, needed = table.ints[header.EVENTS], idle.needed_now(table, run.rules.idle)
            others = any(table.slots_in(state) for state in _IN_A_CALL)
        halted, never = self._halted_since(), run.rules.idle.sign == "never"
        quiet = 0.0 if never else self._quiescence.seconds(events, run.participants(), halted)
        with run.transport:
            if not others and table.ints[header.EVENTS] == events and self._release_for(quiet, needed, events):
                self._call.early = False
        self._look_at = now + max(_LOOK_AGAIN, needed / 4, self._quiescence.shortest_interval)
