"""Every figure: drawn, complete, captioned, and the same whenever it is drawn."""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import study_for

from zerowait.plots.catalogue import FIGURES, figure_kind
from zerowait.plots.drawing import style
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.errors import SpecificationError

OPTIMIZERS = ("random", "optuna-tpe", "my-optimizer")
BENCHMARKS = ("branin", "hpobench/car", "hpobench/blood_transfusion(seed=mean)")
ALONE = [name for name, kind in FIGURES.items() if not kind.needs_reference]


def made_up_run(optimizer, benchmark, n_workers, seed, *, evaluations=24, optimum=0.0):
    """A run in which every worker evaluates without pause, after 1 s of sampling."""
    words = (OPTIMIZERS.index(optimizer), BENCHMARKS.index(benchmark), n_workers, seed)
    random = np.random.default_rng(np.random.SeedSequence(words))
    free = [(0.0, worker) for worker in range(n_workers)]
    busy_until, rows = 0.0, []
    for number in range(evaluations):
        free.sort()
        freed, worker = free.pop(0)
        start = max(freed, busy_until) + 1.0
        busy_until, end = start, start + random.exponential(20.0) + 5.0
        free.append((end, worker))
        value = random.exponential(1.0 / (1 + number * (1 + OPTIMIZERS.index(optimizer)))) + 0.01
        rows.append((worker, freed, start, end, end - start, value, math.nan, "ok", f"c{number}", 1.0))
    names = ["worker", "freed", "start", "end", "runtime", "value", "fidelity", "status", "config_id", "overhead"]
    trace = pd.DataFrame(rows, columns=names).sort_values("end", ignore_index=True)
    trace.attrs[ATTRIBUTE] = {"measured": {"wall_time": 0.5 + 0.1 * seed}}
    return Run(optimizer, benchmark, n_workers, seed, optimum, trace)


@pytest.fixture(scope="module")
def runs():
    return [made_up_run(o, b, n, s) for o in OPTIMIZERS for b in BENCHMARKS for n in (1, 4) for s in range(2)]


@pytest.fixture(scope="module")
def study(runs):
    return study_of_runs(runs)


def options_of(name, study):
    return {"reference": study} if FIGURES[name].needs_reference else {}


SPREADS = {
    "performance_over_time": "band", "normalised_regret": "band", "rank_over_time": "band", "speed_up": "bar",
    "quality_by_workers": "bar", "wall_time": "bar", "rank_by_workers": "bar", "scores_over_time": "band",
    "performance_profile": "band", "targets_reached": "band", "expected_running_time": "bar",
}  # fmt: skip


def draws_spread(drawn):
    """Tell whether a figure has a band, or a bar that is more than a NaN."""
    collections = [collection for panel in drawn.figure.axes for collection in panel.collections]
    return any(np.isfinite(path.vertices).all() and len(path) for c in collections for path in c.get_paths())


@pytest.mark.parametrize(("name", "mark"), SPREADS.items())
def test_a_caption_speaks_of_bands_and_bars_where_there_are_some(study, name, mark):
    alone = [made_up_run(o, BENCHMARKS[0], n, 0) for o in OPTIMIZERS for n in (1, 4)]
    drawn = FIGURES[name].make(study_of_runs(alone))
    noun = "run" if name == "wall_time" else "seed"
    assert f"There is one {noun}, so no {mark} is drawn." in drawn.table.attrs["caption"]
    for word in ("interval", "standard error", "mean of 1"):
        assert word not in drawn.table.attrs["caption"]
        assert word not in (drawn.figure.get_supxlabel() or "")
    assert not draws_spread(drawn)
    drawn = FIGURES[name].make(study)
    assert draws_spread(drawn)
    caption = drawn.table.attrs["caption"]
    assert f"no {mark}" not in caption
    assert "The band is " in caption or "Bars are " in caption


def test_a_caption_says_that_some_curves_have_no_band(runs):
    some = [run for run in runs if run.benchmark != BENCHMARKS[0] or run.seed == 0]
    caption = FIGURES["performance_over_time"].make(study_of_runs(some)).table.attrs["caption"]
    assert "of 1 to 2 seeds. The band is one standard error of the mean" in caption
    assert "No band is drawn where there is one seed." in caption


