"""What a run's specification promises of its records, read from `run.json` and checked: anybody may have changed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import RunDirectoryError, SpecificationError, shown
from zerowait.suite.rules.fidelities import Fidelities
from zerowait.suite.rules.objectives import check_objectives
from zerowait.suite.rules.occupation import Workers, workers_of
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.rules.seeds import check_run_seed
from zerowait.suite.rules.specification import MAX_WORKERS
from zerowait.suite.sharing.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run's specification says, as far as its records must agree with it."""

    n_workers: int
    budget: Budget
    seed: int
    overhead: Overhead
    """The policy; one that was made of a function is known by its name alone."""
    continual: bool
    continues_after_death: bool
    slept: bool
    """Whether the workers really slept, so that times were measured and not computed."""
    shared_directory: bool
    """Whether the run may have workers on several hosts."""
    fidelities: Fidelities | None
    """Where there are several."""
    workers: Workers | None
    """What becomes of evaluations on their workers; None if these are perfect."""
    objectives: tuple[str, ...] = ()
    """What is minimised where that is more than the loss."""

    @classmethod
    def of(cls, specification: Mapping[str, Any]) -> RunSpec:
        """Read them from a specification.

        Raises
        ------
        SpecificationError
            It is no specification of a run; the message names the field.
        """
        n_workers = _field(specification, "n_workers", int)
        if not 1 <= n_workers <= MAX_WORKERS:
            raise SpecificationError(f"n_workers is {shown(n_workers)}; it must be from 1 to {MAX_WORKERS}")
        return cls(
            n_workers,
            Budget.from_json(specification),
            check_run_seed(_field(specification, "seed", int)),
            Overhead.from_json(_field(specification, "overhead", dict)),
            _field(specification, "continual", bool),
            specification.get("on_worker_death") == "continue",
            "slept" in specification,
            specification.get("shared_directory") is True,
            Fidelities.from_json(specification["fidelities"]) if "fidelities" in specification else None,
            workers_of(specification),
            check_objectives(specification.get("objectives")) or (),
        )

    @classmethod
    def read(cls, run: RunDirectory) -> RunSpec:
        """Read them from a run's directory.

        Raises
        ------
        RunDirectoryError
            There is no run, another format version wrote it, or `run.json` is damaged.
        """
        specification = run.read()["specification"]
        try:
            return cls.of(specification)
        except SpecificationError as error:
            raise RunDirectoryError(
                f"{run.specification} is damaged: its specification is not usable: {error}"
            ) from None

    def arrival(self, slot: int) -> float:
        """Return from when on the worker of a slot is there."""
        return 0.0 if self.workers is None else self.workers.cluster.arrival(slot)

    @property
    def comes_and_goes(self) -> bool:
        """Whether workers arrive later than others, or leave before."""
        return (
            self.workers is not None and (self.workers.cluster.arrivals or self.workers.cluster.departures) is not None
        )

    @property
    def is_modelled(self) -> bool:
        """Whether no real clock had a part in the times."""
        return not self.overhead.is_measured and not self.slept


def _field(table: Mapping[str, Any], name: str, *kinds: type) -> Any:
    if name not in table:
        raise SpecificationError(f"{name} is missing")
    if type(table[name]) not in kinds:
        allowed = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise SpecificationError(f"{name} is {shown(table[name])}; it must be of type {allowed}")
    return table[name]
