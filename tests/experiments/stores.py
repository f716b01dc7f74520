"""Synthetic studies: folders of finished cells as the runner leaves them, without running anything."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from zerowait.suite.records.store_cells import CELL_FILE, CELLS, STUDY_FILE, TRACE_FILE
from zerowait.suite.records.trace import ATTRIBUTE, COLUMNS, FORMAT_VERSION, write_trace
from zerowait.suite.rules.identity import canonical_json, digest


def make_cell(study, *, optimizer="tpe", benchmark="branin", n_workers=1, seed=0, n=5, columns=None, wall_time=0.5):
    """Write the folder of a finished cell; return its key and its trace."""
    specification = {
        "optimizer": f"adapter-{optimizer}", "optimizer_parameters": {}, "mode": "ask_tell", "label": optimizer,
        "benchmark": benchmark.split("/")[0], "task": benchmark.split("/")[1] if "/" in benchmark else None,
        "benchmark_parameters": {}, "n_workers": n_workers, "seed": seed, "max_evaluations": n, "max_time": None,
        "overhead": {"name": "none", "sampling": "serial"}, "versions": {},
    }  # fmt: skip
    key = digest(canonical_json(specification)).hex()
    random = np.random.default_rng([seed, n_workers, len(optimizer), len(benchmark)])
    runtime = random.uniform(1.0, 100.0, n)
    end = np.cumsum(runtime) / n_workers
    data = {
        "evaluation": np.arange(n), "worker": (np.arange(n) % n_workers).astype(np.int32), "freed": end - runtime,
        "start": end - runtime, "end": end, "runtime": runtime, "value": random.normal(size=n),
        "fidelity": np.full(n, np.nan), "resumed_from": np.full(n, np.nan), "clipped": np.zeros(n, bool),
        "status": np.full(n, "ok", object), "config_id": np.array([f"{key[:16]}{i:016x}" for i in range(n)], object),
        "seed": random.integers(2**31, size=n), "wall_time": np.full(n, np.nan), "overhead": np.zeros(n),
    }  # fmt: skip
    assert list(data) == list(COLUMNS)
    trace = pd.DataFrame({**data, **({"config.x": random.uniform(size=n)} if columns is None else columns)})
    trace.attrs[ATTRIBUTE] = {
        "format": FORMAT_VERSION,
        "specification": {
            "n_workers": n_workers, "seed": seed,
            "labels": {"optimizer": specification["optimizer"], "label": optimizer, "benchmark": benchmark},
        },
        "versions": {"python": "3.11"}, "idle_releases": 2,
        "totals": {
            "evaluations": n, "ok": n, "failed": 0, "lost": 0, "makespan": float(end[-1]), "runtime": float(end[-1]),
        },
        "measured": {"host": "here", "wall_time": wall_time, "speed_up": float(end[-1]) / wall_time},
    }  # fmt: skip
    folder = study / CELLS / key
    folder.mkdir(parents=True)
    write_trace(trace, folder / TRACE_FILE)
    (folder / CELL_FILE).write_text(json.dumps(specification, sort_keys=True))
    return key, trace


def list_cells(study, keys):
    """Write the list of the study's cells."""
    (study / STUDY_FILE).write_text(json.dumps({"name": "synthetic", "cells": {f"cells/{key}": "" for key in keys}}))


def store_bytes(study):
    """Return the bytes of every partition of a study's store, by its path."""
    store = study / "store"
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("runs.parquet"))}
