"""Unpacks archives of strangers: files and folders only, and only below the folder that was named.

Every entry is read as a stream and written to a path that is checked by its letters alone, into a folder that holds
nothing yet. Links and devices are refused, not skipped, so no path can lead through a link to somewhere else; that does
not depend on the extraction filter of the Python that happens to run.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from zerowait.benchmarks.data.errors import DamagedDataError, UnsafeArchiveError

CHUNK = 1 << 20
"""Bytes that are copied at a time."""

LARGEST_UNPACKED = 1 << 36
"""Bytes that an archive may unpack to, 64 GiB; every official one is far smaller."""
MOST_ENTRIES = 1_000_000
"""Files of an archive."""

# What reading a torn or altered archive raises, beside gzip's own kind of OSError.
_TORN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of an archive."""

    path: PurePosixPath
    size: int
    stream: IO[bytes]


def unpack(archive: Path, folder: Path, report: Callable[[int, int], None] | None = None) -> None:
    """Unpack a zip or a tar (plain, gzip, bzip2 or xz) into an empty folder.

    Parameters
    ----------
    archive
        The file; what it is is read from its content, not from its name.
    folder
        Where to; it must exist and be empty.
    report
        Called with the bytes of the archive that have been read, and all of them.

    Raises
    ------
    UnsafeArchiveError
        An entry would leave the folder, is a link or a device, is there twice, or makes the whole too large; what was
        unpacked before it stays in `folder`, for the caller to remove.
    DamagedDataError
        It is no archive, or a torn one.
    OSError
        The folder cannot be written, or is full.
    """
    with archive.open("rb") as raw:
        total = archive.stat().st_size
        try:
            left = LARGEST_UNPACKED
            for number, entry in enumerate(_entries(archive, raw)):
                if number == MOST_ENTRIES:
                    raise _unsafe(archive, str(entry.path), f"comes after {MOST_ENTRIES:,} others")
                left -= _write(entry, folder, archive, left)
                if report is not None:
                    report(min(raw.tell(), total), total)
        except DamagedDataError:  # a kind of ValueError, and told already
            raise
        except (*_TORN, gzip.BadGzipFile) as error:
            # tarfile adds a line for every compression that it has tried.
            finding = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
            raise DamagedDataError(f"{archive} is not a whole archive: {finding}") from error


def _entries(archive: Path, raw: IO[bytes]) -> Iterator[_Entry]:
    if zipfile.is_zipfile(raw):
        raw.seek(0)
        yield from _zip_entries(archive, raw)
    else:
        raw.seek(0)
        yield from _tar_entries(archive, raw)


def _zip_entries(archive: Path, raw: IO[bytes]) -> Iterator[_Entry]:
    with zipfile.ZipFile(raw) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            # Zips made on Windows state no kind at all.
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, info.orig_filename, "is a link or a device")
            path = _checked(archive, info.orig_filename)  # zipfile mends some names on the way; we refuse them
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise DamagedDataError(f"{archive} is encrypted (its entry {info.orig_filename!r})")
            with opened.open(info) as stream:
                yield _Entry(path, info.file_size, stream)


def _tar_entries(archive: Path, raw: IO[bytes]) -> Iterator[_Entry]:
    with tarfile.open(fileobj=raw, mode="r:*") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                kind = "a link" if info.issym() or info.islnk() else "a device or something else that is no file"
                raise _unsafe(archive, info.name, f"is {kind}")
            path = _checked(archive, info.name)
            if info.isreg():
                stream = opened.extractfile(info)
                assert stream is not None  # of a regular file there is one
                with stream:
                    yield _Entry(path, info.size, stream)
        # The checksum of a compressed tar stands after its last entry.
        compressed = opened.fileobj
        if compressed is not None:
            while compressed.read(CHUNK):
                pass


def _checked(archive: Path, name: str) -> PurePosixPath:
    """Return the path of an entry, or raise `UnsafeArchiveError` when it could lead out of the folder."""
    path = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name or path.is_absolute() or ".." in path.parts:
        raise _unsafe(archive, name, "would lead out of the folder")
    return path


def _write(entry: _Entry, folder: Path, archive: Path, left: int) -> int:
    """Write an entry and return its bytes, which are counted as they come: what the archive states may be wrong."""
    target = folder / entry.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            written = 0
            while chunk := entry.stream.read(CHUNK):
                written += len(chunk)
                if written > left:
                    raise _unsafe(archive, str(entry.path), f"makes it more than {LARGEST_UNPACKED:,} bytes")
                file.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _unsafe(archive, str(entry.path), "is there twice") from None
    if written != entry.size:
        raise DamagedDataError(f"{archive} is not a whole archive: {str(entry.path)!r} ends after {written} bytes")
    return written


def _unsafe(archive: Path, name: str, finding: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"{archive} is refused: its entry {name!r} {finding}; it is not what its authors published, so remove it"
    )
