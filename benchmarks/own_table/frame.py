"""Tables in data frames and Parquet files, whose columns have types of their own."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from zerowait.benchmarks.own_table.cells import (
    INACTIVE,
    LARGEST_INTEGER,
    TOO_LARGE,
    Cells,
    Column,
    finite_parameter,
    form_of,
    refuse,
    require_present,
    require_text,
    texts_as_codes,
)
from zerowait.benchmarks.own_table.columns import shown_list
from zerowait.suite.rules.errors import SpecificationError, one_line, shown

_ONLY_ONE = "a parameter's column holds numbers, texts or booleans, and only one of these"


class FrameTable:
    """The columns of a data frame, and the named levels of its index."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        levels = [] if set(frame.index.names) == {None} else [n for n in frame.index.names if n is not None]
        self._levels = [level for level in levels if isinstance(level, str)]
        self.names = [str(name) for name in frame.columns] + self._levels

    def __len__(self) -> int:
        return len(self._frame)

    def parameter(self, name: str, *, categorical: bool, conditional: bool) -> Cells:
        """Return a column of numbers, booleans or texts."""
        series = self._column(name)
        types = pd.api.types
        absent = _absent(series, name)
        numbers = _as_floats(series, name) if _is_number_dtype(series) else None
        if numbers is not None:
            absent = absent | np.isnan(numbers)  # types that know of missing cells may hold NaN beside them
        require_present(absent, name, conditional=conditional)
        if categorical:
            texts = [str(_plain(cell)) for cell in series[~absent]]
            require_text(texts, name)
            return _category(texts, absent)
        if types.is_bool_dtype(series.dtype) and not isinstance(series.dtype, pd.CategoricalDtype):
            return Cells("boolean", _spread(np.asarray(series[~absent].astype(bool), dtype=np.float64), absent), [])
        if numbers is not None:
            kind: Any = "integer" if types.is_integer_dtype(series.dtype) else "real"
            return finite_parameter(kind, numbers, absent, name)
        if not _holds_objects(series):
            raise SpecificationError(f"the column {name!r} holds {series.dtype}; {_ONLY_ONE}")
        present = [_plain(cell) for cell in series[~absent]]
        words = [_word(cell) for cell in present]
        found = sorted(set(words))
        rows = np.flatnonzero(~absent)
        if found == ["bool"]:
            return Cells("boolean", _spread(np.array(present, dtype=np.float64), absent), [])
        if found == ["str"]:
            require_text(present, name)
            nearly = next((i for i, cell in enumerate(present) if form_of(cell) == "nearly"), None)
            if nearly is not None:
                what = "it looks like a number and is a text; make numbers of the column, or name it in categorical"
                refuse(int(rows[nearly]), present[nearly], name, what)
            return _category(present, absent)
        if set(found) <= {"int", "float"}:
            kind = "integer" if found == ["int"] else "real"
            numbers = _spread(_floats(present, name, rows), absent)
            return finite_parameter(kind, numbers, absent, name)
        usual = max(found, key=words.count)
        odd = next((i for i, word in enumerate(words) if word != usual), 0)
        raise SpecificationError(
            f"the column {name!r} holds {', '.join(found)}; {_ONLY_ONE} (row {int(rows[odd])} has "
            f"{shown(present[odd])}; the first row is 0)"
        )

    def numbers(self, name: str) -> Column:
        """Return a column of numbers, NaN where a cell is empty."""
        series = self._column(name)
        if _is_number_dtype(series):
            return _as_floats(series, name)
        absent = _absent(series, name)
        present = [_plain(cell) for cell in series[~absent]] if _holds_objects(series) else None
        if present is None:
            wrong = series[~absent].iloc[0] if (~absent).any() else series.iloc[0]
            raise _no_number(name, series.dtype, wrong, None)
        rows = np.flatnonzero(~absent)
        odd = next((i for i, cell in enumerate(present) if _word(cell) not in ("int", "float")), None)
        if odd is not None:
            raise _no_number(name, series.dtype, present[odd], int(rows[odd]))
        return np.where(absent, np.nan, _spread(_floats(present, name, rows), absent))

    def _column(self, name: str) -> pd.Series[Any]:
        frame = self._frame
        places = [i for i, known in enumerate(frame.columns) if str(known) == name]
        n_found = len(places) + self._levels.count(name)
        if not n_found:
            known = shown_list(", ".join(map(repr, self.names)))
            raise SpecificationError(f"there is no column {name!r}; the table has {known}")
        if n_found > 1:
            raise SpecificationError(
                f"the table has {n_found} columns {name!r}"
                f"{' (one is a level of the index)' if name in self._levels else ''}; rename all but one"
            )
        if not places:
            return pd.Series(frame.index.get_level_values(name))
        return frame.iloc[:, places[0]].reset_index(drop=True)


