"""The verification experiments: gates, schedules worked out by hand, and their quick versions.

What depends on how punctually a busy machine wakes its sleepers is asked for only when it was punctual; what does not
is asked for always.
"""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from zerowait.experiments.verification import EXPERIMENTS, Request, drivers, run
from zerowait.experiments.verification.hand_computed import experiment as hand_computed
from zerowait.experiments.verification.order_match import experiment as order_match
from zerowait.experiments.verification.outcome import Gate, Outcome, write
from zerowait.experiments.verification.portability import file_system, version_of
from zerowait.experiments.verification.runtime_reduction import experiment as runtime_reduction
from zerowait.experiments.verification.runtime_reduction import work
from zerowait.experiments.verification.schedules import Case, expected, gap
from zerowait.experiments.verification.speed import experiment as speed_of_others
from zerowait.experiments.verification.speed import figure as speed_figure
from zerowait.experiments.verification.speed.experiment import Measured, PeerFailedError, Scope, syne_tune_seconds
from zerowait.suite import Simulator
from zerowait.suite.engine import Engine
from zerowait.suite.rules.errors import SpecificationError

PUNCTUAL = 5.0
"""Real milliseconds: sleepers that wake up later say something about the machine and nothing about the simulator."""


def by_name(outcome):
    return {gate.name: gate for gate in outcome.gates}


# -- gates and what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "relation", "limit", "passed"),
    [
        (1.0, "==", 1, True),
        (1.0 - 1e-15, "==", 1, False),
        (0.001, "<=", 0.001, True),
        (0.0011, "<=", 0.001, False),
        (20_000, ">=", 20_000, True),
        (math.nan, "<=", 1, False),
        (math.nan, ">=", 1, False),
    ],
)
def test_a_gate_has_no_tolerance_and_nothing_measured_is_not_passed(measured, relation, limit, passed):
    assert Gate("a number", measured, relation, limit).passed == passed


def test_an_outcome_is_written_with_machine_versions_and_command(tmp_path):
    table = pd.DataFrame({"what": ["a"], "number": [1.5]})
    gates = [Gate("kept", 1, "==", 1), Gate("never measured", math.nan, ">=", 1)]
    outcome = Outcome("some", table, gates, ["a sentence"], {"details": table})
    write(outcome, tmp_path / "new", {"command": "zerowait verify some", "full": False})
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["some-details.csv", "some.csv", "some.json"]
    found = json.loads((tmp_path / "new" / "some.json").read_text())
    assert found["command"] == "zerowait verify some"
    assert found["passed"] is False
    assert [gate["passed"] for gate in found["gates"]] == [True, False]
    assert {"processor", "cores", "system", "load_average"} <= set(found["machine"])
    assert {"python", "zerowait", "numpy"} <= set(found["versions"])


# -- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hand_computed.SCHEDULES)
def test_the_worked_out_schedules_are_those_done_by_hand(name):
    by_hand = hand_computed.SCHEDULES[name]
    schedule = expected(by_hand.case)
    assert tuple(schedule.start) == by_hand.start
    assert tuple(schedule.end) == by_hand.end
    assert by_hand.known is None or tuple(schedule.known) == by_hand.known


@pytest.mark.parametrize("name", hand_computed.SCHEDULES)
def test_modelled_overhead_is_the_schedule_done_by_hand_to_the_last_bit(name):
    by_hand = hand_computed.SCHEDULES[name]
    seen = drivers.modelled(by_hand.case, None)
    assert (tuple(seen.start), tuple(seen.end)) == (by_hand.start, by_hand.end)


def test_published_times_of_the_results_are_those_of_the_authors():
    """github.com/nabenabe0928/mfhpo-simulator-experiments, validation/test-cases.json."""
    ends = {name: sorted(by_hand.end) for name, by_hand in hand_computed.SCHEDULES.items()}
    assert ends["cheap"] == [20, 30, 40, 40, 60, 60, 80, 80, 90, 100, 100, 120, 120, 120, 130, 140, 150, 150, 160, 160]
    assert ends["expensive, told on arrival"] == [50, 80, 90, 90, 120, 140, 190, 260]
    assert ends["expensive, nobody waits"] == [60, 110, 150, 200, 210, 210, 210, 280]


