"""What callers may give: every public function checks its arguments here, by name, value and what is allowed.

A number is what NumPy takes for one: also `np.int64(4)`, `np.float32(0.5)` and `np.array(3)`; a boolean is none.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from zerowait.suite.rules.errors import SpecificationError, shown

T = TypeVar("T")


def plain_number(value: object) -> int | float | None:
    """Return a number as Python's own `int` or `float`; None when it is none."""
    if type(value) is int or type(value) is float:
        return value
    number: Any = value
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None:  # NumPy's; durations count as integers among its types
        if kind not in ("i", "u", "f") or number.ndim != 0:
            return None
        return float(number) if kind == "f" else int(number)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def plain(value: object) -> Any:
    """Return one of NumPy's scalars as Python's own, and anything else as it is."""
    scalar: Any = value
    return scalar.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def integer(name: str, value: object, least: int, most: int | None = None, *, allowed: str | None = None) -> int:
    """Return an integer from `least` to `most`.

    Raises
    ------
    SpecificationError
        It is none; `allowed` says what is, where more than this is.
    """
    number = plain_number(value)
    if isinstance(number, int) and least <= number and (most is None or number <= most):
        return number
    if allowed is None:
        allowed = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
    raise refusal(name, value, allowed)


def real(
    name: str, value: object, least: float, most: float = math.inf, *, above: bool = False, allowed: str | None = None
) -> float:
    """Return a finite number from `least` (or, with `above`, greater than it) to `most`.

    Raises
    ------
    SpecificationError
        It is none; `allowed` says what is.
    """
    number = plain_number(value)
    # An integer of thousands of digits compares with a float, but has none of its own.
    if number is not None and least <= number <= most and not (above and number == least) and abs(number) < math.inf:
        try:
            return float(number)
        except OverflowError:
            pass
    if allowed is None:
        lower = f"above {least:g}" if above else f"of at least {least:g}"
        allowed = f"a number {lower}" + ("" if most == math.inf else f" and at most {most:g}")
    raise refusal(name, value, allowed)


def boolean(name: str, value: object, *, allowed: str = "True or False") -> bool:
    """Return a boolean, Python's or NumPy's; raise `SpecificationError` when it is none."""
    if isinstance(value, bool):
        return value
    if getattr(value, "ndim", None) == 0 and getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return bool(value)
    raise refusal(name, value, allowed)


def choice(name: str, value: T, allowed: Sequence[str | None]) -> T:
    """Return one of the allowed texts (or None, if it is one); raise `SpecificationError` when it is none of them."""
    if (value is None or isinstance(value, str)) and value in allowed:
        return value
    raise refusal(name, value, f"one of {', '.join(map(repr, allowed))}")


def instance(name: str, value: object, kind: type[T], allowed: str) -> T:
    """Return an object of a type; raise `SpecificationError`, which says what is allowed, when it is none."""
    if isinstance(value, kind):
        return value
    raise refusal(name, value, allowed)


def function(name: str, value: T | None, allowed: str = "a function") -> T | None:
    """Return something callable, or None; raise `SpecificationError` when it is neither."""
    if value is None or callable(value):
        return value
    raise refusal(name, value, f"{allowed}, or None")


def objective(value: T) -> T:
    """Return an objective; raise `SpecificationError` when it cannot be called."""
    if callable(value):
        return value
    raise refusal("the objective", value, "callable")


def configuration(value: object) -> Mapping[str, Any]:
    """Return a configuration; raise `SpecificationError` when it is no mapping."""
    if isinstance(value, Mapping):
        return value
    raise refusal("the configuration", value, "a mapping of parameter names to values, such as {'x': 0.1}")


def folder(name: str, value: object, allowed: str = "the path of a folder, or None") -> Path:
    """Return a path; raise `SpecificationError` when it is none, empty, or holds a zero byte."""
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str) and path and "\0" not in path:
            return Path(path)
    raise refusal(name, value, allowed)


def mapping(name: str, value: object, allowed: str = "a mapping, or None") -> Mapping[str, Any]:
    """Return a mapping, an empty one for None; raise `SpecificationError` when it is neither."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise refusal(name, value, allowed)


def json_data(name: str, value: object) -> Any:
    """Return a value as JSON has it, with NumPy's scalars as Python's own.

    Raises
    ------
    SpecificationError
        It holds something else than JSON does: a key that is no text, for instance, which JSON would make one.
    """
    value = plain(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise refusal(f"a key of {name}", key, f"a text, such as {str(key)!r}")
        return {key: json_data(f"{name}[{key!r}]", one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_data(f"{name}[{i}]", one) for i, one in enumerate(value)]
    if isinstance(value, str) and is_text(value):
        return value
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        raise refusal(name, value, "a finite number")
    raise refusal(name, value, "what JSON holds: a text, a finite number, a boolean, None, a list or a mapping")


def is_text(text: str) -> bool:
    """Tell whether a string can be stored: whether it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refusal(name: str, value: object, allowed: str) -> SpecificationError:
    """Return the error that names an argument, its value and type, and what is allowed."""
    kind = "" if value is None or isinstance(value, str | int | float) else f" of type {type(value).__name__}"
    return SpecificationError(f"{name} is {shown(value)}{kind}; it must be {allowed}")
