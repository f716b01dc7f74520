"""What an experiment returns: tables, and gates that pass or fail; and how they are kept and shown."""

from __future__ import annotations

import json
import math
import operator
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.drawing.panels import Canvas, FigureFiles
    from zerowait.plots.drawing.style import Style

Relation = Literal["==", "<=", ">="]
_HOLDS: Mapping[Relation, Callable[[float, float], bool]] = {"==": operator.eq, "<=": operator.le, ">=": operator.ge}

LIBRARIES = ("zerowait", "numpy", "pandas", "ConfigSpace", "mfhpo-simulator")
"""Distributions whose versions are kept with every outcome."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A number that was measured and the limit that it must keep."""

    name: str
    measured: float
    relation: Relation
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the limit was kept; what is not a number keeps none."""
        return not math.isnan(self.measured) and _HOLDS[self.relation](self.measured, self.limit)

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        return f"{word}  {self.name}: {self.measured:.6g} (must be {self.relation} {self.limit:g})"


@dataclass(frozen=True)
class Outcome:
    """What came out of an experiment."""

    name: str
    table: pd.DataFrame
    """What a reader looks at first."""
    gates: Sequence[Gate]
    """In the order in which they are shown."""
    notes: Sequence[str] = ()
    """What a reader has to know beside the numbers, a sentence each."""
    details: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Further tables, by name: what figures are drawn from."""
    more: Callable[[Path], Sequence[Path]] = lambda _: ()
    """Writes what else there is, such as figures, into a folder, and returns its paths."""

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)


def write(outcome: Outcome, folder: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Write `NAME.csv`, `NAME-DETAIL.csv`, `NAME.json` and what else there is, and return their paths.

    Parameters
    ----------
    outcome
        What came out.
    folder
        Where to; made when absent.
    facts
        How it came about: command, version (quick or full), seconds. Machine and versions are added.
    """
    from zerowait.experiments.studies.versions import installed_versions

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, table in {"": outcome.table, **{f"-{name}": table for name, table in outcome.details.items()}}.items():
        paths.append(folder / f"{outcome.name}{suffix}.csv")
        table.to_csv(paths[-1], index=False, lineterminator="\n")
    document = {
        "experiment": outcome.name,
        "passed": outcome.passed,
        **facts,
        "gates": [
            {"name": g.name, "measured": float(g.measured) if math.isfinite(g.measured) else None,
             "relation": g.relation, "limit": g.limit, "passed": g.passed} for g in outcome.gates
        ],
        "notes": list(outcome.notes),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **installed_versions(LIBRARIES)},
    }  # fmt: skip
    paths.append(folder / f"{outcome.name}.json")
    paths[-1].write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return [*paths, *outcome.more(folder)]


def draw_figure(
    draw: Callable[[Canvas], object], styles: Mapping[str, Style], stem: Path, table: pd.DataFrame | None = None
) -> FigureFiles:
    """Draw a figure for the web and write it as `stem`.pdf and `stem`.png, and the table behind it if there is one."""
    import pandas as pd

    from zerowait.plots.drawing import style
    from zerowait.plots.drawing.panels import Canvas, new_figure, save_figure

    look = style.LOOKS["web"]
    with style.context(look):
        canvas = Canvas(new_figure(), styles, look)
        draw(canvas)
        if table is not None:
            return save_figure(canvas.figure, table, stem, look)
        with tempfile.TemporaryDirectory() as folder:
            files = save_figure(canvas.figure, pd.DataFrame(), Path(folder) / stem.name, look)
            pdf, png = (Path(shutil.move(path, stem.parent / path.name)) for path in (files.pdf, files.png))
    return replace(files, pdf=pdf, png=png)


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: processor, cores, memory, system, and how busy the machine was."""
    import psutil

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "scheduling": _scheduling(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _scheduling() -> str:
    """Return how the system serves this process: a sleeper with real-time priority is woken up at once."""
    if not hasattr(os, "sched_getscheduler"):
        return "unknown"
    names = {os.SCHED_OTHER: "ordinary", os.SCHED_FIFO: "real time, first in first out", os.SCHED_RR: "real time"}
    return names.get(os.sched_getscheduler(0), "other")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def show(outcome: Outcome) -> None:
    """Print the table, the notes and the gates."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if os.isatty(1) else 200)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=None)
    for column in outcome.table.columns:
        numeric = outcome.table[column].dtype.kind in "fiu"
        shown.add_column(str(column).replace("_", " "), justify="right" if numeric else "left")
    for row in outcome.table.itertuples(index=False):
        shown.add_row(*(_cell(value) for value in row))
    console.print(shown)
    for line in [*outcome.notes, *map(str, outcome.gates)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"  # noqa: PLR2004
    return str(value)
