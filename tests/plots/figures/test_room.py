"""Texts of figures: all on the page, none on another, whatever the numbers of methods and workers and the names.

Measured on the boxes of matplotlib's renderer, so that no picture has to be compared.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from made_up import label, made_up_run, made_up_study, study_for

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.drawing import style
from zerowait.plots.drawing.curves import BARS, draw_curves, mark_of
from zerowait.plots.drawing.panels import Canvas, new_figure
from zerowait.plots.figures.scaling import IDEAL
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.rules.errors import SpecificationError

CASES = {
    "few": (2, (1,), 3),
    "some": (8, (1, 2, 3, 4), 30),
    "crowded": (8, (1, 2, 3, 4, 5, 6, 7), 3),
    "long": (18, (1, 100, 128), 60),
    "many": (18, (1, 2, 3, 4, 5, 6, 7), 60),
}
LOOKS = [
    ("few", "paper", "one"), ("crowded", "paper", "one"), ("long", "paper", "one"), ("some", "paper", "two"),
    ("many", "paper", "two"), ("some", "slides", "one"), ("some", "web", None),
]  # fmt: skip
COMPARE_WORKERS = ("rank_by_workers", "speed_up")
SHORT = (LOOKS[0], *LOOKS[2:4])
HOSTILE = (
    "n=$x_$",
    "budget $5 or $9",
    "_mine",
    "100 % of it",
    r"a\b\frac{1}",
    "{x}^2 & #",
    "two\nlines",
    "_child0",
    "$",
)


@functools.cache
def study_of(case):
    n_optimizers, workers, letters = CASES[case]
    return made_up_study(n_optimizers, workers, letters)


def make(name, study, **options):
    needed = {"reference": study} if FIGURES[name].needs_reference else {}
    needed |= {"baseline": study.optimizers[-1]} if name == "scores_over_time" else {}
    # With a hundred workers the made-up runs are too short for the target of other figures.
    needed |= {"target": 0.5} if name in {"performance_profile", "expected_running_time"} else {}
    return FIGURES[name].make(study_for(name, study), **options, **needed)


def texts_of(figure):
    """All texts that are drawn, with their boxes in dots."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found = [*figure.texts, figure._supxlabel, figure._supylabel, figure._suptitle]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    for panel in figure.axes:
        if panel.get_visible():
            found += [panel.title, panel._left_title, panel._right_title, *panel.texts]
            for axis in (panel.xaxis, panel.yaxis) if panel.axison else ():
                found += [axis.label, axis.offsetText, *(tick.label1 for tick in axis._update_ticks())]
    shown = {id(t): t for t in found if t is not None and t.get_visible() and t.get_text().strip()}
    return [(text, text.get_window_extent(renderer)) for text in shown.values()]


def panels_of(figure):
    """The panels that are seen, without colour bars."""
    return [panel for panel in figure.axes if panel.get_visible() and not hasattr(panel, "_colorbar")]


def collisions(figure):
    """What leaves the page, and what lies on another text, by more than a dot."""
    page, boxes = figure.bbox, texts_of(figure)
    for text, box in boxes:
        if box.x0 < page.x0 - 1 or box.x1 > page.x1 + 1 or box.y0 < page.y0 - 1 or box.y1 > page.y1 + 1:
            yield f"{text.get_text()!r} leaves the page"
    for (text, box), (other, its) in itertools.combinations(boxes, 2):
        wide, high = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
        if wide > 1 and high > 1:
            yield f"{text.get_text()!r} lies on {other.get_text()!r}"


# Drawn by the functions of win_rates and normalised_regret.
DRAWN_LIKE_OTHERS = {"practical_differences", "scores_over_time"}


@pytest.mark.parametrize(
    ("name", "case", "look", "width"),
    [
        pytest.param(name, *look, marks=() if look in SHORT else pytest.mark.stress)
        for name in FIGURES
        for look in (LOOKS[2:4] if name in DRAWN_LIKE_OTHERS else LOOKS)
    ],
)
def test_every_text_has_room(name, case, look, width):
    if name in COMPARE_WORKERS and case == "few":
        with pytest.raises(SpecificationError, match=r"between numbers of workers|compares numbers of workers"):
            make(name, study_of(case))
        return
    drawn = make(name, study_of(case), look=look, width=width)
    pages = (drawn.figure, *drawn.further)
    with style.context(drawn.look):
        found = [text for page in pages for text in collisions(page)]
        panels = [panel for page in pages for panel in panels_of(page)]
        sizes = [panel.get_window_extent().size / drawn.figure.dpi / drawn.look.scale for panel in panels]
        texts = "".join(re.sub(r"\s", "", text.get_text()) for page in pages for text, _ in texts_of(page))
    assert not found, found[:5]
    named = {*drawn.table["optimizer"], *drawn.table.get("other", ())}
    assert [of for of in named if re.sub(r"\s", "", of) not in texts] == []
    # Room for texts is not taken from what the figure is for.
    assert min(size[0] for size in sizes) > 0.7
    assert min(size[1] for size in sizes) > 0.25
    for page in pages:
        wide, high = page.get_size_inches()
        assert width is None or float(wide) == drawn.look.widths[width]
        rows = {round(panel.get_position().y0, 3) for panel in panels_of(page)}
        assert high <= drawn.look.page or len(rows) == 1, "it is higher than a page, and has rows that could be apart"


