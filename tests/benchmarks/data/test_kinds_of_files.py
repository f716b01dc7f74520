"""Whatever is opened is a regular file: a FIFO keeps nobody waiting, and nothing is written through a link."""

from __future__ import annotations

import http.server
import os
import threading

import numpy as np
import pytest

from zerowait.benchmarks.data.cache import one_at_a_time
from zerowait.benchmarks.data.content import file_digest
from zerowait.benchmarks.data.conversion import Conversion, ensure, open_array
from zerowait.benchmarks.data.download import digest, download, git_blob, partial
from zerowait.benchmarks.data.errors import DataMissingError, FetchFailedError
from zerowait.benchmarks.data.plain_pickle import read_plain_pickle
from zerowait.benchmarks.data.verification import MANIFEST, read_manifest
from zerowait.benchmarks.surrogates.surrogate_space import read_space


def fifo(path):
    os.mkfifo(path)
    return path


def link(path):
    path.with_name("target").write_bytes(b"precious")
    path.symlink_to("target")
    return path


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "read", [file_digest, digest, git_blob, read_plain_pickle, read_space, lambda path: open_array(path, (1,))],
    ids=["content", "digest", "git blob", "pickle", "space", "array"],
)  # fmt: skip
def test_a_fifo_in_the_place_of_data_is_refused_at_once(tmp_path, read):
    with pytest.raises((OSError, DataMissingError), match="no regular file"):
        read(fifo(tmp_path / "file"))


def test_data_may_be_a_link_of_its_owner_and_what_zerowait_made_is_none(tmp_path):
    assert digest(link(tmp_path / "file")) == digest(tmp_path / "target")
    np.save(tmp_path / "real.npy", np.zeros(1))
    (tmp_path / "array.npy").symlink_to("real.npy")
    assert open_array(tmp_path / "real.npy", (1,)).tolist() == [0.0]
    with pytest.raises(DataMissingError, match="is a link, which is not followed"):
        open_array(tmp_path / "array.npy", (1,))
    (tmp_path / MANIFEST).symlink_to("target")
    with pytest.raises(OSError, match="is a link"):
        read_manifest(tmp_path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [fifo, link])
def test_a_lock_or_a_record_that_is_something_else_is_refused(tmp_path, monkeypatch, make):
    with pytest.raises(DataMissingError, match=r"no regular file|is a link"), one_at_a_time(make(tmp_path / "lock")):
        pass
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    conversion = Conversion("mine", 1, lambda *_: None, "get it")
    conversion.record.parent.mkdir(parents=True)
    make(conversion.record)
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(DataMissingError, match=r"no regular file|is a link"):
        ensure(conversion, tmp_path / "source")


@pytest.fixture
def address():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"new")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", ["", ".json", ".json.tmp"])
def test_nothing_is_downloaded_through_a_link(tmp_path, address, suffix):
    target = tmp_path / "file"
    link(partial(target).with_name(partial(target).name + suffix))
    try:
        download(address, target)
    except (OSError, FetchFailedError) as error:
        assert "link" in str(error)  # noqa: PT017 - it may also go well, past the link
    assert (tmp_path / "target").read_bytes() == b"precious"
