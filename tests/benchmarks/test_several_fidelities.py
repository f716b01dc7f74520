"""Benchmarks with several fidelities: what they answer, what runs of them record, and what they refuse."""

from __future__ import annotations

import itertools
import math
import pickle

import ConfigSpace
import numpy as np
import pandas as pd
import pytest

from zerowait import Budget, Evaluation, Overhead, Query, adapters, benchmarks, simulate
from zerowait.benchmarks import Fidelity, from_dataframe, load, with_fidelities
from zerowait.suite.factory_spec import factory_spec_of
from zerowait.suite.rules.errors import SpecificationError

DEPTHS, TREES, SHARES = (2, 4, 6, 8), (1, 3, 9, 27), (0.25, 0.5, 1.0)


def loss(depth, trees, share):
    return (depth - 5.5) ** 2 / 10 + 1 / trees + (1 - share) * depth


@pytest.fixture(scope="module")
def table():
    """Forests as HPOBench has them: every depth with every number of trees and every share of the sample."""
    rows = itertools.product(DEPTHS, TREES, SHARES)
    return pd.DataFrame(
        [(d, t, s, loss(d, t, s), 10.0 * t * s) for d, t, s in rows], columns=["depth", "trees", "share", "loss", "s"]
    )


@pytest.fixture(scope="module")
def forests(table):
    made = from_dataframe(table, params=["depth", "share"], fidelity="trees", value="loss", runtime="s")
    return with_fidelities(made, {"share": 0.5})


def test_a_number_leaves_the_others_at_their_value_and_none_is_the_highest_of_all(forests):
    for depth, trees, share in itertools.product(DEPTHS, TREES, SHARES):
        config = {"depth": depth}
        assert forests(config, fidelity={"share": share, "trees": trees}).value == loss(depth, trees, share)
        assert forests(config, fidelity=trees).value == loss(depth, trees, 0.5)
        assert forests(config).value == loss(depth, 27, 1.0)
    assert forests.fidelity.name == "trees"
    assert list(forests.space) == ["depth"]
    assert forests.optimum is None


def test_what_was_made_is_known_by_its_label_and_survives_a_pickle(forests):
    assert forests.label.endswith("(fidelities={'share': 0.5})")
    copied = pickle.loads(pickle.dumps(forests))
    assert (copied.label, copied.content, copied.fidelities) == (forests.label, forests.content, forests.fidelities)
    assert copied({"depth": 2}, fidelity=3) == forests({"depth": 2}, fidelity=3)


def test_trainings_continue_along_another_fidelity_on_request(table):
    plain = from_dataframe(table, params=["depth", "trees"], fidelity="share", value="loss", runtime="s")
    along = with_fidelities(plain, {"share": 0.25}, along="trees")
    assert along.fidelity.name == "trees"
    assert along.label.endswith("(fidelities={'share': 0.25}, along=trees)")
    assert along({"depth": 4}, fidelity=9).value == loss(4, 9, 0.25)
    assert with_fidelities(plain, along="trees").fidelities.to_json() == [["trees", None], ["share", 1.0]]
    without = from_dataframe(table[table["share"] == 1.0], params=["depth", "trees"], value="loss", runtime="s")
    assert with_fidelities(without, along="trees")({"depth": 4}, fidelity=3).value == loss(4, 3, 1.0)


@pytest.mark.parametrize(("optimizer", "mode"), [("optuna-hyperband", "ask_tell"), ("optuna-hyperband", "native"),
                                                 ("random", "ask_tell")])  # fmt: skip
def test_an_optimizer_that_knows_one_fidelity_leaves_the_others_where_the_benchmark_has_them(forests, optimizer, mode):
    trace = adapters.load(optimizer).optimize(
        forests, n_workers=2, seed=0, budget=Budget(20), overhead=Overhead.none(), mode=mode, continual=True
    )
    assert (trace["fidelity.share"] == 0.5).all()
    trees = trace["fidelity"].fillna(27)
    expected = [loss(d, t, 0.5) for d, t in zip(trace["config.depth"], trees, strict=True)]
    assert trace["value"].tolist() == expected
    before = trace["resumed_from"].fillna(0.0)
    assert trace["runtime"].tolist() == (10.0 * trees * 0.5 - 10.0 * before * 0.5).tolist()
    assert (before > 0).any() == (optimizer != "random")


class Chooses:
    """Asks for all fidelities of one depth after the other."""

    def __init__(self):
        self.todo = iter(itertools.product(DEPTHS, TREES, SHARES))

    def ask(self):
        depth, trees, share = next(self.todo)
        return Query({"depth": depth}, {"share": share, "trees": trees})

    def tell(self, query, evaluation):
        assert evaluation.value == loss(query.config["depth"], query.fidelity["trees"], query.fidelity["share"])


def test_an_optimizer_that_chooses_all_of_them_gets_them(forests):
    trace = simulate(Chooses(), forests, n_workers=1, overhead=Overhead.none(), continual=True)
    assert len(trace) == len(DEPTHS) * len(TREES) * len(SHARES)
    steps = np.diff([0, *TREES]).tolist()
    asked = itertools.product(DEPTHS, steps, SHARES)
    assert trace["runtime"].tolist() == [10.0 * trees * share for _, trees, share in asked]


