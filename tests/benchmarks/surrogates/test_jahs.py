"""JAHS-Bench-201: small surrogates trained here in the official layout, and two pickled by the authors' versions.

The real surrogates (1.6 GB) are examined where `$ZEROWAIT_DATA/jahs` has them.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, DataMissingError, load
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.surrogates.jahs import CHOICES, RATES, SIZES, TASKS, missing, random_rows
from zerowait.benchmarks.surrogates.jahs_surrogate import Slow, Surrogate, open_surrogate, predictions
from zerowait.suite.rules.errors import SpecificationError

joblib = pytest.importorskip("joblib", reason="joblib is not installed (pip install 'zerowait[jahs]')")
sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed (pip install 'zerowait[jahs]')")
xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed (pip install 'zerowait[jahs]')")

# The columns of the official surrogates, in their order.
HEADERS = [
    "N", "W", "Op1", "Op2", "Op3", "Op4", "Op5", "Op6", "Resolution", "TrivialAugment", "Activation", "Optimizer",
    "LearningRate", "WeightDecay", "epoch",
]  # fmt: skip
CATEGORICAL = [*HEADERS[2:8], "TrivialAugment", "Activation", "Optimizer"]
METRICS = ("valid-acc", "runtime", "size_MB")
OLD = Path(__file__).parent / "jahs_pickled_by_1_0_2"
REAL = data_set("jahs").place


def labels(frame):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(frame))
    return {
        "valid-acc": 60 + 5 * frame.N - np.log10(frame.LearningRate) ** 2 + 5 * frame.TrivialAugment + noise,
        "runtime": frame.epoch * frame.W * frame.N * (1 + (frame.Activation == "Mish")) * 9.0 + 60 * noise,
        "size_MB": frame.N * frame.W / 16 + 0.1 * (frame.Op1 == 3),
    }


def sigmoid(values, k=1.0):
    return 1 / (1 + np.exp(-k * values))


def inverse_sigmoid(values, k=1.0):
    return (np.log(values) - np.log(1 - values)) / k


def wrapped(trees, metric):
    """Scale the target as the published pipelines do: not at all, once, or in a chain."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

    if metric == "size_MB":
        return trees
    if metric == "valid-acc":
        chained = FunctionTransformer(
            func=inverse_sigmoid, inverse_func=sigmoid, kw_args={"k": 2.0}, inv_kw_args={"k": 2.0}, check_inverse=False
        )
        trees = TransformedTargetRegressor(transformer=chained, regressor=trees)
    # The inverse of the sigmoid is finite only inside (0, 1).
    span = (0.1, 0.9) if metric == "valid-acc" else (0, 1)
    return TransformedTargetRegressor(transformer=MinMaxScaler(span), regressor=trees)


def trained(metric, frame, label, **encoder_options):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder
    from xgboost import XGBRegressor

    encoder = ColumnTransformer(
        [("OneHotEncoder", OneHotEncoder(drop="if_binary"), CATEGORICAL)], remainder="passthrough", **encoder_options
    )
    trees = XGBRegressor(n_estimators=40, max_depth=6, n_jobs=1, objective="reg:squarederror")
    return Pipeline([("preprocess", encoder), ("estimator", wrapped(trees, metric))]).fit(frame, label.to_frame(metric))


def write(folder, metric, model):
    """Write a surrogate with the functions and the protocol of the authors' own code."""
    folder.mkdir(parents=True)
    params = {
        "estimators_per_output": 500,
        "hyperparams": {"objective": "reg:squarederror"},
        "config_space": None,
        "label_headers": pd.Index([metric]),
        "feature_headers": pd.Index(HEADERS),
        "trained_": True,
    }
    joblib.dump(params, folder / "params.pkl.gz", protocol=0)
    pd.Index([metric]).to_series().to_pickle(folder / "label_headers.pkl.gz", protocol=0)
    joblib.dump(model, folder / "model.pkl.gz", protocol=0)


@pytest.fixture(scope="module")
def models():
    frame = pd.DataFrame(random_rows(1500))[HEADERS]
    return {metric: trained(metric, frame, label) for metric, label in labels(frame).items()}


