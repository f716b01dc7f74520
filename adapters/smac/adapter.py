"""SMAC3: `optimize` with its own Dask processes or with simulated workers, or `ask` and `tell` of its facades."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.smac import parameters as smac_parameters
from zerowait.adapters.spaces import ETA, between_fidelities, halving_budgets
from zerowait.suite.rules.errors import ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from smac.facade.abstract_facade import AbstractFacade

    from zerowait.suite.executor import SimulatedExecutor
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

_EXTRA = '"zerowait[smac]"'


class SmacAdapter(Adapter):
    """What the adapters of SMAC's facades have in common.

    All modes run in processes with a fixed hash seed: the local search of SMAC's acquisition maximizer starts from a
    set of configurations, in whose order the random numbers are used up.

    Parameters
    ----------
    **parameters
        Those of `smac_parameters.PARAMETERS`.

    Raises
    ------
    SpecificationError
        SMAC is not installed, or a parameter is unknown or has an unusable value.
    """

    library = "smac"
    modes = frozenset({"native", "ask_tell", "native-simulated"})
    requires: ClassVar[Mapping[str, str]] = {"smac": _EXTRA, "distributed": _EXTRA, "sklearn": "scikit-learn"}
    isolated = True
    asks_isolated = True
    # SMAC always has another trial, so only a space without new configurations leaves workers idle.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=5.0)}
    defaults: ClassVar[Mapping[str, Any]] = {
        # SMAC's own, infinity, stops it at the first failure: its encoders turn it into NaN.
        "crash_cost": 1e3,
        # SMAC gives up a space after 16 known configurations in a row, which a small table shows it early.
        "retries": 1000,
        "retrain_after": 8,
        "min_trials": 1,
    }
    """Settings that a study need not give; they replace SMAC's own."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        smac_parameters.check(self.name, parameters)

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the benchmark SMAC cannot take, or None."""
        from zerowait.adapters.smac.space import refuses_space

        reason = super().refuses(benchmark) or refuses_space(benchmark.space)
        if reason is None and self.uses_fidelity:
            if not 0 < benchmark.fidelity.lower < benchmark.fidelity.upper:
                return "SMAC divides budgets, and the least one of the benchmark is not above zero"
            reason = between_fidelities(benchmark.fidelity, self.budgets(benchmark) or ())
        return reason

    def budgets(self, benchmark: Benchmark) -> list[float] | None:
        """Return the fidelities of SMAC's rungs."""
        fidelity = benchmark.fidelity
        if not self.uses_fidelity or fidelity is None:
            return None
        return halving_budgets(fidelity, fidelity.lower, fidelity.upper, self.parameters.get("eta", ETA))

    def settings(self, run: Run) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the parameters of a run, defaults included."""
        return {**self.defaults, **self.parameters}

    def session(self, run: Run) -> AbstractContextManager[None]:  # noqa: ARG002 - the same for every run
        """Return what silences SMAC while the run lasts."""
        from zerowait.adapters.smac.facade import quiet

        return quiet()

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks and tells a facade."""
        from zerowait.adapters.smac.facade import make_facade, make_scenario

        settings = self.settings(run)
        # A facade writes its settings into files when it is made, and never again when it is only asked and told.
        with tempfile.TemporaryDirectory(prefix="zerowait-smac-") as folder:
            facade = make_facade(self.name, make_scenario(run, settings, Path(folder)), settings, None)
        return AskTellFacade(facade, run.benchmark.fidelity)

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run SMAC's loop with one Dask process for each worker, or in this one for a single worker."""
        if run.n_workers > 1:
            from zerowait.adapters.smac.cluster import start_forkserver

            start_forkserver()  # before SMAC is imported here, which takes as long as it does there
        from zerowait.adapters.smac.cluster import local_cluster
        from zerowait.adapters.smac.native import optimize

        optimize(self.name, run, simulator, self.settings(run), local_cluster)

    def native_simulated(self, run: Run, executor: SimulatedExecutor) -> None:
        """Run SMAC's loop with simulated workers in the place of its Dask processes."""
        from zerowait.adapters.simulated_dask import CallsOnWorkers, SimulatedClient
        from zerowait.adapters.smac.native import optimize

        def workers(n_workers: int, _: Path) -> AbstractContextManager[SimulatedClient]:
            return nullcontext(SimulatedClient(executor, n_workers))

        optimize(self.name, run, CallsOnWorkers(executor), self.settings(run), workers)


class ModelBasedAdapter(SmacAdapter):
    """What the facades with a surrogate model have in common: an initial design."""

    def settings(self, run: Run) -> dict[str, Any]:
        """Return the parameters of a run; the initial design has at least 5 configurations, and one a worker."""
        settings = super().settings(run)
        if not settings.keys() & {"n_configs", "n_configs_per_hyperparameter"}:
            settings["n_configs"] = max(5, run.n_workers)
        # Of the budget of evaluations; SMAC's own, a quarter, would cut the initial design of a short run.
        settings.setdefault("max_ratio", 1.0)
        return settings


class SmacHpo(ModelBasedAdapter):
    """Bayesian optimization with a random forest: SMAC's HyperparameterOptimizationFacade."""

    name = "smac-hpo"


class SmacBlackBox(ModelBasedAdapter):
    """Bayesian optimization with a Gaussian process: SMAC's BlackBoxFacade."""

    name = "smac-blackbox"
    defaults: ClassVar[Mapping[str, Any]] = {**SmacAdapter.defaults, "retrain_after": 1}


class SmacMultiFidelity(ModelBasedAdapter):
    """Hyperband whose configurations a random forest chooses: SMAC's MultiFidelityFacade."""

    name = "smac-mf"
    uses_fidelity = True


class SmacHyperband(SmacAdapter):
    """Hyperband with random configurations: SMAC's HyperbandFacade; the first one is the space's default."""

    name = "smac-hyperband"
    uses_fidelity = True
    asks_isolated = False  # it searches nothing locally, and does not depend on the hash seed


@dataclass(frozen=True, slots=True)
class TrialQuery(Query):
    """A query that remembers the trial it came from."""

    trial: Any = None
    """The `smac.runhistory.TrialInfo` to be told."""


class AskTellFacade:
    """A facade with the interface of the simulator.

    Parameters
    ----------
    facade
        Decides which trial is next; its `ask` raises StopIteration when the space has no new configuration.
    fidelity
        The benchmark's range of training budgets, or None.
    """

    def __init__(self, facade: AbstractFacade, fidelity: Any) -> None:
        self._facade = facade
        self._fidelity = fidelity

    def ask(self) -> TrialQuery:
        """Return the next trial."""
        from zerowait.adapters.smac.space import fidelity_of, plain_config

        trial = self._facade.ask()
        return TrialQuery(plain_config(trial.config), fidelity_of(trial.budget, self._fidelity), trial=trial)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Tell the result, without writing SMAC's history to a file."""
        from zerowait.adapters.smac.facade import succeeded

        assert isinstance(query, TrialQuery)
        self._facade.tell(query.trial, succeeded(evaluation), save=False)

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Tell that the trial crashed; an error of the run itself is none of the trial's."""
        from zerowait.adapters.smac.facade import crashed

        assert isinstance(query, TrialQuery)
        if isinstance(error, ZerowaitError):
            raise error
        self._facade.tell(query.trial, crashed(error, self._facade.scenario), save=False)
