"""Objectives and optimizers that fail, and what must hold afterwards; the tests of failures share them."""

from __future__ import annotations

from modes import Scripted

from zerowait.suite import Evaluation, Overhead
from zerowait.suite.records.check import check

NONE = Overhead.none()
HANG = 240.0
"""Real seconds after which a test is over whatever happens; what is waited for takes milliseconds."""


def is_intact(directory, n_records):
    report = check(directory)
    assert report.violations == ()
    assert report.n_records == n_records


class Fails:
    """Configuration 1 raises the error, if there is one; the others run 5 s."""

    def __init__(self, error=None):
        self.error = error

    def __call__(self, config):
        if config["x"] == 1 and self.error is not None:
            raise self.error
        return Evaluation(float(config["x"]), 5.0)


class Breaks(Scripted):
    """An optimizer that raises in its fourth tell."""

    told = 0

    def tell(self, _query, _evaluation):
        self.told += 1
        if self.told == 4:
            raise RuntimeError("the surrogate is singular")
