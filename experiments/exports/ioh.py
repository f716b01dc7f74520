"""Export to the format of IOHprofiler, which IOHanalyzer and iohinspector open.

An algorithm is an optimizer with a number of workers, a function is a benchmark, a run is a cell. Its running time
counts delivered results; their simulated times stand beside them, and what configurations are worth at the highest
fidelity (`full.*`). As IOHexperimenter does by default, the data files have the first and the last evaluation and every
improvement, and also every change of what an optimizer would recommend.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.exports.pairs import Pair, pairs, refuse_existing
from zerowait.suite.records import store
from zerowait.suite.records.incumbents import incumbents, training_levels
from zerowait.suite.records.selection import Where
from zerowait.suite.records.trace import FIDELITY, FULL
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.identity import digest

FORMAT = "1.0.0"
"""The version that readers compare with those of IOHexperimenter: of this one on, they expect JSON."""
ATTRIBUTES = ("evaluations", "raw_y", "simulated_time", "fidelity")
_NUMBERS = ["end", "fidelity"]
"""The columns of a trace behind the last two attributes."""
LARGEST_INSTANCE = 2**16 - 1
"""Readers tell runs of one function apart by an instance, from 1, and hold it in 16 bits."""


def export_ioh(path: Path, out: Path, where: Where = None) -> list[str]:
    """Write the runs of a study in the format of IOHprofiler; return the labels of runs without a single result.

    Parameters
    ----------
    path
        The output folder of a study, or a copy of its store.
    out
        Folder for the data; new or empty. It gets one folder an algorithm.
    where
        Which runs; see `zerowait.suite.records.selection`.

    Raises
    ------
    SpecificationError
        The folder has files, or no run is chosen.
    TraceError
        There is no study or no finished run.
    """
    refuse_existing(out)
    functions = {name: i for i, name in enumerate(sorted(store.load_cells(path)["benchmark"].unique()), start=1)}
    empty: list[str] = []
    for pair in pairs(path, where):
        for n_workers in sorted(set(pair.cells["n_workers"].tolist())):
            cells = pair.cells[pair.cells["n_workers"] == n_workers]
            empty += _write(out, pair, n_workers, cells, functions[pair.benchmark])
    if not out.exists():
        raise SpecificationError(f"no chosen run of {path} has a result; there is nothing to export")
    return empty


def _write(out: Path, pair: Pair, n_workers: int, cells: pd.DataFrame, function: int) -> list[str]:
    algorithm = f"{pair.optimizer} (P={n_workers})"
    name = _safe(pair.benchmark)
    folder = out / _safe(algorithm)
    # Every run of a pair has the same parameters in the same places, also one that never used some of them.
    columns = {column for trace in pair.traces.values() for column in trace.columns}
    parameters = sorted(column for column in columns if column.startswith("config."))
    full = sorted(column for column in columns if column.startswith((FIDELITY, FULL)))
    runs: list[dict[str, Any]] = []
    texts: list[str] = []
    empty: list[str] = []
    for key, run_seed in zip(cells["cell"].tolist(), cells["run_seed"].tolist(), strict=True):
        trace = pair.traces[key]
        values = np.where(trace["status"] == "ok", trace["value"], np.nan)
        if not np.isfinite(values).any():
            empty.append(f"{algorithm} on {pair.benchmark}, seed {run_seed}")
            continue
        best = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
        position = [_number(trace[column].iloc[best]) if column in trace else -1.0 for column in parameters]
        runs.append(
            {
                "instance": run_seed % LARGEST_INSTANCE + 1,
                "evals": len(trace),
                "best": {"evals": best + 1, "y": float(values[best]), "x": position},
            }
        )
        texts.append(_rows(trace, values, full))
    if not runs:
        return empty
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"data_f{function}_{name}" / f"IOHprofiler_f{function}_DIM{len(parameters)}.dat"
    data.parent.mkdir()
    data.write_text("".join(texts), encoding="utf-8")
    description = {
        "version": FORMAT,
        "suite": "zerowait",
        "function_id": function,
        "function_name": pair.benchmark,
        "maximization": False,
        "algorithm": {"name": algorithm, "info": f"{pair.optimizer} with {n_workers} simulated workers"},
        "experiment_attributes": [{"n_workers": str(n_workers)}],
        "attributes": [*ATTRIBUTES, *full],
        "scenarios": [{"dimension": len(parameters), "path": str(data.relative_to(folder)), "runs": runs}],
    }
    text = json.dumps(description, indent=1, allow_nan=False)
    (folder / f"IOHprofiler_f{function}_{name}.json").write_text(text + "\n", encoding="utf-8")
    return empty


def _rows(trace: pd.DataFrame, values: np.ndarray[Any, np.dtype[np.float64]], full: list[str]) -> str:
    """Return the lines of a run: a header, the first and last evaluation, every improvement and recommendation."""
    shown = np.where(np.isfinite(values), values, math.inf)
    before = np.concatenate([[math.inf], np.minimum.accumulate(shown)[:-1]])
    keep = shown < before
    keep[[0, -1]] = True
    keep[incumbents(values, training_levels(trace), "recommended")] = True
    columns = [shown, *(trace[name] if name in trace else np.full(len(trace), math.nan) for name in _NUMBERS + full)]
    rows = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    lines = [" ".join([*ATTRIBUTES, *full])]
    lines += [" ".join([str(i + 1), *(f"{number:.17g}" for number in rows[i])]) for i in np.flatnonzero(keep)]
    return "\n".join(lines) + "\n"


def _number(value: Any) -> float:
    """Return a parameter's value as the format has it: a text or a missing value has no number, and is -1."""
    if isinstance(value, str):  # a trace has the values of a parameter of several types as JSON
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    return float(value) if isinstance(value, int | float | np.number | np.bool_) and math.isfinite(value) else -1.0


def _safe(name: str) -> str:
    """Return a name that a file may have, readable and different for different names."""
    safe = re.sub(r"[^A-Za-z0-9.+=()-]+", "_", name).lstrip(".")
    if safe == name and len(name) <= 100:  # noqa: PLR2004 - bytes, of the 255 of a file name
        return safe
    return f"{safe[:80]}_{digest(name).hex()[:6]}" if len(safe) > 80 else f"{safe}_{digest(name).hex()[:6]}"  # noqa: PLR2004
