"""Mistakes that a study's traces show by themselves: the same runs, read right and wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.verification.effects import readings as effects_readings
from zerowait.experiments.verification.effects.ranks import mean_ranks
from zerowait.plots.statistics.arithmetic import Floats
from zerowait.plots.studies.blocks import Blocks, blocks
from zerowait.plots.studies.study import Study
from zerowait.suite.records.incumbents import RESULTS

FRACTIONS = (0.25, 1.0)
"""Shares of the common budget at which step functions are read, those of the critical-difference diagram."""
EARLIEST = 0.05
"""The share at which unfinished trainings are read besides: early in a run hardly anything else has been delivered."""
TIMES_A_RUN = 10
"""At about so many a reading is compared with the truth."""
SCALE = "worst"
"""Normalised regret is 1 at the worst loss that the study saw."""

Read = Callable[["Study", int, float], float]
"""Returns the loss of a run, given by its number, at a time."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The same blocks with one number of workers, read right and wrong."""

    effect: str
    """Name of the mistake."""
    n_workers: int
    budget: float
    """Share of the common budget at which was read right."""
    benchmarks: tuple[str, ...]
    optimizers: tuple[str, ...]
    right: tuple[Floats, ...]
    """Losses of each benchmark, shape (seeds, optimizers); NaN: no result yet."""
    wrong: tuple[Floats, ...]
    """The same, in the same shapes."""
    regret_right: Floats
    """Mean normalised regret of each optimizer; NaN while any of its runs has no result."""
    regret_wrong: Floats


def losses_at(study: Study, group: Blocks, fraction: float, read: Read | None = None) -> tuple[Floats, ...]:
    """Return the losses of each benchmark at a share of the common budget, read right by default."""
    found: list[Floats] = []
    for runs, until in zip(group.runs, group.horizons, strict=True):
        time = fraction * float(until)
        if read is None:
            best = study.best_at(runs.ravel(), np.array([time]))
        else:
            best = np.array([read(study, int(run), time) for run in runs.ravel()])
        found.append(best.reshape(runs.shape))
    return tuple(found)


def regrets(study: Study, benchmarks: Sequence[str], losses: Sequence[Floats]) -> Floats:
    """Return the mean normalised regret of each optimizer, shape (k,), over seeds and then over benchmarks."""
    of_each = [study.regrets(name, loss, SCALE).mean(axis=0) for name, loss in zip(benchmarks, losses, strict=True)]
    return np.asarray(np.mean(of_each, axis=0), dtype=np.float64)


def _read_by(function: Callable[[Floats, Floats, Floats], Floats]) -> Read:
    def read(study: Study, run: int, time: float) -> float:
        rows = study.rows(run)
        return float(function(study.ends[rows], study.losses[rows], np.array([time]))[0])

    return read


looking_ahead, interpolated = _read_by(effects_readings.looking_ahead), _read_by(effects_readings.interpolated)


def at_its_own_end(study: Study, run: int, time: float, number: int | None = None) -> float:  # noqa: ARG001 - the mistake
    """Read a run at the end of its own budget, or after so many evaluations, whatever the time."""
    return effects_readings.after_evaluations(study.losses[study.rows(run)], number)


UNFINISHED, LOOK_AHEAD, STRAIGHT, COUNTED, OWN_END = (
    "unfinished trainings", "look-ahead", "straight lines", "evaluations, not time", "own budgets",
)  # fmt: skip
UNSEEDED, UNPAIRED = "unseeded", "unpaired seeds"


def readings(study: Study) -> list[Reading]:
    """Return the readings of all mistakes that need nothing but the traces, for each number of workers."""
    found = []
    for group in blocks(study):
        fewest = int(np.diff(study.offsets)[np.concatenate([runs.ravel() for runs in group.runs])].min())
        count = max(1, round(FRACTIONS[0] * fewest))
        found += [reading(LOOK_AHEAD, study, group, fraction, looking_ahead) for fraction in FRACTIONS]
        found += [reading(STRAIGHT, study, group, fraction, interpolated) for fraction in FRACTIONS]
        found.append(reading(COUNTED, study, group, FRACTIONS[0], partial(at_its_own_end, number=count)))
        found.append(reading(OWN_END, study, group, 1.0, at_its_own_end))
    return found


def unfinished(study: Study) -> list[Reading]:
    """Return recommendations beside the least value at whatever fidelity, for each number of workers.

    Raises
    ------
    SpecificationError
        The traces do not say what configurations are worth.
    """
    right, wrong = study.judged("recommended"), study.judged("any")
    return [one for fraction in (EARLIEST, *FRACTIONS) for one in beside(UNFINISHED, right, wrong, fraction)]


def ranks_by_rule(study: Study) -> list[dict[str, Any]]:
    """Return the average ranks under the three rules of results, a row an optimizer, number of workers and share."""
    ruled = {rule: study.judged(rule) for rule in RESULTS}
    return [
        {"n_workers": group.n_workers, "budget": fraction, "optimizer": name}
        | {rule: ranks[k] for rule, ranks in found.items()}
        for group in blocks(study)
        for fraction in (EARLIEST, *FRACTIONS)
        for found in [{rule: mean_ranks(losses_at(of, group, fraction)) for rule, of in ruled.items()}]
        for k, name in enumerate(group.optimizers)
    ]


