"""Performance over time: the best loss found so far against simulated time, averaged over seeds.

How the numbers are made, and what they do not hide:

* One figure row is one benchmark, one column one number of workers. All curves of a row are read on one
  shared grid of times, so that panels and optimizers can be compared at equal times: `POINTS` times from the
  first at which any curve of the row is defined to the end of the row's last run, and the two bounds of every
  curve.
* A run's value at time t is the best of what was delivered at or before t (`plots.statistics.best_at`).
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plots import style
from plots.loading import Run, grouped, load_runs
from plots.statistics import best_at, is_logarithmic, mean_and_standard_error, time_grid
from suite.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

POINTS = 200
"""Times in the grid of one benchmark."""
OPTIMUM = "optimum"
"""Name of the line in the legend."""


@dataclass(frozen=True, slots=True)
class FigureFiles:
    """Where a figure and the table behind it were written."""

    pdf: Path
    png: Path
    csv: Path


def performance_table(runs: Sequence[Run], *, points: int = POINTS) -> pd.DataFrame:
    """Return exactly the numbers that the figure shows, one row a point.

    Columns: `benchmark`, `n_workers`, `optimizer`, `time` (simulated seconds), `quantity` ("regret" or
    "value"), `mean`, `standard_error` (NaN for one seed), `n_seeds`, `optimum` (NaN when unknown).

    Raises
    ------
    SpecificationError
        There are no runs, two runs claim the same seed, or `points` is less than 2.
    """
    import pandas as pd

    if points < 2:  # noqa: PLR2004 - a grid has a start and an end
        raise SpecificationError(f"points is {points}; a grid of times needs at least 2")
    if not runs:
        raise SpecificationError("there are no runs to draw; give at least one")
    groups = grouped(runs)
    _check_seeds(groups)
    rows: list[pd.DataFrame] = []
    for benchmark in sorted({key[0] for key in groups}):
        of_row = {key: group for key, group in groups.items() if key[0] == benchmark}
        curves = _curves(of_row, points)
        optimum = _optimum(benchmark, of_row)
        quantity = "value"
        if optimum is not None and all(np.all(curve.mean >= optimum) for curve in curves):
            quantity = "regret"
            for curve in curves:
                curve.mean = curve.mean - optimum
        rows += [
            pd.DataFrame(
                {
                    "benchmark": benchmark,
                    "n_workers": curve.n_workers,
                    "optimizer": curve.optimizer,
                    "time": curve.times,
                    "quantity": quantity,
                    "mean": curve.mean,
                    "standard_error": curve.standard_error,
                    "n_seeds": curve.n_seeds,
                    "optimum": math.nan if optimum is None else optimum,
                }
            )
            for curve in curves
        ]
    if not rows:
        raise SpecificationError("every group of runs has a seed without a single success; there is nothing to draw")
    table = pd.concat(rows, ignore_index=True)
    return table.sort_values(["benchmark", "n_workers", "optimizer", "time"], kind="stable", ignore_index=True)


def performance_figure(table: pd.DataFrame) -> Figure:
    """Draw what `performance_table` returned: a row of panels a benchmark, a column a number of workers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    benchmarks = sorted(table["benchmark"].unique())
    workers = sorted(table["n_workers"].unique())
    chosen = style.styles(table["optimizer"].unique())
    with style.context():
        width = 0.7 + style.PANEL_WIDTH * max(len(workers), 2)
        columns = style.legend_columns(list(chosen), width)
        legend_height = style.LEGEND_LINE * math.ceil(len(chosen) / columns)
        height = 0.7 + legend_height + style.PANEL_HEIGHT * len(benchmarks)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(benchmarks), len(workers), squeeze=False, sharex="row", sharey="row")
        for row, benchmark in enumerate(benchmarks):
            of_row = table[table["benchmark"] == benchmark]
            for column, n_workers in enumerate(workers):
                panel = panels[row, column]
                draw_panel(panel, of_row[of_row["n_workers"] == n_workers], chosen)
                panel.tick_params(labelleft=column == 0)
                if row == 0:
                    panel.set_title(f"{n_workers} worker{'' if n_workers == 1 else 's'}")
            _label_row(panels[row, 0], benchmark, of_row)
            _scale_row(panels[row, 0], of_row)
        figure.supxlabel(f"simulated time [s]\n{_what_is_drawn(table)}", fontsize=style.PARAMETERS["axes.labelsize"])
        handles, names = _legend(panels)
        figure.legend(handles, names, loc="outside upper center", ncols=columns + (OPTIMUM in names))
        # Ticks are made when they are first drawn, and with the settings of that moment.
        figure.draw_without_rendering()
    return figure


