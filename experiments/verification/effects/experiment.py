"""What simulators usually get wrong, and how much a study's ranking changes with it; docs/effects.md says it in words.

Every mistake is compared with the right way on the same runs (`effects_traces`), or on runs that are made for it
(`effects_reruns`). What chance alone does stands beside it: how two draws of the seeds differ.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.studies.study import Study as Specification
from zerowait.experiments.verification import Request
from zerowait.experiments.verification.effects import page as effects_page
from zerowait.experiments.verification.effects import ranks as effects_ranks
from zerowait.experiments.verification.effects import reruns as effects_reruns
from zerowait.experiments.verification.effects import traces as effects_traces
from zerowait.experiments.verification.effects.ranks import Changes
from zerowait.experiments.verification.effects.traces import Reading
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.plots.statistics.arithmetic import Floats, generator
from zerowait.plots.studies.blocks import blocks, listed
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.study import Study
from zerowait.suite.records import store
from zerowait.suite.rules.errors import SpecificationError

REFERENCE = Path("results") / "reference"
"""The study of the full version."""
REPETITIONS = (1, 3, 10, 30)
"""Sizes of studies whose draws of seeds are compared."""
ROUNDING = 1e-8
"""Of a sum of average ranks; each is rounded to nine digits."""
TINY = {
    "name": "tiny", "workers": [1, 4], "seeds": 2, "overhead": "none", "mode": "ask_tell",
    "budget": {"max_evaluations": 30},
    "optimizers": [{"name": name} for name in ("random", "optuna-tpe", "hyperband", "dehb")],
    "benchmarks": [{"name": "branin"}, {"name": "hartmann3"}],
}  # fmt: skip
"""The study of the quick version, which runs it first."""


def run(request: Request) -> Outcome:
    """Compare on the study that was asked for; by default on the reference results, or quickly on a tiny study."""
    if request.page is not None:
        effects_page.check(request.page)  # now, and not after minutes of computing
    if request.study is None and request.quick:
        with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=request.directory) as temporary:
            request.tell("a tiny study is run first; name one with --study, or take the reference results with --full")
            return verify(made(TINY, Path(temporary) / "tiny study"), effects_reruns.QUICK, request)
    folder = REFERENCE if request.study is None else request.study
    if not folder.is_dir():
        raise SpecificationError(
            f"there is no study in {folder}; name the output folder of one with --study, or run the reference study: "
            f"zerowait run reference --output {folder}"
        )
    return verify(folder, effects_reruns.QUICK if request.quick else effects_reruns.FULL, request)


def made(specification: Mapping[str, Any], folder: Path) -> Path:
    """Run a small study in this process and return its folder."""
    study = Specification.model_validate(dict(specification))
    summary = run_grid(
        study.name, make_plan(study, f"the study {study.name}").cells, StudyFolder(folder.absolute()), InProcess()
    )
    if summary.failed:
        raise SpecificationError(f"a run of the study {study.name} failed: {summary.failed[0].error}")
    return folder


@dataclass(frozen=True, eq=False)
class Compared:
    """A reading with what became of the ranking."""

    reading: Reading
    changes: Changes
    """Of the study as it is; of an effect that is drawn, the study beside each draw."""
    replicates: Mapping[str, Changes]
    """By what is drawn anew: `seeds`, `benchmarks`; empty for an effect that is drawn itself."""
    chance: Changes
    """One draw of the seeds beside another."""

    @property
    def is_drawn(self) -> bool:
        """Whether the changes are draws and not one study."""
        return self.changes.wrong.ndim > 1


def compared(reading: Reading) -> Compared:
    """Return what a mistake does to the ranking, with both bootstraps and what chance does."""
    names = ("effects", reading.effect, reading.n_workers, reading.budget)
    right, wrong = reading.right, reading.wrong
    return Compared(
        reading,
        effects_ranks.changes(right, wrong),
        {
            "seeds": effects_ranks.replicates_over_seeds(right, wrong, generator(*names, "seeds")),
            "benchmarks": effects_ranks.replicates_over_benchmarks(right, wrong, generator(*names, "benchmarks")),
        },
        effects_ranks.between_draws(right, generator(*names, "chance")),
    )


def drawn(final: Reading) -> list[Compared]:
    """Return what unseeded optimizers do, and what other pairs of the same runs do, at the end of the budget."""
    chance = effects_ranks.between_draws(final.right, generator("effects", "unseeded", final.n_workers))
    repaired = effects_ranks.repaired(final.right, generator("effects", "unpaired", final.n_workers))
    study = np.broadcast_to(effects_ranks.mean_ranks(final.right), repaired.shape)
    return [
        Compared(replace(final, effect=effects_traces.UNSEEDED), chance, {}, chance),
        Compared(replace(final, effect=effects_traces.UNPAIRED), Changes(study, repaired), {}, chance),
    ]


def verify(folder: Path, scope: effects_reruns.Scope, request: Request) -> Outcome:
    """Compare right and wrong on the study in a folder."""
    judged = load_study(folder, columns=("end", "value", "fidelity"))
    # The other mistakes change one thing: on both sides a result is the least value, as in the reference paper.
    study = judged.judged("any")
    cells = store.load_cells(folder)
    finals = effects_traces.finals(study)
    request.tell(f"{len(study)} runs of {folder.name} are read right and wrong")
    known = judged.judged().rule[0] == "recommended"
    found = [compared(reading) for reading in (effects_traces.unfinished(judged) if known else [])]
    found += [compared(reading) for reading in effects_traces.readings(study)]
    made, gates = _rerun(study, cells, scope, request)
    found += [compared(reading) for reading in made]
    found += [one for final in finals for one in drawn(final)]
    effects = list(dict.fromkeys(one.reading.effect for one in found))
    found.sort(key=lambda one: (effects.index(one.reading.effect), one.reading.budget, one.reading.n_workers))
    details = {
        "intervals": pd.DataFrame([row for one in found for row in _intervals(one)]),
        "optimizers": pd.DataFrame([row for one in found for row in optimizers_of(one)]),
        "draws": pd.DataFrame([row for final in finals for row in _draws(final)]),
        "shared": _shared(folder),
    }
    if known:
        details["rules"] = pd.DataFrame(effects_traces.ranks_by_rule(judged))
    notes = _notes(study, finals, folder, scope)
    if all(reading.effect != effects_reruns.ORDER_OF_ASKING for reading in made):
        notes.append(
            f"{effects_reruns.ORDER_OF_ASKING} is left out: the study has no benchmark on which all its optimizers "
            "that choose in milliseconds were asked and told without overhead"
        )
    if not known:
        notes.append(
            f"{effects_traces.UNFINISHED} is left out: the traces do not hold full.value; zerowait complete adds it"
        )
    gates = [*_gates(study, found, finals), *gates]
    outcome = Outcome("effects", pd.DataFrame([row_of(one) for one in found]), gates, notes, details)
    return replace(outcome, more=partial(effects_page.write, outcome, request.page))


def _rerun(
    study: Study, cells: pd.DataFrame, scope: effects_reruns.Scope, request: Request
) -> tuple[list[Reading], list[Gate]]:
    """Return the readings of the mistakes that need other runs, and their gates."""
    make = effects_reruns.in_this_process if request.quick else effects_reruns.in_processes
    again = effects_reruns.of_the_study(cells, scope)
    workers = sorted(int(n) for n in study.cells["n_workers"].unique())
    parallel = [n for n in workers if n > 1] or workers
    evaluations = max((task.evaluations for task in again), default=100)
    noisy = effects_reruns.noisy(parallel, evaluations, scope)
    without_noise = [
        replace(task, benchmark_parameters={}) for task in noisy if task.seed == 0 and task.adapter == "random"
    ]
    budgets = effects_reruns.with_papers_budgets(sorted({workers[0], workers[-1]}), scope)
    asked, repeated = effects_reruns.ORDER_OF_ASKING, effects_reruns.REPEATED_SEEDS
    lists = [
        again, effects_reruns.wrongly(again, asked), noisy, effects_reruns.wrongly(noisy, repeated), without_noise,
        effects_reruns.wrongly(without_noise, repeated), budgets,
    ]  # fmt: skip
    request.tell(f"{sum(map(len, lists))} runs are made right and wrong")
    runs = iter(make([task for tasks in lists for task in tasks]))
    right, in_order, own, shared, plain, plain_shared, papers = ([next(runs) for _ in tasks] for tasks in lists)
    readings: list[Reading] = []
    gates: list[Gate] = []
    if again:
        true, wrong = effects_reruns.study_of(right), effects_reruns.study_of(in_order)
        for fraction in effects_traces.FRACTIONS:
            readings += effects_traces.beside(asked, true, wrong, fraction)
        alone = [n for n, task in enumerate(again) if task.n_workers == 1]
        same = [run for run, task in zip(right, again, strict=True) if not task.continued]
        if same:
            gates.append(
                Gate(f"the study's runs that are not the same when made again, of {len(same)}",
                     effects_reruns.unlike_the_study(study, same), "==", 0)
            )  # fmt: skip
        gates += [
            Gate(f"order of asking, one worker: runs that it changes, of {len(alone)}",
                 effects_reruns.different([right[n] for n in alone], [in_order[n] for n in alone]), "==", 0),
        ]  # fmt: skip
    readings += effects_traces.beside(repeated, effects_reruns.study_of(own), effects_reruns.study_of(shared), 1.0)
    gates += [
        Gate(f"repeated seeds: runs that they change without noise, of {len(plain)}",
             effects_reruns.different(plain, plain_shared), "==", 0),
        Gate(f"repeated seeds: runs that they change with noise, of {len(noisy)}",
             effects_reruns.different(own, shared), "==", len(noisy)),
    ]  # fmt: skip
    paid = effects_reruns.study_of(papers)
    for group in blocks(paid):
        name, end = effects_reruns.PAPERS_BUDGETS, effects_traces.at_its_own_end
        readings.append(effects_traces.reading(name, paid, group, 1.0, end))
    return readings, gates


def _gates(study: Study, found: Sequence[Compared], finals: Sequence[Reading]) -> list[Gate]:
    future, ahead = effects_traces.deliveries_from_the_future, effects_traces.looking_ahead
    identical = [compared(final) for final in finals]
    every = [change for one in identical for change in (one.changes, *one.replicates.values())]
    return [
        Gate("right step function: times at which it is not the best of what was delivered by then",
             future(study, effects_traces.right), "==", 0),
        Gate("look-ahead: times at which the same check finds it wrong", future(study, ahead), ">=", 1),
        Gate("look-ahead: times between deliveries at which it is worse than what was delivered by then",
             effects_traces.worse_than_known(study, ahead), "==", 0),
        Gate("identical data: sum of all changes, flips and missing agreement",
             float(sum(np.sum(c.flips) + np.sum(np.abs(c.each)) + np.sum(1 - c.tau) for c in every)), "==", 0),
        ranks_gate(found),
    ]  # fmt: skip


def ranks_gate(found: Sequence[Compared]) -> Gate:
    """Return the gate on what average ranks of all optimizers sum to."""
    ranks = [side for one in found for side in (one.changes.right, one.changes.wrong)]
    error = max(float(np.abs(r.sum(axis=-1) - r.shape[-1] * (r.shape[-1] + 1) / 2).max()) for r in ranks)
    return Gate("ranks: largest error of their sum k (k + 1) / 2", error, "<=", ROUNDING)


# -- tables -----------------------------------------------------------------------------------------------------------


def row_of(one: Compared) -> dict[str, Any]:
    """Return what an effect does to the ranking as a row of the table."""
    reading, over = one.reading, one.changes if one.is_drawn else one.replicates["seeds"]
    low, high = over.interval("largest")
    each = np.abs(one.changes.each)
    each = each.mean(axis=0) if one.is_drawn else each
    known = ~np.isnan(reading.regret_right) & ~np.isnan(reading.regret_wrong)
    regret = (reading.regret_wrong - reading.regret_right)[known]
    repeated = min(map(len, reading.right)) > 1  # one seed says nothing of chance
    as_much = float((one.chance.largest >= np.mean(one.changes.largest)).mean())  # share of the draws
    return {
        "effect": reading.effect,
        "n_workers": reading.n_workers,
        "budget": reading.budget,
        "benchmarks": len(reading.benchmarks),
        "seeds": min(map(len, reading.right)),
        "tau": _mean(one.changes.tau),
        "flips": float(np.mean(one.changes.flips)),
        "pairs": one.changes.pairs,
        "largest_change": float(np.mean(one.changes.largest)),
        "lower": float(low),
        "upper": float(high),
        "of": reading.optimizers[int(np.argmax(each))] if each.max() > 0 else "-",
        "regret_change": math.nan if one.is_drawn or not len(regret) else float(regret.mean()),
        "chance_change": float(one.chance.largest.mean()) if repeated else math.nan,
        "chance_flips": float(one.chance.flips.mean()) if repeated else math.nan,
        "as_much_by_chance": as_much if repeated and not one.is_drawn else math.nan,
    }


def _mean(values: Floats) -> float:
    """Return the mean of what is a number."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _intervals(one: Compared) -> list[dict[str, Any]]:
    drawn_anew = {"runs": one.changes} if one.is_drawn else one.replicates
    rows = []
    for what, over in drawn_anew.items():
        row: dict[str, Any] = {
            "effect": one.reading.effect, "n_workers": one.reading.n_workers, "budget": one.reading.budget,
            "drawn_anew": what,
        }  # fmt: skip
        for quantity in ("tau", "flips", "largest"):
            low, high = over.interval(quantity)
            row |= {
                quantity: _mean(getattr(one.changes, quantity)),
                f"{quantity}_lower": float(low), f"{quantity}_upper": float(high),
            }  # fmt: skip
        rows.append(row)
    return rows


