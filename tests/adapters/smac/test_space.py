"""What SMAC samples from a space reaches the objective unchanged and with plain types."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import pytest
from ConfigSpace import ConfigurationSpace, EqualsCondition, ForbiddenEqualsClause
from ConfigSpace.hyperparameters import (
    BetaFloatHyperparameter,
    CategoricalHyperparameter,
    Constant,
    NormalFloatHyperparameter,
    NormalIntegerHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from hypothesis import given
from hypothesis import strategies as st
from smac import Scenario
from smac.initial_design import RandomInitialDesign, SobolInitialDesign

from zerowait.adapters.conformance.benchmark import Epochs, conditional_space, config_problems
from zerowait.adapters.smac.space import fidelity_of, plain_config, refuses_space

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
)
values = st.one_of(scalars, st.tuples(st.integers(0, 9), st.integers(0, 9)))
choices = st.lists(values, min_size=1, max_size=5, unique=True)


@st.composite
def numbers(draw, name):
    log = draw(st.booleans())
    if draw(st.booleans()):
        lower = draw(st.integers(1, 100) if log else st.integers(-(10**6), 10**6))
        return UniformIntegerHyperparameter(name, lower, lower + draw(st.integers(1, 10**6)), log=log)
    lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e6, 1e6))
    return UniformFloatHyperparameter(name, lower, lower + draw(st.floats(1e-3, 1e6)), log=log)


def parameters(name):
    orders = st.lists(st.integers(-99, 99), min_size=1, max_size=5, unique=True)
    return st.one_of(
        numbers(name),
        st.builds(CategoricalHyperparameter, st.just(name), choices),
        st.builds(OrdinalHyperparameter, st.just(name), orders),
        st.builds(Constant, st.just(name), st.one_of(st.integers(-9, 9), st.text("abc xyz", min_size=1, max_size=5))),
        st.builds(lambda sigma: NormalIntegerHyperparameter(name, 0, sigma, lower=-20, upper=20), st.floats(0.5, 9)),
    )


@st.composite
def spaces(draw):
    sampled = [draw(parameters(f"p{number}")) for number in range(draw(st.integers(1, 4)))]
    return ConfigurationSpace(space=[UniformFloatHyperparameter("always", 0.0, 1.0), *sampled])


def designs(space, seed):
    """Return what SMAC's initial designs take from the space."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(copy.deepcopy(space), name="s", output_directory=Path(folder), n_trials=99, seed=seed)
        for design in (SobolInitialDesign, RandomInitialDesign):
            yield from design(scenario, n_configs=4, max_ratio=1.0).select_configurations()


@given(spaces(), st.integers(0, 2**32 - 1))
def test_the_objective_gets_the_values_of_smacs_configurations(space, seed):
    assert refuses_space(space) is None
    for config in designs(space, seed):
        plain = plain_config(config)
        assert list(plain) == list(space)
        assert config_problems(space, plain) == []
        for name, value in plain.items():
            if isinstance(value, float) and type(space[name]) is UniformFloatHyperparameter:
                # A Configuration rounds to 13 decimals, which leaves small rates few digits; its vector does not.
                assert config[name] == pytest.approx(value, rel=1e-12, abs=1e-13)
                assert space[name].to_vector(value) == pytest.approx(
                    float(config.get_array()[space.index_of[name]]), rel=1e-6, abs=1e-12
                )
            else:
                assert space[name].to_vector(value) == pytest.approx(config.get_array()[space.index_of[name]])


@given(st.integers(0, 2**32 - 1))
def test_inactive_parameters_are_left_out_and_clauses_hold(seed):
    space = conditional_space()
    space.add(ForbiddenEqualsClause(space["depth"], 2))
    for config in designs(space, seed):
        plain = plain_config(config)
        assert ("beta" in plain) == plain["nesterov"]
        assert config_problems(space, plain) == []


def test_normal_and_beta_parameters_are_refused_only_with_a_condition():
    for parameter in (
        NormalFloatHyperparameter("x", 0, 1, lower=-3, upper=3),
        BetaFloatHyperparameter("x", alpha=2, beta=3, lower=0, upper=1),
    ):
        space = ConfigurationSpace(space=[CategoricalHyperparameter("c", ["a", "b"]), parameter])
        assert refuses_space(space) is None
        space.add(EqualsCondition(space["x"], space["c"], "a"))
        assert refuses_space(space).startswith("SMAC takes no normal or beta parameter with a condition and 'x' is ")


@given(st.floats(1.0, 27.0))
def test_integer_fidelities_are_the_nearest_integers(budget):
    fidelity = fidelity_of(budget, Epochs())
    assert type(fidelity) is float
    assert fidelity.is_integer()
    assert abs(fidelity - budget) <= 0.5


def test_other_fidelities_keep_their_value_and_rounding_errors_stay_in_the_range():
    class Share:
        lower, upper, integer = 0.1, 1.0, False

    assert fidelity_of(1 / 3, Share) == 1 / 3
    assert fidelity_of(0.09999999999999999, Share) == 0.1
    assert fidelity_of(1.0000000000000002, Share) == 1.0
    assert fidelity_of(27.000000000000004, Epochs()) == 27.0
    assert fidelity_of(None, None) is None
