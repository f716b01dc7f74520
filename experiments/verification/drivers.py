"""Optimizers that really spend their time, driven by threads: slept, simulated, or without any waiting."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast

import pandas as pd

from zerowait.experiments.verification.outcome import Gate
from zerowait.experiments.verification.schedules import Case, Telling
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.evaluation import Config
from zerowait.suite.rules.idle import Idle

Evaluate = Callable[[int], object]
Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

# An optimizer that sleeps while it samples uses no CPU time; it is not idle all the same.
NEVER_IDLE = Idle(sign="never")
_STAGGER = 0.03
"""Real seconds from the beginning of one task to that of the next: what it takes to start its threads, and more."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run did; times are simulated seconds, lists in the order in which configurations were asked for."""

    order: list[int]
    """The numbers of the configurations in the order of their results."""
    known: list[int]
    """Number of results that were known when the sampling of each began."""
    start: list[float]
    end: list[float]
    """Empty when nothing was simulated and nothing slept, as `start`."""
    lateness: float = 0.0
    """The longest that the operating system overslept, in simulated seconds; of runs that slept."""
    guesses: int = 0
    """How often free workers were taken to be idle."""
    wrong_guesses: int = 0
    """How often a worker was taken to be idle and called after all."""
    warned: bool = False
    """Whether the trace came with a warning of wrong guesses, with its remedy."""


def at_once(tasks: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result]:
    """Run tasks that mostly sleep at the same time, each in a process of its own, so that none holds up another.

    All are made ready first, then they begin one shortly after the other, and none computes its trace before the last
    has slept: what computes makes others wake up late.
    """
    import zerowait.suite.records.journal_to_trace  # noqa: F401 - brings pandas along, which the processes would import one by one

    context = get_context("fork")
    _Phase.barrier = context.Barrier(len(tasks))
    try:
        with ProcessPoolExecutor(len(tasks), mp_context=context) as pool:
            running = {key: pool.submit(_in_phase, task) for key, task in tasks.items()}
            errors = [error for future in running.values() if (error := future.exception()) is not None]
            # A task that fails breaks the others' barrier; what they say of it is no news.
            for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
                raise error
            return {key: future.result() for key, future in running.items()}
    finally:
        _Phase.barrier = None


class _Phase:
    """What the processes of `at_once` wait for; they inherit it."""

    barrier: Barrier | None = None


def begin_together() -> None:
    """Wait until all tasks of `at_once` are ready, and for this one's turn to begin; elsewhere return at once."""
    if _Phase.barrier is not None:
        time.sleep(_Phase.barrier.wait() * _STAGGER)


def end_together() -> None:
    """Wait until no task of `at_once` sleeps any more; elsewhere return at once."""
    if _Phase.barrier is not None:
        _Phase.barrier.wait()


def _in_phase(task: Callable[[], Result]) -> Result:
    try:
        return task()
    except BaseException:
        if _Phase.barrier is not None:
            _Phase.barrier.abort()  # the others must not wait for this one
        raise


