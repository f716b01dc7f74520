"""A user's own table as a benchmark: a pandas DataFrame, a CSV file or a Parquet file."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from zerowait.benchmarks.data.content import file_digest
from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.own_table import store as storage
from zerowait.benchmarks.own_table.columns import (
    INACTIVE,
    Columns,
    as_names,
    as_path,
    read_frame,
    shown_list,
    sorted_columns,
)
from zerowait.benchmarks.own_table.space import (
    Match,
    Scale,
    check_names_of_space,
    check_types_of_space,
    conditional_parameters,
    distinct,
    given_space,
    inferred_space,
    scales,
    space_as_text,
    space_from_text,
)
from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed, label_of
from zerowait.benchmarks.registry import Family
from zerowait.suite.factory_spec import FactorySpec
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from ConfigSpace import ConfigurationSpace

    from zerowait.benchmarks.own_table.columns import Column

NAME = "table"
DISTANCE, MATCHED_FIDELITY = "distance", "matched_fidelity"
_SCALED = "scaled: "
_BOOLEANS = frozenset({"bool", "bool_"})


def from_dataframe(  # noqa: PLR0913 - the columns of a table and how to look them up, each by its own word
    table: pd.DataFrame | str | os.PathLike[str],
    *,
    params: Sequence[str],
    value: str,
    runtime: str,
    fidelity: str | None = None,
    metrics: Sequence[str] = (),
    match: Match = "exact",
    log: Sequence[str] = (),
    space: ConfigurationSpace | str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> DataFrameBenchmark:
    """Make a benchmark of a table with one row per training; it is checked as a whole, here and now.

    Rows with equal parameters and fidelity are repetitions. A seed chooses the repetition number `seed % n` in the
    order of the table, n being their number; without a seed every number is the mean over them.

    Parameters
    ----------
    table
        A DataFrame, or the path of a file that ends in .csv, .csv.gz or .parquet.
    params
        The columns that an optimizer chooses: numbers, texts or booleans.
    value
        The column of the loss, which is minimised: make one of an accuracy first.
    runtime
        The column of the seconds that the training takes, from its start to this fidelity.
    fidelity
        The column of the training budget; None when there is none.
    metrics
        Further columns of numbers to record; a missing one is NaN.
    match
        "exact" answers only configurations (and fidelities) that the table has. "nearest" answers any within the
        bounds, with the row at the least distance, and records that as the metric "distance": the root of the sum,
        over the parameters, of the squared difference of two numbers, scaled so that the least is 0 and the greatest
        1 (the bounds of a given space; on a logarithmic scale where it says so), and of 1 for texts and booleans that
        differ. A fidelity that the table does not have is moved first, to the nearest one, the lower of two, and
        recorded as "matched_fidelity"; only rows with that fidelity are looked at. Of rows equally near, the first in
        the order of the parameters' values counts: `params` in their order, texts alphabetically.
    log
        Parameters whose inferred scale is logarithmic; only with match "nearest".
    space
        The search space, or the path of its JSON; None infers it from the columns, see
        `own_table.space.inferred_space`. With match "exact", the table must have every combination of an
        inferred space. A parameter that a given space makes conditional is empty where it is inactive.
    label
        What figures and errors call it; "table/<name of the file>" by default.

    Raises
    ------
    SpecificationError
        An argument, a column or a cell cannot be used; one line that names it and what to do.
    DataMissingError
        The cache folder, where the converted table is kept, cannot be written.
    """
    if match not in get_args(Match):
        raise SpecificationError(f"{NAME}: match is {match!r}; it must be 'exact' or 'nearest'")
    if label is not None and (not isinstance(label, str) or not label):
        raise SpecificationError(f"{NAME}: label is {label!r}; it must be a text")
    path = as_path(table)
    if label is None:
        options = {} if match == "exact" else {"match": match}
        label = label_of(NAME, None if path is None else path.name.split(".")[0], options)
    columns = Columns(as_names(params, "params", label), value, runtime, fidelity, as_names(metrics, "metrics", label))
    columns.check(label)
    if match == "nearest":
        taken = next((name for name in (DISTANCE, MATCHED_FIDELITY) if name in columns.metrics), None)
        if taken is not None:
            raise SpecificationError(
                f"{label}: metrics has {taken!r}, which match='nearest' records; rename the column"
            )
    logs = as_names(log, "log", label)
    if space is not None and logs:
        raise SpecificationError(
            f"{label}: log is {list(logs)!r}, but the given space has scales of its own; leave it out"
        )
    text = None if space is None else space_as_text(given_space(space, label))
    conversion = Conversion(path, columns, match, logs, text, label)
    return DataFrameBenchmark(label, conversion.key_of(table), conversion)


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a table is converted: all arguments of `from_dataframe` but the table itself."""

    path: Path | None
    """The file; None for a DataFrame, which cannot be read again."""
    columns: Columns
    match: Match
    log: tuple[str, ...]
    space: str | None
    """A given space as JSON."""
    label: str

    def key_of(self, table: Any) -> str:
        """Convert the table unless that has been done before, and return its key in the cache."""
        if self.path is None:
            return self._convert_frame(table)
        try:
            content = file_digest(self.path)
        except OSError as error:
            raise SpecificationError(
                f"{self.label}: the file {self.path} cannot be read: {error.strerror}; give the path of a table"
            ) from None
        key = storage.key_of(self._arguments(), content)
        if not storage.place(key).exists():
            self._convert(read_frame(self.path, self.label), key)
        return key

    def _convert_frame(self, frame: Any) -> str:
        import pandas as pd

        if not isinstance(frame, pd.DataFrame):
            raise SpecificationError(
                f"{self.label}: the table is of type {type(frame).__name__}; give a DataFrame or the path of a file"
            )
        return self._convert(frame, None)

    def _arguments(self) -> dict[str, Any]:
        return {"columns": asdict(self.columns), "match": self.match, "log": self.log, "space": self.space}

    def _convert(self, frame: pd.DataFrame, key: str | None) -> str:
        import numpy as np

        given = None if self.space is None else space_from_text(self.space)
        if given is not None:
            check_names_of_space(given, self.columns, self.label)
        table = sorted_columns(frame, self.columns, conditional_parameters(given), self.label)
        if given is None:
            space = inferred_space(table, self.columns, self.match, self.log, self.label)
        else:
            check_types_of_space(given, table, self.label)
            space = given
        data = dict(table.data)
        bounds: dict[str, list[Any]] = {}
        if self.match == "nearest":
            for name, scale in scales(space, table, self.label).items():
                column = table.data[name]
                inactive = column == INACTIVE
                data[_SCALED + name] = np.where(inactive, INACTIVE, scale(np.where(inactive, scale.lower, column)))
                bounds[name] = [scale.lower, scale.upper, scale.log]
        meta = {
            "kinds": table.kinds,
            "categories": table.categories,
            "scales": bounds,
            "conditional": sorted(conditional_parameters(given)),
            "space": space_as_text(space),
            "fidelity": self._fidelity(table.data),
        }
        if key is None:
            key = storage.key_of({**self._arguments(), **meta}, storage.digest_of(data))
        storage.store(storage.place(key), meta, data)
        return key

    def _fidelity(self, data: Mapping[str, Column]) -> list[Any] | None:
        if self.columns.fidelity is None:
            return None
        import numpy as np

        levels = np.unique(data[self.columns.fidelity])
        if len(levels) == 1:
            raise SpecificationError(
                f"{self.label}: the column {self.columns.fidelity!r} holds only {levels[0]:g}; leave fidelity out"
            )
        whole = bool((levels == np.floor(levels)).all())
        return [whole, levels.astype(int if whole else float).tolist()]


