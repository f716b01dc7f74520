"""The Bayesian signed-rank test, against the published comparisons of five classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zerowait.plots.statistics.bayes import signed_rank_probabilities

# Accuracies in percent of five classifiers on 54 data sets of UCI, means over ten runs of ten-fold cross-validation,
# from the data of Benavoli et al. 2017 (github.com/BayesianTestsML/tutorial, Julia/Data), and the probabilities that
# its notebook 6 prints for the paper: that the first is better, that they are the same by 0.01, and the second better.
ACCURACIES = pd.read_csv(Path(__file__).parent / "benavoli_2017.csv")
PUBLISHED = {
    ("nbc", "aode"): (0.000, 0.123, 0.877),
    ("nbc", "hnb"): (0.000, 0.001, 0.999),
    ("nbc", "j48"): (0.228, 0.006, 0.766),
    ("nbc", "j48gr"): (0.179, 0.004, 0.817),
    ("aode", "hnb"): (0.001, 0.965, 0.034),
    ("aode", "j48"): (0.904, 0.034, 0.062),
    ("aode", "j48gr"): (0.883, 0.046, 0.071),
    ("hnb", "j48"): (0.962, 0.020, 0.019),
    ("hnb", "j48gr"): (0.950, 0.026, 0.024),
    ("j48", "j48gr"): (0.000, 1.000, 0.000),
}


@pytest.mark.parametrize(("pair", "published"), PUBLISHED.items())
def test_the_probabilities_are_those_of_benavoli(pair, published):
    losses = [1.0 - ACCURACIES[name].to_numpy() / 100 for name in pair]
    found = signed_rank_probabilities(losses[0] - losses[1], 0.01, np.random.default_rng(0))
    # Both are shares of draws: 10,000 here, at most 30,000 there; five standard errors of the difference.
    assert found == pytest.approx(published, abs=0.03)
    assert sum(found) == pytest.approx(1.0)


def test_a_test_turned_round_gives_the_same_turned_round():
    differences = np.random.default_rng(1).normal(0.3, 1.0, 9)
    one = signed_rank_probabilities(differences, 0.2, np.random.default_rng(2))
    other = signed_rank_probabilities(-differences, 0.2, np.random.default_rng(2))
    assert one == other[::-1]


def test_without_differences_everything_is_the_same():
    assert signed_rank_probabilities(np.zeros(5), 0.01, np.random.default_rng(0)) == (0.0, 1.0, 0.0)
