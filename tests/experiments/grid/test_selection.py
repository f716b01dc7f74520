"""`--only`: some cells of a study; the language itself is tested in tests/suite/records/test_selection.py."""

from __future__ import annotations

import pytest

from zerowait.experiments.grid.selection import select
from zerowait.suite.rules.errors import SpecificationError


@pytest.fixture
def cells(plan):
    return plan(("workers = [1, 3]", "workers = [1, 2, 4, 8]"), ("seeds = 2", "seeds = 8")).cells


@pytest.mark.parametrize("text", ["optuna*,*,P=8,seed<5", "optimizer=optuna*,P=8,seed=0..4"])
def test_patterns_and_conditions_must_all_be_true(cells, text):
    found = select(cells, [text])
    assert [(cell.label, cell.n_workers, cell.seed) for cell in found] == [("optuna-tpe", 8, n) for n in range(5)]


def test_several_selections_are_united_in_the_order_of_the_study(cells):
    found = select(cells, ["random,*,seed=1", "random,*,seed<2,P=1"])
    assert [(cell.seed, cell.n_workers) for cell in found] == [(0, 1), (1, 1), (1, 2), (1, 4), (1, 8)]


def test_a_selection_of_nothing_says_what_there_is(cells):
    message = (
        r"no run meets 'optimizer=smac\*'; there are optimizer optuna-tpe, random; benchmark branin; P 1, 2, 4, 8; "
        "seed 0 to 7"
    )
    with pytest.raises(SpecificationError, match=message):
        select(cells, ["random", "smac*"])
