"""How long an evaluation occupies its worker: the draws of a cluster, and what follows from them.

`Workers.occupy` is a pure function of the start, the runtime, the worker and the configuration: everything else that
simulated time promises (the order of delivery, budgets, continued evaluations) rests on its end alone.

The draws are no stream that somebody could get ahead in. Each is a hash of what it is drawn for, under a key that
`numpy.random.SeedSequence` makes of the run seed: BLAKE2b with a key is a pseudorandom function, whose values for
different inputs cannot be told from independent uniform ones. A generator for each evaluation would take ten times as
long.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, TypeAlias

from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.continuation import training_length
from zerowait.suite.rules.errors import ClusterFailure, NoWorkersLeftError
from zerowait.suite.rules.evaluation import LONGEST
from zerowait.suite.rules.seeds import cluster_key

Ended: TypeAlias = Literal["ok", "failed", "preempted"]

MOST_OUTAGES = 1_000_000
"""So many outages of a worker are drawn at most; a run of more would take gigabytes and hours."""
_ABOUT_AN_EVALUATION = struct.Struct("<16sdq")
_ABOUT_A_WORKER = struct.Struct("<qq")
_WORDS = struct.Struct("<8Q")
_NEVER = (math.inf, -math.inf)
_standard_normal = NormalDist().inv_cdf


class Occupation(NamedTuple):
    """What becomes of an evaluation on its worker."""

    end: float
    """Simulated time at which the worker is done with it, in seconds."""
    charged: float
    """Seconds from its start to its end; a start and this give the end to the last bit where nothing went wrong."""
    ended: Ended
    """How the last attempt ended."""
    attempts: int
    """How many attempts there were."""
    lost: float
    """Seconds of them that came to nothing: failed attempts, and the time for which its worker was away."""


class Draws:
    """The uniform numbers of one kind in one run.

    Parameters
    ----------
    key
        See `zerowait.suite.rules.seeds.cluster_key`.
    kind
        What they are drawn for: those of different kinds are independent.
    """

    def __init__(self, key: bytes, kind: str) -> None:
        self._keyed = hashlib.blake2b(key=key, person=kind.encode(), digest_size=_WORDS.size)

    def words(self, about: bytes) -> tuple[int, ...]:
        """Return eight independent words of 64 bits, which are the same for the same bytes."""
        state = self._keyed.copy()
        state.update(about)
        return _WORDS.unpack(state.digest())


def uniform(word: int) -> float:
    """Return the number above 0 and below 1 that a word stands for."""
    # 52 bits and a half of the last one: neither end can be hit, and every number is a float as it stands.
    return ((word >> 12) + 0.5) * 2.0**-52


class Workers:
    """The workers of one run as its cluster has them.

    Parameters
    ----------
    cluster
        What they are like; checked for this number of workers.
    run_seed
        The seed of the run.
    """

    def __init__(self, cluster: Cluster, run_seed: int) -> None:
        key = cluster_key(run_seed)
        self.cluster = cluster
        self._run_seed = run_seed
        self.draws_for_evaluations = cluster.stragglers is not None or cluster.failures is not None
        """Whether the identity of an evaluation decides anything."""
        self._has_troubles = any(
            condition is not None for condition in (cluster.failures, cluster.preemptions, cluster.departures)
        )
        # Each condition has numbers of its own among those of an evaluation: a straggler the first, a failure two more.
        self._of_evaluations = Draws(key, "evaluation")
        self._of_speeds = Draws(key, "speed")
        self._of_outages = Draws(key, "outage")
        self._fails = cluster.failures is not None
        failures = cluster.failures or {}
        self._rate, self._probability = failures.get("rate"), failures.get("probability", 0.0)
        stragglers = cluster.stragglers or {}
        self._half_normal, self._lognormal = stragglers.get("half_normal"), stragglers.get("lognormal")
        self._there: dict[int, tuple[float, float]] = {}
        """From when to when a worker was there when it was looked at last."""
        self._away: dict[int, tuple[list[float], list[float]]] = {}
        if cluster.preemptions is not None and not isinstance(cluster.preemptions, Mapping):
            for worker, away, back in cluster.preemptions:
                outages = self._away.setdefault(int(worker), ([], []))
                outages[0].append(away)
                outages[1].append(back)
        self._speeds: dict[int, float] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # a hash has no pickle, and everything follows from these two
        return Workers, (self.cluster, self._run_seed)

    def has_left(self, worker: int, time: float) -> bool:
        """Tell whether a worker can begin nothing at that time, nor later."""
        return time >= self.cluster.departure(worker)

    def nobody_left(self, n_workers: int, latest: float) -> NoWorkersLeftError | None:
        """Return the error of a run whose workers can all begin nothing more, or None if it ends at `latest` before."""
        last = max(self.cluster.departure(worker) for worker in range(n_workers))
        if last >= latest:
            return None
        return NoWorkersLeftError(
            f"all {n_workers} workers have left by {last!r} s, and the budget is not spent; give a max_time before "
            "that, or departures with None for workers that stay"
        )

    def speed(self, worker: int) -> float:
        """Return how many seconds of training a worker does in a simulated second."""
        found = self._speeds.get(worker)
        if found is None:
            speeds = self.cluster.speeds
            if speeds is None:
                found = 1.0
            elif not isinstance(speeds, Mapping):
                found = speeds[worker % len(speeds)]
            else:
                u = uniform(self._of_speeds.words(_ABOUT_A_WORKER.pack(worker, 0))[0])
                found = math.exp(speeds["lognormal"] * _standard_normal(u))
            self._speeds[worker] = found
        return found

    def speeds(self, workers: Iterable[float]) -> list[float]:
        """Return the speeds of many workers."""
        return [self.speed(int(worker)) for worker in workers]

    def occupy(
        self, worker: int, start: float, runtime: float, digest: bytes, fidelity: float | None
    ) -> tuple[float, float, Ended, int, float]:
        """Return what becomes of an evaluation of so many seconds that its worker is given at `start`: an `Occupation`.

        `digest` is the 16-byte identity of its configuration.

        Raises
        ------
        NoWorkersLeftError
            Its worker is away so often that nobody can wait for its end.
        """
        # In plain tuples and without further calls where nothing goes wrong: this is what ask-and-tell pays for.
        seconds, breaks = runtime, math.inf
        if self.draws_for_evaluations:
            length = math.inf if fidelity is None else fidelity
            words = self._of_evaluations.words(_ABOUT_AN_EVALUATION.pack(digest, length, 1))
            if self._half_normal is not None:
                seconds *= 1.0 - self._half_normal * _standard_normal(uniform(words[0]) / 2.0)  # the lower half: -|z|
            elif self._lognormal is not None:
                seconds *= math.exp(self._lognormal * _standard_normal(uniform(words[0])))
        seconds /= self._speeds.get(worker) or self.speed(worker)
        if seconds > LONGEST:  # noqa: PLR1730 - a call of min takes longer than all of this line
            seconds = LONGEST
        end = start + seconds
        if not self._has_troubles:
            return end, seconds, "ok", 1, 0.0
        if self._fails:
            breaks = self._breaks_after(words, seconds)
        since, until = self._there.get(worker, _NEVER)
        if breaks >= seconds and since <= start < until and end <= until:
            return end, seconds, "ok", 1, 0.0
        return self._through_troubles(worker, start, seconds, breaks, digest, fidelity)

    def _through_troubles(
        self, worker: int, start: float, seconds: float, breaks: float, digest: bytes, fidelity: float | None
    ) -> tuple[float, float, Ended, int, float]:
        time, most, leaves = start, self.cluster.retries + 1, self.cluster.departure(worker)
        for attempt in range(1, most + 1):
            if attempt > 1 and self._fails:
                about = _ABOUT_AN_EVALUATION.pack(digest, training_length(fidelity), attempt)
                breaks = self._breaks_after(self._of_evaluations.words(about), seconds)
            begin = self._present(worker, time)
            time, is_through = self._run(worker, begin, min(seconds, breaks)) if begin < leaves else (leaves, False)
            if not is_through and time >= leaves:
                return leaves, leaves - start, "preempted", attempt, leaves - start
            if is_through and breaks >= seconds:
                if attempt == 1 and time == start + seconds:
                    return time, seconds, "ok", 1, 0.0
                return time, time - start, "ok", attempt, max(0.0, time - start - seconds)
        return time, time - start, "failed" if is_through else "preempted", most, time - start

    def _run(self, worker: int, begin: float, seconds: float) -> tuple[float, bool]:
        """Return when so many seconds have been run, and True; or when the worker is back that lost them, and False."""
        while True:
            away, back = self._next_outage(worker, begin)
            if begin + seconds <= away:
                return begin + seconds, True
            if not self.cluster.checkpoints or back == math.inf:
                return back, False
            seconds -= away - begin
            begin = back

    def _breaks_after(self, words: tuple[int, ...], seconds: float) -> float:
        """Return for how many seconds an attempt runs until it fails; more than it needs if it does not."""
        u = uniform(words[1])
        if self._rate is not None:
            return -math.log(u) / self._rate
        return uniform(words[2]) * seconds if u < self._probability else math.inf

    # -- outages -----------------------------------------------------------------------------------------------------

    def _present(self, worker: int, time: float) -> float:
        """Return the earliest time from then on at which the worker is there: until it is away, and from its return."""
        away, back = self._outages(worker, time)
        k = bisect_right(away, time) - 1
        return back[k] if k >= 0 and time < back[k] else time

    def _next_outage(self, worker: int, time: float) -> tuple[float, float]:
        """Return from when to when a worker is away next that is there at that time; infinity if never."""
        away, back = self._outages(worker, time)
        k = bisect_left(away, time)
        found = (away[k], back[k]) if k < len(away) else (math.inf, math.inf)
        leaves = self.cluster.departure(worker)
        if found[1] >= leaves:
            found = min(found[0], leaves), math.inf
        self._there[worker] = time, found[0]
        return found

    def _outages(self, worker: int, time: float) -> tuple[list[float], list[float]]:
        """Return from when and to when a worker is away, as far as its first outage after that time."""
        rates = self.cluster.preemptions
        if not isinstance(rates, Mapping):
            return self._away.get(worker, ([], []))
        away, back = self._away.setdefault(worker, ([], []))
        while not away or away[-1] < time:
            self._draw_outages(worker, away, back, rates)
        return away, back

    def _draw_outages(self, worker: int, away: list[float], back: list[float], rates: Mapping[str, float]) -> None:
        if len(away) >= MOST_OUTAGES:
            raise NoWorkersLeftError(
                f"worker {worker} was preempted {len(away)} times by {back[-1]!r} s, and nobody can wait for what it "
                f"runs; preemptions.rate is {rates['rate']!r} a second and preemptions.back {rates['back']!r}: take a "
                "lower rate, or a budget that ends before"
            )
        words = self._of_outages.words(_ABOUT_A_WORKER.pack(worker, len(away)))
        for leaves, returns in zip(words[::2], words[1::2], strict=True):
            away.append((back[-1] if back else 0.0) - math.log(uniform(leaves)) / rates["rate"])
            back.append(away[-1] - math.log(uniform(returns)) / rates["back"])


def workers_of(specification: Mapping[str, Any]) -> Workers | None:
    """Return the workers in a run's specification, or None when it names no cluster.

    Raises
    ------
    SpecificationError
        What it names is no cluster for so many workers.
    """
    if "cluster" not in specification:
        return None
    cluster = Cluster.from_json(specification["cluster"]).for_workers(specification["n_workers"])
    return None if cluster is None else Workers(cluster, specification["seed"])


def failure(workers: Workers, worker: int, end: float, ended: Ended, attempts: int) -> ClusterFailure:
    """Return the error of an evaluation that the cluster failed."""
    left = workers.has_left(worker, end)
    what = "failed" if ended == "failed" else "was lost when it left" if left else "was preempted"
    error = ClusterFailure(f"attempt {attempts} on worker {worker} {what}, which is known at {end!r} s")
    error.worker_left = left
    return error
