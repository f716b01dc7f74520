"""The conformance kit: a class of pytest tests that the author of an adapter subclasses with one fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerowait.adapters.conformance.kit import AdapterConformance

__all__ = ["AdapterConformance"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: the fresh processes of the kit do without pytest
        from zerowait.adapters.conformance import kit

        return getattr(kit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
