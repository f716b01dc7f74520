"""The parameters of SMAC's optimizers: which part of a facade takes each, and which values make sense.

SMAC looks at hardly any of them before the run has begun, and knowing them here saves the two seconds that importing
it takes. Left out are those without effect on one objective that is evaluated once for every configuration, such as
`max_config_calls`. A test compares the table with the signatures in SMAC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that a parameter may have."""

    allowed: str
    """What they are, in words."""
    accepts: Callable[[Any], bool]
    """Tells whether a value is one of them."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integer_from(least: int) -> Kind:
    return Kind(f"an integer of at least {least}", lambda value: _is_integer(value) and value >= least)


def _one_of(*values: str) -> Kind:
    return Kind("one of " + ", ".join(map(repr, values)), lambda value: value in values)


COUNT = _integer_from(1)
NUMBER = Kind("a finite number", _is_number)
NOT_NEGATIVE = Kind("a number of at least 0", lambda value: _is_number(value) and value >= 0)
SHARE = Kind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
POSITIVE_SHARE = Kind("a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))

SCENARIO = {"crash_cost": NUMBER}
SELECTOR = {"retrain_after": COUNT, "retries": COUNT, "min_trials": COUNT}
DESIGN = {"n_configs": COUNT, "n_configs_per_hyperparameter": COUNT, "max_ratio": POSITIVE_SHARE}
FOREST = {
    "n_trees": COUNT,
    "ratio_features": POSITIVE_SHARE,
    "min_samples_split": _integer_from(2),
    "min_samples_leaf": COUNT,
    "max_depth": COUNT,
    "bootstrapping": TRUTH,
}
HYPERBAND = {
    "eta": _integer_from(2),
    "incumbent_selection": _one_of("highest_observed_budget", "highest_budget", "any_budget"),
}
MODEL_BASED = {
    "scenario": SCENARIO,
    "config_selector": SELECTOR,
    "initial_design": DESIGN,
    "acquisition_function": {"xi": NOT_NEGATIVE},
    "acquisition_maximizer": {"challengers": COUNT, "local_search_iterations": COUNT},
    "random_design": {"probability": SHARE},
}

PARAMETERS: Mapping[str, Mapping[str, Mapping[str, Kind]]] = {
    "smac-hpo": {**MODEL_BASED, "model": FOREST},
    "smac-blackbox": {**MODEL_BASED, "model": {"model_type": _one_of("vanilla", "mcmc")}},
    "smac-mf": {**MODEL_BASED, "model": FOREST, "intensifier": HYPERBAND},
    "smac-hyperband": {"scenario": SCENARIO, "config_selector": SELECTOR, "intensifier": HYPERBAND},
}
"""By optimizer, then by the part of SMAC's facade that takes them, as the facade's constructor calls it."""


def check(optimizer: str, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the optimizer does not have, and values that it cannot use.

    Raises
    ------
    SpecificationError
        The message names the parameter, the value and what is allowed.
    """
    kinds = {name: kind for part in PARAMETERS[optimizer].values() for name, kind in part.items()}
    unknown = sorted(parameters.keys() - kinds.keys())
    if unknown:
        raise SpecificationError(
            f"{optimizer!r} was given {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(kinds))} (its seed "
            "is derived from the run's)"
        )
    for name, value in parameters.items():
        if not kinds[name].accepts(value):
            raise SpecificationError(f"{optimizer!r} was given {name}={value!r}; it must be {kinds[name].allowed}")


def of_part(optimizer: str, part: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parameters that a part of the facade takes."""
    names = PARAMETERS[optimizer].get(part, {})
    return {name: value for name, value in parameters.items() if name in names}
