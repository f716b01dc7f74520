"""Which optimizers differ, and which merely seem to: tests over blocks, by scipy and scikit-posthocs.

The procedure of Demsar 2006 (JMLR 7:1-30): two optimizers are compared by Wilcoxon's signed-rank test; more by
Friedman's test, and pairs only when it finds any difference at all. A block is a benchmark, its number the mean over
seeds; repeated runs of one benchmark are no independent blocks.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from zerowait.plots.statistics.arithmetic import average_ranks
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.plots.statistics.arithmetic import Floats

PostHoc = Literal["conover", "nemenyi", "wilcoxon"]
Family = Literal["panel", "all"]
"""Over what p-values are adjusted: the pairs of a panel, or those of all panels together."""
FEWEST_BLOCKS = 2


@dataclass(frozen=True, eq=False)
class Comparison:
    """How k optimizers compare over n blocks."""

    test: str
    """Name of the first test: "Friedman" or "Wilcoxon signed-rank"."""
    statistic: float
    """Of the first test: Friedman's chi-squared, corrected for ties, or Wilcoxon's lesser sum of ranks."""
    p_value: float
    """Of the first test."""
    ranks: Floats
    """Average rank of each optimizer, shape (k,)."""
    pairs: Floats
    """Adjusted p-value of each pair, shape (k, k), 1 on the diagonal; NaN where the first test found no difference, so
    that no pair was tested."""
    raw: Floats
    """The same as the test gives them, whatever the first test found; those of Nemenyi's are adjusted in themselves."""
    effects: Floats
    """Of the row against the column, shape (k, k); see `rank_biserial`."""
    n_blocks: int
    """Number of blocks."""


def compare(losses: Floats, *, alpha: float = 0.05, post_hoc: PostHoc = "conover") -> Comparison:
    """Compare optimizers by their losses on the same blocks.

    Parameters
    ----------
    losses
        Shape (n, k): n blocks, k optimizers; no NaN.
    alpha
        Level of the first test, above which no pair is looked at.
    post_hoc
        For three or more: Conover's test (Conover 1999, Practical Nonparametric Statistics, section 5.8) with the
        adjustment of Holm 1979; Nemenyi's (Demsar 2006, section 3.2.2), which is adjusted in itself; or Wilcoxon's
        signed-rank test with the adjustment of Holm, whose result for a pair does not depend on who else is in the pool
        but for the number of pairs (Benavoli et al. 2016, JMLR 17(5):1-10).

    Raises
    ------
    SpecificationError
        There are less than two optimizers or blocks, a loss is NaN, or `alpha` is not between 0 and 1.
    """
    n, k = losses.shape
    if k < 2:  # noqa: PLR2004 - a comparison has two sides
        raise SpecificationError(f"a test compares optimizers, and there is {k}; choose at least 2")
    if n < FEWEST_BLOCKS:
        raise SpecificationError(
            f"a test needs at least {FEWEST_BLOCKS} blocks, and there is {n}; add benchmarks, or set blocks_are=seed"
        )
    if np.isnan(losses).any():
        raise SpecificationError("a loss is NaN; leave out the blocks in which an optimizer has no result")
    if not 0 < alpha < 1:
        raise SpecificationError(f"alpha is {alpha}; it must be between 0 and 1")
    ranks = average_ranks(losses).mean(axis=0)
    effects = np.array([[rank_biserial(losses[:, i], losses[:, j]) for j in range(k)] for i in range(k)])
    if k == 2:  # noqa: PLR2004 - a comparison has two sides
        statistic, p = wilcoxon(losses[:, 0], losses[:, 1])
        raw = np.array([[1.0, p], [p, 1.0]])
        return Comparison("Wilcoxon signed-rank", statistic, p, ranks, raw, raw, effects, n)
    statistic, p = friedman(losses)
    raw = {"conover": conover, "nemenyi": nemenyi, "wilcoxon": wilcoxon_pairs}[post_hoc](losses)
    found = Comparison("Friedman", statistic, p, ranks, raw, raw, effects, n)
    if p >= alpha:
        return _untested(found)
    return found if post_hoc == "nemenyi" else replace(found, pairs=holm([raw])[0])


def _untested(found: Comparison) -> Comparison:
    pairs: Floats = np.full(found.raw.shape, math.nan)
    np.fill_diagonal(pairs, 1.0)
    return replace(found, pairs=pairs)


def over_all(panels: Sequence[Comparison], alpha: float) -> list[Comparison]:
    """Return the comparisons with p-values that are adjusted after Holm 1979 over all of them.

    The first tests are adjusted over the panels, and the pairs of those panels in which one finds a difference over all
    those pairs.
    """
    from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

    first = multipletests([of.p_value for of in panels], method="holm")[1]
    tested = iter(holm([of.raw for of, p in zip(panels, first, strict=True) if p < alpha or of.test != "Friedman"]))
    return [
        replace(of, p_value=float(p), pairs=next(tested))
        if p < alpha or of.test != "Friedman"
        else _untested(replace(of, p_value=float(p)))
        for of, p in zip(panels, first, strict=True)
    ]


