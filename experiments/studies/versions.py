"""The versions of what decides a cell's trace: part of the cell's name, and compared where the cell runs."""

from __future__ import annotations

import functools
from importlib import metadata
from typing import TYPE_CHECKING

from zerowait.adapters.environments.environments import distribution_of, normalized
from zerowait.adapters.registry import providers
from zerowait.suite.records.trace import COMMON_LIBRARIES
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zerowait.adapters import Adapter
    from zerowait.benchmarks import Benchmark, Descriptor


def libraries_of(adapter: Adapter, benchmark: Descriptor) -> frozenset[str]:
    """Return the names of distributions that decide what an optimizer does with a benchmark.

    These are the optimizer's library and what its adapter needs, what the benchmark's family names, and of plug-ins
    their own package with all that it requires.
    """
    plugins = {benchmark.provider, *providers(adapter.name)} - {"zerowait"}
    return frozenset(
        {*adapter.libraries(), *benchmark.libraries, *plugins, *(name for one in plugins for name in _required(one))}
    )


def _required(name: str) -> list[str]:
    """Return what an installed distribution requires directly, without its extras."""
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [distribution_of(text) for text in requirements if "extra ==" not in text]


def versions_of(adapter: Adapter, libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of these distributions and the common ones: some are those of the adapter's environment."""
    names = {*libraries, *COMMON_LIBRARIES}
    there = adapter.versions
    versions = installed_versions(names)
    versions.update({name: there[normalized(name)] for name in names if normalized(name) in there})
    return dict(sorted(versions.items()))


def installed_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of these distributions, as far as they are installed."""
    found = {name: _installed(name) for name in sorted(set(libraries))}
    return {name: version for name, version in found.items() if version is not None}


def check_versions(planned: Mapping[str, str], adapter: Adapter) -> None:
    """Refuse to run a cell where it would be computed by other versions than those that name it.

    Raises
    ------
    SpecificationError
        A version differs; the message names the distribution and both versions.
    """
    here = versions_of(adapter, planned)
    for name, version in planned.items():
        if here.get(name, version) != version:
            raise SpecificationError(
                f"this process has {name} {here[name]}, and the study was planned with {version}; install the same "
                "versions on every machine, and restart the workers"
            )


def data_of(benchmark: Benchmark) -> dict[str, str]:
    """Return the digest of the files behind a benchmark, under a name of its own; nothing when there are no files."""
    content = getattr(benchmark, "content", None)  # optional, so that a benchmark of one line needs none
    return {} if content is None else {f"data of {benchmark.label}": content}


def check_data(planned: Mapping[str, str], benchmark: Benchmark) -> None:
    """Refuse to run a cell where a benchmark has other data than where the study was planned.

    Raises
    ------
    SpecificationError
        The files differ; the message has both digests.
    """
    for name, content in data_of(benchmark).items():
        if planned.get(name, content) != content:
            raise SpecificationError(
                f"the {name} has the digest {content} here, and the study was planned with {planned[name]}; give "
                "every machine the same files, and restart the workers"
            )


@functools.cache
def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
