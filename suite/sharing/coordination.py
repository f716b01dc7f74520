"""The state machine of a run that many processes share: claim a slot, finish an evaluation, deliver what is due.

    FREE -claim-> EVALUATING -finish-> FINISHED -deliver-> DELIVERED -take-> FREE

Every method runs the rules of `timeline` on the shared table within the transport's critical section.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from zerowait.suite.rules import timeline
from zerowait.suite.rules.continuation import State, charge, training_length
from zerowait.suite.rules.errors import (
    BudgetExhausted,
    ClusterFailure,
    NoWorkersLeftError,
    TooManyCallsError,
    ZerowaitError,
)
from zerowait.suite.rules.occupation import Occupation, Workers, failure
from zerowait.suite.sharing import header, idle, record, slot_state
from zerowait.suite.sharing.call import Call, Rules, Taken
from zerowait.suite.sharing.dead_workers import DeadWorkers
from zerowait.suite.sharing.end_of_run import EndOfRun
from zerowait.suite.sharing.idle import Pause
from zerowait.suite.sharing.journal_schema import Release, cluster_text, failure_text
from zerowait.suite.sharing.processes import Process, this_process
from zerowait.suite.sharing.recording import Recorder
from zerowait.suite.sharing.sampling_clock import SamplingClock
from zerowait.suite.sharing.spill import describe, describe_further
from zerowait.suite.sharing.starts import Starts
from zerowait.suite.sharing.table import CONTRADICTS, LATE, SlotTable, Status, StopReason
from zerowait.suite.sharing.transport import Transport


class Coordinator:
    """One process's part in a run; shared by its threads."""

    slept = False
    """Whether ends are those of real sleepers, and not computed."""

    def __init__(self, transport: Transport, rules: Rules) -> None:
        self.transport = transport
        self.rules = rules
        self.table: SlotTable = transport.table
        self._thread = threading.local()
        self.measured = rules.overhead.is_measured
        self._constant = rules.overhead.constant
        self._sampling = rules.overhead.sampling
        self._clock = SamplingClock(self.table, rules.overhead.sampling)
        self.end = EndOfRun(transport, rules.budget)
        arrivals = () if rules.workers is None else rules.workers.cluster.arrivals or ()
        self.starts = Starts(transport, rules, self.end, self._may_call, self._arrival)
        self._all_are_there = max(arrivals, default=0.0) == 0.0
        self._recorder = Recorder(transport, self.end, transport.now, measured=self.measured)
        self.dead = DeadWorkers(
            transport, self._recorder, self.end, transport.now, run_continues=rules.continue_after_death
        )
        self._process = this_process()
        self.now = transport.now
        # One entry for each use of this object that goes on; appending and removing are atomic, a counter is not.
        self.callers: list[None] = []
        self.is_being_closed = False

    # -- claim -----------------------------------------------------------------------------------------------------

    def claim(self, call: Call, pause: Pause) -> int | None:
        """Give the call a free slot and its start; return the slot, or None while its worker is to come.

        Raises
        ------
        ZerowaitError
            As `zerowait.suite.sharing.arrival_wait.claim` says.
        """
        with self.transport as table:
            ints, floats = table.ints, table.floats
            if ints[header.STOP_REASON]:
                self.end.raise_reason()
            started = ints[header.STARTED]
            if not self._may_call():
                raise self._refusal()
            if not floats[header.ORIGIN]:
                self._begin_clock(call.entered)
            slot = self._free_slot(call)
            if slot is None:
                return None
            row = table.rows[slot]
            was_absent = ints[row + record.STATE] == slot_state.ABSENT
            if was_absent:  # nobody has sampled for it before the last delivery
                floats[row + record.BASE] = floats[header.LAST_DELIVERY]
                floats[row + record.RESUMED_AT] = floats[header.LAST_RETURN] or floats[header.ORIGIN]
            start, seconds = self._start(row, call.entered)
            if self.rules.continual:
                self.transport.ledger.reserve()
            table.begin(slot)
            if not self._allows_start(slot, start):
                ints[row + record.STATE] = slot_state.RETIRED
                ints[header.OPEN] -= not was_absent
                ints[header.RETIRED] += 1
                table.commit()
                self.starts.wake()
                self.advance(slot)
                raise self._no_worker()
            state = self._take_state(call, start) if self.rules.continual else None
            floats[header.BUSY_UNTIL] = start
            floats[header.BUSY_AT] = floats[row + record.RESUMED_AT] = call.entered
            started += 1
            ints[header.STARTED] = started
            ints[header.OPEN] -= not was_absent
            ints[header.EVALUATING] += 1
            ints[header.EVENTS] += 1
            wrong = idle.note_call(table, pause, call.entered)
            ints[row + record.PASSED_OVER] = CONTRADICTS if wrong else 0
            length = len(call.text)
            spilled = describe(self.transport, slot, call.text)
            table.write_claim(
                row,
                start,
                seconds,
                math.nan if call.fidelity is None else call.fidelity,
                math.nan if state is None else state.fidelity,
                0.0 if state is None else state.runtime,  # until the objective's runtime is known
                started,
                ints[header.RECORDED],
                0,  # no marks
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
            ints[row + record.STATE] = slot_state.EVALUATING
            table.commit()
            self.starts.wake()
            if wrong or not ints[header.ABSENCE_SAID]:
                self._warn(call, pause, wrong=wrong)
        self._thread.slot = slot
        return slot

    def _warn(self, call: Call, pause: Pause, *, wrong: bool) -> None:
        root = self.transport.directory.root
        if wrong:
            call.warnings.append(
                f"{root}: the optimizer called after {pause.length:.2g} s, but its free workers had been taken to be "
                f"idle after {self.table.floats[header.GUESSED_AFTER]:.2g} s of quiet, so the result due at "
                f"{self.table.floats[header.LAST_DELIVERY]!r} s was delivered too early; {idle.REMEDY}"
            )
            if self.rules.idle.on_wrong_guess == "raise":
                self.end.come(StopReason.WRONG_GUESS, 0)
                self.end.raise_reason()
        never = idle.never_called(self.table)
        if never:
            n = self.table.n_slots
            call.warnings.append(
                f"{root}: n_workers is {n}, but only {n - never} workers ever called; the others are taken to be "
                f"absent until they call: give the optimizer {n} workers, or the simulator n_workers={n - never}"
            )

    def _begin_clock(self, now: float) -> None:
        self.table.floats[header.ORIGIN] = now
        self.table.resumed[:] = now

    def begin_clock(self) -> None:
        """Let simulated time begin now, unless it has begun."""
        with self.transport as table:
            if not table.floats[header.ORIGIN]:
                self._begin_clock(self.now())
                idle.begin(table, self.rules.idle, self.now(), self.participants)

    def _allows_start(self, slot: int, start: float) -> bool:
        if self.rules.workers is not None and self.rules.workers.has_left(slot, start):
            return False
        return self.rules.budget.allows_start(start)

    def _free_slot(self, call: Call) -> int | None:
        table = self.table
        # In a cluster a slot is a machine, and which of them is next must not depend on who calls.
        mine: int | None = getattr(self._thread, "slot", None) if self.rules.workers is None else None
        if mine is not None and table.ints[table.rows[mine] + record.STATE] == slot_state.FREE:
            return mine
        free = table.slots_in(slot_state.FREE) or table.slots_in(slot_state.ABSENT)
        if (call.early or not free) and self._arrival() is not None:
            # It came before its worker, and must not take the turn of a call that follows on a result.
            call.early = True
            self._let_arrive()
            free = [slot for slot in table.slots_in(slot_state.FREE) if not table.ints[table.rows[slot] + record.CALL]]
            if not free:
                return None
        if not free and self.dead.reap_all():
            self.end.raise_reason()
            free = table.slots_in(slot_state.FREE)
        if free:
            return min(free, key=lambda slot: table.floats[table.rows[slot] + record.FREED])
        if table.ints[header.RETIRED] or table.slots_in(slot_state.NOT_YET):  # who is still to come comes too late
            raise self._no_worker()
        raise TooManyCallsError(
            f"n_workers={table.n_slots}, but {table.n_slots + 1} evaluations are running at once; give the optimizer "
            f"{table.n_slots} workers, or the simulator n_workers={table.n_slots + 1}"
        )

    def _no_worker(self) -> ZerowaitError:
        """Return the error of a call that no worker is there for any more."""
        n, retired, workers = self.table.n_slots, self.table.ints[header.RETIRED], self.rules.workers
        if workers is None or workers.cluster.departures is None:
            return self.end.budget_spent()
        error = workers.nobody_left(n, self.rules.budget.latest) if retired == n else None
        gone = retired + len(self.table.slots_in(slot_state.NOT_YET))
        return error or BudgetExhausted(f"{gone} of {n} workers have left or are past the budget, and none is free")

    def _start(self, row: int, entered: float) -> tuple[float, float]:
        floats = self.table.floats
        if self.measured:
            return self._clock.start(row, entered)
        seconds = self._constant
        if seconds is None:
            seconds = self.rules.overhead.charge(self.table.ints[header.DELIVERED])
        return timeline.next_start(
            floats[header.LAST_DELIVERY], floats[header.BUSY_UNTIL], seconds, self._sampling
        ), seconds

    def _take_state(self, call: Call, start: float) -> State | None:
        ledger = self.transport.ledger
        ledger.check_identity(call.identity, call.config, call.config_id, call.canonical)
        return ledger.take(call.identity, training_length(call.fidelity), start)

    # -- finish ----------------------------------------------------------------------------------------------------

    def finish(
        self, slot: int, runtime: float, status: Status, text: bytes, *, diverged: bool = False
    ) -> ClusterFailure | None:
        """Enter what the objective returned, and deliver what is due; return the error if the cluster failed it.

        `runtime` is that of the whole training in seconds; what is charged follows from the state that is continued.
        Of a failure it is what it took, unless the training `diverged`, which is known at its end.
        """
        failed = None
        with self.transport as table:
            ints, floats, row = table.ints, table.floats, table.rows[slot]
            charged = runtime
            clipped = False
            resumed_from = floats[row + record.RESUMED_FROM]
            continues = resumed_from == resumed_from  # noqa: PLR0124 - not NaN
            if continues and (status is Status.OK or diverged):
                charge_of_rest = charge(runtime, State(resumed_from, floats[row + record.RUNTIME], 0.0))
                charged, clipped = charge_of_rest.runtime, charge_of_rest.clipped
            end, last = floats[row + record.START] + charged, floats[header.LAST_DELIVERY]
            if self.rules.workers is not None:
                occupation = self._occupy(self.rules.workers, slot, charged)
                if occupation.ended != "ok":
                    failed = failure(self.rules.workers, slot, occupation.end, occupation.ended, occupation.attempts)
                    status, text = Status[occupation.ended.upper()], failure_text(str(failed), occupation.ended)
                text += cluster_text(charged, occupation)
                end, charged = occupation.end, occupation.charged
            table.begin(slot)
            ints[row + record.CLIPPED] |= clipped
            # An equal end is late as well if that delivery came during the query: this result may stand before it.
            came_meanwhile = ints[row + record.AFTER] < ints[header.RECORDED]
            if self.measured and not self.slept and end <= last and (end < last or came_meanwhile):
                charged = timeline.overtaken(floats[row + record.START], last)
                end = floats[row + record.START] + charged
                ints[row + record.CLIPPED] |= LATE
                # The place is free until the delivery; the record has it, because a shorter query is never overtaken.
                floats[row + record.BASE] = self.now() - floats[row + record.RESUMED_AT]
            floats[row + record.RUNTIME] = runtime
            floats[row + record.CHARGED] = charged
            ints[row + record.STATUS] = status
            describe_further(self.transport, slot, text)
            floats[row + record.END] = end
            ints[row + record.STATE] = slot_state.FINISHED
            ints[header.EVALUATING] -= 1
            ints[header.EVENTS] += 1
            table.commit()
            if ints[header.STOP_REASON]:
                self.end.expire()
            else:
                self.advance(slot)
        return failed

    def _occupy(self, workers: Workers, slot: int, runtime: float) -> Occupation:
        table = self.table
        start, fidelity = (table.floats[table.rows[slot] + cell] for cell in (record.START, record.FIDELITY))
        try:
            return Occupation(
                *workers.occupy(slot, start, runtime, table.digest(slot), None if math.isnan(fidelity) else fidelity)
            )
        except NoWorkersLeftError:  # for everybody: to the others this caller would seem to have died
            self.end.come(StopReason.NO_WORKERS, slot)
            raise

    def _may_call(self) -> bool:
        table = self.table
        return self.rules.budget.allows_call(
            table.ints[header.STARTED], table.floats[header.LAST_DELIVERY], table.ints[header.DELIVERED]
        )

    # -- delivery --------------------------------------------------------------------------------------------------

    def bound(self) -> float:
        """Return the least bound of the slots that hold no result; see `timeline`."""
        return self._bound(is_call_awaited=self._is_call_awaited())

    def _bound(self, *, is_call_awaited: bool) -> float:
        table, bound = self.table, math.inf
        if table.ints[header.EVALUATING]:
            evaluating = table.states == slot_state.EVALUATING
            starts = table.starts[evaluating]
            if self.measured:  # as in reality, a training takes at least as long as its query
                starts = starts + np.maximum(self.now() - table.resumed[evaluating], 0.0)
            bound = float(np.min(starts, initial=math.inf))
        arrival = self._arrival()
        if arrival is not None:
            bound = min(bound, arrival[0])
        if not is_call_awaited:
            return bound
        return min(bound, self._clock.earliest(self.now()) if self.measured else table.floats[header.LAST_DELIVERY])

    def _arrival(self) -> tuple[float, int] | None:
        """Return when the next worker arrives that may get a call, and its slot, or None."""
        if self._all_are_there or not self._may_call():
            return None
        table = self.table
        times = [(table.floats[table.rows[slot] + record.FREED], slot) for slot in table.slots_in(slot_state.NOT_YET)]
        self._all_are_there = not times
        return min((one for one in times if self.rules.budget.allows_start(one[0])), default=None)

    def _let_arrive(self) -> bool:
        """Let the next worker arrive if nothing can come before it, and tell whether it has."""
        arrival = self._arrival()
        if arrival is None:
            return False
        table, (time, slot) = self.table, arrival
        least = table.least_finished()
        if least is not None and table.floats[table.rows[least] + record.END] < time:
            return False
        if self._bound(is_call_awaited=self._is_call_awaited()) < time:
            return False
        table.begin(slot)
        table.ints[header.OPEN] += 1
        table.ints[header.EVENTS] += 1
        table.floats[header.LAST_DELIVERY] = max(table.floats[header.LAST_DELIVERY], time)
        table.floats[table.rows[slot] + record.RESUMED_AT] = self.now()
        table.ints[table.rows[slot] + record.STATE] = slot_state.FREE
        table.commit()
        self.starts.wake()
        return True

    def _is_call_awaited(self) -> bool:
        """Tell whether a free slot may get a call before the next delivery."""
        table = self.table
        if not table.ints[header.OPEN] or not self._may_call():
            return False
        return table.ints[header.PROMISED] != 1 or not idle.no_call_comes(table)

    def advance(self, acting: int | None) -> None:
        """Deliver what may be delivered; `acting` is the caller's own slot, which needs no waking."""
        table = self.table
        while True:
            awaited = self._is_call_awaited()
            if awaited and not self.measured:
                return  # no end is less than the last delivery
            if self._let_arrive():
                continue
            least = table.least_finished()
            if least is None:
                return
            if not timeline.is_deliverable(
                table.floats[table.rows[least] + record.END], self._bound(is_call_awaited=awaited)
            ):
                break
            if not self.deliver(least, acting):
                return
        if self.measured and least != acting:
            self.transport.wake(least)  # so that it sets its timer to the moment at which its end is reached

    def deliver(self, slot: int, acting: int | None, release: Release = Release.DUE) -> bool:
        """Deliver one result; return False when the run ended instead."""
        table, ints, floats = self.table, self.table.ints, self.table.floats
        row = table.rows[slot]
        end = floats[row + record.END]
        is_complete = ints[header.DELIVERED] >= self.rules.budget.most_results
        if is_complete or not self.rules.budget.allows_end(end):
            if (
                release.is_guess and not is_complete
            ):  # a free slot may still get an evaluation that ends in time: the run goes on
                ints[header.IDLE_RELEASES] += 1
                ints[header.RELEASES_IN_A_ROW] += 1
                self.end.expire_slot(slot)
            else:
                self.end.come(StopReason.BUDGET, 0)
            return False
        if not self.transport.is_held(slot):
            return self.dead.reap(slot)
        if self.rules.continual and not self._has_room():
            return False
        was_said = not release.is_guess and ints[header.PROMISED] == 1 and ints[header.OPEN] > 0 and self._may_call()
        table.begin(slot)
        if not self._recorder.record(slot, Release.SAID if was_said else release):
            return False
        if self.rules.continual and ints[row + record.STATUS] == Status.OK:
            fidelity = floats[row + record.FIDELITY]
            state = State(math.inf if math.isnan(fidelity) else fidelity, floats[row + record.RUNTIME], end)
            self.transport.ledger.add(table.digest(slot), table.config_digest(slot), state)
        floats[header.LAST_DELIVERY] = end
        ints[header.DELIVERED] += 1
        if release.is_guess:
            ints[header.IDLE_RELEASES] += 1
            ints[header.RELEASES_IN_A_ROW] += 1
        else:
            ints[header.RELEASES_IN_A_ROW] = 0
        self._recorder.free(row, slot_state.DELIVERED, end, 0.0)
        table.commit()
        idle.keep_promise(table, call=False)
        if was_said:
            idle.let_clocks_go_on(table, end, self.now())
        if slot != acting:
            self.transport.wake(slot)
        return True

    def _has_room(self) -> bool:
        """Make room for what is continued later; return False when the disk has none, and end the run."""
        try:
            self.transport.ledger.reserve()
        except OSError as error:
            self.end.come(StopReason.DISK, error.errno or 0)
            return False
        return True

    def say(self, calls: int, *, enters: bool = False) -> None:
        """Note that so many calls come and then none before another result, or, in a barrier, before it is left."""
        with self.transport as table:
            table.ints[header.BARRIERS] += enters
            idle.promise(table, calls)
            if not table.ints[header.STOP_REASON]:
                self.advance(None)

    def leave_barrier(self) -> None:
        """Note that calls may come again."""
        with self.transport as table:
            table.ints[header.BARRIERS] = max(0, table.ints[header.BARRIERS] - 1)
            if not table.ints[header.BARRIERS]:
                idle.forget_promise(table)

    def participants(self) -> set[Process]:
        """Return the processes that take part: those that constructed the simulator, and the slots' last holders."""
        table = self.table
        return self.transport.participants() | {
            (table.ints[row + record.PID], table.ints[row + record.BORN]) for row in table.rows
        }

    # -- the end of a run --------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End the run for everybody."""
        with self.transport:
            self.end.come(StopReason.ABORTED, 0)

    def fail(self, error: OSError) -> None:
        """End the run for everybody by an error that is not the fault of one evaluation."""
        with self.transport:
            self.end.come(StopReason.DISK, error.errno or 0)

    def _refusal(self) -> BudgetExhausted:
        """Return the error of a call that comes too late; it may be the last one, so it looks for the dead first."""
        self._settle_dead_workers()
        self.end.raise_reason()
        return self.end.budget_spent()

    # -- taking a result ---------------------------------------------------------------------------------------------

    def take(self, slot: int) -> Taken:
        """Give the slot back, whose result has been delivered, or raise what ended the run before that."""
        ints, floats, row = self.table.ints, self.table.floats, self.table.rows[slot]
        if ints[row + record.STATE] == slot_state.EXPIRED:
            with self.transport:
                self._give_back(slot)
                self.end.raise_reason()
                raise self.end.budget_spent()
        taken = Taken(floats[row + record.START], floats[row + record.FREED], floats[row + record.CHARGED])
        workers = self.rules.workers
        if workers is not None and ints[row + record.STATUS] != Status.OK and workers.has_left(slot, taken.end):
            self._retire(slot)
        else:
            self.transport.take(slot)
        if ints[header.PROMISED] == 1:  # the next result may follow, now that this one is on its way to the optimizer
            with self.transport as table:
                if not table.ints[header.STOP_REASON]:
                    self.advance(None)
        return taken

    def _retire(self, slot: int) -> None:
        """Give the slot back for good: its worker has left.

        Raises
        ------
        NoWorkersLeftError
            It was the last one, and the budget is not spent.
        """
        with self.transport as table:
            row = table.rows[slot]
            table.floats[header.LAST_RETURN] = table.floats[row + record.RESUMED_AT] = self.now()
            table.begin(slot)
            table.ints[row + record.STATE] = slot_state.RETIRED
            table.ints[header.OPEN] -= 1
            table.ints[header.RETIRED] += 1
            table.commit()
            self.transport.release(slot)
            if not table.ints[header.STOP_REASON]:
                self.advance(None)
            if table.ints[header.RETIRED] == table.n_slots and self._may_call():
                error = self._no_worker()
                if isinstance(error, NoWorkersLeftError):
                    raise error

    def is_waiting(self, slot: int) -> bool:
        """Tell whether the result in a slot is still to be delivered; read without the lock."""
        ints, cell = self.table.ints, self.table.rows[slot] + record.STATE
        # Looked at twice: a delivery whose process was killed before it was committed may have been undone meanwhile.
        return bool(
            ints[cell] == slot_state.FINISHED or self.table.is_uncommitted(slot) or ints[cell] == slot_state.FINISHED
        )

    # -- death -------------------------------------------------------------------------------------------------------

    def settle_dead_workers(self) -> int:
        """Deal with callers that died, for when nobody waits who would notice; return how many records there are."""
        with self.transport as table:
            self._settle_dead_workers()
            return table.ints[header.RECORDED]

    def _settle_dead_workers(self) -> None:
        if self.dead.reap_all() and not self.table.ints[header.STOP_REASON]:
            self.advance(None)

    def abandon(self, call: Call) -> None:
        """Let go of what a call holds that is being left by an exception; for the others its caller is dead."""
        self.transport.let_go()
        slot = call.slot
        if slot < 0:
            return
        with self.transport:
            row = self.table.rows[slot]
            state = self.table.ints[row + record.STATE]
            if state == slot_state.FREE:
                self.transport.release(slot)
                return  # the exception came when the slot had been given back already, or before it was taken
            if self.table.ints[row + record.CALL] != call.number:
                return  # somebody else has it by now
            if state == slot_state.EXPIRED:
                self._give_back(slot)
                return
            self.transport.release(slot)
            if state == slot_state.DELIVERED:
                self.dead.free_delivered(slot)
            elif state in (slot_state.EVALUATING, slot_state.FINISHED) and self.dead.reap(slot):
                self.advance(None)

    def _give_back(self, slot: int) -> None:
        """Free the slot of a caller that is told that its result is not recorded any more."""
        ints = self.table.ints
        ints[self.table.rows[slot] + record.PASSED_OVER] = 0
        if ints[header.STOP_REASON]:
            ints[self.table.rows[slot] + record.STATE] = slot_state.FREE
            ints[header.OPEN] += 1
        else:  # the run goes on, but this worker is busy with that evaluation beyond the budget
            ints[self.table.rows[slot] + record.STATE] = slot_state.RETIRED
            ints[header.RETIRED] += 1
        self.transport.release(slot)

    def end_if_hung(self) -> None:
        """End the run if a query of the objective takes longer than it may."""
        table, now = self.table, self.now()
        for slot in table.slots_in(slot_state.EVALUATING):
            if now - table.floats[table.rows[slot] + record.RESUMED_AT] > self.rules.query_timeout:
                self.end.come(StopReason.HUNG, slot)
                return

    # -- for those who look on -----------------------------------------------------------------------------------------

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
