"""Random configurations come from the space's own prior, in plain Python values, and from the seed alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from ConfigSpace import (
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    Integer,
)
from ConfigSpace import (
    OrdinalHyperparameter as Ordinal,
)

from zerowait.adapters.spaces import plain, random_configs


@pytest.fixture
def space():
    space = ConfigurationSpace(
        space=[
            Float("rate", (1e-9, 1.0), log=True),
            Integer("units", (1, 100), log=True),
            Categorical("mixed", [1, 2.5, "a", None, (1, 2)]),
            Categorical("numbers", [1, 2.5]),
            Categorical("flag", [True, False]),
            Ordinal("size", [1, 2.5]),
            Constant("fixed", (1, 2)),
            Float("extra", (0.0, 1.0)),
        ]
    )
    space.add(EqualsCondition(space["extra"], space["flag"], True))
    space.add(
        ForbiddenAndConjunction(ForbiddenEqualsClause(space["flag"], False), ForbiddenEqualsClause(space["numbers"], 1))
    )
    return space


def sample(space, seed, number=300):
    return list(islice(random_configs(space, seed), number))


def test_the_seed_decides_the_sequence(space):
    assert sample(space, 1) == sample(space, 1)
    assert sample(space, 1) != sample(space, 2)


def test_the_generator_of_the_space_is_neither_used_nor_moved(space):
    before = space.random.get_state()[1].copy()
    first = sample(space, 1)
    assert np.array_equal(space.random.get_state()[1], before)
    space.seed(99)
    assert sample(space, 1) == first


def test_values_are_plain_python(space):
    for config in sample(space, 3):
        for value in config.values():
            assert type(value) in {bool, int, float, str, tuple, type(None)}


def test_choices_keep_the_type_that_the_author_gave_them(space):
    assert {type(config["numbers"]) for config in sample(space, 3)} == {int, float}
    assert {type(config["size"]) for config in sample(space, 3)} == {int, float}
    assert {config["mixed"] for config in sample(space, 3)} == {1, 2.5, "a", None, (1, 2)}
    assert all(config["fixed"] == (1, 2) for config in sample(space, 3))


def test_conditions_and_forbidden_clauses_hold(space):
    for config in sample(space, 4):
        assert ("extra" in config) == config["flag"]
        assert config["flag"] or config["numbers"] != 1
        Configuration(space, values=config)


def test_small_numbers_keep_their_digits():
    # A ConfigSpace configuration rounds to 13 decimals, which leaves a rate of 1e-10 three digits.
    space = ConfigurationSpace(space=[Float("rate", (1e-10, 2e-10), log=True)])
    rates = [config["rate"] for config in sample(space, 5, 100)]
    assert len(set(rates)) == 100
    assert all(1e-10 <= rate <= 2e-10 for rate in rates)


def test_numpy_scalars_become_plain():
    assert type(plain(np.float64(1.5))) is float
    assert type(plain(np.str_("a"))) is str
    assert type(plain(np.bool_(True))) is bool
    assert plain((1, 2)) == (1, 2)
