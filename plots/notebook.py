"""The figures as functions for notebooks: `speed_up("runs/study", where="P<=8")` draws and returns matplotlib's Axes.

Each takes a study or its folder, conditions that choose runs, and the options of its figure, which
`help(zerowait.plots.notebook.speed_up)` names. They draw with pyplot, so that a notebook shows the figure. A figure
with one panel gives its Axes; with several, an array of Axes as `matplotlib.pyplot.subplots` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zerowait.plots.catalogue import FIGURES, FigureKind
from zerowait.plots.drawing import style
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.study import Study
from zerowait.suite.records.selection import Where


def _function(name: str) -> Callable[..., Any]:
    kind = FIGURES[name]

    def draw(
        study: Study | str | Path, *, where: Where = None, look: str = "web",
        width: style.Width | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        import matplotlib.pyplot as plt

        loaded = study if isinstance(study, Study) else load_study(study, columns=kind.columns)
        study = loaded.where(where)
        figure = plt.figure()
        try:
            axes = kind.make(study, look=look, width=width, figure=figure, **options).axes
        except BaseException:
            plt.close(figure)  # a figure that could not be drawn would be shown empty
            raise
        return axes[0, 0] if axes.size == 1 else axes

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = _description(kind)
    return draw


def _description(kind: FigureKind) -> str:
    options = ", ".join(f"{name}={parameter.default!r}" for name, parameter in kind.options().items())
    return f"{kind.summary}\n\nOptions: {options or 'none'}; see `{kind.table.__module__}.{kind.table.__name__}`."


performance_over_time = _function("performance_over_time")
normalised_regret = _function("normalised_regret")
scores_over_time = _function("scores_over_time")
rank_over_time = _function("rank_over_time")
attained_fronts = _function("attained_fronts")
rank_by_workers = _function("rank_by_workers")
critical_difference = _function("critical_difference")
win_rates = _function("win_rates")
practical_differences = _function("practical_differences")
targets_reached = _function("targets_reached")
performance_profile = _function("performance_profile")
expected_running_time = _function("expected_running_time")
speed_up = _function("speed_up")
quality_by_workers = _function("quality_by_workers")
degradation = _function("degradation")
wall_time = _function("wall_time")
overhead_breakdown = _function("overhead_breakdown")
worker_timeline = _function("worker_timeline")
order_match = _function("order_match")
time_match = _function("time_match")
