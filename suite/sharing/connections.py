"""The runs that a process has open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from zerowait.suite.sharing.coordination import Coordinator
from zerowait.suite.sharing.rundir import RunDirectory


class Connections:
    """The runs that this process has open; threads and copies of a simulator share one connection a run."""

    _MOST = 16

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._open: dict[Path, Coordinator] = {}

    def get(self, run: RunDirectory, open_run: Callable[[], Coordinator]) -> Coordinator:
        """Return the run's connection with an entry in its `callers`, which keeps it open."""
        with self._mutex:
            coordinator = self._open.get(run.root)
            if coordinator is not None and not coordinator.transport.is_current():
                # Somebody has removed the directory and begun another run under its name.
                if not self._close(run.root):
                    del self._open[run.root]
                coordinator = None
            if coordinator is None:
                for root in list(self._open):
                    if len(self._open) < self._MOST:
                        break
                    self._close(root)
                coordinator = self._open[run.root] = open_run()
            coordinator.callers.append(None)
            return coordinator

    def close(self, run: RunDirectory) -> None:
        """Close the run's connection, unless somebody uses it."""
        with self._mutex:
            if run.root in self._open:
                self._close(run.root)

    def _close(self, root: Path) -> bool:
        """Close a connection unless somebody uses it; return whether that was done."""
        coordinator = self._open[root]
        # Said before looking: who comes now either is seen here or sees this and asks for the connection anew.
        coordinator.is_being_closed = True
        if coordinator.callers or coordinator.transport.in_use:
            coordinator.is_being_closed = False
            return False
        del self._open[root]
        coordinator.transport.close()
        return True

    def forget(self) -> None:
        """Close everything after a fork: the child shares its parent's open file descriptions and so its locks."""
        self._mutex = threading.Lock()
        for coordinator in self._open.values():
            coordinator.transport.close()
        self._open = {}


connections = Connections()
os.register_at_fork(after_in_child=connections.forget)
