"""`zerowait check` finds every change of what a cluster decided."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from checked_runs import Changed
from clustered import EVERYTHING, Ladder, climbing
from modes import threads

from zerowait.suite import Overhead
from zerowait.suite.records.journal_to_trace import read_run

SEED = 4  # evaluations succeed, fail and are preempted


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("recorded")
    threads(climbing(9, 40), Ladder(tuple(np.linspace(0.1, 1.0, 9))), n_workers=3, directory=directory,
            max_evaluations=40, overhead=Overhead.fixed(0.5), continual=True, seed=SEED,
            cluster=EVERYTHING)  # fmt: skip
    return directory


def settle(record, **changes):
    record.update(changes)


def exchange_the_slots(records):
    k = next(k for k, r in enumerate(records) if r["after"] == 0 and r["slot"] == 0)
    other = next(r for r in records if r["after"] == 0 and r["slot"] == 1)
    records[k]["slot"], other["slot"] = 1, 0


CHANGES = {
    "another attempt": lambda r: settle(r[7], attempt=r[7]["attempt"] + 1),
    "another lost time": lambda r: settle(r[7], lost_time=r[7]["lost_time"] + 0.5),
    "another training": lambda r: settle(r[7], training=r[7]["training"] * 1.5),
    "an end that no worker has": lambda r: settle(r[-1], end=r[-1]["end"] + 1.0, runtime=r[-1]["runtime"] + 1.0),
    "a runtime": lambda r: settle(r[7], runtime=r[7]["runtime"] + 0.5),
    "a failure that was none": lambda r: settle(
        next(one for one in r if one["status"] == "ok"), status="preempted", value=math.nan, error="x"
    ),
    "a success that was none": lambda r: settle(
        next(one for one in r if one["status"] == "failed"), status="preempted"
    ),
    "no word of the cluster": lambda r: [r[7].pop(name) for name in ("training", "attempt", "lost_time")],
    "half a word of the cluster": lambda r: r[7].pop("attempt"),
    "no attempt": lambda r: settle(r[7], attempt=0),
    "another machine": exchange_the_slots,
}


def changed(recorded, tmp_path, how, cluster="as it was"):
    run = Changed(recorded, tmp_path / "changed")
    how(run.records)
    if cluster != "as it was":
        path = run.directory / "run.json"
        content = json.loads(path.read_text())
        content["specification"].pop("cluster")
        content["specification"].update(cluster)
        path.write_text(json.dumps(content))
    return run.write()


@pytest.mark.parametrize("how", CHANGES)
def test_every_change_of_what_the_cluster_decided_is_found(recorded, tmp_path, how):
    assert {r["status"] for r in read_run(recorded).to_dict("records")} == {"ok", "failed", "preempted"}
    found = {rule for rule, _ in changed(recorded, tmp_path, CHANGES[how])}
    assert found & {"cluster", "end", "fields", "worker", "charge"}, found


@pytest.mark.parametrize("cluster", [
    {}, {"cluster": {"speeds": [2.0]}}, {"cluster": {**EVERYTHING.to_json(), "retries": 0}},
    {"cluster": {**EVERYTHING.to_json(), "stragglers": {"half_normal": 0.4}}},
    {"seed": SEED + 1, "cluster": EVERYTHING.to_json()},
])  # fmt: skip
def test_another_cluster_or_seed_in_the_specification_is_found(recorded, tmp_path, cluster):
    found = {rule for rule, _ in changed(recorded, tmp_path, lambda _: None, cluster)}
    assert "cluster" in found
