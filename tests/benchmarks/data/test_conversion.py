"""Conversions of official files: once, whole or not at all, and again when the file is another one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zerowait.benchmarks import DamagedDataError, DataMissingError
from zerowait.benchmarks.data.conversion import Conversion, ensure, forget, new_array, open_array, stored

# A conversion of text files with one number in a line; every conversion leaves a line in the file "log".
MODULE = """
import os, sys, time
from pathlib import Path
import numpy as np
from zerowait.benchmarks.data.conversion import Conversion, ensure, new_array, open_array

def write(source, folder, advance):
    with open(source.with_name("log"), "a") as log:
        log.write(f"{os.getpid()}\\n")
    array = new_array(folder / "numbers.npy", (4,), np.float64)
    for i, line in enumerate(source.read_text().split()):
        array[i] = float(line)
        advance(1)
        time.sleep(float(os.environ.get("PAUSE", "0")))
    array.flush()

CONVERSION = Conversion("numbers-v1", 4, write, "zerowait data fetch numbers")

def numbers(source):
    return open_array(ensure(CONVERSION, source) / "numbers.npy", (4,)).tolist()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the module above, a source and a log; the cache beside it."""
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "numbers_format.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "source").write_text("1 2 3 4")
    yield tmp_path
    sys.modules.pop("numbers_format", None)


def conversions(place):
    log = place / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def kept(place):
    return sorted(path.name for path in (place / "cache" / "official").iterdir())


def code(place):
    return f"import sys; sys.path.insert(0, {str(place)!r}); from numbers_format import *\n"


def test_a_file_is_converted_once_and_found_by_its_record(place):
    import numbers_format as module

    source = place / "source"
    assert [module.numbers(source) for _ in range(3)] == [[1.0, 2.0, 3.0, 4.0]] * 3
    assert conversions(place) == 1
    record, folder = json.loads((place / "cache" / "official" / "numbers-v1.json").read_text()), kept(place)[0]
    # sha256sum of "1 2 3 4"
    assert record["sha256"] == "e1c6f278f4f370d2c33d1fbad1d8adb6c53acbbce6a19b84222e7cfbfb0fd9fb"
    assert kept(place) == [f"numbers-v1-{record['sha256'][:16]}", "numbers-v1.json", "numbers-v1.lock"]
    assert stored(module.CONVERSION).name == folder == record["folder"]


def test_another_file_of_the_same_size_and_time_is_converted_again_and_the_old_arrays_go(place):
    import numbers_format as module

    source = place / "source"
    first = open_array(ensure(module.CONVERSION, source) / "numbers.npy", (4,))
    times = source.stat()
    source.write_text("5 6 7 8")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert module.numbers(source) == [5.0, 6.0, 7.0, 8.0]
    assert first.tolist() == [1.0, 2.0, 3.0, 4.0]  # who has mapped the old arrays keeps them
    assert (conversions(place), len(kept(place))) == (2, 3)


def test_the_same_file_in_another_place_is_not_converted_again(place):
    import numbers_format as module

    module.numbers(place / "source")
    (place / "moved").write_text("1 2 3 4")
    assert module.numbers(place / "moved") == module.numbers(place / "moved") == [1.0, 2.0, 3.0, 4.0]
    assert conversions(place) == 1


def test_eight_processes_convert_once_and_all_get_the_same(place):
    line = code(place) + "from pathlib import Path; print(numbers(Path(sys.argv[1])))"
    environment = {**os.environ, "PAUSE": "0.1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", line, place / "source"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )
        for _ in range(8)
    ]  # fmt: skip
    answers = [process.communicate(timeout=300) for process in started]
    assert answers == [("[1.0, 2.0, 3.0, 4.0]\n", "")] * 8
    assert (conversions(place), len(kept(place))) == (1, 3)


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_broken(place):
    import numbers_format as module

    line = code(place) + "from pathlib import Path; print(numbers(Path(sys.argv[1])))"
    environment = {**os.environ, "PAUSE": "60"}
    process = subprocess.Popen([sys.executable, "-c", line, place / "source"], env=environment)
    deadline = time.monotonic() + 300
    while not list((place / "cache").rglob("numbers.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert stored(module.CONVERSION) is None
    assert [name.startswith(".numbers-v1-") for name in kept(place)] == [True, False]
    assert module.numbers(place / "source") == [1.0, 2.0, 3.0, 4.0]
    assert len(kept(place)) == 3  # what was left is gone


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"folder": "../..", "sha256": "", "size": 0}'])
def test_a_record_that_says_nothing_is_as_none(place, text):
    import numbers_format as module

    module.numbers(place / "source")
    module.CONVERSION.record.write_text(text)
    assert stored(module.CONVERSION) is None
    assert module.numbers(place / "source") == [1.0, 2.0, 3.0, 4.0]
    assert (conversions(place), len(kept(place))) == (2, 3)


def test_a_folder_outside_of_the_cache_is_never_taken(place):
    import numbers_format as module

    module.numbers(place / "source")
    record = json.loads(module.CONVERSION.record.read_text())
    for folder in ("..", "/", "../official", ".", "", "numbers-v1-/..", 3):
        module.CONVERSION.record.write_text(json.dumps({**record, "folder": folder}))
        assert stored(module.CONVERSION) is None


def test_a_source_that_changes_meanwhile_is_refused(place):
    def write(source, folder, advance):
        new_array(folder / "numbers.npy", (4,), np.float64)
        source.write_text("9 9 9 9 9")

    with pytest.raises(DamagedDataError, match=r"source was changed while it was being converted; .*: THE COMMAND"):
        ensure(Conversion("numbers-v1", 4, write, "THE COMMAND"), place / "source")
    assert kept(place) == ["numbers-v1.lock"]


def test_a_full_disk_is_named_and_leaves_nothing(place, monkeypatch):
    import numbers_format as module

    def full(descriptor, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zerowait.benchmarks.data.conversion.allocate", full)
    with pytest.raises(DataMissingError, match=r"No space left on device; set the environment variable ZEROWAIT_CACHE"):
        module.numbers(place / "source")
    assert kept(place) == ["numbers-v1.lock"]


def test_a_source_that_is_not_there_is_named(place):
    import numbers_format as module

    with pytest.raises(DataMissingError, match=r"nothing cannot be read: No such file or directory"):
        module.numbers(place / "nothing")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
        lambda path: np.save(path, np.zeros(3)),
        lambda path: np.save(path, np.zeros(4, dtype=int)),
    ],
)
def test_a_damaged_array_is_refused_and_can_be_made_again(place, damage):
    import numbers_format as module

    folder = ensure(module.CONVERSION, place / "source")
    damage(folder / "numbers.npy")
    with pytest.raises(DamagedDataError, match=r"the converted array .*numbers\.npy (is damaged|has the shape)"):
        module.numbers(place / "source")
    forget(module.CONVERSION)
    assert module.numbers(place / "source") == [1.0, 2.0, 3.0, 4.0]


def test_arrays_are_mapped_and_cannot_be_written(place):
    import numbers_format as module

    array = open_array(ensure(module.CONVERSION, place / "source") / "numbers.npy", (4,))
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


def test_a_report_hears_every_step(place):
    import numbers_format as module

    heard = []
    ensure(module.CONVERSION, place / "source", lambda *what: heard.append(what))
    assert heard == [("convert source", done, 4) for done in (1, 2, 3, 4)]


def test_a_bar_is_drawn_on_a_terminal_only(place):
    line = code(place) + "from pathlib import Path; numbers(Path(sys.argv[1]))"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PAUSE": "0.1", "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen([sys.executable, "-c", line, place / "source"], stderr=theirs, env=environment)
    process.wait()
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "convert source" in drawn
    assert "100%" in drawn


def test_without_locks_several_convert_and_all_get_the_same(place, monkeypatch):
    import errno
    import fcntl

    import numbers_format as module

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    def write(source, folder, advance):
        # Meanwhile another process converts the same file.
        if not list(Path(place / "cache").rglob("numbers.npy")):
            assert module.numbers(source) == [1.0, 2.0, 3.0, 4.0]
        module.write(source, folder, advance)

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = ensure(Conversion("numbers-v1", 4, write, ""), place / "source")
    assert open_array(folder / "numbers.npy", (4,)).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (conversions(place), len(kept(place))) == (2, 3)
