"""Mistakes that need other runs: told in the order of asking, repeated seeds, and the paper's unequal budgets.

Every one is run twice, right and wrong, by the adapters of the study and in the same way, without overhead. Only
optimizers that choose in milliseconds take part (`QUICK_TO_CHOOSE`).

order of asking
    A benchmark that answers at once, in a pool or a loop without a simulator: results come back in the order in which
    they were asked for. Here all runtimes are the same while the optimizer runs (each a little longer than the one
    before it, so that no two results tie), and the true ones are packed onto the workers afterwards.
repeated seeds
    mfhpo-simulator 1.4.6 (benchmark_simulator/_simulator/_worker.py, `_init_wrapper`) gives every worker a generator
    of its own with the same seed, so the n-th evaluation of one worker has the noise of the n-th of every other, and
    so have all optimizers with the same seed. Here evaluation k has the seed number k // P of one stream: the
    same as there while workers take turns.
paper's budgets
    Those of the paper's experiments (github.com/nabenabe0928/mfhpo-simulator-experiments, src/utils.py,
    `N_EVALS_DICT`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from zerowait import adapters, benchmarks
from zerowait.benchmarks import Benchmark
from zerowait.benchmarks.protocol import Wrapped
from zerowait.experiments.grid.engines import cores
from zerowait.experiments.verification.schedules import Case, expected
from zerowait.plots.statistics.arithmetic import Floats
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import Study, study_of_runs
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.evaluation import Config, Evaluation, as_evaluation
from zerowait.suite.rules.identity import canonical_json
from zerowait.suite.rules.overhead import Overhead

ORDER_OF_ASKING, REPEATED_SEEDS, PAPERS_BUDGETS = "order of asking", "repeated seeds", "paper's budgets"
QUICK_TO_CHOOSE = ("random", "optuna-tpe", "optuna-cmaes", "hyperband", "dehb")
"""Adapters; the others of the reference study need up to half a minute for a run of 100 evaluations."""
PAPERS_EVALUATIONS: Mapping[str, int] = MappingProxyType(
    {"random": 2000, "optuna-tpe": 200, "hyperband": 4500, "dehb": 450}
)
"""Budgets of the paper by adapter, of those in `QUICK_TO_CHOOSE`."""
ANALYTIC = ("branin", "hartmann3", "hartmann6")
TRUE_RUNTIME = "true_runtime"
"""Metric of an evaluation whose runtime is not its own."""
DEFAULTS_OF_0_1: Mapping[str, Mapping[str, Any]] = MappingProxyType({"lcbench": {"fidelity_range": [6, 52]}})
"""Parameters of benchmarks that results of 0.1 have without saying so, because the default was another one then."""
STEP = 2.0**-20
"""Relative: by so much each evaluation is longer than the one before it. Exact in binary."""


class AnswersAtOnce(Wrapped):
    """A benchmark whose results come back in the order in which they were asked for; made anew for every run."""

    def __init__(self, benchmark: Benchmark) -> None:
        super().__init__(benchmark)
        self._asked = 0

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate as the benchmark does; its runtime is a metric."""
        evaluation = as_evaluation(self.benchmark(config, fidelity=fidelity, seed=seed), config)
        self._asked += 1
        metrics = {**evaluation.metrics, TRUE_RUNTIME: evaluation.runtime}
        return Evaluation(evaluation.value, 1.0 + self._asked * STEP, metrics)


class RepeatedSeeds(Wrapped):
    """A benchmark that P workers evaluate with the same seeds, one after the other; made anew for every run.

    Parameters
    ----------
    benchmark
        Evaluates.
    run_seed
        Of the stream, whoever optimizes.
    n_workers
        How many evaluations have the same seed.
    """

    def __init__(self, benchmark: Benchmark, run_seed: int, n_workers: int) -> None:
        super().__init__(benchmark)
        self._stream = np.random.default_rng(np.random.SeedSequence(run_seed))
        self._n_workers = n_workers
        self._drawn: list[int] = []
        self._of_configuration: dict[str, int] = {}

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate with the stream's seed, which a configuration keeps at its other fidelities."""
        del seed
        known = self._of_configuration
        key = canonical_json(dict(config))
        if key not in known:
            turn = len(known) // self._n_workers
            while len(self._drawn) <= turn:
                self._drawn.append(int(self._stream.integers(2**30)))
            known[key] = self._drawn[turn]
        return as_evaluation(self.benchmark(config, fidelity=fidelity, seed=known[key]), config)


