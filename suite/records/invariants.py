"""The invariants of a run (design 4.1 and 4.2) as rules over its history: pure, no files.

A rule reports only what no run can have written. Calls without a record (still running, or past the budget) have no
known place; where one of them could explain what is seen, nothing is reported. The same holds for what stood in a
damaged line.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from zerowait.suite.records.continued_invariants import continuation
from zerowait.suite.records.history import Entry, History, Violation
from zerowait.suite.records.run_spec import RunSpec
from zerowait.suite.rules.identity import digest
from zerowait.suite.rules.objectives import VALUE, metric_of
from zerowait.suite.rules.occupation import Occupation
from zerowait.suite.rules.seeds import ObjectiveSeeds
from zerowait.suite.sharing.journal import Damage, Record
from zerowait.suite.sharing.journal_schema import problems

# The real times of a record are written with so many seconds' precision.
_WRITTEN = 2e-6
# A sleeper that wakes when its time is over may find, after division by the time scale, the last digits rounded down.
_ROUNDING = 1e-9


def violations(records: Sequence[Record | Damage], spec: RunSpec) -> tuple[list[Violation], list[str]]:
    """Return what is wrong with the records of a run, and notes on what could not be verified.

    `records` are the lines of the journal in their order, damaged ones included.
    """
    found: list[Violation] = []
    entries: list[Entry] = []
    for place, record in enumerate(records):
        if isinstance(record, Damage):
            found.append(Violation("checksum", place, f"the line {record.problem}"))
            continue
        wrong = [Violation("fields", place, problem) for problem in problems(record)]
        found += wrong
        if not wrong:
            entries.append(Entry.of(place, record))
    history = History(entries)
    found += _numbers(len(records), entries)
    for rule in (
        _once, _claims, _times, _ends, _cluster, _machines, _slots, _order, _late, _meanwhile, _starts, _overheads,
        _idle_releases, _waiting, _budget, _statuses, _identities, continuation,
    ):  # fmt: skip
        found += rule(history, spec)
    return found, list(_notes(history, spec))


def _notes(history: History, spec: RunSpec) -> Iterator[str]:
    if spec.is_modelled and spec.overhead.seconds is None:
        yield (
            f"{spec.overhead.name} cannot be recomputed from the directory: each record's overhead was taken as it "
            "stands"
        )
    last = history.claims[-1].call if history.claims else 0
    missing = history.missing_calls(last + 1)
    if missing:
        yield f"{missing} of the first {last} calls have no record: they were running, or past the budget"


# -- numbers -----------------------------------------------------------------------------------------------------------


def _numbers(n_records: int, entries: Sequence[Entry]) -> Iterator[Violation]:
    """Report evaluations that are not numbered from 0 in the order of the journal."""
    at = {entry.place: entry for entry in entries}
    expected = 0
    for place in range(n_records):
        entry = at.get(place)
        if entry is not None and entry.number != expected:
            yield Violation("numbers", place, f"evaluation {entry.number} stands where {expected} must follow")
            expected = entry.number
        expected += 1


def _once(history: History, _: RunSpec) -> Iterator[Violation]:
    """Report calls and evaluations that were recorded more than once."""
    for e, first in history.repetitions:
        yield Violation(
            "exactly once",
            e.place,
            f"evaluation {e.number} of call {e.call} repeats evaluation {first.number} of call {first.call}, which is "
            f"record {first.place}",
        )


def _claims(history: History, _: RunSpec) -> Iterator[Violation]:
    """Report calls that were not claimed one after the other, or after their own delivery."""
    latest = 0
    for e in history.claims:
        if e.after > e.number:
            yield Violation(
                "claims", e.place, f"claimed after {e.after} records, but it is evaluation {e.number} itself"
            )
        if e.after < latest:
            yield Violation(
                "claims", e.place, f"call {e.call} was claimed after {e.after} records, an earlier call after {latest}"
            )
        latest = max(latest, e.after)


# -- times -------------------------------------------------------------------------------------------------------------


def _times(history: History, _: RunSpec) -> Iterator[Violation]:
    """Report times that are not `freed <= start <= end`."""
    for e in history.deliveries:
        if not e.freed <= e.start <= e.end:
            yield Violation("times", e.place, f"freed={e.freed!r}, start={e.start!r}, end={e.end!r} are not in order")


def _ends(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report ends that are not `start + runtime`; a lost evaluation ran until its loss was noticed."""
    for e in history.deliveries:
        if e.is_lost:
            wrong = e.runtime != e.end - e.start
        elif spec.slept:
            wrong = e.end < (e.start + e.runtime) * (1.0 - _ROUNDING)
        elif (occupation := _occupation(e, spec)) is not None:
            wrong = e.end != occupation.end
        else:
            wrong = e.end != e.start + e.runtime
        if wrong:
            yield Violation(
                "end",
                e.place,
                f"start={e.start!r} and runtime={e.runtime!r} do not lead to end={e.end!r} ({e.status})",
            )