class DataFrameBenchmark:
    """A user's own table; made by `from_dataframe`, which describes the arguments and the look-up."""

    name = NAME
    task = None
    citation = "the user's own table"
    licence = "the user's own table"

    def __init__(self, label: str, key: str, conversion: Conversion) -> None:
        self.label = label
        self.content = key
        """The digest of the numbers and of how they are looked up: whatever rests on them depends on it."""
        self._conversion = conversion

    @property
    def factory_spec(self) -> FactorySpec | None:
        """How to make it again elsewhere, with the absolute path of its file; None for a DataFrame."""
        c = self._conversion
        if c.path is None or c.space is not None:
            return None
        arguments = {"path": str(c.path), **asdict(c.columns), "match": c.match, "log": list(c.log), "label": c.label}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
        return FactorySpec("zerowait.benchmarks.registry:load", {"name": NAME, **listed})

    @cached_property
    def fidelity(self) -> Fidelity | None:
        """The training budget, from the least to the greatest of the table; None when it has no such column."""
        described = self._stored.meta["fidelity"]
        if described is None:
            return None
        whole, levels = described
        return Fidelity(str(self._conversion.columns.fidelity), levels[0], levels[-1], integer=whole)

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The fidelities that the table has, in increasing order; none without a column of fidelities."""
        described = self._stored.meta["fidelity"]
        return () if described is None else tuple(described[1])

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name; the table does not say it for its columns."""
        found = dict.fromkeys(self._conversion.columns.metrics, "as in the table")
        if self._conversion.match == "nearest":
            found[DISTANCE] = "none, 0 for a row of the table"
            if self._conversion.columns.fidelity is not None:
                found[MATCHED_FIDELITY] = f"as {self._conversion.columns.fidelity}"
        return MappingProxyType(found)

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        space = space_from_text(self._stored.meta["space"])
        if space.name is None:
            space.name = self.label
        return space

    @cached_property
    def optimum(self) -> float:
        """The least value of any single row at the highest fidelity."""
        data, columns = self._stored.data, self._conversion.columns
        values = data[columns.value]
        if columns.fidelity is not None:
            values = values[data[columns.fidelity] == self.fidelities[-1]]
        return float(values.min())

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Look one configuration up; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration is not in the table (or, with match "nearest", outside the bounds), the fidelity or
            the seed is not allowed.
        DataMissingError
            The converted table is not there any more and cannot be made again.
        """
        level = self._level(fidelity)
        codes = self._codes(config)
        if level is not None:
            codes.append(level)
        first, last = self._rows(codes)
        distance = 0.0
        if first == last:
            if self._conversion.match == "exact":
                raise self._not_there(config, codes)
            row, distance = self._nearest(codes, level)
            first, last = self._rows([column[row] for column in self._keys])
        if seed is None:
            numbers = [math.fsum(column[first:last]) / (last - first) for column in self._numbers]
        else:
            row = first + check_seed(seed) % (last - first)
            numbers = [column[row] for column in self._numbers]
        metrics = dict(zip(self._conversion.columns.metrics, numbers[2:], strict=True))
        if self._conversion.match == "nearest":
            metrics[DISTANCE] = distance
            if level is not None:
                metrics[MATCHED_FIDELITY] = level
        return Evaluation(numbers[0], numbers[1], metrics)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where the numbers are, not the numbers."""
        return DataFrameBenchmark, (self.label, self.content, self._conversion)

    @cached_property
    def _stored(self) -> storage.Stored:
        path = storage.place(self.content)
        try:
            return storage.open_stored(path)
        except FileNotFoundError:
            pass
        except DamagedDataError as error:
            if self._conversion.path is None:
                raise
            warnings.warn(f"{error}; it is converted again", RuntimeWarning, stacklevel=3)
            path.unlink(missing_ok=True)
        if self._conversion.path is None:
            raise DataMissingError(
                f"{self.label}: the converted table {path} is not there any more; call from_dataframe again, or save "
                "the table as a Parquet file and give its path"
            )
        if self._conversion.key_of(None) != self.content:
            raise DataMissingError(
                f"{self.label}: the file {self._conversion.path} is not what it was when this benchmark was made of "
                "it; call from_dataframe again"
            )
        return storage.open_stored(path)

    @cached_property
    def _keys(self) -> list[memoryview]:
        """The columns by which the rows are sorted."""
        columns = self._conversion.columns
        names = [*columns.params, *([] if columns.fidelity is None else [columns.fidelity])]
        # A memoryview gives plain Python floats, and gives them faster than an array does.
        return [self._stored.data[name].data for name in names]

    @cached_property
    def _numbers(self) -> list[memoryview]:
        """Value, runtime and metrics."""
        columns = self._conversion.columns
        return [self._stored.data[name].data for name in (columns.value, columns.runtime, *columns.metrics)]

    @cached_property
    def _texts(self) -> dict[str, dict[str, float]]:
        categories = self._stored.meta["categories"]
        return {name: {text: float(i) for i, text in enumerate(texts)} for name, texts in categories.items()}

    def _rows(self, codes: list[float]) -> tuple[int, int]:
        """Return the first row with these codes and the first behind them; the two are equal when there is none."""
        first, last = 0, len(self._keys[0])
        for code, column in zip(codes, self._keys, strict=True):
            first = bisect_left(column, code, first, last)
            last = bisect_right(column, code, first, last)
        return first, last

    def _level(self, fidelity: float | None) -> float | None:
        if self.fidelity is None:
            if fidelity is not None:
                raise SpecificationError(
                    f"{self.label}: the fidelity is {fidelity!r}, but the table has none; give None"
                )
            return None
        number = float(self.fidelity.check(fidelity, self.label))
        levels = self.fidelities
        i = bisect_left(levels, number)
        if levels[i] == number:
            return number
        if self._conversion.match == "exact":
            raise SpecificationError(
                f"{self.label}: the fidelity {self.fidelity.name!r} is {fidelity!r}; the table has "
                f"{shown_list(', '.join(f'{level:g}' for level in levels))}; "
                "ask for one of them, or take match='nearest'"
            )
        return float(levels[i - 1] if number - levels[i - 1] <= levels[i] - number else levels[i])

    def _codes(self, config: Config) -> list[float]:
        names = self._conversion.columns.params
        conditional = self._stored.meta["conditional"]
        if conditional:
            names = tuple(name for name in names if name in config or name not in conditional)
        if len(config) != len(names) or any(name not in config for name in names):
            check_names(config, names, self.label)
        return [
            self._code(name, config[name]) if name in config else INACTIVE for name in self._conversion.columns.params
        ]

    def _code(self, name: str, value: Any) -> float:
        kind = self._stored.meta["kinds"][name]
        code: float | None
        if kind == "category":
            code = self._texts[name].get(value) if isinstance(value, str) else None
        elif kind == "boolean":
            code = float(value) if type(value).__name__ in _BOOLEANS else None
        else:
            code = as_float(value)
            bounds = self._stored.meta["scales"].get(name)
            whole = kind == "integer" and code is not None and not code.is_integer()
            if code is not None and (whole or math.isnan(code) or (bounds and not bounds[0] <= code <= bounds[1])):
                code = None
        if code is None:
            raise self._refusal(name, value)
        return code + 0.0  # makes -0.0 the same value as 0.0

    def _refusal(self, name: str, value: Any) -> SpecificationError:
        kind, bounds = self._stored.meta["kinds"][name], self._stored.meta["scales"].get(name)
        if bounds:
            number = "an integer" if kind == "integer" else "a number"
            allowed = f"{number} from {bounds[0]:.17g} to {bounds[1]:.17g}"
        else:
            column = self._stored.data[name]
            values = distinct(column, kind, self._stored.meta["categories"].get(name, []))
            allowed = f"one of [{shown_list(', '.join(map(repr, values)))}]"
        return SpecificationError(
            f"{self.label}: the parameter {name!r} has the value {shown(value)}; allowed is {allowed}"
        )

    def _not_there(self, config: Config, codes: list[float]) -> SpecificationError:
        """Blame the first value that no row has, or else the combination."""
        for name, code in zip(self._conversion.columns.params, codes, strict=False):
            if name in config and not (self._stored.data[name] == code).any():
                return self._refusal(name, config[name])
        place = "" if self.fidelity is None else f" at {self.fidelity.name} {codes[-1]:g}"
        return SpecificationError(
            f"{self.label}: the table has no row for {shown(dict(config))}{place}; add it, or take match='nearest'"
        )

    def _nearest(self, codes: list[float], level: float | None) -> tuple[int, float]:
        """Return the first of the nearest rows, and its distance."""
        import numpy as np

        data, meta = self._stored.data, self._stored.meta
        total = np.zeros(len(self._keys[0]))
        for name, code in zip(self._conversion.columns.params, codes, strict=False):
            bounds = meta["scales"].get(name)
            if bounds is None or code == INACTIVE:
                total += data[name] != code
                continue
            difference = data[_SCALED + name] - Scale(*bounds)(np.array([code]))
            if name in meta["conditional"]:  # one that is inactive here and not there differs by 1
                difference = np.where(np.isinf(difference), 1.0, difference)
            total += difference * difference
        if level is not None:
            total[data[str(self._conversion.columns.fidelity)] != level] = np.inf
        row = int(total.argmin())
        return row, math.sqrt(total[row])


