"""Made-up runs for tests of figures: many optimizers, many numbers of workers, names of any length."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.records.trace import ATTRIBUTE

COLUMNS = ["worker", "freed", "start", "end", "runtime", "value", "fidelity", "status", "config_id", "overhead"]


def made_up_run(optimizer, benchmark, n_workers, seed, *, number=0, evaluations=12, optimum=0.0):
    """A run in which every worker evaluates without pause, after 1 s of sampling; `number` decides how good it is."""
    random = np.random.default_rng(np.random.SeedSequence((number, len(benchmark), n_workers, seed)))
    free = [(0.0, worker) for worker in range(n_workers)]
    busy_until, rows = 0.0, []
    for place in range(max(evaluations, 2 * n_workers)):
        free.sort()
        freed, worker = free.pop(0)
        start = max(freed, busy_until) + 1.0
        busy_until, end = start, start + random.exponential(200.0) + 5.0
        free.append((end, worker))
        value = random.exponential(1.0 / (1 + place * (1 + number))) + 0.01
        rows.append((worker, freed, start, end, end - start, value, math.nan, "ok", f"c{place}", 1.0))
    trace = pd.DataFrame(rows, columns=COLUMNS).sort_values("end", ignore_index=True)
    trace.attrs[ATTRIBUTE] = {"measured": {"wall_time": 0.5 + 0.1 * seed}}
    return Run(optimizer, benchmark, n_workers, seed, optimum, trace)


def on_clusters(study, deviations=(0.5, 1.0)):
    """The study with each run as well on workers with stragglers, where everything takes longer."""
    runs = list(study.runs())
    for run in list(runs):
        for deviation in deviations:
            times = [name for name in ("freed", "start", "end", "runtime") if name in run.trace]
            trace = run.trace.assign(**{name: run.trace[name] * (1 + deviation) for name in times})
            cluster = {"stragglers": {"half_normal": deviation}}
            trace.attrs[ATTRIBUTE] = {"specification": {"cluster": cluster}}
            runs.append(dataclasses.replace(run, optimizer=f"{run.optimizer} (stragglers {deviation:g})", trace=trace))
    return study_of_runs(runs)


def with_latency(study, objectives=("value", "latency")):
    """The study with a second objective that contradicts the loss, and a third one."""
    runs = []
    for run in study.runs():
        number = np.arange(len(run.trace))
        latency = 0.1 / (0.1 + run.trace["value"]) + (number * 7 % 5) / 50
        trace = run.trace.assign(**{"metric.latency": latency, "metric.speed": number % 4 / 3})
        trace.attrs[ATTRIBUTE] = {"specification": {"objectives": list(objectives)}}
        runs.append(dataclasses.replace(run, trace=trace))
    return study_of_runs(runs)


def study_for(name, study):
    """The study, also on other clusters or with another objective for the figures of these."""
    if name == "degradation":
        return on_clusters(study)
    return with_latency(study) if FIGURES[name].needs_objectives else study


def label(number, letters):
    """A label of so many letters, with all that labels have in them."""
    return f"{number:02d}-optuna_tpe(constant_liar=True, seed=mean)/hyperband eta=3 of ours"[:letters]


def made_up_study(n_optimizers, workers, letters, *, n_benchmarks=2, seeds=2):
    """A study of optimizers and benchmarks with names of so many letters."""
    return study_of_runs(
        [
            made_up_run(label(o, letters), label(b, letters), n, seed, number=o)
            for o in range(n_optimizers)
            for b in range(n_benchmarks)
            for n in workers
            for seed in range(seeds)
        ]
    )
