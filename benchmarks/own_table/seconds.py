"""What the seconds of a table with a fidelity mean, and whether they can mean it.

The simulator needs the seconds from the start of a training to each fidelity. Seconds of one step, taken for these,
would make nearly every continued evaluation free, in silence; so what does not grow with the fidelity is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zerowait.benchmarks.own_table.cells import Column
from zerowait.benchmarks.own_table.columns import Columns, Meaning
from zerowait.suite.rules.errors import SpecificationError

_REMEDY = (
    "seconds count from the start of a training; give seconds='per_step' if they are those of one step, 'full' if "
    "those of the full training, 'independent' if each fidelity was trained anew"
)


def as_since_start(data: dict[str, Column], columns: Columns, meaning: Meaning, rows: NDArray[np.int64]) -> Column:
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
    first, counts = groups(data, columns.keys)
    same = np.logical_and.reduce([data[name][first[1:]] == data[name][first[:-1]] for name in columns.params])
    uneven = same & (counts[1:] != counts[:-1])
    # Each row that the same configuration and repetition continues, and the row at the next fidelity. Repetitions are
    # told apart by their order; where their numbers differ, nothing says which belong together.
    group = np.repeat(np.arange(len(first)), counts)
    here = np.flatnonzero(np.append(same & ~uneven, [False])[group])
    there = here + counts[group[here]]

    def refuse(wrong: NDArray[np.bool_], ones: NDArray[np.int64], others: NDArray[np.int64], what: str) -> None:
        if wrong.any():
            one, other = int(ones[wrong.argmax()]), int(others[wrong.argmax()])
            raise SpecificationError(
                f"the column {columns.runtime!r} has {runtime[one]:g} at {columns.fidelity} {level[one]:g} "
                f"(row {int(rows[one])}) and {runtime[other]:g} at {level[other]:g} (row {int(rows[other])}; the first "
                f"row is 0): {what}; {_REMEDY}"
            )

    if meaning.seconds == "since_start":
        failed = np.isnan(data[columns.value])
        # Means are compared where a configuration has more repetitions at one fidelity than at the next.
        some_failed = np.logical_or.reduceat(failed, first)
        means = np.add.reduceat(runtime, first) / counts
        wrong = uneven & ~some_failed[1:] & ~some_failed[:-1] & (means[1:] <= means[:-1])
        refuse(wrong, first[:-1], first[1:], "their means do not grow")
        finished = ~failed[here] & ~failed[there]  # a training that failed ended whenever it did
        here, there = here[finished], there[finished]
        refuse(runtime[there] < runtime[here], here, there, "they fall")
        refuse(~_grows(runtime, here, there), here, there, "they do not grow")
        return runtime
    if meaning.seconds == "full":
        refuse(runtime[here] != runtime[there], here, there, "those of the full training differ")
        shares: Column = runtime * (level / level.max())
        return shares
    if uneven.any():
        i = int(uneven.argmax())
        raise SpecificationError(
            f"seconds is 'per_step', but row {int(rows[first[i]])} has {int(counts[i])} repetitions at "
            f"{columns.fidelity} {level[first[i]]:g} and {int(counts[i + 1])} at {level[first[i + 1]]:g} (the "
            "first row is 0); give every fidelity of a configuration the same number"
        )
    total = runtime * level
    # A row's predecessors stand before it, so one pass from the front adds them all up.
    for one, other in zip(here.tolist(), there.tolist(), strict=True):
        total[other] = total[one] + runtime[other] * (level[other] - level[one])
    return total


def _grows(runtime: Column, here: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row that is continued whether the seconds of its training grow anywhere."""
    # Which training a row belongs to: the row that it began with.
    start = np.arange(len(runtime))
    for one, other in zip(here.tolist(), there.tolist(), strict=True):
        start[other] = start[one]
    grows = np.zeros(len(runtime), dtype=bool)
    np.logical_or.at(grows, start[here], runtime[there] > runtime[here])
    return np.asarray(grows[start[here]])


def groups(data: dict[str, Column], names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first of the sorted rows that agree in these columns, and how many there are, for all such groups."""
    new = np.logical_or.reduce([data[name][1:] != data[name][:-1] for name in names])
    first = np.flatnonzero(np.append([True], new))
    return first, np.diff(np.append(first, len(new) + 1))
