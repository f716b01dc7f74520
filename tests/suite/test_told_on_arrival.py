"""What an optimizer knows when it is asked: everything that has arrived, or one result for each configuration."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from drivers import Lookup
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import SURVIVED, Diverged
from oracle import NobodyIsLeftError, NothingWillComeError, conversation

from zerowait.suite import Evaluation, Overhead, Query, Simulator, simulate
from zerowait.suite.rules.errors import NoWorkersLeftError, SpecificationError

RUNTIMES = {
    "uniform": lambda rng, n: rng.uniform(0.0, 10.0, n),
    "pareto": lambda rng, n: rng.pareto(1.0, n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "constant": lambda _, n: np.full(n, 3.0),
    "zero": lambda _, n: np.zeros(n),
}
OVERHEADS = {
    "none": Overhead.none(),
    "whole": Overhead.fixed(1.0),
    "fixed": Overhead.fixed(0.7),
    "parallel": Overhead.fixed(0.7, sampling="parallel"),
    "linear": Overhead.linear(0.1, 0.05),
    "linear, parallel": Overhead.linear(0.1, 0.05, sampling="parallel"),
    "long": Overhead.fixed(9.0),
    "falling": Overhead.model(lambda n: 4.0 / (1 + n), name="falling"),
    "saw": Overhead.model(lambda n: float(n % 3), name="saw"),
}
EPOCHS = (1.0, 3.0, 9.0, None)


class Spoken:
    """Asks what its script says, and remembers how many results it knew each time."""

    def __init__(self, script):
        self.script = iter(script)
        self.told = 0
        self.known = []

    def ask(self):
        entry = next(self.script)
        self.known.append(self.told)
        return None if entry is None else Query(*entry)

    def tell(self, query, evaluation):
        self.told += 1

    def tell_failure(self, _query, error):
        assert isinstance(error, SURVIVED)
        self.told += 1


@st.composite
def talks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 50))
    n_configs = draw(st.sampled_from([n, max(1, n // 4)]))
    continual = draw(st.booleans())
    seconds = RUNTIMES[draw(st.sampled_from(sorted(RUNTIMES)))](rng, n_configs).tolist()
    failing = set(np.flatnonzero(rng.random(n_configs) < draw(st.sampled_from([0.0, 0.2]))).tolist())
    silent = draw(st.sampled_from([0.0, 0.0, 0.1, 0.4]))
    script = []
    for k in range(n):
        fidelity = EPOCHS[int(rng.integers(4))] if continual or rng.random() < 0.3 else None
        script.append(({"x": k % n_configs}, fidelity))
        if rng.random() < silent:
            script.append(None)
    specification = {
        "n_workers": draw(st.integers(1, 16)),
        "max_time": draw(st.sampled_from([None, None, 7.5, 20.0, 5.0])),
        "max_evaluations": draw(st.sampled_from([None, None, 1, n // 2 + 1])),
        "continual": continual,
    }
    return script, seconds, failing, draw(st.sampled_from(sorted(OVERHEADS))), specification


class Trains:
    """One of a list of runtimes, three times as long for three times the epochs; some diverge, after half of it."""

    def __init__(self, seconds, failing):
        self.seconds, self.failing = seconds, failing

    def length(self, config, fidelity):
        scratch = self.seconds[config["x"]] * (27.0 if fidelity is None else fidelity)
        return (scratch / 2, True) if config["x"] in self.failing else (scratch, False)

    def __call__(self, config, *, fidelity=None):
        scratch, fails = self.length(config, fidelity)
        if fails:
            raise Diverged(runtime=scratch)
        return Evaluation(0.0, scratch)


def said(run):
    """Return what was delivered and known, or that the optimizer waits in vain."""
    try:
        return run()
    except NothingWillComeError:
        return None
    except (NobodyIsLeftError, NoWorkersLeftError):
        return "nobody is left"
    except SpecificationError as error:
        if "no evaluation is in flight" in str(error):
            return None
        raise


@given(talks(), st.sampled_from(["arrival", "turn"]))
@settings(max_examples=2500, deadline=None)
def test_asking_and_telling_gives_the_times_and_the_knowledge_of_an_independent_simulation(talk, told):
    script, seconds, failing, overhead, specification = talk
    policy, objective = OVERHEADS[overhead], Trains(seconds, failing)

    def expected():
        deliveries, known = conversation(
            script, objective.length, overhead=policy.charge, told=told, sampling=policy.sampling, **specification
        )
        rows = [
            (d["id"], d["freed"], d["start"], d["end"], d["runtime"], d["overhead"], d["failed"], d["resumed"])
            for d in deliveries
        ]
        return rows, known

    def simulated():
        optimizer = Spoken(script)
        trace = simulate(optimizer, objective, told=told, overhead=policy, **specification)
        resumed = [None if math.isnan(z) else z for z in trace["resumed_from"]]
        columns = (trace[c] for c in ("config_id", "freed", "start", "end", "runtime", "overhead"))
        return list(zip(*columns, trace["status"] == "failed", resumed, strict=True)), optimizer.known

    assert said(simulated) == said(expected)


def known_at_the_asks(told, overhead=None, **more):
    """Sampling takes n + 1 s when n results are known; what is known at the asks of twelve configurations."""
    optimizer = Spoken([({"x": k}, None) for k in range(12)])
    runtimes = Lookup((6.0, 5.0, 7.0, 6.5, 9.0, 2.0, 4.0, 30.0, 3.0, 2.5, 1.0, 5.0))
    overhead = Overhead.linear(1.0, 1.0) if overhead is None else overhead
    trace = simulate(optimizer, runtimes, n_workers=4, told=told, overhead=overhead, **more)
    return optimizer.known, trace


def test_results_that_end_while_a_configuration_is_sampled_are_known_to_the_next_one_on_arrival():
    """Sampled until 1, 2, 3, 4, so they end at 7, 7, 10 and 10.5.

    At 7 the optimizer waits and is told one; it samples until 9. The other of 7 is told, 3 s until 12; those of 10 and
    10.5, 5 s until 17; what began at 12 has ended at 14, 6 s until 23.
    """
    known, trace = known_at_the_asks("arrival")
    assert known[:8] == [0, 0, 0, 0, 1, 2, 4, 5]
    assert sorted(trace["start"])[:8] == [1, 2, 3, 4, 9, 12, 17, 23]
    known, trace = known_at_the_asks("turn")
    assert known == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(trace["start"])[:8] == [1, 2, 3, 4, 9, 12, 16, 21]


def test_who_samples_in_parallel_knows_what_has_arrived_either_way():
    overhead = Overhead.linear(1.0, 1.0, sampling="parallel")
    (known, trace), (other, also) = known_at_the_asks("arrival", overhead), known_at_the_asks("turn", overhead)
    assert known == other
    assert trace.equals(also)


def test_the_trace_says_which():
    def says(told, overhead):
        trace = simulate(Spoken([({"x": 0}, None)]), Lookup((1.0,)), n_workers=1, told=told, overhead=overhead)
        return trace.attrs["zerowait"]["specification"]["told"]

    assert says(None, None) == "arrival"
    assert says("turn", None) == "turn"
    assert says(None, Overhead.none()) == "turn"
    assert says("arrival", Overhead.none()) == "arrival"


@pytest.mark.parametrize(("overhead", "told"), [(Overhead.none(), "turn"), (Overhead.measured(), "arrival")])
def test_the_trace_of_a_simulator_says_what_it_does(tmp_path, overhead, told):
    with Simulator(Lookup((1.0,)), n_workers=1, directory=tmp_path, overhead=overhead, max_evaluations=1) as simulator:
        simulator({"x": 0})
        assert simulator.trace().attrs["zerowait"]["specification"]["told"] == told


@pytest.mark.parametrize("told", ["on arrival", True, 1])
def test_what_is_no_way_of_being_told_is_refused(told):
    with pytest.raises(SpecificationError, match=r"told is .*; it must be one of 'arrival', 'turn', None"):
        simulate(Spoken([]), Lookup(()), n_workers=1, told=told)


# -- measured ----------------------------------------------------------------------------------------------------------


class Slow(Spoken):
    """Really takes `unit` seconds for each known result and one more; optionally to be told, too."""

    def __init__(self, script, unit, telling=0.0):
        super().__init__(script)
        self.unit, self.telling = unit, telling

    def ask(self):
        query = super().ask()
        time.sleep(self.unit * (self.told + 1))
        return query

    def tell(self, query, evaluation):
        super().tell(query, evaluation)
        time.sleep(self.telling)


UNIT = 0.02


def really(n, runtimes, telling=0.0, **more):
    optimizer = Slow([({"x": k}, None) for k in range(n)], UNIT, telling * UNIT)
    trace = simulate(optimizer, Lookup(tuple(r * UNIT for r in runtimes)), n_workers=4, **more)
    return optimizer.known, trace


# What is measured cannot be shorter than what was slept, and how much longer it is depends on the machine; so these
# cases leave four units between any two events whose order matters.
FAR_APART = (20.0, 28.0, 36.0, 44.0, 300.0, 300.0, 300.0, 300.0)


def test_measured_results_are_told_on_arrival():
    """Sampled until 1, 2, 3, 4: ends at 21, 30, 39, 48.  Told one by one, nobody waits; the last two samplings do not
    overlap either. With the first sampling after 21 lasting 30, the other three are known to the next."""

    class Thinks(Slow):
        def ask(self):
            query = Spoken.ask(self)
            time.sleep(UNIT * (35.0 if self.told == 1 else 1.0))
            return query

    def known(told):
        optimizer = Thinks([({"x": k}, None) for k in range(8)], UNIT)
        runtimes = Lookup(tuple(r * UNIT for r in FAR_APART))
        trace = simulate(optimizer, runtimes, n_workers=4, told=told, overhead=None)
        return optimizer.known, trace.sort_values("start")

    on_arrival, trace = known(None)
    assert on_arrival == [0, 0, 0, 0, 1, 4, 4, 4]
    starts = trace["start"].to_numpy()
    assert (trace["end"] - trace["start"] - trace["runtime"]).abs().max() < 1e-9
    assert starts[4] >= starts[0] + (20.0 + 35.0) * UNIT  # its sampling, from the first result on, is charged whole
    in_turn, _ = known("turn")
    assert in_turn == [0, 0, 0, 0, 1, 2, 3, 4]


def test_being_told_takes_its_time_once_and_what_ends_meanwhile_is_told_before_the_next_ask():
    """Told for 30 units each: after the first (21 to 51) the others are there; they are told before the next ask."""
    known, trace = really(8, FAR_APART, telling=30.0)
    assert known == [0, 0, 0, 0, 4, 4, 4, 4]
    fifth = trace.sort_values("start").iloc[4]
    assert fifth["overhead"] >= (4 * 30.0 + 5.0) * UNIT
    assert fifth["start"] >= trace["end"].iloc[0] + fifth["overhead"] - 1e-9


def test_what_an_ask_without_an_answer_took_passes_while_the_next_result_is_awaited():
    """None after 5 units at 0, then the first result at 40: what comes next is charged from 40 on, not from 45."""

    class Hesitates(Spoken):
        def ask(self):
            query = super().ask()
            time.sleep(UNIT * (5.0 if query is None else 0.0))
            return query

    optimizer = Hesitates([({"x": 0}, None), None, ({"x": 1}, None)])
    trace = simulate(optimizer, Lookup((40.0 * UNIT, UNIT)), n_workers=2)
    first, second = trace.itertuples()
    assert second.overhead >= 5.0 * UNIT
    assert first.end <= second.start < first.end + 5.0 * UNIT


# -- what a budget takes away ------------------------------------------------------------------------------------------


class OneAtATime:
    """Hands out one configuration and answers None until it is told of it."""

    def __init__(self, most=100):
        self.waits = False
        self.left = most

    def ask(self):
        if self.waits:
            return None
        if not self.left:
            raise StopIteration
        self.left -= 1
        self.waits = True
        return Query({"x": 0})

    def tell(self, query, evaluation):
        self.waits = False


@pytest.mark.parametrize("told", ["turn", "arrival"])
@pytest.mark.parametrize("batch_size", [None, 1, 3])
@pytest.mark.parametrize("n_workers", [1, 2, 5])
@pytest.mark.parametrize(
    ("overhead", "runtime", "limits", "ends"),
    [
        (Overhead.fixed(3.0), 1.0, {"max_time": 5.0}, [4.0]),  # the second would start at 7
        (Overhead.fixed(9.0), 1.0, {"max_time": 5.0}, []),  # not even the first starts
        (Overhead.fixed(5.0), 1.0, {"max_time": 5.0}, []),  # it would start when time is up
        (Overhead.fixed(1.0), 9.0, {"max_time": 5.0}, []),  # it starts and does not end in time
        (Overhead.none(), 2.0, {"max_time": 5.0}, [2.0, 4.0]),
        (Overhead.none(), 2.5, {"max_time": 5.0}, [2.5, 5.0]),
        (Overhead.none(), 2.0, {"max_evaluations": 2}, [2.0, 4.0]),
        (Overhead.none(), 2.0, {"max_evaluations": 2, "max_time": 3.0}, [2.0]),
    ],
)
def test_an_optimizer_that_waits_for_what_the_budget_took_is_not_blamed(
    overhead, runtime, limits, ends, n_workers, batch_size, told
):
    trace = simulate(
        OneAtATime(), Lookup((runtime,)), n_workers=n_workers, batch_size=batch_size, told=told, overhead=overhead,
        **limits,
    )  # fmt: skip
    assert trace["end"].tolist() == ends


def test_an_optimizer_that_waits_in_vain_without_the_budgets_doing_is_told_so():
    optimizer = OneAtATime()
    optimizer.waits = True
    with pytest.raises(SpecificationError, match="no evaluation is in flight"):
        simulate(optimizer, Lookup((1.0,)), n_workers=2, max_time=5.0, overhead=Overhead.fixed(3.0))


@pytest.mark.parametrize("answer", [{"x": 0.5}, ({"x": 0.5}, None), 0.5, "x"])
def test_an_answer_that_is_no_query_is_refused(answer):
    optimizer = OneAtATime()
    optimizer.ask = lambda: answer
    with pytest.raises(SpecificationError, match=r"ask\(\) returned .*; it must return a Query, such as Query"):
        simulate(optimizer, Lookup((1.0,)), n_workers=2, max_evaluations=1)


@pytest.mark.parametrize(
    "arguments", [{"overhead": "none"}, {"overhead": 0.5}, {"continual": "yes"}, {"n_workers": 2.0}]
)
def test_an_argument_of_another_type_is_refused_by_name(arguments):
    with pytest.raises(SpecificationError, match=f"^{next(iter(arguments))} is "):
        simulate(OneAtATime(), Lookup((1.0,)), **{"n_workers": 2, "max_evaluations": 1, **arguments})


def test_a_number_of_workers_may_come_from_numpy():
    trace = simulate(OneAtATime(3), Lookup((1.0,)), n_workers=np.int64(2), overhead=Overhead.none())
    assert trace.attrs["zerowait"]["specification"]["n_workers"] == 2
