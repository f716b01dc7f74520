"""Several fidelities: trainings continue along the first, and the others make another training, in every mode."""

from __future__ import annotations

import functools
import json
import math
import random
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from checked_runs import Changed
from modes import MODES, queries, threads

from zerowait import (
    Cluster,
    Evaluation,
    Overhead,
    Query,
    SimulatedExecutor,
    Simulator,
    load_incumbents,
    load_study,
    simulate,
)
from zerowait.suite.naive import NaiveRun
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.records.trace import ATTRIBUTE, read_trace, write_trace
from zerowait.suite.rules.errors import RunMismatchError, SpecificationError
from zerowait.suite.rules.fidelities import Fidelities

NAMES = ["epoch", "resolution", "depth"]
EPOCHS = (1, 3, 9, 27, None)
OTHERS = [{"resolution": r, "depth": d} for r in (0.5, 1.0) for d in (1, 3, None)]


def seconds(x, fidelity):
    """Return the seconds from scratch: no two trainings have the same, and some are faster at more epochs."""
    return random.Random(repr((x, sorted(fidelity.items())))).uniform(1.0, 50.0) * (fidelity["epoch"] or 40)


class Trains:
    """The value tells the seed; the metrics repeat what the objective was given."""

    def __call__(self, config, *, fidelity, seed):
        told = {name: -1.0 if value is None else float(value) for name, value in fidelity.items()}
        return Evaluation(float(seed), seconds(config["x"], fidelity), told)


def schedule(seed, n=60):
    draw = random.Random(seed)
    asked = []
    for _ in range(n):
        fidelity = [("epoch", draw.choice(EPOCHS)), *draw.choice(OTHERS).items()]
        draw.shuffle(fidelity)
        asked.append((draw.randrange(2), dict(fidelity), *([f"id {draw.randrange(2)}"] if seed % 3 == 0 else [])))
    # An id names one configuration.
    return [(int(given[0][-1]) if given else x, fidelity, *given) for x, fidelity, *given in asked]


def witness(asked, n_workers, overhead):
    """Return the deliveries by steps through plain lists, from the rules and from no code of suite."""
    todo, running, states, deliveries = list(asked), [], [], []
    now = sampler = 0.0
    while True:
        while todo and len(running) < n_workers:
            x, fidelity, *_ = todo.pop(0)
            sampler = start = max(now, sampler) + overhead
            length = math.inf if fidelity["epoch"] is None else fidelity["epoch"]
            training = (x, fidelity["resolution"], fidelity["depth"])
            left = [s for s in states if s["training"] == training and s["length"] < length and s["end"] <= start]
            state = max(left, key=lambda s: (s["length"], -s["end"]), default=None)
            whole = seconds(x, fidelity)
            charged = whole
            if state is not None:
                states.remove(state)
                charged = max(0.0, whole - state["whole"])
            running.append(
                {"training": training, "length": length, "whole": whole, "start": start, "runtime": charged,
                 "end": start + charged, "from": math.nan if state is None else state["length"]}
            )  # fmt: skip
        if not running:
            return deliveries
        first = min(running, key=lambda r: (r["end"], r["start"]))
        running.remove(first)
        states.append(first)
        deliveries.append(first)
        now = first["end"]


def compared(trace):
    found = trace[["start", "end", "runtime", "resumed_from", "fidelity", "fidelity.resolution", "fidelity.depth"]]
    return found.assign(x=trace["config.x"]).to_numpy(dtype=float)


def expected(deliveries):
    rows = []
    for d in deliveries:
        x, resolution, depth = d["training"]
        length = math.nan if d["length"] == math.inf else d["length"]
        rows.append((d["start"], d["end"], d["runtime"], d["from"], length, resolution, depth or math.nan, x))
    return np.array(rows, dtype=float)


