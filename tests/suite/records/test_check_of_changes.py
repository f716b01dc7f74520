"""`zerowait check` is loud on every journal that was changed, and says what it found."""

from __future__ import annotations

import json
import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checked_runs import OVERHEADS, QUICK, Changed, Objective, climbing, with_threads
from drivers import Lookup, needs_one_host
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.records.check import check, render
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.rules.identity import digest
from zerowait.suite.sharing import journal

# The journal to change: 3 workers, fixed overhead of 0.5 s, 5 configurations that climb 1, 3, 9, 27 epochs.
# Configuration 3 fails always; configuration 0 is faster at more epochs, so that its differences are clipped.
N = 20
END_OF_TIME = 1000.0


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    directory = tmp_path_factory.mktemp("template")
    with Simulator(
        Objective((1.0, 2.0, 0.75, 1.25, 3.0), failing=frozenset([3])), n_workers=3, directory=directory,
        max_evaluations=N, max_time=END_OF_TIME, seed=7, overhead=Overhead.fixed(0.5), continual=True,
    ) as simulator:  # fmt: skip
        with_threads(simulator, climbing(5)[:N])
    return directory


@pytest.fixture
def changed(template, tmp_path):
    return Changed(template, tmp_path / "changed")


def test_the_journal_to_change_has_everything_in_it(template):
    records = journal.read(template / "journal")
    assert [r["evaluation"] for r in records] == list(range(N))
    assert {r["status"] for r in records} == {"ok", "failed"}
    assert {r.get("resumed_from") for r in records} == {None, 1.0, 3.0, 9.0}
    assert {r.get("clipped") for r in records} == {None, True, False}
    assert {r["slot"] for r in records} == {0, 1, 2}
    assert all("seed" in r for r in records)


def change(name, how, *, of=lambda r: r["evaluation"] == 9):
    """Change a field of the first record that is meant; the violation is found in that record."""

    def mutate(run):
        k = run.first(of)
        run.records[k][name] = how(run.records[k][name])
        return k

    return mutate


def continued(r):
    return r["status"] == "ok" and "resumed_from" in r and not r["clipped"]


def from_nine(r):
    return r.get("resumed_from") == 9.0


def swap_two_neighbours(run):
    run.records[9:11] = run.records[10], run.records[9]
    return 9


def swap_two_neighbours_and_their_numbers(run):
    k = run.first(lambda r: r["evaluation"] > 3 and r["end"] < run.records[r["evaluation"] + 1]["end"])
    first, second = run.records[k : k + 2]
    first["evaluation"], second["evaluation"] = k + 1, k
    run.records[k : k + 2] = second, first
    return k + 1


def drop_one(run):
    del run.records[9]
    return 9


def double_one(run):
    run.records.insert(10, run.records[9])
    return 10


def double_one_with_another_number(run):
    run.records.append({**run.records[-1], "evaluation": N})
    return N


def move_start_and_end(run):
    # end = start + runtime still holds, and so does the slot: its last record.
    run.records[-1]["start"] += 0.25
    run.records[-1]["end"] += 0.25
    return N - 1


def move_everything_that_goes_with_an_end(run):
    """Let a result be delivered later than others that it came before, and tell its slot's next record so."""
    r = run.records[9]
    r["end"] += 20.0
    r["runtime"] += 20.0
    for other in run.records[10:]:
        if other["slot"] == r["slot"]:
            other["freed"] = r["end"]
            break
    return 10


def take_a_slot_that_is_held(run):
    """Two slots hold an evaluation at the same time; give both to one of them."""
    first, second = run.records[:2]
    second["slot"] = first["slot"]
    second["freed"] = first["end"]
    return 1


def consume_a_state_twice(run):
    k = run.first(continued)
    r = run.records[k]
    again = run.first(lambda o: o["config"] == r["config"] and o.get("resumed_from", 0) > r["resumed_from"])
    run.records[again]["resumed_from"] = r["resumed_from"]
    return again


def continue_a_state_that_is_delivered_later(run):
    k = run.first(lambda r: r["status"] == "ok" and r["fidelity"] == 3.0)
    before = run.first(lambda r: r["config"] == run.records[k]["config"])
    run.records[before].update(
        resumed_from=3.0, fidelity=9.0, clipped=False, from_scratch=run.records[before]["runtime"]
    )
    return before


