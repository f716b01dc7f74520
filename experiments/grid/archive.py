"""An archive: the store of a study with the rows that decide what is said of it, and a way to doubt it.

It is read like any store. The incumbents by each of the three rules of `zerowait.suite.records.incumbents` are those of
the whole study, because a row that changes no incumbent decides none. Figures also need when a run ended, its last row,
and the best and the worst loss of a benchmark. `cells.parquet` says how to make each run again, and of a study that is
not finished what the archive has not.
"""

from __future__ import annotations

import contextlib
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
from zerowait.suite.records.selection import parse
from zerowait.suite.records.store import Partition
from zerowait.suite.records.trace import FIDELITY, FULL, PARQUET
from zerowait.suite.rules.errors import SpecificationError, TraceError, ZerowaitError, shown
from zerowait.suite.sharing.regular_files import read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping, Sequence

    import pandas as pd

    from zerowait.suite.records.store_cells import Table

COLUMNS = ("n_workers", "run_seed", "cell", "evaluation", "end", "fidelity", "value", "status")
"""Columns of a trace that are kept; `full.value` and the test metrics, `full.test_*`, follow them."""
ROWS, TRAININGS = "rows", "trainings"
"""Columns that `cells.parquet` has in an archive only: how many rows of the run were kept, and how much it trained, in
full trainings: the sum over its evaluations of what they trained further, as a share of the highest fidelity."""
PLANNED = b"zerowait.planned"
"""Key of the metadata of an archive's `cells.parquet`: how many runs its study has of each optimizer, JSON."""
COMPARED = b"zerowait.compared"
"""Key of the metadata of a comparison's `cells.parquet`: the archive's name."""
_NOT_COMPARED = (*store_cells.MEASURED_COLUMNS, "versions")
"""Columns of `cells.parquet` that depend on the machine; the versions that decide a run are in its specification."""


def make_archive(study: Path, out: Path, only: Sequence[str] = (), *, replace: bool = False) -> int:
    """Write the archive of a study's finished runs into a folder, and return how many they are.

    Of a study that is not finished it takes a benchmark with a seed where everybody has run on it with every number of
    workers, so that an archive compares equals. `out` then says how many runs there would be.

    Parameters
    ----------
    study
        The output folder of a study, or a copy of its store.
    out
        The folder; new or empty, or that of an archive to be replaced.
    only
        Which runs, in the language of `zerowait.suite.records.selection`; all by default. Each further text adds runs,
        and what is whole is asked of each for itself: the tiers of a study, say, of which one is finished.

    replace
        Whether an archive that is in the folder is replaced; other files there stay.

    Raises
    ------
    TraceError
        There is no finished run, or a file is damaged.
    SpecificationError
        The folder is not empty, or of what is selected nothing is whole.
    """
    place, around = store.store_of(study)
    if out.exists() and any(out.iterdir()) and not (replace and _is_archive(out)):
        raise SpecificationError(
            f"{out} is not empty; name a new folder, remove what is in it, or replace an archive with --replace"
        )
    if around is not None:
        update(around)
    runs = store.load_cells(place)
    planned = runs if around is None else _planned(around, runs)
    chosen = _whole(planned, set(runs["cell"]), only)
    of_each = _planned_of(place) or planned["optimizer"].value_counts().sort_index().to_dict()
    with folder_for(out) as made:
        rows = keep(place, chosen, made).replace_schema_metadata({PLANNED: json.dumps(of_each)})
        write(made / store_cells.CELLS_FILE, rows)
        if around is not None and (around / STUDY_COPY).is_file():
            shutil.copyfile(around / STUDY_COPY, made / STUDY_COPY)
    return len(chosen)