@dataclass(frozen=True)
class Task:
    """A run that is made for the comparison."""

    adapter: str
    label: str
    """Of the optimizer."""
    family: str
    task: str | None
    n_workers: int
    seed: int
    evaluations: int
    mistake: str = ""
    """Empty: none."""
    continued: bool = False
    """Whether the study's run continued trainings, which this one begins anew, so that it is another run."""
    optimizer_parameters: Mapping[str, Any] = field(default_factory=dict)
    benchmark_parameters: Mapping[str, Any] = field(default_factory=dict)


def execute(task: Task) -> Run:
    """Make a run and return it; no training is continued."""
    benchmark: Any = benchmarks.load(task.family, task=task.task, **task.benchmark_parameters)
    evaluated = benchmark
    if task.mistake == ORDER_OF_ASKING:
        evaluated = AnswersAtOnce(benchmark)
    elif task.mistake == REPEATED_SEEDS:
        evaluated = RepeatedSeeds(benchmark, task.seed, task.n_workers)
    trace = adapters.load(task.adapter, **task.optimizer_parameters).optimize(
        evaluated, n_workers=task.n_workers, seed=task.seed, budget=Budget(task.evaluations, None),
        overhead=Overhead.none(), mode="ask_tell", continual=False,
    )  # fmt: skip
    if task.mistake == ORDER_OF_ASKING:
        trace = packed(trace, task.n_workers)
    return Run(task.label, benchmark.label, task.n_workers, task.seed, benchmark.optimum, trace)


def packed(trace: pd.DataFrame, n_workers: int) -> pd.DataFrame:
    """Return the evaluations of a trace, in its order, on workers that take the next one whenever they are free.

    The runtimes are those of the metric `true_runtime`; rows come in the order of their new ends.
    """
    case = Case(tuple(trace[f"metric.{TRUE_RUNTIME}"].tolist()), workers=n_workers)
    return trace.assign(end=list(expected(case).end)).sort_values("end", kind="stable", ignore_index=True)


def in_this_process(tasks: Sequence[Task]) -> list[Run]:
    """Make runs one after the other."""
    return [execute(task) for task in tasks]


def in_processes(tasks: Sequence[Task]) -> list[Run]:
    """Make runs on all cores, and return them in the order of the tasks."""
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(execute, tasks, chunksize=4))


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run anew."""

    study_seeds: int
    """Seeds of the study's cells that are told in the order of asking."""
    tasks: int
    """Of each family of benchmarks, for the same."""
    noisy_seeds: int
    """Of the runs with repeated seeds."""
    analytic: tuple[str, ...]
    """Functions for the runs with repeated seeds and for those with the paper's budgets."""
    budget_seeds: int
    """Of the runs with the paper's budgets."""
    evaluations: Mapping[str, int]
    """Budgets by adapter, in the paper's proportions."""


