"""`zerowait export`: the runs of a study in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.plot import Folder, study_folder
from zerowait.experiments.studies.output import print_err, print_out

app = typer.Typer(
    name="export",
    help="Write the runs of a study for other tools: Optuna, IOHprofiler, CSV.",
    no_args_is_help=True,
)

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="SELECTION", show_default=False,
        help="Write these runs only, such as 'optimizer=random,optuna*,P=1,2,4,seed<5'; each further one narrows.",
    ),
]  # fmt: skip


@app.command()
def optuna(
    folder: Folder,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="New file: .db for SQLite, .log for a journal, which is faster.", show_default=False
        ),
    ],
    where: Where = None,
) -> None:
    """Write an Optuna storage, one Optuna study a run; look at it with: optuna-dashboard FILE."""
    from zerowait.experiments.exports.optuna import export_optuna

    n = export_optuna(study_folder(folder), out, where, print_err)
    print_out(f"{n} runs: {out}")


@app.command()
def ioh(
    folder: Folder,
    *,
    out: Annotated[Path, typer.Option("--out", help="New or empty folder.", show_default=False)],
    where: Where = None,
) -> None:
    """Write the format of IOHprofiler, which IOHanalyzer and iohinspector open."""
    from zerowait.experiments.exports.ioh import export_ioh

    for label in export_ioh(study_folder(folder), out, where):
        print_err(f"left out, because it has no result: {label}")
    print_out(f"data: {out}")


@app.command()
def csv(
    folder: Folder,
    *,
    out: Annotated[Path, typer.Option("--out", help="New or empty folder.", show_default=False)],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="Column of the traces, or a pattern such as 'config.*'. May be repeated."),
    ] = None,
    where: Where = None,
) -> None:
    """Write two tables: cells.csv with a row for each run, traces.csv with a row for each evaluation."""
    from zerowait.experiments.exports.csv import export_csv

    for path in export_csv(study_folder(folder), out, where, column or None):
        print_out(f"table: {path}")
