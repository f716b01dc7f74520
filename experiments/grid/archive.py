"""An archive: the store of a study with the rows that decide what is said of it, and a way to doubt it.

It is read like any store. The incumbents by each of the three rules of `zerowait.suite.records.incumbents` are those of
the whole study, because a row that changes no incumbent decides none. Figures also need when a run ended, its last row,
and the best and the worst loss of a benchmark. `cells.parquet` says how to make each run again.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.cells import Cell, run_cell
from zerowait.experiments.grid.store import read_partition, update, write
from zerowait.experiments.studies.shipped import STUDY_COPY
from zerowait.suite.records import store, store_cells
from zerowait.suite.records.incumbents import FULL_VALUE, RESULTS, incumbents
from zerowait.suite.records.selection import Where, parse
from zerowait.suite.records.store import Partition
from zerowait.suite.records.trace import FULL, PARQUET
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from zerowait.suite.records.store_cells import Table

COLUMNS = ("n_workers", "run_seed", "cell", "evaluation", "end", "fidelity", "value", "status")
"""Columns of a trace that are kept; `full.value` and the test metrics, `full.test_*`, follow them."""
ROWS = "rows"
"""Column that `cells.parquet` has in an archive only: how many rows of the run were kept."""
_NOT_COMPARED = (*store_cells.MEASURED_COLUMNS, "versions")
"""Columns of `cells.parquet` that depend on the machine; the versions that decide a run are in its specification."""


def make_archive(study: Path, out: Path, where: Where = None) -> int:
    """Write the archive of a study's finished runs into a new folder, and return how many they are.

    Parameters
    ----------
    study
        The output folder of a study, or a copy of its store.
    out
        The folder; new or empty.
    where
        Which runs, as for `load_study`.

    Raises
    ------
    TraceError
        There is no finished run, or a file is damaged.
    SpecificationError
        The folder is not empty, or no run is selected.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    place, around = store.store_of(study)
    if out.exists() and any(out.iterdir()):
        raise SpecificationError(f"{out} is not empty; name a new folder, or remove what is in it")
    if around is not None:
        update(around)
    runs = store.load_cells(place)
    runs = runs[parse(where).mask(runs)]
    paths = store.partition_paths(place)
    chosen = set(runs["cell"])
    bounds = _bounds(paths, chosen)
    counts: Counter[str] = Counter()
    keys = pa.array(sorted(chosen), pa.string())
    for path in paths:
        part, table = read_partition(path)
        cells = [key for key in part.cells if key in chosen]
        if not cells:
            continue
        table = table.filter(pc.is_in(table["cell"], keys))
        kept = _deciding(table, bounds[part.benchmark])
        counts.update(kept["cell"].to_pylist())
        types = {name: kind for name, kind in part.types.items() if name in kept.column_names}
        footer = Partition(path, part.optimizer, part.benchmark, cells, types).footer()
        target = out / path.relative_to(place)
        target.parent.mkdir(parents=True)
        write(target, kept.replace_schema_metadata({store.FOOTER: footer}))
    rows = store.read_cells(place)
    rows = rows.filter(pc.is_in(rows["cell"], keys))
    # Which machine it was is nobody's business, and how long it took says what making it again will take.
    host = rows.column_names.index("host")
    rows = rows.set_column(host, rows.field(host), pa.nulls(len(rows), pa.string()))
    kept_rows = pa.array([counts[key] for key in rows["cell"].to_pylist()], pa.int64())
    write(out / store_cells.CELLS_FILE, rows.append_column(ROWS, kept_rows))
    if around is not None and (around / STUDY_COPY).is_file():
        shutil.copyfile(around / STUDY_COPY, out / STUDY_COPY)
    return len(runs)


def verify(archive: Path, sample: int, seed: int) -> list[tuple[str, str]]:
    """Make a random sample of an archive's runs again; return of each what it is and how it differs, "" if nowhere.

    Parameters
    ----------
    archive
        The archive.
    sample
        How many runs; all if there are fewer.
    seed
        Of the sample.

    Raises
    ------
    TraceError
        It is no archive, or a file is damaged.
    """
    place, _ = store.store_of(archive)
    rows = store.read_cells(place).to_pylist()
    paths = store.partition_paths(place)
    parts = {(part.optimizer, part.benchmark): table for part, table in map(read_partition, paths)}
    bounds = _bounds(paths, {row["cell"] for row in rows})
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    found = []
    for i in np.sort(random.choice(len(rows), min(sample, len(rows)), replace=False)):
        row = rows[i]
        name = f"{row['optimizer']} on {row['benchmark']}, P={row['n_workers']}, seed {row['run_seed']} ({row['cell']})"
        stored = parts.get((row["optimizer"], row["benchmark"]))
        try:
            differences = "; ".join(_differences(row, stored, bounds.get(row["benchmark"], Bounds())))
        except ZerowaitError as error:
            differences = str(error)
        found.append((name, differences))
    return found


