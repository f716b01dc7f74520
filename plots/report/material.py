"""What a report is made from: the runs of a study, what they cost, and what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.studies.labels import Labels
from zerowait.plots.studies.loading import (
    STUDY_FILE,
    STUDY_TEXT,
    kept_labels,
    listed_cells,
    listed_runs,
    load_runs,
    load_study,
)
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import Study, study_of_runs
from zerowait.suite.records import store
from zerowait.suite.records.failures import error_line
from zerowait.suite.records.store_cells import CELLS_FILE, STORE
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.errors import TraceError
from zerowait.suite.sharing.regular_files import read_json

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
COUNTS = ("evaluations", "ok", "failed", "lost")


@dataclass(frozen=True, eq=False)
class Material:
    """What a report is made from."""

    folder: Path
    """The study's."""
    name: str
    """What the study calls itself, else its folder's name."""
    study: Study
    totals: pd.DataFrame
    """One row a finished run: `n_workers`, `COUNTS`, `simulated_time` and `wall_time` (s; NaN when unknown)."""
    specifications: Sequence[Mapping[str, Any]]
    """The different settings of the runs; empty when the study does not say."""
    versions: Sequence[Mapping[str, str]]
    """The different versions that they ran with."""
    listed: Sequence[str] | None
    """All cells of the study in words; None when it has no list."""
    planned: Sequence[tuple[str, str, int]] | None
    """Optimizer, benchmark and number of workers of all cells; None when the list has them in words alone."""
    failed: Mapping[str, str]
    """Failed cells in words, each with the last line of its error."""
    missing: Sequence[str]
    """Cells in words that have neither a trace nor an error."""
    text: str = ""
    """The study's own file, if its folder has it."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """What counts as a result, if that was given: `result` and `score`, as options of figures."""

    @property
    def worker_seconds(self) -> float:
        """Seconds that workers would have been reserved for, had they waited."""
        return math.fsum((self.totals["n_workers"] * self.totals["simulated_time"]).tolist())

    @property
    def real_seconds(self) -> float:
        """Seconds that the runs really took, as far as they say."""
        return math.fsum(self.totals["wall_time"].dropna().tolist())


def gather(folder: str | Path, labels: Labels | None = None, results: Mapping[str, Any] = NO_OPTIONS) -> Material:
    """Read what a report of the study in a folder needs; `labels` as for `load_study`, `results` as in `Material`.

    Raises
    ------
    TraceError
        There is no finished run, or a file is damaged.
    SpecificationError
        The runs belong to different studies, or do not have what `results` need.
    """
    folder = Path(folder)
    columns = list(dict.fromkeys(c for kind in FIGURES.values() if not kind.needs_reference for c in kind.columns))
    if any((folder / name).exists() for name in (STORE, CELLS_FILE)):
        study = load_study(folder, columns=columns, labels=labels)
        cells = store.load_cells(folder)
        finished = set(cells["cell"])
        totals = cells[["n_workers", *COUNTS, "simulated_time", "wall_time"]]
        specifications = [json.loads(text) for text in sorted(set(cells["specification"]))]
        versions = [json.loads(text) for text in sorted(set(cells["versions"]))]
    else:
        runs = load_runs(folder)
        study = study_of_runs(runs, columns=columns)
        study = study.labelled(kept_labels(folder), known=False) if labels is None else study.labelled(labels)
        finished = None
        totals, specifications = _totals(runs), []
        of_each = {json.dumps(run.trace.attrs[ATTRIBUTE]["versions"], sort_keys=True) for run in runs}
        versions = [json.loads(text) for text in sorted(of_each)]
    study.judged(**results)  # what cannot be judged so is refused before anything is drawn
    listing = folder / STUDY_FILE
    listed = listed_cells(listing) if listing.is_file() else {}
    failed, missing = {}, []
    for path, label in listed.items():
        there = (folder / path / "trace.parquet").is_file() if finished is None else Path(path).name in finished
        if not there and (folder / f"{path}.failed").is_dir():
            failed[label] = error_line(folder / f"{path}.failed")
        elif not there:
            missing.append(label)
    return Material(
        folder,
        _name(listing) or folder.resolve().name,
        study,
        totals,
        specifications,
        versions,
        list(listed.values()) if listed else None,
        listed_runs(listing) if listed else None,
        failed,
        missing,
        text.read_text(encoding="utf-8", errors="replace") if (text := folder / STUDY_TEXT).is_file() else "",
        results,
    )


def _totals(runs: Sequence[Run]) -> pd.DataFrame:
    rows = []
    for run in runs:
        metadata = run.trace.attrs[ATTRIBUTE]
        totals = metadata["totals"]
        wall_time = metadata.get("measured", {}).get("wall_time")
        rows.append(
            {
                "n_workers": run.n_workers,
                **{name: totals[name] for name in COUNTS},
                "simulated_time": totals["makespan"],
                "wall_time": math.nan if wall_time is None else wall_time,
            }
        )
    return pd.DataFrame(rows)


def _name(listing: Path) -> str | None:
    if not listing.is_file():
        return None
    try:
        name = read_json(listing).get("name")
    except (OSError, ValueError, AttributeError) as error:
        raise TraceError(f"{listing} is damaged ({error!r}); run the study again to write it anew") from None
    return None if name is None else str(name)
