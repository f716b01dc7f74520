"""From the journal to the trace: what a run has recorded, while it goes on or afterwards."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import journal
from suite.identity import digest
from suite.rundir import RunDirectory
from suite.seeds import ObjectiveSeeds
from suite.specification import HOW_IT_IS_SHARED
from suite.trace import Columns, build_trace, make_metadata, measured_facts

if TYPE_CHECKING:
    import pandas as pd


def columns_of(records: Sequence[journal.Record], *, run_seed: int, measured: bool) -> Columns:
    """Return the columns of a trace; the wall time is kept under measured overhead only, see `suite.trace`.

    A seed that the objective did not ask for is not in the journal; it follows from the run seed and the configuration.
    """
    seeds = ObjectiveSeeds(run_seed)
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
        seed=[r["seed"] if "seed" in r else seeds.seed(identity_of(r)) for r in records],
        wall_time=[r["wall"] if measured else math.nan for r in records],
        overhead=[r["overhead"] for r in records],
        metrics=[r["metrics"] for r in records],
        config=[r["config"] for r in records],
    )


def identity_of(record: journal.Record) -> bytes:
    """Return the digest of what identifies the configuration of a record: of the optimizer's id, or of the values."""
    return digest(record["config_id"]) if record.get("named") else bytes.fromhex(record["config_id"])


def config_text(record: journal.Record) -> str:
    """Return the canonical JSON of a record's configuration.

    It stands in the journal and is not sorted again: names that were numbers are text by now and sort differently.
    """
    return json.dumps(record["config"], separators=(",", ":"))


def read_run(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the trace of what the run in this directory has recorded so far.

    Raises
    ------
    RunDirectoryError
        There is no run, or its journal is damaged.
    """
    run = RunDirectory(Path(directory))
    return trace_of(run, run.read()["specification"])


def trace_of(run: RunDirectory, specification: Mapping[str, Any], n_records: int | None = None) -> pd.DataFrame:
    """Return the trace of the first `n_records` records (all by default) of a run whose specification is known."""
    records = journal.read(run.journal)[:n_records]
    run_seed = specification["seed"]
    columns = columns_of(records, run_seed=run_seed, measured=specification["overhead"]["name"] == "measured")
    idle_releases = sum(r.get("idle", False) for r in records)
    makespan = max(columns.end, default=0.0)
    facts = measured_facts(makespan, records[-1]["wall"] if records else 0.0)
    shown = {name: value for name, value in specification.items() if name not in HOW_IT_IS_SHARED}
    return build_trace(columns, specification["n_workers"], make_metadata(shown, columns, idle_releases, facts))