@pytest.mark.parametrize("name", FIGURES)
def test_labels_are_text_and_never_formulas_commands_or_warnings(name, tmp_path, caplog, capfd):
    runs = [made_up_run(o, b, n, s, number=i) for i, o in enumerate(HOSTILE) for b in HOSTILE[:2] for n in (1, 2)
            for s in range(2)]  # fmt: skip
    study = study_of_runs(runs)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        drawn = make(name, study, look="paper")
        drawn.save(tmp_path / name)
    assert not [str(warning.message) for warning in caught]
    assert not caplog.records
    assert capfd.readouterr().err == ""
    with style.context(drawn.look):
        texts = [text for text, _ in texts_of(drawn.figure)]
    assert not any(text.get_parse_math() for text in texts)
    joined = re.sub(r"\s+", "", " ".join(text.get_text() for text in texts))
    for name_of in HOSTILE:
        assert re.sub(r"\s+", "", name_of) in joined, name_of


def test_letters_that_the_font_lacks_warn_nobody(tmp_path, capfd):
    study = study_of_runs([made_up_run(o, "b", 1, s, number=i) for i, o in enumerate("优化") for s in range(2)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make("rank_over_time", study).save(tmp_path / "f")
    assert not caught
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["speed_up", "quality_by_workers", "wall_time"])
def test_lines_stand_at_the_true_number_of_workers_and_bars_beside_them(name):
    study = made_up_study(8, (1, 2, 8), 5)
    drawn = make(name, study)
    panel = drawn.axes[0, 0]
    lines = {line.get_label(): line for line in panel.lines if line.get_label() in {*study.optimizers, IDEAL}}
    assert set(study.optimizers) <= set(lines)
    for line in lines.values():
        assert set(np.asarray(line.get_xdata(), dtype=float)) <= {1.0, 2.0, 8.0}
    bars = [segment for collection in panel.collections for segment in collection.get_segments()]
    places = np.array([bar[0][0] for bar in bars if len(bar)])
    assert bars
    # Nearer to their own number of workers than to any other.
    assert (np.abs(np.log2(places[:, None] / np.array([1.0, 2.0, 8.0]))).min(axis=1) <= 0.3).all()
    assert len(set(places.round(6))) > 3
    if name == "speed_up":
        others = [line.get_zorder() for label, line in lines.items() if label != IDEAL]
        assert lines[IDEAL].get_zorder() > max(others)
        assert IDEAL in [text.get_text() for text in drawn.figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", ["order_match", "speed_up", "rank_over_time"])
def test_twenty_methods_have_twenty_looks_in_one_order(name):
    study = made_up_study(20, (1, 2), 8, n_benchmarks=1)
    drawn = make(name, study)
    lines = {line.get_label(): line for line in drawn.axes.flat[0].lines if line.get_label() in study.optimizers}
    assert len(lines) == 20
    looks = {(line.get_color(), line.get_marker() if name != "rank_over_time" else str(line.get_linestyle()))
             for line in lines.values()}  # fmt: skip
    styles = style.styles(study.optimizers)
    assert (
        len({(s.colour, s.line) for s in styles.values()}) == len({(s.colour, s.marker) for s in styles.values()}) == 20
    )
    assert len(looks) == 20 or name == "rank_over_time"
    legend = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert [text for text in legend if text in study.optimizers] == list(study.optimizers)


def test_a_diagram_without_enough_blocks_is_left_out_and_named():
    # With 8 workers one optimizer has no result at a quarter of the budget on any benchmark.
    runs = [made_up_run(label(o, 5), label(b, 4), n, 0, number=o) for o in range(3) for b in range(3) for n in (1, 8)]
    late = [run for run in runs if run.n_workers == 8 and run.optimizer == label(0, 5)]
    for run in late:
        run.trace["value"] = run.trace["value"].where(run.trace.index > 12)
    drawn = make("critical_difference", study_of_runs(runs))
    assert set(zip(drawn.table["n_workers"], drawn.table["budget"], strict=True)) == {(1, 0.25), (1, 1.0), (8, 1.0)}
    assert "No panel, for want of at least 2 blocks: 8 workers, 25 %." in drawn.caption
    assert "8 workers, 25 %" in drawn.caption


@pytest.mark.parametrize("name", ["normalised_regret", "rank_over_time", "win_rates", "targets_reached"])
def test_a_number_of_workers_that_cannot_be_compared_is_left_out_and_named(name):
    runs = [made_up_run(label(o, 5), label(b, 4), n, 0, number=o) for o in range(3) for b in range(3) for n in (1, 8)]
    drawn = make(name, study_of_runs([run for run in runs if (run.n_workers, run.optimizer) != (8, label(2, 5))]))
    assert set(drawn.table["n_workers"]) == {1}
    assert "everything with 8 workers" in drawn.caption


@pytest.mark.parametrize("name", FIGURES)
def test_one_of_something_is_no_plural(name):
    workers = (1, 2) if name in COMPARE_WORKERS else (1,)
    study = study_of_runs(
        [made_up_run(f"o{o}", f"b{b}", n, 0, number=o) for o in range(2) for b in range(2) for n in workers]
    )
    drawn = make(name, study)
    texts = " ".join([drawn.caption, *(text.get_text() for text, _ in texts_of(drawn.figure))])
    assert not re.findall(r"\b1 (?:workers|seeds|runs|benchmarks|blocks|curves|evaluations)\b", texts)


def test_pages_have_every_panel_once_and_are_one_pdf(tmp_path):
    drawn = make("performance_over_time", made_up_study(8, (1, 2, 4, 8), 12, n_benchmarks=3), look="paper", width="one")
    pages = (drawn.figure, *drawn.further)
    assert len(pages) > 1
    assert all(page.get_figheight() <= drawn.look.page for page in pages)
    titles = [panel.get_title() for page in pages for panel in page.axes]
    assert sorted(titles) == sorted(3 * ["1 worker", "2 workers", "4 workers", "8 workers"])
    files = drawn.save(tmp_path / "figure")
    assert files.pdf.read_bytes().count(b"/Type /Page ") == len(pages)
    assert [path.name for path in files.further] == [f"figure-page-{n}.png" for n in range(2, len(pages) + 1)]
    assert all(path.exists() for path in files.further)
    make("performance_over_time", made_up_study(2, (1,), 3), look="paper", width="one").save(tmp_path / "figure")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.csv", "figure.pdf", "figure.png"]
    assert drawn.caption.endswith(f" {len(pages)} pages, each with axes of its own.")


def curves(half_width, n=5, points=60):
    """A table of n optimizers, a step of one apart from each other, and their intervals."""
    rows = [(f"o{k}", x, float(k), k - half_width, k + half_width) for k in range(n) for x in range(points)]
    return pd.DataFrame(rows, columns=["optimizer", "x", "y", "lower", "upper"]).assign(n_workers=1)


@pytest.mark.parametrize(("half_width", "mark"), [(2.0, "band"), (3.0, "bar"), (np.nan, "band")])
def test_bands_that_cover_the_curves_of_others_become_bars(half_width, mark):
    """Over a point of five curves one apart lie 2.8 bands of half width 2 on average, and 3.6 of half width 3."""
    table = curves(half_width)
    assert mark_of(table, "x", "y") == mark
    axes = new_figure().subplots()
    names = sorted(table["optimizer"].unique())
    draw_curves(axes, table, "x", "y", style.styles(names), names, mark)
    assert len(axes.collections) == (0 if np.isnan(half_width) else 5)
    if mark == "bar":
        places = [path.vertices[0][0] for bars in axes.collections for path in bars.get_paths()]
        assert len(set(places)) == BARS * len(names)  # no two at one place


def test_parts_of_a_table_are_drawn_as_the_whole_and_as_the_caption_says():
    drawn = make("normalised_regret", made_up_study(8, (1, 2), 3))
    mark = drawn.table.attrs["mark"]
    assert ("The band is" in drawn.caption) == (mark == "band")
    part = drawn.table[drawn.table["optimizer"] == drawn.table["optimizer"].iloc[0]]
    for decided in ("band", "bar"):
        part.attrs["mark"] = decided
        assert mark_of(part, "budget", "mean") == decided


def test_axes_have_one_way_of_writing_numbers():
    drawn = make("performance_over_time", study_of("few"))
    for panel in drawn.axes.flat:
        texts = [tick.label1.get_text() for tick in panel.yaxis._update_ticks()]
        assert len({"10" in text and any(c in text for c in "⁰¹²³⁴⁵⁶⁷⁸⁹") for text in texts if text}) == 1


def test_a_legend_takes_as_many_columns_as_its_names_have_room_for():
    canvas = Canvas(new_figure(), {})
    assert canvas._entries(["a", "b"], 9.0) == (2, ["a", "b"])
    columns, entries = canvas._entries(["x" * 300], 2.0)
    assert columns == 1
    assert "\n" in entries[0]
    six = next(inches for inches in np.arange(1.0, 9.0, 0.05) if canvas._entries(list("abcdef"), inches)[0] == 6)
    # Eight names have room in six columns, and stand in two rows of four.
    assert canvas._entries(list("abcdefgh"), six)[0] == 4
