"""The same losses, how much sooner: Hartmann in six dimensions, really slept, on several cores, and asked and told.

Sharpens the runtime reduction of arXiv 2403.01888: four workers, 100 evaluations, ten seeds, with and without noise.
The optimizer depends on every result: half of its configurations are near the best that it was told. One result in
another place changes everything after it.

A speed-up is proportional to the runtimes, so it says nothing without them. The really slept runs that the authors
published (github.com/nabenabe0928/mfhpo-simulator-experiments, validation-results/deterministic.json) end after 1,173
to 1,345 s (the first five). Hartmann's runtimes, an hour at full fidelity, are scaled to that: 52 s on average, 1,300 s
a run.

As in `order_match`, seeds are chosen by their worked-out schedule alone to have no two results closer than `gap`: the
real run must not depend on which of two sleepers a machine wakes up first. A busy machine wakes some later than that.
So every run is also simulated with the durations that the slept one really had, which must give its losses on any
machine; where the machine did keep the order, the worked-out runtimes must as well.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from zerowait.experiments.measuring import speed
from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.runtime_reduction.ways import MODES, OVERHEADS, PEERS, Result, Slept, slept
from zerowait.experiments.verification.runtime_reduction.work import (
    WORKERS,
    Climber,
    Noisy,
    Replayed,
    Scaled,
    SeededByQuery,
)
from zerowait.experiments.verification.schedules import Case, expected, gap
from zerowait.suite import Overhead


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run."""

    evaluations: int
    """Of the runs whose losses are compared with the slept ones."""
    seeds: int
    scale: float
    """Real seconds that a simulated second is slept."""
    gap: float
    """Least simulated seconds between two results."""
    paired: tuple[Paired, ...]


TIMED_EVALUATIONS = 100
"""Of the runs whose speed-up is measured; also of the quick version, because a run's start has its cost."""
REPETITIONS = 11
"""Of each run whose speed-up is measured; the median counts. They are the same run to the last bit, but the moment is
another: a machine that has slept for minutes takes up to twice as long for the first."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Runs of ours and of mfhpo-simulator on the same work, in turns, another one first in each."""

    mode: str
    evaluations: int
    turns: int
    """Of each seed."""
    least: Mapping[str, float | None]
    """By objective, what the median of the paired turns' ratios of speed-ups must reach; None where it is told only."""


BY_QUERY = "noisy, seeds by query"
"""mfhpo-simulator draws the seed of an evaluation from a generator, so noise depends on who asked first. Here its
objective works out the seed from the query, as ours is: a speed-up over the same work."""
PAIRED = (
    Paired("ask-and-tell", TIMED_EVALUATIONS, REPETITIONS, {"deterministic": 1.2, "noisy": None, BY_QUERY: 1.2}),
    Paired("ask-and-tell", 2000, 1, {"deterministic": None, "noisy": None, BY_QUERY: None}),
    Paired("multi-core", TIMED_EVALUATIONS, 3, {"deterministic": 1.0, "noisy": 1.0}),
    Paired("multi-core", 2000, 1, {"deterministic": 5.0, "noisy": 5.0}),
)
"""An evaluation of mfhpo-simulator with processes costs the more the longer the run is, so the ratio needs a length:
the 100 evaluations of the paper, and the 2,000 of `verify speed`."""
QUICK_PAIRED = PAIRED[0], PAIRED[2]
FULL = Scope(100, 10, 1 / 6, 0.6, PAIRED)
QUICK = Scope(20, 2, 1 / 75, 3.0, QUICK_PAIRED)


def _case(seed: int, scope: Scope, runtimes: list[float]) -> Case:
    return Case(tuple(runtimes[z] for z in Climber(seed, scope.evaluations).fidelities), workers=WORKERS)


