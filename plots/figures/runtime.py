"""Figures of time: simulated over wall time, what workers spend theirs on, and the timelines of single runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import (
    Canvas,
    described,
    draw_points,
    label_decades,
    label_workers,
    spread_sentence,
    workers_title,
)
from zerowait.plots.statistics.arithmetic import bootstrap_means, generator, percentile_interval
from zerowait.plots.statistics.occupation import STATES, columns_of, intervals, shares
from zerowait.plots.studies.blocks import counted
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Integers
    from zerowait.plots.studies.study import Study

MOST_TIMELINES = 6
"""So many runs fit into one figure."""
OCCUPATION_COLUMNS = ("worker", "freed", "start", "end", "overhead", "status")
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_HEAD = {"optimizer": "Optimizer", "n_workers": "$P$", "simulated": "Simulated", "wall": "Real", "ratio": "Ratio"}


def wall_time_table(study: Study) -> pd.DataFrame:
    """Return simulated time over real time for each optimizer and number of workers.

    Columns: `optimizer`, `n_workers`, `simulated_time` and `wall_time` (s, means over runs), `ratio` (of the sums),
    `lower`, `upper`, `n_runs`.

    Raises
    ------
    SpecificationError
        No run says how long it really took.
    """
    import pandas as pd

    cells = study.cells
    known = ((cells["wall_time"] > 0) & (cells["makespan"] > 0)).to_numpy()
    if not known.any() and cells["wall_time"].notna().any():
        raise SpecificationError("no run has recorded an evaluation; its budget may be less than a training takes")
    if not known.any():
        raise SpecificationError(
            "no run says how long it really took: the files trace.measured.json are not there; copy them as well"
        )
    rows = []
    for (optimizer, n), runs in study.groups("optimizer", "n_workers"):
        chosen = runs[known[runs]]
        if len(chosen):
            times = cells.iloc[chosen][["makespan", "wall_time"]].to_numpy(dtype=float)
            replicates = bootstrap_means([times], generator("wall time", optimizer, n))
            ratios = replicates[:, 0] / replicates[:, 1]
            low, high = percentile_interval(ratios) if len(chosen) > 1 else (math.nan, math.nan)
            simulated, wall = times.mean(axis=0)
            rows.append(
                {
                    "optimizer": optimizer,
                    "n_workers": int(n),
                    "simulated_time": simulated,
                    "wall_time": wall,
                    "ratio": simulated / wall,
                    "lower": float(low),
                    "upper": float(high),
                    "n_runs": len(chosen),
                }
            )
    table = pd.DataFrame(rows)
    absent = int((~known).sum())
    return described(
        table,
        "Simulated seconds for each real second: the sum over runs of the simulated time, over that of the real time.",
        spread_sentence(
            table["lower"],
            f"Bars are 95 % bootstrap intervals over {counted([int(n) for n in table['n_runs']], 'run')}.",
            "bar",
            "run",
        ),
        "The real time holds the optimizer's own computing and depends on the machine.",
        f"Left out: {absent} runs that do not say how long they took, or have no result." if absent else "",
        latex=wall_time_latex(table),
    )


def wall_time_latex(table: pd.DataFrame) -> str:
    """Return the table as LaTeX for the package booktabs."""
    shown = table.assign(
        n_workers=table["n_workers"].astype(str),
        simulated=[readable(s) for s in table["simulated_time"]],
        wall=[readable(s) for s in table["wall_time"]],
        ratio=[f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}" for ratio in table["ratio"]],  # noqa: PLR2004
    )
    lines = [r"\begin{tabular}{lrrrr}", r"\toprule", " & ".join(_HEAD.values()) + r" \\", r"\midrule"]
    before = None
    for row in shown[list(_HEAD)].itertuples(index=False):
        name = "" if row[0] == before else _escaped(str(row[0]))
        before = row[0]
        lines.append(" & ".join([name, *map(str, row[1:])]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def overhead_table(study: Study) -> pd.DataFrame:
    """Return the share of the workers' time that goes into each state.

    Columns: `optimizer`, `n_workers`, `state`, `share`, `n_runs`; see `zerowait.plots.statistics.occupation`.
    """
    import pandas as pd

    _needs(study, OCCUPATION_COLUMNS)
    columns = columns_of(study.evaluations)
    rows = []
    for (optimizer, n), runs in study.groups("optimizer", "n_workers"):
        n_workers = int(n)
        spans = [study.rows(run) for run in runs.tolist()]
        found = [shares({name: of[at] for name, of in columns.items()}, n_workers) for at in spans]
        rows += [
            {
                "optimizer": optimizer,
                "n_workers": n_workers,
                "state": state,
                "share": float(np.mean([of[state] for of in found])),
                "n_runs": len(found),
            }
            for state in STATES
        ]
    table = pd.DataFrame(rows)
    return described(
        table,
        "Share of the workers' simulated time (number of workers times the time until the last delivery),",
        f"the mean over {counted(table['n_runs'].tolist(), 'run')}. Sampling: the optimizer makes the worker's own",
        "configuration; waiting: it makes another worker's; idle: it has nothing to evaluate; lost: the process died.",
    )


def timeline_table(study: Study, *, until: float | None = None) -> pd.DataFrame:
    """Return what each worker does when; see `zerowait.plots.statistics.occupation.intervals`.

    Columns: `optimizer`, `benchmark`, `n_workers`, `seed`, `worker`, `state`, `begin`, `end` (simulated s). Of a study
    that has more than `MOST_TIMELINES` runs, the first seed of each optimizer on the first benchmark with the most
    workers.

    Parameters
    ----------
    study
        The runs.
    until
        Where to stop, in simulated seconds; the end of the run that ends first by default.

    Raises
    ------
    SpecificationError
        `until` is not positive, or the study was read without the columns that are needed.
    """
    import pandas as pd

    _needs(study, OCCUPATION_COLUMNS)
    if until is not None and not until > 0:
        raise SpecificationError(f"until is {until}; it must be a positive number of simulated seconds")
    runs = _examples(study)
    if until is None:
        makespans = study.cells["makespan"].iloc[runs]
        stop = float(makespans[makespans > 0].min())
        if not stop > 0:  # NaN where there is none
            raise SpecificationError("no run has recorded an evaluation; its budget may be less than a training takes")
    else:
        stop = until
    rows = []
    for run in runs.tolist():
        cell = study.cells.iloc[run]
        table = intervals(study.evaluations.iloc[study.rows(run)], int(cell["n_workers"]))
        table = table[table["begin"] < stop].assign(end=np.minimum(table["end"], stop)[table["begin"] < stop])
        for position, name in enumerate(("optimizer", "benchmark", "n_workers", "seed")):
            table.insert(position, name, cell[name])
        rows.append(table)
    cells = study.cells.iloc[runs]
    example = f" Shown, of {len(study)} runs:" if len(runs) < len(study) else ""
    shown = (
        f"{', '.join(sorted(cells['benchmark'].unique()))}, {counted(cells['n_workers'].tolist(), 'worker')}, "
        f"seed {', '.join(str(seed) for seed in sorted(cells['seed'].unique()))}"
    )
    return described(
        pd.concat(rows, ignore_index=True),
        f"What each worker does, a row a worker, up to {readable(stop)} of simulated time.{example} {shown}.",
        "Sampling: the optimizer makes the worker's configuration; waiting: it makes another worker's; idle: it has",
        "nothing to evaluate; lost: the process died.",
    )


def draw_wall_time(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `wall_time_table` returned."""
    panels = canvas.panels(1, 1, sorted(table["optimizer"].unique()), suits="one")
    panel = panels[0, 0]
    draw_points(panel, table, "ratio", canvas.styles)
    panel.set_yscale("log")
    label_decades(panel.yaxis, *panel.get_ylim())
    label_workers(panel, table["n_workers"])
    panel.set_ylabel("simulated s / real s")
    canvas.xlabel("workers P")
    canvas.legend([panel])
    return panels


