"""Tables and lines about a study: what it consists of, what it would take, how far it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zerowait.experiments.grid.reporting import duration, error_lines, relative
from zerowait.experiments.grid.status import State
from zerowait.experiments.studies.listing import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zerowait.experiments.grid.attempts import CellFolders
    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.grid.estimate import Estimate, Row
    from zerowait.experiments.grid.status import Status


def print_rows(rows: Sequence[Row]) -> None:
    """Print how many cells there are, by optimizer, family of benchmarks and number of workers."""
    numbers = sorted({n_workers for row in rows for n_workers in row.cells})
    print_table(
        ("optimizer", "benchmark", "tasks", *(f"P={n}" for n in numbers), "cells"),
        [
            (
                row.optimizer,
                row.benchmark,
                str(row.tasks),
                *(f"{row.cells.get(n, 0):,}" for n in numbers),
                f"{sum(row.cells.values()):,}",
            )
            for row in rows
        ],
    )


def estimate_lines(estimates: Sequence[Estimate], n_processes: int) -> list[str]:
    """Return what each optimizer's cells would take, and all of them together on so many processes."""
    lines = [
        f"{estimate.optimizer}: "
        + (
            f"about {duration(estimate.seconds)} of one core"
            if estimate.problem is None
            else f"cannot be timed: {estimate.problem}"
        )
        for estimate in estimates
    ]
    total = sum(estimate.seconds for estimate in estimates)
    without = "" if all(estimate.problem is None for estimate in estimates) else ", without what cannot be timed"
    together = f"together: about {duration(total / n_processes)} on {n_processes} process{'es' * (n_processes > 1)}"
    lines.append(f"{together}{without} (from short runs: optimizers that slow down as results come in take longer)")
    return lines


def trial_lines(failed: Mapping[tuple[str, str], str], cells: Sequence[Cell]) -> list[str]:
    """Return which pairs of optimizer and benchmark will fail, with how many of the cells each has."""
    counts = Counter((cell.label, cell.benchmark_label) for cell in cells)
    return [
        f"will fail: {optimizer} on {benchmark} ({counts[optimizer, benchmark]:,} cells): {reason}"
        for (optimizer, benchmark), reason in failed.items()
    ]


def print_status(status: Status) -> None:
    """Print how many cells of each optimizer are in each state."""
    rows = [
        (label, *(f"{counts[state]:,}" for state in State), f"{counts.total():,}")
        for label, counts in status.by_optimizer().items()
    ]
    if len(rows) > 1:
        rows.append(("all", *(f"{status.count(state):,}" for state in State), f"{len(status.states):,}"))
    print_table(("optimizer", *State, "cells"), rows)


def failed_lines(status: Status, folders: CellFolders) -> list[str]:
    """Return the failed cells, each with the last line of its error and the file that has the whole of it."""
    names = {key: str(cell) for key, cell in zip(status.states, status.cells, strict=True)}
    lines = error_lines({key: (names[key], folders.error_line(key)) for key in status.failed}, folders)
    return lines + [
        f"damaged: {names[key]}: {problem} (remove {relative(folders.finished(key))} and run the study again)"
        for key, problem in status.damage.items()
    ]
