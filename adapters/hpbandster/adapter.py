"""HpBandSter: BOHB and Hyperband, with a nameserver and worker processes or asked and told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.spaces import between_fidelities
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zerowait.adapters.hpbandster.space import HpBandSterSpace
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

_EXTRA = '"zerowait[hpbandster]"'
_ETA = 3
"""The paper's reduction factor, and HpBandSter's default."""


class HpBandSterAdapter(Adapter):
    """What the adapters of HpBandSter's optimizers have in common.

    The least and the greatest budget are those of the benchmark's fidelity unless they are given. A budget that the
    benchmark does not allow, because it has a fraction, is rounded for the objective.

    Parameters
    ----------
    **parameters
        The keyword arguments of HpBandSter's optimizer.

    Raises
    ------
    SpecificationError
        A module is not installed, a parameter is unknown or its value not allowed.
    """

    library = "hpbandster"
    modes = frozenset({"native", "ask_tell"})
    default_mode = "ask_tell"
    uses_fidelity = True
    requires: ClassVar[Mapping[str, str]] = {"hpbandster": _EXTRA, "Pyro4": _EXTRA, "statsmodels": _EXTRA}
    isolated = True
    # A new bracket opens whenever the others wait, so a free worker always gets a job: only a defect makes one idle.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=20.0)}
    allowed: ClassVar[Mapping[str, tuple[Callable[[Any], bool], str]]]
    """The parameters of the optimizer: what they may be, as a check and in words."""
    integers_for_ordinals: ClassVar[bool] = False
    """Whether the optimizer takes no ordinals."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        unknown = sorted(parameters.keys() - self.allowed.keys())
        if unknown:
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; HpBandSter's takes "
                f"{', '.join(sorted(self.allowed))} (its seed is derived from the run's)"
            )
        for name, value in parameters.items():
            is_allowed, words = self.allowed[name]
            if not is_allowed(value):
                raise SpecificationError(f"{self.name!r} was given {name}={value!r}; it must be {words}")

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space or the fidelity HpBandSter cannot take, or None."""
        from zerowait.adapters.hpbandster.space import refuses_space

        reason = super().refuses(benchmark) or self._refuses_fidelity(benchmark) or refuses_space(benchmark.space)
        if reason is not None:
            return reason
        budgets = self._budgets(benchmark)
        fidelities = self.budgets(benchmark)
        if len(set(fidelities)) < len(fidelities):
            return (
                f"its rungs would have the budgets {budgets}, which {benchmark.fidelity.name!r} rounds to "
                f"{fidelities}; a greater eta or min_budget keeps them apart"
            )
        return between_fidelities(benchmark.fidelity, fidelities)

    def budgets(self, benchmark: Benchmark) -> list[float]:
        """Return the fidelities of HpBandSter's rungs."""
        return list(map(_rounding(benchmark.fidelity), self._budgets(benchmark)))

    def _budgets(self, benchmark: Benchmark) -> list[float]:
        from zerowait.adapters.hpbandster.optimizers import budgets_of

        return budgets_of(self.name, self._space(benchmark).space, self._settings(benchmark))

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks and tells HpBandSter's brackets and generator."""
        from zerowait.adapters.hpbandster.asktell import AskTellHpBandSter
        from zerowait.adapters.hpbandster.optimizers import Brackets, make_optimizer

        space, seed = self._space(run.benchmark), run.optimizer_seed
        optimizer = make_optimizer(self.name, Brackets, space.space, seed, self._settings(run.benchmark))
        return AskTellHpBandSter(optimizer, space, _rounding(run.benchmark.fidelity), seed)

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run HpBandSter's master with one process for each worker."""
        from zerowait.adapters.hpbandster.processes import optimize_in_processes

        optimize_in_processes(
            self.name,
            self._settings(run.benchmark),
            self._space(run.benchmark),
            _rounding(run.benchmark.fidelity),
            simulator,
            n_workers=run.budget.useful_workers(run.n_workers),
            seed=run.optimizer_seed,
        )

    def _space(self, benchmark: Benchmark) -> HpBandSterSpace:
        from zerowait.adapters.hpbandster.space import HpBandSterSpace

        return HpBandSterSpace(benchmark.space, integers_for_ordinals=self.integers_for_ordinals)

    def _settings(self, benchmark: Benchmark) -> dict[str, Any]:
        fidelity = benchmark.fidelity
        return {
            "eta": _ETA,
            "min_budget": float(fidelity.lower),
            "max_budget": float(fidelity.upper),
            **self.parameters,
        }

    def _refuses_fidelity(self, benchmark: Benchmark) -> str | None:
        fidelity, settings = benchmark.fidelity, self._settings(benchmark)
        least, most = settings["min_budget"], settings["max_budget"]
        if least <= 0:
            return f"budgets are positive, and the least {fidelity.name!r} is {least}; set min_budget"
        if not fidelity.lower <= least < most <= fidelity.upper:
            return (
                f"its budgets go from {least} to {most}; the least must be less than the greatest, and both from "
                f"{fidelity.lower} to {fidelity.upper}, the range of {fidelity.name!r}"
            )
        return None


def _rounding(fidelity: Any) -> Callable[[float], float]:
    """Return the function from a budget to the nearest fidelity that is allowed."""
    return _Rounding(fidelity.lower, fidelity.upper, fidelity.integer)


class _Rounding:
    """Rounds budgets: 81 / 3**4 is not always 1.0, and 52 / 3 is no number of epochs."""

    def __init__(self, lower: float, upper: float, integer: bool) -> None:  # noqa: FBT001 - as the fidelity has them
        self._lower, self._upper, self._integer = lower, upper, integer

    def __call__(self, budget: float) -> float:
        within = min(max(budget, self._lower), self._upper)
        return round(within) if self._integer else float(within)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_HYPERBAND: dict[str, tuple[Callable[[Any], bool], str]] = {
    "eta": (lambda value: _number(value) and value >= 2, "a number of at least 2"),  # noqa: PLR2004 - HpBandSter's bound
    "min_budget": (lambda value: _number(value) and value > 0, "a positive number"),
    "max_budget": (lambda value: _number(value) and value > 0, "a positive number"),
}


class Hyperband(HpBandSterAdapter):
    """Hyperband as HpBandSter does it, asynchronously: a new bracket opens when the others have to wait."""

    name = "hyperband"
    allowed = _HYPERBAND


class Bohb(HpBandSterAdapter):
    """BOHB: Hyperband's brackets, with configurations from kernel density estimates."""

    name = "bohb"
    integers_for_ordinals = True
    allowed: ClassVar[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
        **_HYPERBAND,
        "min_points_in_model": (
            lambda value: value is None or _count(value),
            "a positive integer, or None for one more than there are parameters",
        ),
        "top_n_percent": (lambda value: _count(value) and value <= 99, "an integer from 1 to 99"),  # noqa: PLR2004 - a percentage
        "num_samples": (_count, "a positive integer"),
        "random_fraction": (lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1"),
        "bandwidth_factor": (lambda value: _number(value) and value > 0, "a positive number"),
        "min_bandwidth": (lambda value: _number(value) and value > 0, "a positive number"),
    }
