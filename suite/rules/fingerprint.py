"""What a function computes, as a short text: equal in every process that defines the same function, else different.

Processes that join a run must agree on its overhead model, and a name does not tell: all lambdas of a function share
one. What a function computes follows from its code, its defaults, what it closes over and which globals it reads. All
of that is written down and hashed. The code is the interpreter's, so another minor version of Python has another text.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import types
from collections.abc import Callable, Iterator
from typing import Any

_DIGEST_BYTES = 8
_PLAIN = {bool, int, float, complex, str, bytes, type(None), type(...)}


class UnknowableError(Exception):
    """The function depends on something that is neither plain data nor a function; the message says on what."""


def fingerprint(function: Callable[..., Any]) -> str:
    """Return `module.name`, with 16 hexadecimal digits of what the function computes unless it is a built-in one.

    Raises
    ------
    UnknowableError
        It depends on something that is neither plain data nor a function.
    """
    if isinstance(function, types.BuiltinFunctionType | type):
        return _name(function)
    named = function if isinstance(function, types.FunctionType | types.MethodType) else type(function)
    text = "\n".join(_describe(function, ()))
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=_DIGEST_BYTES)
    return f"{_name(named)}#{digest.hexdigest()}"


def _name(thing: Any) -> str:
    # A process that multiprocessing has spawned calls the main module by another name.
    module = "__main__" if thing.__module__ == "__mp_main__" else thing.__module__
    return f"{module}.{thing.__qualname__}"


def _describe(thing: Any, within: tuple[Any, ...]) -> Iterator[str]:
    """Yield lines that say what a value is; `within` is what it is a part of, for functions that call themselves."""
    kind = type(thing)
    if kind in _PLAIN:
        yield f"{kind.__name__} {thing!r}"
        return
    for depth, other in enumerate(within):
        if other is thing:
            yield f"the one at {depth}"
            return
    yield kind.__name__
    within = (*within, thing)
    for part in _parts(thing, within):
        yield from (part,) if isinstance(part, str) else _describe(part[0], within)
    yield "end"


def _parts(thing: Any, within: tuple[Any, ...]) -> Iterator[str | tuple[Any]]:
    """Yield what a value consists of: lines, and further values in tuples of one."""
    if isinstance(thing, tuple | list):
        yield from ((item,) for item in thing)
    elif isinstance(thing, set | frozenset):  # whose order differs from process to process
        yield from sorted("\n".join(_describe(item, within)) for item in thing)
    elif isinstance(thing, dict):
        yield from sorted("\n".join(_describe(item, within)) for item in thing.items())
    elif callable(getattr(thing, "tolist", None)):  # NumPy scalars and arrays
        yield from (str(getattr(thing, "dtype", "")), (thing.tolist(),))
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        yield _name(type(thing))
        yield from ((function,) for _, function in sorted(vars(type(thing)).items()) if _is_written(function))
        yield from ((getattr(thing, field.name),) for field in dataclasses.fields(thing))
    else:
        yield from _parts_of_code(thing)


def _parts_of_code(thing: Any) -> Iterator[str | tuple[Any]]:
    if isinstance(thing, types.FunctionType):
        yield _name(thing)
        yield from _of_function(thing)
    elif isinstance(thing, types.CodeType):
        yield thing.co_code.hex()
        yield from map(repr, (thing.co_argcount, thing.co_kwonlyargcount, thing.co_flags, thing.co_names))
        yield from ((constant,) for constant in thing.co_consts)
    elif isinstance(thing, types.MethodType):
        yield from ((thing.__func__,), (thing.__self__,))
    elif isinstance(thing, functools.partial):
        yield from ((thing.func,), (thing.args,), (thing.keywords,))
    elif isinstance(thing, types.ModuleType):
        yield thing.__name__
    elif isinstance(thing, types.BuiltinFunctionType | type):
        yield _name(thing)
    else:
        raise UnknowableError(f"it depends on an object of the class {_name(type(thing))}")


def _is_written(function: object) -> bool:
    """Tell whether it is a function that somebody has written, and not one that `dataclass` has made."""
    if not isinstance(function, types.FunctionType):
        return False
    # From Python 3.13 on `__replace__` is one that `dataclass` has not made but adds.
    return not function.__code__.co_filename.startswith("<") and function.__module__ != "dataclasses"


def _of_function(function: types.FunctionType) -> Iterator[str | tuple[Any]]:
    code = function.__code__
    yield (code,)
    yield from ((function.__defaults__,), (function.__kwdefaults__,))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield from (name, (cell.cell_contents,))
        except ValueError:
            raise UnknowableError(f"it closes over {name!r}, which has no value yet") from None
    for name in sorted(_globals_of(code)):
        if name in function.__globals__:  # not a built-in name
            yield from (name, (function.__globals__[name],))


def _globals_of(code: types.CodeType) -> set[str]:
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))
