"""A study's runs beside those of an archive, where both answer the same question; what does not agree is said.

Runs can be compared that have the benchmark, its parameters (so also clock and fidelity range), its data, overhead,
cluster, number of workers and seed in common, and that trained as much. Training is counted in full trainings and not
in evaluations: brackets of Hyperband whose promoted trainings continue make 1,144 evaluations of what is 400 full
ones. It is not counted in seconds either, because who chooses large networks waits longer for each.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.experiments.grid.archive import (
    COMPARED,
    folder_for,
    highest_fidelities,
    is_comparison,
    keep,
    trainings,
)
from zerowait.experiments.grid.store import update, write
from zerowait.experiments.studies.like import AGREES, toml
from zerowait.experiments.studies.shipped import STUDY_COPY
from zerowait.plots.studies.blocks import counted, listed, numbered
from zerowait.suite.records import store, store_cells
from zerowait.suite.records.selection import Where, parse
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

SETTINGS = ("parameters", "data", "overhead", "cluster")
"""What two runs on a task must have in common besides the number of workers."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which runs can be compared."""

    ours: frozenset[str]
    """Keys of the study's runs."""
    theirs: frozenset[str]
    """Keys of the archive's."""
    remarks: list[str] = field(default_factory=list)
    """What does not agree, each with the change that would make it agree."""


def compare(study: Path, archive: Path, out: Path, where: Where = None) -> list[str]:
    """Write the runs of a study and those of an archive that can be compared with them as one archive.

    Optimizers of the archive have its name behind theirs: `dehb (baselines)`.

    Parameters
    ----------
    study
        The output folder of a study.
    archive
        The archive; a whole store is one too.
    out
        The folder; what an earlier comparison left there is replaced.
    where
        Which runs of the archive, as for `load_study`.

    Returns
    -------
    list of str
        What could not be compared and what to change, a line each.

    Raises
    ------
    TraceError
        One of them has no finished run, or a file is damaged.
    SpecificationError
        Nothing can be compared, no run of the archive is selected, or `out` holds something else.
    """
    mine, around = store.store_of(study)
    theirs, _ = store.store_of(archive)
    name = (archive.parent if archive.name == store_cells.STORE else archive).resolve().name
    if out.exists() and any(out.iterdir()) and not is_comparison(out):
        raise SpecificationError(f"{out} is no comparison; name another folder with --out, or remove what is in it")
    if around is not None:
        update(around)
    highest = highest_fidelities(theirs)
    our_runs, their_runs = _runs(mine, trainings(mine, highest)), _runs(theirs, trainings(theirs))
    their_runs = their_runs[parse(where).mask(their_runs)]
    found = match(our_runs, their_runs, name)
    if not found.ours:
        raise SpecificationError(f"nothing can be compared with {name}: {'; '.join(found.remarks)}")
    mark = f" ({name})"
    named_alike = set(our_runs["optimizer"]) & {f"{one}{mark}" for one in their_runs["optimizer"]}
    if named_alike:
        raise SpecificationError(
            f"the study calls an optimizer {min(named_alike)!r}, as the archive's is called; give it another label"
        )
    import pyarrow as pa

    with folder_for(out) as made:
        rows = pa.concat_tables([keep(mine, found.ours, made, "", highest), keep(theirs, found.theirs, made, mark)])
        write(made / store_cells.CELLS_FILE, rows.replace_schema_metadata({COMPARED: name}))
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(study / STUDY_COPY, made / STUDY_COPY)
    return [*_unfinished(around), *found.remarks]


def _runs(place: Path, trained: dict[str, float]) -> pd.DataFrame:
    """Return the runs of a store with what must agree, `name` for the task, and `trained` in full trainings."""
    runs = store.load_cells(place)
    specifications = [json.loads(text) for text in runs["specification"]]
    runs["name"] = [store_name(row) for row in specifications]
    runs["parameters"] = [toml(row["benchmark_parameters"]) for row in specifications]
    runs["cluster"] = [toml(row.get("cluster") or {}) for row in specifications]
    runs["data"] = [
        row["versions"].get(f"data of {label}", "")
        for row, label in zip(specifications, runs["benchmark"], strict=True)
    ]
    runs["trained"] = runs["cell"].map(trained)
    return runs


