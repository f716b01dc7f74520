"""Scripts of mfhpo-simulator by one changed import: what its users rely on, and mfhpo-simulator itself as a witness."""

from __future__ import annotations

import heapq
import json
import math
import multiprocessing
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import benchmark_simulator as predecessor
import numpy as np
import pytest

from zerowait import Overhead
from zerowait.compat import benchmark_simulator as ours
from zerowait.compat.benchmark_simulator import AbstractAskTellOptimizer, ObjectiveFuncWrapper, get_multiple_wrappers
from zerowait.compat.benchmark_simulator.wrapper import INF

NONE = {"overhead": Overhead.none()}
N, P = 40, 4
RUNTIMES = np.random.default_rng(3).permutation(np.arange(1000, 9000, 37))[: N + P].astype(float)
"""No two sums of a few are equal."""


class InTurn(AbstractAskTellOptimizer):
    asked = -1

    def ask(self):
        self.asked += 1
        return {"i": self.asked}, None, None

    def tell(self, *_, **__):
        pass


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore")


def numbered(eval_config, fidels=None, seed=None):
    """The loss says which configuration it is."""
    return {"loss": float(eval_config["i"]), "runtime": RUNTIMES[eval_config["i"]]}


def by_hand(runtimes, n_workers, n):
    """The first `n` ends, and which configuration each is, when whoever is free takes the next one."""
    free, ends = [0.0] * n_workers, []
    for i, seconds in enumerate(runtimes[: n + n_workers - 1]):
        start = heapq.heappop(free)
        heapq.heappush(free, start + seconds)
        ends.append((start + seconds, float(i)))
    return sorted(ends)[:n]


def is_in_order(wrapper, n=N, n_workers=P):
    results = wrapper.get_results()
    assert list(zip(results["cumtime"], results["loss"], strict=True))[:n] == by_hand(RUNTIMES, n_workers, n)
    assert set(results["worker_index"]) == set(range(n_workers))


def call_all(wrapper, pool):
    return list(pool.map(wrapper, [{"i": i} for i in range(N + P)]))


ARGUMENTS = {"n_workers": P, "n_evals": N, "n_actual_evals_in_opt": N + P}

# -- the order of results ---------------------------------------------------------------------------------------------


def test_threads_get_results_in_order():
    wrapper = ObjectiveFuncWrapper(numbered, **ARGUMENTS, **NONE)
    with ThreadPoolExecutor(P) as pool:
        answers = call_all(wrapper, pool)
    is_in_order(wrapper)
    assert answers[0] == {"loss": 0.0, "runtime": RUNTIMES[0]}


def test_processes_get_results_in_order_and_what_comes_past_the_budget_is_infinite():
    wrapper = ObjectiveFuncWrapper(numbered, **ARGUMENTS, **NONE)
    with multiprocessing.Pool(P) as pool:
        answers = pool.map(wrapper, [{"i": i} for i in range(N + P)], chunksize=1)
    is_in_order(wrapper)
    assert answers[N + P - 1] == {"loss": INF, "runtime": INF}
    assert len(wrapper.get_results()["loss"]) == N + P - 1


def test_a_wrapper_for_each_worker():
    wrappers = get_multiple_wrappers(numbered, save_dir_name="many", **ARGUMENTS, **NONE)
    todo, lock = iter(range(N + P)), threading.Lock()

    def work(wrapper):
        while True:
            with lock:
                i = next(todo, None)
            if i is None:
                return
            wrapper({"i": i})

    threads = [threading.Thread(target=work, args=(wrapper,)) for wrapper in wrappers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    is_in_order(wrappers[0])
    with pytest.raises(FileExistsError):
        get_multiple_wrappers(numbered, save_dir_name="many")


PROGRAM = """
import sys
from zerowait import Overhead
from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper
index, n = map(int, sys.argv[1:])
def train(eval_config, fidels=None, seed=None):
    return {"loss": float(eval_config["i"]), "runtime": 100.0 * (3 + index) + eval_config["i"]}
wrapper = ObjectiveFuncWrapper(train, True, save_dir_name="spmd", n_workers=2, n_evals=n, n_actual_evals_in_opt=n + 2,
                               worker_index=index, overhead=Overhead.none())
for i in range(n + 2):
    wrapper({"i": 10 * i + index})
"""


def test_programs_that_share_a_folder_wait_for_one_another_and_leave_their_results_there():
    n = 6
    programs = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(k), str(n)]) for k in range(2)]
    assert [program.wait(120) for program in programs] == [0, 0]
    results = json.loads(Path("mfhpo-simulator-info/spmd/results.json").read_text(encoding="utf-8"))
    ends = [np.cumsum([100.0 * (3 + k) + 10 * i + k for i in range(n)]) for k in range(2)]
    assert results["cumtime"][:n] == sorted(np.concatenate(ends).tolist())[:n]


