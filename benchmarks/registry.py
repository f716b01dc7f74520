"""Which benchmarks there are: the built-in families and those of other packages.

Another package adds a family by an entry point of the group `zerowait.benchmarks` that names a `Family`:

    [project.entry-points."zerowait.benchmarks"]
    my_benchmark = "my_package.benchmark:FAMILY"
"""

from __future__ import annotations

import inspect
import pkgutil
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.errors import DataMissingError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.protocol import Benchmark, check_task
from zerowait.benchmarks.several_fidelities import with_fidelities
from zerowait.suite.factory_spec import remember
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENTRY_POINT_GROUP = "zerowait.benchmarks"

# Where each built-in family is described; a module is imported only when its family is asked for.
BUILT_IN = {
    "branin": "zerowait.benchmarks.functions.branin:FAMILY",
    "difficult": "zerowait.benchmarks.functions.difficult:FAMILY",
    "hartmann3": "zerowait.benchmarks.functions.hartmann:FAMILY_3",
    "hartmann6": "zerowait.benchmarks.functions.hartmann:FAMILY_6",
    "hpobench": "zerowait.benchmarks.tables.hpobench:FAMILY",
    "hpolib": "zerowait.benchmarks.tables.hpolib:FAMILY",
    "jahs": "zerowait.benchmarks.surrogates.jahs:FAMILY",
    "lcbench": "zerowait.benchmarks.surrogates.lcbench:FAMILY",
    "lcbench_raw": "zerowait.benchmarks.tables.lcbench_raw:FAMILY",
    "nasbench201": "zerowait.benchmarks.tables.nasbench201:FAMILY",
    "scan_bench": "zerowait.benchmarks.tables.scan_bench:FAMILY",
    "table": "zerowait.benchmarks.own_table.family:FAMILY",
}
_YAHPO = (
    "iaml_glmnet", "iaml_ranger", "iaml_rpart", "iaml_super", "iaml_xgboost", "rbv2_aknn", "rbv2_glmnet",
    "rbv2_ranger", "rbv2_rpart", "rbv2_super", "rbv2_svm", "rbv2_xgboost",
)  # fmt: skip
BUILT_IN.update(dict.fromkeys(_YAHPO, "zerowait.benchmarks.surrogates.yahpo:family"))


def nothing_missing(task: str | None) -> str | None:  # noqa: ARG001 - the signature of Family.missing
    """Say that no data is missing, as is true of every benchmark that needs none."""
    return None


@dataclass(frozen=True, slots=True)
class Family:
    """A family of benchmarks, as a listing shows it and as `load` makes its members."""

    name: str
    """The name that `load` takes."""
    description: str
    """One line: what is tuned and what the loss is."""
    make: Callable[..., Benchmark]
    """Makes a member: `make(task=..., **parameters)`, or `make(**parameters)` when there are no tasks."""
    tasks: tuple[str, ...] = ()
    """The names of the members; empty when there is only one."""
    data: str = "none"
    """What data it needs, in words."""
    missing: Callable[[str | None], str | None] = nothing_missing
    """Tells why the data of a task (of any, when None) is not there and which command gets it; else None."""
    citation: str = ""
    """The publication to cite."""
    licence: str = ""
    """The licence of the data."""
    facts: Facts = field(default_factory=Facts)
    """Units, least known values and BibTeX."""
    not_tasks: Mapping[str, str] = field(default_factory=dict)
    """What looks like a task and is none, with the reason."""
    libraries: tuple[str, ...] = ()
    """Distributions whose versions decide what it answers, beside its own package and what that requires."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One line of a listing."""

    name: str
    """The name that `load` takes."""
    tasks: tuple[str, ...]
    """The tasks that `load` takes; empty when there is only one."""
    description: str
    """What is tuned and what the loss is."""
    data: str
    """What data it needs, in words."""
    present: bool
    """Whether it can be loaded now."""
    reason: str | None
    """Why it cannot be loaded, and what to do; None when it can."""
    provider: str
    """The package that provides it."""
    citation: str
    """The publication to cite."""
    licence: str
    """The licence of the data."""
    facts: Facts = field(default_factory=Facts)
    """Units, least known values and BibTeX."""
    libraries: tuple[str, ...] = ()
    """Distributions whose versions decide what it answers, beside its provider and what that requires."""


def available() -> list[Descriptor]:
    """List every benchmark, built-in ones first, without reading data; a broken plugin has its reason."""
    listing = [_describe(name, partial(_built_in, name), "zerowait") for name in BUILT_IN]
    seen = set(BUILT_IN)
    for plugin in _plugins():
        provider = plugin.dist.name if plugin.dist is not None else "an unknown package"
        if plugin.name in seen:
            reason = (
                f"the package {provider!r} registers {plugin.name!r}, which is taken; "
                "its author must choose another name, or one of the two packages must be uninstalled"
            )
            listing.append(_unusable(plugin.name, reason, provider))
        else:
            seen.add(plugin.name)
            listing.append(_describe(plugin.name, partial(_from_plugin, plugin), provider))
    return listing


