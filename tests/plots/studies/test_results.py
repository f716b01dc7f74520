"""Rules of results in figures: what each draws, what it is measured from, and what is said where it cannot be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from made_up import on_clusters

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.figures.agreement import matched
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.rules.errors import SpecificationError

JUDGED = [name for name, kind in FIGURES.items() if kind.judges]


def with_full(run, fidelities, full, **more):
    run.trace["fidelity"], run.trace["full.value"] = fidelities, full
    for name, values in more.items():
        run.trace[f"full.{name}"] = values
    return run


@pytest.fixture
def lucky(make_run):
    """A lucky loss at 1 epoch, and what two trainings of 9 epochs are worth."""
    deliveries = [(1, 5.0), (2, 0.1), (3, 4.0), (4, 3.0)]
    return study_of_runs(
        [
            with_full(
                make_run(deliveries, optimizer=o, n_workers=n, seed=s), [1.0, 1.0, 9.0, 9.0], [6.0, 8.0, 4.5, 3.5],
                test_error=[1.0, 2.0, 3.0, 4.0],
            )
            for o in ("a", "random") for n in (1, 2) for s in range(2)
        ]
    )  # fmt: skip


def curve(study, **options):
    judged = study.judged(**options)
    return judged.best_at([0], np.array([0.5, 1.0, 2.0, 3.0, 4.0]))[0].tolist()[1:]


def test_each_rule_draws_what_it_says(lucky):
    assert curve(lucky, result="any") == [5.0, 0.1, 0.1, 0.1]
    assert [None if math.isnan(v) else v for v in curve(lucky, result="full")] == [None, None, 4.0, 3.0]
    # The recommendation at time 2 is worse than the one before, and the curve rises.
    assert curve(lucky, result="recommended") == [6.0, 8.0, 4.5, 3.5]
    assert curve(lucky) == curve(lucky, result="recommended")
    assert curve(lucky, score="test_error") == [1.0, 2.0, 3.0, 4.0]


def test_an_optimizer_that_names_no_fidelity_trains_to_the_end(make_run):
    """Random search and TPE beside Hyperband: their traces say NaN where Hyperband's say 9."""
    rungs = with_full(make_run([(1, 0.1), (2, 4.0)], optimizer="hyperband"), [1.0, 9.0], [8.0, 4.5])
    alone = with_full(make_run([(1, 5.0), (2, 3.0)], optimizer="random"), math.nan, [5.0, 3.0])
    study = study_of_runs([rungs, alone]).judged("full")
    assert study.best_at([1], np.array([1.0, 2.0]))[0].tolist() == [5.0, 3.0]
    assert study.references.loc["toy", ["reference", "first"]].tolist() == [3.0, 4.5]


def test_of_several_fidelities_only_the_highest_of_all_is_a_full_training(make_run):
    """A training of all epochs on half of the images counts less than one of a single epoch on whole ones."""
    deliveries = [(1, 5.0), (2, 0.1), (3, 4.0), (4, 3.0)]
    run = with_full(make_run(deliveries, optimizer="a"), [1.0, 9.0, 1.0, 9.0], [6.0, 8.0, 4.5, 3.5])
    run.trace["fidelity.share"] = [0.5, 0.5, 1.0, 1.0]
    study = study_of_runs([run, with_full(make_run([(1, 2.0)], optimizer="random"), math.nan, [2.0])])
    assert study.highest == {"toy": 9.0}
    assert curve(study, result="any") == [5.0, 0.1, 0.1, 0.1]
    assert [None if math.isnan(v) else v for v in curve(study, result="full")] == [None, None, None, 3.0]
    assert curve(study, result="recommended") == [6.0, 8.0, 4.5, 3.5]
    assert study.references.loc["toy", "reference"] == 0.1
    assert study.judged("full").references.loc["toy", "reference"] == 2.0