def test_a_program_that_waits_for_others_in_vain_says_so(monkeypatch):
    from zerowait import Simulator

    wait = Simulator.wait_joined
    monkeypatch.setattr(Simulator, "wait_joined", lambda self, n: wait(self, n, timeout=0.05))
    with pytest.raises(TimeoutError, match=r"for 4 simulators on .*, but there were only 1; start 4 programs"):
        ObjectiveFuncWrapper(numbered, True, save_dir_name="alone", **ARGUMENTS)


# -- asked and told ---------------------------------------------------------------------------------------------------


def a_climber(package):
    """An optimizer whose next configuration depends on what it was told, and in which order."""

    class Climber(package.AbstractAskTellOptimizer):
        def __init__(self, seed):
            self.random, self.told, self.at = np.random.default_rng(seed), [], 0.5

        def ask(self):
            step = self.random.normal(0.0, 0.1)
            return {"x": float(np.clip(self.at + step, 0.0, 1.0))}, None, None

        def tell(self, eval_config, results, *, fidels=None, config_id=None):
            self.told.append((results["loss"], results["runtime"]))
            self.at = 0.7 * self.at + 0.3 * eval_config["x"] if results["loss"] > 0.1 else eval_config["x"]

    return Climber


def hilly(eval_config, fidels=None, seed=None):
    x = eval_config["x"]
    return {"loss": abs(x - 0.9), "runtime": 5000.0 + 9000.0 * ((x * 7919.0) % 1.0)}


def climb(package, seed, n_workers):
    climber = a_climber(package)(seed)
    wrapper = package.ObjectiveFuncWrapper(
        hilly, ask_and_tell=True, n_workers=n_workers, n_evals=50, n_actual_evals_in_opt=70, expensive_sampler=True
    )
    wrapper.simulate(climber)
    return climber.told, wrapper.get_results()


@pytest.mark.parametrize("n_workers", [1, 3, 8])
def test_an_optimizer_is_told_what_the_predecessor_tells_it(n_workers):
    (told, results), (told_there, results_there) = (climb(one, 7, n_workers) for one in (ours, predecessor))
    assert told == told_there
    assert results["loss"] == results_there["loss"]
    np.testing.assert_allclose(results["cumtime"], results_there["cumtime"], atol=100.0)  # both measure the sampling


def test_threads_get_the_losses_in_the_order_of_the_predecessor():
    losses = []
    for package in (ours, predecessor):
        wrapper = package.ObjectiveFuncWrapper(numbered, **{**ARGUMENTS, "n_evals": 12, "n_actual_evals_in_opt": N + P})
        with ThreadPoolExecutor(P) as pool:
            for number in range(P):  # one after the other, so that the first four start in this order
                pool.submit(wrapper, {"i": number})
            rest = [pool.submit(wrapper, {"i": number}) for number in range(P, N)]
            for future in rest:
                future.result()
        losses.append(wrapper.get_results()["loss"])
    assert losses[0] == losses[1]


