"""What is optimized, and by whom: Hartmann with the runtimes of the paper's slept runs, and a climber on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zerowait import benchmarks
from zerowait.suite import Evaluation, Query
from zerowait.suite.rules.evaluation import Config
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.seeds import ObjectiveSeeds

WORKERS = 4
STEP = 0.2
"""Standard deviation of the steps away from the best configuration, in the unit cube."""
MEAN_RUNTIME = 52.0
"""Simulated seconds, on average over the fidelities: 100 evaluations on four workers take 1,300 s."""
LEAST_FIDELITY, FULL_FIDELITY = 11, 100


class Scaled:
    """A benchmark with shorter runtimes, without noise: it takes no seed, so the simulator derives none for it."""

    noise = False

    def __init__(self) -> None:
        self._benchmark = benchmarks.load("hartmann6", noise=self.noise)
        runtime = self._benchmark.formula.runtime  # type: ignore[attr-defined]
        all_of_them = [runtime(z / FULL_FIDELITY) for z in range(LEAST_FIDELITY, FULL_FIDELITY + 1)]
        factor = MEAN_RUNTIME * len(all_of_them) / sum(all_of_them)
        self.runtimes = [math.nan] * LEAST_FIDELITY + [factor * seconds for seconds in all_of_them]
        """Simulated seconds by fidelity."""

    def __call__(self, config: Config, *, fidelity: float | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        return self._shortened(self._benchmark(config, fidelity=fidelity), fidelity)

    def _shortened(self, evaluation: Evaluation, fidelity: float | None) -> Evaluation:
        return Evaluation(evaluation.value, self.runtimes[int(fidelity or FULL_FIDELITY)])


class Noisy(Scaled):
    """The same with noise, which depends on the seed."""

    noise = True

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        return self._shortened(self._benchmark(config, fidelity=fidelity, seed=seed), fidelity)


class SeededByQuery(Noisy):
    """The same with a seed of its own, which is the one that the simulator would give in a run with this seed.

    Parameters
    ----------
    run_seed
        The seed of the run.
    """

    def __init__(self, run_seed: int) -> None:
        super().__init__()
        self._seeds = ObjectiveSeeds(run_seed)

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does."""
        del seed
        return super().__call__(config, fidelity=fidelity, seed=self._seeds.seed(digest(canonical_json(config))))


class Replayed:
    """The same with the durations that a run really had.

    Parameters
    ----------
    benchmark
        What is evaluated.
    asked, durations
        The configurations of the run, and how long each took, in seconds.
    """

    def __init__(self, benchmark: Scaled, asked: Sequence[Config], durations: Sequence[float]) -> None:
        self._benchmark = benchmark
        self._seconds = dict(zip(map(point, asked), durations, strict=True))

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does; a configuration that the run did not have takes its worked-out runtime."""
        found = self._benchmark(config, fidelity=fidelity, **({"seed": seed} if self._benchmark.noise else {}))
        return Evaluation(found.value, self._seconds.get(point(config), found.runtime))


def point(config: Config) -> tuple[float, ...]:
    """Return the values of a configuration, by which it is known."""
    return tuple(config.values())


class Climber:
    """An optimizer whose every second configuration or so is near the best that it was told.

    Parameters
    ----------
    seed
        Of its random numbers.
    evaluations
        How many configurations it has.
    """

    def __init__(self, seed: int, evaluations: int, dimension: int = 6) -> None:
        rng = np.random.default_rng(np.random.SeedSequence((6, seed)))
        self.fidelities: list[int] = rng.integers(LEAST_FIDELITY, FULL_FIDELITY + 1, evaluations).tolist()
        self._anywhere: list[list[float]] = rng.random((evaluations, dimension)).tolist()
        self._steps: list[list[float]] = (STEP * rng.standard_normal((evaluations, dimension))).tolist()
        self._near: list[bool] = (rng.random(evaluations) < 0.5).tolist()  # noqa: PLR2004 - half of them
        self._names = [f"x{i}" for i in range(dimension)]
        self.asked: list[Config] = []
        self._value = math.inf
        self._best: list[float] | None = None

    def ask(self) -> Query:
        """Return the next configuration with its fidelity."""
        k = len(self.asked)
        if k == len(self.fidelities):
            raise StopIteration
        x = self._anywhere[k]
        if self._near[k] and self._best is not None:
            x = [min(1.0, max(0.0, at + step)) for at, step in zip(self._best, self._steps[k], strict=True)]
        self.asked.append(dict(zip(self._names, x, strict=True)))
        return Query(self.asked[k], self.fidelities[k])

    def tell(self, query: Query, evaluation: Evaluation, /) -> None:
        """Remember the best."""
        if evaluation.value < self._value:
            self._value, self._best = evaluation.value, list(query.config.values())
