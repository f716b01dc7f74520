"""HpBandSter's own parallel machinery: a nameserver, P worker processes and a master, all on the loopback interface.

From the source of HpBandSter 0.7.4 and Pyro4 4.82, and what follows from it here:

* The master samples in one thread, `new_result` fits the model in the thread of a result, and both draw from NumPy's
  global generator. After start-up the simulator delivers one result at a time and the next one only when the freed
  worker has called again, so these threads take turns: register, sample, dispatch. That is ask-and-tell.
* `idle_workers` is a set of names with process ids in them: which of the first P workers gets which job is chance, and
  so is who calls first. `Staggered` submits a job only when the calls of all earlier ones have claimed a slot. Later
  only one worker is idle. Slots do not depend on names, so traces do not either.
* A round of discovery marks every worker as idle that is not busy *yet*, one to which a job is on its way included;
  that worker then gets two jobs and another one none. Rounds happen every `ping_interval` seconds, when a worker
  starts and while the master waits for workers. So workers register before there is a dispatcher, whose first round
  finds all of them, and there is no second one.
* A job travels as a one-way call. What goes wrong in such a call, or in a thread, is logged at best: `_Alarm` ends the
  run with it. All that travels is numbers, and nothing that arrives is unpickled (the serializer is serpent).
* Pyro serves 40 connections at a time by default and turns others away: P workers need more when P is large.
* `Master.run` ends with its brackets and knows no budget, so there are more brackets than any budget needs. A worker
  whose call is refused keeps its job for ever, so it gets no other one, and the others go on until each of them is
  refused. What still waits then (threads, worker processes, sockets) ends with the process group of the run.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import numpy as np
import Pyro4  # type: ignore[import-untyped]
from hpbandster.core.master import Master  # type: ignore[import-untyped]
from hpbandster.core.nameserver import NameServer  # type: ignore[import-untyped]
from hpbandster.core.worker import Worker  # type: ignore[import-untyped]

from zerowait.adapters.hpbandster.asktell import name_of
from zerowait.adapters.hpbandster.optimizers import SILENT, make_optimizer, seeds
from zerowait.adapters.start_up import LONGEST_START, wait_for_calls
from zerowait.suite.rules.errors import BudgetExhausted, StalledError, WorkerDied, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.process import BaseProcess

    from zerowait.adapters.hpbandster.space import HpBandSterSpace
    from zerowait.suite.simulator import Simulator

LOOPBACK = "127.0.0.1"
NEVER = 10**8
"""Seconds between two rounds of discovery, three years."""
LONGEST_SILENCE = 120.0
"""Real seconds without an evaluation in flight after which a message of HpBandSter must have been lost."""
_RUN_ID = "zerowait"  # every run has a nameserver of its own
_LOOK_AGAIN = 0.01


def optimize_in_processes(
    name: str,
    settings: Mapping[str, Any],
    space: HpBandSterSpace,
    fidelity_of: Callable[[float], float],
    simulator: Simulator,
    *,
    n_workers: int,
    seed: int,
) -> None:
    """Run an optimizer of HpBandSter with `n_workers` processes until the simulator's budget is spent.

    To be called in a process of its own, which ends soon after the call returns or raises: threads and processes of
    HpBandSter are left waiting, and the global states of NumPy's generator, Pyro and logging are changed.

    Parameters
    ----------
    name, settings, space, seed
        As for `make_optimizer`.
    fidelity_of
        Translates HpBandSter's budgets.
    simulator
        Evaluates.
    n_workers
        As many processes, at most as many as there are evaluations.

    Raises
    ------
    WorkerDied
        One of the processes has ended.
    StalledError
        The workers have not started in time, or HpBandSter has lost a message.
    ZerowaitError
        What a call of the simulator raised, except that the budget is spent.
    Exception
        What HpBandSter raised.
    """
    _prepare_process(n_workers, seed)
    # Workers are forked first, while this process has one thread.
    staff = [_start_worker(simulator, space, fidelity_of) for _ in range(n_workers)]
    alarm = _Alarm()
    nameserver = NameServer(_RUN_ID, host=LOOPBACK, port=0)  # shuts down when nobody refers to it any more
    port = nameserver.start()[1]
    _wait_for_registrations(nameserver, staff)
    master = make_optimizer(
        name, Staggered, space.space, seed, settings, simulator=simulator, n_workers=n_workers, nameserver_port=port
    )
    threading.Thread(target=master.run_for_ever, daemon=True).start()
    _watch(staff, alarm, master, simulator)


class Staggered(Master):  # type: ignore[misc]  # HpBandSter has no types
    """A master on the loopback interface whose first jobs start one after the other.

    Parameters
    ----------
    config_generator
        As for `Master`.
    simulator
        Knows how many calls have been made.
    n_workers
        How many workers have registered.
    nameserver_port
        Where.
    """

    def __init__(self, config_generator: Any, *, simulator: Simulator, n_workers: int, nameserver_port: int) -> None:
        self._simulator = simulator
        self._n_workers = n_workers
        self._submitted = 0
        self.refused = threading.Event()
        """Set when a call has been refused: those that are missing then may never come."""
        super().__init__(
            _RUN_ID,
            config_generator,
            working_directory=str(simulator.directory),  # given to workers; nothing is written
            ping_interval=NEVER,
            nameserver=LOOPBACK,
            nameserver_port=nameserver_port,
            host=LOOPBACK,
            logger=SILENT,
        )

    def run_for_ever(self) -> None:
        """Run, once the first and only round of discovery has found all workers."""
        with self.thread_cond:
            found = self.thread_cond.wait_for(lambda: self.job_queue_sizes[1] >= self._n_workers, LONGEST_START)
        if not found:
            raise StalledError(
                f"HpBandSter's dispatcher has found {self.dispatcher.number_of_workers()} of {self._n_workers} workers "
                f"after {LONGEST_START} s"
            )
        self._simulator.start()
        self.run(n_iterations=sys.maxsize, min_n_workers=self._n_workers, iteration_kwargs={"logger": SILENT})

    def _submit_job(self, config_id: Any, config: Any, budget: float) -> None:
        super()._submit_job(config_id, config, budget)
        self._submitted += 1
        if self._submitted < self._n_workers:
            wait_for_calls(self._simulator, self._submitted, given_up=self.refused.is_set)


class SimulatedWorker(Worker):  # type: ignore[misc]  # HpBandSter has no types
    """A worker whose training is a call of the simulator.

    Parameters
    ----------
    report
        Told why this worker has stopped: None when the budget is spent, else the error that ends the run.
    """

    def __init__(
        self,
        simulator: Simulator,
        space: HpBandSterSpace,
        fidelity_of: Callable[[float], float],
        report: Callable[[Exception | None], None],
        nameserver_port: int,
    ) -> None:
        super().__init__(_RUN_ID, nameserver=LOOPBACK, nameserver_port=nameserver_port, host=LOOPBACK, logger=SILENT)
        self._simulator = simulator
        self._space = space
        self._fidelity_of = fidelity_of
        self._report = report

    def compute(
        self,
        config_id: Any,
        config: Mapping[str, Any],
        budget: float,
        working_directory: str,  # noqa: ARG002 - HpBandSter's interface
    ) -> dict[str, Any]:
        """Return the loss; an exception of the objective is HpBandSter's to handle, any other one ends the run."""
        try:
            evaluation = self._simulator(
                self._space.decode(config), fidelity=self._fidelity_of(budget), config_id=name_of(config_id)
            )
        except BudgetExhausted:
            self._report(None)
        except ZerowaitError as error:
            self._report(error)
        else:
            return {"loss": evaluation.value, "info": {}}
        threading.Event().wait()
        raise AssertionError("nobody sets this event")


