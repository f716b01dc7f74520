"""`zerowait report`: a study as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerowait.experiments.commands.plot import Folder, Names, labels_for, study_folder
from zerowait.experiments.studies.output import print_out
from zerowait.experiments.studies.shipped import study_file
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.plots.report.material import Material
    from zerowait.plots.report.summary import Fact

# Everything heavy is imported inside the functions, so that `zerowait --help` answers at once.

REPORT_FILE = "report.html"


def report(
    study: Folder,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=f"The file; {REPORT_FILE} in the study's folder by default.", readable=False,
            show_default=False,
        ),
    ] = None,
    names: Names = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", show_default=False,
            help="What counts as a result: 'result=full', 'score=test_cross_entropy'; may be repeated.",
        ),
    ] = None,
    look: Annotated[str, typer.Option("--style", help="Of the figures: paper, slides or web.")] = "web",
) -> None:  # fmt: skip
    """Write a study as one HTML page: figures, tables, what is missing, and how to reproduce it.

    The page works from a file, without a network.
    """
    from zerowait.experiments.grid.reporting import relative
    from zerowait.plots.catalogue import figure_kind
    from zerowait.plots.report.material import gather
    from zerowait.plots.report.report import write_report

    folder = study_folder(study)
    # Any figure of results has exactly these options and its own.
    parsed = figure_kind("rank_over_time").parse(option or ())
    if set(parsed) - {"result", "score"}:
        raise SpecificationError("a report has the options result and score; figures have more: zerowait plot --list")
    material = gather(folder, labels_for(study, folder, names or ()), parsed)
    facts, notes = saved(material)
    text = file.read_text(encoding="utf-8") if (file := study_file(study)).is_file() else ""
    path = write_report(
        material,
        folder / REPORT_FILE if out is None else out,
        look=look,
        facts=facts,
        notes=notes,
        study_file=text,
    )
    print_out(f"report: {relative(path)} ({path.stat().st_size / 1e6:.1f} MB)")


def saved(material: Material) -> tuple[list[Fact], list[str]]:
    """Return what not waiting has saved and from which assumptions, for the summary; nothing if nothing was saved.

    Raises
    ------
    SpecificationError
        An environment variable of the assumptions is no number.
    """
    from zerowait.experiments.grid.energy import Assumptions, energy, mass, saving
    from zerowait.plots.figures.runtime import readable
    from zerowait.plots.report.summary import Fact

    assumptions = Assumptions.of_environment()
    found = saving(material.worker_seconds, material.real_seconds, assumptions)
    if not found.kwh:
        return [], []
    return (
        [
            Fact("Not slept", readable(material.worker_seconds), "of workers: P times the simulated time"),
            Fact("Energy saved", energy(found.kwh), f"{mass(found.grams)} CO2"),
        ],
        [f"Energy: {assumptions}."],
    )
