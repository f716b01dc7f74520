"""The ground truth: the same interface, but every worker really sleeps its runtime."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from zerowait.suite.rules.arguments import real
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.sharing import header, record, slot_state
from zerowait.suite.sharing.call import Rules, Taken
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.transport import Transport
from zerowait.suite.simulator import Simulator


class NaiveRun(Simulator):
    """A run that waits for real: a call returns when its runtime, times `time_scale`, has passed on the real clock.

    Results are recorded in the order in which the sleepers woke up, with the times that were measured. `end` is
    therefore later than `start + runtime` by what the operating system took to wake the process.

    Parameters
    ----------
    objective
        As for `Simulator`; the time that querying it takes is a part of the sleep.
    time_scale
        Real seconds a simulated second lasts; 0.001 sleeps a millisecond for each.
    arguments
        The keyword arguments of `Simulator`, except `overhead`: the optimizer's own time passes by itself.

    Raises
    ------
    SpecificationError
        `time_scale` is not a positive number, or an argument of `Simulator` is not usable.
    """

    def __init__(self, objective: Any, *, time_scale: float = 1.0, **arguments: Any) -> None:
        time_scale = real("time_scale", time_scale, 0.0, above=True, allowed="a positive number of seconds")
        if "overhead" in arguments:
            raise SpecificationError("a NaiveRun takes no overhead: the optimizer's own time passes on the real clock")
        self.time_scale = time_scale
        super().__init__(objective, overhead=Overhead.measured(), **arguments)

    def _further_specification(self) -> Mapping[str, Any]:
        return {"slept": self.time_scale}

    def _open(self) -> Coordinator:
        return _Sleepers(self._transport(), self._rules, self.time_scale)

    def _wait(self, coordinator: Coordinator, slot: int) -> Taken:
        cast("_Sleepers", coordinator).sleep(slot)
        return super()._wait(coordinator, slot)


class _Sleepers(Coordinator):
    """The state machine with real time in the place of the simulated one."""

    slept = True

    def __init__(self, transport: Transport, rules: Rules, time_scale: float) -> None:
        super().__init__(transport, rules)
        self._scale = time_scale

    def _now(self) -> float:
        return (self.now() - self.table.floats[header.ORIGIN]) / self._scale

    def _start(self, row: int, entered: float) -> tuple[float, float]:
        freed = self.table.floats[row + record.FREED]
        start = max((entered - self.table.floats[header.ORIGIN]) / self._scale, freed)
        return start, start - freed

    def advance(self, acting: int | None) -> None:
        """Deliver nothing: whoever wakes up delivers for itself."""

    def sleep(self, slot: int) -> None:
        """Sleep until the evaluation is over, and record it."""
        floats, row = self.table.floats, self.table.rows[slot]
        time.sleep(max(0.0, (floats[row + record.START] + floats[row + record.CHARGED] - self._now()) * self._scale))
        with self.transport:
            if self.table.ints[row + record.STATE] == slot_state.FINISHED:
                floats[row + record.END] = self._now()
                self.deliver(slot, slot)
