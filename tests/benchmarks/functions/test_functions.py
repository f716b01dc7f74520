"""Branin and Hartmann: the published numbers, the noise, and what they refuse."""

from __future__ import annotations

import itertools
import math
import pickle
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from zerowait.benchmarks import Fidelity, load
from zerowait.suite.rules.errors import SpecificationError

NAMES = ("branin", "hartmann3", "hartmann6")
DIMENSION = {"branin": 2, "hartmann3": 3, "hartmann6": 6}

# From dragonfly's code, as the project's format notes give them: six decimals.
MINIMUM = {
    ("branin", 100): 0.397887,
    ("branin", 33): 0.431387,
    ("branin", 11): 0.442387,
    ("hartmann3", 100): -3.862780,
    ("hartmann3", 33): -3.757494,
    ("hartmann3", 11): -3.722976,
    ("hartmann6", 100): -3.322368,
    ("hartmann6", 33): -3.229686,
    ("hartmann6", 11): -3.199313,
}
# Runtime over that of the full fidelity: five decimals.
RUNTIME_RATIO = {
    ("branin", 11): 0.08466,
    ("branin", 33): 0.23009,
    ("hartmann3", 11): 0.13703,
    ("hartmann3", 33): 0.24245,
    ("hartmann6", 11): 0.15252,
    ("hartmann6", 33): 0.28109,
}

# standard_normal(42, '{"x0":0.25}', 33), as of version 0.1.
GOLDEN_NOISE = -0.11176542577812279


def as_config(x):
    return {f"x{i}": float(value) for i, value in enumerate(x)}


def global_minimum(benchmark, fidelity):
    """Minimise from the best points of a lattice, which is fine enough to hit every well."""
    dimension = DIMENSION[benchmark.name]
    lattice = itertools.product((0.2, 0.5, 0.8) if dimension <= 3 else (0.2, 0.6), repeat=dimension)
    value = lambda x: benchmark(as_config(x), fidelity=fidelity).value  # noqa: E731
    starts = sorted(lattice, key=value)[:8]
    return min(minimize(value, start, bounds=[(0, 1)] * dimension, tol=1e-14).fun for start in starts)


@pytest.mark.parametrize(("name", "z"), MINIMUM)
def test_the_global_minimum_at_each_fidelity_is_the_published_one(name, z):
    assert global_minimum(load(name), z) == pytest.approx(MINIMUM[name, z], abs=6e-7)


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_optimum_is_the_minimum_that_a_search_finds(name):
    benchmark = load(name)
    found = global_minimum(benchmark, None)
    assert benchmark.optimum == pytest.approx(found, abs=1e-9)
    assert benchmark.optimum == pytest.approx(MINIMUM[name, 100], abs=6e-7)


