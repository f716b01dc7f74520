"""Where cells are executed: in this process, or on the processes of a Dask cluster.

`remote` and `slurm` are two more places. A new one is a class with `Engine.run`, chosen by the command
(`commands.study`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections import Counter, deque
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol

from zerowait.adapters.clusters import start_cluster
from zerowait.adapters.environments import isolation
from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Cell, Outcome, last_line, run_batch, run_cell
from zerowait.suite.rules.errors import RunDirectoryError, SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

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
    # A process that died and is not back after some seconds is late, as on a busy machine, and is not to be given up.
    "distributed.deploy.lost-worker-timeout": "1000 days",
    # A cell that computes for minutes without a pause is ordinary and no reason for a warning.
    "distributed.admin.tick.limit": "1 h",
}

SLICE_SECONDS = 1.0
"""A task for a worker process lasts about this long: 1 % of it is what Dask needs for a task (about 10 ms)."""
LARGEST_BATCH = 64
MOST_LOSSES = 5
"""How often a process may die before it could begin a cell, until the cell counts as failed."""
CLOSE_SECONDS = 5.0
"""How long the cluster may take to close before its processes are killed."""
START_WORKERS = "OMP_NUM_THREADS=1 DASK_DISTRIBUTED__WORKER__DAEMON=False dask worker {} --nthreads 1"
"""The command that starts a worker of the scheduler at an address."""


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
        n_processes = min(self.n_processes or cores(), len(cells))
        with local_cluster(n_processes) as client:
            yield from run_on(client, lambda: n_processes, cells, folders)


def cores() -> int:
    """Return how many cores this process may use."""
    from dask.system import CPU_COUNT  # respects affinity and containers

    return int(CPU_COUNT)


def run_on(
    client: Client, n_processes: Callable[[], int], cells: Sequence[Cell], folders: CellFolders
) -> Generator[Outcome]:
    """Run cells on the workers of a Dask client and yield their outcomes as they end.

    Cells travel in batches, because many last only milliseconds. A worker returns what it could not begin
    within `SLICE_SECONDS`, so that long cells are spread over all workers. What a dying worker did not finish is tried
    again; how often, `run_cell` knows from what the attempts have left.

    Parameters
    ----------
    client
        A client of the cluster.
    n_processes
        Tells how many workers there are now.
    cells
        What to run.
    folders
        Where they are kept, on a file system that all workers share.

    Raises
    ------
    RunDirectoryError
        The scheduler is gone, or a worker cannot use the folder or cannot load zerowait.
    SpecificationError
        A worker has several threads. What the others have begun, they finish all the same.
    """
    from distributed.comm.core import CommClosedError

    address = client.scheduler_info()["address"]
    try:
        yield from _run_on(client, n_processes, cells, folders)
    except CommClosedError:
        raise RunDirectoryError(
            f"the connection to the scheduler at {address} is lost; finished cells are kept: start scheduler and "
            "workers again and repeat the command"
        ) from None


def _run_on(
    client: Client, n_processes: Callable[[], int], cells: Sequence[Cell], folders: CellFolders
) -> Generator[Outcome]:
    from distributed import KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    waiting = deque(cells)
    batches: dict[Future[Any], list[Cell]] = {}
    losses: Counter[str] = Counter()
    running = as_completed()  # type: ignore[no-untyped-call]

    def submit() -> None:
        n = max(1, n_processes())
        while waiting and len(batches) < n:
            size = min(LARGEST_BATCH, max(1, len(waiting) // (4 * n)))
            batch = [waiting.popleft() for _ in range(size)]
            future = client.submit(_run_alone, batch, folders, SLICE_SECONDS, pure=False)
            batches[future] = batch
            running.add(future)  # type: ignore[no-untyped-call]

    submit()
    for future in running:
        batch = batches.pop(future)
        if future.cancelled():
            raise CommClosedError("the future is cancelled")
        outcomes, error = _result(future)
        if error is None:
            waiting.extendleft(reversed(batch[len(outcomes) :]))
        elif isinstance(error, KilledWorker):
            unfinished = [cell for cell in batch if not folders.finished(cell.key).is_dir()]
            if unfinished and not folders.leftovers(unfinished[0].key):
                losses[unfinished[0].key] += 1
                if losses[unfinished[0].key] >= MOST_LOSSES:
                    outcomes.append(_lost(unfinished[0], folders))
                    batch.remove(unfinished[0])
            waiting.extendleft(reversed(batch))
        elif isinstance(error, OSError | SpecificationError):  # of the cells' folder, or of `_run_alone`
            raise error
        else:
            raise RunDirectoryError(
                f"a worker cannot run cells ({last_line(error)}); finished cells are kept: have zerowait installed "
                "there in the same version and repeat the command"
            )
        future.release()
        submit()
        yield from outcomes


def _result(future: Future[Any]) -> tuple[list[Outcome], Exception | None]:
    """Return the outcomes of a batch, or its error: the process that has them may die before they are fetched."""
    try:
        return future.result(), None
    except Exception as error:  # noqa: BLE001 - whatever the batch raised
        return [], error


def _run_alone(cells: list[Cell], folders: CellFolders, seconds: float) -> list[Outcome]:
    """Run a batch on this worker, unless it has several threads, in which it would get several batches at once."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads > 1:
        raise threaded(worker.address, worker.state.nthreads, worker.scheduler.address)
    return run_batch(cells, folders, seconds)


