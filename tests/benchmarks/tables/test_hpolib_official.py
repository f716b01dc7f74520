"""HPOlib at every epoch, read from HDF5 files in the official layout."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, Fidelity, load
from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.benchmarks.tables import tables
from zerowait.benchmarks.tables.hpolib import OFFICIAL, TABLE, HPOLib
from zerowait.suite.rules.errors import SpecificationError

# The official grid with fewer values, so that a file is small.
FEW = {
    "activation_fn_1": ("relu", "tanh"), "activation_fn_2": ("tanh",), "batch_size": (8, 64), "dropout_1": (0.0, 0.3),
    "dropout_2": (0.6,), "init_lr": (5e-4, 1e-1), "lr_schedule": ("cosine", "const"), "n_units_1": (16, 512),
    "n_units_2": (32,),
}  # fmt: skip
SMALL_AXES = tuple(replace(axis, values=FEW[axis.name]) for axis in TABLE.axes)
SMALL = replace(TABLE, axes=SMALL_AXES, official=replace(OFFICIAL, axes=SMALL_AXES))


class Small(HPOLib):
    table = SMALL


def put(home, task, axes, numbers=None, seed=0):
    """Write a file in the official layout where the official archive has it: one group for each configuration.

    `numbers` has the shape (configurations, seeds, 3): seconds, error after the last epoch, number of parameters.
    """
    rng = np.random.default_rng(seed)
    folder = home / "hpolib" / "fcnet_tabular_benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fcnet_{task}_data.hdf5"
    with h5py.File(path.with_suffix(".new"), "w") as file:
        for row, values in enumerate(itertools.product(*(axis.values for axis in axes))):
            config = dict(zip([axis.name for axis in axes], values, strict=True))
            group = file.create_group(json.dumps(config, sort_keys=True))
            curves = {name: rng.lognormal(-3, 2, (4, 100)).astype(np.float32) for name in ("valid_mse", "train_mse")}
            runtime, n_params = rng.uniform(10, 1000, 4).astype(np.float32), np.full(4, 545.0)
            if numbers is not None:
                runtime, n_params = numbers[row, :, 0].astype(np.float32), numbers[row, :, 2]
                curves["valid_mse"][:, -1] = numbers[row, :, 1]
            for name, curve in curves.items():
                group[name] = curve
                group[name.replace("mse", "loss")] = curve * 2
            group["runtime"], group["n_params"] = runtime, n_params
            group["final_test_error"] = rng.lognormal(-3, 2, 4)
    path.with_suffix(".new").replace(path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, an empty cache, and no package to compare small tables with."""
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "PACKAGE", "no-such-package")
    return tmp_path / "data"


def test_the_content_is_that_of_the_official_file_and_a_package_has_a_version_instead(home):
    path = put(home, "protein_structure", SMALL_AXES)
    first = Small("protein_structure", fidelity_range=(1, 100)).content
    path.unlink()
    assert Small("protein_structure", fidelity_range=(1, 100)).content == first  # from the arrays in the cache
    put(home, "protein_structure", SMALL_AXES, seed=1)
    assert Small("protein_structure", fidelity_range=(1, 100)).content != first
    assert HPOLib("naval_propulsion").content is None


class Groups(dict):
    """The data sets of a file by the name of their group."""

    def __repr__(self):
        return "Groups()"


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory):
    """A small file's content, and the benchmark that was made of the file."""
    home = tmp_path_factory.mktemp("hpolib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROWAIT_DATA", str(home))
        patch.setenv("ZEROWAIT_CACHE", str(home / "cache"))
        patch.setattr(tables, "PACKAGE", "no-such-package")
        path = put(home, "protein_structure", SMALL_AXES)
        benchmark = Small("protein_structure", space="values", fidelity_range=(1, 100))
        _ = benchmark.optimum  # converts
    with h5py.File(path) as file:
        groups = Groups({name: {key: data[()] for key, data in group.items()} for name, group in file.items()})
    return benchmark, groups


CONFIGS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in FEW.items()})


@settings(deadline=None)
@given(config=CONFIGS, epoch=st.integers(1, 100), seed=st.integers(0, 2**63 - 1))
def test_every_configuration_has_the_numbers_of_the_official_file_at_every_epoch(agreeing, config, epoch, seed):
    benchmark, groups = agreeing
    group, repetition = groups[json.dumps(config, sort_keys=True)], seed % 4
    evaluation = benchmark(config, fidelity=epoch, seed=seed)
    error = float(group["valid_mse"][repetition, epoch - 1])
    assert evaluation.value == math.log(error)
    assert evaluation.runtime == float(group["runtime"][repetition]) * epoch / 100
    assert evaluation.metrics == {"valid_mse": error, "model_size": group["n_params"][repetition]}
    assert all(type(number) is float for number in (evaluation.value, evaluation.runtime, *evaluation.metrics.values()))
    assert benchmark(config, fidelity=float(epoch), seed=seed) == evaluation


