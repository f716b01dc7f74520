"""How optimizers compare as the number of workers grows: the figures and the numbers of docs/parallelism.md."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait.experiments.exports.markdown import filled, markdown_table, read_page, table_by_workers
from zerowait.plots.catalogue import figure_kind
from zerowait.plots.statistics.arithmetic import Floats, average_ranks
from zerowait.plots.studies.blocks import blocks, counted
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.study import Study
from zerowait.suite.records.selection import Where
from zerowait.suite.rules.errors import SpecificationError

BEGIN, END = "<!-- parallelism: begin, written by zerowait baselines page -->", "<!-- parallelism: end -->"
"""Between these lines of a page everything is replaced."""
FIGURES = ("rank_by_workers", "speed_up", "quality_by_workers")
DRAWS, SEED = 2000, 21
"""Of tasks or seeds, to see how many a claim needs."""
SIZES = (3, 5, 10, 20, 30)
"""So many tasks are drawn."""
HALF = 0.5
WHO = (
    "**Who beats whom**: the share of tasks and seeds on which the first has the lesser loss at the end. Bold: the "
    "interval leaves out 50 %, so that one of the two is better."
)
TASKS = (
    "**How many tasks a claim needs**: the share of pairs of optimizers whose average ranks are, on so many tasks that "
    "are drawn from these, in the order that they have on all of them."
)


def write_page(archive: Path, page: Path, out: Path, where: Where = None) -> list[Path]:
    """Write figures and numbers of an archive, or of a study, and return the files.

    Optimizers that ran with the same numbers of workers on the same benchmarks are a tier. The largest tier comes
    first, and each further section adds the next one, with what all of its optimizers have in common.

    Parameters
    ----------
    archive
        The archive.
    page
        The page, with the lines `BEGIN` and `END`.
    out
        Folder of the figures.
    where
        Which runs, as for `load_study`.

    Raises
    ------
    SpecificationError
        The page lacks the lines, or there is nothing to compare.
    """
    text = read_page(page, BEGIN)
    filled(text, BEGIN, END, "")  # what is wrong with the page is said before the work
    study = load_study(archive, where=where)
    files: list[Path] = []
    parts = []
    for names in _tiers(study):
        section = study.where({"optimizer": names})
        stem = out / f"{len(names)}-optimizers"
        parts.append(_section(section, names, stem, files, page))
    numbers = "\n".join(parts)
    page.write_text(filled(text, BEGIN, END, numbers), encoding="utf-8")
    return [*files, page]


def _tiers(study: Study) -> list[list[str]]:
    """Return the optimizers of the largest tier, of the two largest, and so on."""
    tiers: dict[tuple[frozenset[str], frozenset[int]], list[str]] = {}
    for (name,), runs in study.groups("optimizer"):
        cells = study.cells.iloc[runs]
        of = frozenset(cells["benchmark"]), frozenset(cells["n_workers"])
        tiers.setdefault(of, []).append(str(name))
    ordered = [tiers[of] for of in sorted(tiers, key=lambda of: (-len(of[0]), -len(of[1]), tiers[of]))]
    found = [sorted(itertools.chain.from_iterable(ordered[: k + 1])) for k in range(len(ordered))]
    several = [names for names in found if len(names) > 1]
    if not several:
        raise SpecificationError(f"there is only {', '.join(study.optimizers)}; a comparison needs two optimizers")
    return several


def _section(study: Study, names: Sequence[str], stem: Path, files: list[Path], page: Path) -> str:
    groups = blocks(study)
    workers = [group.n_workers for group in groups]
    shared = set.intersection(*(set(group.benchmarks) for group in groups))
    study = study.take((study.cells["benchmark"].isin(shared) & study.cells["n_workers"].isin(workers)).to_numpy())
    seeds = counted([n for group in blocks(study) for n in group.n_seeds], "seed")
    drawn = {name: figure_kind(name).make(study) for name in FIGURES}
    pictures = []
    for name, figure in drawn.items():
        saved = figure.save(stem.with_name(f"{stem.name}-{name}"))
        files += [saved.png, saved.csv, saved.pdf]
        pictures.append(f"![{figure.title}]({os.path.relpath(saved.png, page.parent)})")
    ranks, speed, quality = (drawn[name].table for name in FIGURES)
    by_any = figure_kind("rank_by_workers").make(study, result="any").table
    wins = figure_kind("win_rates").make(study).table
    many = counted([len(shared)], "task")
    return "\n".join(
        [
            f"## {', '.join(names)}: {many}, {seeds} each\n",
            f"**Average rank** at the end, 1 is best; rule `recommended`. {_verdict(ranks)}\n",
            pictures[0] + "\n",
            _by_workers(ranks, "rank", 2),
            f"\nThe same by the rule `any`, the least value at whatever fidelity. {_verdict(by_any)}\n",
            _by_workers(by_any, "rank", 2),
            "\n**Speed-up** to an optimizer's own target: the worst of the losses that it ends with.\n",
            pictures[1] + "\n",
            _by_workers(speed, "speed_up", 1),
            "\n" + "\n".join(_where_gains_end(speed)),
            "\n**Quality** at the same simulated time, the end of whoever ends first: normalised regret.\n",
            pictures[2] + "\n",
            _by_workers(quality, "mean", 3),
            "\n" + WHO + "\n",
            _pairs(wins),
            "\n" + "\n".join(_kept_conclusions(wins)),
            "\n" + TASKS + "\n",
            _tasks_needed(study),
            "\n" + _seeds_needed(study),
        ]
    )


def _verdict(ranks: pd.DataFrame) -> str:
    p = float(ranks["p_value"].iloc[0])
    return f"Does the order depend on the number of workers? Permutation test of the interaction: p = {p:.2g}."


def _by_workers(table: pd.DataFrame, value: str, digits: int) -> str:
    """Return a row an optimizer and a column a number of workers, each number with its interval."""
    texts = [
        f"{row[value]:.{digits}f}"
        + ("" if np.isnan(row["lower"]) else f" ({row['lower']:.{digits}f}-{row['upper']:.{digits}f})")
        for row in table.to_dict("records")
    ]
    return table_by_workers(table, texts, ["optimizer"], {"": lambda row: row.optimizer})


def _where_gains_end(speed: pd.DataFrame) -> Iterator[str]:
    """Yield for each optimizer up to how many workers more of them were surely faster."""
    for name, of in speed.sort_values("n_workers").groupby("optimizer"):
        gains = [
            int(b["n_workers"])
            for a, b in itertools.pairwise(of.to_dict("records"))
            if b["lower"] > (a["upper"] if a["n_workers"] > 1 else 1.0)
        ]
        last = of.iloc[-1]
        text = f"up to P = {gains[-1]}" if gains else "nowhere"
        yield (
            f"* {name}: more workers are surely faster {text} (the interval lies above that of the number before); "
            f"P = {int(last['n_workers'])} has {last['speed_up'] / last['n_workers']:.0%} of the ideal speed-up."
        )


def _conclusion(row: Any) -> int:
    """Return 1 if the first optimizer of a win rate is better, -1 if the other one is, and 0 if that is open."""
    return int(row["lower"] > HALF) - int(row["upper"] < HALF)


def _pairs(wins: pd.DataFrame) -> str:
    wins = wins[wins["optimizer"] < wins["other"]]
    texts = []
    for row in wins.to_dict("records"):
        text = f"{row['win_rate']:.0%} ({row['lower']:.0%}-{row['upper']:.0%})"
        texts.append(f"**{text}**" if _conclusion(row) else text)
    wins = wins.assign(pair=wins["optimizer"] + " before " + wins["other"])
    return table_by_workers(wins, texts, ["pair"], {"": lambda row: row.pair})


def _kept_conclusions(wins: pd.DataFrame) -> Iterator[str]:
    """Yield what one worker says of each pair and more workers do not, and the other way round."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    for row in wins[wins["optimizer"] < wins["other"]].to_dict("records"):
        found.setdefault((row["optimizer"], row["other"]), {})[int(row["n_workers"])] = _conclusion(row)
    same = 0
    for (first, other), at in sorted(found.items()):
        said = {1: f"{first} is better", -1: f"{other} is better", 0: "it is open"}
        few, *more = sorted(at)
        changed = [n for n in more if at[n] != at[few]]
        same += not changed
        if changed:
            otherwise = "; ".join(f"with P = {n} {said[at[n]]}" for n in changed)
            yield f"* {first} and {other}: with P = {few} {said[at[few]]}, {otherwise}."
    yield f"* With every number of workers the same is said of {same} of {counted([len(found)], 'pair')}."


