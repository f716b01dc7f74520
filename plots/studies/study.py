"""A study in memory: one row a run, and the evaluations of all runs in flat arrays, so that 45,000 runs fit."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.statistics.arithmetic import best_at, last_at, normalised_regret
from zerowait.plots.studies.labels import NO_LABELS, Labels
from zerowait.plots.studies.metrics import metric_columns, metric_sentence, with_metric
from zerowait.plots.studies.objectives import (
    HYPERVOLUME,
    delivered_columns,
    hypervolume_references,
    hypervolume_sentence,
    missing_hypervolumes,
    objective_values,
    value_columns,
    without_noise,
)
from zerowait.plots.studies.results import (
    SCORE,
    Rule,
    chosen_rule,
    counted_values,
    full_columns,
    highest_fidelities,
    incumbent_rows,
    other_fidelities,
    sentence,
    with_levels,
)
from zerowait.suite.records.incumbents import FULL_VALUE
from zerowait.suite.records.selection import Where, parse
from zerowait.suite.records.trace import ATTRIBUTE, FULL, LOST_TIME
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats, Integers, Mask
    from zerowait.plots.studies.run import Run

KEYS = ("benchmark", "n_workers", "optimizer", "seed")
"""What names a run, in the order by which runs are sorted."""
FACTS = ("optimum", "max_time", "max_evaluations", "wall_time")
"""Further columns of `Study.cells`: least possible loss, budget (simulated s, evaluations), real s; NaN: unknown."""
CLUSTER = "cluster"
OBJECTIVES = "objectives"
EVALUATION_COLUMNS = (
    "worker", "freed", "start", "end", "runtime", "value", "fidelity", "status", "config_id", "overhead",
)  # fmt: skip
"""The columns of a trace that figures read; the least that a study needs is `end` and `value`."""


@dataclass(frozen=True, eq=False)
class Study:
    """Runs and their evaluations."""

    cells: pd.DataFrame
    """One row a run, with the columns `KEYS`, `FACTS`, `makespan` (simulated s until the last delivery), `until`
    (simulated s until which the run spent its budget: `max_time` if that alone ended it, else the makespan) and
    `cluster` (JSON; empty where workers are perfect) and `objectives` (JSON; empty where there is the loss alone)."""
    evaluations: pd.DataFrame
    """One row an evaluation: run after run, in delivery order; some of `EVALUATION_COLUMNS`."""
    offsets: Integers
    """Where each run's evaluations begin, and the end of the last; shape (runs + 1,)."""
    references: pd.DataFrame
    """One row a benchmark, of all runs of the study: `reference`, `source`, `worst` and `first` losses."""
    optimizers: tuple[str, ...]
    """All optimizers of the study, chosen or not, in the order of figures: they decide who has which colour."""
    unfinished: tuple[str, ...] = ()
    """Runs that the study lists and that have no trace."""
    highest: Mapping[str, float] = field(default_factory=dict)
    """Highest fidelity of each benchmark, of all runs of the study; NaN where it has none."""
    others: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """`references` under other rules of results: by `full`, or by the column that a recommendation is judged by."""
    rule: tuple[Rule, str] = ("any", SCORE)
    """What counts as a result, and the score that a recommendation is judged by."""
    metric: str = ""
    """What stands in the place of the loss, with a minus sign if more is better; empty: nothing does."""
    judged_sentence: str = ""
    """What a caption says of the rule."""
    labels: Labels = NO_LABELS
    """What figures call optimizers and benchmarks, in which order they stand, and which colours they are given."""

    def __len__(self) -> int:
        return len(self.cells)

    @functools.cached_property
    def ends(self) -> Floats:
        """Simulated times of all deliveries in seconds."""
        return np.asarray(self.evaluations["end"], dtype=np.float64)

    @functools.cached_property
    def losses(self) -> Floats:
        """Losses of all evaluations; NaN for one that failed or was lost."""
        return np.asarray(self.evaluations["value"], dtype=np.float64)

    def rows(self, run: int) -> slice:
        """Return where the evaluations of a run, given by its number, are."""
        return slice(int(self.offsets[run]), int(self.offsets[run + 1]))

    def runs(self) -> Iterator[Run]:
        """Yield the runs, each with the part of the evaluations that is its trace."""
        from zerowait.plots.studies.run import Run

        cells = self.cells[["optimizer", "benchmark", "n_workers", "seed", "optimum"]]
        for at, (optimizer, benchmark, n, seed, optimum) in enumerate(cells.itertuples(index=False, name=None)):
            trace = self.evaluations.iloc[self.rows(at)].reset_index(drop=True)
            yield Run(optimizer, benchmark, n, seed, optimum, trace)

    def best_at(self, runs: Sequence[int] | Integers, times: Floats) -> Floats:
        """Return the best value of each run delivered at or before each time, shape (runs, times); see `best_at`."""
        # Under other rules than `any` a result may become worse: what counts is the last incumbent.
        read = best_at if self.rule[0] == "any" else last_at
        out = np.empty((len(runs), len(times)))
        for row, run in enumerate(runs):
            at = self.rows(int(run))
            out[row] = read(self.ends[at], self.losses[at], times)
        return out

    def judged(self, result: str | None = None, score: str = SCORE) -> Study:
        """Return the study with the values of its incumbents under a rule; see `zerowait.plots.studies.results`.

        Without a wish, hypervolumes count where there are several objectives, else recommendations where the traces say
        what they are worth, else the least value of all.

        Raises
        ------
        SpecificationError
            There is no such rule or score, or a trace lacks what it needs.
        """
        if result == HYPERVOLUME or (result is None and score == SCORE and self.objectives):
            if score != SCORE:
                raise SpecificationError(f"score is {shown(score)}; only result=recommended is judged by another score")
            return self.by_hypervolume
        rule, known = chosen_rule(self.evaluations, self.offsets, result, score)
        text = sentence(rule, score, known=known or bool(self.metric)) + metric_sentence(self.metric)
        if rule == "any":
            return replace(self, judged_sentence=text)
        column = "value" if rule == "full" else f"{FULL}{score}"
        highest: Floats = np.array([self.highest[name] for name in self.cells["benchmark"]], dtype=np.float64)
        rows, counts = incumbent_rows(self.evaluations, self.offsets, highest, rule)
        evaluations = self.evaluations[["end"]].iloc[rows].reset_index(drop=True)
        evaluations["value"] = self.evaluations[column].to_numpy(dtype=np.float64)[rows]
        cells = self.cells if score == SCORE else self.cells.assign(optimum=math.nan)
        references = self.others["full" if rule == "full" else column]
        return replace(
            self, cells=cells, evaluations=evaluations, offsets=_offsets(counts), references=references,
            rule=(rule, score), judged_sentence=text,
        )  # fmt: skip

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives of its runs where they are several, the same and in the traces.

        Runs of the loss alone may be beside them.
        """
        found = sorted(set(self.cells[OBJECTIVES]) - {""})
        alike = {tuple(sorted(json.loads(text))) for text in found}  # in whichever order
        several = tuple(json.loads(found[0])) if len(alike) == 1 else ()
        return several if value_columns(self.evaluations, several) else ()

    @functools.cached_property
    def by_hypervolume(self) -> Study:
        """The study with the hypervolume that is missing to its runs in the place of losses.

        Raises
        ------
        SpecificationError
            The runs have one objective, or different ones.
        """
        if not self.objectives or HYPERVOLUME not in self.others:
            found = ", ".join(sorted(set(self.cells[OBJECTIVES]) - {""}))
            which = f"{found}, or their traces lack some" if found else "one objective, the loss"
            raise SpecificationError(
                f"a hypervolume is of several objectives, the same in all runs; those of this study have {which}"
            )
        import pandas as pd

        references = self.others[HYPERVOLUME]
        values = self.objective_values()
        rows, missing, counts = missing_hypervolumes(self.cells, values, self.offsets, references, self.objectives)
        text = hypervolume_sentence(self.objectives, noise_free=without_noise(self.evaluations, self.objectives))
        return replace(
            self, cells=self.cells.assign(optimum=math.nan),
            evaluations=pd.DataFrame({"end": self.ends[rows], "value": missing}), offsets=_offsets(counts),
            references=references, rule=(HYPERVOLUME, SCORE), judged_sentence=text,
        )  # fmt: skip

    def objective_values(self) -> Floats:
        """Return what each evaluation is worth in the objectives; see `zerowait.plots.studies.objectives`."""
        tops = np.array([self.highest.get(name, math.nan) for name in self.cells["benchmark"]], dtype=np.float64)
        counted = counted_values(self.evaluations, np.repeat(tops, np.diff(self.offsets)), SCORE)
        return objective_values(self.evaluations, self.objectives, counted.get("full", self.losses))

    @functools.cached_property
    def first_success(self) -> Floats:
        """Simulated time of each run's first success in seconds; infinity when all failed."""
        ends = np.where(np.isnan(self.losses), math.inf, self.ends)
        return _reduce(np.minimum, ends, self.offsets, math.inf)

    def groups(self, *columns: str) -> Iterator[tuple[tuple[Any, ...], Integers]]:
        """Yield the values of these columns of `cells` and the numbers of the runs that have them, sorted."""
        return self.groups_of(np.arange(len(self)), *columns)

    def groups_of(self, runs: Integers, *columns: str) -> Iterator[tuple[tuple[Any, ...], Integers]]:
        """Yield the same of some runs, given by their numbers."""
        found: Any = self.cells.iloc[runs].groupby(list(columns), sort=True, observed=True).indices
        for values, positions in found.items():
            yield (values if isinstance(values, tuple) else (values,)), runs[np.sort(positions)]

    def regrets(self, benchmark: str, values: Floats, scale: str) -> Floats:
        """Return normalised regrets of losses on a benchmark; `scale` is a column of `references`."""
        reference, top = self._scale(benchmark, scale)
        return normalised_regret(values, reference, top)

    def loss(self, benchmark: str, regret: Floats, scale: str) -> Floats:
        """Return the losses of these normalised regrets."""
        reference, top = self._scale(benchmark, scale)
        return np.asarray(reference + regret * (top - reference), dtype=np.float64)

    def _scale(self, benchmark: str, scale: str) -> tuple[float, float]:
        of: Any = self.references.loc[benchmark]
        return float(of["reference"]), float(of[scale])

    def where(self, where: Where) -> Study:
        """Return the chosen runs; references and colours stay the study's.

        `where` is in the language of `zerowait.suite.records.selection`.

        Raises
        ------
        SpecificationError
            It cannot be read, or no run meets it.
        """
        selection = parse(where)
        return self.take(selection.mask(self.cells.rename(columns={"seed": "run_seed"}))) if selection else self

    def take(self, chosen: Mask) -> Study:
        """Return the runs for which the mask, shape (runs,), is true."""
        counts = np.diff(self.offsets)
        evaluations = self.evaluations[np.repeat(chosen, counts)]
        evaluations.index = self.evaluations.index[: len(evaluations)]  # `reset_index` would copy them once more
        return replace(
            self,
            cells=self.cells[chosen].reset_index(drop=True),
            evaluations=evaluations,
            offsets=_offsets(counts[chosen]),
        )

    def labelled(self, labels: Labels, *, known: bool = True) -> Study:
        """Return the same study with these labels.

        Raises
        ------
        SpecificationError
            They call two optimizers or two benchmarks the same or, unless told otherwise, name what is not there.
        """
        labels.check(self.optimizers, list(map(str, self.references.index)), known=known)
        return replace(self, optimizers=tuple(labels.ordered(self.optimizers)), labels=labels)


