"""LCBench against yahpo-gym's own numbers, what it refuses, and what a process holds of it."""

from __future__ import annotations

import csv
import json
import multiprocessing
import pickle
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, DataMissingError, available, load
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.surrogates import surrogate_session
from zerowait.benchmarks.surrogates.lcbench import BEST_KNOWN, FAMILY, SCENARIO, TASKS
from zerowait.benchmarks.surrogates.surrogate import FILES
from zerowait.benchmarks.surrogates.surrogate_session import SESSIONS
from zerowait.suite.rules.errors import SpecificationError

MISSING = data_set("lcbench").missing_reason()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"real data: {MISSING}, or set ZEROWAIT_DATA")

ROOT = Path(__file__).resolve().parents[3]
# A fixture that only replaces or returns functions is the same for every example.
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
CONFIG = {
    "batch_size": 64, "learning_rate": 0.01, "max_dropout": 0.5, "max_units": 256, "momentum": 0.9, "num_layers": 3,
    "weight_decay": 0.001,
}  # fmt: skip
RANGES = {
    "batch_size": (16, 512, True), "learning_rate": (1e-4, 0.1, True), "max_dropout": (0.0, 1.0, False),
    "max_units": (64, 1024, True), "momentum": (0.1, 0.99, False), "num_layers": (1, 5, False),
    "weight_decay": (1e-5, 0.1, False),
}  # fmt: skip


@pytest.fixture
def opened(monkeypatch):
    """Forget the open models, and list those that are opened from now on."""
    files = []
    real = surrogate_session._open

    def counted(model):
        files.append(model.path)
        time.sleep(0.01)  # long enough for threads that ask at once to meet
        return real(model)

    monkeypatch.setattr(SESSIONS, "_open", {})
    monkeypatch.setattr(surrogate_session, "_open", counted)
    return files


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Copy the data to a folder of the test's own."""
    folder = tmp_path / "lcbench"
    folder.mkdir()
    for name in ("config_space.json", "encoding.json", "model.onnx"):
        shutil.copy(data_set("lcbench").place / name, folder / name)
        (folder / name).chmod(0o644)
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    return folder


# -- the numbers -----------------------------------------------------------------------------------------------------


def golden():
    file = data_set("lcbench").place / "golden_yahpo_gym_1.0.2.json"
    if not file.exists():
        pytest.skip(f"real data: {file} is not there")
    return json.loads(file.read_text())["rows"]


def test_all_six_outputs_equal_those_of_yahpo_gym_to_the_bit():
    rows = golden()
    seen = set()
    for row in rows:
        config = dict(row["config"])
        task, epoch = config.pop("OpenML_task_id"), config.pop("epoch")
        evaluation = load("lcbench", task=task, fidelity_range=(1, 52))(config, fidelity=epoch)
        assert evaluation.metrics == row["result"]
        assert evaluation.value == 1.0 - row["result"]["val_balanced_accuracy"]
        assert evaluation.runtime == row["result"]["time"]
        seen.add(task)
    assert len(rows) == 272
    assert seen == set(TASKS)


def test_the_numbers_do_not_depend_on_what_else_was_asked_nor_on_the_thread():
    benchmark = load("lcbench", task="167104")
    benchmark.space.seed(3)
    asked = [dict(config) for config in benchmark.space.sample_configuration(40)]
    alone = [benchmark(config).metrics for config in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(benchmark, asked))
    assert [evaluation.metrics for evaluation in together] == alone


def test_the_seed_changes_nothing_but_must_be_one():
    benchmark = load("lcbench", task="3945")
    assert benchmark(CONFIG, seed=0) == benchmark(CONFIG, seed=2**63 - 1) == benchmark(CONFIG)
    with pytest.raises(SpecificationError, match=r"seed is -1; it must be an integer from 0 to 2\*\*63 - 1"):
        benchmark(CONFIG, seed=-1)


def test_without_a_fidelity_the_training_is_full():
    benchmark = load("lcbench", task="3945")
    assert benchmark(CONFIG) == benchmark(CONFIG, fidelity=52)
    assert benchmark(CONFIG).runtime > benchmark(CONFIG, fidelity=6).runtime


