"""Many threads that wait in one process: each needs a descriptor, and the limit is raised or named."""

from __future__ import annotations

import errno
import faulthandler
import os
import resource
import threading
from multiprocessing import get_context
from pathlib import Path

import pytest
from crashes import HANG
from drivers import needs_one_host

from zerowait.suite import Evaluation, Overhead, Simulator
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.sharing import processes
from zerowait.suite.sharing.fd_limit import RESERVE, open_descriptor
from zerowait.suite.sharing.processes import cpu_times, this_process
from zerowait.suite.sharing.system import HAS_PROC

THREADS = 150


def in_a_child(work, soft, hard):
    """Return what `work()` returns in a process that may have so many files open."""
    receiving, sending = get_context("fork").Pipe(duplex=False)

    def main():
        faulthandler.dump_traceback_later(HANG / 2, file=2)  # so that a hang says where
        # What the tests before have left open would count.
        os.closerange(3, sending.fileno())
        os.closerange(sending.fileno() + 1, 1 << 16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sending.send(work())

    process = get_context("fork").Process(target=main)
    process.start()
    assert receiving.poll(HANG), "it hangs"
    process.join(HANG)
    return receiving.recv()


def call_from_many_threads(directory, on_worker_death):
    """Return how many calls came back, and the distinct messages of those that did not."""
    returned, messages = [], []
    with Simulator(
        lambda config: Evaluation(0.0, 1.0 + config["x"]), n_workers=THREADS, directory=directory,
        max_evaluations=THREADS, overhead=Overhead.none(), on_worker_death=on_worker_death,
    ) as simulator:  # fmt: skip

        def work(x):
            try:
                returned.append(simulator({"x": x}).end)
            except RunDirectoryError as error:
                messages.append(str(error))

        threads = [threading.Thread(target=work, args=(x,)) for x in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(returned), messages


@needs_one_host
def test_more_threads_than_the_soft_limit_has_descriptors_for_raise_it(tmp_path):
    def work():
        return call_from_many_threads(tmp_path, "raise"), resource.getrlimit(resource.RLIMIT_NOFILE)

    (returned, messages), (soft, hard) = in_a_child(work, 128, 2048)
    assert messages == []
    assert returned == [1.0 + x for x in range(THREADS)]
    assert 128 < soft <= hard == 2048


@needs_one_host
@pytest.mark.parametrize("on_worker_death", ["raise", "continue"])
def test_more_threads_than_the_hard_limit_has_descriptors_for_are_told_of_the_limit(tmp_path, on_worker_death):
    returned, messages = in_a_child(lambda: call_from_many_threads(tmp_path, on_worker_death), 128, 128)
    assert returned == []
    assert len(messages) == THREADS
    assert all(
        "Too many open files (this process may have 128 files open, and each thread that waits needs one; raise the "
        "limit (ulimit -n), or spread the threads over several processes)" in message
        for message in messages
    )


def test_a_reserve_stays_for_what_else_has_to_be_opened():
    def work():
        opened = []
        try:
            while True:
                opened.append(open_descriptor(Path(os.devnull), lambda path: os.open(path, os.O_RDONLY)))
        except OSError as error:
            return error.errno, max(opened)

    assert in_a_child(work, 64, 64) == (errno.EMFILE, 64 - RESERVE - 1)


@pytest.mark.skipif(not HAS_PROC, reason="there is no /proc, whose files need descriptors")
def test_processes_that_cannot_be_looked_at_are_not_taken_for_gone():
    """Otherwise nobody would seem to work when descriptors run out, and every free worker to be idle."""

    def work():
        processes.os.listdir = lambda _: names  # as if other threads had taken the last descriptors just now
        opened = []
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            with pytest.raises(OSError, match="Too many open files") as caught:
                cpu_times([process])
            return caught.value.errno

    process, names = this_process(), [path.name for path in Path("/proc").iterdir()]
    assert in_a_child(work, 64, 64) == errno.EMFILE
