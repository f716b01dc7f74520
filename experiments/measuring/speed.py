"""What a simulated evaluation costs beside the bare loop and beside a peer, measured on the same workload in one go.

Machines drift, so the contenders of a row take turns, several times, and the table shows medians and the ratios of
paired turns. Nothing here is a test: numbers are printed, and the reader judges.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zerowait import SimulatedExecutor, adapters, benchmarks
from zerowait.adapters.adapter import Mode
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.rules.budget import Budget

Config = dict[str, float]
Contender = Callable[[list[Config], int], float]
PEER = "mfhpo-simulator"
_PEER_MODULE = "benchmark_simulator"


def objective(config: Config) -> Evaluation:
    """Return the workload's evaluation: the value and the runtime are read off the configuration."""
    return Evaluation(config["x"], config["y"])


def peer_objective(eval_config: Config, *_: Any, **__: Any) -> dict[str, float]:
    """Return the same in the form that the peer asks for."""
    return {"loss": eval_config["x"], "runtime": eval_config["y"]}


def workload(n: int) -> list[Config]:
    """Return n configurations with uniform runtimes from 0 to 10 s."""
    rng = random.Random(0)  # noqa: S311 - a workload, no secret
    return [{"x": rng.random(), "y": 10.0 * rng.random()} for _ in range(n)]


class Script:
    """An ask-and-tell optimizer that costs next to nothing."""

    def __init__(self, configs: list[Config]) -> None:
        self._configs = iter(configs)

    def ask(self) -> Query:
        """Return the next configuration."""
        return Query(next(self._configs))

    def tell(self, query: Query, evaluation: Evaluation, /) -> None:
        """Ignore the result."""


class _PeerScript:
    def __init__(self, configs: list[Config]) -> None:
        self._configs = iter(configs)

    def ask(self) -> tuple[Config, None, None]:
        return next(self._configs), None, None

    def tell(self, eval_config: Config, results: dict[str, float], *, fidels: None, config_id: None) -> None:
        """Ignore the result."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    workers: int
    evaluations: int
    seconds: dict[str, list[float]]
    """Real seconds of every turn, by contender."""

    def per_evaluation(self, contender: str) -> float:
        """Return the median cost of an evaluation in microseconds."""
        return statistics.median(self.seconds[contender]) / self.evaluations * 1e6

    def ratio(self, contender: str, other: str) -> float:
        """Return the median over turns of one contender's time over another's."""
        return statistics.median(a / b for a, b in zip(self.seconds[contender], self.seconds[other], strict=True))


# -- the contenders: each returns the real seconds of its timed part --------------------------------------------------


def bare_pool(configs: list[Config], workers: int) -> float:
    """Time the evaluations through a bare `multiprocessing.Pool` that has all of them from the beginning."""
    with _pool(configs, workers) as pool:
        began = time.perf_counter()
        for _ in pool.imap(objective, configs):
            pass
        return time.perf_counter() - began


def bare_pool_asked(configs: list[Config], workers: int) -> float:
    """Time the evaluations through such a pool that is asked for one at a time, as a serial order of results wants."""
    with _pool(configs, workers) as pool:
        began = time.perf_counter()
        for config in configs:
            pool.apply(objective, (config,))
        return time.perf_counter() - began


def simulated_pool(configs: list[Config], workers: int, *, shared_directory: bool = False) -> float:
    """Time them through the same pool with a `Simulator`, perhaps in a directory that several hosts may share."""
    with _pool(configs, workers) as pool:
        return _simulated(partial(pool.imap, iterable=configs), configs, workers, shared_directory=shared_directory)


def bare_threads_asked(configs: list[Config], workers: int) -> float:
    """Time the evaluations through a bare `ThreadPoolExecutor` that is asked for one at a time."""
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        for config in configs:
            pool.submit(objective, config).result()
        return time.perf_counter() - began


def simulated_threads(configs: list[Config], workers: int) -> float:
    """Time the evaluations through such threads with a `Simulator` in the place of the objective."""
    with ThreadPoolExecutor(workers) as pool:
        return _simulated(lambda simulator: pool.map(simulator, configs), configs, workers)


@contextlib.contextmanager
def _pool(configs: list[Config], workers: int) -> Iterator[Pool]:
    with get_context("fork").Pool(workers) as pool:
        pool.map(objective, configs[:workers], chunksize=1)  # every process has started
        yield pool


def _simulated(
    evaluate: Callable[[Simulator], Iterable[Any]], configs: list[Config], workers: int, **more: Any
) -> float:
    with scratch() as folder, Simulator(
        objective, n_workers=workers, directory=folder / "run", max_evaluations=len(configs), overhead=Overhead.none(),
        **more,
    ) as simulator:  # fmt: skip
        began = time.perf_counter()
        for _ in evaluate(simulator):
            pass
        took = time.perf_counter() - began
        ends = simulator.trace()["end"]
    if len(ends) != len(configs) or not ends.is_monotonic_increasing:
        raise AssertionError("the simulator delivered out of order")
    return took


def dehb(mode: Mode) -> Contender:
    """Return what times DEHB: with its own processes, or its own loop over simulated workers in this process."""
    return partial(_optimized, lambda: (adapters.load("dehb"), benchmarks.load("branin")), mode=mode)


def pruned(mode: Mode) -> Contender:
    """Return what times Optuna's random search with a pruner that is asked after each of 52 epochs and ends nothing."""
    return partial(
        _optimized,
        lambda: (
            adapters.load("optuna-random", pruner={"name": "median", "n_startup_trials": 10**9}),
            benchmarks.load("branin", fidelity_range=[49, 100]),
        ),
        mode=mode,
    )