def reading(effect: str, study: Study, group: Blocks, fraction: float, read: Read) -> Reading:
    """Return the blocks of a study at a share of the common budget, read right and with the mistake."""
    return _reading(effect, study, group, fraction, losses_at(study, group, fraction, read))


def _reading(effect: str, study: Study, group: Blocks, fraction: float, wrong: tuple[Floats, ...]) -> Reading:
    right = losses_at(study, group, fraction)
    return Reading(
        effect, group.n_workers, fraction, group.benchmarks, group.optimizers, right, wrong,
        regrets(study, group.benchmarks, right), regrets(study, group.benchmarks, wrong),
    )  # fmt: skip


def beside(effect: str, right: Study, wrong: Study, fraction: float) -> list[Reading]:
    """Return the readings of two studies of the same runs, each at this share of its own common budget.

    Regret is measured on the right study's scale.
    """
    found = []
    for group, other in zip(blocks(right), blocks(wrong), strict=True):
        found.append(_reading(effect, right, group, fraction, losses_at(wrong, other, fraction)))
    return found


def finals(study: Study) -> list[Reading]:
    """Return the right reading of each number of workers at the end of the common budget, on both sides."""
    return [_reading("", study, group, 1.0, losses_at(study, group, 1.0)) for group in blocks(study)]


def deliveries_from_the_future(study: Study, read: Read) -> int:
    """Return how often a reading is not the best of exactly what was delivered at or before the time.

    Each run is read at some of its deliveries and half-way to the next one, and compared with a loop over its
    evaluations.
    """
    return sum(not same for _, same in _checked(study, read))


def worse_than_known(study: Study, read: Read) -> int:
    """Return how often a reading between two deliveries is worse than what was delivered by then; see above."""
    return sum(worse for worse, _ in _checked(study, read, between_only=True))


def _checked(study: Study, read: Read, *, between_only: bool = False) -> Iterator[tuple[bool, bool]]:
    """Yield of each time whether the reading is worse than the truth, and whether it is the truth."""
    for run in range(len(study)):
        rows = study.rows(run)
        ends, losses = study.ends[rows].tolist(), study.losses[rows].tolist()
        distinct = sorted(set(ends))
        between = {(a + b) / 2 for a, b in itertools.pairwise([0.0, *distinct])} - set(distinct)
        times = sorted(between if between_only else between.union(distinct))
        for time in times[:: max(1, len(times) // TIMES_A_RUN)]:
            known = [loss for end, loss in zip(ends, losses, strict=True) if end <= time and not math.isnan(loss)]
            value = read(study, run, time)
            truth = min(known, default=math.nan)
            yield bool(known) and not value <= truth, value == truth or (math.isnan(value) and math.isnan(truth))


def right(study: Study, run: int, time: float) -> float:
    """Read a run right."""
    return float(study.best_at([run], np.array([time]))[0, 0])


# -- what repetitions have in common ----------------------------------------------------------------------------------

KINDS = {
    "another seed": ("optimizer", "benchmark", "n_workers"),
    "another optimizer": ("benchmark", "n_workers", "seed"),
    "another benchmark": ("optimizer", "n_workers", "seed"),
    "another number of workers": ("optimizer", "benchmark", "seed"),
}
"""What two runs have in common that differ in one thing, by that thing."""


def shared_configurations(cells: pd.DataFrame, configurations: Sequence[frozenset[Any]]) -> pd.DataFrame:
    """Return which share of a run's configurations another run evaluates too, the two differing in one thing only.

    Columns: `differs_in`, `optimizer`, `pairs` (of runs), `mean_share`, `largest_share`, `identical` (pairs of runs
    with the same configurations).

    Parameters
    ----------
    cells
        One row a run: `optimizer`, `benchmark`, `n_workers`, `seed`.
    configurations
        The distinct configurations of each run, in the same order.
    """
    rows = []
    for kind, same in KINDS.items():
        shares: dict[str, list[float]] = {}
        groups: Any = cells.groupby(list(same), sort=True).indices
        for runs in groups.values():
            for a, b in itertools.combinations(runs.tolist(), 2):
                one, other = configurations[a], configurations[b]
                share = len(one & other) / max(1, min(len(one), len(other)))
                for optimizer in {cells["optimizer"].iloc[a], cells["optimizer"].iloc[b]}:
                    shares.setdefault(str(optimizer), []).append(share)
        rows += [
            {"differs_in": kind, "optimizer": name, "pairs": len(found), "mean_share": float(np.mean(found)),
             "largest_share": max(found), "identical": sum(share == 1.0 for share in found)}
            for name, found in sorted(shares.items())
        ]  # fmt: skip
    columns = ["differs_in", "optimizer", "pairs", "mean_share", "largest_share", "identical"]
    return pd.DataFrame(rows, columns=columns)
