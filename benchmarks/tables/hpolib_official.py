"""HPOlib's official HDF5 files: the validation error of every configuration after each of 100 epochs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.conversion import new_array, open_array
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.tables.grid import Axis, Grid
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

CURVES, FINALS = "curves.npy", "finals.npy"
EPOCHS = 100
"""The epochs of every training; a runtime is divided by this number, whatever the user's highest fidelity is."""

_GROUPS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class HPOLibFiles:
    """`fcnet_tabular_benchmarks.tar.gz` of http://ml4aad.org/wp-content/uploads/2019/01/: a file for each task.

    A file holds a group for each configuration, named by the configuration's JSON with sorted keys. Of its data
    sets, `valid_mse` (seeds, epochs), `runtime` (seeds,; seconds of the whole training) and `n_params` (seeds,) are
    kept.
    """

    axes: tuple[Axis, ...]
    """The parameters, in the order of the table."""
    seeds: int = 4
    """The number of repetitions."""
    usual_range: tuple[int, int] = (11, EPOCHS)
    """The epochs of the reference paper's experiments."""
    name: str = "hpolib"
    """The data set, as `zerowait data fetch` takes it."""
    version: int = 1
    """Changes whenever the layout of the converted arrays does."""
    stepped: bool = False
    """There is a number for every epoch."""

    @property
    def fidelities(self) -> range:
        """Every epoch."""
        return range(1, EPOCHS + 1)

    @property
    def steps(self) -> int:
        """The number of configurations."""
        return math.prod(len(axis.values) for axis in self.axes)

    def places(self, task: str) -> tuple[str, ...]:
        """Return where the file of a task may be: as the archive has it, or without the archive's folder."""
        name = f"fcnet_{task}_data.hdf5"
        return f"fcnet_tabular_benchmarks/{name}", name

    def write(self, source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        """Convert a file; see `Conversion.write`.

        Raises
        ------
        DataMissingError
            The library that reads such files is not installed.
        """
        import numpy as np

        h5py = _h5py()
        grid = Grid(self.axes, "values", source.name)
        filled = np.zeros(grid.size, dtype=bool)
        try:
            # A lock would keep others from reading, and fails on some shared file systems.
            with h5py.File(source, "r", locking=False) as file:
                if len(file) != grid.size:
                    raise _damaged(source, f"it holds {len(file)} configurations; it must hold {grid.size}")
                names = list(file)
                single = file[names[0]]["valid_mse"].dtype == np.float32
                shape = (grid.size, EPOCHS, self.seeds)
                curves = new_array(folder / CURVES, shape, np.float32 if single else np.float64)
                finals = new_array(folder / FINALS, (grid.size, self.seeds, 2), np.float64)
                for done, name in enumerate(names, start=1):
                    row = _row(grid, source, name)
                    if filled[row]:
                        raise _damaged(source, f"it holds the configuration {shown(name)} twice")
                    filled[row] = True
                    group = file[name]
                    curves[row] = self._read(source, group, "valid_mse", (self.seeds, EPOCHS), curves.dtype).T
                    finals[row, :, 0] = self._read(source, group, "runtime", (self.seeds,), np.float64)
                    finals[row, :, 1] = self._read(source, group, "n_params", (self.seeds,), np.float64)
                    if done % _GROUPS_AT_ONCE == 0 or done == len(names):
                        advance((done - 1) % _GROUPS_AT_ONCE + 1)
        except ZerowaitError:
            raise
        except (OSError, LookupError, ValueError, TypeError, RuntimeError) as error:  # what h5py finds, by the damage
            raise _damaged(source, str(error).splitlines()[0]) from error
        self._check(source, curves, finals)
        curves.flush()
        finals.flush()

    def open(self, folder: Path) -> CurveTrainings:
        """Return the trainings that were converted."""
        return CurveTrainings(
            open_array(folder / CURVES, (self.steps, EPOCHS, self.seeds)),
            open_array(folder / FINALS, (self.steps, self.seeds, 2)),
        )

    def _read(
        self, source: Path, group: Any, name: str, shape: tuple[int, ...], dtype: type | np.dtype[Any]
    ) -> NDArray[Any]:
        import numpy as np

        data = group[name]
        if data.shape != shape or data.dtype.kind not in "iuf":
            raise _damaged(
                source,
                f"{name!r} of {shown(group.name)} has the shape {data.shape} and type {data.dtype}; "
                f"it must be {shape} and numbers",
            )
        if not np.can_cast(data.dtype, dtype, "same_kind"):
            raise _damaged(source, f"{name!r} of {shown(group.name)} has the type {data.dtype}")
        return np.asarray(data[()], dtype=dtype)

    def _check(self, source: Path, curves: NDArray[Any], finals: NDArray[np.float64]) -> None:
        import numpy as np

        if not (np.isfinite(finals).all() and (finals >= 0).all()):
            raise _damaged(source, "'runtime' or 'n_params' holds something else than positive numbers")
        for start in range(0, len(curves), _GROUPS_AT_ONCE):
            # A training that diverged has infinity or NaN; an error of 0 or less has no logarithm.
            if (curves[start : start + _GROUPS_AT_ONCE] <= 0).any():
                raise _damaged(source, "'valid_mse' holds a number that is not positive")


class CurveTrainings:
    """Trainings that look a learning curve up.

    Parameters
    ----------
    curves
        The validation error, shape (configurations, epochs, repetitions).
    finals
        Seconds of the whole training and number of parameters, shape (configurations, repetitions, 2).
    """

    def __init__(self, curves: NDArray[Any], finals: NDArray[np.float64]) -> None:
        self.fidelities = range(1, curves.shape[1] + 1)
        self._curves = curves
        self._repetitions = curves.shape[2]
        # A memoryview gives plain Python floats, and gives them faster than an array does.
        self._errors = curves.reshape(-1).data
        self._finals = finals.reshape(-1).data

    def numbers(self, row: int, fidelity: int) -> list[float]:
        """Return runtime, error and number of parameters of one repetition after another.

        The runtime after e epochs is e hundredths of the whole training's, as the table's authors have it.
        """
        n = self._repetitions
        start = (row * EPOCHS + fidelity - 1) * n
        errors = self._errors[start : start + n].tolist()
        finals = self._finals[row * 2 * n : (row + 1) * 2 * n].tolist()
        numbers: list[float] = []
        for i, error in enumerate(errors):
            numbers += (finals[2 * i] * fidelity / EPOCHS, error, finals[2 * i + 1])
        return numbers

    def scores(self, fidelity: int) -> NDArray[np.floating]:
        """Return the errors at one epoch, shape (configurations, repetitions)."""
        return self._curves[:, fidelity - 1, :]


def _row(grid: Grid, source: Path, name: str) -> int:
    try:
        config = json.loads(name)
        return grid.row(config)
    except (ValueError, TypeError, SpecificationError) as error:
        raise _damaged(source, f"a group is called {shown(name)}: {error}") from error


def _h5py() -> Any:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataMissingError(
            f"HPOlib's official files are read with h5py, which is not there ({error}); "
            "get it with: pip install 'zerowait[hpolib]'"
        ) from error
    return h5py


def _damaged(source: Path, finding: str) -> DamagedDataError:
    return DamagedDataError(
        f"{source} is not the table that it should be: {finding}; "
        "remove it and get it again with: zerowait data fetch hpolib"
    )
