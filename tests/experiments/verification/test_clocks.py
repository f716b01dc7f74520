"""The surrogate's clock beside the linear one and the real table: ranks by hand, and the quick version."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from zerowait.benchmarks.data.sources import data_set
from zerowait.experiments.verification import Request, clocks, run
from zerowait.experiments.verification.effects.reruns import study_of
from zerowait.plots.studies.blocks import blocks
from zerowait.plots.studies.run import Run
from zerowait.suite.rules.errors import SpecificationError

NAMES = {
    "lcbench/1": ("surrogate", "1"), "lcbench/1(clock=linear)": ("linear", "1"), "lcbench_raw/1": ("real", "1"),
    "lcbench/2": ("surrogate", "2"), "lcbench/2(clock=linear)": ("linear", "2"),
}  # fmt: skip


def a_run(optimizer, benchmark, seed, value):
    trace = pd.DataFrame({"end": [1.0, 100.0], "value": [9.0, value]})
    return Run(optimizer, benchmark, 4, seed, None, trace)


def test_ranks_are_those_by_hand():
    """On task 1 the surrogate's clock exchanges the two; on task 2 nothing changes; the real table is as the linear."""
    best = {"lcbench/1": "b"}
    runs = [
        a_run(optimizer, name, seed, 0.1 if optimizer == best.get(name, "a") else 0.2)
        for name in NAMES
        for optimizer in ("a", "b")
        for seed in range(3 if name == "lcbench/2" else 2)
    ]
    (group,) = blocks(study_of(runs))
    found = {one.effect: one for one in clocks.readings(study_of(runs), group, 1.0, NAMES)}
    assert list(found) == list(clocks.COMPARED)
    alone = clocks.effects.compared(found["linear to surrogate clock"])
    assert alone.reading.benchmarks == ("1", "2")
    assert [len(losses) for losses in alone.reading.right] == [2, 2]  # the third seed has no partner
    assert (alone.changes.right.tolist(), alone.changes.wrong.tolist()) == ([1.0, 2.0], [1.5, 1.5])
    real = clocks.effects.compared(found["real to surrogate"]).changes
    assert (real.right.tolist(), real.wrong.tolist()) == ([1.0, 2.0], [2.0, 1.0])
    assert clocks.effects.compared(found["real to surrogate, linear clock"]).changes.each.tolist() == [0.0, 0.0]
    losses = clocks.losses(study_of(runs), NAMES)
    assert set(losses[losses.budget == 1.0].groupby("clock").loss.min()) == {0.1}


def test_clocks_are_read_from_what_a_cell_was_given():
    rows = [
        ("lcbench/1", "lcbench", {"task": "1", "benchmark_parameters": {}}),
        ("lcbench/1(clock=linear)", "lcbench", {"task": "1", "benchmark_parameters": {"clock": "linear"}}),
        ("lcbench_raw/1", "lcbench_raw", {"task": "1", "benchmark_parameters": {}}),
        ("branin", "branin", {"task": None, "benchmark_parameters": {}}),
    ]
    cells = pd.DataFrame(
        [(name, family, json.dumps(given)) for name, family, given in rows],
        columns=["benchmark", "family", "specification"],
    )
    assert clocks.clocks_of(cells) == dict(list(NAMES.items())[:3])


def test_the_quick_version_passes_its_gates(tmp_path):
    if data_set("lcbench").missing():
        pytest.skip(f"real data: {data_set('lcbench').missing_reason()}")
    outcome = run("clocks", Request(directories=(tmp_path,)))
    assert [str(gate) for gate in outcome.gates if not gate.passed] == []
    assert outcome.gates[0].name.endswith("differ between the clocks, of 2")
    assert set(outcome.table.effect) == {"linear to surrogate clock"}
    assert {path.suffix for path in outcome.more(tmp_path)} == {".pdf", ".png"}
    counts = outcome.details["evaluations"].set_index("optimizer")
    assert counts.loc["random", "linear"] == counts.loc["random", "surrogate"]
    assert counts.loc["hyperband", "linear"] > counts.loc["hyperband", "surrogate"]


def test_without_data_or_study_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    outcome = run("clocks", Request())
    assert outcome.notes[0].endswith("get the data with: zerowait data fetch lcbench")
    with pytest.raises(SpecificationError, match="there is no study in runs/clocks; run it: zerowait run clocks"):
        run("clocks", Request(quick=False))
