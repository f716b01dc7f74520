"""The source of plug-ins: part of a cell's name, because their version stays the same while their author edits them."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from zerowait.adapters.registry import providers
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
        yield from _below(folder, module)
    file = getattr(loaded, "__file__", None)
    if file is not None and not hasattr(loaded, "__path__") and Path(file).is_file():
        yield module + Path(file).suffix, Path(file).read_bytes()


def _below(folder: Path, package: str) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.name.endswith(_SUFFIXES) and path.is_file():
            yield f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _files_of_distribution(name: str) -> Iterator[tuple[str, bytes]]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return
    for file in found.files or ():
        path = Path(str(file.locate()))
        if file.name.endswith(_SUFFIXES) and path.is_file():
            yield file.as_posix(), path.read_bytes()
        elif file.name.endswith(".pth") and path.is_file():
            yield from _files_of_editable(path.read_text(encoding="utf-8").splitlines())
    # setuptools installs a finder in the place of a folder, and names what it finds.
    for module in (found.read_text("top_level.txt") or "").split():
        spec = importlib.util.find_spec(module) if module.isidentifier() else None
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            yield from _below(folder, module)


def _files_of_editable(folders: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the sources of the packages and modules in folders that an editable installation makes importable."""
    for folder in map(Path, folders):
        if not folder.is_dir():  # a line of code
            continue
        for path in folder.iterdir():
            if (path / "__init__.py").is_file():
                yield from _below(path, path.name)
            elif path.name.endswith(_SUFFIXES) and path.is_file():
                yield path.name, path.read_bytes()
