"""The command line `zerowait`; each of its larger commands is in a module of its own."""

from __future__ import annotations

import inspect
import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands import baselines as baselines_cli
from zerowait.experiments.commands import compare as compare_cli
from zerowait.experiments.commands import data as data_cli
from zerowait.experiments.commands import environments as environments_cli
from zerowait.experiments.commands import export as export_cli
from zerowait.experiments.commands import plot as plot_cli
from zerowait.experiments.commands import report as report_cli
from zerowait.experiments.commands import study as study_cli
from zerowait.experiments.commands import table as table_cli
from zerowait.experiments.commands import verify as verify_cli
from zerowait.experiments.commands.plot import study_folder
from zerowait.experiments.studies.output import print_err, print_out
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError, one_line

# Everything else is imported inside the commands, so that `zerowait --help` answers at once. Paths are not `readable`
# for typer: what is wrong with a path is told in one line, like everything else.

BAD_INPUT = 2

app = typer.Typer(
    name="zerowait",
    help="Compare hyperparameter optimizers at different degrees of parallelism, without the waiting.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(environments_cli.app)
app.add_typer(data_cli.app)
app.add_typer(export_cli.app)
app.add_typer(baselines_cli.app)


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
        print_err(f"zerowait: {one_line(error)}")
        sys.exit(BAD_INPUT)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print_err(f"zerowait: {error.strerror or error}{place}; make it readable and writable, or name another folder")
        sys.exit(BAD_INPUT)


def _version(value: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if value:
        from importlib.metadata import version

        print_out(f"zerowait {version('zerowait')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # its callback has acted


app.command()(study_cli.run)
app.command()(study_cli.status)
app.command("plot")(plot_cli.plot)
app.command("report")(report_cli.report)
app.command()(compare_cli.compare)
app.command("new-study")(compare_cli.new_study)
app.command()(table_cli.table)
app.command()(verify_cli.verify)


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="`optimizers` or `benchmarks`, both by default, and words that stand in what is listed: lcbench.",
            metavar="[KIND] [WORD]...", show_default=False,
        ),
    ] = None,
    *,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="In full: what is missing, tasks, units, least values, licences, BibTeX."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON, for programs.")] = False,
) -> None:  # fmt: skip
    """List optimizers and benchmarks: what can run here, and what to do about what cannot."""
    from zerowait.experiments.studies import listing

    words = list(words or ())
    kinds = [Kind(words.pop(0))] if words and words[0] in list(Kind) else list(Kind)
    listed = {Kind.OPTIMIZERS: listing.optimizers, Kind.BENCHMARKS: listing.families}
    found = {kind: listed[kind](words) for kind in kinds}
    if not any(found.values()):
        raise SpecificationError(
            f"nothing that is listed has {' and '.join(map(repr, words))}; list all: zerowait list"
        )
    if as_json:
        print_out(
            json.dumps({str(kind): [entry.as_json() for entry in entries] for kind, entries in found.items()}, indent=1)
        )
        return
    for kind, entries in found.items():
        if entries and (verbose or words):
            listing.print_in_full(entries)
        elif entries:
            listing.print_overview(kind.removesuffix("s"), entries, kind)
            print_out("")


@app.command()
def check(
    named: Annotated[
        Path,
        typer.Argument(
            help="The directory of a run, or a study: its output folder, its TOML file or its name.",
            metavar="DIR|STUDY", show_default=False, readable=False,
        ),
    ],
) -> None:  # fmt: skip
    """Verify a run's journal, or all finished cells of a study; exit code 1 when something is broken."""
    from zerowait.suite.records.check import check as check_run
    from zerowait.suite.records.check import render

    if (named / "run.json").exists() and not (named / "cell.json").exists():
        report = check_run(named)
        for line in render(report):
            print_out(line)
        raise typer.Exit(report.exit_code)
    from zerowait.experiments.grid.study_check import StudyReport, check_cell, check_study

    found = StudyReport()
    if (named / "cell.json").exists():
        check_cell(named, found)
    elif named.is_dir() and not any((named / name).exists() for name in ("cells", "study.toml", "study.json")):
        raise SpecificationError(
            f"{named} is neither the directory of a run (it has no run.json) nor the output folder of a study (it has "
            "no cells); name one of them"
        )
    else:
        found = check_study(study_folder(named))
    for line in found.lines():
        print_out(line)
    raise typer.Exit(int(bool(found.problems)))


@app.command()
def complete(
    store: Annotated[
        Path,
        typer.Argument(
            help="A copy of a study's folder `store`.", metavar="STORE", show_default=False, readable=False,
        ),
    ],
) -> None:  # fmt: skip
    """Add `full.value` and `full.<metric>` to results of version 0.1, without running an optimizer again."""
    from zerowait.experiments.grid.completion import complete as complete_store

    print_out(f"{complete_store(store, print_err):,} evaluations have full.value now")


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
    benchmarks: Annotated[
        bool, typer.Option("--benchmarks", help="Measure the benchmarks themselves instead: query, load, memory.")
    ] = False,
    idle: Annotated[
        bool, typer.Option("--idle", help="Measure runs instead in which workers get no call, or die.")
    ] = False,
    before: Annotated[
        Path | None,
        typer.Option("--before", help="With --idle: a checkout of another version, measured in turns.", metavar="DIR"),
    ] = None,
) -> None:
    """Measure what simulating costs per evaluation, beside the peers; or what benchmarks or idle workers cost."""
    if idle:
        from zerowait.experiments.measuring import idle_cost

        idle_cost.main(before)
        return
    if benchmarks:
        from zerowait.experiments.measuring import query_speed

        query_speed.print_rows(query_speed.report((), print_err))
        return
    from zerowait.experiments.measuring import speed

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
    from zerowait.experiments.measuring import overhead_report

    rows = overhead_report.report(optimizers or (), workers or overhead_report.DEFAULT_WORKERS, evaluations, print_err)
    overhead_report.print_rows(rows)
    if table is not None:
        overhead_report.write_csv(rows, table)


def _let_paragraphs_flow(commands: typer.Typer) -> None:
    """Break lines at the width of the terminal: typer keeps those of a docstring from its second paragraph on."""
    for command in commands.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.splitlines()) for paragraph in paragraphs)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _let_paragraphs_flow(group.typer_instance)


_let_paragraphs_flow(app)
