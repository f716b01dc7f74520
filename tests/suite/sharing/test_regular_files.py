"""Only regular files are opened; nothing blocks, follows a link or grows without a bound."""

import errno
import os
import socket
from pathlib import Path

import pytest

from zerowait.suite.sharing.regular_files import open_regular, read_json, read_regular_file


def test_a_regular_file_is_read_as_a_whole_or_in_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular_file(path) == b"0123456789"
    assert read_regular_file(path, 3, 4) == b"456"


def test_a_link_is_not_followed_unless_the_user_named_it(tmp_path: Path) -> None:
    target, link = tmp_path / "file", tmp_path / "link"
    target.write_bytes(b"kept")
    link.symlink_to(target)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC):
        with pytest.raises(OSError, match="is a link, which is not followed") as caught:
            open_regular(link, flags)
        assert caught.value.errno == errno.ELOOP
    assert read_regular_file(link, follow_links=True) == target.read_bytes() == b"kept"


def test_nothing_is_created_through_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="is a link"):
        open_regular(tmp_path / "link", os.O_WRONLY | os.O_CREAT)
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the address of a socket must be short
        server.bind("socket")
        for path in (tmp_path / "fifo", tmp_path / "folder", tmp_path / "socket", Path("/dev/zero")):
            for flags in (os.O_RDONLY, os.O_WRONLY):
                with pytest.raises(OSError, match="is no regular file") as caught:
                    open_regular(path, flags)
                assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EMLINK, "is a link, which is not followed"), (errno.EOPNOTSUPP, "is no regular file")]
)
def test_what_the_bsds_say_with_other_numbers_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(path: Path, *_: int) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=said):
        open_regular(tmp_path / "file")


def test_a_file_is_emptied_only_when_it_is_a_regular_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    os.close(open_regular(tmp_path / "file", os.O_WRONLY | os.O_TRUNC))
    assert (tmp_path / "file").read_bytes() == b""


def test_a_file_that_is_larger_than_what_is_expected_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1099511627776 bytes, and 100 are the most"):
        read_regular_file(tmp_path / "sparse", at_most=100)
    with pytest.raises(OSError, match="are the most"):
        read_json(tmp_path / "sparse")


def test_json_that_is_nested_too_deeply_or_is_none_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for text in (b"[" * 100_000, b"{", b"\xff\xfe", b""):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"."):
            read_json(path)
