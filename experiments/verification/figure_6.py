"""Figure 6 of arXiv 2403.01888 on the tasks that are here: the paper's rule, the right one, and each step between them.

The paper ranks eight optimizers with 1, 2, 4 and 8 workers on 15 tasks. Here are three of them, the analytic functions,
with the paper's budgets and trainings that continue: the study `figure-6`. Every rule reads the same runs, so that what
differs between two rules is the rule; what is left between the paper's rule here and the paper's numbers are tasks,
versions and seeds.
"""

from __future__ import annotations

import itertools
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.effects.experiment import ROUNDING, made
from zerowait.experiments.verification.effects.readings import looking_ahead
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.plots.statistics.arithmetic import Floats, average_ranks, best_at, last_at
from zerowait.plots.studies.blocks import listed
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.run import Run
from zerowait.suite.records.incumbents import FULL_VALUE, incumbents
from zerowait.suite.rules.errors import SpecificationError

WORKERS = (1, 2, 4, 8)
PAPER: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "bohb": (2.90, 2.23, 2.07, 2.23),
        "hebo": (3.60, 2.67, 3.13, 2.20),
        "optuna-tpe": (3.20, 3.03, 3.80, 3.90),
        "smac-mf": (3.73, 3.63, 3.33, 4.17),
        "dehb": (3.47, 5.57, 5.47, 5.80),
        "hyperband": (5.53, 5.50, 5.70, 5.07),
        "neps-hyperband": (6.30, 6.37, 5.47, 5.77),
        "random": (7.27, 7.00, 7.03, 6.87),
    }
)
"""Average ranks of figure 6, page 9, by adapter here; with 1, 2, 4 and 8 workers."""
RESULTS = Path("results") / "figure-6"
"""The study of the full version."""
QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "name": "figure-6-in-short", "workers": [1, 8], "seeds": 3, "overhead": "none", "mode": "ask_tell",
        "optimizers": [
            {"name": "random", "budget": {"max_evaluations": 200}},
            {"name": "optuna-tpe", "budget": {"max_evaluations": 20}},
            {"name": "dehb", "budget": {"max_evaluations": 45}, "continual": True},
        ],
        "benchmarks": [{"name": "branin"}, {"name": "hartmann3"}, {"name": "hartmann6"}],
    }
)  # fmt: skip
"""A tenth of the budgets."""
SHARE = 1 / 16
"""Of the longest time of any optimizer on the task."""
TIMES, SHARES, LEAST_SHARE = 100, 200, 1e-5
"""The grids of `get_performance_over_time_with_same_time_scale` in mfhpo-simulator 1.4.6."""


FEWEST = 2
"""A rank needs a rival."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How runs become ranks."""

    ahead: bool
    """Whether the value at a time is that of the evaluation that ends next."""
    recommended: bool
    """Whether a result is a recommendation, or the least value at whatever fidelity."""
    medians: bool
    """Whether medians over the seeds are ranked, or runs against runs."""
    grids: bool
    """Whether time is read on the paper's two grids."""


PAPERS = Rule(ahead=True, recommended=False, medians=True, grids=True)
RIGHT = Rule(ahead=False, recommended=True, medians=False, grids=False)
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "paper's rule": PAPERS,
        "no look-ahead": replace(PAPERS, ahead=False),
        "recommended": replace(PAPERS, recommended=True),
        "runs ranked": replace(PAPERS, medians=False),
        "no grids": replace(PAPERS, grids=False),
        "right": RIGHT,
    }
)
"""The paper's rule, with one thing changed at a time, and with all of them."""


def run(request: Request) -> Outcome:
    """Rank what is finished of the study that was asked for; by default the kept one, or quickly a tiny one."""
    if request.study is None and request.quick:
        from zerowait import adapters

        ready = {found.name for found in adapters.available() if found.installed}
        chosen = [optimizer for optimizer in QUICK["optimizers"] if optimizer["name"] in ready]
        absent = [optimizer["name"] for optimizer in QUICK["optimizers"] if optimizer not in chosen]
        if len(chosen) < FEWEST:
            raise SpecificationError(
                f"ranks compare optimizers; install what {' and '.join(absent)} need: zerowait list"
            )
        with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=request.directory) as temporary:
            request.tell("a tiny study is run first; name one with --study, or take the kept results with --full")
            outcome = verify(made({**QUICK, "optimizers": chosen}, Path(temporary) / "short"), request.directory)
        left_out = f"left out, because they are not installed here: {', '.join(absent)}"
        return replace(outcome, notes=[*outcome.notes, left_out]) if absent else outcome
    folder = RESULTS if request.study is None else request.study
    if not folder.is_dir():
        raise SpecificationError(f"there is no study in {folder}; run it: zerowait run figure-6 --output {folder}")
    return verify(folder, request.directory)


