"""The scenarios of YAHPO Gym with a training-set fraction, against yahpo-gym's own numbers."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import statistics
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, DataMissingError, available, load
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.registry import BUILT_IN
from zerowait.benchmarks.surrogates.surrogate_space import read_encoding, read_space
from zerowait.benchmarks.surrogates.yahpo import SCENARIOS, family
from zerowait.suite.rules.errors import SpecificationError

MISSING = data_set("yahpo").missing_reason()
real_data = pytest.mark.skipif(MISSING is not None, reason=f"real data: {MISSING}, or set ZEROWAIT_DATA")

HERE = Path(__file__).parent
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
GOLDEN = json.loads((HERE / "yahpo_golden.json").read_text())
PRESENT = {"iaml_glmnet": 4, "rbv2_rpart": 117, "rbv2_xgboost": 119}
DART = {
    "alpha": 1.0, "booster": "dart", "colsample_bylevel": 0.5, "colsample_bytree": 0.5, "eta": 0.03, "gamma": 0.02,
    "lambda": 1.0, "max_depth": 8, "min_child_weight": 20.0, "nrounds": 144, "num.impute.selected.cpo": "impute.mean",
    "rate_drop": 0.5, "skip_drop": 0.5, "subsample": 0.55,
}  # fmt: skip
GBLINEAR = {
    "alpha": 1.0, "booster": "gblinear", "lambda": 1.0, "nrounds": 144, "num.impute.selected.cpo": "impute.mean",
    "subsample": 0.55,
}  # fmt: skip
ONLY_WITH_TREES = ("colsample_bylevel", "colsample_bytree", "eta", "gamma", "max_depth", "min_child_weight")
ONLY_WITH_DART = ("rate_drop", "skip_drop")


def first_task(name):
    return SCENARIOS[name].tasks()[0]


# -- the numbers -----------------------------------------------------------------------------------------------------


@real_data
@pytest.mark.parametrize("name", PRESENT)
def test_all_outputs_equal_those_of_yahpo_gym_to_the_bit(name):
    target = {"rbv2": "acc", "iaml": "mmce"}[name.partition("_")[0]]
    assert len(GOLDEN[name]) == 30
    for row in GOLDEN[name]:
        config = dict(row["config"])
        task, trainsize = config.pop("task_id"), config.pop("trainsize")
        repetition = config.pop("repl", None)
        seed = None if repetition is None else repetition - 1
        evaluation = load(name, task=task)(config, fidelity=trainsize, seed=seed)
        assert evaluation.metrics == row["result"]
        score = row["result"][target]
        assert evaluation.value == (1.0 - score if target == "acc" else score)
        assert evaluation.runtime == row["result"]["timetrain"]


@real_data
def test_the_golden_rows_have_every_booster_and_many_tasks():
    rows = [row["config"] for row in GOLDEN["rbv2_xgboost"]]
    assert {row["booster"] for row in rows} == {"dart", "gblinear", "gbtree"}
    assert len({row["task_id"] for row in rows}) > 20
    assert len({row["repl"] for row in rows}) > 5


@real_data
def test_the_seed_chooses_the_repetition_and_without_one_the_mean_is_returned():
    benchmark = load("rbv2_xgboost", task="16")
    singles = [benchmark(DART, seed=seed) for seed in range(10)]
    assert len({single.value for single in singles}) > 1
    assert benchmark(DART, seed=10) == singles[0]
    assert benchmark(DART, seed=2**63 - 1) == singles[(2**63 - 1) % 10]
    mean = benchmark(DART)
    assert mean.value == pytest.approx(statistics.fmean(single.value for single in singles), rel=1e-12)
    assert mean.runtime == pytest.approx(statistics.fmean(single.runtime for single in singles), rel=1e-12)


@real_data
def test_a_fixed_repetition_is_used_whatever_the_seed():
    fixed = load("rbv2_xgboost", task="16", repl=10)
    assert fixed.label == "rbv2_xgboost/16(repl=10)"
    assert fixed(DART) == fixed(DART, seed=4) == load("rbv2_xgboost", task="16")(DART, seed=9)
    assert pickle.loads(pickle.dumps(fixed))(DART) == fixed(DART)


@real_data
def test_where_nothing_is_repeated_the_seed_changes_nothing():
    benchmark = load("iaml_glmnet", task="40981")
    config = {"alpha": 0.5, "s": 0.3}
    assert benchmark(config) == benchmark(config, seed=0) == benchmark(config, seed=7)


# -- what they offer -------------------------------------------------------------------------------------------------


def test_every_scenario_is_registered():
    assert {name for name, place in BUILT_IN.items() if place == "zerowait.benchmarks.surrogates.yahpo:family"} == set(
        SCENARIOS
    )
    for name in SCENARIOS:
        assert family(name).name == name
        assert family(name).facts.gaps() == []


@real_data
def test_the_tasks_are_those_of_the_files():
    listed = {found.name: len(found.tasks) for found in available() if found.name in PRESENT}
    assert listed == PRESENT


@real_data
def test_the_space_of_xgboost_has_the_conditions_of_the_file():
    space = load("rbv2_xgboost", task="16").space
    assert set(space) == set(DART)
    assert {condition.child.name for condition in space.conditions} == {*ONLY_WITH_TREES, *ONLY_WITH_DART}
    for booster, absent in [
        ("dart", ()),
        ("gbtree", ONLY_WITH_DART),
        ("gblinear", (*ONLY_WITH_DART, *ONLY_WITH_TREES)),
    ]:
        space.seed(5)
        sampled = [dict(c) for c in space.sample_configuration(60) if c["booster"] == booster]
        assert sampled
        assert all(set(config) == set(DART) - set(absent) for config in sampled)


@real_data
@pytest.mark.parametrize("name", PRESENT)
def test_task_fidelity_and_repetition_are_no_parameters(name):
    benchmark = load(name, task=first_task(name))
    assert not {"task_id", "trainsize", "repl"} & set(benchmark.space)
    assert (benchmark.fidelity.name, benchmark.fidelity.lower, benchmark.fidelity.upper) == ("trainsize", 0.03, 1.0)
    assert not benchmark.fidelity.integer
    assert benchmark.optimum is None
    assert len(pickle.dumps(benchmark)) < 300


@real_data
def test_a_bound_that_misses_a_round_number_by_a_rounding_is_that_number():
    space = load("iaml_glmnet", task="1067").space
    assert (space["s"].lower, space["s"].upper) == (1e-4, 1000.0)


# -- what is accepted and what is refused ----------------------------------------------------------------------------


@real_data
@EXAMPLES
@given(data=st.data())
@pytest.mark.parametrize("name", PRESENT)
def test_every_configuration_of_the_space_is_accepted(strategies, name, data):
    benchmark = load(name, task=data.draw(st.sampled_from(SCENARIOS[name].tasks())))
    config = data.draw(strategies.configs(benchmark.parameters.parameters))
    fidelity = data.draw(st.one_of(st.none(), st.floats(0.03, 1.0)))
    evaluation = benchmark(config, fidelity=fidelity, seed=data.draw(st.integers(0, 2**63 - 1)))
    assert 0.0 <= evaluation.value <= 1.0
    assert evaluation.runtime > 0.0
    assert list(evaluation.metrics) == list(benchmark.metrics)
    assert all(type(number) is float for number in evaluation.metrics.values())


@real_data
@pytest.mark.parametrize("name", PRESENT)
def test_every_configuration_that_configspace_samples_is_accepted(name):
    benchmark = load(name, task=first_task(name))
    benchmark.space.seed(1)
    sampled = benchmark.space.sample_configuration(200)
    for config in [*sampled, benchmark.space.get_default_configuration()]:
        assert benchmark(config, seed=1) == benchmark(dict(config), seed=1)
    for name_, parameter in benchmark.space.items():
        checked = benchmark.parameters[name_]
        for end in (0.0, 1.0) if hasattr(parameter, "lower") else ():
            assert checked.lower <= checked.check(parameter.to_value(end), "end") <= checked.upper


@real_data
@pytest.mark.usefixtures("unseen")
@EXAMPLES
@given(data=st.data())
def test_a_value_outside_is_refused_with_parameter_value_and_what_is_allowed(strategies, data):
    benchmark = load("rbv2_xgboost", task="16")
    parameter = data.draw(st.sampled_from(benchmark.parameters.parameters))
    value = data.draw(strategies.outside(parameter))
    with pytest.raises(SpecificationError) as caught:
        benchmark({**DART, parameter.name: value})
    message = str(caught.value)
    assert message.startswith(f"rbv2_xgboost/16: the parameter {parameter.name!r} has the value ")
    assert message.endswith(f"; allowed is {parameter.allowed}")
    assert "\n" not in message


@real_data
@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {**GBLINEAR, "eta": 0.1},
            "'eta' has the value 0.1, but exists only where 'booster' is 'dart' or 'gbtree'; leave it out",
        ),
        (
            {**DART, "booster": "gbtree"},
            "the parameter 'rate_drop' has the value 0.5, but exists only where 'booster' is 'dart'",
        ),
        (
            {name: value for name, value in DART.items() if name != "skip_drop"},
            "it must be a number from 0.0 to 1.0 where 'booster' is 'dart'",
        ),
        (
            {**DART, "booster": "linear"},
            "'booster' has the value 'linear'; allowed is one of ['gblinear', 'gbtree', 'dart']",
        ),
        ({**DART, "repl": 3}, "the parameter 'repl' (value 3) is unknown; the parameters are: "),
        ({**DART, "task_id": "16"}, "the parameter 'task_id' (value '16') is unknown"),
        ({**DART, "trainsize": 0.5}, "the parameter 'trainsize' (value 0.5) is unknown"),
    ],
)
def test_parameters_that_do_not_belong_together_are_refused(config, message):
    with pytest.raises(SpecificationError, match=re.escape(message)):
        load("rbv2_xgboost", task="16")(config)


@real_data
@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize("trainsize", [0.0, 0.029, 1.01, -1, True, "1", float("nan")])
def test_a_fraction_outside_is_refused(trainsize):
    with pytest.raises(SpecificationError) as caught:
        load("rbv2_rpart", task="14")({}, fidelity=trainsize)
    assert f"the fidelity 'trainsize' is {trainsize!r}; it must be a number from 0.03 to 1.0" in str(caught.value)


@real_data
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("rbv2_xgboost", {"repl": 0}, "repl is 0; it must be an integer from 1 to 10"),
        ("rbv2_xgboost", {"repl": True}, "repl is True"),
        ("iaml_glmnet", {"repl": 1}, "repl is 1, but there are no repetitions; leave it out"),
        ("iaml_glmnet", {"fidelity_range": (0.01, 1)}, r"must be two numbers, 0.03 <= lower < upper <= 1.0"),
        ("iaml_glmnet", {"size": 1}, r"'size' \(value 1\) .* is unknown; allowed: fidelity_range, repl"),
    ],
)
def test_parameters_of_the_benchmark_are_checked(name, parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load(name, task=first_task(name), **parameters)


@real_data
@pytest.mark.parametrize("task", [None, "167104", 16])
def test_an_unknown_task_is_refused_with_the_tasks(task):
    with pytest.raises(SpecificationError, match=r"it must be one of: 40981, 41146, 1489, 1067$"):
        load("iaml_glmnet", task=task)


# -- data that is absent, damaged or of another kind -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("rbv2_xgboost", "get the data with: zerowait data fetch yahpo"),
        ("rbv2_svm", "put config_space.json, encoding.json, model.onnx from https://github.com/slds-lmu/yahpo_data"),
    ],
)
def test_absent_data_is_named_with_the_way_to_get_it(monkeypatch, tmp_path, name, remedy):
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    for task in (None, "16"):
        with pytest.raises(DataMissingError) as caught:
            load(name, task=task)
        assert str(tmp_path / "yahpo" / name / "config_space.json") in str(caught.value)
        assert remedy in str(caught.value)
    found = next(found for found in available() if found.name == name)
    assert not found.present
    assert remedy in found.reason


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Return a function that copies the files of a scenario, under any scenario's name."""
    real = data_set("yahpo").place

    def copy(source, name):
        folder = tmp_path / "yahpo" / name
        shutil.copytree(real / source, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
        return folder

    return copy


@real_data
def test_files_of_another_scenario_are_refused(copied):
    folder = copied("rbv2_rpart", "rbv2_glmnet")
    with pytest.raises(DamagedDataError, match=r"has the parameters .*maxdepth.*; rbv2_glmnet has alpha, "):
        load("rbv2_glmnet", task="16")
    reason = next(found.reason for found in available() if found.name == "rbv2_glmnet")
    assert str(folder / "config_space.json") in reason


@real_data
def test_a_model_of_another_scenario_is_refused(copied):
    folder = copied("rbv2_rpart", "iaml_rpart")
    space = json.loads((folder / "config_space.json").read_text())
    space["hyperparameters"] = [
        parameter
        for parameter in space["hyperparameters"]
        if parameter["name"] not in ("repl", "num.impute.selected.cpo")
    ]
    (folder / "config_space.json").write_text(json.dumps(space))
    benchmark = load("iaml_rpart", task="16")
    with pytest.raises(
        DamagedDataError, match=r"has the inputs and outputs .*'x_cat', \[2\].* it must have .*'x_cat', \[1\]"
    ):
        benchmark(dict(benchmark.space.get_default_configuration()))


@real_data
def test_an_encoding_without_a_code_is_refused(copied):
    folder = copied("rbv2_xgboost", "rbv2_xgboost")
    codes = json.loads((folder / "encoding.json").read_text())
    del codes["booster"]["dart"]
    (folder / "encoding.json").write_text(json.dumps(codes))
    with pytest.raises(
        DamagedDataError, match="has no code for booster='dart'; get the data with: zerowait data fetch yahpo"
    ):
        load("rbv2_xgboost", task="16")(DART)


NESTED = {
    "hyperparameters": [
        {"name": "xgboost.eta", "type": "uniform_float", "log": True, "lower": 1e-4, "upper": 1.0, "default": 0.01},
        {
            "name": "xgboost.booster",
            "type": "categorical",
            "choices": ["gblinear", "dart", "gbtree"],
            "default": "gblinear",
        },
        {"name": "learner", "type": "categorical", "choices": ["rpart", "xgboost"], "default": "rpart"},
    ],
    "conditions": [
        {"child": "xgboost.booster", "parent": "learner", "type": "EQ", "value": "xgboost"},
        {
            "child": "xgboost.eta",
            "type": "AND",
            "conditions": [
                {"child": "xgboost.eta", "parent": "xgboost.booster", "type": "IN", "values": ["dart", "gbtree"]},
                {"child": "xgboost.eta", "parent": "learner", "type": "EQ", "value": "xgboost"},
            ],
        },
    ],
    "forbiddens": [],
}


def written(tmp_path, data):
    file = tmp_path / "config_space.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def test_conditions_on_two_parameters_as_in_the_super_scenarios_are_read(tmp_path):
    space = read_space(written(tmp_path, NESTED))
    assert space.names == ("learner", "xgboost.booster", "xgboost.eta")
    for config in (
        {"learner": "rpart"},
        {"learner": "xgboost", "xgboost.booster": "gblinear"},
        {"learner": "xgboost", "xgboost.booster": "dart", "xgboost.eta": 0.1},
    ):
        assert space.check(config, "nested") == config
    with pytest.raises(
        SpecificationError, match=r"only where 'xgboost.booster' is 'dart' or 'gbtree' and 'learner' is 'xgboost'"
    ):
        space.check({"learner": "xgboost", "xgboost.booster": "gblinear", "xgboost.eta": 0.1}, "nested")
    library = space.as_configspace("nested")
    library.seed(0)
    sampled = [dict(config) for config in library.sample_configuration(50)]
    assert {len(config) for config in sampled} == {1, 2, 3}
    for config in sampled:
        assert space.check(config, "nested") == config


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda _: "{", "is damaged: "),
        (lambda _: "[]", "is damaged: it holds a list"),
        (lambda data: {**data, "forbiddens": [{}]}, "has forbidden combinations"),
        (lambda data: {**data, "hyperparameters": data["hyperparameters"][1:]}, "unknown parameters .'xgboost.eta'"),
        (
            lambda data: {**data, "hyperparameters": data["hyperparameters"][:2]},
            "name each other or an unknown parameter",
        ),
        (lambda data: {**data, "hyperparameters": [{"name": "x", "type": "normal"}]}, "KeyError: 'normal'"),
        (lambda data: {**data, "conditions": 3}, "is no search space of YAHPO Gym: TypeError"),
    ],
)
def test_a_damaged_space_is_refused_with_the_file_and_the_finding(tmp_path, change, finding):
    file = written(tmp_path, change(NESTED))
    with pytest.raises(DamagedDataError, match=rf"{re.escape(str(file))} .*{finding}"):
        read_space(file)


@pytest.mark.parametrize("codes", ['{"task_id": {"16": -1}}', '{"task_id": 3}', '{"task_id": {"16": "1"}}'])
def test_a_negative_code_is_refused_because_the_runtime_would_take_it(tmp_path, codes):
    file = tmp_path / "encoding.json"
    file.write_text(codes)
    with pytest.raises(DamagedDataError, match="a code is not an integer of at least 0"):
        read_encoding(file)
