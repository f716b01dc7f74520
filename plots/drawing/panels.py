"""What figures have in common: a canvas, a grid of panels with one legend, labelled axes, and the files."""

from __future__ import annotations

import contextlib
import itertools
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style, text
from zerowait.plots.statistics.arithmetic import is_logarithmic
from zerowait.plots.studies.labels import NO_LABELS, Labels
from zerowait.suite.records.spreadsheet import as_text
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from zerowait.plots.statistics.arithmetic import Resample

CAPTION, LATEX = "caption", "latex"
"""Attributes of a figure's table: how it was computed, and the table as LaTeX if it has one."""
NARROWEST = 1.55
"""Inches of a panel with its labels, in letters of 8 points; where less is left, panels go into another row."""
MOST_COLUMNS = 8
MOST_LAYOUTS = 12
"""Each lays the figure out with the sizes that the one before has found."""
ROUNDING = 0.01
"""Inches."""
APART = 0.3
"""Share of the distance between two numbers of workers over which the bars of all optimizers are spread."""
_UNNAMED = re.compile(r"_(child|container)\d+|_nolegend_")
_NAME = re.compile(r"[^\W\d⁻⁰¹²³⁴⁵⁶⁷⁸⁹]")
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
    further: tuple[Path, ...] = ()
    """PNGs of the second page and those behind it; the PDF has all pages."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a figure is drawn, and how."""

    figure: Figure
    styles: Mapping[str, style.Style]
    """By optimizer; of all optimizers of the study, so that each looks the same in every figure."""
    look: style.Look = style.LOOKS["web"]
    width: style.Width | None = None
    """None takes what suits the figure."""
    labels: Labels = NO_LABELS
    """What methods and benchmarks are called, and in which order they stand."""
    titles: list[tuple[Axes, str, Literal["left", "center"]]] = field(default_factory=list)
    """Panels with their titles, to be broken to the panels' widths once those are known, and where they stand."""
    heights: list[tuple[Axes, float]] = field(default_factory=list)
    """The first panel of each row, and its height in inches."""
    bars: list[Axes] = field(default_factory=list)
    """Colour bars below all panels; at most one."""

    def name(self, name: object) -> str:
        """Return what a method or a benchmark is called, as one line of text."""
        return text.plain(self.labels.text(name))

    def points(self, setting: str = "axes.labelsize") -> float:
        """Return the size of letters in points that one of matplotlib's settings stands for."""
        return float(self.look.parameters()[setting])

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
        _, entries = self._entries([self.name(name) for name in legend], width)
        margin = _MARGIN * self.look.scale + sum(
            text.height(entry, self.points("legend.fontsize")) for entry in entries
        )
        self.figure.set_size_inches(width, margin + self.look.panel_height * sum(heights))
        self.figure.set_layout_engine("constrained")
        grid: dict[str, Any] = {"height_ratios": list(heights)} if rows > 1 else {}
        panels = np.asarray(self.figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid, **shared))
        self.heights.extend(
            (panel, self.look.panel_height * of_row) for panel, of_row in zip(panels[:, 0], heights, strict=True)
        )
        return panels

    def grid(
        self,
        count: int,
        legend: Sequence[str],
        *,
        most: int = MOST_COLUMNS,
        suits: style.Width | None = None,
        height: float = 1.0,
        **options: Any,
    ) -> tuple[Any, list[Axes]]:
        """Return a grid for so many panels, at most `most` beside one another, and those that are used, row by row.

        Panels that are not used are invisible; with shared axes, the numbers stand at the outermost of those that are.
        Other options are those of `panels`.
        """
        suits = suits or ("one" if count == 1 else "two")
        columns = self.columns(count, suits, most=most)
        rows = -(-count // columns)
        panels = self.panels(rows, columns, legend, suits=suits, heights=[height] * rows, **options)
        used = list(panels.flat)[:count]
        for panel in list(panels.flat)[count:]:
            panel.set_visible(False)
        for panel in used[-columns:]:
            panel.tick_params(axis="x", labelbottom=True)
        return panels, used

    def rows_of_benchmarks(
        self, benchmarks: Sequence[object], workers: Sequence[int], legend: Sequence[str]
    ) -> tuple[Any, list[tuple[Any, list[tuple[Axes, int]]]]]:
        """Return a row of panels a benchmark, a column a number of workers, or several rows where one has no room.

        All panels, and for each benchmark those that begin a row and its panels with their numbers of workers; a
        benchmark's panels share their axes.
        """
        columns = self.columns(len(workers))
        each = -(-len(workers) // columns)
        panels = self.panels(len(benchmarks) * each, columns, legend)
        found = []
        for position in range(len(benchmarks)):
            rows = panels[position * each : (position + 1) * each]
            used = list(rows.flat)[: len(workers)]
            for panel in list(rows.flat)[len(workers) :]:
                panel.set_visible(False)
            for at, (panel, n_workers) in enumerate(zip(used, workers, strict=True)):
                if at:
                    panel.sharex(used[0])
                    panel.sharey(used[0])
                panel.tick_params(labelleft=at % columns == 0)
                if position == 0 or each > 1:
                    self.title(panel, workers_title(int(n_workers)))
            found.append((rows[:, 0], list(zip(used, workers, strict=True))))
        return panels, found

    def columns(self, count: int, suits: style.Width = "two", most: int = MOST_COLUMNS) -> int:
        """Return how many of so many panels stand beside one another: as many as have room, in rows of equal length."""
        if self.look.grows and self.width is None:
            fitting = most
        else:
            fitting = max(1, int(self.look.widths[self.width or suits] / (NARROWEST * self.look.scale)))
        rows = -(-count // min(fitting, most))
        return -(-count // rows)

    def inches(self, columns: int, suits: style.Width, panel_width: float = style.PANEL_WIDTH) -> float:
        """Return the width of a figure with so many columns of panels."""
        width = self.look.widths[self.width or suits]
        if self.look.grows and self.width is None and suits == "two":
            return _MARGIN + panel_width * max(columns, 2)
        return width

    def title(self, panel: Axes, title: str, loc: Literal["left", "center"] = "center") -> None:
        """Give a panel a title that is broken where it would reach the next panel."""
        self.titles.append((panel, text.plain(title), loc))
        spec = panel.get_subplotspec()
        columns = 1 if spec is None else spec.get_gridspec().ncols
        share = 0.7 * float(self.figure.get_size_inches()[0]) / columns
        panel.set_title(text.wrapped(text.plain(title), share, self.points("axes.titlesize")), loc=loc)

    def ylabel(self, panel: Axes, *lines: str) -> None:
        """Label the y axis of a panel, each line broken where it is longer than the panel is high."""
        high = min(
            (height for first, height in self.heights if _row(first) == _row(panel)), default=self.look.panel_height
        )
        panel.set_ylabel("\n".join(text.wrapped(text.plain(line), 1.1 * high, self.points()) for line in lines))

    def legend(self, panels: Iterable[Axes], last: Sequence[str] = (), *, marker_scale: float = 1.0) -> None:
        """Put one legend above all panels, an entry a label, in the study's order; those of `last` at the end.

        Labels that no panel has are left out. Markers may be larger than in the panels.
        """
        handles: dict[str, Any] = {}
        for panel in panels:
            handle: Any
            for handle in [*panel.lines, *panel.containers, *panel.patches, *panel.collections]:
                label = str(handle.get_label())
                # matplotlib calls what has no label _child1, _container1, or _nolegend_; a method may be called _mine.
                if label in self.styles or label in last or (label and not _UNNAMED.fullmatch(label)):
                    handles.setdefault(label, handle)
        names = [*self.labels.ordered(set(handles) - set(last)), *(name for name in last if name in handles)]
        if names:
            columns, entries = self._entries([self.name(n) for n in names], float(self.figure.get_size_inches()[0]))
            shown = [handles[n] for n in names]
            self.figure.legend(shown, entries, loc="outside upper center", ncols=columns, markerscale=marker_scale)

    def _entries(self, names: Sequence[str], inches: float) -> tuple[int, list[str]]:
        """Return in how many columns these names stand in a legend of so many inches, and how they are broken."""
        points = self.points("legend.fontsize")
        # Handle, its distance from the text and the gap between columns, in letter sizes: matplotlib's settings.
        beside = (2.6 + 0.8 + 2.0) * points / 72
        columns = max(1, min(len(names), int(inches / (beside + text.widest(names, points)))))
        columns = max(1, -(-len(names) // max(1, -(-len(names) // columns))))  # of equal length
        return columns, [text.wrapped(name, inches / columns - beside, points) for name in names]

    def xlabel(self, *lines: str) -> None:
        """Label the x axes of all panels at once, each line broken where it is wider than the figure."""
        inches = float(self.figure.get_size_inches()[0])
        broken = [text.wrapped(line, 0.96 * inches, self.points()) for line in lines]
        self.figure.supxlabel("\n".join(broken), fontsize=self.points())

    def colour_bar(self, image: AxesImage, ticks: Sequence[tuple[float, str]], label: str) -> None:
        """Put a colour bar below all panels."""
        panel = self.figure.add_axes((0.2, 0.1, 0.6, 0.05))
        bar = self.figure.colorbar(image, cax=panel, orientation="horizontal")
        bar.set_ticks([at for at, _ in ticks], labels=[written for _, written in ticks])
        bar.set_label(label)
        self.bars.append(panel)

    def _place_bars(self) -> None:
        """Keep the room for the colour bar, in inches, whatever the height of the figure is."""
        high, line = float(self.figure.get_figheight()), self.points() * text.LINE / 72
        for panel in self.bars:
            panel.set_position((0.2, 3.4 * line / high, 0.6, 0.8 * line / high))
            engine: Any = self.figure.get_layout_engine()
            engine.set(rect=(0, 4.6 * line / high, 1, 1 - 4.6 * line / high))

    def settle(self) -> None:
        """Lay the figure out: titles as wide as their panels, panels as high as was asked for, numbers with room."""
        engine = self.figure.get_layout_engine()
        if engine is None:
            return
        for panel in self.figure.axes:
            for artist in [*panel.lines, *panel.patches, *panel.collections]:
                artist.set_in_layout(False)  # it ends at its panel's edge; thousands of bars need not be measured
            for axis, scale in ((panel.xaxis, panel.get_xscale()), (panel.yaxis, panel.get_yscale())):
                write_numbers(axis, logarithmic=scale == "log")
        # A figure that is too low for its texts is not laid out at all; one that is too high shrinks.
        self.figure.set_figheight(1.5 * float(self.figure.get_figheight()) + len(self.heights) * self.look.scale)
        for _ in range(MOST_LAYOUTS):
            self._place_bars()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                engine.execute(self.figure)
            if any("not applied" in str(warning.message) for warning in caught):
                self.figure.set_figheight(1.6 * float(self.figure.get_figheight()))
                continue
            changed = self._break_titles()
            wanted = sum(high for _, high in self.heights)
            there = sum(panel.get_window_extent().height / self.figure.dpi for panel, _ in self.heights)
            if abs(wanted - there) > ROUNDING:
                self.figure.set_figheight(round(float(self.figure.get_figheight()) + wanted - there, 3))
            elif not changed:
                break
        thin_out(self.figure)

    def _break_titles(self) -> bool:
        """Break titles to the widths of their panels, and tell whether any has changed."""
        changed = False
        for panel, title, loc in self.titles:
            wide = panel.get_window_extent().width / self.figure.dpi
            broken = text.wrapped(title, wide, self.points("axes.titlesize"))
            if broken != panel.get_title(loc=loc):
                panel.set_title(broken, loc=loc)
                changed = True
        return changed


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
    table.attrs.update({CAPTION: " ".join(sentence for sentence in sentences if sentence), **more})
    return table


def spread_sentence(bounds: pd.Series, sentence: str, mark: str, noun: str = "seed") -> str:
    """Return what a caption says of bands or bars, whose bounds are NaN where one seed or run tells of no spread."""
    if bounds.notna().all():
        return sentence
    if bounds.isna().all():
        return f"There is one {noun}, so no {mark} is drawn."
    return f"{sentence} No {mark} is drawn where there is one {noun}."


def spread_of(bounds: pd.Series[float], resample: Resample, mark: Literal["band", "bar"]) -> str:
    """Return what a caption says of the intervals of means over benchmarks, whose lower bounds are given."""
    over = {
        "runs": "over seeds within benchmarks, which are taken as given (resample=runs)",
        "benchmarks": "over benchmarks, which count as a sample (resample=benchmarks)",
        "both": "over benchmarks, which count as a sample too, and seeds within them (resample=both)",
    }[resample]
    text = "The band is a 95 % bootstrap interval" if mark == "band" else "Bars are 95 % bootstrap intervals"
    return spread_sentence(bounds, f"{text} {over}.", mark, "benchmark" if resample == "benchmarks" else "seed")


def draw_points(panel: Axes, table: pd.DataFrame, quantity: str, canvas: Canvas) -> None:
    """Draw a quantity against the number of workers, a line an optimizer, with bars from `lower` to `upper`.

    Infinite bounds leave through the edge of the panel, and where bounds are NaN there is no bar. Points stand at the
    true numbers of workers; only bars stand a little apart, or they would hide one another.
    """
    optimizers = canvas.labels.ordered(table["optimizer"].unique())
    workers = np.log2(np.sort(table["n_workers"].unique()).astype(float))
    gap = float(np.diff(workers).min()) if len(workers) > 1 else 1.0
    step = min(0.09, APART * gap / max(len(optimizers) - 1, 1))
    for position, name in enumerate(optimizers):
        look = canvas.styles[str(name)]
        line = table[table["optimizer"] == name].sort_values("n_workers")
        x, centre = line["n_workers"].to_numpy(dtype=float), line[quantity].to_numpy()
        panel.plot(x, centre, color=look.colour, linestyle=look.line, marker=look.marker, label=str(name))
        bars = np.vstack([centre - line["lower"].to_numpy(), line["upper"].to_numpy() - centre])
        if not np.isnan(bars).all():
            aside = 2.0 ** (step * (position - (len(optimizers) - 1) / 2))
            panel.errorbar(
                x * aside, centre, yerr=np.clip(bars, 0.0, 1e300), fmt="none", ecolor=look.colour, capsize=1.5,
                elinewidth=0.7,
            )  # fmt: skip


def label_workers(panel: Axes, workers: Iterable[int]) -> None:
    """Scale the x axis by powers of two and label the numbers of workers that there are."""
    from matplotlib.ticker import NullLocator

    numbers = sorted(int(n) for n in set(workers))
    if numbers[-1] > numbers[0]:
        panel.set_xscale("log", base=2)
    else:
        panel.set_xlim(numbers[0] / 1.5, numbers[0] * 1.5)  # or bars that stand a little apart would be far apart
    panel.set_xticks(numbers, [str(n) for n in numbers])
    panel.xaxis.set_minor_locator(NullLocator())


def scale_times(panel: Axes, first: float, last: float) -> None:
    """Make the x axis logarithmic if it spans enough."""
    if is_logarithmic(first, last):
        panel.set_xscale("log")
        label_decades(panel.xaxis, first, last)


def label_decades(axis: Axis, lowest: float, highest: float) -> None:
    """Label the powers of ten of a logarithmic axis, and 2 and 5 times them where those would be too few."""
    from matplotlib.ticker import LogLocator, NullLocator

    if highest < 100 * lowest:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())


def write_numbers(axis: Axis, *, logarithmic: bool) -> None:
    """Write the numbers of an axis in one way, unless its labels were given."""
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    from zerowait.plots.drawing.numbers import Numbers

    if isinstance(axis.get_major_formatter(), (LogFormatter, ScalarFormatter)):
        axis.set_major_formatter(Numbers(even=not logarithmic))


def thin_out(figure: Figure) -> None:
    """Leave out the labels of ticks that would lie on the one before; the ticks stay."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for panel in figure.axes:
        if not panel.get_visible() or not panel.axison:
            continue
        for axis, at in ((panel.xaxis, 0), (panel.yaxis, 1)):
            of_axis: Any = axis
            ticks = [tick for tick in of_axis._update_ticks() if tick.label1.get_text()]  # noqa: SLF001 - the ticks within view
            shown = [tick for tick in ticks if tick.label1.get_visible()]
            # Names are never left out: whoever sets them has measured their room.
            if len(shown) < 2 or any(_NAME.search(tick.label1.get_text()) for tick in shown):  # noqa: PLR2004
                continue
            spans = [tick.label1.get_window_extent(renderer).get_points()[:, at] for tick in shown]
            kept = _apart(spans, 0.25 * shown[0].label1.get_fontsize() * figure.dpi / 72 * (1 - at))
            if len(kept) < len(shown):
                texts = {shown[i].get_loc(): shown[i].label1.get_text() for i in kept}
                places = [tick.get_loc() for tick in ticks]
                axis.set_ticks(places, [texts.get(place, "") for place in places])


def _apart(spans: Sequence[Any], gap: float) -> list[int]:
    """Return which spans, each a beginning and an end, stay when those go that are too near to the one before."""
    order = sorted(range(len(spans)), key=lambda i: float(spans[i][0]))
    step = 1
    while step < len(order):
        kept = order[::step]
        if all(spans[b][0] - spans[a][1] >= gap for a, b in itertools.pairwise(kept)):
            return kept
        step += 1
    return order[:1]


def _row(panel: Axes) -> int:
    spec = panel.get_subplotspec()
    return -1 if spec is None else spec.rowspan.start


@contextlib.contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Return a context in which a figure that is laid out stays as it is: laying out takes longer than all the rest.

    Places are rounded, because the solver's last digits differ from process to process, and SVG makes names of them.
    """
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    for panel in figure.axes:
        in_layout = panel.get_in_layout()
        left, bottom, width, height = (round(float(part), 6) for part in panel.get_position().bounds)
        panel.set_position((left, bottom, width, height))
        panel.set_in_layout(in_layout)
    yield
    figure.set_layout_engine(layout)


def save_figure(
    figure: Figure,
    table: pd.DataFrame,
    stem: str | Path,
    look: style.Look = style.LOOKS["web"],
    further: Sequence[Figure] = (),
) -> FigureFiles:
    """Write `stem`.pdf, `stem`.png and `stem`.csv (the table in full precision) and return their paths.

    A table with a LaTeX form is written as `stem`.tex too. Figures of further pages go into the same PDF, and become
    `stem`-page-2.png and so on; those of a former drawing that had more pages are removed.

    Raises
    ------
    SpecificationError
        The folder cannot be written to.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    stem = Path(stem)
    kinds = ("pdf", "png", "csv", "tex") if LATEX in table.attrs else ("pdf", "png", "csv")
    pages = tuple(stem.with_name(f"{stem.name}-page-{number}.png") for number in range(2, len(further) + 2))
    pdf, png, csv, *tex = (stem.with_name(f"{stem.name}.{kind}") for kind in kinds)
    files = FigureFiles(pdf, png, csv, tex[0] if tex else None, pages)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        # No date of creation: the same traces give the same files.
        with style.context(look), PdfPages(files.pdf, metadata={"CreationDate": None}) as book:
            for page, png in zip((figure, *further), (files.png, *pages), strict=True):
                page.draw_without_rendering()
                with laid_out(page):
                    book.savefig(page)
                    page.savefig(png, dpi=look.dots_per_inch)
        for number in itertools.count(len(further) + 2):
            former = stem.with_name(f"{stem.name}-page-{number}.png")
            if not former.is_file():
                break
            former.unlink()
        as_text(table).to_csv(files.csv, index=False)
        if files.tex is not None:
            files.tex.write_text(table.attrs[LATEX], encoding="utf-8")
    except OSError as error:
        raise SpecificationError(
            f"cannot write the figure to {stem.parent} ({error.strerror or error}); choose another folder with --out"
        ) from None
    return files
