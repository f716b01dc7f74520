"""HpBandSter asked and told: the loop of its master without workers, over its own brackets and generators."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hpbandster.core.dispatcher import Job  # type: ignore[import-untyped]

from zerowait.adapters.hpbandster.optimizers import SILENT, seeds
from zerowait.suite.rules.errors import ZerowaitError
from zerowait.suite.rules.evaluation import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zerowait.adapters.hpbandster.space import HpBandSterSpace
    from zerowait.suite.rules.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class RunQuery(Query):
    """A query that remembers what HpBandSter calls a run."""

    run: Any = None
    """Its id, configuration and budget, as HpBandSter's iteration gave them."""


class AskTellHpBandSter:
    """An optimizer of HpBandSter with the interface of the simulator.

    Parameters
    ----------
    optimizer
        Made with the machinery `Brackets`.
    space
        Translates its configurations.
    fidelity_of
        Translates its budgets.
    seed
        The optimizer's seed.
    """

    def __init__(
        self, optimizer: Any, space: HpBandSterSpace, fidelity_of: Callable[[float], float], seed: int
    ) -> None:
        self._optimizer = optimizer
        self._space = space
        self._fidelity_of = fidelity_of
        self._numbers = OwnRandomNumbers(seeds(seed)[1])

    def ask(self) -> RunQuery:
        """Return the next run of the first bracket that has one, opening another bracket when none has."""
        with self._numbers.used():
            config_id, config, budget = run = self._next_run()
        return RunQuery(self._space.decode(config), self._fidelity_of(budget), name_of(config_id), run)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Register the loss."""
        self._register(query, {"loss": evaluation.value, "info": {}}, None)

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Register a crashed run; an error of the simulation itself is none of the optimizer's."""
        if isinstance(error, ZerowaitError):
            raise error
        self._register(query, None, f"{type(error).__name__}: {error}")

    def _next_run(self) -> Any:
        """Do what `Master.run` does between two submissions."""
        optimizer = self._optimizer
        while True:
            for index in optimizer.active_iterations():
                run = optimizer.iterations[index].get_next_run()
                if run is not None:
                    return run
            optimizer.iterations.append(optimizer.get_next_iteration(len(optimizer.iterations), {"logger": SILENT}))

    def _register(self, query: Query, result: dict[str, Any] | None, exception: str | None) -> None:
        assert isinstance(query, RunQuery)
        config_id, config, budget = query.run
        job = Job(config_id, config=config, budget=budget)
        job.result, job.exception = result, exception
        with self._numbers.used():
            self._optimizer.job_callback(job)


def name_of(config_id: Any) -> str:
    """Return HpBandSter's id of a configuration, a triple, as text: what a configuration keeps when it is promoted."""
    return str(tuple(map(int, config_id)))


class OwnRandomNumbers:
    """Gives HpBandSter, which draws from NumPy's global generator, a stream of its own.

    Parameters
    ----------
    seed
        An integer from 0 to 2**32 - 1.
    """

    _global_state = threading.RLock()

    def __init__(self, seed: int) -> None:
        self._state: Any = np.random.RandomState(seed).get_state()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let NumPy's global generator go on with this stream; afterwards it is what it was.

        Warnings are off meanwhile: ConfigSpace and statsmodels have one for most of what HpBandSter calls, and BOHB
        takes every exception, a warning that has become one included, for a reason to sample at random.
        """
        with self._global_state, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outside = np.random.get_state()  # noqa: NPY002 - the library's generator, not ours
            np.random.set_state(self._state)  # noqa: NPY002
            try:
                yield
            finally:
                self._state = np.random.get_state()  # noqa: NPY002
                np.random.set_state(outside)  # noqa: NPY002
