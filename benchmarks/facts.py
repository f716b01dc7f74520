"""What a family of benchmarks states about itself: units, the least known value, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Facts:
    """Units, least values and citation of a family; `zerowait list benchmarks --verbose` prints them."""

    value: str = ""
    """What the value is and its unit, such as "1 - balanced accuracy, fraction 0 to 1"."""
    runtime: str = "s"
    """The unit of the runtime, and where it comes from."""
    metrics: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The unit of each further metric, by name: what the benchmark's own `metrics` says."""
    optima: Mapping[str | None, float] = field(default_factory=lambda: MappingProxyType({}))
    """The least known value at full fidelity with default parameters, by task (None when there are no tasks)."""
    optimum_note: str = ""
    """How the least values are known and whether they are proven, or why there are none."""
    bibtex: str = ""
    """One BibTeX entry, or several, for each publication to cite."""

    def gaps(self) -> list[str]:
        """Return what is not stated, by the name of the field; `metrics` and `optima` may be empty."""
        return [name for name in ("value", "runtime", "optimum_note", "bibtex") if not getattr(self, name)]
