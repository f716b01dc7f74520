"""The store of a study: where its files lie, and what a finished cell puts into them.

`<study>/store` is one Parquet data set: `traces/optimizer=.../benchmark=.../runs.parquet` holds the evaluations of
every run of a pair, and `cells.parquet` has one row a run. The cells' own folders stay the truth: the store can be
made again from them at any time.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from zerowait.suite.records.trace import COLUMNS, arrow_type, is_free, metadata_in, read_table
from zerowait.suite.rules.errors import SpecificationError, TraceError, one_line
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.sharing.regular_files import open_regular, read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

Table: TypeAlias = "pa.Table"

STORE, TRACES, CELLS_FILE, RUNS_FILE = "store", "traces", "cells.parquet", "runs.parquet"
STUDY_FILE, CELLS, TRACE_FILE, CELL_FILE, MEASURED_FILE = (
    "study.json", "cells", "trace.parquet", "cell.json", "trace.measured.json",
)  # fmt: skip

RUN_COLUMNS: Mapping[str, tuple[str, str]] = {
    "optimizer": ("str", "label of the optimizer, unique in a study"),
    "benchmark": ("str", "name of benchmark and task"),
    "n_workers": ("int32", "number of simulated workers"),
    "run_seed": ("int64", "run seed; the column `seed` is the objective's"),
    "cell": ("str", "key of the cell, the name of its folder"),
}
"""Name, type and meaning of the columns that say of which run a row is; those of the trace follow them."""

CELL_COLUMNS: Mapping[str, tuple[str, str]] = {
    **RUN_COLUMNS,
    "adapter": ("str", "name that `zerowait list optimizers` shows"),
    "mode": ("str", "native, ask_tell or native-simulated"),
    "family": ("str", "name that `zerowait list benchmarks` shows"),
    "task": ("str", "the family's task; null when it has none"),
    "max_evaluations": ("int64", "budget in evaluations; null when there is none"),
    "max_time": ("float64", "budget in simulated s; null when there is none"),
    "overhead": ("str", "overhead policy, JSON"),
    "optimum": ("float64", "the least loss that is possible; null when unknown"),
    "evaluations": ("int64", "recorded evaluations"),
    "ok": ("int64", "evaluations that returned a value"),
    "failed": ("int64", "evaluations whose objective raised"),
    "lost": ("int64", "evaluations whose process died"),
    "simulated_time": ("float64", "simulated s of the run, its makespan"),
    "runtime": ("float64", "s charged, summed over the evaluations"),
    "idle_releases": ("int64", "how often a result was delivered because the other slots were idle"),
    "host": ("str", "machine that computed it"),
    "wall_time": ("float64", "real s that it took"),
    "speed_up": ("float64", "simulated time over wall time"),
    "versions": ("str", "versions of Python and libraries, JSON"),
    "specification": ("str", "everything that decides the trace, JSON"),
}
"""Name, type and meaning of the columns of `cells.parquet`."""
MEASURED_COLUMNS = ("host", "wall_time", "speed_up")
"""What depends on the machine; everything else in a store is the same whenever the traces are."""

LONGEST_NAME = 180
"""Bytes of a folder's name; file systems allow 255."""


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A finished cell in the store's terms."""

    row: Mapping[str, Any]
    """Its row of `cells.parquet`."""
    table: Table
    """Its trace, as its file has it."""


def partition_folder(store: Path, optimizer: str, benchmark: str) -> Path:
    """Return the folder of a pair's runs, named in the way that pandas, DuckDB and Spark read as columns."""
    return store / TRACES / _folder_name("optimizer", optimizer) / _folder_name("benchmark", benchmark)


def _folder_name(column: str, value: str) -> str:
    name = f"{column}={quote(value, safe=' ()+,-._~')}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 20]}~{digest(value).hex()[:16]}"


def read_cell(folder: Path) -> StoredCell:
    """Read a finished cell from its folder.

    Raises
    ------
    TraceError
        A file of the folder is missing or damaged; the message names it.
    """
    try:
        table, metadata = read_table(folder / TRACE_FILE)
    except TraceError as error:
        raise TraceError(_damaged(folder / TRACE_FILE, str(error))) from None
    specification = _read_json(folder / CELL_FILE)
    problem = problem_of(folder.name, specification, metadata)
    if problem is not None:
        raise TraceError(_damaged(folder, problem))
    try:
        row = _row(folder.name, specification, metadata, _measured(folder))
    except (KeyError, TypeError) as error:
        raise TraceError(_damaged(folder, f"its trace or {CELL_FILE} lacks {error}")) from None
    return StoredCell(row, table)