def runs_of(folder: Path) -> list[Run]:
    """Return the runs of a study's folder.

    Raises
    ------
    SpecificationError
        Its traces do not say what configurations are worth, or are not whole.
    """
    study = load_study(folder, columns=("worker", "end", "value", "fidelity"))
    if FULL_VALUE not in study.evaluations:
        raise SpecificationError(f"the traces of {folder} have no {FULL_VALUE}: zerowait complete {folder}")
    if "worker" not in study.evaluations:
        raise SpecificationError(
            f"{folder} is an archive, which keeps incumbents only; the paper's look-ahead reads every evaluation, so "
            "give the study that was archived"
        )
    return list(study.runs())


def verify(folder: Path, directory: Path | None = None) -> Outcome:
    """Rank the runs of a study under all rules."""
    runs = runs_of(folder)
    there = {one.optimizer for one in runs}
    optimizers = [name for name in PAPER if name in there]
    workers = [n for n in WORKERS if any(one.n_workers == n for one in runs)]
    if len(optimizers) < FEWEST or not workers:
        raise SpecificationError(
            f"ranks compare optimizers of the paper, {', '.join(PAPER)}; {folder} has {listed(optimizers) or 'none'}"
        )
    grouped: dict[tuple[str, int, str], list[Run]] = {}
    for one in runs:
        grouped.setdefault((one.benchmark, one.n_workers, one.optimizer), []).append(one)
    labels = sorted({one.benchmark for one in runs})
    absent = {
        name: f"{name}, which has no run on {benchmark} with P = {n}"
        for benchmark, n, name in itertools.product(labels, workers, optimizers)
        if (benchmark, n, name) not in grouped
    }
    optimizers = [name for name in optimizers if name not in absent]
    if len(optimizers) < FEWEST:
        raise SpecificationError(
            f"ranks compare optimizers that have run everywhere; {folder} is without {'; '.join(absent.values())}; "
            f"continue: zerowait run {folder}"
        )
    rows, gates = [], []
    for n in workers:
        of_tasks = [[grouped[label, n, name] for name in optimizers] for label in labels]
        for rule_name, rule in RULES.items():
            ranks = np.array([ranks_of(of_task, rule) for of_task in of_tasks])
            rows += [
                {"rule": rule_name, "task": task, "n_workers": n, "optimizer": name, "rank": rank}
                for task, of_task in zip([*labels, "all"], [*ranks, ranks.mean(axis=0)], strict=True)
                for name, rank in zip(optimizers, of_task.tolist(), strict=True)
            ]
        found = by_the_simulator(of_tasks, directory)
        if found is not None:
            ours = np.mean([ranks_of(of_task, PAPERS) for of_task in of_tasks], axis=0)
            error = float(np.abs(found - ours).max())
            gates.append(Gate(f"paper's rule beside get_average_rank of mfhpo-simulator, P = {n}: largest difference",
                              error, "<=", ROUNDING))  # fmt: skip
    long = pd.DataFrame(rows)
    sums = long.groupby(["rule", "task", "n_workers"])["rank"].agg(["sum", "size"])
    error = float((sums["sum"] - sums["size"] * (sums["size"] + 1) / 2).abs().max())
    gates.append(Gate("ranks: largest error of their sum k (k + 1) / 2", error, "<=", ROUNDING))
    table = long[long["task"] == "all"].pivot_table(
        index=["optimizer", "n_workers"], columns="rule", values="rank", sort=False
    )[list(RULES)].reset_index()  # fmt: skip
    places = zip(table["optimizer"], table["n_workers"], strict=True)
    papers = [PAPER[str(name)][WORKERS.index(int(n))] for name, n in places]
    table.insert(2, "paper", papers)
    seeds = {name: _numbers(len(of) for key, of in grouped.items() if key[2] == name) for name in optimizers}
    how_many = ", ".join(f"{number} ({name})" for name, number in seeds.items())
    notes = [
        f"{len(runs)} runs: {', '.join(labels)}; seeds {how_many}",
        "paper is figure 6 of arXiv 2403.01888: eight optimizers on 15 tasks with 30 seeds; here are "  # noqa: ISC004
        f"{len(optimizers)} on {len(labels)} tasks, so that ranks go up to {len(optimizers)}",
        "paper's rule: rank of the median over seeds of the least loss at any fidelity, with look-ahead, at 1/16 of "  # noqa: ISC004
        "the longest time of any optimizer on two logarithmic grids; each next column changes one of these, right all",
    ]
    if absent:
        notes.append(f"left out: {'; '.join(absent.values())}; continue: zerowait run {folder}")
    if not any("get_average_rank" in gate.name for gate in gates):
        notes.append("mfhpo-simulator is not installed here: the paper's rule was not compared with its own function")
    return Outcome("figure-6", table, gates, notes, {"tasks": long})