@settings(deadline=None)
@given(config=CONFIGS, epoch=st.integers(1, 100))
def test_without_a_seed_every_number_is_the_mean_over_the_seeds_of_the_file(agreeing, config, epoch):
    benchmark, groups = agreeing
    group = groups[json.dumps(config, sort_keys=True)]
    mean = benchmark(config, fidelity=epoch)
    errors = group["valid_mse"][:, epoch - 1].astype(float)
    assert mean.value == pytest.approx(statistics.fmean(map(math.log, errors)), rel=1e-12, abs=1e-15)
    assert mean.runtime == pytest.approx(group["runtime"].astype(float).mean() * epoch / 100, rel=1e-12)


def test_the_optimum_is_the_least_loss_after_the_last_epoch_of_the_range(agreeing):
    benchmark, groups = agreeing
    assert benchmark.optimum == math.log(min(group["valid_mse"][:, -1].min() for group in groups.values()))


def test_the_runtime_is_over_a_hundred_epochs_whatever_the_range_is(home):
    put(home, "protein_structure", SMALL_AXES)
    whole, part = Small("protein_structure"), Small("protein_structure", fidelity_range=(5, 50))
    config = whole._grid.config(3)
    assert part(config, seed=1) == part(config, fidelity=50, seed=1) == whole(config, fidelity=50, seed=1)
    assert part(config, seed=1).runtime == whole(config, seed=1).runtime / 2
    assert part.label == "hpolib/protein_structure(fidelity_range=[5, 50])"
    copy = pickle.loads(pickle.dumps(part))
    assert (copy.label, copy.fidelity, copy(config, seed=1)) == (part.label, part.fidelity, part(config, seed=1))


def test_the_range_of_the_paper_is_the_default(home):
    put(home, "protein_structure", SMALL_AXES)
    benchmark = Small("protein_structure")
    assert benchmark.fidelity == Fidelity("epoch", 11, 100, integer=True)
    config = benchmark._grid.config(7)
    for fidelity in (10, 101, 0, -1, 11.5, math.nan, True, np.True_, "27", [27]):
        with pytest.raises(SpecificationError) as caught:
            benchmark(config, fidelity=fidelity)
        assert str(caught.value) == (
            f"hpolib/protein_structure: the fidelity 'epoch' is {fidelity!r}; it must be an integer from 11 to 100, or "
            "None for the full training (the table has 1 to 100: see fidelity_range)"
        )
    for wrong in ((0, 100), (11, 101), (100, 11), (50, 50), 11):
        with pytest.raises(SpecificationError, match="it must be two integers, 1 <= lower < upper <= 100"):
            Small("protein_structure", fidelity_range=wrong)


def test_the_file_may_lie_without_the_folder_of_the_archive(home):
    path = put(home, "protein_structure", SMALL_AXES)
    path.rename(home / "hpolib" / path.name)
    assert Small("protein_structure").fidelity.lower == 11


def test_a_training_that_diverged_is_a_failure_with_its_runtime(home):
    path = put(home, "protein_structure", SMALL_AXES)
    with h5py.File(path, "r+") as file:
        group = file[next(iter(file))]
        group["valid_mse"][2, 29:] = np.inf
        group["valid_mse"][3, 29:] = np.nan
        config, runtime = json.loads(group.name[1:]), float(group["runtime"][2])
    benchmark = Small("protein_structure", space="values")
    assert benchmark(config, fidelity=29, seed=2).runtime == runtime * 29 / 100
    with pytest.raises(TrainingFailedError, match=r"its repetition 2 of \{.*\} diverged before epoch 30") as caught:
        benchmark(config, fidelity=30, seed=2)
    assert caught.value.runtime == runtime * 30 / 100
    for seed in (3, None):
        with pytest.raises(TrainingFailedError):
            benchmark(config, fidelity=30, seed=seed)
    assert math.isfinite(benchmark.optimum)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda f, first: f.__delitem__(first), "it holds 63 configurations; it must hold 64"),
        (lambda f, first: f.move(first, "no JSON"), "a group is called 'no JSON'"),
        (lambda f, first: f.move(first, "[1]"), r"a group is called '\[1\]'"),
        (lambda f, first: f.move(first, first.replace("16", "17")), "the parameter 'n_units_1' has the value 17"),
        (lambda f, first: f.move(first, last(f).replace(" ", "")), "it holds the configuration .* twice"),
        (lambda f, first: f[first].__delitem__("runtime"), "'runtime'"),
        (lambda f, first: reset(f[first], "valid_mse", np.ones((4, 99))), r"'valid_mse' of .* has the shape \(4, 99\)"),
        (lambda f, first: reset(f[first], "valid_mse", np.zeros((4, 100), "f4")), "'valid_mse' holds a number that is"),
        (lambda f, first: reset(f[first], "runtime", ["a"] * 4), "'runtime' of .* type object; it must be"),
        (lambda f, first: f[first]["runtime"].__setitem__(0, np.nan), "'runtime' or 'n_params' holds something else"),
    ],
)
def test_a_file_that_is_not_the_table_is_refused_with_the_difference_and_leaves_nothing(home, change, finding):
    path = put(home, "protein_structure", SMALL_AXES)
    with h5py.File(path, "r+") as file:
        change(file, next(iter(file)))
    benchmark = Small("protein_structure")
    with pytest.raises(DamagedDataError, match=finding) as caught:
        benchmark(benchmark._grid.config(0))
    assert str(caught.value).startswith(f"{path} is not the table")
    assert str(caught.value).endswith("remove it and get it again with: zerowait data fetch hpolib")
    left = [file.name for file in (home.parent / "cache").rglob("*")]
    assert left == ["official", "hpolib-protein_structure-v1.lock"]


