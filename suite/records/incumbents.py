"""What counts as a run's result: three rules, and the changes of incumbent that each makes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from zerowait.suite.records.trace import FIDELITY, FULL
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import pandas as pd

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Result = Literal["recommended", "full", "any"]
"""`recommended`: at each time the configuration with the least value among the evaluations delivered by then at the
highest fidelity that had been delivered by then. `full`: the least value at the benchmark's highest fidelity. `any`:
the least value at whatever fidelity, as in Watanabe et al. 2024 (arXiv 2403.01888)."""
RESULTS: tuple[Result, ...] = get_args(Result)
FULL_VALUE = f"{FULL}value"
"""Column of a trace: what the row's configuration gives without noise at the highest fidelity."""
_COLUMNS = ("optimizer", "benchmark", "n_workers", "run_seed", "cell", "evaluation", "end", "fidelity", "value")


def checked_result(result: object) -> Result:
    """Return the rule of this name.

    Raises
    ------
    SpecificationError
        There is none.
    """
    if result not in RESULTS:
        raise SpecificationError(f"result is {shown(result)}; it must be one of {', '.join(RESULTS)}")
    return result


def training_levels(table: pd.DataFrame) -> Floats:
    """Return how full a training each evaluation of one benchmark is, to compare, shape (n,); NaN for a full one.

    That is its fidelity. Where there are several, it is so for evaluations at the highest of the others that has been
    delivered, and the rest lie below them all: by the others in the order of their names, and then by the fidelity.
    """
    levels: Floats = table["fidelity"].to_numpy(dtype=np.float64)
    others = sorted(str(name) for name in table if str(name).startswith(FIDELITY))
    known = table["value"].notna().to_numpy()
    if not others or not known.any():
        return levels
    beside = table[others].to_numpy(dtype=np.float64)[known]
    tops = np.nan_to_num(np.fmax.reduce(beside, axis=0))  # of a full training, as for the first fidelity
    _, rank = np.unique(np.where(np.isnan(beside), tops, beside), axis=0, return_inverse=True)
    lower = rank.reshape(-1) < rank.max()
    own = levels[known]
    if lower.any():
        full = np.where(np.isnan(own), math.inf, own)
        _, order = np.unique(np.column_stack([rank.reshape(-1), full])[lower], axis=0, return_inverse=True)
        own[lower] = np.nanmin(own, initial=0.0) - 1.0 - order.max() + order.reshape(-1)
        levels = levels.copy()
        levels[known] = own
    return levels


def incumbents(values: Floats, fidelities: Floats, result: Result, highest: float = math.nan) -> Integers:
    """Return the rows of a run at which its incumbent changes, in delivery order.

    Parameters
    ----------
    values
        Losses in delivery order, shape (n,); NaN for an evaluation that failed, which is never an incumbent.
    fidelities
        Of the evaluations, shape (n,); NaN for a full training, which also stands where the benchmark has none.
    result
        The rule.
    highest
        The benchmark's highest fidelity, that of a full training; NaN where it has none.
    """
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return known
    top = math.inf if math.isnan(highest) else highest
    of = np.where(np.isnan(fidelities), top, fidelities)[known]
    if result == "any":
        best: Integers = known[_improvements(values[known])]
        return best
    if result == "full":
        chosen: Integers = known[of == top]
        at_full: Integers = chosen[_improvements(values[chosen])]
        return at_full
    reached = np.maximum.accumulate(of)
    at = known[of == reached]
    # Each new fidelity begins anew, with the first value that was delivered at it.
    levels = of[of == reached]
    parts = np.split(at, np.flatnonzero(levels[1:] != levels[:-1]) + 1)
    found: Integers = np.concatenate([part[_improvements(values[part])] for part in parts])
    return found


def _improvements(values: Floats) -> Integers:
    """Return where a value is less than all before it; the first of equal ones stays."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    before = np.concatenate([[math.inf], np.minimum.accumulate(values)[:-1]])
    better = values < before
    better[0] = True  # also where it is infinite
    return np.flatnonzero(better)


def load_incumbents(
    study: str | os.PathLike[str], *, result: Result = "recommended", where: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Return one row for every change of incumbent of the finished runs of a study.

    Columns: `optimizer`, `benchmark`, `n_workers`, `run_seed`, `end` (simulated s), `evaluation`, `fidelity`, `value`
    (as it was delivered), `full.value` and further `full.` columns (without noise at the highest fidelity; `full.value`
    is NaN where the traces do not hold it), and `fidelity.` columns where there are several fidelities. The highest
    fidelity of a benchmark is the highest that any run kept has delivered.

    Parameters
    ----------
    study
        The output folder of a study, or a copy of its folder `store`.
    result
        The rule; see `Result`.
    where
        What to keep, as for `load_study`.

    Raises
    ------
    TraceError
        There is no study, no finished run, or a file is damaged.
    SpecificationError
        There is no such rule, or a column, an optimizer or a benchmark is unknown.
    """
    from zerowait.suite.records.store import load_study

    rule = checked_result(result)
    table = _load(load_study, study, where)
    if FULL_VALUE not in table:
        table[FULL_VALUE] = math.nan
    table["level"] = math.nan
    for _, of in table.groupby("benchmark", observed=True, sort=False):
        table.loc[of.index, "level"] = training_levels(of)
    highest = table[table["value"].notna()].groupby("benchmark", observed=True)["level"].max()
    chosen = []
    for (_, benchmark), of in table.groupby(["cell", "benchmark"], observed=True, sort=False):
        top = float(highest.get(benchmark, math.nan))
        rows = incumbents(of["value"].to_numpy(), of["level"].to_numpy(), rule, top)
        chosen.append(of.index.to_numpy()[rows])
    order = np.sort(np.concatenate(chosen))
    others = [name for name in table if str(name).startswith((FIDELITY, FULL)) and name != FULL_VALUE]
    kept = ["optimizer", "benchmark", "n_workers", "run_seed", "end", "evaluation", "fidelity", "value", FULL_VALUE]
    return table.loc[order, [*kept, *others]].reset_index(drop=True)


def _load(
    load_study: Callable[..., pd.DataFrame], study: str | os.PathLike[str], where: Mapping[str, Any] | None
) -> pd.DataFrame:
    """Read what rules of results look at; columns that not every study has are left out where there are none."""
    wanted = [f"{FIDELITY}*", f"{FULL}*"]
    while True:
        try:
            return load_study(study, columns=[*_COLUMNS, *wanted], where=where)
        except SpecificationError as error:
            absent = next((pattern for pattern in wanted if pattern in str(error)), None)
            if absent is None:
                raise
            wanted.remove(absent)
