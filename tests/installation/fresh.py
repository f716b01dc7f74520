"""A fresh environment outside the repository: what is installed there, and what runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900
"""Real seconds that one step may take."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - the program's output


class Environment:
    """A virtual environment in a folder, which also is the current folder of what runs in it.

    Parameters
    ----------
    folder
        Where; made if it is not there.
    constraints
        The versions to install, a file of the repository; None: the newest that the ranges allow.
    """

    def __init__(self, folder: Path, constraints: str | None = "constraints.txt") -> None:
        self.folder = folder
        self.python = folder / "env" / "bin" / "python"
        inherited = ("PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT")
        self.variables = {
            **{key: value for key, value in os.environ.items() if key not in inherited},
            **({} if constraints is None else {"PIP_CONSTRAINT": str(ROOT / constraints)}),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            # Nothing installed elsewhere may be found: only what is installed here counts.
            "ZEROWAIT_ENVIRONMENTS": str(folder / "environments"),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
        (self.site,) = (folder / "env" / "lib").glob("python*/site-packages")

    def run(self, *command: str | Path, cwd: Path | None = None, **variables: str) -> None:
        """Run a command in the environment's folder; raise when it fails."""
        self._start(command, cwd, variables, capture=False)

    def said(self, *command: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Run a command in the environment's folder and return what it printed; raise when it fails."""
        return self._start(command, cwd, variables, capture=True).stdout

    def pip(self, *arguments: str | Path) -> None:
        """Run pip for the environment."""
        self.run(sys.executable, "-m", "pip", "--python", self.python, *arguments)

    def share_libraries(self) -> None:
        """Let it import what the running interpreter has installed, but for editable installations."""
        (self.site / "shared-libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def files(self) -> frozenset[str]:
        """Return the names of all installed files."""
        found = (path.relative_to(self.folder) for path in (self.folder / "env").rglob("*") if path.is_file())
        return frozenset(str(path) for path in found if "__pycache__" not in path.parts)

    def _start(
        self, command: tuple[str | Path, ...], cwd: Path | None, variables: dict[str, str], *, capture: bool
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*map(str, command)], check=False, cwd=cwd or self.folder, env={**self.variables, **variables}, text=True,
            timeout=LIMIT, stdout=subprocess.PIPE if capture else None, stderr=subprocess.PIPE if capture else None,
        )  # fmt: skip
        if done.returncode:
            shown = f"\n{done.stdout}\n{done.stderr}" if capture else ""
            raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}{shown}")
        return done
