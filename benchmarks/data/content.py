"""The digest of the files that a benchmark's numbers come from: another one names other results."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from zerowait.suite.sharing.regular_files import open_regular


def file_digest(path: Path) -> str:
    """Return the BLAKE2b digest of a file's bytes, 32 hexadecimal digits; computed again when the file has changed."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size, status.st_ino)


def files_digest(folder: Path, paths: Iterable[Path]) -> str:
    """Return the digest of files within a folder: of their names in it and of their bytes, in whatever order."""
    names = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    text = "".join(f"{name}\0{file_digest(path)}\n" for name, path in names)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=1024)
def _file_digest(path: Path, *_version: int) -> str:
    with os.fdopen(open_regular(path, follow_links=True), "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
