"""ScAn-Bench: golden rows, failures, charges, seconds of different machines, and files that are not the table."""

from __future__ import annotations

import csv
import hashlib
import math
import pickle
import shutil
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from zerowait import adapters
from zerowait.benchmarks import DamagedDataError, DataMissingError, load
from zerowait.benchmarks.data import sources
from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.tables import scan_bench, scan_bench_official
from zerowait.benchmarks.tables.scan_bench import ScanBench
from zerowait.benchmarks.tables.scan_bench_official import PARAMETERS, REFERENCE, with_seconds
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError

MISSING = scan_bench.missing(None)
real = pytest.mark.skipif(MISSING is not None, reason=f"real data: {MISSING}, or pip install --no-deps scan-bench")
# Read off the file of version 0.2.3 with Python's csv, by configuration (the first is 0) and epoch: validation and test
# loss, seconds to its end, planned epochs. The first and the last are of the machine of reference.
GOLDEN = {
    (1, 1): (2.991186141967773, 2.970750570297241, 1224.024808883667, 8),
    (1, 8): (1.896699070930481, 1.8741601705551147, 9700.823318004608, 8),
    (1222, 9): (0.3243006467819214, 0.3173412084579468, 6334.881544351578, 9),
    (999, 3): (2.9921443462371826, 2.9663424491882324, 2480.411012172699, 4),
}


