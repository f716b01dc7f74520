"""Runs cells on a Dask cluster that somebody else started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zerowait.experiments.grid.engines import (
    ENVIRONMENT,
    START_WORKERS,
    Workers,
    close_client,
    run_on,
    threaded,
    threads_of,
)
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client, Security

    from zerowait.experiments.grid.attempts import CellFolders
    from zerowait.experiments.grid.cells import Cell, Outcome

CONFIGURATION: dict[str, Any] = {"distributed.admin.tick.limit": "1 h"}
CONNECT_SECONDS = 5.0
"""How long a host may take to accept a connection..."""
ANSWER_SECONDS = 30.0
"""...and a scheduler, which may be busy, to answer."""
MOMENT_SECONDS = 1.0
"""What takes longer is announced."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a scheduler at a `tls://` address asks for, all in PEM files."""

    authority: Path
    """The authority that signed the certificates of scheduler and workers."""
    certificate: Path
    """The certificate of this client."""
    key: Path
    """Its private key."""

    def security(self) -> Security:
        """Return them as Dask takes them.

        Raises
        ------
        SpecificationError
            One of the files is not there.
        """
        from distributed import Security

        for option, path in (("ca-file", self.authority), ("cert", self.certificate), ("key", self.key)):
            if not path.is_file():
                raise SpecificationError(f"--tls-{option} is {path}, and there is no such file; give a PEM file")
        return Security(  # type: ignore[no-untyped-call]
            require_encryption=True,
            tls_ca_file=str(self.authority),
            tls_client_cert=str(self.certificate),
            tls_client_key=str(self.key),
        )


class RemoteDask:
    """Runs cells on the workers of an existing scheduler, as many as it has at any moment.

    Parameters
    ----------
    address
        Of the scheduler, such as `tcp://10.0.0.1:8786`.
    certificates
        For a scheduler at `tls://`.
    tell
        Called with a line that the person should read.

    Raises
    ------
    SpecificationError
        The address is none, or address and certificates contradict each other.
    """

    def __init__(
        self, address: str, certificates: Certificates | None = None, tell: Callable[[str], object] = str
    ) -> None:
        protocol, separator, place = address.partition("://")
        host, port = _host_and_port(place)
        if not separator or protocol not in ("tcp", "tls") or not host or port is None:
            raise SpecificationError(
                f"--scheduler is {address!r}; it must be tcp://HOST:PORT or tls://HOST:PORT, as the scheduler prints it"
            )
        if (protocol == "tls") != (certificates is not None):
            remedy = (
                "give --tls-ca-file, --tls-cert and --tls-key"
                if protocol == "tls"
                else "leave out --tls-ca-file, --tls-cert and --tls-key, or name a scheduler at tls://"
            )
            raise SpecificationError(f"--scheduler is {address!r}; {remedy}")
        self._address, self._certificates, self._tell = address, certificates, tell
        self._host, self._port = host, port

    def run(self, cells: Sequence[Cell], folders: CellFolders) -> Generator[Outcome]:
        """Yield the outcome of every cell, as they end.

        Raises
        ------
        SpecificationError
            No scheduler answers, or a worker has several threads.
        """
        if not cells:
            return
        import dask
        from distributed.utils import silence_logging_cmgr

        security = None if self._certificates is None else self._certificates.security()
        # What Dask would log, with tracebacks, is told in one line when it matters.
        quiet = silence_logging_cmgr(logging.CRITICAL)
        with quiet, dask.config.set(CONFIGURATION), contextlib.ExitStack() as stack:
            client = self._connect(security)
            stack.callback(close_client, client)
            self._examine(client)
            yield from run_on(client, Workers(client), cells, folders)

    def _connect(self, security: Security | None) -> Client:
        """Return a client of the scheduler, or say why there is none."""
        from distributed import Client

        announcement = threading.Timer(MOMENT_SECONDS, self._tell, [f"connecting to {self._address} ..."])
        announcement.start()
        try:
            # First by hand: where nobody listens, Dask tries again for half a minute.
            socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS).close()
            asyncio.run(_shake_hands(self._address, security))
            client = Client(self._address, security=security)  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - a stranger's answer makes Dask raise anything, a MemoryError too
            reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or "no answer"
            raise SpecificationError(
                f"no scheduler answers at {self._address} ({reason}); start one with: dask scheduler, and give the "
                "address that it prints"
            ) from None
        finally:
            announcement.cancel()
        return client

    def _examine(self, client: Client) -> None:
        """Refuse workers with threads, and tell what may make the cells slow."""
        threads = threads_of(client)
        if not threads:
            self._tell(f"no workers yet; start some with: {START_WORKERS.format(self._address)}")
            return
        several = next((address for address, n in threads.items() if n > 1), None)
        if several is not None:
            raise threaded(several, threads[several], self._address)
        without = [address for address, value in client.run(_blas_threads).items() if value != "1"]
        if without:
            self._tell(
                f"{len(without)} of {len(threads)} workers were started without OMP_NUM_THREADS=1: their linear "
                "algebra may take more than one core each"
            )


async def _shake_hands(address: str, security: Security | None) -> None:
    """Return when a scheduler has answered; a client itself would wait without end for one that is mute."""
    from distributed.comm.core import connect

    arguments = {} if security is None else security.get_connection_args("client")  # type: ignore[no-untyped-call]
    comm = await asyncio.wait_for(connect(address, **arguments), ANSWER_SECONDS)  # type: ignore[no-untyped-call]
    await comm.close()


def _host_and_port(place: str) -> tuple[str | None, int | None]:
    """Return what `host:port` says, with None for what it does not."""
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number or too large for one, or half a bracket
        return None, None
    return host, port


def _blas_threads() -> str | None:
    import os

    assert "OMP_NUM_THREADS" in ENVIRONMENT
    return os.environ.get("OMP_NUM_THREADS")
