"""What every adapter is: a declaration of what the optimizer can do, and one way to run it."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from zerowait.suite.rules import arguments
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import CLUSTERS, Cluster
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.objectives import check_known, check_objectives
from zerowait.suite.rules.overhead import OVERHEADS, Overhead

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from ConfigSpace import ConfigurationSpace

    from zerowait.suite.executor import SimulatedExecutor
    from zerowait.suite.rules.evaluation import AskTellOptimizer, Evaluation
    from zerowait.suite.simulator import Simulator

Mode: TypeAlias = Literal["native", "ask_tell", "native-simulated"]
MODES: tuple[Mode, ...] = ("native", "ask_tell", "native-simulated")

RESERVED_LABELS = ("optimizer", "benchmark", "mode")
"""Labels that every run carries; a parameter of an optimizer cannot have such a name."""


class Benchmark(Protocol):
    """What an adapter knows of a benchmark: an objective with a space, a fidelity range and a name."""

    @property
    def name(self) -> str:
        """Name of the benchmark."""

    @property
    def label(self) -> str:
        """Name of the benchmark and of what was chosen of it (task, metric), as it appears in traces."""

    @property
    def space(self) -> ConfigurationSpace:
        """The configurations that can be evaluated."""

    @property
    def fidelity(self) -> Any:
        """The range of training budgets (name, lower, upper, integer), or None when there is none."""

    def __call__(
        self, config: Mapping[str, Any], /, *, fidelity: float | None = None, seed: int | None = None
    ) -> Evaluation | Mapping[str, Any]:
        """Evaluate a configuration."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an adapter: what is evaluated, on how many workers, for how long and where it is stored."""

    benchmark: Benchmark
    """What is optimized."""
    n_workers: int
    """Simulated workers, at least 1."""
    seed: int
    """Run seed; the optimizer's and the objective's seeds are derived from it."""
    budget: Budget
    """When the run ends."""
    overhead: Overhead
    """How the optimizer's own time is charged."""
    directory: Path | None = None
    """The run's own folder; None keeps nothing."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """JSON that identifies the run in its trace."""
    continual: bool = False
    """Whether an evaluation continues the training of its configuration at a lower fidelity."""
    cluster: Cluster | None = None
    """What its workers are like; None stands for perfect ones."""
    objectives: tuple[str, ...] | None = None
    """What is minimised where that is more than the loss; see `zerowait.suite.rules.objectives`."""

    @property
    def optimizer_seed(self) -> int:
        """The optimizer's seed, an integer from 0 to 2**32 - 1."""
        from zerowait.suite.rules.seeds import optimizer_seed

        return optimizer_seed(self.seed)

    @property
    def workers_in_time(self) -> int:
        """How many workers are there before the budget's time is over; the others never get a configuration."""
        if self.cluster is None:
            return self.n_workers
        arrivals = map(self.cluster.arrival, range(self.n_workers))
        return max(1, sum(arrival < self.budget.latest for arrival in arrivals))

    def specification(self) -> dict[str, Any]:
        """Return the keyword arguments that `simulate`, `SimulatedExecutor` and `Simulator` have in common."""
        return {
            "n_workers": self.n_workers,
            **self.budget.to_json(),
            "seed": self.seed,
            "overhead": self.overhead,
            "continual": self.continual,
            "cluster": self.cluster,
            "labels": self.labels,
            "objectives": self.objectives,
            "directory": self.directory,
        }


