"""The ranks under the three rules of results, as they are kept, against a recomputation of their definitions.

It reads the files of the reference study by itself and shares no code with the figures.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
COLUMNS = ["n_workers", "run_seed", "end", "value", "fidelity", "full.value"]


def of_a_run(run, time, rule, highest):
    """What a run has at a time; None for nothing."""
    known = [row for row in run if row[0] <= time and row[1] == row[1]]
    if rule == "recommended" and known:
        top = max(row[2] for row in known)
        return min((row for row in known if row[2] == top), key=lambda row: row[1])[3]
    if rule == "full":
        known = [row for row in known if row[2] in (highest, 1e9)]
    return min((row[1] for row in known), default=None)


def rank(value, others):
    """1 plus those that are better plus half of the others that are as good."""
    key, keys = (value is None, value or 0.0), [(other is None, other or 0.0) for other in others]
    return 1 + sum(other < key for other in keys) + (sum(other == key for other in keys) - 1) / 2


@functools.cache
def tables():
    """The evaluations of each benchmark and optimizer."""
    files = sorted((ROOT / "results" / "reference" / "traces").glob("*/*/runs.parquet"))
    # Random search and TPE name no fidelity: they train to the end.
    return {
        (path.parent.name, path.parent.parent.name): pd.read_parquet(path, columns=COLUMNS).fillna({"fidelity": 1e9})
        for path in files
    }


def recomputed(n_workers, fraction, rule):
    benchmarks, optimizers = (sorted(set(names)) for names in zip(*tables(), strict=True))
    sums = dict.fromkeys(optimizers, 0.0)
    for benchmark in benchmarks:
        runs, ends, named = {}, {}, []
        for name in optimizers:
            table = tables()[benchmark, name]
            named += table["fidelity"][(table["fidelity"] < 1e9) & table["value"].notna()].unique().tolist()
            for seed, rows in table[table["n_workers"] == n_workers].groupby("run_seed"):
                runs[name, seed] = list(rows[COLUMNS[2:]].itertuples(index=False, name=None))
                ends.setdefault(name, []).append(rows["end"].max())
        time = fraction * min(pd.Series(of).median() for of in ends.values())
        seeds = sorted({seed for _, seed in runs})
        for seed in seeds:
            found = {name: of_a_run(runs[name, seed], time, rule, max(named)) for name in optimizers}
            for name in optimizers:
                sums[name] += rank(found[name], found.values()) / len(seeds) / len(benchmarks)
    return {name.partition("=")[2]: total for name, total in sums.items()}


@pytest.mark.parametrize("rule", ["recommended", "full", "any"])
@pytest.mark.parametrize(("n_workers", "fraction"), [(8, 0.05), (1, 1.0)])
def test_the_kept_ranks_are_those_of_the_definition(n_workers, fraction, rule):
    kept = pd.read_csv(ROOT / "results" / "verification" / "effects-rules.csv")
    kept = kept[(kept["n_workers"] == n_workers) & (kept["budget"] == fraction)].set_index("optimizer")[rule]
    # Averages are rounded to nine digits.
    assert recomputed(n_workers, fraction, rule) == pytest.approx(kept.to_dict(), abs=1e-8)
