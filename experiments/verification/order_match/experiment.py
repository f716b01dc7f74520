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

Harder cases are slept and simulated beside these: queries of the objective that take up to two real seconds, with two
to eight workers that are threads or processes and sample one after the other or each for itself; and samplings of 1.5
seconds, or once of four, without CPU time, where the run is also guessed about: without a call for one second, free
workers are taken to be idle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import pandas as pd

from zerowait.experiments.verification import Request, drivers
from zerowait.experiments.verification.drivers import Observed
from zerowait.experiments.verification.order_match import figures as order_match_figures
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.schedules import Callers, Case, Schedule, expected, gap
from zerowait.plots.figures.agreement import kendall_tau
from zerowait.suite.rules.errors import StalledError
from zerowait.suite.rules.idle import Idle
from zerowait.suite.rules.overhead import Sampling

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
    crews: tuple[int, ...]
    """Numbers of workers with slow queries."""


FULL = Scope(100, 0.5, 0.05, 700.0, COSTS, 1e-3, (2, 4, 8))
QUICK = Scope(16, 0.1, 0.4, 60.0, (0.0, 0.05), 1e-2, (4,))
"""A run of 3 s cannot be timed to 0.1%: three milliseconds are what a machine oversleeps in four evaluations."""
MOST_SEEDS = 100_000
LONGEST_QUERY = 4.0
"""Simulated seconds."""
QUERIES = (0.0, 0.3, 0.6, 0.9)
"""Shares of the training, or of the longest query, that a slow query takes; drawn anew for each."""
SIGN, WAIT, SURPRISE = 2.0, 3.0, 8.0
"""Simulated seconds: what is taken for the sign of idle workers, and what samplings take that wait without CPU time."""
PLAIN, SLOW, WAITS, BEGINS_TO_WAIT = "plain", "slow queries", "a sampler that waits", "a sampler that begins to wait"
PREFIXES = {"measured": "", "asked": "asked_", "modelled": "model_", "guessed": "guessed_"}
"""Of columns, by way."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A case with what was known of it beforehand."""

    kind: str
    distribution: str
    case: Case
    seed: int
    gap: float
    schedule: Schedule


def choose(distribution: str, template: Case, scope: Scope, kind: str = PLAIN) -> Chosen:
    """Return the case with the runtimes of the first seed whose schedule keeps the gap and the length.

    Raises
    ------
    StalledError
        No seed does.
    """
    number = list(DISTRIBUTIONS).index(distribution)
    for seed in range(MOST_SEEDS):
        rng = np.random.default_rng(np.random.SeedSequence((number, seed)))
        runtimes = DISTRIBUTIONS[distribution](rng, scope.evaluations) + LEAST
        if runtimes.max() > scope.longest or runtimes.sum() > template.workers * scope.longest:
            continue
        case = replace(template, runtimes=tuple(runtimes.tolist()))
        schedule = expected(case)
        if schedule.makespan <= scope.longest and gap(case, schedule) >= scope.gap:
            if kind == SLOW:
                queries = np.minimum(runtimes, LONGEST_QUERY) * rng.choice(QUERIES, scope.evaluations)
                case = replace(case, queries=tuple(queries.tolist()))
            return Chosen(kind, distribution, case, seed, gap(case, schedule), schedule)
    raise StalledError(f"none of {MOST_SEEDS} seeds of the {distribution} runtimes keeps a gap of {scope.gap} s")


def cases(scope: Scope) -> list[Chosen]:
    """Return every distribution with every cost, in both ways of telling where they differ; and the harder cases."""
    plain = [
        choose(distribution, Case((), cost, WORKERS, telling=telling), scope)
        for cost in scope.costs
        for telling in (("in turn", "on arrival") if cost else ("in turn",))
        for distribution in DISTRIBUTIONS
    ]
    distributions = itertools.cycle(DISTRIBUTIONS)
    return plain + [choose(next(distributions), case, scope, kind) for kind, case in _harder(scope)]