WAYS = {**MODES, "threads, several hosts": functools.partial(threads, shared_directory=True)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("seed", "n_workers", "overhead"), [(0, 1, 0.0), (1, 3, 0.0), (2, 4, 12.5)])
def test_every_way_gives_what_an_independent_simulation_gives(way, seed, n_workers, overhead):
    asked = schedule(seed)
    trace = WAYS[way](
        queries(*asked), Trains(), n_workers=n_workers, overhead=Overhead.fixed(overhead), continual=True,
        max_evaluations=len(asked), seed=seed, fidelities=NAMES,
    )  # fmt: skip
    deliveries = witness(asked, n_workers, overhead)
    np.testing.assert_array_equal(compared(trace), expected(deliveries))
    assert sum(not math.isnan(d["from"]) for d in deliveries) > 5
    n_trainings = len({d["training"] for d in deliveries})
    assert n_trainings > 10
    # A training keeps its seed at every epoch, and another one has another.
    assert trace["value"].tolist() == trace["seed"].tolist()
    trainings = trace.groupby(["config.x", "fidelity.resolution", "fidelity.depth"], dropna=False)["seed"]
    assert trainings.nunique().tolist() == [1] * n_trainings
    assert trace["seed"].nunique() == n_trainings
    assert trace["config_id"].nunique() == 2


@pytest.mark.parametrize("seed", range(40))
def test_random_schedules_asked_and_told_give_what_an_independent_simulation_gives(seed):
    asked, overhead, n_workers = schedule(seed), (0.0, 0.7)[seed % 2], 1 + seed % 5
    trace = MODES["ask and tell"](
        queries(*asked), Trains(), n_workers=n_workers, overhead=Overhead.fixed(overhead), continual=True,
        max_evaluations=len(asked), fidelities=NAMES,
    )  # fmt: skip
    np.testing.assert_array_equal(compared(trace), expected(witness(asked, n_workers, overhead)))


def test_the_way_changes_no_byte_of_a_trace(tmp_path):
    asked, specification = schedule(4), {"n_workers": 3, "overhead": Overhead.none(), "continual": True}
    files = {
        way: write_trace(
            run(queries(*asked), Trains(), max_evaluations=50, fidelities=NAMES, **specification), tmp_path / way
        ).read_bytes()
        for way, run in WAYS.items()
    }
    assert len(set(files.values())) == 1
    assert read_trace(tmp_path / "threads").attrs[ATTRIBUTE]["specification"]["fidelities"] == [
        [n, None] for n in NAMES
    ]


def test_one_fidelity_by_name_has_the_trace_of_one_number():
    way = MODES["ask and tell"]
    asked = [(x, z) for z in (1, 3, 9) for x in range(4)]
    specification = {"n_workers": 2, "overhead": Overhead.none(), "continual": True}

    def train(_config, *, fidelity, seed):
        return Evaluation(float(seed), 10.0 * (fidelity["epoch"] if isinstance(fidelity, dict) else fidelity))

    plain = way(queries(*asked), train, **specification)
    named = way(queries(*((x, {"epoch": z}) for x, z in asked)), train, fidelities=["epoch"], **specification)
    pd.testing.assert_frame_equal(plain, named)


def test_a_number_is_the_first_fidelity_and_the_others_have_the_values_of_the_run():
    given = []

    def train(config, *, fidelity):
        given.append(fidelity)
        return Evaluation(config["x"], 1.0)

    asked = queries((0, 9), (1, None), (2, {"resolution": 1, "epoch": 3}))
    for way in (MODES["ask and tell"], MODES["executor"], threads):
        given.clear()
        run = {"n_workers": 1, "overhead": Overhead.none(), "fidelities": {"epoch": None, "resolution": 0.5}}
        trace = way(asked, train, **run)
        assert given == [
            {"epoch": 9, "resolution": 0.5}, {"epoch": None, "resolution": 0.5}, {"epoch": 3, "resolution": 1}
        ]  # fmt: skip
        assert trace["fidelity"].fillna(-1).tolist() == [9, -1, 3]
        assert trace["fidelity.resolution"].tolist() == [0.5, 0.5, 1.0]


class Declares(Trains):
    """An objective that says itself which fidelities it has."""

    fidelities = Fidelities({"epoch": None, "resolution": 0.5, "depth": 3.0})


