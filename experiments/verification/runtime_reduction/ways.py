"""The ways to run it: really slept, simulated on several cores, asked and told, and by mfhpo-simulator."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from zerowait.experiments.measuring import speed
from zerowait.experiments.verification import drivers
from zerowait.experiments.verification.runtime_reduction.work import (
    FULL_FIDELITY,
    WORKERS,
    Climber,
    Replayed,
    Scaled,
    point,
)
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.naive import NaiveRun
from zerowait.suite.rules.evaluation import Config

OVERHEADS: Mapping[str, Callable[[], Overhead]] = MappingProxyType(
    {"none": Overhead.none, "measured": Overhead.measured}
)


class Threads:
    """Workers that are threads of this process: their results come from futures.

    Parameters
    ----------
    simulator
        What evaluates.
    pool
        The threads.
    """

    def __init__(self, simulator: Simulator, pool: Executor) -> None:
        self._simulator = simulator
        self._pool = pool
        self._running: dict[Future[Evaluation], Query] = {}

    def submit(self, query: Query) -> None:
        """Give a query to a thread that has none."""
        self._running[self._pool.submit(self._simulator, query.config, query.fidelity)] = query

    def done(self) -> list[tuple[Query, Evaluation]]:
        """Wait for results, at least one, and return them in the order in which they ended; none when none runs."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return sorted(((self._running.pop(future), future.result()) for future in done), key=lambda pair: pair[1].end)


class Processes:
    """Workers that are processes of their own; to be used in a `with` statement.

    Parameters
    ----------
    simulator
        What evaluates; the processes inherit it.
    """

    def __init__(self, simulator: Callable[[Config, float | None], Evaluation]) -> None:
        self._servers = drivers.Servers(simulator, WORKERS)
        self._free: list[Connection[Any, Any]] = []
        self._running: dict[Connection[Any, Any], Query] = {}

    def __enter__(self) -> Self:
        """Return self."""
        self._free = list(self._servers.__enter__())
        return self

    def __exit__(self, *error: object) -> None:
        """Hang up, and wait for the processes to end."""
        self._servers.__exit__(*error)

    def submit(self, query: Query) -> None:
        """Give a query to a process that has none."""
        connection = self._free.pop()
        connection.send((query.config, query.fidelity))
        self._running[connection] = query

    def done(self) -> list[tuple[Query, Evaluation]]:
        """Wait for results, at least one, and return them in the order in which they ended; none when none runs."""
        if not self._running:
            return []
        results: list[tuple[Query, Evaluation]] = []
        ready = wait_for_connections(list(self._running))
        for connection in [running for running in self._running if running in ready]:
            answer = drivers.answer_of(connection)
            results.append((self._running.pop(connection), answer))
            self._free.append(connection)
        return sorted(results, key=lambda pair: pair[1].end)


def optimize(optimizer: Climber, workers: Threads | Processes) -> None:
    """Let workers evaluate, and tell and ask in the order in which results end."""
    for _ in _optimized(optimizer, workers):
        pass


def _optimized(optimizer: Climber, workers: Threads | Processes) -> Iterator[int]:
    """Do the same, and yield how many results have been told after each."""

    def hand_out() -> None:
        try:
            query = optimizer.ask()
        except StopIteration:
            return
        workers.submit(query)

    for _ in range(WORKERS):
        hand_out()
    told = 0
    while results := workers.done():
        for query, evaluation in results:
            optimizer.tell(query, evaluation)
            told += 1
            yield told
            hand_out()


@dataclass(frozen=True, slots=True)
class Result:
    """Losses in the order of their delivery, and how long it took."""

    losses: list[float]
    makespan: float
    """Simulated seconds."""
    wall: float
    """Real seconds, from the making of optimizer, simulator and workers until the last result was told."""
    with_trace: float = math.nan
    """The same until the trace was there as a table."""


@dataclass(frozen=True, slots=True)
class Slept:
    """What a slept run did."""

    asked: list[Config]
    """Its configurations in the order in which they were asked for."""
    ends: list[float]
    """When the result of each came, in simulated seconds."""
    losses: list[float]
    """In the order in which they came."""
    wall: float
    """Real seconds, from the making of the workers until the last result was told."""
    lateness: float
    """The longest that it was late, in simulated seconds: in waking a sleeper, or in handing out again."""

    @property
    def order(self) -> list[int]:
        """The numbers of the configurations in the order of their results."""
        return sorted(range(len(self.ends)), key=self.ends.__getitem__)

    @property
    def durations(self) -> list[float]:
        """Simulated seconds from the result after which each was asked for until its own."""
        freed = [0.0] * WORKERS + sorted(self.ends)
        return [end - before for end, before in zip(self.ends, freed, strict=False)]


def slept(benchmark: Scaled, seed: int, evaluations: int, scale: float, directory: Path | None) -> Slept:
    """Run with four threads that sleep."""
    with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=directory) as folder:
        simulator = NaiveRun(
            benchmark, time_scale=scale, n_workers=WORKERS, directory=Path(folder) / "run",
            max_evaluations=evaluations, seed=seed,
        )  # fmt: skip
        drivers.begin_together()
        climber = Climber(seed, evaluations)
        began = time.perf_counter()
        with simulator, ThreadPoolExecutor(WORKERS) as pool:
            optimize(climber, Threads(simulator, pool))
            wall = time.perf_counter() - began
            drivers.end_together()
            trace = simulator.trace()
    overslept = trace["end"] - trace["start"] - trace["runtime"]
    points = trace[[f"config.{name}" for name in climber.asked[0]]].itertuples(index=False, name=None)
    ends = dict(zip(points, trace["end"].tolist(), strict=True))
    return Slept(
        climber.asked, [ends[point(config)] for config in climber.asked], trace["value"].tolist(), wall,
        float((overslept + trace["overhead"]).max()),
    )  # fmt: skip


