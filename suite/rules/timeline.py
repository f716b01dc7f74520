"""The rules of simulated time (design 4.1), free of I/O: when an evaluation starts and when its result is delivered.

P slots. A slot is free (its previous result has been delivered), or holds an evaluation. Two rules decide everything:

* **Start.** The evaluation that takes a free slot starts when the optimizer has sampled its configuration; a serial
  optimizer begins with that when the slot is free and the sampling before is done.
* **Delivery.** Results are delivered in the order of `(end, start, identity, ...)`. The least of them is delivered once
  nothing earlier can still appear: its end is *less* than the bound of every slot that holds no result yet. The bound
  of a free slot is the earliest start that it could still get; the bound of a slot whose objective is being queried
  is its start, because its end cannot be earlier. Under measured overhead it is its start and the real time of the
  query until now: a training takes at least as long as its query.

Under a modelled overhead the bound of a free slot is the last delivery, the moment at which its sampling begins. No end
is less than that, so after start-up exactly one slot is free at a time and the optimizer runs serially.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zerowait.suite.rules.overhead import Sampling

OrderKey: TypeAlias = tuple[float, float, bytes, float, float, int]


@dataclass(slots=True)
class Clock:
    """What the rules need to know of a run besides its slots; all times are simulated seconds."""

    last_delivery: float = 0.0
    """End of the last delivered evaluation; no later start is earlier than this."""
    busy_until: float = 0.0
    """Until when a serial optimizer is sampling: the start of the configuration that it made last."""
    started: int = 0
    """How many evaluations have been started."""
    delivered: int = 0
    """How many results have been delivered: what an overhead model is a function of."""


def next_start(last_delivery: float, busy_until: float, seconds: float, sampling: Sampling) -> float:
    """Return the start of the next evaluation when sampling its configuration costs `seconds`; see `Clock`."""
    ready = busy_until if sampling == "serial" and busy_until > last_delivery else last_delivery
    return ready + seconds


def order_key(end: float, start: float, digest: bytes, fidelity: float | None, freed: float, call: int) -> OrderKey:
    """Return what deliveries are sorted by.

    `(end, start, identity)` as the design says; evaluations that agree in all three and in fidelity and `freed` are the
    same evaluation twice, and the number of the call merely makes the order total.
    """
    return end, start, digest, -math.inf if fidelity is None else fidelity, freed, call


Clocks: TypeAlias = npt.NDArray[np.float64]


def sampling_clocks(
    bases: Clocks, resumed: Clocks, busy_until: float, busy_at: float, now: float, sampling: Sampling
) -> Clocks:
    """Return, under measured overhead, until when the sampling for each of some free slots has come at real time `now`.

    A slot's clock stood at `bases` when it began to run, at the real time `resumed`. A serial optimizer samples for it
    when the slot is free and the sampling before is done: at `busy_until` in simulated time, `busy_at` in real time.
    """
    if sampling == "serial":
        bases, resumed = np.maximum(bases, busy_until), np.maximum(resumed, busy_at)
    return bases + np.maximum(now - resumed, 0.0)


def overtaken(start: float, last_delivery: float) -> float:
    """Return the seconds charged for an evaluation whose query took so long that a later result was delivered before.

    It ends right after that delivery: a result cannot be known before it has been computed, and ends never decrease.
    """
    # From the end, not upwards from `last_delivery - start`: next to a large start, steps of small seconds are lost.
    seconds = math.nextafter(last_delivery, math.inf) - start
    while start + seconds <= last_delivery:  # rounded down; a step or two
        seconds = math.nextafter(seconds, math.inf)
    return seconds


def is_deliverable(end: float, bound: float) -> bool:
    """Tell whether the least result may be delivered, given the least bound of all slots that hold no result."""
    return end < bound
