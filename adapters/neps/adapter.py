"""NePS: `neps.run` in P processes that share a directory, or `neps.AskAndTell`."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.spaces import ETA, between_fidelities
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Callable

    import neps

    from zerowait.adapters.neps.random_state import RandomState
    from zerowait.adapters.neps.space import NepsSpace
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

_EXTRA = '"zerowait[neps]"'

WEIGHTS_VARIABLE = "ZEROWAIT_FTPFN"
"""Environment variable that names the folder with the weights of FT-PFN, as `surrogate_path` does."""

LARGEST_SPACE = 10
"""So many parameters FT-PFN was trained with at most."""

_WEIGHTS = ("ftpfnv0.0.1.tar.gz", "bopfn_broken_unisep_1000curves_10params_2M.pt")
"""What NePS leaves in the folder `.model` after its download; without the first it downloads again."""


class NepsAdapter(Adapter):
    """What the adapters of NePS's optimizers have in common.

    Parameters
    ----------
    **parameters
        The keyword arguments of the optimizer in `neps.algorithms`, except the space; beside them `priors`, a
        mapping from parameters to values around which the priors lie instead of the ConfigSpace's defaults, and
        `prior_confidence`, which is 'low' (the default), 'medium' or 'high'. The last two are for optimizers that
        use priors.

    Raises
    ------
    SpecificationError
        A module is not installed, or the optimizer does not take a parameter or its value.
    """

    library = "neural-pipeline-search"
    modes = frozenset({"native", "ask_tell"})
    default_mode = "ask_tell"
    requires: ClassVar[Mapping[str, str]] = {"neps": _EXTRA, "torch": _EXTRA}
    isolated = True
    # A free worker always gets a trial, since brackets open whenever others wait: only a defect makes one idle.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=20.0)}
    algorithm: ClassVar[str]
    """The optimizer's name in `neps.algorithms`."""
    withheld: ClassVar[frozenset[str]] = frozenset({"pipeline_space"})
    """Arguments of the optimizer that a study cannot set."""
    own: ClassVar[frozenset[str]] = frozenset({"priors", "prior_confidence"})
    """Parameters that are the adapter's and not the optimizer's."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if parameters:
            self._check_parameters()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the optimizer in `neps.algorithms`."""
        return {name: value for name, value in self.parameters.items() if name not in self.own}

    @property
    def uses_priors(self) -> bool:
        """Whether the optimizer samples around prior values, by its nature or by its parameters."""
        given = self.parameters
        return bool(given.get("use_priors")) or given.get("sampler") == "prior" or bool(given.get("sample_prior_first"))

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space or of the fidelity NePS cannot take, or None."""
        from zerowait.adapters.neps.space import refuses_space

        reason = super().refuses(benchmark) or refuses_space(benchmark.space, priors=self.uses_priors)
        if reason is None and self.uses_fidelity:
            lower, upper = benchmark.fidelity.lower, benchmark.fidelity.upper
            if not 0 < lower < upper:
                reason = f"NePS needs a range of fidelities above zero, and the benchmark has {lower} to {upper}"
        if reason is None:
            try:
                self.make_space(benchmark)
            except SpecificationError as error:
                reason = str(error)
        return reason or between_fidelities(benchmark.fidelity, self.budgets(benchmark) or ())

    def budgets(self, benchmark: Benchmark) -> list[float] | None:
        """Return the fidelities of the rungs; ifBO has none."""
        if not self.uses_fidelity or self.algorithm == "ifbo":
            return None
        from neps.optimizers.utils.brackets import calculate_sh_rungs

        fidelity, given = benchmark.fidelity, self.arguments
        number = int if fidelity.integer else float
        bounds = (number(fidelity.lower), number(fidelity.upper))
        rungs, _ = calculate_sh_rungs(bounds, given.get("eta", ETA), given.get("early_stopping_rate", 0))
        return [float(budget) for _, budget in sorted(rungs.items())]

    def make_space(self, benchmark: Benchmark) -> NepsSpace:
        """Return the benchmark's space in NePS's terms.

        Raises
        ------
        SpecificationError
            The parameter `priors` does not fit the space.
        """
        from zerowait.adapters.neps.space import NepsSpace

        return NepsSpace(
            benchmark.space,
            benchmark.fidelity if self.uses_fidelity else None,
            confidence=self.parameters.get("prior_confidence", "low") if self.uses_priors else None,
            priors=self.parameters.get("priors"),
        )

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks and tells `neps.AskAndTell`."""
        from zerowait.adapters.neps.random_state import RandomState

        space = self.make_space(run.benchmark)
        state = RandomState(run.optimizer_seed)
        with state.lent():
            optimizer = self._make_optimizer(space.pipeline_space())
        return AskTellNeps(optimizer, self.querying(space), self.loss, state)

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run `neps.run` in one process for each worker, all on the folder `neps` of the run."""
        import logging

        import neps  # noqa: F401 - imported before the processes are forked, which start in no time

        from zerowait.adapters.neps.workers import Job, optimize_in_processes

        assert run.directory is not None
        # In a process of its own, so nobody else's logger: NePS would format a traceback for each failed trial.
        logging.getLogger("neps").setLevel(logging.CRITICAL)
        space = self.make_space(run.benchmark)
        job = Job(
            simulator=simulator,
            optimizer=(self.algorithm, self.arguments),
            pipeline_space=space.pipeline_space(),
            query=self.querying(space),
            loss=self.loss,
            root=run.directory / "neps",
            seed=run.optimizer_seed,
            budget=run.budget,
        )
        optimize_in_processes(job, run.n_workers)

    def querying(self, space: NepsSpace) -> Callable[[str, Mapping[str, Any]], Query]:
        """Return what makes a query of a trial's id and its configuration in NePS's terms."""

        def query(trial_id: str, sampled: Mapping[str, Any]) -> Query:
            # '12_rung_1' and '12_rung_2' are one configuration, whose training goes on.
            config_id = trial_id.partition("_")[0] if self.uses_fidelity else None
            return Query(space.config(sampled), space.fidelity(sampled), config_id)

        return query

    def loss(self, value: float) -> float:
        """Return what NePS is told for a value of the objective."""
        return value

    def _make_optimizer(self, pipeline_space: neps.PipelineSpace) -> Any:
        from neps import algorithms

        return getattr(algorithms, self.algorithm)(pipeline_space, **self.arguments)

    def _check_parameters(self) -> None:
        """Refuse unknown parameters, and values with which NePS cannot make the optimizer of a small space."""
        from neps import algorithms

        from zerowait.adapters.neps.space import CONFIDENCES

        signature = inspect.signature(getattr(algorithms, self.algorithm))
        known = set(signature.parameters) - self.withheld | self.own
        if unknown := sorted(self.parameters.keys() - known):
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(known))} "
                "(its seed is derived from the run's)"
            )
        priors, confidence = self.parameters.get("priors", {}), self.parameters.get("prior_confidence", "low")
        if confidence not in CONFIDENCES:
            raise SpecificationError(
                f"{self.name!r} was given prior_confidence={confidence!r}; it must be one of {', '.join(CONFIDENCES)}"
            )
        if not isinstance(priors, Mapping):
            raise SpecificationError(
                f"{self.name!r} was given priors={priors!r}; it must be a mapping from parameters to values"
            )
        about_priors = sorted(self.parameters.keys() & NepsAdapter.own)
        if about_priors and not self.uses_priors:
            raise SpecificationError(
                f"{self.name!r} was given {' and '.join(about_priors)}, and nothing tells it to use priors; it does "
                "with use_priors=True, sampler='prior' or sample_prior_first=True, whichever it takes"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._make_optimizer(self._small_space())
        except Exception as error:
            # NePS checks some values by assertions, and others by what its arithmetic makes of them.
            raise SpecificationError(
                f"{self.algorithm} of NePS does not take {self.arguments}: {type(error).__name__}: {error}"
            ) from error

    def _small_space(self) -> neps.PipelineSpace:
        import neps

        prior: dict[str, Any] = {"prior": 0.5, "prior_confidence": "low"} if self.uses_priors else {}
        attributes: dict[str, Any] = {"x": neps.Float(0.0, 1.0, **prior)}
        if self.uses_fidelity:
            attributes["fidelity"] = neps.IntegerFidelity(1, 81)
        made: neps.PipelineSpace = type("Space", (neps.PipelineSpace,), attributes)()
        return made


class NepsRandom(NepsAdapter):
    """Random search as NePS does it: full trainings of uniformly sampled configurations."""

    name = "neps-random"
    algorithm = "random_search"
    withheld = frozenset({"pipeline_space", "ignore_fidelity"})


class NepsHyperband(NepsAdapter):
    """Hyperband; a new set of brackets opens when all open ones wait for results."""

    name = "neps-hyperband"
    algorithm = "hyperband"
    uses_fidelity = True
    continues = True


class NepsAsha(NepsAdapter):
    """Asynchronous successive halving."""

    name = "neps-asha"
    algorithm = "asha"
    uses_fidelity = True
    continues = True


class NepsPriorBand(NepsAdapter):
    """PriorBand: Hyperband that samples uniformly, around prior values, or around its incumbent.

    The prior of a parameter lies around its default in the ConfigSpace (of normal and beta parameters the mode)
    unless the parameter `priors` says otherwise.
    """

    name = "neps-priorband"
    algorithm = "priorband"
    uses_fidelity = True
    continues = True

    @property
    def uses_priors(self) -> bool:
        """Yes."""
        return True


class NepsIfBO(NepsAdapter):
    """In-context freeze-thaw: FT-PFN, a transformer, predicts learning curves and chooses which to continue.

    It needs weights that NePS downloads when it is used by itself. Here nothing is downloaded: the folder that NePS
    made, or its parent, is named by the parameter `surrogate_path` or the environment variable `ZEROWAIT_FTPFN`.

    Parameters
    ----------
    **parameters
        Those of `neps.algorithms.ifbo`, and `value_range`, the least and the greatest value that the benchmark can
        have, [0, 1] by default: FT-PFN sees values scaled from there to [0, 1], and one outside ends the run.
    """

    name = "neps-ifbo"
    algorithm = "ifbo"
    requires: ClassVar[Mapping[str, str]] = {**NepsAdapter.requires, "ifbo": _EXTRA}
    uses_fidelity = True
    continues = True
    withheld = frozenset({"pipeline_space", "device", "surrogate_version"})
    own = NepsAdapter.own | {"value_range"}

    def __init__(self, **parameters: Any) -> None:
        self._value_range = _value_range(parameters.get("value_range", (0.0, 1.0)))
        super().__init__(**parameters)

    @classmethod
    def missing(cls) -> str | None:
        """Return which modules are not installed, or where the weights were looked for, or None."""
        return super().missing() or _missing_weights(os.environ.get(WEIGHTS_VARIABLE))

    def lacks(self, parameters: Mapping[str, Any]) -> str | None:
        """Return what is missing when these parameters say where the weights are."""
        if parameters.get("surrogate_path") is None:
            return self.missing()
        return super().missing() or _missing_weights(parameters["surrogate_path"])

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `neps.algorithms.ifbo`, among them where the weights are."""
        given = super().arguments
        folder = given.get("surrogate_path") or os.environ.get(WEIGHTS_VARIABLE)
        return {**given, "surrogate_path": str(_weights_folder(str(folder)).absolute())}

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run `neps.run` in one process for each worker, with an ifBO that can be parallel."""
        from zerowait.adapters.neps.ifbo import offer_parallel_ifbo

        offer_parallel_ifbo()
        super().native(run, simulator)

    def _make_optimizer(self, pipeline_space: neps.PipelineSpace) -> Any:
        from zerowait.adapters.neps.ifbo import make_ifbo

        return make_ifbo(pipeline_space, **self.arguments)

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space or of the fidelity ifBO cannot take, or None."""
        reason = super().refuses(benchmark)
        if reason is None and (size := len(self.make_space(benchmark).parameters)) > LARGEST_SPACE:
            reason = f"FT-PFN was trained with up to {LARGEST_SPACE} parameters and the space has {size}"
        values = None if reason is not None else getattr(benchmark.fidelity, "values", None)
        if values is not None:
            has = ", ".join(map(str, values))
            reason = f"it trains one {benchmark.fidelity.name} after the other and the benchmark has only {has}"
        return reason

    def loss(self, value: float) -> float:
        """Return the value scaled to [0, 1].

        Raises
        ------
        SpecificationError
            It lies outside of `value_range`.
        """
        lower, upper = self._value_range
        if not lower <= value <= upper:
            raise SpecificationError(
                f"ifBO models values from {lower:g} to {upper:g} and the benchmark returned {value!r}; set the "
                "optimizer's parameter value_range to the least and the greatest value that it can have"
            )
        return (value - lower) / (upper - lower)


