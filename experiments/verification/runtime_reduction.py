"""The same losses, how much sooner: Hartmann in six dimensions, really slept, on several cores, and asked and told.

Sharpens the runtime reduction of arXiv 2403.01888: four workers, 100 evaluations, ten seeds, with and without noise.
The optimizer depends on every result: half of its configurations are near the best that it was told. One result in
another place changes everything after it.

A speed-up is proportional to the runtimes, so it says nothing without them. The really slept runs that the authors
published (github.com/nabenabe0928/mfhpo-simulator-experiments, validation-results/deterministic.json) end after 1,173
to 1,345 s (the first five). Hartmann's runtimes, an hour at full fidelity, are scaled to that: 52 s on average, 1,300 s
a run.

As in `order_match`, seeds are chosen by their worked-out schedule alone to have no two results closer than `gap`: the
real run must not depend on which of two sleepers a machine wakes up first. A busy machine wakes some later than that.
So every run is also simulated with the durations that the slept one really had, which must give its losses on any
machine; where the machine did keep the order, the worked-out runtimes must as well.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

from zerowait.experiments.measuring import speed
from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Case, Schedule, expected, gap
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.naive import NaiveRun
from zerowait.suite.rules.evaluation import Config
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.seeds import ObjectiveSeeds

WORKERS = 4
STEP = 0.2
"""Standard deviation of the steps away from the best configuration, in the unit cube."""
OVERHEADS: Mapping[str, Callable[[], Overhead]] = MappingProxyType(
    {"none": Overhead.none, "measured": Overhead.measured}
)


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run."""

    evaluations: int
    """Of the runs whose losses are compared with the slept ones."""
    seeds: int
    scale: float
    """Real seconds that a simulated second is slept."""
    gap: float
    """Least simulated seconds between two results."""
    paired: tuple[Paired, ...]


MEAN_RUNTIME = 52.0
"""Simulated seconds, on average over the fidelities: 100 evaluations on four workers take 1,300 s."""
TIMED_EVALUATIONS = 100
"""Of the runs whose speed-up is measured; also of the quick version, because a run's start has its cost."""
REPETITIONS = 11
"""Of each run whose speed-up is measured; the median counts. They are the same run to the last bit, but the moment is
another: a machine that has slept for minutes takes up to twice as long for the first."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Runs of ours and of mfhpo-simulator on the same work, in turns, another one first in each."""

    mode: str
    evaluations: int
    turns: int
    """Of each seed."""
    least: Mapping[str, float | None]
    """By objective, what the median of the paired turns' ratios of speed-ups must reach; None where it is told only."""


BY_QUERY = "noisy, seeds by query"
"""mfhpo-simulator draws the seed of an evaluation from a generator, so noise depends on who asked first. Here its
objective works out the seed from the query, as ours is: a speed-up over the same work."""
PAIRED = (
    Paired("ask-and-tell", TIMED_EVALUATIONS, REPETITIONS, {"deterministic": 1.2, "noisy": None, BY_QUERY: 1.2}),
    Paired("ask-and-tell", 2000, 1, {"deterministic": None, "noisy": None, BY_QUERY: None}),
    Paired("multi-core", TIMED_EVALUATIONS, 3, {"deterministic": 1.0, "noisy": 1.0}),
    Paired("multi-core", 2000, 1, {"deterministic": 5.0, "noisy": 5.0}),
)
"""An evaluation of mfhpo-simulator with processes costs the more the longer the run is, so the ratio needs a length:
the 100 evaluations of the paper, and the 2,000 of `verify speed`."""
QUICK_PAIRED = PAIRED[0], PAIRED[2]
FULL = Scope(100, 10, 1 / 6, 0.6, PAIRED)
QUICK = Scope(20, 2, 1 / 75, 3.0, QUICK_PAIRED)
LEAST_FIDELITY, FULL_FIDELITY = 11, 100


