"""A user's own table: look-up, seeds, nearest rows, spaces, refusals, processes, and a study that names a CSV file."""

from __future__ import annotations

import itertools
import math
import pickle
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, Integer, OrdinalHyperparameter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerowait.benchmarks import DamagedDataError, DataMissingError, from_dataframe, load
from zerowait.benchmarks.own_table import store as storage
from zerowait.suite.factory_spec import factory_spec_of
from zerowait.suite.rules.errors import SpecificationError

ROOT = Path(__file__).parents[3]
PARAMS = ["rate", "optimizer", "nesterov", "units"]
COLUMNS = {"params": PARAMS, "value": "loss", "runtime": "seconds", "fidelity": "epoch"}
VALUES = {"rate": [0.3, 0.01, 0.1], "optimizer": ["sgd", "None"], "nesterov": [True, False], "units": [16, 64, 32]}


def full_frame(n_seeds=3):
    """Every combination at three epochs, with seeds, in an order that is not sorted."""
    rng = np.random.default_rng(0)
    rows = [
        dict(zip([*VALUES, "epoch", "seed"], cells, strict=True))
        for cells in itertools.product(*VALUES.values(), [9, 1, 3], range(n_seeds))
    ]
    frame = pd.DataFrame(rows)
    frame["loss"], frame["seconds"] = rng.random(len(frame)), (rng.random(len(frame)) + 1.0) * frame.epoch**2
    frame["memory"] = rng.integers(1, 100, len(frame))
    return frame.sample(frac=1.0, random_state=1)


FRAME = full_frame()


@pytest.fixture(scope="module")
def exact(cache):
    return from_dataframe(FRAME, **COLUMNS, metrics=["memory"])


def rows_of(frame, config, epoch):
    """Find rows as a reader of the table would, in its order."""
    mask = frame.epoch == epoch
    for name, value in config.items():
        mask &= frame[name] == value
    return frame[mask]


configs = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})
seeds = st.integers(0, 2**63 - 1)


@given(config=configs, epoch=st.sampled_from([1, 3, 9]), seed=seeds)
def test_every_row_is_found_and_the_seed_chooses_among_its_repetitions(exact, config, epoch, seed):
    rows = rows_of(FRAME, config, epoch)
    row = rows.iloc[seed % 3]
    evaluation = exact(config, fidelity=epoch, seed=seed)
    assert (evaluation.value, evaluation.runtime) == (row.loss, row.seconds)
    assert evaluation.metrics == {"memory": float(row.memory)}
    numbers = (evaluation.value, evaluation.runtime, evaluation.metrics["memory"])
    assert all(type(number) is float for number in numbers)


@given(config=configs, epoch=st.sampled_from([1, 3, 9]))
def test_without_a_seed_every_number_is_the_mean_over_the_repetitions(exact, config, epoch):
    rows, mean = rows_of(FRAME, config, epoch), exact(config, fidelity=epoch)
    assert mean.value == math.fsum(rows.loss) / 3
    assert mean.runtime == math.fsum(rows.seconds) / 3
    assert mean.metrics["memory"] == statistics.fmean(rows.memory)


def test_no_fidelity_means_the_highest_and_the_optimum_is_the_least_value_there(exact):
    config = {name: values[0] for name, values in VALUES.items()}
    assert exact(config, seed=4) == exact(config, fidelity=9, seed=4) == exact(config, fidelity=9.0, seed=np.int64(4))
    assert exact.optimum == FRAME[FRAME.epoch == 9].loss.min()
    assert (exact.fidelity.lower, exact.fidelity.upper, exact.fidelity.integer) == (1, 9, True)
    assert exact.fidelities == (1, 3, 9)


