"""Downloads from a real server on loopback: good, torn, corrupted, missing, slow; with and without ranges."""

from __future__ import annotations

import hashlib
import random
import resource
import subprocess
import sys
import threading

import pytest
from file_server import FileServer, Served

from zerowait.benchmarks.data import download as module
from zerowait.benchmarks.data.download import download, kept, partial
from zerowait.benchmarks.data.errors import FetchFailedError

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with FileServer().serving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.bin"


def failure(server, target, **options):
    with pytest.raises(FetchFailedError) as caught:
        download(f"{server.url}/file", target, **options)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    return str(caught.value)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None])
@pytest.mark.parametrize("states_length", [True, False])
def test_a_good_file_arrives_whole_and_nothing_else_stays(server, target, ranges, etag, states_length):
    server.files["/file"] = Served(CONTENT, ranges=ranges, etag=etag, states_length=states_length)
    seen = []
    download(f"{server.url}/file", target, size=len(CONTENT), sha256=SHA256, report=lambda *how: seen.append(how))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert seen[0][0] == 0
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_an_empty_file_is_a_file(server, target):
    server.files["/file"] = Served(b"")
    download(f"{server.url}/file", target)
    assert target.read_bytes() == b""


def test_a_torn_connection_is_taken_up_again_where_it_broke(server, target):
    server.files["/file"] = Served(CONTENT, cut=[100_000, 50_000])
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests == [
        ("/file", None, None), ("/file", "bytes=100000-", '"1"'), ("/file", "bytes=150000-", '"1"'),
    ]  # fmt: skip


def test_without_ranges_a_torn_file_is_fetched_anew(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, cut=[100_000])
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_connection_that_always_breaks_is_given_up_and_what_arrived_is_kept(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, always_cut=100_000)
    message = failure(server, target)
    assert "broke off again and again" in message
    assert "100,000 bytes are kept, and the next fetch goes on from there" in message
    assert len(server.requests) == 4  # one that brought something, three that brought no more
    assert partial(target).read_bytes() == CONTENT[:100_000]
    # The next call goes on from there, now that the server can.
    server.files["/file"] = Served(CONTENT)
    server.requests.clear()
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=100000-", '"1"')]


def test_a_slow_line_that_brings_a_little_each_time_is_not_given_up(server, target):
    server.files["/file"] = Served(CONTENT, always_cut=30_000)
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 10


def test_a_file_that_changed_between_two_calls_is_fetched_anew(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, always_cut=100_000)
    failure(server, target)
    changed = CONTENT[::-1]
    server.files["/file"] = Served(changed, etag='"2"')
    download(f"{server.url}/file", target)
    assert target.read_bytes() == changed


@pytest.mark.parametrize("other", [CONTENT[::-1] + b"more", CONTENT[:50_000]])
def test_without_a_version_only_the_size_tells_that_it_is_the_same_file(server, target, other):
    server.files["/file"] = Served(CONTENT, ranges=False, etag=None, always_cut=100_000)
    failure(server, target)
    server.files["/file"] = Served(other, etag=None)
    download(f"{server.url}/file", target)
    assert target.read_bytes() == other


def test_a_part_of_another_address_is_not_continued(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, always_cut=100_000)
    failure(server, target)
    server.files["/other"] = Served(CONTENT[::-1])
    download(f"{server.url}/other", target)
    assert target.read_bytes() == CONTENT[::-1]
    assert server.requests[-1] == ("/other", None, None)


def test_a_part_whose_note_is_lost_is_not_continued(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, always_cut=100_000)
    failure(server, target)
    target.with_name("file.bin.part.json").write_text("{")
    server.files["/file"] = Served(CONTENT)
    download(f"{server.url}/file", target)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("/file", None, None)


def test_a_part_that_is_whole_already_needs_no_connection(server, target):
    server.files["/file"] = Served(CONTENT, ranges=False, always_cut=100_000)
    failure(server, target)
    partial(target).write_bytes(CONTENT)
    server.requests.clear()
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests == []


def test_a_corrupted_file_is_refused_and_not_continued(server, target):
    server.files["/file"] = Served(CONTENT[:-1] + b"?")
    message = failure(server, target, sha256=SHA256)
    assert f"what arrived is not the file: its SHA-256 is {hashlib.sha256(CONTENT[:-1] + b'?').hexdigest()}" in message
    assert f"must be {SHA256}" in message
    assert kept(target) == 0


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server, target):
    server.files["/file"] = Served(CONTENT)
    assert "the server has a file of 300,000 bytes; it must have 5" in failure(server, target, size=5)
    assert kept(target) == 0


def test_a_torn_file_whose_length_nobody_states_is_found_by_its_size(server, target):
    server.files["/file"] = Served(CONTENT, states_length=False, always_cut=100_000, ranges=False)
    assert "broke off again and again (after 100,000 of 300,000 bytes)" in failure(server, target, size=len(CONTENT))


@pytest.mark.parametrize("status", [404, 403, 500])
def test_what_the_server_answers_is_told(server, target, status):
    server.files["/file"] = Served(CONTENT, status=status)
    assert f"the server answers {status} " in failure(server, target)


def test_a_server_that_says_nothing_is_given_up_in_time(server, target):
    server.files["/file"] = Served(CONTENT, pause=30.0)
    assert "does not answer in time" in failure(server, target, read_seconds=0.2)  # else it arrives after 30 s


def test_no_server_at_all_is_told_in_the_systems_words(server, target):
    server.shutdown()
    server.server_close()
    assert failure(server, target) == "no connection: Connection refused"


def test_a_full_disk_keeps_what_fitted_and_the_next_call_goes_on(server, target):
    server.files["/file"] = Served(CONTENT)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from zerowait.benchmarks.data.download import download\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", code, f"{server.url}/file", target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    # The kernel says so of a limit; of a full disk it says "No space left on device".
    assert f"{partial(target)} cannot be written: File too large, " in done.stderr
    here = kept(target)
    assert 0 < here <= 200_000
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("/file", f"bytes={here}-", '"1"')


def test_a_killed_download_is_taken_up_again(server, target):
    server.files["/file"] = Served(CONTENT, pause=0.05)
    code = "import sys; from pathlib import Path; from zerowait.benchmarks.data.download import download\n"
    code += "download(sys.argv[1], Path(sys.argv[2]), report=lambda done, total: print(done, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", code, f"{server.url}/file", target], stdout=subprocess.PIPE, text=True
    ) as process:
        watch = threading.Timer(60, process.kill)
        watch.start()
        while int(process.stdout.readline()) < 1:
            pass
        process.kill()
        watch.cancel()
    here = kept(target)
    server.files["/file"].pause = 0.0
    download(f"{server.url}/file", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    if here:
        assert server.requests[-1] == ("/file", f"bytes={here}-", '"1"')
