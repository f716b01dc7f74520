"""The folder that holds the cells of a study: what is finished, what failed, and attempts that live or died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerowait.suite.records.failures import ERROR_FILE, error_line
from zerowait.suite.sharing.fsync import to_disk
from zerowait.suite.sharing.regular_files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

TRACE_FILE = "trace.parquet"
LOCK_FILE = "attempt.lock"


@dataclass(slots=True)
class Attempt:
    """One attempt at a cell, which holds a lock as long as its process lives."""

    folders: CellFolders
    key: str
    folder: Path
    """Its own; nobody else writes there."""
    lock: int
    """Descriptor of the locked file."""

    def finish(self) -> None:
        """Make the attempt the finished cell, by a rename; only then is there anything that counts as finished.

        Its files are on disk before the rename, and the rename before this returns: a power cut leaves no finished
        cell with empty files.
        """
        finished = self.folders.finished(self.key)
        # The lock is left out: opening and closing its file would end it.
        files = [entry for entry in self.folder.iterdir() if entry.is_file() and entry.name != LOCK_FILE]
        to_disk(self.folder, *files)
        try:
            self.folder.rename(finished)
        except OSError:
            # Somebody else finished the same cell meanwhile; theirs is as good, and complete.
            if not finished.is_dir():
                raise
            self.drop()
        else:
            to_disk(self.folders.path)
            self._unlock(finished)
        shutil.rmtree(self.folders.failed(self.key), ignore_errors=True)

    def fail(self, text: str) -> None:
        """Keep the attempt's files and the text of its error."""
        self.folders.keep_failure(self.key, self.folder, text)
        self._unlock(self.folders.failed(self.key))

    def drop(self) -> None:
        """Remove the attempt's files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock(self.folder)

    def _unlock(self, folder: Path) -> None:
        # Only when the folder has its last name: an attempt without a lock is there to be swept.
        (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(self.lock)


@dataclass(frozen=True, slots=True)
class CellFolders:
    """The folder that holds the cells of a study, and the names in it.

    `<key>` is a finished cell, whole: it is written under another name and renamed. `<key>.failed` is what is
    left of a cell that failed, with `error.txt`. `.<key>.<n>` is the n-th attempt at a cell: it goes on as long as the
    lock in it is held, which the kernel releases when its process dies.
    """

    path: Path

    def finished(self, key: str) -> Path:
        """Return the folder that exists if and only if the cell is finished."""
        return self.path / key

    def failed(self, key: str) -> Path:
        """Return the folder that keeps what is left of a failed cell."""
        return self.path / f"{key}.failed"

    def begin(self, key: str) -> Attempt:
        """Begin an attempt at a cell, in a new folder.

        Raises
        ------
        OSError
            The folder of the cells is not there (on a worker of another machine, it is not shared) or is not writable.
        """
        number = 0
        while True:
            folder = self._attempt(key, number)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
            number += 1
        lock = open_regular(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        # A lock of the process, which the children that a cell may fork do not keep when their parent is killed.
        fcntl.lockf(lock, fcntl.LOCK_EX)
        return Attempt(self, key, folder, lock)

    def leftovers(self, key: str) -> list[Path]:
        """Return the folders of attempts at a cell that are going on or were killed."""
        found: list[Path] = []
        # Asked by name: listing the folder for every cell would take minutes with tens of thousands of them.
        while (folder := self._attempt(key, len(found))).exists():
            found.append(folder)
        return found

    def wait_for_attempts(self, key: str) -> int:
        """Wait until nobody is at work on a cell; return how many attempts were killed.

        Somebody else may be when a study is continued on a cluster that has not yet noticed the end of the last one.
        """
        killed = 0
        for folder in self.leftovers(key):
            with contextlib.suppress(FileNotFoundError):
                _wait(folder)
            killed += folder.exists()
        return killed

    def finished_keys(self) -> set[str]:
        """Return the keys of all finished cells."""
        return {name for name in self._names() if not name.startswith(".") and "." not in name}

    def failed_keys(self) -> set[str]:
        """Return the keys of all cells that failed and have not been finished since."""
        names = self._names()
        failed = {name.removesuffix(".failed") for name in names if name.endswith(".failed")}
        return failed - set(names)

    def running_keys(self) -> set[str]:
        """Return the keys of the cells at which somebody is at work."""
        return {name.split(".")[1] for name in self._names() if name.startswith(".") and is_alive(self.path / name)}

    def error_line(self, key: str) -> str:
        """Return in one line why a cell failed."""
        return error_line(self.failed(key))

    def sweep(self) -> None:
        """Remove what killed attempts have left."""
        for leftover in self.path.glob(".*"):
            if not is_alive(leftover):
                shutil.rmtree(leftover, ignore_errors=True)

    def keep_failure(self, key: str, at_work: Path | None, text: str) -> None:
        """Keep an attempt's files and the text of its error, in place of those of an earlier attempt."""
        if at_work is None:
            self.begin(key).fail(text)
            return
        (at_work / ERROR_FILE).write_text(text, encoding="utf-8")
        shutil.rmtree(self.failed(key), ignore_errors=True)
        at_work.rename(self.failed(key))

    def _attempt(self, key: str, number: int) -> Path:
        return self.path / f".{key}.{number}"

    def _names(self) -> list[str]:
        return [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []


def is_alive(attempt: Path) -> bool:
    """Tell whether the process that makes an attempt lives."""
    try:
        with os.fdopen(open_regular(attempt / LOCK_FILE, os.O_RDWR), "r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # it has none, or none that an attempt has made
        return False
    return False


def _wait(attempt: Path) -> None:
    with os.fdopen(open_regular(attempt / LOCK_FILE, os.O_RDWR), "r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
