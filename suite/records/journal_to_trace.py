"""From the journal to the trace: what a run has recorded, while it goes on or afterwards."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.suite.records.trace import Columns, Guesses, build_trace, by_name, make_metadata, measured_facts
from zerowait.suite.rules.errors import RunDirectoryError, ZerowaitError
from zerowait.suite.rules.occupation import Workers, workers_of
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.rules.seeds import ObjectiveSeeds
from zerowait.suite.rules.specification import HOW_IT_IS_SHARED
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.journal_schema import identity_of
from zerowait.suite.sharing.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd


def columns_of(
    records: Sequence[journal.Record],
    *,
    run_seed: int,
    measured: bool,
    workers: Workers | None = None,
    fresh_seeds: bool = False,
) -> Columns:
    """Return the columns of a trace; the wall time is kept under measured overhead only, see `trace`.

    A seed that the objective did not ask for is not in the journal; it follows from the run seed and the configuration.
    """
    seeds = ObjectiveSeeds(run_seed, fresh=fresh_seeds)
    return Columns(
        freed=[r["freed"] for r in records],
        start=[r["start"] for r in records],
        end=[r["end"] for r in records],
        runtime=[r["runtime"] for r in records],
        value=[r["value"] for r in records],
        fidelity=[r["fidelity"] for r in records],
        resumed_from=[r.get("resumed_from") for r in records],
        clipped=[r.get("clipped", False) for r in records],
        status=[r["status"] for r in records],
        config_id=[r["config_id"] for r in records],
        seed=[r["seed"] if "seed" in r else seeds.of_call(identity_of(r), r["call"]) for r in records],
        wall_time=[r["wall"] if measured else math.nan for r in records],
        overhead=[r["overhead"] for r in records],
        metrics=by_name([r["metrics"] for r in records], math.nan),
        config=by_name([r["config"] for r in records]),
        other_fidelities=by_name([r.get("fidelities", {}) for r in records]),
        of_cluster={} if workers is None else _of_cluster(records, workers),
    )


def _of_cluster(records: Sequence[journal.Record], workers: Workers) -> dict[str, list[float]]:
    """Return what the cluster decided; of an evaluation whose process died it is not known."""
    return {
        "worker": [r["slot"] for r in records],
        "worker_speed": workers.speeds(r["slot"] for r in records),
        "attempt": [r.get("attempt", 1) for r in records],
        "lost_time": [r.get("lost_time", r["runtime"]) for r in records],
    }


def read_run(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the trace of what the run in this directory has recorded so far.

    Raises
    ------
    RunDirectoryError
        There is no run, or `run.json` or the journal is damaged.
    """
    run = RunDirectory(Path(directory))
    return trace_of(run, run.read()["specification"], committed_records(run))


def committed_records(run: RunDirectory) -> int | None:
    """Return how many records are the run's, for who only looks on; None when its slot table does not tell.

    A damaged table is no reason to keep back what has been recorded: then all whole lines are.
    """
    from zerowait.suite.records.commit_point import committed
    from zerowait.suite.records.run_spec import RunSpec

    spec = RunSpec.read(run)
    try:
        done = committed(run, spec.n_workers, shared_directory=spec.shared_directory)
    except RunDirectoryError:
        return None
    return None if done is None else done.n_records


def trace_of(run: RunDirectory, specification: Mapping[str, Any], n_records: int | None) -> pd.DataFrame:
    """Return the trace of the first `n_records` records (None for all) of a run whose specification is known."""
    records = journal.read(run.journal, n_records)
    if n_records is not None and len(records) < n_records:
        raise RunDirectoryError(
            f"{run.journal} holds {len(records)} of the {n_records} evaluations that the run has recorded: it was cut; "
            f"`zerowait check {run.root}` says where, and a copy of the whole file puts it right"
        )
    try:
        return _trace(records, specification)
    except ZerowaitError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise RunDirectoryError(
            f"{run.journal} holds a record that no run has written ({type(error).__name__}: {error}); "
            f"`zerowait check {run.root}` says which"
        ) from error


def _trace(records: Sequence[journal.Record], specification: Mapping[str, Any]) -> pd.DataFrame:
    measured = Overhead.from_json(specification["overhead"]).is_measured
    workers = workers_of(specification)
    fresh = specification.get("fresh_seeds", False)
    columns = columns_of(records, run_seed=specification["seed"], measured=measured, workers=workers, fresh_seeds=fresh)
    guesses: Guesses = {
        "idle_releases": sum(r.get("idle", False) for r in records),
        "stall_releases": sum(r.get("stalled", False) for r in records),
        "wrong_guesses": sum(r.get("wrong_guess", False) for r in records),
        "late_results": sum("late" in r for r in records),
    }
    makespan = max(columns.end, default=0.0)
    facts = measured_facts(makespan, records[-1]["wall"] if records else 0.0)
    shown = {name: value for name, value in specification.items() if name not in HOW_IT_IS_SHARED}
    shown["told"] = "arrival" if measured else "turn"  # not a matter of choice here: the timeline has the rules
    return build_trace(columns, specification["n_workers"], make_metadata(shown, columns, guesses, facts))
