"""The tests of significance, against published worked examples and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zerowait.plots.statistics.arithmetic import average_ranks
from zerowait.plots.statistics.significance import (
    compare,
    conover,
    critical_difference,
    friedman,
    holm,
    least_wilcoxon_p,
    nemenyi,
    over_all,
    rank_biserial,
    wilcoxon,
    wilcoxon_pairs,
)
from zerowait.suite.rules.errors import SpecificationError

# Demsar 2006 (JMLR 7:1-30), table 6: areas under the curve of four variants of C4.5 on 14 data sets. On "voting" the
# paper ranks the third and the fourth by digits that it does not print; a last digit here restores its ranks 2 and 3.
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip
LOSSES = 1.0 - AUC


def test_the_average_ranks_are_those_of_demsar():
    np.testing.assert_allclose(average_ranks(LOSSES).mean(axis=0), [3.143, 2.000, 2.893, 1.964], atol=5e-4)


def test_friedmans_statistic_is_that_of_demsar_corrected_for_ties():
    """The paper finds 9.28 without the correction for ties, whose divisor is 1 - 78 / 840 here (Conover 1999)."""
    statistic, p = friedman(LOSSES)
    assert statistic * (1 - 78 / 840) == pytest.approx(9.28, abs=5e-3)
    assert p == pytest.approx(stats.chi2.sf(statistic, df=3))
    reference = stats.friedmanchisquare(*LOSSES.T)
    assert (statistic, p) == pytest.approx((reference.statistic, reference.pvalue))


def test_the_critical_difference_is_that_of_demsar():
    """2.569 sqrt(4 * 5 / (6 * 14)) = 1.25 at the level 0.05, and 2.291 in place of 2.569 gives 1.12 at 0.10."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=5e-3)


def test_critical_values_are_those_of_demsars_table_5():
    published = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    for k, q in published.items():
        assert critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.5e-3)


def test_nemenyis_p_values_and_critical_difference_say_the_same():
    """By 3.143 - 1.964 = 1.18 < 1.25 no pair differs at 0.05, and by 1.18 > 1.12 the extreme two do at 0.10."""
    pairs = nemenyi(LOSSES)
    assert (pairs > 0.05).all()
    assert 0.05 < pairs[0, 3] < 0.10
    ranks = average_ranks(LOSSES).mean(axis=0)
    for alpha in (0.05, 0.1, 0.2, 0.4):
        apart = np.abs(ranks[:, None] - ranks[None, :]) > critical_difference(4, 14, alpha)
        np.testing.assert_array_equal(pairs < alpha, apart)


def test_wilcoxons_statistic_is_that_of_demsar():
    """Table 2 of the paper: C4.5 against C4.5+m, sums of ranks 93 and 12, significant at 0.05."""
    statistic, p = wilcoxon(LOSSES[:, 0], LOSSES[:, 1])
    assert statistic == 12.0
    assert p < 0.05


# Conover 1999, section 5.8, example 1: twelve home owners rank four kinds of grass. The book finds sums of ranks of 38,
# 23.5, 24.5 and 34, and T1 = 8.097 (corrected for ties), significant at 0.05.
GRASSES = np.array(
    [
        [4, 3, 2, 1], [4, 2, 3, 1], [3, 1.5, 1.5, 4], [3, 1, 2, 4], [4, 2, 1, 3], [2, 2, 2, 4],
        [1, 3, 2, 4], [2, 4, 1, 3], [3.5, 1, 2, 3.5], [4, 1, 3, 2], [4, 2, 3, 1], [3.5, 1, 2, 3.5],
    ]
)  # fmt: skip


def test_friedmans_statistic_is_that_of_conover():
    assert average_ranks(GRASSES).sum(axis=0).tolist() == [38, 23.5, 24.5, 34]
    statistic, p = friedman(GRASSES)
    assert statistic == pytest.approx(8.097, abs=5e-4)
    assert 0.025 < p < 0.05


def test_conovers_pairs_follow_from_the_formula_of_the_book():
    """Two differ when their sums of ranks are further apart than t times the square root in section 5.8, formula 10."""
    n, k = GRASSES.shape
    ranks = average_ranks(GRASSES)
    sums = ranks.sum(axis=0)
    root = math.sqrt(2 * (n * (ranks**2).sum() - (sums**2).sum()) / ((n - 1) * (k - 1)))
    t = np.abs(sums[:, None] - sums[None, :]) / root
    raw = 2 * stats.t.sf(t, df=(n - 1) * (k - 1))
    above = [raw[i, j] for i in range(k) for j in range(i + 1, k)]
    # Holm: the least p-value times the number of pairs, the next times one less, never decreasing, at most 1.
    order = np.argsort(above)
    adjusted = np.empty(len(above))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.array(above)[order] * np.arange(len(above), 0, -1)), 1.0)
    found = holm([conover(GRASSES)])[0]
    assert [found[i, j] for i in range(k) for j in range(i + 1, k)] == pytest.approx(adjusted)


def test_two_optimizers_are_compared_by_wilcoxons_test():
    found = compare(LOSSES[:, :2])
    assert found.test == "Wilcoxon signed-rank"
    assert found.p_value == found.pairs[0, 1] < 0.05


