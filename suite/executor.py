"""A `concurrent.futures.Executor` whose workers are simulated: one process, no threads, no files, no waiting.

Who waits for a result has nothing else to do, so simulated time moves on to the next one. Nothing is guessed.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from zerowait.suite.engine import Engine, Told, as_told, path_in
from zerowait.suite.rules import arguments
from zerowait.suite.rules.budget import Budget, Counts
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import AnyObjective, Evaluation, Query
from zerowait.suite.rules.fidelities import AnyFidelity, Names
from zerowait.suite.rules.objectives import lost
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    import asyncio

    import pandas as pd

    from zerowait.suite.pending import Pending


class SimulatedExecutor(concurrent.futures.Executor):
    """P simulated workers for whatever takes an executor or its `map`, in one process and exactly reproducible.

    `submit(fn, *args, **kwargs)` takes three kinds of functions: `executor.objective` itself, with a configuration (and
    `fidelity=`, `config_id=`); any function that calls `executor.objective` once and returns what its caller expects;
    and one that returns an evaluation of its own, of its first argument, a mapping. It is called when a simulated
    worker takes it. More than P submissions wait in a queue, first in, first out.

    Simulated time moves when the caller waits: for `result()`, `exception()`, `concurrent.futures.wait`,
    `as_completed`, `map`, `shutdown`; when it asks `done()` of a future again and has submitted nothing in between;
    and when all coroutines of an event loop wait. It is used by one thread. A time-out of 0 is a question like
    `done()`; other time-outs never run out, because no real time passes.

    Parameters
    ----------
    objective
        Evaluates a configuration; see `zerowait.suite.rules.evaluation.Objective`.
    n_workers
        How many evaluations run at the same simulated time, at least 1.
    max_evaluations, max_time
        The budget: the first so many are evaluated; or what ends by this simulated time, in seconds.
    counts
        What `max_evaluations` counts: `"calls"`, or `"results"`, as for `zerowait.simulate`.
    seed
        Run seed, from which the objective's seeds are derived.
    fresh_seeds
        Whether every call gets a seed of its own, as for `zerowait.simulate`.
    overhead
        How the caller's own time is charged, from one call of the executor to its next submission, unless it waits;
        `Overhead.measured()` by default.
    continual
        Whether an evaluation continues the training of a delivered one at a lower fidelity.
    fidelities
        Names of several fidelities, first the one that trainings continue along, where a query gives a mapping of names
        to numbers; as a mapping, with the value of each where a query gives one number or None. None takes those that
        the objective declares, or one.
    cluster
        What its workers are like that are not equal or not always there; None stands for P perfect ones.
    told
        Whether results that are due by the end of a sampling are there when the submission returns (`"arrival"`) or
        only when somebody waits, one at a time (`"turn"`); None is on arrival under measured overhead.
    on_exhausted
        What `objective` does past the budget: `"raise"` `BudgetExhausted`, or return `"inf"` at once. A function
        whose result came too late is called a second time to learn it.
    labels
        Anything JSON that identifies the run, kept in the trace's metadata.
    directory
        Where to write `trace.parquet` when the executor is left as a context manager, also by an error; None writes
        nothing.
    objectives
        What is minimised where that is more than the loss, as for `zerowait.simulate`.
    on_delivery
        Called with every query and its evaluation, before its future is done.

    Raises
    ------
    SpecificationError
        An argument is not usable.
    RunDirectoryError
        The directory cannot be made.
    """

    def __init__(  # noqa: PLR0913 - the specification of a run, each a word of the design
        self,
        objective: AnyObjective,
        *,
        n_workers: int,
        max_evaluations: int | None = None,
        max_time: float | None = None,
        counts: Counts = "calls",
        seed: int = 0,
        fresh_seeds: bool = False,
        overhead: Overhead | None = None,
        continual: bool = False,
        fidelities: Names | None = None,
        cluster: Cluster | None = None,
        told: Told | None = None,
        on_exhausted: Literal["raise", "inf"] = "raise",
        labels: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        objectives: Sequence[str] | None = None,
        on_delivery: Callable[[Query, Evaluation], None] | None = None,
    ) -> None:
        arguments.choice("on_exhausted", on_exhausted, ("raise", "inf"))
        arguments.function("on_delivery", on_delivery)
        self._engine = Engine(
            objective, n_workers=n_workers, budget=Budget(max_evaluations, max_time, counts), seed=seed,
            overhead=overhead, continual=continual, told=told, labels=labels, cluster=cluster, more={},
            fresh_seeds=fresh_seeds, objectives=objectives, fidelities=fidelities,
        )  # fmt: skip
        self._path = path_in(directory)
        self._measured = self._engine.measured
        self._on_exhausted = on_exhausted
        self.on_delivery = on_delivery
        self._thread = threading.get_ident()
        self._queue: deque[SimulatedFuture] = deque()
        self._task: _Task | None = None
        self._shut_down = False
        self._is_handing_over = False
        # Who asked and was told "not yet" since something happened last.
        self._asked: set[object] = set()
        self._only_asked = False
        self._left: float | None = None
        """Real time at which the caller went on with its own work; None before the first call."""
        self._awaited = 0
        """How many futures an event loop waits for."""

    @property
    def n_workers(self) -> int:
        """How many evaluations run at the same simulated time."""
        return self._engine.n_workers

    # -- what is submitted -------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> SimulatedFuture:
        """Have a simulated worker run `fn(*args, **kwargs)`; see the class for what it may be.

        Raises
        ------
        RuntimeError
            The executor has been shut down.
        SpecificationError
            It is called by another thread, or by what a worker runs.
        """
        if self._shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not callable(fn):
            raise arguments.refusal("what is submitted", fn, "a function, such as the objective: submit(f, {'x': 0.5})")
        self._check_caller()
        self._return_from_caller()
        self._asked.clear()
        engine = self._engine
        future = SimulatedFuture(self, self.objective if self._is_objective(fn) else fn, args, kwargs)
        if not engine.may_call(len(self._queue)):
            self._refuse(future)
        else:
            before = engine.clock.busy_until
            future.ready, future.seconds = engine.sampled()
            if future.ready < engine.latest:
                engine.clock.busy_until = future.ready
                self._queue.append(future)
                started = engine.clock.started
                self._start_waiting()
                if future.done_already() and engine.clock.started == started and not self._measured:
                    engine.clock.busy_until = before  # nothing was evaluated
            else:
                if engine.free and not self._queue:
                    engine.retire()
                self._refuse(future)
        self._hand_over_what_is_due()
        self._leave_to_caller()
        return future

    def objective(
        self, config: Mapping[str, Any], fidelity: AnyFidelity = None, config_id: str | None = None
    ) -> Evaluation:
        """Evaluate a configuration in a task, as a call of a `Simulator` does; outside of one, submit it and wait.

        Raises
        ------
        SpecificationError
            The task has evaluated already, or for the same reasons as a `Simulator`.
        BudgetExhausted, InvalidEvaluationError, Exception
            As of a `Simulator`; a task gets at once what the objective raises.
        """
        task = self._task
        if task is None:
            evaluation: Evaluation = self.submit(self.objective, config, fidelity, config_id).result()
            return evaluation
        return self._evaluate(task, Query(config, fidelity, config_id), None)

    def _evaluate(self, task: _Task, query: Query, evaluate: Callable[[], object] | None) -> Evaluation:
        if task.start is None:
            task.was_refused = True
            self._engine.check_workers_left()
            if self._on_exhausted == "inf":
                return lost(self._engine.objectives)
            raise self._engine.budget.spent(self._engine.clock.started)
        if task.pending is not None:
            raise SpecificationError(
                "a task has evaluated two configurations, and a worker runs one evaluation at a time; submit each by "
                "itself"
            )
        task.pending = pending = self._engine.start(query, task.start, task.seconds, evaluate)
        if pending.error is not None:
            raise pending.error
        return as_told(pending)

    def _is_objective(self, fn: object) -> bool:
        own = self._engine.objective
        return fn is own or (type(fn) is type(own) is _METHOD and fn == own)

    def _run(self, future: SimulatedFuture, start: float | None) -> None:
        """Let the worker that is free for longest run a task from `start`; None if the budget refuses it."""
        self._task = task = _Task(start, future.seconds)
        try:
            result = future.fn(*future.args, **future.kwargs)
            if task.pending is None and not task.was_refused:
                result = self._take_as_evaluation(task, future, result)
            future.outcome = result, None
        except Exception as error:  # noqa: BLE001 - reaches who waits for the future
            future.outcome = None, error
        except BaseException as error:
            future.outcome = None, error
            if task.pending is None:
                self._finish(future)
            raise
        finally:
            self._task = None
            if task.pending is not None:
                task.pending.task = future
        if task.pending is None:
            self._finish(future)

    def _take_as_evaluation(self, task: _Task, future: SimulatedFuture, result: Any) -> Evaluation:
        config = future.args[0] if future.args else None
        tells = isinstance(result, Evaluation) or (
            isinstance(result, Mapping) and {"value", "runtime"} <= result.keys()
        )
        if tells and isinstance(config, Mapping):
            query = Query(config, future.kwargs.get("fidelity"), future.kwargs.get("config_id"))
            return self._evaluate(task, query, lambda: result)
        raise SpecificationError(
            f"{shown(future.fn)} has returned {shown(result)} without an evaluation, so nobody knows how long it runs; "
            "call executor.objective(config) once in what is submitted, or return an evaluation of the first argument, "
            "a mapping"
        )

    # -- simulated time ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the caller's time begin now; otherwise it begins with the first submission."""
        if self._left is None:
            self._leave_to_caller()

    def _return_from_caller(self, *, asks: bool = False) -> None:
        """Charge the caller's own time and hand over what is due by now; who only asks again was not working."""
        self._charge(asks=asks)
        self._hand_over_what_is_due()

    def _charge(self, *, asks: bool = False) -> None:
        if self._measured and self._left is not None and not (asks and self._only_asked):
            self._engine.spend(time.perf_counter() - self._left)
        self._only_asked = False

    def _leave_to_caller(self) -> None:
        if self._measured:
            self._left = time.perf_counter()

    def _hand_over_what_is_due(self) -> None:
        if self._is_handing_over:
            return  # whoever submits in a callback is told of the others after it
        self._is_handing_over = True
        try:
            while self._engine.is_due():
                self._deliver()
        finally:
            self._is_handing_over = False

    def _start_waiting(self) -> None:
        """Let free workers run what waits in the queue."""
        engine, queue = self._engine, self._queue
        while queue and (engine.free or not engine.may_call()):
            if engine.may_call() and engine.leaves_by(max(engine.free[0], queue[0].ready)):
                engine.retire()
                continue
            future = queue.popleft()
            future.set_running_or_notify_cancel()
            if engine.may_call():
                self._run(future, max(engine.free[0], future.ready))
            else:
                self._refuse(future)

    def _refuse(self, future: SimulatedFuture) -> None:
        if not future.running():
            future.set_running_or_notify_cancel()
        self._run(future, None)

    def _advance(self) -> bool:
        """Move to the next result; return False when there is none to come."""
        engine = self._engine
        self._asked.clear()
        if self._queue and engine.arrives():
            self._start_waiting()
        elif engine.in_flight:
            if engine.is_within_budget():
                self._deliver()
            else:  # its worker is busy with it beyond the budget
                self._refuse(engine.in_flight.pop().task)
        elif self._queue:  # all workers are beyond the budget
            self._refuse(self._queue.popleft())
        else:
            return False
        return True

    def _deliver(self) -> None:
        pending = self._engine.deliver()
        self._start_waiting()
        if self.on_delivery is not None:
            self.on_delivery(pending.query, as_told(pending))
        self._finish(pending.task)

    def _finish(self, future: SimulatedFuture) -> None:
        """Give a future what its task came to; whom that calls back does its own work."""
        result, error = future.outcome
        future.forget_task()
        self._asked.clear()
        self._leave_to_caller()
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        self._charge()

    # -- those who wait ----------------------------------------------------------------------------------------------

    def wait_until(self, is_over: Callable[[], bool]) -> None:
        """Move simulated time until something has happened, or nothing more can."""
        self._check_caller()
        self._return_from_caller(asks=True)
        while not is_over() and self._advance():
            pass
        self._leave_to_caller()

    def ask(self, who: object, is_over: Callable[[], bool]) -> None:
        """Let somebody ask whether something has happened; who asks again has nothing else to do."""
        if self._task is not None or threading.get_ident() != self._thread:
            return
        self._return_from_caller(asks=True)
        if not is_over() and who in self._asked:
            self._advance()
        elif not is_over():
            self._asked.add(who)
            self._only_asked = True
        self._leave_to_caller()

    def forget(self, future: SimulatedFuture) -> None:
        """Take a cancelled future out of the queue."""
        self._queue.remove(future)

    def _check_caller(self) -> None:
        if threading.get_ident() != self._thread:
            raise SpecificationError(
                "a SimulatedExecutor was used by another thread than the one that made it: simulated time moves when "
                "its caller waits, so there can be one caller only; a Simulator takes calls of many threads"
            )
        if self._task is not None:
            raise SpecificationError(
                "a task has used the executor that runs it; a task may only call executor.objective, once"
            )

    def drain(self) -> None:
        """Move simulated time until nothing is left to wait for, what callbacks submit meanwhile included."""
        self.wait_until(lambda: False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as in Executor
        """Take no more submissions; cancel what waits in the queue if wanted, and move time to the last result."""
        self._shut_down = True
        if cancel_futures:
            for future in list(self._queue):
                future.cancel()
        if wait:
            self.drain()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down; an error ends the run where it came, and what was delivered before is kept."""
        self.shutdown(wait=error is None, cancel_futures=error is not None)
        if self._path is None:
            return
        if error is None:
            self._engine.write(self._path, last=False)
        else:
            error.add_note(self._engine.keep(self._path, last=False))

    # -- event loops -------------------------------------------------------------------------------------------------

    async def evaluate(
        self, config: Mapping[str, Any], fidelity: AnyFidelity = None, config_id: str | None = None
    ) -> Evaluation:
        """Evaluate a configuration and return when its result is due; time moves when all coroutines wait.

        Raises
        ------
        Exception
            What `objective` raises.
        """
        import asyncio

        evaluation: Evaluation = await asyncio.wrap_future(self.submit(self.objective, config, fidelity, config_id))
        return evaluation

    def follow(self, loop: asyncio.AbstractEventLoop, future: SimulatedFuture) -> None:
        """Move time whenever the loop has nothing to do, until the future is done."""
        if not hasattr(loop, "_ready"):
            raise SpecificationError(
                f"the event loop is a {type(loop).__name__}, which does not tell when its coroutines wait; use "
                "asyncio's own"
            )
        self._awaited += 1
        future.call_when_done(self._no_longer_awaited)
        if self._awaited == 1:
            loop.call_soon(self._look_at, loop)

    def _no_longer_awaited(self, _: concurrent.futures.Future[Any]) -> None:
        self._awaited -= 1

    def _look_at(self, loop: Any) -> None:
        if not self._awaited:
            return
        # What is ready runs before this is called again. (asyncio has no public word for an idle loop, and a number of
        # rounds would be a guess.)
        if not loop._ready:  # noqa: SLF001
            self._return_from_caller()
            self._advance()
            self._leave_to_caller()
        loop.call_soon(self._look_at, loop)

    def register_with_joblib(self, name: str = "zerowait") -> None:
        """Make this executor joblib's backend of that name: `with joblib.parallel_config("zerowait"): ...`."""
        from zerowait.suite.joblib_backend import register

        register(self, self.n_workers, name)

    # -- results -----------------------------------------------------------------------------------------------------

    def trace(self) -> pd.DataFrame:
        """Return the trace of what has been delivered so far."""
        return self._engine.trace()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a SimulatedExecutor cannot be pickled: its workers are simulated in the process that made it; a Simulator "
            "can be handed to other processes"
        )