class Scaled:
    """A benchmark with shorter runtimes, without noise: it takes no seed, so the simulator derives none for it."""

    noise = False

    def __init__(self) -> None:
        from zerowait import benchmarks

        self._benchmark = benchmarks.load("hartmann6", noise=self.noise)
        runtime = self._benchmark.formula.runtime  # type: ignore[attr-defined]
        all_of_them = [runtime(z / FULL_FIDELITY) for z in range(LEAST_FIDELITY, FULL_FIDELITY + 1)]
        factor = MEAN_RUNTIME * len(all_of_them) / sum(all_of_them)
        self.runtimes = [math.nan] * LEAST_FIDELITY + [factor * seconds for seconds in all_of_them]
        """Simulated seconds by fidelity."""

    def __call__(self, config: Config, *, fidelity: float | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        return self._shortened(self._benchmark(config, fidelity=fidelity), fidelity)

    def _shortened(self, evaluation: Evaluation, fidelity: float | None) -> Evaluation:
        return Evaluation(evaluation.value, self.runtimes[int(fidelity or FULL_FIDELITY)])


class Noisy(Scaled):
    """The same with noise, which depends on the seed."""

    noise = True

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        return self._shortened(self._benchmark(config, fidelity=fidelity, seed=seed), fidelity)


class SeededByQuery(Noisy):
    """The same with a seed of its own, which is the one that the simulator would give in a run with this seed.

    Parameters
    ----------
    run_seed
        The seed of the run.
    """

    def __init__(self, run_seed: int) -> None:
        super().__init__()
        self._seeds = ObjectiveSeeds(run_seed)

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        del seed
        return super().__call__(config, fidelity=fidelity, seed=self._seeds.seed(digest(canonical_json(config))))


class Replayed:
    """The same with the durations that a run really had.

    Parameters
    ----------
    benchmark
        What is evaluated.
    slept
        The run.
    """

    def __init__(self, benchmark: Scaled, slept: Slept) -> None:
        self._benchmark = benchmark
        self._seconds = dict(zip(map(_point, slept.asked), slept.durations, strict=True))

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does; a configuration that the run did not have takes its worked-out runtime."""
        found = self._benchmark(config, fidelity=fidelity, **({"seed": seed} if self._benchmark.noise else {}))
        return Evaluation(found.value, self._seconds.get(_point(config), found.runtime))


def _point(config: Config) -> tuple[float, ...]:
    return tuple(config.values())


class Climber:
    """An optimizer whose every second configuration or so is near the best that it was told.

    Parameters
    ----------
    seed
        Of its random numbers.
    evaluations
        How many configurations it has.
    """

    def __init__(self, seed: int, evaluations: int, dimension: int = 6) -> None:
        import numpy as np

        rng = np.random.default_rng(np.random.SeedSequence((6, seed)))
        self.fidelities: list[int] = rng.integers(LEAST_FIDELITY, FULL_FIDELITY + 1, evaluations).tolist()
        self._anywhere: list[list[float]] = rng.random((evaluations, dimension)).tolist()
        self._steps: list[list[float]] = (STEP * rng.standard_normal((evaluations, dimension))).tolist()
        self._near: list[bool] = (rng.random(evaluations) < 0.5).tolist()  # noqa: PLR2004 - half of them
        self._names = [f"x{i}" for i in range(dimension)]
        self.asked: list[Config] = []
        self._value = math.inf
        self._best: list[float] | None = None

    def ask(self) -> Query:
        """Return the next configuration with its fidelity."""
        k = len(self.asked)
        if k == len(self.fidelities):
            raise StopIteration
        x = self._anywhere[k]
        if self._near[k] and self._best is not None:
            x = [min(1.0, max(0.0, at + step)) for at, step in zip(self._best, self._steps[k], strict=True)]
        self.asked.append(dict(zip(self._names, x, strict=True)))
        return Query(self.asked[k], self.fidelities[k])

    def tell(self, query: Query, evaluation: Evaluation, /) -> None:
        """Remember the best."""
        if evaluation.value < self._value:
            self._value, self._best = evaluation.value, list(query.config.values())


def _schedule(seed: int, scope: Scope, runtimes: list[float]) -> Schedule:
    return expected(_case(seed, scope, runtimes))


def _case(seed: int, scope: Scope, runtimes: list[float]) -> Case:
    return Case(tuple(runtimes[z] for z in Climber(seed, scope.evaluations).fidelities), workers=WORKERS)


def seeds(scope: Scope, runtimes: list[float]) -> list[tuple[int, float]]:
    """Return the first seeds whose schedules keep the gap, each with its gap in simulated seconds."""
    found: list[tuple[int, float]] = []
    seed = 0
    while len(found) < scope.seeds:
        case = _case(seed, scope, runtimes)
        least = gap(case, expected(case))
        if least >= scope.gap:
            found.append((seed, least))
        seed += 1
    return found


class Workers(Protocol):
    """Four workers that evaluate."""

    def submit(self, query: Query) -> None:
        """Give a query to a worker that has none."""

    def done(self) -> list[tuple[Query, Evaluation]]:
        """Wait for results, at least one, and return them in the order in which they ended; none when none runs."""


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


def optimize(optimizer: Climber, workers: Workers) -> None:
    """Let workers evaluate, and tell and ask in the order in which results end."""
    for _ in _optimized(optimizer, workers):
        pass


def _optimized(optimizer: Climber, workers: Workers) -> Iterator[int]:
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
        climber.asked, [ends[_point(config)] for config in climber.asked], trace["value"].tolist(), wall,
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
        return query.config, {"z": int(query.fidelity or FULL_FIDELITY)}, None

    def tell(self, eval_config: Config, results: Mapping[str, float], *, fidels: Any, config_id: Any) -> None:
        """Tell the value."""
        del fidels, config_id
        self._optimizer.tell(Query(eval_config), Evaluation(results["loss"], results["runtime"]))


PEERS = MappingProxyType({"multi-core": peer_multi_core, "ask-and-tell": peer_ask_and_tell})
"""mfhpo-simulator on the same work, by mode."""
MODES = MappingProxyType({"multi-core": multi_core, "ask-and-tell": ask_and_tell})
"""By name."""


def run(request: Request) -> Outcome:
    """Sleep all runs at the same time, then simulate one after the other."""
    return verify(QUICK if request.quick else FULL, request)


def verify(scope: Scope, request: Request) -> Outcome:
    """Run a scope and compare."""
    objectives = {"deterministic": Scaled(), "noisy": Noisy()}
    chosen = seeds(scope, objectives["noisy"].runtimes)
    request.tell(f"{len(chosen) * len(objectives)} runs are slept at once; a simulated second in {scope.scale:g} s")
    truth = drivers.at_once({
        (name, seed): partial(slept, benchmark, seed, scope.evaluations, scope.scale, request.directory)
        for name, benchmark in objectives.items() for seed, _ in chosen
    })  # fmt: skip
    request.tell("and simulated, one after the other")
    for way in MODES.values():  # modules that are imported on first use are no part of a run
        way(objectives["noisy"], 0, scope.evaluations, Overhead.none(), request.directory)
    rows = [
        {
            "objective": name,
            "seed": seed,
            "gap_ms": least * scope.scale * 1e3,
            "lateness_ms": truth[name, seed].lateness * scope.scale * 1e3,
            "slept_wall": truth[name, seed].wall,
            "slept_in_order": truth[name, seed].order == _schedule(seed, scope, benchmark.runtimes).order,
            **_simulated(benchmark, seed, mode, overhead, truth[name, seed], scope, request.directory),
        }
        for name, benchmark in objectives.items()
        for seed, least in chosen
        for mode in MODES
        for overhead in OVERHEADS
    ]
    return _outcome(rows, _pairs(objectives, chosen, scope, request), scope)


def _pairs(
    objectives: Mapping[str, Scaled], chosen: list[tuple[int, float]], scope: Scope, request: Request
) -> list[dict[str, Any]]:
    """Return the speed-ups of ours and of mfhpo-simulator's in paired turns, a row a turn; none without it."""
    rows = []
    for paired in scope.paired if speed.has_peer() else ():
        request.tell(f"{speed.PEER} beside it: {paired.mode}, {paired.evaluations} evaluations")
        for name, (k, (seed, _)) in itertools.product(paired.least, enumerate(chosen)):
            mine = objectives["noisy" if name == BY_QUERY else name]
            theirs = SeededByQuery(seed) if name == BY_QUERY else mine
            ours = partial(MODES[paired.mode], mine, seed, paired.evaluations, Overhead.measured())
            peers = partial(PEERS[paired.mode], theirs, seed, paired.evaluations)
            for turn in range(paired.turns):
                both: dict[str, Result] = {}
                for who in ("ours", "peers") if (k + turn) % 2 else ("peers", "ours"):
                    both[who] = ours(request.directory) if who == "ours" else peers()
                our_speed_up, other = (both[who].makespan / both[who].wall for who in ("ours", "peers"))
                rows.append({
                    "objective": name, "mode": paired.mode, "evaluations": paired.evaluations, "seed": seed,
                    "turn": turn, "speed_up": our_speed_up, "peer_speed_up": other, "ratio": our_speed_up / other,
                })  # fmt: skip
    return rows


def _simulated(
    benchmark: Scaled, seed: int, mode: str, overhead: str, truth: Slept, scope: Scope, directory: Path | None
) -> dict[str, Any]:
    compared = MODES[mode](benchmark, seed, scope.evaluations, OVERHEADS[overhead](), directory)
    timed = [
        MODES[mode](benchmark, seed, TIMED_EVALUATIONS, OVERHEADS[overhead](), directory) for _ in range(REPETITIONS)
    ]
    replayed = MODES[mode](Replayed(benchmark, truth), seed, scope.evaluations, Overhead.none(), directory)
    makespan, wall = timed[0].makespan, statistics.median(one.wall for one in timed)
    return {
        "mode": mode,
        "overhead": overhead,
        "same_losses": compared.losses == truth.losses,
        "replayed": replayed.losses == truth.losses,
        "time_error": abs(compared.makespan - max(truth.ends)) / max(truth.ends),
        "makespan": makespan,
        "wall": wall,
        "wall_with_trace": statistics.median(one.with_trace for one in timed),
        "speed_up": makespan / wall,
        "slowest_speed_up": makespan / max(one.wall for one in timed),
    }


def _outcome(rows: list[dict[str, Any]], pairs: list[dict[str, Any]], scope: Scope) -> Outcome:
    import pandas as pd

    details = pd.DataFrame(rows)
    keys = ["objective", "mode", "overhead"]
    groups = details.groupby(keys, sort=False)
    table = groups.agg(
        runs=("seed", "size"), lateness_ms=("lateness_ms", "max"), slept_in_order=("slept_in_order", "sum"),
        same_losses=("same_losses", "sum"), replayed=("replayed", "sum"), time_error=("time_error", "max"),
        makespan=("makespan", "median"), wall=("wall", "median"),
        wall_with_trace=("wall_with_trace", "median"), least_speed_up=("speed_up", "min"),
        median_speed_up=("speed_up", "median"), slowest_speed_up=("slowest_speed_up", "min"),
    ).reset_index()  # fmt: skip
    gates = []
    for (objective, mode), group in details.groupby(["objective", "mode"], sort=False):
        punctual = group[group["slept_in_order"]]
        gates += [
            Gate(f"{objective}, {mode}: simulated with the durations that the slept runs really had: runs with exactly "
                 "their losses", float(group["replayed"].sum()), "==", len(group)),
            Gate(f"{objective}, {mode}: runs with exactly the slept losses, overhead none and measured, where sleepers "
                 "woke up in their order", float(punctual["same_losses"].sum()), "==", len(punctual)),
        ]  # fmt: skip
    beside = pd.DataFrame(pairs)
    medians: dict[Any, float] = {}
    if pairs:
        medians = beside.groupby(["objective", "mode", "evaluations"], sort=False)["ratio"].median().to_dict()
    least = {(paired.mode, paired.evaluations): paired.least for paired in scope.paired}
    gates += [
        Gate(f"{objective}, {mode}: speed-up over {speed.PEER}'s, {n} evaluations", median, ">=", limit)
        for (objective, mode, n), median in medians.items()
        if (limit := least[mode, n][objective]) is not None
    ]
    size = f"{scope.seeds} seeds, {scope.evaluations} evaluations, {WORKERS} workers"
    meaning = (
        f"a speed-up is simulated over real seconds of a whole run of {TIMED_EVALUATIONS} evaluations, from the making "
        f"of optimizer, simulator and workers until the last result was told: the median of {REPETITIONS} repetitions; "
        "slowest_speed_up is that of the slowest repetition"
    )
    ratios = "; ".join(f"{mode}, {objective}, {n}: {median:.2f}" for (objective, mode, n), median in medians.items())
    compared = f"speed-up over {speed.PEER}'s, medians of paired turns, by number of evaluations: {ratios}"
    slept_runs = details.drop_duplicates(["objective", "seed"])
    punctuality = (
        f"{slept_runs['slept_in_order'].sum()} of {len(slept_runs)} slept runs kept their order; in the others the "
        "machine woke a sleeper later than the gap"
    )
    notes = [f"{size}; the slept runs sleep a simulated second in {scope.scale:g} s", punctuality, meaning]
    notes.append(compared if pairs else f"{speed.PEER} is not installed, so there is no gate for a speed-up")
    return Outcome("runtime-reduction", table, gates, notes, {"runs": details, "pairs": beside})
