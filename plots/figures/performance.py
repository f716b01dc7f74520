"""Performance over time: the best loss found so far against simulated time, averaged over seeds.

How the numbers are made, and what they do not hide:

* One figure row is one benchmark, one column one number of workers. All curves of a row are read on one
  shared grid of times, so that panels and optimizers can be compared at equal times: `POINTS` times from the
  first at which any curve of the row is defined to the end of the row's last run, and the two bounds of every
  curve.
* A run's value at time t is the best of what was delivered at or before t (`best_at`).
* A mean is taken only where every seed has a value: a curve starts when its slowest seed has delivered its
  first result.
* A run that has spent its budget keeps its final value, which is what its user would hold, until the last of
  the seeds has ended. There the curve stops.
* Where the optimum is known the regret (value minus optimum) is drawn on a logarithmic axis, else the value.
  If noise makes a mean regret negative, a logarithm does not exist and the row shows the value and the
  optimum as a line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.curves import MARK, Mark, curve_sentence, draw_curves, mark_of
from zerowait.plots.drawing.panels import (
    Canvas,
    described,
    label_decades,
    scale_times,
    spread_sentence,
)
from zerowait.plots.statistics.arithmetic import (
    bootstrap_means,
    bootstrap_medians,
    generator,
    mean_and_standard_error,
    percentile_interval,
    time_grid,
)
from zerowait.plots.studies.blocks import counted
from zerowait.plots.studies.labels import NO_LABELS, Labels
from zerowait.plots.studies.objectives import HYPERVOLUME
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.objectives import metric_of, sign_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from zerowait.plots.statistics.arithmetic import Floats, Integers
    from zerowait.plots.studies.study import Study

Statistic = Literal["mean", "median"]
Interval = Literal["standard_error", "bootstrap"]
QUANTITIES: Mapping[str, str] = {"regret": "regret", "value": "best value", "hypervolume": "hypervolume"}
"""What may be drawn, as axes call it; a metric in the place of the loss is called by its name."""
POINTS = 200
"""Times in the grid of one benchmark."""
OPTIMUM = "optimum"
"""Name of the line in the legend."""


def performance_table(
    study: Study, *, statistic: Statistic = "mean", interval: Interval | None = None, points: int = POINTS
) -> pd.DataFrame:
    """Return exactly the numbers that the figure shows, one row a point.

    Columns: `benchmark`, `n_workers`, `optimizer`, `time` (simulated seconds), `quantity` (of `QUANTITIES`),
    `mean` or `median`, `standard_error` or `lower` and `upper` (NaN for one seed), `n_seeds`, `optimum` (NaN when
    unknown).

    Parameters
    ----------
    study
        The runs.
    statistic
        What stands for the seeds.
    interval
        The standard error, of a mean only, or a percentile bootstrap; by default what goes with the statistic.
    points
        Times in the grid of one benchmark.

    Raises
    ------
    SpecificationError
        `points` is less than 2, a median is to have a standard error, or no curve is defined anywhere.
    """
    import pandas as pd

    if points < 2:  # noqa: PLR2004 - a grid has a start and an end
        raise SpecificationError(f"points is {points}; a grid of times needs at least 2")
    interval = interval or ("standard_error" if statistic == "mean" else "bootstrap")
    if statistic == "median" and interval == "standard_error":
        raise SpecificationError("a median has no standard error; set interval=bootstrap")
    rows: list[pd.DataFrame] = []
    for (benchmark,), runs in study.groups("benchmark"):
        curves = _curves(study, runs, points, statistic, interval)
        optimum = float(study.cells["optimum"].iloc[runs[0]])
        quantity = "hypervolume" if study.rule[0] == HYPERVOLUME else "value"
        if study.metric:
            quantity = f"best {metric_of(study.metric)}"
        if not math.isnan(optimum) and all(np.all(curve.centre >= optimum) for curve in curves):
            quantity = "regret"
        shift = optimum if quantity == "regret" else 1.0 if quantity == "hypervolume" else 0.0
        sign = -1.0 if quantity == "hypervolume" else sign_of(study.metric)
        rows += [
            pd.DataFrame(
                {
                    "benchmark": benchmark,
                    "n_workers": curve.n_workers,
                    "optimizer": curve.optimizer,
                    "time": curve.times,
                    "quantity": quantity,
                    statistic: sign * (curve.centre - shift),
                    **curve.spread(interval, shift, sign),
                    "n_seeds": curve.n_seeds,
                    "optimum": optimum,
                }
            )
            for curve in curves
        ]
    if not rows:
        raise SpecificationError("every group of runs has a seed without a single success; there is nothing to draw")
    table = pd.concat(rows, ignore_index=True)
    table = table.sort_values(["benchmark", "n_workers", "optimizer", "time"], kind="stable", ignore_index=True)
    table.attrs[MARK] = _mark(table)
    return described(table, *_caption(study, table, statistic, interval))


def draw_performance(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `performance_table` returned: a row of panels a benchmark, or several where they have no room in one.

    Within a row stands a column a number of workers.
    """
    benchmarks = canvas.labels.ordered(table["benchmark"].unique())
    workers = sorted(table["n_workers"].unique())
    names = canvas.labels.ordered(table["optimizer"].unique())
    panels, rows = canvas.rows_of_benchmarks(benchmarks, workers, [*names, OPTIMUM])
    mark = _mark(table)
    for benchmark, (begins, used) in zip(benchmarks, rows, strict=True):
        of_row = table[table["benchmark"] == benchmark]
        for panel, n_workers in used:
            draw_panel(panel, of_row[of_row["n_workers"] == n_workers], canvas.styles, canvas.labels, mark)
        for panel in begins:
            canvas.ylabel(panel, canvas.name(benchmark), _called(of_row["quantity"].iloc[0]))
        _scale_row(used[0][0], of_row)
    canvas.xlabel("simulated time [s]", _what_is_drawn(table))
    canvas.legend(panels.flat, last=(OPTIMUM,))
    return panels


