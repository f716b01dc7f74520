"""A ConfigSpace and its translation into Optuna's distributions describe the same configurations."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import optuna
import pytest
from ConfigSpace import (
    AndConjunction,
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    ForbiddenEqualsClause,
    GreaterThanCondition,
    InCondition,
    Integer,
    Normal,
    NotEqualsCondition,
    OrConjunction,
)
from ConfigSpace import (
    OrdinalHyperparameter as Ordinal,
)
from ConfigSpace.hyperparameters import (
    CategoricalHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import (
    Constant as ConstantHyperparameter,
)
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from zerowait.adapters.optuna.space import OptunaSpace, refuses_space
from zerowait.adapters.spaces import random_configs

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
)
values = st.one_of(scalars, st.tuples(st.integers(0, 9), st.integers(0, 9)))
choices = st.lists(values, min_size=1, max_size=6, unique=True)


@st.composite
def floats(draw, name):
    log = draw(st.booleans())
    lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
    upper = lower + draw(st.floats(1e-3, 1e6))
    return UniformFloatHyperparameter(name, lower, upper, log=log)


@st.composite
def integers(draw, name):
    log = draw(st.booleans())
    lower = draw(st.integers(1, 10**4) if log else st.integers(-(10**6), 10**6))
    upper = lower + draw(st.integers(1, 10**6))
    return UniformIntegerHyperparameter(name, lower, upper, log=log)


@st.composite
def hyperparameters(draw, name):
    kind = draw(st.sampled_from(["float", "integer", "categorical", "ordinal", "constant"]))
    if kind == "float":
        return draw(floats(name))
    if kind == "integer":
        return draw(integers(name))
    if kind == "categorical":
        return CategoricalHyperparameter(name, draw(choices))
    if kind == "ordinal":
        return OrdinalHyperparameter(name, draw(choices))
    return ConstantHyperparameter(name, draw(scalars))


@st.composite
def spaces(draw):
    number = draw(st.integers(1, 6))
    return ConfigurationSpace(space=[draw(hyperparameters(f"p{index}")) for index in range(number)])


@pytest.fixture(autouse=True)
def silent_optuna():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def make_study(seed):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


def identical(first, second):
    """Equal in value and in type: 1, 1.0 and True are three configurations."""
    return [(k, type(v), v) for k, v in first.items()] == [(k, type(v), v) for k, v in second.items()]


@given(spaces(), st.integers(0, 2**32 - 1))
def test_every_configuration_survives_the_way_to_optuna_and_back(space, seed):
    translation = OptunaSpace(space)
    for config in islice(random_configs(space, seed), 10):
        assert identical(translation.config(translation.params(config)), config)


@given(spaces(), st.integers(0, 2**32 - 1))
def test_every_trial_of_optuna_is_a_legal_configuration_and_survives_the_way_back(space, seed):
    translation = OptunaSpace(space)
    study = make_study(seed)
    for _ in range(10):
        trial = study.ask()
        config = translation.suggest(trial)
        assert list(config) == list(space)
        for name, value in config.items():
            assert not isinstance(value, np.generic)
            parameter = space[name]
            if isinstance(parameter, UniformFloatHyperparameter | UniformIntegerHyperparameter):
                assert parameter.lower <= value <= parameter.upper
            else:
                allowed = getattr(parameter, "choices", None) or getattr(parameter, "sequence", None)
                assert any(type(v) is type(value) and v == value for v in allowed or [parameter.value])
        assert translation.params(config) == trial.params
        assert identical(translation.config(trial.params), config)


@given(spaces())
def test_bounds_scales_and_choices_are_exactly_those_of_the_space(space):
    translation = OptunaSpace(space)
    constants = [name for name, parameter in space.items() if isinstance(parameter, ConstantHyperparameter)]
    assert list(translation.parameters) == [name for name in space if name not in constants]
    for name, translated in translation.parameters.items():
        original, distribution = space[name], translated.distribution
        if isinstance(original, UniformFloatHyperparameter):
            assert distribution == FloatDistribution(original.lower, original.upper, log=original.log)
        elif isinstance(original, UniformIntegerHyperparameter):
            assert distribution == IntDistribution(original.lower, original.upper, log=original.log)
        elif isinstance(original, OrdinalHyperparameter):
            assert distribution == IntDistribution(0, len(original.sequence) - 1)
            assert list(translated.values) == list(original.sequence)
        else:
            assert isinstance(distribution, CategoricalDistribution)
            assert [translated.decode(choice) for choice in distribution.choices] == list(original.choices)


def test_choices_that_optuna_can_store_are_passed_as_they_are():
    space = ConfigurationSpace(space=[Categorical("c", ["a", None, 2, 3.5, False])])
    (parameter,) = OptunaSpace(space).parameters.values()
    assert parameter.distribution.choices == ("a", None, 2, 3.5, False)
    assert parameter.values is None


@pytest.mark.parametrize("strange", [(1, 2), math.nan])
def test_choices_that_optuna_cannot_store_are_passed_as_indices(strange):
    space = ConfigurationSpace(space=[Categorical("c", ["a", strange])])
    (parameter,) = OptunaSpace(space).parameters.values()
    assert parameter.distribution.choices == (0, 1)
    assert parameter.decode(1) is strange
    assert parameter.encode(strange) == 1


def test_constants_are_not_passed_and_stand_in_every_configuration():
    space = ConfigurationSpace(space=[Constant("k", "adam"), Float("x", (0.0, 1.0))])
    translation = OptunaSpace(space)
    trial = make_study(0).ask()
    assert translation.suggest(trial)["k"] == "adam"
    assert list(trial.params) == ["x"]


def test_a_space_of_constants_alone_has_one_configuration():
    translation = OptunaSpace(ConfigurationSpace(space=[Constant("k", 1)]))
    assert translation.suggest(make_study(0).ask()) == {"k": 1}


@pytest.fixture
def conditional_space():
    space = ConfigurationSpace(
        space=[
            Categorical("model", ["tree", "net", "linear"]),
            Integer("depth", (1, 9)),
            Ordinal("size", ["small", "medium", "large"]),
            Float("leaf", (0.0, 1.0)),
            Float("rate", (0.1, 1.0), log=True),
            Float("decay", (0.0, 1.0)),
            Constant("solver", "exact"),
            Categorical("norm", [0, 1], default=1),
        ]
    )
    space.add(InCondition(space["depth"], space["model"], ["tree", "net"]))
    space.add(GreaterThanCondition(space["leaf"], space["depth"], 4))
    space.add(
        AndConjunction(
            EqualsCondition(space["rate"], space["model"], "net"),
            GreaterThanCondition(space["rate"], space["size"], "small"),
        )
    )
    space.add(
        OrConjunction(
            EqualsCondition(space["decay"], space["model"], "linear"),
            EqualsCondition(space["decay"], space["size"], "large"),
        )
    )
    space.add(EqualsCondition(space["solver"], space["model"], "linear"))
    space.add(NotEqualsCondition(space["norm"], space["model"], "tree"))
    return space


def test_a_trial_has_exactly_the_parameters_whose_conditions_hold(conditional_space):
    assert refuses_space(conditional_space) is None
    translation = OptunaSpace(conditional_space)
    study = make_study(1)
    seen = set()
    for _ in range(200):
        trial = study.ask()
        config = translation.suggest(trial)
        Configuration(
            conditional_space, values=config
        )  # raises when an active one is absent or an inactive one present
        assert ("rate" in config) == (config["model"] == "net" and config["size"] != "small")
        assert ("decay" in config) == (config["model"] == "linear" or config["size"] == "large")
        assert ("leaf" in config) == (config.get("depth", 0) > 4)
        assert ("solver" in config) == (config["model"] == "linear")
        assert translation.config(trial.params) == config
        seen.add(frozenset(config))
    assert len(seen) > 5


def test_conditional_configurations_survive_the_way_to_optuna_and_back(conditional_space):
    translation = OptunaSpace(conditional_space)
    for config in islice(random_configs(conditional_space, 5), 200):
        assert identical(translation.config(translation.params(config)), config)


def test_a_negated_condition_on_an_inactive_parent_follows_configspace():
    # ConfigSpace says that c is active when b, on which it depends, is not: NaN is not 0.
    space = ConfigurationSpace(space=[Categorical("a", [1, 0]), Categorical("b", [1, 0]), Float("c", (0.0, 1.0))])
    space.add(EqualsCondition(space["b"], space["a"], 1))
    space.add(NotEqualsCondition(space["c"], space["b"], 0))
    translation = OptunaSpace(space)
    study = make_study(2)
    for _ in range(50):
        Configuration(space, values=translation.suggest(study.ask()))


def test_only_the_parameters_of_every_configuration_are_unconditional(conditional_space):
    assert set(OptunaSpace(conditional_space).unconditional) == {"model", "size"}


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        (
            Float("x", (0.0, 1.0), distribution=Normal(0.5, 0.1)),
            "priors are uniform and 'x' is a NormalFloat",
        ),
        (Categorical("c", ["a", "b"], weights=[1, 3]), r"no weights of choices and 'c' has \[0.25, 0.75\]"),
        (Integer("n", (0, 2**60)), r"exact to 2\*\*53, and 'n' is"),
    ],
)
def test_what_optuna_cannot_express_is_refused_with_the_reason(parameter, reason):
    import re

    assert re.search(reason, refuses_space(ConfigurationSpace(space=[parameter])))


def test_forbidden_clauses_are_refused_with_the_clause():
    space = ConfigurationSpace({"c": ["a", "b"]})
    space.add(ForbiddenEqualsClause(space["c"], "b"))
    assert refuses_space(space) == "Optuna has no forbidden clauses and the space has Forbidden: c == 'b'"


def test_equal_weights_are_no_weights():
    assert refuses_space(ConfigurationSpace(space=[Categorical("c", ["a", "b"], weights=[2, 2])])) is None
