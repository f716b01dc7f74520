"""`zerowait report`: a study as one HTML page that works from a file and loads nothing from anywhere.

Figures are pictures inside the page (SVG, or PNG where that is smaller), tables are HTML, and a short script draws
what the filters choose from numbers inside the page. Everything that comes from data is escaped by Jinja, and the
page's own Content-Security-Policy lets no other script run than that one. The same study gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.plots.catalogue import FIGURES, Drawn, FigureKind
from zerowait.plots.drawing import style
from zerowait.plots.figures.runtime import readable
from zerowait.plots.report import tables
from zerowait.plots.report.data import DIGITS, MOST_POINTS, interactive_data
from zerowait.plots.statistics.blocks import counted
from zerowait.suite.records.trace import replace_file
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.plots.report.material import Material
    from zerowait.plots.studies.study import Study

PAGE = Path(__file__).parent / "page"
LARGEST_SVG, MOST_POINTS_OF_SVG = 150_000, 3_000
"""Bytes, and rows of the table behind it; a larger picture goes into the page as PNG if that is smaller."""
PNG_DOTS_PER_INCH = 120
MOST_PANELS = 24
"""So many panels of performance over time are drawn into the page; the interactive chart has them all."""
MOST_NAMED = 200
"""So many failed or missing cells are named."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary."""

    label: str
    value: str
    remark: str = ""
    tone: str = ""
    """"good", "bad" or nothing."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in the page."""

    name: str
    title: str
    caption: str
    alt: str
    uri: str
    width: int
    height: int
    command: str


def write_report(
    material: Material,
    out: str | Path,
    *,
    look: str = "web",
    facts: Sequence[Fact] = (),
    notes: Sequence[str] = (),
    study_file: str = "",
) -> Path:
    """Write the report of a study into a file and return its path.

    Parameters
    ----------
    material
        What `zerowait.plots.report.material.gather` read.
    out
        The file; its folder is made.
    look
        "paper", "slides" or "web", of the figures.
    facts, notes
        More numbers of the summary, and what to say below them.
    study_file
        The text of the study's TOML file, if it is known.

    Raises
    ------
    SpecificationError
        There is no such look, or the file cannot be written.
    """
    style.look(look)  # an unknown one is refused before the work, and not as one that no figure can be drawn in
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        page = render(material, look=look, facts=facts, notes=notes, study_file=study_file)
        replace_file(out, lambda temporary: temporary.write_text(page, encoding="utf-8", newline="\n"))
    except OSError as error:
        raise SpecificationError(
            f"cannot write {out} ({error.strerror or error}); name another file with --out"
        ) from None
    return out


def render(
    material: Material,
    *,
    look: str = "web",
    facts: Sequence[Fact] = (),
    notes: Sequence[str] = (),
    study_file: str = "",
) -> str:
    """Return the page; parameters are those of `write_report`."""
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    study, index = material.study, tables.Index(material.study)
    pictures, left_out, numbers = _pictures(material, look)
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in ("panels.js", "report.js"))
    data = interactive_data(study)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {}
    template = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8"))
    made = [tables.final_table(study, index)]
    if "rank_over_time" in numbers:
        made.append(tables.rank_summary(numbers["rank_over_time"].table, index))
    if "wall_time" in numbers:
        made.append(tables.time_table(numbers["wall_time"].table, index))
    return template.render(
        version=metadata.version("zerowait"),
        # Ours, not data: everything else is escaped.
        style=Markup((PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        data=htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":")),
        facts={
            "name": material.name,
            "folder": material.folder.resolve().name,
            "subtitle": _subtitle(study),
            "cards": [*_cards(material), *facts],
            "notes": notes,
            "completeness_caption": "."
            if material.listed is None
            else f", of those that the study has; {tables.NONE} is no part of it.",
            "unfinished": _unfinished(material),
        },
        matrix=tables.matrix(study, material.listed),
        filters=_filters(data),
        charts=_charts(data),
        figures=pictures,
        left_out=left_out,
        tables=made,
        settings=tables.setting_tables(material.specifications, material.versions),
        commands=_commands(material),
        study_file=study_file,
    )


