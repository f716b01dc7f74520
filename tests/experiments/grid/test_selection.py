"""`--only`: some cells of a study."""

from __future__ import annotations

import pytest

from zerowait.experiments.grid.selection import parse_selection, select
from zerowait.suite.rules.errors import SpecificationError


@pytest.fixture
def cells(plan):
    return plan(("workers = [1, 3]", "workers = [1, 2, 4, 8]"), ("seeds = 2", "seeds = 8")).cells


@pytest.mark.parametrize(
    ("text", "labels", "workers", "seeds"),
    [
        ("optuna*,*,P=8,seed<5", {"optuna-tpe"}, {8}, {0, 1, 2, 3, 4}),
        ("random", {"random"}, {1, 2, 4, 8}, set(range(8))),
        ("*,bran?n,P>=4", {"random", "optuna-tpe"}, {4, 8}, set(range(8))),
        ("seed=2..4,P=2-4", {"random", "optuna-tpe"}, {2, 4}, {2, 3, 4}),
        ("*,*, P<=1 , seed!=1..7", {"random", "optuna-tpe"}, {1}, {0}),
        ("P>4,seed>6", {"random", "optuna-tpe"}, {8}, {7}),
        ("P<2", {"random", "optuna-tpe"}, {1}, set(range(8))),
    ],
)
def test_patterns_and_conditions_must_all_be_true(cells, text, labels, workers, seeds):
    found = select(cells, [text])
    assert {cell.label for cell in found} == labels
    assert {cell.n_workers for cell in found} == workers
    assert {cell.seed for cell in found} == seeds
    assert len(found) == len(labels) * len(workers) * len(seeds)


def test_several_selections_are_united_in_the_order_of_the_study(cells):
    found = select(cells, ["random,*,seed=1", "random,*,seed<2,P=1"])
    assert [(cell.seed, cell.n_workers) for cell in found] == [(0, 1), (1, 1), (1, 2), (1, 4), (1, 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c", "of which 'c' is not understood; write OPTIMIZER,BENCHMARK,CONDITION"),
        ("P=1,random", "of which 'random' is not understood"),
        ("", "of which '' is not understood"),
        ("*,*,Q=1", "of which 'Q=1' compares 'Q'; allowed: P, seed"),
        ("*,*,P=x", "compares with 'x'; allowed after =: a number, or a range such as 2..5"),
        ("*,*,P<2..3", "compares with '2..3'; allowed after <: a number"),
    ],
)
def test_what_is_not_understood_is_named(text, message):
    with pytest.raises(SpecificationError) as error:
        parse_selection(text)
    assert message in str(error.value)


def test_a_selection_of_nothing_says_what_there_is(cells):
    message = (
        r"'smac\*' selects none of 64 cells; the study has the optimizers random, optuna-tpe, the benchmarks branin, "
        r"P 1, 2, 4, 8 and seeds 0 to 7"
    )
    with pytest.raises(SpecificationError, match=message):
        select(cells, ["random", "smac*"])
