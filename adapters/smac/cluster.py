"""The Dask cluster of a run of SMAC: processes on loopback that nobody else can reach.

SMAC starts one itself unless it is given one. Its own listens without encryption, so that every user of the machine
could send it code, shows a dashboard on a port for which runs would fight, and is closed by `__del__` at the end of the
interpreter, which takes 60 s. Nothing here imports SMAC: the server from which the workers are forked does, at the same
time as the process of the run.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from multiprocessing import forkserver, get_context
from typing import TYPE_CHECKING, Any

from zerowait.adapters.clusters import start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from distributed import Client

CONFIGURATION: Mapping[str, Any] = {
    "distributed.worker.multiprocessing-method": "forkserver",
    # As SMAC sets it: an objective may start processes, which daemonic processes may not.
    "distributed.worker.daemon": False,
    # The death of a worker is the simulator's to judge; the scheduler must not try its trial again.
    "distributed.scheduler.allowed-failures": 0,
    # A master that trains a model for minutes without a pause is ordinary and no reason for a warning.
    "distributed.admin.tick.limit": "1 h",
    # Looks at every worker a hundred times a second, which would look like work when the run is idle.
    "distributed.worker.profile.enabled": False,
}


def start_forkserver() -> None:
    """Start the process from which workers are forked, which imports what they need in the meantime."""
    get_context("forkserver").set_forkserver_preload(["distributed", "zerowait.adapters.smac.native"])
    forkserver.ensure_running()


@contextmanager
def local_cluster(n_workers: int, folder: Path) -> Iterator[Client]:
    """Start worker processes of one thread each, whose files lie in `folder`."""
    import dask
    from distributed import Client

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CONFIGURATION))
        cluster = stack.enter_context(start_cluster(n_workers, folder))
        yield stack.enter_context(Client(cluster))  # type: ignore[no-untyped-call]
