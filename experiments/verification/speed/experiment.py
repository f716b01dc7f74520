"""What an evaluation costs beside other simulators, a bare pool and a bare loop: one workload, one machine, one run.

Two tables in one. `pool`: calls of an objective from P processes, by a bare `multiprocessing.Pool`, by the same pool
with a `Simulator`, and by mfhpo-simulator's multi-core wrapper. `ask and tell`: one process, by a bare loop,
`simulate`, mfhpo-simulator's ask-and-tell mode, and Syne Tune's simulator backend, which runs under an interpreter of
its own, because its requirements and ours need not agree.

The contenders of a row take turns. One that fails or needs longer than `patience` has no further turn, neither in that
row nor where there are more workers, and the table says why. `speed_figure` draws the table.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from zerowait.experiments.measuring import speed
from zerowait.experiments.measuring.speed import Config
from zerowait.experiments.studies.versions import installed_versions
from zerowait.experiments.verification import Request
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.speed import figure as speed_figure
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError

SYNE_TUNE = "Syne Tune"
OPTUNAHUB_NOTE = (
    "OptunaHub's asynchronous simulator is not on PyPI (the package optunahub loads it from a registry on GitHub when "
    "it is used), so it is left out"
)
Contender = Callable[[list[Config], int], float]


class PeerFailedError(ZerowaitError, RuntimeError):
    """Another simulator could not be measured; the message holds the last line of what it said."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    workers: tuple[int, ...]
    evaluations: Mapping[str, int]
    """Of a run, by way; at least four for each worker."""
    turns: int
    patience: float
    """Real seconds of a turn after which a contender has no further turn and gets no more workers."""


FULL = Scope((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), MappingProxyType({"pool": 2000, "ask and tell": 4000}), 3,
             60.0)  # fmt: skip
QUICK = Scope((1, 8), MappingProxyType({"pool": 200, "ask and tell": 2000}), 1, 5.0)
LEAST_FOR_EACH_WORKER = 4


@dataclass
class Measured:
    """The seconds of a contender with some number of workers, or why there are none."""

    way: str
    contender: str
    workers: int
    evaluations: int
    seconds: list[float] = field(default_factory=list)
    problem: str = ""


def run(request: Request) -> Outcome:
    """Measure everything that can be had here."""
    return measure(QUICK if request.quick else FULL, request)


def measure(scope: Scope, request: Request) -> Outcome:
    """Measure a scope."""
    versions = installed_versions(("zerowait", speed.PEER))
    ways = {way: contenders_of(way, request.syne_tune, versions) for way in scope.evaluations}
    rows = []
    for way, contenders in ways.items():
        impatient: dict[str, str] = {}
        told: set[str] = set()
        for workers in scope.workers:
            evaluations = max(scope.evaluations[way], LEAST_FOR_EACH_WORKER * workers)
            request.tell(f"{way}, {workers} workers, {evaluations} evaluations")
            rows += _row(way, contenders, workers, evaluations, scope, impatient)
            for name in [name for name in impatient if name not in told]:
                request.tell(f"{way}: no more of {name}: {impatient[name]}")
                told.add(name)
    return outcome_of(rows, scope, request, versions)


def contenders_of(way: str, syne_tune: Path | None, versions: dict[str, str]) -> dict[str, Contender]:
    """Return who can be measured here, by name; `versions` receives the version of one that tells it as it runs."""
    peer = speed.has_peer()
    if way == "pool":
        found: dict[str, Contender] = {"bare": speed.bare_pool, "zerowait": speed.simulated_pool}
        return {**found, speed.PEER: speed.peer_pool} if peer else found
    found = {"bare": speed.bare_loop, "zerowait": speed.simulated_loop}
    if peer:
        found[speed.PEER] = speed.peer_loop
    if syne_tune is not None:

        def timed(configs: list[Config], workers: int) -> float:
            seconds, versions[SYNE_TUNE] = syne_tune_seconds(syne_tune, configs, workers)
            return seconds

        found[SYNE_TUNE] = timed
    return found