def train_from_scratch_although_a_state_was_there(run):
    k = run.first(continued)
    for name in ("resumed_from", "clipped", "from_scratch"):
        del run.records[k][name]
    return k


def give_one_id_to_two_configurations(run):
    for k in (0, 1):
        run.records[k].update(config_id="same", named=True)
        del run.records[k]["seed"]
    return 1


def lose_an_evaluation(run):
    r = run.records[-1]
    r.update(status="lost", value=math.nan, runtime=r["end"] - r["start"])
    r.pop("error", None)
    return N - 1


def release_by_the_idle_rule(run):
    run.records[9]["idle"] = True
    return 9


def spend_more_evaluations_than_the_budget(run):
    run.specify(max_evaluations=N - 1)
    return run.first(lambda r: r["call"] == N)


def spend_more_time_than_the_budget(run):
    run.specify(max_time=run.records[-2]["end"])
    return N - 1


def start_at_the_end_of_the_budget(run):
    run.specify(max_time=run.records[-1]["end"])
    run.records[-1].update(start=run.records[-1]["end"], runtime=0.0)
    return N - 1


def have_fewer_workers(run):
    run.specify(n_workers=2)
    return run.first(lambda r: r["slot"] == 2)


def have_another_seed(run):
    run.specify(seed=8)
    return 0


def have_another_overhead(run):
    run.specify(overhead={"name": "fixed(0.75)", "sampling": "serial"})
    return 0


def sample_in_parallel(run):
    run.specify(overhead={"name": "fixed(0.5)", "sampling": "parallel"})
    return run.first(lambda r: r["call"] == 2)


def continue_nothing(run):
    run.specify(continual=False)
    return run.first(lambda r: "resumed_from" in r)


def without(name):
    def mutate(run):
        del run.records[9][name]
        return 9

    return mutate


def half_a_continuation(run):
    k = run.first(continued)
    del run.records[k]["from_scratch"]
    return k


def up(x):
    return math.nextafter(x, math.inf)


