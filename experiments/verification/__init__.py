"""The verification experiments: commands with numeric gates that can fail; see docs/verification.md."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from zerowait.experiments.verification.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Request:
    """What the person who starts an experiment can choose; an experiment reads what concerns it."""

    quick: bool = True
    """A few seconds instead of the numbers that are committed."""
    directories: tuple[Path, ...] = ()
    """Where the run directories are made; the system's temporary folder when there is none."""
    pythons: tuple[Path, ...] = ()
    """Further interpreters, with zerowait installed."""
    syne_tune: Path | None = None
    """An interpreter that has Syne Tune."""
    study: Path | None = None
    """The output folder of a study, for experiments that compare its runs."""
    page: Path | None = None
    """A Markdown page that the numbers are written into."""
    tell: Callable[[str], None] = lambda _: None
    """Is told what is going on."""

    @property
    def directory(self) -> Path | None:
        """The first of the directories."""
        return self.directories[0] if self.directories else None


EXPERIMENTS = {
    "hand-computed": (
        "hand_computed.experiment",
        "schedules worked out by hand: modelled to the last bit, really timed to 10 ms",
    ),
    "order-match": ("order_match.experiment", "order, number of results and time, really slept against simulated"),
    "runtime-reduction": (
        "runtime_reduction.experiment",
        "Hartmann in six dimensions: the same losses, how much sooner",
    ),
    "six-libraries": ("six_libraries.experiment", "six libraries' own machinery, really slept twice against simulated"),
    "speed": ("speed.experiment", "cost of an evaluation beside other simulators, a bare pool and a bare loop"),
    "portability": ("portability", "the first three, quickly, on other file systems and interpreters"),
    "effects": ("effects.experiment", "what simulators usually get wrong: how much a study's ranking changes"),
    "figure-6": ("figure_6", "the paper's ranks of eight optimizers, by its rule, by the right one and step by step"),
    "paper-study": (
        "paper_study.experiment",
        "whether ranks change with the number of workers, and what libraries' own time takes",
    ),
    "stragglers": (
        "stragglers",
        "successive halving and ASHA where jobs straggle and are dropped (Li et al. 2020)",
    ),
    "clocks": ("clocks", "what the clock of LCBench's surrogate does to the ranking, and what the real table says"),
}
"""Module and one line of description, by name."""


def run(name: str, request: Request) -> Outcome:
    """Run an experiment and return what came out of it.

    Raises
    ------
    SpecificationError
        There is no experiment of this name.
    """
    if name not in EXPERIMENTS:
        raise SpecificationError(f"there is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    module = importlib.import_module(f"{__name__}.{EXPERIMENTS[name][0]}")
    return cast("Outcome", module.run(request))