def load(name: str, *, task: str | None = None, **parameters: Any) -> Benchmark:
    """Return a benchmark by its name, its task and its own parameters; its data is read on first use.

    Every benchmark takes `fidelities` and `along` beside its own parameters: parameters of its space that are
    fidelities, see `with_fidelities`.

    Raises
    ------
    SpecificationError
        The name, the task or a parameter is unknown or not allowed; the message lists what is.
    DataMissingError
        The data is not there; the message names the command that gets it.
    """
    family = _family(name)
    parameters = {key: arguments.plain(value) for key, value in parameters.items()}
    if not family.tasks:  # they may be in data that is missing
        _check_present(family, None)
    if isinstance(task, str) and task in family.not_tasks:
        raise SpecificationError(
            f"the task {task!r} of the benchmark {name!r} is refused: {family.not_tasks[task]}; "
            f"it must be one of: {', '.join(family.tasks)}"
        )
    check_task(name, task, family.tasks)
    given = {"task": task, **parameters} if family.tasks else {**parameters}
    own = inspect.signature(family.make).parameters
    several = {key: given.pop(key) for key in ("fidelities", "along") if key in given and key not in own}
    _check_parameters(family, given)
    _check_present(family, task)
    benchmark = family.make(**given)
    if several:
        benchmark = with_fidelities(benchmark, **several)
    # An optimizer in another environment makes the same benchmark there.
    remember(benchmark, "zerowait.benchmarks.registry:load", {"name": name, "task": task, **parameters})
    return benchmark


def _check_present(family: Family, task: str | None) -> None:
    reason = family.missing(task)
    if reason is not None:
        raise DataMissingError(f"the benchmark {family.name!r} cannot be loaded: {reason}")


def _family(name: str) -> Family:
    if isinstance(name, str) and name in BUILT_IN:
        return _built_in(name)
    plugins = _plugins()
    for plugin in plugins:
        if plugin.name == name:
            try:
                return _from_plugin(plugin)
            except Exception as error:
                raise SpecificationError(
                    f"the benchmark {name!r} comes from a plugin ({plugin.value}) that cannot be loaded: "
                    f"{type(error).__name__}: {error}; ask its author, or uninstall it"
                ) from error
    names = [*BUILT_IN, *(plugin.name for plugin in plugins)]
    raise SpecificationError(f"the benchmark {name!r} is unknown; it must be one of: {', '.join(names)}")


def _built_in(name: str) -> Family:
    found = pkgutil.resolve_name(BUILT_IN[name])
    # One module describes many families whose tasks are in their data.
    family: Family = found if isinstance(found, Family) else found(name)
    return family


def _from_plugin(plugin: EntryPoint) -> Family:
    family = plugin.load()
    if not isinstance(family, Family):
        raise SpecificationError(
            f"the entry point {plugin.name!r} names {plugin.value}, which is a {type(family).__name__}; "
            "it must be a benchmarks.Family"
        )
    if family.name != plugin.name:
        raise SpecificationError(
            f"the entry point {plugin.name!r} names a family that calls itself {family.name!r}; "
            "the two names must be equal"
        )
    return family


def _plugins() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda plugin: (plugin.name, plugin.value))


def _describe(name: str, family_of: Callable[[], Family], provider: str) -> Descriptor:
    try:
        family = family_of()
        reason = family.missing(None)
    except Exception as error:  # noqa: BLE001 - what a plugin raises becomes the reason that is listed
        return _unusable(name, f"it cannot be loaded: {type(error).__name__}: {error}", provider)
    return Descriptor(
        name=name,
        tasks=family.tasks,
        description=family.description,
        data=family.data,
        present=reason is None,
        reason=reason,
        provider=provider,
        citation=family.citation,
        licence=family.licence,
        facts=family.facts,
        libraries=family.libraries,
    )


def _unusable(name: str, reason: str, provider: str) -> Descriptor:
    return Descriptor(
        name=name,
        tasks=(),
        description="",
        data="unknown",
        present=False,
        reason=reason,
        provider=provider,
        citation="",
        licence="",
    )


def _check_parameters(family: Family, arguments: dict[str, Any]) -> None:
    signature = inspect.signature(family.make).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values()):
        return
    allowed = [name for name in signature if name != "task"]
    for name, value in arguments.items():
        if name not in signature:
            raise SpecificationError(
                f"the parameter {name!r} (value {value!r}) of the benchmark {family.name!r} is unknown; "
                f"allowed: {', '.join(allowed) or 'none'}"
            )
