"""Runs cells on a Dask cluster that somebody else started."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.engines import ENVIRONMENT, Workers, run_on, threads_of
from suite.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client, Security

    from experiments.attempts import CellFolders
    from experiments.cells import Cell, Outcome

CONFIGURATION: dict[str, Any] = {"distributed.admin.tick.limit": "1 h"}
START_WORKERS = "OMP_NUM_THREADS=1 DASK_DISTRIBUTED__WORKER__DAEMON=False dask worker {} --nthreads 1"


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
        if not separator or not place or protocol not in ("tcp", "tls"):
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
        from distributed import Client
        from distributed.utils import silence_logging_cmgr

        security = None if self._certificates is None else self._certificates.security()
        # What Dask would log, with tracebacks, is told in one line when it matters.
        quiet = silence_logging_cmgr(logging.CRITICAL)
        with quiet, dask.config.set(CONFIGURATION), contextlib.ExitStack() as stack:
            try:
                client = Client(self._address, security=security)  # type: ignore[no-untyped-call]
            except (OSError, ValueError) as error:  # a port that is no number is a ValueError
                reason = " ".join(str(error).split()) or "no answer"
                raise SpecificationError(
                    f"no scheduler answers at {self._address} ({reason}); start one with: dask scheduler, and give the "
                    "address that it prints"
                ) from None
            stack.callback(client.close)
            self._examine(client)
            yield from run_on(client, Workers(client), cells, folders)

    def _examine(self, client: Client) -> None:
        """Refuse workers with threads, and tell what may make the cells slow."""
        threads = threads_of(client)
        if not threads:
            self._tell(f"no workers yet; start some with: {START_WORKERS.format(self._address)}")
            return
        several = next((address for address, n in threads.items() if n > 1), None)
        if several is not None:
            raise SpecificationError(
                f"the worker at {several} has {threads[several]} threads, and runs need a process each; start workers "
                f"with: {START_WORKERS.format(self._address)}"
            )
        without = [address for address, value in client.run(_blas_threads).items() if value != "1"]
        if without:
            self._tell(
                f"{len(without)} of {len(threads)} workers were started without OMP_NUM_THREADS=1: their linear "
                "algebra may take more than one core each"
            )


def _blas_threads() -> str | None:
    import os

    assert "OMP_NUM_THREADS" in ENVIRONMENT
    return os.environ.get("OMP_NUM_THREADS")
