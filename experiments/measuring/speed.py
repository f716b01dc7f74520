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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from zerowait import SimulatedExecutor
from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate

Config = dict[str, float]
PEER = "mfhpo-simulator"
_PEER_MODULE = "benchmark_simulator"


def objective(config: Config) -> Evaluation:
    """Return the workload's evaluation: the value and the runtime are read off the configuration."""
    return Evaluation(config["x"], config["y"])


def peer_objective(eval_config: Config, *_: Any, **__: Any) -> dict[str, float]:
    """Return the same in the form that the peer asks for."""
    return {"loss": eval_config["x"], "runtime": eval_config["y"]}


def workload(n: int, seed: int = 0) -> list[Config]:
    """Return n configurations with uniform runtimes from 0 to 10 s."""
    rng = random.Random(seed)  # noqa: S311 - a workload, no secret
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
    """Time the evaluations through a bare `multiprocessing.Pool`."""
    with get_context("fork").Pool(workers) as pool:
        pool.map(objective, configs[:workers], chunksize=1)  # every process has started
        began = time.perf_counter()
        for _ in pool.imap(objective, configs):
            pass
        return time.perf_counter() - began


def simulated_pool(configs: list[Config], workers: int) -> float:
    """Time the evaluations through the same pool with a `Simulator` in the place of the objective."""
    with scratch() as folder, get_context("fork").Pool(workers) as pool:
        pool.map(objective, configs[:workers], chunksize=1)
        with Simulator(
            objective,
            n_workers=workers,
            directory=folder / "run",
            max_evaluations=len(configs),
            overhead=Overhead.none(),
        ) as simulator:
            began = time.perf_counter()
            for _ in pool.imap(simulator, configs):
                pass
            took = time.perf_counter() - began
            ends = simulator.trace()["end"]
        if len(ends) != len(configs) or not ends.is_monotonic_increasing:
            raise AssertionError("the simulator delivered out of order")
        return took


def peer_pool(configs: list[Config], workers: int) -> float:
    """Time the evaluations through a pool and the peer's multi-core wrapper."""
    from benchmark_simulator import ObjectiveFuncWrapper

    with scratch() as folder, contextlib.redirect_stdout(io.StringIO()):
        wrapper = ObjectiveFuncWrapper(
            obj_func=peer_objective, n_workers=workers, n_actual_evals_in_opt=len(configs) + workers,
            n_evals=len(configs), obj_keys=["loss"], save_dir_name="run", tmp_dir=str(folder),
        )  # fmt: skip
        with get_context("fork").Pool(workers) as pool:
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
    from benchmark_simulator import ObjectiveFuncWrapper

    with scratch() as folder, contextlib.redirect_stdout(io.StringIO()):
        wrapper = ObjectiveFuncWrapper(
            obj_func=peer_objective, ask_and_tell=True, n_workers=workers, n_evals=len(configs),
            n_actual_evals_in_opt=len(configs) + workers, obj_keys=["loss"], save_dir_name="run", tmp_dir=str(folder),
        )  # fmt: skip
        optimizer = _PeerScript(configs + configs[: 2 * workers])
        began = time.perf_counter()
        wrapper.simulate(optimizer)
        return time.perf_counter() - began


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


# -- the measurement
# ----------------------------------------------------------------------------------------------------

Contender = Callable[[list[Config], int], float]


def measure(what: str, contenders: dict[str, Contender], workers: int, evaluations: int, turns: int) -> Row:
    """Let the contenders take turns on the same workload and return their times."""
    configs = workload(evaluations)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            seconds[name].append(contender(configs, workers))
    return Row(what, workers, evaluations, seconds)


def has_peer() -> bool:
    """Whether the peer is installed (it comes with the development extra)."""
    return importlib.util.find_spec(_PEER_MODULE) is not None


POOL_WORKERS = (1, 4, 8, 32, 64, 256)
EXECUTOR_WORKERS = (8, 1024)
LOOP_WORKERS = (1000, 100_000)
USUAL_WORKERS, MOST_PEER_WORKERS = 8, 32


def plan(
    evaluations: int, workers: list[int] | None, *, peers: bool, turns: int
) -> Iterator[tuple[str, dict[str, Contender], int, int, int]]:
    """Yield what is measured, as arguments of `measure`.

    All lengths are multiples of `evaluations`: a quarter and twelve and a half times as many show what the length of a
    run costs; ask and tell, which is faster, has five times as many. `workers` are those of every row; by default a
    pool has few, an executor some and ask and tell many.
    """
    pool: dict[str, Contender] = {"bare": bare_pool, "zerowait": simulated_pool}
    loop: dict[str, Contender] = {"bare": bare_loop, "zerowait": simulated_loop}
    pool_peer: dict[str, Contender] = {PEER: peer_pool} if peers else {}
    loop_peer: dict[str, Contender] = {PEER: peer_loop} if peers else {}
    for p in workers or POOL_WORKERS:
        yield "pool", pool, p, evaluations, turns
    usual = min(workers or POOL_WORKERS, key=lambda p: abs(p - USUAL_WORKERS))
    # The peer's cost grows with the square of the run's length, and beyond 32 workers it takes hours.
    if peers and usual <= MOST_PEER_WORKERS:
        yield "pool", {**pool, **pool_peer}, usual, evaluations, 1
    for n in (max(1, evaluations // 4), evaluations * 25 // 2):
        yield "pool, run length", pool, usual, n, turns
    executor: dict[str, Contender] = {"bare": bare_loop, "zerowait": simulated_executor}
    for p in workers or EXECUTOR_WORKERS:
        yield "executor", executor, p, 5 * evaluations, turns
    first, *others = workers or LOOP_WORKERS
    yield "ask and tell", {**loop, **loop_peer}, first, 5 * evaluations, turns
    for p in others:
        n = max(5 * evaluations, 3 * p * evaluations // 4000)  # of the usual 4000, three for each worker
        yield "ask and tell", loop, p, n, 1


def main(evaluations: int = 4000, workers: list[int] | None = None, *, peers: bool = True, turns: int = 3) -> list[Row]:
    """Measure, print one line a row, and return the rows.

    Parameters
    ----------
    evaluations
        How many evaluations a run of the pool has; other rows have multiples of it.
    workers
        Numbers of workers of every row; by default 1, 4, 8, 32, 64 and 256 with a pool, 8 and 1024 with an executor,
        and 1000 and 100,000 with ask and tell.
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
        f"{os.cpu_count()} cores; microseconds per evaluation, medians of {turns} turns; ratios of paired turns"
    )
    rows: list[Row] = []
    for arguments in plan(evaluations, workers, peers=peers, turns=turns):
        row = measure(*arguments)
        rows.append(row)
        costs = "  ".join(f"{name} {row.per_evaluation(name):,.1f}" for name in row.seconds)
        ratios = [f"zerowait/bare {row.ratio('zerowait', 'bare'):.2f}"]
        ratios += [f"{PEER}/zerowait {row.ratio(PEER, 'zerowait'):.0f}"] if PEER in row.seconds else []
        ratios.append(f"above bare {row.per_evaluation('zerowait') - row.per_evaluation('bare'):,.1f}")
        console.print(
            f"{row.what}: P={row.workers} n={row.evaluations:,}  {costs}  [{', '.join(ratios)}]",
            markup=False,
            soft_wrap=True,
        )
    return rows