def test_the_gap_is_the_least_distance_of_events_whose_order_matters():
    apart = Case((5.0, 7.0), workers=2)
    assert gap(apart, expected(apart)) == 2.0
    # At 4 the first result is there, at 5 the second: the next sampling, 4 to 8, makes the one after it wait for 8.
    case = Case((2.0, 1.0, 3.0, 3.0), 2.0, workers=2, telling="on arrival")
    schedule = expected(case)
    assert schedule.begin == [0.0, 2.0, 4.0, 8.0]
    assert schedule.known == [0, 0, 1, 2]
    assert schedule.end == [4.0, 5.0, 11.0, 17.0]
    assert gap(case, schedule) == 1.0


@pytest.mark.parametrize(
    ("cost", "telling"), [(0.0, "in turn"), (0.05, "in turn"), (0.05, "on arrival"), (0.5, "on arrival")]
)
def test_simulated_sampling_costs_what_the_independent_schedule_says(cost, telling):
    scope = replace(order_match.QUICK, gap=0.05, longest=100.0)
    chosen = order_match.choose("exponential", Case((), cost, telling=telling), scope)
    seen = drivers.modelled(chosen.case, None)
    assert seen.start == list(chosen.schedule.start)
    assert seen.end == list(chosen.schedule.end)
    assert seen.known == list(chosen.schedule.known)
    assert seen.order == chosen.schedule.order


def test_turns_are_given_in_the_order_in_which_they_were_asked_for():
    turns = drivers.Turns()
    first, second, third = (turns.join() for _ in range(3))
    assert first.acquire(blocking=False)
    assert not second.acquire(blocking=False)
    turns.leave()
    assert second.acquire(blocking=False)
    assert not third.acquire(blocking=False)
    turns.leave()
    assert third.acquire(blocking=False)
    turns.leave()
    assert turns.join().acquire(blocking=False)


def test_an_error_in_a_task_that_runs_with_others_reaches_the_caller():
    tasks = {"good": drivers.begin_together, "bad": _fail}
    with pytest.raises(ZeroDivisionError):
        drivers.at_once(tasks)


def _fail():
    raise ZeroDivisionError


made_at, woke_at = (multiprocessing.get_context("fork").Value("d", 0.0) for _ in range(2))


def _sleep():
    drivers.begin_together()
    time.sleep(0.2)
    woke_at.value = time.monotonic()
    drivers.end_together()


@pytest.mark.parametrize("way", [drivers.asked, partial(drivers.measured, directory=None)])
def test_what_runs_with_sleepers_makes_its_trace_when_they_have_slept(way, monkeypatch):
    def noted(make):
        def made(*arguments, **more):
            made_at.value = time.monotonic()
            return make(*arguments, **more)

        return made

    monkeypatch.setattr(Engine, "trace", noted(Engine.trace))
    monkeypatch.setattr(Simulator, "trace", noted(Simulator.trace))
    drivers.at_once({"simulated": partial(way, Case((1.0, 2.0), workers=2), 0.001), "sleeper": _sleep})
    assert made_at.value >= woke_at.value > 0.0


# -- the experiments --------------------------------------------------------------------------------------------------


def test_slept_order_is_the_simulated_one_and_that_of_no_simulation_is_not(monkeypatch):
    two = {name: order_match.DISTRIBUTIONS[name] for name in ("uniform", "exponential")}
    monkeypatch.setattr(order_match, "DISTRIBUTIONS", two)
    outcome = order_match.verify(replace(order_match.QUICK, costs=(0.05,)), Request())
    gates = by_name(outcome)
    certain = [gate for name, gate in gates.items() if "really had" in name or "last bit" in name or "gap" in name]
    assert len(certain) == 3
    assert all(gate.passed for gate in certain)
    table = outcome.table
    assert table["kind"].value_counts().to_dict() == {
        "plain": 4, "slow queries": 4, "a sampler that waits": 2, "a sampler that begins to wait": 1,
    }  # fmt: skip
    slow = table[table["kind"] == "slow queries"]
    assert set(zip(slow["sampling"], slow["callers"], strict=True)) == set(
        itertools.product(("serial", "parallel"), ("threads", "processes"))
    )
    # Whatever a sleeper is late adds up over the four evaluations of its worker.
    late = table["lateness_ms"].max() > PUNCTUAL or table["time_error"].max() > 5e-3
    if not late:
        assert all(gate.passed for gate in outcome.gates)
    assert table["unsimulated_tau"].max() < 0.95


