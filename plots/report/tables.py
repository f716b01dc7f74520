"""The tables of a report: what is complete, final values, ranks, times, and the settings to reproduce the study."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from zerowait.plots.figures.runtime import readable
from zerowait.plots.statistics.arithmetic import mean_and_standard_error
from zerowait.plots.studies.objectives import HYPERVOLUME
from zerowait.plots.studies.study import Study
from zerowait.suite.rules.overhead import Overhead

NONE = "\u2013"
"""Stands for what is not there."""
EARLY = 0.1
"""The share of the budget at which the table of ranks shows them besides the end."""


@dataclass(frozen=True, slots=True)
class Value:
    """A cell of a table."""

    text: str
    number: float | None = None
    """What a number is sorted by; None sorts by the text."""


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading."""

    text: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, with the positions of its optimizer (o), benchmark (b) and number of workers (p)."""

    cells: Sequence[Value]
    keys: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted."""

    name: str
    title: str
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Row]
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How many seeds are finished."""

    text: str
    bad: bool


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """Counts of a benchmark and a number of workers, one an optimizer."""

    benchmark: str
    workers: int
    counts: Sequence[Count]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Which runs are there."""

    optimizers: Sequence[str]
    rows: Sequence[MatrixRow]


class Index:
    """Positions of names, as the page's filters count them."""

    def __init__(self, study: Study) -> None:
        self.labels = study.labels
        names = {"o": study.optimizers, "b": study.cells["benchmark"].unique(), "p": study.cells["n_workers"].unique()}
        ordered = {key: study.labels.ordered(of_key) for key, of_key in names.items()}
        self._of = {key: {name: at for at, name in enumerate(of_key)} for key, of_key in ordered.items()}

    def named(self, name: object) -> Value:
        """Return the cell of an optimizer's or a benchmark's name."""
        return Value(self.labels.text(name))

    def keys(self, **names: Any) -> dict[str, int]:
        """Return the positions of an optimizer (o), a benchmark (b), a number of workers (p)."""
        return {key: self._of[key][name] for key, name in names.items()}


def matrix(study: Study, runs: Iterable[tuple[str, str, int]] | None) -> Matrix:
    """Return the finished seeds of each optimizer, benchmark and number of workers, beside those that were planned.

    Parameters
    ----------
    study
        The finished runs.
    runs
        Optimizer, benchmark and number of workers of all cells; None when there is no such list.
    """
    finished = Counter(study.cells[["optimizer", "benchmark", "n_workers"]].itertuples(index=False, name=None))
    planned = None if runs is None else Counter(runs)
    every = planned or finished
    optimizers = study.labels.ordered({optimizer for optimizer, _, _ in every} | set(study.optimizers))
    benchmarks = study.labels.ordered({benchmark for _, benchmark, _ in every})
    workers = sorted({n for _, _, n in every})
    rows = [
        MatrixRow(
            study.labels.text(benchmark),
            int(n),
            [
                _count(finished[o, benchmark, n], None if planned is None else planned[o, benchmark, n])
                for o in optimizers
            ],
        )
        for benchmark in benchmarks
        for n in workers
        if any(every[o, benchmark, n] for o in optimizers)
    ]
    return Matrix([study.labels.text(name) for name in optimizers], rows)


def _count(finished: int, planned: int | None) -> Count:
    if planned is None:
        return Count(str(finished) if finished else NONE, bad=False)
    if not planned:
        return Count(NONE, bad=False)
    return Count(f"{finished} of {planned}", bad=finished < planned)


def final_table(study: Study, index: Index) -> Table:
    """Return the best losses, or the hypervolumes, at the time until which a benchmark's optimizers are compared."""
    rows, is_hypervolume = [], study.rule[0] == HYPERVOLUME
    for (benchmark, n), runs in study.groups("benchmark", "n_workers"):
        until = float(study.cells.iloc[runs].groupby("optimizer")["until"].median().min())
        for (optimizer,), of in study.groups_of(runs, "optimizer"):
            best = study.best_at(of, np.array([until]))
            values = 1 - best if is_hypervolume else best
            optimum = float(study.references.loc[benchmark, "reference"])
            known = study.references.loc[benchmark, "source"] == "optimum"
            mean, error = (float(x[0]) for x in mean_and_standard_error(values))
            rows.append(
                Row(
                    [
                        index.named(benchmark), _integer(n), index.named(optimizer), _integer(len(of)), _number(mean),
                        _number(error), _number(float(np.median(values))), _number(float(values[np.argmin(best)][0])),
                        _number(mean - optimum if known else math.nan), _duration(until),
                    ],
                    index.keys(o=optimizer, b=benchmark, p=n),
                )
            )  # fmt: skip
    return Table(
        "final",
        "Final values",
        "Result at the end",
        [Head("Benchmark"), Head("P", numeric=True), Head("Optimizer"), *_numeric(
            "Seeds", "Mean", "Std. error", "Median", "Best", "Mean regret", "Simulated time")],
        rows,
        "The result at the time in the last column: the end of the optimizer that ends first "
        "on that benchmark with that number of workers, by the median of its seeds. The standard error is that of the "
        f"mean over seeds (n - 1 in the denominator). Regret is the loss minus the known optimum. {NONE}: unknown, or "
        "a seed has no success by then.",
    )  # fmt: skip


