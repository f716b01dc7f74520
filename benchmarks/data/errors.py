"""What goes wrong with the data of a benchmark."""

from __future__ import annotations

from zerowait.suite.rules.errors import ZerowaitError


class DataMissingError(ZerowaitError, RuntimeError):
    """The data of a benchmark is not there; the message names it and the command that gets it."""


class DamagedDataError(ZerowaitError, ValueError):
    """A data file does not hold what it should; the message names the file, the finding and the remedy."""


class UnsafeArchiveError(DamagedDataError):
    """An archive would write outside of its folder, or holds links or devices; the message names the entry."""


class FetchFailedError(ZerowaitError, RuntimeError):
    """Data cannot be fetched; the message says why, what to download by hand and where to put it."""


# No ZerowaitError: adapters end the run for those, and a failed training is a result like any other.
class TrainingFailedError(RuntimeError):
    """A training failed, as the data of the benchmark or the benchmark itself says it does."""

    def __init__(self, message: str, runtime: float) -> None:
        super().__init__(message, runtime)
        self.runtime = runtime
        """The seconds that the training ran before it failed; the simulator charges them."""

    def __str__(self) -> str:
        return str(self.args[0])