def test_the_space_of_an_exact_table_has_its_values_and_no_others(exact):
    kinds = {name: type(parameter).__name__ for name, parameter in exact.space.items()}
    assert kinds == {
        "rate": "OrdinalHyperparameter",
        "optimizer": "CategoricalHyperparameter",
        "nesterov": "CategoricalHyperparameter",
        "units": "OrdinalHyperparameter",
    }
    assert list(exact.space["rate"].sequence) == [0.01, 0.1, 0.3]
    assert list(exact.space["optimizer"].choices) == ["None", "sgd"]
    assert list(exact.space["nesterov"].choices) == [False, True]
    assert exact.space.name == exact.label == "table"


def test_integers_without_a_gap_are_a_range_and_a_single_value_is_a_constant():
    frame = pd.DataFrame({"depth": [3, 1, 2], "kind": "tree", "loss": 1.0, "s": 2.0})
    space = from_dataframe(frame, params=["depth", "kind"], value="loss", runtime="s").space
    assert (space["depth"].lower, space["depth"].upper) == (1, 3)
    assert type(space["kind"]).__name__ == "Constant"


def test_the_space_for_nearest_rows_is_the_box_around_the_table():
    space = from_dataframe(FRAME, **COLUMNS, match="nearest", log=["rate", "units"]).space
    assert [(p.lower, p.upper, p.log) for p in (space["rate"], space["units"])] == [(0.01, 0.3, True), (16, 64, True)]
    assert type(space["units"]).__name__ == "UniformIntegerHyperparameter"


@pytest.mark.parametrize("options", [{}, {"match": "nearest"}, {"match": "nearest", "log": ["rate"]}])
def test_configurations_sampled_from_the_space_are_accepted(options):
    benchmark = from_dataframe(FRAME, **COLUMNS, **options)
    benchmark.space.seed(5)
    for config in benchmark.space.sample_configuration(100):
        assert benchmark(config, seed=1, fidelity=3) == benchmark(dict(config), seed=1, fidelity=3)


# What no row has and no bound allows, for any parameter.
OUTSIDE = (
    st.floats(max_value=0.0)
    | st.floats(min_value=65.0)
    | st.integers(max_value=0)
    | st.integers(min_value=65)
    | st.text().filter(lambda text: text not in VALUES["optimizer"])
    | st.sampled_from([math.nan, None, [1]])
)


@pytest.mark.parametrize("match", ["exact", "nearest"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configs, name=st.sampled_from(PARAMS), value=OUTSIDE)
def test_what_is_outside_is_refused_with_name_value_and_what_is_allowed(match, config, name, value):
    benchmark = benchmark_of(match)
    with pytest.raises(SpecificationError) as caught:
        benchmark({**config, name: value})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{benchmark.label}: the parameter {name!r} has the value ")
    if match == "nearest" and name in ("rate", "units"):
        assert re.search(r"allowed is an? (number|integer) from \S+ to (0\.29999999999999999|64)$", message)
    else:
        assert repr(sorted(VALUES[name])).strip("[]") in message


def benchmark_of(match, known={}):  # noqa: B006 - made once for all examples
    if match not in known:
        known[match] = from_dataframe(FRAME, **COLUMNS, match=match)
    return known[match]


@pytest.mark.parametrize(("name", "value"), [("nesterov", 1), ("nesterov", "True"), ("units", True), ("units", 16.5)])
@pytest.mark.parametrize("match", ["exact", "nearest"])
def test_true_is_not_one_and_an_integer_is_whole(match, name, value):
    config = {key: values[0] for key, values in VALUES.items()}
    with pytest.raises(SpecificationError, match=f"{name!r} has the value {value!r}; allowed is"):
        benchmark_of(match)({**config, name: value})


def test_missing_and_unknown_parameters_are_refused_by_name(exact):
    config = {name: values[0] for name, values in VALUES.items()}
    with pytest.raises(SpecificationError, match=r"table: the parameter 'rate' is missing .* exactly: rate, opt"):
        exact({name: value for name, value in config.items() if name != "rate"})
    with pytest.raises(SpecificationError, match=r"the parameter 'seed' \(value 1\) is unknown"):
        exact({**config, "seed": 1})
    with pytest.raises(SpecificationError, match=r"the parameter 'seed' \(value 1\) is unknown"):
        exact({**{name: value for name, value in config.items() if name != "rate"}, "rate": 0.1, "seed": 1})


def test_a_fidelity_between_those_of_the_table_is_refused_with_theirs(exact):
    config = {name: values[0] for name, values in VALUES.items()}
    for fidelity in (4, 10):
        with pytest.raises(SpecificationError, match=f"the fidelity 'epoch' is {fidelity}; it must be one of 1, 3, 9,"):
            exact(config, fidelity=fidelity)
    without = from_dataframe(FRAME[FRAME.epoch == 9], **{**COLUMNS, "fidelity": None})
    assert without.fidelity is None
    with pytest.raises(SpecificationError, match="the fidelity is 9, but the table has none"):
        without(config, fidelity=9)


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True, 2**63])
def test_a_seed_that_is_not_a_natural_number_is_refused(exact, seed):
    with pytest.raises(SpecificationError, match="seed is"):
        exact({name: values[0] for name, values in VALUES.items()}, seed=seed)


