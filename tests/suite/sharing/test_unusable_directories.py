"""Disks that are full and directories that cannot be used: one clear error, and what was recorded stays."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from drivers import needs_one_host
from failing import HANG, NONE, Breaks, Fails, is_intact
from modes import Scripted, queries

from zerowait.suite import Evaluation, Simulator, simulate
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import (
    RunDirectoryError,
    ZerowaitError,
)
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import journal

# -- full disks
# --------------------------------------------------------------------------------------------------------------


def in_a_child(work):
    """Run `work()` in a forked process; return what it returned, which must have a JSON form."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = {"returned": work()}
        except BaseException as error:  # noqa: BLE001 - raised by the test's own process
            answer = {"raised": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"raised": "the child was killed"}')
    assert os.waitpid(child, 0)[1] == 0
    assert "raised" not in answer, answer["raised"]
    return answer["returned"]


def all_calls(simulator, n_threads, configs):
    """Call from many threads until an error; return how many results there were, and the errors."""
    todo, taking = iter(configs), threading.Lock()
    results, errors = [], []

    def work():
        try:
            while True:
                with taking:
                    config = next(todo)
                results.append(simulator(config).end)
        except ZerowaitError as error:
            errors.append(f"{type(error).__name__}: {error}")
        except StopIteration:
            pass

    crew = [threading.Thread(target=work, daemon=True) for _ in range(n_threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(HANG)
    if any(thread.is_alive() for thread in crew):
        errors.append("a call hangs")
    return len(results), errors


FULL = "an evaluation could not be recorded: {} (free some space, or use another directory); the {} evaluations"


def test_a_full_disk_is_one_clear_error_for_every_worker_and_the_records_stay(tmp_path):
    """RLIMIT_FSIZE stands for the disk: no file may grow beyond 40 kB, and the journal is the first that wants to."""

    def work():
        with Simulator(Fails(), n_workers=4, directory=tmp_path, overhead=NONE) as simulator:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
            outcome = all_calls(simulator, 4, ({"x": 2 + x} for x in range(1000)))
            late = all_calls(simulator, 1, [{"x": 0}])
            return outcome, late, simulator.progress()["recorded"]

    (n_results, errors), (_, late), n_recorded = in_a_child(work)
    message = "RunDirectoryError: " + FULL.format(os.strerror(errno.EFBIG), n_recorded)
    assert len(errors) == 4
    assert all(error.startswith(message) for error in [*errors, *late]), errors
    assert 50 < n_recorded < 1000
    assert n_results == n_recorded
    assert len(journal.read(tmp_path / "journal")) == n_recorded
    is_intact(tmp_path, n_recorded)
    assert len(read_run(tmp_path)) == n_recorded


def test_a_run_that_cannot_be_created_for_want_of_space_can_be_created_later(tmp_path):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        try:
            Simulator(Fails(), n_workers=4, directory=tmp_path, overhead=NONE)
        except RunDirectoryError as error:
            message = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with Simulator(Fails(), n_workers=4, directory=tmp_path, overhead=NONE, max_evaluations=8) as simulator:
            return message, all_calls(simulator, 4, [{"x": 2}] * 8)

    message, outcome = in_a_child(work)
    assert message == (
        f"cannot create the run in {tmp_path}: {os.strerror(errno.EFBIG)} (free some space, or use another directory)"
    )
    assert outcome == [8, []]
    is_intact(tmp_path, 8)


def test_a_full_disk_does_not_leave_half_a_trace(tmp_path):
    def work():
        with Simulator(Fails(), n_workers=1, directory=tmp_path, overhead=NONE) as simulator:
            simulator({"x": 0})
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            try:
                simulator.finish()
            except RunDirectoryError as error:
                return str(error)
            return "it was written"

    message = in_a_child(work)
    assert message.startswith(f"cannot write the trace in {tmp_path}: ")
    assert "free some space" in message
    assert not list(tmp_path.glob("*parquet*"))
    is_intact(tmp_path, 1)


def test_ask_and_tell_on_a_full_disk_is_a_clear_error(tmp_path):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        outcomes = []
        for optimizer in (Scripted(queries((0, None))), Breaks(queries(*((0, None) for _ in range(4))))):
            try:
                simulate(optimizer, Fails(), n_workers=1, directory=tmp_path, overhead=NONE)
            except Exception as error:  # noqa: BLE001 - looked at by the test
                outcomes.append([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        return outcomes

    (first,), (second, note) = in_a_child(work)
    assert first == (
        f"RunDirectoryError: cannot write the trace in {tmp_path}: {os.strerror(errno.EFBIG)} "
        "(free some space, or use another directory)"
    )
    assert second == "RuntimeError: the surrogate is singular"
    assert note.startswith(f"the 4 evaluations delivered so far could not be written to {tmp_path / 'trace.parquet'}: ")


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a file system of a given size; it is gone after the test."""
    mounts = []

    def mount(size):
        place = tmp_path / f"disk{len(mounts)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
        mounts.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    yield mount
    for place in mounts:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("continual", [False, True])
def test_a_small_disk_that_fills_up_is_one_clear_error_for_every_worker(mounted, continual):
    """A file system of 256 kB. With continual it is the ledger's second file, of 128 kB, that has no room first."""
    disk = mounted("256k")
    with Simulator(Fails(), n_workers=4, directory=disk / "run", overhead=NONE, continual=continual) as simulator:
        n_results, errors = all_calls(simulator, 4, ({"x": 2 + x} for x in range(3000)))
        n_recorded = simulator.progress()["recorded"]
        assert len(errors) == 4
        assert any(FULL.format(os.strerror(errno.ENOSPC), n_recorded) in error for error in errors), errors
        assert all(os.strerror(errno.ENOSPC) in error for error in errors), errors
        assert n_results == n_recorded
        assert n_recorded > 200
        is_intact(disk / "run", n_recorded)


def test_a_disk_without_room_for_the_table_is_found_when_the_run_is_created(mounted):
    """The kernel kills who writes a mapped page for which there is no room; so room is made before."""
    disk = mounted("64k")
    with pytest.raises(RunDirectoryError, match=r"cannot create the run in .*: No space left on device \(free"):
        Simulator(Fails(), n_workers=64, directory=disk / "run", overhead=NONE)


# -- directories that cannot be used
# -----------------------------------------------------------------------------------------


def as_nobody(work):
    """Run `work()` in a child without the rights of the superuser."""
    if os.getuid() != 0:
        return work()

    def child():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return work()

    return in_a_child(child)


@pytest.fixture
def open_path(tmp_path):
    """Return a folder of which everybody may look at the inside."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def message_of(attempt):
    try:
        attempt()
    except RunDirectoryError as error:
        return str(error)
    return "nothing was raised"


def test_a_directory_that_one_may_not_write_to_is_refused(open_path):
    folder = open_path / "locked"
    folder.mkdir(mode=0o555)

    def refusals(place):
        return [
            message_of(lambda: Simulator(Fails(), n_workers=1, directory=place)),
            message_of(lambda: simulate(Scripted([]), Fails(), n_workers=1, directory=place)),
        ]

    def work():
        return refusals(folder) + refusals(folder / "new")

    denied = f"{os.strerror(errno.EACCES)} (choose a directory that you may write to)"
    assert as_nobody(work) == [
        f"cannot create the run in {folder}: {denied}",
        f"cannot write the trace in {folder}: {denied}",
        f"cannot create the run in {folder / 'new'}: {denied}",
        f"cannot write the trace in {folder / 'new'}: {denied}",
    ]
    assert list(folder.iterdir()) == []


def test_somebody_elses_run_can_be_read_and_checked_but_not_joined(open_path):
    folder = open_path / "run"
    with Simulator(Fails(), n_workers=1, directory=folder, overhead=NONE, max_evaluations=1) as simulator:
        simulator({"x": 0})
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)

    def work():
        joined = message_of(lambda: Simulator(Fails(), n_workers=1, directory=folder, overhead=NONE, max_evaluations=1))
        return joined, len(read_run(folder)), len(check(folder).violations)

    message, n_rows, n_violations = as_nobody(work)
    assert message.endswith("Permission denied (choose a directory that you may write to)")
    assert (n_rows, n_violations) == (1, 0)


def test_a_file_system_that_is_read_only_is_refused_and_can_be_checked(mounted):
    disk = mounted("256k")

    def work():  # in a process of its own, because a mapped file keeps the file system busy
        Simulator(Fails(), n_workers=1, directory=disk / "run", overhead=NONE)({"x": 0})

    in_a_child(work)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    read_only = f"{os.strerror(errno.EROFS)} (choose a directory that you may write to)"
    assert message_of(lambda: Simulator(Fails(), n_workers=1, directory=disk / "run", overhead=NONE)) == (
        f"cannot create the run in {disk / 'run'}: {read_only}"
    )
    assert message_of(lambda: Simulator(Fails(), n_workers=1, directory=disk / "new", overhead=NONE)) == (
        f"cannot create the run in {disk / 'new'}: {read_only}"
    )
    is_intact(disk / "run", 1)
    assert read_run(disk / "run")["end"].tolist() == [5.0]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirectoryError, match=f"cannot create the run in {tmp_path / 'run'}: File exists"):
        Simulator(Fails(), n_workers=1, directory=tmp_path / "run")


@pytest.fixture
def finished(tmp_path):
    """Return the directory of a run that is over, and how to join it."""
    directory = tmp_path / "run"

    def join():
        return Simulator(Fails(), n_workers=2, directory=directory, overhead=NONE, continual=True, max_evaluations=4)

    with join() as simulator:
        assert all_calls(simulator, 2, [{"x": 2}] * 4) == (4, [])
    return directory, join


def test_a_run_of_another_format_is_refused_by_its_number(finished):
    directory, join = finished
    path = directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(RunDirectoryError) as caught:
        join()
    assert str(caught.value) == (
        f"{directory} was written in format 2; this version of zerowait uses format 1. "
        "Use another directory, or the version of zerowait that wrote it"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1', "\x00" * 100])
def test_a_damaged_specification_is_refused(finished, content):
    directory, join = finished
    (directory / "run.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"run\.json cannot be read|was written in format None"):
        join()
    with pytest.raises(RunDirectoryError):
        read_run(directory)


DAMAGES = {
    "empty": b"",
    "too short": b"zerowait",
    "zeros": None,
    "too long": bytes(100_000),
}


@pytest.mark.parametrize("shared_directory", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_of_slots_is_refused_and_the_records_can_be_read(tmp_path, damage, shared_directory):
    def join():
        return Simulator(
            Fails(), n_workers=2, directory=tmp_path, overhead=NONE, max_evaluations=4,
            shared_directory=shared_directory,
        )  # fmt: skip

    with join() as simulator:
        assert all_calls(simulator, 2, [{"x": 2}] * 4) == (4, [])
    slots = tmp_path / "slots"
    slots.write_bytes(bytes(slots.stat().st_size) if DAMAGES[damage] is None else DAMAGES[damage])
    with pytest.raises(RunDirectoryError, match=r"slots .*: it is damaged"):
        join()
    assert read_run(tmp_path)["end"].tolist() == [5.0, 5.0, 10.0, 10.0]


@pytest.mark.parametrize("name", ["slots", "journal"])
def test_a_missing_file_is_named_when_the_run_is_joined(finished, name):
    directory, join = finished
    (directory / name).unlink()
    with pytest.raises(RunDirectoryError, match=f"cannot open the run in {directory}: No such file or directory"):
        join()


@pytest.mark.parametrize(
    "name", ["slots", "journal", "run.json", pytest.param("ledger.0", marks=needs_one_host), "wake", "members"]
)
def test_a_directory_that_loses_a_file_while_workers_wait_is_an_error_and_no_hang(tmp_path, name):
    """Three threads wait for the fourth, which removes a part of the directory while it evaluates and then goes on.

    What a process has open stays; what it has to open is missing. Whichever it is: every call ends, by its result or
    by a clear error.
    """
    directory = tmp_path / "run"

    def objective(config):
        if config["x"] == 3:
            path = directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return Evaluation(0.0, 1.0)

    simulator = Simulator(
        objective, n_workers=4, directory=directory, overhead=NONE, continual=True, max_evaluations=8,
        idle=Idle(after=0.1),
    )  # fmt: skip
    n_results, errors = all_calls(simulator, 4, ({"x": x} for x in range(8)))
    assert n_results == 8 or errors
    assert "a call hangs" not in errors
    assert all(error.startswith(("RunDirectoryError: ", "WorkerDied: ", "BudgetExhausted: ")) for error in errors)
