"""Stragglers and dropped jobs: synchronous successive halving against ASHA on the simulated workload of Li et al. 2020.

arXiv 1810.05934, appendix A.1: a job takes as long as its resource, times 1 + |z|, and is dropped with a probability
each unit of time; counted are the configurations that are trained to the full resource, and the time before the first
is. Both schedulers are written down here from the paper's algorithms 1 and 2, because a full experiment asks them some
twenty million times; the tests compare them with HpBandSter's halving and with algorithm 2 written literally.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.outcome import Gate, Outcome, draw_figure
from zerowait.plots.drawing.panels import Canvas
from zerowait.plots.drawing.style import styles
from zerowait.plots.statistics.arithmetic import Floats, bootstrap_means, generator, percentile_interval
from zerowait.suite.asktell import simulate
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.overhead import Overhead

ETA, WORKERS = 4, 25
FORGOTTEN, REPEATED, AWAITED = "forgotten", "repeated", "awaited"
"""What becomes of a dropped job: the rung goes on without it, the cluster repeats it, or the rung waits for ever."""
ASHA, SHA = "ASHA", "SHA"
CELL = ("deviation", "drop", "dropped_jobs")
MEASURES = ("trained", "first")
SHOWN = {"trained": "fully trained", "first": "time of the first"}
STEM = "stragglers"


@dataclass(frozen=True, slots=True)
class Workload:
    """What is simulated: by default the paper's appendix."""

    n_rungs: int = 5
    """Resources are 1, 4, 16, ... up to R = 4^(n_rungs - 1), and a bracket has as many configurations as R."""
    time: float = 2000.0
    """Units of time; a job takes as many as its resource."""
    deviations: tuple[float, ...] = (0.0, 0.10, 0.24, 0.56, 1.33)
    """Of z."""
    drops: tuple[float, ...] = (0.0, 0.002, 0.005, 0.01)
    """Probabilities of being dropped in a unit of time."""
    simulations: int = 25

    @property
    def full(self) -> int:
        """The resource R of a configuration that is trained to the end."""
        return int(ETA ** (self.n_rungs - 1))


QUICK = Workload(n_rungs=4, time=250.0, deviations=(0.0, 0.10, 1.33), drops=(0.0, 0.01), simulations=5)


# -- the schedulers ---------------------------------------------------------------------------------------------------


def query_of(config: int, rung: int) -> Query:
    """Return the job of a configuration at a rung."""
    return Query({"config": config}, float(ETA**rung), str(config))


def rung_of(query: Query) -> int:
    """Return the rung of a job."""
    assert isinstance(query.fidelity, float)
    return round(math.log(query.fidelity, ETA))


class Asha:
    """Asynchronous successive halving: algorithm 2 of the paper.

    Parameters
    ----------
    n_rungs
        Number of rungs.
    configs
        The numbers of configurations, in the order in which they are sampled.
    """

    def __init__(self, n_rungs: int, configs: Iterator[int]) -> None:
        self._configs = configs
        self._results: list[list[tuple[float, int]]] = [[] for _ in range(n_rungs)]
        """Of each rung, the best first."""
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in range(n_rungs)]
        """Those of them that have not been promoted, as heaps."""

    def ask(self) -> Query:
        """Promote the best that is among the best quarter of its rung, in the highest rung with one; or sample."""
        for rung in range(len(self._results) - 2, -1, -1):
            results, waiting = self._results[rung], self._waiting[rung]
            if waiting and bisect_left(results, waiting[0]) < len(results) // ETA:
                return query_of(heapq.heappop(waiting)[1], rung + 1)
        return query_of(next(self._configs), 0)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Place the configuration in its rung."""
        result = evaluation.value, query.config["config"]
        insort(self._results[rung_of(query)], result)
        heapq.heappush(self._waiting[rung_of(query)], result)

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Forget it: no rung is waiting for it."""


@dataclass(slots=True)
class _Bracket:
    left: int
    """How many configurations are still to be sampled."""
    rung: int = 0
    running: int = 0
    queue: deque[int] = field(default_factory=deque)
    results: list[tuple[float, int]] = field(default_factory=list)


