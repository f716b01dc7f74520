"""The commands `zerowait data ...`: what data benchmarks need, getting it, and examining it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from zerowait.experiments.studies.output import print_err, print_out
from zerowait.experiments.studies.shipped import is_study
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.benchmarks import Benchmark
    from zerowait.benchmarks.data.fetching import Report
    from zerowait.benchmarks.data.sources import DataSet
    from zerowait.experiments.measuring.examination import Examination

DAMAGED, INTERRUPTED = 1, 130
PLAIN_SECONDS = 5.0
"""Without a terminal, at least so many seconds pass between two lines of a step."""

app = typer.Typer(
    name="data",
    help="List, fetch and verify the data of benchmarks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[
    str, typer.Argument(help="Data; `zerowait data list` shows the names.", metavar="NAME", show_default=False)
]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Data; all that is here by default.", metavar="[NAME]...", show_default=False),
]
Mirror = Annotated[
    str | None,
    typer.Option(
        help="An address that has the files as URL/NAME/FILE, in place of the official ones.",
        metavar="URL",
        show_default=False,
    ),
]


@app.command("list")
def list_() -> None:
    """List what each benchmark needs: where it is looked for, whether it is there, size, licence and source."""
    from zerowait import benchmarks
    from zerowait.benchmarks.data.sources import DATA_SETS, data_folder
    from zerowait.benchmarks.tables import packaged
    from zerowait.experiments.studies.listing import print_blocks, print_text

    given = "$ZEROWAIT_DATA" if os.environ.get("ZEROWAIT_DATA") else "set ZEROWAIT_DATA for another"
    print_out(f"data folder: {data_folder()} ({given})\n")
    blocks = [
        (
            found.name,
            _status(found),
            {
                "holds": found.description,
                "needed by": ", ".join(found.benchmarks),
                "looked for": str(found.place),
                "size": found.size,
                "licence": found.licence,
                "source": found.source,
                "files": "\n".join(dict.fromkeys(_site(one.url) for one in found.downloads)),
            },
        )
        for found in DATA_SETS
    ]
    blocks.append(
        (
            packaged.NAME,
            packaged.missing(),
            {
                "holds": packaged.DESCRIPTION,
                "needed by": ", ".join(packaged.BENCHMARKS),
                "looked for": packaged.PLACE,
                "size": packaged.SIZE,
                "licence": packaged.LICENCE,
                "source": packaged.SOURCE,
                "get it with": packaged.COMMAND,
            },
        )
    )
    print_blocks(blocks)
    needy = {name for found in DATA_SETS for name in found.benchmarks}.union(packaged.BENCHMARKS)
    others = [found.name for found in benchmarks.available() if found.name not in needy]
    print_text(f"without data: {', '.join(others)}")


@app.command()
def fetch(name: Name, *, mirror: Mirror = None) -> None:
    """Download, unpack and convert data; what has arrived is kept, and the next fetch goes on from there."""
    from zerowait.benchmarks.data import fetching
    from zerowait.benchmarks.data.sources import data_set
    from zerowait.benchmarks.tables import packaged

    if name == packaged.NAME:
        raise SpecificationError(f"the data {name!r} is {packaged.PLACE}; get it with: {packaged.COMMAND}")
    wanted = data_set(name)
    try:
        with _progress() as report:
            was_missing = fetching.fetch(wanted, mirror=mirror, report=report)
    except KeyboardInterrupt:
        from rich.filesize import decimal

        print_err(f"interrupted: {decimal(fetching.unfinished(wanted))} are kept; continue with: {wanted.command}")
        raise typer.Exit(INTERRUPTED) from None
    print_out(f"{name}: {'now in' if was_missing else 'is there already, in'} {wanted.place}")


@app.command()
def verify(names: Names = None) -> None:
    """Examine data that is there: presence, size, digest, readability; exit code 1 when something is damaged.

    Without a name, what is absent altogether is no damage.
    """
    from zerowait.benchmarks.data.sources import DATA_SETS, data_set
    from zerowait.benchmarks.data.verification import problems
    from zerowait.benchmarks.tables import packaged

    chosen = {name: None if name == packaged.NAME else data_set(name) for name in names or ()}
    if not names:
        chosen = {found.name: found for found in DATA_SETS if _is_begun(found)}
        for absent in DATA_SETS:
            if absent.name not in chosen:
                print_out(f"{absent.name}: absent; get it with: {absent.command}")
        if packaged.missing() is None:
            chosen[packaged.NAME] = None
    damaged = False
    for name, examined in chosen.items():
        with _progress() as report:
            report(f"verify {name}", 0, None)
            found = packaged.problems() if examined is None else problems(examined)
        for problem in found:
            print_out(f"{name}: {problem}")
        if found and examined is not None:
            print_err(f"{name}: remove what is damaged and get it again with: {examined.command}")
        if not found:
            print_out(f"{name}: as it should be, in {packaged.PLACE if examined is None else examined.place}")
        damaged |= bool(found)
    if damaged:
        raise typer.Exit(DAMAGED)


@app.command()
def examine(
    name: Annotated[
        str,
        typer.Argument(
            help="A benchmark, such as lcbench/167104, or a study (file, folder, name), whose benchmarks are examined.",
            metavar="NAME",
            show_default=False,
        ),
    ],
    *,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A parameter of it, as KEY=VALUE in TOML; may be repeated."),
    ] = None,
    configurations: Annotated[int, typer.Option(min=10, help="Random configurations to ask for.")] = 200,
) -> None:
    """Ask a benchmark whether its time is monotone, how it grows, and what low fidelities say of the full training."""
    from zerowait.experiments.measuring.examination import examine as ask

    for n, benchmark in enumerate(_examined(name, parameters or [])):
        if n:
            print_out("")
        _print_examination(ask(benchmark, configurations))


def _examined(name: str, parameters: list[str]) -> Iterator[Benchmark]:
    import tomllib

    from zerowait import benchmarks
    from zerowait.experiments.studies.study import load_study
    from zerowait.experiments.studies.tasks import choose

    if is_study(name):
        yield from (choice.benchmark for choice in choose(load_study(name), name) if choice.benchmark.fidelity)
        return
    given = {}
    for text in parameters:
        try:
            given.update(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SpecificationError(
                f"--parameter is {text!r}, which is no TOML: {error}; write it such as 'clock=\"linear\"'"
            ) from None
    family, _, task = name.partition("/")
    yield benchmarks.load(family, task=task or None, **given)


def _print_examination(found: Examination) -> None:
    from zerowait.experiments.measuring.examination import in_words

    print_out(f"{found.label}: {found.configurations} random configurations")
    print_out(f"{found.fidelity.name:>10}  seconds  linear  falls  correlation  best tenth  below optimum  failed")
    for level in found.levels:
        print_out(
            f"{level.fidelity:>10g}  {level.share:>7.1%}  {level.fidelity / found.fidelity.upper:>6.1%}  "
            f"{level.falls:>5.1%}  {level.rank_correlation:>11.2f}  {level.best_overlap:>10.0%}  "
            f"{level.below_optimum:>13}  {level.failures:>6}"
        )
    for sentence in in_words(found):
        print_out(f"* {sentence}")


def _status(found: DataSet) -> str | None:
    """Tell in one line what is missing, or None when all is there."""
    from rich.filesize import decimal

    from zerowait.benchmarks.data.fetching import unfinished

    missing = found.missing()
    if not missing:
        return None
    if _is_begun(found) and len(missing) < len(found.files):
        what = f"{len(missing)} of {len(found.files)} files are missing or incomplete"
    else:
        arrived = unfinished(found)
        what = f"absent, {decimal(arrived)} of it have arrived" if arrived else "absent"
    return f"{what}; get it with: {found.command}"


def _is_begun(found: DataSet) -> bool:
    """Whether anything of it is in its place."""
    return any((found.place / name).exists() for name in found.files)


def _site(url: str) -> str:
    """Return the address of an archive, or the folder of a plain file of which there are many."""
    return url if url.endswith((".tar", ".zip", ".gz")) or "figshare" in url else f"{url.rpartition('/')[0]}/"


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """Show the steps on standard error: bars on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total)

        yield show


class _PlainProgress:
    """Prints a line when a step begins, when it ends, and now and then between."""

    def __init__(self) -> None:
        self._what, self._printed_at = "", 0.0

    def __call__(self, what: str, done: int, total: int | None) -> None:
        from rich.filesize import decimal

        now = time.monotonic()
        if what == self._what and now - self._printed_at < PLAIN_SECONDS and done != total:
            return
        self._what, self._printed_at = what, now
        amount = f": {decimal(done)}" if done else ""
        print_err(f"{what}{amount}{f' of {decimal(total)}' if total and done else ''}")
