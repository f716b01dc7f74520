"""What a condition of the cluster costs an optimizer: against its strength, beside the same run on perfect workers."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, described, label_decades, spread_of, workers_title
from zerowait.plots.figures.anytime import SCALES, Scale
from zerowait.plots.statistics.arithmetic import (
    Resample,
    bootstrap_medians,
    generator,
    geometric_mean,
    interval_of_mean,
    over_benchmarks,
    percentile_interval,
    time_to_target,
    upper_median,
)
from zerowait.plots.studies.blocks import called, counted, listed, reference_sentence
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study

Measure = Literal["regret", "time"]
LEAST_TIME = "lost time alone"
FAR = 1e6
"""So many times as long leaves any panel."""
_NAMED = re.compile(r"(?P<optimizer>.+) \([^()]+\)", re.DOTALL)
"""What a study calls an optimizer on a cluster that has a name."""
_MEAN_OF_HALF_NORMAL = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class Condition:
    """The one way in which a cluster is not perfect."""

    name: str
    """What its strength measures."""
    strength: float
    slower: float
    """How many times as long as perfect workers its workers need, on average, for as much work that is not lost; NaN
    where that depends on runtimes."""


def condition_of(cluster: Cluster, n_workers: int) -> Condition | None:
    """Return the condition of a cluster; None where it has several, or one that no number measures."""
    given = {
        name: value
        for name in ("speeds", "stragglers", "failures", "preemptions", "arrivals", "departures")
        if (value := getattr(cluster, name)) is not None
    }
    if len(given) != 1:
        return None
    ((name, value),) = given.items()
    if name == "speeds" and not isinstance(value, dict):
        speeds = np.resize(np.asarray(value, dtype=np.float64), n_workers)
        return Condition("speeds, deviation over mean", float(speeds.std() / speeds.mean()), float(1 / speeds.mean()))
    if not isinstance(value, dict):
        return None
    if name == "preemptions":
        away = value["rate"] / (value["rate"] + value["back"])
        slower = 1 / (1 - away) if cluster.checkpoints else math.nan  # how much is lost depends on runtimes
        return Condition(f"preemptions, share of the time away{_again(cluster)}", away, slower)
    ((kind, number),) = value.items()
    return Condition(f"{name}, {kind.replace('_', ' ')}{_again(cluster)}", number, _slower(name, kind, number))


def _slower(name: str, kind: str, number: float) -> float:
    match name, kind:
        case "stragglers", "half_normal":
            return 1 + number * _MEAN_OF_HALF_NORMAL
        case "stragglers", "lognormal":
            return math.exp(number**2 / 2)
        case "failures", "probability":
            return (1 - number / 2) / (1 - number)
    return math.nan


def _again(cluster: Cluster) -> str:
    return (f", {counted([cluster.retries], 'retry')}" if cluster.retries else "") + (
        ", checkpoints" if cluster.checkpoints else ""
    )


def degradation_table(
    study: Study,
    *,
    measure: Measure = "regret",
    fraction: float | None = None,
    scale: Scale = "worst",
    resample: Resample = "both",
) -> pd.DataFrame:
    """Return what each condition costs each optimizer, by its strength and the number of workers.

    Columns: `condition`, `n_workers`, `optimizer`, `strength`, `value`, `lower`, `upper`, `lost_time` (how many times
    as long as much work takes), `n_benchmarks`, `n_seeds`, `not_reached`. A cluster is beside perfect workers on the
    same benchmark, with the same number of workers and the same seed.

    Parameters
    ----------
    study
        The runs; several clusters with names, one of them perfect.
    measure
        By how much the normalised regret is greater at the same time, or how many times as long it takes to a loss that
        perfect workers reached.
    fraction
        Share of the perfect run's time: at which regrets are compared, 1 by default, or whose loss is the target, 0.25.
    scale
        The loss that counts as regret 1: the worst that the study saw, or the median of the runs' first losses.
    resample
        What the bars take for a sample.

    Raises
    ------
    SpecificationError
        The study has no runs on perfect workers beside others, the fraction is not in (0, 1], or nothing is measured.
    """
    import pandas as pd

    share = (1.0 if measure == "regret" else 0.25) if fraction is None else fraction
    if not 0 < share <= 1:
        raise SpecificationError(f"fraction is {fraction}; it must be a share of the time, above 0 and up to 1")
    perfect, others, unmeasured = _pairs(study)
    gathered: dict[tuple[str, int, str, float], dict[str, list[float]]] = {}
    lost_time: dict[tuple[str, int, str, float], float] = {}
    unknown: list[str] = []
    for key, run, condition in others:
        optimizer, benchmark, n_workers, _ = key
        value = _cost(study, perfect[key], run, measure, share, scale, benchmark)
        if value is None:
            unknown.append(f"{called(study, optimizer, benchmark)} with {workers_title(n_workers)}")
            continue
        at = condition.name, n_workers, optimizer, condition.strength
        gathered.setdefault(at, {}).setdefault(benchmark, []).append(value)
        lost_time[at] = condition.slower
    if not gathered:
        raise SpecificationError(
            f"at {share:g} of the time no run on perfect workers has a result; choose a larger fraction"
        )
    everywhere = {key: set(of) for key, of in gathered.items()}
    rows = []
    for at, found in sorted(gathered.items()):
        # The points of a line are of the same benchmarks: a mean over others would be another quantity.
        shared = sorted(set.intersection(*(of for key, of in everywhere.items() if key[:3] == at[:3])))
        strata = [np.array(found[name]) for name in shared]
        if not strata:
            continue
        value, low, high = (_mean if measure == "regret" else _slowdown)(strata, resample, at)
        rows.append(
            {
                **dict(zip(("condition", "n_workers", "optimizer", "strength"), at, strict=True)),
                "value": value, "lower": low, "upper": high, "lost_time": lost_time[at], "n_benchmarks": len(strata),
                "n_seeds": min(map(len, strata)), "not_reached": float(np.isinf(np.concatenate(strata)).mean()),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    share_text = "the end" if share == 1 else f"{share:g} of the time"
    how = (
        f"By how much the normalised regret of the result is greater than on perfect workers at {share_text}: the mean "
        f"difference. 1 is {SCALES[scale]}. {reference_sentence(study, [benchmark for _, benchmark, *_ in perfect])}"
        if measure == "regret"
        else "How many times as long it takes to a loss that is as good as that of perfect workers at "
        f"{share_text}: the median over seeds; a run that misses it counts with an infinite time. The geometric mean "
        "over benchmarks. The grey line is what lost time alone costs: who needs so many times as long for as much "
        "work that is not lost."
    )
    return described(
        table,
        how,
        f"Pairs with the same benchmark, number of workers and seed: "
        f"{counted([int(n) for n in table['n_benchmarks']], 'benchmark')}, "
        f"{counted([int(n) for n in table['n_seeds']], 'seed')} each.",
        spread_of(table["lower"], resample, "bar"),
        "Where a time is infinite there is no point." if np.isinf(table["value"]).any() else "",
        f"Left out, because perfect workers have no result by then: {listed(sorted(set(unknown)))}." if unknown else "",
        f"Left out: {listed(unmeasured)}." if unmeasured else "",
        measure=measure,
    )


def draw_degradation(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `degradation_table` returned: a row a number of workers, a column a condition."""
    conditions, workers = sorted(table["condition"].unique()), sorted(table["n_workers"].unique())
    optimizers = canvas.labels.ordered(table["optimizer"].unique())
    looks = style.styles(optimizers, canvas.labels.colours)
    is_time = table.attrs["measure"] == "time"
    legend = [*optimizers, *([LEAST_TIME] if is_time else [])]
    panels = canvas.panels(len(workers), len(conditions), legend, sharex="col", sharey=True)
    for (row, n_workers), (column, condition) in itertools.product(enumerate(workers), enumerate(conditions)):
        panel = panels[row, column]
        chosen = table[(table["condition"] == condition) & (table["n_workers"] == n_workers)]
        apart = 0.012 * float(chosen["strength"].max())
        for place, name in enumerate(optimizers):
            line = chosen[chosen["optimizer"] == name].sort_values("strength")
            # Perfect workers beside themselves.
            x = np.concatenate([[0.0], line["strength"]])
            y, low, high = (
                np.concatenate([[1.0 if is_time else 0.0], line[column]]) for column in ("value", "lower", "upper")
            )
            look = looks[name]
            panel.plot(x, y, color=look.colour, linestyle=look.line, marker=look.marker, label=name)
            # An infinite time is no point, and its bar leaves through the top.
            bars = np.clip(np.vstack([np.fmin(y, FAR) - low, np.fmin(high, FAR) - y]), 0.0, FAR)
            if not np.isnan(bars).all():
                aside = apart * (place - (len(optimizers) - 1) / 2)
                panel.errorbar(
                    (x + aside)[1:], y[1:], bars[:, 1:], fmt="none", ecolor=look.colour, capsize=1.5, elinewidth=0.7
                )
        if is_time:
            least = chosen.drop_duplicates("strength").sort_values("strength")
            panel.plot(
                [0.0, *least["strength"]], [1.0, *least["lost_time"]], color=style.OPTIMUM_COLOUR,
                linestyle=(0, (4, 2)), linewidth=0.9, label=LEAST_TIME, zorder=3,
            )  # fmt: skip
        if row == 0:
            canvas.title(panel, condition)
    for row, n_workers in enumerate(workers):
        label = "times as long" if is_time else "regret lost"
        canvas.ylabel(panels[row, 0], label, workers_title(int(n_workers)))
    if is_time:
        corner = panels[0, 0]
        corner.set_yscale("log")
        finite = table[["value", "lost_time"]].replace(math.inf, math.nan)
        bottom, top = float(np.nanmin([*table["lower"], 0.9])), 1.5 * float(finite.max().max())
        corner.set_ylim(bottom / 1.1, top)
        label_decades(corner.yaxis, bottom, top)
    canvas.xlabel("strength of the condition; 0 is perfect workers")
    canvas.legend(panels.flat, last=(LEAST_TIME,))
    return panels