def _occupation(e: Entry, spec: RunSpec) -> Occupation | None:
    """Return what the cluster makes of an evaluation; None where it decides nothing: none, a death, a late result."""
    if spec.workers is None or e.is_lost or e.late or "training" not in e.record:
        return None
    return Occupation(*spec.workers.occupy(e.slot, e.start, e.record["training"], e.identity, e.fidelity))


def _cluster(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report evaluations of which something else became than follows from the cluster's draws."""
    for e in history.deliveries:
        if not e.is_lost and ("training" in e.record) != (spec.workers is not None):
            yield Violation("cluster", e.place, "evaluations have an attempt in runs with a cluster, and only there")
        elif e.status == "preempted" and spec.workers is None:
            yield Violation("cluster", e.place, "preempted in a run without a cluster")
        elif spec.workers is not None and not spec.arrival(e.slot) <= e.start < spec.workers.cluster.departure(e.slot):
            yield Violation("cluster", e.place, f"started at {e.start!r} s, when worker {e.slot} was not there")
        occupation = _occupation(e, spec)
        if occupation is None:
            continue
        found = (e.runtime, e.record["attempt"], e.record["lost_time"])
        expected = (occupation.charged, occupation.attempts, occupation.lost)
        allowed = ("ok", "failed") if occupation.ended == "ok" else (occupation.ended,)
        if found != expected or e.status not in allowed:
            yield Violation(
                "cluster",
                e.place,
                f"runtime, attempt and lost_time are {found} ({e.status}), but from {e.record['training']!r} s of "
                f"training on worker {e.slot} at {e.start!r} s follow {expected} ({occupation.ended})",
            )


def _machines(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report evaluations in a cluster that did not go to the worker that was free for longest.

    Where free workers were released, callers may still have been on their way.
    """
    released = any(e.idle or e.record.get("said") or e.is_lost for e in history.deliveries)
    if spec.workers is None or spec.slept or released or history.missing_calls(len(history.claims) + 1):
        return
    free = sorted((spec.arrival(slot), slot) for slot in range(spec.n_workers))
    delivered = 0
    for e in history.claims:
        for freed in history.deliveries[delivered : history.before(e.after)]:
            if freed.status == "ok" or not spec.workers.has_left(freed.slot, freed.end):
                heapq.heappush(free, (freed.end, freed.slot))
        delivered = max(delivered, history.before(e.after))
        while free and spec.workers.has_left(free[0][1], e.start):
            heapq.heappop(free)  # it was called in vain
        if free and (expected := heapq.heappop(free)) != (e.freed, e.slot):
            yield Violation(
                "worker",
                e.place,
                f"worker {e.slot}, freed at {e.freed!r} s, got it, but worker {expected[1]} was free since "
                f"{expected[0]!r} s",
            )
            return


def _slots(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report evaluations that overlap in a slot, and slots that do not exist."""
    previous: dict[int, Entry] = {}
    for e in history.deliveries:
        if e.slot >= spec.n_workers:
            yield Violation("slots", e.place, f"slot {e.slot} of a run with n_workers={spec.n_workers}")
            continue
        before = previous.get(e.slot)
        previous[e.slot] = e
        number, freed = (-1, spec.arrival(e.slot)) if before is None else (before.number, before.end)
        if not history.knows(number + 1, e.number):
            continue
        by = "nobody held it before" if before is None else f"evaluation {number} left it at {freed!r} s"
        if e.freed != freed:
            yield Violation("slots", e.place, f"freed={e.freed!r} in slot {e.slot}, but {by}")
        if e.after <= number:
            yield Violation(
                "slots",
                e.place,
                f"claimed slot {e.slot} after {e.after} records, but {by}, and that is record {number}",
            )


def _order(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report deliveries that were not the least of what was running, by (end, start, identity)."""
    latest = 0.0
    for e in history.deliveries:
        if e.end < latest:
            yield Violation("order", e.place, f"{e} was delivered after an end of {latest!r} s")
        latest = max(latest, e.end)
    if spec.slept:
        return  # who wakes up first is first
    claims = [e for e in history.claims if not e.is_lost]
    claims.sort(key=lambda e: e.after, reverse=True)
    running: list[tuple[tuple[float, float, bytes, float, float, int], int]] = []
    for e in history.deliveries:
        while claims and claims[-1].after <= e.number:
            claimed = claims.pop()
            heapq.heappush(running, (claimed.key(), claimed.number))
        while running and running[0][1] < e.number:
            heapq.heappop(running)
        if not e.is_lost and running and running[0][0] < e.key():
            first = history.by_number[running[0][1]]
            yield Violation("order", e.place, f"{e} was delivered while {first} was running, which comes first")


def _late(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report results that were overtaken during their query although no real time decides, or that nobody overtook."""
    for e in history.deliveries:
        if not e.late:
            continue
        overtaking = [other.end for other in history.deliveries[: history.before(e.number)] if other.number >= e.after]
        if spec.is_modelled or (history.knows(e.after, e.number) and not any(end < e.end for end in overtaking)):
            yield Violation("late", e.place, f"{e} was overtaken during its query, but no result came meanwhile")
        query, training = e.record.get("query"), e.record["late"]
        if spec.workers is not None:
            training = spec.workers.occupy(e.slot, e.start, training, e.identity, e.fidelity)[1]
        if query is not None and e.resumed_from is None and query < training - _WRITTEN:
            yield Violation(
                "late", e.place, f"{e} was overtaken, but its query took {query} s, and its training {training!r} s"
            )


def _meanwhile(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report results under measured overhead that came before the sampling for a free slot could have got there.

    For a free slot that gets a call later simulated time passes as real time does, from its last result or, where one
    configuration is sampled at a time, from the start before.
    """
    if not spec.overhead.is_measured or spec.slept or spec.shared_directory or spec.comes_and_goes:
        return  # several hosts may have several clocks, and workers that come and go have theirs stand still
    is_serial = spec.overhead.sampling == "serial"
    left: dict[int, Entry | None] = dict.fromkeys(range(spec.n_workers))  # what each slot had last
    claims, afters = history.claims, [e.after for e in history.claims]
    following = {(e.slot, before): e.after for before, e in _in_slots(history)}
    guessed, guessed_end = -1, 0.0
    for e in history.deliveries:
        claimed = bisect_left(afters, e.number + 1)
        if (
            "called" in e.record and not (e.idle or e.record.get("said") or e.is_lost)
            and 0 < claimed < len(claims) and claims[claimed].call == claims[claimed - 1].call + 1
            and history.knows(0, e.number) and not claims[claimed - 1].is_lost  # its true start is unknown
        ):  # fmt: skip
            last = claims[claimed - 1]
            clocks, awaited = [], []
            for slot, before in left.items():
                number, freed, wall = (
                    (-1, 0.0, 0.0) if before is None else (before.number, before.end, before.record["wall"])
                )
                if slot == e.slot or following.get((slot, number), math.inf) <= e.number:
                    continue
                if is_serial:
                    freed, wall = max(freed, last.start), max(wall, last.record.get("called", 0.0))
                clocks.append(max(freed, guessed_end) + e.record["wall"] - wall)
                if number >= guessed and (slot, number) in following:
                    awaited.append(clocks[-1])
            if awaited and e.end > (max(clocks) if is_serial else min(awaited)) * (1.0 + _ROUNDING) + _WRITTEN:
                yield Violation(
                    "meanwhile",
                    e.place,
                    f"{e} was delivered although the sampling for a free slot had come to {max(clocks)!r} s at most",
                )
        left[e.slot] = e
        if e.idle or e.record.get("said"):
            guessed, guessed_end = e.number, e.end


def _in_slots(history: History) -> Iterator[tuple[int, Entry]]:
    """Yield each record with the number of the one before in its slot, -1 when there is none."""
    previous: dict[int, int] = {}
    for e in history.deliveries:
        yield previous.get(e.slot, -1), e
        previous[e.slot] = e.number


# -- overhead ----------------------------------------------------------------------------------------------------------


def _starts(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report starts that are not what the overhead policy gives, or that lie before a delivery that was made.

    `start = max(last delivery, busy_until) + overhead`, where a serial optimizer is busy until the start before.
    """
    if spec.slept:
        return
    busy_until, call, arrived = 0.0, 0, 0.0
    for e in history.claims:
        last = history.last_delivery(e.after)
        if spec.comes_and_goes and last is not None:
            arrived = max(arrived, spec.arrival(e.slot))
            last = max(last, arrived)
        ready = last
        if not spec.is_modelled or (spec.overhead.sampling == "serial" and e.call != call + 1):
            ready = None
        elif spec.overhead.sampling == "serial" and last is not None:
            ready = max(last, busy_until)
        call = e.call
        start = e.start if ready is None else ready + e.overhead
        # The start of a lost evaluation was moved when its loss was noticed before it.
        if e.start != (min(start, e.end) if e.is_lost else start):
            yield Violation("start", e.place, f"start={e.start!r}, but by {spec.overhead.name} it is {start!r}")
        elif last is not None and e.start < (
            least := last + e.overhead if spec.is_modelled and not e.is_lost else last
        ):
            yield Violation("start", e.place, f"start={e.start!r}, but it cannot be before {least!r}")
        busy_until = start if e.is_lost else e.start
        if e.is_lost and ready is None:
            call = 0  # its true start is unknown, so that of the next call is, too


def _overheads(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report overheads that are not those of the policy."""
    if not spec.is_modelled:
        yield from _measured_overheads(history, spec)
        return
    model = spec.overhead.seconds
    for e in history.claims if model is not None else ():
        delivered = 0 if spec.overhead.constant is not None else history.delivered(e.after)
        if model is not None and delivered is not None and e.overhead != model(delivered):
            yield Violation(
                "overhead",
                e.place,
                f"overhead={e.overhead!r}, but {spec.overhead.name} gives {model(delivered)!r} "
                f"after {delivered} results",
            )


def _measured_overheads(history: History, spec: RunSpec) -> Iterator[Violation]:
    # What passed since the slot was freed, or since the last result whose release told that the slot was idle, or, of
    # a slot that had been absent, since the last delivery.
    idle = [] if spec.slept else [e for e in history.deliveries if e.idle or e.record.get("said")]
    numbers = [e.number for e in idle]
    previous: dict[int, int] = {}
    busy_until: dict[int, float] = {}  # by call: the start of the call before, when that is known
    if spec.overhead.sampling == "serial" and not spec.slept:
        busy_until = {e.call + 1: e.start for e in history.deliveries if not e.is_lost}
    for e in history.deliveries:
        before = previous.get(e.slot, -1)
        previous[e.slot] = e.number
        if e.is_lost or not history.knows(before + 1, e.after):
            continue
        releases = idle[bisect_left(numbers, before + 1) : bisect_left(numbers, e.after)]
        began = {e.freed, *(release.end for release in releases)}
        if numbers and numbers[0] < e.after and (last := history.last_delivery(e.after)) is not None:
            began.add(last)
        # 0.1 did not look at the sampling before; a call before this one that is not known may have kept the sampler.
        known = spec.overhead.sampling == "parallel" or spec.slept or e.call in busy_until or e.call == 1
        began |= {max(then, busy_until[e.call]) for then in began if e.call in busy_until}
        if e.overhead not in {e.start - then for then in began} and (
            known or not 0.0 <= e.overhead < e.start - e.freed
        ):
            yield Violation("overhead", e.place, f"overhead={e.overhead!r}, but start - freed = {e.start - e.freed!r}")


# -- idle workers ------------------------------------------------------------------------------------------------------


def _idle_releases(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report results that the idle rule released although no slot was free."""
    afters = [e.after for e in sorted(history.claims, key=lambda e: e.after)]
    for e in history.deliveries:
        if e.idle and bisect_left(afters, e.number + 1) - history.before(e.number) >= spec.n_workers:
            yield Violation("idle", e.place, f"released by the idle rule, but all {spec.n_workers} slots were taken")
        if e.record.get("stalled") and not e.idle:
            yield Violation("idle", e.place, "released because the run stalled, but not by the idle rule")
        if not e.record.get("wrong_guess") or spec.budget.max_time is not None or not history.knows(0, e.after):
            continue  # with max_time, what was released may be past the budget and not recorded
        if not _follows_a_guess(history, e):
            yield Violation("idle", e.place, f"call {e.call} contradicts a guess, but no idle release came before it")


def _follows_a_guess(history: History, e: Entry) -> bool:
    """Tell whether the last result before a call was delivered by the idle rule; one that was lost is no result."""
    before = (history.by_number[number] for number in range(e.after - 1, -1, -1))
    return next((entry.idle for entry in before if not entry.is_lost), False)


def _waiting(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report results that did not wait for a free slot that got another call later.

    Under a measured overhead a free slot is waited for only while its clock is behind, which the journal does not tell.
    """
    # A slot whose next start is past the budget is not waited for. Only a model that falls again can have such a slot
    # and start evaluations later.
    if not spec.is_modelled or (spec.budget.max_time is not None and spec.overhead.seconds is None):
        return
    claims = history.claims
    afters = [e.after for e in claims]
    if afters != sorted(afters):
        return
    if spec.comes_and_goes:
        return
    passed_over = _PassedOver(history, spec.n_workers)
    for e in history.deliveries:
        claimed = bisect_left(afters, e.number + 1)
        if e.idle or e.record.get("said") or e.is_lost or claimed == len(claims):
            continue
        without_record = claims[claimed].call - 1 - claimed  # they may have been running as well
        free = spec.n_workers - (claimed - history.before(e.number) + without_record)
        if free > 0:
            free -= passed_over.at(e)
        if free > 0:
            yield Violation(
                "idle",
                e.place,
                f"delivered while {free} of {spec.n_workers} slots were free, but not by the idle rule",
            )


class _PassedOver:
    """How many slots have been free since before an idle release: they may be absent, and nobody waits for them."""

    def __init__(self, history: History, n_workers: int) -> None:
        self._releases = [e.number for e in history.deliveries if e.idle]
        self._slots: list[list[Entry]] = [[] for _ in range(n_workers)]
        for e in history.deliveries:
            if e.slot < n_workers:
                self._slots[e.slot].append(e)

    def at(self, delivery: Entry) -> int:
        """Return how many there are when this result is delivered."""
        last = bisect_left(self._releases, delivery.number) - 1
        if last < 0:
            return 0
        release = self._releases[last]
        count = 0
        for entries in self._slots:
            following = bisect_left(entries, delivery.number, key=lambda e: e.number)
            before = entries[following - 1].number if following else -1
            is_taken = following < len(entries) and entries[following].after <= delivery.number
            count += not is_taken and before < release
        return count


# -- budgets, values, identities ---------------------------------------------------------------------------------------


def _budget(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report what is past the budget."""
    n, time, lost = spec.budget.max_evaluations, spec.budget.max_time, 0
    for e in history.deliveries:
        counted = max(e.call, e.number + 1) if spec.budget.counts == "calls" else e.number + 1 - lost
        lost += e.is_lost
        if n is not None and counted > n:
            yield Violation("budget", e.place, f"evaluation {e.number} of call {e.call} with {spec.budget}")
        if time is not None and (e.start >= time or not spec.budget.allows_end(e.end)):
            yield Violation("budget", e.place, f"start={e.start!r} and end={e.end!r} with max_time={time!r}")


def _statuses(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report values that do not go with the status, and losses in a run that ends at the first one."""
    names = [metric_of(one) for one in spec.objectives if metric_of(one) != VALUE]
    for e in history.deliveries:
        value, error = e.record["value"], e.record.get("error")
        if not (math.isfinite(value) if e.status == "ok" else math.isnan(value)):
            yield Violation("status", e.place, f"value={value!r} of an evaluation with the status {e.status}")
        lacking = [name for name in names if not math.isfinite(e.record["metrics"].get(name, math.nan))]
        if lacking and e.status == "ok":
            yield Violation("objectives", e.place, f"no finite {' and '.join(lacking)} in an evaluation of such a run")
        if (error is not None) != (e.status in ("failed", "preempted")):
            yield Violation("status", e.place, f"error={error!r} of an evaluation with the status {e.status}")
        if e.is_lost and not spec.continues_after_death:
            yield Violation("status", e.place, "lost, but this run ends when a worker dies")


def _identities(history: History, spec: RunSpec) -> Iterator[Violation]:
    """Report ids that do not belong to their configuration, and seeds that do not follow from run seed and id."""
    seeds = ObjectiveSeeds(spec.seed)
    first: dict[bytes, Entry] = {}
    others = None if spec.fidelities is None else sorted(spec.fidelities.values.keys() - {spec.fidelities.first})
    for e in history.deliveries:
        config_id, text = e.record["config_id"], e.config_text()
        given = e.record.get("fidelities")
        if (None if given is None else sorted(given)) != others:
            beside = "no such field" if others is None else f"exactly the names {others}"
            yield Violation("fidelities", e.place, f"fidelities={given!r}; the records of this run have {beside}")
        if not e.record.get("named") and digest(text).hex() != config_id:
            yield Violation("identity", e.place, f"config_id={config_id!r} is not the digest of {text}")
        if "seed" in e.record and e.record["seed"] != (seed := seeds.seed(e.identity)):
            yield Violation(
                "seed",
                e.place,
                f"seed={e.record['seed']!r}, but {seed} follows from run seed {spec.seed} and config_id {config_id!r}"
                + ("" if given is None else f" at {given!r}"),
            )
        bound = first.setdefault(e.identity, e)
        if spec.continual and bound.config_text() != text:
            yield Violation(
                "identity",
                e.place,
                f"config_id={config_id!r} stands for {text}, in evaluation {bound.number} for {bound.config_text()}",
            )
