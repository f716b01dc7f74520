"""Some cells of a study, as `--only` names them: `optuna*,*,P=8,seed<5`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerowait.suite.records.selection import Selection, nothing, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerowait.experiments.grid.cells import Cell
    from zerowait.experiments.studies.tasks import Skipped


def select(cells: Sequence[Cell], texts: Sequence[str]) -> list[Cell]:
    """Return the cells that one of the texts selects, in their order; names are labels or those of the lists.

    Raises
    ------
    SpecificationError
        A text is not understood, or selects nothing; the message says what there is.
    """
    chosen: set[int] = set()
    for selection in map(parse, texts):
        found = {i for i, cell in enumerate(cells) if _selects(selection, cell)}
        if not found:
            raise nothing(
                selection,
                {
                    "optimizer": [cell.label for cell in cells],
                    "benchmark": [cell.benchmark_label for cell in cells],
                    "n_workers": [cell.n_workers for cell in cells],
                    "run_seed": [cell.seed for cell in cells],
                },
            )
        chosen |= found
    return [cells[i] for i in sorted(chosen)]


def concerns(selection: Selection, skipped: Skipped) -> bool:
    """Tell whether what is skipped would have been meant, for some number of workers and some seed."""
    of_all = {} if not skipped.optimizer else {"optimizer": skipped.optimizer}
    return selection.holds(**of_all, benchmark=skipped.benchmark)


def _selects(selection: Selection, cell: Cell) -> bool:
    return selection.holds(
        optimizer=(cell.label, cell.optimizer),
        benchmark=(cell.benchmark_label, cell.benchmark),
        n_workers=cell.n_workers,
        run_seed=cell.seed,
    )
