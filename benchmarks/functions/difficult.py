"""Problems that are difficult on purpose: for the simulator and the adapters, not for the optimizer.

Each is a pure function of (seed, configuration, fidelity) whose loss takes no thought: what is difficult is when
results arrive, whether they arrive, or which parameters a configuration has.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.functions.difficult_problems import Bowl, Branches, Problem
from zerowait.benchmarks.functions.noise import uniform
from zerowait.benchmarks.protocol import Fidelity, as_float, check_seed, check_task, label_of
from zerowait.benchmarks.registry import Family
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Config, Evaluation
from zerowait.suite.rules.identity import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ConfigSpace import ConfigurationSpace

NAME = "difficult"
TASKS = ("conditional", "constant-runtime", "correlated-runtime", "failing", "pareto-runtime")
EPOCHS = 27
SECONDS_PER_EPOCH = 10.0
FASTEST, SLOWEST = 1.0, 100.0
DEFAULT_PROBABILITY = 0.25

# The simulator that these problems are made to test.
ZEROWAIT_PAPER = """\
@inproceedings{watanabe2024fast,
  title     = {Fast Benchmarking of Asynchronous Multi-Fidelity Optimization on Zero-Cost Benchmarks},
  author    = {Watanabe, Shuhei and Mallik, Neeratyoy and Bergman, Edward and Hutter, Frank},
  booktitle = {International Conference on Automated Machine Learning},
  year      = {2024},
  note      = {arXiv:2403.01888}
}"""

Slow = Literal["good", "bad"]


class Difficult:
    """One of the difficult problems; the fidelity is `epoch`, from 1 to 27, and runtimes are proportional to it.

    | task | what is difficult | seconds an epoch |
    |---|---|---|
    | constant-runtime | all runtimes are equal, so everything happens at the same time | 10 |
    | pareto-runtime | runtimes have no mean: Pareto with a = 1, P(X > x) = 1 / x | X >= 1; 2 without a seed |
    | correlated-runtime | what arrives first is what is bad (or good) | 1 to 100, linear in the loss |
    | failing | trainings fail | 10; a failure ends it at a time of its own |
    | conditional | a configuration has two, three or four parameters, depending on their values | 1 to 8 |

    Parameters
    ----------
    task
        Which problem.
    probability
        Only for the task "failing": how probable it is, over the seeds, that a training fails; 0.25 by default. Whether
        it does depends on seed and configuration alone. Without a seed nothing fails.
    slow
        Only for the task "correlated-runtime": whether the "good" configurations (the default) or the "bad" ones
        take long.
    """

    name = NAME
    fidelity = Fidelity("epoch", 1, EPOCHS, integer=True)
    metrics: Mapping[str, str] = MappingProxyType({})
    # The least loss at the full fidelity is reached exactly: no square is left.
    optimum = 0.0
    citation: ClassVar[str] = "none of its own: made for the tests of zerowait (arXiv 2403.01888)"
    licence: ClassVar[str] = "Apache-2.0"

    def __init__(self, task: str, *, probability: float | None = None, slow: Slow | None = None) -> None:
        check_task(NAME, task, TASKS)
        self.task = task
        self._probability = self._option("failing", "probability", probability, DEFAULT_PROBABILITY)
        self._slow = self._option("correlated-runtime", "slow", slow, "good")
        number = as_float(self._probability)
        if number is None or not 0.0 <= number <= 1.0:
            raise SpecificationError(f"{NAME}/{task}: probability is {probability!r}; it must be a number from 0 to 1")
        if self._slow not in get_args(Slow):
            raise SpecificationError(f"{NAME}/{task}: slow is {slow!r}; it must be 'good' or 'bad'")
        options: dict[str, Any] = {}
        if number != DEFAULT_PROBABILITY:
            options["probability"] = number
        if self._slow != "good":
            options["slow"] = self._slow
        self.label = label_of(NAME, task, options)
        self._problem: Problem = Branches(self.label) if task == "conditional" else Bowl(self.label)

    def _option(self, task: str, name: str, value: Any, default: Any) -> Any:
        if value is None:
            return default
        if self.task != task:
            raise SpecificationError(
                f"{NAME}/{self.task}: {name} is {value!r}, but only the task {task!r} has it; leave it out"
            )
        return value

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        return self._problem.space()

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Evaluate one configuration; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed.
        TrainingFailedError
            The task is "failing" and this training does; the error has the seconds that it ran.
        """
        epoch = int(self.fidelity.check(fidelity, self.label))
        values = self._problem.checked(config)
        if seed is not None:
            seed = check_seed(seed)
        loss = self._problem.loss(values)
        runtime = epoch * self._seconds_per_epoch(values, loss, seed)
        if self.task == "failing" and seed is not None:
            chance = uniform(seed, canonical_json(values), 0)
            if chance < self._probability:
                raise TrainingFailedError(
                    f"{self.label}: the training failed, as it does for this seed",
                    runtime * (chance / self._probability),
                )
        return Evaluation(loss + (1.0 - epoch / EPOCHS) * self._problem.bias(values), runtime)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the search space out: it is built again where it is needed."""
        return {key: value for key, value in self.__dict__.items() if key != "space"}

    def _seconds_per_epoch(self, values: Mapping[str, Any], loss: float, seed: int | None) -> float:
        if self.task == "conditional":
            return float(values.get("depth", 1))
        if self.task == "pareto-runtime":
            # The quantile function of the Pareto distribution with a = 1; without a seed its median.
            return 2.0 if seed is None else 1.0 / (1.0 - uniform(seed, canonical_json(values), 0))
        if self.task == "correlated-runtime":
            badness = loss / Bowl.greatest
            share = badness if self._slow == "bad" else 1.0 - badness
            return FASTEST + (SLOWEST - FASTEST) * share
        return SECONDS_PER_EPOCH


FAMILY = Family(
    name=NAME,
    description="problems that test simulator and adapters: ties, heavy tails, failures, conditions; the minimum is 0",
    make=Difficult,
    tasks=TASKS,
    citation=Difficult.citation,
    licence=Difficult.licence,
    facts=Facts(
        value="a distance from the best configuration, without a unit",
        runtime="s, invented and proportional to the epochs",
        optima=dict.fromkeys(TASKS, Difficult.optimum),
        optimum_note="exact: every task reaches 0 at 27 epochs, and no value is less",
        bibtex=ZEROWAIT_PAPER,
    ),
)