@dataclass(frozen=True, slots=True)
class NepsQuery(Query):
    """A query that remembers the trial it came from."""

    trial_id: str = ""
    """NePS's name of the trial: configuration and rung."""


class AskTellNeps:
    """`neps.AskAndTell` with the interface of the simulator.

    Parameters
    ----------
    optimizer
        Decides which configuration is next.
    query
        Makes a query of a trial's id and its configuration in NePS's terms.
    loss
        Returns what NePS is told for a value.
    state
        The global random number generators as NePS sees them.
    """

    def __init__(
        self,
        optimizer: Any,
        query: Callable[[str, Mapping[str, Any]], Query],
        loss: Callable[[float], float],
        state: RandomState,
    ) -> None:
        import neps

        self._ask_and_tell = neps.AskAndTell(optimizer, worker_id="zerowait")
        self._query = query
        self._loss = loss
        self._state = state

    def ask(self) -> NepsQuery:
        """Return what the next trial asks to be evaluated."""
        with self._state.lent():
            trial = self._ask_and_tell.ask()
        query = self._query(trial.id, trial.config)
        return NepsQuery(query.config, query.fidelity, query.config_id, trial.id)

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Complete the trial with the evaluation's value and its simulated seconds."""
        assert isinstance(query, NepsQuery)
        result = {"objective_to_minimize": self._loss(evaluation.value), "cost": evaluation.runtime}
        self._ask_and_tell.tell(query.trial_id, result)

    def tell_failure(self, query: Query, error: Exception) -> None:
        """Let the trial crash, which keeps it from promotion; an error of the run itself is none of the trial's."""
        assert isinstance(query, NepsQuery)
        if isinstance(error, ZerowaitError):
            raise error
        self._ask_and_tell.tell(query.trial_id, error)


def _value_range(given: Any) -> tuple[float, float]:
    try:
        lower, upper = map(float, given)
    except (TypeError, ValueError):
        lower, upper = math.nan, math.nan
    if not -math.inf < lower < upper < math.inf:
        raise SpecificationError(
            f"value_range is {given!r}; it must be two finite numbers, the least and the greatest value"
        )
    return lower, upper


def _weights_folder(given: str) -> Path:
    """Return the folder to give NePS, which looks into `.model` there unless that is its name."""
    return Path(given).expanduser()


def _missing_weights(given: str | None) -> str | None:
    advice = (
        f"give the folder in which NePS once saved them by the parameter surrogate_path or the environment variable "
        f"{WEIGHTS_VARIABLE}"
    )
    if given is None:
        return f"it needs the weights of FT-PFN, which are not downloaded by themselves; {advice}"
    folder = _weights_folder(given)
    model = folder if folder.name == ".model" else folder / ".model"
    absent = [name for name in _WEIGHTS if not (model / name).is_file()]
    if absent:
        return f"it needs the weights of FT-PFN, and {' and '.join(absent)} are not in {model}; {advice}"
    return None
