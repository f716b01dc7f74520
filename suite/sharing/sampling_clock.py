"""The clock of the optimizer under measured overhead, as the table of slots tells it; see `timeline`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from zerowait.suite.rules import timeline
from zerowait.suite.rules.overhead import Sampling
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.table import SlotTable


class SamplingClock:
    """Tells until when the sampling for free slots has come, in simulated time.

    Parameters
    ----------
    table
        The slots.
    sampling
        Whether one configuration is sampled at a time, or each worker samples for itself.
    """

    def __init__(self, table: SlotTable, sampling: Sampling) -> None:
        self._table = table
        self._is_serial = sampling == "serial"
        self._sampling = sampling

    def start(self, row: int, entered: float) -> tuple[float, float]:
        """Return the start of the call that came in at the real time `entered`, and its overhead."""
        floats = self._table.floats
        # A delivery can overtake the clock by the microseconds between a call's arrival and its hold of the lock.
        start = max(self._until(row, entered), floats[header.LAST_DELIVERY])
        base = floats[row + record.BASE]
        if self._is_serial:
            base = max(base, floats[header.BUSY_UNTIL])
        return start, max(0.0, start - base)

    def earliest(self, now: float) -> float:
        """Return the earliest start that a free slot could still get."""
        table = self._table
        # Looked at once: a caller takes its result without the lock, and its slot must not be in neither of the two.
        states = table.states.copy()
        free, delivered = states == slot_state.FREE, states == slot_state.DELIVERED
        if self._is_serial and len(clocks := self._clocks(now, free & self._is_worked_for())):
            return float(clocks.max())  # one sampler: whichever slot it works for, that is how far it has come
        earliest = np.min(self._clocks(now, free), initial=math.inf)
        bases = table.bases[delivered]  # its caller has not returned yet, so nobody samples for it
        return float(np.min(self._clocks_of(bases, np.full(len(bases), now), now), initial=earliest))

    def _until(self, row: int, now: float) -> float:
        table, floats = self._table, self._table.floats
        if self._is_serial:
            clocks = self._clocks(now, (table.states == slot_state.FREE) & self._is_worked_for())
            if len(clocks):
                return float(clocks.max())
        base, resumed = floats[row + record.BASE], floats[row + record.RESUMED_AT]
        return float(self._clocks_of(np.array([base]), np.array([resumed]), now)[0])

    def _is_worked_for(self) -> npt.NDArray[np.bool_]:
        """Tell for each slot whether, if it is free, the optimizer is at work for it as far as the past shows.

        Not for one that was found idle, nor for one that nobody has called yet although there were calls for all.
        """
        table = self._table
        expected: npt.NDArray[np.bool_] = table.passed_over == 0
        if table.ints[header.STARTED] >= table.n_slots:
            expected &= table.calls > 0
        return expected

    def _clocks(self, now: float, which: npt.NDArray[np.bool_]) -> timeline.Clocks:
        return self._clocks_of(self._table.bases[which], self._table.resumed[which], now)

    def _clocks_of(self, bases: timeline.Clocks, resumed: timeline.Clocks, now: float) -> timeline.Clocks:
        floats = self._table.floats
        return timeline.sampling_clocks(
            bases, resumed, floats[header.BUSY_UNTIL], floats[header.BUSY_AT], now, self._sampling
        )