def test_an_objective_that_declares_fidelities_need_not_be_told_of_them():
    asked = queries((0, 1), (0, 3))
    trace = MODES["ask and tell"](asked, Declares(), n_workers=1, overhead=Overhead.none(), continual=True)
    assert trace["fidelity.depth"].tolist() == [3.0, 3.0]
    assert trace["resumed_from"].tolist()[1] == 1.0


def test_an_attribute_of_that_name_that_is_something_else_means_nothing():
    train = Trains()
    train.fidelities = {"epoch": (1, 200)}
    with pytest.raises(SpecificationError, match="the run has one fidelity"):
        MODES["ask and tell"](queries((0, {"epoch": 1, "depth": 2})), train, n_workers=1)


def test_what_was_asked_for_is_recorded_whatever_becomes_of_the_mapping():
    fidelity = {"epoch": 1, "depth": 2}

    def train(_config, *, fidelity):
        fidelity["depth"] = 7
        return Evaluation(0.0, 1.0)

    class Optimizer:
        asked = 0

        def ask(self):
            self.asked += 1
            return Query({"x": 0}, fidelity)

        def tell(self, query, evaluation):
            assert query.fidelity == {"epoch": self.asked, "depth": 2}
            fidelity["epoch"] += 1

    run = {"n_workers": 1, "max_evaluations": 3, "overhead": Overhead.none()}
    trace = simulate(Optimizer(), train, fidelities=["epoch", "depth"], **run)
    assert trace["fidelity"].tolist() == [1, 2, 3]
    assert trace["fidelity.depth"].tolist() == [2, 2, 2]


REFUSED = {
    "a wrong name": ({"epoch": 9, "resolutoin": 0.5, "depth": 1}, "'resolutoin' is none of the fidelities"),
    "a missing name": ({"epoch": 9, "depth": 1}, "'resolution' is missing"),
    "a missing first name": ({"resolution": 0.5, "depth": 1}, "'epoch' is missing"),
    "no name": ({}, "'epoch' is missing"),
    "a name too many": ({"epoch": 9, "resolution": 1, "depth": 1, "width": 2}, "'width' is none of the fidelities"),
    "a name that is a number": ({"epoch": 9, "resolution": 1, 3: 1}, "3 is none of the fidelities"),
    "a text": ({"epoch": 9, "resolution": "0.5", "depth": 1}, r"fidelity\['resolution'\] is '0.5'"),
    "a boolean": ({"epoch": True, "resolution": 0.5, "depth": 1}, r"fidelity\['epoch'\] is True"),
    "a list": ({"epoch": 9, "resolution": [0.5], "depth": 1}, r"fidelity\['resolution'\] is \[0.5\]"),
    "a mapping": ({"epoch": 9, "resolution": {}, "depth": 1}, r"fidelity\['resolution'\] is \{\}"),
    "not a number": ({"epoch": math.nan, "resolution": 0.5, "depth": 1}, r"fidelity\['epoch'\] is nan"),
    "infinity": ({"epoch": 9, "resolution": math.inf, "depth": 1}, r"fidelity\['resolution'\] is inf"),
    "an integer too large": ({"epoch": 10**400, "resolution": 0.5, "depth": 1}, r"fidelity\['epoch'\] is 1000"),
    "pairs": ([("epoch", 9)], "fidelity is "),
    "a text alone": ("9", "fidelity is '9'"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("way", ["ask and tell", "executor", "called"])
def test_a_fidelity_that_is_none_of_the_run_is_refused_in_one_line(case, way):
    fidelity, message = REFUSED[case]
    with pytest.raises(SpecificationError, match=message) as caught:
        evaluate_by(way, fidelity, n_workers=1, overhead=Overhead.none(), fidelities=NAMES)
    assert "\n" not in str(caught.value)


def evaluate_by(way, fidelity, **run):
    if way == "called":
        with Simulator(Trains(), **run) as simulator:
            simulator({"x": 0}, fidelity)
    elif way == "executor":
        with SimulatedExecutor(Trains(), **run) as workers:
            workers.submit(workers.objective, {"x": 0}, fidelity).result()
    else:
        MODES["ask and tell"]([Query({"x": 0}, fidelity)], Trains(), **run)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("epoch", "fidelities is 'epoch'"), ([], "fidelities is"), ([1, 2], "fidelities is"), (3, "fidelities is 3"),
        (["epoch", "epoch"], "names that differ"), (["epoch", ""], "fidelities is"), ({}, "fidelities is"),
        ({"epoch": None, "resolution": "half"}, r"fidelities\['resolution'\] is 'half'"),
        ({"epoch": None, "resolution": math.nan}, r"fidelities\['resolution'\] is nan"),
    ],
)  # fmt: skip
def test_fidelities_that_are_no_names_are_refused_in_one_line(names, message):
    for make in (Simulator, SimulatedExecutor):
        with pytest.raises(SpecificationError, match=message) as caught:
            make(Trains(), n_workers=1, fidelities=names)
        assert "\n" not in str(caught.value)


