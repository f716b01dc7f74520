"""A web server on loopback whose files can be torn, slow, changed or missing."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 1 << 12


@dataclass
class Served:
    """A file, and how the server treats those who ask for it."""

    content: bytes
    ranges: bool = True
    """Whether a part can be asked for."""
    etag: str | None = '"1"'
    states_length: bool = True
    cut: list[int] = field(default_factory=list)
    """After so many bytes the connection closes: of the first answer, the second, ...; a last 0 means always 0."""
    always_cut: int | None = None
    pause: float = 0.0
    """Seconds before each chunk of CHUNK bytes."""
    status: int | None = None
    """Answer this and nothing else."""


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path and remembers the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}
        self.requests = []
        """Path, and the headers Range and If-Range, of every request."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def serving(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, request, client_address):
        """Say nothing: clients that hang up belong to the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked, self.headers.get("If-Range")))
        served = self.server.files.get(self.path)
        if served is None or served.status is not None:
            self.send_error(404 if served is None else served.status)
            return
        total = len(served.content)
        begin = 0
        same = self.headers.get("If-Range") in (None, served.etag)
        if asked is not None and served.ranges and same:
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if begin >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if served.etag is not None:
            self.send_header("ETag", served.etag)
        if served.states_length:
            self.send_header("Content-Length", str(total - begin))
        else:
            self.close_connection = True
        self.end_headers()
        cut = served.cut.pop(0) if served.cut else served.always_cut
        body = served.content[begin:] if cut is None else served.content[begin : begin + cut]
        for at in range(0, len(body), CHUNK):
            if served.pause:
                time.sleep(served.pause)
            self.wfile.write(body[at : at + CHUNK])
        if cut is not None:
            self.close_connection = True
