"""Reading the traces of a study from its folder."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.plots.studies.labels import NO_LABELS, Labels, labels_of
from zerowait.plots.studies.labels import TABLE as LABELS
from zerowait.plots.studies.metrics import metric_columns
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import (
    CLUSTER,
    EVALUATION_COLUMNS,
    FACTS,
    KEYS,
    OBJECTIVES,
    Study,
    study_of,
    study_of_runs,
    text_of,
)
from zerowait.suite.records.selection import Where
from zerowait.suite.records.store_cells import CELLS_FILE, STORE, own_traces
from zerowait.suite.records.trace import FIDELITY, FULL, LOST_TIME
from zerowait.suite.rules.errors import TraceError
from zerowait.suite.sharing.regular_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Integers, Mask

STUDY_FILE = "study.json"
"""Lists, under `cells`, the folders whose traces are the study's; others there are of its older versions."""
STUDY_TEXT = "study.toml"
"""The study's own file, as it was when the study was run last: for its labels, and to run it again."""
TRACE_FILE = "trace.parquet"
MOST_ROWS_AT_ONCE = 5_000_000
"""Of a store."""
STATUSES = ("ok", "failed", "lost", "preempted")
"""Of an evaluation."""


def load_study(
    folder: str | Path,
    *,
    columns: Sequence[str] = (),
    where: Where = None,
    labels: Labels | None = None,
    metric: str = "",
) -> Study:
    """Return the study in a folder, of its traces these columns (all that figures read by default).

    `where` chooses runs, see `zerowait.suite.records.selection`; colours and references are those of the whole study.
    `labels` stand in the place of those of the study's file. `metric` names what stands in the place of the loss: with
    a minus sign, such as `-accuracy`, if more is better.

    Raises
    ------
    TraceError
        As for `load_runs`.
    SpecificationError
        No trace has the metric, a condition cannot be read or no run meets them, or two runs have the same name.
    """
    from zerowait.suite.records import store

    folder = Path(folder)
    if any((folder / name).exists() for name in (STORE, CELLS_FILE)):
        there = store.free_columns(folder)
        full = [name for name in there if name.startswith((FIDELITY, FULL)) or name == LOST_TIME]
        full += [name for name in metric_columns(metric, there) if name not in full] if metric else []
        study = _of_store(folder, [*(columns or EVALUATION_COLUMNS), *full], metric)
    else:
        study = study_of_runs(load_runs(folder), unfinished(folder), columns, metric)
    study = study.labelled(kept_labels(folder), known=False) if labels is None else study.labelled(labels)
    return study.where(where)


def kept_labels(folder: Path) -> Labels:
    """Return the labels that the study's file gave when it was run; none if the folder does not have it.

    Raises
    ------
    TraceError
        The file is damaged.
    """
    file = folder / STUDY_TEXT
    if not file.is_file():
        return NO_LABELS
    try:
        return labels_of(tomllib.loads(file.read_text(encoding="utf-8")).get(LABELS, {}))
    except ValueError as error:
        raise TraceError(f"{file} is damaged ({error}); run the study again to write it anew") from None


def _of_store(folder: Path, columns: Sequence[str], metric: str) -> Study:
    """Return a study from its store: runs and evaluations in the study's order, one copy of each column in memory."""
    import numpy as np
    import pandas as pd

    from zerowait.suite.records import store

    cells = store.load_cells(folder).rename(columns={"run_seed": "seed"})
    archived = _archived(folder)
    if archived is not None:
        cells["evaluations"] = cells["cell"].map(archived[0])
        columns = [name for name in columns if name in archived[1]]
    for name in FACTS:
        cells[name] = cells[name].astype("float64")
    specifications = [json.loads(text) for text in cells["specification"]]
    for name in (CLUSTER, OBJECTIVES):
        cells[name] = [text_of(name, one) for one in specifications]
    cells = cells.sort_values(list(KEYS), kind="stable", ignore_index=True)
    counts = cells["evaluations"].to_numpy(dtype=np.int64)
    begins = dict(zip(cells["cell"], np.cumsum(counts) - counts, strict=True))
    rows = int(counts.sum())
    # What Arrow reads takes some times the room of what is kept, so a large store is read in parts.
    parts = _parts(cells) if rows > MOST_ROWS_AT_ONCE else [{}]
    found: dict[str, Any] = {}
    read = 0
    for where in parts:
        table = store.load_study(folder, columns=["cell", *columns], where=where)
        kept, places = _places(table.pop("cell"), begins)
        read += len(places)
        for name in columns:
            column = table.pop(name)
            if isinstance(column.dtype, pd.CategoricalDtype):
                column = column.cat.set_categories(list(STATUSES)) if name == "status" else column.astype(object)
            codes = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
            values = codes.to_numpy()
            if name not in found:
                found[name] = np.empty(rows, values.dtype)
            found[name][places] = values[kept]
    if read != rows:
        raise TraceError(
            f"{folder}: its store has {read} evaluations of runs that recorded {rows}; run the study again"
        )
    if "status" in found:
        found["status"] = pd.Categorical.from_codes(found["status"], dtype=pd.CategoricalDtype(list(STATUSES)))
    listing = folder / STUDY_FILE
    there = set(cells["cell"])
    listed = listed_cells(listing) if listing.is_file() else {}
    missing = [label for name, label in listed.items() if Path(name).name not in there]
    evaluations = pd.DataFrame(found, copy=False)
    return study_of(cells[[*KEYS, *FACTS, CLUSTER, OBJECTIVES]], evaluations, counts, missing, metric)


