"""The command `zerowait table`: how a table of one's own is understood, before anybody runs it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from zerowait.experiments.studies.output import print_out
from zerowait.experiments.studies.shipped import is_study
from zerowait.suite.rules.errors import SpecificationError

File = Annotated[
    Path,
    typer.Argument(
        help="A table (.csv, .tsv, .parquet), or a study (its file, folder or name) whose tables are shown.",
        metavar="FILE",
        show_default=False,
        readable=False,
    ),
]


def _several(what: str) -> Any:
    return typer.Option(help=f"{what}; several with commas, or by giving the option again.", show_default=False)


def table(  # noqa: PLR0913 - the arguments of `from_dataframe`
    file: File,
    *,
    params: Annotated[list[str] | None, _several("Columns that an optimizer chooses")] = None,
    value: Annotated[str | None, typer.Option(help="Column of the loss.", show_default=False)] = None,
    runtime: Annotated[str | None, typer.Option(help="Column of the seconds.", show_default=False)] = None,
    fidelity: Annotated[str | None, typer.Option(help="Column of the training budget.", show_default=False)] = None,
    metrics: Annotated[list[str] | None, _several("Further columns to record")] = None,
    curves: Annotated[
        str | None, typer.Option(help="In place of --value: columns such as 'loss_*'.", show_default=False)
    ] = None,
    seconds: Annotated[
        str, typer.Option(help="What the seconds are: since_start, per_step, full or independent.")
    ] = "since_start",
    maximize: Annotated[bool, typer.Option("--maximize", help="The value is to be maximised.")] = False,
    categorical: Annotated[list[str] | None, _several("Parameters whose cells are texts")] = None,
    separator: Annotated[str | None, typer.Option(help="What stands between two cells.", show_default=False)] = None,
    decimal: Annotated[str, typer.Option(help="The decimal sign: . or ,")] = ".",
    match: Annotated[str, typer.Option(help="exact or nearest.")] = "exact",
    log: Annotated[list[str] | None, _several("Parameters on a logarithmic scale")] = None,
    space: Annotated[Path | None, typer.Option(help="JSON of a ConfigSpace.", show_default=False)] = None,
) -> None:
    """Say how a table is understood: parameters, fidelity, units, what is missing and what looks wrong.

    Without --params, --value and --runtime it says what each column holds.
    """
    given = {
        "params": _names(params),
        "value": value,
        "runtime": runtime,
        "fidelity": fidelity,
        "metrics": _names(metrics),
        "curves": curves,
        "seconds": seconds,
        "maximize": maximize,
        "categorical": _names(categorical),
        "separator": "\t" if separator in ("\\t", "tab") else separator,
        "decimal": decimal,
        "match": match,
        "log": _names(log),
        "space": None if space is None else str(space),
    }
    if is_study(file):
        _study(file)
    elif not (params or value or runtime or curves):
        _columns(file, given)
    else:
        _understood({"path": str(file), **given})


def _names(given: list[str] | None) -> list[str]:
    return [name.strip() for text in given or () for name in text.split(",")]


def _columns(file: Path, given: dict[str, Any]) -> None:
    from zerowait.benchmarks.own_table.columns import Meaning, as_path, labelled
    from zerowait.benchmarks.own_table.description import describe_columns

    path = as_path(file)
    assert path is not None
    meaning = Meaning(separator=given["separator"], decimal=given["decimal"], categorical=tuple(given["categorical"]))
    with labelled(str(file)):
        meaning.check_text()
        meaning.check_file(path)
        _print(describe_columns(path, meaning))
    print_out(
        "\nSay what the columns are: --params A,B --value LOSS --runtime SECONDS [--fidelity EPOCH]\n"
        'In a study:\n[[benchmarks]]\nname = "table"\n'
        f'parameters = {{path = "{file}", params = ["A", "B"], value = "LOSS", runtime = "SECONDS"}}'
    )


def _understood(parameters: dict[str, Any]) -> None:
    from zerowait.benchmarks.own_table.description import describe
    from zerowait.benchmarks.own_table.family import load_table

    benchmark = load_table(**parameters)
    print_out(benchmark.label)
    _print(describe(benchmark))


def _study(file: Path) -> None:
    from zerowait.experiments.studies.study import load_study

    tables = [entry for entry in load_study(file).benchmarks if entry.name == "table"]
    if not tables:
        raise SpecificationError(f"{file}: no benchmark of this study is a 'table'; give the table itself")
    for entry in tables:
        _understood(dict(entry.parameters))


def _print(lines: Iterable[tuple[str, str]]) -> None:
    found = list(lines)
    width = max(len(word) for word, _ in found)
    for word, text in found:
        print_out(f"  {word:<{width}}  {text}")
