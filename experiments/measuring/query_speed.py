"""What the benchmarks themselves cost: time of a query, time of loading, memory of one and of many processes together.

Each benchmark is measured in fresh processes, because what is loaded once stays. Memory is proportional set size (PSS,
proc(5)): a page that several processes map counts in each with its share, so that the sum over processes is what they
take together. What Python and NumPy take is measured first, in a process without a benchmark, and stands in the table
as its own row.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.suite.rules.errors import ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

    from zerowait import benchmarks

QUERIES = 2000
"""Timed queries of a benchmark, each of another configuration."""
PROCESSES = 16
"""So many hold a benchmark at once when their memory is added up."""
BARE = "(Python alone)"
OTHER_ANSWERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {name: {"answer": "choice"} for name in ("lcbench_raw", "scan_bench")}
)
"""Parameters with which a benchmark finds its answers in another way, which is measured besides."""
_MB = 1e6


class MeasurementFailedError(ZerowaitError, RuntimeError):
    """A process that should have measured a benchmark has ended early; the message names the benchmark."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The cost of one benchmark."""

    name: str
    """Its label."""
    tasks: int
    """How many tasks its family has; 0 when it has none."""
    median: float
    """Seconds of a query: the median over configurations."""
    p99: float
    """Seconds of a query: the 99th percentile over configurations."""
    load: float
    """Seconds from `benchmarks.load` to the end of the first query, data converted before, imports included."""
    memory: float
    """Bytes that one process takes (PSS)."""
    memory_together: float
    """Bytes that `PROCESSES` processes take together (PSS)."""


def report(names: Iterable[str], say: Callable[[str], None], queries: int = QUERIES) -> list[Speed]:
    """Measure the named benchmarks, the first task of each whose data is here; all when there are no names.

    Parameters
    ----------
    names
        Benchmarks, as `benchmarks.load` takes them.
    say
        Told what is skipped, and why.
    queries
        How many queries are timed.

    Raises
    ------
    SpecificationError
        A name is unknown.
    DataMissingError
        The data of a named benchmark is not here.
    """
    from zerowait import benchmarks

    known = {found.name: found for found in benchmarks.available()}
    wanted = list(names)
    rows = [_measure(BARE, {}, 0, 0)]
    for name in wanted or known:
        found = known.get(name)
        try:
            if found is not None and found.reason is not None and not wanted:
                say(f"skipped: {name}: {found.reason}")
                continue
            task = _first_task(name, found.tasks if found is not None else ())
        except ZerowaitError as error:
            if wanted:
                raise
            say(f"skipped: {name}: {error}")
            continue
        for parameters in ({}, OTHER_ANSWERS[name]) if name in OTHER_ANSWERS else ({},):
            tasks = len(found.tasks) if found is not None else 0
            rows.append(_measure(name, {"task": task, **parameters}, tasks, queries))
    return rows


def _first_task(name: str, tasks: tuple[str, ...]) -> str | None:
    """Return the first task whose data is here; raises what `benchmarks.load` does when there is none."""
    from zerowait import benchmarks

    for task in tasks[:-1]:
        with contextlib.suppress(benchmarks.DataMissingError):
            benchmarks.load(name, task=task)
            return task
    last = tasks[-1] if tasks else None
    benchmarks.load(name, task=last)
    return last


def print_rows(rows: Iterable[Speed]) -> None:
    """Print the table."""
    from rich.table import Table

    from zerowait.experiments.studies.listing import console

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("benchmark", no_wrap=True)
    for column in ("tasks", "median us", "99% us", "load ms", "1 process MB", f"{PROCESSES} processes MB"):
        table.add_column(column, justify="right")
    for row in rows:
        times = [f"{row.median * 1e6:,.1f}", f"{row.p99 * 1e6:,.1f}", f"{row.load * 1e3:,.0f}"]
        table.add_row(
            row.name,
            str(row.tasks or "-"),
            *(["-"] * 3 if row.name == BARE else times),
            f"{row.memory / _MB:,.1f}",
            f"{row.memory_together / _MB:,.1f}",
        )
    console().print(table)


def _measure(name: str, parameters: Mapping[str, Any], tasks: int, queries: int) -> Speed:
    """Measure one benchmark: timings and memory in one process, then the memory of many."""
    if name != BARE:
        _in_processes(1, name, parameters, 1)  # converts what has to be converted, and fills the file cache
    (one,) = _in_processes(1, name, parameters, queries)
    together = _in_processes(PROCESSES, name, parameters, min(queries, 100))
    label = one.pop("label")
    return Speed(
        name=label, tasks=tasks, memory=one.pop("pss"), memory_together=sum(each["pss"] for each in together), **one
    )


def _in_processes(n: int, name: str, parameters: Mapping[str, Any], queries: int) -> list[dict[str, Any]]:
    """Let n processes load and query a benchmark, and measure their memory while all of them are there."""
    context = get_context("spawn")  # a fork would share the pages of this process
    pipes, processes = [], []
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, name, parameters, queries), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(ours.close)  # before it is waited for: a process ends when nobody listens
            pipes.append(ours)
            processes.append(process)
        try:
            results = [pipe.recv() for pipe in pipes]
            for pipe in pipes:
                pipe.send("measure")  # all are loaded now
            for pipe, result in zip(pipes, results, strict=True):
                result["pss"] = pipe.recv()
        except (EOFError, ConnectionError):
            raise MeasurementFailedError(
                f"{name}: a process that measured it has ended early; what it said stands above"
            ) from None
        for pipe in pipes:
            pipe.send("end")
    return results


def _work(pipe: Connection, name: str, parameters: Mapping[str, Any], queries: int) -> None:
    """Load and query a benchmark, then wait to be measured."""
    import numpy as np
    import psutil

    with contextlib.suppress(EOFError, ConnectionError):
        result = {"label": name, "median": 0.0, "p99": 0.0, "load": 0.0}
        if name == BARE:
            import ConfigSpace  # noqa: F401 - every benchmark has a search space
        else:
            benchmark, result["load"] = _loaded(name, parameters)
            seconds = _query_times(benchmark, queries)
            result["label"] = benchmark.label
            result["median"], result["p99"] = statistics.median(seconds), float(np.quantile(seconds, 0.99))
        pipe.send(result)
        pipe.recv()
        memory = psutil.Process().memory_full_info()
        pipe.send(getattr(memory, "pss", memory.uss))  # only Linux divides what is shared
        pipe.recv()


def _loaded(name: str, parameters: Mapping[str, Any]) -> tuple[benchmarks.Benchmark, float]:
    """Return a benchmark that has answered its first query, and the seconds that this took."""
    import ConfigSpace  # noqa: F401 - its import is not the benchmark's

    from zerowait import benchmarks

    began = time.perf_counter()
    benchmark = benchmarks.load(name, **parameters)
    benchmark(dict(benchmark.space.get_default_configuration()))
    return benchmark, time.perf_counter() - began


def _query_times(benchmark: benchmarks.Benchmark, queries: int) -> list[float]:
    """Return the seconds of each query, with a seed, at the full fidelity."""
    import copy

    from zerowait.benchmarks.data.errors import TrainingFailedError

    space = copy.deepcopy(benchmark.space)
    space.seed(0)
    configs = [dict(config) for config in space.sample_configuration(max(queries, 2))][:queries]
    times = []
    for seed, config in enumerate(configs):
        began = time.perf_counter()
        # A benchmark that fails on purpose takes its time all the same.
        with contextlib.suppress(TrainingFailedError):
            benchmark(config, seed=seed)
        times.append(time.perf_counter() - began)
    return times