_Key: TypeAlias = tuple[str, str, int, int]
"""Optimizer, benchmark, number of workers and seed."""


def _pairs(study: Study) -> tuple[dict[_Key, int], list[tuple[_Key, int, Condition]], list[str]]:
    """Return the runs on perfect workers, the others that have such a one beside them, and what has none and why."""
    perfect: dict[_Key, int] = {}
    found: list[tuple[_Key, int, Condition]] = []
    unmeasured: list[str] = []
    several = (study.cells["cluster"] != "").any()
    for run, cell in enumerate(study.cells.to_dict("records")):
        named = _NAMED.fullmatch(cell["optimizer"]) if several else None
        optimizer = named["optimizer"] if named else cell["optimizer"]
        key = optimizer, cell["benchmark"], int(cell["n_workers"]), int(cell["seed"])
        if not cell["cluster"]:
            perfect[key] = run
        elif (condition := condition_of(Cluster.from_json(json.loads(cell["cluster"])), key[2])) is None:
            unmeasured.append(f"{study.labels.text(cell['optimizer'])} (no single number says how strong it is)")
        else:
            found.append((key, run, condition))
    without = [f"{called(study, key[0], key[1])} (no such run on perfect workers)" for key, *_ in found
               if key not in perfect]  # fmt: skip
    paired = [one for one in found if one[0] in perfect]
    if not paired:
        reasons = listed([*unmeasured, *without]) or "all of its workers are perfect"
        raise SpecificationError(
            f"the study has no run on perfect workers beside one on others ({reasons}); a study compares clusters with "
            "several tables [[cluster]], one of them with nothing but a name"
        )
    return perfect, paired, [*unmeasured, *without]


