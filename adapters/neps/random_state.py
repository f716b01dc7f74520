"""Lends NePS the process's global random number generators, and takes them back.

Every sampler of NePS draws from the global generators of Python, NumPy and PyTorch. `neps.run` keeps their state
in a file and sets it before each sample, in every worker, so that anything else in the process that draws from
them sees them jump. Objectives of zerowait get a seed of their own instead. In ask-and-tell mode NePS shares the
process with its caller, whose generators are therefore put back after every question.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lent = threading.Lock()


def seed_everything(seed: int) -> None:
    """Seed the global generators, as a user of NePS does, with an integer from 0 to 2**32 - 1."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that NePS uses
    torch.manual_seed(seed)


class RandomState:
    """The state of the global generators as one run of NePS sees them.

    Parameters
    ----------
    seed
        An integer from 0 to 2**32 - 1.
    """

    def __init__(self, seed: int) -> None:
        from neps.state import SeedSnapshot

        with _lent:
            callers = SeedSnapshot.new_capture()
            try:
                seed_everything(seed)
                self._own = SeedSnapshot.new_capture()
            finally:
                callers.set_as_global_seed_state()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Set the run's state while the block runs, then the caller's again; runs in other threads wait.

        PyTorch has one thread meanwhile, as in native mode: sums are rounded in another order by several.
        """
        import torch
        from neps.state import SeedSnapshot

        with _lent:
            callers = SeedSnapshot.new_capture()
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            self._own.set_as_global_seed_state()
            try:
                yield
            finally:
                self._own.recapture()
                torch.set_num_threads(threads)
                callers.set_as_global_seed_state()
