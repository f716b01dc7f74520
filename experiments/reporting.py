"""What a run of a study tells the person who started it."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cells import ERROR_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from experiments.cells import Cell, CellFolders
    from experiments.grid import Summary

PLAIN_SECONDS = 5.0
"""Without a terminal, at least so many seconds pass between two lines..."""
PLAIN_SHARE = 0.05
"""...and at least this share of the cells ends."""
MOST_FAILURES = 20
"""So many failed cells are named in a summary."""

_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Return a duration in a unit that suits it, such as `12.5 min`."""
    for length, unit in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Summary], None]]:
    """Show the progress on standard error: a bar with the time left on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells{task.fields[failed]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("cells", failed="")

        def show(summary: Summary) -> None:
            failed = f", {len(summary.failed)} failed" if summary.failed else ""
            done = summary.already_finished + len(summary.outcomes)
            bar.update(task, total=summary.total, completed=done, failed=failed)

        yield show


class _PlainProgress:
    """Prints a line at the beginning, at the end, and now and then between."""

    def __init__(self) -> None:
        self._printed_at, self._printed_done = time.monotonic(), 0
        self._first: tuple[float, int] | None = None

    def __call__(self, summary: Summary) -> None:
        now, done = time.monotonic(), len(summary.outcomes)
        todo = summary.total - summary.already_finished
        if done and self._first is None:
            self._first = now, done
        soon = now - self._printed_at < PLAIN_SECONDS or done - self._printed_done < PLAIN_SHARE * todo
        if 0 < done < todo and soon:
            return
        text = f"{summary.already_finished + done} of {summary.total} cells"
        if summary.failed:
            text += f", {len(summary.failed)} failed"
        if self._first is not None and self._first[1] < done < todo:
            # Measured from the first outcome on: starting the processes says nothing about the cells.
            rate = (now - self._first[0]) / (done - self._first[1])
            text += f", about {duration(rate * (todo - done))} left"
        self._printed_at, self._printed_done = now, done
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command's output


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
    lines = [
        f"failed: {names[outcome.key]}: {outcome.error} ({relative(folders.failed(outcome.key) / ERROR_FILE)})"
        for outcome in summary.failed
    ]
    if len(lines) > MOST_FAILURES:
        lines[MOST_FAILURES:] = [f"... and {len(lines) - MOST_FAILURES} more, in {relative(folders.path)}"]
    return lines


def relative(path: Path) -> str:
    """Return a path relative to the current folder if it lies below it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
