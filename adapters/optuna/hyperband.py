"""Optuna's TPE with its Hyperband pruner: a trial is one training that is continued from rung to rung.

A trial is evaluated at the fidelities upper / eta^k, from the least that is in range to the upper one, as long as the
pruner lets it: the rungs of Hyperband, and of the other libraries here that have it. The pruner decides as Hyperband
does with asynchronous successive halving (Li et al., JMLR 18 (2018) 185; Li et al., MLSys 2020): a trial belongs to a
bracket s, drawn from its number, and from rung s on goes on only while it is among the best 1/eta of what has reached
the rung. Below rung s it is not pruned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.optuna.adapter import OptunaTPE
from zerowait.adapters.optuna.rungs import Rung
from zerowait.adapters.spaces import between_fidelities
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from zerowait.adapters.adapter import Benchmark

_ROUNDING = 1e-9
"""Relative error of a ratio that is still a power of eta: 0.9 / 0.1 may be less than 9."""


class OptunaHyperband(OptunaTPE):
    """TPE with HyperbandPruner.

    Parameters
    ----------
    reduction_factor
        The eta of Hyperband, an integer of at least 2; 3 by default.
    bootstrap_count
        How many trials must have reached a rung before one goes on; 0 by default.
    **parameters
        The keyword arguments of the sampler, except its seed.

    Raises
    ------
    SpecificationError
        A module is not installed, or sampler or pruner do not take a parameter or its value.
    """

    name = "optuna-hyperband"
    uses_fidelity = True
    continues = True
    several_objectives = False  # pruners of Optuna see one
    other_parameters = frozenset({"reduction_factor", "bootstrap_count"})
    eta: ClassVar[int] = 3
    """The reduction factor unless another one is given."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._reduction_factor = _integer("reduction_factor", parameters.get("reduction_factor", self.eta), 2)
        self._bootstrap_count = _integer("bootstrap_count", parameters.get("bootstrap_count", 0), 0)

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return why this optimizer cannot run on this benchmark, or None."""
        reason = super().refuses(benchmark)
        if reason is None and benchmark.fidelity.lower <= 0:
            return (
                f"the number of rungs is the logarithm of the highest fidelity over the lowest one, and that of "
                f"{benchmark.fidelity.name!r} is {benchmark.fidelity.lower}"
            )
        return reason or between_fidelities(benchmark.fidelity, self.budgets(benchmark))

    def budgets(self, benchmark: Benchmark) -> list[float]:
        """Return the fidelities of the rungs."""
        return [float(rung.fidelity) for rung in self.rungs(benchmark) if rung.fidelity is not None]

    def rungs(self, benchmark: Benchmark) -> Sequence[Rung]:
        """Return upper / eta^(K - k) for k from 0 to K, each with the step eta^k; whole where fidelities are."""
        fidelity = benchmark.fidelity
        steps = self._steps(benchmark)
        budgets = [max(fidelity.lower, fidelity.upper / divisor) for divisor in reversed(steps)]
        if fidelity.integer:
            budgets = [round(budget) for budget in budgets]
        return [Rung(budget, step) for budget, step in zip(budgets, steps, strict=True)]

    def make_pruner(self, benchmark: Benchmark) -> optuna.pruners.BasePruner:
        """Return a fresh HyperbandPruner, which knows the rungs by their steps."""
        import optuna.pruners

        last = self._steps(benchmark)[-1]
        # It counts its brackets by floor(log(max_resource) / log(reduction_factor)), which is 4.999... for 243 and 3,
        # and uses max_resource for nothing else. A number in the middle of two powers is counted right.
        return optuna.pruners.HyperbandPruner(
            min_resource=1,
            max_resource=last + last // 2,
            reduction_factor=self._reduction_factor,
            bootstrap_count=self._bootstrap_count,
        )

    def _steps(self, benchmark: Benchmark) -> list[int]:
        """Return the powers of eta by which the upper fidelity can be divided."""
        largest = benchmark.fidelity.upper / benchmark.fidelity.lower * (1 + _ROUNDING)
        steps = [1]
        while steps[-1] * self._reduction_factor <= largest:
            steps.append(steps[-1] * self._reduction_factor)
        return steps


def _integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecificationError(f"{name} is {value!r}; it must be an integer of at least {least}")
    return value
