"""A study file for an optimizer of one's own that can be compared with the runs of an archive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait import adapters
from zerowait.experiments.studies.study import suggestion
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

AGREES = 7 / 8
"""Two runs trained as much if the lesser training is at least this share of the greater. A run of 256 workers that
ends after so many evaluations leaves brackets half done: DEHB, whose 1,000 evaluations with one worker are 399 full
trainings, does 358 to 393 then, and random search 400."""


def study_like(runs: pd.DataFrame, archive: str, optimizers: Sequence[str], name: str) -> str:
    """Return the text of a study of these optimizers with the benchmarks, workers, seeds and training of an archive.

    Parameters
    ----------
    runs
        Runs of the archive, with the columns of `zerowait.suite.records.store_cells.CELL_COLUMNS` and `trained`, in
        full trainings.
    archive
        How the study names the archive.
    optimizers
        Names of adapters.
    name
        Of the study.

    Raises
    ------
    SpecificationError
        An optimizer is unknown.
    """
    known = {descriptor.name: descriptor for descriptor in adapters.available()}
    for one in optimizers:
        if one not in known:
            raise SpecificationError(
                f"{one!r} is no optimizer; {suggestion(one, known)}; how to add one is in docs/add-your-optimizer.md"
            )
    specifications = [json.loads(text) for text in runs["specification"]]
    partial = runs["evaluations"] * AGREES > runs["trained"]
    # Of those that train to the end each time it is the number of evaluations.
    full = round(float(np.median(runs["trained"][~partial] if not partial.all() else runs["trained"])))
    seeds = sorted(set(map(int, runs["run_seed"])))
    lines = [
        f"# Beside the runs of {archive}: zerowait run {name}.toml, then zerowait compare {name}.toml",
        "",
        f"name = {toml(name)}",
        f"workers = {toml(sorted(set(map(int, runs['n_workers']))))}",
        f"seeds = {len(seeds) if seeds == list(range(len(seeds))) else toml(seeds)}",
        *_shared(specifications),
        f"compare = {toml(archive)}",
    ]
    for one in optimizers:
        evaluations = full
        lines += ["", "[[optimizers]]", f"name = {toml(one)}"]
        if known[one].uses_fidelity and partial.any():
            evaluations = int(float(f"{np.median((runs['evaluations'] / runs['trained'])[partial]) * full:.3g}"))
            lines.append(
                f"# Most are partial; if these are not {full} full trainings, zerowait compare says how many it takes."
            )
        lines.append(f"budget = {{max_evaluations = {evaluations}}}")
    tasks: dict[tuple[str, str], list[str]] = {}
    for specification in specifications:
        entry = tasks.setdefault((specification["benchmark"], toml(specification["benchmark_parameters"])), [])
        if specification["task"] is not None and specification["task"] not in entry:
            entry.append(specification["task"])
    for (benchmark, parameters), of in sorted(tasks.items()):
        lines += ["", "[[benchmarks]]", f"name = {toml(benchmark)}"]
        lines += [f"tasks = {toml(sorted(of))}"] if of else []
        lines += [f"parameters = {parameters}"] if parameters != "{}" else []
    return "\n".join(lines) + "\n"


def _shared(specifications: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of what all runs have in common: overhead, continued trainings, cluster, objectives."""
    lines = []
    for key in ("overhead", "continual", "cluster", "objectives"):
        found = {toml(one[key]) if key != "overhead" else setting_of(one[key]) for one in specifications if key in one}
        lines += [f"{key} = {one}" for one in found if len(found) == 1]
    return lines


def setting_of(overhead: Mapping[str, Any]) -> str:
    """Return the overhead policy of a cell's specification as a study file has it."""
    return toml(Overhead.from_json(overhead).to_setting())


def toml(value: Any) -> str:
    """Return a value of JSON as TOML has it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml(one)}" for key, one in value.items() if one is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)
