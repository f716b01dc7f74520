"""A metric in the place of the loss: figures draw it as they draw a loss, and say so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zerowait.plots.catalogue import figure_kind
from zerowait.plots.studies.loading import load_study
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite import Evaluation, Overhead, Query, simulate
from zerowait.suite.rules.errors import SpecificationError

ACCURACIES = [0.5, 0.9, 0.7, 0.8]


def with_metrics(run, **metrics):
    for name, values in metrics.items():
        run.trace[name.replace("__", ".")] = values
    return run


@pytest.fixture
def runs(make_run):
    """The loss falls while the accuracy does not; the third evaluation failed."""
    deliveries = [(1, 4.0), (2, 3.0), (3, math.nan), (4, 1.0)]
    accurate = {
        "metric__accuracy": ACCURACIES,
        "full__accuracy": [0.4, 0.6, 0.5, 0.7],
        "full__value": 0.0,
        "fidelity": math.nan,
    }
    return [with_metrics(make_run(deliveries, seed=seed), **accurate) for seed in range(2)]


def curve(study, **options):
    return study.judged(**options).best_at([0], np.array([1.0, 2.0, 3.0, 4.0]))[0].tolist()


def test_it_counts_by_the_rules_of_results(runs):
    study = study_of_runs(runs, metric="-accuracy")
    assert curve(study, result="any") == [-0.5, -0.9, -0.9, -0.9]
    # Recommended is what had the greatest accuracy, and drawn what it is without noise.
    assert curve(study) == [-0.4, -0.6, -0.6, -0.6]
    assert curve(study_of_runs(runs, metric="accuracy"), result="any") == [0.5, 0.5, 0.5, 0.5]
    assert study.cells["optimum"].isna().all()


def test_performance_over_time_shows_it_with_its_own_sign_and_name(runs):
    drawn = figure_kind("performance_over_time").make(study_of_runs(runs, metric="-accuracy"), result="any")
    assert set(drawn.table["quantity"]) == {"best accuracy"}
    assert drawn.table["mean"].iloc[[0, -1]].tolist() == [0.5, 0.9]
    assert drawn.axes[0, 0].get_ylabel().endswith("best accuracy")
    assert "In the place of the loss stands accuracy, maximised." in drawn.caption


def test_a_folder_of_own_runs_has_its_metrics(tmp_path):
    class Asks:
        def __init__(self):
            self.x = iter(range(4))

        def ask(self):
            return Query({"x": next(self.x)})

        def tell(self, _query, _evaluation):
            pass

    def objective(config):
        return Evaluation(0.0, 1.0, {"accuracy": ACCURACIES[config["x"]]})

    labels = {"optimizer": "mine", "benchmark": "network"}
    simulate(
        Asks(), objective, n_workers=1, max_evaluations=4, overhead=Overhead.none(), labels=labels,
        directory=tmp_path / "run",
    )  # fmt: skip
    assert curve(load_study(tmp_path, metric="-accuracy")) == [-0.5, -0.9, -0.9, -0.9]
    with pytest.raises(SpecificationError, match=r"metric is 'Accuracy'; it must be of: accuracy; with a minus sign"):
        load_study(tmp_path, metric="Accuracy")


def test_runs_without_metrics_have_none_to_draw(make_run):
    with pytest.raises(SpecificationError, match="metric is 'accuracy'; the traces have none"):
        study_of_runs([make_run([(1, 1.0)])], metric="accuracy")
