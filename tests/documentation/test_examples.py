"""Every program, command and study of the pages is run or read as a reader would copy it.

A `python` block without prompts is a whole program, and a `text` block right after it is what it prints (doctest's
`...` stands for anything). Blocks with prompts are doctests, in `test_pages`.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?=(?:\n+```text\n(.*?)^```$)?)", flags=re.DOTALL | re.MULTILINE)
TASKS = 4
"""How many tasks of a Slurm array a program that reads its number is started as."""


def blocks(*languages):
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, source, after in BLOCK.findall(text):
            if language in languages:
                first = text[: text.index(source)].count("\n") + 1
                yield pytest.param(source, after, id=f"{page.relative_to(ROOT)}:{first}")


def programs():
    for block in blocks("python"):
        if ">>>" not in block.values[0]:
            yield block


def absent(output):
    """Return why a program cannot run here, if that is so: a library or data that is not here."""
    lines = output.strip().splitlines() or [""]
    if re.match(r"ModuleNotFoundError|.*DataMissingError", lines[-1]):
        return lines[-1]
    return None


@pytest.mark.parametrize(("source", "printed"), list(programs()))
def test_a_program_of_a_page_runs_and_prints_what_the_page_says(source, printed, tmp_path):
    (tmp_path / "results").symlink_to(ROOT / "results")  # of a clone, where examples read a study
    (tmp_path / "example.py").write_text(source, encoding="utf-8")
    started = [
        subprocess.Popen(
            [sys.executable, "example.py"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SLURM_ARRAY_TASK_ID": str(task), "MPLBACKEND": "agg"},
        )
        for task in range(TASKS if "SLURM_ARRAY_TASK_ID" in source else 1)
    ]  # fmt: skip
    for process in started:
        output, errors = process.communicate(timeout=600)
        if process.returncode and (reason := absent(errors)):
            pytest.skip(reason)
        assert process.returncode == 0, errors
        if printed:
            assert doctest.OutputChecker().check_output(printed, output, doctest.ELLIPSIS), output


def command_lines():
    shown = {(block.id, re.sub(r"\s\\\n\s*", " ", block.values[0])) for block in blocks("sh", "bash")}
    shown |= {
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        for line in re.findall(r"^(?:    |\$ )(zerowait .*)$", page.read_text("utf-8"), flags=re.MULTILINE)
    }
    for place, source in sorted(shown):
        for line in re.findall(r"^zerowait .*$", source, flags=re.MULTILINE):
            yield pytest.param(line, id=f"{place}:{line}")


def test_every_block_of_a_page_says_what_it_is():
    # What is shown is tested here, the reference by the site; `bash` cannot be tried everywhere.
    allowed = {"python", "sh", "toml", "text", "bash", "{eval-rst}"}
    for page in PAGES:
        if page.parent.name != "site":
            fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert set(fences[::2]) <= allowed, page
            assert set(fences[1::2]) <= {""}, page


@pytest.mark.parametrize("line", list(command_lines()))
def test_a_command_of_a_page_exists_with_its_options(line):
    from zerowait.experiments.commands.cli import app

    words = [word.strip("[]") for word in shlex.split(line.split(" | ")[0], comments=True)[1:]]
    command = typer.main.get_command(app)
    while commands := getattr(command, "commands", None):
        assert words, line
        if words[0].startswith("-"):  # --help and --version
            break
        assert words[0] in commands, line
        command = commands[words.pop(0)]
    command.make_context(command.name, [word for word in words if word not in ("", "...")])


@pytest.mark.parametrize(("source", "_after"), list(blocks("toml")))
def test_settings_of_a_page_are_those_of_a_study_or_of_a_package(source, _after, tmp_path):
    from zerowait.experiments.studies.study import load_study

    settings = tomllib.loads(source)
    if {"optimizers", "workers"} <= set(settings):
        (tmp_path / "study.toml").write_text(source, encoding="utf-8")
        assert load_study(tmp_path / "study.toml").name == settings["name"]
