"""Which optimizers there are: those of zerowait and those of the entry-point group `zerowait.adapters`."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from zerowait.adapters.adapter import MODES, Adapter
from zerowait.adapters.environments.environments import environment_for
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from zerowait.adapters.adapter import Mode
    from zerowait.adapters.environments.environments import Environment

ENTRY_POINT_GROUP = "zerowait.adapters"

BUILT_IN = {
    "random": "zerowait.adapters.random_search:RandomSearch",
    "optuna-tpe": "zerowait.adapters.optuna.adapter:OptunaTPE",
    "optuna-random": "zerowait.adapters.optuna.adapter:OptunaRandom",
    "optuna-cmaes": "zerowait.adapters.optuna.adapter:OptunaCmaEs",
    "optuna-gp": "zerowait.adapters.optuna.adapter:OptunaGP",
    "optuna-nsga2": "zerowait.adapters.optuna.adapter:OptunaNSGAII",
    "optuna-hyperband": "zerowait.adapters.optuna.adapter:OptunaHyperband",
    "smac-hpo": "zerowait.adapters.smac.adapter:SmacHpo",
    "smac-blackbox": "zerowait.adapters.smac.adapter:SmacBlackBox",
    "smac-mf": "zerowait.adapters.smac.adapter:SmacMultiFidelity",
    "smac-hyperband": "zerowait.adapters.smac.adapter:SmacHyperband",
    "bohb": "zerowait.adapters.hpbandster.adapter:Bohb",
    "hyperband": "zerowait.adapters.hpbandster.adapter:Hyperband",
    "dehb": "zerowait.adapters.dehb.adapter:DEHBAdapter",
    "hebo": "zerowait.adapters.hebo.adapter:HEBOAdapter",
    "neps-random": "zerowait.adapters.neps.adapter:NepsRandom",
    "neps-hyperband": "zerowait.adapters.neps.adapter:NepsHyperband",
    "neps-asha": "zerowait.adapters.neps.adapter:NepsAsha",
    "neps-priorband": "zerowait.adapters.neps.adapter:NepsPriorBand",
    "neps-ifbo": "zerowait.adapters.neps.adapter:NepsIfBO",
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
    """The ways to run it: of 'native', 'ask_tell' and 'native-simulated'."""
    uses_fidelity: bool
    """Whether it chooses the training budget of an evaluation."""
    problem: str | None = None
    """Why it cannot be loaded and what to do about it; None when it can."""
    environment: str | None = None
    """The isolated environment in which it runs; None when it runs here."""
    default_mode: Mode | None = None
    """The mode that is taken where none is asked for; None when its plugin is broken."""
    several_objectives: bool = False
    """Whether it takes several objectives."""

    @property
    def installed(self) -> bool:
        """Whether `load` will find everything that it needs."""
        return self.problem is None


def available() -> list[Descriptor]:
    """Return a descriptor of every optimizer, built-in ones first, without importing their libraries.

    A plugin that cannot be imported is listed with the reason; it harms nobody else.
    """
    return [_describe(name, resolve) for name, resolve in _candidates()]


def classes() -> dict[str, type[Adapter]]:
    """Return the class of every adapter that can be imported, by name; their libraries need not be installed."""
    found: dict[str, type[Adapter]] = {}
    for name, resolve in _candidates():
        with contextlib.suppress(SpecificationError):
            found.setdefault(name, resolve())
    return found


def providers(name: str) -> list[str]:
    """Return the distributions that register an optimizer; none for one that comes with zerowait."""
    if name in BUILT_IN:
        return []
    found = {plugin.dist.name for plugin in entry_points(group=ENTRY_POINT_GROUP, name=name) if plugin.dist is not None}
    return sorted(found)


def load(name: str, **parameters: Any) -> Adapter:
    """Return the adapter of an optimizer, ready to run: here, or in an environment of its own that has been created.

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
    if not isinstance(name, str) or name not in candidates:
        raise SpecificationError(f"there is no optimizer {name!r}; known are {', '.join(sorted(candidates))}")
    adapter = candidates[name]()
    plain = {key: arguments.json_data(f"{key} of {name!r}", value) for key, value in parameters.items()}
    return _where_it_runs(adapter)[0](**plain)


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
    adapter, environment = _where_it_runs(adapter)
    return Descriptor(
        name,
        adapter.library,
        modes,
        adapter.uses_fidelity,
        adapter.missing(),
        None if environment is None else environment.name,
        adapter.usual_mode(),
        adapter.several_objectives,
    )


def _where_it_runs(adapter: type[Adapter]) -> tuple[type[Adapter], Environment | None]:
    """Return the adapter if its library is here; else one like it in the environment of the library, if that exists."""
    environment = environment_for(adapter.library) if adapter.absent() else None
    if environment is None or not environment.exists:
        return adapter, None
    from zerowait.adapters.remote_adapter import elsewhere

    return elsewhere(adapter, environment), environment
