"""Results of version 0.1 get what their configurations are worth, and only from the benchmark that made them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import zerowait
from zerowait import benchmarks
from zerowait.experiments.commands.cli import app
from zerowait.experiments.grid.completion import complete
from zerowait.suite.records import store
from zerowait.suite.rules.errors import TraceError

OLD = Path(__file__).parents[2] / "written_by_0_1_0" / "study"


@pytest.fixture
def old(tmp_path):
    return shutil.copytree(OLD / "store", tmp_path / "store")


def test_a_completed_store_holds_what_it_held_and_what_configurations_are_worth(old, tmp_path):
    before = zerowait.load_study(old)
    done = CliRunner().invoke(app, ["complete", str(old)])
    assert done.exit_code == 0, done.output
    assert "96 evaluations have full.value now" in done.output
    after = zerowait.load_study(old)
    assert after[before.columns].equals(before)
    for name, rows in after.groupby("benchmark", observed=True):
        benchmark = benchmarks.load(str(name).partition("(")[0])  # without its noise
        for row in rows.to_dict("records"):
            config = {
                key.removeprefix("config."): value
                for key, value in row.items()
                if key.startswith("config.") and value == value  # noqa: PLR0124 - NaN: another benchmark's
            }
            assert row["full.value"] == benchmark(config).value
    # Once is enough, and a second time changes no byte.
    paths = store.partition_paths(old)
    files = [path.read_bytes() for path in paths]
    assert complete(old) == 0
    assert [path.read_bytes() for path in paths] == files
    assert zerowait.load_incumbents(old, result="recommended")["full.value"].notna().all()


def test_a_benchmark_that_gives_other_values_completes_nothing(old):
    path = store.partition_paths(old)[0]
    table = pq.read_table(path)
    values = table["value"].to_numpy().copy()
    values[0] = np.nextafter(values[0], np.inf)
    table = table.set_column(table.column_names.index("value"), table.schema.field("value"), [values])
    pq.write_table(table, path)
    before = path.read_bytes()
    with pytest.raises(
        TraceError, match=r"evaluation 0 has the value .* gives .* here; install the versions"
    ) as caught:
        complete(old)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_study_with_its_cells_is_not_changed(tmp_path):
    study = shutil.copytree(OLD, tmp_path / "study")
    with pytest.raises(TraceError, match="complete a copy of the store: cp -r"):
        complete(study)
    with pytest.raises(TraceError, match="there is no study in"):
        complete(tmp_path / "nothing")


def test_a_store_that_is_complete_in_part_says_so_in_one_line(old, tmp_path):
    kept = {path: path.read_bytes() for path in store.partition_paths(old)[:1]}
    complete(old)
    for path, data in kept.items():
        path.write_bytes(data)
    shown = CliRunner().invoke(app, ["plot", str(old), "win_rates", "--out", str(tmp_path)])
    assert "result=any" in shown.output, shown.output
    refused = CliRunner().invoke(app, ["plot", str(old), "win_rates", "--set", "result=recommended"])
    assert "needs the column full.value, which 4 of 8 runs lack" in str(refused.exception), refused.exception
    assert "\n" not in str(refused.exception)
