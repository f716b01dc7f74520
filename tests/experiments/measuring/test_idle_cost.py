"""What `zerowait bench --idle` measures: in processes of their own, by two versions in turns."""

from __future__ import annotations

import math
from pathlib import Path

from zerowait.experiments.measuring import idle_cost

ROOT = Path(idle_cost.__file__).resolve().parents[2]


def test_a_case_is_measured_in_a_process_of_its_own():
    assert 0.0 < idle_cost.seconds("the same with expect(20)", ROOT) < math.inf


def test_a_version_that_lacks_what_a_case_needs_has_no_number_and_one_that_does_not_end_is_said_to(tmp_path):
    (tmp_path / "zerowait").mkdir()
    (tmp_path / "zerowait" / "__init__.py").write_text("class Overhead:\n    none = staticmethod(lambda: None)\n")
    assert math.isnan(idle_cost.seconds("Nevergrad's DE by SimulatedExecutor", tmp_path))
    (tmp_path / "zerowait" / "__init__.py").write_text("import time\ntime.sleep(60)\n")
    assert idle_cost.seconds("the same with expect(20)", tmp_path, longest=1.0) == math.inf


def test_versions_take_turns_and_who_has_not_ended_is_not_tried_again(monkeypatch, capsys, tmp_path):
    calls = []

    def seconds(case, root):
        calls.append((case, root == tmp_path))
        return math.inf if root == tmp_path and case == "b" else float(len(calls))

    monkeypatch.setattr(idle_cost, "seconds", seconds)
    found = idle_cost.main(tmp_path, turns=2, cases=("a", "b"))
    assert calls == [("a", True), ("a", False)] * 2 + [("b", True), ("b", False), ("b", False)]
    assert found["a", "before"] == [1.0, 3.0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "| | before | now |"
    assert lines[3:] == ["| a | 2 | 3 |", "| b | no end | 6.5 |"]
