"""What all exports have in common: the runs of a study one by one, chosen by what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zerowait.suite.records import store
from zerowait.suite.records.selection import Where, parse
from zerowait.suite.rules.errors import SpecificationError


@dataclass(frozen=True, slots=True)
class Pair:
    """The runs of one optimizer on one benchmark."""

    optimizer: str
    """Label of the optimizer."""
    benchmark: str
    """Name of benchmark and task."""
    cells: pd.DataFrame
    """One row a run, in the order of workers and run seed; see `zerowait.suite.records.store_cells.CELL_COLUMNS`."""
    traces: Mapping[str, pd.DataFrame]
    """Their evaluations in delivery order, by cell, with the columns that their benchmark has."""


def pairs(path: Path, where: Where, columns: Sequence[str] | None = None) -> Iterator[Pair]:
    """Yield the chosen runs of a study, pair by pair, so that memory holds one pair at a time.

    Parameters
    ----------
    path
        The output folder of a study, or a copy of its store.
    where
        Which runs; see `zerowait.suite.records.selection`.
    columns
        Columns of the traces, beside `cell`; None takes all.

    Raises
    ------
    TraceError
        There is no study or no finished run.
    SpecificationError
        `where` cannot be read, or no run is chosen; the message says what there is.
    """
    cells = store.load_cells(path)
    if where:
        cells = cells[parse(where).mask(cells)]
    for (optimizer, benchmark), rows in cells.groupby(["optimizer", "benchmark"], sort=True):
        table = store.load_study(
            path,
            columns=None if columns is None else ["cell", *columns],
            where={"optimizer": optimizer, "benchmark": benchmark, "cell": set(rows["cell"])},
        )
        table["cell"] = table["cell"].astype(str)
        ordered = rows.sort_values(["n_workers", "run_seed", "cell"], ignore_index=True)
        traces = {str(key): _own_columns(trace) for key, trace in table.groupby("cell", sort=False)}
        for key in ordered["cell"]:
            traces.setdefault(str(key), table.iloc[:0])  # a run in whose budget no evaluation ended
        yield Pair(str(optimizer), str(benchmark), ordered, traces)


def _own_columns(trace: pd.DataFrame) -> pd.DataFrame:
    """Return a trace without the parameters and metrics that only other benchmarks have."""
    foreign = [name for name in trace.columns if "." in name and trace[name].isna().all()]
    return trace.drop(columns=foreign).reset_index(drop=True)


def refuse_existing(path: Path) -> None:
    """Raise `SpecificationError` if something is there already: an export never mixes with what it did not write."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SpecificationError(f"{path} exists already; remove it, or name another place with --out")
