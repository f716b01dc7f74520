"""DEHB: `DEHB.run` with its own Dask processes or with simulated workers, or `DEHB.ask` and `DEHB.tell`."""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zerowait.adapters.adapter import Adapter, Benchmark, Run
from zerowait.adapters.spaces import ETA, between_fidelities, halving_budgets
from zerowait.suite.rules.errors import SpecificationError, WorkerDied
from zerowait.suite.rules.idle import Idle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ConfigSpace import ConfigurationSpace

    from zerowait.suite.executor import SimulatedExecutor
    from zerowait.suite.rules.evaluation import AskTellOptimizer
    from zerowait.suite.simulator import Simulator

MUTATIONS = ("rand1", "rand2", "rand2dir", "best1", "best2", "currenttobest1", "randtobest1")
CROSSOVERS = ("bin", "exp")


class DEHBAdapter(Adapter):
    """Differential evolution within the brackets of Hyperband (Awad, Mallik, Hutter, IJCAI 2021).

    Parameters
    ----------
    **parameters
        Keyword arguments of `dehb.DEHB`: `eta` (3 by default), `min_fidelity`, `max_fidelity`, `mutation_factor`,
        `crossover_prob`, `strategy`, `boundary_fix_type`, `min_clip`, `max_clip`, `max_age`, `async_strategy`.

    Raises
    ------
    SpecificationError
        DEHB is not installed, or does not take a parameter or its value.
    """

    name = "dehb"
    library = "dehb"
    modes = frozenset({"native", "ask_tell", "native-simulated"})
    default_mode = "ask_tell"
    uses_fidelity = True
    requires: ClassVar[Mapping[str, str]] = {"dehb": '"zerowait[dehb]"'}
    isolated = True
    # A free worker always gets a job, and the master spins while it has none: only a defect makes a worker idle, and
    # CPU time would never show it.
    simulator_options: ClassVar[Mapping[str, Any]] = {"idle": Idle(after=60.0, sign="grace")}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        unknown = sorted(parameters.keys() - PARAMETERS.keys())
        if unknown:
            raise SpecificationError(
                f"{self.name!r} was given {', '.join(map(repr, unknown))}; it takes {', '.join(PARAMETERS)} (its seed "
                "is derived from the run's, and workers, budget and files are the run's own)"
            )
        for name, value in parameters.items():
            allowed, is_allowed = PARAMETERS[name]
            if not is_allowed(value):
                raise SpecificationError(f"{self.name!r} was given {name}={value!r}; it must be {allowed}")

    def refuses(self, benchmark: Benchmark) -> str | None:
        """Return what of the space or of the fidelity DEHB cannot take, or None."""
        return (
            super().refuses(benchmark)
            or self._refuses_fidelity(benchmark.fidelity)
            or refuses_space(benchmark.space)
            or between_fidelities(benchmark.fidelity, self.budgets(benchmark))
        )

    def budgets(self, benchmark: Benchmark) -> list[float]:
        """Return the fidelities of DEHB's rungs."""
        fidelity, given = benchmark.fidelity, self.parameters
        lower, upper = given.get("min_fidelity", fidelity.lower), given.get("max_fidelity", fidelity.upper)
        return halving_budgets(fidelity, lower, upper, given.get("eta", ETA))

    def ask_tell(self, run: Run) -> AskTellOptimizer:
        """Return an optimizer that asks and tells DEHB."""
        from zerowait.adapters.dehb.library import AskTellDEHB, QuietDEHB, Translation, dehb_options

        # Asking and telling writes no file, since nothing is saved on the way: the folder only has to exist.
        dehb = QuietDEHB(n_workers=1, output_path=Path(__file__).parent, **dehb_options(self.parameters, run))
        return AskTellDEHB(dehb, Translation(run.benchmark.fidelity, self._identifies))

    def native(self, run: Run, simulator: Simulator) -> None:
        """Run `DEHB.run` with one Dask process for each worker, or in this process when there is one worker."""
        from zerowait.adapters.dehb.processes import dask_client, prepare_workers

        n_workers = _places(run)
        if n_workers > 1:
            prepare_workers()

        from distributed import KilledWorker

        with tempfile.TemporaryDirectory(prefix="dehb-") as folder, ExitStack() as stack:
            client = stack.enter_context(dask_client(n_workers, folder)) if n_workers > 1 else None
            try:
                self._optimize(run, simulator, folder, client)
            except KilledWorker as error:
                raise WorkerDied(f"one of the {n_workers} Dask processes died during an evaluation") from error

    def native_simulated(self, run: Run, executor: SimulatedExecutor) -> None:
        """Run `DEHB.run` with simulated workers in the place of its Dask processes."""
        from zerowait.adapters.simulated_dask import CallsOnWorkers, SimulatedClient

        n_workers = _places(run)
        client = SimulatedClient(executor, n_workers) if n_workers > 1 else None
        with tempfile.TemporaryDirectory(prefix="dehb-") as folder:
            self._optimize(run, CallsOnWorkers(executor), folder, client)

    def _optimize(self, run: Run, simulator: Any, folder: str, client: Any) -> None:
        from zerowait.adapters.dehb.library import SimulatedDEHB, Translation, dehb_options

        dehb = SimulatedDEHB(
            simulator,
            Translation(run.benchmark.fidelity, self._identifies),
            client=client,
            budget=run.budget,
            output_path=folder,
            **dehb_options(self.parameters, run),
        )
        simulator.start()
        try:
            dehb.optimize()
        except BaseException:
            simulator.abort()  # the other processes may wait for a call that will not come
            raise

    @property
    def _identifies(self) -> bool:
        return not self.parameters.get("strategy", "rand1_bin").endswith("_exp")

    def _refuses_fidelity(self, fidelity: Any) -> str | None:
        lower = self.parameters.get("min_fidelity", fidelity.lower)
        upper = self.parameters.get("max_fidelity", fidelity.upper)
        if not fidelity.lower <= lower <= upper <= fidelity.upper:
            return (
                f"min_fidelity={lower!r} and max_fidelity={upper!r} must lie, in this order, between "
                f"{fidelity.lower!r} and {fidelity.upper!r}"
            )
        if not 0 < lower < upper:
            return f"DEHB needs fidelities 0 < min < max, and they are {lower!r} and {upper!r}"
        return None


