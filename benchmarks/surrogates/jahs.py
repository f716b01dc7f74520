"""JAHS-Bench-201: architectures and hyperparameters together, on three image data sets, answered by surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from zerowait.benchmarks.data.content import files_digest
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.protocol import Fidelity, as_float, check_names, check_seed, check_task, label_of
from zerowait.benchmarks.registry import Family
from zerowait.benchmarks.surrogates.jahs_surrogate import Slow, Surrogate, open_surrogate
from zerowait.benchmarks.surrogates.surrogate import Clock, checked_clock
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Config, Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ConfigSpace import ConfigurationSpace

NAME = "jahs"
TASKS = ("cifar10", "colorectal_histology", "fashion_mnist")
EPOCHS = 200
DEFAULT_FIDELITY_RANGE = (22, EPOCHS)
METRICS = MappingProxyType(
    {
        "FLOPS": "million operations",
        "latency": "s",
        "size_MB": "MB",
        "test-acc": "percent",
        "train-acc": "percent",
    }
)
SCORE, RUNTIME = "valid-acc", "runtime"
# The least error that the real surrogates are known to give at resolution 1 and epoch 200 (data/reference_stats).
BEST_KNOWN = MappingProxyType({"cifar10": 8.12, "colorectal_histology": 3.67, "fashion_mnist": 4.56})

SIZES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"N": (1, 3, 5), "W": (4, 8, 16), "Resolution": (0.25, 0.5, 1.0)}
)
CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        **{f"Op{i}": (0, 1, 2, 3, 4) for i in range(1, 7)},
        "TrivialAugment": (True, False),
        "Activation": ("ReLU", "Hardswish", "Mish"),
    }
)
RATES = MappingProxyType({"LearningRate": (1e-3, 1.0), "WeightDecay": (1e-5, 1e-2)})

SpaceKind = Literal["indices", "values"]
CITATION = (
    "Bansal, Stoll, Janowski, Zela, Hutter: JAHS-Bench-201: A Foundation For Research On Joint Architecture And "
    "Hyperparameter Search, NeurIPS Datasets and Benchmarks 2022"
)
LICENCE = "MIT"
_BOOLEANS = frozenset({"bool", "bool_"})


class JAHS:
    """Convolutional networks of 6 operations, tuned together with 6 hyperparameters; the loss is the error in percent.

    Every epoch is predicted by itself, so neither the error nor the runtime need change monotonically with the epoch: a
    continued evaluation charges max(0, difference). A predicted runtime below 0 s counts as 0. The surrogates are
    deterministic: a seed changes nothing.

    Parameters
    ----------
    task
        The data set.
    allow_pickle
        Whether the surrogates may be unpickled. They are published as pickles, which run whatever is in them: True only
        for files from the authors' own server.
    space
        Whether a configuration names N, W and Resolution by their index ("indices", as in the reference paper's
        experiments) or by themselves ("values").
    resolution
        The fixed resolution of the images, 0.25, 0.5 or 1; None makes it a parameter ("free" in a study file, which has
        no None).
    metrics
        Further numbers to predict: FLOPS, latency, size_MB, test-acc, train-acc. Each is a surrogate of its own, which
        is loaded only if it is asked for.
    fidelity_range
        The least and the greatest epoch, within 1 to 200.
    clock
        "surrogate" takes the seconds that are predicted for the epoch, "linear" the share epoch / 200 of those that are
        predicted for epoch 200.
    """

    name = NAME
    citation = CITATION
    licence = LICENCE

    def __init__(
        self,
        task: str,
        *,
        allow_pickle: bool = False,
        space: SpaceKind = "indices",
        resolution: float | Literal["free"] | None = 1.0,
        metrics: Sequence[str] = (),
        fidelity_range: Sequence[int] = DEFAULT_FIDELITY_RANGE,
        clock: Clock = "surrogate",
    ) -> None:
        check_task(NAME, task, TASKS)
        if allow_pickle is not True:
            raise SpecificationError(
                f"{NAME}/{task}: allow_pickle is {allow_pickle!r}; the surrogates are pickles, which can run any code "
                f"when they are read: if those in {data_set(NAME).place} come from the authors, give allow_pickle=True "
                "(in a study: parameters = {allow_pickle = true})"
            )
        if space not in get_args(SpaceKind):
            raise SpecificationError(f"{NAME}/{task}: space is {space!r}; it must be 'indices' or 'values'")
        resolution = None if resolution == "free" else resolution
        if isinstance(resolution, bool) or resolution not in (None, *SIZES["Resolution"]):
            raise SpecificationError(
                f"{NAME}/{task}: resolution is {resolution!r}; it must be 0.25, 0.5, 1, or None ('free' in a study)"
            )
        if not isinstance(metrics, list | tuple) or len(set(metrics)) < len(metrics) or set(metrics) - set(METRICS):
            raise SpecificationError(
                f"{NAME}/{task}: metrics is {metrics!r}; it must be a list of some of: {', '.join(METRICS)}"
            )
        self.task = task
        self._options: dict[str, Any] = {}
        for option, value, default in (
            ("space", space, "indices"),
            ("resolution", resolution, 1.0),
            ("metrics", list(metrics), []),
            ("fidelity_range", list(fidelity_range), list(DEFAULT_FIDELITY_RANGE)),
            ("clock", checked_clock(clock, f"{NAME}/{task}"), "surrogate"),
        ):
            if value != default:
                self._options[option] = value
        shown = {option: value for option, value in self._options.items() if option != "metrics"}
        self.label = label_of(NAME, task, shown)
        self.fidelity = Fidelity("epoch", 1, EPOCHS, integer=True).between(fidelity_range, self.label)
        self.metrics = MappingProxyType({name: METRICS[name] for name in metrics})
        self._kind = space
        self._clock = clock
        self._resolution = resolution
        sizes = tuple(name for name in SIZES if name != "Resolution" or resolution is None)
        self._names = (*sizes[:2], *list(CHOICES)[:6], *sizes[2:], *list(CHOICES)[6:], *RATES)

    @property
    def optimum(self) -> float | None:
        """The least known error at resolution 1 and epoch 200, in percent; None for others."""
        known = self._resolution == 1.0 and self.fidelity.upper == EPOCHS
        return BEST_KNOWN[self.task] if known else None

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space, built on first use and then shared: seed or copy it before sampling from it."""
        from ConfigSpace import (
            CategoricalHyperparameter,
            ConfigurationSpace,
            OrdinalHyperparameter,
            UniformFloatHyperparameter,
            UniformIntegerHyperparameter,
        )

        space = ConfigurationSpace(name=self.label, seed=0)
        for name in self._names:
            if name in RATES:
                space.add(UniformFloatHyperparameter(name, *RATES[name], log=True))
            elif name in CHOICES:
                space.add(CategoricalHyperparameter(name, list(CHOICES[name])))
            elif self._kind == "indices":
                space.add(UniformIntegerHyperparameter(name, 0, len(SIZES[name]) - 1))
            else:
                space.add(OrdinalHyperparameter(name, list(SIZES[name])))
        return space

    def __call__(self, config: Config, *, fidelity: float | None = None, seed: int | None = None) -> Evaluation:
        """Ask the surrogates; see `Benchmark.__call__`.

        Raises
        ------
        SpecificationError
            The configuration, the fidelity or the seed is not allowed.
        DataMissingError
            The surrogates are not there, or the installed libraries cannot read them; the message says what to do.
        """
        epoch = self.fidelity.check(fidelity, self.label)
        if seed is not None:
            check_seed(seed)
        values = self._values(config)
        values["epoch"] = epoch
        score, runtime, *others = self._surrogates
        if self._clock == "linear":
            seconds = max(0.0, runtime({**values, "epoch": EPOCHS})) * (epoch / EPOCHS)
        else:
            seconds = max(0.0, runtime(values))
        return Evaluation(
            100.0 - score(values),
            seconds,
            {name: surrogate(values) for name, surrogate in zip(self.metrics, others, strict=True)},
        )

    def __repr__(self) -> str:
        return f"<benchmark {self.label}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments alone: each process reads the surrogates for itself."""
        return _make, (self.task, self._options)

    @property
    def content(self) -> str:
        """The digest of the files of the surrogates that are asked; reading them takes seconds, once in a process."""
        folder = self._folder
        used = [folder / metric for metric in (SCORE, RUNTIME, *self.metrics)]
        return files_digest(folder, [file for place in used for file in place.rglob("*") if file.is_file()])

    @property
    def _folder(self) -> Path:
        return data_set(NAME).place / self.task

    @cached_property
    def _surrogates(self) -> tuple[Surrogate | Slow, ...]:
        return tuple(open_surrogate(self._folder / metric, random_rows) for metric in (SCORE, RUNTIME, *self.metrics))

    def _values(self, config: Config) -> dict[str, Any]:
        """Return the raw values of all columns but the epoch."""
        if not isinstance(config, Mapping) or set(config) != set(self._names):
            check_names(config, self._names, self.label)
        values = {name: self._value(name, config[name]) for name in self._names}
        values["Optimizer"] = "SGD"
        if self._resolution is not None:
            values["Resolution"] = float(self._resolution)
        return values

    def _value(self, name: str, value: Any) -> Any:
        """Return the raw value of one parameter as a plain Python value."""
        number = as_float(value)
        if name in RATES:
            lower, upper = RATES[name]
            if number is not None and lower <= number <= upper:
                return number
            raise self._refusal(name, value, f"a number from {lower:g} to {upper:g}")
        if name == "TrivialAugment":
            if type(value).__name__ in _BOOLEANS:
                return bool(value)
            raise self._refusal(name, value, "True or False")
        if name == "Activation":
            if isinstance(value, str) and value in CHOICES[name]:
                return str(value)
            raise self._refusal(name, value, f"one of {list(CHOICES[name])}")
        raw = CHOICES.get(name) or SIZES[name]
        if name in SIZES and self._kind == "indices":
            if number is not None and number.is_integer() and 0 <= number < len(raw):
                return raw[int(number)]
            raise self._refusal(
                name, value, f"an index from 0 to {len(raw) - 1}, standing for {list(raw)} (space='values' takes those)"
            )
        if number is None or number not in raw:
            raise self._refusal(name, value, f"one of {list(raw)}")
        return raw[raw.index(number)]

    def _refusal(self, name: str, value: Any, allowed: str) -> SpecificationError:
        return SpecificationError(f"{self.label}: the parameter {name!r} has the value {value!r}; allowed is {allowed}")


