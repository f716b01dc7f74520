"""The rungs of a trial: the fidelities at which Optuna's pruner sees it, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna


@dataclass(frozen=True, slots=True)
class Rung:
    """One of the fidelities at which a trial is evaluated, one after the other."""

    fidelity: float | None
    """The training budget, or None for the full training."""
    step: int | None
    """What Optuna's pruner knows the rung by; None when nothing is reported."""


FULL_TRAINING = (Rung(None, None),)
"""The rungs of a trial that cannot be pruned."""


def trial_id(trial: optuna.Trial, rungs: Sequence[Rung]) -> str | None:
    """Return the name under which a trial is continued, or None when it never is."""
    return str(trial.number) if len(rungs) > 1 else None
