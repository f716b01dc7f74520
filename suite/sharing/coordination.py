"""The state machine of a run that many processes share: claim a slot, finish an evaluation, deliver what is due.

    FREE -claim-> EVALUATING -finish-> FINISHED -deliver-> DELIVERED -take-> FREE

Every method runs the rules of `timeline` on the shared table within the transport's critical section.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zerowait.suite.logger import logger
from zerowait.suite.rules import timeline
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.continuation import State, charge, training_length
from zerowait.suite.rules.errors import BudgetExhausted, RunAborted, RunDirectoryError, TooManyCallsError, WorkerDied
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.sharing import header, record
from zerowait.suite.sharing.idle import Idle
from zerowait.suite.sharing.journal import line
from zerowait.suite.sharing.journal_schema import LOST_TEXT, numbers_text
from zerowait.suite.sharing.processes import is_alive, this_process
from zerowait.suite.sharing.rundir import reason
from zerowait.suite.sharing.table import LATE, SlotState, SlotTable, Status, StopReason
from zerowait.suite.sharing.transport import Transport


@dataclass(slots=True)
class Call:
    """One call of the simulator, before it has a slot."""

    identity: bytes
    """Digest of what identifies the configuration."""
    config: bytes
    """Digest of the configuration itself."""
    config_id: str
    """The identity as a trace shows it."""
    canonical: str
    """The configuration as canonical JSON."""
    fidelity: float | None
    """Training budget of the evaluation."""
    text: bytes
    """Its part of the journal record."""
    entered: float
    """Real time at which the call came in, in seconds."""
    slot: int = -1
    """Its slot, known from the moment at which it may have one."""
    number: int = 0
    """Its number among the run's calls."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all processes of a run agree on."""

    budget: Budget
    overhead: Overhead
    continual: bool
    idle: Idle
    continue_after_death: bool


@dataclass(slots=True)
class Taken:
    """What a caller learns when its result is delivered."""

    start: float
    end: float
    runtime: float