def _places(run: Run) -> int:
    """Return how many jobs run at once: no more than there will be."""
    return run.budget.useful_workers(run.n_workers)


def refuses_space(space: ConfigurationSpace) -> str | None:
    """Return what of the space DEHB cannot express, or None."""
    from ConfigSpace.hyperparameters import (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    known = (
        CategoricalHyperparameter,
        Constant,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )
    if space.forbidden_clauses:
        clauses = "; ".join(map(str, space.forbidden_clauses))
        return f"DEHB's mutations do not respect forbidden clauses and the space has {clauses}"
    for name, parameter in space.items():
        if not isinstance(parameter, known):
            return f"DEHB's evolution is uniform and {name!r} is a {type(parameter).__name__}"
    return None


def _number(lower: float, upper: float, *, open_below: bool = False) -> Callable[[Any], bool]:
    def is_allowed(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return bool(lower < value <= upper if open_below else lower <= value <= upper)

    return is_allowed


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_strategy(value: Any) -> bool:
    return value in [f"{mutation}_{crossover}" for mutation in MUTATIONS for crossover in CROSSOVERS]


PARAMETERS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "eta": ("a number above 1", _number(1, math.inf, open_below=True)),
    "min_fidelity": ("a positive number", _number(0, math.inf, open_below=True)),
    "max_fidelity": ("a positive number", _number(0, math.inf, open_below=True)),
    "mutation_factor": ("a number of at least 0", _number(0, math.inf)),
    "crossover_prob": ("from 0 to 1", _number(0, 1)),
    "strategy": (f"one of {', '.join(MUTATIONS)}, followed by _bin or _exp", _is_strategy),
    "boundary_fix_type": ("'random' or 'clip'", lambda value: value in ("random", "clip")),
    "min_clip": ("an integer of at least 1", _count),
    "max_clip": ("an integer of at least 1", _count),
    "max_age": ("a number above 0", _number(0, math.inf, open_below=True)),
    "async_strategy": (
        "'immediate', 'random', 'worst' or 'deferred'",
        lambda value: value in ("immediate", "random", "worst", "deferred"),
    ),
}
"""The arguments of DEHB that a study may set, each with what is allowed."""
