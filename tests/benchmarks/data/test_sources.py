"""Fetching and verifying data, from a real server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_server import FileServer, Served

from zerowait.benchmarks.data import download as downloading
from zerowait.benchmarks.data import fetching
from zerowait.benchmarks.data.errors import DataMissingError, FetchFailedError
from zerowait.benchmarks.data.sources import DATA_SETS, DataSet, Download, data_folder, data_set
from zerowait.benchmarks.data.verification import MANIFEST, problems
from zerowait.benchmarks.tables import packaged
from zerowait.suite.rules.errors import SpecificationError

REAL = os.environ.get("ZEROWAIT_DATA", "")  # before the fixture below puts another in its place
ONE, TWO = random.Random(0).randbytes(100_000), b'{"two": 2}'
FILES = {"a/one.bin": ONE, "two.json": TWO}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    place = tmp_path / "data"
    monkeypatch.setenv("ZEROWAIT_DATA", str(place))
    monkeypatch.setattr(downloading, "PAUSE_SECONDS", 0.0)
    return place


@pytest.fixture
def server():
    with FileServer().serving() as running:
        yield running


def tar_of(files, mode="w:gz", prefix=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files, prefix=""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return buffer.getvalue()


def made(server, downloads, **also):
    """Return a data set `some` with the files `FILES`, fetched from the server."""
    fields = {
        "name": "some", "description": "d", "benchmarks": ("b",), "files": tuple(FILES), "licence": "l", "source": "s",
        "size": "z", "downloads": tuple(downloads), "folder": "some", "inner": "inner/most",
    }  # fmt: skip
    del server
    return DataSet(**{**fields, **also})


@pytest.fixture
def archived(server):
    """Return a data set that comes as one archive, and the server's entry for it."""
    server.files["/x"] = Served(tar_of(FILES))
    return made(server, [Download(f"{server.url}/x", "some.tar.gz", archive=True)]), server.files["/x"]


