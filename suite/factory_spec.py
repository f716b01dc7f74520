"""How to make an object again in another process, where a pickle would not do.

Pickles bind the versions of the libraries whose objects they hold: an array that NumPy 2 has pickled may not be
readable by NumPy 1. A factory spec is what was called and with which arguments, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class FactorySpec:
    """The call that made an object."""

    function: str
    """What was called, as `package.module:name`."""
    arguments: Mapping[str, Any]
    """Its keyword arguments, JSON."""

    def make(self) -> Any:
        """Call the function again; raises what it raises."""
        return pkgutil.resolve_name(self.function)(**self.arguments)

    def as_json(self) -> dict[str, Any]:
        """Return the factory spec as JSON data."""
        return {"function": self.function, "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the factory spec that `as_json` described."""
        return cls(data["function"], data["arguments"])


def remember(made: Any, function: str, arguments: Mapping[str, Any]) -> None:
    """Keep the factory spec of an object with it, where `factory_spec_of` finds it.

    An object whose arguments have no JSON form, or whose class has slots, has no factory spec.
    """
    try:
        plain = json.loads(json.dumps(dict(arguments)))
    except (TypeError, ValueError):
        return
    with contextlib.suppress(AttributeError, TypeError):
        object.__setattr__(made, "factory_spec", FactorySpec(function, plain))


def factory_spec_of(made: object) -> FactorySpec | None:
    """Return the factory spec of an object, or None when it has none."""
    factory_spec = getattr(made, "factory_spec", None)
    return factory_spec if isinstance(factory_spec, FactorySpec) else None
