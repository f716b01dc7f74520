"""`zerowait report`: a study as one HTML page that works from a file and loads nothing from anywhere.

Figures are pictures inside the page (SVG, or PNG where that is smaller), tables are HTML, and a short script draws
what the filters choose from numbers inside the page. Everything that comes from data is escaped by Jinja, and the
page's own Content-Security-Policy lets no other script run than that one. The same study gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from zerowait.plots.drawing import style
from zerowait.plots.report import tables
from zerowait.plots.report.data import DIGITS, MOST_POINTS, interactive_data
from zerowait.plots.report.material import Material
from zerowait.plots.report.pictures import options, pictures, quoted_folder
from zerowait.plots.report.summary import Fact, cards, subtitle, unfinished
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.sharing.fsync import replace_file

PAGE = Path(__file__).parent / "page"


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
    study = material.study.judged(**material.results)
    index = tables.Index(study)
    drawn, left_out, numbers = pictures(material, look)
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in ("panels.js", "report.js"))
    data = interactive_data(study)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {}
    template = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8"))
    made = [tables.final_table(study, index)]
    if "rank_over_time" in numbers:
        made.append(tables.rank_summary(numbers["rank_over_time"].table, index))
    made = [replace(one, explanation=f"{one.explanation} {study.judged_sentence}") for one in made]
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
            "subtitle": subtitle(study),
            "cards": [*cards(material), *facts],
            "notes": notes,
            "completeness_caption": "."
            if material.listed is None
            else f", of those that the study has; {tables.NONE} is no part of it.",
            "unfinished": unfinished(material),
        },
        matrix=tables.matrix(study, material.planned),
        filters=[
            ("o", "Optimizers", data["optimizers"]),
            ("b", "Benchmarks", [{"name": name} for name in data["benchmarks"]]),
            ("p", "Workers P", [{"name": n} for n in data["workers"]]),
        ],
        charts=_charts(data, study.judged_sentence),
        figures=drawn,
        left_out=left_out,
        tables=made,
        settings=tables.setting_tables(material.specifications, material.versions),
        commands=_commands(material),
        has_text=bool(material.text),
        study_file=study_file or material.text,
    )


def _charts(data: dict[str, Any], rule: str) -> list[dict[str, str]]:
    points = max((len(group["times"]) for group in data["performance"]), default=MOST_POINTS)
    found = [
        {
            "name": "performance",
            "title": "Performance over time",
            "caption": "The result of what had been delivered at each simulated time, or its regret, the loss minus "
            "the known optimum: mean over seeds, the band is one standard error. A curve begins when every seed has "
            f"a result. The step functions are read at up to {points} times a panel, the fewer the larger the study, "
            f"and never interpolated. Numbers are rounded to {DIGITS} significant digits, times upwards.",
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
            "their geometric mean. Bars are 95 % bootstrap intervals over seeds, and over all benchmarks these count "
            "as a sample too; the dashed line is the ideal.",
        },
    ]
    return [{**chart, "caption": f"{chart['caption']} {rule}"} for chart in found]


def _commands(material: Material) -> str:
    """Return commands that work as they are copied, in the folder that holds the study's."""
    folder = quoted_folder(material)
    lines = [
        (f"zerowait report {folder}{options(material)}", "this page"),
        (f"zerowait plot {folder} all", "all figures as PDF and PNG, with the tables behind them as CSV"),
    ]
    if material.text:
        lines = [
            (f"zerowait run {folder}", "run what is missing"),
            (f"zerowait status {folder}", "what is finished, failed or missing"),
            *lines,
        ]
    longest = max(len(command) for command, _ in lines)
    return "\n".join(f"{command:<{longest}}  # {comment}" for command, comment in lines)
