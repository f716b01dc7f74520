"""What figures have in common: a canvas, a grid of panels with one legend, labelled axes, and the files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.statistics.arithmetic import is_logarithmic
from zerowait.suite.records.spreadsheet import as_text
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

CAPTION, LATEX = "caption", "latex"
"""Attributes of a figure's table: how it was computed, and the table as LaTeX if it has one."""
_MARGIN = 0.7
"""Inches beside and below the panels, for labels."""


@dataclass(frozen=True, slots=True)
class FigureFiles:
    """Where a figure and the table behind it were written."""

    pdf: Path
    png: Path
    csv: Path
    tex: Path | None = None
    """The LaTeX table, of figures that have one."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a figure is drawn, and how."""

    figure: Figure
    styles: Mapping[str, style.Style]
    """By optimizer; of all optimizers of the study, so that each looks the same in every figure."""
    look: style.Look = style.LOOKS["web"]
    width: style.Width | None = None
    """None takes what suits the figure."""

    def panels(
        self,
        rows: int,
        columns: int,
        legend: Sequence[str],
        *,
        suits: style.Width = "two",
        heights: Sequence[float] | None = None,
        panel_width: float = style.PANEL_WIDTH,
        **shared: Any,
    ) -> np.ndarray[tuple[int, int], np.dtype[Any]]:
        """Return a grid of panels, shape (rows, columns), in a figure of a size that fits them and the legend's names.

        `heights` are those of the rows relative to `look.panel_height`, `panel_width` counts in inches where a look
        lets figures grow; `shared` goes to matplotlib's `subplots`.
        """
        heights = [1.0] * rows if heights is None else heights
        width = self.inches(columns, suits, panel_width)
        lines = math.ceil(len(legend) / style.legend_columns(legend, width, self.look.scale)) if legend else 0
        margin = (_MARGIN + style.LEGEND_LINE * lines) * self.look.scale
        self.figure.set_size_inches(width, margin + self.look.panel_height * sum(heights))
        self.figure.set_layout_engine("constrained")
        grid: dict[str, Any] = {"height_ratios": list(heights)} if rows > 1 else {}
        return np.asarray(self.figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid, **shared))

    def inches(self, columns: int, suits: style.Width, panel_width: float = style.PANEL_WIDTH) -> float:
        """Return the width of a figure with so many columns of panels."""
        width = self.look.widths[self.width or suits]
        if self.look.grows and self.width is None and suits == "two":
            return _MARGIN + panel_width * max(columns, 2)
        return width

    def title(self, benchmark: str, columns: int) -> str:
        """Return the title of one of so many panels beside one another, broken if it would reach its neighbour."""
        # Tick labels and the gap take some of a panel's share, and titles have larger letters than labels.
        return style.broken(benchmark, 0.7 * self.inches(columns, "two") / columns / self.look.scale)

    def legend(self, panels: Iterable[Axes], last: Sequence[str] = ()) -> None:
        """Put one legend above all panels, an entry a name, sorted, except the names that come `last`."""
        handles: dict[str, Artist] = {}
        for panel in panels:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        names = sorted(handles, key=lambda name: (name in last, name))
        if names:
            columns = style.legend_columns(names, float(self.figure.get_size_inches()[0]), self.look.scale)
            self.figure.legend([handles[n] for n in names], names, loc="outside upper center", ncols=columns)

    def xlabel(self, text: str) -> None:
        """Label the x axes of all panels at once."""
        self.figure.supxlabel(text, fontsize=self.look.parameters()["axes.labelsize"])


