"""Performance over time: the table is the step function, the figure is the table."""

from __future__ import annotations

import math
import subprocess
import sys

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from zerowait.plots.catalogue import FIGURES, plot_study
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import save_figure
from zerowait.plots.figures import performance
from zerowait.plots.figures.performance import draw_panel
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.rules.errors import SpecificationError, TraceError


def performance_table(runs, **options):
    return performance.performance_table(study_of_runs(runs), **options)


def performance_figure(table):
    return FIGURES["performance_over_time"].draw_table(table, optimizers=table["optimizer"].unique()).figure


@pytest.fixture
def two_seeds(make_run):
    """Regrets over an optimum of 1; the second seed is slower to begin and to end."""
    return [
        make_run([(10, 5), (20, 3), (40, 2)], seed=0, optimum=1.0),
        make_run([(15, 4), (30, 9), (60, 2)], seed=1, optimum=1.0),
    ]


def by_time(table):
    return {row.time: row for row in table.itertuples()}


def test_a_mean_is_that_of_the_step_functions_of_all_seeds(two_seeds):
    rows = by_time(performance_table(two_seeds))
    # At 15 s the seeds know 5 and 4, regrets 4 and 3: mean 3.5, standard error |4 - 3| / 2.
    assert (rows[15.0].mean, rows[15.0].standard_error, rows[15.0].n_seeds) == (3.5, 0.5, 2)
    assert rows[15.0].quantity == "regret"
    assert (rows[60.0].mean, rows[60.0].standard_error) == (1.0, 0.0)


def test_a_curve_starts_when_every_seed_has_a_value_and_stops_when_the_last_has_ended(two_seeds):
    table = performance_table(two_seeds)
    assert (table["time"].min(), table["time"].max()) == (15.0, 60.0)
    assert not table["mean"].isna().any()


def test_every_row_of_the_table_is_the_step_function(two_seeds):
    def regret(run, t):
        return min(value for end, value in run.trace.itertuples(index=False) if end <= t) - 1.0

    for row in performance_table(two_seeds).itertuples():
        regrets = [regret(run, row.time) for run in two_seeds]
        assert row.mean == pytest.approx(np.mean(regrets), rel=1e-12)
        assert row.standard_error == pytest.approx(np.std(regrets, ddof=1) / math.sqrt(2), rel=1e-12)


def test_all_curves_of_a_benchmark_share_their_times(make_run):
    runs = [
        make_run([(t / n_workers, 1 / t) for t in (1, 7, 100)], optimizer=name, n_workers=n_workers, seed=seed)
        for name in ("random", "optuna-tpe")
        for n_workers in (1, 4)
        for seed in (0, 1)
    ]
    table = performance_table(runs)
    grid = set(table["time"])
    for _, curve in table.groupby(["optimizer", "n_workers"]):
        inside = {t for t in grid if curve["time"].min() <= t <= curve["time"].max()}
        assert set(curve["time"]) == inside


def test_without_an_optimum_the_value_is_drawn(make_run):
    table = performance_table([make_run([(1, -3), (2, -5)])])
    assert set(table["quantity"]) == {"value"}
    assert table["mean"].iloc[-1] == -5
    assert table["standard_error"].isna().all()


def test_noise_below_the_optimum_turns_regret_into_value(make_run):
    table = performance_table([make_run([(1, 3), (2, -0.1)], optimum=0.0)])
    assert set(table["quantity"]) == {"value"}
    panel = performance_figure(table).axes[0]
    assert panel.get_yscale() == "linear"
    assert "optimum" in [line.get_label() for line in panel.get_lines()]


def test_a_regret_of_zero_does_not_break_the_logarithmic_axis(make_run):
    figure = performance_figure(performance_table([make_run([(1, 1), (100, 0)], optimum=0.0)]))
    bottom, top = figure.axes[0].get_ylim()
    assert 0 < bottom < 1 <= top


def test_failures_do_not_count_and_a_seed_of_failures_leaves_its_curve_out(make_run):
    good = make_run([(1, math.nan), (2, 4), (3, math.nan)], optimizer="good")
    bad = make_run([(1, math.nan)], optimizer="bad")
    table = performance_table([good, bad])
    assert set(table["optimizer"]) == {"good"}
    assert table["time"].min() == 2.0
    with pytest.raises(SpecificationError, match="without a single success"):
        performance_table([bad])


def test_two_runs_of_the_same_seed_are_refused(make_run):
    with pytest.raises(SpecificationError, match="seed 0 more than once"):
        performance_table([make_run([(1, 1)]), make_run([(1, 2)])])


def test_different_optima_of_one_benchmark_are_refused(make_run):
    with pytest.raises(SpecificationError, match="different optima"):
        performance_table([make_run([(1, 1)], optimum=0.0), make_run([(1, 2)], optimum=None, seed=1)])


def test_no_runs_and_too_few_points_are_refused(make_run):
    with pytest.raises(SpecificationError, match="no runs"):
        performance_table([])
    with pytest.raises(SpecificationError, match="points is 1"):
        performance_table([make_run([(1, 1)])], points=1)