def test_the_losses_of_hartmann_are_those_of_the_slept_run():
    outcome = runtime_reduction.verify(replace(runtime_reduction.QUICK, seeds=1), Request())
    gates = by_name(outcome)
    runs = outcome.details["runs"]
    assert len(runs) == 2 * 2 * 2
    assert runs["replayed"].all()
    assert runs["same_losses"][runs["slept_in_order"]].all()
    # A sleeper's delays add up over the five evaluations of its worker; no two results are closer than 40 ms.
    if runs["lateness_ms"].max() < PUNCTUAL:
        assert runs["slept_in_order"].all()
    assert [name for name in gates if "speed-up" in name] == [
        f"{objective}, {mode}: speed-up over mfhpo-simulator's, 100 evaluations"
        for mode in ("ask-and-tell", "multi-core")
        for objective in ("deterministic", "noisy" if mode == "multi-core" else runtime_reduction.BY_QUERY)
    ]
    assert (runs["slowest_speed_up"] <= runs["speed_up"]).all()
    pairs = outcome.details["pairs"]
    assert pairs["mode"].value_counts().to_dict() == {"ask-and-tell": 33, "multi-core": 6}
    assert (pairs["ratio"] == pairs["speed_up"] / pairs["peer_speed_up"]).all()


@pytest.mark.parametrize("noise", [False, True])
def test_every_way_of_simulating_hartmann_gives_the_same_losses(noise):
    benchmark = work.Noisy() if noise else work.Scaled()
    losses = [
        way(benchmark, 3, 40, overhead(), None).losses
        for way, overhead in itertools.product(runtime_reduction.MODES.values(), runtime_reduction.OVERHEADS.values())
    ]
    assert len(losses[0]) == 40
    assert all(found == losses[0] for found in losses)


def test_the_climber_would_notice_a_result_in_another_place():
    benchmark = work.Scaled()

    def asked(seed, order):
        climber = work.Climber(seed, 20)
        queries = [climber.ask() for _ in order]
        following = []
        for k in order:
            climber.tell(queries[k], benchmark(queries[k].config, fidelity=queries[k].fidelity))
            following.append(climber.ask().config)
        return following

    changed = [asked(seed, (0, 1, 2, 3)) != asked(seed, (0, 2, 1, 3)) for seed in range(20)]
    assert sum(changed) >= 5


def test_the_runtimes_of_hartmann_are_those_of_the_papers_slept_runs():
    runtimes = work.Scaled().runtimes[work.LEAST_FIDELITY :]
    assert len(runtimes) == 90
    assert sum(runtimes) / 90 == pytest.approx(work.MEAN_RUNTIME)


# -- peers and places -------------------------------------------------------------------------------------------------


def test_a_peer_that_cannot_be_run_says_why(tmp_path):
    with pytest.raises(SpecificationError, match="there is no interpreter"):
        syne_tune_seconds(tmp_path / "python", [{"x": 0.0, "y": 1.0}], 1)
    with pytest.raises(PeerFailedError, match="No module named 'syne_tune'"):
        syne_tune_seconds(Path(sys.executable), [{"x": 0.0, "y": 1.0}], 1)


def test_the_version_of_a_peer_comes_with_its_seconds(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"seconds": 0.5, "completed": 1, "version": "0.13"}\'\n')
    python.chmod(0o755)
    assert syne_tune_seconds(python, [{"x": 0.0, "y": 1.0}], 1) == (0.5, "0.13")


def turns_of_speed():
    """Seconds of 1000 evaluations; the peer was slow with 8 workers, and Syne Tune failed in its second turn."""
    slow, failed = "took 61 s with 8 workers and 1000 evaluations", "OSError: no more processes (P = 1)"
    return [
        Measured("pool", "bare", 1, 1000, [0.03, 0.02, 0.04]),
        Measured("pool", "zerowait", 1, 1000, [0.1, 0.2, 0.3]),
        Measured("pool", "mfhpo-simulator", 1, 1000, [5.0, 6.0, 7.5]),
        Measured("pool", "bare", 8, 1000, [0.04, 0.04, 0.04]),
        Measured("pool", "zerowait", 8, 1000, [0.5, 0.4, 0.3]),
        Measured("pool", "mfhpo-simulator", 8, 1000, [61.0]),
        Measured("pool", "bare", 16, 1000, [], "OSError: too many"),
        Measured("pool", "zerowait", 16, 1000, [0.6, 0.6, 0.6]),
        Measured("pool", "mfhpo-simulator", 16, 1000, [], slow),
        Measured("ask and tell", "bare", 1, 1000, [0.002, 0.003, 0.004]),
        Measured("ask and tell", "zerowait", 1, 1000, [0.01, 0.02, 0.01]),
        Measured("ask and tell", "Syne Tune", 1, 1000, [0.6], failed),
        Measured("ask and tell", "bare", 8, 1000, [0.002, 0.003, 0.004]),
        Measured("ask and tell", "zerowait", 8, 1000, [0.01, 0.02, 0.01]),
        Measured("ask and tell", "Syne Tune", 8, 1000, [], failed),
    ]


