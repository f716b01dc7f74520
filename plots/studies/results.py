"""What counts as a result in figures: a study whose values are those of its incumbents under one of three rules."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from zerowait.suite.records.incumbents import FULL_VALUE, Result, checked_result, incumbents, training_levels
from zerowait.suite.records.trace import FIDELITY, FULL
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats, Integers

Rule = Literal["recommended", "full", "any", "hypervolume"]
"""What counts as a result: one of the rules of incumbents, or the hypervolume of a run with several objectives."""
SCORE = "value"
"""Of a recommendation: `full.value`; `test_cross_entropy` stands for `full.test_cross_entropy`."""
LEVEL = "level"
"""Column of how full a training each evaluation is, where there are several fidelities."""
_SENTENCES = {
    "any": "A result is the least value delivered, at whatever fidelity (result=any).",
    "full": "A result is the least value delivered at the highest fidelity (result=full).",
    "recommended": "A result is a recommendation (result=recommended): of what was delivered at the highest fidelity "
    "so far, the configuration with the least value; drawn is its {} without noise at the highest fidelity.",
}


def sentence(result: Rule, score: str, *, known: bool) -> str:
    """Return what a caption says of the rule; `known` tells whether the traces hold what a recommendation is worth."""
    text = _SENTENCES[result].format("loss" if score == SCORE else score)
    if result == "any" and not known:
        text += " The traces do not hold full.value, so that recommendations cannot be judged."
    return text


def chosen_rule(evaluations: pd.DataFrame, offsets: Integers, result: str | None, score: str) -> tuple[Result, bool]:
    """Return the rule that holds, and whether recommendations can be judged by this score.

    Without a wish it is `recommended` where that can be, else `any`.

    Raises
    ------
    SpecificationError
        There is no such rule, no trace has the score, or a trace lacks what the rule needs.
    """
    column = f"{FULL}{score}"
    known, lacking = False, 0
    if column in evaluations:
        unknown = (evaluations[column].isna() & evaluations["value"].notna()).to_numpy()
        lacking = int(sum(unknown[a:b].any() for a, b in itertools.pairwise(offsets)))
        known = not lacking
    if score != SCORE and column not in evaluations:
        there = [str(name).removeprefix(FULL) for name in evaluations if str(name).startswith(FULL)]
        raise SpecificationError(f"no trace has the score {shown(score)}; they have: {', '.join(there) or 'none'}")
    if result is None:
        if score != SCORE and not known:
            raise _lacks(column, lacking, len(offsets) - 1)
        return ("recommended" if known else "any"), known
    rule = checked_result(result)
    if rule == "recommended" and not known:
        raise _lacks(column, lacking if column in evaluations else len(offsets) - 1, len(offsets) - 1)
    if rule != "recommended" and score != SCORE:
        raise SpecificationError(f"score is {shown(score)}; only result=recommended is judged by another score")
    if rule == "full" and "fidelity" not in evaluations:
        raise SpecificationError("the study was read without the column fidelity; read it too")
    return rule, known


def _lacks(column: str, lacking: int, runs: int) -> SpecificationError:
    return SpecificationError(
        f"result=recommended needs the column {column}, which {lacking} of {runs} runs lack; set result=full or "
        "result=any, complete results of 0.1 with zerowait complete, or run the study again"
    )


def counted_values(evaluations: pd.DataFrame, highest: Floats, column: str) -> dict[str, Floats]:
    """Return the values that count under each rule that the columns allow, by rule and column; NaN: does not count.

    `highest` is the highest fidelity of the benchmark of each evaluation, NaN where it has none.
    """
    values = np.asarray(evaluations["value"], dtype=np.float64)
    found = {}
    if "fidelity" in evaluations:
        fidelities = _levels(evaluations)
        is_full = (fidelities == highest) | np.isnan(fidelities)  # what has no fidelity is a full training
        found["full"] = np.where(is_full, values, math.nan)
    if column in evaluations:
        found[column] = np.where(np.isnan(values), math.nan, np.asarray(evaluations[column], dtype=np.float64))
    return found


def other_fidelities(evaluations: pd.DataFrame) -> list[str]:
    """Return the columns of the fidelities beside `fidelity`, of runs with several."""
    return [str(name) for name in evaluations if str(name).startswith(FIDELITY)]


def with_levels(cells: pd.DataFrame, evaluations: pd.DataFrame, offsets: Integers) -> pd.DataFrame:
    """Return evaluations with the column `level` where there are several fidelities: see `training_levels`."""
    if "fidelity" not in evaluations or not other_fidelities(evaluations):
        return evaluations
    levels = np.asarray(evaluations["fidelity"], dtype=np.float64).copy()
    of_each = np.repeat(cells["benchmark"].to_numpy(), np.diff(offsets))
    for rows in evaluations.groupby(of_each, sort=False).indices.values():
        levels[rows] = training_levels(evaluations.iloc[rows])
    return evaluations.assign(**{LEVEL: levels})


def _levels(evaluations: pd.DataFrame) -> Floats:
    return np.asarray(evaluations[LEVEL if LEVEL in evaluations else "fidelity"], dtype=np.float64)


def incumbent_rows(
    evaluations: pd.DataFrame, offsets: Integers, highest: Floats, result: Result
) -> tuple[Integers, Integers]:
    """Return the rows at which incumbents change, and how many each run has; `highest` is of each run's benchmark."""
    values = np.asarray(evaluations["value"], dtype=np.float64)
    fidelities = _levels(evaluations)
    found = [
        int(a) + incumbents(values[a:b], fidelities[a:b], result, float(top))
        for a, b, top in zip(offsets[:-1], offsets[1:], highest, strict=True)
    ]
    rows = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    return rows.astype(np.int64), np.array([len(of) for of in found], dtype=np.int64)


def highest_fidelities(cells: pd.DataFrame, evaluations: pd.DataFrame, offsets: Integers) -> Mapping[str, float]:
    """Return the highest fidelity that any run has delivered a value at, by benchmark; NaN where there is none."""
    if "fidelity" not in evaluations:
        return {}
    fidelities = _levels(evaluations)
    fidelities = np.where(np.isnan(np.asarray(evaluations["value"], dtype=np.float64)), math.nan, fidelities)
    found: dict[str, float] = {}
    for run, benchmark in enumerate(cells["benchmark"]):
        own = fidelities[offsets[run] : offsets[run + 1]]
        own = own[~np.isnan(own)]
        top = float(own.max()) if len(own) else math.nan
        found[benchmark] = float(np.fmax(found.get(benchmark, math.nan), top))
    return found


def full_columns(evaluations: pd.DataFrame) -> list[str]:
    """Return the columns of what configurations give at the highest fidelity, `full.value` first."""
    names = [str(name) for name in evaluations if str(name).startswith(FULL)]
    return sorted(names, key=lambda name: (name != FULL_VALUE, name))
