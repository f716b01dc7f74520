"""What not waiting saves: the energy of workers that would have slept, and its CO2, with the assumptions in words.

A run that really sleeps keeps P workers reserved for its whole simulated time. That is P times the makespan in
worker-seconds, from which the real seconds of the simulated run are taken off. Two numbers turn them into energy and
CO2; neither is known for anybody's machines, so they are printed with every result and can be set by environment
variables.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.grid.runner import Summary

WATTS_PER_WORKER = 10.0
"""Of a reserved core that only waits. An assumption; for comparison, an idle server with 12 cores was measured at
about 140 W, which is 12 W a core (ICCLab, ZHAW, 2014, "Understanding how server energy consumption varies with CPU
bound workload")."""
GRAMS_CO2_PER_KWH = 481.0
"""World average of electricity generation in 2023 (Ember, 3 July 2024, as given by Statista, statistic 943137)."""
WATTS_VARIABLE, GRAMS_VARIABLE = "ZEROWAIT_WATTS_PER_WORKER", "ZEROWAIT_GRAMS_CO2_PER_KWH"

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the energy of waiting is computed from."""

    watts_per_worker: float = WATTS_PER_WORKER
    """W of a worker that waits."""
    grams_per_kwh: float = GRAMS_CO2_PER_KWH
    """g of CO2 for each kWh of electricity."""

    @classmethod
    def of_environment(cls) -> Assumptions:
        """Return what the environment variables say, else the defaults.

        Raises
        ------
        SpecificationError
            A variable is no number, or negative.
        """
        return cls(_number(WATTS_VARIABLE, WATTS_PER_WORKER), _number(GRAMS_VARIABLE, GRAMS_CO2_PER_KWH))

    def __str__(self) -> str:
        return (
            f"assuming {self.watts_per_worker:g} W for each waiting worker and {self.grams_per_kwh:g} g CO2 per kWh; "
            f"set {WATTS_VARIABLE} and {GRAMS_VARIABLE} to yours"
        )


@dataclass(frozen=True, slots=True)
class Saving:
    """What was saved."""

    kwh: float
    """Electric energy in kWh."""
    grams: float
    """CO2 in g."""


def saving(worker_seconds: float, real_seconds: float, assumptions: Assumptions) -> Saving:
    """Return what is saved by computing for `real_seconds` on a core, where `worker_seconds` would have been slept."""
    kwh = max(0.0, worker_seconds - real_seconds) * assumptions.watts_per_worker / JOULES_PER_KWH
    return Saving(kwh, kwh * assumptions.grams_per_kwh)


def energy_lines(summary: Summary, cells: Sequence[Cell]) -> list[str]:
    """Return what the cells that ran now have saved, and the assumption; nothing when nothing was saved.

    Raises
    ------
    SpecificationError
        An environment variable of the assumptions is no number.
    """
    assumptions = Assumptions.of_environment()
    workers = {cell.key: cell.n_workers for cell in cells}
    worker_seconds = math.fsum(outcome.makespan * workers[outcome.key] for outcome in summary.outcomes)
    saved = saving(worker_seconds, math.fsum(outcome.seconds for outcome in summary.outcomes), assumptions)
    if not saved.kwh:
        return []
    years = worker_seconds / (365.25 * 86400)
    waited = f"{years:,.2f} worker-years" if years >= 1 else f"{worker_seconds / 3600:,.1f} worker-hours"
    return [f"not slept: {waited}, {energy(saved.kwh)}, {mass(saved.grams)} CO2 ({assumptions})"]


def energy(kwh: float) -> str:
    """Return an energy in a unit that suits it."""
    return _scaled(kwh * 1000, "Wh", "kWh", "MWh")


def mass(grams: float) -> str:
    """Return a mass in a unit that suits it."""
    return _scaled(grams, "g", "kg", "t")


def _scaled(value: float, *units: str) -> str:
    for unit in units[:-1]:
        if value < 1000:  # noqa: PLR2004 - the step from one unit to the next
            return f"{value:,.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} {units[-1]}" if value < 1000 else f"{value:,.0f} {units[-1]}"  # noqa: PLR2004


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise SpecificationError(f"{variable} is {text!r}; it must be a number of 0 or more: correct or unset it")
    return number
