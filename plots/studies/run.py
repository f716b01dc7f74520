"""One run in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it was labelled, and its trace."""

    optimizer: str
    """Name by which runs are grouped: the label `label` if there is one, else the label `optimizer`."""
    benchmark: str
    """Benchmark and task."""
    n_workers: int
    """Number of simulated workers."""
    seed: int
    """Run seed."""
    optimum: float | None
    """The least loss that is possible on this benchmark; None when unknown."""
    trace: pd.DataFrame
    """One row an evaluation, in delivery order; see `zerowait.suite.records.trace.COLUMNS`."""

    @property
    def ends(self) -> Floats:
        """Simulated times of the deliveries in seconds."""
        return self.trace["end"].to_numpy(dtype="float64")

    @property
    def values(self) -> Floats:
        """Losses; NaN for an evaluation that failed or was lost."""
        return self.trace["value"].to_numpy(dtype="float64")
