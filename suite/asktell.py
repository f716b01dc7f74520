"""Ask-and-tell simulation: one process, an event heap, no waiting."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.suite.pending import Delivered, InFlight, Pending
from zerowait.suite.records.trace import build_trace, make_metadata, measured_facts, write_trace
from zerowait.suite.rules import timeline
from zerowait.suite.rules.continuation import Ledger, State, charge, training_length
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError, shown
from zerowait.suite.rules.evaluation import (
    LONGEST,
    AnyObjective,
    AskTellOptimizer,
    Budget,
    Evaluation,
    ObjectiveSignature,
    Query,
    as_evaluation,
)
from zerowait.suite.rules.identity import canonical_json_of_checked, digest
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.rules.seeds import ObjectiveSeeds, check_run_seed
from zerowait.suite.rules.specification import MAX_ASK_TELL_WORKERS, make_specification
from zerowait.suite.sharing.rundir import explained, reason

if TYPE_CHECKING:
    import pandas as pd


def simulate(  # noqa: PLR0913 - the specification of a run, each a word of the design
    optimizer: AskTellOptimizer,
    objective: AnyObjective,
    *,
    n_workers: int,
    max_evaluations: int | None = None,
    max_time: float | None = None,
    seed: int = 0,
    overhead: Overhead | None = None,
    continual: bool = False,
    batch_size: int | None = None,
    labels: Mapping[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
    on_delivery: Callable[[Query, Evaluation], None] | None = None,
) -> pd.DataFrame:
    """Run an ask-and-tell optimizer on `n_workers` simulated workers and return the trace.

    Results are told in completion order, exactly as P real workers would have delivered them.

    Parameters
    ----------
    optimizer
        Has `ask() -> Query | None` and `tell(query, evaluation)`. None means that there is nothing to evaluate until
        another result arrives; StopIteration ends the run's asking. An optimizer that survives failing objectives
        has `tell_failure(query, error)`; without it the objective's exception ends the run.
    objective
        Evaluates a configuration; see `zerowait.suite.rules.evaluation.Objective`.
    n_workers
        How many evaluations run at the same simulated time, at least 1.
    max_evaluations, max_time
        The budget: exactly so many evaluations, or those that end by this simulated time in seconds.
    seed
        Run seed, from which the objective's seeds are derived.
    overhead
        How the optimizer's own time is charged; `Overhead.measured()` (the default) times ask and tell.
    continual
        Whether an evaluation continues the training of a delivered one at a lower fidelity.
    batch_size
        Synchronous batches: so many configurations are asked for when the previous batch is complete, and workers take
        them in order; None hands out a configuration as soon as a worker is free.
    labels
        Anything JSON that identifies the run, kept in the trace's metadata.
    directory
        Where to write `trace.parquet`, also when the run ends in an error; None writes nothing.
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
    run = _AskTellRun(
        optimizer,
        objective,
        n_workers=n_workers,
        budget=Budget(max_evaluations, max_time),
        seed=check_run_seed(seed),
        overhead=Overhead.measured() if overhead is None else overhead,
        continual=continual,
        batch_size=batch_size,
    )
    run.on_delivery = on_delivery
    specification = run.specification(labels)
    path = None
    if directory is not None:
        path = Path(directory) / "trace.parquet"
        with explained(path.parent, "write the trace"):
            path.parent.mkdir(parents=True, exist_ok=True)
    try:
        run.loop()
    except BaseException as error:
        if path is not None:
            error.add_note(_keep(run, specification, path))
        raise
    trace = run.trace(specification)
    if path is not None:
        with explained(path.parent, "write the trace"):
            write_trace(trace, path)
    return trace


def _keep(run: _AskTellRun, specification: Mapping[str, Any], path: Path) -> str:
    """Write what has been delivered before the run ended in an error; return what became of it."""
    delivered = f"the {len(run.delivered.end)} evaluations delivered so far"
    try:
        write_trace(run.trace(specification), path)
    except OSError as error:
        return f"{delivered} could not be written to {path}: {reason(error)}"
    return f"{delivered} are in {path}"


