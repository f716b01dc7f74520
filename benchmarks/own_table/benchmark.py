"""A user's own table, converted: every query is a look-up in sorted columns that are mapped into memory."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError, TrainingFailedError
from zerowait.benchmarks.own_table import store as storage
from zerowait.benchmarks.own_table.cells import INACTIVE
from zerowait.benchmarks.own_table.columns import metric_name, shown_list
from zerowait.benchmarks.own_table.conversion import SCALED, Conversion
from zerowait.benchmarks.own_table.space import Scale, distinct, space_from_text
from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed
from zerowait.suite.factory_spec import FactorySpec
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

NAME = "table"
DISTANCE, MATCHED_FIDELITY = "distance", "matched_fidelity"
_BOOLEANS = frozenset({"bool", "bool_"})


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
        self.conversion = conversion
        """How the table was converted."""

    @property
    def factory_spec(self) -> FactorySpec | None:
        """How to make it again elsewhere, with the absolute path of its file; None for a DataFrame."""
        c = self.conversion
        if c.path is None or c.space is not None:
            return None
        arguments = {"path": str(c.path), **asdict(c.columns), "match": c.match, "log": list(c.log), "label": c.label}
        arguments.update(c.meaning.changed())
        if arguments.pop("wide", False):
            arguments["curves"] = arguments.pop("value")
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
        return FactorySpec("zerowait.benchmarks.registry:load", {"name": NAME, **listed})

    @cached_property
    def fidelity(self) -> Fidelity | None:
        """The training budget, from the least to the greatest of the table; None when it has no such column."""
        described = self._stored.meta["fidelity"]
        if described is None:
            return None
        whole, levels = described
        any_of_them = self.conversion.match == "nearest" or (whole and len(levels) == levels[-1] - levels[0] + 1)
        values = None if any_of_them else tuple(levels)
        return Fidelity(str(self.conversion.columns.fidelity), levels[0], levels[-1], integer=whole, values=values)

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The fidelities that the table has, in increasing order; none without a column of fidelities."""
        described = self._stored.meta["fidelity"]
        return () if described is None else tuple(described[1])

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name; the table does not say it for its columns."""
        found = dict.fromkeys(self._metric_names, "as in the table")
        if self.conversion.match == "nearest":
            found[DISTANCE] = "none, 0 for a row of the table"
            if self.conversion.columns.fidelity is not None:
                found[MATCHED_FIDELITY] = f"as {self.conversion.columns.fidelity}"
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
        data, columns = self._stored.data, self.conversion.columns
        values = data[columns.value]
        if columns.fidelity is not None:
            values = values[data[columns.fidelity] == self.fidelities[-1]]
        return float(min(value for value in values.tolist() if not math.isnan(value)))

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Look one configuration up; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration is not in the table (or, with match "nearest", outside the bounds), the fidelity or
            the seed is not allowed.
        DataMissingError
            The converted table is not there any more and cannot be made again.
        TrainingFailedError
            The table has no value for this training. It carries its `runtime` in seconds.
        """
        level = self._level(fidelity)
        codes = self._codes(config)
        if level is not None:
            codes.append(level)
        first, last = self._rows(codes)
        distance = 0.0
        if first == last:
            if self.conversion.match == "exact":
                raise self._not_there(config, codes)
            row, distance = self._nearest(codes, level)
            first, last = self._rows([column[row] for column in self._keys])
        if seed is None:
            numbers = self._means(first, last)
        else:
            row = first + check_seed(seed) % (last - first)
            numbers = [column[row] for column in self._numbers]
        if math.isnan(numbers[0]):
            raise TrainingFailedError(f"{self.label}: the training of {dict(config)!r} failed", numbers[1])
        metrics = dict(zip(self._metric_names, numbers[2:], strict=True))
        if self.conversion.match == "nearest":
            metrics[DISTANCE] = distance
            if level is not None:
                metrics[MATCHED_FIDELITY] = level
        return Evaluation(numbers[0], numbers[1], metrics)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where the numbers are, not the numbers."""
        return DataFrameBenchmark, (self.label, self.content, self.conversion)

    @cached_property
    def _stored(self) -> storage.Stored:
        path = storage.place(self.content)
        try:
            return storage.open_stored(path)
        except FileNotFoundError:
            pass
        except DamagedDataError as error:
            if self.conversion.path is None:
                raise
            warnings.warn(f"{error}; it is converted again", RuntimeWarning, stacklevel=3)
            path.unlink(missing_ok=True)
        if self.conversion.path is None:
            raise DataMissingError(
                f"{self.label}: the converted table {path} is not there any more; call from_dataframe again, or save "
                "the table as a Parquet file and give its path"
            )
        if self.conversion.key_of(None) != self.content:
            raise DataMissingError(
                f"{self.label}: the file {self.conversion.path} is not what it was when this benchmark was made of "
                "it; call from_dataframe again"
            )
        return storage.open_stored(path)

    @cached_property
    def _keys(self) -> list[memoryview]:
        """The columns by which the rows are sorted."""
        # A memoryview gives plain Python floats, and gives them faster than an array does.
        return [self._stored.data[name].data for name in self.conversion.columns.keys]

    @cached_property
    def _numbers(self) -> list[memoryview]:
        """Value, runtime and metrics."""
        columns = self.conversion.columns
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

    @cached_property
    def _metric_names(self) -> tuple[str, ...]:
        """What metrics are called."""
        return tuple(map(metric_name, self.conversion.columns.metrics))

    def _means(self, first: int, last: int) -> list[float]:
        """Return the means over the repetitions: the value over those that did not fail, if there are any."""
        values = [value for value in self._numbers[0][first:last] if not math.isnan(value)]
        others = [math.fsum(column[first:last]) / (last - first) for column in self._numbers[1:]]
        return [math.fsum(values) / len(values) if values else math.nan, *others]

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
        return float(levels[i - 1] if number - levels[i - 1] <= levels[i] - number else levels[i])

    def _codes(self, config: Config) -> list[float]:
        names = self.conversion.columns.params
        conditional = self._stored.meta["conditional"]
        if conditional and isinstance(config, Mapping):
            names = tuple(name for name in names if name in config or name not in conditional)
        if not isinstance(config, Mapping) or set(config) != set(names):
            check_names(config, names, self.label)
        return [
            self._code(name, config[name]) if name in config else INACTIVE for name in self.conversion.columns.params
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
        for name, code in zip(self.conversion.columns.params, codes, strict=False):
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
        for name, code in zip(self.conversion.columns.params, codes, strict=False):
            bounds = meta["scales"].get(name)
            if bounds is None or code == INACTIVE:
                total += data[name] != code
                continue
            difference = data[SCALED + name] - Scale(*bounds)(np.array([code]))
            if name in meta["conditional"]:  # one that is inactive here and not there differs by 1
                difference = np.where(np.isinf(difference), 1.0, difference)
            total += difference * difference
        if level is not None:
            total[data[str(self.conversion.columns.fidelity)] != level] = np.inf
        row = int(total.argmin())
        return row, math.sqrt(total[row])
