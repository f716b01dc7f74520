"""Tables of a study file that decide a run's end and its charge: budget and overhead."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from zerowait.suite.rules.evaluation import Budget
from zerowait.suite.rules.overhead import Overhead

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
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


class OverheadTable(Table):
    """Modelled overhead: `{fixed = s}`, or `{base = s, per_result = s}` that grows with the results."""

    fixed: NonNegative | None = None
    """Seconds for every configuration."""
    base: NonNegative | None = None
    """Seconds for the first configuration."""
    per_result: NonNegative | None = None
    """Further seconds for every delivered result."""
    sampling: Literal["serial", "parallel"] = "serial"
    """Whether one configuration is sampled at a time, or every worker samples for itself."""

    @model_validator(mode="after")
    def _is_one_model(self) -> OverheadTable:
        linear = self.base is not None and self.per_result is not None
        if (self.fixed is None) == (not linear) or (self.base is None) != (self.per_result is None):
            raise ValueError("it must be {fixed = seconds} or {base = seconds, per_result = seconds}")
        return self

    def overhead(self) -> Overhead:
        """Return the policy that a run takes."""
        if self.fixed is not None:
            return Overhead.fixed(self.fixed, sampling=self.sampling)
        assert self.base is not None
        assert self.per_result is not None
        return Overhead.linear(self.base, self.per_result, sampling=self.sampling)


def _is_table(value: object) -> str:
    return "table" if isinstance(value, dict | OverheadTable) else "name"


OverheadSetting = Annotated[
    Annotated[Literal["none", "measured"], Tag("name")] | Annotated[OverheadTable, Tag("table")],
    Discriminator(_is_table),
]
"""How the optimizer's own time is charged: not at all, as measured, or as modelled."""


def overhead_policy(setting: Literal["none", "measured"] | OverheadTable) -> Overhead:
    """Return the policy that a run takes."""
    if isinstance(setting, OverheadTable):
        return setting.overhead()
    return Overhead.none() if setting == "none" else Overhead.measured()