def seeds(scope: Scope, runtimes: list[float]) -> list[tuple[int, float]]:
    """Return the first seeds whose schedules keep the gap, each with its gap in simulated seconds."""
    found: list[tuple[int, float]] = []
    seed = 0
    while len(found) < scope.seeds:
        case = _case(seed, scope, runtimes)
        least = gap(case, expected(case))
        if least >= scope.gap:
            found.append((seed, least))
        seed += 1
    return found


def run(request: Request) -> Outcome:
    """Sleep all runs at the same time, then simulate one after the other."""
    return verify(QUICK if request.quick else FULL, request)


def verify(scope: Scope, request: Request) -> Outcome:
    """Run a scope and compare."""
    objectives = {"deterministic": Scaled(), "noisy": Noisy()}
    chosen = seeds(scope, objectives["noisy"].runtimes)
    request.tell(f"{len(chosen) * len(objectives)} runs are slept at once; a simulated second in {scope.scale:g} s")
    truth = drivers.at_once({
        (name, seed): partial(slept, benchmark, seed, scope.evaluations, scope.scale, request.directory)
        for name, benchmark in objectives.items() for seed, _ in chosen
    })  # fmt: skip
    request.tell("and simulated, one after the other")
    for way in MODES.values():  # modules that are imported on first use are no part of a run
        way(objectives["noisy"], 0, scope.evaluations, Overhead.none(), request.directory)
    rows = [
        {
            "objective": name,
            "seed": seed,
            "gap_ms": least * scope.scale * 1e3,
            "lateness_ms": truth[name, seed].lateness * scope.scale * 1e3,
            "slept_wall": truth[name, seed].wall,
            "slept_in_order": truth[name, seed].order == expected(_case(seed, scope, benchmark.runtimes)).order,
            **_simulated(benchmark, seed, mode, overhead, truth[name, seed], scope, request.directory),
        }
        for name, benchmark in objectives.items()
        for seed, least in chosen
        for mode in MODES
        for overhead in OVERHEADS
    ]
    return _outcome(rows, _pairs(objectives, chosen, scope, request), scope)


def _pairs(
    objectives: Mapping[str, Scaled], chosen: list[tuple[int, float]], scope: Scope, request: Request
) -> list[dict[str, Any]]:
    """Return the speed-ups of ours and of mfhpo-simulator's in paired turns, a row a turn; none without it."""
    rows = []
    for paired in scope.paired if speed.has_peer() else ():
        request.tell(f"{speed.PEER} beside it: {paired.mode}, {paired.evaluations} evaluations")
        for name, (k, (seed, _)) in itertools.product(paired.least, enumerate(chosen)):
            mine = objectives["noisy" if name == BY_QUERY else name]
            theirs = SeededByQuery(seed) if name == BY_QUERY else mine
            ours = partial(MODES[paired.mode], mine, seed, paired.evaluations, Overhead.measured())
            peers = partial(PEERS[paired.mode], theirs, seed, paired.evaluations)
            for turn in range(paired.turns):
                both: dict[str, Result] = {}
                for who in ("ours", "peers") if (k + turn) % 2 else ("peers", "ours"):
                    both[who] = ours(request.directory) if who == "ours" else peers()
                our_speed_up, other = (both[who].makespan / both[who].wall for who in ("ours", "peers"))
                rows.append({
                    "objective": name, "mode": paired.mode, "evaluations": paired.evaluations, "seed": seed,
                    "turn": turn, "speed_up": our_speed_up, "peer_speed_up": other, "ratio": our_speed_up / other,
                })  # fmt: skip
    return rows


