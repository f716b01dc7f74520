"""All figures in one table: name, title, what each computes, and how it is drawn, captioned and written.

A new figure is a module of `plots.figures`, an entry of `_KINDS` here and a line of `plots.notebook`; the command, the
report and the gallery follow.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import CAPTION, Canvas, FigureFiles, new_figure, save_figure
from zerowait.plots.figures import (
    agreement,
    anytime,
    comparison,
    critical_difference,
    degradation,
    fronts,
    performance,
    ranks_by_workers,
    running_time,
    runtime,
    scaling,
)
from zerowait.plots.studies.labels import NO_LABELS, Labels
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.results import SCORE, Rule
from zerowait.plots.studies.study import Study
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

VALUES = ("end", "value", "fidelity")
"""The columns that most figures read."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with the table behind it."""

    name: str
    title: str
    figure: Figure
    axes: Any
    """Its panels, an array of matplotlib's Axes with rows and columns."""
    table: pd.DataFrame
    """Exactly what is drawn."""
    look: style.Look
    further: tuple[Figure, ...] = ()
    """The second page and those behind it, where one would be higher than the look's."""

    @property
    def caption(self) -> str:
        """How it was computed, and what was left out."""
        caption = str(self.table.attrs[CAPTION])
        return f"{caption} {1 + len(self.further)} pages, each with axes of its own." if self.further else caption

    def save(self, stem: str | Path) -> FigureFiles:
        """Write PDF, PNG and CSV, and the LaTeX table if there is one; see `save_figure`."""
        return save_figure(self.figure, self.table, stem, self.look, self.further)


