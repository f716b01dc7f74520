"""Tables of a study file that decide a run's end and its times: budget, overhead and cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PositiveFloat, PositiveInt, model_validator

from zerowait.suite.rules.budget import Budget, Counts
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.overhead import Overhead

Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]


class Table(BaseModel):
    """A table of a study file: types are exact, and a key that does not exist is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class BudgetTable(Table):
    """When a run ends: after so many evaluations, at a simulated time, or at whichever comes first."""

    max_evaluations: PositiveInt | None = None
    """Number of evaluations."""
    counts: Counts = "calls"
    """Whether they are calls, or results of workers that stay busy."""
    max_time: Positive | None = None
    """Simulated seconds."""
    full_trainings: Positive | None = None
    """Simulated time in trainings at the highest fidelity; how long one takes, `reference` works out."""

    @model_validator(mode="after")
    def _has_an_end(self) -> BudgetTable:
        if self.max_evaluations is None and self.max_time is None and self.full_trainings is None:
            raise ValueError("it has no max_evaluations, max_time or full_trainings; give at least one of them")
        if self.counts == "results" and self.max_evaluations is None:
            raise ValueError("counts is 'results' without max_evaluations; say how many, or leave counts out")
        return self

    def budget(self, full_training: float | None = None) -> Budget:
        """Return the budget that a run takes, where a training at the highest fidelity takes so many seconds."""
        times = [] if self.max_time is None else [self.max_time]
        if self.full_trainings is not None:
            assert full_training is not None
            times.append(self.full_trainings * full_training)
        return Budget(self.max_evaluations, min(times, default=None), self.counts)


def clusters_of(setting: object) -> dict[str, Cluster]:
    """Return the clusters of a study by name: one table without a name (""), or a list of tables, each with a name.

    Raises
    ------
    SpecificationError
        A table describes no cluster, or names are missing or not different.
    """
    if not isinstance(setting, list):
        return {"": Cluster.from_json(setting)}
    found: dict[str, Cluster] = {}
    for k, table in enumerate(setting):
        described = dict(table) if isinstance(table, Mapping) else {}
        name = described.pop("name", None)
        if not isinstance(name, str) or not name.isprintable() or not name or name in found:
            raise SpecificationError(
                f"name of table {k} is {shown(name)}; each [[cluster]] must have a name of its own, such as "
                '"stragglers"'
            )
        found[name] = Cluster.from_json(described)
    if not found:
        raise SpecificationError("it must not be empty")
    return found


ClusterSetting = Annotated[dict[str, Cluster], PlainValidator(clusters_of)]
"""What the workers are like, by the name that it has in figures and tables."""
OverheadSetting = Annotated[Overhead, PlainValidator(Overhead.from_setting)]
"""How the optimizer's own time is charged: not at all, as measured, or as modelled."""