CHANGES = {
    "two neighbours swapped": ("numbers", swap_two_neighbours),
    "two neighbours swapped and renumbered": ("order", swap_two_neighbours_and_their_numbers),
    "one dropped": ("numbers", drop_one),
    "one doubled": ("exactly once", double_one),
    "one doubled under another number": ("exactly once", double_one_with_another_number),
    "another evaluation number": ("numbers", change("evaluation", lambda n: n + 1)),
    "another call": ("exactly once", change("call", lambda n: n - 1, of=lambda r: r["evaluation"] == 19)),
    "claimed earlier": ("claims", change("after", lambda n: n - 2)),
    "claimed after its delivery": ("claims", change("after", lambda _: 15)),
    "end one bit later": ("end", change("end", up)),
    "start one bit later": ("start", change("start", up)),
    "start and end later": ("start", move_start_and_end),
    "start before freed": ("times", change("start", lambda _: 0.0)),
    "freed one bit later": ("slots", change("freed", up)),
    "runtime one bit longer": ("charge", change("runtime", up, of=continued)),
    "runtime negative": ("fields", change("runtime", lambda r: -r)),
    "runtime longer and the slot told": ("order", move_everything_that_goes_with_an_end),
    "overhead one bit longer": ("overhead", change("overhead", up)),
    "an infinite end": ("fields", change("end", lambda _: math.inf)),
    "another slot": ("slots", change("slot", lambda s: (s + 1) % 3)),
    "a slot that is held": ("slots", take_a_slot_that_is_held),
    "a slot that does not exist": ("slots", change("slot", lambda _: 3)),
    "fewer workers": ("slots", have_fewer_workers),
    "a value that is no number": ("status", change("value", lambda _: math.nan)),
    "a value of a failure": ("status", change("value", lambda _: 0.5, of=lambda r: r["status"] == "failed")),
    "a failure told as success": ("status", change("status", lambda _: "ok", of=lambda r: r["status"] == "failed")),
    "a success told as failure": ("status", change("status", lambda _: "failed")),
    "a loss in a run that ends with one": ("status", lose_an_evaluation),
    "a status that does not exist": ("fields", change("status", lambda _: "fine")),
    "another seed": ("seed", change("seed", lambda s: s ^ 1)),
    "another run seed": ("seed", have_another_seed),
    "another value in the configuration": ("identity", change("config", lambda c: {"x": c["x"] + 1})),
    "another name in the configuration": ("identity", change("config", lambda c: {"y": c["x"]})),
    "another type in the configuration": ("identity", change("config", lambda c: {"x": float(c["x"])})),
    "another config_id": ("identity", change("config_id", lambda c: digest(c).hex())),
    "a config_id that is none": ("fields", change("config_id", lambda c: c[:-1])),
    "one id for two configurations": ("identity", give_one_id_to_two_configurations),
    "resumed from another fidelity": ("continuation", change("resumed_from", lambda _: 3.0, of=from_nine)),
    "resumed from its own fidelity": ("continuation", change("resumed_from", lambda z: 3.0 * z, of=continued)),
    "a state consumed twice": ("continuation", consume_a_state_twice),
    "a state of the future": ("continuation", continue_a_state_that_is_delivered_later),
    "a state left alone": ("continuation", train_from_scratch_although_a_state_was_there),
    "continued without continual": ("continuation", continue_nothing),
    "clipped without reason": ("charge", change("clipped", lambda c: not c, of=continued)),
    "not clipped": ("charge", change("clipped", lambda c: not c, of=lambda r: r.get("clipped"))),
    "a longer training from scratch": ("charge", change("from_scratch", up, of=continued)),
    "released as idle while all work": ("idle", release_by_the_idle_rule),
    "more evaluations than the budget": ("budget", spend_more_evaluations_than_the_budget),
    "more time than the budget": ("budget", spend_more_time_than_the_budget),
    "a start at the end of the budget": ("budget", start_at_the_end_of_the_budget),
    "another overhead": ("overhead", have_another_overhead),
    "parallel sampling": ("start", sample_in_parallel),
    "a missing field": ("fields", without("freed")),
    "half a continuation": ("fields", half_a_continuation),
    "a field that does not exist": ("fields", lambda run: run.records[9].update(host="x") or 9),
    "a number as text": ("fields", change("end", str)),
    "a number as truth": ("fields", change("slot", bool)),
    "a metric as text": ("fields", change("metrics", lambda m: {**m, "epochs": "9"})),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_record_is_found_although_its_checksum_agrees(changed, name):
    rule, mutate = CHANGES[name]
    place = mutate(changed)
    assert (rule, place) in changed.write()


@given(st.data())
@settings(max_examples=150)
def test_any_change_of_a_time_is_found(template, data):
    with tempfile.TemporaryDirectory() as folder:
        run = Changed(template, Path(folder) / "changed")
        k = data.draw(st.integers(0, N - 1))
        name = data.draw(st.sampled_from(["freed", "start", "end", "runtime", "overhead"]))
        old = run.records[k][name]
        nearby = st.integers(-8, 8).map(lambda n: old + n * math.ulp(old))
        new = data.draw((st.floats(0.0, 2 * END_OF_TIME) | nearby).filter(lambda x: x != old))
        # A runtime so little different that the end is the same is the same to the simulated clock.
        assume(name != "runtime" or run.records[k]["start"] + new != run.records[k]["end"])
        run.records[k][name] = new
        assert run.write()


def flip(data, place, bit=1):
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


@given(st.data())
@settings(max_examples=150)
def test_any_changed_bit_is_found(template, data):
    with tempfile.TemporaryDirectory() as folder:
        run = Changed(template, Path(folder) / "changed")
        content = run.journal.read_bytes()
        place = data.draw(st.integers(0, len(content) - 1))
        run.journal.write_bytes(flip(content, place, 1 << data.draw(st.integers(0, 7))))
        assert not check(run.directory).ok


def test_a_changed_byte_is_found_in_its_line(changed):
    lines = changed.journal.read_bytes().splitlines(keepends=True)
    lines[9] = flip(lines[9], 40)
    changed.journal.write_bytes(b"".join(lines))
    assert changed.found() == {("checksum", 9)}


def test_bytes_that_were_cut_out_of_the_middle_are_found(changed):
    content = changed.journal.read_bytes()
    middle = len(content) // 2
    changed.journal.write_bytes(content[:middle] + content[middle + 100 :])
    (line,) = {place for rule, place in changed.found() if rule == "checksum"}
    assert line == content[:middle].count(b"\n")


def test_zeros_that_a_crash_of_the_machine_left_are_found(changed):
    content = changed.journal.read_bytes()
    changed.journal.write_bytes(content[:-500] + bytes(499) + b"\n")
    assert ("checksum", content[:-500].count(b"\n")) in changed.found()


@needs_one_host  # on several, as many lines as workers may stand behind what was committed
def test_a_line_that_is_no_object_is_found(changed):
    with changed.journal.open("ab") as file:
        file.write(journal.line(b"[1, 2]") + journal.line(b"{") + journal.line(b"\xff"))
    assert changed.found() == {("checksum", N), ("checksum", N + 1), ("checksum", N + 2), ("complete", None)}


def test_a_journal_that_lost_its_last_lines_is_found_by_the_table_of_slots(changed):
    lines = changed.journal.read_bytes().splitlines(keepends=True)
    changed.journal.write_bytes(b"".join(lines[:-2]))
    assert changed.found() == {("complete", None)}


def test_a_journal_that_was_cut_in_a_line_is_found_by_the_table_of_slots(changed):
    changed.journal.write_bytes(changed.journal.read_bytes()[:-5])
    report = check(changed.directory)
    assert [v.rule for v in report.violations] == ["complete"]
    assert any("torn" in note for note in report.notes)


def test_a_torn_last_line_that_was_never_committed_is_a_note(changed):
    with changed.journal.open("ab") as file:
        file.write(b'0000abcd {"evalu')
    report = check(changed.directory)
    assert report.violations == ()
    assert report.notes == ("the last line is torn after 16 bytes; it is left out",)
    assert report.n_records == N


def test_a_whole_line_that_was_never_committed_is_a_note_and_no_part_of_the_trace(changed):
    """What a process leaves that is killed between writing a line and committing it."""
    ghost = {**changed.records[-1], "evaluation": N, "call": N + 1, "after": N}
    with changed.journal.open("ab") as file:
        file.write(journal.line(json.dumps(ghost).encode()))
    report = check(changed.directory)
    assert report.violations == ()
    assert report.n_records == N
    (note,) = report.notes
    assert note.startswith("what stands behind the 20 lines that the run has recorded is left out (1 more)")
    assert len(read_run(changed.directory)) == N


@needs_one_host
def test_two_whole_lines_that_were_never_committed_are_found(changed):
    for number in (N, N + 1):
        with changed.journal.open("ab") as file:
            file.write(journal.line(json.dumps({**changed.records[-1], "evaluation": number}).encode()))
    assert ("complete", None) in changed.found()
    assert "2 lines stand behind the 20 that the run has recorded" in render(check(changed.directory))[-2]


def test_a_journal_without_the_table_of_slots_can_be_checked(changed):
    (changed.directory / "slots").unlink()
    assert changed.found() == set()


def test_a_release_that_the_journal_hides_is_found(tmp_path):
    """Two of three workers run until 3 s and 1 s; the third call is made when both are back."""
    with Simulator(
        Lookup((3.0, 1.0)), n_workers=3, directory=tmp_path / "run", overhead=Overhead.none(), idle=QUICK
    ) as simulator:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda x: simulator({"x": x}), [0, 1]))
        simulator({"x": 1})
    run = Changed(tmp_path / "run", tmp_path / "changed")
    assert [(r["end"], r.get("idle")) for r in run.records] == [(1.0, True), (3.0, True), (4.0, True)]
    del run.records[0]["idle"]
    assert run.write() == {("idle", 0)}


