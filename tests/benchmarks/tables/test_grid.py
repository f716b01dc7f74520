"""A grid: rows, configurations, and what is not on it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerowait.benchmarks.tables.grid import Axis, Grid
from zerowait.suite.rules.errors import SpecificationError

AXES = (
    Axis("rate", (1e-5, 3.5938137e-5, 1.0)),
    Axis("depth", (1, 2, 3, 8)),
    Axis("activation", ("relu", "tanh")),
)
KINDS = ("indices", "values")


def allowed(axis, kind):
    return axis.values if kind == "values" or axis.is_categorical else tuple(range(len(axis.values)))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_count_the_product_with_the_last_axis_fastest(kind):
    grid = Grid(AXES, kind, "toy")
    product = itertools.product(*(allowed(axis, kind) for axis in AXES))
    configs = [dict(zip(("rate", "depth", "activation"), values, strict=True)) for values in product]
    assert [grid.row(config) for config in configs] == list(range(grid.size)) == list(range(24))
    assert [grid.config(row) for row in range(24)] == configs


def test_numpy_scalars_are_the_numbers_that_they_equal():
    assert (
        Grid(AXES, "indices", "toy").row({"rate": np.int64(1), "depth": np.float32(2), "activation": np.str_("tanh")})
        == 13
    )
    assert Grid(AXES, "values", "toy").row({"rate": np.float64(1), "depth": np.int8(3), "activation": "tanh"}) == 21


def test_a_float_within_a_millionth_stands_for_its_grid_value():
    grid = Grid(AXES, "values", "toy")
    for near in (3.5938137e-5 * (1 + 9e-7), np.float32(3.5938137e-5), np.geomspace(1e-5, 1, 10)[1]):
        assert grid.row({"rate": near, "depth": 1, "activation": "relu"}) == 8
    with pytest.raises(SpecificationError, match="'rate' has the value"):
        grid.row({"rate": 3.5938137e-5 * (1 + 2e-6), "depth": 1, "activation": "relu"})


def test_only_real_valued_axes_have_a_tolerance():
    with pytest.raises(SpecificationError, match=r"'depth' has the value 8\.0000001"):
        Grid(AXES, "values", "toy").row({"rate": 1.0, "depth": 8.0000001, "activation": "relu"})
    with pytest.raises(SpecificationError, match=r"'rate' has the value 1\.0000001"):
        Grid(AXES, "indices", "toy").row({"rate": 1.0000001, "depth": 0, "activation": "relu"})


def test_an_index_is_refused_with_the_indices_and_the_values_they_stand_for():
    with pytest.raises(SpecificationError) as caught:
        Grid(AXES, "indices", "toy").row({"rate": 3, "depth": 0, "activation": "relu"})
    assert str(caught.value) == (
        "toy: the parameter 'rate' has the value 3; allowed is an index from 0 to 2, standing for "
        "[1e-05, 3.5938137e-05, 1.0] (space='values' takes those)"
    )


def test_a_value_is_refused_with_the_values():
    with pytest.raises(SpecificationError) as caught:
        Grid(AXES, "values", "toy").row({"rate": 1e-5, "depth": 4, "activation": "relu"})
    assert str(caught.value) == "toy: the parameter 'depth' has the value 4; allowed is one of [1, 2, 3, 8]"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_whatever_is_not_on_the_grid_is_refused_by_name_value_and_what_is_allowed(kind, data):
    grid = Grid(AXES, kind, "toy")
    axis = data.draw(st.sampled_from(AXES))
    values = allowed(axis, kind)

    def outside(value):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value not in values or isinstance(value, bool)
        return not any(not isinstance(v, str) and math.isclose(v, value, rel_tol=1e-5) for v in values)

    anything = st.one_of(
        st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.binary(),
        st.lists(st.integers()), st.sampled_from([np.True_, np.float64(0.5), (0,), {}]),
    )  # fmt: skip
    config = dict(grid.config(data.draw(st.integers(0, grid.size - 1))))
    config[axis.name] = data.draw(anything.filter(outside))
    with pytest.raises(SpecificationError) as caught:
        grid.row(config)
    message = str(caught.value)
    assert f"toy: the parameter {axis.name!r} has the value {config[axis.name]!r}; allowed is " in message
    assert repr(list(axis.values)) in message


@pytest.mark.parametrize("kind", KINDS)
@given(row=st.integers(0, 23), data=st.data())
def test_missing_and_unknown_names_are_refused(kind, row, data):
    grid = Grid(AXES, kind, "toy")
    config = grid.config(row)
    name = data.draw(st.sampled_from(grid.names))
    without = {key: value for key, value in config.items() if key != name}
    with pytest.raises(SpecificationError, match=rf"'{name}' is missing .* exactly: rate, depth, activation"):
        grid.row(without)
    unknown = data.draw(st.text().filter(lambda text: text not in grid.names))
    with pytest.raises(SpecificationError) as caught:
        grid.row({**config, unknown: 1})
    assert f"the parameter {unknown!r} (value 1) is unknown" in str(caught.value)
    with pytest.raises(SpecificationError, match=f"'{name}' is missing"):
        grid.row({**without, unknown: 1})


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_configuration_sampled_from_the_space_is_on_the_grid(kind, seed):
    grid = Grid(AXES, kind, "toy")
    space = grid.space()
    space.seed(seed)
    config = space.sample_configuration()
    assert grid.config(grid.row(config)) == dict(config)


def test_the_space_covers_the_whole_grid():
    for kind in KINDS:
        grid = Grid(AXES, kind, "toy")
        space = grid.space()
        sampled = {grid.row(config) for config in space.sample_configuration(1000)}
        assert sampled == set(range(24))
        assert space.estimate_size() == 24