class _AskTellRun:
    """The event loop and what it remembers."""

    def __init__(
        self,
        optimizer: AskTellOptimizer,
        objective: AnyObjective,
        *,
        n_workers: int,
        budget: Budget,
        seed: int,
        overhead: Overhead,
        continual: bool,
        batch_size: int | None,
    ) -> None:
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or not 1 <= n_workers <= MAX_ASK_TELL_WORKERS:
            raise SpecificationError(
                f"n_workers is {shown(n_workers)}; it must be an integer from 1 to {MAX_ASK_TELL_WORKERS}"
            )
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise SpecificationError(f"batch_size is {batch_size!r}; it must be an integer of at least 1, or None")
        self.optimizer = optimizer
        self.objective = objective
        self.n_workers = n_workers
        self.budget = budget
        self.seed = seed
        self.overhead = overhead
        self.continual = continual
        self.batch_size = batch_size
        self.on_delivery: Callable[[Query, Evaluation], None] | None = None
        self.measured = overhead.is_measured
        self.constant = overhead.constant
        self.sampling = overhead.sampling
        self.clock = timeline.Clock()
        self.takes = ObjectiveSignature.of(objective)
        self.seeds = ObjectiveSeeds(seed)
        self.ledger = Ledger()
        self.delivered = Delivered()
        self.in_flight = InFlight()
        self.free = deque([0.0] * n_workers)
        self.asking = True
        self.unbilled = 0.0  # real seconds of tell (and of an ask that gave nothing), for the next configuration
        self.began = time.perf_counter()
        self.ended = self.began

    def specification(self, labels: Mapping[str, Any] | None) -> dict[str, Any]:
        batches = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return make_specification(
            self.n_workers,
            self.budget,
            self.seed,
            self.overhead,
            continual=self.continual,
            labels=labels,
            **batches,
        )

    def loop(self) -> None:
        """Hand out configurations while a worker is free, then deliver the earliest result; until nothing is left."""
        hand_out = self._hand_out if self.batch_size is None else self._batches()
        in_flight = self.in_flight
        while True:
            hand_out()
            if not in_flight:
                break
            # Deliverable: no slot is free that could still get a start (design 4.1), and the heap's top is the least.
            if not timeline.may_record(self.budget, in_flight.least_end()):
                break
            self._deliver(in_flight.pop())
        self.ended = time.perf_counter()

    def _hand_out(self) -> None:
        """Ask for a configuration for every free worker, the one freed earliest first."""
        clock, budget = self.clock, self.budget
        while self.free and self.asking:
            if not timeline.may_call(clock.started, clock.last_delivery, budget):
                self.asking = False
                return
            asked = self._ask()
            if asked is None:
                return
            query, seconds = asked
            start = timeline.next_start(clock.last_delivery, clock.busy_until, seconds, self.sampling)
            if not timeline.may_start(budget, start):
                self.free.popleft()  # this worker's clock is past the budget; nothing starts on it any more
                continue
            clock.busy_until = start
            clock.started += 1
            self._evaluate(query, start, seconds)

    def _batches(self) -> Callable[[], None]:
        """Return the hand-out of synchronous batches: one is asked for when the previous one is complete."""
        batch: deque[tuple[Query, float, float]] = deque()

        def ask_for_a_batch() -> None:
            clock, budget = self.clock, self.budget
            for _ in range(self.batch_size or 0):
                room = budget.max_evaluations is None or clock.started + len(batch) < budget.max_evaluations
                may_call = room and timeline.may_call(clock.started, clock.last_delivery, budget)
                asked = self._ask(len(batch)) if may_call else None
                if asked is None:
                    break
                available = timeline.next_start(clock.last_delivery, clock.busy_until, asked[1], self.sampling)
                clock.busy_until = available
                batch.append((asked[0], available, asked[1]))

        def hand_out() -> None:
            if not batch and not self.in_flight and self.asking:
                ask_for_a_batch()
            while self.free and batch:
                start = max(self.free[0], batch[0][1])
                if not timeline.may_start(self.budget, start):
                    batch.clear()
                    self.asking = False
                    return
                query, _, seconds = batch.popleft()
                self.clock.started += 1
                self._evaluate(query, start, seconds)

        return hand_out

    def _ask(self, in_hand: int = 0) -> tuple[Query, float] | None:
        """Return the next query and the seconds that it costs, or None when there is none for now.

        So many queries are `in_hand`: the optimizer was asked for them, but they have not been started.
        """
        measured = self.measured
        seconds = self.constant
        if seconds is None:
            seconds = 0.0 if measured else self.overhead.charge(self.clock.delivered)
        asked_at = time.perf_counter() if measured else 0.0
        try:
            query = self.optimizer.ask()
        except StopIteration:
            self.asking = False
            return None
        if measured:
            seconds = self.unbilled + time.perf_counter() - asked_at
            self.unbilled = 0.0
        if query is None:
            if not self.in_flight and not in_hand:
                raise SpecificationError(
                    "ask() returned None while no evaluation is in flight, so no result can ever arrive; raise "
                    "StopIteration when the optimizer has finished"
                )
            # The optimizer was busy all the same: what comes next cannot start before it was done.
            self.unbilled = seconds if measured else 0.0
            return None
        return query, seconds

    def _evaluate(self, query: Query, start: float, seconds: float) -> None:
        pending = Pending(query, self.free.popleft(), start, seconds, self.clock.started)
        config = query.config
        try:
            if self.takes.seed:
                seed = self.seeds.seed(pending.identify())
                if self.takes.fidelity:
                    returned = self.objective(config, fidelity=query.fidelity, seed=seed)
                else:
                    returned = self.objective(config, seed=seed)
            elif self.takes.fidelity:
                returned = self.objective(config, fidelity=query.fidelity)
            else:
                returned = self.objective(config)
            evaluation = as_evaluation(returned, config)
        except Exception as error:  # noqa: BLE001 - reaches the optimizer at the evaluation's simulated end
            pending.error = error
            evaluation = Evaluation(math.nan, failed_runtime(error))
        pending.value = evaluation.value
        pending.runtime = pending.charged = evaluation.runtime
        pending.metrics = evaluation.metrics
        if self.continual:
            self._continue(pending)
        pending.end = start + pending.charged
        self.in_flight.push(pending)

    def _continue(self, pending: Pending) -> None:
        query, identity = pending.query, pending.identify()
        canonical = canonical_json_of_checked(pending.config)
        self.ledger.check_identity(
            identity, digest(canonical), identity.hex() if query.config_id is None else query.config_id, canonical
        )
        state = self.ledger.take(identity, training_length(query.fidelity), pending.start)
        if pending.error is None:
            charged = charge(pending.runtime, state)
            pending.charged, pending.clipped = charged.runtime, charged.clipped
        pending.resumed_from = math.nan if state is None else state.fidelity

    def _deliver(self, pending: Pending) -> None:
        end, query = pending.end, pending.query
        self.clock.last_delivery = end
        self.clock.delivered += 1
        self.free.append(end)
        told_at = time.perf_counter() if self.measured else math.nan
        self.delivered.add(pending, told_at - self.began)
        told = Evaluation(pending.value, pending.charged, pending.metrics, pending.start, end)
        if pending.error is None:
            if self.continual:
                state = State(training_length(query.fidelity), pending.runtime, end)
                self.ledger.add(pending.identify(), state)
            self.optimizer.tell(query, told)
        else:
            tell_failure = getattr(self.optimizer, "tell_failure", None)
            if tell_failure is None:
                raise pending.error
            tell_failure(query, pending.error)
        if self.measured:
            self.unbilled += time.perf_counter() - told_at
        if self.on_delivery is not None:
            self.on_delivery(query, told)

    def trace(self, specification: Mapping[str, Any]) -> pd.DataFrame:
        """Return the trace of what has been delivered."""
        columns = self.delivered.columns(self.seeds)
        measured = measured_facts(self.clock.last_delivery, time.perf_counter() - self.began)
        return build_trace(columns, self.n_workers, make_metadata(specification, columns, 0, measured))


def failed_runtime(error: Exception) -> float:
    """Return how long a failed evaluation ran, in seconds: the exception's `runtime` if it is usable, else 0."""
    runtime = getattr(error, "runtime", 0.0)
    if isinstance(error, InvalidEvaluationError) or isinstance(runtime, bool) or not isinstance(runtime, int | float):
        return 0.0
    return float(runtime) if 0.0 <= runtime <= LONGEST else 0.0
