"""The end of a run: its reason, who is told, and the errors that calls raise from then on."""

from __future__ import annotations

import json
import math
import os

from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import (
    BudgetExhausted,
    NoWorkersLeftError,
    RunAborted,
    RunDirectoryError,
    StalledError,
    WorkerDied,
    WrongGuessError,
)
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.idle import REMEDY
from zerowait.suite.sharing.rundir import reason
from zerowait.suite.sharing.spill import description
from zerowait.suite.sharing.table import StopReason
from zerowait.suite.sharing.transport import Transport


class EndOfRun:
    """Ends a run for everybody; used in the critical section.

    Parameters
    ----------
    transport
        The run's files.
    budget
        What the run may spend.
    """

    def __init__(self, transport: Transport, budget: Budget) -> None:
        self._transport = transport
        self._budget = budget

    def come(self, stop_reason: StopReason, detail: int) -> None:
        """Let the run take no more calls, and tell everybody who waits."""
        ints = self._transport.table.ints
        if not ints[header.STOP_REASON]:
            ints[header.STOP_DETAIL] = detail
            ints[header.STOP_REASON] = stop_reason
        self.expire()

    def expire(self) -> None:
        """Tell every caller whose result cannot be delivered any more."""
        for slot in self._transport.table.slots_in(slot_state.FINISHED):
            self.expire_slot(slot)

    def expire_slot(self, slot: int) -> None:
        """Tell the caller in this slot that its result cannot be delivered any more."""
        table = self._transport.table
        table.floats[table.rows[slot] + record.END] = math.inf
        table.ints[table.rows[slot] + record.STATE] = slot_state.EXPIRED
        self._transport.wake(slot)

    def raise_reason(self) -> None:
        """Raise the error that the run has ended in, if it has."""
        table = self._transport.table
        stop_reason, detail = table.ints[header.STOP_REASON], table.ints[header.STOP_DETAIL]
        if stop_reason == StopReason.NONE:
            return
        if stop_reason == StopReason.BUDGET:
            raise self.budget_spent()
        n_records, journal = table.ints[header.RECORDED], self._transport.directory.journal
        kept = f"the {n_records} evaluations recorded before are intact in {journal}"
        if stop_reason == StopReason.ABORTED:
            raise RunAborted(f"the run was aborted; {kept}")
        if stop_reason == StopReason.STALLED:
            raise StalledError(
                f"processes of the run have worked for {detail} s without a call, while results wait for free workers; "
                f"if the optimizer spins, do `from zerowait import Idle` and give "
                f"`Simulator(..., idle=Idle(sign='grace'))`, if it computes for so long, a larger stall_after; {kept}"
            )
        if stop_reason == StopReason.WRONG_GUESS:
            raise WrongGuessError(f"a worker that was taken to be idle called after all; {REMEDY}; {kept}")
        if stop_reason == StopReason.NO_WORKERS:
            raise NoWorkersLeftError(
                f"worker {detail} of the cluster is preempted so often that nobody can wait for what it runs; take a "
                f"lower preemptions.rate, or a budget that ends before; {kept}"
            )
        if stop_reason in (StopReason.WORKER_DIED, StopReason.HUNG):
            row = table.rows[detail]
            claim = description(self._transport, detail)[: table.ints[row + record.CLAIM_TEXT]]
            config = json.loads(b"{" + claim + b"}")["config"]
            pid = table.ints[row + record.PID]
            if stop_reason == StopReason.HUNG:
                raise StalledError(
                    f"the objective has not answered process {pid} for longer than query_timeout, in slot {detail} "
                    f"with the configuration {config!r}, while others wait; mend it, or give a larger query_timeout; "
                    f"{kept}"
                )
            raise WorkerDied(
                f"process {pid} died, or left its call, while it held slot {detail} with the configuration {config!r}; "
                f"{kept}. A run in a new directory with on_worker_death='continue' goes on without workers that die"
            )
        error = OSError(detail, os.strerror(detail))
        raise RunDirectoryError(f"an evaluation could not be recorded: {reason(error)}; {kept}")

    def budget_spent(self) -> BudgetExhausted:
        """Return the error of a call past the budget."""
        return self._budget.spent(self._transport.table.ints[header.STARTED])
