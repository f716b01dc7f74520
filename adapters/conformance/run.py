"""Runs an adapter for the conformance kit: in this process or in a fresh one, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pandas as pd
import psutil

from zerowait.adapters.adapter import Adapter, Mode
from zerowait.adapters.conformance.benchmark import Bowl, Testimony, testimonies
from zerowait.adapters.conformance.leak_check import watch
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.overhead import Overhead

_PROGRAM = "import sys; from zerowait.adapters.conformance.run import serve; serve(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that is to be made: the arguments of `Adapter.optimize` except its directory."""

    adapter: Adapter
    """What is examined."""
    benchmark: Bowl
    """What it optimizes."""
    mode: Mode
    """How it runs."""
    n_workers: int
    """Simulated workers."""
    seed: int
    """Run seed."""
    budget: Budget
    """When the run ends."""
    overhead: Overhead
    """How the optimizer's own time is charged."""
    cluster: Cluster | None = None
    """What the workers are like; None stands for perfect ones."""

    def run(self, directory: Path | None) -> pd.DataFrame:
        """Make the run and return its trace."""
        return self.adapter.optimize(
            self.benchmark,
            n_workers=self.n_workers,
            seed=self.seed,
            budget=self.budget,
            overhead=self.overhead,
            directory=directory,
            mode=self.mode,
            cluster=self.cluster,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did, as seen from outside."""

    trace: pd.DataFrame
    """What it returned."""
    directory: Path | None
    """Where it is stored, or None when it was not to be."""
    queries: tuple[Testimony, ...]
    """Every query that reached the objective."""
    leftovers: tuple[str, ...]
    """What it left behind."""
    seconds_to_end: float
    """Real seconds from the last query of the objective to the return of the run."""


def carry_out(trial: Trial, folder: Path, *, keep: bool) -> Outcome:
    """Make the run in this process, with a witness in `folder` and, if it is to be kept, its directory there too."""
    witness = folder / "witness"
    directory = folder / "run" if keep else None
    with watch() as leftovers:
        trace = replace(trial, benchmark=replace(trial.benchmark, witness=str(witness))).run(directory)
        ended = time.time()
    queried = witness.stat().st_mtime if witness.exists() else ended
    return Outcome(trace, directory, tuple(testimonies(str(witness))), tuple(leftovers), ended - queried)


@contextmanager
def fresh_process(trial: Trial, folder: Path, **environment: str) -> Iterator[FreshProcess]:
    """Make the run in a fresh interpreter with a process group of its own; its directory is `folder`/run.

    It is killed when the body ends.
    """
    trial = replace(trial, benchmark=replace(trial.benchmark, witness=str(folder / "witness")))
    (folder / "trial.pickle").write_bytes(cloudpickle.dumps(trial))
    # What this process can import, the fresh one can import too.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    # A file and not a pipe, which would stay open as long as a process that is left behind.
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM, str(folder)],
            env={**os.environ, "PYTHONPATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield FreshProcess(process, folder)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class FreshProcess:
    """A run in another process."""

    process: subprocess.Popen[bytes]
    """The interpreter."""
    folder: Path
    """Where it works."""

    @property
    def errors(self) -> str:
        """What it has written to its standard error."""
        return (self.folder / "errors").read_text(encoding="utf-8", errors="replace")

    @property
    def queries(self) -> int:
        """How many queries have reached the objective."""
        return len(testimonies(str(self.folder / "witness")))

    def described(self) -> str:
        """Return what it has said, and of it and of what it has started the state and where in the kernel it waits."""
        said = [self.errors]
        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(self.process.pid)
            for one in [whole, *whole.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, OSError):
                    place = Path(f"/proc/{one.pid}/wchan").read_text(encoding="ascii")
                    said.append(f"process {one.pid}, child of {one.ppid()}: {one.status()}, {place}")
        return "\n".join(said)

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal sends the signal to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def exit_code(self, timeout: float) -> int | None:
        """Wait for the process and return its exit code, or None when it runs for so many seconds more."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def serve(folder: str) -> None:
    """Make the run that lies in the folder: all that the fresh process does."""
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trial: Trial = cloudpickle.loads((Path(folder) / "trial.pickle").read_bytes())
    trial.run(Path(folder) / "run")


def travel_by_value(adapter: Adapter) -> None:
    """Have the modules of an adapter pickled with it where another process could not import them: those of tests."""
    for kind in type(adapter).__mro__:
        module = sys.modules.get(kind.__module__)
        if module is not None and hasattr(module, "__file__") and not _importable(module):
            cloudpickle.register_pickle_by_value(module)


def _importable(module: Any) -> bool:
    """Tell whether an interpreter with the same path would find this very module under its name."""
    parts = module.__name__.split(".")
    roots = [Path(entry).absolute() for entry in sys.path]
    for finder in sys.meta_path:  # an editable installation need not be on the path
        spec = None if finder.__module__.startswith("_pytest") else finder.find_spec(parts[0], None)
        if spec is not None and spec.submodule_search_locations is not None:
            roots += [Path(location).parent for location in spec.submodule_search_locations]
    names = Path(*parts).with_suffix(".py"), Path(*parts, "__init__.py")
    return any(Path(module.__file__) == root / name for root in roots for name in names)
