"""An independent, slow and obvious simulation of P asynchronous workers, written from the design and from no code of
suite.

It steps through time with plain lists: whoever is free at the earliest moment samples, then the earliest end is
delivered.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from statistics import NormalDist

import numpy as np


def identity(config):
    return hashlib.blake2b(
        json.dumps(config, sort_keys=True, separators=(",", ":")).encode(), digest_size=16
    ).hexdigest()


def timeline(configs, runtimes, n_workers, overhead, sampling="serial", max_time=math.inf):
    """Return the deliveries, each a dictionary; the k-th asked configuration is configs[k] with runtimes[k]."""
    workers = [{"number": k, "freed": 0.0, "job": None} for k in range(n_workers)]
    told = 0
    sampler_free_at = 0.0
    todo = list(range(len(configs)))
    deliveries = []
    now = 0.0
    retired = set()
    while True:
        # Everybody who is free asks, one after the other: who has been free longest first.
        for worker in sorted(
            (w for w in workers if w["job"] is None and w["number"] not in retired),
            key=lambda w: (w["freed"], w["number"]),
        ):
            if not todo:
                break
            if now >= max_time:
                break
            cost = overhead(told)
            begin = max(now, sampler_free_at) if sampling == "serial" else now
            start = begin + cost
            if start >= max_time:
                retired.add(worker["number"])
                todo.pop(0)
                continue
            sampler_free_at = start
            k = todo.pop(0)
            worker["job"] = {
                "k": k,
                "freed": worker["freed"],
                "start": start,
                "end": start + runtimes[k],
                "id": identity(configs[k]),
                "overhead": cost,
            }
        busy = [w for w in workers if w["job"] is not None]
        if not busy:
            return deliveries
        first = min(
            busy,
            key=lambda w: (
                w["job"]["end"],
                w["job"]["start"],
                w["job"]["id"],
                w["job"]["freed"],
                w["job"]["k"],
            ),
        )
        job, first["job"] = first["job"], None
        if job["end"] > max_time:
            return deliveries
        now = first["freed"] = job["end"]
        told += 1
        deliveries.append(job)


class NobodyIsLeftError(Exception):
    """All machines have gone before the end of the run."""


class NothingWillComeError(Exception):
    """The optimizer waits for a result, and no evaluation is in flight."""


def conversation(script, lengths, n_workers, overhead, told, **limits):  # noqa: C901, PLR0912, PLR0915 - obvious, and in one piece
    """Return the deliveries of an optimizer that is asked and told, and how many results it knew at each ask.

    The script's entries are configurations, or None where the optimizer has nothing until another result arrives.
    `lengths(config, fidelity)` is a training from scratch and whether it fails. `told="turn"`: one result at a time is
    told and every free worker served; `"arrival"`: before each ask, all that has ended while the last one was answered.
    """
    serial = limits.get("sampling", "serial") == "serial"
    latest = limits.get("max_time") or math.inf
    most = limits.get("max_evaluations") or math.inf
    continual = limits.get("continual", False)
    script = list(script)
    cluster = limits.get("cluster")
    coming = sorted((cluster.comes(k) if cluster else 0.0, k) for k in range(n_workers))
    running, free, trained, deliveries, known = [], [one for one in coming if one[0] == 0], {}, [], []
    coming = [one for one in coming if one[0] > 0]
    silent, gone = False, 0
    n_started, news, sampler_stops = 0, 0.0, 0.0
    talking, dropped = True, False

    def report():
        nonlocal news, silent, gone
        job = min(running, key=lambda j: (j["end"], j["start"], j["id"], j["place"], j["freed"], j["number"]))
        running.remove(job)
        news = job["end"]
        silent = False
        while coming and coming[0][0] <= news:
            free.append(coming.pop(0))
        if job.get("left"):
            gone += 1
        else:
            free.append((news, job["worker"]))
        deliveries.append(job)
        if continual and not job["failed"]:
            trained.setdefault(job["id"], []).append((job["length"], news, job["scratch"]))

    def ended_by(moment):
        return [job for job in running if job["end"] <= moment and job["end"] <= latest]

    while True:
        while talking:
            if told == "arrival" and serial:
                while ended_by(sampler_stops):
                    report()
            if not free:
                break
            if not script or n_started >= most or news >= latest:
                talking = False
                break
            known.append(len(deliveries))
            entry = script.pop(0)
            if entry is None:
                silent = True
                if not running and not dropped:
                    raise NothingWillComeError
                break
            config, fidelity = entry
            seconds = overhead(len(deliveries))
            start = (sampler_stops if serial and sampler_stops > news else news) + seconds
            if cluster:
                free.sort()
            freed, worker = free[0]
            del free[0]
            if start >= latest or (cluster and start >= cluster.goes(worker)):
                dropped = True
                gone += 1
                continue
            sampler_stops = start
            n_started += 1
            scratch, failed = lengths(config, fidelity)
            length = math.inf if fidelity is None else fidelity
            job = {
                "number": n_started, "config": config, "fidelity": fidelity, "start": start, "freed": freed,
                "overhead": seconds, "id": identity(config), "scratch": scratch, "failed": failed, "resumed": None,
                "length": length, "worker": worker, "place": -math.inf if fidelity is None else fidelity,
            }  # fmt: skip
            charged = scratch
            if continual:
                before = [s for s in trained.get(job["id"], []) if s[0] < length and s[1] <= start]
                if before:
                    state = min(before, key=lambda s: (-s[0], s[1], s[2]))
                    trained[job["id"]].remove(state)
                    job["resumed"] = state[0]
                    charged = scratch if failed else max(0.0, scratch - state[2])
            job["runtime"] = charged
            job["end"] = start + charged
            if cluster:
                job.update(cluster.stay(worker, start, charged, job["id"], length, failed))
                job["failed"] = job["status"] != "ok"
            running.append(job)
        nearest = min((job["end"] for job in running), default=math.inf)
        if talking and not silent and coming and coming[0][0] <= nearest and coming[0][0] < latest:
            news = max(news, coming[0][0])
            while coming and coming[0][0] <= news:
                free.append(coming.pop(0))
            continue
        if nearest > min(latest, sys.float_info.max):
            last = max(cluster.goes(k) for k in range(n_workers)) if cluster else math.inf
            if talking and gone == n_workers and last < latest and n_started < most and news < latest:
                raise NobodyIsLeftError
            return deliveries, known
        report()


class Machines:
    """The machines of an imperfect cluster, described by plain data: what they draw, and how long they are busy."""

    def __init__(self, description, run_seed):
        self.description = description
        words = np.random.SeedSequence([3, run_seed % 2**32, run_seed // 2**32]).generate_state(8)
        self.key = b"".join(int(word).to_bytes(4, "little") for word in words)

    def numbers(self, condition, message):
        digest = hashlib.blake2b(message, key=self.key, person=condition, digest_size=64).digest()
        eights = [int.from_bytes(digest[k : k + 8], "little") for k in range(0, 64, 8)]
        return [(eight // 2**12 * 2 + 1) / 2**53 for eight in eights]

    def speed(self, machine):
        speeds = self.description.get("speeds", [1.0])
        if isinstance(speeds, list):
            return speeds[machine % len(speeds)]
        u = self.numbers(b"speed", struct.pack("<2q", machine, 0))[0]
        return math.exp(speeds["lognormal"] * NormalDist().inv_cdf(u))

    def comes(self, machine):
        return dict(enumerate(self.description.get("arrivals", []))).get(machine, 0.0)

    def goes(self, machine):
        time = dict(enumerate(self.description.get("departures", []))).get(machine)
        return math.inf if time is None else time

    def slowness(self, identity, length):
        how = self.description.get("stragglers", {})
        u = self.numbers(b"evaluation", bytes.fromhex(identity) + struct.pack("<dq", length, 1))[0]
        if "half_normal" in how:
            return 1.0 + how["half_normal"] * abs(NormalDist().inv_cdf(u / 2))
        return math.exp(how["lognormal"] * NormalDist().inv_cdf(u)) if how else 1.0

    def breaking_point(self, identity, length, attempt, needed):
        how = self.description.get("failures", {})
        _, u, v = self.numbers(b"evaluation", bytes.fromhex(identity) + struct.pack("<dq", length, attempt))[:3]
        if "rate" in how:
            return -math.log(u) / how["rate"]
        return needed * v if u < how.get("probability", 0) else math.inf

    def absences(self, machine):
        how = self.description.get("preemptions", [])
        if isinstance(how, list):
            yield from sorted((away, back) for number, away, back in how if number == machine)
        else:
            time, k = 0.0, 0
            while not time >= self.goes(machine):
                numbers = self.numbers(b"outage", struct.pack("<2q", machine, k))
                for up, down in zip(numbers[::2], numbers[1::2], strict=True):
                    away = time - math.log(up) / how["rate"]
                    time = away - math.log(down) / how["back"]
                    yield away, time
                    k += 1
        while True:
            yield math.inf, math.inf

    def stay(self, machine, start, seconds, identity, length, failed):
        """Walk through the machine's absences and attempts one after the other."""
        needed = seconds * self.slowness(identity, length) / self.speed(machine)
        end_of_the_world = self.goes(machine)
        absences = (
            (away, back if back < end_of_the_world else math.inf) if away < end_of_the_world else
            (end_of_the_world, math.inf) for away, back in self.absences(machine)
        )  # fmt: skip
        away, back = next(absences)
        time = start
        for attempt in range(1, 2 + self.description.get("retries", 0)):
            while back <= time:
                away, back = next(absences)
            if away <= time:  # it waits for its machine
                time = back
                away, back = next(absences)
            if time == math.inf:
                ended = "preempted"
                break
            breaks = self.breaking_point(identity, length, attempt, needed)
            left = min(needed, breaks)
            while self.description.get("checkpoints") and time + left > away and back < math.inf:
                left -= away - time
                time = back
                away, back = next(absences)
            if time + left > away:
                time, ended = back, "preempted"
            else:
                time, ended = time + left, "failed" if breaks < needed else "ok"
            if ended == "ok" or time == math.inf:
                break
        time = min(time, end_of_the_world)
        quiet = attempt == 1 and ended == "ok" and time == start + needed
        lost = (0.0 if quiet else max(0.0, time - start - needed)) if ended == "ok" else time - start
        return {
            "end": time, "runtime": needed if quiet else time - start, "attempt": attempt, "lost": lost,
            "left": ended != "ok" and time >= end_of_the_world,
            "status": "failed" if ended == "ok" and failed else ended,
        }  # fmt: skip
