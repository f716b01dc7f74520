"""A ConfigSpace and its translation into a space of NePS describe the same configurations."""

from __future__ import annotations

import random
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from ConfigSpace import (
    Beta,
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    ForbiddenEqualsClause,
    Integer,
    Normal,
)
from ConfigSpace import OrdinalHyperparameter as Ordinal
from ConfigSpace.hyperparameters import (
    CategoricalHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Constant as ConstantHyperparameter
from hypothesis import assume, given
from hypothesis import strategies as st

from zerowait.adapters.neps.space import NepsSpace, refuses_space
from zerowait.adapters.spaces import random_configs
from zerowait.suite.rules.errors import SpecificationError

neps = pytest.importorskip("neps", reason="NePS is not installed")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
)
values = st.one_of(scalars, st.tuples(st.integers(0, 9), st.integers(0, 9)))
choices = st.lists(values, min_size=1, max_size=6, unique=True)
names = st.one_of(
    st.text(min_size=1, max_size=6), st.sampled_from(["lower", "domain", "pipeline_id", "_x", "fidelity"])
)


@st.composite
def hyperparameters(draw, name):
    kind = draw(st.sampled_from(["float", "integer", "categorical", "ordinal", "constant"]))
    log = draw(st.booleans())
    if kind == "float":
        lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
        return UniformFloatHyperparameter(name, lower, lower + draw(st.floats(1e-3, 1e6)), log=log)
    if kind == "integer":
        lower = draw(st.integers(1, 10**4) if log else st.integers(-(10**6), 10**6))
        return UniformIntegerHyperparameter(name, lower, lower + draw(st.integers(1, 10**6)), log=log)
    if kind == "categorical":
        return CategoricalHyperparameter(name, draw(choices))
    if kind == "ordinal":
        return OrdinalHyperparameter(name, draw(choices))
    return ConstantHyperparameter(name, draw(scalars))


@st.composite
def spaces(draw):
    chosen = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    space = ConfigurationSpace(space=[draw(hyperparameters(name)) for name in chosen])
    assume(refuses_space(space, priors=False) is None)
    return space


def identical(first, second):
    """Equal in value and in type: 1, 1.0 and True are three configurations."""
    return [(k, type(v), v) for k, v in first.items()] == [(k, type(v), v) for k, v in second.items()]


def sampled(translation, seed, number, **arguments):
    """Return configurations of NePS's random search, in NePS's terms."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - NePS draws from it
    import torch

    torch.manual_seed(seed)
    optimizer = neps.AskAndTell(neps.algorithms.random_search(translation.pipeline_space(), **arguments))
    return [optimizer.ask().config for _ in range(number)]


def domains_of(translation):
    """Return what NePS samples from, by the parameter's name in ConfigSpace."""
    attributes = translation.pipeline_space().get_attrs()
    return {name: attributes[parameter.key] for name, parameter in translation.parameters.items()}


def legal(space, config):
    Configuration(space, values=config)
    return True


@given(spaces(), st.integers(0, 2**32 - 1))
def test_every_configuration_survives_the_way_to_neps_and_back(space, seed):
    translation = NepsSpace(space)
    for config in islice(random_configs(space, seed), 10):
        assert identical(translation.config(translation.sampled(config)), config)


@given(spaces(), st.integers(0, 2**32 - 1))
def test_every_trial_of_neps_is_a_legal_configuration_and_survives_the_way_back(space, seed):
    translation = NepsSpace(space)
    for trial in sampled(translation, seed, 5):
        config = translation.config(trial)
        assert list(config) == list(space)
        assert not any(isinstance(value, np.generic) for value in config.values())
        assert legal(space, config)
        assert identical(translation.config(translation.sampled(config)), config)


@given(spaces())
def test_every_space_can_carry_priors_around_its_defaults(space):
    translation = NepsSpace(space, confidence="high")
    for config in map(translation.config, sampled(translation, 1, 3, use_priors=True)):
        assert legal(space, config)


def test_every_value_of_a_logarithmic_integer_can_be_sampled():
    translation = NepsSpace(ConfigurationSpace(space=[Integer("n", (1, 12), log=True)]))
    seen = {translation.config(trial)["n"] for trial in sampled(translation, 0, 400)}
    assert seen == set(range(1, 13))


def test_a_logarithmic_integer_of_neps_itself_still_takes_few_values():
    # When this fails, NePS's own Integer can be used and the translation of logarithmic integers can go.
    space = type("Space", (neps.PipelineSpace,), {"n": neps.Integer(1, 512, log=True)})()
    optimizer = neps.AskAndTell(neps.algorithms.random_search(space))
    assert {optimizer.ask().config["n"] for _ in range(300)} <= {1, 3, 8, 23, 64, 181, 512}


def test_neps_itself_still_leaves_the_bounds_by_rounding_errors():
    # When this fails, values need no clipping any more.
    import torch
    from neps.space import HPOFloat

    lowest = HPOFloat(0.7, 0.9).domain.from_unit(torch.zeros(1, dtype=torch.float32)).item()
    assert lowest < 0.7
    translation = NepsSpace(ConfigurationSpace({"x": (0.7, 0.9)}))
    assert translation.config({"x0000": lowest}) == {"x": 0.7}


