"""A user's own table as a benchmark: a pandas DataFrame, a text file or a Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.own_table.benchmark import DISTANCE, MATCHED_FIDELITY, NAME, DataFrameBenchmark
from zerowait.benchmarks.own_table.columns import Columns, Meaning, Seconds, as_names, as_path, labelled, metric_name
from zerowait.benchmarks.own_table.conversion import Conversion
from zerowait.benchmarks.own_table.space import Match, space_as_text
from zerowait.benchmarks.protocol import label_of
from zerowait.benchmarks.registry import Family
from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    from ConfigSpace import ConfigurationSpace

EPOCH = "epoch"
"""What the fidelity of wide curves is called by default."""


def from_dataframe(  # noqa: PLR0913 - the columns of a table and how to look them up, each by its own word
    table: pd.DataFrame | str | os.PathLike[str],
    *,
    params: Sequence[str],
    value: str | None = None,
    runtime: str,
    fidelity: str | None = None,
    metrics: Sequence[str] = (),
    curves: str | None = None,
    seconds: Seconds = "since_start",
    maximize: bool = False,
    categorical: Sequence[str] = (),
    separator: str | None = None,
    decimal: str = ".",
    match: Match = "exact",
    log: Sequence[str] = (),
    space: ConfigurationSpace | str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> DataFrameBenchmark:
    """Make a benchmark of a table with one row per training, or one per curve; it is checked as a whole, here and now.

    Rows with equal parameters and fidelity are repetitions. A seed chooses the repetition number `seed % n` in the
    order of the table, n being their number; without a seed every number is the mean over them.

    Parameters
    ----------
    table
        A DataFrame, or the path of a file that ends in .csv, .tsv (either also with .gz) or .parquet. Named levels of
        an index are columns too.
    params
        The columns that an optimizer chooses: numbers, texts or booleans.
    value
        The column of the loss, which is minimised. An empty cell or NaN is a training that failed: its evaluation
        raises `TrainingFailedError`, which carries its seconds.
    runtime
        The column of the seconds that the training takes; also of one that failed.
    fidelity
        The column of the training budget; None when there is none. With `curves` only its name, "epoch" by default.
    metrics
        Further columns of numbers to record; a missing one is NaN.
    curves
        In place of `value`, for tables with one column for each fidelity: the names of these columns, with a `*`
        where the fidelity stands, such as "loss_*". `runtime` and `metrics` may have a `*` too; without one they are
        the same for the whole row. Where neither the value nor a `runtime` with a `*` is there, the curve has ended.
    seconds
        What the runtime counts: the seconds "since_start" of the training, which grow with the fidelity and are
        refused where they do not; "per_step", those of one step of the fidelity, such as an epoch, since the row
        before; "full", those of the full training, of which each fidelity takes its share; or "independent" trainings,
        one for each fidelity, whose seconds need not grow.
    maximize
        Whether the value is to be maximised, as an accuracy is: the loss is then its negative.
    categorical
        Parameters whose cells are texts, whatever they look like.
    separator
        What stands between two cells of a text file; "," for .csv and a tab for .tsv by default.
    decimal
        The decimal sign of a text file: "." or ",".
    match
        "exact" answers only configurations (and fidelities) that the table has. "nearest" answers any within the
        bounds, with the row at the least distance, and records that as the metric "distance": the root of the sum,
        over the parameters, of the squared difference of two numbers, scaled so that the least is 0 and the greatest
        1 (the bounds of a given space; on a logarithmic scale where it says so), and of 1 for texts and booleans that
        differ. A fidelity that the table does not have is moved first, to the nearest one, the lower of two, and
        recorded as "matched_fidelity"; only rows with that fidelity are looked at. Of rows equally near, the first in
        the order of the parameters' values counts: `params` in their order, texts alphabetically.
    log
        Parameters whose inferred scale is logarithmic; only with match "nearest".
    space
        The search space, or the path of its JSON; None infers it from the columns, see
        `own_table.space.inferred_space`. With match "exact", the table must have every configuration of the space, at
        every fidelity; rows outside a given one are left out. A parameter that a given space makes conditional is
        empty where it is inactive.
    label
        What figures and errors call it; "table/<name of the file>" by default.

    Raises
    ------
    SpecificationError
        An argument, a column or a cell cannot be used; one line that names it and what to do.
    DataMissingError
        The cache folder, where the converted table is kept, cannot be written.
    """
    if match not in get_args(Match):
        raise SpecificationError(f"{NAME}: match is {match!r}; it must be 'exact' or 'nearest'")
    if label is not None and (not isinstance(label, str) or not label or not label.isprintable()):
        raise SpecificationError(f"{NAME}: label is {shown(label)}; it must be a text of one line")
    path = as_path(table)
    if label is None:
        options = {} if match == "exact" else {"match": match}
        label = label_of(NAME, None if path is None else path.name.split(".")[0], options)
    with labelled(label):
        if (value is None) == (curves is None):
            what = "neither value nor curves is given" if value is None else "both value and curves are given"
            raise SpecificationError(f"{what}; give the column of the loss, or the pattern of its columns")
        names = as_names(metrics, "metrics")
        if curves is not None:
            _check_patterns(curves, runtime, names, seconds)
            fidelity = EPOCH if fidelity is None else fidelity
        columns = Columns(as_names(params, "params"), str(curves) if value is None else value, runtime, fidelity, names)
        columns.check()
        texts = as_names(categorical, "categorical")
        maximize = arguments.boolean("maximize", maximize)
        meaning = Meaning(seconds, maximize, curves is not None, texts, separator, decimal)
        meaning.check(columns)
        meaning.check_file(path)
        if match == "nearest":
            called = set(map(metric_name, columns.metrics))
            taken = next((name for name in (DISTANCE, MATCHED_FIDELITY) if name in called), None)
            if taken is not None:
                raise SpecificationError(f"metrics has {taken!r}, which match='nearest' records; rename the column")
        logs = as_names(log, "log")
        if space is not None and logs:
            raise SpecificationError(f"log is {list(logs)!r}, but the given space has scales of its own; leave it out")
        text = None
        if space is not None:
            from zerowait.benchmarks.own_table.given_space import given_space

            text = space_as_text(given_space(space))
        conversion = Conversion(path, columns, match, logs, text, label, meaning)
    return DataFrameBenchmark(label, conversion.key_of(table), conversion)


def _check_patterns(curves: object, runtime: object, metrics: Sequence[object], seconds: object) -> None:
    for use, pattern in (("curves", curves), ("runtime", runtime), *(("metrics", name) for name in metrics)):
        n_stars = pattern.count("*") if isinstance(pattern, str) else -1
        if n_stars != 1 and (use == "curves" or n_stars != 0):
            raise SpecificationError(
                f"{use} is {pattern!r}; it must be the name of columns with one * where the fidelity stands, "
                "such as 'loss_*'"
            )
    if "*" not in str(runtime) and seconds not in ("per_step", "full"):
        raise SpecificationError(
            f"the column {runtime!r} has the same seconds for a whole curve; give seconds='per_step' if they "
            "are those of one step, 'full' if those of the full training, or a runtime with a *"
        )


def load_table(  # noqa: PLR0913 - the arguments of `from_dataframe`
    *,
    path: str | None = None,
    params: Sequence[str] = (),
    value: str | None = None,
    runtime: str | None = None,
    fidelity: str | None = None,
    metrics: Sequence[str] = (),
    curves: str | None = None,
    seconds: Seconds = "since_start",
    maximize: bool = False,
    categorical: Sequence[str] = (),
    separator: str | None = None,
    decimal: str = ".",
    match: Match = "exact",
    log: Sequence[str] = (),
    space: str | None = None,
    label: str | None = None,
) -> DataFrameBenchmark:
    """Make the benchmark `table`, of a file: for study files, where arguments are texts, numbers and lists.

    The arguments are those of `from_dataframe`; `path` and `space` are relative to the current folder.
    """
    for name, argument in {"path": path, "params": params, "value": value or curves, "runtime": runtime}.items():
        if not argument:
            raise SpecificationError(
                f"{NAME}: the parameter {name!r} is missing; it needs path = 'file.csv', params = ['column', ...], "
                "value = 'column' and runtime = 'column'"
            )
    if not isinstance(path, str):
        raise SpecificationError(f"{NAME}: path is {path!r}; it must be the path of a CSV or Parquet file, as a text")
    assert runtime is not None
    return from_dataframe(
        path, params=params, value=value, runtime=runtime, fidelity=fidelity, metrics=metrics, curves=curves,
        seconds=seconds, maximize=maximize, categorical=categorical, separator=separator, decimal=decimal, match=match,
        log=log, space=space, label=label,
    )  # fmt: skip


FAMILY = Family(
    name=NAME,
    description="a table of your own, CSV or Parquet, one row per training or per curve: zerowait table FILE",
    make=load_table,
    data="a file of your own",
    citation=DataFrameBenchmark.citation,
    licence=DataFrameBenchmark.licence,
    facts=Facts(
        value="a column of the table, minimised (with maximize its negative)",
        runtime="s, a column of the table",
        optimum_note="the least value of any single row at the highest fidelity: `load(...).optimum`",
        bibtex="% cite whoever made the table",
    ),
)
