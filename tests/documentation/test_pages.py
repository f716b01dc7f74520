"""What the README and the docs show is run, and its output is checked."""

from __future__ import annotations

import csv
import doctest
import re
import shlex
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


def test_the_examples_are_as_short_as_the_readme_promises():
    code = [len([line for line in example.splitlines() if line.strip()]) for example in EXAMPLES]
    assert code[0] <= 15
    assert code[1] <= 12


def test_every_file_that_the_readme_names_exists():
    names = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(names) > 20
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_readme_is_short():
    assert len(README.splitlines()) < 120


def test_the_package_index_shows_the_readme_with_links_that_lead_somewhere(tmp_path, monkeypatch):
    markdown, core = pytest.importorskip("readme_renderer.markdown"), pytest.importorskip("hatchling.metadata.core")
    plugins = pytest.importorskip("hatchling.plugin.manager")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("GITHUB_REF_NAME", "v1.2.3")
    metadata = core.ProjectMetadata(str(ROOT), plugins.PluginManager()).core
    page = markdown.render(metadata.readme)
    assert page is not None
    assert "<table>" in page
    targets = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert len(targets) > 25
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    picture = "https://raw.githubusercontent.com/owner/name/v1.2.3/results/quickstart/performance_over_time.png"
    assert picture in targets
    assert "https://github.com/owner/name/blob/v1.2.3/docs/design.md" in targets
    assert metadata.urls["Documentation"] == "https://owner.github.io/name/"


def test_the_readme_has_the_measured_numbers():
    measured = speed()
    cells = {
        row[0]: row[1:] for row in table_of(README) if row[0].startswith("an evaluation")
    }  # fmt: skip
    contenders = ("zerowait", "mfhpo-simulator", "Syne Tune")
    for row, way in (("processes", "pool"), ("ask and tell", "ask and tell")):
        shown = next(cells[name] for name in cells if row in name)
        assert shown == [in_words(measured.get((way, name, "8")), " us") for name in contenders]


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


def table_of(page):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]


def speed():
    with (ROOT / "results" / "verification" / "speed.csv").open(encoding="utf-8") as file:
        return {(r["way"], r["contender"], r["workers"]): r["us_per_evaluation"] for r in csv.DictReader(file)}


def in_words(number, unit=""):
    return f"{float(number):,.{0 if float(number) >= 100 else 1}f}{unit}" if number else "-"


def test_the_comparison_with_others_has_the_measured_numbers():
    table, measured = table_of((ROOT / "docs" / "start" / "others.md").read_text(encoding="utf-8")), speed()
    first = next(i for i, row in enumerate(table) if row[0] == "workers")
    counts = table[first][1:]
    ways = {"**processes**": "pool", "**ask and tell**": "ask and tell"}
    way, compared = None, 0
    for name, *cells in table[first + 2 :]:
        if name in ways:
            way = ways[name]
            continue
        contender = "bare" if name.startswith("a bare") else re.sub(r" [\d.]+$", "", name)
        assert cells == [in_words(measured[way, contender, count]) for count in counts]
        compared += 1
    assert compared == 7


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
