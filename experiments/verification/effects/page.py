"""The figure of the effects, and the part of docs/effects.md that is written from the result."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.exports.markdown import filled, markdown_table, read_page, table_by_workers
from zerowait.experiments.verification.outcome import Outcome, draw_figure
from zerowait.plots.drawing.panels import Canvas, workers_title
from zerowait.plots.drawing.style import styles
from zerowait.suite.rules.errors import SpecificationError

BEGIN, END = "<!-- effects: begin, written by zerowait verify effects -->", "<!-- effects: end -->"
"""Between these lines of a page everything is replaced."""
STEM = "effects-optimizers"
"""Of the figure's files; its table is the detail of the same name."""
RARE = 0.05
"""A change is more than chance when so few draws of the seeds change as much."""
SHOWN = 0.05
"""A change of an average rank that a reader would see in a table with one digit."""


def check(page: Path) -> None:
    """Raise `SpecificationError` when a page is missing or lacks the lines between which it is filled."""
    try:
        filled(read_page(page, BEGIN), BEGIN, END, "")
    except SpecificationError as error:
        raise SpecificationError(f"{page}: {error}") from None


def write(outcome: Outcome, page: Path | None, folder: Path) -> list[Path]:
    """Write the figure of an outcome into a folder, and its numbers into a page if there is one; return the paths."""
    table = outcome.details["optimizers"]
    files = draw_figure(partial(draw, table), styles(table["optimizer"].unique()), folder / STEM, table)
    if page is not None:
        page.write_text(filled(read_page(page, BEGIN), BEGIN, END, markdown(outcome)), encoding="utf-8")
    return [files.pdf, files.png, *([] if page is None else [page])]


