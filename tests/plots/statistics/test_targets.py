"""Times to targets: expected ones and restarts after COCO, performance ratios after Dolan and More."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import made_up_study

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.statistics.targets import expected_running_time, performance_ratios, restarted
from zerowait.suite.rules.errors import SpecificationError

INFINITE = math.inf
times_of_runs = st.lists(st.one_of(st.integers(1, 50).map(float), st.just(INFINITE)), min_size=1, max_size=8)


def test_the_expected_running_time_is_that_of_the_definition():
    """Hansen et al. 2021, section 5.2: RT of successes plus (1 - p) / p times that of failures; p of them succeed."""
    times, spent = np.array([100.0, INFINITE, 300.0, INFINITE, 200.0]), np.array([1e9, 500.0, 1e9, 1000.0, 1e9])
    p = 3 / 5
    assert expected_running_time(times, spent) == pytest.approx(200.0 + (1 - p) / p * 750.0)
    assert expected_running_time(times, spent) == (100 + 500 + 300 + 1000 + 200) / 3


def test_where_no_run_reaches_the_target_it_is_infinite():
    assert expected_running_time(np.full((3, 1), INFINITE), np.ones((3, 1))).tolist() == [INFINITE]


@given(times_of_runs, st.integers(0, 99))
def test_the_mean_over_simulated_restarts_is_the_expected_running_time(times, seed):
    of, spent = np.array(times)[:, None, None], np.full((len(times), 1), 60.0)
    drawn = restarted(of, spent, np.random.default_rng(seed), 4000)[:, 0, 0]
    expected = float(expected_running_time(of[:, 0, 0], spent[:, 0]))
    if math.isinf(expected):
        assert np.isinf(drawn).all()
    else:
        # Five standard errors.
        assert drawn.mean() == pytest.approx(expected, abs=5 * drawn.std() / math.sqrt(len(drawn)) + 1e-9)
        assert drawn.min() >= min(times)


def test_ratios_and_their_distribution_are_those_of_dolan_and_more():
    """By hand: three solvers, four problems; the third solver fails once, the last problem is solved by nobody."""
    times = np.array([[2.0, 4.0, 3.0], [10.0, 5.0, INFINITE], [1.0, 1.0, 8.0], [INFINITE] * 3])
    ratios = performance_ratios(times)
    assert ratios[:3].tolist() == [[1.0, 2.0, 1.5], [2.0, 1.0, INFINITE], [1.0, 1.0, 8.0]]
    assert np.isinf(ratios[3]).all()
    # rho(1) is the share of the problems that a solver wins, rho at infinity the share that it solves.
    assert (ratios <= 1).mean(axis=0).tolist() == [0.5, 0.5, 0.0]
    assert (ratios <= 2).mean(axis=0).tolist() == [0.75, 0.75, 0.25]
    assert np.isfinite(ratios).mean(axis=0).tolist() == [0.75, 0.75, 0.5]


@pytest.fixture(scope="module")
def study():
    return made_up_study(3, (1, 4), 8, n_benchmarks=3, seeds=3)


def test_a_profile_is_recounted_from_the_runs(study):
    table = FIGURES["performance_profile"].table(study, target=0.3)
    of_one = table[table["n_workers"] == 1]
    solved = dict.fromkeys(of_one["optimizer"].unique(), 0)
    cells = study.cells[study.cells["n_workers"] == 1]
    for (benchmark, _), runs in cells.groupby(["benchmark", "seed"]).groups.items():
        every = study.cells.index[study.cells["benchmark"] == benchmark]
        first = np.median([study.losses[study.rows(run)][0] for run in every])
        found = {}
        for run in runs:
            at = study.rows(run)
            reached = study.ends[at][study.losses[at] / first <= 0.3]
            found[cells.loc[run, "optimizer"]] = reached.min() if len(reached) else INFINITE
        for name, time in found.items():
            solved[name] += time == min(found.values()) and math.isfinite(time)
    at_one = of_one[of_one["ratio"] == 1.0].set_index("optimizer")["solved"]
    assert at_one.to_dict() == pytest.approx({name: count / 9 for name, count in solved.items()})


def test_restarts_go_on_where_runs_end(study):
    plain = FIGURES["targets_reached"].table(study)
    restarts = FIGURES["targets_reached"].make(study, restarts="simulated")
    assert restarts.table["budget"].max() == pytest.approx(10.0)
    assert restarts.table["reached"].max() >= plain["reached"].max()
    assert "simulated restarts" in restarts.caption
    assert "band" not in restarts.caption


def test_what_cannot_be_drawn_is_said(study):
    for name, options, text in (
        ("performance_profile", {"target": 1.5}, "target is 1.5; it must be a share"),
        ("performance_profile", {"target": 0.0}, "no run reaches the target 0; choose a larger one"),
        ("scores_over_time", {}, "a score of 0 is the result of 'random', which the study has not"),
        ("practical_differences", {"rope": 2.0}, "rope is 2.0; it must be a difference"),
        ("critical_difference", {"family": "all", "post_hoc": "nemenyi"}, "adjusted within a panel, by its own"),
    ):
        with pytest.raises(SpecificationError, match=text) as caught:
            FIGURES[name].make(study, **options)
        assert "\n" not in str(caught.value)
