"""Failures: each is a clear error, nothing hangs, and nothing that was recorded is lost."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from drivers import environment
from failing import HANG, NONE, Breaks, Fails, is_intact
from modes import MODES, Diverged, queries

from zerowait.suite import Evaluation, Overhead, Query, Simulator, read_trace, simulate
from zerowait.suite.records.check import check
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import (
    BudgetExhausted,
    InvalidEvaluationError,
    SpecificationError,
    WorkerDied,
)
from zerowait.suite.rules.idle import Idle
from zerowait.suite.sharing import header, journal, slot_state
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.shared_directory import _FIRST_AREA, _POINTER
from zerowait.suite.sharing.table import SlotTable, cells_bytes


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


# -- what an objective may not return
# --------------------------------------------------------------------------------------


class Returns:
    """Returns something for configuration 1, and an evaluation of 2 s for every other."""

    def __init__(self, returned):
        self.returned = returned

    def __call__(self, config):
        return self.returned if config["x"] == 1 else Evaluation(0.5, 2.0)


FOR = "for {'x': 1}; it must"
REFUSED = {
    "NaN": ({"value": math.nan, "runtime": 1.0}, f"value=nan {FOR} be finite"),
    "infinity": ({"value": math.inf, "runtime": 1.0}, f"value=inf {FOR} be finite"),
    "minus infinity": (Evaluation(-math.inf, 1.0), f"value=-inf {FOR} be finite"),
    "NaN of NumPy": ({"value": np.float32("nan"), "runtime": 1.0}, f"value=nan {FOR} be finite"),
    "a negative runtime": (Evaluation(0.0, -1.0), f"runtime=-1.0 {FOR} be from 0 to 1e+300 seconds"),
    "a runtime of NaN": (Evaluation(0.0, math.nan), f"runtime=nan {FOR} be from 0 to 1e+300 seconds"),
    "an infinite runtime": ({"value": 0.0, "runtime": math.inf}, f"runtime=inf {FOR} be from 0 to 1e+300 seconds"),
    "a runtime that overflows": (Evaluation(0.0, 1e308), f"runtime=1e+308 {FOR} be from 0 to 1e+300 seconds"),
    "a missing value": ({"runtime": 1.0, "loss": 0.1}, "without 'value' (keys: ['loss', 'runtime']) for {'x': 1}"),
    "a missing runtime": ({"value": 1.0}, "without 'runtime' (keys: ['value']) for {'x': 1}"),
    "nothing": (None, f"NoneType (None) {FOR} return an Evaluation or a mapping"),
    "a number": (0.5, f"float (0.5) {FOR} return an Evaluation or a mapping"),
    "a tuple": ((0.5, 1.0), f"tuple ((0.5, 1.0)) {FOR} return an Evaluation or a mapping"),
    "a value as text": ({"value": "0.5", "runtime": 1.0}, f"value='0.5' {FOR} be a number"),
    "a value as truth": (Evaluation(True, 1.0), f"value=True {FOR} be a number"),
    "a value as list": ({"value": [0.5, 0.6], "runtime": 1.0}, f"value=[0.5, 0.6] {FOR} be a number"),
    "a complex value": ({"value": 1j, "runtime": 1.0}, f"value=1j {FOR} be a number"),
    "no runtime": (Evaluation(0.5, None), f"runtime=None {FOR} be a number"),
    "a metric as text": ({"value": 0.0, "runtime": 1.0, "acc": "high"}, f"metrics['acc']='high' {FOR} be a number"),
    "a metric of None": (Evaluation(0.0, 1.0, {"acc": None}), f"metrics['acc']=None {FOR} be a number"),
    "metrics as a list": ({"value": 0.0, "runtime": 1.0, "metrics": [1]}, f"metrics=[1] {FOR} be a mapping"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_evaluation_is_refused_with_key_value_and_configuration(mode, what):
    returned, message = REFUSED[what]
    with pytest.raises(InvalidEvaluationError) as caught:
        mode(queries((0, None), (1, None)), Returns(returned), n_workers=1, max_evaluations=2, overhead=NONE)
    assert str(caught.value).startswith("the objective returned ")
    assert message in str(caught.value)


ACCEPTED = {
    "numbers of NumPy": ({"value": np.float32(0.5), "runtime": np.int64(2)}, {}),
    "an integer": ({"value": 1, "runtime": 2}, {}),
    "metrics by name": ({"value": 0.5, "runtime": 2.0, "acc": 0.25, "n": 3}, {"acc": 0.25, "n": 3.0}),
    "metrics in a mapping": ({"value": 0.5, "runtime": 2.0, "metrics": {"acc": np.float64(0.25)}}, {"acc": 0.25}),
    "metrics of an evaluation": (Evaluation(0.5, 2.0, {"done": True}), {"done": 1.0}),
    "a metric that is not finite": ({"value": 0.5, "runtime": 2.0, "gradient": math.inf}, {"gradient": math.inf}),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_whatever_stands_for_numbers_is_accepted(mode, what):
    returned, metrics = ACCEPTED[what]
    trace = mode(queries((1, None)), Returns(returned), n_workers=1, max_evaluations=1, overhead=NONE)
    (row,) = trace.to_dict("records")
    assert (row["status"], row["end"]) == ("ok", 2.0)
    assert {name[7:]: value for name, value in row.items() if name.startswith("metric.")} == metrics


def test_an_invalid_evaluation_is_recorded_as_failed_and_the_run_goes_on(tmp_path):
    with Simulator(
        Returns({"value": 1.0}), n_workers=1, directory=tmp_path, max_evaluations=3, overhead=NONE
    ) as simulator:
        assert simulator({"x": 0}).end == 2.0
        with pytest.raises(InvalidEvaluationError):
            simulator({"x": 1})
        assert simulator({"x": 2}).end == 4.0
        trace = simulator.trace()
    assert trace["status"].tolist() == ["ok", "failed", "ok"]
    assert trace["end"].tolist() == [2.0, 2.0, 4.0]
    failed = journal.read(tmp_path / "journal")[1]
    assert failed["error"].startswith("InvalidEvaluationError: the objective returned a mapping without 'runtime'")
    is_intact(tmp_path, 3)


@pytest.mark.parametrize("config", [{"x": {1, 2}}, {"x": object()}, {"x": 1j}], ids=["set", "object", "complex"])
def test_a_configuration_without_a_json_form_is_refused_before_it_takes_a_slot(tmp_path, config):
    with Simulator(Returns(None), n_workers=1, directory=tmp_path, overhead=NONE) as simulator:
        with pytest.raises(SpecificationError, match=r"parameter 'x' has the value .*; a configuration may"):
            simulator(config)
        assert simulator.progress()["started"] == 0
        assert simulator({"x": 0}).end == 2.0
    is_intact(tmp_path, 1)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with (
        Simulator(Returns(None), n_workers=1, directory=tmp_path) as simulator,
        pytest.raises(SpecificationError, match="parameter name 1 is of type int; names must be strings"),
    ):
        simulator({1: 2})


@pytest.mark.parametrize("fidelity", [math.nan, math.inf, -math.inf, "3", True, (3,)])
def test_a_fidelity_that_is_no_finite_number_is_refused(mode, fidelity):
    with pytest.raises(SpecificationError) as caught:
        mode(queries((0, fidelity)), Returns(None), n_workers=1, overhead=NONE)
    said = str(caught.value)
    assert said.startswith(f"fidelity is {fidelity!r}")
    assert said.endswith("; it must be a finite number, or None")


@pytest.mark.parametrize("fidelity", [3, 3.0, np.int64(3), np.float32(3), -3, 0, 1e-300])
def test_any_finite_number_is_a_fidelity(mode, fidelity):
    trace = mode(queries((0, fidelity)), Returns(None), n_workers=1, max_evaluations=1, continual=True, overhead=NONE)
    assert trace["fidelity"].tolist() == [float(fidelity)]


# -- what an objective raises
# ------------------------------------------------------------------------------------------------


def test_a_failure_reaches_the_optimizer_at_its_simulated_end(mode):
    """Worker 0 runs 0 from 0 to 5 and 2 from 5 to 10; worker 1 fails with 1 at 7 and runs 3 from 7 to 12."""
    trace = mode(
        queries((0, None), (1, None), (2, None), (3, None)), Fails(Diverged("NaN loss", 7.0)), n_workers=2,
        max_evaluations=4, overhead=NONE,
    )  # fmt: skip
    assert trace[["config.x", "status", "start", "end", "runtime"]].to_numpy().tolist() == [
        [0, "ok", 0.0, 5.0, 5.0],
        [1, "failed", 0.0, 7.0, 7.0],
        [2, "ok", 5.0, 10.0, 5.0],
        [3, "ok", 7.0, 12.0, 5.0],
    ]
    assert math.isnan(trace["value"][1])
    assert trace.attrs["zerowait"]["totals"]["failed"] == 1


@pytest.mark.parametrize("runtime", [-1.0, math.nan, math.inf, "5", True, None, 1e308])
def test_a_failure_whose_runtime_is_unknown_or_nonsense_takes_no_time(mode, runtime):
    error = Diverged()
    error.runtime = runtime
    trace = mode(queries((1, None), (2, None)), Fails(error), n_workers=1, max_evaluations=2, overhead=NONE)
    assert trace["end"].tolist() == [0.0, 5.0]
    assert trace["runtime"].tolist() == [0.0, 5.0]


def test_the_exception_itself_is_raised_with_everything_it_carries(tmp_path):
    error = Diverged("NaN loss", 7.0)
    with Simulator(Fails(error), n_workers=1, directory=tmp_path) as simulator:
        with pytest.raises(Diverged) as caught:
            simulator({"x": 1})
        assert caught.value is error
        assert simulator.progress()["simulated_time"] == 7.0


def test_an_exception_of_the_operating_system_is_not_taken_for_one_of_the_directory(tmp_path):
    with (
        Simulator(Fails(FileNotFoundError("weights.pt")), n_workers=1, directory=tmp_path) as simulator,
        pytest.raises(FileNotFoundError, match=r"weights\.pt"),
    ):
        simulator({"x": 1})


def test_a_spent_budget_of_an_inner_simulator_does_not_end_the_outer_one(tmp_path):
    with Simulator(
        Fails(BudgetExhausted("inner")), n_workers=1, directory=tmp_path, max_evaluations=2, on_exhausted="inf"
    ) as simulator:
        with pytest.raises(BudgetExhausted, match="inner"):
            simulator({"x": 1})
        assert simulator({"x": 2}).value == 2.0
        assert simulator({"x": 3}).value == math.inf


def test_a_very_long_message_is_shortened_in_the_journal(tmp_path):
    with (
        Simulator(Fails(ValueError("x" * 100_000)), n_workers=1, directory=tmp_path) as simulator,
        pytest.raises(ValueError, match="xxx"),
    ):
        simulator({"x": 1})
    (record,) = journal.read(tmp_path / "journal")
    assert record["error"] == "ValueError: " + "x" * 385 + "..."
    is_intact(tmp_path, 1)


@pytest.mark.parametrize("on_worker_death", ["raise", "continue"])
def test_an_objective_that_exits_ends_its_call_and_nobody_hangs(tmp_path, on_worker_death):
    """SystemExit is no failure of a training: to the two threads that wait, its caller is gone."""
    objective = Fails(SystemExit(3))
    with Simulator(
        objective, n_workers=3, directory=tmp_path, max_evaluations=3, overhead=NONE, on_worker_death=on_worker_death
    ) as simulator:
        outcomes = []

        def work(x):
            try:
                outcomes.append(simulator({"x": x}).end)
            except WorkerDied as error:
                outcomes.append(str(error))
            except SystemExit:
                outcomes.append("exit")

        crew = [threading.Thread(target=work, args=(x,)) for x in (0, 2, 1)]
        for k, thread in enumerate(crew):
            thread.start()
            simulator.wait_started(k + 1)
        for thread in crew:
            thread.join(HANG)
        assert not any(thread.is_alive() for thread in crew)
        assert outcomes.count("exit") == 1
        others = [outcome for outcome in outcomes if outcome != "exit"]
        if on_worker_death == "continue":
            assert others == [5.0, 5.0]
        else:
            assert all("or left its call, while it held slot 2 with the configuration {'x': 1}" in o for o in others)
    is_intact(tmp_path, 3 if on_worker_death == "continue" else 0)


# -- what an optimizer raises
# ------------------------------------------------------------------------------------------------


def test_an_optimizer_that_raises_leaves_the_trace_of_what_was_delivered(tmp_path):
    """Runtimes of 5 s on two workers: 5, 5, 10, 10."""
    with pytest.raises(RuntimeError, match="the surrogate is singular") as caught:
        simulate(
            Breaks(queries(*((x, None) for x in range(10)))), Fails(), n_workers=2, directory=tmp_path,
            overhead=NONE,
        )  # fmt: skip
    assert caught.value.__notes__ == [f"the 4 evaluations delivered so far are in {tmp_path / 'trace.parquet'}"]
    assert read_trace(tmp_path / "trace.parquet")["end"].tolist() == [5.0, 5.0, 10.0, 10.0]


def test_an_objective_that_raises_ends_an_optimizer_that_does_not_survive_failures(tmp_path):
    class Fragile:
        def __init__(self):
            self.asked = iter(range(10))

        def ask(self):
            return Query({"x": next(self.asked)})

        def tell(self, query, evaluation):
            pass

    with pytest.raises(Diverged) as caught:
        simulate(Fragile(), Fails(Diverged(runtime=7.0)), n_workers=2, directory=tmp_path, overhead=NONE)
    assert caught.value.__notes__ == [f"the 2 evaluations delivered so far are in {tmp_path / 'trace.parquet'}"]
    assert read_trace(tmp_path / "trace.parquet")["status"].tolist() == ["ok", "failed"]


def test_a_thread_of_the_optimizer_that_raises_does_not_hang_the_others(tmp_path):
    """Three threads make calls of 5 s. One raises after its first result; the others go on as on two workers.

    Results of a free slot are released by the idle rule, so every result after the third is one.
    """
    with Simulator(
        Fails(), n_workers=3, directory=tmp_path, max_evaluations=9, overhead=NONE, idle=Idle(after=0.1)
    ) as simulator:

        def work(breaks):
            with contextlib.suppress(BudgetExhausted):
                while True:
                    simulator({"x": 2})
                    if breaks:
                        raise RuntimeError("the surrogate is singular")

        with ThreadPoolExecutor(3) as pool:
            futures = []
            for k in range(3):
                futures.append(pool.submit(work, k == 0))
                simulator.wait_started(k + 1)
            errors = [future.exception(HANG) for future in futures]
        trace = simulator.trace()
    assert [str(error) for error in errors if error] == ["the surrogate is singular"]
    assert trace["end"].tolist() == [5.0] * 3 + [10.0] * 2 + [15.0] * 2 + [20.0] * 2
    assert trace.attrs["zerowait"]["idle_releases"] > 0
    is_intact(tmp_path, 9)


def test_what_the_callback_raises_reaches_its_caller_and_nothing_is_lost(tmp_path):
    def look(_config, _fidelity, _evaluation):
        raise RuntimeError("no space on the screen")

    with Simulator(Fails(), n_workers=1, directory=tmp_path, on_delivery=look, overhead=NONE) as simulator:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no space on the screen"):
                simulator({"x": 0})
    is_intact(tmp_path, 2)


# -- Ctrl-C
# ------------------------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import multiprocessing, sys, time
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from pathlib import Path
    from zerowait.suite import Evaluation, Overhead, Simulator

    DIRECTORY, HOW = sys.argv[1:]

    def objective(config):
        if config["x"] == 20 and HOW != "threads":
            Path(DIRECTORY, "evaluating").touch()
            time.sleep(600)  # an objective that is slow for real; the other seven wait for it
        return Evaluation(0.0, 1.0 + config["x"] % 3)

    def some(k):
        for x in range(k, 1000, 8):
            simulator({"x": x})

    configs = [{"x": x} for x in range(1000)]
    with Simulator(
        objective, n_workers=8, directory=DIRECTORY, max_evaluations=1000, overhead=Overhead.none()
    ) as simulator:
        if HOW == "multiprocessing.Pool":
            with multiprocessing.Pool(8) as pool:
                list(pool.imap_unordered(simulator, configs))
        elif HOW == "ProcessPoolExecutor":
            with ProcessPoolExecutor(8) as pool:
                list(pool.map(simulator, configs))
        elif HOW == "joblib":
            from joblib import Parallel, delayed
            Parallel(n_jobs=8)(delayed(simulator)(config) for config in configs)
        elif HOW == "processes":
            crew = [multiprocessing.Process(target=some, args=(k,)) for k in range(8)]
            for process in crew: process.start()
            for process in crew: process.join()
        elif HOW == "threads":  # seven threads wait for the result of the main thread, whose optimizer is thinking
            with ThreadPoolExecutor(8) as pool:
                futures = [pool.submit(simulator, config) for config in configs[:7]]
                simulator.wait_started(7)
                Path(DIRECTORY, "evaluating").touch()
                while True:
                    sum(range(1000))
"""


