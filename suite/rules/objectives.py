"""Several objectives: which numbers of an evaluation are minimised, `value` and its metrics by name.

A minus sign in front of a name, as in `-accuracy`, says that more is better: its negative is minimised, as the loss of
a table with `maximize` is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import DivergedError, InvalidEvaluationError, SpecificationError, shown
from zerowait.suite.rules.evaluation import LOST, Config, Evaluation, as_evaluation

VALUE = "value"
"""Names the loss of an evaluation; every other objective is one of its metrics."""
_ALLOWED = "at least two different names, such as ['value', 'latency'], or ['value', '-accuracy'] to maximise one"

Checked: TypeAlias = Callable[[object, Config], Evaluation]


def check_objectives(objectives: object) -> tuple[str, ...] | None:
    """Return the objectives of a run, None if it has one: the loss.

    Raises
    ------
    SpecificationError
        They are no names, fewer than two, or one stands there twice.
    """
    if objectives is None:
        return None
    if isinstance(objectives, list | tuple) and all(isinstance(one, str) and metric_of(one) for one in objectives):
        names = tuple(map(metric_of, objectives))
        if 2 <= len(names) == len(set(names)) and all(map(arguments.is_text, names)):  # noqa: PLR2004 - several
            return tuple(objectives)
    raise arguments.refusal("objectives", objectives, _ALLOWED)


def metric_of(objective: str) -> str:
    """Return the name of an objective without the sign that says that it is maximised."""
    return objective.removeprefix("-")


def sign_of(objective: str) -> float:
    """Return what an objective is multiplied with to be minimised: 1, or -1 for one that is maximised."""
    return -1.0 if objective.startswith("-") else 1.0


def check_known(objectives: Sequence[str] | None, metrics: Collection[str], label: str) -> None:
    """Refuse objectives of a benchmark that it has not.

    Raises
    ------
    SpecificationError
        There is such a one.
    """
    known = [VALUE, *metrics]
    for one in objectives or ():
        if metric_of(one) not in known:
            raise SpecificationError(
                f"objectives has {shown(one)}, which {label} does not give; it must be of: {', '.join(known)}"
            )


def values_of(evaluation: Evaluation, objectives: Sequence[str]) -> list[float]:
    """Return the objectives of an evaluation as the objective gave them, whether they are minimised or maximised."""
    return [evaluation.value if one == VALUE else evaluation.metrics[one] for one in map(metric_of, objectives)]


def lost(objectives: Sequence[str] | None, charged: Evaluation = LOST) -> Evaluation:
    """Return what an optimizer gets that cannot take an exception: an evaluation with the worst of each objective."""
    metrics = {metric_of(one): sign_of(one) * math.inf for one in objectives or () if metric_of(one) != VALUE}
    value = -math.inf if f"-{VALUE}" in (objectives or ()) else math.inf
    return Evaluation(value, charged.runtime, {**charged.metrics, **metrics}, charged.start, charged.end)


def evaluations_with(objectives: Sequence[str] | None) -> Checked:
    """Return what gives what an objective returned the form of an evaluation; with several objectives it has them all.

    It is `as_evaluation` where there is one objective.
    """
    return as_evaluation if objectives is None else functools.partial(_with_objectives, tuple(objectives))


def _with_objectives(objectives: tuple[str, ...], returned: object, config: Config) -> Evaluation:
    """Return what `as_evaluation` does.

    Raises
    ------
    InvalidEvaluationError
        As there; also when an objective is missing. One that is not finite is a `DivergedError`.
    """
    evaluation = as_evaluation(returned, config)
    metrics: Mapping[str, Any] = evaluation.metrics
    for name in map(metric_of, objectives):
        if name == VALUE:
            continue
        if name not in metrics:
            raise InvalidEvaluationError(
                f"the objective returned the metrics {sorted(metrics)} for {shown(dict(config))}; the run has the "
                f"objectives {', '.join(objectives)}, so {name!r} must be among them each time"
            )
        if not math.isfinite(metrics[name]):
            raise DivergedError(
                f"the objective returned {name}={metrics[name]!r} for {shown(dict(config))}; an objective must be "
                "finite (raise an exception to report a failed training)",
                evaluation.runtime,
            )
    return evaluation