def new_figure() -> Figure:
    """Return an empty figure that can be drawn without a display and without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    return figure


def workers_title(n_workers: int) -> str:
    """Return the title of a panel of so many workers."""
    return f"{n_workers} worker{'' if n_workers == 1 else 's'}"


def described(table: pd.DataFrame, *sentences: str, **more: str) -> pd.DataFrame:
    """Give a table its caption, the sentences that are not empty, and return it."""
    attributes: dict[Any, Any] = {CAPTION: " ".join(sentence for sentence in sentences if sentence), **more}
    table.attrs = attributes
    return table


def draw_curve(
    panel: Axes, name: str, look: style.Style, x: Any, centre: Any, low: Any = None, high: Any = None
) -> None:
    """Draw a step function with its band; without a band where a bound is NaN."""
    # steps-post: the value at a time of the grid holds until the next one; a slope would promise what nobody had yet.
    panel.plot(x, centre, color=look.colour, linestyle=look.line, drawstyle="steps-post", label=name)
    if low is not None and not np.isnan(low).any():
        panel.fill_between(x, low, high, step="post", color=look.colour, alpha=style.BAND_OPACITY, linewidth=0)


def spread_sentence(bounds: pd.Series, text: str, mark: str, noun: str = "seed") -> str:
    """Return what a caption says of bands or bars, whose bounds are NaN where one seed or run tells of no spread."""
    if bounds.notna().all():
        return text
    if bounds.isna().all():
        return f"There is one {noun}, so no {mark} is drawn."
    return f"{text} No {mark} is drawn where there is one {noun}."


def draw_points(panel: Axes, table: pd.DataFrame, quantity: str, styles: Mapping[str, style.Style]) -> None:
    """Draw a quantity against the number of workers, a line an optimizer, with bars from `lower` to `upper`.

    Infinite bounds leave through the edge of the panel, and where bounds are NaN there is no bar. Optimizers stand a
    little apart, or their bars would hide one another.
    """
    optimizers = sorted(table["optimizer"].unique())
    for position, name in enumerate(optimizers):
        line = table[table["optimizer"] == name]
        aside = 2.0 ** (0.09 * (position - (len(optimizers) - 1) / 2))
        _points(
            panel, str(name), styles[str(name)], line["n_workers"] * aside, line[quantity], line["lower"], line["upper"]
        )


def _points(panel: Axes, name: str, look: style.Style, x: Any, centre: Any, low: Any, high: Any) -> None:
    far = 1e300
    bars = np.vstack([np.asarray(centre) - np.asarray(low), np.asarray(high) - np.asarray(centre)])
    bars = np.clip(bars, 0.0, far)
    panel.errorbar(
        x, centre, yerr=None if np.isnan(bars).all() else bars, color=look.colour, linestyle=look.line,
        marker=look.marker, capsize=1.5, elinewidth=0.7, label=name,
    )  # fmt: skip


def label_workers(panel: Axes, workers: Iterable[int]) -> None:
    """Scale the x axis by powers of two and label the numbers of workers that there are."""
    from matplotlib.ticker import NullLocator

    numbers = sorted(int(n) for n in set(workers))
    if numbers[-1] > numbers[0]:
        panel.set_xscale("log", base=2)
    panel.set_xticks(numbers, [str(n) for n in numbers])
    panel.xaxis.set_minor_locator(NullLocator())


def scale_times(panel: Axes, first: float, last: float) -> None:
    """Make the x axis logarithmic if it spans enough."""
    if is_logarithmic(first, last):
        panel.set_xscale("log")
        label_decades(panel.xaxis, first, last)


def label_decades(axis: Axis, lowest: float, highest: float) -> None:
    """Label the powers of ten of a logarithmic axis, and 2 and 5 times them where those would be too few."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    if highest < 100 * lowest:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        if lowest >= 1e-3 and highest < 1e4:  # noqa: PLR2004 - numbers that are read at a glance
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def save_figure(
    figure: Figure, table: pd.DataFrame, stem: str | Path, look: style.Look = style.LOOKS["web"]
) -> FigureFiles:
    """Write `stem`.pdf, `stem`.png and `stem`.csv (the table in full precision) and return their paths.

    A table with a LaTeX form is written as `stem`.tex too.

    Raises
    ------
    SpecificationError
        The folder cannot be written to.
    """
    stem = Path(stem)
    kinds = ("pdf", "png", "csv", "tex") if LATEX in table.attrs else ("pdf", "png", "csv")
    files = FigureFiles(*(stem.with_name(f"{stem.name}.{kind}") for kind in kinds))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with style.context(look):
            # Laid out once and not for every file, which would take longer than all the rest.
            figure.draw_without_rendering()
            layout = figure.get_layout_engine()
            figure.set_layout_engine("none")
            # No date of creation: the same traces give the same files.
            figure.savefig(files.pdf, metadata={"CreationDate": None})
            figure.savefig(files.png, dpi=look.dots_per_inch)
            figure.set_layout_engine(layout)
        as_text(table).to_csv(files.csv, index=False)
        if files.tex is not None:
            files.tex.write_text(table.attrs[LATEX], encoding="utf-8")
    except OSError as error:
        raise SpecificationError(
            f"cannot write the figure to {stem.parent} ({error.strerror or error}); choose another folder with --out"
        ) from None
    return files
