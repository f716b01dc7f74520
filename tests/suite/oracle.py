"""An independent, slow and obvious simulation of P asynchronous workers, written from the design and from no code of
suite.

It steps through time with plain lists: whoever is free at the earliest moment samples, then the earliest end is
delivered.
"""

from __future__ import annotations

import hashlib
import json
import math


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


class NothingWillComeError(Exception):
    """The optimizer waits for a result, and no evaluation is in flight."""


def conversation(script, lengths, n_workers, overhead, told, **limits):  # noqa: C901, PLR0915 - obvious, and in one piece
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
    running, free, trained, deliveries, known = [], [0.0] * n_workers, {}, [], []
    n_started, news, sampler_stops = 0, 0.0, 0.0
    talking, dropped = True, False

    def report():
        nonlocal news
        job = min(running, key=lambda j: (j["end"], j["start"], j["id"], j["place"], j["freed"], j["number"]))
        running.remove(job)
        news = job["end"]
        free.append(news)
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
            if not free or not script or n_started >= most or news >= latest:
                talking = bool(script) and n_started < most and news < latest
                break
            known.append(len(deliveries))
            entry = script.pop(0)
            if entry is None:
                if not running and not dropped:
                    raise NothingWillComeError
                break
            config, fidelity = entry
            seconds = overhead(len(deliveries))
            start = (sampler_stops if serial and sampler_stops > news else news) + seconds
            freed = free[0]
            del free[0]
            if start >= latest:
                dropped = True
                continue
            sampler_stops = start
            n_started += 1
            scratch, failed = lengths(config, fidelity)
            length = math.inf if fidelity is None else fidelity
            job = {
                "number": n_started, "config": config, "fidelity": fidelity, "start": start, "freed": freed,
                "overhead": seconds, "id": identity(config), "scratch": scratch, "failed": failed, "resumed": None,
                "length": length, "place": -math.inf if fidelity is None else fidelity,
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
            running.append(job)
        if not running or min(job["end"] for job in running) > latest:
            return deliveries, known
        report()
