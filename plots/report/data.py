"""What the interactive part of a report draws, as plain numbers: few enough for a page of a few megabytes.

Curves are read at fewer times than the figures read them, never interpolated: what is drawn at a time is the value at
that time. Numbers are rounded to `DIGITS` significant digits, times upwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zerowait.plots.drawing import style, text
from zerowait.plots.figures.performance import performance_table
from zerowait.plots.figures.scaling import ALL, speed_up_table
from zerowait.plots.statistics.arithmetic import LOGARITHMIC_FROM, Floats, Integers
from zerowait.plots.studies.labels import NO_LABELS, Labels
from zerowait.plots.studies.study import Study
from zerowait.suite.rules.errors import SpecificationError

DIGITS = 5
"""Significant digits of embedded numbers."""
MOST_POINTS, FEWEST_POINTS = 150, 20
"""Times of a curve in a small study, and in a large one."""
ALL_POINTS = 30_000
"""So many points all curves of a chart may have together, unless that leaves them fewer than `FEWEST_POINTS` each."""
EARLIEST = 1e-3
"""The share of the budget at which ranks begin, at the earliest."""


def points_each(curves: int) -> int:
    """Return at how many times each of so many curves is read."""
    return max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // max(curves, 1)))


def interactive_data(study: Study) -> dict[str, Any]:
    """Return what the page's script reads: names, and the numbers of three charts; NaN is None."""
    names: dict[str, list[Any]] = {
        "o": list(study.optimizers),
        "b": study.labels.ordered(map(str, study.cells["benchmark"].unique())),
        "p": sorted(int(n) for n in study.cells["n_workers"].unique()),
    }
    index = {key: {name: at for at, name in enumerate(of_key)} for key, of_key in names.items()}
    return {
        "optimizers": optimizer_looks(study.optimizers, study.labels),
        "benchmarks": [text.plain(study.labels.text(name)) for name in names["b"]],
        "workers": names["p"],
        "logarithmicFrom": LOGARITHMIC_FROM,
        "performance": _performance(study, index),
        "rank": _ranks(study, index),
        "speedUp": _speed_ups(study, index),
    }


def optimizer_looks(optimizers: Sequence[str], labels: Labels = NO_LABELS) -> list[dict[str, str]]:
    """Return name, colour, marker and dashes (in pixels, as SVG has them) of each; black is the page's ink."""
    looks = style.styles(optimizers, labels.colours)
    found = []
    for name in optimizers:
        look = looks[name]
        dashes = "" if isinstance(look.line, str) else " ".join(f"{1.8 * part:g}" for part in look.line[1])
        found.append(
            {
                "name": text.plain(labels.text(name)),
                "colour": "currentColor" if look.colour == "#000000" else look.colour,
                "dash": dashes,
                "marker": look.marker,
            }
        )
    return found


def _performance(study: Study, index: Mapping[str, Mapping[Any, int]]) -> list[dict[str, Any]]:
    """Return the curves of each benchmark and number of workers: a common grid of times, and from where each begins."""
    curves = len(study.cells.drop_duplicates(["benchmark", "n_workers", "optimizer"]))
    try:
        table = performance_table(study, points=points_each(curves))
    except SpecificationError:  # nobody has a success: there is no curve
        return []
    groups = []
    for (benchmark, n_workers), of_group in table.groupby(["benchmark", "n_workers"], sort=True):
        times = np.unique(of_group["time"].to_numpy())
        groups.append(
            {
                "b": index["b"][benchmark],
                "p": index["p"][n_workers],
                "quantity": of_group["quantity"].iloc[0],
                "times": [_up(time) for time in times.tolist()],
                "curves": [
                    _curve(curve, times, index["o"][name]) for name, curve in of_group.groupby("optimizer", sort=True)
                ],
            }
        )
    return groups