@contextlib.contextmanager
def folder_for(out: Path) -> Iterator[Path]:
    """Give an empty folder whose files take the places of those in `out` when the block ends without an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".archive-", dir=out.parent) as temporary:
        made, before = Path(temporary) / "made", Path(temporary) / "before"
        made.mkdir()
        before.mkdir()
        yield made
        out.mkdir(exist_ok=True)
        for name in (store_cells.TRACES, store_cells.CELLS_FILE, STUDY_COPY):
            if (out / name).exists():
                (out / name).rename(before / name)
            if (made / name).exists():
                (made / name).rename(out / name)


def _is_archive(folder: Path) -> bool:
    """Tell whether this is an archive, and not a store that has every evaluation."""
    import pyarrow.parquet as pq

    file = folder / store_cells.CELLS_FILE
    return file.is_file() and ROWS in pq.read_schema(file).names


def is_comparison(folder: Path) -> bool:
    """Tell whether `zerowait compare` made this archive."""
    import pyarrow.parquet as pq

    file = folder / store_cells.CELLS_FILE
    return file.is_file() and COMPARED in (pq.read_schema(file).metadata or {})


def _planned(study: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that a study has, finished or not, with the columns of `RUN_COLUMNS`; without a list, `runs`."""
    import pandas as pd

    listing = study / store_cells.STUDY_FILE
    if not listing.is_file():
        return runs
    try:
        listed = read_json(listing)["runs"]
        rows = [(*run, Path(name).name) for name, run in listed.items()]
        return pd.DataFrame(rows, columns=list(store_cells.RUN_COLUMNS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(f"{listing} is damaged ({error!r}); run the study again to write it anew") from None


def _whole(planned: pd.DataFrame, finished: Collection[str], only: Sequence[str]) -> set[str]:
    """Return the cells of each benchmark and seed of which everything that is planned and selected is finished."""
    chosen: set[str] = set()
    for text in only or [""]:
        selected = planned[parse(text or None).mask(planned)]
        blocks = selected["cell"].isin(finished).groupby([selected["benchmark"], selected["run_seed"]])
        whole = set(selected["cell"][blocks.transform("all")])
        if not whole:
            wanting = int((~selected["cell"].isin(finished)).sum())
            raise SpecificationError(
                f"{wanting:,} of the {len(selected):,} runs{f' of {text!r}' if text else ''} are not finished, and no "
                "benchmark is whole with any seed; run more of the study, or select some of it with --only"
            )
        chosen |= whole
    return chosen


def absent(archive: Path) -> list[str]:
    """Return in a line for each optimizer how many of its study's runs an archive has, if it has not all of them."""
    place, _ = store.store_of(archive)
    there = Counter(store.read_cells(place)["optimizer"].to_pylist())
    return [f"{name}: {there[name]:,} of {n:,} runs" for name, n in _planned_of(place).items() if there[name] != n]


def _planned_of(place: Path) -> dict[str, int]:
    """Return how many runs the study of an archive has of each optimizer; nothing of a store."""
    import pyarrow.parquet as pq

    file = place / store_cells.CELLS_FILE
    found: dict[str, int] = json.loads((pq.read_schema(file).metadata or {}).get(PLANNED, b"{}"))
    return found


def keep(
    place: Path, cells: Container[str], out: Path, mark: str = "", highest: Mapping[str, float] | None = None
) -> Table:
    """Write what decides figures of these runs of a store, or of an archive, beside what is in a folder already.

    Parameters
    ----------
    place
        The store.
    cells
        Keys of the runs.
    out
        The folder.
    mark
        What the names of optimizers get behind them.
    highest
        As for `trainings`.

    Returns
    -------
    Table
        The rows of the runs for `cells.parquet`.

    Raises
    ------
    SpecificationError
        A run chose several fidelities or has several objectives.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = store.read_cells(place)
    rows = rows.filter(pa.array([key in cells for key in rows["cell"].to_pylist()], pa.bool_()))
    _refuse_several_objectives(rows)
    keys = rows["cell"]
    trained = trainings(place, highest)
    paths = store.partition_paths(place)
    bounds = _bounds(paths, cells)
    counts: Counter[str] = Counter()
    for path in paths:
        part, table = read_partition(path)
        there = [key for key in part.cells if key in cells]
        if not there:
            continue
        kept = _deciding(table.filter(pc.is_in(table["cell"], keys)), bounds[part.benchmark])
        counts.update(kept["cell"].to_pylist())
        types = {name: kind for name, kind in part.types.items() if name in kept.column_names}
        target = store_cells.partition_folder(out, part.optimizer + mark, part.benchmark) / store_cells.RUNS_FILE
        target.parent.mkdir(parents=True)
        footer = Partition(target, part.optimizer + mark, part.benchmark, there, types).footer()
        write(target, kept.replace_schema_metadata({store.FOOTER: footer}))
    names = pa.array([f"{name}{mark}" for name in rows["optimizer"].to_pylist()], pa.string())
    # Which machine it was is nobody's business, and how long it took says what making it again will take.
    for name, column in (("optimizer", names), ("host", pa.nulls(len(rows), pa.string()))):
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.field(at), column)
    rows = rows.append_column(ROWS, pa.array([counts[key] for key in keys.to_pylist()], pa.int64()))
    return rows.append_column(TRAININGS, pa.array([trained[key] for key in keys.to_pylist()], pa.float64()))


def trainings(place: Path, highest: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return how much each run of a store or an archive has trained, see `TRAININGS`, by the key of its cell.

    `highest` are fidelities of full trainings by benchmark, where runs of another store reached more than those here.
    """
    import pyarrow.parquet as pq

    file = place / store_cells.CELLS_FILE
    if file.is_file() and TRAININGS in pq.read_schema(file).names:
        columns = pq.read_table(file, columns=["cell", TRAININGS])
        return dict(zip(columns["cell"].to_pylist(), columns[TRAININGS].to_pylist(), strict=True))
    here = highest_fidelities(place)
    found: dict[str, float] = {}
    for part, table in map(read_partition, store.partition_paths(place)):
        top = np.fmax(here[part.benchmark], (highest or {}).get(part.benchmark, math.nan))
        fidelities, before = (table[name].to_numpy() for name in ("fidelity", "resumed_from"))
        shares = np.where(np.isnan(fidelities), 1.0, (fidelities - np.nan_to_num(before)) / top)
        keys = table["cell"].to_numpy(zero_copy_only=False)
        found |= dict.fromkeys(part.cells, 0.0)
        for begin, end in _spans(keys):
            found[keys[begin]] = math.fsum(shares[begin:end])
    return found


def highest_fidelities(place: Path) -> dict[str, float]:
    """Return the highest fidelity at which any run of a store delivered a value, by benchmark; NaN: none has one."""
    return {name: bounds.highest for name, bounds in _bounds(store.partition_paths(place)).items()}


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
    if is_comparison(place):
        raise TraceError(f"{archive} is a comparison; verify the archive of which it has runs")
    if not _is_archive(place):
        raise TraceError(f"{archive} has every evaluation and is no archive; make one: zerowait baselines archive")
    rows = store.read_cells(place).to_pylist()
    paths = store.partition_paths(place)
    parts = {(part.optimizer, part.benchmark): table for part, table in map(read_partition, paths)}
    bounds = _bounds(paths)
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


def _bounds(paths: Sequence[Path], cells: Container[str] | None = None) -> dict[str, Bounds]:
    """Return the bounds of each benchmark over these runs, all by default."""
    tables: dict[str, list[Table]] = {}
    for path in paths:
        part, table = read_partition(path)
        ours = [cells is None or key in cells for key in table["cell"].to_pylist()]
        others = [name for name in table.column_names if name.startswith(FIDELITY)]
        names = ["value", "fidelity", *_full_columns(table), *others]
        tables.setdefault(part.benchmark, []).append(table.select(names).filter(ours))
    found = {name: Bounds() for name in tables}
    for name, bounds in found.items():
        _refuse_several_fidelities(name, tables[name])
        for table in tables[name]:
            delivered = table["fidelity"].to_numpy()[~np.isnan(table["value"].to_numpy())]
            bounds.highest = float(np.fmax.reduce(delivered, initial=bounds.highest))
        for table in tables[name]:
            for kind, losses in _losses(table, bounds.highest).items():
                finite = losses[np.isfinite(losses)]
                least, greatest = bounds.losses.get(kind, (math.inf, -math.inf))
                bounds.losses[kind] = float(finite.min(initial=least)), float(finite.max(initial=greatest))
    return found


def _refuse_several_objectives(rows: Table) -> None:
    """Raise `SpecificationError` where runs have further objectives: what is kept is decided by the loss."""
    for text in rows["specification"].to_pylist():
        objectives = json.loads(text).get("objectives")
        if objectives is not None:
            raise SpecificationError(
                f"a run has the objectives {', '.join(objectives)}, and an archive keeps what decides figures by the "
                "loss; leave such runs out with --only, or keep the whole store"
            )


def _refuse_several_fidelities(benchmark: str, tables: Sequence[Table]) -> None:
    """Raise `SpecificationError` where runs chose further fidelities: what is kept is decided by one of them."""
    for name in sorted({name for table in tables for name in table.column_names if name.startswith(FIDELITY)}):
        there = {value for t in tables if name in t.column_names for value in t[name].unique().to_pylist()}
        if len(there) > 1:
            raise SpecificationError(
                f"{benchmark}: {name} has {len(there)} values, such as {shown(there.pop())}, and an archive keeps what "
                "decides figures by one fidelity; leave these runs out with --only, or keep the whole store"
            )


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
    chosen: set[int] = set()
    for begin, end in _spans(cells):
        for rule in RESULTS:
            chosen.update((begin + incumbents(values[begin:end], fidelities[begin:end], rule, bounds.highest)).tolist())
        chosen.add(end - 1)
        for kind, limits in bounds.losses.items():
            for limit in limits:
                chosen.update((begin + np.flatnonzero(losses[kind][begin:end] == limit)[:1]).tolist())
    return table.select([*COLUMNS, *_full_columns(table)]).take(sorted(chosen))


def _spans(cells: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    """Yield where the rows of each run begin and end."""
    begins = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]])).tolist() if len(cells) else []
    yield from itertools.pairwise([*begins, len(cells)])
