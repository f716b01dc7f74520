"""How a table was understood, in plain words, before anybody runs it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zerowait.benchmarks.own_table.benchmark import DataFrameBenchmark
from zerowait.benchmarks.own_table.cells import INACTIVE, Column, Kind
from zerowait.benchmarks.own_table.columns import Meaning, labelled, shown_list
from zerowait.benchmarks.own_table.conversion import Conversion, opened, read_table
from zerowait.benchmarks.own_table.rows import Sorted, Table
from zerowait.benchmarks.own_table.seconds import groups
from zerowait.benchmarks.own_table.space import distinct
from zerowait.suite.rules.errors import SpecificationError

_TO_MAXIMISE = re.compile(
    r"(^|[_. -])(acc|accuracy|auc|auroc|f1|score|reward|r2|precision|recall|map|iou)", re.IGNORECASE
)
_TO_MINIMISE = re.compile(r"(loss|error|err|rmse|mse|mae|regret|perplexity|cost)", re.IGNORECASE)
_IN_OTHER_UNITS = re.compile(
    r"(^|[_. -])(ms|msec|millis\w*|min|mins|minutes?|h|hours?|hrs?|days?|us|ns)$", re.IGNORECASE
)
_KINDS = {"boolean": "booleans", "category": "texts", "integer": "whole numbers", "real": "numbers"}
FEW = 12
"""So many numbers are listed one by one."""
STEEP = 1.5
"""Seconds that grow by less than this over a fidelity that grows threefold are looked at again."""


def describe_columns(path: Path, meaning: Meaning) -> Iterator[tuple[str, str]]:
    """Yield what each column of a file would be as a parameter: its name, and what it holds or why it is refused."""
    with opened(path) as file:
        table = read_table(path, file, meaning)
    yield "rows", f"{len(table):,}"
    for name in dict.fromkeys(table.names):
        if name:
            yield name, _column_in_words(table, name, meaning)


def _column_in_words(table: Table, name: str, meaning: Meaning) -> str:
    try:
        cells = table.parameter(name, categorical=name in meaning.categorical, conditional=True)
    except SpecificationError as error:
        return f"not a parameter: {error}"
    n_absent = int((cells.codes == INACTIVE).sum())
    absent = f"; empty cells: {n_absent:,}" if n_absent else ""
    return _values_in_words(cells.codes, cells.kind, cells.texts) + absent


def _values_in_words(codes: Column, kind: Kind, texts: list[str]) -> str:
    values = distinct(codes, kind, texts)
    if kind in ("integer", "real"):
        some = f": {', '.join(f'{value:g}' for value in values)}" if len(values) <= FEW else ""
        return f"{_KINDS[kind]} from {values[0]:g} to {values[-1]:g}, {len(values):,} different{some}"
    return f"{_KINDS[kind]}, {len(values):,} different: {shown_list(', '.join(map(repr, values)), 200)}"


def describe(benchmark: DataFrameBenchmark) -> Iterator[tuple[str, str]]:
    """Yield how a benchmark of a file was understood: pairs of a word and a sentence."""
    conversion = benchmark.conversion
    assert conversion.path is not None  # of a data frame nothing is kept that could be read again
    columns, meaning = conversion.columns, conversion.meaning
    with labelled(conversion.label):
        with opened(conversion.path) as file:
            table = read_table(conversion.path, file, meaning)
        rows, space = conversion.rows(table)
    data, n = rows.data, len(rows.data[columns.value])
    curves = f" from {len(table):,} rows with a curve each" if meaning.wide else ""
    yield "trainings", f"{n:,}{curves}, of {len(groups(data, columns.params)[0]):,} configurations"
    counts = groups(data, columns.keys)[1]
    least, most = int(counts.min()), int(counts.max())
    yield "repetitions", f"{least}" if least == most else f"{least} to {most}, by configuration and fidelity"
    for name in columns.params:
        values = _values_in_words(data[name], rows.kinds[name], rows.categories.get(name, []))
        yield f"parameter {name}", f"{values}; searched as {_parameter_in_words(space[name])}"
    yield from _fidelity(benchmark, columns.fidelity)
    yield "value", _value_in_words(data[columns.value], columns.value, meaning)
    yield "runtime", _runtime_in_words(data, columns, meaning)
    for name in columns.metrics:
        missing = int(sum(map(math.isnan, data[name].tolist())))
        yield f"metric {name}", f"empty cells: {missing:,} of {n:,}" if missing else "in every row"
    unused = [name for name in table.names if name and not _is_used(name, conversion)]
    if unused:
        yield "not used", shown_list(", ".join(unused))
    yield (
        "optimum",
        f"{benchmark.optimum:g}, the least value of any single row"
        + ("" if columns.fidelity is None else f" with {columns.fidelity} {benchmark.fidelities[-1]:g}"),
    )
    yield from (("look at", one) for one in _doubts(rows, conversion, unused))


def _parameter_in_words(parameter: Any) -> str:
    kind = type(parameter).__name__.removesuffix("Hyperparameter")
    words = {
        "Categorical": "unordered choices",
        "Ordinal": "ordered choices",
        "UniformInteger": "a range of integers",
        "UniformFloat": "a range of numbers",
        "Constant": "a constant",
    }
    scale = " on a logarithmic scale" if getattr(parameter, "log", False) else ""
    return words.get(kind, kind) + scale


def _fidelity(benchmark: DataFrameBenchmark, name: str | None) -> Iterator[tuple[str, str]]:
    fidelity = benchmark.fidelity
    if name is None or fidelity is None:
        yield "fidelity", "none: every evaluation is a full training"
        return
    levels = benchmark.fidelities
    listed = shown_list(", ".join(f"{level:g}" for level in levels), 200)
    how = "others are moved to the nearest" if benchmark.conversion.match == "nearest" else "no others"
    yield "fidelity", f"{name} from {levels[0]:g} to {levels[-1]:g}, {len(levels)} levels: {listed}; {how}"


def _value_in_words(value: Column, name: str, meaning: Meaning) -> str:
    failed = int(np.isnan(value).sum())
    sense = f"the negative of {name}, which is maximised" if meaning.maximize else f"{name}, minimised"
    text = f"{sense}; from {np.nanmin(value):g} to {np.nanmax(value):g}"
    return text + (f"; without a value, hence failed trainings: {failed:,}" if failed else "")


def _runtime_in_words(data: dict[str, Column], columns: Any, meaning: Meaning) -> str:
    runtime, where = data[columns.runtime], ""
    if columns.fidelity is not None:
        last = data[columns.fidelity] == data[columns.fidelity].max()
        runtime, where = runtime[last], " at the highest fidelity"
    words = {
        "since_start": "seconds since the start of the training",
        "per_step": f"seconds of one step of {columns.fidelity}, added up",
        "full": "seconds of the full training, shared out by fidelity",
        "independent": "seconds of independent trainings",
    }
    what = words[meaning.seconds] if columns.fidelity is not None else "seconds of the training"
    least, middle, most = (duration(float(x)) for x in (runtime.min(), np.median(runtime), runtime.max()))
    return f"{columns.runtime}: {what}; {least} to {most}{where}, {middle} in the median"


def duration(seconds: float) -> str:
    """Return seconds in a unit in which they are easily checked, such as "1.5 h"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _is_used(name: str, conversion: Conversion) -> bool:
    c = conversion.columns
    if name in c.params or (name == c.fidelity and not conversion.meaning.wide):
        return True
    patterns = (c.value, c.runtime, *c.metrics)
    return any(re.fullmatch(r"[0-9]+(\.[0-9]+)?".join(map(re.escape, p.split("*"))), name) for p in patterns)


