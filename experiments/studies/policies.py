"""Tables of a study file that decide a run's end and its charge: budget and overhead."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PositiveFloat, PositiveInt, model_validator

from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.overhead import Overhead

Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]


class Table(BaseModel):
    """A table of a study file: types are exact, and a key that does not exist is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class BudgetTable(Table):
    """When a run ends: after so many evaluations, at a simulated time, or at whichever comes first."""

    max_evaluations: PositiveInt | None = None
    """Number of evaluations."""
    max_time: Positive | None = None
    """Simulated seconds."""
    full_trainings: Positive | None = None
    """Simulated time in trainings at the highest fidelity; how long one takes, `reference` works out."""

    @model_validator(mode="after")
    def _has_an_end(self) -> BudgetTable:
        if self.max_evaluations is None and self.max_time is None and self.full_trainings is None:
            raise ValueError("it has no max_evaluations, max_time or full_trainings; give at least one of them")
        return self

    def budget(self, full_training: float | None = None) -> Budget:
        """Return the budget that a run takes, where a training at the highest fidelity takes so many seconds."""
        times = [] if self.max_time is None else [self.max_time]
        if self.full_trainings is not None:
            assert full_training is not None
            times.append(self.full_trainings * full_training)
        return Budget(self.max_evaluations, min(times, default=None))


OverheadSetting = Annotated[Overhead, PlainValidator(Overhead.from_setting)]
"""How the optimizer's own time is charged: not at all, as measured, or as modelled."""