def _measured(folder: Path) -> dict[str, Any]:
    path = folder / MEASURED_FILE
    return _read_json(path) if path.is_file() else {}


def own_traces(folder: Path) -> Iterator[Path]:
    """Yield the traces of runs of one's own scripts below a folder, sorted; none of hidden folders or failed cells.

    Of a study below it, those of the cells that the study has now.

    Raises
    ------
    TraceError
        A study's list of cells is damaged.
    """
    listed: dict[Path, Collection[str] | None] = {}
    for path in sorted(folder.rglob(TRACE_FILE)):
        parents = path.relative_to(folder).parts[:-1]
        if any(name.startswith(".") or name.endswith(".failed") for name in parents):
            continue
        for study in itertools.islice(path.parents, 1, len(parents) + 1):
            if study not in listed:
                listed[study] = _cells_of(study) if (study / STUDY_FILE).is_file() else None
            cells = listed[study]
            if cells is not None and path.parent.relative_to(study).as_posix() not in cells:
                break
        else:
            yield path


def _cells_of(study: Path) -> Collection[str]:
    try:
        return list(map(str, _read_json(study / STUDY_FILE)["cells"]))
    except (KeyError, TypeError) as error:
        raise TraceError(_damaged(study / STUDY_FILE, f"it lists no cells: {error}")) from None


def check_labels(path: Path, labels: Mapping[str, Any]) -> None:
    """Raise `TraceError` unless a trace has the labels by which runs are told apart, and its optimum is a number."""
    for label in ("optimizer", "benchmark"):
        if not isinstance(labels.get(label), str):
            raise TraceError(
                f"{path} has the labels {labels!r}; figures and tables need the label {label!r}: "
                f"run it with labels={{'optimizer': ..., 'benchmark': ...}}"
            )
    optimum = labels.get("optimum")
    if optimum is not None and (isinstance(optimum, bool) or not isinstance(optimum, int | float)):
        raise TraceError(
            f"{path} has the label optimum={optimum!r}; it must be the least loss that is possible, a number"
        )


def read_own_run(path: Path, folder: Path) -> StoredCell:
    """Read the trace of a run of one's own script below a folder; its cell is called by its place there.

    Raises
    ------
    TraceError
        The file is no trace, or has no label that names its optimizer and its benchmark.
    """
    table, metadata = read_table(path)
    run = metadata["specification"]
    check_labels(path, run["labels"])
    absent = dict.fromkeys(("mode", "task"))
    names = {"optimizer": run["labels"]["optimizer"], "benchmark": run["labels"]["benchmark"]}
    place = path.parent.relative_to(folder).as_posix()
    return StoredCell(_row(place, {**absent, **run, **names}, metadata, _measured(path.parent)), table)


def with_run_columns(cells: Sequence[StoredCell], tables: Sequence[Table]) -> Table:
    """Return the rows of these traces, one table a cell and all of one schema, with the columns of their runs."""
    import numpy as np
    import pyarrow as pa

    rows = [table.num_rows for table in tables]
    joined = pa.concat_tables(tables)
    for name in ("n_workers", "run_seed", "cell"):
        values = pa.array([cell.row[name] for cell in cells], arrow_type(RUN_COLUMNS[name][0]))
        column = values.take(pa.array(np.repeat(np.arange(len(cells)), rows)))
        joined = joined.set_column(joined.column_names.index(name), joined.schema.field(name), column)
    return joined


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise TraceError(_damaged(path, str(error))) from None
    if not isinstance(data, dict):
        raise TraceError(_damaged(path, "it is no JSON object"))
    return data


