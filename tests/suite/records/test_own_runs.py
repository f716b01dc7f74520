"""A folder of runs of one's own scripts is read like a study."""

from __future__ import annotations

import pandas as pd
import pytest
from drivers import Lookup

from zerowait import load_cells, load_incumbents, load_study, read_trace
from zerowait.plots.studies.loading import load_study as plotted
from zerowait.suite import Overhead, Simulator
from zerowait.suite.rules.errors import TraceError

LABELS = {"optimizer": "mine", "benchmark": "table"}


def run(directory, *, seed=0, labels=LABELS, finish=True):
    runtimes = (3.0, 1.0, 2.0)
    with Simulator(
        Lookup(runtimes), n_workers=1, seed=seed, directory=directory, labels=labels, overhead=Overhead.none()
    ) as simulator:
        for x in range(len(runtimes)):
            simulator({"x": x})
        if finish:
            simulator.finish()


def test_it_has_the_rows_of_the_traces_in_order_and_a_row_a_run(tmp_path):
    run(tmp_path / "b" / "second", seed=1)
    run(tmp_path / "a", seed=2, labels={**LABELS, "optimizer": "another"})
    run(tmp_path / ".hidden", seed=3)
    run(tmp_path / "unfinished", seed=4, finish=False)
    table = load_study(tmp_path)
    traces = [read_trace(tmp_path / place / "trace.parquet") for place in ("a", "b/second")]
    together = pd.concat(traces, ignore_index=True)
    together["status"] = together["status"].astype("category")
    pd.testing.assert_frame_equal(table[list(together)], together, check_categorical=False)
    assert table["optimizer"].tolist() == ["another"] * 3 + ["mine"] * 3
    assert table["cell"].tolist() == ["a"] * 3 + ["b/second"] * 3
    cells = load_cells(tmp_path)
    assert cells[["optimizer", "run_seed", "evaluations", "simulated_time"]].to_numpy().tolist() == [
        ["another", 2, 3, 6.0], ["mine", 1, 3, 6.0],
    ]  # fmt: skip
    best = load_incumbents(tmp_path, result="any", where="optimizer=mine")
    assert best["value"].tolist() == together["value"][3:].cummin().drop_duplicates().tolist()


def test_a_run_by_itself_is_a_folder_of_one(tmp_path):
    run(tmp_path / "run")
    assert len(load_study(tmp_path / "run", columns=["end"])) == 3


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    run(tmp_path / "run", labels={"optimizer": "mine"})
    with pytest.raises(TraceError, match=r"figures and tables need the label 'benchmark'"):
        load_study(tmp_path)


def test_runs_that_no_one_has_finished_are_no_study(tmp_path):
    run(tmp_path / "run", finish=False)
    with pytest.raises(TraceError, match=r"each finished by simulator\.finish\(\)"):
        load_cells(tmp_path)


def test_of_a_study_below_it_the_cells_count_that_the_study_has_now(tmp_path):
    """The study was edited and run again; what it left out is still there, should it come back."""
    for place in ("study/cells/now", "study/cells/before", "mine"):
        run(tmp_path / place, labels={**LABELS, "optimizer": place[-3:]})
    (tmp_path / "study" / "study.json").write_text('{"name": "study", "cells": {"cells/now": "now"}}')
    assert load_cells(tmp_path)["cell"].tolist() == ["mine", "study/cells/now"]
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(TraceError, match=r"study\.json cannot be read \(it lists no cells"):
        load_cells(tmp_path)


@pytest.mark.parametrize("optimum", ["zero", [1.0], True])
def test_an_optimum_that_is_no_number_is_refused(tmp_path, optimum):
    run(tmp_path / "run", labels={**LABELS, "optimum": optimum})
    with pytest.raises(TraceError, match="has the label optimum="):
        load_cells(tmp_path)
    with pytest.raises(TraceError, match="has the label optimum="):
        plotted(tmp_path)
