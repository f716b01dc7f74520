"""How far a study is: which of its cells are finished, running, failed, missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from zerowait.suite.records.store_cells import problem_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.experiments.grid.attempts import CellFolders
    from zerowait.experiments.grid.cells import Cell


class State(StrEnum):
    """The state of a cell."""

    FINISHED = "finished"
    RUNNING = "running"
    FAILED = "failed"
    DAMAGED = "damaged"
    """Finished, but its trace is missing, cut, or that of another cell."""
    MISSING = "missing"


class ExitCode(IntEnum):
    """What `zerowait status` ends with."""

    FINISHED = 0
    """Every cell is finished."""
    SOME_FAILED = 1
    """At least one cell has failed or is damaged."""
    UNFINISHED = 3
    """None has failed, and some are missing or running."""


@dataclass(frozen=True, slots=True)
class Status:
    """The states of the cells of a study."""

    states: dict[str, State]
    """By the key of the cell, in the study's order."""
    cells: Sequence[Cell]
    """The cells, in the same order."""
    damage: dict[str, str]
    """What is wrong with damaged cells, by key."""

    def count(self, state: State) -> int:
        """Return how many cells are in a state."""
        return sum(found is state for found in self.states.values())

    def by_optimizer(self) -> dict[str, Counter[State]]:
        """Return how many cells of each optimizer are in each state, by its label."""
        counts: dict[str, Counter[State]] = {}
        for cell, state in zip(self.cells, self.states.values(), strict=True):
            counts.setdefault(cell.label, Counter())[state] += 1
        return counts

    @property
    def failed(self) -> list[str]:
        """The keys of the failed cells."""
        return [key for key, state in self.states.items() if state is State.FAILED]

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        if self.failed or self.damage:
            return ExitCode.SOME_FAILED
        finished = self.count(State.FINISHED) == len(self.states)
        return ExitCode.FINISHED if finished else ExitCode.UNFINISHED


def status_of(cells: Sequence[Cell], folders: CellFolders) -> Status:
    """Return the state of every cell, from the study's folder, the locks of those at work, and what traces say."""
    # In this order: a cell that ends between two looks is then seen as running, and not as missing.
    running, failed, finished = folders.running_keys(), folders.failed_keys(), folders.finished_keys()

    damage = {}
    for cell in cells:
        problem = problem_with(folders.finished(cell.key)) if cell.key in finished else None
        if problem is not None:
            damage[cell.key] = problem

    def state(key: str) -> State:
        if key in finished:
            return State.DAMAGED if key in damage else State.FINISHED
        if key in running:
            return State.RUNNING
        return State.FAILED if key in failed else State.MISSING

    return Status({key: state(key) for key in (cell.key for cell in cells)}, cells, damage)
