"""Waiting until so many calls have started, for who makes his own calls one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable

from zerowait.suite.sharing import header, slot_state
from zerowait.suite.sharing.call import Rules
from zerowait.suite.sharing.end_of_run import EndOfRun
from zerowait.suite.sharing.table import StopReason
from zerowait.suite.sharing.transport import Transport


class Starts:
    """How many calls of a run have started, and who waits for that.

    Parameters
    ----------
    transport, rules, end
        Those of the run.
    may_call
        Tells whether the run takes another call.
    next_arrival
        Returns when the next worker that may get a call arrives, and its slot, or None.
    """

    def __init__(
        self,
        transport: Transport,
        rules: Rules,
        end: EndOfRun,
        may_call: Callable[[], bool],
        next_arrival: Callable[[], tuple[float, int] | None],
    ) -> None:
        self._transport = transport
        self._table = transport.table
        self._end = end
        self._may_call = may_call
        self._next_arrival = next_arrival
        workers, slots = rules.workers, range(self._table.n_slots)
        self._in_order = workers is None
        self._there_at_once = sum(workers is None or workers.cluster.arrival(slot) == 0.0 for slot in slots)

    def wait(self, n: int, timeout: float, *, arrivals: bool) -> bool:
        """Wait until `n` calls have got a slot or been refused; return False after `timeout` seconds.

        With `arrivals` also until the worker of the next one is there; otherwise nobody waits for a worker to come.
        """
        deadline = time.monotonic() + timeout
        place = self._place(min(n, self._table.n_slots))
        n = min(n, self._table.n_slots if arrivals else self._there_at_once)
        while not self._have_been(n, arrivals=arrivals) and self._may_call():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._transport.wait(place, min(left, 1.0))
            with self._transport as table:
                if self._have_been(n, arrivals=arrivals) or table.ints[header.STOP_REASON] == StopReason.BUDGET:
                    return True
                self._end.raise_reason()
        return True

    def _have_been(self, n: int, *, arrivals: bool) -> bool:
        table, ints = self._table, self._table.ints
        answered = ints[header.STARTED] + ints[header.RETIRED]
        if not arrivals:
            return answered >= n
        to_come = len(table.slots_in(slot_state.NOT_YET))
        if to_come and self._next_arrival() is None:  # they come after the end, and their calls are refused
            return answered + to_come >= n
        return answered >= n and (n >= table.n_slots or not to_come or table.n_slots - to_come > n)

    def wake(self) -> None:
        """Wake who waits for the start that has just been, or for the worker that has just come."""
        table = self._table
        answered = table.ints[header.STARTED] + table.ints[header.RETIRED]
        if self._there_at_once < table.n_slots:  # who waits for a worker to come may have since fewer had started, and
            for n in range(1, table.n_slots + 1):  # who does not wait for it is content with those that there are
                self._transport.wake(self._place(n))
        elif answered <= table.n_slots:
            self._transport.wake(self._place(answered))

    def _place(self, n: int) -> int:
        """Return the place at which the n-th start is waited for: of a slot not claimed by then, or of none.

        Machines are claimed in an order of their own, see `Coordinator.claim`. Each n has its own place, since threads
        of one process wait for different ones.
        """
        return n if self._in_order else self._table.n_slots + n