# -- what it offers --------------------------------------------------------------------------------------------------


def test_there_are_34_tasks_and_the_listing_needs_no_data_to_know_them(monkeypatch, tmp_path):
    assert len(TASKS) == 34
    assert SCENARIO.tasks() == TASKS
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    assert next(found for found in available() if found.name == "lcbench").tasks == TASKS


def test_the_space_is_that_of_yahpo_gym_without_task_and_epoch():
    space = load("lcbench", task="3945").space
    found = {name: (p.lower, p.upper, p.log) for name, p in space.items()}
    assert found == RANGES
    assert [name for name, p in space.items() if type(p).__name__ == "UniformIntegerHyperparameter"] == [
        "batch_size", "max_units", "num_layers",
    ]  # fmt: skip
    assert space["learning_rate"].default_value == 0.0031622777


@pytest.mark.parametrize(
    ("parameters", "log", "label"),
    [
        ({}, False, "lcbench/3945"),
        ({"weight_decay_log": False}, False, "lcbench/3945"),
        ({"weight_decay_log": True}, True, "lcbench/3945(weight_decay_log=True)"),
        ({"paper_protocol": True}, True, "lcbench/3945(paper_protocol=True)"),
        (
            {"paper_protocol": True, "weight_decay_log": False},
            False,
            "lcbench/3945(paper_protocol=True, weight_decay_log=False)",
        ),
        ({"fidelity_range": (1, 52)}, False, "lcbench/3945(fidelity_range=[1, 52])"),
        ({"fidelity_range": (5, 52)}, False, "lcbench/3945"),
    ],
)
def test_the_label_tells_the_parameters_that_differ_and_a_pickle_keeps_them(parameters, log, label):
    benchmark = load("lcbench", task="3945", **parameters)
    for same in (benchmark, pickle.loads(pickle.dumps(benchmark))):
        assert same.label == label
        assert label in repr(same)
        assert same.space["weight_decay"].log is log
        assert (same.space["weight_decay"].lower, same.space["weight_decay"].upper) == (1e-5, 0.1)
        assert same.fidelity == benchmark.fidelity


def test_the_paper_protocol_offers_54_epochs_and_clips_them_to_52():
    paper = load("lcbench", task="3945", paper_protocol=True)
    assert (paper.fidelity.lower, paper.fidelity.upper) == (6, 54)
    last = load("lcbench", task="3945")(CONFIG, fidelity=52)
    assert paper(CONFIG, fidelity=53) == paper(CONFIG, fidelity=54) == paper(CONFIG) == paper(CONFIG, fidelity=52)
    assert paper(CONFIG) == last
    assert paper(CONFIG, fidelity=51) != last


def test_every_metric_has_a_unit():
    benchmark = load("lcbench", task="3945")
    assert list(benchmark.metrics) == list(benchmark(CONFIG).metrics)
    assert benchmark.metrics["time"] == "s, cumulative to the end of the epoch"
    assert benchmark.metrics["val_accuracy"] == "percent, 0 to 100"
    assert FAMILY.facts.gaps() == []
    assert "zimmer2021auto" in FAMILY.facts.bibtex
    assert "pfisterer2022yahpo" in FAMILY.facts.bibtex


# -- the best known value --------------------------------------------------------------------------------------------


def test_the_best_known_values_are_those_of_configurations():
    best = json.loads((ROOT / "tests" / "benchmarks" / "surrogates" / "lcbench_best.json").read_text())
    assert {task: load("lcbench", task=task)(config).value for task, config in best.items()} == dict(BEST_KNOWN)
    assert tuple(BEST_KNOWN) == TASKS


