"""Continued evaluations (design 4.2): exact charges in every mode; the shared ledger agrees with the plain one."""

from __future__ import annotations

import copy
import math
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from drivers import needs_waits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from modes import MODES, Diverged, processes, queries, threads

from zerowait.suite import Evaluation, Overhead, Query, Simulator
from zerowait.suite.rules.continuation import Ledger, State, best_state
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.sharing import header
from zerowait.suite.sharing.ledger import ENTRY_BYTES, MappedEntries, SharedLedger
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.rundir import RunDirectory
from zerowait.suite.sharing.table import SlotTable, table_bytes

NONE = Overhead.none()


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


class Linear:
    """Runtime 1000 z, whatever the configuration."""

    def __call__(self, _config, *, fidelity, seed):
        return Evaluation(float(seed), 1000.0 * fidelity)


class Tens:
    """Runtime 10 z, 1000 s for the full training; the value tells the seed."""

    def __call__(self, _config, *, fidelity, seed):
        return Evaluation(float(seed), 1000.0 if fidelity is None else 10.0 * fidelity)


def run(mode, asked, objective=None, **specification):
    settings = {"n_workers": 1, "overhead": NONE, "continual": True, "max_evaluations": len(asked), "seed": 5}
    return mode(asked, Tens() if objective is None else objective, **{**settings, **specification})


def rows(trace, *columns):
    """Return the columns as tuples, NaN as None."""
    return [
        tuple(None if isinstance(v, float) and math.isnan(v) else v for v in row)
        for row in trace[list(columns)].itertuples(index=False, name=None)
    ]


def test_a_training_of_1000_seconds_an_epoch_in_four_stages_ends_at_1000_3000_9000_27000(mode):
    trace = run(mode, queries((0, 1), (0, 3), (0, 9), (0, 27)), Linear())
    assert rows(trace, "start", "end", "runtime", "resumed_from", "clipped") == [
        (0.0, 1000.0, 1000.0, None, False),
        (1000.0, 3000.0, 2000.0, 1.0, False),
        (3000.0, 9000.0, 6000.0, 3.0, False),
        (9000.0, 27000.0, 18000.0, 9.0, False),
    ]


def test_without_continual_every_stage_is_trained_from_scratch(mode):
    trace = run(mode, queries((0, 1), (0, 3), (0, 9), (0, 27)), Linear(), continual=False)
    assert rows(trace, "end", "resumed_from") == [(1000.0, None), (4000.0, None), (13000.0, None), (40000.0, None)]


def test_a_continued_training_keeps_the_seed_of_the_first_stage(mode):
    trace = run(mode, queries((0, 1), (1, 1), (0, 3), (1, 3), (0, 9)))
    assert trace["value"].tolist() == trace["seed"].tolist()
    assert len(set(trace["seed"])) == 2
    for _, stages in trace.groupby("config.x"):
        assert stages["seed"].nunique() == 1


def test_of_two_workers_that_ask_for_the_same_configuration_at_once_one_continues_it(mode):
    """Configurations 0 and 1 end their first epoch at 10 s, and both workers go on with configuration 0.

    The one has its state and runs 30 - 10 = 20 s until 30; the other has none, and its 30 s from scratch end at 40.
    """
    trace = run(mode, queries((0, 1), (1, 1), (0, 3), (0, 3)), n_workers=2)
    assert rows(trace, "config.x", "fidelity", "start", "end", "resumed_from")[2:] == [
        (0, 3.0, 10.0, 30.0, 1.0),
        (0, 3.0, 10.0, 40.0, None),
    ]


def test_two_trainings_of_one_configuration_side_by_side_are_two_states(mode):
    """Both workers train configuration 0 from scratch, and each continues one of the two states: 20 s until 30."""
    trace = run(mode, queries((0, 1), (0, 1), (0, 3), (0, 3)), n_workers=2)
    assert rows(trace, "start", "end", "resumed_from") == [
        (0.0, 10.0, None),
        (0.0, 10.0, None),
        (10.0, 30.0, 1.0),
        (10.0, 30.0, 1.0),
    ]


