"""The trace: the table of a run's evaluations in delivery order, and its Parquet file.

Times and runtimes are in simulated seconds, `wall_time` in real seconds. `wall_time` is recorded under measured
overhead only; everywhere else a trace depends on seeds alone, and equal seeds give files with equal bytes.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata as importlib_metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

import numpy as np

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import TraceError, one_line, shown
from zerowait.suite.rules.identity import plain
from zerowait.suite.sharing.fsync import replace_file
from zerowait.suite.sharing.regular_files import open_regular, read_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Labels: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
Times: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

Values: TypeAlias = Sequence[Any] | np.ndarray[Any, np.dtype[Any]]

FORMAT_VERSION = 1
ATTRIBUTE = "zerowait"
PARQUET: Mapping[str, Any] = MappingProxyType({"compression": "zstd", "write_page_checksum": True})
"""How Parquet files are written: a changed byte is noticed where they are read, and no number is another one."""

COLUMNS: Mapping[str, tuple[str, str]] = {
    "evaluation": ("int64", "number in delivery order, from 0"),
    "worker": ("int32", "label of the simulated machine, from 0"),
    "freed": ("float64", "simulated s: when the worker's previous result was delivered, 0 at first"),
    "start": ("float64", "simulated s: when the configuration was handed over"),
    "end": ("float64", "simulated s: when the result was delivered"),
    "runtime": ("float64", "s charged"),
    "value": ("float64", "loss, minimised; NaN when the evaluation failed or was lost"),
    "fidelity": ("float64", "training budget in the benchmark's unit; NaN for the full training"),
    "resumed_from": ("float64", "fidelity of the state that was continued; NaN when trained from scratch"),
    "clipped": ("bool", "whether a negative difference of runtimes was charged as 0"),
    "status": ("str", "ok, failed or lost"),
    "config_id": ("str", "identity of the configuration"),
    "seed": ("int64", "seed of the objective"),
    "wall_time": ("float64", "real s since the run began; NaN unless overhead is measured"),
    "overhead": ("float64", "s that the optimizer was charged for this configuration"),
}
"""Name, type and meaning of the fixed columns; `fidelity.*`, `full.*`, `metric.*` and `config.*` follow, by name.

A reader fills what an older file lacks, so a column can be added here. One that follows from the others is computed in
`build_trace`; one that is recorded comes from `journal_to_trace` and, in one process, from `pending`.
"""
LOST_TIME = "lost_time"
OF_CLUSTER: Mapping[str, tuple[str, str]] = {
    "worker": COLUMNS["worker"],
    "worker_speed": ("float64", "s of training that the worker does in a simulated s"),
    "attempt": ("int32", "how many attempts the cluster made"),
    LOST_TIME: ("float64", "simulated s of failed attempts, and for which the worker was away"),
}
"""Columns of runs with a cluster only, where a worker is no label but a machine; after `overhead`."""
FIDELITY = "fidelity."
"""Begins the columns of further fidelities, in a run with several: NaN for the full training, as in `fidelity`."""
FULL = "full."
"""Begins the columns that say what a configuration is worth at the highest fidelity, which no optimizer sees."""
ESSENTIAL = ("evaluation", "worker", "freed", "start", "end", "runtime", "value", "fidelity", "status", "config_id")
"""Without one of these a table is no trace."""


def is_free(name: str) -> bool:
    """Tell whether a trace may have this column or not: metrics, parameters, what a cluster decided."""
    return "." in name or (name in OF_CLUSTER and name not in COLUMNS)


COMMON_LIBRARIES = ("zerowait", "numpy", "ConfigSpace")
"""Distributions that every trace depends on."""


@dataclass(slots=True)
class Columns:
    """A run's records by column, in delivery order; see `COLUMNS`."""

    freed: Values
    start: Values
    end: Values
    runtime: Values
    value: Values
    fidelity: Values
    resumed_from: Values
    clipped: Values
    status: Values
    config_id: Values
    seed: Values
    wall_time: Values
    overhead: Values
    metrics: Mapping[str, Values]
    """By name."""
    config: Mapping[str, Values]
    """By name; None where a configuration has no such parameter."""
    other_fidelities: Mapping[str, Values]
    """By name, in a run with several, those beside `fidelity`; missing for the full training."""
    of_cluster: Mapping[str, Values]
    """By name, see `OF_CLUSTER`; empty in a run without a cluster."""