def read_parquet(path: Path, file: IO[bytes]) -> FrameTable:
    """Return the columns of an open Parquet file, with the types that it states.

    Raises
    ------
    SpecificationError
        It is no Parquet file, or a damaged one; one line that names the file.
    """
    try:
        # Types that know of missing cells: a whole number beside an empty cell would become a float otherwise.
        return FrameTable(pd.read_parquet(file, dtype_backend="numpy_nullable"))
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, pa.ArrowException) as error:
        what = one_line(error) or type(error).__name__
        raise SpecificationError(f"the file {path} is not a table: {shown(what)}") from None


def _absent(series: pd.Series[Any], name: str) -> NDArray[np.bool_]:
    try:
        return series.isna().to_numpy(dtype=bool)
    except ArithmeticError:  # raised for a Decimal that is a signalling NaN
        raise SpecificationError(
            f"the column {name!r} holds a signalling NaN; correct it, or leave the cell empty"
        ) from None


def _is_number_dtype(series: pd.Series[Any]) -> bool:
    types = pd.api.types
    dtype = series.dtype
    return types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) and not types.is_complex_dtype(dtype)


def _holds_objects(series: pd.Series[Any]) -> bool:
    dtype = series.dtype
    is_decimal = str(dtype).startswith("decimal")
    return (
        is_decimal
        or isinstance(dtype, pd.CategoricalDtype)
        or pd.api.types.is_object_dtype(dtype)
        or pd.api.types.is_string_dtype(dtype)
    )


def _as_floats(series: pd.Series[Any], name: str) -> Column:
    if str(series.dtype).lower().startswith(("int", "uint")):
        too_large = (series > LARGEST_INTEGER) | (series < -LARGEST_INTEGER)
        wrong = np.asarray(too_large.fillna(False), dtype=bool)
        if wrong.any():
            row = int(wrong.argmax())
            refuse(row, int(series.iloc[row]), name, TOO_LARGE, int(wrong.sum()) - 1)
    numbers: Column = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def _word(cell: Any) -> str:
    if isinstance(cell, bool):
        return "bool"
    if isinstance(cell, str):
        return "str"
    if isinstance(cell, int):
        return "int"
    return "float" if isinstance(cell, float | Decimal) else type(cell).__name__


def _floats(present: list[Any], name: str, rows: NDArray[np.int64]) -> Column:
    """Return numbers of any type as floats; of integers, only those that a float holds."""
    numbers = np.empty(len(present))
    for i, cell in enumerate(present):
        too_large = isinstance(cell, int) and abs(cell) > LARGEST_INTEGER
        try:
            numbers[i] = math.nan if too_large else float(cell)
        except (OverflowError, ValueError):  # a Decimal beyond every float
            too_large = True
        if too_large:
            refuse(int(rows[i]), cell, name, TOO_LARGE)
    return numbers


def _category(present: list[str], absent: NDArray[np.bool_]) -> Cells:
    places: dict[str, int] = {}
    index = np.zeros(len(absent), dtype=np.int64)
    index[~absent] = [places.setdefault(str(cell), len(places)) for cell in present]
    return texts_as_codes(list(places), index, absent)


def _spread(present: Column, absent: NDArray[np.bool_]) -> Column:
    codes = np.full(len(absent), INACTIVE)
    codes[~absent] = present
    return codes


def _no_number(name: str, dtype: Any, wrong: Any, row: int | None) -> SpecificationError:
    where = "" if row is None else f" (row {row}; the first row is 0)"
    return SpecificationError(
        f"the column {name!r} must hold numbers, but its type is {dtype}, with {shown(wrong)} in it{where}"
    )
