"""Ask-and-tell simulation: one process, an event heap, no waiting."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zerowait.suite.engine import Engine, Told, as_told, path_in
from zerowait.suite.rules import arguments
from zerowait.suite.rules.budget import Budget, Counts
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import DivergedError, SpecificationError, shown
from zerowait.suite.rules.evaluation import AnyObjective, AskTellOptimizer, Evaluation, Query
from zerowait.suite.rules.fidelities import Names
from zerowait.suite.rules.objectives import lost
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.suite.pending import Pending


def simulate(  # noqa: PLR0913 - the specification of a run, each a word of the design
    optimizer: AskTellOptimizer,
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
    batch_size: int | None = None,
    told: Told | None = None,
    labels: Mapping[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
    objectives: Sequence[str] | None = None,
    on_delivery: Callable[[Query, Evaluation], None] | None = None,
) -> pd.DataFrame:
    """Run an ask-and-tell optimizer on `n_workers` simulated workers and return the trace.

    Results are told in completion order, exactly as P real workers would have delivered them.

    Parameters
    ----------
    optimizer
        Has `ask() -> Query | None` and `tell(query, evaluation)`. None means that there is nothing to evaluate until
        another result arrives; StopIteration ends the run's asking. A query that `tell` returns is what the same worker
        does next, before `ask` is called again. An optimizer that survives failing objectives has
        `tell_failure(query, error)`; without it the objective's exception ends the run, and a loss that is not finite
        is told as infinity. Both are recorded as failed.
    objective
        Evaluates a configuration; see `zerowait.suite.rules.evaluation.Objective`.
    n_workers
        How many evaluations run at the same simulated time, at least 1.
    max_evaluations, max_time
        The budget: exactly so many evaluations, or those that end by this simulated time in seconds.
    counts
        What `max_evaluations` counts: `"calls"`, the first so many that are asked for, or `"results"`, the first so
        many that are delivered to an optimizer whose workers stay busy.
    seed
        Run seed, from which the objective's seeds are derived.
    fresh_seeds
        Whether every call gets a seed of its own; otherwise a configuration keeps its seed whenever it is evaluated.
    overhead
        How the optimizer's own time is charged; `Overhead.measured()` (the default) times ask and tell.
    continual
        Whether an evaluation continues the training of a delivered one at a lower fidelity.
    fidelities
        Names of several fidelities, first the one that trainings continue along, where a query gives a mapping of names
        to numbers; as a mapping, with the value of each where a query gives one number or None. None takes those that
        the objective declares, or one.
    cluster
        What its workers are like that are not equal or not always there; None stands for P perfect ones.
    batch_size
        Synchronous batches: so many configurations are asked for when the previous batch is complete, and workers take
        them in order; None hands out a configuration as soon as a worker is free.
    told
        What the optimizer learns of results that end while it samples. `"arrival"`: everything that is due by the end
        of a sampling is told before the next ask, as it comes to an optimizer in reality. `"turn"`: one result is told
        for each configuration that is asked for, and the others wait. None is `"arrival"` under measured overhead and
        `"turn"` under a modelled one. With `batch_size`, and where workers sample in parallel, both are the same.
    labels
        Anything JSON that identifies the run, kept in the trace's metadata.
    directory
        Where to write `trace.parquet`, also when the run ends in an error; None writes nothing.
    objectives
        What is minimised where that is more than the loss: `value` and metrics by name, a minus sign in front of one
        that is maximised, such as `["value", "latency", "-accuracy"]`. Each evaluation must have them, finite.
    on_delivery
        Called with every query and its evaluation, after the optimizer was told.

    Raises
    ------
    SpecificationError
        An argument is not usable.
    InvalidEvaluationError
        The objective returned something that is not an evaluation.
    RunDirectoryError
        The trace cannot be written to the directory.
    """
    if batch_size is not None:
        batch_size = arguments.integer("batch_size", batch_size, 1, allowed="an integer of at least 1, or None")
    for name in ("ask", "tell"):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, name, None)):
            raise arguments.refusal("the optimizer", optimizer, "an object with the methods ask and tell")
    arguments.function("on_delivery", on_delivery)
    engine = Engine(
        objective, n_workers=n_workers, budget=Budget(max_evaluations, max_time, counts), seed=seed, overhead=overhead,
        continual=continual, told=told, labels=labels, cluster=cluster,
        more={} if batch_size is None else {"batch_size": batch_size}, fresh_seeds=fresh_seeds, objectives=objectives,
        fidelities=fidelities,
    )  # fmt: skip
    run = _AskTellRun(optimizer, engine, batch_size)
    run.on_delivery = on_delivery
    path = path_in(directory)
    try:
        run.loop()
    except BaseException as error:
        if path is not None:
            error.add_note(engine.keep(path))
        raise
    return engine.trace(last=True) if path is None else engine.write(path)


class _AskTellRun:
    """The loop of asking and telling; the workers and their clock are the engine's."""

    def __init__(self, optimizer: AskTellOptimizer, engine: Engine, batch_size: int | None) -> None:
        self.optimizer = optimizer
        self.engine = engine
        self.batch_size = batch_size
        self.on_delivery: Callable[[Query, Evaluation], None] | None = None
        self.asking = True
        self.has_nothing = False
        """Whether the optimizer has said that it has nothing to evaluate until another result arrives."""
        self.batch: deque[tuple[Query, float, float]] = deque()
        """What was asked for and has not been started, each with the time and the cost of its sampling."""

    def loop(self) -> None:
        """Hand out configurations while a worker is free, then deliver the earliest result; until nothing is left."""
        engine = self.engine
        hand_out = self._hand_out if self.batch_size is None else self._batches()
        while True:
            hand_out()
            if self.asking and not self.has_nothing and engine.arrives():
                continue
            # Deliverable: no slot is free that could still get a start (design 4.1), and the heap's top is the least.
            if not engine.in_flight or not engine.is_within_budget():
                if self.asking:
                    engine.check_workers_left()
                break
            self._deliver()

    def _hand_out(self) -> None:
        """Ask for a configuration for every free worker, the one freed earliest first."""
        engine = self.engine
        tells_on_arrival = engine.tells_on_arrival
        while self.asking:
            while tells_on_arrival and engine.is_due():
                self._deliver()
            if not engine.free:
                return
            if not engine.may_call():
                self.asking = False
                return
            query = self._ask()
            if query is None:
                return
            self._begin(query)

    def _begin(self, query: Query) -> None:
        """Start a query that was sampled now on the worker whose turn it is, unless that can begin nothing more."""
        engine = self.engine
        start, seconds = engine.sampled()
        if start >= engine.latest or engine.leaves_by(start):
            engine.retire()
            return
        engine.clock.busy_until = start
        engine.start(query, start, seconds)

    def _batches(self) -> Callable[[], None]:
        """Return the hand-out of synchronous batches: one is asked for when the previous one is complete."""
        engine = self.engine
        batch = self.batch

        def ask_for_a_batch() -> None:
            for _ in range(self.batch_size or 0):
                query = self._ask(len(batch)) if engine.may_call(len(batch)) else None
                if query is None:
                    break
                available, seconds = engine.sampled()
                engine.clock.busy_until = available
                batch.append((query, available, seconds))

        def hand_out() -> None:
            if not batch and not engine.in_flight and self.asking:
                ask_for_a_batch()
            while engine.free and batch:
                start = max(engine.free[0], batch[0][1])
                if start >= engine.latest:
                    batch.clear()
                    self.asking = False
                    return
                if engine.leaves_by(start):
                    engine.retire()
                    continue
                query, _, seconds = batch.popleft()
                engine.start(query, start, seconds)

        return hand_out

    def _ask(self, in_hand: int = 0) -> Query | None:
        """Return the next query, or None when there is none for now.

        So many queries are `in_hand`: the optimizer was asked for them, but they have not been started.
        """
        engine = self.engine
        try:
            if engine.measured:
                asked_at = time.perf_counter()
                query = self.optimizer.ask()
                engine.spend(time.perf_counter() - asked_at)
            else:
                query = self.optimizer.ask()
        except StopIteration:
            self.asking = False
            return None
        if query is None:
            self.has_nothing = True
            if engine.in_flight or in_hand:
                return None
            if not engine.dropped:
                raise SpecificationError(
                    "ask() returned None while no evaluation is in flight, so no result can ever arrive; raise "
                    "StopIteration when the optimizer has finished"
                )
            self.asking = False  # it waits for a result that the budget has taken from it
            return None
        if type(query) is not Query and not isinstance(query, Query):
            raise SpecificationError(
                f"ask() returned {shown(query)} of type {type(query).__name__}; it must return a Query, such as "
                "Query({'x': 0.5}), or None when there is nothing to evaluate until another result arrives"
            )
        return query

    def _deliver(self) -> None:
        engine = self.engine
        self.has_nothing = False
        pending = engine.deliver()
        query = pending.query
        told = as_told(pending)
        goes_on: Query | None = None
        told_at = time.perf_counter() if engine.measured else 0.0
        if pending.error is None:
            goes_on = self.optimizer.tell(query, told)
        else:
            tell_failure = getattr(self.optimizer, "tell_failure", None)
            if tell_failure is not None:
                goes_on = tell_failure(query, pending.error)
            elif isinstance(pending.error, DivergedError):
                told = lost(engine.objectives, told)
                goes_on = self.optimizer.tell(query, told)
            else:
                raise pending.error
        if engine.measured:
            engine.spend(time.perf_counter() - told_at)
        if self.on_delivery is not None:
            self.on_delivery(query, told)
        if goes_on is not None and isinstance(goes_on, Query):  # many return something else that nobody reads
            self._go_on(goes_on, pending)

    def _go_on(self, query: Query, last: Pending) -> None:
        """Let the worker whose result was the last one go on with a query, before another one is asked for.

        What has been asked for is part of the budget already.
        """
        if self.engine.may_call(len(self.batch)):
            self.engine.keep_worker(last)
            self._begin(query)
        else:
            self.engine.dropped = True
