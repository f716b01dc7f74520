"""What a cluster is like whose workers are neither equal nor eternal: a frozen description, checked when it is made."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError, shown

Outage: TypeAlias = tuple[int, float, float]

_LARGEST_SPEED = 1e6
_LARGEST_DEVIATION = 10.0
"""Of a normal number, which is at most 9 deviations from 0 here: its exponential stays below 1e40."""
_LARGEST_RATE = 1e6
_MOST_RETRIES = 1000
CLUSTERS = "a description: zerowait.Cluster(...), such as Cluster(speeds=[1.0, 0.5], failures={'probability': 0.1})"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a run: P equal, perfect ones by default.

    Each condition is given by plain data, the same in Python and in a study file, and draws for itself: switching one
    on changes no draw of another.
    """

    speeds: Sequence[float] | Mapping[str, float] | None = None
    """An evaluation takes its runtime / speed: one number a worker, which repeat from the first one where there are
    more workers, or a distribution of the workers' speeds, `{"lognormal": sigma}`."""
    stragglers: Mapping[str, float] | None = None
    """A factor on the runtime of each evaluation: `{"half_normal": std}` draws 1 + abs(z), as Li et al. (2020, arXiv
    1810.05934) simulate, `{"lognormal": sigma}` draws exp(z)."""
    failures: Mapping[str, float] | None = None
    """When an attempt fails: `{"rate": r}`, r times a simulated second in which it runs, or `{"probability": p}`, then
    at a moment that is uniform over its length."""
    preemptions: Sequence[Sequence[float]] | Mapping[str, float] | None = None
    """When workers are away, in simulated seconds: a list of `[worker, from, to]`, or drawn for each worker from
    `{"rate": r, "back": b}`: it leaves r times and returns b times a second."""
    arrivals: Sequence[float] | None = None
    """From when on workers are there, in simulated seconds: one number a worker, 0 where there are more workers."""
    departures: Sequence[float | None] | None = None
    """When workers leave for good: one number a worker, None for never; what runs then is lost."""
    checkpoints: bool = False
    """Whether a preempted evaluation goes on when its worker is back; otherwise what ran is lost."""
    retries: int = 0
    """So many times an attempt that failed or was preempted is repeated, on the same worker."""

    def __post_init__(self) -> None:
        """Refuse what no cluster is, and keep plain data: tuples of floats, and small mappings."""
        checked = {
            "speeds": _speeds(self.speeds),
            "stragglers": _one_of("stragglers", self.stragglers, _STRAGGLERS),
            "failures": _one_of("failures", self.failures, _FAILURES),
            "preemptions": _preemptions(self.preemptions),
            "arrivals": _arrivals(self.arrivals),
            "departures": _departures(self.departures),
            "checkpoints": arguments.boolean("checkpoints", self.checkpoints),
            "retries": arguments.integer("retries", self.retries, 0, _MOST_RETRIES),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        for worker in range(len(self.departures or ())):
            if self.departure(worker) <= self.arrival(worker):
                raise SpecificationError(
                    f"departures[{worker}] is {self.departure(worker)!r}, and arrivals[{worker}] is "
                    f"{self.arrival(worker)!r}; a worker must arrive before it departs"
                )

    @property
    def is_perfect(self) -> bool:
        """Whether it is P equal workers that are always there: then traces are those of no cluster."""
        conditions = self.speeds, self.stragglers, self.failures, self.preemptions, self.arrivals, self.departures
        return all(condition is None for condition in conditions)

    def arrival(self, worker: int) -> float:
        """Return from when on a worker is there."""
        arrivals = self.arrivals or ()
        return arrivals[worker] if worker < len(arrivals) else 0.0

    def departure(self, worker: int) -> float:
        """Return when a worker leaves for good: infinity for never."""
        departures = self.departures or ()
        found = departures[worker] if worker < len(departures) else None
        return math.inf if found is None else found

    def for_workers(self, n_workers: int) -> Self | None:
        """Return the description where it fits so many workers, or None where it is the default.

        Raises
        ------
        SpecificationError
            It names workers that the run does not have.
        """
        for name in ("speeds", "arrivals", "departures"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) > n_workers:
                raise SpecificationError(
                    f"{name} has {len(given)} numbers, and n_workers is {n_workers}; it must have at most as many"
                )
        if isinstance(self.preemptions, tuple):
            for worker, *_ in self.preemptions:
                if worker >= n_workers:
                    raise SpecificationError(
                        f"preemptions names worker {worker:g}, and n_workers is {n_workers}; workers are counted from 0"
                    )
        return None if self.is_perfect else self

    def to_json(self) -> dict[str, Any]:
        """Return what specifications, cells and traces keep of it: what differs from perfect workers."""
        perfect = {field.name: field.default for field in fields(self)}
        given = {name: getattr(self, name) for name in perfect if getattr(self, name) != perfect[name]}
        return {name: _as_json(value) for name, value in given.items()}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Return the cluster that `to_json` or a study file describes.

        Raises
        ------
        SpecificationError
            No cluster is described so; the message names the key.
        """
        if not isinstance(data, Mapping):
            raise arguments.refusal("the cluster", data, "a table, such as {speeds = [1.0, 0.5]}")
        _refuse_unknown("a cluster", data, [field.name for field in fields(cls)])
        return cls(**data)


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


_SPEEDS = {"lognormal": _LARGEST_DEVIATION}
_STRAGGLERS = {"half_normal": _LARGEST_SPEED, "lognormal": _LARGEST_DEVIATION}
_FAILURES = {"rate": _LARGEST_RATE, "probability": 1.0 - 2.0**-20}
_PREEMPTIONS = {"rate": _LARGEST_RATE, "back": _LARGEST_RATE}
"""The numbers of each condition, with the largest that is allowed: 0 stands for none."""


def _refuse_unknown(what: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise SpecificationError(f"{shown(key)} is not a key of {what}; {meant}allowed: {', '.join(known)}")


def _numbers(name: str, table: object, largest: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(table, Mapping):
        raise arguments.refusal(name, table, _tables(largest))
    _refuse_unknown(name, table, list(largest))
    return {key: arguments.real(f"{name}.{key}", value, 0.0, largest[key]) for key, value in table.items()}


def _tables(known: Mapping[str, float]) -> str:
    return f"one of {', '.join(f'{{{key!r}: number}}' for key in known)}"


def _one_of(name: str, table: object, largest: Mapping[str, float]) -> dict[str, float] | None:
    if table is None:
        return None
    found = _numbers(name, table, largest)
    if len(found) != 1:
        raise arguments.refusal(name, table, _tables(largest))
    return found if any(found.values()) else None


def _list(name: str, value: object, allowed: str) -> list[Any]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise arguments.refusal(name, value, allowed)
    return list(value)


def _speeds(value: object) -> tuple[float, ...] | dict[str, float] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return _one_of("speeds", value, _SPEEDS)
    found = _list("speeds", value, "a list of one number a worker, or {'lognormal': sigma}")
    if not found:
        raise arguments.refusal("speeds", value, "a list of at least one number")
    speeds = tuple(
        arguments.real(f"speeds[{k}]", one, 1.0 / _LARGEST_SPEED, _LARGEST_SPEED) for k, one in enumerate(found)
    )
    return None if set(speeds) == {1.0} else speeds


def _arrivals(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    found = _list("arrivals", value, "a list of one number of seconds a worker")
    times = tuple(arguments.real(f"arrivals[{k}]", one, 0.0) for k, one in enumerate(found))
    return times if any(times) else None


def _departures(value: object) -> tuple[float | None, ...] | None:
    if value is None:
        return None
    found = _list("departures", value, "a list of one number of seconds a worker, or None for never")
    times = tuple(
        None if one is None or one == math.inf else arguments.real(f"departures[{k}]", one, 0.0, above=True)
        for k, one in enumerate(found)
    )
    return None if all(time is None for time in times) else times


def _rates_of_preemption(value: Mapping[str, Any]) -> dict[str, float] | None:
    rates = _numbers("preemptions", value, _PREEMPTIONS)
    for key in _PREEMPTIONS:
        if key not in rates:
            raise SpecificationError(
                f"preemptions has no {key}; it must have rate and back: how often a second a worker leaves and returns"
            )
    if not rates["rate"]:
        return None
    if not rates["back"]:
        raise arguments.refusal("preemptions.back", 0.0, "above 0: a worker that never returns leaves no worker")
    return rates


def _preemptions(value: object) -> tuple[Outage, ...] | dict[str, float] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return _rates_of_preemption(value)
    form = "a list of [worker, from, to], or {'rate': number, 'back': number}"
    outages: list[Outage] = []
    for k, one in enumerate(_list("preemptions", value, form)):
        name = f"preemptions[{k}]"
        entry = _list(name, one, "[worker, from, to]")
        if len(entry) != 3:  # noqa: PLR2004 - as the message says
            raise arguments.refusal(name, one, "[worker, from, to]")
        worker = arguments.integer(f"{name}[0]", entry[0], 0)
        away = arguments.real(f"{name}[1]", entry[1], 0.0)
        back = arguments.real(f"{name}[2]", entry[2], away, above=True)
        outages.append((worker, away, back))
    outages.sort()
    for (worker, away, back), (other, then, _) in itertools.pairwise(outages):
        if other == worker and then <= back:
            raise SpecificationError(
                f"preemptions has worker {worker} away from {away!r} to {back!r} s and again from {then!r} s; write "
                "what touches or overlaps as one"
            )
    return tuple(outages) or None