def test_a_mapping_in_a_run_of_one_fidelity_is_refused_with_what_to_do():
    with pytest.raises(SpecificationError, match=r"told their names: fidelities=\['epoch', 'depth'\]"):
        MODES["ask and tell"](queries((0, {"epoch": 1, "depth": 2})), Trains(), n_workers=1)
    with Simulator(Trains(), n_workers=1) as simulator, pytest.raises(SpecificationError, match="has one fidelity"):
        simulator({"x": 0}, {"epoch": 1, "depth": 2})


def test_a_run_with_other_fidelities_is_another_run(tmp_path):
    run = {"n_workers": 1, "directory": tmp_path, "overhead": Overhead.none()}
    Simulator(Trains(), fidelities=["epoch", "depth"], **run).close()
    for other in (["depth", "epoch"], ["epoch"], None, {"epoch": None, "depth": 1}):
        with pytest.raises(RunMismatchError, match="fidelities"):
            Simulator(Trains(), fidelities=other, **run)


# -- what a journal proves ---------------------------------------------------------------------------------------------


class TakesNoSeed(Trains):
    def __call__(self, config, *, fidelity):
        return super().__call__(config, fidelity=fidelity, seed=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    directory = tmp_path_factory.mktemp("template")
    asked = schedule(1, 40)
    threads(
        queries(*asked), TakesNoSeed(), n_workers=2, overhead=Overhead.none(), continual=True, fidelities=NAMES,
        directory=directory,
    )  # fmt: skip
    return directory


def changes_of(record):
    others = record["fidelities"]
    yield {"resolution": 1.5 - others["resolution"]}
    yield {"resolution": math.nextafter(others["resolution"], 2.0)}
    yield {"depth": 2 if others["depth"] is None else None}


@pytest.mark.parametrize("place", range(0, 40, 7))
def test_any_other_fidelity_of_a_record_is_found(template, tmp_path, place):
    record = Changed(template, tmp_path / "as it was").records[place]
    for k, change in enumerate(changes_of(record)):
        run = Changed(template, tmp_path / str(k))
        run.records[place]["fidelities"].update(change)
        assert ("seed", place) in run.write()


def test_fidelities_that_are_not_those_of_the_run_are_found(template, tmp_path):
    for k, wrong in enumerate([{"resolution": 0.5}, {"resolution": 0.5, "depth": 1, "width": 2}, {}]):
        run = Changed(template, tmp_path / str(k))
        run.records[3]["fidelities"] = wrong
        assert ("fidelities", 3) in run.write()
    run = Changed(template, tmp_path / "left out")
    del run.records[3]["fidelities"]
    assert ("fidelities", 3) in run.write()
    for k, wrong in enumerate([{"resolution": "0.5", "depth": 1}, [1], None]):
        run = Changed(template, tmp_path / f"damaged {k}")
        run.records[3]["fidelities"] = wrong
        assert 3 in {place for _, place in run.write()}


def test_another_order_of_the_fidelities_in_the_specification_is_found(template, tmp_path):
    run = Changed(template, tmp_path / "run")
    run.specify(fidelities=[["depth", None], ["resolution", None], ["epoch", None]])
    assert "fidelities" in {rule for rule, _ in run.found()}


def test_a_run_without_several_fidelities_writes_what_it_wrote(tmp_path):
    with Simulator(TakesNoSeedOfOne(), n_workers=1, directory=tmp_path, overhead=Overhead.none()) as simulator:
        simulator({"x": 0}, 3)
    line = (tmp_path / "journal").read_text().partition(" ")[2]
    assert '"fidelity":3.0,"config":' in line
    assert "fidelities" not in json.loads((tmp_path / "run.json").read_text())["specification"]
    assert check(tmp_path).ok
    assert not [name for name in read_run(tmp_path).columns if name.startswith("fidelity.")]


class TakesNoSeedOfOne:
    def __call__(self, _config, *, fidelity):
        return Evaluation(0.0, float(fidelity))


def test_a_cluster_draws_for_each_training_by_itself_and_the_same_in_every_way():
    """Stragglers: the factor depends on configuration, other fidelities and fidelity, and not on who came first."""
    asked, cluster = schedule(5), Cluster(stragglers={"half_normal": 0.5}, speeds=[1.0, 0.5])
    run = {"n_workers": 2, "overhead": Overhead.none(), "continual": True, "fidelities": NAMES, "cluster": cluster}
    one, *others = [way(queries(*asked), Trains(), max_evaluations=len(asked), **run) for way in WAYS.values()]
    for other in others:
        pd.testing.assert_frame_equal(one, other)
    same = one.assign(stretched=(one["end"] - one["start"]) * one["worker_speed"] / one["runtime"])
    assert same["stretched"].nunique() > 10


def test_a_slept_run_has_the_order_and_the_charges_of_the_simulated_one():
    """On one worker the order is that of the calls; what is charged is computed, and only its sleep is measured."""
    asked, run = schedule(6, 20), {"n_workers": 1, "continual": True, "fidelities": NAMES}
    simulated = MODES["ask and tell"](queries(*asked), Trains(), overhead=Overhead.none(), **run)
    with NaiveRun(Trains(), time_scale=1e-6, **run) as slept:
        for x, fidelity, *given in asked:
            slept({"x": x}, fidelity, *given)
        trace = slept.trace()
    columns = ["runtime", "value", "fidelity", "fidelity.depth", "fidelity.resolution", "resumed_from", "config_id"]
    pd.testing.assert_frame_equal(trace[columns], simulated[columns])


def test_a_folder_of_ones_own_runs_is_read_with_all_fidelities(tmp_path):
    for seed in range(2):
        asked = queries(*schedule(seed + 1, 30))
        run = {"n_workers": 2, "overhead": Overhead.none(), "fidelities": NAMES, "seed": seed}
        labels = {"optimizer": "mine", "benchmark": "trains"}
        MODES["ask and tell"](asked, Trains(), directory=tmp_path / str(seed), labels=labels, **run)
    table = load_study(tmp_path)
    assert len(table) == 60
    assert set(table["fidelity.resolution"]) == {0.5, 1.0}
    found = load_incumbents(tmp_path, result="full")
    assert (found["fidelity.resolution"] == 1.0).all()
    assert found["fidelity"].isin([27.0, math.nan]).all()
    assert len(found) >= 2


@pytest.mark.parametrize("way", ["ask and tell", "threads"])
def test_equal_numbers_of_any_type_are_the_same_fidelity(way):
    def train(_config, *, fidelity):
        return Evaluation(0.0, 10.0 * float(fidelity["epoch"]))

    same = [1, 1.0, np.float64(1.0), np.int64(1), np.float32(1.0)]
    zeros = [0, 0.0, -0.0, np.int8(0)]
    asked = [(0, MappingProxyType({"share": one, "epoch": epoch})) for epoch, one in enumerate(same, 1)]
    asked += [(0, {"epoch": np.int64(epoch), "share": zero}) for epoch, zero in enumerate(zeros, 1)]
    run = {"n_workers": 1, "overhead": Overhead.none(), "continual": True, "fidelities": ["epoch", "share"]}
    trace = WAYS[way](queries(*asked), train, **run)
    assert trace["resumed_from"].fillna(0).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert trace["runtime"].tolist() == [10.0] * 9