@pytest.mark.parametrize(
    ("fidelity", "message"),
    [
        ({"trees": 3}, "'share' is missing"),
        ({"trees": 3, "share": 0.5, "depth": 1}, "'depth' is none of the fidelities"),
        ({"trees": 3, "share": 0.3}, "'share' is 0.3; it must be one of 0.25, 0.5, 1.0"),
        ({"trees": 3, "share": "0.5"}, "'0.5'"),
        ({"trees": 3, "share": math.nan}, "nan"),
        ({"trees": 3, "share": True}, "True"),
        ({"trees": 4, "share": 0.5}, "'trees' is 4; it must be one of 1, 3, 9, 27"),
        (4, "'trees' is 4; it must be one of 1, 3, 9, 27"),
        ("3", "'3'"),
    ],
)
def test_a_fidelity_that_there_is_not_is_refused_in_one_line(forests, fidelity, message):
    with pytest.raises(SpecificationError) as caught:
        forests({"depth": 2}, fidelity=fidelity)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fidelity_among_the_parameters_is_refused(forests):
    with pytest.raises(SpecificationError, match="'share' is a fidelity and no parameter"):
        forests({"depth": 2, "share": 0.5})


class Mixed:
    """Parameters of every kind; one depends on another, and one is in a forbidden clause."""

    name = label = "mixed"
    task, metrics, citation, licence, optimum = None, {}, "", "", None
    fidelity = Fidelity("epoch", 1, 9, integer=True)

    @property
    def space(self):
        layers, parent = ConfigSpace.Integer("layers", (1, 3)), ConfigSpace.Integer("parent", (1, 3))
        width, sole = ConfigSpace.Integer("width", (1, 9)), ConfigSpace.Integer("sole", (1, 9))
        kind, size = ConfigSpace.Categorical("kind", ["a", "b"]), ConfigSpace.OrdinalHyperparameter("size", ["s", "l"])
        space = ConfigSpace.ConfigurationSpace(seed=0)
        space.add(layers, width, kind, size, ConfigSpace.Float("free", (0.5, 2.0)), parent, sole)
        space.add(ConfigSpace.GreaterThanCondition(width, layers, 1), ConfigSpace.ForbiddenEqualsClause(parent, 3))
        return space

    def __call__(self, config, *, fidelity=None, seed=None):
        return Evaluation(float(config["sole"]), 1.0)


def test_the_rest_of_a_space_keeps_its_conditions():
    space = with_fidelities(Mixed(), {"sole": 3, "free": 0.5}).space
    assert sorted(space) == ["kind", "layers", "parent", "size", "width"]
    assert (len(space.conditions), len(space.forbidden_clauses)) == (1, 1)
    drawn = space.sample_configuration(200)
    assert {("width" in config) == (config["layers"] > 1) for config in drawn} == {True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fidelities": {"soul": 1}}, "'soul' cannot be a fidelity; it must be a parameter with numbers"),
        ({"fidelities": {"kind": 1}}, "'kind' cannot be a fidelity"),
        ({"fidelities": {"size": 1}}, "'size' cannot be a fidelity"),
        ({"fidelities": {3: 1}}, "3 cannot be a fidelity"),
        ({"fidelities": {"sole": 10}}, "'sole' is 10; it must be an integer from 1 to 9"),
        ({"fidelities": {"sole": 1.5}}, "'sole' is 1.5"),
        ({"fidelities": {"sole": "1"}}, "'sole' is '1'"),
        ({"fidelities": {"sole": [1]}}, r"'sole' is [1]"),
        ({"fidelities": {"free": math.inf}}, "'free' is inf"),
        ({"fidelities": {"epoch": 3}}, "trainings continue along 'epoch'"),
        ({"fidelities": {"sole": 3}, "along": "sole"}, "trainings continue along 'sole'"),
        ({"fidelities": ["sole"]}, "it must be a mapping of parameters to numbers"),
        ({"along": "kind"}, "'kind' cannot be a fidelity"),
        ({"along": 3}, "3 cannot be a fidelity"),
        ({"fidelities": {"layers": 3}}, "layers cannot be a fidelity, because it has to do with other parameters"),
        ({"fidelities": {"width": 3}}, "width cannot be a fidelity, because it has to do with other parameters"),
        ({"fidelities": {"parent": 1}}, "parent cannot be a fidelity, because it has to do with other parameters"),
    ],
)
def test_what_cannot_be_a_fidelity_is_refused_in_one_line(given, message):
    with pytest.raises(SpecificationError) as caught:
        with_fidelities(Mixed(), **given)
    assert str(caught.value).startswith("mixed: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_benchmark_takes_them_when_it_is_loaded():
    x = load("branin", fidelities={"x1": 0.25})
    assert x.label == "branin(fidelities={'x1': 0.25})"
    plain = load("branin")
    assert x({"x0": 0.5}, fidelity=50) == plain({"x0": 0.5, "x1": 0.25}, fidelity=50)
    assert x({"x0": 0.5}) == plain({"x0": 0.5, "x1": 1.0})
    assert (
        load("branin", delta_t=0.05, fidelities={"x1": 0.25}).label == "branin(delta_t=0.05, fidelities={'x1': 0.25})"
    )
    assert factory_spec_of(x).make().label == x.label
    with pytest.raises(SpecificationError, match="'x7' cannot be a fidelity"):
        benchmarks.load("branin", fidelities={"x7": 0.25})


def test_something_is_left_to_optimize():
    six = {f"x{k}": 0.5 for k in range(6)}
    with pytest.raises(SpecificationError, match="are all of its parameters, and nothing is left to optimize"):
        load("hartmann6", fidelities=six)
    with pytest.raises(SpecificationError, match=r"fidelities is {}; it must be a mapping"):
        load("hartmann6", fidelities={})
