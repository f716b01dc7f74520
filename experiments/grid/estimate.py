"""What a study would take, from a few short runs of each of its optimizers: `zerowait run --dry-run`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zerowait.experiments.grid.cells import execute, last_line
from zerowait.suite.rules.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zerowait.experiments.grid.cells import Cell

FEW, MORE = 8, 24
"""Evaluations of the two short runs: what both need is the start of a run, what the second needs more is theirs."""
TRIAL = 3
"""Evaluations by which a pair of optimizer and benchmark is tried."""
PATIENCE = 15.0
"""Real seconds after which an optimizer is not timed further."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What runs of an optimizer with one number of workers take."""

    start: float
    """Real seconds, of every run."""
    evaluation: float
    """Real seconds, of every evaluation."""
    interval: float
    """Simulated seconds from one delivery to the next."""

    def seconds(self, budget: Budget) -> float:
        """Return the real seconds of a run."""
        evaluations = float(budget.max_evaluations or 0)
        if budget.max_time is not None and self.interval > 0:
            by_time = budget.max_time / self.interval
            evaluations = by_time if budget.max_evaluations is None else min(evaluations, by_time)
        return self.start + self.evaluation * evaluations


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of an optimizer on a family of benchmarks."""

    optimizer: str
    benchmark: str
    tasks: int
    """How many benchmarks of the family there are."""
    cells: dict[int, int]
    """How many cells, by number of workers."""


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Return how many cells there are, by optimizer, family of benchmarks and number of workers."""
    counts: dict[tuple[str, str], Counter[int]] = {}
    tasks: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        pair = cell.label, cell.benchmark
        counts.setdefault(pair, Counter())[cell.n_workers] += 1
        tasks.setdefault(pair, set()).add(cell.benchmark_label)
    return [Row(*pair, len(tasks[pair]), dict(count)) for pair, count in counts.items()]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the cells of an optimizer would take."""

    optimizer: str
    """Its label."""
    seconds: float
    """Real seconds of all of its cells, one after another; 0 when there is a problem."""
    problem: str | None = None
    """Why its runs could not be timed."""


def try_pairs(cells: Sequence[Cell], folder: Path) -> dict[tuple[str, str], str]:
    """Run the first cell of each pair of optimizer and benchmark, for some evaluations; return which failed and why.

    Parameters
    ----------
    cells
        The cells that are to be run.
    folder
        Where the runs are kept; made here.
    """
    failed: dict[tuple[str, str], str] = {}
    firsts: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        firsts.setdefault((cell.label, cell.benchmark_label), cell)
    for number, (pair, cell) in enumerate(firsts.items()):
        try:
            _timed(cell, cell.n_workers, TRIAL, folder / str(number))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what would fail in the study is told, not raised
            failed[pair] = last_line(error)
    return failed


def estimate(cells: Sequence[Cell], folder: Path) -> list[Estimate]:
    """Time short runs of every optimizer and return what its cells would take, one after another.

    Each is timed on its first benchmark with the least and the greatest number of workers; between them, the cost is
    taken to grow linearly with the number. What an optimizer needs for an evaluation late in a long run is not seen.

    Parameters
    ----------
    cells
        The cells that are to be run.
    folder
        Where the short runs are kept, an empty one.
    """
    found: list[Estimate] = []
    by_optimizer: dict[str, list[Cell]] = {}
    for cell in cells:
        by_optimizer.setdefault(cell.label, []).append(cell)
    for number, (label, own) in enumerate(by_optimizer.items()):
        try:
            costs = _costs(own, folder / str(number))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what would fail in the study is told, not raised
            found.append(Estimate(label, 0.0, last_line(error)))
            continue
        found.append(Estimate(label, sum(_between(costs, cell.n_workers).seconds(cell.budget) for cell in own)))
    return found


def _costs(cells: Sequence[Cell], folder: Path) -> dict[int, Cost]:
    """Return what runs cost with the least and with the greatest number of workers."""
    first = cells[0]
    numbers = sorted({cell.n_workers for cell in cells})
    deadline = time.perf_counter() + PATIENCE
    # The first run imports the library and reads the data, once a process and not once a cell.
    _timed(first, numbers[0], FEW, folder / "warm-up")
    costs: dict[int, Cost] = {}
    for n_workers in dict.fromkeys((numbers[0], numbers[-1])):
        few, interval, n_few = _timed(first, n_workers, FEW, folder / f"{n_workers}-few")
        if time.perf_counter() > deadline:
            costs[n_workers] = Cost(0.0, few / n_few, interval)
            continue
        more, interval, n_more = _timed(first, n_workers, MORE, folder / f"{n_workers}-more")
        each = max(0.0, (more - few) / (n_more - n_few)) if n_more > n_few else more / n_more
        costs[n_workers] = Cost(max(0.0, few - each * n_few), each, interval)
    return costs


def _timed(cell: Cell, n_workers: int, evaluations: int, folder: Path) -> tuple[float, float, int]:
    """Return real seconds of a run, simulated seconds between its deliveries, and its evaluations."""
    short = replace(cell, n_workers=n_workers, budget=Budget(max_evaluations=evaluations))
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    trace = execute(short, folder)
    seconds = time.perf_counter() - begin
    n = max(1, len(trace))
    return seconds, float(trace["end"].max()) / n if len(trace) else 0.0, n


def _between(costs: dict[int, Cost], n_workers: int) -> Cost:
    """Return the cost with this number of workers, on the line through the two that were timed."""
    (low, at_low), (high, at_high) = min(costs.items()), max(costs.items())
    share = 0.0 if low == high else (n_workers - low) / (high - low)
    # Simulated time between deliveries is inversely proportional to the number of workers.
    return Cost(
        at_low.start + share * (at_high.start - at_low.start),
        at_low.evaluation + share * (at_high.evaluation - at_low.evaluation),
        at_low.interval * low / n_workers,
    )
