"""P processes that each call `neps.run` on one root directory, as P machines of a cluster would.

NePS has no scheduler: its workers share a directory, and each of them samples for itself while it holds a file
lock. What makes a run reproducible here, from the source of NePS 0.17.0:

* `DefaultWorker._get_next_trial` reads the trials, and `NePSState._sample_trial` reads the state of the global
  random number generators, samples, and writes it back, all under the lock. The order of the workers' questions
  decides everything, and the simulator delivers one result at a time: a worker reports its own result and then
  asks, while all others are blocked in the simulator.
* The first worker creates the state, with the generators as it finds them. Worker k starts `neps.run` once k calls
  have reached the simulator, so nobody races for the creation, and the first samples come in the workers' order.
* All workers are forked by one parent that has imported NePS. They share its hash seed and its objects, which NePS
  demands: it compares pickles of the space. They also start within milliseconds; an import takes seconds.

NePS swallows every `Exception` of an objective as a crashed trial, so a worker leaves `neps.run` by an exception
of another kind: when the simulator refuses it, when it has made the last evaluation of the budget (rather than
sample once more in vain), and when the run itself has failed.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import pickle
import shutil
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from zerowait.adapters.neps.random_state import seed_everything
from zerowait.adapters.start_up import wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, WorkerDied, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import ForkContext, ForkProcess
    from multiprocessing.synchronize import Event
    from pathlib import Path

    import neps

    from zerowait.suite.rules.budget import Budget
    from zerowait.suite.rules.evaluation import Query
    from zerowait.suite.simulator import Simulator

ATTEMPTS = 100
"""How often a worker starts `neps.run` when it meets a file that another one is writing; each takes 10 ms."""

PATIENCE = 5.0
"""Real seconds that workers have to end by themselves after one of them has failed."""

READ_RACES = (EOFError, pickle.UnpicklingError)
"""What a torn read of a pickle raises.

`NePSState.create_or_load` reads `optimizer_state.pkl`, and `DefaultWorker.run` the cache of trials, without the
lock under which others write them in place. A real user starts the script again, and so does a worker here.
"""


class _Leave(BaseException):
    """Takes a worker out of `neps.run`, which catches every `Exception`; `error` is why the run failed, if it did."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is given."""

    simulator: Simulator
    """Evaluates and says when the run is over."""
    optimizer: tuple[str, Mapping[str, Any]]
    """Name and arguments of the optimizer, as `neps.run` takes them."""
    pipeline_space: neps.PipelineSpace
    """The space."""
    query: Callable[[str, Mapping[str, Any]], Query]
    """What a trial asks to be evaluated, from its id and its configuration in NePS's terms."""
    loss: Callable[[float], float]
    """What NePS is told for a value."""
    root: Path
    """NePS's root directory."""
    seed: int
    """Seed of the global random number generators."""
    budget: Budget
    """The run's budget."""


def optimize_in_processes(job: Job, n_workers: int) -> None:
    """Run `neps.run` in so many forked processes until the budget is spent; remove NePS's files afterwards.

    To be called in a process with one thread.

    Raises
    ------
    WorkerDied
        A process ended without an outcome.
    Exception
        What ended another process: an error of NePS or of the run. NePS's files stay.
    """
    n_processes = job.budget.useful_workers(n_workers)
    context = multiprocessing.get_context("fork")
    over = context.Event()
    workers: dict[Connection, ForkProcess] = {}
    try:
        # The first worker is forked last, since its start is where simulated time begins.
        for number in reversed(range(n_processes)):
            if number == 0:
                job.simulator.start()
            connection, process = _start(context, job, number, over)
            workers[connection] = process
        error = _first_error(dict(workers))
        if error is not None:
            over.set()
            job.simulator.abort()
            raise error
    finally:
        _end(list(workers.values()))
    shutil.rmtree(job.root, ignore_errors=True)


