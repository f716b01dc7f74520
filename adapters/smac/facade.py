"""Builds SMAC's facades for a run, with what both modes change about them: nothing that decides anything.

* The objective's noise belongs to the configuration (its seed is derived from it), so a second evaluation of the same
  configuration would repeat the first: the scenario is `deterministic`.
* `n_trials` is the budget of evaluations, so that SMAC stops by itself; a budget of time has none.
* The forest trains and predicts with one thread: its own choice, all cores, takes twice as long for the same result.
* When a space has no new configuration, SMAC 2.4.1 raises `ConfigurationSpaceExhaustedException` out of the loop of
  `optimize` and loses the results that are pending. `EndingSelector` ends the stream of configurations instead, for
  which intensifiers and loop are made: they finish what is running.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import joblib
from smac import BlackBoxFacade, HyperbandFacade, HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario
from smac.main.config_selector import ConfigSelector
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory import StatusType, TrialValue

from zerowait.adapters.smac.parameters import PARAMETERS, of_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ConfigSpace import Configuration
    from smac.facade.abstract_facade import AbstractFacade
    from smac.runner.abstract_runner import AbstractRunner

    from zerowait.adapters.adapter import Run
    from zerowait.suite.rules.evaluation import Evaluation

FACADES: Mapping[str, type[AbstractFacade]] = {
    "smac-hpo": HyperparameterOptimizationFacade,
    "smac-blackbox": BlackBoxFacade,
    "smac-mf": MultiFidelityFacade,
    "smac-hyperband": HyperbandFacade,
}
"""SMAC's facade of each optimizer."""

NO_LIMIT = 2**31 - 1
"""Trials of a run that only a simulated time ends."""


class EndingSelector(ConfigSelector):
    """A config selector whose stream of configurations ends when the space has no new one; see the module."""

    def __iter__(self) -> Iterator[Configuration]:
        try:
            yield from super().__iter__()
        except ConfigurationSpaceExhaustedException:
            return


def make_scenario(run: Run, settings: Mapping[str, Any], folder: Path) -> Scenario:
    """Return the scenario of a run, whose files SMAC writes into `folder`."""
    fidelity = run.benchmark.fidelity
    return Scenario(
        copy.deepcopy(run.benchmark.space),  # SMAC seeds it and draws from its random generator
        name="smac",
        output_directory=folder,
        deterministic=True,
        crash_cost=float(settings["crash_cost"]),
        n_trials=int(min(NO_LIMIT, run.budget.most_evaluations)),
        min_budget=None if fidelity is None else fidelity.lower,
        max_budget=None if fidelity is None else fidelity.upper,
        seed=run.optimizer_seed,
    )


def make_facade(
    optimizer: str, scenario: Scenario, settings: Mapping[str, Any], runner: AbstractRunner | None
) -> AbstractFacade:
    """Return SMAC's facade of an optimizer.

    Parameters
    ----------
    optimizer
        One of `FACADES`.
    scenario
        What it optimizes, and with which seed.
    settings
        Values of `smac_parameters.PARAMETERS`, those of the config selector complete.
    runner
        Evaluates; None when the facade is only asked and told.
    """
    facade = FACADES[optimizer]
    parts = {
        part: getattr(facade, f"get_{part}")(scenario, **of_part(optimizer, part, settings))
        for part in PARAMETERS[optimizer]
        if part not in {"scenario", "config_selector"}
    }
    selector = EndingSelector(
        scenario,
        retrain_after=settings["retrain_after"],
        max_new_config_tries=settings["retries"],
        min_trials=settings["min_trials"],
    )
    return facade(scenario, runner, **parts, config_selector=selector, logging_level=False, overwrite=True)


def succeeded(evaluation: Evaluation) -> TrialValue:
    """Return the result of an evaluation as SMAC takes it, with simulated times in seconds."""
    return TrialValue(
        cost=evaluation.value,
        time=evaluation.runtime,
        status=StatusType.SUCCESS,
        starttime=evaluation.start,
        endtime=evaluation.end,
    )


def crashed(error: Exception, scenario: Scenario) -> TrialValue:
    """Return what SMAC makes of an exception of the objective: a crashed trial that costs `crash_cost`."""
    return TrialValue(cost=scenario.crash_cost, status=StatusType.CRASHED, additional_info={"error": repr(error)})


_quiet_lock = threading.Lock()
_quiet_runs = 0
_level = logging.NOTSET


@contextmanager
def quiet() -> Iterator[None]:
    """Silence SMAC's loggers and the warnings of its models; use one thread for the forest.

    With several runs at once, the last one to end restores the loggers.
    """
    global _quiet_runs, _level  # noqa: PLW0603 - the logger is as global as this count of its users
    logger = logging.getLogger("smac")
    with _quiet_lock:
        if _quiet_runs == 0:
            _level = logger.level
            logger.setLevel(logging.CRITICAL + 1)
        _quiet_runs += 1
    try:
        with warnings.catch_warnings(), joblib.parallel_config(backend="sequential"):
            warnings.simplefilter("ignore")
            yield
    finally:
        with _quiet_lock:
            _quiet_runs -= 1
            if _quiet_runs == 0:
                logger.setLevel(_level)
