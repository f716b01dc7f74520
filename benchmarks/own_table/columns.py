"""What the columns of a user's table are, and how their cells are to be understood."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from zerowait.suite.rules.errors import SpecificationError

Seconds = Literal["since_start", "per_step", "full", "independent"]
NO_SEPARATOR = frozenset('"\r\n\0.+-') | frozenset("0123456789")
"""What cannot stand between two cells, because cells are made of it."""


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Begin every `SpecificationError` with what the table is called."""
    try:
        yield
    except SpecificationError as error:
        error.args = (f"{label}: {error}",)
        raise


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what."""

    params: tuple[str, ...]
    """The parameters, in the order in which rows are sorted."""
    value: str
    """The loss; of wide curves the pattern of its columns."""
    runtime: str
    """The seconds of the training; of wide curves possibly a pattern."""
    fidelity: str | None
    """The training budget, or None; of wide curves its name, which is no column."""
    metrics: tuple[str, ...]
    """Further numbers; of wide curves possibly patterns."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which rows are sorted: the parameters, and the fidelity if there is one."""
        return self.params if self.fidelity is None else (*self.params, self.fidelity)

    def check(self) -> None:
        """Raise `SpecificationError` unless every name is a text and no column has two uses."""
        used: dict[str, str] = {}
        if not self.params:
            raise SpecificationError("params is empty; name the columns that an optimizer chooses")
        uses = [("params", name) for name in self.params] + [("metrics", name) for name in self.metrics]
        uses += [("value", self.value), ("runtime", self.runtime)]
        uses += [] if self.fidelity is None else [("fidelity", self.fidelity)]
        for use, name in uses:
            if not isinstance(name, str) or not name:
                raise SpecificationError(f"{use} has {name!r}; it must be the name of a column")
            if name in used:
                raise SpecificationError(
                    f"the column {name!r} is given as {used[name]} and as {use}; a column has one use"
                )
            used[name] = use
        called: dict[str, str] = {}
        for name in self.metrics:
            other = called.setdefault(metric_name(name), name)
            if other != name:
                raise SpecificationError(
                    f"the metrics {other!r} and {name!r} are both called {metric_name(name)!r}; rename one"
                )


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the cells of a table are to be understood, where the columns' names do not say it."""

    seconds: Seconds = "since_start"
    """What the runtime counts: see `from_dataframe`."""
    maximize: bool = False
    """Whether the value is one to maximise: the loss is then its negative."""
    wide: bool = False
    """Whether a row is a whole curve, with a column for each fidelity."""
    categorical: tuple[str, ...] = ()
    """The parameters whose cells are texts, whatever they look like."""
    separator: str | None = None
    """What stands between two cells of a text file; None: what its suffix says."""
    decimal: str = "."
    """The decimal sign of a text file."""

    def check(self, columns: Columns) -> None:
        """Raise `SpecificationError` where an argument is of the wrong type or does not go with the columns."""
        if self.seconds not in get_args(Seconds):
            allowed = ", ".join(map(repr, get_args(Seconds)))
            raise SpecificationError(f"seconds is {self.seconds!r}; it must be one of {allowed}")
        if self.seconds != "since_start" and columns.fidelity is None:
            raise SpecificationError(f"seconds is {self.seconds!r}, but there is no fidelity; leave it out")
        for name in self.categorical:
            if name not in columns.params:
                raise SpecificationError(
                    f"categorical has {name!r}, which is not one of params: {', '.join(columns.params)}"
                )
        self.check_text()

    def check_text(self) -> None:
        """Raise `SpecificationError` where separator or decimal sign are none."""
        if self.decimal not in (".", ","):
            raise SpecificationError(f"decimal is {self.decimal!r}; it must be '.' or ','")
        s = self.separator
        if s is not None and (not isinstance(s, str) or len(s) != 1 or s in NO_SEPARATOR or s.isalnum()):
            raise SpecificationError(
                f"separator is {s!r}; it must be one character that stands between cells, such as ';'"
            )
        if s == self.decimal:
            raise SpecificationError(f"separator and decimal are both {s!r}; they must differ")

    def check_file(self, path: Path | None) -> None:
        """Raise `SpecificationError` where separator or decimal sign are given for what is no text file."""
        if path is None or path.name.endswith(".parquet"):
            what = "a DataFrame" if path is None else "a Parquet file"
            for name, given in (("separator", self.separator is not None), ("decimal", self.decimal != ".")):
                if given:
                    raise SpecificationError(
                        f"{name} is {getattr(self, name)!r}, which is for text files, and the table is "
                        f"{what}, whose cells are apart and typed; leave it out"
                    )

    def changed(self) -> dict[str, Any]:
        """Return what is not the default: it alone is part of a table's digest and its factory."""
        given = asdict(self)
        return {field.name: given[field.name] for field in fields(self) if given[field.name] != field.default}


def matching(pattern: str, names: Iterable[str]) -> dict[float, str]:
    """Return the columns whose name is a pattern with a number in place of its `*`, by that number, increasing.

    Raises
    ------
    SpecificationError
        Two columns have the same number.
    """
    before, _, after = pattern.partition("*")
    form = re.compile(rf"{re.escape(before)}([0-9]+(?:\.[0-9]+)?){re.escape(after)}", re.ASCII)
    found: dict[float, str] = {}
    for name in names:
        match = form.fullmatch(name)
        if match is None:
            continue
        level = float(match[1])
        if level in found:
            raise SpecificationError(f"the columns {found[level]!r} and {name!r} are both {pattern!r} at {level:g}")
        found[level] = name
    return dict(sorted(found.items()))


def metric_name(column: str) -> str:
    """Return what the metric of a column is called; of curves what is left without the place of the fidelity."""
    return column.replace("*", "").strip("_-. ") or column if "*" in column else column


def shown_list(text: str, limit: int = 400) -> str:
    """Return the text of a list, cut where it becomes too long for a line."""
    return text if len(text) <= limit else text[:limit].rsplit(", ", 1)[0] + ", ..."


def as_path(table: Any) -> Path | None:
    """Return the absolute path of a table that is given as a file, or None when it is something else."""
    return Path(table).absolute() if isinstance(table, str | os.PathLike) else None


def as_names(value: Any, use: str) -> tuple[str, ...]:
    """Return a sequence of names as a tuple; raises `SpecificationError` for anything else, a single text too."""
    names: Sequence[str] | None = value if isinstance(value, list | tuple) else None
    if names is None:
        raise SpecificationError(f"{use} is {value!r}; it must be a list of names of columns")
    return tuple(names)
