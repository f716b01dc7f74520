"""How probable it is that one optimizer is better than another by more than a little: the Bayesian signed-rank test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zerowait.plots.statistics.arithmetic import Floats

DRAWS = 10_000
"""Of the posterior: two standard errors of a probability are at most 0.01."""
PRIOR = 0.5
"""Weight of one observation of no difference, as in Benavoli et al. 2017, section 4.2.2."""


def signed_rank_probabilities(
    differences: Floats, rope: float, random: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Return the probabilities that a new difference is below, within and above the region of practical equivalence.

    The Bayesian signed-rank test (Benavoli et al. 2014, ICML; 2017, JMLR 18(77), section 4.2.2): the differences and
    one of 0 get weights of a Dirichlet distribution, and the mean of two of them, drawn by these weights, falls into
    one of the three regions; the probabilities are the shares of the weights with which that region is the most
    likely one. The package `baycomp` gives the same in a loop over the draws, from NumPy's older generators.

    Parameters
    ----------
    differences
        Of the losses, one a block, shape (n,).
    rope
        Half the width of the region around 0.
    random
        Source of the weights.
    draws
        Of the weights.
    """
    z = np.append(0.0, differences)
    means = (z[:, None] + z[None, :]) / 2
    weights = random.dirichlet(np.append(PRIOR, np.ones(len(differences))), draws)
    # On a bound counts half to either side, so that without a region no difference is half of both.
    below = (means < -rope) + 0.5 * (means == -rope)
    above = (means > rope) + 0.5 * (means == rope)
    left, right = (np.einsum("ri,ij,rj->r", weights, side, weights, optimize=True) for side in (below, above))
    within = np.clip(1 - left - right, 0.0, None) if rope > 0 else np.zeros(draws)
    largest = np.argmax([left, within, right], axis=0)
    shares = np.bincount(largest, minlength=3) / draws
    return float(shares[0]), float(shares[1]), float(shares[2])
