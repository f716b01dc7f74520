"""`zerowait baselines`: archives of studies, small enough to hand on, whose runs anybody can make again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.export import Folder, Where

ARCHIVE = Path("results/baselines")
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
    where: Where = None,
) -> None:
    """Write what decides figures of finished runs, their incumbents, with all that is needed to make the runs again."""
    from zerowait.experiments.commands.plot import study_folder
    from zerowait.experiments.grid.archive import make_archive

    n = make_archive(study_folder(study), out, where)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    _out(f"{n:,} runs, {size / 1e6:.2f} MB: {out}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="An archive.", metavar="[ARCHIVE]", readable=False)] = ARCHIVE,
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many runs are made again.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses them.")] = 0,
) -> None:
    """Make a random sample of an archive's runs again and compare every byte; exit code 1 when one differs."""
    from zerowait.adapters.environments.isolation import run_interruptible
    from zerowait.experiments.grid.archive import verify as verify_archive

    # In the environment that cells find: it decides how many threads linear algebra takes.
    results = run_interruptible(verify_archive, folder.absolute(), sample, seed)
    for name, problem in results:
        _out(f"{name}: {problem or 'the same'}")
    different = sum(bool(problem) for _, problem in results)
    _out(f"{len(results)} runs were made again: {different or 'none'} {'differ' if different != 1 else 'differs'}")
    if different:
        raise typer.Exit(DIFFERS)


def _out(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201 - the command's output
