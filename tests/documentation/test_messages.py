"""The page of messages quotes what the code says."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "start" / "messages.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.*)`$", PAGE, flags=re.MULTILINE)
HOLE = "\0"


def text_of(node):
    """Return a text of the source, joined from its parts; what is filled in later is a hole."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%(s|d|r|g)", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return HOLE


@functools.cache
def texts():
    folders = ("suite", "adapters", "benchmarks", "experiments", "plots")
    sources = [path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py")]
    kinds = (ast.Constant, ast.JoinedStr, ast.BinOp)
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return "\n".join({text_of(node) for node in nodes})


def is_said(message):
    return re.search(re.escape(message).replace(re.escape("..."), f"[^\n]*?{HOLE}[^\n]*?"), texts()) is not None


def test_there_are_messages():
    assert len(MESSAGES) > 20
    assert not is_said("n_workers is ..., and nobody ever called")


@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_says_what_the_page_quotes(message):
    assert is_said(message)


def test_each_message_has_a_reason_and_a_remedy():
    for section in re.split(r"^###? ", PAGE, flags=re.MULTILINE)[1:]:
        if section.startswith("`"):
            assert section.count("**Why.** ") == section.count("**Do.** ") == 1, section
