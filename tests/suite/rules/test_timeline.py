"""The arithmetic of simulated time where floating point is coarse."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from zerowait.suite.rules import timeline

TIMES = st.floats(0.0, 1e300)


@given(TIMES, TIMES)
@example(1.0, 1.0)  # the smallest step of the seconds is lost beside the start
@example(0.0, 0.0)
@example(1e9, 1e9 + 1e-6)
@example(0.1, 1e6)
def test_an_overtaken_evaluation_ends_right_after_the_last_delivery(a, b):
    start, last = sorted([a, b])
    seconds = timeline.overtaken(start, last)
    assert seconds > 0.0
    assert start + seconds > last
    assert start + seconds <= math.nextafter(math.nextafter(last, math.inf), math.inf)
