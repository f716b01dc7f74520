"""A Dask cluster on this machine that no other user can reach and that takes no fixed port."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from distributed import LocalCluster


def start_cluster(n_processes: int, folder: str | os.PathLike[str]) -> LocalCluster:
    """Start a cluster with so many processes of one thread each; the caller closes it.

    Parameters
    ----------
    n_processes
        Number of processes.
    folder
        Where Dask puts its files; private, as all scratch folders are.
    """
    from distributed import LocalCluster
    from distributed.security import Security

    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=n_processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # A scheduler runs what it is sent. Certificates that live as long as this cluster, and only in its processes,
        # keep every other user of the machine out.
        protocol="tls",
        security=Security.temporary(),  # type: ignore[no-untyped-call]
        dashboard_address=None,
        worker_dashboard_address=None,
        # Without this, the scheduler listens on the usual port even though there is no dashboard.
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        memory_limit=0,  # the memory of a run, and that of its own processes, is not Dask's to manage
        local_directory=str(folder),
        silence_logs=logging.CRITICAL,
    )