def study_of(
    cells: pd.DataFrame,
    evaluations: pd.DataFrame,
    counts: Integers,
    unfinished: Sequence[str] = (),
    metric: str = "",
) -> Study:
    """Return a study of these runs.

    Parameters
    ----------
    cells
        One row a run: the columns `KEYS`, and any of `FACTS`.
    evaluations
        The evaluations, run after run in the order of `cells` and within a run in delivery order.
    counts
        How many evaluations each run has, shape (runs,).
    unfinished
        Runs that are missing.
    metric
        What stands in the place of the loss: the name of a metric, with a minus sign if more is better.

    Raises
    ------
    SpecificationError
        There are no runs, a column is missing, two runs have the same name, or optima contradict each other.
    """
    needed = [name for name in KEYS if name not in cells] + [n for n in ("end", "value") if n not in evaluations]
    if needed:
        raise SpecificationError(
            f"the study's table lacks the columns {needed}; figures need {[*KEYS, 'end', 'value']}"
        )
    if not len(cells):
        raise SpecificationError("there are no runs to draw; give at least one")
    if metric:
        cells, evaluations = with_metric(cells.drop(columns=OBJECTIVES, errors="ignore"), evaluations, metric)
    offsets = _offsets(counts)
    absent = dict.fromkeys(FACTS, math.nan) | {CLUSTER: "", OBJECTIVES: ""}
    cells = cells.assign(**{name: value for name, value in absent.items() if name not in cells}).reset_index(drop=True)
    ends = np.asarray(evaluations["end"], dtype=np.float64)
    cells["makespan"] = _reduce(np.maximum, ends, offsets, 0.0)
    timed = cells["max_time"].notna() & cells["max_evaluations"].isna()
    cells["until"] = cells["max_time"].where(timed, cells["makespan"])
    order = np.asarray(cells.sort_values(list(KEYS), kind="stable").index)
    if (np.diff(order) < 0).any():
        spans = [np.arange(offsets[run], offsets[run + 1]) for run in order]
        evaluations = evaluations.iloc[np.concatenate(spans)].reset_index(drop=True)
        cells, offsets = cells.iloc[order].reset_index(drop=True), _offsets(np.diff(offsets)[order])
    _refuse_repeated_runs(cells)
    references = _references(cells, np.asarray(evaluations["value"], dtype=np.float64), offsets)
    evaluations = with_levels(cells, evaluations, offsets)
    highest = highest_fidelities(cells, evaluations, offsets)
    study = Study(
        cells,
        evaluations,
        offsets,
        references,
        tuple(sorted(cells["optimizer"].unique())),
        tuple(unfinished),
        MappingProxyType(dict(highest)),
        MappingProxyType(_other_references(cells, evaluations, offsets, highest)),
        metric=metric,
    )
    if not study.objectives:
        return study
    found = hypervolume_references(cells, study.objective_values(), offsets, study.objectives)
    return replace(study, others=MappingProxyType({**study.others, HYPERVOLUME: found}))


