"""What workers do when, and what two traces have in common."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerowait.plots.figures.agreement import kendall_tau, match_table, matched
from zerowait.plots.figures.runtime import wall_time_latex
from zerowait.plots.statistics.occupation import STATES, columns_of, intervals, shares
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite import simulate
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.overhead import Overhead


def trace_of(rows):
    names = ["worker", "freed", "start", "end", "overhead", "status"]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[1:5], float))


def test_a_gap_is_sampling_waiting_or_idle():
    trace = trace_of(
        [(0, 0, 2, 10, 2, "ok"), (1, 0, 4, 6, 2, "ok"), (1, 6, 13, 20, 1, "lost")]
    )  # worker 1 waits for the first sampling, and has nothing to do from 6 to 12
    found = intervals(trace, 2)
    assert [tuple(row) for row in found[["worker", "state", "begin", "end"]].itertuples(index=False)] == [
        (0, "sampling", 0, 2), (0, "evaluating", 2, 10), (0, "idle", 10, 12), (0, "waiting", 12, 13),
        (0, "idle", 13, 20),
        (1, "waiting", 0, 2), (1, "sampling", 2, 4), (1, "evaluating", 4, 6), (1, "idle", 6, 12),
        (1, "sampling", 12, 13),
        (1, "lost", 13, 20),
    ]  # fmt: skip
    assert shares(columns_of(trace), 2) == pytest.approx(
        {"evaluating": 10 / 40, "sampling": 5 / 40, "waiting": 3 / 40, "idle": 15 / 40, "lost": 7 / 40}
    )


def test_what_a_cluster_lost_is_neither_evaluation_nor_idleness():
    """Worker 0 is away from 3 to 5 and tries again; worker 1 arrives at 2 and loses what it runs."""
    trace = trace_of([(0, 0, 0, 10, 0, "ok"), (1, 2, 2, 8, 0, "preempted")]).assign(lost_time=[5.0, 6.0])
    found = intervals(trace, 2)
    assert [tuple(row) for row in found[["worker", "state", "begin", "end"]].itertuples(index=False)] == [
        (0, "lost", 0, 5), (0, "evaluating", 5, 10), (1, "idle", 0, 2), (1, "lost", 2, 8), (1, "idle", 8, 10),
    ]  # fmt: skip
    assert shares(columns_of(trace), 2) == pytest.approx(
        {"evaluating": 5 / 20, "sampling": 0, "waiting": 0, "idle": 4 / 20, "lost": 11 / 20}
    )


class RunsOut:
    """An optimizer that has nothing to evaluate now and then, as successive halving has."""

    def __init__(self, pauses):
        self.pauses, self.asked, self.open = list(pauses), 0, 0

    def ask(self):
        if self.open and self.pauses and self.pauses.pop():
            return None
        self.asked, self.open = self.asked + 1, self.open + 1
        return Query({"x": self.asked})

    def tell(self, query, evaluation):
        self.open -= 1


@given(
    st.lists(st.floats(0.5, 30.0), min_size=1, max_size=25), st.integers(1, 5), st.lists(st.booleans(), max_size=12),
    st.sampled_from([Overhead.none(), Overhead.fixed(1.5), Overhead.fixed(1.5, sampling="parallel")]),
)  # fmt: skip
def test_every_second_of_every_worker_is_accounted_for_once(runtimes, n_workers, pauses, overhead):
    trace = simulate(
        RunsOut(pauses), lambda config: Evaluation(0.0, runtimes[(config["x"] - 1) % len(runtimes)]),
        n_workers=n_workers, max_evaluations=len(runtimes), overhead=overhead,
    )  # fmt: skip
    found = intervals(trace, n_workers)
    end = trace["end"].max()
    for _, of_worker in found.groupby("worker"):
        assert of_worker["begin"].iloc[0] == 0.0
        assert of_worker["end"].iloc[-1] == end
        np.testing.assert_array_equal(of_worker["begin"].to_numpy()[1:], of_worker["end"].to_numpy()[:-1])
    seconds = (found["end"] - found["begin"]).groupby(found["state"]).sum()
    expected = {state: seconds.get(state, 0.0) / (n_workers * end) for state in STATES}
    assert shares(columns_of(trace), n_workers) == pytest.approx(expected, abs=1e-9)


def match_trace(rows):
    return pd.DataFrame(rows, columns=["config_id", "fidelity", "end"])


def test_evaluations_are_matched_by_configuration_fidelity_and_occurrence():
    reference = match_trace([("a", 1, 1.0), ("a", 3, 2.0), ("b", math.nan, 3.0), ("a", 1, 4.0), ("only", 1, 5.0)])
    simulated = match_trace([("a", 1, 1.5), ("b", math.nan, 2.5), ("a", 3, 3.5), ("a", 1, 4.5)])
    table = matched(simulated, reference)
    assert table["reference_order"].tolist() == [1, 2, 3, 4]
    assert table["order"].tolist() == [1, 3, 2, 4]
    assert table["end"].tolist() == [1.5, 3.5, 2.5, 4.5]
    assert kendall_tau(table) == pytest.approx(4 / 6)


def test_a_match_says_what_has_no_counterpart(make_run):
    def run(seed, ids):
        made = make_run([(i + 1, 1.0) for i in range(len(ids))], seed=seed)
        made.trace["config_id"], made.trace["fidelity"] = list(ids), math.nan
        return made

    table = match_table(study_of_runs([run(0, "abc"), run(1, "ab")]), reference=study_of_runs([run(0, "abd")]))
    assert table["order"].tolist() == [1, 2]
    caption = table.attrs["caption"]
    assert "1 run, 2 evaluations, 2 of them in the very same place" in caption
    assert "Not drawn, because one of the two alone has them: 2 evaluations." in caption
    assert "No reference for random on toy with 1 worker and seed 1." in caption
    with pytest.raises(SpecificationError, match="set reference=STUDY"):
        match_table(study_of_runs([run(0, "a")]))


def test_the_latex_table_names_each_optimizer_once():
    table = pd.DataFrame(
        {"optimizer": ["a_b", "a_b"], "n_workers": [1, 4], "simulated_time": [7200.0, 90.0], "wall_time": [0.5, 2.0],
         "ratio": [14400.0, 4.5]}
    )  # fmt: skip
    lines = wall_time_latex(table).splitlines()
    assert lines[4] == r"a\_b & 1 & 2.0 h & 0.5 s & 14,400 \\"
    assert lines[5] == r" & 4 & 90.0 s & 2.0 s & 4.5 \\"