def test_the_figure_has_a_row_for_each_benchmark_and_a_column_for_each_number_of_workers(make_run):
    runs = [
        make_run([(1, 2), (50, 1)], benchmark=benchmark, n_workers=n, optimizer=name, seed=seed, optimum=0.5)
        for benchmark in ("a", "b")
        for n in (1, 2, 4)
        for name in ("random", "optuna-tpe")
        for seed in (0, 1)
    ]
    figure = performance_figure(performance_table(runs))
    assert isinstance(figure, matplotlib.figure.Figure)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["1 worker", "2 workers", "4 workers"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["a\nregret", "b\nregret"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["optuna-tpe", "random"]
    assert figure.get_supxlabel() == "simulated time [s]\nmean and standard error of 2 seeds"


def test_a_median_has_a_bootstrap_interval_and_no_standard_error(make_run):
    runs = [make_run([(1, 10), (10, value)], seed=seed) for seed, value in enumerate((1.0, 2.0, 9.0))]
    table = performance_table(runs, statistic="median")
    last = table.iloc[-1]
    # Three seeds: a resample's median is 1, 2 or 9, each of which is more than 2.5 % of the resamples.
    assert (last["median"], last["lower"], last["upper"]) == (2.0, 1.0, 9.0)
    assert "standard_error" not in table
    assert "median of 3 seeds" in table.attrs["caption"]
    with pytest.raises(SpecificationError, match="a median has no standard error"):
        performance_table(runs, statistic="median", interval="standard_error")


def test_a_bootstrap_of_a_mean_contains_it_and_repeats(two_seeds):
    table = performance_table(two_seeds, interval="bootstrap")
    assert ((table["lower"] <= table["mean"]) & (table["mean"] <= table["upper"])).all()
    pd.testing.assert_frame_equal(table, performance_table(two_seeds, interval="bootstrap"))


def test_lines_and_bands_are_the_table(two_seeds):
    table = performance_table(two_seeds)
    (axes,) = performance_figure(table).axes
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), table["time"])
    np.testing.assert_array_equal(line.get_ydata(), table["mean"])
    assert line.get_drawstyle() == "steps-post"
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    # Bands with nothing to show below zero are clipped by the axis, not by the numbers.
    assert corners[:, 1].max() == (table["mean"] + table["standard_error"]).max()
    assert corners[:, 1].min() == (table["mean"] - table["standard_error"]).min()


def test_a_panel_can_be_drawn_on_axes_of_a_notebook(two_seeds):
    axes = matplotlib.figure.Figure().subplots()
    assert draw_panel(axes, performance_table(two_seeds)) is axes
    assert len(axes.get_lines()) == 1


def test_nothing_is_cut_off_or_overlaps(tmp_path, make_run):
    """Every text lies inside the figure, and legend, titles and panels lie above one another."""
    runs = [
        make_run(
            [(1, 2), (500, 1)],
            benchmark=f"hpobench/blood_transfusion_{i}(seed=mean)",
            optimizer=name,
            n_workers=n,
        )
        for i in range(2)
        for n in (1, 16)
        for name in (f"an-optimizer-with-a-long-name-{k}" for k in range(7))
    ]
    figure = performance_figure(performance_table(runs))
    with style.context():
        save_figure(figure, performance_table(runs), tmp_path / "figure")
        renderer = figure.canvas.get_renderer()
        (legend,) = figure.legends
        boxes = [axes.get_tightbbox(renderer) for axes in figure.axes] + [legend.get_window_extent(renderer)]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    for i, box in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert not box.overlaps(other)


def test_a_figure_is_written_as_pdf_png_and_csv_and_the_csv_is_the_table(tmp_path, two_seeds):
    table = performance_table(two_seeds)
    files = save_figure(performance_figure(table), table, tmp_path / "new" / "figure.v1")
    assert files.pdf.read_bytes().startswith(b"%PDF")
    assert imread(files.png).shape[2] == 4
    assert files.csv.name == "figure.v1.csv"
    pd.testing.assert_frame_equal(pd.read_csv(files.csv, float_precision="round_trip"), table)


def test_the_same_traces_give_the_same_files(tmp_path, two_seeds):
    table = performance_table(two_seeds)
    one, two = (save_figure(performance_figure(table), table, tmp_path / name) for name in "ab")
    for kind in ("pdf", "png", "csv"):
        assert getattr(one, kind).read_bytes() == getattr(two, kind).read_bytes()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, two_seeds):
    table = performance_table(two_seeds)
    (tmp_path / "file").touch()
    with pytest.raises(SpecificationError, match=r"cannot write the figure to .*file.* choose another folder"):
        save_figure(performance_figure(table), table, tmp_path / "file" / "figure")


def test_a_study_is_drawn_from_its_folder(tmp_path, write_trace):
    write_trace(tmp_path / "cells" / "a", [3.0, 1.0], seed=0)
    write_trace(tmp_path / "cells" / "b", [2.0, 4.0], seed=1)
    files = plot_study(tmp_path)
    assert files.png == tmp_path / "figures" / "performance_over_time.png"
    table = pd.read_csv(files.csv)
    # Deliveries at 10 s and 20 s: regrets (3, 2), then (1, 2).
    assert table.groupby("time")["mean"].first().loc[[10.0, 20.0]].tolist() == [2.5, 1.5]
    assert plot_study(tmp_path, tmp_path / "elsewhere").pdf.parent == tmp_path / "elsewhere"


def test_drawing_a_folder_without_runs_fails(tmp_path):
    with pytest.raises(TraceError):
        plot_study(tmp_path)


def test_figures_leave_pyplot_alone():
    code = """
import pandas
from zerowait.plots.catalogue import FIGURES
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
trace = pandas.DataFrame({"end": [1.0, 2.0], "value": [2.0, 1.0]})
FIGURES["performance_over_time"].make(study_of_runs([Run("random", "toy", 1, 0, None, trace)]))"""
    modules = modules_after(code)
    assert "matplotlib.figure" in modules
    assert "matplotlib.pyplot" not in modules


def test_importing_plots_is_cheap():
    assert not modules_after("import zerowait.plots.catalogue, zerowait.plots.studies.loading") & {
        "matplotlib", "pandas", "pyarrow", "scipy", "scikit_posthocs",
    }  # fmt: skip


def modules_after(code):
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())