@pytest.fixture(scope="module")
def rows():
    """The rows of each training, as Python's csv reads them, without any of our code."""
    found = defaultdict(list)
    with (data_set("scan_bench").place / "vlm/data.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[int(row["config_id"]) - 1].append(row)
    return found


@real
def test_golden_rows_of_the_real_table():
    benchmark = load("scan_bench", answer="choice")
    for (number, epoch), (loss, test, seconds, epochs) in GOLDEN.items():
        found = benchmark({"configuration": number}, fidelity=epoch / epochs)
        assert (found.value, found.metrics["test_loss"], found.metrics["measured_seconds"]) == (loss, test, seconds)
        assert (found.runtime == seconds) == (number != 1222)
    assert benchmark.optimum == GOLDEN[1222, 9][0] == load("scan_bench").optimum


@real
def test_every_training_is_answered_as_it_went_and_fails_where_it_diverged(rows):
    benchmark = load("scan_bench", answer="choice")
    failures = 0
    for number in range(0, 1500, 3):
        epochs, seconds, failed = round(float(rows[number][0]["total_epochs"])), 0.0, None
        for row in rows[number]:
            losses = [float(row[name] or math.nan) for name in ("val_loss", "test_loss", "train_loss")]
            progress = int(row["epoch"]) / epochs
            if failed is None and (row["epoch_diverged"] == "True" or not np.isfinite(losses).all()):
                failed = int(row["epoch"])
            if failed is None:
                seconds += float(row["train_duration(s)"])
                found = benchmark({"configuration": number}, fidelity=max(progress, 0.1), seed=5)
                assert [found.metrics[name] for name in ("val_loss", "test_loss", "train_loss")] == losses
                assert found.value == losses[0]
                assert found.metrics["measured_seconds"] == seconds
                assert found.metrics["training_progress"] == pytest.approx(progress, abs=1e-3)  # as the authors say it
        if failed is not None:
            failures += 1
            for progress in (failed / epochs, 1.0):
                with pytest.raises(TrainingFailedError, match=f"{number} diverged in epoch {failed} of {epochs}"):
                    benchmark({"configuration": number}, fidelity=progress)
    assert failures > 30


@real
def test_seconds_of_all_machines_are_alike_once_they_are_those_of_one():
    found = with_seconds(pd.read_csv(data_set("scan_bench").place / "vlm/data.csv", low_memory=False))
    assert found[["seconds", "measured_seconds"]].notna().all(axis=None)
    finished = found[~found.failed]
    seconds, measured = (finished[name] / finished.train_num_samples_per_epoch
                         for name in ("seconds", "measured_seconds"))  # fmt: skip
    assert (abs(seconds / seconds.median() - 1) < 0.3).all()
    assert measured.max() / measured.min() > 20
    same = (finished.train_gpu_name == REFERENCE[0]) & (finished.world_size == REFERENCE[1])
    assert same.sum() > 1000
    assert (finished.seconds == finished.measured_seconds)[same].all()


@real
@pytest.mark.parametrize("answer", ["choice", "nearest"])
def test_continued_evaluations_are_charged_the_difference_of_the_seconds(answer):
    benchmark = load("scan_bench", answer=answer)
    trace = adapters.load("optuna-hyperband").optimize(
        benchmark, n_workers=4, seed=1, budget=Budget(120), overhead=Overhead.none(), mode="ask_tell", continual=True
    )
    assert not trace.clipped.any()
    assert answer == "nearest" or (trace.status == "failed").any()
    names = [name for name in trace.columns if name.startswith("config.")]
    continued = trace[trace.resumed_from.notna() & (trace.status == "ok")]
    assert len(continued) > 10
    for row in continued.to_dict("records"):
        config = {name.removeprefix("config."): row[name] for name in names}
        whole, before = (benchmark(config, fidelity=row[name]).runtime for name in ("fidelity", "resumed_from"))
        assert row["runtime"] == whole - before


@real
def test_a_trained_configuration_is_its_own_nearest():
    nearest, choice = load("scan_bench"), load("scan_bench", answer="choice")
    for number in range(1, 1500, 97):
        found, same = (answer_of(*query) for query in ((nearest, nearest.trained(number)),
                                                       (choice, {"configuration": number})))  # fmt: skip
        assert found == (same if isinstance(same, float) else (*same[:2], {**same[2], "distance": 0.0}))


def answer_of(benchmark, config):
    """What an evaluation says, or the seconds after which it failed."""
    try:
        found = benchmark(config, fidelity=0.4)
    except TrainingFailedError as error:
        return error.runtime
    return found.value, found.runtime, found.metrics


@real
def test_a_file_of_the_data_folder_is_converted_into_the_same(tmp_path, monkeypatch):
    source = data_set("scan_bench").place / "vlm/data.csv"
    content = load("scan_bench").content
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "scan_bench/vlm/data.csv"
    copy.parent.mkdir(parents=True)
    shutil.copyfile(source, copy)
    assert load("scan_bench").content == content


# --- files in the layout of the package -----------------------------------------------------------------------------


def frame():
    """Four trainings: one of reference, the same on a machine twice as fast, and two that diverge."""
    rows = []
    for number, machine, epochs, speed in ((1, REFERENCE, 4, 1), (2, ("fast", 8), 4, 2), (3, REFERENCE, 3, 1),
                                           (4, ("fast", 8), 2, 2)):  # fmt: skip
        diverged = {3: 2, 4: 1}.get(number, 99)
        for epoch in range(1, min(epochs, diverged) + 1):
            failed = epoch == diverged
            rows.append(
                dict.fromkeys(PARAMETERS, 0.5 + number / 100)
                | {"config_id": number, "epoch": epoch, "total_epochs": epochs, "epoch_diverged": failed,
                   "samples_seen": 1000 * epoch - 500 * failed, "train_gpu_name": machine[0], "world_size": machine[1],
                   "train_duration(s)": math.nan if failed else 100 / speed,
                   "val_loss": math.nan if failed else 4 / epoch, "test_loss": 1.0, "train_loss": 2.0,
                   "training_progress": epoch / epochs}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A file of four trainings, in use."""
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "data/scan_bench/vlm/data.csv"
    path.parent.mkdir(parents=True)
    frame().to_csv(path, index=False)
    monkeypatch.setattr(scan_bench_official, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(scan_bench_official, "CONFIGURATIONS", 4)
    monkeypatch.setattr(ScanBench, "configurations", 4)
    return path


def test_another_machine_gets_the_seconds_of_the_reference(here):
    benchmark = load("scan_bench", answer="choice")
    for progress, epoch in ((0.1, 1), (0.25, 1), (0.26, 2), (1 / 3, 2), (0.75, 3), (1.0, 4), (None, 4)):
        one, other = (benchmark({"configuration": number}, fidelity=progress) for number in (0, 1))
        assert one.runtime == other.runtime == 100 * epoch
        assert (one.metrics["measured_seconds"], other.metrics["measured_seconds"]) == (100 * epoch, 50 * epoch)
        assert one.value == 4 / epoch
    assert benchmark.optimum == 1.0
    assert load("scan_bench", answer="choice", fidelity_range=[0.1, 0.5]).optimum == 2.0
    assert pickle.loads(pickle.dumps(benchmark))({"configuration": 1}) == benchmark({"configuration": 1})


def test_a_training_that_diverged_costs_the_seconds_of_what_it_saw(here):
    benchmark = load("scan_bench", answer="choice")
    assert benchmark({"configuration": 2}, fidelity=1 / 3).runtime == 100
    for number, seconds in ((2, 150), (3, 50)):
        with pytest.raises(TrainingFailedError) as caught:
            benchmark({"configuration": number})
        assert caught.value.runtime == seconds


def test_a_file_that_is_not_the_table_is_refused_with_the_remedy(here):
    here.write_bytes(here.read_bytes()[:-5])
    refused(here)
    here.unlink()
    with pytest.raises(DataMissingError, match=r"vlm/data\.csv is not there; get it with: zerowait data fetch scan_b"):
        load("scan_bench")


def test_the_package_is_looked_into_where_the_data_folder_has_nothing(here, tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    (packages / "scan_bench-0.2.3.dist-info").mkdir(parents=True)
    metadata = packages / "scan_bench-0.2.3.dist-info/METADATA"
    monkeypatch.syspath_prepend(packages)
    for version, where in (("0.2.3", packages), ("0.2.4", here.parents[2])):
        metadata.write_text(f"Metadata-Version: 2.1\nName: scan-bench\nVersion: {version}\n")
        assert data_set("scan_bench").home == here.parents[1]
        here.parents[1].rename(tmp_path / "aside")
        assert data_set("scan_bench").home == where / "scan_bench"
        (tmp_path / "aside").rename(here.parents[1])
    metadata.write_text("Metadata-Version: 2.1\nName: scan-bench\nVersion: 0.2.3\n")
    here.parents[1].rename(packages / "scan_bench")
    assert load("scan_bench", answer="choice").optimum == 1.0
    damaged = packages / "scan_bench/vlm/data.csv"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    refused(damaged, "install it again: pip install --no-deps --force-reinstall scan-bench==0.2.3")


def refused(path, remedy="remove it and get it again with: zerowait data fetch scan_bench"):
    with pytest.raises(
        DamagedDataError, match=r"data\.csv is not the table that it should be: its SHA-256 is"
    ) as caught:
        _ = load("scan_bench").optimum
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith(remedy)
    assert str(caught.value).isprintable()


def test_arguments_are_refused():
    with pytest.raises(SpecificationError, match="scan_bench: answer is 'best'; it must be 'nearest' or 'choice'"):
        ScanBench(answer="best")
    with pytest.raises(SpecificationError, match=r"fidelity_range is \(0, 1\)"):
        ScanBench(fidelity_range=(0, 1))
    choice = ScanBench(answer="choice", fidelity_range=(0.2, 1.0))
    assert choice.label == "scan_bench(answer=choice, fidelity_range=[0.2, 1.0])"


def test_nothing_is_imported_of_the_package(here):
    import sys

    _ = load("scan_bench").optimum
    assert "scan_bench" not in sys.modules
    assert sources.data_set("scan_bench").place == here.parents[1]
