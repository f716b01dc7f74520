"""Where cells are executed: in this process, or on the processes of a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter, deque
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol

from adapters import isolation
from adapters.clusters import start_cluster
from experiments.cells import Cell, CellFolders, Outcome, last_line, run_batch, run_cell

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from distributed import Client, Future, LocalCluster

ENVIRONMENT = {
    **isolation.ENVIRONMENT,
    "PYTHONHASHSEED": "00",  # that is 0, in a spelling that Dask does not replace by a seed of its own
}
"""What the processes that run cells find in their environment, whatever the caller's is."""

CONFIGURATION: dict[str, Any] = {
    "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
    # A cell may start processes of its own, which daemonic processes may not.
    "distributed.worker.daemon": False,
    # A worker's death is reported at once; the engine knows better than the scheduler what to try again.
    "distributed.scheduler.allowed-failures": 0,
    # A cell that computes for minutes without a pause is ordinary and no reason for a warning.
    "distributed.admin.tick.limit": "1 h",
}

SLICE_SECONDS = 0.25
"""A task for a worker process lasts about this long: 2 % of it is what Dask needs for a task (about 5 ms)."""
LARGEST_BATCH = 32
MOST_LOSSES = 5
"""How often a cell may be lost with a dying process, before it could begin, until it counts as failed."""
CLOSE_SECONDS = 5.0
"""How long the cluster may take to close before its processes are killed."""


class Engine(Protocol):
    """Executes cells."""

    def run(self, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
        """Yield the outcome of every cell, as they end; closing the iterator stops the execution."""


class InProcess:
    """Runs one cell after another in this process: for debugging, and for studies of a few cells."""

    def run(self, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
        """Yield the outcome of every cell, in their order."""
        for cell in cells:
            yield run_cell(cell, folders)


class LocalDask:
    """Runs cells on a Dask cluster of processes on this machine, with one thread each.

    Parameters
    ----------
    n_processes
        Number of processes; None starts one for every core that this process may use.
    """

    def __init__(self, n_processes: int | None = None) -> None:
        self.n_processes = n_processes

    def run(self, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
        """Yield the outcome of every cell, as they end."""
        if not cells:
            return
        from dask.system import CPU_COUNT  # respects affinity and containers

        n_processes = min(self.n_processes or CPU_COUNT, len(cells))
        with local_cluster(n_processes) as client:
            yield from run_on(client, n_processes, cells, folders)


def run_on(client: Client, n_processes: int, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
    """Run cells on the workers of a Dask client and yield their outcomes as they end.

    Cells travel in batches, because many last only milliseconds. A worker returns what it could not begin
    within `SLICE_SECONDS`, so that long cells are spread over all workers. When a worker's process dies, the
    cell that it was at has failed (its attempt is still in the folder), and the rest of its batch is tried
    again.
    """
    from distributed import as_completed

    waiting = deque(cells)
    batches: dict[Future[Any], list[Cell]] = {}
    losses: Counter[str] = Counter()
    running = as_completed()  # type: ignore[no-untyped-call]

    def submit() -> None:
        while waiting and len(batches) < n_processes:
            size = min(LARGEST_BATCH, max(1, len(waiting) // (4 * n_processes)))
            batch = [waiting.popleft() for _ in range(size)]
            future = client.submit(run_batch, batch, folders, SLICE_SECONDS, pure=False)
            batches[future] = batch
            running.add(future)  # type: ignore[no-untyped-call]

    submit()
    for future in running:
        batch = batches.pop(future)
        error = future.exception()
        outcomes: list[Outcome] = []
        if error is None:
            outcomes = future.result()
            waiting.extendleft(reversed(batch[len(outcomes) :]))
        else:
            losses.update(cell.key for cell in batch)
            for cell in reversed(batch):
                if folders.leftovers(cell.key) or losses[cell.key] >= MOST_LOSSES:
                    outcomes.append(_lost(cell, error, folders))
                else:
                    waiting.appendleft(cell)
        future.release()
        submit()
        yield from outcomes


def _lost(cell: Cell, error: BaseException, folders: CellFolders) -> Outcome:
    """Return the outcome of a cell that could not report its own failure, and keep the reason."""
    from distributed import KilledWorker

    text = last_line(error)
    if isinstance(error, KilledWorker):
        text = "the process that ran it died: it crashed, was killed, or ran out of memory"
    leftovers = folders.leftovers(cell.key)
    folders.keep_failure(cell.key, leftovers[-1] if leftovers else None, text + "\n")
    return Outcome(cell.key, error=text)


@contextlib.contextmanager
def local_cluster(n_processes: int) -> Iterator[Client]:
    """Start a Dask cluster on this machine; close it at the end, with every process of it and its cells."""
    import dask
    from distributed import Client

    with (
        dask.config.set(CONFIGURATION),
        _environment(ENVIRONMENT),
        contextlib.ExitStack() as stack,
    ):
        # An interrupt (Ctrl-C) goes to all processes of the terminal. Only this one is to act on it, so the
        # cluster's threads and processes are started while it is blocked, which they inherit.
        with _interrupts_blocked():
            cluster = start_cluster(n_processes)
            stack.callback(_close, cluster)
            client = Client(cluster)  # type: ignore[no-untyped-call]
            stack.callback(client.close)
        yield client


def _close(cluster: LocalCluster) -> None:
    """Close the cluster; whatever process of it is still there afterwards is killed."""
    import psutil

    workers = [worker.process.pid for worker in cluster.workers.values() if worker.process is not None]
    descendants: list[psutil.Process] = []
    for pid in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            descendants += [process, *process.children(recursive=True)]
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    finally:
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which new processes inherit, and restore them at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold back interrupts of this thread, and of the threads and processes that it starts, until the end."""
    # multiprocessing unblocks interrupts in the thread that starts its resource tracker: have that done before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
