"""The real LCBench: golden rows, agreement with the authors' final results, charges, and damaged files."""

from __future__ import annotations

import math
import pickle
import shutil
import statistics
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerowait import adapters
from zerowait.benchmarks import DamagedDataError, DataMissingError, load
from zerowait.benchmarks.data import sources
from zerowait.benchmarks.data.download import git_blob
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.tables import lcbench_raw
from zerowait.benchmarks.tables.lcbench_raw import RANGES, LCBenchRaw
from zerowait.benchmarks.tables.lcbench_raw_official import COLUMNS, CONFIG, PARAMETERS, TASKS, LCBenchFiles
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError

HOME = data_set("lcbench_raw").home
REAL = lcbench_raw.missing("167184")
real = pytest.mark.skipif(REAL is not None, reason=f"real data: {REAL}, or set ZEROWAIT_DATA")

REAL_FILE = next((HOME / p for p in LCBenchFiles("167184").places("167184") if (HOME / p).is_file()), None)
# Read off the file of the authors (blob 4e0e183e of their repository) with pyarrow: seconds, balanced accuracy of the
# validation data, accuracy of the test data in percent, balanced accuracy of the test data.
GOLDEN = {
    (0, 1): (0.870574951171875, 0.5, 80.081298828125, 0.5),
    (0, 50): (64.77344703674315, 0.6729519963264465, 62.60162734985352, 0.636175274848938),
    (777, 17): (14.871325492858887, 0.6612193584442139, 59.34959411621094, 0.6158707141876221),
    (1234, 6): (5.187489748001099, 0.6612193584442139, 59.34959411621094, 0.6158707141876221),
    (1500, 33): (28.173570156097412, 0.7037502527236938, 59.75609588623047, 0.6184087991714478),
    (1999, 50): (134.2554097175598, 0.7018646597862244, 62.19512176513672, 0.6336371898651123),
}


