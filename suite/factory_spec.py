"""How to make an object again in another process, where a pickle would not do.

Pickles bind the versions of the libraries whose objects they hold: an array that NumPy 2 has pickled may not be
readable by NumPy 1. A recipe is what was called and with which arguments, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Recipe:
    """The call that made an object."""

    function: str
    """What was called, as `package.module:name`."""
    arguments: Mapping[str, Any]
    """Its keyword arguments, JSON."""

    def make(self) -> Any:
        """Call the function again; raises what it raises."""
        return pkgutil.resolve_name(self.function)(**self.arguments)

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as JSON data."""
        return {"function": self.function, "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the recipe that `as_json` described."""
        return cls(data["function"], data["arguments"])


def remember(made: Any, function: str, arguments: Mapping[str, Any]) -> None:
    """Keep the recipe of an object with it, where `recipe_of` finds it.

    An object whose arguments have no JSON form, or whose class has slots, has no recipe.
    """
    try:
        plain = json.loads(json.dumps(dict(arguments)))
    except (TypeError, ValueError):
        return
    with contextlib.suppress(AttributeError, TypeError):
        object.__setattr__(made, "recipe", Recipe(function, plain))


def recipe_of(made: object) -> Recipe | None:
    """Return the recipe of an object, or None when it has none."""
    recipe = getattr(made, "recipe", None)
    return recipe if isinstance(recipe, Recipe) else None
