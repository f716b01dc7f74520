"""The gallery of the documentation: every figure of a study as a small picture with its caption and its command.

`python -m zerowait.experiments.commands.gallery` writes it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from zerowait.plots.catalogue import FIGURES, Drawn
from zerowait.plots.drawing import style
from zerowait.plots.studies.blocks import counted, numbered
from zerowait.plots.studies.loading import load_study
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zerowait.plots.studies.study import Study

DOTS_PER_INCH = 90
STUDY_FILE = "study.toml"
"""Beside the gallery: the study that it shows."""
MOST_BENCHMARKS = 3
"""In the pictures that have a row of panels for each."""


def write_gallery(folder: str | Path, out: str | Path) -> list[Path]:
    """Write the pictures and the page and return their paths; what is left of an earlier gallery is replaced.

    Raises
    ------
    ZerowaitError
        The study cannot be read.
    OSError
        The folder cannot be written to.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.png"):
        old.unlink()
    study = load_study(folder)
    text, paths = [_head(study, Path(folder), out / STUDY_FILE)], []
    for drawn, summary in _figures(study):
        path = out / f"{drawn.name}.png"
        path.write_bytes(small_png(drawn))
        paths.append(path)
        text.append(
            f"## {drawn.title}\n{summary}\n\n![{drawn.title}]({path.name})\n\n{drawn.caption}\n\n"
            f"    zerowait plot STUDY {drawn.name}\n"
        )
    page = out / "README.md"
    page.write_text("\n".join(text), encoding="utf-8")
    return [page, *paths]


def small_png(drawn: Drawn) -> bytes:
    """Return a figure as PNG in its true colours, without what is transparent."""
    from PIL import Image

    raw, small = io.BytesIO(), io.BytesIO()
    with style.context(drawn.look):
        drawn.figure.savefig(raw, format="png", dpi=DOTS_PER_INCH)
    with Image.open(raw) as image:
        image.convert("RGB").save(small, format="png", optimize=True)
    return small.getvalue()


def _figures(study: Study) -> Iterator[tuple[Drawn, str]]:
    few = sorted(study.cells["benchmark"].unique())[:MOST_BENCHMARKS]
    for kind in FIGURES.values():
        if not kind.is_of(study):
            continue
        part = study
        if kind.name == "performance_over_time":
            part = study.take(study.cells["benchmark"].isin(few).to_numpy())
        try:
            yield kind.make(part), kind.summary
        except SpecificationError as error:
            print(f"left out: {kind.name}: {error}")  # noqa: T201 - the command's output


def _head(study: Study, folder: Path, file: Path) -> str:
    cells = study.cells
    named = "STUDY" if folder.is_absolute() else folder.as_posix()  # nobody else has this machine's folders
    linked = f" ([{file.name}]({file.name}))" if file.is_file() else ""
    return (
        "# Gallery\n"
        f"Made by `python -m zerowait.experiments.commands.gallery {named}` from a study{linked} of "
        f"{', '.join(map(study.labels.text, study.optimizers))} on "
        f"{', '.join(map(study.labels.text, study.labels.ordered(cells['benchmark'].unique())))}, with "
        f"{numbered(cells['n_workers'].tolist(), 'worker')} and {counted([cells['seed'].nunique()], 'seed')}: "
        f"{counted([len(study)], 'run')}. How to draw a figure for a paper, and its options: "
        "[figures](../figures.md). All of them on one page, with filters and tables: [the report](../report.md).\n"
    )
