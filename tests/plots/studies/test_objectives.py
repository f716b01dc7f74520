"""Studies of several objectives: a run's result is its hypervolume, by a rule that figures share."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from made_up import made_up_study, with_latency
from optuna._hypervolume import compute_hypervolume

from zerowait.plots.catalogue import FIGURES
from zerowait.plots.figures.fronts import TOGETHER
from zerowait.plots.report.tables import Index, final_table
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite import Evaluation, Overhead, Query, simulate
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.errors import SpecificationError

# (end, loss, speed) of an evaluation; more speed is better. Scaled to (value / 4, (10 - speed) / 10).
FIRST = [(1.0, 4.0, 10.0), (2.0, 1.0, 5.0), (3.0, 2.0, 2.5), (4.0, 0.0, 5.0)]
SECOND = [(1.0, 2.0, 5.0), (2.0, math.nan, math.nan), (3.0, 2.0, 0.0), (5.0, 1.0, 10.0)]
EXPECTED = {
    "first": [(1.0, 0.0), (2.0, 0.375), (4.0, 0.5)],
    "second": [(1.0, 0.25), (5.0, 0.75)],
}


def run_of(optimizer, deliveries, *, prefix="", seed=0, objectives=("value", "-speed"), **columns):
    trace = pd.DataFrame(deliveries, columns=["end", "value", "metric.speed"], dtype=float).assign(**columns)
    if prefix:
        trace = trace.assign(**{f"{prefix}value": trace["value"], f"{prefix}speed": trace["metric.speed"]})
    trace.attrs[ATTRIBUTE] = {"specification": {"objectives": list(objectives)} if objectives else {}}
    return Run(optimizer, "toy", 1, seed, None, trace)


def by_hand(**more):
    return study_of_runs([run_of("first", FIRST, **more), run_of("second", SECOND, **more)])


def hypervolumes_of(study):
    judged = study.judged()
    return {
        run.optimizer: [(end, 1 - missing) for end, missing in zip(run.ends, run.values, strict=True)]
        for run in judged.runs()
    }


@pytest.mark.parametrize("prefix", ["", "full."])
def test_a_result_is_the_hypervolume_so_far_each_objective_scaled_by_the_whole_study(prefix):
    study = by_hand(prefix=prefix)
    assert hypervolumes_of(study) == EXPECTED
    assert study.objectives == ("value", "-speed")
    # Together: (0, 0.5) and (0.25, 0) dominate 0.5 + 0.75 * 0.5.
    reference = study.judged().references.loc["toy"]
    assert reference["reference"] == 1 - 0.875
    assert (reference["worst"], reference["first"]) == (1.0, (1.0 + 0.75) / 2)


def test_the_order_in_which_a_run_names_its_objectives_does_not_matter():
    study = study_of_runs([run_of("first", FIRST), run_of("second", SECOND, objectives=("-speed", "value"))])
    assert hypervolumes_of(study) == EXPECTED


def test_the_scale_is_the_whole_studys_whichever_runs_are_chosen():
    assert hypervolumes_of(by_hand().where("optimizer=first")) == {"first": EXPECTED["first"]}
    assert by_hand().where("optimizer=first").judged().references.loc["toy", "reference"] == 0.125


def test_what_a_configuration_gives_without_noise_counts_where_traces_say_it():
    lucky = [dataclasses.replace(run, trace=run.trace.assign(**{"metric.speed": 10.0}))
             for run in (run_of("first", FIRST, prefix="full."), run_of("second", SECOND, prefix="full."))]  # fmt: skip
    study = study_of_runs(lucky)
    assert hypervolumes_of(study) == EXPECTED
    assert "by what they give without noise in value and speed (maximised)" in study.judged().judged_sentence


@pytest.mark.parametrize("fidelities", [
    {"fidelity": [9.0, 3.0, 9.0, 9.0]}, {"fidelity": [9.0] * 4, "fidelity.width": [2.0, 1.0, 2.0, 2.0]},
])  # fmt: skip
def test_only_evaluations_at_the_highest_fidelity_count(fidelities):
    runs = [run_of("first", FIRST, **fidelities), run_of("second", SECOND, fidelity=math.nan)]
    assert hypervolumes_of(study_of_runs(runs))["first"] == [(1.0, 0.0), (3.0, 0.125), (4.0, 0.5)]


def test_runs_of_the_loss_alone_stand_beside_them_by_the_same_numbers():
    study = study_of_runs([run_of("first", FIRST), run_of("second", SECOND, objectives=())])
    assert hypervolumes_of(study) == EXPECTED


@pytest.mark.parametrize(("objectives", "message"), [
    ([(), ()], r"of several objectives, the same in all runs; those of this study have one objective, the loss$"),
    ([("value", "-speed"), ("speed", "value")], r'have \["speed", "value"\], \["value", "-sp'),
])  # fmt: skip
def test_without_the_same_objectives_there_is_no_hypervolume(objectives, message):
    runs = [run_of(str(at), FIRST, objectives=of) for at, of in enumerate(objectives)]
    study = study_of_runs(runs)
    with pytest.raises(SpecificationError, match=message):
        study.judged("hypervolume")
    assert study.judged().rule[0] == "any"


def test_traces_that_lack_an_objective_as_in_an_archive_are_of_the_loss():
    runs = [dataclasses.replace(one, trace=one.trace.drop(columns="metric.speed")) for one in by_hand().runs()]
    for run in runs:
        run.trace.attrs[ATTRIBUTE] = {"specification": {"objectives": ["value", "-speed"]}}
    assert study_of_runs(runs).judged().rule[0] == "any"
    with pytest.raises(SpecificationError, match=r'have \["value", "-speed"\], or their traces lack some'):
        study_of_runs(runs).judged("hypervolume")


def test_a_hypervolume_has_no_other_score():
    with pytest.raises(SpecificationError, match="score is 'test'; only result=recommended"):
        by_hand().judged("hypervolume", "test")


def test_another_rule_can_be_asked_for():
    assert by_hand().judged("any").rule[0] == "any"
    assert "result=any" in FIGURES["rank_over_time"].make(by_hand(), result="any").caption


def test_hypervolume_over_time_is_that_of_optuna_at_each_time():
    study = with_latency(made_up_study(2, (1, 4), 30))
    table = FIGURES["performance_over_time"].make(study).table
    assert set(table["quantity"]) == {"hypervolume"}
    bounds = study.evaluations[["value", "metric.latency"]].agg(["min", "max"])
    for (benchmark, n, optimizer), curve in table.groupby(["benchmark", "n_workers", "optimizer"]):
        of_benchmark = [run.trace for run in study.runs() if run.benchmark == benchmark]
        points = pd.concat(of_benchmark)[["value", "metric.latency"]]
        bounds = points.min(), points.max()
        runs = [run.trace for run in study.runs() if (run.benchmark, run.n_workers, run.optimizer)
                == (benchmark, n, optimizer)]  # fmt: skip
        for time, mean in curve[["time", "mean"]].iloc[::40].itertuples(index=False):
            delivered = [trace.loc[trace["end"] <= time, ["value", "metric.latency"]] for trace in runs]
            scaled = [((of - bounds[0]) / (bounds[1] - bounds[0])).to_numpy() for of in delivered]
            assert mean == pytest.approx(np.mean([compute_hypervolume(of, np.ones(2)) for of in scaled]), rel=1e-12)


def test_bands_of_hypervolumes_lie_around_them():
    study = with_latency(made_up_study(2, (1,), 30, seeds=4))
    for options in ({"interval": "bootstrap"}, {"statistic": "median"}):
        table = FIGURES["performance_over_time"].make(study, **options).table
        centre = table[options.get("statistic", "mean")]
        assert (table["lower"] <= centre).all()
        assert (centre <= table["upper"]).all()


def test_the_final_table_of_a_report_has_hypervolumes_with_the_greatest_as_the_best():
    runs = [run_of("first", FIRST), run_of("second", SECOND), run_of("first", SECOND, seed=1)]
    study = study_of_runs(runs).judged()
    table = final_table(study, Index(study))
    first, second = ([value.number for value in row.cells] for row in table.rows)
    assert [head.text for head in table.heads][4:8] == ["Mean", "Std. error", "Median", "Best"]
    assert (first[4], first[6], first[7]) == (0.375, 0.375, 0.5)
    assert second[4] == second[7] == 0.25


def test_attained_fronts_are_of_the_objectives_as_they_were_told():
    table = FIGURES["attained_fronts"].make(by_hand(), shares=(1.0,), horizon="longest").table
    points = {name: of[["value", "speed"]].to_numpy().tolist() for name, of in table.groupby("optimizer")}
    assert points == {
        "first": [[0.0, 5.0], [4.0, 10.0]],
        "second": [[1.0, 10.0]],
        TOGETHER: [[0.0, 5.0], [1.0, 10.0]],
    }
    assert table.columns[-2:].tolist() == ["value", "speed"]


def test_attained_fronts_need_two_objectives_and_shares():
    study = made_up_study(1, (1,), 30)
    with pytest.raises(SpecificationError, match="of two objectives, and the study has one, the loss"):
        FIGURES["attained_fronts"].make(study)
    three = with_latency(study, ("value", "latency", "-speed"))
    with pytest.raises(SpecificationError, match="the study has 3: value, latency, -speed"):
        FIGURES["attained_fronts"].make(three)
    for shares in ((), (0.0, 0.5), (0.5, 0.25), (0.5, 1.5), (math.nan,)):
        with pytest.raises(SpecificationError, match="shares is"):
            FIGURES["attained_fronts"].make(by_hand(), shares=shares)


def test_a_folder_of_ones_own_runs_has_its_objectives(tmp_path):
    class Given:
        def __init__(self):
            self.left = iter(FIRST)

        def ask(self):
            _, value, speed = next(self.left)
            return Query({"value": value, "speed": speed})

        def tell(self, query, evaluation):
            pass

    simulate(
        Given(), lambda config: Evaluation(config["value"], 1.0, {"speed": config["speed"]}), n_workers=1,
        max_evaluations=4, overhead=Overhead.none(), objectives=["value", "-speed"], directory=tmp_path / "run",
        labels={"optimizer": "mine", "benchmark": "toy"},
    )  # fmt: skip
    study = load_study(tmp_path)
    assert study.objectives == ("value", "-speed")
    assert len(FIGURES["attained_fronts"].make(study).table) > 0
    assert FIGURES["performance_over_time"].make(study).table["quantity"].iloc[0] == "hypervolume"
