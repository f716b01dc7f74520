"""What the cells of a column are: numbers, booleans or texts, decided for the whole column and never guessed.

A parameter's column holds one of these. A text that is nearly a number, such as "1,000", is neither; so is a text
among numbers. Both are refused with their row, unless the table's owner says that the column is categorical.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from zerowait.suite.rules.arguments import is_text
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[np.float64]"

Kind = Literal["boolean", "category", "integer", "real"]
Form = Literal["number", "boolean", "padded", "nearly", "text"]

INACTIVE = -math.inf
"""The code of a parameter that a configuration does not have."""
LARGEST_INTEGER = 2**53
"""Up to here a float64 holds every integer."""
TOO_LARGE = f"an integer is at most {LARGEST_INTEGER} (2**53) in size"

_DIGITS = r"(?:0|[1-9][0-9]*)"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rf"[+-]?{_DIGITS}")
_PADDED = re.compile(r"[+-]?0[0-9]+")
_SEPARATORS = re.compile("[_,;'\u2019%$\u20ac\u00a3 \u00a0\u202f\u2009\u2212\u2013]")
_DOTTED = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xXoObB][0-9a-fA-F]+")
_BOOLEANS = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
_NOT_A_NUMBER = "nan"
_INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Cells:
    """A parameter's column."""

    kind: Kind
    """What every cell that is not empty holds."""
    codes: Column
    """A number as it is, a boolean as 0 or 1, a text as its place in `texts`; `INACTIVE` where there is nothing."""
    texts: list[str]
    """The texts of a category, sorted; else empty."""


def form_of(text: str) -> Form:
    """Return what a text looks like; the decimal sign is the point."""
    if _NUMBER.fullmatch(text):
        return "number"
    if text in _BOOLEANS:
        return "boolean"
    if _PADDED.fullmatch(text):
        return "padded"
    bare = _SEPARATORS.sub("", text)
    nearly = bare != text and (_NUMBER.fullmatch(bare) or _PADDED.fullmatch(bare))
    # Digits of other scripts, which float() would take.
    foreign = not text.isascii() and any(c.isdecimal() and not c.isascii() for c in text)
    if nearly or foreign or _DOTTED.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return "nearly"
    return "text"


def is_whole(text: str) -> bool:
    """Whether a text is an integer as one writes it."""
    return _INTEGER.fullmatch(text) is not None


def number_of(text: str) -> float | None:
    """Return the number that a text is, "nan" and "inf" included, or None when it is none."""
    if _NUMBER.fullmatch(text):
        return float(text)
    lower = text.lower()
    return math.nan if lower == _NOT_A_NUMBER else _INFINITE.get(lower)


def boolean_of(text: str) -> float:
    """Return 1 or 0 for a text whose form is "boolean"."""
    return _BOOLEANS[text]


def kind_of_texts(texts: Sequence[str]) -> tuple[Kind, int | None, str]:
    """Return the kind of a column with these distinct texts, the place of one that does not fit, and why.

    Numbers with zeros in front of them, such as "007", are names: they make a column of integers a category.
    """
    forms: list[Form] = [form_of(text) for text in texts]
    found = set(forms)
    if "nearly" in found:
        return "category", forms.index("nearly"), "looks like a number, but is not written as one"
    if found == {"number"}:
        return ("integer" if all(map(is_whole, texts)) else "real"), None, ""
    if found == {"boolean"}:
        return "boolean", None, ""
    if "padded" in found and all(is_whole(text) or form == "padded" for text, form in zip(texts, forms, strict=True)):
        return "category", None, ""
    for form, plural in (("number", "numbers"), ("boolean", "booleans")):
        if form in found:
            odd = next(i for i, other in enumerate(forms) if other != form)
            return "category", odd, f"stands among {plural}"
    return "category", None, ""


def refuse(row: int, cell: object, name: str, what: str, more: int = 0) -> NoReturn:
    """Raise the error that names a row, a cell and a column."""
    others = f" (and {more} more)" if more else ""
    raise SpecificationError(f"row {row} has {shown(cell)} in the column {name!r} (the first row is 0){others}; {what}")


def refuse_rows(wrong: NDArray[np.bool_], numbers: Column, rows: NDArray[np.int64], name: str, allowed: str) -> None:
    """Raise an error that names the first row that is wrong, if there is one; `rows` says which row each is."""
    if wrong.any():
        first = int(wrong.argmax())
        refuse(int(rows[first]), float(numbers[first]), name, allowed, int(wrong.sum()) - 1)


def require_text(texts: Iterable[str], name: str) -> None:
    """Raise `SpecificationError` for what no file can hold."""
    odd = next((text for text in texts if not is_text(text)), None)
    if odd is not None:
        raise SpecificationError(f"the column {name!r} has {odd!a}, which holds half a surrogate pair; correct it")


def texts_as_codes(texts: Sequence[str], index: NDArray[Any], absent: NDArray[np.bool_]) -> Cells:
    """Return a category: `index` says for each row which of the distinct texts it has."""
    import numpy as np

    order = sorted(range(len(texts)), key=texts.__getitem__)
    places = np.empty(len(texts))
    places[order] = np.arange(len(texts))
    codes = np.full(len(index), INACTIVE)
    codes[~absent] = places[index[~absent]]
    return Cells("category", codes, [texts[i] for i in order])


def finite_parameter(kind: Kind, numbers: Column, absent: NDArray[np.bool_], name: str) -> Cells:
    """Return a column of numbers, all of which a float64 holds exactly as they were written."""
    import numpy as np

    codes = np.where(absent, INACTIVE, numbers + 0.0)  # -0.0 is the same value as 0.0
    rows = np.arange(len(codes))
    refuse_rows(~absent & ~np.isfinite(codes), codes, rows, name, "a parameter is finite")
    if kind == "integer":
        too_large = ~absent & (np.abs(codes) > LARGEST_INTEGER)
        refuse_rows(too_large, codes, rows, name, TOO_LARGE)
    return Cells(kind, codes, [])


def require_present(absent: NDArray[np.bool_], name: str, *, conditional: bool) -> None:
    """Raise `SpecificationError` where a parameter is missing that every configuration has, or in every row."""
    if absent.all():
        raise SpecificationError(f"the column {name!r} is empty; leave it out of params")
    if absent.any() and not conditional:
        remedy = "fill it, drop the row, or give a space in which the parameter is conditional"
        raise SpecificationError(
            f"row {int(absent.argmax())} has nothing in the column {name!r} (the first row is 0); {remedy}"
        )
