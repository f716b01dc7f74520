"""What the README and the docs show is run, and its output is checked."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
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
