"""What the clock of LCBench's surrogate does to a ranking, and what the real table says of it.

The study `clocks` runs the same optimizers on the same tasks by the surrogate's clock and by the linear one, for the
same simulated time, and on one task on the real table. docs/benchmarks/clocks.md says in words what came out.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.effects import experiment as effects
from zerowait.experiments.verification.effects.reruns import different
from zerowait.experiments.verification.effects.traces import EARLIEST, FRACTIONS, Reading, losses_at
from zerowait.experiments.verification.outcome import Gate, Outcome, draw_figure
from zerowait.plots.drawing.panels import Canvas
from zerowait.plots.drawing.style import styles
from zerowait.plots.studies.blocks import Blocks, blocks, listed
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import Study
from zerowait.suite.records import store
from zerowait.suite.rules.errors import SpecificationError

SURROGATE, LINEAR, REAL = "surrogate", "linear", "real"
COMPARED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "linear to surrogate clock": (LINEAR, SURROGATE),
        "real to surrogate": (REAL, SURROGATE),
        "real to surrogate, linear clock": (REAL, LINEAR),
    }
)
"""What is exchanged for what; all but the first on the tasks that were run on the real table."""
FULL_ALONE = ("random", "optuna-tpe")
"""Adapters that evaluate at the full fidelity alone, where both clocks are the same."""
STUDY = Path("runs") / "clocks"
STEM = "clocks-optimizers"
TINY: Mapping[str, Any] = MappingProxyType(
    {
        "name": "clocks-in-short", "workers": [2], "seeds": 2, "overhead": "none", "mode": "ask_tell",
        "continual": True, "budget": {"full_trainings": 3},
        "optimizers": [{"name": "random"}, {"name": "hyperband"}],
        "benchmarks": [
            {"name": "lcbench", "tasks": ["167184"]},
            {"name": "lcbench", "tasks": ["167184"], "parameters": {"clock": LINEAR}},
        ],
    }
)  # fmt: skip
"""The study of the quick version."""


def run(request: Request) -> Outcome:
    """Compare the clocks on the study that was asked for; by default that of `zerowait run clocks`, or a tiny one."""
    if request.study is None and request.quick:
        from zerowait.benchmarks.data.sources import data_set

        reason = data_set("lcbench").missing_reason()
        if reason is not None:
            return Outcome("clocks", pd.DataFrame(), [], [f"left out: {reason}"])
        with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=request.directory) as temporary:
            request.tell("a tiny study is run first; name one with --study")
            return verify(effects.made(TINY, Path(temporary) / "short"), request)
    folder = STUDY if request.study is None else request.study
    if not folder.is_dir():
        raise SpecificationError(f"there is no study in {folder}; run it: zerowait run clocks --output {folder}")
    return verify(folder, request)


def verify(folder: Path, request: Request) -> Outcome:
    """Compare the clocks on the study in a folder."""
    cells = store.load_cells(folder)
    names = clocks_of(cells)
    study = load_study(folder, columns=("end", "value", "fidelity")).judged("recommended")
    request.tell(f"{len(study)} runs of {folder.name} are read")
    found = [
        effects.compared(reading)
        for group in blocks(study)
        for fraction in (EARLIEST, *FRACTIONS)
        for reading in readings(study, group, fraction, names)
    ]
    if not found:
        raise SpecificationError(f"{folder} has no task of lcbench by both clocks; run one: zerowait run clocks")
    found.sort(key=lambda one: (list(COMPARED).index(one.reading.effect), one.reading.budget, one.reading.n_workers))
    optimizers = pd.DataFrame([row for one in found for row in effects.optimizers_of(one)])
    optimizers = optimizers.drop(columns=["regret_right", "regret_wrong"])
    optimizers["tasks"] = [len(one.reading.benchmarks) for one in found for _ in one.reading.optimizers]
    over_tasks = [one.replicates["benchmarks"].interval("each") for one in found]
    for column, side in (("lower_tasks", 0), ("upper_tasks", 1)):
        bound = np.concatenate([np.atleast_1d(interval[side]) for interval in over_tasks])
        optimizers[column] = np.where(optimizers["tasks"] > 1, bound, math.nan)
    table = pd.DataFrame([effects.row_of(one) for one in found]).drop(columns="regret_change")
    details = {"optimizers": optimizers, "evaluations": evaluations(cells, names), "runs": losses(study, names)}
    tasks = sorted({task for clock, task in names.values() if clock == LINEAR})
    real = sorted({task for clock, task in names.values() if clock == REAL})
    notes = [
        f"{len(study)} runs on {len(tasks)} tasks ({listed(tasks)}); on the real table {listed(real) or 'none'}",
        "a result is a recommendation; change counts in average ranks, and lower to upper is a 95 % bootstrap "  # noqa: ISC004
        "interval over seeds, lower_tasks to upper_tasks one over tasks",
    ]
    alone, unlike = full_alone(folder, names)
    gates = [
        Gate(f"runs at the full fidelity alone that differ between the clocks, of {alone}", unlike, "==", 0),
        effects.ranks_gate(found),
    ]
    return Outcome("clocks", table, gates, notes, details, partial(_draw, optimizers))


def clocks_of(cells: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return whose seconds a benchmark has, and its task, by its label; other benchmarks are left out."""
    found = {}
    for row in cells.drop_duplicates("benchmark").itertuples(index=False):
        specification = json.loads(str(row.specification))
        if row.family == "lcbench":
            clock = specification["benchmark_parameters"].get("clock", SURROGATE)
        elif row.family == "lcbench_raw":
            clock = REAL
        else:
            continue
        found[str(row.benchmark)] = (clock, str(specification["task"]))
    return found


