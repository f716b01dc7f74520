"""Benchmarks that ask a surrogate of YAHPO Gym: what a scenario is, and one task of it as a benchmark.

The names, orders and directions of inputs and outputs are not in the published files; they are those of the package
yahpo-gym 1.0.2 (its module `benchmarks`), which made the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from zerowait.benchmarks.data.content import files_digest
from zerowait.benchmarks.data.errors import DamagedDataError
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.protocol import Fidelity, check_seed, check_task, label_of
from zerowait.benchmarks.surrogates.surrogate_session import SESSIONS, ModelFile, missing_runtime
from zerowait.benchmarks.surrogates.surrogate_space import Space, read_encoding, read_space
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ConfigSpace import ConfigurationSpace

Clock = Literal["surrogate", "linear"]
COMMIT = "efdab9072f63bd680396cd4b78b927c4a0caaad3"
HOME = "https://github.com/slds-lmu/yahpo_data"
FILES = ("config_space.json", "encoding.json", "model.onnx")
LICENCE = "Apache-2.0 (surrogate and data, github.com/slds-lmu/yahpo_data)"
YAHPO_CITATION = (
    "Pfisterer, Schneider, Moosbauer, Binder, Bischl: YAHPO Gym - An Efficient Multi-Objective Multi-Fidelity "
    "Benchmark for Hyperparameter Optimization, AutoML-Conf 2022, arXiv 2109.03670"
)
YAHPO_BIBTEX = """\
@inproceedings{pfisterer2022yahpo,
  title     = {{YAHPO} {G}ym -- An Efficient Multi-Objective Multi-Fidelity Benchmark for Hyperparameter Optimization},
  author    = {Pfisterer, Florian and Schneider, Lennart and Moosbauer, Julia and Binder, Martin and Bischl, Bernd},
  booktitle = {International Conference on Automated Machine Learning},
  year      = {2022},
  note      = {arXiv:2109.03670}
}"""

# What stands for a category and a number that a configuration does not have.
_NO_CATEGORY, _NO_NUMBER = "#na#", 0.0
_REPETITION = "repl"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one surrogate predicts, and from what."""

    name: str
    """The name that `benchmarks.load` takes, which is YAHPO Gym's."""
    data: str
    """The data set in `zerowait.benchmarks.data.sources` that holds its files."""
    folder: str
    """Its folder in that data set; "." when the data set is the scenario."""
    task_column: str
    """The categorical input that chooses the task."""
    fidelity: str
    """The numeric input that is the fidelity."""
    categories: tuple[str, ...]
    """The categorical inputs, in the model's order."""
    numbers: tuple[str, ...]
    """The numeric inputs, in the model's order."""
    outputs: Mapping[str, str]
    """The unit of each predicted number, by name, in the model's order."""
    target: str
    """The output that the value is made of."""
    maximised: bool
    """Whether that output is to be maximised; the value is then one minus it."""
    runtime: str
    """The output that is the runtime."""
    repetitions: int = 0
    """How many repetitions of a training the input `repl` tells apart; 0 when there is no such input."""

    @property
    def place(self) -> Path:
        """The folder of its files."""
        return data_set(self.data).place / self.folder

    def missing(self, task: str | None) -> str | None:  # noqa: ARG002 - the signature of Family.missing
        """Tell why it cannot be queried and what to do about it; None when it can."""
        place = self.place
        absent = next((place / name for name in FILES if not (place / name).is_file()), None)
        return missing_runtime() if absent is None else f"{absent} is not there; {self.remedy}"

    @property
    def remedy(self) -> str:
        """How to get the files, or get them again."""
        data = data_set(self.data)
        if self._path_in_data("model.onnx") in data.files:
            return f"get the data with: {data.command}"
        return f"put {', '.join(FILES)} from {HOME}/tree/{COMMIT}/{self.name} there"

    def space(self) -> Space:
        """Read the whole search space: with the task, the fidelity and the repetition."""
        file = self.place / "config_space.json"
        space = read_space(file)
        expected = {*self.categories, *self.numbers}
        if set(space.names) != expected:
            raise DamagedDataError(
                f"{file} has the parameters {', '.join(sorted(space.names))}; "
                f"{self.name} has {', '.join(sorted(expected))}; {self.remedy}"
            )
        return space

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks, as the file has them."""
        return self.space()[self.task_column].choices

    def encoding(self) -> Mapping[str, Mapping[str, int]]:
        """Read the code of each category's values, and check that every value has one."""
        file = self.place / "encoding.json"
        encoding = read_encoding(file)
        space = self.space()
        for name in self.categories:
            for value in (*space[name].choices, _NO_CATEGORY):
                if value not in encoding.get(name, {}):
                    raise DamagedDataError(f"{file} has no code for {name}={value!r}; {self.remedy}")
        return encoding

    def content(self) -> str:
        """Return the digest of its files."""
        return files_digest(self.place, [self.place / name for name in FILES])

    def model(self) -> ModelFile:
        """Return the file of the surrogate."""
        digest = data_set(self.data).digests().get(self._path_in_data("model.onnx"))
        widths = len(self.categories), len(self.numbers), len(self.outputs)
        return ModelFile(str(self.place / "model.onnx"), *widths, digest, self.remedy)

    def _path_in_data(self, name: str) -> str:
        return name if self.folder == "." else f"{self.folder}/{name}"