_METHOD = type(SimulatedExecutor.__init__.__get__(object()))


class _Task:
    """What a worker runs now."""

    __slots__ = ("pending", "seconds", "start", "was_refused")

    def __init__(self, start: float | None, seconds: float) -> None:
        self.start = start
        self.seconds = seconds
        self.pending: Pending | None = None
        self.was_refused = False


class SimulatedFuture(concurrent.futures.Future[Any]):
    """A future whose result is due at a simulated time; waiting for it moves that time.

    `concurrent.futures.wait` and `as_completed` do not ask a future to wait: they put a waiter into its list `_waiters`
    and block on the waiter's event. So this list gives each waiter an event that moves time. (`wait` is no method
    that could be overridden; both names are the same from Python 3.2 to 3.14.)
    """

    def __init__(
        self, executor: SimulatedExecutor, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self._waiters: list[Any] = _Waiters(executor)
        self._executor = executor
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.ready = math.nan
        """Simulated time at which its configuration was sampled, in seconds."""
        self.seconds = 0.0
        """What its sampling is charged."""
        self.outcome: tuple[Any, BaseException | None] = None, None

    def forget_task(self) -> None:
        """Let go of what was submitted and of what it came to; the result alone stays."""
        del self.fn, self.args, self.kwargs, self.outcome

    def done_already(self) -> bool:
        """Tell whether it is done without asking anybody to go on."""
        return super().done()

    def done(self) -> bool:
        """Tell whether it is done; who asks again and has submitted nothing in between waits for the next result."""
        if not super().done():
            self._executor.ask(self, self.done_already)
        return super().done()

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, when it is due."""
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception that the task raised, when it is due, or None."""
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if super().done():
            return
        if timeout is not None and timeout <= 0:
            self._executor.ask(self, self.done_already)
        else:
            self._executor.wait_until(self.done_already)

    def cancel(self) -> bool:
        """Cancel the task while it waits in the queue; return whether that was done."""
        if self.cancelled():
            return True
        if super().done() or not super().cancel():
            return False
        self._executor.forget(self)
        self.set_running_or_notify_cancel()  # no worker is there to notice it later
        return True

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Have `fn(future)` called when the future is done; in an event loop, that also makes the loop wait for it."""
        super().add_done_callback(fn)
        if not super().done() and (loop := _running_loop()) is not None:
            self._executor.follow(loop, self)

    def call_when_done(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Have `fn(future)` called when the future is done, and nobody wait for that."""
        super().add_done_callback(fn)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    import sys

    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001 - documented


class _Waiters(list[Any]):
    """The list of a future's waiters, each with an event that moves simulated time."""

    def __init__(self, executor: SimulatedExecutor) -> None:
        super().__init__()
        self._executor = executor

    def append(self, waiter: Any) -> None:
        if not isinstance(waiter.event, _MovingEvent):
            waiter.event = _MovingEvent(self._executor)
        super().append(waiter)


class _MovingEvent(threading.Event):
    def __init__(self, executor: SimulatedExecutor) -> None:
        super().__init__()
        self._executor = executor

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and timeout <= 0:
            self._executor.ask(_MovingEvent, self.is_set)
        else:
            self._executor.wait_until(self.is_set)
        return super().wait(timeout)  # for futures of other executors
