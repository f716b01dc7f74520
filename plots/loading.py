"""Reading the traces of a study from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from plots.statistics import Floats

STUDY_FILE = "study.json"
"""Lists, under `cells`, the folders whose traces are the study's; others there are of its older versions."""
TRACE_FILE = "trace.parquet"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it was labelled, and its trace."""

    optimizer: str
    """Name by which runs are grouped: the label `label` if there is one, else the label `optimizer`."""
    benchmark: str
    """Benchmark and task."""
    n_workers: int
    """Number of simulated workers."""
    seed: int
    """Run seed."""
    optimum: float | None
    """The least loss that is possible on this benchmark; None when unknown."""
    trace: pd.DataFrame
    """One row an evaluation, in delivery order; see `suite.trace.COLUMNS`."""

    @property
    def ends(self) -> Floats:
        """Simulated times of the deliveries in seconds."""
        return self.trace["end"].to_numpy(dtype="float64")

    @property
    def values(self) -> Floats:
        """Losses; NaN for an evaluation that failed or was lost."""
        return self.trace["value"].to_numpy(dtype="float64")


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
        raise TraceError(f"there is no finished run below {folder}; run the study first: zerowait run STUDY")
    runs = [load_run(path) for path in paths]
    return sorted(runs, key=lambda run: (run.benchmark, run.n_workers, run.optimizer, run.seed))


def trace_paths(folder: Path) -> Iterator[Path]:
    """Yield the traces that belong to the study in this folder."""
    listing = folder / STUDY_FILE
    if listing.is_file():
        for name in _listed_cells(listing):
            path = folder / name / TRACE_FILE
            if path.is_file():
                yield path
        return
    for path in sorted(folder.rglob(TRACE_FILE)):
        parents = path.relative_to(folder).parts[:-1]
        if not any(name.startswith(".") or name.endswith(".failed") for name in parents):
            yield path


def load_run(path: Path) -> Run:
    """Read one trace and the labels in it.

    Raises
    ------
    TraceError
        The file is no trace, or has no label that names its optimizer and its benchmark.
    """
    from suite.trace import ATTRIBUTE, read_trace

    trace = read_trace(path)
    specification: dict[str, Any] = trace.attrs[ATTRIBUTE]["specification"]
    labels = specification["labels"]
    for label in ("optimizer", "benchmark"):
        if not isinstance(labels.get(label), str):
            raise TraceError(
                f"{path} has the labels {labels!r}; figures need the label {label!r}: "
                f"run it with labels={{'optimizer': ..., 'benchmark': ...}}"
            )
    optimum = labels.get("optimum")
    return Run(
        optimizer=str(labels.get("label") or labels["optimizer"]),
        benchmark=labels["benchmark"],
        n_workers=specification["n_workers"],
        seed=specification["seed"],
        optimum=None if optimum is None else float(optimum),
        trace=trace,
    )


def grouped(runs: Sequence[Run]) -> dict[tuple[str, int, str], list[Run]]:
    """Return the runs by (benchmark, number of workers, optimizer), that is, the seeds to average over."""
    groups: dict[tuple[str, int, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.benchmark, run.n_workers, run.optimizer), []).append(run)
    return groups


def _listed_cells(listing: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(listing.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{listing} is damaged ({error!r}); run the study again to write it anew") from None
