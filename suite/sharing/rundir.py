"""The run directory: every file name, the specification in `run.json`, creation and joining.

run.json       specification, written once (temporary file, then rename)
lock           locked with flock for a critical section, and one byte of it by each process, for as long as it lives
lock.<n>       locked by process n for as long as it lives, where bytes cannot be locked
slots          memory-mapped table, one fixed-size record a slot
wake/<slot>    one FIFO a slot; a delivery wakes exactly the caller whose turn it is
members        the processes that take part, whose CPU time shows whether the optimizer works
spill/<slot>   the description of an evaluation that does not fit into the slot's record
ledger.<n>     memory-mapped table of states that can be continued (only with continual=True)
journal        append-only, one record an evaluation
trace.parquet  when finished
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerowait.suite.rules.errors import RunDirectoryError, RunMismatchError, shown
from zerowait.suite.sharing.fd_limit import advice
from zerowait.suite.sharing.fsync import replace_file
from zerowait.suite.sharing.journal import append
from zerowait.suite.sharing.regular_files import check_folder, make_folder, open_regular, read_json, read_regular_file

FORMAT_VERSION = 1
_MARK = b"a run of zerowait\n"  # in the lock file, so that what a killed creation left is known as ours


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of one run."""

    root: Path

    @property
    def specification(self) -> Path:
        """Where the specification stands; the file exists as soon as the run does."""
        return self.root / "run.json"

    @property
    def lock(self) -> Path:
        """The file that is locked."""
        return self.root / "lock"

    def number(self, process: int) -> Path:
        """Return the file that a process locks where bytes cannot be locked."""
        return self.root / f"lock.{process}"

    @property
    def slots(self) -> Path:
        """The table of slots."""
        return self.root / "slots"

    @property
    def journal(self) -> Path:
        """The records of the delivered evaluations."""
        return self.root / "journal"

    @property
    def participants(self) -> Path:
        """The processes that take part."""
        return self.root / "members"

    @property
    def trace(self) -> Path:
        """The finished trace."""
        return self.root / "trace.parquet"

    def wake(self, slot: int) -> Path:
        """Return the FIFO of a slot."""
        return self.root / "wake" / str(slot)

    def spill(self, slot: int) -> Path:
        """Return the overflow file of a slot."""
        return self.root / "spill" / str(slot)

    def write_spill(self, slot: int, text: bytes, offset: int = 0) -> None:
        """Keep a part of a description that does not fit into the slot's record; what stands before `offset` stays.

        Nothing is truncated: who is killed in here must leave the part before `offset` readable.
        """
        descriptor = open_regular(self.spill(slot), os.O_WRONLY | os.O_CREAT)
        try:
            append(descriptor, text, offset)
        finally:
            os.close(descriptor)

    def read_spill(self, slot: int, length: int) -> bytes:
        """Return the first `length` bytes of a description that was spilled."""
        return read_regular_file(self.spill(slot), length)

    def make_journal(self) -> None:
        """Make the empty journal of a new run."""
        os.close(open_regular(self.journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))

    def add_participant(self, line: str) -> None:
        """Append a line that names a process which takes part."""
        with os.fdopen(open_regular(self.participants, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "wb") as file:
            file.write(line.encode())

    def read_participants(self) -> list[tuple[int, int, str]]:
        """Return pid, start and host (empty in a run on one host) of the processes that take part.

        Raises
        ------
        RunDirectoryError
            The file is damaged.
        """
        lines = read_regular_file(self.participants).decode(errors="replace").splitlines()
        try:
            return [(int(pid), int(born), " ".join(host)) for pid, born, *host in map(str.split, lines)]
        except ValueError:
            raise RunDirectoryError(f"{self.participants} is damaged: a line does not name a process") from None

    def ledger(self, generation: int) -> Path:
        """Return the ledger's file; each growth makes a new generation."""
        return self.root / f"ledger.{generation}"

    def journal_is(self, file: os.stat_result) -> bool:
        """Tell whether the journal is this file, and not one of a later run under the same name."""
        try:
            return os.path.samestat(self.journal.stat(), file)
        except OSError:
            return False

    def create_or_join(
        self, specification: Mapping[str, Any], create: Callable[[RunDirectory], None]
    ) -> tuple[bool, dict[str, Any]]:
        """Create the run with `create(self)` or join the one that is there.

        Of any number of simultaneous callers exactly one creates. `run.json` is written last, so a creation that was
        killed is started anew.

        Returns
        -------
        Whether it was created, and what `run.json` holds.

        Raises
        ------
        RunMismatchError
            The directory holds a run with another specification; the message names the first differing field.
        RunDirectoryError
            The directory cannot be written, or holds a run of another format version.
        """
        import fcntl  # not there on Windows, where ask-and-tell runs

        with explained(self.root, "create the run"):
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(self.lock, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.lexists(self.specification):
                found = self.read()
                self._compare(found["specification"], specification)
                with explained(self.root, "join the run"):
                    for folder in (self.root / "wake", self.root / "spill"):
                        check_folder(folder)
                return False, found
            self._refuse_to_overwrite(descriptor)
            with explained(self.root, "create the run"):
                for folder in (self.root / "wake", self.root / "spill"):
                    make_folder(folder)
                create(self)
                content = {
                    "format": FORMAT_VERSION,
                    "specification": dict(specification),
                    "created_by": os.getpid(),
                }
                text = json.dumps(content, sort_keys=True, indent=1) + "\n"
                replace_file(self.specification, lambda path: path.write_text(text, encoding="utf-8"))
            return True, content
        finally:
            os.close(descriptor)

    def _refuse_to_overwrite(self, lock: int) -> None:
        """Raise unless what lies in the way of a new run is what an earlier creation left that was killed."""
        for path in (self.journal, self.trace):
            if path.is_symlink() or (path.exists() and path.stat().st_size):
                raise RunDirectoryError(
                    f"{self.root} has lost its run.json but holds what a run has recorded ({path.name}), which a new "
                    "run would overwrite; put run.json back, or use another directory"
                )
        if os.pread(lock, len(_MARK), 0) == _MARK:
            return
        names = [
            path.name for path in (self.slots, self.journal, self.root / "wake", self.root / "spill") if path.exists()
        ]
        if names:
            raise RunDirectoryError(
                f"{self.root} is no run (it has no run.json) but holds {', '.join(names)}, which it would overwrite; "
                "use another directory"
            )
        with explained(self.root, "create the run"):
            os.pwrite(lock, _MARK, 0)

    def read(self) -> dict[str, Any]:
        """Return what `run.json` holds.

        Raises
        ------
        RunDirectoryError
            There is no run, `run.json` is damaged, or another format version wrote it.
        """
        try:
            content = read_json(self.specification)
        except FileNotFoundError:
            raise RunDirectoryError(f"there is no run in {self.root}: it has no run.json") from None
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{self.specification} cannot be read: {error}") from None
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT_VERSION:
            raise RunDirectoryError(
                f"{self.root} was written in format {shown(found)}; this version of zerowait uses format "
                f"{FORMAT_VERSION}. Use another directory, or the version of zerowait that wrote it"
            )
        if not isinstance(content.get("specification"), dict):
            raise RunDirectoryError(f"{self.specification} is damaged: it holds no specification")
        return dict(content)

    def _compare(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                raise RunMismatchError(
                    f"{self.root} holds a run with {name}={shown(found.get(name))}, not {shown(wanted.get(name))}; use "
                    "another directory, or the same specification to join it"
                )


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn an operating-system error into one line that says what could not be done and what to do."""
    try:
        yield
    except OSError as error:
        raise cannot(path, what, error) from error


def cannot(path: Path, what: str, error: OSError) -> RunDirectoryError:
    """Return the error that says what could not be done in a directory, and what to do."""
    return RunDirectoryError(f"cannot {what} in {path}: {reason(error)}")


def reason(error: OSError) -> str:
    """Return what an operating-system error means for a run directory, and the remedy."""
    if error.errno is None:
        said = str(error)
    elif error.errno in (errno.ELOOP, errno.EINVAL):  # of `regular_files`, which says what it has found
        said = error.strerror or str(error)
    else:  # libraries put texts of their own beside the number
        said = os.strerror(error.errno)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{said} (free some space, or use another directory)"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{said} (choose a directory that you may write to)"
    if error.errno == errno.EMFILE:
        return f"{said} ({advice()})"
    return said
