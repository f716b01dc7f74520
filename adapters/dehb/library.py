"""DEHB with its edges trimmed: no global logger, an end at the simulator's budget, and errors that are raised.

From the source of DEHB 0.1.2, with what is done about it:

* The constructor replaces all handlers of loguru's one logger and opens a log file in a thread. `QuietDEHB` gives it
  a logger of the standard library, "zerowait.dehb".
* `run` is wrapped in loguru's `@logger.catch`, so an error ends the run, which returns None as if nothing had
  happened. `SimulatedDEHB.optimize` calls the function inside the wrapper.
* `run(fevals=N)` submits up to P - 1 jobs more than N and leaves them alone. `SimulatedDEHB` submits N.
* Infinity is the fitness of what has not been evaluated: a rung of which no configuration has a finite fitness ends
  the run with an IndexError. A failed evaluation has the greatest finite fitness instead; DEHB only compares them.
* Exponential crossover changes the parent in place, so the id of a configuration may stand for several; they are then
  identified by their values.
* A position on the border of the unit cube, where `boundary_fix_type="clip"` puts many, may become a value one rounding
  error beside its bound, or a choice behind the last one, either of which ends the run. `QuietDEHB` moves it inwards.
* `min_clip` and `max_clip` turn sizes into NumPy integers, of which ConfigSpace draws no sample.
* Keyword arguments of `run` are scattered under their bare names, so that a second run on the same cluster finds the
  values of the first. None are given to `run`; the id travels with its job.

With P > 1 workers, one loop asks, submits to Dask and collects. After start-up the simulator delivers one result at a
time, and the next one only when the freed slot has a new call: the loop sees one finished job, tells it, asks and
submits, as ask-and-tell does. At the start each job waits until the one before has claimed its slot.
"""

from __future__ import annotations

import copy
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dehb import DEHB  # type: ignore[import-untyped]

from zerowait.adapters.spaces import config_from_vector, nearest_fidelity
from zerowait.adapters.start_up import wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ConfigSpace import Configuration, ConfigurationSpace
    from ConfigSpace.hyperparameters import UniformFloatHyperparameter
    from distributed import Client

    from zerowait.adapters.adapter import Run
    from zerowait.suite.rules.budget import Budget
    from zerowait.suite.simulator import Simulator

FAILED = sys.float_info.max
"""The fitness of an evaluation that failed."""

_REFUSED = "refused"
_EPSILON, _MIDDLE = sys.float_info.epsilon, 0.5
_LAST = 1.0 - 1e-9  # falls to the last of any number of choices


@dataclass(frozen=True, slots=True)
class Translation:
    """What DEHB calls a job, in the words of a query."""

    fidelity: Any
    """The benchmark's range of fidelities."""
    identified: bool
    """Whether DEHB's ids identify configurations."""

    def query(self, configuration: Configuration, fidelity: float, config_id: int) -> Query:
        """Return what is to be evaluated."""
        return Query(
            config_from_vector(configuration.config_space, configuration.get_array()),
            nearest_fidelity(self.fidelity, fidelity),
            str(int(config_id)) if self.identified else None,
        )


def inwards(space: ConfigurationSpace, vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a vector of DEHB, of positions from 0 to 1, without those whose values DEHB's formulas make illegal."""
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
    )

    legal = vector.copy()
    for index, parameter in enumerate(space.values()):
        if isinstance(parameter, UniformFloatHyperparameter):
            step = _EPSILON if legal[index] < _MIDDLE else -_EPSILON
            while not parameter.lower <= _value(parameter, legal[index]) <= parameter.upper:
                legal[index] += step
                step *= 2
        elif isinstance(parameter, CategoricalHyperparameter | OrdinalHyperparameter):
            legal[index] = min(legal[index], _LAST)
    return legal


def _value(parameter: UniformFloatHyperparameter, position: float) -> float:
    """Return the value that DEHB computes (`DEBase.vector_to_configspace`)."""
    lower, upper = parameter.lower, parameter.upper
    if parameter.log:
        return float(np.exp(np.log(lower) + position * (np.log(upper) - np.log(lower))))
    return float(lower + (upper - lower) * position)


class QuietDEHB(DEHB):  # type: ignore[misc]
    """DEHB that writes no log file, leaves loguru alone, and gives ConfigSpace what it takes."""

    def _get_next_iteration(self, iteration: int) -> tuple[list[int], np.ndarray[Any, Any]]:
        sizes, fidelities = super()._get_next_iteration(iteration)
        return [int(size) for size in sizes], fidelities

    def _acquire_config(self, bracket: Any, fidelity: float) -> tuple[np.ndarray[Any, Any], int, int]:
        vector, config_id, parent_id = super()._acquire_config(bracket, fidelity)
        return inwards(self.cs, vector), config_id, parent_id  # its repository keeps the vector as it was

    def _setup_logger(self, resume: bool, kwargs: Mapping[str, Any]) -> None:  # noqa: ARG002, FBT001 - DEHB's interface
        self.output_path = Path(kwargs["output_path"])
        self.log_filename = "the logger 'zerowait.dehb'"
        self.logger = logging.getLogger("zerowait.dehb")