class Turns:
    """A lock that is given away in the order in which it was asked for, which `threading.Lock` does not promise."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queue: deque[threading.Lock] = deque()
        self._taken = False

    def join(self) -> threading.Lock:
        """Take a place in the queue; whoever acquires what is returned has the turn."""
        place = threading.Lock()
        with self._mutex:
            if self._taken:
                place.acquire()
                self._queue.append(place)
            self._taken = True
        return place

    def leave(self) -> None:
        """Give the turn to the next."""
        with self._mutex:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._taken = False


class Drive:
    """An optimizer asked by P threads, each of which evaluates what it was given and comes back.

    Parameters
    ----------
    case
        What the optimizer hands out and what it costs.
    evaluate
        Evaluates the configuration of a number; returns when its result is there.
    scale
        Real seconds that the optimizer sleeps for each second of sampling; 0 when its time is modelled.
    """

    def __init__(self, case: Case, evaluate: Evaluate, scale: float) -> None:
        self._case = case
        self._evaluate = evaluate
        self._scale = scale
        self._turns = Turns()
        self._mutex = threading.Lock()
        self._told = 0
        self.arrived: list[int] = []
        self.known: list[int] = []
        self._errors: list[BaseException] = []

    def run(self, started: Callable[[int], object] | None = None) -> None:
        """Evaluate everything; `started(n)` waits until n workers have begun, where first configurations would race."""
        threads = []
        for worker in range(self._case.workers):
            queued = threading.Event()
            threads.append(threading.Thread(target=self._work, args=(queued,)))
            threads[-1].start()
            queued.wait()
            if started is not None:
                started(worker + 1)
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self, queued: threading.Event) -> None:
        try:
            previous: int | None = None
            while (k := self._next(previous, queued)) is not None:
                self._evaluate(k)
                previous = k
                with self._mutex:
                    self.arrived.append(k)
                    self._told += self._case.telling == "on arrival" or self._case.sampling == "parallel"
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the thread that waits
            self._errors.append(error)
        finally:
            queued.set()

    def _next(self, previous: int | None, queued: threading.Event) -> int | None:
        """Tell what has not been told, sample, and return the number of the configuration, or None at the end."""
        serial = self._case.sampling == "serial"
        if serial:
            place = self._turns.join()
            queued.set()
            place.acquire()
        try:
            with self._mutex:
                if serial and self._case.telling == "in turn":
                    self._told += previous is not None
                k, told = len(self.known), self._told
                if k == len(self._case.runtimes) or self._errors:
                    return None
                self.known.append(told)
            queued.set()
            if self._scale:
                time.sleep(self._case.seconds(told) * self._scale)
            return k
        finally:
            if serial:
                self._turns.leave()


def slept(case: Case, scale: float, directory: Path | None) -> Observed:
    """Run the case for real: workers sleep their runtimes and the optimizer its sampling, `scale` real seconds each."""
    with _folder(directory) as folder:
        run = NaiveRun(_Runtimes(case, 1.0, scale), time_scale=scale, **_arguments(case, folder))
        observed = _observe(case, run, scale, 1.0)
        late = max(
            end - start - runtime
            for start, end, runtime in zip(observed.start, observed.end, case.runtimes, strict=True)
        )
        return Observed(observed.order, observed.known, observed.start, observed.end, late)


def measured(case: Case, scale: float, directory: Path | None, idle: Idle = NEVER_IDLE) -> Observed:
    """Simulate the case under measured overhead: only the optimizer sleeps, `scale` real seconds for each second.

    Where queries take time, the objective sleeps as well.
    """
    with _folder(directory) as folder:
        overhead = Overhead.measured(sampling=case.sampling)
        run = Simulator(_Runtimes(case, scale, scale), overhead=overhead, idle=idle, **_arguments(case, folder))
        return _observe(case, run, scale, scale)


def modelled(case: Case, directory: Path | None) -> Observed:
    """Simulate the case under a modelled overhead: nobody sleeps.

    Threads that take one result each cannot be told of others on arrival, so that case is asked and told.
    """
    if case.telling == "on arrival":
        return asked(case, 0.0)
    with _folder(directory) as folder:
        overhead = _modelled_overhead(case)
        run = Simulator(_Runtimes(case, 1.0), overhead=overhead, idle=NEVER_IDLE, **_arguments(case, folder))
        return _observe(case, run, 0.0, 1.0)


def asked(case: Case, scale: float) -> Observed:
    """Ask and tell the case in one process; its serial optimizer really sleeps when `scale` is not 0."""
    optimizer, unit = _Asked(case, scale), scale or 1.0
    # On arrival is what a measured overhead does without being told.
    told = None if scale and case.telling == "on arrival" else _TOLD[case.telling]
    begin_together()
    trace = simulate(
        optimizer, _Runtimes(case, unit, scale), n_workers=case.workers, max_evaluations=len(case.runtimes), told=told,
        overhead=Overhead.measured() if scale else _modelled_overhead(case), on_delivery=optimizer.end_together_at_last,
    )  # fmt: skip
    return _observed(trace, optimizer.known, unit)


_TOLD: Mapping[Telling, Literal["turn", "arrival"]] = MappingProxyType({"in turn": "turn", "on arrival": "arrival"})


def _modelled_overhead(case: Case) -> Overhead:
    return Overhead.model(case.seconds, name="worked out", sampling=case.sampling)


class _Asked:
    """Hands out the configurations of a case, and sleeps what its sampling costs."""

    def __init__(self, case: Case, scale: float) -> None:
        self._case = case
        self._scale = scale
        self._told = 0
        self.known: list[int] = []

    def ask(self) -> Query:
        """Return the next configuration when it has been sampled."""
        self.known.append(self._told)
        if self._scale:
            time.sleep(self._case.seconds(self._told) * self._scale)
        return Query({"k": len(self.known) - 1})

    def tell(self, _query: Query, _evaluation: Evaluation, /) -> None:
        """Count the result."""
        self._told += 1

    def end_together_at_last(self, _query: Query, _evaluation: Evaluation) -> None:
        """After the last result, wait for the others: the trace is made next, and would wake their sleepers late."""
        if self._told == len(self._case.runtimes):
            end_together()


def replayed(case: Case, seen: Observed) -> list[int]:
    """Simulate with the durations that a run really had, and return the order of the results.

    Whatever a machine oversleeps is a part of these durations, so the order has to be that of the run, however late
    its sleepers were.
    """
    freed = [0.0] * case.workers + sorted(seen.end)
    overheads = iter([start - then for start, then in zip(seen.start, freed, strict=False)])
    durations = [end - start for start, end in zip(seen.start, seen.end, strict=True)]
    trace = simulate(
        _Numbers(len(durations)),
        lambda config: Evaluation(0.0, durations[config["k"]]),
        n_workers=case.workers,
        max_evaluations=len(durations),
        overhead=Overhead.model(lambda _: next(overheads), name="as it was", sampling="parallel"),
    )
    return [int(k) for k in trace["config.k"]]


class _Numbers:
    def __init__(self, n: int) -> None:
        self._numbers = iter(range(n))

    def ask(self) -> Query:
        return Query({"k": next(self._numbers)})

    def tell(self, query: Query, evaluation: Evaluation, /) -> None:
        """Ignore the result."""


def unsimulated(case: Case, scale: float) -> Observed:
    """Run the case without any waiting for runtimes: results count in the order in which they come back."""
    drive = Drive(case, lambda k: k, scale)
    begin_together()
    drive.run()
    end_together()
    return Observed(drive.arrived, drive.known, [], [])


def _observe(case: Case, run: Simulator, scale: float, unit: float) -> Observed:
    """Drive a simulator whose simulated second is `unit` seconds of the case."""
    with run, _callers(case, run) as evaluate:
        drive = Drive(case, evaluate, scale)
        begin_together()
        run.start()
        drive.run(None if scale else run.wait_started)
        end_together()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trace: pd.DataFrame = run.trace()
    warned = any("called after all" in str(one.message) and "idle=Idle(" in str(one.message) for one in caught)
    made, wrong = (trace.attrs[ATTRIBUTE][key] for key in ("idle_releases", "wrong_guesses"))
    return replace(_observed(trace, drive.known, unit), guesses=made, wrong_guesses=wrong, warned=warned)


@contextlib.contextmanager
def _callers(case: Case, run: Simulator) -> Iterator[Evaluate]:
    """Have what the case's workers call: the run, or for each thread of them a process that calls it."""
    if case.callers == "threads":
        yield lambda k: run({"k": k})
        return
    with Servers(run, case.workers) as connections:
        free, mine = list(connections), threading.local()

        def evaluate(k: int) -> object:
            if not hasattr(mine, "connection"):
                mine.connection = free.pop()
            mine.connection.send(({"k": k}, None))
            return answer_of(mine.connection)

        yield evaluate