def _differences(row: dict[str, Any], stored: Table | None, bounds: Bounds) -> Iterator[str]:
    """Yield how a run that is made again differs from its row of `cells.parquet` and its rows in the archive."""
    import pyarrow.compute as pc

    try:
        cell = Cell.from_specification(json.loads(row["specification"]), row["benchmark"])
    except json.JSONDecodeError:
        yield "its specification is no JSON"
        return
    if cell.key != row["cell"]:
        yield "its specification is that of another run"
        return
    if stored is None:
        yield "its file is missing"
        return
    with TemporaryDirectory(prefix="zerowait-") as temporary:
        folders = CellFolders(Path(temporary))
        outcome = run_cell(cell, folders)
        if outcome.error is not None:
            yield f"it cannot be made again: {outcome.error}"
            return
        again = store_cells.read_cell(folders.finished(cell.key))
    for name, value in again.row.items():
        if name not in _NOT_COMPARED and row[name] != value:
            yield f"{name} is {row[name]!r}, and was {value!r} now"
    whole = store_cells.schema_of(store_cells.free_types(again.table))
    table = store_cells.with_run_columns([again], [store_cells.conform(again.table, whole)])
    made = _deciding(table, bounds).cast(stored.schema.remove_metadata())
    kept = stored.filter(pc.equal(stored["cell"], cell.key))
    if kept.num_rows != made.num_rows:
        yield f"it has {kept.num_rows} rows, and {made.num_rows} now"
    else:
        yield from (f"{name} differs" for name in made.column_names if _bytes(kept, name) != _bytes(made, name))


def _bytes(table: Table, name: str) -> bytes:
    """Return a column as a file has it."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table.select([name]).combine_chunks().replace_schema_metadata(None), file, **PARQUET)
    return file.getvalue()


@dataclass
class Bounds:
    """Between what the numbers of a benchmark lie, over all runs that are kept."""

    highest: float = math.nan
    """Fidelity that was delivered; NaN where there is none."""
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The least and the greatest finite value of each kind, see `_losses`."""


def _bounds(paths: Sequence[Path], cells: Container[str]) -> dict[str, Bounds]:
    """Return the bounds of each benchmark over these runs."""
    tables: dict[str, list[Table]] = {}
    for path in paths:
        part, table = read_partition(path)
        ours = [key in cells for key in table["cell"].to_pylist()]
        names = ["value", "fidelity", *_full_columns(table)]
        tables.setdefault(part.benchmark, []).append(table.select(names).filter(ours))
    found = {name: Bounds() for name in tables}
    for name, bounds in found.items():
        for table in tables[name]:
            delivered = table["fidelity"].to_numpy()[~np.isnan(table["value"].to_numpy())]
            bounds.highest = float(np.fmax.reduce(delivered, initial=bounds.highest))
        for table in tables[name]:
            for kind, losses in _losses(table, bounds.highest).items():
                finite = losses[np.isfinite(losses)]
                least, greatest = bounds.losses.get(kind, (math.inf, -math.inf))
                bounds.losses[kind] = float(finite.min(initial=least)), float(finite.max(initial=greatest))
    return found


def _losses(table: Table, highest: float) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return what the rules of results measure on each row: delivered, delivered at the highest fidelity, and true."""
    values, fidelities = (table[name].to_numpy() for name in ("value", "fidelity"))
    of_full = np.where((fidelities == highest) | np.isnan(fidelities), values, math.nan)
    return {"any": values, "full": of_full, **{name: table[name].to_numpy() for name in _full_columns(table)}}


def _full_columns(table: Table) -> list[str]:
    return sorted(name for name in table.column_names if name == FULL_VALUE or name.startswith(f"{FULL}test_"))


def _deciding(table: Table, bounds: Bounds) -> Table:
    """Return the rows of runs that decide what is said of them, with the columns of an archive.

    These are the rows at which the incumbent changes by one of the rules, the last one, and the first of a run with
    each bound of the benchmark.
    """
    cells = table["cell"].to_numpy(zero_copy_only=False)
    values, fidelities = (table[name].to_numpy() for name in ("value", "fidelity"))
    losses = _losses(table, bounds.highest)
    begins = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]])).tolist() if len(cells) else []
    chosen: set[int] = set()
    for begin, end in itertools.pairwise([*begins, len(cells)]):
        for rule in RESULTS:
            chosen.update((begin + incumbents(values[begin:end], fidelities[begin:end], rule, bounds.highest)).tolist())
        chosen.add(end - 1)
        for kind, limits in bounds.losses.items():
            for limit in limits:
                chosen.update((begin + np.flatnonzero(losses[kind][begin:end] == limit)[:1]).tolist())
    return table.select([*COLUMNS, *_full_columns(table)]).take(sorted(chosen))