# --- nearest rows, against a search in plain Python -----------------------------------------------------------------

cells = {
    "x": st.floats(-5.0, 5.0).map(lambda x: round(x, 2)),
    "rate": st.sampled_from([1e-4, 1e-3, 0.02, 0.5, 1.0]),
    "units": st.integers(1, 9),
    "kind": st.sampled_from(["a", "b", "c"]),
    "flag": st.booleans(),
    "epoch": st.sampled_from([1, 2, 5, 10]),
}
frames = st.lists(st.tuples(*cells.values()), min_size=3, max_size=30).map(
    lambda rows: pd.DataFrame(rows, columns=list(cells))
)


def position(value, lower, upper, log):
    if lower == upper:
        return 0.0
    if log:
        first, last = np.log(np.array([lower, upper]))
        return float((np.log(np.array([value]))[0] - first) / (last - first))
    return (value - lower) / (upper - lower)


def nearest_by_hand(frame, config, epoch):
    """Look at every row as the documentation says, without arrays; return the value, distance and fidelity."""
    levels = sorted(set(frame.epoch))
    level = min(levels, key=lambda z: (abs(z - epoch), z))
    names = list(config)
    best = None
    for number, row in enumerate(frame.to_dict("records")):
        if row["epoch"] != level:
            continue
        total = 0.0
        for name in names:
            if name in ("kind", "flag"):
                total += row[name] != config[name]
            else:
                bounds = float(frame[name].min()), float(frame[name].max()), name == "rate"
                total += (position(row[name], *bounds) - position(config[name], *bounds)) ** 2
        key = (total, *(row[name] for name in names), number)
        best = key if best is None or key < best else best
    return float(best[-1]), math.sqrt(best[0]), float(level)


@settings(max_examples=60)
@given(frame=frames, data=st.data())
def test_the_nearest_row_is_the_one_that_the_documentation_says(cache, frame, data):
    frame = frame.assign(loss=np.arange(len(frame), dtype=float))
    names = ["x", "rate", "units", "kind", "flag"]
    if len(set(frame.epoch)) == 1:
        frame.loc[0, "epoch"] = 20
    frame["seconds"] = frame.epoch
    benchmark = from_dataframe(
        frame, params=names, value="loss", runtime="seconds", fidelity="epoch", match="nearest", log=["rate"]
    )
    config = {
        "x": data.draw(st.floats(float(frame.x.min()), float(frame.x.max()))),
        "rate": data.draw(st.floats(float(frame.rate.min()), float(frame.rate.max()))),
        "units": data.draw(st.integers(int(frame.units.min()), int(frame.units.max()))),
        "kind": data.draw(st.sampled_from(sorted(set(frame.kind)))),
        "flag": data.draw(st.sampled_from([bool(flag) for flag in sorted(set(frame.flag))])),
    }
    epoch = data.draw(st.integers(int(frame.epoch.min()), int(frame.epoch.max())))
    evaluation = benchmark(config, fidelity=epoch, seed=0)
    value, distance, level = nearest_by_hand(frame, config, epoch)
    assert evaluation.value == value
    assert evaluation.metrics == {"distance": distance, "matched_fidelity": level}
    row = frame.iloc[data.draw(st.integers(0, len(frame) - 1))]
    itself = {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in row[names].items()}
    assert benchmark(itself, fidelity=int(row.epoch), seed=0).metrics["distance"] == 0.0


