"""Fronts of several objectives, all minimised: hypervolume and attainment, by the library of those who defined them.

moocore (Lopez-Ibanez, Rooney and Schaepermeier) has the exact algorithms of Fonseca et al. for both, in C and behind an
interface of arrays; pymoo takes its hypervolume from there and has no attainment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.plots.statistics.arithmetic import Floats


def hypervolume(points: Floats) -> float:
    """Return the hypervolume that points, shape (n, m), dominate within the reference point (1, ..., 1).

    Zitzler and Thiele 1998 (doi:10.1007/BFb0056872). What is not better than the reference point in each objective
    adds nothing.
    """
    import moocore

    return float(moocore.hypervolume(points, ref=np.ones(points.shape[1]))) if len(points) else 0.0


def hypervolumes(points: Floats) -> Floats:
    """Return the hypervolume of the first k points for each k, shape (n,); `points` as for `hypervolume`."""
    import moocore

    out = np.zeros(len(points))
    front = np.empty((0, points.shape[1]))
    for k, point in enumerate(points):
        if (front <= point).all(axis=1).any():
            out[k] = out[k - 1]
            continue
        front = moocore.filter_dominated(np.vstack([front, point]))
        out[k] = hypervolume(front)
    return out


def attained(runs: Sequence[Floats], shares: Sequence[float]) -> list[Floats]:
    """Return for each share the front of what at least this share of the runs attains, sorted by the first objective.

    The empirical attainment function (Grunert da Fonseca, Fonseca and Hall 2001, doi:10.1007/3-540-44719-9_15).

    Parameters
    ----------
    runs
        The points of each run, shape (n, 2) each; one without any attains nothing.
    shares
        Above 0 and at most 1.
    """
    import moocore

    sets = np.repeat(np.arange(len(runs)), [len(points) for points in runs])
    found: list[Floats] = []
    # Each run counts, also one without a point, which moocore would not know of.
    levels = [int(np.ceil(share * len(runs) - 1e-9)) for share in shares]
    there = sum(len(points) > 0 for points in runs)
    for level in levels:
        if level > there:
            found.append(np.empty((0, 2)))
            continue
        surface = moocore.eaf(np.vstack(runs), sets, percentiles=[100 * level / there])[:, :2]
        found.append(surface[np.argsort(surface[:, 0], kind="stable")])
    return found
