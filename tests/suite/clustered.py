"""Clusters, and what the tests run on them."""

from __future__ import annotations

from dataclasses import dataclass

from modes import queries

from zerowait.suite import Evaluation
from zerowait.suite.rules.cluster import Cluster

EVERYTHING = Cluster(
    speeds=[1.0, 0.5], stragglers={"half_normal": 0.5}, failures={"probability": 0.2},
    preemptions={"rate": 0.02, "back": 0.2}, retries=1,
)  # fmt: skip
COMING_AND_GOING = Cluster(
    speeds=[1.0, 0.5], arrivals=[5.0, 0.0, 7.0], departures=[30.0, None, 12.5], failures={"rate": 0.05}, retries=1,
    preemptions={"rate": 0.02, "back": 0.2},
)  # fmt: skip
WITH_CHECKPOINTS = Cluster(speeds={"lognormal": 0.5}, preemptions={"rate": 0.1, "back": 0.2}, checkpoints=True)


@dataclass(frozen=True)
class Ladder:
    """A training of so many seconds an epoch; it can be sent to other processes."""

    seconds: tuple[float, ...]

    def __call__(self, config, *, fidelity=None):
        return Evaluation(float(config["x"]), self.seconds[config["x"]] * (fidelity or 27.0))


def climbing(n_configs, n):
    return queries(*[(k % n_configs, (1.0, 3.0, 9.0, None)[k // n_configs % 4]) for k in range(n)])
