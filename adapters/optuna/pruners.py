"""Optuna's pruners: a trial is one training, of which a pruner sees the loss while it goes on, and may end it.

After each of its rungs a trial reports, asks whether to go on, and does so at once on its worker, as a thread of Optuna
in the loop over its epochs does. Each report is an evaluation, continued from the one before.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from zerowait.adapters.optuna.rungs import Rung
from zerowait.adapters.spaces import ETA, between_fidelities
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive-halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}
"""What a study calls a pruner, and what `optuna.pruners` does."""

LEAST = {
    "min_resource": 1, "max_resource": 1, "reduction_factor": 2, "bootstrap_count": 0, "min_early_stopping_rate": 0,
    "n_startup_trials": 0, "n_warmup_steps": 0, "interval_steps": 1, "n_min_trials": 1,
}  # fmt: skip
"""Of the pruners' arguments that are integers."""
MOST_REPORTS = 10_000
"""Of a trial. More are a slip: the pruner compares each of them with those of all other trials."""

_ROUNDING = 1e-9
"""Relative error of a ratio that is still a power of eta: 0.9 / 0.1 may be less than 9."""


class Pruning(Protocol):
    """When a pruner sees a trial, and which one; a fidelity is that of a benchmark."""

    def check(self) -> None:
        """Raise `SpecificationError` where the pruner does not take an argument or its value."""

    def refuses(self, fidelity: Any) -> str | None:
        """Return why a benchmark with this fidelity cannot be taken, or None."""

    def rungs(self, fidelity: Any) -> Sequence[Rung]:
        """Return the fidelities at which a trial reports, ascending, and the steps by which Optuna knows them."""

    def make(self, fidelity: Any) -> optuna.pruners.BasePruner:
        """Return a fresh pruner."""


class EveryEpoch:
    """A trial reports after every epoch, the last one included, and the step that Optuna sees is the epoch.

    Parameters
    ----------
    pruner
        One of `PRUNERS`, or a mapping with that `name` and the arguments of the pruner in Optuna. Their defaults are
        Optuna's, but for `min_resource` and `max_resource`: what Optuna guesses from the first complete trial, the
        benchmark says before.

    Raises
    ------
    SpecificationError
        There is no such pruner.
    """

    def __init__(self, pruner: object) -> None:
        given: dict[str, Any] = dict(pruner) if isinstance(pruner, Mapping) else {"name": pruner}
        name = given.pop("name", None)
        if not isinstance(name, str) or name not in PRUNERS:
            raise SpecificationError(
                f"pruner is {pruner!r}; it must be one of {', '.join(PRUNERS)}, or a table with that name and its "
                "arguments, such as {name = 'percentile', percentile = 25.0}"
            )
        self._name = name
        self._arguments = given

    def check(self) -> None:
        """Raise `SpecificationError` where the pruner does not take an argument or its value."""
        taken = inspect.signature(self._class()).parameters
        unknown = sorted(self._arguments.keys() - taken.keys())
        if unknown:
            raise SpecificationError(
                f"the pruner {self._name!r} was given {', '.join(map(repr, unknown))}; {PRUNERS[self._name]} takes "
                f"{', '.join(sorted(taken))}"
            )
        # Optuna takes some of the wrong type and fails, or rounds, when it prunes for the first time.
        guessed = "min_resource" if self._name == "successive-halving" else "max_resource"  # by Optuna
        given = {name: value for name, value in self._arguments.items() if (name, value) != (guessed, "auto")}
        for name in filter(given.__contains__, LEAST):
            _integer(name, given[name], given.get("min_resource", 1) if name == "max_resource" else LEAST[name])
        if self._name == "percentile":
            arguments.real("percentile", given.get("percentile"), 0.0, 100.0)
        try:
            self._make(1, ETA)
        except (TypeError, ValueError) as error:
            raise SpecificationError(f"{PRUNERS[self._name]} does not take {self._arguments}: {error}") from error

    def refuses(self, fidelity: Any) -> str | None:
        """Return why trainings at this fidelity have no epochs, or None."""
        if not fidelity.integer or fidelity.lower < 0:
            return (
                f"the pruner {self._name!r} sees a training after every epoch, and the fidelity {fidelity.name!r} "
                f"counts none (it goes from {fidelity.lower:g} to {fidelity.upper:g}); optuna-hyperband takes it"
            )
        reports = len(_epochs(fidelity))
        if reports > MOST_REPORTS:
            return (
                f"the pruner {self._name!r} would see a training {reports:,} times, at every {fidelity.name} from "
                f"{fidelity.lower} to {fidelity.upper}, and {MOST_REPORTS:,} is the most; give a narrower "
                "fidelity_range, or take optuna-hyperband"
            )
        return None

    def rungs(self, fidelity: Any) -> Sequence[Rung]:
        """Return every epoch, or those that the benchmark has."""
        return [Rung(epoch, epoch) for epoch in _epochs(fidelity)]

    def make(self, fidelity: Any) -> optuna.pruners.BasePruner:
        """Return a fresh pruner, which knows at which epochs a training begins and ends."""
        return self._make(max(1, int(fidelity.lower)), int(fidelity.upper))

    def _make(self, first: int, last: int) -> optuna.pruners.BasePruner:
        arguments = self._arguments
        if self._name in {"successive-halving", "hyperband"}:
            arguments = {"min_resource": first, **arguments}
        if self._name == "hyperband":
            eta: int = arguments.get("reduction_factor", ETA)
            least: int = arguments["min_resource"]
            arguments = {"max_resource": _max_resource(least * _powers(eta, last / least)[-1]), **arguments}
        pruner: optuna.pruners.BasePruner = self._class()(**arguments)
        return pruner

    def _class(self) -> Any:
        import optuna.pruners

        return getattr(optuna.pruners, PRUNERS[self._name])