def random_rows(count: int) -> list[dict[str, Any]]:
    """Return rows of raw values drawn from the whole space, the same ones every time."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        row: dict[str, Any] = {name: raw[int(rng.integers(len(raw)))] for name, raw in {**SIZES, **CHOICES}.items()}
        row |= {name: float(lower * (upper / lower) ** rng.random()) for name, (lower, upper) in RATES.items()}
        rows.append({**row, "Optimizer": "SGD", "epoch": int(rng.integers(1, EPOCHS + 1))})
    return rows


def missing(task: str | None) -> str | None:
    """Tell which file of a task (of any, when None) is not there and which command gets it; None when all are."""
    data = data_set(NAME)
    for one in TASKS if task is None else (task,):
        for metric in (SCORE, RUNTIME):
            model = data.place / one / metric / "model.pkl.gz"
            if not model.is_file():
                return f"{model} not found; get the data with: {data.command}"
    return None


def _make(task: str, options: Mapping[str, Any]) -> JAHS:
    # Whoever made the pickle has allowed the surrogates to be read.
    return JAHS(task, allow_pickle=True, **options)


FAMILY = Family(
    name=NAME,
    description="architectures with hyperparameters, 12 in all, 200 epochs; the loss is the error in percent",
    make=JAHS,
    tasks=TASKS,
    data="the official surrogates v1.1.0, pickles: needs allow_pickle=True",
    missing=missing,
    libraries=("xgboost", "xgboost-cpu", "scikit-learn"),
    citation=CITATION,
    licence=LICENCE,
    facts=Facts(
        value="100 - validation accuracy, percent",
        runtime="s, cumulative to the end of the epoch; predicted",
        metrics=METRICS,
        optima=dict(BEST_KNOWN.items()),
        optimum_note="the least known error of the official surrogates at resolution 1 and epoch 200; not proven",
        bibtex="""\
@inproceedings{bansal2022jahs,
  title     = {{JAHS-Bench-201}: A Foundation For Research On Joint Architecture And Hyperparameter Search},
  author    = {Bansal, Archit and Stoll, Danny and Janowski, Maciej and Zela, Arber and Hutter, Frank},
  booktitle = {Thirty-sixth Conference on Neural Information Processing Systems Datasets and Benchmarks Track},
  year      = {2022}
}""",
    ),
)