def test_the_best_known_values_are_better_than_what_yahpo_gyms_authors_found():
    with (data_set("lcbench").place / "instance_target_statistics_lcbench.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "val_balanced_accuracy"]
    theirs = {row["instance"]: 1.0 - float(row["value"]) for row in rows if row["statistic"] == "max"}
    assert set(theirs) == set(TASKS)
    assert all(BEST_KNOWN[task] < value for task, value in theirs.items())


def test_the_optimum_is_that_of_the_last_epoch():
    assert load("lcbench", task="3945").optimum == BEST_KNOWN["3945"]
    assert load("lcbench", task="3945", paper_protocol=True).optimum == BEST_KNOWN["3945"]
    assert load("lcbench", task="3945", fidelity_range=(6, 51)).optimum is None


# -- what is accepted and what is refused ----------------------------------------------------------------------------


@EXAMPLES
@given(data=st.data())
def test_every_configuration_of_the_space_is_accepted(strategies, data):
    paper = data.draw(st.booleans())
    benchmark = load("lcbench", task=data.draw(st.sampled_from(TASKS)), paper_protocol=paper)
    config = data.draw(strategies.configs(benchmark.parameters.parameters))
    evaluation = benchmark(config, fidelity=data.draw(st.integers(6, benchmark.fidelity.upper)))
    assert 0.0 <= evaluation.value <= 1.0
    assert evaluation.runtime > 0.0
    assert all(type(number) is float for number in evaluation.metrics.values())


@pytest.mark.parametrize("parameters", [{}, {"paper_protocol": True}])
def test_every_configuration_that_configspace_samples_is_accepted(parameters):
    benchmark = load("lcbench", task="3945", **parameters)
    benchmark.space.seed(1)
    for config in [*benchmark.space.sample_configuration(300), benchmark.space.get_default_configuration()]:
        assert benchmark(config) == benchmark(dict(config))
    for name, parameter in benchmark.space.items():
        for end in (0.0, 1.0):
            assert benchmark({**CONFIG, name: parameter.to_value(end)}).runtime > 0


@pytest.mark.usefixtures("unseen")
@EXAMPLES
@given(data=st.data())
def test_a_value_outside_is_refused_with_parameter_value_and_range_before_the_runtime_sees_it(strategies, data):
    benchmark = load("lcbench", task="3945")
    parameter = data.draw(st.sampled_from(benchmark.parameters.parameters))
    value = data.draw(strategies.outside(parameter))
    with pytest.raises(SpecificationError) as caught:
        benchmark({**CONFIG, parameter.name: value})
    message = str(caught.value)
    lower, upper, _ = RANGES[parameter.name]
    kind = "an integer" if parameter.kind == "integer" else "a number"
    assert message.startswith(f"lcbench/3945: the parameter {parameter.name!r} has the value ")
    assert message.endswith(f"; allowed is {kind} from {lower} to {upper}")
    assert "\n" not in message
    if len(repr(value)) < 40:
        assert repr(value) in message


def test_whole_floats_and_numpy_numbers_are_numbers():
    import numpy as np

    benchmark = load("lcbench", task="3945")
    same = {**CONFIG, "batch_size": np.int64(64), "max_units": 256.0, "momentum": np.float64(0.9)}
    assert benchmark(same, fidelity=np.int64(52)) == benchmark(CONFIG)


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "the parameter 'batch_size' is missing from {}; it must be an integer from 16 to 512"),
        ({**CONFIG, "epoch": 6}, "the parameter 'epoch' (value 6) is unknown; the parameters are: batch_size, "),
        ({**CONFIG, "OpenML_task_id": "3945"}, "the parameter 'OpenML_task_id' (value '3945') is unknown"),
    ],
)
def test_missing_and_unknown_parameters_are_refused(config, message):
    with pytest.raises(SpecificationError, match=re.escape(f"lcbench/3945: {message}")):
        load("lcbench", task="3945")(config)


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize(
    ("parameters", "epochs", "lower", "upper"),
    [
        ({}, [0, 1, 4, 53, 54, 6.5, True, "6", float("nan")], 5, 52),
        ({"fidelity_range": (1, 52)}, [0, -1, 53], 1, 52),
        ({"paper_protocol": True}, [5, 55], 6, 54),
    ],
)
def test_an_epoch_outside_is_refused(parameters, epochs, lower, upper):
    benchmark = load("lcbench", task="3945", **parameters)
    for epoch in epochs:
        with pytest.raises(SpecificationError) as caught:
            benchmark(CONFIG, fidelity=epoch)
        assert f"the fidelity 'epoch' is {epoch!r}; it must be an integer from {lower} to {upper}" in str(caught.value)


