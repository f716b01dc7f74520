"""The first three experiments, quickly, in other folders (file systems) and under other interpreters.

This interpreter is tried in every folder, further interpreters in the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from zerowait.experiments.verification import Request
from zerowait.experiments.verification.outcome import Gate, Outcome
from zerowait.suite.rules.errors import SpecificationError

NAMES = ("hand-computed", "order-match", "runtime-reduction")
SPEED = "speed-up"
"""In the names of gates that are not counted here."""
PATIENCE = 300.0
"""Real seconds for one of them."""
_COMMAND = "from zerowait.experiments.commands.cli import main; main()"


def run(request: Request) -> Outcome:
    """Run every experiment under every interpreter in every folder."""
    folders = request.directories or (Path(tempfile.gettempdir()),)
    for folder in folders:
        if not folder.is_dir():
            raise SpecificationError(f"there is no folder {folder}; give --directory one that exists")
    here = Path(sys.executable)
    places = [(here, folder) for folder in folders] + [(python, folders[0]) for python in request.pythons]
    versions = {python: version_of(python) for python, _ in places}
    rows = []
    for python, folder in places:
        for name in NAMES:
            request.tell(f"{name} under Python {versions[python]} on {file_system(folder)}")
            rows.append({"python": versions[python], "file_system": file_system(folder), "experiment": name,
                         **_verify(python, folder, name)})  # fmt: skip
    table = pd.DataFrame(rows)
    gates = [
        Gate(f"{name}: places in which all its gates passed", float(group["passed"].sum()), "==", len(group))
        for name, group in table.groupby("experiment", sort=False)
    ]
    note = "speed-ups are not counted: they say how fast the machine is, and that is the same in every place"
    return Outcome("portability", table, gates, [note])


def version_of(python: Path) -> str:
    """Return the version of an interpreter that has zerowait.

    Raises
    ------
    SpecificationError
        There is none, or it has no zerowait.
    """
    code = "import platform, zerowait.experiments, zerowait.suite; print(platform.python_version())"
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            [str(python), "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except OSError as error:
        raise SpecificationError(f"{python} cannot be run: {error.strerror}; give --python an interpreter") from None
    if done.returncode:
        last = (done.stderr.splitlines() or ["it said nothing"])[-1]
        raise SpecificationError(
            f"{python} has no zerowait ({last}); install it there: {python} -m pip install zerowait"
        )
    return done.stdout.strip()


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder, such as `ext4`; `unknown` when nothing tells."""
    import psutil

    path = folder.resolve()
    mounts = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else "unknown"


def _verify(python: Path, folder: Path, name: str) -> dict[str, Any]:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="zerowait-verify-") as out:
        command = [str(python), "-c", _COMMAND, "verify", name, "--directory", str(folder.resolve()), "--out", out]
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter that the user named
                command, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return {"passed": False, "seconds": PATIENCE, "failed": f"it took longer than {PATIENCE:g} s"}
        written = Path(out) / f"{name}.json"
        if written.exists():
            gates = [g for g in json.loads(written.read_text(encoding="utf-8"))["gates"] if SPEED not in g["name"]]
            failed = "; ".join(f"{g['name']}: {g['measured']}" for g in gates if not g["passed"])
        else:
            failed = (done.stderr.splitlines() or ["it said nothing"])[-1]
    return {"passed": not failed, "seconds": round(time.perf_counter() - began, 1), "failed": failed}
