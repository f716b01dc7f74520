"""HEBO: heteroscedastic evolutionary Bayesian optimization, by `HEBO.suggest` and `HEBO.observe`.

HEBO has no parallel machinery of its own and chooses no training budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.suite.rules.evaluation import AskTellOptimizer

PARAMETERS = ("model_name", "model_config", "rand_sample")
FEWEST_RANDOM = 2


class HEBOAdapter(Adapter):
    """Gaussian process on transformed values, and a Pareto front of acquisitions (Cowen-Rivers et al., JAIR 2022).

    Parameters
    ----------
    **parameters
        Keyword arguments of `hebo.optimizers.hebo.HEBO`: `model_name` (the surrogate, "gp" by default), `model_config`
        (its settings), `rand_sample` (quasi-random results before the model is used, at least 2; one more than there
        are parameters by default).

    Raises
    ------
    SpecificationError
        HEBO or torch is not installed, or HEBO does not take a parameter or its value.
    """

    name = "hebo"
    library = "HEBO"
    modes = frozenset({"ask_tell"})
    pip_finds_it = False
    requires: ClassVar[Mapping[str, str]] = {
        "hebo": "HEBO",
        "torch": "torch",
        "gpytorch": "gpytorch",
        "pymoo": "pymoo",
        "sklearn": "scikit-learn",
        "disjoint_set": "disjoint-set",
    }

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        unknown = sorted(parameters.keys() - set(PARAMETERS))
        if unknown:
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; it takes {', '.join(PARAMETERS)} (its seed "
                "is derived from the run's)"
            )
        self._check_values(parameters)

    def _check_values(self, parameters: Mapping[str, Any]) -> None:
        random = parameters.get("rand_sample", FEWEST_RANDOM)
        if isinstance(random, bool) or not isinstance(random, int) or random < FEWEST_RANDOM:
            raise SpecificationError(
                f"{self.name!r} was given rand_sample={random!r}; it must be an integer of at least {FEWEST_RANDOM}"
            )
        config = parameters.get("model_config", {})
        if not isinstance(config, Mapping):
            raise SpecificationError(f"{self.name!r} was given model_config={config!r}; it must be a mapping")
        model = parameters.get("model_name")
        if model is None:
            return
        from zerowait.adapters.hebo.library import MODELS

        if model not in MODELS:
            raise SpecificationError(
                f"{self.name!r} was given model_name={model!r}; it must be one of {', '.join(MODELS)}"
            )

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space HEBO cannot take, or None."""
        from zerowait.adapters.hebo.space import refuses_space

        return super().refuses(benchmark) or refuses_space(benchmark.space)

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks HEBO for suggestions and has it observe the results."""
        from zerowait.adapters.hebo.library import AskTellHEBO
        from zerowait.adapters.hebo.space import HeboSpace

        return AskTellHEBO(HeboSpace(run.benchmark.space), run.optimizer_seed, self.parameters)