def holm(panels: Sequence[Floats]) -> list[Floats]:
    """Return matrices of p-values of pairs, shapes (k, k), adjusted over all pairs of all of them (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not panels:
        return []
    places = [np.triu_indices(len(raw), 1) for raw in panels]
    adjusted = iter(multipletests(np.concatenate([raw[at] for raw, at in zip(panels, places, strict=True)]),
                                  method="holm")[1])  # fmt: skip
    out = []
    for raw, (i, j) in zip(panels, places, strict=True):
        pairs = np.ones_like(raw)
        pairs[i, j] = pairs[j, i] = [next(adjusted) for _ in i]
        out.append(pairs)
    return out


def rank_biserial(first: Floats, second: Floats) -> float:
    """Return the matched-pairs rank-biserial correlation, an effect size beside Wilcoxon's test (Kerby 2014).

    The share of the sum of ranks that speaks for the first less the share that speaks for the second: 1 where the first
    has the lesser loss in all blocks, 0 where nothing is known (doi:10.2466/11.IT.3.1). A difference of 0 is for both.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    differences = second - first
    ranks = rankdata(np.abs(differences))
    return float((ranks * np.sign(differences)).sum() / ranks.sum())


def wilcoxon(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the lesser sum of ranks and the two-sided p-value of Wilcoxon's signed-rank test, shapes (n,).

    Differences of 0 are split between both signs (Pratt 1959's ranks halved, as in Demsar 2006, section 3.1.3). Equal
    samples give p = 1.
    """
    from scipy import stats  # type: ignore[import-untyped]

    differences = first - second
    if not differences.any():
        return math.nan, 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few blocks or ties: the caption says how many there are
        result = stats.wilcoxon(differences, zero_method="zsplit")
    return float(result.statistic), float(result.pvalue)


def friedman(losses: Floats) -> tuple[float, float]:
    """Return Friedman's chi-squared, corrected for ties, and its p-value (Friedman 1937; Conover 1999, section 5.8).

    Optimizers that are tied in every block give p = 1.
    """
    from scipy import stats

    if (average_ranks(losses) == (losses.shape[1] + 1) / 2).all():
        return 0.0, 1.0
    result = stats.friedmanchisquare(*average_ranks(losses).T)
    return float(result.statistic), float(result.pvalue)


def conover(losses: Floats) -> Floats:
    """Return the p-values of Conover's test of all pairs, shape (k, k) (Conover 1999, section 5.8).

    Where all blocks have the very same ranking, the test's variance is 0: optimizers of different ranks differ (p = 0),
    tied ones do not (p = 1).
    """
    import scikit_posthocs  # type: ignore[import-untyped]

    ranks = average_ranks(losses)
    if (ranks == ranks[0]).all():
        return np.where(ranks[0][:, None] == ranks[0][None, :], 1.0, 0.0)
    return np.asarray(scikit_posthocs.posthoc_conover_friedman(ranks), dtype=np.float64)


def nemenyi(losses: Floats) -> Floats:
    """Return the p-values of Nemenyi's test of all pairs, shape (k, k) (Demsar 2006, section 3.2.2)."""
    import scikit_posthocs

    return np.asarray(scikit_posthocs.posthoc_nemenyi_friedman(average_ranks(losses)), dtype=np.float64)


def wilcoxon_pairs(losses: Floats) -> Floats:
    """Return the p-values of Wilcoxon's signed-rank test of all pairs, shape (k, k)."""
    k = losses.shape[1]
    pairs = np.ones((k, k))
    for i, j in zip(*np.triu_indices(k, 1), strict=True):
        pairs[i, j] = pairs[j, i] = wilcoxon(losses[:, i], losses[:, j])[1]
    return pairs


def least_wilcoxon_p(n_blocks: int, n_pairs: int) -> float:
    """Return the least adjusted p-value that Wilcoxon's test of so many pairs over so many blocks can give.

    All differences of one sign have the probability 2 / 2^n (Wilcoxon 1945), times the number of pairs.
    """
    return min(1.0, n_pairs * 2.0 ** (1 - n_blocks))


def critical_difference(n_optimizers: int, n_blocks: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of average ranks: q sqrt(k (k + 1) / (6 n)) (Demsar 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, n_optimizers, math.inf)) / math.sqrt(2)
    return q * math.sqrt(n_optimizers * (n_optimizers + 1) / (6 * n_blocks))
