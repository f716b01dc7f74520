"""Attained fronts: what most runs of an optimizer attain in two objectives, and what all runs attain together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, described, label_decades
from zerowait.plots.statistics.arithmetic import is_logarithmic
from zerowait.plots.statistics.fronts import attained
from zerowait.plots.studies.blocks import Horizon, blocks, compared_sentence, left_out_sentence
from zerowait.plots.studies.objectives import called, known, without_noise
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.objectives import metric_of, sign_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

TOGETHER = "all runs together"
"""Name of the front in the legend."""
SHARES = (0.25, 0.5, 0.75)
OBJECTIVES = "objectives"
"""Attribute of the table."""
MARGIN = 0.04
"""Of the range of what is drawn, beside it."""


def attained_fronts_table(
    study: Study, *, shares: tuple[float, ...] = SHARES, horizon: Horizon = "common"
) -> pd.DataFrame:
    """Return the points of the fronts that these shares of the runs attain by the end of the comparison.

    Columns: `benchmark`, `n_workers`, `optimizer` (`TOGETHER` for what all runs of the benchmark attain together),
    `share`, `n_runs`, and the two objectives by name, as the optimizer was told them.

    Parameters
    ----------
    study
        The runs.
    shares
        Of the runs, from 0 (excluded) to 1, ascending: the middle one is drawn as a line, the outer ones bound a band.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.

    Raises
    ------
    SpecificationError
        The study has not two objectives, a share is none, or nothing can be compared.
    """
    import pandas as pd

    objectives = _checked(study, shares)
    values, groups = study.objective_values(), blocks(study, horizon)
    signs, names = np.array([sign_of(one) for one in objectives]), [metric_of(one) for one in objectives]

    def points(front: Floats, **columns: object) -> pd.DataFrame:
        return pd.DataFrame({**columns, **dict(zip(names, (front * signs).T, strict=True))})

    rows: list[pd.DataFrame] = []
    for group in groups:
        for benchmark, runs, until in zip(group.benchmarks, group.runs, group.horizons, strict=True):
            of = {"benchmark": benchmark, "n_workers": group.n_workers}
            for optimizer, of_optimizer in zip(group.optimizers, runs.T, strict=True):
                delivered = [known(values[at][study.ends[at] <= until]) for at in map(study.rows, of_optimizer)]
                for share, front in zip(shares, attained(delivered, shares), strict=True):
                    rows.append(points(front, **of, optimizer=optimizer, share=share, n_runs=len(delivered)))
            everything = np.flatnonzero(study.cells["benchmark"] == benchmark).tolist()
            together = known(np.concatenate([values[study.rows(run)] for run in everything]))
            if len(together):
                (front,) = attained([together], [1.0])
                rows.append(points(front, **of, optimizer=TOGETHER, share=math.nan, n_runs=len(everything)))
    table = pd.concat(rows, ignore_index=True)
    table.attrs[OBJECTIVES] = list(objectives)
    worth = "what they give without noise" if without_noise(study.evaluations, objectives) else "what was delivered"
    middle, outer = shares[len(shares) // 2], (shares[0], shares[-1])
    return described(
        table,
        f"What the evaluations of a run attain in {names[0]} and {names[1]} by the end of the comparison, by {worth}:",
        f"what lies on the line or beyond it is attained by at least {100 * middle:g} % of the runs of an optimizer",
        "(empirical attainment function, Grunert da Fonseca et al. 2001).",
        f"The band reaches from what {100 * outer[0]:g} % attain to what {100 * outer[1]:g} % do."
        if len(shares) > 1
        else "",
        "The thin line is what all runs on the benchmark attain together, with any number of workers, to their end.",
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
    )


def _checked(study: Study, shares: Sequence[float]) -> tuple[str, ...]:
    """Return the two objectives of the study."""
    objectives = study.objectives
    if len(objectives) != 2:  # noqa: PLR2004 - a plane
        which = f"has {len(objectives)}: {', '.join(objectives)}" if objectives else "has one, the loss"
        raise SpecificationError(f"attained fronts are drawn of two objectives, and the study {which}")
    if not shares or not all(0 < share <= 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise SpecificationError(f"shares is {shares}; they must be above 0 and at most 1, ascending")
    return objectives


def draw_attained_fronts(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `attained_fronts_table` returned: rows of panels for each benchmark, a panel a number of workers."""
    objectives = table.attrs[OBJECTIVES]
    names = [metric_of(one) for one in objectives]
    labels = [called(one) for one in objectives]
    benchmarks = canvas.labels.ordered(table["benchmark"].unique())
    workers = sorted(table["n_workers"].unique())
    optimizers = canvas.labels.ordered(set(table["optimizer"]) - {TOGETHER})
    panels, rows = canvas.rows_of_benchmarks(benchmarks, workers, [*optimizers, TOGETHER])
    for benchmark, (begins, used) in zip(benchmarks, rows, strict=True):
        of_row = table[table["benchmark"] == benchmark]
        frame = _Frame(objectives, [_limits(of_row[name].to_numpy()) for name in names])
        frame.scale(used[0][0])
        for panel, n_workers in used:
            _draw_panel(panel, of_row[of_row["n_workers"] == n_workers], frame, optimizers, canvas)
        for panel in begins:
            canvas.ylabel(panel, canvas.name(benchmark), labels[1])
    canvas.xlabel(labels[0])
    canvas.legend(panels.flat, last=(TOGETHER,))
    return panels


