"""The search space over a user's own table: inferred from its columns, or given and compared with them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zerowait.benchmarks.own_table.cells import INACTIVE, Column, Kind
from zerowait.benchmarks.own_table.columns import Columns, shown_list
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from zerowait.benchmarks.own_table.rows import Sorted

Match = Literal["exact", "nearest"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of a parameter become distances: `lower` is at 0 and `upper` at 1."""

    lower: float
    upper: float
    log: bool

    def __call__(self, numbers: Column) -> Column:
        """Return the positions of some numbers; all are 0 when there is only one value."""
        import numpy as np

        if self.lower == self.upper:
            return np.zeros_like(numbers)
        if not self.log:
            return (numbers - self.lower) / (self.upper - self.lower)
        first, last = np.log(np.array([self.lower, self.upper]))
        return np.asarray((np.log(numbers) - first) / (last - first), dtype=np.float64)


def inferred_space(table: Sorted, columns: Columns, match: Match, log: tuple[str, ...]) -> Any:
    """Return the search space that the values of a table span.

    | column | exact | nearest |
    |---|---|---|
    | texts | categorical, sorted | the same |
    | booleans | categorical, False first | the same |
    | integers | uniform if none is left out between the least and the greatest, else ordinal | uniform |
    | other numbers | ordinal | uniform |
    | one value only | constant | constant |

    Parameters
    ----------
    table
        The rows.
    columns
        What each column is.
    match
        How configurations are looked up.
    log
        The parameters whose scale is logarithmic; only with match "nearest".
    """
    from ConfigSpace import ConfigurationSpace

    _check_log(table, columns, match, log)
    space = ConfigurationSpace(seed=0)
    for name in columns.params:
        values = distinct(table.data[name], table.kinds[name], table.categories.get(name, []))
        try:
            space.add(_hyperparameter(name, values, table.kinds[name], match, log=name in log))
        except (ValueError, TypeError) as error:  # bounds that are equal once they are rounded, and the like
            raise SpecificationError(
                f"ConfigSpace takes no parameter {name!r} with the values of its column: {error}; give a space"
            ) from error
    if match == "exact":
        require_every_combination(table, columns)
    return space


def distinct(column: Column, kind: Kind, texts: list[str]) -> list[Any]:
    """Return the values of a sorted table's parameter as plain Python values, in increasing order."""
    import numpy as np

    codes = np.unique(column[column != INACTIVE])
    if kind == "category":
        return [texts[int(code)] for code in codes]
    values: list[Any] = codes.astype({"boolean": bool, "integer": int, "real": float}[kind]).tolist()
    return values


def _hyperparameter(name: str, values: list[Any], kind: Kind, match: Match, *, log: bool) -> Any:
    from ConfigSpace import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    if len(values) == 1:
        return Constant(name, values[0])
    if kind in ("category", "boolean"):
        return CategoricalHyperparameter(name, values)
    if kind == "integer" and (match == "nearest" or len(values) == values[-1] - values[0] + 1):
        return UniformIntegerHyperparameter(name, values[0], values[-1], log=log)
    if match == "nearest":
        return UniformFloatHyperparameter(name, values[0], values[-1], log=log)
    return OrdinalHyperparameter(name, values)


def _check_log(table: Sorted, columns: Columns, match: Match, log: tuple[str, ...]) -> None:
    for name in log:
        if name not in columns.params:
            raise SpecificationError(f"log has {name!r}, which is not one of params: {', '.join(columns.params)}")
        if match == "exact":
            raise SpecificationError(f"log has {name!r}, but scales matter only with match='nearest'; leave it out")
        least = float(table.data[name].min())
        if table.kinds[name] not in ("integer", "real") or least <= 0.0:
            raise SpecificationError(f"log has {name!r}, whose values are not all positive numbers; leave it out")


def require_every_combination(
    table: Sorted,
    columns: Columns,
    whose: str = "its values",
    remedy: str = "take match='nearest', or give a space",
) -> None:
    """Raise an error naming the first combination of values that no row has: an optimizer may choose any."""
    import numpy as np

    names = columns.keys
    values = [np.unique(table.data[name]) for name in names]
    size = math.prod(map(len, values))
    rows = np.stack([np.searchsorted(v, table.data[name]) for name, v in zip(names, values, strict=True)])
    new = np.ones(rows.shape[1], dtype=bool)
    new[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)  # sorted, so equal ones are neighbours
    n_present = int(new.sum())
    if n_present == size:
        return
    # Object integers, because the numbers of combinations of free floats have no bound.
    ranks = np.zeros(n_present, dtype=object)
    for row, v in zip(rows[:, new], values, strict=True):
        ranks = ranks * len(v) + row.astype(object)
    gap = np.flatnonzero(ranks != np.arange(n_present))
    rank = int(gap[0]) if len(gap) else n_present
    missing: dict[str, Any] = {}
    for name, v in zip(reversed(names), reversed(values), strict=True):
        rank, index = divmod(rank, len(v))
        kind, texts = table.kinds.get(name, "real"), table.categories.get(name, [])
        missing[name] = distinct(v, kind, texts)[index]
    first = ", ".join(f"{name}={missing[name]!r}" for name in names)
    raise SpecificationError(
        f"the table has {n_present} of the {size} combinations of {whose}, and an optimizer may ask for "
        f"any; the first one missing is {shown_list(first)}; add the rows, {remedy}"
    )


def scales(space: ConfigurationSpace, table: Sorted) -> dict[str, Scale]:
    """Return the scale of every number: from the bounds of the space, else from the values in the table."""
    found = {}
    for name, kind in table.kinds.items():
        if kind not in ("integer", "real"):
            continue
        values = table.data[name][table.data[name] != INACTIVE]
        lower, upper = float(values.min()), float(values.max())
        hyperparameter: Any = space[name]  # only some kinds have bounds, and only some of these a scale
        if all(hasattr(hyperparameter, bound) for bound in ("lower", "upper")):
            first, last = float(hyperparameter.lower), float(hyperparameter.upper)
            # ConfigSpace rounds bounds, to 13 decimals, which may leave the least value of the table outside.
            if not (_at_most(first, lower) and _at_most(upper, last)):
                raise SpecificationError(
                    f"the table has {name!r} from {lower:g} to {upper:g}, but the space only from "
                    f"{hyperparameter.lower} to {hyperparameter.upper}; drop those rows, or widen the space"
                )
            lower, upper = min(first, lower), max(last, upper)
        found[name] = Scale(lower, upper, bool(getattr(hyperparameter, "log", False)))
    return found


def _at_most(one: float, other: float) -> bool:
    return one <= other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def space_as_text(space: ConfigurationSpace) -> str:
    """Return a space as JSON."""
    return json.dumps(space.to_serialized_dict(), sort_keys=True)


def space_from_text(text: str) -> ConfigurationSpace:
    """Return the space that `space_as_text` described."""
    from ConfigSpace import ConfigurationSpace

    space: ConfigurationSpace = ConfigurationSpace.from_serialized_dict(json.loads(text))
    return space
