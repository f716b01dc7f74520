"""Which optimizers there are: those of zerowait and those of the entry-point group `zerowait.adapters`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from adapters.adapter import MODES, Adapter
from suite.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from adapters.adapter import Mode

ENTRY_POINT_GROUP = "zerowait.adapters"

BUILT_IN = {
    "random": "adapters.random_search:RandomSearch",
    "optuna-tpe": "adapters.optuna_adapter:OptunaTPE",
    "optuna-random": "adapters.optuna_adapter:OptunaRandom",
    "optuna-cmaes": "adapters.optuna_adapter:OptunaCmaEs",
    "optuna-gp": "adapters.optuna_adapter:OptunaGP",
}
"""Name and place of the optimizers that come with zerowait; a third party cannot take their names."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is known of an optimizer without loading its library."""

    name: str
    """What `load` and study files call it."""
    library: str
    """The distribution that implements it; '?' when its plugin is broken."""
    modes: tuple[Mode, ...]
    """The ways to run it: 'native', 'ask_tell' or both."""
    uses_fidelity: bool
    """Whether it chooses the training budget of an evaluation."""
    problem: str | None = None
    """Why it cannot be loaded and what to do about it; None when it can."""

    @property
    def installed(self) -> bool:
        """Whether `load` will find everything that it needs."""
        return self.problem is None


def available() -> list[Descriptor]:
    """Return a descriptor of every optimizer, built-in ones first, without importing their libraries.

    A plugin that cannot be imported is listed with the reason; it harms nobody else.
    """
    return [_describe(name, resolve) for name, resolve in _candidates()]


def load(name: str, **parameters: Any) -> Adapter:
    """Return the adapter of an optimizer, ready to run.

    Parameters
    ----------
    name
        One of the names that `available` lists.
    **parameters
        The library's own settings of the optimizer.

    Raises
    ------
    SpecificationError
        The name is unknown, its plugin is broken, a library is not installed, or a parameter is unknown or
        unusable.
    """
    candidates = dict(reversed(list(_candidates())))
    if name not in candidates:
        raise SpecificationError(f"there is no optimizer {name!r}; known are {', '.join(sorted(candidates))}")
    return candidates[name]()(**parameters)


def _candidates() -> Iterator[tuple[str, Callable[[], type[Adapter]]]]:
    """Yield every name with the function that imports its adapter; of equal names the first one counts."""
    taken = dict(BUILT_IN)
    for name, place in BUILT_IN.items():
        yield name, partial(_import, place)
    for plugin in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda plugin: (plugin.name, plugin.value)):
        yield plugin.name, partial(_import_plugin, plugin, taken.get(plugin.name))
        taken.setdefault(plugin.name, plugin.value)


def _import(place: str) -> type[Adapter]:
    module, attribute = place.split(":")
    adapter: type[Adapter] = getattr(importlib.import_module(module), attribute)
    return adapter


def _import_plugin(plugin: EntryPoint, taken_by: str | None) -> type[Adapter]:
    """Import the adapter of a third party; whatever is wrong with it becomes a `SpecificationError`."""
    where = f"the plugin {plugin.name!r} ({plugin.value})"
    if taken_by is not None:
        raise SpecificationError(f"{where} cannot be used: its name is taken by {taken_by}")
    try:
        adapter = plugin.load()
    except Exception as error:
        raise SpecificationError(f"{where} is broken: {type(error).__name__}: {error}") from error
    if not (isinstance(adapter, type) and issubclass(adapter, Adapter)):
        raise SpecificationError(f"{where} is broken: it is {adapter!r} and not a subclass of adapters.Adapter")
    absent = [attribute for attribute in ("name", "library", "modes") if not hasattr(adapter, attribute)]
    if absent:
        raise SpecificationError(f"{where} is broken: its class does not declare {', '.join(absent)}")
    return adapter


def _describe(name: str, resolve: Callable[[], type[Adapter]]) -> Descriptor:
    try:
        adapter = resolve()
    except SpecificationError as error:
        return Descriptor(name, "?", (), uses_fidelity=False, problem=str(error))
    modes = tuple(mode for mode in MODES if mode in adapter.modes)
    return Descriptor(name, adapter.library, modes, adapter.uses_fidelity, adapter.missing())
