"""Trainings in one array: a block of repetitions and columns for each fidelity of each configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class StackedTrainings:
    """Trainings that look a block of an array up.

    Parameters
    ----------
    table
        Shape (configurations x fidelities, repetitions, columns); the columns are runtime, score, further numbers.
    fidelities
        The fidelities in increasing order.
    """

    def __init__(self, table: NDArray[np.float64], fidelities: Sequence[int]) -> None:
        self.fidelities = tuple(fidelities)
        self._table = table
        # A memoryview gives plain Python floats, and gives them faster than an array does.
        self._cells = table.reshape(-1).data
        self._block = table.shape[1] * table.shape[2]
        self._offsets = {fidelity: i * self._block for i, fidelity in enumerate(self.fidelities)}
        self._stride = len(self.fidelities) * self._block

    def numbers(self, row: int, fidelity: int) -> list[float]:
        """Return the columns of one repetition after another; NaN where absent."""
        start = row * self._stride + self._offsets[fidelity]
        numbers: list[float] = self._cells[start : start + self._block].tolist()  # type: ignore[assignment]
        return numbers

    def scores(self, fidelity: int) -> NDArray[np.float64]:
        """Return the scores at one fidelity, shape (configurations, repetitions)."""
        return self._table[self.fidelities.index(fidelity) :: len(self.fidelities), :, 1]
