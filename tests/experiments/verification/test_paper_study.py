"""`zerowait verify paper-study`: whether ranks change with the number of workers, told apart from chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.effects import experiment as effects
from zerowait.experiments.verification.paper_study import experiment as paper_study
from zerowait.plots.statistics.arithmetic import average_ranks
from zerowait.plots.studies.study import study_of_table
from zerowait.suite.rules.errors import SpecificationError


def ranks_of(losses):
    return np.stack([average_ranks(of_one) for of_one in losses])


def draws(seed, shape=(10, 5)):
    return np.random.default_rng(np.random.SeedSequence(seed)).random(shape)


def random(seed=0):
    return np.random.default_rng(np.random.SeedSequence(seed))


def test_a_ranking_that_is_turned_round_on_every_benchmark_is_no_chance():
    before = np.tile(np.arange(1.0, 6.0), (8, 1))
    # All eight exchanged, or none: 2 of 256.
    assert paper_study.change_test(before, before[:, ::-1], random()) == pytest.approx(2 / 256, abs=2e-3)


def test_one_optimizer_that_falls_back_is_found_among_others_that_stay():
    before = draws(1)
    after = before + 0.01 * draws(2)
    after[:, 0] = 2.0
    before[:, 0] = -1.0
    assert paper_study.change_test(ranks_of(before), ranks_of(after), random()) < 0.01


def test_what_changes_by_chance_alone_is_called_a_change_as_often_as_the_level_says():
    p_values = [
        paper_study.change_test(ranks_of(draws(2 * k)), ranks_of(draws(2 * k + 1)), random(k), 999) for k in range(400)
    ]
    rejected = np.mean(np.array(p_values) <= 0.1)
    assert 0.05 < rejected < 0.15  # binomial, 400 draws with probability 0.1: three standard deviations and more


def test_nothing_changes_beside_itself():
    ranks = ranks_of(draws(3))
    assert paper_study.change_test(ranks, ranks, random()) == 1.0


def rows_of(n_workers, order, benchmark):
    """Return two deliveries of each optimizer, the second and better one at the end; the first in `order` is best."""
    return [
        (benchmark, n_workers, name, 0, end, 10.0 / end + place)
        for place, name in enumerate(order)
        for end in (1.0, 2.0)
    ]


def test_ranks_and_their_changes_are_those_of_the_losses():
    benchmarks = [f"b{i}" for i in range(6)]
    rows = [row for b in benchmarks for row in rows_of(1, "abc", b) + rows_of(8, "bac" if b != "b0" else "abc", b)]
    rows += rows_of(1, "abc", "only with one worker")
    columns = ["benchmark", "n_workers", "optimizer", "seed", "end", "value"]
    study = study_of_table(pd.DataFrame(rows, columns=columns))
    ranks, orders = paper_study.compared("toy", study, "the common time")
    found = {(row["n_workers"], row["optimizer"]): (row["rank"], round(row["change"], 9)) for row in ranks}
    assert found == {
        (1, "a"): (1.0, 0.0), (1, "b"): (2.0, 0.0), (1, "c"): (3.0, 0.0),
        (8, "a"): (pytest.approx(11 / 6), round(5 / 6, 9)), (8, "b"): (pytest.approx(7 / 6), -round(5 / 6, 9)),
        (8, "c"): (3.0, 0.0),
    }  # fmt: skip
    assert [(row["benchmarks"], row["tau"], row["flips"]) for row in orders] == [
        (6, 1.0, 0.0),
        (6, pytest.approx(1 / 3), 1.0),
    ]
    # Of five benchmarks that changed all must be exchanged, or none: 2 of 32.
    assert orders[1]["p_value"] == pytest.approx(2 / 32, abs=6e-3)


def test_the_quick_version_passes_and_draws_its_figure(tmp_path):
    outcome = paper_study.run(Request())
    assert outcome.passed
    assert set(outcome.table["moment"]) == set(paper_study.MOMENTS)
    assert len(outcome.table) == 3 * 2 * 4
    overhead = outcome.details["overhead"]
    assert overhead[["evaluating", "sampling", "waiting", "idle", "lost"]].sum(axis=1).tolist() == pytest.approx(
        [1.0] * 8
    )
    files = outcome.more(tmp_path)
    assert [path.name for path in files] == [
        "paper-study-tiny study.pdf",
        "paper-study-tiny study.png",
        "paper-study-tiny study.csv",
    ]
    assert all(path.stat().st_size > 1000 for path in files)


def test_a_run_that_is_missing_fails_a_gate(tmp_path):
    folder = effects.made(effects.TINY, tmp_path / "tiny")
    missing = next((folder / "cells").iterdir())
    (missing / "trace.parquet").unlink()
    outcome = paper_study.verify([folder], Request())
    assert not outcome.passed
    assert (
        next(gate.name for gate in outcome.gates if not gate.passed) == "tiny: runs that are listed and have no trace"
    )


def test_a_benchmark_that_lacks_one_number_of_workers_fails_a_gate(tmp_path):
    columns = ["benchmark", "n_workers", "optimizer", "seed", "end", "value"]
    rows = [row for b in ("b0", "b1") for row in rows_of(1, "abc", b)] + rows_of(8, "abc", "b0")
    gates = paper_study._gates("toy", study_of_table(pd.DataFrame(rows, columns=columns)))
    assert [gate.measured for gate in gates] == [0.0, 1.0]
    apart = study_of_table(pd.DataFrame(rows_of(1, "abc", "b0") + rows_of(8, "abc", "b1"), columns=columns))
    with pytest.raises(SpecificationError, match="toy: no benchmark has runs of all optimizers with every number of"):
        paper_study.compared("toy", apart, "the common time")


def test_a_study_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(SpecificationError, match=r"there is no study in .*nowhere; name the output folder of one"):
        paper_study.run(Request(study=tmp_path / "nowhere"))