def last(file):
    return list(file)[-1]


def reset(group, name, data):
    del group[name]
    group[name] = data


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_a_torn_file_is_refused_with_the_command(home, content):
    path = put(home, "protein_structure", SMALL_AXES)
    path.write_bytes(path.read_bytes()[:9000] if content is None else content)
    benchmark = Small("protein_structure")
    with pytest.raises(DamagedDataError, match=r"not the table that it should be: .*zerowait data fetch hpolib"):
        benchmark(benchmark._grid.config(0))


def test_without_h5py_the_error_says_how_to_get_it(home, monkeypatch):
    put(home, "protein_structure", SMALL_AXES)
    monkeypatch.setitem(sys.modules, "h5py", None)
    benchmark = Small("protein_structure")
    with pytest.raises(RuntimeError, match=r"read with h5py, which is not there .*; get it with: pip install"):
        benchmark(benchmark._grid.config(0))


# -- of real size ------------------------------------------------------------------------------------------------------

TASK = "naval_propulsion"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A data folder with a file of real size: 62,208 groups, after the last epoch the real numbers."""
    home = tmp_path_factory.mktemp("real")
    known = tables.open_table(TABLE.file(TASK))
    put(home, TASK, TABLE.axes, known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROWAIT_DATA", str(home))
        patch.setenv("ZEROWAIT_CACHE", str(home / "cache"))
        yield home


# The peak of the process itself: what `getrusage` says counts the process that started it.
CONVERT = """
from pathlib import Path
from zerowait.benchmarks.tables.hpolib import TABLE
TABLE.convert_official()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_file_of_real_size_is_converted_within_a_gigabyte_and_agrees_with_the_package(
    real, record_property, calls_of_a_query
):
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CONVERT], capture_output=True, text=True, check=True)
    record_property("seconds", time.perf_counter() - before)
    record_property("peak MiB", int(done.stdout) / 1024)
    assert int(done.stdout) < 1_000_000  # KiB
    benchmark = load("hpolib", task=TASK)
    known = tables.open_table(TABLE.file(TASK))
    for row in range(0, 62_208, 97):
        for seed in range(4):
            runtime, error, size = known[row, seed].tolist()
            evaluation = benchmark(benchmark._grid.config(row), seed=seed)
            assert (evaluation.value, evaluation.runtime) == (math.log(error), runtime)
            assert evaluation.metrics == {"valid_mse": error, "model_size": size}
    assert benchmark.optimum == pytest.approx(-10.60497, abs=5e-6)
    assert max(calls_of_a_query(benchmark, benchmark._grid.config(7), fidelity=e, seed=1) for e in (11, 33, 100)) < 100


TOUCH = """
import sys
from zerowait.benchmarks import load
benchmark = load("hpolib", task="naval_propulsion")
total = sum(benchmark(benchmark._grid.config(row), fidelity=z, seed=row).runtime
            for row in range(0, 62_208, 4) for z in range(11, 101, 10))
print(total, flush=True)
sys.stdin.read()
"""


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("n", [1, 16])
def test_processes_share_the_pages_of_the_table(real, n, check_page_sharing):
    TABLE.convert_official()
    check_page_sharing(TOUCH, n, real / "cache" / "official", 62_208 * 4 * (100 * 4 + 2 * 8))
