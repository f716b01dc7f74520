"""Writing the store of a study from its finished cells, little by little while it runs.

A partition's file is replaced as a whole: by a temporary file and a rename, so that a reader finds the old one or the
new one. Whatever was killed in between is made good by the next update, because each compares the store with the
cells. The bytes of a partition depend on its cells alone, not on the order in which they came.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zerowait.suite.records import store, store_cells
from zerowait.suite.records.store import Partition
from zerowait.suite.records.trace import PARQUET
from zerowait.suite.rules.errors import TraceError
from zerowait.suite.sharing.fsync import replace_file, to_disk
from zerowait.suite.sharing.regular_files import open_regular, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from zerowait.experiments.grid.runner import Summary
    from zerowait.suite.records.store_cells import StoredCell, Table

LEAST_SECONDS = 10.0
"""While a study runs, at least so many seconds pass between two updates of its store..."""
SHARE = 0.02
"""...and so many that updates take at most this share of the time."""


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did."""

    cells: int
    """Cells in the store now."""
    added: int
    """Cells that it did not have before."""
    dropped: int
    """Cells that the study has no more."""


class StoreWriter:
    """Keeps the store of a running study up to date; the grid runner calls it whenever a cell has ended.

    Parameters
    ----------
    study
        The output folder of the study.
    clock
        Real seconds.
    """

    def __init__(self, study: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._study = study
        self._clock = clock
        self._ended, self._lasted = clock(), 0.0
        self._damaged = False

    def __call__(self, summary: Summary) -> None:
        """Update the store if the last time is long enough ago."""
        del summary  # the cells' folders say what is finished
        begin = self._clock()
        if self._damaged or begin - self._ended < max(LEAST_SECONDS, self._lasted / SHARE):
            return
        try:
            update(self._study)
        except TraceError:
            # A damaged cell must not stop the others: the update at the end of the study meets it again and tells.
            self._damaged = True
        self._ended = self._clock()
        self._lasted = self._ended - begin


def update(study: Path) -> Update:
    """Bring the store of a study up to date with its finished cells.

    Raises
    ------
    TraceError
        A file of a cell is damaged; the message names it.
    """
    folder = study / store_cells.STORE
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for temporary in folder.rglob("*.tmp"):
            temporary.unlink()
        finished = store.finished_cells(study)
        partitions = dict(_partitions(folder))
        stored = {key: path for path, partition in partitions.items() for key in partition.cells}
        new = [key for key in finished if key not in stored]
        dropped = frozenset(stored).difference(finished)
        rows: list[Mapping[str, Any]] = []
        pending = _by_partition(study, folder, new)
        for path in sorted({*pending, *(stored[key] for key in dropped)}):
            rows += _rewrite(study, path, partitions.get(path), pending.get(path, []), dropped)
        _rewrite_cells(study, folder, finished, rows)
        return Update(len(finished), len(new), len(dropped))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the store; the kernel releases the lock however it ends."""
    with os.fdopen(open_regular(folder / ".lock", os.O_RDWR | os.O_CREAT), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _partitions(folder: Path) -> Iterator[tuple[Path, Partition]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in store.partition_paths(folder):
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                yield path, Partition.of(path, pq.read_schema(file))
        except (OSError, TraceError, pa.ArrowException):
            path.unlink()  # made anew from its cells, which nobody counts as stored now


def _by_partition(study: Path, folder: Path, keys: Sequence[str]) -> dict[Path, list[str]]:
    """Return the cells by the file they belong to; of each kind of cell one trace is asked what its pair is called."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        path = study / store_cells.CELLS / key / store_cells.CELL_FILE
        try:
            cell = read_json(path)
            names = [cell[name] for name in ("label", "benchmark", "task", "benchmark_parameters")]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TraceError(
                f"{path} cannot be read ({error!r}); remove the cell's folder and run the study again"
            ) from None
        kinds[json.dumps(names, sort_keys=True)].append(key)
    pending: dict[Path, list[str]] = defaultdict(list)
    for members in kinds.values():
        row = store_cells.read_cell(study / store_cells.CELLS / members[0]).row
        pair = store_cells.partition_folder(folder, row["optimizer"], row["benchmark"])
        pending[pair / store_cells.RUNS_FILE] += members
    return pending


def _rewrite(
    study: Path, path: Path, before: Partition | None, new: Sequence[str], dropped: frozenset[str]
) -> list[Mapping[str, Any]]:
    """Replace a partition's file by one with the new cells and without the dropped ones; return the rows of cells."""
    cells = [store_cells.read_cell(study / store_cells.CELLS / key) for key in new]
    types = [store_cells.free_types(cell.table) for cell in cells]
    kept = [] if before is None else [key for key in before.cells if key not in dropped]
    if before is not None and (
        dropped.intersection(before.cells) or store_cells.join_types([before.types, *types]) != before.types
    ):
        # The columns have other types now, or may have: only the cells themselves say which values they had.
        again = [store_cells.read_cell(study / store_cells.CELLS / key) for key in kept]
        cells, types, before = [*cells, *again], [*types, *(store_cells.free_types(c.table) for c in again)], None
    if before is None and not cells:
        path.unlink()
        for folder in (path.parent, path.parent.parent):
            with contextlib.suppress(OSError):  # others are still in it
                folder.rmdir()
        return []
    joined = store_cells.join_types([*([] if before is None else [before.types]), *types])
    schema = store_cells.schema_of(joined)
    cells.sort(key=_order)
    tables = [store_cells.conform(cell.table, schema) for cell in cells]
    table = store_cells.with_run_columns(cells, tables)
    if before is not None:
        table = _merged(path, table, schema)
    first = cells[0].row
    keys = table["cell"].unique().to_pylist()
    partition = Partition(path, first["optimizer"], first["benchmark"], keys, joined)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, table.replace_schema_metadata({store.FOOTER: partition.footer()}))
    return [cell.row for cell in cells]


