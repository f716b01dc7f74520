"""What every wait in a run has in common: who is idle, when a run is stalled, and whom Ctrl-C has left alone."""

from __future__ import annotations

import threading
import time

from zerowait.suite.rules.errors import RunAborted
from zerowait.suite.sharing import header
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.idle import LONGEST_COMPUTING, Quiescence
from zerowait.suite.sharing.interruption import main_thread_is_interrupted
from zerowait.suite.sharing.journal_schema import Release
from zerowait.suite.sharing.table import StopReason

_PATIENCE = 4.0  # real seconds without an event after which a caller leaves that Ctrl-C has left alone
_OVERSLEPT = 0.01  # real seconds; less is how timers are
_LOOKS = 3  # that find nobody computing, before a run counts as stalled


class Wait:
    """The wait of one caller."""

    def __init__(self, run: Coordinator) -> None:
        self._run = run
        self._quiescence: Quiescence | None = None  # few waits are long enough to need it
        self._stalled: tuple[int, float] | None = None  # at how many events only free slots block, since when
        self._halted = 0.0
        self._warned = False
        self._interrupted: tuple[int, float] | None = None  # at how many events, since when
        self.warnings: list[str] = []
        """What the caller is to be warned of."""

    def _note_sleep(self, asked: float, slept: float) -> None:
        """Note for how many real seconds this caller wanted to sleep, and did.

        After Ctrl-Z, or in a virtual machine without its cores, the optimizer was as quiet as this caller.
        """
        if slept - asked > _OVERSLEPT <= asked:  # of many short sleeps it is the wait for the lock between them
            self._halted += slept - asked

    def _halted_since(self) -> float:
        """Return for how many real seconds this caller could not do what it wanted since it was asked last."""
        halted, self._halted = self._halted, 0.0
        return halted

    def _leave_if_interrupted(self) -> None:
        """Raise when Ctrl-C has ended what the main thread did and nothing happens any more: nobody tells this thread.

        Where free workers are taken to be idle, that comes first, so that results which are due are recorded.
        """
        if threading.current_thread() is threading.main_thread() or not main_thread_is_interrupted():
            self._interrupted = None
            return
        events, now = self._run.table.ints[header.EVENTS], time.monotonic()
        if self._interrupted is None or self._interrupted[0] != events:
            self._interrupted = events, now
        if self._run.rules.idle.sign == "never" or now - self._interrupted[1] >= _PATIENCE:
            raise RunAborted(
                "the main thread was interrupted, and this call waits for workers that get no more calls; what was "
                f"recorded before is intact in {self._run.transport.directory.journal}"
            )

    def _release_for(self, quiet: float, needed: float, events: int) -> Release | None:
        """Return why the result may be released although slots are free, or None."""
        promised = self._run.table.ints[header.PROMISED] > 1
        rule = self._run.rules.idle
        if rule.sign == "never":
            return None
        if quiet >= needed and not promised:
            return Release.IDLE
        now = time.monotonic()
        if self._stalled is None or self._stalled[0] != events:
            self._stalled = events, now
        stalled = now - self._stalled[1]
        if stalled < max(rule.stall_after, needed):
            return None
        watch = self._quiescence
        if watch is None or (watch.looks_since >= _LOOKS and watch.without_computing >= rule.stall_after):
            return Release.STALLED
        if stalled >= LONGEST_COMPUTING * rule.stall_after:
            self._run.end.come(StopReason.STALLED, round(stalled))
        elif not self._warned:
            self._warned = True
            root = self._run.transport.directory.root
            self.warnings.append(
                f"{root}: free workers have got no call for {stalled:.0f} s, and a process of the run computes, so "
                "they are not taken to be idle; if the optimizer spins, do "
                "`from zerowait import Idle` and give `Simulator(..., idle=Idle(sign='grace'))`"
            )
        return None