def test_a_state_that_is_delivered_after_the_start_is_not_used(mode):
    """Worker 0 trains configuration 0 for 10 epochs until 100 s; worker 1 is back at 10 s and asks for it at 20 epochs.

    The objective has been queried long ago, but nobody can have that state at 10 s: 200 s from scratch until 210. At
    100 s worker 0 goes on to 30 epochs from its state: 300 - 100 = 200 s until 300. At 210 s the state of 20 epochs is
    there, and that of 10 is gone: 400 - 200 = 200 s until 410.
    """
    trace = run(mode, queries((0, 10), (1, 1), (0, 20), (0, 30), (0, 40)), n_workers=2)
    assert rows(trace, "config.x", "fidelity", "start", "end", "resumed_from") == [
        (1, 1.0, 0.0, 10.0, None),
        (0, 10.0, 0.0, 100.0, None),
        (0, 20.0, 10.0, 210.0, None),
        (0, 30.0, 100.0, 300.0, 10.0),
        (0, 40.0, 210.0, 410.0, 20.0),
    ]


def test_a_state_is_used_at_the_very_moment_of_its_delivery(mode):
    """The overhead is zero, so the next start is the end of the state: 10 <= 10."""
    trace = run(mode, queries((0, 1), (0, 2)))
    assert rows(trace, "start", "end", "resumed_from")[1] == (10.0, 20.0, 1.0)


def test_a_repeated_fidelity_is_trained_again_from_scratch(mode):
    """3 epochs take 30 s both times. 9 epochs then continue the one state (60 s), and again the other one (60 s)."""
    trace = run(mode, queries((0, 3), (0, 3), (0, 9), (0, 9)))
    assert rows(trace, "end", "runtime", "resumed_from") == [
        (30.0, 30.0, None),
        (60.0, 30.0, None),
        (120.0, 60.0, 3.0),
        (180.0, 60.0, 3.0),
    ]


def test_a_lower_fidelity_after_a_higher_one_is_trained_from_scratch(mode):
    """90 s for 9 epochs, 30 s for 3. 27 epochs continue the higher state (270 - 90), and again the lower (270 - 30)."""
    trace = run(mode, queries((0, 9), (0, 3), (0, 27), (0, 27)))
    assert rows(trace, "end", "runtime", "resumed_from") == [
        (90.0, 90.0, None),
        (120.0, 30.0, None),
        (300.0, 180.0, 9.0),
        (540.0, 240.0, 3.0),
    ]


def test_of_all_states_the_highest_that_is_lower_and_was_delivered_by_then_is_continued():
    """In simulated time nothing is known that was delivered after the start; where workers really sleep, it may be."""
    states = [State(1.0, 10.0, 4.0), State(3.0, 30.0, 5.0), State(3.0, 31.0, 4.5), State(9.0, 90.0, 6.0)]

    def continued(fidelity, start):
        found = best_state(enumerate(states), fidelity, start)
        return None if found is None else found[0]

    assert [continued(27.0, start) for start in (3.9, 4.0, 4.5, 5.0, 6.0)] == [None, 0, 2, 2, 3]
    assert [continued(fidelity, 6.0) for fidelity in (1.0, 1.5, 3.0, 9.0, math.inf)] == [None, 0, 0, 2, 3]


class Faster:
    """A surrogate's runtimes are not monotone: 100 s for 1 epoch, 60 s for 3, 200 s for 9."""

    def __call__(self, _config, *, fidelity):
        return {"value": 0.0, "runtime": {1.0: 100.0, 3.0: 60.0, 9.0: 200.0}[fidelity]}


def test_a_negative_difference_is_charged_as_zero_and_said_so(mode):
    """60 - 100 < 0. What follows is charged from the 60 s that the table says, not from what was charged: 200 - 60."""
    trace = run(mode, queries((0, 1), (0, 3), (0, 9)), Faster())
    assert rows(trace, "end", "runtime", "resumed_from", "clipped") == [
        (100.0, 100.0, None, False),
        (100.0, 0.0, 1.0, True),
        (240.0, 140.0, 3.0, False),
    ]


def test_equal_runtimes_are_no_negative_difference(mode):
    trace = run(mode, queries((0, 1), (0, 3)), Constant())
    assert rows(trace, "end", "runtime", "clipped") == [(50.0, 50.0, False), (50.0, 0.0, False)]