def optimizers_of(one: Compared) -> list[dict[str, Any]]:
    """Return what an effect does to each optimizer, with the interval over seeds."""
    reading, over = one.reading, one.changes if one.is_drawn else one.replicates["seeds"]
    low, high = over.interval("each")
    right, wrong = (np.atleast_2d(side).mean(axis=0) for side in (one.changes.right, one.changes.wrong))
    return [
        {
            "effect": reading.effect, "n_workers": reading.n_workers, "budget": reading.budget, "optimizer": name,
            "rank_right": right[k], "rank_wrong": wrong[k], "change": wrong[k] - right[k], "lower": float(low[k]),
            "upper": float(high[k]), "regret_right": reading.regret_right[k], "regret_wrong": reading.regret_wrong[k],
        }
        for k, name in enumerate(reading.optimizers)
    ]  # fmt: skip


def _draws(final: Reading) -> list[dict[str, Any]]:
    rows = []
    for repetitions in REPETITIONS:
        random = generator("effects", "draws", final.n_workers, repetitions)
        pairs = effects_ranks.between_draws(final.right, random, repetitions)
        rows.append(
            {
                "n_workers": final.n_workers, "repetitions": repetitions, "tau": _mean(pairs.tau),
                "flips": float(pairs.flips.mean()), "pairs": pairs.pairs,
                "largest_change": float(pairs.largest.mean()),
                "another_order": effects_ranks.another_order(pairs),
                "another_winner": effects_ranks.another_winner(pairs),
            }
        )  # fmt: skip
    return rows