def test_pairs_are_looked_at_only_when_there_is_a_difference_at_all():
    found = compare(LOSSES, alpha=0.01)
    assert found.p_value > 0.01
    # Not tested: there is no p-value.
    np.testing.assert_array_equal(found.pairs, np.where(np.eye(4) == 1, 1.0, np.nan))
    assert (compare(LOSSES).pairs < 0.05).any()


def test_the_same_ranking_in_all_blocks_tells_all_apart():
    found = compare(np.tile([1.0, 2.0, 3.0, 3.0], (6, 1)))
    assert found.pairs.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_equal_optimizers_do_not_differ():
    assert compare(np.ones((5, 3))).p_value == 1.0
    assert compare(np.ones((5, 2))).p_value == 1.0


@given(st.lists(st.lists(st.integers(0, 6).map(float), min_size=3, max_size=3), min_size=2, max_size=9))
@settings(max_examples=20)
def test_tests_of_ranks_depend_on_the_order_of_the_losses_only(rows):
    losses = np.array(rows)
    one, other = compare(losses), compare(np.exp(losses))
    assert (one.statistic, one.p_value) == (other.statistic, other.p_value)
    np.testing.assert_array_equal(one.pairs, other.pairs)
    known = one.pairs[~np.isnan(one.pairs)]
    assert ((known >= 0) & (known <= 1)).all()


@pytest.mark.parametrize(
    ("losses", "text"),
    [
        (np.ones((5, 1)), "compares optimizers, and there is 1"),
        (np.ones((1, 3)), "at least 2 blocks, and there is 1"),
        (np.array([[1.0, math.nan], [1.0, 2.0]]), "a loss is NaN"),
    ],
)
def test_what_cannot_be_tested_is_said(losses, text):
    with pytest.raises(SpecificationError, match=text):
        compare(losses)


def test_wilcoxon_of_a_pair_does_not_depend_on_the_pool_but_for_the_number_of_pairs():
    """Holm's step-down by hand: sorted p-values times 3, 2, 1, never falling."""
    random = np.random.default_rng(3)
    losses = random.normal([0.0, 0.7, 2.0], size=(12, 3))
    raw = {(i, j): stats.wilcoxon(losses[:, i], losses[:, j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))}
    expected, highest = {}, 0.0
    for place, pair in enumerate(sorted(raw, key=raw.get)):
        highest = expected[pair] = max(highest, min(1.0, (3 - place) * raw[pair]))
    found = holm([wilcoxon_pairs(losses)])[0]
    for (i, j), p in expected.items():
        assert found[i, j] == found[j, i] == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("n", range(2, 10))
def test_the_least_p_of_wilcoxon_is_that_of_blocks_that_all_agree(n):
    assert least_wilcoxon_p(n, 1) == pytest.approx(stats.wilcoxon(np.arange(1.0, n + 1)).pvalue, rel=1e-12)
    assert least_wilcoxon_p(n, 28) == min(1.0, 28 * 2.0 ** (1 - n))


def test_the_effect_size_is_the_share_of_the_ranks_for_less_that_against():
    """Kerby 2014 of Demsar's table 2, whose sums of ranks are 93 for C4.5+m and 12 for C4.5."""
    assert rank_biserial(LOSSES[:, 1], LOSSES[:, 0]) == pytest.approx((93 - 12) / 105)
    assert compare(LOSSES).effects[0, 1] == pytest.approx((12 - 93) / 105)
    assert rank_biserial(np.zeros(4), np.ones(4)) == 1.0
    assert rank_biserial(np.ones(4), np.ones(4)) == 0.0


def test_holm_over_a_family_is_holm_over_all_its_p_values():
    """The least times the number of all, the next times one less, never falling; over pairs of all panels at once."""
    random = np.random.default_rng(4)
    panels = [compare(random.normal([0.0, 0.6, 1.5], size=(12, 3)), post_hoc="wilcoxon") for _ in range(3)]
    panels.append(compare(random.normal(size=(12, 3)) * 0 + np.arange(12)[:, None], post_hoc="wilcoxon"))
    found = over_all(panels, 0.05)
    first = sorted(of.p_value for of in panels)
    highest, expected = 0.0, []
    for place, p in enumerate(first):
        highest = max(highest, min(1.0, (len(first) - place) * p))
        expected.append(highest)
    assert sorted(of.p_value for of in found) == pytest.approx(expected)
    tested = [(of, raw) for of, raw in zip(found, panels, strict=True) if not np.isnan(of.pairs).any()]
    assert 1 <= len(tested) < len(panels)
    raw = sorted((one.raw[i, j], of.pairs[i, j]) for of, one in tested for i, j in ((0, 1), (0, 2), (1, 2)))
    highest = 0.0
    for place, (p, adjusted) in enumerate(raw):
        highest = max(highest, min(1.0, (len(raw) - place) * p))
        assert adjusted == pytest.approx(highest)


def test_holms_adjustment_steps_down_and_never_falls():
    """Four p-values, adjusted by hand: 4 x 0.01, 3 x 0.013, 2 x 0.02 and 0.2, none below the one before it."""
    raw = np.ones((2, 2, 2, 2)).reshape(4, 2, 2)
    for panel, p in zip(raw, (0.02, 0.01, 0.2, 0.013), strict=True):
        panel[0, 1] = panel[1, 0] = p
    assert [pairs[0, 1] for pairs in holm(list(raw))] == pytest.approx([0.04, 0.04, 0.2, 0.04])
