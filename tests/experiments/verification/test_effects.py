"""What simulators usually get wrong: wrong readings worked out by hand, rankings against scipy, a quick study."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zerowait import benchmarks
from zerowait.experiments.exports.markdown import filled
from zerowait.experiments.verification import Request, run
from zerowait.experiments.verification.effects import experiment, ranks, reruns, traces
from zerowait.experiments.verification.effects import page as written
from zerowait.experiments.verification.effects.readings import after_evaluations, interpolated, looking_ahead
from zerowait.experiments.verification.effects.reruns import AnswersAtOnce, RepeatedSeeds, Task, execute, packed
from zerowait.experiments.verification.outcome import write
from zerowait.plots.statistics.arithmetic import average_ranks, best_at, generator
from zerowait.plots.studies.study import study_of
from zerowait.suite.rules.errors import SpecificationError

NAN = math.nan
ENDS = np.array([10.0, 20.0, 40.0])
VALUES = np.array([5.0, 7.0, 2.0])

finite = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))


@st.composite
def a_run(draw):
    """Return ends, values and times of a run."""
    n = draw(st.integers(1, 12))
    ends = draw(st.lists(st.integers(1, 20).map(float), min_size=n, max_size=n))
    values = draw(st.lists(st.one_of(finite, st.just(NAN)), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(0, 25).map(lambda t: t / 1.0 + 0.5), min_size=1, max_size=8))
    return np.array(sorted(ends)), np.array(values), np.array([*times, *ends])


def losses(seeds, optimizers):
    return st.lists(
        st.lists(st.integers(0, 4).map(float), min_size=optimizers, max_size=optimizers),
        min_size=seeds,
        max_size=seeds,
    ).map(np.array)


strata = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.integers(1, 4).flatmap(lambda n: losses(n, k)), min_size=1, max_size=3)
)


# -- readings ---------------------------------------------------------------------------------------------------------


def test_looking_ahead_gives_the_value_of_the_delivery_that_comes_next():
    times = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 40.0, 50.0])
    right = best_at(ENDS, VALUES, times)
    wrong = looking_ahead(ENDS, VALUES, times)
    np.testing.assert_array_equal(right, [NAN, NAN, 5, 5, 5, 5, 2, 2])
    np.testing.assert_array_equal(wrong, [5, 5, 5, 5, 5, 2, 2, 2])


def test_looking_ahead_is_what_the_other_simulator_draws():
    from benchmark_simulator.utils._performance_over_time import get_performance_over_time

    times, values = get_performance_over_time([ENDS], [VALUES], step=60, log=False)
    np.testing.assert_array_equal(values[0], looking_ahead(ENDS, VALUES, times))
    assert (values[0] != best_at(ENDS, VALUES, times)).mean() > 0.5


def test_straight_lines_promise_what_nobody_has_found_yet():
    wrong = interpolated(ENDS, VALUES, np.array([0.0, 10.0, 20.0, 30.0, 40.0, 99.0]))
    np.testing.assert_array_equal(wrong, [5, 5, 5, 3.5, 2, 2])


def test_evaluations_are_counted_whenever_they_end():
    assert after_evaluations(VALUES, 1) == 5.0
    assert after_evaluations(VALUES, 3) == 2.0
    assert after_evaluations(VALUES, 99) == 2.0
    assert math.isnan(after_evaluations(np.array([NAN, 1.0]), 1))


def test_a_run_without_a_success_has_no_value_however_it_is_read():
    for ends, values in ((np.array([]), np.array([])), (np.array([1.0]), np.array([NAN]))):
        assert np.isnan(looking_ahead(ends, values, np.array([0.0, 2.0]))).all()
        assert np.isnan(interpolated(ends, values, np.array([0.0, 2.0]))).all()


@given(a_run())
def test_looking_ahead_is_never_worse_between_deliveries_and_agrees_after_the_last(run):
    ends, values, times = run
    times = times[~np.isin(times, ends)]
    right = np.nan_to_num(best_at(ends, values, times), nan=math.inf)
    wrong = np.nan_to_num(looking_ahead(ends, values, times), nan=math.inf)
    assert (wrong <= right).all()
    late = times > ends.max()
    np.testing.assert_array_equal(wrong[late], right[late])


def test_looking_ahead_knows_only_the_first_of_the_deliveries_at_one_time():
    ends, values = np.array([10.0, 10.0, 10.0, 20.0]), np.array([5.0, 4.0, 3.0, 1.0])
    assert looking_ahead(ends, values, np.array([9.0, 10.0, 11.0])).tolist() == [5.0, 5.0, 1.0]
    assert best_at(ends, values, np.array([9.0, 10.0, 11.0])).tolist()[1:] == [3.0, 3.0]


@given(a_run())
def test_straight_lines_lie_between_what_is_known_and_what_comes_next(run):
    ends, values, times = run
    line = np.nan_to_num(interpolated(ends, values, times), nan=math.inf)
    assert (line <= np.nan_to_num(best_at(ends, values, times), nan=math.inf) + 1e-9).all()
    if not np.isnan(values).all():
        assert (line >= np.nanmin(values) - 1e-9).all()


# -- rankings ---------------------------------------------------------------------------------------------------------


def test_ranks_are_averaged_over_seeds_and_then_over_benchmarks():
    one = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0]])  # ranks 1.5, 1.5, 3
    other = np.array([[1.0, 1.0, 0.0]])  # ranks 2.5, 2.5, 1
    np.testing.assert_array_equal(ranks.mean_ranks([one, other]), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(ranks.mean_ranks([one]), [1.5, 1.5, 3.0])


def test_a_swap_of_neighbours_is_one_flip_and_a_tie_is_none():
    right, wrong = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0])
    assert ranks.flips(right, wrong) == 1
    assert ranks.kendall_tau(right, wrong) == pytest.approx(1 / 3)
    assert ranks.largest_change(right, wrong) == 1.0
    assert ranks.flips(right, np.array([1.5, 1.5, 3.0])) == 0
    assert ranks.flips(right, -right) == 3
    assert ranks.kendall_tau(right, -right) == -1.0


@given(st.integers(2, 6).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 5), min_size=k, max_size=k)] * 2)))
def test_tau_is_that_of_scipy(rankings):
    one, other = map(np.array, rankings)
    found = float(ranks.kendall_tau(one, other))
    if len(set(one)) == len(set(other)) == 1:
        assert found == 1.0
    else:
        np.testing.assert_allclose(found, stats.kendalltau(one, other).statistic, atol=1e-12)


@given(strata)
def test_identical_data_change_nothing_at_all(data):
    found = [
        ranks.changes(data, data),
        ranks.replicates_over_seeds(data, data, generator("test"), 20),
        ranks.replicates_over_benchmarks(data, data, generator("test"), 20),
    ]
    for changes in found:
        assert (changes.tau == 1).all()
        assert (changes.flips == 0).all()
        assert (changes.each == 0).all()


@given(strata)
def test_every_drawn_ranking_sums_to_what_ranks_sum_to(data):
    k = data[0].shape[1]
    drawn = [
        ranks.redrawn(data, generator("a"), resamples=15),
        ranks.redrawn(data, generator("a"), repetitions=7, resamples=15),
        ranks.repaired(data, generator("a"), resamples=15),
        ranks.replicates_over_seeds(data, data, generator("b"), 15).right,
    ]
    for shares in drawn:
        assert shares.shape == (15, k)
        np.testing.assert_allclose(shares.sum(axis=1), k * (k + 1) / 2, atol=1e-8)
        assert ((shares >= 1) & (shares <= k)).all()


@given(strata, st.integers(0, 3))
def test_a_better_reading_of_one_optimizer_never_worsens_its_rank(data, position):
    column = position % data[0].shape[1]
    wrong = [array.copy() for array in data]
    for array in wrong:
        array[:, column] -= 100.0
    assert ranks.changes(data, wrong).each[column] <= 0
    assert ranks.changes(data, wrong).wrong[column] == 1.0


def test_pairs_do_not_matter_to_an_optimizer_that_always_wins():
    always = [np.array([[0.0, 5.0, 7.0], [1.0, 9.0, 6.0], [2.0, 6.0, 8.0]])]
    drawn = ranks.repaired(always, generator("x"), 200)
    assert (drawn[:, 0] == 1.0).all()
    assert len(np.unique(drawn[:, 1])) > 1


def test_repairing_keeps_every_run_once():
    columns = np.arange(12.0).reshape(4, 3)
    seen = []

    def keep(losses):
        seen.append(losses)
        return average_ranks(losses)

    original, ranks.average_ranks = ranks.average_ranks, keep
    try:
        ranks.repaired([columns], generator("x"), 50)
    finally:
        ranks.average_ranks = original
    np.testing.assert_array_equal(np.sort(seen[0], axis=1), np.broadcast_to(columns, (50, 4, 3)))
    assert (seen[0] != columns).any()


def test_another_draw_gives_the_same_ranking_when_nobody_overlaps_and_seldom_when_all_are_alike():
    clear = [np.array([[0.0, 10.0, 20.0], [1.0, 11.0, 21.0]])]
    pairs = ranks.between_draws(clear, generator("x"))
    assert ranks.another_order(pairs) == ranks.another_winner(pairs) == 0.0
    alike = [np.random.default_rng(0).normal(size=(10, 6))]
    pairs = ranks.between_draws(alike, generator("x"))
    assert ranks.another_order(pairs) > 0.9
    more = ranks.between_draws(alike, generator("x"), repetitions=100)
    assert more.largest.mean() < pairs.largest.mean()


# -- traces -----------------------------------------------------------------------------------------------------------


def two_runs():
    """Return a study: A ends at 10, 20, 40 with 5, 7, 2; B ends at 15, 30, 100 with 6, 3, 1."""
    cells = pd.DataFrame({"benchmark": "b", "n_workers": 1, "optimizer": ["A", "B"], "seed": 0})
    table = pd.DataFrame({"end": [*ENDS, 15.0, 30.0, 100.0], "value": [*VALUES, 6.0, 3.0, 1.0]})
    return study_of(cells, table, np.array([3, 3]))


def test_the_mistakes_change_the_ranking_of_two_runs_as_worked_out_by_hand():
    found = {(r.effect, r.budget): r for r in traces.readings(two_runs())}
    # The common budget ends at 40, when A does: A has 2 and B has 3. At a quarter of it A has 5 and B nothing.
    end, quarter = found["look-ahead", 1.0], found["look-ahead", 0.25]
    assert [end.right[0].tolist(), end.wrong[0].tolist()] == [[[2, 3]], [[2, 1]]]
    np.testing.assert_array_equal(quarter.right[0], [[5, NAN]])
    assert quarter.wrong[0].tolist() == [[5, 6]]
    assert ranks.changes(end.right, end.wrong).each.tolist() == [1, -1]
    assert found["straight lines", 1.0].wrong[0].tolist() == [[2, 3 - 2 * 10 / 70]]
    assert found["evaluations, not time", 0.25].wrong[0].tolist() == [[5, 6]]
    assert found["own budgets", 1.0].wrong[0].tolist() == [[2, 1]]
    # Regret from the best loss seen, 1, to the worst, 7.
    np.testing.assert_allclose(end.regret_right, [1 / 6, 2 / 6])
    np.testing.assert_allclose(end.regret_wrong, [1 / 6, 0])
    assert math.isnan(quarter.regret_right[1])


def test_the_check_of_the_step_function_finds_only_the_wrong_one():
    study = two_runs()
    assert traces.deliveries_from_the_future(study, traces.right) == 0
    # Half-way before each delivery that changes what is known: before 10, 40, 15, 30 and 100.
    assert traces.deliveries_from_the_future(study, traces.looking_ahead) == 5
    assert traces.worse_than_known(study, traces.looking_ahead) == 0
    assert traces.deliveries_from_the_future(study, traces.at_its_own_end) > 5
    assert traces.worse_than_known(study, lambda *_: 5.5) == 3


def test_shared_configurations_are_counted_between_runs_that_differ_in_one_thing():
    cells = pd.DataFrame({"optimizer": ["A", "A", "B"], "benchmark": "b", "n_workers": 1, "seed": [0, 1, 0]})
    table = traces.shared_configurations(cells, [frozenset("pqr"), frozenset("rst"), frozenset("pq")])
    rows = {(r.differs_in, r.optimizer): r for r in table.itertuples()}
    assert rows["another seed", "A"].mean_share == pytest.approx(1 / 3)
    assert rows["another optimizer", "A"].mean_share == 1.0  # of the smaller one's
    assert rows["another optimizer", "B"].identical == 1
    assert len(rows) == 3


# -- other runs -------------------------------------------------------------------------------------------------------


def test_evaluations_in_the_order_of_asking_are_packed_onto_workers():
    trace = pd.DataFrame({"metric.true_runtime": [5.0, 1.0, 1.0, 3.0], "value": [0.0, 1.0, 2.0, 3.0]})
    placed = packed(trace, 2)
    # Worker 0: 0 to 5. Worker 1: 0 to 1, 1 to 2, 2 to 5; of the two at 5 the one that was asked for first comes first.
    assert placed["end"].tolist() == [1.0, 2.0, 5.0, 5.0]
    assert placed["value"].tolist() == [1.0, 2.0, 0.0, 3.0]


def test_a_benchmark_that_answers_at_once_keeps_its_value_and_tells_its_runtime():
    benchmark = benchmarks.load("branin")
    at_once = AnswersAtOnce(benchmark)
    config = {"x0": 0.25, "x1": 0.5}
    first, second = at_once(config, fidelity=50), at_once(config, fidelity=11)
    truth = benchmark(config, fidelity=50)
    assert (first.value, first.metrics["true_runtime"]) == (truth.value, truth.runtime)
    assert first.runtime < second.runtime < 1.00001
    assert at_once.label == "branin"


def both_ways(name, n_workers, family="branin", task=None):
    return [
        execute(Task(name, name, family, task, n_workers, 1, 30, mistake)) for mistake in ("", reruns.ORDER_OF_ASKING)
    ]


@pytest.mark.parametrize("name", ["random", "hyperband", "optuna-tpe"])
def test_one_worker_does_not_notice_that_results_come_in_the_order_of_asking(name):
    right, wrong = both_ways(name, 1)
    assert reruns.different([right], [wrong]) == 0


def test_results_in_the_order_of_asking_lead_an_optimizer_elsewhere_that_learns_from_them():
    right, wrong = both_ways("random", 3, "difficult", "pareto-runtime")
    assert reruns.different([right], [wrong]) == 0
    right, wrong = both_ways("optuna-tpe", 3, "difficult", "pareto-runtime")
    assert sorted(right.values) != sorted(wrong.values)


def test_runs_that_continued_trainings_are_made_again_as_others():
    specification = {
        "mode": "ask_tell", "overhead": {"name": "none"}, "max_time": None, "task": None, "optimizer_parameters": {},
        "benchmark_parameters": {},
    }  # fmt: skip
    rows = [
        {"optimizer": name, "adapter": name, "family": "branin", "benchmark": "branin", "n_workers": 2, "run_seed": 0,
         "max_evaluations": 9, "specification": json.dumps({**specification, **more})}
        for name, more in (("random", {}), ("dehb", {"continual": True}))
    ]  # fmt: skip
    tasks = reruns.of_the_study(pd.DataFrame(rows), reruns.QUICK)
    assert {task.adapter: task.continued for task in tasks} == {"random": False, "dehb": True}


def test_runs_of_0_1_are_made_again_with_the_defaults_of_0_1():
    from types import SimpleNamespace

    def parameters(version, given):
        specification = {"task": "3945", "optimizer_parameters": {}, "benchmark_parameters": given,
                         "versions": {"zerowait": version}}  # fmt: skip
        row = {"adapter": "random", "optimizer": "random", "family": "lcbench", "n_workers": 1, "run_seed": 0}
        row |= {"max_evaluations": 9, "specification": json.dumps(specification)}
        return reruns._task(SimpleNamespace(**row)).benchmark_parameters

    assert parameters("0.1.0", {}) == {"fidelity_range": [6, 52]}
    assert parameters("0.1.0", {"fidelity_range": [9, 52]}) == {"fidelity_range": [9, 52]}
    assert parameters("0.2.0", {}) == {}


def test_workers_repeat_seeds_and_a_configuration_keeps_its_own():
    class Tells:
        def __call__(self, config, *, fidelity=None, seed=None):
            return {"value": float(seed), "runtime": 1.0}

    def seeds(run_seed, n_workers):
        repeated = RepeatedSeeds(Tells(), run_seed, n_workers)
        return [repeated({"x": x}, seed=77).value for x in (0, 1, 2, 3, 0)]

    found = seeds(5, 2)
    assert found[0] == found[1] == found[4] != found[2] == found[3]
    assert seeds(5, 2) == found
    assert seeds(5, 1)[0] == found[0]
    assert len(set(seeds(5, 1)[:4])) == 4
    assert seeds(6, 2)[0] != found[0]


# -- page and figure --------------------------------------------------------------------------------------------------


def test_a_page_is_filled_between_its_lines_and_only_there():
    page = f"before\n{written.BEGIN}\nold\n{written.END}\nafter\n"
    once = filled(page, written.BEGIN, written.END, r"new \1 | text")
    assert once == f"before\n{written.BEGIN}\nnew \\1 | text\n{written.END}\nafter\n"
    assert filled(once, written.BEGIN, written.END, r"new \1 | text") == once
    for damaged in ("", written.BEGIN, page + page, f"{written.END}\n{written.BEGIN}"):
        with pytest.raises(SpecificationError, match="once each and in this order"):
            filled(damaged, written.BEGIN, written.END, "")


def test_the_figure_shows_the_share_of_the_budget_that_changes_most():
    table = pd.DataFrame(
        {
            "effect": ["a", "a", "a", "b"], "budget": [0.25, 1.0, 1.0, 0.25], "n_workers": [1, 1, 4, 1],
            "change": [0.5, 0.0, -1.0, 0.0],
        }
    )  # fmt: skip
    shown = written.most_changed(table)
    assert shown[["effect", "budget", "n_workers"]].to_numpy().tolist() == [
        ["a", 1.0, 1],
        ["a", 1.0, 4],
        ["b", 0.25, 1],
    ]


def test_the_documentation_can_be_filled():
    written.check(Path(__file__).parents[3] / "docs" / "effects.md")


# -- the experiment ---------------------------------------------------------------------------------------------------


def test_the_quick_version_passes_its_gates_and_fills_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{written.BEGIN}\n{written.END}\n")
    outcome = run("effects", Request(page=page, directories=(tmp_path,)))
    assert [str(gate) for gate in outcome.gates if not gate.passed] == []
    table = outcome.table
    assert set(table["n_workers"]) == {1, 4}
    assert set(table["effect"]) == {
        "unfinished trainings", "look-ahead", "straight lines", "evaluations, not time", "own budgets",
        "order of asking", "repeated seeds", "paper's budgets", "unseeded", "unpaired seeds",
    }  # fmt: skip
    alone = table[(table["effect"] == "order of asking") & (table["n_workers"] == 1)].iloc[0]
    assert (alone["tau"], alone["flips"], alone["largest_change"]) == (1.0, 0.0, 0.0)
    assert (table["upper"] >= table["lower"]).all()
    paths = write(outcome, tmp_path / "out", {"command": "zerowait verify effects"})
    assert {path.suffix for path in paths} == {".csv", ".json", ".pdf", ".png", ".md"}
    assert json.loads((tmp_path / "out" / "effects.json").read_text())["passed"] is True
    shown = page.read_text()
    assert shown.startswith("# Title")
    assert shown.count("| look-ahead |") == 4
    assert shown.index("| unfinished trainings |") < shown.index("| look-ahead |")
    assert "| read at | recommended / full / any | P = 1 | P = 4 |" in shown
    rules = outcome.details["rules"]
    for rule in ("recommended", "full", "any"):
        assert rules.groupby(["n_workers", "budget"])[rule].sum().tolist() == pytest.approx([10.0] * 6)
    assert "All gates passed" in shown
    again = experiment.compared(next(iter(traces.readings(two_runs()))))
    assert again.changes.pairs == 1


def test_what_is_missing_is_said_before_anything_is_computed(tmp_path):
    with pytest.raises(SpecificationError, match=r"there is no study in .*nowhere; name the output folder"):
        run("effects", Request(study=tmp_path / "nowhere"))
    with pytest.raises(SpecificationError, match=r"page\.md: the page cannot be read"):
        run("effects", Request(page=tmp_path / "page.md"))