def test_of_two_rows_equally_near_the_first_in_the_order_of_values_counts():
    frame = pd.DataFrame({"b": ["y", "x", "x"], "a": [0.0, 1.0, 0.0], "loss": [1.0, 2.0, 3.0], "s": 1.0})
    benchmark = from_dataframe(frame, params=["a", "b"], value="loss", runtime="s", match="nearest")
    assert benchmark({"a": 0.5, "b": "x"}).value == 3.0
    assert benchmark({"a": 0.5, "b": "y"}) == benchmark({"a": 0.5, "b": "y"})
    assert benchmark({"a": 0.5, "b": "y"}).metrics == {"distance": 0.5}


def test_frames_that_differ_only_in_their_texts_are_not_confused():
    frames = [pd.DataFrame({"kind": kinds, "loss": [1.0, 2.0], "s": 1.0}) for kinds in (["a", "b"], ["b", "c"])]
    first, second = (from_dataframe(frame, params=["kind"], value="loss", runtime="s") for frame in frames)
    assert (first({"kind": "b"}).value, second({"kind": "b"}).value) == (2.0, 1.0)


def test_a_range_that_configspace_rounds_is_accepted_to_its_ends():
    values = [0.00019000160728, 1 / 3, 0.99999676672124999]
    frame = pd.DataFrame({"x": values, "loss": [1.0, 2.0, 3.0], "s": 1.0})
    benchmark = from_dataframe(frame, params=["x"], value="loss", runtime="s", match="nearest")
    ends = benchmark.space["x"]
    for x in (*values, ends.lower, ends.upper):
        assert benchmark({"x": x}).metrics["distance"] < 1e-9


# --- what is refused when the table is read -------------------------------------------------------------------------


def broken(**changes):
    frame = full_frame(1).reset_index(drop=True)
    for name, (row, value) in changes.items():
        frame[name] = frame[name].astype(object)
        frame.loc[row, name] = value
        frame[name] = frame[name].infer_objects()
    return frame


