"""The journal: readable at any moment, a torn last line is dropped, and damage is told by its line."""

from __future__ import annotations

import json
import math
import os
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import BudgetExhausted, RunDirectoryError
from zerowait.suite.sharing import journal

NONE = Overhead.none()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(), values, max_size=5)


def write(path, *contents):
    path.write_bytes(b"".join(journal.line(json.dumps(c).encode()) for c in contents))


def test_a_line_is_the_checksum_a_space_and_the_record():
    data = b'{"evaluation":0}'
    assert journal.line(data) == b"%08x " % zlib.crc32(data) + data + b"\n"
    assert journal.line(b"123456789") == b"cbf43926 123456789\n"  # the check value of CRC-32/ISO-HDLC


@given(st.lists(records, max_size=5))
def test_what_was_written_is_read(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("journal") / "journal"
    write(path, *contents)
    assert journal.read(path) == contents


def test_a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "journal"
    contents = [{"evaluation": k, "text": "é" * k} for k in range(5)]
    write(path, *contents)
    data = path.read_bytes()
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        assert journal.read(path) == contents[: data[:size].count(b"\n")]


@given(st.data())
def test_any_changed_byte_before_the_end_is_damage_in_its_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "journal"
    write(path, *({"evaluation": k, "value": 0.125 * k} for k in range(4)))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"journal: line \d+ does not agree with its checksum"):
        journal.read(path)


def test_damage_is_told_by_its_line_and_where_to_find_all_of_it(tmp_path):
    path = tmp_path / "journal"
    write(path, {"a": 1}, {"a": 2}, {"a": 3})
    path.write_bytes(path.read_bytes().replace(b'"a": 2', b'"a": 4'))
    with pytest.raises(RunDirectoryError) as caught:
        journal.read(path)
    assert str(caught.value) == (f"{path}: line 2 does not agree with its checksum; `zerowait check` lists all damage")
    first, second, third = journal.scan(path)
    assert (first, third) == ({"a": 1}, {"a": 3})
    assert second == journal.Damage(2, "does not agree with its checksum")


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"[1]", "is not a JSON object"), (b"{", "is not JSON: Expecting"), (b"\xff", "is not JSON: ")],
)
def test_a_line_that_is_no_object_is_damage(tmp_path, data, problem):
    path = tmp_path / "journal"
    path.write_bytes(journal.line(b"{}") + journal.line(data))
    with pytest.raises(RunDirectoryError, match=f"line 2 {problem}"):
        journal.read(path)


def test_an_empty_line_is_damage(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"\n")
    with pytest.raises(RunDirectoryError, match="line 1 does not agree"):
        journal.read(path)


def test_a_journal_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"journal cannot be read: No such file or directory"):
        journal.read(tmp_path / "journal")