def told_with(objective, **arguments):
    """What an optimizer of growing epochs of one configuration is told."""

    class Grows(AbstractAskTellOptimizer):
        def __init__(self):
            self.asked, self.told = -1, []

        def ask(self):
            self.asked += 1
            return {"x": 1}, {"epoch": 3**self.asked}, 5

        def tell(self, eval_config, results, *, fidels=None, config_id=None):
            self.told.append((results, fidels, config_id))

    optimizer = Grows()
    wrapper = ObjectiveFuncWrapper(
        objective, ask_and_tell=True, n_workers=1, n_evals=4, n_actual_evals_in_opt=5, fidel_keys=["epoch"],
        **arguments, **NONE,
    )  # fmt: skip
    wrapper.simulate(optimizer)
    return optimizer.told, wrapper


def by_epoch(eval_config, fidels=None, seed=None):
    return {"loss": 1.0 / fidels["epoch"], "runtime": 1000.0 * fidels["epoch"], "seed": seed}


def test_a_third_rung_is_charged_once():
    """1.4.6 says 1000, 3000, 10000, 30000 when asked and told, and the right ones when called."""
    told, wrapper = told_with(by_epoch, continual_max_fidel=27, store_config=True)
    results = wrapper.get_results()
    assert results["cumtime"] == [1000.0, 3000.0, 9000.0, 27000.0]
    assert [one["runtime"] for one, _, _ in told] == [1000.0, 2000.0, 6000.0, 18000.0]
    assert [fidels for _, fidels, _ in told] == [{"epoch": 1}, {"epoch": 3}, {"epoch": 9}, {"epoch": 27}]
    assert {config_id for _, _, config_id in told} == {5}
    assert results["prev_fidel"] == [0, 1, 3, 9]
    assert results["epoch"] == [1, 3, 9, 27]
    assert [one["seed"] for one, _, _ in told] == results["seed"]
    assert len(set(results["seed"])) == 1


def test_losses_that_are_not_finite_are_told_and_called_as_they_are():
    def diverges(eval_config, fidels=None, seed=None):
        return {**by_epoch(eval_config, fidels), "loss": math.inf if fidels["epoch"] == 3 else 0.5}

    told, wrapper = told_with(diverges)
    assert [one["loss"] for one, _, _ in told] == [0.5, math.inf, 0.5, 0.5]
    assert wrapper.get_results()["cumtime"] == [1000.0, 4000.0, 13000.0, 40000.0]
    called = ObjectiveFuncWrapper(diverges, n_workers=1, n_evals=2, fidel_keys=["epoch"], **NONE)
    assert called({"x": 1}, fidels={"epoch": 3}) == {"loss": math.inf, "runtime": 3000.0}


def seed_as_loss(eval_config, fidels=None, seed=None):
    return {"loss": float(seed), "runtime": 1.0}


def test_every_call_has_a_seed_of_its_own_and_the_run_says_which():
    wrapper = ObjectiveFuncWrapper(seed_as_loss, n_workers=2, n_evals=9, seed=4, store_config=True, **NONE)
    with multiprocessing.Pool(2) as pool:
        pool.map(wrapper, [{"i": 0}] * 9, chunksize=1)
    results = wrapper.get_results()
    assert results["loss"] == results["seed"]
    assert len(set(results["loss"])) == 9


def test_an_error_of_the_objective_reaches_whoever_simulates():
    def fails(eval_config, fidels=None, seed=None):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        told_with(fails)


# -- what goes in and comes out ---------------------------------------------------------------------------------------


