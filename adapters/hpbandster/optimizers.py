"""HpBandSter's own optimizers on a benchmark, with what both modes change about them: nothing that decides anything.

* `Master.__init__` starts the dispatcher. The optimizers call it through `super()`, so a class that is derived from an
  optimizer and from another child of `Master` has the optimizer's brackets and that child's machinery.
* Budgets are `numpy.float64` and sampled values NumPy scalars, which the serializer of Pyro writes as text that cannot
  be read (numpy >= 2) or not at all (ConfigSpace >= 1). Both happens in a thread whose exceptions nobody sees: the run
  hangs. `make_optimizer` gives the optimizer plain numbers.
* Loggers are silenced: HpBandSter writes a traceback for each failing evaluation.
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from hpbandster.core.master import Master  # type: ignore[import-untyped]
from hpbandster.optimizers import BOHB, HyperBand  # type: ignore[import-untyped]

from zerowait.adapters.spaces import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ConfigSpace import ConfigurationSpace

LIBRARY_CLASSES = {"bohb": BOHB, "hyperband": HyperBand}
"""HpBandSter's class of each optimizer."""

SILENT = logging.Logger("hpbandster", level=logging.CRITICAL + 1)  # noqa: LOG001 - not one of the tree
"""Takes the place of HpBandSter's logger, which several runs of one process would share."""


class Brackets(Master):  # type: ignore[misc]  # HpBandSter has no types
    """A master without dispatcher: its brackets and results only."""

    def __init__(self, config_generator: Any) -> None:
        # What the unmodified methods of `Master` that deal with brackets and results need of `Master.__init__`.
        self.config_generator = config_generator
        self.config: dict[str, Any] = {"time_ref": None}
        self.iterations: list[Any] = []
        self.logger = SILENT
        self.result_logger = None
        self.thread_cond = threading.Condition()
        self.num_running_jobs = 0
        self.job_queue_sizes = (0, 1)


def make_optimizer(
    name: str,
    machinery: type[Master],
    space: ConfigurationSpace,
    seed: int,
    settings: Mapping[str, Any],
    **arguments: Any,
) -> Any:
    """Return an optimizer of HpBandSter that runs on the given machinery.

    HpBandSter has no seed: it draws from the space's generator and from NumPy's global one, see `seeds`.

    Parameters
    ----------
    name
        One of `LIBRARY_CLASSES`.
    machinery
        `Brackets`, or another child of `Master`.
    space
        As HpBandSter is to see it; it is seeded here.
    seed
        The optimizer's seed.
    settings
        The keyword arguments of HpBandSter's class, among them min_budget and max_budget.
    **arguments
        Those of the machinery.
    """
    library = LIBRARY_CLASSES[name]
    space.seed(seeds(seed)[0])
    kind = type(library.__name__, (library, machinery), {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConfigSpace has one for most of what HpBandSter calls
        optimizer = kind(configspace=space, **settings, **arguments)
    optimizer.budgets = [float(budget) for budget in optimizer.budgets]
    generator = optimizer.config_generator
    generator.logger = SILENT
    sample = generator.get_config

    def sample_plain(budget: float) -> tuple[dict[str, Any], Any]:
        config, info = sample(budget)
        return {name: plain(value) for name, value in config.items()}, info

    generator.get_config = sample_plain
    return optimizer


def budgets_of(name: str, space: ConfigurationSpace, settings: Mapping[str, Any]) -> list[float]:
    """Return the budgets of the rungs, in ascending order."""
    budgets: list[float] = make_optimizer(name, Brackets, space, 0, settings).budgets
    return budgets


def seeds(seed: int) -> tuple[int, int]:
    """Return the seeds of the space's generator and of NumPy's global one: equal ones would give equal streams."""
    first, second = np.random.SeedSequence(seed).generate_state(2).tolist()
    return first, second
