"""What every adapter needs of a ConfigSpace: plain values, seeded samples and the names of what it contains.

A configuration that reaches the simulator is a dictionary with the active parameters in the order of the
space and values of plain Python types, since NumPy scalars break Pyro and JSON and cost identity.
"""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

SAMPLES_AT_ONCE = 64
"""Configurations drawn in one go. Part of what a seed means: another number gives other configurations."""


ETA = 3
"""The reduction factor of every library unless another one is given."""
ENOUGH_RUNGS = 3
"""With fewer, a bracket optimizer compares hardly anything at lower fidelities."""


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python scalar that it is, anything else unchanged."""
    import numpy as np

    return value.item() if isinstance(value, np.generic) else value


def value_at(hyperparameter: Hyperparameter[Any, Any], vector: float) -> Any:
    """Return the plain value at a position in ConfigSpace's vector representation.

    ConfigSpace keeps choices in NumPy arrays, which turns `[1, 2.5]` into floats; here a choice is what the
    author of the space wrote. Nor are floats rounded to 13 decimals, as `Configuration` does, which leaves
    1e-10 three digits.
    """
    import numpy as np
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, Constant, OrdinalHyperparameter

    if isinstance(hyperparameter, Constant):
        return plain(hyperparameter.value)
    if isinstance(hyperparameter, CategoricalHyperparameter):
        return plain(hyperparameter.choices[round(vector)])
    if isinstance(hyperparameter, OrdinalHyperparameter):
        return plain(hyperparameter.sequence[round(vector)])
    return plain(hyperparameter.to_value(np.float64(vector)))


def nearest_fidelity(fidelity: Any, budget: float) -> float:
    """Return the fidelity of a benchmark's range that is nearest to a library's budget.

    Libraries divide the highest budget by powers of eta: 52 / 3 is no number of epochs, and 81 / 3**4 not always 1.0.

    Raises
    ------
    SpecificationError
        The benchmark has certain fidelities only, and the budget rounds to none of them: to train for 81 epochs where
        a library asked for 122 would be another experiment.
    """
    within = min(max(float(budget), fidelity.lower), fidelity.upper)
    nearest = float(round(within) if fidelity.integer else within)
    reason = between_fidelities(fidelity, [nearest])
    if reason is not None:
        raise SpecificationError(reason)
    return nearest


def between_fidelities(fidelity: Any, budgets: Iterable[float | None]) -> str | None:
    """Return which budget is none of a benchmark's fidelities, where it has certain ones only; None when all are."""
    values = getattr(fidelity, "values", None)
    for budget in budgets:
        if values is not None and budget is not None and budget not in values:
            return (
                f"the optimizer asks for {fidelity.name} {budget:g}, and the benchmark has only "
                f"{', '.join(f'{value:g}' for value in values)}; give another eta (or reduction factor) or fidelity "
                "range, or match='nearest' for a table of your own"
            )
    return None


def halving_budgets(fidelity: Any, lower: float, upper: float, eta: float) -> list[float]:
    """Return the budgets `upper / eta**k` that are not below `lower`, ascending, rounded as `nearest_fidelity` does.

    SMAC and DEHB compute the number of rungs like this, rounding of the logarithms included.
    """
    import numpy as np

    last = int(np.floor(np.log(upper / lower) / np.log(eta)))
    budgets = (upper * np.power(float(eta), -np.linspace(last, 0, last + 1))).tolist()
    return [float(round(budget) if fidelity.integer else budget) for budget in budgets]


def config_from_vector(space: ConfigurationSpace, vector: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the configuration of a vector of ConfigSpace, in which NaN marks an inactive parameter."""
    return {
        name: value_at(hyperparameter, position)
        for (name, hyperparameter), position in zip(space.items(), vector.tolist(), strict=True)
        if not math.isnan(position)
    }


def random_configs(space: ConfigurationSpace, seed: int) -> Iterator[dict[str, Any]]:
    """Yield configurations from the prior of the space for ever, respecting conditions and forbidden clauses.

    Parameters
    ----------
    space
        Not changed: a copy is seeded, since a ConfigSpace carries the state of its own random generator.
    seed
        An integer from 0 to 2**32 - 1; equal seeds give equal sequences.
    """
    space = copy.deepcopy(space)
    space.seed(seed)
    while True:
        for configuration in space.sample_configuration(SAMPLES_AT_ONCE):
            yield config_from_vector(space, configuration.get_array())


def configs_in(columns: Mapping[str, Sequence[Any]], space: ConfigurationSpace) -> Iterator[dict[str, Any]]:
    """Yield the configurations of a trace as the optimizer gave them, from its columns `config.*` by parameter.

    A column of a trace holds whole numbers as 3.0 where some rows have no value, and a mixture of types as JSON.
    """
    names = [name for name in space if name in columns] + [name for name in columns if name not in space]
    restored = [list(_restored(columns[name], space.get(name))) for name in names]
    for values in zip(*restored, strict=True):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not _ABSENT}


_ABSENT = object()


def _restored(values: Sequence[Any], hyperparameter: Hyperparameter[Any, Any] | None) -> Iterator[Any]:
    from ConfigSpace.hyperparameters import FloatHyperparameter, IntegerHyperparameter

    number: type[int | float] | None = None
    if isinstance(hyperparameter, IntegerHyperparameter | FloatHyperparameter):
        number = int if isinstance(hyperparameter, IntegerHyperparameter) else float
    allowed = [] if hyperparameter is None else choices(hyperparameter)
    distinct = {value: _from_json(value) for value in values if isinstance(value, str)}
    # A column of several types is JSON, a column of texts is not: then `1` is the text.
    is_json = len({type(value) for value in distinct.values()}) > 1
    for value in map(plain, values):
        if value is None or value != value:  # noqa: PLR0124 - NaN, of any type
            yield None if None in allowed else _ABSENT
        elif number is not None and not isinstance(value, str):
            yield number(value)
        else:
            readings = [value, distinct.get(value, value)] if isinstance(value, str) else [value]
            yield _as_written(readings[::-1] if is_json else readings, allowed)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def choices(hyperparameter: Hyperparameter[Any, Any]) -> list[Any]:
    """Return the plain values of a constant, a categorical or an ordinal one; none of a range of numbers."""
    from ConfigSpace.hyperparameters import CategoricalHyperparameter, Constant, OrdinalHyperparameter

    if isinstance(hyperparameter, Constant):
        return [plain(hyperparameter.value)]
    if isinstance(hyperparameter, CategoricalHyperparameter):
        return [plain(choice) for choice in hyperparameter.choices]
    if isinstance(hyperparameter, OrdinalHyperparameter):
        return [plain(choice) for choice in hyperparameter.sequence]
    return []


def _as_written(readings: Sequence[Any], allowed: Sequence[Any]) -> Any:
    """Return the choice that one of the readings of a trace's value is; the first reading when none is one."""
    for reading in readings:
        for choice in allowed:
            if type(choice) is type(reading) and choice == reading:
                return choice
    for reading in readings:  # whole numbers beside missing values or fractions
        for choice in allowed:
            if choice == reading and not isinstance(choice, bool):
                return choice
    return readings[0]
