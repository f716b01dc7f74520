"""What of a search space reaches SMAC, and what comes back.

SMAC samples from a ConfigSpace itself, so it gets a copy of the benchmark's: every type of parameter, every prior,
condition and forbidden clause is what it was. A configuration of SMAC is translated from its vector into plain values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import config_from_vector, nearest_fidelity

if TYPE_CHECKING:
    from ConfigSpace import Configuration, ConfigurationSpace


def refuses_space(space: ConfigurationSpace) -> str | None:
    """Return what of the space SMAC cannot take, or None."""
    from ConfigSpace.hyperparameters import (
        BetaFloatHyperparameter,
        BetaIntegerHyperparameter,
        NormalFloatHyperparameter,
        NormalIntegerHyperparameter,
    )

    if not len(space):
        return "SMAC needs a parameter to sample and the space has none"
    weighted = (
        BetaFloatHyperparameter,
        BetaIntegerHyperparameter,
        NormalFloatHyperparameter,
        NormalIntegerHyperparameter,
    )
    # smac.utils.configspace.get_types raises a ValueError, which every facade needs.
    for name, parameter in space.items():
        if isinstance(parameter, weighted) and space.parents_of[name]:
            return f"SMAC takes no normal or beta parameter with a condition and {name!r} is {parameter}"
    return None


def plain_config(config: Configuration) -> dict[str, Any]:
    """Return a configuration of SMAC as the simulator takes it: active parameters with plain values."""
    return config_from_vector(config.config_space, config.get_array())


def fidelity_of(budget: float | None, fidelity: Any) -> float | None:
    """Return the benchmark's fidelity for a budget of SMAC's; None stays None."""
    return None if budget is None else nearest_fidelity(fidelity, budget)
