"""From the cells of a table to sorted columns of floats, of which every value means what the simulator takes it for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zerowait.benchmarks.own_table.cells import Cells, Column, Kind, refuse_rows
from zerowait.benchmarks.own_table.columns import Columns, Meaning, matching
from zerowait.benchmarks.own_table.seconds import as_since_start
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import LONGEST

_Long = tuple[dict[str, Column], NDArray[np.int64]]
SAME_LEVEL = 1e-6
"""Two fidelities that differ relatively by less are one, written twice."""
_FAILED = "leave the cell empty where a training failed, or fill in a finite number"


class Table(Protocol):
    """The cells of a table, wherever they come from."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its columns."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def parameter(self, name: str, *, categorical: bool, conditional: bool) -> Cells:
        """Return a column of numbers, booleans or texts."""

    def numbers(self, name: str) -> Column:
        """Return a column of numbers, NaN where a cell is empty."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The rows of a table, sorted by parameters and fidelity; equal ones keep the order that they had."""

    kinds: dict[str, Kind]
    """What each parameter's values are."""
    categories: dict[str, list[str]]
    """The texts of each categorical parameter, sorted; a code is an index into them."""
    data: dict[str, Column]
    """Every column by name, as long as the table. A boolean is 0 or 1, a text its code; a value that is NaN is a
    training that failed."""

    def only(self, mask: NDArray[np.bool_]) -> Sorted:
        """Return some of the rows."""
        return replace(self, data={name: column[mask] for name, column in self.data.items()})


def sorted_rows(table: Table, columns: Columns, meaning: Meaning, conditional: frozenset[str]) -> Sorted:
    """Return the columns that are used, checked and sorted.

    Parameters
    ----------
    table
        The cells.
    columns
        Which columns are used, and for what.
    meaning
        How their cells are to be understood.
    conditional
        The parameters that may be empty, because a given space makes them conditional.

    Raises
    ------
    SpecificationError
        A column is missing or of the wrong type, or a cell cannot be used; one line that names it.
    """
    if len(table) == 0:
        raise SpecificationError("the table has no rows")
    cells = {
        name: table.parameter(name, categorical=name in meaning.categorical, conditional=name in conditional)
        for name in columns.params
    }
    data, rows = (_melted if meaning.wide else _as_they_are)(table, columns, cells)
    _check_numbers(data, columns, rows)
    if meaning.maximize:
        data[columns.value] = -data[columns.value] + 0.0
    order = np.lexsort([data[name] for name in reversed(columns.keys)])
    data = {name: np.ascontiguousarray(column[order]) for name, column in data.items()}
    if columns.fidelity is not None:
        levels = np.unique(data[columns.fidelity])
        if len(levels) == 1:
            raise SpecificationError(f"the column {columns.fidelity!r} holds only {levels[0]:g}; leave fidelity out")
        _require_distinct(levels, columns.fidelity)
        data[columns.runtime] = as_since_start(data, columns, meaning, rows[order])
        _refuse_seconds(data[columns.runtime], columns, rows[order])
    _require_successes(data, columns)
    kinds = {name: one.kind for name, one in cells.items()}
    return Sorted(kinds, {name: one.texts for name, one in cells.items() if one.texts}, data)


def _as_they_are(table: Table, columns: Columns, cells: dict[str, Cells]) -> _Long:
    """Return columns with one row per training, and the row of the table that each comes from."""
    data = {name: one.codes for name, one in cells.items()}
    others = [columns.value, columns.runtime, *columns.metrics]
    for name in others if columns.fidelity is None else [columns.fidelity, *others]:
        data[name] = table.numbers(name) + 0.0
    return data, np.arange(len(table))


def _melted(table: Table, columns: Columns, cells: dict[str, Cells]) -> _Long:
    """Return the same, a row for each row and level; where a curve has neither value nor seconds, there is none."""
    assert columns.fidelity is not None  # `from_dataframe` names it
    levels = list(_curve(table, columns.value))
    numbers = {}
    for name in (columns.value, columns.runtime, *columns.metrics):
        if "*" not in name:
            numbers[name] = np.repeat(table.numbers(name), len(levels))
            continue
        found = _curve(table, name)
        odd = sorted(set(levels) ^ set(found))
        if odd:
            without, has = (name, columns.value) if odd[0] in levels else (columns.value, name)
            raise SpecificationError(
                f"{has!r} has the {columns.fidelity} {odd[0]:g} and {without!r} has not; all curves must have the same"
            )
        numbers[name] = np.stack([table.numbers(column) for column in found.values()], axis=1).ravel()
    data = {name: np.repeat(one.codes, len(levels)) for name, one in cells.items()}
    data[columns.fidelity] = np.tile(np.array(levels), len(table))
    data.update({name: column + 0.0 for name, column in numbers.items()})
    rows = np.repeat(np.arange(len(table)), len(levels))
    absent = np.isnan(data[columns.value])
    if "*" in columns.runtime:
        absent &= np.isnan(data[columns.runtime])
    else:
        absent[:] = False
    if absent.all():
        raise SpecificationError(f"the columns {columns.value!r} are empty")
    return {name: column[~absent] for name, column in data.items()}, rows[~absent]


def _curve(table: Table, pattern: str) -> dict[float, str]:
    try:
        found = matching(pattern, table.names)
    except SpecificationError as error:
        raise SpecificationError(f"{error}; rename one") from None
    if not found:
        known = ", ".join(repr(name) for name in table.names if name)
        raise SpecificationError(
            f"no column is {pattern!r} with a number in place of the *; the table has {known[:400]}"
        )
    return found


def _check_numbers(data: dict[str, Column], columns: Columns, rows: NDArray[np.int64]) -> None:
    value, runtime = data[columns.value], data[columns.runtime]
    refuse_rows(np.isinf(value), value, rows, columns.value, _FAILED)
    what = "fill in the seconds that the training took, of one that failed until then, or drop the row"
    refuse_rows(np.isnan(runtime), runtime, rows, columns.runtime, what)
    _refuse_seconds(runtime, columns, rows)
    if columns.fidelity is not None:
        levels = data[columns.fidelity]
        wrong = ~np.isfinite(levels) | (levels < 0.0)
        what = "a training budget is finite and not negative; drop the row, or fill it in"
        refuse_rows(wrong, levels, rows, columns.fidelity, what)


def _require_distinct(levels: Column, name: str) -> None:
    near = np.diff(levels) < SAME_LEVEL * levels[1:]
    if near.any():
        i = int(near.argmax())
        raise SpecificationError(
            f"the column {name!r} has {float(levels[i])!r} and {float(levels[i + 1])!r}, which differ by a "
            "rounding; round them"
        )


def _refuse_seconds(runtime: Column, columns: Columns, rows: NDArray[np.int64]) -> None:
    allowed = f"a runtime is from 0 to {LONGEST:g} seconds"
    refuse_rows((runtime < 0.0) | (runtime > LONGEST), runtime, rows, columns.runtime, allowed)


def _require_successes(data: dict[str, Column], columns: Columns) -> None:
    value, where = data[columns.value], ""
    if columns.fidelity is not None:
        level = data[columns.fidelity].max()
        value, where = value[data[columns.fidelity] == level], f" with {columns.fidelity!r} {level:g}"
    if np.isnan(value).all():
        raise SpecificationError(
            f"no row{where} has a number in the column {columns.value!r}; an empty cell is a training that failed"
        )
