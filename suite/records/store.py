"""Reading the store of a study: every evaluation of every run in one table, with the columns that are asked for."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.suite.records import store_cells
from zerowait.suite.records.selection import Condition, Selection, Where, parse
from zerowait.suite.records.store_cells import CELL_COLUMNS, RUN_COLUMNS, StoredCell, Table
from zerowait.suite.records.trace import COLUMNS, arrow_type
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError, TraceError, one_line
from zerowait.suite.sharing.regular_files import open_regular, read_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

FOOTER = b"zerowait.runs"
"""Key of a partition's metadata: whose runs it holds, and what types their metrics and parameters have."""
THREADS = 4
"""Read and decompress partitions at the same time."""
_DICTIONARY = ("cell", "status")
_OF_FOLDER = ("optimizer", "benchmark")


@dataclass(frozen=True, slots=True)
class Partition:
    """The stored runs of one optimizer on one benchmark, as the file's own footer describes them."""

    path: Path
    """The file."""
    optimizer: str
    """Label of the optimizer."""
    benchmark: str
    """Name of benchmark and task."""
    cells: Sequence[str]
    """Keys of the runs in the file."""
    types: Mapping[str, str]
    """Types of the columns of metrics and parameters."""

    @classmethod
    def of(cls, path: Path, schema: pa.Schema) -> Partition:
        """Return what the footer of a partition's file says."""
        raw = (schema.metadata or {}).get(FOOTER)
        if raw is None:
            raise TraceError(f"{path} is no part of a store; remove it")
        try:
            data = json.loads(raw)
            return cls(path, data["optimizer"], data["benchmark"], data["cells"], data["types"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TraceError(damaged_store(path, error)) from None

    def footer(self) -> bytes:
        """Return the JSON that the file carries."""
        return json.dumps(
            {"optimizer": self.optimizer, "benchmark": self.benchmark, "cells": self.cells, "types": self.types},
            sort_keys=False,
        ).encode()


def store_of(path: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """Return the store at a path, and the study folder around it; None when the path is that of a store alone.

    Raises
    ------
    TraceError
        There is neither a store nor a study there.
    """
    path = arguments.folder("the study", path, "the path of a study's output folder")
    with contextlib.suppress(OSError):  # such as of a name that is too long
        if (path / store_cells.STORE).is_dir() or (path / store_cells.CELLS).is_dir():
            return path / store_cells.STORE, path
        if (path / store_cells.CELLS_FILE).is_file():
            return path, None
    raise TraceError(
        f"there is no study in {path}; name the output folder of a study, which has a folder 'store' or 'cells', "
        "or one with runs of your own script, each finished by simulator.finish()"
    )


def _runs_of(path: str | os.PathLike[str]) -> tuple[Path, Path | None, list[Path]]:
    """Return what `store_of` does and no traces; or, of a folder of runs of one's own scripts, theirs."""
    try:
        return *store_of(path), []
    except TraceError:
        folder = Path(path)
        with contextlib.suppress(OSError):
            traces = list(store_cells.own_traces(folder))
            if traces:
                return folder / store_cells.STORE, folder, traces
        raise


def listed_cells(study: Path) -> list[str] | None:
    """Return the keys of the cells that the study has now, in its order; None when it does not say.

    Raises
    ------
    TraceError
        The list is damaged.
    """
    listing = study / store_cells.STUDY_FILE
    try:
        return [str(name).rsplit("/", 1)[-1] for name in read_json(listing)["cells"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{listing} is damaged ({error!r}); run the study again to write it anew") from None


def finished_cells(study: Path) -> list[str]:
    """Return the keys of the study's finished cells, sorted."""
    folder = study / store_cells.CELLS
    if not folder.is_dir():
        return []
    there = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and not entry.suffix}
    listed = listed_cells(study)
    return sorted(there if listed is None else there.intersection(listed))


def partition_paths(store: Path) -> list[Path]:
    """Return the files of a store's partitions, sorted."""
    return sorted((store / store_cells.TRACES).glob(f"*/*/{store_cells.RUNS_FILE}"))


def load_study(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    where: Where = None,
) -> pd.DataFrame:
    """Return the evaluations of all finished runs of a study, also while it is running.

    Rows are in the order of optimizer, benchmark, workers, run seed and delivery; runs that have ended since the last
    update of the store come last.

    Parameters
    ----------
    path
        The output folder of a study, a copy of its folder `store`, or a folder of runs of one's own scripts, which
        `Simulator.finish` has ended: their traces' labels name optimizer and benchmark.
    columns
        Names of columns, or patterns such as `config.*`, in the order wanted; None returns all of them.
        Memory and time grow with their number: a study of millions of evaluations is best read with a few.
    where
        What to keep: a text such as `"optimizer=optuna*,P=1,2,4,seed=5..9"`, several of them, or a mapping of names
        to a value or a collection of values; see `zerowait.suite.records.selection`. It may name columns that are not
        returned; `seed` is the run seed.

    Returns
    -------
    DataFrame
        `optimizer`, `benchmark`, `n_workers`, `run_seed` and `cell` say of which run a row is
        (`store_cells.RUN_COLUMNS`); the columns of the trace follow (`trace.COLUMNS`), then
        `metric.*` and `config.*`, missing where a benchmark has none of that name, and texts where the optimizers and
        benchmarks kept have both numbers and texts of that name. `optimizer`, `benchmark`, `cell` and `status` are
        categorical.

    Raises
    ------
    TraceError
        There is no study, no finished run, or a file is damaged.
    SpecificationError
        A column, an optimizer or a benchmark is unknown; the message lists those that there are.
    """
    store, study, own = _runs_of(path)
    chosen = parse(where)
    with _opened(store) as parts:
        fresh, stale = _differences(study, parts)
        fresh += [store_cells.read_own_run(trace, store.parent) for trace in own]
        if not parts and not fresh:
            raise TraceError(f"there is no finished run in {path}; run the study first: zerowait run STUDY")
        types = _types(parts, fresh, Selection())
        available = [*RUN_COLUMNS, *COLUMNS, *types]
        wanted = available if columns is None else _matching(columns, available)
        chosen.check_columns(available)
        chosen.check_names(
            **{
                name: sorted({getattr(p, name) for p, _ in parts} | {cell.row[name] for cell in fresh})
                for name in _OF_FOLDER
            }
        )
        # What is left out must not decide how the rest looks: another benchmark's text would make texts of numbers.
        types |= {name: kind for name, kind in _types(parts, fresh, chosen).items() if kind != "null"}
        needed = [name for name in available if name in wanted or name in chosen.columns]
        reader = _Reader(needed, store_cells.schema_of(types), chosen, stale)
        with ThreadPoolExecutor(THREADS) as threads:
            chunks = [*threads.map(reader.stored, *zip(*parts, strict=True))] if parts else []
        chunks += [reader.fresh(cell) for cell in fresh]
    return _frame([chunk for chunk in chunks if chunk is not None], wanted)


def free_columns(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the columns of metrics and parameters in a store, as its files' footers have them, sorted.

    Raises
    ------
    TraceError
        There is no store, or a file is damaged.
    """
    with _opened(store_of(path)[0]) as parts:
        return sorted({name for part, _ in parts for name in part.types})


def load_cells(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return one row for every finished run of a study; see `zerowait.suite.records.store_cells.CELL_COLUMNS`.

    Rows are in the order of optimizer, benchmark, workers and run seed. `path` and the errors are those of
    `load_study`.
    """
    store, study, own = _runs_of(path)
    table = read_cells(store)
    if own:
        table = cells_table([store_cells.read_own_run(trace, store.parent).row for trace in own])
    if study is not None and (study / store_cells.CELLS).is_dir():
        import pyarrow as pa

        finished = finished_cells(study)
        known = set(table["cell"].to_pylist())
        _refuse_damaged(study, known.intersection(finished))
        rows = [store_cells.read_cell(study / store_cells.CELLS / key).row for key in finished if key not in known]
        there = set(finished)
        keep = pa.array([key in there for key in table["cell"].to_pylist()], pa.bool_())
        table = pa.concat_tables([table.filter(keep), cells_table(rows)])
    if not table.num_rows:
        raise TraceError(f"there is no finished run in {path}; run the study first: zerowait run STUDY")
    frame: pd.DataFrame = table.to_pandas()
    return frame.sort_values(list(RUN_COLUMNS), ignore_index=True)


def cells_schema() -> pa.Schema:
    """Return the schema of `cells.parquet`."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(name, arrow_type(kind), metadata={"description": meaning})
            for name, (kind, meaning) in CELL_COLUMNS.items()
        ]
    )


def cells_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows of `cells.parquet` as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist([dict(row) for row in rows], schema=cells_schema())


def read_cells(store: Path) -> Table:
    """Return the table in `cells.parquet`, empty when there is none yet.

    Raises
    ------
    TraceError
        The file is damaged, or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store / store_cells.CELLS_FILE
    if not path.is_file():
        return cells_table([])
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read()
        table = table.select(list(CELL_COLUMNS)).cast(cells_schema())
        table.validate(full=True)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise TraceError(damaged_store(path, error)) from None
    return table


def damaged_store(path: Path, error: Exception) -> str:
    """Return what to say about a file of the store that cannot be read."""
    return (
        f"{path} is damaged ({one_line(error)}); remove it and run the study again, "
        "which makes it anew from the finished cells"
    )


class _opened:  # noqa: N801 - a context manager, used like a function
    """The partitions of a store with their open files: who replaces a file meanwhile does not disturb its reader."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._parts: list[tuple[Partition, pq.ParquetFile]] = []
        self._files = contextlib.ExitStack()

    def __enter__(self) -> list[tuple[Partition, pq.ParquetFile]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in partition_paths(self._store):
            try:
                opened = self._files.enter_context(os.fdopen(open_regular(path), "rb"))
                file = pq.ParquetFile(opened, read_dictionary=_DICTIONARY, page_checksum_verification=True)
            except FileNotFoundError:
                continue  # the runner has just removed what the study has no more
            except (OSError, pa.ArrowException) as error:
                raise TraceError(damaged_store(path, error)) from None
            self._parts.append((Partition.of(path, file.schema_arrow), file))
        self._parts.sort(key=lambda part: (part[0].optimizer, part[0].benchmark))
        return self._parts

    def __exit__(self, *exception: object) -> None:
        self._files.close()


def _differences(
    study: Path | None, parts: Sequence[tuple[Partition, pq.ParquetFile]]
) -> tuple[list[StoredCell], frozenset[str]]:
    """Return the finished cells that the store does not have yet, and the stored ones that the study has no more."""
    if study is None or not (study / store_cells.CELLS).is_dir():
        return [], frozenset()
    finished = finished_cells(study)
    stored = {key for partition, _ in parts for key in partition.cells}
    _refuse_damaged(study, stored.intersection(finished))
    fresh = [store_cells.read_cell(study / store_cells.CELLS / key) for key in finished if key not in stored]
    return fresh, frozenset(stored.difference(finished))


def _refuse_damaged(study: Path, stored: Collection[str]) -> None:
    """Raise `TraceError` when a cell that is in the store has been damaged since."""
    with contextlib.suppress(FileNotFoundError):
        written = (study / store_cells.STORE / store_cells.CELLS_FILE).stat().st_mtime
        store_cells.refuse_damaged_since(written, [study / store_cells.CELLS / key for key in sorted(stored)])


def _matching(patterns: Sequence[str], available: Sequence[str]) -> list[str]:
    if isinstance(patterns, str):
        raise SpecificationError(f"columns is {patterns!r}; it must be a list of names, such as [{patterns!r}]")
    found: list[str] = []
    for pattern in patterns:
        names = [name for name in available if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise SpecificationError(f"the study has no column {pattern!r}; it has: {', '.join(available)}")
        found += [name for name in names if name not in found]
    return found


def _types(
    parts: Sequence[tuple[Partition, pq.ParquetFile]], fresh: Sequence[StoredCell], where: Selection
) -> dict[str, str]:
    """Return the types of the columns of metrics and parameters, over the pairs that the conditions leave."""
    stored = [part.types for part, _ in parts if where.holds(optimizer=part.optimizer, benchmark=part.benchmark)]
    added = [
        cell.table for cell in fresh if where.holds(optimizer=cell.row["optimizer"], benchmark=cell.row["benchmark"])
    ]
    return store_cells.join_types([*stored, *map(store_cells.free_types, added)])


class _Reader:
    """Reads the wanted rows and columns of one partition or one cell."""

    def __init__(self, needed: Sequence[str], schema: pa.Schema, where: Selection, stale: frozenset[str]) -> None:
        import pyarrow as pa

        self._where = where
        self._stale = stale
        inner = [name for name in [*needed, *(["cell"] if stale else [])] if name not in _OF_FOLDER]
        self._schema = pa.schema([schema.field(name) for name in dict.fromkeys(inner)])

    def stored(self, partition: Partition, file: pq.ParquetFile) -> Table | None:
        """Return what is wanted of a partition, or None."""
        import pyarrow as pa

        if not self._where.holds(optimizer=partition.optimizer, benchmark=partition.benchmark):
            return None
        there = set(file.schema_arrow.names)
        try:
            table = file.read([n for n in self._schema.names if n in there], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise TraceError(damaged_store(partition.path, error)) from None
        if not self._schema.names:
            table = pa.table({"cell": pa.nulls(file.metadata.num_rows)})
        return self._finish(table, partition.optimizer, partition.benchmark)

    def fresh(self, cell: StoredCell) -> Table | None:
        """Return what is wanted of a cell that is not stored yet, or None."""
        if not self._where.holds(optimizer=cell.row["optimizer"], benchmark=cell.row["benchmark"]):
            return None
        full = store_cells.schema_of(store_cells.free_types(cell.table))
        table = store_cells.with_run_columns([cell], [store_cells.conform(cell.table, full)])
        return self._finish(table, cell.row["optimizer"], cell.row["benchmark"])

    def _finish(self, table: Table, optimizer: str, benchmark: str) -> Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        keep = None
        if self._schema.names:
            table = _conform(table, self._schema)
        if self._stale:
            keep = pc.invert(pc.is_in(table["cell"].cast(pa.string()), pa.array(sorted(self._stale))))
        for condition in self._where.conditions:
            if condition.column not in _OF_FOLDER:
                matches = _matches(table[condition.column], condition)
                keep = matches if keep is None else pc.and_(keep, matches)
        if keep is not None:
            table = table.filter(keep)
        return table.append_column("optimizer", _constant(optimizer, table.num_rows)).append_column(
            "benchmark", _constant(benchmark, table.num_rows)
        )


def _matches(column: pa.ChunkedArray, condition: Condition) -> pa.ChunkedArray:
    """Return for which rows a condition holds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)):
        return pa.chunked_array([pa.array(condition.mask(column.to_numpy()))])
    column = column.cast(pa.string())
    found = pa.array([text for text in column.unique().to_pylist() if text is not None and condition.holds(text)])
    return pc.is_in(column, found.cast(pa.string()))


def _constant(value: str, n: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    codes: np.ndarray[Any, np.dtype[np.int32]] = np.zeros(n, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))


def _conform(table: Table, schema: pa.Schema) -> Table:
    """Return the table in the schema, but leave dictionaries as they are: pandas has them as categories."""
    import pyarrow as pa

    fields = []
    for field in schema:
        dictionary = field.name in _DICTIONARY
        fields.append(field.with_type(pa.dictionary(pa.int32(), pa.string())) if dictionary else field)
    return store_cells.conform(table, pa.schema(fields))


def _frame(chunks: Sequence[Table], wanted: Sequence[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not chunks:
        return pd.DataFrame(columns=list(wanted))
    table = pa.concat_tables(chunks).select(list(wanted)).replace_schema_metadata(None).unify_dictionaries()
    try:
        frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    except pa.ArrowException as error:
        raise TraceError(f"the store is damaged ({one_line(error)}); run the study again") from None
    return frame
