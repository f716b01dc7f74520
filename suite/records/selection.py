"""Choosing runs, in one language: `optimizer=optuna*,P=1,2,4,seed=5..9,benchmark=lcbench/*`.

`zerowait run --only`, `plot --where`, `export --where`, `load_study(where=...)` and the figures' functions take it. All
conditions, with commas between them, must hold. A condition is a name of `NAMES` or a column, one of `=`, `!=`, `<`,
`<=`, `>`, `>=`, and a value; after `=` and `!=` several values may stand with commas between them, a range such as
`5..9` has both of its ends, and in names `*`, `?` and `[12]` are wildcards. What stands first without a condition is a
pattern of optimizers, then one of benchmarks: `optuna*,*,P=8`.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from zerowait.suite.rules.arguments import plain_number
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Where: TypeAlias = "str | Sequence[str] | Mapping[str, Any] | None"
"""A text, several of them, or values by name; `{"optimizer": ["TPE", "BOHB"], "P": 8}` says the same as a text."""

NAMES = {
    "optimizer": "optimizer",
    "benchmark": "benchmark",
    "P": "n_workers",
    "workers": "n_workers",
    "n_workers": "n_workers",
    "seed": "run_seed",
    "run_seed": "run_seed",
}
"""What a run is chosen by, and the column that it means; `load_study` takes its other columns as well."""
_SHORT = {"n_workers": "P", "run_seed": "seed"}
FORM = "optimizer=optuna*,benchmark=lcbench/*,P=1,2,4,seed=5..9, or P>=2,seed<5"
_TEXTS, _INTEGERS = ("optimizer", "benchmark"), ("n_workers", "run_seed")

_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", flags=re.DOTALL)
_RANGE = re.compile(r"(.+?)\s*\.\.\s*(.+)|(\d+)\s*-\s*(\d+)")
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MOST_LISTED = 12


@dataclass(frozen=True)
class Condition:
    """A comparison of a column with values."""

    column: str
    """A column of the store."""
    comparison: str
    """'=', '!=', '<', '<=', '>' or '>='."""
    wanted: tuple[Any, ...]
    """As given: texts of a command, or Python's values."""

    def __str__(self) -> str:
        values = ",".join(map(str, self.wanted[:_MOST_LISTED]))
        return f"{_SHORT.get(self.column, self.column)}{self.comparison}{values}"

    @functools.cached_property
    def numbers(self) -> list[tuple[float, float]]:
        """The values as ranges of numbers, each with its two ends.

        Raises
        ------
        SpecificationError
            One is none, or not a whole one where the column has these only.
        """
        orders, found = self.comparison in _ORDERS, []
        for value in self.wanted:
            both = _range(value)
            whole = both is not None and all(isinstance(end, int) for end in both)
            if both is None or (self.column in _INTEGERS and not whole) or (orders and both[0] != both[1]):
                kind = "a whole number" if self.column in _INTEGERS else "a number"
                raise SpecificationError(
                    f"the condition {str(self)!r} compares with {shown(value)}; allowed after {self.comparison}: {kind}"
                    + ("" if orders else ", or a range such as 2..5")
                )
            found.append(both)
        if orders and len(found) != 1:
            raise SpecificationError(f"the condition {str(self)!r} compares with several numbers; give one")
        return found

    @functools.cached_property
    def _exactly(self) -> frozenset[str]:
        return frozenset(map(str, self.wanted))

    @functools.cached_property
    def _patterns(self) -> list[str]:
        return [text for text in self._exactly if any(character in text for character in "*?[")]

    def matches(self, text: str) -> bool:
        """Tell whether a text is one of the values, or like one of the patterns."""
        if self.comparison in _ORDERS:
            raise SpecificationError(f"the condition {str(self)!r} orders texts; write {self.column}=... or !=...")
        return text in self._exactly or any(fnmatchcase(text, pattern) for pattern in self._patterns)

    def holds(self, value: Any) -> bool:
        """Tell whether the condition is true of a value."""
        if isinstance(value, str):
            return self.matches(value) == (self.comparison == "=")
        if self.comparison in _ORDERS:
            return bool(_ORDERS[self.comparison](value, self.numbers[0][0]))
        return any(lower <= value <= upper for lower, upper in self.numbers) == (self.comparison == "=")

    def mask(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for which values the condition is true, shape (values,)."""
        import numpy as np

        if values.dtype == bool and not any(isinstance(value, bool) for value in self.wanted):
            values = np.where(values, "true", "false")
        if values.dtype.kind in "OUST":
            distinct, codes = np.unique(values.astype(str), return_inverse=True)
            return np.array([self.holds(str(text)) for text in distinct], dtype=bool)[codes]
        if self.comparison in _ORDERS:
            return np.asarray(_ORDERS[self.comparison](values, self.numbers[0][0]), dtype=bool)
        single = [lower for lower, upper in self.numbers if lower == upper]
        met = np.isin(values, single)
        for lower, upper in self.numbers:
            if lower != upper:
                met |= (values >= lower) & (values <= upper)
        return met if self.comparison == "=" else ~met


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.conditions))

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def columns(self) -> list[str]:
        """The columns that conditions name."""
        return list(dict.fromkeys(condition.column for condition in self.conditions))

    def of(self, column: str) -> list[Condition]:
        """Return the conditions on a column."""
        return [condition for condition in self.conditions if condition.column == column]

    def holds(self, **values: Any) -> bool:
        """Tell whether all conditions on these columns are true; a tuple has several names of one thing."""
        return all(
            # What none of its names may be, all of them must not be.
            (all if condition.comparison == "!=" else any)(
                condition.holds(one) for one in (value if isinstance(value, tuple) else (value,))
            )
            for name, value in values.items()
            for condition in self.of(name)
        )

    def check_names(self, **known: Iterable[str]) -> None:
        """Refuse names and patterns that nothing has.

        Raises
        ------
        SpecificationError
            The message lists what there is.
        """
        for column, names in known.items():
            there = list(dict.fromkeys(names))
            for condition in self.of(column):
                for value in condition.wanted:
                    if not any(Condition(column, "=", (value,)).matches(name) for name in there):
                        raise SpecificationError(
                            f"{str(condition)!r}: the study has no {column} {shown(value)}; it has: {_listed(there)}"
                        )

    def mask(self, runs: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which runs meet all conditions, shape (runs,).

        Parameters
        ----------
        runs
            One row a run, with the columns that conditions name.

        Raises
        ------
        SpecificationError
            A column or a name is unknown, a value has the wrong type, or no run is left; the message says
            what there is.
        """
        import numpy as np

        self.check_columns(runs.columns)
        self.check_names(**{name: runs[name].unique() for name in _TEXTS if name in runs})
        chosen = np.ones(len(runs), dtype=bool)
        for condition in self.conditions:
            chosen &= condition.mask(runs[condition.column].to_numpy())
        if not chosen.any():
            raise nothing(self, {name: runs[name].unique() for name in (*_TEXTS, *_INTEGERS) if name in runs})
        return chosen

    def check_columns(self, available: Collection[str]) -> None:
        """Refuse conditions on a column that is not available, with `SpecificationError`."""
        for condition in self.conditions:
            if condition.column not in available:
                known = [name for name in ("optimizer", "benchmark", "P", "seed") if NAMES[name] in available]
                known += [name for name in available if name not in NAMES.values()]
                raise SpecificationError(
                    f"the condition {str(condition)!r} names {condition.column!r}, which no run has; it may name: "
                    f"{', '.join(known)}"
                )


def nothing(selection: Selection, there: Mapping[str, Iterable[Any]]) -> SpecificationError:
    """Return the error that says that no run is chosen, and what there is by column."""
    lists = "; ".join(f"{_SHORT.get(name, name)} {_listed(values)}" for name, values in there.items())
    return SpecificationError(f"no run meets {str(selection)!r}; there are {lists}")


def parse(where: Where) -> Selection:
    """Return the selection that a text, several texts, or values by name describe.

    Raises
    ------
    SpecificationError
        It is not written so; the message names the part.
    """
    if where is None:
        return Selection()
    if isinstance(where, str):
        return Selection(tuple(_conditions(where)))
    if isinstance(where, Mapping):
        return Selection(tuple(_of_values(name, wanted) for name, wanted in where.items()))
    if not isinstance(where, Sequence) or not all(isinstance(text, str) for text in where):
        raise SpecificationError(f"where is {shown(where)}; write it as {FORM}, or give a mapping of names to values")
    return Selection(tuple(condition for text in where for condition in _conditions(text)))


def _of_values(name: object, wanted: object) -> Condition:
    if not isinstance(name, str):
        raise SpecificationError(f"where has the name {shown(name)}; names are texts")
    several = isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes)
    values = tuple(wanted) if several else (wanted,)  # type: ignore[arg-type]
    condition = Condition(NAMES.get(name, name), "=", values)
    if condition.column in _INTEGERS:
        condition.numbers  # noqa: B018 - refuses what is none
    return condition


