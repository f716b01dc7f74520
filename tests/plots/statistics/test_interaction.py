"""The test of the interaction of optimizer and number of workers: finds what is planted, and keeps its level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_up import made_up_run

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.statistics.arithmetic import average_ranks
from zerowait.plots.statistics.interaction import interaction_test
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.rules.errors import SpecificationError


def test_a_small_case_is_what_all_arrangements_give():
    """Three blocks and two numbers of workers: all eight arrangements, counted by hand's rule."""
    ranks = np.array([[[1.0, 2.0], [2.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 2.0], [1.5, 1.5]]])

    def spread(arranged):
        means = np.mean(arranged, axis=0)
        return sum((means[p][o] - (means[0][o] + means[1][o]) / 2) ** 2 for p in range(2) for o in range(2))

    every = [
        spread([block[::-1] if turned else block for block, turned in zip(ranks, turns, strict=True)])
        for turns in itertools.product((False, True), repeat=3)
    ]
    exact = np.mean([value >= every[0] - 1e-12 for value in every])
    statistic, p = interaction_test(ranks, np.random.default_rng(0))
    assert statistic == pytest.approx(every[0], abs=1e-12)
    # 9,999 draws of a share of 1/4: five standard deviations are 0.022.
    assert p == pytest.approx(exact, abs=0.022)


def test_a_planted_interaction_is_found():
    random = np.random.default_rng(1)
    p = []
    for _ in range(20):
        # The more workers, the better the first and the worse the last; on average over them all are alike.
        planted = np.outer([1.0, 0.3, -0.3, -1.0], [-2.0, -1.0, 0.0, 1.0, 2.0])
        losses = random.normal(size=(8, 4, 5)) - planted
        p.append(interaction_test(average_ranks(losses), random, permutations=999)[1])
    assert max(p) < 0.01


def test_the_level_is_kept_where_there_is_none():
    random = np.random.default_rng(2)
    # Optimizers differ, blocks differ, and the number of workers makes no difference to the order.
    effects = np.arange(5) + random.normal(size=(200, 8, 1, 5))
    p = [
        interaction_test(average_ranks(effect + random.normal(size=(8, 4, 5))), random, permutations=199)[1]
        for effect in effects
    ]
    # Of 200 tests at level 0.1, 20 are expected; 37 is four standard deviations more.
    assert sum(value <= 0.1 for value in p) <= 37
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_the_figure_has_ranks_intervals_and_the_test():
    study = study_of_runs(
        [
            made_up_run(f"o{o}", f"b{b}", n, s, number=o)
            for o in range(3)
            for b in range(4)
            for n in (1, 4)
            for s in range(2)
        ]
    )
    drawn = FIGURES["rank_by_workers"].make(study, look="paper")
    assert drawn.table.groupby("n_workers")["rank"].sum().tolist() == pytest.approx([6.0, 6.0])
    assert (drawn.table["lower"] <= drawn.table["rank"]).all()
    assert "permutation test over 4 benchmarks" in drawn.caption
    with pytest.raises(SpecificationError, match="there is only 1"):
        FIGURES["rank_by_workers"].make(study.where(["P=1"]))
