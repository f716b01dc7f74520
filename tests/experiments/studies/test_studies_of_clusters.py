"""The table `[cluster]` of a study, or several of them: from the file to the figures."""

from __future__ import annotations

import pytest

from zerowait import Cluster, adapters, benchmarks, load_study
from zerowait.experiments.grid.cells import execute
from zerowait.experiments.grid.engines import InProcess
from zerowait.experiments.grid.runner import StudyFolder, run_grid
from zerowait.experiments.grid.store import StoreWriter, update
from zerowait.suite import Overhead
from zerowait.suite.records.trace import read_trace
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError

SEVERAL = """
[[cluster]]
name = "perfect"
[[cluster]]
name = "slow half"
speeds = [1.0, 0.5]
failures = {probability = 0.2}
retries = 1
"""


def with_clusters(tables):
    return "[budget]", f"{tables}\n[budget]"


def test_each_cluster_is_a_run_of_its_own_under_a_name_of_its_own(plan):
    cells = plan(("workers = [1, 3]", "workers = [2, 3]"), with_clusters(SEVERAL)).cells
    assert len({cell.run() for cell in cells}) == len({cell.key for cell in cells}) == len(cells) == 2 * 2 * 2 * 2
    assert {cell.label for cell in cells} == {
        "random (perfect)", "random (slow half)", "optuna-tpe (perfect)", "optuna-tpe (slow half)",
    }  # fmt: skip


def test_a_cell_has_another_name_only_when_its_workers_are_not_perfect(plan):
    plain = {cell.key for cell in plan().cells}
    assert {cell.key for cell in plan(with_clusters("[cluster]\nretries = 2")).cells} == plain
    other = plan(with_clusters("[cluster]\nstragglers = {half_normal = 0.5}")).cells
    assert not plain & {cell.key for cell in other}
    assert other[0].specification()["cluster"] == {"stragglers": {"half_normal": 0.5}}
    assert "cluster" not in plan().cells[0].specification()


def test_a_cell_runs_on_its_cluster_and_its_trace_keeps_what_became_of_it(plan, tmp_path):
    cells = plan(("workers = [1, 3]", "workers = [2]"), with_clusters(SEVERAL)).cells
    slow = next(cell for cell in cells if cell.label == "random (slow half)")
    trace = execute(slow, tmp_path)
    assert set(trace["worker_speed"]) == {1.0, 0.5}
    assert trace["attempt"].max() == 2
    stored = read_trace(tmp_path / "trace.parquet")
    assert stored[["worker", "worker_speed", "attempt", "lost_time", "status", "end"]].equals(
        trace[["worker", "worker_speed", "attempt", "lost_time", "status", "end"]]
    )


def test_the_store_has_what_became_of_evaluations_and_nothing_where_no_cluster_decided(plan, tmp_path):
    study = plan(("workers = [1, 3]", "workers = [2]"), with_clusters(SEVERAL))
    folder = StudyFolder(tmp_path / "out")
    run_grid(study.study.name, study.cells, folder, InProcess(), StoreWriter(folder.path))
    update(folder.path)
    loaded = load_study(folder.path)
    slow = loaded["optimizer"].astype(str).str.endswith("(slow half)")
    assert set(loaded[slow]["worker_speed"]) == {1.0, 0.5}
    assert loaded[~slow][["worker_speed", "attempt", "lost_time"]].isna().all(axis=None)
    for cell in study.cells:
        trace = read_trace(folder.cells.finished(cell.key) / "trace.parquet")
        rows = loaded[loaded["cell"] == cell.key]
        assert rows["end"].tolist() == trace["end"].tolist()
        if "attempt" in trace:
            assert rows["attempt"].tolist() == trace["attempt"].tolist()


@pytest.mark.parametrize(("tables", "message"), [
    ("[cluster]\nspeeds = [1.0, -1.0]", "cluster: speeds[1] is -1.0; it must be a number of at least 1e-06"),
    ("[cluster]\nstraglers = {half_normal = 1.0}", "cluster: 'straglers' is not a key of a cluster; did you mean"),
    ("[cluster]\nspeeds = [1.0, 1.0, 2.0]", "cluster: speeds has 3 numbers, and n_workers is 1"),
    ("[[cluster]]\nspeeds = [2.0]", "cluster: name of table 0 is None; each [[cluster]] must have a name of its own"),
    ('[[cluster]]\nname = "a"\n[[cluster]]\nname = "a"', "cluster: name of table 1 is 'a'"),
    ('[[cluster]]\nname = "a"\narrivals = [0, 0, 1]', "cluster 'a': arrivals has 3 numbers, and n_workers is 1"),
])  # fmt: skip
def test_a_table_that_is_no_cluster_is_refused_in_one_line_that_names_the_key(plan, tables, message):
    with pytest.raises(SpecificationError) as caught:
        plan(with_clusters(tables))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["ask_tell", "native"])
def test_an_adapter_hands_its_cluster_to_the_simulator(mode):
    cluster = Cluster(speeds=[1.0, 0.5], stragglers={"half_normal": 1.0}, failures={"probability": 0.3})
    trace = adapters.load("random").optimize(
        benchmarks.load("branin"), n_workers=2, seed=0, budget=Budget(max_evaluations=20), overhead=Overhead.none(),
        mode=mode, cluster=cluster,
    )  # fmt: skip
    assert trace.attrs["zerowait"]["specification"]["cluster"] == cluster.to_json()
    assert set(trace["status"]) == {"ok", "failed"}
    assert trace["worker_speed"].tolist() == [1.0 if worker == 0 else 0.5 for worker in trace["worker"]]
