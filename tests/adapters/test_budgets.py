"""The fidelities of rungs that an adapter states before anything starts are those of its library."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ConfigSpace import ConfigurationSpace

from zerowait import adapters
from zerowait.benchmarks import Fidelity

RANGES = [(1, 81), (6, 52), (6, 54), (11, 100), (3, 243), (22, 200), (5, 25), (100, 500), (1, 2), (1, 1000)]


def benchmark(lower, upper):
    space = ConfigurationSpace({"x": (0.0, 1.0)})
    return SimpleNamespace(space=space, label="b", fidelity=Fidelity("epoch", lower, upper, integer=True))


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize(("lower", "upper"), RANGES)
def test_the_rungs_of_dehb_and_smac_are_those_that_the_libraries_compute(lower, upper, eta):
    import numpy as np

    dehb = pytest.importorskip("dehb.optimizers.dehb")
    halving = pytest.importorskip("smac.intensifier.successive_halving").SuccessiveHalving
    made = SimpleNamespace(min_fidelity=lower, max_fidelity=upper, eta=eta)
    dehb.DEHBBase._pre_compute_fidelity_spacing(made)
    expected = [round(budget) for budget in made.fidelities.tolist()]
    assert adapters.load("dehb", eta=eta).budgets(benchmark(lower, upper)) == expected
    last = halving._get_max_iterations(eta, upper, lower)
    budgets, _ = halving._compute_configs_and_budgets_for_stages(eta, upper, last)
    expected = [round(budget) for budget in np.asarray(budgets).tolist()]
    assert adapters.load("smac-hyperband", eta=eta).budgets(benchmark(lower, upper)) == expected


@pytest.mark.parametrize("name", ["random", "neps-ifbo", "optuna-tpe"])
def test_an_optimizer_without_rungs_has_no_budgets(name):
    try:
        adapter = adapters.load(name)
    except ValueError:
        pytest.skip(f"{name} cannot be loaded here")
    assert adapter.budgets(benchmark(1, 27)) is None