def _simulated(
    benchmark: Scaled, seed: int, mode: str, overhead: str, truth: Slept, scope: Scope, directory: Path | None
) -> dict[str, Any]:
    compared = MODES[mode](benchmark, seed, scope.evaluations, OVERHEADS[overhead](), directory)
    timed = [
        MODES[mode](benchmark, seed, TIMED_EVALUATIONS, OVERHEADS[overhead](), directory) for _ in range(REPETITIONS)
    ]
    replayed = MODES[mode](
        Replayed(benchmark, truth.asked, truth.durations), seed, scope.evaluations, Overhead.none(), directory
    )
    makespan, wall = timed[0].makespan, statistics.median(one.wall for one in timed)
    return {
        "mode": mode,
        "overhead": overhead,
        "same_losses": compared.losses == truth.losses,
        "replayed": replayed.losses == truth.losses,
        "time_error": abs(compared.makespan - max(truth.ends)) / max(truth.ends),
        "makespan": makespan,
        "wall": wall,
        "wall_with_trace": statistics.median(one.with_trace for one in timed),
        "speed_up": makespan / wall,
        "slowest_speed_up": makespan / max(one.wall for one in timed),
    }


def _outcome(rows: list[dict[str, Any]], pairs: list[dict[str, Any]], scope: Scope) -> Outcome:
    details = pd.DataFrame(rows)
    keys = ["objective", "mode", "overhead"]
    groups = details.groupby(keys, sort=False)
    table = groups.agg(
        runs=("seed", "size"), lateness_ms=("lateness_ms", "max"), slept_in_order=("slept_in_order", "sum"),
        same_losses=("same_losses", "sum"), replayed=("replayed", "sum"), time_error=("time_error", "max"),
        makespan=("makespan", "median"), wall=("wall", "median"),
        wall_with_trace=("wall_with_trace", "median"), least_speed_up=("speed_up", "min"),
        median_speed_up=("speed_up", "median"), slowest_speed_up=("slowest_speed_up", "min"),
    ).reset_index()  # fmt: skip
    gates = []
    for (objective, mode), group in details.groupby(["objective", "mode"], sort=False):
        punctual = group[group["slept_in_order"]]
        gates += [
            Gate(f"{objective}, {mode}: simulated with the durations that the slept runs really had: runs with exactly "
                 "their losses", float(group["replayed"].sum()), "==", len(group)),
            Gate(f"{objective}, {mode}: runs with exactly the slept losses, overhead none and measured, where sleepers "
                 "woke up in their order", float(punctual["same_losses"].sum()), "==", len(punctual)),
        ]  # fmt: skip
    beside = pd.DataFrame(pairs)
    medians: dict[Any, float] = {}
    if pairs:
        medians = beside.groupby(["objective", "mode", "evaluations"], sort=False)["ratio"].median().to_dict()
    least = {(paired.mode, paired.evaluations): paired.least for paired in scope.paired}
    gates += [
        Gate(f"{objective}, {mode}: speed-up over {speed.PEER}'s, {n} evaluations", median, ">=", limit)
        for (objective, mode, n), median in medians.items()
        if (limit := least[mode, n][objective]) is not None
    ]
    size = f"{scope.seeds} seeds, {scope.evaluations} evaluations, {WORKERS} workers"
    meaning = (
        f"a speed-up is simulated over real seconds of a whole run of {TIMED_EVALUATIONS} evaluations, from the making "
        f"of optimizer, simulator and workers until the last result was told: the median of {REPETITIONS} repetitions; "
        "slowest_speed_up is that of the slowest repetition"
    )
    ratios = "; ".join(f"{mode}, {objective}, {n}: {median:.2f}" for (objective, mode, n), median in medians.items())
    compared = f"speed-up over {speed.PEER}'s, medians of paired turns, by number of evaluations: {ratios}"
    slept_runs = details.drop_duplicates(["objective", "seed"])
    punctuality = (
        f"{slept_runs['slept_in_order'].sum()} of {len(slept_runs)} slept runs kept their order; in the others the "
        "machine woke a sleeper later than the gap"
    )
    notes = [f"{size}; the slept runs sleep a simulated second in {scope.scale:g} s", punctuality, meaning]
    notes.append(compared if pairs else f"{speed.PEER} is not installed, so there is no gate for a speed-up")
    return Outcome("runtime-reduction", table, gates, notes, {"runs": details, "pairs": beside})
