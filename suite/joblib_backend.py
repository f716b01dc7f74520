"""The simulated workers of an executor as a backend of joblib."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import ParallelBackendBase, SequentialBackend


class SimulatedBackend(ParallelBackendBase):  # type: ignore[misc]
    """Runs the calls of `joblib.Parallel` on simulated workers; its caller waits for one result after another.

    Parameters
    ----------
    executor
        Has the workers.
    n_workers
        How many there are.
    options
        What joblib hands to every backend.
    """

    def __init__(self, executor: Executor, n_workers: int, **options: Any) -> None:
        super().__init__(**options)
        self._executor = executor
        self.default_n_jobs = n_workers

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at once: all workers, or one.

        Raises
        ------
        ValueError
            It is another number: joblib dispatches more calls than `n_jobs`, and the workers would run them.
        """
        most: int = self.default_n_jobs
        if n_jobs is None or n_jobs < 0 or n_jobs >= most:
            return most
        if n_jobs == 1:
            return 1
        raise ValueError(
            f"n_jobs is {n_jobs} and the executor has {most} workers; make it with n_workers={max(1, n_jobs)}, or "
            "leave n_jobs out"
        )

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None) -> Future[Any]:
        """Have a worker run a batch of calls: one, because no batch size but 1 is ever proposed."""
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result(self, out: Future[Any], timeout: float | None = None) -> Any:  # noqa: ARG002 - joblib's
        """Wait for the result of a batch."""
        return out.result()

    def get_nested_backend(self) -> tuple[Any, None]:
        """Return what runs a `Parallel` within a call: one call after another, because the worker is taken."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def register(executor: Executor, n_workers: int, name: str) -> None:
    """Make the executor's workers the backend of that name."""
    register_parallel_backend(name, functools.partial(SimulatedBackend, executor, n_workers))
