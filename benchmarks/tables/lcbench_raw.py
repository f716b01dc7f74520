"""LCBench itself: real learning curves and real seconds of 2,000 perceptrons on each of 35 OpenML tasks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from zerowait.benchmarks.data.errors import DataMissingError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.protocol import Fidelity, check_task
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables import official
from zerowait.benchmarks.tables.lcbench_raw_official import COLUMNS, CONFIG, CONFIGURATIONS, NAME, TASKS, LCBenchFiles
from zerowait.benchmarks.tables.trained import Answer, Range, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from zerowait.benchmarks.data.conversion import Report

LAST_EPOCH = 50
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


RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "batch_size": Range(16, 512, integer=True, log=True),
        "learning_rate": Range(1e-4, 0.1, log=True),
        "max_dropout": Range(0.0, 1.0),
        "max_units": Range(64, 1024, integer=True, log=True),
        "momentum": Range(0.1, 0.99),
        "num_layers": Range(1, 4, integer=True),
        "weight_decay": Range(1e-5, 0.1),
    }
)
"""The ranges and scales from which the configurations were drawn."""


class LCBenchRaw(Trained):
    """One task; the loss is one minus the balanced validation accuracy.

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
    ranges: ClassVar[Mapping[str, Range]] = RANGES
    configurations: ClassVar[int] = CONFIGURATIONS
    task: str

    def __init__(
        self, task: str, *, answer: Answer = "nearest", fidelity_range: Sequence[int] = (1, LAST_EPOCH)
    ) -> None:
        check_task(NAME, task, tuple(TASKS))
        super().__init__(task, answer, Fidelity("epoch", 1, LAST_EPOCH, integer=True), fidelity_range, COLUMNS)

    @cached_property
    def optimum(self) -> float:
        """The least loss of the 2,000 trainings at the greatest epoch."""
        return 1.0 - float(self._curves[:, int(self.fidelity.upper), _SCORE].max())

    @property
    def content(self) -> str:
        """The names of the converted arrays, which are those of the digests of their files."""
        return "/".join(official.convert(LCBenchFiles(what), what).name for what in (CONFIG, self.task))

    def _trained(self, number: int, fidelity: float) -> tuple[float, float, dict[str, float]]:
        row = self._curves[number, int(fidelity)].tolist()
        return 1.0 - row[_SCORE], row[0], dict(zip(COLUMNS, row, strict=True))

    @cached_property
    def _curves(self) -> NDArray[np.float64]:
        return official.open_official(LCBenchFiles(self.task), self.task)

    @cached_property
    def _configurations(self) -> NDArray[np.float64]:
        return official.open_official(LCBenchFiles(CONFIG), CONFIG)


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
