"""What one family of tables holds, and where its numbers come from: the package or the official files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.tables import official
from zerowait.benchmarks.tables.grid import Axis, Grid
from zerowait.benchmarks.tables.official import OfficialFiles, Trainings
from zerowait.benchmarks.tables.stacked import StackedTrainings
from zerowait.benchmarks.tables.tables import PACKAGE, TableFile, missing_reason, open_table
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from zerowait.benchmarks.data.conversion import Report

# The package's numbers and the official ones are the same but for what printing a float may have cost.
_AGREEMENT = 1e-6


@dataclass(frozen=True, slots=True)
class Metric:
    """A further number of an evaluation."""

    name: str
    """Its name in `Evaluation.metrics`."""
    column: str
    """Its name in the package's table."""
    unit: str
    """Its unit."""


@dataclass(frozen=True, slots=True)
class Table:
    """What one family of tables holds."""

    name: str
    """The family, as `benchmarks.load` and the package call it."""
    axes: tuple[Axis, ...]
    """The parameters, in the order of the package's keys."""
    score: str
    """The column that the loss is made of."""
    loss: Callable[[float], float]
    """Turns a value of that column into the loss; monotone."""
    metrics: tuple[Metric, ...]
    """The further numbers."""
    seeds: int
    """The greatest number of repetitions of a configuration."""
    epochs: int
    """The fidelity of the package's trainings: the number of epochs, the highest of the official files."""
    more_fidelities: str
    """Where the official files with the lower fidelities are."""
    digests: Mapping[str, str]
    """The digest of each task's numbers; its keys are the tasks."""
    citation: str
    """The publication to cite."""
    licence: str
    """The licence of the data."""
    official: OfficialFiles | None = None
    """How the official files are read, or None when this version does not read them."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in alphabetical order."""
        return tuple(sorted(self.digests))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the converted array: runtime, score, metrics."""
        others = tuple(metric.column for metric in self.metrics if metric.column != self.score)
        return ("train_time", self.score, *others)

    def file(self, task: str) -> TableFile:
        """Return where the numbers of a task are."""
        axes = tuple(len(axis.values) for axis in self.axes)
        return TableFile(self.name, task, axes, self.columns, self.seeds, self.digests[task])

    def missing(self, task: str | None) -> str | None:
        """Tell why a task (any, when None) cannot be read and which command gets it; None when it can."""
        tasks = self.tasks if task is None else (task,)
        return missing_reason([self.file(name) for name in tasks if not self.has_official(name)])

    def has_official(self, task: str) -> bool:
        """Tell whether the trainings at every fidelity are there."""
        return self.official is not None and official.is_there(self.official, task)

    def convert_official(self, report: Report | None = None) -> list[Path]:
        """Convert the official files that are there and were not converted yet; return the folders of the arrays.

        Parameters
        ----------
        report
            Hears what is converted, how many steps of it are done, and of how many; a bar when there is none.

        Raises
        ------
        DataMissingError
            No official file is there, or the cache folder cannot be written.
        DamagedDataError
            A file is not what it should be.
        """
        if self.official is None:
            raise SpecificationError(f"{self.name}: this version does not read the official files")
        there = [task for task in self.tasks if self.has_official(task)]
        if not there:
            raise DataMissingError(f"{self.name}: {official.absence(self.official, self.tasks[0])}")
        return [official.convert(self.official, task, self._check_with(task), report) for task in there]

    def content(self, task: str, *, all_fidelities: bool) -> str | None:
        """Return what tells a task's official file from another one, or None for the package, which has a version."""
        if not all_fidelities or self.official is None:
            return None
        # The folder of the arrays is named by the digest of the file that they were made of.
        return official.convert(self.official, task, self._check_with(task)).name

    def trainings(self, task: str, *, all_fidelities: bool) -> Trainings:
        """Return the trainings of a task, from the official file or from the package; convert them if need be."""
        if all_fidelities and self.official is not None:
            return official.open_official(self.official, task, self._check_with(task))
        return StackedTrainings(open_table(self.file(task)), (self.epochs,))

    def _check_with(self, task: str) -> Callable[[Path, Trainings], None]:
        """Return what compares the official numbers with the package's, where both are there."""

        def check(source: Path, converted: Trainings) -> None:
            import numpy as np

            if missing_reason([self.file(task)]) is not None:
                return
            known = open_table(self.file(task))
            rows = [converted.numbers(row, self.epochs) for row in range(len(known))]
            found = np.array(rows).reshape(known.shape)
            differing = np.argwhere(~np.isclose(found, known, rtol=_AGREEMENT, atol=0, equal_nan=True)).tolist()
            if differing:
                row, seed, column = differing[0]
                raise DamagedDataError(
                    f"{source} differs from the package {PACKAGE} at {self.epochs} epochs in {len(differing)} of "
                    f"{known.size} numbers, the first of them {self.columns[column]!r} of the repetition {seed} of "
                    f"{Grid(self.axes, 'values', self.name).config(row)}: {found[row, seed, column]} instead of "
                    f"{known[row, seed, column]}; remove it and get it again with: zerowait data fetch {self.name}"
                )

        return check