class Sha:
    """Synchronous successive halving: algorithm 1, and another bracket when no open one has a job (section 3.1).

    Parameters
    ----------
    n_rungs
        Number of rungs; a bracket samples 4^(n_rungs - 1) configurations.
    configs
        The numbers of configurations, in the order in which they are sampled.
    awaits
        Whether a rung waits for a dropped job for ever; otherwise it goes on without.
    """

    def __init__(self, n_rungs: int, configs: Iterator[int], *, awaits: bool = False) -> None:
        self._n_rungs, self._configs, self._awaits = n_rungs, configs, awaits
        self._open: list[_Bracket] = []
        self._bracket_of: dict[int, _Bracket] = {}

    def ask(self) -> Query:
        """Return the next job of the oldest bracket that has one."""
        for bracket in self._open:
            if bracket.left:
                bracket.left -= 1
                config = next(self._configs)
                self._bracket_of[config] = bracket
            elif bracket.queue:
                config = bracket.queue.popleft()
            else:
                continue
            bracket.running += 1
            return query_of(config, bracket.rung)
        self._open.append(_Bracket(ETA ** (self._n_rungs - 1)))
        return self.ask()

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Place the configuration; the last one of its rung promotes the best quarter."""
        config = query.config["config"]
        bracket = self._bracket_of[config]
        bracket.results.append((evaluation.value, config))
        self._returned(bracket)

    def tell_failure(self, query: Query, error: Exception) -> None:  # noqa: ARG002 - the simulator's interface
        """Go on without it, unless the rung waits."""
        if not self._awaits:
            self._returned(self._bracket_of[query.config["config"]])

    def _returned(self, bracket: _Bracket) -> None:
        bracket.running -= 1
        if bracket.running or bracket.left or bracket.queue:
            return
        bracket.rung += 1
        if bracket.rung == self._n_rungs or not bracket.results:
            self._open.remove(bracket)
            return
        places = ETA ** (self._n_rungs - 1 - bracket.rung)
        bracket.queue.extend(sorted(config for _, config in sorted(bracket.results)[:places]))
        bracket.results.clear()


# -- the experiment ---------------------------------------------------------------------------------------------------


def run(request: Request) -> Outcome:
    """Simulate the workload of the paper, or quickly a small one."""
    return verify(QUICK if request.quick else Workload(), request)


def verify(workload: Workload, request: Request) -> Outcome:
    """Simulate a workload under every deviation, drop rate and treatment of dropped jobs."""
    rows = []
    by_cell: dict[tuple[float, float, str], tuple[Floats, Floats]] = {}
    for deviation in workload.deviations:
        for drop in workload.drops:
            for treatment in (FORGOTTEN, REPEATED, AWAITED) if drop else (FORGOTTEN,):
                cell = deviation, drop, treatment
                asha_is_same = treatment == AWAITED  # no rung of ASHA waits
                asha = by_cell[deviation, drop, FORGOTTEN][0] if asha_is_same else simulated(workload, ASHA, *cell)
                by_cell[cell] = asha, simulated(workload, SHA, *cell)
                rows.append(_row(cell, *by_cell[cell], workload))
        request.tell(f"deviation {deviation:g} is simulated")
    table = pd.DataFrame(rows)
    most_deviation, most_drop = workload.deviations[-1], workload.drops[-1]
    least_deviation, nothing = workload.deviations[1], (0.0, 0.0, FORGOTTEN)
    at = partial(_growth, by_cell, workload)
    straggling = (least_deviation, 0.0, FORGOTTEN), (most_deviation, 0.0, FORGOTTEN)
    gates = [
        Gate("neither: ASHA's time before the first over SHA's, distance from 1",
             abs(float(by_cell[nothing][0][:, 1].mean() / by_cell[nothing][1][:, 1].mean()) - 1), "<=", 0.05),
        Gate(f"how much sooner ASHA's first is, from deviation {least_deviation:g} to {most_deviation:g}: growth, "
             "lower end of its 95 % interval", at(sooner, *straggling), ">=", 1.0),
        *(
            Gate(f"{name}, dropped jobs {treatment}, from drop rate 0 to {drop:g}: growth, lower end of its 95 % "
                 "interval", at(advantage, nothing, (0.0, drop, treatment)), ">=", limit)
            for name, advantage, treatment, drop, limit in (
                ("how much sooner ASHA's first is", sooner, REPEATED, most_drop, 1.0),
                ("how much sooner ASHA's first is", sooner, AWAITED, most_drop, 1.0),
                ("how many times as many ASHA trains, as a logarithm", more, AWAITED, workload.drops[1], 0.1),
            )
        ),
    ]  # fmt: skip
    ratio = by_cell[nothing][0][:, 0].mean() / by_cell[nothing][1][:, 0].mean()
    notes = [
        f"{workload.simulations} simulations a cell, {WORKERS} workers, eta {ETA}, r 1, R and n {workload.full}, "  # noqa: ISC004
        f"{workload.time:g} units of time; trained is how many configurations got the whole resource, first when the "
        "first of them had it; without one it counts as the end, and missed says in how many simulations",
        "dropped jobs: forgotten, the rung goes on without them, as HpBandSter's do; repeated, the cluster "  # noqa: ISC004
        "runs them again; awaited, the rung of synchronous halving waits for ever",
        f"without stragglers and drops ASHA trains {ratio:.2f} times as many: it also promotes what is among the best "  # noqa: ISC004
        "quarter for a while only",
    ]
    simulations = _simulations(by_cell)
    return Outcome("stragglers", table, gates, notes, {"simulations": simulations}, partial(_draw, simulations))


def simulated(workload: Workload, scheduler: str, deviation: float, drop: float, treatment: str) -> Floats:
    """Return of each simulation how many configurations were trained to the end, and when the first was: shape (n, 2).

    The losses and the luck of a configuration are the same under both schedulers, which makes pairs of the simulations.
    """
    found = []
    cluster = Cluster(
        stragglers={"half_normal": deviation},
        failures={"rate": -math.log1p(-drop)},  # what is dropped with this probability in a unit of time
        retries=1000 if treatment == REPEATED else 0,
    )
    for seed in range(workload.simulations):
        losses: list[float] = []
        random = np.random.default_rng(np.random.SeedSequence(seed))

        def configs(losses: list[float] = losses, random: np.random.Generator = random) -> Iterator[int]:
            while True:
                losses += random.random(1000).tolist()
                yield from range(len(losses) - 1000, len(losses))

        def objective(config: Mapping[str, Any], fidelity: float, losses: list[float] = losses) -> Evaluation:
            return Evaluation(losses[config["config"]], fidelity)

        optimizer = (
            Asha(workload.n_rungs, configs())
            if scheduler == ASHA
            else Sha(workload.n_rungs, configs(), awaits=treatment == AWAITED)
        )
        trace = simulate(
            optimizer, objective, n_workers=WORKERS, max_time=workload.time, seed=seed, overhead=Overhead.none(),
            cluster=cluster,
        )  # fmt: skip
        ends = trace.loc[(trace["fidelity"] == workload.full) & (trace["status"] == "ok"), "end"]
        found.append((len(ends), ends.min() if len(ends) else workload.time))
    return np.array(found, dtype=np.float64)


def sooner(asha: Floats, sha: Floats) -> Floats:
    """Return by how many units of time ASHA's first is trained sooner, from means of shape (..., 2)."""
    return np.asarray(sha[..., 1] - asha[..., 1])