def readings(study: Study, group: Blocks, fraction: float, names: Mapping[str, tuple[str, str]]) -> list[Reading]:
    """Return the readings of one number of workers at a share of the time, of what the study has."""
    by_name = dict(zip(group.benchmarks, losses_at(study, group, fraction), strict=True))
    by_clock: dict[str, dict[str, str]] = {SURROGATE: {}, LINEAR: {}, REAL: {}}
    for name in by_name:
        if name in names:
            clock, task = names[name]
            by_clock[clock][task] = name
    found = []
    for effect, (right, wrong) in COMPARED.items():
        tasks = sorted(by_clock[right].keys() & by_clock[wrong].keys())
        if not tasks:
            continue
        pairs = [(by_name[by_clock[right][task]], by_name[by_clock[wrong][task]]) for task in tasks]
        fewest = [min(map(len, pair)) for pair in pairs]  # while a study runs, one may have more seeds
        first, second = (tuple(pair[side][:n] for pair, n in zip(pairs, fewest, strict=True)) for side in (0, 1))
        nothing = np.full(len(group.optimizers), math.nan)  # regret has another scale on either side
        found.append(
            Reading(effect, group.n_workers, fraction, tuple(tasks), group.optimizers, first, second, nothing, nothing)
        )
    return found


def evaluations(cells: pd.DataFrame, names: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return how many evaluations an optimizer has on average in the same time, by clock and on which tasks."""
    of = cells[cells["benchmark"].isin(list(names))].assign(
        clock=lambda rows: [names[name][0] for name in rows["benchmark"]],
        on=lambda rows: [names[name][1] for name in rows["benchmark"]],
    )
    real = set(of.loc[of["clock"] == REAL, "on"])
    parts = [of[of["clock"] != REAL].assign(tasks="all"), of[of["on"].isin(real)].assign(tasks=listed(sorted(real)))]
    found = pd.concat(parts).pivot_table(
        index=["tasks", "n_workers", "optimizer"], columns="clock", values="evaluations", aggfunc="mean"
    )
    found["surrogate_over_linear"] = found[SURROGATE] / found[LINEAR]
    return found.reset_index()


def losses(study: Study, names: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return the loss of each run at each share of the time: what the ranks are made of."""
    parts = []
    for group in blocks(study):
        for fraction in (EARLIEST, *FRACTIONS):
            for name, values, runs in zip(group.benchmarks, losses_at(study, group, fraction), group.runs, strict=True):
                if name not in names:
                    continue
                clock, task = names[name]
                of = study.cells.iloc[runs.ravel()][["n_workers", "optimizer", "seed"]]
                parts.append(of.assign(clock=clock, task=task, budget=fraction, loss=values.ravel()))
    return pd.concat(parts, ignore_index=True)


def full_alone(folder: Path, names: Mapping[str, tuple[str, str]]) -> tuple[int, int]:
    """Return how many runs by the linear clock evaluate at the full fidelity alone, and how many of them differ.

    They must be those by the surrogate's clock, to the last bit: at the full fidelity the clocks are the same.
    """
    study = load_study(folder, columns=("end", "value"))
    runs: dict[str, dict[tuple[Any, ...], Run]] = {SURROGATE: {}, LINEAR: {}, REAL: {}}
    for one in study.runs():
        if one.optimizer in FULL_ALONE and one.benchmark in names:
            clock, task = names[one.benchmark]
            runs[clock][one.optimizer, task, one.n_workers, one.seed] = one
    keys = sorted(runs[LINEAR].keys() & runs[SURROGATE].keys())
    return len(keys), different([runs[LINEAR][key] for key in keys], [runs[SURROGATE][key] for key in keys])


def _draw(optimizers: pd.DataFrame, folder: Path) -> Sequence[Path]:
    files = draw_figure(partial(draw, optimizers), styles(optimizers["optimizer"].unique()), folder / STEM, optimizers)
    return [files.pdf, files.png]


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw the change of each optimizer's rank: a row what is exchanged and P, a column a share of the time.

    Thick bars are intervals over seeds, thin ones over tasks, where there are several.
    """
    rows = list(dict.fromkeys(zip(table["effect"], table["n_workers"], strict=True)))
    shares = sorted(table["budget"].unique())
    names = sorted(table["optimizer"].unique(), reverse=True)
    panels = canvas.panels(len(rows), len(shares), names, heights=[0.8] * len(rows), sharex="row", sharey=True)
    for line, (effect, n_workers) in enumerate(rows):
        for column, share in enumerate(shares):
            panel = panels[line, column]
            chosen = (table["effect"] == effect) & (table["n_workers"] == n_workers) & (table["budget"] == share)
            for row in table[chosen].to_dict("records"):
                colour, at = canvas.styles[row["optimizer"]].colour, names.index(row["optimizer"])
                panel.plot([row["lower_tasks"], row["upper_tasks"]], [at, at], color=colour, linewidth=1)
                panel.plot([row["lower"], row["upper"]], [at, at], color=colour, linewidth=3, alpha=0.5)
                panel.plot([row["change"]], [at], color=colour, marker="o", markersize=5)
            panel.axvline(0.0, color="black", linewidth=0.8, zorder=0)
            panel.set_yticks(range(len(names)), names)
            panel.set_title(f"{share:.0%} of the time" if line == 0 else "")
        panels[line, 1].set_xlabel(f"change of rank, {effect}")
    return panels
