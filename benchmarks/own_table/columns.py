"""From a data frame to sorted columns of floats: every cell is checked, and every refusal names its place."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Column: TypeAlias = "NDArray[np.float64]"

Kind = Literal["boolean", "category", "integer", "real"]

INACTIVE = -math.inf
"""The code of a parameter that a configuration does not have."""
LARGEST_INTEGER = 2**53
"""Up to here a float64 holds every integer."""
SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what."""

    params: tuple[str, ...]
    """The parameters, in the order in which rows are sorted."""
    value: str
    """The loss."""
    runtime: str
    """The seconds of the training."""
    fidelity: str | None
    """The training budget, or None."""
    metrics: tuple[str, ...]
    """Further numbers."""

    def check(self, label: str) -> None:
        """Raise `SpecificationError` unless every name is a text and no column has two uses."""
        used: dict[str, str] = {}
        if not self.params:
            raise SpecificationError(f"{label}: params is empty; name the columns that an optimizer chooses")
        uses = [("params", name) for name in self.params] + [("metrics", name) for name in self.metrics]
        uses += [("value", self.value), ("runtime", self.runtime)]
        uses += [] if self.fidelity is None else [("fidelity", self.fidelity)]
        for use, name in uses:
            if not isinstance(name, str) or not name:
                raise SpecificationError(f"{label}: {use} has {name!r}; it must be the name of a column")
            if name in used:
                raise SpecificationError(
                    f"{label}: the column {name!r} is given as {used[name]} and as {use}; a column has one use"
                )
            used[name] = use


@dataclass(frozen=True, slots=True)
class Sorted:
    """The rows of a table, sorted by parameters and fidelity; equal ones keep the order that they had."""

    kinds: dict[str, Kind]
    """What each parameter's values are."""
    categories: dict[str, list[str]]
    """The texts of each categorical parameter, sorted; a code is an index into them."""
    data: dict[str, Column]
    """Every column by name, as long as the table. A boolean is 0 or 1, a text its code."""


def read_frame(path: Path, label: str) -> pd.DataFrame:
    """Return the table of a CSV or Parquet file.

    In a CSV file only an empty cell is missing: "None" and "NA" are texts, as good as any other category.

    Raises
    ------
    SpecificationError
        The file is missing, of another kind, or not readable as what its suffix says.
    """
    import pandas as pd

    if not path.name.endswith(SUFFIXES):
        raise SpecificationError(f"{label}: the file {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        if path.name.endswith(".parquet"):
            return pd.read_parquet(path)
        return pd.read_csv(path, keep_default_na=False, na_values=[""], float_precision="round_trip", low_memory=False)
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        raise SpecificationError(f"{label}: the file {path} cannot be read: {what}; give the path of a table") from None
    except ValueError as error:  # pandas and pyarrow derive their own from it
        what = " ".join(str(error).split())
        raise SpecificationError(f"{label}: the file {path} is not a table: {shown(what)}") from None


def sorted_columns(frame: pd.DataFrame, columns: Columns, conditional: frozenset[str], label: str) -> Sorted:
    """Return the columns that are used, checked and sorted.

    Parameters
    ----------
    frame
        The table; not changed, its index ignored.
    columns
        Which columns are used, and for what.
    conditional
        The parameters that may be empty, because a given space makes them conditional.
    label
        What errors call the table.

    Raises
    ------
    SpecificationError
        A column is missing or of the wrong type, or a cell cannot be used; one line that names it.
    """
    import numpy as np

    if len(frame) == 0:
        raise SpecificationError(f"{label}: the table has no rows")
    kinds: dict[str, Kind] = {}
    categories: dict[str, list[str]] = {}
    data: dict[str, Column] = {}
    for name in columns.params:
        series = _column(frame, name, label)
        kinds[name], data[name], categories[name] = _parameter(series, name, name in conditional, label)
    if columns.fidelity is not None:
        data[columns.fidelity] = _numbers(frame, columns.fidelity, label)
    data[columns.value] = _numbers(frame, columns.value, label)
    data[columns.runtime] = _numbers(frame, columns.runtime, label)
    _refuse_rows(
        (data[columns.runtime] < 0.0) | (data[columns.runtime] > LONGEST),
        data[columns.runtime], columns.runtime, f"a runtime is from 0 to {LONGEST:g} seconds", label,
    )  # fmt: skip
    for name in columns.metrics:
        data[name] = _numbers(frame, name, label, may_be_missing=True)
    keys = [*columns.params, *([] if columns.fidelity is None else [columns.fidelity])]
    order = np.lexsort([data[name] for name in reversed(keys)])
    used = {name: texts for name, texts in categories.items() if texts}
    return Sorted(kinds, used, {name: np.ascontiguousarray(column[order]) for name, column in data.items()})


def _column(frame: pd.DataFrame, name: str, label: str) -> pd.Series[Any]:
    import pandas as pd

    if name not in frame.columns:
        known = ", ".join(repr(known) for known in frame.columns)
        raise SpecificationError(f"{label}: there is no column {name!r}; the table has {shown_list(known)}")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise SpecificationError(f"{label}: the table has {column.shape[1]} columns {name!r}; rename all but one")
    return column


def _parameter(series: pd.Series[Any], name: str, conditional: bool, label: str) -> tuple[Kind, Column, list[str]]:  # noqa: FBT001 - private, and called once
    import numpy as np
    import pandas as pd

    absent = series.isna().to_numpy(dtype=bool)
    if absent.any() and not conditional:
        remedy = "fill it, drop the row, or give a space in which the parameter is conditional"
        raise SpecificationError(
            f"{label}: row {int(absent.argmax())} has nothing in the column {name!r} (the first row is 0); {remedy}"
        )
    present = series[~absent]
    types = pd.api.types
    if len(present) == 0:
        raise SpecificationError(f"{label}: the column {name!r} is empty; leave it out of params")
    codes = np.full(len(series), INACTIVE)
    is_object = types.is_object_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype)
    kinds = {type(cell) for cell in present} if is_object else set()
    if types.is_bool_dtype(series.dtype) or (kinds and kinds <= {bool, np.bool_}):
        codes[~absent] = present.astype(bool).to_numpy(dtype=np.float64)
        return "boolean", codes, []
    if (types.is_string_dtype(series.dtype) and not is_object) or (kinds and kinds <= {str, np.str_}):
        texts, places = np.unique(np.array([str(cell) for cell in present], dtype=object), return_inverse=True)
        codes[~absent] = places
        return "category", codes, texts.tolist()
    if len(kinds) > 1 or not (types.is_numeric_dtype(series.dtype) or kinds in ({int}, {float})):
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or str(series.dtype)
        raise SpecificationError(
            f"{label}: the column {name!r} holds {found}; a parameter's column holds numbers, texts or booleans, and "
            "only one of these"
        )
    whole = types.is_integer_dtype(series.dtype) or kinds == {int}
    return "integer" if whole else "real", _finite(present, name, label, codes, absent, whole=whole), []


