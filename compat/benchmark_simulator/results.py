"""The results of a run as mfhpo-simulator writes them: `results.json` and `sampled_time.json` in the run's folder."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.suite.asktell import simulate
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.records.trace import ATTRIBUTE, FIDELITY, read_trace
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.sharing.fsync import replace_file
from zerowait.suite.sharing.regular_files import read_json

if TYPE_CHECKING:
    import pandas as pd

LABEL = "benchmark_simulator"
"""The label of a run under which its results' names are kept."""
RESULTS, SAMPLED_TIME = "results.json", "sampled_time.json"


def read_results(folder: str | os.PathLike[str]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return results and sampling times of a folder, by name and in delivery order; also of one that 1.4.6 wrote.

    Raises
    ------
    FileNotFoundError
        There is neither a run nor `results.json`.
    """
    folder = Path(folder)
    if (trace := _trace_in(folder)) is not None:
        return results_of(trace), sampled_time_of(trace)
    return read_json(folder / RESULTS), read_json(folder / SAMPLED_TIME) if (folder / SAMPLED_TIME).exists() else {}


def write_results(folder: str | os.PathLike[str]) -> None:
    """Write what the run in this folder has recorded so far."""
    for name, values in zip((RESULTS, SAMPLED_TIME), read_results(folder), strict=True):
        replace_file(Path(folder) / name, functools.partial(Path.write_text, data=json.dumps(values), encoding="utf-8"))


def write_at_exit(folder: str, process: int) -> None:
    """Do the same when a script ends, in the process that made the run, unless the run is gone."""
    with contextlib.suppress(OSError, RunDirectoryError):
        if os.getpid() == process and _trace_in(Path(folder)) is not None:
            write_results(folder)


def _trace_in(folder: Path) -> pd.DataFrame | None:
    if (folder / "run.json").exists():
        trace = read_run(folder)
    elif (folder / "trace.parquet").exists():
        trace = read_trace(folder / "trace.parquet")
    else:
        return None
    names = _names(trace)
    if names["batch_size"] is not None and names["called"]:
        trace = _in_batches(trace, names["n_workers"], names["batch_size"])
    if names["max_time"] is not None:
        trace = trace[trace["end"] <= names["max_time"]]
    return trace if names["called"] else trace.head(names["n_evals"])  # who was asked is told no more


def _names(trace: pd.DataFrame) -> Mapping[str, Any]:
    labels = trace.attrs[ATTRIBUTE]["specification"]["labels"]
    if LABEL not in labels:
        raise RunDirectoryError("the run was not made by zerowait.compat.benchmark_simulator: read it with read_run")
    names: Mapping[str, Any] = labels[LABEL]
    return names


def results_of(trace: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a run's results by name, in delivery order."""
    names = _names(trace)
    first, *others = names["obj_keys"]
    columns = {first: "value", **{key: f"metric.{key}" for key in others}, names["runtime_key"]: "runtime"}
    results: dict[str, list[Any]] = {"cumtime": trace["end"].tolist(), "worker_index": trace["worker"].tolist()}
    for key in names["obj_keys"]:
        results[key] = trace[columns[key]].tolist() if columns[key] in trace else [math.nan] * len(trace)
    if names["store_actual_cumtime"]:
        results["actual_cumtime"] = trace["wall_time"].tolist()
    if names["store_config"]:
        results["seed"] = trace["seed"].tolist()
        parameters = [name for name in map(str, trace) if name.startswith("config.")]
        results.update({name.removeprefix("config."): _known(trace[name].tolist()) for name in parameters})
        for key in names["fidel_keys"]:
            column = "fidelity" if key == names["fidel_keys"][0] else FIDELITY + key
            results[key] = _known(trace[column].tolist()) if column in trace else []
        if names["continual"]:
            results["prev_fidel"] = [0 if one is None else one for one in _known(trace["resumed_from"].tolist())]
    return results


def sampled_time_of(trace: pd.DataFrame) -> dict[str, list[Any]]:
    """Return when the sampling of each configuration began and ended, in simulated seconds and in their order."""
    trace = trace.sort_values("start", kind="stable")
    return {
        "before_sample": (trace["start"] - trace["overhead"]).tolist(),
        "after_sample": trace["start"].tolist(),
        "worker_index": trace["worker"].tolist(),
    }


def _known(values: list[Any]) -> list[Any]:
    """Return the values with None for what is missing, and integers where a column of numbers has made floats."""
    plain = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    whole = all(v is None or (isinstance(v, float) and v.is_integer()) for v in plain)
    return [None if v is None else int(v) for v in plain] if whole else plain


def _in_batches(trace: pd.DataFrame, n_workers: int, batch_size: int) -> pd.DataFrame:
    """Return what was called one after the other as synchronous batches on so many workers: the same run, replayed."""
    rows = trace.sort_values("evaluation")
    seconds, runtimes = iter(rows["overhead"].tolist()), rows["runtime"].tolist()
    replayed = simulate(
        _Replay(len(rows)),
        lambda config: Evaluation(0.0, runtimes[config["row"]]),
        n_workers=n_workers,
        batch_size=batch_size,
        overhead=Overhead.model(lambda _: next(seconds), name="replayed"),
    )
    again = rows.iloc[replayed["config.row"].to_numpy() if len(rows) else []].reset_index(drop=True)
    again.attrs = trace.attrs
    return again.assign(**{name: replayed[name] for name in ("evaluation", "worker", "freed", "start", "end")})


class _Replay:
    """Asks for the rows of a trace one after the other."""

    def __init__(self, n: int) -> None:
        self._rows: Iterator[int] = iter(range(n))

    def ask(self) -> Query:
        return Query({"row": next(self._rows)})

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Take nothing from it."""