def test_neps_itself_still_refuses_ordinals_conditions_and_choices_without_a_type_of_its_own():
    # When one of these passes, there is more that could be handed over as it is.
    from neps.space import HPOCategorical
    from neps.space.parsing import convert_configspace

    with pytest.raises(ValueError, match="does not support ordinals yet"):
        convert_configspace(ConfigurationSpace(space=[Ordinal("batch", [16, 32])]))
    space = ConfigurationSpace({"c": ["a", "b"], "x": (0.0, 1.0)})
    space.add(EqualsCondition(space["x"], space["c"], "a"))
    with pytest.raises(NotImplementedError, match="conditions or forbidden clauses"):
        convert_configspace(space)
    with pytest.raises(TypeError, match="not of a valid type"):
        HPOCategorical([None, (1, 2)])


def test_ordinals_keep_their_order_and_choices_have_none():
    space = ConfigurationSpace(space=[Ordinal("batch", [64, 16, 32]), Categorical("c", ["u", "v", "w"])])
    translation = NepsSpace(space)
    domains = domains_of(translation)
    assert isinstance(domains["batch"], neps.Integer)
    assert isinstance(domains["c"], neps.Categorical)
    assert translation.config({"x0000": 1, "x0001": 2}) == {"batch": 16, "c": "w"}


@pytest.mark.parametrize(("integer", "kind", "budget"), [(True, int, 9), (False, float, 9.0)])
def test_the_fidelity_keeps_its_bounds_and_its_type(integer, kind, budget):
    fidelity = SimpleNamespace(name="epoch", lower=1, upper=27, integer=integer)
    translation = NepsSpace(ConfigurationSpace({"fidelity": (0.0, 1.0)}), fidelity)
    attributes = translation.pipeline_space().get_attrs()
    assert set(attributes) == {"x0000", "fidelity"}
    assert (attributes["fidelity"].lower, attributes["fidelity"].upper) == (1, 27)
    assert translation.fidelity({"fidelity": budget}) == 9
    assert type(translation.fidelity({"fidelity": budget})) is kind
    assert NepsSpace(ConfigurationSpace({"x": (0.0, 1.0)})).fidelity({"x0000": 0.5}) is None


def test_priors_lie_around_the_defaults_or_where_they_are_told():
    space = ConfigurationSpace(
        space=[
            Float("rate", (1e-4, 1.0), log=True, default=1e-2),
            Integer("units", (1, 512), log=True, default=64),
            Categorical("c", ["u", (1, 2), None], default="u"),
            Ordinal("batch", [16, 32, 64], default_value=64),
            Constant("k", 3),
        ]
    )
    domains = domains_of(NepsSpace(space, confidence="medium"))
    assert {name: domain.prior for name, domain in domains.items()} == {"rate": 1e-2, "units": 64, "c": 0, "batch": 2}
    assert {domain.prior_confidence.value for domain in domains.values()} == {"medium"}
    told = {"rate": 0.5, "c": [1, 2], "batch": 16}
    domains = domains_of(NepsSpace(space, confidence="low", priors=told))
    assert {name: domain.prior for name, domain in domains.items()} == {"rate": 0.5, "units": 64, "c": 1, "batch": 0}
    assert not any(domain.has_prior for domain in domains_of(NepsSpace(space)).values())


@pytest.mark.parametrize(
    ("priors", "message"),
    [({"rat": 0.5}, "priors names 'rat', which the space does not have; it has rate"), ({"rate": 2.0}, "rate=2.0")],
)
def test_priors_that_do_not_fit_the_space_are_refused(priors, message):
    with pytest.raises(SpecificationError, match=message):
        NepsSpace(ConfigurationSpace({"rate": (0.0, 1.0)}), confidence="low", priors=priors)


def space_with_condition():
    space = ConfigurationSpace({"c": ["a", "b"], "x": (0.0, 1.0)})
    space.add(EqualsCondition(space["x"], space["c"], "a"))
    return space


def space_with_clause():
    space = ConfigurationSpace({"c": ["a", "b"], "x": (0.0, 1.0)})
    space.add(ForbiddenEqualsClause(space["c"], "b"))
    return space


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (space_with_condition(), "no conditions"),
        (space_with_clause(), "no forbidden clauses"),
        (ConfigurationSpace(space=[Categorical("c", ["a", "b"], weights=[1, 2])]), "no weights of choices and 'c'"),
        (ConfigurationSpace({"n": (0, 2**60)}), r"exact to 2\*\*53, and 'n'"),
        (ConfigurationSpace(space=[Constant("k", 3), Categorical("c", ["a"])]), "the space has none"),
        (ConfigurationSpace(space=[Float("x", (0, 1), distribution=Normal(0.5, 0.1))]), "'x' is a NormalFloat"),
    ],
)
def test_what_neps_cannot_express_is_refused_with_the_reason(space, reason):
    import re

    refusal = refuses_space(space, priors=False)
    assert refusal is not None
    assert re.search(reason, refusal)


def test_priors_of_the_space_are_taken_by_optimizers_that_use_priors():
    space = ConfigurationSpace(
        space=[
            Float("x", (0.0, 1.0), distribution=Normal(0.3, 0.1)),
            Integer("n", (1, 9), distribution=Normal(4, 2)),
            Float("y", (0.0, 1.0), distribution=Beta(2, 5)),
        ]
    )
    assert refuses_space(space, priors=True) is None
    priors = {name: domain.prior for name, domain in domains_of(NepsSpace(space, confidence="low")).items()}
    assert priors == {"x": 0.3, "n": 4, "y": pytest.approx(0.2)}
