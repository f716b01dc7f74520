"""The command line: `zerowait run`, `list`, `plot`, `check`, `bench`, `overhead` and `env`."""

from __future__ import annotations

import io
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import environments_cli
from suite.errors import SpecificationError, ZerowaitError

if TYPE_CHECKING:
    from plots.performance import FigureFiles

# Everything else is imported inside the commands, so that `zerowait --help` answers at once. Paths are not `readable`
# for typer: what is wrong with a path is told in one line, like everything else.

SOME_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="zerowait",
    help="Compare hyperparameter optimizers at different degrees of parallelism, without the waiting.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(environments_cli.app)


class Kind(StrEnum):
    """What `zerowait list` lists."""

    OPTIMIZERS = "optimizers"
    BENCHMARKS = "benchmarks"


def main() -> None:
    """Run the command line; an error that the user can mend is one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ZerowaitError as error:
        _err(f"zerowait: {' '.join(str(error).split())}")
        sys.exit(BAD_INPUT)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _err(f"zerowait: {error.strerror or error}{place}; make it readable and writable, or name another folder")
        sys.exit(BAD_INPUT)


def _version(value: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if value:
        from importlib.metadata import version

        _out(f"zerowait {version('zerowait')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # its callback has acted


@app.command()
def run(
    study: Annotated[
        Path, typer.Argument(help="The study: a TOML file.", metavar="STUDY", show_default=False, readable=False)
    ],
    *,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run one cell after another in this process, to debug.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes; one for each core by default.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the runs, in place of the study's.", readable=False),
    ] = None,
) -> None:
    """Run a study and draw its figure.

    Finished cells are never run again: repeat the command to continue a study that was interrupted or had
    failures.
    """
    from experiments.engines import Engine, InProcess, LocalDask
    from experiments.grid import StudyFolder, run_grid
    from experiments.planning import make_plan
    from experiments.reporting import failure_lines, progress, summary_lines
    from experiments.study import load_study

    if in_process and jobs is not None:
        raise SpecificationError("--in-process uses this process alone; leave out --jobs")
    specification = load_study(study)
    plan = make_plan(specification, str(study))
    # Absolute, because a library that a cell uses may change the current folder.
    folder = StudyFolder((specification.folder if output is None else output).absolute())
    for line in plan.skipped:
        _err(f"skipped: {line}")
    engine: Engine = InProcess() if in_process else LocalDask(jobs)
    try:
        with progress() as show:
            summary = run_grid(specification.name, plan.cells, folder, engine, show)
    except KeyboardInterrupt:
        finished = folder.cells.finished_keys().intersection(cell.key for cell in plan.cells)
        again = shlex.join(["zerowait", *sys.argv[1:]])
        _err(f"interrupted: {len(finished)} of {len(plan.cells)} cells are finished and kept; continue with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    for line in summary_lines(summary):
        _out(line)
    for line in failure_lines(summary, plan.cells, folder.cells):
        _err(line)
    if summary.finished:
        _draw(folder.path, None)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; both by default.", show_default=False)] = None,
) -> None:
    """List optimizers and benchmarks: what can run here, and what to do about what cannot."""
    from experiments.listing import print_benchmarks, print_optimizers

    if kind is not Kind.BENCHMARKS:
        print_optimizers()
    if kind is None:
        _out("")
    if kind is not Kind.OPTIMIZERS:
        print_benchmarks()


@app.command()
def plot(
    folder: Annotated[
        Path, typer.Argument(help="The output folder of a study.", metavar="DIR", show_default=False, readable=False)
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the figure; DIR/figures by default.", readable=False)
    ] = None,
) -> None:
    """Draw performance over time from the traces of a study."""
    _draw(folder, out)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="The directory of a run.", metavar="DIR", show_default=False, readable=False)
    ],
) -> None:
    """Verify a run's journal against every invariant; exit code 1 when something is broken."""
    from suite.check import check as check_run
    from suite.check import render

    report = check_run(folder)
    for line in render(report):
        _out(line)
    raise typer.Exit(report.exit_code)


@app.command()
def bench(
    *,
    evaluations: Annotated[
        int, typer.Option("--evaluations", min=1, help="Evaluations of a run; some rows have multiples of it.")
    ] = 4000,
    workers: Annotated[
        list[int] | None,
        typer.Option("--workers", min=1, help="Simulated workers of all rows; may be repeated; many by default."),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Measure other simulators for comparison.")] = True,
) -> None:
    """Measure what simulating costs per evaluation, beside the peers."""
    from experiments import speed

    speed.main(evaluations=evaluations, workers=workers or None, peers=peers)


@app.command()
def overhead(
    optimizers: Annotated[
        list[str] | None,
        typer.Argument(help="Optimizers; all that can run here by default.", metavar="[NAME]...", show_default=False),
    ] = None,
    *,
    workers: Annotated[
        list[int] | None,
        typer.Option("--workers", min=1, help="Simulated workers; may be repeated; 1 and 4 by default."),
    ] = None,
    evaluations: Annotated[int, typer.Option("--evaluations", min=2, help="Evaluations of each run.")] = 50,
    table: Annotated[Path | None, typer.Option("--csv", help="A file for the table.", readable=False)] = None,
) -> None:
    """Measure what optimizers spend on an evaluation, and how much of that is their library waiting."""
    from experiments import overhead_report

    rows = overhead_report.report(optimizers or (), workers or overhead_report.DEFAULT_WORKERS, evaluations, _err)
    overhead_report.print_rows(rows)
    if table is not None:
        overhead_report.write_csv(rows, table)


def _draw(folder: Path, out: Path | None) -> FigureFiles:
    from experiments.reporting import relative
    from plots.performance import plot_study

    files = plot_study(folder, out)
    _out(f"figure: {relative(files.pdf)}")
    _out(f"figure: {relative(files.png)}")
    _out(f"table:  {relative(files.csv)}")
    return files


def _out(*text: Any) -> None:
    print(*text)  # noqa: T201 - the command's output


def _err(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the command's messages