class Constant:
    def __call__(self, _config):
        return Evaluation(0.0, 50.0)


def test_configurations_of_floats_are_recognised_by_their_values(mode):
    """0.1 + 0.2 is 0.30000000000000004 whoever computes it, and is not 0.3."""
    asked = [
        Query({"lr": 0.1 + 0.2, "wd": 1e-5}, 1),
        Query({"wd": np.float64(1e-5), "lr": 0.30000000000000004}, 3),
        Query({"wd": 0.00001, "lr": np.float64(0.1) + np.float64(0.2)}, 9),
        Query({"lr": 0.3, "wd": 1e-5}, 27),
    ]
    trace = run(mode, asked)
    assert rows(trace, "end", "resumed_from") == [(10.0, None), (30.0, 1.0), (90.0, 3.0), (360.0, None)]


def test_fidelities_may_be_fractions(mode):
    """0.1 + 0.2 > 0.3, so the second continues the first; 10 (0.1 + 0.2) - 10 * 0.3 s are charged, bit by bit."""
    trace = run(mode, queries((0, 0.3), (0, 0.1 + 0.2)))
    charged = 10.0 * (0.1 + 0.2) - 10.0 * 0.3
    assert charged > 0.0
    assert rows(trace, "runtime", "resumed_from") == [(3.0, None), (charged, 0.3)]


def test_the_full_training_lies_above_every_fidelity(mode):
    """None is the full training of 1000 s: it continues 9 epochs (1000 - 90), and nothing continues it."""
    trace = run(mode, queries((0, 9), (0, None), (0, None), (0, 27)))
    assert rows(trace, "fidelity", "end", "runtime", "resumed_from") == [
        (9.0, 90.0, 90.0, None),
        (None, 1000.0, 910.0, 9.0),
        (None, 2000.0, 1000.0, None),
        (27.0, 2270.0, 270.0, None),
    ]


def test_an_id_of_the_optimizer_is_the_identity(mode):
    """The same values under another id are another training; under its own id a training goes on."""
    trace = run(mode, queries((0, 1, "a"), (0, 3, "b"), (0, 9, "a"), (0, 9), (0, 9, "b")))
    assert rows(trace, "config_id", "end", "resumed_from")[:3] == [
        ("a", 10.0, None),
        ("b", 40.0, None),
        ("a", 120.0, 1.0),
    ]
    assert rows(trace, "end", "resumed_from")[3:] == [(210.0, None), (270.0, 3.0)]


def test_an_id_that_comes_with_another_configuration_is_an_error_that_names_both(mode):
    with pytest.raises(SpecificationError) as caught:
        run(mode, queries((0, 1, "trial 7"), (1, 3, "trial 7")))
    assert str(caught.value) == (
        "config_id 'trial 7' was given to another configuration before; now it comes with {\"x\":1}. "
        "An id must name one configuration, or leave config_id out"
    )


def test_an_id_is_bound_by_its_first_call_and_not_by_its_first_delivery(tmp_path):
    """Another call under its id is refused while the first is still running; then the run goes on."""
    refused = threading.Event()

    class AsksTwice:
        def __call__(self, config, *, fidelity):
            if config["x"] == 0:
                with pytest.raises(SpecificationError, match="config_id 'a' was given to another configuration"):
                    simulator({"x": 1}, 3, "a")
                refused.set()
            return Evaluation(0.0, 10.0 * fidelity)

    with Simulator(
        AsksTwice(), n_workers=2, directory=tmp_path, continual=True, overhead=NONE, max_evaluations=2
    ) as simulator:
        first = threading.Thread(target=simulator, args=({"x": 0}, 1, "a"))
        first.start()
        assert refused.wait(300.0)
        simulator({"x": 1}, 3, "b")
        first.join()
        assert rows(simulator.trace(), "config_id", "end", "resumed_from") == [("a", 10.0, None), ("b", 30.0, None)]


class FailsAtThree:
    """Takes 10 s an epoch; fails at 3 epochs, after 5 s."""

    def __call__(self, _config, *, fidelity):
        if fidelity == 3:
            raise Diverged(runtime=5.0)
        return Evaluation(0.0, 10.0 * fidelity)


