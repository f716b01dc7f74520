"""The commands of a study: `zerowait run` and `zerowait status`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerowait.experiments.studies.output import print_err, print_out
from zerowait.experiments.studies.shipped import STUDY_COPY, shipped_studies, study_file
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.grid.engines import Engine
    from zerowait.experiments.grid.planning import Plan
    from zerowait.experiments.grid.remote import Certificates
    from zerowait.experiments.grid.runner import StudyFolder

SOME_FAILED, INTERRUPTED = 1, 130

StudyFile = Annotated[
    Path,
    typer.Argument(
        help=f"The study: its TOML file, its output folder, or one of ours: {', '.join(shipped_studies())}.",
        metavar="STUDY",
        show_default=False,
        readable=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the runs, in place of the study's.", readable=False),
]
SkipMissingData = Annotated[
    bool,
    typer.Option("--skip-missing-data", help="Leave out, and name, benchmarks whose data is not here."),
]
WHERE, TLS = "Where cells run", "A scheduler at tls://"


def run(  # noqa: PLR0913 - one parameter an option
    study: StudyFile,
    *,
    output: Output = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="SELECTION",
            help="Run these cells only, such as 'optimizer=optuna*,P=1,2,4,seed<5', or 'optuna*,lcbench/*,P=8'. Each "
            "further one adds cells.",
        ),
    ] = None,
    skip_missing_data: SkipMissingData = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells again that have failed.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the cells and what is skipped, and estimate the time; run nothing else."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            rich_help_panel=WHERE,
            help="Processes here, one for each core by default; or Slurm jobs.",
        ),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process", rich_help_panel=WHERE, help="Run one cell after another in this process, to debug."
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="ADDRESS", rich_help_panel=WHERE, help="On a Dask cluster, such as tcp://host:8786."
        ),
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", rich_help_panel=WHERE, help="As Slurm jobs.")] = False,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm-option",
            metavar="KEY=VALUE",
            rich_help_panel=WHERE,
            help="For dask-jobqueue, such as queue=long or walltime=04:00:00. May be repeated.",
        ),
    ] = None,
    tls_ca_file: Annotated[
        Path | None, typer.Option("--tls-ca-file", rich_help_panel=TLS, help="The authority's certificate (PEM).")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", rich_help_panel=TLS, help="The client's certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", rich_help_panel=TLS, help="The client's private key (PEM).")
    ] = None,
) -> None:
    """Run a study and draw its figure.

    Finished cells are never run again: repeat the command to continue a study that was interrupted, and add
    --retry-failed to try failed cells again.
    """
    from zerowait.experiments.grid.energy import Assumptions, energy_lines
    from zerowait.experiments.grid.progress import progress, together
    from zerowait.experiments.grid.reporting import failure_lines, mode_lines, summary_lines
    from zerowait.experiments.grid.runner import run_grid
    from zerowait.experiments.grid.selection import select
    from zerowait.experiments.grid.store import StoreWriter, update

    Assumptions.of_environment()  # a wrong variable is said now and not when the study has run
    certificates = _certificates(tls_ca_file, tls_cert, tls_key)
    engine = _engine(jobs, in_process, scheduler, slurm, slurm_option or [], certificates)
    name, plan, folder = _planned(study, output, skip_missing_data=skip_missing_data)
    for line in [*_skipped_lines(plan, only), *(f"warning: {text}" for text in plan.warnings)]:
        print_err(line)
    chosen = plan.cells if not only else select(plan.cells, only)
    if dry_run:
        if (problem := folder.try_out()) is not None:
            print_err(problem)
            raise typer.Exit(SOME_FAILED)
        raise typer.Exit(SOME_FAILED if _print_dry_run(plan, chosen, folder, jobs) else 0)
    folder.keep_file(study_file(study))
    try:
        with progress(plan.cells) as show:
            watch = together(show, StoreWriter(folder.path))
            summary = run_grid(name, plan.cells, folder, engine, watch, chosen=chosen, retry_failed=retry_failed)
    except KeyboardInterrupt:
        finished = folder.cells.finished_keys().intersection(cell.key for cell in chosen)
        again = shlex.join(["zerowait", *sys.argv[1:]])
        print_err(f"interrupted: {len(finished)} of {len(chosen)} cells are finished and kept; continue with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    for line in [*summary_lines(summary), *energy_lines(summary, plan.cells), *mode_lines(plan.cells)]:
        print_out(line)
    for line in [*failure_lines(summary, chosen, folder.cells), *_reminder(_skipped_lines(plan, only))]:
        print_err(line)
    if summary.already_failed:
        print_err(f"{len(summary.already_failed)} cells failed before; run them again with --retry-failed")
    if summary.finished:
        update(folder.path)
        _draw(folder.path)
    if summary.failed or summary.already_failed:
        raise typer.Exit(SOME_FAILED)


def _skipped_lines(plan: Plan, only: list[str] | None) -> list[str]:
    """Return what is said of pairs that cannot run; whoever asks for some cells wants no list about all the others."""
    from zerowait.experiments.grid.selection import concerns
    from zerowait.suite.records.selection import parse

    selections = [parse(text) for text in only or ()]
    named = [one for one in plan.skipped if not selections or any(concerns(each, one) for each in selections)]
    lines = [f"skipped: {one}" for one in named]
    if others := len(plan.skipped) - len(named):
        lines.append(f"skipped elsewhere in the study: {others} (benchmarks without data, and pairs that cannot run)")
    return lines


def _reminder(skipped: list[str]) -> list[str]:
    """Return the first of these lines and how many more there were: the beginning has left the screen by the end."""
    return [*skipped[:1], *([f"skipped: {len(skipped) - 1} more, said at the beginning"] if len(skipped) > 1 else [])]


def _draw(folder: Path) -> None:
    from zerowait.experiments.grid.reporting import draw_study

    try:
        for line in draw_study(folder, None):
            print_out(line)
    except SpecificationError as error:
        print_err(f"figure left out: {error}")
    except Exception as error:  # noqa: BLE001 - the study is finished all the same, and its exit code says so
        print_err(f"figure left out: {type(error).__name__}: {error}")


def status(study: StudyFile, *, output: Output = None, skip_missing_data: SkipMissingData = False) -> None:
    """Tell which cells of a study are finished, running, failed or missing.

    The exit code is 0 when all are finished, 1 when some have failed, and 3 when none has failed but some are missing
    or running.
    """
    from zerowait.experiments.grid.status import status_of
    from zerowait.experiments.grid.study_tables import failed_lines, print_status

    _, plan, folder = _planned(study, output, skip_missing_data=skip_missing_data)
    found = status_of(plan.cells, folder.cells)
    print_status(found)
    for line in [*failed_lines(found, folder.cells), *_skipped_lines(plan, None)]:
        print_err(line)
    raise typer.Exit(found.exit_code)


def _planned(study: Path, output: Path | None, *, skip_missing_data: bool) -> tuple[str, Plan, StudyFolder]:
    """Return a study's name, plan and folder."""
    from zerowait.experiments.grid.planning import make_plan
    from zerowait.experiments.grid.runner import StudyFolder
    from zerowait.experiments.studies.study import load_study

    specification = load_study(study)
    plan = make_plan(specification, str(study), skip_missing_data=skip_missing_data)
    if output is None and study.is_dir() and (study / STUDY_COPY).is_file():
        output = study  # wherever it was moved to
    # Absolute, because a library that a cell uses may change the current folder.
    return specification.name, plan, StudyFolder((specification.folder if output is None else output).absolute())