def _called(quantity: str) -> str:
    return QUANTITIES.get(quantity, quantity)


def draw_panel(
    axes: Axes, table: pd.DataFrame, styles: Any = None, labels: Labels = NO_LABELS, mark: Mark | None = None
) -> Axes:
    """Draw the curves of one benchmark and one number of workers on given axes and return them.

    Parameters
    ----------
    axes
        Where to draw.
    table
        Rows of `performance_table`, of one panel.
    styles
        Style by optimizer; chosen from the names in the table when not given.
    labels
        In which order optimizers are drawn.
    mark
        How intervals are drawn; None takes what suits this panel.
    """
    styles = style.styles(table["optimizer"].unique()) if styles is None else styles
    names = labels.ordered(table["optimizer"].unique())
    draw_curves(axes, _bounded(table), "time", _statistic(table), styles, names, mark or _mark(table))
    optimum = table["optimum"].iloc[0] if len(table) else math.nan
    if not math.isnan(optimum) and (table["quantity"] == "value").all():
        axes.axhline(optimum, color=style.OPTIMUM_COLOUR, linewidth=0.8, label=OPTIMUM)
    return axes


@dataclass(slots=True)
class _Curve:
    n_workers: int
    optimizer: str
    times: Floats
    centre: Floats
    error: Floats
    low: Floats
    high: Floats
    n_seeds: int

    def spread(self, interval: Interval, shift: float, sign: float) -> dict[str, Floats]:
        if interval == "standard_error":
            return {"standard_error": self.error}
        bounds = sign * (self.low - shift), sign * (self.high - shift)
        return dict(zip(("lower", "upper"), bounds if sign > 0 else bounds[::-1], strict=True))