def test_a_task_that_only_the_encoding_has_is_refused_with_the_reason():
    with pytest.raises(
        SpecificationError,
        match=r"the task '167083' .* is refused: .* none of the 34 tasks .*must be one of: 3945, 7593",
    ):
        load("lcbench", task="167083")


@pytest.mark.parametrize("task", [None, "#na#", "3946", 3945, "167083 "])
def test_an_unknown_task_is_refused_with_the_tasks(task):
    with pytest.raises(SpecificationError, match=r"it must be one of: 3945, 7593, .*, 189909$"):
        load("lcbench", task=task)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"fidelity_range": (0, 52)},
            r"fidelity_range is \(0, 52\); it must be two integers, 1 <= lower < upper <= 52",
        ),
        ({"fidelity_range": (1, 53)}, "fidelity_range"),
        ({"fidelity_range": (9, 9)}, "fidelity_range"),
        ({"fidelity_range": (1, 9.5)}, "fidelity_range"),
        ({"fidelity_range": 52}, "fidelity_range is 52"),
        ({"fidelity_range": ()}, r"fidelity_range is \(\)"),
        ({"fidelity_range": (6, 52), "paper_protocol": True}, "leave one of them out"),
        ({"paper_protocol": 1}, "paper_protocol is 1; it must be True or False"),
        ({"weight_decay_log": "yes"}, "weight_decay_log is 'yes'; it must be True, False or None"),
        (
            {"log": True},
            r"'log' \(value True\) .* is unknown; allowed: weight_decay_log, paper_protocol, fidelity_range",
        ),
    ],
)
def test_parameters_of_the_benchmark_are_checked(parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load("lcbench", task="3945", **parameters)


# -- what a process holds --------------------------------------------------------------------------------------------


def test_a_process_opens_the_model_once_on_first_use_for_all_tasks_and_threads(opened):
    first, second = load("lcbench", task="3945"), load("lcbench", task="7593", paper_protocol=True)
    assert opened == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: (first(CONFIG), second(CONFIG)), range(32)))
    again = pickle.loads(pickle.dumps(first))
    assert again(CONFIG) == first(CONFIG)
    assert opened == [str(data_set("lcbench").place / "model.onnx")]


def in_child(benchmark, connection, inherited):
    held = dict(SESSIONS._open)
    evaluation = benchmark(CONFIG)
    connection.send((held, id(SESSIONS._open[benchmark._model.path]) == inherited, evaluation))


def test_a_forked_process_opens_a_session_of_its_own():
    benchmark = load("lcbench", task="3945")
    expected = benchmark(CONFIG)
    inherited = id(SESSIONS._open[benchmark._model.path])
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=in_child, args=(benchmark, theirs, inherited))
    child.start()
    assert ours.poll(60), "the child did not answer"
    held, same, evaluation = ours.recv()
    child.join(300)
    assert child.exitcode == 0
    assert held == {}
    assert not same
    assert (evaluation.value, evaluation.metrics) == (expected.value, expected.metrics)


@pytest.mark.usefixtures("opened")
def test_a_fork_in_the_middle_of_an_opening_leaves_no_lock_behind():
    benchmark = load("lcbench", task="3945")
    _ = benchmark._model
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    with SESSIONS._lock:
        child = fork.Process(target=in_child, args=(benchmark, theirs, 0))
        child.start()
    assert ours.poll(60), "the child waits for a lock that nobody will free"
    ours.recv()
    child.join(300)
    assert child.exitcode == 0


def test_it_is_cheap_to_pickle_and_works_in_another_process():
    benchmark = load("lcbench", task="167104", paper_protocol=True)
    expected = benchmark(CONFIG)
    assert len(pickle.dumps(benchmark)) < 300
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        evaluation = pool.apply(benchmark, (CONFIG,))
    assert (evaluation.value, evaluation.metrics) == (expected.value, expected.metrics)


