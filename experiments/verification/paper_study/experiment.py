"""What of the paper's statements the studies that are here bear out: ranks against the number of workers, and overhead.

arXiv 2403.01888 says that the order of optimizers depends on the number of workers, that DEHB's place changes with it,
and that the libraries' own time matters. A rank that differs between one worker and eight may differ by chance, so each
change stands beside its bootstrap interval over benchmarks and a test (`change_test`); overhead is a share of the
workers' time. docs/paper-statements.md says in words what came out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.effects import experiment as effects
from zerowait.experiments.verification.effects import ranks as effects_ranks
from zerowait.experiments.verification.effects import traces as effects_traces
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.experiments.verification.paper_study import figure as paper_study_figure
from zerowait.plots.figures.runtime import overhead_table
from zerowait.plots.statistics.arithmetic import Floats, average_ranks, generator, percentile_interval
from zerowait.plots.statistics.significance import FEWEST_BLOCKS, friedman
from zerowait.plots.studies.blocks import Blocks, Horizon, blocks, listed
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.study import Study
from zerowait.suite.rules.errors import SpecificationError

RESULTS = Path("results")
STUDIES = ("paper", "paper-fair", "reference")
"""Folders of the full version, in `RESULTS`."""
PERMUTATIONS = 20_000
OCCUPATION = ("worker", "freed", "start", "end", "overhead", "status", "value", "fidelity")
"""Columns of a trace that say what its workers did and what it found."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When optimizers are compared."""

    horizon: Horizon
    fraction: float


MOMENTS: Mapping[str, Moment] = {
    "a quarter of the common time": Moment("common", 0.25),
    "the common time": Moment("common", 1.0),
    "each at its own end": Moment("longest", 1.0),
}
"""By name. The last is how the paper's budgets, which differ by optimizer, are read when nobody looks at the time."""


def run(request: Request) -> Outcome:
    """Read the studies that were asked for; by default those in `results`, or quickly a tiny one that is run first."""
    if request.study is None and request.quick:
        with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=request.directory) as temporary:
            request.tell("a tiny study is run first; name one with --study, or take the kept results with --full")
            return verify([effects.made(effects.TINY, Path(temporary) / "tiny study")], request)
    folders = [RESULTS / name for name in STUDIES] if request.study is None else [request.study]
    absent = [folder for folder in folders if not folder.is_dir()]
    if absent:
        raise SpecificationError(f"there is no study in {absent[0]}; name the output folder of one with --study")
    return verify(folders, request)


def verify(folders: Sequence[Path], request: Request) -> Outcome:
    """Compare numbers of workers on the studies in these folders."""
    ranks, orders, overheads, gates, notes = [], [], [], [], []
    for folder in folders:
        study = load_study(folder, columns=OCCUPATION)
        request.tell(f"{len(study)} runs of {folder.name} are read")
        judged = study.judged()
        for moment in MOMENTS:
            of_ranks, of_orders = compared(folder.name, judged, moment)
            ranks += of_ranks
            orders += of_orders
        overheads.append(overhead_table(study).assign(study=folder.name))
        gates += _gates(folder.name, study)
        notes.append(f"{_note(folder.name, study)} {judged.judged_sentence}")
    table, order = pd.DataFrame(ranks), pd.DataFrame(orders)
    sums = table.groupby(["study", "moment", "n_workers"])["rank"].agg(["sum", "size"])
    error = (sums["sum"] - sums["size"] * (sums["size"] + 1) / 2).abs().max()
    beside_itself = order[order["n_workers"] == order["beside"]]
    gates += [
        Gate("ranks: largest error of their sum k (k + 1) / 2", float(error), "<=", effects.ROUNDING),
        Gate(
            "a number of workers beside itself: largest change", float(beside_itself["largest_change"].max()), "==", 0
        ),
        Gate("a number of workers beside itself: least p", float(beside_itself["p_value"].min()), "==", 1),
    ]
    notes.append(
        "change counts in average ranks from the fewest workers on, lower to upper is a 95 % bootstrap interval over "
        "benchmarks; p_value is that of the largest change of any optimizer when the numbers of workers are exchanged "
        "on each benchmark by chance; with n benchmarks it is at least least_p = 2 / 2^n, and it is not corrected for "
        "the number of tests"
    )
    notes.append(paper_study_figure.CAPTION)
    overhead = pd.concat(overheads, ignore_index=True)
    keys = ["study", "optimizer", "n_workers"]
    overhead = overhead.pivot_table(index=keys, columns="state", values="share", sort=False).reset_index()
    details = {"orders": order, "overhead": overhead}
    return Outcome("paper-study", table, gates, notes, details, partial(paper_study_figure.write, table))