class HyperbandRungs:
    """A trial reports at the rungs of Hyperband alone, as it does in the other libraries here that have it.

    They are the fidelities upper / eta^k, from the least that is in range to the upper one. The pruner decides as
    Hyperband does with asynchronous successive halving (Li et al., JMLR 18 (2018) 185; Li et al., MLSys 2020): a trial
    belongs to a bracket s, drawn from its number, and from rung s on goes on only while it is among the best 1/eta of
    what has reached the rung. Below rung s it is not pruned, nor at the last one.

    Parameters
    ----------
    reduction_factor
        The eta of Hyperband, an integer of at least 2.
    bootstrap_count
        How many trials must have reached a rung before one goes on, an integer of at least 0.
    """

    def __init__(self, reduction_factor: int = ETA, bootstrap_count: int = 0) -> None:
        self._reduction_factor = reduction_factor
        self._bootstrap_count = bootstrap_count

    def check(self) -> None:
        """Raise `SpecificationError` where the pruner does not take the value of an argument."""
        _integer("reduction_factor", self._reduction_factor, 2)
        _integer("bootstrap_count", self._bootstrap_count, 0)

    def refuses(self, fidelity: Any) -> str | None:
        """Return why there are no rungs in this fidelity, or None."""
        if fidelity.lower <= 0:
            return (
                f"the number of rungs is the logarithm of the highest fidelity over the lowest one, and that of "
                f"{fidelity.name!r} is {fidelity.lower}"
            )
        return between_fidelities(fidelity, [rung.fidelity for rung in self.rungs(fidelity)])

    def rungs(self, fidelity: Any) -> Sequence[Rung]:
        """Return upper / eta^(K - k) for k from 0 to K, each with the step eta^k; whole where fidelities are."""
        steps = self._steps(fidelity)
        budgets = [max(fidelity.lower, fidelity.upper / divisor) for divisor in reversed(steps)]
        if fidelity.integer:
            budgets = [round(budget) for budget in budgets]
        return [Rung(budget, step, step < steps[-1]) for budget, step in zip(budgets, steps, strict=True)]

    def make(self, fidelity: Any) -> optuna.pruners.BasePruner:
        """Return a fresh HyperbandPruner, which knows the rungs by their steps."""
        import optuna.pruners

        return optuna.pruners.HyperbandPruner(
            min_resource=1,
            max_resource=_max_resource(self._steps(fidelity)[-1]),
            reduction_factor=self._reduction_factor,
            bootstrap_count=self._bootstrap_count,
        )

    def _steps(self, fidelity: Any) -> list[int]:
        """Return the powers of eta by which the upper fidelity can be divided."""
        return _powers(self._reduction_factor, fidelity.upper / fidelity.lower)


def _epochs(fidelity: Any) -> Sequence[int]:
    values = getattr(fidelity, "values", None)
    return range(int(fidelity.lower), int(fidelity.upper) + 1) if values is None else [int(value) for value in values]


def _powers(eta: int, largest: float) -> list[int]:
    powers = [1]
    while powers[-1] * eta <= largest * (1 + _ROUNDING):
        powers.append(powers[-1] * eta)
    return powers


def _max_resource(last_rung: int) -> int:
    """Return a max_resource of which Optuna makes the right number of brackets.

    It counts them by floor(log(max_resource / min_resource) / log(reduction_factor)), which is 4.999... for 243, 1 and
    3, and uses max_resource for nothing else. A number in the middle of two powers is counted right.
    """
    return last_rung + last_rung // 2


def _integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecificationError(f"{name} is {value!r}; it must be an integer of at least {least}")
    return value
