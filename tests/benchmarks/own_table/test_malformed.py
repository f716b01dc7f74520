"""Malformed tables: each is refused in one line, and none becomes a benchmark with other numbers in silence."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import os
import re
import warnings
import zlib
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import from_dataframe
from zerowait.suite.rules.errors import SpecificationError

COLUMNS = {"params": ["rate", "kind"], "fidelity": "epoch", "value": "loss", "runtime": "seconds"}
NAMES = ["rate", "kind", "epoch", "loss", "seconds"]
ROWS = [[r, k, e, str(float(r) + int(e) / 100), str(int(e) * 2.5)]
        for r in ("0.1", "0.2", "0.5") for k in ("sgd", "adam") for e in ("1", "3")]  # fmt: skip


def written(rows, names=NAMES, separator=","):
    return "".join(separator.join(line) + "\n" for line in [names, *rows])


def refused(path, content, **options):
    """Write a file, and return the one line with which it is refused."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecificationError) as caught:
        from_dataframe(path, **{**COLUMNS, **options})
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 1000
    return message


def require_one_line(error):
    assert str(error)
    assert str(error).isprintable()


def test_a_row_with_more_cells_than_the_header_has_names_is_refused_with_both_numbers(tmp_path):
    text = "rate,loss,seconds\n0.1,0.5,60,1\n0.2,0.4,70,2\n"
    message = refused(tmp_path / "a.csv", text, params=["rate"], fidelity=None)
    assert "row 0 of " in message
    assert "has 4 cells and the header 3 names" in message


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows[4].append("9"), "row 4 of .* has 6 cells and the header 5 names"),
        (lambda rows: rows[4].pop(), "row 4 of .* has 4 cells and the header 5 names"),
        (lambda rows: rows[0].append(""), "row 0 of .* has 6 cells"),
        (lambda rows: rows.append(["# the end"]), "row 12 of .* has 1 cells"),
        (lambda rows: rows[3].__setitem__(1, '"adam'), "not a table: .*row 3 or behind it|a cell with a line break"),
        (lambda rows: rows[3].__setitem__(1, '"ad\nam"'), "row 3 of .* has a cell with a line break"),
        (lambda rows: rows[3].__setitem__(1, '"ad"am'), "not a table: .* expected after"),
        (lambda rows: rows[3].__setitem__(1, "ad\0am"), "it holds the byte 0"),
        (lambda rows: rows[3].__setitem__(0, "0,2"), "row 3 of .* has 6 cells"),
        (lambda rows: rows[3].__setitem__(0, '"0,2"'), "row 3 has '0,2' in the column 'rate'"),
        (lambda rows: rows[3].__setitem__(0, "1_000"), "row 3 has '1_000' in the column 'rate'"),
        (lambda rows: rows[3].__setitem__(0, '"1,000"'), "row 3 has '1,000' in the column 'rate'"),
        (lambda rows: rows[3].__setitem__(0, "nan"), "row 3 has 'nan' in the column 'rate'.*stands among numbers"),
        (lambda rows: rows[3].__setitem__(0, "inf"), "row 3 has 'inf' in the column 'rate'.*stands among numbers"),
        (lambda rows: rows[3].__setitem__(0, "None"), "row 3 has 'None' in the column 'rate'.*stands among numbers"),
        (lambda rows: rows[3].__setitem__(0, "True"), "row 3 has 'True' in the column 'rate'.*stands among numbers"),
        (lambda rows: rows[3].__setitem__(0, "0x1F"), "row 3 has '0x1F' in the column 'rate'.*looks like a number"),
        (lambda rows: rows[3].__setitem__(0, "\u0660.\u0661"), "row 3 has .* in the column 'rate'.*looks like"),
        (lambda rows: rows[3].__setitem__(0, "1e999"), "row 3 has inf in the column 'rate' .* a parameter is finite"),
        (lambda rows: rows[3].__setitem__(0, ""), "row 3 has nothing in the column 'rate'"),
        (lambda rows: rows[3].__setitem__(0, "10%"), "row 3 has '10%' in the column 'rate'"),
        (lambda rows: rows[3].__setitem__(1, "7"), "in the column 'kind'.*stands among numbers"),
        (lambda rows: rows[3].__setitem__(1, "false"), "in the column 'kind'.*stands among booleans"),
        (lambda rows: rows[3].__setitem__(2, "last"), "row 3 has 'last' in the column 'epoch'"),
        (lambda rows: rows[3].__setitem__(2, ""), "row 3 has nan in the column 'epoch'.*a training budget is finite"),
        (lambda rows: rows[3].__setitem__(2, "-3"), "row 3 has -3.0 in the column 'epoch'"),
        (lambda rows: rows[3].__setitem__(2, "03"), "row 3 has '03' in the column 'epoch'"),
        (lambda rows: rows[3].__setitem__(2, "2024-01-01"), "row 3 has '2024-01-01' in the column 'epoch'"),
        (lambda rows: rows[3].__setitem__(3, "inf"), "row 3 has inf in the column 'loss'"),
        (lambda rows: rows[3].__setitem__(3, "NA"), "row 3 has 'NA' in the column 'loss'.*leave a cell empty"),
        (lambda rows: rows[3].__setitem__(3, "True"), "row 3 has 'True' in the column 'loss'"),
        (lambda rows: rows[3].__setitem__(3, '"0,5"'), "row 3 has '0,5' in the column 'loss'.*decimal=','"),
        (lambda rows: rows[3].__setitem__(3, "1_0"), "row 3 has '1_0' in the column 'loss'"),
        (lambda rows: rows[3].__setitem__(4, ""), "row 3 has nan in the column 'seconds'.*fill in the seconds"),
        (lambda rows: rows[3].__setitem__(4, "-7.5"), "row 3 has -7.5 in the column 'seconds'"),
        (lambda rows: rows[3].__setitem__(4, "7.5 s"), "row 3 has '7.5 s' in the column 'seconds'"),
        (lambda rows: rows[3].__setitem__(4, "00:07"), "row 3 has '00:07' in the column 'seconds'"),
        (lambda rows: rows[3].__setitem__(4, "inf"), "row 3 has inf in the column 'seconds'"),
        (lambda rows: rows[3].__setitem__(4, "0.1"), "2.5 at epoch 1 .* and 0.1 at 3 .*: they fall"),
        (lambda rows: rows.clear(), "the table has no rows"),
        (lambda rows: rows.pop(), "has 11 of the 12 combinations"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_row(tmp_path, change, what):
    rows = [list(line) for line in ROWS]
    change(rows)
    assert re.search(what, refused(tmp_path / "table.csv", written(rows)))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["rate", "kind", "epoch", "loss", "loss"], "2 columns 'loss'; rename all but one"),
        (["rate", "rate", "epoch", "loss", "seconds"], "there is no column 'kind'|2 columns 'rate'"),
        (["0.1", "sgd", "1", "0.5", "60"], "there is no column 'rate'; the table has '0.1', 'sgd'"),
        (["", "", "", "", ""], "there is no column 'rate'"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, names, what):
    assert re.search(what, refused(tmp_path / "table.csv", written(ROWS, names)))