def frames(seed=0, n=2000, epochs=52):
    """A configuration file and a metrics file in the official layout, with made-up numbers."""
    rng = np.random.default_rng(seed)
    config = pd.DataFrame(
        {
            "batch_size": np.geomspace(16, 512, n).astype(int),
            "loss": "cross_entropy_weighted",
            "learning_rate": np.exp(rng.uniform(np.log(1e-4), np.log(0.1), n)),
            "max_dropout": rng.random(n),
            "max_units": rng.integers(64, 1025, n),
            "momentum": rng.uniform(0.1, 0.99, n),
            "num_layers": rng.integers(1, 5, n),
            "weight_decay": rng.uniform(1e-5, 0.1, n),
        },
        index=pd.Index(list(range(n)), name="trial"),
    )
    index = pd.MultiIndex.from_product([range(n), range(epochs)], names=["trial", "epoch"])
    metrics = pd.DataFrame({f"Train/{c}": rng.random(len(index)) for c in COLUMNS if c != "time"}, index=index)
    metrics["time"] = np.cumsum(rng.random((n, epochs)) + 0.1, axis=1).ravel()
    return config, metrics


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A data folder in the official layout, of the task 167104."""
    folder = tmp_path_factory.mktemp("official")
    config, metrics = frames()
    for name, frame in (("APSFailure/config", config), ("Australian/metrics", metrics)):
        path = folder / "lcbench_raw" / f"{name}.parquet.gzip"
        path.parent.mkdir(parents=True)
        frame.to_parquet(path, compression="gzip")
    return folder


@pytest.fixture
def here(official, tmp_path, monkeypatch):
    """That folder copied and in use, with digests that are those of its files."""
    shutil.copytree(official, tmp_path / "data")
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    know(monkeypatch)
    return tmp_path / "data" / "lcbench_raw"


def know(monkeypatch):
    """Take the digests of what lies in the data folder for those of the authors."""
    from dataclasses import replace

    real = data_set("lcbench_raw")
    digests = [replace(one, size=None, sha256=git_blob(real.place / one.path))
               if (real.place / one.path).is_file() else one for one in real.downloads]  # fmt: skip
    patched = replace(real, downloads=tuple(digests))
    monkeypatch.setattr(sources, "DATA_SETS", tuple(patched if d.name == real.name else d for d in sources.DATA_SETS))


# --- the real file --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    return pd.read_parquet(REAL_FILE)


@real
def test_golden_rows_of_the_real_table():
    benchmark = load("lcbench_raw", task="167184", answer="choice")
    for (trial, epoch), (seconds, score, accuracy, balanced) in GOLDEN.items():
        found = benchmark({"configuration": trial}, fidelity=epoch)
        assert (found.runtime, found.value) == (seconds, 1 - score)
        assert (found.metrics["test_result"], found.metrics["test_balanced_accuracy"]) == (accuracy, balanced)
    assert benchmark.optimum == 0.276555597782135


@real
def test_every_number_of_the_real_table_is_found(table):
    benchmark = load("lcbench_raw", task="167184", answer="choice")
    rng = np.random.default_rng(0)
    for trial, epoch in zip(rng.integers(2000, size=300).tolist(), rng.integers(1, 51, size=300).tolist(), strict=True):
        row = table.loc[(trial, epoch)]
        found = benchmark({"configuration": trial}, fidelity=epoch, seed=7)
        assert found.value == 1.0 - row["Train/val_balanced_accuracy"]
        assert found.runtime == row["time"]
        assert found.metrics == {name: row[name if name == "time" else f"Train/{name}"] for name in COLUMNS}


@real
def test_the_final_results_of_the_authors_are_those_of_the_last_epoch_of_the_curves():
    file = HOME / "results_35_datasets.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    results = pd.read_parquet(file).query("OpenML_task_id == 167184").set_index("trial").sort_index()
    last = lcbench_raw.LCBenchRaw("167184")._curves[:, 51]
    for column in ("val", "test"):  # of the training data the curves hold other numbers than the results
        for what in ("cross_entropy", "balanced_accuracy"):
            ours = last[:, list(COLUMNS).index(f"{column}_{what}")]
            assert np.abs(ours - results[f"final_{column}_{what}"].to_numpy()).max() < 3e-8


@real
def test_the_tasks_are_those_of_the_authors_results():
    file = HOME / "results_35_datasets.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    results = pd.read_parquet(file, columns=["OpenML_task_id", "dataset"]).drop_duplicates()
    assert {str(task): name for task, name in results.itertuples(index=False)} == dict(TASKS)


@real
@pytest.mark.parametrize("answer", ["choice", "nearest"])
def test_continued_evaluations_are_charged_the_difference_of_the_real_seconds(answer):
    benchmark = load("lcbench_raw", task="167184", answer=answer)
    trace = adapters.load("optuna-hyperband").optimize(
        benchmark, n_workers=4, seed=1, budget=Budget(120), overhead=Overhead.none(), mode="ask_tell", continual=True
    )
    continued = trace[trace.resumed_from.notna()]
    assert len(continued) > 10
    assert not trace.clipped.any()
    names = [name for name in trace.columns if name.startswith("config.")]
    for row in trace.to_dict("records"):
        config = {name.removeprefix("config."): row[name] for name in names}
        whole = benchmark(config, fidelity=row["fidelity"]).runtime
        before = 0.0
        if not math.isnan(row["resumed_from"]):
            before = benchmark(config, fidelity=row["resumed_from"]).runtime
        assert row["runtime"] == whole - before


@real
def test_a_trained_configuration_is_its_own_nearest():
    nearest, choice = (load("lcbench_raw", task="167184", answer=answer) for answer in ("nearest", "choice"))
    for number in range(0, 2000, 97):
        found, same = nearest(nearest.trained(number), fidelity=9), choice({"configuration": number}, fidelity=9)
        assert found.metrics == {**same.metrics, "distance": 0.0}
        assert (found.value, found.runtime) == (same.value, same.runtime)


@real
def test_another_task_answers_with_its_real_final_results_for_the_real_configurations(tmp_path, monkeypatch):
    """Its curves are not at hand: here each epoch has the final results of the authors."""
    file = HOME / "results_35_datasets.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    results = pd.read_parquet(file).query("OpenML_task_id == 189909").sort_values("trial")
    score = results["final_val_balanced_accuracy"].to_numpy()
    _, metrics = frames()
    metrics["Train/val_balanced_accuracy"] = np.repeat(score, 52)
    metrics["Train/test_balanced_accuracy"] = np.repeat(results["final_test_balanced_accuracy"].to_numpy(), 52)
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    places = [LCBenchFiles("189909").places("189909")[0], "config.parquet"]
    for place in places:
        (tmp_path / "lcbench_raw" / place).parent.mkdir(parents=True, exist_ok=True)
    metrics.to_parquet(tmp_path / "lcbench_raw" / places[0], compression="gzip")
    shutil.copyfile(HOME / "config.parquet", tmp_path / "lcbench_raw" / places[1])
    know(monkeypatch)
    benchmark = load("lcbench_raw", task="189909")
    for number in range(0, 2000, 50):
        found = benchmark(benchmark.trained(number))
        assert (found.value, found.metrics["distance"]) == (1.0 - score[number], 0.0)
        assert found.metrics["test_balanced_accuracy"] == results["final_test_balanced_accuracy"].iloc[number]
    assert benchmark.optimum == 1.0 - score.max()


# --- files in the official layout -----------------------------------------------------------------------------------


def test_files_in_the_official_layout_are_read(here):
    _, metrics = frames()
    benchmark = load("lcbench_raw", task="167104", answer="choice")
    row = metrics.loc[(1234, 50)]
    found = benchmark({"configuration": 1234})
    assert (found.value, found.runtime) == (1.0 - row["Train/val_balanced_accuracy"], row["time"])
    assert benchmark.optimum == 1.0 - metrics.xs(50, level="epoch")["Train/val_balanced_accuracy"].max()
    assert pickle.loads(pickle.dumps(benchmark))({"configuration": 3}) == benchmark({"configuration": 3})
    for path in here.rglob("metrics.parquet.gzip"):
        path.unlink()  # what was converted is enough
    assert load("lcbench_raw", task="167104", answer="choice")({"configuration": 1234}) == found


def test_another_file_is_another_content(here, monkeypatch):
    before = load("lcbench_raw", task="167104").content
    _, metrics = frames(seed=1)
    metrics.to_parquet(here / "Australian" / "metrics.parquet.gzip")
    know(monkeypatch)
    assert load("lcbench_raw", task="167104").content != before


@pytest.fixture(scope="module")
def made(official):
    """The benchmark of made-up numbers, answered without its files."""
    benchmark = LCBenchRaw("167104")
    config, metrics = frames()
    benchmark.__dict__["_configurations"] = config[list(PARAMETERS)].to_numpy(dtype=float)
    columns = [name if name == "time" else f"Train/{name}" for name in COLUMNS]
    benchmark.__dict__["_curves"] = metrics[columns].to_numpy().reshape(2000, 52, -1)
    return benchmark


numbers = {
    name: st.integers(int(r.lower), int(r.upper)) if r.integer else st.floats(r.lower, r.upper)
    for name, r in RANGES.items()
}


@given(config=st.fixed_dictionaries(numbers), epoch=st.integers(1, 50))
def test_the_nearest_is_the_one_at_the_least_distance(made, config, epoch):
    def place(name, value):
        lower, upper, log = RANGES[name].lower, RANGES[name].upper, RANGES[name].log
        return (math.log(value / lower) / math.log(upper / lower)) if log else (value - lower) / (upper - lower)

    frame, metrics = frames()
    there = np.array([[place(name, v) for v in frame[name].tolist()] for name in PARAMETERS])
    distances = np.sqrt(sum((there[i] - place(n, config[n])) ** 2 for i, n in enumerate(PARAMETERS)))
    found = made(config, fidelity=epoch)
    number = int(distances.argmin())
    assert found.metrics["distance"] == pytest.approx(distances[number], abs=1e-12)
    assert found.runtime == metrics["time"].loc[(number, epoch)]


def test_configurations_of_the_space_are_accepted(made):
    made.space.seed(0)
    for config in made.space.sample_configuration(200):
        assert made(config).metrics["distance"] >= 0.0


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, -1, 10**400, []])
def test_what_is_outside_the_ranges_is_refused(made, name, value):
    config = {**made.trained(0), name: value}
    with pytest.raises(SpecificationError, match=f"lcbench_raw/167104: the parameter '{name}' has the value"):
        made(config)


def test_arguments_are_refused():
    with pytest.raises(SpecificationError, match="answer is 'best'; it must be 'nearest' or 'choice'"):
        LCBenchRaw("3945", answer="best")
    with pytest.raises(SpecificationError, match=r"fidelity_range is \(0, 50\)"):
        LCBenchRaw("3945", fidelity_range=(0, 50))
    with pytest.raises(SpecificationError, match="task '1' is unknown"):
        LCBenchRaw("1")
    choice = LCBenchRaw("3945", answer="choice", fidelity_range=(6, 50))
    assert choice.label == "lcbench_raw/3945(answer=choice, fidelity_range=[6, 50])"
    with pytest.raises(SpecificationError, match="'configuration' has the value 2000; allowed is an integer from 0"):
        choice({"configuration": 2000})


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda m: m.iloc[:-1], "it has 103999 rows; it must have 104000"),
        (lambda m: m.drop(columns="time"), "the column 'time' is missing"),
        (lambda m: m[::-1], "not in the order of trial"),
        (lambda m: m.assign(time=1.0), "the time of a training does not grow with its epochs"),
        (lambda m: m.assign(**{"Train/val_balanced_accuracy": 50.0}), "a balanced accuracy is not from 0 to 1"),
        (lambda m: m.assign(**{"Train/lr": math.nan}), "a number that is not finite"),
        (lambda m: m.assign(**{"Train/lr": "x"}), "is not the table that it should be"),
    ],
)
def test_a_file_that_is_not_the_table_is_refused_with_the_remedy(here, monkeypatch, damage, what):
    damage(frames()[1]).to_parquet(here / "Australian" / "metrics.parquet.gzip")
    know(monkeypatch)
    refused(what)


def test_a_truncated_file_is_refused_with_the_remedy(here, monkeypatch):
    path = here / "Australian" / "metrics.parquet.gzip"
    path.write_bytes(path.read_bytes()[:-1000])
    refused("its id as a Git blob is git:")
    know(monkeypatch)
    refused("is not the table that it should be")


def refused(what):
    with pytest.raises(DamagedDataError, match=what) as caught:
        load("lcbench_raw", task="167104")({**LCBenchRaw("167104").trained(0)})
    assert str(caught.value).endswith("remove it and get it again with: zerowait data fetch lcbench_raw")
    assert str(caught.value).isprintable()


def test_a_task_whose_file_is_missing_is_named_with_the_command(here):
    with pytest.raises(DataMissingError, match=r"covertype/metrics\.parquet\.gzip is not there; get it with: zerowait"):
        load("lcbench_raw", task="7593")
    assert lcbench_raw.missing(None) is None
    (here / "APSFailure" / "config.parquet.gzip").unlink()
    assert "config.parquet.gzip is not there" in lcbench_raw.missing("167104")


def test_the_places_and_digests_of_all_tasks_are_known():
    digests = data_set("lcbench_raw").digests()
    assert len(TASKS) == 35
    assert {LCBenchFiles(task).places(task)[0] for task in TASKS} | {LCBenchFiles(CONFIG).places(CONFIG)[0]} == set(
        digests
    )
    assert len(set(digests.values())) == 36


@real
def test_the_real_file_is_that_of_the_authors_repository():
    assert (
        git_blob(REAL_FILE)
        == data_set("lcbench_raw").digests()["blood-transfusion-service-center/metrics.parquet.gzip"]
    )


def test_the_time_of_a_query_is_told(made, record_property):
    rng = np.random.default_rng(0)
    configs = [made.trained(number) for number in rng.integers(2000, size=1000).tolist()]
    seconds = []
    for config in configs:
        began = time.perf_counter()
        made(config, fidelity=17, seed=1)
        seconds.append(time.perf_counter() - began)
    record_property("microseconds of a nearest query", statistics.median(seconds) * 1e6)