FULL = Scope(5, 2, 10, ANALYTIC, 3, PAPERS_EVALUATIONS)
QUICK = Scope(1, 1, 2, ANALYTIC[:1], 1, {name: number // 20 for name, number in PAPERS_EVALUATIONS.items()})


def of_the_study(cells: pd.DataFrame, scope: Scope) -> list[Task]:
    """Return the runs of a study that are made again: those of some tasks, all numbers of workers and some seeds.

    Those that were asked and told without overhead, with a number of evaluations. None continues trainings: what is
    left to pay for depends on what is known, so runtimes that are packed onto workers afterwards would not be those.

    Parameters
    ----------
    cells
        What `zerowait.suite.records.store.load_cells` returns.
    scope
        How many.
    """
    plain = [_is_plain(json.loads(text)) for text in cells["specification"]]
    quick = cells[cells["adapter"].isin(QUICK_TO_CHOOSE) & np.array(plain)]
    seeds = sorted(quick["run_seed"].unique())[: scope.study_seeds]
    everybody = set(quick["optimizer"])
    complete = [
        (family, benchmark)
        for (family, benchmark), rows in quick.groupby(["family", "benchmark"], sort=True)
        if set(rows["optimizer"]) == everybody
    ]
    chosen = [
        benchmark
        for _, group in itertools.groupby(complete, key=lambda pair: pair[0])
        for _, benchmark in itertools.islice(group, scope.tasks)
    ]
    kept = quick[quick["benchmark"].isin(chosen) & quick["run_seed"].isin(seeds)]
    return [_task(row) for row in kept.itertuples(index=False)]


def _is_plain(specification: Mapping[str, Any]) -> bool:
    return (
        specification["mode"] == "ask_tell"
        and specification["overhead"]["name"] == Overhead.none().name
        and Budget.from_json(specification).max_time is None
    )


def _task(row: Any) -> Task:
    specification = json.loads(row.specification)
    old = specification.get("versions", {}).get("zerowait", "").startswith("0.1.")
    defaults = DEFAULTS_OF_0_1.get(row.family, {}) if old else {}
    return Task(
        adapter=row.adapter, label=row.optimizer, family=row.family, task=specification["task"],
        n_workers=int(row.n_workers), seed=int(row.run_seed), evaluations=int(row.max_evaluations),
        optimizer_parameters=specification["optimizer_parameters"],
        benchmark_parameters={**defaults, **specification["benchmark_parameters"]},
        continued=bool(specification.get("continual")),
    )  # fmt: skip


def noisy(workers: Sequence[int], evaluations: int, scope: Scope) -> list[Task]:
    """Return runs on the analytic functions with noise, with these numbers of workers."""
    return [
        Task(name, name, function, None, n, seed, evaluations, benchmark_parameters={"noise": True})
        for function in scope.analytic
        for n in workers
        for name in QUICK_TO_CHOOSE
        for seed in range(scope.noisy_seeds)
    ]


def with_papers_budgets(workers: Sequence[int], scope: Scope) -> list[Task]:
    """Return runs on the analytic functions with budgets in the paper's proportions."""
    return [
        Task(name, name, function, None, n, seed, evaluations)
        for function in scope.analytic
        for n in workers
        for name, evaluations in scope.evaluations.items()
        for seed in range(scope.budget_seeds)
    ]


def wrongly(tasks: Sequence[Task], mistake: str) -> list[Task]:
    """Return the same runs with a mistake."""
    return [replace(task, mistake=mistake) for task in tasks]


def study_of(runs: Sequence[Run]) -> Study:
    """Return the runs as a study."""
    return study_of_runs(runs, columns=("end", "value"))


def different(runs: Sequence[Run], others: Sequence[Run]) -> int:
    """Return how many runs do not have the very times and values of the other ones, in the same order."""
    return sum(not _same(one.ends, one.values, other) for one, other in zip(runs, others, strict=True))


def _same(ends: Floats, values: Floats, run: Run) -> bool:
    return np.array_equal(ends, run.ends) and np.array_equal(values, run.values, equal_nan=True)


def unlike_the_study(study: Study, runs: Sequence[Run]) -> int:
    """Return how many runs do not have the very times and values of the study's runs of the same name."""
    names = study.cells[["benchmark", "n_workers", "optimizer", "seed"]].itertuples(index=False)
    rows = {tuple(name): study.rows(number) for number, name in enumerate(names)}
    pairs = [(rows[run.benchmark, run.n_workers, run.optimizer, run.seed], run) for run in runs]
    return sum(not _same(study.ends[of], study.losses[of], run) for of, run in pairs)