class Coordinator:
    """One process's part in a run; shared by its threads."""

    def __init__(self, transport: Transport, rules: Rules) -> None:
        self.transport = transport
        self.rules = rules
        self.table: SlotTable = transport.table
        self._thread = threading.local()
        self.measured = rules.overhead.is_measured
        self._constant = rules.overhead.constant
        self._sampling = rules.overhead.sampling
        self._process = this_process()
        self.now = transport.now
        # One entry for each use of this object that goes on; appending and removing are atomic, a counter is not.
        self.callers: list[None] = []
        self.is_being_closed = False

    # -- claim -----------------------------------------------------------------------------------------------------

    def claim(self, call: Call) -> int:
        """Give the call a free slot and its start; return the slot.

        Raises
        ------
        BudgetExhausted
            The run takes no more evaluations.
        TooManyCallsError
            Every slot is taken.
        WorkerDied, RunDirectoryError
            The run has ended in this error.
        SpecificationError
            The optimizer's id disagrees with the configuration.
        """
        with self.transport as table:
            ints, floats = table.ints, table.floats
            if ints[header.STOP_REASON]:
                self._raise_stop_reason()
            started = ints[header.STARTED]
            if not self.rules.budget.allows_call(started, floats[header.LAST_DELIVERY]):
                raise self._refusal()
            if not floats[header.ORIGIN]:
                self._begin_clock(call.entered)
            slot = self._free_slot()
            row = table.row(slot)
            start, seconds = self._start(row, call.entered)
            if self.rules.continual:
                self.transport.ledger.reserve()
            table.begin(slot)
            if not self.rules.budget.allows_start(start):
                ints[row + record.STATE] = SlotState.RETIRED
                ints[header.OPEN] -= 1
                ints[header.RETIRED] += 1
                table.commit()
                self._wake_who_waits_for_starts()
                self.advance(slot)
                raise self._budget_spent()
            state = self._take_state(call, start) if self.rules.continual else None
            floats[header.BUSY_UNTIL] = start
            floats[header.BUSY_AT] = floats[row + record.RESUMED_AT] = call.entered
            started += 1
            ints[header.STARTED] = started
            ints[header.OPEN] -= 1
            ints[header.EVALUATING] += 1
            ints[header.EVENTS] += 1
            returned = floats[header.LAST_RETURN]
            if returned and call.entered - returned > floats[header.LONGEST_PAUSE]:
                floats[header.LONGEST_PAUSE] = call.entered - returned
            ints[header.RELEASES_IN_A_ROW] = 0
            ints[row + record.PASSED_OVER] = 0
            length = len(call.text)
            spilled = not table.write_text(slot, 0, call.text)
            if spilled:
                self.transport.directory.write_spill(slot, call.text)
            table.write_claim(
                slot,
                start,
                seconds,
                math.nan if call.fidelity is None else call.fidelity,
                math.nan if state is None else state.fidelity,
                0.0 if state is None else state.runtime,  # until the objective's runtime is known
                started,
                ints[header.RECORDED],
                False,
                *self._process,
                self.transport.process,
                Status.LOST,  # what it is if nothing more is heard of it
                length,
                length,
                spilled,
                call.identity,
                call.config,
            )
            call.slot, call.number = slot, started  # before it is true, so that an interrupt cannot lose it
            self.transport.hold(slot)
            ints[row + record.STATE] = SlotState.EVALUATING
            table.commit()
            if started <= table.n_slots:
                self._wake_who_waits_for_starts()
        self._thread.slot = slot
        return slot

    def _begin_clock(self, now: float) -> None:
        self.table.floats[header.ORIGIN] = now
        self.table.resumed[:] = now

    def begin_clock(self) -> None:
        """Let simulated time begin now, unless it has begun."""
        with self.transport as table:
            if not table.floats[header.ORIGIN]:
                self._begin_clock(self.now())

    def _free_slot(self) -> int:
        table = self.table
        mine: int | None = getattr(self._thread, "slot", None)
        if mine is not None and table.ints[table.row(mine) + record.STATE] == SlotState.FREE:
            return mine
        free = table.slots_in(SlotState.FREE)
        if not free and self.reap_dead_workers():
            self._raise_stop_reason()
            free = table.slots_in(SlotState.FREE)
        if free:
            return min(free, key=lambda slot: table.floats[table.row(slot) + record.FREED])
        if table.ints[header.RETIRED]:
            raise self._budget_spent()
        raise TooManyCallsError(
            f"n_workers={table.n_slots}, but {table.n_slots + 1} evaluations are running at once; give the optimizer "
            f"{table.n_slots} workers, or the simulator n_workers={table.n_slots + 1}"
        )

    def _start(self, row: int, entered: float) -> tuple[float, float]:
        floats = self.table.floats
        if self.measured:
            # A delivery can overtake the clock by the microseconds between a call's arrival and its hold of the lock.
            start = max(self._sampled_until(row, entered), floats[header.LAST_DELIVERY])
            base = floats[row + record.BASE]
            if self._sampling == "serial":
                base = max(base, floats[header.BUSY_UNTIL])
            return start, max(0.0, start - base)
        seconds = self._constant
        if seconds is None:
            seconds = self.rules.overhead.charge(self.table.ints[header.DELIVERED])
        return timeline.next_start(
            floats[header.LAST_DELIVERY], floats[header.BUSY_UNTIL], seconds, self._sampling
        ), seconds

    def _sampled_until(self, row: int, now: float) -> float:
        """Return until when the sampling for a free slot has come, in simulated time."""
        table, floats = self.table, self.table.floats
        if self._sampling == "serial" and (working := table.states == SlotState.FREE).any():
            clocks = self._clocks(now, working & self._is_worked_for())
            if len(clocks):
                return float(clocks.max())
        base, resumed = floats[row + record.BASE], floats[row + record.RESUMED_AT]
        return float(self._clocks_of(np.array([base]), np.array([resumed]), now)[0])

    def _is_worked_for(self) -> npt.NDArray[np.bool_]:
        """Tell for each slot whether, if it is free, the optimizer is at work for it as far as the past shows.

        Not for one that was found idle, nor for one that nobody has called yet although there were calls for all.
        """
        table = self.table
        expected: npt.NDArray[np.bool_] = table.passed_over == 0
        if table.ints[header.STARTED] >= table.n_slots:
            expected &= table.calls > 0
        return expected

    def _clocks(self, now: float, which: npt.NDArray[np.bool_]) -> timeline.Clocks:
        return self._clocks_of(self.table.bases[which], self.table.resumed[which], now)

    def _clocks_of(self, bases: timeline.Clocks, resumed: timeline.Clocks, now: float) -> timeline.Clocks:
        floats = self.table.floats
        return timeline.sampling_clocks(
            bases, resumed, floats[header.BUSY_UNTIL], floats[header.BUSY_AT], now, self._sampling
        )

    def _take_state(self, call: Call, start: float) -> State | None:
        ledger = self.transport.ledger
        ledger.check_identity(call.identity, call.config, call.config_id, call.canonical)
        return ledger.take(call.identity, training_length(call.fidelity), start)

    def _describe_further(self, slot: int, text: bytes) -> None:
        """Store the second part of a description behind the first."""
        ints, row = self.table.ints, self.table.row(slot)
        offset = ints[row + record.CLAIM_TEXT]
        if ints[row + record.SPILLED]:
            self.transport.directory.write_spill(slot, text, offset)
        elif not self.table.write_text(slot, offset, text):
            self.transport.directory.write_spill(slot, self.table.text(slot)[:offset] + text)
            ints[row + record.SPILLED] = 1
        ints[row + record.TEXT] = offset + len(text)

    def _description(self, slot: int) -> bytes:
        row = self.table.row(slot)
        if self.table.ints[row + record.SPILLED]:
            return self.transport.directory.read_spill(slot, self.table.ints[row + record.TEXT])
        return self.table.text(slot)

    # -- finish ----------------------------------------------------------------------------------------------------

    def finish(self, slot: int, runtime: float, status: Status, text: bytes) -> None:
        """Enter what the objective returned, and deliver what is due.

        `runtime` is that of the whole training in seconds; what is charged follows from the state that is continued.
        """
        with self.transport as table:
            ints, floats, row = table.ints, table.floats, table.row(slot)
            table.begin(slot)
            charged = runtime
            resumed_from = floats[row + record.RESUMED_FROM]
            if resumed_from == resumed_from and status is Status.OK:  # noqa: PLR0124 - not NaN: it continues a state
                charge_of_rest = charge(runtime, State(resumed_from, floats[row + record.RUNTIME], 0.0))
                charged = charge_of_rest.runtime
                ints[row + record.CLIPPED] = charge_of_rest.clipped
            if self.measured and floats[row + record.START] + charged < floats[header.LAST_DELIVERY]:
                charged = timeline.overtaken(floats[row + record.START], floats[header.LAST_DELIVERY])
                ints[row + record.CLIPPED] |= LATE
            floats[row + record.RUNTIME] = runtime
            floats[row + record.CHARGED] = charged
            ints[row + record.STATUS] = status
            self._describe_further(slot, text)
            floats[row + record.END] = floats[row + record.START] + charged
            ints[row + record.STATE] = SlotState.FINISHED
            ints[header.EVALUATING] -= 1
            ints[header.EVENTS] += 1
            table.commit()
            if ints[header.STOP_REASON]:
                self.expire()
            else:
                self.advance(slot)

    def _may_call(self) -> bool:
        table = self.table
        return self.rules.budget.allows_call(table.ints[header.STARTED], table.floats[header.LAST_DELIVERY])

    # -- delivery --------------------------------------------------------------------------------------------------

    def bound(self, table: SlotTable) -> float:
        """Return the least bound of the slots that hold no result; see `timeline`."""
        ints, floats = table.ints, table.floats
        bound = math.inf
        if ints[header.EVALUATING]:
            evaluating = table.states == SlotState.EVALUATING
            starts = table.starts[evaluating]
            if self.measured:  # as in reality, a training takes at least as long as its query
                starts = starts + np.maximum(self.now() - table.resumed[evaluating], 0.0)
            bound = float(np.min(starts, initial=math.inf))
        if ints[header.OPEN] and self._may_call():
            if not self.measured:
                return min(bound, floats[header.LAST_DELIVERY])
            return min(bound, self._earliest_sampled())
        return bound

    def _earliest_sampled(self) -> float:
        """Return the earliest start that a free slot could still get under measured overhead."""
        table, now = self.table, self.now()
        free, delivered = table.states == SlotState.FREE, table.states == SlotState.DELIVERED
        if self._sampling == "serial" and len(clocks := self._clocks(now, free & self._is_worked_for())):
            return float(clocks.max())  # one sampler: whichever slot it works for, that is how far it has come
        earliest = np.min(self._clocks(now, free), initial=math.inf)
        bases = table.bases[delivered]  # its caller has not returned yet, so nobody samples for it
        return float(np.min(self._clocks_of(bases, np.full(len(bases), now), now), initial=earliest))

    def advance(self, acting: int | None) -> None:
        """Deliver what may be delivered; `acting` is the caller's own slot, which needs no waking."""
        table = self.table
        if table.ints[header.OPEN] and not self.measured and self._may_call():
            return  # no end is less than the last delivery
        while True:
            least = table.least_finished()
            if least is None:
                return
            end = table.floats[table.row(least) + record.END]
            if not timeline.is_deliverable(end, self.bound(table)):
                break
            if not self.deliver(least, acting, idle=False):
                return
            if table.ints[header.OPEN] and not self.measured and self._may_call():
                return
        if self.measured and least != acting:
            self.transport.wake(least)  # so that it sets its timer to the moment at which its end is reached

    def deliver(self, slot: int, acting: int | None, *, idle: bool) -> bool:
        """Deliver one result; return False when the run ended instead."""
        table, ints, floats = self.table, self.table.ints, self.table.floats
        row = table.row(slot)
        end = floats[row + record.END]
        if not self.rules.budget.allows_end(end):
            if idle:  # a free slot may still get an evaluation that ends in time, so this is not the end of the run
                ints[header.IDLE_RELEASES] += 1
                ints[header.RELEASES_IN_A_ROW] += 1
                self._expire_slot(slot)
            else:
                self._end_run(StopReason.BUDGET, 0)
            return False
        if not self.transport.is_held(slot):
            return self._reap(slot)
        if self.rules.continual:
            try:
                self.transport.ledger.reserve()
            except OSError as error:
                self._end_run(StopReason.DISK, error.errno or 0)
                return False
        table.begin(slot)
        if not self._record(slot, idle=idle):
            return False
        if self.rules.continual and ints[row + record.STATUS] == Status.OK:
            fidelity = floats[row + record.FIDELITY]
            state = State(math.inf if math.isnan(fidelity) else fidelity, floats[row + record.RUNTIME], end)
            self.transport.ledger.add(table.digest(slot), table.config_digest(slot), state)
        floats[header.LAST_DELIVERY] = end
        ints[header.DELIVERED] += 1
        if idle:
            ints[header.IDLE_RELEASES] += 1
            ints[header.RELEASES_IN_A_ROW] += 1
        else:
            ints[header.RELEASES_IN_A_ROW] = 0
        self._free(row, SlotState.DELIVERED, end, 0.0)
        table.commit()
        if slot != acting:
            self.transport.wake(slot)
        return True

    def _free(self, row: int, state: SlotState, end: float, resumed_at: float) -> None:
        ints, floats = self.table.ints, self.table.floats
        ints[header.OPEN] += 1
        ints[header.EVENTS] += 1
        floats[row + record.FREED] = floats[row + record.BASE] = end
        floats[row + record.RESUMED_AT] = resumed_at
        # The end stays readable in record.FREED; record.END is what the search for the least looks at.
        floats[row + record.END] = math.inf
        ints[row + record.STATE] = state

    def _record(self, slot: int, *, idle: bool) -> bool:
        """Append the journal record of a finished evaluation, in a transaction; return False when that failed."""
        table, ints = self.table, self.table.ints
        data = line(numbers_text(table, slot, self.now(), idle=idle) + self._description(slot) + b"}")
        try:
            self.transport.append(data, ints[header.JOURNAL_END])
        except OSError as error:
            self.transport.roll_back()
            self._end_run(StopReason.DISK, error.errno or 0)
            return False
        ints[header.JOURNAL_END] += len(data)
        ints[header.RECORDED] += 1
        return True

    # -- the end of a run --------------------------------------------------------------------------------------------

    def _end_run(self, stop_reason: StopReason, detail: int) -> None:
        """Let the run take no more calls, and tell everybody who waits."""
        if not self.table.ints[header.STOP_REASON]:
            self.table.ints[header.STOP_DETAIL] = detail
            self.table.ints[header.STOP_REASON] = stop_reason
        self.expire()

    def abort(self) -> None:
        """End the run for everybody."""
        with self.transport:
            self._end_run(StopReason.ABORTED, 0)

    def fail(self, error: OSError) -> None:
        """End the run for everybody by an error that is not the fault of one evaluation."""
        with self.transport:
            self._end_run(StopReason.DISK, error.errno or 0)

    def expire(self) -> None:
        """Tell every caller whose result cannot be delivered any more; called in the critical section."""
        table = self.table
        for slot in table.slots_in(SlotState.FINISHED):
            self._expire_slot(slot)

    def _expire_slot(self, slot: int) -> None:
        row = self.table.row(slot)
        self.table.floats[row + record.END] = math.inf
        self.table.ints[row + record.STATE] = SlotState.EXPIRED
        self.transport.wake(slot)

    def _raise_stop_reason(self) -> None:
        """Raise the error that the run has ended in, if it has."""
        table = self.table
        stop_reason, detail = table.ints[header.STOP_REASON], table.ints[header.STOP_DETAIL]
        if stop_reason == StopReason.NONE:
            return
        if stop_reason == StopReason.BUDGET:
            raise self._budget_spent()
        n_records, journal = table.ints[header.RECORDED], self.transport.directory.journal
        kept = f"the {n_records} evaluations recorded before are intact in {journal}"
        if stop_reason == StopReason.ABORTED:
            raise RunAborted(f"the run was aborted; {kept}")
        if stop_reason == StopReason.WORKER_DIED:
            row = table.row(detail)
            claim = self._description(detail)[: table.ints[row + record.CLAIM_TEXT]]
            config = json.loads(b"{" + claim + b"}")["config"]
            raise WorkerDied(
                f"process {table.ints[row + record.PID]} died, or left its call, while it held slot {detail} with the "
                f"configuration {config!r}; "
                f"{kept}. A run in a new directory with on_worker_death='continue' goes on without workers that die"
            )
        error = OSError(detail, os.strerror(detail))
        raise RunDirectoryError(f"an evaluation could not be recorded: {reason(error)}; {kept}")

    def _refusal(self) -> BudgetExhausted:
        """Return the error of a call that comes too late; it may be the last one, so it looks for the dead first."""
        self._settle_dead_workers()
        self._raise_stop_reason()
        return self._budget_spent()

    def _budget_spent(self) -> BudgetExhausted:
        return self.rules.budget.spent(self.table.ints[header.STARTED])

    # -- taking a result ---------------------------------------------------------------------------------------------

    def take(self, slot: int) -> Taken:
        """Give the slot back, whose result has been delivered, or raise what ended the run before that."""
        ints, floats, row = self.table.ints, self.table.floats, self.table.row(slot)
        if ints[row + record.STATE] == SlotState.EXPIRED:
            with self.transport:
                self._give_back(slot)
                self._raise_stop_reason()
                raise self._budget_spent()
        taken = Taken(floats[row + record.START], floats[row + record.FREED], floats[row + record.CHARGED])
        self.transport.take(slot)
        return taken

    def is_waiting(self, slot: int) -> bool:
        """Tell whether the result in a slot is still to be delivered; read without the lock."""
        table, cell = self.table, self.table.row(slot) + record.STATE
        if table.ints[cell] == SlotState.FINISHED or table.is_uncommitted(slot):
            return True
        # A delivery whose process was killed before it was committed may have been undone between the two reads above.
        return bool(table.ints[cell] == SlotState.FINISHED)

    # -- death -------------------------------------------------------------------------------------------------------

    def reap_dead_workers(self) -> bool:
        """Deal with slots whose holder is gone; return whether there were any."""
        found = False
        for slot in self.table.slots_in(SlotState.EVALUATING, SlotState.FINISHED):
            if not self.transport.is_held(slot):
                found = True
                if not self._reap(slot):
                    break
        for slot in self.table.slots_in(SlotState.DELIVERED):
            # A caller that takes its result lets go of the slot without the lock, so being released proves nothing
            # here.
            row = self.table.row(slot)
            if not self.transport.is_held(slot) and not is_alive(
                self.table.ints[row + record.PID], self.table.ints[row + record.BORN]
            ):
                found = True
                self._free_delivered(slot)
        return found

    def settle_dead_workers(self) -> int:
        """Deal with callers that died, for when nobody waits who would notice; return how many records there are."""
        with self.transport as table:
            self._settle_dead_workers()
            return table.ints[header.RECORDED]

    def _settle_dead_workers(self) -> None:
        if self.reap_dead_workers() and not self.table.ints[header.STOP_REASON]:
            self.advance(None)

    def _free_delivered(self, slot: int) -> None:
        """Free the slot of a caller that will not take its result: it had been delivered, so nothing is lost."""
        row = self.table.row(slot)
        self.table.floats[row + record.RESUMED_AT] = self.now()
        self.table.ints[row + record.STATE] = SlotState.FREE

    def _reap(self, slot: int) -> bool:
        """Record a dead caller's evaluation as lost and free its slot, or end the run; return whether it goes on."""
        table, ints, floats = self.table, self.table.ints, self.table.floats
        row = table.row(slot)
        logger.warning(
            "%s: process %d died, or left its call, in slot %d",
            self.transport.directory.root,
            ints[row + record.PID],
            slot,
        )
        if not self.rules.continue_after_death:
            self._end_run(StopReason.WORKER_DIED, slot)
            return False
        table.begin(slot)
        # It is lost at the simulated time at which that is noticed, the last delivery, so that the journal stays in
        # order.
        end = floats[header.LAST_DELIVERY]
        floats[row + record.START] = min(floats[row + record.START], end)
        floats[row + record.END] = end
        floats[row + record.CHARGED] = end - floats[row + record.START]
        if ints[row + record.STATE] == SlotState.EVALUATING:
            ints[header.EVALUATING] -= 1
        ints[row + record.STATUS] = Status.LOST
        self._describe_further(slot, LOST_TEXT)
        if not self._record(slot, idle=False):
            return False
        self._free(row, SlotState.FREE, end, self.now())
        table.commit()
        return True

    def abandon(self, call: Call) -> None:
        """Let go of what a call holds that is being left by an exception; for the others its caller is dead."""
        self.transport.let_go()
        slot = call.slot
        if slot < 0:
            return
        with self.transport:
            row = self.table.row(slot)
            state = self.table.ints[row + record.STATE]
            if state == SlotState.FREE:
                self.transport.release(slot)
                return  # the exception came when the slot had been given back already, or before it was taken
            if self.table.ints[row + record.CALL] != call.number:
                return  # somebody else has it by now
            if state == SlotState.EXPIRED:
                self._give_back(slot)
                return
            self.transport.release(slot)
            if state == SlotState.DELIVERED:
                self._free_delivered(slot)
            elif state in (SlotState.EVALUATING, SlotState.FINISHED) and self._reap(slot):
                self.advance(None)

    def _give_back(self, slot: int) -> None:
        """Free the slot of a caller that is told that its result is not recorded any more."""
        ints = self.table.ints
        if ints[header.STOP_REASON]:
            ints[self.table.row(slot) + record.STATE] = SlotState.FREE
            ints[header.OPEN] += 1
        else:  # the run goes on, but this worker is busy with that evaluation beyond the budget
            ints[self.table.row(slot) + record.STATE] = SlotState.RETIRED
            ints[header.RETIRED] += 1
        self.transport.release(slot)

    # -- for those who look on -----------------------------------------------------------------------------------------

    def wait_started(self, n: int, timeout: float) -> bool:
        """Wait until `n` calls have got a slot or been refused; return False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        n = min(n, self.table.n_slots)
        while self.table.ints[header.STARTED] + self.table.ints[header.RETIRED] < n and self._may_call():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.transport.wait(n, min(left, 1.0))
            with self.transport as table:
                answered = table.ints[header.STARTED] + table.ints[header.RETIRED]
                if answered < n and table.ints[header.STOP_REASON] != StopReason.BUDGET:
                    self._raise_stop_reason()
                else:
                    return True
        return True

    def _wake_who_waits_for_starts(self) -> None:
        answered = self.table.ints[header.STARTED] + self.table.ints[header.RETIRED]
        if answered <= self.table.n_slots:
            self.transport.wake(answered)

    def progress(self) -> Mapping[str, Any]:
        """Return what the header of the table says."""
        with self.transport:  # a table that several hosts share is read anew
            ints, floats = self.table.ints, self.table.floats
        return {
            "started": ints[header.STARTED],
            "delivered": ints[header.DELIVERED],
            "recorded": ints[header.RECORDED],
            "simulated_time": floats[header.LAST_DELIVERY],
            "busy_until": floats[header.BUSY_UNTIL],
            "wall_time": self.now() - floats[header.ORIGIN] if floats[header.ORIGIN] else 0.0,
            "idle_releases": ints[header.IDLE_RELEASES],
        }
