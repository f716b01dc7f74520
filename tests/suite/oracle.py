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