def test_evaluations_of_two_studies_are_the_same_when_all_fidelities_are():
    columns = ["config_id", "fidelity", "fidelity.share", "end"]
    one = pd.DataFrame([("a", 9.0, 0.5, 1.0), ("a", 9.0, 1.0, 2.0), ("b", math.nan, 1.0, 3.0)], columns=columns)
    other = one.iloc[[1, 0, 2]].assign(end=[10.0, 20.0, 30.0])
    found = matched(other, one)
    assert found["order"].tolist() == [2, 1, 3]
    assert found["end"].tolist() == [20.0, 10.0, 30.0]


def test_regret_is_measured_from_what_counts_in_the_whole_study(lucky):
    assert lucky.judged("any").references.loc["toy", "reference"] == 0.1
    assert lucky.judged("full").references.loc["toy", "reference"] == 3.0
    assert lucky.judged("recommended").references.loc["toy", "reference"] == 3.5
    assert lucky.where(["P=1"]).judged("recommended").references.equals(lucky.judged("recommended").references)


# One needs several benchmarks, the other a baseline that has not found the best.
@pytest.mark.parametrize("name", [name for name in JUDGED if name not in {"critical_difference", "scores_over_time"}])
def test_every_caption_names_the_rule(lucky, name):
    study = on_clusters(lucky) if name == "degradation" else lucky
    for rule in ("recommended", "full", "any"):
        assert f"result={rule})" in FIGURES[name].make(study, result=rule).caption
    assert "drawn is its test_error" in FIGURES[name].make(study, score="test_error").caption


def test_without_fidelities_and_noise_the_three_rules_agree_to_the_bit(make_run):
    random = np.random.default_rng(0)
    runs = []
    for optimizer, benchmark, n_workers, seed in itertools.product(("a", "random"), ("one", "two"), (1, 4), range(3)):
        deliveries = [(i + random.random(), random.random()) for i in range(20)]
        run = make_run(deliveries, optimizer=optimizer, benchmark=benchmark, n_workers=n_workers, seed=seed)
        runs.append(with_full(run, math.nan, run.trace["value"]))
    study = study_of_runs(runs)
    for name in JUDGED:
        of = on_clusters(study) if name == "degradation" else study
        one, two, three = (FIGURES[name].table(of.judged(r)) for r in ("recommended", "full", "any"))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
        pd.testing.assert_frame_equal(one, three, check_exact=True)


def test_what_older_traces_lack_is_said(make_run, lucky):
    old = study_of_runs([make_run([(1, 2.0)], optimizer=o) for o in "ab"])
    drawn = FIGURES["rank_over_time"].make(old)
    assert "(result=any). The traces do not hold full.value" in drawn.caption
    new = [with_full(make_run([(1, 2.0)], optimizer="c"), 1.0, 2.0)]
    mixed = study_of_runs([*new, make_run([(1, 2.0)], optimizer="d")])
    assert mixed.judged().rule[0] == "any"
    for study, options, text in (
        (old, {"result": "recommended"}, "needs the column full.value, which 2 of 2 runs lack; set result=full"),
        (mixed, {"result": "recommended"}, "which 1 of 2 runs lack"),
        (lucky, {"result": "best"}, "result is 'best'; it must be one of recommended, full, any"),
        (lucky, {"score": "accuracy"}, "no trace has the score 'accuracy'; they have: test_error, value"),
        (lucky, {"result": "any", "score": "test_error"}, "only result=recommended is judged by another score"),
    ):
        with pytest.raises(SpecificationError, match=text) as caught:
            study.judged(**options)
        assert "\n" not in str(caught.value)


def test_the_options_are_those_of_figures_that_show_results():
    assert FIGURES["speed_up"].parse(["result=full", "score=value"]) == {"result": "full", "score": "value"}
    assert FIGURES["speed_up"].accepts("result") == "recommended|full|any|hypervolume"
    with pytest.raises(SpecificationError, match="the figure wall_time has no option 'result'"):
        FIGURES["wall_time"].parse(["result=full"])