def outcome_of_speed(rows, **versions):
    return speed_of_others.outcome_of(rows, speed_of_others.FULL, Request(syne_tune=Path("python")), versions)


def test_the_table_of_speed_has_medians_of_the_turns_that_there_were_and_their_spread():
    table = outcome_of_speed(turns_of_speed()).table.set_index(["way", "contender", "workers"])
    columns = ["turns", "us_per_evaluation", "least_us", "greatest_us", "times_zerowait"]
    assert table.loc[("pool", "mfhpo-simulator", 1), columns].tolist() == pytest.approx([3, 6000, 5000, 7500, 30])
    # Of a contender that was given up after a turn, the turn is compared with ours beside it, and not with our median.
    assert table.loc[("pool", "mfhpo-simulator", 8), columns].tolist() == pytest.approx([1, 61000, 61000, 61000, 122])
    absent = table.loc[("pool", "mfhpo-simulator", 16)]
    assert absent["turns"] == 0
    assert absent[columns[1:]].isna().all()
    assert absent["problem"].startswith("took 61 s")


def test_the_gates_of_speed_are_about_what_was_measured():
    gates = by_name(outcome_of_speed(turns_of_speed()))
    assert gates["pool: least factor by which mfhpo-simulator is slower than zerowait"].measured == pytest.approx(30)
    assert gates["ask and tell: least factor by which Syne Tune is slower than zerowait"].measured == pytest.approx(60)
    assert gates["rows in which zerowait was measured"].passed

    rows = turns_of_speed()
    for row in rows:
        if row.way == "pool" and row.contender == "zerowait":
            row.seconds, row.problem = [], "OSError: too many"
        if row.contender == "Syne Tune":
            row.seconds = []
    outcome = outcome_of_speed(rows)
    gates = by_name(outcome)
    assert not gates["pool: least factor by which mfhpo-simulator is slower than zerowait"].passed
    assert not gates["rows in which zerowait was measured"].passed
    assert not any("Syne Tune" in name for name in gates)


def test_the_notes_of_speed_name_the_versions_and_what_was_not_measured():
    rows = turns_of_speed()
    assert "measured were Syne Tune 0.13, mfhpo-simulator 1.4" in outcome_of_speed(
        rows, **{"Syne Tune": "0.13", "mfhpo-simulator": "1.4"}
    ).notes  # fmt: skip
    assert not any("no turn" in note for note in outcome_of_speed(rows).notes)
    for row in rows:
        if row.contender == "Syne Tune":
            row.seconds = []
    assert "ask and tell: Syne Tune completed no turn" in outcome_of_speed(rows).notes


def test_the_figure_of_speed_is_written_beside_its_table(tmp_path):
    outcome = outcome_of_speed(turns_of_speed())
    paths = write(outcome, tmp_path, {})
    assert sorted(p.name for p in paths) == ["speed.csv", "speed.json", "speed.pdf", "speed.png"]
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "speed.pdf").read_bytes().startswith(b"%PDF")
    assert pd.read_csv(tmp_path / "speed.csv", keep_default_na=False)["problem"].tolist() == list(
        outcome.table["problem"]
    )  # fmt: skip


def test_the_figure_of_speed_has_points_where_something_was_measured_and_nowhere_else():
    from zerowait.plots.drawing.panels import Canvas, new_figure

    table = outcome_of_speed(turns_of_speed()).table
    panels = speed_figure.draw(table, Canvas(new_figure(), speed_figure.STYLES)).flat
    drawn = {
        (panel.get_title(), str(bars.get_label())): [
            (x, round(y)) for x, y in bars.lines[0].get_xydata() if not math.isnan(y)
        ]
        for panel in panels
        for bars in panel.containers
    }
    assert drawn == {
        ("pool", "bare"): [(1, 30), (8, 40)],
        ("pool", "zerowait"): [(1, 200), (8, 400), (16, 600)],
        ("pool", "mfhpo-simulator"): [(1, 6000), (8, 61000)],
        ("ask and tell", "bare"): [(1, 3), (8, 3)],
        ("ask and tell", "zerowait"): [(1, 10), (8, 10)],
        ("ask and tell", "Syne Tune"): [(1, 600)],
    }


