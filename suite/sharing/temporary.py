"""Folders of runs for which none was named: they go when the run is over, or with the process that made them."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

_makers: dict[Path, int] = {}
"""The process that made each folder; one that it forks must leave them alone."""


def make_folder() -> Path:
    """Return a new folder that goes when this process ends, unless an error ends it."""
    folder = Path(tempfile.mkdtemp(prefix="zerowait-"))
    _makers[folder] = os.getpid()
    return folder


def keep(folder: Path) -> None:
    """Let a folder stay, because somebody was told of it."""
    _makers.pop(folder, None)


def remove_with(owner: object, folder: Path) -> None:
    """Let a folder go no later than an object that reads it."""
    weakref.finalize(owner, _remove, folder)


def _remove(folder: Path) -> None:
    if _makers.get(folder) == os.getpid():
        del _makers[folder]
        shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    if getattr(sys, "last_value", None) is None:  # else what was recorded may tell what went wrong
        for folder in list(_makers):
            _remove(folder)
