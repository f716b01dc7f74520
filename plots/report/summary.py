"""The summary of a report: its subtitle, its numbers, and which cells are not finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zerowait.plots.figures.runtime import readable
from zerowait.plots.report.material import Material
from zerowait.plots.studies.blocks import counted, numbered
from zerowait.plots.studies.study import Study

MOST_NAMED = 200
"""So many failed or missing cells are named."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary."""

    label: str
    value: str
    remark: str = ""
    tone: str = ""
    """"good", "bad" or nothing."""


def subtitle(study: Study) -> str:
    """Return how large the study is, in words."""
    cells = study.cells
    seeds = cells.groupby(["optimizer", "benchmark", "n_workers"]).size().tolist()
    return (
        f"{counted([len(study.optimizers)], 'optimizer')} on {counted([cells['benchmark'].nunique()], 'benchmark')} "
        f"with {numbered(cells['n_workers'].tolist(), 'worker')}, {counted(seeds, 'seed')} each"
    )


def cards(material: Material) -> list[Fact]:
    """Return the numbers of the summary."""
    totals, n_failed, n_missing = material.totals, len(material.failed), len(material.missing)
    finished = len(totals)
    complete = not n_failed and not n_missing
    of = f" of {finished + n_failed + n_missing:,}" if material.listed is not None else ""
    evaluations, ok, failed, lost = (int(totals[name].sum()) for name in ("evaluations", "ok", "failed", "lost"))
    preempted = evaluations - ok - failed - lost  # whose worker a cluster took away
    simulated = float(totals["simulated_time"].sum())
    found = [
        Fact(
            "Cells finished",
            f"{finished:,}{of}",
            f"{n_failed:,} failed, {n_missing:,} missing" if material.listed is not None else "the study has no list",
            "good" if complete else "bad",
        ),
        Fact(
            "Evaluations",
            f"{evaluations:,}",
            f"{failed:,} failed, {lost:,} lost" + (f", {preempted:,} preempted" if preempted else ""),
        ),
        Fact("Simulated time", readable(simulated), "the sum of all runs"),
    ]
    if material.real_seconds:
        known = totals["wall_time"].notna()
        faster = float(totals["simulated_time"][known].sum()) / material.real_seconds
        found += [
            Fact("Real time", readable(material.real_seconds), "the sum of all runs"),
            Fact("Faster than waiting", f"{faster:,.0f} times" if faster >= 10 else f"{faster:.2g} times"),  # noqa: PLR2004
        ]
    return found


def unfinished(material: Material) -> list[dict[str, Any]]:
    """Return failed and missing cells, a group each, with how many are not named."""
    groups = [
        ("failed", [f"{name}: {error}" for name, error in material.failed.items()]),
        ("missing", list(material.missing)),
    ]
    return [
        {
            "title": f"{counted([len(names)], 'cell')} {state}",
            "names": names[:MOST_NAMED],
            "more": max(0, len(names) - MOST_NAMED),
        }
        for state, names in groups
        if names
    ]
