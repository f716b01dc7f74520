"""The figures of a report, as pictures that are inside the page."""

from __future__ import annotations

import base64
import io
import math
import shlex
from dataclasses import dataclass, replace

import matplotlib as mpl

from zerowait.plots.catalogue import FIGURES, Drawn, FigureKind
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import laid_out
from zerowait.plots.report.material import Material
from zerowait.plots.studies.study import Study
from zerowait.suite.rules.errors import SpecificationError

LARGEST_SVG, MOST_POINTS_OF_SVG = 150_000, 3_000
"""Bytes, and rows of the table behind it; a larger picture goes into the page as pixels if they are fewer bytes."""
DOTS_PER_INCH = 120
MOST_PANELS = 24
"""So many panels of performance over time are drawn into one picture, which fits a printed page; others follow."""


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
    narrow_uri: str
    """The same for a narrow screen."""
    command: str


def pictures(material: Material, look: str) -> tuple[list[Picture], list[str], dict[str, Drawn]]:
    """Return the pictures, why others are not drawn, and the figures by name with the tables behind them."""
    found: list[Picture] = []
    left_out: list[str] = []
    made: dict[str, Drawn] = {}
    whole = replace(style.look(look), page=math.inf)
    for kind in FIGURES.values():
        if not kind.is_of(material.study):
            continue
        chunks = _chunks(kind, material.study)
        for at, chunk in enumerate(chunks, 1):
            part, which = material.study, ""
            if len(chunks) > 1:  # one part after the other, because together they are a copy of the study
                part = part.take(part.cells["benchmark"].isin(chunk).to_numpy())
                which = f" ({at} of {len(chunks)})"
            try:
                drawn = kind.make(part, look=whole, **(material.results if kind.judges else {}))
            except SpecificationError as error:
                left_out.append(f"{kind.title}{which}: {error}.")
                continue
            made.setdefault(kind.name, drawn)
            narrow = kind.draw_table(drawn.table, optimizers=part.optimizers, labels=part.labels, look=style.PHONE)
            width, height = (round(96 * float(inches)) for inches in drawn.figure.get_size_inches())
            optimizers = ", ".join(map(part.labels.text, part.optimizers))
            found.append(
                Picture(
                    name=f"{kind.name}-{at}" if at > 1 else kind.name,
                    title=f"{kind.title}{which}",
                    caption=drawn.caption,
                    alt=f"{kind.summary} Optimizers: {optimizers}.",
                    uri=picture_uri(drawn),
                    width=width,
                    height=height,
                    narrow_uri=picture_uri(narrow),
                    command=f"zerowait plot {quoted_folder(material)} {kind.name}{options(material, kind.judges)}",
                )
            )
    return found, left_out, made


def _chunks(kind: FigureKind, study: Study) -> list[list[str]]:
    """Return the benchmarks that go into a picture each: some of them, where each has panels of its own."""
    names = study.labels.ordered(study.cells["benchmark"].unique())
    panels = {
        "performance_over_time": study.cells["n_workers"].nunique(),
        "attained_fronts": study.cells["n_workers"].nunique(),
        "expected_running_time": 1,
    }.get(kind.name)
    each = len(names) if panels is None else max(1, MOST_PANELS // panels)
    return [names[at : at + each] for at in range(0, len(names), each)]


def picture_uri(drawn: Drawn) -> str:
    """Return a figure as the address of an image that is inside the address itself."""
    figure = drawn.figure
    vector, pixels = io.BytesIO(), io.BytesIO()
    settings = {"svg.hashsalt": "zerowait", "svg.fonttype": "path"}
    with style.context(drawn.look), mpl.rc_context(settings), laid_out(figure):  # type: ignore[arg-type]
        if len(drawn.table) <= MOST_POINTS_OF_SVG:
            figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        kind, content = "svg+xml", vector.getvalue()
        if not 0 < len(content) <= LARGEST_SVG:
            # Without loss, in less than half the bytes of PNG.
            figure.savefig(pixels, format="webp", dpi=DOTS_PER_INCH, pil_kwargs={"lossless": True})
            if not content or len(pixels.getvalue()) < len(content):
                kind, content = "webp", pixels.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def options(material: Material, judges: bool = True) -> str:  # noqa: FBT001, FBT002 - of a figure
    """Return the options of a command that say what counts as a result, if the report's were given."""
    return "".join(f" --set {shlex.quote(f'{name}={value}')}" for name, value in material.results.items() if judges)


def quoted_folder(material: Material) -> str:
    """Return the name of the study's folder as a shell reads it."""
    return shlex.quote(material.folder.resolve().name)