@dataclass(frozen=True, slots=True)
class _Member:
    """A worker process."""

    process: BaseProcess
    pipe: Connection


class _Alarm:
    """Takes the exceptions of this process's threads to the one that watches the run."""

    def __init__(self) -> None:
        self.rings, self._write_wake_up = multiprocessing.Pipe(duplex=False)
        self.error: BaseException | None = None
        threading.excepthook = self._raise_it_there

    def _raise_it_there(self, raised: threading.ExceptHookArgs) -> None:
        if self.error is None:
            self.error = raised.exc_value
            self._write_wake_up.send(None)


def _prepare_process(n_workers: int, seed: int) -> None:
    """Set what is global to this process and to those that are forked from it."""
    np.random.seed(seeds(seed)[1])  # noqa: NPY002 - the generator that HpBandSter draws from
    warnings.simplefilter("ignore")  # as when it is asked and told
    logging.getLogger("hpbandster").setLevel(SILENT.level)
    settings = Pyro4.config
    settings.reset(useenvironment=False)
    settings.HOST = settings.NS_HOST = LOOPBACK
    settings.SERIALIZER, settings.SERIALIZERS_ACCEPTED = "serpent", {"serpent"}
    settings.THREADPOOL_SIZE = max(settings.THREADPOOL_SIZE, 4 * n_workers)