def _other_references(
    cells: pd.DataFrame, evaluations: pd.DataFrame, offsets: Integers, highest: Mapping[str, float]
) -> dict[str, pd.DataFrame]:
    """Return what losses are measured against under the other rules, as `Study.others` has it."""
    tops = np.array([highest.get(name, math.nan) for name in cells["benchmark"]], dtype=np.float64)
    of_each: Floats = np.repeat(tops, np.diff(offsets))
    found: dict[str, pd.DataFrame] = {}
    for column in full_columns(evaluations) or [FULL_VALUE]:
        for name, values in counted_values(evaluations, of_each, column).items():
            if name not in found:
                # The optimum is one of the loss.
                own = cells if name in {"full", FULL_VALUE} else cells.assign(optimum=math.nan)
                found[name] = _references(own, values, offsets)
    return found


def study_of_table(table: pd.DataFrame) -> Study:
    """Return a study of one table that holds the evaluations of all runs, with the columns `KEYS` on each row.

    The rows of a run stand in delivery order; runs may be mixed. Columns of `FACTS` are read from a run's first row,
    except `wall_time`, which in a table of evaluations is the evaluation's: give it as `run_wall_time`.

    Raises
    ------
    SpecificationError
        As for `study_of`.
    """
    import pandas as pd

    lacking = [name for name in KEYS if name not in table]
    if lacking:
        raise SpecificationError(
            f"the study's table lacks the columns {lacking}; figures need {[*KEYS, 'end', 'value']}"
        )
    codes = np.zeros(len(table), dtype=np.int64)
    for name in KEYS:
        column = table[name]
        kind = column.astype("category").cat
        codes = codes * max(len(kind.categories), 1) + kind.codes.to_numpy()
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        table, codes = table.iloc[order], codes[order]
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    counts = np.diff(begins, append=len(codes))
    facts = {name: name for name in FACTS if name != "wall_time"} | {"run_wall_time": "wall_time"}
    first = table.iloc[begins]
    cells = first[[*KEYS, *(name for name in facts if name in table)]].rename(columns=facts).reset_index(drop=True)
    for name in ("benchmark", "optimizer"):
        cells[name] = cells[name].astype(object)
    # A selection of columns would copy them, gigabytes of a large study.
    names = [*(name for name in EVALUATION_COLUMNS if name in table), *full_columns(table), *other_fidelities(table)]
    evaluations = pd.DataFrame({name: table[name] for name in names}, copy=False)
    return study_of(cells, evaluations, counts)


