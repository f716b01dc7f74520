"""SMAC's own parallel machinery on the simulator: `optimize` with the Dask runner.

From the source of SMAC 2.4.1:

* `SMBO.optimize` is one loop in one thread: it asks for a trial, submits it (which waits while all workers are busy)
  and adds the results that have come. So with several workers a trial is chosen while all of them are busy, before the
  result that frees its worker is known: one result earlier than an ask-and-tell optimizer chooses. That is SMAC's, and
  stays. With one worker there is no Dask: the loop itself evaluates.
* What runs in a worker process is `single_worker.run_wrapper`, pickled with every trial.
* A submission that raises StopIteration ends the loop, which then waits for what is running. So the simulator's
  refusals end it, once every worker has been refused.

What is different here:

* **The cluster** is given, as SMAC allows, see `smac_cluster`.
* **`SimulatedDaskRunner` returns the trials that were submitted, not their copies.** A configuration with a logarithmic
  integer is not equal to its pickled copy (ConfigSpace 1.2.2 compares a frozen scipy distribution by identity), so the
  copy that comes back from a worker would be told as a new trial and the submitted one would run for ever.
* **It collects results only when it waits for a worker**, unless overhead is measured. SMAC looks for results also
  right after a submission, where it would be a matter of microseconds whether the next one has come.
* **The first submissions** each wait until the one before has claimed its slot.
* **That no trial comes any more**, because the space has no new configuration, is said to the simulator, which would
  have to guess it.
* **SMAC's files**, its whole history written anew after every result, are written only when its time is measured.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import wait as dask_wait
from smac.runhistory import StatusType, TrialInfo, TrialValue
from smac.runner.abstract_serial_runner import AbstractSerialRunner
from smac.runner.dask_runner import DaskParallelRunner

from zerowait.adapters.simulated_dask import CallsOnWorkers
from zerowait.adapters.smac.facade import crashed, make_facade, make_scenario, succeeded
from zerowait.adapters.smac.space import fidelity_of, plain_config
from zerowait.adapters.start_up import wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ConfigSpace import Configuration
    from smac import Scenario

    from zerowait.adapters.adapter import Run
    from zerowait.suite.rules.evaluation import Evaluation

_LOOK_AGAIN = 0.002  # real seconds


def optimize(
    optimizer: str,
    run: Run,
    simulator: Any,
    settings: Mapping[str, Any],
    cluster: Callable[[int, Path], AbstractContextManager[Any]],
) -> None:
    """Run SMAC's loop until the budget is spent or the space has no new configuration.

    Where several trials run at once, `cluster` gives a client of so many workers, whose files lie in a folder.
    """
    n_workers = run.budget.useful_workers(run.n_workers)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zerowait-smac-"))
        scenario = make_scenario(run, settings, Path(folder))
        evaluator = SimulatedRunner(scenario, simulator, run.benchmark.fidelity)
        runner: SimulatedRunner | SimulatedDaskRunner = evaluator
        if n_workers > 1:
            client = stack.enter_context(cluster(n_workers, Path(folder)))
            if not isinstance(simulator, CallsOnWorkers):
                client.run(evaluator.warm_up)  # imports and opens files, which is nothing that the optimizer spends
            runner = SimulatedDaskRunner(evaluator, client, n_workers, measured=run.overhead.is_measured)
        facade = make_facade(optimizer, scenario, settings, runner)
        if not run.overhead.is_measured:
            facade.optimizer.save = _save_nothing  # type: ignore[method-assign]
        simulator.start()
        facade.optimize()


def _save_nothing() -> None:
    """Take the place of `SMBO.save`, which writes the whole history."""


class SimulatedRunner(AbstractSerialRunner):
    """Evaluates trials with the simulator, one at a time, in whichever process it is.

    Parameters
    ----------
    scenario
        Says what a crashed trial costs.
    simulator
        Evaluates configurations.
    fidelity
        The benchmark's range of training budgets, or None.
    """

    def __init__(self, scenario: Scenario, simulator: Any, fidelity: Any) -> None:
        super().__init__(scenario=scenario, required_arguments=[])
        self.simulator = simulator
        self._fidelity = fidelity

    def warm_up(self) -> None:
        """Join the run; unpickling this has imported what an evaluation needs."""
        self.simulator.progress()

    def submit_trial(self, trial_info: TrialInfo) -> None:
        """Evaluate a trial; end SMAC's loop when the simulator refuses."""
        try:
            super().submit_trial(trial_info)
        except BudgetExhausted:
            raise StopIteration from None

    def run_wrapper(self, trial_info: TrialInfo, **_: Any) -> tuple[TrialInfo, TrialValue]:
        """Evaluate a trial; unlike SMAC's, errors of the run itself are raised and are no crash of the trial."""
        try:
            evaluation = self._evaluate(trial_info.config, trial_info.budget)
        except ZerowaitError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a training raises is a crashed trial to SMAC
            return trial_info, crashed(error, self._scenario)
        return trial_info, succeeded(evaluation)

    def run(
        self,
        config: Configuration,
        instance: str | None = None,  # noqa: ARG002 - SMAC's interface
        budget: float | None = None,
        seed: int | None = None,  # noqa: ARG002
        additional_info: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[StatusType, float, float, float, dict[str, Any]]:
        """Evaluate a configuration and return status, cost, simulated seconds, CPU seconds and nothing further."""
        evaluation = self._evaluate(config, budget)
        return StatusType.SUCCESS, evaluation.value, evaluation.runtime, 0.0, {}

    def _evaluate(self, config: Configuration, budget: float | None) -> Evaluation:
        evaluation: Evaluation = self.simulator(plain_config(config), fidelity_of(budget, self._fidelity))
        return evaluation


class SimulatedDaskRunner(DaskParallelRunner):
    """SMAC's Dask runner on the simulator; what is different is described at the module.

    Parameters
    ----------
    single_worker
        Evaluates in the worker processes.
    client
        Of a cluster with `n_workers` workers of one thread.
    n_workers
        How many trials run at once.
    measured
        Whether the real time of the optimizer is charged.
    """

    def __init__(self, single_worker: SimulatedRunner, client: Any, n_workers: int, *, measured: bool) -> None:
        super().__init__(single_worker=single_worker, dask_client=client)
        self._simulator = single_worker.simulator
        self._n_workers = n_workers
        self._measured = measured
        self._wait_for: Callable[..., Any] = client.wait if isinstance(self._simulator, CallsOnWorkers) else dask_wait
        self._submitted: dict[Any, TrialInfo] = {}
        self._n_started = 0
        self._n_refused = 0

    def submit_trial(self, trial_info: TrialInfo, **data_to_scatter: Any) -> None:
        """Submit a trial as soon as a worker is free; end SMAC's loop when the simulator has refused every worker."""
        while self._pending_trials and self.count_available_workers() <= 0:
            self.wait()
        if self._n_refused >= self._n_workers:
            raise StopIteration
        super().submit_trial(trial_info, **data_to_scatter)
        future = self._pending_trials[-1]
        self._submitted[future.key] = trial_info
        self._n_started += 1
        if self._n_started < self._n_workers and not self._measured:
            wait_for_calls(self._simulator, self._n_started, given_up=future.done)

    def count_available_workers(self) -> int:
        """Return how many workers may still be given a trial; a worker that was refused one has none any more."""
        available: int = super().count_available_workers()
        return available - self._n_refused

    def iter_results(self) -> Iterator[tuple[TrialInfo, TrialValue]]:
        """Yield the results that have been collected."""
        if self._measured:
            self._process_pending_trials()
        while self._results_queue:
            yield self._results_queue.pop(0)

    def wait(self) -> None:
        """Wait until a trial has ended, and collect its result."""
        if self._pending_trials:
            if self.count_available_workers() > 0 and not isinstance(self._simulator, CallsOnWorkers):
                self._say_that_no_trial_comes()
            self._wait_for(self._pending_trials, return_when="FIRST_COMPLETED")
            self._process_pending_trials()

    def _say_that_no_trial_comes(self) -> None:
        """Say so when all trials that were submitted have called: SMAC waits with free workers only after its loop."""
        while self._simulator.progress()["started"] < self._n_started - self._n_refused:
            if any(future.done() for future in self._pending_trials):  # type: ignore[no-untyped-call]
                return
            time.sleep(_LOOK_AGAIN)
        self._simulator.idle()

    def _process_pending_trials(self) -> None:
        for future in [f for f in self._pending_trials if f.done()]:  # type: ignore[no-untyped-call]
            self._pending_trials.remove(future)
            submitted = self._submitted.pop(future.key)
            try:
                _, value = future.result()
            except BudgetExhausted:
                self._n_refused += 1
            else:
                self._results_queue.append((submitted, value))