def test_a_failure_consumes_the_state_and_leaves_none(mode):
    """1 epoch ends at 10. The failure has taken that state and is charged its own 5 s. 9 epochs: 90 s from scratch."""
    trace = run(mode, queries((0, 1), (0, 3), (0, 9)), FailsAtThree())
    assert rows(trace, "status", "end", "runtime", "resumed_from") == [
        ("ok", 10.0, 10.0, None),
        ("failed", 15.0, 5.0, 1.0),
        ("ok", 105.0, 90.0, None),
    ]


def test_overhead_comes_on_top_of_what_is_charged(mode):
    """Each sampling takes 2 s: 0 2-12 (1 epoch) 14-34 (20 s more) 36-96 (60 s more)."""
    trace = run(mode, queries((0, 1), (0, 3), (0, 9)), overhead=Overhead.fixed(2.0))
    assert rows(trace, "start", "end") == [(2.0, 12.0), (14.0, 34.0), (36.0, 96.0)]


@st.composite
def climbs(draw):
    n_workers = draw(st.integers(1, 5))
    n_configs = draw(st.integers(1, 4))
    fidelities = st.sampled_from([1.0, 2.5, 3.0, 9.0, None])
    asked = draw(st.lists(st.tuples(st.integers(0, n_configs - 1), fidelities), min_size=1, max_size=40))
    return n_workers, queries(*asked), draw(st.sampled_from([NONE, Overhead.fixed(3.0), Overhead.linear(0.0, 0.5)]))


class Bumpy:
    """Runtimes that are not monotone in the fidelity."""

    def __call__(self, config, *, fidelity):
        if fidelity == 3.0 and config["x"] == 0:
            raise Diverged(runtime=4.0)
        return Evaluation(0.0, [1.0, 8.0, 2.0, 9.0, 20.0][[1.0, 2.5, 3.0, 9.0, None].index(fidelity)] + config["x"])


@needs_waits
@given(climbs())
@settings(max_examples=60)
def test_threads_and_ask_and_tell_agree_on_every_column(case):
    n_workers, asked, overhead = case
    expected, found = (
        run(MODES[name], asked, Bumpy(), n_workers=n_workers, overhead=overhead) for name in ("ask and tell", "threads")
    )
    assert found.equals(expected)


@given(climbs())
@settings(max_examples=10)
def test_processes_and_ask_and_tell_agree_on_every_column(case):
    n_workers, asked, overhead = case
    expected, found = (
        run(MODES[name], asked, Bumpy(), n_workers=n_workers, overhead=overhead)
        for name in ("ask and tell", "processes")
    )
    assert found.equals(expected)


# -- the ledger
# ----------------------------------------------------------------------------------------------------------


class HashedFidelity:
    def __call__(self, config, *, fidelity):
        return Evaluation(0.0, 1.0 + (config["x"] * 7 + fidelity * 13) % 17)


@pytest.mark.parametrize("drive", [threads, processes])
def test_a_ledger_of_thousands_of_states_agrees_with_the_plain_one(tmp_path, drive):
    """The first file holds 1024 entries; each is left for one twice as large with 511, 1023, 2047, 4095... entries."""
    rng = np.random.default_rng(1)
    n = 2500
    asked = queries(*zip(rng.integers(0, 1200, n).tolist(), rng.integers(1, 28, n).tolist(), strict=True))
    found = run(drive, asked, HashedFidelity(), n_workers=4, directory=tmp_path)
    assert found.equals(run(MODES["ask and tell"], asked, HashedFidelity(), n_workers=4))
    entries = n + found["config_id"].nunique()  # one for each state and one for each identity
    assert 2047 < entries < 4095
    assert sorted(p.name for p in tmp_path.glob("ledger.*")) == [f"ledger.{g}" for g in range(4 * HAS_BYTE_LOCKS)]
    assert found["resumed_from"].notna().sum() > 500


CONFIGS = [bytes([c]) * 16 for c in range(3)]
# Identities that collide in the small first tables: what counts is the first 8 bytes, little-endian.
IDENTITIES = [(home + 64 * k).to_bytes(8, "little") + bytes([k]) * 8 for home in (0, 6, 7) for k in range(3)]
FIDELITIES = [1.0, 2.0, 3.0, math.inf]
TIMES = [0.0, 1.0, 2.0, 3.0]


