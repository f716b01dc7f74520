"""The identity of a configuration: a canonical JSON of its values, hashed with blake2b."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zerowait.suite.rules import arguments
from zerowait.suite.rules.arguments import is_text
from zerowait.suite.rules.errors import SpecificationError, shown

DIGEST_BYTES = 16
_EMPTY = hashlib.blake2b(digest_size=DIGEST_BYTES)
_PLAIN = {bool, float, int, str, type(None)}


def plain(value: Any) -> Any:
    """Turn what JSON does not know (NumPy scalars and arrays, mappings) into what it does."""
    if isinstance(value, Mapping):
        return dict(value)
    item = getattr(value, "tolist", None)  # NumPy scalars and arrays
    if callable(item):
        return item()
    raise TypeError(f"a value of type {type(value).__name__}")


def _make_encode() -> Callable[[Any], str]:
    make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if make_encoder is None:
        return json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=plain).encode
    # JSONEncoder.encode makes this object anew for every call, which is half of its cost.
    quote = json.encoder.encode_basestring_ascii
    chunks = make_encoder(None, plain, quote, None, ":", ",", True, False, True)
    return lambda value: "".join(chunks(value, 0))


_encode = _make_encode()
_unescaped = json.JSONEncoder(ensure_ascii=False, default=plain).encode


def canonical_json(config: Mapping[str, Any]) -> str:
    """Return the same text for the same values, whatever the order of the keys and whichever process asks.

    Raises
    ------
    SpecificationError
        A name is not a string, a value has no JSON form, or a text holds a half of a surrogate pair, which no file can
        hold; the message names the parameter, value and type.
    """
    if type(config) is not dict:
        arguments.configuration(config)
    try:
        "".join(config)  # a TypeError unless all names are strings: JSON would turn 1 into "1"
        text = _encode(config if type(config) is dict else dict(config))
    except (TypeError, ValueError, RecursionError):
        for name, value in config.items():
            if not isinstance(name, str):
                raise SpecificationError(
                    f"parameter name {name!r} is of type {type(name).__name__}; names must be strings"
                ) from None
            try:
                _encode(value)
            except (TypeError, ValueError, RecursionError):
                raise SpecificationError(
                    f"parameter {name!r} has the value {value!r} of type {type(value).__name__}; a configuration may "
                    "hold numbers, strings, booleans, None, and lists of them"
                ) from None
        raise
    if "\\ud" in text:  # a surrogate, which is rare, and then mostly in a pair
        for name, value in config.items():
            if not is_text(_unescaped([name, value])):
                raise SpecificationError(
                    f"parameter {name!r} has the value {shown(value)}, a text with half a surrogate pair, which no "
                    "file can hold; give whole characters (decode bytes with errors='replace', for instance)"
                )
    return text


def canonical_json_of_checked(config: dict[str, Any]) -> str:
    """Return the canonical JSON of a dictionary that `check_config` has let pass, in two thirds of the time."""
    return _encode(config)


def canonical_texts(columns: Mapping[str, Sequence[Any]], n: int) -> list[str]:
    """Return the canonical JSON of `n` configurations that `check_config` has let pass, given by their values."""
    if not columns:
        return ["{}"] * n
    names = sorted(columns)
    form = "{" + ",".join(f"{_encode(name)}:%s".replace("%", "%%").replace("%%s", "%s") for name in names) + "}"
    return list(map(form.__mod__, zip(*(_texts(columns[name]) for name in names), strict=True)))


def _texts(values: Sequence[Any]) -> Sequence[str]:
    """Return the JSON of each value; of finite floats and of integers it is what they print as."""
    kinds = set(map(type, values))
    if (kinds == {float} and all(map(math.isfinite, values))) or kinds == {int}:
        return list(map(repr, values))
    return list(map(_encode, values))


def check_config_id(config_id: object) -> str:
    """Return the optimizer's own name of a configuration as text; an integer, where it counts, as its digits.

    Raises
    ------
    SpecificationError
        It is neither a string nor an integer, or a string that no file can hold.
    """
    if isinstance(config_id, str) and is_text(config_id):
        return config_id
    number = arguments.plain_number(config_id)
    if isinstance(number, int):
        return str(number)
    raise SpecificationError(
        f"config_id is {shown(config_id)} of type {type(config_id).__name__}; it must be a string of whole characters, "
        "an integer, or None"
    )


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse what `canonical_json` refuses; this costs next to nothing when all values are plain."""
    if type(config) is not dict:
        arguments.configuration(config)
    try:
        names = "".join(config)
    except TypeError:
        canonical_json(config)
        raise
    kinds = {*map(type, config.values())}
    if (
        not kinds <= _PLAIN
        or not names.isascii()
        or (str in kinds and not all(value.isascii() for value in config.values() if type(value) is str))
    ):
        canonical_json(config)


def digest(identity: str) -> bytes:
    """Return the 16-byte blake2b digest of an identity (a configuration's canonical JSON, or its given id)."""
    state = _EMPTY.copy()  # a third faster than a new one with its size
    state.update(identity.encode())
    return state.digest()


def config_id(canonical: str, given: str | None) -> str:
    """Return the identity that a trace shows: the optimizer's id if it gave one, else the digest in hexadecimal."""
    return given if given is not None else digest(canonical).hex()