def test_two_columns_of_one_name_are_refused_when_they_are_used(tmp_path):
    text = written([[*row, "1"] for row in ROWS], [*NAMES, "loss"])
    assert "the table has 2 columns 'loss'; rename all but one" in refused(tmp_path / "table.csv", text)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_told(tmp_path, separator):
    message = refused(tmp_path / "table.csv", written(ROWS, separator=separator))
    assert f"give separator={separator!r}" in message
    assert from_dataframe(tmp_path / "table.csv", **COLUMNS, separator=separator).fidelity.upper == 3


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (written(ROWS).encode("utf-16"), "is no UTF-8: after row 0 or so"),
        (written(ROWS).replace("adam", "adäm").encode("latin-1"), "the byte 0xe4; save it as UTF-8"),
        (gzip.compress(written(ROWS).encode(), mtime=0), "is no UTF-8"),
        (b"\0" * 5000, "it holds the byte 0"),
        (b"", "it is empty"),
        (b"\n\n\n", "it is empty"),
        (b"x" * 20_000_000, "a line of it has more than|field larger than field limit"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, what):
    assert re.search(what, refused(tmp_path / "table.csv", content))


@pytest.mark.parametrize("damage", range(8))
def test_a_cut_or_bent_gzip_file_is_refused_and_the_command_line_says_so(tmp_path, damage):
    whole = gzip.compress(written(ROWS * 500).encode())
    bent = bytearray(whole)
    bent[len(whole) // 2] ^= 0x55
    content = [whole[:20], whole[: len(whole) // 2], whole[:-4], whole[:5], b"", bytes(bent), b"plain", whole + b"more"]
    message = refused(tmp_path / "table.csv.gz", content[damage])
    assert "table.csv.gz" in message


def test_no_table_is_read_from_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for name, what in (("pipe", "is no regular file"), ("folder", "is no regular file"), ("loop", "cannot be read")):
        with pytest.raises(SpecificationError, match=what):
            from_dataframe(tmp_path / f"{name}.csv", **COLUMNS)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("zerowait.benchmarks.own_table.text_file.LARGEST_TEXT", 10_000)
    assert "it has more than 10,000 characters" in refused(
        tmp_path / "table.csv.gz", gzip.compress(written(ROWS * 5000).encode())
    )


# --- what looks odd and is right ------------------------------------------------------------------------------------


def test_a_byte_order_mark_spaces_blank_lines_and_line_ends_of_other_systems_are_no_part_of_the_cells(tmp_path):
    plain = tmp_path / "plain.csv"
    plain.write_text(written(ROWS))
    expected = from_dataframe(plain, **COLUMNS)
    lines = written(ROWS).splitlines()
    odd = "\ufeff" + "\r\n\r\n".join(line.replace(",", " , ") for line in lines)
    (tmp_path / "odd.csv").write_bytes(odd.encode())
    (tmp_path / "old.csv").write_bytes("\r".join(lines).encode())
    for name in ("odd", "old"):
        found = from_dataframe(tmp_path / f"{name}.csv", **COLUMNS)
        assert found.space == expected.space or dict(found.space) == dict(expected.space)
        for rate, kind in ((0.1, "sgd"), (0.5, "adam")):
            config = {"rate": rate, "kind": kind}
            assert found(config, fidelity=3) == expected(config, fidelity=3)


def test_an_index_column_without_a_name_is_passed_over(tmp_path):
    frame = pd.DataFrame(ROWS, columns=NAMES)
    frame.to_csv(tmp_path / "table.csv")
    assert from_dataframe(tmp_path / "table.csv", **COLUMNS)({"rate": 0.1, "kind": "sgd"}, fidelity=1).runtime == 2.5


def test_numbers_with_zeros_in_front_are_names(tmp_path):
    text = "id,loss,s\n007,1,1\n008,2,1\n10,3,1\n"
    (tmp_path / "table.csv").write_text(text)
    benchmark = from_dataframe(tmp_path / "table.csv", params=["id"], value="loss", runtime="s")
    assert list(benchmark.space["id"].choices) == ["007", "008", "10"]


def test_what_is_named_categorical_is_a_text_whatever_it_looks_like(tmp_path):
    text = 'features,loss,s\nsqrt,1,1\n0.5,2,1\n"1,000",3,1\n'
    (tmp_path / "table.csv").write_text(text)
    columns = {"params": ["features"], "value": "loss", "runtime": "s"}
    with pytest.raises(SpecificationError, match="'1,000' in the column 'features'"):
        from_dataframe(tmp_path / "table.csv", **columns)
    benchmark = from_dataframe(tmp_path / "table.csv", **columns, categorical=["features"])
    assert list(benchmark.space["features"].choices) == ["0.5", "1,000", "sqrt"]
    assert benchmark({"features": "0.5"}).value == 2.0


def test_dates_and_versions_are_texts(tmp_path):
    (tmp_path / "table.csv").write_text("when,loss,s\n2024-01-01,1,1\n1.2.3,2,1\n")
    benchmark = from_dataframe(tmp_path / "table.csv", params=["when"], value="loss", runtime="s")
    assert list(benchmark.space["when"].choices) == ["1.2.3", "2024-01-01"]


def test_decimal_commas_are_read_where_they_are_told(tmp_path):
    rows = [[cell.replace(".", ",") for cell in row] for row in ROWS]
    (tmp_path / "table.csv").write_text(written(rows, separator=";"))
    benchmark = from_dataframe(tmp_path / "table.csv", **COLUMNS, separator=";", decimal=",")
    assert benchmark({"rate": 0.5, "kind": "sgd"}, fidelity=1).value == 0.51
    rows[2][0] = "0.1"
    message = refused(tmp_path / "mixed.csv", written(rows, separator=";"), separator=";", decimal=",")
    assert "row 2 has '0.1' in the column 'rate'" in message


# --- Parquet and frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cells", "what"),
    [
        ("rate", pa.array([[0.1, 0.2]] * 12), "'rate' holds ndarray|'rate' holds list"),
        ("rate", pa.array([{"a": 0.1}] * 12), "'rate' holds dict"),
        ("rate", pa.array([b"x"] * 12), "'rate' holds bytes"),
        ("rate", pa.array([10**9] * 12, pa.timestamp("ns")), "'rate' holds datetime64"),
        ("seconds", pa.array([10**9] * 12, pa.duration("ns")), "'seconds' must hold numbers, but its type is timed"),
        ("seconds", pa.array(["60"] * 12), "'seconds' must hold numbers, .*'60' in it"),
        ("loss", pa.array([None] * 12, pa.float64()), "no row with 'epoch' 3 has a number in the column 'loss'"),
        ("loss", pa.array([None] * 12), "no row with 'epoch' 3|must hold numbers"),
        ("rate", pa.array([None] * 12, pa.float64()), "'rate' is empty"),
        ("rate", pa.array([2**60 + i for i in range(12)]), "an integer is at most"),
        ("epoch", pa.array([True, False] * 6), "'epoch' must hold numbers"),
        ("kind", pa.array(["1,000", "2"] * 6), "'1,000' in the column 'kind'.*looks like a number and is a text"),
    ],
)  # fmt: skip
def test_parquet_columns_that_are_no_such_cells_are_refused(tmp_path, column, cells, what):
    frame = good_frame()
    table = pa.Table.from_pandas(frame)
    table = table.set_column(table.schema.get_field_index(column), column, cells)
    pq.write_table(table, tmp_path / "table.parquet")
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(tmp_path / "table.parquet", **COLUMNS)
    assert str(caught.value).isprintable()


def good_frame():
    frame = pd.DataFrame(ROWS, columns=NAMES)
    return frame.astype({"rate": float, "epoch": int, "loss": float, "seconds": float})


def variants():
    """Frames and Parquet types that hold the same cells."""
    frame = good_frame()
    yield frame
    yield frame.set_index(["rate", "kind", "epoch"])
    yield frame.set_index("rate")
    yield frame.convert_dtypes()
    yield frame.astype({"kind": "category"})
    yield frame.T.T
    yield frame.astype(object)
    yield frame.convert_dtypes(dtype_backend="pyarrow")
    decimals = frame.copy()
    for name in ("rate", "loss", "seconds"):
        decimals[name] = [__import__("decimal").Decimal(repr(cell)) for cell in frame[name].tolist()]
    yield decimals
    numpy_cells = frame.astype(object)
    numpy_cells["rate"] = [np.float64(cell) for cell in frame["rate"]]
    numpy_cells["epoch"] = [np.int32(cell) for cell in frame["epoch"]]
    yield numpy_cells


@pytest.mark.parametrize("frame", list(variants()), ids=range(10))
def test_numbers_are_taken_whatever_column_they_stand_in(tmp_path, frame):
    expected = from_dataframe(good_frame(), **COLUMNS)
    found = [from_dataframe(frame, **COLUMNS)]
    if "object" not in map(str, frame.dtypes) or frame.index.names != [None]:
        frame.to_parquet(tmp_path / "table.parquet")
        found.append(from_dataframe(tmp_path / "table.parquet", **COLUMNS))
    for benchmark in found:
        assert dict(benchmark.space) == dict(expected.space)
        for row in good_frame().to_dict("records"):
            config = {"rate": row["rate"], "kind": row["kind"]}
            assert benchmark(config, fidelity=row["epoch"], seed=1) == expected(config, fidelity=row["epoch"], seed=1)


def test_a_name_that_is_a_column_and_a_level_of_the_index_is_refused():
    frame = good_frame().set_index("rate", drop=False)
    with pytest.raises(SpecificationError, match=r"has 2 columns 'rate' .one is a level of the index.; rename"):
        from_dataframe(frame, **COLUMNS)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([1 + 0j, 2], "'a' holds complex128"),
        ([(1, 2), (3,)], r"'a' holds tuple; .* \(row 0 has \(1, 2\)"),
        ([1, True], r"'a' holds bool, int; .* \(row 0 has 1;|'a' holds bool, int"),
        ([1, "x"], r"'a' holds int, str; .*only one of these \(row 1 has 'x'; the first row is 0\)"),
        ([Decimal("sNaN"), 1], "'a' holds a signalling NaN"),
        ([Decimal("Infinity"), 1], "row 0 has inf in the column 'a'"),
        ([2**63, 1], "row 0 has 9223372036854775808 in the column 'a'"),
        ([2**70, 1], "row 0 has 1180591620717411303424 in the column 'a'"),
        (pd.Series(["x\ud800", "y"], dtype=object), "half a surrogate pair"),
        (["1,000", "x"], "row 0 has '1,000' in the column 'a'"),
        ([b"x", b"y"], "'a' holds bytes"),
        (pd.period_range("2020", periods=2), r"'a' holds period"),
        (pd.interval_range(0, 2), r"'a' holds interval"),
        (pd.Categorical(["x", None]), "row 1 has nothing in the column 'a'"),
    ],
)
def test_cells_of_a_frame_that_are_no_parameter_are_refused(cells, what):
    frame = pd.DataFrame({"a": cells, "loss": [1.0, 2.0], "s": 1.0})
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(frame, params=["a"], value="loss", runtime="s")
    require_one_line(caught.value)


