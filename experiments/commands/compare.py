"""`zerowait compare` and `zerowait new-study`: an optimizer of one's own beside the runs of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.plot import Folder, study_folder
from zerowait.experiments.studies.output import print_err, print_out
from zerowait.experiments.studies.shipped import archive_folder, study_file
from zerowait.suite.rules.errors import SpecificationError

# Everything heavy is imported inside the functions, so that `zerowait --help` answers at once.

Archive = "An archive or another store, or the name of ours: baselines."
Chosen = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="CONDITION", show_default=False,
        help="Only these runs of the archive, such as 'optimizer=random,dehb,P<=16'; each further one narrows.",
    ),
]  # fmt: skip


def compare(
    study: Folder,
    *,
    with_: Annotated[
        Path | None,
        typer.Option(
            "--with", metavar="ARCHIVE", help=f"{Archive} The study's `compare` by default.", readable=False,
            show_default=False,
        ),
    ] = None,
    where: Chosen = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the comparison; STUDY-with-ARCHIVE beside the study's by default.",
            readable=False, show_default=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """Set a study's runs beside those of an archive, where they can be compared.

    They can where benchmark, parameters (clock, fidelity range), data, overhead, cluster, workers and seed agree, and
    both trained as much. What does not agree is said, with the change that would make it agree. The comparison is a
    folder that zerowait report, plot and export take like that of a study.
    """
    from zerowait.experiments.grid.comparing import compare as compare_runs
    from zerowait.experiments.grid.comparing import described
    from zerowait.experiments.grid.reporting import relative
    from zerowait.experiments.studies.study import load_study

    if with_ is None:
        named = None if study_file(study).is_dir() else load_study(study).compare
        if named is None:
            raise SpecificationError(f'{study} names no archive; give one with --with, or write compare = "baselines"')
        with_ = Path(named)
    folder, archive = study_folder(study), archive_folder(with_)
    if not folder.exists():
        raise SpecificationError(f"{study} has not run, for there is no {folder}; run it first: zerowait run {study}")
    target = folder.with_name(f"{folder.resolve().name}-with-{archive.resolve().name}") if out is None else out
    for line in compare_runs(folder, archive, target, where):
        print_err(f"left out: {line}")
    print_out(f"compared: {described(target, archive.resolve().name)}")
    print_out(f"next: zerowait report {relative(target)}, or zerowait plot {relative(target)} rank_by_workers")


def new_study(
    *,
    like: Annotated[Path, typer.Option("--like", metavar="ARCHIVE", help=Archive, readable=False)],
    optimizer: Annotated[
        list[str], typer.Option("--optimizer", metavar="NAME", help="Your optimizer; may be repeated.")
    ],
    where: Chosen = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file; NAME.toml by default.", readable=False, show_default=False),
    ] = None,
) -> None:
    """Write a study of your optimizer that can be compared with the runs of an archive."""
    from zerowait.experiments.grid.archive import trainings
    from zerowait.experiments.studies.like import study_like
    from zerowait.experiments.studies.study import parse_study
    from zerowait.suite.records import store
    from zerowait.suite.records.selection import parse

    target = Path(f"{optimizer[0]}.toml") if out is None else out
    place, _ = store.store_of(archive_folder(like))
    runs = store.load_cells(place)
    runs["trained"] = runs["cell"].map(trainings(place))
    text = study_like(runs[parse(where).mask(runs)], str(like), optimizer, target.stem)
    parse_study(text, str(target))  # a name may be none that a study can have
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SpecificationError(f"{target} is there already; name another file with --out, or remove it") from None
    print_out(f"study: {target}; next: zerowait run {target}, then zerowait compare {target}")
