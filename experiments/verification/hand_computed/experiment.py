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
from typing import Any

import pandas as pd

from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.drivers import Observed
from zerowait.experiments.verification.hand_computed import figure as hand_computed_figure
from zerowait.experiments.verification.hand_computed.by_hand import SCHEDULES, SURPRISE, ByHand
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Case
from zerowait.suite.rules.idle import Idle

LIMIT, SLOW_LIMIT = 0.010, 0.020
"""Real seconds; the second where queries take time, and a process may stand between sampler and simulator: what a call
costs beside its sleep adds up over ten samplings, one after the other."""
FULL_SCALE, QUICK_SCALE = 0.05, 0.01
"""Real seconds that a second of the schedules is slept."""
SIGN = 20.0
"""Seconds without a call and without work after which guessed runs take workers to be idle; a real one in full runs."""
GUESSED = "measured, guessed"


def run(request: Request) -> Outcome:
    """Model every schedule, sleep it and simulate it under measured overhead."""
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
    query = max(max(by_hand.case.queries, default=0.0) for by_hand in SCHEDULES.values())
    notes = [
        f"a second of the schedules is slept in {scale:g} s; queries take up to {query * scale:.1f} s",
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


def _gates(table: pd.DataFrame) -> list[Gate]:
    model, guessed = table["way"] == "modelled", table["way"] == GUESSED
    slow = table["schedule"].map(lambda name: bool(SCHEDULES[name].case.queries))
    real = table[~model & ~guessed]
    other = (table["real_error_ms"] > LIMIT * 1e3) | ~table["same_known"]
    return [
        Gate("modelled: largest error, s", float(table[model]["largest_error"].max()), "==", 0),
        Gate("slept and measured: largest error, real s", float(real[~slow]["real_error_ms"].max()) / 1e3, "<=", LIMIT),
        Gate("slow queries, slept and measured: largest error, real s",
             float(real[slow]["real_error_ms"].max()) / 1e3, "<=", SLOW_LIMIT),
        Gate("runs with the worked-out number of known results at every sampling",
             float(table[~guessed]["same_known"].sum()), "==", int((~guessed).sum())),
        *drivers.guess_gates(table, other, guessed, table["schedule"] == SURPRISE),
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
