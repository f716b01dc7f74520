"""The rungs of a trial, the fidelities at which Optuna's pruner sees it, and what the study is told at the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerowait.suite.rules.objectives import values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from zerowait.suite.rules.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Rung:
    """One of the fidelities at which a trial is evaluated, one after the other."""

    fidelity: float | None
    """The training budget, or None for the full training."""
    step: int | None
    """What Optuna's pruner knows the rung by; None when nothing is reported."""
    prunes: bool = True
    """Whether the pruner is asked when it is reported."""


FULL_TRAINING = (Rung(None, None, prunes=False),)
"""The rungs of a trial that cannot be pruned."""


def trial_id(trial: optuna.Trial, rungs: Sequence[Rung]) -> str | None:
    """Return the name under which a trial is continued, or None when it never is."""
    return str(trial.number) if len(rungs) > 1 else None


def told_values(evaluation: Evaluation, objectives: Sequence[str] | None) -> float | list[float]:
    """Return what a study is told of an evaluation: its loss, or all objectives of a run that has several."""
    return evaluation.value if objectives is None else values_of(evaluation, objectives)
