"""Study files: one TOML file that describes a grid of runs, checked before anything starts."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, model_validator

from zerowait.experiments.studies.policies import BudgetTable, ClusterSetting, OverheadSetting, Table
from zerowait.experiments.studies.shipped import STUDY_COPY, shipped_studies, study_file
from zerowait.suite.rules.errors import SpecificationError, shown
from zerowait.suite.rules.objectives import check_objectives
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.rules.seeds import MAX_RUN_SEED
from zerowait.suite.rules.specification import MAX_ASK_TELL_WORKERS
from zerowait.suite.sharing.regular_files import read_regular_file

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from pydantic_core import ErrorDetails

Mode = Literal["native", "ask_tell", "native-simulated"]
LARGEST_FILE = 1 << 24
"""Bytes of a study file; one that names a thousand tasks has some tens of thousands."""
MOST_SEEDS = 100_000
"""Of one study."""
Seed = Annotated[int, Field(ge=0, le=MAX_RUN_SEED)]
SeedCount = Annotated[int, Field(gt=0, le=MOST_SEEDS)]


def _is_list(value: object) -> str:
    return "list" if isinstance(value, list) else "number"


Seeds = Annotated[
    Annotated[SeedCount, Tag("number")]
    | Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS), Tag("list")],
    Discriminator(_is_list),
]
"""Run seeds; a number n stands for 0 to n - 1."""
Workers = Annotated[list[Annotated[int, Field(gt=0, le=MAX_ASK_TELL_WORKERS)]], Field(min_length=1)]
"""Numbers of simulated workers."""


def _named_like_arguments(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters:
        if not name.isidentifier() or name in ("self", "cls", "name", "task"):
            raise ValueError(f"{shown(name)} is no name that a parameter can have")
    return parameters


def _can_be_a_path(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"it is {shown(text)}; it must be a path, without control characters")
    return text


Parameters = Annotated[dict[str, Any], AfterValidator(_named_like_arguments)]


class OptimizerTable(Table):
    """One optimizer of the study."""

    name: str
    """An adapter's name; `zerowait list optimizers` shows them."""
    mode: Mode | None = None
    """The library's own parallel machinery or its ask-and-tell interface; None takes the study's."""
    parameters: Parameters = Field(default_factory=dict)
    """Arguments of the adapter."""
    label: str | None = Field(default=None, min_length=1)
    """Name in figures and tables; the adapter's name by default."""
    continual: bool | None = None
    """Whether an evaluation continues the training of its configuration; None takes the study's."""
    budget: BudgetTable | None = None
    """When its runs end, in the place of the study's budget."""
    overhead: OverheadSetting | None = None
    """How its own time is charged, in the place of the study's overhead."""
    workers: Workers | None = None
    """Its numbers of simulated workers, in the place of the study's."""
    seeds: Seeds | None = None
    """Its run seeds, in the place of the study's."""
    benchmarks: list[str] | None = Field(default=None, min_length=1)
    """Those of the study's benchmarks on which it runs, `name` or `name/task`, also with wildcards; None for all."""

    @property
    def shown_as(self) -> str:
        """The name in figures and tables."""
        return self.name if self.label is None else self.label


class BenchmarkTable(Table):
    """One benchmark of the study, with the tasks to take from it."""

    name: str
    """A benchmark's name, or `name/task`; either may have the wildcards of `zerowait.experiments.studies.tasks`."""
    tasks: list[str] | None = Field(default=None, min_length=1)
    """Tasks by name or with wildcards; None for a benchmark that has none."""
    parameters: Parameters = Field(default_factory=dict)
    """Arguments of the benchmark."""


