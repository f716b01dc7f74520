"""Schedules that were worked out on paper: modelled to the last bit, slept and simulated to 10 real milliseconds.

The runtimes of the first three and the times of their results are the test cases that the authors of arXiv 2403.01888
published with their experiments (github.com/nabenabe0928/mfhpo-simulator-experiments, validation/test-cases.json); the
starts, and the other schedules, were worked out here. The unit is one second. `hand_computed.figure` draws them.

In two schedules queries of the objective take time, up to two real seconds, under a serial and a parallel sampler; the
workers are threads and processes. In two others the sampler waits without CPU time, as one that asks a remote service,
for longer than what is taken for the sign that it is idle: there the run is also guessed about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.drivers import Observed
from zerowait.experiments.verification.hand_computed import figure as hand_computed_figure
from zerowait.experiments.verification.hand_computed.by_hand import ByHand
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Case
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    import pandas as pd

COST = 10.0
"""Of sampling, for each known result and one more, in the expensive schedules."""
LIMIT, SLOW_LIMIT = 0.010, 0.020
"""Real seconds; the second where queries take time, and a process may stand between sampler and simulator: what a call
costs beside its sleep adds up over ten samplings, one after the other."""
FULL_SCALE, QUICK_SCALE = 0.05, 0.01
"""Real seconds that a second of the schedules is slept."""
SIGN = 20.0
"""Seconds without a call and without work after which guessed runs take workers to be idle; a real one in full runs."""


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


def _slow_queries() -> ByHand:
    """Return three workers; the results at 11 and 113 come while another configuration is sampled, until 15 and 115.

    At 11, and at 35, the second configuration is still being queried.
    """
    runtimes = (6, 90, 20, 90, 7, 10, 100, 8, 60, 30)
    queries = (0, 40, 8, 2, 4, 0, 40, 6, 4, 20)
    start = (5, 10, 15, 20, 40, 52, 67, 105, 115, 120)
    end = (11, 100, 35, 110, 47, 62, 167, 113, 175, 150)
    case = Case(_floats(runtimes), workers=3, sampled=(5.0,) * 8, queries=_floats(queries))
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 1, 2, 3, 4, 5, 6, 7))


def _slow_queries_in_parallel() -> ByHand:
    """Return three workers that sample each for itself: at 15-20 and 19-24, and at 57-62 and 60-65, two of them."""
    runtimes = (10, 52, 14, 40, 16, 60, 20, 45, 10, 33)
    queries = (0, 40, 2, 4, 8, 8, 16, 40, 0, 20)
    start = (5, 5, 5, 20, 24, 45, 62, 65, 87, 102)
    end = (15, 57, 19, 60, 40, 105, 82, 110, 97, 135)
    case = Case(_floats(runtimes), workers=3, sampled=(5.0,) * 8, queries=_floats(queries), sampling="parallel")
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 1, 2, 3, 4, 5, 6, 7))


def _waits() -> ByHand:
    """Return three workers and samplings of 60 s, so that results come while one is under way: it is never idle."""
    start = (60, 120, 180, 240, 300)
    end = (140, 210, 380, 390, 400)
    case = Case((80.0, 90.0, 200.0, 150.0, 100.0), workers=3, sampled=(60.0,) * 3)
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 1, 2))


def _begins_to_wait() -> ByHand:
    """Return three workers and samplings of 2 s, after which nobody expects that the one at 66 takes 100 s."""
    runtimes = (20, 33, 60, 46, 200, 24, 50, 25)
    start = (2, 4, 6, 24, 39, 166, 226, 286)
    end = (22, 37, 66, 70, 239, 190, 276, 311)
    case = Case(_floats(runtimes), workers=3, sampled=(2.0, 2.0, 2.0, 100.0, 60.0, 60.0))
    return ByHand(case, _floats(start), _floats(end), (0, 0, 0, 1, 2, 3, 4, 5))


def _floats(numbers: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


SURPRISE = "a sampler that begins to wait"
GUESSED = "measured, guessed"
SCHEDULES: Mapping[str, ByHand] = MappingProxyType({
    "cheap": _cheap(),
    "expensive, nobody waits": _apart(),
    "expensive, told in turn": _in_turn(),
    "expensive, told on arrival": _on_arrival(),
    "expensive, sampled in parallel": _parallel(),
    "slow queries": _slow_queries(),
    "slow queries, sampled in parallel": _slow_queries_in_parallel(),
    "a sampler that waits": _waits(),
    SURPRISE: _begins_to_wait(),
})  # fmt: skip
"""By name."""


def run(request: Request) -> Outcome:
    """Model every schedule, sleep it and simulate it under measured overhead."""
    import pandas as pd

    scale = QUICK_SCALE if request.quick else FULL_SCALE
    longest = max(max(by_hand.end) for by_hand in SCHEDULES.values()) * scale
    request.tell(f"{len(SCHEDULES)} schedules, slept and simulated at the same time: {longest:.0f} s")
    tasks = {
        (name, way): task
        for name, by_hand in SCHEDULES.items()
        for way, task in _ways(by_hand.case, scale, request.directory).items()
    }
    observed = drivers.at_once(tasks)
    for name, by_hand in SCHEDULES.items():
        observed[name, "modelled"] = drivers.modelled(by_hand.case, request.directory)
    rows = [_row(name, way, SCHEDULES[name], seen, scale) for (name, way), seen in observed.items()]
    table = pd.DataFrame(rows).sort_values(["schedule", "way"], ignore_index=True)
    notes = [
        f"a second of the schedules is slept in {scale:g} s; queries take up to {_longest_query() * scale:.1f} s",
        f"guessed: without a call for {SIGN * scale:g} s, workers are taken to be idle; elsewhere nothing is guessed",
    ]
    details = {"evaluations": _evaluations(observed)}
    draw = partial(hand_computed_figure.write_figure, details["evaluations"], SCHEDULES)
    return Outcome("hand-computed", table, _gates(table), notes, details, draw)


def _ways(case: Case, scale: float, directory: Path | None) -> dict[str, Callable[[], Observed]]:
    """Return what is run at the same time, by name."""
    slept = partial(drivers.slept, scale=scale, directory=directory)
    measured = partial(drivers.measured, scale=scale, directory=directory)
    ways: dict[str, Callable[[], Observed]] = {
        "really slept": partial(slept, case),
        "measured": partial(measured, case),
    }
    if case.queries:
        processes = replace(case, callers="processes")
        ways |= {
            "really slept, processes": partial(slept, processes),
            "measured, processes": partial(measured, processes),
        }
    if case.sampling == "serial":
        ways["asked and told, measured"] = partial(drivers.asked, case, scale)
    if max(case.sampled, default=0.0) > SIGN:
        ways[GUESSED] = partial(measured, case, idle=Idle(after=SIGN * scale))
    return ways


def _longest_query() -> float:
    return max(max(by_hand.case.queries, default=0.0) for by_hand in SCHEDULES.values())


def _gates(table: pd.DataFrame) -> list[Gate]:
    model, guessed = table["way"] == "modelled", table["way"] == GUESSED
    slow = table["schedule"].map(lambda name: bool(SCHEDULES[name].case.queries))
    real = table[~model & ~guessed]
    other = (table["real_error_ms"] > LIMIT * 1e3) | ~table["same_known"]
    silent = (table["guesses"] > 0) & other & ((table["wrong_guesses"] == 0) | ~table["warned"])
    surprise = table["schedule"] == SURPRISE
    return [
        Gate("modelled: largest error, s", float(table[model]["largest_error"].max()), "==", 0),
        Gate("slept and measured: largest error, real s", float(real[~slow]["real_error_ms"].max()) / 1e3, "<=", LIMIT),
        Gate("slow queries, slept and measured: largest error, real s",
             float(real[slow]["real_error_ms"].max()) / 1e3, "<=", SLOW_LIMIT),
        Gate("runs with the worked-out number of known results at every sampling",
             float(table[~guessed]["same_known"].sum()), "==", int((~guessed).sum())),
        Gate("guessed: runs that a guess has changed and that do not say so", float(silent.sum()), "==", 0),
        Gate("guessed: guesses about a sampler that has always waited",
             float(table[guessed & ~surprise]["guesses"].sum()), "==", 0),
        Gate("guessed: wrong guesses about a sampler that begins to wait",
             float(table[guessed & surprise]["wrong_guesses"].sum()), ">=", 1),
    ]  # fmt: skip


def _row(name: str, way: str, by_hand: ByHand, seen: Observed, scale: float) -> dict[str, Any]:
    pairs = zip([*seen.start, *seen.end], [*by_hand.start, *by_hand.end], strict=True)
    error = max(abs(a - b) for a, b in pairs)
    return {
        "schedule": name,
        "way": way,
        "makespan": max(seen.end),
        "largest_error": error,
        "real_error_ms": float("nan") if way == "modelled" else error * scale * 1e3,
        "lateness_ms": seen.lateness * scale * 1e3 if way.startswith("really slept") else float("nan"),
        "same_known": by_hand.known is None or tuple(seen.known) == by_hand.known,
        "guesses": seen.guesses,
        "wrong_guesses": seen.wrong_guesses,
        "warned": seen.warned,
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
