"""Cells of a slot's record in the table that the processes of a run share: `table.ints[row + record.STATE]`.

Those from START on are written by the claim, all at once: a process that was not running a moment ago finds its caches
cold, and then every step of the interpreter costs several times as much.
"""

from __future__ import annotations

(
    STATE, END, CHARGED, FREED, BASE, RESUMED_AT, PASSED_OVER, START, OVERHEAD, FIDELITY, RESUMED_FROM, RUNTIME, CALL,
    AFTER, CLIPPED, PID, BORN, PROCESS, STATUS, CLAIM_TEXT, TEXT, SPILLED, DIGEST, DIGEST_2, CONFIG_DIGEST,
    CONFIG_DIGEST_2,
) = range(26)  # fmt: skip
CELLS = 26
