"""A trace may grow: older files lack columns, newer ones have some that this version does not know."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerowait import Evaluation, Overhead, Query, read_trace, simulate
from zerowait.suite.records.spreadsheet import as_text
from zerowait.suite.records.trace import COLUMNS, ESSENTIAL
from zerowait.suite.rules.errors import TraceError


class Asked:
    def ask(self):
        return Query({"x": 0.5})

    def tell(self, query, evaluation):
        pass


@pytest.fixture
def path(tmp_path):
    simulate(
        Asked(), lambda config: Evaluation(config["x"], 1.0), n_workers=2, max_evaluations=4, overhead=Overhead.none(),
        directory=tmp_path,
    )  # fmt: skip
    return tmp_path / "trace.parquet"


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in ESSENTIAL])
def test_a_column_that_an_older_file_lacks_has_missing_values(path, name):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([name]), path)
    trace = read_trace(path)
    assert trace[name].isna().all()
    assert list(trace.columns)[: len(COLUMNS)] == list(COLUMNS)


@pytest.mark.parametrize("name", ESSENTIAL)
def test_a_table_without_what_makes_a_trace_is_none(path, name):
    pq.write_table(pq.read_table(path).drop_columns([name]), path)
    with pytest.raises(TraceError, match="is a Parquet file but not a trace of zerowait"):
        read_trace(path)


def test_a_column_of_a_later_version_is_left_out(path):
    before = read_trace(path)
    table = pq.read_table(path)
    pq.write_table(table.append_column("watts", pa.array([1.0] * 4)), path)
    pd.testing.assert_frame_equal(read_trace(path), before)


def test_a_text_that_would_be_a_formula_has_an_apostrophe_and_a_number_has_none():
    table = pd.DataFrame(
        {"config.a": ["=1+1", "-x", "@b", "+c", "plain", "-1.5", None], "value": np.arange(-3.0, 4.0), "=sum": 1}
    )
    safe = as_text(table)
    assert safe["config.a"].tolist()[:6] == ["'=1+1", "'-x", "'@b", "'+c", "plain", "-1.5"]
    assert safe["value"].tolist() == table["value"].tolist()
    assert list(safe.columns) == ["config.a", "value", "'=sum"]