def test_the_runtime_starts_no_thread_and_is_not_imported_before_the_first_query():
    code = (
        "import os, sys, numpy, benchmarks\n"
        "benchmark = benchmarks.load('lcbench', task='3945')\n"
        "print('onnxruntime' in sys.modules)\n"
        "import onnxruntime\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        f"benchmark({CONFIG!r})\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n0\n"


# -- data that is absent or damaged ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_an_absent_file_is_named_with_the_command_that_gets_it(copied, name):
    (copied / name).unlink()
    with pytest.raises(DataMissingError) as caught:
        load("lcbench", task="3945")
    assert str(copied / name) in str(caught.value)
    assert "zerowait data fetch lcbench" in str(caught.value)
    assert not next(found for found in available() if found.name == "lcbench").present


@pytest.mark.parametrize("name", FILES)
def test_the_content_is_that_of_every_file_wherever_it_lies(copied, name):
    before = load("lcbench", task="3945").content
    assert before == load("lcbench", task="189906").content
    file = copied / name
    file.write_bytes(file.read_bytes() + b" ")
    assert load("lcbench", task="3945").content != before
    file.write_bytes(file.read_bytes()[:-1])
    assert load("lcbench", task="3945").content == before


@pytest.mark.parametrize("name", ["encoding.json", "model.onnx"])
def test_a_file_that_vanishes_before_the_first_query_is_named(copied, name):
    benchmark = load("lcbench", task="3945")
    (copied / name).unlink()
    with pytest.raises(DataMissingError, match=rf"{re.escape(str(copied / name))} cannot be read: No such file"):
        benchmark(CONFIG)


def cut_off(data):
    return data[: len(data) // 2]


def one_bit_changed(data):
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


@pytest.mark.parametrize("damage", [cut_off, one_bit_changed])
def test_a_damaged_model_is_refused_with_the_command_that_gets_it_again(copied, damage):
    model = copied / "model.onnx"
    model.write_bytes(damage(model.read_bytes()))
    with pytest.raises((DamagedDataError, DataMissingError)) as caught:
        load("lcbench", task="3945")(CONFIG)
    assert str(model) in str(caught.value)
    assert "zerowait data fetch lcbench" in str(caught.value)


def test_without_onnxruntime_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(surrogate_session.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        DataMissingError, match=r"onnxruntime is not installed; get it with: pip install 'zerowait\[yahpo\]'"
    ):
        load("lcbench", task="3945")


# -- from end to end -------------------------------------------------------------------------------------------------

STUDY = """\
name = "lcbench"
workers = [4]
seeds = 1
overhead = "none"

[budget]
max_evaluations = 16

[[optimizers]]
name = "random"
mode = "native"

[[optimizers]]
name = "smac-mf"
mode = "ask_tell"

[[benchmarks]]
name = "lcbench"
tasks = ["167104"]
parameters = {paper_protocol = true}
"""


def test_a_study_runs_and_its_runs_pass_the_check(tmp_path):
    pytest.importorskip("smac", reason="the study asks SMAC3; get it with: pip install 'zerowait[smac]'")
    import pandas as pd

    (tmp_path / "study.toml").write_text(STUDY)

    def zerowait(*arguments):
        return subprocess.run(
            [Path(sys.executable).with_name("zerowait"), *map(str, arguments)],
            capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False,
        )  # fmt: skip

    done = zerowait("run", "study.toml", "--in-process", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "2 of 2 cells are finished (2 now, 0 before)"
    traces = {path: pd.read_parquet(path) for path in (tmp_path / "out" / "cells").rglob("trace.parquet")}
    assert sorted(len(trace) for trace in traces.values()) == [16, 16]
    epochs = {epoch for trace in traces.values() for epoch in trace["fidelity"].dropna()}
    assert epochs <= set(range(6, 55))
    assert len(epochs) > 1
    journals = list((tmp_path / "out").rglob("run.json"))
    assert len(journals) == 1  # ask-and-tell has no journal
    checked = zerowait("check", journals[0].parent)
    assert checked.returncode == 0, checked.stdout + checked.stderr