def study_of_runs(
    runs: Sequence[Run], unfinished: Sequence[str] = (), columns: Sequence[str] = (), metric: str = ""
) -> Study:
    """Return a study of runs that were read one by one; `columns` of their traces, all that figures read by default.

    `metric` stands in the place of the loss, as for `study_of`.

    Raises
    ------
    SpecificationError
        As for `study_of`.
    """
    import pandas as pd

    if not runs:
        raise SpecificationError("there are no runs to draw; give at least one")
    wanted = [name for name in columns or EVALUATION_COLUMNS if all(name in run.trace for run in runs)]
    full = sorted({name for run in runs for name in [*full_columns(run.trace), *other_fidelities(run.trace)]})
    cells = pd.DataFrame(
        {
            "benchmark": [run.benchmark for run in runs],
            "n_workers": [run.n_workers for run in runs],
            "optimizer": [run.optimizer for run in runs],
            "seed": [run.seed for run in runs],
            "optimum": np.array([math.nan if run.optimum is None else run.optimum for run in runs]),
            "max_time": np.array([_fact(run, "specification", "max_time") for run in runs]),
            "max_evaluations": np.array([_fact(run, "specification", "max_evaluations") for run in runs]),
            "wall_time": np.array([_fact(run, "measured", "wall_time") for run in runs]),
            CLUSTER: [text_of(CLUSTER, run.trace.attrs.get(ATTRIBUTE, {}).get("specification", {})) for run in runs],
            OBJECTIVES: [
                text_of(OBJECTIVES, run.trace.attrs.get(ATTRIBUTE, {}).get("specification", {})) for run in runs
            ],
        }
    )
    evaluations = pd.DataFrame({name: np.concatenate([run.trace[name].to_numpy() for run in runs]) for name in wanted})
    several = {one for text in cells[OBJECTIVES] if text for one in delivered_columns(json.loads(text))} - set(wanted)
    if metric:
        several.update(set(metric_columns(metric, {str(name) for run in runs for name in run.trace})).difference(full))
    full += sorted(name for name in {LOST_TIME, *several} if any(name in run.trace for run in runs))
    for name in full:  # older traces have none, nor have those of perfect workers
        parts = [run.trace[name] if name in run.trace else np.full(len(run.trace), math.nan) for run in runs]
        evaluations[name] = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    counts = np.array([len(run.trace) for run in runs], dtype=np.int64)
    return study_of(cells, evaluations, counts, unfinished, metric)