def rank_summary(table: pd.DataFrame, index: Index) -> Table:
    """Return average ranks early and at the end, from the table of the figure of ranks."""
    rows = []
    for (n, optimizer), of in table.groupby(["n_workers", "optimizer"], sort=True):
        early = of[of["budget"] <= EARLY]
        end = of.iloc[-1]
        rows.append(
            Row(
                [
                    _integer(n), index.named(optimizer),
                    _number(float(early["mean"].iloc[-1]) if len(early) else math.nan, 3),
                    _number(float(end["mean"]), 3), _number(float(end["lower"]), 3), _number(float(end["upper"]), 3),
                    _integer(end["n_benchmarks"]),
                ],
                index.keys(o=optimizer, p=n),
            )
        )  # fmt: skip
    return Table(
        "ranks",
        "Average ranks",
        "Average ranks, 1 is best",
        [Head("P", numeric=True), Head("Optimizer"), *_numeric(
            f"At {EARLY:.0%} of the budget", "At the end", "Lower", "Upper", "Benchmarks")],
        rows,
        "Average rank over benchmarks and seeds among all optimizers of the study, as in the figure of ranks; lower "
        "and upper bound a 95 % bootstrap interval of the rank at the end.",
    )  # fmt: skip


def time_table(table: pd.DataFrame, index: Index) -> Table:
    """Return simulated and real time, from the table of the figure of times."""
    rows = [
        Row(
            [
                index.named(row.optimizer), _integer(row.n_workers), _integer(row.n_runs),
                _duration(float(row.simulated_time)), _duration(float(row.wall_time)),  # type: ignore[arg-type]
                _number(float(row.ratio), 3), _number(float(row.lower), 3), _number(float(row.upper), 3),  # type: ignore[arg-type]
            ],
            index.keys(o=row.optimizer, p=row.n_workers),
        )
        for row in table.itertuples()
    ]  # fmt: skip
    return Table(
        "times",
        "Simulated and real time",
        "Simulated and real time of a run",
        [Head("Optimizer"), *_numeric("P", "Runs", "Simulated", "Real", "Ratio", "Lower", "Upper")],
        rows,
        "Means over runs; the ratio is that of the sums, with a 95 % bootstrap interval over runs. The real time holds "
        "the optimizer's own computing and depends on the machine.",
    )


def setting_tables(specifications: Sequence[Mapping[str, Any]], versions: Sequence[Mapping[str, str]]) -> list[Table]:
    """Return how optimizers and benchmarks were set, from the specifications of all cells, and which versions ran."""
    optimizers = sorted({_optimizer_row(spec) for spec in specifications})
    benchmarks = sorted({_benchmark_row(spec) for spec in specifications})
    libraries = sorted({(name, str(version)) for of_run in versions for name, version in of_run.items()})
    tables = [
        _plain(
            "optimizers", "Optimizers", ["Label", "Optimizer", "Mode", "Parameters", "Budget", "Overhead"], optimizers
        ),
        _plain("benchmarks", "Benchmarks", ["Benchmark", "Task", "Parameters"], benchmarks),
        _plain("versions", "Versions", ["Distribution", "Version"], libraries),
    ]
    return [table for table in tables if table.rows]


def _optimizer_row(spec: Mapping[str, Any]) -> tuple[str, ...]:
    budget = [f"{spec['max_evaluations']:,} evaluations"] if spec.get("max_evaluations") is not None else []
    # A budget in full trainings is another number of seconds on each benchmark: the cells' own files have it.
    budget += ["a simulated time for each benchmark"] if spec.get("max_time") is not None else []
    return (
        str(spec["label"]), str(spec["optimizer"]), str(spec["mode"]), _json(spec.get("optimizer_parameters") or {}),
        ", ".join(budget), str(Overhead.from_json(spec.get("overhead"))),
    )  # fmt: skip


def _benchmark_row(spec: Mapping[str, Any]) -> tuple[str, ...]:
    return str(spec["benchmark"]), str(spec.get("task") or ""), _json(spec.get("benchmark_parameters") or {})


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if value else ""


def _plain(name: str, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return Table(
        f"settings-{name}", title, title, [Head(head) for head in heads], [Row([Value(t) for t in row]) for row in rows]
    )


def _numeric(*names: str) -> list[Head]:
    return [Head(name, numeric=True) for name in names]


def _integer(value: Any) -> Value:
    return Value(f"{int(value):,}", int(value))


def _number(value: float, digits: int = 5) -> Value:
    """Return a number; what is unknown sorts last, because its text says so and the script looks for it."""
    if not math.isfinite(value):
        return Value(NONE, math.nan)
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return Value(text, float(f"{value:.12g}"))


def _duration(seconds: float) -> Value:
    return Value(readable(seconds) if math.isfinite(seconds) else NONE, seconds)