def _order(cell: StoredCell) -> tuple[int, int, str]:
    return cell.row["n_workers"], cell.row["run_seed"], cell.row["cell"]


def _merged(path: Path, table: Table, schema: pa.Schema) -> Table:
    """Return the rows of the file and of the table in the order of workers, run seed, cell and delivery."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with os.fdopen(open_regular(path), "rb") as file:
        both = pa.concat_tables([pq.ParquetFile(file, page_checksum_verification=True).read().cast(schema), table])
    return both.sort_by([(name, "ascending") for name in ("n_workers", "run_seed", "cell", "evaluation")])


def read_partition(path: Path, columns: list[str] | None = None) -> tuple[Partition, Table]:
    """Return a partition of a store and its rows, with all columns or with these.

    Raises
    ------
    TraceError
        The file is damaged; the message names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with os.fdopen(open_regular(path), "rb") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise TraceError(store.damaged_store(path, error)) from None
    return Partition.of(path, table.schema), table


def write(path: Path, table: Table) -> None:
    """Replace a file of the store as a whole."""
    import pyarrow.parquet as pq

    def to(temporary: Path) -> None:
        # One chunk a column: how the rows came together would show in the pages of the file.
        pq.write_table(table.combine_chunks(), temporary, **PARQUET)
        to_disk(temporary)

    replace_file(path, to)
    to_disk(path.parent)


def _rewrite_cells(study: Path, folder: Path, finished: Sequence[str], read: Sequence[Mapping[str, Any]]) -> None:
    """Replace `cells.parquet` if it does not have exactly the finished cells."""
    import pyarrow as pa

    path = folder / store_cells.CELLS_FILE
    try:
        before = store.read_cells(folder)
    except TraceError:
        before = store.cells_table([])
    wanted = set(finished)
    there = before["cell"].to_pylist()
    known = set(there)
    if known == wanted and path.is_file():
        return
    rows = {row["cell"]: row for row in read}
    for key in wanted.difference(there, rows):
        rows[key] = store_cells.read_cell(study / store_cells.CELLS / key).row
    keep = pa.array([key in wanted for key in there], pa.bool_())
    table = pa.concat_tables(
        [before.filter(keep), store.cells_table([row for key, row in rows.items() if key not in known])]
    )
    write(path, table.sort_by([(name, "ascending") for name in store_cells.RUN_COLUMNS]))
