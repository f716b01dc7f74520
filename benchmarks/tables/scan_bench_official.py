"""ScAn-Bench's own file: one row for each epoch of each training of OpenCLIP, and seconds as on one kind of machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerowait.benchmarks.data.conversion import new_array, open_array
from zerowait.benchmarks.data.download import wrong
from zerowait.benchmarks.data.errors import DamagedDataError
from zerowait.benchmarks.data.sources import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

NAME = "scan_bench"
TASK = "vlm"
SHA256 = "4a7db751bdca8a66ace40ad71a0827b821434f6f7e46d9a08f96f8a82df6332f"
"""Of the file in version 0.2.3 of the package."""
CONFIGURATIONS, EPOCHS = 1500, 10
"""How many trainings there are, and the epochs of the longest."""
PARAMETERS = (
    "beta1", "beta2", "eps", "lr", "text_width", "total_samples_planned", "vision_width", "warmup_fraction", "wd",
)  # fmt: skip
SECONDS, MEASURED = "seconds", "measured_seconds"
COLUMNS = (SECONDS, "val_loss", "test_loss", "train_loss", "training_progress", MEASURED)
"""What is kept of an epoch; both kinds of seconds are cumulative."""
REFERENCE = ("NVIDIA A100-SXM4-40GB", 4)
"""The machine whose seconds all others' are turned into: kind and number of devices."""
_MACHINE = ["train_gpu_name", "world_size"]
_DURATION = "train_duration(s)"
_READ = [
    "config_id", "epoch", "total_epochs", "samples_seen", "epoch_diverged", _DURATION, *_MACHINE, *PARAMETERS,
    *COLUMNS[1:-1],
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings, mapped into memory."""

    configurations: NDArray[np.float64]
    """Shape (configurations, parameters)."""
    ends: NDArray[np.float64]
    """Shape (configurations, 2): how many epochs were planned, and in which one it diverged; 0: in none."""
    curves: NDArray[np.float64]
    """Shape (configurations, epochs, columns); NaN after the last epoch."""


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """`vlm/data.csv` of the package."""

    name: str = NAME
    version: int = 1
    """Changes whenever the layout of the converted arrays does."""
    steps: int = 1
    """A file is read in one go."""

    def places(self, task: str) -> tuple[str, ...]:
        """Return where the file may be; see `ConvertedFiles.places`."""
        return (f"{task}/data.csv",)

    def write(self, source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        """Convert the file; see `Conversion.write`."""
        import numpy as np
        import pandas as pd

        problem = wrong(source, None, SHA256)
        if problem is not None:
            again = f"remove it and get it again with: zerowait data fetch {NAME}"
            if not source.is_relative_to(data_folder()):
                again = "install it again: pip install --no-deps --force-reinstall scan-bench==0.2.3"
            raise DamagedDataError(f"{source} is not the table that it should be: {problem}; {again}")
        rows = pd.read_csv(source, usecols=_READ, float_precision="round_trip")
        rows = with_seconds(rows)
        first = rows.groupby("config_id", sort=True).first()
        failed = rows[rows["failed"]].groupby("config_id")["epoch"].min().reindex(first.index, fill_value=0)
        curves = np.full(self._shape(2), np.nan)
        curves[rows["config_id"] - 1, rows["epoch"] - 1] = rows[list(COLUMNS)]
        both = [COLUMNS.index(SECONDS), COLUMNS.index(MEASURED)]
        curves[:, :, both] = curves[:, :, both].cumsum(axis=1)
        ends = np.stack([first["total_epochs"], failed], axis=1)
        for place, numbers in enumerate((first[list(PARAMETERS)].to_numpy(), ends, curves)):
            array = new_array(folder / f"{place}.npy", self._shape(place), np.float64)
            array[:] = numbers
            array.flush()
        advance(1)

    def open(self, folder: Path) -> Trainings:
        """Return the numbers that were converted."""
        return Trainings(*(open_array(folder / f"{place}.npy", self._shape(place)) for place in range(3)))

    def _shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of one of the arrays of `Trainings`, in their order."""
        return ((CONFIGURATIONS, len(PARAMETERS)), (CONFIGURATIONS, 2), (CONFIGURATIONS, EPOCHS, len(COLUMNS)))[place]


def with_seconds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the columns `failed`, `seconds` and `measured_seconds`, of the epoch alone.

    An epoch has failed when it diverged or one of its losses is no finite number. On the same devices the seconds are
    those of the samples, whatever the model (to a tenth): where they are missing, as they are in 43 epochs that
    diverged, they are those of the samples that were seen; and another machine's are turned into those of `REFERENCE`
    by how long a sample takes on either, in the median of the epochs that were finished.
    """
    import numpy as np

    rows = rows.sort_values(["config_id", "epoch"], ignore_index=True)
    samples = rows["samples_seen"] - rows.groupby("config_id")["samples_seen"].shift(fill_value=0.0)
    finite = np.isfinite(rows[["val_loss", "test_loss", "train_loss"]].to_numpy()).all(axis=1)
    rows["failed"] = rows["epoch_diverged"].to_numpy() | ~finite
    finished = (rows[_DURATION] / samples)[~rows["failed"]]
    a_sample = finished.groupby([rows[name] for name in _MACHINE]).median()
    own = np.array([a_sample.get(machine, np.nan) for machine in rows[_MACHINE].itertuples(index=False, name=None)])
    measured = rows[_DURATION].fillna(samples * own)
    return rows.assign(**{MEASURED: measured, SECONDS: measured * (a_sample[REFERENCE] / own)})