def test_a_measured_overhead_that_was_changed_is_found(tmp_path):
    with Simulator(Objective((1e-6,) * 5), n_workers=2, directory=tmp_path / "run", max_evaluations=20) as simulator:
        with_threads(simulator, climbing(5)[:20])
    run = Changed(tmp_path / "run", tmp_path / "changed")
    run.records[9]["overhead"] = up(run.records[9]["overhead"])
    assert run.write() == {("overhead", 9)}


def test_a_measured_start_before_the_last_delivery_is_found(tmp_path):
    with Simulator(Objective((1e-6,) * 5), n_workers=1, directory=tmp_path / "run", max_evaluations=20) as simulator:
        with_threads(simulator, climbing(5)[:20])
    run = Changed(tmp_path / "run", tmp_path / "changed")
    run.records[9].update(start=run.records[7]["end"], freed=run.records[7]["end"], overhead=0.0)
    assert {("start", 9), ("slots", 9)} <= run.write()


# -- what people see ---------------------------------------------------------------------------------------------------


def test_a_clean_report_is_one_line(template):
    assert render(check(template)) == ["20 records checked: no violation"]


def test_a_violation_is_one_line_with_its_record_number_and_its_content(changed):
    changed.records[9]["value"] = math.nan
    changed.write()
    content = json.dumps(changed.records[9], separators=(",", ":"))
    assert render(check(changed.directory)) == [
        f"record 9: status: value=nan of an evaluation with the status ok in {content}",
        "20 records checked: 1 violation",
    ]
    assert check(changed.directory).exit_code == 1


