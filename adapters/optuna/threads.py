"""What makes `Study.optimize` reproducible with several threads, without a change of Optuna's files.

From the source of Optuna 5.0.0, with `n_jobs=P` greater than 1:

* `_optimize` submits one `_optimize_sequential` a trial to a pool of P threads. Each of them first calls
  `study.sampler.reseed_rng()`, which seeds the sampler from the operating system's entropy. `ThreadedSampler`
  leaves the generator alone: its threads share one sampler, so no two of them can repeat the same numbers.
* The first P trials race. `reseed_rng` is called before the trial is created, so there the k-th thread waits until k
  calls have reached the simulator and its own worker is there: then the trials of the others have been sampled, in
  the order of their numbers. A thread whose worker has left for good waits there for the end of the run, since the
  next trial would take the worker of another thread.
* From then on the simulator delivers one result at a time, and the next one only when the freed slot has a
  new call. In between, the thread of the result runs `tell`, its future is done, the main thread submits, and
  the only thread that is not blocked in the simulator runs `ask` and samples: the same sequence as
  ask-and-tell. Nothing of Optuna runs in a thread after its future is done.
* Exceptions in the last P tasks are lost, since nobody asks for their results. `optimize_in_threads` keeps
  the first one. For the same reason `n_trials` is not used: each thread goes on until it is refused, and the
  last one stops the study.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from zerowait.adapters.optuna.rungs import told_values, trial_id
from zerowait.adapters.start_up import wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, ClusterFailure, ZerowaitError
from zerowait.suite.rules.objectives import sign_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial, TrialState

    from zerowait.adapters.optuna.rungs import Rung
    from zerowait.adapters.optuna.space import OptunaSpace
    from zerowait.suite.rules.budget import Budget
    from zerowait.suite.simulator import Simulator


def make_study(sampler: BaseSampler, pruner: BasePruner, objectives: Sequence[str] | None = None) -> optuna.Study:
    """Return a study in memory, with a fixed name, since pruners derive random numbers from it."""
    directions = None
    if objectives is not None:
        directions = [StudyDirection.MINIMIZE if sign_of(one) > 0 else StudyDirection.MAXIMIZE for one in objectives]
    return optuna.create_study(sampler=sampler, pruner=pruner, study_name="zerowait", directions=directions)


def optimize_in_threads(
    study: optuna.Study,
    space: OptunaSpace,
    rungs: Sequence[Rung],
    simulator: Simulator,
    *,
    n_workers: int,
    budget: Budget,
    objectives: Sequence[str] | None = None,
) -> None:
    """Run `Study.optimize` with `n_workers` threads until the simulator's budget is spent.

    Every trial is evaluated at one rung after the other until it is pruned.

    An exception of the objective fails its trial, as with Optuna's `catch=(Exception,)`; any other one ends
    the run.
    """
    n_threads = budget.useful_workers(n_workers)
    threads = _Threads(study, space, rungs, simulator, n_threads, budget, objectives)
    study.sampler = ThreadedSampler(study.sampler, threads)
    simulator.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            optimizing = pool.submit(study.optimize, threads.evaluate, n_jobs=n_threads, catch=(Exception,))
            try:
                optimizing.result()
            except BaseException:
                # Ctrl-C reaches this thread alone; Optuna's own would wait for results that are not due.
                if not optimizing.done():
                    threads.release()
                    simulator.abort()
                raise
    except Exception:
        if threads.error is None:
            raise
    finally:
        threads.release()
    if threads.error is not None:
        raise threads.error


class _Threads:
    """What the threads of a study share: whose turn it is at the start, and who may still evaluate."""

    def __init__(
        self,
        study: optuna.Study,
        space: OptunaSpace,
        rungs: Sequence[Rung],
        simulator: Simulator,
        n_threads: int,
        budget: Budget,
        objectives: Sequence[str] | None,
    ) -> None:
        self._study = study
        self._space = space
        self._rungs = rungs
        self._simulator = simulator
        self._n_threads = n_threads
        self._objectives = objectives
        self._left = budget.most_evaluations
        self._refused = 0
        self._away = 0
        """How many of those have no worker any more, so that they say nothing of the budget."""
        self._released = False
        self._changed = threading.Condition()
        self._begun = 0
        self._own = threading.local()
        """What a thread knows of itself: whether it has `begun`, and its worker has `left`."""
        self.error: Exception | None = None

    def take_turn(self) -> None:
        """Let the threads sample their first trials one after the other, and none for a worker that has left."""
        if getattr(self._own, "left", False):
            with self._changed:
                self._away += 1
            self._refuse()
        elif not hasattr(self._own, "begun"):
            self._own.begun = True
            with self._changed:
                number, self._begun = self._begun, self._begun + 1
            if number == 0:
                return  # its call waits for a worker to come, where none is there
            with self.ending():
                wait_for_calls(
                    self._simulator,
                    number,
                    given_up=lambda: self._refused > self._away or self._released,
                    arrivals=True,
                )

    def evaluate(self, trial: optuna.Trial) -> float | list[float]:
        """Return the value of a trial, or its objectives; the objective of the study."""
        try:
            self._reserve()
            with self.ending():
                config = self._space.suggest(trial)
            return self._train(trial, config)
        except BudgetExhausted:
            pass
        except ZerowaitError as error:
            self._fail(error)
        except ClusterFailure as error:
            self._own.left = error.worker_left
            raise
        self._refuse()
        # Pruned and without a value: the one way to end a trial about which Optuna keeps silent.
        raise optuna.TrialPruned

    def _train(self, trial: optuna.Trial, config: Mapping[str, Any]) -> float | list[float]:
        """Evaluate at one rung after the other; the first evaluation is reserved already."""
        name = trial_id(trial, self._rungs)
        values: float | list[float] = math.nan
        for number, rung in enumerate(self._rungs, 1):
            try:
                evaluation = self._simulator(config, rung.fidelity, name)
            except BudgetExhausted:
                self._give_back()
                raise
            with self.ending():
                if rung.step is not None:
                    trial.report(evaluation.value, rung.step)
                pruned = rung.prunes and trial.should_prune()
            if pruned:
                raise optuna.TrialPruned
            if number < len(self._rungs):
                self._reserve()
            values = told_values(evaluation, self._objectives)
        return values

    def release(self) -> None:
        """Let the threads go that wait for the others."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """End the study with any error that happens inside."""
        try:
            yield
        except Exception as error:
            self._fail(error)
            raise

    def _reserve(self) -> None:
        """Take one of the evaluations that are left, so that nothing is sampled in vain."""
        with self._changed:
            if self._left <= 0 or self._released:
                raise BudgetExhausted
            self._left -= 1

    def _give_back(self) -> None:
        """Return an evaluation that the simulator refused; another thread's clock may still allow it."""
        with self._changed:
            self._left += 1

    def _refuse(self) -> None:
        """Keep a thread whose evaluation was refused from taking another trial until all are that far.

        The others may still have results to come, and must be refused themselves: a worker that just stays
        away leaves the simulator waiting for its next call.
        """
        with self._changed:
            self._refused += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._refused >= self._n_threads or self._released)
        self._study.stop()

    def _fail(self, error: Exception) -> None:
        """Start no more trials, and let those go that are still in the simulator."""
        if self.error is None:
            self.error = error
            self._simulator.abort()
        self.release()
        self._study.stop()