def _archived(folder: Path) -> tuple[Mapping[str, int], Sequence[str]] | None:
    """Return how many rows of each run an archive has kept, and which columns; None for a store, which keeps all."""
    import pyarrow.parquet as pq

    from zerowait.suite.records import store

    place, _ = store.store_of(folder)
    path = place / CELLS_FILE
    if not path.is_file() or "rows" not in pq.read_schema(path).names:
        return None
    table = pq.read_table(path, columns=["cell", "rows"])
    names = {name for part in store.partition_paths(place) for name in pq.read_schema(part).names}
    return dict(zip(table["cell"].to_pylist(), table["rows"].to_pylist(), strict=True)), sorted(names)


def _parts(cells: pd.DataFrame) -> list[dict[str, list[str]]]:
    """Return optimizers in groups that have so few rows together, if one alone has not more."""
    parts: list[dict[str, list[str]]] = []
    room = 0
    for name, rows in cells.groupby("optimizer", sort=True)["evaluations"].sum().items():
        if rows > room:
            parts.append({"optimizer": []})
            room = MOST_ROWS_AT_ONCE
        parts[-1]["optimizer"].append(str(name))
        room -= rows
    return parts


def _places(cells: pd.Series[Any], begins: Mapping[str, int]) -> tuple[Mask, Integers]:
    """Return which rows belong to a known run, and where in the study each of those belongs."""
    import numpy as np

    codes = cells.cat.codes.to_numpy()
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    lengths = np.diff(first, append=len(codes))
    keys = cells.cat.categories.to_numpy()[codes[first]]
    # A run that has ended since the list of runs was read is not in it.
    begin = np.array([begins.get(key, -1) for key in keys], dtype=np.int64)
    known = np.repeat(begin >= 0, lengths)
    places = np.arange(len(codes)) + np.repeat(begin - first, lengths)
    return known, places[known]


def unfinished(folder: Path) -> list[str]:
    """Return what the study's list calls the cells that have no trace."""
    listing = folder / STUDY_FILE
    if not listing.is_file():
        return []
    return [label for name, label in listed_cells(listing).items() if not (folder / name / TRACE_FILE).is_file()]


def load_runs(folder: str | Path) -> list[Run]:
    """Return the runs below a study's folder, sorted by benchmark, workers, optimizer and seed.

    A folder with a `study.json` holds exactly the runs that the file lists and that are finished. In any
    other folder, every `trace.parquet` counts, except below hidden folders and those of failed cells.

    Raises
    ------
    TraceError
        There is no such folder, it holds no trace, a trace cannot be read, or one is not labelled.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TraceError(f"there is no folder {folder}; name the output folder of a study")
    paths = list(trace_paths(folder))
    if not paths:
        raise TraceError(
            f"there is no finished run below {folder}; run the study first: zerowait run STUDY (a run of your own "
            "script is finished by simulator.finish())"
        )
    runs = [load_run(path) for path in paths]
    return sorted(runs, key=lambda run: (run.benchmark, run.n_workers, run.optimizer, run.seed))


def trace_paths(folder: Path) -> Iterator[Path]:
    """Yield the traces that belong to the study in this folder."""
    listing = folder / STUDY_FILE
    if listing.is_file():
        for name in listed_cells(listing):
            path = folder / name / TRACE_FILE
            if path.exists():  # what is no file is refused where it is read
                yield path
        return
    yield from own_traces(folder)


def load_run(path: Path) -> Run:
    """Read one trace and the labels in it.

    Raises
    ------
    TraceError
        The file is no trace, or has no label that names its optimizer and its benchmark.
    """
    from zerowait.suite.records.store_cells import CELL_FILE, check_labels, refuse_damaged
    from zerowait.suite.records.trace import ATTRIBUTE, read_trace

    trace = read_trace(path)
    if (path.parent / CELL_FILE).exists():
        refuse_damaged(path.parent)
    specification: dict[str, Any] = trace.attrs[ATTRIBUTE]["specification"]
    labels = specification["labels"]
    check_labels(path, labels)
    optimum = labels.get("optimum")
    return Run(
        optimizer=str(labels.get("label") or labels["optimizer"]),
        benchmark=labels["benchmark"],
        n_workers=specification["n_workers"],
        seed=specification["seed"],
        optimum=None if optimum is None else float(optimum),
        trace=trace,
    )


def listed_cells(listing: Path) -> dict[str, str]:
    """Return what a study's list calls its cells, by their folders.

    Raises
    ------
    TraceError
        The list is damaged.
    """
    return {str(name): str(label) for name, label in _listing(listing, "cells").items()}


def listed_runs(listing: Path) -> list[tuple[str, str, int]] | None:
    """Return optimizer, benchmark and number of workers of the cells in a study's list; None when it is of version 0.1.

    Raises
    ------
    TraceError
        The list is damaged.
    """
    runs = _listing(listing, "runs")
    try:
        return [(str(o), str(b), int(n)) for o, b, n, _ in runs.values()] if runs else None
    except (ValueError, TypeError) as error:
        raise _damaged(listing, error) from None


def _listing(listing: Path, part: str) -> dict[str, Any]:
    try:
        data = read_json(listing)
        return dict(data["cells"] if part == "cells" else data.get(part, {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(listing, error) from None


def _damaged(listing: Path, error: Exception) -> TraceError:
    return TraceError(f"{listing} is damaged ({error!r}); run the study again to write it anew")