def table_of(run, n_slots):
    """Return a copy of the table of slots as it is now."""
    image = (run / "slots").read_bytes()
    if not HAS_BYTE_LOCKS:  # one of two counts
        first = _FIRST_AREA + _POINTER.unpack_from(image)[0] * cells_bytes(n_slots)
        image = image[first : first + cells_bytes(n_slots)]
    return SlotTable(bytearray(image), n_slots)


def members(group):
    """Return the processes of a group that are still running."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.parametrize("how", ["multiprocessing.Pool", "ProcessPoolExecutor", "joblib", "processes", "threads"])
def test_an_interrupt_ends_all_eight_workers_at_once(tmp_path, how, record_property):
    """Ctrl-C reaches every process of the terminal's process group.

    They end within 2 s on a machine that is not busy otherwise; here that they end is asserted, and the time noted.
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    run = tmp_path / "run"
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, script, run, how], stderr=stderr, start_new_session=True,
            env=environment(),
        )  # fmt: skip
    try:
        deadline = time.monotonic() + HANG
        while not (run / "evaluating").exists():
            assert process.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while len((table := table_of(run, 8)).slots_in(slot_state.FINISHED)) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        recorded = table.ints[header.RECORDED]
        interrupted = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(HANG)
        while members(process.pid):
            assert time.monotonic() - interrupted < HANG, "processes were left behind"
            time.sleep(0.005)
        took = time.monotonic() - interrupted
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    record_property("seconds", took)
    assert process.returncode != 0
    message = (tmp_path / "stderr").read_text()
    assert "KeyboardInterrupt" in message
    assert f"what was recorded so far is in {run / 'journal'}; look at it with `zerowait check {run}`" in message
    report = check(run)
    assert report.violations == ()
    # Threads are not interrupted: their results are released when the main thread has stopped to think.
    assert report.n_records == (7 if how == "threads" else recorded)
    assert len(read_run(run)) == report.n_records