def test_several_objectives_fidelities_and_data():
    def many(eval_config, fidels=None, seed=None, table=None):
        return {"a": table[eval_config["x"]], "b": -1.0, "c": 2.0, "cost": float(sum(fidels.values()))}

    wrapper = ObjectiveFuncWrapper(
        many, obj_keys=["a", "b", "cost"], runtime_key="cost", fidel_keys=["z", "share"], store_config=True,
        store_actual_cumtime=True, n_workers=1, n_evals=3,
    )  # fmt: skip
    assert wrapper({"x": 0}, fidels={"z": 2, "share": 3}, table=[0.25]) == {"a": 0.25, "b": -1.0, "cost": 5.0}
    wrapper({"x": 0, "y": "b"}, fidels={"z": 4, "share": 3}, table=[0.5], config_id=3)
    results = wrapper.get_results()
    assert (results["a"], results["b"], results["cost"]) == ([0.25, 0.5], [-1.0, -1.0], [5.0, 7.0])
    assert (results["z"], results["share"], results["x"], results["y"]) == ([2, 4], [3, 3], [0, 0], [None, "b"])
    assert results["actual_cumtime"] == sorted(results["actual_cumtime"])
    overhead = wrapper.get_optimizer_overhead()
    assert np.subtract(overhead["after_sample"], overhead["before_sample"]).min() >= 0.0
    assert json.loads(Path(wrapper.result_file_path).read_text(encoding="utf-8")) == results
    assert json.loads(Path(wrapper.optimizer_overhead_file_path).read_text(encoding="utf-8")) == overhead
    assert Path(wrapper.result_file_path) == Path(wrapper.dir_name) / "results.json"
    assert (wrapper.obj_keys, wrapper.fidel_keys, wrapper.runtime_key) == (["a", "b", "cost"], ["z", "share"], "cost")
    assert (wrapper.n_workers, wrapper.n_actual_evals_in_opt) == (1, 105)


@pytest.mark.parametrize(
    ("sampling", "ends"), [("serial", [3, 6, 6.5, 11, 11.25]), ("parallel", [2, 5.5, 6, 10.25, 10.5])]
)
def test_samplings_of_a_second_overlap_or_wait_for_one_another(sampling, ends):
    """Two workers. Serial: the second begins at 2; the worker that is free at 6.5 waits for a sampling until 7."""
    seconds = [5.0, 1.0, 2.5, 4.0, 3.25, 50.0]

    def train(eval_config, fidels=None, seed=None):
        return {"loss": 0.0, "runtime": seconds[eval_config["i"]]}

    wrapper = ObjectiveFuncWrapper(
        train, ask_and_tell=True, n_workers=2, n_evals=5, overhead=Overhead.fixed(1.0, sampling=sampling)
    )
    wrapper.simulate(InTurn())
    assert wrapper.get_results()["cumtime"] == ends


BATCHES = {2: [400, 700, 1000, 1300, 1400, 1500, 1700], 3: [300, 400, 1000, 1200, 1300, 1400, 1600]}
"""Ends of seven trainings in batches of three, worked out by hand."""


@pytest.mark.parametrize("n_workers", BATCHES)
@pytest.mark.parametrize("asks", [False, True])
def test_synchronous_batches(n_workers, asks):
    seconds = [1000, 400, 300, 300, 400, 200, 200]

    def train(eval_config, fidels=None, seed=None):
        return {"loss": float(eval_config["i"]), "runtime": seconds[eval_config["i"]]}

    wrapper = ObjectiveFuncWrapper(
        train, ask_and_tell=asks, batch_size=3, n_workers=n_workers, n_evals=7, n_actual_evals_in_opt=7 + n_workers,
        **NONE,
    )  # fmt: skip
    if asks:
        wrapper.simulate(InTurn())
    else:
        answers = [wrapper({"i": min(i, 6)}) for i in range(8)]
        assert answers[-1]["loss"] == INF
    assert wrapper.get_results()["cumtime"] == BATCHES[n_workers]


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"ask_and_tell": True, "launch_multiple_wrappers_from_user_side": True}),
        (ValueError, {"launch_multiple_wrappers_from_user_side": True}),
        (ValueError, {"worker_index": 0}),
        (ValueError, {"launch_multiple_wrappers_from_user_side": True, "save_dir_name": "a", "worker_index": 4}),
        (ValueError, {"n_actual_evals_in_opt": 103}),
        (ValueError, {"allow_parallel_sampling": True, "expensive_sampler": True}),
        (ValueError, {"continual_max_fidel": 9}),
        (ValueError, {"continual_max_fidel": 9, "fidel_keys": ["a", "b"]}),
    ],
)
def test_contradictions_are_refused_as_they_are_there(error, arguments):
    for package in (ours, predecessor):
        with pytest.raises(error):
            package.ObjectiveFuncWrapper(numbered, **arguments)