@pytest.mark.parametrize(("name", "z"), RUNTIME_RATIO)
def test_the_runtime_relative_to_full_fidelity_is_the_published_one(name, z):
    benchmark, config = load(name), as_config([0.5] * DIMENSION[name])
    ratio = benchmark(config, fidelity=z).runtime / benchmark(config).runtime
    assert ratio == pytest.approx(RUNTIME_RATIO[name, z], abs=5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_evaluation_at_full_fidelity_takes_an_hour(name):
    assert load(name)(as_config([0.5] * DIMENSION[name])).runtime == pytest.approx(3600.0)


def test_branin_equals_a_value_computed_by_hand():
    # x1 = -5, x2 = 0, z = 50: b = 5.1 / (4 pi^2) - 0.005, c = 5 / pi - 0.05, t = 1 / (8 pi) + 0.0025
    b, c, t = 0.12918450914 - 0.005, 1.59154943092 - 0.05, 0.03978873577 + 0.0025
    by_hand = (-25 * b - 5 * c - 6) ** 2 + 10 * (1 - t) * 0.28366218546 + 10
    assert load("branin")({"x0": 0.0, "x1": 0.0}, fidelity=50).value == pytest.approx(by_hand, rel=1e-8)


def test_delta_t_is_the_drift_of_the_cosines_coefficient():
    config = {"x0": 1 / 3, "x1": 0.4}  # x1 = 0, where the cosine is 1
    ours, papers = (load("branin", delta_t=d)(config, fidelity=20).value for d in (0.005, 0.05))
    assert ours - papers == pytest.approx(10 * (0.05 - 0.005) * 0.8)
    full = [load("branin", delta_t=d)(config).value for d in (0.005, 0.05)]
    assert full[0] == full[1]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_fidelity_the_highest_of_the_range_is_evaluated(name):
    config = as_config([0.3] * DIMENSION[name])
    assert load(name)(config) == load(name)(config, fidelity=100)
    assert load(name, fidelity_range=(5, 33))(config) == load(name)(config, fidelity=33)


def test_the_fidelity_states_its_range():
    assert load("branin").fidelity == Fidelity("z", 11, 100, integer=True)
    assert load("branin", fidelity_range=[1, 50]).fidelity == Fidelity("z", 1, 50, integer=True)


def test_the_optimum_is_unknown_when_the_range_ends_below_full_fidelity():
    assert load("branin", fidelity_range=(11, 99)).optimum is None


@pytest.mark.parametrize("fidelity", [10, 101, 50.5, math.nan, math.inf, "50", True, -1, 10**400])
def test_a_fidelity_outside_the_range_is_refused_with_its_value_and_the_range(fidelity):
    with pytest.raises(SpecificationError, match=r"'z' is .*; it must be an integer from 11 to 100") as caught:
        load("branin")({"x0": 0.5, "x1": 0.5}, fidelity=fidelity)
    assert repr(fidelity) in str(caught.value)


def test_whole_numbers_of_any_type_are_fidelities():
    config = {"x0": 0.5, "x1": 0.5}
    results = [load("branin")(config, fidelity=z) for z in (50, 50.0, np.int64(50), np.float32(50))]
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("fidelity_range", [(0, 100), (11, 101), (50, 50), (60, 50), (11.5, 100), (11,), 11, None])
def test_a_fidelity_range_that_cannot_be_is_refused(fidelity_range):
    with pytest.raises(SpecificationError, match=r"fidelity_range is .*1 <= lower < upper <= 100"):
        load("hartmann3", fidelity_range=fidelity_range)


@pytest.mark.parametrize("delta_t", [math.nan, math.inf, "0.05", True, None])
def test_a_delta_t_that_is_not_a_number_is_refused(delta_t):
    with pytest.raises(SpecificationError, match=r"delta_t is .*; it must be a finite number"):
        load("branin", delta_t=delta_t)


def test_noise_is_a_flag():
    with pytest.raises(SpecificationError, match=r"noise is 0.1; it must be True or False"):
        load("branin", noise=0.1)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_every_configuration_of_the_unit_cube_is_accepted(name, data):
    unit = st.floats(0, 1) | st.integers(0, 1) | st.floats(0, 1, width=32).map(np.float32)
    config = {f"x{i}": data.draw(unit) for i in range(DIMENSION[name])}
    evaluation = load(name)(config, fidelity=data.draw(st.integers(11, 100)), seed=data.draw(st.integers(0, 2**32)))
    assert math.isfinite(evaluation.value)
    assert 0 < evaluation.runtime <= 3600.0000001


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_every_value_outside_the_unit_cube_is_refused_by_name_value_and_range(name, data):
    outside = (
        st.floats(max_value=0, exclude_max=True)
        | st.floats(min_value=1, exclude_min=True)
        | st.just(math.nan)
        | st.integers(max_value=-1)
        | st.integers(min_value=2)
        | st.booleans()
        | st.text()
        | st.none()
        | st.lists(st.floats(0, 1), max_size=2)
    )
    config = as_config([0.5] * DIMENSION[name])
    parameter = data.draw(st.sampled_from(sorted(config)))
    config[parameter] = data.draw(outside)
    with pytest.raises(SpecificationError) as caught:
        load(name)(config)
    message = str(caught.value)
    assert repr(parameter) in message
    assert repr(config[parameter]) in message
    assert "allowed is a number from 0 to 1" in message


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_unknown_parameters_are_refused_by_name(name):
    benchmark, config = load(name), as_config([0.5] * DIMENSION[name])
    with pytest.raises(SpecificationError, match=r"'x1' is missing .* exactly: x0, x1"):
        benchmark({key: value for key, value in config.items() if key != "x1"})
    with pytest.raises(SpecificationError, match=r"'x9' \(value 0.5\) is unknown"):
        benchmark({**config, "x9": 0.5})
    with pytest.raises(SpecificationError, match="'x0' is missing"):
        benchmark({"x9" if key == "x0" else key: value for key, value in config.items()})


@pytest.mark.parametrize("name", NAMES)
def test_configurations_sampled_from_the_space_are_accepted(name):
    benchmark = load(name)
    benchmark.space.seed(1)
    for config in benchmark.space.sample_configuration(50):
        assert benchmark(config) == benchmark(dict(config))


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_the_seed_changes_nothing(name):
    benchmark, config = load(name), as_config([0.4] * DIMENSION[name])
    assert benchmark(config, seed=1) == benchmark(config, seed=2) == benchmark(config)


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True, 2**63])
def test_a_seed_that_is_not_a_natural_number_is_refused(seed):
    with pytest.raises(SpecificationError, match="seed is"):
        load("branin")({"x0": 0.5, "x1": 0.5}, seed=seed)


