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