class Servers:
    """Processes that call a simulator, each at the other end of a pipe; to be used in a `with` statement.

    A process pool would come between them and the simulator with two threads, two queues and a future for each result.

    Parameters
    ----------
    simulator
        What they call with a configuration and a fidelity; the processes inherit it.
    n
        How many there are.
    """

    def __init__(self, simulator: Callable[[Config, float | None], Evaluation], n: int) -> None:
        context = get_context("fork")
        self._connections: list[Connection[Any, Any]] = []
        self._processes = []
        for _ in range(n):
            ours, theirs = context.Pipe()
            arguments = (simulator, theirs, [*self._connections, ours])
            self._processes.append(context.Process(target=_serve, args=arguments))
            self._processes[-1].start()
            theirs.close()
            self._connections.append(ours)

    def __enter__(self) -> list[Connection[Any, Any]]:
        """Return our ends of the pipes."""
        return self._connections

    def __exit__(self, *_: object) -> None:
        """Hang up, and wait for the processes to end."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()


def answer_of(connection: Connection[Any, Any]) -> Evaluation:
    """Return what a server has answered, or raise what it has raised."""
    answer = connection.recv()
    if isinstance(answer, BaseException):
        raise answer
    return cast("Evaluation", answer)


def _serve(
    simulator: Callable[[Config, float | None], Evaluation],
    connection: Connection[Any, Any],
    others: list[Connection[Any, Any]],
) -> None:
    for other in others:  # inherited; while they are open, nobody hears that this process's end hangs up
        other.close()
    while True:
        try:
            config, fidelity = connection.recv()
        except EOFError:
            return
        try:
            connection.send(simulator(config, fidelity))
        except Exception as error:  # noqa: BLE001 - raised again by `answer_of`, in the process that waits
            connection.send(error)


def guess_gates(table: pd.DataFrame, changed: pd.Series[bool], guessed: Any, surprise: Any) -> list[Gate]:
    """Return the gates on guesses; masks say which runs differ from the truth, are guessed about, have a surprise."""
    silent = changed & (table["guesses"] > 0) & ((table["wrong_guesses"] == 0) | ~table["warned"].astype(bool))
    return [
        Gate("guessed: runs that a guess has changed and that do not say so", float(silent.sum()), "==", 0),
        Gate("guessed: guesses about a sampler that has always waited",
             float(table[guessed & ~surprise]["guesses"].sum()), "==", 0),
        Gate("guessed: wrong guesses about a sampler that begins to wait",
             float(table[guessed & surprise]["wrong_guesses"].sum()), ">=", 1),
    ]  # fmt: skip


def _observed(trace: pd.DataFrame, known: list[int], unit: float) -> Observed:
    order = [int(k) for k in trace["config.k"]]
    start, end = [0.0] * len(order), [0.0] * len(order)
    for k, begun, ended in zip(order, trace["start"], trace["end"], strict=True):
        start[k], end[k] = begun / unit, ended / unit
    return Observed(order, known, start, end)


@dataclass(frozen=True)
class _Runtimes:
    case: Case
    unit: float
    scale: float = 0.0
    """Real seconds that a second of a query is slept."""

    def __call__(self, config: Mapping[str, Any]) -> Evaluation:
        if self.case.queries and self.scale:
            time.sleep(self.case.queries[config["k"]] * self.scale)
        return Evaluation(float(config["k"]), self.case.runtimes[config["k"]] * self.unit)


def _arguments(case: Case, folder: str) -> dict[str, Any]:
    return {"n_workers": case.workers, "directory": Path(folder) / "run", "max_evaluations": len(case.runtimes)}


def _folder(directory: Path | None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=directory)
