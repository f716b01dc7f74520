"""What counts as a result: three rules, against a recomputation at every time that shares no code with them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zerowait
from zerowait.suite.records.incumbents import incumbents, training_levels
from zerowait.suite.rules.errors import SpecificationError

losses = st.one_of(st.just(math.nan), st.integers(0, 5).map(float))
# NaN is a full training as 9 is.
runs = st.lists(st.tuples(losses, st.sampled_from([1.0, 3.0, 9.0, math.nan])), max_size=30)


def by_definition(values, fidelities, result, highest):
    """The row that is the incumbent after each delivery; None as long as there is none."""
    fidelities = [highest if math.isnan(fidelity) else fidelity for fidelity in fidelities]
    found = []
    for n in range(1, len(values) + 1):
        delivered = [i for i in range(n) if not math.isnan(values[i])]
        if result == "recommended":
            top = max((fidelities[i] for i in delivered), default=None)
            delivered = [i for i in delivered if fidelities[i] == top]
        elif result == "full":
            delivered = [i for i in delivered if fidelities[i] == highest]
        found.append(min(delivered, key=lambda i: (values[i], i), default=None))
    return found


@pytest.mark.parametrize("result", ["recommended", "full", "any"])
@given(runs)
def test_incumbents_are_those_of_the_definition(result, run):
    values = np.array([value for value, _ in run], dtype=float)
    fidelities = np.array([fidelity for _, fidelity in run], dtype=float)
    expected = by_definition(values, fidelities, result, 9.0)
    changes = [row for row, before in zip(expected, [None, *expected], strict=False) if row not in (None, before)]
    assert incumbents(values, fidelities, result, 9.0).tolist() == changes


@given(st.lists(losses, max_size=30))
def test_without_fidelities_the_three_rules_agree(values):
    given_values, none = np.array(values, dtype=float), np.full(len(values), math.nan)
    one, two, three = (incumbents(given_values, none, rule).tolist() for rule in ("recommended", "full", "any"))
    assert one == two == three


def test_a_new_fidelity_takes_over_even_with_a_worse_value():
    values, fidelities = np.array([5.0, 1.0, 4.0, 3.0, 0.0]), np.array([1.0, 1.0, 9.0, 9.0, 1.0])
    assert incumbents(values, fidelities, "recommended").tolist() == [0, 1, 2, 3]
    assert incumbents(values, fidelities, "full", 9.0).tolist() == [2, 3]
    assert incumbents(values, fidelities, "any").tolist() == [0, 1, 4]


several = st.lists(
    st.tuples(losses, st.sampled_from([1.0, 3.0, 9.0, math.nan]), *[st.sampled_from([0.5, 1.0, math.nan])] * 2),
    max_size=30,
)


@pytest.mark.parametrize("result", ["recommended", "full", "any"])
@given(several)
def test_of_several_fidelities_the_others_come_first(result, run):
    """A full training is one at the highest of all of them; a row is compared by the others and then by the first."""
    delivered = [row for row in run if not math.isnan(row[0])]
    top_others = [max((v for row in delivered if not math.isnan(v := row[k])), default=math.nan) for k in (2, 3)]

    def of(row):
        others = [top if math.isnan(v) else v for v, top in zip(row[2:], top_others, strict=True)]
        return (*others, 9.0 if math.isnan(row[1]) else row[1])

    highest_others = max((of(row)[:2] for row in delivered), default=None)
    rank = {level: n for n, level in enumerate(sorted({of(row) for row in delivered}))}
    ranks = [float(rank.get(of(row), -1)) for row in run]
    highest = float(rank.get((*(highest_others or ()), 9.0), math.inf))
    expected = by_definition([row[0] for row in run], ranks, result, highest)
    changes = [row for row, before in zip(expected, [None, *expected], strict=False) if row not in (None, before)]
    table = pd.DataFrame(run, columns=["value", "fidelity", "fidelity.a", "fidelity.b"], dtype=float)
    assert incumbents(table["value"].to_numpy(), training_levels(table), result, 9.0).tolist() == changes


def test_with_others_that_are_the_same_everywhere_the_levels_are_the_fidelities():
    table = pd.DataFrame({"value": [1.0, 2.0, math.nan], "fidelity": [3.0, math.nan, 9.0], "fidelity.a": 0.5})
    np.testing.assert_array_equal(training_levels(table), table["fidelity"])


def test_an_unknown_rule_is_named():
    with pytest.raises(SpecificationError, match="result is 'best'; it must be one of recommended, full, any"):
        zerowait.load_incumbents("nowhere", result="best")
