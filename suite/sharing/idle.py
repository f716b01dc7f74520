"""When free workers are idle: what the optimizer says, what the past shows, and when its quiet is sign enough.

A result may wait for a free slot that never gets a call: at the end of a rung, of a generation, of a run. Who knows
that no call comes can say so (`Simulator.idle`, `Simulator.expect`). Otherwise nobody can know what an unmodified
library will do next; the sign is that it has stopped working. What a wrong guess costs: the result that was released
too early is delivered before a configuration that the optimizer was still about to hand out, whose start is then moved
to that delivery. Every guess is counted, and one that a later call contradicts is counted as wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import activity, header, record, slot_state
from zerowait.suite.sharing.activity import POLLING_SHARE, Watch
from zerowait.suite.sharing.processes import Process
from zerowait.suite.sharing.table import SlotTable

REMEDY = (
    "if the optimizer samples without using CPU time, do `from zerowait import Idle` and give "
    "`Simulator(..., idle=Idle(sign='never'))`, or say `simulator.expect(n)` before n calls"
)


_FASTEST_RELEASE = 0.05
_FASTEST_OF_A_TAIL = 0.005
_PAUSES = 3.0
_MANY_PAUSES = 10.0
_QUIETS = 2.0
_LOOKING = 4.0  # a watcher uses at most a fifth of a core
_NOTEWORTHY = 0.25  # share of `Idle.after` from which a pause is looked at
LONGEST_COMPUTING = 60.0
"""Times `Idle.stall_after` for which an optimizer may compute without a call."""
ACCUSTOMED = 3
"""After so many rounds of releases without a call a free slot is not expected to get one any more; after so many that
were right, the next ones take less quiet."""


def needed_quiet(
    idle: Idle,
    longest_pause: float,
    longest_quiet: float,
    *,
    expected: bool,
    accustomed: bool = False,
    in_generations: bool = False,
) -> float:
    """Return how many seconds of quiescence justify the next release.

    Unless a call is `expected`, which it is not after a release that led to no call, it takes less: some multiple of
    the longest pause that this optimizer ever made between a delivery and the next call, so that the tail of a rung
    costs milliseconds and not seconds a result. So it does of an optimizer of which one is `accustomed` to guess right.
    Of one that works `in_generations`, and has never called while results of a round were missing, the pauses say
    nothing: it makes them between its generations. One that has been quiet for longer before it called gets more.
    """
    if expected and not accustomed:
        needed = idle.after
    else:
        pauses = 0.0 if in_generations else _MANY_PAUSES if expected else _PAUSES
        fastest = _FASTEST_OF_A_TAIL if accustomed and not expected else _FASTEST_RELEASE
        needed = min(idle.after, max(fastest, pauses * longest_pause))
    return max(needed, _QUIETS * longest_quiet)


# -- what callers have said --------------------------------------------------------------------------------------------


def promise(table: SlotTable, calls: int) -> None:
    """Note that so many calls come, and then none before another result; called in the critical section."""
    if calls or not table.slots_in(slot_state.DELIVERED):  # what is under way to the optimizer is another result
        table.ints[header.PROMISED] = calls + 1


def forget_promise(table: SlotTable) -> None:
    """Note that nothing is known about the next calls any more."""
    table.ints[header.PROMISED] = 0


def no_call_comes(table: SlotTable) -> bool:
    """Tell whether it was said that no call comes before the next result, and all earlier ones have arrived."""
    return bool(table.ints[header.PROMISED] == 1) and not table.slots_in(slot_state.DELIVERED)


def keep_promise(table: SlotTable, *, call: bool) -> None:
    """Note a call, or a delivery, in a promise."""
    promised = table.ints[header.PROMISED]
    if call and promised > 1:
        table.ints[header.PROMISED] = promised - 1
    elif not call and promised == 1 and not table.ints[header.BARRIERS]:
        table.ints[header.PROMISED] = 0


# -- what the past shows -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pause:
    """What lies between the last sign of the optimizer and a call, in real seconds."""

    length: float = 0.0
    quiet: float = 0.0
    """How much of it neither CPU time nor the wait for a core explains; 0 where nobody has looked."""


def pause_before(table: SlotTable, idle: Idle, entered: float, processes: Callable[[], Iterable[Process]]) -> Pause:
    """Return the pause before a call that came in at `entered`; without the lock, because a look may take long."""
    floats = table.floats
    since = max(floats[header.LAST_RETURN], floats[header.LAST_CALL])  # 0 when nobody can have been at work before
    length = max(0.0, entered - since) if since else 0.0
    if idle.sign != "cpu":
        return Pause(length, length if idle.sign == "grace" else 0.0)
    if since and length < _NOTEWORTHY * idle.after:
        return Pause(length)
    return Pause(length, _quiet_until(table, entered, processes, length))


def begin(table: SlotTable, idle: Idle, now: float, processes: Callable[[], Iterable[Process]]) -> None:
    """Note that simulated time begins, so that a pause before the first call counts."""
    table.floats[header.LAST_CALL] = now
    if idle.sign == "cpu":
        _quiet_until(table, now, processes)


def note_work(table: SlotTable, seconds: float, now: float) -> None:
    """Note how many seconds the processes of the run have worked until now, for the pause before the next call."""
    table.floats[header.WORK], table.floats[header.WORK_AT] = seconds, now


def _quiet_until(
    table: SlotTable, now: float, processes: Callable[[], Iterable[Process]], length: float = 0.0
) -> float:
    """Return how much of the time of this length until now the processes have not worked; 0 if nobody looked before.

    What was before the last look, another call of the same moment has taken for its pause.
    """
    floats = table.floats
    work, before, looked_at = activity.look(processes()).seconds(), floats[header.WORK], floats[header.WORK_AT]
    note_work(table, work, now)
    return max(0.0, min(length, now - looked_at) - max(0.0, work - before)) if looked_at else 0.0


def note_call(table: SlotTable, pause: Pause, entered: float) -> bool:
    """Note a call in the critical section; return whether it contradicts the last guess.

    It does if the result that was released has not reached the optimizer yet, or if the optimizer has been quiet before
    it for longer than what was taken for the sign that it is idle.
    """
    ints, floats = table.ints, table.floats
    wrong = False
    if ints[header.RELEASES_IN_A_ROW]:
        on_its_way = entered < floats[header.LAST_RETURN] or bool(table.slots_in(slot_state.DELIVERED))
        wrong = on_its_way or 0.0 < floats[header.GUESSED_AFTER] <= pause.quiet
        ints[header.RIGHT_ROUNDS] = 0 if wrong else ints[header.RIGHT_ROUNDS] + 1
        others = ints[header.EVALUATING] > 1 or table.least_finished() is not None
        ints[header.ROUNDS_TO_THE_END] = 0 if wrong or others else ints[header.ROUNDS_TO_THE_END] + 1
        ints[header.RELEASES_IN_A_ROW] = 0
    floats[header.LONGEST_PAUSE] = max(floats[header.LONGEST_PAUSE], pause.length)
    floats[header.LONGEST_QUIET] = max(floats[header.LONGEST_QUIET], pause.quiet)
    floats[header.LAST_CALL] = entered
    if ints[header.PROMISED]:
        keep_promise(table, call=True)
    return wrong


def needed_now(table: SlotTable, idle: Idle) -> float:
    """Return how many seconds of quiet justify the next release, as far as the past shows."""
    expected = not table.ints[header.RELEASES_IN_A_ROW]
    accustomed = bool(table.ints[header.RIGHT_ROUNDS] >= ACCUSTOMED)
    in_generations = bool(table.ints[header.ROUNDS_TO_THE_END] >= ACCUSTOMED)
    pause, quiet = table.floats[header.LONGEST_PAUSE], table.floats[header.LONGEST_QUIET]
    return needed_quiet(idle, pause, quiet, expected=expected, accustomed=accustomed, in_generations=in_generations)


def is_accustomed_tail(table: SlotTable) -> bool:
    """Tell whether results follow one another as they always have in this run, so that nobody need look who works."""
    return bool(table.ints[header.RELEASES_IN_A_ROW]) and table.ints[header.RIGHT_ROUNDS] >= ACCUSTOMED


def let_clocks_go_on(table: SlotTable, end: float, now: float) -> None:
    """Let the clocks of the idle slots, which are behind, go on from the delivery at `end`."""
    for slot in table.slots_in(slot_state.FREE):
        row, floats = table.rows[slot], table.floats
        if floats[row + record.BASE] + now - floats[row + record.RESUMED_AT] < end:
            floats[row + record.BASE], floats[row + record.RESUMED_AT] = end, now


def pass_over(table: SlotTable, is_gone: Callable[[int], bool]) -> None:
    """Note that the free slots were taken to be idle; those that nobody is expected to call become absent.

    That is a slot that was never called, one whose process is gone, or one that has been idle in several rounds.
    """
    begins_a_round = table.ints[header.RELEASES_IN_A_ROW] <= 1
    for slot in table.slots_in(slot_state.FREE):
        row, ints = table.rows[slot], table.ints
        ints[row + record.PASSED_OVER] += begins_a_round
        if not ints[row + record.CALL] or ints[row + record.PASSED_OVER] >= ACCUSTOMED or is_gone(slot):
            table.begin(slot)
            ints[row + record.STATE] = slot_state.ABSENT
            ints[header.OPEN] -= 1
            table.commit()


def never_called(table: SlotTable) -> int:
    """Return how many slots are absent because nobody has ever called them, once, when there were calls for all."""
    if table.ints[header.STARTED] <= table.n_slots or table.ints[header.ABSENCE_SAID]:
        return 0
    ints = table.ints
    uncalled = [row for row in table.rows if not ints[row + record.CALL]]
    never = sum(ints[row + record.STATE] == slot_state.ABSENT for row in uncalled)
    ints[header.ABSENCE_SAID] = never > 0 or not uncalled
    return never


# -- the sign ----------------------------------------------------------------------------------------------------------


class Quiescence:
    """Watches one run from one waiting caller, to tell since when nothing has happened."""

    def __init__(self, idle: Idle, now: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._now = now
        self._events: int | None = None
        self._since = 0.0
        self._halted = 0.0
        self._watch = Watch(idle.busy_share)
        self._computed_before = math.inf
        self.without_computing = math.inf
        """For how many seconds, of those in which it could look, nothing was found to compute, and not merely poll."""
        self.looks_since = 0
        """How many looks there were in them: on a busy machine they are few."""
        self.work: float | None = None
        """How many seconds the processes had worked at the last look, all together."""
        self.shortest_interval = 0.0
        """Real seconds that should lie between two questions, so that looking through all processes stays cheap."""

    def seconds(self, events: int, processes: Iterable[Process], halted: float = 0.0) -> float:
        """Return how many seconds neither the run's event counter has moved nor its processes have worked.

        `processes` take part in the run; their descendants are watched too. To be asked from one thread, which does
        nothing else meanwhile: what it spends on watching does not count. Nor do the seconds of them for which it has
        been `halted` since it was asked last, because the others may have been, too.
        """
        now = self._now()
        self._halted += halted
        awake = now - self._since - self._halted
        self.looks_since += 1
        if self._idle.sign != "cpu":
            if events != self._events:
                self._events, self._since, self._halted = events, now, 0.0
                return 0.0
            return awake
        seen = self._watch.look(processes)
        self.work = seen.seconds()
        self.shortest_interval = _LOOKING * self._watch.looking
        # Beside threads that hold the interpreter's lock a look takes long: what was seen was seen at its end.
        seen_at = self._now()
        quiet = min(awake, now - self._since - self._watch.held_up(seen))
        self.without_computing = self._computed_before + quiet
        working = set()
        if events == self._events:
            working = self._watch.workers(seen, awake, self._idle.busy_share)
            if not working:
                return quiet
            if self._watch.workers(seen, awake, max(POLLING_SHARE, self._idle.busy_share)):
                self.without_computing, self.looks_since = 0.0, 0
        self._computed_before = self.without_computing
        self._events, self._since, self._halted = events, seen_at, 0.0
        self._watch.begin(seen, working)
        return 0.0