def compared(name: str, study: Study, moment: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each optimizer and number of workers, and a row for each number of workers, at a moment.

    Only benchmarks count that can be compared with every number of workers.
    """
    when = MOMENTS[moment]
    groups = blocks(study, when.horizon)
    shared = shared_benchmarks(groups)
    if not shared:
        raise SpecificationError(f"{name}: no benchmark has runs of all optimizers with every number of workers")
    strata: dict[int, tuple[Floats, ...]] = {}
    for group in groups:
        found = dict(zip(group.benchmarks, effects_traces.losses_at(study, group, when.fraction), strict=True))
        strata[group.n_workers] = tuple(found[benchmark] for benchmark in shared)
    fewest, *_ = strata
    ranks, orders = [], []
    for n_workers, losses in strata.items():
        names = (name, moment, n_workers)
        change = effects_ranks.changes(strata[fewest], losses)
        drawn = effects_ranks.replicates_over_benchmarks(strata[fewest], losses, generator("paper study", *names))
        low, high = percentile_interval(drawn.each)
        p_value = change_test(_block_ranks(strata[fewest]), _block_ranks(losses), generator("exchanged", *names))
        optimizers = groups[0].optimizers
        ranks += [
            {"study": name, "moment": moment, "n_workers": n_workers, "optimizer": optimizer, "rank": rank,
             "change": by, "lower": lower, "upper": upper}
            for optimizer, rank, by, lower, upper in zip(
                optimizers, change.wrong.tolist(), change.each.tolist(), low.tolist(), high.tolist(), strict=True
            )
        ]  # fmt: skip
        means = np.stack([of_one.mean(axis=0) for of_one in losses])
        orders.append(
            {"study": name, "moment": moment, "n_workers": n_workers, "beside": fewest, "benchmarks": len(shared),
             "seeds": min(len(of_one) for of_one in losses), "friedman_p": _friedman_p(means),
             "tau": float(change.tau), "flips": float(change.flips), "largest_change": float(change.largest),
             "of": optimizers[int(np.abs(change.each).argmax())], "p_value": p_value,
             "least_p": min(1.0, 2.0 ** (1 - len(shared)))}
        )  # fmt: skip
    return ranks, orders


def change_test(before: Floats, after: Floats, random: np.random.Generator, permutations: int = PERMUTATIONS) -> float:
    """Return the probability of a change of an average rank as large as the largest, if nothing depends on the workers.

    Then which of the two rankings of a benchmark is which is chance. They are exchanged on each benchmark with
    probability 1/2, for all optimizers together, so that one test answers for all of them (the largest statistic over
    the optimizers, Westfall and Young 1993).

    Parameters
    ----------
    before, after
        Ranks, shape (benchmarks, optimizers).
    random
        Source of the exchanges.
    permutations
        How many; the probability counts what was seen as one of them, so it is never 0.
    """
    difference = after - before
    seen = np.abs(difference.mean(axis=0)).max()
    signs = random.choice((-1.0, 1.0), size=(permutations, len(difference)))
    by_chance = np.abs(signs @ difference / len(difference)).max(axis=1)
    return float((1 + np.sum(by_chance >= seen - effects.ROUNDING)) / (1 + permutations))


def _block_ranks(strata: Sequence[Floats]) -> Floats:
    return np.stack([average_ranks(losses).mean(axis=0) for losses in strata])


def _friedman_p(losses: Floats) -> float:
    """Return the probability by Friedman's test; NaN with too few benchmarks, or before everybody has a result."""
    known = losses[~np.isnan(losses).any(axis=1)]
    return friedman(known)[1] if len(known) >= FEWEST_BLOCKS else float("nan")


def shared_benchmarks(groups: Sequence[Blocks]) -> list[str]:
    """Return the benchmarks that can be compared with every number of workers."""
    return sorted(set.intersection(*(set(group.benchmarks) for group in groups)))


def _gates(name: str, study: Study) -> list[Gate]:
    groups = blocks(study)
    named = {benchmark for group in groups for benchmark in group.benchmarks}
    missing = sum(len(group.left_out) for group in groups) + len(named) - len(shared_benchmarks(groups))
    return [
        Gate(f"{name}: runs that are listed and have no trace", float(len(study.unfinished)), "==", 0),
        Gate(
            f"{name}: benchmarks or seeds that cannot be compared, over all numbers of workers", float(missing), "==", 0
        ),
    ]


def _note(name: str, study: Study) -> str:
    cells = study.cells
    workers = listed([str(n) for n in sorted(cells["n_workers"].unique())])
    return (
        f"{name}: {len(study)} runs, {cells['optimizer'].nunique()} optimizers, {cells['benchmark'].nunique()} "
        f"benchmarks, P = {workers}, {cells['seed'].nunique()} seeds"
    )
