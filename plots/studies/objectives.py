"""Studies of several objectives: what an evaluation is worth in each, and the hypervolume of a run as its result.

Objectives are scaled for each benchmark, over all runs of the study: 0 is the least that any evaluation had, 1 the
greatest, and the reference point of the hypervolume is 1 in each. What counts as a loss is the share that is missing,
1 - hypervolume, so that every figure of losses is one of hypervolumes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from zerowait.plots.statistics.fronts import hypervolume, hypervolumes
from zerowait.suite.records.trace import FULL
from zerowait.suite.rules.objectives import VALUE, metric_of, sign_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats, Integers

HYPERVOLUME: Literal["hypervolume"] = "hypervolume"
"""Name of the rule, of the option and of the references."""
METRIC = "metric."
BOUNDS = ("least", "greatest")


def delivered_columns(objectives: Sequence[str]) -> list[str]:
    """Return the columns of a trace in which objectives stand as they were delivered."""
    return [VALUE if name == VALUE else f"{METRIC}{name}" for name in map(metric_of, objectives)]


def without_noise(evaluations: pd.DataFrame, objectives: Sequence[str]) -> bool:
    """Tell whether each success has its objectives without noise too, as runs of studies do."""
    columns = [f"{FULL}{metric_of(one)}" for one in objectives]
    if any(name not in evaluations for name in columns):
        return False
    return bool(evaluations.loc[evaluations[VALUE].notna(), columns].notna().all(axis=None))


def value_columns(evaluations: pd.DataFrame, objectives: Sequence[str]) -> list[str]:
    """Return the columns by which evaluations are judged; none where one is not there, as in an archive."""
    if without_noise(evaluations, objectives):
        return [f"{FULL}{metric_of(one)}" for one in objectives]
    columns = delivered_columns(objectives)
    return columns if all(name in evaluations for name in columns) else []


def objective_values(evaluations: pd.DataFrame, objectives: Sequence[str], counted: Floats) -> Floats:
    """Return what each evaluation is worth, all minimised, shape (evaluations, objectives); NaN: it does not count.

    That is what they give without noise where the traces say it. `counted` are the losses of those at the highest
    fidelity, NaN for others.
    """
    values = np.array([
        sign_of(one) * np.asarray(evaluations[name], dtype=np.float64)
        for name, one in zip(value_columns(evaluations, objectives), objectives, strict=True)
    ]).T  # fmt: skip
    values[np.isnan(counted) | ~np.isfinite(values).all(axis=1)] = math.nan
    return values


def hypervolume_references(
    cells: pd.DataFrame, values: Floats, offsets: Integers, objectives: Sequence[str]
) -> pd.DataFrame:
    """Return what missing hypervolumes are measured against, by benchmark, as `Study.references` has it for losses.

    `reference` is what is missing to all runs of the benchmark together. Further columns: `least.NAME` and
    `greatest.NAME` of each objective, as it is minimised.
    """
    import pandas as pd

    rows = []
    for benchmark, runs in cells.groupby("benchmark", sort=True).indices.items():
        of_runs = [known(values[offsets[run] : offsets[run + 1]]) for run in runs]
        together = np.vstack(of_runs)
        least, greatest = np.full((2, len(objectives)), math.nan)
        reference, worst, first = math.nan, math.nan, math.nan
        if len(together):
            least, greatest = together.min(axis=0), together.max(axis=0)
            begins = [1 - hypervolume(scaled(points[:1], least, greatest)) for points in of_runs if len(points)]
            reference = 1 - hypervolume(scaled(together, least, greatest))
            worst, first = max(begins), float(np.median(begins))
        bounds = {
            f"{bound}.{name}": value
            for bound, of in zip(BOUNDS, (least, greatest), strict=True)
            for name, value in zip(objectives, of.tolist(), strict=True)
        }
        rows.append({"benchmark": benchmark, "reference": reference, "source": "all runs", "worst": worst,
                     "first": first, **bounds})  # fmt: skip
    return pd.DataFrame(rows).set_index("benchmark")


def known(values: Floats) -> Floats:
    """Return the evaluations that count."""
    return values[~np.isnan(values).any(axis=1)]


def scaled(values: Floats, least: Floats, greatest: Floats) -> Floats:
    """Return values from 0 for the least to 1 for the greatest; 0 where these are the same."""
    width = np.where(greatest > least, greatest - least, 1.0)
    return np.asarray((values - least) / width, dtype=np.float64)


def missing_hypervolumes(
    cells: pd.DataFrame, values: Floats, offsets: Integers, references: pd.DataFrame, objectives: Sequence[str]
) -> tuple[Integers, Floats, Integers]:
    """Return the rows at which the front of a run grows, what is missing to it then, and how many rows each run has."""
    least, greatest = (references[[f"{bound}.{name}" for name in objectives]] for bound in BOUNDS)
    found = [
        _growth(values[begin:end], least.loc[name].to_numpy(), greatest.loc[name].to_numpy(), int(begin))
        for name, begin, end in zip(cells["benchmark"], offsets[:-1], offsets[1:], strict=True)
    ]
    rows = np.concatenate([of for of, _ in found]).astype(np.int64)
    return rows, np.concatenate([of for _, of in found]), np.array([len(of) for of, _ in found], dtype=np.int64)


def _growth(values: Floats, least: Floats, greatest: Floats, begin: int) -> tuple[Integers, Floats]:
    at = np.flatnonzero(~np.isnan(values).any(axis=1))
    missing = 1 - hypervolumes(scaled(values[at], least, greatest))
    grows = np.diff(missing, prepend=math.inf) < 0
    return begin + at[grows], missing[grows]


def called(objective: str) -> str:
    """Return what figures call an objective."""
    return f"{metric_of(objective)} (maximised)" if sign_of(objective) < 0 else objective


def hypervolume_sentence(objectives: Sequence[str], *, noise_free: bool) -> str:
    """Return what a caption says of the rule."""
    names = [called(one) for one in objectives]
    worth = "what they give without noise" if noise_free else "what was delivered"
    return (
        f"A result is the hypervolume of what was delivered at the highest fidelity so far (result=hypervolume), by "
        f"{worth} in {', '.join(names[:-1])} and {names[-1]}, each scaled for each benchmark from its best value in "
        "any run of the study, 0, to its worst, 1; the reference point is the worst value of each. The loss is 1 minus "
        "the hypervolume."
    )