@pytest.fixture(scope="module", autouse=True)
def data(models, tmp_path_factory):
    """A data folder with the surrogates of one task, as `zerowait data fetch jahs` would leave it."""
    folder, before = tmp_path_factory.mktemp("data"), os.environ.get("ZEROWAIT_DATA")
    for metric, model in models.items():
        write(folder / "jahs" / "assembled_surrogates" / "cifar10" / metric, metric, model)
    os.environ["ZEROWAIT_DATA"] = str(folder)
    yield folder / "jahs" / "assembled_surrogates"
    if before is None:
        del os.environ["ZEROWAIT_DATA"]
    else:
        os.environ["ZEROWAIT_DATA"] = before


@pytest.fixture(scope="module")
def benchmark_(data):
    return load("jahs", task="cifar10", allow_pickle=True, metrics=["size_MB"], fidelity_range=[1, 200])


configs = st.fixed_dictionaries(
    {
        "N": st.integers(0, 2),
        "W": st.integers(0, 2),
        **{name: st.sampled_from(values) for name, values in CHOICES.items()},
        **{name: st.floats(*bounds) for name, bounds in RATES.items()},
    }
)
DEFAULT = {
    "N": 0, "W": 1, "Op1": 0, "Op2": 1, "Op3": 2, "Op4": 3, "Op5": 4, "Op6": 0, "TrivialAugment": True,
    "Activation": "Mish", "LearningRate": 0.1, "WeightDecay": 1e-4,
}  # fmt: skip


def raw(config, epoch, resolution=1.0):
    values = {**config, "N": SIZES["N"][config["N"]], "W": SIZES["W"][config["W"]], "Resolution": resolution}
    return {**values, "Optimizer": "SGD", "epoch": epoch}


def official_frame(row):
    """Make the data frame of one query as the authors' own interface does: one row, of objects."""
    frame = pd.Series({name: row[name] for name in HEADERS if name != "epoch"}).to_frame().transpose()
    frame.loc[:, "epoch"] = row["epoch"]
    return frame[HEADERS]


@settings(max_examples=25)
@given(config=configs, epoch=st.integers(1, 200))
def test_every_number_is_bitwise_that_of_the_pipelines_own_predict(benchmark_, models, config, epoch):
    evaluation = benchmark_(config, fidelity=epoch, seed=3)
    row = raw(config, epoch)
    own = {metric: predictions(model, HEADERS, [row])[0] for metric, model in models.items()}
    assert evaluation.value == 100.0 - own["valid-acc"]
    assert evaluation.runtime == max(0.0, own["runtime"])
    assert evaluation.metrics == {"size_MB": own["size_MB"]}


def test_the_numbers_are_those_of_the_authors_interface_and_of_many_rows_at_once(data, models):
    rows = random_rows(200)
    for metric, model in models.items():
        surrogate = open_surrogate(data / "cifar10" / metric, random_rows)
        assert type(surrogate) is Surrogate
        fast = [surrogate(row) for row in rows]
        assert fast == predictions(model, HEADERS, rows)
        assert fast[:5] == [float(np.ravel(model.predict(official_frame(row)))[0]) for row in rows[:5]]


def test_a_query_calls_a_tenth_of_the_functions_of_the_pipeline(data, models, calls_of_a_query):
    benchmark = load("jahs", task="cifar10", allow_pickle=True)
    benchmark.space.seed(1)
    (row,) = random_rows(1)
    of_the_pipeline = calls_of_a_query(lambda row: predictions(models["valid-acc"], HEADERS, [row]), row)
    calls = calls_of_a_query(benchmark, dict(benchmark.space.sample_configuration()), fidelity=100)
    assert 10 * calls < of_the_pipeline


def test_only_the_surrogates_that_are_asked_for_are_read_and_only_on_first_use(data, tmp_path):
    code = (
        "import sys; from zerowait.benchmarks import load; import zerowait.benchmarks.surrogates.jahs_surrogate as s\n"
        "read = []; original = s._read\n"
        "def spy(path): read.append(path.parent.name + '/' + path.name); return original(path)\n"
        "s._read = spy\n"
        "b = load('jahs', task='cifar10', allow_pickle=True)\n"
        "print(read, sorted({'xgboost', 'sklearn', 'joblib'} & set(sys.modules)))\n"
        f"c = {DEFAULT!r}\n"
        "b(c); b(c); load('jahs', task='cifar10', allow_pickle=True, metrics=['size_MB'])(c); print(read)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[] []",
        "['valid-acc/model.pkl.gz', 'runtime/model.pkl.gz', 'size_MB/model.pkl.gz']",
    ]


