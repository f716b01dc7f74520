"""A small benchmark that every kind of optimizer can run on, and the shorthand to run one."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Constant, EqualsCondition, Float, Integer
from ConfigSpace import OrdinalHyperparameter as Ordinal

from zerowait.suite import Budget, Evaluation, Overhead

if TYPE_CHECKING:
    from collections.abc import Mapping

# Isolated runs unpickle the benchmark in another process, which cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class DivergedError(Exception):
    """The training of a test benchmark failed."""

    runtime = 7.0


def mixed_space(*, conditional: bool = False) -> ConfigurationSpace:
    space = ConfigurationSpace(
        space=[
            Float("rate", (1e-5, 1.0), log=True),
            Float("momentum", (0.0, 1.0)),
            Integer("units", (1, 512), log=True),
            Integer("depth", (1, 8)),
            Categorical("activation", ["relu", "tanh", None, 3, (1, 2)]),
            Categorical("nesterov", [True, False]),
            Ordinal("batch", [16, 32, 64.5]),
            Constant("epochs", 50),
        ]
    )
    if conditional:
        space.add(Float("beta", (0.5, 0.999)))
        space.add(EqualsCondition(space["beta"], space["nesterov"], True))
    return space


def numerical_space() -> ConfigurationSpace:
    return ConfigurationSpace({"x": (0.0, 1.0), "y": (-2.0, 2.0), "n": (1, 30)})


@dataclass
class Bowl:
    """A loss that the numerical parameters decide, and runtimes without pattern or ties."""

    space: ConfigurationSpace
    failing_share: float = 0.0
    name: str = "bowl"
    label: str = "bowl/mixed"
    fidelity: Any = None

    def __call__(self, config: Mapping[str, Any], *, seed: int | None = None) -> Evaluation:
        for name, value in config.items():
            assert type(value) in {bool, int, float, str, tuple, list, type(None)}, (name, value, type(value))
        digest = hashlib.blake2b(json.dumps([config, seed], sort_keys=True).encode(), digest_size=8).digest()
        chance = int.from_bytes(digest) / 2**64
        if chance < self.failing_share:
            raise DivergedError(f"chance {chance}")
        numbers = [value for value in config.values() if type(value) in {int, float}]
        value = sum((number - 0.3) ** 2 for number in numbers)
        return Evaluation(value, 10.0 + 90.0 * chance, {"chance": chance})


@pytest.fixture
def bowl():
    """A benchmark with every kind of parameter."""
    return Bowl(mixed_space())


@pytest.fixture
def failing_bowl():
    """A benchmark a fifth of whose trainings fail, after 7 simulated seconds."""
    return Bowl(mixed_space(), failing_share=0.2)


@pytest.fixture
def conditional_bowl():
    """A benchmark with a parameter that only some configurations have."""
    return Bowl(mixed_space(conditional=True))


@pytest.fixture
def numerical_bowl():
    """A benchmark without categories."""
    return Bowl(numerical_space())


@pytest.fixture
def run():
    """Run an adapter with no overhead, which makes every run deterministic."""

    def run(adapter, benchmark, mode, n_workers=4, evaluations=40, **options):
        budget = options.pop("budget", Budget(max_evaluations=evaluations))
        return adapter.optimize(
            benchmark,
            n_workers=n_workers,
            seed=options.pop("seed", 3),
            budget=budget,
            overhead=options.pop("overhead", Overhead.none()),
            mode=mode,
            **options,
        )

    return run
