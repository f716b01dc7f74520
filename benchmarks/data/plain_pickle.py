"""Reads pickles that hold plain data only, so that a hostile file can run nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, NoReturn

from zerowait.benchmarks.data.errors import DamagedDataError
from zerowait.suite.sharing.regular_files import open_regular


class PlainUnpickler(pickle.Unpickler):
    """Builds containers, strings, bytes and numbers, and refuses every class and function.

    A pickle can call nothing that it cannot name, and every name goes through `find_class`, or, for an object
    outside the pickle, through `persistent_load`.
    """

    def find_class(self, module: str, name: str, /) -> NoReturn:
        """Refuse the name."""
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, but only plain data is allowed")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse the reference."""
        raise pickle.UnpicklingError(f"it refers to an outside object ({pid!r}), but only plain data is allowed")


def read_plain_pickle(path: Path) -> object:
    """Return what a pickle of plain data holds.

    Raises
    ------
    DamagedDataError
        The file names a class or a function, or is not a whole pickle; nothing of it has been run.
    """
    with os.fdopen(open_regular(path, follow_links=True), "rb") as file:
        try:
            return PlainUnpickler(file).load()
        # A damaged pickle raises any of these, depending on the byte that is wrong.
        except (
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            MemoryError,
            OverflowError,
        ) as error:
            raise DamagedDataError(
                f"{path} is not a pickle of plain data: {str(error) or type(error).__name__}; "
                "install its package again, from a source that you trust"
            ) from error
