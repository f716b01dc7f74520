"""The page for authors of optimizers: its example is short, passes the kit, and says what is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from zerowait.adapters.adapter import Adapter
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.registry import BUILT_IN, ENTRY_POINT_GROUP, available

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "add-your-optimizer.md").read_text(encoding="utf-8")
WORDS = {"native": "native", "ask_tell": "ask and tell", "native-simulated": "native on simulated workers"}
INDEX = (ROOT / "docs" / "optimizers" / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL).group(1)


def test_the_example_has_thirty_lines():
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) == 30
    assert max(map(len, EXAMPLE.splitlines())) <= 120


def test_the_example_passes_the_conformance_kit(tmp_path):
    (tmp_path / "test_crossing.py").write_text(EXAMPLE, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_crossing.py"],
        capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "failed" not in result.stdout


def test_every_attribute_that_the_page_names_exists():
    assert f'[project.entry-points."{ENTRY_POINT_GROUP}"]' in PAGE
    said, examined = re.findall(r"\n\|---\|.*?\n((?:\|.*\n)+)", PAGE)
    for table, kind in ((said, Adapter), (examined, AdapterConformance)):
        names = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert len(names) >= 5
        for name in names:
            assert name in {*kind.__annotations__, *dir(kind)}, name


def test_the_index_lists_every_optimizer_with_its_modes_and_its_page():
    rows = {
        row[0]: row for row in re.findall(r"\| `([\w-]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| \[.*\]\((.*)\) \|", INDEX)
    }
    assert set(rows) == set(BUILT_IN)
    for descriptor in available():
        if descriptor.name in BUILT_IN and descriptor.modes:
            _, _, modes, fidelity, page = rows[descriptor.name]
            assert modes == ", ".join(WORDS[mode] for mode in descriptor.modes)
            assert (fidelity == "full trainings") == (not descriptor.uses_fidelity)
            assert (ROOT / "docs" / "optimizers" / page).exists(), page


def test_the_links_of_the_pages_lead_somewhere():
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), f"{page.name}: {name}"