# -- calls past the budget
# ---------------------------------------------------------------------------------------------------


def test_a_call_past_the_budget_may_return_infinity_at_once(tmp_path):
    with Simulator(
        Fails(), n_workers=2, directory=tmp_path, max_evaluations=3, overhead=NONE, on_exhausted="inf"
    ) as simulator:
        with ThreadPoolExecutor(2) as pool:
            evaluations = list(pool.map(simulator, [{"x": 2}] * 10))
        late = simulator({"x": 2})
    assert sorted(e.value for e in evaluations) == [2.0] * 3 + [math.inf] * 7
    assert (late.value, late.runtime, dict(late.metrics)) == (math.inf, 0.0, {})
    assert math.isnan(late.start)
    assert math.isnan(late.end)
    is_intact(tmp_path, 3)


def test_a_result_past_the_budget_in_time_returns_infinity_and_is_not_recorded(tmp_path):
    """Two workers of 5 s, budget 12 s: 5, 5, 10, 10; the two that would end at 15 return infinity."""
    with Simulator(
        Fails(), n_workers=2, directory=tmp_path, max_time=12.0, overhead=NONE, on_exhausted="inf"
    ) as simulator:
        with ThreadPoolExecutor(2) as pool:
            evaluations = list(pool.map(simulator, [{"x": 2}] * 8))
        assert simulator.trace()["end"].tolist() == [5.0, 5.0, 10.0, 10.0]
    assert sorted(e.value for e in evaluations) == [2.0] * 4 + [math.inf] * 4
    is_intact(tmp_path, 4)