def store_name(specification: dict[str, Any]) -> str:
    """Return benchmark and task as a study names them."""
    task = specification["task"]
    return str(specification["benchmark"]) if task is None else f"{specification['benchmark']}/{task}"


def _unfinished(study: Path | None) -> Iterator[str]:
    planned = None if study is None else store.listed_cells(study)
    if study is not None and planned is not None:
        missing = len(set(planned)) - len(store.finished_cells(study))
        if missing:
            of = f"{missing:,} of the study's {len(set(planned)):,} runs are not finished"
            yield f"{of}; zerowait run {study}, and compare again"


def match(ours: pd.DataFrame, theirs: pd.DataFrame, name: str) -> Comparison:
    """Return which runs of a study can be compared with runs of an archive of this name.

    Both have a row a run: columns of `zerowait.suite.records.store_cells.CELL_COLUMNS`, `name`, `SETTINGS`, `trained`.
    """
    remarks: dict[str, list[str]] = {}
    columns = ["name", *SETTINGS]
    there = set(theirs[columns].itertuples(index=False, name=None))
    for settings in dict.fromkeys(ours[columns].itertuples(index=False, name=None)):
        if settings not in there:
            remarks.setdefault(_what_differs(settings, theirs, name), []).append(settings[0])
    same = ours.merge(theirs[columns].drop_duplicates(), on=columns)
    lines = [f"{listed(sorted(tasks))}: {text}" for text, tasks in remarks.items()]
    for column, key, noun in (("n_workers", "workers", "P"), ("run_seed", "seeds", "seed")):
        columns.append(column)
        kept = same.merge(theirs[columns].drop_duplicates(), on=columns)
        lost = same[~same["cell"].isin(kept["cell"])]
        if len(lost):
            tasks, values = sorted(set(lost["name"])), sorted(set(lost[column]))
            have = sorted(set(theirs[column][theirs["name"].isin(tasks)]))
            on = "" if not set(values) & set(kept[column]) else f" on {listed(tasks)}"
            lines.append(f"{noun} = {_few(values)}{on}: {name} has {_few(have)}; write {key} = {_list(have)}")
        same = kept
    pairs = theirs.merge(same[columns].drop_duplicates(), on=columns)
    chosen, of_training = _equal_training(same, pairs, name)
    return Comparison(
        frozenset(same["cell"][same["cell"].isin(chosen)]),
        frozenset(pairs["cell"][pairs["cell"].isin(chosen)]),
        [*lines, *of_training],
    )


def _what_differs(key: tuple[str, ...], theirs: pd.DataFrame, name: str) -> str:
    """Return why the archive has no run with these settings, and what to write instead."""
    of_task = theirs[theirs["name"] == key[0]]
    if of_task.empty:
        there = sorted(set(theirs["name"]))
        return f"{name} has no such benchmark; it has {counted([len(there)], 'benchmark')}: {listed(there)}"
    mine = dict(zip(("name", *SETTINGS), key, strict=True))
    # The one that needs the fewest changes.
    rows = of_task[list(SETTINGS)].drop_duplicates().to_dict("records")
    row = min(rows, key=lambda one: sum(one[setting] != mine[setting] for setting in SETTINGS))
    texts = []
    for setting in SETTINGS:
        here, wanted = mine[setting], row[setting]
        # The name of data has the parameters in it.
        if here == wanted or (setting == "data" and not (here and wanted)):
            continue
        if setting == "data":
            texts.append(
                f"its data differ (digest {here}, and {wanted} in {name}); fetch the same: zerowait data fetch"
            )
        elif setting == "overhead":
            policy, other = (Overhead.from_json(json.loads(text)) for text in (here, wanted))
            texts.append(f"overhead is {policy}, and {other} in {name}; write overhead = {toml(other.to_setting())}")
        else:
            key_of = "[cluster]" if setting == "cluster" else setting
            change = f"leave out {key_of}" if wanted == "{}" else f"write {setting} = {wanted}"
            texts.append(f"{setting} are {here}, and {wanted} in {name}; {change}".replace("cluster are", "cluster is"))
    return "; ".join(texts)