@pytest.fixture
def plain(server):
    """Return a data set that comes file by file, with known digests."""
    for name, content in FILES.items():
        server.files[f"/{name}"] = Served(content)
    return made(
        server,
        [
            Download(f"{server.url}/{name}", name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in FILES.items()
        ],
    )


def content_of(wanted):
    return {name: (wanted.place / name).read_bytes() for name in wanted.files}


def failure(wanted, **options):
    with pytest.raises(FetchFailedError) as caught:
        fetching.fetch(wanted, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("some: ") or "data folder" in message
    return message


def rest_of(folder):
    """Return what lies in the data folder beside the data and the locks."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


# -- fetching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("prefix", ["", "most/", "./deep/inner/most/"])
def test_an_archive_is_fetched_unpacked_and_put_in_place_however_deep_its_files_lie(
    archived, folder, server, make, prefix
):
    wanted, served = archived
    served.content = make(FILES, prefix=prefix)
    steps = []
    assert wanted.missing() == list(FILES)
    assert fetching.fetch(wanted, report=lambda what, *_: steps.append(what)) is True
    assert content_of(wanted) == FILES
    assert list(dict.fromkeys(steps)) == ["download some.tar.gz", "unpack some.tar.gz"]
    assert rest_of(folder) == ["some/.zerowait.json", "some/inner/most/a/one.bin", "some/inner/most/two.json"]
    assert wanted.missing() == []
    assert problems(wanted) == []
    # Nothing is asked for again.
    assert fetching.fetch(wanted) is False
    assert len(server.requests) == 1


def test_plain_files_are_fetched_and_only_those_that_are_missing(plain, folder, server):
    assert fetching.fetch(plain) is True
    assert content_of(plain) == FILES
    (plain.place / "two.json").write_bytes(b"torn")  # its size is wrong
    (plain.home / "notes.txt").write_text("mine")
    server.requests.clear()
    assert fetching.fetch(plain) is True
    assert content_of(plain) == FILES
    assert [path for path, *_ in server.requests] == ["/two.json"]
    assert (plain.home / "notes.txt").read_text() == "mine"
    assert set(json.loads((plain.home / MANIFEST).read_text())["files"]) == {f"inner/most/{name}" for name in FILES}
    assert problems(plain) == []


def test_an_archive_that_a_person_has_put_there_needs_no_connection(archived, server):
    wanted, served = archived
    wanted.waiting.mkdir(parents=True)
    (wanted.waiting / "some.tar.gz").write_bytes(served.content)
    assert fetching.fetch(wanted) is True
    assert content_of(wanted) == FILES
    assert server.requests == []


def test_a_wrong_file_that_a_person_has_put_there_is_refused(plain):
    (plain.waiting / "a").mkdir(parents=True)
    (plain.waiting / "a/one.bin").write_bytes(ONE[:-1])
    assert f"{plain.waiting / 'a/one.bin'} is not the file from" in (message := failure(plain))
    assert "it has 99,999 bytes and must have 100,000; remove it" in message


def test_a_failure_says_what_to_download_and_where_to_put_it(archived, server):
    wanted, served = archived
    served.status = 404
    assert failure(wanted) == (
        f"some: {server.url}/x cannot be fetched: the server answers 404 Not Found; download it by hand, "
        f"save it as {wanted.waiting / 'some.tar.gz'}, and run again: zerowait data fetch some"
    )


def test_a_failure_names_all_files_that_are_needed(plain, server):
    server.files.clear()
    assert f"likewise two.json of the same source into {plain.waiting}" in failure(plain)


def test_a_mirror_has_the_same_files_under_the_name_of_the_data(plain, archived, server):
    for name, content in FILES.items():
        server.files[f"/mirror/some/{name}"] = Served(content)
    fetching.fetch(plain, mirror=f"{server.url}/mirror/")
    assert content_of(plain) == FILES
    assert all(path.startswith("/mirror/some/") for path, *_ in server.requests)
    other = replace(archived[0], folder="other")
    message = failure(other, mirror=f"{server.url}/mirror")
    assert f"{server.url}/mirror/some/some.tar.gz cannot be fetched: the server answers 404" in message
    assert f"; download {server.url}/x by hand" in message


def test_a_corrupted_file_is_refused_and_fetched_anew_next_time(plain, server):
    server.files["/a/one.bin"].content = ONE[::-1]
    assert "what arrived is not the file: its SHA-256 is " in failure(plain)
    assert not plain.home.exists()
    server.files["/a/one.bin"] = Served(ONE)
    fetching.fetch(plain)
    assert content_of(plain) == FILES


@pytest.mark.parametrize("n", [50, 50_000])
def test_a_torn_archive_is_told_and_nothing_is_put_in_place(archived, n):
    wanted, served = archived
    whole = served.content
    served.content = whole[:n]  # the server itself has no more
    assert "is not a whole archive" in (message := failure(wanted))
    assert "remove it and run again: zerowait data fetch some" in message
    assert not wanted.home.exists()
    served.content = whole
    (wanted.waiting / "some.tar.gz").unlink()
    fetching.fetch(wanted)
    assert content_of(wanted) == FILES


def test_an_archive_without_the_files_is_told(archived):
    wanted, served = archived
    served.content = tar_of({"a/one.bin": ONE, "b/two.json": TWO})
    assert "does not hold all of a/one.bin, two.json" in failure(wanted)
    assert not wanted.home.exists()


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_an_archive_that_tries_to_leave_its_folder_is_refused_and_leaves_nothing(archived, folder, make):
    wanted, served = archived
    served.content = make({**FILES, "../../../outside": b"evil"})
    message = failure(wanted)
    assert "is refused: its entry '../../../outside' would lead out of the folder" in message
    assert rest_of(folder.parent / "data") == ["downloads/some/some.tar.gz"]
    assert not (folder.parent / "outside").exists()
    assert not wanted.home.exists()


def test_a_process_that_is_killed_while_it_unpacks_leaves_nothing_that_looks_whole(archived, folder):
    wanted, _ = archived
    code = (
        "import os, signal, sys\n"
        "from zerowait.benchmarks.data import fetching\n"
        "from zerowait.benchmarks.data.sources import DataSet, Download\n"
        "def report(what, done, total):\n"
        "    if what.startswith('unpack'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"fetching.fetch({wanted!r}, report=report)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(folder.glob(".unpacking-some-*"))
    assert wanted.missing() == list(FILES)
    fetching.fetch(wanted)
    assert content_of(wanted) == FILES
    assert list(folder.glob(".unpacking-*")) == []


def test_two_that_fetch_at_once_fetch_once(archived, server):
    wanted, served = archived
    served.pause = 0.02
    code = (
        "from zerowait.benchmarks.data import fetching\n"
        "from zerowait.benchmarks.data.sources import DataSet, Download\n"
        f"print(fetching.fetch({wanted!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=300)[0] for process in both)
    assert said == ["False\n", "True\n"]
    assert len(server.requests) == 1
    assert content_of(wanted) == FILES


def test_two_threads_that_fetch_at_once_fetch_once(archived, server):
    wanted, served = archived
    served.pause = 0.005
    said = []
    threads = [threading.Thread(target=lambda: said.append(fetching.fetch(wanted))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [False, False, True]
    assert len(server.requests) == 1


def test_a_conversion_follows_each_fetch(archived, monkeypatch):
    wanted = replace(archived[0], convert="converters:convert")
    calls = []
    module = type(sys)("converters")
    module.convert = lambda report: (calls.append(content_of(wanted)), report("convert", 1, 1))
    monkeypatch.setitem(sys.modules, "converters", module)
    steps = []
    fetching.fetch(wanted, report=lambda what, *_: steps.append(what))
    fetching.fetch(wanted)
    assert calls == [FILES, FILES]
    assert steps[-1] == "convert"


def test_a_data_folder_that_cannot_be_made_is_told(archived, folder):
    folder.write_text("a file")
    message = failure(archived[0])
    assert f"the data folder {folder / 'downloads'} cannot be used: Not a directory" in message
    assert "set the environment variable ZEROWAIT_DATA to another folder" in message


# -- verifying --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_found(plain):
    fetching.fetch(plain)
    (plain.place / "two.json").unlink()
    assert problems(plain) == [f"{plain.place / 'two.json'}: is not there"]


def test_a_byte_that_changed_is_found_with_and_without_known_digests(plain, archived):
    for wanted in (plain, replace(archived[0], folder="other")):
        fetching.fetch(wanted)
        path = wanted.place / "a/one.bin"
        path.write_bytes(b"?" + ONE[1:])
        (problem,) = problems(wanted)
        assert problem.startswith(f"{path}: its SHA-256 is ")
        assert problem.endswith(f" and must be {hashlib.sha256(ONE).hexdigest()}")
        path.write_bytes(ONE[:-1])
        assert problems(wanted) == [f"{path}: it has 99,999 bytes and must have 100,000"]


def hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["x"] = np.arange(1000.0)


WRITERS = {
    "f.json": lambda path: path.write_text('{"a": [1, 2, 3, 4]}'),
    "f.pkl.gz": lambda path: path.write_bytes(gzip.compress(ONE)),
    "f.parquet.gzip": lambda path: pq.write_table(pa.table({"x": np.arange(10_000)}), path, compression="gzip"),
    "f.hdf5": hdf5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_a_person_has_put_there_is_read(server, name):
    wanted = made(server, [], files=(name,), inner=".")
    wanted.place.mkdir(parents=True)
    path = wanted.place / name
    WRITERS[name](path)
    assert problems(wanted) == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (problem,) = problems(wanted)
    assert problem.startswith(f"{path}: cannot be read: ")
    assert "\n" not in problem


def test_reading_a_pickle_does_not_open_it(server):
    wanted = made(server, [], files=("model.pkl.gz",), inner=".")
    wanted.place.mkdir(parents=True)
    # It would end the process.
    (wanted.place / "model.pkl.gz").write_bytes(gzip.compress(b"cos\n_exit\n(I9\ntR."))
    assert problems(wanted) == []


def test_a_damaged_manifest_is_told(plain):
    fetching.fetch(plain)
    (plain.home / MANIFEST).write_text('{"files": {"a": 3}}')
    (problem,) = problems(plain)
    assert problem.startswith(f"{plain.home / MANIFEST}: cannot be read")


# -- the registry -----------------------------------------------------------------------------------------------------


def test_the_data_folder_is_that_of_the_environment_or_the_users(monkeypatch, folder):
    assert data_folder() == folder
    monkeypatch.delenv("ZEROWAIT_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "share"))
    assert data_folder() == folder / "share" / "zerowait"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SpecificationError, match="'lcbanch' is unknown; it must be one of: lcbench, "):
        data_set("lcbanch")


@pytest.mark.parametrize("known", DATA_SETS, ids=lambda known: known.name)
def test_every_data_set_says_where_it_comes_from(known):
    assert known.files
    assert known.downloads
    assert all([known.description, known.licence, known.source, known.size, known.benchmarks])
    assert all(one.url.startswith(("https://", "http://")) for one in known.downloads)
    assert len({one.path for one in known.downloads}) == len(known.downloads)
    assert all(one.archive or one.path in known.files for one in known.downloads)
    absent = replace(known, package=None)  # which may be installed
    assert absent.missing_reason().endswith(f"get the data with: zerowait data fetch {known.name}")
    with pytest.raises(DataMissingError):
        absent.check()


@pytest.mark.parametrize("name", ["lcbench", "yahpo"])
def test_the_digests_are_those_of_the_real_files(name, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_DATA", REAL)
    if data_set(name).missing():
        pytest.skip(f"{data_set(name).missing_reason()}")
    assert problems(data_set(name)) == []


def test_the_package_is_examined_table_by_table(monkeypatch):
    assert packaged.missing() is None
    everything = packaged.files()
    assert len(everything) == 8 + 4 + 3
    small = everything[-1]
    monkeypatch.setattr(packaged, "files", lambda: [small])
    assert packaged.problems() == []
    monkeypatch.setattr(packaged, "files", lambda: [replace(small, digest="0" * 32)])
    with pytest.warns(RuntimeWarning, match="it is converted again"):
        (problem,) = packaged.problems()
    assert "its numbers are not those of version 0.2.0" in problem
