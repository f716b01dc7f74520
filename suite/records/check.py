"""Check a run directory: whether its journal keeps every invariant of the design (4.1 and 4.2).

Reads `run.json`, the journal and the header of the slot table, also while the run goes on; writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from zerowait.suite.records.commit_point import Committed, committed
from zerowait.suite.records.history import Violation
from zerowait.suite.records.invariants import violations
from zerowait.suite.records.run_spec import RunSpec
from zerowait.suite.rules.errors import RunDirectoryError
from zerowait.suite.sharing import journal
from zerowait.suite.sharing.regular_files import read_regular_file
from zerowait.suite.sharing.rundir import RunDirectory

__all__ = ["Report", "Violation", "check", "render"]

_LONGEST_CONTENT = 2000


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has found."""

    n_records: int
    """How many lines of the journal were checked."""
    violations: tuple[Violation, ...]
    """What no run can have written, in the order of the records."""
    notes: tuple[str, ...]
    """What is no violation and should be known all the same."""

    @property
    def ok(self) -> bool:
        """Whether there is no violation."""
        return not self.violations

    @property
    def exit_code(self) -> int:
        """What `zerowait check` exits with: 0, or 1 when something is broken."""
        return int(bool(self.violations))


def check(directory: str | os.PathLike[str]) -> Report:
    """Verify the journal of a run against everything that the design promises.

    Raises
    ------
    RunDirectoryError
        There is no run, another format version wrote it, or a file of it cannot be read.
    """
    run = RunDirectory(Path(directory))
    spec = RunSpec.read(run)
    before, data, after = _snapshot(run, spec)
    *lines, rest = data.split(b"\n")
    extra = 0 if after is None else len(lines) - after.n_records
    notes: list[str] = []
    if 0 < extra <= _most_uncommitted(spec):
        del lines[-extra:]
        notes.append(
            f"what stands behind the {len(lines)} lines that the run has recorded is left out ({extra} more): it is "
            "just being written, or its writer was killed before it counted"
        )
        extra = 0
    elif rest:
        notes.append(f"the last line is torn after {len(rest)} bytes; it is left out")
    found, more = violations([journal.parse(raw + b"\n", k) for k, raw in enumerate(lines, 1)], spec)
    found += _of_the_whole(lines, before, extra)
    found.sort(key=lambda v: len(lines) if v.record is None else v.record)
    shown = tuple(v if v.record is None else replace(v, content=_content(lines[v.record])) for v in found)
    return Report(len(lines), shown, (*more, *notes))


def _snapshot(run: RunDirectory, spec: RunSpec) -> tuple[Committed | None, bytes, Committed | None]:
    """Return the journal, with what the run had recorded before and after it was read.

    What was recorded before is in it. What is in it was recorded afterwards, save for what a process was just writing,
    or was killed before it could commit. (What a killed process has left is written over in two steps, between which
    there is one line more: then it is read again.)
    """

    def recorded() -> Committed | None:
        return committed(run, spec.n_workers, shared_directory=spec.shared_directory)

    for pause in (0.02, 0.2, 0.0):
        before = recorded()
        try:
            data = read_regular_file(run.journal)
        except OSError as error:
            raise RunDirectoryError(f"{run.journal} cannot be read: {error.strerror}") from None
        after = recorded()
        if after is None or data.count(b"\n") <= after.n_records + _most_uncommitted(spec):
            break
        time.sleep(pause)
    return before, data, after


def _most_uncommitted(spec: RunSpec) -> int:
    """Return how many lines a process can leave that is killed in a critical section.

    On one host each is committed before the next is written; elsewhere those of a whole section are published at once.
    """
    return spec.n_workers if spec.shared_directory else 1


def _of_the_whole(lines: list[bytes], recorded: Committed | None, extra: int) -> Iterator[Violation]:
    """Report a journal with fewer or with more lines than the run has recorded."""
    if extra > 0:
        yield Violation(
            "complete", None, f"{extra} lines stand behind the {len(lines) - extra} that the run has recorded"
        )
    size = sum(map(len, lines)) + len(lines)
    if recorded is not None and size < recorded.size:
        yield Violation(
            "complete",
            None,
            f"the run has recorded {recorded.n_records} evaluations in {recorded.size} bytes, but the journal holds "
            f"{len(lines)} whole lines in {size} bytes",
        )


def render(report: Report) -> list[str]:
    """Return the report as lines for people: one a violation, one a note, and a summary."""
    lines = []
    for violation in report.violations:
        place = "journal" if violation.record is None else f"record {violation.record}"
        content = f" in {violation.content}" if violation.content else ""
        lines.append(f"{place}: {violation.rule}: {violation.message}{content}")
    lines += (f"note: {note}" for note in report.notes)
    n = len(report.violations)
    found = "no violation" if n == 0 else "1 violation" if n == 1 else f"{n} violations"
    return [*lines, f"{report.n_records} records checked: {found}"]


def _content(raw: bytes) -> str:
    """Return a record as it may stand on a terminal, whatever bytes it has become."""
    text = raw[journal.CHECKSUM_BYTES + 1 :].decode("utf-8", errors="backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: _LONGEST_CONTENT + 1])
    return text if len(text) <= _LONGEST_CONTENT else text[:_LONGEST_CONTENT] + "..."
