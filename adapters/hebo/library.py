"""HEBO with the interface of the simulator, and without a trace in the process that it runs in.

From the source of HEBO 0.3.6, with what is done about it:

* It draws from the global generators of NumPy and torch. They are lent to it while it works: the state of the run is
  put in before and taken out after, so that neither an objective that seeds them nor the caller notices.
* Importing it sets torch to one thread, for everybody. The number is put back, and is one while HEBO works.
* Its first model makes torch import its compiler, which makes a folder for a cache that is not used here, and says in
  the environment where. Both are undone.
* It does not seed pymoo, which drew from NumPy's global generator up to 0.6.0, the version that HEBO asks for, and
  seeds itself from the operating system since. `_seeded_pymoo` seeds it from HEBO's own stream.
* Its neural networks call `torch.seed()` before each training, which seeds torch from the operating system.
  `_seeded_torch` seeds it from torch's own stream.
* Bare `except:` clauses around the model swallow Ctrl-C: it is held back until the suggestion is there.
* It prints when a matrix is badly conditioned; what it prints is dropped.
* `observe` drops values that are not finite, so a failed evaluation is not told at all.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import tempfile
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from zerowait.suite.rules.errors import ZerowaitError
from zerowait.suite.rules.evaluation import Evaluation, Query

_threads = torch.get_num_threads()
from hebo.acq_optimizers import evolution_optimizer  # type: ignore[import-untyped]  # noqa: E402 - between the two
from hebo.design_space.design_space import DesignSpace  # type: ignore[import-untyped]  # noqa: E402
from hebo.models.model_factory import model_names  # type: ignore[import-untyped]  # noqa: E402
from hebo.optimizers.hebo import HEBO  # type: ignore[import-untyped]  # noqa: E402

torch.set_num_threads(_threads)
_CACHE = "TORCHINDUCTOR_CACHE_DIR"
if _CACHE not in os.environ:
    with tempfile.TemporaryDirectory(prefix="zerowait-") as _folder:
        os.environ[_CACHE] = _folder
        import torch._dynamo
    del os.environ[_CACHE]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zerowait.adapters.hebo.space import HeboSpace

MODELS = tuple(model_names)
"""The surrogate models that can be used here; catboost only where it is installed."""

_lock = threading.RLock()  # the generators are global, so one run works at a time


class AskTellHEBO:
    """HEBO, asked for one suggestion at a time.

    HEBO has no notion of an evaluation that is under way: a suggestion depends on the results told so far and on
    nothing else. Two suggestions in a row differ, as points of a quasi-random sequence or random members of a Pareto
    front.

    Parameters
    ----------
    space
        What is searched.
    seed
        An integer from 0 to 2**32 - 1.
    parameters
        Keyword arguments of `hebo.optimizers.hebo.HEBO`.
    """

    def __init__(self, space: HeboSpace, seed: int, parameters: Mapping[str, Any]) -> None:
        self._space = space
        self._generators = LentGenerators(seed)
        with self._generators.lent():
            design = DesignSpace().parse(space.description())
            self._hebo = HEBO(design, scramble_seed=seed, **parameters)

    def ask(self) -> Query:
        """Return the next suggestion."""
        with self._generators.lent(), _working():
            suggestion = self._hebo.suggest(1)
        return Query(self._space.config({name: suggestion[name].iloc[0] for name in suggestion}))

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        """Have HEBO observe the value."""
        with self._generators.lent(), _working():
            self._hebo.observe(pd.DataFrame([self._space.row(query.config)]), np.array([[evaluation.value]]))

    def tell_failure(self, query: Query, error: Exception) -> None:  # noqa: ARG002 - the simulator's interface
        """Tell nothing, unless the run itself is at fault."""
        if isinstance(error, ZerowaitError):
            raise error


class LentGenerators:
    """A run's own state of the process's global random generators.

    Parameters
    ----------
    seed
        An integer from 0 to 2**32 - 1.
    """

    def __init__(self, seed: int) -> None:
        with _lock:
            theirs = _states()
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - HEBO draws from no other
            torch.default_generator.manual_seed(seed)
            self._ours = _states()
            _put_in(theirs)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Put the run's state in, and afterwards the one that was there before."""
        with _lock:
            theirs, threads, precision = _states(), torch.get_num_threads(), torch.get_default_dtype()
            _put_in(self._ours)
            torch.set_num_threads(1)
            torch.set_default_dtype(torch.float32)  # others set it to float64, which changes what the model suggests
            try:
                with _numerics_of_gpytorch():
                    yield
            finally:
                self._ours = _states()
                _put_in(theirs)
                torch.set_num_threads(threads)
                torch.set_default_dtype(precision)


@contextlib.contextmanager
def _numerics_of_gpytorch() -> Iterator[None]:
    """Compute as GPyTorch does by itself: BoTorch changes these settings for everybody when it is imported."""
    from gpytorch import settings  # type: ignore[import-untyped]

    with (
        settings.fast_computations(covar_root_decomposition=True, log_prob=True, solves=True),
        settings.cholesky_max_tries(3),
        settings.max_cholesky_size(800),
        settings.max_eager_kernel_size(512),
    ):
        yield


def _states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - see LentGenerators


def _put_in(states: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002 - see LentGenerators
    torch.set_rng_state(states[2])


@contextlib.contextmanager
def _working() -> Iterator[None]:
    """Surround a call of HEBO by what it needs; see the module."""
    with (
        _interrupts_held_back(),
        _seeded_pymoo(),
        _seeded_torch(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _seeded_pymoo() -> Iterator[None]:
    """Have pymoo draw from the stream of NumPy's global generator, as its version 0.6.0 does by itself."""
    minimize = evolution_optimizer.minimize

    def seeded(*args: Any, **kwargs: Any) -> Any:
        return minimize(*args, seed=int(np.random.randint(2**31 - 1)), **kwargs)  # noqa: NPY002 - it is lent

    evolution_optimizer.minimize = seeded
    try:
        yield
    finally:
        evolution_optimizer.minimize = minimize


@contextlib.contextmanager
def _seeded_torch() -> Iterator[None]:
    """Have `torch.seed()` continue torch's stream where HEBO calls it; other threads get a seed from the system."""
    from_system, here = torch.seed, threading.get_ident()

    def from_stream() -> int:
        if threading.get_ident() != here:
            return from_system()
        seed = int(torch.randint(2**63 - 1, (), dtype=torch.int64))
        torch.manual_seed(seed)
        return seed

    torch.seed = from_stream
    try:
        yield
    finally:
        torch.seed = from_system


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C take effect at the end; only the main thread is ever interrupted."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield
        return
    held_back: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: held_back.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held_back:
            signal.raise_signal(signal.SIGINT)
