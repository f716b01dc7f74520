"""Tables that are opened in spreadsheets, where a text such as `=1+1` would be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerowait.suite.records.selection import number_in

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an apostrophe before each text that a spreadsheet would take for a formula.

    Names of columns too. Numbers stay as they are, also those that are written as text.
    """
    columns = {}
    for name in table.columns:
        column = table[name]
        if column.dtype.kind == "O":
            columns[name] = column.map(_safe)
            if hasattr(column, "cat"):
                columns[name] = columns[name].astype(object)
    return table.assign(**columns).rename(columns=_safe)


def _safe(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA) and number_in(value) is None:
        return "'" + value
    return value
