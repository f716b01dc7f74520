"""Pages of the documentation whose numbers a command writes, between two lines of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zerowait.suite.rules.errors import SpecificationError


def filled(text: str, begin: str, end: str, numbers: str) -> str:
    """Return a page with the part between its two lines replaced.

    Raises
    ------
    SpecificationError
        The page does not have both lines, once each.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SpecificationError(f"the page needs the lines {begin!r} and {end!r}, once each and in this order")
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", flags=re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{numbers}\n{end}", text)


def read_page(page: Path, begin: str) -> str:
    """Return the text of a page; `begin` is the line that it needs.

    Raises
    ------
    SpecificationError
        It cannot be read.
    """
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecificationError(
            f"the page cannot be read ({error.strerror}); name one that has the line {begin!r}"
        ) from None


def markdown_table(table: pd.DataFrame, columns: Mapping[str, Any]) -> str:
    """Return a table as Markdown, a line a row; `columns` are functions, by heading, that return what a row shows."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(show(row) for show in columns.values())} |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def table_by_workers(table: pd.DataFrame, texts: Sequence[str], index: Sequence[str], shown: Mapping[str, Any]) -> str:
    """Return texts, one of each row, as a Markdown table with a column for each number of workers.

    `index` are the columns that a row of it is about, and `shown` what stands before the texts, as in `markdown_table`.
    """
    wide = table.assign(text=texts).pivot_table(index=index, columns="n_workers", values="text", aggfunc="first")
    by_workers = {f"P = {n}": lambda row, k=k: row[k] for k, n in enumerate(wide.columns, len(index))}
    return markdown_table(wide.reset_index(), {**shown, **by_workers})
