"""A schedule that was worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

from zerowait.experiments.verification.schedules import Case


@dataclass(frozen=True, slots=True)
class ByHand:
    """A case with the starts and ends that were worked out, in the order in which configurations are asked for."""

    case: Case
    start: tuple[float, ...]
    end: tuple[float, ...]
    known: tuple[int, ...] | None
    """Numbers of known results; None where two results arrive at the same time and the cost is 0."""
