"""Studies in memory: sorted, chosen from, and compared with nothing filled in."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from zerowait.plots.figures import anytime, critical_difference, scaling
from zerowait.plots.studies.blocks import blocks
from zerowait.plots.studies.study import study_of_runs, study_of_table
from zerowait.suite.rules.errors import SpecificationError


def test_a_table_of_all_evaluations_gives_the_study_of_the_single_runs(make_run):
    runs = [make_run([(1, 3), (4, 2)], optimizer=o, n_workers=n, seed=s) for o in "ba" for n in (2, 1) for s in (1, 0)]
    rows = [
        {
            "optimizer": r.optimizer,
            "benchmark": r.benchmark,
            "n_workers": r.n_workers,
            "seed": r.seed,
            "end": end,
            "value": v,
        }
        for i in range(2)  # the runs' rows are mixed
        for r in runs
        for end, v in [(r.ends[i], r.trace["value"][i])]
    ]
    one, other = study_of_runs(runs), study_of_table(pd.DataFrame(rows))
    pd.testing.assert_frame_equal(one.cells, other.cells, check_dtype=False)
    np.testing.assert_array_equal(one.ends, other.ends)
    np.testing.assert_array_equal(one.losses, other.losses)
    assert one.optimizers == ("a", "b")


def test_conditions_choose_runs(make_run):
    runs = [
        make_run([(1, 1)], optimizer=o, benchmark=b, n_workers=n, seed=s)
        for o in ("random", "tpe") for b in ("branin", "hpobench/car") for n in (1, 2, 8) for s in (0, 1)
    ]  # fmt: skip
    study = study_of_runs(runs)
    for conditions, number in (
        ([], 24), (["P=8"], 8), (["P = 1,2"], 16), (["workers>=2", "seed<1"], 8), (["benchmark=hpobench/*"], 12),
        (["optimizer!=r*", "P!=1"], 8), (["optimizer=random,tpe"], 24),
    ):  # fmt: skip
        assert len(study.where(conditions)) == number, conditions
    for condition, text in (
        ("P=3", r"no run meets 'P=3'; there are optimizer random, tpe; benchmark branin, hpobench/car; P 1, 2, 8"),
        ("task=car", "names 'task', which no run has; it may name: optimizer, benchmark, P, seed"),
        ("P=many", "compares with 'many'; allowed after =: a whole number"),
        ("optimizer<b", "orders texts"),
        ("P<1,2", "is not understood|compares with several numbers; give one"),
    ):
        with pytest.raises(SpecificationError, match=text):
            study.where([condition])


def test_choosing_runs_changes_neither_references_nor_who_has_which_colour(make_run):
    study = study_of_runs([make_run([(1, v)], optimizer=o) for o, v in (("a", 3.0), ("b", 1.0))])
    part = study.where(["optimizer=a"])
    assert part.optimizers == ("a", "b")
    assert part.references.loc["toy", ["reference", "source", "worst"]].tolist() == [1.0, "best seen", 3.0]
    assert part.losses.tolist() == [3.0]


def test_the_caption_says_what_regret_is_measured_from(make_run):
    def caption(optimum):
        runs = [make_run([(1, 3), (2, 2)], optimizer=o, optimum=optimum) for o in "ab"]
        return anytime.regret_table(study_of_runs(runs)).attrs["caption"]

    assert "from the known optimum." in caption(1.0)
    assert "from the best loss seen in the study, because the traces name no optimum" in caption(None)


def test_a_benchmark_that_an_optimizer_lacks_is_left_out_and_named(make_run):
    runs = [make_run([(1, 3)], optimizer=o, benchmark=b) for o, b in (("a", "x"), ("b", "x"), ("a", "y"))]
    (group,) = blocks(study_of_runs(runs))
    assert group.benchmarks == ("x",)
    assert group.left_out == ("y (no run of b)",)
    assert (
        "Left out, for want of runs to compare with: y (no run of b)."
        in anytime.rank_table(study_of_runs(runs)).attrs["caption"]
    )
    with pytest.raises(SpecificationError, match=r"compared with 1 worker: x \(no run of b\), y \(no run of a\)"):
        blocks(study_of_runs([runs[0], make_run([(1, 3)], optimizer="b", benchmark="y")]))


def test_a_seed_that_an_optimizer_lacks_is_left_out_and_counted(make_run):
    runs = [make_run([(1, 3)], optimizer=o, seed=s) for o, s in (("a", 0), ("b", 0), ("a", 1))]
    (group,) = blocks(study_of_runs(runs))
    assert group.n_seeds == (1, 1)
    assert group.left_out == ("1 of 2 seeds on toy",)


def test_ranks_at_a_time_are_those_of_what_was_delivered_by_then(make_run):
    fast = make_run([(1, 5), (10, 4), (100, 3)], optimizer="fast")
    slow = make_run([(50, 1), (100, 0)], optimizer="slow")
    table = anytime.rank_table(study_of_runs([fast, slow]))
    of_fast = table[table["optimizer"] == "fast"]
    early = of_fast["budget"] < 0.5
    assert set(of_fast["mean"][early]) == {1.0}
    assert set(of_fast["mean"][~early]) == {2.0}


def test_who_has_no_curve_is_named(make_run):
    runs = [make_run([(1, 2), (5, 1)], optimizer="early"), make_run([(9, 1)], optimizer="late")]
    table = anytime.regret_table(study_of_runs(runs))
    assert set(table["optimizer"]) == {"early"}
    assert "No curve, because a run has no result in that time: late (1 worker)." in table.attrs["caption"]


def test_the_end_of_the_comparison_is_that_of_the_optimizer_that_ends_first(make_run):
    ends = {"a": (10, 30, 90), "b": (200, 100, 300)}
    runs = [make_run([(1, 2), (end, 1)], optimizer=o, seed=s) for o in ends for s, end in enumerate(ends[o])]
    assert blocks(study_of_runs(runs))[0].horizons.tolist() == [30.0]
    assert blocks(study_of_runs(runs), "longest")[0].horizons.tolist() == [300.0]


def test_a_critical_difference_needs_benchmarks_or_says_so(make_run):
    runs = [make_run([(1, s), (2, s + i)], optimizer=o, seed=s) for i, o in enumerate("abc") for s in range(4)]
    study = study_of_runs(runs)
    with pytest.raises(SpecificationError, match="a test needs at least 2 blocks, and there is 1"):
        critical_difference.critical_difference_table(study, fractions=(1.0,))
    table = critical_difference.critical_difference_table(study, blocks_are="seed", fractions=(1.0,))
    assert set(table["n_blocks"]) == {4}
    two = critical_difference.critical_difference_table(
        study.where(["optimizer=a,b"]), blocks_are="seed", fractions=(1.0,)
    )
    assert set(two["test"]) == {"Wilcoxon signed-rank"}
    assert "Two optimizers" in two.attrs["caption"]


def test_cliques_are_the_maximal_groups_of_neighbours_that_do_not_differ():
    same = {frozenset(pair) for pair in ("ab", "bc", "ac", "cd")}
    assert critical_difference.cliques("abcd", same) == [["a", "b", "c"], ["c", "d"]]
    assert critical_difference.cliques("abcd", set()) == []


def test_a_speed_up_is_that_of_the_times_to_the_target(make_run):
    """Ends a P-th of those of one worker: exactly P times sooner, whatever the target."""
    runs = [
        make_run([((10 + s) * i / n, 10 - i) for i in range(1, 9)], n_workers=n, seed=s)
        for n in (1, 2, 4)
        for s in range(5)
    ]
    table = scaling.speed_up_table(study_of_runs(runs))
    assert table["speed_up"].tolist() == pytest.approx([1, 2, 4])
    assert (table["lower"] <= table["speed_up"]).all()
    assert (table["speed_up"] <= table["upper"]).all()
    with pytest.raises(SpecificationError, match="1 worker to compare with"):
        scaling.speed_up_table(study_of_runs(runs).where(["P>1"]))


def test_quality_is_read_at_the_same_time_with_every_number_of_workers(make_run):
    runs = [make_run([(i / n, 10 - i) for i in range(1, 9)], n_workers=n, optimum=0.0) for n in (1, 4)]
    table = scaling.quality_table(study_of_runs(runs), panels="benchmark")
    # The end of 4 workers is at 2 s: there one worker has delivered two results, and four all eight.
    assert table["time"].tolist() == [2.0, 2.0]
    assert table["mean"].tolist() == pytest.approx([8 / 9, 2 / 9])


def test_what_a_study_lacks_is_named():
    with pytest.raises(SpecificationError, match=r"lacks the columns \['optimizer'\]"):
        study_of_table(pd.DataFrame({"benchmark": ["a"], "n_workers": [1], "seed": [0], "end": [1.0], "value": [1.0]}))
    with pytest.raises(SpecificationError, match="there are no runs"):
        study_of_runs([])


def test_runs_without_evaluations_or_successes_are_no_obstacle(make_run):
    runs = [make_run([], seed=0), make_run([(1, math.nan)], seed=1), make_run([(2, 5)], seed=2)]
    study = study_of_runs(runs)
    assert study.first_success.tolist() == [math.inf, math.inf, 2.0]
    assert study.cells["makespan"].tolist() == [0.0, 1.0, 2.0]
    assert study.references.loc["toy", "reference"] == 5.0
