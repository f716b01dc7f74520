"""How far a running study is: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Protocol

from zerowait.experiments.grid.energy import Assumptions, energy, mass, saving
from zerowait.experiments.grid.reporting import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.grid.runner import Summary

PLAIN_SECONDS = 5.0
"""Without a terminal, at least so many seconds pass between two lines..."""
PLAIN_SHARE = 0.01
"""...and this share of the time since the beginning, so that a study of days does not fill a log."""
REFRESHES = 4
"""Of the live view, a second."""


class View(Protocol):
    """What the grid runner calls at the beginning and whenever a cell has ended."""

    def __call__(self, summary: Summary) -> None:
        """Show what the summary says now; its outcomes only ever grow."""


def together(*views: View) -> View:
    """Return a view that calls these one after another."""

    def view(summary: Summary) -> None:
        for one in views:
            one(summary)

    return view


class Tally:
    """Counts what a summary says, in time that does not grow with the number of cells that have ended.

    Parameters
    ----------
    cells
        Cells of the study.
    clock
        Real seconds.
    """

    def __init__(self, cells: Sequence[Cell], clock: Callable[[], float]) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._clock = clock
        self._begin = clock()
        self._first: tuple[float, int] | None = None
        self.total = self.before = self.to_run = 0
        self.done = self.failed = 0
        self.simulated = self.worker_seconds = self.real_seconds = 0.0
        self.last_failure = ""

    def take(self, summary: Summary) -> None:
        """Count the outcomes that are new."""
        self.total, self.before, self.to_run = summary.total, summary.already_finished, summary.to_run
        for outcome in summary.outcomes[self.done :]:
            cell = self._cells.get(outcome.key)
            self.simulated += outcome.makespan
            self.worker_seconds += outcome.makespan * (1 if cell is None else cell.n_workers)
            self.real_seconds += outcome.seconds
            if outcome.error is not None:
                self.failed += 1
                self.last_failure = f"{outcome.key if cell is None else cell}: {outcome.error}"
        self.done = len(summary.outcomes)
        if self.done and self._first is None:
            self._first = self._clock(), self.done

    @property
    def elapsed(self) -> float:
        """Real seconds since the beginning."""
        return self._clock() - self._begin

    @property
    def seconds_per_cell(self) -> float | None:
        """Real seconds from one cell's end to the next; None until two have ended."""
        # Measured from the first outcome on: starting the processes says nothing about the cells.
        if self._first is None or self.done <= self._first[1]:
            return None
        return (self._clock() - self._first[0]) / (self.done - self._first[1]) or None

    @property
    def left(self) -> float | None:
        """Real seconds until the end if the other cells are like those that ended; None when nobody can know."""
        pace = self.seconds_per_cell
        return None if pace is None or self.done == self.to_run else pace * (self.to_run - self.done)

    @property
    def speed(self) -> float:
        """Simulated seconds of all runs for each real second."""
        return self.simulated / self.elapsed if self.elapsed > 0 else 0.0

    def facts(self) -> list[str]:
        """Return pace, speed and time left in words, as far as they are known."""
        facts = []
        if self.seconds_per_cell is not None:
            facts.append(f"{60 / self.seconds_per_cell:,.0f} cells a minute")
        if self.simulated:
            facts.append(f"{duration(self.speed)} simulated a second")
        if self.left is not None:
            facts.append(f"about {duration(self.left)} left")
        return facts


@contextlib.contextmanager
def progress(cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic) -> Iterator[View]:
    """Show the progress on standard error: a live view on a terminal, a plain line now and then elsewhere.

    Parameters
    ----------
    cells
        Cells of the study.
    clock
        Real seconds.
    """
    tally = Tally(cells, clock)
    if not sys.stderr.isatty():
        yield _PlainLines(tally)
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield _PlainLines(tally)
        return
    with _live(tally, console) as view:
        yield view


class _PlainLines:
    """Prints a line at the beginning, at the end, and now and then between."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._printed = 0.0

    def __call__(self, summary: Summary) -> None:
        tally = self._tally
        tally.take(summary)
        elapsed = tally.elapsed
        if 0 < tally.done < tally.to_run and elapsed - self._printed < max(PLAIN_SECONDS, PLAIN_SHARE * elapsed):
            return
        self._printed = elapsed
        parts = [f"{tally.before + tally.done:,} of {tally.total:,} cells"]
        if tally.failed:
            parts.append(f"{tally.failed:,} failed")
        print(", ".join([*parts, *tally.facts()]), file=sys.stderr, flush=True)  # noqa: T201 - the command's output


@contextlib.contextmanager
def _live(tally: Tally, console: Console) -> Iterator[View]:
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    assumptions = Assumptions.of_environment()

    def render() -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        done = tally.before + tally.done
        counts = Text(f"{done:,} of {tally.total:,} cells")
        if tally.failed:
            counts.append(f", {tally.failed:,} failed", style="red")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=max(1, tally.total), completed=done, width=30), counts)
        grid.add_row(bar)
        grid.add_row(Text(", ".join([f"{duration(tally.elapsed)} elapsed", *tally.facts()]), style="dim"))
        saved = saving(tally.worker_seconds, tally.real_seconds, assumptions)
        if saved.kwh:
            text = f"not slept: {energy(saved.kwh)}, {mass(saved.grams)} CO2"
            grid.add_row(Text(f"{text} (at {assumptions.watts_per_worker:g} W a worker)", style="dim"))
        if tally.last_failure:
            failure = Text(f"last failure: {tally.last_failure}", style="red", overflow="ellipsis", no_wrap=True)
            grid.add_row(failure)
        return grid

    with Live(console=console, get_renderable=render, refresh_per_second=REFRESHES) as live:

        def view(summary: Summary) -> None:
            tally.take(summary)
            if tally.done == tally.to_run:
                live.refresh()

        yield view
