"""The arithmetic of figures, against oracles that are too simple to be wrong."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zerowait.plots.statistics.arithmetic import (
    average_ranks,
    best_at,
    bootstrap_means,
    bootstrap_medians,
    generator,
    geometric_mean,
    interval_of_mean,
    is_logarithmic,
    log_targets,
    mean_and_standard_error,
    normalised_regret,
    over_benchmarks,
    percentile_interval,
    share_reached,
    speed_up,
    time_grid,
    time_to_target,
    times_to_targets,
    upper_median,
    wins,
)

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


loss_rows = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.lists(st.one_of(st.integers(0, 5).map(float), st.just(math.nan)), min_size=k, max_size=k),
                       min_size=1, max_size=8)
)  # fmt: skip


@given(loss_rows)
def test_the_ranks_of_a_block_sum_to_k_times_k_plus_1_over_2(rows):
    losses = np.array(rows)
    k = losses.shape[1]
    np.testing.assert_allclose(average_ranks(losses).sum(axis=1), k * (k + 1) / 2)


@given(loss_rows)
def test_ranks_and_win_rates_depend_on_the_order_of_the_losses_only(rows):
    losses = np.array(rows)
    for transformed in (losses * 3.0 - 7.0, np.exp(losses), losses**3):
        np.testing.assert_array_equal(average_ranks(transformed), average_ranks(losses))
        np.testing.assert_array_equal(wins(transformed), wins(losses))


def test_who_has_no_result_yet_is_last_and_several_are_tied():
    np.testing.assert_array_equal(average_ranks(np.array([[math.nan, 5.0, math.nan, 5.0]])), [[3.5, 1.5, 3.5, 1.5]])


@given(loss_rows)
def test_win_rates_count_wins_and_half_of_the_ties(rows):
    rates = wins(np.array(rows)).mean(axis=0)
    k = len(rates)
    for i in range(k):
        assert rates[i, i] == 0.5
        for j in range(i + 1, k):
            points = [1.0 if worse(b, a) else 0.5 if a == b or (math.isnan(a) and math.isnan(b)) else 0.0
                      for a, b in ((row[i], row[j]) for row in rows)]  # fmt: skip
            assert rates[i, j] == pytest.approx(sum(points) / len(points))
            assert rates[i, j] + rates[j, i] == pytest.approx(1.0)


def worse(one, other):
    return (math.isnan(one) and not math.isnan(other)) or one > other


@given(deliveries, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=10))
def test_the_time_to_a_target_is_when_the_step_function_first_is_there(results, targets):
    ends, values = columns(results)
    expected = [min((end for end, value in results if value <= target), default=math.inf) for target in targets]
    assert [time_to_target(ends, values, target) for target in targets] == expected
    np.testing.assert_array_equal(times_to_targets(ends, values, np.array(targets)), expected)


@given(deliveries, times, deliveries, st.floats(-1e6, 1e6))
def test_a_target_reached_by_t_does_not_depend_on_what_comes_after_t(results, t, later, target):
    future = [(math.nextafter(t, math.inf) + end, value) for end, value in later]
    past = [(end, value) for end, value in results if end <= t]
    now = time_to_target(*columns(past), target)
    then = time_to_target(*columns(past + future), target)
    assert then == now if now <= t else then > t


def test_a_normalised_regret_is_between_the_reference_and_the_scale():
    values = np.array([2.0, 4.0, 6.0, 1.0, math.nan])
    np.testing.assert_array_equal(normalised_regret(values, 2.0, 6.0), [0.0, 0.5, 1.0, 0.0, math.nan])
    np.testing.assert_array_equal(normalised_regret(values, 2.0, 2.0), [0.0, 0.0, 0.0, 0.0, math.nan])


def test_the_share_of_targets_counts_those_reached_at_or_before_a_time():
    reached = np.array([1.0, 2.0, 2.0, math.inf])
    np.testing.assert_array_equal(share_reached(reached, np.array([0.5, 1.0, 2.0, 1e9])), [0.0, 0.25, 0.75, 0.75])


def test_targets_are_even_in_the_logarithm_and_end_with_the_least_regret():
    targets = log_targets(np.array([0.0, 0.5, 1e-4, 1.0]), 5)
    np.testing.assert_allclose(targets, [1, 1e-1, 1e-2, 1e-3, 1e-4])
    assert targets[-1] == 1e-4
    assert log_targets(np.array([1e-12]), 3)[-1] == 1e-8
    np.testing.assert_array_equal(log_targets(np.array([0.0, 1.0]), 51), [0.0])


def test_a_speed_up_is_the_ratio_of_the_median_times():
    ratio, replicates = speed_up(np.array([10.0, 20.0, 90.0]), np.array([5.0, 4.0, 6.0]), generator("test"))
    assert ratio == 4.0
    # The median of three resampled runs is one of them.
    assert set(replicates) <= {a / b for a in (10.0, 20.0, 90.0) for b in (5.0, 4.0, 6.0)}


def test_runs_that_miss_the_target_are_infinitely_slow():
    alone, together = np.array([10.0, 10.0, math.inf]), np.array([math.inf, math.inf, 1.0])
    assert speed_up(alone, together, generator("test"))[0] == 0.0
    assert math.isnan(speed_up(together, alone, generator("test"))[0])
    assert upper_median(np.array([1.0, 2.0, math.inf, math.inf])) == math.inf
    assert upper_median(np.array([1.0, 2.0, 4.0, math.inf])) == 3.0


def test_a_geometric_mean_of_ratios_does_not_depend_on_their_base():
    ratios = np.array([[2.0], [8.0]])
    assert geometric_mean(ratios) == pytest.approx([4.0])
    assert geometric_mean(1 / ratios) == pytest.approx([0.25])
    assert geometric_mean(np.array([0.0, 3.0])) == 0.0
    assert math.isnan(geometric_mean(np.array([math.nan, 3.0])))


def test_a_bootstrap_of_a_mean_has_the_spread_of_the_standard_error():
    """The variance of a resampled mean is the variance with n in the denominator, over n."""
    values = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
    replicates = bootstrap_means([values[:, None]], generator("spread"), resamples=40_000)
    assert replicates.mean() == pytest.approx(values.mean(), abs=0.02)
    assert replicates.std() == pytest.approx(values.std() / math.sqrt(6), rel=0.02)


def test_a_stratified_bootstrap_never_mixes_strata():
    strata = [np.full((3, 2), 1.0), np.full((5, 2), 3.0)]
    np.testing.assert_allclose(bootstrap_means(strata, generator("strata")), 2.0)


def test_a_bootstrap_agrees_with_that_of_scipy():
    values = np.random.default_rng(3).exponential(size=40)
    low, high = percentile_interval(bootstrap_means([values], generator("scipy"), resamples=20_000))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    low, high = percentile_interval(bootstrap_medians(values, generator("scipy"), resamples=20_000))
    theirs = stats.bootstrap((values,), np.median, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=0.05)


def test_a_generator_follows_from_its_names_alone():
    assert generator("a", 1).random() == generator("a", 1).random()
    assert generator("a", 1).random() != generator("a", 2).random()


def test_what_is_resampled_decides_how_wide_an_interval_is():
    """Two-stage sampling: the variance of the mean is that between benchmarks plus that within them."""
    random = np.random.default_rng(5)
    strata = [level + random.normal(size=(6, 1)) for level in (0.0, 10.0, 20.0, 40.0)]
    spread = {
        kind: float(bootstrap_means(strata, np.random.default_rng(6), 20_000, kind).var())
        for kind in ("runs", "benchmarks", "both")
    }
    within = np.mean([of.var() / len(of) for of in strata]) / len(strata)
    between = np.var([of.mean() for of in strata]) / len(strata)
    # Of a variance of 20,000 draws, five standard errors are 5 %.
    assert spread["runs"] == pytest.approx(within, rel=0.05)
    assert spread["benchmarks"] == pytest.approx(between, rel=0.05)
    assert spread["both"] == pytest.approx(between + within, rel=0.05)
    estimates = np.array([of.mean() for of in strata])
    replicates = estimates[:, None] + random.normal(size=(4, 20_000))
    assert over_benchmarks(estimates, replicates, random, "runs") is replicates
    drawn = over_benchmarks(estimates, replicates, random, "benchmarks").mean(axis=0)
    assert drawn.var() == pytest.approx(between, rel=0.05)
    drawn = over_benchmarks(estimates, replicates, random, "both").mean(axis=0)
    assert drawn.var() == pytest.approx(between + 1 / 4, rel=0.05)


def test_where_nothing_can_be_resampled_there_is_no_interval():
    one_run, several = [np.ones((1, 2))] * 3, [np.arange(8.0).reshape(4, 2)]
    assert np.isnan(interval_of_mean(one_run, "runs", "x")).all()
    assert not np.isnan(interval_of_mean(one_run, "both", "x")).any()
    assert np.isnan(interval_of_mean(several, "benchmarks", "x")).all()
    both, runs = interval_of_mean(several, "both", "x"), interval_of_mean(several, "runs", "x")
    np.testing.assert_array_equal(np.isnan(both), np.isnan(runs))


def test_the_probability_of_superiority_is_that_of_mann_and_whitneys_example():
    """Ages at which diabetes was found, in the documentation of scipy's mannwhitneyu: U is 17 of 20 pairs."""
    men, women = [19, 22, 16, 29, 24], [20, 11, 17, 12]
    pairs = np.array([(woman, man) for man in men for woman in women], dtype=float)
    assert wins(pairs).mean(axis=0)[0, 1] == 17 / 20