@pytest.mark.parametrize(("name", "sd"), [("branin", 0.05**0.5), ("hartmann3", 0.1), ("hartmann6", 0.05**0.5)])
def test_noise_has_the_published_spread_around_the_noise_free_value(name, sd):
    benchmark, config = load(name, noise=True), as_config([0.4] * DIMENSION[name])
    exact = benchmark(config).value
    errors = [benchmark(config, seed=seed).value - exact for seed in range(4000)]
    # The standard error of the mean is sd / sqrt(4000), that of the standard deviation sd / sqrt(8000).
    assert statistics.mean(errors) == pytest.approx(0.0, abs=5 * sd / 4000**0.5)
    assert statistics.pstdev(errors) == pytest.approx(sd, abs=5 * sd / 8000**0.5)
    assert benchmark(config, seed=0).runtime == benchmark(config).runtime


def test_noise_depends_on_seed_configuration_and_fidelity():
    benchmark, exact = load("branin", noise=True), load("branin")
    queries = [
        ({"x0": x0, "x1": 0.5}, z, seed) for x0 in (0.25, 0.75) for z in (33, 100) for seed in (0, 1, 2**32, 2**33)
    ]
    noise = {
        benchmark(config, fidelity=z, seed=seed).value - exact(config, fidelity=z).value for config, z, seed in queries
    }
    assert len(noise) == len(queries)


def test_the_same_query_has_the_same_noise_whatever_its_types_and_order():
    benchmark = load("branin", noise=True)
    first = benchmark({"x0": 0.0, "x1": 1.0}, fidelity=33, seed=7)
    benchmark({"x0": 0.1, "x1": 0.1}, seed=8)
    assert benchmark({"x1": np.float64(1), "x0": -0.0}, fidelity=33.0, seed=np.int64(7)) == first
    assert benchmark({"x1": 1, "x0": 0}, fidelity=33, seed=7) == first


def test_the_noise_is_the_same_in_another_process_and_in_every_version():
    query = "load('hartmann6', noise=True)({f'x{i}': 0.25 for i in range(6)}, fidelity=33, seed=42).value"
    code = f"from zerowait.benchmarks import load; print(repr({query}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == load("hartmann6", noise=True)(as_config([0.25] * 6), fidelity=33, seed=42).value
    # The stream itself is fixed: a change would change results that were published with an earlier version.
    from zerowait.benchmarks.functions.noise import standard_normal

    assert standard_normal(42, '{"x0":0.25}', 33) == pytest.approx(GOLDEN_NOISE, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_is_that_of_the_canonical_configuration(name):
    from zerowait.benchmarks.functions.noise import standard_normal
    from zerowait.suite.rules.identity import canonical_json

    config = as_config([0.1 + 0.2, 1e-300, 1.0, 0.0, 1 / 3, 5e-324][: DIMENSION[name]])
    noise = load(name).formula.noise_sd * standard_normal(7, canonical_json(config), 33)
    noisy, exact = (load(name, noise=flag)(config, fidelity=33, seed=7).value for flag in (True, False))
    assert noisy == exact + noise


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_is_small_and_its_copy_answers_the_same(name):
    benchmark = load(name, noise=True, fidelity_range=(1, 100))
    _ = benchmark.space
    text = pickle.dumps(benchmark)
    assert len(text) < 600
    copy, config = pickle.loads(text), as_config([0.3] * DIMENSION[name])
    assert copy(config, fidelity=5, seed=3) == benchmark(config, fidelity=5, seed=3)
    assert copy.label == benchmark.label


def test_a_label_names_what_is_not_the_default():
    assert load("branin").label == "branin"
    assert load("branin", noise=True, delta_t=0.05).label == "branin(delta_t=0.05, noise=True)"
    assert load("hartmann6", fidelity_range=(1, 100)).label == "hartmann6(fidelity_range=[1, 100])"
