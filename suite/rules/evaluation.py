"""What goes into an objective and what comes out of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from zerowait.suite.rules import arguments
from zerowait.suite.rules.arguments import is_text
from zerowait.suite.rules.errors import DivergedError, InvalidEvaluationError, shown
from zerowait.suite.rules.fidelities import AnyFidelity, check_any_fidelity
from zerowait.suite.rules.identity import check_config_id

Config: TypeAlias = Mapping[str, Any]
LONGEST = 1e300
"""Seconds that no single evaluation or configuration may take, so that a sum of many is finite."""


@dataclass(frozen=True, slots=True, init=False)
class Evaluation:  # noqa: PLW1641 - `dataclass` writes the hash of a frozen class
    """One query of the objective, with its simulated start and end.

    An objective fills in `value`, `runtime` and `metrics`; the simulator adds `start` and `end` and, for a
    continued evaluation, replaces `runtime` by the seconds that were charged.
    """

    value: float
    """The loss, minimised; finite (an optimizer that asks past its budget may get infinity)."""
    runtime: float
    """Simulated seconds, from 0 to `LONGEST`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further numbers to record, by name."""
    start: float = math.nan
    """Simulated time at which the configuration was handed over, in seconds."""
    end: float = math.nan
    """Simulated time at which the result was delivered, in seconds."""

    def __init__(
        self,
        value: float,
        runtime: float,
        metrics: Mapping[str, float] | None = None,
        start: float = math.nan,
        end: float = math.nan,
    ) -> None:
        # What `dataclass` writes for a frozen class takes twice as long, and each evaluation makes two of these.
        _set_value(self, value)
        _set_runtime(self, runtime)
        _set_metrics(self, {} if metrics is None else metrics)
        _set_start(self, start)
        _set_end(self, end)

    def __eq__(self, other: object) -> bool:
        """Compare all fields; what has not been simulated yet, with NaN for its times, is equal to its like.

        What `dataclass` writes depends on the version of Python there, and on whether the NaN is the same object.
        """
        if other.__class__ is not Evaluation:
            return NotImplemented
        assert isinstance(other, Evaluation)
        return (
            (self.value, self.runtime, self.metrics) == (other.value, other.runtime, other.metrics)
            and (self.start == other.start or (math.isnan(self.start) and math.isnan(other.start)))
            and (self.end == other.end or (math.isnan(self.end) and math.isnan(other.end)))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Results travel between processes; the default for a frozen dataclass costs several times as much.
        return Evaluation, (self.value, self.runtime, self.metrics, self.start, self.end)


_set_value, _set_runtime, _set_metrics, _set_start, _set_end = (
    Evaluation.__dict__[name].__set__ for name in ("value", "runtime", "metrics", "start", "end")
)

LOST = Evaluation(math.inf, 0.0)
"""What an optimizer that cannot take an exception gets for what it asks past its budget."""


@dataclass(frozen=True, slots=True)
class Query:
    """What an ask-and-tell optimizer wants evaluated."""

    config: Config
    """Parameter values by name."""
    fidelity: AnyFidelity = None
    """Training budget of the evaluation, of several fidelities one by name; None asks for the full training."""
    config_id: str | None = None
    """The optimizer's own name of the configuration (an integer becomes text); None identifies it by its values."""

    def __post_init__(self) -> None:
        """Refuse what is of the wrong type; whether the values can be kept is looked at when it is asked for."""
        if type(self.config) is not dict:
            arguments.configuration(self.config)
        if self.fidelity is not None:
            check_any_fidelity(self.fidelity)
        if self.config_id is not None and type(self.config_id) is not str:
            object.__setattr__(self, "config_id", check_config_id(self.config_id))


class Objective(Protocol):
    """Anything callable that evaluates a configuration; `fidelity` and `seed` are passed when it takes them.

    In a run with several fidelities it gets all of them by name, and where it has itself `fidelities` of the type
    `zerowait.suite.rules.fidelities.Fidelities`, those are the run's.
    """

    def __call__(
        self, config: Config, /, *, fidelity: AnyFidelity = None, seed: int | None = None
    ) -> Evaluation | Mapping[str, Any]:
        """Return the evaluation, or a mapping with the keys `value` and `runtime` and any further metrics."""


class AskTellOptimizer(Protocol):
    """An optimizer that is asked for configurations and told their results."""

    def ask(self) -> Query | None:
        """Return the next query, or None when there is nothing to evaluate until another result arrives."""

    def tell(self, query: Query, evaluation: Evaluation, /) -> Query | None:
        """Take the result of an earlier query; return what its worker goes on with, or None to be asked."""


