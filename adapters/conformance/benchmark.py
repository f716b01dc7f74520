"""The benchmark of the conformance kit: every kind of parameter, known failures, and a witness of every query.

It lives in an importable module, so that it survives pickling into any process. What reaches the objective is
checked there, with the very objects that arrived: a trace has lost their types.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Constant, EqualsCondition, Float, Integer
from ConfigSpace import OrdinalHyperparameter as Ordinal
from ConfigSpace.hyperparameters import (
    FloatHyperparameter,
    Hyperparameter,
    IntegerHyperparameter,
    NumericalHyperparameter,
)

from zerowait.adapters.spaces import choices
from zerowait.suite.rules.evaluation import Evaluation
from zerowait.suite.rules.identity import canonical_json

SHORTEST, LONGEST, FAILED = 10.0, 100.0, 7.0
"""Simulated seconds of a full training: at least, at most, and when it fails. Lower fidelities take their share."""


class DivergedError(Exception):
    """The training of the kit's benchmark failed, as it was told to."""

    def __init__(self, message: str, runtime: float = FAILED) -> None:
        super().__init__(message, runtime)
        self.runtime = runtime


def mixed_space() -> ConfigurationSpace:
    """Return a space with every kind of parameter and no condition."""
    return ConfigurationSpace(
        space=[
            Float("rate", (1e-5, 1.0), log=True),
            Float("momentum", (0.0, 1.0)),
            Integer("units", (1, 512), log=True),
            Integer("depth", (1, 8)),
            Categorical("activation", ["relu", "tanh", None, 3, (1, 2)]),
            Categorical("nesterov", [True, False]),
            Ordinal("batch", [16, 32, 64.5]),
            Constant("patience", 50),
        ]
    )


def conditional_space() -> ConfigurationSpace:
    """Return `mixed_space` with a parameter that only some configurations have."""
    space = mixed_space()
    space.add(Float("beta", (0.5, 0.999)))
    space.add(EqualsCondition(space["beta"], space["nesterov"], True))
    return space


def unordered_space() -> ConfigurationSpace:
    """Return `mixed_space` without its ordinal parameter, for libraries that know none."""
    return ConfigurationSpace(space=[parameter for name, parameter in mixed_space().items() if name != "batch"])


def numerical_space() -> ConfigurationSpace:
    """Return a space of two floats and two integers."""
    return ConfigurationSpace(
        space=[parameter for name, parameter in mixed_space().items() if name in {"rate", "momentum", "units", "depth"}]
    )


@dataclass(frozen=True, slots=True)
class Epochs:
    """The fidelity of the kit's benchmark."""

    lower: int = 1
    upper: int = 27
    name: ClassVar[str] = "epoch"
    integer: ClassVar[bool] = True


