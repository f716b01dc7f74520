"""What workers do, second by second of simulated time: evaluating, sampling, waiting, idle, or lost.

Between two evaluations of a worker stand the seconds that the optimizer was charged for the second one's configuration
(sampling, the last of them), those in which it was sampling for others (waiting, of a serial optimizer), and the rest:
the optimizer had nothing to evaluate, or the worker was not there (idle). Lost is an evaluation whose process died,
and what a cluster lost of one: failed attempts, and the time for which its worker was away; they are shown before what
came of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.suite.records.trace import LOST_TIME

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats

STATES = ("evaluating", "sampling", "waiting", "idle", "lost")
"""In the order in which figures stack them."""


def columns_of(trace: pd.DataFrame) -> dict[str, Any]:
    """Return the arrays that `shares` reads: `worker`, `freed`, `start`, `end`, `overhead`, and the seconds `lost`."""
    columns = {name: trace[name].to_numpy() for name in ("worker", "freed", "start", "end", "overhead")}
    lost = trace[LOST_TIME].fillna(0.0).to_numpy() if LOST_TIME in trace else np.zeros(len(trace))
    died = (trace["status"] == "lost").to_numpy()
    return {**columns, "lost": np.where(died, columns["end"] - columns["start"], lost)}


def intervals(trace: pd.DataFrame, n_workers: int, until: float | None = None) -> pd.DataFrame:
    """Return what each worker does from 0 to the end: columns `worker`, `state`, `begin`, `end` (simulated s).

    The intervals of a worker follow one another without gap or overlap, and none is empty.

    Parameters
    ----------
    trace
        Evaluations with `worker`, `freed`, `start`, `end`, `overhead` and `status`, and `lost_time` if they have it.
    n_workers
        Number of workers; those without evaluations are idle throughout.
    until
        The end, in simulated seconds; the last delivery by default.
    """
    import pandas as pd

    worker, freed, start, end, overhead, lost = columns_of(trace).values()
    sampling_from = np.maximum(freed, start - overhead)
    stop = float(end.max(initial=0.0)) if until is None else until
    last = np.zeros(n_workers)
    np.maximum.at(last, worker, end)
    gaps_of = np.concatenate([worker, np.arange(n_workers)])
    gaps = _split(np.concatenate([freed, last]), np.concatenate([sampling_from, np.full(n_workers, stop)]),
                  merged(sampling_from, start))  # fmt: skip
    useful = np.where(lost < end - start, start + lost, end)
    # A worker that arrived has been idle until then.
    arrived = np.full(n_workers, math.inf)
    np.minimum.at(arrived, worker, freed)
    arrived[np.isinf(arrived)] = 0.0
    frames = [
        pd.DataFrame({"worker": np.arange(n_workers), "state": "idle", "begin": 0.0, "end": arrived}),
        pd.DataFrame({"worker": worker, "state": "lost", "begin": start, "end": useful}),
        pd.DataFrame({"worker": worker, "state": "evaluating", "begin": useful, "end": end}),
        pd.DataFrame({"worker": worker, "state": "sampling", "begin": sampling_from, "end": start}),
        pd.DataFrame({"worker": gaps_of[gaps[0]], "state": np.where(gaps[1], "waiting", "idle"), "begin": gaps[2],
                      "end": gaps[3]}),
    ]  # fmt: skip
    table = pd.concat(frames, ignore_index=True)
    table = table[table["end"] > table["begin"]]
    return table.sort_values(["worker", "begin"], kind="stable", ignore_index=True)


def shares(columns: Mapping[str, Any], n_workers: int) -> dict[str, float]:
    """Return the share of the run's worker time (number of workers times makespan) in each of `STATES`; they sum to 1.

    Without looking at single intervals: what overlaps with anybody's sampling comes from the running total of it.

    Parameters
    ----------
    columns
        The arrays of `columns_of`, of one run.
    n_workers
        Number of workers.
    """
    freed, start, end, lost = (columns[name] for name in ("freed", "start", "end", "lost"))
    total = n_workers * float(end.max(initial=0.0))
    if total == 0:
        return {state: float(state == "idle") for state in STATES}
    sampling_from = np.maximum(freed, start - columns["overhead"])
    begin, finish = merged(sampling_from, start)
    waiting = 0.0
    if len(begin):
        # Sampling time that has passed by a moment: linear between the bounds of the sampling intervals.
        after = np.cumsum(finish - begin)
        bounds = np.column_stack([begin, finish]).ravel()
        passed = np.column_stack([after - (finish - begin), after]).ravel()
        last = np.zeros(n_workers)
        np.maximum.at(last, columns["worker"], end)
        gap_begin, gap_end = np.concatenate([freed, last]), np.append(sampling_from, np.full(n_workers, end.max()))
        waiting = float(np.sum(np.interp(gap_end, bounds, passed) - np.interp(gap_begin, bounds, passed)))
    seconds = {
        "evaluating": float((end - start - lost).sum()),
        "sampling": float((start - sampling_from).sum()),
        "waiting": waiting,
        "lost": float(lost.sum()),
    }
    seconds["idle"] = max(total - sum(seconds.values()), 0.0)
    return {state: seconds[state] / total for state in STATES}


def merged(begin: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Return the union of intervals as disjoint intervals, ascending; empty ones and overlaps are gone."""
    filled = end > begin
    begin, end = begin[filled], end[filled]
    if not len(begin):
        return begin, end
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order])
    new = np.concatenate([[True], begin[1:] > end[:-1]])
    return begin[new], end[np.append(np.flatnonzero(new)[1:] - 1, len(end) - 1)]


def _split(begin: Floats, end: Floats, covers: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return pieces (number of the interval, whether it is covered, begin, end) of each interval, cut at the covers."""
    number, covered, first, last = [], [], [], []
    starts, stops = covers
    for i, (a, b) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        low, high = np.searchsorted(stops, a, side="right"), np.searchsorted(starts, b, side="left")
        at = a
        for cover_begin, cover_end in zip(starts[low:high].tolist(), stops[low:high].tolist(), strict=True):
            for is_covered, until in ((False, min(cover_begin, b)), (True, min(cover_end, b))):
                if until > at:
                    number.append(i)
                    covered.append(is_covered)
                    first.append(at)
                    last.append(until)
                    at = until
        if b > at:
            number.append(i)
            covered.append(False)
            first.append(at)
            last.append(b)
    return np.array(number, dtype=np.int64), np.array(covered, dtype=bool), np.array(first), np.array(last)
