"""The tutorial is run as it stands: its files are written, its commands are typed, and they say what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorials" / "compare-with-baselines.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w]+\.(?:py|toml))` [^`]*?:\n\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
COMPARED = re.search(r"^compared: .*$", PAGE, flags=re.MULTILINE)[0]


@pytest.fixture
def typed(tmp_path):
    """Write the page's files and type its commands, each changed as told; return all that was said."""
    for name in ("mine.py", "pyproject.toml"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    # What pip would download is here, and the environment of the tests stays as it is.
    settings = {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    places = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])

    def type_(change=lambda command: command):
        said = ""
        assert COMMANDS[0].startswith("pip install zerowait ")
        for command in COMMANDS[1:]:
            result = subprocess.run(
                change(command), shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False,
                env={**os.environ, **settings, "PATH": path, "PYTHONPATH": places},
            )  # fmt: skip
            assert result.returncode == 0, (command, result.stdout, result.stderr)
            assert "left out" not in result.stderr
            said += result.stdout
        return said

    return type_


def test_the_optimizer_has_thirty_lines():
    assert len([line for line in FILES["mine.py"].splitlines() if line.strip()]) <= 30


def test_a_small_part_of_the_tutorial_says_what_the_page_says(typed):
    def small(command):
        if command.startswith(("zerowait list", "zerowait report", "zerowait plot")):
            return ":"  # seconds each, and they know nothing of archives
        command = command.replace("hartmann*'", "P<=4,seed<2'")
        return command.replace("zerowait run mine.toml", "zerowait run mine.toml --in-process")

    said = typed(small)
    # Not all of the archive's optimizers are on every task.
    beside = re.search(r"^compared: mine beside (.*): 1 benchmark, 1, 4 workers, 2 seeds$", said, flags=re.MULTILINE)[1]
    on_the_page = COMPARED.removeprefix("compared: mine beside ").partition(":")[0]
    assert {"dehb (baselines)", "random (baselines)"} <= {*beside.split(", ")} <= {*on_the_page.split(", ")}


@pytest.mark.stress
def test_the_tutorial_as_it_stands(typed, tmp_path):
    said = typed()
    assert f"\n{COMPARED}\n" in said
    written = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))
    assert written == tomllib.loads(FILES["mine.toml"])
    assert "\n150 of 150 cells are finished" in said
    assert "permutation test over 3 benchmarks" in said
    assert (tmp_path / "runs" / "mine-with-baselines" / "report.html").stat().st_size > 100_000
