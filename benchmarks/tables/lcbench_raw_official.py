"""LCBench's own files: the configurations, and for each task the learning curves of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.conversion import new_array, open_array
from zerowait.benchmarks.data.download import wrong
from zerowait.benchmarks.data.errors import DamagedDataError
from zerowait.benchmarks.data.sources import data_set
from zerowait.suite.rules.errors import ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

NAME = "lcbench_raw"
CONFIGURATIONS, EPOCHS = 2000, 52
"""Epoch 0 is an untrained network, 1 to 50 are trained, and 51 evaluates the last one again, as the final results."""
PARAMETERS = (
    "batch_size", "learning_rate", "max_dropout", "max_units", "momentum", "num_layers", "weight_decay",
)  # fmt: skip
"""What differs between configurations, alphabetically."""
CONFIG = "config"
"""What stands for a task where the configurations are meant."""
TIME = "time"
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        TIME: "s, cumulative to the end of the epoch",
        "loss": "nats, of the training",
        "lr": "learning rate of the epoch",
        "train_accuracy": "percent, 0 to 100",
        "train_balanced_accuracy": "fraction, 0 to 1",
        "train_cross_entropy": "nats",
        "val_accuracy": "percent, 0 to 100",
        "val_balanced_accuracy": "fraction, 0 to 1",
        "val_cross_entropy": "nats",
        "test_result": "percent, 0 to 100: the accuracy",
        "test_balanced_accuracy": "fraction, 0 to 1",
        "test_cross_entropy": "nats",
    }
)
"""The columns of a task's file and their units; all but the time have the prefix `Train/` there."""
TASKS: Mapping[str, str] = MappingProxyType(
    {
        "3945": "KDDCup09_appetency",
        "7593": "covertype",
        "34539": "Amazon_employee_access",
        "126025": "adult",
        "126026": "nomao",
        "126029": "bank-marketing",
        "146212": "shuttle",
        "167083": "numerai28.6",
        "167104": "Australian",
        "167149": "kr-vs-kp",
        "167152": "mfeat-factors",
        "167161": "credit-g",
        "167168": "vehicle",
        "167181": "kc1",
        "167184": "blood-transfusion-service-center",
        "167185": "cnae-9",
        "167190": "phoneme",
        "167200": "higgs",
        "167201": "connect-4",
        "168329": "helena",
        "168330": "jannis",
        "168331": "volkert",
        "168335": "MiniBooNE",
        "168868": "APSFailure",
        "168908": "christine",
        "168910": "fabert",
        "189354": "airlines",
        "189862": "jasmine",
        "189865": "sylvine",
        "189866": "albert",
        "189873": "dionis",
        "189905": "car",
        "189906": "segment",
        "189908": "Fashion-MNIST",
        "189909": "jungle_chess_2pcs_raw_endgame_complete",
    }
)
"""The folder of each task, by its OpenML id."""
_ARRAY = "array.npy"


@dataclass(frozen=True, slots=True)
class LCBenchFiles:
    """`NAME/metrics.parquet.gzip` of a task, or `NAME/config.parquet.gzip`, which is the same for all of them."""

    what: str
    """`CONFIG`, or a task's id."""
    name: str = NAME
    """The data set, as `zerowait data fetch` takes it."""
    version: int = 1
    """Changes whenever the layout of the converted array does."""
    steps: int = 1
    """A file is read in one go."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Configurations and parameters, or configurations, epochs and columns."""
        if self.what == CONFIG:
            return CONFIGURATIONS, len(PARAMETERS)
        return CONFIGURATIONS, EPOCHS, len(COLUMNS)

    def places(self, task: str) -> tuple[str, ...]:
        """Return where the file may be: as its authors have it, and in one folder."""
        if task == CONFIG:
            official = "APSFailure/config.parquet.gzip"
            return official, *(f"{name}/config.parquet.gzip" for name in TASKS.values()), "config.parquet"
        return f"{TASKS[task]}/metrics.parquet.gzip", f"{TASKS[task]}_metrics.parquet"

    def write(self, source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        """Convert a file; see `Conversion.write`."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.what != CONFIG or source.name.endswith(".gzip"):  # configurations on their own are nobody's file
            problem = wrong(source, None, data_set(NAME).digests().get(self.places(self.what)[0]))
            if problem is not None:
                raise _damaged(source, problem)
        index = ["trial"] if self.what == CONFIG else ["trial", "epoch"]
        names: Sequence[str] = PARAMETERS
        if self.what != CONFIG:
            names = [name if name == TIME else f"Train/{name}" for name in COLUMNS]
        try:
            with pq.ParquetFile(source) as file:
                there = set(file.schema_arrow.names)
                missing = next((name for name in (*index, *names) if name not in there), None)
                if missing is not None:
                    raise _damaged(source, f"the column {missing!r} is missing")
                rows = file.read(columns=[*index, *names])
            columns = [rows.column(name).to_numpy().astype(np.float64) for name in names]
            keys = [rows.column(name).to_numpy() for name in index]
        except ZerowaitError:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:  # what the library finds in a damaged file
            raise _damaged(source, str(error).splitlines()[0]) from error
        numbers = np.stack(columns, axis=1)
        self._check(source, keys, numbers)
        array = new_array(folder / _ARRAY, self.shape, np.float64)
        array[:] = numbers.reshape(self.shape)
        array.flush()
        advance(1)

    def open(self, folder: Path) -> NDArray[np.float64]:
        """Return the numbers that were converted, in the order of `shape`."""
        return open_array(folder / _ARRAY, self.shape)

    def _check(self, source: Path, keys: list[Any], numbers: NDArray[np.float64]) -> None:
        import numpy as np

        shape = self.shape[:-1]
        size = int(np.prod(shape))
        if len(numbers) != size:
            raise _damaged(source, f"it has {len(numbers)} rows; it must have {size}")
        expected = np.indices(shape).reshape(len(shape), -1)
        if any((key != other).any() for key, other in zip(keys, expected, strict=True)):
            raise _damaged(source, "its rows are not in the order of trial (and epoch), each once")
        if not np.isfinite(numbers).all():
            raise _damaged(source, "it holds a number that is not finite")
        if self.what != CONFIG:
            table = numbers.reshape(self.shape)
            seconds = table[:, :, 0]
            if (seconds[:, 0] < 0).any() or (np.diff(seconds, axis=1) <= 0).any():
                raise _damaged(source, "the time of a training does not grow with its epochs")
            score = table[:, :, list(COLUMNS).index("val_balanced_accuracy")]
            if (score < 0).any() or (score > 1).any():
                raise _damaged(source, "a balanced accuracy is not from 0 to 1")


def _damaged(source: Path, finding: str) -> DamagedDataError:
    return DamagedDataError(
        f"{source} is not the table that it should be: {finding}; "
        f"remove it and get it again with: zerowait data fetch {NAME}"
    )