@dataclass(frozen=True, slots=True)
class FigureKind:
    """One of the figures."""

    name: str
    title: str
    summary: str
    """One line on what it shows."""
    table: Callable[..., pd.DataFrame]
    """Computes what is drawn from a study and the figure's options; the caption is in the table's attributes."""
    draw: Callable[[Any, Canvas], Any]
    """Draws such a table onto a canvas and returns the panels."""
    columns: tuple[str, ...] = VALUES
    """The columns of traces that it reads."""
    judges: bool = True
    """Whether it shows results, so that it has the options `result` and `score`."""
    needs_reference: bool = False
    """Whether it compares with a second study, so that a study alone does not have this figure."""
    needs_objectives: bool = False
    """Whether it shows several objectives, so that a study of the loss alone does not have this figure."""
    pages: tuple[str, ...] = ()
    """Columns of its table that tell panels apart: by the first one, then by the next, it is split over pages."""

    def is_of(self, study: Study) -> bool:
        """Tell whether a study alone has this figure."""
        return not self.needs_reference and (bool(study.objectives) or not self.needs_objectives)

    def caption(self, table: pd.DataFrame) -> str:
        """Return how a table of this figure was computed, what was left out, and what regret is measured from."""
        return str(table.attrs[CAPTION])

    def options(self) -> Mapping[str, inspect.Parameter]:
        """Return the figure's options with their defaults."""
        parameters = inspect.signature(self.table).parameters
        own = {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
        return {**own, **inspect.signature(_results).parameters} if self.judges else own

    def make(
        self,
        study: Study,
        *,
        look: str | style.Look = "web",
        width: style.Width | None = None,
        figure: Figure | None = None,
        **options: Any,
    ) -> Drawn:
        """Compute and draw the figure.

        Parameters
        ----------
        study
            The runs.
        look
            "paper", "slides" or "web"; sizes and fonts.
        width
            One column of a paper or two; what suits the figure by default.
        figure
            An empty figure to draw on, whatever its height; by default new ones, without pyplot, a figure a page.
        options
            Those of the figure.

        Raises
        ------
        SpecificationError
            An option or the look is unknown, or the study has not what the figure needs.
        """
        for name in options:
            self._check(name)
        if self.judges:
            study = study.judged(options.pop("result", None), options.pop("score", SCORE))
        table = self.table(study, **options)
        if self.judges:
            table.attrs[CAPTION] = f"{table.attrs[CAPTION]} {study.judged_sentence}"
        if table.empty:
            raise SpecificationError(
                "there is nothing to draw: no run that it would show has a result within its budget"
            )
        return self.draw_table(
            table, optimizers=study.optimizers, labels=study.labels, look=look, width=width, figure=figure
        )

    def draw_table(
        self,
        table: pd.DataFrame,
        *,
        optimizers: typing.Iterable[str],
        labels: Labels = NO_LABELS,
        look: str | style.Look = "web",
        width: style.Width | None = None,
        figure: Figure | None = None,
    ) -> Drawn:
        """Draw a table of this figure; `optimizers` are all of the study, so that colours are the same everywhere."""
        chosen = style.look(look) if isinstance(look, str) else look
        if width is not None and width not in chosen.widths:
            raise SpecificationError(f"width is {width!r}; it must be one of {', '.join(chosen.widths)}")
        looks = style.styles(optimizers, labels.colours)

        def draw(part: pd.DataFrame) -> tuple[Figure, Any]:
            with style.context(chosen):
                canvas = Canvas(new_figure() if figure is None else figure, looks, chosen, width, labels)
                axes = self.draw(part, canvas)
                canvas.settle()
                # Ticks are made when they are first drawn, and with the settings of that moment.
                canvas.figure.draw_without_rendering()
            return canvas.figure, axes

        drawn = draw(table)
        if figure is None:
            (drawn, *others) = self._pages(table, drawn, draw, chosen.page, labels, self.pages)
        else:
            others = []
        return Drawn(self.name, self.title, *drawn, table, chosen, tuple(one for one, _ in others))

    def _pages(
        self, table: pd.DataFrame, drawn: tuple[Figure, Any], draw: Callable[[pd.DataFrame], tuple[Figure, Any]],
        page: float, labels: Labels, columns: Sequence[str],
    ) -> list[tuple[Figure, Any]]:  # fmt: skip
        """Return the pages of a table that has been drawn on one: as few as have room, with whole panels."""
        too_high = math.ceil(float(drawn[0].get_figheight()) / page)
        if too_high < 2 or not columns:  # noqa: PLR2004 - pages
            return [drawn]
        column, *rest = columns
        values = sorted(table[column].unique(), key=labels.place)
        if len(values) == 1:
            return self._pages(table, drawn, draw, page, labels, rest)
        count = min(too_high, len(values))
        while True:
            parts = [table[table[column].isin(part)] for part in np.array_split(values, count)]
            first = draw(parts[0])  # it has as many values as any other
            if count == len(values) or float(first[0].get_figheight()) <= page:
                break
            count = min(len(values), max(count + 1, math.ceil(count * float(first[0].get_figheight()) / page)))
        pages = [first, *map(draw, parts[1:])]
        return [one for part, page_of in zip(parts, pages, strict=True)
                for one in self._pages(part, page_of, draw, page, labels, rest)]  # fmt: skip

    def parse(self, texts: typing.Iterable[str]) -> dict[str, Any]:
        """Return options from texts such as `statistic=median` or `fractions=0.25,1`.

        Raises
        ------
        SpecificationError
            A text has no such form, or an option or its value is not one of the figure's.
        """
        found = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise SpecificationError(f"the option {text!r} has no value; write NAME=VALUE")
            self._check(name.strip())
            found[name.strip()] = _converted(name.strip(), value.strip(), self._kind(name.strip()))
        return found

    def accepts(self, option: str) -> str:
        """Return in a few letters which values an option takes, such as `mean|median`."""
        kind = self._kind(option)
        if typing.get_origin(kind) is Literal:
            return "|".join(map(str, typing.get_args(kind)))
        if option in {"score", "baseline"}:
            return "METRIC" if option == "score" else "OPTIMIZER"
        return {str: "STUDY", int: "INTEGER", float: "NUMBER"}.get(kind, "NUMBER,NUMBER,...")

    def _kind(self, option: str) -> Any:
        """Return the type of an option's value; of an optional one, that of the value that is there."""
        # Modules import pandas for the type checker only.
        names = {
            **vars(sys.modules[self.table.__module__]),
            "Study": Study,
            "pd": types.SimpleNamespace(DataFrame=object),
        }
        found = {**typing.get_type_hints(self.table, globalns=names), **typing.get_type_hints(_results)}
        kind = found[option]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kinds = [k for k in typing.get_args(kind) if k is not type(None)]
            # A study that may be given as an object is given as its folder here.
            return str if str in kinds else kinds[0]
        return kind

    def _check(self, name: str) -> None:
        if name not in self.options():
            there = ", ".join(self.options()) or "none"
            raise SpecificationError(f"the figure {self.name} has no option {name!r}; it has: {there}")


def _results(*, result: Rule | None = None, score: str = SCORE) -> None:
    """Hold the options of all figures of results; see `zerowait.plots.studies.results`."""


def _converted(name: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        allowed = typing.get_args(kind)
        if text not in allowed:
            raise SpecificationError(f"{name} is {text!r}; it must be one of {', '.join(map(str, allowed))}")
        return text
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(float(part) for part in text.split(","))
        return kind(text)
    except ValueError:
        form = "numbers with commas between them" if typing.get_origin(kind) is tuple else f"a number ({kind.__name__})"
        raise SpecificationError(f"{name} is {text!r}; it must be {form}") from None


_KINDS = (
    FigureKind(
        "performance_over_time",
        "Performance over time",
        "Loss or regret of the result against simulated time, for each benchmark and number of workers.",
        performance.performance_table,
        performance.draw_performance,
        pages=("benchmark", "n_workers"),
    ),
    FigureKind(
        "normalised_regret",
        "Normalised regret over time",
        "Regret between 0 and 1, averaged over benchmarks.",
        anytime.regret_table,
        anytime.draw_regret,
        pages=("n_workers",),
    ),
    FigureKind(
        "scores_over_time",
        "Scores over time",
        "Score between random search (0) and the optimum (1), averaged over benchmarks.",
        anytime.score_table,
        anytime.draw_score,
        pages=("n_workers",),
    ),
    FigureKind(
        "rank_over_time",
        "Average rank over time",
        "Average rank over benchmarks and seeds, with bootstrap bands.",
        anytime.rank_table,
        anytime.draw_rank,
        pages=("n_workers",),
    ),
    FigureKind(
        "attained_fronts",
        "Attained fronts",
        "What half of an optimizer's runs attain in two objectives, with a band (empirical attainment).",
        fronts.attained_fronts_table,
        fronts.draw_attained_fronts,
        judges=False,
        needs_objectives=True,
        pages=("benchmark", "n_workers"),
    ),
    FigureKind(
        "rank_by_workers",
        "Ranks with more workers",
        "Average rank against the number of workers, and whether the order of optimizers depends on it.",
        ranks_by_workers.rank_by_workers_table,
        ranks_by_workers.draw_rank_by_workers,
    ),
    FigureKind(
        "critical_difference",
        "Critical differences",
        "Average ranks at shares of the budget, with bars that join what does not differ significantly.",
        critical_difference.critical_difference_table,
        critical_difference.draw_critical_difference,
        pages=("n_workers", "budget"),
    ),
    FigureKind(
        "win_rates",
        "Win rates",
        "How often one optimizer beats another, as a heat map; with intervals.",
        comparison.win_rate_table,
        comparison.draw_win_rates,
        pages=("n_workers",),
    ),
    FigureKind(
        "practical_differences",
        "Practical differences",
        "How probably one optimizer is better than another by more than a little (Bayesian signed-rank test).",
        comparison.practical_table,
        comparison.draw_practical,
        pages=("n_workers",),
    ),
    FigureKind(
        "targets_reached",
        "Targets reached over time",
        "Share of targets reached against time (ECDF, after COCO).",
        anytime.target_table,
        anytime.draw_targets,
        pages=("n_workers",),
    ),
    FigureKind(
        "performance_profile",
        "Performance profiles",
        "Share of problems solved in at most so many times the time of the best (Dolan and More).",
        running_time.profile_table,
        running_time.draw_profile,
        pages=("n_workers",),
    ),
    FigureKind(
        "expected_running_time",
        "Expected running times",
        "Time to a target when runs are restarted until one reaches it, against the number of workers.",
        running_time.running_time_table,
        running_time.draw_running_time,
        pages=("benchmark",),
    ),
    FigureKind(
        "speed_up",
        "Speed-up with more workers",
        "How many times sooner P workers reach a target than one.",
        scaling.speed_up_table,
        scaling.draw_speed_up,
        pages=("benchmark",),
    ),
    FigureKind(
        "quality_by_workers",
        "Quality with more workers",
        "Regret against the number of workers at an equal simulated time.",
        scaling.quality_table,
        scaling.draw_quality,
        pages=("benchmark",),
    ),
    FigureKind(
        "degradation",
        "What conditions of the cluster cost",
        "Regret or time lost to stragglers, failures or unequal workers, against their strength.",
        degradation.degradation_table,
        degradation.draw_degradation,
        pages=("condition", "n_workers"),
    ),
    FigureKind(
        "wall_time",
        "Simulated over real time",
        "How much waiting the simulation saves, also as a LaTeX table.",
        runtime.wall_time_table,
        runtime.draw_wall_time,
        judges=False,
    ),
    FigureKind(
        "overhead_breakdown",
        "What workers spend their time on",
        "Share of the workers' time spent evaluating, sampling, waiting and idle.",
        runtime.overhead_table,
        runtime.draw_overhead,
        columns=(*VALUES, *(c for c in runtime.OCCUPATION_COLUMNS if c not in VALUES)),
        judges=False,
        pages=("optimizer",),
    ),
    FigureKind(
        "worker_timeline",
        "Worker timelines",
        "What each worker does when, for a few runs (Gantt).",
        runtime.timeline_table,
        runtime.draw_timeline,
        columns=(*VALUES, *(c for c in runtime.OCCUPATION_COLUMNS if c not in VALUES)),
        judges=False,
        pages=("optimizer",),
    ),
    FigureKind(
        "order_match",
        "Order of the deliveries, simulated and real",
        "Places of the evaluations in two traces of the same runs.",
        agreement.match_table,
        agreement.draw_order_match,
        columns=agreement.MATCH_COLUMNS,
        judges=False,
        needs_reference=True,
        pages=("benchmark",),
    ),
    FigureKind(
        "time_match",
        "Times of the deliveries, simulated and real",
        "Times of the evaluations in two traces of the same runs.",
        agreement.match_table,
        agreement.draw_time_match,
        columns=agreement.MATCH_COLUMNS,
        judges=False,
        needs_reference=True,
        pages=("benchmark",),
    ),
)

FIGURES: Mapping[str, FigureKind] = types.MappingProxyType({kind.name: kind for kind in _KINDS})
"""All figures by name, in the order in which a report shows them."""


def figure_kind(name: str) -> FigureKind:
    """Return the figure of this name.

    Raises
    ------
    SpecificationError
        There is none.
    """
    if name not in FIGURES:
        raise SpecificationError(f"there is no figure {name!r}; choose one of {', '.join(FIGURES)}")
    return FIGURES[name]


def plot_study(folder: str | Path, out: str | Path | None = None) -> FigureFiles:
    """Draw performance over time of a study and write it into `out`, by default its subfolder `figures`.

    Raises
    ------
    TraceError
        The folder holds no traces.
    SpecificationError
        The figure cannot be drawn or written.
    """
    kind = FIGURES["performance_over_time"]
    directory = Path(folder) / "figures" if out is None else Path(out)
    return kind.make(load_study(folder, columns=kind.columns)).save(directory / kind.name)
