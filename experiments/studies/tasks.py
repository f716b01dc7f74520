"""Which benchmarks a study names: one by one, or with wildcards.

`*` stands for any text, `?` for one character, `[12]` for one of these (fnmatch). They may stand in a name
(`hartmann*`), in a task (`tasks = ["1*"]`), and in both written as one (`lcbench/*`). A task that is written out is a
task, whatever characters it has. What a wildcard finds again that stands elsewhere in the study is taken from there,
where it may have parameters of its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from zerowait import benchmarks
from zerowait.benchmarks import DataMissingError
from zerowait.experiments.studies.study import BenchmarkTable, Study, suggestion
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zerowait.benchmarks import Benchmark, Descriptor


@dataclass(frozen=True, slots=True)
class Choice:
    """A benchmark of a study."""

    entry: BenchmarkTable
    """The table of the study file that names it."""
    descriptor: Descriptor
    """What the registry says of it."""
    task: str | None
    """Its task, if it has tasks."""
    benchmark: Benchmark
    """Itself."""

    @property
    def name(self) -> str:
        """The benchmark and its task, as a study names them."""
        return self.descriptor.name if self.task is None else f"{self.descriptor.name}/{self.task}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """What of a study is not run, and why."""

    optimizer: tuple[str, ...]
    """Its label and its name; empty: all of them."""
    benchmark: tuple[str, ...]
    """Its label and its name."""
    reason: str

    def __str__(self) -> str:
        whose = f"{self.optimizer[0]} on " if self.optimizer else ""
        return f"{whose}{self.benchmark[0]}: {self.reason}"


def choose(study: Study, source: str, absent: list[Skipped] | None = None) -> list[Choice]:
    """Return the benchmarks of a study, each once, in the order of the file.

    Parameters
    ----------
    study
        The study.
    source
        What errors call it: the name of its file.
    absent
        Gets each benchmark that is left out because its data is not here; without it that is an error.

    Raises
    ------
    SpecificationError
        A benchmark, a task or a parameter is unknown, a wildcard finds nothing, data is missing, or a benchmark is
        named twice; one line that names the source, the place in it and the remedy.
    """
    known = {descriptor.name: descriptor for descriptor in benchmarks.available()}
    found: list[tuple[Choice, bool]] = []
    for i, entry in enumerate(study.benchmarks):
        place = f"{source}: benchmarks[{i}]"
        for name, task, wild in _named(entry, known, place):
            with at(place):
                try:
                    benchmark = benchmarks.load(name, task=task, **entry.parameters)
                except DataMissingError as error:
                    if absent is None:
                        raise SpecificationError(
                            f"{error} (or leave out what has no data here: --skip-missing-data)"
                        ) from error
                    absent.append(Skipped((), (name if task is None else f"{name}/{task}", name), str(error)))
                    continue
            found.append((Choice(entry, known[name], task, benchmark), wild))
    labels = [choice.benchmark.label for choice, wild in found if not wild]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SpecificationError(f"{source}: benchmarks has {twice!r} more than once; keep it once")
    taken = set(labels)
    chosen: list[Choice] = []
    for choice, wild in found:
        if wild and choice.benchmark.label in taken:
            continue
        taken.add(choice.benchmark.label)
        chosen.append(choice)
    return chosen


def _named(entry: BenchmarkTable, known: dict[str, Descriptor], place: str) -> Iterator[tuple[str, str | None, bool]]:
    """Yield name and task of what an entry names, and whether it was found by a wildcard."""
    pattern, slash, task_pattern = entry.name.partition("/")
    if slash and entry.tasks is not None:
        raise SpecificationError(
            f"{place}.name is {entry.name!r}, which names tasks already; leave out tasks, or write name = {pattern!r}"
        )
    tasks = [task_pattern] if slash else entry.tasks
    names = [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]
    if not names:
        what = "finds no benchmark" if _is_wild(pattern) else "is no benchmark"
        raise SpecificationError(f"{place}.name is {entry.name!r}, which {what}; {suggestion(pattern, known)}")
    wild_name = _is_wild(pattern) and pattern not in known
    found = False
    for name in names:
        for task, wild in _tasks(known[name], tasks, place, forgiving=wild_name):
            found = True
            yield name, task, wild or wild_name
    if not found:
        raise SpecificationError(
            f"{place} finds nothing: no benchmark of {', '.join(names)} has tasks like {', '.join(tasks or ())}"
        )


def _tasks(
    descriptor: Descriptor, tasks: list[str] | None, place: str, *, forgiving: bool
) -> Iterator[tuple[str | None, bool]]:
    """Yield tasks of one benchmark; what is not there is an error unless it is only one of several benchmarks."""
    if tasks is None:
        if descriptor.tasks:
            raise SpecificationError(
                f"{place}: the key tasks is missing; {descriptor.name} has the tasks {', '.join(descriptor.tasks)} "
                '(all of them: tasks = ["*"])'
            )
        yield None, False
        return
    for task in tasks:
        if task in descriptor.tasks or (not descriptor.tasks and not _is_wild(task) and not forgiving):
            yield task, False  # of a benchmark without tasks, the registry says so
            continue
        matching = [name for name in descriptor.tasks if fnmatchcase(name, task)]
        if not matching and not forgiving:
            raise SpecificationError(
                f"{place}.tasks has {task!r}, which {'finds' if _is_wild(task) else 'is'} no task of "
                f"{descriptor.name}; {suggestion(task, descriptor.tasks)}"
            )
        for name in matching:
            yield name, True


def _is_wild(text: str) -> bool:
    return any(character in text for character in "*?[")


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put the place in the study file in front of an error's text."""
    try:
        yield
    except ZerowaitError as error:
        raise SpecificationError(f"{place}: {error}") from error
