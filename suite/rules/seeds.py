"""Seeds: one run seed, from which the optimizer's, the objective's and the cluster's are derived independently.

All of them come from `numpy.random.SeedSequence` with one domain number each, so that no stream is shared:
the optimizer's seed depends on the run seed alone, the objective's on the run seed and the configuration, so the same
query gives the same value whoever asks and whenever.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from zerowait.suite.rules import arguments
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.identity import DIGEST_BYTES, digest

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

_OPTIMIZER, _OBJECTIVE, _CLUSTER = 1, 2, 3
_AT_ONCE = 65_536
"""So many seeds are worked out together; each takes some ten words on the way."""
MAX_RUN_SEED = 2**63 - 1


def check_run_seed(seed: int) -> int:
    """Return the seed as a plain integer, or raise `SpecificationError` when it is none from 0 to 2**63 - 1."""
    return arguments.integer("seed", seed, 0, MAX_RUN_SEED, allowed="an integer from 0 to 2**63 - 1")


def check_fresh_seeds(fresh: bool, *, continual: bool) -> dict[str, bool]:  # noqa: FBT001 - what a caller gave
    """Return what a specification says of fresh seeds: nothing without them.

    Raises
    ------
    SpecificationError
        It is no boolean, or trainings continue, each of which keeps its seed.
    """
    if not arguments.boolean("fresh_seeds", fresh):
        return {}
    if continual:
        raise SpecificationError("fresh_seeds=True with continual=True: a training that continues keeps its seed")
    return {"fresh_seeds": True}


def optimizer_seed(run_seed: int) -> int:
    """Return the seed of the optimizer, an integer from 0 to 2**32 - 1 (the range that every library takes)."""
    state = np.random.SeedSequence(_words(run_seed, _OPTIMIZER)).generate_state(1)
    return int(state[0])


def cluster_key(run_seed: int) -> bytes:
    """Return the 32 bytes from which everything follows that a cluster draws in a run."""
    return np.random.SeedSequence(_words(run_seed, _CLUSTER)).generate_state(8).tobytes()


class ObjectiveSeeds:
    """Derives the objective's seeds of one run.

    Parameters
    ----------
    run_seed
        The seed of the run.
    fresh
        Whether every call has a seed of its own, and not that of its configuration.
    """

    def __init__(self, run_seed: int, *, fresh: bool = False) -> None:
        self.fresh = fresh
        self._prefix = np.array(_words(run_seed, _OBJECTIVE), dtype=np.uint32).tobytes()

    def seed(self, identity: bytes) -> int:
        """Return the seed for the configuration with this 16-byte digest, an integer from 0 to 2**32 - 1."""
        # Entropy given as an array of 32-bit words is what SeedSequence takes without conversion.
        words = np.frombuffer(self._prefix + identity, dtype=np.uint32)
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def of_call(self, identity: bytes, call: int) -> int:
        """Return the seed of the call of this number in the run, for the configuration with this digest."""
        return self.seed(digest(f"{identity.hex()} {call}") if self.fresh else identity)

    def many(self, digests: Words) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the seeds of many configurations: what `seed` returns for each, a hundred times as fast.

        `digests` are those of the configurations, one behind the other, as words.
        """
        prefix = np.frombuffer(self._prefix, dtype=np.uint32)
        words = digests.reshape(-1, DIGEST_BYTES // prefix.itemsize)
        seeds = np.empty(len(words), dtype=np.int64)
        for first in range(0, len(words), _AT_ONCE):
            some = words[first : first + _AT_ONCE]
            entropy = [*(np.full(len(some), word) for word in prefix), *some.T]
            seeds[first : first + _AT_ONCE] = _first_state(entropy)
        return seeds


def _words(run_seed: int, domain: int) -> list[int]:
    return [domain, run_seed & 0xFFFFFFFF, run_seed >> 32]


def _first_state(entropy: list[Words]) -> Words:
    """Return the first 32-bit word of `numpy.random.SeedSequence(entropy[:, i]).generate_state(1)` for every i.

    The algorithm is that of NumPy's bit_generator.pyx (after M. E. O'Neill, "Developing a seed_seq alternative",
    2015), with arrays in the place of its words; NumPy guarantees that it does not change.
    """
    constant = 0x43B0D7E5

    def hashed(value: Words) -> Words:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * 0x931E8875 & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return value ^ (value >> np.uint32(16))

    def mixed(x: Words, y: Words) -> Words:
        value: Words = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
        return value ^ (value >> np.uint32(16))

    size = 4
    pool = [hashed(word) for word in entropy[:size]]
    for source in range(size):
        for target in range(size):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for word in entropy[size:]:
        for target in range(size):
            pool[target] = mixed(pool[target], hashed(word))
    state = pool[0] ^ np.uint32(0x8B51F9DD)
    state = state * np.uint32(0x8B51F9DD * 0x58F38DED & 0xFFFFFFFF)
    return state ^ (state >> np.uint32(16))
