"""How a user's table becomes an Arrow file in the cache: once for what it holds and how it is to be understood."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zerowait.benchmarks.data.content import file_digest
from zerowait.benchmarks.own_table import store as storage
from zerowait.benchmarks.own_table.cells import INACTIVE, Column
from zerowait.benchmarks.own_table.columns import Columns, Meaning, labelled
from zerowait.benchmarks.own_table.space import Match, inferred_space, scales, space_as_text, space_from_text
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.sharing.regular_files import open_regular

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from zerowait.benchmarks.own_table.frame import FrameTable
    from zerowait.benchmarks.own_table.rows import Sorted, Table

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
SCALED = "scaled: "
"""Before the name of a parameter: its positions between the bounds, for "nearest"."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a table is converted: all arguments of `from_dataframe` but the table itself."""

    path: Path | None
    """The file; None for a DataFrame, which cannot be read again."""
    columns: Columns
    match: Match
    log: tuple[str, ...]
    space: str | None
    """A given space as JSON."""
    label: str
    meaning: Meaning = field(default_factory=Meaning)
    """How its cells are to be understood."""

    def key_of(self, table: Any) -> str:
        """Convert the table unless that has been done before, and return its key in the cache."""
        with labelled(self.label):
            if self.path is None:
                return self._convert(_of_frame(table), None)
            with opened(self.path) as file:
                key = storage.key_of(self._arguments(), file_digest(self.path))
                if not storage.place(key).exists():
                    self._convert(read_table(self.path, file, self.meaning), key)
            return key

    def rows(self, table: Table) -> tuple[Sorted, ConfigurationSpace]:
        """Return the rows of a table and its search space, checked."""
        from zerowait.benchmarks.own_table.given_space import rows_within
        from zerowait.benchmarks.own_table.rows import sorted_rows

        if self.space is None:
            found = sorted_rows(table, self.columns, self.meaning, frozenset())
            return found, inferred_space(found, self.columns, self.match, self.log)
        given = space_from_text(self.space)
        return rows_within(given, table, self.columns, self.meaning, self.match), given

    def _arguments(self) -> dict[str, Any]:
        arguments = {"columns": asdict(self.columns), "match": self.match, "log": self.log, "space": self.space}
        changed = self.meaning.changed()
        return {**arguments, "meaning": changed} if changed else arguments

    def _convert(self, cells: Table, key: str | None) -> str:
        import numpy as np

        from zerowait.benchmarks.own_table.given_space import conditional_parameters

        table, space = self.rows(cells)
        data = dict(table.data)
        bounds: dict[str, list[Any]] = {}
        if self.match == "nearest":
            for name, scale in scales(space, table).items():
                column = table.data[name]
                inactive = column == INACTIVE
                data[SCALED + name] = np.where(inactive, INACTIVE, scale(np.where(inactive, scale.lower, column)))
                bounds[name] = [scale.lower, scale.upper, scale.log]
        meta = {
            "kinds": table.kinds,
            "categories": table.categories,
            "scales": bounds,
            "conditional": sorted(conditional_parameters(space)) if self.space is not None else [],
            "space": space_as_text(space),
            "fidelity": None if self.columns.fidelity is None else levels_of(data[self.columns.fidelity]),
        }
        if key is None:
            key = storage.key_of({**self._arguments(), **meta}, storage.digest_of(data))
        storage.store(storage.place(key), meta, data)
        return key


def read_table(path: Path, file: IO[bytes], meaning: Meaning) -> Table:
    """Return the cells of an open file; raises `SpecificationError` when it is not what its suffix says."""
    from zerowait.benchmarks.own_table.frame import read_parquet
    from zerowait.benchmarks.own_table.text_file import read_text

    return read_parquet(path, file) if path.name.endswith(".parquet") else read_text(path, file, meaning)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the file of a table, and nothing that only looks like one: a pipe would keep the reader waiting.

    Raises
    ------
    SpecificationError
        It is missing, no regular file, not readable, or its suffix is not one of `SUFFIXES`.
    """
    if not path.name.endswith(SUFFIXES):
        raise SpecificationError(f"the file {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        with os.fdopen(open_regular(path, follow_links=True), "rb") as file:
            yield file
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        raise SpecificationError(f"the file {path} cannot be read: {what}; give the path of a table") from None


def levels_of(column: Column) -> list[Any]:
    """Return whether all fidelities are whole, and the fidelities in increasing order."""
    import numpy as np

    levels = np.unique(column)
    whole = bool((levels == np.floor(levels)).all())
    return [whole, levels.astype(int if whole else float).tolist()]


def _of_frame(frame: Any) -> FrameTable:
    import pandas as pd

    from zerowait.benchmarks.own_table.frame import FrameTable

    if not isinstance(frame, pd.DataFrame):
        raise SpecificationError(f"the table is of type {type(frame).__name__}; give a DataFrame or the path of a file")
    return FrameTable(frame)
