"""The notebook runs from the first cell to the last, and gives what is stored in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorials" / "two-optimizers.ipynb"


def texts(notebook):
    """Return what cells print and show as text; pictures have other bytes with other fonts."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            if output.output_type == "stream":
                shown.append("".join(output.text))
            elif "image/png" in output.data:
                shown.append("a picture")
            else:
                shown.append("".join(output.data["text/plain"]))
    return shown


def test_the_notebook_gives_what_it_shows(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("optuna")
    commands = Path(sys.executable).parent  # where `zerowait` is
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    stored = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    assert texts(notebook) == texts(stored)
    assert texts(stored).count("a picture") == 2


def test_the_notebook_is_small():
    assert NOTEBOOK.stat().st_size < 150_000
