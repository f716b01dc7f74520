"""What is left of a cell that failed: its error, first in one line and then as a whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zerowait.suite.sharing.regular_files import read_regular_file

if TYPE_CHECKING:
    from pathlib import Path

ERROR_FILE = "error.txt"
"""In the folder of a failed cell, which is called like the cell with `.failed` behind it."""
LARGEST = 1 << 20
"""Bytes that are read of it."""
_MODULE = re.compile(r"^(?:\w+\.)+(?=[A-Z]\w*(?:: |$))")
"""Of an error's class: of no use to readers, and another one in what older versions wrote."""


def error_text(line: str, traceback: str) -> str:
    """Return what the file of an error holds."""
    return f"{line}\n\n{traceback}"


def error_line(folder: Path) -> str:
    """Return in one line why a cell failed, from its folder: the same whenever and by whomever it is asked."""
    try:
        text = read_regular_file(folder / ERROR_FILE, LARGEST).decode("utf-8", errors="replace")
    except OSError:
        return "its error was not kept"
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    if not lines:
        return "its error was not kept"
    if not lines[0].startswith("Traceback"):
        return lines[0]
    # Version 0.1 wrote the traceback alone: the error is the first line behind its last frame, notes follow it.
    last = max(i for i, line in enumerate(lines) if line.startswith("Traceback"))
    said = next((line for line in lines[last + 1 :] if not line.startswith(" ")), lines[-1].strip())
    return _MODULE.sub("", said)
