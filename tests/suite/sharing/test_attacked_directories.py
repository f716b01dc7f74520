"""Nothing that was recorded is overwritten, and what is opened is what was made: no links, files are files.

Each case is a run of one caller in which somebody has changed the directory behind its back.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from drivers import PLACES, needs_one_host

from zerowait import Evaluation, Overhead, RunDirectoryError, Simulator
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS


def objective(config):
    return Evaluation(float(config["x"]), 1.0)


def long_objective(config):
    metrics = {f"metric {k} of many, so that it is spilled": 0.5 for k in range(200)}
    return Evaluation(float(config["x"]), 1.0, metrics)


def join(directory, objective=objective, *, n_workers=1, shared_directory=False, continual=True):
    return Simulator(
        objective, n_workers=n_workers, directory=directory, overhead=Overhead.none(), continual=continual,
        shared_directory=shared_directory,
    )  # fmt: skip


def use(directory, n=3, objective=objective, **keywords):
    with join(directory, objective, **keywords) as simulator:
        for x in range(n):
            simulator({"x": x})


def call_with_two_threads(directory, message):
    """Call until one thread has to wake or to wait for the other, which no FIFO serves."""
    with join(directory, n_workers=2) as simulator, ThreadPoolExecutor(2) as threads:
        errors = [call.exception() for call in [threads.submit(simulator, {"x": x}) for x in range(2)]]
    assert any(isinstance(error, RunDirectoryError) and message in str(error) for error in errors), errors


def lines(directory):
    return (directory / "journal").read_bytes().count(b"\n")


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def several(request):
    return request.param


def lose(path):
    path.unlink()


def dangle(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("how", [lose, dangle])
@pytest.mark.parametrize("finish", [False, True])
def test_a_run_that_has_lost_its_specification_is_not_overwritten(tmp_path, how, finish, several):
    run = tmp_path / "run"
    use(run, shared_directory=several)
    if finish:
        join(run, shared_directory=several).finish()
        (run / "journal").unlink()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    how(run / "run.json")
    with pytest.raises(RunDirectoryError, match=r"lost its run\.json|run\.json is a link"):
        use(run, shared_directory=several)
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert after == {name: content for name, content in before.items() if name != "run.json"}


def test_a_creation_that_was_killed_is_begun_anew(tmp_path, several):
    run = tmp_path / "run"
    use(run, n=0, shared_directory=several)
    (run / "run.json").unlink()
    use(run, shared_directory=several)
    assert lines(run) == 3


FILES = ["lock", "slots", "journal", "members", "run.json", "ledger.0", *([] if HAS_BYTE_LOCKS else ["lock.1"])]


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, name, several):
    run, precious = tmp_path / "run", tmp_path / "precious"
    use(run, shared_directory=several)
    if not (run / name).exists():
        pytest.skip("several hosts need no such file")
    shutil.copy(run / name, precious)
    content = precious.read_bytes()
    (run / name).unlink()
    (run / name).symlink_to(precious)
    with pytest.raises(RunDirectoryError, match="is a link, which is not followed"):
        use(run, shared_directory=several)
    assert precious.read_bytes() == content


@pytest.mark.parametrize("name", FILES)
def test_a_link_that_waits_for_a_new_run_is_not_followed(tmp_path, name, several):
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_bytes(b"precious")
    run.mkdir()
    (run / name).symlink_to(precious)
    try:
        use(run, shared_directory=several)
    except RunDirectoryError:
        pass
    else:  # a link that was removed, and a file made in its place, does no harm either
        assert not (run / name).is_symlink() or (several and name in ("lock", "ledger.0"))
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["wake", "spill"])
@pytest.mark.parametrize("before", [False, True])
def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path, name, before):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if before:
        run.mkdir()
    else:
        use(run)
        shutil.rmtree(run / name)
    (run / name).symlink_to(elsewhere)
    with pytest.raises(
        RunDirectoryError, match=f"{name} is a link, which is not followed|holds {name}, which it would"
    ):
        use(run)
    assert not list(elsewhere.iterdir())


@needs_one_host
def test_a_link_in_the_place_of_a_fifo_is_not_written_to(tmp_path):
    run, precious = tmp_path / "run", tmp_path / "precious"
    use(run, n_workers=2, n=0)
    precious.write_bytes(b"precious")
    for path in (run / "wake").iterdir():
        path.unlink()
        path.symlink_to(precious)
    call_with_two_threads(run, "is a link, which is not followed")
    assert precious.read_bytes() == b"precious"


@needs_one_host
def test_a_file_in_the_place_of_a_fifo_is_refused(tmp_path):
    run = tmp_path / "run"
    use(run, n_workers=2, n=0)
    for path in (run / "wake").iterdir():
        path.unlink()
        path.write_bytes(b"")
    call_with_two_threads(run, "is no FIFO")
    assert not any(path.read_bytes() for path in (run / "wake").iterdir())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FILES)
def test_a_fifo_in_the_place_of_a_file_hangs_nobody(tmp_path, name, several):
    run = tmp_path / "run"
    use(run, shared_directory=several)
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    if several and name == "ledger.0":
        pytest.skip("several hosts need no such file")
    with pytest.raises(RunDirectoryError, match="is no regular file"):
        use(run, shared_directory=several)


def test_a_link_in_the_place_of_an_overflow_file_is_not_written_to(tmp_path):
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_bytes(b"precious")
    use(run, n=0)
    (run / "spill" / "0").symlink_to(precious)
    with pytest.raises(RunDirectoryError, match="is a link, which is not followed"):
        use(run, objective=long_objective)
    assert precious.read_bytes() == b"precious"


def test_a_link_in_the_place_of_a_temporary_file_is_not_written_to(tmp_path):
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_bytes(b"precious")
    use(run)
    for name in ("trace.parquet", "trace.measured.json", "run.json"):
        (run / f".{name}.{os.getpid()}.tmp").symlink_to(precious)
    with join(run) as simulator:
        simulator.finish()
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"one two", b"1", b"1 x"])
def test_a_damaged_list_of_participants_is_one_line(tmp_path, content, several):
    run = tmp_path / "run"
    use(run, shared_directory=several)
    (run / "members").write_bytes(content)
    with pytest.raises(RunDirectoryError, match="members is damaged"):
        use(run, shared_directory=several)


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.99])
def test_a_journal_that_was_cut_is_said_by_whoever_reads_it(tmp_path, keep, several):
    run = tmp_path / "run"
    use(run, n=10, shared_directory=several)
    journal = (run / "journal").read_bytes()
    (run / "journal").write_bytes(journal[: int(len(journal) * keep)])
    message = r"holds \d of the 10 evaluations that the run has recorded: it was cut"
    with pytest.raises(RunDirectoryError, match=message):
        read_run(run)
    with join(run, shared_directory=several) as simulator:
        with pytest.raises(RunDirectoryError, match=message):
            simulator.trace()
        with pytest.raises(RunDirectoryError, match=message):
            simulator.finish()
    assert not (run / "trace.parquet").exists()
