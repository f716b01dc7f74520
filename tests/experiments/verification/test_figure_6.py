"""The paper's figure 6: its rule against the authors' own function, the right one by hand, and the steps between."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.experiments.studies.shipped import shipped_studies
from zerowait.experiments.studies.study import load_study
from zerowait.experiments.verification import Request, figure_6, run
from zerowait.experiments.verification.effects.experiment import made
from zerowait.experiments.verification.figure_6 import PAPER, PAPERS, RIGHT, RULES, by_the_simulator, losses, ranks_of
from zerowait.plots.studies.run import Run
from zerowait.suite.rules.errors import SpecificationError


def made_up(name, seed, rows):
    trace = pd.DataFrame(rows, columns=["end", "value", "fidelity", "full.value"], dtype=float).assign(worker=0)
    return Run(name, "task", 1, seed, None, trace)


def some_runs(random, name, scale):
    """Runs of an optimizer, as many as three and as long as sixty, with losses that tie."""
    for seed in range(int(random.integers(1, 4))):
        n = int(random.integers(2, 60))
        ends, values = np.cumsum(random.exponential(scale, n)), random.integers(0, 9, n)
        yield made_up(name, seed, [(end, value, 1, value) for end, value in zip(ends, values, strict=True)])


@settings(max_examples=10)
@given(st.integers(0, 999))
def test_the_papers_rule_is_that_of_the_authors_function(seed):
    """get_average_rank of mfhpo-simulator 1.4.6."""
    random = np.random.default_rng(seed)
    of_tasks = [[list(some_runs(random, f"{task}-{k}", 10.0**k)) for k in range(3)] for task in range(2)]
    ours = np.mean([ranks_of(of_task, PAPERS) for of_task in of_tasks], axis=0)
    assert ours.tolist() == by_the_simulator(of_tasks, None).tolist()


def test_the_right_rule_by_hand():
    """The longest run ends at 160 s, so that all are read at 10 s."""
    lucky = made_up("lucky", 0, [(5, 0.1, 1, 9.0), (9, 2.0, 3, 2.0), (11, 0.0, 3, 0.0)])
    slow = made_up("slow", 0, [(10, 1.0, math.nan, 1.0), (160, 0.5, math.nan, 0.5)])
    late = made_up("late", 0, [(11, 0.0, 3, 0.0)])
    of_task = [[lucky], [slow], [late]]
    assert [float(losses(runs, 160.0, RIGHT)[0]) for runs in of_task[:2]] == [2.0, 1.0]
    assert np.isnan(losses([late], 160.0, RIGHT)[0])
    assert ranks_of(of_task, RIGHT).tolist() == [2.0, 1.0, 3.0]


def test_runs_are_ranked_against_all_runs_of_each_rival():
    """Two runs against three: of the six pairs the first wins four; the third has no result by then."""
    of_task = [
        [made_up("a", seed, [(1, value, 1, value), (16, value, 1, value)]) for seed, value in enumerate((0.1, 0.4))],
        [made_up("b", seed, [(1, value, 1, value)]) for seed, value in enumerate((0.2, 0.3, 0.5))],
        [made_up("c", 0, [(9, 0.0, 1, 0.0)])],
    ]
    assert ranks_of(of_task, RIGHT).tolist() == pytest.approx([1 + 2 / 6, 1 + 4 / 6, 3.0])


def test_each_rule_between_changes_one_thing():
    for name, rule in RULES.items():
        changed = sum(getattr(rule, part) != getattr(PAPERS, part) for part in PAPERS.__slots__)
        assert changed == {"paper's rule": 0, "right": len(PAPERS.__slots__)}.get(name, 1)


def test_the_papers_ranks_sum_to_what_eight_must():
    for column in zip(*PAPER.values(), strict=True):
        assert sum(column) == pytest.approx(36.0, abs=0.011)  # two digits each


def test_the_quick_version_passes_its_gates(tmp_path):
    outcome = run("figure-6", Request(directories=(tmp_path,)))
    assert [str(gate) for gate in outcome.gates if not gate.passed] == []
    assert any("get_average_rank" in gate.name for gate in outcome.gates)
    assert list(outcome.table.columns) == ["optimizer", "n_workers", "paper", *RULES]
    assert outcome.table.groupby("n_workers")["right"].sum().tolist() == pytest.approx([6.0, 6.0])


def test_what_is_not_installed_is_left_out_and_named(monkeypatch):
    from zerowait import adapters

    small = {"workers": [1], "seeds": 1, "benchmarks": [{"name": "branin"}]}
    monkeypatch.setattr(figure_6, "QUICK", {**figure_6.QUICK, **small})
    there = [found for found in adapters.available() if found.name != "dehb"]
    monkeypatch.setattr(adapters, "available", lambda: there)
    outcome = run("figure-6", Request())
    assert outcome.notes[-1] == "left out, because they are not installed here: dehb"
    assert outcome.passed
    monkeypatch.setattr(adapters, "available", lambda: there[:1])
    with pytest.raises(SpecificationError, match="ranks compare optimizers; install what"):
        run("figure-6", Request())


def test_a_study_is_ranked_as_far_as_it_is_finished(tmp_path):
    """A seed that is missing is said; a group that is missing, or traces without full values, are refused."""
    small = {
        "name": "small", "workers": [1], "seeds": 2, "overhead": "none", "mode": "ask_tell",
        "budget": {"max_evaluations": 9}, "benchmarks": [{"name": "branin"}],
        "optimizers": [{"name": "random"}, {"name": "optuna-tpe"}],
    }  # fmt: skip
    folder = made(small, tmp_path / "small")
    of_one = sorted(path.parent for path in folder.rglob("cell.json") if '"optuna-tpe"' in path.read_text())
    shutil.rmtree(of_one[0])
    outcome = run("figure-6", Request(study=folder))
    assert outcome.passed
    assert outcome.notes[0] == "3 runs: branin; seeds 1 (optuna-tpe), 2 (random)"
    shutil.rmtree(of_one[1])
    with pytest.raises(SpecificationError, match=r"ranks compare optimizers of the paper, .*; .* has random"):
        run("figure-6", Request(study=folder))


def test_an_optimizer_that_has_no_run_with_some_workers_is_left_out_and_named(monkeypatch):
    runs = [made_up(name, 0, [(1, 1, 1, 1)]) for name in ("random", "dehb", "optuna-tpe")]
    other = [dataclasses.replace(one, n_workers=8) for one in runs if one.optimizer != "dehb"]
    monkeypatch.setattr(figure_6, "runs_of", lambda folder: runs + other)
    monkeypatch.setattr(figure_6, "by_the_simulator", lambda *_: None)
    outcome = figure_6.verify(Path("there"))
    assert set(outcome.table["optimizer"]) == {"random", "optuna-tpe"}
    assert "left out: dehb, which has no run on task with P = 8; continue: zerowait run there" in outcome.notes
    monkeypatch.setattr(figure_6, "runs_of", lambda folder: [*runs[:2], other[0]])
    with pytest.raises(SpecificationError, match=r"there is without dehb, .* with P = 8; continue: zerowait run there"):
        figure_6.verify(Path("there"))


def test_an_archive_is_refused_because_look_ahead_reads_every_evaluation():
    with pytest.raises(SpecificationError, match="is an archive, which keeps incumbents only"):
        run("figure-6", Request(study=Path(__file__).parents[3] / "results" / "baselines"))


def test_the_study_has_the_papers_optimizers_and_workers():
    study = load_study(shipped_studies()["figure-6"])
    assert {optimizer.name for optimizer in study.optimizers} == set(PAPER)
    assert tuple(study.workers) == figure_6.WORKERS