def _ranks(study: Study) -> list[tuple[int, list[Floats]]]:
    """Return for each number of workers the ranks on each benchmark, shape (seeds, optimizers)."""
    judged = study.judged()
    found = []
    for group in blocks(judged):
        of_group = []
        for runs, horizon in zip(group.runs, group.horizons, strict=True):
            best = judged.best_at(runs.ravel(), np.array([horizon])).reshape(runs.shape)
            of_group.append(average_ranks(best))
        found.append((group.n_workers, of_group))
    return found


def _same_pairs(drawn: Floats, whole: Floats) -> float:
    """Return the share of pairs that two vectors of average ranks put in the same order; a tie is half of one."""
    one, other = (np.sign(ranks[:, None] - ranks)[np.triu_indices(len(ranks), 1)] for ranks in (drawn, whole))
    return float(np.mean(1 - np.abs(one - other) / 2))


def _tasks_needed(study: Study) -> str:
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(SEED)))
    lines = []
    n_tasks = study.cells["benchmark"].nunique()
    if n_tasks <= min(SIZES):
        return f"It cannot be said of {counted([n_tasks], 'task')}."
    for n_workers, of_group in _ranks(study):
        means = np.array([of.mean(axis=0) for of in of_group])
        whole = means.mean(axis=0)
        line: dict[str, Any] = {"P": n_workers}
        for size in (size for size in SIZES if size < len(means)):
            draws = [random.choice(len(means), size, replace=False) for _ in range(DRAWS)]
            line[f"s{size}"] = np.mean([_same_pairs(means[draw].mean(axis=0), whole) for draw in draws])
        lines.append(line)
    table = pd.DataFrame(lines)
    columns: dict[str, Any] = {"": lambda row: f"P = {row.P}"}
    for name in table.columns[1:]:
        columns[f"{name[1:]} tasks"] = lambda row, name=name: f"{getattr(row, name):.0%}"
    return markdown_table(table, columns)


def _seeds_needed(study: Study) -> str:
    """Return how often one seed of each task gives the order of all, over the tasks with the most seeds."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(SEED + 1)))
    texts = []
    for n_workers, of_group in _ranks(study):
        most = max(map(len, of_group))
        chosen = [of for of in of_group if len(of) == most]
        whole = np.mean([of.mean(axis=0) for of in chosen], axis=0)
        draws = [np.mean([of[random.integers(most)] for of in chosen], axis=0) for _ in range(DRAWS)]
        share = np.mean([_same_pairs(draw, whole) for draw in draws])
        texts.append(f"{share:.0%} with P = {n_workers}")
    if most == 1:
        return "**How many seeds it needs** cannot be said: every task has one."
    return (
        f"**How many seeds it needs**: {counted([len(chosen)], 'task')} have {most} seeds. There one seed a task shows "
        f"the order of all seeds in so many of the pairs: {', '.join(texts)}."
    )
