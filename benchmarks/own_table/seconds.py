"""What the seconds of a table with a fidelity mean, and whether they can mean it.

The simulator needs the seconds from the start of a training to each fidelity. Seconds of one step, taken for these,
would make nearly every continued evaluation free, in silence; so what does not grow with the fidelity is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.benchmarks.own_table.cells import Column
    from zerowait.benchmarks.own_table.columns import Columns, Meaning

_REMEDY = (
    "seconds count from the start of a training; give seconds='per_step' if they are those of one step, 'full' if "
    "those of the full training, 'independent' if each fidelity was trained anew"
)


def as_since_start(
    data: dict[str, Column], columns: Columns, meaning: Meaning, rows: NDArray[np.int64], label: str
) -> Column:
    """Return the seconds from the start of a training to each row's fidelity, of sorted rows.

    Raises
    ------
    SpecificationError
        The runtime cannot be what `meaning.seconds` says; one line that names two rows.
    """
    assert columns.fidelity is not None
    runtime, level = data[columns.runtime], data[columns.fidelity]
    if meaning.seconds == "independent":
        return runtime
    following = _following(data, columns)
    here, there = np.flatnonzero(following >= 0), following[following >= 0]
    if meaning.seconds == "since_start":
        _require_growth(data, columns, rows, here, there, label)
        return runtime
    if meaning.seconds == "full":
        odd = runtime[here] != runtime[there]
        if odd.any():
            i = int(odd.argmax())
            _refuse_pair(data, columns, rows, int(here[i]), int(there[i]), label, "those of the full training differ")
        shares: Column = runtime * (level / level.max())
        return shares
    first, counts = groups(data, columns.keys)
    same = _same_configuration(data, columns, first)
    uneven = same & (counts[1:] != counts[:-1])
    if uneven.any():
        i = int(uneven.argmax())
        raise SpecificationError(
            f"{label}: seconds is 'per_step', but row {int(rows[first[i]])} has {int(counts[i])} repetitions at "
            f"{columns.fidelity} {level[first[i]]:g} and {int(counts[i + 1])} at {level[first[i + 1]]:g} (the "
            "first row is 0); give every fidelity of a configuration the same number"
        )
    total = runtime * level
    # A row's predecessors stand before it, so one pass from the front adds them all up.
    for one, other in zip(here.tolist(), there.tolist(), strict=True):
        total[other] = total[one] + runtime[other] * (level[other] - level[one])
    return total


def groups(data: dict[str, Column], names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first of the sorted rows that agree in these columns, and how many there are, for all such groups."""
    new = np.logical_or.reduce([data[name][1:] != data[name][:-1] for name in names])
    first = np.flatnonzero(np.append([True], new))
    return first, np.diff(np.append(first, len(new) + 1))


def _same_configuration(data: dict[str, Column], columns: Columns, first: NDArray[np.int64]) -> NDArray[np.bool_]:
    equal = [data[name][first[1:]] == data[name][first[:-1]] for name in columns.params]
    return np.asarray(np.logical_and.reduce(equal), dtype=bool)


def _following(data: dict[str, Column], columns: Columns) -> NDArray[np.int64]:
    """Return, for each row, that of the same configuration and repetition at the next fidelity, or -1.

    Repetitions are told apart by their order; where their numbers differ, nothing says which belong together.
    """
    first, counts = groups(data, columns.keys)
    continued = np.append(_same_configuration(data, columns, first) & (counts[1:] == counts[:-1]), [False])
    group = np.repeat(np.arange(len(first)), counts)
    rows = np.arange(len(group))
    return np.where(continued[group], rows + counts[group], -1)


def _require_growth(
    data: dict[str, Column],
    columns: Columns,
    rows: NDArray[np.int64],
    here: NDArray[np.int64],
    there: NDArray[np.int64],
    label: str,
) -> None:
    runtime, failed = data[columns.runtime], np.isnan(data[columns.value])
    # A training that failed ended whenever it did.
    finished = ~failed[here] & ~failed[there]
    here, there = here[finished], there[finished]
    _require_growing_means(data, columns, rows, label)
    falls = runtime[there] < runtime[here]
    if falls.any():
        i = int(falls.argmax())
        _refuse_pair(data, columns, rows, int(here[i]), int(there[i]), label, "they fall")
    # Which training a row belongs to: the row that it began with.
    start = np.arange(len(runtime))
    for one, other in zip(here.tolist(), there.tolist(), strict=True):
        start[other] = start[one]
    grows = np.zeros(len(runtime), dtype=bool)
    np.logical_or.at(grows, start[here], runtime[there] > runtime[here])
    still = ~grows[start[here]]
    if still.any():
        i = int(still.argmax())
        _refuse_pair(data, columns, rows, int(here[i]), int(there[i]), label, "they do not grow")


def _require_growing_means(data: dict[str, Column], columns: Columns, rows: NDArray[np.int64], label: str) -> None:
    """Compare means where a configuration has more repetitions at one fidelity than at the next."""
    first, counts = groups(data, columns.keys)
    uneven = _same_configuration(data, columns, first) & (counts[1:] != counts[:-1])
    failed = np.logical_or.reduceat(np.isnan(data[columns.value]), first)
    means = np.add.reduceat(data[columns.runtime], first) / counts
    wrong = uneven & ~failed[1:] & ~failed[:-1] & (means[1:] <= means[:-1])
    if wrong.any():
        i = int(wrong.argmax())
        _refuse_pair(data, columns, rows, int(first[i]), int(first[i + 1]), label, "their means do not grow")


def _refuse_pair(
    data: dict[str, Column], columns: Columns, rows: NDArray[np.int64], one: int, other: int, label: str, what: str
) -> NoReturn:
    assert columns.fidelity is not None
    runtime, level = data[columns.runtime], data[columns.fidelity]
    raise SpecificationError(
        f"{label}: the column {columns.runtime!r} has {runtime[one]:g} at {columns.fidelity} {level[one]:g} (row "
        f"{int(rows[one])}) and {runtime[other]:g} at {level[other]:g} (row {int(rows[other])}; the first row is 0): "
        f"{what}; {_REMEDY}"
    )
