"""What an optimizer spends between a result and the next configuration, and how much of that is the library waiting.

Every optimizer is run under `Overhead.measured()`, in each of its modes, in a process of its own. What is measured, of
all evaluations but the first P (whose configurations come while the library starts):

sampling
    The real seconds charged for a configuration: from the delivery of a result to the worker's next call, the
    simulator's own work left out. Mean and median.
computing
    The CPU seconds, user and system, that all processes of the run spend between two calls of the objective.
asleep
    The share of the real time between two calls in which no process computes: one minus computing over the real time,
    at least 0. It is what timers, polling with sleeps, locks and messages under way cost. Several threads that compute
    at once hide as much of it, and a process that waits for a CPU looks asleep: nothing else may run on the machine.
machinery
    For the native mode, the share of its median sampling time that ask-and-tell does not need with the same number of
    workers: what dispatching, polling, locks and pickling cost, whether they sleep or spin.

Intervals in which the simulator waited until it took a worker for idle are left out of computing and asleep.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.protocol import Wrapped
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.sharing.processes import Process, cpu_times, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zerowait.adapters import Mode
    from zerowait.suite.rules.evaluation import Evaluation

DEFAULT_WORKERS = (1, 4)
LOOK_AGAIN = 1.0
"""Real seconds after which the processes of a run are listed anew."""
BUSY = 0.3
"""Load for each core above which the numbers say more about the machine than about the libraries."""
IDLE_WAIT = 0.1
"""Real seconds that an interval may be longer than what was charged; in a longer one the simulator waited."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report; what was not measured is None."""

    optimizer: str
    library: str
    mode: str
    workers: int
    """Simulated workers."""
    evaluations: int
    """Evaluations that are counted."""
    sampling: float | None = None
    """Mean seconds charged for a configuration."""
    sampling_median: float | None = None
    """Median of the same."""
    computing: float | None = None
    """Mean CPU seconds of all processes between two calls."""
    asleep: float | None = None
    """Share of the real time between two calls in which no process computes."""
    machinery: float | None = None
    """Share of the native mode's median sampling time that ask-and-tell does not need."""
    problem: str | None = None
    """Why it was not measured."""


class Clocked(Wrapped):
    """A benchmark that writes down when it is called and how much CPU time the run has used by then.

    Parameters
    ----------
    benchmark
        Evaluates.
    log
        The file to which every call appends a line.
    root
        The process whose descendants, with itself, are the processes of the run.
    """

    def __init__(self, benchmark: Any, log: Path, root: Process) -> None:
        super().__init__(benchmark)
        self.log = log
        self.root = root
        self._pids: list[int] = []
        self._looked = -LOOK_AGAIN

    def __getstate__(self) -> dict[str, Any]:
        """Leave out which processes there were."""
        return {**self.__dict__, "_pids": [], "_looked": -LOOK_AGAIN}

    def __call__(
        self, config: Mapping[str, Any], *, fidelity: float | None = None, seed: int | None = None
    ) -> Evaluation:
        """Evaluate the configuration as the benchmark does."""
        entered = time.monotonic()
        evaluation: Evaluation = self.benchmark(config, fidelity=fidelity, seed=seed)
        if entered - self._looked >= LOOK_AGAIN:
            self._pids = list(cpu_times([self.root]))
            self._looked = entered
        cpu = {pid: seconds for pid in self._pids if (seconds := _cpu_seconds(pid)) is not None}
        line = json.dumps({"entered": entered, "left": time.monotonic(), "cpu": cpu}) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        return evaluation


def measure(
    optimizer: str, mode: Mode, workers: int, evaluations: int, parameters: Mapping[str, Any] | None = None
) -> Row:
    """Measure one optimizer in one mode, in a fresh process; an error of the run becomes the row's problem."""
    from zerowait import adapters
    from zerowait.adapters.environments.isolation import run_isolated

    try:
        adapter = adapters.load(optimizer, **(parameters or {}))
    except SpecificationError as error:
        return Row(optimizer, "?", mode, workers, 0, problem=str(error))
    try:
        overheads, calls, idle = run_isolated(_run, optimizer, mode, workers, evaluations, dict(parameters or {}))
    except Exception as error:  # noqa: BLE001 - one optimizer that fails does not spoil the report
        return Row(optimizer, adapter.library, mode, workers, 0, problem=f"{type(error).__name__}: {error}")
    return summarize(optimizer, adapter.library, mode, workers, overheads, calls, waited=bool(idle))


def _run(
    optimizer: str, mode: Mode, workers: int, evaluations: int, parameters: dict[str, Any]
) -> tuple[list[float], list[dict[str, Any]], int]:
    """Make the run; return what was charged, in the order of starts, the calls, and how often workers were idle."""
    from zerowait import adapters, benchmarks

    with tempfile.TemporaryDirectory(prefix="zerowait-") as folder:
        log = Path(folder) / "calls"
        trace = adapters.load(optimizer, **parameters).optimize(
            Clocked(benchmarks.load("branin"), log, this_process()),
            n_workers=workers,
            seed=0,
            budget=Budget(max_evaluations=evaluations),
            overhead=Overhead.measured(),
            mode=mode,
        )
        calls = [json.loads(line) for line in log.read_text().splitlines()]
    overheads = trace.sort_values(["start", "evaluation"])["overhead"].tolist()
    return overheads, sorted(calls, key=lambda call: float(call["entered"])), trace.attrs["zerowait"]["idle_releases"]