@pytest.mark.parametrize(
    ("frame", "options", "what"),
    [
        (broken(loss=(3, math.inf)), {}, r"row 3 has inf in the column 'loss' .*; leave the cell empty"),
        (broken(loss=(3, "high")), {}, r"the column 'loss' must hold numbers, .*'high' in it \(row 3; the"),
        (broken(seconds=(0, -1.0)), {}, r"row 0 has -1.0 in the column 'seconds' .*; a runtime is from 0 to"),
        (broken(seconds=(7, math.inf)), {}, r"row 7 has inf in the column 'seconds'"),
        (broken(rate=(2, math.nan)), {}, r"row 2 has nothing in the column 'rate' .*; fill it, drop the row, or give"),
        (broken(rate=(2, math.inf)), {}, r"row 2 has inf in the column 'rate' .*; a parameter is finite"),
        (broken(optimizer=(2, 3)), {}, r"the column 'optimizer' holds int, str; .* only one of these"),
        (broken(nesterov=(2, "yes")), {}, r"the column 'nesterov' holds bool, str;"),
        (broken(epoch=(1, "last")), {}, r"the column 'epoch' must hold numbers"),
        (FRAME, {"value": "accuracy"}, r"there is no column 'accuracy'; the table has 'rate', 'optimizer'"),
        (FRAME, {"params": ["rate", "rate"]}, r"the column 'rate' is given as params and as params; a column has one"),
        (FRAME, {"params": "rate"}, r"params is 'rate'; it must be a list of names of columns"),
        (FRAME, {"params": []}, r"params is empty"),
        (FRAME, {"params": [1]}, r"params has 1; it must be the name of a column"),
        (FRAME, {"metrics": ["loss"]}, r"the column 'loss' is given as metrics and as value"),
        (FRAME.assign(note="x"), {"metrics": ["note"]}, r"the column 'note' must hold numbers, .* with 'x' in it"),
        (FRAME[:0], {}, r"the table has no rows"),
        (FRAME, {"match": "closest"}, r"match is 'closest'; it must be 'exact' or 'nearest'"),
        (FRAME, {"log": ["rate"]}, r"log has 'rate', but scales matter only with match='nearest'"),
        (FRAME, {"log": ["size"], "match": "nearest"}, r"log has 'size', which is not one of params"),
        (FRAME, {"log": ["optimizer"], "match": "nearest"}, r"log has 'optimizer', whose values are not all positive"),
        (FRAME.rename(columns={"memory": "distance"}), {"metrics": ["distance"], "match": "nearest"}, r"rename"),
        (FRAME[FRAME.epoch == 9], {}, r"the column 'epoch' holds only 9; leave fidelity out"),
        (pd.concat([FRAME, FRAME.loss], axis=1), {}, r"the table has 2 columns 'loss'; rename all but one"),
        (FRAME.assign(rate=pd.Timestamp(0)), {}, r"the column 'rate' holds datetime64\[ns\]; a parameter's column"),
        (FRAME.assign(units=FRAME.units + 2**60), {}, r"an integer is at most 9007199254740992 \(2\*\*53\) in size"),
        ([1, 2], {}, r"the table is of type list; give a DataFrame or the path of a file"),
        (FRAME, {"label": ""}, r"label is ''; it must be a text"),
        (FRAME, {"space": 3}, r"space is 3; it must be a ConfigurationSpace or the path of its JSON"),
        (FRAME, {"space": "no.json"}, r"the space no.json cannot be read: No such file"),
        (FRAME, {"space": ConfigurationSpace({"rate": (0.0, 1.0)})}, r"the space has no 'optimizer', .* it has rate"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_in_one_line(frame, options, what):
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(frame, **{**COLUMNS, **options})
    assert "\n" not in str(caught.value)


@settings(max_examples=25)
@given(drop=st.sets(st.integers(0, 107), min_size=1, max_size=5))
def test_a_missing_row_is_refused_with_the_first_missing_combination(cache, drop):
    frame = full_frame(1).sort_values([*PARAMS, "epoch"]).reset_index(drop=True)
    first = frame.iloc[min(drop)]
    with pytest.raises(SpecificationError) as caught:
        from_dataframe(frame.drop(index=list(drop)), **COLUMNS)
    plain = first.to_frame().T.infer_objects().iloc[0].to_dict()
    named = ", ".join(f"{name}={plain[name]!r}" for name in PARAMS)
    assert f"the table has {108 - len(drop)} of the 108 combinations" in str(caught.value)
    assert f"the first one missing is {named}, epoch={float(first.epoch)!r}; add the rows" in str(caught.value)


def test_free_floats_cannot_be_matched_exactly_and_the_refusal_says_what_to_do():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((1000, 9)), columns=[f"x{i}" for i in range(9)]).assign(loss=0.0, s=1.0)
    columns = {"params": [f"x{i}" for i in range(9)], "value": "loss", "runtime": "s"}
    with pytest.raises(SpecificationError, match=r"has 1000 of the 10{27} combinations .* take match='nearest'"):
        from_dataframe(frame, **columns)
    assert from_dataframe(frame, **columns, match="nearest")(dict.fromkeys(columns["params"], 0.5)).value == 0.0


# --- given spaces ---------------------------------------------------------------------------------------------------


def conditional(match="exact"):
    model, rate = Categorical("model", ["line", "tree"]), Float("rate", (0.1, 1.0), log=True)
    depth = Integer("depth", (1, 3))
    if match == "exact":
        rate, depth = OrdinalHyperparameter("rate", [0.1, 1.0]), OrdinalHyperparameter("depth", [1, 3])
    space = ConfigurationSpace(name="mine", space=[model, rate, depth])
    space.add(EqualsCondition(rate, model, "line"), EqualsCondition(depth, model, "tree"))
    frame = pd.DataFrame(
        {
            "model": ["line", "tree", "line", "tree"],
            "rate": [0.1, None, 1.0, None],
            "depth": [None, 1, None, 3],
            "loss": [4.0, 3.0, 2.0, 1.0],
            "s": 1.0,
        }
    )
    columns = {"params": ["model", "rate", "depth"], "value": "loss", "runtime": "s"}
    return {"table": frame, **columns, "space": space, "match": match}


def test_a_given_space_may_be_conditional_and_inactive_parameters_are_empty_cells():
    benchmark = from_dataframe(**conditional())
    assert benchmark({"model": "tree", "depth": 3}).value == 1.0
    assert benchmark({"model": "line", "rate": 0.1}).value == 4.0
    assert benchmark.space.name == "mine"
    with pytest.raises(SpecificationError, match="'model' is missing"):
        benchmark({"depth": 3})
    with pytest.raises(SpecificationError, match=r"the table has no row for \{'depth': 3, 'model': 'line'\}; add it"):
        benchmark({"model": "line", "depth": 3})
    with pytest.raises(SpecificationError, match=r"'depth' has the value 2; allowed is one of \[1.0, 3.0\]"):
        benchmark({"model": "tree", "depth": 2})


def test_an_inactive_parameter_is_as_far_from_an_active_one_as_two_texts_that_differ():
    benchmark = from_dataframe(**conditional("nearest"))
    assert benchmark({"model": "tree", "depth": 2}).metrics == {"distance": 0.5}
    assert benchmark({"model": "tree", "depth": 2}).value == 3.0
    assert benchmark({"model": "line", "rate": 10**-0.25}).metrics["distance"] == pytest.approx(0.25)
    benchmark.space.seed(0)
    assert all(benchmark(config).metrics["distance"] <= 0.5 for config in benchmark.space.sample_configuration(50))


def test_a_given_space_may_be_a_file(tmp_path):
    arguments = conditional()
    arguments["space"].to_json(tmp_path / "space.json")
    from_file = from_dataframe(**{**arguments, "space": tmp_path / "space.json"})
    assert from_file.space == arguments["space"]
    assert from_file.content == from_dataframe(**arguments).content
    (tmp_path / "space.json").write_text("[]")
    with pytest.raises(SpecificationError, match=r"space\.json is not a space that ConfigurationSpace\.to_json wrote"):
        from_dataframe(**{**arguments, "space": tmp_path / "space.json"})


def test_rows_outside_a_given_space_are_refused():
    arguments = conditional("nearest")
    arguments["table"] = arguments["table"].assign(depth=[None, 1, None, 9])
    with pytest.raises(SpecificationError, match="the table has 'depth' from 1 to 9, but the space only from 1 to 3"):
        from_dataframe(**arguments)


# --- files, the cache and processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_file_gives_the_same_benchmark_as_the_frame_that_was_written(tmp_path, exact, suffix):
    path = tmp_path / f"mlp.runs{suffix}"
    FRAME.to_parquet(path) if suffix == ".parquet" else FRAME.to_csv(path, index=False)
    benchmark = from_dataframe(path, **COLUMNS, metrics=["memory"])
    assert benchmark.label == "table/mlp"
    for config in itertools.product(*VALUES.values()):
        named = dict(zip(VALUES, config, strict=True))
        assert benchmark(named, fidelity=3, seed=2) == exact(named, fidelity=3, seed=2)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("absent.csv", None, "absent.csv cannot be read: No such file or directory; give the path of a table"),
        ("table.xlsx", "x", r"table.xlsx must end in .csv, .csv.gz, .tsv, .tsv.gz or .parquet"),
        ("table.parquet", "no parquet", r"table.parquet is not a table: "),
        ("table.csv", "", r"table.csv is not a table: it is empty"),
        ("table.csv", 'a,b\n"1', r"table.csv is not a table: "),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_path(tmp_path, name, content, what):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SpecificationError, match=what) as caught:
        from_dataframe(tmp_path / name, **COLUMNS)
    assert "\n" not in str(caught.value)


def test_a_pickle_holds_no_numbers_and_another_process_maps_the_same_file(tmp_path, exact):
    text = pickle.dumps(exact)
    assert len(text) < 600
    (tmp_path / "benchmark").write_bytes(text)
    config = {name: values[1] for name, values in VALUES.items()}
    code = (
        "import pickle, sys; b = pickle.load(open(sys.argv[1], 'rb'))\n"
        f"e = b({config!r}, fidelity=3, seed=7); print(repr([e.value, e.runtime, e.metrics['memory']]))\n"
        "print('pandas' in sys.modules, b._stored.data['loss'].flags.writeable)\n"
        "print(any(b.content in line for line in open('/proc/self/maps')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "benchmark")], capture_output=True, text=True, check=True
    )
    here = exact(config, fidelity=3, seed=7)
    assert done.stdout.splitlines() == [repr([here.value, here.runtime, here.metrics["memory"]]), "False False", "True"]


def test_a_file_is_converted_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mine.csv"
    FRAME.to_csv(path, index=False)
    first = from_dataframe(path, **COLUMNS)
    files = list((tmp_path / "cache").rglob("*"))
    with monkeypatch.context() as m:
        m.setattr("zerowait.benchmarks.own_table.conversion.read_table", lambda *_: pytest.fail("it was read again"))
        assert from_dataframe(path, **COLUMNS).content == first.content
    assert list((tmp_path / "cache").rglob("*")) == files
    FRAME.assign(loss=FRAME.loss + 1.0).to_csv(path, index=False)
    assert from_dataframe(path, **COLUMNS).optimum == first.optimum + 1.0


def test_a_converted_table_that_is_gone_is_made_again_from_its_file_or_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "mine.csv"
    FRAME.to_csv(path, index=False)
    from_file, from_frame = (pickle.dumps(from_dataframe(table, **COLUMNS)) for table in (path, FRAME))
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "another"))
    assert pickle.loads(from_file).optimum == FRAME[FRAME.epoch == 9].loss.min()
    with pytest.raises(
        DataMissingError, match=r"table: the converted table .*arrow is not there any more; call from_d"
    ):
        _ = pickle.loads(from_frame).optimum
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "third"))
    FRAME[1:].to_csv(path, index=False)
    with pytest.raises(DataMissingError, match=r"mine.csv is not what it was when this benchmark was made of it"):
        _ = pickle.loads(from_file).optimum


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes().replace(np.float64(1.5).tobytes(), np.float64(2.5).tobytes())),
    ],
    ids=["empty", "torn", "numbers"],
)
def test_a_damaged_converted_table_is_converted_again_or_refused(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))
    frame = pd.DataFrame({"x": [1, 2], "loss": [1.5, 3.0], "s": 1.0})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    columns = {"params": ["x"], "value": "loss", "runtime": "s"}
    from_file, from_frame = (from_dataframe(table, **columns) for table in (tmp_path / "mine.csv", frame))
    for benchmark in (from_file, from_frame):
        damage(storage.place(benchmark.content))
    with pytest.warns(RuntimeWarning, match="it is converted again"):
        assert from_file.optimum == 1.5
    with pytest.raises(DamagedDataError, match=r"the converted table .*arrow"):
        _ = from_frame.optimum


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_that_moves_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataMissingError, match=r"cannot be stored in .*file.*: .*; set .* ZEROWAIT_CACHE to a folder"):
        from_dataframe(FRAME, **COLUMNS)


