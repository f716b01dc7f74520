"""How methods and benchmarks are called in figures, in which order they stand, and which colours are given to them.

As a table of a study file, whose order is that of the figures:

    [labels]
    random = "Random search"
    optuna-tpe = {name = "TPE", colour = "#0072B2"}
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TABLE = "labels"
"""Of a study file, and of the list of a study's cells."""
FIELDS = ("name", "colour")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Labels:
    """What figures call methods and benchmarks."""

    names: Mapping[str, str] = field(default_factory=dict)
    """By the name in the study."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """By the name in the study, as `#RRGGBB`."""
    order: tuple[str, ...] = ()
    """Those that stand first, in this order; the others follow by name."""

    def text(self, name: object) -> str:
        """Return what a name of the study is called."""
        return self.names.get(str(name), str(name))

    def ordered(self, names: Iterable[Any]) -> list[Any]:
        """Return names of the study, each once, in the order of the figures."""
        return sorted(set(names), key=self.place)

    def place(self, name: Any) -> tuple[int, Any]:
        """Return what a name of the study is sorted by."""
        return (self.order.index(name) if name in self.order else len(self.order), name)

    def check(self, optimizers: Sequence[str], benchmarks: Sequence[str], *, known: bool = True) -> None:
        """Refuse two of one kind with the same name, and, unless told otherwise, names that the study has not.

        Raises
        ------
        SpecificationError
            There are such.
        """
        strange = [name for name in self.order if name not in {*optimizers, *benchmarks}]
        if strange and known:
            raise SpecificationError(
                f"the labels name {shown(strange[0])}, which the study has not; it has {', '.join(optimizers)} and the "
                f"benchmarks {', '.join(benchmarks)}"
            )
        for of_kind in (optimizers, benchmarks):
            called: dict[str, str] = {}
            for name in of_kind:
                other = called.setdefault(self.text(name), name)
                if other != name:
                    raise SpecificationError(
                        f"the labels call both {shown(other)} and {shown(name)} {shown(self.text(name))}; "
                        "give each a name of its own"
                    )


NO_LABELS = Labels()
"""Everything is called as the study calls it."""


def labels_of(table: object) -> Labels:
    """Return the labels that a table gives: a name, or a table with `name` and `colour`, by the name in the study.

    Raises
    ------
    SpecificationError
        It is no such table.
    """
    if not isinstance(table, Mapping):
        raise SpecificationError(f'[labels] is {shown(table)}; it must be a table such as optuna-tpe = "TPE"')
    names, colours = {}, {}
    for key, entry in table.items():
        of = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(of, Mapping) or not of or not set(of) <= set(FIELDS):
            raise SpecificationError(
                f'labels.{key} is {shown(entry)}; it must be a name, or a table such as {{name = "TPE", colour = '
                '"#0072B2"}'
            )
        if "name" in of:
            if not isinstance(of["name"], str) or not of["name"].strip():
                raise SpecificationError(
                    f"labels.{key}.name is {shown(of['name'])}; it must be a text that is not empty"
                )
            names[str(key)] = of["name"]
        if "colour" in of:
            if not isinstance(of["colour"], str) or not _COLOUR.fullmatch(of["colour"]):
                raise SpecificationError(f"labels.{key}.colour is {shown(of['colour'])}; write one such as '#0072B2'")
            colours[str(key)] = of["colour"].upper()
    return Labels(names, colours, tuple(map(str, table)))


def merged(first: Labels, then: Labels) -> Labels:
    """Return both labels; where both speak of a name, the first ones hold."""
    order = tuple(dict.fromkeys([*first.order, *then.order]))
    return Labels({**then.names, **first.names}, {**then.colours, **first.colours}, order)


def table_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return the table that `--names` gives: `NAME=LABEL`, `NAME=LABEL:#RRGGBB`, or a TOML file with [labels].

    Raises
    ------
    SpecificationError
        A text has no such form, or the file cannot be read.
    """
    found: dict[str, Any] = {}
    for text in texts:
        if text.endswith(".toml"):
            found |= _of_file(Path(text))
            continue
        name, equals, label = text.partition("=")
        if not equals or not name.strip() or not label.strip():
            raise SpecificationError(
                f"--names is {shown(text)}; write NAME=LABEL, NAME=LABEL:#0072B2, or a file ending in .toml"
            )
        label, colon, colour = label.strip().rpartition(":")
        if colon and _COLOUR.fullmatch(colour):
            found[name.strip()] = {"name": label.strip() or name.strip(), "colour": colour}
        else:
            found[name.strip()] = f"{label}{colon}{colour}"
    return found


def _of_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get(TABLE)
    except (OSError, ValueError) as error:
        raise SpecificationError(
            f"{path}: cannot be read ({error}); give a TOML file with the table [labels]"
        ) from None
    if not isinstance(table, dict):
        raise SpecificationError(f'{path}: has no table [labels]; write one such as [labels] and optuna-tpe = "TPE"')
    return table