def draw_overhead(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `overhead_table` returned: a bar an optimizer and number of workers."""
    optimizers = sorted(table["optimizer"].unique())
    workers = sorted(table["n_workers"].unique())
    states = [state for state in STATES if (table.loc[table["state"] == state, "share"] > 0).any()]
    suits: style.Width = "two" if len(optimizers) * len(workers) > 6 else "one"  # noqa: PLR2004 - what has room in one
    panels = canvas.panels(1, 1, states, suits=suits)
    panel = panels[0, 0]
    width = len(workers) + 1
    for state in states:
        of_state = table[table["state"] == state].set_index(["optimizer", "n_workers"])["share"]
        below = (
            table[table["state"].isin(STATES[: STATES.index(state)])].groupby(["optimizer", "n_workers"])["share"].sum()
        )
        colour, hatch = style.STATES[state]
        x = [i * width + j for i, o in enumerate(optimizers) for j, n in enumerate(workers) if (o, n) in of_state.index]
        pairs = [(o, n) for o in optimizers for n in workers if (o, n) in of_state.index]
        panel.bar(
            x, [of_state[p] for p in pairs], bottom=[below.get(p, 0.0) for p in pairs], width=0.85, color=colour,
            hatch=hatch, edgecolor="white", linewidth=0.3, label=state,
        )  # fmt: skip
    at = [i * width + j for i in range(len(optimizers)) for j in range(len(workers))]
    panel.set_xticks(at, [str(n) for n in workers] * len(optimizers))
    panel.tick_params(axis="x", length=0)
    panel.grid(visible=False, axis="x")
    # An eighth of the width is that of the vertical axis and the margins.
    side_by_side = style.fit(optimizers, 0.875 * canvas.inches(1, suits) / len(optimizers), canvas.look.scale)
    turned: dict[str, Any] = {"ha": "center", "va": "top"}
    if not side_by_side:
        turned = {"ha": "right", "va": "center", "rotation": 30, "rotation_mode": "anchor"}
    for i, optimizer in enumerate(optimizers):
        middle = i * width + (len(workers) - 1) / 2
        panel.annotate(
            optimizer, (middle, 0), xycoords=("data", "axes fraction"), xytext=(0, -2.4 * canvas.look.font),
            textcoords="offset points", **turned,
        )  # fmt: skip
    panel.set_ylim(0, 1)
    panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    panel.set_ylabel("share of worker time")
    canvas.xlabel("workers P, by optimizer")
    canvas.legend([panel])
    return panels


def draw_timeline(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `timeline_table` returned: a panel a run, a bar a worker."""
    keys = ["benchmark", "n_workers", "optimizer", "seed"]
    runs: list[tuple[Any, Any]] = list(table.groupby(keys, sort=True))
    states = [state for state in STATES if (table["state"] == state).any()]
    heights = [max(0.35, min(0.075 * (int(run[0][1]) + 2), 1.5)) for run in runs]
    panels = canvas.panels(len(runs), 1, states, heights=heights, sharex=True)
    for panel, ((benchmark, n_workers, optimizer, seed), of_run) in zip(panels.flat, runs, strict=True):
        for state in states:
            of_state = of_run[of_run["state"] == state]
            if of_state.empty:
                continue  # bars without any have no colour, and the legend takes the first that it finds
            colour, hatch = style.STATES[state]
            panel.barh(
                of_state["worker"], of_state["end"] - of_state["begin"], left=of_state["begin"], height=0.8,
                color=colour, hatch=hatch, edgecolor="white", label=state,
                linewidth=0.25 if state == "evaluating" else 0.0,
            )  # fmt: skip
        panel.set_title(f"{optimizer} on {benchmark}, {workers_title(int(n_workers))}, seed {seed}", loc="left")
        panel.set_ylim(int(n_workers) - 0.4, -0.6)
        panel.set_yticks([0, int(n_workers) - 1] if n_workers > 1 else [0])
        panel.set_ylabel("worker")
        panel.grid(visible=False)
    panels[0, 0].set_xlim(0, table["end"].max())
    canvas.xlabel("simulated time [s]")
    canvas.legend(panels.flat)
    return panels


def readable(seconds: float) -> str:
    """Return a duration in a unit that suits it, such as `12.5 min`."""
    for length, unit in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"


def _examples(study: Study) -> Integers:
    cells = study.cells
    if len(cells) <= MOST_TIMELINES:
        return np.arange(len(cells))
    # The benchmark with the most optimizers, the first of them by name: a timeline is there to compare.
    counts = cells.groupby("benchmark")["optimizer"].nunique()
    cells = cells[cells["benchmark"] == counts.index[int(np.argmax(counts.to_numpy()))]]
    cells = cells[cells["n_workers"] == cells["n_workers"].max()]
    first = cells.drop_duplicates("optimizer")
    return np.asarray(first.index[:MOST_TIMELINES], dtype=np.int64)


def _needs(study: Study, columns: tuple[str, ...]) -> None:
    lacking = [name for name in columns if name not in study.evaluations]
    if lacking:
        raise SpecificationError(f"the study was read without the columns {lacking}; read them too")


def _escaped(text: str) -> str:
    return "".join({"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$"}.get(letter, letter) for letter in text)
