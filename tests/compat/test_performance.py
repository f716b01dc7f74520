"""Performance over time: by hand, and as mfhpo-simulator gives it, against mfhpo-simulator itself."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import benchmark_simulator.utils as predecessor
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.compat.benchmark_simulator import utils as ours

NAN = math.nan
ENDS, VALUES = [10.0, 25.0, 40.0], [5.0, 7.0, 2.0]


def test_a_value_counts_from_its_delivery_on():
    times, values = ours.get_performance_over_time([ENDS], [VALUES], step=7, log=False)
    np.testing.assert_array_equal(times, [10, 15, 20, 25, 30, 35, 40])
    np.testing.assert_array_equal(values, [[5, 5, 5, 5, 5, 5, 2]])
    _, ahead = ours.get_performance_over_time([ENDS], [VALUES], step=7, log=False, as_predecessor=True)
    np.testing.assert_array_equal(ahead, [[5, 5, 5, 5, 2, 2, 2]])


def test_a_seed_has_no_value_before_its_first_result_and_neither_has_the_mean():
    _, values = ours.get_performance_over_time([ENDS, [20.0, 40.0]], [VALUES, [1.0, 0.0]], step=4, log=False)
    np.testing.assert_array_equal(values, [[5, 5, 5, 2], [NAN, 1, 1, 0]])
    mean, error = ours.get_mean_and_standard_error(values)
    np.testing.assert_array_equal(mean, [NAN, 3, 3, 1])
    np.testing.assert_allclose(error, [NAN, 2, 2, 1])


@pytest.mark.parametrize("log", [True, False])
def test_the_last_time_is_that_of_the_last_result_and_the_greatest_value_can_be_the_best(log):
    ends = (np.array([0.1, 0.3, 0.7]) * math.pi).tolist()
    times, values = ours.get_performance_over_time([ends], [[1.0, 2.0, 3.0]], log=log, minimize=False)
    assert (times[0], times[-1], values[0, 0], values[0, -1]) == (ends[0], ends[-1], 1.0, 3.0)


def test_what_does_not_fit_is_refused():
    for one in (ours, predecessor):
        with pytest.raises(ValueError, match="seeds"):
            one.get_performance_over_time([ENDS], [VALUES, VALUES])
        with pytest.raises(ValueError, match=r"times|shape"):
            one.get_performance_over_time([ENDS], [VALUES[:2]])
        with pytest.raises(TypeError):
            one.get_performance_over_time([(1.0, 2.0)], [VALUES])
        with pytest.raises(ValueError, match="must be smaller"):
            one.get_performance_over_time([np.array(ENDS)], [VALUES], [np.array([11.0, 0.0, 0.0])])
        with pytest.raises(ValueError, match=r"shape|array"):
            one.get_mean_and_standard_error(np.zeros(3))
    with pytest.raises(ValueError, match="use log=False"):
        ours.get_performance_over_time([[0.0, 1.0]], [[1.0, 1.0]])


def written(folder, name, random, *, sampling):
    """A run of three workers as 1.4.6 leaves it behind."""
    n = int(random.integers(3, 40))
    free, samplings, ends = [0.0] * 3, [], []
    for i in range(n + 2):
        worker = int(np.argmin(free))
        seconds, runtime = random.exponential(sampling), random.exponential(10.0) + 0.1
        samplings.append((free[worker], free[worker] + seconds, worker))
        free[worker] += seconds + runtime
        ends.append((free[worker], worker, float(random.integers(0, 9)), runtime, i))
    ends = sorted(ends)[:n]
    path = Path(folder) / name
    path.mkdir()
    results = {"cumtime": [e[0] for e in ends], "worker_index": [e[1] for e in ends], "loss": [e[2] for e in ends]}
    names = ("before_sample", "after_sample", "worker_index")
    sampled = {name: [one[k] for one in samplings] for k, name in enumerate(names)}
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (path / "sampled_time.json").write_text(json.dumps(sampled), encoding="utf-8")
    return str(path), ends


@settings(max_examples=8)
@given(st.integers(0, 999), st.booleans(), st.booleans(), st.booleans())
def test_as_the_predecessor_gives_it(seed, minimize, log, with_overhead):
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            [[written(folder, f"{i}-{j}-{k}", random, sampling=0.02)[0] for k in range(2)] for j in range(3)]
            for i in range(2)
        ]
        how = {"minimize": minimize, "log": log, "consider_optimizer_overhead": with_overhead, "step": 30}
        pairs = [
            (one(paths[0][0], **how), other(paths[0][0], **how, as_predecessor=True))
            for one, other in [
                (predecessor.get_performance_over_time_from_paths, ours.get_performance_over_time_from_paths)
            ]
        ]
        for name in ("get_average_rank", "get_performance_over_time_with_same_time_scale"):
            there, here = getattr(predecessor, name), getattr(ours, name)
            pairs.append((there(paths, **how), here(paths, **how, as_predecessor=True)))
        for there, here in pairs:
            np.testing.assert_array_equal(
                here[1] if here[1].ndim > 1 else here[0], there[1] if there[1].ndim > 1 else there[0]
            )
            np.testing.assert_allclose(here[0], there[0], rtol=1e-12)
            np.testing.assert_allclose(here[1], there[1], rtol=1e-12)
        values = np.where(random.random((4, 5)) < 0.2, NAN, random.random((4, 5)))
        values[0] = 0.5
        for there, here in zip(
            predecessor.get_mean_and_standard_error(values),
            ours.get_mean_and_standard_error(values, as_predecessor=True),
            strict=True,
        ):
            np.testing.assert_allclose(here, there)


def test_without_overhead_a_workers_time_is_the_sum_of_its_runtimes(tmp_path):
    path, ends = written(tmp_path, "run", np.random.default_rng(1), sampling=3.0)
    worked, expected = {}, []
    for _, worker, loss, runtime, _ in ends:
        worked[worker] = worked.get(worker, 0.0) + runtime
        expected.append((worked[worker], loss))
    times, values = ours.get_performance_over_time_from_paths([path], consider_optimizer_overhead=False)
    best = [min([loss for end, loss in expected if end <= time + 1e-9]) for time in times]
    np.testing.assert_array_equal(values[0], best)
    assert times[-1] == pytest.approx(max(worked.values()))


def test_ranks_by_hand(tmp_path):
    """The second has the better results later; the first of two times is before any result."""
    for name, ends, losses in (("a", [10.0, 100.0], [3.0, 2.0]), ("b", [50.0, 90.0], [1.0, 0.0])):
        (tmp_path / name).mkdir()
        results = {"cumtime": ends, "loss": losses, "worker_index": [0, 0]}
        (tmp_path / name / "results.json").write_text(json.dumps(results), encoding="utf-8")
    paths = [[[str(tmp_path / "a")], [str(tmp_path / "b")]]]
    how = {"log": False, "step_avg_rank": 11}
    ranks, shares = ours.get_average_rank(paths, **how)
    np.testing.assert_allclose(shares, np.linspace(0.0, 1.0, 11))
    np.testing.assert_array_equal(ranks[0], [1.5] + 4 * [1] + 6 * [2])
    greatest, _ = ours.get_average_rank(paths, minimize=False, **how)
    np.testing.assert_array_equal(greatest[0], [1.5] + 10 * [1])
