"""Figures of time: simulated over wall time, what workers spend theirs on, and the timelines of single runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing import style, text
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
from zerowait.plots.studies.blocks import called, counted, listed
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Integers
    from zerowait.plots.studies.study import Study

MOST_TIMELINES = 6
"""A study with no more runs shows them all, another one a run of each optimizer."""
MOST_IN_A_COLUMN = 4
"""Timelines below one another, before they take two columns."""
MOST_BARS = 6
"""Of optimizers and numbers of workers, in a figure of one column."""
WIDE_ENOUGH = 3.0
"""Inches of a panel of bars with its names, in letters of 8 points; two stand beside one another where both have it."""
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
        f"Left out: {counted([absent], 'run')} that do not say how long they took, or have no result."
        if absent
        else "",
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
        "configuration; waiting: it makes another worker's; idle: it has nothing to evaluate; lost: the process died,",
        "the attempt failed, or the worker was away.",
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
    rows, empty = [], []
    for run in runs.tolist():
        cell = study.cells.iloc[run]
        at = study.rows(run)
        if at.start == at.stop:
            empty.append(f"{called(study, cell['optimizer'], cell['benchmark'])} (seed {cell['seed']})")
            continue
        table = intervals(study.evaluations.iloc[at], int(cell["n_workers"]))
        table = table[table["begin"] < stop].assign(end=np.minimum(table["end"], stop)[table["begin"] < stop])
        for position, name in enumerate(("optimizer", "benchmark", "n_workers", "seed")):
            table.insert(position, name, cell[name])
        rows.append(table)
    cells = study.cells.iloc[runs]
    absent = [
        study.labels.text(name)
        for name in study.labels.ordered(set(study.cells["optimizer"]) - set(cells["optimizer"]))
    ]
    example = f" Shown, of {len(study)} runs:" if len(runs) < len(study) else ""
    shown = (
        f"{', '.join(map(study.labels.text, sorted(cells['benchmark'].unique())))}, "
        f"{counted(cells['n_workers'].tolist(), 'worker')}, "
        f"seed {', '.join(str(seed) for seed in sorted(cells['seed'].unique()))}"
    )
    return described(
        pd.concat(rows, ignore_index=True),
        f"What each worker does, a row a worker, up to {readable(stop)} of simulated time.{example} {shown}.",
        "Sampling: the optimizer makes the worker's configuration; waiting: it makes another worker's; idle: it has",
        "nothing to evaluate; lost: the process died.",
        f"Not shown, for want of such a run: {listed(absent)}." if absent else "",
        f"Left out, because they have recorded nothing by then: {listed(empty)}." if empty else "",
    )


def draw_wall_time(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `wall_time_table` returned."""
    panels, used = canvas.grid(1, canvas.labels.ordered(table["optimizer"].unique()))
    (panel,) = used
    draw_points(panel, table, "ratio", canvas)
    panel.set_yscale("log")
    label_decades(panel.yaxis, *panel.get_ylim())
    label_workers(panel, table["n_workers"])
    canvas.ylabel(panel, "simulated s / real s")
    canvas.xlabel("workers P")
    canvas.legend(used)
    return panels


