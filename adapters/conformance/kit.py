"""The conformance kit: a class of pytest tests that the author of an adapter subclasses with one fixture.

    class TestMine(AdapterConformance):
        @pytest.fixture
        def adapter(self):
            return MyAdapter()

Every test says what was expected and what was seen. A run is made once and looked at by several tests. Only this
module of the package needs pytest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from zerowait.adapters.adapter import MODES, Adapter, Mode
from zerowait.adapters.conformance.benchmark import FAILED, LONGEST, Bowl, Epochs
from zerowait.adapters.conformance.leak_check import watch
from zerowait.adapters.conformance.run import FreshProcess, Outcome, Trial, carry_out, fresh_process, travel_by_value
from zerowait.suite.records.check import check, render
from zerowait.suite.records.trace import ATTRIBUTE, read_trace
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.overhead import Overhead

SEED, OTHER_SEED = 3, 4
PREEMPTING = Cluster(speeds=[1.0, 2.0], preemptions=[[0, 0.3, 2.0], [0, 4.0, 4.5]])
"""The workers of the run in which evaluations fail: the first one is taken away in its first evaluation."""
_ENDLESS = 10_000  # evaluations, each of which takes a real pause: Ctrl-C comes long before

_USUAL: tuple[Mode, Mode] = ("native", "ask_tell")

Runs = Any
"""What the fixture `runs` gives: a function from the name of a run to its outcome."""


class AdapterConformance:
    """What every adapter must keep, in each of its modes; a subclass has the fixture `adapter`.

    The fixture returns the same adapter every time. Class attributes say how much is run.
    """

    modes: ClassVar[Collection[Mode]] = _USUAL
    """The modes to examine: those of the adapter."""
    benchmark: ClassVar[Bowl] = Bowl()
    """What is optimized: `Bowl(space)` with a space that the library can express."""
    workers: ClassVar[int] = 4
    """Simulated workers of the runs that have several."""
    evaluations: ClassVar[int] = 30
    """Evaluations of a run: so many that the model is used, and not more."""
    seconds_to_end: ClassVar[float] = 10.0
    """Real seconds that a run may take to end when its budget is spent, or after Ctrl-C."""
    seconds_to_start: ClassVar[float] = 120.0
    """Real seconds that a run in a fresh process may take until it is under way."""

    _made: ClassVar[dict[tuple[str, Mode], Outcome | BaseException]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give every subclass runs of its own."""
        super().__init_subclass__(**kwargs)
        cls._made = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Examine every mode."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", [mode for mode in MODES if mode in self.modes])

    @pytest.fixture
    def runs(self, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Runs:
        """Return a function from the name of a run and its mode to the outcome, made when it is first asked for."""
        travel_by_value(adapter)
        examiner = _Examiner(self, adapter, lambda: tmp_path_factory.mktemp("run"))

        def runs(name: str, mode: Mode) -> Outcome:
            key = (name, mode)
            if key not in self._made:
                try:
                    self._made[key] = getattr(examiner, name)(mode)
                except Exception as error:  # noqa: BLE001 - raised below, and again for every test that needs this run
                    self._made[key] = error
            made = self._made[key]
            if isinstance(made, BaseException):
                raise made
            return made

        examiner.runs = runs
        return runs

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def test_the_adapter_declares_itself(self, adapter: Adapter) -> None:
        """Name, library and modes are there, and a mode that is not deterministic has a reason."""
        assert isinstance(adapter, Adapter), f"the fixture `adapter` returned {adapter!r}, which is no adapters.Adapter"
        assert adapter.name, "the adapter has no name"
        assert adapter.library, "the adapter names no library"
        assert adapter.modes, "the adapter has no mode"
        for what, modes in (("modes", adapter.modes), ("deterministic", adapter.deterministic)):
            assert set(modes) <= set(MODES), f"{what} is {set(modes)}; known are {MODES}"
        missing = set(self.modes) - adapter.modes
        assert not missing, f"the adapter has no mode {missing}; set `modes` of {type(self).__name__}"
        undetermined = adapter.modes - adapter.deterministic
        assert not undetermined or adapter.nondeterminism.strip(), (
            f"the adapter says that it is not deterministic in {undetermined}; `nondeterminism` must give the reason"
        )
        assert undetermined or not adapter.nondeterminism, (
            f"the adapter is deterministic in every mode, but `nondeterminism` is {adapter.nondeterminism!r}"
        )

    def test_the_adapter_takes_the_benchmark(self, adapter: Adapter) -> None:
        """The kit's benchmark is not refused; one without the fidelity that an optimizer needs is."""
        reason = adapter.refuses(_suited(self.benchmark))
        assert reason is None, f"the adapter refuses the benchmark: {reason}; set `benchmark` of {type(self).__name__}"
        if adapter.uses_fidelity:
            assert adapter.refuses(replace(self.benchmark, fidelity=None)), (
                "the adapter uses fidelities and does not refuse a benchmark that has none"
            )

    # -- what it evaluates ---------------------------------------------------------------------------------------------

    def test_configurations_are_of_the_space(self, runs: Runs, mode: Mode) -> None:
        """Every value that reaches the objective is in bounds and of the plain Python type."""
        for name in ("serial", "parallel", "other_seed", "failing"):
            queries = runs(name, mode).queries
            wrong = [problem for query in queries for problem in query.problems if "fidelity" not in problem]
            assert not wrong, _report(f"{len(wrong)} problems in {len(queries)} configurations", wrong)

    def test_fidelities_are_allowed(self, adapter: Adapter, runs: Runs, mode: Mode) -> None:
        """Every fidelity is one of the benchmark's, and an optimizer that uses them uses several."""
        for name in ("serial", "parallel", "other_seed", "failing"):
            queries = runs(name, mode).queries
            wrong = [problem for query in queries for problem in query.problems if "fidelity" in problem]
            assert not wrong, _report(f"{len(wrong)} problems in {len(queries)} fidelities", wrong)
            used = {query.fidelity for query in queries}
            if not adapter.uses_fidelity:
                assert used == {None}, f"the adapter does not use fidelities, but asked for {used}"
        if adapter.uses_fidelity:
            used = {query.fidelity for query in runs("parallel", mode).queries}
            assert len(used) > 1, f"the adapter uses fidelities, but all of its evaluations have {used}"

    # -- when ----------------------------------------------------------------------------------------------------------

    def test_every_worker_evaluates_and_none_twice_at_once(self, runs: Runs, mode: Mode) -> None:
        """As many evaluations as workers run at the same simulated time, and never more."""
        for name, workers in (("serial", 1), ("parallel", min(self.workers, self.evaluations))):
            seen = _most_at_once(runs(name, mode).trace)
            assert seen == workers, f"{seen} evaluations ran at once with n_workers={workers}"

    def test_results_arrive_in_order(self, runs: Runs, mode: Mode) -> None:
        """Results are numbered and delivered in the order of their simulated ends."""
        for name in ("serial", "parallel", "other_seed", "failing", "limited_time"):
            trace = runs(name, mode).trace
            numbers, ends = trace["evaluation"].tolist(), trace["end"].tolist()
            assert numbers == list(range(len(trace))), f"the evaluations are numbered {numbers}"
            assert ends == sorted(ends), f"the ends are not in order: {ends}"
            assert (trace["freed"] <= trace["start"]).all(), "an evaluation starts before its worker is free"
            assert (trace["start"] < trace["end"]).all(), "an evaluation ends before it starts"

    def test_the_run_directory_is_sound(self, runs: Runs, mode: Mode) -> None:
        """`zerowait check` finds nothing in a native run's directory; every mode leaves the trace that it returned."""
        for name in ("serial", "parallel", "failing", "limited_time"):
            outcome = runs(name, mode)
            if mode == "native":
                report = check(outcome.directory)
                assert report.ok, "\n".join(render(report))
            stored = read_trace(outcome.directory / "trace.parquet")
            assert stored.equals(outcome.trace), "trace.parquet does not hold the trace that was returned"

    # -- how much ------------------------------------------------------------------------------------------------------

    def test_the_budget_of_evaluations_is_exact(self, runs: Runs, mode: Mode) -> None:
        """So many evaluations are recorded, and the objective is queried no more often."""
        for name, evaluations in (
            ("serial", self.evaluations),
            ("parallel", self.evaluations),
            ("other_seed", self.evaluations),
            ("failing", self.evaluations),
            ("fewer_evaluations_than_workers", max(1, self.workers - 1)),
        ):
            outcome = runs(name, mode)
            recorded, queried = len(outcome.trace), len(outcome.queries)
            assert recorded == evaluations, f"max_evaluations is {evaluations}; {recorded} were recorded ({name})"
            assert queried == evaluations, f"max_evaluations is {evaluations}; the objective saw {queried} ({name})"

    def test_the_budget_of_time_is_exact(self, runs: Runs, mode: Mode) -> None:
        """Nothing is recorded past the simulated time, and everything before it."""
        outcome = runs("limited_time", mode)
        limit = _half(runs("parallel", mode))
        assert len(outcome.trace), f"nothing was recorded within {limit} s"
        last = outcome.trace["end"].max()
        assert last <= limit, f"max_time is {limit}; a result of {last} s was recorded"
        assert limit - last <= LONGEST, f"max_time is {limit}; nothing was recorded after {last} s"
        unrecorded = len(outcome.queries) - len(outcome.trace)
        assert unrecorded <= self.workers, f"{unrecorded} evaluations by {self.workers} workers were not recorded"

    def test_a_run_ends_with_its_budget(self, runs: Runs, mode: Mode) -> None:
        """A run returns within seconds of its last query."""
        for name in ("serial", "parallel", "other_seed", "failing", "limited_time", "fewer_evaluations_than_workers"):
            seconds = runs(name, mode).seconds_to_end
            assert seconds <= self.seconds_to_end, (
                f"the run {name!r} returned {seconds:.1f} s after its last query; {self.seconds_to_end} s are allowed"
            )

    def test_the_default_mode_gives_the_librarys_own_results(self, adapter: Adapter, runs: Runs, mode: Mode) -> None:
        """An optimizer that is asked and told by default does what its own parallel machinery does."""
        if mode == "native" or adapter.default_mode != "ask_tell" or "native" not in self.modes:
            pytest.skip("the default is the library's own machinery, or there is nothing to compare with")
        for name in ("serial", "parallel"):
            asked, native = runs(name, "ask_tell").trace, runs(name, "native").trace
            assert asked.equals(native), f"asked and told, the run {name!r} differs from the native one at equal seeds"

    def test_measured_overhead_is_charged(self, runs: Runs, mode: Mode) -> None:
        """What the optimizer itself spends passes on the simulated clock."""
        trace = runs("other_seed", mode).trace
        # Calls that come in at the same moment cost a serial optimizer nothing more, but not all of them can.
        assert (trace["overhead"] >= 0).all(), (
            "under Overhead.measured() an evaluation cost less than no time to choose"
        )
        assert (trace["overhead"] > 0).mean() > 0.5, "under Overhead.measured() some evaluations cost no time to choose"  # noqa: PLR2004

    # -- seeds ---------------------------------------------------------------------------------------------------------

    def test_equal_seeds_give_equal_bytes(self, adapter: Adapter, runs: Runs, mode: Mode, tmp_path: Path) -> None:
        """A run in another process, with other salt for `hash()`, writes the same file."""
        _skip_unless_deterministic(adapter, mode)
        first = runs("parallel", mode)
        salt = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        trial = _Examiner(self, adapter, lambda: tmp_path).trial(mode)
        with watch() as leftovers, fresh_process(trial, tmp_path, PYTHONHASHSEED=salt) as other:
            code = other.exit_code(self.seconds_to_start)
        assert code == 0, f"the run in another process ended with exit code {code}: {other.errors}"
        assert not leftovers, _report("a run in another process left behind", leftovers)
        files = [(directory / "trace.parquet").read_bytes() for directory in (first.directory, tmp_path / "run")]
        if files[0] != files[1]:
            difference = _first_difference(first.trace, read_trace(tmp_path / "run" / "trace.parquet"))
            raise AssertionError(f"two runs with seed {SEED} differ: {difference}")

    def test_other_seeds_give_other_runs(self, runs: Runs, mode: Mode) -> None:
        """The configurations depend on the run's seed."""
        first, second = (_configs(runs(name, mode).trace) for name in ("parallel", "other_seed"))
        assert first != second, f"the runs with seeds {SEED} and {OTHER_SEED} evaluated the same configurations"

    def test_the_objectives_random_numbers_are_not_the_optimizers(
        self, adapter: Adapter, runs: Runs, mode: Mode
    ) -> None:
        """A training that seeds the global random generators changes nothing."""
        _skip_unless_deterministic(adapter, mode)
        plain, careless = (runs(name, mode).trace for name in ("parallel", "reseeding"))
        assert plain.equals(careless), (
            "the run changes when the objective seeds the global random generators: "
            + _first_difference(plain, careless)
        )

    def test_both_modes_are_the_same_run_with_one_worker(self, adapter: Adapter, runs: Runs) -> None:
        """With one worker both modes evaluate the same configurations in the same order."""
        if not set(_USUAL) <= set(self.modes):
            pytest.skip(f"only {', '.join(self.modes)} is examined")
        for mode in _USUAL:
            _skip_unless_deterministic(adapter, mode)
        native, asked = (runs("serial", mode).trace for mode in _USUAL)
        assert native.equals(asked), f"the modes differ: {_first_difference(native, asked)}"

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def test_failing_evaluations_are_survived(self, runs: Runs, mode: Mode) -> None:
        """A training that fails, or whose worker is taken away, is recorded at its simulated end; the run goes on."""
        trace = runs("failing", mode).trace
        statuses = trace["status"].tolist()
        assert set(statuses) <= {"ok", "failed", "preempted"}, f"the statuses are {set(statuses)}"
        assert "failed" in statuses, "a fifth of the configurations fail, and none was recorded as failed"
        assert "ok" in statuses, "a fifth of the configurations fail, and all were recorded as failed"
        assert "preempted" in statuses, "a worker was taken away twice, and none was recorded as preempted"
        runtimes = trace.loc[trace["status"] == "failed", "runtime"]
        assert (runtimes <= FAILED).all(), f"a failure takes at most {FAILED} s; {runtimes.max()} s were recorded"

    # -- what remains --------------------------------------------------------------------------------------------------

    def test_nothing_is_left_behind(self, runs: Runs, mode: Mode) -> None:
        """No process, thread, listening port or file remains, also when no directory is given."""
        for name in ("serial", "parallel", "other_seed", "failing", "limited_time", "fewer_evaluations_than_workers"):
            left = runs(name, mode).leftovers
            assert not left, _report(f"the run {name!r} left behind", left)

    def test_control_c_leaves_nothing(self, adapter: Adapter, runs: Runs, mode: Mode, tmp_path: Path) -> None:
        """Ctrl-C ends every process of a run within seconds, and what was recorded stays."""
        del runs  # asked for because it prepares the adapter for another process
        trial = _Examiner(self, adapter, lambda: tmp_path).trial(mode, Budget(_ENDLESS), pause=0.005)
        with watch() as leftovers, fresh_process(trial, tmp_path) as other:
            self._wait_until_under_way(other)
            began = time.monotonic()
            other.interrupt()
            code = other.exit_code(3 * self.seconds_to_end)
            seconds = time.monotonic() - began
            assert code is not None, f"the run goes on {seconds:.1f} s after Ctrl-C: {other.described()}"
        assert seconds <= self.seconds_to_end, f"the run ended {seconds:.1f} s after Ctrl-C"
        assert code != 0, "the run was interrupted, and its process ended with exit code 0"
        assert "KeyboardInterrupt" in other.errors, f"the run ended otherwise than by Ctrl-C: {other.errors}"
        assert not leftovers, _report("after Ctrl-C the run left behind", leftovers)
        if mode == "native":
            report = check(tmp_path / "run")
            assert report.ok, "\n".join(render(report))
            assert report.n_records, "nothing was recorded before Ctrl-C"
        else:
            assert len(read_trace(tmp_path / "run" / "trace.parquet")), "nothing was recorded before Ctrl-C"

    def _wait_until_under_way(self, other: FreshProcess) -> None:
        deadline = time.monotonic() + self.seconds_to_start
        while (seen := other.queries) < min(2 * self.workers, self.evaluations):
            code = other.exit_code(0.02)
            assert code is None, f"the run ended with exit code {code} after {seen} evaluations: {other.errors}"
            assert time.monotonic() < deadline, f"{seen} evaluations after {self.seconds_to_start} s: {other.errors}"


@dataclass
class _Examiner:
    """Makes the runs that the tests look at; each method is one, by its name."""

    kit: AdapterConformance
    adapter: Adapter
    new_folder: Callable[[], Path]
    runs: Runs = None

    def trial(
        self,
        mode: Mode,
        budget: Budget | None = None,
        *,
        n_workers: int | None = None,
        seed: int = SEED,
        overhead: Overhead | None = None,
        **variant: Any,
    ) -> Trial:
        return Trial(
            self.adapter,
            replace(_suited(self.kit.benchmark), **variant),
            mode,
            self.kit.workers if n_workers is None else n_workers,
            seed,
            Budget(self.kit.evaluations) if budget is None else budget,
            Overhead.none() if overhead is None else overhead,
        )

    def serial(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode, n_workers=1))

    def parallel(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode))

    def other_seed(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode, seed=OTHER_SEED, overhead=Overhead.measured()), keep=False)

    def failing(self, mode: Mode) -> Outcome:
        # An optimizer without fidelities also has to do with a benchmark that has none.
        fidelity = _suited(self.kit.benchmark).fidelity if self.adapter.uses_fidelity else None
        trial = self.trial(mode, failing_share=0.2, fidelity=fidelity)
        return self._carry_out(replace(trial, cluster=PREEMPTING))

    def limited_time(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode, Budget(max_time=_half(self.runs("parallel", mode)))))

    def reseeding(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode, reseeds=True))

    def fewer_evaluations_than_workers(self, mode: Mode) -> Outcome:
        return self._carry_out(self.trial(mode, Budget(max(1, self.kit.workers - 1))), keep=False)

    def _carry_out(self, trial: Trial, *, keep: bool = True) -> Outcome:
        return carry_out(trial, self.new_folder(), keep=keep)