def _engine(
    jobs: int | None,
    in_process: bool,  # noqa: FBT001 - the same
    scheduler: str | None,
    slurm: bool,  # noqa: FBT001 - the same
    slurm_options: list[str],
    certificates: Certificates | None,
) -> Engine:
    """Return what executes cells."""
    from zerowait.experiments.grid.engines import InProcess, LocalDask

    places = [
        name
        for name, given in (("--in-process", in_process), ("--scheduler", scheduler is not None), ("--slurm", slurm))
        if given
    ]
    if len(places) > 1:
        raise SpecificationError(f"{' and '.join(places)} contradict each other; give one of them")
    if slurm_options and not slurm:
        raise SpecificationError("--slurm-option is for Slurm jobs; add --slurm")
    if certificates is not None and scheduler is None:
        raise SpecificationError("--tls-ca-file, --tls-cert and --tls-key are for a scheduler; add --scheduler")
    if in_process:
        if jobs is not None:
            raise SpecificationError("--in-process uses this process alone; leave out --jobs")
        return InProcess()
    if scheduler is not None:
        from zerowait.experiments.grid.remote import RemoteDask

        if jobs is not None:
            raise SpecificationError("--scheduler uses the workers that the cluster has; leave out --jobs")
        return RemoteDask(scheduler, certificates, print_err)
    if slurm:
        from zerowait.experiments.grid.slurm import Slurm, parse_options

        if jobs is None:
            raise SpecificationError("--slurm needs to know how many jobs to submit; add --jobs NUMBER")
        return Slurm(jobs, parse_options(slurm_options), print_err)
    return LocalDask(jobs)


def _certificates(authority: Path | None, certificate: Path | None, key: Path | None) -> Certificates | None:
    from zerowait.experiments.grid.remote import Certificates

    if authority is None and certificate is None and key is None:
        return None
    if authority is None or certificate is None or key is None:
        raise SpecificationError("--tls-ca-file, --tls-cert and --tls-key belong together; give all three")
    return Certificates(authority, certificate, key)


def _print_dry_run(plan: Plan, chosen: Sequence[Cell], folder: StudyFolder, jobs: int | None) -> bool:
    """Print what a study would take and which cells would fail; return whether any would."""
    import tempfile

    from zerowait.adapters.environments.isolation import run_interruptible
    from zerowait.experiments.grid.engines import cores
    from zerowait.experiments.grid.estimate import estimate, rows, try_pairs
    from zerowait.experiments.grid.reporting import mode_lines
    from zerowait.experiments.grid.study_tables import estimate_lines, print_rows, trial_lines

    finished = folder.cells.finished_keys()
    missing = [cell for cell in chosen if cell.key not in finished]
    print_rows(rows(chosen))
    of_all = "" if len(chosen) == len(plan.cells) else f" of the study's {len(plan.cells):,}"
    print_out(f"\n{len(chosen):,} cells{of_all}, {len(chosen) - len(missing):,} of them finished")
    if not missing:
        return False
    with tempfile.TemporaryDirectory(prefix="zerowait-") as temporary:
        # In the environment that cells find: it decides how many threads linear algebra takes.
        trials = run_interruptible(try_pairs, missing, Path(temporary) / "trials")
        fit = [cell for cell in missing if (cell.label, cell.benchmark_label) not in trials]
        found = run_interruptible(estimate, fit, Path(temporary) / "estimate") if fit else []
    if found:
        for line in estimate_lines(found, jobs or cores()):
            print_out(line)
    for line in mode_lines(chosen):
        print_out(line)
    for line in trial_lines(trials, missing):
        print_err(line)
    return bool(trials) or any(one.problem is not None for one in found)