# --- generated ------------------------------------------------------------------------------------------------------

DAMAGE = st.sampled_from(["cut", "flip", "insert", "delete", "swap", "double"])


@settings(max_examples=150)
@given(how=DAMAGE, data=st.data())
def test_damaged_text_is_refused_in_one_line_or_holds_the_cells_that_a_reader_sees(cache, tmp_path_factory, how, data):
    """What is accepted must be what the csv module of the standard library reads, cell by cell, as plain numbers."""
    text = bytearray(written(ROWS).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    odd = data.draw(st.sampled_from(b',;."\n\r\t_ 0e-\0\xff'))
    match how:
        case "cut":
            del text[place:]
        case "flip":
            text[place] = odd
        case "insert":
            text.insert(place, odd)
        case "delete":
            del text[place]
        case "swap":
            text[place], text[place - 1] = text[place - 1], text[place]
        case "double":
            text[place:place] = text[place : place + data.draw(st.integers(1, 40))]
    path = tmp_path_factory.mktemp("damaged") / "table.csv"
    path.write_bytes(text)
    try:
        benchmark = from_dataframe(path, **COLUMNS)
    except SpecificationError as error:
        require_one_line(error)
        return
    lines = [line for line in csv.reader(io.StringIO(text.decode(), newline="")) if line]
    names = [name.strip() for name in lines[0]]
    rows = [dict(zip(names, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]
    assert {len(line) for line in lines} == {len(names)}
    for row in rows:
        rate = float(row["rate"]) if benchmark._stored.meta["kinds"]["rate"] != "category" else row["rate"]
        config = {"rate": rate, "kind": row["kind"]}
        same = [r for r in rows if all(_same(r[n], row[n]) for n in ("rate", "kind", "epoch"))]
        if any(not r["loss"] for r in same):
            continue
        evaluation = benchmark(config, fidelity=float(row["epoch"]), seed=0)
        assert (evaluation.value, evaluation.runtime) == (float(same[0]["loss"]), float(same[0]["seconds"]))


def _same(one, other):
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


@settings(max_examples=60)
@given(name=st.sampled_from(NAMES), row=st.integers(0, len(ROWS) - 1), cell=st.text(max_size=6))
def test_any_text_in_any_cell_is_a_cell_or_a_refusal(cache, tmp_path_factory, name, row, cell):
    path = tmp_path_factory.mktemp("cell") / "table.csv"
    rows = [list(line) for line in ROWS]
    rows[row][NAMES.index(name)] = cell
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        csv.writer(file).writerows([NAMES, *rows])
    try:
        from_dataframe(path, **COLUMNS)
    except SpecificationError as error:
        require_one_line(error)


def test_gzip_that_is_bent_anywhere_is_refused_or_read_as_it_was(tmp_path):
    plain = written(ROWS).encode()
    whole = gzip.compress(plain, mtime=0)
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 40, replace=False).tolist():
        bent = bytearray(whole)
        bent[place] ^= int(rng.integers(1, 256))
        path = tmp_path / "table.csv.gz"
        path.write_bytes(bent)
        try:
            from_dataframe(path, **COLUMNS)
        except SpecificationError as error:
            require_one_line(error)
        else:
            assert gzip.decompress(bytes(bent)) == plain
    with pytest.raises(zlib.error):
        zlib.decompress(whole)


def test_a_text_file_is_closed_after_it_was_read(tmp_path):
    (tmp_path / "a.csv").write_text(written(ROWS))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_dataframe(tmp_path / "a.csv", **COLUMNS)
        gc.collect()
    assert not [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)]


def test_a_pipe_or_an_impossible_path_of_table_or_space_keeps_nobody_waiting(tmp_path):
    frame = pd.DataFrame(ROWS, columns=NAMES).astype({"rate": float, "epoch": int, "loss": float, "seconds": float})
    os.mkfifo(tmp_path / "space.json")
    for space in (tmp_path / "space.json", tmp_path, "a\0b"):
        with pytest.raises(SpecificationError, match=r"the space .* cannot be read"):
            from_dataframe(frame, **COLUMNS, space=space)
    with pytest.raises(SpecificationError, match=r"cannot be read: .*embedded null"):
        from_dataframe("a\0b.csv", **COLUMNS)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1])
