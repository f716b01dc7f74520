"""Six libraries, each in its native mode: really slept, slept a second time, and simulated under measured overhead.

Nothing of a library is modelled here. Its own threads, Dask workers, nameserver or file locks hand out configurations
to one, two, four and eight workers, which sleep the trainings of an analytic and of a real benchmark, or simulate them.
The benchmarks' runtimes are shortened to about half a second, so that what the library itself spends is a large part of
every run: the hardest case for a simulator that measures it.

What agrees exactly, what cannot, and what bound follows from that: see `run_distances` and docs/verification.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import pandas as pd

from zerowait import adapters, benchmarks
from zerowait.experiments.verification import Request
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.six_libraries.library_runs import Ran, Shortened, run_library
from zerowait.experiments.verification.six_libraries.run_distances import MEASURES, distance, is_odd, most_odd
from zerowait.suite.rules.errors import SpecificationError

RANDOM = "random"
OPTIMIZERS = (RANDOM, "optuna-tpe", "smac-mf", "bohb", "dehb", "neps-hyperband")
SLEPT, AGAIN, SIMULATED = "slept", "slept again", "simulated"
SEED = 0
TIME_LIMIT = 0.02
"""Largest error of the final time where the evaluations and their order are given, beyond what is measured of the real
world in the same cell: what the sleepers overslept, and by how much the two slept runs differ.

An assumption and no measurement: that the library's own work, up to half of these runs, is some percent slower in a
process that was just woken up. docs/verification.md says which form of this limit failed before.
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A benchmark and how short its runtimes are made."""

    task: str | None
    scale: float
    """Real seconds for a second of the benchmark."""
    spread: bool
    """Whether each configuration has a factor of its own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run three times."""

    optimizer: str
    problem: str
    """The benchmark's name, among the scope's problems."""
    workers: int


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run."""

    problems: Mapping[str, Problem]
    cells: tuple[Cell, ...]
    evaluations: Mapping[bool, int]
    """In a run, of optimizers that choose no training budget (False) and of those that do (True)."""


FULL = Scope(
    MappingProxyType(
        {"branin": Problem(None, 1 / 7200, spread=True), "lcbench": Problem("167104", 1 / 160, spread=False)}
    ),
    tuple(Cell(o, b, p) for o in OPTIMIZERS for b in ("branin", "lcbench") for p in (1, 2, 4, 8)),
    MappingProxyType({False: 20, True: 24}),
)
QUICK = Scope(
    MappingProxyType({"branin": Problem(None, 1 / 14400, spread=True)}),
    (Cell(RANDOM, "branin", 2), Cell("bohb", "branin", 1)),
    MappingProxyType({False: 12, True: 12}),
)
"""Only what has to agree exactly: of fewer than three cells all may be odd by chance, so nothing else could fail."""


def run(request: Request) -> Outcome:
    """Run every cell three times, one run after the other."""
    return verify(QUICK if request.quick else FULL, request)


def verify(scope: Scope, request: Request) -> Outcome:
    """Run a scope and compare.

    A library that is not installed is left out, which fails a gate.

    Raises
    ------
    DataMissingError
        The data of a benchmark are not here.
    """
    shortened = {
        name: Shortened(benchmarks.load(name, task=problem.task), problem.scale, spread=problem.spread)
        for name, problem in scope.problems.items()
    }
    for benchmark in shortened.values():
        benchmark.open()
    chooses: dict[str, bool] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys(cell.optimizer for cell in scope.cells):
        try:
            chooses[name] = adapters.load(name).uses_fidelity
        except SpecificationError as error:
            absent[name] = str(error)
    cells = [cell for cell in scope.cells if cell.optimizer in chooses]
    rows, evaluations = [], []
    for n, cell in enumerate(cells):
        request.tell(f"{n + 1} of {len(cells)}: {cell.optimizer} on {cell.problem}, {cell.workers} workers")
        one = partial(
            run_library, cell.optimizer, benchmark=shortened[cell.problem], workers=cell.workers,
            evaluations=scope.evaluations[chooses[cell.optimizer]], seed=SEED, directory=request.directory,
        )  # fmt: skip
        # A machine that gets slower or faster meanwhile must not favour one of them.
        order = [SLEPT, AGAIN, SIMULATED]
        turned = order[n % 3 :] + order[: n % 3]
        ran = {name: one(simulated=name == SIMULATED) for name in turned}
        rows.append(compare(cell, ran))
        evaluations += _evaluations(cell, ran)
    return _outcome(rows, evaluations, scope, absent)


def compare(cell: Cell, ran: Mapping[str, Ran]) -> dict[str, Any]:
    """Return how far the simulated run of a cell is from the nearer slept one, and the slept ones from one another."""
    slept, again, simulated = ran[SLEPT], ran[AGAIN], ran[SIMULATED]
    others = distance(slept.trace, again.trace)
    to_slept, to_again = distance(simulated.trace, slept.trace), distance(simulated.trace, again.trace)
    values = [value for one in ran.values() for value in one.trace["value"]]
    overslept = max(one.overslept(cell.workers) / one.makespan for one in (slept, again))
    row: dict[str, Any] = {
        "optimizer": cell.optimizer,
        "benchmark": cell.problem,
        "workers": cell.workers,
        "evaluations": len(slept.trace),
        "makespan": (slept.makespan + again.makespan) / 2.0,
        "simulated_makespan": simulated.makespan,
        "shortest": simulated.makespan < min(slept.makespan, again.makespan),
        "wall": simulated.wall,
        "lateness_ms": max(slept.lateness, again.lateness) * 1e3,
        "overslept": overslept,
        "idle_releases": simulated.idle_releases,
        "same": min(to_slept.first, to_again.first),
        "slept_apart_ms": others.apart * 1e3,
        "apart_ms": max(to_slept, to_again, key=lambda to: to.first).apart * 1e3,  # of the nearer one
    }
    for measure in MEASURES:
        unit = (max(values) - min(values)) or 1.0 if measure in ("best", "curve") else 1.0
        between, first, second = (d.by_measure[measure] / unit for d in (others, to_slept, to_again))
        row[f"slept_{measure}"], row[measure], row[f"farther_{measure}"] = (
            between, min(first, second), max(first, second)
        )  # fmt: skip
        row[f"odd_{measure}"] = is_odd(between, first, second, overslept if measure == "time" else 0.0)
    row["odd"] = [row[f"odd_{measure}"] for measure in MEASURES].count(True) > len(MEASURES) / 2
    return row


