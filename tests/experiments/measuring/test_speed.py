"""What `zerowait bench` measures."""

from __future__ import annotations

import pytest

from zerowait.experiments.measuring.speed import PEER, main, plan


def rows(*arguments, **options):
    return [(what, sorted(contenders), p, n) for what, contenders, p, n, _ in plan(*arguments, turns=1, **options)]


def test_by_default_it_measures_what_the_documentation_reports():
    found = rows(4000, None, peers=True)
    assert [(what, p, n) for what, _, p, n in found] == [
        *(("pool", p, 4000) for p in (1, 4, 8, 32, 64, 256)),
        ("pool", 8, 4000),
        ("pool, run length", 8, 1000),
        ("pool, run length", 8, 50_000),
        ("executor", 8, 20_000),
        ("executor", 1024, 20_000),
        ("ask and tell", 1000, 20_000),
        ("ask and tell", 100_000, 300_000),
    ]
    assert [k for k, (_, contenders, _, _) in enumerate(found) if PEER in contenders] == [6, 11]


@pytest.mark.parametrize("peers", [True, False])
def test_its_options_are_those_of_every_row(peers):
    found = rows(400, [2, 16], peers=peers)
    assert {p for _, _, p, _ in found} == {2, 16}
    assert max(n for _, _, _, n in found) == 5000
    assert any(PEER in contenders for _, contenders, _, _ in found) == peers
    assert {what for what, _, _, _ in found} == {"pool", "pool, run length", "executor", "ask and tell"}


def test_the_peer_is_spared_the_hours_that_many_workers_take_it():
    assert all(PEER not in contenders for what, contenders, _, _ in rows(400, [64], peers=True) if what == "pool")


def test_a_row_is_printed_as_it_is_measured(capsys):
    measured = main(20, [2], peers=False, turns=1)
    header, *lines = capsys.readouterr().out.splitlines()
    assert "microseconds per evaluation" in header
    assert [line.split(": ")[0] for line in lines] == [row.what for row in measured]
    assert all(" P=2 " in line for line in lines)
