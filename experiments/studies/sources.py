"""The source of plug-ins: part of a cell's name, because their version stays the same while their author edits them."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from zerowait.adapters.registry import providers
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zerowait.adapters import Adapter
    from zerowait.benchmarks import Benchmark

PREFIX = "source of "
UNKNOWN = "unknown"
"""Stands for the digest of a source that cannot be read: edits of it are not noticed."""
_SUFFIXES = (
    *importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES, ".pyx",
)  # fmt: skip


def sources_of(adapter: Adapter, benchmark: Benchmark, provider: str = "zerowait") -> dict[str, str]:
    """Return the digest of the source of each plug-in, under a name of its own; nothing for what comes with zerowait.

    Parameters
    ----------
    adapter, benchmark
        What a cell runs.
    provider
        The distribution that registers the benchmark.
    """
    found: dict[str, str] = {}
    for one, registered_by in ((adapter, providers(adapter.name)), (benchmark, [provider])):
        distributions = tuple(sorted({*registered_by} - {"zerowait"}))
        module = type(one).__module__.partition(".")[0]
        if module != "zerowait" or distributions:
            found[PREFIX + (distributions[0] if distributions else module)] = _digest(module, distributions)
    return dict(sorted(found.items()))


def check_sources(planned: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Refuse to run a cell where a plug-in has another source than where the study was planned.

    Raises
    ------
    SpecificationError
        A source differs; the message has both digests.
    """
    for name, content in here.items():
        if planned.get(name, content) != content:
            raise SpecificationError(
                f"the {name} has the digest {content} here, and the study was planned with {planned[name]}; install "
                "the same plug-in on every machine, and restart the workers"
            )


def unknown_sources(versions: Mapping[str, str]) -> list[str]:
    """Return the plug-ins whose source cannot be read."""
    return [name.removeprefix(PREFIX) for name, digest in versions.items() if digest == UNKNOWN]


@functools.cache
def _digest(module: str, distributions: tuple[str, ...]) -> str:
    """Return the digest of the files of a module, and of all that its distribution has installed."""
    files = {} if module == "zerowait" else dict(_files_of_module(module))
    for distribution in distributions:
        files |= dict(_files_of_distribution(distribution))
    if not files:
        return UNKNOWN
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{len(files[name])}\0".encode())
        whole.update(files[name])
    return whole.hexdigest()[:32]


def _files_of_module(module: str) -> Iterator[tuple[str, bytes]]:
    loaded = sys.modules.get(module)
    for folder in map(Path, getattr(loaded, "__path__", ())):
        for path in folder.rglob("*"):
            if path.name.endswith(_SUFFIXES) and path.is_file():
                yield f"{module}/{path.relative_to(folder).as_posix()}", path.read_bytes()
    file = getattr(loaded, "__file__", None)
    if file is not None and not hasattr(loaded, "__path__") and Path(file).is_file():
        yield module + Path(file).suffix, Path(file).read_bytes()


def _files_of_distribution(name: str) -> Iterator[tuple[str, bytes]]:
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        path = Path(str(file.locate()))
        if file.name.endswith(_SUFFIXES) and path.is_file():
            yield file.as_posix(), path.read_bytes()