def _start_worker(simulator: Simulator, space: HpBandSterSpace, fidelity_of: Callable[[float], float]) -> _Member:
    pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(theirs, simulator, space, fidelity_of), daemon=True
    )
    process.start()
    theirs.close()
    return _Member(process, pipe)


def _work(
    pipe: Connection, simulator: Simulator, space: HpBandSterSpace, fidelity_of: Callable[[float], float]
) -> None:
    """Be a worker, once the port of the nameserver is known; never returns unless killed."""

    def report(error: Exception | None) -> None:
        pipe.send(None if error is None else _transportable(error))

    SimulatedWorker(simulator, space, fidelity_of, report, pipe.recv()).run()


def _transportable(error: Exception) -> Exception:
    """Return the error, or one with its text if it does not survive pickling."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - pickling runs code of the exception's class, which may raise anything
        return ZerowaitError("\n".join([f"{type(error).__name__}: {error}", *error.__notes__]))
    return error


def _wait_for_registrations(nameserver: NameServer, staff: Sequence[_Member]) -> None:
    """Tell the workers where the nameserver is and wait until all of them are registered."""
    for member in staff:
        member.pipe.send(nameserver.port)
    names = nameserver.pyro_ns.nameserver
    deadline = time.monotonic() + LONGEST_START
    while (registered := len(names.list(prefix=f"hpbandster.run_{_RUN_ID}.worker."))) < len(staff):
        if time.monotonic() > deadline:
            raise StalledError(f"{registered} of {len(staff)} workers have registered after {LONGEST_START} s")
        # Nobody tells when a name is registered, but a process that ends before it is does not go unnoticed.
        wait([member.process.sentinel for member in staff], timeout=_LOOK_AGAIN)
        for member in staff:
            if not member.process.is_alive():
                raise _death(member)


def _watch(staff: Sequence[_Member], alarm: _Alarm, master: Staggered, simulator: Simulator) -> None:
    """Return when the calls of all workers have been refused; raise what ends the run before."""
    at_work = {member.pipe: member for member in staff}
    sentinels = {member.process.sentinel: member for member in staff}
    seen: Mapping[str, Any] = {}
    while at_work:
        ready = wait([alarm.rings, *at_work, *sentinels], timeout=LONGEST_SILENCE)
        if not ready:
            progress = simulator.progress()
            if progress["started"] == progress["delivered"] == seen.get("started"):
                raise StalledError(
                    f"HpBandSter has evaluated nothing for {LONGEST_SILENCE} s, after {progress['started']} evaluations"
                )
            seen = progress
        for sign in ready:
            if sign is alarm.rings:
                assert alarm.error is not None
                raise alarm.error
            if isinstance(sign, int):
                raise _death(sentinels[sign])
            assert isinstance(sign, Connection)
            try:
                error = sign.recv()
            except EOFError:
                raise _death(at_work[sign]) from None
            if error is not None:
                raise error
            del at_work[sign]
            master.refused.set()


def _death(member: _Member) -> WorkerDied:
    process = member.process
    process.join()
    code = process.exitcode or 0
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return WorkerDied(f"the worker process {process.pid} of HpBandSter ended {how} before the run did")