def test_the_figure_of_speed_is_drawn_when_hardly_anything_was_measured(tmp_path):
    failed = [Measured("pool", name, 4, 1000, [], "OSError: too many") for name in ("bare", "zerowait")]
    write(outcome_of_speed(failed), tmp_path, {})
    assert (tmp_path / "speed.png").stat().st_size > 0


def test_a_contender_that_fails_or_is_slow_is_left_out_with_more_workers_and_the_table_says_why(monkeypatch):
    def crowded(configs, workers):
        if workers == 2:
            raise OSError(24, "Too many open files")
        return 0.1

    def threadless(configs, workers):
        raise RuntimeError("can't start new thread")

    ways = {"bare": crowded, "zerowait": lambda configs, workers: 0.1, "slow": lambda configs, workers: 1.0 * workers}
    monkeypatch.setattr(
        speed_of_others, "contenders_of", lambda way, syne_tune, versions: {**ways, "threads": threadless}
    )
    told = []
    scope = Scope((1, 2, 4), {"pool": 16}, 2, 1.5)
    table = speed_of_others.measure(scope, Request(tell=told.append)).table.set_index(["contender", "workers"])
    turns = table["turns"]
    assert {name: turns[name].tolist() for name in [*ways, "threads"]} == {
        "bare": [2, 0, 0], "zerowait": [2, 2, 2], "slow": [2, 1, 0], "threads": [0, 0, 0],
    }  # fmt: skip
    assert table["problem"]["bare", 1] == table["problem"]["slow", 2] == ""
    assert table["problem"]["bare", 2] == "OSError: [Errno 24] Too many open files (P = 2)"
    assert table["problem"]["bare", 4] == "OSError: [Errno 24] Too many open files (P = 2)"
    assert table["problem"]["slow", 4] == "took 2 s with 2 workers and 16 evaluations"
    assert table["problem"]["threads", 1] == "RuntimeError: can't start new thread (P = 1)"
    assert sum("no more of slow" in line for line in told) == 1
    assert told[0] == "pool, 1 workers, 16 evaluations"
    assert "pool: no more of slow: took 2 s with 2 workers and 16 evaluations" in told


def test_the_interpreter_and_the_file_system_of_a_place_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # in the repository, its folders could be imported by other names
    assert version_of(Path(sys.executable)) == ".".join(map(str, sys.version_info[:3]))
    assert file_system(Path("/proc")) == "proc"
    with pytest.raises(SpecificationError, match="cannot be run"):
        version_of(Path("/nowhere/python"))


def test_an_unknown_experiment_is_refused_with_those_that_there_are():
    with pytest.raises(SpecificationError, match="there is no experiment 'order'; choose one of hand-computed"):
        run("order", Request())


def test_the_command_lists_the_experiments_runs_one_and_fails_when_a_gate_does(tmp_path):
    def zerowait(*arguments):
        code = "from zerowait.experiments.commands.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "verify", *arguments], capture_output=True, text=True, check=False,
            cwd=tmp_path, timeout=300,
        )  # fmt: skip

    listed = zerowait("list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(EXPERIMENTS)
    done = zerowait("hand-computed", "--out", "here")
    written = json.loads((tmp_path / "here" / "hand-computed.json").read_text())
    assert done.returncode == (0 if written["passed"] else 1)
    assert "modelled: largest error" in done.stdout
    passed = {gate["name"]: gate["passed"] for gate in written["gates"]}
    assert passed["modelled: largest error, s"]
    table = pd.read_csv(tmp_path / "here" / "hand-computed.csv")
    ways = table.groupby("schedule")["way"].agg(set)
    assert set(ways.index) == set(hand_computed.SCHEDULES)
    assert ways["slow queries"] == {
        "modelled", "measured", "measured, processes", "really slept", "really slept, processes",
        "asked and told, measured",
    }  # fmt: skip
    assert "measured, guessed" in ways["a sampler that waits"] & ways["a sampler that begins to wait"]
    unguessed = table[table["way"] != "measured, guessed"]
    if unguessed[["lateness_ms", "real_error_ms"]].max().max() < PUNCTUAL:
        assert all(passed.values())
    refused = zerowait("nothing")
    assert refused.returncode == 2
    assert refused.stderr.startswith("zerowait: there is no experiment 'nothing'; choose one of ")
