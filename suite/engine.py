"""P simulated workers in one process: an event heap, no waiting; what asks, and when, is the caller's affair.

Ask-and-tell and the executor share it. They say when an optimizer has sampled a configuration, and when they want the
next result; the engine works out starts and ends by the rules of `timeline` and records what was delivered.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zerowait.suite.pending import Delivered, InFlight, Pending
from zerowait.suite.records.trace import NO_GUESSES, build_trace, make_metadata, measured_facts, write_trace
from zerowait.suite.rules import arguments, timeline
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import CLUSTERS, Cluster
from zerowait.suite.rules.continuation import Ledger, State, charge, training_length
from zerowait.suite.rules.errors import ClusterFailure, DivergedError, InvalidEvaluationError
from zerowait.suite.rules.evaluation import LONGEST, AnyObjective, Evaluation, ObjectiveSignature, Query
from zerowait.suite.rules.fidelities import Fidelities, Names
from zerowait.suite.rules.identity import canonical_json_of_checked, digest
from zerowait.suite.rules.objectives import check_objectives, evaluations_with
from zerowait.suite.rules.occupation import Workers, failure
from zerowait.suite.rules.overhead import OVERHEADS, Overhead
from zerowait.suite.rules.seeds import ObjectiveSeeds, check_fresh_seeds, check_run_seed
from zerowait.suite.rules.specification import MAX_ASK_TELL_WORKERS, make_specification
from zerowait.suite.sharing.rundir import explained, reason

if TYPE_CHECKING:
    import pandas as pd

Told: TypeAlias = Literal["arrival", "turn"]


class Engine:
    """The workers, their evaluations in flight, the optimizer's clock, and what has been delivered.

    Parameters
    ----------
    objective
        Evaluates a configuration; see `zerowait.suite.rules.evaluation.Objective`.
    n_workers, budget, seed, overhead, continual, labels, cluster
        The specification of the run, as `zerowait.simulate` describes it.
    told
        When an optimizer that was sampling learns of what ended meanwhile: before it is asked again (`"arrival"`), or
        one result for each configuration (`"turn"`); None is on arrival under measured overhead.
    more
        Further fields of the specification.
    fresh_seeds
        Whether every call has a seed of its own.
    objectives
        What is minimised where that is more than the loss.
    fidelities
        Names of several fidelities.

    Raises
    ------
    SpecificationError
        An argument is not usable.
    """

    def __init__(  # noqa: PLR0913 - the specification of a run, each a word of the design
        self,
        objective: AnyObjective,
        *,
        n_workers: int,
        budget: Budget,
        seed: int,
        overhead: Overhead | None,
        continual: bool,
        told: Told | None,
        labels: Mapping[str, Any] | None,
        cluster: Cluster | None,
        more: Mapping[str, Any],
        fresh_seeds: bool = False,
        objectives: Sequence[str] | None = None,
        fidelities: Names | None = None,
    ) -> None:
        self.n_workers = arguments.integer("n_workers", n_workers, 1, MAX_ASK_TELL_WORKERS)
        self.objective = arguments.objective(objective)
        if overhead is not None:
            arguments.instance("overhead", overhead, Overhead, OVERHEADS)
        arguments.choice("told", told, ("arrival", "turn", None))
        # No attribute that only the constructor reads: with 30 of them the interpreter is slower to find each.
        overhead = Overhead.measured() if overhead is None else overhead
        self.budget = budget
        self.overhead = overhead
        self.continual = arguments.boolean("continual", continual)
        self.measured = overhead.is_measured
        self.constant = overhead.constant
        self.sampling = overhead.sampling
        told = told if told is not None else "arrival" if self.measured else "turn"
        if cluster is not None:
            cluster = arguments.instance("cluster", cluster, Cluster, CLUSTERS).for_workers(self.n_workers)
        self.workers = None if cluster is None else Workers(cluster, check_run_seed(seed))
        self.fidelities = Fidelities.of(fidelities, objective)
        more = {**more, **check_fresh_seeds(fresh_seeds, continual=self.continual)}
        several = check_objectives(objectives)
        if several is not None:
            more["objectives"] = list(several)
        self.as_evaluation = evaluations_with(several)
        self.specification = make_specification(
            self.n_workers, budget, check_run_seed(seed), overhead, continual=self.continual, labels=labels,
            cluster=cluster, fidelities=self.fidelities, told=told, **more,
        )  # fmt: skip
        # Workers that sample each for itself ask as soon as they are free, so nothing is due by then that was not told.
        self.tells_on_arrival = told == "arrival" and self.sampling == "serial"
        self.clock = timeline.Clock()
        self.takes = ObjectiveSignature.of(objective)
        self.seeds = ObjectiveSeeds(check_run_seed(seed), fresh="fresh_seeds" in more)
        self.ledger = Ledger()
        self.delivered = Delivered(
            measured=self.measured, continual=continual, workers=self.workers, fresh_seeds=self.seeds.fresh,
            has_others=self.fidelities is not None,
        )  # fmt: skip
        self.in_flight = InFlight()
        self.free = deque([0.0] * self.n_workers)
        """When each free worker was freed, or arrived, in simulated seconds, earliest first."""
        self.numbers: list[tuple[float, int]] = []
        """The same with their numbers, as a heap, where these decide anything."""
        self.arriving: deque[tuple[float, int]] = deque()
        """Who is still to come, and when, earliest first."""
        self.gone = 0
        """How many workers can begin nothing more."""
        if cluster is not None:
            self.arriving.extend(sorted((cluster.arrival(number), number) for number in range(self.n_workers)))
            self.free.clear()
            self._let_arrive(0.0)
        self.unbilled = 0.0
        """Real seconds that the optimizer has spent since it handed out its last configuration."""
        self.dropped = False
        """Whether the budget took a configuration from the optimizer, which may wait for its result for ever."""
        # What the rules of `Budget` compare with, for the loop that costs microseconds.
        self.most = budget.most_evaluations
        self.most_results = budget.most_results
        self.latest = budget.latest
        self.began = time.perf_counter()

    @property
    def objectives(self) -> Sequence[str] | None:
        """What is minimised where that is more than the loss."""
        several: Sequence[str] | None = self.specification.get("objectives")
        return several

    # -- the optimizer's time ----------------------------------------------------------------------------------------

    def spend(self, seconds: float) -> None:
        """Let the optimizer be busy for so many real seconds, from now or from the end of what it was busy with."""
        clock = self.clock
        self.unbilled += seconds
        if self.sampling == "serial":
            clock.busy_until = max(clock.last_delivery, clock.busy_until) + seconds

    def sampled(self) -> tuple[float, float]:
        """Return when a configuration that was sampled now is ready, and the seconds that it is charged."""
        clock, modelled = self.clock, self.constant
        if self.measured:
            seconds, self.unbilled = self.unbilled, 0.0
            # A serial optimizer has spent them already.
            left = 0.0 if self.sampling == "serial" else seconds
            return timeline.next_start(clock.last_delivery, clock.busy_until, left, self.sampling), seconds
        if modelled is None:
            modelled = self.overhead.charge(clock.delivered)
        return timeline.next_start(clock.last_delivery, clock.busy_until, modelled, self.sampling), modelled

    # -- workers that come and go ------------------------------------------------------------------------------------

    def _let_arrive(self, time: float) -> None:
        while self.arriving and self.arriving[0][0] <= time:
            self.numbers.append(self.arriving.popleft())  # no number in the heap is later
            self.free.append(self.numbers[-1][0])

    def arrives(self) -> bool:
        """Let the next worker arrive if no result comes before, and tell whether it has: it is asked for then."""
        if not self.arriving or self.arriving[0][0] >= self.latest:
            return False
        time = self.arriving[0][0]
        if self.in_flight and self.in_flight.least_end() < time:
            return False
        self.clock.last_delivery = max(self.clock.last_delivery, time)
        self._let_arrive(time)
        return True

    def leaves_by(self, start: float) -> bool:
        """Tell whether the worker whose turn it is will have left by then, so that it can begin nothing."""
        return self.workers is not None and self.workers.has_left(self.numbers[0][1], start)

    def check_workers_left(self) -> None:
        """Raise `NoWorkersLeftError` when all workers have left and the budget is not spent."""
        if self.workers is not None and self.gone == self.n_workers and self.may_call():
            error = self.workers.nobody_left(self.n_workers, self.latest)
            if error is not None:
                raise error

    # -- evaluations -------------------------------------------------------------------------------------------------

    def may_call(self, waiting: int = 0) -> bool:
        """Tell whether the budget allows another evaluation when so many are waiting for a worker."""
        clock = self.clock
        return (
            clock.started + waiting < self.most
            and clock.last_delivery < self.latest
            and clock.delivered < self.most_results
        )

    def retire(self) -> None:
        """Take the worker that is free for longest out of the run: nothing can start on it within the budget.

        Or before it leaves. What was sampled for it is lost with it.
        """
        self.gone += self._take_worker() >= 0
        self.dropped = True

    def keep_worker(self, last: Pending) -> None:
        """Make it the turn of the worker of the last result, whoever has been free for longer."""
        self.free.appendleft(self.free.pop())
        if self.workers is not None:
            self.numbers[self.numbers.index((last.end, last.worker))] = (-math.inf, last.worker)
            heapq.heapify(self.numbers)

    def _take_worker(self) -> int:
        self.free.popleft()
        return -1 if self.workers is None else heapq.heappop(self.numbers)[1]

    def start(
        self, query: Query, start: float, seconds: float, evaluate: Callable[[], object] | None = None
    ) -> Pending:
        """Evaluate a query on the worker that is free for longest, from `start`; its sampling was charged `seconds`.

        `evaluate` takes the place of the objective. A query that is refused takes no worker.

        Raises
        ------
        SpecificationError
            The configuration has no JSON form, or its id was given to another one.
        """
        pending = Pending(query, self.free[0], start, seconds, self.clock.started + 1, self.fidelities)
        state = self._take_state(pending) if self.continual else None
        worker = self._take_worker()
        self.clock.started += 1
        config = query.config
        fidelity = query.fidelity if pending.asked is None else pending.asked.passed
        takes = self.takes
        try:
            if evaluate is not None:
                returned = evaluate()
            elif takes.seed:
                seed = self.seeds.of_call(pending.identify(), pending.call)
                if takes.fidelity:
                    returned = self.objective(config, fidelity=fidelity, seed=seed)
                else:
                    returned = self.objective(config, seed=seed)
            elif takes.fidelity:
                returned = self.objective(config, fidelity=fidelity)
            else:
                returned = self.objective(config)
            evaluation = self.as_evaluation(returned, config)
        except Exception as error:  # noqa: BLE001 - reaches the optimizer at the evaluation's simulated end
            pending.error = error
            evaluation = Evaluation(math.nan, failed_runtime(error))
        pending.value = evaluation.value
        pending.runtime = pending.charged = evaluation.runtime
        pending.metrics = evaluation.metrics
        if state is not None:
            pending.resumed_from = state.fidelity
            if pending.error is None or isinstance(pending.error, DivergedError):
                charged = charge(pending.runtime, state)
                pending.charged, pending.clipped = charged.runtime, charged.clipped
                if pending.error is not None:
                    pending.error.runtime = pending.charged
        if self.workers is None:
            pending.end = start + pending.charged
        else:
            self._occupy(worker, pending)
        self.in_flight.push(pending)
        return pending

    def _occupy(self, worker: int, pending: Pending) -> None:
        assert self.workers is not None
        identity = pending.identify() if self.workers.draws_for_evaluations else b""
        pending.end, pending.charged, ended, pending.attempt, pending.lost_time = self.workers.occupy(
            worker, pending.start, pending.charged, identity, pending.number
        )
        pending.worker, pending.ended = worker, ended
        if ended != "ok":
            pending.error = failure(self.workers, worker, pending.end, ended, pending.attempt)
            pending.value, pending.metrics = math.nan, {}

    def _take_state(self, pending: Pending) -> State | None:
        query, identity = pending.query, pending.identify()
        canonical = canonical_json_of_checked(pending.config)
        self.ledger.check_identity(
            identity, digest(canonical), identity.hex() if query.config_id is None else query.config_id, canonical
        )
        return self.ledger.take(identity, training_length(pending.number), pending.start)

    def is_within_budget(self) -> bool:
        """Tell whether the next result ends within the budget; there must be one in flight."""
        return self.in_flight.least_end() <= self.latest and self.clock.delivered < self.most_results

    def is_due(self) -> bool:
        """Tell whether a result is there already that the optimizer must be told before it is asked again."""
        return (
            self.tells_on_arrival
            and bool(self.in_flight)
            and self.in_flight.least_end() <= self.clock.busy_until
            and self.is_within_budget()
        )

    def deliver(self) -> Pending:
        """Move to the next result, record it and free its worker."""
        pending = self.in_flight.pop()
        end, clock = pending.end, self.clock
        clock.last_delivery = end
        clock.delivered += 1
        if self.workers is None:
            self.free.append(end)
        else:
            self._free_worker(pending)
        self.delivered.add(pending, time.perf_counter() - self.began if self.measured else math.nan)
        if self.continual and pending.error is None:
            state = State(training_length(pending.number), pending.runtime, end)
            self.ledger.add(pending.identify(), state)
        return pending

    def _free_worker(self, pending: Pending) -> None:
        self._let_arrive(pending.end)
        if isinstance(pending.error, ClusterFailure) and pending.error.worker_left:
            self.gone += 1
            return
        heapq.heappush(self.numbers, (pending.end, pending.worker))
        self.free.append(pending.end)

    def trace(self, *, last: bool = False) -> pd.DataFrame:
        """Return the trace of what has been delivered; the last one is not copied, and nothing may follow it."""
        columns = self.delivered.columns(self.seeds, last=last)
        makespan = float(columns.end[-1]) if len(columns.end) else 0.0
        measured = measured_facts(makespan, time.perf_counter() - self.began)
        return build_trace(columns, self.n_workers, make_metadata(self.specification, columns, NO_GUESSES, measured))

    def write(self, path: Path, *, last: bool = True) -> pd.DataFrame:
        """Write the trace of what has been delivered, and return it; after the last one none may follow.

        Raises
        ------
        RunDirectoryError
            It cannot be written.
        """
        trace = self.trace(last=last)
        with explained(path.parent, "write the trace"):
            write_trace(trace, path)
        return trace

    def keep(self, path: Path, *, last: bool = True) -> str:
        """Write what has been delivered before the run ended in an error; return what became of it."""
        delivered = f"the {len(self.delivered)} evaluations delivered so far"
        try:
            write_trace(self.trace(last=last), path)
        except OSError as error:
            return f"{delivered} could not be written to {path}: {reason(error)}"
        return f"{delivered} are in {path}"


def path_in(directory: str | os.PathLike[str] | None) -> Path | None:
    """Return where a trace is written in a directory, which is made if there is none; None writes nothing.

    Raises
    ------
    RunDirectoryError
        The directory cannot be made.
    """
    if directory is None:
        return None
    path = arguments.folder("directory", directory) / "trace.parquet"
    with explained(path.parent, "write the trace"):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def as_told(pending: Pending) -> Evaluation:
    """Return an evaluation in flight, or delivered, as its optimizer is told of it."""
    return Evaluation(pending.value, pending.charged, pending.metrics, pending.start, pending.end)


def failed_runtime(error: Exception) -> float:
    """Return how long a failed evaluation ran, in seconds: the exception's `runtime` if it is usable, else 0."""
    runtime = getattr(error, "runtime", 0.0)
    if isinstance(error, InvalidEvaluationError) and not isinstance(error, DivergedError):
        return 0.0
    if isinstance(runtime, bool) or not isinstance(runtime, int | float):
        return 0.0
    return float(runtime) if 0.0 <= runtime <= LONGEST else 0.0
