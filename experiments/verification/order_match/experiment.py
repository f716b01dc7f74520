"""Order, number of known results and time of 100 evaluations: really slept, simulated, and not simulated at all.

Sharpens section 4 of arXiv 2403.01888: four workers, runtimes from four distributions (mean 5 s, plus 0.1 s), sampling
that costs c (n + 1) seconds with n known results. Every case is run in five ways: really slept; simulated under
measured overhead, where the optimizer's sampling is really slept and the runtimes are not; asked and told in one
process, likewise; simulated under modelled overhead, where nothing is slept; and through a pool that does not wait for
runtimes.

Two results that end within the microseconds or milliseconds in which a machine wakes a sleeper may come back in either
order in the real world. Such a pair says nothing about a simulator, so cases are chosen, before anything is run and by
their worked-out schedule alone, to have none: the runtimes are those of the first seed whose events keep the `gap`.
The gap and how late the sleepers woke up stand in the table. What is left of the machine in the comparison, how late
its sleepers are on a busy day, is taken out of it once more: simulated with the durations that the slept run really
had, the order must be the slept one whatever the machine did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.drivers import Observed
from zerowait.experiments.verification.order_match import figures as order_match_figures
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Case, Schedule, Telling, expected, gap
from zerowait.suite.rules.errors import StalledError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MEAN, LEAST = 5.0, 0.1
"""Simulated seconds: the mean of the distributions, and what is added to every runtime."""
WORKERS = 4
COSTS = (0.0, 0.005, 0.05)
"""Simulated seconds of sampling for each known result and one more."""

DISTRIBUTIONS: Mapping[str, Callable[[np.random.Generator, int], Any]] = MappingProxyType({
    "uniform": lambda rng, n: rng.uniform(0.0, 2.0 * MEAN, n),
    "exponential": lambda rng, n: rng.exponential(MEAN, n),
    "Pareto": lambda rng, n: MEAN * rng.pareto(1.0, n),  # of infinite mean: 5 s is its median
    "log-normal": lambda rng, n: MEAN * rng.lognormal(-0.5, 1.0, n),
})  # fmt: skip
"""Runtimes without the least one, by name; simulated seconds."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run."""

    evaluations: int
    scale: float
    """Real seconds that a simulated second is slept."""
    gap: float
    """Least simulated seconds between two events whose order matters."""
    longest: float
    """A case lasts no longer than this, in simulated seconds: the Pareto distribution knows no bounds."""
    costs: tuple[float, ...]
    time_limit: float
    """Largest error of the cumulative time, as a share of the whole time."""


FULL = Scope(100, 0.5, 0.05, 700.0, COSTS, 1e-3)
QUICK = Scope(16, 0.1, 0.4, 40.0, (0.0, 0.05), 1e-2)
"""A run of 3 s cannot be timed to 0.1%: three milliseconds are what a machine oversleeps in four evaluations."""
MOST_SEEDS = 100_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A case with what was known of it beforehand."""

    distribution: str
    case: Case
    seed: int
    gap: float
    schedule: Schedule


def choose(distribution: str, cost: float, telling: Telling, scope: Scope) -> Chosen:
    """Return the case with the runtimes of the first seed whose schedule keeps the gap and the length.

    Raises
    ------
    StalledError
        No seed does.
    """
    import numpy as np

    number = list(DISTRIBUTIONS).index(distribution)
    for seed in range(MOST_SEEDS):
        rng = np.random.default_rng(np.random.SeedSequence((number, seed)))
        runtimes = DISTRIBUTIONS[distribution](rng, scope.evaluations) + LEAST
        if runtimes.max() > scope.longest or runtimes.sum() > WORKERS * scope.longest:
            continue
        case = Case(tuple(runtimes.tolist()), cost, WORKERS, telling=telling)
        schedule = expected(case)
        if schedule.makespan <= scope.longest and gap(case, schedule) >= scope.gap:
            return Chosen(distribution, case, seed, gap(case, schedule), schedule)
    raise StalledError(f"none of {MOST_SEEDS} seeds of the {distribution} runtimes keeps a gap of {scope.gap} s")


def cases(scope: Scope) -> list[Chosen]:
    """Return every distribution with every cost; in both ways of telling where they differ."""
    return [
        choose(distribution, cost, telling, scope)
        for cost in scope.costs
        for telling in (("in turn", "on arrival") if cost else ("in turn",))
        for distribution in DISTRIBUTIONS
    ]


def run(request: Request) -> Outcome:
    """Run all cases at the same time, because nearly all of it is sleep."""
    return verify(QUICK if request.quick else FULL, request)


def verify(scope: Scope, request: Request) -> Outcome:
    """Run the cases of a scope and compare."""
    chosen = cases(scope)
    longest = max(found.schedule.makespan for found in chosen) * scope.scale
    request.tell(f"{len(chosen)} cases at once, slept and simulated; the longest takes {longest:.0f} s")
    ways: dict[str, Callable[[Case], Observed]] = {
        "slept": partial(drivers.slept, scale=scope.scale, directory=request.directory),
        "measured": partial(drivers.measured, scale=scope.scale, directory=request.directory),
        "asked": partial(drivers.asked, scale=scope.scale),
        "not simulated": partial(drivers.unsimulated, scale=scope.scale),
    }
    observed = drivers.at_once({(way, n): partial(ways[way], c.case) for way in ways for n, c in enumerate(chosen)})
    for n, found in enumerate(chosen):
        observed["modelled", n] = drivers.modelled(found.case, request.directory)
    rows, evaluations = [], []
    for n, found in enumerate(chosen):
        by_way = {way: observed[way, n] for way in (*ways, "modelled")}
        rows.append(_row(found, by_way, scope))
        evaluations += _evaluations(found, by_way)
    return _outcome(rows, evaluations, scope)


def time_error(one: Observed, truth: Observed) -> float:
    """Return the largest difference of the times of the n-th results, over all n, as a share of the whole time."""
    differences = (abs(a - b) for a, b in zip(sorted(one.end), sorted(truth.end), strict=True))
    return max(differences) / max(truth.end)


def tau(one: Observed, truth: Observed) -> float:
    """Return Kendall's rank correlation of two orders of the same evaluations (Kendall 1938)."""
    import pandas as pd

    from zerowait.plots.figures.agreement import kendall_tau

    if one.order == truth.order:
        return 1.0  # to the last bit, which a quotient of square roots need not be
    place = {k: n for n, k in enumerate(one.order)}
    orders = {"reference_order": range(len(place)), "order": [place[k] for k in truth.order]}
    return kendall_tau(pd.DataFrame(orders))


