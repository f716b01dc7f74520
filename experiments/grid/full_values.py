"""What a configuration is worth when it is trained to the end: `full.value` and `full.<metric>` beside what was seen.

An optimizer sees losses of short trainings and of noisy ones; what counts is the noise-free value at the highest
fidelity. Benchmarks answer at no cost, so each row of a trace of a study has it. The optimizer never sees it, and it
takes no simulated time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zerowait.adapters.spaces import configs_in
from zerowait.suite.records.trace import COLUMNS, FULL
from zerowait.suite.rules.evaluation import Evaluation, as_evaluation
from zerowait.suite.rules.identity import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from zerowait.benchmarks import Benchmark


def with_full_values(trace: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """Return a trace with the columns `full.value` and `full.<metric>`; NaN where the objective cannot be asked."""
    import pandas as pd

    known: dict[str, Evaluation | None] = {}  # optimizers that choose fidelities ask for a configuration several times
    found = [_at_the_end(benchmark, config, known) for config in configs_of(trace, benchmark)]
    columns = {f"{FULL}value": [math.nan if one is None else one.value for one in found]}
    for name in sorted({name for one in known.values() if one is not None for name in one.metrics}):
        columns[FULL + name] = [math.nan if one is None else one.metrics.get(name, math.nan) for one in found]
    fixed = [name for name in trace.columns if name in COLUMNS]
    free = [name for name in trace.columns if name not in COLUMNS and not name.startswith(FULL)]
    full = pd.DataFrame(columns, index=trace.index, dtype="float64")
    joined = pd.concat([trace[fixed], full, trace[free]], axis=1)
    joined.attrs = dict(trace.attrs)
    return joined


def configs_of(trace: pd.DataFrame, benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the configurations of a trace's rows, as the optimizer gave them."""
    columns = {
        name.removeprefix("config."): trace[name].tolist() for name in trace.columns if name.startswith("config.")
    }
    return list(configs_in(columns, benchmark.space)) if columns else [{} for _ in range(len(trace))]


def _at_the_end(
    benchmark: Benchmark, config: Mapping[str, Any], known: dict[str, Evaluation | None]
) -> Evaluation | None:
    key = canonical_json(config)
    if key not in known:
        try:
            known[key] = as_evaluation(benchmark(config), config)
        except Exception:  # noqa: BLE001 - a training that fails has no value, whatever it raises
            known[key] = None
    return known[key]
