"""Synchronous successive halving and ASHA under stragglers and drops: beside others, by hand, and the gates."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait import Cluster, Evaluation, Overhead, Query, simulate
from zerowait.experiments.verification import Request, run
from zerowait.experiments.verification.stragglers import (
    AWAITED,
    ETA,
    FORGOTTEN,
    QUICK,
    SHA,
    Asha,
    Sha,
    Workload,
    query_of,
    rung_of,
    simulated,
    verify,
)

FAILING = Cluster(stragglers={"half_normal": 0.5}, failures={"rate": 0.005})


class AsWritten:
    """Algorithm 2 of arXiv 1810.05934, word for word: top_k of each rung, less what was promoted."""

    def __init__(self, n_rungs):
        self.results = [{} for _ in range(n_rungs)]
        self.promoted = [set() for _ in range(n_rungs)]
        self.numbers = itertools.count()

    def ask(self):
        for rung in reversed(range(len(self.results) - 1)):
            results = self.results[rung]
            candidates = sorted(results, key=lambda config: (results[config], config))[: len(results) // ETA]
            promotable = [config for config in candidates if config not in self.promoted[rung]]
            if promotable:
                self.promoted[rung].add(promotable[0])
                return query_of(promotable[0], rung + 1)
        return query_of(next(self.numbers), 0)

    def tell(self, query, evaluation):
        self.results[rung_of(query)][query.config["config"]] = evaluation.value

    def tell_failure(self, query, error):
        pass


class Numbered:
    """A library's scheduler whose configurations are named by the order of their first job, with the losses it gave."""

    def __init__(self, library):
        self.library = library
        self.losses, self.numbers, self.asked = [], {}, {}

    def ask(self):
        query = self.library.ask()
        if query.config_id not in self.numbers:
            self.numbers[query.config_id] = len(self.losses)
            self.losses.append(query.config["x"])
        mine = Query({"config": self.numbers[query.config_id]}, query.fidelity, str(self.numbers[query.config_id]))
        self.asked[mine.config["config"], mine.fidelity] = query
        return mine

    def _original(self, query):
        return self.asked[query.config["config"], query.fidelity]

    def tell(self, query, evaluation):
        self.library.tell(self._original(query), evaluation)

    def tell_failure(self, query, error):
        self.library.tell_failure(self._original(query), error)


def trace_of(optimizer, losses, *, cluster, max_time, seed=0, n_workers=7):
    def objective(config, fidelity):
        return Evaluation(losses[config["config"]], fidelity)

    return simulate(
        optimizer, objective, n_workers=n_workers, max_time=max_time, seed=seed, overhead=Overhead.none(),
        cluster=cluster,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 30), min_size=400, max_size=400))
def test_asha_is_the_papers_algorithm_2(seed, losses):
    found, expected = (
        trace_of(optimizer, losses, cluster=FAILING, max_time=150.0, seed=seed)
        for optimizer in (Asha(4, itertools.count()), AsWritten(4))
    )
    assert found.equals(expected)
    assert found.fidelity.max() >= ETA**2


@pytest.mark.parametrize("seed", range(3))
def test_synchronous_halving_is_hpbandsters(seed):
    """HpBandSter opens a bracket when the open ones have no job, and goes on without what crashed."""
    pytest.importorskip("hpbandster")
    from ConfigSpace import ConfigurationSpace
    from hpbandster.optimizers.iterations import SuccessiveHalving

    from zerowait.adapters.hpbandster.asktell import AskTellHpBandSter
    from zerowait.adapters.hpbandster.optimizers import Brackets, make_optimizer
    from zerowait.adapters.hpbandster.space import HpBandSterSpace

    space = HpBandSterSpace(ConfigurationSpace({"x": (0.0, 1.0)}), integers_for_ordinals=False)
    settings_of = {"eta": ETA, "min_budget": 1.0, "max_budget": 64.0}
    library = make_optimizer("hyperband", Brackets, space.space, seed, settings_of)
    library.get_next_iteration = lambda number, more: SuccessiveHalving(
        HPB_iter=number, num_configs=[64, 16, 4, 1], budgets=[1.0, 4.0, 16.0, 64.0],
        config_sampler=library.config_generator.get_config, **more,
    )  # fmt: skip
    theirs = Numbered(AskTellHpBandSter(library, space, float, seed))
    expected = trace_of(theirs, theirs.losses, cluster=FAILING, max_time=150.0, seed=seed)
    found = trace_of(
        Sha(4, itertools.count()), [*theirs.losses, *[0.0] * 1000], cluster=FAILING, max_time=150.0, seed=seed
    )
    assert found.equals(expected)
    assert (found.status == "failed").any()
    assert found.fidelity.max() == 64.0


def test_a_rung_that_awaits_a_dropped_job_promotes_nobody():
    """One configuration of a bracket of sixteen is dropped in its first rung."""

    class Dropping(Sha):
        def tell(self, query, evaluation):
            if query.config["config"] == 3:
                self.tell_failure(query, RuntimeError())
            else:
                super().tell(query, evaluation)

    losses = [float(k) for k in range(200)]
    for awaits, rungs in ((False, {1.0, 4.0, 16.0}), (True, {1.0})):
        optimizer = Dropping(3, itertools.count(), awaits=awaits)
        trace = trace_of(optimizer, losses, cluster=None, max_time=40.0, n_workers=2)
        first = trace[trace.config_id.astype(int) < 16]
        assert set(first.fidelity) == rungs
    assert trace.fidelity.max() == 4.0  # the next bracket's


def test_without_stragglers_and_drops_the_first_is_there_when_it_can_be():
    """Rungs of 64, 16, 4 and 1 jobs on 25 workers take 3, 4, 16 and 64 units; the next bracket may hold up a rung."""
    workload = Workload(n_rungs=4, time=300.0, simulations=2)
    firsts = simulated(workload, SHA, 0.0, 0.0, FORGOTTEN)[:, 1]
    assert ((firsts >= 87.0) & (firsts <= 88.0)).all()


def test_the_quick_version_passes_its_gates_and_is_drawn(tmp_path):
    outcome = run("stragglers", Request())
    assert [str(gate) for gate in outcome.gates if not gate.passed] == []
    assert {path.suffix for path in outcome.more(tmp_path)} == {".pdf", ".png"}
    of = outcome.table.set_index(["deviation", "drop", "dropped_jobs"])
    assert len(of) == len(QUICK.deviations) * (1 + 3)
    assert (of.asha_trained >= 0).all()
    awaited, forgotten = (of.xs(name, level="dropped_jobs") for name in (AWAITED, FORGOTTEN))
    assert (awaited.sha_trained < forgotten.sha_trained.loc[awaited.index]).all()


def test_a_gate_of_equal_schedulers_fails(monkeypatch):
    """The same scheduler under both names has no advantage that grows."""
    from zerowait.experiments.verification import stragglers

    tiny = Workload(n_rungs=3, time=60.0, deviations=(0.0, 0.1, 1.0), drops=(0.0, 0.05), simulations=3)
    monkeypatch.setattr(stragglers, "Asha", Sha)
    monkeypatch.setattr(stragglers, "Sha", lambda n, configs, awaits: Sha(n, configs))
    outcome = verify(tiny, Request())
    assert outcome.table.sooner.tolist() == [0.0] * len(outcome.table)
    assert [gate.passed for gate in outcome.gates] == [True, False, False, False, False]
