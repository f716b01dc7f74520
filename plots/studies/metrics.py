"""A metric in the place of the loss: figures of another number that the runs gave, minimised or maximised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zerowait.plots.studies.objectives import METRIC
from zerowait.suite.records.incumbents import FULL_VALUE
from zerowait.suite.records.trace import FULL
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.objectives import metric_of, sign_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


def metric_columns(metric: str, available: Iterable[str]) -> list[str]:
    """Return the columns of traces that have a metric; a minus sign in front says that more is better.

    Raises
    ------
    SpecificationError
        No trace has it.
    """
    name, there = metric_of(metric), set(available)
    known = sorted(column.removeprefix(METRIC) for column in there if column.startswith(METRIC))
    if name not in known:
        raise SpecificationError(
            f"metric is {shown(metric)}; "
            + (
                f"it must be of: {', '.join(known)}; with a minus sign in front for one of which more is better"
                if known
                else "the traces have none: an archive keeps the loss, and an objective may give none"
            )
        )
    return [column for column in (f"{METRIC}{name}", f"{FULL}{name}") if column in there]


def with_metric(cells: pd.DataFrame, evaluations: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cells and evaluations with the metric, or its negative, in the place of the loss."""
    name, sign = metric_of(metric), sign_of(metric)
    kept = evaluations.drop(columns=[c for c in evaluations if str(c).startswith((FULL, METRIC))])
    failed = evaluations["value"].isna()
    kept["value"] = np.where(failed, math.nan, sign * evaluations[f"{METRIC}{name}"])
    if f"{FULL}{name}" in evaluations:
        kept[FULL_VALUE] = np.where(failed, math.nan, sign * evaluations[f"{FULL}{name}"])
    return cells.assign(optimum=math.nan), kept


def metric_sentence(metric: str) -> str:
    """Return what a caption says of it; nothing where the loss is drawn."""
    if not metric:
        return ""
    return (
        f" In the place of the loss stands {metric_of(metric)}, {'maximised' if sign_of(metric) < 0 else 'minimised'}."
    )
