"""Measured overhead while nobody is there: the time in which no process of a run lived is not charged to anybody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import WorkerDied
from zerowait.suite.sharing import header, journal
from zerowait.suite.sharing.table import SlotTable

ABSENCE = 1.5
SOON = 1.0  # real seconds, less than an absence, that a process needs at most from joining to its call


def a_moment(_config):
    return Evaluation(0.0, 0.001)


def join(directory, **changes):
    specification = {"n_workers": 1, "max_evaluations": 9, "overhead": Overhead.measured(), **changes}
    return Simulator(a_moment, directory=directory, **specification)


def elsewhere(directory, work=lambda simulator: simulator({"x": 0}), **changes):
    """Let a process join the run, make a call and end."""
    process = multiprocessing.get_context("fork").Process(target=lambda: work(join(directory, **changes)))
    process.start()
    process.join(300)
    assert process.exitcode == 0


@pytest.fixture(params=[False, True], ids=["one host", "several hosts"])
def changes(request):
    return {"shared_directory": request.param}


def overheads(directory):
    assert check(directory).violations == ()
    return [r["overhead"] for r in journal.read(directory / "journal")]


def test_the_time_in_which_no_process_of_a_run_lived_is_not_charged(tmp_path, changes):
    elsewhere(tmp_path, **changes)
    time.sleep(ABSENCE)
    elsewhere(tmp_path, **changes)
    first, second = journal.read(tmp_path / "journal")
    assert first["end"] <= second["start"] < first["end"] + SOON
    assert second["wall"] < first["wall"] + SOON  # real time stands still as well
    assert max(overheads(tmp_path)) < SOON


def test_the_time_in_which_a_process_of_the_run_did_nothing_is_charged(tmp_path, changes):
    with join(tmp_path, **changes):  # like the master of a pool
        elsewhere(tmp_path, **changes)
        time.sleep(ABSENCE)
        elsewhere(tmp_path, **changes)
    assert overheads(tmp_path)[1] >= ABSENCE


def test_the_time_in_which_a_process_had_closed_the_run_is_charged(tmp_path, changes):
    """A process that has many runs closes those that it does not use just now; its optimizer goes on thinking."""
    simulator = join(tmp_path, **changes)
    simulator({"x": 0})
    simulator.close()
    time.sleep(ABSENCE)
    simulator({"x": 1})
    simulator.close()
    assert overheads(tmp_path)[1] >= ABSENCE


def test_what_was_thought_before_the_last_sign_of_life_stays_charged(tmp_path, changes):
    """Of two slots only one is used in the first life, after 1.5 s in which both were free; the other comes next."""

    def think_and_call(simulator):
        simulator.start()
        time.sleep(ABSENCE)
        simulator({"x": 0})

    changes = {**changes, "n_workers": 2}
    elsewhere(tmp_path, think_and_call, **changes)
    time.sleep(ABSENCE)
    elsewhere(tmp_path, **changes)
    first, second = (record["start"] for record in journal.read(tmp_path / "journal"))
    assert ABSENCE <= first <= second < ABSENCE + SOON


def test_a_run_that_was_never_begun_begins_with_the_first_call(tmp_path, changes):
    elsewhere(tmp_path, lambda simulator: None, **changes)
    time.sleep(ABSENCE)
    elsewhere(tmp_path, **changes)
    (record,) = journal.read(tmp_path / "journal")
    assert record["start"] < SOON


def test_a_machine_that_was_started_anew_has_another_clock(tmp_path):
    elsewhere(tmp_path)
    slots = tmp_path / "slots"
    image = bytearray(slots.read_bytes())
    table = SlotTable(image, 1)
    for shift in (1e7, -1e7):  # the machine ran for longer before, or had just been started
        table.floats[header.ORIGIN] += shift
        table.floats[header.LAST_RETURN] += shift
        table.resumed[:] += shift
        slots.write_bytes(image)
        elsewhere(tmp_path)
        image[:] = slots.read_bytes()
    records = journal.read(tmp_path / "journal")
    assert len(records) == 3
    assert max(overheads(tmp_path)) < SOON
    assert all(0.0 <= r["wall"] < 3 * SOON for r in records)


def test_the_dead_of_an_earlier_life_are_found(tmp_path, changes):
    def die_in_the_objective(_config):
        os.kill(os.getpid(), signal.SIGKILL)

    changes = {**changes, "on_worker_death": "raise"}

    def work(simulator):
        simulator.objective = die_in_the_objective
        simulator({"x": 0})

    process = multiprocessing.get_context("fork").Process(target=lambda: work(join(tmp_path, **changes)))
    process.start()
    process.join(300)
    with pytest.raises(WorkerDied, match=str(process.pid)):
        join(tmp_path, **changes)({"x": 1})
