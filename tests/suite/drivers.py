"""Ways of driving the simulators that the tests share."""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from zerowait import suite
from zerowait.suite import Evaluation, Query, Simulator, simulate
from zerowait.suite.rules.errors import BudgetExhausted
from zerowait.suite.sharing.locks import HAS_BYTE_LOCKS
from zerowait.suite.sharing.system import HAS_PROC

PLACES = {"one host": False, "several hosts": True} if HAS_BYTE_LOCKS else {"several hosts": True}
"""`shared_directory` of the ways to share a run that this system has."""
needs_one_host = pytest.mark.skipif(not HAS_BYTE_LOCKS, reason="a run of one host has no files of its own here")

needs_waits = pytest.mark.skipif(
    not HAS_PROC, reason="only /proc tells who waits for a core; elsewhere a busy machine decides"
)


def environment(**more):
    """The environment in which a new interpreter finds this zerowait, beside what this one was given."""
    path = [str(Path(suite.__file__).parents[2]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **more}


@dataclass(frozen=True)
class Lookup:
    """An objective that reads the runtime from a list; the configuration holds the index."""

    runtimes: tuple[float, ...]

    def __call__(self, config):
        return Evaluation(float(config["x"]), self.runtimes[config["x"]])


class Scripted:
    """An ask-and-tell optimizer that asks for given configurations."""

    def __init__(self, configs):
        self.queries = iter([c if isinstance(c, Query) else Query(c) for c in configs])
        self.told = []

    def ask(self):
        return next(self.queries)

    def tell(self, query, evaluation):
        self.told.append((query, evaluation))


def in_one_process(configs, objective, **specification):
    return simulate(Scripted(configs), objective, **specification)


def with_threads(configs, objective, *, n_workers, directory=None, **specification):
    """Drive a Simulator with one thread a worker; worker k + 1 starts once worker k has made its first call."""
    todo, taking, errors = iter(configs), threading.Lock(), []

    def work(simulator):
        try:
            while True:
                with taking:
                    config = next(todo, None)
                if config is None:
                    return
                query = config if isinstance(config, Query) else Query(config)
                simulator(query.config, query.fidelity, query.config_id)
        except BudgetExhausted:
            return
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    with Simulator(objective, n_workers=n_workers, directory=directory, **specification) as simulator:
        threads = [threading.Thread(target=work, args=(simulator,)) for _ in range(n_workers)]
        for k, thread in enumerate(threads):
            thread.start()
            simulator.wait_started(min(k + 1, len(configs)))
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return simulator.trace()


_simulators = {}


def _call(simulator, config):
    query = config if isinstance(config, Query) else Query(config)
    try:
        return simulator(query.config, query.fidelity, query.config_id)
    except BudgetExhausted:
        return None


def with_pool(configs, objective, *, n_workers, directory=None, pool=None, **specification):
    """Drive a Simulator with a multiprocessing.Pool of at least n_workers processes, staggered like the threads."""
    own = multiprocessing.get_context("fork").Pool(n_workers) if pool is None else pool
    try:
        with Simulator(objective, n_workers=n_workers, directory=directory, **specification) as simulator:
            pending = []
            for k, config in enumerate(configs[:n_workers]):
                pending.append(own.apply_async(_call, (simulator, config)))
                simulator.wait_started(min(k + 1, len(configs)))
            pending += [own.apply_async(_call, (simulator, config)) for config in configs[n_workers:]]
            for result in pending:
                result.get(timeout=300)
            return simulator.trace()
    finally:
        if pool is None:
            own.close()
            own.join()
