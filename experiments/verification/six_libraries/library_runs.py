"""One run of an optimizer in its native mode, really slept or simulated: the same lines but for one class."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerowait import adapters
from zerowait.adapters.adapter import Adapter, Run
from zerowait.adapters.environments.isolation import run_isolated
from zerowait.benchmarks.protocol import Wrapped
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.trace import ATTRIBUTE
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.evaluation import Evaluation
from zerowait.suite.rules.identity import canonical_json, digest
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.simulator import Simulator

LEAST_FACTOR, GREATEST_FACTOR = 0.5, 1.5
"""Between them lies what a spread multiplies the runtimes of a configuration by."""


class Shortened(Wrapped):
    """A benchmark with runtimes short enough to be slept, opened in every process before its first evaluation.

    Opening a surrogate takes longer than some of the trainings. A slept training that begins with it ends late; the
    simulator charges no training for it. So it happens when the benchmark arrives in a process, by pickle or by fork,
    where it delays both ways alike.

    Parameters
    ----------
    benchmark
        What is evaluated.
    scale
        Real seconds for a second of the benchmark.
    spread
        Whether each configuration has a factor of its own, drawn from its values. Without, a benchmark whose runtime
        depends on the fidelity alone lets workers end at the same time, in an order that no two real runs share.
    """

    def __init__(self, benchmark: Any, scale: float, *, spread: bool) -> None:
        super().__init__(benchmark)
        self.scale = scale
        self.spread = spread

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Arrive in a process."""
        self.__dict__.update(state)
        self.open()

    def open(self) -> None:
        """Evaluate once, unless this process has done so."""
        if _Opened.by != os.getpid():
            _Opened.by = os.getpid()
            self.benchmark(dict(self.benchmark.space.get_default_configuration()))

    def __call__(
        self, config: Mapping[str, Any], *, fidelity: float | None = None, seed: int | None = None
    ) -> Evaluation:
        """Evaluate as the benchmark does, in less time."""
        evaluation = self.benchmark(config, fidelity=fidelity, seed=seed)
        factor = self.scale * (_factor(config) if self.spread else 1.0)
        return Evaluation(evaluation.value, evaluation.runtime * factor, evaluation.metrics)


class _Opened:
    """Which process has opened its benchmark; a fork inherits the note and not what it says."""

    by: int | None = None


def _factor(config: Mapping[str, Any]) -> float:
    entropy = int.from_bytes(digest(canonical_json(config)), "big")
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    return float(rng.uniform(LEAST_FACTOR, GREATEST_FACTOR))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did."""

    trace: pd.DataFrame
    """Its evaluations in delivery order, with `content`; times are real seconds, also where they were simulated."""
    wall: float
    """Real seconds until the last delivery."""
    idle_releases: int
    """How many results were delivered because free workers were taken for idle."""

    @property
    def makespan(self) -> float:
        """When the last result was delivered, in seconds."""
        return float(self.trace["end"].max())

    @property
    def lateness(self) -> float:
        """The longest that an evaluation took longer than its runtime, in seconds: what a sleeper overslept."""
        return float(self._late().max())

    def overslept(self, workers: int) -> float:
        """Return how much later the run ends by what its sleepers overslept, a worker on average, in seconds."""
        return float(self._late().sum()) / workers

    def _late(self) -> pd.Series[float]:
        return self.trace["end"] - self.trace["start"] - self.trace["runtime"]


def run_library(
    optimizer: str,
    *,
    simulated: bool,
    benchmark: Shortened,
    workers: int,
    evaluations: int,
    seed: int,
    directory: Path | None,
) -> Ran:
    """Run an optimizer in its native mode in a process of its own.

    Parameters
    ----------
    optimizer
        Its name.
    simulated
        Whether evaluations are simulated under measured overhead; otherwise each of them really sleeps its runtime.
    benchmark
        What is optimized.
    workers, evaluations
        How many at once, and how many in all.
    seed
        Of the run.
    directory
        Where the run's folder is made; None for the system's temporary one.
    """
    adapter = adapters.load(optimizer)
    with tempfile.TemporaryDirectory(prefix="zerowait-verify-", dir=directory) as folder:
        described = Run(
            benchmark, workers, seed, Budget(evaluations), Overhead.measured(), Path(folder).absolute() / "run",
            continual=adapter.continues,
        )  # fmt: skip
        return run_isolated(_run, adapter, described, simulated)


def _run(adapter: Adapter, run: Run, simulated: bool) -> Ran:  # noqa: FBT001 - crosses to another process by position
    """Let the library's own machinery call what sleeps, or what simulates; nothing else differs."""
    benchmark = run.benchmark
    assert isinstance(benchmark, Shortened)
    benchmark.open()
    os.register_at_fork(after_in_child=benchmark.open)
    arguments = {**run.specification(), **adapter.simulator_options}
    if not simulated:
        del arguments["overhead"]  # it passes by itself
    with adapter.session(run), (Simulator if simulated else NaiveRun)(benchmark, **arguments) as simulator:
        adapter.native(run, simulator)
        trace = simulator.trace()
    trace["content"] = _contents(trace)
    return Ran(trace, float(trace["wall_time"].max()), int(trace.attrs[ATTRIBUTE]["idle_releases"]))


def _contents(trace: pd.DataFrame) -> list[str]:
    """Return a digest of each configuration's values; a library's own ids mean other configurations in another run."""
    columns = [name for name in trace.columns if str(name).startswith("config.")]
    rows = trace[columns].itertuples(index=False, name=None)
    return [digest(repr(row)).hex()[:12] for row in rows]