def more(asha: Floats, sha: Floats) -> Floats:
    """Return the logarithm of how many times as many ASHA trains; one more of each, which none at all needs."""
    return np.asarray(np.log((asha[..., 0] + 1) / (sha[..., 0] + 1)))


def _growth(by_cell: Mapping[Any, tuple[Floats, Floats]], workload: Workload, advantage: Any, *cells: Any) -> float:
    """Return the lower bound of how much the advantage grows from the first cell to the second; pairs stay pairs."""
    values = np.stack([of for cell in cells for of in by_cell[cell]], axis=1)
    means = bootstrap_means([values], generator("stragglers", advantage.__name__, *cells, workload))
    grown = advantage(means[:, 2], means[:, 3]) - advantage(means[:, 0], means[:, 1])
    return float(percentile_interval(grown)[0])


def _row(cell: tuple[float, float, str], asha: Floats, sha: Floats, workload: Workload) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(CELL, cell, strict=True))
    for k, measure in enumerate(MEASURES):
        row |= {f"asha_{measure}": asha[:, k].mean(), f"sha_{measure}": sha[:, k].mean()}
    row |= {"asha_missed": int((asha[:, 0] == 0).sum()), "sha_missed": int((sha[:, 0] == 0).sum())}
    means = bootstrap_means([np.stack([asha, sha], axis=1)], generator("stragglers", *cell, workload))
    low, high = percentile_interval(sooner(means[:, 0], means[:, 1]))
    return {**row, "sooner": row["sha_first"] - row["asha_first"], "lower": float(low), "upper": float(high)}


def _simulations(by_cell: Mapping[Any, tuple[Floats, Floats]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (*cell, name, seed, int(trained), first)
            for cell, pair in by_cell.items()
            for name, of in zip((ASHA, SHA), pair, strict=True)
            for seed, (trained, first) in enumerate(of.tolist())
        ],
        columns=[*CELL, "scheduler", "seed", *MEASURES],
    )


def _draw(simulations: pd.DataFrame, folder: Path) -> Sequence[Path]:
    groups = simulations.groupby([*CELL, "scheduler"], sort=False)[list(MEASURES)].agg(["mean", "sem"])
    groups.columns = [f"{measure}{error}" for measure in MEASURES for error in ("", "_error")]
    table = groups.reset_index()
    files = draw_figure(partial(draw, table), styles((ASHA, SHA)), folder / STEM, table)
    return [files.pdf, files.png]


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw both measures against the drop rate: a column a deviation, a row a measure and treatment of dropped jobs.

    Bars are two standard errors.
    """
    rows = [(measure, treatment) for measure in MEASURES for treatment in (FORGOTTEN, REPEATED, AWAITED)]
    deviations = sorted(table["deviation"].unique())
    panels = canvas.panels(len(rows), len(deviations), (ASHA, SHA), heights=[0.7] * len(rows), sharey="row")
    for line, (measure, treatment) in enumerate(rows):
        for column, deviation in enumerate(deviations):
            panel = panels[line, column]
            alike = (table["dropped_jobs"] == treatment) | (table["drop"] == 0)
            for name in (ASHA, SHA):
                chosen = table[alike & (table["deviation"] == deviation) & (table["scheduler"] == name)]
                look = canvas.styles[name]
                panel.errorbar(
                    chosen["drop"], chosen[measure], 2 * chosen[f"{measure}_error"], color=look.colour,
                    marker=look.marker, linestyle=look.line, capsize=1.5, elinewidth=0.7, label=name,
                )  # fmt: skip
            if line == 0:
                canvas.title(panel, f"deviation {deviation:g}")
        canvas.ylabel(panels[line, 0], SHOWN[measure], f"drops {treatment}")
    canvas.xlabel("probability of being dropped in a unit of time")
    canvas.legend(panels.flat)
    return panels