def threaded(worker: str, threads: int, scheduler: str) -> SpecificationError:
    """Return the refusal of a worker with several threads."""
    return SpecificationError(
        f"the worker at {worker} has {threads} threads, and runs need a process each; start workers with: "
        f"{START_WORKERS.format(scheduler)}"
    )


def _lost(cell: Cell, folders: CellFolders) -> Outcome:
    """Return the outcome of a cell that never began, and keep the reason."""
    text = f"{MOST_LOSSES} processes died before they could begin it: they crashed, were killed or lacked memory"
    folders.keep_failure(cell.key, None, text + "\n")
    return Outcome(cell.key, error=text)


class Workers:
    """Tells how many workers a cluster has, asking its scheduler now and then.

    Parameters
    ----------
    client
        A client of the cluster.
    """

    SECONDS = 1.0
    """For so long an answer is used again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked_at = -self.SECONDS
        self._number = 0

    def __call__(self) -> int:
        """Return the number of workers."""
        now = time.monotonic()
        if now - self._asked_at >= self.SECONDS:
            self._number, self._asked_at = len(threads_of(self._client)), now
        return self._number


def threads_of(client: Client) -> dict[str, int]:
    """Return the number of threads of each worker, by its address; empty when the scheduler is gone."""
    try:
        return dict(client.nthreads())  # type: ignore[no-untyped-call]
    except OSError:
        return {}


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
        with interrupts_blocked():
            # Private to this user; Dask's own is one that all users of the machine share.
            private = tempfile.TemporaryDirectory(prefix="zerowait-dask-", ignore_cleanup_errors=True)
            cluster = start_cluster(n_processes, stack.enter_context(private))
            stack.callback(_close, cluster)
            client = Client(cluster)  # type: ignore[no-untyped-call]
            stack.callback(close_client, client)
        yield client


def close_client(client: Client) -> None:
    """Close the client; on a machine that is too busy to do so in time, what it held goes with this process."""
    with contextlib.suppress(TimeoutError):
        client.close()  # type: ignore[no-untyped-call]


def _close(cluster: LocalCluster) -> None:
    """Close the cluster; whatever process of it is still there afterwards is killed."""
    import psutil
    from distributed.core import Status

    workers = [worker.process.pid for worker in cluster.workers.values() if worker.process is not None]
    descendants: list[psutil.Process] = []
    for pid in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            descendants += [process, *process.children(recursive=True)]
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:  # every cell has ended, and what is left is killed below
        for worker in cluster.workers.values():
            worker.status = Status.failed  # else it starts another process for the one that is killed
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
def interrupts_blocked() -> Iterator[None]:
    """Hold back interrupts of this thread, and of the threads and processes that it starts, until the end."""
    # multiprocessing unblocks interrupts in the thread that starts its resource tracker: have that done before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
