"""The figure of the schedules that were worked out by hand: what each worker does when, and when it really did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from zerowait.experiments.verification.hand_computed.by_hand import ByHand
from zerowait.experiments.verification.outcome import draw_figure
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas
from zerowait.plots.statistics.occupation import intervals
from zerowait.suite.records.trace import worker_labels

SHOWN = ("evaluating", "sampling", "waiting")
"""States that are drawn, in the style of all timelines."""
HEIGHT = 0.65
"""Of a panel, relative to other figures'; four bars must hold numbers."""
PANEL_WIDTH = 4.2
"""Inches of half a page: there is one panel a row."""
BAR = 0.62
"""Height of a bar; the rest of a row's height is left to the marks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How the starts and ends of a run are marked: a thin line from the middle of the bar to beyond its edge."""

    label: str
    colour: str
    reach: float
    """Upwards when negative, because worker 0 stands above worker 1."""


MARKS: Mapping[str, Mark] = MappingProxyType({
    "really slept": Mark("really slept: starts and ends", "#000000", -0.48),
    "measured": Mark("simulated, measured: starts and ends", style.COLOURS[1], 0.48),
})  # fmt: skip
"""By way. Modelled runs have none: they are the bars, to the last bit."""


def write_figure(evaluations: pd.DataFrame, schedules: Mapping[str, ByHand], folder: Path) -> list[Path]:
    """Draw the schedules and the evaluations of their runs into a folder, and return the paths."""
    files = draw_figure(partial(draw, evaluations, schedules), {}, folder / "hand-computed")
    return [files.png, files.pdf]


def placed(by_hand: ByHand) -> pd.DataFrame:
    """Return a schedule as the trace that a simulated run of it would have, a row an evaluation."""
    case, n = by_hand.case, len(by_hand.end)
    # The k-th configuration is for the worker that the (k - P)-th result frees.
    freed = [*[0.0] * case.workers, *sorted(by_hand.end)][:n]
    known = by_hand.known or (0,) * n  # not worked out where sampling costs nothing
    names = [f"{k:06}" for k in range(n)]
    return pd.DataFrame({
        "configuration": range(n),
        "worker": worker_labels(freed, by_hand.start, by_hand.end, names, case.workers),
        "freed": freed,
        "start": by_hand.start,
        "end": by_hand.end,
        "overhead": [case.seconds(number) for number in known],
        "status": "ok",
    })  # fmt: skip


def bars(by_hand: ByHand) -> pd.DataFrame:
    """Return what each worker does until its last result: columns `worker`, `state`, `begin`, `end` (simulated s)."""
    trace = placed(by_hand)
    table = intervals(trace, by_hand.case.workers)
    # Afterwards it would count as waiting while others' configurations are sampled, but there is none left for it.
    return table[table["begin"] < table["worker"].map(trace.groupby("worker")["end"].max())]


def marks(evaluations: pd.DataFrame, schedule: str, way: str, by_hand: ByHand) -> pd.DataFrame:
    """Return when evaluations started and ended in a run: columns `worker` (of the schedule) and `time`, ascending."""
    seen = evaluations[(evaluations["schedule"] == schedule) & (evaluations["way"] == way)]
    seen = seen[["configuration", "start", "end"]].merge(placed(by_hand)[["configuration", "worker"]])
    both = [seen[["worker", column]].rename(columns={column: "time"}) for column in ("start", "end")]
    return pd.concat(both).sort_values(["worker", "time"], ignore_index=True)


def draw(evaluations: pd.DataFrame, schedules: Mapping[str, ByHand], canvas: Canvas) -> Any:
    """Draw a panel a schedule: bars as worked out, a row a worker, and over them the marks of what was run."""
    names = [*SHOWN, *(mark.label for mark in MARKS.values())]
    panels = canvas.panels(
        len(schedules), 1, names, heights=[HEIGHT] * len(schedules), panel_width=PANEL_WIDTH, sharex=True
    )  # fmt: skip
    for panel, (name, by_hand) in zip(panels.flat, schedules.items(), strict=True):
        _bars(panel, by_hand)
        for way, mark in MARKS.items():
            at = marks(evaluations, name, way, by_hand)
            panel.vlines(at["time"], at["worker"], at["worker"] + mark.reach, colors=mark.colour, linewidth=0.9,
                         label=mark.label)  # fmt: skip
        panel.set_title(name, loc="left")
        panel.set_ylim(by_hand.case.workers - 0.45, -0.55)
        panel.set_yticks(range(by_hand.case.workers))
        panel.set_ylabel("worker")
        panel.grid(visible=False)
    marked = evaluations[evaluations["way"].isin(list(MARKS))]
    last = max(float(marked["end"].max()), *(max(by_hand.end) for by_hand in schedules.values()))
    panels[0, 0].set_xlim(-0.005 * last, 1.005 * last)  # marks at the very ends are seen whole
    canvas.xlabel("simulated time [s]")
    canvas.legend(panels.flat, last=[mark.label for mark in MARKS.values()])
    return panels


def _bars(panel: Any, by_hand: ByHand) -> None:
    table = bars(by_hand)
    for state in SHOWN:
        of_state = table[table["state"] == state]
        if of_state.empty:
            continue  # bars without any have no colour, and the legend takes the first that it finds
        colour, hatch = style.STATES[state]
        panel.barh(
            of_state["worker"], of_state["end"] - of_state["begin"], left=of_state["begin"], height=BAR, color=colour,
            hatch=hatch, edgecolor="white", label=state, linewidth=0.5 if state == "evaluating" else 0.0,
        )  # fmt: skip
    for row in placed(by_hand).to_dict("records"):
        middle = (row["start"] + row["end"]) / 2
        panel.text(middle, row["worker"], row["configuration"], color="white", size="small", ha="center",
                   va="center_baseline")  # fmt: skip