def worker_labels(
    freed: Values,
    start: Values,
    end: Values,
    config_id: Values,
    n_workers: int,
) -> Labels:
    """Return one worker number a row, derived from the times alone.

    Rows in the order of (start, identity) take the lowest-numbered worker whose last end equals their `freed`. Among
    equal starts, evaluations without duration come first, and of those the ones whose worker was free before: another
    one may follow on their worker at the same time.

    Raises
    ------
    TraceError
        A row's `freed` is the end of no earlier row: two evaluations overlap on one worker.
    """
    labels = _labels_of_chains(
        np.asarray(freed, dtype=np.float64), np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64),
        config_id, n_workers,
    )  # fmt: skip
    if labels is not None:
        return labels
    times = [np.asarray(column, dtype=np.float64).tolist() for column in (freed, start, end)]
    return _labels_one_by_one(times[0], times[1], times[2], config_id, n_workers)


def _labels_of_chains(freed: Times, start: Times, end: Times, config_id: Values, n_workers: int) -> Labels | None:
    """Return the labels where the times leave no choice, as they nearly always do; else None.

    When no two evaluations end at the same time and none takes no time, every row but a worker's first has one
    predecessor, the row that ended when it was freed, and has its label.
    """
    n = len(end)
    if not (end[1:] > end[:-1]).all() or not (end > start).all() or not (start >= freed).all():
        return None
    is_first = freed == 0.0
    # Half as large as NumPy's own indices: this is when a trace needs the most memory.
    predecessor: Any = np.searchsorted(end, freed).astype(np.int32 if n < 2**31 else np.int64)
    if (predecessor[~is_first] >= n).any():
        return None
    predecessor[is_first] = np.flatnonzero(is_first)
    if (end[predecessor][~is_first] != freed[~is_first]).any():
        return None
    is_left = np.zeros(n, dtype=bool)
    is_left[predecessor[~is_first]] = True
    if np.count_nonzero(is_left) < np.count_nonzero(~is_first):
        return None  # two rows follow on one
    first = np.flatnonzero(is_first).tolist()
    if len(first) > n_workers:
        return None
    first.sort(key=lambda i: (start[i], config_id[i], end[i]))
    labels = np.empty(n, dtype=np.int32)
    labels[first] = np.arange(len(first))
    root: Any = predecessor
    while True:  # each step doubles how far back a row looks
        further = root[root]
        if (further == root).all():
            found: Labels = labels[root]
            return found
        root = further


def _labels_one_by_one(
    freed: Sequence[float], start: Sequence[float], end: Sequence[float], config_id: Values, n_workers: int
) -> Labels:
    """Return the labels row by row, as `worker_labels` describes it."""
    n = len(start)
    if len(set(start)) == n:
        order: Sequence[int] = np.argsort(np.asarray(start, dtype=np.float64), kind="stable").tolist()
    else:
        order = sorted(
            range(n),
            key=lambda i: (start[i], end[i] > start[i], freed[i] == start[i] == end[i], config_id[i], end[i]),
        )
    labels = [0] * n
    initial = 0  # used workers have lower numbers than unused ones, so the unused ones need no heap
    waiting: dict[float, int | list[int]] = {}  # by their last end: one worker as a rule, else a heap of them
    for i in order:
        free = waiting.pop(freed[i], None)
        if type(free) is list:
            worker = heapq.heappop(free)
            if free:
                waiting[freed[i]] = free
        elif free is not None:
            worker = cast("int", free)
        elif freed[i] == 0.0 and initial < n_workers:
            worker = initial
            initial += 1
        else:
            raise TraceError(
                f"evaluation {i} took a slot freed at {freed[i]!r} s, but no worker of {n_workers} was freed then"
            )
        labels[i] = worker
        others = waiting.setdefault(end[i], worker)
        if type(others) is list:
            heapq.heappush(others, worker)
        elif others != worker:
            waiting[end[i]] = sorted([cast("int", others), worker])
    return np.array(labels, dtype=np.int32)