def text_of(name: str, specification: Mapping[str, Any]) -> str:
    """Return the cluster or the objectives of a run's specification as JSON; empty where it has none."""
    return json.dumps(specification[name], sort_keys=True) if name in specification else ""


def _fact(run: Run, part: str, name: str) -> float:
    value = run.trace.attrs.get(ATTRIBUTE, {}).get(part, {}).get(name)
    return math.nan if value is None else float(value)


def _offsets(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _reduce(function: np.ufunc, values: Floats, offsets: Integers, empty: float) -> Floats:
    """Return the function of each run's values, shape (runs,); `empty` for a run without evaluations."""
    out = np.full(len(offsets) - 1, empty)
    filled = np.diff(offsets) > 0
    if filled.any():
        out[filled] = function.reduceat(values, offsets[:-1][filled])
    return out


def _refuse_repeated_runs(cells: pd.DataFrame) -> None:
    twice = cells[cells.duplicated(list(KEYS))]
    if len(twice):
        run = twice.iloc[0]
        workers = f"{run['n_workers']} worker{'' if run['n_workers'] == 1 else 's'}"
        raise SpecificationError(
            f"{run['optimizer']} on {run['benchmark']} with {workers} has seed {run['seed']} more "
            "than once: the folder holds runs of several studies; draw each study's own folder"
        )


def _references(cells: pd.DataFrame, values: Floats, offsets: Integers) -> pd.DataFrame:
    """Return what a benchmark's losses are measured against: the optimum of the traces, else the best loss seen."""
    import pandas as pd

    finite = np.where(np.isfinite(values), values, math.nan)
    best, worst = (_reduce(function, finite, offsets, math.nan) for function in (np.fmin, np.fmax))
    known = np.flatnonzero(np.isfinite(values))
    position = np.searchsorted(known, offsets[:-1])
    first = np.full(len(cells), math.nan)
    some_left = np.flatnonzero(position < len(known))
    candidate = known[position[some_left]]
    inside = candidate < offsets[some_left + 1]
    first[some_left[inside]] = values[candidate[inside]]
    rows = []
    for benchmark, runs in cells.groupby("benchmark", sort=True).indices.items():
        optima = {None if math.isnan(value) else value for value in cells["optimum"].to_numpy(dtype=float)[runs]}
        if len(optima) > 1:
            raise SpecificationError(
                f"the runs on {benchmark} have different optima ({sorted(map(str, optima))}); draw them apart"
            )
        (optimum,) = optima
        some = not np.isnan(best[runs]).all()
        rows.append(
            {
                "benchmark": benchmark,
                "reference": (np.nanmin(best[runs]) if some else math.nan) if optimum is None else optimum,
                "source": "best seen" if optimum is None else "optimum",
                "worst": np.nanmax(worst[runs]) if some else math.nan,
                "first": np.nanmedian(first[runs]) if some else math.nan,
            }
        )
    return pd.DataFrame(rows).set_index("benchmark")
