"""Archives are unpacked below their folder or not at all."""

from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile

import pytest

from zerowait.benchmarks.data.archives import unpack
from zerowait.benchmarks.data.errors import DamagedDataError, UnsafeArchiveError

CONTENT = random.Random(0).randbytes(50_000)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "outer" / "folder"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def make_tar(tmp_path):
    def make(*entries, mode="w"):
        """Write entries: a name with its bytes, or a `TarInfo`."""
        path = tmp_path / "some.tar"
        with tarfile.open(path, mode) as archive:
            for entry in entries:
                if isinstance(entry, tarfile.TarInfo):
                    archive.addfile(entry)
                else:
                    info = tarfile.TarInfo(entry[0])
                    info.size = len(entry[1])
                    archive.addfile(info, io.BytesIO(entry[1]))
        return path

    return make


@pytest.fixture
def make_zip(tmp_path):
    def make(*entries):
        """Write entries: a name or a `ZipInfo`, with its bytes."""
        path = tmp_path / "some.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return path

    return make


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def refusal(archive, folder, error=UnsafeArchiveError):
    outside = folder.parent
    with pytest.raises(error) as caught:
        unpack(archive, folder)
    assert [path.name for path in outside.iterdir()] == ["folder"]
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_whatever_its_compression(make_tar, folder, mode):
    seen = []
    archive = make_tar(special("a", tarfile.DIRTYPE), ("a/b/one", CONTENT), ("./two", b""), mode=mode)
    unpack(archive, folder, lambda *how: seen.append(how))
    assert (folder / "a/b/one").read_bytes() == CONTENT
    assert (folder / "two").read_bytes() == b""
    assert seen[-1][1] == archive.stat().st_size
    assert all(0 < done <= total for done, total in seen)


def test_a_zip_is_unpacked(make_zip, folder):
    unpack(make_zip(("a/", b""), ("a/b/one", CONTENT), ("two", b"")), folder)
    assert (folder / "a/b/one").read_bytes() == CONTENT
    assert (folder / "two").read_bytes() == b""


LEAVING = ["../outside", "a/../../outside", "/absolute/outside", "..", "a\\..\\..\\outside"]


@pytest.mark.parametrize("name", LEAVING)
def test_a_path_that_leaves_the_folder_is_refused(make_tar, make_zip, folder, name):
    for archive in (make_tar((name, b"evil")), make_zip((name, b"evil"))):
        message = refusal(archive, folder)
        assert f"its entry {name!r} would lead out of the folder; it is not what its authors published" in message
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        (special("x", tarfile.SYMTYPE, "/etc"), "is a link"),
        (special("x", tarfile.SYMTYPE, "harmless"), "is a link"),
        (special("x", tarfile.LNKTYPE, "../outside"), "is a link"),
        (special("x", tarfile.CHRTYPE), "is a device"),
        (special("x", tarfile.BLKTYPE), "is a device"),
        (special("x", tarfile.FIFOTYPE), "is a device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(make_tar, folder, entry, finding):
    # The second entry would be written through the link, if there were one.
    assert f"its entry 'x' {finding}" in refusal(make_tar(entry, ("x/outside", b"evil")), folder)
    assert list(folder.iterdir()) == []


def test_a_link_in_a_zip_is_refused(make_zip, folder):
    assert "its entry 'x' is a link or a device" in refusal(make_zip((zip_link("x"), "/etc")), folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("second", ["x", "x/y", "./x"])
def test_an_entry_that_is_there_twice_is_refused(make_tar, folder, second):
    assert "is there twice" in refusal(make_tar(("x", b"one"), (second, b"two")), folder)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_torn_tar_is_told(make_tar, folder, mode, share):
    archive = make_tar(("one", CONTENT), mode=mode)
    whole = archive.read_bytes()
    # A tar that is not compressed ends with zeros, without which its content is whole.
    archive.write_bytes(whole[: int(share * (len(whole) if mode != "w" else len(CONTENT)))])
    assert "is not a whole archive" in refusal(archive, folder, DamagedDataError)


@pytest.mark.parametrize("n", [0, 5, 100, 30_000])
def test_something_else_is_no_archive(tmp_path, folder, n):
    archive = tmp_path / "some.zip"
    archive.write_bytes(CONTENT[:n])
    assert "is not a whole archive" in refusal(archive, folder, DamagedDataError)


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_an_altered_byte_is_told(make_zip, make_tar, folder, kind):
    archive = make_zip(("one", CONTENT)) if kind == "zip" else make_tar(("one", CONTENT), mode="w:gz")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert "is not a whole archive" in refusal(archive, folder, DamagedDataError)


def test_an_altered_checksum_at_the_end_of_a_tar_is_told(make_tar, folder):
    archive = make_tar(("one", CONTENT), mode="w:gz")
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    assert "is not a whole archive" in refusal(archive, folder, DamagedDataError)


@pytest.mark.parametrize("limit", ["LARGEST_UNPACKED", "MOST_ENTRIES"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_has_a_limit(tmp_path, monkeypatch, kind, limit):
    monkeypatch.setattr(f"zerowait.benchmarks.data.archives.{limit}", 2)
    archive, folder = tmp_path / "archive", tmp_path / "folder"
    folder.mkdir()
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for name in "abc":
                made.writestr(name, b"0")
    else:
        with tarfile.open(archive, "w:gz") as made:
            for name in "abc":
                info = tarfile.TarInfo(name)
                info.size = 1
                made.addfile(info, io.BytesIO(b"0"))
    with pytest.raises(UnsafeArchiveError, match=r"entry 'c' (makes it more than 2 bytes|comes after 2 others)"):
        unpack(archive, folder)
    assert not (folder / "c").exists() or (folder / "c").stat().st_size == 0