class Study(Table):
    """A grid of runs: every optimizer on every benchmark with every number of workers and every seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the output folder."""
    workers: Workers
    """Numbers of simulated workers of every optimizer that has none of its own."""
    seeds: Seeds
    """Run seeds of every optimizer that has none of its own."""
    overhead: OverheadSetting = Overhead.measured()
    """How the optimizer's own time is charged."""
    mode: Mode | None = None
    """The mode of every optimizer that names none; None takes each adapter's first."""
    continual: bool | None = None
    """Whether evaluations continue trainings, of every optimizer that does not say; None leaves it to the adapter."""
    cluster: ClusterSetting | None = None
    """What the workers are like: one table for all runs, or several with names, each for all of them."""
    objectives: list[str] | None = None
    """What is minimised where that is more than the loss: `value` and metrics of the benchmarks by name."""
    output: Annotated[str, Field(min_length=1), AfterValidator(_can_be_a_path)] | None = None
    """Where the runs are kept, relative to the current folder; `runs/<name>` by default."""
    compare: Annotated[str, Field(min_length=1), AfterValidator(_can_be_a_path)] | None = None
    """Archive that `zerowait compare` sets the runs beside, by its name or its path. No part of what a run is."""
    budget: BudgetTable | None = None
    """When a run ends, unless its optimizer has a budget of its own."""
    optimizers: list[OptimizerTable] = Field(min_length=1)
    benchmarks: list[BenchmarkTable] = Field(min_length=1)
    labels: dict[str, Any] = Field(default_factory=dict)
    """What figures call optimizers and benchmarks, in their order; see `zerowait.plots.studies.labels`. No part of what
    a run is: labels may change when all runs are finished."""

    @model_validator(mode="after")
    def _names_nothing_twice(self) -> Study:
        own = [(f"optimizers[{i}].", one.workers, one.seeds) for i, one in enumerate(self.optimizers)]
        for place, workers, seeds in [("", self.workers, self.seeds), *own]:
            _refuse_repetition(f"{place}workers", workers or [])
            _refuse_repetition(f"{place}seeds", seeds if isinstance(seeds, list) else [])
        _refuse_repetition("optimizers", [o.shown_as for o in self.optimizers], "give one of them a label of its own")
        # Those with parameters are compared by their labels once they are loaded: two tables of one's own may differ.
        plain = [b for b in self.benchmarks if not b.parameters]
        tasks = [f"{b.name}/{t}" if t else b.name for b in plain for t in b.tasks or [""]]
        _refuse_repetition("benchmarks", tasks)
        return self

    @model_validator(mode="after")
    def _labels_what_it_has(self) -> Study:
        from zerowait.plots.studies.labels import labels_of

        optimizers = [self.on(o.shown_as, cluster) for o in self.optimizers for cluster in self.cluster or [""]]
        try:
            labels = labels_of(self.labels)
            labels.check(optimizers, [], known=False)
        except SpecificationError as error:
            raise ValueError(str(error)) from None
        for name in labels.order:
            # Which tasks a pattern stands for is not known before benchmarks are loaded: their names are enough.
            if name not in optimizers and not any(name.startswith(b.name.partition("*")[0]) for b in self.benchmarks):
                raise ValueError(f"[labels] names {shown(name)}, and the study has {suggestion(name, optimizers)}")
        return self

    @model_validator(mode="after")
    def _has_objectives(self) -> Study:
        check_objectives(self.objectives)
        return self

    @model_validator(mode="after")
    def _has_budgets(self) -> Study:
        for i, optimizer in enumerate(self.optimizers):
            if self.budget is None and optimizer.budget is None:
                raise ValueError(
                    f"the key budget is missing; add the table [budget], or give optimizers[{i}] ({optimizer.name}) a "
                    "budget of its own"
                )
        return self

    @staticmethod
    def on(optimizer: str, cluster: str) -> str:
        """Return what figures and tables call an optimizer on the cluster of this name."""
        return f"{optimizer} ({cluster})" if cluster else optimizer

    def workers_of(self, optimizer: OptimizerTable) -> list[int]:
        """Return the numbers of workers with which an optimizer runs."""
        return self.workers if optimizer.workers is None else optimizer.workers

    def seeds_of(self, optimizer: OptimizerTable) -> Sequence[int]:
        """Return the run seeds of an optimizer."""
        seeds = self.seeds if optimizer.seeds is None else optimizer.seeds
        return range(seeds) if isinstance(seeds, int) else seeds

    def describes_the_runs_of(self, other: Study) -> bool:
        """Tell whether two studies ask for the same runs, whatever figures call them and wherever they are kept."""
        apart: dict[str, Any] = {"labels": {}, "output": None, "compare": None}
        return self.model_copy(update=apart) == other.model_copy(update=apart)

    @property
    def folder(self) -> Path:
        """Where the runs are kept."""
        return Path("runs") / self.name if self.output is None else Path(self.output)

    def budget_of(self, optimizer: OptimizerTable) -> BudgetTable:
        """Return when the runs of an optimizer end."""
        budget = self.budget if optimizer.budget is None else optimizer.budget
        assert budget is not None  # as checked when the study was made
        return budget