class SurrogateBenchmark:
    """One task of a scenario of YAHPO Gym.

    A surrogate is deterministic: where there are no repetitions, the seed changes nothing. Where there are, a seed
    chooses the repetition `seed % repetitions + 1`, and without a seed value, runtime and metrics are the means over
    all of them.

    Parameters
    ----------
    scenario
        What is predicted, and from what.
    task
        The task.
    fidelity_range
        The least and the greatest fidelity, within those of the surrogate, which are the default; without a fidelity
        the greatest is evaluated.
    repl
        The only repetition to use, from 1, whatever the seed; None lets the seed choose.
    clock
        "surrogate" takes the seconds that the surrogate predicts for the fidelity; "linear" the share z / full of those
        that it predicts for the greatest fidelity that it knows, whatever `fidelity_range` is.
    """

    licence: ClassVar[str] = LICENCE

    def __init__(
        self,
        scenario: Scenario,
        task: str,
        *,
        fidelity_range: Sequence[float] | None = None,
        repl: int | None = None,
        clock: Clock = "surrogate",
    ) -> None:
        space = scenario.space()
        check_task(scenario.name, task, space[scenario.task_column].choices)
        self.scenario = scenario
        self.name = scenario.name
        self.task = task
        self.repl = _checked_repetition(scenario, repl)
        self.parameters = space.without(scenario.task_column, scenario.fidelity, _REPETITION)
        self.fidelity = _fidelity(scenario, space, fidelity_range)
        self._options: dict[str, Any] = {}
        if fidelity_range is not None:
            self._options["fidelity_range"] = [self.fidelity.lower, self.fidelity.upper]
        if repl is not None:
            self._options["repl"] = repl
        self.clock = checked_clock(clock, scenario.name)
        if clock != "surrogate":
            self._options["clock"] = clock
        self._full = space[scenario.fidelity].upper

    @property
    def label(self) -> str:
        """The name, the task, and every parameter that is not the default."""
        return label_of(self.name, self.task, self._options)

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, by name: all that the surrogate predicts."""
        return MappingProxyType(dict(self.scenario.outputs))

    @property
    def citation(self) -> str:
        """The publication to cite."""
        return YAHPO_CITATION

    @property
    def content(self) -> str:
        """The digest of the surrogate's files."""
        return self.scenario.content()

    @property
    def optimum(self) -> float | None:
        """None: the least value of the surrogate is unknown."""
        return None

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        return self.parameters.as_configspace(self.label)

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Ask the surrogate about one configuration; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed; the surrogate has not seen it then.
        DataMissingError
            The model or the package onnxruntime is not there.
        DamagedDataError
            A file is not what it should be.
        """
        amount = self._amount(self.fidelity.check(fidelity, self._label))
        values = self.parameters.check(config, self._label)
        if seed is not None:
            seed = check_seed(seed)
        scenario = self.scenario
        values[scenario.task_column] = self.task
        values[scenario.fidelity] = amount
        codes, numbers, repetition_column = self._inputs(values)
        repetitions = self._repetitions(seed)
        metrics = self._predicted(codes, numbers, repetition_column, repetitions)
        runtime = metrics[scenario.runtime]
        if self.clock == "linear" and amount < self._full:
            numbers[scenario.numbers.index(scenario.fidelity)] = self._full
            full = self._predicted(codes, numbers, repetition_column, repetitions)[scenario.runtime]
            runtime = full * (amount / self._full)
        score = metrics[scenario.target]
        return Evaluation(1.0 - score if scenario.maximised else score, runtime, metrics)

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments alone: what is read from disk is read where it is needed."""
        return _make, (type(self), self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """Return what the class of this object is called with to make it again."""
        return {"task": self.task, **self._options}

    def _amount(self, fidelity: float) -> float:
        """Return what the surrogate is given for a fidelity."""
        return fidelity

    def _repetitions(self, seed: int | None) -> Sequence[int]:
        count = self.scenario.repetitions
        if not count:
            return (0,)
        if self.repl is not None:
            return (self.repl,)
        return range(1, count + 1) if seed is None else (seed % count + 1,)

    def _predicted(
        self, codes: list[int], numbers: list[float], repetition_column: int | None, repetitions: Sequence[int]
    ) -> dict[str, float]:
        """Return every output by name, the means over some repetitions."""
        rows = []
        for repetition in repetitions:
            if repetition_column is not None:
                numbers[repetition_column] = repetition
            rows.append(SESSIONS.query(self._model, codes, numbers))
        row = rows[0] if len(rows) == 1 else [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        return dict(zip(self.scenario.outputs, row, strict=True))

    def _inputs(self, values: Mapping[str, Any]) -> tuple[list[int], list[float], int | None]:
        encoding, repetition_column = self._layout
        codes = [encoding[name][values.get(name, _NO_CATEGORY)] for name in self.scenario.categories]
        return codes, [values.get(name, _NO_NUMBER) for name in self.scenario.numbers], repetition_column

    @cached_property
    def _layout(self) -> tuple[Mapping[str, Mapping[str, int]], int | None]:
        scenario = self.scenario
        column = scenario.numbers.index(_REPETITION) if scenario.repetitions else None
        return scenario.encoding(), column

    @cached_property
    def _model(self) -> ModelFile:
        return self.scenario.model()

    @cached_property
    def _label(self) -> str:
        return self.label


def checked_clock(clock: Any, label: str) -> Clock:
    """Return the clock, or raise `SpecificationError` unless it is one."""
    if clock not in get_args(Clock):
        raise SpecificationError(f"{label}: clock is {clock!r}; it must be 'surrogate' or 'linear'")
    known: Clock = clock
    return known


def _make(kind: type[SurrogateBenchmark], arguments: dict[str, Any]) -> SurrogateBenchmark:
    return kind(**arguments)


def _fidelity(scenario: Scenario, space: Space, fidelity_range: Sequence[float] | None) -> Fidelity:
    parameter = space[scenario.fidelity]
    integer = parameter.kind == "integer"
    hard = Fidelity(parameter.name, parameter.lower, parameter.upper, integer=integer)
    return hard if fidelity_range is None else hard.between(fidelity_range, scenario.name)


def _checked_repetition(scenario: Scenario, repl: object) -> int | None:
    if repl is None:
        return None
    if not scenario.repetitions:
        raise SpecificationError(f"{scenario.name}: repl is {repl!r}, but there are no repetitions; leave it out")
    if type(repl) is not int or not 1 <= repl <= scenario.repetitions:
        raise SpecificationError(
            f"{scenario.name}: repl is {repl!r}; it must be an integer from 1 to {scenario.repetitions}, "
            "or None, which lets the seed choose"
        )
    return repl