def test_the_content_is_that_of_the_surrogates_that_are_asked(data, tmp_path, monkeypatch):
    shutil.copytree(data.parent.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    one, two = (load("jahs", task="cifar10", allow_pickle=True, metrics=metrics) for metrics in ([], ["size_MB"]))
    before = one.content, two.content
    size = next((tmp_path / "jahs" / "assembled_surrogates" / "cifar10" / "size_MB").glob("*.gz"))
    size.write_bytes(size.read_bytes() + b"1")
    assert one.content == before[0] != before[1] != two.content


def test_a_pickle_of_the_benchmark_holds_no_surrogate(benchmark_):
    first = benchmark_(DEFAULT, fidelity=50)
    text = pickle.dumps(benchmark_)
    assert len(text) < 200
    assert pickle.loads(text)(DEFAULT, fidelity=50) == first
    assert pickle.loads(text).label == benchmark_.label == "jahs/cifar10(fidelity_range=[1, 200])"


# --- the opt-in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_", [{}, {"allow_pickle": False}, {"allow_pickle": 1}, {"allow_pickle": "yes"}])
def test_without_the_explicit_opt_in_nothing_is_unpickled_and_the_error_says_why_and_how(given_):
    with pytest.raises(SpecificationError) as caught:
        load("jahs", task="cifar10", **given_)
    message = str(caught.value)
    assert "\n" not in message
    assert "are pickles, which can run any code" in message
    assert "give allow_pickle=True (in a study: parameters = {allow_pickle = true})" in message


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_runs_only_after_the_opt_in(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_DATA", str(tmp_path))
    trace = tmp_path / "was-here"
    for metric in ("valid-acc", "runtime"):
        folder = tmp_path / "jahs" / "assembled_surrogates" / "cifar10" / metric
        folder.mkdir(parents=True)
        joblib.dump(Trap(trace), folder / "model.pkl.gz")
    with pytest.raises(SpecificationError):
        load("jahs", task="cifar10")
    load("jahs", task="cifar10", allow_pickle=True)
    assert not trace.exists()


# --- absent, damaged and foreign files ------------------------------------------------------------------------------


def test_an_absent_surrogate_is_named_with_the_command_that_gets_it(data):
    with pytest.raises(
        DataMissingError, match=r"fashion_mnist/valid-acc/model\.pkl\.gz not found; get the data with: z"
    ):
        load("jahs", task="fashion_mnist", allow_pickle=True)
    assert missing("cifar10") is None
    assert "zerowait data fetch jahs" in missing(None)
    other = load("jahs", task="cifar10", allow_pickle=True, metrics=["latency"])
    with pytest.raises(
        DataMissingError, match=r"latency/model\.pkl\.gz cannot be read: No such file .* data fetch jahs"
    ):
        other(DEFAULT)


@pytest.mark.parametrize("damage", [b"", b"no pickle", None], ids=["empty", "other", "torn"])
def test_a_damaged_pickle_is_refused_in_one_line(data, tmp_path, damage):
    shutil.copytree(data / "cifar10" / "runtime", tmp_path / "runtime")
    path = tmp_path / "runtime" / "model.pkl.gz"
    path.write_bytes(path.read_bytes()[:-500] if damage is None else damage)
    with pytest.raises((DamagedDataError, DataMissingError), match=r"model\.pkl\.gz ") as caught:
        open_surrogate(path.parent, random_rows)
    assert "\n" not in str(caught.value)
    assert "zerowait data fetch jahs" in str(caught.value)


def test_a_pickle_of_a_package_that_is_not_installed_names_the_package(tmp_path):
    text = b"cjahs_bench.surrogate.utils\nCustomTransformFunctions\n."
    (tmp_path / "model.pkl.gz").write_bytes(text)
    with pytest.raises(DataMissingError, match=r"refers to the package jahs_bench.*: pip install --no-deps jahs_bench"):
        open_surrogate(tmp_path, random_rows)


def test_columns_that_the_model_has_not_remembered_are_read_from_the_parameters(models, tmp_path, monkeypatch):
    model = pickle.loads(pickle.dumps(models["runtime"]))
    del model.named_steps["preprocess"].feature_names_in_
    write(tmp_path / "runtime", "runtime", model)
    rows = random_rows(20)
    expected = predictions(models["runtime"], HEADERS, rows)
    # What has not remembered the names cannot check them either, and so cannot be asked as a whole.
    monkeypatch.setattr("zerowait.benchmarks.surrogates.jahs_surrogate.predictions", lambda *_: expected[:16])
    surrogate = open_surrogate(tmp_path / "runtime", random_rows)
    assert type(surrogate) is Surrogate
    assert [surrogate(row) for row in rows] == expected


def test_a_pipeline_that_makes_sparse_rows_is_asked_as_a_whole(tmp_path):
    frame = pd.DataFrame(random_rows(300))[HEADERS]
    model = trained("runtime", frame, labels(frame)["runtime"], sparse_threshold=1.0)
    write(tmp_path / "runtime", "runtime", model)
    with pytest.warns(RuntimeWarning, match="its encoder makes sparse rows.*asked through its own pipeline, slowly"):
        surrogate = open_surrogate(tmp_path / "runtime", random_rows)
    assert type(surrogate) is Slow
    rows = random_rows(5)
    assert [surrogate(row) for row in rows] == predictions(model, HEADERS, rows)


def test_parts_that_do_not_predict_what_the_pipeline_does_are_not_used(models, tmp_path, monkeypatch):
    write(tmp_path / "runtime", "runtime", models["runtime"])
    monkeypatch.setattr(Surrogate, "__call__", lambda self, values: 1.0)
    with pytest.warns(RuntimeWarning, match="its pipeline predicts other numbers than its parts"):
        surrogate = open_surrogate(tmp_path / "runtime", random_rows)
    assert surrogate(random_rows(1)[0]) == predictions(models["runtime"], HEADERS, random_rows(1))[0]


def test_a_value_that_the_surrogate_was_trained_without_is_named(tmp_path):
    frame = pd.DataFrame(random_rows(200))[HEADERS]
    frame = frame[frame.Activation != "Mish"]
    surrogate = Surrogate(trained("runtime", frame, labels(frame)["runtime"]))
    with pytest.raises(
        DamagedDataError, match=r"has never seen the value 'Mish' of 'Activation', only \['Hardswish', "
    ):
        surrogate({**random_rows(1)[0], "Activation": "Mish"})


# --- pickles of scikit-learn 1.0.2 and xgboost 1.5.2 -----------------------------------------------------------------


@pytest.mark.parametrize("metric", ["valid-acc", "runtime"])
def test_pickles_of_the_authors_versions_give_their_predictions_or_the_remedy(metric):
    folder = OLD / "cifar10" / metric
    if tuple(map(int, xgboost.__version__.split(".")[:2])) > (3, 0):
        with pytest.raises(DataMissingError) as caught:
            open_surrogate(folder, random_rows)
        message = str(caught.value)
        assert "\n" not in message
        assert f"cannot be read by scikit-learn {sklearn.__version__} and xgboost {xgboost.__version__}" in message
        assert "pip install 'xgboost-cpu==3.0.5'" in message
        return
    expected = json.loads((OLD / "expected.json").read_text())
    surrogate = open_surrogate(folder, random_rows)
    assert [surrogate(row) for row in expected["rows"]] == expected[metric]


# --- space, fidelity, seeds ------------------------------------------------------------------------------------------


def test_the_space_is_that_of_the_reference_experiments(benchmark_):
    kinds = [type(parameter).__name__.removesuffix("Hyperparameter") for parameter in benchmark_.space.values()]
    assert kinds.count("UniformInteger") == 2
    assert kinds.count("Categorical") == 8
    assert [(p.name, p.lower, p.upper) for p in benchmark_.space.values() if getattr(p, "log", False)] == [
        ("LearningRate", 1e-3, 1.0),
        ("WeightDecay", 1e-5, 1e-2),
    ]
    default = load("jahs", task="cifar10", allow_pickle=True)
    assert (default.fidelity.lower, default.fidelity.upper, default.fidelity.integer) == (22, 200, True)
    assert (default.optimum, default.label) == (8.12, "jahs/cifar10")


@pytest.mark.parametrize(
    "options", [{}, {"space": "values"}, {"resolution": None}, {"space": "values", "resolution": None}]
)
def test_configurations_sampled_from_the_space_are_accepted(options):
    benchmark = load("jahs", task="cifar10", allow_pickle=True, **options)
    benchmark.space.seed(2)
    for config in benchmark.space.sample_configuration(100):
        assert benchmark(config, fidelity=22) == benchmark(dict(config), fidelity=22)


def test_indices_and_values_and_resolutions_name_the_same_networks(models):
    values = load("jahs", task="cifar10", allow_pickle=True, space="values", resolution=None)
    for index, resolution in enumerate(SIZES["Resolution"]):
        fixed = load("jahs", task="cifar10", allow_pickle=True, resolution=resolution)
        free = load("jahs", task="cifar10", allow_pickle=True, resolution=None)
        config = {**DEFAULT, "N": 2, "W": 0}
        expected = predictions(models["runtime"], HEADERS, [raw(config, 200, resolution)])[0]
        assert fixed(config).runtime == free({**config, "Resolution": index}).runtime == expected
        assert values({**config, "N": 5, "W": 4, "Resolution": resolution}).runtime == expected
    assert values.optimum is None


def test_sizes_are_fidelities_on_request(models):
    options = {"allow_pickle": True, "space": "values", "resolution": None, "fidelity_range": [1, 200]}
    several = load("jahs", task="cifar10", fidelities={"Resolution": 0.5, "N": 3, "W": 8}, **options)
    assert load("jahs", task="cifar10", **options | {"resolution": "free"}).label == several.benchmark.label
    assert several.fidelity.name == "epoch"
    assert set(several.space) == set(DEFAULT) - {"N", "W"}
    config = {name: value for name, value in DEFAULT.items() if name not in {"N", "W"}}
    for n, (epoch, resolution) in enumerate(zip((1, 22, 200), SIZES["Resolution"], strict=True)):
        row = {**raw({**DEFAULT, "N": n, "W": n}, epoch, resolution)}
        expected = predictions(models["runtime"], HEADERS, [row])[0]
        asked = {name: row[name] for name in ("epoch", "Resolution", "N", "W")}
        assert several(config, fidelity=asked).runtime == max(0.0, expected)
    held = {**raw({**DEFAULT, "N": 1, "W": 1}, 22, 0.5)}
    assert several(config, fidelity=22).runtime == max(0.0, predictions(models["runtime"], HEADERS, [held])[0])
    full = {**raw({**DEFAULT, "N": 2, "W": 2}, 200, 1.0)}
    assert several(config).runtime == max(0.0, predictions(models["runtime"], HEADERS, [full])[0])
    with pytest.raises(SpecificationError, match=r"'Resolution' is 0\.75; it must be one of"):
        several(config, fidelity={"epoch": 9, "Resolution": 0.75, "N": 1, "W": 4})


OUTSIDE = st.sampled_from([-1, 3.5, 5, 17, math.nan, math.inf, None, "Op", [0], 1e-6])


@given(config=configs, name=st.sampled_from(sorted(DEFAULT)), value=OUTSIDE)
def test_what_is_outside_is_refused_with_name_value_and_range(benchmark_, config, name, value):
    with pytest.raises(SpecificationError) as caught:
        benchmark_({**config, name: value})
    what = re.escape(f"{benchmark_.label}: the parameter {name!r} has the value {value!r}; allowed is ")
    assert re.fullmatch(
        what + r"(a number from .* to .*|True or False|one of \[.*\]|an index from 0 to 2, .*)", str(caught.value)
    )


@pytest.mark.parametrize(("name", "value"), [("Op1", True), ("TrivialAugment", 1), ("N", False), ("W", 1.5)])
def test_true_is_not_one_and_an_index_is_whole(benchmark_, name, value):
    with pytest.raises(SpecificationError, match=f"{name!r} has the value {value!r}; allowed is"):
        benchmark_({**DEFAULT, name: value})


def test_missing_unknown_and_misplaced_parameters_are_refused_by_name(benchmark_):
    with pytest.raises(SpecificationError, match=r"the parameter 'Op6' is missing"):
        benchmark_({name: value for name, value in DEFAULT.items() if name != "Op6"})
    with pytest.raises(SpecificationError, match=r"the parameter 'Resolution' \(value 1\) is unknown"):
        benchmark_({**DEFAULT, "Resolution": 1})


@pytest.mark.parametrize("fidelity", [0, 201, 1.5, math.nan, "all", True])
def test_an_epoch_outside_its_range_is_refused(benchmark_, fidelity):
    with pytest.raises(SpecificationError, match=r"the fidelity 'epoch' is .*; it must be an integer from 1 to 200"):
        benchmark_(DEFAULT, fidelity=fidelity)


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True, 2**63])
def test_a_seed_that_is_not_a_natural_number_is_refused_and_others_change_nothing(benchmark_, seed):
    with pytest.raises(SpecificationError, match="seed is"):
        benchmark_(DEFAULT, seed=seed)
    assert benchmark_(DEFAULT, seed=1) == benchmark_(DEFAULT, seed=2) == benchmark_(DEFAULT)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"space": "index"}, "space is 'index'; it must be 'indices' or 'values'"),
        ({"resolution": 0.3}, "resolution is 0.3; it must be 0.25, 0.5, 1, or None"),
        ({"resolution": True}, "resolution is True; it must be"),
        ({"metrics": ["speed"]}, r"metrics is \['speed'\]; it must be a list of some of: FLOPS, latency"),
        ({"metrics": "FLOPS"}, "metrics is 'FLOPS'; it must be a list"),
        ({"fidelity_range": [0, 200]}, r"fidelity_range is \[0, 200\]; it must be two integers"),
        ({"fidelity_range": [200, 200]}, "1 <= lower < upper <= 200"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options, what):
    with pytest.raises(SpecificationError, match=what):
        load("jahs", task="cifar10", allow_pickle=True, **options)