def _cost(
    study: Study, perfect: int, run: int, measure: Measure, share: float, scale: Scale, benchmark: str
) -> float | None:
    """Return what the condition of a run cost it beside the perfect one; None where that has no result by then."""
    time = share * float(study.cells["until"].iloc[perfect])
    best, other = study.best_at([perfect, run], np.array([time]))[:, 0].tolist()
    if math.isnan(best):
        return None
    if measure == "regret":
        regrets = study.regrets(benchmark, np.array([best, other]), scale)
        return float((1.0 if math.isnan(other) else regrets[1]) - regrets[0])
    reached = [time_to_target(study.ends[at], study.losses[at], best) for at in map(study.rows, (perfect, run))]
    return reached[1] / reached[0]


def _mean(strata: list[Floats], resample: Resample, at: tuple[Any, ...]) -> tuple[float, float, float]:
    low, high = interval_of_mean(strata, resample, "degradation", *at)
    return float(np.mean([values.mean() for values in strata])), float(low), float(high)


def _slowdown(strata: list[Floats], resample: Resample, at: tuple[Any, ...]) -> tuple[float, float, float]:
    random = generator("degradation in time", *at)
    medians = np.array([upper_median(values) for values in strata])
    replicates = np.stack([bootstrap_medians(values, random) for values in strata])
    drawn = geometric_mean(over_benchmarks(medians, replicates, random, resample))
    enough = {"runs": max(map(len, strata)) > 1, "benchmarks": len(strata) > 1}
    low, high = percentile_interval(drawn) if enough.get(resample, any(enough.values())) else (math.nan, math.nan)
    return float(geometric_mean(medians)), float(low), float(high)