def test_violations_come_in_the_order_of_the_records_and_that_of_the_journal_last(changed):
    lines = changed.journal.read_bytes().splitlines(keepends=True)
    changed.journal.write_bytes(flip(lines[0], 30) + b"".join(lines[1:9]) + flip(lines[9], 30))
    *shown, last, note, summary = render(check(changed.directory))
    assert [line.split(":")[0] for line in shown] == ["record 0", "record 9"]
    assert last.startswith("journal: complete: the run has recorded 20 evaluations")
    assert note.startswith("note: ")
    assert summary == "10 records checked: 3 violations"


def test_a_long_record_is_shown_in_part(tmp_path):
    with Simulator(lambda _: Evaluation(0.0, 1.0), n_workers=1, directory=tmp_path / "run") as simulator:
        simulator({"text": "z" * 10_000})
    run = Changed(tmp_path / "run", tmp_path / "changed")
    run.records[0]["end"] = 2.0
    run.write()
    assert all(len(line) < 3000 for line in render(check(run.directory)))


def test_a_model_that_cannot_be_recomputed_is_a_note(tmp_path):
    with Simulator(
        Objective((1.0,)), n_workers=1, directory=tmp_path, overhead=OVERHEADS["model"], max_evaluations=3
    ) as simulator:
        with_threads(simulator, [Query({"x": 0})] * 3)
    assert check(tmp_path).notes == (
        "model(saw) cannot be recomputed from the directory: each record's overhead was taken as it stands",
    )


def test_a_call_past_the_budget_in_time_is_a_note(tmp_path):
    """Evaluations end at 1 s and 4 s; the budget ends at 3 s, so the second call has no record, and the third has."""
    with Simulator(
        Lookup((1.0, 4.0, 1.5)), n_workers=2, directory=tmp_path, max_time=3.0, overhead=Overhead.none()
    ) as simulator:
        with_threads(simulator, [Query({"x": x}) for x in (0, 1, 2)])
    assert check(tmp_path).violations == ()
    assert check(tmp_path).notes == ("1 of the first 3 calls have no record: they were running, or past the budget",)


# -- what is no run ----------------------------------------------------------------------------------------------------


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"there is no run in .*: it has no run\.json"):
        check(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"there is no run in"):
        check(tmp_path / "absent")


def test_a_run_without_a_journal_is_refused(changed):
    changed.journal.unlink()
    with pytest.raises(RunDirectoryError, match=r"journal cannot be read: No such file"):
        check(changed.directory)


def test_a_run_of_another_format_is_refused(changed):
    path = changed.directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(RunDirectoryError, match="was written in format 99; this version of zerowait uses format 1"):
        check(changed.directory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.pop("n_workers"),
        lambda s: s.update(n_workers="3"),
        lambda s: s.update(seed=None),
        lambda s: s.update(overhead="none"),
        lambda s: s.update(max_time=-1.0),
    ],
)
def test_a_damaged_specification_is_refused(changed, damage):
    path = changed.directory / "run.json"
    content = json.loads(path.read_text())
    damage(content["specification"])
    path.write_text(json.dumps(content))
    with pytest.raises(RunDirectoryError, match=r"run\.json is damaged: its specification is not usable"):
        check(changed.directory)


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(10_000)], ids=["empty", "short", "zeros"])
def test_a_damaged_table_of_slots_is_refused(changed, content):
    (changed.directory / "slots").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"slots does not hold a table of 3 slots: it is damaged"):
        check(changed.directory)
