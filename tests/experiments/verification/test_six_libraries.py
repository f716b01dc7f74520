"""Six libraries slept and simulated: distances of runs, the odd one out, gates that can fail, and the quick version."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from zerowait import adapters, benchmarks
from zerowait.experiments.verification import Request
from zerowait.experiments.verification.six_libraries import experiment as six_libraries
from zerowait.experiments.verification.six_libraries.experiment import (
    AGAIN,
    FULL,
    QUICK,
    SIMULATED,
    SLEPT,
    Cell,
    compare,
)
from zerowait.experiments.verification.six_libraries.library_runs import GREATEST_FACTOR, LEAST_FACTOR, Ran, Shortened
from zerowait.experiments.verification.six_libraries.run_distances import (
    FALSE_ALARM,
    MEASURES,
    curve_gap,
    distance,
    is_odd,
    most_odd,
)
from zerowait.suite.rules.errors import SpecificationError


def trace(contents, ends=None, values=None, fidelity=math.nan):
    """Return a trace of configurations named by letters; runtimes are such that nobody was late."""
    ends = list(range(1, len(contents) + 1)) if ends is None else ends
    end = np.asarray(ends, dtype=float)
    return pd.DataFrame({
        "content": list(contents), "fidelity": fidelity, "start": end - 0.5, "end": end, "runtime": 0.5,
        "value": [-float(ord(c)) for c in contents] if values is None else values,
    })  # fmt: skip


def ran(contents, **arguments):
    return Ran(trace(contents, **arguments), wall=0.1, idle_releases=0)


def three(slept, again, simulated):
    return {SLEPT: ran(slept), AGAIN: ran(again), SIMULATED: ran(simulated)}


def gates_of(cells_and_runs):
    rows = [compare(cell, runs) for cell, runs in cells_and_runs]
    return {gate.name: gate for gate in six_libraries._outcome(rows, [{"place": 1}], FULL, {}).gates}


# -- how far apart two runs are ---------------------------------------------------------------------------------------


def test_a_run_is_at_no_distance_from_itself():
    found = distance(trace("abcdb"), trace("abcdb"))
    assert found.by_measure == dict.fromkeys(MEASURES, 0.0)
    assert found.first == 5
    assert math.isnan(found.apart)


def test_two_results_that_changed_places_are_found_with_how_closely_they_missed_one_another():
    found = distance(trace("abcd", ends=[1.0, 2.0, 2.5, 4.0]), trace("acbd", ends=[1.0, 2.0, 2.125, 4.0]))
    assert found.first == 1
    assert found.by_measure["prefix"] == 3
    assert found.by_measure["order"] == pytest.approx(1 - 4 / 6)
    assert found.by_measure["content"] == found.by_measure["time"] == found.by_measure["best"] == 0
    assert found.apart == 0.125


def test_a_configuration_that_only_one_run_has_did_not_change_places():
    found = distance(trace("abc"), trace("axc"))
    assert found.by_measure["content"] == pytest.approx(1 / 3)
    assert math.isnan(found.apart)


def test_the_same_configuration_at_another_fidelity_is_another_evaluation():
    found = distance(trace("abc", fidelity=1.0), trace("abc", fidelity=3.0))
    assert found.by_measure["content"] == 1.0
    assert found.first == 0


def test_the_best_values_so_far_are_compared_at_each_time_without_looking_ahead():
    one = trace("ab", ends=[1.0, 5.0], values=[3.0, 1.0])
    other = trace("ab", ends=[2.0, 4.0], values=[3.0, 1.0])
    # From 2 to 4 both know 3; from 4 on one of them knows 1 and the other still 3; the shorter run ends at 4.
    assert curve_gap(one, other) == 0.0
    longer = trace("abc", ends=[2.0, 4.0, 6.0], values=[3.0, 1.0, 1.0])
    # From 2 to 5: 2 of difference for one of three seconds.
    assert curve_gap(one, longer) == pytest.approx(2 / 3)
    assert curve_gap(longer, one) == curve_gap(one, longer)


@pytest.mark.parametrize(("one", "other"), [("abcd", "acbd"), ("abcd", "badx"), ("aabc", "abac")])
def test_distances_are_the_same_from_both_sides(one, other):
    assert distance(trace(one), trace(other)).by_measure == distance(trace(other), trace(one)).by_measure


# -- the odd one out --------------------------------------------------------------------------------------------------


def test_who_is_as_near_to_one_of_the_others_as_they_are_to_one_another_is_not_odd():
    assert not is_odd(0.0, 0.0, 0.0)
    assert not is_odd(2.0, 2.0, 5.0)
    assert is_odd(2.0, 2.5, 5.0)
    assert not is_odd(2.0, 2.5, 5.0, allowance=0.5)


@pytest.mark.parametrize("cells", [1, 2, 6, 12, 36])
def test_the_limit_is_the_least_that_chance_exceeds_less_often_than_it_may(cells):
    def more_than(k):
        return sum(Fraction(math.comb(cells, i) * 2 ** (cells - i), 3**cells) for i in range(k + 1, cells + 1))

    limit = most_odd(cells)
    assert more_than(limit) <= FALSE_ALARM < more_than(limit - 1)
    assert (limit < cells) == (cells > 5)


def test_one_of_three_that_are_alike_is_the_odd_one_a_third_of_the_time():
    draws = np.random.default_rng(np.random.SeedSequence(0)).random((3000, 3))
    odd = sum(is_odd(abs(a - b), abs(c - a), abs(c - b)) for a, b, c in draws)
    assert odd / 3000 == pytest.approx(1 / 3, abs=0.03)


# -- gates that can fail ----------------------------------------------------------------------------------------------

SEVERAL = [Cell("dehb", benchmark, workers) for benchmark in ("branin", "lcbench") for workers in (2, 4, 8)]


def test_a_simulation_that_deviates_where_sleeping_runs_agree_fails():
    gates = gates_of([(cell, three("abcdef", "abcdef", "abdcfx")) for cell in SEVERAL])
    failed = [name.partition(" ")[0].rstrip(":") for name, gate in gates.items() if not gate.passed]
    assert failed == ["prefix", "order", "content", "best", "curve", "dehb"]


def test_a_simulation_that_deviates_no_more_than_sleeping_runs_do_passes():
    gates = gates_of([(cell, three("abcdef", "abdcfx", "abdcef")) for cell in SEVERAL])
    assert all(gate.passed for gate in gates.values() if "odd" in gate.name)
    assert sum("odd" in name for name in gates) == len(MEASURES) + 1


def test_with_one_worker_nothing_may_differ():
    cell = Cell("bohb", "branin", 1)
    name = "one worker: cells in which all three runs make the same evaluations in the same order"
    assert gates_of([(cell, three("abc", "abc", "abc"))])[name].passed
    assert not gates_of([(cell, three("abc", "abc", "acb"))])[name].passed
    assert not gates_of([(cell, three("abc", "acb", "abc"))])[name].passed


def test_random_search_may_differ_in_order_and_not_in_what_it_evaluates():
    cell = Cell("random", "branin", 4)
    name = "random search: cells in which all three runs evaluate the same configurations and find the same best"
    assert gates_of([(cell, three("abc", "abc", "acb"))])[name].passed
    assert not gates_of([(cell, three("abc", "abc", "abx"))])[name].passed


def test_a_final_time_may_differ_by_the_limit_and_what_is_measured_of_slept_runs():
    cell = Cell("random", "branin", 1)

    def gate(simulated_end, late=0.0, again_end=2.0):
        runs = three("ab", "ab", "ab")
        for name in (SLEPT, AGAIN):
            runs[name].trace["runtime"] -= late
        runs[AGAIN].trace.loc[1, ["start", "end"]] = again_end - 0.5, again_end
        runs[SIMULATED].trace.loc[1, "end"] = simulated_end
        gates = gates_of([(cell, runs)])
        return next(gate for name, gate in gates.items() if "final time" in name)

    assert gate(2.0).measured == 0.0
    assert gate(1.97).measured == pytest.approx(0.015)
    assert gate(1.97).passed
    assert not gate(1.8).passed
    assert gate(1.8, late=0.1).passed
    assert gate(1.8, again_end=2.25).passed


def test_a_worker_that_was_wrongly_taken_for_idle_is_no_secret():
    runs = three("abc", "abc", "abc")
    runs[SIMULATED] = replace(runs[SIMULATED], idle_releases=1)
    gates = gates_of([(Cell("bohb", "branin", 1), runs)])
    assert [name for name, gate in gates.items() if not gate.passed] == [
        "free workers that a simulated run took for idle"
    ]


# -- what is run ------------------------------------------------------------------------------------------------------


def test_shortened_runtimes_belong_to_the_configuration_and_values_stay():
    branin = benchmarks.load("branin")
    shortened = Shortened(branin, 1e-3, spread=True)
    copied = pickle.loads(pickle.dumps(shortened))
    factors = set()
    for x in (0.1, 0.2, 0.3):
        config = {"x0": x, "x1": 0.5}
        for fidelity in (11, 100):
            whole = branin(config, fidelity=fidelity)
            short = shortened(config, fidelity=fidelity)
            assert short.value == whole.value
            assert copied(config, fidelity=fidelity) == short
            factors.add(round(short.runtime / whole.runtime * 1e3, 9))
    assert len(factors) == 3
    assert all(LEAST_FACTOR < factor < GREATEST_FACTOR for factor in factors)
    assert Shortened(branin, 0.5, spread=False)({"x0": 0.1, "x1": 0.5}).runtime == 1800.0
    assert shortened.fidelity == branin.fidelity


def test_the_full_version_has_every_library_benchmark_and_number_of_workers():
    assert len(set(FULL.cells)) == 6 * 2 * 4
    assert {cell.problem for cell in FULL.cells} == set(FULL.problems)


def test_a_library_that_is_not_installed_is_left_out_and_fails_a_gate(monkeypatch):
    def load(name):
        raise SpecificationError(f"the optimizer {name!r} cannot be loaded: pip install it")

    monkeypatch.setattr(adapters, "load", load)
    monkeypatch.setattr(six_libraries, "_outcome", lambda rows, evaluations, scope, absent: (rows, absent))
    rows, absent = six_libraries.verify(QUICK, Request())
    assert rows == []
    assert list(absent) == ["random", "bohb"]
    assert absent["bohb"].endswith("pip install it")


def test_two_libraries_slept_twice_and_simulated_do_the_same():
    outcome = six_libraries.verify(QUICK, Request())
    # How fast a busy machine samples is its affair; what is evaluated, and by one worker in which order, is not.
    certain = [gate for gate in outcome.gates if "final time" not in gate.name]
    assert len(certain) == 4
    assert [gate.name for gate in certain if not gate.passed] == []
    cells, evaluations = outcome.details["cells"], outcome.details["evaluations"]
    assert (cells["makespan"] > cells["wall"]).all()
    assert len(evaluations) == 2 * 3 * 12
    assert set(evaluations["run"]) == {SLEPT, AGAIN, SIMULATED}
    slept = evaluations[evaluations["run"] != SIMULATED]
    assert (slept["end"] - slept["start"] >= slept["runtime"]).all()
    simulated = evaluations[evaluations["run"] == SIMULATED]
    assert (simulated["end"] == simulated["start"] + simulated["runtime"]).all()
