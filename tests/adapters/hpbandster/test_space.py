"""A ConfigSpace and its translation for HpBandSter describe the same configurations, and sample the same ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ConfigSpace import (
    AndConjunction,
    Configuration,
    ConfigurationSpace,
    EqualsCondition,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    ForbiddenEqualsRelation,
    ForbiddenGreaterThanRelation,
    ForbiddenInClause,
    GreaterThanCondition,
    InCondition,
    LessThanCondition,
    NotEqualsCondition,
    OrConjunction,
)
from ConfigSpace.forbidden import ForbiddenGreaterThanClause, ForbiddenLessThanEqualsClause, ForbiddenOrConjunction
from ConfigSpace.hyperparameters import (
    BetaFloatHyperparameter,
    BetaIntegerHyperparameter,
    CategoricalHyperparameter,
    Constant,
    NormalFloatHyperparameter,
    NormalIntegerHyperparameter,
    NumericalHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from hypothesis import given
from hypothesis import strategies as st

from zerowait.adapters.conformance.benchmark import conditional_space
from zerowait.adapters.hpbandster.space import HpBandSterSpace, refuses_space
from zerowait.adapters.spaces import config_from_vector, plain

texts = st.text(
    st.characters(exclude_characters="\0"), max_size=5
)  # NumPy's texts, and so ConfigSpace's, lose a last NUL
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), texts)
values = st.one_of(scalars, st.tuples(st.integers(0, 9), st.integers(0, 9)))
choices = st.lists(values, min_size=1, max_size=6, unique=True)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def numbers(draw, name):
    log = draw(st.booleans())
    if draw(st.booleans()):
        lower = draw(st.integers(1, 10**4) if log else st.integers(-(10**6), 10**6))
        return UniformIntegerHyperparameter(name, lower, lower + draw(st.integers(1, 10**6)), log=log)
    lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
    return UniformFloatHyperparameter(name, lower, lower + draw(st.floats(1e-3, 1e6)), log=log)


@st.composite
def choosing(draw, name):
    drawn = draw(choices)
    weights = draw(st.none() | st.lists(st.floats(0.1, 10), min_size=len(drawn), max_size=len(drawn)))
    return CategoricalHyperparameter(name, drawn, default_value=draw(st.sampled_from(drawn)), weights=weights)


@st.composite
def ordered(draw, name):
    drawn = draw(choices)
    return OrdinalHyperparameter(name, drawn, default_value=draw(st.sampled_from(drawn)))


@st.composite
def constants(draw, name):
    return Constant(name, draw(values))


@st.composite
def spaces(draw):
    kinds = draw(st.lists(st.sampled_from([numbers, choosing, ordered, constants]), min_size=1, max_size=6))
    space = ConfigurationSpace(space=[draw(kind(f"p{number}")) for number, kind in enumerate(kinds)])
    names = list(space)
    for parent, child in pairwise(names):  # a chain of conditions, as long as it is drawn
        options = getattr(space[parent], "choices", getattr(space[parent], "sequence", None))
        if options is not None and draw(st.booleans()):
            wanted = draw(st.lists(st.sampled_from(options), min_size=1, max_size=3, unique=True))
            kinds = [EqualsCondition(space[child], space[parent], wanted[0])]
            kinds.append(InCondition(space[child], space[parent], wanted))
            if not space.parents_of[parent]:  # what an inactive parent is not equal to, ConfigSpace says in two ways
                kinds.append(NotEqualsCondition(space[child], space[parent], wanted[0]))
            space.add(draw(st.sampled_from(kinds)))
    return space


def sampled(space, seed, n=5):
    space.seed(seed)
    return space.sample_configuration(n)


def typed(config):
    return [(name, type(value), value) for name, value in config.items()]


@given(spaces(), seeds, st.booleans())
def test_configurations_survive_the_round_trip_with_their_types(space, seed, integers):
    assert refuses_space(space) is None
    translation = HpBandSterSpace(space, integers_for_ordinals=integers)
    for configuration in sampled(space, seed):
        config = config_from_vector(space, configuration.get_array())
        encoded = translation.encode(config)
        assert all(type(value) in {int, float} for value in encoded.values())
        Configuration(translation.space, values=encoded).check_valid_configuration()
        assert typed(translation.decode(encoded)) == typed(config)


@given(spaces(), seeds)
def test_the_translation_samples_what_the_space_does(space, seed):
    translation = HpBandSterSpace(space, integers_for_ordinals=False)
    for ours, theirs in zip(sampled(space, seed), sampled(translation.space, seed), strict=True):
        np.testing.assert_array_equal(ours.get_array(), theirs.get_array())
        decoded = translation.decode({name: plain(value) for name, value in dict(theirs).items()})
        # Choices are those of the author of the space; ConfigSpace itself rounds floats to thirteen decimals.
        exact = config_from_vector(space, ours.get_array())
        assert list(decoded) == list(exact)
        for name, value in decoded.items():
            numerical = isinstance(space[name], NumericalHyperparameter)
            assert value == (plain(ours[name]) if numerical else exact[name])
            assert type(value) is type(exact[name])


@given(spaces(), seeds)
def test_every_configuration_of_the_translation_is_one_of_the_space(space, seed):
    translation = HpBandSterSpace(space, integers_for_ordinals=True)
    assert not any(isinstance(parameter, OrdinalHyperparameter) for parameter in translation.space.values())
    for configuration in sampled(translation.space, seed):
        encoded = {name: plain(value) for name, value in dict(configuration).items()}
        config = translation.decode(encoded)
        assert list(config) == [name for name in space if name in encoded]
        for name, value in config.items():
            options = getattr(space[name], "choices", getattr(space[name], "sequence", None))
            if options is not None:
                assert any(type(option) is type(value) and option == value for option in options)
        assert translation.encode(config) == encoded


def test_other_priors_stay_what_they_are():
    space = ConfigurationSpace(
        space=[
            NormalFloatHyperparameter("a", mu=0.3, sigma=0.1, lower=0.0, upper=1.0),
            NormalIntegerHyperparameter("b", mu=5, sigma=3, lower=1, upper=30),
            BetaFloatHyperparameter("c", alpha=2, beta=5, lower=0.0, upper=1.0),
            BetaIntegerHyperparameter("d", alpha=2, beta=5, lower=1, upper=30),
        ]
    )
    translation = HpBandSterSpace(space, integers_for_ordinals=True)
    for ours, theirs in zip(sampled(space, 1, 50), sampled(translation.space, 1, 50), strict=True):
        assert dict(ours) == dict(theirs)


def structured():
    space = ConfigurationSpace(
        space=[
            OrdinalHyperparameter("size", ["small", "medium", "large", "huge"], default_value="medium"),
            CategoricalHyperparameter("kind", ["a", None, 3]),
            UniformFloatHyperparameter("x", 0.0, 1.0),
            UniformFloatHyperparameter("y", 0.0, 1.0),
            UniformFloatHyperparameter("z", 0.0, 1.0),
            UniformIntegerHyperparameter("n", 1, 9, default_value=5),
            UniformIntegerHyperparameter("m", 1, 9, default_value=5),
            Constant("c", "fixed"),
        ]
    )
    space.add(
        GreaterThanCondition(space["x"], space["size"], "medium"),
        AndConjunction(
            LessThanCondition(space["y"], space["size"], "huge"), InCondition(space["y"], space["kind"], ["a", None])
        ),
        OrConjunction(
            EqualsCondition(space["z"], space["kind"], 3), NotEqualsCondition(space["z"], space["size"], "small")
        ),
        ForbiddenEqualsClause(space["kind"], None),
        ForbiddenAndConjunction(
            ForbiddenInClause(space["size"], ["small", "large"]), ForbiddenEqualsClause(space["kind"], "a")
        ),
        ForbiddenAndConjunction(
            ForbiddenGreaterThanClause(space["size"], "large"), ForbiddenGreaterThanClause(space["n"], 6)
        ),
        ForbiddenAndConjunction(
            ForbiddenOrConjunction(
                ForbiddenLessThanEqualsClause(space["n"], 1), ForbiddenEqualsClause(space["size"], "huge")
            ),
            ForbiddenEqualsClause(space["m"], 9),
        ),
        ForbiddenGreaterThanRelation(space["m"], space["n"]),
    )
    return space


@pytest.mark.parametrize("integers", [True, False])
def test_conditions_and_forbidden_clauses_hold_on_both_sides(integers):
    space = structured()
    assert refuses_space(space) is None
    translation = HpBandSterSpace(space, integers_for_ordinals=integers)
    assert len(translation.space.conditions) == len(space.conditions)
    assert len(translation.space.forbidden_clauses) == len(space.forbidden_clauses)
    for configuration in sampled(translation.space, 2, 300):
        decoded = translation.decode({name: plain(value) for name, value in dict(configuration).items()})
        Configuration(space, values=decoded).check_valid_configuration()
    for configuration in sampled(space, 2, 300):
        encoded = translation.encode(config_from_vector(space, configuration.get_array()))
        Configuration(translation.space, values=encoded).check_valid_configuration()


def test_what_one_side_forbids_the_other_side_forbids():
    space = structured()
    translation = HpBandSterSpace(space, integers_for_ordinals=True)
    generator = np.random.default_rng(3)
    allowed = {True: 0, False: 0}
    for _ in range(500):
        config = {
            "size": ["small", "medium", "large", "huge"][generator.integers(4)],
            "kind": ["a", None, 3][generator.integers(3)],
            "n": int(generator.integers(1, 10)),
            "m": int(generator.integers(1, 10)),
            "c": "fixed",
        } | {name: 0.5 for name in "xyz" if generator.random() < 0.5}
        verdicts = [
            is_valid(space, config),
            is_valid(translation.space, translation.encode(config)),
        ]
        assert verdicts[0] == verdicts[1], config
        allowed[verdicts[0]] += 1
    assert min(allowed.values()) > 10


def is_valid(space, config):
    try:
        Configuration(space, values=config).check_valid_configuration()
    except Exception:  # noqa: BLE001 - ConfigSpace has several, without a common base
        return False
    return True


def test_the_given_space_is_left_alone():
    space = conditional_space()
    before = space.to_serialized_dict() if hasattr(space, "to_serialized_dict") else str(space)
    state = space.random.get_state()[1].tolist()
    translation = HpBandSterSpace(space, integers_for_ordinals=True)
    translation.space.seed(5)
    translation.space.sample_configuration(3)
    assert (space.to_serialized_dict() if hasattr(space, "to_serialized_dict") else str(space)) == before
    assert space.random.get_state()[1].tolist() == state


def test_what_cannot_be_translated_is_refused_with_the_reason():
    assert refuses_space(ConfigurationSpace()) == "HpBandSter needs a parameter to sample and the space has none"
    space = ConfigurationSpace({"a": [1, 2, 3], "b": [2, 5, 6]})
    space.add(ForbiddenEqualsRelation(space["a"], space["b"]))
    assert "sees the indices of 'a', and the space has the relation Forbidden: a == b" in refuses_space(space)
    space = ConfigurationSpace(space=[OrdinalHyperparameter("o", [7]), UniformFloatHyperparameter("x", 0.0, 1.0)])
    assert refuses_space(space) is None
    space.add(LessThanCondition(space["x"], space["o"], 7))
    assert "'o' has one value, which makes it a constant, and the space has x | o < 7" in refuses_space(space)