@pytest.mark.parametrize("look", ["paper", "slides"])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_nothing_lies_on_another(study, name, look, caplog):
    drawn = FIGURES[name].make(study_for(name, study), look=look, **options_of(name, study))
    with style.context(drawn.look), caplog.at_level(logging.WARNING):
        drawn.figure.draw_without_rendering()
        renderer = drawn.figure.canvas.get_renderer()
        panels = [panel for panel in drawn.figure.axes if panel.get_visible()]
        boxes = [panel.get_tightbbox(renderer) for panel in panels]
        boxes += [legend.get_window_extent(renderer) for legend in drawn.figure.legends]
        boxes += [text.get_window_extent(renderer) for text in drawn.figure.texts]
        rows_of_labels = [labels_of(axis, renderer) for panel in panels for axis in (panel.xaxis, panel.yaxis)]
    assert not [r for r in caplog.records if "findfont" in r.getMessage()]
    page = drawn.figure.bbox
    for box in boxes:
        assert page.x0 - 1 <= box.x0
        assert box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0
        assert box.y1 <= page.y1 + 1
    for group in [boxes, *rows_of_labels]:
        for i, box in enumerate(group):
            for other in group[i + 1 :]:
                assert overlap(box, other) < 1


def test_the_legend_of_a_timeline_has_the_colours_of_its_bars(runs):
    from matplotlib.colors import to_hex

    first, last = (next(run for run in runs if run.optimizer == name) for name in sorted(OPTIMIZERS)[::2])
    lost = last.trace.assign(status=["ok"] * (len(last.trace) - 1) + ["lost"])
    # Only the last panel has a lost evaluation: what the others draw of those is nothing, and has no colour.
    drawn = FIGURES["worker_timeline"].make(study_of_runs([first, dataclasses.replace(last, trace=lost)]))
    legend = drawn.figure.legends[0]
    shown = {
        text.get_text(): to_hex(patch.get_facecolor()).upper()
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert "lost" in shown
    assert shown == {state: style.STATES[state][0].upper() for state in shown}


def labels_of(axis, renderer):
    """The boxes of the tick labels that are drawn; slanted ones overlap as boxes and not as letters."""
    labels = [tick.label1 for tick in axis._update_ticks() if tick.label1.get_visible() and tick.label1.get_text()]
    shown = axis.axes.axison and axis.get_visible()
    return [t.get_window_extent(renderer) for t in labels if shown and not t.get_rotation() % 90]


def overlap(one, other):
    """How many dots two boxes share, in the direction in which they share fewer."""
    return min(min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_study_gives_the_same_bytes(study, runs, name, tmp_path):
    again = study_of_runs(list(reversed(runs)))
    for folder, drawn in (("one", study), ("two", again)):
        FIGURES[name].make(study_for(name, drawn), **options_of(name, study)).save(tmp_path / folder / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {f"{name}.{kind}" for kind in ("pdf", "png", "csv")} <= set(files)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    assert b"CreationDate" not in (tmp_path / "one" / f"{name}.pdf").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_panels_with_something_in_them_a_table_and_a_caption(study, name):
    drawn = FIGURES[name].make(study_for(name, study), **options_of(name, study))
    assert all(panel.has_data() for panel in drawn.axes.flat if panel.get_visible())
    assert len(drawn.table)
    assert drawn.caption.endswith(".")
    assert drawn.caption == FIGURES[name].caption(drawn.table)
    assert "nan" not in drawn.caption


@pytest.mark.parametrize("name", ALONE)
def test_a_figure_of_one_run_is_drawn_or_refused_in_one_line(name):
    study = study_of_runs([made_up_run("random", "branin", 1, 0)])
    pairs = {"win_rates", "practical_differences", "performance_profile"}
    if name in {"rank_over_time", "critical_difference", "rank_by_workers", "speed_up", *pairs}:
        with pytest.raises(SpecificationError, match=r"compare.* there is (only (random|1)|1)|there is only random"):
            FIGURES[name].make(study)
    elif name == "degradation":
        with pytest.raises(
            SpecificationError, match=r"no run on perfect workers beside one on others \(all of its work"
        ):
            FIGURES[name].make(study)
    else:
        assert len(FIGURES[name].make(study_for(name, study)).table)


def test_colours_do_not_depend_on_which_runs_are_drawn(study):
    def colours(of):
        drawn = FIGURES["targets_reached"].make(of)
        return {line.get_label(): line.get_color() for line in drawn.axes[0, 0].get_lines()}

    assert colours(study.where(["optimizer=my-optimizer"])).items() <= colours(study).items()


def test_notebook_functions_return_axes(study):
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    from zerowait.plots import notebook

    assert all(callable(getattr(notebook, name)) for name in FIGURES)
    axes = notebook.speed_up(study)
    assert isinstance(axes, Axes)
    assert axes.figure.number in plt.get_fignums()
    assert notebook.performance_over_time(study, where="P=4").shape == (3, 1)
    assert "panels='all'" in notebook.speed_up.__doc__
    plt.close("all")


def test_an_unknown_figure_option_or_style_is_named(study):
    for make, text in (
        (lambda: figure_kind("speedup"), "there is no figure 'speedup'; choose one of performance_over_time"),
        (lambda: FIGURES["speed_up"].make(study, look="poster"), "there is no style 'poster'; choose one of paper"),
        (lambda: FIGURES["speed_up"].make(study, width="three"), "width is 'three'; it must be one of one, two"),
        (lambda: FIGURES["speed_up"].make(study, colour=1), "speed_up has no option 'colour'; it has: target, panels"),
        (lambda: FIGURES["wall_time"].parse(["a=1"]), "it has: none"),
        (lambda: FIGURES["speed_up"].parse(["panels=some"]), "panels is 'some'; it must be one of all, benchmark"),
        (lambda: FIGURES["speed_up"].parse(["target=low"]), r"target is 'low'; it must be a number"),
        (lambda: FIGURES["speed_up"].parse(["target"]), "has no value; write NAME=VALUE"),
        (lambda: FIGURES["critical_difference"].parse(["fractions=1,x"]), "numbers with commas"),
    ):
        with pytest.raises(SpecificationError, match=text):
            make()


def test_options_are_read_as_their_types():
    assert FIGURES["critical_difference"].parse(["fractions=0.5,1", "post_hoc=nemenyi", "alpha=0.1"]) == {
        "fractions": (0.5, 1.0), "post_hoc": "nemenyi", "alpha": 0.1,
    }  # fmt: skip
    assert FIGURES["order_match"].parse(["reference=runs/naive"]) == {"reference": "runs/naive"}


@pytest.mark.parametrize(("name", "columns"), [("paper", {3.3, 6.8}), ("slides", {6.2, 12.6})])
def test_figures_have_the_width_of_the_columns_they_are_for(study, name, columns):
    for kind in ("speed_up", "normalised_regret"):
        assert round(float(FIGURES[kind].make(study, look=name).figure.get_size_inches()[0]), 6) in columns
    wide = FIGURES["speed_up"].make(study, look=name, width="two")
    assert wide.figure.get_size_inches()[0] == max(columns)


@given(
    optimum=st.sampled_from([0.0, -1e6, -1e12, -3.3]), losses=st.lists(st.floats(1e-6, 1e-2), min_size=2, max_size=8)
)
def test_a_target_is_reached_by_the_run_that_defines_it(optimum, losses):
    """Also where the loss is small beside the optimum, so that a regret does not survive the way to a loss and back."""
    trace = pd.DataFrame({"end": np.arange(len(losses) + 1.0) + 1, "value": [2e6, *losses]})
    study = study_of_runs([Run("a", "b", 1, 0, optimum, trace)])
    assert FIGURES["targets_reached"].table(study)["reached"].max() == 1.0


def test_a_target_is_reached_where_the_loss_is_small_beside_the_optimum():
    trace = pd.DataFrame({"end": [1.0, 2.0], "value": [2e6, 0.0011]})
    study = study_of_runs([Run("a", "b", n, 0, -1e6, trace) for n in (1, 2)])
    assert FIGURES["targets_reached"].table(study)["reached"].max() == 1.0
    # The same of a target that is given as a regret: that of the last result, exactly.
    target = float(study.regrets("b", np.array([0.0011]), "worst")[0])
    assert FIGURES["speed_up"].table(study, target=target)["not_reached"].max() == 0.0
