"""What optimizer libraries use of Dask, over the simulated workers of an executor: one process, no scheduler."""

from __future__ import annotations

import concurrent.futures
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from zerowait.suite.executor import SimulatedExecutor, SimulatedFuture
    from zerowait.suite.rules.evaluation import Evaluation
    from zerowait.suite.rules.fidelities import AnyFidelity

_DASKS_OWN = frozenset({
    "pure", "key", "workers", "resources", "retries", "priority", "fifo_timeout", "allow_other_workers", "actor",
    "actors",
})  # fmt: skip
"""Arguments of `submit` and `map` that say how Dask is to run a function, and that the function does not get."""


class DaskFuture:
    """A simulated future in the words of Dask; equal futures have equal keys.

    Parameters
    ----------
    future
        What it stands for.
    key
        Its name, of which there is no other.
    """

    __slots__ = ("future", "key")

    def __init__(self, future: SimulatedFuture, key: str) -> None:
        self.future = future
        self.key = key

    def done(self) -> bool:
        """Tell whether the task is over; who asks again moves simulated time."""
        return self.future.done()

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, when it is due."""
        return self.future.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the task's exception, when it is due, or None."""
        return self.future.exception(timeout)

    def cancel(self, **_: Any) -> None:
        """Cancel the task if it waits for a worker."""
        self.future.cancel()

    def cancelled(self) -> bool:
        """Tell whether the task was cancelled."""
        return self.future.cancelled()

    def release(self) -> None:
        """Do nothing: a result lives as long as somebody holds its future."""

    @property
    def status(self) -> str:
        """Dask's word for the state: pending, finished, error or cancelled."""
        if self.future.cancelled():
            return "cancelled"
        if not self.future.done_already():
            return "pending"
        return "finished" if self.future.exception() is None else "error"

    def add_done_callback(self, fn: Callable[[DaskFuture], object]) -> None:
        """Have `fn(future)` called when the task is over."""
        self.future.add_done_callback(lambda _: fn(self))


class DoneAndNotDone(NamedTuple):
    """What `wait` returns."""

    done: set[DaskFuture]
    """Those that are done."""
    not_done: set[DaskFuture]
    """Those that are not."""


class SimulatedClient:
    """Takes the place of `distributed.Client`, for libraries that submit, wait and gather.

    Nothing is pickled: functions and results are the caller's own objects. The functions `wait` and `as_completed` of
    `distributed` know Dask's futures only; here they are methods.

    Parameters
    ----------
    executor
        Has the workers.
    n_workers
        How many of them are shown.
    """

    def __init__(self, executor: SimulatedExecutor, n_workers: int | None = None) -> None:
        self._executor = executor
        self._n_workers = executor.n_workers if n_workers is None else n_workers
        self._numbers = itertools.count()

    @property
    def __class__(self) -> type:
        """Dask's client: libraries use `isinstance` to tell that they were given one."""
        return Client

    @__class__.setter
    def __class__(self, _: type) -> None:
        raise TypeError("the class of a SimulatedClient cannot be set")

    def submit(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> DaskFuture:
        """Have a worker call the function."""
        given = {name: value for name, value in kwargs.items() if name not in _DASKS_OWN}
        return DaskFuture(self._executor.submit(func, *args, **given), f"{_name(func)}-{next(self._numbers)}")

    def map(self, func: Callable[..., Any], *iterables: Iterable[Any], **kwargs: Any) -> list[DaskFuture]:
        """Have the workers call the function with the elements of the iterables."""
        return [self.submit(func, *args, **kwargs) for args in zip(*iterables, strict=False)]

    def gather(self, futures: Any, errors: str = "raise") -> Any:
        """Return the results in the place of the futures, in lists and dictionaries of them; or skip what failed."""
        if isinstance(futures, DaskFuture):
            return futures.result()
        if isinstance(futures, dict):
            return {key: self.gather(future, errors) for key, future in futures.items()}
        if errors == "skip":
            futures = [future for future in futures if future.exception() is None]
        return [self.gather(future, errors) for future in futures]

    def scatter(self, data: Any, **_: Any) -> Any:
        """Return the data: the workers share this process."""
        return data

    def wait(
        self, futures: Collection[DaskFuture], timeout: float | None = None, return_when: str = "ALL_COMPLETED"
    ) -> DoneAndNotDone:
        """Move simulated time until all, or the first, of the futures are done; return both sets."""
        by_future: dict[concurrent.futures.Future[Any], DaskFuture] = {future.future: future for future in futures}
        done, running = concurrent.futures.wait(by_future, timeout, return_when)
        return DoneAndNotDone({by_future[future] for future in done}, {by_future[future] for future in running})

    def as_completed(self, futures: Iterable[DaskFuture]) -> Iterator[DaskFuture]:
        """Yield the futures in the order in which they are done."""
        by_future: dict[concurrent.futures.Future[Any], DaskFuture] = {future.future: future for future in futures}
        for future in concurrent.futures.as_completed(by_future):
            yield by_future[future]

    def nthreads(self) -> Mapping[str, int]:
        """Return how many threads each worker has: one."""
        return {f"simulated-{worker}": 1 for worker in range(self._n_workers)}

    ncores = nthreads

    def close(self, *_: Any, **__: Any) -> None:
        """Do nothing: the executor belongs to its maker."""


class CallsOnWorkers:
    """An executor with the face of a `Simulator`: what runs on its workers calls it like the objective.

    Parameters
    ----------
    executor
        Evaluates.
    """

    starts_at_once = True
    """What was submitted has started if a worker was free; nobody has to wait for its call."""

    def __init__(self, executor: SimulatedExecutor) -> None:
        self._executor = executor

    def __call__(
        self, config: Mapping[str, Any], fidelity: AnyFidelity = None, config_id: str | None = None
    ) -> Evaluation:
        """Evaluate a configuration; see `SimulatedExecutor.objective`."""
        return self._executor.objective(config, fidelity, config_id)

    def start(self) -> None:
        """Let simulated time begin now."""
        self._executor.start()

    def abort(self) -> None:
        """Do nothing: nobody else waits."""


def _name(func: Any) -> str:
    return getattr(func, "__name__", type(func).__name__)
