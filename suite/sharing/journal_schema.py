"""The schema of a journal record: its fields, how each part of one is written, and what identifies its configuration.

A record is written in two parts, because its configuration is known when a slot is claimed and its outcome when the
objective has returned; the numbers in front of both are known when it is delivered. The parts are pieces of one JSON
object, so nothing is parsed on the way.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from zerowait.suite.rules.arguments import is_text
from zerowait.suite.rules.errors import shown
from zerowait.suite.rules.evaluation import Evaluation
from zerowait.suite.rules.fidelities import Others, training_identity
from zerowait.suite.rules.identity import digest
from zerowait.suite.rules.occupation import Occupation
from zerowait.suite.sharing import header
from zerowait.suite.sharing.journal import Record
from zerowait.suite.sharing.table import CONTRADICTS, LATE, STATUS_NAMES, SlotTable

_encode = json.JSONEncoder(separators=(",", ":")).encode

# -- writing -----------------------------------------------------------------------------------------------------------


def claim_text(
    config_id: str, canonical: str, fidelity: float | None, seed: int | None, *, named: bool, others: Others | None
) -> bytes:
    """Return the part that is known when a slot is claimed; `named` says that the optimizer gave the id."""
    quoted = f'{_encode(config_id)},"named":true' if named else f'"{config_id}"'
    number = "null" if fidelity is None else repr(fidelity)
    drawn = "" if seed is None else f'"seed":{seed},'
    if others is not None:
        drawn = f'"fidelities":{_encode(others)},{drawn}'
    return f'"config_id":{quoted},"fidelity":{number},{drawn}"config":{canonical}'.encode()


def outcome_text(evaluation: Evaluation) -> bytes:
    """Return the part that is known when the objective has returned an evaluation."""
    metrics = _encode(evaluation.metrics) if evaluation.metrics else "{}"
    return f',"status":"ok","value":{evaluation.value!r},"metrics":{metrics}'.encode()


def failure_text(error: str, status: str = "failed", *, diverged: bool = False) -> bytes:
    """Return the same part of an evaluation that failed or was preempted, with what the error says."""
    known = ',"diverged":true' if diverged else ""
    return f',"status":"{status}","value":NaN,"metrics":{{}},"error":{_encode(error)}{known}'.encode()


def cluster_text(training: float, occupation: Occupation) -> bytes:
    """Return what the cluster adds: the seconds of training it was given, and what became of them."""
    return f',"training":{training!r},"attempt":{occupation.attempts},"lost_time":{occupation.lost!r}'.encode()


LOST_TEXT = b',"status":"lost","value":NaN,"metrics":{}'
"""The same part of an evaluation whose worker died."""


class Release(Enum):
    """Why a result was delivered, and how its record says so."""

    DUE = b""
    """Nothing earlier can still appear."""
    SAID = b'"said":true,'
    """It was said that the free slots get no call before it."""
    IDLE = b'"idle":true,'
    """The free slots were taken to be idle."""
    STALLED = b'"idle":true,"stalled":true,'
    """The same, although something worked: for too long without a call, and too little to be computing."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.is_guess = text.startswith(b'"idle"')
        """Whether nobody knows that no call comes."""


_NUMBERS = (
    b'{"evaluation":%d,"slot":%d,"call":%d,"after":%d,"freed":%a,"start":%a,"end":%a,"runtime":%a,"overhead":%a,'
    b'"wall":%.6f,'
)


def numbers_text(table: SlotTable, slot: int, now: float, release: Release, *, measured: bool) -> bytes:
    """Return the part that is known when the evaluation in a slot is recorded, at the real time `now` in seconds.

    When overhead is `measured`, it tells when the call came in, unless nobody lived for a while: then `wall` stood
    still, too.
    """
    (
        end, charged, freed, queried, called, passed_over, start, overhead, _, resumed_from, runtime, call, after,
        marks,
    ) = table.recorded(table.rows[slot])  # fmt: skip
    text = _NUMBERS % (
        table.ints[header.RECORDED], slot, call, after, freed, start, end, charged, overhead,
        now - table.floats[header.ORIGIN],
    )  # fmt: skip
    if resumed_from == resumed_from:  # noqa: PLR0124 - not NaN: it continues a state
        text += b'"resumed_from":%a,"clipped":%b,"from_scratch":%a,' % (
            resumed_from,
            b"true" if marks & 1 else b"false",
            runtime,
        )
    text += release.text
    if passed_over == CONTRADICTS:
        text += b'"wrong_guess":true,'
    if marks & LATE:
        text += b'"late":%a,"query":%.6f,' % (runtime, queried)
    if measured and not table.floats[header.STOOD_STILL]:
        text += b'"called":%.6f,' % (called - table.floats[header.ORIGIN])
    return text


# -- reading -----------------------------------------------------------------------------------------------------------


