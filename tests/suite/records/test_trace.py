"""The trace: a table that says everything, survives the file, and depends on nothing but the seeds."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import MODES, Diverged, ask_and_tell, queries

from zerowait.suite import Evaluation, Overhead, Query, Simulator, read_trace, simulate, write_trace
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.records.trace import COLUMNS, _labels_of_chains, _labels_one_by_one, worker_labels
from zerowait.suite.rules.errors import TraceError
from zerowait.suite.rules.idle import Idle

NONE = Overhead.none()
TEXT = str(pd.Series(["a"]).dtype)  # object before pandas 3, and str from then on


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


class Tens:
    """10 s an epoch; configuration 2 fails; the value tells seed and configuration."""

    def __call__(self, config, *, fidelity, seed):
        if config["x"] == 2:
            raise Diverged(runtime=4.0)
        return Evaluation(config["x"] + seed / 2**32, 10.0 * fidelity, {"accuracy": 0.25, "size": 3})


ASKED = queries((0, 1), (1, 1), (0, 3), (2, 3), (1, 9), (0, 9))
SPECIFICATION = {
    "n_workers": 2, "max_evaluations": 6, "seed": 4, "overhead": Overhead.fixed(0.5), "continual": True,
    "labels": {"optimizer": "grid", "benchmark": {"name": "toy", "task": 3}},
}  # fmt: skip


# -- columns and metadata ----------------------------------------------------------------------------------------------


def test_a_trace_has_the_columns_of_the_design_with_their_types(mode):
    trace = mode(ASKED, Tens(), **SPECIFICATION)
    assert {name: str(kind) for name, kind in trace.dtypes.items()} == {
        "evaluation": "int64", "worker": "int32", "freed": "float64", "start": "float64", "end": "float64",
        "runtime": "float64", "value": "float64", "fidelity": "float64", "resumed_from": "float64", "clipped": "bool",
        "status": TEXT, "config_id": TEXT, "seed": "int64", "wall_time": "float64", "overhead": "float64",
        "metric.accuracy": "float64", "metric.size": "float64", "config.x": "int64",
    }  # fmt: skip
    assert trace["evaluation"].tolist() == list(range(6))


def test_a_trace_says_everything_about_its_run(mode):
    """Sampling takes 0.5 s and is serial; 0 and 1 train 10 s each, from 0.5 and from 1.0."""
    trace = mode(ASKED, Tens(), **SPECIFICATION)
    rows = trace[["config.x", "worker", "freed", "start", "end", "runtime", "resumed_from", "status"]]
    assert rows.fillna(-1.0).to_numpy().tolist() == [
        [0, 0, 0.0, 0.5, 10.5, 10.0, -1.0, "ok"],
        [1, 1, 0.0, 1.0, 11.0, 10.0, -1.0, "ok"],
        # 11.0 + 0.5, because the optimizer is asked when the results are told: x=0 at 10.5, then x=2 at 11.0
        [2, 1, 11.0, 11.5, 15.5, 4.0, -1.0, "failed"],
        [0, 0, 10.5, 11.0, 31.0, 20.0, 1.0, "ok"],
        [0, 0, 31.0, 31.5, 91.5, 60.0, 3.0, "ok"],
        [1, 1, 15.5, 16.0, 96.0, 80.0, 1.0, "ok"],
    ]
    assert trace["value"].isna().tolist() == [False, False, True, False, False, False]
    assert trace["metric.accuracy"].isna().tolist() == [False, False, True, False, False, False]
    assert (trace["overhead"] == 0.5).all()
    assert trace["wall_time"].isna().all()


def test_the_metadata_hold_specification_versions_and_totals(mode):
    metadata = mode(ASKED, Tens(), **SPECIFICATION).attrs["zerowait"]
    assert metadata["format"] == 1
    assert metadata["specification"] == {
        "n_workers": 2, "max_evaluations": 6, "max_time": None, "seed": 4, "continual": True,
        "overhead": {"name": "fixed(0.5)", "sampling": "serial"},
        "labels": {"optimizer": "grid", "benchmark": {"name": "toy", "task": 3}}, "told": "turn",
    }  # fmt: skip
    assert metadata["versions"]["numpy"] == np.__version__
    assert "python" in metadata["versions"]
    assert metadata["idle_releases"] == 0
    assert metadata["totals"] == {
        "evaluations": 6, "makespan": 96.0, "runtime": 184.0, "ok": 5, "failed": 1, "lost": 0,
    }  # fmt: skip
    measured = metadata["measured"]
    assert measured["speed_up"] == 96.0 / measured["wall_time"] > 1.0
    assert measured["host"]


def test_the_trace_is_equal_in_every_mode():
    first, *others = (mode(ASKED, Tens(), **SPECIFICATION) for mode in MODES.values())
    for other in others:
        pd.testing.assert_frame_equal(other, first, check_exact=True, obj="trace")
        for trace in (first, other):
            trace.attrs["zerowait"].pop("measured", None)
        assert other.attrs == first.attrs


def test_wall_times_are_recorded_under_measured_overhead():
    trace = ask_and_tell(ASKED, Tens(), **{**SPECIFICATION, "overhead": Overhead.measured()})
    assert trace["wall_time"].is_monotonic_increasing
    assert trace["wall_time"].min() > 0.0


def test_idle_releases_are_counted(tmp_path):
    """Two workers and one thread: the first result waits for the other worker, which is absent from then on."""
    with Simulator(Tens(), n_workers=2, directory=tmp_path, overhead=NONE, idle=Idle(after=0.02)) as simulator:
        for _ in range(3):
            simulator({"x": 0}, 1)
        assert simulator.trace().attrs["zerowait"]["idle_releases"] == 1


def test_an_empty_run_has_an_empty_trace(mode, tmp_path):
    trace = mode([], Tens(), **SPECIFICATION)
    assert len(trace) == 0
    assert set(COLUMNS) == set(trace.columns)
    assert trace.attrs["zerowait"]["totals"]["makespan"] == 0.0
    assert read_trace(write_trace(trace, tmp_path / "trace.parquet")).equals(trace)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_trace_survives_the_file(mode, tmp_path):
    trace = mode(ASKED, Tens(), **SPECIFICATION)
    path = write_trace(trace, tmp_path / "trace.parquet")
    found = read_trace(path)
    pd.testing.assert_frame_equal(found, trace, check_exact=True)
    assert found.attrs == trace.attrs
    assert read_trace(str(path)).equals(trace)


def test_the_file_states_the_unit_of_each_column(tmp_path):
    schema = pq.read_schema(write_trace(ask_and_tell(ASKED, Tens(), **SPECIFICATION), tmp_path / "trace.parquet"))
    described = {field.name: field.metadata[b"description"].decode() for field in schema if field.metadata}
    assert described == {name: meaning for name, (_, meaning) in COLUMNS.items()}
    for name in ("freed", "start", "end"):
        assert described[name].startswith("simulated s: ")
    assert described["wall_time"].startswith("real s ")
    assert described["runtime"] == "s charged"
    assert schema.field("status").type == pa.string()
    assert schema.field("worker").type == pa.int32()
    metadata = json.loads(schema.metadata[b"zerowait"])
    assert metadata["specification"]["seed"] == 4
    assert "measured" not in metadata


def test_equal_seeds_give_equal_bytes_in_every_mode_and_every_time(tmp_path):
    contents = set()
    for name, mode in MODES.items():
        for repetition in range(2):
            trace = mode(ASKED, Tens(), **SPECIFICATION)
            contents.add(write_trace(trace, tmp_path / f"{name} {repetition}.parquet").read_bytes())
    assert len(contents) == 1
    other = ask_and_tell(ASKED, Tens(), **{**SPECIFICATION, "seed": 5})
    assert write_trace(other, tmp_path / "other.parquet").read_bytes() not in contents


def test_what_finish_writes_is_what_simulate_writes(tmp_path):
    ask_and_tell(ASKED[:1], Tens(), directory=tmp_path / "one", **SPECIFICATION)
    with Simulator(Tens(), directory=tmp_path / "other", idle=Idle(after=0.02), **SPECIFICATION) as simulator:
        simulator(ASKED[0].config, ASKED[0].fidelity)
        path = simulator.finish()
    assert path == tmp_path / "other" / "trace.parquet"
    found, expected = read_trace(path), read_trace(tmp_path / "one" / "trace.parquet")
    assert found.equals(expected)
    assert found.equals(read_run(tmp_path / "other"))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "trace.parquet"
    trace = ask_and_tell(ASKED, Tens(), **SPECIFICATION)
    before = write_trace(trace, path).read_bytes()

    def breaks(_table, where, **_):
        where.write_bytes(b"half a tra")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", breaks)
    with pytest.raises(OSError, match="No space left"):
        write_trace(trace, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trace.measured.json", "trace.parquet"]


def test_what_is_no_trace_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"there is no trace at .*trace\.parquet"):
        read_trace(tmp_path / "trace.parquet")
    (tmp_path / "text").write_text("evaluation,worker\n")
    with pytest.raises(TraceError, match="text is not a Parquet file: "):
        read_trace(tmp_path / "text")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table")
    with pytest.raises(TraceError, match="table is a Parquet file but not a trace of zerowait"):
        read_trace(tmp_path / "table")


def test_a_trace_of_another_format_is_refused_by_its_number(tmp_path):
    trace = ask_and_tell(ASKED, Tens(), **SPECIFICATION)
    trace.attrs["zerowait"]["format"] = 99
    path = write_trace(trace, tmp_path / "trace.parquet")
    with pytest.raises(TraceError, match="has format 99; this version of zerowait reads format 1"):
        read_trace(path)


# -- configurations of all kinds ---------------------------------------------------------------------------------------


class Unit:
    def __call__(self, _config):
        return Evaluation(0.0, 1.0)


MIXED = {
    "integers": ([1, 2], "int64", [1, 2]),
    "integers and floats": ([1, 2.5], "float64", [1.0, 2.5]),
    "floats and nothing": ([0.5, None], "float64", [0.5, None]),
    "integers and nothing": ([1, None], "float64", [1.0, None]),
    "a parameter that is sometimes there": ([3, ...], "float64", [3.0, None]),
    "booleans": ([True, False], "bool", [True, False]),
    "booleans and nothing": ([True, None], TEXT, ["true", None]),
    "booleans and integers": ([True, 1], TEXT, ["true", "1"]),
    "texts": (["a", "b"], TEXT, ["a", "b"]),
    "texts and nothing": (["a", None], TEXT, ["a", None]),
    "texts and numbers": (["a", 1], TEXT, ['"a"', "1"]),
    "texts and lists": (["a", [1, 2]], TEXT, ['"a"', "[1, 2]"]),
    "lists": ([[1, 2], [3]], TEXT, ["[1, 2]", "[3]"]),
    "tuples": ([(1, 2), (3,)], TEXT, ["[1, 2]", "[3]"]),
    "mappings": ([{"b": 1, "a": 2}, {}], TEXT, ['{"a": 2, "b": 1}', "{}"]),
    "nothing": ([None, None], TEXT, [None, None]),
    "integers of more than 64 bits": ([2**70, 1], TEXT, [str(2**70), "1"]),
    "numbers that are none": ([math.inf, math.nan], "float64", [math.inf, None]),
    "integers of NumPy": ([np.int64(1), np.int8(2)], "int64", [1, 2]),
    "floats of NumPy": ([np.float32(0.5), 2], "float64", [0.5, 2.0]),
    "booleans of NumPy": ([np.bool_(True), False], "bool", [True, False]),
    "texts of NumPy": ([np.str_("a"), "b"], TEXT, ["a", "b"]),
    "arrays of NumPy": ([np.array([1, 2]), [3]], TEXT, ["[1, 2]", "[3]"]),
    "arrays of one number": ([np.array(1.5), 2.0], "float64", [1.5, 2.0]),
    "an array in a list": ([[np.float64(0.5), np.array([1])], 1], TEXT, ["[0.5, [1]]", "1"]),
}


@pytest.mark.parametrize("what", MIXED)
def test_values_of_any_kind_are_recorded_and_survive_the_file(mode, what, tmp_path):
    values, kind, expected = MIXED[what]
    asked = [Query({"other": k} if value is ... else {"x": value, "other": k}) for k, value in enumerate(values)]
    trace = mode(asked, Unit(), n_workers=1, overhead=NONE, max_evaluations=2)
    assert str(trace["config.x"].dtype) == kind
    assert [None if v is None or v != v else v for v in trace["config.x"].tolist()] == expected  # noqa: PLR0124 - NaN
    found = read_trace(write_trace(trace, tmp_path / "trace.parquet"))
    pd.testing.assert_frame_equal(found, trace, check_exact=True)


def test_names_of_any_kind_are_columns(mode, tmp_path):
    asked = [Query({"ä b": 1, "c.d": 2, "": 3, "config.x": 4})]
    trace = mode(asked, Unit(), n_workers=1, overhead=NONE, max_evaluations=1)
    assert list(trace.columns)[-4:] == ["config.", "config.c.d", "config.config.x", "config.ä b"]
    assert read_trace(write_trace(trace, tmp_path / "trace.parquet")).equals(trace)


class SomeMetrics:
    def __call__(self, config):
        return Evaluation(0.0, 1.0, {"a": 1.0} if config["x"] else {"b": 2})


def test_metrics_that_only_some_evaluations_have_are_nan_in_the_others(mode):
    trace = mode(queries((0, None), (1, None)), SomeMetrics(), n_workers=1, overhead=NONE, max_evaluations=2)
    assert trace["metric.a"].fillna(-1).tolist() == [-1.0, 1.0]
    assert trace["metric.b"].fillna(-1).tolist() == [2.0, -1.0]


def test_a_configuration_that_the_optimizer_changes_afterwards_is_recorded_as_it_was_asked_for():
    class Reuses:
        def __init__(self):
            self.config = {"x": 0}

        def ask(self):
            self.config["x"] += 1
            return Query(self.config)

        def tell(self, query, evaluation):
            pass

    trace = simulate(Reuses(), Unit(), n_workers=1, max_evaluations=4, overhead=NONE)
    assert trace["config.x"].tolist() == [1, 2, 3, 4]


# -- worker labels -----------------------------------------------------------------------------------------------------


def labels(n_workers, *rows):
    freed, start, end = ([float(row[k]) for row in rows] for k in range(3))
    ids = [row[3] if len(row) > 3 else "" for row in rows]
    return worker_labels(freed, start, end, ids, n_workers).tolist()


def test_workers_are_labelled_in_the_order_of_their_starts():
    assert labels(3, (0, 2, 5), (0, 0, 9), (0, 1, 20)) == [2, 0, 1]


def test_of_equal_starts_the_smaller_identity_has_the_lower_label():
    assert labels(2, (0, 0, 5, "b"), (0, 0, 9, "a")) == [1, 0]


def test_a_worker_goes_on_where_it_was_freed():
    """Worker 0: 0-5, 5-7, 8-9. Worker 1: 0-6, 6-20."""
    assert labels(2, (0, 0, 5, "a"), (0, 0, 6, "b"), (5, 5, 7), (7, 8, 9), (6, 6, 20)) == [0, 1, 0, 0, 1]


def test_of_two_workers_that_are_freed_at_once_the_lower_one_goes_first():
    assert labels(2, (0, 0, 5, "a"), (0, 0, 5, "b"), (5, 5, 9, "d"), (5, 5, 8, "c")) == [0, 1, 1, 0]


def test_a_worker_that_was_never_used_comes_after_all_others():
    """The second starts at 3 on a worker of its own, the third at 5 on worker 0."""
    assert labels(9, (0, 0, 5), (0, 3, 9), (5, 5, 6)) == [0, 1, 0]


def test_evaluations_without_duration_follow_each_other_on_one_worker():
    assert labels(1, (0, 0, 0, "c"), (0, 0, 0, "a"), (0, 0, 4, "b")) == [0, 0, 0]
    assert labels(2, (0, 0, 5, "a"), (0, 0, 9, "b"), (5, 5, 5, "z"), (5, 5, 5, "y"), (5, 5, 7, "c")) == [0, 1, 0, 0, 0]


def test_an_evaluation_without_duration_may_follow_one_of_its_own_start():
    """The first was sampled from 2 to 5 and took no time; the second was sampled at once, and took none either."""
    assert labels(1, (0, 0, 2, "m"), (2, 5, 5, "z"), (5, 5, 5, "a"), (5, 5, 6, "b")) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 5), (4, 4, 6)],  # nobody was freed at 4
        [(0, 0, 5), (0, 1, 6)],  # there is no second worker
        [(0, 0, 5), (5, 5, 6), (5, 5, 7)],  # worker 0 was freed once
    ],
)
def test_evaluations_that_overlap_on_a_worker_are_refused(rows):
    with pytest.raises(TraceError, match=r"evaluation \d took a slot freed at .* s, but no worker of 1 was freed then"):
        labels(1, *rows)


def first_fit(rows, n_workers):
    """Return the labels by the words of the design, with a search through all workers; no two starts are equal."""
    last_end = [0.0] * n_workers
    label = {}
    for i in sorted(range(len(rows)), key=lambda i: rows[i][1]):
        freed, _, end, _ = rows[i]
        label[i] = next(w for w in range(n_workers) if last_end[w] == freed)
        last_end[label[i]] = end
    return [label[i] for i in range(len(rows))]


@st.composite
def schedules(draw, shortest_sampling=0.0):
    """Return workers and rows: any free worker takes the next evaluation, after some sampling, one after the other."""
    n_workers = draw(st.integers(1, 6))
    few = st.sampled_from([0.0, 1.0, 2.0])
    freed_at, now, rows = [0.0] * n_workers, 0.0, []
    for _ in range(draw(st.integers(0, 40))):
        worker = draw(st.integers(0, n_workers - 1))
        freed = freed_at[worker]
        now = max(now, freed) + shortest_sampling + draw(few | st.floats(0.0, 5.0))
        freed_at[worker] = now + draw(few | st.floats(0.0, 5.0))
        rows.append((freed, now, freed_at[worker], draw(st.sampled_from("abcdef"))))
    draw(st.randoms()).shuffle(rows)
    return n_workers, rows


@given(schedules(shortest_sampling=1.0))
@settings(max_examples=300)
def test_labels_are_those_of_a_search_through_all_workers(case):
    n_workers, rows = case
    assert labels(n_workers, *rows) == first_fit(rows, n_workers)


@given(schedules(shortest_sampling=0.5))
@settings(max_examples=300)
def test_labels_that_leave_no_choice_are_found_all_at_once_and_are_the_same(case):
    """In the order of delivery: for distinct ends and whole durations one row leads to the next."""
    n_workers, rows = case
    rows.sort(key=lambda row: row[2])
    freed, start, end = (np.array([row[k] for row in rows], dtype=float) for k in range(3))
    ids = [row[3] for row in rows]
    at_once = _labels_of_chains(freed, start, end, ids, n_workers)
    is_plain = len(set(end.tolist())) == len(rows) and (end > start).all()
    assert (at_once is not None) == is_plain
    if is_plain:
        assert at_once.tolist() == _labels_one_by_one(freed, start, end, ids, n_workers).tolist()


@given(schedules())
@settings(max_examples=300)
def test_on_each_label_every_evaluation_begins_where_the_one_before_has_ended(case):
    n_workers, rows = case
    found = labels(n_workers, *rows)
    for worker in range(n_workers):
        own = [row for row, label in zip(rows, found, strict=True) if label == worker]
        end_before = 0.0
        for freed, _, end, _ in sorted(own, key=lambda row: (row[1], row[2], row[0])):
            assert freed == end_before
            end_before = end


@given(schedules())
@settings(max_examples=100)
def test_labels_do_not_depend_on_the_order_of_the_rows(case):
    n_workers, rows = case
    rows = [(*row[:3], f"{k:03}") for k, row in enumerate(rows)]
    found = dict(zip(rows, labels(n_workers, *rows), strict=True))
    backwards = rows[::-1]
    assert dict(zip(backwards, labels(n_workers, *backwards), strict=True)) == found


def test_labels_of_a_hundred_thousand_evaluations_on_a_thousand_workers():
    start = np.arange(100_000, dtype=float)
    freed = np.where(start < 1000, 0.0, start)
    found = worker_labels(freed.tolist(), start.tolist(), (start + 1000).tolist(), [""] * 100_000, 1000)
    assert found.tolist() == [k % 1000 for k in range(100_000)]


def test_a_sampling_time_that_falls_to_nothing_leaves_a_trace(mode):
    """One worker. Sampling takes 2 s for the first configuration and nothing later; the first two take no time.

    Both start and end at 2, the first on a worker freed at 0 and the second on the one freed at 2.
    """
    overhead = Overhead.model(falls, name="falls")
    for asked in (queries((0, None), (1, None)), queries((1, None), (0, None))):
        trace = mode(asked, Nothing(), n_workers=1, overhead=overhead, max_evaluations=2)
        assert trace[["freed", "start", "end", "worker"]].to_numpy().tolist() == [[0, 2, 2, 0], [2, 2, 2, 0]]


def falls(delivered):
    return 0.0 if delivered else 2.0


class Nothing:
    def __call__(self, _config):
        return Evaluation(0.0, 0.0)