def multi_core(
    benchmark: Scaled | Replayed, seed: int, evaluations: int, overhead: Overhead, directory: Path | None
) -> Result:
    """Run with four processes that do not."""
    with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=directory) as folder:
        began = time.perf_counter()
        simulator = Simulator(
            benchmark, overhead=overhead, n_workers=WORKERS, directory=Path(folder) / "run",
            max_evaluations=evaluations, seed=seed,
        )  # fmt: skip
        with simulator, Processes(simulator) as workers:
            optimize(Climber(seed, evaluations), workers)
            wall = time.perf_counter() - began
            trace = simulator.trace()
            with_trace = time.perf_counter() - began
    return Result(trace["value"].tolist(), float(trace["end"].max()), wall, with_trace)


def ask_and_tell(
    benchmark: Scaled | Replayed, seed: int, evaluations: int, overhead: Overhead, directory: Path | None
) -> Result:
    """Run in this process, with an event heap; there is no directory."""
    del directory
    told = [0.0]
    began = time.perf_counter()
    trace = simulate(
        Climber(seed, evaluations), benchmark, n_workers=WORKERS, max_evaluations=evaluations, seed=seed,
        overhead=overhead, on_delivery=lambda _query, _evaluation: told.append(time.perf_counter()),
    )  # fmt: skip
    with_trace = time.perf_counter() - began
    return Result(trace["value"].tolist(), float(trace["end"].max()), told[-1] - began, with_trace)


def peer_multi_core(benchmark: Scaled, seed: int, evaluations: int) -> Result:
    """Run with four processes and mfhpo-simulator in the place of the simulator."""
    with speed.scratch(), contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        simulator = _Peer(benchmark, seed, evaluations)
        with Processes(simulator) as workers:
            wall = began
            for told in _optimized(Climber(seed, evaluations + WORKERS), workers):
                if told == evaluations:
                    wall = time.perf_counter() - began
        return Result([], simulator.makespan(), wall)


def peer_ask_and_tell(benchmark: Scaled, seed: int, evaluations: int) -> Result:
    """Run in this process, asked and told by mfhpo-simulator."""
    with speed.scratch(), contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        simulator = _Peer(benchmark, seed, evaluations, ask_and_tell=True)
        simulator.wrapper.simulate(_PeerOptimizer(Climber(seed, evaluations + 2 * WORKERS)))
        wall = time.perf_counter() - began
        return Result([], simulator.makespan(), wall)


class _Peer:
    """mfhpo-simulator's wrapper, called like our simulator."""

    def __init__(self, benchmark: Scaled, seed: int, evaluations: int, *, ask_and_tell: bool = False) -> None:
        from benchmark_simulator import ObjectiveFuncWrapper

        def objective(eval_config: Any, fidels: Any, seed: int | None, **_: Any) -> dict[str, float]:
            found = benchmark(eval_config, fidelity=fidels["z"], **({"seed": seed} if benchmark.noise else {}))
            return {"loss": found.value, "runtime": found.runtime}

        self.wrapper = ObjectiveFuncWrapper(
            obj_func=objective, n_workers=WORKERS, n_evals=evaluations, n_actual_evals_in_opt=evaluations + WORKERS,
            fidel_keys=["z"], obj_keys=["loss"], seed=seed, save_dir_name="run", ask_and_tell=ask_and_tell,
        )  # fmt: skip

    def __call__(self, config: Config, fidelity: float | None = None) -> Evaluation:
        """Evaluate as the wrapper does; it does not say when the result is due."""
        found = self.wrapper(eval_config=config, fidels={"z": int(fidelity or FULL_FIDELITY)})
        return Evaluation(found["loss"], found["runtime"], end=0.0)

    def makespan(self) -> float:
        """Return the simulated seconds until its last result."""
        return float(max(self.wrapper.get_results()["cumtime"]))


class _PeerOptimizer:
    """The same optimizer in the form that mfhpo-simulator asks for."""

    def __init__(self, optimizer: Climber) -> None:
        self._optimizer = optimizer

    def ask(self) -> tuple[Config, dict[str, int], None]:
        """Return the next configuration, its fidelity and no id."""
        query = self._optimizer.ask()
        assert query.fidelity is None or isinstance(query.fidelity, int | float)
        return query.config, {"z": int(query.fidelity or FULL_FIDELITY)}, None

    def tell(self, eval_config: Config, results: Mapping[str, float], *, fidels: Any, config_id: Any) -> None:
        """Tell the value."""
        del fidels, config_id
        self._optimizer.tell(Query(eval_config), Evaluation(results["loss"], results["runtime"]))


PEERS = MappingProxyType({"multi-core": peer_multi_core, "ask-and-tell": peer_ask_and_tell})
"""mfhpo-simulator on the same work, by mode."""
MODES = MappingProxyType({"multi-core": multi_core, "ask-and-tell": ask_and_tell})
"""By name."""