def _shared(folder: Path) -> pd.DataFrame:
    """Return which configurations runs of the study have in common; see `effects_traces.shared_configurations`."""
    table = store.load_study(folder, columns=["cell", "config.*"])
    # What another benchmark has is missing; equal configurations of one benchmark are equal in all columns.
    hashed = pd.util.hash_pandas_object(table.drop(columns="cell"), index=False)
    configurations = hashed.groupby(table["cell"].astype(str)).agg(frozenset)
    cells = store.load_cells(folder).rename(columns={"run_seed": "seed"})
    cells = cells[cells["cell"].isin(configurations.index)].reset_index(drop=True)
    return effects_traces.shared_configurations(cells, configurations.loc[cells["cell"]].tolist())


def _and(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _notes(study: Study, finals: Sequence[Reading], folder: Path, scope: effects_reruns.Scope) -> list[str]:
    cells = study.cells
    workers = ", ".join(str(n) for n in sorted(cells["n_workers"].unique()))
    seeds = sorted({len(r) for final in finals for r in final.right})
    used = sorted({len(final.benchmarks) for final in finals})
    first = (
        f"study {folder.name}: {cells['optimizer'].nunique()} optimizers, {cells['benchmark'].nunique()} benchmarks of "
        f"which {' to '.join(map(str, used))} have runs of all, P = {workers}, {' to '.join(map(str, seeds))} seeds"
    )
    again = (
        f"{effects_reruns.ORDER_OF_ASKING}, {effects_reruns.REPEATED_SEEDS} and {effects_reruns.PAPERS_BUDGETS} are "
        f"other runs, of optimizers that choose in milliseconds ({', '.join(effects_reruns.QUICK_TO_CHOOSE)}): some "
        f"tasks and seeds of the study, {_and(scope.analytic)} with noise, and the same without noise with "
        f"{_and(f'{n} ({name})' for name, n in scope.evaluations.items())} evaluations"
    )
    reading = (
        "budget is the share of the common time budget; change counts in average ranks; its interval is a bootstrap "
        "over seeds; chance is what two draws of the seeds differ by, and as much by chance the share of them that "
        "change a rank at least as much"
    )
    left_out = [text for group in blocks(study) for text in group.left_out]
    return [
        first + (f"; left out: {listed(left_out)}" if left_out else ""),
        again,
        reading,
    ]
