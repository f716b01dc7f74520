"""Real seconds of runs in which workers get no call: fewer workers than `n_workers`, dead ones, generations, batches.

`zerowait bench --idle --before DIR` measures them in turns by the version that runs and by the one in DIR, a checkout.
Every run is a process of its own, in which this file is the program: so it uses no more of zerowait than 0.1 has.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

LONGEST = 60.0
"""Real seconds after which a run is given up."""
NO_END, NOT_THERE = float("inf"), float("nan")
_NOW = Path(__file__).resolve().parents[2]


def fewer_threads() -> float:
    """Time 100 evaluations on 4 threads with `n_workers=8`."""
    with _simulator(n_workers=8, max_evaluations=100) as simulator, ThreadPoolExecutor(4) as pool:
        return _timed(lambda: list(pool.map(simulator, _configs(100))))


def a_dead_process() -> float:
    """Time 120 evaluations of 4 processes, one of which is killed in its fifth."""
    context = get_context("fork")
    numbers = context.Value("i", 0)

    def objective(config: Mapping[str, Any]) -> Any:
        if config["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return _train(config)

    def work(simulator: Any, rank: int) -> None:
        for n in range(120):
            with numbers:
                k, numbers.value = numbers.value, numbers.value + 1
            if k >= 120:  # noqa: PLR2004 - all of them
                return
            simulator({"x": k, "dies": rank == 0 and n == 4})  # noqa: PLR2004 - the fifth

    with _simulator(objective, n_workers=4, max_evaluations=120, on_worker_death="continue") as simulator:
        processes = [context.Process(target=work, args=(simulator, rank)) for rank in range(4)]

        def run() -> None:
            for process in processes:
                process.start()
            for process in processes:
                process.join()

        return _timed(run)


def generations(*, said: bool) -> float:
    """Time five generations of 20 on 8 threads, of which the simulator may be told how many calls come."""
    with _simulator(n_workers=8, max_evaluations=100) as simulator, ThreadPoolExecutor(8) as pool:

        def run() -> None:
            configs = _configs(100)
            for first in range(0, 100, 20):
                with simulator.expect(20) if said else contextlib.nullcontext():
                    list(pool.map(simulator, configs[first : first + 20]))

        return _timed(run)


def nevergrad(name: str, *, wrapped: bool) -> float:
    """Time an optimizer of Nevergrad, 100 evaluations in batches of 8: threads, or else a `SimulatedExecutor`."""
    import numpy as np

    ng = importlib.import_module("nevergrad")
    space = ng.p.Array(shape=(3,)).set_bounds(-1.0, 1.0)
    optimizer = ng.optimizers.registry[name](space, budget=100, num_workers=8)
    optimizer.parametrization.random_state = np.random.RandomState(1)

    def minimize(evaluate: Callable[[dict[str, float]], Any], executor: Executor) -> None:
        def loss(x: Any) -> float:
            return float(evaluate({"x": float(sum(x * x))}).value)

        optimizer.minimize(loss, executor=executor, batch_mode=True)

    if wrapped:
        with _simulator(n_workers=8, max_evaluations=100) as simulator, ThreadPoolExecutor(8) as pool:
            return _timed(lambda: minimize(simulator, pool))
    from zerowait import Overhead, SimulatedExecutor

    with SimulatedExecutor(_train, n_workers=8, overhead=Overhead.none()) as executor:
        return _timed(lambda: minimize(executor.objective, executor))


CASES: dict[str, Callable[[], float]] = {
    "n_workers=8, a pool of 4 threads, 100 evaluations": fewer_threads,
    "four processes, one of them killed, 120 evaluations": a_dead_process,
    "five generations of 20 on 8 threads, guessed": functools.partial(generations, said=False),
    "the same with expect(20)": functools.partial(generations, said=True),
    "Nevergrad's DE, 100 evaluations in batches of 8 threads": functools.partial(nevergrad, "DE", wrapped=True),
    "Nevergrad's CMA, the same": functools.partial(nevergrad, "CMA", wrapped=True),
    "Nevergrad's DE by SimulatedExecutor": functools.partial(nevergrad, "DE", wrapped=False),
    "Nevergrad's CMA by SimulatedExecutor": functools.partial(nevergrad, "CMA", wrapped=False),
}
"""By name; each returns real seconds."""


def _simulator(objective: Any = None, **specification: Any) -> Any:
    from zerowait import Overhead, Simulator

    return Simulator(objective or _train, overhead=Overhead.none(), **specification)


def _train(config: Mapping[str, Any]) -> Any:
    x = config["x"]
    return _evaluation()(float(x), 1.0 + (x * 7.3) % 5.0)


@functools.cache
def _evaluation() -> Any:
    try:
        from zerowait import Evaluation
    except ImportError:  # of 0.1
        return importlib.import_module("suite").Evaluation
    return Evaluation


def _configs(n: int) -> list[dict[str, int]]:
    return [{"x": k} for k in range(n)]


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


# -- in turns ----------------------------------------------------------------------------------------------------------


def seconds(case: str, root: Path, longest: float = LONGEST) -> float:
    """Return the real seconds of a case by the zerowait in a folder; infinite when it has not ended by then."""
    command = [sys.executable, "-P", "-W", "ignore", __file__, case]
    try:
        done = subprocess.run(  # noqa: S603 - this file
            command, capture_output=True, text=True, timeout=longest, check=False,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return NO_END
    return float(done.stdout) if done.returncode == 0 else NOT_THERE


def main(before: Path | None, turns: int = 3, cases: Iterable[str] = CASES) -> dict[tuple[str, str], list[float]]:
    """Measure the cases in turns, print a line of a table for each, and return the seconds by case and version."""
    from rich.console import Console

    roots = {"now": _NOW} if before is None else {"before": before.resolve(), "now": _NOW}
    out = Console()
    out.print(f"real seconds, medians of {turns} turns; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    out.print(f"| | {' | '.join(roots)} |\n|---|{'---|' * len(roots)}")
    found: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        for _ in range(turns):
            for version, root in roots.items():
                known = found.setdefault((case, version), [])
                known.append(NO_END if NO_END in known else seconds(case, root))
        cells = [_cell(statistics.median(found[case, version])) for version in roots]
        out.print(f"| {case} | {' | '.join(cells)} |", markup=False, soft_wrap=True)
    return found


def _cell(median: float) -> str:
    if median == NO_END:
        return "no end"
    return f"{median:.2g}" if median == median else "-"  # noqa: PLR0124 - what is not a number is not equal to itself


if __name__ == "__main__":
    print(CASES[sys.argv[1]]())  # noqa: T201 - what `seconds` reads