class TheSharedLedger(RuleBasedStateMachine):
    """Any sequence of transactions, committed or killed, on mapped files and on the plain ledger."""

    @initialize()
    def create(self):
        self.folder = tempfile.TemporaryDirectory()
        self.directory = RunDirectory(Path(self.folder.name))
        self.table = SlotTable(bytearray(table_bytes(1)), 1)
        self.table.initialise()
        MappedEntries(self.directory).create(0, 8)
        # Two processes have the ledger mapped, and each operation is done by one of them.
        self.shared = [SharedLedger(self.table, MappedEntries(self.directory)) for _ in range(2)]
        self.plain = Ledger()
        self.running = []

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def transaction(self, who, change, *, killed):
        """Do `change(ledger)` to both; a killed transaction is rolled back by the other process."""
        shared, plain = self.shared[who], copy.deepcopy(self.plain)
        shared.reserve()
        self.table.begin(0)
        found, expected = change(shared), change(plain)
        assert found == expected
        if killed:
            entry = self.table.roll_back()
            if entry is not None:
                self.shared[1 - who].restore(*entry)
        else:
            self.plain = plain
        self.table.commit()
        assert self.table.ints[header.LEDGER_USED] * 2 < len(shared._memory()) // ENTRY_BYTES

    @rule(
        who=st.integers(0, 1),
        killed=st.booleans(),
        identity=st.sampled_from(IDENTITIES),
        fidelity=st.sampled_from(FIDELITIES),
        start=st.sampled_from(TIMES),
    )
    def claim(self, who, killed, identity, fidelity, start):
        config = CONFIGS[IDENTITIES.index(identity) % 3]

        def change(ledger):
            ledger.check_identity(identity, config, "id", "{}")
            return ledger.take(identity, fidelity, start)

        self.transaction(who, change, killed=killed)
        if not killed:
            self.running.append((identity, config, fidelity))

    @precondition(lambda self: self.running)
    @rule(
        who=st.integers(0, 1),
        killed=st.booleans(),
        which=st.integers(0, 2**16),
        runtime=st.sampled_from(TIMES),
        end=st.sampled_from(TIMES),
    )
    def deliver(self, who, killed, which, runtime, end):
        which %= len(self.running)
        identity, config, fidelity = self.running[which]
        state = State(fidelity, runtime, end)

        def change(ledger):
            if isinstance(ledger, SharedLedger):
                ledger.add(identity, config, state)
            else:
                ledger.add(identity, state)

        self.transaction(who, change, killed=killed)
        if not killed:
            del self.running[which]

    @rule(who=st.integers(0, 1), identity=st.sampled_from(IDENTITIES), config=st.sampled_from(CONFIGS))
    def give_an_id_to_some_configuration_and_be_killed(self, who, identity, config):
        def change(ledger):
            try:
                ledger.check_identity(identity, config, "id", "{}")
            except SpecificationError:
                return "refused"
            return "bound"

        self.transaction(who, change, killed=True)

    @rule(who=st.integers(0, 1))
    def be_killed_while_the_ledger_grows(self, who):
        """A process dies when it has made a part of the next generation's file, and before anybody knows of it."""
        generation, memory = self.table.ints[header.LEDGER_GENERATION], self.shared[who]._memory()
        half_made = MappedEntries(self.directory).create(generation + 1, 2 * len(memory) // ENTRY_BYTES)
        half_made[: len(memory)] = memory


TestTheSharedLedger = TheSharedLedger.TestCase
TestTheSharedLedger.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)


def test_the_state_machine_sees_the_ledger_grow_three_times():
    """Twenty deliveries and nine identities are 29 entries: 8, 16, 32, 64 places."""
    machine = TheSharedLedger()
    machine.create()
    for k in range(20):
        machine.claim(k % 2, False, IDENTITIES[k % 9], FIDELITIES[k % 4], 3.0)
        machine.deliver(k % 2, False, 0, 1.0, 2.0)
        machine.be_killed_while_the_ledger_grows(k % 2)
    assert machine.table.ints[header.LEDGER_GENERATION] == 3
    machine.teardown()