def identity_of(fields: Record) -> bytes:
    """Return the digest of what identifies the training of a record.

    That is the optimizer's id of the configuration, or its values, and the fidelities that are no part of continuing.
    """
    config = digest(fields["config_id"]) if fields.get("named") else bytes.fromhex(fields["config_id"])
    return training_identity(config, fields.get("fidelities"))


def training_seconds(fields: Record) -> float:
    """Return the seconds of a record's whole training up to its fidelity, whatever of them was charged.

    `runtime` is what was charged: of a continued training the rest, of a late one what its query took, in a cluster
    the time for which its worker was occupied.
    """
    seconds: float = next(fields[name] for name in ("from_scratch", "late", "training", "runtime") if name in fields)
    return float(seconds)


def config_text(fields: Record) -> str:
    """Return the canonical JSON of a record's configuration.

    It stands in the journal and is not sorted again: names that were numbers are text by now and sort differently.
    """
    return json.dumps(fields["config"], separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of a record must be."""

    meaning: str
    allows: Callable[[Any], bool]
    required: bool = True


_LARGEST_FLOAT = sys.float_info.max
_LARGEST_COUNT = 2**63 - 1  # what the table of slots can hold


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _are_fidelities(value: Any) -> bool:
    return type(value) is dict and all(one is None or _is_finite(one) for one in value.values())


def _is_config(value: Any) -> bool:
    try:
        return type(value) is dict and bool(json.dumps(value))
    except RecursionError:
        return False


_COUNT = Field("an integer from 0 to 2**63 - 1", lambda v: type(v) is int and 0 <= v <= _LARGEST_COUNT)
_SECONDS = Field("a finite number of at least 0", lambda v: _is_finite(v) and v >= 0)
_FLAG = Field("true, or left out", lambda v: v is True, required=False)
FIELDS: Mapping[str, Field] = {
    "evaluation": _COUNT,
    "slot": _COUNT,
    "call": Field("an integer from 1 to 2**63 - 1", lambda v: type(v) is int and 1 <= v <= _LARGEST_COUNT),
    "after": _COUNT,
    "freed": _SECONDS,
    "start": _SECONDS,
    "end": _SECONDS,
    "runtime": _SECONDS,
    "overhead": _SECONDS,
    "wall": Field("a finite number", _is_finite),
    "config_id": Field("a string", lambda v: type(v) is str and is_text(v)),
    "named": _FLAG,
    "fidelity": Field("a finite number or null", lambda v: v is None or _is_finite(v)),
    "fidelities": Field("an object of finite numbers or null", _are_fidelities, required=False),
    "seed": Field(_COUNT.meaning, _COUNT.allows, required=False),
    "config": Field("an object", _is_config),
    "status": Field(f"one of {', '.join(STATUS_NAMES)}", lambda v: type(v) is str and v in STATUS_NAMES),
    "value": Field("a number", _is_number),
    "metrics": Field("an object of numbers", lambda v: type(v) is dict and all(map(_is_number, v.values()))),
    "error": Field("a string", lambda v: type(v) is str, required=False),
    "diverged": _FLAG,
    "resumed_from": Field("a finite number", _is_finite, required=False),
    "clipped": Field("true or false", lambda v: type(v) is bool, required=False),
    "from_scratch": Field(_SECONDS.meaning, _SECONDS.allows, required=False),
    "idle": _FLAG,
    "stalled": _FLAG,
    "said": _FLAG,
    "wrong_guess": _FLAG,
    "late": Field(_SECONDS.meaning, _SECONDS.allows, required=False),
    "query": Field("a finite number", _is_finite, required=False),
    "called": Field("a finite number", _is_finite, required=False),
    "training": Field(_SECONDS.meaning, _SECONDS.allows, required=False),
    "attempt": Field("an integer from 1 to 2**63 - 1", lambda v: type(v) is int and 1 <= v <= _LARGEST_COUNT, False),
    "lost_time": Field(_SECONDS.meaning, _SECONDS.allows, required=False),
}
"""The fields of a record; those of a continued evaluation come together or not at all, and those of a cluster too."""
_TOGETHER = {
    "a continued evaluation": ("resumed_from", "clipped", "from_scratch"),
    "an evaluation in a cluster": ("training", "attempt", "lost_time"),
}


def problems(fields: Record) -> Iterator[str]:
    """Yield what is wrong with the fields of a record, seen by itself."""
    for name, field in FIELDS.items():
        if name not in fields:
            if field.required:
                yield f"{name} is missing"
        elif not field.allows(fields[name]):
            yield f"{name} is {shown(fields[name])}; it must be {field.meaning}"
    for name in sorted(fields.keys() - FIELDS.keys()):
        yield f"{shown(name)} is no field of a record"
    for whose, names in _TOGETHER.items():
        if len({name in fields for name in names}) > 1:
            yield f"only some of {', '.join(names)} are there; {whose} has all of them"
    given = fields.get("config_id")
    if type(given) is str and not fields.get("named") and not re.fullmatch("[0-9a-f]{32}", given):
        yield f"config_id is {shown(given)}; it must be a digest of 32 hexadecimal digits, or named by the optimizer"
