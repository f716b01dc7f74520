"""Check a run directory: whether its journal keeps every invariant of the design (4.1 and 4.2).

Reads `run.json`, the journal and the header of the slot table, also while the run goes on; writes nothing.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from suite import journal
from suite.errors import RunDirectoryError
from suite.history import Terms
from suite.invariants import Violation, violations
from suite.rundir import RunDirectory
from suite.shared_directory import read_header
from suite.table import CELL, FIRST_RECORD, H_MAGIC, H_SLOTS, JOURNAL_END, MAGIC, RECORDED, UNDO_HEADER, UNDO_MARKER

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
    terms = _terms(run)
    try:
        committed = _committed(run, terms)  # before the journal, which only grows
        data = run.journal.read_bytes()
    except OSError as error:
        raise RunDirectoryError(f"{error.filename} cannot be read: {error.strerror}") from None
    *lines, rest = data.split(b"\n")
    found, notes = violations([journal.parse(raw + b"\n", k) for k, raw in enumerate(lines, 1)], terms)
    if rest:
        notes.append(f"the last line is torn after {len(rest)} bytes; it is left out")
    if committed is not None:
        n_records, size = committed
        if len(data) - len(rest) < size:
            found.append(
                Violation(
                    "complete",
                    None,
                    f"the run has recorded {n_records} evaluations in {size} bytes, but the journal holds {len(lines)} "
                    f"whole lines in {len(data) - len(rest)} bytes",
                )
            )
    found.sort(key=lambda v: len(lines) if v.record is None else v.record)
    shown = tuple(v if v.record is None else replace(v, content=_content(lines[v.record])) for v in found)
    return Report(len(lines), shown, tuple(notes))


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


def _terms(run: RunDirectory) -> Terms:
    content = run.read()
    try:
        return Terms.of(content["specification"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(
            f"{run.specification} is damaged: its specification is not usable ({type(error).__name__}: {error})"
        ) from None


def _committed(run: RunDirectory, terms: Terms) -> tuple[int, int] | None:
    """Return how many records, in how many bytes, the run is sure to have written; None when its slot table is gone."""
    size = FIRST_RECORD * CELL
    try:
        if terms.shared_directory:
            head = read_header(run, terms.n_workers)
        else:
            with run.slots.open("rb") as file:
                head = file.read(size)
    except FileNotFoundError:
        return None
    cells = struct.unpack(f"={FIRST_RECORD}q", head.ljust(size, b"\0"))
    if (cells[H_MAGIC], cells[H_SLOTS]) != (MAGIC, terms.n_workers):
        raise RunDirectoryError(f"{run.slots} does not hold a table of {terms.n_workers} slots: it is damaged")
    # Within a transaction the saved header is the one that counts.
    first = UNDO_HEADER if cells[UNDO_MARKER] else 0
    return cells[first + RECORDED], cells[first + JOURNAL_END]


def _content(raw: bytes) -> str:
    text = raw[journal.CHECKSUM_BYTES + 1 :].decode("utf-8", errors="backslashreplace")
    return text if len(text) <= _LONGEST_CONTENT else text[:_LONGEST_CONTENT] + "..."