def _finite(
    present: pd.Series[Any], name: str, label: str, codes: Column, absent: NDArray[np.bool_], *, whole: bool
) -> Column:
    import numpy as np

    try:
        numbers = present.to_numpy(dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecificationError(f"{label}: the column {name!r} holds what is no number: {error}") from None
    codes[~absent] = numbers + 0.0  # -0.0 is the same value as 0.0
    _refuse_rows(~absent & ~np.isfinite(codes), codes, name, "a parameter is finite", label)
    if whole:
        too_large = ~absent & (np.abs(codes) > LARGEST_INTEGER)
        _refuse_rows(too_large, codes, name, f"an integer is at most {LARGEST_INTEGER} (2**53) in size", label)
    return codes


def _numbers(frame: pd.DataFrame, name: str, label: str, *, may_be_missing: bool = False) -> Column:
    import numpy as np
    import pandas as pd

    series = _column(frame, name, label)
    if not pd.api.types.is_numeric_dtype(series.dtype):
        wrong = next((cell for cell in series if not isinstance(cell, int | float)), series.iloc[0])
        raise SpecificationError(
            f"{label}: the column {name!r} must hold numbers, but its type is {series.dtype}, with {shown(wrong)} in it"
        )
    numbers: Column = series.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
    if not may_be_missing:
        _refuse_rows(~np.isfinite(numbers), numbers, name, "drop the row, or fill in a finite number", label)
    return numbers


def _refuse_rows(wrong: NDArray[np.bool_], numbers: Column, name: str, allowed: str, label: str) -> None:
    """Raise an error that names the first row that is wrong, if there is one."""
    if not wrong.any():
        return
    row = int(wrong.argmax())
    more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
    raise SpecificationError(
        f"{label}: row {row} has {float(numbers[row])!r} in the column {name!r} (the first row is 0){more}; {allowed}"
    )


def shown_list(text: str, limit: int = 400) -> str:
    """Return the text of a list, cut where it becomes too long for a line."""
    return text if len(text) <= limit else text[:limit].rsplit(", ", 1)[0] + ", ..."


def as_path(table: Any) -> Path | None:
    """Return the absolute path of a table that is given as a file, or None when it is something else."""
    return Path(table).absolute() if isinstance(table, str | os.PathLike) else None


def as_names(value: Any, use: str, label: str) -> tuple[str, ...]:
    """Return a sequence of names as a tuple; raises `SpecificationError` for anything else, a single text too."""
    names: Sequence[str] | None = value if isinstance(value, list | tuple) else None
    if names is None:
        raise SpecificationError(f"{label}: {use} is {value!r}; it must be a list of names of columns")
    return tuple(names)
