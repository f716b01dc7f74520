"""What a run of a study tells the person who started it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from zerowait.experiments.studies.sources import unknown_sources
from zerowait.suite.records.failures import ERROR_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zerowait.experiments.grid.attempts import CellFolders
    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.grid.runner import Summary

MOST_FAILURES = 20
"""So many failed cells are named in a summary."""

_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Return a duration in a unit that suits it, such as `12.5 min`."""
    for length, unit in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def mode_lines(cells: Sequence[Cell]) -> list[str]:
    """Return which optimizers are asked and told and which run with their own machinery, and what cannot be known."""
    modes: dict[str, list[str]] = {}
    for label, mode in dict.fromkeys((cell.label, cell.mode) for cell in cells):
        modes.setdefault(mode, []).append(label)
    lines = [f"mode {mode}: {', '.join(labels)}" for mode, labels in sorted(modes.items())]
    unknown = dict.fromkeys(name for cell in cells for name in unknown_sources(cell.versions))
    return lines + [
        f"the source of {name} cannot be read, so edits of it are not noticed: remove its cells after an edit"
        for name in unknown
    ]


def summary_lines(summary: Summary) -> list[str]:
    """Return how many cells ran and how much waiting was saved."""
    ran = len(summary.outcomes) - len(summary.failed)
    counts = f"{ran} now, {summary.already_finished} before"
    lines = [f"{summary.finished} of {summary.total} cells are finished ({counts})"]
    if ran:
        speed_up = summary.simulated_time / summary.wall_time
        lines.append(
            f"simulated {duration(summary.simulated_time)} in {duration(summary.wall_time)}: "
            f"{speed_up:,.0f} times faster than waiting"
        )
    return lines


def failure_lines(summary: Summary, cells: Sequence[Cell], folders: CellFolders) -> list[str]:
    """Return the failed cells, each with the last line of its error and the file that has the whole of it."""
    names = {cell.key: str(cell) for cell in cells}
    return error_lines({found.key: (names[found.key], str(found.error)) for found in summary.failed}, folders)


def error_lines(errors: Mapping[str, tuple[str, str]], folders: CellFolders) -> list[str]:
    """Return failed cells, given by key with name and error, each with the file that has the whole of the error."""
    lines = [
        f"failed: {name}: {error} ({relative(folders.failed(key) / ERROR_FILE)})"
        for key, (name, error) in errors.items()
    ]
    if len(lines) > MOST_FAILURES:
        lines[MOST_FAILURES:] = [f"... and {len(lines) - MOST_FAILURES} more, in {relative(folders.path)}"]
    return lines


def draw_study(folder: Path, out: Path | None) -> list[str]:
    """Draw the figure of a study, and return where it and the table behind it are."""
    from zerowait.plots.catalogue import plot_study

    files = plot_study(folder, out)
    return [
        f"figure: {relative(files.pdf)}",
        f"figure: {relative(files.png)}",
        f"table:  {relative(files.csv)}",
    ]


def relative(path: Path) -> str:
    """Return a path relative to the current folder if it lies below it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
