"""Ask and tell: a query that `tell` returns is what the same worker does next."""

from __future__ import annotations

import math

import pytest

from zerowait.suite import Evaluation, Overhead, Query, simulate
from zerowait.suite.rules.cluster import Cluster

RUNTIMES = {"A": 10.0, "B": 9.5, "C": 7.5, "D": 50.0, "E": 50.0}


def train(config, *, fidelity):
    return Evaluation(0.0, RUNTIMES[config["name"]] * fidelity)


class Epochs:
    """Asks for the trainings by name, each for one epoch; the one that goes on is trained for two."""

    def __init__(self, names, goes_on="B", answer=None):
        self.names, self.goes_on, self.answer, self.said = iter(names), goes_on, answer, []

    def ask(self):
        query = Query({"name": next(self.names)}, 1.0)
        self.said.append(f"ask {query.config['name']}")
        return query

    def tell(self, query, _evaluation):
        self.said.append(f"tell {query.config['name']}{query.fidelity:g}")
        goes_on = query.config["name"] in self.goes_on and query.fidelity == 1.0
        return Query(query.config, 2.0) if goes_on else self.answer


def rows(trace):
    return {
        (name, fidelity): (worker, freed, start, end)
        for name, fidelity, worker, freed, start, end in trace[
            ["config.name", "fidelity", "worker", "freed", "start", "end"]
        ].itertuples(index=False, name=None)
    }


# Sampling takes a second, so A, B and C start at 1, 2 and 3 on the workers 0, 1 and 2. C ends at 10.5, and until 11.5
# D is sampled for worker 2. A ends at 11 and B at 11.5: both are told then, and worker 0 has been free for longer. On
# another worker than that of twice the speed, B of twice the seconds would end later.
@pytest.mark.parametrize("speed", [None, 2.0])
def test_a_training_goes_on_where_it_was_whoever_has_been_free_for_longer(speed):
    def train_b_faster(config, *, fidelity):
        evaluation = train(config, fidelity=fidelity)
        faster = speed if speed and config["name"] == "B" else 1.0
        return Evaluation(evaluation.value, evaluation.runtime * faster)

    optimizer = Epochs("ABCDE")
    trace = simulate(
        optimizer, train_b_faster, n_workers=3, overhead=Overhead.fixed(1.0), told="arrival", continual=True,
        cluster=None if speed is None else Cluster(speeds=(1.0, speed, 1.0)),
    )  # fmt: skip
    found = rows(trace)
    assert found["A", 1.0] == (0, 0.0, 1.0, 11.0)
    assert found["B", 1.0] == (1, 0.0, 2.0, 11.5)
    assert found["B", 2.0] == (1, 11.5, 12.5, 22.0)
    assert found["E", 1.0][:3] == (0, 11.0, 13.5)
    assert optimizer.said[:8] == ["ask A", "ask B", "ask C", "tell C1", "ask D", "tell A1", "tell B1", "ask E"]


def test_trainings_go_on_when_nothing_new_is_asked_for():
    optimizer = Epochs("AB", goes_on="AB")  # then StopIteration
    trace = simulate(optimizer, train, n_workers=2, overhead=Overhead.none(), continual=True)
    assert [(name, fidelity) for name, fidelity in zip(trace["config.name"], trace["fidelity"], strict=True)] == [
        ("B", 1.0), ("A", 1.0), ("B", 2.0), ("A", 2.0)
    ]  # fmt: skip
    assert trace["end"].tolist() == [9.5, 10.0, 19.0, 20.0]


def test_a_budget_ends_what_would_go_on():
    trace = simulate(Epochs("AB", "AB"), train, n_workers=2, overhead=Overhead.none(), max_evaluations=3)
    assert trace["fidelity"].tolist() == [1.0, 1.0, 2.0]
    trace = simulate(
        Epochs("AB", "AB"), train, n_workers=2, overhead=Overhead.fixed(1.0), max_time=11.5, continual=True
    )
    assert trace["end"].tolist() == [11.0, 11.5]  # A and B; what they go on with would start at 12 and 13


@pytest.mark.parametrize("batch_size", [2, 3])
def test_a_batch_is_complete_when_nothing_of_it_goes_on(batch_size):
    optimizer = Epochs("ABCD", goes_on="AB")
    simulate(optimizer, train, n_workers=2, overhead=Overhead.none(), batch_size=batch_size)
    last = optimizer.said.index("tell A2")
    asked = [said for said in optimizer.said[:last] if said.startswith("ask")]
    assert len(asked) == batch_size


@pytest.mark.parametrize("answer", [None, 3, "B", [Query({"name": "B"}, 2.0)]])
def test_anything_else_that_tell_returns_is_nothing(answer):
    optimizer = Epochs("ABC", goes_on="", answer=answer)
    trace = simulate(optimizer, train, n_workers=2, overhead=Overhead.none())
    assert trace["config.name"].tolist() == ["B", "A", "C"]


@pytest.mark.parametrize(("n_workers", "batch_size", "most"), [(1, 4, 4), (1, 8, 9), (2, 4, 5), (4, 8, 9), (3, 1, 7)])
def test_batches_keep_to_the_budget_though_workers_go_on(n_workers, batch_size, most):
    """What was asked for counts, and comes before what would go on."""

    class Rungs:
        x = 0

        def ask(self):
            self.x += 1
            return Query({"x": self.x}, 1.0)

        def tell(self, query, _evaluation):
            return Query(query.config, query.fidelity + 1.0) if query.fidelity < 3 else None

    trace = simulate(
        Rungs(), lambda config, fidelity: Evaluation(0.0, fidelity + config["x"] % 3), n_workers=n_workers,
        max_evaluations=most, batch_size=batch_size, overhead=Overhead.none(),
    )  # fmt: skip
    assert len(trace) == most


@pytest.mark.parametrize("hears", [False, True])
def test_a_worker_goes_on_after_a_training_that_failed(hears):
    class Halves:
        xs = iter((1, 2))

        def ask(self):
            return Query({"x": next(self.xs)})

        def tell(self, query, _evaluation):
            return Query({"x": 100 + query.config["x"]}) if query.config["x"] < 100 else None

    class Hears(Halves):
        def tell_failure(self, query, _error):
            return self.tell(query, None)

    trace = simulate(
        (Hears if hears else Halves)(), lambda config: Evaluation(math.nan if config["x"] < 100 else 0.0, 1.0),
        n_workers=1, max_evaluations=4, overhead=Overhead.none(),
    )  # fmt: skip
    assert trace["config.x"].tolist() == [1, 101, 2, 102]
