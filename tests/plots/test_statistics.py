"""The arithmetic of figures, against oracles that are too simple to be wrong."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plots.statistics import best_at, is_logarithmic, mean_and_standard_error, time_grid

times = st.floats(0, 1e6, allow_nan=False)
losses = st.one_of(st.floats(-1e6, 1e6, allow_nan=False), st.just(math.nan))
deliveries = st.lists(st.tuples(times, losses), max_size=30)


def naive_best_at(results, t):
    """The definition, read aloud: the least of the losses that were delivered at or before t."""
    known = [value for end, value in results if end <= t and not math.isnan(value)]
    return min(known) if known else math.nan


def columns(results):
    return np.array([end for end, _ in results]), np.array([value for _, value in results])


def test_the_value_at_a_time_is_the_best_delivered_at_or_before_it():
    ends, values = np.array([1.0, 2.0, 4.0]), np.array([5.0, 7.0, 3.0])
    at = np.array([0.0, 0.999, 1.0, 3.999, 4.0, 100.0])
    np.testing.assert_array_equal(best_at(ends, values, at), [math.nan, math.nan, 5.0, 5.0, 3.0, 3.0])


def test_results_delivered_at_the_same_time_are_all_known_at_that_time():
    ends, values = np.array([2.0, 2.0, 2.0]), np.array([5.0, 1.0, 4.0])
    np.testing.assert_array_equal(best_at(ends, values, np.array([1.9, 2.0])), [math.nan, 1.0])


def test_a_failed_evaluation_is_never_the_best_and_hides_nothing():
    ends, values = np.array([1.0, 2.0, 3.0, 4.0]), np.array([math.nan, 5.0, math.nan, 4.0])
    at = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(best_at(ends, values, at), [math.nan, 5.0, 5.0, 4.0])


def test_a_run_without_results_has_no_value_anywhere():
    assert np.isnan(best_at(np.array([]), np.array([]), np.array([0.0, 1.0]))).all()


@given(deliveries, st.lists(times, max_size=20))
def test_the_step_function_agrees_with_its_definition(results, at):
    at += [end for end, _ in results]  # the jumps themselves, where an off-by-one would show
    expected = [naive_best_at(results, t) for t in at]
    np.testing.assert_array_equal(best_at(*columns(results), np.array(at, dtype=float)), expected)


@given(deliveries, times, deliveries)
def test_the_step_function_never_looks_ahead(results, t, later):
    """Whatever is delivered after t, the value at t stays what it was."""
    future = [(math.nextafter(t, math.inf) + end, value) for end, value in later]
    now = best_at(*columns(results), np.array([t]))
    np.testing.assert_array_equal(best_at(*columns(results + future), np.array([t])), now)


@given(deliveries, st.lists(times, min_size=2, max_size=20))
def test_the_step_function_never_gets_worse(results, at):
    value = best_at(*columns(results), np.sort(np.array(at)))
    known = value[~np.isnan(value)]
    assert (np.diff(known) <= 0).all()
    assert not np.isnan(value[len(value) - len(known) :]).any()  # once known, always known


def test_the_standard_error_divides_by_n_minus_1():
    # Losses 1, 2, 6: mean 3, squared deviations 4 + 1 + 9 = 14, sample variance 14 / 2 = 7, standard error
    # sqrt(7 / 3).
    mean, error = mean_and_standard_error(np.array([[1.0], [2.0], [6.0]]))
    assert mean == [3.0]
    assert error == pytest.approx([math.sqrt(7 / 3)], rel=1e-15)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_the_standard_error_is_that_of_the_standard_library(values):
    mean, error = mean_and_standard_error(np.array(values)[:, None])
    assert mean[0] == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
    expected = statistics.stdev(values) / math.sqrt(len(values))
    assert error[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_mean_needs_a_value_of_every_seed():
    mean, error = mean_and_standard_error(np.array([[math.nan, 4.0], [2.0, 2.0]]))
    np.testing.assert_array_equal(mean, [math.nan, 3.0])
    np.testing.assert_array_equal(error, [math.nan, 1.0])


def test_one_seed_has_no_standard_error():
    mean, error = mean_and_standard_error(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    assert np.isnan(error).all()


@given(st.floats(1e-6, 1e6), st.floats(0, 1e6), st.integers(2, 300))
def test_a_grid_has_its_ends_exactly_and_increases(first, length, points):
    grid = time_grid(first, first + length, points)
    assert grid[0] == first
    assert grid[-1] == first + length
    assert (np.diff(grid) >= 0).all()
    assert len(grid) == (1 if first + length == first else points)


def test_a_long_time_axis_is_logarithmic_unless_it_starts_at_zero():
    assert is_logarithmic(1.0, 20.0)
    assert not is_logarithmic(1.0, 19.0)
    assert not is_logarithmic(0.0, 1e9)
    np.testing.assert_allclose(np.diff(np.log(time_grid(1.0, 100.0, 5))), math.log(100) / 4)
    np.testing.assert_allclose(np.diff(time_grid(0.0, 100.0, 5)), 25.0)
