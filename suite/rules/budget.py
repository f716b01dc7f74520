"""When a run ends.

A new limit is a field of `Budget` with its rule here. The single-process loop writes the comparisons out once more
(`suite.engine`), and what it counts must be kept by both: in `sharing.header` and in the engine. A limit that is not
given must stay out of `to_json`, or every cell of every study gets another name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import BudgetExhausted, SpecificationError

Counts: TypeAlias = Literal["calls", "results"]


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends: after so many evaluations, at a simulated time, or at whichever comes first."""

    max_evaluations: int | None = None
    """So many evaluations; `counts` says which."""
    max_time: float | None = None
    """Results that end after this simulated time, in seconds, are not recorded."""
    counts: Counts = "calls"
    """What `max_evaluations` counts. `calls`: the first so many are evaluated and all of them are delivered. `results`:
    workers stay busy until so many are delivered, and what is in flight then is not recorded."""

    def __post_init__(self) -> None:
        """Refuse budgets that no run can have."""
        n, t = self.max_evaluations, self.max_time
        if n is not None:
            n = arguments.integer("max_evaluations", n, 1, allowed="an integer of at least 1, or None")
        if t is not None:
            number = arguments.real("max_time", t, 0.0, above=True, allowed="a positive number of seconds, or None")
            t = t if type(t) is int else number  # a specification keeps what it was given
        if arguments.choice("counts", self.counts, get_args(Counts)) == "results" and n is None:
            raise SpecificationError("counts is 'results' without max_evaluations; say how many, or leave counts out")
        object.__setattr__(self, "max_evaluations", n)
        object.__setattr__(self, "max_time", t)

    def __str__(self) -> str:
        return ", ".join(f"{name}={limit!r}" for name, limit in self.to_json().items() if limit is not None)

    @property
    def is_empty(self) -> bool:
        """Whether it never ends a run."""
        return self == Budget()

    @property
    def most_evaluations(self) -> float:
        """How many calls a run takes at most: infinity when their number is not limited."""
        return math.inf if self.max_evaluations is None or self.counts == "results" else self.max_evaluations

    @property
    def most_results(self) -> float:
        """How many results are delivered at most: infinity when their number is not limited."""
        return self.max_evaluations if self.max_evaluations is not None and self.counts == "results" else math.inf

    @property
    def latest(self) -> float:
        """The simulated time in seconds after which nothing is recorded: infinity when it is not limited."""
        return math.inf if self.max_time is None else self.max_time

    def useful_workers(self, n_workers: int) -> int:
        """Return how many of the workers can ever get an evaluation."""
        return int(min(n_workers, self.most_evaluations))

    def allows_call(self, started: int, last_delivery: float, delivered: int) -> bool:
        """Tell whether another evaluation is allowed at all; if not, free slots bound nothing any more."""
        counted = started if self.counts == "calls" else delivered
        if self.max_evaluations is not None and counted >= self.max_evaluations:
            return False
        return self.max_time is None or last_delivery < self.max_time

    def allows_start(self, start: float) -> bool:
        """Tell whether an evaluation may start then; asked after `allows_call`."""
        return self.max_time is None or start < self.max_time

    def allows_end(self, end: float) -> bool:
        """Tell whether a result that ends then is recorded."""
        return self.max_time is None or end <= self.max_time

    def spent(self, started: int) -> BudgetExhausted:
        """Return the error of a call that comes too late, after so many have been started."""
        return BudgetExhausted(f"the budget is spent ({self}; {started} evaluations were started)")

    def to_json(self) -> dict[str, Any]:
        """Return what specifications, cells and traces keep of it, and what `simulate` and `Simulator` take."""
        counted = {} if self.counts == "calls" else {"counts": self.counts}
        return {"max_evaluations": self.max_evaluations, "max_time": self.max_time, **counted}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the budget in a specification, whose other fields are not looked at.

        Raises
        ------
        SpecificationError
            It is no budget; the message names the field.
        """
        return cls(data.get("max_evaluations"), data.get("max_time"), data.get("counts", "calls"))