# -- the summary ------------------------------------------------------------------------------------------------------
def _subtitle(study: Study) -> str:
    cells = study.cells
    seeds = cells.groupby(["optimizer", "benchmark", "n_workers"]).size().tolist()
    return (
        f"{counted([len(study.optimizers)], 'optimizer')} on {counted([cells['benchmark'].nunique()], 'benchmark')} "
        f"with {', '.join(str(n) for n in sorted(cells['n_workers'].unique()))} workers, {counted(seeds, 'seed')} each"
    )


def _cards(material: Material) -> list[Fact]:
    totals, n_failed, n_missing = material.totals, len(material.failed), len(material.missing)
    finished = len(totals)
    complete = not n_failed and not n_missing
    of = f" of {finished + n_failed + n_missing:,}" if material.listed is not None else ""
    evaluations, failed, lost = (int(totals[name].sum()) for name in ("evaluations", "failed", "lost"))
    simulated = float(totals["simulated_time"].sum())
    cards = [
        Fact(
            "Cells finished",
            f"{finished:,}{of}",
            f"{n_failed:,} failed, {n_missing:,} missing" if material.listed is not None else "the study has no list",
            "good" if complete else "bad",
        ),
        Fact("Evaluations", f"{evaluations:,}", f"{failed:,} failed, {lost:,} lost"),
        Fact("Simulated time", readable(simulated), "the sum of all runs"),
    ]
    if material.real_seconds:
        known = totals["wall_time"].notna()
        faster = float(totals["simulated_time"][known].sum()) / material.real_seconds
        cards += [
            Fact("Real time", readable(material.real_seconds), "the sum of all runs"),
            Fact("Faster than waiting", f"{faster:,.0f} times" if faster >= 10 else f"{faster:.2g} times"),  # noqa: PLR2004
        ]
    return cards


def _unfinished(material: Material) -> list[dict[str, Any]]:
    groups = [
        ("failed", [f"{name}: {error}" for name, error in material.failed.items()]),
        ("missing", list(material.missing)),
    ]
    return [
        {
            "title": f"{counted([len(names)], 'cell')} {state}",
            "names": names[:MOST_NAMED],
            "more": max(0, len(names) - MOST_NAMED),
        }
        for state, names in groups
        if names
    ]


# -- the interactive part ---------------------------------------------------------------------------------------------
def _filters(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "key": "o",
            "title": "Optimizers",
            "choices": [{"text": o["name"], "colour": o["colour"], "dash": o["dash"]} for o in data["optimizers"]],
        },
        {"key": "b", "title": "Benchmarks", "choices": [{"text": name} for name in data["benchmarks"]]},
        {"key": "p", "title": "Workers P", "choices": [{"text": str(n)} for n in data["workers"]]},
    ]


def _charts(data: dict[str, Any]) -> list[dict[str, str]]:
    points = max((len(group["times"]) for group in data["performance"]), default=MOST_POINTS)
    return [
        {
            "name": "performance",
            "title": "Performance over time",
            "caption": "Best loss delivered at or before each simulated time, or its regret, the loss minus the known "
            "optimum: mean over seeds, the band is one standard error. A curve begins when every seed has a result. "
            f"The step functions are read at up to {points} times a panel, the fewer the larger the study, and never "
            f"interpolated. Numbers are rounded to {DIGITS} significant digits, times upwards.",
        },
        {
            "name": "rank",
            "title": "Rank over time",
            "caption": "Average rank among the ticked optimizers over the ticked benchmarks, 1 is best, ties share "
            "their mean: 1 plus the share of seeds in which each rival is better, which is exact for any choice. "
            "Pairs are compared on the seeds that both have; who has no result yet is last. "
            "A benchmark's time is counted up to the end of the optimizer that ends first, by the median of its seeds.",
        },
        {
            "name": "speed-up",
            "title": "Speed-up with more workers",
            "caption": "How many times sooner P workers reach the target than one: the best loss that nine of ten "
            "seeds reach with every number of workers, for each optimizer and benchmark. Over several benchmarks, "
            "their geometric mean. Bars are 95 % bootstrap intervals over seeds; the dashed line is the ideal.",
        },
    ]