def _few(numbers: Sequence[int]) -> str:
    """Return numbers in a few letters: a whole range by its ends."""
    ends = numbers[0], numbers[-1]
    is_range = len(numbers) > 2 and list(numbers) == list(range(ends[0], ends[1] + 1))  # noqa: PLR2004 - a range
    return f"{ends[0]} to {ends[1]}" if is_range else ", ".join(map(str, numbers))


def _list(numbers: Sequence[int]) -> str:
    """Return numbers as a study file has them."""
    return toml([int(number) for number in numbers])


def _equal_training(ours: pd.DataFrame, theirs: pd.DataFrame, name: str) -> tuple[set[str], list[str]]:
    """Return the runs of those that train as much on a benchmark with a number of workers, and who does not.

    The measure is that of the study's optimizer with which the most of the archive's agree. An optimizer's training is
    the mean of its seeds.
    """
    chosen: set[str] = set()
    left: dict[str, list[tuple[float, float, float]]] = {}
    too_far: dict[str, list[tuple[float, float]]] = {}
    groups = dict(iter(theirs.groupby(["name", "n_workers"])))
    for key, mine in ours.groupby(["name", "n_workers"], sort=True):
        of_each = mine.groupby("optimizer")["trained"].mean()
        of_theirs = groups[key].groupby("optimizer")["trained"].mean()
        measure = max(of_each, key=lambda one: sum(agree(one, other) for other in of_theirs))
        good = {one for one, much in of_theirs.items() if agree(much, measure)}
        if not good:  # nobody agrees, so the archive is the measure, and nothing of the study meets it
            measure = float(np.median(of_theirs))
        good_ours = {one for one, much in of_each.items() if good and agree(much, measure)}
        for rows, names in ((groups[key], good), (mine, good_ours)):
            chosen |= set(rows["cell"][rows["optimizer"].isin(names)])
        for one in set(of_theirs.index) - good if good else ():
            too_far.setdefault(str(one), []).append((float(of_theirs[one]), measure))
        for one in set(of_each.index) - good_ours:
            evaluations = float(mine["evaluations"][mine["optimizer"] == one].mean())
            left.setdefault(str(one), []).append((float(of_each[one]), measure, evaluations))
    lines = []
    for one, of in sorted(left.items()):
        much, other, evaluations = np.median(of, axis=0)
        needed = float(f"{evaluations * other / much:.3g}") if much else evaluations
        lines.append(
            f"{one}: its {evaluations:,.0f} evaluations are {much:.0f} full trainings, and {name} has {other:.0f}; "
            f"write budget = {{max_evaluations = {needed:.0f}}}{_on(of, ours)}"
        )
    for one, pairs in sorted(too_far.items()):
        much, other = np.median(pairs, axis=0)
        lines.append(
            f"{one} ({name}): {much:.0f} full trainings, and the study's runs have {other:.0f}; a study with "
            f"{much:.0f} can stand beside it{_on(pairs, ours)}"
        )
    return chosen, lines


def _on(of: Sequence[Any], ours: pd.DataFrame) -> str:
    """Return on how much of the study this is so, where it is not so everywhere."""
    n = ours.groupby(["name", "n_workers"]).ngroups
    return "" if len(of) == n else f" (so on {len(of)} of {n} benchmarks with a number of workers)"


def agree(one: float, other: float) -> bool:
    """Tell whether two trainings are equal for a comparison, see `AGREES`."""
    return min(one, other) >= AGREES * max(one, other)


def described(out: Path, archive: str) -> str:
    """Return in one line what stands beside what in a comparison that was written."""
    runs = store.load_cells(out)
    marked = runs["optimizer"].str.endswith(f" ({archive})")
    mine, theirs = (", ".join(sorted(set(runs["optimizer"][which]))) for which in (~marked, marked))
    return (
        f"{mine} beside {theirs}: {counted([runs['benchmark'].nunique()], 'benchmark')}, "
        f"{numbered(runs['n_workers'].tolist(), 'worker')}, {counted([runs['run_seed'].nunique()], 'seed')}"
    )
