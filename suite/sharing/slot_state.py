"""What a slot is doing: the values of the cell `record.STATE`; a module of numbers for the reason that `header` has."""

from __future__ import annotations

FREE = 0
"""Its previous result has been taken; the next call may claim it."""
EVALUATING = 1
"""A call holds it and queries the objective: its start is known, its end is not."""
FINISHED = 2
"""A call holds it and waits for its delivery: its end is known."""
DELIVERED = 3
"""Its result has been delivered, and its caller has not returned to the optimizer yet."""
EXPIRED = 4
"""The run ended before its result could be delivered; its caller is being told."""
RETIRED = 5
"""Free, but its clock is past the budget: it gets no more calls."""
NOT_YET = 7
"""Its worker has not arrived: it is free from its arrival on."""
ABSENT = 6
"""Free, and nobody is expected to call: nobody ever did, its process died, or it has been idle for long."""
