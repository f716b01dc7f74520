"""HPOBench's official Parquet files: every configuration trained for 3, 9, 27, 81 and 243 epochs with five seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.conversion import new_array, open_array
from zerowait.benchmarks.data.errors import DamagedDataError
from zerowait.benchmarks.tables.grid import RELATIVE_TOLERANCE, Axis
from zerowait.benchmarks.tables.stacked import StackedTrainings
from zerowait.suite.rules.errors import ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

ARRAY = "trainings.npy"

# The official file is one row group, so rows are decoded in portions.
_ROWS_AT_ONCE = 16_384

# Leaves of the struct column, in the order of the converted columns; what else it holds is not decoded.
_NUMBERS = (
    "result.cost",
    "result.info.val_scores.bal_acc",
    "result.info.val_scores.precision",
    "result.info.val_scores.f1",
)


@dataclass(frozen=True, slots=True)
class HPOBenchFiles:
    """`nn.zip` of https://ndownloader.figshare.com/files/30379005: a file for each task, one row for each training.

    A row is a configuration, `iter` (epochs), `seed` and `result`, of which the cost, the balanced accuracy, the
    precision and the F1 score on the validation set are kept. `cost` is the time of an independent training, in
    seconds, and of its validation.
    """

    axes: tuple[Axis, ...]
    """The parameters, in the order of the table."""
    task_ids: Mapping[str, int]
    """The number of each task on OpenML."""
    fidelities: tuple[int, ...] = (3, 9, 27, 81, 243)
    """The epochs of the trainings."""
    seeds: tuple[int, ...] = (665, 1319, 7222, 7541, 8916)
    """The seeds of the trainings, in the order of the repetitions."""
    usual_range: tuple[int, int] = (27, 243)
    """The epochs of the reference paper's experiments."""
    name: str = "hpobench"
    """The data set, as `zerowait data fetch` takes it."""
    version: int = 1
    """Changes whenever the layout of the converted array does."""
    stepped: bool = True
    """No training ended between two of the fidelities."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The array's shape: trainings of one seed (configurations x fidelities), seeds, columns."""
        configurations = math.prod(len(axis.values) for axis in self.axes)
        return configurations * len(self.fidelities), len(self.seeds), len(_NUMBERS)

    @property
    def steps(self) -> int:
        """The number of rows."""
        return self.shape[0] * self.shape[1]

    def places(self, task: str) -> tuple[str, ...]:
        """Return where the file of a task may be: as the archive has it, and below fewer folders."""
        number = self.task_ids[task]
        inner = f"{number}/nn_{number}_data.parquet.gzip"
        return f"TabularData/nn/{inner}", f"nn/{inner}", inner

    def write(self, source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        """Convert a file; see `Conversion.write`."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = new_array(folder / ARRAY, self.shape, np.float64)
        cells = table.reshape(-1, len(_NUMBERS))
        filled = np.zeros(len(cells), dtype=bool)
        try:
            with pq.ParquetFile(source) as file:
                self._check_outline(source, file)
                names = [*(axis.name for axis in self.axes), "iter", "seed", *_NUMBERS]
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                    where = self._cells(source, batch)
                    if filled[where].any() or len(np.unique(where)) < len(where):
                        raise _damaged(source, "it holds a configuration, iter and seed twice")
                    cells[where] = self._numbers(source, batch)
                    filled[where] = True
                    advance(len(batch))
        except ZerowaitError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:  # what the library finds in a damaged file
            raise _damaged(source, str(error).splitlines()[0]) from error
        table.flush()

    def open(self, folder: Path) -> StackedTrainings:
        """Return the trainings that were converted."""
        return StackedTrainings(open_array(folder / ARRAY, self.shape), self.fidelities)

    def _check_outline(self, source: Path, file: Any) -> None:
        there = {file.schema.column(i).path for i in range(len(file.schema))}
        for name in (*(axis.name for axis in self.axes), "iter", "seed", *_NUMBERS):
            if name not in there:
                raise _damaged(source, f"the column {name!r} is missing")
        if file.metadata.num_rows != self.steps:
            raise _damaged(source, f"it has {file.metadata.num_rows} rows; it must have {self.steps}")

    def _cells(self, source: Path, batch: pa.RecordBatch) -> NDArray[np.intp]:
        """Return the position of each row among all trainings of all seeds."""
        import numpy as np

        position = np.zeros(len(batch), dtype=np.intp)
        columns = [(axis.name, axis.values) for axis in self.axes]
        for name, allowed in [*columns, ("iter", self.fidelities), ("seed", self.seeds)]:
            values = batch.column(name).to_numpy(zero_copy_only=False)
            if values.dtype.kind not in "iuf":
                raise _damaged(source, f"the column {name!r} is not a column of numbers")
            # The official values are float32 numbers printed with eight digits.
            close = np.isclose(values[:, None], np.array(allowed, dtype=float), rtol=RELATIVE_TOLERANCE, atol=0)
            unknown = np.flatnonzero(~close.any(axis=1))
            if len(unknown):
                raise _damaged(source, f"{name!r} is {values[unknown[0]]}, which is none of {list(allowed)}")
            position = position * len(allowed) + close.argmax(axis=1)
        return position

    def _numbers(self, source: Path, batch: pa.RecordBatch) -> NDArray[np.float64]:
        """Return the kept numbers of each row, shape (rows, columns)."""
        import numpy as np
        import pyarrow.compute as pc

        columns = []
        for name in _NUMBERS:
            outer, *inner = name.split(".")
            column = pc.struct_field(batch.column(outer), inner).to_numpy(zero_copy_only=False)
            if column.dtype.kind not in "iuf" or not np.isfinite(column).all():
                raise _damaged(source, f"the column {name!r} holds something else than finite numbers")
            columns.append(column.astype(np.float64))
        if (columns[0] < 0).any():
            raise _damaged(source, f"the column {_NUMBERS[0]!r} holds a negative time")
        return np.column_stack(columns)


def _damaged(source: Path, finding: str) -> DamagedDataError:
    return DamagedDataError(
        f"{source} is not the table that it should be: {finding}; "
        "remove it and get it again with: zerowait data fetch hpobench"
    )
