"""What the README and the docs show is run, and its output is checked."""

from __future__ import annotations

import csv
import doctest
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("page", sorted(str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")))
def test_the_examples_of_a_page_give_what_the_page_says(page):
    result = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert result.failed == 0


def run(source, folder):
    script = folder / "example.py"
    script.write_text(source, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=600, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_readmes_process_pool_example_runs(tmp_path):
    output = run(EXAMPLES[0], tmp_path)
    assert output.startswith("0.0 at ")
    assert "[100 rows x 4 columns]" in output


def test_the_readmes_ask_and_tell_example_runs(tmp_path):
    assert "[10000 rows x" in run(EXAMPLES[1], tmp_path)


def test_the_examples_are_as_short_as_the_readme_promises():
    code = [len([line for line in example.splitlines() if line.strip()]) for example in EXAMPLES]
    assert code[0] <= 15
    assert code[1] <= 12


def test_every_file_that_the_readme_names_exists():
    for name in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"`(experiments/[\w./]+)`", README):
        assert (ROOT / name).exists(), name


def test_the_reference_describes_every_public_name():
    import zerowait
    from zerowait.suite.rules import errors

    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    absent = [name for name in zerowait.__all__ if not hasattr(errors, name) and f"zerowait.{name}\n" not in page]
    assert absent == []
    assert ".. automodule:: zerowait.suite.rules.errors" in page


def test_the_citation_names_the_version():
    from zerowait import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_comparison_with_others_has_the_measured_numbers():
    page = (ROOT / "docs" / "start" / "others.md").read_text(encoding="utf-8")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    counts = next(row for row in table if row[0] == "workers")[1:]
    with (ROOT / "results" / "verification" / "speed.csv").open(encoding="utf-8") as file:
        measured = {(r["way"], r["contender"], r["workers"]): r["us_per_evaluation"] for r in csv.DictReader(file)}
    ways = {"**processes**": "pool", "**ask and tell**": "ask and tell"}
    way, compared = None, 0
    for name, *cells in table[table.index(["workers", *counts]) + 1 :]:
        way = ways.get(name, way)
        if name in ways or set(name) == {"-"}:
            continue
        contender = "bare" if name.startswith("a bare") else re.sub(r" [\d.]+$", "", name)
        for count, cell in zip(counts, cells, strict=True):
            number = measured[way, contender, count]
            digits = 0 if float(number or 0) >= 100 else 1
            assert cell == (f"{float(number):,.{digits}f}" if number else "-")
            compared += 1
    assert compared == 7 * 7


@pytest.mark.skipif(find_spec("optuna") is None, reason="the tour compares with Optuna, which is not installed")
@pytest.mark.parametrize("done", [("run",), pytest.param(("run", "plot", "report"), marks=pytest.mark.stress)], ids=str)
def test_the_tour_is_what_its_commands_do(done, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from zerowait.experiments.commands.cli import app

    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "start" / "tour.md").read_text(encoding="utf-8")
    Path("mine.toml").write_text(re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)[0], encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^zerowait (.*)$", page, flags=re.MULTILINE)]
    assert [words[0] for words in commands] == ["run", "plot", "plot", "plot", "report"]
    for words in commands:
        if words[0] in done:
            # The processes of `run` need seconds to start; what they do is tested where studies are.
            result = CliRunner().invoke(app, words + ["--in-process"] * (words[0] == "run"))
            assert result.exit_code == 0, result.output
            if words[0] == "run":
                assert "12 of 12 cells are finished (12 now, 0 before)" in result.output
                assert "simulated 18.8 days in " in result.output
    made = {path.name for path in (tmp_path / "runs" / "mine").rglob("*.*")}
    assert "performance_over_time.png" in made
    if "report" in done:
        assert {"rank_over_time.png", "speed_up.pdf", "report.html"} <= made