def draw(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw a slope for each optimizer, from its rank read right to its rank read wrong: a panel a mistake and P.

    Of a mistake that is read at several shares of the budget, the one at which it changes a rank most is drawn.
    """
    shown = most_changed(table[table["effect"] != "unpaired seeds"])
    effects, workers = list(dict.fromkeys(shown["effect"])), sorted(shown["n_workers"].unique())
    names = sorted(shown["optimizer"].unique())
    columns = 3
    # Effects beside one another and numbers of workers below, so that a page holds all of them.
    rows = -(-len(effects) // columns)
    panels = canvas.panels(
        rows * len(workers), columns, names, heights=[0.95] * (rows * len(workers)), panel_width=1.9,
        sharey=True,
    )  # fmt: skip
    for panel in panels.flat:
        panel.set_visible(False)
    for position, effect in enumerate(effects):
        for line, n_workers in enumerate(workers):
            panel = panels[position // columns * len(workers) + line, position % columns]
            of_panel = shown[(shown["effect"] == effect) & (shown["n_workers"] == n_workers)]
            panel.set_visible(True)
            _slopes(panel, of_panel, canvas, float(len(names)))
            if line == 0:
                panel.set_title(f"{effect}, {100 * of_panel['budget'].iloc[0]:g} %" if len(of_panel) else effect)
            if position % columns == 0:
                panel.set_ylabel(f"{workers_title(int(n_workers))}\naverage rank")
    worst = len(names)
    panels[0, 0].set_ylim(worst + 0.3, 0.7)
    panels[0, 0].set_yticks(range(1, worst + 1))
    canvas.legend(panels.flat)
    return panels


def _slopes(panel: Any, table: pd.DataFrame, canvas: Canvas, last: float) -> None:
    drawn = (table["effect"] == "unseeded").any()
    for row in table.to_dict("records"):
        look = canvas.styles[row["optimizer"]]
        right, wrong = row["rank_right"], row["rank_wrong"]
        panel.plot(
            [0, 1], [right, wrong], color=look.colour, linestyle=look.line, marker=look.marker, markersize=3,
            label=row["optimizer"],
        )  # fmt: skip
        # The interval of the change, around the wrong rank; there is no rank before the first and after the last.
        bar = np.clip([right + row["lower"], right + row["upper"]], 1.0, last)
        panel.errorbar([1], [wrong], yerr=np.abs(bar - wrong)[:, None], color=look.colour, elinewidth=0.7, capsize=1.5)
    panel.set_xlim(-0.2, 1.2)
    panel.set_xticks([0, 1], ["a draw", "another"] if drawn else ["right", "wrong"])
    if not len(table):
        panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center", va="center")


def most_changed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each effect that are read at the share of the budget at which it changes a rank most."""
    by_share = table.assign(size=table["change"].abs()).groupby(["effect", "budget"])["size"].max().reset_index()
    first = by_share.sort_values(["size", "budget"], ascending=[False, True]).drop_duplicates("effect")
    return table.merge(first[["effect", "budget"]], on=["effect", "budget"])


# -- the page ---------------------------------------------------------------------------------------------------------


def markdown(outcome: Outcome) -> str:
    """Return the numbers of an outcome as Markdown."""
    state = "all gates passed" if outcome.passed else f"{sum(not g.passed for g in outcome.gates)} gates FAILED"
    parts = [
        f"{_sentence(outcome.notes[0])} {state[0].upper()}{state[1:]}. {_sentence(outcome.notes[1])}\n",
        *(f"* {line}" for line in sentences(outcome.table)),
        "\n### Ranking, right and wrong\n",
        _effects(outcome.table),
        *(["\n### Average ranks by what counts as a result\n", _rules(outcome.details["rules"])]
          if "rules" in outcome.details else []),
        "\n### How often another draw of the seeds gives another ranking\n",
        _draws(outcome.details["draws"]),
        "\n### Configurations that two runs of the study have in common\n",
        _shared(outcome.details["shared"]),
    ]  # fmt: skip
    return "\n".join(parts)


def sentences(table: pd.DataFrame) -> list[str]:
    """Return a sentence on each effect: where it changes the ranking most, beside what chance does there."""
    lines = []
    for effect, rows in table.groupby("effect", sort=False):
        if effect == "unseeded":
            continue
        worst = rows.sort_values(["largest_change", "flips"], ascending=False, kind="stable").iloc[0]
        if worst["largest_change"] < SHOWN:
            text = f"no average rank changes by {SHOWN} or more"
        else:
            text = (
                f"an average rank changes by up to {worst['largest_change']:.2f} ({worst['of']}, P = "
                f"{worst['n_workers']}, at {worst['budget']:.0%} of the budget; {worst['lower']:.2f} to "
                f"{worst['upper']:.2f}), and {rows['flips'].max():.3g} of {worst['pairs']} pairs flip at most"
            )
        clear = rows[rows["as_much_by_chance"] < RARE]
        where = "nowhere" if not len(clear) else "at " + ", ".join(
            f"P = {n}" for n in sorted(clear["n_workers"].unique())
        )  # fmt: skip
        known = rows["as_much_by_chance"].notna().any()
        beyond = f" Beyond chance (fewer than {RARE:.0%} of the draws change as much): {where}." if known else ""
        lines.append(f"**{effect}**: {text}.{beyond}")
    return lines


def _effects(table: pd.DataFrame) -> str:
    return markdown_table(table, {
        "mistake": lambda r: r.effect, "P": lambda r: str(r.n_workers), "read at": lambda r: f"{r.budget:.0%}",
        "benchmarks x seeds": lambda r: f"{r.benchmarks} x {r.seeds}", "tau": lambda r: _number(r.tau),
        "pairs that flip": lambda r: f"{r.flips:.3g} of {r.pairs}",
        "largest change of a rank": lambda r: f"{r.largest_change:.2f} ({r.lower:.2f} to {r.upper:.2f})",
        "of": lambda r: r.of, "regret": lambda r: _signed(r.regret_change),
        "by chance": lambda r: _number(r.chance_change),
        "as much by chance": lambda r: "-" if np.isnan(r.as_much_by_chance) else f"{r.as_much_by_chance:.0%}",
    })  # fmt: skip


def _rules(table: pd.DataFrame) -> str:
    """Return a row an optimizer and share of the budget, with its ranks by recommended / full / any for each P."""
    texts = [f"{r.recommended:.2f} / {r.full:.2f} / {r.any:.2f}" for r in table.itertuples(index=False)]
    shown = {"read at": lambda r: f"{r.budget:.0%}", "recommended / full / any": lambda r: r.optimizer}
    return table_by_workers(table, texts, ["budget", "optimizer"], shown)


def _draws(table: pd.DataFrame) -> str:
    return markdown_table(table, {
        "P": lambda r: str(r.n_workers), "repetitions": lambda r: str(r.repetitions), "tau": lambda r: _number(r.tau),
        "pairs that flip": lambda r: f"{r.flips:.1f} of {r.pairs}",
        "largest change": lambda r: f"{r.largest_change:.2f}",
        "another ranking": lambda r: f"{r.another_order:.0%}", "another winner": lambda r: f"{r.another_winner:.0%}",
    })  # fmt: skip


def _shared(table: pd.DataFrame) -> str:
    return markdown_table(table, {
        "the runs differ in": lambda r: r.differs_in, "optimizer": lambda r: r.optimizer,
        "pairs of runs": lambda r: f"{r.pairs:,}", "mean share": lambda r: f"{r.mean_share:.1%}",
        "largest share": lambda r: f"{r.largest_share:.0%}", "identical": lambda r: f"{r.identical:,}",
    })  # fmt: skip


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else "0" if value == 0 else f"{value:+.4f}"
