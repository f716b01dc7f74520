"""How long a full training takes: the unit of budgets that are given as multiples of one."""

from __future__ import annotations

import contextlib
import copy
import math
from statistics import median
from typing import TYPE_CHECKING

from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import as_evaluation

if TYPE_CHECKING:
    from zerowait.benchmarks import Benchmark

SAMPLES = 101
"""So many configurations are asked: an odd number, so that the median is the runtime of one of them."""
SEED = 1
"""Of the sample. It never changes: the budgets of all studies with `full_trainings` depend on it."""


def full_training(benchmark: Benchmark) -> float:
    """Return the seconds that a training at the highest fidelity takes on a benchmark.

    It is the median runtime of `SAMPLES` configurations that its space draws with the seed `SEED`, each evaluated at
    the highest fidelity and, where trainings were repeated with several seeds, as their mean. Those that fail are no
    full trainings and do not count.

    Raises
    ------
    SpecificationError
        The median is not a positive number of seconds.
    """
    space = copy.deepcopy(benchmark.space)
    space.seed(SEED)
    runtimes = []
    for config in map(dict, space.sample_configuration(SAMPLES)):
        with contextlib.suppress(TrainingFailedError):
            runtimes.append(as_evaluation(benchmark(config), config).runtime)
    runtime = median(runtimes) if runtimes else math.nan
    if not 0.0 < runtime < math.inf:
        raise SpecificationError(
            f"a full training of {benchmark.label} takes {runtime!r} s (the median of {SAMPLES} configurations), of "
            "which there are no multiples; give max_time in place of full_trainings"
        )
    return float(runtime)