def draw_panel(axes: Axes, table: pd.DataFrame, styles: dict[str, style.Style] | None = None) -> Axes:
    """Draw the curves of one benchmark and one number of workers on given axes and return them.

    Parameters
    ----------
    axes
        Where to draw.
    table
        Rows of `performance_table`, of one panel.
    styles
        Style by optimizer; chosen from the names in the table when not given.
    """
    styles = style.styles(table["optimizer"].unique()) if styles is None else styles
    for optimizer, curve in table.groupby("optimizer", sort=True):
        look = styles[str(optimizer)]
        time, mean, error = (curve[name].to_numpy() for name in ("time", "mean", "standard_error"))
        # steps-post: the value at a time of the grid holds until the next one; a slope would promise what
        # nobody had yet.
        axes.plot(time, mean, color=look.colour, linestyle=look.line, drawstyle="steps-post", label=str(optimizer))
        if not np.isnan(error).any():
            axes.fill_between(
                time,
                mean - error,
                mean + error,
                step="post",
                color=look.colour,
                alpha=style.BAND_OPACITY,
                linewidth=0,
            )
    optimum = table["optimum"].iloc[0] if len(table) else math.nan
    if not math.isnan(optimum) and (table["quantity"] == "value").all():
        axes.axhline(optimum, color=style.OPTIMUM_COLOUR, linewidth=0.8, label=OPTIMUM)
    return axes


def save_figure(figure: Figure, table: pd.DataFrame, stem: str | Path) -> FigureFiles:
    """Write `stem`.pdf, `stem`.png and `stem`.csv (the table in full precision) and return their paths.

    Raises
    ------
    SpecificationError
        The folder cannot be written to.
    """
    stem = Path(stem)
    files = FigureFiles(*(stem.with_name(f"{stem.name}.{kind}") for kind in ("pdf", "png", "csv")))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with style.context():
            # Laid out once and not for every file, which would take longer than all the rest.
            figure.draw_without_rendering()
            layout = figure.get_layout_engine()
            figure.set_layout_engine("none")
            # No date of creation: the same traces give the same files.
            figure.savefig(files.pdf, metadata={"CreationDate": None})
            figure.savefig(files.png, dpi=style.DOTS_PER_INCH)
            figure.set_layout_engine(layout)
        table.to_csv(files.csv, index=False)
    except OSError as error:
        raise SpecificationError(
            f"cannot write the figure to {stem.parent} ({error.strerror or error}); choose another folder with --out"
        ) from None
    return files


def plot_study(folder: str | Path, out: str | Path | None = None) -> FigureFiles:
    """Draw performance over time of a study and write it into `out`, by default its subfolder `figures`.

    Raises
    ------
    TraceError
        The folder holds no traces.
    SpecificationError
        The figure cannot be written.
    """
    table = performance_table(load_runs(folder))
    directory = Path(folder) / "figures" if out is None else Path(out)
    return save_figure(performance_figure(table), table, directory / "performance_over_time")


@dataclass(slots=True)
class _Curve:
    n_workers: int
    optimizer: str
    times: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    n_seeds: int


