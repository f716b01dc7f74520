"""`zerowait baselines`: archives of studies, small enough to hand on, whose runs anybody can make again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.plot import Folder, study_folder
from zerowait.experiments.studies.output import print_out
from zerowait.experiments.studies.shipped import archive_folder

ARCHIVE, FIGURES, PAGE = Path("results/baselines"), Path("results/parallelism"), Path("docs/parallelism.md")
DIFFERS = 1

app = typer.Typer(
    name="baselines",
    help="Keep the incumbents of a study's runs for others, and make some of them again to see that they are true.",
    no_args_is_help=True,
)


@app.command()
def archive(
    study: Folder,
    *,
    out: Annotated[Path, typer.Option("--out", help="New or empty folder.", readable=False)] = ARCHIVE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the archive that is there; other files in the folder stay.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="SELECTION",
            help="Keep these runs only, such as 'optimizer=random,dehb'. Each further one adds runs.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write what decides figures of finished runs, their incumbents, with all that is needed to make the runs again.

    Of a study that is not finished it keeps a benchmark with a seed if every run of it that --only names is finished,
    asked of each --only for itself.
    """
    from zerowait.experiments.grid.archive import absent, make_archive

    n = make_archive(study_folder(study), out, only or (), replace=replace)
    size = sum(path.stat().st_size for path in out.rglob("*.parquet"))
    print_out(f"{n:,} runs, {size / 1e6:.2f} MB: {out}")
    for line in absent(out):
        print_out(f"not whole: {line}")


@app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(help="An archive, or the name of ours.", metavar="[ARCHIVE]", readable=False),
    ] = Path(ARCHIVE.name),
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many runs are made again.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses them.")] = 0,
) -> None:
    """Make a random sample of an archive's runs again and compare every byte; exit code 1 when one differs."""
    from zerowait.adapters.environments.isolation import run_interruptible
    from zerowait.experiments.grid.archive import verify as verify_archive

    # In the environment that cells find: it decides how many threads linear algebra takes.
    results = run_interruptible(verify_archive, archive_folder(folder).absolute(), sample, seed)
    for name, problem in results:
        print_out(f"{name}: {problem or 'the same'}")
    different = sum(bool(problem) for _, problem in results)
    print_out(f"{len(results)} runs were made again: {different or 'none'} {'differ' if different != 1 else 'differs'}")
    if different:
        raise typer.Exit(DIFFERS)


@app.command()
def page(
    folder: Annotated[
        Path, typer.Argument(help="An archive, or the name of ours.", metavar="[ARCHIVE]", readable=False)
    ] = Path(ARCHIVE.name),
    *,
    page: Annotated[Path, typer.Option("--page", help="Whose numbers are replaced.", readable=False)] = PAGE,
    out: Annotated[Path, typer.Option("--out", help="Folder of the figures.", readable=False)] = FIGURES,
) -> None:
    """Write the figures and numbers of docs/parallelism.md: what an archive says about numbers of workers."""
    from zerowait.experiments.grid.reporting import relative
    from zerowait.experiments.verification.parallelism import write_page

    for file in write_page(archive_folder(folder), page, out):
        print_out(relative(file))