def _row(found: Chosen, by_way: Mapping[str, Observed], scope: Scope) -> dict[str, Any]:
    slept, measured, asked, modelled = (by_way[way] for way in ("slept", "measured", "asked", "modelled"))
    schedule = found.schedule
    exact = modelled.end == list(schedule.end) and modelled.start == list(schedule.start)
    return {
        "distribution": found.distribution,
        "cost": found.case.cost,
        "telling": found.case.telling,
        "seed": found.seed,
        "makespan": max(slept.end),
        "gap_ms": found.gap * scope.scale * 1e3,
        "lateness_ms": slept.lateness * scope.scale * 1e3,
        "tau": tau(measured, slept),
        "same_known": measured.known == slept.known,
        "time_error": time_error(measured, slept),
        "asked_tau": tau(asked, slept),
        "asked_same_known": asked.known == slept.known,
        "asked_time_error": time_error(asked, slept),
        "model_tau": tau(modelled, slept),
        "model_same_known": modelled.known == slept.known,
        "model_time_error": time_error(modelled, slept),
        "model_exact": exact,
        "replayed": drivers.replayed(found.case, slept) == slept.order,
        "unsimulated_tau": tau(by_way["not simulated"], slept),
    }


def _evaluations(found: Chosen, by_way: Mapping[str, Observed]) -> list[dict[str, Any]]:
    """Return a row for each evaluation and way: what the figures are drawn from."""
    common = {"distribution": found.distribution, "cost": found.case.cost, "telling": found.case.telling}
    rows = []
    for way, seen in by_way.items():
        place = {k: n for n, k in enumerate(seen.order)}
        for k, known in enumerate(seen.known):
            times = (seen.start[k], seen.end[k]) if seen.end else (math.nan, math.nan)
            rows.append({**common, "way": way, "configuration": k, "place": place[k], "known": known,
                         "start": times[0], "end": times[1]})  # fmt: skip
    return rows


def _outcome(rows: list[dict[str, Any]], evaluations: list[dict[str, Any]], scope: Scope) -> Outcome:
    import pandas as pd

    table = pd.DataFrame(rows)
    gates = [
        Gate("least gap of two events whose order matters, simulated s",
             float(table["gap_ms"].min()) / scope.scale / 1e3, ">=", scope.gap),
        Gate("simulated with the durations that the slept runs really had: cases in the slept order",
             float(table["replayed"].sum()), "==", len(table)),
        *_agreement("measured overhead", table, "", scope),
        *_agreement("measured overhead, asked and told", table, "asked_", scope),
        *_agreement("modelled overhead", table, "model_", scope),
        Gate("modelled overhead: cases that are the worked-out schedule to the last bit",
             float(table["model_exact"].sum()), "==", len(table)),
    ]  # fmt: skip
    without, late, least = table["unsimulated_tau"], table["lateness_ms"].max(), table["gap_ms"].min()
    notes = [
        f"{scope.evaluations} evaluations, {WORKERS} workers; a simulated second is slept in {scope.scale:g} s",
        f"without simulation Kendall's tau is {without.min():.3f} to {without.max():.3f}",
        f"the latest sleeper woke up {late:.1f} ms late; the least gap is {least:.1f} ms, both in real time",
    ]
    outcome = Outcome("order-match", table, gates, notes, {"evaluations": pd.DataFrame(evaluations)})
    return order_match_figures.with_figures(outcome, scope.time_limit)


def _agreement(name: str, table: pd.DataFrame, prefix: str, scope: Scope) -> list[Gate]:
    least = float(table[f"{prefix}tau"].min())
    return [
        Gate(f"{name}: least Kendall's tau of the order with the slept one", least, "==", 1),
        Gate(f"{name}: cases with the same number of known results at every sampling",
             float(table[f"{prefix}same_known"].sum()), "==", len(table)),
        Gate(f"{name}: largest error of the cumulative time, share of the whole time",
             float(table[f"{prefix}time_error"].max()), "<=", scope.time_limit),
    ]  # fmt: skip