@dataclass(frozen=True)
class Bowl:
    """A loss with one optimum, and runtimes from 10 to 100 simulated seconds without pattern or ties.

    The kit makes variants of it with `dataclasses.replace`.
    """

    make_space: Callable[[], ConfigurationSpace] = mixed_space
    """Returns the search space: one of this module, or a function of your own."""
    fidelity: Epochs | None = None
    """The training budget, or None when only full trainings can be queried."""
    failing_share: float = 0.0
    """Share of the configurations whose training fails."""
    reseeds: bool = False
    """Whether every training seeds the global random generators, as careless training code does."""
    pause: float = 0.0
    """Real seconds that every query takes."""
    witness: str | None = None
    """File to which every query appends a line, from whichever process."""

    name: ClassVar[str] = "bowl"

    @property
    def label(self) -> str:
        """Name of the benchmark and of its space."""
        return f"{self.name}/{self.make_space.__name__}"

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The configurations that can be evaluated."""
        return self.make_space()

    def __call__(
        self, config: Mapping[str, Any], /, *, fidelity: float | None = None, seed: int | None = None
    ) -> Evaluation:
        """Evaluate a configuration, having written down what was asked."""
        problems = [*config_problems(self.space, config), *fidelity_problems(self.fidelity, fidelity)]
        if self.witness is not None:
            _testify(self.witness, problems, fidelity)
        digest = hashlib.blake2b(f"{canonical_json(config)} {seed}".encode(), digest_size=8).digest()
        chance = int.from_bytes(digest) / 2**64
        if self.reseeds:
            _reseed(int.from_bytes(digest[:4]))
        if self.pause:
            time.sleep(self.pause)
        upper = 1 if self.fidelity is None else self.fidelity.upper
        share = 1.0 if fidelity is None else fidelity / upper
        if chance < self.failing_share:
            raise DivergedError(f"chance is {chance}", FAILED * share)
        # A configuration that is not of the space has no place in it, and was written down as a problem.
        loss = 1.0 if problems else sum(_loss(self.space[name], value) for name, value in config.items())
        value = loss + 0.01 * chance + 0.1 * (1.0 - share)
        return Evaluation(value, (SHORTEST + (LONGEST - SHORTEST) * chance) * share, {"chance": chance})


def _loss(parameter: Hyperparameter[Any, Any], value: object) -> float:
    position = float(parameter.to_vector(value))
    return (position - 0.3) ** 2 if isinstance(parameter, NumericalHyperparameter) else 0.1 * position


def config_problems(space: ConfigurationSpace, config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a configuration: names, types, bounds, conditions, forbidden clauses."""
    unknown = [f"the parameter {name!r} is not of the space" for name in config if name not in space]
    wrong = [_value_problem(space[name], value) for name, value in config.items() if name in space]
    problems = unknown + [problem for problem in wrong if problem is not None]
    if problems:
        return problems
    try:
        Configuration(space, values=dict(config)).check_valid_configuration()
    except Exception as error:  # noqa: BLE001 - ConfigSpace has several, without a common base, and all mean the same
        return [f"{type(error).__name__}: {error}"]
    return []


def _value_problem(parameter: Hyperparameter[Any, Any], value: Any) -> str | None:
    kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
    if isinstance(parameter, FloatHyperparameter | IntegerHyperparameter):
        expected = "float" if isinstance(parameter, FloatHyperparameter) else "int"
        if kind != expected:
            return f"{parameter.name!r} is {value!r} of type {kind}, not {expected}"
        lower, upper = parameter.lower, parameter.upper
        return None if lower <= value <= upper else f"{parameter.name!r} is {value!r}, not from {lower} to {upper}"
    allowed = choices(parameter)
    if any(type(choice) is type(value) and choice == value for choice in allowed):
        return None
    return f"{parameter.name!r} is {value!r} of type {kind}, which is none of {allowed}"


def fidelity_problems(allowed: Any, fidelity: float | None) -> list[str]:
    """Return what is wrong with a fidelity, given the benchmark's range or None; None is the full training."""
    if fidelity is None:
        return []
    if allowed is None:
        return [f"the fidelity is {fidelity!r}, but the benchmark has none"]
    if not allowed.lower <= fidelity <= allowed.upper:
        return [f"the fidelity is {fidelity!r}, not from {allowed.lower} to {allowed.upper}"]
    if allowed.integer and fidelity != int(fidelity):
        return [f"the fidelity is {fidelity!r}, but {allowed.name} is an integer"]
    return []


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the witness saw of one query."""

    problems: tuple[str, ...]
    """What was wrong with the configuration or the fidelity."""
    fidelity: float | None
    """The training budget that was asked for."""

    __test__: ClassVar[bool] = False  # a name that pytest would take for a class of tests


def _testify(path: str, problems: list[str], fidelity: float | None) -> None:
    line = json.dumps([problems, fidelity]) + "\n"
    # One write in append mode is whole, whoever else writes.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def testimonies(path: str) -> list[Testimony]:
    """Return what the witness has seen so far, in the order of the queries."""
    file = Path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Testimony(tuple(problems), fidelity) for problems, fidelity in map(json.loads, lines)]


def _reseed(seed: int) -> None:
    """Do what the code of real trainings often does, and what no optimizer may notice."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is the point
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