def _row(
    way: str,
    contenders: dict[str, Contender],
    workers: int,
    evaluations: int,
    scope: Scope,
    impatient: dict[str, str],
) -> list[Measured]:
    """Let the contenders take turns; whoever fails or takes too long is put among the `impatient`, with the reason."""
    configs = speed.workload(evaluations)
    row = {name: Measured(way, name, workers, evaluations, problem=impatient.get(name, "")) for name in contenders}
    for _ in range(scope.turns):
        for name, contender in contenders.items():
            if name in impatient:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the peer warns of every number of workers above the cores'
                    seconds = contender(configs, workers)
            except (ZerowaitError, OSError, RuntimeError, AssertionError) as error:
                # Too many processes or files are an OSError, too many threads (a pool has some) a RuntimeError. The
                # number of workers is told because the rows with more of them repeat the reason.
                row[name].problem = impatient[name] = f"{type(error).__name__}: {error} (P = {workers})"
                continue
            row[name].seconds.append(seconds)
            if seconds > scope.patience:
                impatient[name] = f"took {seconds:.0f} s with {workers} workers and {evaluations} evaluations"
    return list(row.values())


def syne_tune_seconds(python: Path, configs: list[Config], workers: int) -> tuple[float, str]:
    """Return the seconds of Syne Tune's loop over the workload, and Syne Tune's version.

    Raises
    ------
    PeerFailedError
        It could not be run, or it lost evaluations.
    """
    script = Path(__file__).with_name("syne_tune_peer.py")
    request = {"x": [c["x"] for c in configs], "y": [c["y"] for c in configs], "workers": workers}
    if not python.exists():
        raise SpecificationError(f"there is no interpreter {python}; give --syne-tune one that has Syne Tune")
    with tempfile.TemporaryDirectory(prefix="zerowait-bench-") as folder:
        # It writes its results below this folder, by default into the user's home.
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            [str(python), str(script)], input=json.dumps(request), capture_output=True, text=True, check=False,
            env={**os.environ, "SYNETUNE_FOLDER": folder},
        )  # fmt: skip
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise PeerFailedError(f"Syne Tune failed: {(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    if answer["completed"] < len(configs):
        raise PeerFailedError(f"Syne Tune completed {answer['completed']} of {len(configs)} evaluations")
    return float(answer["seconds"]), str(answer["version"])


def outcome_of(rows: list[Measured], scope: Scope, request: Request, versions: Mapping[str, str]) -> Outcome:
    """Return the table, the gates and the figure of what was measured, by contenders of these versions."""
    ours = {(row.way, row.workers): row for row in rows if row.contender == "zerowait"}
    lines = []
    for row in rows:
        mine = ours[row.way, row.workers].seconds
        # Who is given up has no later turn either, so the first turns of both are pairs, however many there are.
        pairs = list(zip(row.seconds, mine, strict=False))
        costs = [seconds / row.evaluations * 1e6 for seconds in row.seconds]
        lines.append({
            "way": row.way,
            "contender": row.contender,
            "workers": row.workers,
            "evaluations": row.evaluations,
            "turns": len(row.seconds),
            "us_per_evaluation": statistics.median(costs) if costs else math.nan,
            "least_us": min(costs, default=math.nan),
            "greatest_us": max(costs, default=math.nan),
            "times_zerowait": statistics.median(a / b for a, b in pairs) if pairs else math.nan,
            "problem": row.problem,
        })  # fmt: skip
    table = pd.DataFrame(lines)
    others = table[~table["contender"].isin(["bare", "zerowait"])]
    gates = [
        Gate(
            f"{way}: least factor by which {name} is slower than zerowait",
            float(group["times_zerowait"].min()),
            ">=",
            1,
        )
        for (way, name), group in others.groupby(["way", "contender"], sort=False)
        if group["turns"].sum()
    ]
    measured = table[table["contender"] == "zerowait"]
    gates.append(Gate("rows in which zerowait was measured", float((measured["turns"] > 0).sum()), "==", len(measured)))
    notes = [
        f"medians of up to {scope.turns} turns, beside the least and the greatest",
        "times zerowait: the median of paired turns",
        OPTUNAHUB_NOTE,
    ]
    took_part = {row.contender for row in rows if row.seconds}
    if known := [f"{name} {version}" for name, version in sorted(versions.items()) if name in took_part]:
        notes.append(f"measured were {', '.join(known)}")
    turns = table.groupby(["way", "contender"], sort=False)["turns"].sum()
    notes += [f"{way}: {name} completed no turn" for way, name in turns.index[turns == 0]]
    if request.syne_tune is None:
        notes.append("Syne Tune is left out; name an interpreter that has it with --syne-tune")
    notes.append(speed_figure.CAPTION)
    return Outcome("speed", table, gates, notes, more=partial(speed_figure.write, table))