# -- the figures ------------------------------------------------------------------------------------------------------
def _pictures(material: Material, look: str) -> tuple[list[Picture], list[str], dict[str, Drawn]]:
    """Return the pictures, why others are not drawn, and the figures by name with the tables behind them."""
    pictures, left_out, made = [], [], {}
    for kind in FIGURES.values():
        if kind.needs_reference:
            continue
        study, more = _drawable(kind, material.study)
        try:
            drawn = kind.make(study, look=look)
        except SpecificationError as error:
            left_out.append(f"{kind.title}: {error}.")
            continue
        made[kind.name] = drawn
        width, height = (round(96 * float(inches)) for inches in drawn.figure.get_size_inches())
        pictures.append(
            Picture(
                name=kind.name,
                title=kind.title,
                caption=f"{drawn.caption}{more}",
                alt=f"{kind.summary} Optimizers: {', '.join(material.study.optimizers)}.",
                uri=picture_uri(drawn),
                width=width,
                height=height,
                command=f"zerowait plot {_folder(material)} {kind.name}",
            )
        )
    return pictures, left_out, made


def _drawable(kind: FigureKind, study: Study) -> tuple[Study, str]:
    """Return the part of the study that this figure can show in a page, and what to say about the rest."""
    if kind.name != "performance_over_time":
        return study, ""
    names = sorted(study.cells["benchmark"].unique())
    shown = names[: max(1, MOST_PANELS // study.cells["n_workers"].nunique())]
    if len(shown) == len(names):
        return study, ""
    more = (
        f" Shown are {len(shown)} of {len(names)} benchmarks, in the order of their names: Explore has all of them, "
        "and the command below draws them."
    )
    return study.take(study.cells["benchmark"].isin(shown).to_numpy()), more


def picture_uri(drawn: Drawn) -> str:
    """Return a figure as the address of an image that is inside the address itself."""
    import matplotlib as mpl

    figure = drawn.figure
    vector, pixels = io.BytesIO(), io.BytesIO()
    with style.context(drawn.look), mpl.rc_context({"svg.hashsalt": "zerowait", "svg.fonttype": "path"}):
        layout = figure.get_layout_engine()
        figure.set_layout_engine("none")  # it is laid out already
        if len(drawn.table) <= MOST_POINTS_OF_SVG:
            figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        kind, content = "svg+xml", vector.getvalue()
        if not 0 < len(content) <= LARGEST_SVG:
            figure.savefig(pixels, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
            if not content or len(pixels.getvalue()) < len(content):
                kind, content = "png", pixels.getvalue()
        figure.set_layout_engine(layout)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


# -- reproducing ------------------------------------------------------------------------------------------------------
def _folder(material: Material) -> str:
    return shlex.quote(material.folder.resolve().name)


def _commands(material: Material) -> str:
    folder = _folder(material)
    lines = [
        ("zerowait run STUDY.toml", "run what is missing; every cell's specification is in its cell.json"),
        ("zerowait status STUDY.toml", "what is finished, failed or missing"),
        (f"zerowait report {folder}", "this page"),
        (f"zerowait plot {folder} all", "all figures as PDF and PNG, with the tables behind them as CSV"),
    ]
    longest = max(len(command) for command, _ in lines)
    return "\n".join(f"{command:<{longest}}  # {comment}" for command, comment in lines)