def _doubts(rows: Sorted, conversion: Conversion, unused: list[str]) -> Iterator[str]:
    """Yield what is allowed and may still be a mistake."""
    c, meaning = conversion.columns, conversion.meaning
    data = rows.data
    if not meaning.maximize and _TO_MAXIMISE.search(c.value) and not _TO_MINIMISE.search(c.value):
        yield f"{c.value!r} is minimised, and its name says that more is better; give maximize=true"
    if meaning.maximize and _TO_MINIMISE.search(c.value):
        yield f"{c.value!r} is maximised, and its name says that less is better; leave maximize out"
    if _IN_OTHER_UNITS.search(c.runtime.replace("*", "")):
        yield f"{c.runtime!r} is taken for seconds, and its name says another unit"
    constant = [name for name in c.params if len(np.unique(data[name])) == 1]
    if constant:
        yield f"{', '.join(constant)}: one value only, so there is nothing to choose"
    suspicious = [
        name for name in unused if re.fullmatch(r"epochs?|steps?|iter(ation)?s?|budget|fidelity", name, re.IGNORECASE)
    ]
    if c.fidelity is None and suspicious:
        yield f"{suspicious[0]!r} may be the fidelity, and is not used: its rows count as repetitions"
    numbers = [name for name in c.params if rows.kinds[name] in ("integer", "real") and name not in conversion.log]
    if conversion.match == "nearest" and conversion.space is None:
        wide = [name for name in numbers if 0 < data[name].min() * 1000 <= data[name].max()]
        if wide:
            yield f"{', '.join(wide)}: over three orders of magnitude on a linear scale; name them in log"
    if c.fidelity is not None and meaning.seconds == "since_start":
        yield from _flat_clock(data, c.fidelity, c.runtime)


def _flat_clock(data: dict[str, Column], fidelity: str, runtime: str) -> Iterator[str]:
    levels = np.unique(data[fidelity])
    low, high = (float(np.median(data[runtime][data[fidelity] == level])) for level in (levels[0], levels[-1]))
    if levels[0] > 0 and levels[-1] >= 3 * levels[0] and high < STEEP * low:
        yield (
            f"{runtime!r} is {low:g} at {fidelity} {levels[0]:g} and only {high:g} at {levels[-1]:g} in the median; "
            "if these are seconds of one step, give seconds='per_step'"
        )
