"""Choosing runs by conditions such as `P=8`, `optimizer=random,optuna-tpe`, `benchmark=hpobench/*` or `seed<5`."""

from __future__ import annotations

import fnmatch
import operator
import re
from typing import TYPE_CHECKING

import numpy as np

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Mask

NAMES = {
    "P": "n_workers",
    "workers": "n_workers",
    "n_workers": "n_workers",
    "optimizer": "optimizer",
    "benchmark": "benchmark",
    "seed": "seed",
}
"""What a condition may name, and the column that it means."""
NUMBERS = ("n_workers", "seed")
_ORDERS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", flags=re.DOTALL)
FORM = "P=8, P=1,2,4, P>=2, optimizer=random,optuna-tpe, optimizer!=random, benchmark=hpobench/* or seed<5"


def selected(cells: pd.DataFrame, conditions: Sequence[str]) -> Mask:
    """Return which runs meet all conditions, shape (runs,).

    A condition is a name of `NAMES`, one of `=`, `!=`, `<`, `<=`, `>`, `>=`, and a value; after `=` and `!=` several
    values may stand with commas between them, and in names `*` and `?` stand for anything and for any letter.

    Raises
    ------
    SpecificationError
        A condition cannot be read, or no run meets them.
    """
    chosen = np.ones(len(cells), dtype=bool)
    for condition in conditions:
        before = chosen
        chosen = chosen & _meets(cells, condition)
        if not chosen.any():
            column = NAMES[_parts(condition)[0]]
            there = ", ".join(str(value) for value in sorted(cells[column][before].unique()))
            raise SpecificationError(f"no run meets {condition!r}; the study has the {column} {there}")
    return chosen


def _parts(condition: str) -> tuple[str, str, str]:
    match = _CONDITION.fullmatch(condition)
    if match is None or not match[3] or match[1] not in NAMES:
        raise SpecificationError(f"the condition {condition!r} cannot be read; write one such as {FORM}")
    return match[1], match[2], match[3]


def _meets(cells: pd.DataFrame, condition: str) -> Mask:
    name, relation, text = _parts(condition)
    column = NAMES[name]
    if column not in NUMBERS:
        if relation in _ORDERS:
            raise SpecificationError(f"the condition {condition!r} orders names; write {name}=... or {name}!=...")
        patterns = [pattern.strip() for pattern in text.split(",")]
        distinct = {
            value: any(value == p or fnmatch.fnmatchcase(value, p) for p in patterns)
            for value in cells[column].unique()
        }
        met = cells[column].map(distinct).to_numpy(dtype=bool)
        return ~met if relation == "!=" else met
    numbers = cells[column].to_numpy()
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecificationError(f"the condition {condition!r} needs whole numbers; write one such as {FORM}") from None
    if relation in _ORDERS:
        if len(values) > 1:
            raise SpecificationError(f"the condition {condition!r} compares with several numbers; give one")
        return np.asarray(_ORDERS[relation](numbers, values[0]), dtype=bool)
    met = np.isin(numbers, values)
    return ~met if relation == "!=" else met
