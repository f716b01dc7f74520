"""Schedules that were worked out on paper: modelled to the last bit, slept and simulated to 10 real milliseconds.

The runtimes of the first three and the times of their results are the test cases that the authors of arXiv 2403.01888
published with their experiments (github.com/nabenabe0928/mfhpo-simulator-experiments, validation/test-cases.json); the
starts, and the fourth schedule, were worked out here. The unit is one second. `hand_computed_figure` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.drivers import Observed
from zerowait.experiments.verification.hand_computed import figure as hand_computed_figure
from zerowait.experiments.verification.hand_computed.by_hand import ByHand
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Case

COST = 10.0
"""Of sampling, for each known result and one more, in the expensive schedules."""
LIMIT = 0.010
"""Real seconds."""
FULL_SCALE, QUICK_SCALE = 0.05, 0.01
"""Real seconds that a second of the schedules is slept."""


def _cheap() -> ByHand:
    """Return four workers, nothing to sample: a configuration starts when a worker is free."""
    runtimes = (100, 40, 30, 20, 20, 30, 40, 20, 20, 30, 20, 40, 30, 20, 30, 20, 30, 40, 30, 10)
    start = (0, 0, 0, 0, 20, 30, 40, 40, 60, 60, 80, 80, 90, 100, 100, 120, 120, 120, 130, 140)
    end = (100, 40, 30, 20, 40, 60, 80, 60, 80, 90, 100, 120, 120, 120, 130, 140, 150, 160, 160, 150)
    return ByHand(Case(_floats(runtimes)), _floats(start), _floats(end), None)


def _apart() -> ByHand:
    """Return samplings at 60-80, 110-140, 150-190 and 200-250: nobody waits for his turn."""
    runtimes = (50, 130, 80, 160, 130, 70, 20, 30)
    start = (10, 20, 30, 40, 80, 140, 190, 250)
    end = (60, 150, 110, 200, 210, 210, 210, 280)
    return ByHand(Case(_floats(runtimes), COST), _floats(start), _floats(end), (0, 0, 0, 0, 1, 2, 3, 4))


_CROWDED = (40, 60, 60, 50, 50, 30, 30, 30)


def _in_turn() -> ByHand:
    """Return samplings at 50-70, 80-110, 110-150 and 150-200: both who were done at 90 wait, told one by one."""
    start = (10, 20, 30, 40, 70, 110, 150, 200)
    end = (50, 80, 90, 90, 120, 140, 180, 230)
    return ByHand(Case(_floats(_CROWDED), COST), _floats(start), _floats(end), (0, 0, 0, 0, 1, 2, 3, 4))


def _on_arrival() -> ByHand:
    """Return the same, but results are known on arrival: at 110 four of them (50 s), at 160 all six (70 s)."""
    start = (10, 20, 30, 40, 70, 110, 160, 230)
    end = (50, 80, 90, 90, 120, 140, 190, 260)
    case = Case(_floats(_CROWDED), COST, telling="on arrival")
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 0, 1, 2, 4, 6))


def _parallel() -> ByHand:
    """Return workers that sample each for itself: at 50-70, 60-90, 70-110 and 80-130, three of them at once."""
    runtimes = (40, 60, 70, 50, 50, 45, 30, 30)
    start = (10, 10, 10, 10, 70, 90, 110, 130)
    end = (50, 70, 80, 60, 120, 135, 140, 160)
    case = Case(_floats(runtimes), COST, sampling="parallel")
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 0, 1, 2, 3, 4))


def _floats(numbers: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


SCHEDULES: Mapping[str, ByHand] = MappingProxyType({
    "cheap": _cheap(),
    "expensive, nobody waits": _apart(),
    "expensive, told in turn": _in_turn(),
    "expensive, told on arrival": _on_arrival(),
    "expensive, sampled in parallel": _parallel(),
})  # fmt: skip
"""By name."""


def run(request: Request) -> Outcome:
    """Model every schedule, sleep it and simulate it under measured overhead."""
    import pandas as pd

    scale = QUICK_SCALE if request.quick else FULL_SCALE
    longest = max(max(by_hand.end) for by_hand in SCHEDULES.values()) * scale
    request.tell(f"{len(SCHEDULES)} schedules, slept and simulated at the same time: {longest:.0f} s")
    ways: dict[str, Callable[[Case], Observed]] = {
        "really slept": partial(drivers.slept, scale=scale, directory=request.directory),
        "measured": partial(drivers.measured, scale=scale, directory=request.directory),
    }
    tasks = {(name, way): partial(ways[way], SCHEDULES[name].case) for name in SCHEDULES for way in ways}
    tasks |= {
        (name, "asked and told, measured"): partial(drivers.asked, by_hand.case, scale)
        for name, by_hand in SCHEDULES.items()
        if by_hand.case.sampling == "serial"
    }
    observed = drivers.at_once(tasks)
    for name, by_hand in SCHEDULES.items():
        observed[name, "modelled"] = drivers.modelled(by_hand.case, request.directory)
    rows = [_row(name, way, SCHEDULES[name], seen, scale) for (name, way), seen in observed.items()]
    table = pd.DataFrame(rows).sort_values(["schedule", "way"], ignore_index=True)
    model, real = table[table["way"] == "modelled"], table[table["way"] != "modelled"]
    gates = [
        Gate("modelled: largest error, s", float(model["largest_error"].max()), "==", 0),
        Gate("slept and measured: largest error, real s", float(real["real_error_ms"].max()) / 1e3, "<=", LIMIT),
        Gate("runs with the worked-out number of known results at every sampling",
             float(table["same_known"].sum()), "==", len(table)),
    ]  # fmt: skip
    notes = [f"a second of the schedules is slept in {scale:g} s"]
    outcome = Outcome("hand-computed", table, gates, notes, {"evaluations": _evaluations(observed)})
    return hand_computed_figure.with_figure(outcome, SCHEDULES)


def _row(name: str, way: str, by_hand: ByHand, seen: Observed, scale: float) -> dict[str, Any]:
    pairs = zip([*seen.start, *seen.end], [*by_hand.start, *by_hand.end], strict=True)
    error = max(abs(a - b) for a, b in pairs)
    return {
        "schedule": name,
        "way": way,
        "makespan": max(seen.end),
        "largest_error": error,
        "real_error_ms": float("nan") if way == "modelled" else error * scale * 1e3,
        "lateness_ms": seen.lateness * scale * 1e3 if way == "really slept" else float("nan"),
        "same_known": by_hand.known is None or tuple(seen.known) == by_hand.known,
    }


def _evaluations(observed: Mapping[tuple[str, str], Observed]) -> Any:
    import pandas as pd

    rows = [
        {"schedule": name, "way": way, "configuration": k, "start": start, "end": end, "known": known}
        for (name, way), seen in observed.items()
        for k, (start, end, known) in enumerate(zip(seen.start, seen.end, seen.known, strict=True))
    ]
    rows += [
        {"schedule": name, "way": "by hand", "configuration": k, "start": start, "end": end}
        for name, by_hand in SCHEDULES.items()
        for k, (start, end) in enumerate(zip(by_hand.start, by_hand.end, strict=True))
    ]
    return pd.DataFrame(rows)