def test_a_worker_that_died_is_told_even_where_calls_return_infinity(tmp_path):
    with Simulator(
        Fails(SystemExit()), n_workers=1, directory=tmp_path, overhead=NONE, on_exhausted="inf"
    ) as simulator:
        with pytest.raises(SystemExit):
            simulator({"x": 1})
        with pytest.raises(WorkerDied, match="the 0 evaluations recorded before are intact"):
            simulator({"x": 0})


# -- exhausted numbers
# -------------------------------------------------------------------------------------------------------


def test_times_near_the_end_of_the_numbers_do_not_hang(mode):
    """1e300 s is the longest evaluation; a thousand of them are far from infinity."""
    trace = mode(queries(*((x, None) for x in range(5))), Longest(), n_workers=2, max_evaluations=5, overhead=NONE)
    assert trace["end"].tolist() == [1e300, 1e300, 2e300, 2e300, 3e300]


class Longest:
    def __call__(self, _config):
        return Evaluation(0.0, 1e300)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, 1e308, "1", True, None])
def test_an_overhead_that_is_no_number_of_seconds_is_refused(seconds):
    with pytest.raises(SpecificationError, match="it must be a number of seconds from 0 to 1e"):
        Overhead.fixed(seconds)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_model_that_gives_no_number_of_seconds_ends_the_call_and_not_the_run(tmp_path, seconds):
    overhead = Overhead.model(lambda n: seconds if n == 1 else 1.0, name="broken")
    with Simulator(Fails(), n_workers=1, directory=tmp_path, overhead=overhead) as simulator:
        assert simulator({"x": 0}).end == 6.0
        with pytest.raises(
            SpecificationError, match=r"model\(broken\) gives after 1 results is .*; it must be a number"
        ):
            simulator({"x": 0})
        assert simulator.progress()["started"] == 1
    is_intact(tmp_path, 1)
