"""The locks of a run in both kinds: on bytes, as Linux has them, and on whole files, as other systems have them too."""

from __future__ import annotations

import os
import signal
from functools import partial
from multiprocessing import get_context

import pytest

from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS, ByteLocks, FileLocks
from zerowait.suite.sharing.regular_files import open_regular

_fork = get_context("fork")


@pytest.fixture(params=["bytes", "files"] if HAS_BYTE_LOCKS else ["files"])
def opened(request, tmp_path):
    """Return a function that opens the locks anew, and gives them and what closes their files."""

    def connection():
        descriptors = []

        def keep(path, open_it):
            descriptors.append(open_it(path))
            return descriptors[-1]

        mutex = keep(tmp_path / "lock", partial(open_regular, flags=os.O_RDWR | os.O_CREAT))
        files = FileLocks(mutex, lambda n: tmp_path / f"lock.{n}", keep)
        return ByteLocks(mutex) if request.param == "bytes" else files, lambda: [os.close(d) for d in descriptors]

    return connection


def test_a_number_is_taken_until_its_files_are_closed_and_not_by_who_asks(opened):
    (first, close_first), (second, close_second), (_, close_third) = opened(), opened(), opened()
    assert first.take_number(2)
    assert [second.is_taken(n) for n in (1, 2, 3)] == [False, True, False]
    assert (second.is_any_taken(1), second.is_any_taken(2)) == (False, True)
    assert not second.take_number(2)
    close_third()  # another descriptor of the same files, whose end would drop locks of the process
    opened()[0].is_taken(2)
    assert second.is_taken(2)
    close_first()
    assert not second.is_taken(2)
    assert second.take_number(3)
    close_second()


def test_a_number_is_taken_until_its_process_is_killed(opened):
    receiving, sending = _fork.Pipe(duplex=False)

    def live():
        sending.send(opened()[0].take_number(1))
        signal.pause()

    process = _fork.Process(target=live)
    process.start()
    assert receiving.recv()
    locks, close = opened()
    assert locks.is_taken(1)
    process.kill()
    process.join()
    assert not locks.is_taken(1)
    close()


def test_one_connection_at_a_time_is_in_the_critical_section_even_of_one_process(opened, tmp_path):
    """Each adds its letter to what it has read; without the lock, letters of others would be lost."""
    text = tmp_path / "text"
    text.touch()

    def write(letter):
        locks, close = opened()
        for _ in range(50):
            locks.lock()
            text.write_text(text.read_text() + letter)
            locks.unlock()
        close()

    others = [_fork.Process(target=write, args=(letter,)) for letter in "ab"]
    for process in others:
        process.start()
    write("c")
    for process in others:
        process.join()
    assert sorted(text.read_text()) == sorted("abc" * 50)


def test_a_connection_that_is_killed_in_the_critical_section_lets_the_others_in(opened):
    receiving, sending = _fork.Pipe(duplex=False)

    def enter():
        opened()[0].lock()
        sending.send("inside")
        signal.pause()

    process = _fork.Process(target=enter)
    process.start()
    assert receiving.recv() == "inside"
    process.kill()
    process.join()
    locks, close = opened()
    locks.lock()
    locks.unlock()
    close()
