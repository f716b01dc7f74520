"""Optuna: `Study.optimize` with its own threads, or `Study.ask` and `Study.tell`.

Optuna's samplers choose no training budget: every evaluation is a full training, unless a pruner looks at the training
while it goes on (`zerowait.adapters.optuna.pruners`).
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.optuna.pruners import EveryEpoch, HyperbandRungs
from zerowait.adapters.optuna.rungs import FULL_TRAINING, Rung, told_values, trial_id
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import optuna

    from zerowait.adapters.optuna.pruners import Pruning
    from zerowait.adapters.optuna.space import OptunaSpace
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

_EXTRA = '"zerowait[optuna]"'


class OptunaAdapter(Adapter):
    """What the adapters of Optuna's samplers have in common.

    Parameters
    ----------
    pruner
        Ends trainings that do not look promising, after any epoch: the name of a pruner, or a mapping with its `name`
        and its arguments; see `zerowait.adapters.optuna.pruners.EveryEpoch`. Without it every training is a full one.
    **parameters
        The keyword arguments of the sampler, except its seed.

    Raises
    ------
    SpecificationError
        A module is not installed, or sampler or pruner do not take a parameter or its value.
    """

    library = "optuna"
    modes = frozenset({"native", "ask_tell"})
    default_mode = "ask_tell"
    several_objectives = True
    requires: ClassVar[Mapping[str, str]] = {"optuna": _EXTRA}
    # A free thread always gets a trial: only a defect makes one idle, and a slow import of torch must not.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=20.0)}
    sampler: ClassVar[str]
    """The sampler's name in `optuna.samplers`."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Arguments of the sampler that differ from Optuna's defaults."""
    other_parameters: ClassVar[frozenset[str]] = frozenset({"pruner"})
    """Parameters of the adapter that are not the sampler's."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        taken = set(inspect.signature(self._sampler_class()).parameters) - {"seed"} | self.other_parameters
        unknown = sorted(parameters.keys() - taken)
        if unknown:
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(taken))} "
                f"(the seed of {self.sampler} is derived from the run's)"
            )
        try:
            self.make_sampler(seed=0)
        except (TypeError, ValueError) as error:
            raise SpecificationError(f"{self.sampler} does not take {dict(parameters)}: {error}") from error
        if self.pruning is not None:
            self.pruning.check()
            self.uses_fidelity = self.continues = True

    @cached_property
    def pruning(self) -> Pruning | None:
        """When a pruner sees a trial, and which one; None when every training is a full one."""
        pruner = self.parameters.get("pruner")
        return None if pruner is None else EveryEpoch(pruner)

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space or the fidelity Optuna, the sampler or the pruner cannot take, or None."""
        from zerowait.adapters.optuna.space import refuses_space

        reason = super().refuses(benchmark) or refuses_space(benchmark.space)
        return reason if reason or self.pruning is None else self.pruning.refuses(benchmark.fidelity)

    def check_objectives(self, benchmark: Benchmark, objectives: object) -> tuple[str, ...] | None:
        """Return the objectives of a run on this benchmark; see `Adapter.check_objectives`."""
        several = super().check_objectives(benchmark, objectives)
        if several is not None and self.pruning is not None:
            raise SpecificationError(
                f"{self.name!r} was given a pruner, which looks at one objective, and objectives has {len(several)} "
                f"({', '.join(several)}); leave one of the two out"
            )
        return several

    def make_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return a fresh sampler; the random samplers inside it get the same seed."""
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():
            # Whoever sets an experimental argument in a study file knows; every run would say it again.
            warnings.simplefilter("ignore", ExperimentalWarning)
            given = {name: value for name, value in self.parameters.items() if name not in self.other_parameters}
            sampler: optuna.samplers.BaseSampler = self._sampler_class()(**{**self.defaults, **given, "seed": seed})
        return sampler

    def make_pruner(self, benchmark: Benchmark) -> optuna.pruners.BasePruner:
        """Return a fresh pruner; without `pruning`, one that never prunes."""
        import optuna.pruners

        return optuna.pruners.NopPruner() if self.pruning is None else self.pruning.make(benchmark.fidelity)

    def rungs(self, benchmark: Benchmark) -> Sequence[Rung]:
        """Return at which fidelities a trial is evaluated; without `pruning`, at the full training alone."""
        return FULL_TRAINING if self.pruning is None else self.pruning.rungs(benchmark.fidelity)

    def budgets(self, benchmark: Benchmark) -> list[float] | None:
        """Return the fidelities of the rungs, or None."""
        if self.pruning is None:
            return None
        return [float(rung.fidelity) for rung in self.rungs(benchmark) if rung.fidelity is not None]

    def session(self, run: Run) -> AbstractContextManager[None]:  # noqa: ARG002 - the same for every run
        """Return what silences Optuna's logger while the run lasts."""
        from zerowait.adapters.optuna.threads import quiet

        return quiet()

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks and tells a study."""
        from zerowait.adapters.optuna.space import OptunaSpace
        from zerowait.adapters.optuna.threads import make_study

        study = make_study(self.make_sampler(run.optimizer_seed), self.make_pruner(run.benchmark), run.objectives)
        return AskTellStudy(study, OptunaSpace(run.benchmark.space), self.rungs(run.benchmark), run.objectives)

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run `Study.optimize` with one thread for each worker."""
        from zerowait.adapters.optuna.space import OptunaSpace
        from zerowait.adapters.optuna.threads import make_study, optimize_in_threads

        optimize_in_threads(
            make_study(self.make_sampler(run.optimizer_seed), self.make_pruner(run.benchmark), run.objectives),
            OptunaSpace(run.benchmark.space),
            self.rungs(run.benchmark),
            simulator,
            n_workers=run.workers_in_time,
            budget=run.budget,
            objectives=run.objectives,
        )

    def _sampler_class(self) -> Any:
        import optuna.samplers

        return getattr(optuna.samplers, self.sampler)