def _harder(scope: Scope) -> Iterator[tuple[str, Case]]:
    """Yield harder cases without runtimes, each with its kind."""
    for workers in scope.crews:
        for sampling, callers in itertools.product(get_args(Sampling), get_args(Callers)):
            yield SLOW, Case((), COSTS[-1], workers, sampling, "on arrival", callers=callers)
    waits = (WAIT,) * scope.evaluations
    yield WAITS, Case((), workers=WORKERS, telling="on arrival", sampled=waits)
    yield WAITS, Case((), workers=WORKERS, sampled=waits)
    surprised = [LEAST] * scope.evaluations
    surprised[scope.evaluations // 2] = SURPRISE
    yield BEGINS_TO_WAIT, Case((), workers=WORKERS, sampled=tuple(surprised))


def run(request: Request) -> Outcome:
    """Run all cases at the same time, because nearly all of it is sleep."""
    return verify(QUICK if request.quick else FULL, request)


def verify(scope: Scope, request: Request) -> Outcome:
    """Run the cases of a scope and compare."""
    chosen = cases(scope)
    longest = max(found.schedule.makespan for found in chosen) * scope.scale
    request.tell(f"{len(chosen)} cases at once, slept and simulated; the longest takes {longest:.0f} s")
    ways = {(way, n): task for n, found in enumerate(chosen) for way, task in _ways(found, scope, request).items()}
    observed = drivers.at_once(ways)
    for n, found in enumerate(chosen):
        observed["modelled", n] = drivers.modelled(found.case, request.directory)
    rows, evaluations = [], []
    for n, found in enumerate(chosen):
        by_way = {way: seen for (way, number), seen in observed.items() if number == n}
        rows.append(_row(found, by_way, scope))
        if found.kind == PLAIN:
            evaluations += _evaluations(found, by_way)
    return _outcome(rows, evaluations, scope)


def _ways(found: Chosen, scope: Scope, request: Request) -> dict[str, Callable[[], Observed]]:
    """Return what is run of a case at the same time, by name."""
    measured = partial(drivers.measured, found.case, scope.scale, request.directory)
    ways: dict[str, Callable[[], Observed]] = {"measured": measured}
    ways["slept"] = partial(drivers.slept, found.case, scope.scale, request.directory)
    if found.kind != SLOW:
        ways["asked"] = partial(drivers.asked, found.case, scope.scale)
    if found.kind == PLAIN:
        ways["not simulated"] = partial(drivers.unsimulated, found.case, scope.scale)
    elif found.kind != SLOW:
        ways["guessed"] = partial(measured, idle=Idle(after=SIGN * scope.scale))
    return ways


def time_error(one: Observed, truth: Observed) -> float:
    """Return the largest difference of the times of the n-th results, over all n, as a share of the whole time."""
    differences = (abs(a - b) for a, b in zip(sorted(one.end), sorted(truth.end), strict=True))
    return max(differences) / max(truth.end)


def tau(one: Observed, truth: Observed) -> float:
    """Return Kendall's rank correlation of two orders of the same evaluations (Kendall 1938)."""
    if one.order == truth.order:
        return 1.0  # to the last bit, which a quotient of square roots need not be
    place = {k: n for n, k in enumerate(one.order)}
    orders = {"reference_order": range(len(place)), "order": [place[k] for k in truth.order]}
    return kendall_tau(pd.DataFrame(orders))


def _row(found: Chosen, by_way: Mapping[str, Observed], scope: Scope) -> dict[str, Any]:
    slept, modelled, schedule, case = by_way["slept"], by_way["modelled"], found.schedule, found.case
    row: dict[str, Any] = {
        "kind": found.kind,
        "distribution": found.distribution,
        "workers": case.workers,
        "callers": case.callers,
        "sampling": case.sampling,
        "cost": math.nan if case.sampled else case.cost,
        "telling": case.telling,
        "seed": found.seed,
        "makespan": max(slept.end),
        "gap_ms": found.gap * scope.scale * 1e3,
        "lateness_ms": slept.lateness * scope.scale * 1e3,
        "longest_query_ms": max(case.queries, default=0.0) * scope.scale * 1e3,
    }
    for way, prefix in PREFIXES.items():
        if way in by_way:
            row[f"{prefix}tau"] = tau(by_way[way], slept)
            row[f"{prefix}same_known"] = by_way[way].known == slept.known
            row[f"{prefix}time_error"] = time_error(by_way[way], slept)
    row["model_exact"] = modelled.end == list(schedule.end) and modelled.start == list(schedule.start)
    row["replayed"] = drivers.replayed(case, slept) == slept.order
    if "guessed" in by_way:
        guessed = by_way["guessed"]
        row |= {"guesses": guessed.guesses, "wrong_guesses": guessed.wrong_guesses, "warned": guessed.warned}
    if "not simulated" in by_way:
        row["unsimulated_tau"] = tau(by_way["not simulated"], slept)
    return row


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
    table = pd.DataFrame(rows)
    plain, slow, waits = (table[table["kind"].isin(kinds)] for kinds in ([PLAIN], [SLOW], [WAITS, BEGINS_TO_WAIT]))
    gates = [
        Gate("least gap of two events whose order matters, simulated s",
             float(table["gap_ms"].min()) / scope.scale / 1e3, ">=", scope.gap),
        Gate("simulated with the durations that the slept runs really had: cases in the slept order",
             float(table["replayed"].sum()), "==", len(table)),
        *_agreement("measured overhead", plain, "", scope),
        *_agreement("measured overhead, asked and told", plain, "asked_", scope),
        *_agreement("modelled overhead", plain, "model_", scope),
        Gate("modelled overhead: cases that are the worked-out schedule to the last bit",
             float(table["model_exact"].sum()), "==", len(table)),
        *_agreement("slow queries, measured overhead", slow, "", scope),
        *_agreement("samplers that wait, measured overhead", waits, "", scope),
        *_guesses(waits, scope),
    ]  # fmt: skip
    without, late, least = plain["unsimulated_tau"], table["lateness_ms"].max(), table["gap_ms"].min()
    notes = [
        f"{scope.evaluations} evaluations, {WORKERS} workers; a simulated second is slept in {scope.scale:g} s",
        f"slow queries take up to {table['longest_query_ms'].max() / 1e3:.1f} s",
        f"samplers that wait do so for {WAIT * scope.scale:g} s, or once for {SURPRISE * scope.scale:g} s",
        f"guessed: without a call for {SIGN * scope.scale:g} s, workers are taken to be idle",
        f"without simulation Kendall's tau is {without.min():.3f} to {without.max():.3f}",
        f"the latest sleeper woke up {late:.1f} ms late; the least gap is {least:.1f} ms, both in real time",
    ]
    details = {"evaluations": pd.DataFrame(evaluations)}
    draw = partial(order_match_figures.write_figures, details["evaluations"], scope.time_limit)
    return Outcome("order-match", table, gates, notes, details, draw)


def _guesses(table: pd.DataFrame, scope: Scope) -> list[Gate]:
    other = (table["guessed_tau"] < 1) | ~table["guessed_same_known"].astype(bool)
    other |= table["guessed_time_error"] > scope.time_limit
    return drivers.guess_gates(table, other, True, table["kind"] == BEGINS_TO_WAIT)


def _agreement(name: str, table: pd.DataFrame, prefix: str, scope: Scope) -> list[Gate]:
    least = float(table[f"{prefix}tau"].min())
    return [
        Gate(f"{name}: least Kendall's tau of the order with the slept one", least, "==", 1),
        Gate(f"{name}: cases with the same number of known results at every sampling",
             float(table[f"{prefix}same_known"].sum()), "==", len(table)),
        Gate(f"{name}: largest error of the cumulative time, share of the whole time",
             float(table[f"{prefix}time_error"].max()), "<=", scope.time_limit),
    ]  # fmt: skip
