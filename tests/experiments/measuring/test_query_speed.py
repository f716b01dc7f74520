"""The table of what the benchmarks themselves cost."""

from __future__ import annotations

import pytest

from zerowait.experiments.measuring import query_speed
from zerowait.experiments.measuring.query_speed import BARE, MeasurementFailedError, Speed, print_rows, report
from zerowait.suite.rules.errors import SpecificationError


def test_times_and_memory_are_measured_in_processes_of_their_own():
    one, other = query_speed._in_processes(2, "branin", {}, 20)
    for result in (one, other):
        assert result["label"] == "branin"
        assert 0 < result["median"] <= result["p99"]
        assert result["load"] > 0
        assert result["pss"] > 10e6


def test_a_process_that_ends_early_is_told():
    with pytest.raises(MeasurementFailedError, match="no-such-benchmark: a process that measured it has ended early"):
        query_speed._in_processes(1, "no-such-benchmark", {}, 20)


@pytest.mark.stress
def test_the_whole_table_is_measured(monkeypatch):
    monkeypatch.setattr(query_speed, "PROCESSES", 2)
    bare, table = report(["nasbench201"], print, queries=50)
    assert (bare.name, table.name, table.tasks) == (BARE, "nasbench201/cifar10", 3)
    # Two processes share the pages of their libraries and of the table.
    assert table.memory < table.memory_together < 2.5 * table.memory


def test_the_table_has_a_line_for_each(capsys):
    rows = [Speed(BARE, 0, 0.0, 0.0, 0.0, 5e7, 4e8), Speed("nasbench201/cifar10", 3, 2e-6, 4e-6, 0.1, 8e7, 9e8)]
    print_rows(rows)
    header, bare, table = capsys.readouterr().out.splitlines()
    assert "median us" in header
    assert bare.startswith(BARE)
    assert table.startswith("nasbench201/cifar10")
    assert table.split()[1:] == ["3", "2.0", "4.0", "100", "80.0", "900.0"]


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr(query_speed, "_measure", lambda *_: None)
    with pytest.raises(SpecificationError, match="'brannin' is unknown"):
        report(["brannin"], print)