def _numbers(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


# -- rules ------------------------------------------------------------------------------------------------------------


def ranks_of(of_task: Sequence[Sequence[Run]], rule: Rule) -> Floats:
    """Return the ranks of the optimizers on a task, shape (k,), from the runs of each."""
    longest = max(float(one.ends.max()) for runs in of_task for one in runs)
    values = [losses(runs, longest, rule) for runs in of_task]
    if rule.medians:
        return average_ranks(np.array([np.median(of) for of in values]))
    # Seeds of two optimizers have nothing in common, and some have more: each run meets all runs of each rival. NaN is
    # the worst.
    known = [np.where(np.isnan(of), math.inf, of) for of in values]
    beaten = [
        [float(np.mean((rival[:, None] < own) + 0.5 * (rival[:, None] == own))) for rival in known] for own in known
    ]
    ranks: Floats = np.sum(beaten, axis=1) + 0.5  # everybody ties with itself
    return ranks


def losses(runs: Sequence[Run], longest: float, rule: Rule) -> Floats:
    """Return the loss of each run at the share of the longest time; NaN where there is none yet."""
    if not rule.grids:
        return np.array([_read(one, np.array([SHARE * longest]), rule)[0] for one in runs])
    first, last = min(float(one.ends.min()) for one in runs), max(float(one.ends.max()) for one in runs)
    times = np.exp(np.linspace(np.log(first), np.log(last), TIMES))
    at = int(np.searchsorted(np.exp(np.linspace(np.log(LEAST_SHARE), 0.0, SHARES)), SHARE))
    time = np.exp(np.linspace(np.log(longest * LEAST_SHARE), np.log(longest), SHARES))[at]
    before = int(np.searchsorted(times, time)) - 1
    return np.array([_read(one, times, rule)[before] if before >= 0 else math.nan for one in runs])


def _read(one: Run, times: Floats, rule: Rule) -> Floats:
    ends, values = one.ends, one.values  # noqa: PD011 - of a run
    if not rule.recommended:
        return (looking_ahead if rule.ahead else best_at)(ends, values, times)
    fidelities = one.trace["fidelity"].to_numpy(dtype=float)
    rows = incumbents(values, fidelities, "recommended", float(np.nanmax(np.append(fidelities, -math.inf))))
    if rule.ahead:
        times = ends[np.minimum(np.searchsorted(ends, times, side="left"), len(ends) - 1)]
    return last_at(ends[rows], one.trace[FULL_VALUE].to_numpy()[rows], times)


def by_the_simulator(of_tasks: Sequence[Sequence[Sequence[Run]]], directory: Path | None) -> Floats | None:
    """Return the average ranks that the authors' own function gives, shape (k,); None where it is not installed."""
    try:
        from benchmark_simulator.utils import get_average_rank
    except ImportError:
        return None
    with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=directory) as temporary:
        write = partial(_write, Path(temporary))
        paths = [[[write(one) for one in runs] for runs in of_task] for of_task in of_tasks]
        ranks, shares = get_average_rank(all_path_list=paths)
    return np.asarray(ranks[:, int(np.searchsorted(shares, SHARE))], dtype=np.float64)


def _write(folder: Path, one: Run) -> str:
    path = folder / f"{one.benchmark}-{one.n_workers}-{one.optimizer}-{one.seed}"
    path.mkdir()
    columns = {"cumtime": "end", "loss": "value", "worker_index": "worker"}
    data = {name: one.trace[column].tolist() for name, column in columns.items()}
    (path / "results.json").write_text(json.dumps(data), encoding="utf-8")
    return str(path)