def draw_overhead(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `overhead_table` returned: a bar an optimizer and number of workers, in columns if they are many."""
    optimizers = canvas.labels.ordered(table["optimizer"].unique())
    workers = sorted(table["n_workers"].unique())
    states = [state for state in STATES if (table.loc[table["state"] == state, "share"] > 0).any()]
    suits: style.Width = "two" if len(optimizers) * len(workers) > MOST_BARS else "one"
    columns = 2 if suits == "two" and len(optimizers) > 1 and _fits_two(canvas, suits) else 1
    each = -(-len(optimizers) // columns)
    chunks = [optimizers[at : at + each] for at in range(0, len(optimizers), each)]
    points = canvas.points("xtick.labelsize")
    share = 0.36 * canvas.inches(len(chunks), suits) / len(chunks)
    number = text.widest([str(n) for n in workers], points)
    names = {name: text.wrapped(canvas.name(name), share - number - 0.1, points) for name in optimizers}
    # A bar is as high as its number, and an optimizer's bars together at least as high as its name.
    high = {
        name: max(text.height("", points) * len(workers), text.height(of, points)) + 0.5 * points / 72
        for name, of in names.items()
    }
    inches = max(sum(high[name] for name in chunk) for chunk in chunks)
    panels = canvas.panels(1, len(chunks), states, suits=suits, heights=[inches / canvas.look.panel_height])
    shares = table.set_index(["optimizer", "n_workers", "state"])["share"]
    for panel, chunk in zip(panels.flat, chunks, strict=True):
        places: dict[tuple[str, int], float] = {}
        top = 0.0
        for name in chunk:
            there = [n for n in workers if (name, n) in set(zip(table["optimizer"], table["n_workers"], strict=True))]
            bar = text.height("", points)
            begin = top + (high[name] - bar * len(there)) / 2
            places |= {(name, n): begin + bar * (at + 0.5) for at, n in enumerate(there)}
            panel.annotate(
                names[name], (0, top + high[name] / 2), xycoords=("axes fraction", "data"), ha="right", va="center",
                xytext=(-72 * (number + 0.1), 0), textcoords="offset points", fontsize=points,
            )  # fmt: skip
            top += high[name]
        left = np.zeros(len(places))
        for state in states:
            colour, hatch = style.STATES[state]
            widths = np.array([shares[name, n, state] for name, n in places])
            panel.barh(
                list(places.values()), widths, left=left, height=0.85 * text.height("", points), color=colour,
                hatch=hatch, edgecolor="white", linewidth=0.3, label=state,
            )  # fmt: skip
            left = left + widths
        panel.set_yticks(list(places.values()), [str(n) for _, n in places])
        panel.set_ylim(inches, 0)
        panel.set_xlim(0, 1)
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=False, axis="y")
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    canvas.xlabel("share of worker time, a bar a number of workers")
    canvas.legend(panels.flat, last=states)
    return panels


def _fits_two(canvas: Canvas, suits: style.Width) -> bool:
    """Tell whether two panels with long names beside them, or above them, have room side by side."""
    return canvas.look.widths[canvas.width or suits] >= 2 * WIDE_ENOUGH * canvas.look.scale


def draw_timeline(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `timeline_table` returned: a panel a run, a bar a worker."""
    from matplotlib.collections import PolyCollection

    keys = ["benchmark", "n_workers", "optimizer", "seed"]
    runs: list[tuple[Any, Any]] = sorted(
        table.groupby(keys, sort=True), key=lambda run: (run[0][:2], canvas.labels.place(run[0][2]), run[0][3])
    )
    states = [state for state in STATES if (table["state"] == state).any()]
    high = max(max(0.35, min(0.075 * (int(run[0][1]) + 2), 1.5)) for run in runs)
    alike = len(runs) > 1 and len({(key[0], key[1], key[3]) for key, _ in runs}) == 1
    columns = 2 if len(runs) > MOST_IN_A_COLUMN and _fits_two(canvas, "two") else 1
    panels, used = canvas.grid(len(runs), states, most=columns, suits="two", height=high, panel_width=4.4, sharex=True)
    for panel, ((benchmark, n_workers, optimizer, seed), of_run) in zip(used, runs, strict=True):
        for state in states:
            of_state = of_run[of_run["state"] == state]
            if of_state.empty:
                continue  # bars without any have no colour, and the legend takes the first that it finds
            colour, hatch = style.STATES[state]
            begin, end, worker = (of_state[name].to_numpy(dtype=float) for name in ("begin", "end", "worker"))
            left_right = np.stack([begin, end, end, begin], axis=1)
            low_high = worker[:, None] + np.array([-0.4, -0.4, 0.4, 0.4])
            # One collection: thousands of bars on their own take a hundred times as long.
            panel.add_collection(
                PolyCollection(
                    [*np.stack([left_right, low_high], axis=2)], facecolor=colour, hatch=hatch, edgecolor="white",
                    label=state, linewidth=0.25 if state == "evaluating" else 0.0,
                )
            )  # fmt: skip
        rest = f"{canvas.name(benchmark)}, {workers_title(int(n_workers))}, seed {seed}"
        canvas.title(panel, canvas.name(optimizer) if alike else f"{canvas.name(optimizer)} on {rest}", loc="left")
        panel.set_ylim(int(n_workers) - 0.4, -0.6)
        ends = [0, int(n_workers) - 1] if n_workers > 1 else [0]
        panel.set_yticks(ends, [str(end) for end in ends])
        canvas.ylabel(panel, "worker")
        panel.grid(visible=False)
    panels[0, 0].set_xlim(0, table["end"].max())
    # What is the same for all of them stands below them once.
    canvas.xlabel("simulated time [s]", *([rest] if alike else []))
    canvas.legend(used, last=states)
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
    return np.asarray(cells.drop_duplicates("optimizer").index, dtype=np.int64)


def _needs(study: Study, columns: tuple[str, ...]) -> None:
    lacking = [name for name in columns if name not in study.evaluations]
    if lacking:
        raise SpecificationError(
            f"the study was read without the columns {lacking}; read them too (an archive has not kept them: draw the "
            "study itself)"
        )


def _escaped(text: str) -> str:
    return "".join({"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$"}.get(letter, letter) for letter in text)
