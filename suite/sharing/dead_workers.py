"""Workers that died: their evaluations are recorded as lost and their slots freed, or the run ends."""

from __future__ import annotations

from collections.abc import Callable

from zerowait.suite.logger import logger
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.end_of_run import EndOfRun
from zerowait.suite.sharing.journal_schema import LOST_TEXT
from zerowait.suite.sharing.processes import is_alive
from zerowait.suite.sharing.recording import Recorder
from zerowait.suite.sharing.spill import describe_further
from zerowait.suite.sharing.table import Status, StopReason
from zerowait.suite.sharing.transport import Transport


class DeadWorkers:
    """Finds slots whose holder is gone, and deals with them; used in the critical section.

    Parameters
    ----------
    transport
        The run's files.
    recorder
        What records a lost evaluation.
    end
        What ends the run.
    now
        The run's clock, in real seconds.
    run_continues
        Whether the run goes on without workers that die.
    """

    def __init__(
        self,
        transport: Transport,
        recorder: Recorder,
        end: EndOfRun,
        now: Callable[[], float],
        *,
        run_continues: bool,
    ) -> None:
        self._transport = transport
        self._recorder = recorder
        self._end = end
        self._now = now
        self._run_continues = run_continues

    def is_gone(self, slot: int) -> bool:
        """Tell whether the process that last called in this slot is dead."""
        ints, row = self._transport.table.ints, self._transport.table.rows[slot]
        if self._transport.lives(ints[row + record.PROCESS]):
            return False
        return not is_alive(ints[row + record.PID], ints[row + record.BORN])

    def reap_all(self) -> bool:
        """Deal with all slots whose holder is gone; return whether there were any."""
        table, found = self._transport.table, False
        for slot in table.slots_in(slot_state.EVALUATING, slot_state.FINISHED):
            if not self._transport.is_held(slot):
                found = True
                if not self.reap(slot):
                    break
        for slot in table.slots_in(slot_state.DELIVERED):
            # A caller that takes its result lets go of the slot without the lock, so being released proves nothing
            # here.
            row = table.rows[slot]
            if not self._transport.is_held(slot) and not is_alive(
                table.ints[row + record.PID], table.ints[row + record.BORN]
            ):
                found = True
                self.free_delivered(slot)
        return found

    def free_delivered(self, slot: int) -> None:
        """Free the slot of a caller that will not take its result: it had been delivered, so nothing is lost."""
        table = self._transport.table
        table.floats[table.rows[slot] + record.RESUMED_AT] = self._now()
        table.ints[table.rows[slot] + record.STATE] = slot_state.FREE

    def reap(self, slot: int) -> bool:
        """Record a dead caller's evaluation as lost and free its slot, or end the run; return whether it goes on."""
        table = self._transport.table
        ints, floats, row = table.ints, table.floats, table.rows[slot]
        logger.warning(
            "%s: process %d died, or left its call, in slot %d",
            self._transport.directory.root,
            ints[row + record.PID],
            slot,
        )
        if not self._run_continues:
            self._end.come(StopReason.WORKER_DIED, slot)
            return False
        table.begin(slot)
        # It is lost at the simulated time at which that is noticed, the last delivery, so that the journal stays in
        # order.
        end = floats[header.LAST_DELIVERY]
        floats[row + record.START] = min(floats[row + record.START], end)
        floats[row + record.END] = end
        floats[row + record.CHARGED] = end - floats[row + record.START]
        if ints[row + record.STATE] == slot_state.EVALUATING:
            ints[header.EVALUATING] -= 1
        ints[row + record.STATUS] = Status.LOST
        ints[row + record.CLIPPED] &= 1
        describe_further(self._transport, slot, LOST_TEXT)
        if not self._recorder.record(slot):
            return False
        self._recorder.free(row, slot_state.FREE, end, self._now())
        table.commit()
        return True