def problem_of(key: str, cell: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    """Return why the specification of a cell, or its trace with these metadata, is not that of the key; else None.

    A trace says which cell it is of; one of version 0.1 does not, and is compared by what it says of its run.
    """
    try:
        if digest(canonical_json(cell)).hex() != key:
            return f"{CELL_FILE} is that of another cell"
        run = metadata["specification"]
        there = metadata.get("cell", key), run["n_workers"], run["seed"], run["labels"]["optimizer"]
        if there != (key, cell["n_workers"], cell["seed"], cell["optimizer"]):
            return f"{TRACE_FILE} is the trace of another run"
    except (KeyError, TypeError, AttributeError, SpecificationError) as error:
        return f"its trace or {CELL_FILE} lacks {error}"
    return None


def problem_with(folder: Path) -> str | None:
    """Return what is wrong with the files of a finished cell, without reading its evaluations; None when nothing is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / TRACE_FILE
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            metadata = metadata_in(path, pq.read_metadata(file).metadata or {})
        return problem_of(folder.name, _read_json(folder / CELL_FILE), metadata)
    except FileNotFoundError:
        return f"{TRACE_FILE} is missing"
    except (OSError, pa.ArrowException) as error:
        return f"{TRACE_FILE} cannot be read: {one_line(error)}"
    except TraceError as error:
        return str(error)


def refuse_damaged(folder: Path) -> None:
    """Raise `TraceError` when something is wrong with the files of a finished cell; see `problem_with`."""
    problem = problem_with(folder)
    if problem is not None:
        raise TraceError(_damaged(folder, problem))


def refuse_damaged_since(written: float, folders: Iterable[Path]) -> None:
    """Raise `TraceError` when finished cells that have changed since a store of them was written are damaged.

    The store's copy may be right, but then it is not what the study's folder holds, and whoever looks there says so.
    """
    for folder in folders:
        try:
            changed = max(os.lstat(path).st_ctime for path in (folder, folder / TRACE_FILE, folder / CELL_FILE))
        except OSError:
            changed = math.inf
        if changed >= written:
            refuse_damaged(folder)


def _damaged(path: Path, why: str) -> str:
    return f"{path} cannot be read ({one_line(why)}); remove the cell's folder and run the study again"


def _row(key: str, cell: Mapping[str, Any], metadata: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    run, totals = metadata["specification"], metadata["totals"]
    labels = run["labels"]
    return {
        "optimizer": str(labels.get("label") or labels["optimizer"]),
        "benchmark": labels["benchmark"],
        "n_workers": run["n_workers"],
        "run_seed": run["seed"],
        "cell": key,
        "adapter": cell["optimizer"],
        "mode": cell["mode"],
        "family": cell["benchmark"],
        "task": cell["task"],
        "max_evaluations": cell["max_evaluations"],
        "max_time": cell["max_time"],
        "overhead": json.dumps(cell["overhead"], sort_keys=True),
        "optimum": labels.get("optimum"),
        "evaluations": totals["evaluations"],
        "ok": totals["ok"],
        "failed": totals["failed"],
        "lost": totals["lost"],
        "simulated_time": totals["makespan"],
        "runtime": totals["runtime"],
        "idle_releases": metadata["idle_releases"],
        "host": measured.get("host"),
        "wall_time": measured.get("wall_time"),
        "speed_up": measured.get("speed_up"),
        "versions": json.dumps(metadata["versions"], sort_keys=True),
        "specification": json.dumps(cell, sort_keys=True),
    }


# -- one type a column ------------------------------------------------------------------------------------------------
# A parameter may be a number in one run and a text in another, or always absent. The type of its column in the store
# is a function of the runs alone, not of the order in which they were added.


def free_types(table: Table) -> dict[str, str]:
    """Return the types of a trace's columns of metrics and parameters; a column without any value has `null`."""
    types = {}
    for name in table.column_names:
        if is_free(name):
            column = table[name]
            kind = "string" if is_text(column.type) else str(column.type)
            types[name] = "null" if column.null_count == len(column) else kind
    return types


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds texts, in whichever of Arrow's types: pandas 3 writes another one than pandas 2."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def join_types(every: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return, by column in their final order, the least type that holds all values; text when nothing else does."""
    joined: dict[str, str] = {}
    for types in every:
        for name, kind in types.items():
            joined[name] = _join(joined.get(name, "null"), kind)
    return {name: joined[name] for name in sorted(joined, key=lambda name: (name.startswith("config."), name))}


def _join(one: str, other: str) -> str:
    if other in (one, "null"):
        return one
    if one == "null":
        return other
    return "double" if {one, other} == {"int64", "double"} else "string"


def schema_of(types: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a stored trace with these columns of metrics and parameters."""
    import pyarrow as pa

    fields = [
        pa.field(name, arrow_type(kind), metadata={"description": meaning})
        for name, (kind, meaning) in {**RUN_COLUMNS, **COLUMNS}.items()
        if name not in ("optimizer", "benchmark")  # the folder says them
    ]
    fields += [pa.field(name, arrow_type("string" if kind == "null" else kind)) for name, kind in types.items()]
    return pa.schema(fields)


def conform(table: Table, schema: pa.Schema) -> Table:
    """Return the table with exactly the schema's columns; one that it does not have is null."""
    import pyarrow as pa

    arrays = []
    for field in schema:
        if field.name not in table.column_names:
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
        else:
            arrays.append(_cast(table[field.name], field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == wanted:
        return column
    if is_text(wanted) and not is_text(column.type) and not pa.types.is_dictionary(column.type):
        texts: Sequence[str | None] = [None if v is None else json.dumps(v) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, wanted)])
    return column.cast(wanted, safe=False)  # integers beyond 2**53 beside fractions are rounded