class ThreadedSampler(BaseSampler):
    """A sampler that many threads share without changing what it samples; see the module.

    Parameters
    ----------
    sampler
        Does the sampling.
    threads
        Knows when a trial may sample, and ends the study when the sampler fails outside the objective, where
        Optuna may lose the exception.
    """

    def __init__(self, sampler: BaseSampler, threads: _Threads) -> None:
        self._sampler = sampler
        self._threads = threads

    def reseed_rng(self) -> None:
        """Keep the seed of the run, and wait for the thread's turn."""
        self._threads.take_turn()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Ask the sampler."""
        with self._threads.ending():
            self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the sampler."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the sampler."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the sampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the sampler."""
        with self._threads.ending():
            self._sampler.after_trial(study, trial, state, values)


_quiet_lock = threading.Lock()
_quiet_runs = 0
_verbosity = optuna.logging.INFO


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's logger; with several runs at once, the last one to end restores it.

    Optuna writes a line a trial, and a traceback for each failing objective.
    """
    global _quiet_runs, _verbosity  # noqa: PLW0603 - the logger is as global as this count of its users
    with _quiet_lock:
        if _quiet_runs == 0:
            _verbosity = optuna.logging.get_verbosity()
            optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        _quiet_runs += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_runs -= 1
            if _quiet_runs == 0:
                optuna.logging.set_verbosity(_verbosity)