def load_table(  # noqa: PLR0913 - the arguments of `from_dataframe`
    *,
    path: str | None = None,
    params: Sequence[str] = (),
    value: str | None = None,
    runtime: str | None = None,
    fidelity: str | None = None,
    metrics: Sequence[str] = (),
    match: Match = "exact",
    log: Sequence[str] = (),
    space: str | None = None,
    label: str | None = None,
) -> DataFrameBenchmark:
    """Make the benchmark `table`, of a file: for study files, where arguments are texts, numbers and lists.

    The arguments are those of `from_dataframe`; `path` and `space` are relative to the current folder.
    """
    for name, argument in {"path": path, "params": params, "value": value, "runtime": runtime}.items():
        if not argument:
            raise SpecificationError(
                f"{NAME}: the parameter {name!r} is missing; it needs path = 'file.csv', params = ['column', ...], "
                "value = 'column' and runtime = 'column'"
            )
    if not isinstance(path, str):
        raise SpecificationError(f"{NAME}: path is {path!r}; it must be the path of a CSV or Parquet file, as a text")
    assert value is not None
    assert runtime is not None
    return from_dataframe(
        path, params=params, value=value, runtime=runtime, fidelity=fidelity, metrics=metrics, match=match, log=log,
        space=space, label=label,
    )  # fmt: skip


FAMILY = Family(
    name=NAME,
    description="a table of your own, CSV or Parquet, one row per training; path, params, value and runtime say which",
    make=load_table,
    data="a file of your own",
    citation=DataFrameBenchmark.citation,
    licence=DataFrameBenchmark.licence,
    facts=Facts(
        value="a column of the table, minimised",
        runtime="s, a column of the table",
        optimum_note="the least value of any single row at the highest fidelity: `load(...).optimum`",
        bibtex="% cite whoever made the table",
    ),
)
