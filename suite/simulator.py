"""The multi-core simulator: an objective that any parallel optimizer can call, and that returns in simulated order."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from zerowait.suite.engine import failed_runtime
from zerowait.suite.records.journal_to_trace import trace_of
from zerowait.suite.records.trace import ATTRIBUTE, write_trace
from zerowait.suite.rules import arguments
from zerowait.suite.rules.budget import Budget, Counts
from zerowait.suite.rules.cluster import CLUSTERS, Cluster
from zerowait.suite.rules.errors import BudgetExhausted, DivergedError, SpecificationError, StalledError
from zerowait.suite.rules.evaluation import (
    AnyObjective,
    Evaluation,
    ObjectiveSignature,
)
from zerowait.suite.rules.fidelities import AnyFidelity, Fidelities, Names, check_fidelity, training_identity
from zerowait.suite.rules.identity import canonical_json, check_config_id, digest
from zerowait.suite.rules.idle import Idle
from zerowait.suite.rules.objectives import check_objectives, evaluations_with, lost
from zerowait.suite.rules.occupation import Workers
from zerowait.suite.rules.overhead import OVERHEADS, Overhead
from zerowait.suite.rules.seeds import ObjectiveSeeds, check_fresh_seeds, check_run_seed
from zerowait.suite.rules.specification import MAX_WORKERS, make_specification
from zerowait.suite.sharing import arrival_wait, temporary, transport
from zerowait.suite.sharing import shared_directory as several_hosts
from zerowait.suite.sharing.call import Call, Rules, Taken
from zerowait.suite.sharing.connections import connections
from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.delivery_wait import wait_for_delivery
from zerowait.suite.sharing.idle import REMEDY
from zerowait.suite.sharing.journal_schema import claim_text, failure_text, outcome_text
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.rundir import RunDirectory, cannot, explained
from zerowait.suite.sharing.table import Status
from zerowait.suite.sharing.transport import LocalTransport, Transport

if TYPE_CHECKING:
    import pandas as pd


class Simulator:
    """A run on a directory: call it like the objective, from any thread or process; it returns when its result is due.

    Picklable. Constructing it on a directory that holds a run with the same specification joins that run.

    Parameters
    ----------
    objective
        Evaluates a configuration; see `zerowait.suite.rules.evaluation.Objective`.
    n_workers
        How many simulated workers there are: as many calls as that may run at once.
    directory
        The run's own folder, created when absent; None makes one in the system's temporary folder. That one goes with
        this process, or already with this object once it was left as a context manager; it stays when an error ends
        either, and after `finish()`.
    max_evaluations, max_time
        The budget: the first so many calls are evaluated and delivered; or what ends by this simulated time, in
        seconds.
    counts
        What `max_evaluations` counts: `"calls"`, or `"results"` of workers that stay busy until so many have been
        delivered; what is in flight then is not recorded.
    seed
        Run seed, from which the objective's seeds are derived.
    fresh_seeds
        Whether every call gets a seed of its own; otherwise a configuration keeps its seed whenever it is evaluated.
    overhead
        How the optimizer's own time is charged; `Overhead.measured()` by default.
    continual
        Whether an evaluation continues the training of a delivered one at a lower fidelity.
    fidelities
        Names of several fidelities, first the one that trainings continue along, where a query gives a mapping of names
        to numbers; as a mapping, with the value of each where a query gives one number or None. None takes those that
        the objective declares, or one.
    cluster
        What its workers are like that are not equal or not always there; None stands for P perfect ones.
    on_exhausted
        What a call past the budget does: `"raise"` `BudgetExhausted`, or return `"inf"` at once.
    on_worker_death
        When a process dies in a call: `"raise"` `WorkerDied` in every other one, or `"continue"` and record it as lost.
    idle
        How idle workers are recognised.
    query_timeout
        Real seconds that the objective may take to answer while others wait for it, then all of them get a
        `StalledError`; None waits for ever.
    shared_directory
        Whether workers on several hosts share the directory, over a network file system; on one host it is only slower.
        Other systems than Linux share no run in another way.
    labels
        Anything JSON that identifies the run, kept in the trace's metadata.
    objectives
        What is minimised where that is more than the loss: `value` and metrics by name, a minus sign in front of one
        that is maximised, such as `["value", "latency", "-accuracy"]`. Each evaluation must have them, finite.
    on_delivery
        Called as `on_delivery(config, fidelity, evaluation)` in the caller's process, before its result is returned.

    Raises
    ------
    SpecificationError
        An argument is not usable.
    RunMismatchError
        The directory holds another run.
    RunDirectoryError
        The directory cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the specification of a run, each a word of the design
        self,
        objective: AnyObjective,
        *,
        n_workers: int,
        directory: str | os.PathLike[str] | None = None,
        max_evaluations: int | None = None,
        max_time: float | None = None,
        counts: Counts = "calls",
        seed: int = 0,
        fresh_seeds: bool = False,
        overhead: Overhead | None = None,
        continual: bool = False,
        fidelities: Names | None = None,
        cluster: Cluster | None = None,
        on_exhausted: Literal["raise", "inf"] = "raise",
        on_worker_death: Literal["raise", "continue"] = "raise",
        idle: Idle | None = None,
        query_timeout: float | None = None,
        shared_directory: bool = False,
        labels: Mapping[str, Any] | None = None,
        objectives: Sequence[str] | None = None,
        on_delivery: Callable[[Mapping[str, Any], Any, Evaluation], None] | None = None,
    ) -> None:
        n_workers = arguments.integer("n_workers", n_workers, 1, MAX_WORKERS)
        arguments.choice("on_exhausted", on_exhausted, ("raise", "inf"))
        arguments.choice("on_worker_death", on_worker_death, ("raise", "continue"))
        if overhead is not None:
            arguments.instance("overhead", overhead, Overhead, OVERHEADS)
        if idle is not None:
            arguments.instance("idle", idle, Idle, "zerowait.Idle(...), such as Idle(sign='never'), or None")
        continual = arguments.boolean("continual", continual)
        shared_directory = arguments.boolean("shared_directory", shared_directory) or not HAS_BYTE_LOCKS
        self.objective = arguments.objective(objective)
        self.n_workers = n_workers
        self.seed = check_run_seed(seed)
        if cluster is not None:
            cluster = arguments.instance("cluster", cluster, Cluster, CLUSTERS).for_workers(n_workers)
        self.on_delivery = arguments.function("on_delivery", on_delivery)
        self._on_exhausted = on_exhausted
        self._shared_directory = shared_directory
        self._rules = Rules(
            Budget(max_evaluations, max_time, counts),
            Overhead.measured() if overhead is None else overhead,
            continual,
            Idle() if idle is None else idle,
            on_worker_death == "continue",
            None if cluster is None else Workers(cluster, self.seed),
            math.inf if query_timeout is None else arguments.real("query_timeout", query_timeout, 0.0, above=True),
        )
        several = check_objectives(objectives)
        self._fidelities = Fidelities.of(fidelities, objective)
        specification = make_specification(
            n_workers, self._rules.budget, self.seed, self._rules.overhead, continual=continual, labels=labels,
            cluster=cluster, fidelities=self._fidelities, on_worker_death=on_worker_death,
            shared_directory=shared_directory, **({} if HAS_BYTE_LOCKS else {"locks": "files"}),
            **check_fresh_seeds(fresh_seeds, continual=continual), **self._further_specification(),
            **({} if several is None else {"objectives": list(several)}),
        )  # fmt: skip
        self._is_temporary = directory is None
        root = temporary.make_folder() if directory is None else arguments.folder("directory", directory).absolute()
        self._run = RunDirectory(root)
        self._run.create_or_join(specification, lambda run: self._create(run, continual=continual))
        self._coordinator: Coordinator | None = None
        self._takes = ObjectiveSignature.of(objective)
        self._objectives = several
        self._seeds = ObjectiveSeeds(self.seed, fresh="fresh_seeds" in specification)
        self._shared: bytes | None = None
        with explained(root, "join the run"), self._connection() as coordinator:
            coordinator.transport.register()

    def _further_specification(self) -> Mapping[str, Any]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # A pool pickles the simulator for every call. What all copies share is one block of bytes that each process
        # unpickles once. It is made here, because threads may use an overhead model that cannot be pickled.
        if self._shared is None:
            alike = (
                "n_workers", "seed", "_takes", "_seeds", "_rules", "_on_exhausted", "_shared_directory", "_run",
                "_objectives", "_fidelities",
            )  # fmt: skip
            self._shared = pickle.dumps({name: self.__dict__[name] for name in alike})
        copied = type(self), self._shared, self.objective, self.on_delivery
        state = self.__getstate__()
        return (_copy, copied) if state is None else (_new_copy, copied, state)

    def __getstate__(self) -> Any:
        """Return the attributes that a subclass or a user has added, or None when there are none."""
        if type(self) is Simulator and len(self.__dict__) == len(_OWN):
            return None
        state = object.__getstate__(self)
        slots = state[1] if isinstance(state, tuple) else None  # of a subclass that has __slots__
        added = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return (added, slots) if slots else added or None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._say_what_was_kept(error)
        self.close()
        if self._is_temporary and error is None:
            temporary.remove_with(self, self._run.root)
        elif self._is_temporary:
            temporary.keep(self._run.root)

    def _say_what_was_kept(self, interrupt: KeyboardInterrupt) -> None:
        temporary.keep(self._run.root)
        note = f"what was recorded so far is in {self._run.journal}; look at it with `zerowait check {self._run.root}`"
        if note not in getattr(interrupt, "__notes__", ()):
            interrupt.add_note(note)

    @property
    def directory(self) -> Path:
        """The run's folder."""
        return self._run.root

    def _create(self, run: RunDirectory, *, continual: bool) -> None:
        workers = self._rules.workers
        arrivals = () if workers is None else workers.cluster.arrivals or ()
        if self._shared_directory:
            several_hosts.create(run, self.n_workers, arrivals)
        else:
            transport.create(run, self.n_workers, continual=continual, arrivals=arrivals, in_order=workers is None)

    def _transport(self) -> Transport:
        if self._shared_directory:
            return several_hosts.SharedDirectoryTransport(self._run, self.n_workers)
        return LocalTransport(self._run, self.n_workers)

    def _open(self) -> Coordinator:
        return Coordinator(self._transport(), self._rules)

    def _connect(self) -> Coordinator:
        """Return the connection, which stays open until the caller removes an entry from its `callers`."""
        coordinator = self._coordinator
        if coordinator is not None:
            coordinator.callers.append(None)
            if not coordinator.is_being_closed and not coordinator.transport.closed:
                return coordinator
            coordinator.callers.pop()
        coordinator = self._coordinator = connections.get(self._run, self._open)
        return coordinator

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Coordinator]:
        """Give access to the run outside of a call, and leave the critical section whatever happens."""
        coordinator = self._connect()
        try:
            yield coordinator
        except BaseException:
            coordinator.transport.let_go()
            raise
        finally:
            coordinator.callers.pop()

    # -- the call ----------------------------------------------------------------------------------------------------

    def __call__(
        self,
        config: Mapping[str, Any],
        fidelity: AnyFidelity = None,
        config_id: str | int | None = None,
        *,
        data: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Evaluate a configuration and return when its result is due in simulated time.

        Parameters
        ----------
        config
            Parameter values by name.
        fidelity
            Training budget, of several fidelities one by name; None asks for the full training.
        config_id
            The optimizer's own name of the configuration; None identifies it by its values.
        data
            Further keyword arguments of the objective, by name, for this call: what need not be pickled with it, such
            as a table that a cluster has scattered. Not recorded.

        Raises
        ------
        BudgetExhausted
            The budget is spent (unless `on_exhausted="inf"`).
        TooManyCallsError
            More than `n_workers` calls run at once.
        WorkerDied
            Another process died in a call (with `on_worker_death="raise"`).
        StalledError, WrongGuessError
            The run has ended because of idle workers; see `Idle`.
        InvalidEvaluationError
            The objective returned something that is not an evaluation.
        SpecificationError
            The configuration has no JSON form, its id was given to another one, or the fidelity is none of the run's.
        RunDirectoryError
            The run directory failed, by a full disk for instance.
        Exception
            Whatever the objective raised, at the evaluation's simulated end.
        """
        coordinator = self._connect()
        call: Call | None = None
        try:
            call, seed, passed = self._describe(config, fidelity, config_id, coordinator.now())
            keywords = self._keywords(passed, seed, data)
            slot = arrival_wait.claim(coordinator, call)
            if self._seeds.fresh and self._takes.seed:
                keywords["seed"] = self._seeds.of_call(call.identity, call.number)
            evaluation, failure = self._evaluate(coordinator, slot, config, keywords)
            taken = self._wait(coordinator, slot)
        except BaseException as error:
            if call is None:
                raise
            try:
                coordinator.abandon(call)
            except OSError as another:
                raise cannot(self._run.root, "record an evaluation", another) from error
            if isinstance(error, OSError):
                raise cannot(self._run.root, "record an evaluation", error) from error
            if isinstance(error, BudgetExhausted) and self._on_exhausted == "inf":
                return lost(self._objectives)
            if isinstance(error, KeyboardInterrupt):
                self._say_what_was_kept(error)
            raise
        finally:
            coordinator.callers.pop()
        if failure is not None:
            raise _charged(failure, taken.runtime)
        result = Evaluation(evaluation.value, taken.runtime, evaluation.metrics, taken.start, taken.end)
        if self.on_delivery is not None:
            self.on_delivery(config, fidelity, result)
        return result

    def _describe(
        self, config: Mapping[str, Any], fidelity: AnyFidelity, config_id: str | int | None, entered: float
    ) -> tuple[Call, int | None, AnyFidelity]:
        canonical = canonical_json(config)
        config_digest = identity = digest(canonical)
        if config_id is None:
            name = config_digest.hex()
        else:
            name = check_config_id(config_id)
            identity = digest(name)
        if self._fidelities is None:
            others, passed = None, fidelity
            number = check_fidelity(fidelity)
        else:
            number, others, passed = self._fidelities.asked(fidelity)
            number = check_fidelity(number)
            identity = training_identity(identity, others)
        # The seed is derived, so a trace can fill it in; it is worked out here only for an objective that takes it, and
        # where it tells `zerowait check` that the other fidelities are those of the call.
        seed = self._seeds.seed(identity) if (self._takes.seed or others) and not self._seeds.fresh else None
        text = claim_text(name, canonical, number, seed, named=config_id is not None, others=others)
        return Call(identity, config_digest, name, canonical, number, text, entered), seed, passed

    def _keywords(self, fidelity: AnyFidelity, seed: int | None, data: Mapping[str, Any] | None) -> dict[str, Any]:
        keywords: dict[str, Any] = {} if data is None else dict(arguments.mapping("data", data))
        if self._takes.fidelity:
            keywords["fidelity"] = fidelity
        if self._takes.seed:
            keywords["seed"] = seed
        return keywords

    def _evaluate(
        self, coordinator: Coordinator, slot: int, config: Mapping[str, Any], keywords: Mapping[str, Any]
    ) -> tuple[Evaluation, Exception | None]:
        try:
            evaluation = evaluations_with(self._objectives)(self.objective(config, **keywords), config)
        except Exception as error:  # noqa: BLE001 - reaches the optimizer at the evaluation's simulated end
            evaluation = Evaluation(math.nan, failed_runtime(error))
            diverged = isinstance(error, DivergedError)
            text = failure_text(_short(error), diverged=diverged)
            failed = coordinator.finish(slot, evaluation.runtime, Status.FAILED, text, diverged=diverged)
            return evaluation, failed or error
        return evaluation, coordinator.finish(slot, evaluation.runtime, Status.OK, outcome_text(evaluation))

    def _wait(self, coordinator: Coordinator, slot: int) -> Taken:
        return wait_for_delivery(coordinator, slot)

    # -- what an optimizer knows of its next calls ---------------------------------------------------------------------

    def expect(self, n: int) -> Promise:
        """Say that the optimizer makes `n` calls next, and then none before it gets another result.

        Nothing is guessed then: the free workers are waited for until these calls have come, and for no longer. As a
        context manager, for a batch that ends when its block is left: after the `n` calls none comes at all until then.
        Without a call, whoever waits for one goes on after `Idle.stall_after`.

        Raises
        ------
        SpecificationError
            `n` is no number of calls.
        """
        if isinstance(n, bool) or not hasattr(n, "__index__") or operator.index(n) < 0:
            raise SpecificationError(f"the number of expected calls is {n!r}; it must be an integer from 0")
        self._say(operator.index(n))
        return Promise(self, operator.index(n))

    def idle(self) -> Promise:
        """Say that the optimizer makes no call before it gets another result; as a context manager, none in its block.

        The least result is then delivered at once although workers are free, and no guess is needed.
        """
        return self.expect(0)

    def _say(self, calls: int, *, enters: bool = False) -> None:
        with self._connection() as coordinator:
            coordinator.say(calls, enters=enters)

    def _leave_barrier(self) -> None:
        with self._connection() as coordinator:
            coordinator.leave_barrier()

    # -- around the calls ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let simulated time begin now; otherwise it begins with the first call."""
        with self._connection() as coordinator:
            coordinator.begin_clock()

    def wait_started(self, n: int, timeout: float = 60.0, *, arrivals: bool = False) -> None:
        """Wait until `n` calls (at most `n_workers`) have got a slot: staggers workers whose first samples would race.

        Calls for workers of a cluster that are still to come are not waited for; with `arrivals` they are, and so is
        the arrival of the next one.

        Raises
        ------
        StalledError
            They have not after `timeout` real seconds.
        """
        with self._connection() as coordinator:
            started = coordinator.starts.wait(n, timeout, arrivals=arrivals)
        if not started:
            raise StalledError(
                f"waited {timeout} s for {n} calls of the simulator, but there were only {self.progress()['started']}"
            )

    def wait_joined(self, n: int, timeout: float = 60.0) -> None:
        """Wait until the run's simulator has been constructed `n` times: until all programs that share it have come.

        Whoever is there first then waits with its first call, and what the others take to start is charged to nobody.

        Raises
        ------
        StalledError
            They have not come after `timeout` real seconds.
        """
        n = arguments.integer("the number of simulators", n, 1)
        deadline = time.monotonic() + timeout
        while (joined := len(self._run.read_participants())) < n:
            if time.monotonic() >= deadline:
                raise StalledError(
                    f"waited {timeout} s for {n} simulators on {self._run.root}, but there were only {joined}; start "
                    f"{n} programs, or give a longer timeout"
                )
            time.sleep(_JOINING)

    def abort(self) -> None:
        """End the run: every call that waits or comes raises `RunAborted`; what has been recorded stays."""
        with self._connection() as coordinator:
            coordinator.abort()

    def progress(self) -> Mapping[str, Any]:
        """Return how far the run is: started, delivered, recorded, simulated_time, wall_time (s), idle_releases."""
        with self._connection() as coordinator:
            return coordinator.progress()

    def trace(self) -> pd.DataFrame:
        """Return the trace of what has been recorded so far; warn when guesses about idle workers were wrong."""
        with self._connection() as coordinator:
            n_records = coordinator.settle_dead_workers()
        # A killed process may have left a line behind them whose result nobody was given.
        trace = trace_of(self._run, self._run.read()["specification"], n_records)
        wrong = trace.attrs[ATTRIBUTE]["wrong_guesses"]
        if wrong:
            warnings.warn(
                f"{self._run.root}: {wrong} times a free worker was taken to be idle and called after all, so results "
                f"came too early; {REMEDY}",
                stacklevel=2,
            )
        return trace

    def finish(self) -> Path:
        """Write `trace.parquet` into the run's directory and return its path."""
        temporary.keep(self._run.root)
        with explained(self._run.root, "write the trace"):
            return write_trace(self.trace(), self._run.trace)

    def close(self) -> None:
        """Close this process's files of the run; the next call opens them again."""
        connections.close(self._run)


_JOINING = 0.01  # real seconds; programs take a hundred times as long to start


class Promise:
    """What `Simulator.expect` and `Simulator.idle` return: said already, and a context manager for a whole batch."""

    def __init__(self, simulator: Simulator, calls: int) -> None:
        self._simulator = simulator
        self._calls = calls

    def __enter__(self) -> None:
        self._simulator._say(self._calls, enters=True)  # noqa: SLF001 - a part of the simulator

    def __exit__(self, *_: object) -> None:
        self._simulator._leave_barrier()  # noqa: SLF001 - as above


_OWN = frozenset({
    "objective", "n_workers", "seed", "on_delivery", "_on_exhausted", "_shared_directory", "_rules", "_is_temporary",
    "_run", "_coordinator", "_takes", "_seeds", "_shared", "_objectives", "_fidelities",
})  # fmt: skip
"""The attributes that every simulator has and that its copies get by themselves."""


@functools.lru_cache(maxsize=16)
def _unpickle_shared(shared: bytes) -> Mapping[str, Any]:
    state: Mapping[str, Any] = pickle.loads(shared)  # noqa: S301 - from the pickle that this call is a part of
    return state


# A pool hands over the same simulator again and again; functions are unpickled to the same object each time.
_last_copies: dict[bytes, Simulator] = {}
_MOST_COPIES = 16


def _copy(kind: type[Simulator], shared: bytes, objective: AnyObjective, on_delivery: Any) -> Simulator:
    """Return the simulator in the process that unpickles it: the one of the call before, if it is alike."""
    simulator = _last_copies.get(shared)
    if (
        simulator is not None
        and type(simulator) is kind
        and simulator.objective is objective
        and simulator.on_delivery is on_delivery
    ):
        return simulator
    simulator = _new_copy(kind, shared, objective, on_delivery)
    if len(_last_copies) >= _MOST_COPIES:
        _last_copies.clear()
    _last_copies[shared] = simulator
    return simulator


def _new_copy(kind: type[Simulator], shared: bytes, objective: AnyObjective, on_delivery: Any) -> Simulator:
    """Return a copy of its own, whose state may be changed."""
    simulator = kind.__new__(kind)
    simulator.__dict__.update(
        _unpickle_shared(shared),
        _shared=shared,
        _coordinator=None,
        _is_temporary=False,
        objective=objective,
        on_delivery=on_delivery,
    )
    return simulator


def _charged(failure: Exception, runtime: float) -> Exception:
    """Return the failure as its caller gets it: of a training that was continued only the rest is charged."""
    if isinstance(failure, DivergedError):
        failure.runtime = runtime
    return failure


def _short(error: Exception, most: int = 400) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= most else text[: most - 3] + "..."
