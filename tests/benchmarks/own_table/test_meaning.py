"""What the cells of a table mean: seconds, failed trainings, maximised values, wide curves; from Python and a study."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ConfigSpace import ConfigurationSpace, EqualsCondition, Integer
from ConfigSpace.hyperparameters import CategoricalHyperparameter, OrdinalHyperparameter

from zerowait import adapters
from zerowait.benchmarks import Fidelity, from_dataframe, load
from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.suite import Budget, Overhead
from zerowait.suite.rules.errors import SpecificationError

LEVELS = (1, 3, 9, 27)
COLUMNS = {"params": ["a", "b"], "fidelity": "epoch", "value": "loss", "runtime": "seconds"}


def frame_of(seconds):
    rows = [
        (a, b, e, abs(a - 4) + b / 10 + 1 / e, seconds(a, b, e)) for a in range(3) for b in range(2) for e in LEVELS
    ]
    return pd.DataFrame(rows, columns=["a", "b", "epoch", "loss", "seconds"])


def total(a, b, e):
    return (1.0 + a + b / 2) * e


# --- seconds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "what"),
    [
        (lambda a, b, e: 2.0, r"2 at epoch 1 \(row 0\) and 2 at 3 \(row 1; the first row is 0\): they do not grow;"),
        (
            lambda a, b, e: 2.0 + 0.1 * math.sin(7 * e),
            "they fall; seconds count from the start of a training; give sec",
        ),
        (lambda a, b, e: total(a, b, e) if (a, b) != (1, 1) else 5.0, r"5 at epoch 1 \(row 12\) .*: they do not grow"),
        (lambda a, b, e: total(a, b, e) - 99 * (e == 27 and a == 2) + 99, r"they fall"),
        (lambda a, b, e: 0.0, "they do not grow"),
    ],
)
@pytest.mark.parametrize("match", ["exact", "nearest"])
def test_seconds_that_do_not_grow_with_the_fidelity_are_refused_with_two_rows(seconds, what, match):
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(frame_of(seconds), **COLUMNS, match=match)
    assert "'per_step'" in str(caught.value)
    assert str(caught.value).isprintable()


def test_seconds_that_stand_still_once_and_grow_later_are_taken():
    assert from_dataframe(frame_of(lambda a, b, e: float(max(e, 3))), **COLUMNS)({"a": 0, "b": 0}).runtime == 27.0


def test_repetitions_are_compared_one_by_one_and_where_their_numbers_differ_by_their_means():
    frame = pd.concat([frame_of(total), frame_of(lambda *x: total(*x) + 50)])
    assert from_dataframe(frame, **COLUMNS)({"a": 0, "b": 0}, fidelity=1, seed=1).runtime == 51.0
    shuffled = pd.concat([frame[frame.epoch < 9], frame[frame.epoch >= 9][::-1]])
    with pytest.raises(SpecificationError, match="they fall"):
        from_dataframe(shuffled, **COLUMNS)
    uneven = pd.concat([frame_of(lambda *_: 2.0), frame_of(lambda *_: 2.0).query("epoch == 3")])
    with pytest.raises(SpecificationError, match="their means do not grow"):
        from_dataframe(uneven, **COLUMNS)


def test_seconds_per_step_are_added_up_and_continued_evaluations_are_charged_their_difference():
    per_step = from_dataframe(frame_of(lambda a, b, e: 2.0), **COLUMNS, seconds="per_step")
    whole = from_dataframe(frame_of(lambda a, b, e: 2.0 * e), **COLUMNS)
    for e in LEVELS:
        assert per_step({"a": 1, "b": 1}, fidelity=e) == whole({"a": 1, "b": 1}, fidelity=e)
    traces = [
        adapters.load("optuna-hyperband").optimize(
            table, n_workers=2, seed=0, budget=Budget(30), overhead=Overhead.none(), mode="ask_tell", continual=True
        )
        for table in (per_step, whole)
    ]
    assert traces[0].end.tolist() == traces[1].end.tolist()
    assert not traces[0].clipped.any()
    assert (traces[0].runtime > 0).all()


def test_seconds_per_step_that_differ_are_those_since_the_row_before():
    benchmark = from_dataframe(frame_of(lambda a, b, e: float(e)), **COLUMNS, seconds="per_step")
    expected = [1.0, 1.0 + 3.0 * 2, 1.0 + 3.0 * 2 + 9.0 * 6, 1.0 + 3.0 * 2 + 9.0 * 6 + 27.0 * 18]
    assert [benchmark({"a": 0, "b": 0}, fidelity=e).runtime for e in LEVELS] == expected
    with pytest.raises(SpecificationError, match="has 2 repetitions at epoch 1 and 1 at 3"):
        from_dataframe(pd.concat([frame_of(total), frame_of(total)[:1]]), **COLUMNS, seconds="per_step")


def test_seconds_of_the_full_training_are_shared_out():
    benchmark = from_dataframe(frame_of(lambda a, b, e: 270.0), **COLUMNS, seconds="full")
    assert [benchmark({"a": 0, "b": 0}, fidelity=e).runtime for e in LEVELS] == pytest.approx([10.0, 30.0, 90.0, 270.0])
    with pytest.raises(SpecificationError, match="those of the full training differ"):
        from_dataframe(frame_of(total), **COLUMNS, seconds="full")


def test_independent_trainings_may_take_what_they_took():
    benchmark = from_dataframe(frame_of(lambda a, b, e: 30.0 - e), **COLUMNS, seconds="independent")
    assert benchmark({"a": 0, "b": 0}, fidelity=27).runtime == 3.0


# --- failed trainings and maximised values --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet", "frame"])
def test_a_failed_training_is_a_failed_evaluation_with_its_seconds(tmp_path, suffix):
    frame = frame_of(total)
    frame.loc[2:3, "loss"] = math.nan
    frame.loc[3, "seconds"] = 4.5  # it crashed before it had run for as long as the row before
    table = frame if suffix == "frame" else tmp_path / f"table{suffix}"
    if suffix == ".csv":
        frame.to_csv(table, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(table)
    benchmark = from_dataframe(table, **COLUMNS)
    with pytest.raises(TrainingFailedError, match=r"the training of \{'a': 0, 'b': 0\} failed") as caught:
        benchmark({"a": 0, "b": 0}, fidelity=27)
    assert caught.value.runtime == 4.5
    assert benchmark.optimum == frame[frame.epoch == 27].loss.min()
    trace = adapters.load("random").optimize(
        benchmark, n_workers=2, seed=0, budget=Budget(40), overhead=Overhead.none(), mode="ask_tell"
    )
    failed = trace[trace.status == "failed"]
    assert len(failed) > 0
    assert set(failed.runtime) == {4.5}


def test_of_repetitions_some_of_which_failed_the_mean_is_that_of_the_others():
    first, second = frame_of(total), frame_of(total)
    first.loss, second.loss = 1.0, math.nan
    second.loc[second.a == 0, "loss"] = 3.0
    benchmark = from_dataframe(pd.concat([first, second]), **COLUMNS)
    assert benchmark({"a": 0, "b": 0}).value == 2.0
    assert benchmark({"a": 1, "b": 0}).value == 1.0
    with pytest.raises(TrainingFailedError):
        benchmark({"a": 1, "b": 0}, seed=1)


def test_a_value_to_maximise_becomes_its_negative():
    frame = frame_of(total).rename(columns={"loss": "accuracy"})
    benchmark = from_dataframe(frame, **{**COLUMNS, "value": "accuracy"}, maximize=True)
    assert benchmark({"a": 0, "b": 0}).value == -frame.accuracy[3]
    assert benchmark.optimum == -frame[frame.epoch == 27].accuracy.max()


# --- wide curves ----------------------------------------------------------------------------------------------------


def wide(**changes):
    data = {"rate": [0.1, 0.2], "kind": ["x", "y"], "params": [10, 20]}
    for epoch in (1, 2, 10):
        data[f"loss_{epoch:02}"] = [1 / epoch, 2 / epoch]
        data[f"time {epoch}"] = [3.0 * epoch, 4.0 * epoch]
        data[f"acc_{epoch}_val"] = [0.1 * epoch, 0.05 * epoch]
    data["step"] = [3.0, 4.0]
    return pd.DataFrame({**data, **changes})


WIDE = {"params": ["rate", "kind"], "curves": "loss_*", "match": "nearest"}


def test_a_row_may_be_a_whole_curve(tmp_path):
    wide().to_csv(tmp_path / "wide.csv", index=False)
    for table in (wide(), tmp_path / "wide.csv"):
        benchmark = from_dataframe(table, **WIDE, runtime="time *", metrics=["acc_*_val", "params"])
        evaluation = benchmark({"rate": 0.2, "kind": "y"}, fidelity=10)
        assert (evaluation.value, evaluation.runtime) == (0.2, 40.0)
        assert evaluation.metrics == {"acc__val": 0.5, "params": 20.0, "distance": 0.0, "matched_fidelity": 10.0}
        assert (benchmark.fidelity.name, benchmark.fidelities) == ("epoch", (1, 2, 10))
        per_step = from_dataframe(table, **WIDE, runtime="step", seconds="per_step")
        assert per_step({"rate": 0.2, "kind": "y"}, fidelity=10).runtime == 40.0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"runtime": "step"}, "'step' has the same seconds for a whole curve; give seconds='per_step' if they"),
        ({"runtime": "loss_*"}, "'loss_.' is given as value and as runtime"),
        ({"runtime": "acc_*"}, "no column is 'acc_.' with a number in place"),
        ({"runtime": "time *", "curves": "los*_*"}, "curves is 'los._.'; it must be the name of columns with one"),
        ({"runtime": "time *", "curves": "loss"}, "curves is 'loss'; it must be"),
        ({"runtime": "time *", "value": "loss_01"}, "both value and curves are given"),
        ({"runtime": "time *", "curves": None}, "neither value nor curves is given"),
    ],
)  # fmt: skip
def test_curves_that_are_none_are_refused(options, what):
    with pytest.raises(SpecificationError, match=what):
        from_dataframe(wide(), **{**WIDE, **options})


def test_curves_of_different_lengths_or_names_are_refused():
    with pytest.raises(SpecificationError, match=r"'loss_\*' has the epoch 3 and 'time \*' has not"):
        from_dataframe(wide(loss_3=1.0), **WIDE, runtime="time *")
    with pytest.raises(SpecificationError, match=r"'loss_01' and 'loss_1' are both 'loss_\*' at 1; rename one"):
        from_dataframe(wide(loss_1=1.0), **WIDE, runtime="time *")


def test_a_curve_that_ended_has_no_further_rows_and_one_that_failed_has_seconds():
    ended = wide(**{"loss_10": [0.1, math.nan], "time 10": [30.0, math.nan]})
    benchmark = from_dataframe(ended, **WIDE, runtime="time *")
    assert benchmark({"rate": 0.2, "kind": "y"}, fidelity=10).value == 0.1
    failed = from_dataframe(wide(loss_10=[0.1, math.nan]), **WIDE, runtime="time *")
    with pytest.raises(TrainingFailedError) as caught:
        failed({"rate": 0.2, "kind": "y"}, fidelity=10)
    assert caught.value.runtime == 40.0


STUDY = """
name = "mine"
workers = [2]
seeds = 1
overhead = "none"
[budget]
max_evaluations = 10
[[optimizers]]
name = "random"
mode = "ask_tell"
[[benchmarks]]
name = "table"
parameters = {path = "wide.csv", params = ["rate"], categorical = ["rate"], curves = "acc_*", runtime = "seconds",
  seconds = "per_step", maximize = true, separator = ";", decimal = ","}