AnyObjective: TypeAlias = Callable[..., Evaluation | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ObjectiveSignature:
    """Which of the optional keyword arguments an objective takes."""

    fidelity: bool
    seed: bool

    @classmethod
    def of(cls, objective: AnyObjective) -> ObjectiveSignature:
        """Read the signature; an objective whose signature cannot be read takes both."""
        try:
            parameters = inspect.signature(objective).parameters
        except (TypeError, ValueError):
            return cls(fidelity=True, seed=True)
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        return cls(fidelity=anything or "fidelity" in parameters, seed=anything or "seed" in parameters)


def as_evaluation(returned: object, config: Config) -> Evaluation:
    """Check what an objective returned and give it the form of an `Evaluation`.

    Raises
    ------
    InvalidEvaluationError
        A key is missing, a number is not finite or has the wrong type, or the runtime is negative; the message
        names the key, the value and the configuration. A value that is not finite is a `DivergedError`.
    """
    if isinstance(returned, Evaluation):
        evaluation = returned
        value, runtime = evaluation.value, evaluation.runtime
        # The common case costs two type checks: plain floats that are in range.
        if (
            type(value) is float
            and type(runtime) is float
            and 0.0 <= runtime <= LONGEST
            and -math.inf < value < math.inf
        ):
            return evaluation if not evaluation.metrics else _with_plain_metrics(evaluation, config)
        fields: dict[str, Any] = {"value": value, "runtime": runtime}
        metrics: Mapping[str, Any] = evaluation.metrics
    elif isinstance(returned, Mapping):
        for key in ("value", "runtime"):
            if key not in returned:
                raise InvalidEvaluationError(
                    f"the objective returned a mapping without {key!r} (keys: {sorted(map(str, returned))}) "
                    f"for {dict(config)!r}; it must have 'value' and 'runtime'"
                )
        fields = {"value": returned["value"], "runtime": returned["runtime"]}
        metrics = {k: v for k, v in returned.items() if k not in fields and k != "metrics"}
        nested = returned.get("metrics", {})
        if not isinstance(nested, Mapping):
            raise InvalidEvaluationError(
                f"the objective returned metrics={nested!r} for {dict(config)!r}; it must be a mapping of numbers"
            )
        metrics.update(nested)
    else:
        raise InvalidEvaluationError(
            f"the objective returned {type(returned).__name__} ({returned!r}) for {dict(config)!r}; it must return an "
            "Evaluation or a mapping with 'value' and 'runtime'"
        )
    value = _number("value", fields["value"], config)
    runtime = _number("runtime", fields["runtime"], config)
    if not 0.0 <= runtime <= LONGEST:
        raise InvalidEvaluationError(
            f"the objective returned runtime={runtime!r} for {dict(config)!r}; it must be from 0 to {LONGEST:g} seconds"
        )
    if not math.isfinite(value):
        raise DivergedError(
            f"the objective returned value={value!r} for {dict(config)!r}; it must be finite (raise an exception to "
            "report a failed training, or return the loss of a useless model)",
            runtime,
        )
    return _with_plain_metrics(Evaluation(value, runtime, metrics), config)


def _number(key: str, value: Any, config: Config) -> float:
    if isinstance(value, bool | str | bytes) or value is None:
        raise InvalidEvaluationError(
            f"the objective returned {key}={value!r} for {dict(config)!r}; it must be a number"
        )
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidEvaluationError(
            f"the objective returned {key}={shown(value)} for {shown(dict(config))}; it must be a number"
        ) from None


def _with_plain_metrics(evaluation: Evaluation, config: Config) -> Evaluation:
    if not isinstance(evaluation.metrics, Mapping):
        raise InvalidEvaluationError(
            f"the objective returned metrics={shown(evaluation.metrics)} for {dict(config)!r}; it must be a mapping of "
            "numbers"
        )
    metrics = {
        str(name): value if type(value) is float else _metric(str(name), value, config)
        for name, value in evaluation.metrics.items()
    }
    if not is_text("".join(metrics)):
        raise InvalidEvaluationError(
            f"the objective returned metrics with the names {sorted(metrics)!r} for {dict(config)!r}; a name must not "
            "hold half a surrogate pair, which no file can hold"
        )
    return Evaluation(evaluation.value, evaluation.runtime, metrics)


def _metric(name: str, value: Any, config: Config) -> float:
    return float(value) if isinstance(value, bool) else _number(f"metrics[{name!r}]", value, config)
