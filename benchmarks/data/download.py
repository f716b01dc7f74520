"""Downloads one file over HTTP so that nothing that has arrived is ever fetched twice.

What arrives is appended to `NAME.part`, beside which `NAME.part.json` says what it is a part of. A later call asks for
the rest alone (RFC 9110, `Range` with `If-Range`), and begins anew when the server cannot, or has another file.
The file gets its name only when its size and its digest are right.

requests does the HTTP: proxies, certificates, redirections and time-outs as a user of a cluster expects them, which
urllib leaves to its caller. Pooch, made for scientific data, cannot resume.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.errors import FetchFailedError
from zerowait.suite.sharing.fsync import to_disk
from zerowait.suite.sharing.regular_files import open_regular, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from requests import Response

CHUNK = 1 << 16
"""Bytes that are read at a time."""
CONNECT_SECONDS = 15.0
"""So long a connection may take."""
READ_SECONDS = 60.0
"""So long a server may send nothing."""
ATTEMPTS = 3
"""So often in a row a download may stop without a byte more than before."""
PAUSE_SECONDS = 1.0
"""Before the second attempt in a row; twice that before the third."""

LARGEST_NOTE = 1 << 16
"""Bytes of what is remembered of an unfinished download."""
GIT_BLOB = "git:"
"""Before the id of a Git blob, where a digest is expected."""
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a partial file is a part of."""

    url: str
    validator: str | None
    """What the server calls this version of the file: its strong ETag, else when it was last modified."""
    size: int | None
    """All bytes, where the server says so."""


class _InterruptedTransferError(Exception):
    """The connection broke after the server had answered."""


def partial(target: Path) -> Path:
    """Return where the beginning of a file is kept until it is whole."""
    return target.with_name(f"{target.name}.part")


def _state(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def kept(target: Path) -> int:
    """Return how many bytes of an unfinished download are kept."""
    try:
        return partial(target).stat().st_size
    except FileNotFoundError:
        return 0


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    report: Callable[[int, int | None], None] | None = None,
    read_seconds: float = READ_SECONDS,
) -> None:
    """Download a file, beginning where an earlier call stopped.

    Parameters
    ----------
    url
        Its address.
    target
        Where to; what has arrived stays beside it when the call fails or is interrupted.
    size
        Its bytes, where they are known beforehand.
    sha256
        Its digest in hexadecimal, where it is known beforehand.
    report
        Called with the bytes that are here and all of them (None when unknown).
    read_seconds
        So long the server may send nothing.

    Raises
    ------
    FetchFailedError
        There is no connection, the server refuses, the download stops again and again, the disk is full, or what
        arrived is not the file; the message says which.
    """
    transfer = _Transfer(url, target, size, report or (lambda _done, _total: None), read_seconds)
    best, failures = kept(target), 0
    while True:
        try:
            transfer.run()
            break
        except _InterruptedTransferError as error:
            here = kept(target)
            best, failures = max(best, here), 0 if here > best else failures + 1
            if failures >= ATTEMPTS:
                raise FetchFailedError(f"the connection broke off again and again ({error}), {_told(target)}") from None
            time.sleep(PAUSE_SECONDS * failures)  # politeness towards a busy server; correctness needs no pause
    _finish(target, size, sha256)


