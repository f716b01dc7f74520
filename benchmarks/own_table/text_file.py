"""Tables in text files: every cell is read as the text that it is, and nothing that does not fit is passed over."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zerowait.benchmarks.own_table.cells import (
    LARGEST_INTEGER,
    TOO_LARGE,
    Cells,
    Column,
    boolean_of,
    finite_parameter,
    kind_of_texts,
    number_of,
    refuse,
    require_present,
    texts_as_codes,
)
from zerowait.benchmarks.own_table.columns import Meaning, shown_list
from zerowait.suite.rules.errors import SpecificationError, one_line, shown

LONGEST_LINE = 1 << 24
"""Characters of a line; a file without line breaks is no table."""
LARGEST_TEXT = 1 << 33
"""Characters of a file, once it is unpacked."""


class TextTable:
    """The cells of a text file, column by column; each column holds its distinct texts once."""

    def __init__(self, names: list[str], texts: list[list[str]], index: list[NDArray[Any]], meaning: Meaning) -> None:
        self.names = names
        self._texts = texts
        self._index = index
        self._decimal = meaning.decimal

    def __len__(self) -> int:
        return len(self._index[0])

    def parameter(self, name: str, *, categorical: bool, conditional: bool) -> Cells:
        """Return a column of numbers, booleans or texts."""
        texts, index = self._column(name)
        empty = texts.index("") if "" in texts else -1
        absent = index == empty
        require_present(absent, name, conditional=conditional)
        places = [i for i in range(len(texts)) if i != empty]
        present = [self._pointed(texts[i]) for i in places]
        renumbered = np.zeros(len(texts), dtype=np.int64)
        renumbered[places] = np.arange(len(places))
        if categorical:
            return texts_as_codes([texts[i] for i in places], renumbered[index], absent)
        kind, odd, why = kind_of_texts(present)
        if odd is not None:
            row = int((index == places[odd]).argmax())
            remedy = f"{why}; correct it, or name the column in categorical"
            refuse(row, texts[places[odd]], name, f"it {remedy}", int((index == places[odd]).sum()) - 1)
        if kind == "category":
            return texts_as_codes([texts[i] for i in places], renumbered[index], absent)
        if kind == "integer":  # a float takes 2**53 + 1 for 2**53
            large = next((i for i, text in enumerate(present) if abs(int(text)) > LARGEST_INTEGER), None)
            if large is not None:
                row = int((index == places[large]).argmax())
                refuse(row, present[large], name, TOO_LARGE)
        value_of = boolean_of if kind == "boolean" else float
        numbers = np.array([value_of(text) for text in present])[renumbered[index]]
        return finite_parameter(kind, numbers, absent, name)

    def numbers(self, name: str) -> Column:
        """Return a column of numbers, NaN where a cell is empty."""
        texts, index = self._column(name)
        values = np.empty(len(texts))
        for i, text in enumerate(texts):
            number = number_of(self._pointed(text)) if text else np.nan
            if number is None:
                row = int((index == i).argmax())
                refuse(row, text, name, self._remedy(text), int((index == i).sum()) - 1)
            values[i] = number
        column: Column = values[index]
        return column

    def _remedy(self, text: str) -> str:
        if self._decimal == "." and number_of(text.replace(",", ".", 1)) is not None:
            return "it must hold numbers with a decimal point; correct it, or give decimal=','"
        return "it must hold numbers, written such as 1000 or 0.25; leave a cell empty where there is none"

    def _pointed(self, text: str) -> str:
        """Return a cell with a decimal point; where the sign is the comma, a point is none."""
        return text if self._decimal == "." else text.translate({ord(","): ".", ord("."): ","})

    def _column(self, name: str) -> tuple[list[str], NDArray[Any]]:
        places = [i for i, known in enumerate(self.names) if known == name]
        if not places:
            known = shown_list(", ".join(repr(known) for known in self.names if known))
            only = self.names[0] if len(self.names) == 1 else ""
            other = next((sign for sign in ";\t|," if sign in only), None)
            remedy = "" if other is None else f"; give separator={other!r}"
            raise SpecificationError(f"there is no column {name!r}; the table has {known}{remedy}")
        if len(places) > 1:
            raise SpecificationError(f"the table has {len(places)} columns {name!r}; rename all but one")
        return self._texts[places[0]], self._index[places[0]]


def read_text(path: Path, file: IO[bytes], meaning: Meaning) -> TextTable:
    """Return the cells of an open text file.

    Spaces around a cell are no part of it. Lines without anything are passed over.

    Raises
    ------
    SpecificationError
        A row has more or fewer cells than the header, a quote is left open, the text is not UTF-8, or the compression
        is damaged; one line that names the file and the row.
    """
    separator = meaning.separator or ("\t" if ".tsv" in "".join(path.suffixes[-2:]) else ",")
    if separator == meaning.decimal:
        raise SpecificationError(
            f"decimal is {meaning.decimal!r}, which separates the cells of {path}; give another separator"
        )
    header: list[str] | None = None
    known: list[dict[str, int]] = []
    columns: list[array[int]] = []
    n_rows = 0
    with _told(path, lambda: n_rows):
        stream: Any = gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(
                _lines(text, path), delimiter=separator, strict=True, skipinitialspace=separator not in " \t"
            )
            for row in reader:
                if not row:
                    continue
                if header is None:
                    header = [name.strip() for name in row]
                    known = [{} for _ in header]
                    columns = [array("q") for _ in header]
                    continue
                if len(row) != len(header):
                    raise SpecificationError(
                        f"row {n_rows} of {path} has {len(row)} cells and the header {len(header)} names (the "
                        "first row is 0); every row must have one cell for each name"
                    )
                for cell, distinct, column in zip(row, known, columns, strict=True):
                    column.append(distinct.setdefault(cell.strip(), len(distinct)))
                n_rows += 1
    if header is None:
        raise SpecificationError(f"the file {path} is not a table: it is empty")
    _refuse_line_breaks(known, columns, path)
    return TextTable(header, [list(one) for one in known], [np.array(one, dtype=np.int64) for one in columns], meaning)


def _refuse_line_breaks(known: list[dict[str, int]], columns: list[array[int]], path: Path) -> None:
    for distinct, column in zip(known, columns, strict=True):
        for cell, place in distinct.items():
            if "\n" in cell or "\r" in cell:
                raise SpecificationError(
                    f"row {column.index(place)} of {path} has a cell with a line break, {shown(cell)} (the "
                    "first row is 0); close the quote that was left open, or take the line break out"
                )


def _lines(text: IO[str], path: Path) -> Iterator[str]:
    size = 0
    while line := text.readline(LONGEST_LINE):
        size += len(line)
        if len(line) == LONGEST_LINE or size > LARGEST_TEXT:
            what = f"a line of it has more than {LONGEST_LINE:,} characters"
            if size > LARGEST_TEXT:
                what = f"it has more than {LARGEST_TEXT:,} characters"
            raise SpecificationError(f"the file {path} is not a table: {what}; save it as Parquet")
        if "\0" in line:
            raise SpecificationError(
                f"the file {path} is not a text: it holds the byte 0; save the table as UTF-8 or as Parquet"
            )
        yield line


@contextmanager
def _told(path: Path, rows: Any) -> Iterator[None]:
    """Turn what decompressors and parsers raise into one line."""
    try:
        yield
    except SpecificationError:
        raise
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SpecificationError(
            f"the file {path} is no UTF-8: after row {rows()} or so (the first row is 0) comes the byte "
            f"0x{byte:02x}; save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = one_line(error)
        raise SpecificationError(f"the file {path} is cut or damaged: {what}; compress the table again") from None
    except csv.Error as error:
        raise SpecificationError(
            f"the file {path} is not a table: {error}, in row {rows()} or behind it (the first row is 0)"
        ) from None
