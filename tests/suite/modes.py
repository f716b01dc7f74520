"""The four ways to run the same queries: ask-and-tell and an executor in one process, threads, and processes.

What a Simulator leaves in its directory is checked after every run.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import tempfile
import threading

from zerowait import SimulatedExecutor
from zerowait.suite import Query, Simulator, simulate
from zerowait.suite.records.check import check, render
from zerowait.suite.rules.errors import BudgetExhausted, ClusterFailure, StalledError


class Diverged(Exception):  # noqa: N818 - what a user's objective raises
    """A failure of the objective that the optimizers of these tests survive."""

    def __init__(self, message="diverged", runtime=None):
        super().__init__(message, runtime)
        if runtime is not None:
            self.runtime = runtime


SURVIVED = (Diverged, ClusterFailure)


class Scripted:
    """An ask-and-tell optimizer that asks for given queries and survives failures."""

    def __init__(self, queries):
        self.queries = iter(queries)

    def ask(self):
        return next(self.queries)

    def tell(self, query, evaluation):
        pass

    def tell_failure(self, _query, error):
        if not isinstance(error, SURVIVED):
            raise error


def call(simulator, query):
    """Make one call and survive a failure of the objective; return whether the run takes more."""
    with contextlib.suppress(Diverged):
        try:
            simulator(query.config, query.fidelity, query.config_id)
        except BudgetExhausted:
            return False
        except ClusterFailure as error:
            return not error.worker_left
    return True


def ask_and_tell(queries, objective, *, directory=None, **specification):
    return simulate(Scripted(queries), objective, directory=directory, **specification)


def executor(queries, objective, *, n_workers, directory=None, **specification):
    """Keep as many futures of a SimulatedExecutor in flight as there are workers; who is refused gets no more."""
    todo, running = iter(queries), set()

    def submit_next():
        query = next(todo, None)
        if query is not None:
            running.add(workers.submit(workers.objective, query.config, query.fidelity, query.config_id))

    with SimulatedExecutor(objective, n_workers=n_workers, directory=directory, **specification) as workers:
        for _ in range(n_workers):
            submit_next()
        while running:
            done, running = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                with contextlib.suppress(BudgetExhausted):
                    with contextlib.suppress(*SURVIVED):
                        future.result()
                    submit_next()
    return workers.trace()


def wait_unless_refused(simulator, n, refused):
    """Wait until n calls have got a slot; a call that is refused before it gets one never does."""
    while not refused():
        try:
            simulator.wait_started(n, timeout=0.2, arrivals=True)
        except StalledError:
            continue
        return


def threads(queries, objective, *, n_workers, directory=None, **specification):
    """Drive a Simulator with one thread a worker; worker k + 1 starts once worker k has made its first call."""
    todo, taking, errors = iter(queries), threading.Lock(), []

    def work(simulator):
        try:
            while True:
                with taking:
                    query = next(todo, None)
                if query is None or not call(simulator, query):
                    return
        except Exception as error:  # noqa: BLE001 - raised by the test's own thread
            errors.append(error)

    with _simulator(objective, directory, n_workers=n_workers, **specification) as simulator:
        crew = [threading.Thread(target=work, args=(simulator,)) for _ in range(n_workers)]
        for k, thread in enumerate(crew):
            thread.start()
            wait_unless_refused(simulator, min(k + 1, len(queries)), lambda: bool(errors))
        for thread in crew:
            thread.join()
        if errors:
            raise errors[0]
        return simulator.trace()


def processes(queries, objective, *, n_workers, directory=None, **specification):
    """Drive a Simulator with a pool of processes, staggered like the threads."""
    with (
        multiprocessing.get_context("fork").Pool(n_workers) as pool,
        _simulator(objective, directory, n_workers=n_workers, **specification) as simulator,
    ):
        pending = []
        for k, query in enumerate(queries[:n_workers]):
            pending.append(pool.apply_async(call, (simulator, query)))
            wait_unless_refused(simulator, min(k + 1, len(queries)), pending[-1].ready)
        pending += [pool.apply_async(call, (simulator, query)) for query in queries[n_workers:]]
        for result in pending:
            result.get(timeout=300)
        return simulator.trace()


@contextlib.contextmanager
def _simulator(objective, directory, **specification):
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if directory is None else directory
        with Simulator(objective, directory=folder, **specification) as simulator:
            yield simulator
        report = check(folder)
        assert report.ok, "\n".join(render(report))


MODES = {"ask and tell": ask_and_tell, "executor": executor, "threads": threads, "processes": processes}


def queries(*asked):
    """Return queries from (x, fidelity) or (x, fidelity, id)."""
    return [Query({"x": x}, fidelity, *given) for x, fidelity, *given in asked]