def _draw_panel(panel: Axes, table: pd.DataFrame, frame: _Frame, optimizers: Sequence[str], canvas: Canvas) -> None:
    for optimizer in optimizers:
        look, of = canvas.styles[str(optimizer)], table[table["optimizer"] == optimizer]
        paths = [frame.staircase(part) for _, part in of.groupby("share")]
        if not paths:
            continue
        if len(paths) > 1:
            outline = np.vstack([paths[0], paths[-1][::-1]])
            panel.fill(*outline.T, color=look.colour, alpha=style.BAND_OPACITY, linewidth=0, label="_nolegend_")
        panel.plot(*paths[len(paths) // 2].T, label=str(optimizer), color=look.colour, linestyle=look.line)
    together = table[table["optimizer"] == TOGETHER]
    if len(together):
        panel.plot(*frame.staircase(together).T, label=TOGETHER, color=style.OPTIMUM_COLOUR, linewidth=0.8)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plane of the two objectives on a benchmark, as far as it is drawn."""

    objectives: Sequence[str]
    limits: Sequence[tuple[float, float]]

    def scale(self, panel: Axes) -> None:
        panel.set_xlim(*self.limits[0])
        panel.set_ylim(*self.limits[1])
        for axis, scale, (low, high) in zip(
            (panel.xaxis, panel.yaxis), (panel.set_xscale, panel.set_yscale), self.limits, strict=True
        ):
            if is_logarithmic(low, high):
                scale("log")
                label_decades(axis, low, high)

    def staircase(self, table: pd.DataFrame) -> Floats:
        """Return the corners of the line that bounds what a front dominates, shape (n, 2)."""
        signs = np.array([sign_of(one) for one in self.objectives])
        points = table[[metric_of(one) for one in self.objectives]].to_numpy() * signs
        worst = np.array([max(sign * low, sign * high) for sign, (low, high) in zip(signs, self.limits, strict=True)])
        # From the edge of the panel down to the first point, along to the next, and out at the other edge.
        x = np.append(np.repeat(points[:, 0], 2), worst[0])
        y = np.insert(np.repeat(points[:, 1], 2), 0, worst[1])
        corners: Floats = np.column_stack([x, y]) * signs
        return corners


def _limits(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if is_logarithmic(low, high):
        room = (high / low) ** MARGIN
        return low / room, high * room
    room = MARGIN * ((high - low) or abs(high) or 1.0)
    return low - room, high + room