def test_a_query_of_a_large_table_calls_no_more_functions_than_one_of_a_small_table(cache, calls_of_a_query):
    def calls(n):
        grid = np.stack(np.meshgrid(*[np.arange(n)] * 5, indexing="ij"), -1).reshape(-1, 5)
        frame = pd.DataFrame(grid, columns=list("abcde")).assign(loss=0.5, s=1.0)
        benchmark = from_dataframe(frame, params=list("abcde"), value="loss", runtime="s")
        # The least of several: the garbage collector calls functions when it likes.
        return min(calls_of_a_query(benchmark, dict.fromkeys("abcde", 1), seed=3) for _ in range(5))

    calls(2)  # what is loaded on first use is no part of a query
    assert calls(8) == calls(2) < 200


# --- by name, and in a study ----------------------------------------------------------------------------------------


def test_the_family_table_loads_a_file_and_remembers_where_it_is(tmp_path, monkeypatch):
    FRAME.to_csv(tmp_path / "mine.csv", index=False)
    monkeypatch.chdir(tmp_path)
    benchmark = load("table", path="mine.csv", **COLUMNS, label="my runs")
    factory_spec = factory_spec_of(benchmark)
    monkeypatch.chdir("/")
    again = factory_spec.from_json(factory_spec.as_json()).make()
    assert (again.label, again.content) == ("my runs", benchmark.content)