def _curves(groups: dict[tuple[str, int, str], list[Run]], points: int) -> list[_Curve]:
    """Return the curves of one benchmark, on one grid."""
    defined: dict[tuple[str, int, str], tuple[float, float]] = {}
    for key, group in groups.items():
        firsts = [_first_value(run) for run in group]
        if all(math.isfinite(first) for first in firsts):
            defined[key] = max(firsts), max(float(run.ends.max()) for run in group)
    if not defined:
        return []
    bounds = np.array(sorted(defined.values()))
    # Every curve's own bounds are in the grid too, so that each starts where it is defined and ends with its
    # final value.
    grid = np.union1d(time_grid(bounds.min(), bounds.max(), points), bounds)
    curves = []
    for key, (first, last) in defined.items():
        times = grid[(grid >= first) & (grid <= last)]
        values = np.stack([best_at(run.ends, run.values, times) for run in groups[key]])
        mean, error = mean_and_standard_error(values)
        curves.append(_Curve(key[1], key[2], times, mean, error, len(groups[key])))
    return curves


def _first_value(run: Run) -> float:
    """Return when the run delivered its first success, in seconds; infinity when all failed."""
    ends = run.ends[~np.isnan(run.values)]
    return float(ends.min()) if len(ends) else math.inf


def _optimum(benchmark: str, groups: dict[tuple[str, int, str], list[Run]]) -> float | None:
    optima = {run.optimum for group in groups.values() for run in group}
    if len(optima) > 1:
        raise SpecificationError(
            f"the runs on {benchmark} have different optima ({sorted(map(str, optima))}); draw them apart"
        )
    return optima.pop()


def _check_seeds(groups: dict[tuple[str, int, str], list[Run]]) -> None:
    for (benchmark, n_workers, optimizer), group in groups.items():
        seeds = [run.seed for run in group]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise SpecificationError(
                f"{optimizer} on {benchmark} with {n_workers} workers has seed {twice[0]} more than once: "
                "the folder holds runs of several studies; draw each study's own folder"
            )


def _what_is_drawn(table: pd.DataFrame) -> str:
    fewest, most = table["n_seeds"].min(), table["n_seeds"].max()
    if most == 1:
        return "one seed"
    return f"mean and standard error of {most if fewest == most else f'{fewest} to {most}'} seeds"


def _label_row(panel: Axes, benchmark: str, of_row: pd.DataFrame) -> None:
    quantity = "regret" if (of_row["quantity"] == "regret").all() else "best value"
    panel.set_ylabel(f"{style.broken(benchmark)}\n{quantity}")


def _scale_row(panel: Axes, of_row: pd.DataFrame) -> None:
    """Choose the axes of a row; they are shared, so the first panel speaks for all."""
    times, mean = of_row["time"], of_row["mean"]
    if is_logarithmic(times.min(), times.max()):
        panel.set_xscale("log")
        _label_decades(panel.xaxis, times.min(), times.max())
    if (of_row["quantity"] == "regret").all():
        positive = mean[mean > 0]
        if len(positive):
            # A regret of 0, and a band that reaches it, leave through the bottom of the panel.
            panel.set_yscale("log", nonpositive="clip")
            panel.set_ylim(bottom=0.7 * positive.min())
            _label_decades(panel.yaxis, positive.min(), positive.max())


def _label_decades(axis: Axis, lowest: float, highest: float) -> None:
    """Label the powers of ten of a logarithmic axis, and 2 and 5 times them where those would be too few."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    if highest < 100 * lowest:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        if lowest >= 1e-3 and highest < 1e4:  # noqa: PLR2004 - numbers that are read at a glance
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _legend(panels: np.ndarray) -> tuple[list[Artist], list[str]]:
    """Return one handle an optimizer, whichever panels it appears in."""
    handles: dict[str, Artist] = {}
    for panel in panels.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = sorted(handles, key=lambda name: (name == OPTIMUM, name))
    return [handles[name] for name in names], names