def dehb_options(parameters: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the keyword arguments of DEHB for a run, except those that concern workers."""
    fidelity = run.benchmark.fidelity
    return {
        "min_fidelity": fidelity.lower,
        "max_fidelity": fidelity.upper,
        **parameters,
        "cs": copy.deepcopy(run.benchmark.space),  # DEHB seeds it, and draws from it
        "seed": run.optimizer_seed,
        "save_freq": "end",  # the trace has it all
    }


@dataclass(frozen=True, slots=True)
class JobQuery(Query):
    """A query that remembers the job it came from."""

    job: Any = None
    """What DEHB is told again."""


class AskTellDEHB:
    """DEHB with the interface of the simulator.

    Parameters
    ----------
    dehb
        Decides what is next.
    translation
        Makes queries of its jobs.
    """

    def __init__(self, dehb: DEHB, translation: Translation) -> None:
        self._dehb = dehb
        self._translation = translation

    def ask(self) -> JobQuery:
        """Return the query of DEHB's next job."""
        job = self._dehb.ask()
        query = self._translation.query(job["config"], job["fidelity"], job["config_id"])
        return JobQuery(query.config, query.fidelity, query.config_id, job)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Tell the job's fitness and cost."""
        self._tell(query, evaluation.value, evaluation.runtime)

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Tell the worst fitness; an error of the run itself is none of the job's."""
        if isinstance(error, ZerowaitError):
            raise error
        self._tell(query, FAILED, 0.0)

    def _tell(self, query: Query, fitness: float, cost: float) -> None:
        assert isinstance(query, JobQuery)
        self._dehb.tell(query.job, {"fitness": fitness, "cost": cost})
        self._dehb._clean_inactive_brackets()  # noqa: SLF001 - as `run` does; what is done would be visited for ever


@dataclass(frozen=True, slots=True)
class Objective:
    """The simulator in the form that DEHB calls, in its own process or in one of Dask's."""

    simulator: Simulator
    """Evaluates, and returns when the result is due."""
    translation: Translation
    """Makes queries of DEHB's jobs."""

    def __call__(self, config: Configuration, fidelity: float, config_id: int) -> dict[str, Any]:
        """Return fitness and cost, or that the simulator refused the evaluation."""
        query = self.translation.query(config, fidelity, config_id)
        try:
            evaluation = self.simulator(query.config, query.fidelity, query.config_id)
        except BudgetExhausted:
            return {"fitness": FAILED, "cost": 0.0, "info": {_REFUSED: True}}
        except ZerowaitError:
            raise
        except Exception:  # noqa: BLE001 - a failed training is recorded by the simulator
            return {"fitness": FAILED, "cost": 0.0}
        return {"fitness": evaluation.value, "cost": evaluation.runtime}


class SimulatedDEHB(QuietDEHB):
    """DEHB whose run ends with the simulator's budget.

    Parameters
    ----------
    simulator
        Evaluates.
    translation
        Makes queries of DEHB's jobs.
    client
        Its workers' processes call the simulator; None evaluates in this process, one job at a time.
    budget
        As many jobs are submitted as it allows; without a limit, until each worker has been refused one.
    **options
        Further arguments of DEHB.
    """

    def __init__(
        self,
        simulator: Simulator,
        translation: Translation,
        *,
        client: Client | None,
        budget: Budget,
        **options: Any,
    ) -> None:
        self._simulator = simulator
        self._limit = budget.most_evaluations
        self._submitted = 0
        objective = Objective(simulator, translation)
        super().__init__(f=objective, client=client, n_workers=1 if client is None else None, **options)
        self._n_places = self._places = self.n_workers

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state["_simulator"] = None  # the objective has it, and an object is pickled once
        return state

    def optimize(self) -> None:
        """Run until the budget is spent; an error of DEHB, of Dask or of the simulator is raised."""
        run = DEHB.run
        try:
            getattr(run, "__wrapped__", run)(self, fevals=self._limit)
        except BudgetExhausted:
            return

    def tell(self, job_info: dict[str, Any], result: dict[str, Any], replay: bool = False) -> None:  # noqa: FBT001, FBT002 - DEHB's interface
        """Tell DEHB, unless the evaluation was refused: then its worker gets no other one.

        The others may still have results to come, and must be refused themselves.
        """
        if _REFUSED not in result["info"]:
            super().tell(job_info, result, replay)
            return
        self._places -= 1
        if not self._places:
            raise BudgetExhausted("every worker has been refused an evaluation")

    def _is_worker_available(self) -> bool:
        free = self._submitted < self._limit and len(self.futures) < self._places
        return free and super()._is_worker_available()

    def _submit_job(self, job_info: dict[str, Any], **kwargs: Any) -> None:
        self._submitted += 1
        super()._submit_job(job_info, config_id=job_info["config_id"], **kwargs)
        if self._submitted < self._n_places:
            wait_for_calls(self._simulator, self._submitted, given_up=self.futures[-1].done)
