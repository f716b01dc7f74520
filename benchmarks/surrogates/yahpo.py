"""The surrogates of YAHPO Gym v1.0 that have a training-set fraction as fidelity: rbv2_* and iaml_*.

The value is what YAHPO Gym's own single-objective suite minimises: 1 - accuracy (rbv2), mean misclassification
error, which is the same, (iaml).

A new scenario is a line of `_ALL` here, its name in `benchmarks.registry` and its files in `benchmarks.data.sources`.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.surrogates.surrogate import (
    LICENCE,
    YAHPO_BIBTEX,
    YAHPO_CITATION,
    Clock,
    Scenario,
    SurrogateBenchmark,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

REPETITIONS = 10

# The authors name no unit for the memory columns.
RBV2_OUTPUTS = MappingProxyType(
    {
        "acc": "fraction, 0 to 1",
        "bac": "fraction, 0 to 1",
        "auc": "fraction, 0 to 1",
        "brier": "squared error, summed over the classes",
        "f1": "fraction, 0 to 1",
        "logloss": "nats",
        "timetrain": "s",
        "timepredict": "s",
        "memory": "as recorded by the authors",
    }
)
IAML_OUTPUTS = MappingProxyType(
    {
        "mmce": "fraction, 0 to 1",
        "f1": "fraction, 0 to 1",
        "auc": "fraction, 0 to 1",
        "logloss": "nats",
        "ramtrain": "as recorded by the authors",
        "rammodel": "as recorded by the authors",
        "rampredict": "as recorded by the authors",
        "timetrain": "s",
        "timepredict": "s",
        "mec": "main effect complexity, none",
        "ias": "interaction strength, none",
        "nf": "number of features used",
    }
)

_XGBOOST = (
    "nrounds", "eta", "gamma", "lambda", "alpha", "subsample", "max_depth", "min_child_weight", "colsample_bytree",
    "colsample_bylevel", "rate_drop", "skip_drop",
)  # fmt: skip
_RPART = ("cp", "maxdepth", "minbucket", "minsplit")
_GLMNET = ("alpha", "s")
_SVM = ("cost", "gamma", "tolerance", "degree")
_AKNN = ("k", "M", "ef", "ef_construction")
_RANGER = ("num.trees", "sample.fraction", "mtry.power", "min.node.size", "num.random.splits")
_IAML_RANGER = ("num.trees", "sample.fraction", "mtry.ratio", "min.node.size", "num.random.splits")


def _of(learner: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{learner}.{name}" for name in names)


def _rbv2(learner: str, numbers: tuple[str, ...], categories: tuple[str, ...] = ()) -> Scenario:
    name = f"rbv2_{learner}"
    return Scenario(
        name=name,
        data="yahpo",
        folder=name,
        task_column="task_id",
        fidelity="trainsize",
        categories=("task_id", *categories, "num.impute.selected.cpo"),
        numbers=(*numbers, "trainsize", "repl"),
        outputs=RBV2_OUTPUTS,
        target="acc",
        maximised=True,
        runtime="timetrain",
        repetitions=REPETITIONS,
    )


def _iaml(learner: str, numbers: tuple[str, ...], categories: tuple[str, ...] = ()) -> Scenario:
    name = f"iaml_{learner}"
    return Scenario(
        name=name,
        data="yahpo",
        folder=name,
        task_column="task_id",
        fidelity="trainsize",
        categories=("task_id", *categories),
        numbers=(*numbers, "trainsize"),
        outputs=IAML_OUTPUTS,
        target="mmce",
        maximised=False,
        runtime="timetrain",
    )


_ALL = (
    _rbv2("aknn", _AKNN, ("distance",)),
    _rbv2("glmnet", _GLMNET),
    _rbv2("ranger", _RANGER, ("respect.unordered.factors", "splitrule")),
    _rbv2("rpart", _RPART),
    _rbv2(
        "super",
        (
            *_of("svm", _SVM),
            *_of("glmnet", _GLMNET),
            *_of("rpart", _RPART),
            *_of("ranger", _RANGER),
            *_of("aknn", _AKNN),
            *_of("xgboost", _XGBOOST),
        ),
        (
            "learner_id", "svm.kernel", "ranger.respect.unordered.factors", "ranger.splitrule", "aknn.distance",
            "xgboost.booster",
        ),
    ),
    _rbv2("svm", _SVM, ("kernel",)),
    _rbv2("xgboost", _XGBOOST, ("booster",)),
    _iaml("glmnet", _GLMNET),
    _iaml("ranger", _IAML_RANGER, ("replace", "respect.unordered.factors", "splitrule")),
    _iaml("rpart", _RPART),
    _iaml(
        "super",
        (*_of("ranger", _IAML_RANGER), *_of("rpart", _RPART), *_of("glmnet", _GLMNET), *_of("xgboost", _XGBOOST)),
        (
            "learner", "ranger.replace", "ranger.respect.unordered.factors", "ranger.splitrule", "xgboost.booster",
        ),
    ),
    _iaml("xgboost", _XGBOOST, ("booster",)),
)  # fmt: skip
_TUNED = {
    "aknn": "approximate nearest neighbours",
    "glmnet": "elastic nets",
    "ranger": "random forests",
    "rpart": "decision trees",
    "super": "a choice among learners",
    "svm": "support vector machines",
    "xgboost": "gradient boosting",
}
SCENARIOS = MappingProxyType({scenario.name: scenario for scenario in _ALL})
"""Every scenario, by name."""


class Yahpo(SurrogateBenchmark):
    """One task of a scenario.

    Parameters
    ----------
    name
        The scenario.
    task, fidelity_range, repl, clock
        As in `SurrogateBenchmark`.
    """

    def __init__(
        self,
        name: str,
        task: str,
        *,
        fidelity_range: Sequence[float] | None = None,
        repl: int | None = None,
        clock: Clock = "surrogate",
    ) -> None:
        super().__init__(SCENARIOS[name], task, fidelity_range=fidelity_range, repl=repl, clock=clock)

    def _arguments(self) -> dict[str, Any]:
        return {"name": self.name, **super()._arguments()}


def family(name: str) -> Family:
    """Describe a scenario; its tasks are those of its files, so there are none where the files are absent."""
    scenario = SCENARIOS[name]
    reason = scenario.missing(None)
    tuned = _TUNED[name.partition("_")[2]]
    value = "1 - accuracy" if scenario.maximised else "mean misclassification error"
    return Family(
        name=name,
        description=f"YAHPO Gym's surrogate of {tuned} on OpenML data sets; the loss is {value}",
        make=partial(Yahpo, name),
        tasks=() if reason is not None else scenario.tasks(),
        data=f"the surrogate in {scenario.data}/{scenario.folder}",
        missing=scenario.missing,
        libraries=("onnxruntime",),
        citation=YAHPO_CITATION,
        licence=LICENCE,
        facts=Facts(
            value=f"{value}, fraction 0 to 1",
            runtime="s, of the training alone (timetrain); every fraction of the data is a training of its own",
            metrics=scenario.outputs,
            optimum_note="unknown: the surrogate's least value has not been searched for",
            bibtex=YAHPO_BIBTEX,
        ),
    )
