"""`zerowait plot`: the figures of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zerowait.experiments.studies.output import print_err, print_out
from zerowait.experiments.studies.shipped import STUDY_COPY, shipped_studies, study_file
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.plots.drawing.panels import FigureFiles
    from zerowait.plots.studies.labels import Labels

# Everything heavy is imported inside the functions, so that `zerowait --help` answers at once.

DEFAULT, ALL = "performance_over_time", "all"
SUFFIXES = (".pdf", ".png", ".csv")
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--names", metavar="NAME=LABEL", show_default=False,
        help="What figures call an optimizer or a benchmark: 'optuna-tpe=TPE', with a colour 'optuna-tpe=TPE:#0072B2', "
        "or a TOML file that has the table of labels of a study file; may be repeated, and figures keep the order.",
    ),
]  # fmt: skip
STUDY_HELP = f"The study's output folder, its TOML file, or the name of one of ours: {', '.join(shipped_studies())}."
Folder = Annotated[Path, typer.Argument(help=STUDY_HELP, metavar="STUDY", show_default=False, readable=False)]


def plot(  # noqa: PLR0913 - each an option
    study: Annotated[
        Path | None,
        typer.Argument(
            help=STUDY_HELP, metavar="STUDY", show_default=False, readable=False
        ),
    ] = None,
    figure: Annotated[
        str, typer.Argument(help="A figure's name, or `all`; --list shows them.", metavar="FIGURE")
    ] = DEFAULT,
    *,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="CONDITION", show_default=False,
            help="Draw these runs only, such as 'optimizer=random,optuna*,P=1,2,4,seed<5'; each further one narrows.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", show_default=False,
            help="An option of the figure, such as 'statistic=median'; may be repeated; --list shows them.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric", metavar="NAME", show_default=False,
            help="A metric to draw in the place of the loss; more is better with a minus sign: --metric=-accuracy.",
        ),
    ] = "",
    names: Names = None,
    look: Annotated[str, typer.Option("--style", help="What for: paper, slides or web.")] = "web",
    width: Annotated[
        str | None,
        typer.Option("--width", help="Columns of a paper: one or two; what suits it by default.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A folder, or a file ending in .pdf, .png or .csv; by default the study's folder `figures`. "
            "All three are written.", readable=False, show_default=False,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures with their options, and exit.")] = False,
) -> None:  # fmt: skip
    """Draw a figure of a study: PDF, PNG, and the table behind it as CSV."""
    if list_:
        _list()
        return
    if study is None:
        raise SpecificationError("name the output folder of a study: zerowait plot STUDY [FIGURE]")
    from zerowait.plots.catalogue import FIGURES, figure_kind
    from zerowait.plots.studies.loading import load_study

    kinds = [k for k in FIGURES.values() if not k.needs_reference] if figure == ALL else [figure_kind(figure)]
    if figure == ALL and (option or _is_file(out)):
        raise SpecificationError("all figures share no option and no file; leave out --set, and give --out a folder")
    parsed: dict[str, Any] = {} if figure == ALL else kinds[0].parse(option or ())
    if "reference" in parsed:
        parsed["reference"] = study_folder(Path(parsed["reference"]))
    folder = study_folder(study)
    columns = dict.fromkeys(name for kind in kinds for name in kind.columns)
    loaded = load_study(
        folder,
        columns=tuple(columns),
        where=where or (),
        labels=labels_for(study, folder, names or ()),
        metric=metric,
    )
    for kind in kinds:
        if figure == ALL and not kind.is_of(loaded):
            continue
        try:
            drawn = kind.make(loaded, look=look, width=width, **parsed)  # type: ignore[arg-type]  # checked by make
        except SpecificationError as error:
            if figure != ALL:
                raise
            print_out(f"left out: {kind.name}: {error}")
            continue
        _report(drawn.save(_stem(out, folder, kind.name)))
        if figure != ALL:
            print_out(f"caption: {drawn.caption}")


def labels_for(study: Path, folder: Path, names: Sequence[str]) -> Labels | None:
    """Return the labels of a study: those of `--names` first, then those of its file; None for those of its folder.

    Raises
    ------
    SpecificationError
        The names cannot be read.
    """
    from zerowait.plots.studies.labels import labels_of, merged, table_of
    from zerowait.plots.studies.loading import kept_labels

    given = labels_of(table_of(names))
    if study_file(study).is_file():
        from zerowait.experiments.studies.study import load_study

        return merged(given, labels_of(load_study(study).labels))
    return merged(given, kept_labels(folder)) if names else None


def _stem(out: Path | None, folder: Path, name: str) -> Path:
    if out is not None and _is_file(out):
        return out.with_suffix("")
    return (folder / "figures" if out is None else out) / name


def _is_file(out: Path | None) -> bool:
    return out is not None and out.suffix.lower() in SUFFIXES


def study_folder(study: Path) -> Path:
    """Return the output folder of a study that may be named by its file, or by its name if it comes with zerowait."""
    if study.is_dir() or study_file(study).suffix.lower() != ".toml":
        return study
    from zerowait.experiments.studies.study import load_study

    described = load_study(study)
    copy = described.folder / STUDY_COPY
    if copy.is_file() and not described.describes_the_runs_of(load_study(copy)):
        print_err(
            f"{study} has been changed since {described.folder} was made, and this shows what is there; "
            f"zerowait run {study} makes what it describes now"
        )
    return described.folder


def _report(files: FigureFiles) -> None:
    from zerowait.experiments.grid.reporting import relative

    print_out(f"figure: {relative(files.pdf)}")
    for png in (files.png, *files.further):
        print_out(f"figure: {relative(png)}")
    print_out(f"table:  {relative(files.csv)}")
    if files.tex is not None:
        print_out(f"LaTeX:  {relative(files.tex)}")


def _list() -> None:
    from zerowait.plots.catalogue import FIGURES

    for kind in FIGURES.values():
        print_out(f"{kind.name}\n    {kind.summary}")
        for name, parameter in kind.options().items():
            default = "" if parameter.default is None else f" (default {_shown(parameter.default)})"
            print_out(f"    --set {name}={kind.accepts(name)}{default}")


def _shown(value: Any) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
