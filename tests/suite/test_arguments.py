"""Arguments that are not usable are refused at once, in one line; numbers in NumPy's sense are taken."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zerowait
from zerowait import Budget, Evaluation, Idle, Overhead, Query, Simulator, SpecificationError, simulate
from zerowait.suite.executor import SimulatedExecutor
from zerowait.suite.naive import NaiveRun
from zerowait.suite.rules import arguments


def train(config):
    return Evaluation(float(config["x"]), 1.0)


class Line:
    """Asks for one configuration after another."""

    def __init__(self, queries=None):
        self.queries = iter(queries) if queries is not None else iter(lambda: Query({"x": 0.5}), None)

    def ask(self):
        return next(self.queries)

    def tell(self, query, evaluation):
        pass


def ask_and_tell(**given):
    optimizer, objective = given.pop("optimizer", Line()), given.pop("objective", train)
    return simulate(optimizer, objective, **{"n_workers": 2, "max_evaluations": 3} | given)


def simulator(**given):
    return Simulator(given.pop("objective", train), **{"n_workers": 2, "max_evaluations": 3} | given)


def executor(**given):
    return SimulatedExecutor(given.pop("objective", train), **{"n_workers": 2, "max_evaluations": 3} | given)


def adapter(**given):
    benchmark = given.pop("benchmark") if "benchmark" in given else zerowait.benchmarks.load("branin")
    wanted = {"n_workers": 2, "seed": 0, "budget": Budget(3), "overhead": Overhead.none()} | given
    return zerowait.adapters.load("random").optimize(benchmark, **wanted)


WRONG_NUMBERS = [
    0,
    -1,
    2.0,
    "2",
    None,
    True,
    np.True_,
    np.float64(2),
    np.array([2]),
    np.array(2.0),
    1 + 0j,
    [2],
    math.nan,
]
COMMON = {
    "n_workers": [*WRONG_NUMBERS, 10**9, 10**400],
    "max_evaluations": [value for value in WRONG_NUMBERS if value is not None],
    "max_time": [
        0,
        -1.0,
        math.inf,
        math.nan,
        "1",
        True,
        np.array([1.0]),
        np.nan,
        1j,
        [1.0],
        10**400,
        np.timedelta64(1),
    ],
    "seed": [-1, 1.0, "0", True, None, 2**63, np.array([0])],
    "overhead": ["none", 0.5, True, Overhead, Overhead.none, {"fixed": 1.0}],
    "continual": ["yes", 1, 0, None, "False", np.array([True])],
    "labels": [
        "label",
        3,
        [1],
        {"a": {1, 2}},
        {("a", "b"): 1},
        {1: 2},
        {"a": {1: 2}},
        {"a": math.nan},
        {"a": "\ud800"},
    ],
    "on_delivery": ["print", 3],
    "objective": [None, "train", 3],
}
OF_SIMULATOR = {
    "idle": ["never", 1.0, True, Idle],
    "directory": ["", 3, b"folder", "a\0b", True],
    "shared_directory": ["yes", 1, None],
    "on_exhausted": ["stop", None, 1, ["raise"]],
    "on_worker_death": ["ignore", None, 0],
}
CASES = [
    *((ask_and_tell, name, value) for name, values in COMMON.items() for value in values),
    *((ask_and_tell, "batch_size", value) for value in WRONG_NUMBERS if value is not None),
    *((ask_and_tell, "directory", value) for value in OF_SIMULATOR["directory"]),
    *((ask_and_tell, "optimizer", value) for value in (None, Line, "optimizer", object())),
    *((executor, name, value) for name, values in COMMON.items() for value in values),
    *((simulator, name, value) for name, values in {**COMMON, **OF_SIMULATOR}.items() for value in values),
    *(
        (adapter, name, value)
        for name in ("n_workers", "seed", "labels", "continual")
        for value in COMMON[name]
        if value is not None
    ),
    *((adapter, "overhead", value) for value in (*COMMON["overhead"], None)),
    *((adapter, "budget", value) for value in (10, None, {"max_evaluations": 3}, Budget)),
    *((adapter, "mode", value) for value in ("threads", 1, True, ["native"])),
    *((adapter, "benchmark", value) for value in (None, 3, "branin", {}, train)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name", "value"),
    CASES,
    ids=[f"{make.__name__}-{name}-{number}" for number, (make, name, _) in enumerate(CASES)],
)
def test_an_argument_that_is_not_usable_is_refused_at_once_by_name_and_value(make, name, value):
    with pytest.raises(SpecificationError) as caught:
        make(**{name: value})
    text = str(caught.value)
    assert "\n" not in text
    assert name.replace("_", " ") in text.replace("_", " ") or name in ("objective", "optimizer"), text
    assert "must" in text or "can run in" in text, text


@pytest.mark.parametrize(
    "config",
    [np.array([0.1]), None, 0.1, "x", ["x"], ["ab"], [("x", 1)], {"x"}, {1: 2}, {"x": {1}}, b"x"],
    ids=range(11),
)
def test_a_configuration_that_is_none_is_refused_at_once(config):
    with simulator() as one, pytest.raises(SpecificationError) as caught:
        one(config)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpecificationError) as caught:
        ask_and_tell(optimizer=Line(Query(config) for _ in range(1)))
    assert "\n" not in str(caught.value)
    if not isinstance(config, dict):
        with pytest.raises(SpecificationError, match=r"the configuration is .*; it must be a mapping"):
            Query(config)
    with pytest.raises(SpecificationError):
        executor().objective(config)


@pytest.mark.parametrize("query", [{"x": 0.5}, ({"x": 0.5}, 1.0), "x", 0, np.array([0.1])])
def test_an_optimizer_that_asks_with_something_else_than_a_query_is_told_so(query):
    with pytest.raises(SpecificationError, match="it must return a Query, such as"):
        ask_and_tell(optimizer=Line([query]))


@pytest.mark.parametrize("number", [np.int64(2), np.uint8(2), np.array(2), np.int32(2)])
def test_whole_numbers_of_numpy_are_whole_numbers(number):
    given = {"n_workers": number, "max_evaluations": number, "seed": number}
    trace = ask_and_tell(**given)
    assert len(trace) == 2
    assert trace.attrs["zerowait"]["specification"]["n_workers"] == 2
    with simulator(**given) as one:
        one({"x": 0.5})
    assert len(adapter(n_workers=number, seed=number, budget=Budget(number))) == 2
    executor(**given).objective({"x": 0.5})


@pytest.mark.parametrize(
    "number", [np.float32(2.5), np.float64(2.5), np.array(2.5), Fraction(5, 2), np.longdouble(2.5)]
)
def test_numbers_of_numpy_are_numbers(number):
    assert Budget(max_time=number) == Budget(max_time=2.5)
    assert Overhead.fixed(number) == Overhead.fixed(2.5)
    assert Overhead.linear(number, number) == Overhead.linear(2.5, 2.5)
    assert Idle(after=number) == Idle(after=2.5)
    assert ask_and_tell(max_time=number, max_evaluations=None, overhead=Overhead.none())["end"].max() == 2.0
    with NaiveRun(train, n_workers=1, time_scale=number) as run:
        assert run.time_scale == 2.5


@pytest.mark.parametrize("query", [{"fidelity": "1"}, {"fidelity": math.nan}, {"config_id": 3.5}, {"config_id": b"a"}])
def test_a_query_that_cannot_be_asked_is_refused_where_it_is_made(query):
    ((name, _),) = query.items()
    with pytest.raises(SpecificationError, match=f"{name} is .*; it must be"):
        Query({"x": 0.5}, **query)


FLAGS = {
    "continual": lambda flag: adapter(continual=flag).attrs["zerowait"]["specification"]["continual"],
    "shared_directory": lambda flag: simulator(shared_directory=flag).close(),
    "noise": lambda flag: zerowait.benchmarks.load("branin", noise=flag).noise,
    "multivariate": lambda flag: zerowait.adapters.load("optuna-tpe", multivariate=flag).parameters["multivariate"],
    "maximize": lambda flag: own_table(maximize=flag).conversion.meaning.maximize,
    "labels": lambda flag: ask_and_tell(labels={"a": flag}).attrs["zerowait"]["specification"]["labels"]["a"],
}


def own_table(**given):
    table = pd.DataFrame({"x": [1, 2], "loss": [0.5, 0.25], "seconds": [1.0, 2.0]})
    return zerowait.benchmarks.from_dataframe(table, params=["x"], value="loss", runtime="seconds", **given)


@pytest.mark.parametrize("name", FLAGS)
def test_a_boolean_of_numpy_is_a_boolean(name, monkeypatch, tmp_path):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path))
    for flag in (True, False):
        assert FLAGS[name](np.bool_(flag)) == FLAGS[name](flag)
        assert type(FLAGS[name](np.bool_(flag))) is type(FLAGS[name](flag))


def test_parameters_of_optimizers_and_benchmarks_are_numbers_in_the_sense_of_numpy():
    assert zerowait.adapters.load("hyperband", eta=np.float32(3)).parameters == {"eta": 3.0}
    assert zerowait.adapters.load("optuna-hyperband", reduction_factor=np.int64(3)).parameters == {
        "reduction_factor": 3
    }
    assert zerowait.benchmarks.load("branin", fidelity_range=[np.int64(12), np.int8(99)]).fidelity.lower == 12
    with pytest.raises(
        SpecificationError, match=r"eta of 'hyperband' is .* of type object; it must be what JSON holds"
    ):
        zerowait.adapters.load("hyperband", eta=object())


@given(
    st.one_of(
        st.text(), st.binary(), st.booleans(), st.none(), st.complex_numbers(), st.lists(st.integers()), st.floats(),
        st.integers(max_value=0), st.dictionaries(st.text(), st.integers()), st.decimals(), st.dates(),
    )
)  # fmt: skip
def test_whatever_is_no_positive_integer_is_one_line(value):
    with pytest.raises(SpecificationError) as caught:
        arguments.integer("n_workers", value, 1, 100)
    assert str(caught.value).startswith("n_workers is ")
    assert "\n" not in str(caught.value)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.fractions()))
def test_every_finite_number_in_range_is_taken_as_a_float(value):
    expected = None
    try:
        expected = float(value)
    except OverflowError:
        with pytest.raises(SpecificationError):
            arguments.real("t", value, -math.inf)
        return
    assert arguments.real("t", value, -math.inf) == expected


def test_decimal_numbers_are_none_that_numpy_knows():
    with pytest.raises(SpecificationError, match=r"max_time is Decimal\('1'\) of type Decimal; it must be a positive"):
        Budget(max_time=Decimal(1))


@pytest.mark.parametrize("metrics", [3, "a", [("a", 1.0)], {"a": 10**400}, {"a": None}])
def test_metrics_that_are_no_numbers_by_name_are_blamed_on_the_objective(metrics):
    with pytest.raises(zerowait.InvalidEvaluationError, match=r"^the objective returned metrics.* must be") as caught:
        simulator(objective=lambda config: Evaluation(1.0, 1.0, metrics))({"x": 0.5})
    assert "\n" not in str(caught.value)


def test_a_value_that_no_float_holds_is_blamed_on_the_objective():
    with pytest.raises(zerowait.InvalidEvaluationError, match=r"value=1000.*; it must be a number"):
        simulator(objective=lambda config: Evaluation(10**400, 1.0))({"x": 0.5})


@pytest.mark.parametrize("seconds", ["x", None, -1.0, math.nan, 10**400, [1.0]])
def test_an_overhead_model_that_gives_no_seconds_is_named(seconds):
    model = Overhead.model(lambda n: seconds, name="mine")
    with pytest.raises(SpecificationError, match=r"the overhead model\(mine\) gives after 0 results is .*; it must be"):
        simulator(overhead=model)({"x": 0.5})


@pytest.mark.parametrize("what", [None, 3, "f", {"x": 0.5}, Query({"x": 0.5})])
def test_only_functions_can_be_submitted(what):
    with pytest.raises(SpecificationError, match=r"what is submitted is .*; it must be a function"):
        executor().submit(what)


@pytest.mark.parametrize("read", [zerowait.load_study, zerowait.load_cells, zerowait.read_trace])
@pytest.mark.parametrize("path", [None, 3, b"folder", [], "a\0b", "", "x" * 300])
def test_what_is_no_path_of_a_study_or_trace_is_one_line(read, path):
    with pytest.raises((SpecificationError, zerowait.TraceError)) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_trace_is_written_to_a_file_and_replaces_nothing_else(tmp_path):
    trace = ask_and_tell()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (None, 3, "", "a\0b", tmp_path, tmp_path / "none" / "trace.parquet", pipe):
        with pytest.raises(SpecificationError, match=r"path is .*; it must be the path of a"):
            zerowait.write_trace(trace, path)
    assert pipe.is_fifo()
    with pytest.raises(SpecificationError, match="the trace is None; it must be a DataFrame"):
        zerowait.write_trace(None, tmp_path / "trace.parquet")


@pytest.mark.parametrize("name", [["branin"], {"branin"}, None, 3])
def test_a_name_that_is_no_text_is_unknown(name):
    for load in (zerowait.benchmarks.load, zerowait.adapters.load):
        with pytest.raises(SpecificationError, match=r"must be one of|known are"):
            load(name)


@pytest.mark.parametrize("config", [None, 3, "x", ["x0"], np.array([1.0, 2.0])])
@pytest.mark.parametrize(("name", "task"), [("branin", None), ("hartmann3", None), ("difficult", "conditional")])
def test_a_benchmark_names_a_configuration_that_is_none(name, task, config):
    with pytest.raises(SpecificationError, match=r"the configuration is .*; it must be a mapping"):
        zerowait.benchmarks.load(name, task=task)(config)