def test_a_continued_evaluation_of_a_runtime_that_falls_charges_nothing_more(benchmark_):
    from zerowait.suite import Overhead, Query, simulate

    benchmark_.space.seed(0)
    for config in benchmark_.space.sample_configuration(500):
        falls = [
            e
            for e in range(1, 200)
            if benchmark_(config, fidelity=e + 1).runtime < benchmark_(config, fidelity=e).runtime
        ]
        if falls:
            break
    epoch = falls[0]

    class Two:
        def __init__(self):
            self.queries = [Query(dict(config), fidelity=epoch), Query(dict(config), fidelity=epoch + 1)]

        def ask(self):
            return self.queries.pop(0)

        def tell(self, query, evaluation):
            pass

    trace = simulate(Two(), benchmark_, n_workers=1, max_evaluations=2, continual=True, overhead=Overhead.none())
    assert list(trace.runtime) == [benchmark_(config, fidelity=epoch).runtime, 0.0]
    assert list(trace.clipped) == [False, True]


# --- the real surrogates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_real_surrogates_have_the_reference_statistics(task, monkeypatch):
    models = [REAL / task / metric / "model.pkl.gz" for metric in ("valid-acc", "runtime", "size_MB")]
    absent = next((model for model in models if not model.is_file()), None)
    reference = REAL.parents[1] / "reference_stats" / f"{task}.csv"
    if absent is not None or not reference.is_file():
        pytest.skip(f"{absent or reference} is not there (zerowait data fetch jahs, 1.6 GB)")
    monkeypatch.setenv("ZEROWAIT_DATA", str(REAL.parents[1]))
    statistics_ = pd.read_csv(reference)
    benchmark = load("jahs", task=task, allow_pickle=True, metrics=["size_MB"])
    benchmark.space.seed(0)
    sample = [benchmark(config) for config in benchmark.space.sample_configuration(4000)]
    runtimes, sizes = np.sort([e.runtime for e in sample]), np.sort([e.metrics["size_MB"] for e in sample])
    for quantile, numbers in (("runtime", runtimes), ("model_size", sizes)):
        known = statistics_[[f"{quantile}_quantile", f"{quantile}_threshold"]].drop_duplicates()
        for share, threshold in known.itertuples(index=False):
            # The share of 4,000 draws below a quantile is within five standard errors of it.
            found = np.searchsorted(numbers, threshold, side="right") / len(numbers)
            assert found == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 4000) + 2 / 4000)
    assert min(e.value for e in sample) >= statistics_.optimal_val.min() - 0.005
    assert benchmark.optimum == statistics_.optimal_val.min()


def test_the_linear_clock_takes_the_share_of_the_full_training(benchmark_):
    linear = load("jahs", task="cifar10", allow_pickle=True, clock="linear", fidelity_range=[1, 200])
    assert linear.label == "jahs/cifar10(fidelity_range=[1, 200], clock=linear)"
    assert pickle.loads(pickle.dumps(linear)).label == linear.label
    benchmark_.space.seed(0)
    for config in map(dict, benchmark_.space.sample_configuration(10)):
        full = benchmark_(config).runtime
        for epoch in (1, 22, 67, 200):
            assert linear(config, fidelity=epoch).runtime == full * (epoch / 200)
            assert linear(config, fidelity=epoch).value == benchmark_(config, fidelity=epoch).value
    with pytest.raises(SpecificationError, match="jahs/cifar10: clock is 'real'; it must be 'surrogate' or 'linear'"):
        load("jahs", task="cifar10", allow_pickle=True, clock="real")
