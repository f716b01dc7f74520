"""Some cells of a study, as `--only` names them: `optuna*,*,P=8,seed<5`."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.studies.tasks import Skipped

FORM = "OPTIMIZER,BENCHMARK,CONDITION..., such as 'optuna*,*,P=8,seed<5'"

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*")
_RANGE = re.compile(r"(\d+)(?:\s*(?:\.\.|-)\s*(\d+))?")
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_QUANTITIES: dict[str, Callable[[Cell], int]] = {"P": lambda cell: cell.n_workers, "seed": lambda cell: cell.seed}


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a cell's number of workers or seed with numbers."""

    quantity: str
    """'P' or 'seed'."""
    comparison: str
    """'=', '!=', '<', '<=', '>' or '>='."""
    lower: int
    """The number; of a range, its first."""
    upper: int
    """The last number of a range, else the number again."""

    def holds(self, cell: Cell) -> bool:
        """Tell whether it is true of a cell."""
        value = _QUANTITIES[self.quantity](cell)
        if self.comparison in ("=", "!="):
            return (self.lower <= value <= self.upper) == (self.comparison == "=")
        return _COMPARISONS[self.comparison](value, self.lower)


@dataclass(frozen=True, slots=True)
class Selection:
    """Two patterns and conditions; a cell is selected when all of them are true of it."""

    optimizer: str
    """Of the label, or of the adapter's name."""
    benchmark: str
    """Of the benchmark with its task, or of its name."""
    conditions: tuple[Condition, ...]
    """In any order."""

    def selects(self, cell: Cell) -> bool:
        """Tell whether a cell is meant."""
        return self._names((cell.label, cell.optimizer), (cell.benchmark_label, cell.benchmark)) and all(
            condition.holds(cell) for condition in self.conditions
        )

    def concerns(self, skipped: Skipped) -> bool:
        """Tell whether what is skipped would have been meant, for some number of workers and some seed."""
        return self._names(skipped.optimizer or (self.optimizer,), skipped.benchmark)

    def _names(self, optimizer: Sequence[str], benchmark: Sequence[str]) -> bool:
        return any(fnmatchcase(name, self.optimizer) for name in optimizer) and any(
            fnmatchcase(name, self.benchmark) for name in benchmark
        )


def parse_selection(text: str) -> Selection:
    """Return the selection that a text describes.

    The first two parts without a comparison are patterns (`*`, `?`, `[12]`) of optimizers and of benchmarks; one that
    is left out stands for all. Conditions compare `P` or `seed` by `=`, `!=`, `<`, `<=`, `>`, `>=` with a number, and
    `=` and `!=` also with a range such as `2..5` or `2-5`, both included.

    Raises
    ------
    SpecificationError
        The text is not written so; the message names the part.
    """
    patterns: list[str] = []
    conditions: list[Condition] = []
    for part in text.split(","):
        written = _CONDITION.fullmatch(part)
        if written is not None:
            conditions.append(_condition(text, part.strip(), *written.groups()))
        elif not part.strip() or conditions or len(patterns) == 2:  # noqa: PLR2004 - optimizer and benchmark
            raise SpecificationError(f"--only is {text!r}, of which {part!r} is not understood; write {FORM}")
        else:
            patterns.append(part.strip())
    optimizer, benchmark = [*patterns, "*", "*"][:2]
    return Selection(optimizer, benchmark, tuple(conditions))


def _condition(text: str, part: str, quantity: str, comparison: str, numbers: str) -> Condition:
    if quantity not in _QUANTITIES:
        raise SpecificationError(
            f"--only is {text!r}, of which {part!r} compares {quantity!r}; allowed: {', '.join(_QUANTITIES)}"
        )
    found = _RANGE.fullmatch(numbers)
    if found is None or (found[2] is not None and comparison not in ("=", "!=")):
        allowed = "a number, or a range such as 2..5" if comparison in ("=", "!=") else "a number"
        raise SpecificationError(
            f"--only is {text!r}, of which {part!r} compares with {numbers!r}; allowed after {comparison}: {allowed}"
        )
    lower = int(found[1])
    return Condition(quantity, comparison, lower, lower if found[2] is None else int(found[2]))


def select(cells: Sequence[Cell], texts: Sequence[str]) -> list[Cell]:
    """Return the cells that one of the texts selects, in their order.

    Raises
    ------
    SpecificationError
        A text is not understood, or selects nothing; the message says what there is.
    """
    selections = [parse_selection(text) for text in texts]
    for text, selection in zip(texts, selections, strict=True):
        if not any(selection.selects(cell) for cell in cells):
            optimizers = ", ".join(dict.fromkeys(cell.label for cell in cells))
            benchmarks = list(dict.fromkeys(cell.benchmark_label for cell in cells))
            more = ", ..." if len(benchmarks) > 8 else ""  # noqa: PLR2004 - enough to see how they are written
            raise SpecificationError(
                f"--only {text!r} selects none of {len(cells)} cells; the study has the optimizers {optimizers}, the "
                f"benchmarks {', '.join(benchmarks[:8])}{more}, "
                f"P {_listed({cell.n_workers for cell in cells})} and seeds {_listed({cell.seed for cell in cells})}"
            )
    return [cell for cell in cells if any(selection.selects(cell) for selection in selections)]


def _listed(numbers: set[int]) -> str:
    values = sorted(numbers)
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:  # noqa: PLR2004 - two are as short as a range
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
