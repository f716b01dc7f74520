"""`zerowait complete`: gives a store of version 0.1 the columns `full.*`, without running any optimizer again.

A benchmark answers at no cost, so what a configuration is worth can be asked for later, provided that it is still the
same benchmark. So rows of every run are evaluated again as they were, and nothing is written unless all of them have
the very values that were recorded.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from zerowait.experiments.grid.full_values import configs_of, with_full_values
from zerowait.experiments.grid.store import locked, read_partition, write
from zerowait.experiments.grid.study_check import spread
from zerowait.suite.records import store, store_cells
from zerowait.suite.records.incumbents import FULL_VALUE
from zerowait.suite.records.store import Partition
from zerowait.suite.rules.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd

    from zerowait.benchmarks import Benchmark


def complete(folder: Path, tell: Callable[[str], None] = lambda _: None) -> int:
    """Add the columns `full.*` to the runs of a store that lack them, and return how many evaluations got them.

    Parameters
    ----------
    folder
        A copy of a study's folder `store`.
    tell
        Is told of each benchmark.

    Raises
    ------
    TraceError
        It is no such copy, is damaged, or a benchmark does not give the values that were recorded.
    SpecificationError
        A benchmark cannot be loaded.
    """
    where, study = store.store_of(folder)
    if study is not None:
        raise TraceError(
            f"{study} has the cells that its store is made from; complete a copy of the store: "
            f"cp -r {study / store_cells.STORE} COPY; zerowait complete COPY"
        )
    with locked(where):
        cells = store.load_cells(where).set_index("cell")["specification"].map(json.loads)
        return sum(_complete(path, cells, tell) for path in store.partition_paths(where))


def _complete(path: Path, cells: pd.Series[Any], tell: Callable[[str], None]) -> int:
    import pandas as pd
    import pyarrow as pa

    part, table = read_partition(path)
    if FULL_VALUE in table.column_names:
        return 0
    trace = table.to_pandas()
    parts = []
    for key, rows in trace.groupby(trace["cell"].map(lambda cell: _benchmark_key(cells[cell])), sort=False):
        benchmark = _load(json.loads(str(key)))
        for cell, of_cell in rows.groupby("cell", sort=False):
            _compare(of_cell.iloc[spread(len(of_cell))], benchmark, f"{path}, cell {cell}")
        parts.append(with_full_values(rows, benchmark))
    full = pd.concat(parts).sort_index()
    columns = [name for name in full.columns if name not in trace.columns]
    for name in columns:
        table = table.append_column(name, pa.array(full[name], pa.float64(), from_pandas=False))
    types = store_cells.join_types([part.types, dict.fromkeys(columns, "double")])
    done = Partition(path, part.optimizer, part.benchmark, part.cells, types)
    table = store_cells.conform(table, store_cells.schema_of(types))
    write(path, table.replace_schema_metadata({store.FOOTER: done.footer()}))
    tell(f"{part.optimizer} on {part.benchmark}: {len(trace):,} evaluations, {', '.join(columns)}")
    return len(trace)


def _benchmark_key(specification: Mapping[str, Any]) -> str:
    return json.dumps([specification[name] for name in ("benchmark", "task", "benchmark_parameters")])


def _load(named: tuple[str, str | None, Mapping[str, Any]]) -> Benchmark:
    from zerowait import benchmarks

    name, task, parameters = named
    return benchmarks.load(name, task=task, **parameters)


def _compare(rows: pd.DataFrame, benchmark: Benchmark, place: str) -> None:
    """Raise `TraceError` where the benchmark does not give the recorded value of an evaluation, to the last bit."""
    for row, config in zip(rows.to_dict("records"), configs_of(rows, benchmark), strict=True):
        if row["status"] != "ok":
            continue
        fidelity = None if math.isnan(row["fidelity"]) else row["fidelity"]
        value = benchmark(config, fidelity=fidelity, seed=row["seed"]).value
        if value != row["value"]:
            raise TraceError(
                f"{place}: evaluation {row['evaluation']} has the value {row['value']!r}, and {benchmark.label} gives "
                f"{value!r} here; install the versions and data of cells.parquet, or run the study again"
            )