def test_an_integer_that_a_float_takes_for_its_neighbour_is_refused(tmp_path, number):
    rows = [[str(one), "sgd", e, "0.5", e] for one in (1, number) for e in ("1", "3")]
    assert f"row 2 has '{number}' in the column 'rate'" in refused(tmp_path / "a.csv", written(rows))


def test_two_metrics_of_one_name_are_refused():
    frame = pd.DataFrame({"a": [1, 2], "loss_1": [2, 1], "loss_2": [1, 0], "m": 1, "m_1": 1, "m_2": 2, "t": 1.0})
    given = {"params": ["a"], "curves": "loss_*", "runtime": "t", "seconds": "per_step"}
    with pytest.raises(SpecificationError, match="the metrics 'm' and 'm_\\*' are both called 'm'; rename one"):
        from_dataframe(frame, **given, metrics=["m", "m_*"])
    with pytest.raises(SpecificationError, match="metrics has 'distance', which match='nearest' records"):
        from_dataframe(frame, **given, metrics=["distance_*"], match="nearest")


@pytest.mark.parametrize("label", ["a\nb", "a\0b", "", 3])
def test_a_label_is_one_line(label):
    frame = pd.DataFrame({"a": [1, 2], "loss": [2, 1], "seconds": 1.0})
    with pytest.raises(SpecificationError, match=r"label is .*; it must be a text of one line"):
        from_dataframe(frame, params=["a"], value="loss", runtime="seconds", label=label)


@pytest.mark.parametrize("form", ["frame", "parquet"])
@pytest.mark.parametrize("given", [{"separator": ";"}, {"decimal": ","}])
def test_what_is_for_text_files_alone_is_refused_by_name_for_other_tables(tmp_path, form, given):
    table = pd.DataFrame({"rate": [0.1, 0.2], "loss": [0.5, 0.4], "seconds": [1.0, 2.0]})
    if form == "parquet":
        table.to_parquet(tmp_path / "table.parquet")
        table = tmp_path / "table.parquet"
    ((name, value),) = given.items()
    with pytest.raises(SpecificationError, match=rf"{name} is {value!r}, which is for text files, and the table is a "):
        from_dataframe(table, params=["rate"], value="loss", runtime="seconds", **given)
