"""What `zerowait bench` measures."""

from __future__ import annotations

import pytest

from zerowait.experiments.measuring.speed import PEER, main, measure, plan


def rows(*arguments, **options):
    return [(what, sorted(contenders), p, n) for what, contenders, p, n, _ in plan(*arguments, turns=1, **options)]


def test_by_default_it_measures_every_way_from_1_to_1024_workers():
    found = rows(4000, None, peers=True)
    assert [(what, p, n) for what, _, p, n in found] == [
        *(("processes", p, 4000) for p in (1, 4, 8, 32, 64, 256, 1024)),
        ("processes", 8, 4000),
        ("processes, run length", 8, 1000),
        ("processes, run length", 8, 50_000),
        *(("threads", p, 4000) for p in (1, 8, 64, 1024)),
        *(("shared directory", p, 1000) for p in (1, 8, 64)),
        *(("executor", p, 20_000) for p in (1, 8, 64, 1024)),
        ("DEHB, native-simulated", 8, 40),
        ("Optuna, 52 reports a trial", 8, 4000),
        *(("ask and tell", p, 20_000) for p in (1, 8, 1024)),
        ("ask and tell", 100_000, 300_000),
    ]
    assert [k for k, (_, contenders, _, _) in enumerate(found) if PEER in contenders] == [7, 23, 24, 25]


def test_every_row_has_a_floor_that_is_measured_in_the_same_turns():
    floors = {what: set(contenders) - {"zerowait", PEER} for what, contenders, _, _ in rows(4000, None, peers=True)}
    assert floors == {
        "processes": {"bare", "one at a time"},
        "processes, run length": {"bare", "one at a time"},
        "threads": {"one at a time"},
        "shared directory": {"one at a time"},
        "executor": {"bare"},
        "DEHB, native-simulated": {"native"},
        "Optuna, 52 reports a trial": {"bare", "native"},
        "ask and tell": {"bare"},
    }


def test_the_contenders_of_a_row_take_turns_and_each_is_first():
    order = []

    def contender(name):
        return lambda configs, workers: order.append(name) or 1.0

    row = measure("some", {name: contender(name) for name in "abc"}, 2, 5, 4)
    assert "".join(order) == "abcbcacababc"
    assert row.seconds == {name: [1.0] * 4 for name in "abc"}


@pytest.mark.parametrize("peers", [True, False])
def test_its_options_are_those_of_every_row(peers):
    found = rows(400, [2, 16], peers=peers)
    assert {p for _, _, p, _ in found} == {2, 16}
    assert max(n for _, _, _, n in found) == 5000
    assert any(PEER in contenders for _, contenders, _, _ in found) == peers


def test_the_peer_is_spared_the_hours_that_many_workers_take_it():
    assert all(PEER not in contenders for what, contenders, _, _ in rows(400, [64], peers=True) if "proc" in what)


def test_a_row_is_printed_as_it_is_measured(capsys):
    measured = main(20, [9], peers=False, turns=1)  # DEHB's own processes, up to 8, take seconds to begin
    header, floors, *lines = capsys.readouterr().out.splitlines()
    assert "microseconds per evaluation" in header
    assert floors.startswith("floors: ")
    assert [line.split(": ")[0] for line in lines] == [row.what for row in measured]
    assert all(" P=9 " in line for line in lines)
