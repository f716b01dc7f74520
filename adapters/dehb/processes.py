"""The Dask processes that DEHB evaluates in: on the loopback interface, without a dashboard, gone at the end."""

from __future__ import annotations

import contextlib
import os
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

from zerowait.adapters.clusters import start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

CONFIGURATION: dict[str, Any] = {
    # Workers are forked from one process that has imported everything once.
    "distributed.worker.multiprocessing-method": "forkserver",
    # What a dead worker had evaluated cannot be repeated: the simulator ends the run.
    "distributed.scheduler.allowed-failures": 0,
}
_PRELOADED = [
    "distributed",
    "zerowait.adapters.dehb.library",
    "zerowait.suite.simulator",
    "zerowait.suite.sharing.delivery_wait",
]
_CLOSE_SECONDS = 5.0


def prepare_workers() -> None:
    """Start the process that workers are forked from, which begins to import what they need.

    To be called first, so that it does so beside this process: 8 workers then start in seconds, one after another in
    15 s.
    """
    forkserver.set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()


@contextlib.contextmanager
def dask_client(n_workers: int, folder: str) -> Iterator[Client]:
    """Start a cluster with so many processes of one thread each, as DEHB does, and close it at the end.

    Parameters
    ----------
    n_workers
        Number of processes.
    folder
        Where Dask may put its files.
    """
    import dask
    from distributed import Client

    with dask.config.set(CONFIGURATION), contextlib.ExitStack() as stack:
        cluster = start_cluster(n_workers, folder)
        stack.callback(cluster.close, timeout=_CLOSE_SECONDS)
        client = Client(cluster)  # type: ignore[no-untyped-call]
        stack.callback(client.close)
        client.run(os.getpid)  # all of them answer: starting is not sampling
        yield client
