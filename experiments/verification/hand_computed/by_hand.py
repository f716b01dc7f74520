"""The schedules that were worked out by hand; `hand_computed.experiment` says whence they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from zerowait.experiments.verification.schedules import Case


@dataclass(frozen=True, slots=True)
class ByHand:
    """A case with the starts and ends that were worked out, in the order in which configurations are asked for."""

    case: Case
    start: tuple[float, ...]
    end: tuple[float, ...]
    known: tuple[int, ...] | None
    """Numbers of known results; None where two results arrive at the same time and the cost is 0."""


def _by_hand(
    runtimes: Iterable[float], start: Iterable[float], end: Iterable[float], known: tuple[int, ...] | None, **of: Any
) -> ByHand:
    queries = _floats(of.pop("queries", ()))
    return ByHand(Case(_floats(runtimes), queries=queries, **of), _floats(start), _floats(end), known)


def _floats(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


COST = 10.0
"""Of sampling, for each known result and one more, in the expensive schedules."""
SURPRISE = "a sampler that begins to wait"
_CROWDED = (40, 60, 60, 50, 50, 30, 30, 30)
SCHEDULES: Mapping[str, ByHand] = MappingProxyType({
    # Four workers, nothing to sample: a configuration starts when a worker is free.
    "cheap": _by_hand(
        (100, 40, 30, 20, 20, 30, 40, 20, 20, 30, 20, 40, 30, 20, 30, 20, 30, 40, 30, 10),
        (0, 0, 0, 0, 20, 30, 40, 40, 60, 60, 80, 80, 90, 100, 100, 120, 120, 120, 130, 140),
        (100, 40, 30, 20, 40, 60, 80, 60, 80, 90, 100, 120, 120, 120, 130, 140, 150, 160, 160, 150),
        None,
    ),
    # Samplings at 60-80, 110-140, 150-190 and 200-250: nobody waits for his turn.
    "expensive, nobody waits": _by_hand(
        (50, 130, 80, 160, 130, 70, 20, 30),
        (10, 20, 30, 40, 80, 140, 190, 250),
        (60, 150, 110, 200, 210, 210, 210, 280),
        (0, 0, 0, 0, 1, 2, 3, 4),
        cost=COST,
    ),
    # Samplings at 50-70, 80-110, 110-150 and 150-200: both who were done at 90 wait, told one by one.
    "expensive, told in turn": _by_hand(
        _CROWDED,
        (10, 20, 30, 40, 70, 110, 150, 200),
        (50, 80, 90, 90, 120, 140, 180, 230),
        (0, 0, 0, 0, 1, 2, 3, 4),
        cost=COST,
    ),
    # The same, but results are known on arrival: at 110 four of them (50 s), at 160 all six (70 s).
    "expensive, told on arrival": _by_hand(
        _CROWDED,
        (10, 20, 30, 40, 70, 110, 160, 230),
        (50, 80, 90, 90, 120, 140, 190, 260),
        (0, 0, 0, 0, 1, 2, 4, 6),
        cost=COST, telling="on arrival",
    ),
    # Workers that sample each for itself: at 50-70, 60-90, 70-110 and 80-130, three of them at once.
    "expensive, sampled in parallel": _by_hand(
        (40, 60, 70, 50, 50, 45, 30, 30),
        (10, 10, 10, 10, 70, 90, 110, 130),
        (50, 70, 80, 60, 120, 135, 140, 160),
        (0, 0, 0, 0, 1, 2, 3, 4),
        cost=COST, sampling="parallel",
    ),
    # Three workers; the results at 11 and 113 come while another configuration is sampled, until 15 and 115. At 11, and
    # at 35, the second configuration is still being queried.
    "slow queries": _by_hand(
        (6, 90, 20, 90, 7, 10, 100, 8, 60, 30),
        (5, 10, 15, 20, 40, 52, 67, 105, 115, 120),
        (11, 100, 35, 110, 47, 62, 167, 113, 175, 150),
        (0, 0, 0, 1, 2, 3, 4, 5, 6, 7),
        workers=3, sampled=(5.0,) * 8, queries=(0, 40, 8, 2, 4, 0, 40, 6, 4, 20),
    ),
    # Three workers that sample each for itself: at 15-20 and 19-24, and at 57-62 and 60-65, two of them.
    "slow queries, sampled in parallel": _by_hand(
        (10, 52, 14, 40, 16, 60, 20, 45, 10, 33),
        (5, 5, 5, 20, 24, 45, 62, 65, 87, 102),
        (15, 57, 19, 60, 40, 105, 82, 110, 97, 135),
        (0, 0, 0, 1, 2, 3, 4, 5, 6, 7),
        workers=3, sampled=(5.0,) * 8, queries=(0, 40, 2, 4, 8, 8, 16, 40, 0, 20), sampling="parallel",
    ),
    # Three workers and samplings of 60 s, so that results come while one is under way: it is never idle.
    "a sampler that waits": _by_hand(
        (80, 90, 200, 150, 100),
        (60, 120, 180, 240, 300),
        (140, 210, 380, 390, 400),
        (0, 0, 0, 1, 2),
        workers=3, sampled=(60.0,) * 3,
    ),
    # Three workers and samplings of 2 s, after which nobody expects that the one at 66 takes 100 s.
    SURPRISE: _by_hand(
        (20, 33, 60, 46, 200, 24, 50, 25),
        (2, 4, 6, 24, 39, 166, 226, 286),
        (22, 37, 66, 70, 239, 190, 276, 311),
        (0, 0, 0, 1, 2, 3, 4, 5),
        workers=3, sampled=(2.0, 2.0, 2.0, 100.0, 60.0, 60.0),
    ),
})  # fmt: skip
"""By name; each has runtimes, starts, ends and numbers of known results."""
