"""Export to an Optuna storage, so that optuna-dashboard and Optuna's own plots open the runs.

A run becomes a study, an evaluation a trial. A trial's dates are its simulated start and end, counted from `EPOCH`;
the loss at its fidelity is an intermediate value as well, so that trainings of several lengths can be told apart.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zerowait import benchmarks
from zerowait.experiments.exports.pairs import pairs, refuse_existing
from zerowait.suite.records.selection import Where
from zerowait.suite.records.trace import FIDELITY, FULL
from zerowait.suite.rules.errors import SpecificationError, ZerowaitError
from zerowait.suite.rules.objectives import VALUE, metric_of, sign_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - Optuna's dates have no time zone
"""The date at which every run begins."""
DATABASES, JOURNALS = (".db", ".sqlite", ".sqlite3"), (".log", ".journal")
ATTRIBUTES = ("worker", "start", "end", "runtime", "fidelity", "resumed_from", "overhead")
"""Columns of the trace that become a trial's user attributes."""


def export_optuna(
    path: Path,
    out: Path,
    where: Where = None,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the runs of a study into an Optuna storage and return how many.

    Parameters
    ----------
    path
        The output folder of a study, or a copy of its store.
    out
        A new file: `.db`, `.sqlite` or `.sqlite3` for SQLite, `.log` or `.journal` for Optuna's journal, which is
        written several times faster.
    where
        Which runs; see `zerowait.suite.records.selection`.
    tell
        Takes a sentence about a benchmark whose search space is not at hand: its ranges are then those observed.

    Raises
    ------
    SpecificationError
        Optuna is not installed, the file exists or has another ending, or no run is chosen.
    TraceError
        There is no study or no finished run.
    """
    chosen = pairs(path, where)
    first = next(chosen)  # so that nothing is written when there is nothing to write
    storage = _storage(out)
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n = 0
    try:
        for pair in itertools.chain([first], chosen):
            for cell in _records(pair.cells):
                trace = pair.traces[cell["cell"]]
                name = f"{pair.optimizer} | {pair.benchmark} | P={cell['n_workers']} | seed={cell['run_seed']}"
                space = _Space.of(cell, trace, tell if cell["cell"] == pair.cells["cell"].iloc[0] else lambda _: None)
                objectives = json.loads(cell["specification"]).get("objectives") or [VALUE]
                study = optuna.create_study(
                    storage=storage,
                    study_name=name,
                    directions=["minimize" if sign_of(one) > 0 else "maximize" for one in objectives],
                )
                for attribute in ("optimizer", "benchmark", "n_workers", "run_seed", "cell", "simulated_time"):
                    study.set_user_attr(attribute, cell[attribute])
                study.add_trials([_trial(row, space, [*map(metric_of, objectives)]) for row in _records(trace)])
                n += 1
    finally:
        optuna.logging.set_verbosity(verbosity)
    return n


def _storage(out: Path) -> BaseStorage:
    if out.suffix not in (*DATABASES, *JOURNALS):
        raise SpecificationError(
            f"{out} does not say which storage it is; end it with {', '.join(DATABASES)} for SQLite or with "
            f"{' or '.join(JOURNALS)} for a journal"
        )
    refuse_existing(out)
    try:
        from optuna import storages
    except ImportError:
        raise SpecificationError("an Optuna storage needs Optuna, which is not installed; pip install optuna") from None
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix in DATABASES:
        return storages.RDBStorage(f"sqlite:///{out.absolute()}")
    from optuna.storages.journal import JournalFileBackend

    return storages.JournalStorage(JournalFileBackend(str(out)))


class _Space:
    """The distributions of a benchmark's parameters, and the values of a trace in their terms."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], encode: Callable[[str, Any], Any]) -> None:
        self.distributions = distributions
        self._encode = encode

    @classmethod
    def of(cls, cell: Mapping[str, Any], trace: pd.DataFrame, tell: Callable[[str], None]) -> _Space:
        """Return the benchmark's own space, or what was observed when it cannot be loaded or expressed."""
        from zerowait.adapters.optuna.space import OptunaSpace, refuses_space

        specification = json.loads(cell["specification"])
        try:
            benchmark = benchmarks.load(
                cell["family"], task=_plain(cell["task"]), **specification.get("benchmark_parameters", {})
            )
            reason = refuses_space(benchmark.space)
        except ZerowaitError as error:
            reason = str(error)
        if reason is not None:
            tell(f"{cell['benchmark']}: the ranges of the parameters are those observed, because {reason}")
            return cls(*_observed(trace))
        parameters = OptunaSpace(benchmark.space).parameters

        def encode(name: str, value: Any) -> Any:
            parameter = parameters[name]
            return parameter.encode(_original(value, _allowed_values(parameter)))

        return cls({name: parameter.distribution for name, parameter in parameters.items()}, encode)

    def params(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of an evaluation; those that its configuration has not are left out."""
        params = {}
        for name in self.distributions:
            value = row.get(f"config.{name}")
            if value is None or (isinstance(value, float) and math.isnan(value)):
                if None not in getattr(self.distributions[name], "choices", ()):
                    continue
                value = None
            params[name] = self._encode(name, value)
        return params


def _allowed_values(parameter: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if parameter.values is not None:  # noqa: PD011 - not of pandas
        return parameter.values  # noqa: PD011 - the same
    if isinstance(parameter.distribution, CategoricalDistribution):
        return parameter.distribution.choices
    return int if isinstance(parameter.distribution, IntDistribution) else float


def _original(value: Any, allowed: Any) -> Any:
    """Return a value as the benchmark has it: a trace may hold an integer as 3.0, and a mixture of types as JSON."""
    if allowed in (int, float):
        return allowed(value)
    readings = [value]
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            readings.append(json.loads(value))
    for reading in readings:
        for candidate in allowed:
            if candidate == reading and isinstance(candidate, bool) == isinstance(reading, bool):
                return candidate
    raise SpecificationError(f"the trace has the value {value!r}, which the benchmark's space does not have: {allowed}")


def _observed(trace: pd.DataFrame) -> tuple[dict[str, BaseDistribution], Callable[[str, Any], Any]]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distributions: dict[str, BaseDistribution] = {}
    for column in trace.columns:
        if not column.startswith("config."):
            continue
        values = trace[column].dropna()
        name = column.removeprefix("config.")
        if values.dtype.kind not in "if":  # texts are objects or, from pandas 3 on, of a type of their own
            distributions[name] = CategoricalDistribution(sorted({str(value) for value in values}))
        elif (values % 1 == 0).all():
            distributions[name] = IntDistribution(int(values.min()), int(values.max()))
        else:
            distributions[name] = FloatDistribution(float(values.min()), float(values.max()))

    def encode(name: str, value: Any) -> Any:
        match distributions[name]:
            case CategoricalDistribution():
                return str(value)
            case IntDistribution():
                return int(value)
            case _:
                return float(value)

    return distributions, encode


def _trial(row: Mapping[str, Any], space: _Space, objectives: Sequence[str]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    params = space.params(row)
    value, fidelity = float(row["value"]), float(row["fidelity"])
    complete = row["status"] == "ok" and not math.isnan(value)
    attributes = {name: _plain(row[name]) for name in ATTRIBUTES}
    attributes["status"] = str(row["status"])
    attributes |= {name: _plain(number) for name, number in row.items() if name.startswith(("metric.", FIDELITY, FULL))}
    trial = create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
        values=[float(row[name if name == VALUE else f"metric.{name}"]) for name in objectives] if complete else None,
        params=params,
        distributions={name: space.distributions[name] for name in params},
        user_attrs={name: number for name, number in attributes.items() if number is not None},
        # Optuna knows intermediate values of one objective only.
        intermediate_values={int(fidelity): value} if complete and fidelity.is_integer() and not objectives[1:] else {},
    )
    trial.datetime_start = _date(row["start"])
    trial.datetime_complete = _date(row["end"])
    return trial


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _date(seconds: float) -> datetime:
    try:
        return EPOCH + timedelta(seconds=float(seconds))
    except OverflowError:
        raise SpecificationError(
            f"an evaluation is at the simulated time {seconds} s, which is after the year 9999 when the run begins in "
            f"{EPOCH.year}; Optuna cannot store it"
        ) from None


def _plain(value: Any) -> Any:
    """Return a number or text as JSON knows it; None for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value
