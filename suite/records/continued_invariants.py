"""The rules of continued evaluations, for a journal: who continued which training, and what was charged for it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from zerowait.suite.records.history import Entry, History, Violation
from zerowait.suite.records.run_spec import RunSpec
from zerowait.suite.rules.continuation import State, best_state, charge, training_length


def continuation(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report evaluations that did not continue the highest state they could, or one that was not theirs to take."""
    if not spec.continual:
        for e in history.deliveries:
            if e.resumed_from is not None:
                yield Violation("continuation", e.place, f"resumed_from={e.resumed_from!r} in a run without continual")
        return
    states: dict[bytes, list[Entry]] = defaultdict(list)
    for e in history.deliveries:
        if e.status == "ok":
            states[e.identity].append(e)
    replay = _Replay(history)
    for e in history.claims:
        yield from replay.claim(e, states[e.identity])


class _Replay:
    """Who consumed which state, in the order of the claims."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._consumers: dict[
            int, int | None
        ] = {}  # by number of the state's evaluation; None: a call without a record
        self._excused = 0

    def claim(self, e: Entry, states: Sequence[Entry]) -> Iterator[Violation]:
        """Let an evaluation of a configuration with these states consume its state."""
        length = training_length(e.fidelity)
        usable = {
            s.number: s
            for s in states
            if s.number not in self._consumers
            and s.number < e.after
            and s.end <= e.start
            and training_length(s.fidelity) < length
        }
        taken: Entry | None = None
        if e.resumed_from is not None:
            taken = _best([s for s in usable.values() if s.fidelity == e.resumed_from])
            if taken is None:
                if self._history.knows(0, e.after):
                    yield Violation("continuation", e.place, self._why_not(e, states))
                return
            self._consumers[taken.number] = e.number
            yield from _charges(e, taken)
        while (best := _best(usable.values())) is not None and best.fidelity != e.resumed_from:
            if self._excused >= self._history.missing_calls(e.call):
                yield Violation(
                    "continuation",
                    e.place,
                    f"resumed_from={e.resumed_from!r} at fidelity {e.fidelity!r}, but the state at {best.fidelity!r} "
                    f"of {best} was there and nobody had taken it",
                )
                return
            self._excused += 1
            self._consumers[best.number] = None
            del usable[best.number]

    def _why_not(self, e: Entry, states: Sequence[Entry]) -> str:
        beginning = f"resumed_from={e.resumed_from!r} at fidelity {e.fidelity!r} and start={e.start!r}, but"
        if e.resumed_from is not None and e.resumed_from >= training_length(e.fidelity):
            return f"{beginning} that is no lower fidelity"
        there = [s for s in states if s.fidelity == e.resumed_from]
        if not there:
            return f"{beginning} no state of this configuration was delivered at {e.resumed_from!r}"
        for s in there:
            if s.number in self._consumers:
                return f"{beginning} evaluation {self._consumers[s.number]} had taken the state of {s} already"
        return f"{beginning} the state of {there[0]} was delivered later"


def _best(states: Collection[Entry]) -> Entry | None:
    handles = ((s, State(training_length(s.fidelity), s.from_scratch, s.end)) for s in states)
    found = best_state(handles, math.inf, math.inf)
    return None if found is None else found[0]


def _charges(e: Entry, state: Entry) -> Iterator[Violation]:
    if e.is_lost:
        return
    if e.late:
        return  # what it is charged depends on who overtook it
    seconds, clipped = e.from_scratch, False  # a failure is charged what it took
    if e.status == "ok" or e.record.get("diverged"):
        charged = charge(seconds, State(training_length(state.fidelity), state.from_scratch, state.end))
        seconds, clipped = charged.runtime, charged.clipped
    if e.record.get("training") is not None and e.status != "ok":
        return  # the cluster failed it; what it would have come to is not known
    if (e.record.get("training", e.runtime), e.record["clipped"]) != (seconds, clipped):
        yield Violation(
            "charge",
            e.place,
            f"runtime={e.record.get('training', e.runtime)!r} and clipped={e.record['clipped']!r}, but from "
            f"{e.from_scratch!r} s for the whole training and {state.from_scratch!r} s for that of {state} follow "
            f"{seconds!r} and {clipped!r}",
        )
