"""Observation noise that is a pure function of the seed, the configuration and the fidelity."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

from zerowait.suite.rules.identity import digest

if TYPE_CHECKING:
    from collections.abc import Callable

# Keeps this stream apart from those of zerowait.suite.rules.seeds, which begin with other numbers.
_DOMAIN = 3


def standard_normal(seed: int, canonical: str, fidelity: int) -> float:
    """Return a draw from the standard normal distribution that depends on the three arguments alone.

    Parameters
    ----------
    seed
        An integer from 0 to 2**63 - 1.
    canonical
        The configuration, as `zerowait.suite.rules.identity.canonical_json` writes it; 1 is not 1.0 there.
    fidelity
        An integer from 0 to 2**32 - 1.
    """
    return _quantile()(uniform(seed, canonical, fidelity))


def uniform(seed: int, canonical: str, fidelity: int) -> float:
    """Return a draw from (0, 1), both ends excluded, that depends on the three arguments of `standard_normal` alone."""
    import numpy as np

    # As an array of 32-bit words, which SeedSequence takes without converting each.
    head = struct.pack("<4I", _DOMAIN, seed & 0xFFFFFFFF, seed >> 32, fidelity)
    words = np.frombuffer(head + digest(canonical), dtype="<u4")
    # A SeedSequence's own bits, because NumPy promises that those stay the same in every version, and promises
    # no such thing of the methods of Generator. 52 bits are exact and never give 0 or 1.
    low, high = map(int, np.random.SeedSequence(words).generate_state(2))
    return (((high << 32 | low) >> 12) + 0.5) * 2.0**-52


@cache
def _quantile() -> Callable[[float], float]:
    from statistics import NormalDist  # not above, because a listing of benchmarks needs none of it

    return NormalDist().inv_cdf
