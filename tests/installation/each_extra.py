"""Installs zerowait with one library at a time into a fresh environment each, and runs its optimizers there.

make verify-installation        (minutes; the network; a few GB in the temporary folder, removed again)
python tests/installation/each_extra.py smac dehb
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fresh import ROOT, Environment, say


@dataclass(frozen=True)
class Extra:
    """One extra of the distribution."""

    name: str
    library: str
    """What the adapters that it is for call their library."""
    optimizers: tuple[str, ...]
    """Those that must run with it."""
    before: tuple[str, ...] = ()
    """Requirements to install by themselves, first."""
    constraints: str = "constraints.txt"
    """The versions to install."""


EXTRAS = (
    Extra("optuna", "optuna", ("optuna-tpe", "optuna-random", "optuna-cmaes", "optuna-hyperband")),
    Extra("smac", "smac", ("smac-hpo", "smac-blackbox", "smac-mf", "smac-hyperband")),
    Extra("hpbandster", "hpbandster", ("bohb", "hyperband")),
    # Its NumPy is not that of the others.
    Extra("dehb", "dehb", ("dehb",), constraints="adapters/environments/requirements/dehb.txt"),
    # Without this, torch's newest build with its GPU packages follows.
    Extra(
        "neps",
        "neural-pipeline-search",
        ("neps-random", "neps-hyperband", "neps-asha", "neps-priorband"),
        before=("torch==2.13.0",),
    ),
)

PROGRAM = """
import json, sys
from zerowait import adapters, benchmarks
from zerowait.adapters.environments.environments import LIBRARIES, pins
from zerowait.suite import Budget, Overhead
if __name__ == "__main__":
    (library, optimizers) = json.loads(sys.argv[1])
    for environment in LIBRARIES:
        assert pins(environment), f"the requirements of {environment} are not in the wheel"
    here = [found.name for found in adapters.available() if found.library == library and found.installed]
    assert set(optimizers) <= set(here), f"{set(optimizers) - set(here)} cannot run; {here} can"
    for name in here:
        adapter = adapters.load(name)
        for mode in sorted(adapter.modes):
            trace = adapter.optimize(
                benchmarks.load("branin"), n_workers=2, seed=0, budget=Budget(max_evaluations=12),
                overhead=Overhead.none(), mode=mode,
            )
            assert len(trace) == 12 and (trace["status"] == "ok").all(), trace
            print(f"  {name}, {mode}: 12 evaluations, best value {trace['value'].min():.3f}", flush=True)
"""


def verify(extra: Extra) -> None:
    """Install the extra into a fresh environment and run its optimizers; raise when anything fails."""
    with tempfile.TemporaryDirectory(prefix=f"zerowait-{extra.name}-") as name:
        environment = Environment(Path(name), extra.constraints)
        began = time.monotonic()
        for requirement in extra.before:
            environment.pip("install", "-q", requirement)
        environment.pip("install", "-q", f"{ROOT}[{extra.name}]")
        environment.pip("check")
        installed = time.monotonic()
        say(f"  installed in {installed - began:.0f} s")
        program = environment.folder / "program.py"
        program.write_text(PROGRAM)
        environment.run(environment.python, program, json.dumps([extra.library, extra.optimizers]))
        say(f"  ran in {time.monotonic() - installed:.0f} s")


def main(names: list[str]) -> int:
    """Verify these extras, all by default; return 1 when one of them failed."""
    # A time limit from outside ends it like an interrupt: the temporary folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = {extra.name: extra for extra in EXTRAS}
    unknown = [name for name in names if name not in known]
    if unknown:
        say(f"there is no extra {unknown[0]!r}; known are {', '.join(known)}")
        return 2
    failed = []
    for name in names or known:
        say(f"zerowait[{name}]")
        try:
            verify(known[name])
        except (AssertionError, subprocess.TimeoutExpired) as error:
            say(f"  FAILED: {error}")
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "every extra runs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