"""


def test_a_study_file_says_all_of_it(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from zerowait.experiments.commands.cli import app
    from zerowait.suite.factory_spec import factory_spec_of

    monkeypatch.chdir(tmp_path)
    Path("wide.csv").write_text("rate;acc_1;acc_2;seconds\n007;0,5;0,75;1,5\n008;;0,25;2,5\n")
    Path("study.toml").write_text(STUDY.replace(",\n ", ","))
    done = CliRunner().invoke(app, ["run", "study.toml", "--in-process"])
    assert done.exit_code == 0, done.output
    trace = pd.read_parquet(next(Path("runs/mine").rglob("trace.parquet")))
    assert set(trace.value) == {-0.75, -0.25}
    assert set(trace.runtime) == {3.0, 5.0}
    table = {"path": "wide.csv", "params": ["rate"], "categorical": ["rate"], "curves": "acc_*", "runtime": "seconds"}
    table |= {"seconds": "per_step", "maximize": True, "separator": ";", "decimal": ","}
    benchmark = load("table", **table)
    assert benchmark.factory_spec.make().content == benchmark.content
    assert factory_spec_of(benchmark).make().content == benchmark.content
    with pytest.raises(TrainingFailedError):
        benchmark({"rate": "008"}, fidelity=1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"seconds": "total"},
            "seconds is 'total'; it must be one of 'since_start', 'per_step', 'full', 'independent'",
        ),
        ({"seconds": "full", "fidelity": None}, "seconds is 'full', but there is no fidelity"),
        ({"maximize": "yes"}, "maximize is 'yes'; it must be True or False"),
        ({"categorical": ["c"]}, "categorical has 'c', which is not one of params: a, b"),
        ({"categorical": "a"}, "categorical is 'a'; it must be a list"),
        ({"separator": ";;"}, "separator is ';;'; it must be one character"),
        ({"separator": "1"}, "separator is '1'"),
        ({"separator": ","} | {"decimal": ","}, "separator and decimal are both ','"),
        ({"decimal": "'"}, 'decimal is "\'"; it must be'),
    ],
)
def test_arguments_that_mean_nothing_are_refused(options, what):
    with pytest.raises(SpecificationError, match=what):
        from_dataframe(frame_of(total), **{**COLUMNS, **options})


# --- fidelities and given spaces ------------------------------------------------------------------------------------


def levels_frame(levels):
    return pd.DataFrame([(a, z, a / z, 2.0 * z) for a in range(6) for z in levels], columns=["a", "z", "loss", "s"])


LEVEL_COLUMNS = {"params": ["a"], "fidelity": "z", "value": "loss", "runtime": "s"}


@pytest.mark.parametrize(
    ("levels", "values"),
    [((100, 200, 500), (100, 200, 500)), ((5, 10, 15), (5, 10, 15)), ((1, 2, 3), None), ((0.5, 1.0), (0.5, 1.0))],
)
def test_an_exact_table_declares_its_only_fidelities(levels, values):
    expected = Fidelity("z", levels[0], levels[-1], integer=isinstance(levels[0], int), values=values)
    assert from_dataframe(levels_frame(levels), **LEVEL_COLUMNS).fidelity == expected
    expected = replace(expected, values=None)
    assert from_dataframe(levels_frame(levels), **LEVEL_COLUMNS, match="nearest").fidelity == expected


def test_levels_that_differ_by_a_rounding_are_refused():
    frame = levels_frame((0.1, 0.3, 1.0))
    frame.loc[1, "z"] = 0.1 + 0.2
    for match in ("exact", "nearest"):
        with pytest.raises(
            SpecificationError, match=r"'z' has 0\.3 and 0\.30000000000000004, which differ by a rounding"
        ):
            from_dataframe(frame, **LEVEL_COLUMNS, match=match)


BRACKETS = ["bohb", "hyperband", "dehb", "optuna-hyperband", "smac-hyperband", "neps-asha", "neps-hyperband"]


@pytest.mark.parametrize("levels", [(100, 200, 500), (5, 10, 15, 20, 25)])
@pytest.mark.parametrize("name", BRACKETS)
def test_an_optimizer_that_would_ask_for_other_fidelities_is_refused_before_it_starts(name, levels):
    table = from_dataframe(levels_frame(levels), **LEVEL_COLUMNS)
    reason = adapters.load(name).refuses(table)
    assert reason is not None
    assert f"the benchmark has only {', '.join(map(str, levels))}" in reason


@pytest.mark.parametrize("name", BRACKETS)
def test_an_optimizer_whose_rungs_the_table_has_runs(name):
    table = from_dataframe(levels_frame((1, 3, 9, 27)), **LEVEL_COLUMNS)
    adapter = adapters.load(name)
    assert adapter.refuses(table) is None
    trace = adapter.optimize(table, n_workers=2, seed=0, budget=Budget(12), overhead=Overhead.none(), mode="ask_tell")
    assert set(trace.fidelity) <= {1, 3, 9, 27}
    assert (trace.status == "ok").all()


def space_of(*parameters):
    return ConfigurationSpace(space=list(parameters))


SMALL = pd.DataFrame({"a": [1, 2, 3], "loss": [1.0, 2.0, 3.0], "s": 1.0})


@pytest.mark.parametrize(
    ("parameter", "match", "what"),
    [
        (CategoricalHyperparameter("a", ["1", "2", "3"]), "exact", "the space has the value '1' for 'a', which no row"),
        (CategoricalHyperparameter("a", ["1", "2", "3"]), "nearest", "the space has the value '1' for 'a'"),
        (CategoricalHyperparameter("a", [1, 2, 3, 7]), "exact", "the space has the value 7 for 'a'"),
        (CategoricalHyperparameter("a", [1, 2, 3, 7]), "nearest", "the space has the value 7 for 'a'"),
        (OrdinalHyperparameter("a", [1, 2, 7]), "exact", "the space has the value 7 for 'a'"),
        (CategoricalHyperparameter("a", [True, False]), "exact", "the space has the value True for 'a'"),
        (Integer("a", (1, 5)), "exact", "the space has the value 4 for 'a'.*holds 1, 2, 3"),
        (Integer("a", (1, 5), log=True), "exact", "the space has the value 4 for 'a'"),
    ],
)  # fmt: skip
def test_a_space_that_the_table_cannot_answer_is_refused_at_construction(parameter, match, what):
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(SMALL, params=["a"], value="loss", runtime="s", space=space_of(parameter), match=match)
    assert "correct the space" in str(caught.value)


def test_a_range_of_floats_is_refused_with_exact_and_answered_with_nearest():
    from ConfigSpace import Float

    columns = {"params": ["a"], "value": "loss", "runtime": "s", "space": space_of(Float("a", (1.0, 3.0)))}
    with pytest.raises(SpecificationError, match=r"any number from 1.0 to 3.0 for 'a', and with match='exact'"):
        from_dataframe(SMALL, **columns)
    benchmark = from_dataframe(SMALL, **columns, match="nearest")
    benchmark.space.seed(0)
    assert all(benchmark(config).metrics["distance"] <= 0.25 for config in benchmark.space.sample_configuration(50))


def test_combinations_of_a_given_space_must_be_there_and_rows_outside_it_are_left_out():
    rows = [(a, b, float(a), 1.0) for a in (1, 2, 3) for b in "xy" if (a, b) != (2, "y")]
    frame = pd.DataFrame(rows, columns=["a", "b", "loss", "s"])
    columns = {"params": ["a", "b"], "value": "loss", "runtime": "s"}
    wide_space = space_of(Integer("a", (1, 3)), CategoricalHyperparameter("b", ["x", "y"]))
    with pytest.raises(
        SpecificationError, match=r"5 of the 6 combinations of the values in the given space.*a=2, b='y'"
    ):
        from_dataframe(frame, **columns, space=wide_space)
    narrow = space_of(Integer("a", (2, 3)), CategoricalHyperparameter("b", ["x"]))
    benchmark = from_dataframe(frame, **columns, space=narrow)
    assert benchmark.optimum == 2.0
    with pytest.raises(SpecificationError, match="'a' has the value 1; allowed is"):
        benchmark({"a": 1, "b": "x"})


@pytest.mark.parametrize("log", [False, True])
def test_every_configuration_of_a_space_with_conditions_is_looked_up(log):
    kind, depth = CategoricalHyperparameter("kind", ["line", "tree"]), Integer("depth", (1, 9), log=log)
    space = space_of(kind, depth)
    space.add(EqualsCondition(depth, kind, "tree"))
    rows = [("line", None, 0.0, 1.0), *(("tree", d, 1.0 / d, 1.0) for d in range(1, 10))]
    columns = {"params": ["kind", "depth"], "value": "loss", "runtime": "s", "space": space}
    frame = pd.DataFrame(rows, columns=["kind", "depth", "loss", "s"])
    benchmark = from_dataframe(frame, **columns)
    benchmark.space.seed(0)
    assert all(np.isfinite(benchmark(config).value) for config in benchmark.space.sample_configuration(40))
    with pytest.raises(SpecificationError, match="the space has the value 'line' for 'kind', which no row answers"):
        from_dataframe(frame[1:], **columns)
    third = OrdinalHyperparameter("size", [1, 2])
    space.add(third)
    larger = pd.concat([frame.assign(size=1), frame.assign(size=2)])
    columns["params"] = ["kind", "depth", "size"]
    from_dataframe(larger, **columns)
    with pytest.raises(SpecificationError, match=r"no row for \{.*'size': 2.*\}, which the given space allows"):
        from_dataframe(larger[:-1], **columns)