@pytest.mark.parametrize("missing", ["path", "params", "value", "runtime"])
def test_the_family_table_says_which_parameter_is_missing(missing):
    given = {"path": "mine.csv", **COLUMNS}
    del given[missing]
    with pytest.raises(SpecificationError, match=rf"table: the parameter '{missing}' is missing; it needs path = "):
        load("table", **given)


STUDY = """
name = "mine"
workers = [2]
seeds = 1
overhead = "none"
[budget]
max_evaluations = 20
[[optimizers]]
name = "random"
mode = "ask_tell"
[[benchmarks]]
name = "table"
parameters = {{path = "mine.csv", {columns}}}
[[benchmarks]]
name = "table"
parameters = {{path = "mine.csv", match = "nearest", {columns}}}
"""
TOML_COLUMNS = (
    'params = ["rate", "optimizer", "nesterov", "units"], value = "loss", runtime = "seconds", fidelity = "epoch"'
)


def test_a_study_takes_two_tables_and_new_cells_when_their_file_changes(tmp_path, monkeypatch):
    from zerowait.experiments.grid.planning import make_plan
    from zerowait.experiments.studies.study import load_study

    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("mine.csv", index=False)
    Path("study.toml").write_text(STUDY.format(columns=TOML_COLUMNS))
    plan = make_plan(load_study("study.toml"), "study.toml")
    assert [cell.benchmark_label for cell in plan.cells] == ["table/mine", "table/mine(match=nearest)"]
    FRAME.assign(loss=1.0).to_csv("mine.csv", index=False)
    changed = make_plan(load_study("study.toml"), "study.toml")
    assert not {cell.key for cell in plan.cells} & {cell.key for cell in changed.cells}


def test_zerowait_run_takes_a_users_own_csv(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from zerowait.experiments.commands.cli import app

    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("mine.csv", index=False)
    Path("study.toml").write_text(STUDY.format(columns=TOML_COLUMNS))
    done = CliRunner().invoke(app, ["run", "study.toml", "--in-process"])
    assert done.exit_code == 0, done.output
    traces = [pd.read_parquet(path) for path in sorted(Path("runs/mine").rglob("trace.parquet"))]
    assert len(traces) == 2
    assert all(set(trace.value) <= set(FRAME.loss) for trace in traces)


def test_the_example_of_the_documentation_runs_and_is_ten_lines_long(tmp_path):
    page = (ROOT / "docs" / "benchmarks" / "your-own-table.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    assert len([line for line in example.splitlines() if line.strip()]) == 10
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**__import__("os").environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    shown = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)[0]
    assert done.stdout == shown