def _conditions(text: str) -> Iterable[Condition]:
    patterns, written = _parts(text)
    for column, pattern in zip(_TEXTS, patterns, strict=False):
        if pattern != "*":
            yield Condition(column, "=", (pattern,))
    for column, comparison, values in written:
        condition = Condition(column, comparison, tuple(values))
        if column in _TEXTS:
            condition.matches("")  # refuses what orders names
        elif column in _INTEGERS or comparison in _ORDERS:
            condition.numbers  # noqa: B018 - refuses what is none
        yield condition


def _parts(text: str) -> tuple[list[str], list[tuple[str, str, list[str]]]]:
    """Return the patterns at the beginning of a text, and column, comparison and values of what follows."""
    patterns: list[str] = []
    written: list[tuple[str, str, list[str]]] = []
    for part in text.split(","):
        found = _CONDITION.fullmatch(part)
        if found is not None and found[3]:
            written.append((NAMES.get(found[1], found[1]), found[2], [found[3]]))
        elif found is not None or not part.strip() or (not written and len(patterns) == len(_TEXTS)):
            raise SpecificationError(
                f"the selection {text!r} has {part.strip()!r}, which is not understood; write one such as {FORM}"
            )
        elif written:
            written[-1][2].append(part.strip())
        else:
            patterns.append(part.strip())
    return patterns, written


def _range(value: object) -> tuple[float, float] | None:
    """Return both ends of what a value stands for among numbers, or None."""
    if not isinstance(value, str):
        number = int(value) if isinstance(value, bool) else plain_number(value)
        return None if number is None else (number, number)
    found = _RANGE.fullmatch(value.strip())
    if found is None:
        number = number_in(value)
        return None if number is None else (number, number)
    lower, upper = number_in(found[1] or found[3]), number_in(found[2] or found[4])
    return None if lower is None or upper is None else (lower, upper)


def number_in(text: str) -> int | float | None:
    """Return the number that a text writes, or None."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _listed(values: Iterable[Any]) -> str:
    """Return what there is, shortened: numbers in a row as a range."""
    found = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    numeric = not any(isinstance(value, str) for value in found)
    if numeric and len(found) > 2 and found[-1] - found[0] == len(found) - 1:  # noqa: PLR2004 - two are as short
        return f"{found[0]} to {found[-1]}"
    more = f", ... ({len(found)})" if len(found) > _MOST_LISTED else ""
    return ", ".join(map(str, found[:_MOST_LISTED])) + more
