"""Surrogate models in ONNX files: one session per process and file, one thread, one configuration at a time.

The number of rows in a query changes a model's float32 results in the fourth digit, so a query always has one row:
the same configuration then has the same value, to the bit, whoever asks with whomever else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.suite.sharing.regular_files import read_regular_file

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALL = "pip install 'zerowait[yahpo]'"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A surrogate in a file, and what its author says that it holds."""

    path: str
    """Where it is."""
    categories: int
    """The number of categorical inputs, each a code."""
    numbers: int
    """The number of numeric inputs."""
    outputs: int
    """The number of predicted numbers."""
    sha256: str | None
    """The digest of the file in hexadecimal, or None when it is not known."""
    remedy: str
    """How to get it, or get it again."""


class Sessions:
    """The open models of this process; a process that is forked from it opens its own.

    A session holds locks and buffers that another thread may be using at the moment of a fork, so a child never
    touches one that it inherited.
    """

    def __init__(self) -> None:
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        # Kept alive in a child, though nobody asks for them: to tear down what was in use is no safer than to use it.
        self._inherited: list[Any] = [getattr(self, "_inherited", None), getattr(self, "_open", None)]
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()

    def query(self, model: ModelFile, codes: Sequence[int], numbers: Sequence[float]) -> list[float]:
        """Return what the model predicts for one configuration.

        Parameters
        ----------
        model
            The file, opened on the first query of this process.
        codes
            The codes of the categorical inputs, in the model's order; nothing checks them after this.
        numbers
            The raw values of the numeric inputs, in the model's order.

        Raises
        ------
        DataMissingError
            The file or the package onnxruntime is not there.
        DamagedDataError
            The file is not the model that it should be.
        """
        import numpy as np

        session = self._open.get(model.path)
        if session is None:
            session = self._opened(model)
        inputs = {"x_cat": np.array([codes], dtype=np.int32), "x_cont": np.array([numbers], dtype=np.float32)}
        row: list[float] = session.run(["output"], inputs)[0][0].tolist()
        return row

    def _opened(self, model: ModelFile) -> Any:
        with self._lock:  # threads that ask at once share one session
            if model.path not in self._open:
                self._open[model.path] = _open(model)
            return self._open[model.path]


SESSIONS = Sessions()
"""The sessions of this process."""


def missing_runtime() -> str | None:
    """Tell how to get onnxruntime when it is not installed; None when it is."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"the package onnxruntime is not installed; get it with: {INSTALL}"
    return None


def _open(model: ModelFile) -> Any:
    reason = missing_runtime()
    if reason is not None:
        raise DataMissingError(reason)
    import onnxruntime

    try:
        data = read_regular_file(Path(model.path), follow_links=True)
    except OSError as error:
        raise DataMissingError(f"{model.path} cannot be read: {error.strerror}; {model.remedy}") from error
    if model.sha256 is not None and hashlib.sha256(data).hexdigest() != model.sha256:
        raise DamagedDataError(
            f"{model.path} is not the model that it should be: its SHA-256 is not {model.sha256}; {model.remedy}"
        )
    options = onnxruntime.SessionOptions()
    # Parallelism belongs to the workers; with one thread each, the runtime starts none of its own.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # The runtime's exceptions have no common base but Exception, and messages of several lines.
        finding = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedDataError(
            f"{model.path} is no model that onnxruntime can open: {finding}; {model.remedy}"
        ) from error
    found = [(place.name, place.shape[1:]) for place in (*session.get_inputs(), *session.get_outputs())]
    expected = [("x_cat", [model.categories]), ("x_cont", [model.numbers]), ("output", [model.outputs])]
    if found != expected:
        raise DamagedDataError(
            f"{model.path} has the inputs and outputs {found}; it must have {expected}; {model.remedy}"
        )
    return session
