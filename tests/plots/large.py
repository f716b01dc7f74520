"""A made-up study as large as the largest: 45,000 runs of 450 evaluations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zerowait.plots.studies.study import study_of_table

OPTIMIZERS, BENCHMARKS, WORKERS, SEEDS, EVALUATIONS = 10, 25, (1, 2, 4, 8, 16, 32), 30, 450


def large_table(benchmarks=BENCHMARKS, seeds=SEEDS, evaluations=EVALUATIONS):
    """Return the evaluations of all runs with the columns of a store, in its types."""
    random = np.random.default_rng(np.random.SeedSequence(1))
    shape = (OPTIMIZERS, benchmarks, len(WORKERS), seeds)
    n_runs = int(np.prod(shape))
    optimizer, benchmark, workers, seed = (
        np.repeat(index.ravel(), evaluations) for index in np.indices(shape, dtype=np.int8)
    )
    # A worker is busy all the time: every end is a start, and deliveries come in order.
    steps = (
        random.exponential(10.0, size=(n_runs, evaluations))
        / np.repeat(WORKERS, seeds)[np.arange(n_runs) % (len(WORKERS) * seeds)][:, None]
    )
    ends = np.cumsum(steps, axis=1).ravel()
    n = n_runs * evaluations
    p = np.asarray(WORKERS)[workers]
    number = np.tile(np.arange(evaluations), n_runs)
    starts = np.where(number >= p, np.roll(ends, 1), 0.0)
    return pd.DataFrame(
        {
            "optimizer": pd.Categorical.from_codes(
                optimizer, [*(f"optimizer-{i}" for i in range(1, OPTIMIZERS)), "random"]
            ),
            "benchmark": pd.Categorical.from_codes(benchmark, [f"benchmark-{i:02}" for i in range(benchmarks)]),
            "n_workers": p.astype(np.int32),
            "seed": seed,
            "run_wall_time": np.ones(n),
            "worker": (number % p).astype(np.int32),
            "freed": starts,
            "start": starts,
            "end": ends,
            "value": random.exponential(1.0 + 0.1 * optimizer, size=n),
            "overhead": np.zeros(n),
            "status": pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), ["ok", "lost"]),
        },
        copy=False,
    )


def large_study(**sizes):
    """Return the study of such a table."""
    return study_of_table(large_table(**sizes))
