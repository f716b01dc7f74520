"""A search space that is given with a table: read, compared with the columns, and refused unless it can be answered."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ConfigSpace import ConfigurationSpace
from ConfigSpace.hyperparameters import FloatHyperparameter, IntegerHyperparameter, NumericalHyperparameter
from ConfigSpace.util import generate_grid

from zerowait.benchmarks.own_table.cells import INACTIVE
from zerowait.benchmarks.own_table.columns import Columns, Meaning, shown_list
from zerowait.benchmarks.own_table.rows import Sorted, Table, sorted_rows
from zerowait.benchmarks.own_table.space import Match, distinct, require_every_combination
from zerowait.benchmarks.protocol import as_float
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.sharing.regular_files import LARGEST_JSON, read_regular_file

MOST_CONFIGURATIONS = 20_000
"""So many configurations of a space with conditions are looked up one by one; of a larger one, so many samples."""


def given_space(space: Any) -> ConfigurationSpace:
    """Return a space that is given as such or as a JSON file of ConfigSpace; raises `SpecificationError`."""
    if isinstance(space, ConfigurationSpace):
        return space
    if not isinstance(space, str | Path):
        raise SpecificationError(f"space is {space!r}; it must be a ConfigurationSpace or the path of its JSON")
    try:
        data = read_regular_file(Path(space), at_most=LARGEST_JSON, follow_links=True)
        return ConfigurationSpace.from_serialized_dict(json.loads(data))
    except OSError as error:
        raise SpecificationError(f"the space {space} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - ConfigSpace raises whatever its parts do
        what = f"{type(error).__name__}: {error}"
        raise SpecificationError(f"{space} is not a space that ConfigurationSpace.to_json wrote: {what}") from None


def rows_within(space: ConfigurationSpace, table: Table, columns: Columns, meaning: Meaning, match: Match) -> Sorted:
    """Return the rows of a table that a given space can ask for, or raise `SpecificationError` where they differ."""
    for name in columns.params:
        if name not in space:
            has = shown_list(", ".join(space)) or "no parameters"
            raise SpecificationError(f"the space has no {name!r}, which is one of params; it has {has}")
    for name in space:
        if name not in columns.params:
            raise SpecificationError(f"the space has {name!r}, which is not one of params; add its column there")
    found = sorted_rows(table, columns, meaning, conditional_parameters(space))
    kinds = dict(found.kinds)
    for name, kind in found.kinds.items():
        if isinstance(space[name], NumericalHyperparameter) and kind not in ("integer", "real"):
            raise SpecificationError(
                f"the space says that {name!r} is a range of numbers, but its column holds values of the kind "
                f"{kind!r}; correct one of them"
            )
        if isinstance(space[name], FloatHyperparameter):
            kinds[name] = "real"  # also where all of its numbers are whole
    return _within(space, replace(found, kinds=kinds), columns, match)


def conditional_parameters(space: ConfigurationSpace) -> frozenset[str]:
    """Return the parameters that not every configuration has."""
    return frozenset(space) - frozenset(space.unconditional_hyperparameters)


def _within(space: ConfigurationSpace, table: Sorted, columns: Columns, match: Match) -> Sorted:
    """Return the rows that a space can ask for; an error names a value or combination of values that no row answers."""
    allowed = {name: _codes_of(space[name], table, match) for name in columns.params}
    if match == "nearest":
        return table
    inside = np.ones(len(table.data[columns.value]), dtype=bool)
    for name, codes in allowed.items():
        inside &= np.isin(table.data[name], [*codes, INACTIVE])
    table = table.only(inside)
    if not inside.any():
        raise SpecificationError("no row lies in the given space; correct the space")
    if space.conditions or space.forbidden_clauses:
        _look_up_all(space, table, columns)
    else:
        require_every_combination(table, columns, "the values in the given space", "or narrow the space")
    return table


def _codes_of(hyperparameter: Any, table: Sorted, match: Match) -> set[float]:
    """Return the codes of all values that a parameter of the space can have; of a range for "nearest", none."""
    name = hyperparameter.name
    kind, texts = table.kinds[name], table.categories.get(name, [])
    column = table.data[name]
    codes = set(column[column != INACTIVE].tolist())
    has = shown_list(", ".join(map(repr, distinct(column, kind, texts))))
    if isinstance(hyperparameter, FloatHyperparameter | IntegerHyperparameter):
        if match == "nearest":
            return set()
        lower, upper = hyperparameter.lower, hyperparameter.upper
        if isinstance(hyperparameter, FloatHyperparameter):
            raise SpecificationError(
                f"the space has any number from {lower} to {upper} for {name!r}, and with match='exact' the "
                f"table answers only {has}; take match='nearest', or make the parameter an ordinal of these"
            )
        values: Any = range(int(lower), int(upper) + 1)
    else:
        values = getattr(hyperparameter, "choices", None) or getattr(hyperparameter, "sequence", None)
        values = [hyperparameter.value] if values is None else values
    found = set()
    bounds = (min(codes), max(codes))
    for value in values:
        plain = _plain(value)
        code = _code_of(plain, kind, texts)
        is_between = kind in ("integer", "real") and match == "nearest" and code is not None
        if code is None or not (bounds[0] <= code <= bounds[1] if is_between else code in codes):
            hint = ", or name the column in categorical" if isinstance(plain, str) and kind != "category" else ""
            raise SpecificationError(
                f"the space has the value {shown(plain)} for {name!r}, which no row answers: its column holds "
                f"{has}; correct the space{hint}"
            )
        found.add(code)
    return found


def _code_of(value: Any, kind: str, texts: list[str]) -> float | None:
    if kind == "category":
        return float(texts.index(value)) if isinstance(value, str) and value in texts else None
    if kind == "boolean":
        return float(value) if isinstance(value, bool) else None
    number = as_float(value)
    if number is None or math.isnan(number) or (kind == "integer" and not number.is_integer()):
        return None
    return number + 0.0


def _look_up_all(space: ConfigurationSpace, table: Sorted, columns: Columns) -> None:
    """Look up every configuration of a space with conditions or forbidden clauses, at every fidelity."""
    names = list(columns.params)
    stacked = np.stack([table.data[name] for name in names], axis=1)
    rows = {tuple(row) for row in stacked.tolist()}
    levels: Counter[tuple[float, ...]] = Counter()
    n_levels = 1
    if columns.fidelity is not None:
        pairs = np.unique(np.column_stack([stacked, table.data[columns.fidelity]]), axis=0)
        n_levels = len(np.unique(pairs[:, -1]))
        levels.update(map(tuple, pairs[:, :-1].tolist()))
    for configuration in _configurations(space):
        config = dict(configuration)
        codes = tuple(  # every value of the space was found in its column before
            cast("float", _code_of(_plain(config[name]), table.kinds[name], table.categories.get(name, [])))
            if name in config
            else INACTIVE
            for name in names
        )
        if codes not in rows or (levels and levels[codes] < n_levels):
            where = "" if codes not in rows else f" at every {columns.fidelity}"
            named = {name: _plain(value) for name, value in config.items()}
            raise SpecificationError(
                f"the table has no row for {shown(named)}{where}, which the given space allows; add it, "
                "narrow the space, or take match='nearest'"
            )


def _configurations(space: ConfigurationSpace) -> Iterable[Mapping[str, Any]]:
    """Return every configuration, or of very many a sample that is always the same."""
    # On a logarithmic scale ConfigSpace's grid leaves integers out.
    described = space.to_serialized_dict()
    for parameter in described["hyperparameters"]:
        parameter.update({"log": False} if "log" in parameter else {})
    linear = ConfigurationSpace.from_serialized_dict(described)
    if linear.estimate_size() <= MOST_CONFIGURATIONS:
        parameters: dict[str, Any] = dict(linear)  # only some kinds have bounds
        ranges = {name: int(p.upper - p.lower + 1) for name, p in parameters.items() if hasattr(p, "lower")}
        with contextlib.suppress(TypeError):  # raised where a range is not uniform
            return generate_grid(linear, ranges)
    linear.seed(0)
    return linear.sample_configuration(MOST_CONFIGURATIONS)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
