"""Cells of the header of the table that the processes of a run share: `table.ints[header.STARTED]`.

A module and not a class, because the interpreter reads a module's names as fast as its own globals.
"""

from __future__ import annotations

(
    MAGIC, SLOTS, LAST_DELIVERY, BUSY_UNTIL, STARTED, DELIVERED, RECORDED, JOURNAL_END, STOP_REASON, STOP_DETAIL,
    ORIGIN, IDLE_RELEASES, OPEN, EVALUATING, LEDGER_GENERATION, LEDGER_USED, EVENTS, LAST_RETURN, LONGEST_PAUSE,
    RELEASES_IN_A_ROW, RETIRED, PROCESSES, LOOKED_AT, BUSY_AT,
) = range(24)  # fmt: skip
CELLS = 24

# What the past says about idle workers, and what callers have said. Behind the undo log: a transaction that is undone
# leaves them as they are, and a run that 0.1 has begun has zeros there.
(
    LONGEST_QUIET, LAST_CALL, WORK_AT, WORK, GUESSED_AFTER, PROMISED, BARRIERS, ABSENCE_SAID, RIGHT_ROUNDS,
    STOOD_STILL, ROUNDS_TO_THE_END,
) = range(128, 139)  # fmt: skip
