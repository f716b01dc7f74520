"""The grid runner: executes the cells of a study that are not finished yet, and never one that is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Cell, Outcome
from zerowait.experiments.studies.shipped import STUDY_COPY
from zerowait.plots.studies.loading import STUDY_FILE
from zerowait.suite.rules.errors import RunDirectoryError, SpecificationError
from zerowait.suite.sharing.fsync import replace_file
from zerowait.suite.sharing.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from zerowait.experiments.grid.engines import Engine


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of a study: `cells/`, `figures/`, the list of its cells, and a lock."""

    path: Path

    @property
    def cells(self) -> CellFolders:
        """Where the cells are kept."""
        return CellFolders(self.path / "cells")

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        SpecificationError
            It cannot be written to; the message names the folder and the remedy.
        """
        try:
            self.cells.path.mkdir(parents=True, exist_ok=True)
            # Creating a file is the only test that counts permissions, read-only file systems and full disks
            # alike.
            for folder in (self.path, self.cells.path):
                probe = folder / f".{os.getpid()}.probe"
                probe.touch()
                probe.unlink()
        except OSError as error:
            raise SpecificationError(
                f"the output folder {self.path} cannot be written to ({error.strerror or error}); "
                "choose another with the key output or the option --output"
            ) from None

    def try_out(self) -> str | None:
        """Return why the folder could not be made, or None; what was not there before is not there afterwards."""
        made = [path for path in (self.cells.path, self.path, *self.path.parents) if not path.exists()]
        try:
            self.create()
        except SpecificationError as error:
            return str(error)
        finally:
            for path in made:
                with contextlib.suppress(OSError):  # it was not made, or somebody has put something there meanwhile
                    path.rmdir()
        return None

    def keep_file(self, study_file: Path) -> None:
        """Keep a copy of the study's file, by which the folder can be run again and reported wherever it is."""
        self.create()
        copy = self.path / STUDY_COPY
        if not (copy.exists() and copy.samefile(study_file)):
            text = study_file.read_bytes()
            replace_file(copy, lambda temporary: temporary.write_bytes(text))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from running cells in this folder.

        Raises
        ------
        RunDirectoryError
            Somebody else does so already.
        """
        # The kernel releases the lock when the process ends, however it ends.
        with os.fdopen(open_regular(self.path / ".lock", os.O_RDWR | os.O_CREAT), "r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunDirectoryError(
                    f"another zerowait is running a study in {self.path}; "
                    "wait for it, or choose another folder with --output"
                ) from None
            yield

    def list_cells(self, name: str, cells: Sequence[Cell]) -> None:
        """Write down which cells are the study's, so that figures leave out those of its earlier versions."""
        keys = [f"cells/{cell.key}" for cell in cells]
        listing = {
            "name": name,
            "cells": dict(zip(keys, map(str, cells), strict=True)),
            "runs": dict(zip(keys, map(Cell.run, cells), strict=True)),
        }
        text = json.dumps(listing, indent=1) + "\n"
        replace_file(self.path / STUDY_FILE, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@dataclass(slots=True)
class Summary:
    """What came of running a study."""

    total: int
    """Cells that were asked for."""
    already_finished: int
    """Cells that were finished before."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the cells that were run now, in the order in which they ended."""
    wall_time: float = 0.0
    """Real seconds."""
    already_failed: list[str] = field(default_factory=list)
    """Keys of the cells that failed before and are left alone."""

    @property
    def to_run(self) -> int:
        """Cells that are run now."""
        return self.total - self.already_finished - len(self.already_failed)

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of the cells that failed."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]

    @property
    def finished(self) -> int:
        """Cells that are finished by now."""
        return self.already_finished + len(self.outcomes) - len(self.failed)

    @property
    def simulated_time(self) -> float:
        """Sum of the simulated seconds of the runs that were finished now."""
        return sum(outcome.makespan for outcome in self.outcomes)


def run_grid(
    name: str,
    cells: Sequence[Cell],
    folder: StudyFolder,
    engine: Engine,
    on_change: Callable[[Summary], None] | None = None,
    *,
    chosen: Sequence[Cell] | None = None,
    retry_failed: bool = False,
) -> Summary:
    """Run the cells that are not finished and return what came of it.

    A failed cell is kept with its error and does not stop the others. When the caller is interrupted, cells at work
    are dropped and finished ones stay.

    Parameters
    ----------
    name
        Name of the study.
    cells
        All cells of the study, in the order in which to run them.
    folder
        Where they are kept.
    engine
        What executes them.
    on_change
        Called with the summary at the beginning and whenever a cell has ended.
    chosen
        Which of them to run; all by default.
    retry_failed
        Whether to run those that failed before.

    Raises
    ------
    SpecificationError
        The folder cannot be written to.
    RunDirectoryError
        Somebody else is running cells there, or the disk is full.
    """
    folder.create()
    with folder.locked():
        begin = time.perf_counter()
        folder.cells.sweep()
        folder.list_cells(name, cells)
        finished = folder.cells.finished_keys()
        failed = set() if retry_failed else folder.cells.failed_keys()
        wanted = [(cell, cell.key) for cell in (cells if chosen is None else chosen)]
        missing = [cell for cell, key in wanted if key not in finished and key not in failed]
        already_failed = [key for _, key in wanted if key in failed]
        summary = Summary(len(wanted), len(wanted) - len(missing) - len(already_failed), already_failed=already_failed)
        if on_change is not None:
            on_change(summary)
        try:
            # Closed explicitly, so that an interrupt in `on_change` stops the engine now and not whenever it
            # is collected.
            with contextlib.closing(_outcomes(engine, missing, folder)) as outcomes:
                for outcome in outcomes:
                    summary.outcomes.append(outcome)
                    summary.wall_time = time.perf_counter() - begin
                    if on_change is not None:
                        on_change(summary)
        finally:
            folder.cells.sweep()
        summary.wall_time = time.perf_counter() - begin
    return summary


def _outcomes(engine: Engine, cells: Sequence[Cell], folder: StudyFolder) -> Generator[Outcome]:
    """Yield what the engine yields; an error of the folder itself, unlike a cell's, ends the study."""
    try:
        with contextlib.closing(engine.run(cells, folder.cells)) as outcomes:
            yield from outcomes
    except OSError as error:
        if error.errno is None:  # not of a file: what Dask raises when an answer does not come
            raise RunDirectoryError(
                f"the processes that run cells do not answer ({error}); finished cells are kept: run the same command "
                "again"
            ) from error
        raise RunDirectoryError(
            f"cannot go on writing to {folder.path} ({error.strerror or error}); finished cells are kept: "
            "make room and run the same command again"
        ) from error
