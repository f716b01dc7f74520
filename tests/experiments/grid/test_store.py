"""The store of a study: complete at any time, the same whatever happened on the way, and quick to load."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet
import pytest

import zerowait
from zerowait.experiments.grid import store
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.runner import StudyFolder, Summary, run_grid
from zerowait.suite.records import store as records
from zerowait.suite.records.store_cells import CELL_COLUMNS, MEASURED_COLUMNS, RUN_COLUMNS
from zerowait.suite.records.trace import COLUMNS, read_trace
from zerowait.suite.rules.errors import SpecificationError, TraceError

sys.path.insert(0, str(Path(__file__).parents[1]))  # the child process of the kill test has it by PYTHONPATH

from stores import list_cells, make_cell, store_bytes


def grid(study, seeds=2, n=5, optimizers=("random", "tpe"), benchmarks=("branin", "hpobench/vehicle")):
    """Make the cells of a small grid; return their keys and traces."""
    return dict(
        make_cell(study, optimizer=o, benchmark=b, n_workers=p, seed=s, n=n)
        for o, b, p, s in itertools.product(optimizers, benchmarks, (1, 4), range(seeds))
    )


def test_a_study_loads_in_one_call_with_every_evaluation(tmp_path):
    traces = grid(tmp_path)
    store.update(tmp_path)
    loaded = zerowait.load_study(tmp_path)
    assert list(loaded.columns) == [*RUN_COLUMNS, *COLUMNS, "config.x"]
    assert len(loaded) == sum(map(len, traces.values())) == 80
    for key, rows in loaded.groupby("cell", observed=True):
        stored = rows[[*COLUMNS, "config.x"]].reset_index(drop=True).astype({"status": traces[key]["status"].dtype})
        pd.testing.assert_frame_equal(stored, traces[key].reset_index(drop=True), check_exact=True)


def test_the_store_of_a_real_study_has_what_its_traces_have(plan, tmp_path):
    study = plan()
    folder = StudyFolder(tmp_path / "out")
    writer = store.StoreWriter(folder.path)
    run_grid(study.study.name, study.cells, folder, InProcess(), writer)
    store.update(folder.path)
    loaded = zerowait.load_study(folder.path)
    assert set(loaded["optimizer"].unique()) == {"random", "optuna-tpe"}
    for cell in study.cells:
        trace = read_trace(folder.cells.finished(cell.key) / "trace.parquet")
        rows = loaded[loaded["cell"] == cell.key]
        assert rows["n_workers"].unique().tolist() == [cell.n_workers]
        assert rows["run_seed"].unique().tolist() == [cell.seed]
        for column in ("end", "value", "config.x1"):
            np.testing.assert_array_equal(rows[column], trace[column])
    cells = zerowait.load_cells(folder.path)
    assert list(cells.columns) == list(CELL_COLUMNS)
    assert cells["simulated_time"].min() > 0
    assert cells["wall_time"].min() > 0
    assert cells["specification"].is_unique


def test_only_the_columns_and_runs_that_are_asked_for_are_returned_in_their_order(tmp_path):
    grid(tmp_path)
    store.update(tmp_path)
    loaded = zerowait.load_study(
        tmp_path, columns=["value", "config.*", "optimizer"],
        where={"benchmark": "hpobench/vehicle", "n_workers": [4, 8], "run_seed": range(1), "optimizer": {"tpe"}},
    )  # fmt: skip
    assert list(loaded.columns) == ["value", "config.x", "optimizer"]
    assert len(loaded) == 5
    assert loaded["optimizer"].unique().tolist() == ["tpe"]
    assert zerowait.load_study(tmp_path, columns=["optimizer", "benchmark"]).shape == (80, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["valu"]}, "the study has no column 'valu'; it has: optimizer, benchmark, "),
        ({"columns": "value"}, r"columns is 'value'; it must be a list of names, such as \['value'\]"),
        ({"where": {"optimizer": "TPE"}}, "'optimizer=TPE': the study has no optimizer 'TPE'; it has: random, tpe"),
        ({"where": {"p": 1}}, "names 'p', which no run has; it may name: optimizer, benchmark, P, seed"),
        ({"where": {"n_workers": "many"}}, "compares with 'many'; allowed after =: a whole number"),
    ],
)
def test_a_misspelt_request_is_told_what_there_is(tmp_path, arguments, message):
    grid(tmp_path, seeds=1)
    store.update(tmp_path)
    with pytest.raises(SpecificationError, match=message):
        zerowait.load_study(tmp_path, **arguments)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TraceError, match="there is no study in"):
        zerowait.load_study(tmp_path)
    (tmp_path / "cells").mkdir()
    for load in (zerowait.load_study, zerowait.load_cells):
        with pytest.raises(TraceError, match="there is no finished run"):
            load(tmp_path)


def test_cells_that_finished_after_the_last_update_are_loaded_all_the_same(tmp_path):
    first = dict([make_cell(tmp_path, seed=0)])
    store.update(tmp_path)
    second = dict([make_cell(tmp_path, seed=1, optimizer="other", columns={"config.y": ["a"] * 5})])
    (tmp_path / "cells" / ".half-written").mkdir()
    (tmp_path / "cells" / "0123.failed").mkdir()
    loaded = zerowait.load_study(tmp_path)
    assert set(loaded["cell"]) == {*first, *second}
    assert loaded["config.y"].dropna().tolist() == ["a"] * 5
    assert set(zerowait.load_cells(tmp_path)["cell"]) == {*first, *second}
    assert loaded["optimizer"].dtype == "category"


def test_cells_that_the_study_has_no_more_are_neither_loaded_nor_kept(tmp_path):
    keys = list(grid(tmp_path))
    store.update(tmp_path)
    list_cells(tmp_path, keys[:3])
    assert set(zerowait.load_study(tmp_path, columns=["cell"])["cell"]) == set(keys[:3])
    assert set(zerowait.load_cells(tmp_path)["cell"]) == set(keys[:3])
    assert store.update(tmp_path) == store.Update(cells=3, added=0, dropped=13)
    assert len(store_bytes(tmp_path)) == 1


def test_a_store_alone_is_enough(tmp_path):
    grid(tmp_path / "study")
    store.update(tmp_path / "study")
    shutil.move(tmp_path / "study" / "store", tmp_path / "copy")
    assert len(zerowait.load_study(tmp_path / "copy")) == 80
    assert len(zerowait.load_cells(tmp_path / "copy")) == 16


def test_other_tools_read_the_partitions_as_columns(tmp_path):
    grid(tmp_path)
    store.update(tmp_path)
    table = pd.read_parquet(tmp_path / "store" / "traces")
    assert set(table["benchmark"].unique()) == {"branin", "hpobench/vehicle"}
    assert set(table["optimizer"].unique()) == {"random", "tpe"}


def test_the_bytes_do_not_depend_on_the_order_in_which_cells_came(tmp_path):
    grid(tmp_path / "at once", n=300)
    store.update(tmp_path / "at once")
    keys = sorted(p.name for p in (tmp_path / "at once" / "cells").iterdir())
    one_by_one = tmp_path / "one by one"
    for key in np.random.default_rng(0).permutation(keys):
        shutil.copytree(tmp_path / "at once" / "cells" / key, one_by_one / "cells" / key)
        assert store.update(one_by_one).added == 1
    assert store_bytes(one_by_one) == store_bytes(tmp_path / "at once")
    assert len(store_bytes(one_by_one)) == 4
    cells = (tmp_path / "at once" / "store" / "cells.parquet", one_by_one / "store" / "cells.parquet")
    assert cells[0].read_bytes() == cells[1].read_bytes()


COLUMN_KINDS = {
    0: {"config.x": np.array([1, 2])},
    1: {"config.x": np.array([0.5, 1.5])},
    2: {"config.x": np.array([None, None], object)},
    3: {"config.x": np.array(["a", None], object)},
    4: {"config.x": np.array([True, False])},
    5: {},
}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 0, 3, 1, 5, 4), (3, 5, 1, 4, 0, 2)])
def test_a_parameter_of_many_types_is_stored_the_same_in_every_order(tmp_path, order):
    for seed, columns in COLUMN_KINDS.items():
        make_cell(tmp_path / "once", seed=seed, n=2, columns=columns)
    store.update(tmp_path / "once")
    for seed in order:
        make_cell(tmp_path / "ordered", seed=seed, n=2, columns=COLUMN_KINDS[seed])
        store.update(tmp_path / "ordered")
    assert store_bytes(tmp_path / "ordered") == store_bytes(tmp_path / "once")
    loaded = zerowait.load_study(tmp_path / "ordered")["config.x"]
    assert loaded.fillna("missing").tolist() == [
        "1", "2", "0.5", "1.5", "missing", "missing", "a", "missing", "true", "false", "missing", "missing",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["string", "large_string"])
def test_texts_that_another_version_of_pandas_wrote_are_the_same_texts(tmp_path, kind):
    """Traces that zerowait 0.1 wrote with pandas 3 have large strings."""
    for seed, columns in COLUMN_KINDS.items():
        folder = tmp_path / "cells" / make_cell(tmp_path, seed=seed, n=2, columns=columns)[0]
        table = pyarrow.parquet.read_table(folder / "trace.parquet", partitioning=None)
        texts = [pyarrow.field(f.name, kind, f.nullable, f.metadata) if f.type == "string" else f for f in table.schema]
        table = table.cast(pyarrow.schema(texts, table.schema.metadata))
        pyarrow.parquet.write_table(table, folder / "trace.parquet")
        if seed % 2:
            store.update(tmp_path)
    texts = zerowait.load_study(tmp_path)["config.x"].dropna().tolist()
    assert texts == ["1", "2", "0.5", "1.5", "a", "true", "false"]
    assert read_trace(folder / "trace.parquet")["status"].tolist() == ["ok", "ok"]


def test_whole_numbers_and_fractions_share_a_column_of_numbers(tmp_path):
    make_cell(tmp_path, seed=0, n=2, columns=COLUMN_KINDS[0])
    make_cell(tmp_path, seed=1, n=2, columns=COLUMN_KINDS[1], benchmark="hartmann6")
    store.update(tmp_path)
    assert zerowait.load_study(tmp_path)["config.x"].tolist() == [1.0, 2.0, 0.5, 1.5]


@pytest.mark.parametrize("stored", [True, False])
def test_a_number_stays_one_unless_runs_with_a_text_of_that_name_are_kept_too(tmp_path, stored):
    make_cell(tmp_path, n=2, benchmark="numbers", columns={"config.x": [1, 2], "config.y": [1, 2]})
    make_cell(tmp_path, n=2, benchmark="texts", columns={"config.x": ["a", "b"], "config.z": ["c", "d"]})
    if stored:
        store.update(tmp_path)
    kept = zerowait.load_study(tmp_path, columns=["config.*"], where={"benchmark": "numbers"})
    assert list(kept.columns) == ["config.x", "config.y", "config.z"]
    assert (kept["config.x"].tolist(), kept["config.x"].dtype) == ([1, 2], np.int64)
    assert kept["config.z"].isna().all()
    other = zerowait.load_study(tmp_path, columns=["config.*"], where={"benchmark": "texts"})
    assert other["config.y"].dtype == np.float64  # absent, and of the type that the study has elsewhere
    assert sorted(zerowait.load_study(tmp_path)["config.x"]) == ["1", "2", "a", "b"]
    with pytest.raises(SpecificationError, match=r"no column 'config.w'; it has: .*, config.x, config.y, config.z"):
        zerowait.load_study(tmp_path, columns=["config.w"], where={"benchmark": "numbers"})


def test_a_label_that_no_file_may_have_is_stored_all_the_same(tmp_path):
    names = ["a/../b", "x=y %&", "ü" * 300, "ü" * 301, ". "]
    for name in names:
        make_cell(tmp_path, optimizer=name)
    store.update(tmp_path)
    assert set(zerowait.load_study(tmp_path)["optimizer"]) == set(names)
    assert len(store_bytes(tmp_path)) == 5
    assert all(path.startswith("traces/optimizer=") for path in store_bytes(tmp_path))


def test_a_damaged_cell_is_named_with_the_remedy(tmp_path):
    key, _ = make_cell(tmp_path)
    (tmp_path / "cells" / key / "trace.parquet").write_bytes(b"PAR1 torn")
    for act in (store.update, zerowait.load_study):
        with pytest.raises(TraceError, match=f"{key}.*remove the cell's folder and run the study again"):
            act(tmp_path)


def test_a_damaged_store_is_made_anew_from_the_cells(tmp_path):
    grid(tmp_path)
    store.update(tmp_path)
    before = store_bytes(tmp_path)
    for path in (tmp_path / "store" / next(iter(before)), tmp_path / "store" / "cells.parquet"):
        path.write_bytes(b"torn")
    with pytest.raises(TraceError, match=r"is damaged.*remove it and run the study again"):
        zerowait.load_study(tmp_path)
    store.update(tmp_path)
    assert store_bytes(tmp_path) == before
    assert len(zerowait.load_cells(tmp_path)) == 16


@pytest.mark.parametrize("damaged", ["runs", "cells", "trace"])
def test_a_changed_byte_is_noticed_and_never_another_number(tmp_path, damaged):
    make_cell(tmp_path, n=30)
    if damaged != "trace":
        store.update(tmp_path)
    places = {"runs": "store/traces/*/*/runs.parquet", "cells": "store/cells.parquet", "trace": "cells/*/trace.parquet"}
    path = next(tmp_path.glob(places[damaged]))
    read = zerowait.load_cells if damaged == "cells" else zerowait.load_study
    right, whole = read(tmp_path), path.read_bytes()
    data = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the footer follows
    said = []
    for at in np.linspace(4, data - 1, 40).astype(int):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = read(tmp_path)
        except TraceError as error:
            said.append(str(error))
        else:  # it was one that nobody needs, such as a bound of a page
            assert found.equals(right)
    assert len(said) > 10
    assert all(text.isprintable() for text in said)


@pytest.mark.parametrize("half", ["store/traces/*/*/runs.parquet", "store/cells.parquet"])
def test_a_figure_names_a_store_that_was_cut(tmp_path, half):
    from zerowait.plots.studies.loading import load_study

    make_cell(tmp_path, n=30)
    store.update(tmp_path)
    path = next(tmp_path.glob(half))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TraceError, match=r"is damaged .*; remove it and run the study again"):
        load_study(tmp_path)


UPDATE = """
import sys
from pathlib import Path
from zerowait.experiments.grid import store
store.update(Path(sys.argv[1]))
"""


def test_a_killed_update_loses_nothing_and_the_next_one_makes_it_good(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    grid(whole, seeds=6, n=200)
    store.update(whole)
    keys = sorted(p.name for p in (whole / "cells").iterdir())
    random = np.random.default_rng(1)
    for part in np.array_split(random.permutation(keys), 4):
        for key in part:
            shutil.copytree(whole / "cells" / key, killed / "cells" / key)
        process = subprocess.Popen([sys.executable, "-c", UPDATE, str(killed)], cwd=Path(store.__file__).parents[2])
        while not list((killed / "store").rglob("*.tmp")) and process.poll() is None:
            time.sleep(0.001)  # until it is in the middle of replacing a file
        time.sleep(float(random.uniform(0, 0.02)))  # any moment will do
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)
        finished = sorted(p.name for p in (killed / "cells").iterdir())
        assert sorted(set(zerowait.load_study(killed, columns=["cell"])["cell"])) == finished
        assert len(zerowait.load_study(killed, columns=["value"])) == 200 * len(finished)
    store.update(killed)
    assert store_bytes(killed) == store_bytes(whole)
    assert not list((killed / "store").rglob("*.tmp"))
    pd.testing.assert_frame_equal(
        zerowait.load_cells(killed).drop(columns=list(MEASURED_COLUMNS)),
        zerowait.load_cells(whole).drop(columns=list(MEASURED_COLUMNS)),
    )


def test_a_partition_is_on_disk_before_its_name_and_its_folder_after(tmp_path, disk_calls):
    make_cell(tmp_path)
    disk_calls.clear()
    store.update(tmp_path)
    partition, cells = tmp_path / "store" / next(iter(store_bytes(tmp_path))), tmp_path / "store" / "cells.parquet"
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in (partition, cells)}
    assert disk_calls == [
        step
        for path in (partition, cells)
        for step in (("on disk", temporary[path]), ("replaced", temporary[path]), ("on disk", path.parent))
    ]


def test_updates_at_the_same_time_agree(tmp_path):
    grid(tmp_path / "one", seeds=3)
    shutil.copytree(tmp_path / "one", tmp_path / "many")
    store.update(tmp_path / "one")
    processes = [
        subprocess.Popen([sys.executable, "-c", UPDATE, str(tmp_path / "many")], cwd=Path(store.__file__).parents[2])
        for _ in range(3)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert store_bytes(tmp_path / "many") == store_bytes(tmp_path / "one")


def test_a_running_study_updates_its_store_now_and_then_and_spends_little_time_on_it(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    updates = []

    def slow_update(study):
        updates.append(clock.now)
        clock.now += 1.0

    monkeypatch.setattr(store, "update", slow_update)
    writer = store.StoreWriter(tmp_path, clock=lambda: clock.now)
    while clock.now < 200.0:
        clock.now += 0.25
        writer(Summary(10, 0))
    assert updates[0] == store.LEAST_SECONDS
    assert np.diff(updates).min() >= 1.0 / store.SHARE
    assert len(updates) == 4


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, zerowait; assert not {'numpy', 'pandas', 'pyarrow'} & set(sys.modules); zerowait.load_study"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=Path(store.__file__).parents[2])
    with pytest.raises(AttributeError, match="module 'zerowait' has no attribute 'nothing'"):
        zerowait.nothing  # noqa: B018


SOME = ["optimizer", "benchmark", "n_workers", "run_seed", "end", "value"]


@pytest.fixture
def opened(monkeypatch):
    """Return the files of Parquet that are opened, in their order."""
    files, original = [], records.open_regular

    def opening(path, *arguments, **named):
        if path.suffix == ".parquet":
            files.append(path)
        return original(path, *arguments, **named)

    monkeypatch.setattr(records, "open_regular", opening)
    return files


def test_a_study_of_many_cells_is_read_from_a_file_a_pair_and_not_a_cell(tmp_path, opened):
    grid(tmp_path, seeds=25, n=450, optimizers=("a", "b"))
    store.update(tmp_path)
    opened.clear()
    assert len(zerowait.load_study(tmp_path, columns=SOME)) == 200 * 450
    assert sorted(opened) == sorted((tmp_path / "store" / "traces").rglob("*.parquet"))
    assert len(opened) == 4


@pytest.mark.stress
def test_45_000_cells_of_450_evaluations_load_from_376_files(tmp_path, opened, record_property):
    optimizers = [f"optimizer {i}" for i in range(8)]
    benchmarks = [f"family/task {i}" for i in range(47)]
    grid(tmp_path, seeds=60, n=450, optimizers=optimizers, benchmarks=benchmarks)  # 45,120 cells
    store.update(tmp_path)
    opened.clear()
    begin = time.perf_counter()
    frame = zerowait.load_study(tmp_path, columns=SOME)
    record_property("seconds", time.perf_counter() - begin)
    assert len(frame) == 45_120 * 450
    assert len(opened) == 8 * 47
    assert len(list(pyarrow.dataset.dataset(tmp_path / "store" / "traces").files)) == 8 * 47