def _start(context: ForkContext, job: Job, number: int, over: Event) -> tuple[Connection, ForkProcess]:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, job, number, over), name=f"neps-{number}")
    process.start()
    theirs.close()  # so that the end of the process is the end of the file
    return ours, process


def _first_error(running: dict[Connection, ForkProcess]) -> BaseException | None:
    """Wait until a worker fails, and return its error, or until all have ended."""
    while running:
        for connection in multiprocessing.connection.wait(list(running)):
            assert isinstance(connection, Connection)
            process = running.pop(connection)
            try:
                error: BaseException | None = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own process
            except EOFError:
                process.join()
                error = WorkerDied(
                    f"the process of a worker of NePS (pid {process.pid}) ended with exit code {process.exitcode} "
                    "before the run did"
                )
            if error is not None:
                return error
    return None


def _end(processes: list[ForkProcess]) -> None:
    """Wait for the processes, and kill those that take too long: they wait for a lock or a result."""
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()


def _main(connection: Connection, job: Job, number: int, over: Event) -> None:
    """Be a worker: all that a process does."""
    error: BaseException | None = None
    try:
        _Worker(job, over).run(number)
    except BaseException as caught:  # noqa: BLE001 - the parent decides what to do with it
        caught.add_note(f"in worker {number} of NePS:\n" + "".join(traceback.format_exception(caught)))
        error = caught
        over.set()
    connection.send_bytes(_dumps(error))


def _dumps(error: BaseException | None) -> bytes:
    """Pickle an outcome; an exception that does not survive pickling travels as its text."""
    try:
        outcome = pickle.dumps(error)
        pickle.loads(outcome)  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs code of the exception's class, which may raise anything
        assert error is not None
        return pickle.dumps(ZerowaitError("".join(traceback.format_exception(error))))
    return outcome


class _Worker:
    """One process's part in the run."""

    def __init__(self, job: Job, over: Event) -> None:
        self._job = job
        self._over = over
        self._has_evaluated = False

    def run(self, number: int) -> None:
        """Wait for this worker's turn to start, then run NePS until the budget is spent."""
        if number > 0:
            wait_for_calls(self._job.simulator, number, given_up=self._over.is_set)
        seed_everything(self._job.seed)
        try:
            with warnings.catch_warnings():
                # The simulator ends the run; NePS warns that nothing of its own does.
                warnings.filterwarnings("ignore", message="None of the following were set", category=UserWarning)
                self._run_neps()
        except _Leave as left:
            if left.error is not None:
                raise left.error from None

    def _run_neps(self) -> None:
        """Call `neps.run`, again if it meets a half-written file before its first evaluation."""
        import neps

        name, arguments = self._job.optimizer
        optimizer: Any = (name, dict(arguments))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                neps.run(
                    self.evaluate,
                    self._job.pipeline_space,
                    root_directory=self._job.root,
                    optimizer=optimizer,
                    ignore_errors=True,
                )
                return  # noqa: TRY300 - nothing but the call may be tried again
            except READ_RACES:
                if self._has_evaluated or attempt == ATTEMPTS:
                    raise
                # Whoever writes is in the middle of it: nothing says when it has finished, a moment later is enough.
                time.sleep(0.01)

    def evaluate(self, pipeline_id: str, **config: Any) -> dict[str, Any]:
        """Return the result of a trial: the objective of `neps.run`, which gives the trial's id by its name."""
        self._has_evaluated = True
        query = self._job.query(pipeline_id, config)
        try:
            evaluation = self._job.simulator(query.config, query.fidelity, query.config_id)
            loss = self._job.loss(evaluation.value)
        except BudgetExhausted:
            self._over.set()
            raise _Leave from None
        except ZerowaitError as error:
            raise _Leave(error) from error
        except Exception:
            self._leave_when_spent()
            raise
        self._leave_when_spent()
        return {"objective_to_minimize": loss, "cost": evaluation.runtime}

    def _leave_when_spent(self) -> None:
        if self._job.simulator.progress()["started"] >= self._job.budget.most_evaluations:
            raise _Leave
