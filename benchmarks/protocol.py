"""What every benchmark has: a name, a space, a fidelity, metrics, and a call that evaluates."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from zerowait.suite.rules.evaluation import Config, Evaluation


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The training budget that a benchmark understands, from `lower` to `upper`, both included."""

    name: str
    """What the budget counts, such as "epoch"."""
    lower: float
    """The least fidelity."""
    upper: float
    """The full training."""
    integer: bool
    """Whether only whole numbers are allowed."""
    values: tuple[float, ...] | None = None
    """The only fidelities that there are, in increasing order; None when every one in the range is allowed."""

    def check(self, value: object, label: str) -> float:
        """Return the fidelity to use for `value`; None stands for the full training.

        Raises
        ------
        SpecificationError
            The value is not a number, not whole though it must be, out of range, or none of `values`; the message
            begins with `label` and names the fidelity, the value and what is allowed.
        """
        if value is None:
            return self.upper
        number = as_float(value)
        if (
            number is not None
            and self.lower <= number <= self.upper
            and (number.is_integer() or not self.integer)
            and (self.values is None or number in self.values)
        ):
            return int(number) if self.integer else number
        kind = "an integer" if self.integer else "a number"
        allowed = f"{kind} from {self.lower} to {self.upper}"
        if self.values is not None:
            allowed = f"one of {', '.join(map(str, self.values))}"
        raise SpecificationError(
            f"{label}: the fidelity {self.name!r} is {value!r}; it must be {allowed}, or None for the full training"
        )

    def between(self, fidelity_range: object, label: str) -> Fidelity:
        """Return the part of this fidelity that goes from one number of `fidelity_range` to the other.

        Raises
        ------
        SpecificationError
            They are not two fidelities, the lesser one first; the message begins with `label` and names the range and
            what is allowed.
        """
        try:
            lower, upper = map(as_float, fidelity_range)  # type: ignore[call-overload]
            good = self.lower <= lower < upper <= self.upper
        except (TypeError, ValueError):  # None compares with nothing
            good = False
        if good and self.integer:
            good = lower.is_integer() and upper.is_integer()
            lower, upper = int(lower), int(upper)
        if good and self.values is not None:
            good = lower in self.values and upper in self.values
        if good:
            values = None if self.values is None else tuple(v for v in self.values if lower <= v <= upper)
            return Fidelity(self.name, lower, upper, self.integer, values)
        allowed = f"two {'integers' if self.integer else 'numbers'}, {self.lower} <= lower < upper <= {self.upper}"
        if self.values is not None:
            allowed = f"two of {', '.join(map(str, self.values))}, the lesser one first"
        raise SpecificationError(f"{label}: fidelity_range is {fidelity_range!r}; it must be {allowed}")


class Benchmark(Protocol):
    """An objective with a configuration space, a fidelity range and a name.

    It is picklable, and cheap to pickle: what it reads from disk is read once per process, on first use.
    """

    @property
    def name(self) -> str:
        """The family, as `load` takes it."""

    @property
    def task(self) -> str | None:
        """The data set or instance, or None when the family has only one."""

    @property
    def label(self) -> str:
        """What figures and traces call it: name, task, and every parameter that is not the default."""

    @property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""

    @property
    def fidelity(self) -> Fidelity | None:
        """The training budget, or None when only the full training can be queried."""

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric that an evaluation has beside value and runtime, by name."""

    @property
    def optimum(self) -> float | None:
        """The least value at the highest fidelity, from which regret is measured, or None when unknown."""

    @property
    def citation(self) -> str:
        """The publication to cite."""

    @property
    def licence(self) -> str:
        """The licence of the data."""

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate one configuration.

        Parameters
        ----------
        config
            The values of all parameters, by name.
        fidelity
            The training budget; None asks for the full training.
        seed
            Which repetition of the training to return, as a pure function of the seed; None returns the mean.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed; the message names it and what is.
        """


class Wrapped:
    """A benchmark that is another one but for how it evaluates."""

    def __init__(self, benchmark: Any) -> None:
        self.benchmark = benchmark

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "benchmark":  # while it is unpickled there is no benchmark yet
            raise AttributeError(name)
        return getattr(self.benchmark, name)


def as_float(value: object) -> float | None:
    """Return a number of any type as a float, or None when it is not a number or too large for one."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def label_of(name: str, task: str | None, options: Mapping[str, Any]) -> str:
    """Return `name/task(option=value)`, so that two benchmarks that differ are never drawn as one."""
    text = name if task is None else f"{name}/{task}"
    return f"{text}({', '.join(f'{key}={value}' for key, value in options.items())})" if options else text


def check_task(name: str, task: object, tasks: tuple[str, ...]) -> None:
    """Raise `SpecificationError`, listing the tasks, unless `task` is one (or None where there are none)."""
    if not tasks:
        if task is not None:
            raise SpecificationError(
                f"the benchmark {name!r} has no tasks, but the task {task!r} was given; leave it out"
            )
    elif task not in tasks:
        what = "no task was given" if task is None else f"the task {task!r} is unknown"
        raise SpecificationError(f"{what} for the benchmark {name!r}; it must be one of: {', '.join(tasks)}")


def check_seed(seed: object) -> int:
    """Return the seed as a plain integer, or raise `SpecificationError` if it is none from 0 to 2**63 - 1."""
    from zerowait.suite.rules.seeds import check_run_seed  # imports NumPy, which a listing does not need

    return check_run_seed(seed)  # type: ignore[arg-type]


def check_names(config: Mapping[str, Any], names: tuple[str, ...], label: str) -> None:
    """Raise `SpecificationError` naming the first parameter that is missing or unknown, or what is no mapping."""
    if not isinstance(config, Mapping):
        raise SpecificationError(
            f"{label}: the configuration is {shown(config)}; it must be a mapping with exactly: {', '.join(names)}"
        )
    for name in names:
        if name not in config:
            raise SpecificationError(
                f"{label}: the parameter {name!r} is missing from {dict(config)!r}; "
                f"a configuration must have exactly: {', '.join(names)}"
            )
    for name in config:
        if name not in names:
            raise SpecificationError(
                f"{label}: the parameter {name!r} (value {config[name]!r}) is unknown; "
                f"a configuration must have exactly: {', '.join(names)}"
            )
