"""What conditions of a cluster cost: by hand, and on a study that was run."""

from __future__ import annotations

import math
import warnings

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerowait import Cluster
from zerowait.experiments.verification.effects.experiment import made
from zerowait.plots.catalogue import FIGURES
from zerowait.plots.figures.degradation import Condition, condition_of, degradation_table
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.errors import SpecificationError

STRAGGLING = {"stragglers": {"half_normal": 0.5}}


def made_up(optimizer, seed, rows, cluster=None, benchmark="task"):
    trace = pd.DataFrame(rows, columns=["end", "value"], dtype=float)
    trace.attrs[ATTRIBUTE] = {"specification": {} if cluster is None else {"cluster": cluster}}
    return Run(optimizer, benchmark, 2, seed, 0.0, trace)


def by_hand():
    """Seed 0 is at 2 after 8 s on perfect workers and after 20 s on slow ones; seed 1 at 4 after 4 s, or never."""
    return study_of_runs(
        [
            made_up("ours (perfect)", 0, [(4, 10), (8, 2), (40, 1)]),
            made_up("ours (perfect)", 1, [(4, 4), (40, 3)]),
            made_up("ours (slow)", 0, [(10, 10), (20, 2), (40, 2)], STRAGGLING),
            made_up("ours (slow)", 1, [(10, 8), (20, 7), (40, 5)], STRAGGLING),
        ]
    )


def test_regret_and_time_by_hand():
    table = degradation_table(by_hand())
    (row,) = table.to_dict("records")
    # Regret 1 is a loss of 10, the worst: (2 - 1) / 10 and (5 - 3) / 10 more.
    assert row["value"] == pytest.approx(0.15)
    assert (row["condition"], row["strength"], row["optimizer"]) == ("stragglers, half normal", 0.5, "ours")
    assert (row["lower"], row["upper"]) == pytest.approx((0.1, 0.2))
    table = degradation_table(by_hand(), measure="time")
    assert table["value"].tolist() == [math.inf]  # of two seeds, one misses it
    assert table["not_reached"].tolist() == [0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = FIGURES["degradation"].make(by_hand(), measure="time")
    assert "Where a time is infinite there is no point." in drawn.caption
    alone = by_hand().where("seed=0")
    (row,) = degradation_table(alone, measure="time").to_dict("records")
    assert row["value"] == pytest.approx(20 / 8)  # at 10 s, a quarter of the time, it was at 2
    assert row["lost_time"] == pytest.approx(1 + 0.5 * math.sqrt(2 / math.pi))


def test_the_same_run_costs_nothing():
    rows = [(4, 10), (8, 2), (40, 1)]
    study = study_of_runs([made_up("a", 0, rows), made_up("a (s)", 0, rows, STRAGGLING)])
    assert degradation_table(study)["value"].tolist() == [0.0]
    assert degradation_table(study, measure="time")["value"].tolist() == [1.0]


def test_what_cannot_be_measured_is_named():
    several = STRAGGLING | {"failures": {"probability": 0.1}}
    runs = [made_up("a (p)", 0, [(1, 1), (9, 0.5)]), made_up("a (both)", 0, [(1, 1)], several)]
    with pytest.raises(SpecificationError, match=r"a \(both\) \(no single number says how strong it is\)"):
        degradation_table(study_of_runs(runs))
    runs += [made_up("a (s)", 0, [(2, 1)], STRAGGLING), made_up("b (s)", 0, [(2, 1)], STRAGGLING)]
    table = degradation_table(study_of_runs(runs))
    assert set(table["optimizer"]) == {"a"}
    assert "b on task (no such run on perfect workers)" in table.attrs["caption"]


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (Cluster(speeds=[1.5, 0.5]), Condition("speeds, deviation over mean", 0.5, 1.0)),
        (Cluster(stragglers={"lognormal": 1.0}), Condition("stragglers, lognormal", 1.0, math.exp(0.5))),
        (Cluster(failures={"probability": 0.5}), Condition("failures, probability", 0.5, 1.5)),
        (
            Cluster(preemptions={"rate": 1.0, "back": 3.0}, checkpoints=True),
            Condition("preemptions, share of the time away, checkpoints", 0.25, 4 / 3),
        ),
        (Cluster(arrivals=[0.0, 5.0]), None),
        (Cluster(), None),
    ],
)
def test_a_condition_has_a_strength(cluster, expected):
    assert condition_of(cluster, 4) == expected


@given(st.floats(0.01, 0.9), st.integers(0, 3))
def test_the_lost_time_of_failures_is_what_a_cluster_loses(probability, retries):
    """Half of a failed evaluation on average, whether it is repeated or another one is begun."""
    found = condition_of(Cluster(failures={"probability": probability}, retries=retries), 1)
    expected = sum((probability**k) * (0.5 if k else 1.0) for k in range(2000))
    assert found.slower == pytest.approx(expected)


def test_of_a_study_that_was_run(tmp_path):
    folder = made(
        {
            "name": "s", "workers": [2], "seeds": 2, "overhead": "none", "mode": "ask_tell",
            "budget": {"full_trainings": 3}, "optimizers": [{"name": "random"}], "benchmarks": [{"name": "branin"}],
            "cluster": [
                {"name": "perfect"},
                {"name": "slow", "stragglers": {"half_normal": 1.0}},
                {"name": "failing", "failures": {"probability": 0.3}},
            ],
        },
        tmp_path / "s",
    )  # fmt: skip
    drawn = FIGURES["degradation"].make(load_study(folder), measure="time", fraction=0.5)
    assert drawn.table["condition"].tolist() == ["failures, probability", "stragglers, half normal"]
    assert drawn.table["strength"].tolist() == [0.3, 1.0]
    assert (drawn.table["n_seeds"] == 2).all()
    assert [axis.get_title() for axis in drawn.axes[0]] == drawn.table["condition"].tolist()
