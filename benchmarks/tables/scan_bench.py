"""ScAn-Bench: real trainings of OpenCLIP, each with a schedule of its own length, on several kinds of machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from zerowait.benchmarks.data.errors import TrainingFailedError
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.protocol import Fidelity
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables import official
from zerowait.benchmarks.tables.scan_bench_official import (
    COLUMNS,
    CONFIGURATIONS,
    NAME,
    PARAMETERS,
    TASK,
    ScanFiles,
    Trainings,
)
from zerowait.benchmarks.tables.trained import Answer, Range, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from zerowait.benchmarks.data.conversion import Report

LEAST, FULL = 0.1, 1.0
CITATION = (
    "Sermaxhaj et al.: ScAn-Bench: Evaluating Scaling Analysis Methodology, NeurIPS 2026 (Evaluations and Datasets), "
    "arXiv 2609.35707"
)
BIBTEX = """\
@inproceedings{sermaxhaj2026scanbench,
  title     = {{ScAn-Bench}: Evaluating Scaling Analysis Methodology},
  author    = {Sermaxhaj, A. and Alipour, N. and Sinani, D. and Hog, J. and Mallik, N. and Adriaensen, S. and Jitsev, J.
               and Stoll, D.},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2026},
  note      = {arXiv:2609.35707}
}"""
_METRICS = dict(
    zip(
        COLUMNS[1:],
        ("nats", "nats", "nats", "fraction of the planned samples, 0 to 1", "s, on the machine it was trained on"),
        strict=True,
    )
)
_WIDTH = Range(32, 512, integer=True, log=True)
_RANGES = (
    Range(0.9, 0.99),
    Range(0.95, 0.999),
    Range(1e-8, 1e-6, log=True),
    Range(1e-5, 0.05, log=True),
    _WIDTH,
    Range(600_000, 120_000_000, integer=True, log=True),
    _WIDTH,
    Range(0.0, 0.75),
    Range(1e-6, 0.2, log=True),
)


class ScanBench(Trained):
    """OpenCLIP on LAION-400M; the loss is the contrastive one on the validation data.

    Parameters
    ----------
    answer
        "nearest" answers every configuration of the space with the trained one that is nearest in the unit cube of its
        nine parameters (numbers on the scale on which they were drawn), and records that as the metric "distance";
        "choice" has one parameter, `configuration`, from 0 to 1499: which of the trained ones.
    fidelity_range
        The least and the greatest share of the planned training, within 0.1 to 1.

    Raises
    ------
    SpecificationError
        An argument is not allowed.
    """

    name: ClassVar[str] = NAME
    citation: ClassVar[str] = CITATION
    licence: ClassVar[str] = "MIT (the package scan-bench), CC BY-SA 4.0 (the data)"
    ranges: ClassVar[Mapping[str, Range]] = MappingProxyType(dict(zip(PARAMETERS, _RANGES, strict=True)))
    configurations: ClassVar[int] = CONFIGURATIONS

    def __init__(self, *, answer: Answer = "nearest", fidelity_range: Sequence[float] = (LEAST, FULL)) -> None:
        super().__init__(None, answer, Fidelity("training_progress", LEAST, FULL, False), fidelity_range, _METRICS)

    @cached_property
    def optimum(self) -> float:
        """The least loss at the greatest fidelity of the trainings that did not diverge."""
        losses = []
        for number in range(self.configurations):
            try:
                losses.append(self._trained(number, self.fidelity.upper)[0])
            except TrainingFailedError:
                continue
        return min(losses)

    @property
    def content(self) -> str:
        """The name of the converted arrays, which is that of the digest of their file."""
        return official.convert(ScanFiles(), TASK).name

    def _trained(self, number: int, fidelity: float) -> tuple[float, float, dict[str, float]]:
        epochs, diverged = self._ends[number]
        # A training is looked at where an epoch ends: the first one at or after what was asked for.
        epoch = math.ceil(round(fidelity * epochs, 9))
        if diverged and epoch >= diverged:
            runtime = float(self._trainings.curves[number, diverged - 1, 0])
            raise TrainingFailedError(
                f"{self.label}: configuration {number} diverged in epoch {diverged} of {epochs}", runtime
            )
        row = self._trainings.curves[number, epoch - 1].tolist()
        return row[1], row[0], dict(zip(COLUMNS[1:], row[1:], strict=True))

    @cached_property
    def _trainings(self) -> Trainings:
        return official.open_official(ScanFiles(), TASK)

    @cached_property
    def _ends(self) -> list[list[int]]:
        return [[int(end) for end in ends] for ends in self._trainings.ends.tolist()]

    @property
    def _configurations(self) -> NDArray[np.float64]:
        return self._trainings.configurations


def missing(_: str | None) -> str | None:
    """Tell that the file is not there and which command gets it, or None when it is."""
    return None if official.is_there(ScanFiles(), TASK) else official.absence(ScanFiles(), TASK)


def convert_official(report: Report | None = None) -> Path:
    """Convert the file, unless that has been done; return the folder of the arrays; see `official.convert`."""
    return official.convert(ScanFiles(), TASK, report=report)


FAMILY = Family(
    name=NAME,
    description="real trainings of OpenCLIP, 9 parameters, 2 to 10 epochs each; the loss is the validation loss",
    make=ScanBench,
    data="the package scan-bench 0.2.3",
    missing=missing,
    citation=CITATION,
    licence=ScanBench.licence,
    facts=Facts(
        value="contrastive loss on the validation data, nats",
        runtime="s, measured, cumulative to the end of the epoch, turned into those of four A100",
        metrics=ScanBench().metrics,
        optimum_note="exact: the least final loss that was trained, read from the table: `load(...).optimum`",
        bibtex=BIBTEX,
    ),
)
