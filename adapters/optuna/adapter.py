"""Optuna: `Study.optimize` with its own threads, or `Study.ask` and `Study.tell`.

Optuna's samplers choose no training budget: every evaluation is a full training, unless a pruner ends it at a rung
(`zerowait.adapters.optuna.hyperband`).
"""

from __future__ import annotations

import inspect
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.optuna.rungs import FULL_TRAINING, Rung, told_values, trial_id
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import optuna

    from zerowait.adapters.optuna.space import OptunaSpace
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

_EXTRA = '"zerowait[optuna]"'


class OptunaAdapter(Adapter):
    """What the adapters of Optuna's samplers have in common.

    Parameters
    ----------
    **parameters
        The keyword arguments of the sampler, except its seed.

    Raises
    ------
    SpecificationError
        A module is not installed, or the sampler does not take a parameter or its value.
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
    other_parameters: ClassVar[frozenset[str]] = frozenset()
    """Parameters of the adapter that are not the sampler's."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        taken = set(inspect.signature(self._sampler_class()).parameters) - {"seed"} | self.other_parameters
        unknown = sorted(parameters.keys() - taken)
        if unknown:
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; {self.sampler} takes "
                f"{', '.join(sorted(taken)) or 'no parameters'} (its seed is derived from the run's)"
            )
        try:
            self.make_sampler(seed=0)
        except (TypeError, ValueError) as error:
            raise SpecificationError(f"{self.sampler} does not take {dict(parameters)}: {error}") from error

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space Optuna or the sampler cannot take, or None."""
        from zerowait.adapters.optuna.space import refuses_space

        return super().refuses(benchmark) or refuses_space(benchmark.space)

    def make_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return a fresh sampler; the random samplers inside it get the same seed."""
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():
            # Whoever sets an experimental argument in a study file knows; every run would say it again.
            warnings.simplefilter("ignore", ExperimentalWarning)
            given = {name: value for name, value in self.parameters.items() if name not in self.other_parameters}
            sampler: optuna.samplers.BaseSampler = self._sampler_class()(**{**self.defaults, **given, "seed": seed})
        return sampler

    def make_pruner(self, benchmark: Benchmark) -> optuna.pruners.BasePruner:  # noqa: ARG002 - for subclasses
        """Return a fresh pruner: one that never prunes."""
        import optuna.pruners

        return optuna.pruners.NopPruner()

    def rungs(self, benchmark: Benchmark) -> Sequence[Rung]:  # noqa: ARG002 - for subclasses
        """Return at which fidelities a trial is evaluated: at the full training alone."""
        return FULL_TRAINING

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
            n_workers=run.n_workers,
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
        self._continued: deque[TrialQuery] = deque()

    def ask(self) -> TrialQuery:
        """Return the next rung of a trial that goes on, or the configuration of a new one."""
        if self._continued:
            return self._continued.popleft()
        trial = self._study.ask()
        return self._query(trial, self._space.suggest(trial), 0)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Complete the trial with the evaluation's objectives, or prune it, or let it go on."""
        from optuna.trial import TrialState

        assert isinstance(query, TrialQuery)
        step = self._rungs[query.rung].step
        if step is not None:
            query.trial.report(evaluation.value, step)
        if query.rung + 1 == len(self._rungs):
            self._study.tell(query.trial, told_values(evaluation, self._objectives))
        elif query.trial.should_prune():
            self._study.tell(query.trial, state=TrialState.PRUNED)
        else:
            self._continued.append(self._query(query.trial, query.config, query.rung + 1))

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Fail the trial; an error of the run itself is none of the trial's."""
        from optuna.trial import TrialState

        assert isinstance(query, TrialQuery)
        if isinstance(error, ZerowaitError):
            raise error
        self._study.tell(query.trial, state=TrialState.FAIL)

    def _query(self, trial: optuna.Trial, config: Mapping[str, Any], rung: int) -> TrialQuery:
        return TrialQuery(config, self._rungs[rung].fidelity, trial_id(trial, self._rungs), trial, rung)
