"""LCBench itself: real learning curves and real seconds of 2,000 perceptrons on each of 35 OpenML tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from zerowait.benchmarks.data.errors import DataMissingError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed, check_task, label_of
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables import official
from zerowait.benchmarks.tables.lcbench_raw_official import (
    COLUMNS,
    CONFIG,
    CONFIGURATIONS,
    NAME,
    PARAMETERS,
    TASKS,
    LCBenchFiles,
)
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from ConfigSpace import ConfigurationSpace
    from numpy.typing import NDArray

    from zerowait.benchmarks.data.conversion import Report

Answer = Literal["nearest", "choice"]
LAST_EPOCH = 50
CHOICE = "configuration"
"""The one parameter of the space of choices: which of the configurations."""
DISTANCE = "distance"
CITATION = (
    "Zimmer, Lindauer, Hutter: Auto-PyTorch Tabular: Multi-Fidelity MetaLearning for Efficient and Robust AutoDL, "
    "TPAMI 43(9), 2021, arXiv 2006.13799"
)
BIBTEX = """\
@article{zimmer2021auto,
  title   = {{{Auto-PyTorch}} Tabular: Multi-Fidelity MetaLearning for Efficient and Robust {AutoDL}},
  author  = {Zimmer, Lucas and Lindauer, Marius and Hutter, Frank},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {43},
  number  = {9},
  pages   = {3079--3090},
  year    = {2021}
}"""
_SCORE = list(COLUMNS).index("val_balanced_accuracy")


@dataclass(frozen=True, slots=True)
class Range:
    """What a parameter may be, as its authors sampled it."""

    lower: float
    upper: float
    integer: bool
    log: bool

    def position(self, value: Any) -> float | None:
        """Return where between 0 and 1 a value lies, or None when it is not allowed."""
        number = value if type(value) is float else as_float(value)
        if number is None or not self.lower <= number <= self.upper or (self.integer and not number.is_integer()):
            return None
        if self.log:
            return math.log(number / self.lower) / math.log(self.upper / self.lower)
        return (number - self.lower) / (self.upper - self.lower)


RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "batch_size": Range(16, 512, integer=True, log=True),
        "learning_rate": Range(1e-4, 0.1, integer=False, log=True),
        "max_dropout": Range(0.0, 1.0, integer=False, log=False),
        "max_units": Range(64, 1024, integer=True, log=True),
        "momentum": Range(0.1, 0.99, integer=False, log=False),
        "num_layers": Range(1, 4, integer=True, log=False),
        "weight_decay": Range(1e-5, 0.1, integer=False, log=False),
    }
)
"""The ranges and scales from which the configurations were drawn."""


class LCBenchRaw:
    """One task; the loss is one minus the balanced validation accuracy.

    Each configuration was trained once, so a seed changes nothing.

    Parameters
    ----------
    task
        The OpenML task.
    answer
        "nearest" answers every configuration of the space with the trained one that is nearest in the unit cube of its
        seven parameters (numbers on the scale on which they were drawn), and records that as the metric "distance";
        "choice" has one parameter, `configuration`, from 0 to 1999: which of the trained ones.
    fidelity_range
        The least and the greatest epoch, within 1 to 50.

    Raises
    ------
    SpecificationError
        The task or an argument is not allowed.
    """

    name: ClassVar[str] = NAME
    citation: ClassVar[str] = CITATION
    licence: ClassVar[str] = "Apache-2.0 (github.com/ltiao/LCBenchLite)"

    def __init__(
        self, task: str, *, answer: Answer = "nearest", fidelity_range: Sequence[int] = (1, LAST_EPOCH)
    ) -> None:
        check_task(NAME, task, tuple(TASKS))
        if answer not in get_args(Answer):
            raise SpecificationError(f"{NAME}/{task}: answer is {answer!r}; it must be 'nearest' or 'choice'")
        self.task = task
        self.answer = answer
        self.fidelity = Fidelity("epoch", 1, LAST_EPOCH, integer=True).between(fidelity_range, f"{NAME}/{task}")
        given = [self.fidelity.lower, self.fidelity.upper]
        self._options: dict[str, Any] = {
            **({} if answer == "nearest" else {"answer": answer}),
            **({} if given == [1, LAST_EPOCH] else {"fidelity_range": given}),
        }
        self.label = label_of(NAME, task, self._options)
        distance = {DISTANCE: "none, in the unit cube of 7 parameters"} if answer == "nearest" else {}
        self.metrics: Mapping[str, str] = MappingProxyType({**COLUMNS, **distance})

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter, UniformIntegerHyperparameter

        space = ConfigurationSpace(name=self.label, seed=0)
        if self.answer == "choice":
            space.add(UniformIntegerHyperparameter(CHOICE, 0, CONFIGURATIONS - 1))
            return space
        for name, found in RANGES.items():
            kind = UniformIntegerHyperparameter if found.integer else UniformFloatHyperparameter
            space.add(kind(name, found.lower, found.upper, log=found.log))
        return space

    @cached_property
    def optimum(self) -> float:
        """The least loss of the 2,000 trainings at the greatest epoch."""
        return 1.0 - float(self._curves[:, int(self.fidelity.upper), _SCORE].max())

    @property
    def content(self) -> str:
        """The names of the converted arrays, which are those of the digests of their files."""
        return "/".join(official.convert(LCBenchFiles(what), what).name for what in (CONFIG, self.task))

    def trained(self, number: int) -> dict[str, float | int]:
        """Return the configuration of a number from 0 to 1999."""
        row = self._configurations[number].tolist()
        return {
            name: int(value) if RANGES[name].integer else value for name, value in zip(PARAMETERS, row, strict=True)
        }

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Look one configuration up; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed.
        DataMissingError
            The files are not there; the message names the command that gets them.
        DamagedDataError
            A file is not what it should be.
        """
        epoch = int(self.fidelity.check(fidelity, self.label))
        if seed is not None:
            check_seed(seed)
        if self.answer == "choice":
            number, further = self._number(config), {}
        else:
            number, distance = self._nearest(config)
            further = {DISTANCE: distance}
        row = self._curves[number, epoch].tolist()
        return Evaluation(1.0 - row[_SCORE], row[0], {**dict(zip(COLUMNS, row, strict=True)), **further})

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments alone: the arrays are mapped where they are needed."""
        return _make, (self.task, self._options)

    @cached_property
    def _curves(self) -> NDArray[np.float64]:
        return official.open_official(LCBenchFiles(self.task), self.task)

    @cached_property
    def _configurations(self) -> NDArray[np.float64]:
        return official.open_official(LCBenchFiles(CONFIG), CONFIG)

    @cached_property
    def _positions(self) -> NDArray[np.float64]:
        """Where each configuration lies in the unit cube, shape (parameters, configurations)."""
        import numpy as np

        positions = [
            [RANGES[name].position(value) for value in column.tolist()]
            for name, column in zip(PARAMETERS, self._configurations.T, strict=True)
        ]
        return np.array(positions, dtype=np.float64)

    def _number(self, config: Config) -> int:
        if not isinstance(config, Mapping) or len(config) != 1 or CHOICE not in config:
            check_names(config, (CHOICE,), self.label)
        number = as_float(config[CHOICE])
        if number is None or not number.is_integer() or not 0 <= number < CONFIGURATIONS:
            raise self._refusal(CHOICE, config[CHOICE], f"an integer from 0 to {CONFIGURATIONS - 1}")
        return int(number)

    def _nearest(self, config: Config) -> tuple[int, float]:
        """Return the nearest configuration, the first of equally near ones, and its distance."""
        if not isinstance(config, Mapping) or set(config) != set(PARAMETERS):
            check_names(config, PARAMETERS, self.label)
        total: Any = 0.0
        for name, column in zip(PARAMETERS, self._positions, strict=True):
            position = RANGES[name].position(config[name])
            if position is None:
                found = RANGES[name]
                kind = "an integer" if found.integer else "a number"
                raise self._refusal(name, config[name], f"{kind} from {found.lower} to {found.upper}")
            difference = column - position
            total = total + difference * difference
        number = int(total.argmin())
        return number, math.sqrt(total[number])

    def _refusal(self, name: str, value: Any, allowed: str) -> SpecificationError:
        return SpecificationError(
            f"{self.label}: the parameter {name!r} has the value {shown(value)}; allowed is {allowed}"
        )


def _make(task: str, options: dict[str, Any]) -> LCBenchRaw:
    return LCBenchRaw(task, **options)


def missing(task: str | None) -> str | None:
    """Tell which file is not there and which command gets it; without a task, whether any task has its file."""
    if not official.is_there(LCBenchFiles(CONFIG), CONFIG):
        return official.absence(LCBenchFiles(CONFIG), CONFIG)
    wanted = tuple(TASKS) if task is None else (task,)
    if any(official.is_there(LCBenchFiles(one), one) for one in wanted):
        return None
    return official.absence(LCBenchFiles(wanted[0]), wanted[0])


def convert_official(report: Report | None = None) -> list[Path]:
    """Convert the files that are there and were not converted yet; return the folders of the arrays.

    Raises
    ------
    DataMissingError
        No file is there, or the cache folder cannot be written.
    DamagedDataError
        A file is not what it should be.
    """
    there = [what for what in (CONFIG, *TASKS) if official.is_there(LCBenchFiles(what), what)]
    if not there:
        raise DataMissingError(f"{NAME}: {official.absence(LCBenchFiles(CONFIG), CONFIG)}")
    return [official.convert(LCBenchFiles(what), what, report=report) for what in there]


FAMILY = Family(
    name=NAME,
    description="real trainings of perceptrons on OpenML tasks, 7 parameters, 50 epochs; the loss is 1 - bal. accuracy",
    make=LCBenchRaw,
    tasks=tuple(TASKS),
    data="the real table in lcbench_raw",
    missing=missing,
    citation=CITATION,
    licence=LCBenchRaw.licence,
    facts=Facts(
        value="1 - balanced validation accuracy, fraction 0 to 1",
        runtime="s, measured, cumulative to the end of the epoch, on the authors' machines",
        metrics=LCBenchRaw("3945").metrics,
        optimum_note="exact: the least of the 2,000 losses at epoch 50, read from the table: `load(...).optimum`",
        bibtex=BIBTEX,
    ),
)