def load_study(path: str | Path) -> Study:
    """Read and check a study file, or a study that comes with zerowait, by its name.

    Raises
    ------
    SpecificationError
        The file is missing, is not TOML or does not describe a study; one line that names the file, the key
        and the remedy.
    """
    path = study_file(path)
    remedy = f"give the path of a study file (TOML), or the name of one that is here: {', '.join(shipped_studies())}"
    try:
        text = read_regular_file(path, at_most=LARGEST_FILE, follow_links=True).decode()
    except FileNotFoundError:
        if path.name == STUDY_COPY and path.parent.is_dir():
            raise SpecificationError(
                f"{path.parent}: this folder has no {STUDY_COPY}, which a run of this version leaves; {remedy}"
            ) from None
        raise SpecificationError(f"{path}: there is no such file; {remedy}") from None
    except (OSError, ValueError) as error:  # a path may hold a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecificationError(f"{path}: cannot be read ({reason}); a study file is TOML in UTF-8") from None
    return parse_study(text, str(path))


def parse_study(text: str, path: str) -> Study:
    """Check the text of a study file, which errors call `path`; errors are those of `load_study`."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a mere ValueError
        raise SpecificationError(f"{path}: not valid TOML: {error}; correct the file there") from None
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise SpecificationError(f"{path}: {describe(error)}") from None


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return what to do about an unknown name: the closest allowed one, and all of them."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}allowed: {', '.join(names) or 'none'}"


_TABLES: dict[str, type[Table]] = {
    "": Study,
    "budget": BudgetTable,
    "optimizers": OptimizerTable,
    "benchmarks": BenchmarkTable,
}
_TAGS = {"number", "list"}


def describe(error: ValidationError) -> str:
    """Return a study's first problem in one line (place, value, what is allowed), and how many more."""
    # A misspelt key comes first: that another key is missing is often its consequence.
    problems = sorted(error.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden")
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(_describe(first).split()) + more


def _describe(problem: ErrorDetails) -> str:
    place = _place(problem["loc"])
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        *parents, key = problem["loc"]
        table = _TABLES[next((str(p) for p in reversed(parents) if p in _TABLES), "")]
        return f"{place} is not a key that a study has; {suggestion(str(key), table.model_fields)}"
    if kind == "missing":
        every = ", ".join(key for key, field in Study.model_fields.items() if field.is_required())
        return f"the key {place} is missing; add it (every study has {every})"
    if kind == "value_error":
        return f"{place}: {problem['ctx']['error']}" if place else str(problem["ctx"]["error"])
    rule = problem["msg"].replace("Input should", "it must", 1)
    if kind == "string_pattern_mismatch":
        rule = "it must consist of letters, digits, '.', '_' and '-', and start with a letter or digit"
    elif kind in ("too_short", "string_too_short"):
        rule = "it must not be empty"
    elif kind == "list_type" and place in ("optimizers", "benchmarks"):
        rule = f"it must be a list of tables: write [[{place}]] once for each"
    elif kind == "too_long":
        rule = f"it must not have more than {problem['ctx']['max_length']} entries"
    return f"{place} is {shown(value)}; {rule[0].lower()}{rule[1:]}"


def _place(location: Sequence[int | str]) -> str:
    """Return a location as the file writes it, such as `optimizers[0].mode`; list entries count from 0."""
    text = ""
    for i, part in enumerate(location):
        if isinstance(part, int):
            text += f"[{part}]"
        elif i and part in _TAGS and location[i - 1] == "seeds":
            continue  # pydantic's name for an alternative, which no study file contains
        else:
            text += f".{part}" if text else part
    return text


def _refuse_repetition(key: str, values: Sequence[Hashable], remedy: str = "keep it once") -> None:
    found: set[Hashable] = set()
    for value in values:
        if value in found:
            raise ValueError(f"{key} has {value!r} more than once; {remedy}")
        found.add(value)
