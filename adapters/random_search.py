"""Random search: configurations from the prior of the space, for a pool of processes or when asked."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Run
from zerowait.adapters.spaces import random_configs
from zerowait.adapters.start_up import wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, SpecificationError, WorkerDied, ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator


class RandomSearch(Adapter):
    """Samples every configuration independently; the baseline that any other optimizer has to beat.

    In native mode P processes call the simulator, and one generator in their parent draws the configurations
    in the order of submission, so that the sequence does not depend on which process asks. The run is
    isolated because its processes are forked: 64 of them start within a second and share the benchmark's
    data, and the fresh parent has no threads whose locks a fork could leave locked for ever.
    """

    name = "random"
    library = "zerowait"
    modes = frozenset({"native", "ask_tell"})
    default_mode = "ask_tell"
    several_objectives = True
    isolated = True
    # A free worker always gets a configuration: only a defect makes one idle, and a slow machine must not.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=20.0)}

    def __init__(self, **parameters: Any) -> None:
        if parameters:
            raise SpecificationError(f"'random' has no parameters; it was given {', '.join(sorted(parameters))}")
        super().__init__()

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that answers every question with the next configuration."""
        return _AskTellRandomSearch(random_configs(run.benchmark.space, run.optimizer_seed))

    def native(self, run: Run, simulator: Simulator) -> None:
        """Evaluate in a pool of P processes until the budget is spent."""
        configs = random_configs(run.benchmark.space, run.optimizer_seed)
        n_processes = run.budget.useful_workers(run.n_workers)
        pool = ProcessPoolExecutor(
            n_processes, mp_context=get_context("fork"), initializer=_adopt, initargs=(simulator,)
        )
        try:
            pool.submit(_do_nothing).result()  # forks all of them, which is nothing that the optimizer spends
            simulator.start()
            _fill(pool, simulator, configs, n_processes, run.budget.most_evaluations)
        except BrokenProcessPool as error:
            raise WorkerDied(f"one of the {n_processes} processes of the pool died") from error
        except BaseException:
            # The others may wait in the simulator for a call that will not come; they end with their group.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


class _AskTellRandomSearch:
    def __init__(self, configs: Iterator[dict[str, Any]]) -> None:
        self._configs = configs

    def ask(self) -> Query:
        return Query(next(self._configs))

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Learn nothing."""

    def tell_failure(self, query: Query, error: Exception) -> None:  # noqa: ARG002 - the simulator's interface
        """Go on, unless the run itself is at fault."""
        if isinstance(error, ZerowaitError):
            raise error


def _fill(
    pool: Executor,
    simulator: Simulator,
    configs: Iterator[dict[str, Any]],
    n_processes: int,
    limit: float,
) -> None:
    """Keep every process busy until `limit` evaluations are made or every worker has been refused one."""
    running: set[Future[bool]] = set()
    made = 0

    def submit() -> Future[bool]:
        nonlocal made
        made += 1
        future = pool.submit(_evaluate, next(configs))
        running.add(future)
        return future

    # The first evaluations would race for their slots: each waits until the one before has claimed its own.
    latest = submit()
    for started in range(1, n_processes):
        wait_for_calls(simulator, started, given_up=latest.done)
        latest = submit()
    while running:
        done, still_running = wait(running, return_when=FIRST_COMPLETED)
        running.intersection_update(still_running)
        for future in done:
            if not future.result():
                made -= 1
            elif made < limit:
                submit()


def _do_nothing() -> None:
    """Make the pool start its processes."""


_simulator: Simulator | None = None
"""The simulator of this process of the pool: sent once, not with every configuration."""


def _adopt(simulator: Simulator) -> None:
    global _simulator  # noqa: PLW0603 - a process of a pool keeps state only in its module
    _simulator = simulator


def _evaluate(config: dict[str, Any]) -> bool:
    """Evaluate a configuration and return True, or False when the simulator refuses it."""
    assert _simulator is not None
    try:
        _simulator(config)
    except BudgetExhausted:
        return False
    except ZerowaitError:
        raise
    except Exception:  # noqa: BLE001 - a failed training is recorded by the simulator and teaches random search nothing
        return True
    return True
