"""The command `zerowait verify`: experiments with gates; exit code 1 when one fails."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.plot import study_folder
from zerowait.experiments.studies.output import print_err, print_out

DEFAULT_FOLDER = Path("verification")
GATE_FAILED = 1
ALL, LIST = "all", "list"


def verify(
    name: Annotated[str, typer.Argument(help="An experiment, `all`, or `list`, which names them.", show_default=False)],
    *,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="The full numbers, in minutes, or a quick look, in seconds.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="The folder for tables and gates.", metavar="DIR", readable=False)
    ] = DEFAULT_FOLDER,
    directory: Annotated[
        list[Path] | None,
        typer.Option(
            "--directory", help="Where runs are made; several for portability.", metavar="DIR", readable=False
        ),
    ] = None,
    python: Annotated[
        list[Path] | None,
        typer.Option("--python", help="A further interpreter with zerowait, for portability.", metavar="PYTHON"),
    ] = None,
    syne_tune: Annotated[
        Path | None, typer.Option("--syne-tune", help="An interpreter with Syne Tune, for speed.", metavar="PYTHON")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study",
            help="A study (its output folder, file or name), for effects, figure-6, paper-study; with --full, by "
            "default ./results.",
            metavar="STUDY",
            readable=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="A page to write the numbers of effects into.", metavar="FILE", readable=False),
    ] = None,
) -> None:
    """Repeat an experiment of the paper with numbers that can fail; exit code 1 when a gate does."""
    from zerowait.experiments.verification import EXPERIMENTS, Request, run
    from zerowait.experiments.verification.outcome import show, write

    if name == LIST:
        for experiment, (_, description) in EXPERIMENTS.items():
            print_out(f"{experiment:18}{description}")
        return
    request = Request(
        quick=not full,
        directories=tuple(directory or ()),
        pythons=tuple(python or ()),
        syne_tune=syne_tune,
        study=None if study is None else study_folder(study),
        page=page,
        tell=print_err,
    )
    passed = True
    for experiment in EXPERIMENTS if name == ALL else (name,):
        began = time.perf_counter()
        outcome = run(experiment, request)
        facts = {"command": command(), "full": full, "seconds": round(time.perf_counter() - began, 1)}
        show(outcome)
        for path in write(outcome, out, facts):
            print_err(f"written: {path}")
        passed = passed and outcome.passed
    if not passed:
        raise typer.Exit(GATE_FAILED)


def command() -> str:
    """Return the command as it was given, without the folders of this machine."""
    return shlex.join(["zerowait", *map(_anywhere, sys.argv[1:])])


def _anywhere(word: str) -> str:
    path = Path(word)
    if not path.is_absolute():
        return word
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return f".../{path.name}"