def _evaluations(cell: Cell, ran: Mapping[str, Ran]) -> list[dict[str, Any]]:
    """Return a row for each evaluation of each run: what figures are drawn from."""
    columns = ["content", "fidelity", "start", "end", "runtime", "value"]
    return [
        {"optimizer": cell.optimizer, "benchmark": cell.problem, "workers": cell.workers, "run": name, "place": place,
         **dict(zip(columns, values, strict=True))}
        for name, one in ran.items()
        for place, values in enumerate(one.trace[columns].itertuples(index=False, name=None), 1)
    ]  # fmt: skip


def _outcome(
    rows: list[dict[str, Any]], evaluations: list[dict[str, Any]], scope: Scope, absent: Mapping[str, str]
) -> Outcome:
    cells = pd.DataFrame(rows)
    alone, of_random = cells["workers"] == 1, cells["optimizer"] == RANDOM
    gates = [
        Gate("libraries that are not installed", float(len(absent)), "==", 0),
        *_certain_gates(cells, alone, of_random),
        *_yardstick_gates(cells[~alone]),
    ]
    shortened = ", ".join(f"{name} 1:{1 / problem.scale:g}" for name, problem in scope.problems.items())
    fewest, most = cells["evaluations"].min(), cells["evaluations"].max()
    reading = (
        "slept_... is how far the two slept runs are from one another, the column beside it how far the simulated run "
        "is from the nearer of them; 0 is agreement"
    )
    late = (
        f"the latest sleeper woke up {cells['lateness_ms'].max():.1f} ms late, and what sleepers overslept is "
        f"{cells['overslept'].max():.2%} of a run at most"
    )
    shortest = (
        f"the simulated run is the shortest of the three in {int(cells['shortest'].sum())} of {len(cells)} cells; "
        f"summed over them it took {cells['wall'].sum():.1f} s, a slept run {cells['makespan'].sum():.1f} s"
    )
    notes = [
        f"runtimes are shortened ({shortened}), {fewest} to {most} evaluations a run; all times are real seconds",
        reading, late, shortest, *absent.values(),
    ]  # fmt: skip
    return Outcome(
        "six-libraries", _summary(cells), gates, notes, {"cells": cells, "evaluations": pd.DataFrame(evaluations)}
    )


def _certain_gates(cells: pd.DataFrame, alone: Any, of_random: Any) -> list[Gate]:
    """Return the gates on what no timing decides: one worker, and configurations that depend on no result."""
    same_content = (cells["farther_content"] == 0) & (cells["farther_best"] == 0)
    same_order = same_content & (cells["farther_prefix"] == 0)
    given = cells[alone | of_random]
    gates = [Gate("free workers that a simulated run took for idle", float(cells["idle_releases"].sum()), "==", 0)]
    if alone.any():
        name = "one worker: cells in which all three runs make the same evaluations in the same order"
        gates.append(Gate(name, float(same_order[alone].sum()), "==", int(alone.sum())))
    if of_random.any():
        name = "random search: cells in which all three runs evaluate the same configurations and find the same best"
        gates.append(Gate(name, float(same_content[of_random].sum()), "==", int(of_random.sum())))
    if len(given):
        name = "one worker, and random search: largest error of the final time beyond what is measured of slept runs"
        beyond = (given["time"] - given["overslept"] - given["slept_time"]).clip(lower=0.0)
        gates.append(Gate(name, float(beyond.max()), "<=", TIME_LIMIT))
    return gates


def _yardstick_gates(cells: pd.DataFrame) -> list[Gate]:
    """Return the gates on what two slept runs differ in as well; where all cells may be odd by chance there is none."""
    counted = [
        (f"{measure} ({what}): cells of several workers in which the simulated run is the odd one out",
         cells[f"odd_{measure}"])
        for measure, what in MEASURES.items()
    ] + [
        (f"{optimizer}: cells of several workers in which it is the odd one out in most measures", of_one["odd"])
        for optimizer, of_one in cells.groupby("optimizer", sort=False)
    ]  # fmt: skip
    return [
        Gate(name, float(odd.sum()), "<=", most_odd(len(odd))) for name, odd in counted if most_odd(len(odd)) < len(odd)
    ]


def _summary(cells: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each library and number of workers: means over the benchmarks, and how many cells are odd."""
    pairs = [name for measure in MEASURES for name in (f"slept_{measure}", measure)]
    columns = {
        "cells": ("benchmark", "size"),
        "makespan": ("makespan", "mean"),
        **{name: (name, "mean") for name in pairs},
        "odd": ("odd", "sum"),
    }
    summary: pd.DataFrame = cells.groupby(["optimizer", "workers"], sort=False).agg(**columns).reset_index()
    return summary
