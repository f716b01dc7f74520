"""The official files of a family of tables: where they are looked for, and what is in them once they are converted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zerowait.benchmarks.data.cache import ABSENT
from zerowait.benchmarks.data.conversion import Conversion, Report, ensure, forget, stored
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.data.sources import data_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zerowait.benchmarks.tables.grid import Axis


class Trainings(Protocol):
    """The finished trainings of one task."""

    @property
    def fidelities(self) -> Sequence[int]:
        """The fidelities at which they were evaluated, in increasing order."""

    def numbers(self, row: int, fidelity: int) -> list[float]:
        """Return the columns of one repetition after another: runtime, score, further numbers; NaN where absent."""

    def scores(self, fidelity: int) -> NDArray[np.floating]:
        """Return the scores at one fidelity, shape (configurations, repetitions)."""


Opened_co = TypeVar("Opened_co", covariant=True)


class ConvertedFiles(Protocol[Opened_co]):
    """Official files, one for each task, that are converted into arrays."""

    @property
    def name(self) -> str:
        """The data set, as `zerowait data fetch` takes it."""

    @property
    def version(self) -> int:
        """Changes whenever the layout of the converted arrays does."""

    @property
    def steps(self) -> int:
        """How often `write` advances."""

    def places(self, task: str) -> tuple[str, ...]:
        """Return where the file of a task may be, relative to the data set's folder; the first one is the official."""

    def write(self, source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        """Read a file bit by bit and write arrays; see `Conversion.write`."""

    def open(self, folder: Path) -> Opened_co:
        """Return what `write` has written, mapped into memory."""


class OfficialFiles(ConvertedFiles[Trainings], Protocol):
    """What is known of a grid's official files; the values are those of their own layout."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The parameters, in the order of the table."""

    @property
    def fidelities(self) -> Sequence[int]:
        """Every fidelity of the file, in increasing order."""

    @property
    def stepped(self) -> bool:
        """Whether the numbers between two fidelities are none."""

    @property
    def usual_range(self) -> tuple[int, int]:
        """The least and the greatest fidelity of the reference paper's experiments."""


def find(files: ConvertedFiles[Any], task: str) -> Path | None:
    """Return the official file of a task, or None when it is in no place where it is looked for."""
    home = data_set(files.name).home
    return next((home / place for place in files.places(task) if (home / place).is_file()), None)


def is_there(files: ConvertedFiles[Any], task: str) -> bool:
    """Tell whether a task has its official file, or was converted from it earlier."""
    return find(files, task) is not None or stored(_conversion(files, task)) is not None


def absence(files: ConvertedFiles[Any], task: str) -> str:
    """Return the file that is not there and the command that gets it."""
    found = data_set(files.name)
    return f"the official file {found.home / files.places(task)[0]} is not there; get it with: {found.command}"


def open_official(
    files: ConvertedFiles[Opened_co], task: str, check: Callable[[Path, Any], None] = lambda _, __: None
) -> Opened_co:
    """Return the trainings of a task; convert its file first if this machine has not done so.

    Parameters
    ----------
    files
        What the official files hold.
    task
        The data set.
    check
        Called with the file and what was converted before that is kept; raises what is wrong with it.

    Raises
    ------
    DataMissingError
        The file is not there, or the cache folder cannot be written.
    DamagedDataError
        The file is not what it should be.
    """
    conversion = _conversion(files, task, check)
    folder = _folder(files, task, conversion)
    try:
        return files.open(folder)
    except ABSENT:
        pass  # another process has put the arrays of a new file into their place
    except DamagedDataError as error:
        warnings.warn(f"{error}; it is converted again", RuntimeWarning, stacklevel=2)
        forget(conversion)
    return files.open(_folder(files, task, conversion))


def convert(
    files: ConvertedFiles[Any],
    task: str,
    check: Callable[[Path, Any], None] = lambda _, __: None,
    report: Report | None = None,
) -> Path:
    """Convert the file of a task, unless that has been done, and return the folder of the arrays; see `ensure`."""
    return _folder(files, task, _conversion(files, task, check), report)


def _folder(files: ConvertedFiles[Any], task: str, conversion: Conversion, report: Report | None = None) -> Path:
    source = find(files, task)
    if source is not None:
        return ensure(conversion, source, report)
    folder = stored(conversion)  # its source was removed to make room
    if folder is None:
        raise DataMissingError(absence(files, task))
    return folder


def _conversion(
    files: ConvertedFiles[Any], task: str, check: Callable[[Path, Any], None] = lambda _, __: None
) -> Conversion:
    def write(source: Path, folder: Path, advance: Callable[[int], None]) -> None:
        files.write(source, folder, advance)
        check(source, files.open(folder))

    return Conversion(f"{files.name}-{task}-v{files.version}", files.steps, write, data_set(files.name).command)
