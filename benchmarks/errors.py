"""What goes wrong with the data of a benchmark."""

from __future__ import annotations

from suite.errors import ZerowaitError


class DataMissingError(ZerowaitError, RuntimeError):
    """The data of a benchmark is not there; the message names it and the command that gets it."""


class DamagedDataError(ZerowaitError, ValueError):
    """A data file does not hold what it should; the message names the file, the finding and the remedy."""