def summarize(
    optimizer: str,
    library: str,
    mode: str,
    workers: int,
    overheads: Sequence[float],
    calls: Sequence[Mapping[str, Any]],
    *,
    waited: bool,
) -> Row:
    """Return the row of a run.

    Parameters
    ----------
    overheads
        Real seconds charged for each evaluation, in the order of calls.
    calls
        When each call of the objective began and ended, and the CPU seconds of every process.
    waited
        Whether the simulator ever waited until it took a worker for idle.
    """
    counted = overheads[workers:]
    if not counted:
        problem = f"{len(overheads)} evaluations are too few for {workers} workers"
        return Row(optimizer, library, mode, workers, 0, problem=problem)
    wall = computed = 0.0
    intervals = 0
    for i in range(workers, len(calls)):
        before, after = calls[i - 1], calls[i]
        seconds = after["entered"] - before["left"]
        if waited and seconds > overheads[i] + IDLE_WAIT:
            continue
        intervals += 1
        wall += seconds
        computed += sum(max(0.0, cpu - before["cpu"].get(pid, cpu)) for pid, cpu in after["cpu"].items())
    return Row(
        optimizer,
        library,
        mode,
        workers,
        len(counted),
        sampling=statistics.fmean(counted),
        sampling_median=statistics.median(counted),
        computing=computed / intervals if intervals else None,
        asleep=max(0.0, 1.0 - computed / wall) if wall else None,
    )


def with_machinery(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, those of the native mode with the share that ask-and-tell does not need."""
    asked = {(row.optimizer, row.workers): row.sampling_median for row in rows if row.mode == "ask_tell"}
    completed = []
    for row in rows:
        other = asked.get((row.optimizer, row.workers))
        if row.mode == "native" and row.sampling_median and other is not None:
            row = Row(**{**asdict(row), "machinery": max(0.0, 1.0 - other / row.sampling_median)})  # noqa: PLW2901 - completed
        completed.append(row)
    return completed


def report(
    optimizers: Sequence[str],
    workers: Iterable[int],
    evaluations: int,
    tell: Callable[[str], object] = str,
) -> list[Row]:
    """Measure optimizers, each in all of its modes, and return one row for each run.

    Parameters
    ----------
    optimizers
        Their names; all that can run here if there is none.
    workers
        Numbers of simulated workers.
    evaluations
        Evaluations of a run, those that are not counted included.
    tell
        Called with what is measured next; what it returns does not matter.

    Raises
    ------
    SpecificationError
        A name is unknown.
    """
    from zerowait import adapters

    known = {found.name: found for found in adapters.available()}
    unknown = [name for name in optimizers if name not in known]
    if unknown:
        raise SpecificationError(f"there is no optimizer {unknown[0]!r}; known are {', '.join(sorted(known))}")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > BUSY * cores:
        tell(f"the machine is busy (load {load:.1f} on {cores} cores): times are too long, and what waits looks asleep")
    names = optimizers or [found.name for found in known.values() if found.installed]
    rows = []
    for name in names:
        for mode in known[name].modes:
            if mode == "native-simulated":  # its workers are in the optimizer's process, where nothing waits
                continue
            for n in workers:
                tell(f"{name}, {mode}, {n} workers")
                rows.append(measure(name, mode, n, evaluations))
    return with_machinery(rows)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows, seconds and shares in full precision."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def print_rows(rows: Sequence[Row]) -> None:
    """Print the rows as a table: milliseconds and per cent."""
    from rich.console import Console
    from rich.table import Table

    from zerowait.experiments.studies.listing import UNLIMITED_WIDTH

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("optimizer", "library", "mode"):
        table.add_column(heading, no_wrap=True)
    for heading in ("P", "sampling ms", "median ms", "computing ms", "asleep %", "machinery %"):
        table.add_column(heading, justify="right")
    table.add_column("problem", overflow="fold")
    for row in rows:
        times = [_shown(row.sampling, 1e3), _shown(row.sampling_median, 1e3), _shown(row.computing, 1e3)]
        shares = [_shown(row.asleep, 1e2, 0), _shown(row.machinery, 1e2, 0)]
        table.add_row(
            row.optimizer, row.library, row.mode, str(row.workers), *times, *shares, (row.problem or "").split("\n")[0]
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH).print(table)


def _shown(number: float | None, factor: float, digits: int = 2) -> str:
    return "-" if number is None else f"{number * factor:,.{digits}f}"


def _cpu_seconds(pid: int) -> float | None:
    """Return the CPU seconds that a process has used, to the nanosecond, or None when it has ended."""
    # How Linux numbers the CPU clock of another process: clock_getcpuclockid(3), kernel/time/posix-cpu-timers.c.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return None
