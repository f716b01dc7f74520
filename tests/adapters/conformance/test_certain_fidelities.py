"""Optimizers on a benchmark that has certain fidelities only, as HPOBench has 27, 81 and 243 epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from zerowait.adapters.conformance.benchmark import Bowl
from zerowait.adapters.registry import load
from zerowait.adapters.spaces import between_fidelities, nearest_fidelity
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError


@dataclass(frozen=True)
class Rungs:
    lower: int = 27
    upper: int = 243
    name: ClassVar[str] = "epoch"
    integer: ClassVar[bool] = True
    values: ClassVar[tuple[int, ...]] = (27, 81, 243)


ETA = {
    "optuna-hyperband": "reduction_factor", "smac-hyperband": "eta", "bohb": "eta",
    "hyperband": "eta", "dehb": "eta", "neps-hyperband": "eta", "neps-asha": "eta",
}  # fmt: skip
"""The optimizers with rungs, and what they call the factor between two of them."""


def run(name, **parameters):
    return load(name, **parameters).optimize(
        Bowl(fidelity=Rungs()), n_workers=2, seed=1, budget=Budget(max_evaluations=20), overhead=Overhead.none(),
        mode="ask_tell",
    )  # fmt: skip


@pytest.mark.parametrize("name", ETA)
def test_optimizers_ask_for_the_fidelities_that_there_are(name):
    assert load(name).refuses(Bowl(fidelity=Rungs())) is None
    trace = run(name)
    assert 27 in set(trace["fidelity"])
    assert set(trace["fidelity"]) <= {27, 81, 243}
    assert set(trace["status"]) == {"ok"}


@pytest.mark.parametrize("name", ETA)
def test_an_optimizer_whose_rungs_lie_between_the_fidelities_is_refused_and_never_gets_another_training(name):
    with pytest.raises(SpecificationError, match=r"asks for epoch \d+, and the benchmark has only 27, 81, 243"):
        run(name, **{ETA[name]: 2})


def test_a_budget_that_is_a_fidelity_but_for_rounding_is_taken():
    assert [nearest_fidelity(Rungs(), budget) for budget in (27.0000001, 80.99999, 243, 500, 3)] == [
        27,
        81,
        243,
        243,
        27,
    ]


@pytest.mark.parametrize("budget", [30, 122, 121.5, 242.4])
def test_a_budget_between_two_fidelities_is_refused_with_what_there_is(budget):
    with pytest.raises(
        SpecificationError, match=r"asks for epoch \d+, and the benchmark has only 27, 81, 243; give another eta"
    ):
        nearest_fidelity(Rungs(), budget)
    assert between_fidelities(Rungs(), [27, 81, 243]) is None


def test_a_remedy_for_a_missing_fidelity_is_part_of_the_refusal():
    @dataclass(frozen=True)
    class Poor(Bowl):
        fidelity_remedy: str = "FILE is not there; get it with: COMMAND"

    reason = load("optuna-hyperband").refuses(Poor(fidelity=None))
    assert reason.endswith("the benchmark has no fidelity: FILE is not there; get it with: COMMAND")