def pruned_alone(configs: list[Config], workers: int) -> float:
    """Time the same reports in a loop of Optuna, one trial after the other."""
    del workers
    import optuna

    from zerowait.adapters.optuna.threads import quiet

    branin, left = benchmarks.load("branin", fidelity_range=[49, 100]), len(configs)
    with quiet():
        study = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=10**9)
        )

    def train(trial: optuna.Trial) -> float:
        nonlocal left
        config = {name: trial.suggest_float(name, 0.0, 1.0) for name in ("x0", "x1")}
        for epoch in range(49, 101):
            value = branin(config, fidelity=epoch, seed=0).value
            trial.report(value, epoch)
            left -= 1
            if trial.should_prune():
                raise optuna.TrialPruned
            if not left:
                study.stop()
                break
        return value

    with quiet():
        began = time.perf_counter()
        study.optimize(train)
        return time.perf_counter() - began


def _optimized(
    make: Callable[[], tuple[adapters.Adapter, benchmarks.Benchmark]],
    configs: list[Config],
    workers: int,
    *,
    mode: Mode,
) -> float:
    optimizer, benchmark = make()
    began = time.perf_counter()
    trace = optimizer.optimize(
        benchmark, n_workers=workers, seed=0, budget=Budget(len(configs)), overhead=Overhead.none(), mode=mode
    )
    took = time.perf_counter() - began
    if len(trace) != len(configs):
        raise AssertionError(f"{optimizer.name} made {len(trace)} of {len(configs)} evaluations")
    return took


def peer_pool(configs: list[Config], workers: int) -> float:
    """Time the evaluations through a pool and the peer's multi-core wrapper."""
    with _peer(configs, workers) as wrapper, get_context("fork").Pool(workers) as pool:
        began = time.perf_counter()
        for _ in pool.imap(wrapper, configs + configs[:workers]):
            pass
        return time.perf_counter() - began


def bare_loop(configs: list[Config], workers: int) -> float:
    """Time ask, evaluate and tell, one after the other."""
    del workers
    optimizer = Script(configs)
    began = time.perf_counter()
    for _ in configs:
        query = optimizer.ask()
        optimizer.tell(query, objective(query.config))  # type: ignore[arg-type]
    return time.perf_counter() - began


def simulated_loop(configs: list[Config], workers: int) -> float:
    """Time `simulate`, the making of the trace included."""
    optimizer = Script(configs)
    began = time.perf_counter()
    simulate(optimizer, objective, n_workers=workers, max_evaluations=len(configs), overhead=Overhead.none())
    return time.perf_counter() - began