def _curves(study: Study, runs: Integers, points: int, statistic: Statistic, interval: Interval) -> list[_Curve]:
    """Return the curves of one benchmark, on one grid."""
    defined: dict[tuple[int, str], tuple[float, float, Integers]] = {}
    for (n_workers, optimizer), of_curve in study.groups_of(runs, "n_workers", "optimizer"):
        first = float(study.first_success[of_curve].max())
        if math.isfinite(first):
            defined[int(n_workers), str(optimizer)] = (
                first,
                float(study.cells["makespan"].iloc[of_curve].max()),
                of_curve,
            )
    if not defined:
        return []
    bounds = np.array(sorted({bound for first, last, _ in defined.values() for bound in (first, last)}))
    # Every curve's own bounds are in the grid too, so that each starts where it is defined and ends with its
    # final value.
    grid = np.union1d(time_grid(bounds[0], bounds[-1], points), bounds)
    benchmark = study.cells["benchmark"].iloc[runs[0]]
    curves = []
    for (n_workers, optimizer), (first, last, of_curve) in defined.items():
        times = grid[(grid >= first) & (grid <= last)]
        values = study.best_at(of_curve, times)
        centre: Floats
        centre, error = mean_and_standard_error(values)
        if statistic == "median":
            centre = np.asarray(np.median(values, axis=0), dtype=np.float64)
        low: Floats = np.full(len(times), math.nan)
        high = low
        if interval == "bootstrap" and len(values) > 1:
            random = generator("performance", benchmark, n_workers, optimizer)
            replicates = bootstrap_means([values], random) if statistic == "mean" else bootstrap_medians(values, random)
            low, high = percentile_interval(replicates)
        curves.append(_Curve(n_workers, optimizer, times, centre, error, low, high, len(values)))
    return curves


def _statistic(table: pd.DataFrame) -> Statistic:
    return "median" if "median" in table else "mean"


def _bounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the bounds of its intervals, `lower` and `upper`."""
    if "standard_error" not in table:
        return table
    centre, error = table[_statistic(table)], table["standard_error"]
    return table.assign(lower=centre - error, upper=centre + error)


def _mark(table: pd.DataFrame) -> Mark:
    return mark_of(_bounded(table), "time", _statistic(table))


def _what_is_drawn(table: pd.DataFrame) -> str:
    seeds = [int(table["n_seeds"].min()), int(table["n_seeds"].max())]
    if seeds[1] == 1:
        return "one seed: no band"
    spread = "standard error" if "standard_error" in table else "95 % bootstrap interval"
    return f"{_statistic(table)} and {spread} of {counted(seeds, 'seed')}"


def _caption(study: Study, table: pd.DataFrame, statistic: Statistic, interval: Interval) -> list[str]:
    mark = _mark(table)
    which = (
        "one standard error of the mean (n - 1 in the denominator)"
        if interval == "standard_error"
        else "a 95 % percentile bootstrap interval over seeds"
    )
    spread = f"The {mark} is {which}."
    bound = "standard_error" if interval == "standard_error" else "lower"
    seeds = counted(table["n_seeds"].tolist(), "seed")
    values = sorted(table.loc[table["quantity"] == "value", "benchmark"].unique())
    drawn = {(r.benchmark, r.n_workers, r.optimizer) for r in table.drop_duplicates(
        ["benchmark", "n_workers", "optimizer"]).itertuples()}  # fmt: skip
    absent = len(
        {tuple(row) for row in study.cells[["benchmark", "n_workers", "optimizer"]].itertuples(index=False)} - drawn
    )
    return [
        "The result of what had been delivered at each simulated time;",
        "each line is one run." if table["n_seeds"].max() == 1 else f"the line is the {statistic} of {seeds}.",
        spread_sentence(table[bound], spread, mark),
        curve_sentence(mark),
        "A curve begins when every seed has a result and ends with the longest run of its seeds.",
        "Regret is the loss minus the known optimum." if (table["quantity"] == "regret").any() else "",
        f"The value itself is drawn where no optimum is known or noise goes below it: {', '.join(values)}."
        if values
        else "",
        f"Left out, because a seed has no success: {counted([absent], 'curve')}." if absent else "",
    ]


def _scale_row(panel: Axes, of_row: pd.DataFrame) -> None:
    """Choose the axes of a row; they are shared, so the first panel speaks for all."""
    times, centre = of_row["time"], of_row[_statistic(of_row)]
    scale_times(panel, times.min(), times.max())
    if (of_row["quantity"] == "regret").all():
        positive = centre[centre > 0]
        if len(positive):
            # A regret of 0, and a band that reaches it, leave through the bottom of the panel.
            panel.set_yscale("log", nonpositive="clip")
            panel.set_ylim(bottom=0.7 * positive.min())
            label_decades(panel.yaxis, positive.min(), positive.max())
