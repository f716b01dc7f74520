"""Hypervolumes are those of Optuna, which shares no code with moocore; attainment is counted point by point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna._hypervolume import compute_hypervolume

from zerowait.plots.statistics.fronts import attained, hypervolume, hypervolumes

SIXTEENTHS = st.integers(0, 20).map(lambda n: n / 16)  # with ties, and some beyond the reference point
POINTS = st.integers(1, 30).flatmap(lambda n: arrays(float, (n, 2), elements=SIXTEENTHS))


def by_optuna(points):
    inside = points[(points <= 1).all(axis=1)]
    return compute_hypervolume(inside, np.ones(points.shape[1])) if len(inside) else 0.0


@given(POINTS)
def test_hypervolumes_of_two_objectives_are_those_of_optuna(points):
    np.testing.assert_allclose(
        hypervolumes(points), [by_optuna(points[: k + 1]) for k in range(len(points))], rtol=1e-12
    )


@pytest.mark.parametrize("m", [2, 3, 4])
def test_hypervolumes_of_several_objectives_are_those_of_optuna(m):
    points = np.random.default_rng(m).random((60, m))
    expected = [by_optuna(points[: k + 1]) for k in range(60)]
    np.testing.assert_allclose(hypervolumes(points), expected, rtol=1e-12)  # sums in another order
    assert hypervolume(points) == pytest.approx(expected[-1], rel=1e-12)


def test_hypervolumes_by_hand():
    points = np.array([[0.5, 0.5], [0.75, 0.75], [0.25, 0.75], [1.0, 0.0], [0.0, 1.5]])
    assert hypervolumes(points).tolist() == [0.25, 0.25, 0.3125, 0.3125, 0.3125]
    assert hypervolume(np.empty((0, 2))) == 0.0


@given(st.lists(POINTS, min_size=1, max_size=6), st.floats(0.01, 1.0))
def test_what_is_attained_is_attained_by_so_many_runs_and_nothing_better_is(runs, share):
    (front,) = attained(runs, [share])
    needed = share * len(runs) - 1e-9

    def attaining(point):
        return sum((points <= point).all(axis=1).any() for points in runs)

    assert all(attaining(point) >= needed for point in front)
    assert np.all(np.diff(front[:, 0]) > 0)
    assert np.all(np.diff(front[:, 1]) < 0)
    corners = [np.array([x, y]) for x in np.vstack(runs)[:, 0] for y in np.vstack(runs)[:, 1]][:400]
    for corner in corners:
        assert (attaining(corner) >= needed) == bool((front <= corner).all(axis=1).any())


def test_a_run_without_a_point_attains_nothing():
    point, nothing = np.array([[0.5, 0.5]]), np.empty((0, 2))
    half, whole = attained([point, nothing], [0.5, 1.0])
    assert half.tolist() == [[0.5, 0.5]]
    assert len(whole) == 0
    assert [len(front) for front in attained([nothing, nothing], [0.5])] == [0]
