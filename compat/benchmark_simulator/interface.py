"""What a script of mfhpo-simulator implements: an objective, or an optimizer that is asked and told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeAlias

Fidels: TypeAlias = dict[str, int | float]
"""Fidelities by name."""


class ObjectiveFuncType(Protocol):
    """An objective: returns a mapping with the metrics named in `obj_keys` and the runtime in seconds."""

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: Fidels | None = None,
        seed: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, float]:
        """Evaluate a configuration."""


class AbstractAskTellOptimizer(ABC):
    """An optimizer for `ObjectiveFuncWrapper(..., ask_and_tell=True).simulate`."""

    @abstractmethod
    def ask(self) -> tuple[dict[str, Any], Fidels | None, int | None]:
        """Return a configuration, its fidelities by name (or None) and its id (or None)."""

    @abstractmethod
    def tell(
        self,
        eval_config: dict[str, Any],
        results: dict[str, float],
        *,
        fidels: Fidels | None = None,
        config_id: int | None = None,
    ) -> None:
        """Take what the objective returned for an earlier configuration."""