class _Transfer:
    """One download; `run` may be called again and goes on."""

    def __init__(
        self,
        url: str,
        target: Path,
        size: int | None,
        report: Callable[[int, int | None], None],
        read_seconds: float,
    ) -> None:
        self._url, self._target, self._size = url, target, size
        self._report, self._read_seconds = report, read_seconds

    def run(self) -> None:
        """Fetch what is missing; return when the server has no more."""
        import requests

        begin, known = self._begin()
        if begin and begin == (self._size if known.size is None else known.size):
            return
        # A compressed transfer would count other bytes than the file has.
        headers = {"Accept-Encoding": "identity", "User-Agent": "zerowait"}
        if begin:
            headers["Range"] = f"bytes={begin}-"
            if known.validator is not None:
                headers["If-Range"] = known.validator
        try:
            with requests.get(
                self._url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, self._read_seconds)
            ) as response:
                self._take(response, begin, known)
        except requests.exceptions.RequestException as error:
            raise FetchFailedError(_reason(error)) from error

    def _begin(self) -> tuple[int, _Origin]:
        """Return how many bytes need not come again, and what is known of the file."""
        nothing = _Origin(self._url, None, None)
        begin = kept(self._target)
        try:
            known = _Origin(**json.loads(read_regular_file(_state(self._target), at_most=LARGEST_NOTE)))
        except (OSError, ValueError, TypeError):
            return 0, nothing
        total = known.size if self._size is None else self._size
        # Without a name for the version, only the size can tell that it is still the same file.
        usable = known.url == self._url and (known.validator is not None or known.size is not None)
        return (begin, known) if usable and (total is None or begin <= total) else (0, nothing)

    def _take(self, response: Response, begin: int, known: _Origin) -> None:
        status = response.status_code
        if status == _PARTIAL:
            first, total = _content_range(response)
            found = _Origin(self._url, _validator(response), total)
            if not begin or first != begin or (found.size, found.validator) != (known.size, known.validator):
                self._start_again("the server sent another part than it was asked for")
        elif status == _OK:
            begin, found = 0, _Origin(self._url, _validator(response), _content_length(response))
        elif status == _RANGE_NOT_SATISFIABLE and begin:
            if _content_range(response)[1] == begin:
                return
            self._start_again("the server's file has changed")
        else:
            raise FetchFailedError(f"the server answers {status} {response.reason}")
        if self._size is not None and found.size not in (None, self._size):
            raise FetchFailedError(f"the server has a file of {found.size:,} bytes; it must have {self._size:,}")
        try:
            self._store(response, begin, found)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FetchFailedError(
                f"{partial(self._target)} cannot be written: {reason}, {_told(self._target)}"
            ) from error

    def _start_again(self, why: str) -> None:
        partial(self._target).unlink(missing_ok=True)
        raise _InterruptedTransferError(why)

    def _store(self, response: Response, begin: int, found: _Origin) -> None:
        """Append the body to the partial file."""
        from urllib3.exceptions import HTTPError

        self._target.parent.mkdir(parents=True, exist_ok=True)
        if not begin:
            # Emptied before the note is changed: old bytes must never stand under a new note.
            os.close(open_regular(partial(self._target), os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            _write_whole(_state(self._target), asdict(found))
        total = self._size if found.size is None else found.size
        done = begin
        with os.fdopen(open_regular(partial(self._target), os.O_WRONLY | os.O_APPEND), "ab") as file:
            self._report(done, total)
            body = response.raw.stream(CHUNK, decode_content=False)
            while True:
                try:
                    chunk = next(body, b"")
                except HTTPError as error:
                    raise _InterruptedTransferError(_reason(error)) from error
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                self._report(done, total)
        if total is not None and done < total:
            raise _InterruptedTransferError(f"after {done:,} of {total:,} bytes")


def _finish(target: Path, size: int | None, sha256: str | None) -> None:
    """Give the file its name, if it is the right one."""
    problem = wrong(partial(target), size, sha256)
    if problem is not None:
        # More of the same would not mend it.
        partial(target).unlink()
        _state(target).unlink(missing_ok=True)
        raise FetchFailedError(f"what arrived is not the file: {problem}")
    to_disk(partial(target))
    partial(target).replace(target)
    _state(target).unlink(missing_ok=True)


def wrong(path: Path, size: int | None, sha256: str | None) -> str | None:
    """Tell what is wrong with a file's size or digest, as far as they are known; None when nothing is."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        return f"it has {actual:,} bytes and must have {size:,}"
    if sha256 is None:
        return None
    if sha256.startswith(GIT_BLOB):
        if (found := git_blob(path)) != sha256:
            return f"its id as a Git blob is {found} and must be {sha256}"
    elif (found := digest(path)) != sha256:
        return f"its SHA-256 is {found} and must be {sha256}"
    return None


def git_blob(path: Path) -> str:
    """Return the id that Git gives a file's content: a digest that is known of every file of a repository."""
    state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with os.fdopen(open_regular(path, follow_links=True), "rb") as file:
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return f"{GIT_BLOB}{state.hexdigest()}"


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with os.fdopen(open_regular(path, follow_links=True), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _validator(response: Response) -> str | None:
    """Return what names this version of the file; a weak ETag may stand for other bytes (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _content_length(response: Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _content_range(response: Response) -> tuple[int | None, int | None]:
    """Return the first byte and the file's size, as far as the header states them."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    first, total = match.groups()
    return (None if first is None else int(first)), (None if total == "*" else int(total))


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with os.fdopen(open_regular(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as file:
        json.dump(content, file)
    temporary.replace(path)


def _told(target: Path) -> str:
    n = kept(target)
    return f"{n:,} bytes are kept, and the next fetch goes on from there" if n else "nothing has arrived"


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words: HTTP libraries wrap what the system said several times."""
    from requests.exceptions import SSLError, Timeout
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, Timeout | ReadTimeoutError):
        return "the server does not answer in time"
    if isinstance(error, SSLError):
        return f"its certificate is not accepted: {error}"
    said = None
    inner: BaseException | None = error
    while inner is not None:
        said = getattr(inner, "strerror", None) or said
        inner = inner.__cause__ or inner.__context__
    return f"no connection: {said}" if said else str(error)