class OptunaTPE(OptunaAdapter):
    """Tree-structured Parzen estimator; multivariate and with constant liar by Optuna's defaults."""

    name = "optuna-tpe"
    sampler = "TPESampler"


class OptunaRandom(OptunaAdapter):
    """Random search as Optuna does it."""

    name = "optuna-random"
    sampler = "RandomSampler"


class OptunaCmaEs(OptunaAdapter):
    """CMA-ES over the numerical parameters that every configuration has; the others are sampled at random."""

    name = "optuna-cmaes"
    several_objectives = False
    sampler = "CmaEsSampler"
    requires: ClassVar[Mapping[str, str]] = {"optuna": _EXTRA, "cmaes": _EXTRA}
    defaults: ClassVar[Mapping[str, Any]] = {"warn_independent_sampling": False}

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space CMA-ES cannot take, or None."""
        reason = super().refuses(benchmark)
        if reason is not None:
            return reason
        from optuna.distributions import CategoricalDistribution

        from zerowait.adapters.optuna.space import OptunaSpace

        parameters = OptunaSpace(benchmark.space).unconditional.values()
        if all(isinstance(p.distribution, CategoricalDistribution) or p.distribution.single() for p in parameters):
            return "CMA-ES needs a numerical parameter that every configuration has, and the space has none"
        return None


class OptunaGP(OptunaAdapter):
    """Bayesian optimization with a Gaussian process."""

    name = "optuna-gp"
    sampler = "GPSampler"
    requires: ClassVar[Mapping[str, str]] = {"optuna": _EXTRA, "torch": "torch", "scipy": "scipy"}
    defaults: ClassVar[Mapping[str, Any]] = {"warn_independent_sampling": False}


class OptunaNSGAII(OptunaAdapter):
    """The genetic algorithm NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation 6 (2002) 182)."""

    name = "optuna-nsga2"
    sampler = "NSGAIISampler"


class OptunaHyperband(OptunaTPE):
    """TPE with Hyperband's pruner, which sees a trial at the rungs alone; see `HyperbandRungs`.

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

    @cached_property
    def pruning(self) -> Pruning:
        """When the pruner sees a trial."""
        return HyperbandRungs(**{n: v for n, v in self.parameters.items() if n in self.other_parameters})


@dataclass(frozen=True, slots=True)
class TrialQuery(Query):
    """A query that remembers the trial it came from."""

    trial: Any = None
    """The `optuna.Trial` to be told."""
    rung: int = 0
    """Which of the rungs it evaluates."""


class AskTellStudy:
    """A study with the interface of the simulator.

    Parameters
    ----------
    study
        Decides which configuration is next.
    space
        Translates between its trials and configurations.
    rungs
        Where every trial is evaluated until it is pruned.
    objectives
        What the study minimises where that is more than the loss.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: OptunaSpace,
        rungs: Sequence[Rung] = FULL_TRAINING,
        objectives: Sequence[str] | None = None,
    ) -> None:
        self._study = study
        self._space = space
        self._rungs = rungs
        self._objectives = objectives

    def ask(self) -> TrialQuery:
        """Return the first rung of a new trial."""
        trial = self._study.ask()
        config = self._space.suggest(trial)
        return TrialQuery(config, self._rungs[0].fidelity, trial_id(trial, self._rungs), trial, 0)

    def tell(self, query: Query, evaluation: Evaluation) -> TrialQuery | None:
        """Report the evaluation's value; then prune the trial, or complete it, or return its next rung."""
        from optuna.trial import TrialState

        assert isinstance(query, TrialQuery)
        rung, trial = self._rungs[query.rung], query.trial
        if rung.step is not None:
            trial.report(evaluation.value, rung.step)
        if rung.prunes and trial.should_prune():
            self._study.tell(trial, state=TrialState.PRUNED)
        elif query.rung + 1 == len(self._rungs):
            self._study.tell(trial, told_values(evaluation, self._objectives))
        else:
            following = query.rung + 1
            return TrialQuery(query.config, self._rungs[following].fidelity, query.config_id, trial, following)
        return None

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Fail the trial; an error of the run itself is none of the trial's."""
        from optuna.trial import TrialState

        assert isinstance(query, TrialQuery)
        if isinstance(error, ZerowaitError):
            raise error
        self._study.tell(query.trial, state=TrialState.FAIL)