def _suited(benchmark: Bowl) -> Bowl:
    """Give the benchmark a fidelity: one optimizer needs it, and another one has to leave it alone."""
    return benchmark if benchmark.fidelity is not None else replace(benchmark, fidelity=Epochs())


def _half(outcome: Outcome) -> float:
    return float(outcome.trace["end"].max()) / 2


def _skip_unless_deterministic(adapter: Adapter, mode: Mode) -> None:
    if mode not in adapter.deterministic:
        pytest.skip(f"{adapter.name} is not deterministic in the mode {mode}: {adapter.nondeterminism}")


def _most_at_once(trace: Any) -> int:
    """Return how many evaluations ran at the same simulated time at most."""
    # At equal times, ends come first: a worker is free when its result is delivered.
    changes = sorted([(start, 1) for start in trace["start"]] + [(end, -1) for end in trace["end"]])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def _configs(trace: Any) -> list[tuple[Any, ...]]:
    columns = [column for column in trace if column.startswith("config.")]
    return sorted(tuple(map(str, row)) for row in trace[columns].itertuples(index=False, name=None))


def _first_difference(one: Any, other: Any) -> str:
    """Say where two traces differ first."""
    if len(one) != len(other):
        return f"one has {len(one)} evaluations, the other {len(other)}"
    if list(one) != list(other):
        return f"their columns are {list(one)} and {list(other)}"
    for row in range(len(one)):
        for column in one:
            a, b = one[column].iloc[row], other[column].iloc[row]
            if a != b and not (a != a and b != b):  # noqa: PLR0124 - NaN equals nothing
                return f"evaluation {row} has {column} = {a!r} in one and {b!r} in the other"
    a, b = (trace.attrs[ATTRIBUTE] for trace in (one, other))
    parts = [key for key in sorted(a.keys() | b.keys()) if key != "measured" and a.get(key) != b.get(key)]
    return f"only their metadata do: {[(key, a.get(key), b.get(key)) for key in parts]}"


def _report(what: str, lines: Any, most: int = 5) -> str:
    lines = list(dict.fromkeys(lines))
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "\n  ".join([what + ":", *lines[:most], *more])
