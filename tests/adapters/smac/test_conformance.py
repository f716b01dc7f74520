"""SMAC's facades keep what every adapter must keep."""

from __future__ import annotations

import pytest

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, conditional_space

SEARCH = {"challengers": 50, "local_search_iterations": 2}
"""Settings that make a sample cheap."""


class TestHyperbandWhenAsked(AdapterConformance):
    modes = ("ask_tell",)
    benchmark = Bowl(conditional_space)
    evaluations = 36  # the first bracket promotes when 27 configurations are evaluated

    @pytest.fixture
    def adapter(self):
        return load("smac-hyperband")


class TestHyperbandOnSimulatedWorkers(TestHyperbandWhenAsked):
    modes = ("native-simulated",)


@pytest.mark.stress  # each of some ten runs starts a cluster, which takes seconds
class TestHyperband(TestHyperbandWhenAsked):
    modes = ("native", "ask_tell")


# Their machinery is that of Hyperband, and test_smac.py compares their runs with those of the library.


@pytest.mark.stress
class TestMultiFidelity(AdapterConformance):
    evaluations = 50

    @pytest.fixture
    def adapter(self):
        return load("smac-mf", **SEARCH, n_trees=4)


@pytest.mark.stress
class TestHpo(AdapterConformance):
    benchmark = Bowl(conditional_space)
    evaluations = 16

    @pytest.fixture
    def adapter(self):
        return load("smac-hpo", **SEARCH, n_trees=4)


@pytest.mark.stress
class TestBlackBox(AdapterConformance):
    benchmark = Bowl(conditional_space)
    evaluations = 20  # so many that some fail: of the first 24 on the space without conditions none does

    @pytest.fixture
    def adapter(self):
        return load("smac-blackbox", **SEARCH, retrain_after=3)
