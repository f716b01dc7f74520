"""Gets the data of benchmarks: download, unpack, put in place, convert; whole or not at all.

What arrives waits in the folder of downloads, where a person may put it as well. It is unpacked into a temporary
folder, examined, and only then renamed to its place, so that no interruption leaves half a folder that looks whole.
A lock lets one process work while the others wait and then find everything there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pkgutil
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from zerowait.benchmarks.data.archives import unpack
from zerowait.benchmarks.data.download import download, kept, wrong
from zerowait.benchmarks.data.errors import DamagedDataError, FetchFailedError, UnsafeArchiveError
from zerowait.benchmarks.data.sources import DOWNLOADS, DataSet, Download, data_folder
from zerowait.benchmarks.data.verification import write_manifest
from zerowait.suite.sharing.regular_files import open_regular


class Report(Protocol):
    """Hears how far the work is."""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes (None when unknown) of the step `what`, such as "download nn.zip"."""


def quiet(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def fetch(wanted: DataSet, *, mirror: str | None = None, report: Report = quiet) -> bool:
    """Get what is missing of a data set; return whether anything was.

    Parameters
    ----------
    wanted
        The data set.
    mirror
        A base address that has the same files, as `MIRROR/<data set>/<file>`, in place of the official ones.
    report
        Hears how far it is.

    Raises
    ------
    FetchFailedError
        It cannot be fetched; the message says why, what to download by hand and where to put it.
    """
    with _one_at_a_time(wanted, report):
        missing = set(wanted.missing())
        if missing:
            needed = [d for d in wanted.downloads if d.archive or d.path in missing]
            for one in needed:
                _get(wanted, one, mirror, report)
            try:
                _install(wanted, needed, report)
            except OSError as error:
                raise FetchFailedError(
                    f"{wanted.name}: what was downloaded cannot be put into {wanted.home}: "
                    f"{error.strerror or error}; make room or permissions there, or set ZEROWAIT_DATA to another "
                    f"folder, and run again: {wanted.command}"
                ) from error
        if wanted.convert:
            converter: Callable[[Report], None] = pkgutil.resolve_name(wanted.convert)
            converter(report)
    return bool(missing)


def unfinished(wanted: DataSet) -> int:
    """Return how many bytes of a data set have arrived and wait for the rest."""
    targets = [wanted.waiting / one.path for one in wanted.downloads]
    return sum(target.stat().st_size if target.is_file() else kept(target) for target in targets)


def _get(wanted: DataSet, one: Download, mirror: str | None, report: Report) -> None:
    """Bring one download into the waiting folder, unless a person has put it there."""
    target = wanted.waiting / one.path
    url = one.url if mirror is None else f"{mirror.rstrip('/')}/{wanted.name}/{one.path}"
    if target.is_file():
        problem = wrong(target, one.size, one.sha256)
        if problem is not None:
            raise FetchFailedError(f"{wanted.name}: {target} is not the file from {one.url}: {problem}; remove it")
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        download(
            url,
            target,
            size=one.size,
            sha256=one.sha256,
            report=lambda done, total: report(f"download {one.path}", done, total),
        )
    except FetchFailedError as error:
        raise FetchFailedError(
            f"{wanted.name}: {url} cannot be fetched: {error}; {_by_hand(wanted, one, url)}"
        ) from None
    except OSError as error:
        raise _unusable(wanted.waiting, error) from error


def _by_hand(wanted: DataSet, one: Download, url: str | None = None) -> str:
    """Return what a person can do: `url` is the address that the sentence before has named."""
    what = "it" if url == one.url else one.url
    missing = set(wanted.missing())
    others = [other.path for other in wanted.downloads if other != one and (other.archive or other.path in missing)]
    also = f", likewise {', '.join(others)} of the same source into {wanted.waiting}" if others else ""
    return f"download {what} by hand, save it as {wanted.waiting / one.path}{also}, and run again: {wanted.command}"


def _install(wanted: DataSet, arrived: list[Download], report: Report) -> None:
    """Unpack what has arrived, examine it, and put it in its place."""
    for stale in data_folder().glob(f"{_temporary_prefix(wanted)}*"):
        shutil.rmtree(stale)  # of a process that was killed: ours would hold the lock
    fresh = data_folder() / f"{_temporary_prefix(wanted)}{uuid.uuid4().hex}"
    home = fresh / "home"
    place = home / wanted.inner
    place.mkdir(parents=True)
    try:
        for one in arrived:
            source = wanted.waiting / one.path
            if one.archive:
                _unpack(wanted, one, fresh / "unpacked", place, report)
            else:
                (place / one.path).parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(source, place / one.path)
        write_manifest(home, earlier=wanted.home)
        if wanted.home.exists():
            _merge(home, wanted.home)
        else:
            wanted.home.parent.mkdir(parents=True, exist_ok=True)
            home.rename(wanted.home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for one in arrived:
        (wanted.waiting / one.path).unlink(missing_ok=True)
    _remove_empty(wanted.waiting)


def _unpack(wanted: DataSet, one: Download, folder: Path, place: Path, report: Report) -> None:
    """Unpack an archive and move the tree that holds the data set's files to `place`."""
    archive = wanted.waiting / one.path
    folder.mkdir()
    try:
        unpack(archive, folder, lambda done, total: report(f"unpack {one.path}", done, total))
        root = _root(folder, wanted.files, archive)
    except UnsafeArchiveError as error:
        raise FetchFailedError(f"{wanted.name}: {error}, and run again: {wanted.command}") from error
    except DamagedDataError as error:
        raise FetchFailedError(f"{wanted.name}: {error}; remove it and run again: {wanted.command}") from error
    place.rmdir()
    root.rename(place)


def _root(folder: Path, files: tuple[str, ...], archive: Path) -> Path:
    """Return the folder in an unpacked tree below which all files lie; archives differ in how deep that is."""
    first = Path(files[0])
    for found in sorted(folder.rglob(first.name), key=lambda path: (len(path.parts), path)):
        root = found.parents[len(first.parts) - 1]
        if all((root / name).is_file() for name in files):
            return root
    raise DamagedDataError(f"{archive} does not hold all of {', '.join(files[:2])}, ...")


def _merge(fresh: Path, home: Path) -> None:
    """Move files one by one into a folder that exists, each whole; what else lies there stays."""
    for source in sorted(path for path in fresh.rglob("*") if path.is_file()):
        target = home / source.relative_to(fresh)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the file system has no hard links
        shutil.copyfile(source, target)


def _remove_empty(folder: Path) -> None:
    for place in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # somebody keeps something there
            place.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _temporary_prefix(wanted: DataSet) -> str:
    return f".unpacking-{wanted.name}-"


@contextlib.contextmanager
def _one_at_a_time(wanted: DataSet, report: Report) -> Iterator[None]:
    """Let one process fetch a data set while others wait; the kernel frees the lock of a process that dies."""
    folder = data_folder() / DOWNLOADS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_regular(folder / f"{wanted.name}.lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("wait for another process that fetches the same", 0, None)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise _unusable(folder, error) from error
        raise
    finally:
        os.close(descriptor)


def _unusable(folder: Path, error: OSError) -> FetchFailedError:
    return FetchFailedError(
        f"the data folder {folder} cannot be used: {error.strerror or error}; make it writable, or set the "
        "environment variable ZEROWAIT_DATA to another folder"
    )
