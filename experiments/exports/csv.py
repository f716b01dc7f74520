"""Export to CSV: `cells.csv` with one row a run, `traces.csv` with one row an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from zerowait.experiments.exports.pairs import pairs, refuse_existing
from zerowait.suite.records import store
from zerowait.suite.records.selection import Where
from zerowait.suite.records.spreadsheet import as_text


def export_csv(path: Path, out: Path, where: Where = None, columns: Sequence[str] | None = None) -> list[Path]:
    """Write the runs of a study as CSV and return the files.

    Numbers are written so that they read back exactly; what a run does not have is empty. A text that a spreadsheet
    would take for a formula has an apostrophe before it.

    Parameters
    ----------
    path
        The output folder of a study, or a copy of its store.
    out
        Folder for the files; new or empty.
    where
        Which runs; see `zerowait.suite.records.selection`.
    columns
        Columns of the traces, or patterns such as `config.*`; None takes all.

    Raises
    ------
    SpecificationError
        The folder has files, a column is unknown, or no run is chosen.
    TraceError
        There is no study or no finished run.
    """
    refuse_existing(out)
    cells = [pair.cells for pair in pairs(path, where, ["evaluation"])]
    if columns is not None:  # an unknown one is said before anything is written
        pair = cells[0].iloc[0]
        store.load_study(path, columns=columns, where={"cell": pair["cell"], "optimizer": pair["optimizer"]})
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "cells.csv", out / "traces.csv"]
    as_text(pd.concat(cells, ignore_index=True)).to_csv(files[0], index=False)
    with files[1].open("w", encoding="utf-8", newline="") as file:
        for i, each in enumerate(cells):
            pair = each.iloc[0]
            only = {"optimizer": pair["optimizer"], "benchmark": pair["benchmark"], "cell": set(each["cell"])}
            as_text(store.load_study(path, columns=columns, where=only)).to_csv(file, index=False, header=i == 0)
    return files