def test_a_line_that_the_disk_takes_in_pieces_is_whole(tmp_path, monkeypatch):
    """As a disk that is almost full, or a signal in the middle, may do."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:7], offset))
    path = tmp_path / "journal"
    write(path, {"a": 1})
    line = journal.line(b'{"b": "a line of more than seven bytes"}')
    descriptor = os.open(path, os.O_RDWR)
    journal.append(descriptor, line, path.stat().st_size)
    os.close(descriptor)
    assert journal.read(path) == [{"a": 1}, {"b": "a line of more than seven bytes"}]


# -- what a run writes -------------------------------------------------------------------------------------------------


def by_first_letter(config, *, fidelity=None):
    if config.get("fails"):
        raise ValueError('a "quoted" reason\nand a second line')
    return Evaluation(0.1 + 0.2, 1 / 3, {"loss": math.nan, "größe": 1e-320})


def test_a_record_holds_every_number_exactly(tmp_path):
    with Simulator(by_first_letter, n_workers=1, directory=tmp_path, overhead=Overhead.fixed(0.1)) as simulator:
        simulator({"name": "Ünïcode \u2028 \U0001f600", "lr": 1e-5}, 27)
    (record,) = journal.read(tmp_path / "journal")
    assert record.pop("wall") > 0.0
    assert math.isnan(record["metrics"].pop("loss"))
    assert record == {
        "evaluation": 0, "slot": 0, "call": 1, "after": 0, "freed": 0.0, "start": 0.1, "end": 0.1 + 1 / 3,
        "runtime": 1 / 3, "overhead": 0.1, "config_id": record["config_id"], "fidelity": 27.0,
        "config": {"name": "Ünïcode \u2028 \U0001f600", "lr": 1e-5}, "status": "ok", "value": 0.30000000000000004,
        "metrics": {"größe": 1e-320},
    } | ({"idle": True} if record.get("idle") else {})  # fmt: skip


def test_a_record_of_a_failure_holds_its_reason_on_one_line(tmp_path):
    with (
        Simulator(by_first_letter, n_workers=1, directory=tmp_path, overhead=NONE) as simulator,
        pytest.raises(ValueError, match="a second line"),
    ):
        simulator({"fails": True})
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 1
    (record,) = journal.read(tmp_path / "journal")
    assert (record["status"], record["error"]) == ("failed", 'ValueError: a "quoted" reason\nand a second line')
    assert math.isnan(record["value"])


SIZES = [10, 3000, 3600, 3700, 3800, 3840, 3900, 5000, 100_000, 2_000_000]


@pytest.mark.parametrize("shared_directory", [False, True])
def test_configurations_of_any_size_are_recorded_whole(tmp_path, shared_directory):
    """A slot holds 3840 bytes; what is longer goes into a file of its own, before or after the objective's answer."""
    with Simulator(
        by_first_letter, n_workers=1, directory=tmp_path, overhead=NONE, shared_directory=shared_directory
    ) as simulator:
        for size in SIZES:
            simulator({"text": "x" * size})
    assert [len(r["config"]["text"]) for r in journal.read(tmp_path / "journal")] == SIZES
    assert check(tmp_path).violations == ()


def test_metrics_and_ids_of_any_size_are_recorded_whole(tmp_path):
    def objective(_config):
        return Evaluation(0.0, 1.0, {f"metric {k}": float(k) for k in range(500)})

    with Simulator(objective, n_workers=1, directory=tmp_path, overhead=NONE) as simulator:
        simulator({"x": 0}, config_id="long " * 2000)
        simulator({"x": 1})
    long, short = journal.read(tmp_path / "journal")
    assert long["config_id"] == "long " * 2000
    assert len(long["metrics"]) == len(short["metrics"]) == 500
    assert read_run(tmp_path)["metric.metric 499"].tolist() == [499.0, 499.0]
    assert check(tmp_path).violations == ()


def test_a_journal_can_be_read_all_the_time(tmp_path):
    """A reader that never pauses sees whole records only, and never fewer than before."""
    done, lengths, errors = threading.Event(), [0], []

    def look_on():
        try:
            while not done.is_set():
                found = journal.read(tmp_path / "journal")
                assert [r["evaluation"] for r in found] == list(range(len(found)))
                lengths.append(len(found))
        except (RunDirectoryError, AssertionError) as error:
            errors.append(error)

    def work():
        try:
            while True:
                simulator({"text": "x" * 2000})
        except BudgetExhausted:
            return

    with Simulator(by_first_letter, n_workers=4, directory=tmp_path, overhead=NONE, max_evaluations=1000) as simulator:
        reader = threading.Thread(target=look_on)
        reader.start()
        crew = [threading.Thread(target=work) for _ in range(4)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        done.set()
        reader.join()
    assert errors == []
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 5
    assert len(journal.read(tmp_path / "journal")) == 1000


def test_the_trace_of_a_run_is_there_while_it_goes_on(tmp_path):
    with Simulator(by_first_letter, n_workers=1, directory=tmp_path, overhead=NONE, max_evaluations=3) as simulator:
        lengths = [len(simulator.trace())]
        for query in (Query({"x": k}) for k in range(3)):
            simulator(query.config)
            lengths.append(len(read_run(tmp_path)))
    assert lengths == [0, 1, 2, 3]