class Adapter:
    """Runs one optimizer of one library on a benchmark; its subclasses say which and how.

    A subclass declares the class attributes and overrides `ask_tell`, `native`, `native_simulated`, as its `modes` say.
    Its module imports the library inside functions only, so that optimizers can be listed without loading
    them.

    Parameters
    ----------
    **parameters
        The library's own settings, of types that JSON knows; they become labels of the run.

    Raises
    ------
    SpecificationError
        A module that the optimizer needs is not installed, or a parameter is unknown or unusable.
    """

    name: ClassVar[str]
    """What `load` and study files call the optimizer."""
    library: ClassVar[str]
    """The distribution that implements it; 'zerowait' for its own."""
    modes: ClassVar[frozenset[Mode]]
    """The ways to run it: with the library's own parallel machinery, asked and told by the simulator, or with the
    library's own loop over simulated workers in one process."""
    default_mode: ClassVar[Mode | None] = None
    """The mode that is taken where none is asked for: the fastest one whose results are the library's own. `ask_tell`
    where a test shows that it gives the native trace at equal seeds under no overhead; None: native, if it has that."""
    uses_fidelity: bool = False
    """Whether it chooses the training budget of an evaluation; it then needs a benchmark with a fidelity. Of the class,
    unless parameters decide."""
    several_objectives: ClassVar[bool] = False
    """Whether it takes several objectives; else it is refused where a run has more than the loss."""
    continues: bool = False
    """Whether it continues trainings rather than starting them again, unless `optimize` is told otherwise."""
    requires: ClassVar[Mapping[str, str]] = {}
    """Modules that must be importable, each with what to give `pip install` for it."""
    pip_finds_it: ClassVar[bool] = True
    """Whether `pip install` of what it requires ends well: not where a library's own pins contradict everything new."""
    deterministic: ClassVar[frozenset[Mode]] = frozenset(MODES)
    """The modes in which equal seeds give equal traces under every overhead policy but `measured`."""
    nondeterminism: ClassVar[str] = ""
    """Why it is not deterministic in its other modes: what in the library's source stands in the way."""
    isolated: ClassVar[bool] = False
    """Whether the native mode runs in a process of its own, see `zerowait.adapters.environments.isolation`."""
    asks_isolated: ClassVar[bool] = False
    """Whether the modes in one process do so too, unless it has the fixed environment: `hash()` decides something."""
    simulator_options: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the `Simulator` that suit the library: what ends it, how it looks when idle."""

    def __init__(self, **parameters: Any) -> None:
        missing = self.lacks(parameters)
        if missing is not None:
            raise SpecificationError(f"the optimizer {self.name!r} cannot be loaded: {missing}")
        for name, value in parameters.items():
            if name in RESERVED_LABELS:
                raise SpecificationError(
                    f"{self.name!r} was given the parameter {name!r}, which is a label of every run; the "
                    f"reserved names are {', '.join(RESERVED_LABELS)}"
                )
            arguments.json_data(f"{name} of {self.name!r}", value)
        self.parameters: Mapping[str, Any] = dict(parameters)

    @classmethod
    def absent(cls) -> Mapping[str, str]:
        """Return what of `requires` cannot be imported."""
        return {module: requirement for module, requirement in cls.requires.items() if find_spec(module) is None}

    @classmethod
    def usual_mode(cls) -> Mode:
        """Return the mode that is taken where none is asked for."""
        if cls.default_mode is not None:
            return cls.default_mode
        return "native" if "native" in cls.modes else "ask_tell"

    @classmethod
    def libraries(cls) -> list[str]:
        """Return the names of distributions that decide what it does: its library, and what it requires."""
        from zerowait.adapters.environments.environments import distribution_of

        return sorted({cls.library, *cls.requires, *map(distribution_of, cls.requires.values())})

    @classmethod
    def missing(cls) -> str | None:
        """Return which modules are not installed and how to get them, or None; imports none of them."""
        absent = cls.absent()
        if not absent:
            return None
        from zerowait.adapters.environments.environments import creation, environment_for

        modules = " and ".join(absent)
        text = f"it needs {modules}, which {'is' if len(absent) == 1 else 'are'} not installed"
        environment = environment_for(cls.library)
        ways = [f"pip install {' '.join(dict.fromkeys(absent.values()))}"] if cls.pip_finds_it else []
        if environment is not None:
            ways.append(f"it runs in an environment of its own: {creation(environment.name)}")
        return f"{text}; {', or '.join(ways)}"

    def lacks(self, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - for subclasses
        """Return what `missing` does, for an optimizer whose parameters may say where to find it."""
        return self.missing()

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of distributions, by normalized name, where they are not those of this interpreter."""
        return {}

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return why this optimizer cannot run on this benchmark, or None; known before anything starts."""
        if self.uses_fidelity and benchmark.fidelity is None:
            remedy = getattr(benchmark, "fidelity_remedy", None)
            return "the optimizer chooses training budgets and the benchmark has no fidelity" + (
                f": {remedy}" if remedy else ""
            )
        return None

    def check_objectives(self, benchmark: Benchmark, objectives: object) -> tuple[str, ...] | None:
        """Return the objectives of a run on this benchmark, None if it has one: the loss.

        Raises
        ------
        SpecificationError
            They are no objectives, the optimizer takes one alone, or the benchmark has not these.
        """
        several = check_objectives(objectives)
        if several is not None and not self.several_objectives:
            raise SpecificationError(
                f"{self.name!r} takes one objective, and objectives has {len(several)} ({', '.join(several)}); leave "
                "objectives out, or take an optimizer that takes several: docs/how-to/objectives.md"
            )
        metrics = getattr(benchmark, "metrics", None)
        if metrics is not None:  # what somebody else's benchmark gives may not be known before
            check_known(several, metrics, benchmark.label)
        return several

    def budgets(self, benchmark: Benchmark) -> Sequence[float] | None:  # noqa: ARG002 - for subclasses
        """Return the fidelities of the rungs, ascending, of a benchmark that is not refused; None where it has none."""
        return None

    def optimize(  # noqa: PLR0913 - what a run is, each a word of the design
        self,
        benchmark: Benchmark,
        *,
        n_workers: int,
        seed: int,
        budget: Budget,
        overhead: Overhead,
        directory: str | os.PathLike[str] | None = None,
        mode: Mode | None = None,
        labels: Mapping[str, Any] | None = None,
        continual: bool | None = None,
        cluster: Cluster | None = None,
        objectives: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Run the optimizer on the benchmark and return the trace, also left in `directory/trace.parquet`.

        Parameters
        ----------
        benchmark
            What is optimized.
        n_workers
            Simulated workers, at least 1.
        seed
            Run seed; the optimizer gets `zerowait.suite.rules.seeds.optimizer_seed(seed)`.
        budget
            When the run ends: a number of evaluations, a simulated time in seconds, or whichever comes first.
        overhead
            How the optimizer's own time is charged.
        directory
            The run's own folder; None keeps only the returned trace.
        mode
            'native' uses the library's own parallel machinery, 'ask_tell' asks and tells it in this process, and
            'native-simulated' gives the library's own loop simulated workers in this process; None takes `usual_mode`.
        labels
            More JSON for the trace's metadata, beside the optimizer's name and parameters, benchmark and
            mode.
        continual
            Whether an evaluation continues the training of its configuration at a lower fidelity; None does what
            the optimizer's `continues` says.
        cluster
            What the workers are like that are not equal or not always there; None stands for perfect ones.
        objectives
            What is minimised where that is more than the loss, as for `zerowait.simulate`.

        Raises
        ------
        SpecificationError
            The mode is not supported, the budget is empty, the optimizer refuses the benchmark, or the
            directory holds a run.
        """
        from zerowait.suite.rules.seeds import check_run_seed

        mode = self.usual_mode() if mode is None else mode
        arguments.instance("budget", budget, Budget, "a zerowait.Budget, such as Budget(max_evaluations=100)")
        arguments.instance("overhead", overhead, Overhead, OVERHEADS)
        if not callable(benchmark) or not isinstance(getattr(benchmark, "label", None), str):
            raise arguments.refusal("the benchmark", benchmark, "one that zerowait.benchmarks.load('branin') returns")
        n_workers = arguments.integer("n_workers", n_workers, 1)
        if cluster is not None:
            cluster = arguments.instance("cluster", cluster, Cluster, CLUSTERS).for_workers(n_workers)
        seed = check_run_seed(seed)
        if not isinstance(mode, str) or mode not in self.modes:
            known = " or ".join(repr(known) for known in MODES if known in self.modes)
            raise SpecificationError(f"mode is {mode!r}; {self.name!r} can run in {known}")
        if budget.is_empty:
            raise SpecificationError(
                f"the budget of a run of {self.name!r} is empty; set max_evaluations, max_time or both"
            )
        reason = self.refuses(benchmark)
        if reason is not None:
            raise SpecificationError(f"{self.name!r} cannot run on {benchmark.label!r}: {reason}")
        several = self.check_objectives(benchmark, objectives)
        if directory is not None:
            _check_unused(arguments.folder("directory", directory))
        run = Run(
            benchmark,
            n_workers,
            seed,
            budget,
            overhead,
            None if directory is None else Path(directory),
            {**self.parameters, **arguments.mapping("labels", labels), **self._own_labels(benchmark, mode)},
            self.continues if continual is None else arguments.boolean("continual", continual),
            cluster,
            several,
        )
        if mode == "ask_tell":
            return self._with_fixed_environment(self._asked_and_told, run)
        if mode == "native-simulated":
            return self._with_fixed_environment(self._on_simulated_workers, run)
        if run.directory is not None:
            return self._run_native(run)
        with tempfile.TemporaryDirectory(prefix="zerowait-") as temporary:
            return self._run_native(replace(run, directory=Path(temporary) / "run"))

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return a fresh optimizer for this run, to be asked and told."""
        raise NotImplementedError(f"{self.name!r} lists the mode 'ask_tell' and does not implement it")

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run the library's own parallel machinery on the simulator until the budget is spent."""
        raise NotImplementedError(f"{self.name!r} lists the mode 'native' and does not implement it")

    def native_simulated(self, run: Run, executor: SimulatedExecutor) -> None:
        """Run the library's own parallel machinery on the executor's workers until the budget is spent."""
        raise NotImplementedError(f"{self.name!r} lists the mode 'native-simulated' and does not implement it")

    def session(self, run: Run) -> AbstractContextManager[None]:  # noqa: ARG002 - for subclasses
        """Return what surrounds a run in either mode: silenced loggers, environment, the library's files."""
        return nullcontext()

    def _own_labels(self, benchmark: Benchmark, mode: Mode) -> dict[str, str]:
        return {"optimizer": self.name, "benchmark": benchmark.label, "mode": mode}

    def _with_fixed_environment(self, how: Callable[[Run], pd.DataFrame], run: Run) -> pd.DataFrame:
        """Run in this process, or in one whose environment is fixed where that decides something."""
        if self.asks_isolated:
            from zerowait.adapters.environments.isolation import has_fixed_environment, run_interruptible

            if not has_fixed_environment():
                return run_interruptible(how, run)
        return how(run)

    def _asked_and_told(self, run: Run) -> pd.DataFrame:
        from zerowait.suite.asktell import simulate
        from zerowait.suite.records.trace import made_by

        with self.session(run), made_by(*self.libraries()):
            return simulate(self.ask_tell(run), run.benchmark, **run.specification())

    def _on_simulated_workers(self, run: Run) -> pd.DataFrame:
        from zerowait.suite.executor import SimulatedExecutor
        from zerowait.suite.records.trace import made_by

        with (
            self.session(run),
            made_by(*self.libraries()),
            SimulatedExecutor(run.benchmark, **run.specification()) as executor,
        ):
            self.native_simulated(run, executor)
            return executor.trace()

    def _run_native(self, run: Run) -> pd.DataFrame:
        if self.isolated:
            from zerowait.adapters.environments.isolation import run_isolated

            return run_isolated(self._simulated, run)
        return self._simulated(run)

    def _simulated(self, run: Run) -> pd.DataFrame:
        from zerowait.suite.records.trace import made_by
        from zerowait.suite.simulator import Simulator

        with (
            self.session(run),
            made_by(*self.libraries()),
            Simulator(run.benchmark, **run.specification(), **self.simulator_options) as simulator,
        ):
            self.native(run, simulator)
            simulator.finish()
            return simulator.trace()


def _check_unused(directory: Path) -> None:
    """Refuse a folder with a run: its evaluations are not those of the optimizer that would start now."""
    from zerowait.suite.sharing.rundir import RunDirectory

    run = RunDirectory(directory)
    if run.specification.exists() or run.trace.exists():
        raise SpecificationError(
            f"{directory} holds a run, and an optimizer cannot go on where another one stopped; remove the folder "
            "or name another one"
        )
