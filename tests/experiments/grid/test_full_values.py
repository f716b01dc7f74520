"""What a configuration is worth when it is trained to the end stands beside what was seen."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zerowait import adapters, benchmarks
from zerowait.adapters.spaces import configs_in
from zerowait.experiments.grid.cells import Cell, execute
from zerowait.experiments.grid.full_values import with_full_values
from zerowait.plots.studies.run import Run
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite.records.trace import ATTRIBUTE, read_trace
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead


def first_that_loads(found):
    """Return the first task whose data is here, or None: of a family of many files, some may be missing."""
    for task in found.tasks or (None,):
        with contextlib.suppress(benchmarks.DataMissingError):
            benchmarks.load(found.name, task=task).space  # noqa: B018 - reads the data
            return found.name, task
    return None


READY = [
    ready
    for found in benchmarks.available()
    if found.reason is None and found.name != "table" and (ready := first_that_loads(found))
]


def run(tmp_path: Path, benchmark: str, task: str | None = None, optimizer: str = "random", **parameters) -> Cell:
    return Cell(
        optimizer, "ask_tell", optimizer, benchmark, task, benchmark, 2, 0, Budget(40), Overhead.none(),
        benchmark_parameters=parameters,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "task"), READY)
def test_a_row_has_the_noise_free_value_of_its_configuration_at_the_highest_fidelity(tmp_path, name, task):
    cell = run(tmp_path, name, task)
    execute(cell, tmp_path)
    trace = read_trace(tmp_path / "trace.parquet")
    benchmark = benchmarks.load(name, task=task)
    configs = list(asked(cell, benchmark))
    assert len(configs) == len(trace) == 40
    for (_, row), config in zip(trace.iterrows(), configs, strict=True):
        try:
            full = benchmark(config)
        except Exception:  # noqa: BLE001 - a training that fails
            assert math.isnan(row["full.value"])
            continue
        assert row["full.value"] == full.value
        for metric, number in full.metrics.items():
            assert row[f"full.{metric}"] == number or (math.isnan(number) and math.isnan(row[f"full.{metric}"]))


@pytest.mark.parametrize(("name", "task"), READY)
def test_a_result_is_never_below_the_least_possible_loss(name, task):
    """Whatever is evaluated, in any order and at any fidelity; recommendations also under noise."""
    random = np.random.default_rng(0)
    for parameters in ({}, {"noise": True}):
        with contextlib.suppress(SpecificationError):
            benchmark = benchmarks.load(name, task=task, **parameters)
            if benchmark.optimum is None:
                return
            space, fidelity = benchmark.space, getattr(benchmark, "fidelity", None)
            space.seed(1)
            rungs = [fidelity.lower, fidelity.upper] if fidelity else [None]
            rows = [(dict(c), random.choice(rungs), n) for n, c in enumerate(space.sample_configuration(60))]
            trace = pd.DataFrame({f"config.{key}": [c.get(key) for c, _, _ in rows] for key in space})
            trace["fidelity"] = np.array([z for _, z, _ in rows], dtype=float)
            trace["value"] = [value_of(benchmark, *row) for row in rows]
            trace["end"] = np.arange(1.0, len(rows) + 1)
            trace = with_full_values(trace, benchmark)
            study = study_of_runs([Run("a", benchmark.label, 1, 0, benchmark.optimum, trace)])
            for rule in ("recommended",) if parameters else ("recommended", "full"):
                results = study.judged(rule).losses
                assert len(results)
                assert (results >= benchmark.optimum).all()


def value_of(benchmark, config, fidelity, seed):
    try:
        return benchmark(config, fidelity=fidelity, seed=seed).value
    except Exception:  # noqa: BLE001 - a training that fails
        return math.nan


def asked(cell: Cell, benchmark):
    """Return the configurations of the run in delivery order, as the objective was asked for them."""
    from zerowait import Evaluation, simulate

    order = []

    def objective(config, fidelity=None, seed=None):
        try:
            found = benchmark(config, fidelity=fidelity, seed=seed)
        except Exception as error:  # noqa: BLE001 - the same
            found = Evaluation(0.0, getattr(error, "runtime", 0.0))
        return found

    optimizer = adapters.load(cell.optimizer).ask_tell(
        type("Run", (), {"benchmark": benchmark, "optimizer_seed": seed_of(cell), "seed": cell.seed})
    )
    simulate(
        optimizer, objective, n_workers=cell.n_workers, max_evaluations=40, seed=cell.seed, overhead=cell.overhead,
        on_delivery=lambda query, evaluation: order.append(dict(query.config)),
    )  # fmt: skip
    return order


def seed_of(cell: Cell) -> int:
    from zerowait.suite.rules.seeds import optimizer_seed

    return optimizer_seed(cell.seed)


def test_without_fidelities_and_noise_it_is_the_value_that_was_seen(tmp_path):
    trace = execute(run(tmp_path, "branin"), tmp_path)
    assert trace["full.value"].tolist() == trace["value"].tolist()


def test_a_short_training_has_the_value_of_the_long_one(tmp_path):
    cell = run(tmp_path, "hartmann3", optimizer="hyperband")
    pytest.importorskip("hpbandster")
    trace = execute(cell, tmp_path)
    upper = benchmarks.load("hartmann3").fidelity.upper
    at_the_end = trace["fidelity"] == upper
    assert at_the_end.any()
    assert not at_the_end.all()
    assert (trace["full.value"] == trace["value"])[at_the_end].all()
    assert (trace["full.value"] != trace["value"])[~at_the_end].any()


def test_the_trace_says_of_which_cell_it_is_and_equal_seeds_give_equal_bytes(tmp_path):
    cell = run(tmp_path, "branin")
    for name in ("one", "two"):
        execute(cell, tmp_path / name)
    one, two = (tmp_path / name / "trace.parquet" for name in ("one", "two"))
    assert read_trace(one).attrs[ATTRIBUTE]["cell"] == cell.key
    assert one.read_bytes() == two.read_bytes()


def test_columns_of_a_trace_give_back_the_configurations_that_they_were_made_of():
    from ConfigSpace import Categorical, ConfigurationSpace, Constant, EqualsCondition, Float, Integer

    space = ConfigurationSpace(
        [
            Integer("i", (1, 9)), Float("f", (0.0, 1.0)), Categorical("mixed", [1, "1", 2.5, False]),
            Categorical("none", [None, "a"]), Constant("c", "k"), Integer("child", (1, 3)),
        ]
    )  # fmt: skip
    space.add(EqualsCondition(space["child"], space["none"], "a"))
    configs = [
        {"i": 3, "f": 0.1, "mixed": mixed, "none": none, "c": "k", **({"child": 2} if none == "a" else {})}
        for mixed in (1, "1", 2.5, False)
        for none in (None, "a")
    ]
    from zerowait.suite.records.trace import _config_column

    columns = {name: _config_column([c.get(name) for c in configs]).tolist() for name in space}
    restored = list(configs_in(columns, space))
    assert [json.dumps(c, sort_keys=True) for c in restored] == [json.dumps(c, sort_keys=True) for c in configs]


def test_an_objective_that_cannot_be_asked_leaves_its_rows_without_a_number():
    from ConfigSpace import ConfigurationSpace

    class Silent:
        space = ConfigurationSpace()

        def __call__(self, config, fidelity=None, seed=None):
            raise RuntimeError("no")

    trace = pd.DataFrame({"evaluation": np.arange(3), "config.x": [1.0, 2.0, 3.0]})
    assert with_full_values(trace, Silent())["full.value"].isna().all()