def _curve(curve: pd.DataFrame, times: Floats, optimizer: int) -> dict[str, Any]:
    # Other curves' times lie between its own; a step function keeps its value until its own next time.
    own = curve["time"].to_numpy()
    first, last = np.searchsorted(times, [own[0], own[-1]])
    at = np.searchsorted(own, times[first : last + 1], side="right") - 1
    error = curve["standard_error"].to_numpy()[at]
    return {
        "o": optimizer,
        "first": int(first),
        "centre": _rounded(curve["mean"].to_numpy()[at]),
        "error": None if np.isnan(error).any() else _rounded(error),
    }


def _ranks(study: Study, index: Mapping[str, Mapping[Any, int]]) -> dict[str, Any]:
    """Return for each benchmark, number of workers and pair of optimizers how often one beats the other over time.

    The average rank of an optimizer among any others is 1 plus the sum of the shares of seeds in which each of them
    beats it, a tie counting half. So from these counts the script has exact ranks for every choice of optimizers.
    """
    groups = [(str(b), int(n), runs) for (b, n), runs in study.groups("benchmark", "n_workers")]
    horizons = [_horizon(study, runs) for _, _, runs in groups]
    starts = [study.first_success[runs].min() / until for (_, _, runs), until in zip(groups, horizons, strict=True)]
    first = min([s for s in starts if math.isfinite(s)], default=1.0)
    pairs = len(groups) * len(study.optimizers) * (len(study.optimizers) - 1) // 2
    fractions = np.geomspace(min(max(first, EARLIEST), 0.5), 1.0, points_each(pairs))
    fractions[-1] = 1.0
    found = []
    for (benchmark, n_workers, runs), until in zip(groups, horizons, strict=True):
        best = np.nan_to_num(study.best_at(runs, fractions * until), nan=math.inf)
        cells = study.cells.iloc[runs].assign(row=np.arange(len(runs)))
        rows = cells.set_index(["seed", "optimizer"])["row"].unstack()  # noqa: PD010 - nothing is aggregated
        found.append({"b": index["b"][benchmark], "p": index["p"][n_workers], "pairs": _pairs(rows, best, index["o"])})
    return {"fractions": _rounded(fractions), "groups": found}


def _horizon(study: Study, runs: Integers) -> float:
    """Return until when these runs are compared: see `zerowait.plots.studies.blocks.Horizon`."""
    return float(study.cells.iloc[runs].groupby("optimizer")["until"].median().min())


def _pairs(rows: pd.DataFrame, best: Floats, index: Mapping[Any, int]) -> list[list[Any]]:
    """Return [one, other, common seeds, twice the wins of one at each time] of the pairs that have a common seed."""
    found: list[list[Any]] = []
    names, numbers = list(rows.columns), rows.to_numpy(dtype=np.float64).T
    there = ~np.isnan(numbers)
    for position, one in enumerate(names):
        for other in range(position + 1, len(names)):
            common = there[position] & there[other]
            if common.any():
                a, b = (best[numbers[of, common].astype(np.int64)] for of in (position, other))
                half_wins = (2 * (a < b) + (a == b)).sum(axis=0)
                found.append([index[one], index[names[other]], int(common.sum()), half_wins.tolist()])
    return found


def _speed_ups(study: Study, index: Mapping[str, Mapping[Any, int]]) -> dict[str, Any]:
    try:
        tables = [speed_up_table(study), speed_up_table(study, panels="benchmark")]
    except SpecificationError as error:
        return {"rows": [], "reason": f"{str(error)[0].upper()}{str(error)[1:]}."}
    rows = [
        {
            "b": None if row.benchmark == ALL else index["b"][row.benchmark],
            "o": index["o"][row.optimizer],
            "p": index["p"][row.n_workers],
            "value": _number(row.speed_up),
            "low": _number(row.lower),
            "high": _number(row.upper),
        }
        for table in tables
        for row in table.itertuples()
    ]
    return {"rows": rows, "reason": ""}


def _up(time: float) -> float:
    """Round a time up: a value must never stand at a time before it was known."""
    rounded = float(f"{time:.{DIGITS}g}")
    return rounded if rounded >= time else float(f"{time * (1 + 10.0 ** (1 - DIGITS) / 2):.{DIGITS}g}")


def _rounded(values: Floats) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: Any) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