def build_trace(columns: Columns, n_workers: int, metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Return the trace of these records with the metadata in `attrs["zerowait"]`."""
    import pandas as pd

    n = len(columns.end)
    data: dict[str, Any] = {"evaluation": np.arange(n, dtype=np.int64)}
    if columns.of_cluster:
        data["worker"] = np.asarray(columns.of_cluster["worker"], dtype=np.int32)
    else:
        data["worker"] = worker_labels(columns.freed, columns.start, columns.end, columns.config_id, n_workers)
    for name, (kind, _) in COLUMNS.items():
        if name not in data:
            values = getattr(columns, name)
            data[name] = _texts(values) if kind == "str" else np.asarray(values, dtype=kind)
    for name, (kind, _) in OF_CLUSTER.items():
        if columns.of_cluster and name not in data:
            data[name] = np.asarray(columns.of_cluster[name], dtype=kind)
    for name in sorted(columns.other_fidelities):
        data[FIDELITY + name] = np.asarray(columns.other_fidelities[name], dtype=np.float64)
    for name in sorted(columns.metrics):
        data[f"metric.{name}"] = np.asarray(columns.metrics[name], dtype=np.float64)
    for name in sorted(columns.config):
        data[f"config.{name}"] = _config_column(columns.config[name])
    trace = pd.DataFrame(data, copy=False)
    trace.attrs[ATTRIBUTE] = dict(metadata)
    return trace


def _texts(values: Values) -> pd.Series[Any]:
    """Return texts in the type that this version of pandas has for them, so that a trace is what its file gives."""
    import pandas as pd

    return pd.Series(np.asarray(values, dtype=object), dtype=pd.Series([""]).dtype, copy=False)


def by_name(rows: Sequence[Mapping[str, Any]], absent: float | None = None) -> dict[str, list[Any]]:
    """Return the values of rows by name, with `absent` where a row has none."""
    distinct: set[tuple[str, ...]] = set(map(tuple, filter(None, rows)))
    names = sorted(set(itertools.chain.from_iterable(distinct)))
    return {name: [row.get(name, absent) for row in rows] for name in names}


def _config_column(values: Values) -> Any:  # noqa: PLR0911 - one return a kind of column
    """Return numbers, booleans or strings as such; anything mixed as its JSON text, so that Parquet can hold it."""
    if isinstance(values, np.ndarray):
        return values
    kinds = set(map(type, values))
    try:
        if kinds == {bool}:
            return np.array(values, dtype=bool)
        if kinds == {int}:
            return np.array(values, dtype=np.int64)
        if kinds <= {int, float, type(None)} and kinds & {int, float}:
            return np.array(values, dtype=np.float64)
    except OverflowError:  # an integer beyond 64 bits
        return _texts([str(v) for v in values])
    if kinds <= {str, type(None)}:
        return _texts(values)
    if any(hasattr(v, "dtype") for v in values):
        return _config_column([v.tolist() if hasattr(v, "dtype") else v for v in values])
    encode = json.JSONEncoder(sort_keys=True, default=plain).encode
    return _texts([None if v is None else encode(v) for v in values])


class Guesses(TypedDict):
    """How often a run guessed that workers are idle."""

    idle_releases: int
    """How often a result was delivered because the free workers were taken to be idle."""
    stall_releases: int
    """Those of them that came after `Idle.stall_after`, although something worked."""
    wrong_guesses: int
    """How often a worker that was taken to be idle called after all."""
    late_results: int
    """How many results were overtaken, because their query took longer than the training."""


NO_GUESSES: Guesses = {"idle_releases": 0, "stall_releases": 0, "wrong_guesses": 0, "late_results": 0}


def make_metadata(
    specification: Mapping[str, Any], columns: Columns, guesses: Guesses, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a trace's metadata; `measured` is what depends on the machine's speed and stays out of the file."""
    makespan = float(np.max(columns.end, initial=0.0))
    statuses = np.asarray(columns.status, dtype=object)
    named = ("ok", "failed", "lost", *(["preempted"] if columns.of_cluster else []))
    lost_or_failed = {status: int((statuses == status).sum()) for status in named}
    return {
        "format": FORMAT_VERSION,
        "specification": dict(specification),
        "versions": versions(),
        **guesses,
        "totals": {
            "evaluations": len(columns.end),
            "makespan": makespan,
            "runtime": math.fsum(columns.runtime),
            **lost_or_failed,
        },
        "measured": dict(measured),
    }


def measured_facts(makespan: float, wall_time: float) -> dict[str, Any]:
    """Return what was measured rather than simulated: host, real seconds, and the speed-up over waiting for real."""
    return {
        "host": platform.node(),
        "wall_time": wall_time,
        "speed_up": makespan / wall_time if wall_time > 0 else math.inf,
    }


_libraries: ContextVar[tuple[str, ...]] = ContextVar("libraries", default=())


@contextlib.contextmanager
def made_by(*distributions: str) -> Iterator[None]:
    """Let the traces that are made in here name the versions of these distributions too, as far as they are installed.

    Whoever runs a library says so: an adapter does it for its own.
    """
    token = _libraries.set((*_libraries.get(), *distributions))
    try:
        yield
    finally:
        _libraries.reset(token)


def versions() -> dict[str, str]:
    """Return the versions of Python, of what every trace depends on, and of the libraries that `made_by` names."""
    found = {name: _installed(name) for name in dict.fromkeys((*COMMON_LIBRARIES, *_libraries.get()))}
    return {"python": platform.python_version(), **{name: one for name, one in found.items() if one is not None}}


@functools.cache
def _installed(name: str) -> str | None:
    try:
        return importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return None


def write_trace(trace: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a trace as Parquet; what was measured on this machine goes into `<name>.measured.json` beside it.

    Both files appear whole or not at all (temporary file, then rename).

    Raises
    ------
    SpecificationError
        It is no DataFrame, or no file can have this path.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    arguments.instance("the trace", trace, pd.DataFrame, "a DataFrame, as simulate returns it")
    path = arguments.folder("path", path, "the path of a Parquet file")
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise arguments.refusal("path", path, "the path of a file, in a folder that is there")
    metadata = dict(trace.attrs.get(ATTRIBUTE, {}))
    measured = metadata.pop("measured", {})
    table = pa.Table.from_pandas(trace, preserve_index=False)
    fields = []
    for column in table.schema:
        kind, meaning = {**COLUMNS, **OF_CLUSTER}.get(column.name, ("", ""))
        # A column of None alone has no type, and pandas 3 makes large strings of texts: a trace is the same from both.
        text = kind == "str" or pa.types.is_null(column.type) or pa.types.is_large_string(column.type)
        typed = column.with_type(pa.string()) if text else column
        fields.append(typed.with_metadata({"description": meaning}) if meaning else typed)
    # pandas' own metadata names library versions and is not needed to read the table back.
    table = table.cast(pa.schema(fields, metadata={ATTRIBUTE: json.dumps(metadata, sort_keys=True)}))
    replace_file(path, lambda temporary: pq.write_table(table, temporary, **PARQUET))
    if measured:
        text = json.dumps(measured, sort_keys=True, indent=1)
        replace_file(_measured_path(path), lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))
    return path


def read_trace(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a trace from its Parquet file; metadata are in `attrs["zerowait"]`.

    A column that an older version did not write has missing values, and one that this version does not know is left
    out.

    Raises
    ------
    TraceError
        The file is missing, damaged or no trace, or was written in another format version.
    """
    path = arguments.folder("path", path, "the path of a Parquet file")
    table, metadata = read_table(path)
    measured = _measured_path(path)
    try:
        metadata["measured"] = read_json(measured) if measured.exists() else {}
    except (OSError, ValueError) as error:
        raise TraceError(f"{measured} cannot be read ({error}); remove it: it says how long the run took") from None
    trace: pd.DataFrame = table.to_pandas()
    trace.attrs[ATTRIBUTE] = metadata
    return trace


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows of a trace's file, with exactly the columns of `COLUMNS` and the free ones, and its metadata.

    Raises
    ------
    TraceError
        As `read_trace`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with os.fdopen(open_regular(path), "rb") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read(use_threads=False)
    except FileNotFoundError:
        raise TraceError(f"there is no trace at {path}") from None
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path} is not a Parquet file: {one_line(error)}") from None
    metadata = metadata_in(path, table.schema.metadata or {})
    there = set(table.column_names)
    if not there.issuperset(ESSENTIAL):
        raise TraceError(f"{path} is a Parquet file but not a trace of zerowait")
    free = [name for name in table.column_names if is_free(name)]
    columns = {
        name: table[name] if name in there else pa.nulls(table.num_rows, arrow_type(kind))
        for name, (kind, _) in COLUMNS.items()
    }
    return pa.table({**columns, **{name: table[name] for name in free}}), metadata


def metadata_in(path: Path, of_file: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return a trace's metadata from those of its Parquet file; raise `TraceError` when it has none of ours."""
    try:
        metadata = json.loads(of_file[ATTRIBUTE.encode()])
    except (KeyError, ValueError, RecursionError):
        raise TraceError(f"{path} is a Parquet file but not a trace of zerowait") from None
    found = metadata.get("format") if isinstance(metadata, dict) else None
    if found != FORMAT_VERSION:
        raise TraceError(f"{path} has format {shown(found)}; this version of zerowait reads format {FORMAT_VERSION}")
    return dict(metadata)


def arrow_type(kind: str) -> pa.DataType:
    """Return Arrow's type for a column's type as the tables of columns name it."""
    import pyarrow as pa

    return pa.type_for_alias("string" if kind == "str" else kind)


def _measured_path(path: Path) -> Path:
    return path.with_suffix(".measured.json")