@pytest.mark.parametrize(
    ("error", "arguments", "call"),
    [
        (ValueError, {}, {"fidels": {"epoch": 1}}),
        (ValueError, {"fidel_keys": ["epoch"]}, {}),
        (KeyError, {"fidel_keys": ["epoch"]}, {"fidels": {"epochs": 1}}),
        (ValueError, {"fidel_keys": ["epoch"], "continual_max_fidel": 9}, {"fidels": {"epoch": 1.0}}),
        (ValueError, {"fidel_keys": ["epoch"], "continual_max_fidel": 9}, {"fidels": {"epoch": -1}}),
        (KeyError, {"obj_keys": ["loss", "latency"]}, {}),
        (KeyError, {"runtime_key": "seconds"}, {}),
    ],
)
def test_calls_are_refused_as_they_are_there(error, arguments, call):
    for package in (ours, predecessor):
        wrapper = package.ObjectiveFuncWrapper(numbered, n_workers=1, **arguments)
        with pytest.raises(error):
            wrapper({"i": 0}, **call)


def test_more_callers_than_workers():
    wrapper = ObjectiveFuncWrapper(numbered, n_workers=1, n_evals=9)
    inside, go_on = threading.Event(), threading.Event()

    def waits(eval_config, fidels=None, seed=None):
        inside.set()
        go_on.wait()
        return numbered(eval_config)

    wrapper = ObjectiveFuncWrapper(waits, n_workers=1, n_evals=9)
    caller = threading.Thread(target=wrapper, args=({"i": 0},))
    caller.start()
    inside.wait()
    with pytest.raises(ProcessLookupError, match="n_workers=1, but 2 evaluations"):
        wrapper({"i": 1})
    go_on.set()
    caller.join()


def test_an_objective_that_hangs_ends_the_run_for_who_waits():
    go_on = threading.Event()

    def hangs(eval_config, fidels=None, seed=None):
        if eval_config["i"] == 1:
            go_on.wait(60)
        return numbered(eval_config)

    wrapper = ObjectiveFuncWrapper(hangs, n_workers=2, n_evals=9, max_waiting_time=0.2)
    with ThreadPoolExecutor(2) as pool:
        hung, waits = pool.submit(wrapper, {"i": 1}), pool.submit(wrapper, {"i": 0})
        with pytest.raises(TimeoutError, match=r"query_timeout, in slot \d with the configuration {'i': 1}"):
            waits.result()
        go_on.set()
        with pytest.raises(TimeoutError):
            hung.result()


def test_arguments_that_change_nothing_are_said_once():
    from zerowait.compat.benchmark_simulator.wrapper import _say_once

    _say_once.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            ObjectiveFuncWrapper(numbered, ask_and_tell=True, expensive_sampler=True, check_interval_time=0.1)
    assert [str(one.message).split(":")[0] for one in said] == ["check_interval_time, expensive_sampler"]


def test_a_folder_of_a_run_that_was_called_is_not_written_over():
    arguments = {"save_dir_name": "once", "n_workers": 1, "n_evals": 2}
    wrapper = ObjectiveFuncWrapper(numbered, **arguments, **NONE)
    for i in range(2):
        wrapper({"i": i})
    for asks in (False, True):
        with pytest.raises(FileExistsError, match=r"once.*is there already"):
            ObjectiveFuncWrapper(numbered, ask_and_tell=asks, **arguments)
    with pytest.warns(UserWarning, match="has ended; remove the folder to run again"):
        joined = ObjectiveFuncWrapper(numbered, True, **arguments, **NONE)
    assert joined({"i": 3})["loss"] == INF


def test_asking_and_calling_are_not_mixed():
    with pytest.raises(NotImplementedError):
        ObjectiveFuncWrapper(numbered, ask_and_tell=True)({"i": 0})
    with pytest.raises(NotImplementedError):
        ObjectiveFuncWrapper(numbered).simulate(object())
    with pytest.raises(ValueError, match=r"must have ask\(\) and tell\(\)"):
        ObjectiveFuncWrapper(numbered, ask_and_tell=True).simulate(object())