def simulated_executor(configs: list[Config], workers: int) -> float:
    """Time the same through a `SimulatedExecutor`: each result is answered by the next submission."""
    todo = iter(configs)
    executor = SimulatedExecutor(objective, n_workers=workers, max_evaluations=len(configs), overhead=Overhead.none())

    def submit(_: object = None) -> None:
        config = next(todo, None)
        if config is not None:
            executor.submit(executor.objective, config).add_done_callback(submit)

    began = time.perf_counter()
    for _ in range(workers):
        submit()
    executor.drain()
    executor.trace()
    return time.perf_counter() - began


def peer_loop(configs: list[Config], workers: int) -> float:
    """Time the peer's ask-and-tell mode."""
    with _peer(configs, workers, ask_and_tell=True) as wrapper:
        optimizer = _PeerScript(configs + configs[: 2 * workers])
        began = time.perf_counter()
        wrapper.simulate(optimizer)
        return time.perf_counter() - began


@contextlib.contextmanager
def _peer(configs: list[Config], workers: int, **mode: bool) -> Iterator[Any]:
    from benchmark_simulator import ObjectiveFuncWrapper

    with scratch() as folder, contextlib.redirect_stdout(io.StringIO()):
        yield ObjectiveFuncWrapper(
            obj_func=peer_objective, n_workers=workers, n_evals=len(configs), obj_keys=["loss"], save_dir_name="run",
            n_actual_evals_in_opt=len(configs) + workers, tmp_dir=str(folder), **mode,
        )  # fmt: skip


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Have a folder that goes, and work in it: the peer writes below the current folder."""
    folder = Path(tempfile.mkdtemp(prefix="zerowait-bench-"))
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(here)
        shutil.rmtree(folder, ignore_errors=True)


# -- the measurement --------------------------------------------------------------------------------------------------


def measure(what: str, contenders: Mapping[str, Contender], workers: int, evaluations: int, turns: int) -> Row:
    """Let the contenders take turns on the same workload, another one first in each, and return their times."""
    configs = workload(evaluations)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns):
        names = list(contenders)
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(contenders[name](configs, workers))
    return Row(what, workers, evaluations, seconds)


def has_peer() -> bool:
    """Whether the peer is installed (it comes with the development extra)."""
    return importlib.util.find_spec(_PEER_MODULE) is not None


OURS, BARE, ASKED, NATIVE = "zerowait", "bare", "one at a time", "native"
POOL: Mapping[str, Contender] = MappingProxyType({BARE: bare_pool, ASKED: bare_pool_asked, OURS: simulated_pool})
THREADS: Mapping[str, Contender] = MappingProxyType({ASKED: bare_threads_asked, OURS: simulated_threads})
SHARED: Mapping[str, Contender] = MappingProxyType(
    {ASKED: bare_pool_asked, OURS: partial(simulated_pool, shared_directory=True)}
)
EXECUTOR: Mapping[str, Contender] = MappingProxyType({BARE: bare_loop, OURS: simulated_executor})
LOOP: Mapping[str, Contender] = MappingProxyType({BARE: bare_loop, OURS: simulated_loop})
DEHB: Mapping[str, Contender] = MappingProxyType({NATIVE: dehb("native"), OURS: dehb("native-simulated")})
PRUNED: Mapping[str, Contender] = MappingProxyType(
    {BARE: pruned_alone, NATIVE: pruned("native"), OURS: pruned("ask_tell")}
)

POOL_WORKERS = (1, 4, 8, 32, 64, 256, 1024)
OTHER_WORKERS = (1, 8, 64, 1024)
SHARED_WORKERS = (1, 8, 64)
LOOP_WORKERS = (1, 8, 1024, 100_000)
USUAL_WORKERS, MOST_PEER_WORKERS, MOST_DEHB_WORKERS = 8, 32, 8


def plan(
    evaluations: int, workers: list[int] | None, *, peers: bool, turns: int
) -> Iterator[tuple[str, Mapping[str, Contender], int, int, int]]:
    """Yield what is measured, as arguments of `measure`.

    All lengths are multiples of `evaluations`: a quarter and twelve and a half times as many show what the length of a
    run costs; what runs in one process has five times as many, and DEHB, which takes a third of a second for each in
    its own processes, a hundredth. `workers` are those of every row.
    """
    peer_pool_too = {**POOL, PEER: peer_pool} if peers else POOL
    for p in workers or POOL_WORKERS:
        yield "processes", POOL, p, evaluations, turns
    usual = min(workers or POOL_WORKERS, key=lambda p: abs(p - USUAL_WORKERS))
    # The peer's cost grows with the square of the run's length, and beyond 32 workers it takes hours.
    if peers and usual <= MOST_PEER_WORKERS:
        yield "processes", peer_pool_too, usual, evaluations, 1
    for n in (max(1, evaluations // 4), evaluations * 25 // 2):
        yield "processes, run length", POOL, usual, n, turns
    for p in workers or OTHER_WORKERS:
        yield "threads", THREADS, p, evaluations, turns
    for p in workers or SHARED_WORKERS:
        yield "shared directory", SHARED, p, max(1, evaluations // 4), turns
    for p in workers or OTHER_WORKERS:
        yield "executor", EXECUTOR, p, 5 * evaluations, turns
    if usual <= MOST_DEHB_WORKERS and importlib.util.find_spec("dehb"):
        yield "DEHB, native-simulated", DEHB, usual, max(1, evaluations // 100), turns
    if importlib.util.find_spec("optuna"):
        yield "Optuna, 52 reports a trial", PRUNED, usual, evaluations, turns
    loop_peer: dict[str, Contender] = {PEER: peer_loop} if peers else {}
    for p in workers or LOOP_WORKERS:
        n = max(5 * evaluations, 3 * p * evaluations // 4000)  # of the usual 4000, three for each worker
        long = n > 5 * evaluations
        yield "ask and tell", LOOP if long else {**LOOP, **loop_peer}, p, n, 1 if long else turns


def line(row: Row) -> str:
    """Return a row as it is printed: costs by contender, ratios of paired turns, and what comes on top of the floor."""
    costs = "  ".join(f"{name} {row.per_evaluation(name):,.1f}" for name in row.seconds)
    floors = [name for name in row.seconds if name not in (OURS, PEER)]
    ratios = [f"{OURS}/{floor} {row.ratio(OURS, floor):.2f}" for floor in floors]
    ratios += [f"{PEER}/{OURS} {row.ratio(PEER, OURS):.0f}"] if PEER in row.seconds else []
    return f"{row.what}: P={row.workers} n={row.evaluations:,}  {costs}  [{', '.join(ratios)}]"


def main(evaluations: int = 4000, workers: list[int] | None = None, *, peers: bool = True, turns: int = 3) -> list[Row]:
    """Measure, print one line a row, and return the rows.

    Parameters
    ----------
    evaluations
        How many evaluations a run of the pool has; other rows have multiples of it.
    workers
        Numbers of workers of every row; by default from 1 to 1,024, and up to 100,000 with ask and tell.
    peers
        Whether to measure the peer, which takes minutes.
    turns
        How often the contenders take turns.
    """
    from rich.console import Console

    console = Console()
    if peers and not has_peer():
        console.print(f"{PEER} is not installed (pip install 'zerowait\\[dev]'); measuring without it")
        peers = False
    console.print(
        f"{os.cpu_count()} cores; microseconds per evaluation, medians of {turns} turns; ratios of paired turns\n"
        f"floors: {BARE}: a pool that has all tasks from the beginning, or a loop; {ASKED}: a pool that is asked for "
        f"one evaluation after the other; {NATIVE}: the library's own processes or threads",
        soft_wrap=True,
    )
    rows: list[Row] = []
    for arguments in plan(evaluations, workers, peers=peers, turns=turns):
        rows.append(measure(*arguments))
        console.print(line(rows[-1]), markup=False, soft_wrap=True)
    return rows
